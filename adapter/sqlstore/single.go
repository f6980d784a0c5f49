package sqlstore

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/gatebook/gatebook/record"
)

const (
	// maxTogether is how many changes one statement carries out at most: its plan
	// grows with them.
	maxTogether = 12
	// maxShapes is how many such statements are kept.
	maxShapes = 300
)

// together reports whether one statement can carry out steps. In one statement no
// change sees what another did, so that none may touch a row that one before it
// touched. (A user that was made or changed before is taken from that change.)
func together(steps []step) bool {
	if len(steps) > maxTogether {
		return false
	}
	for i := range steps {
		s := &steps[i]
		if s.apart || s.handle != "" {
			return false
		}
		for _, before := range steps[:i] {
			if s.key != "" && s.table == before.table && s.key == before.key {
				return false
			}
		}
	}
	return true
}

// single is an act as one statement.
type single struct {
	text    string
	order   []arg
	entries int // the number of the part that inserts the entries
}

// once carries the writes out, and adds entries, as one statement, which commits
// by itself unless it is in a transaction. Where a precondition does not hold it
// fails, which takes all of it back.
func (r *run) once(ctx context.Context, list []record.Entry) error {
	q := r.q
	key, cached := r.shape(len(list))
	s := (*single)(nil)
	if v, ok := q.shapes.Load(key); ok && cached {
		s = v.(*single)
	} else {
		s = r.compose(list)
		if cached && q.known.Add(1) <= maxShapes {
			q.shapes.Store(key, s)
		}
	}
	var entries []any
	if len(list) > 0 {
		_, entries = r.store.log.InsertFrom("", list)
	}
	args := make([]any, len(s.order))
	for i, a := range s.order {
		if a.part == s.entries {
			args[i] = entries[a.n-1]
		} else {
			args[i] = r.steps[a.part].args[a.n-1]
		}
	}
	if r.tx != nil {
		_, err := r.tx.ExecContext(ctx, s.text, args...)
		return err
	}
	_, err := r.store.db.Do(ctx, s.text, args...)
	return err
}

// shape tells acts apart whose statements differ.
func (r *run) shape(entries int) (key string, cached bool) {
	b := make([]byte, 0, 4*len(r.steps)+2)
	var users []string
	for i := range r.steps {
		s := &r.steps[i]
		if s.number == 0 {
			return "", false
		}
		u := 0
		if s.user != "" {
			u = slices.Index(users, s.user) + 1
			if u == 0 {
				users = append(users, s.user)
				u = len(users)
			}
		}
		b = append(b, byte(s.number), byte(s.number>>8), byte(u))
	}
	return string(append(b, byte(entries), byte(entries>>8))), true
}

// compose writes the statement. Each change is a part of WITH that asks how many
// rows the one before it touched: so they are carried out in their order, and
// none of them when one before it found nothing to change. The entries come from
// the last, and the whole fails unless all that must be was touched.
func (r *run) compose(list []record.Entry) *single {
	q := r.q
	c := compiler{d: q.d}
	sep := "WITH "
	part := func(i int, name, text string) {
		c.text.WriteString(sep + name + " AS (")
		c.add(i, text)
		c.text.WriteString(")")
		sep = ",\n"
	}
	gate := gate{}
	users := make(map[string]string) // where the row of a user comes from
	for i := range r.steps {
		s := &r.steps[i]
		from := users[s.user]
		if s.change.user && from == "" {
			from = "u" + strconv.Itoa(i)
			users[s.user] = from
			part(i, from, "SELECT "+q.t.id.in("u")+" FROM "+q.t.user.q()+" u WHERE "+q.d.is(q.t.id, "u", "?1")+gate.and()+q.d.ForShare)
			gate.after(from, true)
		}
		name := "w" + strconv.Itoa(i)
		if s.user != "" && from == "" { // it makes or changes the user
			users[s.user] = name
		}
		part(i, name, q.inside(s, from, &gate))
		gate.after(name, s.must)
		if s.table == q.t.user && s.verb == "insert" {
			// A trigger of the application's may have given the user another id than
			// the one that the act tells of.
			made := "u" + strconv.Itoa(i)
			part(i, made, "SELECT "+q.t.id.in("u")+" FROM "+name+" u WHERE "+q.d.is(q.t.id, "u", "?1"))
			users[s.user] = made
			gate.after(made, true)
		}
	}
	done := single{entries: len(r.steps)}
	if len(list) > 0 {
		text, _ := r.store.log.InsertFrom("(SELECT 1"+gate.where()+") AS g", list)
		part(done.entries, "e", numbered(text)+" RETURNING 1")
		gate.after("e", true)
	}
	c.text.WriteString("\nSELECT " + q.d.Require(gate.all()))
	done.text, done.order = c.text.String(), c.order
	return &done
}

// gate is the condition that what came before was carried out.
type gate struct{ last, must string }

// after says that the part of that name is now the last.
func (g *gate) after(name string, must bool) {
	g.last = ""
	if must {
		g.must = name
	} else {
		g.last = name
	}
}

// all is the condition, or true when nothing came before.
func (g *gate) all() string {
	var all []string
	if g.last != "" { // only to have it carried out first
		all = append(all, "(SELECT count(*) FROM "+g.last+") >= 0")
	}
	if g.must != "" {
		all = append(all, "(SELECT count(*) FROM "+g.must+") > 0")
	}
	if all == nil {
		return "true"
	}
	return strings.Join(all, " AND ")
}

func (g *gate) where() string { return " WHERE " + g.all() }

func (g *gate) and() string { return " AND " + g.all() }

// inside is a change as a part of WITH, with its user taken from another.
func (q *queries) inside(s *step, from string, g *gate) string {
	c := s.change
	returning := " RETURNING 1"
	if c.table == q.t.user {
		returning = " RETURNING " + q.t.id.q()
	}
	switch c.verb {
	case "insert":
		source := ""
		where := g.where()
		if c.user {
			source = " FROM " + from + " u"
		} else if c.from != "" {
			source = " FROM " + c.from
			// A lock ends the statement.
			cond, lock := strings.CutSuffix(c.where, q.d.ForShare)
			where = " WHERE " + cond + g.and()
			if lock {
				where += q.d.ForShare
			}
		}
		return fmt.Sprintf("INSERT INTO %s (%s) %sSELECT %s%s%s %s%s", c.table.q(), c.columns, c.over, c.values, source, where, c.then, returning)
	case "update":
		return "UPDATE " + c.table.q() + " SET " + c.columns + " WHERE " + c.where + g.and() + returning
	case "delete":
		return "DELETE FROM " + c.table.q() + " WHERE " + c.where + g.and() + returning
	default: // lock
		return "SELECT " + q.t.id.q() + " FROM " + c.table.q() + " WHERE " + c.where + g.and() + q.d.ForUpdate
	}
}

// numbered writes the parameters of a statement as this package does.
func numbered(text string) string {
	parts := strings.Split(text, "?")
	var b strings.Builder
	b.WriteString(parts[0])
	for i, p := range parts[1:] {
		b.WriteString("?" + strconv.Itoa(i+1) + p)
	}
	return b.String()
}
