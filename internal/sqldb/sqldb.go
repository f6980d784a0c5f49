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

// DB runs write transactions on a pool. It is safe for concurrent use. Make one
// for each pool and share it: on SQLite its writer lock keeps the acts and the
// sequencer of a process in one fair queue, where the database alone would have
// them poll. On a server they run side by side.
type DB struct {
	db      *sql.DB
	dialect Dialect
	writer  chan struct{} // holds a value while somebody writes; FIFO
	durable atomic.Bool   // a server was found to keep what it commits

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

// failed adds the step and the class to err. What the driver says when it was
// interrupted is less useful than why.
func (d *DB) failed(ctx context.Context, step string, err error) error {
	if ctx.Err() != nil && (errors.Is(err, ctx.Err()) || errors.Is(err, context.Canceled) || errors.Is(err, sql.ErrTxDone) ||
		errors.Is(err, driver.ErrBadConn)) {
		err = context.Cause(ctx)
	}
	err = d.Classify(err)
	if step == "" {
		return err
	}
	return fmt.Errorf("%s: %w", step, err)
}
