package gatebook_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/record"
)

// makeUser creates a user and forgets that it was told of.
func makeUser(t *testing.T, s *site, u gatebook.User) *gatebook.User {
	t.Helper()
	made, err := s.auth.CreateUser(t.Context(), u)
	if err != nil {
		t.Fatal(err)
	}
	s.heard.reset()
	return made
}

func joined(cookies []*http.Cookie) string {
	var b strings.Builder
	for _, c := range cookies {
		b.WriteString(c.Value)
	}
	return b.String()
}

// TestBeginSession: a session that the application begins is one like any
// other, and is recorded before anybody has it.
func TestBeginSession(t *testing.T) {
	strategies(t, func(t *testing.T, strategy string) {
		t.Helper()
		s := newSite(t, with(strategy))
		ada := makeUser(t, s, gatebook.User{Name: "Ada", Email: "ada@example.com"})
		cookies, err := s.auth.BeginSession(t.Context(), ada.ID, "invitation")
		if err != nil {
			t.Fatal(err)
		}
		s.check("signIn")
		e := s.heard.all()[0].(*gatebook.SignInEvent)
		want := gatebook.Account{Type: gatebook.TypeCredentials, Provider: "invitation", ProviderAccountID: ada.ID}
		if e.Source != record.SourceApp || e.User.ID != ada.ID || e.IsNewUser != nil || e.Subject != ada.ID || e.Request.IPSource != "" ||
			e.Account.Provider != want.Provider || e.Account.Type != want.Type || e.Account.ProviderAccountID != want.ProviderAccountID {
			t.Errorf("signIn %+v, account %+v", e, e.Account)
		}
		entries := s.entries()
		if h := entries[len(entries)-1].Header; h.Type != record.TypeSignIn || h.Source != record.SourceApp || h.Provider != "invitation" {
			t.Errorf("recorded %+v", h)
		}
		sess, err := s.auth.Verify(t.Context(), joined(cookies))
		if err != nil || sess.User.Email != "ada@example.com" || sess.ID != e.Session || e.Session == "" {
			t.Errorf("the session is %+v, %v; sid %q", sess, err, e.Session)
		}
		for _, c := range cookies {
			if c.Name != "authjs.session-token" || c.Path != "/" || !c.HttpOnly || c.Secure || c.SameSite != http.SameSiteLaxMode || !c.Expires.After(s.clock.Now()) {
				t.Errorf("cookie %+v", c)
			}
		}
		r, _ := http.NewRequest("GET", s.server.URL, nil)
		for _, c := range cookies {
			s.client.Jar.SetCookies(r.URL, []*http.Cookie{c})
		}
		if got := s.get("/").body; got != "hello ada@example.com" {
			t.Errorf("the page says %q", got)
		}
	})
}

// TestBeginSessionNamesTheCookie: what is sent is what the site reads.
func TestBeginSessionNamesTheCookie(t *testing.T) {
	s := newSite(t, func(s *site, c *gatebook.Config) {
		c.URL, c.CookieDomain = "https://app.example.com", "example.com"
		c.Session.Strategy = gatebook.StrategyJWT
		c.Callbacks.JWT = func(_ context.Context, p *gatebook.JWTParams) (*gatebook.Claims, error) {
			c, err := gatebook.ParseClaims([]byte(`{"sub":"` + p.Token.String("sub") + `","more":"` + strings.Repeat("x", 5000) + `"}`))
			return &c, err
		}
	})
	ada := makeUser(t, s, gatebook.User{Name: "Ada"})
	cookies, err := s.auth.BeginSession(t.Context(), ada.ID, "cli")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, c := range cookies {
		names = append(names, c.Name)
		if !c.Secure || c.Domain != "example.com" || c.Valid() != nil {
			t.Errorf("cookie %v", c)
		}
	}
	if diff := cmp.Diff([]string{"__Secure-authjs.session-token.0", "__Secure-authjs.session-token.1"}, names); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	if sess, err := s.auth.Verify(t.Context(), joined(cookies)); err != nil || sess.User.ID != ada.ID {
		t.Errorf("the session is %+v, %v", sess, err)
	}
}

// TestBeginSessionOfAVisitor: in a request of the application the session
// belongs to whoever made it, and replaces what they had.
func TestBeginSessionOfAVisitor(t *testing.T) {
	strategies(t, func(t *testing.T, strategy string) {
		t.Helper()
		s := newSite(t, with(strategy))
		ada := makeUser(t, s, gatebook.User{Name: "Ada", Email: "ada@example.com"})
		s.idp.prove("1", "grace@example.com", true)
		s.signIn(s.idp)
		s.heard.reset()
		h := s.auth.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			cookies, err := s.auth.BeginSession(r.Context(), ada.ID, "invitation")
			if err != nil {
				t.Error(err)
			}
			for _, c := range cookies {
				http.SetCookie(w, c)
			}
		}))
		r, _ := http.NewRequest("GET", s.server.URL, nil)
		old := ""
		for _, c := range s.client.Jar.Cookies(r.URL) {
			if r.AddCookie(c); c.Name == "authjs.session-token" {
				old = c.Value
			}
		}
		r.RemoteAddr = "192.0.2.7:1"
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		events := s.heard.types()
		want := []string{"session", "signIn"}
		if strategy == gatebook.StrategyDatabase {
			want = []string{"session", "session.revoked", "signIn"}
			if _, err := s.auth.Verify(t.Context(), old); !errors.Is(err, gatebook.ErrNoSession) {
				t.Errorf("the old session: %v", err)
			}
		}
		if diff := cmp.Diff(want, events); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		e := s.heard.all()[len(want)-1].(*gatebook.SignInEvent)
		if e.Request.IP.String() != "192.0.2.7" || e.Source != record.SourceApp {
			t.Errorf("signIn %+v", e.Envelope)
		}
		last := w.Result().Cookies()
		if sess, err := s.auth.Verify(t.Context(), last[len(last)-1].Value); err != nil || sess.User.Email != "ada@example.com" {
			t.Errorf("the session is %+v, %v", sess, err)
		}
	})
}

func TestBeginSessionFails(t *testing.T) {
	strategies(t, func(t *testing.T, strategy string) {
		t.Helper()
		broken := false
		down := errors.New("down")
		w := newWire(t, func(s *site, c *gatebook.Config) {
			with(strategy)(s, c)
			c.Callbacks.JWT = func(_ context.Context, p *gatebook.JWTParams) (*gatebook.Claims, error) {
				if broken {
					return nil, nil
				}
				return &p.Token, nil
			}
		})
		ada := makeUser(t, w.site, gatebook.User{Name: "Ada"})
		for _, tt := range []struct {
			name, user, provider string
			ctx                  context.Context
			want                 error
		}{
			{"no such user", "nobody", "cli", t.Context(), gatebook.ErrNotFound},
			{"no user", "", "cli", t.Context(), gatebook.ErrNotFound},
			{"no provider", ada.ID, "", t.Context(), nil},
			{"provider with a space", ada.ID, "a b", t.Context(), nil},
		} {
			cookies, err := w.auth.BeginSession(tt.ctx, tt.user, tt.provider)
			if err == nil || tt.want != nil && !errors.Is(err, tt.want) || cookies != nil {
				t.Errorf("%s: %v, %v", tt.name, cookies, err)
			}
		}
		w.check()
		w.spy.before = func(*gatebook.Act) error { return down }
		if cookies, err := w.auth.BeginSession(t.Context(), ada.ID, "cli"); !errors.Is(err, down) || cookies != nil {
			t.Errorf("store down: %v, %v", cookies, err)
		}
		w.spy.before = nil
		w.check()
		if n := len(w.lines.all()); n != 0 {
			t.Errorf("log: %q", w.lines.all()) // the caller has the error
		}
		if strategy == gatebook.StrategyDatabase {
			return
		}
		broken = true
		if cookies, err := w.auth.BeginSession(t.Context(), ada.ID, "cli"); !errors.Is(err, gatebook.ErrNoSession) || cookies != nil {
			t.Errorf("no token: %v, %v", cookies, err)
		}
		w.check("signIn.failed")
	})
	s := newSite(t, func(_ *site, c *gatebook.Config) { c.URL = "" })
	ada := makeUser(t, s, gatebook.User{Name: "Ada"})
	if _, err := s.auth.BeginSession(t.Context(), ada.ID, "cli"); err == nil || !strings.Contains(err.Error(), "Config.URL is not set") {
		t.Errorf("without an address: %v", err)
	}
}

// TestBeginSessionIsListed: with revocable token sessions it can be ended like
// any other.
func TestBeginSessionIsListed(t *testing.T) {
	s := newSite(t, func(_ *site, c *gatebook.Config) {
		c.Session = gatebook.SessionConfig{Strategy: gatebook.StrategyJWT, Revocable: true}
	})
	ada := makeUser(t, s, gatebook.User{Name: "Ada"})
	cookies, err := s.auth.BeginSession(t.Context(), ada.ID, "cli")
	if err != nil {
		t.Fatal(err)
	}
	if n, err := s.auth.RevokeSessions(t.Context(), ada.ID); n != 1 || err != nil {
		t.Errorf("RevokeSessions = %d, %v", n, err)
	}
	if _, err := s.auth.Verify(t.Context(), joined(cookies)); !errors.Is(err, gatebook.ErrNoSession) {
		t.Errorf("afterwards: %v", err)
	}
}
