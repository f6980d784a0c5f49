package book

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/gatebook/gatebook/record"
)

// Store keeps a book: its identity, an outbox, the log, and the head row that
// decides who may number. [SQL] and [Memory] are stores. All methods may be
// called concurrently, and return when the context ends.
type Store interface {
	// Identity returns the book's identity. The first call of all makes and
	// stores it; concurrent ones, also on other servers, return the same.
	Identity(ctx context.Context) (Identity, error)

	// Append adds entries to the outbox in one commit, all or none, durable
	// when it returns nil. The error matches [ErrCommitUnknown] when it cannot
	// tell whether they were added.
	Append(ctx context.Context, entries []record.Entry) error

	// Missing returns those of ids that are in neither outbox nor log, both
	// looked at in one consistent state.
	Missing(ctx context.Context, ids []string) ([]string, error)

	// Pending returns how many entries wait in the outbox and the time of the
	// first one's header.
	Pending(ctx context.Context) (n int, oldest time.Time, err error)

	// Waiting reports whether entries wait in the outbox. It writes nothing.
	Waiting(ctx context.Context) (bool, error)

	// Acquire takes the lease for holder and returns its epoch, greater than
	// any before. The error matches [ErrLeaseHeld] while another holder's lease
	// runs. Leases run for three seconds by the store's clock and are renewed
	// by every Number.
	Acquire(ctx context.Context, holder string) (epoch int64, err error)

	// Release gives the lease back if epoch still is the current one.
	Release(ctx context.Context, epoch int64) error

	// Number moves entries to the log in one commit: from the outbox in its
	// order, or, when foreign is not nil, those of another outbox. They get the
	// numbers after the last one and a time of recording that is not before the
	// last one. Entries whose id the log has are dropped. It stops early rather
	// than make acts wait, and reports how many it took from the outbox and
	// whether more were there. When epoch is not the current one it changes
	// nothing and the error matches [ErrLeaseLost].
	Number(ctx context.Context, epoch int64, foreign []record.Entry) (n int, more bool, err error)

	// Head returns the cursor of the last entry of the log.
	Head(ctx context.Context) (Cursor, error)

	// Digest returns the first bytes of the digest of an entry's header, zero
	// when the log has no such entry.
	Digest(ctx context.Context, seq int64) ([8]byte, error)

	// Read returns the entries that s selects in order of seq.
	Read(ctx context.Context, s Selection) ([]Entry, error)
}

// Selection is a [Query] as a [Store] gets it: values that find entries are
// search terms, and Limit is set.
type Selection struct {
	Types         []string
	Outcome       string
	Terms         []record.Term
	Since, Until  time.Time
	After, Before int64
	Limit         int
	Reverse       bool
}

// Outbox is where the entries of an adapter wait that cannot keep them in the
// database of the log. Give it to [Book.WithOutbox].
type Outbox interface {
	// Pending returns the entries that wait, in the order in which their acts
	// were committed, at most limit.
	Pending(ctx context.Context, limit int) ([]record.Entry, error)
	// Remove removes entries that the log has. Ids that are not there are no
	// error: after a crash the same ids are removed again. The log never
	// forgets an id it numbered, so entries that are still returned by Pending
	// afterwards are not numbered twice.
	Remove(ctx context.Context, ids []string) error
}

// randomUUID returns a random UUID (RFC 9562, Section 5.4).
func randomUUID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

func newIdentity() Identity {
	i := Identity{ID: randomUUID(), SearchKey: make([]byte, 32)}
	rand.Read(i.SearchKey)
	return i
}
