// Package postgres_test runs adapter/postgres on real servers: the suite of
// adapter/adaptertest, what only PostgreSQL has, and what goes wrong there.
package postgres_test

import (
	"context"
	"database/sql"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/gatebook/gatebook/adapter/postgres"
	"github.com/gatebook/gatebook/test/need"
)

// newPool returns the application's pool on a fresh database.
func newPool(t testing.TB, url string) *pgxpool.Pool {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

func run(t *testing.T, pool *pgxpool.Pool, query string, args ...any) {
	t.Helper()
	if _, err := pool.Exec(t.Context(), query, args...); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

func count(t *testing.T, pool *pgxpool.Pool, query string) (n int) {
	t.Helper()
	if err := pool.QueryRow(t.Context(), query).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

func begin(t *testing.T, pool *pgxpool.Pool) pgx.Tx {
	t.Helper()
	tx, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tx.Rollback(context.Background()) })
	return tx
}

// inside returns a *sql.Tx inside tx.
func inside(t *testing.T, tx pgx.Tx) (*sql.Tx, func()) {
	t.Helper()
	own, done, err := postgres.Tx(t.Context(), tx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(done)
	return own, done
}

// TestTxEnds: what was done through the *sql.Tx is committed or rolled back with
// the pgx.Tx and not before, whatever is called on the *sql.Tx.
func TestTxEnds(t *testing.T) {
	pool := newPool(t, need.Postgres(t))
	run(t, pool, "CREATE TABLE x (n int)")
	for _, end := range []struct {
		name string
		call func(*sql.Tx) error
	}{
		{"done", nil}, {"Commit", (*sql.Tx).Commit}, {"Rollback", (*sql.Tx).Rollback},
	} {
		for _, commit := range []bool{true, false} {
			run(t, pool, "DELETE FROM x")
			tx := begin(t, pool)
			own, done := inside(t, tx)
			if _, err := own.Exec("INSERT INTO x VALUES ($1)", 1); err != nil {
				t.Fatal(err)
			}
			if end.call != nil {
				if err := end.call(own); err != nil {
					t.Fatalf("%s of the *sql.Tx: %v", end.name, err)
				}
			}
			done()
			if n := count(t, pool, "SELECT count(*) FROM x"); n != 0 {
				t.Errorf("after %s of the *sql.Tx others see %d rows, want 0", end.name, n)
			}
			// The transaction goes on.
			if _, err := tx.Exec(t.Context(), "INSERT INTO x VALUES (2)"); err != nil {
				t.Fatalf("after %s of the *sql.Tx: %v", end.name, err)
			}
			want := 0
			if commit {
				want = 2
				if err := tx.Commit(t.Context()); err != nil {
					t.Fatal(err)
				}
			} else if err := tx.Rollback(t.Context()); err != nil {
				t.Fatal(err)
			}
			if n := count(t, pool, "SELECT count(*) FROM x"); n != want {
				t.Errorf("%s of the *sql.Tx, then commit %v: %d rows, want %d", end.name, commit, n, want)
			}
		}
	}
}

// TestTxValues gets the same values through Tx as through pgx's own driver of
// database/sql.
func TestTxValues(t *testing.T) {
	url := need.Postgres(t)
	pool := newPool(t, url)
	const query = `SELECT true, 7::int2, -7::int4, 9007199254740993::int8, 1.5::float4, 2.25::float8, 'Ünï'::text, 'v'::varchar,
		'\x00ff'::bytea, date '2026-11-24', timestamp '2026-11-24 17:00:00.123456', timestamptz '2026-11-24 17:00:00.123456+01',
		'018f6b1e-0000-7000-8000-000000000001'::uuid, 12.340::numeric, '{"a": 1}'::jsonb, 'infinity'::timestamptz, NULL::text, NULL::int8,
		'{1,2}'::int[], 3::oid, interval '1 day', $1::text, $2::bytea, $3::bigint, $4::timestamptz, $5::boolean, $6::uuid`
	args := []any{"text", []byte{0, 1}, int64(5), time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC), true, "018f6b1e-0000-7000-8000-000000000002"}
	scan := func(run func(string, ...any) (*sql.Rows, error)) []any {
		t.Helper()
		rows, err := run(query, args...)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		if !rows.Next() {
			t.Fatalf("no row: %v", rows.Err())
		}
		names, err := rows.Columns()
		if err != nil {
			t.Fatal(err)
		}
		values, into := make([]any, len(names)), make([]any, len(names))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			t.Fatal(err)
		}
		for i, v := range values {
			switch v := v.(type) {
			case []byte: // of json: the same to whoever scans it
				if names[i] == "jsonb" {
					values[i] = string(v)
				}
			case time.Time:
				values[i] = v.UTC()
			}
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
		return values
	}
	theirs, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	want := scan(theirs.Query)
	own, _ := inside(t, begin(t, pool))
	got := scan(own.Query)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("values of Tx differ from those of pgx (-pgx +Tx):\n%s", diff)
	}
	stmt, err := own.Prepare(query)
	if err != nil {
		t.Fatal(err)
	}
	defer stmt.Close()
	if diff := cmp.Diff(want, scan(func(_ string, args ...any) (*sql.Rows, error) { return stmt.Query(args...) })); diff != "" {
		t.Errorf("values of a prepared statement differ (-pgx +Tx):\n%s", diff)
	}
}

// TestTxRows reads many rows, none, and some before an error.
func TestTxRows(t *testing.T) {
	pool := newPool(t, need.Postgres(t))
	own, _ := inside(t, begin(t, pool))
	read := func(query string, args ...any) (sum int, err error) {
		rows, err := own.Query(query, args...)
		if err != nil {
			return 0, err
		}
		defer rows.Close()
		for rows.Next() {
			var n int
			if err := rows.Scan(&n); err != nil {
				return 0, err
			}
			sum += n
		}
		return sum, rows.Err()
	}
	if sum, err := read("SELECT generate_series(1, $1::int)", 1000); err != nil || sum != 500500 {
		t.Errorf("sum of 1 to 1000 = %d, %v", sum, err)
	}
	if sum, err := read("SELECT 1 WHERE false"); err != nil || sum != 0 {
		t.Errorf("no rows = %d, %v", sum, err)
	}
	res, err := own.Exec("CREATE TEMPORARY TABLE y AS SELECT generate_series(1, 3)")
	if err != nil {
		t.Fatal(err)
	}
	if n, err := res.RowsAffected(); err != nil || n != 3 {
		t.Errorf("RowsAffected = %d, %v; want 3", n, err)
	}
	if _, err := own.Exec("SAVEPOINT s"); err != nil {
		t.Fatal(err)
	}
	if sum, err := read("SELECT 1 / (500 - n) FROM generate_series(1, 1000) n"); err == nil {
		t.Errorf("a division by zero after 499 rows = %d, nil; want an error", sum)
	}
	if _, err := own.Exec("ROLLBACK TO SAVEPOINT s"); err != nil {
		t.Fatal(err)
	}
	if sum, err := read("SELECT 4"); err != nil || sum != 4 {
		t.Errorf("after the savepoint = %d, %v; want 4", sum, err)
	}
}

func TestTxRefuses(t *testing.T) {
	if _, _, err := postgres.Tx(t.Context(), nil); err == nil {
		t.Error("Tx of nil = nil, want an error")
	}
	pool := newPool(t, need.Postgres(t))
	tx := begin(t, pool)
	own, _ := inside(t, tx)
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := own.Exec("SELECT 1"); !errors.Is(err, pgx.ErrTxClosed) {
		t.Errorf("Exec after the pgx.Tx was committed = %v, want %v", err, pgx.ErrTxClosed)
	}
	simple := newPool(t, need.Postgres(t)+"&default_query_exec_mode=simple_protocol")
	if _, _, err := postgres.Tx(t.Context(), begin(t, simple)); err == nil {
		t.Error("Tx on a connection with the simple protocol = nil, want an error")
	}
}

// TestTxNested: the transaction may be a savepoint of another.
func TestTxNested(t *testing.T) {
	pool := newPool(t, need.Postgres(t))
	outer := begin(t, pool)
	inner, err := outer.Begin(t.Context()) // a savepoint
	if err != nil {
		t.Fatal(err)
	}
	own, _ := inside(t, inner)
	if _, err := own.Exec("CREATE TABLE z (n int)"); err != nil {
		t.Fatal(err)
	}
	if err := inner.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := outer.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := count(t, pool, "SELECT count(*) FROM pg_class WHERE relname = 'z'"); n != 0 {
		t.Error("what was done in a savepoint that was rolled back is there")
	}
}
