package sqldb_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"strings"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/gatebook/gatebook/internal/sqldb"
	"github.com/gatebook/gatebook/test/need"
)

// server is a database server, and how a test speaks to it beside sqldb.
type server struct {
	dialect sqldb.Dialect
	driver  string
	// fresh returns the address of an empty database.
	fresh func(testing.TB) string
	// weak adds a setting to an address that sqldb refuses, and says which.
	weak func(address string) (weaker, setting string)
}

var servers = map[string]server{
	"postgres": {sqldb.Postgres, "pgx", need.Postgres, func(a string) (string, string) {
		return withOption(a, "options=-c%20synchronous_commit%3Doff"), "synchronous_commit"
	}},
	"mysql": {sqldb.MySQL, "mysql", need.MySQL, func(a string) (string, string) {
		return withOption(a, "sql_mode=%27%27"), "sql_mode"
	}},
}

func withOption(address, option string) string {
	if strings.Contains(address, "?") {
		return address + "&" + option
	}
	return address + "?" + option
}

func (s server) open(t testing.TB, address string) *sqldb.DB {
	t.Helper()
	p, err := sql.Open(s.driver, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return sqldb.New(p, s.dialect)
}

// newDB returns a database with the tables a and b, and its address.
func (s server) newDB(t testing.TB) (*sqldb.DB, string) {
	t.Helper()
	address := s.fresh(t)
	db := s.open(t, address)
	for _, stmt := range []string{
		"CREATE TABLE a (id integer PRIMARY KEY, name varchar(20) UNIQUE, n bigint NOT NULL)",
		"CREATE TABLE b (a integer NOT NULL, FOREIGN KEY (a) REFERENCES a (id))",
		"INSERT INTO a VALUES (1, 'one', 0)",
	} {
		if _, err := db.SQL().Exec(stmt); err != nil {
			t.Fatal(err)
		}
	}
	return db, address
}

func (s server) exec(ctx context.Context, tx *sql.Tx, query string, args ...any) error {
	_, err := tx.ExecContext(ctx, s.dialect.Bind(query), args...)
	return err
}

func TestServerErrors(t *testing.T) {
	for name, s := range servers {
		t.Run(name, func(t *testing.T) {
			db, _ := s.newDB(t)
			for _, tt := range []struct {
				name, query string
				want        error // nil for an error without class
			}{
				{"unique", "INSERT INTO a VALUES (2, 'one', 0)", sqldb.ErrConflict},
				{"foreign key", "INSERT INTO b VALUES (9)", sqldb.ErrConflict},
				{"restrict", "DELETE FROM a", sqldb.ErrConflict},
				{"not null", "INSERT INTO a (id) VALUES (3)", nil},
				{"too long", "INSERT INTO a VALUES (3, '" + strings.Repeat("x", 21) + "', 0)", nil},
				{"no table", "INSERT INTO nowhere VALUES (1)", nil},
			} {
				if tt.name == "restrict" {
					if _, err := db.Do(t.Context(), "INSERT INTO b VALUES (1)"); err != nil {
						t.Fatal(err)
					}
				}
				own := db.Tx(t.Context(), func(ctx context.Context, tx *sql.Tx) error { return s.exec(ctx, tx, tt.query) })
				_, alone := db.Do(t.Context(), tt.query)
				for _, err := range []error{own, alone} {
					if err == nil || tt.want != nil && !errors.Is(err, tt.want) || tt.want == nil && db.Classify(err).Error() != err.Error() ||
						errors.Is(err, sqldb.ErrCommitUnknown) {
						t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
					}
				}
			}
		})
	}
}

// Several writers at once lose no update, and wait for no queue of ours.
func TestServerWriters(t *testing.T) {
	for name, s := range servers {
		t.Run(name, func(t *testing.T) {
			db, _ := s.newDB(t)
			if err := db.Tx(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
				// Inside one transaction another can begin and end.
				_, err := db.Do(t.Context(), "INSERT INTO a VALUES (2, 'two', 0)")
				return errors.Join(err, s.exec(ctx, tx, "UPDATE a SET n = n + ? WHERE id = ?", 1, 1))
			}); err != nil {
				t.Fatal(err)
			}
			if n := count(t, db, "SELECT n FROM a WHERE id = 1"); n != 1 {
				t.Errorf("n = %d, want 1", n)
			}
			if n := count(t, db, "SELECT COUNT(*) FROM a"); n != 2 {
				t.Errorf("%d rows, want 2", n)
			}
			n, err := db.Do(t.Context(), db.Dialect().Bind("UPDATE a SET n = n + ? WHERE id > ?"), 1, 0)
			if n != 2 || err != nil {
				t.Errorf("Do = %d, %v; want 2 rows changed", n, err)
			}
		})
	}
}

// A server that would lose a commit, or cut a value, is refused before anything
// is written.
func TestServerWeak(t *testing.T) {
	for name, s := range servers {
		t.Run(name, func(t *testing.T) {
			db, address := s.newDB(t)
			weaker, setting := s.weak(address)
			weak := s.open(t, weaker)
			const write = "INSERT INTO a VALUES (2, 'two', 0)"
			_, alone := weak.Do(t.Context(), write)
			own := weak.Tx(t.Context(), func(ctx context.Context, tx *sql.Tx) error { return s.exec(ctx, tx, write) })
			foreign := func() error {
				tx, err := weak.SQL().Begin()
				if err != nil {
					t.Fatal(err)
				}
				defer tx.Rollback()
				return weak.CheckTx(t.Context(), tx)
			}()
			for _, err := range []error{alone, own, foreign} {
				if !errors.Is(err, sqldb.ErrWeak) || !strings.Contains(err.Error(), setting) {
					t.Errorf("%v, want ErrWeak that names %s", err, setting)
				}
			}
			if n := count(t, db, "SELECT COUNT(*) FROM a"); n != 1 {
				t.Errorf("%d rows, want 1: something was written", n)
			}
			tx, err := db.SQL().Begin()
			if err != nil {
				t.Fatal(err)
			}
			defer tx.Rollback()
			if err := db.CheckTx(t.Context(), tx); err != nil {
				t.Errorf("CheckTx with the server's own settings: %v", err)
			}
		})
	}
}

// A connection is lost in the pool, in a transaction, at its commit, and while a
// single statement runs.
func TestServerConnectionLost(t *testing.T) {
	for name, s := range servers {
		t.Run(name, func(t *testing.T) {
			db, address := s.newDB(t)
			other := s.open(t, address).SQL()
			kill := func(ctx context.Context, q interface {
				QueryRowContext(context.Context, string, ...any) *sql.Row
			}) {
				t.Helper()
				var id int
				self, end := "SELECT pg_backend_pid()", "SELECT pg_terminate_backend($1)"
				if s.driver == "mysql" {
					self, end = "SELECT CONNECTION_ID()", "KILL ?"
				}
				if err := q.QueryRowContext(ctx, self).Scan(&id); err != nil {
					t.Fatal(err)
				}
				if _, err := other.ExecContext(ctx, end, id); err != nil {
					t.Fatal(err)
				}
			}
			// In the pool: nobody notices.
			db.SQL().SetMaxOpenConns(1)
			kill(t.Context(), db.SQL())
			if _, err := db.Do(t.Context(), "UPDATE a SET n = 1"); err != nil {
				t.Errorf("Do on a pool whose connection was lost: %v", err)
			}
			kill(t.Context(), db.SQL())
			if err := db.Tx(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
				return s.exec(ctx, tx, "UPDATE a SET n = 2")
			}); err != nil {
				t.Errorf("Tx on a pool whose connection was lost: %v", err)
			}
			// In the middle: nothing was done.
			err := db.Tx(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
				if err := s.exec(ctx, tx, "UPDATE a SET n = 3"); err != nil {
					return err
				}
				kill(ctx, tx)
				return s.exec(ctx, tx, "UPDATE a SET n = 4")
			})
			if err == nil || errors.Is(err, sqldb.ErrCommitUnknown) {
				t.Errorf("Tx that loses its connection = %v, want a plain error", err)
			}
			// At the commit: nobody knows.
			err = db.Tx(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
				if err := s.exec(ctx, tx, "UPDATE a SET n = 5"); err != nil {
					return err
				}
				kill(ctx, tx)
				return nil
			})
			if !errors.Is(err, sqldb.ErrCommitUnknown) {
				t.Errorf("Tx that loses its connection before COMMIT = %v, want ErrCommitUnknown", err)
			}
			if n := count(t, db, "SELECT n FROM a WHERE id = 1"); n != 2 {
				t.Errorf("n = %d, want 2 of the last that was committed", n)
			}
			// While one statement runs: nobody knows either.
			slow := "UPDATE a SET n = 6 WHERE pg_sleep(60) IS NOT NULL"
			find := "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)%' AND pid <> pg_backend_pid()"
			if s.driver == "mysql" {
				slow = "UPDATE a SET n = 6 WHERE SLEEP(60) = 0"
				find = "SELECT id FROM information_schema.processlist WHERE info LIKE '%SLEEP(60)%' AND id <> CONNECTION_ID()"
			}
			done := make(chan error, 1)
			go func() {
				_, err := db.Do(t.Context(), slow)
				done <- err
			}()
			for {
				var id any
				err := other.QueryRow(find).Scan(&id)
				if errors.Is(err, sql.ErrNoRows) {
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				if s.driver == "mysql" {
					if _, err := other.Exec("KILL ?", id); err != nil {
						t.Fatal(err)
					}
				}
				break
			}
			if err := <-done; !errors.Is(err, sqldb.ErrCommitUnknown) {
				t.Errorf("Do that loses its connection = %v, want ErrCommitUnknown", err)
			}
			// And nothing is unknown of what was not sent.
			db.SQL().Close()
			if _, err := db.Do(t.Context(), "UPDATE a SET n = 7"); err == nil || errors.Is(err, sqldb.ErrCommitUnknown) || errors.Is(err, driver.ErrBadConn) {
				t.Errorf("Do on a closed pool = %v, want a plain error", err)
			}
		})
	}
}

// Settings of the whole server are looked at too, until they are right: then a
// server need not be asked again.
func TestServerWeakForAll(t *testing.T) {
	for name, tt := range map[string]struct {
		fresh                       func(testing.TB) string
		setting, weaken, mend, look string
	}{
		"postgres": {
			fresh:   func(t testing.TB) string { t.Helper(); return need.PostgresServer(t).URL("postgres") },
			setting: "full_page_writes", weaken: "ALTER SYSTEM SET full_page_writes = off", mend: "ALTER SYSTEM SET full_page_writes = on",
			look: "SELECT pg_reload_conf()",
		},
		"mysql": {
			fresh:   func(t testing.TB) string { t.Helper(); return need.MySQLServer(t).URL("mysql") },
			setting: "innodb_flush_log_at_trx_commit", weaken: "SET GLOBAL innodb_flush_log_at_trx_commit = 2",
			mend: "SET GLOBAL innodb_flush_log_at_trx_commit = 1", look: "SELECT 1",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := servers[name]
			address := tt.fresh(t)
			other := s.open(t, address).SQL()
			do := func(db *sqldb.DB) error {
				_, err := db.Do(t.Context(), "SELECT 1")
				return err
			}
			// PostgreSQL reads its settings some time after it was told to.
			until := func(query, what string, reached func() bool) {
				t.Helper()
				for _, q := range []string{query, tt.look} {
					if _, err := other.Exec(q); err != nil {
						t.Fatal(err)
					}
				}
				for deadline := time.Now().Add(10 * time.Second); !reached(); {
					if time.Now().After(deadline) {
						t.Fatalf("10 seconds after %q it is not so: %s", query, what)
					}
				}
			}
			var db *sqldb.DB
			until(tt.weaken, "refused, naming the setting", func() bool {
				db = s.open(t, address)
				err := do(db)
				return errors.Is(err, sqldb.ErrWeak) && strings.Contains(err.Error(), tt.setting)
			})
			until(tt.mend, "not refused any more", func() bool { return do(db) == nil })
		})
	}
}
