package sqldb_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/gatebook/gatebook/internal/sqldb"
)

const settings = "_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=foreign_keys(ON)"

func open(t testing.TB, path, settings string) *sqldb.DB {
	t.Helper()
	p, err := sql.Open("sqlite", "file:"+path+"?"+settings)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return sqldb.New(p, sqldb.SQLite)
}

func set(files ...string) sqldb.Set {
	fs := fstest.MapFS{}
	for i := 0; i < len(files); i += 2 {
		fs[files[i]] = &fstest.MapFile{Data: []byte(files[i+1])}
	}
	return sqldb.Set{Name: "part", FS: fs}
}

const (
	first = `-- what the table is for
-- +goose Up
CREATE TABLE a (
	id INTEGER PRIMARY KEY, -- a comment; with a semicolon
	name TEXT UNIQUE
);
CREATE TABLE b (a INTEGER NOT NULL REFERENCES a (id));
-- +goose StatementBegin
CREATE TRIGGER no_delete BEFORE DELETE ON a BEGIN
	SELECT RAISE(ABORT, 'no');
END;
-- +goose StatementEnd

-- +goose Down
DROP TABLE a;
`
	second = "-- +goose Up\nALTER TABLE a ADD COLUMN x TEXT;\n"
)

// newDB returns a database with the tables a and b.
func newDB(t testing.TB) (*sqldb.DB, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.db")
	db := open(t, path, settings)
	if err := db.Migrate(t.Context(), nil, set("1_first.sql", first)); err != nil {
		t.Fatal(err)
	}
	return db, path
}

func count(t testing.TB, db *sqldb.DB, query string) (n int) {
	t.Helper()
	if err := db.SQL().QueryRow(query).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func insert(name string) func(context.Context, *sql.Tx) error {
	return func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO a (name) VALUES (?)", name)
		return err
	}
}

func TestMigrate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	db := open(t, path, settings)
	one, two := set("1_first.sql", first), set("1_first.sql", first, "10_second.sql", second)
	if err := db.Check(t.Context(), one); !errors.Is(err, sqldb.ErrSchema) {
		t.Errorf("Check of an empty database = %v, want ErrSchema", err)
	}
	if err := db.Migrate(t.Context(), nil, one); err != nil {
		t.Fatal(err)
	}
	if err := db.Check(t.Context(), one); err != nil {
		t.Errorf("Check = %v", err)
	}
	if err := db.Check(t.Context(), two); !errors.Is(err, sqldb.ErrSchema) || !strings.Contains(err.Error(), "10_second") {
		t.Errorf("Check = %v, want the name of what is missing", err)
	}
	// Several servers at once; what was run is not run again.
	var wg sync.WaitGroup
	for range 4 {
		other := open(t, path, settings)
		wg.Go(func() {
			if err := other.Migrate(t.Context(), nil, two); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := count(t, db, "SELECT COUNT(*) FROM gatebook_migrations WHERE applied_at > 1700000000000"); n != 2 {
		t.Errorf("%d migrations are noted, want 2", n)
	}
	if n := count(t, db, "SELECT COUNT(*) FROM sqlite_schema WHERE name IN ('a', 'b', 'no_delete')"); n != 3 {
		t.Errorf("%d of 3 tables and triggers are there", n)
	}
	// A program of the version before serves, but does not migrate.
	if err := db.Check(t.Context(), one); err != nil {
		t.Errorf("Check by an older program = %v", err)
	}
	if err := db.Migrate(t.Context(), nil, one); !errors.Is(err, sqldb.ErrSchema) || !strings.Contains(err.Error(), "use the newer version") {
		t.Errorf("Migrate by an older program = %v, want ErrSchema", err)
	}
}

// A migration that fails leaves nothing of itself and all before it.
func TestMigrateFails(t *testing.T) {
	db, _ := newDB(t)
	bad := "-- +goose Up\nCREATE TABLE c (x);\nINSERT INTO nowhere VALUES (1);\n"
	if err := db.Migrate(t.Context(), nil, set("1_first.sql", first, "2_second.sql", second, "3_bad.sql", bad)); err == nil {
		t.Error("Migrate of a broken file succeeded")
	}
	if n := count(t, db, "SELECT COUNT(*) FROM sqlite_schema WHERE name = 'c'"); n != 0 {
		t.Error("half a migration was applied")
	}
	if n := count(t, db, "SELECT MAX(version) FROM gatebook_migrations"); n != 2 {
		t.Errorf("the newest version is %d, want 2", n)
	}
	if err := db.Tx(t.Context(), insert("x")); err != nil {
		t.Errorf("Tx afterwards = %v", err)
	}
}

func TestMigrateRefusesFiles(t *testing.T) {
	for name, files := range map[string]sqldb.Set{
		"none":             set(),
		"no version":       set("first.sql", first),
		"version zero":     set("0_first.sql", first),
		"two of a version": set("1_a.sql", first, "01_b.sql", "-- +goose Up\nCREATE TABLE d (x);\n"),
		"no Up":            set("1_a.sql", "CREATE TABLE c (x);\n"),
		"two Ups":          set("1_a.sql", "-- +goose Up\nSELECT 1;\n-- +goose Up\nSELECT 1;\n"),
		"no end":           set("1_a.sql", "-- +goose Up\nCREATE TABLE c (x)\n"),
		"no StatementEnd":  set("1_a.sql", "-- +goose Up\n-- +goose StatementBegin\nCREATE TABLE c (x);\n"),
		"another command":  set("1_a.sql", "-- +goose Up\n-- +goose ENVSUB ON\nCREATE TABLE c (x);\n"),
		"transaction late": set("1_a.sql", "-- +goose Up\n-- +goose NO TRANSACTION\nCREATE TABLE c (x);\n"),
	} {
		db := open(t, filepath.Join(t.TempDir(), "x.db"), settings)
		if err := db.Migrate(t.Context(), nil, files); err == nil {
			t.Errorf("%s: Migrate succeeded", name)
		}
		if n := count(t, db, "SELECT COUNT(*) FROM sqlite_schema WHERE name = 'c'"); n != 0 {
			t.Errorf("%s: a table was made", name)
		}
	}
}

func TestTx(t *testing.T) {
	db, _ := newDB(t)
	if err := db.Tx(t.Context(), insert("x")); err != nil {
		t.Fatal(err)
	}
	own := errors.New("own")
	for _, tt := range []struct {
		name string
		fn   func(context.Context, *sql.Tx) error
		want error
	}{
		{"unique", insert("x"), sqldb.ErrConflict},
		{"foreign key", func(ctx context.Context, tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, "INSERT INTO b (a) VALUES (99)")
			return err
		}, sqldb.ErrConflict},
		{"own error", func(ctx context.Context, tx *sql.Tx) error {
			return errors.Join(insert("y")(ctx, tx), own)
		}, own},
		{"nested", func(ctx context.Context, tx *sql.Tx) error { return db.Tx(ctx, insert("y")) }, sqldb.ErrNested},
	} {
		if err := db.Tx(t.Context(), tt.fn); !errors.Is(err, tt.want) {
			t.Errorf("%s: Tx = %v, want %v", tt.name, err, tt.want)
		}
	}
	// What is our mistake is no conflict.
	if err := db.Tx(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO b (a) VALUES (NULL)")
		return err
	}); err == nil || errors.Is(err, sqldb.ErrConflict) {
		t.Errorf("Tx that breaks NOT NULL = %v, want an error without class", err)
	}
	if n := count(t, db, "SELECT COUNT(*) FROM a"); n != 1 {
		t.Errorf("%d rows, want 1: what failed was not rolled back", n)
	}

	cause := errors.New("told to stop")
	ctx, cancel := context.WithCancelCause(t.Context())
	err := db.Tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		defer cancel(cause)
		return insert("late")(ctx, tx)
	})
	if !errors.Is(err, cause) || errors.Is(err, sqldb.ErrCommitUnknown) {
		t.Errorf("Tx whose context ends before the commit = %v, want the cause", err)
	}
	func() {
		defer func() { recover() }()
		db.Tx(t.Context(), func(ctx context.Context, tx *sql.Tx) error { insert("panic")(ctx, tx); panic("x") })
	}()
	if n := count(t, db, "SELECT COUNT(*) FROM a"); n != 1 {
		t.Errorf("%d rows, want 1", n)
	}
	if err := db.Tx(t.Context(), insert("after")); err != nil {
		t.Errorf("Tx after a panic = %v", err)
	}
}

// What a transaction reads cannot change before it writes, also where the data
// source name asks for deferred ones.
func TestTxIsImmediate(t *testing.T) {
	db, path := newDB(t)
	if err := db.Tx(t.Context(), insert("0")); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for _, d := range []*sqldb.DB{db, open(t, path, settings), open(t, path, settings+"&_txlock=deferred"), open(t, path, settings+"&_txlock=immediate")} {
		wg.Go(func() {
			for range 50 {
				if err := d.Tx(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
					var n int
					if err := tx.QueryRowContext(ctx, "SELECT CAST(name AS INTEGER) FROM a").Scan(&n); err != nil {
						return err
					}
					_, err := tx.ExecContext(ctx, "UPDATE a SET name = ?", fmt.Sprint(n+1))
					return err
				}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if n := count(t, db, "SELECT CAST(name AS INTEGER) FROM a"); n != 200 {
		t.Errorf("after 200 increments the value is %d", n)
	}
}

// Writers of one DB wait for one another, but not when their context has ended.
func TestTxWaits(t *testing.T) {
	db, _ := newDB(t)
	n := 0 // guarded by the transactions
	var wg sync.WaitGroup
	if err := db.Tx(t.Context(), func(context.Context, *sql.Tx) error {
		for range 8 {
			wg.Go(func() {
				if err := db.Tx(t.Context(), func(context.Context, *sql.Tx) error {
					n++
					return nil
				}); err != nil {
					t.Error(err)
				}
			})
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if err := db.Tx(ctx, insert("x")); !errors.Is(err, context.Canceled) {
			t.Errorf("Tx whose context has ended = %v", err)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	if n != 8 {
		t.Errorf("%d of 8 writers had their turn", n)
	}
}

func TestWeakSettings(t *testing.T) {
	_, path := newDB(t)
	for _, tt := range []struct{ replace, by, says string }{
		{"synchronous(FULL)", "synchronous(NORMAL)", "synchronous"},
		{"synchronous(FULL)", "synchronous(OFF)", "synchronous"},
		{"foreign_keys(ON)", "foreign_keys(OFF)", "foreign_keys"},
		{"synchronous(FULL)", "synchronous(EXTRA)", ""},
	} {
		db := open(t, path, strings.Replace(settings, tt.replace, tt.by, 1))
		err := db.Tx(t.Context(), insert(tt.by))
		if tt.says == "" {
			if err != nil {
				t.Errorf("Tx with %s = %v", tt.by, err)
			}
			continue
		}
		if !errors.Is(err, sqldb.ErrWeak) || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("Tx with %s = %v, want ErrWeak", tt.by, err)
		}
		tx, err := db.SQL().Begin()
		if err != nil {
			t.Fatal(err)
		}
		if err := db.CheckTx(t.Context(), tx); !errors.Is(err, sqldb.ErrWeak) {
			t.Errorf("CheckTx with %s = %v, want ErrWeak", tt.by, err)
		}
		tx.Rollback()
	}
	memory := filepath.Join(t.TempDir(), "m.db")
	db := open(t, memory, strings.Replace(settings, "WAL", "MEMORY", 1))
	if err := db.Migrate(t.Context(), nil, set("1_first.sql", first)); err != nil {
		t.Fatal(err)
	}
	if err := db.Tx(t.Context(), insert("x")); !errors.Is(err, sqldb.ErrWeak) {
		t.Errorf("Tx with the journal in memory = %v, want ErrWeak", err)
	}
}
