package sqldb

import (
	"context"
	"errors"
	"fmt"
)

// SQLite is SQLite 3.51.3 or newer through a driver whose errors have a method
// Code() int with the extended result code, such as modernc.org/sqlite.
var SQLite = Dialect{
	Name:        "sqlite",
	Now:         "CAST(unixepoch('subsec') * 1000 AS INTEGER)",
	Queue:       true,
	Prepared:    true,
	JoinInOrder: " CROSS JOIN ",
	Merges:      true,
	useIndex:    " INDEXED BY %",
	quote:       `"`,
	greatest:    "MAX",
	text:        "TEXT",
	hasTable:    "SELECT COUNT(*) FROM sqlite_schema WHERE type = 'table' AND name = ?",
	// A transaction that database/sql began is deferred unless the data source
	// name says otherwise. As its first statement one that could write takes
	// the write lock and a fresh snapshot, as BEGIN IMMEDIATE would.
	lock:     "DELETE FROM gatebook_migrations WHERE 0",
	check:    checkSQLite,
	classify: classifySQLite,
	// Everything else, a failed sync too, leaves it open: the commit may be found
	// again when the log is recovered.
	refused: func(err error) bool { return classifySQLite(err) != nil },
	runner: runner{
		versions: `CREATE TABLE IF NOT EXISTS gatebook_migrations (
	part       TEXT    NOT NULL,
	version    INTEGER NOT NULL,
	name       TEXT    NOT NULL,
	applied_at INTEGER NOT NULL,
	PRIMARY KEY (part, version)
)`,
		begin: []string{"BEGIN IMMEDIATE"},
		again: func(error) bool { return false }, // the driver waits
	},
}

// checkSQLite refuses settings that belong to the connection, not to the file,
// and so may differ from one act to the next (SQLite, pragma.html).
func checkSQLite(ctx context.Context, conn rowQueryer) error {
	var synchronous, foreignKeys int
	var journal string
	// Three statements cost a third of one that joins the pragma functions.
	for _, p := range []struct {
		query string
		value any
	}{
		{"PRAGMA synchronous", &synchronous},
		{"PRAGMA foreign_keys", &foreignKeys},
		{"PRAGMA journal_mode", &journal},
	} {
		if err := conn.QueryRowContext(ctx, p.query).Scan(p.value); err != nil {
			return err
		}
	}
	switch {
	case synchronous < 2: // FULL; EXTRA is 3
		return fmt.Errorf("%w: PRAGMA synchronous is %d, and a commit could be lost with the power: set it to FULL in the data source name", ErrWeak, synchronous)
	case journal == "off" || journal == "memory":
		return fmt.Errorf("%w: PRAGMA journal_mode is %q, and a crash could damage the database: set it to WAL", ErrWeak, journal)
	case foreignKeys == 0:
		return fmt.Errorf("%w: PRAGMA foreign_keys is off: turn it on in the data source name", ErrWeak)
	}
	return nil
}

// Result codes (SQLite, rescode.html). The low byte is the primary code.
const (
	sqliteBusy         = 5
	sqliteLocked       = 6
	sqliteReadOnly     = 8
	sqliteFull         = 13
	sqliteConstraint   = 19
	sqliteBusySnapshot = 517
	sqliteForeignKey   = 787
	sqlitePrimaryKey   = 1555
	sqliteUnique       = 2067
	sqliteRowID        = 2579
)

func classifySQLite(err error) error {
	var coded interface {
		error
		Code() int
	}
	if !errors.As(err, &coded) {
		return nil
	}
	switch code := coded.Code(); code {
	case sqliteBusySnapshot, sqliteForeignKey, sqlitePrimaryKey, sqliteUnique, sqliteRowID:
		return ErrConflict
	default:
		switch code & 0xff {
		case sqliteBusy, sqliteLocked:
			return ErrBusy
		case sqliteReadOnly:
			return ErrReadOnly
		case sqliteFull:
			return ErrFull
		case sqliteConstraint:
			// With extended codes off every constraint has this one. NOT NULL and
			// CHECK are our mistakes and have codes of their own.
			if code == sqliteConstraint {
				return ErrConflict
			}
		}
	}
	return nil
}
