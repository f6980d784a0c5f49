package gatebook_test

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/internal/jwe"
	"github.com/gatebook/gatebook/record"
)

const (
	proxyOrigin   = "https://auth.example.com"
	previewOrigin = "https://pr-7.preview.example.com"
)

// proxyAndPreview returns the deployment that providers know and one that they
// do not.
func proxyAndPreview(t *testing.T) (proxy, preview *wire) {
	t.Helper()
	proxy = newWire(t, func(_ *site, c *gatebook.Config) {
		c.URL, c.RedirectProxyURL = proxyOrigin, proxyOrigin+"/auth"
		c.RedirectProxyOrigins = []string{"https://*.preview.example.com", "https://staging.example.com", "http://localhost:3000"}
	})
	preview = newWire(t, func(_ *site, c *gatebook.Config) { c.URL, c.RedirectProxyURL = previewOrigin, proxyOrigin+"/auth/" })
	for _, s := range []*wire{proxy, preview} {
		s.idp.prove("1", "ada@example.com", true)
	}
	return proxy, preview
}

// TestRedirectProxy goes the whole way: from the preview to the provider, from
// there to the proxy, and back. Also with a form in place of a query.
func TestRedirectProxy(t *testing.T) {
	for _, post := range []bool{false, true} {
		proxy, preview := proxyAndPreview(t)
		proxy.idp.post, preview.idp.post = post, post
		b := newBrowser(preview.site)
		begun := b.begin("idp")
		if got, want := preview.idp.begun[0].RedirectURI, proxyOrigin+"/auth/callback/idp"; got != want {
			t.Errorf("redirect URI at the provider: %q, want %q", got, want)
		}
		path, answer, _ := strings.Cut(b.back("idp", begun), "?")
		answer = "iss=first&" + answer + "&iss=https%3A%2F%2Fidp.example&x=%22"
		r := request{path: path + "?" + answer}
		if post {
			r = request{"POST", path, answer, []string{formType, "Origin: https://idp.example", "Sec-Fetch-Site: cross-site"}}
		}
		a := proxy.serve(r)
		to, ok := strings.CutPrefix(a.Header.Get("Location"), previewOrigin)
		state, _ := url.ParseQuery(answer)
		want := "/auth/callback/idp?iss=https%3A%2F%2Fidp.example&code=code-marker&state=" + url.QueryEscape(state.Get("state")) + "&x=%22"
		if a.StatusCode != 302 || !ok || to != want {
			t.Fatalf("form %v: the proxy answers %d to %q, want %q at the preview\n%s", post, a.StatusCode, a.Header.Get("Location"), want, proxy.lines.all())
		}
		if a.Header.Get("Referrer-Policy") != "no-referrer" || !strings.Contains(a.Header.Get("Cache-Control"), "no-store") {
			t.Errorf("headers %v", a.Header)
		}
		if slices.ContainsFunc(cookieNames(a), func(n string) bool { return strings.Contains(n, "session") || strings.Contains(n, "state") }) || len(proxy.idp.ended) != 0 {
			t.Errorf("the proxy does more than send on: %q, %d", cookieNames(a), len(proxy.idp.ended))
		}
		proxy.check()
		if a := b.get(to); a.Header.Get("Location") != previewOrigin || b.cookies["__Secure-authjs.session-token"] == "" {
			t.Errorf("form %v: the preview answers to %q\n%s", post, a.Header.Get("Location"), preview.lines.all())
		}
		if got := preview.idp.ended[0]; got.RedirectURI != proxyOrigin+"/auth/callback/idp" || got.Params["iss"] != "https://idp.example" {
			t.Errorf("redeemed with %+v", got)
		}
		// The same answer again finds the state used, and one of another browser
		// no cookies.
		if newBrowser(preview.site).get(to); b.get(to).Header.Get("Location") != previewOrigin+"/auth/error?error=Configuration" {
			t.Error("the answer was taken twice")
		}
	}
}

// The form that a provider posts needs cookies that come with it; of a preview
// they have that too.
func TestRedirectProxyFormCookies(t *testing.T) {
	_, preview := proxyAndPreview(t)
	preview.idp.post = true
	got := attributesOf(newBrowser(preview.site).begin("idp"))
	for _, name := range []string{"state", "nonce", "pkce.code_verifier"} {
		if a := got["__Secure-authjs."+name]; !strings.HasSuffix(a, "; Secure; SameSite=None") {
			t.Errorf("%s: %s", name, a)
		}
	}
}

// TestRedirectProxyItself: the proxy signs its own visitors in as any site does.
func TestRedirectProxyItself(t *testing.T) {
	proxy, _ := proxyAndPreview(t)
	b := newBrowser(proxy.site)
	a := b.get(b.back("idp", b.begin("idp")))
	if a.Header.Get("Location") != proxyOrigin || b.cookies["__Secure-authjs.session-token"] == "" {
		t.Errorf("to %q\n%s", a.Header.Get("Location"), proxy.lines.all())
	}
	if got := proxy.idp.ended[0].RedirectURI; got != proxyOrigin+"/auth/callback/idp" {
		t.Errorf("redirect URI %q", got)
	}
}

// proxyState seals a state as a deployment that has a secret would.
func proxyState(t testing.TB, secret, claims string) string {
	t.Helper()
	c, err := jwe.New([]string{secret}, "encodedState")
	if err != nil {
		t.Fatal(err)
	}
	return string(c.Seal(nil, []byte(claims)))
}

// TestRedirectProxyRefuses: whoever does not share the secret, or sends to an
// origin that is not listed, is not sent on, and is recorded.
func TestRedirectProxyRefuses(t *testing.T) {
	proxy, _ := proxyAndPreview(t)
	now := proxy.clock.Now().Unix()
	good := func(origin string) string {
		return proxyState(t, secret, fmt.Sprintf(`{"origin":%q,"random":"r","iat":%d,"exp":%d,"jti":"j"}`, origin, now, now+900))
	}
	for _, tt := range []struct {
		name, state, reason, why string
	}{
		{"a stranger's host", good("https://evil.example/auth/callback/idp"), record.ReasonInvalidRedirect, "forbidden"},
		{"a host that ends alike", good("https://xpreview.example.com/auth/callback/idp"), record.ReasonInvalidRedirect, "forbidden"},
		{"the domain of the star", good("https://preview.example.com/auth/callback/idp"), record.ReasonInvalidRedirect, "forbidden"},
		{"two labels for the star", good("https://a.b.preview.example.com/auth/callback/idp"), record.ReasonInvalidRedirect, "forbidden"},
		{"another port", good("https://pr-7.preview.example.com:8443/auth/callback/idp"), record.ReasonInvalidRedirect, "forbidden"},
		{"in the clear", good("http://pr-7.preview.example.com/auth/callback/idp"), record.ReasonInvalidRedirect, "forbidden"},
		{"another machine's port", good("http://localhost:3001/auth/callback/idp"), record.ReasonInvalidRedirect, "forbidden"},
		{"user information", good("https://pr-7.preview.example.com@evil.example/auth/callback/idp"), record.ReasonStateMismatch, "mismatch"},
		{"a backslash", good(`https://evil.example\.preview.example.com/auth/callback/idp`), record.ReasonInvalidRedirect, "forbidden"},
		{"a query", good(previewOrigin + "/open?to=x/callback/idp"), record.ReasonStateMismatch, "mismatch"},
		{"a fragment", good(previewOrigin + "/open#/callback/idp"), record.ReasonStateMismatch, "mismatch"},
		{"another route", good(previewOrigin + "/auth/signin"), record.ReasonStateMismatch, "mismatch"},
		{"another provider's", good(previewOrigin + "/auth/callback/second"), record.ReasonStateMismatch, "mismatch"},
		{"another scheme", good("javascript:alert(1)//callback/idp"), record.ReasonStateMismatch, "mismatch"},
		{"a path", good("/auth/callback/idp"), record.ReasonStateMismatch, "mismatch"},
		{"no text", proxyState(t, secret, `{"origin":["https://pr-7.preview.example.com"]}`), record.ReasonStateMismatch, "mismatch"},
		{"null", proxyState(t, secret, `{"origin":null}`), record.ReasonStateMismatch, "mismatch"},
		{"no claims", proxyState(t, secret, `[]`), record.ReasonStateMismatch, "mismatch"},
		{"expired", proxyState(t, secret, fmt.Sprintf(`{"origin":%q,"exp":%d}`, previewOrigin+"/auth/callback/idp", now-16)), record.ReasonStateMismatch, "expired"},
		{"another secret", proxyState(t, "the secret of somebody else entirely, no less", `{"origin":"`+previewOrigin+`/auth/callback/idp"}`), record.ReasonStateMismatch, "mismatch"},
		{"sealed for a cookie", seal(t, "__Secure-authjs.state", `{"origin":"`+previewOrigin+`/auth/callback/idp"}`), record.ReasonStateMismatch, "mismatch"},
		{"tampered", good(previewOrigin + "/auth/callback/idp")[1:], record.ReasonStateMismatch, "mismatch"},
		{"no token", "x", record.ReasonStateMismatch, "mismatch"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			proxy.quiet()
			a := proxy.serve(request{path: "/auth/callback/idp?code=MARKER&state=" + url.QueryEscape(tt.state)})
			if got := a.Header.Get("Location"); got != proxyOrigin+"/auth/error?error=Configuration" {
				t.Errorf("to %q", got)
			}
			if len(proxy.idp.ended) != 0 {
				t.Error("the code was redeemed")
			}
			if got := proxy.heard.types(); !slices.Equal(got, []string{record.TypeCheckFailed, record.TypeSignInFailed}) {
				t.Fatalf("events %v", got)
			}
			d := proxy.heard.all()[0].(*gatebook.DefenceEvent)
			if d.Check != "state" || d.Why != tt.why || d.Reason != tt.reason {
				t.Errorf("check %s, why %s, reason %s; want %s, %s", d.Check, d.Why, d.Reason, tt.why, tt.reason)
			}
			if strings.Contains(strings.Join(proxy.lines.all(), ""), "MARKER") {
				t.Errorf("log: %q", proxy.lines.all())
			}
		})
	}
	for _, origin := range []string{previewOrigin, "https://staging.example.com", "http://localhost:3000"} {
		a := proxy.serve(request{path: "/auth/callback/idp?code=c&state=" + url.QueryEscape(good(origin+"/deep/callback/idp"))})
		if !strings.HasPrefix(a.Header.Get("Location"), origin+"/deep/callback/idp?code=c&state=") {
			t.Errorf("%s: to %q", origin, a.Header.Get("Location"))
		}
	}
	a := proxy.serve(request{path: "/auth/callback/idp?state=" + url.QueryEscape(good(previewOrigin+"/auth/callback/idp")) + "&code=" + strings.Repeat("c", 17_000)})
	if a.Header.Get("Location") != proxyOrigin+"/auth/error?error=Configuration" {
		t.Errorf("an endless code goes to %.100q", a.Header.Get("Location"))
	}
}

// A deployment that is no proxy sends nobody on, whatever the state says, and
// knows the proxy by its whole origin.
func TestNoRedirectProxy(t *testing.T) {
	for _, origin := range []string{"https://app.example.com", "https://auth.example.com:8443", "https://auth.example.co", "https://auth.example.com.evil.example"} {
		s := newWire(t, func(_ *site, c *gatebook.Config) { c.URL, c.RedirectProxyURL = origin, proxyOrigin })
		state := proxyState(t, secret, `{"origin":"`+previewOrigin+`/auth/callback/idp"}`)
		a := s.serve(request{path: "/auth/callback/idp?code=c&state=" + url.QueryEscape(state)})
		if a.Header.Get("Location") != origin+"/auth/error?error=Configuration" {
			t.Errorf("%s: to %q", origin, a.Header.Get("Location"))
		}
		newBrowser(s.site).begin("idp")
		if got := s.idp.begun[0].RedirectURI; got != proxyOrigin+"/callback/idp" {
			t.Errorf("%s: redirect URI %q", origin, got)
		}
	}
}

func TestRedirectProxyFromTheEnvironment(t *testing.T) {
	clearEnv(t)
	t.Setenv("AUTH_REDIRECT_PROXY_URL", proxyOrigin+"/api/auth")
	s := newWire(t, func(_ *site, c *gatebook.Config) { c.URL = previewOrigin })
	newBrowser(s.site).begin("idp")
	if got := s.idp.begun[0].RedirectURI; got != proxyOrigin+"/api/auth/callback/idp" {
		t.Errorf("redirect URI %q", got)
	}
}

// FuzzProxyState: whatever is in a state, sealed or not, the proxy sends visitors
// to listed origins and to its own pages.
func FuzzProxyState(f *testing.F) {
	for _, origin := range []string{previewOrigin + "/auth/callback/idp", "https://evil.example/auth/callback/idp", "https://evil.example?.preview.example.com/callback/idp",
		`https://evil.example\.preview.example.com/callback/idp`, "//evil.example/callback/idp", "https://a@b.preview.example.com/callback/idp", "https://[::1].preview.example.com/callback/idp"} {
		f.Add(fmt.Sprintf(`{"origin":%q,"random":"r","exp":1900000000}`, origin), "c")
	}
	f.Add(`{"origin":"https://pr-7.preview.example.com/auth/callback/idp","exp":1}`, "\r\nX: y")
	f.Add(`{"origin":1e999}`, "")
	f.Add(proxyState(f, secret, `{"random":"r"}`), "")
	f.Fuzz(func(t *testing.T, state, code string) {
		s := fuzzSite(t)
		s.reopen(func(c *gatebook.Config) {
			c.URL, c.RedirectProxyURL, c.RedirectProxyOrigins = "http://localhost:8080", "http://localhost:8080/auth", []string{"https://*.preview.example.com"}
		})
		for _, state := range []string{state, proxyState(t, secret, state)} {
			for _, r := range []request{
				{path: "/auth/callback/idp?code=" + url.QueryEscape(code) + "&state=" + url.QueryEscape(state)},
				{"POST", "/auth/callback/idp", "state=" + url.QueryEscape(state) + "&code=" + url.QueryEscape(code), []string{formType}},
			} {
				a := s.serve(r)
				to := a.Header.Get("Location")
				if u, err := url.Parse(to); err == nil && strings.HasPrefix(to, "https://") && u.User == nil && strings.Count(u.Host, ".") == 3 &&
					strings.HasSuffix(u.Host, ".preview.example.com") && strings.HasSuffix(u.Path, "/callback/idp") {
					a.Header.Del("Location")
				}
				if rest, ok := strings.CutPrefix(to, "http://localhost:8080/"); ok {
					a.Header.Set("Location", fuzzOrigin+"/"+rest)
				}
				checkAnswer(t, a)
				if len(s.idp.ended) != 0 || slices.ContainsFunc(cookieNames(a), func(n string) bool { return strings.Contains(n, "session") }) {
					t.Errorf("somebody is signed in: %q", cookieNames(a))
				}
			}
		}
	})
}
