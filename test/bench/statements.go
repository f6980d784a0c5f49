//go:build linux

package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/adapter/postgres"
	"github.com/gatebook/gatebook/adapter/sqlite"
	"github.com/gatebook/gatebook/adapter/sqlstore"
	"github.com/gatebook/gatebook/book"
	"github.com/gatebook/gatebook/record"
	"github.com/gatebook/gatebook/test/dbserver"
	"github.com/gatebook/gatebook/test/need"
)

const (
	minServerReads = 0.9
	minFileReads   = 0.8
	maxStatement   = 1.3
)

// databaseServer returns the address of a database server: one that scripts started, or
// one of its own. It is empty where there is none.
func databaseServer(env string, start func() (*dbserver.Server, error), database string) (address string, stop func(), err error) {
	address = os.Getenv(env)
	if why, missing := strings.CutPrefix(address, "missing: "); missing {
		fmt.Fprintf(os.Stderr, "left out: needs %s\n", why)
		return "", nil, nil
	}
	if address != "" {
		return address, func() {}, nil
	}
	own, err := start()
	if errors.Is(err, dbserver.ErrMissing) {
		fmt.Fprintf(os.Stderr, "left out: %v\n", err)
		return "", nil, nil
	}
	if err != nil {
		return "", nil, err
	}
	return own.URL(database), own.Close, nil
}

// freshPostgres makes a database on a server and returns its address and what drops it.
func freshPostgres(ctx context.Context, server string) (address string, drop func() error, err error) {
	admin, err := pgx.Connect(ctx, server)
	if err != nil {
		return "", nil, err
	}
	name := randomName()
	drop = func() error {
		ctx := context.WithoutCancel(ctx)
		_, err := admin.Exec(ctx, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)")
		return errors.Join(err, admin.Close(ctx))
	}
	u, err := url.Parse(server)
	if err == nil {
		u.Path = "/" + name
		_, err = admin.Exec(ctx, "CREATE DATABASE "+name)
	}
	if err != nil {
		return "", nil, errors.Join(err, drop())
	}
	return u.String(), drop, nil
}

// freshMySQL is freshPostgres for MariaDB.
func freshMySQL(ctx context.Context, server string) (dsn string, drop func() error, err error) {
	c, err := mysql.ParseDSN(server)
	if err != nil {
		return "", nil, err
	}
	admin, err := sql.Open("mysql", server)
	if err != nil {
		return "", nil, err
	}
	c.DBName = randomName()
	drop = func() error {
		_, err := admin.ExecContext(context.WithoutCancel(ctx), "DROP DATABASE IF EXISTS "+c.DBName)
		return errors.Join(err, admin.Close())
	}
	if _, err := admin.ExecContext(ctx, "CREATE DATABASE "+c.DBName+" CHARACTER SET utf8mb4"); err != nil {
		return "", nil, errors.Join(err, drop())
	}
	return c.FormatDSN(), drop, nil
}

// readStatements measures session reads beside the same query alone.
func readStatements(ctx context.Context, r *runner) error {
	for _, d := range []struct {
		name     string
		database string
		bound    float64
		run      func(context.Context, *runner, func(*sqlstore.Store, *sql.DB) error) error
	}{
		{"SQLite", "sqlite", minFileReads, withSQLite},
		{"PostgreSQL", "postgres", minServerReads, withPostgres},
		{"MariaDB", "mysql", minServerReads, withMySQL},
	} {
		err := d.run(ctx, r, func(s *sqlstore.Store, pool *sql.DB) error {
			return r.readsBeside(ctx, d.name, d.database, d.bound, s, pool)
		})
		if err != nil {
			return fmt.Errorf("%s: %w", d.name, err)
		}
	}
	return nil
}

func withSQLite(_ context.Context, r *runner, fn func(*sqlstore.Store, *sql.DB) error) error {
	db, err := sqlite.Open(filepath.Join(r.temp, "reads.db"))
	if err != nil {
		return err
	}
	return errors.Join(fn(db.Store, db.SQL()), db.Close())
}

func withPostgres(ctx context.Context, _ *runner, fn func(*sqlstore.Store, *sql.DB) error) error {
	server, stop, err := databaseServer(need.PostgresEnv, dbserver.Postgres, "postgres")
	if err != nil || server == "" {
		return err
	}
	defer stop()
	address, drop, err := freshPostgres(ctx, server)
	if err != nil {
		return err
	}
	pool, err := pgxpool.New(ctx, address+moreConnections(address))
	if err != nil {
		return errors.Join(err, drop())
	}
	db := postgres.New(pool, sqlstore.Postgres)
	err = db.Migrate(ctx)
	if err == nil {
		err = fn(db.Store, stdlib.OpenDBFromPool(pool))
	}
	pool.Close()
	return errors.Join(err, drop())
}

// moreConnections asks for as many connections as there are clients.
func moreConnections(address string) string {
	if strings.Contains(address, "?") {
		return "&pool_max_conns=32"
	}
	return "?pool_max_conns=32"
}

func withMySQL(ctx context.Context, _ *runner, fn func(*sqlstore.Store, *sql.DB) error) error {
	server, stop, err := databaseServer(need.MySQLEnv, dbserver.MySQL, "")
	if err != nil || server == "" {
		return err
	}
	defer stop()
	dsn, drop, err := freshMySQL(ctx, server)
	if err != nil {
		return err
	}
	pool, err := sql.Open("mysql", dsn)
	if err != nil {
		return errors.Join(err, drop())
	}
	pool.SetMaxOpenConns(32)
	pool.SetMaxIdleConns(32)
	s := sqlstore.New(pool, sqlstore.MySQL)
	err = s.Migrate(ctx)
	if err == nil {
		err = fn(s, pool)
	}
	return errors.Join(err, pool.Close(), drop())
}

// readsBeside measures reads by 1 client and by 32.
func (r *runner) readsBeside(ctx context.Context, name, database string, bound float64, s *sqlstore.Store, pool *sql.DB) error {
	now := time.Now()
	act := &gatebook.Act{}
	for i := range r.users {
		act.Writes = append(act.Writes, sessionOf(i, now)...)
		if len(act.Writes) >= 500 || i == r.users-1 {
			if err := s.Commit(ctx, act); err != nil {
				return err
			}
			act.Writes = nil
		}
	}
	bare, err := bareRead(ctx, database, pool)
	if err != nil {
		return err
	}
	ours := func(ctx context.Context, i int) error { return readAt(ctx, s, i) }
	for _, clients := range []int{1, 32} {
		rate := func(read func(context.Context, int) error) func() (float64, error) {
			return func() (float64, error) { return readRate(ctx, clients, r.users, r.round/2, read) }
		}
		figure, floor, err := alternate(r.rounds, rate(ours), rate(bare))
		if err != nil {
			return err
		}
		r.atLeast(fmt.Sprintf("session read, %s, %d", name, clients), figure, floor, perSecond, bound,
			"clients; the floor is the same query through the same driver")
	}
	return nil
}

// bareRead returns what reads a session with nothing but database/sql: the same
// columns of the same rows, by a statement that is prepared where the driver does
// not do that by itself.
func bareRead(ctx context.Context, database string, pool *sql.DB) (func(context.Context, int) error, error) {
	text := map[string]string{
		"sqlite": `SELECT s."sessionToken", s."expires", coalesce(g.sid, ''), g.begun, coalesce(g.provider, ''), coalesce(g.user_agent, ''),
			u."id", coalesce(u."name", ''), coalesce(u."email", ''), u."emailVerified", coalesce(u."image", ''), k.key`,
		"postgres": `SELECT s."sessionToken", (extract(epoch FROM s."expires") * 1000)::bigint, coalesce(g.sid, ''), g.begun,
			coalesce(g.provider, ''), coalesce(g.user_agent, ''), u."id", coalesce(u."name", ''), coalesce(u."email", ''),
			(extract(epoch FROM u."emailVerified") * 1000)::bigint, coalesce(u."image", ''), k.key`,
		"mysql": "SELECT s.`sessionToken`, TIMESTAMPDIFF(MICROSECOND, '1970-01-01', s.`expires`) DIV 1000, coalesce(g.sid, ''), g.begun, " +
			"coalesce(g.provider, ''), coalesce(g.user_agent, ''), u.`id`, coalesce(u.`name`, ''), coalesce(u.`email`, ''), " +
			"TIMESTAMPDIFF(MICROSECOND, '1970-01-01', u.`emailVerified`) DIV 1000, coalesce(u.`image`, ''), k.`key`",
	}[database] + ` FROM "session" s JOIN "user" u ON u."id" = s."userId"
		LEFT JOIN gatebook_sessions g ON g.digest = s."sessionToken"
		LEFT JOIN gatebook_subjects k ON k.user_id = u."id" WHERE s."sessionToken" = ?`
	one := func(ctx context.Context, digest string) *sql.Row { return pool.QueryRowContext(ctx, text, digest) }
	switch database {
	case "postgres":
		text = strings.Replace(text, "?", "$1", 1)
	case "mysql":
		text = strings.ReplaceAll(text, `"`, "`")
		fallthrough
	default:
		stmt, err := pool.PrepareContext(ctx, text) //nolint:sqlclosecheck // closed with the pool
		if err != nil {
			return nil, err
		}
		one = func(ctx context.Context, digest string) *sql.Row { return stmt.QueryRowContext(ctx, digest) }
	}
	return func(ctx context.Context, i int) error {
		sum := sha256.Sum256([]byte(rowToken(i)))
		var token, sid, provider, agent, id, name, email, image string
		var expires int64
		var begun, verified any
		var key []byte
		err := one(ctx, hex.EncodeToString(sum[:])).Scan(&token, &expires, &sid, &begun, &provider, &agent, &id, &name, &email, &verified, &image, &key)
		if err == nil && id != person(i).ID {
			err = fmt.Errorf("session %d is of %s", i, id)
		}
		return err
	}, nil
}

// readRate is how often a second clients read, each one after the other.
func readRate(ctx context.Context, clients, users int, round time.Duration, read func(context.Context, int) error) (float64, error) {
	var n atomic.Int64
	errs := make([]error, clients)
	began := time.Now()
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() {
			for at := c * 7919; time.Since(began) < round; at += 7919 {
				if errs[c] = read(ctx, at%users); errs[c] != nil {
					return
				}
				n.Add(1)
			}
		})
	}
	wg.Wait()
	return float64(n.Load()) / time.Since(began).Seconds(), errors.Join(errs...)
}

// statements counts what is sent to PostgreSQL.
type statements struct{ n atomic.Int64 }

func (s *statements) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	s.n.Add(1)
	return ctx
}

func (s *statements) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// signInStatements measures the acts of two sign-ins in PostgreSQL beside one
// statement that writes the same rows and asks for nothing.
func signInStatements(ctx context.Context, r *runner) error {
	server, stop, err := databaseServer(need.PostgresEnv, dbserver.Postgres, "postgres")
	if err != nil || server == "" {
		return err
	}
	defer stop()
	address, drop, err := freshPostgres(ctx, server)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, drop()) }()
	c, err := pgxpool.ParseConfig(address)
	if err != nil {
		return err
	}
	var sent statements
	c.ConnConfig.Tracer = &sent
	pool, err := pgxpool.NewWithConfig(ctx, c)
	if err != nil {
		return err
	}
	defer pool.Close()
	db := postgres.New(pool, sqlstore.Postgres)
	if err := db.Migrate(ctx); err != nil {
		return err
	}
	b := &statementBench{runner: r, db: db, pool: stdlib.OpenDBFromPool(pool), sent: &sent, now: time.Now().Truncate(time.Millisecond)}
	if b.id, err = db.Book().Identity(ctx); err != nil {
		return err
	}
	for i := range r.users {
		if err := b.db.Commit(ctx, &gatebook.Act{Writes: []gatebook.Write{
			gatebook.CreateUser{User: person(i), Subject: record.NewKey()}, gatebook.LinkAccount{Account: account(i)}}}); err != nil {
			return err
		}
	}
	if err := b.measure(ctx, "sign-in of a known user, PostgreSQL", 1, b.known, b.bareKnown); err != nil {
		return err
	}
	if err := b.measure(ctx, "first sign-in, PostgreSQL", 3, b.first, b.bareFirst); err != nil {
		return err
	}
	return b.count(ctx)
}

type statementBench struct {
	*runner
	db   *postgres.DB
	pool *sql.DB
	sent *statements
	id   book.Identity
	now  time.Time
	n    int
	ids  int
}

func (b *statementBench) measure(ctx context.Context, name string, entries int, ours, bare func(context.Context, []record.Entry) error) error {
	turn := func(fn func(context.Context, []record.Entry) error) func() (float64, error) {
		return func() (float64, error) {
			took := make([]float64, b.acts)
			for i := range took {
				b.n++
				list := make([]record.Entry, entries)
				for j := range list {
					var err error
					if list[j], err = b.entry(); err != nil {
						return 0, err
					}
				}
				began := time.Now()
				if err := fn(ctx, list); err != nil {
					return 0, err
				}
				took[i] = time.Since(began).Seconds()
			}
			return median(took), b.db.Book().Drain(ctx)
		}
	}
	figure, floor, err := alternate(b.turns, turn(ours), turn(bare))
	if err != nil {
		return err
	}
	b.atMost(name, figure, floor, micros, maxStatement, "p50 of its act against one bare statement with the same rows")
	return nil
}

func (b *statementBench) entry() (record.Entry, error) {
	b.ids++
	return record.New(record.Header{Book: b.id.ID, ID: fmt.Sprintf("01900000-0000-7000-8000-%012x", b.ids), Type: record.TypeSignIn,
		TypeVersion: 1, Source: record.SourceGatebook, Time: b.now, Act: "01900000-0000-7000-8000-000000000000", Outcome: record.Success}, nil, nil)
}

// session is a new one of a user.
func (b *statementBench) session(userID string) gatebook.StoredSession {
	return gatebook.StoredSession{Token: gatebook.Secret(fmt.Sprintf("token-%d", b.n)), UserID: userID, ID: fmt.Sprintf("sid-%d", b.n),
		Begun: b.now, Expires: b.now.Add(30 * 24 * time.Hour), Provider: "instant", UserAgent: userAgent}
}

func (b *statementBench) known(ctx context.Context, list []record.Entry) error {
	return b.db.Commit(ctx, &gatebook.Act{Entries: list,
		Writes: []gatebook.Write{gatebook.CreateSession{Session: b.session(person(b.n % b.users).ID)}}})
}

// newcomer is a user who has not been there before.
func (b *statementBench) newcomer() (gatebook.User, gatebook.Account) {
	i := 1_000_000 + b.n
	return person(i), account(i)
}

func (b *statementBench) first(ctx context.Context, list []record.Entry) error {
	u, a := b.newcomer()
	return b.db.Commit(ctx, &gatebook.Act{Entries: list, Writes: []gatebook.Write{gatebook.CreateUser{User: u, Subject: record.NewKey()},
		gatebook.LinkAccount{Account: a}, gatebook.CreateSession{Session: b.session(u.ID)}}})
}

const (
	bareSession = `a AS (INSERT INTO "session" ("sessionToken", "userId", "expires") VALUES ($1, $2, to_timestamp($3::bigint / 1000.0) AT TIME ZONE 'UTC')),
		b AS (INSERT INTO gatebook_sessions (digest, sid, user_id, begun, provider, user_agent) VALUES ($1, $4, $2, $5, $6, $7))`
	bareUser = `c AS (INSERT INTO "user" ("id", "name", "email", "image") VALUES ($2, $8, $9, $10)),
		d AS (INSERT INTO gatebook_subjects (user_id, key) VALUES ($2, $11)),
		e AS (INSERT INTO "account" ("userId", "type", "provider", "providerAccountId", "access_token", "token_type", "scope")
			VALUES ($2, 'oidc', $6, $12, $13, $14, $15))`
)

// rows are the arguments of bareSession.
func (b *statementBench) rows(userID string) []any {
	s := b.session(userID)
	sum := sha256.Sum256([]byte(s.Token))
	return []any{hex.EncodeToString(sum[:]), userID, s.Expires.UnixMilli(), s.ID, s.Begun.UnixMilli(), s.Provider, s.UserAgent}
}

// insert adds the insert of entries to a statement and runs it.
func (b *statementBench) insert(ctx context.Context, text string, args []any, list []record.Entry) error {
	text = "WITH " + text + " INSERT INTO gatebook_outbox (id, header, blocks, terms) VALUES "
	for i, e := range list {
		if i > 0 {
			text += ", "
		}
		n := len(args)
		text += fmt.Sprintf("($%d, $%d, $%d, $%d)", n+1, n+2, n+3, n+4)
		args = append(args, e.ID, e.Header, record.AppendBlocks([]byte{}, e.Blocks), record.AppendTerms([]byte{}, e.Search))
	}
	_, err := b.pool.ExecContext(ctx, text, args...)
	return err
}

func (b *statementBench) bareKnown(ctx context.Context, list []record.Entry) error {
	return b.insert(ctx, bareSession, b.rows(person(b.n%b.users).ID), list)
}

func (b *statementBench) bareFirst(ctx context.Context, list []record.Entry) error {
	u, a := b.newcomer()
	key := record.NewKey()
	args := append(b.rows(u.ID), u.Name, u.Email, u.Image, key[:], a.ProviderAccountID, string(a.AccessToken), a.TokenType, a.Scope)
	return b.insert(ctx, bareSession+", "+bareUser, args, list)
}

// count prints how many statements the two sign-ins are: one that reads and one
// that writes.
func (b *statementBench) count(ctx context.Context) error {
	for _, m := range []struct {
		name    string
		entries int
		act     func(context.Context, []record.Entry) error
	}{{"known user", 1, b.known}, {"first", 3, b.first}} {
		b.n++
		list := make([]record.Entry, m.entries)
		for i := range list {
			var err error
			if list[i], err = b.entry(); err != nil {
				return err
			}
		}
		before := b.sent.n.Load()
		_, a := b.newcomer()
		if _, err := b.db.Find(ctx, gatebook.Query{Email: "nobody@example.com", Account: gatebook.AccountKey{Provider: a.Provider, ProviderAccountID: a.ProviderAccountID}}); err != nil {
			return err
		}
		if err := m.act(ctx, list); err != nil {
			return err
		}
		b.within("  statements sent, "+m.name, []float64{float64(b.sent.n.Load() - before)}, count, 2, "reads and writes of a sign-in")
	}
	return nil
}

func randomName() string { return "gatebook_bench_" + strings.ToLower(rand.Text()) }
