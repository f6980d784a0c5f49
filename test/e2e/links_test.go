package e2e_test

import (
	"context"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/adapter/sqlite"
	"github.com/gatebook/gatebook/gatebooktest"
	"github.com/gatebook/gatebook/provider/email"
)

// counter is a Mailer that counts.
type counter struct{ sent atomic.Int32 }

func (c *counter) Send(context.Context, *email.Message) error { c.sent.Add(1); return nil }

// TestLinksAtOnce: a crowd that asks two servers on one database for links to one
// address gets no more of them than its limit.
func TestLinksAtOnce(t *testing.T) {
	const limit, crowd = 3, 16
	path := filepath.Join(t.TempDir(), "gatebook.db")
	mails := &counter{}
	var sites [2]*gatebooktest.Site
	for i := range sites {
		db, err := sqlite.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { db.Close() })
		links, err := email.New(email.Config{From: "a@example.com", Mailer: mails, Limits: gatebook.LinkLimits{PerAddress: limit}})
		if err != nil {
			t.Fatal(err)
		}
		sites[i] = gatebooktest.New(t, gatebook.Config{Adapter: db, Providers: []gatebook.Provider{links}})
	}
	var wg sync.WaitGroup
	for i := range crowd {
		wg.Go(func() {
			site := sites[i%len(sites)]
			a := site.Post(site.Client(), "/auth/signin/email", url.Values{"email": {"ada@example.com"}})
			if !strings.HasPrefix(a.URL.RequestURI(), "/auth/verify-request") {
				t.Errorf("it leads to %s", a.URL)
			}
		})
	}
	wg.Wait()
	refused := len(sites[0].Events()) + len(sites[1].Events())
	if n := int(mails.sent.Load()); n > limit || n+refused != crowd {
		t.Errorf("%d mails and %d refusals, want at most %d mails, and %d together", n, refused, limit, crowd)
	}
}
