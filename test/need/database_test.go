package need_test

import (
	"context"
	"database/sql"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/gatebook/gatebook/test/dbserver"
	"github.com/gatebook/gatebook/test/need"
)

// TestDatabases gets two databases of each kind: they are empty, apart, as
// durable as the tests of promises need, and gone at the end.
func TestDatabases(t *testing.T) {
	t.Run("postgres", func(t *testing.T) {
		var first string
		t.Run("use", func(t *testing.T) {
			first = need.Postgres(t)
			for _, url := range []string{first, need.Postgres(t)} {
				conn, err := pgx.Connect(t.Context(), url)
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close(context.Background())
				var fsync, commit string
				if err := conn.QueryRow(t.Context(), "SELECT current_setting('fsync'), current_setting('synchronous_commit')").Scan(&fsync, &commit); err != nil {
					t.Fatal(err)
				}
				if fsync != "on" || commit != "on" {
					t.Errorf("fsync %s, synchronous_commit %s; want both on", fsync, commit)
				}
				if _, err := conn.Exec(t.Context(), "CREATE TABLE x (n int)"); err != nil {
					t.Error(err)
				}
			}
		})
		if conn, err := pgx.Connect(t.Context(), first); err == nil {
			conn.Close(context.Background())
			t.Error("the database is there after its test")
		}
	})
	t.Run("mysql", func(t *testing.T) {
		var first string
		t.Run("use", func(t *testing.T) {
			first = need.MySQL(t)
			for _, dsn := range []string{first, need.MySQL(t)} {
				db, err := sql.Open("mysql", dsn)
				if err != nil {
					t.Fatal(err)
				}
				defer db.Close()
				var flush int
				if err := db.QueryRow("SELECT @@innodb_flush_log_at_trx_commit").Scan(&flush); err != nil || flush != 1 {
					t.Errorf("innodb_flush_log_at_trx_commit = %d, %v; want 1", flush, err)
				}
				if _, err := db.Exec("CREATE TABLE x (n int)"); err != nil {
					t.Error(err)
				}
			}
		})
		db, err := sql.Open("mysql", first)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if err := db.Ping(); err == nil {
			t.Error("the database is there after its test")
		}
	})
	t.Run("redis", func(t *testing.T) {
		one, two := need.Redis(t), need.Redis(t)
		if one == two {
			t.Errorf("two databases have the address %s", one)
		}
		for _, url := range []string{one, two} {
			if n, err := dbserver.RedisCommand(t.Context(), url, "INCR x"); err != nil || n != "1" {
				t.Errorf("INCR = %q, %v; want 1", n, err)
			}
		}
	})
}

func TestNoServer(t *testing.T) {
	for env, get := range map[string]func(testing.TB) string{need.PostgresEnv: need.Postgres, need.MySQLEnv: need.MySQL, need.RedisEnv: need.Redis} {
		t.Run(env, func(t *testing.T) {
			t.Setenv(env, "missing: Server: apt-get failed")
			t.Setenv("CI", "")
			if _, o := call(get); !strings.Contains(o.skipped, "Server: apt-get failed") || o.failed != "" {
				t.Errorf("skipped %q and failed %q, want a skip that says why", o.skipped, o.failed)
			}
			t.Setenv("CI", "true")
			if _, o := call(get); !strings.Contains(o.failed, "Server: apt-get failed") || o.skipped != "" {
				t.Errorf("with CI=true skipped %q and failed %q, want a failure that says why", o.skipped, o.failed)
			}
		})
	}
}
