package gatebook_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/provider/credentials"
	"github.com/gatebook/gatebook/record"
)

type authorizer = func(context.Context, map[string]string, *http.Request) (*gatebook.User, error)

// withAuthorize replaces the credentials provider of the site.
func withAuthorize(t *testing.T, strategy string, fn authorizer) func(*site, *gatebook.Config) {
	t.Helper()
	return func(_ *site, c *gatebook.Config) {
		p, err := credentials.New(credentials.Config{Authorize: fn})
		if err != nil {
			t.Fatal(err)
		}
		c.Session.Strategy, c.Providers[3] = strategy, p
	}
}

// TestCredentials is the good half of scenarios 68 and 69.
func TestCredentials(t *testing.T) {
	twice(t, func(t *testing.T, strategy string, xr bool) {
		t.Helper()
		var got map[string]string
		var ada *gatebook.User
		st := newStage(t, strategy, withAuthorize(t, strategy, func(_ context.Context, form map[string]string, r *http.Request) (*gatebook.User, error) {
			got = form
			if r.Header.Get("User-Agent") != "browser" || r.URL.Query().Get("q") != "1" {
				t.Errorf("request %v", r)
			}
			return &gatebook.User{ID: ada.ID, Name: "Typed", Email: "typed@example.com"}, nil
		}))
		ada = st.ada
		st.b.withHeader(xr).header = append(st.b.header, "User-Agent: browser")
		st.b.get("/auth/csrf")
		st.quiet()
		a := st.b.post("/auth/callback/credentials?q=1", url.Values{"username": {"ada"}, "password": {"p;a&s=s%ä"}, "callbackUrl": {"/cb"}, "extra": {"1", "2"}})
		if want := st.server.URL + "/cb"; a.Header.Get("Location") != want || xr && (a.StatusCode != 200 || a.body != `{"url":"`+want+`"}`) || !xr && a.StatusCode != 302 {
			t.Errorf("%d to %q: %s", a.StatusCode, a.Header.Get("Location"), a.body)
		}
		token := got["csrfToken"]
		want := map[string]string{"username": "ada", "password": "p;a&s=s%ä", "callbackUrl": "/cb", "extra": "2", "csrfToken": token}
		if diff := cmp.Diff(want, got); diff != "" || len(token) != 64 {
			t.Errorf("Authorize got (-want +got):\n%s", diff)
		}
		st.check("signIn")
		ev := st.signIn()
		if ev.User.ID != ada.ID || ev.User.Email != "typed@example.com" || ev.IsNewUser != nil || ev.Profile != nil ||
			ev.Account.Type != "credentials" || ev.Account.Provider != "credentials" || ev.Account.ProviderAccountID != ada.ID || ev.Account.UserID != "" {
			t.Errorf("signIn: user %+v, account %+v", ev.User, ev.Account)
		}
		writes := []string(nil)
		if strategy == gatebook.StrategyDatabase {
			writes = []string{"CreateSession"}
		}
		if diff := cmp.Diff(writes, st.spy.writes()); diff != "" {
			t.Errorf("writes (-want +got):\n%s", diff)
		}
		sess, err := st.auth.Verify(context.Background(), st.b.cookies["authjs.session-token"])
		if err != nil || sess.User.ID != ada.ID || sess.ID != ev.Session {
			t.Errorf("session %+v, %v", sess, err)
		}
		// As JSON, too: what is no string is left out.
		a = st.b.do(request{"POST", "/auth/callback/credentials?q=1", `{"csrfToken":"` + token + `","password":"x","n":1,"l":["y"]}`, []string{"Content-Type: application/json"}})
		if diff := cmp.Diff(map[string]string{"password": "x", "csrfToken": token}, got); diff != "" || strings.Contains(a.Header.Get("Location"), "error") {
			t.Errorf("Authorize got (-want +got):\n%s", diff)
		}
		st.checkLeaks("p;a&s=s", token)
	})
}

// TestCredentialsWithoutUser: a user without an id gets one with token sessions;
// database sessions need a user of the adapter.
func TestCredentialsWithoutUser(t *testing.T) {
	strategies(t, func(t *testing.T, strategy string) {
		t.Helper()
		st := newStage(t, strategy, withAuthorize(t, strategy, func(context.Context, map[string]string, *http.Request) (*gatebook.User, error) {
			return &gatebook.User{Name: "Nobody's", Email: "x@example.com"}, nil
		}))
		st.b.get("/auth/csrf")
		st.quiet()
		a := st.b.post("/auth/callback/credentials", nil)
		if strategy == gatebook.StrategyDatabase {
			st.checkRefusal(a, false, refusal{to: "/auth/error?error=Configuration", reason: record.ReasonConfiguration})
			return
		}
		st.check("signIn")
		if ev := st.signIn(); len(ev.User.ID) != 36 || ev.Account.ProviderAccountID != ev.User.ID {
			t.Errorf("signIn: %+v, %+v", ev.User, ev.Account)
		}
		if w := st.spy.writes(); len(w) > 0 {
			t.Errorf("written: %v", w)
		}
	})
}

// TestCredentialsRefused is the bad half of scenario 68. Nobody learns from the
// answer which accounts there are, and what may be a password stays out of the
// book.
func TestCredentialsRefused(t *testing.T) {
	const wrong = "/auth/signin?error=CredentialsSignin&code=credentials"
	const failed = "/auth/error?error=Configuration"
	say := func(user *gatebook.User, err error) authorizer {
		return func(context.Context, map[string]string, *http.Request) (*gatebook.User, error) { return user, err }
	}
	for _, tt := range []struct {
		name   string
		fn     authorizer
		form   url.Values
		want   refusal
		target string
		user   bool // ada is named
	}{
		{name: "wrong password", fn: say(nil, gatebook.ErrBadCredentials), form: url.Values{"email": {"Ada@example.com"}, "password": {"secret-marker"}},
			want: refusal{to: wrong, reason: record.ReasonBadCredentials}, target: "ada@example.com", user: true},
		{name: "unknown", fn: say(nil, gatebook.ErrBadCredentials), form: url.Values{"email": {"unknown@example.com"}, "password": {"secret-marker"}},
			want: refusal{to: wrong, reason: record.ReasonBadCredentials}, target: "unknown@example.com"},
		{name: "unknown, and said so", fn: say(nil, &gatebook.CredentialsError{Reason: record.ReasonUnknownUser, Target: "unknown@example.com"}),
			want: refusal{to: wrong, reason: record.ReasonUnknownUser}, target: "unknown@example.com"},
		{name: "nil", fn: say(nil, nil), want: refusal{to: wrong, reason: record.ReasonBadCredentials}},
		{name: "wrapped", fn: say(nil, fmt.Errorf("secret-marker: %w", gatebook.ErrBadCredentials)), want: refusal{to: wrong, reason: record.ReasonBadCredentials}},
		{name: "a user and an error", fn: say(&gatebook.User{ID: "1"}, gatebook.ErrBadCredentials), want: refusal{to: wrong, reason: record.ReasonBadCredentials}},
		{name: "a code", fn: say(nil, &gatebook.CredentialsError{Code: "my code"}), want: refusal{to: "/auth/signin?error=CredentialsSignin&code=my+code", reason: record.ReasonBadCredentials}},
		{name: "a reason that is none", fn: say(nil, &gatebook.CredentialsError{Reason: "secret-marker"}), want: refusal{to: wrong, reason: record.ReasonBadCredentials}},
		{name: "error", fn: say(nil, errors.New("secret-marker")), want: refusal{to: failed, reason: record.ReasonInternal}},
		{name: "panic", fn: func(context.Context, map[string]string, *http.Request) (*gatebook.User, error) {
			panic("secret-marker")
		},
			want: refusal{to: failed, reason: record.ReasonInternal}},

		{name: "password in the field for the address", fn: say(nil, gatebook.ErrBadCredentials), form: url.Values{"email": {"secret-marker"}},
			want: refusal{to: wrong, reason: record.ReasonBadCredentials}},
		{name: "password with an @ in the field for the address", fn: say(nil, gatebook.ErrBadCredentials), form: url.Values{"email": {"secret-marker@w0rd.1"}},
			want: refusal{to: wrong, reason: record.ReasonBadCredentials}},
		{name: "password in the field for the name", fn: say(nil, gatebook.ErrBadCredentials), form: url.Values{"username": {"secret-marker"}},
			want: refusal{to: wrong, reason: record.ReasonBadCredentials}},
		{name: "password as the name, passed on", fn: say(nil, &gatebook.CredentialsError{Target: "secret-marker"}),
			want: refusal{to: wrong, reason: record.ReasonBadCredentials}},
		{name: "password as an unknown name, passed on", fn: say(nil, &gatebook.CredentialsError{Reason: record.ReasonUnknownUser, Target: "secret-marker"}),
			want: refusal{to: wrong, reason: record.ReasonUnknownUser}},
		{name: "a name that somebody has", fn: say(nil, &gatebook.CredentialsError{Reason: record.ReasonBadCredentials, Target: "ada"}),
			want: refusal{to: wrong, reason: record.ReasonBadCredentials}, target: "ada"},
		{name: "address as the password", fn: say(nil, gatebook.ErrBadCredentials), form: url.Values{"password": {"secret-marker@example.com"}},
			want: refusal{to: wrong, reason: record.ReasonBadCredentials}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			twice(t, func(t *testing.T, strategy string, xr bool) {
				t.Helper()
				st := newStage(t, strategy, withAuthorize(t, strategy, tt.fn))
				st.signedIn(st.grace)
				session := st.b.cookies["authjs.session-token"]
				st.b.get("/auth/csrf")
				st.quiet()
				st.b.withHeader(xr)
				a := st.b.post("/auth/callback/credentials", tt.form)
				st.checkRefusal(a, xr, tt.want)
				st.checkLeaks(session)
				f := st.failed()
				if f.Target != tt.target || tt.user != (f.User != nil && f.User.ID == st.ada.ID) || !tt.user && f.User != nil {
					t.Errorf("signIn.failed: target %q, user %+v", f.Target, f.User)
				}
				if _, err := st.auth.Verify(context.Background(), session); err != nil || st.b.cookies["authjs.session-token"] != session {
					t.Errorf("the session that was there: %v", err)
				}
			})
		})
	}
}

// TestCredentialsSameAnswer: known and unknown get the same bytes.
func TestCredentialsSameAnswer(t *testing.T) {
	twice(t, func(t *testing.T, strategy string, xr bool) {
		t.Helper()
		st := newStage(t, strategy, withAuthorize(t, strategy, func(_ context.Context, form map[string]string, _ *http.Request) (*gatebook.User, error) {
			if form["email"] == "ada@example.com" {
				return nil, gatebook.ErrBadCredentials
			}
			return nil, &gatebook.CredentialsError{Reason: record.ReasonUnknownUser}
		}))
		st.b.get("/auth/csrf")
		st.b.withHeader(xr)
		known := dump(t, st.b.post("/auth/callback/credentials", url.Values{"email": {"ada@example.com"}, "password": {"x"}}))
		unknown := dump(t, st.b.post("/auth/callback/credentials", url.Values{"email": {"nobody@example.com"}, "password": {"x"}}))
		if known != unknown {
			t.Errorf("answers differ:\n%s\n%s", known, unknown)
		}
	})
}

// TestSessionFixation: whoever planted a session cookie has nothing of the
// sign-in that follows, and a session that belonged to somebody else ends.
func TestSessionFixation(t *testing.T) {
	strategies(t, func(t *testing.T, strategy string) {
		t.Helper()
		for _, planted := range []string{"7d6d3f2e-2f0c-4b57-9d5c-2b8f2f6f1c11", "somebody's"} {
			for _, how := range []string{"credentials", "link", "provider"} {
				st := newStage(t, strategy, nil)
				st.link(st.ada, "idp", "1")
				st.idp.prove("1", "ada@example.com", true)
				before := planted
				if planted == "somebody's" {
					if how == "provider" {
						continue // that is row O2
					}
					st.signedIn(st.grace)
					before = st.b.cookies["authjs.session-token"]
				}
				st.b.cookies["authjs.session-token"] = before
				st.quiet()
				switch how {
				case "credentials":
					st.b.post("/auth/callback/credentials", url.Values{"username": {st.ada.ID}, "password": {"right"}})
				case "link":
					st.b.get(st.magicLink("ada@example.com", ""))
				default:
					st.b.get(st.b.back("idp", st.b.begin("idp")))
				}
				after := st.b.cookies["authjs.session-token"]
				sess, err := st.auth.Verify(context.Background(), after)
				if err != nil || sess.User.ID != st.ada.ID || after == before || st.sid != "" && sess.ID == st.sid {
					t.Fatalf("%s, %s: session %+v, %v", planted, how, sess, err)
				}
				if old, err := st.auth.Verify(context.Background(), before); err == nil {
					if strategy == gatebook.StrategyDatabase || old.User.ID != st.grace.ID {
						t.Errorf("%s, %s: the planted cookie opens a session of %s", planted, how, old.User.ID)
					}
				}
				revoked := slices.Contains(st.heard.types(), record.TypeSessionRevoked)
				if want := strategy == gatebook.StrategyDatabase && planted == "somebody's"; revoked != want {
					t.Errorf("%s, %s: session.revoked: %v", planted, how, revoked)
				}
			}
		}
	})
}

// TestCredentialsLikeAuthJS holds what Auth.js does at the edges of a sign-in by
// credentials, found by comparing the two.
func TestCredentialsLikeAuthJS(t *testing.T) {
	var isNew []*bool
	s := newSite(t, func(_ *site, c *gatebook.Config) {
		c.Session.Strategy = gatebook.StrategyJWT
		c.Callbacks.JWT = func(_ context.Context, p *gatebook.JWTParams) (*gatebook.Claims, error) {
			isNew = append(isNew, p.IsNewUser)
			return &p.Token, nil
		}
	})
	if page := s.get("/auth/signin").body; strings.Contains(page, `name="username" required`) {
		t.Error("a field of credentials is required, which may be one that a person can leave out")
	}
	s.post("/auth/callback/credentials", url.Values{"username": {"ada"}, "password": {"right"}})
	if len(isNew) != 1 || isNew[0] == nil || *isNew[0] {
		t.Errorf("jwt callback of a sign-in by credentials: IsNewUser = %v, want false", isNew)
	}
	// What Authorize did not say is not there; null would be a value.
	if got := s.get("/auth/session").body; !strings.HasPrefix(got, `{"user":{"name":"Ada Lovelace","email":"ada@example.com"},`) {
		t.Errorf("session of a user without an image = %s", got)
	}
}
