package gatebook_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/record"
)

// attributesOf returns what follows the value of each cookie of an answer.
func attributesOf(a *answer) map[string]string {
	out := map[string]string{}
	for _, c := range a.Header.Values("Set-Cookie") {
		name, rest, _ := strings.Cut(c, "=")
		_, attributes, _ := strings.Cut(rest, "; ")
		out[name] = attributes
	}
	return out
}

// TestCookieOverrides: names, paths and SameSite are what the configuration says,
// and a sign-in works with them.
func TestCookieOverrides(t *testing.T) {
	strategies(t, func(t *testing.T, strategy string) {
		t.Helper()
		s := newWire(t, func(_ *site, c *gatebook.Config) {
			c.URL, c.Session.Strategy = "https://app.example.com", strategy
			c.Cookies.SessionToken = gatebook.CookieConfig{Name: "sess", SameSite: "None"}
			c.Cookies.CallbackURL = gatebook.CookieConfig{Name: "back", Path: "/auth"}
			c.Cookies.CSRFToken = gatebook.CookieConfig{Name: "__Host-csrf", SameSite: "Strict"}
			c.Cookies.State.Name, c.Cookies.PKCECodeVerifier.Name, c.Cookies.Nonce.Name = "st", "pk", "no"
		})
		s.idp.prove("1", "ada@example.com", true)
		b := newBrowser(s.site)
		first := attributesOf(b.get("/auth/csrf"))
		if first["back"] != "Path=/auth; HttpOnly; Secure; SameSite=Lax" || first["__Host-csrf"] != "Path=/; HttpOnly; Secure; SameSite=Strict" {
			t.Errorf("first cookies: %v", first)
		}
		to := b.back("idp", b.begin("idp"))
		for _, name := range []string{"st", "pk", "no"} {
			if b.cookies[name] == "" {
				t.Errorf("no cookie %s: %v", name, b.cookies)
			}
		}
		a := b.get(to)
		got := attributesOf(a)
		if !strings.HasSuffix(got["sess"], "; HttpOnly; Secure; SameSite=None") {
			t.Fatalf("session cookie %q of %v\n%s", got["sess"], got, s.lines.all())
		}
		for _, name := range []string{"st", "pk", "no"} {
			if !strings.HasPrefix(got[name], "Max-Age=0; ") {
				t.Errorf("%s was not cleared: %v", name, got)
			}
		}
		if body := b.get("/auth/session").body; !strings.Contains(body, "ada@example.com") {
			t.Errorf("session: %s", body)
		}
		if token := b.cookies["sess"]; strategy == gatebook.StrategyJWT {
			// The name is the salt: the usual name opens nothing.
			if _, err := s.auth.Verify(context.Background(), token); err != nil {
				t.Errorf("Verify: %v", err)
			}
			if _, err := s.auth.Verify(context.Background(), seal(t, sessionCookie, `{"sub":"1"}`)); !errors.Is(err, gatebook.ErrNoSession) {
				t.Errorf("a token sealed for another name: %v", err)
			}
			if _, err := s.auth.Verify(context.Background(), seal(t, "sess", `{"sub":"1"}`)); err != nil {
				t.Errorf("a token sealed for this name: %v", err)
			}
		}
		if out := attributesOf(b.post("/auth/signout", nil)); !strings.HasPrefix(out["sess"], "Max-Age=0; ") {
			t.Errorf("sign-out: %v", out)
		}
	})
}

// TestUseSecureCookies: the mode is the scheme's unless it is fixed.
func TestUseSecureCookies(t *testing.T) {
	for _, tt := range []struct {
		url   string
		fixed *bool
		want  bool
		warns bool
	}{
		{"https://app.example.com", nil, true, false},
		{"http://app.example.com", nil, false, false},
		{"https://app.example.com", new(false), false, true},
		{"http://app.example.com", new(true), true, true},
		{"https://app.example.com", new(true), true, false},
	} {
		s := newWire(t, func(_ *site, c *gatebook.Config) { c.URL, c.UseSecureCookies = tt.url, tt.fixed })
		a := s.serve(request{path: "/auth/csrf"})
		for name, attributes := range attributesOf(a) {
			if strings.HasPrefix(name, "__") != tt.want || strings.Contains(attributes, "Secure") != tt.want {
				t.Errorf("%s, fixed %v: %s; %s", tt.url, tt.fixed, name, attributes)
			}
		}
		if warned := slices.ContainsFunc(s.lines.all(), func(l string) bool { return strings.Contains(l, "UseSecureCookies") }); warned != tt.warns {
			t.Errorf("%s, fixed %v: log %q", tt.url, tt.fixed, s.lines.all())
		}
	}
}

// TestCookieDomain: the session is shared with the domain, nothing else is, and
// what an older configuration left behind does not outlive a sign-out.
func TestCookieDomain(t *testing.T) {
	strategies(t, func(t *testing.T, strategy string) {
		t.Helper()
		s := newWire(t, func(_ *site, c *gatebook.Config) {
			c.URL, c.CookieDomain, c.Session.Strategy = "https://app.example.com", ".Example.com", strategy
		})
		s.idp.prove("1", "ada@example.com", true)
		b := newBrowser(s.site)
		first := attributesOf(b.get("/auth/csrf"))
		if first["__Host-authjs.csrf-token"] != "Path=/; HttpOnly; Secure; SameSite=Lax" ||
			first["__Secure-authjs.callback-url"] != "Domain=example.com; Path=/; HttpOnly; Secure; SameSite=Lax" {
			t.Errorf("first cookies: %v", first)
		}
		a := b.get(b.back("idp", b.begin("idp")))
		for name, attributes := range attributesOf(a) {
			if strings.Contains(attributes, "Domain=example.com") != strings.HasSuffix(name, "session-token") {
				t.Errorf("%s; %s", name, attributes)
			}
		}
		// The old cookie of the host goes first, so that no client that takes the
		// two for one loses the new.
		set := b.get("/auth/session").Header.Values("Set-Cookie")
		if len(set) != 2 || !strings.HasPrefix(set[0], "__Secure-authjs.session-token=; Max-Age=0; Path=/; ") || !strings.Contains(set[1], "; Domain=example.com; ") {
			t.Errorf("a read sets %q", set)
		}
		set = b.post("/auth/signout", nil).Header.Values("Set-Cookie")
		if len(set) != 2 || strings.Contains(set[0], "Domain") || !strings.Contains(set[1], "Max-Age=0; Domain=example.com; ") {
			t.Errorf("sign-out sets %q", set)
		}
	})
}

// A client with a real cookie jar, on two hosts of the domain.
func TestCookieDomainInAJar(t *testing.T) {
	s := newWire(t, func(_ *site, c *gatebook.Config) {
		c.URL, c.CookieDomain, c.Session.Strategy = "https://app.example.com", "example.com", gatebook.StrategyJWT
	})
	s.idp.prove("1", "ada@example.com", true)
	b := newBrowser(s.site)
	a := b.get(b.back("idp", b.begin("idp")))
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	app, other, stranger := &url.URL{Scheme: "https", Host: "app.example.com", Path: "/"}, &url.URL{Scheme: "https", Host: "api.example.com", Path: "/"}, &url.URL{Scheme: "https", Host: "example.org", Path: "/"}
	sessions := func(u *url.URL) (n int) {
		for _, c := range jar.Cookies(u) {
			if c.Name == "__Secure-authjs.session-token" {
				n++
			}
		}
		return n
	}
	jar.SetCookies(app, []*http.Cookie{{Name: "__Secure-authjs.session-token", Value: "older", Path: "/", Secure: true}})
	jar.SetCookies(app, a.Cookies())
	if sessions(app) != 2 || sessions(other) != 1 || sessions(stranger) != 0 {
		t.Errorf("sessions of the host, a sibling, a stranger: %d, %d, %d", sessions(app), sessions(other), sessions(stranger))
	}
	jar.SetCookies(app, b.post("/auth/signout", nil).Cookies())
	if sessions(app) != 0 || sessions(other) != 0 {
		t.Errorf("after sign-out: %d, %d", sessions(app), sessions(other))
	}
}

func TestGenerateToken(t *testing.T) {
	for _, tt := range []struct {
		name  string
		token func() string
		ok    bool
	}{
		{"good", func() string { return "0123456789abcdef~!" }, true},
		{"short", func() string { return "0123456789abcde" }, false},
		{"long", func() string { return strings.Repeat("x", 513) }, false},
		{"empty", func() string { return "" }, false},
		{"spaces", func() string { return "0123456789 abcdef" }, false},
		{"not ASCII", func() string { return "0123456789äbcdefgh" }, false},
		{"panic", func() string { panic("MARKER") }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newWire(t, func(_ *site, c *gatebook.Config) {
				c.Session.Strategy, c.Session.GenerateToken = gatebook.StrategyDatabase, tt.token
			})
			s.idp.prove("1", "ada@example.com", true)
			b := newBrowser(s.site)
			a := b.get(b.back("idp", b.begin("idp")))
			if tt.ok {
				if b.cookies[sessionCookie] != tt.token() {
					t.Errorf("cookies %v", b.cookies)
				}
				if s, err := s.auth.Verify(context.Background(), tt.token()); err != nil || s.User.Email != "ada@example.com" {
					t.Errorf("Verify = %+v, %v", s, err)
				}
				return
			}
			if b.cookies[sessionCookie] != "" || !strings.HasSuffix(a.Header.Get("Location"), "/auth/error?error=Configuration") {
				t.Errorf("to %s with %v", a.Header.Get("Location"), b.cookies)
			}
			s.check(record.TypeSignInFailed)
			if strings.Contains(strings.Join(s.lines.all(), ""), "MARKER") {
				t.Errorf("log: %q", s.lines.all())
			}
		})
	}
}

// signedTokens is an application's own encoding: readable claims and a MAC.
func signedTokens(c *gatebook.Config) {
	mac := func(body string) string {
		h := hmac.New(sha256.New, []byte("the key of the application"))
		h.Write([]byte(body))
		return base64.RawURLEncoding.EncodeToString(h.Sum(nil))
	}
	c.Session.Strategy = gatebook.StrategyJWT
	c.Session.EncodeToken = func(_ context.Context, c gatebook.Claims) (string, error) {
		b, err := c.MarshalJSON()
		body := base64.RawURLEncoding.EncodeToString(b)
		return body + "." + mac(body), err
	}
	c.Session.DecodeToken = func(_ context.Context, token string) (gatebook.Claims, error) {
		body, sum, _ := strings.Cut(token, ".")
		if !hmac.Equal([]byte(sum), []byte(mac(body))) {
			return gatebook.Claims{}, errors.New("forged")
		}
		b, err := base64.RawURLEncoding.DecodeString(body)
		if err != nil {
			return gatebook.Claims{}, err
		}
		return gatebook.ParseClaims(b)
	}
}

// TestOwnTokens: session tokens are the application's, everything else stays as
// it is, and times are checked all the same.
func TestOwnTokens(t *testing.T) {
	s := newWire(t, func(_ *site, c *gatebook.Config) { signedTokens(c) })
	s.idp.prove("1", "ada@example.com", true)
	b := newBrowser(s.site)
	to := b.back("idp", b.begin("idp"))
	if strings.Count(b.cookies["authjs.state"], ".") != 4 {
		t.Errorf("the state cookie is not sealed: %s", b.cookies["authjs.state"])
	}
	b.get(to)
	token := b.cookies[sessionCookie]
	if strings.Count(token, ".") != 1 || !strings.Contains(b.get("/auth/session").body, "ada@example.com") {
		t.Errorf("token %q, session %s", token, b.get("/auth/session").body)
	}
	if renewed := b.cookies[sessionCookie]; renewed == token {
		t.Error("the token was not renewed")
	}
	got, err := s.auth.Verify(context.Background(), token)
	if err != nil || got.User.Email != "ada@example.com" || got.ID == "" || !got.Token.Has("exp") || !got.Token.Has("jti") {
		t.Fatalf("Verify = %+v, %v", got, err)
	}
	for name, bad := range map[string]string{"forged": token + "x", "sealed by us": seal(t, sessionCookie, `{"sub":"1"}`),
		"empty": "", "endless": strings.Repeat("x", 200_000)} {
		if _, err := s.auth.Verify(context.Background(), bad); !errors.Is(err, gatebook.ErrNoSession) {
			t.Errorf("%s: %v", name, err)
		}
	}
	s.clock.advance(31 * 24 * 60 * 60 * 1e9)
	if _, err := s.auth.Verify(context.Background(), token); !errors.Is(err, gatebook.ErrNoSession) {
		t.Errorf("after it ran out: %v", err)
	}
}

// TestOwnTokensFail: what cannot be encoded signs nobody in, and ends nothing.
func TestOwnTokensFail(t *testing.T) {
	for name, broken := range map[string]func() (string, error){
		"error": func() (string, error) { return "", errors.New("MARKER") },
		"empty": func() (string, error) { return "", nil },
		"text":  func() (string, error) { return "a b;c", nil },
		"long":  func() (string, error) { return strings.Repeat("x", 100_000), nil },
		"panic": func() (string, error) { panic("MARKER") },
	} {
		t.Run(name, func(t *testing.T) {
			fails := true
			s := newWire(t, func(_ *site, c *gatebook.Config) {
				signedTokens(c)
				good := c.Session.EncodeToken
				c.Session.EncodeToken = func(ctx context.Context, c gatebook.Claims) (string, error) {
					if fails {
						return broken()
					}
					return good(ctx, c)
				}
			})
			s.idp.prove("1", "ada@example.com", true)
			b := newBrowser(s.site)
			a := b.get(b.back("idp", b.begin("idp")))
			if b.cookies[sessionCookie] != "" || !strings.HasSuffix(a.Header.Get("Location"), "/auth/error?error=Configuration") {
				t.Errorf("to %s with %v", a.Header.Get("Location"), b.cookies)
			}
			if types := s.heard.types(); slices.Contains(types, record.TypeSignIn) || !slices.Contains(types, record.TypeSignInFailed) {
				t.Errorf("events %v", types)
			}
			fails = false
			b.get(b.back("idp", b.begin("idp")))
			token := b.cookies[sessionCookie]
			if token == "" {
				t.Fatalf("no session: %q", s.lines.all())
			}
			fails = true
			if body := b.get("/auth/session").body; !strings.Contains(body, "ada@example.com") || b.cookies[sessionCookie] != token {
				t.Errorf("session %s with %v", body, b.cookies)
			}
			if strings.Contains(strings.Join(s.lines.all(), ""), "MARKER") {
				t.Errorf("log: %q", s.lines.all())
			}
		})
	}
}

// TestTokenSecrets: they seal sessions and checks; CSRF and magic links keep to
// Secrets, as an Auth.js application with jwt.secret has it.
func TestTokenSecrets(t *testing.T) {
	const other = "another secret, only for the tokens of sessions"
	s := newWire(t, func(_ *site, c *gatebook.Config) {
		c.Session.Strategy, c.Session.TokenSecrets = gatebook.StrategyJWT, []gatebook.Secret{secret}
		c.Secrets = []gatebook.Secret{other}
	})
	if _, err := s.auth.Verify(context.Background(), seal(t, sessionCookie, `{"sub":"1"}`)); err != nil {
		t.Errorf("a token of TokenSecrets: %v", err)
	}
	_, cookie := csrfPair("abc") // of the secret that is now the tokens'
	if names := cookieNames(s.serve(request{path: "/auth/csrf", header: []string{"Cookie: " + cookie}})); !slices.Contains(names, "authjs.csrf-token") {
		t.Errorf("a CSRF cookie of TokenSecrets was taken: %v", names)
	}
}
