package book

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gatebook/gatebook/internal/sqldb"
	"github.com/gatebook/gatebook/record"
)

// free is a condition on the head row: its first parameter may take the lease.
// A lease that ends later than a lease can was given before the clock was set
// back. It has two parameters, the holder and how long a lease is.
func free(d sqldb.Dialect) string {
	return "(holder = ? OR lease_until NOT BETWEEN " + d.Now + " AND " + d.Now + " + ?)"
}

// Acquire implements [Store]. The lease is read by the database's clock.
func (s *SQL) Acquire(ctx context.Context, holder string) (epoch int64, err error) {
	if _, err := s.Identity(ctx); err != nil { // makes the head row
		return 0, err
	}
	d := s.db.Dialect()
	query := "SELECT epoch, " + free(d) + " FROM gatebook_book WHERE one = 1"
	args := []any{holder, leaseTime.Milliseconds()}
	// Servers without the lease ask again and again, and must not take the
	// lock from a batch to be told no.
	var may bool
	if err := s.db.SQL().QueryRowContext(ctx, s.bind(query), args...).Scan(&epoch, &may); err != nil {
		return 0, s.db.Classify(err)
	}
	if !may {
		return 0, ErrLeaseHeld
	}
	err = s.batch(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if err := tx.QueryRowContext(ctx, s.bind(query+d.ForUpdate), args...).Scan(&epoch, &may); err != nil {
			return err
		}
		if !may {
			return ErrLeaseHeld
		}
		epoch++
		_, err := tx.ExecContext(ctx, s.bind("UPDATE gatebook_book SET epoch = ?, holder = ?, lease_until = "+d.Now+" + ? WHERE one = 1"),
			epoch, holder, leaseTime.Milliseconds())
		return err
	})
	return epoch, err
}

// Release implements [Store].
func (s *SQL) Release(ctx context.Context, epoch int64) error {
	return s.batch(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, s.bind("UPDATE gatebook_book SET holder = '', lease_until = 0 WHERE one = 1 AND epoch = ?"), epoch)
		return err
	})
}

// Number implements [Store]. A batch takes at most 500 entries. On SQLite, where
// nobody else can write meanwhile, it ends early after 10 milliseconds.
func (s *SQL) Number(ctx context.Context, epoch int64, foreign []record.Entry) (n int, more bool, err error) {
	err = s.batch(ctx, func(ctx context.Context, tx *sql.Tx) error {
		n, more, err = s.number(ctx, tx, epoch, foreign)
		return err
	})
	if err != nil {
		return 0, false, err
	}
	return n, more, nil
}

func (s *SQL) number(ctx context.Context, tx *sql.Tx, epoch int64, foreign []record.Entry) (n int, more bool, err error) {
	d := s.db.Dialect()
	a := appender{s: s, tx: tx, chunk: batchLimit, step: 64, late: func() bool { return false }}
	if d.Queue {
		// A batch is short and waits for nothing, and to watch for the end of a
		// context costs the driver a goroutine for each statement.
		ctx = context.WithoutCancel(ctx)
		deadline := time.Now().Add(batchTime)
		a.chunk, a.step, a.late = 64, 1, func() bool { return !time.Now().Before(deadline) }
	}
	// The fence: it locks the head row, and finds it only while nobody has taken
	// over. From here to the commit the number is ours.
	err = tx.QueryRowContext(ctx, s.bind("SELECT seq, "+d.Greatest("recorded_at", d.Now)+
		" FROM gatebook_book WHERE one = 1 AND epoch = ?"+d.ForUpdate), epoch).Scan(&a.seq, &a.recordedAt)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, false, ErrLeaseLost
	}
	if err != nil {
		return 0, false, fmt.Errorf("lock the head row: %w", err)
	}
	if n, more, err = a.all(ctx, foreign); err != nil {
		return 0, false, err
	}
	if _, err := s.db.Exec(ctx, tx, s.bind("UPDATE gatebook_book SET seq = ?, recorded_at = ?, lease_until = "+d.Now+" + ? WHERE one = 1"),
		a.seq, a.recordedAt, leaseTime.Milliseconds()); err != nil {
		return 0, false, fmt.Errorf("move the head: %w", err)
	}
	return n, more, nil
}

// appender moves entries to the log.
type appender struct {
	s               *SQL
	tx              *sql.Tx
	seq, recordedAt int64
	chunk           int         // how many entries are read at once
	step            int         // how many are written at once
	late            func() bool // whether to end early
}

// all numbers the entries of the outbox, or foreign ones, and reports how many
// and whether there are more.
func (a *appender) all(ctx context.Context, foreign []record.Entry) (n int, more bool, err error) {
	// One chunk at least is begun, and one entry of it taken: where the fence
	// alone takes longer than a batch may, the book must go on all the same.
	for more = true; more && n < batchLimit && (n == 0 || !a.late()); {
		var entries []outboxEntry
		if foreign != nil {
			entries = foreignChunk(foreign[n:], a.chunk)
		} else if entries, err = a.readOutbox(ctx); err != nil {
			return 0, false, err
		}
		more = len(entries) == a.chunk
		taken, err := a.append(ctx, entries)
		if err != nil {
			return 0, false, err
		}
		if foreign == nil {
			if err := a.remove(ctx, entries[:taken]); err != nil {
				return 0, false, err
			}
		}
		n += taken
		if taken < len(entries) {
			return n, true, nil
		}
	}
	return n, more, nil
}

type outboxEntry struct {
	n int64
	record.Entry
}

func foreignChunk(entries []record.Entry, chunk int) []outboxEntry {
	out := make([]outboxEntry, min(len(entries), chunk))
	for i := range out {
		out[i].Entry = entries[i]
	}
	return out
}

// readOutbox reads from the beginning each time, never on from where it was: a
// smaller n may have been committed since, and what began after that commit must
// not be numbered before it.
func (a *appender) readOutbox(ctx context.Context) ([]outboxEntry, error) {
	rows, err := a.tx.QueryContext(ctx, a.s.bind("SELECT n, id, header, blocks, terms FROM gatebook_outbox ORDER BY n LIMIT ?"), a.chunk)
	if err != nil {
		return nil, fmt.Errorf("read the outbox: %w", err)
	}
	defer rows.Close()
	var out []outboxEntry
	for rows.Next() {
		var e outboxEntry
		var blocks, terms []byte
		if err := rows.Scan(&e.n, &e.ID, &e.Header, &blocks, &terms); err != nil {
			return nil, fmt.Errorf("read the outbox: %w", err)
		}
		// One row that no program of ours wrote must not stop the book: its
		// header is numbered, what cannot be read of it is left out.
		e.Blocks, _ = record.ParseBlocks(blocks)
		e.Search, _ = record.ParseTerms(terms)
		out = append(out, e)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read the outbox: %w", err)
	}
	return out, nil
}

// append writes entries to the log, except those whose id it has, and returns
// how many it took before it was late.
func (a *appender) append(ctx context.Context, entries []outboxEntry) (taken int, err error) {
	known, err := a.known(ctx, entries)
	if err != nil {
		return 0, fmt.Errorf("look ids up in the log: %w", err)
	}
	for group := range slices.Chunk(entries, a.step) {
		if taken > 0 && a.late() {
			break
		}
		if err := a.write(ctx, group, known); err != nil {
			return 0, fmt.Errorf("append entries from %s on to the log: %w", group[0].ID, err)
		}
		taken += len(group)
	}
	return taken, nil
}

// known returns those ids of entries that the log has.
func (a *appender) known(ctx context.Context, entries []outboxEntry) (map[string]bool, error) {
	known := map[string]bool{}
	if len(entries) == 0 {
		return known, nil
	}
	ids := make([]any, len(entries))
	for i, e := range entries {
		ids[i] = e.ID
	}
	list, ids := inList(ids)
	rows, err := a.tx.QueryContext(ctx, a.s.bind("SELECT id FROM gatebook_log WHERE id IN "+list), ids...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		known[id] = true
	}
	return known, rows.Err()
}

// remove deletes from the outbox what was numbered, and nothing else: a row with
// a smaller n may have been committed since.
func (a *appender) remove(ctx context.Context, entries []outboxEntry) error {
	for group := range slices.Chunk(entries, 64) {
		ns := make([]any, len(group))
		for i, e := range group {
			ns[i] = e.n
		}
		list, ns := inList(ns)
		text := "DELETE FROM gatebook_outbox WHERE n IN " + list
		if a.s.db.Dialect().Name == sqldb.MySQL.Name {
			// For a long list it would go through a short table instead, whatever
			// index it is told to use, and wait for every act that has not
			// committed its entries. Joined, it asks by key.
			text = "DELETE o FROM (SELECT CAST(? AS SIGNED) AS n" + strings.Repeat(" UNION ALL SELECT ?", len(ns)-1) +
				") AS d STRAIGHT_JOIN gatebook_outbox AS o ON o.n = d.n"
		}
		if _, err := a.s.db.Exec(ctx, a.tx, a.s.bind(text), ns...); err != nil {
			return fmt.Errorf("empty the outbox: %w", err)
		}
	}
	return nil
}

// inList returns what follows IN, of a few lengths only, so that there are few
// texts: the last value is repeated.
func inList(values []any) (string, []any) {
	n := 1
	for n < len(values) {
		n *= 8
	}
	for len(values) < n {
		values = append(values, values[len(values)-1])
	}
	return "(" + tuples(n, "?") + ")", values
}

// write numbers entries whose ids are not in known, and adds these.
func (a *appender) write(ctx context.Context, entries []outboxEntry, known map[string]bool) error {
	var log, blocks, search []any
	for _, e := range entries {
		if known[e.ID] {
			continue
		}
		known[e.ID] = true
		h, _ := record.ParseHeader(e.Header)
		a.seq++
		log = append(log, a.seq, a.recordedAt, e.ID, plain(h.Type), plain(h.Outcome), e.Header)
		for i, b := range e.Blocks {
			blocks = append(blocks, a.seq, i, plain(b.Class), b.Subject[:], b.Bytes)
		}
		for i, t := range e.Search {
			if !slices.Contains(e.Search[:i], t) {
				search = append(search, plain(t.Kind), t.Token[:], a.seq)
			}
		}
	}
	if err := a.insert(ctx, "gatebook_log (seq, recorded_at, id, type, outcome, header)", 6, log); err != nil {
		return err
	}
	if err := a.insert(ctx, "gatebook_blocks (seq, position, class, subject, bytes)", 5, blocks); err != nil {
		return err
	}
	return a.insert(ctx, "gatebook_search (kind, token, seq)", 3, search)
}

// insert inserts rows of so many columns, in statements of 64, 32, 16 … rows:
// few texts, each prepared once.
func (a *appender) insert(ctx context.Context, into string, columns int, values []any) error {
	for n := 64; len(values) > 0; n /= 2 {
		tuple := "(" + tuples(columns, "?") + ")"
		for len(values) >= n*columns {
			if _, err := a.s.db.Exec(ctx, a.tx, a.s.bind("INSERT INTO "+into+" VALUES "+tuples(n, tuple)), values[:n*columns]...); err != nil {
				return err
			}
			values = values[n*columns:]
		}
	}
	return nil
}

// plain returns s, or nothing where a database could not keep it: in what no
// program of ours wrote.
func plain(s string) string {
	if len(s) > 255 || !utf8.ValidString(s) || strings.ContainsRune(s, 0) {
		return ""
	}
	return s
}
