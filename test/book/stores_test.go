// Package book_test tests package book with real databases beneath it: that
// SQLite, PostgreSQL, MariaDB and memory behave alike, and that the order of the log survives
// concurrency, crashes, stopped servers and faults of the disk.
package book_test

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"github.com/gatebook/gatebook/book"
	"github.com/gatebook/gatebook/internal/sqldb"
	"github.com/gatebook/gatebook/record"
	"github.com/gatebook/gatebook/test/need"
)

// settings are those that a durable commit needs. There is no _txlock, so that
// what sqldb does itself is tested.
const settings = "_pragma=busy_timeout(5000)" + durable

const durable = "&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=foreign_keys(ON)"

// database is a kind of database, and how a test gets at one.
type database struct {
	dialect sqldb.Dialect
	driver  string
	// fresh returns the address of an empty database.
	fresh func(testing.TB) string
}

var databases = map[string]database{
	"sqlite": {sqldb.SQLite, "sqlite", func(t testing.TB) string {
		t.Helper()
		return "file:" + filepath.Join(t.TempDir(), "book.db") + "?" + settings
	}},
	"postgres": {sqldb.Postgres, "pgx", need.Postgres},
	"mysql":    {sqldb.MySQL, "mysql", need.MySQL},
}

// open opens the database at address with a pool of its own.
func (d database) open(t testing.TB, address string) *sqldb.DB {
	t.Helper()
	p, err := sql.Open(d.driver, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return sqldb.New(p, d.dialect)
}

// migrated returns a database with the book's tables, and its address.
func (d database) migrated(t testing.TB) (*sqldb.DB, string) {
	t.Helper()
	address := d.fresh(t)
	db := d.open(t, address)
	if err := db.Migrate(t.Context(), nil, book.Migrations(d.dialect)); err != nil {
		t.Fatal(err)
	}
	return db, address
}

// execute executes a statement beside the book.
func execute(t testing.TB, db *sqldb.DB, query string, args ...any) {
	t.Helper()
	if _, err := db.SQL().Exec(db.Dialect().Bind(query), args...); err != nil {
		t.Fatal(err)
	}
}

// openDB opens the SQLite file at path with a pool of its own.
func openDB(t testing.TB, path string) *sqldb.DB {
	t.Helper()
	return openWith(t, path, settings)
}

func openWith(t testing.TB, path, settings string) *sqldb.DB {
	t.Helper()
	return databases["sqlite"].open(t, "file:"+path+"?"+settings)
}

// newDB returns a migrated SQLite database in a file of its own, and the file.
func newDB(t testing.TB) (*sqldb.DB, string) {
	t.Helper()
	db, address := databases["sqlite"].migrated(t)
	path, _, _ := strings.Cut(strings.TrimPrefix(address, "file:"), "?")
	return db, path
}

// newBook returns a book that tells its log to the test.
func newBook(t testing.TB, s book.Store) *book.Book {
	t.Helper()
	b := book.New(s)
	b.SetLogger(slog.New(slog.NewTextHandler(t.Output(), nil)))
	return b
}

// stores makes an empty store of each kind.
var stores = map[string]func(testing.TB) book.Store{
	"memory":   func(testing.TB) book.Store { return book.NewMemory() },
	"sqlite":   inDatabase("sqlite"),
	"postgres": inDatabase("postgres"),
	"mysql":    inDatabase("mysql"),
}

func inDatabase(name string) func(testing.TB) book.Store {
	return func(t testing.TB) book.Store {
		t.Helper()
		db, _ := databases[name].migrated(t)
		return book.NewSQL(db)
	}
}

// event is what a test wants in an entry; empty members are left out.
type event struct {
	ID, Type, Outcome        string
	User, Email, IP, Session string
	At                       time.Time
}

var serial atomic.Int64

// entry seals e as an act would, for b.
func entry(t testing.TB, b *book.Book, e event) record.Entry {
	t.Helper()
	id, err := b.Identity(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := seal(id, e)
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

func seal(id book.Identity, e event) (record.Entry, error) {
	if e.ID == "" {
		e.ID = fmt.Sprintf("entry-%d", serial.Add(1))
	}
	if e.Type == "" {
		e.Type = record.TypeSignIn
	}
	if e.Outcome == "" {
		e.Outcome = record.Success
	}
	if e.At.IsZero() {
		e.At = time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)
	}
	subject := record.Key{1}
	identity, err := record.NewBlock(record.ClassIdentity, subject, record.SignIn{
		User: record.Person{ID: e.User, Email: e.Email}, Session: e.Session})
	if err != nil {
		return record.Entry{}, err
	}
	request, err := record.NewBlock(record.ClassRequest, subject, record.Request{IP: e.IP})
	if err != nil {
		return record.Entry{}, err
	}
	var terms []record.Term
	for _, v := range [][2]string{{record.TermUser, e.User}, {record.TermEmail, e.Email}, {record.TermIP, e.IP}, {record.TermSession, e.Session}} {
		if v[1] != "" {
			terms = append(terms, record.NewTerm(id.SearchKey, v[0], v[1]))
		}
	}
	return record.New(record.Header{
		Book: id.ID, ID: e.ID, Type: e.Type, TypeVersion: 1, Source: record.SourceGatebook, Time: e.At,
		Act: "act", Outcome: e.Outcome, Subject: subject,
	}, []record.Block{identity, request}, terms)
}

// add appends an entry for each event and returns them.
func add(t testing.TB, b *book.Book, events ...event) []record.Entry {
	t.Helper()
	var entries []record.Entry
	for _, e := range events {
		entries = append(entries, entry(t, b, e))
	}
	if err := b.Append(t.Context(), entries...); err != nil {
		t.Fatal(err)
	}
	return entries
}

func drain(t testing.TB, b *book.Book) {
	t.Helper()
	if err := b.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func head(t testing.TB, b *book.Book) book.Cursor {
	t.Helper()
	c, err := b.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// all returns the whole log, page by page, and fails when its numbers have a
// gap, an id is there twice, or recordedAt decreases.
func all(t testing.TB, b *book.Book) []book.Entry {
	t.Helper()
	var out []book.Entry
	for {
		page, err := b.Read(t.Context(), book.Query{After: int64(len(out)), Limit: 1000})
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, page...)
		if len(page) == 0 {
			break
		}
	}
	ids := map[string]bool{}
	for i, e := range out {
		if e.Seq != int64(i)+1 {
			t.Fatalf("entry %d of the log has seq %d", i+1, e.Seq)
		}
		if ids[e.Header.ID] {
			t.Errorf("entry %s is in the log twice, again as %d", e.Header.ID, e.Seq)
		}
		ids[e.Header.ID] = true
		if i > 0 && e.RecordedAt.Before(out[i-1].RecordedAt) {
			t.Errorf("recordedAt of %d is %v, before %v of the one before it", e.Seq, e.RecordedAt, out[i-1].RecordedAt)
		}
	}
	return out
}

// run starts b.Run and returns what ends it and waits.
func run(t testing.TB, b *book.Book) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v, want nil when its context ends", err)
		}
	}
	t.Cleanup(stop)
	return stop
}
