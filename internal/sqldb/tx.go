package sqldb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"sync/atomic"
)

type txKey struct{ d *DB }

// Tx runs fn in a transaction that may write and commits it; when Tx returns
// nil the commit survives loss of power. On SQLite it is an immediate
// transaction whatever the data source name says, so that what fn reads cannot
// change before it writes; on a server it is at READ COMMITTED, where each
// statement sees what is committed when it begins, and fn must lock what must not
// change. fn must use the context and transaction it is given and must not end
// the transaction. An error of fn rolls back and is returned, classed. A context
// that ends rolls back too, and Tx returns its cause. Where it ends, or the
// connection is lost, while the commit is under way, the error matches
// [ErrCommitUnknown].
//
// On SQLite writers of one DB wait in the order in which they came. A Tx begun
// inside fn with its context fails with [ErrNested] instead of waiting for
// itself.
//
// The schema must have been migrated with [DB.Migrate].
func (d *DB) Tx(ctx context.Context, fn func(ctx context.Context, tx *sql.Tx) error) error {
	return d.transact(ctx, false, fn)
}

// Batch is [DB.Tx] for work that others wait for. Where the server can, it ends
// the transaction when nothing comes from here for two seconds: a process that
// was stopped in the middle must not keep its locks for as long as it sleeps.
func (d *DB) Batch(ctx context.Context, fn func(ctx context.Context, tx *sql.Tx) error) error {
	return d.transact(ctx, true, fn)
}

// Do executes one statement that commits by itself and returns how many rows it
// changed; when it returns nil the commit survives loss of power. Nearly every
// error before the statement was sent is a plain one. Afterwards an error of the
// server means that nothing was changed, and any other matches
// [ErrCommitUnknown], that of a context that ended too.
func (d *DB) Do(ctx context.Context, query string, args ...any) (changed int64, err error) {
	if d.dialect.Queue {
		err = d.Tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
			res, err := d.Exec(ctx, tx, query, args...)
			if err != nil {
				return err
			}
			changed, err = res.RowsAffected()
			return err
		})
		return changed, err
	}
	if _, err := d.enter(ctx); err != nil {
		return 0, err
	}
	err = again(func() error {
		changed, err = d.do(ctx, query, args)
		return err
	})
	return changed, err
}

func (d *DB) do(ctx context.Context, query string, args []any) (int64, error) {
	conn, err := d.connect(ctx)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	res, err := conn.ExecContext(ctx, query, args...)
	switch {
	case err == nil:
		return res.RowsAffected()
	case errors.Is(err, driver.ErrBadConn) || d.dialect.refused(err):
		return 0, d.failed(ctx, "", err)
	case ctx.Err() != nil:
		return 0, fmt.Errorf("%w: %w", ErrCommitUnknown, context.Cause(ctx))
	default:
		return 0, fmt.Errorf("%w: %w", ErrCommitUnknown, err)
	}
}

// errLost says that the connection was lost before anything was written.
var errLost = errors.New("connection lost")

// again runs fn until it gets a connection that works: one of the pool may have
// been lost while it was idle. A driver says [driver.ErrBadConn] only when it
// sent nothing.
func again(fn func() error) error {
	var err error
	for range 3 {
		if err = fn(); !errors.Is(err, driver.ErrBadConn) && !errors.Is(err, errLost) {
			return err
		}
	}
	return err
}

// early is [DB.failed] for a step before anything is written.
func (d *DB) early(ctx context.Context, step string, err error) error {
	if !d.dialect.Queue && ctx.Err() == nil && d.class(err) == nil && !errors.Is(err, ErrWeak) && !d.dialect.refused(err) {
		err = fmt.Errorf("%w: %w", errLost, err)
	}
	return d.failed(ctx, step, err)
}

func (d *DB) transact(ctx context.Context, batch bool, fn func(ctx context.Context, tx *sql.Tx) error) error {
	leave, err := d.enter(ctx)
	if err != nil {
		return err
	}
	err = func() error {
		defer leave()
		return d.tx(ctx, batch, fn)
	}()
	if err == nil {
		d.prepare(ctx)
	}
	return err
}

// enter waits for the turn to write, where writers queue.
func (d *DB) enter(ctx context.Context) (leave func(), err error) {
	if ctx.Value(txKey{d}) != nil {
		return nil, ErrNested
	}
	// With a free lock and an ended context select would choose at random.
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if !d.dialect.Queue {
		return func() {}, nil
	}
	select {
	case d.writer <- struct{}{}:
		return func() { <-d.writer }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("wait to write: %w", context.Cause(ctx))
	}
}

func (d *DB) tx(ctx context.Context, batch bool, fn func(ctx context.Context, tx *sql.Tx) error) error {
	var tx *transaction
	if err := again(func() (err error) {
		tx, err = d.begin(ctx)
		return err
	}); err != nil {
		return err
	}
	ended := false
	defer func() {
		if !ended { // an error, or a panic of fn
			_ = d.within(ctx, tx.rollback) // what it failed of is said already
		}
	}()
	if err := tx.start(ctx, batch); err != nil {
		return d.failed(ctx, "begin", err)
	}
	if err := fn(context.WithValue(ctx, txKey{d}, true), tx.Tx); err != nil {
		return d.failed(ctx, "", err)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	ended = true
	if err := d.within(ctx, tx.commit); err != nil {
		return d.commitFailed(err)
	}
	return nil
}

// transaction is one on a connection of its own.
type transaction struct {
	*sql.Tx
	d       *DB
	conn    *sql.Conn
	cancel  context.CancelFunc
	limited bool // the connection has a limit on idle transactions
}

// beginning is a context that can end only while a transaction begins. The
// driver keeps it for the commit, where it must not watch it: it could not tell
// what became of a commit that it broke off.
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

func (d *DB) begin(ctx context.Context) (*transaction, error) {
	conn, err := d.connect(ctx)
	if err != nil {
		return nil, err
	}
	// The context ends the wait for the lock in BEGIN, but not the transaction.
	// The statements have it, and so has the line before the commit.
	txCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, cancel)
	begin := &beginning{Context: txCtx}
	tx, err := conn.BeginTx(begin, &sql.TxOptions{Isolation: d.dialect.isolation})
	stop()
	if err != nil {
		cancel()
		_ = conn.Close()
		return nil, d.early(ctx, "begin", err)
	}
	begin.over.Store(true)
	return &transaction{Tx: tx, d: d, conn: conn, cancel: cancel}, nil
}

// connect returns a connection on which a commit is durable. On SQLite that is
// asked of each connection; a server is asked once, when it was right.
func (d *DB) connect(ctx context.Context) (*sql.Conn, error) {
	conn, err := d.db.Conn(ctx)
	if err != nil {
		return nil, d.failed(ctx, "connect", err)
	}
	if d.durable.Load() {
		return conn, nil
	}
	look := ctx
	if d.dialect.Queue { // it waits for nothing, and watching a context costs
		look = context.WithoutCancel(ctx)
	}
	if err := d.dialect.check(look, conn); err != nil {
		_ = conn.Close()
		return nil, d.early(ctx, "check connection", err)
	}
	d.durable.Store(!d.dialect.Queue)
	return conn, nil
}

// start is what goes before everything else in the transaction.
func (t *transaction) start(ctx context.Context, batch bool) error {
	if lock := t.d.dialect.lock; lock != "" {
		if _, err := t.d.exec(ctx, t.Tx, lock); err != nil {
			return err
		}
	}
	if batch && t.d.dialect.idle != "" {
		t.limited = t.d.dialect.unidle != ""
		_, err := t.ExecContext(ctx, t.d.dialect.idle)
		return err
	}
	return nil
}

func (t *transaction) commit() error {
	err := t.Commit()
	t.release(err == nil)
	return err
}

func (t *transaction) rollback() error {
	err := t.Rollback()
	t.release(err == nil)
	return err
}

// release gives the connection back. One that may still be inside the
// transaction must not go back to the pool: database/sql thinks it is idle, and
// it would hold its locks for ever. (After a failed COMMIT the transaction
// counts as done; after a full disk and an interrupted statement SQLite may have
// rolled back by itself.)
func (t *transaction) release(clean bool) {
	t.cancel()
	if clean && t.limited {
		_, err := t.conn.ExecContext(context.Background(), t.d.dialect.unidle)
		clean = err == nil
	}
	if !clean {
		_ = t.conn.Raw(func(any) error { return driver.ErrBadConn })
	}
	_ = t.conn.Close()
}

// within runs fn, which ends a transaction, but on a server waits no longer than
// for ctx: over a network that swallows everything drivers wait for hours.
func (d *DB) within(ctx context.Context, fn func() error) error {
	if d.dialect.Queue {
		return fn()
	}
	done := make(chan error, 1)
	go func() { done <- fn() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// commitFailed: an error that does not come from the database, such as a lost
// connection, leaves it open whether the commit took effect.
func (d *DB) commitFailed(err error) error {
	if !d.dialect.refused(err) {
		return fmt.Errorf("%w: %w", ErrCommitUnknown, err)
	}
	return fmt.Errorf("commit: %w", d.Classify(err))
}

// Exec executes a statement in a transaction: in one of [DB.Tx], whose context it
// must be given, prepared once on each connection where that is worth it. On
// SQLite it has no eye on the end of the context, because it waits for nothing
// and a driver may start a goroutine to watch. For texts of which there are few.
func (d *DB) Exec(ctx context.Context, tx *sql.Tx, query string, args ...any) (sql.Result, error) {
	if ctx.Value(txKey{d}) == nil { // the application's own, perhaps of another pool
		return tx.ExecContext(ctx, query, args...)
	}
	if d.dialect.Queue {
		ctx = context.WithoutCancel(ctx)
	}
	return d.exec(ctx, tx, query, args...)
}

func (d *DB) exec(ctx context.Context, tx *sql.Tx, query string, args ...any) (sql.Result, error) {
	if !d.dialect.Prepared {
		return tx.ExecContext(ctx, query, args...)
	}
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
	if d.dialect.Queue {
		ctx = context.WithoutCancel(ctx)
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

// CheckSettings does the same with a connection of the pool.
func (d *DB) CheckSettings(ctx context.Context) error {
	if err := d.dialect.check(ctx, d.db); err != nil {
		return d.failed(ctx, "check connection", err)
	}
	return nil
}

// rowQueryer is a connection, a pool or a transaction on one.
type rowQueryer interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}
