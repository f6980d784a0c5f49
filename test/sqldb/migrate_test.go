package sqldb_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pressly/goose/v3"

	"github.com/gatebook/gatebook/book"
	"github.com/gatebook/gatebook/internal/sqldb"
)

// onServers is a set whose statements every server understands.
var onServers = set(
	"1_first.sql", "-- +goose Up\nCREATE TABLE IF NOT EXISTS m (id integer PRIMARY KEY, v varchar(20));\n-- +goose Down\nDROP TABLE m;\n",
	"2_second.sql", "-- +goose Up\nALTER TABLE m ADD COLUMN IF NOT EXISTS w varchar(20);\n-- +goose Down\nALTER TABLE m DROP COLUMN w;\n",
)

// index is a step outside a transaction, in each server's words.
var index = map[string]string{
	"postgres": "-- +goose NO TRANSACTION\n-- +goose Up\nDROP INDEX CONCURRENTLY IF EXISTS m_v;\n" +
		"CREATE UNIQUE INDEX CONCURRENTLY m_v ON m (v);\n-- +goose Down\nDROP INDEX m_v;\n",
	"mysql": "-- +goose NO TRANSACTION\n-- +goose Up\nCREATE UNIQUE INDEX IF NOT EXISTS m_v ON m (v);\n" +
		"-- +goose Down\nDROP INDEX m_v ON m;\n",
}

// with returns s with another file.
func with(s sqldb.Set, name, text string) sqldb.Set {
	files := fstest.MapFS{name: {Data: []byte(text)}}
	for n, f := range s.FS.(fstest.MapFS) {
		files[n] = f
	}
	return sqldb.Set{Name: s.Name, FS: files}
}

// Several runners at once apply each step once; an older program is refused and
// changes nothing.
func TestServerMigrate(t *testing.T) {
	for name, s := range servers {
		t.Run(name, func(t *testing.T) {
			address := s.fresh(t)
			db := s.open(t, address)
			all := with(onServers, "3_index.sql", index[name])
			plan, err := db.Plan(t.Context(), all)
			if err != nil || len(plan) != 3 || plan[2].Name != "3_index" || len(plan[0].Statements) != 1 {
				t.Fatalf("Plan = %+v, %v; want three steps", plan, err)
			}
			if err := db.Check(t.Context(), all); !errors.Is(err, sqldb.ErrSchema) {
				t.Errorf("Check = %v, want ErrSchema", err)
			}
			var wg sync.WaitGroup
			for range 4 {
				other := s.open(t, address)
				wg.Go(func() {
					if err := other.Migrate(t.Context(), nil, all); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			if n := count(t, db, "SELECT COUNT(*) FROM gatebook_migrations WHERE applied_at > 1700000000000"); n != 3 {
				t.Errorf("%d steps are noted, want 3", n)
			}
			if err := db.Check(t.Context(), all); err != nil {
				t.Errorf("Check = %v", err)
			}
			if _, err := db.Do(t.Context(), "INSERT INTO m (id, v, w) VALUES (1, 'a', 'b')"); err != nil {
				t.Error(err)
			}
			if _, err := db.Do(t.Context(), "INSERT INTO m (id, v, w) VALUES (2, 'a', 'b')"); !errors.Is(err, sqldb.ErrConflict) {
				t.Errorf("a double in the unique index = %v, want ErrConflict", err)
			}
			if err := db.Migrate(t.Context(), nil, onServers); !errors.Is(err, sqldb.ErrSchema) {
				t.Errorf("Migrate by an older program = %v, want ErrSchema", err)
			}
			plan, err = db.Plan(t.Context(), onServers)
			if err != nil || len(plan) != 3 || plan[2].Statements != nil || plan[2].Applied.IsZero() {
				t.Errorf("Plan of an older program = %+v, %v; want a step it does not know", plan, err)
			}
		})
	}
}

// Progress is told of each step before and after; a step that fails leaves those
// before it, and can be run again.
func TestServerMigrateFails(t *testing.T) {
	for name, s := range servers {
		t.Run(name, func(t *testing.T) {
			db := s.open(t, s.fresh(t))
			var told []string
			progress := func(step sqldb.Step) { told = append(told, fmt.Sprintf("%d%v", step.Version, step.Applied.IsZero())) }
			const text = "-- +goose Up\nCREATE TABLE IF NOT EXISTS c (x integer);\n%s\n"
			bad := with(onServers, "3_bad.sql", fmt.Sprintf(text, "INSERT INTO nowhere VALUES (1);"))
			if err := db.Migrate(t.Context(), progress, bad); err == nil || !strings.Contains(err.Error(), "to 3") {
				t.Errorf("Migrate of a broken file = %v, want an error that names it", err)
			}
			if diff := cmp.Diff([]string{"1true", "1false", "2true", "2false", "3true"}, told); diff != "" {
				t.Errorf("progress (-want +got):\n%s", diff)
			}
			if n := count(t, db, "SELECT MAX(version) FROM gatebook_migrations"); n != 2 {
				t.Errorf("the newest version is %d, want 2", n)
			}
			// On PostgreSQL nothing is left of the broken one; MariaDB commits what
			// changes tables by itself, so that its first statement comes again.
			var x int
			err := db.SQL().QueryRow("SELECT COUNT(*) FROM c").Scan(&x)
			if left := err == nil; left != (name == "mysql") {
				t.Errorf("the table of the broken step: %v", err)
			}
			good := with(onServers, "3_bad.sql", fmt.Sprintf(text, "INSERT INTO c VALUES (1);"))
			if err := db.Migrate(t.Context(), nil, good); err != nil {
				t.Errorf("Migrate again = %v", err)
			}
			if n := count(t, db, "SELECT COUNT(*) FROM c"); n != 1 {
				t.Errorf("%d rows, want 1", n)
			}
		})
	}
}

// A step waits for a transaction that has the table, but lets others at it
// meanwhile.
func TestServerMigrateLetsThrough(t *testing.T) {
	for name, s := range servers {
		t.Run(name, func(t *testing.T) {
			address := s.fresh(t)
			db, other := s.open(t, address), s.open(t, address).SQL()
			if err := db.Migrate(t.Context(), nil, set("1_first.sql", string(onServers.FS.(fstest.MapFS)["1_first.sql"].Data))); err != nil {
				t.Fatal(err)
			}
			holder, err := other.Begin()
			if err != nil {
				t.Fatal(err)
			}
			defer holder.Rollback()
			if _, err := holder.Exec("INSERT INTO m (id) VALUES (1)"); err != nil {
				t.Fatal(err)
			}
			done := make(chan error, 1)
			go func() { done <- db.Migrate(t.Context(), nil, onServers) }()
			// Readers come through, though some wait for up to two seconds: longer
			// than two such waits none does.
			for began := time.Now(); time.Since(began) < 5*time.Second; {
				ctx, cancel := context.WithTimeout(t.Context(), 4500*time.Millisecond)
				var n int
				if err := other.QueryRowContext(ctx, "SELECT COUNT(*) FROM m").Scan(&n); err != nil {
					t.Errorf("a reader beside the migration: %v", err)
				}
				cancel()
			}
			select {
			case err := <-done:
				t.Errorf("Migrate = %v while the table was held", err)
			default:
			}
			if err := holder.Commit(); err != nil {
				t.Fatal(err)
			}
			if err := <-done; err != nil {
				t.Errorf("Migrate = %v", err)
			}
		})
	}
}

// A runner whose context ends stops, and leaves no lock behind.
func TestServerMigrateEnds(t *testing.T) {
	for name, s := range servers {
		t.Run(name, func(t *testing.T) {
			address := s.fresh(t)
			db, other := s.open(t, address), s.open(t, address)
			slow := "SELECT pg_sleep(60);"
			if name == "mysql" {
				slow = "DO SLEEP(60);"
			}
			cause := errors.New("told to stop")
			ctx, cancel := context.WithCancelCause(t.Context())
			err := db.Migrate(ctx, func(s sqldb.Step) {
				if s.Version == 2 {
					time.AfterFunc(200*time.Millisecond, func() { cancel(cause) })
				}
			}, set("1_a.sql", "-- +goose Up\nCREATE TABLE IF NOT EXISTS c (x integer);\n",
				"2_slow.sql", "-- +goose NO TRANSACTION\n-- +goose Up\n"+slow+"\n"))
			if !errors.Is(err, cause) {
				t.Errorf("Migrate = %v, want the cause", err)
			}
			if err := other.Migrate(t.Context(), nil, set("1_a.sql", "-- +goose Up\nCREATE TABLE IF NOT EXISTS c (x integer);\n",
				"2_slow.sql", "-- +goose NO TRANSACTION\n-- +goose Up\nINSERT INTO c VALUES (1);\n")); err != nil {
				t.Errorf("Migrate by another = %v", err)
			}
		})
	}
}

// tables returns what a server says of the columns and indexes of a database.
func (s server) tables(t testing.TB, db *sqldb.DB) []string {
	t.Helper()
	queries := []string{
		`SELECT concat_ws(' ', table_name, column_name, data_type, is_nullable, column_default, collation_name, is_identity)
			FROM information_schema.columns WHERE table_schema = 'public'`,
		`SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'`,
		`SELECT concat_ws(' ', conrelid::regclass, conname, pg_get_constraintdef(oid)) FROM pg_constraint WHERE connamespace = 'public'::regnamespace`,
	}
	if s.driver == "mysql" {
		queries = []string{
			`SELECT concat_ws(' ', table_name, column_name, column_type, is_nullable, column_default, collation_name, extra)
				FROM information_schema.columns WHERE table_schema = DATABASE()`,
			`SELECT concat_ws(' ', table_name, index_name, non_unique, seq_in_index, column_name) FROM information_schema.statistics WHERE table_schema = DATABASE()`,
			`SELECT concat_ws(' ', table_name, engine, table_collation) FROM information_schema.tables WHERE table_schema = DATABASE()`,
		}
	}
	var out []string
	for _, q := range queries {
		for _, line := range lines(t, db, q) {
			if !strings.Contains(line, "gatebook_migrations") && !strings.Contains(line, "goose_db_version") {
				out = append(out, line)
			}
		}
	}
	slices.Sort(out)
	return out
}

func lines(t testing.TB, db *sqldb.DB, query string) (out []string) {
	t.Helper()
	rows, err := db.SQL().Query(query)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			t.Fatal(err)
		}
		out = append(out, line)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

// Goose makes the same tables from the book's files, and takes them away again.
func TestServerGooseMakesTheSame(t *testing.T) {
	dialects := map[string]goose.Dialect{"postgres": goose.DialectPostgres, "mysql": goose.DialectMySQL}
	for name, s := range servers {
		t.Run(name, func(t *testing.T) {
			for part, files := range map[string]sqldb.Set{
				"book": book.Migrations(s.dialect), "without transaction": with(onServers, "3_index.sql", index[name]),
			} {
				ours, theirs := s.open(t, s.fresh(t)), s.open(t, s.fresh(t))
				if err := ours.Migrate(t.Context(), nil, files); err != nil {
					t.Fatal(err)
				}
				p, err := goose.NewProvider(dialects[name], theirs.SQL(), files.FS)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := p.Up(t.Context()); err != nil {
					t.Fatal(err)
				}
				got := s.tables(t, ours)
				if len(got) < 3 {
					t.Fatalf("%s: the schema has %d lines only", part, len(got))
				}
				if diff := cmp.Diff(s.tables(t, theirs), got); diff != "" {
					t.Errorf("%s: our schema is not goose's (-goose +ours):\n%s", part, diff)
				}
				if _, err := p.DownTo(t.Context(), 0); err != nil {
					t.Errorf("%s: migrating back: %v", part, err)
				}
				if left := s.tables(t, theirs); len(left) != 0 {
					t.Errorf("%s: migrating back leaves %q", part, left)
				}
			}
		})
	}
}

// Each statement of the book may come again: a runner that was killed between a
// step and its note repeats it.
func TestServerStepsRepeat(t *testing.T) {
	for name, s := range servers {
		t.Run(name, func(t *testing.T) {
			db := s.open(t, s.fresh(t))
			if err := db.Migrate(t.Context(), nil, book.Migrations(s.dialect)); err != nil {
				t.Fatal(err)
			}
			before := s.tables(t, db)
			if _, err := db.SQL().Exec("DELETE FROM gatebook_migrations"); err != nil {
				t.Fatal(err)
			}
			if err := db.Migrate(t.Context(), nil, book.Migrations(s.dialect)); err != nil {
				t.Errorf("Migrate again = %v", err)
			}
			if diff := cmp.Diff(before, s.tables(t, db)); diff != "" {
				t.Errorf("repeating changes the schema (-before +after):\n%s", diff)
			}
			steps, err := db.Plan(t.Context(), book.Migrations(s.dialect))
			if err != nil {
				t.Fatal(err)
			}
			for _, step := range steps {
				if len(step.Statements) != 1 {
					t.Errorf("step %s has %d statements, want 1", step.Name, len(step.Statements))
				}
			}
		})
	}
}
