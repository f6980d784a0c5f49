package book_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/gatebook/gatebook/book"
	"github.com/gatebook/gatebook/internal/sqldb"
)

// faulty is a driver over another that loses connections and lets tests act
// between statements.
type faulty struct {
	driver.Driver
	address string

	mu     sync.Mutex
	commit func(commit func() error) error // nil for none
	query  func(text string, args []driver.NamedValue)
}

func (f *faulty) Connect(context.Context) (driver.Conn, error) {
	c, err := f.Open(f.address)
	if err != nil {
		return nil, err
	}
	return &faultyConn{fullConn: c.(fullConn), f: f}, nil
}

func (f *faulty) onCommit(fn func(commit func() error) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.commit = fn
}

// fullConn is what a connection of our drivers can do.
type fullConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
}

type faultyConn struct {
	fullConn
	f    *faulty
	inTx bool
}

func (c *faultyConn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	tx, err := c.fullConn.BeginTx(ctx, opts)
	c.inTx = err == nil
	return &faultyTx{tx, c}, err
}

func (c *faultyConn) QueryContext(ctx context.Context, text string, args []driver.NamedValue) (driver.Rows, error) {
	c.f.mu.Lock()
	fn := c.f.query
	c.f.mu.Unlock()
	if fn != nil {
		fn(text, args)
	}
	return c.fullConn.QueryContext(ctx, text, args)
}

// ExecContext treats a statement that adds to the outbox as a commit: outside a
// transaction it is one.
func (c *faultyConn) ExecContext(ctx context.Context, text string, args []driver.NamedValue) (res driver.Result, err error) {
	fn := func(exec func() error) error { return exec() }
	if strings.HasPrefix(text, "INSERT INTO gatebook_outbox") && !c.inTx {
		if hook := c.f.hook(); hook != nil {
			fn = hook
		}
	}
	err = fn(func() error {
		res, err = c.fullConn.ExecContext(ctx, text, args)
		return err
	})
	return res, err
}

// hook returns what is to happen at the next commit, once.
func (f *faulty) hook() func(commit func() error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	fn := f.commit
	f.commit = nil
	return fn
}

type faultyTx struct {
	driver.Tx
	c *faultyConn
}

func (t *faultyTx) Commit() error {
	t.c.inTx = false
	if fn := t.c.f.hook(); fn != nil {
		return fn(t.Tx.Commit)
	}
	return t.Tx.Commit()
}

func (t *faultyTx) Rollback() error {
	t.c.inTx = false
	return t.Tx.Rollback()
}

func newFaulty(t *testing.T) (*faulty, *book.Book) {
	t.Helper()
	return databases["sqlite"].faulty(t)
}

func (d database) faulty(t *testing.T) (*faulty, *book.Book) {
	t.Helper()
	db, address := d.migrated(t)
	if d.driver == "mysql" {
		c, err := mysql.ParseDSN(address)
		if err != nil {
			t.Fatal(err)
		}
		c.InterpolateParams = true // or statements go another way
		address = c.FormatDSN()
	}
	f := &faulty{Driver: db.SQL().Driver(), address: address}
	p := sql.OpenDB(connector{f})
	t.Cleanup(func() { p.Close() })
	return f, newBook(t, book.NewSQL(sqldb.New(p, d.dialect)))
}

type connector struct{ *faulty }

func (c connector) Driver() driver.Driver { return c.faulty.Driver }

var errLost = errors.New("connection reset")

// The connection is lost at COMMIT, before it took effect and after. The caller
// is told that nobody knows, and Recorded knows.
func TestLostAtCommit(t *testing.T) {
	for name, d := range databases {
		t.Run(name, func(t *testing.T) { lostAtCommit(t, d) })
	}
}

func lostAtCommit(t *testing.T, d database) {
	t.Helper()
	for _, tt := range []struct {
		name   string
		commit func(commit func() error) error
		took   bool
	}{
		{"before", func(func() error) error { return errLost }, false},
		{"after", func(commit func() error) error { return errors.Join(commit(), errLost) }, true},
		{"bad connection after", func(commit func() error) error { return errors.Join(commit(), driver.ErrBadConn) }, true},
	} {
		if tt.name == "bad connection after" && !d.dialect.Queue {
			continue // of a single statement a driver must not say so
		}
		t.Run(tt.name, func(t *testing.T) {
			f, b := d.faulty(t)
			add(t, b, event{ID: "first"})
			drain(t, b)
			f.onCommit(tt.commit)
			err := b.Append(t.Context(), entry(t, b, event{ID: "a"}))
			if !errors.Is(err, book.ErrCommitUnknown) {
				t.Errorf("Append = %v, want ErrCommitUnknown", err)
			}
			if ok, err := b.Recorded(t.Context(), "a"); ok != tt.took || err != nil {
				t.Errorf("Recorded = %v, %v; want %v", ok, err, tt.took)
			}
			add(t, b, event{ID: "b"}) // the connection that was lost blocks nobody

			// The same while the sequencer commits a batch.
			f.onCommit(tt.commit)
			if err := b.Drain(t.Context()); !errors.Is(err, book.ErrCommitUnknown) {
				t.Errorf("Drain = %v, want ErrCommitUnknown", err)
			}
			add(t, b, event{ID: "c"})
			drain(t, b)
			want := 3 // first, b and c
			if tt.took {
				want = 4
			}
			if log := all(t, b); len(log) != want {
				t.Errorf("the log has %d entries, want %d", len(log), want)
			}
		})
	}
}

// A range of time that ends now has nothing of what is recorded after it, also
// when that comes between two statements of one Read.
func TestReadUntilWhileNumbering(t *testing.T) {
	f, b := newFaulty(t)
	add(t, b, event{})
	drain(t, b)
	until := all(t, b)[0].RecordedAt.Add(time.Millisecond)
	other := newBook(t, book.NewSQL(databases["sqlite"].open(t, f.address)))
	once := sync.OnceFunc(func() {
		for !time.Now().After(until.Add(time.Millisecond)) {
		}
		add(t, other, event{})
		if err := b.Drain(t.Context()); err != nil {
			t.Error(err)
		}
	})
	f.mu.Lock()
	f.query = func(text string, _ []driver.NamedValue) {
		if strings.HasPrefix(text, "SELECT page.seq") {
			f.mu.Lock()
			f.query = nil
			f.mu.Unlock()
			once()
		}
	}
	f.mu.Unlock()
	got, err := b.Read(t.Context(), book.Query{Filter: book.Filter{Until: until}})
	if err != nil || len(got) != 1 {
		t.Errorf("Read until %v = %d entries, %v; want 1", until, len(got), err)
	}
	if n := head(t, b).Seq; n != 2 {
		t.Errorf("%d entries were numbered, want 2: nothing was tested", n)
	}
}

// works checks that the book goes on after a fault and that its log is whole.
func works(t *testing.T, b *book.Book, waiting int) {
	t.Helper()
	before := head(t, b).Seq
	add(t, b, event{})
	drain(t, b)
	if log := all(t, b); len(log) != int(before)+waiting+1 {
		t.Errorf("after the fault the log has %d entries, want %d", len(log), int(before)+waiting+1)
	}
}

func TestDiskFull(t *testing.T) {
	db, _ := newDB(t)
	db.SQL().SetMaxOpenConns(1) // the limit is one of the connection
	b := newBook(t, book.NewSQL(db))
	add(t, b, event{})
	drain(t, b)
	var pages int
	if err := db.SQL().QueryRow("PRAGMA page_count").Scan(&pages); err != nil {
		t.Fatal(err)
	}
	limit := func(n int) {
		t.Helper()
		var is int
		if err := db.SQL().QueryRow("PRAGMA max_page_count = " + strconv.Itoa(n)).Scan(&is); err != nil {
			t.Fatal(err)
		}
	}
	// On a slow machine batches end early, and what they free takes the next
	// ones in; but the log grows, and the disk does not.
	appended := 0
	var full error
	for range 100 {
		var err error
		for range 1000 {
			limit(pages + 2) // the connection may have been replaced
			if err = b.Append(t.Context(), entry(t, b, event{})); err != nil {
				break
			}
			appended++
		}
		if !errors.Is(err, sqldb.ErrFull) || errors.Is(err, book.ErrCommitUnknown) {
			t.Fatalf("Append to a full disk = %v, want ErrFull", err)
		}
		limit(pages + 2)
		if full = b.Drain(t.Context()); full != nil {
			break
		}
	}
	if !errors.Is(full, sqldb.ErrFull) {
		t.Errorf("Drain on a full disk = %v, want ErrFull", full)
	}
	numbered := int(head(t, b).Seq) - 1
	limit(1 << 30)
	works(t, b, appended-numbered)
}

func TestReadOnly(t *testing.T) {
	db, path := newDB(t)
	add(t, newBook(t, book.NewSQL(db)), event{})
	ro := openWith(t, path, settings+"&_pragma=query_only(1)")
	b := newBook(t, book.NewSQL(ro))
	if err := b.Append(t.Context(), entry(t, b, event{})); !errors.Is(err, sqldb.ErrReadOnly) {
		t.Errorf("Append = %v, want ErrReadOnly", err)
	}
	if err := b.Drain(t.Context()); !errors.Is(err, sqldb.ErrReadOnly) {
		t.Errorf("Drain = %v, want ErrReadOnly", err)
	}
	if n, _, err := b.Pending(t.Context()); n != 1 || err != nil {
		t.Errorf("Pending = %d, %v; reading must go on", n, err)
	}
	works(t, newBook(t, book.NewSQL(db)), 1)
}

// Another process holds the write lock: writers are told, readers go on, and
// the sequencer goes on by itself when the lock is free.
func TestLockedByAnotherProcess(t *testing.T) {
	db, path := newDB(t)
	b := newBook(t, book.NewSQL(db))
	add(t, b, event{})
	c := startProcess(t, "lock", "sqlite", "file:"+path+"?"+settings)
	c.wait(t, 1)
	quick := openWith(t, path, "_pragma=busy_timeout(50)"+durable)
	q := newBook(t, book.NewSQL(quick))
	if err := q.Append(t.Context(), entry(t, b, event{})); !errors.Is(err, sqldb.ErrBusy) {
		t.Errorf("Append = %v, want ErrBusy", err)
	}
	if _, err := q.Read(t.Context(), book.Query{}); err != nil {
		t.Errorf("Read = %v; reading must go on", err)
	}
	// A writer whose context ends does not wait for the lock any longer, be it
	// sqldb or the driver's BEGIN that waits.
	immediate := newBook(t, book.NewSQL(openWith(t, path, settings+"&_txlock=immediate")))
	for _, w := range []*book.Book{b, immediate} {
		began := time.Now()
		if err := appendWithin(t, w, 50*time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Append = %v, want DeadlineExceeded", err)
		}
		if d := time.Since(began); d > 3*time.Second {
			t.Errorf("Append waited %v for 50 ms", d)
		}
	}
	run(t, q)
	c.end()
	for e, err := range q.Follow(t.Context(), book.Cursor{}, book.Filter{}) {
		if err != nil || e.Seq != 1 {
			t.Errorf("Follow yields %d, %v", e.Seq, err)
		}
		break
	}
	works(t, q, 0)
}

func appendWithin(t testing.TB, b *book.Book, d time.Duration) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	return b.Append(ctx, entry(t, b, event{}))
}

// A server that is told that another holds the lease does not wait for the
// write lock to be told.
func TestAcquireTakesNoLock(t *testing.T) {
	db, path := newDB(t)
	s := book.NewSQL(db)
	if _, err := s.Acquire(t.Context(), "one"); err != nil {
		t.Fatal(err)
	}
	c := startProcess(t, "lock", "sqlite", "file:"+path+"?"+settings)
	c.wait(t, 1)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := s.Acquire(ctx, "two"); !errors.Is(err, book.ErrLeaseHeld) {
		t.Errorf("Acquire = %v, want ErrLeaseHeld", err)
	}
}

// Without the tables every call says what to run.
func TestNotMigrated(t *testing.T) {
	for name, d := range databases {
		t.Run(name, func(t *testing.T) {
			db := d.open(t, d.fresh(t))
			b := newBook(t, book.NewSQL(db))
			_, err := b.Read(t.Context(), book.Query{})
			if !errors.Is(err, sqldb.ErrSchema) || !strings.Contains(err.Error(), "gatebook migrate") {
				t.Errorf("Read = %v, want what to run", err)
			}
			if err := db.Migrate(t.Context(), nil, book.Migrations(d.dialect)); err != nil {
				t.Fatal(err)
			}
			works(t, b, 0)
		})
	}
}
