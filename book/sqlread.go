package book

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatebook/gatebook/internal/sqldb"
	"github.com/gatebook/gatebook/record"
)

// Read implements [Store]. Whatever s asks for, the database goes along an
// index that is ordered by seq and stops at the limit.
func (s *SQL) Read(ctx context.Context, sel Selection) ([]Entry, error) {
	if err := s.ready(ctx); err != nil {
		return nil, err
	}
	q := selectQuery{dialect: s.db.Dialect()}
	var err error
	if q.types, err = s.exactTypes(ctx, sel); err != nil {
		return nil, err
	}
	if len(sel.Types) > 0 && len(q.types) == 0 {
		return nil, nil
	}
	if q.after, q.before, err = s.bounds(ctx, sel); err != nil {
		return nil, err
	}
	query, args := q.build(sel)
	rows, err := s.db.SQL().QueryContext(ctx, s.bind(query), args...)
	if err != nil {
		return nil, s.db.Classify(err)
	}
	entries, err := scanEntries(rows)
	return entries, s.db.Classify(err)
}

// exactTypes returns the types that sel asks for, with prefixes replaced by the
// types of the log that have them: a range of types is not in order of seq, but
// a few single ones can be merged. It jumps from type to type along the index.
func (s *SQL) exactTypes(ctx context.Context, sel Selection) ([]string, error) {
	exact := map[string]bool{}
	for _, t := range sel.Types {
		if !strings.HasSuffix(t, ".") {
			exact[t] = true
		} else if err := s.addTypes(ctx, exact, t); err != nil {
			return nil, s.db.Classify(err)
		}
	}
	out := make([]string, 0, len(exact))
	for t := range exact {
		out = append(out, t)
	}
	return out, nil
}

// addTypes adds the types of the log that begin with prefix, which ends in a dot.
func (s *SQL) addTypes(ctx context.Context, types map[string]bool, prefix string) error {
	query := s.bind("SELECT MIN(type) FROM gatebook_log WHERE type > ? AND type < ?")
	end := prefix[:len(prefix)-1] + "/" // the byte after the dot
	for after := prefix; ; {
		var t sql.NullString
		if err := s.db.SQL().QueryRowContext(ctx, query, after, end).Scan(&t); err != nil || !t.Valid {
			return err
		}
		types[t.String] = true
		after = t.String
	}
}

// bounds returns the exclusive bounds of seq, 0 for none, with times turned into
// numbers: recorded_at never decreases, so a range of time is one of seq.
func (s *SQL) bounds(ctx context.Context, sel Selection) (after, before int64, err error) {
	after, before = sel.After, sel.Before
	first := func(t time.Time) (seq sql.NullInt64, err error) {
		err = s.db.SQL().QueryRowContext(ctx, s.bind(`SELECT (SELECT seq FROM gatebook_log
			WHERE recorded_at >= ? ORDER BY recorded_at, seq LIMIT 1)`), ceilMilli(t)).Scan(&seq)
		return seq, s.db.Classify(err)
	}
	if !sel.Since.IsZero() {
		seq, err := first(sel.Since)
		if err != nil {
			return 0, 0, err
		}
		if !seq.Valid { // all are older
			return 0, 1, nil
		}
		after = max(after, seq.Int64-1)
	}
	if !sel.Until.IsZero() {
		seq, err := first(sel.Until)
		if err != nil {
			return 0, 0, err
		}
		if seq.Valid && (before == 0 || seq.Int64 < before) {
			before = seq.Int64
		}
	}
	return after, before, nil
}

// ceilMilli returns t in milliseconds, rounded up: an entry is at or after t when
// its millisecond is.
func ceilMilli(t time.Time) int64 {
	ms := t.UnixMilli()
	if t.After(time.UnixMilli(ms)) {
		ms++
	}
	return ms
}

// selectQuery builds the statement of [SQL.Read].
type selectQuery struct {
	dialect       sqldb.Dialect
	types         []string
	after, before int64
	text          strings.Builder
	args          []any
}

func (q *selectQuery) add(text string, args ...any) {
	q.text.WriteString(text)
	q.args = append(q.args, args...)
}

func (q *selectQuery) build(sel Selection) (string, []any) {
	direction := ""
	if sel.Reverse {
		direction = " DESC"
	}
	// The limit is written out: with a parameter PostgreSQL would take a tenth of
	// the table for the page.
	limit := direction + " LIMIT " + strconv.Itoa(sel.Limit)
	q.add("SELECT page.seq, page.recorded_at, page.header, b.class, b.subject, b.bytes FROM (")
	parts := q.parts(sel)
	for i, p := range parts {
		if i > 0 {
			q.add(" UNION ALL ")
		}
		pinned := q.pinned(p)
		// Each part is in the order of seq along its index. Where the database does
		// not merge them, each is cut to the limit first.
		if !pinned && (len(parts) == 1 || q.dialect.Merges) {
			q.part(sel, p)
			continue
		}
		q.add("SELECT * FROM (")
		q.part(sel, p)
		q.add(" ORDER BY ")
		if pinned {
			q.add(strings.Join(append(slices.Clone(p.columns), ""), direction+", "))
		}
		q.add(p.seq + limit + ") AS part" + strconv.Itoa(i))
	}
	q.add(" ORDER BY seq" + limit)
	q.add(") AS page LEFT JOIN gatebook_blocks AS b ON b.seq = page.seq ORDER BY page.seq" + direction + ", b.position")
	return q.text.String(), q.args
}

// part is a way to entries: along an index on columns, which have these values,
// and seq; without columns along seq.
type part struct {
	from    string
	index   string // to be told; empty where the database finds it
	columns []string
	values  []any
	seq     string
	also    string // another condition, which the index has
}

// pinned reports whether p is held on its index by the condition and the order,
// for a database that cannot be told which index to use.
func (q *selectQuery) pinned(p part) bool {
	return len(p.columns) > 0 && q.dialect.UseIndex("any") == ""
}

// parts returns the ways to what sel asks for.
func (q *selectQuery) parts(sel Selection) []part {
	log := part{from: "gatebook_log AS l", seq: "l.seq"}
	switch {
	case len(sel.Terms) > 0:
		t := sel.Terms[0]
		return []part{{
			from:    "gatebook_search AS s" + q.dialect.JoinInOrder + "gatebook_log AS l ON l.seq = s.seq",
			columns: []string{"s.kind", "s.token"}, values: []any{t.Kind, t.Token[:]}, seq: "s.seq",
		}}
	case len(q.types) > 0:
		log.index, log.columns = "gatebook_log_type", []string{"l.type"}
		parts := make([]part, len(q.types))
		for i, t := range q.types {
			parts[i] = log
			parts[i].values = []any{t}
		}
		return parts
	case sel.Outcome != "" && sel.Outcome != record.Success:
		// Elsewhere than on MySQL the index has only what failed: the other
		// condition says so.
		log.index, log.columns, log.values = "gatebook_log_outcome", []string{"l.outcome"}, []any{sel.Outcome}
		log.also = " AND l.outcome <> 'success'"
	}
	return []part{log}
}

// part adds the statement of p, without its order. A database that takes the
// name of an index is told it, because a range of seq may seem more selective.
// One that does not is told where in the index to begin and to end: no other
// index serves that, nor the order that goes with it.
func (q *selectQuery) part(sel Selection, p part) {
	q.add("SELECT " + p.seq + " AS seq, l.recorded_at, l.header FROM " + p.from)
	if !q.pinned(p) {
		if p.index != "" {
			q.add(q.dialect.UseIndex(p.index))
		}
		q.add(" WHERE "+strings.Join(append(slices.Clone(p.columns), ""), " = ? AND "), p.values...)
		q.add(p.seq+" > ?", q.after)
		if q.before > 0 {
			q.add(" AND "+p.seq+" < ?", q.before)
		}
	} else {
		before := q.before
		if before == 0 {
			before = math.MaxInt64
		}
		row := "(" + strings.Join(p.columns, ", ") + ", " + p.seq + ")"
		place := "(" + tuples(len(p.columns)+1, "?") + ")"
		q.add(" WHERE "+row+" > "+place, append(slices.Clone(p.values), q.after)...)
		q.add(" AND "+row+" < "+place, append(slices.Clone(p.values), before)...)
	}
	q.add(p.also)
	q.rest(sel, p)
}

// rest adds the conditions that are only looked at, entry by entry.
func (q *selectQuery) rest(sel Selection, p part) {
	if len(sel.Terms) > 0 {
		for _, t := range sel.Terms[1:] {
			q.add(" AND EXISTS (SELECT 1 FROM gatebook_search AS o WHERE o.kind = ? AND o.token = ? AND o.seq = s.seq)", t.Kind, t.Token[:])
		}
		if len(q.types) > 0 {
			q.add(" AND l.type IN (" + tuples(len(q.types), "?") + ")")
			for _, t := range q.types {
				q.args = append(q.args, t)
			}
		}
	}
	if sel.Outcome != "" && !slices.Contains(p.columns, "l.outcome") {
		q.add(" AND l.outcome = ?", sel.Outcome)
	}
	if !sel.Until.IsZero() {
		// Entries at or after it may have come since the bounds were read. The
		// plus keeps the index on the time out: its order is not that of seq.
		q.add(" AND +l.recorded_at < ?", ceilMilli(sel.Until))
	}
}

func scanEntries(rows *sql.Rows) ([]Entry, error) {
	defer rows.Close()
	var out []Entry
	for rows.Next() {
		var seq, recordedAt int64
		var header, subject, bytes []byte
		var class sql.NullString
		if err := rows.Scan(&seq, &recordedAt, &header, &class, &subject, &bytes); err != nil {
			return nil, err
		}
		if len(out) == 0 || out[len(out)-1].Seq != seq {
			h, _ := record.ParseHeader(header)
			out = append(out, Entry{Seq: seq, RecordedAt: time.UnixMilli(recordedAt).UTC(), Header: h, Raw: header})
		}
		if class.Valid {
			b := record.Block{Class: class.String, Bytes: bytes}
			if copy(b.Subject[:], subject) != len(subject) {
				return nil, fmt.Errorf("entry %d: a subject key is too long", seq)
			}
			e := &out[len(out)-1]
			e.Blocks = append(e.Blocks, b)
		}
	}
	return out, rows.Err()
}
