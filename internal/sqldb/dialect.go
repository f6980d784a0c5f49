package sqldb

import (
	"context"
	"database/sql"
	"strconv"
	"strings"
)

// Dialect holds what differs between databases. Use one of the variables of
// this package. Statements are written with ? for each parameter, in order, and
// given to [Dialect.Bind] once.
type Dialect struct {
	// Name is the database's name in lower case, and the folder of its
	// migrations.
	Name string
	// Now is an SQL expression: the database's clock in milliseconds since
	// 1970. Within one transaction it may go on.
	Now string
	// Queue says that one writer writes at a time, so that those of a process
	// wait for their turn in [DB] and a transaction needs no row locks.
	Queue bool
	// Prepared says that statements are worth preparing with database/sql. A
	// driver that keeps them itself is given texts.
	Prepared bool
	// CTE says that INSERT, UPDATE and DELETE with RETURNING may stand in WITH,
	// so that [DB.Do] can carry out several writes as one statement.
	CTE bool
	// ForUpdate and ForShare end a SELECT that locks the rows it finds: against
	// all other writers, or only against those that delete the row or change
	// its key. Empty where writers queue.
	ForUpdate, ForShare string
	// JoinInOrder joins two tables of which the first is read first, with ON;
	// only a join where the database finds that out by itself.
	JoinInOrder string
	// Merges says that the ordered parts of a UNION ALL are merged, so that with
	// a LIMIT none is read to its end.
	Merges bool

	useIndex  string // before and after the name of an index to use, around a %
	quote     string // around a name
	greatest  string // the function of several arguments
	text      string // the type of CAST that makes text
	params    map[Type]string
	isolation sql.IsolationLevel
	duplicate bool // ON DUPLICATE KEY UPDATE in place of ON CONFLICT

	hasTable string // counts the tables of a name
	lock     string // as first statement of a transaction takes the write lock
	// idle, in a transaction, has the server end it when it does nothing for two
	// seconds; unidle, on the connection afterwards, takes that back where the
	// end of the transaction does not.
	idle, unidle string
	check        func(context.Context, rowQueryer) error
	classify     func(error) error
	// refused reports whether err says for certain that a commit, or a statement
	// that commits by itself, did not take effect.
	refused func(error) bool
	runner  runner
}

// Type is the type of a parameter where the database cannot find it out.
type Type int

// Types of parameters.
const (
	Text  Type = iota + 1
	Int        // 64 bits
	Bytes      // of any length
	Bool
)

// Param returns ?, with its type where the database wants to be told: in the
// list of a SELECT, where no column says it.
func (d Dialect) Param(t Type) string {
	if name := d.params[t]; name != "" {
		return "CAST(? AS " + name + ")"
	}
	return "?"
}

// Text returns an expression for the value of expr as text: an id of any type.
func (d Dialect) Text(expr string) string { return "CAST(" + expr + " AS " + d.text + ")" }

// Greatest returns an expression for the greatest of several values, none of
// them null.
func (d Dialect) Greatest(exprs ...string) string {
	return d.greatest + "(" + strings.Join(exprs, ", ") + ")"
}

// Quote returns the name of a table or a column so that it is kept as it is.
func (d Dialect) Quote(name string) string {
	return d.quote + strings.ReplaceAll(name, d.quote, d.quote+d.quote) + d.quote
}

// UseIndex follows the name of a table that is to be read along an index; it is
// empty where the database does not let itself be told.
func (d Dialect) UseIndex(name string) string { return strings.Replace(d.useIndex, "%", name, 1) }

// OnConflict ends an INSERT, up to the assignments: what to do with the row
// that has the same unique key. In the assignments a column of that row is
// written with its table, and [Dialect.New] is the new value. On MySQL any
// unique key counts, and a WHERE at the end is not possible.
func (d Dialect) OnConflict(key ...string) string {
	if d.duplicate {
		return " ON DUPLICATE KEY UPDATE "
	}
	return " ON CONFLICT (" + strings.Join(key, ", ") + ") DO UPDATE SET "
}

// New returns, within [Dialect.OnConflict], the value that was to be inserted.
func (d Dialect) New(column string) string {
	if d.duplicate {
		return "VALUES(" + column + ")"
	}
	return "excluded." + column
}

// IfNew ends an INSERT that does nothing when the unique key is taken. How many
// rows it changed tells on MySQL whether it inserted one only when the driver
// reports changed rows and not found ones.
func (d Dialect) IfNew(key ...string) string {
	if d.duplicate {
		return " ON DUPLICATE KEY UPDATE " + key[0] + " = " + key[0]
	}
	return " ON CONFLICT (" + strings.Join(key, ", ") + ") DO NOTHING"
}

// Require returns an expression of a statement for [DB.Do]: its value is 1 when
// condition holds; otherwise it is an error that takes the whole statement back
// and matches [ErrConflict]. Only where [Dialect.CTE] is true.
func (d Dialect) Require(condition string) string {
	// No other division is in our statements, so its error tells what it is, and
	// no function has to be made in the database.
	return "1 / CASE WHEN " + condition + " THEN 1 ELSE 0 END"
}

// Bind returns query in the database's own notation of parameters. A ? within
// quotes or a comment is left alone.
func (d Dialect) Bind(query string) string {
	if d.Name != Postgres.Name {
		return query
	}
	var out strings.Builder
	out.Grow(len(query) + 16)
	n := 0
	for i := 0; i < len(query); {
		if end := skip(query[i:]); end > 0 {
			out.WriteString(query[i : i+end])
			i += end
			continue
		}
		if query[i] == '?' {
			n++
			out.WriteByte('$')
			out.WriteString(strconv.Itoa(n))
		} else {
			out.WriteByte(query[i])
		}
		i++
	}
	return out.String()
}

// skip returns the length of the quoted text or comment that s begins with, or
// 0. A doubled quote is two quoted texts, which comes to the same.
func skip(s string) int {
	end, from := "", 1
	switch {
	case s[0] == '\'' || s[0] == '"':
		end = s[:1]
	case strings.HasPrefix(s, "--"):
		end, from = "\n", 2
	case strings.HasPrefix(s, "/*"):
		end, from = "*/", 2
	default:
		return 0
	}
	i := strings.Index(s[from:], end)
	if i < 0 {
		return len(s)
	}
	return from + i + len(end)
}
