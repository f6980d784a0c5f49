package toystore_test

import (
	"path/filepath"
	"testing"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/adapter/adaptertest"
	"github.com/gatebook/gatebook/adapter/sqlite"
	"github.com/gatebook/gatebook/examples/toystore"
)

func TestAdapter(t *testing.T) {
	adaptertest.Run(t, func(t *testing.T) gatebook.Adapter {
		t.Helper()
		log, err := sqlite.OpenBook(filepath.Join(t.TempDir(), "book.db"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { log.Close() })
		return toystore.New(log.Book)
	}, nil)
}
