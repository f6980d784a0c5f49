// Package sqldb is what Gatebook's SQL stores share over a *sql.DB of the
// application: a durable write transaction, errors told apart by code, and a
// migration runner. What differs between databases is data in a [Dialect].
//
// It opens no database, knows no driver and no table but its own
// gatebook_migrations.
package sqldb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
)

// Classes of errors. Errors of this package match at most one of them and wrap
// the driver's error; any other error is the driver's own.
var (
	// ErrConflict says that a unique or foreign key would have been broken, or
	// that the database asked for the transaction to be run again.
	ErrConflict = errors.New("sqldb: conflict")
	// ErrBusy says that another connection held the lock for longer than the
	// connection is set to wait.
	ErrBusy = errors.New("sqldb: database is locked")
	// ErrFull says that there was no room to write.
	ErrFull = errors.New("sqldb: database or disk is full")
	// ErrReadOnly says that the database cannot be written.
	ErrReadOnly = errors.New("sqldb: database is read-only")
	// ErrCommitUnknown says that COMMIT failed in a way that does not tell
	// whether it took effect.
	ErrCommitUnknown = errors.New("sqldb: commit outcome unknown")
	// ErrWeak says that the connection's settings let a commit be lost with the
	// power, or do not check foreign keys. Nothing was written.
	ErrWeak = errors.New("sqldb: unsafe connection setting")
	// ErrNested says that a transaction was begun inside another one.
	ErrNested = errors.New("sqldb: transaction begun inside a transaction")
	// ErrSchema says that migrations are missing, or that the database was
	// migrated by a newer version.
	ErrSchema = errors.New("sqldb: schema does not fit")
)

// Dialect holds what differs between databases. Use one of the variables of
// this package.
type Dialect struct {
	// Name is the database's name in lower case, and the folder of its
	// migrations.
	Name string
	// Now is an SQL expression: the database's clock in milliseconds since
	// 1970.
	Now string

	begin    string // begins a transaction that may write, on a bare connection
	hasTable string // counts the tables of a name
	lock     string // as first statement of a transaction takes the write lock
	check    func(context.Context, rowQueryer) error
	classify func(error) error
}

// DB runs write transactions on a pool. It is safe for concurrent use. Make one
// for each pool and share it: its writer lock keeps the acts and the sequencer
// of a process in one fair queue, where SQLite alone would have them poll.
type DB struct {
	db      *sql.DB
	dialect Dialect
	writer  chan struct{} // holds a value while somebody writes; FIFO

	stmts      sync.Map // *atomic.Pointer[sql.Stmt] by text; see Exec
	unprepared atomic.Bool
}

// New returns a DB over db. It asks the database nothing.
func New(db *sql.DB, d Dialect) *DB {
	return &DB{db: db, dialect: d, writer: make(chan struct{}, 1)}
}

// SQL returns the pool, for reading.
func (d *DB) SQL() *sql.DB { return d.db }

// Dialect returns the dialect given to [New].
func (d *DB) Dialect() Dialect { return d.dialect }

// Classify returns err wrapped in its class, or err itself if it has none. It
// is for errors of statements run on [DB.SQL]; those of [DB.Tx] are classed
// already.
func (d *DB) Classify(err error) error {
	class := d.class(err)
	if class == nil {
		return err
	}
	return fmt.Errorf("%w: %w", class, err)
}

// classes are what a classified error can match.
var classes = []error{ErrConflict, ErrBusy, ErrFull, ErrReadOnly, ErrCommitUnknown, ErrWeak, ErrNested, ErrSchema}

// class returns the class of err, or nil if it has none or carries one already.
func (d *DB) class(err error) error {
	if err == nil {
		return nil
	}
	for _, c := range classes {
		if errors.Is(err, c) {
			return nil
		}
	}
	return d.dialect.classify(err)
}

type txKey struct{ d *DB }

// Tx runs fn in a transaction that may write and commits it; when Tx returns
// nil the commit survives loss of power. On SQLite it is an immediate
// transaction whatever the data source name says, so that what fn reads cannot
// change before it writes. fn must use the context and transaction it is given
// and must not end the transaction. An error of fn rolls back and is returned,
// classed. A context that ends rolls back too, and Tx returns its cause.
//
// Writers of one DB wait in the order in which they came. A Tx begun inside fn
// with its context fails with [ErrNested] instead of waiting for itself.
//
// The schema must have been migrated with [DB.Migrate].
func (d *DB) Tx(ctx context.Context, fn func(ctx context.Context, tx *sql.Tx) error) error {
	err := d.tx(ctx, fn)
	if err == nil {
		d.prepare(context.WithoutCancel(ctx))
	}
	return err
}

// beginning is a context that can end only while a transaction begins. The
// driver keeps it for the commit, where it need not watch it any more.
type beginning struct {
	context.Context
	over atomic.Bool
}

// Done returns nil once the transaction has begun, for a context without end.
func (b *beginning) Done() <-chan struct{} {
	if b.over.Load() {
		return nil
	}
	return b.Context.Done()
}

func (d *DB) tx(ctx context.Context, fn func(ctx context.Context, tx *sql.Tx) error) error {
	if ctx.Value(txKey{d}) != nil {
		return ErrNested
	}
	// With a free lock and an ended context select would choose at random.
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	select {
	case d.writer <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("wait to write: %w", context.Cause(ctx))
	}
	defer func() { <-d.writer }()

	conn, err := d.db.Conn(ctx)
	if err != nil {
		return d.failed(ctx, "connect", err)
	}
	defer conn.Close()
	if err := d.dialect.check(context.WithoutCancel(ctx), conn); err != nil {
		return d.failed(ctx, "check connection", err)
	}
	// The context ends the wait for the lock in BEGIN, but not the transaction: a
	// driver that looks at it while it commits could not tell whether it did. The
	// statements have it, and so has the line before the commit.
	txCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, cancel)
	begin := &beginning{Context: txCtx}
	tx, err := conn.BeginTx(begin, nil)
	stop()
	if err != nil {
		return d.failed(ctx, "begin", err)
	}
	begin.over.Store(true)
	committed := false
	defer func() {
		if !committed {
			d.rollback(conn, tx)
		}
	}()
	if _, err := d.exec(ctx, tx, d.dialect.lock); err != nil {
		return d.failed(ctx, "begin", err)
	}
	if err := fn(context.WithValue(ctx, txKey{d}, true), tx); err != nil {
		return d.failed(ctx, "", err)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := tx.Commit(); err != nil {
		return d.commitFailed(err)
	}
	committed = true
	return nil
}

// Exec executes a statement in a transaction: in one of [DB.Tx], whose context it
// must be given, prepared once on each connection and without an eye on the
// end of the context, because it waits for nothing and a driver may start a
// goroutine to watch. For texts of which there are few.
func (d *DB) Exec(ctx context.Context, tx *sql.Tx, query string, args ...any) (sql.Result, error) {
	if ctx.Value(txKey{d}) == nil { // the application's own, perhaps of another pool
		return tx.ExecContext(ctx, query, args...)
	}
	return d.exec(context.WithoutCancel(ctx), tx, query, args...)
}

func (d *DB) exec(ctx context.Context, tx *sql.Tx, query string, args ...any) (sql.Result, error) {
	v, known := d.stmts.Load(query)
	if !known {
		v, _ = d.stmts.LoadOrStore(query, new(atomic.Pointer[sql.Stmt]))
		d.unprepared.Store(true)
	}
	if stmt := v.(*atomic.Pointer[sql.Stmt]).Load(); stmt != nil {
		own := tx.StmtContext(ctx, stmt)
		defer func() { _ = own.Close() }()
		return own.ExecContext(ctx, args...)
	}
	return tx.ExecContext(ctx, query, args...)
}

// prepare prepares what exec has met, when no connection is held: the pool may
// have no other.
func (d *DB) prepare(ctx context.Context) {
	if !d.unprepared.CompareAndSwap(true, false) {
		return
	}
	d.stmts.Range(func(query, v any) bool {
		p := v.(*atomic.Pointer[sql.Stmt])
		if p.Load() != nil {
			return true
		}
		stmt, err := d.db.PrepareContext(ctx, query.(string))
		if err != nil {
			d.unprepared.Store(true) // it is only slower without
			return false
		}
		if !p.CompareAndSwap(nil, stmt) {
			defer func() { _ = stmt.Close() }()
		}
		return true
	})
}

// CheckTx refuses a transaction that the application began itself, as [DB.Tx]
// refuses a connection, when its settings let a commit be lost or do not check
// foreign keys. The error matches [ErrWeak].
func (d *DB) CheckTx(ctx context.Context, tx *sql.Tx) error {
	if err := d.dialect.check(ctx, tx); err != nil {
		return d.failed(ctx, "check connection", err)
	}
	return nil
}

// rowQueryer is a connection or a transaction on one.
type rowQueryer interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// rollback ends tx. A connection that may still be inside the transaction must
// not go back to the pool: database/sql thinks it is idle, and it would hold
// the write lock for ever.
func (d *DB) rollback(conn *sql.Conn, tx *sql.Tx) {
	err := tx.Rollback()
	if err == nil {
		return
	}
	// After a failed COMMIT tx counts as done; after a full disk and an interrupted
	// statement SQLite may have rolled back by itself.
	_ = conn.Raw(func(any) error { return driver.ErrBadConn })
}

// failed adds the step and the class to err. What the driver says when it was
// interrupted is less useful than why.
func (d *DB) failed(ctx context.Context, step string, err error) error {
	if ctx.Err() != nil && (errors.Is(err, ctx.Err()) || errors.Is(err, context.Canceled) || errors.Is(err, sql.ErrTxDone)) {
		err = context.Cause(ctx)
	}
	err = d.Classify(err)
	if step == "" {
		return err
	}
	return fmt.Errorf("%s: %w", step, err)
}

func (d *DB) commitFailed(err error) error {
	// A class means that the database refused and said why. Everything else, a
	// lost connection or a failed sync, leaves it open: after a failed sync the
	// commit may be found again when the log is recovered.
	if class := d.class(err); class != nil {
		return fmt.Errorf("commit: %w: %w", class, err)
	}
	return fmt.Errorf("%w: %w", ErrCommitUnknown, err)
}
