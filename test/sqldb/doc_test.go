// Package sqldb_test tests internal/sqldb against SQLite, PostgreSQL and MariaDB.
package sqldb_test

import _ "modernc.org/sqlite"
