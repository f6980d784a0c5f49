//go:build linux

package main

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"database/sql/driver"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"time"

	sqlitedriver "modernc.org/sqlite"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/adapter/postgres"
	"github.com/gatebook/gatebook/adapter/sqlite"
	"github.com/gatebook/gatebook/adapter/sqlstore"
	"github.com/gatebook/gatebook/record"
	"github.com/gatebook/gatebook/test/dbserver"
	"github.com/gatebook/gatebook/test/need"
)

// maxGrowth is how many times longer an act may take among many users than among
// few.
const maxGrowth = 1.5

// store is an adapter with users, accounts and sessions by the number.
type store interface {
	gatebook.Adapter
	Close() error
}

// grown is a store among few users and the same among many.
type grown struct {
	name      string
	few, many store
}

// growSQLite measures a session read and a sign-in in SQLite as users grow.
func growSQLite(ctx context.Context, r *runner) (err error) {
	g := grown{name: "SQLite"}
	if g.few, err = r.grownFile(ctx, r.few); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.few.Close()) }()
	if g.many, err = r.grownFile(ctx, r.many); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.many.Close()) }()
	return r.grows(ctx, &g)
}

// growPostgres measures the same in PostgreSQL, on the server that scripts started
// or one of its own.
func growPostgres(ctx context.Context, r *runner) (err error) {
	server, stop, err := databaseServer(need.PostgresEnv, dbserver.Postgres, "postgres")
	if err != nil || server == "" {
		return err
	}
	defer stop()
	g := grown{name: "PostgreSQL"}
	few, dropFew, err := growDatabase(ctx, server, r.few)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, few.Close(), dropFew()) }()
	many, dropMany, err := growDatabase(ctx, server, r.many)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, many.Close(), dropMany()) }()
	g.few, g.many = few, many
	return r.grows(ctx, &g)
}

// growDatabase makes a database like grownFile's and returns what drops it.
func growDatabase(ctx context.Context, server string, users int) (*postgres.DB, func() error, error) {
	address, drop, err := freshPostgres(ctx, server)
	if err != nil {
		return nil, nil, err
	}
	db, err := postgres.Open(ctx, address)
	if err != nil {
		return nil, nil, errors.Join(err, drop())
	}
	if err := fillPostgres(ctx, db.SQL(), users); err != nil {
		return nil, nil, errors.Join(err, db.Close(), drop())
	}
	return db, drop, nil
}

func fillPostgres(ctx context.Context, pool *sql.DB, users int) error {
	conn, err := pool.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	const numbers = `(SELECT i, to_char(i, 'FM00000000') AS n, '7d8a1f6e-52b0-4c39-9a41-0000' || to_char(i, 'FM00000000') AS id
		FROM generate_series(0, %d - 1) AS i) AS p`
	from := fmt.Sprintf(numbers, users)
	steps := []string{
		`SET synchronous_commit = off`,
		`SET session_replication_role = replica`, // foreign keys are not looked at
		`SET maintenance_work_mem = '512MB'`,
		`SET work_mem = '256MB'`,
		`DROP INDEX IF EXISTS gatebook_session_user, gatebook_sessions_user, gatebook_account_user`,
		`INSERT INTO "user" ("id", "name", "email", "image")
			SELECT id, 'Person ' || n, 'person.' || n || '@example.com', 'https://img.example.com/u/' || n || '.png' FROM ` + from,
		`INSERT INTO gatebook_subjects (user_id, key) SELECT id, uuid_send(gen_random_uuid()) FROM ` + from,
		`INSERT INTO "account" ("userId", "type", "provider", "providerAccountId") SELECT id, 'oidc', 'instant', i::text FROM ` + from,
		`INSERT INTO "session" ("sessionToken", "userId", "expires")
			SELECT encode(sha256(('4e1dcb0a-93c4-4b7f-8c53-0000' || n)::bytea), 'hex'), id, now() + interval '30 days' FROM ` + from + ` ORDER BY 1`,
		`INSERT INTO gatebook_sessions (digest, sid, user_id, begun, provider, user_agent)
			SELECT "sessionToken", encode(uuid_send(gen_random_uuid()), 'hex'), "userId", 1, 'instant', '' FROM "session" ORDER BY 1`,
		`CREATE INDEX IF NOT EXISTS gatebook_session_user ON "session" ("userId")`,
		`CREATE INDEX IF NOT EXISTS gatebook_sessions_user ON gatebook_sessions (user_id)`,
		`CREATE INDEX IF NOT EXISTS gatebook_account_user ON "account" ("userId")`,
		`VACUUM ANALYZE`,
		// Read through, as growFile's file is.
		`CREATE EXTENSION IF NOT EXISTS pg_prewarm`,
		`SELECT sum(pg_prewarm(c.oid, 'read')) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
			WHERE n.nspname = 'public' AND c.relkind IN ('r', 'i')`,
		`CHECKPOINT`,
		`RESET ALL`,
	}
	for i, step := range steps {
		if _, err := conn.ExecContext(ctx, step); err != nil {
			return fmt.Errorf("step %d: %w", i, err)
		}
		if users >= 1_000_000 {
			fmt.Fprintf(os.Stderr, "%d users in PostgreSQL: step %d of %d\n", users, i+1, len(steps))
		}
	}
	return nil
}

// grows measures both in turns, of users taken at random.
func (r *runner) grows(ctx context.Context, g *grown) error {
	for _, m := range []struct {
		name string
		fn   func(context.Context, gatebook.Adapter, int) error
	}{
		{"session read", readAt},
		{"sign-in", signInAt},
	} {
		turn := func(s store, users int) func() (float64, error) {
			return func() (float64, error) {
				took := make([]float64, r.acts)
				for i := range took {
					at := mathrand.IntN(users)
					began := time.Now()
					if err := m.fn(ctx, s, at); err != nil {
						return 0, err
					}
					took[i] = time.Since(began).Seconds()
				}
				return median(took), s.Book().Drain(ctx)
			}
		}
		figure, floor, err := alternate(r.turns, turn(g.many, r.many), turn(g.few, r.few))
		if err != nil {
			return err
		}
		r.atMost("growth, "+g.name+", "+m.name, figure, floor, micros, maxGrowth,
			fmt.Sprintf("p50 among %d users against %d", r.many, r.few))
	}
	return nil
}

// readAt reads the session of the user number i.
func readAt(ctx context.Context, a gatebook.Adapter, i int) error {
	f, err := a.Session(ctx, rowToken(i))
	if err == nil && f.User.ID != person(i).ID {
		err = fmt.Errorf("session %d is of %s", i, f.User.ID)
	}
	return err
}

// signInAt does what a sign-in of the user number i asks and writes.
func signInAt(ctx context.Context, a gatebook.Adapter, i int) error {
	p := account(i)
	found, err := a.Find(ctx, gatebook.Query{Account: gatebook.AccountKey{Provider: p.Provider, ProviderAccountID: p.ProviderAccountID},
		Email: person(i).Email})
	if err != nil {
		return err
	}
	if found.ByAccount == nil || found.ByEmail == nil || found.ByAccount.Subject.IsZero() {
		return fmt.Errorf("user %d is not found", i)
	}
	id, err := a.Book().Identity(ctx)
	if err != nil {
		return err
	}
	now := time.Now()
	entry, err := record.New(record.Header{Book: id.ID, ID: record.NewKey().String(), Type: record.TypeSignIn, TypeVersion: 1,
		Source: record.SourceGatebook, Time: now, Act: record.NewKey().String(), Outcome: record.Success, Subject: found.ByAccount.Subject}, nil, nil)
	if err != nil {
		return err
	}
	return a.Commit(ctx, &gatebook.Act{
		Writes: []gatebook.Write{gatebook.CreateSession{Session: gatebook.StoredSession{
			Token: gatebook.Secret(record.NewKey().String()), UserID: found.ByAccount.User.ID, ID: record.NewKey().String(),
			Begun: now, Expires: now.Add(30 * 24 * time.Hour), Provider: p.Provider,
		}}},
		Entries: []record.Entry{entry},
	})
}

// grownFile returns a database with users, each with an account, a subject key
// and a session, as person, account and rowToken say. It is built once; what
// sign-ins add to it is little.
func (r *runner) grownFile(ctx context.Context, users int) (*sqlite.DB, error) {
	sum, err := migrationsSum(sqlstore.Migrations(sqlstore.SQLite))
	if err != nil {
		return nil, err
	}
	path := filepath.Join(r.data, fmt.Sprintf("users-%d-%s.db", users, sum))
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		building := filepath.Join(r.temp, "users.db")
		if err := growFile(ctx, building, users); err != nil {
			return nil, fmt.Errorf("build %s: %w", path, err)
		}
		if err := os.Rename(building, path); err != nil {
			return nil, err
		}
	}
	// A server that has run for a while has its database in memory; after the
	// build, or a week, it would come from the disk.
	if err := readThrough(path); err != nil {
		return nil, err
	}
	return sqlite.Open(path)
}

func readThrough(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(io.Discard, f)
	return err
}

// growFile makes such a file with statements that make many rows each, in the
// order of their keys, without what would make each row wait.
func growFile(ctx context.Context, path string, users int) error {
	db, err := sqlite.Open(path)
	if err != nil {
		return err
	}
	if err := db.Close(); err != nil {
		return err
	}
	pool, err := sql.Open("sqlite", "file:"+path+"?_pragma=synchronous(OFF)&_pragma=foreign_keys(0)&_pragma=cache_size(-400000)")
	if err != nil {
		return err
	}
	defer pool.Close()
	pool.SetMaxOpenConns(1)
	const numbers = `WITH RECURSIVE c(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM c WHERE i + 1 < ?1),
		p AS (SELECT i, printf('%08d', i) AS n, '7d8a1f6e-52b0-4c39-9a41-0000' || printf('%08d', i) AS id FROM c) `
	expires := time.Now().Add(30 * 24 * time.Hour).UnixMilli()
	for i, step := range []string{
		`DROP INDEX gatebook_session_user`,
		`DROP INDEX gatebook_sessions_user`,
		numbers + `INSERT INTO "user" ("id", "name", "email", "image")
			SELECT id, 'Person ' || n, 'person.' || n || '@example.com', 'https://img.example.com/u/' || n || '.png' FROM p`,
		numbers + `INSERT INTO gatebook_subjects (user_id, key) SELECT id, randomblob(16) FROM p`,
		numbers + `INSERT INTO "account" ("userId", "type", "provider", "providerAccountId") SELECT id, 'oidc', 'instant', CAST(i AS text) FROM p ORDER BY 4`,
		numbers + `INSERT INTO "session" ("sessionToken", "userId", "expires")
			SELECT bench_sha256('4e1dcb0a-93c4-4b7f-8c53-0000' || n), id, ` + strconv.FormatInt(expires, 10) + ` FROM p ORDER BY 1`,
		`INSERT INTO gatebook_sessions (digest, sid, user_id, begun, provider, user_agent)
			SELECT "sessionToken", lower(hex(randomblob(16))), "userId", 1, 'instant', '' FROM "session" ORDER BY 1`,
		`CREATE INDEX gatebook_session_user ON "session" ("userId")`,
		`CREATE INDEX gatebook_sessions_user ON gatebook_sessions (user_id)`,
		`ANALYZE`,
	} {
		var args []any
		if len(step) > len(numbers) && step[:len(numbers)] == numbers {
			args = append(args, users)
		}
		if _, err := pool.ExecContext(ctx, step, args...); err != nil {
			return fmt.Errorf("step %d: %w", i, err)
		}
		if users >= 1_000_000 {
			fmt.Fprintf(os.Stderr, "%d users in SQLite: step %d of 10\n", users, i+1)
		}
	}
	return nil
}

func init() {
	sqlitedriver.MustRegisterDeterministicScalarFunction("bench_sha256", 1, func(_ *sqlitedriver.FunctionContext, args []driver.Value) (driver.Value, error) {
		text, ok := args[0].(string)
		if !ok {
			return nil, fmt.Errorf("bench_sha256 of a %T", args[0])
		}
		sum := sha256.Sum256([]byte(text))
		return hex.EncodeToString(sum[:]), nil
	})
}
