// Package sqlite keeps users, sessions and the book in a SQLite file, with a
// driver in Go that needs no cgo.
//
//	db, err := sqlite.Open("site.db")
//
// [Open] makes the file, sets what durability needs, makes the tables and checks
// all of it; most programs need nothing else. [New] uses a pool that the
// application has already. [OpenBook] is for programs without users of their
// own.
//
// The tables are described in the README beside this file.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/adapter/sqlstore"
	"github.com/gatebook/gatebook/book"

	_ "modernc.org/sqlite" // the driver named "sqlite"
)

// minVersion is the oldest SQLite that is used. Before 3.51.3 a race while the
// write-ahead log is reset could damage a database.
var minVersion = [3]int{3, 51, 3}

// testedDriver and testedLibc are the pair that the driver's own go.mod names.
const (
	testedDriver = "v1.62.0"
	testedLibc   = "v1.80.1"
)

// DB is a [gatebook.Adapter] on a SQLite database. It is safe for concurrent
// use.
type DB struct {
	*sqlstore.Store
	close func() error
}

var _ gatebook.Adapter = (*DB)(nil)

// Open opens the database file at path with Gatebook's own tables; see
// [OpenLayout].
func Open(path string) (*DB, error) { return OpenLayout(path, sqlstore.SQLite) }

// OpenLayout opens the database file at path, making it (readable and writable by
// its owner only) and its tables where they are missing, with a write-ahead log
// that is synced at each commit. It checks that all of it is in force.
func OpenLayout(path string, l sqlstore.Layout) (*DB, error) {
	if l.Database() != "sqlite" {
		return nil, fmt.Errorf("sqlite: the layout is for %q", l.Database())
	}
	ctx := context.Background()
	pool, err := open(ctx, path)
	if err != nil {
		return nil, err
	}
	db := New(pool, l)
	db.close = pool.Close
	// A server of this version may be started again after a newer one has migrated.
	if db.Check(ctx) == nil {
		return db, nil
	}
	err = db.Migrate(ctx)
	if err == nil {
		err = db.Check(ctx)
	}
	if err != nil {
		_ = pool.Close()
		return nil, fmt.Errorf("sqlite: %s: %w", path, err)
	}
	return db, nil
}

// New returns a DB on the application's own pool, whose tables are as l has them.
// It asks the database nothing until first use; then it checks that the tables are
// there ([DB.Migrate] makes them), and, at each act, that its connection syncs
// commits and checks foreign keys. Until that is so every method fails with an
// error that says what to do. For modernc.org/sqlite this data source name is
// right:
//
//	file:site.db?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=foreign_keys(1)&_pragma=busy_timeout(5000)&_txlock=immediate
func New(pool *sql.DB, l sqlstore.Layout) *DB {
	return &DB{Store: sqlstore.New(pool, l), close: func() error { return nil }}
}

// Close closes the pool that [OpenLayout] opened. On a DB made by [New] it does
// nothing.
func (db *DB) Close() error { return db.close() }

// Book is a book of its own in a SQLite file.
type Book struct {
	*book.Book
	pool *sql.DB
}

// OpenBook opens the book in the file at path, like [Open], for programs without
// an adapter: give its Book to gatebook.Config.Book.
func OpenBook(path string) (*Book, error) {
	ctx := context.Background()
	pool, err := open(ctx, path)
	if err != nil {
		return nil, err
	}
	b := sqlstore.NewBook(pool, sqlstore.SQLite)
	if _, err := b.Head(ctx); err == nil { // as it is, and perhaps newer
		return &Book{Book: b, pool: pool}, nil
	}
	if err := sqlstore.MigrateBook(ctx, pool, sqlstore.SQLite); err != nil {
		_ = pool.Close()
		return nil, fmt.Errorf("sqlite: %s: %w", path, err)
	}
	return &Book{Book: b, pool: pool}, nil
}

// Close closes the file.
func (b *Book) Close() error { return b.pool.Close() }

// open opens a pool with the settings that durability needs.
func open(ctx context.Context, path string) (*sql.DB, error) {
	if path == "" || strings.HasPrefix(path, ":memory:") || strings.HasPrefix(path, "file:") {
		return nil, fmt.Errorf("sqlite: %q is no path of a file; for tests there is adapter/memory", path)
	}
	// SQLite would make the file readable for others. Made here first, it and
	// the log beside it belong to the owner alone.
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	switch {
	case errors.Is(err, os.ErrPermission):
		return nil, fmt.Errorf("sqlite: the database must be writable: %w", err)
	case err != nil:
		return nil, fmt.Errorf("sqlite: %w", err)
	}
	if err := f.Close(); err != nil {
		return nil, fmt.Errorf("sqlite: %w", err)
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("sqlite: %w", err)
	}
	abs = filepath.ToSlash(abs)
	if !strings.HasPrefix(abs, "/") {
		abs = "/" + abs // as SQLite wants a drive letter
	}
	dsn := url.URL{Scheme: "file", Path: abs, RawQuery: url.Values{
		"_pragma": {"busy_timeout(5000)", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)"},
		"_txlock": {"immediate"},
	}.Encode()}
	pool, err := sql.Open("sqlite", dsn.String())
	if err != nil {
		return nil, fmt.Errorf("sqlite: %w", err)
	}
	// One connection writes at a time; the others read.
	pool.SetMaxOpenConns(8)
	pool.SetMaxIdleConns(8)
	// The driver lets all connections share one budget of cached pages, and one
	// that is not used keeps its part: those that are then read every page from
	// the file again, which doubles what a session read costs.
	pool.SetConnMaxIdleTime(5 * time.Second)
	if err := check(ctx, pool); err != nil {
		_ = pool.Close()
		return nil, fmt.Errorf("sqlite: %s: %w", path, err)
	}
	return pool, nil
}

// check refuses a SQLite or a file system on which the settings did not take.
func check(ctx context.Context, pool *sql.DB) error {
	var version string
	if err := pool.QueryRowContext(ctx, "SELECT sqlite_version()").Scan(&version); err != nil {
		return err
	}
	var v [3]int
	if _, err := fmt.Sscanf(version, "%d.%d.%d", &v[0], &v[1], &v[2]); err != nil {
		return fmt.Errorf("read the version %q: %w", version, err)
	}
	if older(v, minVersion) {
		return fmt.Errorf("SQLite %s is older than 3.51.3, which can damage databases: require a newer modernc.org/sqlite", version)
	}
	for _, p := range []struct{ name, want string }{
		{"synchronous", "2"}, {"foreign_keys", "1"}, {"busy_timeout", "5000"}, {"journal_mode", "wal"},
	} {
		var got string
		if err := pool.QueryRowContext(ctx, "PRAGMA "+p.name).Scan(&got); err != nil {
			return fmt.Errorf("read %s: %w", p.name, err)
		}
		if got == p.want {
			continue
		}
		if p.name == "journal_mode" {
			return fmt.Errorf("the journal mode is %q: a write-ahead log is not possible here, as on some network file systems", got)
		}
		return fmt.Errorf("PRAGMA %s is %s after it was set to %s", p.name, got, p.want)
	}
	return nil
}

func older(v, than [3]int) bool {
	for i := range v {
		if v[i] != than[i] {
			return v[i] < than[i]
		}
	}
	return false
}

// DriverWarning says when the program was built with another modernc.org/libc
// than the one its modernc.org/sqlite was tested with, which a third module can
// bring about unnoticed; it is empty when all is well or cannot be told.
// `gatebook doctor` shows it.
func DriverWarning() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	var driver, libc string
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		switch m.Path {
		case "modernc.org/sqlite":
			driver = m.Version
		case "modernc.org/libc":
			libc = m.Version
		}
	}
	if driver == testedDriver && libc != testedLibc {
		return fmt.Sprintf("modernc.org/sqlite %s was tested with modernc.org/libc %s, and this program has %s: run go get modernc.org/libc@%s",
			driver, testedLibc, libc, testedLibc)
	}
	return ""
}
