package gatebook_test

import (
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/record"
)

const spa = "https://spa.example"

// trusting returns a site at https://app.example.com that trusts spa.
func trusting(t *testing.T) *wire {
	t.Helper()
	s := newWire(t, func(_ *site, c *gatebook.Config) {
		c.URL, c.TrustedOrigins, c.Session.Strategy = "https://app.example.com", []string{spa, "http://LOCALHOST:80"}, gatebook.StrategyJWT
	})
	s.idp.prove("1", "ada@example.com", true)
	return s
}

// TestCORS: scripts of trusted origins may read our answers with the visitor's
// cookies, those of no other.
func TestCORS(t *testing.T) {
	s := trusting(t)
	for _, origin := range []string{spa, "http://localhost", "https://app.example.com", "https://evil.example", "http://spa.example", "https://spa.example:8443",
		"https://spa.example.evil.example", "https://x.spa.example", "https://SPA.example", "null", "", "*", "https://spa.example, https://evil.example"} {
		trusted := origin == spa || origin == "http://localhost"
		for _, r := range []request{{path: "/auth/session"}, {path: "/auth/csrf"}, {path: "/auth/providers"}, {path: "/auth/signin"}, {path: "/auth/nothing"},
			{method: "POST", path: "/auth/signout"}, {method: "POST", path: "/auth/session"}, {method: "DELETE", path: "/auth/session"},
			{method: "OPTIONS", path: "/auth/signin/idp", header: []string{"Access-Control-Request-Method: POST", "Access-Control-Request-Headers: content-type,x-auth-return-redirect"}}} {
			if origin != "" {
				r.header = append(r.header, "Origin: "+origin)
			}
			a := s.serve(r)
			allow, credentials := a.Header.Get("Access-Control-Allow-Origin"), a.Header.Get("Access-Control-Allow-Credentials")
			if trusted && (allow != origin || credentials != "true") || !trusted && (allow != "" || credentials != "") {
				t.Errorf("%s %s from %q: allowed %q, credentials %q", r.method, r.path, origin, allow, credentials)
			}
			if !slices.Contains(a.Header.Values("Vary"), "Origin") {
				t.Errorf("%s %s from %q: Vary %q", r.method, r.path, origin, a.Header.Values("Vary"))
			}
			preflight := r.method == "OPTIONS"
			if got := a.Header.Get("Access-Control-Allow-Headers"); (got == "Authorization, Content-Type, X-Auth-Return-Redirect") != (preflight && trusted) {
				t.Errorf("%s %s from %q: headers %q", r.method, r.path, origin, got)
			}
			if preflight && (a.StatusCode != 204 || len(a.Header.Values("Set-Cookie")) != 0) {
				t.Errorf("preflight from %q: %d, cookies %q", origin, a.StatusCode, a.Header.Values("Set-Cookie"))
			}
		}
	}
}

// Without trusted origins nothing is said about any.
func TestNoCORS(t *testing.T) {
	s := newWire(t, nil)
	for _, method := range []string{"GET", "OPTIONS"} {
		a := s.serve(request{method: method, path: "/auth/csrf", header: []string{"Origin: " + s.server.URL, "Access-Control-Request-Method: POST"}})
		for name := range a.Header {
			if name == "Vary" || strings.HasPrefix(name, "Access-Control") {
				t.Errorf("%s: %s", method, name)
			}
		}
	}
}

// TestTrustedCallbackURL: visitors may be sent to trusted origins afterwards.
func TestTrustedCallbackURL(t *testing.T) {
	s := trusting(t)
	for wish, want := range map[string]string{
		spa:                              spa,
		spa + "/a?b=c#d":                 spa + "/a?b=c#d",
		"http://localhost/x":             "http://localhost/x",
		"https://spa.example.evil/":      "https://app.example.com",
		"https://spa.example@evil/":      "https://app.example.com",
		"http://spa.example/":            "https://app.example.com",
		"https://evil.example/?" + spa:   "https://app.example.com",
		"https://spa.example:8443/":      "https://app.example.com",
		"https://app.example.com/inside": "https://app.example.com/inside",
	} {
		b := newBrowser(s.site)
		if got := b.post("/auth/signout", url.Values{"callbackUrl": {wish}}).Header.Get("Location"); got != want {
			t.Errorf("callbackUrl %s leads to %s, want %s", wish, got, want)
		}
	}
}

// TestOriginOfPosts: a POST with the right token is still none of ours when the
// browser says that another site began it.
func TestOriginOfPosts(t *testing.T) {
	for _, tt := range []struct {
		name   string
		header []string
		ok     bool
	}{
		{"no browser", nil, true},
		{"own origin", []string{"Origin: https://app.example.com"}, true},
		{"own origin, told twice", []string{"Origin: https://app.example.com", "Sec-Fetch-Site: same-origin"}, true},
		{"trusted origin", []string{"Origin: " + spa, "Sec-Fetch-Site: cross-site"}, true},
		{"typed by hand", []string{"Sec-Fetch-Site: none"}, true},
		{"referrer policy hides the origin", []string{"Origin: null", "Sec-Fetch-Site: same-origin"}, true},
		{"the browser knows us by another address", []string{"Origin: https://www.example.com", "Sec-Fetch-Site: same-origin"}, true},
		{"a stranger", []string{"Origin: https://evil.example", "Sec-Fetch-Site: cross-site"}, false},
		{"a stranger, old browser", []string{"Origin: https://evil.example"}, false},
		{"a sibling", []string{"Origin: https://x.example.com", "Sec-Fetch-Site: same-site"}, false},
		{"a sibling without origin", []string{"Sec-Fetch-Site: same-site"}, false},
		{"a sandbox", []string{"Origin: null", "Sec-Fetch-Site: cross-site"}, false},
		{"a sandbox, old browser", []string{"Origin: null"}, false},
		{"another scheme", []string{"Origin: http://app.example.com", "Sec-Fetch-Site: cross-site"}, false},
		{"unknown relation", []string{"Origin: https://evil.example", "Sec-Fetch-Site: same-galaxy"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := trusting(t)
			b := newBrowser(s.site)
			b.get(b.back("idp", b.begin("idp")))
			b.header = tt.header
			for path, form := range map[string]url.Values{"/auth/signin/idp": nil, "/auth/signin/email": {"email": {"ada@example.com"}},
				"/auth/callback/credentials": {"username": {"1"}, "password": {"right"}}, "/auth/session": {}} {
				s.heard.reset()
				a := b.post(path, form)
				refused := strings.HasSuffix(a.Header.Get("Location"), "/auth/signin?error=MissingCSRF") || a.StatusCode == 400 && a.body == "null"
				if refused == tt.ok {
					t.Errorf("%s: %d to %q", path, a.StatusCode, a.Header.Get("Location"))
				}
				for _, ev := range s.heard.all() {
					if d, ok := ev.(*gatebook.DefenceEvent); ok && (tt.ok || d.Type != record.TypeCSRFRejected || d.Why != "forbidden") {
						t.Errorf("%s: %s, %s", path, d.Type, d.Why)
					}
				}
			}
			b.post("/auth/signout", nil)
			if out := b.cookies["__Secure-authjs.session-token"] == ""; out != tt.ok {
				t.Errorf("signed out: %v", out)
			}
		})
	}
}

// A trusted origin needs the token all the same.
func TestTrustedOriginNeedsTheToken(t *testing.T) {
	s := trusting(t)
	b := newBrowser(s.site)
	b.get(b.back("idp", b.begin("idp")))
	a := b.do(request{"POST", "/auth/signout", "", []string{formType, "Origin: " + spa}})
	if !strings.HasSuffix(a.Header.Get("Location"), "error=MissingCSRF") || b.cookies["__Secure-authjs.session-token"] == "" {
		t.Errorf("to %s", a.Header.Get("Location"))
	}
}

// What a provider posts back comes from its origin, and the state vouches for it.
func TestProviderMayPost(t *testing.T) {
	s := newWire(t, func(_ *site, c *gatebook.Config) { c.URL = "https://app.example.com" })
	s.idp.post = true
	s.idp.prove("1", "ada@example.com", true)
	b := newBrowser(s.site)
	_, answer, _ := strings.Cut(b.back("idp", b.begin("idp")), "?")
	a := b.do(request{"POST", "/auth/callback/idp", answer,
		[]string{formType, "Origin: https://idp.example", "Sec-Fetch-Site: cross-site"}})
	if a.Header.Get("Location") != "https://app.example.com" || b.cookies["__Secure-authjs.session-token"] == "" {
		t.Errorf("to %s\n%s", a.Header.Get("Location"), s.lines.all())
	}
}
