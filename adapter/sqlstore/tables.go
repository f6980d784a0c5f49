package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/gatebook/gatebook/internal/sqldb"
)

// table is a table as the database has it.
type table struct {
	name    string // without quotes
	columns []*column
	indexes []index
}

// q is its name in quotes.
func (t *table) q() string { return quote(t.name) }

// col returns a column that [table.must] found.
func (t *table) col(name string) *column {
	if c := t.find(name); c != nil {
		return c
	}
	panic("sqlstore: no column " + name + " of " + t.name)
}

func (t *table) find(name string) *column {
	for _, c := range t.columns {
		if c.name == name {
			return c
		}
	}
	return nil
}

// index is an index over whole rows.
type index struct {
	unique  bool
	columns []string
}

// keeps reports whether an index keeps columns unique.
func (t *table) keeps(columns []string) bool {
	return slices.ContainsFunc(t.indexes, func(i index) bool {
		return i.unique && len(i.columns) == len(columns) && !slices.ContainsFunc(columns, func(c string) bool {
			return !slices.Contains(i.columns, c)
		})
	})
}

// finds reports whether an index leads to rows by columns.
func (t *table) finds(columns []string) bool {
	return slices.ContainsFunc(t.indexes, func(i index) bool {
		return len(i.columns) >= len(columns) && slices.Equal(i.columns[:len(columns)], columns)
	})
}

// queryer is a pool, a connection or a transaction.
type queryer interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// look returns the table of that name, without columns when there is none.
func (d *dialect) look(ctx context.Context, db queryer, name string) (*table, error) {
	t := &table{name: name}
	args := []any{name}
	switch d {
	case postgres:
		args[0] = quote(name)
	case mysql:
		schema, rest, ok := strings.Cut(name, ".")
		if args = []any{name, nil}; ok {
			args = []any{rest, schema}
		}
	}
	err := d.each(ctx, db, d.columns, args, func(rows *sql.Rows) error {
		c := &column{table: name}
		var seconds, needed, always int
		if err := rows.Scan(&c.name, &c.kind, &c.max, &seconds, &needed, &c.fallback, &always, &c.full); err != nil {
			return err
		}
		c.seconds, c.needed, c.never, c.always = seconds != 0, needed == 1, needed != 0, always != 0
		c.form = d.form(c.kind)
		c.signed32 = d == mysql && c.kind == "timestamp"
		if _, set, ok := strings.Cut(c.full, " CHARACTER SET "); ok && d == mysql {
			set, _, _ = strings.Cut(set, " ")
			c.last = lastOf[set]
			if set != "utf8mb4" {
				c.charset = set
			}
		}
		t.columns = append(t.columns, c)
		return nil
	})
	if err != nil {
		return nil, err
	}
	last := ""
	err = d.each(ctx, db, d.indexes, args, func(rows *sql.Rows) error {
		var name, column string
		var unique int
		if err := rows.Scan(&name, &unique, &column); err != nil {
			return err
		}
		if name != last {
			t.indexes = append(t.indexes, index{unique: unique != 0})
		}
		last = name
		i := &t.indexes[len(t.indexes)-1]
		i.columns = append(i.columns, column)
		return nil
	})
	return t, err
}

// lastOf is the last character that MySQL's character sets certainly have up to
// there, where they have not all of Unicode.
var lastOf = map[string]rune{"ascii": 0x7f, "latin1": 0xff, "utf8": 0xffff, "utf8mb3": 0xffff, "ucs2": 0xffff}

// each runs a query and scan on each of its rows.
func (d *dialect) each(ctx context.Context, db queryer, query string, args []any, scan func(*sql.Rows) error) error {
	p := d.query(query)
	rows, err := db.QueryContext(ctx, p.text, p.args(args)...)
	if err != nil {
		return fmt.Errorf("look at the tables: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return fmt.Errorf("look at the tables: %w", err)
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("look at the tables: %w", err)
	}
	return nil
}

// form is how a type of the database keeps a value.
func (d *dialect) form(kind string) form {
	switch kind {
	case "text", "varchar", "bpchar", "char", "citext", "tinytext", "mediumtext", "longtext", "enum", "name":
		return textForm
	case "uuid":
		if d == postgres {
			return uuidForm
		}
		return textForm
	case "int2", "int4", "int8", "integer", "int", "bigint", "smallint", "mediumint", "tinyint", "bigint unsigned":
		return numberForm
	case "bool", "boolean":
		return boolForm
	case "bytea", "blob", "binary", "varbinary", "tinyblob", "mediumblob", "longblob":
		return bytesForm
	case "timestamptz":
		return instantForm
	case "timestamp", "datetime":
		if d == sqlite {
			return isoForm
		}
		return clockForm
	}
	if d == sqlite {
		return hinted(kind)
	}
	return otherForm
}

// hinted is how SQLite keeps a value: its types are hints, in any words
// (SQLite, datatype3.html, Section 3.1).
func hinted(kind string) form {
	word, _, length := strings.Cut(kind, "(")
	has := func(part string) bool { return strings.Contains(word, part) }
	switch {
	case length:
		return sqlite.form(strings.TrimSpace(word))
	case has("int"):
		return numberForm
	case has("char"), has("clob"), has("text"), word == "":
		return textForm
	}
	return otherForm
}

// tables are those that the statements use, as the database has them. Those that
// an application may do without are nil.
type tables struct {
	user, account, session, link, passkey *table

	id, name, email, verified, image *column // of the user; all but id may be nil
	extra                            []*column

	subjects, notes, tokens, checks, jobs *table
}

// want says what a column must be able to hold.
type want int

const (
	wantText want = iota
	wantTime
	wantNumber
	wantBool
	wantBytes
	wantID // what the layout says of users' ids
)

var accepted = map[want][]form{
	wantText:   {textForm},
	wantTime:   {millisForm, numberForm, clockForm, instantForm, isoForm},
	wantNumber: {numberForm},
	wantBool:   {boolForm, numberForm},
	wantBytes:  {bytesForm},
}

var wanted = map[want]string{
	wantText: "text", wantTime: "a time", wantNumber: "a whole number", wantBool: "true or false", wantBytes: "bytes",
}

// spec is what a table must be like.
type spec struct {
	columns map[string]want
	keys    [][]string // unique
	indexes [][]string // worth having
}

// specs of Auth.js's tables, by the constants of [Layout].tables. That of users
// is made for the layout.
var specs = [5]spec{
	accountTable: {
		columns: map[string]want{
			"userId": wantID, "type": wantText, "provider": wantText, "providerAccountId": wantText, "refresh_token": wantText,
			"access_token": wantText, "expires_at": wantNumber, "token_type": wantText, "scope": wantText, "id_token": wantText,
			"session_state": wantText,
		},
		keys: [][]string{{"provider", "providerAccountId"}}, indexes: [][]string{{"userId"}},
	},
	sessionTable: {
		columns: map[string]want{"sessionToken": wantText, "userId": wantID, "expires": wantTime},
		keys:    [][]string{{"sessionToken"}}, indexes: [][]string{{"userId"}, {"expires"}},
	},
	linkTable: {
		columns: map[string]want{"identifier": wantText, "token": wantText, "expires": wantTime},
		keys:    [][]string{{"identifier", "token"}}, indexes: [][]string{{"token"}, {"expires"}},
	},
	passkeyTable: {
		columns: map[string]want{
			"credentialID": wantText, "userId": wantID, "providerAccountId": wantText, "credentialPublicKey": wantText,
			"counter": wantNumber, "credentialDeviceType": wantText, "credentialBackedUp": wantBool, "transports": wantText,
		},
		keys: [][]string{{"credentialID"}},
	},
}

// userSpec is what the users table must be like.
func (l Layout) userSpec() spec {
	s := spec{columns: make(map[string]want)}
	names := l.userNames()
	for i, w := range []want{wantID, wantText, wantText, wantTime, wantText} {
		if names[i] != "" {
			s.columns[names[i]] = w
		}
	}
	s.keys = [][]string{{names[0]}}
	if names[2] != "" {
		s.keys = append(s.keys, []string{names[2]})
	}
	return s
}

func (l Layout) spec(which int) spec {
	if which == userTable {
		return l.userSpec()
	}
	return specs[which]
}

func (l Layout) table(which int) string {
	if which == userTable {
		return l.usersTable()
	}
	return l.tables[which]
}

// may reports whether an application may do without the table: one that Auth.js's
// adapter made, for magic links or passkeys.
func (l Layout) may(which int) bool { return l.raw && which >= linkTable }

// see looks at the tables that an application may have brought along, and returns
// those it has, nil for others. It complains of nothing.
func (l Layout) see(ctx context.Context, db queryer) ([5]*table, error) {
	var all [5]*table
	for i := range all {
		name := l.table(i)
		if name == "" {
			continue
		}
		t, err := l.dialect.look(ctx, db, name)
		if err != nil {
			return all, err
		}
		if len(t.columns) > 0 {
			all[i] = t
		}
	}
	return all, nil
}

// inspect looks at the tables and says what is wrong with them.
func (l Layout) inspect(ctx context.Context, db queryer) (*tables, error) {
	all, err := l.see(ctx, db)
	if err != nil {
		return nil, err
	}
	for i, t := range all {
		if t == nil {
			if l.may(i) {
				continue
			}
			return nil, l.missing(i)
		}
		if err := l.fits(t, i); err != nil {
			return nil, err
		}
	}
	if err := l.dialect.write(ctx, db, all[:]); err != nil {
		return nil, err
	}
	t := &tables{user: all[userTable], account: all[accountTable], session: all[sessionTable], link: all[linkTable], passkey: all[passkeyTable]}
	if err := l.userColumns(t); err != nil {
		return nil, err
	}
	for name, to := range map[string]**table{
		"gatebook_subjects": &t.subjects, "gatebook_sessions": &t.notes, "gatebook_tokens": &t.tokens,
		"gatebook_checks": &t.checks, "gatebook_jobs": &t.jobs,
	} {
		if *to, err = l.dialect.look(ctx, db, name); err != nil {
			return nil, err
		}
		if len((*to).columns) == 0 {
			return nil, fmt.Errorf("%w: there is no table %s, though its migration was applied", sqldb.ErrSchema, name)
		}
	}
	return t, nil
}

// write settles in which form times are written where the type of a column leaves
// it open: as numbers where there are any, as Prisma wrote them before version 7,
// else as texts, as it writes them since. A program that compares them in a
// statement has only one of the two in mind.
func (d *dialect) write(ctx context.Context, db queryer, all []*table) error {
	var open []*column
	texts := true
	for _, t := range all {
		if t == nil {
			continue
		}
		for _, c := range t.columns {
			if c.form != isoForm || strings.ContainsAny(c.name, special) { // which no statement names
				continue
			}
			open = append(open, c)
			sample := `SELECT 1 FROM (SELECT ` + c.q() + ` AS c FROM ` + t.q() + ` LIMIT 100) WHERE typeof(c) = 'integer' LIMIT 1`
			if err := d.each(ctx, db, sample, nil, func(*sql.Rows) error { texts = false; return nil }); err != nil {
				return err
			}
		}
	}
	for _, c := range open {
		c.texts = texts
	}
	return nil
}

func (l Layout) missing(which int) error {
	switch {
	case which == userTable && l.ownUsers():
		return fmt.Errorf("there is no table %q, which Users.Table names", l.usersTable())
	case l.raw:
		return fmt.Errorf("there is no table %q: the layout %q is for a database in which Auth.js's adapter has its tables; "+
			"for a database of Gatebook's own use the layout \"own\"", l.table(which), l.name)
	}
	return fmt.Errorf("there is no table %q: run \"gatebook migrate\", or call the adapter's Migrate", l.table(which))
}

// shaped says which column of a table is missing or cannot hold what the layout
// has in it.
func (l Layout) shaped(t *table, which int) error {
	for name, w := range l.spec(which).columns {
		c := t.find(name)
		if c == nil {
			return fmt.Errorf("table %q has no column %q: it is not the table of the layout %q%s", t.name, name, l.name, l.usersHint(which))
		}
		if err := l.holds(c, w); err != nil {
			return err
		}
	}
	return nil
}

// fits says in what a table is not as the layout has it.
func (l Layout) fits(t *table, which int) error {
	if err := l.shaped(t, which); err != nil {
		return err
	}
	s := l.spec(which)
	for _, c := range t.columns {
		_, known := s.columns[c.name]
		if c.needed && !known && !l.fills(which, c) && (which != userTable || !slices.Contains(l.extra(), c.name)) {
			return fmt.Errorf("column %q of table %q has no default, and Gatebook would not give it: let it be null or give it one", c.name, t.name)
		}
	}
	if c := t.find(l.userNames()[0]); which == userTable && c.fallback == "rowid" {
		return fmt.Errorf("table %q gives the id of a deleted user to the next one, who would be taken for the other in the book: "+
			"make %q INTEGER PRIMARY KEY AUTOINCREMENT", t.name, c.name)
	}
	for _, key := range s.keys {
		if !t.keeps(key) {
			return fmt.Errorf("table %q has no unique key, so that two could take one %s: %s, or run \"gatebook migrate\"",
				t.name, strings.Join(key, " and "), l.dialect.unique(t, key))
		}
	}
	return nil
}

func (l Layout) usersHint(which int) string {
	if which == userTable {
		return "; name its columns in Users"
	}
	return ""
}

// unique is the statement that makes a unique key.
func (d *dialect) unique(t *table, key []string) string {
	return "CREATE UNIQUE INDEX \"" + indexName(t, key) + "\" ON " + t.q() + " (" + quoteAll(key) + ")"
}

func indexName(t *table, columns []string) string {
	_, name, ok := strings.Cut(t.name, ".")
	if !ok {
		name = t.name
	}
	return "gatebook_" + name + "_" + columns[len(columns)-1]
}

// fills reports whether Gatebook gives that column though Auth.js's own model has
// no such: Prisma's client makes the ids of sessions, and may stamp rows.
func (l Layout) fills(which int, c *column) bool {
	switch c.name {
	case "id":
		return which != userTable && c.form == textForm
	case "createdAt", "updatedAt":
		return l.holds(c, wantTime) == nil
	}
	return false
}

// holds says why a column cannot hold what is wanted.
func (l Layout) holds(c *column, w want) error {
	if w == wantID {
		ok := map[IDType][]form{Text: {textForm}, UUID: {uuidForm, textForm}, Integer: {numberForm}}[l.ids]
		if !slices.Contains(ok, c.form) {
			return fmt.Errorf("column %q of table %q is of type %s, and the layout %q has ids of users of type %s: set Users.IDType",
				c.name, c.table, c.kind, l.name, l.ids)
		}
		return nil
	}
	if !slices.Contains(accepted[w], c.form) {
		return fmt.Errorf("column %q of table %q is of type %s, want %s: it is not the table of the layout %q", c.name, c.table, c.kind, wanted[w], l.name)
	}
	if w == wantTime && c.form == numberForm {
		c.form = millisForm
	}
	return nil
}

// userColumns finds the columns of users.
func (l Layout) userColumns(t *tables) error {
	names := l.userNames()
	for i, to := range []**column{&t.id, &t.name, &t.email, &t.verified, &t.image} {
		if names[i] != "" {
			*to = t.user.col(names[i])
		}
	}
	for _, name := range l.extra() {
		c := t.user.find(name)
		if c == nil {
			return fmt.Errorf("table %q has no column %q, which Users.Extra names", t.user.name, name)
		}
		if l.dialect == postgres && (c.form == clockForm || c.form == instantForm || c.form == uuidForm) {
			c.form = otherForm // a value is whatever the driver takes for that type
		}
		t.extra = append(t.extra, c)
	}
	return nil
}

// errNoTable says that the database has no table for what was asked.
var errNoTable = errors.New("the database has no table for it")
