package foreign_test

import (
	"database/sql"
	"errors"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/adapter/mysql"
	"github.com/gatebook/gatebook/adapter/postgres"
	"github.com/gatebook/gatebook/adapter/sqlite"
	"github.com/gatebook/gatebook/adapter/sqlstore"
	"github.com/gatebook/gatebook/test/need"
)

// onOwnTable runs fn for each database, on an application's own table of users
// whose ids are integers that the database makes. It has one user, 7.
func onOwnTable(t *testing.T, fn func(*testing.T, *gatebook.Auth, *sql.DB)) {
	t.Helper()
	users := sqlstore.Users{Table: "people", IDType: sqlstore.Integer}
	for name, start := range map[string]func(*testing.T) (driver, dsn, table string, open func() (store, error)){
		"sqlite": func(t *testing.T) (string, string, string, func() (store, error)) {
			t.Helper()
			path := filepath.Join(t.TempDir(), "site.db")
			return "sqlite", "file:" + path + "?_txlock=immediate&_pragma=busy_timeout(5000)&_pragma=foreign_keys(1)&_pragma=synchronous(FULL)", `CREATE TABLE people (id integer PRIMARY KEY AUTOINCREMENT, name text, email text UNIQUE NOT NULL,
				"emailVerified" integer, image text)`, func() (store, error) { return sqlite.OpenLayout(path, sqlstore.SQLite.WithUsers(users)) }
		},
		"postgres": func(t *testing.T) (string, string, string, func() (store, error)) {
			t.Helper()
			address := need.Postgres(t)
			return "pgx", address, `CREATE TABLE people (id bigserial PRIMARY KEY, name text, email text UNIQUE NOT NULL,
				"emailVerified" timestamptz, image text)`, func() (store, error) {
					return postgres.OpenLayout(t.Context(), address, sqlstore.Postgres.WithUsers(users))
				}
		},
		"mysql": func(t *testing.T) (string, string, string, func() (store, error)) {
			t.Helper()
			dsn := need.MySQL(t)
			return "mysql", dsn, `CREATE TABLE people (id bigint PRIMARY KEY AUTO_INCREMENT, name text, email varchar(255) UNIQUE NOT NULL,
				emailVerified datetime(3), image text)`, func() (store, error) {
					return mysql.OpenLayout(t.Context(), dsn, sqlstore.MySQL.WithUsers(users))
				}
		},
	} {
		t.Run(name, func(t *testing.T) {
			driver, dsn, table, open := start(t)
			pool, err := sql.Open(driver, dsn)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = pool.Close() })
			for _, text := range []string{table, `INSERT INTO people (id, email) VALUES (7, 'ada@example.com')`} {
				if _, err := pool.ExecContext(t.Context(), text); err != nil {
					t.Fatal(err)
				}
			}
			if driver == "pgx" {
				if _, err := pool.ExecContext(t.Context(), `SELECT setval('people_id_seq', 7)`); err != nil {
					t.Fatal(err)
				}
			}
			db, err := open()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = db.Close() })
			fn(t, newAuth(t, db), pool)
		})
	}
}

// TestOwnTransaction: users made and met in the application's transaction have ids
// of the database, and what tells of them is there when it commits and not before.
func TestOwnTransaction(t *testing.T) {
	onOwnTable(t, func(t *testing.T, a *gatebook.Auth, pool *sql.DB) {
		t.Helper()
		ctx := t.Context()
		for _, commits := range []bool{false, true} {
			tx, err := pool.BeginTx(ctx, nil)
			if err != nil {
				t.Fatal(err)
			}
			own := a.InTransaction(tx)
			u, err := own.CreateUser(ctx, gatebook.User{Email: "grace@example.com"})
			if err != nil {
				t.Fatal(err)
			}
			if n, err := strconv.Atoi(u.ID); err != nil || n <= 7 {
				t.Errorf("the new user has the id %q", u.ID)
			}
			if _, err := own.UpdateUser(ctx, gatebook.User{ID: "7", Name: "Ada"}, "name"); err != nil {
				t.Fatal(err)
			}
			var want []string
			if commits {
				err, want = tx.Commit(), []string{"createUser", "user.adopted", "updateUser"}
				own.Committed(ctx)
			} else {
				err = tx.Rollback()
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := typesOf(t, a); !slices.Equal(got, want) {
				t.Errorf("committed: %v; recorded %v, want %v", commits, got, want)
			}
		}
	})
}

// TestIDsAreText: ids are texts to the application and in JSON, whatever the
// database has, and what is no id is nobody's.
func TestIDsAreText(t *testing.T) {
	onOwnTable(t, func(t *testing.T, a *gatebook.Auth, _ *sql.DB) {
		t.Helper()
		ctx := t.Context()
		cookies, err := a.BeginSession(ctx, "7", "test")
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest("GET", "http://localhost/auth/account", nil)
		for _, c := range cookies {
			r.AddCookie(c)
		}
		w := httptest.NewRecorder()
		a.ServeHTTP(w, r)
		if !strings.Contains(w.Body.String(), `"user":{"id":"7"`) {
			t.Errorf("the account route says %s", w.Body)
		}
		for _, id := range []string{"abc", "07", "7 ", "9223372036854775808", "7.0", "7\x00"} {
			if _, err := a.UpdateUser(ctx, gatebook.User{ID: id, Name: "A"}, "name"); !errors.Is(err, gatebook.ErrNotFound) {
				t.Errorf("UpdateUser of %q = %v, want an error that matches ErrNotFound", id, err)
			}
			if _, err := a.BeginSession(ctx, id, "test"); !errors.Is(err, gatebook.ErrNotFound) {
				t.Errorf("BeginSession of %q = %v", id, err)
			}
			if list, err := a.Sessions(ctx, id); len(list) > 0 || err != nil {
				t.Errorf("Sessions of %q = %v, %v", id, list, err)
			}
			if _, err := a.CreateUser(ctx, gatebook.User{ID: id, Email: "x@example.com"}); err == nil {
				t.Errorf("CreateUser took the id %q", id)
			}
		}
	})
}

func typesOf(t *testing.T, a *gatebook.Auth) []string {
	t.Helper()
	s := &site{t: t, auths: []*gatebook.Auth{a}}
	_, order := s.count()
	return order
}
