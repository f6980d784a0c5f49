package book_test

import (
	"database/sql"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gatebook/gatebook/book"
	"github.com/gatebook/gatebook/internal/sqldb"
	"github.com/gatebook/gatebook/record"
)

// fill makes a log of n entries without going through the outbox: one of 50 is a
// session.revoked and one of 1,000 a session.expired, one of 40 failed; there are
// n/10 users and 10 addresses.
func fill(t testing.TB, db *sqldb.DB, n int) {
	t.Helper()
	numbers := fmt.Sprintf("generate_series(1, %d) AS g (i)", n)
	digest, integer := func(of string) string { return "sha256(CAST(" + of + " AS text)::bytea)" }, "bigint"
	if db.Dialect().Name == "mysql" {
		numbers = fmt.Sprintf("(SELECT seq AS i FROM seq_1_to_%d) AS g", n)
		digest, integer = func(of string) string { return "UNHEX(SHA2(" + of + ", 256))" }, "SIGNED"
	}
	execute(t, db, `INSERT INTO gatebook_log (seq, recorded_at, id, type, outcome, header)
		SELECT i, CAST(1700000000000 + i * 1000 AS `+integer+`), CONCAT('id', i),
			CASE WHEN i % 1000 = 7 THEN 'session.expired' WHEN i % 50 = 7 THEN 'session.revoked' ELSE 'signIn' END,
			CASE WHEN i % 40 = 3 THEN 'failure' ELSE 'success' END, `+digest("i")+" FROM "+numbers)
	execute(t, db, "INSERT INTO gatebook_blocks (seq, position, class, subject, bytes) SELECT i, 0, 'identity', '0123456789abcdef', "+digest("i")+" FROM "+numbers)
	for kind, of := range map[string]string{
		record.TermUser: fmt.Sprintf("i %% %d", n/10), record.TermEmail: fmt.Sprintf("i %% %d", n/10), record.TermIP: "i % 10", record.TermSession: "i",
	} {
		execute(t, db, "INSERT INTO gatebook_search (kind, token, seq) SELECT '"+kind+"', "+digest(of)+", i FROM "+numbers)
	}
}

// plan returns the lines of how the server runs q: with these values, and, on
// PostgreSQL, with any, as it does once it has run the statement five times.
func (d database) plan(t testing.TB, db *sqldb.DB, q query) (plans []string) {
	t.Helper()
	if d.driver == "mysql" {
		return []string{table(t, db.SQL(), "EXPLAIN "+q.text, q.args...)}
	}
	conn, err := db.SQL().Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	values := make([]string, len(q.args))
	for i, v := range q.args {
		switch v := v.(type) {
		case []byte:
			values[i] = fmt.Sprintf(`'\x%x'`, v)
		case string:
			values[i] = "'" + v + "'"
		default:
			values[i] = fmt.Sprint(v)
		}
	}
	execute := "EXPLAIN EXECUTE planned"
	if len(values) > 0 {
		execute += " (" + strings.Join(values, ", ") + ")"
	}
	for _, mode := range []string{"force_custom_plan", "force_generic_plan"} {
		for _, stmt := range []string{"SET plan_cache_mode = " + mode, "PREPARE planned AS " + q.text} {
			if _, err := conn.ExecContext(t.Context(), stmt); err != nil {
				t.Fatalf("%s: %v", stmt, err)
			}
		}
		rows, err := conn.QueryContext(t.Context(), execute)
		if err != nil {
			t.Fatalf("%s: %v", execute, err)
		}
		plans = append(plans, mode+"\n"+text(t, rows))
		if _, err := conn.ExecContext(t.Context(), "DEALLOCATE planned"); err != nil {
			t.Fatal(err)
		}
	}
	return plans
}

func table(t testing.TB, db *sql.DB, query string, args ...any) string {
	t.Helper()
	rows, err := db.Query(query, args...)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return text(t, rows)
}

// text returns rows as lines.
func text(t testing.TB, rows *sql.Rows) string {
	t.Helper()
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for rows.Next() {
		values := make([]sql.NullString, len(columns))
		into := make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			t.Fatal(err)
		}
		for _, v := range values {
			out.WriteString(v.String + "\t")
		}
		out.WriteString("\n")
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// bad says what is wrong with a plan: it reads a table from end to end, or sorts
// what it found before it cut it to the limit. Sorting a page with its blocks is
// right, and so is merging the pages of several types.
func (d database) bad(plan string) string {
	for line := range strings.Lines(plan) {
		fields := strings.Split(line, "\t")
		switch {
		case d.driver == "mysql" && len(fields) > 9:
			name, access, extra := fields[2], fields[3], fields[9]
			if access == "ALL" && (name == "l" || name == "s" || name == "b" || name == "o" || strings.HasPrefix(name, "gatebook")) ||
				strings.Contains(extra, "filesort") && !strings.HasPrefix(name, "<") {
				return line
			}
		case strings.Contains(line, "gatebook_blocks"): // of a page
		case strings.Contains(line, "Seq Scan on gatebook_") || strings.Contains(line, "Bitmap"):
			return line
		case strings.Contains(line, "-> ") && strings.Contains(line, "Sort  ("):
			_, n, _ := strings.Cut(line, " rows=")
			n, _, _ = strings.Cut(n, " ")
			if rows, err := strconv.Atoi(n); err != nil || rows > 1000 {
				return line
			}
		}
	}
	return ""
}

// TestServerPlans asks the servers how they run what Read sends, as [TestPlans]
// asks SQLite: along an index in the order of seq.
func TestServerPlans(t *testing.T) {
	rows := 50_000
	index := func(f book.Filter) []string {
		switch {
		case f.UserID+f.Email+f.IP+f.Session != "":
			return []string{"gatebook_search_pkey", "PRIMARY"}
		case len(f.Types) > 0:
			return []string{"gatebook_log_type"}
		case f.Outcome != "" && f.Outcome != record.Success:
			return []string{"gatebook_log_outcome"}
		default:
			return []string{"gatebook_log_pkey", "PRIMARY"}
		}
	}
	for name := range servers(t) {
		t.Run(name, func(t *testing.T) {
			d := databases[name]
			f, b := d.faulty(t)
			db := d.open(t, f.address)
			mustIdentity(t, b)
			fill(t, db, rows)
			at := time.UnixMilli(1700000000000)
			execute(t, db, map[string]string{"postgres": "ANALYZE", "mysql": "ANALYZE TABLE gatebook_log, gatebook_search, gatebook_blocks"}[name])
			for kind, filter := range filtersOf(at.Add(time.Duration(rows/2) * time.Second)) {
				for _, q := range []book.Query{{}, {Reverse: true}, {After: 300, Before: 9000}, {After: 300, Before: 9000, Reverse: true}} {
					q.Filter = filter
					for _, sent := range f.sent(t, b, q) {
						for _, plan := range d.plan(t, db, sent) {
							// Between the bounds of seq there may be nothing of that time.
							found := !strings.HasPrefix(sent.text, "SELECT page") || strings.Contains(plan, "Impossible WHERE") || strings.Contains(plan, "no matching row")
							for _, i := range index(filter) {
								found = found || strings.Contains(plan, i)
							}
							if bad := d.bad(plan); bad != "" || !found {
								t.Errorf("%s, after %d, before %d, reverse %v: %q\n%s\n%s", kind, q.After, q.Before, q.Reverse, bad, sent.text, plan)
							}
						}
					}
				}
			}
		})
	}
}
