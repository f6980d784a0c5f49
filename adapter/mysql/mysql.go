// Package mysql keeps users, sessions and the book in MariaDB, 10.11 or newer,
// with the driver go-sql-driver/mysql. MySQL 8 is expected to work as well, but
// is not tested.
//
//	db, err := mysql.Open(ctx, "user:password@tcp(localhost:3306)/site")
//
// [Open] connects, makes the tables and checks that commits survive loss of
// power; most programs need nothing else. [New] uses a pool that the application
// has already. [OpenLayout] and it work on tables of another layout, such as
// those of an application with Auth.js.
//
// The tables, and the rights that they need, are described in the README beside
// this file.
package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/adapter/sqlstore"
	"github.com/gatebook/gatebook/book"
)

// Defaults of [Open].
const (
	connectTimeout = 5 * time.Second
	maxConns       = 16
	// maxIdle is how long a connection waits unused: less than what firewalls
	// and proxies forget in.
	maxIdle = time.Minute
)

// DB is a [gatebook.Adapter] on a MariaDB database. It is safe for concurrent
// use.
type DB struct {
	*sqlstore.Store
	close func() error
}

var _ gatebook.Adapter = (*DB)(nil)

// Open opens the database that dsn names with Gatebook's own tables; see
// [OpenLayout].
func Open(ctx context.Context, dsn string) (*DB, error) {
	return OpenLayout(ctx, dsn, sqlstore.MySQL)
}

// OpenLayout opens the database that dsn names, a data source name of
// go-sql-driver/mysql: user:password@tcp(host:3306)/database. It makes the tables
// that l lacks, or brings them up to date, and checks that all is right.
//
// Whatever dsn says of parseTime, loc, interpolateParams and clientFoundRows is
// right. What it does not say is set: strict SQL mode, and 5 seconds after which
// a connection is given up (timeout). There are at most 16 connections.
func OpenLayout(ctx context.Context, dsn string, l sqlstore.Layout) (*DB, error) {
	if l.Database() != "mysql" {
		return nil, fmt.Errorf("mysql: the layout is for %q", l.Database())
	}
	pool, err := open(dsn)
	if err != nil {
		return nil, err
	}
	db := New(pool, l)
	db.close = pool.Close
	// A user who may not make tables is enough where there is nothing to make.
	if db.Check(ctx) == nil {
		return db, nil
	}
	err = db.Migrate(ctx)
	if err == nil {
		err = db.Check(ctx)
	}
	if err != nil {
		_ = db.Close()
		return nil, fmt.Errorf("mysql: %w", err)
	}
	return db, nil
}

// Book is a book of its own in a MariaDB database.
type Book struct {
	*book.Book
	pool *sql.DB
}

// OpenBook opens the book in the database that dsn names, like [Open], for
// programs without an adapter: give its Book to gatebook.Config.Book.
func OpenBook(ctx context.Context, dsn string) (*Book, error) {
	pool, err := open(dsn)
	if err != nil {
		return nil, err
	}
	if err := sqlstore.MigrateBook(ctx, pool, sqlstore.MySQL); err != nil {
		_ = pool.Close()
		return nil, fmt.Errorf("mysql: %w", err)
	}
	return &Book{Book: sqlstore.NewBook(pool, sqlstore.MySQL), pool: pool}, nil
}

// Close closes the pool that [OpenBook] opened.
func (b *Book) Close() error { return b.pool.Close() }

func open(dsn string) (*sql.DB, error) {
	c, err := mysql.ParseDSN(dsn)
	if err != nil {
		return nil, fmt.Errorf("mysql: the data source name: %w", err) // which does not quote it
	}
	if c.DBName == "" {
		return nil, errors.New("mysql: the data source name names no database: user:password@tcp(host:3306)/database")
	}
	if c.Timeout == 0 {
		c.Timeout = connectTimeout
	}
	if c.Params["sql_mode"] == "" {
		if c.Params == nil {
			c.Params = map[string]string{}
		}
		c.Params["sql_mode"] = "CONCAT(@@sql_mode, ',STRICT_TRANS_TABLES')"
	}
	c.Logger = &mysql.NopLogger{} // what it writes to standard error is in the errors too
	connector, err := mysql.NewConnector(c)
	if err != nil {
		return nil, fmt.Errorf("mysql: the data source name: %w", err)
	}
	pool := sql.OpenDB(connector)
	pool.SetMaxOpenConns(maxConns)
	pool.SetMaxIdleConns(maxConns)
	pool.SetConnMaxIdleTime(maxIdle)
	return pool, nil
}

// New returns a DB on the application's own pool, whose driver must be
// go-sql-driver/mysql, with any settings of its data source name. It asks the
// database nothing until first use; then it checks that the tables are there
// (Migrate makes them), that commits survive loss of power, and that the SQL mode
// is strict, autocommit on and the character set utf8mb4; until that is so every
// method fails with an error that says what to do.
func New(pool *sql.DB, l sqlstore.Layout) *DB {
	return &DB{Store: sqlstore.New(pool, l), close: func() error { return nil }}
}

// Close closes the pool that [Open] or [OpenLayout] opened. On a DB made by
// [New] it does nothing.
func (db *DB) Close() error { return db.close() }
