package sqlstore

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/gatebook/gatebook/internal/sqldb"
)

// Layout says which database it is and what its tables are like. Use one of the
// variables of this package, or [Named]; the zero value is refused.
type Layout struct {
	name    string
	dialect *dialect
	raw     bool      // session tokens are stored as they are, for Auth.js reads them
	tables  [5]string // names, as the constants below have them
	ids     IDType
	users   *Users
	lacks   []Lack
}

// The tables of Auth.js, in the order of [Layout].tables.
const (
	userTable = iota
	accountTable
	sessionTable
	linkTable
	passkeyTable
)

// Gatebook's own layouts: names and types of the tables of Auth.js's Drizzle
// adapter, made by [Store.Migrate]. Session tokens are stored as their SHA-256, in
// lower-case hex, so that a leaked table holds none that works; Auth.js cannot
// read the sessions.
var (
	SQLite   = Layout{name: "own", dialect: sqlite, tables: drizzle}
	Postgres = Layout{name: "own", dialect: postgres, tables: drizzle}
	MySQL    = Layout{name: "own", dialect: mysql, tables: drizzle}
)

// Layouts of the tables of Auth.js's own adapters, with which both can work on
// one database at the same time. The tables must be there already; Gatebook adds
// none of its columns to them. Session tokens are stored as they are. See
// [Layout.Lacks] for what they cannot hold.
var (
	DrizzleSQLite   = Layout{name: "drizzle", dialect: sqlite, tables: drizzle, raw: true}
	DrizzlePostgres = Layout{name: "drizzle", dialect: postgres, tables: drizzle, raw: true, lacks: small("account", "authenticator")}
	DrizzleMySQL    = Layout{name: "drizzle", dialect: mysql, tables: drizzle, raw: true, lacks: drizzleLacks}

	// AuthJSPostgres are the tables of @auth/pg-adapter, whose ids are numbers that
	// the database makes. [Store.Migrate] adds the unique keys that they lack.
	AuthJSPostgres = Layout{
		name: "pg", dialect: postgres, raw: true, ids: Integer,
		tables: [5]string{"users", "accounts", "sessions", "verification_token", ""}, lacks: pgLacks,
	}

	PrismaSQLite   = Layout{name: "prisma", dialect: sqlite, tables: prisma, raw: true}
	PrismaPostgres = Layout{name: "prisma", dialect: postgres, tables: prisma, raw: true, lacks: small("Account", "Authenticator")}
	PrismaMySQL    = Layout{name: "prisma", dialect: mysql, tables: prisma, raw: true, lacks: prismaLacks}
)

var (
	drizzle = [5]string{"user", "account", "session", "verificationToken", "authenticator"}
	prisma  = [5]string{"User", "Account", "Session", "VerificationToken", "Authenticator"}
)

var layouts = []Layout{
	SQLite, Postgres, MySQL, DrizzleSQLite, DrizzlePostgres, DrizzleMySQL, AuthJSPostgres, PrismaSQLite, PrismaPostgres, PrismaMySQL,
}

// Named returns a layout by its database (sqlite, postgres or mysql) and its name
// (own, drizzle, pg or prisma).
func Named(database, name string) (Layout, error) {
	var names []string
	for _, l := range layouts {
		if l.dialect.Name != database {
			continue
		}
		if l.name == name {
			return l, nil
		}
		names = append(names, l.name)
	}
	if names == nil {
		return Layout{}, fmt.Errorf("no database %q: there are sqlite, postgres and mysql", database)
	}
	return Layout{}, fmt.Errorf("no layout %q for %s: there are %s", name, database, strings.Join(names, ", "))
}

// Name returns the name that [Named] knows the layout by.
func (l Layout) Name() string { return l.name }

// Database returns the name of its database: sqlite, postgres or mysql.
func (l Layout) Database() string {
	if l.dialect == nil {
		return ""
	}
	return l.dialect.Name
}

// engine is what internal packages know of the database. The zero layout has one,
// so that its use fails later, with an error.
func (l Layout) engine() sqldb.Dialect {
	if l.dialect == nil {
		return sqldb.SQLite
	}
	return l.dialect.Dialect
}

// Shared reports whether the tables belong to Auth.js's adapter, which reads and
// writes them too. They are then never made, and hold raw session tokens.
func (l Layout) Shared() bool { return l.raw }

// IDType is what the ids of users are in the database.
type IDType int

// Types of ids.
const (
	Text    IDType = iota // made by Gatebook: random UUIDs
	UUID                  // the same in a column of type uuid
	Integer               // whole numbers, made by the database
)

// String returns the name of the type.
func (t IDType) String() string { return [...]string{"text", "uuid", "integer"}[t] }

// Users describes a table of users that an application has already.
type Users struct {
	// Table is its name, with its schema if that is not the connection's: people
	// or app.people. If empty, the layout's.
	Table string
	// ID, Name, Email, EmailVerified and Image are the names of its columns; an
	// empty one is as in the layout (id, name, email, emailVerified, image), and
	// "-" says that there is none: what would stand there is not kept. ID is
	// needed. ID and Email must be unique. EmailVerified holds a time.
	ID, Name, Email, EmailVerified, Image string
	// IDType is the type of ID.
	IDType IDType
	// Extra are further columns that are read into User.Extra and may be written
	// through it. No other column is read: a password's hash must not find its way
	// to callbacks.
	Extra []string
}

// WithUsers returns the layout with another table of users. In Gatebook's own
// layouts the tables that [Store.Migrate] makes refer to it.
func (l Layout) WithUsers(u Users) Layout {
	if u.Table == "" && u.IDType == Text {
		u.IDType = l.ids
	}
	u.Extra = slices.Clone(u.Extra)
	l.users, l.ids = &u, u.IDType
	return l
}

// own reports whether the users table is the application's and not made here.
func (l Layout) ownUsers() bool { return l.users != nil && l.users.Table != "" }

// usersTable is the users table's name, without quotes.
func (l Layout) usersTable() string {
	if l.ownUsers() {
		return l.users.Table
	}
	return l.tables[userTable]
}

// userFields are Auth.js's names of the columns of a user, the first always there.
var userFields = []string{"id", "name", "email", "emailVerified", "image"}

// userNames returns the names of those columns in the table, "" for none.
func (l Layout) userNames() []string {
	names := slices.Clone(userFields)
	if l.users == nil {
		return names
	}
	for i, name := range []string{l.users.ID, l.users.Name, l.users.Email, l.users.EmailVerified, l.users.Image} {
		switch name {
		case "":
		case "-":
			names[i] = ""
		default:
			names[i] = name
		}
	}
	return names
}

func (l Layout) extra() []string {
	if l.users == nil {
		return nil
	}
	return l.users.Extra
}

// special are characters that no name in a statement has.
const special = "\"`'\x00?"

// check refuses what cannot be a layout.
func (l Layout) check() error {
	if l.dialect == nil {
		return errors.New("the Layout is empty: use one of sqlstore's, such as sqlstore.Postgres")
	}
	if l.users == nil {
		return nil
	}
	if l.users.ID == "-" {
		return errors.New("sqlstore.Users: ID is needed")
	}
	if !l.raw && l.users.Table == "" && (!slices.Equal(l.userNames(), userFields) || l.ids != Text) {
		return errors.New("sqlstore.Users: columns and IDType are those of Gatebook's own table of users, unless Table names another")
	}
	names := append(l.userNames(), l.users.Extra...)
	for i, name := range names {
		switch {
		case name == "" && i >= len(userFields):
			return errors.New("sqlstore.Users: a name in Extra is empty")
		case strings.ContainsAny(name, special+"."):
			return fmt.Errorf("sqlstore.Users: the column name %q has a character that is not supported here", name)
		case name != "" && slices.Contains(names[:i], name):
			return fmt.Errorf("sqlstore.Users: the column %q is named twice", name)
		}
	}
	if strings.ContainsAny(l.users.Table, special) || strings.Count(l.users.Table, ".") > 1 ||
		l.dialect == sqlite && strings.Contains(l.users.Table, ".") {
		return fmt.Errorf("sqlstore.Users: the table name %q has a character that is not supported here", l.users.Table)
	}
	if l.users.IDType < Text || l.users.IDType > Integer {
		return fmt.Errorf("sqlstore.Users: IDType is %d, which is none of Text, UUID and Integer", l.users.IDType)
	}
	return nil
}

// Lack is something that a layout cannot hold.
type Lack struct {
	// Table and Column are their names in the layout. Without a Column the whole
	// table is missing.
	Table, Column string
	// MaxChars is how many characters the column holds; what is longer is refused,
	// or left out where an event tells of it. 0 says that it is about something
	// else.
	MaxChars int
	// WholeSeconds says that the column keeps no milliseconds: they are cut off.
	WholeSeconds bool
	// Before is the year before which times must be, 0 for any.
	Before int
	// Max is the greatest number the column holds, 0 for any.
	Max int64
	// NotUnique says that the table as its maker makes it lets two rows have one
	// value (with Columns, one set of values) of the column: [Store.Migrate] adds a
	// unique key.
	NotUnique bool
}

// Lacks returns what the tables cannot hold when they are as their makers make
// them. A database may differ, and what counts is what it has.
func (l Layout) Lacks() []Lack { return slices.Clone(l.lacks) }

var drizzleLacks = slices.Concat(
	short("user", 255, "id", "name", "email", "image"),
	short("account", 255, "type", "provider", "providerAccountId", "refresh_token", "access_token", "token_type", "scope", "session_state"),
	short("account", 2048, "id_token"),
	short("session", 255, "sessionToken"),
	short("verificationToken", 255, "identifier", "token"),
	short("authenticator", 255, "credentialID", "providerAccountId", "credentialPublicKey", "transports"),
	small("account", "authenticator"),
	[]Lack{
		{Table: "user", Column: "emailVerified", Before: 2038},
		{Table: "session", Column: "expires", WholeSeconds: true, Before: 2038},
		{Table: "verificationToken", Column: "expires", WholeSeconds: true, Before: 2038},
	},
)

var pgLacks = slices.Concat(
	short("users", 255, "name", "email"),
	short("accounts", 255, "type", "provider", "providerAccountId"),
	short("sessions", 255, "sessionToken"),
	[]Lack{
		{Table: "users", Column: "email", NotUnique: true},
		{Table: "accounts", Column: "providerAccountId", NotUnique: true},
		{Table: "sessions", Column: "sessionToken", NotUnique: true},
		{Table: "authenticator"},
	},
)

var prismaLacks = slices.Concat(
	short("User", 191, "id", "name", "email", "image"),
	short("Account", 191, "userId", "type", "provider", "providerAccountId", "token_type", "scope", "session_state"),
	short("Session", 191, "sessionToken"),
	short("VerificationToken", 191, "identifier", "token"),
	short("Authenticator", 191, "credentialID", "providerAccountId", "credentialPublicKey", "transports"),
	small("Account", "Authenticator"),
)

// small are the numbers that are kept in 32 bits.
func small(account, authenticator string) []Lack {
	return []Lack{{Table: account, Column: "expires_at", Max: 1<<31 - 1}, {Table: authenticator, Column: "counter", Max: 1<<31 - 1}}
}

func short(table string, chars int, columns ...string) []Lack {
	out := make([]Lack, len(columns))
	for i, c := range columns {
		out[i] = Lack{Table: table, Column: c, MaxChars: chars}
	}
	return out
}
