// Package sqlstore keeps users, accounts, sessions and the book in an SQL
// database, on the application's own *sql.DB: SQLite, PostgreSQL, MariaDB or
// MySQL.
//
// Most programs use it through the package of their database, adapter/sqlite,
// adapter/postgres or adapter/mysql, which brings the driver and its settings. Use
// it directly to bring a driver of your own: one whose errors have a method
// Code() int with SQLite's extended result code, a method SQLState() string, or,
// for MariaDB, a field Number.
//
// What the tables are like is a [Layout]: those of Gatebook's own, which it makes,
// or those of one of Auth.js's adapters, so that both can work on one database. An
// application that has a table of users already names it with
// [Layout.WithUsers]. Beside them stand tables whose names begin with gatebook_;
// no column is added to a table of others.
package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/book"
	"github.com/gatebook/gatebook/internal/sqldb"
)

// Store is a [gatebook.Adapter] over a *sql.DB, safe for concurrent use. It
// keeps no connection for itself and starts nothing.
type Store struct {
	db     *sqldb.DB
	layout Layout
	log    *book.SQL
	book   *book.Book

	checking chan struct{} // holds a value while somebody checks
	queries  atomic.Pointer[queries]
}

var (
	_ gatebook.Adapter        = (*Store)(nil)
	_ gatebook.IDMaker        = (*Store)(nil)
	_ gatebook.AccountLimiter = (*Store)(nil)
	_ gatebook.WriteChecker   = (*Store)(nil)
)

// New returns a Store on db. It asks the database nothing until first use; then
// it checks that the tables are there, and until they are, every method fails
// with an error that says what to do.
func New(db *sql.DB, l Layout) *Store {
	d := sqldb.New(db, l.engine())
	log := book.NewSQL(d)
	return &Store{db: d, layout: l, log: log, book: book.New(log), checking: make(chan struct{}, 1)}
}

// NewBook returns a book of its own on db, for programs without an adapter. It
// asks the database nothing until first use, when it checks that its tables are
// there; [MigrateBook] makes them.
func NewBook(db *sql.DB, l Layout) *book.Book {
	return book.New(book.NewSQL(sqldb.New(db, l.engine())))
}

// MigrateBook makes the tables of [NewBook].
func MigrateBook(ctx context.Context, db *sql.DB, l Layout) error {
	if err := sqldb.New(db, l.engine()).Migrate(ctx, nil, book.Migrations(l.engine())); err != nil {
		return failed(ctx, "migrate", err)
	}
	return nil
}

// SQL returns the pool given to [New].
func (s *Store) SQL() *sql.DB { return s.db.SQL() }

// Book returns the book in the same database.
func (s *Store) Book() *book.Book { return s.book }

// Check does now what the other methods do at first use, and looks, as each act
// does, whether commits survive loss of power. It returns nil when the Store is
// ready.
func (s *Store) Check(ctx context.Context) error {
	if _, err := s.ready(ctx); err != nil {
		return err
	}
	if err := s.db.CheckSettings(ctx); err != nil {
		return failed(ctx, "check settings", err)
	}
	return nil
}

// ready returns the prepared statements, once the tables are right.
func (s *Store) ready(ctx context.Context) (*queries, error) {
	if q := s.queries.Load(); q != nil {
		return q, nil
	}
	select {
	case s.checking <- struct{}{}:
		defer func() { <-s.checking }()
	case <-ctx.Done():
		return nil, failed(ctx, "check schema", ctx.Err())
	}
	if q := s.queries.Load(); q != nil {
		return q, nil
	}
	if err := s.layout.check(); err != nil {
		return nil, failed(ctx, "check schema", err)
	}
	if err := s.db.Check(ctx, s.layout.sets("")...); err != nil {
		return nil, failed(ctx, "check schema", err)
	}
	q, err := prepare(ctx, s.db.SQL(), s.layout)
	if err != nil {
		return nil, failed(ctx, "check schema", s.db.Classify(err))
	}
	s.queries.Store(q)
	return q, nil
}

// CheckWrite implements [gatebook.WriteChecker].
func (s *Store) CheckWrite(ctx context.Context, w gatebook.Write) error {
	q, err := s.ready(ctx)
	if err != nil {
		return err
	}
	some := newUUID()
	if q.l.ids == Integer {
		some = "1"
	}
	switch c := w.(type) {
	case gatebook.CreateUser:
		c.User.ID = cmp.Or(c.User.ID, some)
		w = c
	case gatebook.LinkAccount:
		c.Account.UserID = cmp.Or(c.Account.UserID, some)
		w = c
	}
	// A conflict is one with rows, also where no row can have that key.
	if _, err := q.steps(nil, w); !errors.Is(err, gatebook.ErrConflict) {
		return err
	}
	return nil
}

// failed adds the step to err and says it in gatebook's words. When the context
// ended, what the driver made of that says less than the cause.
func failed(ctx context.Context, step string, err error) error {
	switch {
	case errors.Is(err, gatebook.ErrConflict), errors.Is(err, gatebook.ErrNotFound), errors.Is(err, gatebook.ErrUnfit):
	case errors.Is(err, sqldb.ErrConflict):
		err = fmt.Errorf("%w: %w", gatebook.ErrConflict, err)
	case errors.Is(err, sqldb.ErrCommitUnknown):
		err = fmt.Errorf("%w: %w", gatebook.ErrCommitUnknown, err)
	case ctx.Err() != nil && !errors.Is(err, context.Cause(ctx)):
		err = context.Cause(ctx)
	}
	return fmt.Errorf("%s: %w", step, err)
}
