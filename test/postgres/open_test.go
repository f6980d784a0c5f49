package postgres_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/adapter/postgres"
	"github.com/gatebook/gatebook/adapter/sqlstore"
	"github.com/gatebook/gatebook/test/need"
)

// with returns a URL with another part.
func with(t *testing.T, address string, change func(*url.URL)) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	change(u)
	return u.String()
}

// TestOpenRefuses opens what cannot be opened: the error says what is wrong and
// has no password.
func TestOpenRefuses(t *testing.T) {
	good := need.Postgres(t)
	for name, c := range map[string]struct {
		url  string
		says []string
	}{
		"empty":       {"", []string{"address", "empty"}},
		"nonsense":    {"s3cret nonsense", []string{"postgres://"}},
		"port":        {"postgres://ada:s3cret@localhost:port/site", []string{"port"}},
		"option":      {"postgres://ada:s3cret@localhost/site?pool_max_conns=many", []string{"pool_max_conns"}},
		"mode":        {"postgres://ada:s3cret@localhost/site?default_query_exec_mode=any", []string{"default_query_exec_mode"}},
		"unreachable": {"postgres://ada:s3cret@127.0.0.1:1/site", []string{"connect", "127.0.0.1:1", "refused"}},
		"password":    {with(t, good, func(u *url.URL) { u.User = url.UserPassword("gatebook", "s3cret") }), []string{"password authentication failed"}},
		"database":    {with(t, good, func(u *url.URL) { u.Path = "/nowhere" }), []string{`database "nowhere" does not exist`}},
		"simple":      {good + "&default_query_exec_mode=simple_protocol", []string{"simple_protocol", "exec"}},
	} {
		t.Run(name, func(t *testing.T) {
			secret, _ := func() (string, bool) {
				u, err := url.Parse(c.url)
				if err != nil || u.User == nil {
					return "s3cret", false
				}
				return u.User.Password()
			}()
			for call, open := range map[string]func() error{
				"Open":     func() error { _, err := postgres.Open(t.Context(), c.url); return err },
				"OpenBook": func() error { _, err := postgres.OpenBook(t.Context(), c.url); return err },
			} {
				err := open()
				if err == nil {
					t.Errorf("%s = nil, want an error", call)
					continue
				}
				for _, part := range append(c.says, "postgres: ") {
					if !strings.Contains(err.Error(), part) {
						t.Errorf("%s = %v, want an error that says %q", call, err, part)
					}
				}
				if secret != "" && strings.Contains(err.Error(), secret) {
					t.Errorf("%s: the error has the password: %v", call, err)
				}
			}
		})
	}
	if _, err := postgres.OpenLayout(t.Context(), good, sqlstore.SQLite); err == nil || !strings.Contains(err.Error(), "sqlite") {
		t.Errorf("OpenLayout with a layout of SQLite = %v, want an error that says so", err)
	}
}

// TestSimpleProtocol: on a pool that uses it nothing works.
func TestSimpleProtocol(t *testing.T) {
	db := postgres.New(newPool(t, need.Postgres(t)+"&default_query_exec_mode=simple_protocol"), sqlstore.Postgres)
	for what, err := range map[string]error{"Migrate": db.Migrate(t.Context()), "Check": db.Check(t.Context())} {
		if err == nil || !strings.Contains(err.Error(), "simple_protocol") {
			t.Errorf("%s = %v, want an error that says simple_protocol", what, err)
		}
	}
}

// TestWeak: where a commit could be lost with the power no act is carried out,
// until that is mended.
func TestWeak(t *testing.T) {
	s := need.PostgresServer(t)
	pool := newPool(t, s.URL(""))
	for setting, value := range map[string]string{"synchronous_commit": "off", "full_page_writes": "off"} {
		t.Run(setting, func(t *testing.T) {
			run(t, pool, "CREATE DATABASE "+setting)
			db, err := postgres.Open(t.Context(), s.URL(setting))
			if err != nil {
				t.Fatal(err)
			}
			db.Close()
			set := func(to string) {
				t.Helper()
				if setting == "synchronous_commit" { // of the session; that of the server is on the command line
					run(t, pool, "ALTER DATABASE "+setting+" SET "+setting+" = "+to)
					return
				}
				run(t, pool, "ALTER SYSTEM SET "+setting+" = "+to)
				run(t, pool, "SELECT pg_reload_conf()")
				eventually(t, func() int {
					return count(t, pool, "SELECT count(*) FROM pg_settings WHERE name = '"+setting+"' AND setting = '"+to+"'")
				}, 1)
			}
			set(value)
			u := gatebook.User{ID: "1", Email: "ada@example.com"}
			app := postgres.New(newPool(t, s.URL(setting)), sqlstore.Postgres)
			act := &gatebook.Act{Writes: []gatebook.Write{gatebook.CreateUser{User: u}}}
			for range 2 {
				if err := app.Commit(t.Context(), act); err == nil || !strings.Contains(err.Error(), setting) {
					t.Fatalf("Commit with %s off = %v, want an error that names it", setting, err)
				}
			}
			set("on")
			app = postgres.New(newPool(t, s.URL(setting)), sqlstore.Postgres)
			if err := app.Commit(t.Context(), act); err != nil {
				t.Errorf("Commit with %s on = %v", setting, err)
			}
		})
	}
}

// TestClose: Close closes what Open opened, once or twice, and no pool of the
// application's.
func TestClose(t *testing.T) {
	address := need.Postgres(t)
	db, err := postgres.Open(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := db.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
	}
	if _, err := db.Session(t.Context(), "token"); err == nil || errors.Is(err, gatebook.ErrNotFound) {
		t.Errorf("Session after Close = %v, want an error that is not that there is none", err)
	}
	pool := newPool(t, address)
	if err := postgres.New(pool, sqlstore.Postgres).Close(); err != nil {
		t.Errorf("Close = %v", err)
	}
	if n := count(t, pool, "SELECT 1"); n != 1 {
		t.Error("the application's pool does not work after Close")
	}
}

// TestOneConnection works on a pool of one connection: acts, with a handler too,
// readings and the sequencer each take one at a time.
func TestOneConnection(t *testing.T) {
	pool := newPool(t, need.Postgres(t)+"&pool_max_conns=1")
	db := postgres.New(pool, sqlstore.Postgres)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := db.Migrate(ctx); err != nil {
		t.Fatal(err)
	}
	u := gatebook.User{ID: "1", Email: "ada@example.com"}
	s := gatebook.StoredSession{Token: "token", UserID: "1", ID: "sid", Expires: time.Now().Add(time.Hour), Begun: time.Now()}
	var pid uint32
	if err := db.Commit(ctx, &gatebook.Act{Writes: []gatebook.Write{gatebook.CreateUser{User: u}}, InTx: func(ctx context.Context, tx *sql.Tx) error {
		conn := postgres.Conn(ctx)
		pid = conn.PgConn().PID()
		var own uint32
		if err := tx.QueryRowContext(ctx, "SELECT pg_backend_pid()").Scan(&own); err != nil {
			return err
		}
		if own != pid {
			return fmt.Errorf("Conn is the connection of process %d, and the transaction that of %d", pid, own)
		}
		_, err := conn.Exec(ctx, "CREATE TABLE workspace (id int)")
		return err
	}}); err != nil {
		t.Fatal(err)
	}
	if err := db.Commit(ctx, &gatebook.Act{Writes: []gatebook.Write{gatebook.CreateSession{Session: s}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Session(ctx, "token"); err != nil {
		t.Error(err)
	}
	if err := db.Book().Drain(ctx); err != nil {
		t.Error(err)
	}
	if n := pool.Stat().TotalConns(); n != 1 {
		t.Errorf("the pool has %d connections, want 1", n)
	}
	if n := count(t, pool, "SELECT count(*) FROM workspace"); n != 0 {
		t.Error("the table that the handler made has rows")
	}
}

// TestConnRollsBack: what was done on Conn goes with the act.
func TestConnRollsBack(t *testing.T) {
	pool := newPool(t, need.Postgres(t))
	db := postgres.New(pool, sqlstore.Postgres)
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	refused := errors.New("refused")
	err := db.Commit(t.Context(), &gatebook.Act{
		Writes: []gatebook.Write{gatebook.CreateUser{User: gatebook.User{ID: "1", Email: "ada@example.com"}}},
		InTx: func(ctx context.Context, _ *sql.Tx) error {
			if _, err := postgres.Conn(ctx).Exec(ctx, "CREATE TABLE workspace (id int)"); err != nil {
				return err
			}
			return refused
		},
	})
	if !errors.Is(err, refused) {
		t.Errorf("Commit = %v, want the handler's error", err)
	}
	if n := count(t, pool, `SELECT (SELECT count(*) FROM "user") + (SELECT count(*) FROM pg_class WHERE relname = 'workspace')`); n != 0 {
		t.Error("something is left of an act whose handler refused")
	}
}

// TestConnInOwnTransaction: a handler has the connection of the application's
// own transaction, of pgx or of database/sql, when the act is carried out in it.
func TestConnInOwnTransaction(t *testing.T) {
	address := need.Postgres(t)
	pool := newPool(t, address)
	db := postgres.New(pool, sqlstore.Postgres)
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	act := func(id string, tx *sql.Tx, want *pgx.Conn) {
		t.Helper()
		var got *pgx.Conn
		err := db.Commit(t.Context(), &gatebook.Act{Tx: tx, Writes: []gatebook.Write{gatebook.CreateUser{User: gatebook.User{ID: id}}},
			InTx: func(ctx context.Context, _ *sql.Tx) error {
				got = postgres.Conn(ctx)
				_, err := got.Exec(ctx, "SELECT 1")
				return err
			}})
		if err != nil {
			t.Fatal(err)
		}
		if want != nil && got != want {
			t.Error("Conn is not the connection of the application's transaction")
		}
	}
	tx := begin(t, pool)
	own, done := inside(t, tx)
	act("1", own, tx.Conn())
	done()
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	std, err := sql.Open("pgx", address)
	if err != nil {
		t.Fatal(err)
	}
	defer std.Close()
	theirs, err := std.Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Rollback()
	act("2", theirs, nil)
	if err := theirs.Commit(); err != nil {
		t.Fatal(err)
	}
	if n := count(t, pool, `SELECT count(*) FROM "user"`); n != 2 {
		t.Errorf("%d users, want 2", n)
	}
}

func TestConnElsewhere(t *testing.T) {
	defer func() {
		if v := recover(); v == nil || !strings.Contains(fmt.Sprint(v), "InTx") {
			t.Errorf("Conn outside a handler panics with %v, want what says InTx", v)
		}
	}()
	postgres.Conn(t.Context())
}

// TestHungUp: after Open, an act that waits for a row when its visitor's time is
// up was not carried out, and the server says so.
func TestHungUp(t *testing.T) {
	address := need.Postgres(t)
	db, err := postgres.Open(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	u := gatebook.User{ID: "1", Name: "Ada", Email: "ada@example.com"}
	if err := db.Commit(t.Context(), &gatebook.Act{Writes: []gatebook.Write{gatebook.CreateUser{User: u}}}); err != nil {
		t.Fatal(err)
	}
	pool := newPool(t, address)
	tx := begin(t, pool)
	if _, err := tx.Exec(t.Context(), `UPDATE "user" SET name = 'Grace'`); err != nil {
		t.Fatal(err)
	}
	hungUp := errors.New("hung up")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 100*time.Millisecond, hungUp)
	defer cancel()
	u.Name = "Countess"
	err = db.Commit(ctx, &gatebook.Act{Writes: []gatebook.Write{gatebook.UpdateUser{User: u, Fields: []string{"name"}}}})
	if !errors.Is(err, hungUp) || errors.Is(err, gatebook.ErrCommitUnknown) {
		t.Errorf("Commit = %v, want the cause, and no doubt", err)
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := count(t, pool, `SELECT count(*) FROM "user" WHERE name = 'Grace'`); n != 1 {
		t.Error("the act was carried out after its visitor had gone")
	}
}
