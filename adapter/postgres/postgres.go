// Package postgres keeps users, sessions and the book in PostgreSQL, 15 or
// newer, with the driver pgx.
//
//	db, err := postgres.Open(ctx, os.Getenv("DATABASE_URL"))
//
// [Open] connects, makes the tables and checks that commits survive loss of
// power; most programs need nothing else. [New] and [NewSQL] use a pool that the
// application has already, and [Tx] a transaction of it. [OpenLayout] and they
// work on tables of another layout, such as those of an application with Auth.js.
//
// The tables, and the rights that they need, are described in the README beside
// this file.
package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/adapter/sqlstore"
	"github.com/gatebook/gatebook/book"
)

// Defaults of [Open], where the URL says nothing else.
const (
	connectTimeout = 5 * time.Second
	maxConns       = 16
	// cancelTimeout is how long a server may take to stop a statement, before
	// its connection is given up.
	cancelTimeout = 2 * time.Second
)

// DB is a [gatebook.Adapter] on a PostgreSQL database. It is safe for concurrent
// use.
type DB struct {
	*sqlstore.Store
	close func()
}

var _ gatebook.Adapter = (*DB)(nil)

// Open opens the database at url with Gatebook's own tables; see [OpenLayout].
func Open(ctx context.Context, url string) (*DB, error) {
	return OpenLayout(ctx, url, sqlstore.Postgres)
}

// OpenLayout opens the database at url, in any form that pgx knows: a URL,
// postgres://user:password@host:5432/database, or keywords and values. It makes
// the tables that l lacks, or brings them up to date, and checks that all is
// right. The environment variables of PostgreSQL's own tools, such as PGPASSWORD,
// and ~/.pgpass fill in what url leaves out.
//
// If url does not say otherwise, a connection is given up after 5 seconds
// (connect_timeout) and there are at most 16 (pool_max_conns).
func OpenLayout(ctx context.Context, url string, l sqlstore.Layout) (*DB, error) {
	if err := fits(l); err != nil {
		return nil, err
	}
	pool, err := open(ctx, url)
	if err != nil {
		return nil, err
	}
	db := New(pool, l)
	db.close = pool.Close
	// A role that may not make tables is enough where there is nothing to make.
	if db.Check(ctx) == nil {
		return db, nil
	}
	err = db.Migrate(ctx)
	if err == nil {
		err = db.Check(ctx)
	}
	if err != nil {
		_ = db.Close()
		return nil, fmt.Errorf("postgres: %w", err)
	}
	return db, nil
}

func fits(l sqlstore.Layout) error {
	if l.Database() != "postgres" {
		return fmt.Errorf("postgres: the layout is for %q", l.Database())
	}
	return nil
}

// Book is a book of its own in a PostgreSQL database.
type Book struct {
	*book.Book
	pool *pgxpool.Pool
}

// OpenBook opens the book in the database at url, like [Open], for programs
// without an adapter: give its Book to gatebook.Config.Book.
func OpenBook(ctx context.Context, url string) (*Book, error) {
	pool, err := open(ctx, url)
	if err != nil {
		return nil, err
	}
	db := stdlib.OpenDBFromPool(pool)
	if err := sqlstore.MigrateBook(ctx, db, sqlstore.Postgres); err != nil {
		pool.Close()
		return nil, fmt.Errorf("postgres: %w", err)
	}
	return &Book{Book: sqlstore.NewBook(db, sqlstore.Postgres), pool: pool}, nil
}

// Close closes the pool that [OpenBook] opened.
func (b *Book) Close() error {
	b.pool.Close()
	return nil
}

func open(ctx context.Context, url string) (*pgxpool.Pool, error) {
	if url == "" { // which the driver takes for a server on this machine
		return nil, errors.New("postgres: the database's address is empty")
	}
	c, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, badURL(err)
	}
	if c.ConnConfig.ConnectTimeout == 0 {
		c.ConnConfig.ConnectTimeout = connectTimeout
	}
	if !strings.Contains(url, "pool_max_conns") {
		c.MaxConns = maxConns
	}
	if simple(c.ConnConfig) {
		return nil, errSimple
	}
	// By itself the driver would leave a statement whose context ended to the
	// server, which may still carry it out. Asked to stop, the server says which
	// it was.
	c.ConnConfig.BuildContextWatcherHandler = func(conn *pgconn.PgConn) ctxwatch.Handler {
		return &pgconn.CancelRequestContextWatcherHandler{Conn: conn, DeadlineDelay: cancelTimeout}
	}
	pool, err := pgxpool.NewWithConfig(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("postgres: %w", err)
	}
	return pool, nil
}

// badURL says what is wrong with a URL without the URL, which holds the
// password.
func badURL(err error) error {
	why := "neither a URL, postgres://user@host:5432/database, nor keywords and values"
	var parse *pgconn.ParseConfigError
	if !errors.As(err, &parse) {
		return fmt.Errorf("postgres: the database's address: %w", err)
	}
	// What follows the quoted address is why it was refused.
	if _, after, ok := strings.Cut(err.Error(), "`: "); ok && !strings.Contains(after, "failed to parse as") {
		why = after
	}
	return errors.New("postgres: the database's address: " + why)
}

// errSimple: in the simple protocol the driver puts values into the text of
// statements, which has let injections through before.
var errSimple = errors.New(`postgres: default_query_exec_mode is simple_protocol, which is refused: behind a pooler that knows no prepared statements use "exec"`)

func simple(c *pgx.ConnConfig) bool {
	return c.DefaultQueryExecMode == pgx.QueryExecModeSimpleProtocol
}

// New returns a DB on the application's own pool; it opens no second one. It
// asks the database nothing until first use; then it checks that the tables are
// there (Migrate makes them) and that commits survive loss of power, and until
// that is so every method fails with an error that says what to do.
//
// An act holds one connection of the pool at a time. A handler of
// gatebook.Config.InTx that takes another from the same pool can wait for itself:
// use [Conn].
func New(pool *pgxpool.Pool, l sqlstore.Layout) *DB {
	connector := stdlib.GetPoolConnector(pool)
	if simple(pool.Config().ConnConfig) {
		connector = refusing{connector, errSimple}
	}
	db := sql.OpenDB(connector)
	db.SetMaxIdleConns(0) // they are kept by the pool
	return NewSQL(db, l)
}

// NewSQL is [New] for a pool of database/sql, whose driver must be pgx's
// (github.com/jackc/pgx/v5/stdlib).
func NewSQL(db *sql.DB, l sqlstore.Layout) *DB {
	return &DB{Store: sqlstore.New(db, l), close: func() {}}
}

// Close closes the pool that [Open] or [OpenLayout] opened. On a DB made by
// [New] or [NewSQL] it does nothing.
func (db *DB) Close() error {
	db.close()
	return nil
}
