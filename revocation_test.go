package gatebook_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/record"
)

// listing configures sessions of a strategy that can be listed and ended.
func listing(strategy string) func(*desk, *gatebook.Config) {
	return func(_ *desk, c *gatebook.Config) {
		c.Session.Strategy, c.Session.Revocable = strategy, true
	}
}

// both runs fn for both strategies, in a bubble of their own.
func both(t *testing.T, fn func(d *desk)) {
	t.Helper()
	strategies(t, func(t *testing.T, strategy string) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) { fn(newDesk(t, listing(strategy))) })
	})
}

// list returns the sessions of the user of somebody signed in.
func (d *desk) list(v *visitor) []gatebook.StoredSession {
	d.t.Helper()
	list, err := d.auth.Sessions(context.Background(), d.userOf(v))
	if err != nil {
		d.t.Fatal(err)
	}
	return list
}

func (d *desk) sessionOf(v *visitor) *gatebook.Session {
	d.t.Helper()
	s, err := d.auth.Verify(context.Background(), v.cookies[sessionCookie])
	if err != nil {
		d.t.Fatalf("Verify: %v", err)
	}
	return s
}

func (d *desk) userOf(v *visitor) string { return d.sessionOf(v).User.ID }
func (d *desk) sidOf(v *visitor) string  { return d.sessionOf(v).ID }

// works reports whether a token still opens a session, however it is read.
func (d *desk) works(token string) bool {
	d.t.Helper()
	_, err := d.auth.Verify(context.Background(), token)
	if err != nil && !errors.Is(err, gatebook.ErrNoSession) {
		d.t.Fatalf("Verify: %v", err)
	}
	for _, bearer := range []bool{false, true} {
		v := d.visitor()
		if bearer {
			v.header.Set("Authorization", "Bearer "+token)
		} else {
			v.cookies[sessionCookie] = token
		}
		if got := v.get("/auth/session").Body.String() != "null"; got != (err == nil) {
			d.t.Errorf("Verify = %v, the session route (Bearer: %v) says that it works: %v", err, bearer, got)
		}
		if w := v.send(d.auth.Middleware(d.auth.Require(nothing)), v.request("GET", "/", nil)); (w.Code == 200) != (err == nil) {
			d.t.Errorf("Verify = %v, Require (Bearer: %v) = %d", err, bearer, w.Code)
		}
	}
	return err == nil
}

func (d *desk) in(agent string) *visitor {
	d.t.Helper()
	v := d.visitor()
	v.header.Set("User-Agent", agent)
	if v.signIn(); !v.signedIn() {
		d.t.Fatalf("not signed in\n%s", d.log)
	}
	return v
}

func TestSessions(t *testing.T) {
	both(t, func(d *desk) {
		t := d.t
		began := time.Now()
		first := d.in("Old/1.0")
		pause(time.Hour)
		second := d.in("x" + strings.Repeat("\u00e4", 200) + "\xff")
		d.idp.prove("2", "grace@example.com", true)
		other := d.in("Grace's")
		list := d.list(second)
		if len(list) != 2 {
			t.Fatalf("Sessions = %+v", list)
		}
		for i, want := range []struct {
			sid, agent string
			begun      time.Time
		}{{d.sidOf(second), "x" + strings.Repeat("\u00e4", 127), began.Add(time.Hour)}, {d.sidOf(first), "Old/1.0", began}} {
			s := list[i]
			if s.ID != want.sid || s.UserAgent != want.agent || !s.Begun.Equal(want.begun) || s.Provider != "idp" ||
				s.UserID != d.userOf(second) || s.Token != "" || s.Expires.Before(want.begun.Add(30*24*time.Hour)) || s.Expires.After(want.begun.Add(31*24*time.Hour)) {
				t.Errorf("session %d = %+v, want %+v", i, s, want)
			}
		}
		if list := d.list(other); len(list) != 1 || list[0].UserAgent != "Grace's" {
			t.Errorf("Sessions of another = %+v", list)
		}
		if list, err := d.auth.Sessions(context.Background(), "nobody"); err != nil || len(list) != 0 {
			t.Errorf("Sessions of nobody = %+v, %v", list, err)
		}
		// What is used stays in the list, and what is not leaves it.
		for range 45 {
			pause(24 * time.Hour)
			second.get("/auth/session")
		}
		if list := d.list(second); len(list) != 1 || list[0].ID != d.sidOf(second) {
			t.Errorf("Sessions 45 days later = %+v", list)
		}
	})
}

func TestRevokeSession(t *testing.T) {
	both(t, func(d *desk) {
		t := d.t
		ctx := context.Background()
		here, there := d.in("Here"), d.in("There")
		d.idp.prove("2", "grace@example.com", true)
		grace := d.in("Grace's")
		user, sid := d.userOf(here), d.sidOf(there)
		for name, err := range map[string]error{
			"another user's":    d.auth.RevokeSession(ctx, d.userOf(grace), sid),
			"of nobody":         d.auth.RevokeSession(ctx, "nobody", sid),
			"without id":        d.auth.RevokeSession(ctx, user, ""),
			"another's for one": d.auth.RevokeSession(ctx, user, d.sidOf(grace)),
		} {
			if !errors.Is(err, gatebook.ErrNotFound) {
				t.Errorf("RevokeSession %s = %v, want ErrNotFound", name, err)
			}
		}
		if !d.works(there.cookies[sessionCookie]) || !d.works(grace.cookies[sessionCookie]) {
			t.Fatal("a session ended that nobody could end")
		}
		d.heard.reset()
		before := len(d.entries())
		if err := d.auth.RevokeSession(ctx, user, sid); err != nil {
			t.Fatal(err)
		}
		if d.works(there.cookies[sessionCookie]) || !d.works(here.cookies[sessionCookie]) || !d.works(grace.cookies[sessionCookie]) {
			t.Error("another session ended than was to end")
		}
		revoked := of(d.entries()[before:], record.TypeSessionRevoked)
		if len(revoked) != 1 {
			t.Fatalf("recorded %v", types(d.entries()[before:]))
		}
		p := payload[record.SessionEnd](t, revoked[0], record.ClassIdentity)
		want := record.SessionEnd{User: p.User, Session: sid, Strategy: d.cfg.Session.Strategy, Scope: "one", Count: 1, Why: "app"}
		if diff := cmp.Diff(want, p); diff != "" || p.User.ID != user {
			t.Errorf("recorded of %s: %s", p.User.ID, diff)
		}
		if err := d.auth.RevokeSession(ctx, user, sid); !errors.Is(err, gatebook.ErrNotFound) {
			t.Errorf("RevokeSession again = %v, want ErrNotFound", err)
		}
		if list := d.list(here); len(list) != 1 || list[0].ID != d.sidOf(here) {
			t.Errorf("Sessions = %+v", list)
		}
		// The browser that comes with it is told once and is nobody then.
		d.heard.reset()
		if got := there.get("/auth/session").Body.String(); got != "null" || there.signedIn() {
			t.Errorf("session = %s, cookies %v", got, there.cookies)
		}
	})
}

func TestRevokeOtherSessions(t *testing.T) {
	both(t, func(d *desk) {
		t := d.t
		ctx := context.Background()
		var all []*visitor
		for i := range 4 {
			all = append(all, d.in(fmt.Sprint("Browser ", i)))
		}
		here := all[2]
		user := d.userOf(here)
		d.heard.reset()
		if n, err := d.auth.RevokeOtherSessions(ctx, user, d.sidOf(here)); n != 3 || err != nil {
			t.Errorf("RevokeOtherSessions = %d, %v", n, err)
		}
		for i, v := range all {
			if got := d.works(v.cookies[sessionCookie]); got != (v == here) {
				t.Errorf("session %d works: %v", i, got)
			}
		}
		for _, ev := range d.heard.all() {
			if e, ok := ev.(*gatebook.SessionRevokedEvent); ok && (e.Scope != "others" || e.Count != 3 || e.Session != "" || e.Subject != user) {
				t.Errorf("told %+v", e)
			}
		}
		if n, err := d.auth.RevokeOtherSessions(ctx, user, d.sidOf(here)); n != 0 || err != nil {
			t.Errorf("RevokeOtherSessions again = %d, %v", n, err)
		}
		if n, err := d.auth.RevokeSessions(ctx, user); n != 1 || err != nil || d.works(here.cookies[sessionCookie]) {
			t.Errorf("RevokeSessions = %d, %v", n, err)
		}
		if got := of(d.entries(), record.TypeSessionRevoked); len(got) != 2 {
			t.Errorf("recorded %d session.revoked, want one for each act that ended something", len(got))
		}
	})
}

// Signing out of a listed token session is final: no copy of its token, whenever
// it was made, opens anything.
func TestSignOutIsFinal(t *testing.T) {
	both(t, func(d *desk) {
		t := d.t
		v := d.in("Here")
		tokens := []string{v.cookies[sessionCookie]}
		for range 3 {
			pause(time.Hour)
			v.get("/auth/session")
			tokens = append(tokens, v.cookies[sessionCookie])
		}
		other := d.visitor() // a second tab, whose page is as old
		for name, value := range v.cookies {
			other.cookies[name] = value
		}
		d.heard.reset()
		v.post("/auth/signout", nil)
		other.post("/auth/signout", nil)
		if v.signedIn() || other.signedIn() {
			t.Error("the cookies are still there")
		}
		if got := slices.DeleteFunc(d.heard.types(), func(s string) bool { return s == "session" }); !slices.Equal(got, []string{"signOut", "session.invalid"}) {
			t.Errorf("told %v, want one signOut", got)
		}
		for i, token := range tokens {
			if d.works(token) {
				t.Errorf("token %d still works", i)
			}
		}
	})
}

// A revocation outlives every token of its session, those made at the last moment
// before it too, and is forgotten some day.
func TestRevocationLasts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, listing(gatebook.StrategyJWT))
		ctx := context.Background()
		for _, used := range []time.Duration{0, time.Hour, 23 * time.Hour, 24 * time.Hour, 20 * 24 * time.Hour} {
			for _, how := range []string{"sign-out", "revoked", "deleted"} {
				if how == "deleted" && used == 0 {
					continue // the last, for the user is gone then
				}
				d.idp.prove(how+used.String(), "", true)
				v := d.in("Here")
				pause(used)
				v.get("/auth/session")
				token, user, sid := v.cookies[sessionCookie], d.userOf(v), d.sidOf(v)
				switch how {
				case "sign-out":
					v.post("/auth/signout", nil)
				case "revoked":
					if n, err := d.auth.RevokeSessions(ctx, user); n != 1 || err != nil {
						t.Fatal(n, err)
					}
				case "deleted":
					if err := d.auth.DeleteUser(ctx, user); err != nil {
						t.Fatal(err)
					}
				}
				begun := time.Now()
				for time.Since(begun) < 31*24*time.Hour {
					if _, err := d.store.Sweep(ctx, time.Now()); err != nil {
						t.Fatal(err)
					}
					if d.works(token) {
						t.Fatalf("%s after %v: the token works again after %v", how, used, time.Since(begun))
					}
					pause(4 * time.Hour)
				}
				pause(2 * 24 * time.Hour)
				_, err := d.store.Sweep(ctx, time.Now())
				found, ferr := d.store.Find(ctx, gatebook.Query{TokenSession: sid})
				if err != nil || ferr != nil || found.Revoked {
					t.Errorf("%s after %v: the revocation is still kept, %v, %v", how, used, err, ferr)
				}
			}
		}
	})
}

// A token that was made elsewhere, or before the list was kept, is good as
// before, gets into the list when it is renewed here, and can be ended.
func TestUnlistedTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, listing(gatebook.StrategyJWT))
		ctx := context.Background()
		if _, err := d.auth.CreateUser(ctx, gatebook.User{ID: "u-1", Email: "ada@example.com"}); err != nil {
			t.Fatal(err)
		}
		make := func(jti string) string {
			return seal(t, sessionCookie, fmt.Sprintf(`{"sub":"u-1","jti":%q,"exp":%d}`, jti, time.Now().Add(40*24*time.Hour).Unix()))
		}
		one, two, three := make("1"), make("2"), make("3")
		for _, token := range []string{one, two, three} {
			if _, err := d.auth.Verify(ctx, token); err != nil {
				t.Fatal(err)
			}
		}
		list := func() []gatebook.StoredSession {
			l, err := d.auth.Sessions(ctx, "u-1")
			if err != nil {
				t.Fatal(err)
			}
			return l
		}
		if l := list(); len(l) != 0 {
			t.Errorf("Sessions = %+v before any was used here", l)
		}
		s, err := d.auth.Verify(ctx, one)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.auth.RevokeSession(ctx, "u-1", s.ID); err != nil || d.works(one) {
			t.Errorf("RevokeSession of an unlisted session = %v", err)
		}
		v := d.visitor()
		v.cookies[sessionCookie] = two
		v.header.Set("User-Agent", "Here")
		v.get("/auth/session")
		if l := list(); len(l) != 1 || l[0].UserAgent != "Here" || !l[0].Begun.IsZero() || l[0].ID != d.sidOf(v) {
			t.Errorf("Sessions = %+v after one was used here", l)
		}
		if n, err := d.auth.RevokeSessions(ctx, "u-1"); n != 1 || err != nil || d.works(two) || d.works(v.cookies[sessionCookie]) {
			t.Errorf("RevokeSessions = %d, %v", n, err)
		}
		v.cookies[sessionCookie] = three
		v.post("/auth/signout", nil)
		if d.works(three) {
			t.Error("signing out of an unlisted session is not final")
		}
		pause(29 * 24 * time.Hour)
		if _, err := d.store.Sweep(ctx, time.Now()); err != nil || d.works(one) {
			t.Errorf("the token works again while one made then would: %v", err)
		}
		pause(10 * 24 * time.Hour)
		if _, err := d.store.Sweep(ctx, time.Now()); err != nil || d.works(three) {
			t.Errorf("the token works again before it expires: %v", err)
		}
	})
}

// What another program put into sid cannot get at other sessions nor break the
// store.
func TestForeignSID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, listing(gatebook.StrategyJWT))
		ctx := context.Background()
		for i, sid := range []string{`""`, `"\u0000"`, `"a b"`, `"` + strings.Repeat("x", 2000) + `"`, `"\ud800"`, `12`, `null`, `["a"]`} {
			token := seal(t, sessionCookie, fmt.Sprintf(`{"sub":"u-1","jti":"%d","sid":%s,"exp":%d}`, i, sid, time.Now().Add(time.Hour).Unix()))
			v := d.visitor()
			v.cookies[sessionCookie] = token
			if len(token) < 4000 {
				v.get("/auth/session")
			}
			s, err := d.auth.Verify(ctx, token)
			if err != nil {
				t.Fatalf("Verify of the sid %.20s: %v", sid, err)
			}
			list, err := d.store.Sessions(ctx, "u-1")
			if err != nil || len(token) < 4000 && len(list) == 0 {
				t.Fatalf("Sessions after the sid %.20s: %v, %v", sid, list, err)
			}
			for _, l := range list {
				if len(l.ID) > 128 || strings.ContainsFunc(l.ID, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
					t.Errorf("the store is given the sid %q", l.ID)
				}
			}
			if err := d.auth.RevokeSession(ctx, "u-1", s.ID); err != nil {
				t.Errorf("RevokeSession of the sid %.20s: %v", sid, err)
			}
			if _, err := d.auth.Verify(ctx, token); err == nil {
				t.Errorf("the sid %.20s was revoked and works", sid)
			}
		}
	})
}

// Another user signs in with the browser: the session that was there ends.
func TestDisplacedToken(t *testing.T) {
	for _, how := range []string{"password", "link"} {
		t.Run(how, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDesk(t, listing(gatebook.StrategyJWT))
				if _, err := d.auth.CreateUser(context.Background(), gatebook.User{ID: "u-2", Email: "grace@example.com"}); err != nil {
					t.Fatal(err)
				}
				v := d.in("Shared")
				token, user, sid := v.cookies[sessionCookie], d.userOf(v), d.sidOf(v)
				d.heard.reset()
				if how == "link" {
					v.link("grace@example.com")
				} else {
					v.password("u-2", "right")
				}
				if d.userOf(v) != "u-2" || d.works(token) {
					t.Errorf("signed in is %s, and the session before works: %v", d.userOf(v), d.works(token))
				}
				revoked := of(d.entries(), record.TypeSessionRevoked)
				if len(revoked) != 1 {
					t.Fatalf("recorded %v", types(d.entries()))
				}
				p := payload[record.SessionEnd](t, revoked[0], record.ClassIdentity)
				if p.Session != sid || p.User.ID != user || p.Why != "otherUser" || p.Strategy != gatebook.StrategyJWT {
					t.Errorf("recorded %+v", p)
				}
				// The same user again leaves it alone.
				token = v.cookies[sessionCookie]
				v.password("u-2", "right")
				if !d.works(token) {
					t.Error("signing in again ended one's own session")
				}
			})
		})
	}
}

// A revoked session links no account and does not go on, also when it ends while
// the sign-in is decided.
func TestEndedSessionLinksNothing(t *testing.T) {
	for _, when := range []string{"before", "meanwhile"} {
		t.Run(when, func(t *testing.T) {
			both(t, func(d *desk) {
				t := d.t
				ctx := context.Background()
				v := d.in("Here")
				user, sid, token := d.userOf(v), d.sidOf(v), v.cookies[sessionCookie]
				revoke := func() {
					if err := d.auth.RevokeSession(ctx, user, sid); err != nil {
						t.Fatal(err)
					}
				}
				d.idp.prove("another account", "attacker@example.com", true)
				callback := v.begin(d.idp)
				if when == "before" {
					revoke()
				} else {
					finds := 0
					d.store.fault(nil, func(op string, act *gatebook.Act) error {
						if op != "Find" {
							return nil
						}
						if finds++; finds == 1 {
							d.store.fault(nil, nil)
							revoke()
						}
						return nil
					})
				}
				v.get(callback)
				if got := d.accounts(user); !slices.Equal(got, []string{"idp 1"}) {
					t.Errorf("accounts %v: a session that was revoked linked one", got)
				}
				if v.signedIn() && (d.userOf(v) == user || d.sidOf(v) == sid) {
					t.Error("the revoked session goes on")
				}
				if d.works(token) {
					t.Error("the revoked session works")
				}
			})
		})
	}
}

// A session that ends while the same user signs in again does not go on: another
// begins.
func TestEndedSessionBeginsAnew(t *testing.T) {
	both(t, func(d *desk) {
		t := d.t
		v := d.in("Here")
		user, sid, token := d.userOf(v), d.sidOf(v), v.cookies[sessionCookie]
		callback := v.begin(d.idp)
		d.store.fault(func(op string, _ *gatebook.Act) error {
			if op == "Commit" {
				d.store.fault(nil, nil)
				if err := d.auth.RevokeSession(context.Background(), user, sid); err != nil {
					t.Error(err)
				}
			}
			return nil
		}, nil)
		v.get(callback)
		if !v.signedIn() || d.userOf(v) != user || d.sidOf(v) == sid || d.works(token) || !d.works(v.cookies[sessionCookie]) {
			t.Errorf("signed in as %v, in the session that ended: %v", d.userOf(v), d.sidOf(v) == sid)
		}
		ins := of(d.entries(), record.TypeSignIn)
		if p := payload[record.SignIn](t, ins[len(ins)-1], record.ClassIdentity); len(ins) != 2 || p.Session != d.sidOf(v) {
			t.Errorf("recorded %d signIn, the last of %s", len(ins), p.Session)
		}
	})
}

// Signing in again leaves a session what it was when it began.
func TestKeptSession(t *testing.T) {
	both(t, func(d *desk) {
		t := d.t
		v := d.in("Here")
		before := d.list(v)
		pause(time.Hour)
		v.header.Set("User-Agent", "Elsewhere")
		v.signIn()
		after := d.list(v)
		if len(after) != 1 || after[0].ID != before[0].ID || !after[0].Begun.Equal(before[0].Begun) || after[0].UserAgent != "Here" {
			t.Errorf("Sessions = %+v, before %+v", after, before)
		}
	})
}

// A session that ends after it was read and before its renewal is noted is not
// renewed.
func TestRevokedBeforeRenewal(t *testing.T) {
	d := newDesk(t, func(d *desk, c *gatebook.Config) {
		listing(gatebook.StrategyJWT)(d, c)
		c.Session.UpdateAge = -1
	})
	v := d.in("Here")
	user, sid := d.userOf(v), d.sidOf(v)
	d.store.fault(func(op string, _ *gatebook.Act) error {
		if op == "Commit" {
			d.store.fault(nil, nil)
			return d.auth.RevokeSession(context.Background(), user, sid)
		}
		return nil
	}, nil)
	if got := v.get("/auth/session").Body.String(); got != "null" || v.signedIn() {
		t.Errorf("session = %s, cookies %v", got, v.cookies)
	}
	// A database that only asks to be asked again does not end a session.
	v = d.in("Here")
	d.store.fault(func(op string, _ *gatebook.Act) error {
		if op == "Commit" {
			return gatebook.ErrConflict
		}
		return nil
	}, nil)
	if got := v.get("/auth/session").Body.String(); got == "null" || !v.signedIn() {
		t.Errorf("session = %s, cookies %v", got, v.cookies)
	}
}

// What is left of the other strategy is not listed, and ends with the rest.
func TestSessionsOfBothStrategies(t *testing.T) {
	for _, strategy := range []string{gatebook.StrategyJWT, gatebook.StrategyDatabase} {
		t.Run(strategy, func(t *testing.T) {
			d := newDesk(t, listing(strategy))
			v := d.in("Here")
			user := d.userOf(v)
			expires := time.Now().Add(time.Hour)
			d.write(gatebook.CreateSession{Session: gatebook.StoredSession{Token: "t", UserID: user, ID: "row", Expires: expires}},
				gatebook.NoteSession{Session: gatebook.StoredSession{UserID: user, ID: "note", Expires: expires}})
			own := map[string]string{gatebook.StrategyJWT: "note", gatebook.StrategyDatabase: "row"}[strategy]
			if list := d.list(v); len(list) != 2 || list[0].ID != d.sidOf(v) || list[1].ID != own {
				t.Errorf("Sessions = %+v", list)
			}
			if n, err := d.auth.RevokeSessions(context.Background(), user); n != 3 || err != nil {
				t.Errorf("RevokeSessions = %d, %v", n, err)
			}
			if list, err := d.store.Sessions(context.Background(), user); err != nil || len(list) != 0 {
				t.Errorf("left are %+v, %v", list, err)
			}
		})
	}
}

// However reads, renewals and the end of a session fall together: once it ended,
// no token works, also none that a renewal gave out afterwards.
func TestRevokeWhileReading(t *testing.T) {
	strategies(t, func(t *testing.T, strategy string) {
		t.Helper()
		d := newDesk(t, func(d *desk, c *gatebook.Config) {
			listing(strategy)(d, c)
			c.Session.UpdateAge = -1 // each read moves the expiry
		})
		for range 20 {
			v := d.in("Here")
			user, sid := d.userOf(v), d.sidOf(v)
			var mu sync.Mutex
			tokens := []string{v.cookies[sessionCookie]}
			var wg sync.WaitGroup
			for i := range 8 {
				tab := d.visitor()
				for name, value := range v.cookies {
					tab.cookies[name] = value
				}
				wg.Go(func() {
					if i == 4 {
						if err := d.auth.RevokeSession(context.Background(), user, sid); err != nil {
							t.Error(err)
						}
						return
					}
					for range 5 {
						tab.get("/auth/session")
						mu.Lock()
						if token := tab.cookies[sessionCookie]; token != "" {
							tokens = append(tokens, token)
						}
						mu.Unlock()
					}
				})
			}
			wg.Wait()
			for i, token := range tokens {
				if _, err := d.auth.Verify(context.Background(), token); err == nil {
					t.Fatalf("token %d of %d works after the session ended", i, len(tokens))
				}
			}
			if list, err := d.auth.Sessions(context.Background(), user); err != nil || len(list) != 0 {
				t.Fatalf("Sessions = %+v, %v", list, err)
			}
		}
	})
}

// When the list cannot be asked nobody is let in, and nobody is signed out.
func TestListIsDown(t *testing.T) {
	d := newDesk(t, listing(gatebook.StrategyJWT))
	v := d.in("Here")
	d.store.fault(func(op string, _ *gatebook.Act) error { return errors.New("down") }, nil)
	if w := v.send(d.auth.Middleware(d.auth.Require(nothing)), v.request("GET", "/", nil)); w.Code != http.StatusServiceUnavailable || !v.signedIn() {
		t.Errorf("Require = %d, cookies %v; want 503 and the cookie kept", w.Code, v.cookies)
	}
	if _, err := d.auth.Verify(context.Background(), v.cookies[sessionCookie]); err == nil || errors.Is(err, gatebook.ErrNoSession) {
		t.Errorf("Verify = %v, want an error that is not ErrNoSession", err)
	}
	v.post("/auth/signout", nil)
	if v.signedIn() {
		t.Error("signing out left the cookie")
	}
	if !strings.Contains(d.log.String(), "sign out") {
		t.Errorf("that signing out was not final is not in the log:\n%s", d.log)
	}
}

// With the list off a token costs no read and cannot be ended.
func TestNotRevocable(t *testing.T) {
	ctx := context.Background()
	d := newDesk(t, with2(gatebook.StrategyJWT))
	v := d.in("Here")
	user, token := d.userOf(v), v.cookies[sessionCookie]
	_, listErr := d.auth.Sessions(ctx, user)
	_, othersErr := d.auth.RevokeOtherSessions(ctx, user, d.sidOf(v))
	for name, err := range map[string]error{"Sessions": listErr, "RevokeOtherSessions": othersErr, "RevokeSession": d.auth.RevokeSession(ctx, user, d.sidOf(v))} {
		if !errors.Is(err, gatebook.ErrNotRevocable) {
			t.Errorf("%s = %v, want ErrNotRevocable", name, err)
		}
	}
	d.store.fault(func(op string, _ *gatebook.Act) error { return fmt.Errorf("%s was called", op) }, nil)
	if _, err := d.auth.Verify(ctx, token); err != nil {
		t.Errorf("Verify: %v", err)
	}
	if got := v.get("/auth/session").Body.String(); got == "null" {
		t.Error("the session route says null")
	}
	d.store.fault(nil, nil)
	v.post("/auth/signout", nil)
	if _, err := d.auth.Verify(ctx, token); err != nil {
		t.Errorf("a token without a list ended: %v", err)
	}
	if _, err := gatebook.New(gatebook.Config{Secrets: []gatebook.Secret{secret}, Book: d.auth.Book(), Providers: []gatebook.Provider{d.idp},
		Session: gatebook.SessionConfig{Revocable: true}}); err == nil || !strings.Contains(err.Error(), "Revocable") {
		t.Errorf("New without an adapter = %v", err)
	}
}

// TestRevokedForAsLongAsItsToken: a revocation is kept until the last token of its
// session has expired, though another program made that token and it lasts longer
// than ours, and whichever way it was ended.
func TestRevokedForAsLongAsItsToken(t *testing.T) {
	for _, how := range []string{"account route, one", "account route, all", "renewed here, then from the list", "renewed there, then from the list", "renewed there, met as Bearer, then from the list"} {
		t.Run(how, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDesk(t, func(d *desk, c *gatebook.Config) {
					listing(gatebook.StrategyJWT)(d, c)
					c.Session.TokenMaxAge = time.Hour
				})
				ctx := context.Background()
				if _, err := d.auth.CreateUser(ctx, gatebook.User{ID: "u-1", Email: "ada@example.com"}); err != nil {
					t.Fatal(err)
				}
				long := fmt.Sprintf(`{"sub":"u-1","jti":"1","sid":"a-sid","exp":%d}`, time.Now().Add(30*24*time.Hour).Unix())
				token := seal(t, sessionCookie, long)
				v := d.visitor()
				switch how {
				case "renewed here, then from the list":
					v.cookies[sessionCookie] = token
					v.get("/auth/session")
				case "renewed there, then from the list", "renewed there, met as Bearer, then from the list":
					v.cookies[sessionCookie] = seal(t, sessionCookie, fmt.Sprintf(`{"sub":"u-1","jti":"0","sid":"a-sid","exp":%d}`, time.Now().Add(time.Hour).Unix()))
					v.get("/auth/session")
					if strings.Contains(how, "Bearer") {
						d.bearer(token)
						break
					}
					v.cookies[sessionCookie] = token
					v.get("/auth/session")
				default:
					v.header.Set("Authorization", "Bearer "+token)
				}
				switch how {
				case "account route, one":
					v.send(d.auth, v.request("POST", "/auth/account/sessions/revoke", url.Values{"sid": {"a-sid"}}))
				case "account route, all":
					v.send(d.auth, v.request("POST", "/auth/account/sessions/revoke", url.Values{"scope": {"all"}}))
				default:
					if n, err := d.auth.RevokeSessions(ctx, "u-1"); n != 1 || err != nil {
						t.Fatal(n, err)
					}
				}
				if d.works(token) {
					t.Fatalf("not ended\n%s", d.log)
				}
				pause(29 * 24 * time.Hour)
				if _, err := d.store.Sweep(ctx, time.Now()); err != nil || d.works(token) {
					t.Errorf("the token works again: %v", err)
				}
			})
		})
	}
}

// TestRevocationOutlivesTheSecret: a token that another program made is the same
// session, and ended for good, also after a new secret was put in front.
func TestRevocationOutlivesTheSecret(t *testing.T) {
	d := newDesk(t, listing(gatebook.StrategyJWT))
	for _, rest := range []string{`"jti":"1"`, `"jti":"1","sid":"a b"`, `"x":1`} {
		token := seal(t, sessionCookie, `{"sub":"u-1",`+rest+`}`)
		v := d.visitor()
		v.cookies[sessionCookie] = token
		sid := d.sidOf(v)
		next := d.cfg
		next.Secrets = []gatebook.Secret{"a new secret, put in front of the old one", secret}
		rotated := d.open(next)
		if s, err := rotated.Verify(t.Context(), token); err != nil || s.ID != sid {
			t.Errorf("%s: Verify after the rotation = %+v, %v; want the sid %s", rest, s, err, sid)
		}
		v.post("/auth/signout", nil)
		if d.works(token) {
			t.Fatalf("%s: works after signing out", rest)
		}
		if _, err := rotated.Verify(t.Context(), token); !errors.Is(err, gatebook.ErrNoSession) {
			t.Errorf("%s: the token works again after the rotation: %v", rest, err)
		}
	}
}

// TestSignInBesideDeletion: whoever signs in while they are being deleted has no
// session as the user who is gone.
func TestSignInBesideDeletion(t *testing.T) {
	both(t, func(d *desk) {
		t := d.t
		user := d.userOf(d.in("Here"))
		v := d.visitor()
		callback := v.begin(d.idp)
		d.store.fault(func(op string, _ *gatebook.Act) error {
			if op == "Commit" {
				d.store.fault(nil, nil)
				if err := d.auth.DeleteUser(context.Background(), user); err != nil {
					t.Error(err)
				}
			}
			return nil
		}, nil)
		v.get(callback)
		if v.signedIn() && d.userOf(v) == user {
			t.Error("signed in as the user who is gone")
		}
		if left, err := d.auth.Sessions(context.Background(), user); len(left) > 0 || err != nil {
			t.Errorf("left are %+v, %v", left, err)
		}
	})
}
