package gatebooktest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/book"
)

func (s *Site) tell(e gatebook.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told = append(s.told, e)
}

// Events returns what handlers were told, in order, since the site began: by
// requests, by methods of Auth, and by Fire.
func (s *Site) Events() []gatebook.Event { return s.since(0) }

func (s *Site) since(n int) []gatebook.Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.told[n:])
}

// Last returns the last event of a kind that handlers were told of, and ends the
// test when there was none:
//
//	in := gatebooktest.Last[*gatebook.SignInEvent](site)
func Last[E gatebook.Event](s *Site) E {
	s.t.Helper()
	events := s.Events()
	for _, e := range slices.Backward(events) {
		if last, ok := e.(E); ok {
			return last
		}
	}
	var none E
	s.t.Fatalf("gatebooktest: there was no %T, but%s", none, list(events))
	return none
}

// Want fails the test unless the events since the last Want (or New) were these
// and no others, in this order, by type: "createUser", "signIn.failed". Without
// arguments nothing may have happened. Types session and handler.slow, which
// come with every request and on a slow machine, are left out unless one of the
// arguments names them.
func (s *Site) Want(types ...string) {
	s.t.Helper()
	s.mu.Lock()
	events := slices.Clone(s.told[s.seen:])
	s.seen = len(s.told)
	s.mu.Unlock()
	events = slices.DeleteFunc(events, func(e gatebook.Event) bool {
		typ := e.Meta().Type
		return (typ == "session" || typ == "handler.slow") && !slices.Contains(types, typ)
	})
	got := make([]string, len(events))
	for i, e := range events {
		got[i] = e.Meta().Type
	}
	if slices.Equal(got, types) {
		return
	}
	want := strings.Join(types, ", ")
	if want == "" {
		want = "nothing"
	}
	s.t.Errorf("gatebooktest: want %s; since the last Want there was%s", want, list(events))
}

// list describes events, a line each.
func list(events []gatebook.Event) string {
	if len(events) == 0 {
		return " nothing"
	}
	var b strings.Builder
	for _, e := range events {
		b.WriteString("\n\t" + describe(e))
	}
	return b.String()
}

// describe says of an event what helps to recognise it, and no secret.
func describe(e gatebook.Event) string {
	m := e.Meta()
	words := []string{m.Type}
	add := func(label, value string) {
		if value != "" {
			words = append(words, label+value)
		}
	}
	add("", m.Reason)
	if u := userOf(e); u != nil {
		add("of ", strings.TrimSpace(u.Email+" "+u.ID))
	} else {
		add("of ", m.Subject)
	}
	add("with ", m.Auth.Provider)
	switch e := e.(type) {
	case *gatebook.SignInFailedEvent:
		add("for ", e.Target)
	case *gatebook.UpdateUserEvent:
		add("of ", strings.Join(e.Changed, " and "))
	case *gatebook.HandlerFailedEvent:
		add("in ", e.Handler+" for "+e.Event)
		if e.Err != nil {
			add("", fmt.Sprintf("(%v)", e.Err)) // the test's own
		}
	case *gatebook.DefenceEvent:
		add("check ", e.Check+" "+e.Why)
	case *gatebook.TokensOmittedEvent:
		add("left out ", strings.Join(e.Fields, " and "))
	}
	return strings.Join(words, " ")
}

// userOf returns the user that an event's message names, or nil.
func userOf(e gatebook.Event) *gatebook.User {
	switch e := e.(type) {
	case *gatebook.SignInEvent:
		return e.User
	case *gatebook.CreateUserEvent:
		return e.User
	case *gatebook.UpdateUserEvent:
		return e.User
	case *gatebook.LinkAccountEvent:
		return e.User
	case *gatebook.SignInFailedEvent:
		return e.User
	case *gatebook.DeleteUserEvent:
		return e.User
	case *gatebook.UnlinkAccountEvent:
		return e.User
	case *gatebook.SessionRevokedEvent:
		return e.User
	case *gatebook.SessionExpiredEvent:
		return e.User
	case *gatebook.PasskeyEvent:
		return e.User
	case *gatebook.UserAdoptedEvent:
		return e.User
	case *gatebook.SessionAdoptedEvent:
		return e.User
	case *gatebook.TokensOmittedEvent:
		return e.User
	}
	return nil
}

// Entries numbers what waits and returns the newest 1,000 entries of the book,
// oldest first.
func (s *Site) Entries() []book.Entry {
	s.t.Helper()
	ctx := s.t.Context()
	if err := s.Auth.Book().Drain(ctx); err != nil {
		s.t.Fatalf("gatebooktest: number the entries: %v", err)
	}
	entries, err := s.Auth.Book().Read(ctx, book.Query{Limit: 1000, Reverse: true})
	if err != nil {
		s.t.Fatalf("gatebooktest: read the book: %v", err)
	}
	slices.Reverse(entries)
	return entries
}

// Fire calls the configured handlers for an event that need not have happened,
// as production does: each with a copy of its own, within its budget, recovered
// when it panics, Detached ones too, which are waited for. It returns what
// failed of them, joined; errors.Is finds what a handler returned. Nothing is
// written to the book.
//
// What is empty of ev's envelope is filled in: type, ids, time, outcome, the
// user of the message as subject and actor, its account's provider.
//
//	err := site.Fire(&gatebook.SignOutEvent{})
func (s *Site) Fire(ev gatebook.Event) error {
	s.t.Helper()
	fill(ev)
	if ev.Meta().Type == "" {
		s.t.Fatalf("gatebooktest: Fire: set the Type of a %T: several have that message", ev)
	}
	var errs []error
	for _, f := range s.events.Call(context.WithoutCancel(s.t.Context()), ev) {
		switch {
		case f.Type == "handler.slow":
		case f.Err == nil:
			errs = append(errs, fmt.Errorf("handler %s of %s: %s", f.Handler, f.Event, f.Reason))
		default:
			errs = append(errs, fmt.Errorf("handler %s of %s: %s: %w", f.Handler, f.Event, f.Reason, f.Err))
		}
	}
	return errors.Join(errs...)
}

// fill completes the envelope of an event that a test made up.
func fill(ev gatebook.Event) {
	m := ev.Meta()
	set := func(field *string, value string) {
		if *field == "" {
			*field = value
		}
	}
	set(&m.Type, typeOf(ev))
	set(&m.ID, uuid.Must(uuid.NewV7()).String())
	set(&m.Act, uuid.Must(uuid.NewV7()).String())
	if _, adopted := strings.CutSuffix(m.Type, ".adopted"); adopted { // another program's deed
		set(&m.Source, "foreign")
		set(&m.Initiator, "system")
		if m.Actor == (gatebook.Actor{}) {
			m.Actor = gatebook.Actor{Type: "system"}
		}
	}
	set(&m.Source, "gatebook")
	set(&m.Initiator, "user")
	if m.Version == 0 {
		m.Version = 1
	}
	if m.Time.IsZero() {
		m.Time = time.Now().UTC().Truncate(time.Millisecond)
	}
	if u := userOf(ev); u != nil {
		set(&m.Subject, u.ID)
	}
	set(&m.Outcome, outcomeOf(ev))
	if m.Actor == (gatebook.Actor{}) {
		m.Actor = gatebook.Actor{Type: "unauthenticated"}
		if m.Subject != "" && m.Outcome == "success" {
			m.Actor = gatebook.Actor{Type: "user", ID: m.Subject}
		}
	}
	if !m.Request.IP.IsValid() {
		m.Request.IP, m.Request.IPSource = netip.AddrFrom4([4]byte{127, 0, 0, 1}), "connection"
	}
	if a := accountOf(ev); a != nil {
		set(&m.Auth.Provider, a.Provider)
		set(&m.Auth.Method, a.Type)
	}
}

func outcomeOf(ev gatebook.Event) string {
	switch e := ev.(type) {
	case *gatebook.SignInFailedEvent, *gatebook.HandlerFailedEvent, *gatebook.SessionInvalidEvent, *gatebook.DefenceEvent:
		return "failure"
	case *gatebook.PasskeyEvent:
		if e.Type == "passkey.cloneWarning" {
			return "failure"
		}
	}
	return "success"
}

func accountOf(ev gatebook.Event) *gatebook.Account {
	switch e := ev.(type) {
	case *gatebook.SignInEvent:
		return e.Account
	case *gatebook.LinkAccountEvent:
		return e.Account
	case *gatebook.UnlinkAccountEvent:
		return e.Account
	case *gatebook.TokensOmittedEvent:
		return e.Account
	}
	return nil
}

// typeOf returns the type that a message belongs to, or "" when several have it.
func typeOf(ev gatebook.Event) string {
	switch ev.(type) {
	case *gatebook.SignInEvent:
		return "signIn"
	case *gatebook.SignOutEvent:
		return "signOut"
	case *gatebook.CreateUserEvent:
		return "createUser"
	case *gatebook.UpdateUserEvent:
		return "updateUser"
	case *gatebook.LinkAccountEvent:
		return "linkAccount"
	case *gatebook.SessionEvent:
		return "session"
	case *gatebook.SignInFailedEvent:
		return "signIn.failed"
	case *gatebook.HandlerFailedEvent:
		return "handler.failed"
	case *gatebook.DeleteUserEvent:
		return "deleteUser"
	case *gatebook.UnlinkAccountEvent:
		return "unlinkAccount"
	case *gatebook.SessionRevokedEvent:
		return "session.revoked"
	case *gatebook.SessionExpiredEvent:
		return "session.expired"
	case *gatebook.SessionInvalidEvent:
		return "session.invalid"
	case *gatebook.UserAdoptedEvent:
		return "user.adopted"
	case *gatebook.SessionAdoptedEvent:
		return "session.adopted"
	case *gatebook.TokensOmittedEvent:
		return "account.tokensOmitted"
	}
	return ""
}
