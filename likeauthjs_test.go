package gatebook_test

import (
	"context"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/provider/credentials"
)

// What Auth.js does at the edges, found by comparing the two (test/interop).

// TestEmptyCallbackURL: a form's empty callback URL is an answer, so that the
// query's does not count.
func TestEmptyCallbackURL(t *testing.T) {
	s := newSite(t, nil)
	res := s.post("/auth/signout?callbackUrl=/query", url.Values{"callbackUrl": {""}})
	if got := res.Header.Get("Location"); got != s.server.URL {
		t.Errorf("signed out to %q, want home", got)
	}
}

// TestUpdateByForm: the data of an update may come in a form; it is a text then.
func TestUpdateByForm(t *testing.T) {
	var got string
	s := newSite(t, func(_ *site, c *gatebook.Config) {
		c.Session.Strategy = gatebook.StrategyJWT
		c.Callbacks.JWT = func(_ context.Context, p *gatebook.JWTParams) (*gatebook.Claims, error) {
			if p.Trigger == "update" {
				got = string(p.Update)
			}
			return &p.Token, nil
		}
	})
	s.post("/auth/callback/credentials", url.Values{"username": {"ada"}, "password": {"right"}})
	s.post("/auth/session", url.Values{"data": {`say "x"`}})
	if want := `"say \"x\""`; got != want {
		t.Errorf("the jwt callback was given the data %s, want %s", got, want)
	}
}

// TestLostChunk: of a token that lost a part the rest is cleared, for it would
// be read as a part of the next.
func TestLostChunk(t *testing.T) {
	s := newSite(t, nil)
	req, err := http.NewRequest("GET", s.server.URL+"/auth/session", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Cookie", "authjs.session-token.1=x; authjs.session-token.2=y")
	cleared := strings.Join(s.do(req).Header.Values("Set-Cookie"), "\n")
	for _, name := range []string{"authjs.session-token.1", "authjs.session-token.2"} {
		if !strings.Contains(cleared, name+"=; Max-Age=0") {
			t.Errorf("%s stays; Set-Cookie:\n%s", name, cleared)
		}
	}
}

// TestLinkTokenForm: the token of a magic link has the form that Auth.js gives
// it.
func TestLinkTokenForm(t *testing.T) {
	s := newSite(t, nil)
	s.post("/auth/signin/email", url.Values{"email": {"ada@example.com"}})
	if link := s.mail.link(t); !regexp.MustCompile(`[?&]token=[0-9a-f]{64}(&|$)`).MatchString(link) {
		t.Errorf("link = %s, want a token of 64 hex digits", link)
	}
}

// TestJWTCallbackOfLink: the jwt callback of a magic link is told whose account
// it is.
func TestJWTCallbackOfLink(t *testing.T) {
	var user, account string
	s := newSite(t, func(_ *site, c *gatebook.Config) {
		c.Session.Strategy = gatebook.StrategyJWT
		c.Callbacks.JWT = func(_ context.Context, p *gatebook.JWTParams) (*gatebook.Claims, error) {
			if p.Account != nil {
				user, account = p.User.ID, p.Account.UserID
			}
			return &p.Token, nil
		}
	})
	s.post("/auth/signin/email", url.Values{"email": {"ada@example.com"}})
	s.get(strings.TrimPrefix(s.mail.link(t), s.server.URL))
	if user == "" || account != user {
		t.Errorf("the account's user is %q, want %q", account, user)
	}
}

// TestAuthorizeDenies: Authorize may refuse as the signIn callback does.
func TestAuthorizeDenies(t *testing.T) {
	for refusal, want := range map[error]string{
		gatebook.Deny(""):             "/auth/error?error=AccessDenied",
		gatebook.Deny("closed"):       "/auth/error?error=AccessDenied&code=closed",
		gatebook.RedirectTo("/terms"): "/terms",
	} {
		provider, err := credentials.New(credentials.Config{Authorize: func(context.Context, map[string]string, *http.Request) (*gatebook.User, error) {
			return nil, refusal
		}})
		if err != nil {
			t.Fatal(err)
		}
		s := newSite(t, func(_ *site, c *gatebook.Config) { c.Providers = []gatebook.Provider{provider} })
		res := s.post("/auth/callback/credentials", nil)
		if got := res.Header.Get("Location"); got != s.server.URL+want {
			t.Errorf("refused to %q, want %q", got, want)
		}
		s.check("signIn.failed")
	}
}
