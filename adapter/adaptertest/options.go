package adaptertest

import (
	"testing"
	"time"

	"github.com/gatebook/gatebook"
)

// IDs is the form of users' ids.
type IDs int

// Forms of ids. Where an id has a form, what has another is no user's.
const (
	TextIDs    IDs = iota // any text
	UUIDs                 // UUIDs in lower case
	IntegerIDs            // whole numbers in decimal
)

// Options say what the tables of a store cannot hold, so that the suite wants
// the refusal that the contract states in place of it, and lend the suite what
// only the store's own tests can do. The zero Options, like nil, are of a store
// that holds everything and lends nothing.
type Options struct {
	// IDs is the form of users' ids.
	IDs IDs
	// EmailVerified, SessionExpires and LinkExpires are what the columns of
	// those times hold. Gatebook's own tables keep every time.
	EmailVerified  Times
	SessionExpires Times
	LinkExpires    Times
	// NoPasskeys says that there is no table for them. Writes of passkeys then
	// fail with an error that matches errors.ErrUnsupported, and nobody has one.
	NoPasskeys bool
	// MaxCounter is the greatest signature counter that a passkey can have, if not
	// every one. A greater one is refused with an error that is no conflict.
	MaxCounter uint32
	// NoExtra says that the user table has neither TextColumn nor NumberColumn.
	NoExtra bool
	// Columns are further columns of the user table with values of the kind that
	// come back as they were given. They are null when not given.
	Columns map[string][]any
	// LooseKeys says that unique keys take texts for the same that differ in
	// case, accents or spaces at the end, as MySQL's default collations do. A
	// second such key then conflicts. Look-ups are exact all the same.
	LooseKeys bool

	// Account reads an account as it is stored, with its tokens, nil when there
	// is none. Without it no rule looks at what tokens became.
	Account func(t *testing.T, a gatebook.Adapter, key gatebook.AccountKey) *gatebook.Account
	// Foreign inserts a session as another program would that shares the tables:
	// its Token, UserID and Expires. Without it such sessions are made by
	// CreateSession without ID.
	Foreign func(t *testing.T, a gatebook.Adapter, s gatebook.StoredSession)
	// Unready opens stores whose tables are missing, older, newer or another's.
	Unready func(t *testing.T) []Unready
	// Line opens a store behind a connection that the suite can break.
	Line func(t *testing.T) *Line
}

// Times is what a column holds of the times it is given. The zero Times is all
// of them, to the millisecond.
type Times struct {
	// Unit is what times are cut to, never rounded up; a millisecond if zero.
	Unit time.Duration
	// First and Last bound what it holds, and others are refused. Within a day of
	// a bound either is right, for some columns depend on a time zone. If zero, no
	// bound.
	First, Last time.Time
}

// Unready is a store that refuses everything.
type Unready struct {
	// Name is the subtest's.
	Name    string
	Adapter gatebook.Adapter
	// Says is what every error contains: the command or setting that helps.
	Says string
	// Repair makes the store ready; nil where nothing does.
	Repair func(t *testing.T)
}

// Line is a connection between an adapter and its store that can break.
type Line struct {
	// Adapter is as that of [Run]. It recovers by itself.
	Adapter gatebook.Adapter
	// Break makes the n-th message from now on, from 1, that the adapter sends
	// to the store the last of its connection: the message is lost when
	// delivered is false, and its answer when it is true. Connections made
	// afterwards are whole.
	Break func(n int, delivered bool)
	// Mend ends that, and reports whether the line broke.
	Mend func() bool
}

func (c Times) cut(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.Truncate(c.tick()).UTC()
}

func (c Times) tick() time.Duration { return max(c.Unit, time.Millisecond) }

// holds reports whether the column has to hold t, and whether it has to refuse
// it.
func (c Times) holds(t time.Time) (must, mustNot bool) {
	const day = 24 * time.Hour
	must = (c.First.IsZero() || !t.Before(c.First.Add(day))) && (c.Last.IsZero() || !t.After(c.Last.Add(-day)))
	mustNot = !c.First.IsZero() && t.Before(c.First.Add(-day)) || !c.Last.IsZero() && t.After(c.Last.Add(day))
	return must, mustNot
}
