// Package database opens the database that a configuration names.
package database

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/adapter/mysql"
	"github.com/gatebook/gatebook/adapter/postgres"
	"github.com/gatebook/gatebook/adapter/sqlite"
	"github.com/gatebook/gatebook/adapter/sqlstore"
	"github.com/gatebook/gatebook/cmd/gatebook/internal/config"
)

// Store is an open database.
type Store interface {
	gatebook.Adapter
	// MigrateSteps makes the tables, or brings them up to date, and tells of each
	// step before it and, with Applied set, after it.
	MigrateSteps(ctx context.Context, progress func(sqlstore.Step)) error
	// Plan returns the steps of MigrateSteps, and those applied before.
	Plan(ctx context.Context) ([]sqlstore.Step, error)
	// Check says what is wrong with the tables or the settings, if something is.
	Check(ctx context.Context) error
	// SkipIDs moves the database's maker of ids past those that were imported.
	SkipIDs(ctx context.Context) error
	SQL() *sql.DB
	Close() error
}

// openTime is how long opening a database may take, migrations included.
const openTime = 10 * time.Minute

// Open opens a database to serve from it: what is missing is made. Close the
// Store.
func Open(ctx context.Context, c config.Database) (Store, error) {
	l, err := Layout(&c)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, openTime)
	defer cancel()
	var db Store
	switch l.Database() {
	case config.Postgres:
		db, err = postgres.OpenLayout(ctx, c.URL, l)
	case config.MySQL:
		var dsn string
		if dsn, err = dataSource(c.URL); err == nil {
			db, err = mysql.OpenLayout(ctx, dsn, l)
		}
	default:
		db, err = sqlite.OpenLayout(c.URL, l)
	}
	if err != nil { // db may hold a nil pointer
		return nil, Named(c, err)
	}
	return db, nil
}

// Existing opens a database that must be there, and looks at nothing in it yet.
// Close the Store.
func Existing(c config.Database) (Store, error) { return bare(c, mustExist) }

// ToMigrate is [Existing], but makes a SQLite file that is missing, without
// tables.
func ToMigrate(c config.Database) (Store, error) { return bare(c, mayMake) }

// ToPlan is [Existing], but takes a SQLite file that is missing for an empty one.
func ToPlan(c config.Database) (Store, error) { return bare(c, mayLack) }

// What becomes of a SQLite file that is not there.
const (
	mustExist = iota
	mayMake
	mayLack
)

func bare(c config.Database, missing int) (Store, error) {
	pool, l, err := pool(c, missing)
	if err != nil {
		return nil, err
	}
	return store{sqlstore.New(pool, l)}, nil
}

// Export opens a database to read its users. Close the pool.
func Export(ctx context.Context, c config.Database) (*sql.DB, *sqlstore.Export, error) {
	pool, l, err := pool(c, mustExist)
	if err != nil {
		return nil, nil, err
	}
	e, err := sqlstore.NewExport(ctx, pool, l)
	if err != nil {
		return nil, nil, errors.Join(Named(c, err), pool.Close())
	}
	return pool, e, nil
}

// pool opens a pool, which connects at first use.
func pool(c config.Database, missing int) (*sql.DB, sqlstore.Layout, error) {
	l, err := Layout(&c)
	if err != nil {
		return nil, l, err
	}
	var pool *sql.DB
	switch l.Database() {
	case config.Postgres:
		pool, err = sql.Open("pgx", c.URL)
	case config.MySQL:
		var dsn string
		if dsn, err = dataSource(c.URL); err == nil {
			pool, err = sql.Open("mysql", dsn)
		}
	default:
		pool, err = openFile(c.URL, missing)
	}
	return pool, l, Named(c, err)
}

// store is a database whose pool is ours.
type store struct{ *sqlstore.Store }

// Close closes the pool.
func (s store) Close() error { return s.SQL().Close() }

// Layout returns the layout of a database, after it put the default in the place
// of an address that is not said.
func Layout(c *config.Database) (sqlstore.Layout, error) {
	if c.URL == "" {
		c.URL = config.DefaultDatabase
	}
	kind, err := c.Kind()
	if err != nil {
		return sqlstore.Layout{}, fmt.Errorf("database: %w", err)
	}
	name := c.Layout
	if name == "" {
		name = "own"
	}
	l, err := sqlstore.Named(kind, name)
	if err != nil {
		return l, fmt.Errorf("database.layout: %w", err)
	}
	if u := c.Users; u != nil {
		types := map[string]sqlstore.IDType{"": sqlstore.Text, "text": sqlstore.Text, "uuid": sqlstore.UUID, "integer": sqlstore.Integer}
		l = l.WithUsers(sqlstore.Users{Table: u.Table, ID: u.ID, Name: u.Name, Email: u.Email, EmailVerified: u.EmailVerified, Image: u.Image,
			IDType: types[u.IDType], Extra: u.Extra})
	}
	return l, nil
}

// Named adds to an error which setting and which database it is about.
func Named(c config.Database, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("database: %s: %w", c.Name(), err)
}
