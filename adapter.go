package gatebook

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/gatebook/gatebook/book"
	"github.com/gatebook/gatebook/record"
)

// Errors of an [Adapter]. Adapters wrap or return them; callers test with
// errors.Is. Any other error means that the store could not answer.
var (
	// ErrNotFound says that a row asked for by key does not exist.
	ErrNotFound = errors.New("gatebook: not found")
	// ErrConflict says that an act was rolled back because a precondition of
	// one of its writes no longer held, or because the database asked for the
	// transaction to be run again. Nothing was written.
	ErrConflict = errors.New("gatebook: conflict")
	// ErrCommitUnknown says that the connection was lost while the act was
	// being committed, so that it may or may not have happened.
	ErrCommitUnknown = errors.New("gatebook: commit outcome unknown")
	// ErrUnfit says that a table of the store cannot hold a value of a write: it is
	// too long, or of another type. Nothing was written. The error says which.
	ErrUnfit = errors.New("gatebook: the store cannot hold it")
)

// Adapter keeps users, accounts, sessions, verification tokens and the outbox
// of the book. Package adapter/adaptertest checks every rule below; run it on
// your own.
//
// All methods may be called concurrently. They return when the context ends,
// with an error that matches its cause; whatever they were doing is then done
// wholly or not at all. Times are UTC and kept to the millisecond. Strings are
// kept exactly; e-mail addresses arrive in lower case.
//
// An adapter does nothing until first use. Then it checks once that its schema
// is there and that a commit survives loss of power, and until that is so every
// method fails with an error that names the command to run.
type Adapter interface {
	// Find answers all questions of q from one consistent state, in one round
	// trip where the store allows. What does not exist is nil or false in the
	// answer, never an error.
	Find(ctx context.Context, q Query) (*Found, error)

	// Session returns the session that token opens, its user and the user's
	// subject key, in one round trip. An expired session is returned like any
	// other; the caller compares. Unknown tokens give an error that matches
	// ErrNotFound, as does a session whose user is gone. It is the hot path:
	// one read and no write.
	Session(ctx context.Context, token Secret) (*FoundSession, error)

	// Sessions lists the sessions of a user, database sessions and noted token
	// sessions, expired ones too, newest first, at most 1,000, without tokens.
	// An unknown user has none.
	Sessions(ctx context.Context, userID string) ([]StoredSession, error)

	// Accounts lists the accounts of a user, by provider and account id, at
	// most 1,000, without their tokens. An unknown user has none.
	Accounts(ctx context.Context, userID string) ([]Account, error)

	// Authenticators lists the passkeys of a user, by credential id, at most
	// 1,000. An unknown user has none.
	Authenticators(ctx context.Context, userID string) ([]Authenticator, error)

	// ExtendSession moves the expiry of the session that token opens. It is no
	// act and has no event. A session that is gone is not brought back: the
	// error matches ErrNotFound.
	ExtendSession(ctx context.Context, token Secret, expires time.Time) error

	// Commit carries out act: all its writes in their order, then its entries
	// into the outbox, in one transaction, durable when Commit returns nil.
	//
	// Each write states its precondition. When one does not hold, when the
	// database reports a deadlock or a serialization failure, or when a write
	// would break a unique key, everything is rolled back and the error matches
	// ErrConflict. When the connection is lost at the commit itself the error
	// matches ErrCommitUnknown. After any other error nothing was written.
	//
	// Entries are numbered under the locks of the rows that the act wrote: they
	// are inserted in the same statement or after the last write.
	Commit(ctx context.Context, act *Act) error

	// Claim reports whether holder, a name that one running program has, may do
	// the housekeeping now, and if so keeps everybody else from it for d, at most
	// an hour, by the store's clock. Who has the claim renews it by claiming again.
	Claim(ctx context.Context, holder string, d time.Duration) (bool, error)

	// Expired lists database sessions that expired before the given time, with
	// their users, oldest first, at most 200, without tokens. They are ended by
	// acts, since that is an event.
	Expired(ctx context.Context, before time.Time) ([]FoundSession, error)

	// Sweep deletes verification tokens, used checks and what is noted of token
	// sessions that expired before the given time, at most a few thousand rows a
	// call, and returns how many. It never deletes database sessions: see Expired.
	Sweep(ctx context.Context, before time.Time) (int, error)

	// Book returns the book whose outbox Commit fills. It is the same value at
	// every call.
	Book() *book.Book
}

// IDMaker is an ability that an [Adapter] may have: it makes the ids of users.
// Without it they are random UUIDs (RFC 9562, version 4).
type IDMaker interface {
	// NewUserID returns an id for u, to be given to [CreateUser]. No user has it
	// and no other call returns it. Tx is as in [Query].
	NewUserID(ctx context.Context, u User, tx *sql.Tx) (string, error)
}

// AccountLimiter is an ability that an [Adapter] may have whose tables cannot
// hold every account. Without it every account is given to it whole.
type AccountLimiter interface {
	// Unfit names the fields of a, by their names in RFC 6749, Section 5.1, such
	// as access_token, or expires_at, that the table has no room for. They are
	// left out of [LinkAccount], and an event tells of it. A longer value is never
	// cut.
	Unfit(a *Account) []string
}

// Runner is an ability that an [Adapter] may have whose work goes on beside the
// requests.
type Runner interface {
	// Run works until ctx ends and then returns nil. [Auth.Run] calls it, and logs
	// its error.
	Run(ctx context.Context) error
}

// WriteChecker is an ability that an [Adapter] may have whose tables cannot hold
// every value. Without it that is found out when the write is carried out.
type WriteChecker interface {
	// CheckWrite returns an error that matches ErrUnfit when the store could not
	// carry out w whatever rows it has. It looks at none. Without the id of a
	// user it is about one whose id the store makes.
	CheckWrite(ctx context.Context, w Write) error
}

// Query is what an act asks before it decides. Zero members are not asked.
type Query struct {
	// Session asks for the session that this token opens, expired or not.
	Session Secret
	// UserID, Email and Account ask for a user by its id, its address (lower
	// case), and the account (Provider and ProviderAccountID) linked to it.
	UserID  string
	Email   string
	Account AccountKey
	// Verification asks for a magic link's row by its hash.
	Verification string
	// Check asks whether this digest was used up by [UseCheck].
	Check [32]byte
	// Credential asks for a passkey by its credential id, as
	// [Authenticator].CredentialID has it.
	Credential string
	// TokenSession asks what [NoteSession] and [RevokeToken] left of the token
	// session of this sid.
	TokenSession string
	// LinksTo asks for the magic links stored for this address.
	LinksTo string
	// Tx, when not nil, is the application's own transaction on the same
	// database; the questions are asked inside it.
	Tx *sql.Tx
}

// AccountKey names an account at a provider.
type AccountKey struct{ Provider, ProviderAccountID string }

// Found is the answer to a [Query].
type Found struct {
	Session      *FoundSession
	ByID         *FoundUser
	ByEmail      *FoundUser
	ByAccount    *FoundUser
	Verification *VerificationToken
	CheckUsed    bool
	// Authenticator is the passkey asked for by Credential.
	Authenticator *Authenticator
	// TokenSession is the note of a token session, nil when there is none.
	// Revoked says that the session was ended for good.
	TokenSession *StoredSession
	Revoked      bool
	// Links are the expiries of the links stored for an address, expired ones
	// too, latest first, at most 100.
	Links []time.Time
}

// FoundUser is a user with the subject key the book knows them by; the key is
// zero when the book has not met them yet.
type FoundUser struct {
	User    User
	Subject record.Key
}

// FoundSession is a session row with its user.
type FoundSession struct {
	Session StoredSession
	FoundUser
}

// Act is one request's worth of change and the entries that tell of it.
type Act struct {
	// Writes are carried out in order. Entries are inserted after them. Both
	// may be empty, not at once.
	Writes  []Write
	Entries []record.Entry
	// InTx, when not nil, runs inside the transaction after the writes and
	// before the entries are inserted. An error rolls everything back and is
	// returned as it is. Adapters that are not on database/sql fail such an act
	// with an error that matches errors.ErrUnsupported.
	InTx func(ctx context.Context, tx *sql.Tx) error
	// Tx, when not nil, is the application's own transaction on the same
	// database: the act is carried out in it and not committed. The caller then
	// calls Book().Wake after its commit.
	Tx *sql.Tx
}

// Write is one change of state: one of the types below. Adapters switch on the
// type and refuse what they do not know.
type Write interface{ write() }

// CreateUser inserts a user with its subject key. It conflicts when the id or
// the e-mail address is taken.
type CreateUser struct {
	User    User
	Subject record.Key
}

// UpdateUser overwrites the named fields of a user with those of User. It
// conflicts when User.ID does not exist or a new e-mail address is taken.
type UpdateUser struct {
	User User
	// Fields are of name, email, emailVerified, image, or a key of User.Extra.
	// Without any nothing changes; the user must exist all the same.
	Fields []string
}

// DeleteUser deletes a user with all its accounts, sessions and authenticators
// and what is known of them; noted token sessions are revoked. It conflicts when
// the user does not exist. The subject key stays until the person is erased.
type DeleteUser struct{ ID string }

// AddSubject stores the key of a user that the book now meets. It conflicts
// when the user does not exist or has a key already.
type AddSubject struct {
	UserID  string
	Subject record.Key
}

// LinkAccount inserts an account; its Reply is not stored. It conflicts when
// the pair of provider and account id is taken or the user does not exist.
type LinkAccount struct{ Account Account }

// UnlinkAccount deletes an account. It conflicts when the user has no such
// account.
type UnlinkAccount struct {
	UserID string
	AccountKey
}

// KeepAccount changes nothing: it conflicts when, after the writes before it, the
// user has no account at one of Providers. An account of a passkey counts only
// while the passkey is there. Acts with a KeepAccount for one user come one after
// the other, so that of two that remove the user's last two accounts one
// conflicts.
type KeepAccount struct {
	UserID    string
	Providers []string
}

// CreateSession inserts a session: Token, UserID, Expires and what Gatebook
// keeps of it, which is nothing when it has no ID. It conflicts when the token is
// taken or the user does not exist.
type CreateSession struct{ Session StoredSession }

// AdoptSession notes of the session Session.Handle, which another program began,
// its ID and UserID. It conflicts when the session is gone or has an ID already,
// so that of all who meet it one tells of it.
type AdoptSession struct{ Session StoredSession }

// DeleteSession deletes the session of that handle. It conflicts when it is
// gone.
type DeleteSession struct{ Handle string }

// NoteSession notes a token session, so that it can be listed and its end
// outlives it: its ID, UserID, Begun, Expires, Provider and UserAgent. What was
// noted of that ID before is replaced. It conflicts when the session was revoked.
type NoteSession struct{ Session StoredSession }

// RevokeToken ends the token session of that sid, noted or not, and forgets what
// was noted of it. That it was revoked may be forgotten after Expires. It
// conflicts when the session was revoked before.
type RevokeToken struct {
	ID      string
	Expires time.Time
}

// CreateAuthenticator inserts a passkey. It conflicts when the credential id is
// taken or the user does not exist.
type CreateAuthenticator struct{ Authenticator Authenticator }

// CountAuthenticator moves a passkey's signature counter, and says whether the
// passkey is backed up now. It conflicts unless the counter is From, so that of
// two sign-ins with one signature only one is carried out.
type CountAuthenticator struct {
	CredentialID string
	From, To     uint32
	BackedUp     bool
}

// DeleteAuthenticator deletes a passkey. It conflicts when the user has no such
// passkey.
type DeleteAuthenticator struct{ UserID, CredentialID string }

// CreateVerificationToken inserts a magic link's row.
type CreateVerificationToken struct{ Token VerificationToken }

// UseVerificationToken deletes a magic link's row. It conflicts when the pair
// of identifier and hash is gone.
type UseVerificationToken struct{ Identifier, Hash string }

// UseCheck uses up a value that may be used once, such as a state, by its
// SHA-256. It conflicts when it was used before. The digest may be forgotten
// after Expires.
type UseCheck struct {
	Digest  [32]byte
	Expires time.Time
}

func (CreateUser) write()              {}
func (UpdateUser) write()              {}
func (DeleteUser) write()              {}
func (AddSubject) write()              {}
func (LinkAccount) write()             {}
func (UnlinkAccount) write()           {}
func (KeepAccount) write()             {}
func (CreateSession) write()           {}
func (AdoptSession) write()            {}
func (DeleteSession) write()           {}
func (NoteSession) write()             {}
func (RevokeToken) write()             {}
func (CreateAuthenticator) write()     {}
func (CountAuthenticator) write()      {}
func (DeleteAuthenticator) write()     {}
func (CreateVerificationToken) write() {}
func (UseVerificationToken) write()    {}
func (UseCheck) write()                {}
