package gatebook

import (
	"context"
	"net/netip"
	"slices"
	"time"
)

// Event is what a handler for [Events.Any] gets: a pointer to one of this
// package's …Event structs. Use a type switch.
type Event interface {
	// Meta returns the event's envelope.
	Meta() *Envelope
	copy() Event
}

// Envelope is what every event carries beside its own message. The same values
// are recorded in the book, under the same ID.
type Envelope struct {
	// ID is a UUID version 7, Type a name such as "signIn", and Version the
	// version of the type's payload.
	ID      string
	Type    string
	Version int
	// Time is when it happened, UTC, in milliseconds.
	Time time.Time
	// Act is shared by the events of one request's act; Position counts them
	// from 0.
	Act      string
	Position int
	// Cause is the ID of the event that brought this one about, or empty.
	Cause string
	// Source is gatebook (over HTTP), app (through a method of Auth), authjs, or
	// foreign (another program did it, and it was met only now).
	Source string
	// Outcome is success or failure, Reason a code of package record.
	Outcome string
	Reason  string
	// Actor is who did it: an authenticated user, somebody unauthenticated, the
	// application or the system.
	Actor Actor
	// Initiator says on whose behalf: user or system.
	Initiator string
	// Subject is the id of the user the event is about, or empty.
	Subject string
	// Session is the sid of the session concerned, or empty.
	Session string
	Request RequestInfo
	Auth    AuthInfo
}

// Meta returns e.
func (e *Envelope) Meta() *Envelope { return e }

// Actor is who acted.
type Actor struct {
	// Type is user, unauthenticated, app or system.
	Type string
	// ID is the user's id when Type is user.
	ID string
}

// RequestInfo tells from where a request came.
type RequestInfo struct {
	// IP is the client's address: that of the connection, or the one that a
	// trusted proxy gave. IPSource is "connection" or the proxy's header.
	IP        netip.Addr
	IPSource  string
	UserAgent string
	Method    string
	// Route is the route under the base path, such as "callback/github", or
	// empty outside it.
	Route  string
	Origin string
}

// AuthInfo tells how somebody authenticated.
type AuthInfo struct {
	// Provider is the provider's id and Method its type.
	Provider string
	Method   string
	// AMR, ACR and AuthTime are the ID token's claims of those names.
	AMR      []string
	ACR      string
	AuthTime time.Time
}

// SignInEvent is sent on a successful sign-in, after everything else about it.
type SignInEvent struct {
	Envelope
	// User is the adapter's user; the provider's for credentials and where
	// there is no adapter.
	User *User
	// Account is the provider's, with the whole token reply.
	Account *Account
	// Profile is the provider's raw profile; nil for credentials, e-mail and
	// passkeys.
	Profile *Claims
	// IsNewUser is true when the sign-in made the user, nil for credentials and
	// without an adapter.
	IsNewUser *bool

	strategy string
}

// SignOutEvent is sent when the user signs out: with Token for token sessions,
// with Session, the row that ended, for database sessions.
type SignOutEvent struct {
	Envelope
	Token   *Claims
	Session *StoredSession
}

// CreateUserEvent is sent when the adapter created a user, and only then.
type CreateUserEvent struct {
	Envelope
	User *User
	// SignInInfo tells of the sign-in that made the user; nil when the
	// application called CreateUser.
	SignInInfo *SignInInfo
}

// SignInInfo is how a new user came.
type SignInInfo struct {
	Provider string
	Account  *Account
	Profile  *Claims
}

// UpdateUserEvent is sent when the adapter updated a user: at every e-mail
// sign-in of a known user, which verifies the address, and by UpdateUser.
type UpdateUserEvent struct {
	Envelope
	User *User
	// Changed names the fields that were written.
	Changed []string
}

// LinkAccountEvent is sent when an account was linked to a user: at first
// sign-up with a provider, when a signed-in user adds one, and by LinkAccount.
type LinkAccountEvent struct {
	Envelope
	// User is the adapter's user, Account the provider's account, and Profile
	// the mapped profile (nil when the application called LinkAccount).
	User    *User
	Account *Account
	Profile *User
}

// SessionEvent is sent at the end of a request for the current session: with
// Token for token sessions, with Session, the adapter's row, for database
// sessions. Result is the session callback's output. It is recorded in batches,
// with counts, not under Envelope.ID.
type SessionEvent struct {
	Envelope
	Token   *Claims
	Session *StoredSession
	Result  *Claims
}

// SignInFailedEvent is sent for every refused attempt; Envelope.Reason says
// why. The visitor was told less.
type SignInFailedEvent struct {
	Envelope
	// User is the known user whose address or account was claimed, or nil.
	User *User
	// Target is the address or name that was claimed, not who acted.
	Target string
	// Account is the account at the provider, when it was proved.
	Account *AccountKey
}

// HandlerFailedEvent is sent when a handler failed: it returned an error,
// panicked, ran out of time, or was skipped because too many of its calls hang.
type HandlerFailedEvent struct {
	Envelope
	// Handler is the field of Events, and Event and EventID the event it was
	// called for.
	Handler string
	Event   string
	EventID string
	// Err is what the handler returned or panicked with, as it is: it may hold
	// secrets and is neither logged nor recorded by Gatebook.
	Err      error
	Duration time.Duration

	budget time.Duration
}

// DeleteUserEvent is sent when DeleteUser deleted a user.
type DeleteUserEvent struct {
	Envelope
	User *User
}

// UnlinkAccountEvent is sent when an account was removed, by UnlinkAccount or on
// the account routes.
type UnlinkAccountEvent struct {
	Envelope
	User    *User
	Account *Account
}

// SessionRevokedEvent is sent when sessions were ended by the application, by
// their user from another, or because somebody else signed in with the same
// browser.
type SessionRevokedEvent struct {
	Envelope
	User *User
	// Scope is one, others (all but the one that asked) or all, and Count how
	// many sessions ended. Envelope.Session is set when it is one.
	Scope string
	Count int

	strategy string
	why      string
}

// What ended a session that was revoked.
const (
	whyApp       = "app"
	whyUser      = "user"
	whyOtherUser = "otherUser"
)

// SessionExpiredEvent is sent when a session was found to have run out, by a
// request or by the housekeeping, and its row was removed.
type SessionExpiredEvent struct {
	Envelope
	User *User

	strategy string
}

// UserAdoptedEvent is sent when a user that another program made is first met,
// before anything else is told of them. When and how they came is not known.
type UserAdoptedEvent struct {
	Envelope
	User *User
}

// SessionAdoptedEvent is sent when a session that another program began is first
// met, before it is renewed, used or ended: with Token for token sessions, with
// Session, the row, for database sessions. When and how it began is not known;
// Envelope.Session is the sid that it has from now on.
type SessionAdoptedEvent struct {
	Envelope
	User    *User
	Token   *Claims
	Session *StoredSession
}

// TokensOmittedEvent is sent when tokens of a linked account were not stored,
// because the database cannot hold them.
type TokensOmittedEvent struct {
	Envelope
	User *User
	// Account is the account with all its tokens: this is the only place where
	// those that were left out can be had.
	Account *Account
	// Fields names what was left out, as in RFC 6749, Section 5.1, such as
	// access_token.
	Fields []string
}

// SessionInvalidEvent is sent when a session cookie or bearer token could not
// be read. Repetitions from one network within five minutes are only counted.
type SessionInvalidEvent struct{ Envelope }

// DefenceEvent is sent for csrf.rejected, check.failed, replay.detected,
// redirect.rejected and host.untrusted. Repetitions of redirect.rejected,
// host.untrusted and csrf.rejected outside a sign-in from one network within
// five minutes are only counted.
type DefenceEvent struct {
	Envelope
	// Check is state, nonce, pkce, iss, aud, csrf, callbackUrl, host,
	// verificationToken, …
	Check string
	// Why is missing, mismatch, expired, used or forbidden.
	Why string
}

// PasskeyEvent is sent for passkey.added, passkey.removed and
// passkey.cloneWarning. The last is a sign-in that was refused because the
// signature counter did not go up: the passkey may exist twice.
type PasskeyEvent struct {
	Envelope
	// User owns the passkey.
	User    *User
	Passkey *Authenticator
	// AAGUID is the model that the authenticator said it is, when the passkey
	// was added.
	AAGUID string
	// Received is the counter that came, for a clone warning; Passkey.Counter is
	// the stored one.
	Received uint32
}

// clone returns a copy that shares nothing with e.
func (e Envelope) clone() Envelope {
	e.Auth.AMR = slices.Clone(e.Auth.AMR)
	return e
}

func (e *SignInEvent) copy() Event {
	c := *e
	c.Envelope = e.Envelope.clone()
	c.User, c.Account, c.Profile = e.User.clone(), e.Account.clone(), e.Profile.clone()
	if e.IsNewUser != nil {
		c.IsNewUser = new(*e.IsNewUser)
	}
	return &c
}

func (e *SignOutEvent) copy() Event {
	c := *e
	c.Envelope = e.Envelope.clone()
	c.Token, c.Session = e.Token.clone(), e.Session.clone()
	return &c
}

func (e *CreateUserEvent) copy() Event {
	c := *e
	c.Envelope = e.Envelope.clone()
	c.User = e.User.clone()
	if i := e.SignInInfo; i != nil {
		c.SignInInfo = &SignInInfo{i.Provider, i.Account.clone(), i.Profile.clone()}
	}
	return &c
}

func (e *UpdateUserEvent) copy() Event {
	c := *e
	c.Envelope = e.Envelope.clone()
	c.User, c.Changed = e.User.clone(), slices.Clone(e.Changed)
	return &c
}

func (e *LinkAccountEvent) copy() Event {
	c := *e
	c.Envelope = e.Envelope.clone()
	c.User, c.Account, c.Profile = e.User.clone(), e.Account.clone(), e.Profile.clone()
	return &c
}

func (e *SessionEvent) copy() Event {
	c := *e
	c.Envelope = e.Envelope.clone()
	c.Token, c.Session, c.Result = e.Token.clone(), e.Session.clone(), e.Result.clone()
	return &c
}

func (e *SignInFailedEvent) copy() Event {
	c := *e
	c.Envelope = e.Envelope.clone()
	c.User = e.User.clone()
	if e.Account != nil {
		c.Account = new(*e.Account)
	}
	return &c
}

func (e *HandlerFailedEvent) copy() Event {
	c := *e
	c.Envelope = e.Envelope.clone()
	return &c
}

func (e *DeleteUserEvent) copy() Event {
	c := *e
	c.Envelope = e.Envelope.clone()
	c.User = e.User.clone()
	return &c
}

func (e *UnlinkAccountEvent) copy() Event {
	c := *e
	c.Envelope = e.Envelope.clone()
	c.User, c.Account = e.User.clone(), e.Account.clone()
	return &c
}

func (e *SessionRevokedEvent) copy() Event {
	c := *e
	c.Envelope = e.Envelope.clone()
	c.User = e.User.clone()
	return &c
}

func (e *SessionExpiredEvent) copy() Event {
	c := *e
	c.Envelope = e.Envelope.clone()
	c.User = e.User.clone()
	return &c
}

func (e *UserAdoptedEvent) copy() Event {
	c := *e
	c.Envelope = e.Envelope.clone()
	c.User = e.User.clone()
	return &c
}

func (e *SessionAdoptedEvent) copy() Event {
	c := *e
	c.Envelope = e.Envelope.clone()
	c.User, c.Token, c.Session = e.User.clone(), e.Token.clone(), e.Session.clone()
	return &c
}

func (e *TokensOmittedEvent) copy() Event {
	c := *e
	c.Envelope = e.Envelope.clone()
	c.User, c.Account, c.Fields = e.User.clone(), e.Account.clone(), slices.Clone(e.Fields)
	return &c
}

func (e *PasskeyEvent) copy() Event {
	c := *e
	c.Envelope = e.Envelope.clone()
	c.User, c.Passkey = e.User.clone(), e.Passkey.clone()
	return &c
}

func (e *SessionInvalidEvent) copy() Event { return &SessionInvalidEvent{e.Envelope.clone()} }

func (e *DefenceEvent) copy() Event {
	c := *e
	c.Envelope = e.Envelope.clone()
	return &c
}

// Events is a set of handlers. A handler is called after the change it is told
// of is committed and before the response; the request waits for it, so work
// that takes long belongs into [Detached] or a subscription. It has 5 seconds;
// its context ends then, and not when the visitor hangs up. The request waits for
// all its handlers together for at most 10 seconds; what is left then runs
// without it, in the same order. It answers nothing to the visitor: an error or a
// panic is logged by its type, recorded as handler.failed, and changes nothing
// else. Each call gets a copy of its own. A handler runs at most once for an
// event: one that must not be missed is read from the book.
//
// Of one request the handlers run in the order createUser, updateUser,
// linkAccount, signIn.
type Events struct {
	SignIn      func(context.Context, *SignInEvent) error
	SignOut     func(context.Context, *SignOutEvent) error
	CreateUser  func(context.Context, *CreateUserEvent) error
	UpdateUser  func(context.Context, *UpdateUserEvent) error
	LinkAccount func(context.Context, *LinkAccountEvent) error
	Session     func(context.Context, *SessionEvent) error
	// SignInFailed is called for every refused attempt.
	SignInFailed func(context.Context, *SignInFailedEvent) error
	// HandlerFailed is called when a handler failed; when it fails itself that
	// is logged and recorded only.
	HandlerFailed func(context.Context, *HandlerFailedEvent) error
	// Any is called for every event but the handler.* ones, after the event's
	// own handler.
	Any func(context.Context, Event) error

	sets []Events
}

// JoinEvents returns a set that runs all the given ones, in order. A handler
// that fails does not stop the next; each has its own budget and copy.
func JoinEvents(sets ...Events) Events {
	var joined Events
	for _, s := range sets {
		joined.sets = append(joined.sets, s.flatten()...)
	}
	return joined
}

// flatten returns the sets of e, its own fields first.
func (e Events) flatten() []Events {
	inner := e.sets
	e.sets = nil
	var all []Events
	if e.SignIn != nil || e.SignOut != nil || e.CreateUser != nil || e.UpdateUser != nil ||
		e.LinkAccount != nil || e.Session != nil || e.SignInFailed != nil ||
		e.HandlerFailed != nil || e.Any != nil {
		all = append(all, e)
	}
	return append(all, inner...)
}

// handler returns the set's own handler for ev as a function of Event, with the
// name of its field, or nil.
func (e *Events) handler(ev Event) (string, func(context.Context, Event) error) {
	switch ev.(type) {
	case *SignInEvent:
		return "SignIn", adapt(e.SignIn)
	case *SignOutEvent:
		return "SignOut", adapt(e.SignOut)
	case *CreateUserEvent:
		return "CreateUser", adapt(e.CreateUser)
	case *UpdateUserEvent:
		return "UpdateUser", adapt(e.UpdateUser)
	case *LinkAccountEvent:
		return "LinkAccount", adapt(e.LinkAccount)
	case *SessionEvent:
		return "Session", adapt(e.Session)
	case *SignInFailedEvent:
		return "SignInFailed", adapt(e.SignInFailed)
	case *HandlerFailedEvent:
		return "HandlerFailed", adapt(e.HandlerFailed)
	}
	return "", nil
}

func adapt[E Event](fn func(context.Context, E) error) func(context.Context, Event) error {
	if fn == nil {
		return nil
	}
	return func(ctx context.Context, ev Event) error { return fn(ctx, ev.(E)) }
}
