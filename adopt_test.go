package gatebook_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
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

// checkTypes wants the book to have entries of these types, in this order.
func (d *desk) checkTypes(want ...string) {
	d.t.Helper()
	if diff := cmp.Diff(want, types(d.entries())); diff != "" {
		d.t.Errorf("recorded (-want +got):\n%s\n%s", diff, d.log)
	}
}

const foreignToken = "0b3bd4a6-7f1c-4f4b-9a52-another-program"

// foreign writes a user and, if there is a token, a session as another program
// would.
func (d *desk) foreign(user, token string, expires time.Time) {
	d.t.Helper()
	row := gatebook.StoredSession{Token: gatebook.Secret(token), UserID: user, Expires: expires}
	var writes []gatebook.Write
	if token != "" {
		writes = append(writes, gatebook.CreateSession{Session: row})
	}
	if found, err := d.store.Store.Find(context.Background(), gatebook.Query{UserID: user}); err != nil {
		d.t.Fatal(err)
	} else if found.ByID == nil {
		writes = slices.Insert(writes, 0, gatebook.Write(gatebook.CreateUser{User: gatebook.User{ID: user, Name: "Ada", Email: user + "@example.com"}}))
	}
	if err := d.store.Store.Commit(context.Background(), &gatebook.Act{Writes: writes}); err != nil {
		d.t.Fatal(err)
	}
}

// abroad is a visitor whose session another program began, as the strategy has it.
func (d *desk) abroad() *visitor {
	d.t.Helper()
	v := d.visitor()
	if d.cfg.Session.Strategy == gatebook.StrategyDatabase {
		d.foreign("u-1", foreignToken, time.Now().Add(20*24*time.Hour))
		v.cookies[sessionCookie] = foreignToken
		return v
	}
	d.foreign("u-1", "", time.Time{})
	v.cookies[sessionCookie] = seal(d.t, sessionCookie, fmt.Sprintf(`{"sub":"u-1","name":"Ada","email":"u-1@example.com","jti":"a-jti","exp":%d}`,
		time.Now().Add(20*24*time.Hour).Unix()))
	return v
}

// TestAdopted: a session that another program began and its user are recorded when
// they are first met, once, before what is then done with them.
func TestAdopted(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(*visitor)
		then []string
	}{
		{"the session route", func(v *visitor) { v.get("/auth/session"); v.get("/auth/session") }, nil},
		{"the middleware", func(v *visitor) {
			v.send(v.d.auth.Middleware(nothing), v.request("GET", "/", nil))
			v.send(v.d.auth.Middleware(nothing), v.request("GET", "/", nil))
		}, nil},
		{"the account route", func(v *visitor) { v.get("/auth/account") }, nil},
		{"Bearer", func(v *visitor) {
			v.header.Set("Authorization", "Bearer "+v.cookies[sessionCookie])
			delete(v.cookies, sessionCookie)
			v.get("/auth/session")
			v.get("/auth/session")
		}, nil},
		{"signing out", func(v *visitor) { v.post("/auth/signout", nil) }, []string{record.TypeSignOut}},
		{"signing out with Bearer", func(v *visitor) {
			v.header.Set("Authorization", "Bearer "+v.cookies[sessionCookie])
			delete(v.cookies, sessionCookie)
			v.send(v.d.auth, v.request("POST", "/auth/signout", nil))
		}, []string{record.TypeSignOut}},
		{"linking an account", func(v *visitor) { v.signIn() }, []string{record.TypeLinkAccount, record.TypeSignIn}},
		{"another user signs in", func(v *visitor) {
			v.link("grace@example.com")
		}, []string{record.TypeCreateUser, record.TypeSessionRevoked, record.TypeSignIn}},
		{"the same user by link", func(v *visitor) { v.link("u-1@example.com") }, []string{record.TypeUpdateUser, record.TypeSignIn}},
		{"a revocation", func(v *visitor) {
			if v.d.cfg.Session.Strategy == gatebook.StrategyJWT {
				v.get("/auth/session") // before, nobody knows of it
			}
			if n, err := v.d.auth.RevokeSessions(context.Background(), "u-1"); n != 1 || err != nil {
				v.d.t.Error(n, err)
			}
		}, []string{record.TypeSessionRevoked}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			both(t, func(d *desk) {
				t := d.t
				v := d.abroad()
				token := v.cookies[sessionCookie]
				s, err := d.auth.Verify(context.Background(), token)
				if err != nil {
					t.Fatal(err)
				}
				if n := len(d.entries()); n != 0 {
					t.Fatalf("Verify recorded %v", types(d.entries()))
				}
				tt.do(v)
				var got []string
				for _, e := range d.entries() {
					if e.Header.Type != record.TypeSession {
						got = append(got, e.Header.Type)
					}
				}
				if diff := cmp.Diff(append([]string{record.TypeUserAdopted, record.TypeSessionAdopted}, tt.then...), got); diff != "" {
					t.Fatalf("recorded (-want +got):\n%s\n%s", diff, d.log)
				}
				for i, e := range d.entries()[:2] {
					h := e.Header
					if h.Source != record.SourceForeign || h.ActorType != record.ActorSystem || !h.Actor.IsZero() || h.Initiator != "system" ||
						h.Position != i || h.Outcome != record.Success || h.Provider != "" || h.Method != "" || h.Cause != "" {
						t.Errorf("header of %s: %+v", h.Type, h)
					}
				}
				user := payload[record.UserChange](t, d.entries()[0], record.ClassIdentity)
				if user.User != (record.Person{ID: "u-1", Email: "u-1@example.com", Name: "Ada"}) {
					t.Errorf("user.adopted tells of %+v", user)
				}
				adopted := payload[record.SessionAdopted](t, d.entries()[1], record.ClassIdentity)
				if adopted.User.ID != "u-1" || adopted.Session != s.ID || adopted.Strategy != d.cfg.Session.Strategy {
					t.Errorf("session.adopted tells of %+v, want the sid %s", adopted, s.ID)
				}
				d.leaks(token)
				heard := d.heard.types()
				if !slices.Contains(heard, record.TypeUserAdopted) || !slices.Contains(heard, record.TypeSessionAdopted) {
					t.Errorf("Any heard %v", heard)
				}
			})
		})
	}
}

// What else answers by whose session it is records it too, and answers nobody while
// that cannot be done.
func TestAdoptedWhereItIsLookedAt(t *testing.T) {
	for name, target := range map[string]string{
		"the page for native clients": ask(), "options of passkeys": "/auth/webauthn-options/passkey?action=authenticate",
	} {
		t.Run(name, func(t *testing.T) {
			strategies(t, func(t *testing.T, strategy string) {
				t.Helper()
				d := newDesk(t, func(d *desk, c *gatebook.Config) {
					listing(strategy)(d, c)
					c.NativeRedirects = []string{appURI}
					c.Providers = append(c.Providers, fakePasskeys{"passkey"})
				})
				v := d.abroad()
				d.store.fault(func(op string, _ *gatebook.Act) error {
					if op == "Commit" {
						return errors.New("the store is down")
					}
					return nil
				}, nil)
				if got := v.get(target); strings.Contains(got.Body.String(), "u-1@example.com") || got.Code == 200 {
					t.Errorf("answers %d: %s", got.Code, got.Body)
				}
				d.store.fault(nil, nil)
				if got := v.get(target); got.Code != 200 {
					t.Errorf("answers %d, to %q\n%s", got.Code, got.Header().Get("Location"), d.log)
				}
				d.checkTypes(record.TypeUserAdopted, record.TypeSessionAdopted)
			})
		})
	}
}

// The sid goes on over everything that a session lives through.
func TestAdoptedKeepsItsSID(t *testing.T) {
	both(t, func(d *desk) {
		t := d.t
		v := d.abroad()
		s, err := d.auth.Verify(context.Background(), v.cookies[sessionCookie])
		if err != nil {
			t.Fatal(err)
		}
		check := func(when string) {
			t.Helper()
			if got := d.sidOf(v); got != s.ID {
				t.Errorf("%s the sid is %q, and was %q", when, got, s.ID)
			}
		}
		v.get("/auth/session")
		check("after a use")
		next := d.cfg
		next.Secrets = []gatebook.Secret{"a new secret, put in front of the old one", secret}
		d.auth = d.open(next)
		check("after another secret and a restart")
		v.signIn() // links an account
		check("after linking an account")
		if list, err := d.auth.Sessions(context.Background(), "u-1"); err != nil || len(list) != 1 || list[0].ID != s.ID {
			t.Errorf("listed are %+v, %v, want one of the sid %s", list, err, s.ID)
		}
		if d.cfg.Session.Strategy == gatebook.StrategyDatabase {
			list, err := d.store.Sessions(context.Background(), "u-1")
			if err != nil || len(list) != 1 || !list[0].Begun.IsZero() || list[0].Provider != "" {
				t.Errorf("kept is %+v, %v: nobody knows when and how it began", list, err)
			}
		}
		if n := len(of(d.entries(), record.TypeSessionAdopted)); n != 1 {
			t.Errorf("adopted %d times", n)
		}
	})
}

// The sid of another program's session is nothing that anybody can make who has the
// token, nor the same in two books.
func TestForeignSIDIsKeyed(t *testing.T) {
	both(t, func(d *desk) {
		t := d.t
		other := newDesk(t, listing(d.cfg.Session.Strategy))
		one, two := d.abroad(), other.abroad()
		if a, b := d.sidOf(one), other.sidOf(two); a == b || len(a) != 22 || len(b) != 22 {
			t.Errorf("two books have the sids %q and %q", a, b)
		}
	})
}

// TestAdoptedOnce: of many requests at once on two servers one records the session
// and its user, whatever they do, and all that only read are served.
func TestAdoptedOnce(t *testing.T) {
	both(t, func(d *desk) {
		t := d.t
		v := d.abroad()
		second := d.open(d.cfg)
		token := v.cookies[sessionCookie]
		var wg sync.WaitGroup
		refused := make(chan string, 50)
		for i := range 50 {
			wg.Go(func() {
				w := d.visitor()
				w.cookies[sessionCookie] = token
				auth := []http.Handler{d.auth, second}[i%2]
				switch {
				case i%10 == 7:
					auth = []*gatebook.Auth{d.auth, second}[i/10%2].Middleware(http.NotFoundHandler())
					w.send(auth, w.request("GET", "/", nil))
				default:
					if got := w.send(auth, w.request("GET", "/auth/session", nil)); !strings.Contains(got.Body.String(), "u-1@example.com") {
						refused <- got.Body.String()
					}
				}
			})
		}
		wg.Wait()
		close(refused)
		for body := range refused {
			t.Errorf("the session route says %s", body)
		}
		got := d.entries()
		if len(of(got, record.TypeSessionAdopted)) != 1 || len(of(got, record.TypeUserAdopted)) != 1 {
			t.Errorf("recorded %v", types(got))
		}
	})
}

// TestAdoptedOnceInEveryRace: the same when sign-outs, revocations and sign-ins are
// among them.
func TestAdoptedOnceInEveryRace(t *testing.T) {
	both(t, func(d *desk) {
		t := d.t
		v := d.abroad()
		second := d.open(d.cfg)
		token := v.cookies[sessionCookie]
		begun := make([]*visitor, 10)
		callbacks := make([]string, len(begun))
		for i := range begun {
			begun[i] = d.visitor()
			callbacks[i] = begun[i].begin(d.idp)
			begun[i].cookies[sessionCookie] = token
		}
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				w := d.visitor()
				w.cookies[sessionCookie] = token
				auth := []*gatebook.Auth{d.auth, second}[i%2]
				switch i % 5 {
				case 0:
					begun[i/5].send(auth, begun[i/5].request("GET", callbacks[i/5], nil))
				case 1:
					if i > 25 {
						w.header.Set("Authorization", "Bearer "+token)
						delete(w.cookies, sessionCookie)
						w.send(auth, w.request("POST", "/auth/signout", nil))
					}
				case 2:
					if _, err := auth.RevokeSessions(context.Background(), "u-1"); err != nil && !errors.Is(err, gatebook.ErrConflict) {
						t.Error(err)
					}
				default:
					w.send(auth, w.request("GET", "/auth/session", nil))
				}
			})
		}
		wg.Wait()
		got := d.entries()
		sids := map[string]int{}
		for _, e := range of(got, record.TypeSessionAdopted) {
			sids[payload[record.SessionAdopted](t, e, record.ClassIdentity).Session]++
		}
		if len(sids) > 1 || len(of(got, record.TypeUserAdopted)) != 1 {
			t.Errorf("recorded %v", types(got))
		}
		for sid, n := range sids {
			if n != 1 {
				t.Errorf("the session %s was adopted %d times", sid, n)
			}
		}
	})
}

// TestAdoptionThatCannotBeRecorded: while the book cannot tell of it, another
// program's session is neither renewed nor served, and it is not taken away either.
func TestAdoptionThatCannotBeRecorded(t *testing.T) {
	both(t, func(d *desk) {
		t := d.t
		v := d.abroad()
		token := v.cookies[sessionCookie]
		down := errors.New("the store is down")
		d.store.fault(func(op string, _ *gatebook.Act) error {
			if op == "Commit" {
				return down
			}
			return nil
		}, nil)
		if got := v.get("/auth/session"); got.Body.String() != "null" || strings.Contains(fmt.Sprint(got.Result().Cookies()), sessionCookie) || v.cookies[sessionCookie] != token {
			t.Errorf("the session route says %s, cookies %v", got.Body, got.Result().Cookies())
		}
		app := d.auth.Middleware(d.auth.Require(nothing))
		if got := v.send(app, v.request("GET", "/", nil)); got.Code != 503 || v.cookies[sessionCookie] != token {
			t.Errorf("Require answers %d, want 503", got.Code)
		}
		if got := v.get("/auth/account"); got.Code != 503 {
			t.Errorf("the account route answers %d, want 503", got.Code)
		}
		d.checkTypes()
		d.store.fault(nil, nil)
		if got := v.get("/auth/session"); !strings.Contains(got.Body.String(), "u-1@example.com") {
			t.Errorf("after that the session route says %s\n%s", got.Body, d.log)
		}
		d.checkTypes(record.TypeUserAdopted, record.TypeSessionAdopted)
	})
}

// A commit whose outcome is lost is looked up, and told of once either way.
func TestAdoptionOfUnknownOutcome(t *testing.T) {
	for _, happened := range []bool{true, false} {
		t.Run(fmt.Sprint(happened), func(t *testing.T) {
			both(t, func(d *desk) {
				t := d.t
				v := d.abroad()
				lose := func(op string, _ *gatebook.Act) error {
					if op == "Commit" {
						d.store.fault(nil, nil)
						return gatebook.ErrCommitUnknown
					}
					return nil
				}
				if happened {
					d.store.fault(nil, lose)
				} else {
					d.store.fault(lose, nil)
				}
				if got := v.get("/auth/session").Body.String(); strings.Contains(got, "u-1@example.com") != happened {
					t.Errorf("the session route says %s", got)
				}
				if got := v.get("/auth/session").Body.String(); !strings.Contains(got, "u-1@example.com") {
					t.Errorf("the second time the session route says %s", got)
				}
				d.checkTypes(record.TypeUserAdopted, record.TypeSessionAdopted)
			})
		})
	}
}

// A session that ends between its read and its adoption is none.
func TestAdoptionOfAnEndedSession(t *testing.T) {
	d := newDesk(t, listing(gatebook.StrategyDatabase))
	v := d.abroad()
	d.store.fault(func(op string, _ *gatebook.Act) error {
		if op == "Commit" {
			d.store.fault(nil, nil)
			list, err := d.store.Store.Sessions(context.Background(), "u-1")
			if err != nil || len(list) != 1 {
				t.Fatal(list, err)
			}
			return d.store.Store.Commit(context.Background(), &gatebook.Act{Writes: []gatebook.Write{gatebook.DeleteSession{Handle: list[0].Handle}}})
		}
		return nil
	}, nil)
	if got := v.get("/auth/session"); got.Body.String() != "null" || v.signedIn() {
		t.Errorf("the session route says %s", got.Body)
	}
	d.checkTypes()
}

// TestAdoptedTokensAreRemembered: the store is asked once of each token session of
// another program, by each server, and again of the next token.
func TestAdoptedTokensAreRemembered(t *testing.T) {
	d := newDesk(t, still(gatebook.StrategyJWT))
	ctx := context.Background()
	if _, err := d.auth.CreateUser(ctx, gatebook.User{ID: "u-1", Email: "ada@example.com"}); err != nil {
		t.Fatal(err)
	}
	reads := 0
	d.store.fault(func(op string, _ *gatebook.Act) error {
		if op == "Find" {
			reads++
		}
		return nil
	}, nil)
	v := d.visitor()
	use := func(auth http.Handler, jti string) {
		t.Helper()
		v.header.Set("Authorization", "Bearer "+seal(t, sessionCookie, `{"sub":"u-1","jti":"`+jti+`"}`))
		if got := v.send(auth, v.request("GET", "/auth/session", nil)); got.Body.String() == "null" {
			t.Fatalf("no session\n%s", d.log)
		}
	}
	want := func(n, adopted int) {
		t.Helper()
		if got := len(of(d.entries(), record.TypeSessionAdopted)); got != adopted || reads != n {
			t.Errorf("%d reads and %d adopted, want %d and %d", reads, got, n, adopted)
		}
		reads = 0
	}
	use(d.auth, "a")
	want(2, 1)
	for range 10 {
		use(d.auth, "a")
	}
	want(0, 1)
	use(d.open(d.cfg), "a")
	want(1, 1)
	use(d.auth, "b")
	want(2, 2)
}

// A token session whose user is none of the adapter's, and sites without an adapter.
func TestAdoptedWithoutARow(t *testing.T) {
	d := newDesk(t, listing(gatebook.StrategyJWT))
	v := d.visitor()
	v.cookies[sessionCookie] = seal(t, sessionCookie, `{"sub":"nobody's","jti":"1"}`)
	v.get("/auth/session")
	d.checkTypes(record.TypeSessionAdopted)
	d = newDesk(t, func(d *desk, c *gatebook.Config) {
		c.Book, c.Adapter, c.Providers = d.store.Book(), nil, []gatebook.Provider{d.idp}
	})
	v = d.visitor()
	v.cookies[sessionCookie] = seal(t, sessionCookie, `{"sub":"1","jti":"1"}`)
	if got := v.get("/auth/session").Body.String(); got == "null" {
		t.Error("without an adapter the session is none")
	}
	d.checkTypes() // nobody could say who tells of it
}

// TestUserAdopted: whatever first concerns a user that another program made begins
// with user.adopted, in the same act.
func TestUserAdopted(t *testing.T) {
	ctx := context.Background()
	for _, tt := range []struct {
		name string
		do   func(*desk)
		then []string
	}{
		{"a magic link", func(d *desk) { d.visitor().link("u-1@example.com") }, []string{record.TypeUpdateUser, record.TypeSignIn}},
		{"an account", func(d *desk) { d.visitor().signIn() }, []string{record.TypeSignIn}},
		{"a password", func(d *desk) { d.visitor().password("u-1", "right") }, []string{record.TypeSignIn}},
		{"BeginSession", func(d *desk) { mustBegin(d, "u-1") }, []string{record.TypeSignIn}},
		{"a refused account of the same address", func(d *desk) {
			d.idp.prove("2", "u-1@example.com", true)
			d.visitor().signIn()
		}, []string{record.TypeSignInFailed}},
		{"UpdateUser", func(d *desk) {
			_, err := d.auth.UpdateUser(ctx, gatebook.User{ID: "u-1", Name: "A"}, "name")
			d.must(err)
		}, []string{record.TypeUpdateUser}},
		{"DeleteUser", func(d *desk) { d.must(d.auth.DeleteUser(ctx, "u-1")) }, []string{record.TypeDeleteUser}},
		{"LinkAccount", func(d *desk) {
			d.must(d.auth.LinkAccount(ctx, gatebook.Account{UserID: "u-1", Type: "oauth", Provider: "x", ProviderAccountID: "y"}))
		}, []string{record.TypeLinkAccount}},
		{"UnlinkAccount", func(d *desk) {
			d.must(d.auth.UnlinkAccount(ctx, "u-1", gatebook.AccountKey{Provider: "idp", ProviderAccountID: "1"}))
		}, []string{record.TypeUnlinkAccount}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			both(t, func(d *desk) {
				acc := gatebook.Account{UserID: "u-1", Type: "oidc", Provider: "idp", ProviderAccountID: "1"}
				d.must(d.store.Store.Commit(ctx, &gatebook.Act{Writes: []gatebook.Write{
					gatebook.CreateUser{User: gatebook.User{ID: "u-1", Email: "u-1@example.com"}}, gatebook.LinkAccount{Account: acc}}}))
				tt.do(d)
				d.checkTypes(append([]string{record.TypeUserAdopted}, tt.then...)...)
				all := d.entries()
				for _, e := range all {
					if e.Header.Subject != all[0].Header.Subject {
						d.t.Errorf("%s is about %s, want %s", e.Header.Type, e.Header.Subject, all[0].Header.Subject)
					}
				}
				if last := all[1]; last.Header.Act != all[0].Header.Act || last.Header.Position != 1 {
					d.t.Errorf("%s is of act %s, position %d; want %s, 1", last.Header.Type, last.Header.Act, last.Header.Position, all[0].Header.Act)
				}
			})
		})
	}
}

func (d *desk) must(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Error(err)
	}
}

func mustBegin(d *desk, user string) {
	d.t.Helper()
	_, err := d.auth.BeginSession(context.Background(), user, "test")
	d.must(err)
}

// What is counted of a token session meets its user too, in an act of its own.
func TestCountedUserIsAdopted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, with2(gatebook.StrategyJWT))
		d.foreign("u-1", "", time.Time{})
		v := d.visitor()
		v.cookies[sessionCookie] = seal(t, sessionCookie, `{"sub":"u-1","sid":"0123456789012345678901"}`)
		v.get("/auth/session")
		mustClose(t, d.auth)
		d.checkTypes(record.TypeUserAdopted, record.TypeSession)
		all := d.entries()
		if all[0].Header.Subject != all[1].Header.Subject {
			t.Error("they are of two subjects")
		}
	})
}
