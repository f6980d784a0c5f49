// Package book is the book of record: it puts the entries that acts left in the
// outbox into one gap-free order and lets them be read and followed.
//
// An act writes its entries (package record) into the outbox in the same commit
// as its other changes. The sequencer, [Book.Run], moves them from there to the
// log and gives each its seq; one server at a time does, found by a lease and
// kept apart from others by an epoch in the head row. Readers name their place
// with a [Cursor], which also holds a part of the entry's digest, so that they
// notice when a restored copy took the place of the log they knew.
//
// Most programs get their *Book from an adapter and call [Book.Read] and
// [Book.Follow]; a sign-in server's Run calls Book.Run. A new kind of storage
// implements [Store]; one that can only keep an outbox implements [Outbox].
//
// The package knows nothing of users, sessions or HTTP.
package book

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatebook/gatebook/record"
)

// Errors of a book. Callers test with errors.Is. Errors of the store, such as a
// full disk, come through as the store returned them.
var (
	// ErrHistoryReplaced says that the log no longer holds the entry a cursor
	// was taken from: a backup was restored, or a replica that lagged behind
	// took over. What was read since may differ from what the log says now.
	ErrHistoryReplaced = errors.New("book: history replaced: the log is not the one this cursor was taken from")
	// ErrBadCursor says that a text is not the String of a [Cursor].
	ErrBadCursor = errors.New("book: malformed cursor")
	// ErrCommitUnknown says that a commit failed in a way that does not tell
	// whether it took effect. [Book.Recorded] may tell later.
	ErrCommitUnknown = errors.New("book: commit outcome unknown")
	// ErrLeaseHeld says that another server holds the lease of the sequencer.
	ErrLeaseHeld = errors.New("book: another server holds the lease")
	// ErrLeaseLost says that another server took the lease over. Nothing was
	// numbered.
	ErrLeaseLost = errors.New("book: another server took the lease over")
)

// Identity is what a book is known by. It is made at first use and never
// changes.
type Identity struct {
	// ID is a random UUID, in every header.
	ID string
	// SearchKey is 32 random bytes, the key of [record.NewTerm]. It is a secret:
	// with it, guesses at personal values can be confirmed.
	SearchKey []byte
}

// String returns the id only.
func (i Identity) String() string { return i.ID }

// GoString returns the id only.
func (i Identity) GoString() string { return i.ID }

// Format keeps the key out of every verb of package fmt.
func (i Identity) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, i.ID) }

// LogValue keeps the key out of logs.
func (i Identity) LogValue() slog.Value { return slog.StringValue(i.ID) }

// Cursor is a reader's place in the log: after the entry with this seq, whose
// digest begins with these bytes. The zero Cursor is before the first entry.
type Cursor struct {
	Seq    int64
	Digest [8]byte
}

// String returns c as its seq, a hyphen and 16 hex digits.
func (c Cursor) String() string {
	return strconv.FormatInt(c.Seq, 10) + "-" + hex.EncodeToString(c.Digest[:])
}

// ParseCursor is the inverse of [Cursor.String]. Its errors match
// [ErrBadCursor].
func ParseCursor(s string) (Cursor, error) {
	seq, digest, _ := strings.Cut(s, "-")
	n, err := strconv.ParseInt(seq, 10, 64)
	d, err2 := hex.DecodeString(digest)
	c := Cursor{Seq: n}
	if err != nil || err2 != nil || len(d) != len(c.Digest) {
		return Cursor{}, fmt.Errorf("%w: %.40q", ErrBadCursor, s)
	}
	copy(c.Digest[:], d)
	if c.String() != s || n == 0 && c != (Cursor{}) {
		return Cursor{}, fmt.Errorf("%w: %.40q", ErrBadCursor, s)
	}
	return c, nil
}

// Entry is an entry of the log.
type Entry struct {
	// Seq is the entry's number, from 1, without gaps.
	Seq int64
	// RecordedAt is when it was numbered, UTC, in milliseconds. It never
	// decreases from one entry to the next.
	RecordedAt time.Time
	// Header is Raw parsed. It is zero if Raw cannot be parsed, which no
	// program of ours writes.
	Header record.Header
	// Raw is the header's bytes as they were written and hashed.
	Raw []byte
	// Blocks are the entry's blocks in order. Erased ones are absent; Header
	// still lists them.
	Blocks []record.Block
}

// Cursor returns the place right after e.
func (e Entry) Cursor() Cursor {
	sum := sha256.Sum256(e.Raw)
	return Cursor{Seq: e.Seq, Digest: [8]byte(sum[:8])}
}

// Filter selects entries. Zero members select all; an entry must match every
// other one.
type Filter struct {
	// Types are types of entries. One that ends in a dot is a prefix:
	// "session." matches session.revoked and session.expired.
	Types []string
	// Outcome is success, failure or unknown.
	Outcome string
	// UserID, Email, IP and Session are personal values an entry can be found
	// by. Email is compared in lower case.
	UserID  string
	Email   string
	IP      string
	Session string
	// Since and Until bound RecordedAt: at or after Since, before Until.
	Since, Until time.Time
}

// Query asks for a page of the log.
type Query struct {
	Filter
	// After and Before bound seq, both exclusive. If zero, no bound.
	After  int64
	Before int64
	// Limit is the most entries to return. If zero, 50; at most 1,000.
	Limit int
	// Reverse asks for the newest first.
	Reverse bool
}

const (
	defaultLimit = 50
	maxLimit     = 1000
)

// Intervals of the sequencer.
const (
	// leaseTime is how long a server that numbered something may stay silent
	// before another takes over. Safety does not rest on it.
	leaseTime = 3 * time.Second
	// pace is the least time between the beginnings of two batches, so that
	// acts are not made to wait for one batch after the other.
	pace = 20 * time.Millisecond
	// batchTime is how long a batch may hold the write lock on SQLite.
	batchTime = 10 * time.Millisecond
	// batchLimit is the most entries of a batch.
	batchLimit = 500
	// poll is how long an entry waits at most when no wake-up arrives.
	poll = 250 * time.Millisecond
	// waited is how long entries may wait before the log says so.
	waited = 10 * time.Second
)

// Book reads a book and keeps its order. It is safe for concurrent use.
type Book struct {
	store  Store
	holder string // the name of this Book in the lease
	wake   chan struct{}

	log      atomic.Pointer[slog.Logger]
	identity atomic.Pointer[Identity]
	outbox   Outbox // of another database; nil for most

	turn  chan struct{} // holds a value while a batch runs
	epoch int64         // of the lease this Book holds, or 0; guarded by turn

	running   atomic.Int32
	firstWake atomic.Int64 // Unix milliseconds of the first Wake that nobody heard
	told      atomic.Bool

	mu      sync.Mutex
	changed chan struct{} // closed when entries were numbered; guarded by mu
}

// New returns the book kept in s. It starts nothing and asks s nothing.
func New(s Store) *Book {
	return &Book{
		store:   s,
		holder:  randomUUID(),
		wake:    make(chan struct{}, 1),
		turn:    make(chan struct{}, 1),
		changed: make(chan struct{}),
	}
}

// WithOutbox returns the book kept where b is for an adapter whose outbox is in
// another database. Entries of both outboxes are numbered: [Book.Append] writes
// to that of b. One of the two Books runs.
func (b *Book) WithOutbox(o Outbox) *Book {
	c := New(b.store)
	c.outbox = o
	return c
}

// SetLogger makes b log to l; without it b logs to [slog.Default].
func (b *Book) SetLogger(l *slog.Logger) { b.log.Store(l) }

func (b *Book) logger() *slog.Logger {
	if l := b.log.Load(); l != nil {
		return l
	}
	return slog.Default()
}

// Identity returns the book's identity and makes it at first use.
func (b *Book) Identity(ctx context.Context) (Identity, error) {
	if i := b.identity.Load(); i != nil {
		return *i, nil
	}
	i, err := b.store.Identity(ctx)
	if err != nil {
		return Identity{}, fmt.Errorf("read identity of the book: %w", err)
	}
	b.identity.Store(&i)
	return i, nil
}

// Append writes entries to the outbox in a commit of their own, durable when it
// returns nil, and wakes the sequencer. After an error that matches
// [ErrCommitUnknown] they may be there or not; after any other, none is.
func (b *Book) Append(ctx context.Context, entries ...record.Entry) error {
	if len(entries) == 0 {
		return nil
	}
	if err := b.store.Append(ctx, entries); err != nil {
		return fmt.Errorf("append to the outbox: %w", err)
	}
	b.Wake()
	return nil
}

// Recorded reports whether the entries with these ids are all in the outbox or
// the log. After an unknown commit true proves that it took effect; false proves
// nothing.
func (b *Book) Recorded(ctx context.Context, ids ...string) (bool, error) {
	missing, err := b.store.Missing(ctx, ids)
	if err != nil {
		return false, fmt.Errorf("look entries up: %w", err)
	}
	if len(missing) == 0 || b.outbox == nil {
		return len(missing) == 0, nil
	}
	waiting, err := b.outbox.Pending(ctx, maxLimit)
	if err != nil {
		return false, fmt.Errorf("look entries up: %w", err)
	}
	there := make(map[string]bool, len(waiting))
	for _, e := range waiting {
		there[e.ID] = true
	}
	for _, id := range missing {
		if !there[id] {
			return false, nil
		}
	}
	return true, nil
}

// Pending returns how many entries wait for their number, and when the first of
// them happened.
func (b *Book) Pending(ctx context.Context) (n int, oldest time.Time, err error) {
	n, oldest, err = b.store.Pending(ctx)
	if err != nil {
		return 0, time.Time{}, fmt.Errorf("count waiting entries: %w", err)
	}
	if b.outbox == nil {
		return n, oldest, nil
	}
	more, err := b.outbox.Pending(ctx, maxLimit)
	if err != nil {
		return 0, time.Time{}, fmt.Errorf("count waiting entries: %w", err)
	}
	for _, e := range more {
		if h, err := record.ParseHeader(e.Header); err == nil && (oldest.IsZero() || h.Time.Before(oldest)) {
			oldest = h.Time
		}
	}
	return n + len(more), oldest, nil
}

// Head returns the cursor of the last entry of the log, zero when it is empty.
func (b *Book) Head(ctx context.Context) (Cursor, error) {
	c, err := b.store.Head(ctx)
	if err != nil {
		return Cursor{}, fmt.Errorf("read the head of the log: %w", err)
	}
	return c, nil
}

// Read returns a page of the log. For the next page ask again with After (with
// Reverse: Before) set to the Seq of the last entry.
func (b *Book) Read(ctx context.Context, q Query) ([]Entry, error) {
	s, err := b.selection(ctx, q)
	if err != nil {
		return nil, err
	}
	entries, err := b.store.Read(ctx, s)
	if err != nil {
		return nil, fmt.Errorf("read the log: %w", err)
	}
	return entries, nil
}

func (b *Book) selection(ctx context.Context, q Query) (Selection, error) {
	s := Selection{
		Types: q.Types, Outcome: q.Outcome, Since: q.Since, Until: q.Until,
		After: max(q.After, 0), Before: max(q.Before, 0), Limit: q.Limit, Reverse: q.Reverse,
	}
	if s.Limit <= 0 {
		s.Limit = defaultLimit
	}
	s.Limit = min(s.Limit, maxLimit)
	terms := []struct{ kind, value string }{
		{record.TermSession, q.Session},
		{record.TermUser, q.UserID},
		{record.TermEmail, q.Email},
		{record.TermIP, q.IP},
	}
	for _, t := range terms {
		if t.value == "" {
			continue
		}
		id, err := b.Identity(ctx)
		if err != nil {
			return Selection{}, err
		}
		s.Terms = append(s.Terms, record.NewTerm(id.SearchKey, t.kind, t.value))
	}
	return s, nil
}

// Follow yields the entries after c that match f, in order, and waits for new
// ones until ctx ends; the last pair then holds the context's cause. Any other
// error also ends it: [ErrHistoryReplaced] when the log does not hold the entry
// of c or, later, the last one it looked at. To go on after an error of the
// store call Follow again with the Cursor of the last entry.
func (b *Book) Follow(ctx context.Context, c Cursor, f Filter) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		for {
			// Taken before the log is looked at, so that no batch falls between.
			changed := b.changes()
			entries, next, err := b.page(ctx, c, f)
			if ctx.Err() != nil {
				err = context.Cause(ctx) // says more than what the store makes of it
			}
			if err != nil {
				yield(Entry{}, err)
				return
			}
			for _, e := range entries {
				if !yield(e, nil) {
					return
				}
			}
			moved := next != c
			c = next
			if moved {
				continue
			}
			select {
			case <-ctx.Done():
				yield(Entry{}, context.Cause(ctx))
				return
			case <-changed:
			case <-time.After(poll):
			}
		}
	}
}

const followLimit = 200

// page returns what follows c, and the cursor behind what was looked at, which
// may be behind entries that did not match.
func (b *Book) page(ctx context.Context, c Cursor, f Filter) ([]Entry, Cursor, error) {
	head, err := b.Head(ctx)
	if err != nil {
		return nil, c, err
	}
	if head == c {
		return nil, c, nil
	}
	entries, err := b.Read(ctx, Query{Filter: f, After: c.Seq, Before: head.Seq + 1, Limit: followLimit})
	if err != nil {
		return nil, c, err
	}
	// Checked after reading: had history been replaced before, its entries
	// would otherwise pass for the continuation of what was read earlier.
	if c.Seq > 0 {
		d, err := b.store.Digest(ctx, c.Seq)
		if err != nil {
			return nil, c, fmt.Errorf("check the cursor: %w", err)
		}
		if d != c.Digest {
			return nil, c, ErrHistoryReplaced
		}
	}
	if len(entries) == followLimit {
		return entries, entries[len(entries)-1].Cursor(), nil
	}
	return entries, head, nil
}

func (b *Book) changes() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.changed
}

func (b *Book) notify() {
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.changed)
	b.changed = make(chan struct{})
}
