package adapters

import (
	"database/sql"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver named "pgx"
	_ "modernc.org/sqlite"             // the driver named "sqlite"

	"github.com/gatebook/gatebook/adapter/sqlstore"
	"github.com/gatebook/gatebook/test/need"
)

// kind is an official adapter with its tables.
type kind struct {
	name    string // in open.mjs
	dialect string // postgres, mysql, sqlite
	// tables are the names of the tables of users, accounts, sessions, magic
	// links and passkeys; the last is "" where the adapter has none.
	user, account, session, link, authenticator string
	// readsLinksFirst says that the adapter reads a link, then deletes it, and does
	// not look whether it was still there: of several at once all may get in.
	readsLinksFirst bool
	// users is the application's own table of users, nil for the adapter's.
	users *sqlstore.Users
	// seconds says that sessions and links expire at whole seconds.
	seconds bool
}

var kinds = []kind{
	{name: "pg", dialect: "postgres", user: "users", account: "accounts", session: "sessions", link: "verification_token"},
	drizzle("postgres"), drizzle("mysql"), drizzle("sqlite"),
	prisma("postgres"), prisma("mysql"), prisma("sqlite"), prisma("sqlite-plain"),
	people("postgres-uuid", sqlstore.UUID), people("postgres-bigint", sqlstore.Integer), people("mysql", sqlstore.Text), people("sqlite", sqlstore.Integer),
}

// people are the tables of an application that has Drizzle's adapter use a table
// of users of its own (people.mjs).
func people(name string, ids sqlstore.IDType) kind {
	dialect, _, _ := strings.Cut(name, "-")
	k := drizzle(dialect)
	k.name, k.user, k.seconds = "people-"+name, "people", false
	k.users = &sqlstore.Users{Table: "people", ID: "person_id", Name: "full_name", Email: "mail", EmailVerified: "mail_proved", Image: "picture",
		IDType: ids, Extra: []string{"role"}}
	return k
}

// column is the name in the database of a column of a table.
func (k *kind) column(table, name string) string {
	if k.users == nil || table != k.user {
		return name
	}
	if own := map[string]string{"id": k.users.ID, "name": k.users.Name, "email": k.users.Email, "emailVerified": k.users.EmailVerified,
		"image": k.users.Image}[name]; own != "" {
		return own
	}
	return name
}

// numbered reports whether ids of users are numbers.
func (k *kind) numbered() bool {
	return k.name == "pg" || k.users != nil && k.users.IDType == sqlstore.Integer
}

func drizzle(dialect string) kind {
	return kind{name: "drizzle-" + dialect, dialect: dialect, user: "user", account: "account", session: "session",
		link: "verificationToken", authenticator: "authenticator", seconds: dialect == "mysql", readsLinksFirst: dialect == "mysql"}
}

func prisma(name string) kind {
	dialect, _, _ := strings.Cut(name, "-")
	return kind{name: "prisma-" + name, dialect: dialect, user: "User", account: "Account", session: "Session",
		link: "VerificationToken", authenticator: "Authenticator", readsLinksFirst: dialect == "mysql"}
}

// place is a database with the tables of one adapter, and that adapter.
type place struct {
	kind
	t    *testing.T // of the story that is told
	home *testing.T // of the place
	dsn  string     // for Go
	db   *sql.DB
	npm  *npm
	// store is Gatebook's adapter, nil until migrated.
	store *sqlstore.Store
}

// drivers are the names of Go's drivers.
var drivers = map[string]string{"postgres": "pgx", "mysql": "mysql", "sqlite": "sqlite"}

// as runs a story as a test of its own.
func (p *place) as(name string, story func()) {
	p.t.Helper()
	was := p.t
	was.Run(name, func(t *testing.T) {
		p.t, p.npm.t = t, t
		story()
	})
	p.t, p.npm.t = was, was
}

func newPlace(t *testing.T, k kind) *place {
	t.Helper()
	p := &place{kind: k, t: t, home: t, dsn: fresh(t, k.dialect)}
	var err error
	if p.db, err = sql.Open(drivers[k.dialect], p.dsn); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.db.Close() })
	p.npm = startNode(t, k.name, address(t, k.dialect, p.dsn))
	for _, statement := range p.npm.call("ddl").([]any) {
		if _, err := p.db.ExecContext(t.Context(), statement.(string)); err != nil {
			t.Fatalf("make the tables: %v\n%s", err, statement)
		}
	}
	return p
}

// fresh returns the data source name of an empty database.
func fresh(t *testing.T, dialect string) string {
	t.Helper()
	switch dialect {
	case "postgres":
		return need.Postgres(t)
	case "mysql":
		cfg, err := mysql.ParseDSN(need.MySQL(t))
		if err != nil {
			t.Fatal(err)
		}
		cfg.ParseTime = true
		return cfg.FormatDSN()
	}
	return "file:" + filepath.Join(t.TempDir(), "site.db") +
		"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=foreign_keys(1)&_pragma=busy_timeout(5000)&_txlock=immediate"
}

// address is a data source name as npm's drivers take it.
func address(t *testing.T, dialect, dsn string) string {
	t.Helper()
	switch dialect {
	case "mysql":
		cfg, err := mysql.ParseDSN(dsn)
		if err != nil {
			t.Fatal(err)
		}
		u := url.URL{Scheme: "mysql", User: url.UserPassword(cfg.User, cfg.Passwd), Host: cfg.Addr, Path: "/" + cfg.DBName}
		return u.String()
	case "sqlite":
		path, _, _ := strings.Cut(strings.TrimPrefix(dsn, "file:"), "?")
		return path
	}
	return dsn
}

// withQuery is an address with one more parameter.
func withQuery(t *testing.T, address, name, value string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set(name, value)
	u.RawQuery = q.Encode()
	return u.String()
}

// cut is at to the precision of the column for expiries.
func (p *place) cut(at time.Time) time.Time {
	if p.seconds {
		return at.UTC().Truncate(time.Second)
	}
	return at.UTC().Truncate(time.Millisecond)
}

// quote quotes a name of a table or column.
func (p *place) quote(name string) string {
	if p.dialect == "mysql" {
		return "`" + name + "`"
	}
	return `"` + name + `"`
}

// rows reads rows of a table past both adapters: those whose columns are as in
// where.
func (p *place) rows(table string, where row) []row {
	p.t.Helper()
	statement, args := "SELECT * FROM "+p.quote(table), []any{}
	for column, v := range where {
		sep := " WHERE "
		if len(args) > 0 {
			sep = " AND "
		}
		mark := "?"
		args = append(args, v)
		if p.dialect == "postgres" {
			mark = fmt.Sprintf("$%d", len(args))
		}
		statement += sep + p.quote(p.column(table, column)) + " = " + mark
	}
	rows, err := p.db.QueryContext(p.t.Context(), statement, args...)
	if err != nil {
		p.t.Fatalf("%s: %v", statement, err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		p.t.Fatal(err)
	}
	out := []row{}
	for rows.Next() {
		values, into := make([]any, len(columns)), make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			p.t.Fatal(err)
		}
		r := row{}
		for i, c := range columns {
			for _, name := range []string{"id", "name", "email", "emailVerified", "image"} {
				if p.column(table, name) == c {
					c = name
				}
			}
			r[c] = plain(c, values[i])
		}
		out = append(out, r)
	}
	if err := rows.Err(); err != nil {
		p.t.Fatal(err)
	}
	return out
}

// plain is a value of a column in the types of [row], whatever the driver makes
// of it.
func plain(column string, v any) any {
	switch v := v.(type) {
	case []byte:
		return plain(column, string(v))
	case int32:
		return plain(column, int64(v))
	case int64:
		switch column {
		case "expires", "emailVerified":
			return time.UnixMilli(v).UTC()
		case "credentialBackedUp":
			return v != 0
		}
	case time.Time:
		return v.UTC()
	}
	return v
}
