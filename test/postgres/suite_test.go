package postgres_test

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"net/url"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/adapter/adaptertest"
	"github.com/gatebook/gatebook/adapter/postgres"
	"github.com/gatebook/gatebook/adapter/sqlstore"
	"github.com/gatebook/gatebook/test/cut"
	"github.com/gatebook/gatebook/test/need"
)

// layout is Gatebook's own with the columns that the suite needs.
var layout = sqlstore.Postgres.WithUsers(sqlstore.Users{Extra: []string{adaptertest.TextColumn, adaptertest.NumberColumn}})

// prepare makes the tables in a fresh database and returns its URL.
func prepare(t testing.TB) string {
	t.Helper()
	url := need.Postgres(t)
	db, err := postgres.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.SQL().Exec(`ALTER TABLE "user" ADD COLUMN ` + adaptertest.TextColumn + ` text, ADD COLUMN ` + adaptertest.NumberColumn + ` bigint`); err != nil {
		t.Fatal(err)
	}
	return url
}

// emptied returns a function that empties the database at url, for to make one
// takes longer than most of what is tested on it.
func emptied(t testing.TB, url string) func(testing.TB) string {
	t.Helper()
	db, err := postgres.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return func(t testing.TB) string {
		t.Helper()
		if _, err := db.SQL().Exec(`DO $$ DECLARE name text; BEGIN
			FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'gatebook_migrations' LOOP
				EXECUTE format('ALTER TABLE %I DISABLE TRIGGER ALL', name);
				EXECUTE format('DELETE FROM %I', name);
				EXECUTE format('ALTER TABLE %I ENABLE TRIGGER ALL', name);
			END LOOP; END $$`); err != nil {
			t.Fatal(err)
		}
		if err := db.Migrate(t.Context()); err != nil { // makes the head of the book again
			t.Fatal(err)
		}
		return url
	}
}

// TestSuite runs the suite on a pool of pgx, as [postgres.New] and a stranger's
// settings have it, and on one of database/sql.
func TestSuite(t *testing.T) {
	for _, mode := range []string{"", "exec", "cache_describe", "describe_exec"} {
		if mode != "" && mode != "exec" && !need.Soak() {
			continue
		}
		t.Run("pool "+mode, func(t *testing.T) {
			empty := emptied(t, prepare(t))
			adaptertest.Run(t, func(t *testing.T) gatebook.Adapter {
				t.Helper()
				url := empty(t)
				if mode != "" { // as behind a pooler
					url += "&default_query_exec_mode=" + mode
				}
				return postgres.New(newPool(t, url+"&pool_max_conns=20"), layout)
			}, &adaptertest.Options{
				Foreign: foreign,
				Line:    func(t *testing.T) *adaptertest.Line { t.Helper(); return line(t, empty(t)) },
			})
		})
	}
	if !need.Soak() {
		return
	}
	t.Run("database/sql", func(t *testing.T) {
		empty := emptied(t, prepare(t))
		adaptertest.Run(t, func(t *testing.T) gatebook.Adapter {
			t.Helper()
			db, err := sql.Open("pgx", empty(t))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { db.Close() })
			return postgres.NewSQL(db, layout)
		}, &adaptertest.Options{Foreign: foreign})
	})
}

// line is a store behind a proxy that cuts connections.
func line(t *testing.T, address string) *adaptertest.Line {
	t.Helper()
	direct, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	p := cut.New(t, direct.Host)
	direct.Host = p.Addr()
	pool, err := pgxpool.New(context.Background(), direct.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return &adaptertest.Line{Adapter: postgres.New(pool, layout), Break: p.Break, Mend: p.Mend}
}

// foreign inserts a session as another program does that hashes its tokens.
func foreign(t *testing.T, a gatebook.Adapter, s gatebook.StoredSession) {
	t.Helper()
	sum := sha256.Sum256([]byte(s.Token))
	if _, err := a.(adaptertest.SQL).SQL().Exec(`INSERT INTO "session" ("sessionToken", "userId", "expires") VALUES ($1, $2, $3)`,
		hex.EncodeToString(sum[:]), s.UserID, s.Expires.UTC()); err != nil {
		t.Fatal(err)
	}
}
