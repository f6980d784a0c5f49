package gatebook_test

import (
	"context"
	"net/url"
	"strings"
	"testing"

	"github.com/gatebook/gatebook"
)

// Clients of next-auth v4 ask for JSON with a field of the form, and look at the
// status for refused credentials.
func TestV4Client(t *testing.T) {
	s := newSite(t, func(_ *site, c *gatebook.Config) { c.Session.Strategy = gatebook.StrategyJWT })
	post := func(path string, form url.Values) *answer {
		t.Helper()
		form.Set("json", "true")
		form.Set("callbackUrl", s.server.URL+"/private")
		return s.post(path, form)
	}
	check := func(a *answer, status int, to string) {
		t.Helper()
		if a.StatusCode != status || a.body != `{"url":"`+to+`"}` || a.Header.Get("Content-Type") != "application/json" {
			t.Errorf("answer: %d %s %s, want %d and %s", a.StatusCode, a.Header.Get("Content-Type"), a.body, status, to)
		}
	}
	home := s.server.URL
	check(post("/auth/callback/credentials", url.Values{"username": {"ada"}, "password": {"wrong"}}),
		401, home+"/auth/signin?error=CredentialsSignin&code=credentials")
	check(post("/auth/callback/credentials", url.Values{"username": {"ada"}, "password": {"right"}}), 200, home+"/private")
	check(post("/auth/signin/email", url.Values{"email": {"ada@example.com"}}), 200, home+"/auth/verify-request?provider=email&type=email")
	if a := post("/auth/signin/idp", url.Values{}); a.StatusCode != 200 || !strings.HasPrefix(a.body, `{"url":"https://idp.example/authorize?`) {
		t.Errorf("sign-in at a provider: %d %s", a.StatusCode, a.body)
	}
	check(post("/auth/signout", url.Values{}), 200, home+"/private")
	check(s.postRaw("/auth/signout", url.Values{"json": {"true"}}), 200, home+"/auth/signin?error=MissingCSRF")

	// Nothing else asks: another value, the query, or a client of v5.
	if a := s.post("/auth/signout", url.Values{"json": {"1"}}); a.StatusCode != 302 {
		t.Errorf("json=1: %d, want a redirect", a.StatusCode)
	}
	if a := s.post("/auth/signout?json=true", nil); a.StatusCode != 302 {
		t.Errorf("json in the query: %d, want a redirect", a.StatusCode)
	}
}

func TestV4ClientVeto(t *testing.T) {
	s := newSite(t, func(_ *site, c *gatebook.Config) {
		c.Session.Strategy = gatebook.StrategyJWT
		c.Callbacks.SignIn = func(context.Context, *gatebook.SignInAttempt) error { return gatebook.Deny("") }
	})
	for path, status := range map[string]int{"/auth/callback/credentials": 403, "/auth/signin/email": 200} {
		a := s.post(path, url.Values{"json": {"true"}, "username": {"ada"}, "password": {"right"}, "email": {"ada@example.com"}})
		if a.StatusCode != status || a.body != `{"url":"`+s.server.URL+`/auth/error?error=AccessDenied"}` {
			t.Errorf("%s: %d %s, want %d", path, a.StatusCode, a.body, status)
		}
	}
}
