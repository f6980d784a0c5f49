package gatebook_test

import (
	"context"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/gatebook/gatebook"
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
