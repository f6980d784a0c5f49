package sqldb

import (
	"context"
	"database/sql"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// MySQL is MariaDB 10.11 or newer, and is expected to work with MySQL 8, through
// a driver whose errors are structs with a field Number, such as
// go-sql-driver/mysql. Statements must not rest on how many rows an UPDATE
// changed: whether those that had the values already count is a setting of the
// driver.
var MySQL = Dialect{
	Name: "mysql",
	// Whatever the time zone of the session. It stands still while a statement
	// waits for a lock.
	Now:         "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(3)) DIV 1000",
	Prepared:    true,
	ForUpdate:   " FOR UPDATE",
	ForShare:    " LOCK IN SHARE MODE",
	JoinInOrder: " STRAIGHT_JOIN ",
	useIndex:    " FORCE INDEX (%)",
	quote:       "`",
	greatest:    "GREATEST",
	text:        "CHAR",
	isolation:   sql.LevelReadCommitted,
	duplicate:   true,
	hasTable:    "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = ?",
	// MariaDB only: to MySQL the limit is a comment.
	idle:     "SET /*M! SESSION idle_transaction_timeout = 2, */ @gatebook_idle = 2",
	unidle:   "SET /*M! SESSION idle_transaction_timeout = DEFAULT, */ @gatebook_idle = NULL",
	check:    checkMySQL,
	classify: classifyMySQL,
	refused:  refusedMySQL,
	runner: runner{
		versions: `CREATE TABLE IF NOT EXISTS gatebook_migrations (
	part       varchar(64)  NOT NULL,
	version    bigint       NOT NULL,
	name       varchar(255) NOT NULL,
	applied_at bigint       NOT NULL, -- milliseconds since 1970
	PRIMARY KEY (part, version)
) ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin`,
		lock:   "SELECT GET_LOCK(CONCAT('gatebook.', MD5(DATABASE())), 0)",
		unlock: "DO RELEASE_LOCK(CONCAT('gatebook.', MD5(DATABASE())))",
		set:    "SET SESSION lock_wait_timeout = 2",
		reset:  "SET SESSION lock_wait_timeout = DEFAULT",
		again:  func(err error) bool { n := mysqlNumber(err); return n == 1205 || n == 1213 },
	},
}

// checkMySQL refuses settings with which a commit that was acknowledged can be
// lost, or is none; with which values are cut or changed without an error, or
// some cannot be written or looked for at all.
func checkMySQL(ctx context.Context, conn rowQueryer) error {
	var flush, logBin, syncBin, autocommit int64
	var doublewrite, method, mode, charset string
	if err := conn.QueryRowContext(ctx, `SELECT @@GLOBAL.innodb_flush_log_at_trx_commit, @@GLOBAL.log_bin, @@GLOBAL.sync_binlog,
		CAST(@@GLOBAL.innodb_doublewrite AS CHAR), CAST(@@GLOBAL.innodb_flush_method AS CHAR), @@SESSION.sql_mode,
		@@SESSION.autocommit, @@SESSION.character_set_client`).
		Scan(&flush, &logBin, &syncBin, &doublewrite, &method, &mode, &autocommit, &charset); err != nil {
		return err
	}
	switch {
	case flush != 1 && flush != 3: // MariaDB's 3 syncs at prepare too
		return fmt.Errorf("%w: innodb_flush_log_at_trx_commit is %d, and a commit could be lost with the power: set it to 1", ErrWeak, flush)
	case logBin == 1 && syncBin != 1:
		// Recovery rolls back what the engine prepared and the binary log does not have.
		return fmt.Errorf("%w: the binary log is on and sync_binlog is %d, and a commit could be lost with the power: set it to 1", ErrWeak, syncBin)
	case doublewrite == "0" || strings.EqualFold(doublewrite, "off"):
		return fmt.Errorf("%w: innodb_doublewrite is off, and a crash could damage the database: turn it on", ErrWeak)
	case strings.EqualFold(method, "nosync") || strings.EqualFold(method, "littlesync"):
		return fmt.Errorf("%w: innodb_flush_method is %s, and a commit could be lost with the power: set it to fsync or O_DIRECT", ErrWeak, method)
	case !strings.Contains(mode, "STRICT_TRANS_TABLES") && !strings.Contains(mode, "STRICT_ALL_TABLES"):
		return fmt.Errorf("%w: sql_mode %q is not strict, and what does not fit would be cut without a word: add STRICT_TRANS_TABLES", ErrWeak, mode)
	case autocommit != 1: // and what is read is of the time of the connection's first statement
		return fmt.Errorf("%w: autocommit is off, and what was written would wait for a commit that nobody sends: leave it on", ErrWeak)
	case charset != "utf8mb4":
		return fmt.Errorf("%w: the connection's character set is %s, which has not all characters: say charset=utf8mb4 in the data source name",
			ErrWeak, charset)
	}
	return nil
}

// mysqlNumber returns the number of the server's error in err, or 0. The error
// of go-sql-driver/mysql has it in a field and no method tells it. Core links no
// driver, and a function that callers hand in would be one more thing to forget
// for those who bring their own *sql.DB; so the field is looked at.
func mysqlNumber(err error) uint64 {
	if err == nil {
		return 0
	}
	if v := reflect.Indirect(reflect.ValueOf(err)); v.Kind() == reflect.Struct {
		if f := v.FieldByName("Number"); f.IsValid() && f.Kind() == reflect.Uint16 {
			return f.Uint()
		}
	}
	switch err := err.(type) { //nolint:errorlint // the chain is walked here
	case interface{ Unwrap() error }:
		return mysqlNumber(err.Unwrap())
	case interface{ Unwrap() []error }:
		for _, e := range err.Unwrap() {
			if n := mysqlNumber(e); n != 0 {
				return n
			}
		}
	}
	return 0
}

// Numbers of errors (MariaDB, Error Codes).
var (
	mysqlConflict = []uint64{
		1022, 1062, 1169, 1586, // duplicate key
		1216, 1217, 1451, 1452, // foreign key
		1020, 1205, 1213, // changed since read, lock wait timeout, deadlock
	}
	mysqlFull     = []uint64{1021, 1114}
	mysqlReadOnly = []uint64{1290, 1792, 1836, 1874}
	// mysqlGone are of a server or a connection that ends, and of a commit that
	// went wrong half way.
	mysqlGone = []uint64{1053, 1077, 1079, 1152, 1158, 1159, 1160, 1161, 1180, 1184, 1317, 1927, 2006, 2013, 3024, 4031}
)

func classifyMySQL(err error) error {
	n := mysqlNumber(err)
	switch {
	case slices.Contains(mysqlConflict, n):
		return ErrConflict
	case slices.Contains(mysqlFull, n):
		return ErrFull
	case slices.Contains(mysqlReadOnly, n):
		return ErrReadOnly
	}
	return nil
}

func refusedMySQL(err error) bool {
	n := mysqlNumber(err)
	return n != 0 && !slices.Contains(mysqlGone, n)
}
