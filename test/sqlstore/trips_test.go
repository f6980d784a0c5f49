package sqlstore_test

import (
	"context"
	"database/sql"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/adapter/sqlstore"
	"github.com/gatebook/gatebook/record"
	"github.com/gatebook/gatebook/test/need"
)

// trips keeps the first words of what is sent to the server.
type trips struct {
	mu   sync.Mutex
	sent []string
}

func (t *trips) TraceQueryStart(ctx context.Context, _ *pgx.Conn, q pgx.TraceQueryStartData) context.Context {
	t.mu.Lock()
	defer t.mu.Unlock()
	word, _, _ := strings.Cut(strings.TrimSpace(q.SQL), " ")
	t.sent = append(t.sent, strings.ToLower(word))
	return ctx
}

func (t *trips) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func (t *trips) take() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	sent := t.sent
	t.sent = nil
	return sent
}

// TestRoundTrips counts what a first sign-in sends to PostgreSQL: one statement
// that reads and one that writes; with a handler in the transaction its beginning
// and end and the entries besides, and where the database makes the ids one
// question more.
func TestRoundTrips(t *testing.T) {
	c, err := pgx.ParseConfig(need.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	var sent trips
	c.Tracer = &sent
	db := stdlib.OpenDB(*c)
	t.Cleanup(func() { db.Close() })
	if _, err := db.ExecContext(t.Context(), `CREATE TABLE people (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text, email text UNIQUE,
		"emailVerified" timestamptz, image text)`); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name   string
		layout sqlstore.Layout
		inTx   bool
		want   []string
	}{
		{"own", sqlstore.Postgres, false, []string{"select", "with"}},
		{"handler", sqlstore.Postgres, true, []string{"select", "begin", "with", "insert", "commit"}},
		{"made ids", sqlstore.Postgres.WithUsers(sqlstore.Users{Table: "people", IDType: sqlstore.Integer}), false, []string{"select", "select", "with"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.name == "made ids" { // its tables refer to other users
				for _, table := range []string{"account", "session", "authenticator"} {
					if _, err := db.ExecContext(t.Context(), `DROP TABLE "`+table+`"`); err != nil {
						t.Fatal(err)
					}
				}
				if _, err := db.ExecContext(t.Context(), `DELETE FROM gatebook_migrations WHERE part = 'tables'`); err != nil {
					t.Fatal(err)
				}
			}
			s := sqlstore.New(db, test.layout)
			if err := s.Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
			signIn := func(n string) {
				t.Helper()
				account := gatebook.AccountKey{Provider: "github", ProviderAccountID: test.name + n}
				if _, err := s.Find(t.Context(), gatebook.Query{Account: account, Email: test.name + n + "@example.com"}); err != nil {
					t.Fatal(err)
				}
				u := gatebook.User{ID: test.name + n, Email: test.name + n + "@example.com"}
				if strings.HasPrefix(test.name, "made") {
					var err error
					if u.ID, err = s.NewUserID(t.Context(), u, nil); err != nil {
						t.Fatal(err)
					}
				}
				act := &gatebook.Act{Writes: []gatebook.Write{
					gatebook.CreateUser{User: u, Subject: record.NewKey()},
					gatebook.LinkAccount{Account: gatebook.Account{UserID: u.ID, Type: "oauth", Provider: "github", ProviderAccountID: account.ProviderAccountID}},
					gatebook.CreateSession{Session: gatebook.StoredSession{Token: gatebook.Secret("token " + u.ID), UserID: u.ID, ID: "sid",
						Begun: time.Now(), Expires: time.Now().Add(time.Hour)}},
				}, Entries: []record.Entry{entry(t, s, u)}}
				if test.inTx {
					act.InTx = func(context.Context, *sql.Tx) error { return nil }
				}
				if err := s.Commit(t.Context(), act); err != nil {
					t.Fatal(err)
				}
			}
			signIn("1") // what is asked once only
			sent.take()
			signIn("2")
			if got := sent.take(); !slices.Equal(got, test.want) {
				t.Errorf("a first sign-in sends %q, want %q", got, test.want)
			}
		})
	}
}

func entry(t *testing.T, s *sqlstore.Store, u gatebook.User) record.Entry {
	t.Helper()
	id, err := s.Book().Identity(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	e, err := record.New(record.Header{Book: id.ID, ID: "e" + u.ID, Type: record.TypeSignIn, TypeVersion: 1, Source: record.SourceGatebook,
		Time: time.Now(), Act: "a", Outcome: record.Success}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return e
}
