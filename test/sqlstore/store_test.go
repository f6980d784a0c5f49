package sqlstore_test

import (
	"database/sql"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
	"github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/adapter/adaptertest"
	"github.com/gatebook/gatebook/adapter/sqlstore"
	"github.com/gatebook/gatebook/test/need"
)

// pool returns a pool on a fresh database.
func pool(t testing.TB, database string) *sql.DB {
	t.Helper()
	var driver, dsn string
	switch database {
	case "postgres":
		return postgres(t)
	case "mysql":
		c, err := mysql.ParseDSN(need.MySQL(t))
		if err != nil {
			t.Fatal(err)
		}
		// The bounds of a TIMESTAMP are those of the session's zone.
		c.Params = map[string]string{"time_zone": "'+00:00'"}
		driver, dsn = "mysql", c.FormatDSN()
	default:
		driver, dsn = "sqlite", "file:"+filepath.Join(t.TempDir(), "test.db")+
			"?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=foreign_keys(1)"
	}
	db, err := sql.Open(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxIdleConns(8)
	db.SetMaxOpenConns(32)
	t.Cleanup(func() { db.Close() })
	return db
}

// postgres returns a pool that has the server break off what was cancelled and
// waits for its answer, so that what became of it is known.
func postgres(t testing.TB) *sql.DB {
	t.Helper()
	c, err := pgx.ParseConfig(need.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	c.BuildContextWatcherHandler = func(conn *pgconn.PgConn) ctxwatch.Handler {
		return &pgconn.CancelRequestContextWatcherHandler{Conn: conn, DeadlineDelay: 5 * time.Second}
	}
	db := stdlib.OpenDB(*c)
	db.SetMaxIdleConns(8)
	db.SetMaxOpenConns(32)
	t.Cleanup(func() { db.Close() })
	return db
}

func exec(t testing.TB, db *sql.DB, statements ...string) {
	t.Helper()
	for _, text := range statements {
		for one := range strings.SplitSeq(text, ";\n") {
			if strings.TrimSpace(one) == "" {
				continue
			}
			if _, err := db.ExecContext(t.Context(), one); err != nil {
				t.Fatalf("%s: %v", one, err)
			}
		}
	}
}

// migrated returns a store on db whose tables are made or were there.
func migrated(t testing.TB, db *sql.DB, l sqlstore.Layout) *sqlstore.Store {
	t.Helper()
	s := sqlstore.New(db, l)
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

// extra are the columns that the suite needs, in a users table of that name.
func extra(l sqlstore.Layout, table string) (with sqlstore.Layout, columns []string) {
	kind := "text"
	if l.Database() == "mysql" {
		kind = "mediumtext"
	}
	quote := map[string]string{"mysql": "`"}[l.Database()]
	if quote == "" {
		quote = `"`
	}
	alter := "ALTER TABLE " + quote + table + quote + " ADD COLUMN "
	return l.WithUsers(sqlstore.Users{Extra: []string{adaptertest.TextColumn, adaptertest.NumberColumn}}),
		[]string{alter + adaptertest.TextColumn + " " + kind, alter + adaptertest.NumberColumn + " bigint"}
}

// tables are those of Auth.js, by layout.
var tables = map[string][]string{
	"own":     {"user", "account", "session", "verificationToken", "authenticator"},
	"drizzle": {"user", "account", "session", "verificationToken", "authenticator"},
	"pg":      {"users", "accounts", "sessions", "verification_token"},
	"prisma":  {"User", "Account", "Session", "VerificationToken", "Authenticator"},
}

// emptied returns a store on db, from which all rows are deleted; users is the
// table of users where it is not the layout's.
func emptied(t *testing.T, db *sql.DB, l sqlstore.Layout, users string) *sqlstore.Store {
	t.Helper()
	names := slices.Clone(tables[l.Name()])
	for _, n := range []string{"subjects", "sessions", "tokens", "checks", "jobs", "outbox", "blocks", "search", "log", "book"} {
		names = append(names, "gatebook_"+n)
	}
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, n := range names {
		names[i] = name(l, n)
	}
	if users != "" {
		names[0] = users
	}
	for _, n := range slices.Backward(names) {
		if _, err := tx.ExecContext(t.Context(), "DELETE FROM "+n); err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	s := sqlstore.New(db, l)
	// Migrate would have made it.
	if _, err := s.Book().Identity(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

// suite runs the suite on one database, made by make, with the columns that the
// suite needs.
func suite(t *testing.T, l sqlstore.Layout, opts *adaptertest.Options, users string, make func(t *testing.T, db *sql.DB)) {
	t.Helper()
	db := pool(t, l.Database())
	with, columns := extra(l, users)
	if make != nil {
		make(t, db)
	}
	migrated(t, db, l)
	exec(t, db, columns...)
	adaptertest.Run(t, func(t *testing.T) gatebook.Adapter {
		t.Helper()
		return emptied(t, db, with, "")
	}, lent(l, opts))
}

// TestOwn runs the suite on the tables that Gatebook makes itself.
func TestOwn(t *testing.T) {
	for _, l := range []sqlstore.Layout{sqlstore.Postgres, sqlstore.MySQL} {
		t.Run(l.Database(), func(t *testing.T) {
			suite(t, l, nil, "user", nil)
		})
	}
}
