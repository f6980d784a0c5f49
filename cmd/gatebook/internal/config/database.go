package config

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Database says where users, sessions and the book are. In the file it is a text,
// which is the URL alone, or keys.
type Database struct {
	// URL is a path of a SQLite file, an address such as
	// postgres://user:password@host/name or mysql://user:password@host/name, or a
	// data source name such as user:password@tcp(host:3306)/name.
	URL string `yaml:"url" secret:"yes"`
	// Layout names the tables: own, drizzle, pg, prisma; own when empty.
	Layout string `yaml:"layout"`
	// Users is the application's own table of users, or nil.
	Users *Users `yaml:"users"`
}

// Users is sqlstore.Users.
type Users struct {
	Table         string   `yaml:"table"`
	ID            string   `yaml:"id"`
	Name          string   `yaml:"name"`
	Email         string   `yaml:"email"`
	EmailVerified string   `yaml:"emailVerified"`
	Image         string   `yaml:"image"`
	IDType        string   `yaml:"idType"` // text, uuid, integer; text when empty
	Extra         []string `yaml:"extra"`
}

// DefaultDatabase is used where nothing names another.
const DefaultDatabase = "gatebook.db"

// Kinds of databases.
const (
	SQLite   = "sqlite"
	Postgres = "postgres"
	MySQL    = "mysql"
)

var (
	address = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9+.-]*)://`)
	// dataSource is what the driver for MySQL reads: [user[:password]@][net[(addr)]]/name.
	dataSource = regexp.MustCompile(`^(?:[^/]*@)?(?:tcp|unix)(?:\([^()]*\))?/`)
	// path is how a path begins that can be nothing else.
	path = regexp.MustCompile(`^(?:[A-Za-z]:[\\/]|\.{0,2}/)`)
	// elsewhere is how other programs name a database: file:dev.db, jdbc:…,
	// :memory:, or PostgreSQL's keywords.
	elsewhere = regexp.MustCompile(`(?i)^(?:[a-z][a-z0-9+.-]+)?:|(?:^|\s)(?:host|hostaddr|port|user|password|passfile|dbname|service|sslmode)\s*=`)
)

// Kind returns the kind of database that URL names. Its errors quote nothing of
// the URL but its scheme: the rest may be a password.
func (d Database) Kind() (string, error) {
	m := address.FindStringSubmatch(d.URL)
	switch {
	case m != nil:
		return schemeKind(strings.ToLower(m[1]))
	case dataSource.MatchString(d.URL):
		return MySQL, nil
	case strings.Contains(d.URL, "@") && !path.MatchString(d.URL):
		// A file could be called so, but most likely a scheme is missing.
		return "", errors.New("an address has an @ but no scheme: write postgres://user:password@host/name or mysql://user:password@host/name, and ./ before the name of a SQLite file")
	case elsewhere.MatchString(d.URL) && !path.MatchString(d.URL):
		return "", errors.New("neither an address nor the path of a file: write postgres://user:password@host/name, mysql://user:password@host/name, or the path of a SQLite file alone, with ./ before it where the name has a colon")
	}
	return SQLite, nil
}

// CheckURL says what is wrong with the URL, without quoting it.
func (d Database) CheckURL() error {
	if _, err := d.Kind(); err != nil {
		return err
	}
	if _, err := url.Parse(d.URL); err != nil && address.MatchString(d.URL) { // the error quotes it
		return errors.New("cannot be read as an address: write the special characters of user and password in percent encoding, @ as %40 and / as %2F")
	}
	return nil
}

func schemeKind(scheme string) (string, error) {
	switch scheme {
	case "postgres", "postgresql":
		return Postgres, nil
	case "mysql", "mariadb":
		return MySQL, nil
	}
	known := []string{"postgres", "mysql"}
	hint := "known are " + strings.Join(known, " and ") + "; SQLite takes a path"
	if near := Nearest(scheme, known); near != "" {
		hint = "did you mean " + near + "://?"
	}
	return "", fmt.Errorf("the scheme %q is not known: %s", scheme, hint)
}

// Name is what may be shown: the path of a file, or the kind, host and name of a
// database; never user, password or parameters.
func (d Database) Name() string {
	kind, err := d.Kind()
	if err != nil {
		return "a database of unknown kind"
	}
	switch kind {
	case SQLite:
		return d.URL
	case MySQL:
		if !address.MatchString(d.URL) {
			_, rest, _ := cutLast(d.URL, "@")
			rest, _, _ = strings.Cut(rest, "?")
			return "MySQL at " + rest
		}
	}
	title := map[string]string{Postgres: "PostgreSQL", MySQL: "MySQL"}[kind]
	u, err := url.Parse(d.URL)
	if err != nil {
		return title // an address that cannot be read is not cut up by hand
	}
	return title + " at " + u.Host + u.Path
}

// cutLast cuts s around the last sep; without one all of it is after.
func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return "", s, false
	}
	return s[:i], s[i+len(sep):], true
}

// check finds what is wrong with the keys, as far as that needs no database.
func (d Database) check(dec *decoder) {
	if d.URL == "" {
		if d.Layout != "" || d.Users != nil {
			dec.fail(0, "database.url", "is missing")
		}
		return
	}
	key := "database"
	if dec.lines["database.url"] > 0 {
		key = "database.url"
	}
	if err := d.CheckURL(); err != nil && !dec.noURL {
		dec.fail(0, key, "%v", err)
	}
	oneOf(dec, "database.layout", d.Layout, "own", "drizzle", "pg", "prisma")
	u := d.Users
	if u == nil {
		return
	}
	oneOf(dec, "database.users.idType", u.IDType, "text", "uuid", "integer")
	if u.Table == "" {
		dec.fail(0, "database.users.table", "is missing")
	}
	for i, column := range u.Extra {
		if slices.Contains([]string{u.ID, u.Name, u.Email, u.EmailVerified, u.Image}, column) || slices.Index(u.Extra, column) < i {
			dec.fail(0, "database.users.extra", "the column %q is named twice", column)
		}
	}
}

// hasPassword reports whether an address or a data source name holds one.
func hasPassword(s string) bool {
	if u, err := url.Parse(s); err == nil && u.Scheme != "" && u.Host != "" {
		_, set := u.User.Password()
		return set || u.Query().Has("password")
	}
	user, _, ok := cutLast(s, "@")
	return ok && strings.Contains(user, ":")
}

// DatabaseOf returns the database that the file, a path, names. It looks at
// nothing else in it, so that a variable which is missing here does no harm. An
// address that is given stands above that of the file, which is not looked at
// then.
func DatabaseOf(file, above string, env Lookup) (Database, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return Database{}, fmt.Errorf("read the configuration: %w", err)
	}
	c := &Config{}
	d := &decoder{name: filepath.Base(file), env: env, literal: &c.Literal, only: "database", noURL: above != ""}
	d.document(data, c)
	if above != "" {
		c.Database.URL = above
	}
	if len(d.errs) == 0 {
		c.Database.check(d)
	}
	return c.Database, errors.Join(d.errs...)
}
