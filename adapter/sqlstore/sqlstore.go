// Package sqlstore keeps users, accounts, sessions and the book in an SQL
// database, on the application's own *sql.DB.
//
// Most programs use it through the package of their database, such as
// adapter/sqlite, which brings the driver and its settings. Use it directly to
// bring a driver of your own: one whose errors have a method Code() int with
// SQLite's extended result code.
//
// The tables are those of Auth.js's Drizzle adapter, so that both can work on
// one database, and Gatebook's own, whose names begin with gatebook_. It adds no
// column to a shared table. Session tokens are stored as their SHA-256.
package sqlstore

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"sync/atomic"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/book"
	"github.com/gatebook/gatebook/internal/sqldb"
)

// Layout says which database it is and what its tables are like. Use one of the
// variables of this package.
type Layout struct {
	dialect sqldb.Dialect
}

// SQLite is the layout of Auth.js's Drizzle adapter for SQLite: times are
// integers, milliseconds since 1970. Foreign keys must be on.
var SQLite = Layout{dialect: sqldb.SQLite}

//go:embed migrations
var migrations embed.FS

func (l Layout) set() sqldb.Set {
	sub, err := fs.Sub(migrations, "migrations/"+l.dialect.Name)
	if err != nil {
		panic(err) // the path is valid
	}
	return sqldb.Set{Name: "adapter", FS: sub}
}

// Migrations returns the migrations as files, VERSION_name.sql, in the format of
// goose: the book's and the adapter's. [Store.Migrate] applies them; they are
// here to be read and reviewed.
func Migrations(l Layout) fs.FS {
	return union{book.Migrations(l.dialect).FS, l.set().FS}
}

// Store is a [gatebook.Adapter] over a *sql.DB, safe for concurrent use. It
// keeps no connection for itself and starts nothing.
type Store struct {
	db   *sqldb.DB
	log  *book.SQL
	book *book.Book
	set  sqldb.Set

	checking chan struct{} // holds a value while somebody checks
	queries  atomic.Pointer[queries]
}

var _ gatebook.Adapter = (*Store)(nil)

// New returns a Store on db. It asks the database nothing until first use; then
// it checks that the tables are there, and until they are, every method fails
// with an error that says what to do.
func New(db *sql.DB, l Layout) *Store {
	d := sqldb.New(db, l.dialect)
	log := book.NewSQL(d)
	return &Store{db: d, log: log, book: book.New(log), set: l.set(), checking: make(chan struct{}, 1)}
}

// NewBook returns a book of its own on db, for programs without an adapter. It
// asks the database nothing until first use, when it checks that its tables are
// there; [MigrateBook] makes them.
func NewBook(db *sql.DB, l Layout) *book.Book { return book.New(book.NewSQL(sqldb.New(db, l.dialect))) }

// MigrateBook makes the tables of [NewBook].
func MigrateBook(ctx context.Context, db *sql.DB, l Layout) error {
	if err := sqldb.New(db, l.dialect).Migrate(ctx, nil, book.Migrations(l.dialect)); err != nil {
		return failed(ctx, "migrate", err)
	}
	return nil
}

// SQL returns the pool given to [New].
func (s *Store) SQL() *sql.DB { return s.db.SQL() }

// Book returns the book in the same database.
func (s *Store) Book() *book.Book { return s.book }

// Migrate makes the tables, or brings them up to date. It may run while other
// servers serve, and again at any time.
func (s *Store) Migrate(ctx context.Context) error {
	if err := s.db.Migrate(ctx, nil, book.Migrations(s.db.Dialect()), s.set); err != nil {
		return failed(ctx, "migrate", err)
	}
	// The head row is made here: the first act may be inside the application's
	// transaction, which holds the lock that making it needs.
	if _, err := s.log.Identity(ctx); err != nil && !errors.Is(err, sqldb.ErrWeak) {
		return failed(ctx, "migrate", err)
	}
	return nil
}

// Check does now what the other methods do at first use. It returns nil when
// the Store is ready.
func (s *Store) Check(ctx context.Context) error {
	_, err := s.ready(ctx)
	return err
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
	if err := s.db.Check(ctx, book.Migrations(s.db.Dialect()), s.set); err != nil {
		return nil, failed(ctx, "check schema", err)
	}
	q, err := prepare(ctx, s.db.SQL())
	if err != nil {
		return nil, failed(ctx, "check schema", s.db.Classify(err))
	}
	s.queries.Store(q)
	return q, nil
}

// failed adds the step to err and says it in gatebook's words. When the context
// ended, what the driver made of that says less than the cause.
func failed(ctx context.Context, step string, err error) error {
	switch {
	case errors.Is(err, gatebook.ErrConflict), errors.Is(err, gatebook.ErrNotFound):
	case errors.Is(err, sqldb.ErrConflict):
		err = fmt.Errorf("%w: %w", gatebook.ErrConflict, err)
	case errors.Is(err, sqldb.ErrCommitUnknown):
		err = fmt.Errorf("%w: %w", gatebook.ErrCommitUnknown, err)
	case ctx.Err() != nil && !errors.Is(err, context.Cause(ctx)):
		err = context.Cause(ctx)
	}
	return fmt.Errorf("%s: %w", step, err)
}

// union shows the files of several folders as one.
type union []fs.FS

// Open implements [fs.FS].
func (u union) Open(name string) (fs.File, error) {
	for _, f := range u {
		file, err := f.Open(name)
		if !errors.Is(err, fs.ErrNotExist) {
			return file, err
		}
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

// ReadDir implements [fs.ReadDirFS].
func (u union) ReadDir(name string) ([]fs.DirEntry, error) {
	var all []fs.DirEntry
	for _, f := range u {
		entries, err := fs.ReadDir(f, name)
		if err != nil {
			return nil, err
		}
		all = append(all, entries...)
	}
	return all, nil
}
