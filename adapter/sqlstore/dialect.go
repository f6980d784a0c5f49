package sqlstore

import (
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gatebook/gatebook/internal/sqldb"
)

// dialect is what differs between databases in the statements of this package,
// beyond [sqldb.Dialect]. They are written with names in double quotes and
// arguments as ?1, ?2, and so on, each as often as needed; see [compiler].
type dialect struct {
	sqldb.Dialect

	// sweep is a DELETE of at most ?2 rows of the table %t, whose key is %k, where
	// its column %c is less than ?1.
	sweep string
	// columns asks for the columns of the table ?1: name, type, how many characters
	// it holds, whether it keeps whole seconds only, whether an insert must give it,
	// its default, whether the database insists on making it, and its whole type.
	columns string
	// indexes asks for the columns of the table's indexes over whole rows: name of
	// the index, whether it is unique, name of the column, which is empty for an
	// expression and for the beginning of a column.
	indexes string
}

var (
	sqlite = &dialect{
		Dialect: sqldb.SQLite,
		sweep:   `DELETE FROM %t WHERE (%k) IN (SELECT %k FROM %t WHERE %c < ?1 LIMIT ?2)`,
		columns: `SELECT name, lower(type), 0, 0,
				CASE WHEN NOT "notnull" OR pk AND lower(type) = 'integer' THEN 0 WHEN dflt_value IS NULL THEN 1 ELSE 2 END,
				CASE WHEN pk AND lower(type) = 'integer' THEN (SELECT CASE WHEN upper(m.sql) LIKE '%AUTOINCREMENT%' THEN 'autoincrement' ELSE 'rowid' END
					FROM sqlite_master m WHERE m.type = 'table' AND m.name = ?1) ELSE '' END, 0, ''
			FROM pragma_table_xinfo(?1) WHERE hidden <> 1 ORDER BY cid`,
		indexes: `SELECT i.name, i."unique", coalesce(c.name, '') FROM pragma_index_list(?1) i, pragma_index_info(i.name) c WHERE NOT i.partial
			UNION ALL SELECT ' key', 1, name FROM (SELECT name FROM pragma_table_info(?1) WHERE pk > 0 ORDER BY pk)`,
	}
	postgres = &dialect{
		Dialect: sqldb.Postgres,
		sweep:   `DELETE FROM %t WHERE ctid = ANY (ARRAY(SELECT ctid FROM %t WHERE %c < ?1 LIMIT ?2))`,
		// A domain is taken for the type it is of.
		columns: `SELECT CAST(a.attname AS text), CAST(t.typname AS text),
				CASE WHEN t.typname IN ('varchar', 'bpchar') AND m.n > 4 THEN m.n - 4 ELSE 0 END,
				CASE WHEN t.typname IN ('timestamp', 'timestamptz') AND m.n IN (0, 1, 2) THEN 1 ELSE 0 END,
				CASE WHEN NOT a.attnotnull OR a.attidentity <> '' THEN 0 WHEN NOT a.atthasdef THEN 1 ELSE 2 END,
				CASE WHEN a.attidentity <> '' THEN 'nextval(' || quote_literal(pg_get_serial_sequence(CAST(?1 AS text), a.attname)) || ')'
					ELSE coalesce(pg_get_expr(d.adbin, d.adrelid), '') END,
				CASE WHEN a.attidentity = 'a' THEN 1 ELSE 0 END, format_type(a.atttypid, a.atttypmod)
			FROM pg_attribute a JOIN pg_type y ON y.oid = a.atttypid
				JOIN pg_type t ON t.oid = CASE y.typtype WHEN 'd' THEN y.typbasetype ELSE y.oid END
				CROSS JOIN LATERAL (SELECT CASE y.typtype WHEN 'd' THEN y.typtypmod ELSE a.atttypmod END AS n) m
				LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
			WHERE a.attrelid = to_regclass(CAST(?1 AS text)) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum`,
		indexes: `SELECT CAST(CAST(i.indexrelid AS regclass) AS text), CASE WHEN i.indisunique THEN 1 ELSE 0 END, CAST(a.attname AS text)
			FROM pg_index i CROSS JOIN LATERAL unnest(i.indkey) WITH ORDINALITY k (n, place)
				JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.n
			WHERE i.indrelid = to_regclass(CAST(?1 AS text)) AND i.indpred IS NULL AND i.indexprs IS NULL AND i.indisvalid
				AND k.place <= i.indnkeyatts
			ORDER BY 1, k.place`,
	}
	mysql = &dialect{
		Dialect: sqldb.MySQL,
		sweep:   `DELETE FROM %t WHERE %c < ?1 ORDER BY %c LIMIT ?2`,
		columns: `SELECT column_name, CASE WHEN column_type = 'tinyint(1)' THEN 'boolean' ELSE data_type END,
				coalesce(CASE WHEN character_maximum_length < 1000000000 THEN character_maximum_length END, 0),
				CASE WHEN datetime_precision < 3 THEN 1 ELSE 0 END,
				CASE WHEN is_nullable = 'YES' OR extra <> '' THEN 0 WHEN column_default IS NULL THEN 1 ELSE 2 END,
				CASE WHEN extra LIKE '%auto_increment%' THEN 'auto_increment' ELSE '' END, 0,
				concat(column_type, coalesce(concat(' CHARACTER SET ', character_set_name, ' COLLATE ', collation_name), ''))
			FROM information_schema.columns WHERE table_schema = coalesce(?2, DATABASE()) AND table_name = ?1 ORDER BY ordinal_position`,
		indexes: `SELECT index_name, CASE WHEN non_unique = 0 THEN 1 ELSE 0 END, CASE WHEN sub_part IS NULL THEN coalesce(column_name, '') ELSE '' END
			FROM information_schema.statistics WHERE table_schema = coalesce(?2, DATABASE()) AND table_name = ?1 ORDER BY index_name, seq_in_index`,
	}
)

// backtick says that names stand in backticks.
func (d *dialect) backtick() bool { return d == mysql }

// counts says that an update counts the rows it found, and not those it changed.
func (d *dialect) counts() bool { return d != mysql }

// ends says that an error of one statement may end the whole transaction, and what
// follows it is then carried out without one.
func (d *dialect) ends() bool { return d != postgres }

// quote quotes a name, or several with dots between.
func quote(name string) string { return `"` + strings.ReplaceAll(name, ".", `"."`) + `"` }

func quoteAll(names []string) string {
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = `"` + n + `"`
	}
	return strings.Join(quoted, ", ")
}

// compiler turns what this package writes into the text of one statement.
type compiler struct {
	d     *dialect
	text  strings.Builder
	order []arg       // what to give the driver, in order
	seen  map[arg]int // numbers by argument, where arguments have numbers
	shift int         // is added to the number of an argument
}

// arg is an argument of a statement: the n-th, from 1, of the part-th change.
type arg struct{ part, n int }

// add appends s, whose arguments are those of a part.
func (c *compiler) add(part int, s string) {
	for {
		i := strings.IndexAny(s, "?\"'")
		if i < 0 {
			c.text.WriteString(s)
			return
		}
		c.text.WriteString(s[:i])
		b := s[i]
		s = s[i+1:]
		switch {
		case b == '?':
			end := 0
			for end < len(s) && s[end] >= '0' && s[end] <= '9' {
				end++
			}
			n, err := strconv.Atoi(s[:end])
			if err != nil {
				panic("sqlstore: argument without a number before " + s)
			}
			c.argument(arg{part, n + c.shift})
			s = s[end:]
		case b == '"' && c.d.backtick():
			c.text.WriteByte('`')
		case b == '\'': // a literal is as it is
			end := strings.IndexByte(s, '\'') + 1
			c.text.WriteByte(b)
			c.text.WriteString(s[:end])
			s = s[end:]
		default:
			c.text.WriteByte(b)
		}
	}
}

func (c *compiler) argument(a arg) {
	if c.d != postgres {
		c.order = append(c.order, a)
		c.text.WriteByte('?')
		return
	}
	n, ok := c.seen[a]
	if !ok {
		if c.seen == nil {
			c.seen = make(map[arg]int)
		}
		c.order = append(c.order, a)
		n = len(c.order)
		c.seen[a] = n
	}
	c.text.WriteByte('$')
	c.text.WriteString(strconv.Itoa(n))
}

// form is how a column keeps a value.
type form int

const (
	textForm    form = iota
	uuidForm         // PostgreSQL's own type
	numberForm       // whole numbers
	boolForm         // true and false, or 1 and 0
	bytesForm        // bytes
	millisForm       // whole numbers: milliseconds since 1970
	clockForm        // date and time without a zone: UTC
	instantForm      // date and time with a zone
	isoForm          // SQLite's own choice: numbers are milliseconds, texts as in ISO 8601
	otherForm        // what only an application knows
)

// column is a column of a table as the database has it.
type column struct {
	name     string // without quotes
	table    string // for errors
	form     form
	kind     string // the database's name of its type
	full     string // the same with its length, for a CAST
	max      int    // how many characters it holds, 0 for no limit that matters
	charset  string // MySQL's name of its character set where that is not utf8mb4
	last     rune   // the last character it holds, 0 for all
	signed32 bool   // of a time: it ends in 2038
	seconds  bool   // it keeps whole seconds only
	needed   bool   // an insert must give it
	never    bool   // it is never null
	fallback string // the expression that is its default
	always   bool   // the database insists on making it: GENERATED ALWAYS
	texts    bool   // of an isoForm: times are written as texts
}

// q is its name in quotes.
func (c *column) q() string { return `"` + c.name + `"` }

// in returns the column of the row that has that name in a statement; the row of
// a statement about one table needs none.
func (c *column) in(row string) string {
	if row == "" {
		return c.q()
	}
	return row + "." + c.q()
}

// text is an expression of type text for expr, which reads column c.
func (d *dialect) text(c *column, expr string) string {
	switch {
	case d == postgres && c.kind != "text" && c.kind != "varchar":
		return "CAST(" + expr + " AS text)"
	case d == mysql && c.form == numberForm:
		return "CAST(" + expr + " AS CHAR) COLLATE utf8mb4_bin"
	case d == mysql:
		// Tables may have several collations, which one statement cannot mix.
		return "CONVERT(" + expr + " USING utf8mb4) COLLATE utf8mb4_bin"
	case d == sqlite && c.form == numberForm:
		return "CAST(" + expr + " AS text)"
	}
	return expr
}

// optional is text for a column that may be null or missing, which it reads as
// empty.
func (d *dialect) optional(c *column, row string) string {
	if c == nil {
		return "''"
	}
	return "coalesce(" + d.text(c, c.in(row)) + ", '')"
}

// millis is an expression for a time column in milliseconds since 1970, null for
// one that is missing.
func (d *dialect) millis(c *column, row string) string {
	switch {
	case c == nil && d == postgres:
		return "CAST(NULL AS bigint)"
	case c == nil:
		return "NULL"
	}
	expr := c.in(row)
	switch c.form {
	case clockForm, instantForm:
		if d == mysql {
			return "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', " + expr + ") DIV 1000"
		}
		return "CAST(floor(extract(epoch FROM " + expr + ") * 1000) AS bigint)"
	case isoForm:
		return "CASE WHEN typeof(" + expr + ") = 'text' THEN CAST(round(unixepoch(" + expr + ", 'subsec') * 1000) AS integer) ELSE " + expr + " END"
	}
	return expr
}

// number is an expression for a whole number or a truth value.
func (d *dialect) number(c *column, row string) string {
	switch {
	case d != postgres:
		return c.in(row)
	case c.form == boolForm:
		return "CAST(CAST(" + c.in(row) + " AS integer) AS bigint)"
	}
	return "CAST(" + c.in(row) + " AS bigint)"
}

// typed is an expression for an argument that goes into a column or is compared
// with one. PostgreSQL must be told the type where it cannot see it.
func (d *dialect) typed(c *column, argument string) string {
	if d != postgres {
		return argument
	}
	switch c.form {
	case otherForm:
		return "CAST(" + argument + " AS " + c.full + ")"
	case clockForm, instantForm:
		// As text, so that every driver sends it alike.
		return "CAST(CAST(" + argument + " AS text) AS " + c.kind + ")"
	case uuidForm:
		return "CAST(CAST(" + argument + " AS text) AS uuid)"
	case numberForm, millisForm:
		return "CAST(" + argument + " AS bigint)"
	case boolForm:
		return "CAST(" + argument + " AS boolean)"
	case bytesForm:
		return "CAST(" + argument + " AS bytea)"
	}
	if c.kind == "citext" {
		return "CAST(" + argument + " AS citext)"
	}
	return "CAST(" + argument + " AS text)"
}

// is is the condition that a column has exactly that value. A collation of
// MariaDB and MySQL may ignore case, accents and spaces at the end: the first
// comparison uses the index, the second is exact.
func (d *dialect) is(c *column, row, argument string) string {
	expr := c.q()
	if row != "" {
		expr = c.in(row)
	}
	equal := expr + " = " + d.typed(c, argument)
	if c.charset != "" {
		// What that character set has not becomes question marks, which is no error.
		equal = expr + " = CONVERT(" + argument + " USING " + c.charset + ")"
	}
	if d == mysql && c.form == textForm {
		return "(" + equal + " AND CAST(CONVERT(" + expr + " USING utf8mb4) AS BINARY) = CAST(" + argument + " AS BINARY))"
	}
	return equal
}

// order is expr to sort a text column by, byte by byte.
func (d *dialect) order(c *column, row string) string {
	switch d {
	case postgres:
		return c.in(row) + ` COLLATE "C"`
	case mysql:
		return "CAST(" + c.in(row) + " AS BINARY)"
	}
	return c.in(row)
}

// null is an expression that is null and of that form.
func (d *dialect) null(c *column) string {
	if d != postgres {
		return "NULL"
	}
	return "CAST(NULL AS " + c.full + ")"
}

// upsert ends an insert: when the row of key is there it gets the new values of
// these columns.
func (d *dialect) upsert(key string, columns ...string) string {
	set := make([]string, len(columns))
	for i, c := range columns {
		if d == mysql {
			set[i] = c + " = VALUES(" + c + ")"
		} else {
			set[i] = c + " = excluded." + c
		}
	}
	if d == mysql {
		return "ON DUPLICATE KEY UPDATE " + strings.Join(set, ", ")
	}
	return "ON CONFLICT (" + key + ") DO UPDATE SET " + strings.Join(set, ", ")
}

// ignore ends an insert: when the row of key is there nothing happens.
func (d *dialect) ignore(key string) string {
	if d == mysql {
		return "ON DUPLICATE KEY UPDATE " + key + " = " + key
	}
	return "ON CONFLICT (" + key + ") DO NOTHING"
}

// holds reports whether text of that database can be s.
func (d *dialect) holds(s string) bool {
	switch d {
	case postgres:
		return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0
	case mysql:
		return utf8.ValidString(s)
	}
	return true
}

// fits reports whether column c holds s whole.
func (c *column) fits(s string) bool {
	if c.last != 0 && strings.IndexFunc(s, func(r rune) bool { return r > c.last }) >= 0 {
		return false
	}
	if c.max == 0 || len(s) <= c.max {
		return true
	}
	// The limit of MySQL's TEXT is one of bytes.
	return !strings.HasSuffix(c.kind, "text") && utf8.RuneCountInString(s) <= c.max
}

// counts reports whether column c, of whole numbers, holds n.
func (c *column) counts(n int64) bool {
	switch c.kind {
	case "int4", "int": // of PostgreSQL and of MySQL
		return n == int64(int32(n))
	}
	return true
}

// reaches reports whether t is within what column c holds. The bounds of MySQL's
// TIMESTAMP are those of UTC; a session in another zone moves them by hours.
func (c *column) reaches(t time.Time) bool {
	switch {
	case c.form != clockForm && c.form != instantForm:
		return true
	case c.signed32 && c.seconds:
		return t.Unix() > 0 && t.Unix() <= math.MaxInt32
	case c.signed32:
		return t.UnixMilli() > 0 && t.Unix() <= math.MaxInt32
	}
	return t.UTC().Year() >= 1 && t.UTC().Year() <= 9999
}

// moment is an expression for a time column to sort and compare it by.
func (d *dialect) moment(c *column, row string) string {
	if c.form == isoForm { // to SQLite every number is less than every text, and what is no date is none
		return "coalesce(" + d.millis(c, row) + ", 0)"
	}
	return c.in(row)
}

// bound is a time to compare the moment of column c with.
func (c *column) bound(t time.Time) any {
	if c.form == isoForm {
		return t.UnixMilli()
	}
	return c.stamp(t)
}

// stamp is a time as column c keeps it, cut and never rounded up.
func (c *column) stamp(t time.Time) any {
	layout := "2006-01-02 15:04:05.000"
	if c.seconds {
		layout = "2006-01-02 15:04:05"
	}
	switch c.form {
	case clockForm:
		return t.UTC().Format(layout)
	case instantForm:
		return t.UTC().Format(layout) + "+00"
	case isoForm:
		if c.texts {
			return t.UTC().Format("2006-01-02T15:04:05.000+00:00")
		}
	}
	return t.UnixMilli()
}
