package book

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gatebook/gatebook/internal/sqldb"
	"github.com/gatebook/gatebook/record"
)

//go:embed migrations
var migrations embed.FS

// Migrations returns the migrations of the book's tables, to be applied by
// [sqldb.DB.Migrate] together with those of an adapter.
func Migrations(d sqldb.Dialect) sqldb.Set {
	sub, err := fs.Sub(migrations, "migrations/"+d.Name)
	if err != nil {
		panic(err) // the path is valid
	}
	return sqldb.Set{Name: "book", FS: sub}
}

// SQL is a [Store] in an SQL database, whose tables [Migrations] makes. It does
// nothing until first use, when it checks that they are there.
type SQL struct {
	db *sqldb.DB

	mu      sync.Mutex
	checked bool // guarded by mu
}

var _ Store = (*SQL)(nil)

// NewSQL returns the store in db.
func NewSQL(db *sqldb.DB) *SQL { return &SQL{db: db} }

// ready checks the schema until it was right once.
func (s *SQL) ready(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.checked {
		return nil
	}
	if err := s.db.Check(ctx, Migrations(s.db.Dialect())); err != nil {
		return err
	}
	s.checked = true
	return nil
}

// Insert inserts entries into the outbox in an act's own transaction, with one
// statement. Call it after the act's other writes, so that the entries are
// numbered under the locks of the rows they tell of, and [Book.Wake] after the
// commit.
func (s *SQL) Insert(ctx context.Context, tx *sql.Tx, entries []record.Entry) error {
	if len(entries) == 0 {
		return nil
	}
	_, err := s.db.Exec(ctx, tx, s.bind("INSERT INTO gatebook_outbox (id, header, blocks, terms) VALUES "+
		tuples(len(entries), "(?, ?, ?, ?)")), outboxArgs(entries)...)
	if err != nil {
		return fmt.Errorf("insert into the outbox: %w", s.db.Classify(err))
	}
	return nil
}

// InsertFrom returns a statement, and its arguments, that inserts entries into
// the outbox once for each row of from, a relation that has one row, or none
// when the act must not take place. It is for a dialect with CTE: the statement
// goes into the WITH of the act's one statement, and from must read what the
// act's other writes return, so that they and their locks come before the
// entries get their numbers. There must be entries. The text depends only on
// from and the number of entries, and has still to be given to
// [sqldb.Dialect.Bind] with the rest.
func (s *SQL) InsertFrom(from string, entries []record.Entry) (query string, args []any) {
	d := s.db.Dialect()
	var rows strings.Builder
	for i := range entries {
		if i > 0 {
			rows.WriteString(", ")
		}
		fmt.Fprintf(&rows, "(%d, %s, %s, %s, %s)", i, d.Param(sqldb.Text),
			d.Param(sqldb.Bytes), d.Param(sqldb.Bytes), d.Param(sqldb.Bytes))
	}
	// The numbers are given after sorting, as the default of a column of a query
	// in order is.
	return "INSERT INTO gatebook_outbox (id, header, blocks, terms) SELECT e.id, e.header, e.blocks, e.terms FROM " + from +
		" CROSS JOIN (VALUES " + rows.String() + ") AS e (ord, id, header, blocks, terms) ORDER BY e.ord", outboxArgs(entries)
}

// outboxArgs returns the columns of the outbox, row by row.
func outboxArgs(entries []record.Entry) []any {
	size := 0
	for _, e := range entries {
		size += packedSize(e)
	}
	// All columns of all rows share one buffer; each slice is cut to its length.
	buf := make([]byte, 0, size)
	args := make([]any, 0, 4*len(entries))
	for _, e := range entries {
		at := len(buf)
		buf = record.AppendBlocks(buf, e.Blocks)
		blocks := buf[at:len(buf):len(buf)]
		at = len(buf)
		buf = record.AppendTerms(buf, e.Search)
		args = append(args, e.ID, e.Header, blocks, buf[at:len(buf):len(buf)])
	}
	return args
}

// bind is [sqldb.Dialect.Bind].
func (s *SQL) bind(query string) string { return s.db.Dialect().Bind(query) }

func packedSize(e record.Entry) int {
	n := 0
	for _, b := range e.Blocks {
		n += 1 + len(b.Class) + len(b.Subject) + 4 + len(b.Bytes)
	}
	for _, t := range e.Search {
		n += 1 + len(t.Kind) + len(t.Token)
	}
	return n
}

// tuples returns n times tuple with commas between.
func tuples(n int, tuple string) string {
	return strings.Repeat(tuple+", ", n-1) + tuple
}

// write runs fn in a write transaction once the schema is right.
func (s *SQL) write(ctx context.Context, fn func(context.Context, *sql.Tx) error) error {
	if err := s.ready(ctx); err != nil {
		return err
	}
	err := s.db.Tx(ctx, fn)
	if errors.Is(err, sqldb.ErrCommitUnknown) {
		return fmt.Errorf("%w: %w", ErrCommitUnknown, err)
	}
	return err
}

// Identity implements [Store].
func (s *SQL) Identity(ctx context.Context) (Identity, error) {
	if err := s.ready(ctx); err != nil {
		return Identity{}, err
	}
	const query = "SELECT id, search_key FROM gatebook_book WHERE one = 1"
	var i Identity
	err := s.db.SQL().QueryRowContext(ctx, query).Scan(&i.ID, &i.SearchKey)
	if !errors.Is(err, sql.ErrNoRows) {
		return i, s.db.Classify(err)
	}
	err = s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		i = newIdentity()
		_, err := tx.ExecContext(ctx, `INSERT INTO gatebook_book
			(one, id, search_key, seq, recorded_at, epoch, holder, lease_until)
			VALUES (1, ?, ?, 0, 0, 0, '', 0) ON CONFLICT (one) DO NOTHING`, i.ID, i.SearchKey)
		if err != nil {
			return err
		}
		return tx.QueryRowContext(ctx, query).Scan(&i.ID, &i.SearchKey)
	})
	if err != nil {
		return Identity{}, err
	}
	return i, nil
}

// Append implements [Store].
func (s *SQL) Append(ctx context.Context, entries []record.Entry) error {
	return s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		return s.Insert(ctx, tx, entries)
	})
}

// Missing implements [Store].
func (s *SQL) Missing(ctx context.Context, ids []string) ([]string, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	if err := s.ready(ctx); err != nil {
		return nil, err
	}
	args := make([]any, 0, 2*len(ids))
	for _, id := range ids {
		args = append(args, id)
	}
	args = append(args, args...)
	in := "(" + tuples(len(ids), "?") + ")"
	// One statement sees one state: an entry that moves between two would be
	// seen in neither.
	rows, err := s.db.SQL().QueryContext(ctx, "SELECT id FROM gatebook_log WHERE id IN "+in+
		" UNION ALL SELECT id FROM gatebook_outbox WHERE id IN "+in, args...)
	if err != nil {
		return nil, s.db.Classify(err)
	}
	defer rows.Close()
	missing := slices.Clone(ids)
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, s.db.Classify(err)
		}
		missing = slices.DeleteFunc(missing, func(m string) bool { return m == id })
	}
	return missing, s.db.Classify(rows.Err())
}

// Pending implements [Store].
func (s *SQL) Pending(ctx context.Context) (int, time.Time, error) {
	if err := s.ready(ctx); err != nil {
		return 0, time.Time{}, err
	}
	var n int
	var first []byte
	err := s.db.SQL().QueryRowContext(ctx, `SELECT (SELECT COUNT(*) FROM gatebook_outbox),
		(SELECT header FROM gatebook_outbox ORDER BY n LIMIT 1)`).Scan(&n, &first)
	if err != nil || n == 0 {
		return 0, time.Time{}, s.db.Classify(err)
	}
	h, _ := record.ParseHeader(first)
	return n, h.Time, nil
}

// Waiting implements [Store].
func (s *SQL) Waiting(ctx context.Context) (bool, error) {
	if err := s.ready(ctx); err != nil {
		return false, err
	}
	var waiting bool
	err := s.db.SQL().QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM gatebook_outbox)").Scan(&waiting)
	return waiting, s.db.Classify(err)
}

// Acquire implements [Store]. The lease is read by the database's clock.
func (s *SQL) Acquire(ctx context.Context, holder string) (epoch int64, err error) {
	if _, err := s.Identity(ctx); err != nil { // makes the head row
		return 0, err
	}
	now := s.db.Dialect().Now
	// A lease that ends later than a lease can was given before the clock was
	// set back.
	free := "(holder = ? OR lease_until NOT BETWEEN " + now + " AND " + now + " + ?)"
	// Servers without the lease ask again and again, and must not take the
	// write lock from acts to be told no.
	var may bool
	err = s.db.SQL().QueryRowContext(ctx, "SELECT "+free+" FROM gatebook_book WHERE one = 1",
		holder, leaseTime.Milliseconds()).Scan(&may)
	if err != nil {
		return 0, s.db.Classify(err)
	}
	if !may {
		return 0, ErrLeaseHeld
	}
	err = s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		err := tx.QueryRowContext(ctx, `UPDATE gatebook_book
			SET epoch = epoch + 1, holder = ?, lease_until = `+now+` + ?
			WHERE one = 1 AND `+free+` RETURNING epoch`,
			holder, leaseTime.Milliseconds(), holder, leaseTime.Milliseconds()).Scan(&epoch)
		if errors.Is(err, sql.ErrNoRows) {
			return ErrLeaseHeld
		}
		return err
	})
	return epoch, err
}

// Release implements [Store].
func (s *SQL) Release(ctx context.Context, epoch int64) error {
	return s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE gatebook_book SET holder = '', lease_until = 0
			WHERE one = 1 AND epoch = ?`, epoch)
		return err
	})
}

// chunk is how many rows of the outbox are read at once.
const chunk = 64

// Number implements [Store]. A batch takes at most 500 entries and ends early
// after 10 milliseconds, for nobody else can write meanwhile.
func (s *SQL) Number(ctx context.Context, epoch int64, foreign []record.Entry) (n int, more bool, err error) {
	err = s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		n, more, err = s.number(ctx, tx, epoch, foreign)
		return err
	})
	if err != nil {
		return 0, false, err
	}
	return n, more, nil
}

func (s *SQL) number(ctx context.Context, tx *sql.Tx, epoch int64, foreign []record.Entry) (n int, more bool, err error) {
	// A batch is short and waits for nothing, and to watch for the end of a context
	// costs the driver a goroutine for each statement.
	ctx = context.WithoutCancel(ctx)
	deadline := time.Now().Add(batchTime)
	var seq, recordedAt int64
	// The fence: it locks the head row, and matches it only while nobody has
	// taken over. From here to the commit the number is ours.
	err = tx.QueryRowContext(ctx, `UPDATE gatebook_book
		SET lease_until = `+s.db.Dialect().Now+` + ?, recorded_at = MAX(recorded_at, `+s.db.Dialect().Now+`)
		WHERE one = 1 AND epoch = ? RETURNING seq, recorded_at`,
		leaseTime.Milliseconds(), epoch).Scan(&seq, &recordedAt)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, false, ErrLeaseLost
	}
	if err != nil {
		return 0, false, fmt.Errorf("lock the head row: %w", err)
	}
	a, err := newAppender(ctx, tx, seq, recordedAt)
	if err != nil {
		return 0, false, err
	}

	var last int64
	more = true
	// One chunk at least is begun, and one entry of it taken: where the fence
	// alone takes longer than a batch may, the book must go on all the same.
	for more && n < batchLimit && (n == 0 || time.Now().Before(deadline)) {
		var entries []outboxEntry
		if foreign != nil {
			entries = foreignChunk(foreign[n:])
		} else if entries, err = readOutbox(ctx, tx, last); err != nil {
			return 0, false, err
		}
		more = len(entries) == chunk
		for i, e := range entries {
			if i > 0 && !time.Now().Before(deadline) {
				more = true
				break
			}
			if err := a.append(ctx, e.Entry); err != nil {
				return 0, false, fmt.Errorf("append entry %s to the log: %w", e.ID, err)
			}
			last = e.n
			n++
		}
	}
	if n == 0 {
		return 0, false, nil
	}
	if foreign == nil {
		if _, err := tx.ExecContext(ctx, "DELETE FROM gatebook_outbox WHERE n <= ?", last); err != nil {
			return 0, false, fmt.Errorf("empty the outbox: %w", err)
		}
	}
	if _, err := tx.ExecContext(ctx, "UPDATE gatebook_book SET seq = ? WHERE one = 1", a.seq); err != nil {
		return 0, false, fmt.Errorf("move the head: %w", err)
	}
	return n, more, nil
}

type outboxEntry struct {
	n int64
	record.Entry
}

func foreignChunk(entries []record.Entry) []outboxEntry {
	out := make([]outboxEntry, min(len(entries), chunk))
	for i := range out {
		out[i].Entry = entries[i]
	}
	return out
}

func readOutbox(ctx context.Context, tx *sql.Tx, after int64) ([]outboxEntry, error) {
	rows, err := tx.QueryContext(ctx, `SELECT n, id, header, blocks, terms FROM gatebook_outbox
		WHERE n > ? ORDER BY n LIMIT ?`, after, chunk)
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

// appender writes entries to the log with statements prepared once a batch.
type appender struct {
	seq, recordedAt    int64
	log, block, search *sql.Stmt
}

// newAppender prepares the statements. They are closed with the transaction.
func newAppender(ctx context.Context, tx *sql.Tx, seq, recordedAt int64) (*appender, error) {
	a := &appender{seq: seq, recordedAt: recordedAt}
	for _, p := range []struct {
		stmt  **sql.Stmt
		query string
	}{
		{&a.log, `INSERT INTO gatebook_log (seq, recorded_at, id, type, outcome, header)
			VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING`},
		{&a.block, `INSERT INTO gatebook_blocks (seq, position, class, subject, bytes) VALUES (?, ?, ?, ?, ?)`},
		{&a.search, `INSERT INTO gatebook_search (kind, token, seq) VALUES (?, ?, ?) ON CONFLICT DO NOTHING`},
	} {
		stmt, err := tx.PrepareContext(ctx, p.query) //nolint:sqlclosecheck // database/sql closes it with tx
		if err != nil {
			return nil, fmt.Errorf("prepare: %w", err)
		}
		*p.stmt = stmt
	}
	return a, nil
}

func (a *appender) append(ctx context.Context, e record.Entry) error {
	h, _ := record.ParseHeader(e.Header)
	res, err := a.log.ExecContext(ctx, a.seq+1, a.recordedAt, e.ID, h.Type, h.Outcome, e.Header)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return err // the log has this id
	}
	a.seq++
	for i, b := range e.Blocks {
		if _, err := a.block.ExecContext(ctx, a.seq, i, b.Class, b.Subject[:], b.Bytes); err != nil {
			return err
		}
	}
	for _, t := range e.Search {
		if _, err := a.search.ExecContext(ctx, t.Kind, t.Token[:], a.seq); err != nil {
			return err
		}
	}
	return nil
}

// Head implements [Store].
func (s *SQL) Head(ctx context.Context) (Cursor, error) {
	if err := s.ready(ctx); err != nil {
		return Cursor{}, err
	}
	var e Entry
	err := s.db.SQL().QueryRowContext(ctx, "SELECT seq, header FROM gatebook_log ORDER BY seq DESC LIMIT 1").
		Scan(&e.Seq, &e.Raw)
	if errors.Is(err, sql.ErrNoRows) {
		return Cursor{}, nil
	}
	if err != nil {
		return Cursor{}, s.db.Classify(err)
	}
	return e.Cursor(), nil
}

// Digest implements [Store].
func (s *SQL) Digest(ctx context.Context, seq int64) ([8]byte, error) {
	if err := s.ready(ctx); err != nil {
		return [8]byte{}, err
	}
	var header []byte
	err := s.db.SQL().QueryRowContext(ctx, "SELECT header FROM gatebook_log WHERE seq = ?", seq).Scan(&header)
	if errors.Is(err, sql.ErrNoRows) {
		return [8]byte{}, nil
	}
	if err != nil {
		return [8]byte{}, s.db.Classify(err)
	}
	sum := sha256.Sum256(header)
	return [8]byte(sum[:8]), nil
}
