package book_test

import (
	"database/sql/driver"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gatebook/gatebook/book"
	"github.com/gatebook/gatebook/record"
)

// TestPlans asks SQLite how it runs what Read sends: along an index in the order
// of seq, never through the whole table and never by sorting what it found; the
// same once somebody has run ANALYZE.
func TestPlans(t *testing.T) {
	f, b := newFaulty(t)
	db := databases["sqlite"].open(t, f.address)
	for range 20 {
		add(t, b, event{User: "u", Email: "ada@example.com", IP: "192.0.2.1", Session: "s"},
			event{Type: record.TypeSessionRevoked}, event{Type: record.TypeSessionExpired}, event{Outcome: record.Failure})
	}
	drain(t, b)
	filters := filtersOf(time.Now())
	// The index that makes the filter cheap.
	index := func(f book.Filter) string {
		switch {
		case f.UserID+f.Email+f.IP+f.Session != "":
			return "SEARCH s USING PRIMARY KEY (kind=? AND token=? AND seq>"
		case len(f.Types) > 0:
			return "gatebook_log_type (type=? AND rowid>"
		case f.Outcome != "" && f.Outcome != record.Success:
			return "gatebook_log_outcome (outcome=? AND rowid>"
		default:
			return "SEARCH l USING INTEGER PRIMARY KEY (rowid>"
		}
	}
	planned := 0
	check := func(name, index, text string, values []any) {
		t.Helper()
		rows, err := db.SQL().Query("EXPLAIN QUERY PLAN "+text, values...)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		defer rows.Close()
		var plan []string
		bad := false
		for rows.Next() {
			var id, parent, x int
			var line string
			if err := rows.Scan(&id, &parent, &x, &line); err != nil {
				t.Fatal(err)
			}
			plan = append(plan, line)
			// The page itself has at most 1,000 entries, and t one for each type.
			scan := strings.HasPrefix(line, "SCAN ") && line != "SCAN page" && line != "SCAN t" && line != "SCAN CONSTANT ROW"
			sort := strings.Contains(line, "TEMP B-TREE") && !strings.Contains(line, "LAST TERM OF ORDER BY")
			if scan || sort {
				bad = true
			}
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
		planned++
		if strings.HasPrefix(text, "SELECT page") && !strings.Contains(strings.Join(plan, "\n"), index) {
			bad = true
		}
		if bad {
			t.Errorf("%s: %s\n\t%s", name, text, strings.Join(plan, "\n\t"))
		}
	}
	plans := func(name string, filter book.Filter) {
		t.Helper()
		for _, q := range []book.Query{{}, {Reverse: true}, {After: 3, Before: 60}, {After: 3, Before: 60, Reverse: true}} {
			q.Filter = filter
			all := f.sent(t, b, q)
			for _, s := range all {
				check(fmt.Sprintf("%s, after %d, before %d, reverse %v", name, q.After, q.Before, q.Reverse), index(filter), s.text, s.args)
			}
		}
	}
	for _, stmt := range []string{"SELECT 1", "ANALYZE"} {
		if _, err := db.SQL().Exec(stmt); err != nil {
			t.Fatal(err)
		}
		for name, filter := range filters {
			plans(name, filter)
		}
	}
	if planned < 2*4*len(filters) {
		t.Errorf("%d statements were looked at only", planned)
	}
}

// filtersOf returns a filter of every kind, with times around now.
func filtersOf(now time.Time) map[string]book.Filter {
	return map[string]book.Filter{
		"nothing":      {},
		"user":         {UserID: "u"},
		"email":        {Email: "ada@example.com"},
		"ip":           {IP: "192.0.2.1"},
		"session":      {Session: "s"},
		"type":         {Types: []string{"signIn"}},
		"types":        {Types: []string{"signIn", "session."}},
		"prefix":       {Types: []string{"session."}},
		"failure":      {Outcome: record.Failure},
		"unknown":      {Outcome: record.Unknown},
		"success":      {Outcome: record.Success},
		"time":         {Since: now.Add(-time.Hour), Until: now.Add(time.Hour)},
		"type, time":   {Types: []string{"signIn", "session."}, Since: now.Add(-time.Hour), Until: now.Add(time.Hour)},
		"two terms":    {UserID: "u", IP: "192.0.2.1"},
		"user, type":   {UserID: "u", Types: []string{"session."}, Outcome: record.Failure},
		"failed, type": {Types: []string{"signIn"}, Outcome: record.Failure},
		"everything": {UserID: "u", Email: "ada@example.com", IP: "192.0.2.1", Session: "s", Types: []string{"signIn", "session."},
			Outcome: record.Failure, Since: now.Add(-time.Hour), Until: now.Add(time.Hour)},
	}
}

// query is a statement that was sent.
type query struct {
	text string
	args []any
}

// sent returns the statements that a Read of q sends.
func (f *faulty) sent(t *testing.T, b *book.Book, q book.Query) (all []query) {
	t.Helper()
	hook := func(text string, args []driver.NamedValue) {
		values := make([]any, len(args))
		for i, a := range args {
			values[i] = a.Value
		}
		all = append(all, query{text, values})
	}
	set := func(hook func(string, []driver.NamedValue)) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.query = hook
	}
	set(hook)
	_, err := b.Read(t.Context(), q)
	set(nil)
	if err != nil {
		t.Fatal(err)
	}
	return all
}
