// Package upgrade_test migrates databases from every state that a migration can
// leave, with rows in them, while clients of the version before and of this one
// work, and wants that none of them sees an error and that nothing is lost.
package upgrade_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/adapter/sqlstore"
	"github.com/gatebook/gatebook/book"
	"github.com/gatebook/gatebook/provider/credentials"
	"github.com/gatebook/gatebook/test/need"
)

// database is a kind of database.
type database struct {
	name, driver string
	layout       sqlstore.Layout
	fresh        func(testing.TB) string // data source name of an empty one
}

var databases = []database{
	{"SQLite", "sqlite", sqlstore.SQLite, file},
	{"PostgreSQL", "pgx", sqlstore.Postgres, need.Postgres},
	{"MariaDB", "mysql", sqlstore.MySQL, need.MySQL},
}

func file(t testing.TB) string {
	t.Helper()
	return "file:" + filepath.Join(t.TempDir(), "site.db") +
		"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=foreign_keys(1)&_pragma=busy_timeout(5000)&_txlock=immediate"
}

// open opens a pool of its own, as each server has one.
func (d *database) open(t *testing.T, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open(d.driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(8)
	t.Cleanup(func() { db.Close() })
	return db
}

var errStop = errors.New("stop here")

// upTo applies the first n steps of a migration, as one that was killed then.
func (d *database) upTo(t *testing.T, dsn string, n int) {
	t.Helper()
	ctx, stop := context.WithCancelCause(t.Context())
	applied := 0
	err := sqlstore.New(d.open(t, dsn), d.layout).MigrateSteps(ctx, func(s sqlstore.Step) {
		if s.Applied.IsZero() && applied == n {
			stop(errStop)
		} else if !s.Applied.IsZero() {
			applied++
		}
	})
	if !errors.Is(err, errStop) && applied != n {
		t.Fatalf("%d steps of %d applied: %v", applied, n, err)
	}
}

func TestUpgrade(t *testing.T) {
	for i := range databases {
		d := &databases[i]
		t.Run(d.name, func(t *testing.T) {
			plan, err := sqlstore.New(d.open(t, d.fresh(t)), d.layout).Plan(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for n := range len(plan) + 1 {
				name := "nothing"
				if n > 0 {
					name = plan[n-1].Name
				}
				t.Run(name, func(t *testing.T) {
					if d.driver != "sqlite" { // whose writers wait for each other's disk
						t.Parallel()
					}
					upgrade(t, d, n)
				})
			}
		})
	}
}

// upgrade brings a database up to date from the state after n steps.
func upgrade(t *testing.T, d *database, n int) {
	t.Helper()
	dsn := d.fresh(t)
	d.upTo(t, dsn, n)
	before := newBefore(t, d, dsn)
	for range 20 {
		if err := before.act(t.Context()); err != nil {
			t.Fatalf("before the upgrade: %v", err)
		}
	}

	// Two clients of the version before go on while two servers of this one
	// start at once, migrate, and get clients of their own.
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var old, fresh sync.WaitGroup
	for range 2 {
		old.Go(func() {
			for think(ctx) {
				if err := before.act(t.Context()); err != nil {
					t.Errorf("a client of the version before: %v", err)
					return
				}
			}
		})
	}
	var stores [2]*sqlstore.Store
	var made atomic.Int64
	for i := range stores {
		stores[i] = sqlstore.New(d.open(t, dsn), d.layout)
		fresh.Go(func() { serve(t, stores[i], &made) })
	}
	fresh.Wait()
	stop()
	old.Wait()
	if t.Failed() {
		return
	}
	before.left(stores[0])
	recorded(t, stores[1], int(made.Load()))
}

// think waits as a client does between two requests; false says to stop.
func think(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(2 * time.Millisecond):
		return true
	}
}

// rounds is how many people sign up at each server of this version.
const rounds = 15

// serve is a server of this version from its start: it migrates, and people sign
// up and come back. It is not closed: that would wait for the other one, which may
// be numbering.
func serve(t *testing.T, store *sqlstore.Store, made *atomic.Int64) {
	t.Helper()
	if err := errors.Join(store.Migrate(t.Context()), store.Check(t.Context())); err != nil {
		t.Errorf("start a server: %v", err)
		return
	}
	nobody, err := credentials.New(credentials.Config{Authorize: func(context.Context, map[string]string, *http.Request) (*gatebook.User, error) {
		return nil, gatebook.ErrBadCredentials
	}})
	if err != nil {
		t.Error(err)
		return
	}
	auth, err := gatebook.New(gatebook.Config{Secrets: []gatebook.Secret{"0123456789abcdef0123456789abcdef"}, URL: "http://localhost",
		Adapter: store, Providers: []gatebook.Provider{nobody}})
	if err != nil {
		t.Error(err)
		return
	}
	for i := range rounds {
		u, err := auth.CreateUser(t.Context(), gatebook.User{Name: fmt.Sprint("New ", i)})
		if err != nil {
			t.Errorf("a client of this version: %v", err)
			return
		}
		cookies, err := auth.BeginSession(t.Context(), u.ID, "invitation")
		if err != nil {
			t.Errorf("a client of this version: %v", err)
			return
		}
		if f, err := store.Session(t.Context(), gatebook.Secret(cookies[0].Value)); err != nil || f.User.ID != u.ID {
			t.Errorf("a client of this version: session of %+v, %v", f, err)
			return
		}
		made.Add(2) // createUser and signIn
	}
}

// recorded wants all entries of the servers in the book, numbered without a gap.
func recorded(t *testing.T, store *sqlstore.Store, want int) {
	t.Helper()
	b := store.Book()
	if err := b.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	all, err := b.Read(t.Context(), book.Query{Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	for i, e := range all {
		if e.Seq != int64(i+1) {
			t.Fatalf("entry %d has the number %d", i+1, e.Seq)
		}
		got[e.Header.Type]++
	}
	if got["createUser"] != want/2 || got["signIn"] != want/2 {
		t.Errorf("the book has %v, want %d of createUser and signIn each", got, want/2)
	}
}

// expiry is when the sessions of the version before end.
var expiry = time.Now().Add(24 * time.Hour).Truncate(time.Second)

func text(query string, d *database) string {
	if d.driver == "mysql" {
		query = strings.ReplaceAll(query, `"`, "`")
	}
	if d.driver != "pgx" {
		return query
	}
	var b strings.Builder
	n := 0
	for part := range strings.SplitSeq(query, "?") {
		if n > 0 {
			fmt.Fprintf(&b, "$%d", n)
		}
		b.WriteString(part)
		n++
	}
	return b.String()
}
