package sqlstore_test

import (
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"github.com/gatebook/gatebook/adapter/sqlstore"
)

// What needs a driver is tested in the module adapter/sqlite.

func TestMigrations(t *testing.T) {
	files := sqlstore.Migrations(sqlstore.SQLite)
	entries, err := fs.ReadDir(files, ".")
	if err != nil || len(entries) < 2 {
		t.Fatalf("ReadDir = %d files, %v; want those of the book and of the adapter", len(entries), err)
	}
	seen := make(map[string]bool)
	for _, e := range entries {
		version, _, _ := strings.Cut(e.Name(), "_")
		if seen[version] {
			t.Errorf("two migrations have version %s: goose could not tell them apart", version)
		}
		seen[version] = true
		b, err := fs.ReadFile(files, e.Name())
		if err != nil || !strings.HasPrefix(string(b), "-- +goose Up\n") || !strings.Contains(string(b), "\n-- +goose Down\n") {
			t.Errorf("%s is no migration in the format of goose: %v", e.Name(), err)
		}
	}
	if _, err := fs.ReadFile(files, "none.sql"); err == nil {
		t.Error("ReadFile of a file that is not there succeeded")
	}
}

func Example() {
	ctx := context.Background()
	// Any driver of SQLite will do whose errors have a method Code() int.
	db, err := sql.Open("sqlite", "file:site.db?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=foreign_keys(1)&_pragma=busy_timeout(5000)")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer db.Close()
	store := sqlstore.New(db, sqlstore.SQLite)
	if err := store.Migrate(ctx); err != nil {
		fmt.Println(err)
		return
	}
	// store is the Adapter of gatebook.Config.
}
