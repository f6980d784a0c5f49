package gatebook_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/gatebook/gatebook"
)

func TestFirstAndSecondSignIn(t *testing.T) {
	strategies(t, func(t *testing.T, strategy string) {
		t.Helper()
		s := newSite(t, with(strategy))
		s.idp.prove("1", "ada@example.com", true)
		res := s.signIn(s.idp)
		if res.StatusCode != 302 || res.Header.Get("Location") != s.server.URL {
			t.Fatalf("callback = %d to %q, want 302 home\n%s", res.StatusCode, res.Header.Get("Location"), s.log)
		}
		s.check("createUser", "linkAccount", "signIn")
		if got := s.get("/").body; got != "hello ada@example.com" {
			t.Errorf("page says %q", got)
		}
		if got := s.get("/auth/session").body; !strings.HasPrefix(got, `{"user":{"name":"Ada Lovelace","email":"ada@example.com","image":"https://img.example/a.png"},"expires":"`) {
			t.Errorf("session = %s", got)
		}
		s.heard.reset()
		s.client = newClient(t)
		s.signIn(s.idp)
		s.check("signIn")
	})
}

// The Kelvin sign (U+212A) has the ASCII k as its lower case. Whoever has a
// verified mailbox of such an address must not become the user of the ASCII one.
func TestKelvinSignIsNotK(t *testing.T) {
	strategies(t, func(t *testing.T, strategy string) {
		t.Helper()
		s := newSite(t, func(s *site, c *gatebook.Config) {
			with(strategy)(s, c)
			s.idp.link = true
		})
		victim, err := s.auth.CreateUser(context.Background(), gatebook.User{Email: "kate@example.com", Name: "Kate"})
		if err != nil {
			t.Fatal(err)
		}
		s.idp.prove("attacker", "\u212Aate@example.com", true)
		s.signIn(s.idp)
		for _, e := range s.heard.all() {
			if in, ok := e.(*gatebook.SignInEvent); ok && in.User.ID == victim.ID {
				t.Fatalf("the owner of U+212A ate@example.com was signed in as the user of %s", victim.Email)
			}
		}
	})
}

func TestOwnWritesKeepKelvinSign(t *testing.T) {
	s := newSite(t, nil)
	u, err := s.auth.CreateUser(context.Background(), gatebook.User{Email: "\u212Aate@example.com"})
	if err != nil {
		t.Fatal(err)
	}
	if u.Email == "kate@example.com" {
		t.Errorf("CreateUser made %q of the address with a Kelvin sign", u.Email)
	}
}

// Sessions are revoked while a sign-in that would link an account on the
// strength of one of them is between its read and its commit: the account must
// not be linked, and no signIn be recorded for a session that has ended.
func TestRevokedSessionLinksNothing(t *testing.T) {
	var s *site
	var victim string
	s = newSite(t, func(s2 *site, c *gatebook.Config) {
		c.Session.Strategy = gatebook.StrategyDatabase
		c.Callbacks.SignIn = func(ctx context.Context, a *gatebook.SignInAttempt) error {
			if a.Account.Provider == "second" {
				if n, err := s.auth.RevokeSessions(ctx, victim); n != 1 || err != nil {
					t.Errorf("revoked %d, %v", n, err)
				}
			}
			return nil
		}
	})
	s.idp.prove("ada", "ada@example.com", true)
	s.signIn(s.idp)
	for _, e := range s.heard.all() {
		if in, ok := e.(*gatebook.SignInEvent); ok {
			victim = in.User.ID
		}
	}
	s.heard.reset()
	s.second.prove("thief", "thief@example.com", true)
	s.signIn(s.second)
	for _, e := range s.heard.all() {
		if l, ok := e.(*gatebook.LinkAccountEvent); ok && l.User.ID == victim {
			t.Errorf("an account was linked by a session after it was revoked: %v", s.heard.types())
		}
	}
}

// TestCheckCookiesInOrder: whatever order a provider lists its checks in, the
// cookies come as Auth.js sends them.
func TestCheckCookiesInOrder(t *testing.T) {
	s := newSite(t, func(s *site, _ *gatebook.Config) { s.idp.checks = []string{"nonce", "pkce", "state"} })
	var got []string
	for _, c := range s.post("/auth/signin/idp", nil).Cookies() {
		got = append(got, c.Name)
	}
	if want := []string{"authjs.state", "authjs.pkce.code_verifier", "authjs.nonce"}; !slices.Equal(got, want) {
		t.Errorf("cookies %v, want %v", got, want)
	}
}
