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
	if _, err := s.db.Exec(ctx, tx, s.insertText(len(entries)), outboxArgs(entries)...); err != nil {
		return fmt.Errorf("insert into the outbox: %w", s.db.Classify(err))
	}
	return nil
}

// insertText returns the statement that inserts n entries. The rows of one
// INSERT get their numbers in the order of its VALUES.
func (s *SQL) insertText(n int) string {
	return s.bind("INSERT INTO gatebook_outbox (id, header, blocks, terms) VALUES " + tuples(n, "(?, ?, ?, ?)"))
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

// batch runs fn in a write transaction once the schema is right.
func (s *SQL) batch(ctx context.Context, fn func(context.Context, *sql.Tx) error) error {
	if err := s.ready(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, batchPatience)
	defer cancel()
	return unknown(s.db.Batch(ctx, fn))
}

// batchPatience is how long a batch may take in all. It only ends what would
// never end: what is sent into a network that swallows everything.
const batchPatience = time.Minute

// unknown says in the book's words that a commit's outcome is not known.
func unknown(err error) error {
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
	i = newIdentity()
	_, err = s.db.Do(ctx, s.bind(`INSERT INTO gatebook_book
		(one, id, search_key, seq, recorded_at, epoch, holder, lease_until)
		VALUES (1, ?, ?, 0, 0, 0, '', 0)`+s.db.Dialect().IfNew("one")), i.ID, i.SearchKey)
	if err != nil {
		return Identity{}, unknown(err)
	}
	err = s.db.SQL().QueryRowContext(ctx, query).Scan(&i.ID, &i.SearchKey) // perhaps another's
	return i, s.db.Classify(err)
}

// Append implements [Store].
func (s *SQL) Append(ctx context.Context, entries []record.Entry) error {
	if len(entries) == 0 {
		return nil
	}
	if err := s.ready(ctx); err != nil {
		return err
	}
	if _, err := s.db.Do(ctx, s.insertText(len(entries)), outboxArgs(entries)...); err != nil {
		return fmt.Errorf("insert into the outbox: %w", unknown(err))
	}
	return nil
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
	rows, err := s.db.SQL().QueryContext(ctx, s.bind("SELECT id FROM gatebook_log WHERE id IN "+in+
		" UNION ALL SELECT id FROM gatebook_outbox WHERE id IN "+in), args...)
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
	err := s.db.SQL().QueryRowContext(ctx, s.bind("SELECT header FROM gatebook_log WHERE seq = ?"), seq).Scan(&header)
	if errors.Is(err, sql.ErrNoRows) {
		return [8]byte{}, nil
	}
	if err != nil {
		return [8]byte{}, s.db.Classify(err)
	}
	sum := sha256.Sum256(header)
	return [8]byte(sum[:8]), nil
}
