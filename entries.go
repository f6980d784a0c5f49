package gatebook

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/gatebook/gatebook/book"
	"github.com/gatebook/gatebook/record"
)

// keys are the subject keys of an event: of the person it is about and of the
// person who acted, zero when nobody is known.
type keys struct{ subject, actor record.Key }

// told is an event together with the keys it is recorded under.
type told struct {
	ev Event
	keys
}

// recorder turns the events of one act into entries. Its zero position counts
// on over the act's two commits.
type recorder struct {
	a       *Auth
	id      string
	now     time.Time
	source  string
	actor   Actor
	request RequestInfo
	auth    AuthInfo
	pos     int
	cause   string
}

// newRecorder begins an act of a visitor; they are unauthenticated until the
// caller says otherwise.
func (a *Auth) newRecorder(v *visit) *recorder {
	r := &recorder{a: a, id: newID(), now: v.now, source: record.SourceGatebook,
		actor: Actor{Type: record.ActorUnauthenticated}, request: a.request(v)}
	if v.own {
		r.source = record.SourceApp
	}
	return r
}

// systemRecorder begins an act that nobody asked for.
func (a *Auth) systemRecorder() *recorder {
	return &recorder{a: a, id: newID(), now: cut(a.now()), source: record.SourceGatebook, actor: Actor{Type: record.ActorSystem}}
}

// envelope returns the envelope of the act's next event.
func (r *recorder) envelope(typ string) Envelope {
	initiator := "user"
	if r.actor.Type == record.ActorSystem || r.actor.Type == record.ActorApp {
		initiator = "system"
	}
	e := Envelope{ID: newID(), Type: typ, Version: 1, Time: r.now, Act: r.id, Position: r.pos, Cause: r.cause,
		Source: r.source, Outcome: record.Success, Actor: r.actor, Initiator: initiator,
		Request: r.request, Auth: r.auth}
	r.pos++
	return e
}

// failure returns the envelope of an event that tells of a failure.
func (r *recorder) failure(typ, reason string) Envelope {
	e := r.envelope(typ)
	e.Outcome, e.Reason = record.Failure, reason
	return e
}

// entries seals events for the outbox.
func (a *Auth) entries(ctx context.Context, events []told) ([]record.Entry, error) {
	if len(events) == 0 {
		return nil, nil
	}
	id, err := a.bookKeys(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]record.Entry, len(events))
	for i, t := range events {
		if out[i], err = seal(&id.Identity, t); err != nil {
			return nil, fmt.Errorf("make the entry of %s: %w", t.ev.Meta().Type, err)
		}
	}
	return out, nil
}

// draft collects the parts of an entry.
type draft struct {
	id     *book.Identity
	keys   keys
	blocks []record.Block
	terms  []record.Term
	err    error
}

func (d *draft) block(class string, key record.Key, payload any) {
	b, err := record.NewBlock(class, key, payload)
	if err != nil && d.err == nil {
		d.err = err
	}
	d.blocks = append(d.blocks, b)
}

// term adds a search term; every value is found under the form it is shown in.
func (d *draft) term(kind, value string) {
	if value != "" {
		d.terms = append(d.terms, record.NewTerm(d.id.SearchKey, kind, value))
	}
}

// seal makes an event's entry: named fields only, nothing else of the message.
func seal(id *book.Identity, t told) (record.Entry, error) {
	m := t.ev.Meta()
	d := &draft{id: id, keys: t.keys}
	h := record.Header{
		Book: id.ID, ID: m.ID, Type: m.Type, TypeVersion: m.Version, Source: m.Source, Time: m.Time,
		Act: m.Act, Position: m.Position, Cause: m.Cause, Outcome: m.Outcome, Reason: m.Reason,
		Provider: m.Auth.Provider, Method: m.Auth.Method, ActorType: m.Actor.Type, Actor: t.actor,
		Initiator: m.Initiator, Subject: t.subject,
	}
	d.identity(t.ev)
	if m.Request.IPSource != "" {
		d.request(m)
	}
	if d.err != nil {
		return record.Entry{}, d.err
	}
	return record.New(h, d.blocks, d.terms)
}

// identity adds the blocks that are the event type's own.
func (d *draft) identity(ev Event) {
	m := ev.Meta()
	key := d.keys.subject
	switch e := ev.(type) {
	case *SignInEvent:
		p := record.SignIn{User: d.person(e.User), Session: m.Session, Strategy: e.strategy, IsNewUser: e.IsNewUser,
			Account: d.account(e.Account), Assurance: assurance(m.Auth)}
		d.term(record.TermSession, m.Session)
		d.block(record.ClassIdentity, key, p)
	case *SignOutEvent:
		p := record.SignOut{User: record.Person{ID: m.Subject}, Session: m.Session}
		p.Strategy = StrategyDatabase
		if e.Token != nil {
			p.Strategy = StrategyJWT
		}
		d.term(record.TermUser, p.User.ID)
		d.term(record.TermSession, m.Session)
		d.block(record.ClassIdentity, key, p)
	case *CreateUserEvent:
		d.userChange(e.User, nil)
	case *UpdateUserEvent:
		d.userChange(e.User, e.Changed)
	case *DeleteUserEvent:
		d.userChange(e.User, nil)
	case *LinkAccountEvent:
		d.accountChange(e.User, e.Account)
	case *UnlinkAccountEvent:
		d.accountChange(e.User, e.Account)
	case *SignInFailedEvent:
		p := record.SignInFailed{Target: e.Target}
		if e.User != nil {
			p.User = new(d.person(e.User))
		}
		if e.Account != nil {
			p.Account = d.account(&Account{Provider: e.Account.Provider, ProviderAccountID: e.Account.ProviderAccountID, Type: m.Auth.Method})
		}
		if e.User == nil || !strings.EqualFold(e.User.Email, p.Target) {
			d.term(record.TermEmail, p.Target)
		}
		if p.User != nil || p.Target != "" || p.Account != nil {
			d.block(record.ClassIdentity, key, p)
		}
	case *SessionRevokedEvent:
		d.sessionEnd(e.User, record.SessionEnd{Session: m.Session, Strategy: e.strategy, Scope: e.Scope, Count: e.Count, Why: e.why})
	case *SessionExpiredEvent:
		d.sessionEnd(e.User, record.SessionEnd{Session: m.Session, Strategy: e.strategy, Scope: "one", Count: 1})
	case *UserAdoptedEvent:
		d.userChange(e.User, nil)
	case *SessionAdoptedEvent:
		p := record.SessionAdopted{User: d.person(e.User), Session: m.Session, Strategy: StrategyDatabase}
		if e.Token != nil {
			p.Strategy = StrategyJWT
		}
		d.term(record.TermSession, m.Session)
		d.block(record.ClassIdentity, key, p)
	case *TokensOmittedEvent:
		p := record.TokensOmitted{User: d.person(e.User), Account: *d.account(e.Account), Fields: e.Fields}
		d.block(record.ClassIdentity, key, p)
	case *SessionInvalidEvent:
	case *sessionUse:
		p := e.payload
		p.User = d.person(&e.user)
		d.term(record.TermSession, p.Session)
		d.block(record.ClassIdentity, key, p)
	case *PasskeyEvent:
		d.passkey(e)
	case *DefenceEvent:
		d.block(record.ClassDetail, record.Key{}, record.Defence{Check: e.Check, Why: e.Why})
	case *repeated:
		if m.Type == record.TypeHandlerFailed || m.Type == record.TypeHandlerSlow {
			d.block(record.ClassDetail, record.Key{}, record.Handler{Handler: e.check, Event: record.TypeSession, Count: e.count})
			return
		}
		d.block(record.ClassDetail, record.Key{}, record.Defence{Check: e.check, Why: e.why, Count: e.count})
	case *HandlerFailedEvent:
		d.block(record.ClassDetail, record.Key{}, record.Handler{
			Handler: e.Handler, Event: e.Event, EventID: e.EventID,
			ErrorType:  errorType(e.Err),
			DurationMS: e.Duration.Milliseconds(), BudgetMS: e.budget.Milliseconds(),
		})
	default:
		d.err = fmt.Errorf("no payload for %T", ev)
	}
}

func (d *draft) userChange(u *User, changed []string) {
	p := record.UserChange{User: d.person(u), Changed: changed}
	d.block(record.ClassIdentity, d.keys.subject, p)
}

func (d *draft) accountChange(u *User, acc *Account) {
	p := record.AccountChange{User: d.person(u), Account: *d.account(acc)}
	d.block(record.ClassIdentity, d.keys.subject, p)
}

func (d *draft) passkey(e *PasskeyEvent) {
	k := e.Passkey
	id, _ := base64.StdEncoding.DecodeString(k.CredentialID)
	sum := sha256.Sum256(id)
	p := record.Passkey{User: d.person(e.User), CredentialIDHash: hex.EncodeToString(sum[:]), AAGUID: e.AAGUID,
		Transports: k.Transports[:min(len(k.Transports), 16)], DeviceBound: k.DeviceType == DeviceSingle, BackedUp: k.BackedUp}
	if e.Type == record.TypePasskeyCloneWarning {
		p.Stored, p.Received = new(k.Counter), new(e.Received)
	}
	d.term(record.TermAccount, e.Auth.Provider+"\x00"+k.ProviderAccountID)
	d.block(record.ClassIdentity, d.keys.subject, p)
}

func (d *draft) sessionEnd(u *User, p record.SessionEnd) {
	p.User = d.person(u)
	d.term(record.TermSession, p.Session)
	d.block(record.ClassIdentity, d.keys.subject, p)
}

func (d *draft) person(u *User) record.Person {
	if u == nil {
		return record.Person{}
	}
	p := record.Person{ID: u.ID, Email: u.Email,
		Name: u.Name}
	d.term(record.TermUser, p.ID)
	d.term(record.TermEmail, p.Email)
	return p
}

func (d *draft) account(acc *Account) *record.LinkedAccount {
	if acc == nil {
		return nil
	}
	l := &record.LinkedAccount{Provider: acc.Provider, Type: acc.Type, ID: acc.ProviderAccountID}
	if l.ID != "" {
		d.term(record.TermAccount, l.Provider+"\x00"+l.ID)
	}
	return l
}

func assurance(i AuthInfo) *record.Assurance {
	if len(i.AMR) == 0 && i.ACR == "" && i.AuthTime.IsZero() {
		return nil
	}
	s := &record.Assurance{AMR: i.AMR[:min(len(i.AMR), 16)], ACR: i.ACR}
	if !i.AuthTime.IsZero() {
		s.AuthTime = new(i.AuthTime.UTC())
	}
	return s
}

// request adds the request's block: the actor's when somebody authenticated
// acted, else the subject's.
func (d *draft) request(m *Envelope) {
	key := d.keys.actor
	if key.IsZero() {
		key = d.keys.subject
	}
	p := record.Request{IPSource: m.Request.IPSource,
		UserAgent: m.Request.UserAgent,
		Method:    m.Request.Method,
		Route:     m.Request.Route,
		Origin:    m.Request.Origin}
	if m.Request.IP.IsValid() {
		p.IP = m.Request.IP.String()
		d.term(record.TermIP, p.IP)
	}
	d.block(record.ClassRequest, key, p)
}

// recordHandlers writes what went wrong with handlers in a commit of its own.
func (a *Auth) recordHandlers(ctx context.Context, failures []*HandlerFailedEvent) {
	events := make([]told, 0, len(failures))
	for _, e := range failures {
		if e.Event == record.TypeSession && !a.counts.first(repeatKey{typ: e.Type, reason: e.Reason, check: e.Handler}, a.now(), e) {
			continue // the session event comes with every request; the rest is counted
		}
		events = append(events, told{ev: e})
	}
	if len(events) == 0 {
		return
	}
	if err := a.write(ctx, change{events: events}); err != nil {
		a.log.Error("record failed handlers", "count", len(events), "error", err.Error())
	}
}

// InTx is a set of handlers that run inside the transaction of an act, after
// its writes. An error undoes the act: the visitor gets an error page and
// nothing is recorded of it. They cost round trips while rows are locked, must
// not call Auth (that fails), and are told of nothing when there is no adapter.
// With token sessions createUser, updateUser and linkAccount are told of in the
// first commit and signIn in the second.
type InTx struct {
	SignIn      func(context.Context, *sql.Tx, *SignInEvent) error
	SignOut     func(context.Context, *sql.Tx, *SignOutEvent) error
	CreateUser  func(context.Context, *sql.Tx, *CreateUserEvent) error
	UpdateUser  func(context.Context, *sql.Tx, *UpdateUserEvent) error
	LinkAccount func(context.Context, *sql.Tx, *LinkAccountEvent) error
	DeleteUser  func(context.Context, *sql.Tx, *DeleteUserEvent) error
}

type inTxKey struct{}

var errInTx = fmt.Errorf("gatebook: an act was begun inside an InTx handler; do that after the commit, in Events")

// inTx returns what an act with these events runs inside its transaction, or
// nil.
func (a *Auth) inTx(events []told) func(context.Context, *sql.Tx) error {
	h := &a.cfg.InTx
	var calls []func(context.Context, *sql.Tx) error
	for _, t := range events {
		switch e := t.ev.(type) {
		case *SignInEvent:
			calls = addInTx(calls, h.SignIn, e)
		case *SignOutEvent:
			calls = addInTx(calls, h.SignOut, e)
		case *CreateUserEvent:
			calls = addInTx(calls, h.CreateUser, e)
		case *UpdateUserEvent:
			calls = addInTx(calls, h.UpdateUser, e)
		case *LinkAccountEvent:
			calls = addInTx(calls, h.LinkAccount, e)
		case *DeleteUserEvent:
			calls = addInTx(calls, h.DeleteUser, e)
		}
	}
	if len(calls) == 0 {
		return nil
	}
	return func(ctx context.Context, tx *sql.Tx) error {
		ctx = context.WithValue(ctx, inTxKey{}, true)
		for _, call := range calls {
			if err := call(ctx, tx); err != nil {
				return &inTxError{err}
			}
		}
		return nil
	}
}

// inTxError is what an InTx handler returned or panicked with.
type inTxError struct{ err error }

// Error gives the error's type, not its text, which may hold secrets.
func (e *inTxError) Error() string { return "gatebook: an InTx handler failed: " + errorType(e.err) }

func (e *inTxError) Unwrap() error { return e.err }

func addInTx[E Event](calls []func(context.Context, *sql.Tx) error, fn func(context.Context, *sql.Tx, E) error, ev E) []func(context.Context, *sql.Tx) error {
	if fn == nil {
		return calls
	}
	return append(calls, func(ctx context.Context, tx *sql.Tx) (err error) {
		defer func() {
			if v := recover(); v != nil {
				err = panicError(v)
			}
		}()
		return fn(ctx, tx, ev.copy().(E))
	})
}
