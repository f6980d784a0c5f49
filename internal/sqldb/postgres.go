package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
)

// Postgres is PostgreSQL 15 or newer through a driver whose errors have a method
// SQLState() string, such as pgx's database/sql mode.
var Postgres = Dialect{
	Name: "postgres",
	// Not now(), which stands still while a transaction waits for a lock.
	Now:         "CAST(FLOOR(EXTRACT(EPOCH FROM clock_timestamp()) * 1000) AS bigint)",
	CTE:         true,
	ForUpdate:   " FOR UPDATE",
	ForShare:    " FOR KEY SHARE",
	JoinInOrder: " JOIN ",
	Merges:      true,
	quote:       `"`,
	greatest:    "GREATEST",
	text:        "text",
	params:      map[Type]string{Text: "text", Int: "bigint", Bytes: "bytea", Bool: "boolean"},
	isolation:   sql.LevelReadCommitted,
	hasTable:    "SELECT COUNT(*) FROM pg_catalog.pg_class WHERE oid = to_regclass(?)",
	idle:        "SET LOCAL idle_in_transaction_session_timeout = 2000",
	check:       checkPostgres,
	classify:    classifyPostgres,
	refused:     refusedPostgres,
	runner: runner{
		versions: `CREATE TABLE IF NOT EXISTS gatebook_migrations (
	part       text   NOT NULL,
	version    bigint NOT NULL,
	name       text   NOT NULL,
	applied_at bigint NOT NULL, -- milliseconds since 1970
	PRIMARY KEY (part, version)
)`,
		begin: []string{
			"BEGIN", "SET LOCAL lock_timeout = 2000",
			"LOCK TABLE gatebook_migrations IN SHARE ROW EXCLUSIVE MODE",
		},
		// One number for all that use this database; it spells "gatebook".
		lock:   "SELECT CASE WHEN pg_try_advisory_lock(7449363237439500139) THEN 1 ELSE 0 END",
		unlock: "SELECT pg_advisory_unlock(7449363237439500139)",
		again:  func(err error) bool { s := sqlState(err); return s == "55P03" || s == "40P01" },
	},
}

// checkPostgres refuses settings with which a commit that was acknowledged can
// be lost (PostgreSQL, Write Ahead Log, Settings). synchronous_commit belongs to
// the session.
func checkPostgres(ctx context.Context, conn rowQueryer) error {
	var fsync, pages, commit string
	if err := conn.QueryRowContext(ctx, `SELECT current_setting('fsync'), current_setting('full_page_writes'),
		current_setting('synchronous_commit')`).Scan(&fsync, &pages, &commit); err != nil {
		return err
	}
	switch {
	case fsync != "on":
		return fmt.Errorf("%w: fsync is %s, and a commit could be lost with the power: set fsync = on in postgresql.conf", ErrWeak, fsync)
	case pages != "on":
		return fmt.Errorf("%w: full_page_writes is %s, and a crash could damage the database: set full_page_writes = on in postgresql.conf",
			ErrWeak, pages)
	case commit == "off": // local, remote_write, on and remote_apply all wait for the own disk
		return fmt.Errorf("%w: synchronous_commit is off, and a commit could be lost with the power: set it to on for this role or database", ErrWeak)
	}
	return nil
}

// sqlState returns the SQLSTATE of the server's error in err, or "".
func sqlState(err error) string {
	var coded interface {
		error
		SQLState() string
	}
	if !errors.As(err, &coded) {
		return ""
	}
	return coded.SQLState()
}

// classifyPostgres goes by the tables of PostgreSQL's Appendix A.
func classifyPostgres(err error) error {
	switch sqlState(err) {
	case "23505", "23503", "23001", "23P01", // unique, foreign key, restrict, exclusion
		"40001", "40P01", // serialization failure, deadlock
		"22012": // division by zero: a precondition of Require
		return ErrConflict
	case "55P03": // lock_timeout
		return ErrBusy
	case "53100":
		return ErrFull
	case "25006": // a standby, or default_transaction_read_only
		return ErrReadOnly
	}
	return nil
}

// refusedPostgres: an error that the server sends ends the transaction, except
// where the server or the connection is what ends.
func refusedPostgres(err error) bool {
	state := sqlState(err)
	return state != "" && !strings.HasPrefix(state, "08") && !strings.HasPrefix(state, "57P") && state != "40003"
}
