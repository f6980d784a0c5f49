// Package mysql_test runs adapter/mysql on a real MariaDB: the suite of
// adapter/adaptertest, any settings of the driver, and what goes wrong there.
package mysql_test

import (
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"testing"

	driver "github.com/go-sql-driver/mysql"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/adapter/adaptertest"
	"github.com/gatebook/gatebook/adapter/mysql"
	"github.com/gatebook/gatebook/adapter/sqlstore"
	"github.com/gatebook/gatebook/test/cut"
	"github.com/gatebook/gatebook/test/need"
)

// layout is Gatebook's own with the columns that the suite needs.
var layout = sqlstore.MySQL.WithUsers(sqlstore.Users{Extra: []string{adaptertest.TextColumn, adaptertest.NumberColumn}})

// prepare makes the tables in a fresh database and returns its data source name.
func prepare(t testing.TB) *driver.Config {
	t.Helper()
	dsn := need.MySQL(t)
	db, err := mysql.Open(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.SQL().Exec("ALTER TABLE `user` ADD COLUMN " + adaptertest.TextColumn + " mediumtext, ADD COLUMN " + adaptertest.NumberColumn + " bigint"); err != nil {
		t.Fatal(err)
	}
	c, err := driver.ParseDSN(dsn)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// emptied returns a function that empties the database of c, for to make one
// takes longer than most of what is tested on it.
func emptied(t testing.TB, c *driver.Config) func(testing.TB) *driver.Config {
	t.Helper()
	db, err := mysql.Open(t.Context(), c.FormatDSN())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return func(t testing.TB) *driver.Config {
		t.Helper()
		tx, err := db.SQL().Begin()
		if err != nil {
			t.Fatal(err)
		}
		defer tx.Rollback()
		var names []string
		rows, err := tx.Query("SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name <> 'gatebook_migrations'")
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		for rows.Next() {
			var name string
			if err := rows.Scan(&name); err != nil {
				t.Fatal(err)
			}
			names = append(names, name)
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			query := "SET STATEMENT foreign_key_checks = 0 FOR DELETE FROM `" + name + "`"
			if _, err := tx.Exec(query); err != nil {
				t.Fatalf("%s: %v", query, err)
			}
		}
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
		if err := db.Migrate(t.Context()); err != nil { // makes the head of the book again
			t.Fatal(err)
		}
		return c
	}
}

// newPool returns the application's pool.
func newPool(t testing.TB, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open("mysql", dsn)
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxIdleConns(20)
	t.Cleanup(func() { db.Close() })
	return db
}

// settings are what an application may have in its data source name. None of
// them may make a difference.
var settings = map[string]string{
	"plain":          "",
	"other way":      "?parseTime=true&loc=America%2FSt_Johns&interpolateParams=true&clientFoundRows=true&multiStatements=true&time_zone=%27%2B05%3A45%27&charset=utf8mb4&compress=true",
	"some":           "?parseTime=true&clientFoundRows=true&collation=utf8mb4_unicode_ci",
	"repeatable":     "?transaction_isolation=%27SERIALIZABLE%27",
	"ansi":           "?sql_mode=CONCAT(%40%40sql_mode,%27,NO_BACKSLASH_ESCAPES,PIPES_AS_CONCAT%27)&interpolateParams=true",
	"columns in row": "?columnsWithAlias=true",
}

// TestSuite runs the suite on the application's pool, with settings of all kinds.
func TestSuite(t *testing.T) {
	for name, params := range settings {
		if name != "plain" && name != "other way" && !need.Soak() {
			continue
		}
		t.Run(name, func(t *testing.T) {
			empty := emptied(t, prepare(t))
			adaptertest.Run(t, func(t *testing.T) gatebook.Adapter {
				t.Helper()
				c := empty(t)
				return mysql.New(newPool(t, c.User+":"+c.Passwd+"@tcp("+c.Addr+")/"+c.DBName+params), layout)
			}, &adaptertest.Options{
				Foreign: foreign,
				Line:    func(t *testing.T) *adaptertest.Line { t.Helper(); return line(t, empty(t)) },
			})
		})
	}
}

// line is a store behind a proxy that cuts connections.
func line(t *testing.T, to *driver.Config) *adaptertest.Line {
	t.Helper()
	p := cut.New(t, to.Addr)
	c := to.Clone()
	c.Addr = p.Addr()
	return &adaptertest.Line{Adapter: mysql.New(newPool(t, c.FormatDSN()), layout), Break: p.Break, Mend: p.Mend}
}

// foreign inserts a session as another program does that hashes its tokens.
func foreign(t *testing.T, a gatebook.Adapter, s gatebook.StoredSession) {
	t.Helper()
	sum := sha256.Sum256([]byte(s.Token))
	if _, err := a.(adaptertest.SQL).SQL().Exec("INSERT INTO `session` (`sessionToken`, `userId`, `expires`) VALUES (?, ?, ?)",
		hex.EncodeToString(sum[:]), s.UserID, s.Expires.UTC().Format("2006-01-02 15:04:05.000")); err != nil {
		t.Fatal(err)
	}
}
