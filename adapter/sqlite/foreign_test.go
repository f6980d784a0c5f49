package sqlite_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/adapter/sqlite"
	"github.com/gatebook/gatebook/book"
	"github.com/gatebook/gatebook/provider/credentials"
	"github.com/gatebook/gatebook/record"
)

// TestAdoptedOnce: of 50 requests at once on two programs that share a file, one
// records the session that another program began, and all are served.
func TestAdoptedOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "site.db")
	dbs := []*sqlite.DB{open(t, path), open(t, path)}
	const token = "a-token-of-another-program"
	digest := sha256.Sum256([]byte(token))
	run(t, dbs[0].SQL(), `INSERT INTO "user" ("id", "email") VALUES ('u1', 'ada@example.com')`)
	run(t, dbs[0].SQL(), `INSERT INTO "session" ("sessionToken", "userId", "expires") VALUES (?, 'u1', ?)`,
		hex.EncodeToString(digest[:]), time.Now().Add(24*time.Hour).UnixMilli())
	var auths []*gatebook.Auth
	for _, db := range dbs {
		auths = append(auths, rowsOn(t, db))
	}
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			r := httptest.NewRequest("GET", "http://localhost/auth/session", nil)
			r.Header.Set("Cookie", "authjs.session-token="+token)
			w := httptest.NewRecorder()
			auths[i%2].ServeHTTP(w, r)
			if !strings.Contains(w.Body.String(), "ada@example.com") {
				t.Errorf("the session route says %s", w.Body)
			}
		})
	}
	wg.Wait()
	counted := map[string]int{}
	for _, e := range entriesOf(t, auths[0]) {
		counted[e.Header.Type]++
	}
	if counted[record.TypeSessionAdopted] != 1 || counted[record.TypeUserAdopted] != 1 {
		t.Errorf("recorded %v", counted)
	}
	list, err := auths[1].Sessions(t.Context(), "u1")
	if err != nil || len(list) != 1 || list[0].ID == "" || !list[0].Begun.IsZero() {
		t.Errorf("Sessions = %+v, %v", list, err)
	}
}

func rowsOn(t *testing.T, db *sqlite.DB) *gatebook.Auth {
	t.Helper()
	p, err := credentials.New(credentials.Config{Authorize: func(context.Context, map[string]string, *http.Request) (*gatebook.User, error) {
		return nil, gatebook.ErrBadCredentials
	}})
	if err != nil {
		t.Fatal(err)
	}
	a, err := gatebook.New(gatebook.Config{Secrets: []gatebook.Secret{"0123456789abcdef0123456789abcdef"}, URL: "http://localhost",
		Adapter: db, Providers: []gatebook.Provider{p}, Session: gatebook.SessionConfig{Strategy: "database"}})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func entriesOf(t *testing.T, a *gatebook.Auth) []book.Entry {
	t.Helper()
	if err := a.Book().Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	all, err := a.Book().Read(t.Context(), book.Query{Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
