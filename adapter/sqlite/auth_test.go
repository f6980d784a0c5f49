package sqlite_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/adapter/sqlite"
	"github.com/gatebook/gatebook/adapter/sqlstore"
	"github.com/gatebook/gatebook/book"
	"github.com/gatebook/gatebook/provider/credentials"
)

func authOn(t *testing.T, db *sqlite.DB) *gatebook.Auth {
	t.Helper()
	p, err := credentials.New(credentials.Config{Authorize: func(context.Context, map[string]string, *http.Request) (*gatebook.User, error) {
		return nil, gatebook.ErrBadCredentials
	}})
	if err != nil {
		t.Fatal(err)
	}
	a, err := gatebook.New(gatebook.Config{Secrets: []gatebook.Secret{"0123456789abcdef0123456789abcdef"}, URL: "http://localhost", Adapter: db, Providers: []gatebook.Provider{p}, Session: gatebook.SessionConfig{Strategy: "jwt"}})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// The application's own transaction on a pool of one connection, as is usual
// with SQLite, must not wait for the connection that it holds.
func TestOwnTransactionOnOneConnection(t *testing.T) {
	pool := pool(t, filepath.Join(t.TempDir(), "one.db"), good+"&_txlock=immediate")
	pool.SetMaxOpenConns(1)
	db := sqlite.New(pool, sqlstore.SQLite)
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	a := authOn(t, db)
	u, err := a.CreateUser(t.Context(), gatebook.User{Email: "ada@example.com"})
	if err != nil {
		t.Fatal(err)
	}
	tx, err := pool.Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if _, err := a.InTransaction(tx).UpdateUser(ctx, gatebook.User{ID: u.ID, Name: "Ada"}, "name"); err != nil {
		t.Errorf("UpdateUser in the application's transaction on one connection: %v", err)
	}
}

// A new process whose first act is inside the application's transaction, on a
// database just made, with as many connections as it likes.
func TestFirstActInOwnTransaction(t *testing.T) {
	pool := pool(t, filepath.Join(t.TempDir(), "many.db"), good+"&_txlock=immediate")
	db := sqlite.New(pool, sqlstore.SQLite)
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	a := authOn(t, db)
	tx, err := pool.Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	began := time.Now()
	if _, err := a.InTransaction(tx).CreateUser(t.Context(), gatebook.User{Email: "ada@example.com"}); err != nil {
		t.Errorf("first act in the application's transaction, after %v: %v", time.Since(began), err)
	}
}

// The first refused attempt of a process is recorded though the visitor hung up.
func TestHangUpAtFirstAttempt(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "h.db"))
	a := authOn(t, db)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := httptest.NewRequest("POST", "http://localhost/auth/callback/credentials", nil).WithContext(ctx)
	a.ServeHTTP(httptest.NewRecorder(), r)
	if err := a.Book().Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	all, err := a.Book().Read(t.Context(), book.Query{Limit: 10})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, e := range all {
		if e.Header.Type == "signIn.failed" {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d signIn.failed, want 1", n)
	}
}
