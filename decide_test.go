package gatebook_test

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/record"
)

// stage is a site with two people and a browser, in which one of the people may
// be signed in.
type stage struct {
	*wire
	b          *browser
	ada, grace *gatebook.User
	database   bool
	sid        string // of the session in the browser, if there is one
}

func newStage(t *testing.T, strategy string, change func(*site, *gatebook.Config)) *stage {
	t.Helper()
	st := &stage{database: strategy == gatebook.StrategyDatabase}
	st.wire = newWire(t, func(s *site, c *gatebook.Config) {
		c.Session.Strategy = strategy
		if change != nil {
			change(s, c)
		}
	})
	st.b = newBrowser(st.site)
	st.ada, st.grace = st.user("ada"), st.user("grace")
	return st
}

// user makes a user who can sign in at the provider called second.
func (st *stage) user(name string) *gatebook.User {
	st.t.Helper()
	u, err := st.auth.CreateUser(context.Background(), gatebook.User{Name: name, Email: name + "@example.com"})
	if err != nil {
		st.t.Fatal(err)
	}
	st.link(u, "second", "second-"+name)
	return u
}

func (st *stage) link(u *gatebook.User, provider, id string) {
	st.t.Helper()
	acc := gatebook.Account{UserID: u.ID, Type: gatebook.TypeOIDC, Provider: provider, ProviderAccountID: id}
	if err := st.auth.LinkAccount(context.Background(), acc); err != nil {
		st.t.Fatal(err)
	}
}

// signedIn signs u in in the browser.
func (st *stage) signedIn(u *gatebook.User) {
	st.t.Helper()
	st.second.prove("second-"+u.Name, u.Email, true)
	st.heard.reset()
	st.b.get(st.b.back("second", st.b.begin("second")))
	ev := st.signIn()
	if ev == nil || ev.User.ID != u.ID {
		st.t.Fatalf("signing %s in did not work: %v, %v", u.Name, st.heard.types(), st.lines.all())
	}
	st.sid = ev.Session
}

// signIn is the signIn event that was heard last.
func (st *stage) signIn() *gatebook.SignInEvent {
	var last *gatebook.SignInEvent
	for _, ev := range st.heard.all() {
		if e, ok := ev.(*gatebook.SignInEvent); ok {
			last = e
		}
	}
	return last
}

// failed is the one signIn.failed that was heard.
func (w *wire) failed() *gatebook.SignInFailedEvent {
	w.t.Helper()
	var found []*gatebook.SignInFailedEvent
	for _, ev := range w.heard.all() {
		if e, ok := ev.(*gatebook.SignInFailedEvent); ok {
			found = append(found, e)
		}
	}
	if len(found) != 1 {
		w.t.Fatalf("%d signIn.failed, want 1: %v", len(found), w.heard.types())
	}
	return found[0]
}

// magicLink asks for a link in a browser of its own and returns its path.
func (w *wire) magicLink(address, callback string) string {
	w.t.Helper()
	a := newBrowser(w.site).post("/auth/signin/email", url.Values{"email": {address}, "callbackUrl": {callback}})
	if !strings.Contains(a.Header.Get("Location"), "/auth/verify-request?") {
		w.t.Fatalf("asking for a link leads to %q\n%v", a.Header.Get("Location"), w.lines.all())
	}
	return strings.TrimPrefix(w.mail.link(w.t), w.server.URL)
}

// TestDecision is the decision table of a sign-in, row by row over HTTP, with
// both strategies: scenarios 57, 58, 60, 62 and 80.
func TestDecision(t *testing.T) {
	const (
		oauth = "oauth"
		email = "email"
		used  = "UseCheck"
	)
	links := []string{"UseVerificationToken", "UseCheck"}
	tests := []struct {
		row    string
		method string // oauth: account 1 at idp with the address ada@example.com
		setup  func(*stage)

		only   string // a strategy
		user   func(*stage) string
		refuse string // the page's code
		reason string
		events []string
		writes []string
		// keep: the session in the browser goes on. With database sessions
		// a new one is one more write, and revoked is the old one's end.
		keep, revoked bool
		isNew         bool
	}{
		{row: "O1 account of who is signed in", method: oauth, keep: true,
			setup:  func(st *stage) { st.link(st.ada, "idp", "1"); st.signedIn(st.ada) },
			user:   func(st *stage) string { return st.ada.ID },
			events: []string{"signIn"}, writes: []string{used}},
		{row: "O2 account of somebody else", method: oauth,
			setup:  func(st *stage) { st.link(st.grace, "idp", "1"); st.signedIn(st.ada) },
			user:   func(st *stage) string { return st.grace.ID },
			refuse: "OAuthAccountNotLinked", reason: record.ReasonLinkedToOtherUser,
			events: []string{"signIn.failed"}, writes: []string{used}},
		{row: "O3 known account", method: oauth,
			setup:  func(st *stage) { st.link(st.ada, "idp", "1") },
			user:   func(st *stage) string { return st.ada.ID },
			events: []string{"signIn"}, writes: []string{used}},
		{row: "O3 an expired session is none", method: oauth, only: gatebook.StrategyDatabase,
			setup: func(st *stage) {
				st.link(st.ada, "idp", "1")
				st.signedIn(st.grace)
				st.clock.advance(31 * 24 * time.Hour)
			},
			user:   func(st *stage) string { return st.ada.ID },
			events: []string{"signIn"}, writes: []string{used}},
		{row: "O3 the session of a user who is gone is none", method: oauth,
			setup: func(st *stage) {
				st.link(st.ada, "idp", "1")
				st.signedIn(st.grace)
				if err := st.auth.DeleteUser(context.Background(), st.grace.ID); err != nil {
					st.t.Fatal(err)
				}
			},
			user:   func(st *stage) string { return st.ada.ID },
			events: []string{"signIn"}, writes: []string{used}},
		{row: "O3 a session token that is none of ours", method: oauth,
			setup: func(st *stage) {
				st.link(st.ada, "idp", "1")
				st.b.cookies["authjs.session-token"] = "nonsense"
			},
			user:   func(st *stage) string { return st.ada.ID },
			events: []string{"signIn"}, writes: []string{used}},
		{row: "O4 link to who is signed in, whatever the address", method: oauth, keep: true,
			setup:  func(st *stage) { st.signedIn(st.grace) },
			user:   func(st *stage) string { return st.grace.ID },
			events: []string{"linkAccount", "signIn"}, writes: []string{used, "LinkAccount"}},
		{row: "O4 not with an expired session", method: oauth,
			setup:  func(st *stage) { st.signedIn(st.ada); st.clock.advance(31 * 24 * time.Hour) },
			user:   func(st *stage) string { return st.ada.ID },
			refuse: "OAuthAccountNotLinked", reason: record.ReasonAccountNotLinked,
			events: []string{"signIn.failed"}, writes: []string{used}},
		{row: "O4 not with the session of a user who is gone", method: oauth,
			setup: func(st *stage) {
				st.signedIn(st.grace)
				if err := st.auth.DeleteUser(context.Background(), st.grace.ID); err != nil {
					st.t.Fatal(err)
				}
			},
			user:   func(st *stage) string { return st.ada.ID },
			refuse: "OAuthAccountNotLinked", reason: record.ReasonAccountNotLinked,
			events: []string{"signIn.failed"}, writes: []string{used}},
		{row: "O5 new", method: oauth, isNew: true,
			setup:  func(st *stage) { st.idp.prove("1", "New@Example.com", true) },
			events: []string{"createUser", "linkAccount", "signIn"}, writes: []string{used, "CreateUser", "LinkAccount"}},
		{row: "O5 new without an address", method: oauth, isNew: true,
			setup:  func(st *stage) { st.idp.prove("1", "", false) },
			events: []string{"createUser", "linkAccount", "signIn"}, writes: []string{used, "CreateUser", "LinkAccount"}},
		{row: "O6 link by address", method: oauth,
			setup:  func(st *stage) { st.idp.link = true },
			user:   func(st *stage) string { return st.ada.ID },
			events: []string{"linkAccount", "signIn"}, writes: []string{used, "LinkAccount"}},
		{row: "O6 address in another case", method: oauth,
			setup:  func(st *stage) { st.idp.link = true; st.idp.prove("1", "ADA@example.COM", true) },
			user:   func(st *stage) string { return st.ada.ID },
			events: []string{"linkAccount", "signIn"}, writes: []string{used, "LinkAccount"}},
		{row: "O7 address not verified", method: oauth,
			setup:  func(st *stage) { st.idp.link = true; st.idp.prove("1", "ada@example.com", false) },
			user:   func(st *stage) string { return st.ada.ID },
			refuse: "OAuthAccountNotLinked", reason: record.ReasonAccountNotLinked,
			events: []string{"signIn.failed"}, writes: []string{used}},
		{row: "O7 linking by address is off", method: oauth,
			setup:  func(*stage) {},
			user:   func(st *stage) string { return st.ada.ID },
			refuse: "OAuthAccountNotLinked", reason: record.ReasonAccountNotLinked,
			events: []string{"signIn.failed"}, writes: []string{used}},

		{row: "E1 known, nobody signed in", method: email,
			setup:  func(*stage) {},
			user:   func(st *stage) string { return st.ada.ID },
			events: []string{"updateUser", "signIn"}, writes: slices.Concat(links, []string{"UpdateUser"})},
		{row: "E1 the same user signed in", method: email,
			setup:  func(st *stage) { st.signedIn(st.ada) },
			user:   func(st *stage) string { return st.ada.ID },
			events: []string{"updateUser", "signIn"}, writes: slices.Concat(links, []string{"UpdateUser"})},
		{row: "E2 somebody else signed in", method: email, revoked: true,
			setup:  func(st *stage) { st.signedIn(st.grace) },
			user:   func(st *stage) string { return st.ada.ID },
			events: []string{"updateUser", "session.revoked", "signIn"}, writes: slices.Concat(links, []string{"UpdateUser"})},
		{row: "E2 a cookie that opens nothing", method: email,
			setup:  func(st *stage) { st.b.cookies["authjs.session-token"] = "7d6d3f2e-2f0c-4b57-9d5c-2b8f2f6f1c11" },
			user:   func(st *stage) string { return st.ada.ID },
			events: []string{"updateUser", "signIn"}, writes: slices.Concat(links, []string{"UpdateUser"})},
		{row: "E3 new", method: "new@example.com", isNew: true,
			setup:  func(*stage) {},
			events: []string{"createUser", "signIn"}, writes: slices.Concat(links, []string{"CreateUser"})},
		{row: "E4 new, somebody signed in", method: "new@example.com", isNew: true, revoked: true,
			setup:  func(st *stage) { st.signedIn(st.grace) },
			events: []string{"createUser", "session.revoked", "signIn"}, writes: slices.Concat(links, []string{"CreateUser"})},
	}
	for _, tt := range tests {
		t.Run(tt.row, func(t *testing.T) {
			strategies(t, func(t *testing.T, strategy string) {
				t.Helper()
				if tt.only != "" && tt.only != strategy {
					return
				}
				st := newStage(t, strategy, nil)
				st.idp.prove("1", "ada@example.com", true)
				tt.setup(st)
				var to string
				switch tt.method {
				case oauth:
					to = st.b.back("idp", st.b.begin("idp"))
				case email:
					to = st.magicLink("ada@example.com", "")
				default:
					to = st.magicLink(tt.method, "")
				}
				old := st.b.cookies["authjs.session-token"]
				st.quiet()
				a := st.b.get(to)

				want, events := tt.writes, tt.events
				switch {
				case !st.database:
					events = slices.DeleteFunc(slices.Clone(events), func(s string) bool { return s == "session.revoked" })
				case tt.revoked, tt.keep: // what goes on is written anew
					want = slices.Concat(want, []string{"DeleteSession", "CreateSession"})
				case tt.refuse == "" && !tt.keep:
					want = slices.Concat(want, []string{"CreateSession"})
				}
				st.check(events...)
				if diff := cmp.Diff(want, st.spy.writes()); diff != "" {
					t.Errorf("writes (-want +got):\n%s", diff)
				}
				if tt.refuse != "" {
					if want := st.server.URL + "/auth/signin?error=" + tt.refuse; a.Header.Get("Location") != want {
						t.Errorf("to %q, want %q", a.Header.Get("Location"), want)
					}
					f := st.failed()
					if f.Reason != tt.reason || f.User.ID != tt.user(st) || f.Subject != f.User.ID || f.Actor.Type != record.ActorUnauthenticated ||
						f.Account == nil || *f.Account != (gatebook.AccountKey{Provider: "idp", ProviderAccountID: "1"}) || f.Target != "ada@example.com" {
						t.Errorf("signIn.failed: reason %q, user %v, account %v, target %q", f.Reason, f.User, f.Account, f.Target)
					}
					if st.b.cookies["authjs.session-token"] != old {
						t.Error("a refused sign-in changed the session cookie")
					}
					return
				}

				if a.StatusCode != 302 || a.Header.Get("Location") != st.server.URL {
					t.Fatalf("%d to %q, want home\n%v", a.StatusCode, a.Header.Get("Location"), st.lines.all())
				}
				ev := st.signIn()
				if ev.IsNewUser == nil || *ev.IsNewUser != tt.isNew {
					t.Errorf("isNewUser = %v, want %v", ev.IsNewUser, tt.isNew)
				}
				if verified := ev.User.EmailVerified.Equal(st.clock.Now()); verified != (tt.method != oauth) {
					t.Errorf("emailVerified = %v", ev.User.EmailVerified)
				}
				if tt.method != oauth && ev.Account.UserID != ev.User.ID {
					t.Errorf("the account names the user %q, want %q", ev.Account.UserID, ev.User.ID)
				}
				if tt.user != nil && ev.User.ID != tt.user(st) {
					t.Errorf("signed in as %s, want %s", ev.User.ID, tt.user(st))
				}
				now := st.b.cookies["authjs.session-token"]
				sess, err := st.auth.Verify(context.Background(), now)
				if err != nil {
					t.Fatalf("the session cookie opens nothing: %v", err)
				}
				if sess.User.ID != ev.User.ID || sess.ID != ev.Session {
					t.Errorf("session %s of %s, told of %s of %s", sess.ID, sess.User.ID, ev.Session, ev.User.ID)
				}
				if kept := sess.ID == st.sid; kept != tt.keep {
					t.Errorf("sid kept: %v, want %v", kept, tt.keep)
				}
				if st.database && tt.keep != (old == now) || !st.database && old == now {
					t.Errorf("cookie kept: %v, sid kept: %v", old == now, tt.keep)
				}
				if !st.database || old == "" {
					return
				}
				_, err = st.auth.Verify(context.Background(), old)
				if tt.revoked != errors.Is(err, gatebook.ErrNoSession) && st.sid != "" && !strings.Contains(tt.row, "expired") && !strings.Contains(tt.row, "gone") {
					t.Errorf("the old session: %v; revoked: %v", err, tt.revoked)
				}
			})
		})
	}
}

// TestNewUserRow is what a first sign-in stores: section 5.5 and 9.2.
func TestNewUserRow(t *testing.T) {
	strategies(t, func(t *testing.T, strategy string) {
		t.Helper()
		s := newWire(t, with(strategy))
		s.idp.prove("1", "Ada@Example.com", true)
		b := newBrowser(s.site)
		b.get(b.back("idp", b.begin("idp")))
		var user gatebook.User
		for _, w := range s.spy.wrote {
			switch w := w.(type) {
			case gatebook.CreateUser:
				user = w.User
				want := gatebook.User{ID: user.ID, Name: "Ada Lovelace", Email: "ada@example.com", Image: "https://img.example/a.png"}
				if diff := cmp.Diff(want, user); diff != "" || len(user.ID) != 36 {
					t.Errorf("user (-want +got):\n%s", diff)
				}
			case gatebook.LinkAccount:
				a := w.Account
				if a.UserID != user.ID || a.Provider != "idp" || a.ProviderAccountID != "1" || a.Type != "oidc" || a.AccessToken != "at-marker" || a.Reply.Len() != 0 {
					t.Errorf("account = %+v", a)
				}
			}
		}
		var types []string
		for _, ev := range s.heard.all() {
			types = append(types, ev.Meta().Type)
			switch e := ev.(type) {
			case *gatebook.CreateUserEvent:
				if e.User.ID != user.ID || e.SignInInfo.Provider != "idp" || e.SignInInfo.Account.Reply.String("more") != "reply-marker" || e.SignInInfo.Profile.String("private") != "kept" {
					t.Errorf("createUser: %+v", e)
				}
			case *gatebook.LinkAccountEvent:
				if e.User.ID != user.ID || e.Profile.Email != "ada@example.com" || e.Account.UserID != "" {
					t.Errorf("linkAccount: %+v", e)
				}
			case *gatebook.SignInEvent:
				// The profile is the provider's own, with its spelling.
				if e.User.ID != user.ID || e.Profile.String("email") != "Ada@Example.com" || e.Account.Reply.String("more") != "reply-marker" {
					t.Errorf("signIn: %+v", e)
				}
			}
		}
		if diff := cmp.Diff([]string{"createUser", "linkAccount", "signIn"}, types); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
	})
}

// TestProviderIsItsOwn: whatever a provider writes into the account, it cannot
// sign in as an account of another provider.
func TestProviderIsItsOwn(t *testing.T) {
	st := newStage(t, gatebook.StrategyDatabase, nil)
	st.idp.prove("second-ada", "", false)
	st.idp.proof.Account.Provider = "second"
	st.b.get(st.b.back("idp", st.b.begin("idp")))
	if ev := st.signIn(); ev == nil || ev.User.ID == st.ada.ID || ev.Account.Provider != "idp" {
		t.Errorf("signed in as %+v", ev)
	}
	// And without an id there is no account.
	st.idp.prove("", "x@example.com", true)
	st.quiet()
	st.b.get(st.b.back("idp", st.b.begin("idp")))
	if f := st.failed(); f.Reason != record.ReasonProfileInvalid {
		t.Errorf("reason = %q", f.Reason)
	}
	if diff := cmp.Diff([]string{"UseCheck"}, st.spy.writes()); diff != "" {
		t.Errorf("writes (-want +got):\n%s", diff)
	}
}

// TestWithoutAdapter is scenario 56 and section 5.9.
func TestWithoutAdapter(t *testing.T) {
	s := newWire(t, func(s *site, c *gatebook.Config) {
		c.Book, c.Adapter = s.store.Book(), nil
		c.Providers = []gatebook.Provider{s.idp, s.second}
	})
	s.idp.prove("1", "ada@example.com", true)
	var subs []string
	for range 2 {
		s.quiet()
		b := newBrowser(s.site)
		b.get(b.back("idp", b.begin("idp")))
		s.check("signIn")
		ev := s.heard.all()[0].(*gatebook.SignInEvent)
		if ev.IsNewUser != nil || ev.User.Email != "ada@example.com" {
			t.Errorf("signIn: %+v", ev)
		}
		sess, err := s.auth.Verify(context.Background(), b.cookies["authjs.session-token"])
		if err != nil {
			t.Fatal(err)
		}
		subs = append(subs, sess.User.ID)
	}
	if subs[0] == subs[1] || subs[0] == "" {
		t.Errorf("subs = %v", subs)
	}
}

// TestNewUserPage is scenario 67, for each kind of provider.
func TestNewUserPage(t *testing.T) {
	strategies(t, func(t *testing.T, strategy string) {
		t.Helper()
		s := newWire(t, func(_ *site, c *gatebook.Config) { c.Session.Strategy, c.Pages.NewUser = strategy, "/welcome?a=b" })
		s.idp.prove("1", "ada@example.com", true)
		welcome := s.server.URL + "/welcome?a=b&callbackUrl=" + url.QueryEscape(s.server.URL+"/cb")
		for i, want := range []string{welcome, s.server.URL + "/cb"} {
			b := newBrowser(s.site)
			a := b.get(b.back("idp", b.post("/auth/signin/idp", url.Values{"callbackUrl": {"/cb"}})))
			if got := a.Header.Get("Location"); got != want {
				t.Errorf("provider, time %d: to %q, want %q", i, got, want)
			}
			a = newBrowser(s.site).get(s.magicLink("grace@example.com", "/cb"))
			if got := a.Header.Get("Location"); got != want {
				t.Errorf("link, time %d: to %q, want %q", i, got, want)
			}
		}
	})
}

// TestConcurrentActs: when another act gets in the way, the sign-in is decided
// anew, and the callbacks are not called again.
func TestConcurrentActs(t *testing.T) {
	strategies(t, func(t *testing.T, strategy string) {
		t.Helper()
		asked := 0
		st := newStage(t, strategy, func(_ *site, c *gatebook.Config) {
			c.Callbacks.SignIn = func(context.Context, *gatebook.SignInAttempt) error { asked++; return nil }
		})
		st.idp.prove("1", "new@example.com", true)
		to := st.b.back("idp", st.b.begin("idp"))
		st.quiet()
		st.spy.onCommit(func(act *gatebook.Act) error {
			if _, ok := act.Writes[0].(gatebook.UseCheck); !ok {
				return nil
			}
			// Another server signs the same account up at this moment.
			st.spy.onCommit(nil)
			st.link(st.grace, "idp", "1")
			st.heard.reset()
			st.spy.reset()
			return nil
		})
		a := st.b.get(to)
		if a.Header.Get("Location") != st.server.URL {
			t.Fatalf("to %q\n%v", a.Header.Get("Location"), st.lines.all())
		}
		st.check("signIn")
		if ev := st.signIn(); ev.User.ID != st.grace.ID || *ev.IsNewUser {
			t.Errorf("signed in as %v, new: %v", ev.User, *ev.IsNewUser)
		}
		if asked != 1 {
			t.Errorf("the signIn callback was asked %d times", asked)
		}
	})
}
