package mysql_test

import (
	"crypto/rand"
	"errors"
	"strings"
	"testing"

	driver "github.com/go-sql-driver/mysql"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/adapter/mysql"
	"github.com/gatebook/gatebook/adapter/sqlstore"
	"github.com/gatebook/gatebook/record"
	"github.com/gatebook/gatebook/test/need"
)

// TestOpenRefuses opens what cannot be opened: the error says what is wrong and
// has no password.
func TestOpenRefuses(t *testing.T) {
	good, err := driver.ParseDSN(need.MySQL(t))
	if err != nil {
		t.Fatal(err)
	}
	changed := func(change func(*driver.Config)) string {
		c := good.Clone()
		change(c)
		return c.FormatDSN()
	}
	for name, c := range map[string]struct {
		dsn  string
		says []string
	}{
		"empty":       {"", []string{"data source name"}},
		"nonsense":    {"s3cret nonsense", []string{"data source name"}},
		"a URL":       {"mysql://ada:s3cret@localhost/site", []string{"data source name"}},
		"no database": {"ada:s3cret@tcp(localhost:3306)/", []string{"names no database"}},
		"option":      {"ada:s3cret@tcp(localhost:3306)/site?parseTime=perhaps", []string{"perhaps"}},
		"unreachable": {"ada:s3cret@tcp(127.0.0.1:1)/site", []string{"127.0.0.1:1", "refused"}},
		"password":    {changed(func(c *driver.Config) { c.Passwd = "s3cret" }), []string{"Access denied"}},
		"database":    {changed(func(c *driver.Config) { c.DBName = "nowhere" }), []string{"nowhere"}},
	} {
		t.Run(name, func(t *testing.T) {
			for call, open := range map[string]func() error{
				"Open":     func() error { _, err := mysql.Open(t.Context(), c.dsn); return err },
				"OpenBook": func() error { _, err := mysql.OpenBook(t.Context(), c.dsn); return err },
			} {
				err := open()
				if err == nil {
					t.Errorf("%s = nil, want an error", call)
					continue
				}
				for _, part := range append(c.says, "mysql: ") {
					if !strings.Contains(err.Error(), part) {
						t.Errorf("%s = %v, want an error that says %q", call, err, part)
					}
				}
				if strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), good.Passwd) {
					t.Errorf("%s: the error has the password: %v", call, err)
				}
			}
		})
	}
	if _, err := mysql.OpenLayout(t.Context(), good.FormatDSN(), sqlstore.Postgres); err == nil || !strings.Contains(err.Error(), "postgres") {
		t.Errorf("OpenLayout with a layout of PostgreSQL = %v, want an error that says so", err)
	}
}

// TestWeak: where a commit could be lost with the power, or what does not fit
// would be cut, no act is carried out, until that is mended.
func TestWeak(t *testing.T) {
	s := need.MySQLServer(t)
	admin := newPool(t, s.URL(""))
	run := func(query string) {
		t.Helper()
		if _, err := admin.Exec(query); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
	}
	run("CREATE DATABASE site")
	db, err := mysql.Open(t.Context(), s.URL("site"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for setting, value := range map[string][2]string{"innodb_flush_log_at_trx_commit": {"2", "1"}, "sql_mode": {"''", "DEFAULT"}} {
		t.Run(setting, func(t *testing.T) {
			run("SET GLOBAL " + setting + " = " + value[0])
			app := mysql.New(newPool(t, s.URL("site")), sqlstore.MySQL)
			act := &gatebook.Act{Writes: []gatebook.Write{gatebook.CreateUser{User: gatebook.User{ID: setting, Email: setting + "@example.com"}}}}
			for range 2 {
				if err := app.Commit(t.Context(), act); err == nil || !strings.Contains(err.Error(), setting) {
					t.Fatalf("Commit with %s = %s is %v, want an error that names it", setting, value[0], err)
				}
			}
			if setting == "sql_mode" { // Open sets it
				own, err := mysql.Open(t.Context(), s.URL("site"))
				if err != nil {
					t.Fatal(err)
				}
				defer own.Close()
				other := &gatebook.Act{Writes: []gatebook.Write{gatebook.CreateUser{User: gatebook.User{ID: "other"}}}}
				if err := own.Commit(t.Context(), other); err != nil {
					t.Errorf("Commit after Open = %v", err)
				}
			}
			run("SET GLOBAL " + setting + " = " + value[1])
			app = mysql.New(newPool(t, s.URL("site")), sqlstore.MySQL)
			if err := app.Commit(t.Context(), act); err != nil {
				t.Errorf("Commit with %s = %s is %v", setting, value[1], err)
			}
		})
	}
}

// TestWeakConnection: with settings of the data source name under which a commit
// is none, or some texts cannot be kept, nothing is read or written.
func TestWeakConnection(t *testing.T) {
	c := prepare(t)
	for params, setting := range map[string]string{
		"autocommit=0":   "autocommit",
		"charset=utf8":   "charset=utf8mb4",
		"charset=latin1": "charset=utf8mb4",
	} {
		t.Run(params, func(t *testing.T) {
			db := mysql.New(newPool(t, c.User+":"+c.Passwd+"@tcp("+c.Addr+")/"+c.DBName+"?"+params), layout)
			_, read := db.Session(t.Context(), "token")
			_, id := db.Book().Identity(t.Context())
			for what, err := range map[string]error{
				"Session": read, "Identity": id, "Append": db.Book().Append(t.Context(), record.Entry{ID: rand.Text(), Header: []byte("{}")}),
				"Commit": db.Commit(t.Context(), &gatebook.Act{Writes: []gatebook.Write{gatebook.CreateUser{User: gatebook.User{ID: "1"}}}}),
			} {
				if err == nil || !strings.Contains(err.Error(), setting) {
					t.Errorf("%s = %v, want an error that names %s", what, err, setting)
				}
			}
		})
	}
}

// TestClose: Close closes what Open opened, once or twice, and no pool of the
// application's.
func TestClose(t *testing.T) {
	dsn := need.MySQL(t)
	db, err := mysql.Open(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := db.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
	}
	if _, err := db.Session(t.Context(), "token"); err == nil || errors.Is(err, gatebook.ErrNotFound) {
		t.Errorf("Session after Close = %v, want an error that is not that there is none", err)
	}
	pool := newPool(t, dsn)
	if err := mysql.New(pool, sqlstore.MySQL).Close(); err != nil {
		t.Errorf("Close = %v", err)
	}
	if err := pool.Ping(); err != nil {
		t.Errorf("the application's pool after Close: %v", err)
	}
}
