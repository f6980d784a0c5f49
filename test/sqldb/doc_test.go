// Package sqldb_test tests internal/sqldb against SQLite.
package sqldb_test

import _ "modernc.org/sqlite"
