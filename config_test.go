package gatebook_test

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/adapter/memory"
	"github.com/gatebook/gatebook/book"
	"github.com/gatebook/gatebook/provider/credentials"
	"github.com/gatebook/gatebook/provider/email"
	"github.com/gatebook/gatebook/provider/oauth"
)

// noProvider is a Provider of no kind.
type noProvider struct{ id string }

func (p noProvider) Info() gatebook.ProviderInfo { return gatebook.ProviderInfo{ID: p.id} }

// clearEnv makes sure that the machine's own variables do not decide.
func clearEnv(t *testing.T) {
	t.Helper()
	for _, name := range []string{"AUTH_SECRET", "AUTH_SECRET_1", "AUTH_SECRET_2", "AUTH_SECRET_3", "AUTH_URL", "AUTH_TRUST_HOST", "AUTH_REDIRECT_PROXY_URL"} {
		t.Setenv(name, "")
	}
}

func TestConfigErrorsNameTheField(t *testing.T) {
	clearEnv(t)
	mail, err := email.New(email.Config{From: "a@example.com", Mailer: &outbox{}})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		change func(*gatebook.Config)
		want   string // the field
	}{
		{"no secret", func(c *gatebook.Config) { c.Secrets = nil }, "Config.Secrets"},
		{"empty secret", func(c *gatebook.Config) { c.Secrets = []gatebook.Secret{secret, ""} }, "Config.Secrets"},
		{"URL without scheme", func(c *gatebook.Config) { c.URL = "app.example.com" }, "Config.URL"},
		{"URL of another scheme", func(c *gatebook.Config) { c.URL = "ftp://app.example.com" }, "Config.URL"},
		{"URL with a password", func(c *gatebook.Config) { c.URL = "https://user:MARKER@app.example.com" }, "Config.URL"},
		{"base path without slash", func(c *gatebook.Config) { c.BasePath = "auth" }, "Config.BasePath"},
		{"base path with a query", func(c *gatebook.Config) { c.BasePath = "/auth?x" }, "Config.BasePath"},
		{"base path with two slashes", func(c *gatebook.Config) { c.BasePath = "//auth" }, "Config.BasePath"},
		{"base path upwards", func(c *gatebook.Config) { c.BasePath = "/a/../auth" }, "Config.BasePath"},
		{"no provider", func(c *gatebook.Config) { c.Providers = nil }, "Config.Providers"},
		{"nil provider", func(c *gatebook.Config) { c.Providers = append(c.Providers, nil) }, "Config.Providers[1]"},
		{"provider of no kind", func(c *gatebook.Config) { c.Providers = []gatebook.Provider{noProvider{"x"}} }, "Config.Providers"},
		{"provider id", func(c *gatebook.Config) { c.Providers = []gatebook.Provider{&fakeProvider{id: "a/b"}} }, "Config.Providers[0]"},
		{"provider id empty", func(c *gatebook.Config) { c.Providers = []gatebook.Provider{&fakeProvider{}} }, "Config.Providers[0]"},
		{"provider id undefined", func(c *gatebook.Config) { c.Providers = []gatebook.Provider{&fakeProvider{id: "undefined"}} }, "Config.Providers[0]"},
		{"provider twice", func(c *gatebook.Config) { c.Providers = append(c.Providers, &fakeProvider{id: "idp"}) }, "Config.Providers"},
		{"e-mail without adapter", func(c *gatebook.Config) {
			c.Adapter, c.Book, c.Providers = nil, book.New(book.NewMemory()), []gatebook.Provider{mail}
		}, "Config.Adapter"},
		{"nowhere to record", func(c *gatebook.Config) { c.Adapter = nil }, "Config.Book"},
		{"adapter and book", func(c *gatebook.Config) { c.Book = book.New(book.NewMemory()) }, "Config.Book"},
		{"strategy", func(c *gatebook.Config) { c.Session.Strategy = "cookie" }, "Config.Session.Strategy"},
		{"database without adapter", func(c *gatebook.Config) {
			c.Adapter, c.Book, c.Session.Strategy = nil, book.New(book.NewMemory()), gatebook.StrategyDatabase
		}, "Config.Session.Strategy"},
		{"negative age", func(c *gatebook.Config) { c.Session.MaxAge = -1 }, "Config.Session.MaxAge"},
		{"tiny age", func(c *gatebook.Config) { c.Session.TokenMaxAge = time.Millisecond }, "TokenMaxAge"},
		{"proxy", func(c *gatebook.Config) { c.TrustedProxies = []netip.Prefix{{}} }, "Config.TrustedProxies[0]"},
		{"page elsewhere", func(c *gatebook.Config) { c.Pages.SignIn = "https://example.com/" }, "Config.Pages.SignIn"},
		{"page with two slashes", func(c *gatebook.Config) { c.Pages.Error = "//example.com/" }, "Config.Pages.Error"},
		{"page without slash", func(c *gatebook.Config) { c.Pages.NewUser = "welcome" }, "Config.Pages.NewUser"},
		{"page sign-out", func(c *gatebook.Config) { c.Pages.SignOut = "bye" }, "Config.Pages.SignOut"},
		{"page verify", func(c *gatebook.Config) { c.Pages.VerifyRequest = "v" }, "Config.Pages.VerifyRequest"},
		{"trusted origin with a path", func(c *gatebook.Config) { c.TrustedOrigins = []string{"https://spa.example/app"} }, "Config.TrustedOrigins[0]"},
		{"trusted origin with a slash", func(c *gatebook.Config) { c.TrustedOrigins = []string{"https://spa.example/"} }, "Config.TrustedOrigins[0]"},
		{"trusted origin with a star", func(c *gatebook.Config) { c.TrustedOrigins = []string{"https://*.example.com"} }, "Config.TrustedOrigins[0]"},
		{"trusted origin null", func(c *gatebook.Config) { c.TrustedOrigins = []string{"https://spa.example", "null"} }, "Config.TrustedOrigins[1]"},
		{"trusted origin with a password", func(c *gatebook.Config) { c.TrustedOrigins = []string{"https://MARKER:MARKER@spa.example"} }, "Config.TrustedOrigins[0]"},
		{"trusted origin in the clear", func(c *gatebook.Config) { c.TrustedOrigins = []string{"http://spa.example"} }, "Config.TrustedOrigins[0]"},
		{"cookie domain without URL", func(c *gatebook.Config) { c.URL, c.CookieDomain = "", "example.com" }, "Config.CookieDomain"},
		{"cookie domain of another", func(c *gatebook.Config) { c.CookieDomain = "example.org" }, "Config.CookieDomain"},
		{"cookie domain that ends alike", func(c *gatebook.Config) { c.CookieDomain = "ample.com" }, "Config.CookieDomain"},
		{"cookie domain below", func(c *gatebook.Config) { c.CookieDomain = "x.app.example.com" }, "Config.CookieDomain"},
		{"cookie domain top level", func(c *gatebook.Config) { c.CookieDomain = ".com" }, "Config.CookieDomain"},
		{"cookie domain address", func(c *gatebook.Config) { c.URL, c.CookieDomain = "http://10.0.0.1", "10.0.0.1" }, "Config.CookieDomain"},
		{"cookie domain IPv6", func(c *gatebook.Config) { c.URL, c.CookieDomain = "http://[::1]", "[::1]" }, "Config.CookieDomain"},
		{"cookie domain with attributes", func(c *gatebook.Config) { c.CookieDomain = "example.com; Path=/" }, "Config.CookieDomain"},
		{"cookie domain with port", func(c *gatebook.Config) { c.CookieDomain = "example.com:443" }, "Config.CookieDomain"},
		{"cookie name", func(c *gatebook.Config) { c.Cookies.State.Name = "a b" }, "Config.Cookies.State.Name"},
		{"cookie name too long", func(c *gatebook.Config) { c.Cookies.Nonce.Name = strings.Repeat("n", 101) }, "Config.Cookies.Nonce.Name"},
		{"cookie name twice", func(c *gatebook.Config) { c.Cookies.Nonce.Name, c.Cookies.SessionToken.Name = "n", "n" }, "Config.Cookies.Nonce.Name"},
		{"cookie name of a chunk", func(c *gatebook.Config) { c.Cookies.Nonce.Name, c.Cookies.SessionToken.Name = "n.0", "n" }, "Config.Cookies.Nonce.Name"},
		{"cookie prefix without https", func(c *gatebook.Config) { c.URL, c.Cookies.SessionToken.Name = "http://localhost", "__Secure-s" }, "Config.Cookies.SessionToken.Name"},
		{"cookie prefix without secure", func(c *gatebook.Config) { c.UseSecureCookies, c.Cookies.SessionToken.Name = new(false), "__Host-s" }, "Config.Cookies.SessionToken.Name"},
		{"cookie prefix and domain", func(c *gatebook.Config) { c.CookieDomain, c.Cookies.SessionToken.Name = "example.com", "__Host-s" }, "Config.Cookies.SessionToken.Name"},
		{"cookie prefix in small letters and domain", func(c *gatebook.Config) { c.CookieDomain, c.Cookies.SessionToken.Name = "example.com", "__host-s" }, "Config.Cookies.SessionToken.Name"},
		{"cookie prefix and path", func(c *gatebook.Config) { c.Cookies.CSRFToken.Path = "/auth" }, "Config.Cookies.CSRFToken.Path"},
		{"cookie path elsewhere", func(c *gatebook.Config) { c.Cookies.State.Path = "/other" }, "Config.Cookies.State.Path"},
		{"cookie path that begins alike", func(c *gatebook.Config) { c.Cookies.State.Path = "/au" }, "Config.Cookies.State.Path"},
		{"cookie SameSite", func(c *gatebook.Config) { c.Cookies.CallbackURL.SameSite = "lax" }, "Config.Cookies.CallbackURL.SameSite"},
		{"cookie SameSite of a check", func(c *gatebook.Config) { c.Cookies.PKCECodeVerifier.SameSite = "Strict" }, "Config.Cookies.PKCECodeVerifier.SameSite"},
		{"proxy address", func(c *gatebook.Config) { c.RedirectProxyURL = "auth.example.com" }, "Config.RedirectProxyURL"},
		{"proxy address in the clear", func(c *gatebook.Config) { c.RedirectProxyURL = "http://auth.example.com" }, "Config.RedirectProxyURL"},
		{"proxy without URL", func(c *gatebook.Config) { c.URL, c.RedirectProxyURL = "", "https://auth.example.com/auth" }, "Config.RedirectProxyURL needs Config.URL"},
		{"proxy origins without address", func(c *gatebook.Config) { c.RedirectProxyOrigins = []string{"https://a.example"} }, "Config.RedirectProxyOrigins"},
		{"proxy origin with a path", func(c *gatebook.Config) {
			c.RedirectProxyURL, c.RedirectProxyOrigins = "https://app.example.com/auth", []string{"https://a.example/x"}
		}, "Config.RedirectProxyOrigins[0]"},
		{"proxy origin of everybody", func(c *gatebook.Config) {
			c.RedirectProxyURL, c.RedirectProxyOrigins = "https://app.example.com/auth", []string{"https://*.com"}
		}, "Config.RedirectProxyOrigins[0]"},
		{"proxy origin with a star inside", func(c *gatebook.Config) {
			c.RedirectProxyURL, c.RedirectProxyOrigins = "https://app.example.com/auth", []string{"https://pr-*.example.com"}
		}, "Config.RedirectProxyOrigins[0]"},
		{"encode without decode", func(c *gatebook.Config) {
			c.Session.EncodeToken = func(context.Context, gatebook.Claims) (string, error) { return "", nil }
		}, "Config.Session.EncodeToken"},
		{"decode without encode", func(c *gatebook.Config) {
			c.Session.DecodeToken = func(context.Context, string) (gatebook.Claims, error) { return gatebook.Claims{}, nil }
		}, "Config.Session.EncodeToken"},
		{"empty token secret", func(c *gatebook.Config) { c.Session.TokenSecrets = []gatebook.Secret{""} }, "Config.Session.TokenSecrets"},
		{"theme's colour scheme", func(c *gatebook.Config) { c.Theme.ColorScheme = "dark; }" }, "Config.Theme"},
		{"theme's text", func(c *gatebook.Config) { c.Theme.ButtonText = "</style><script>" }, "Config.Theme"},
		{"theme's logo", func(c *gatebook.Config) { c.Theme.Logo = "javascript:alert(1)" }, "Config.Theme"},
		{"theme", func(c *gatebook.Config) { c.Theme.BrandColor = "red;}" }, "Config.Theme"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := gatebook.Config{Secrets: []gatebook.Secret{secret}, URL: "https://app.example.com", Adapter: memory.New(),
				Providers: []gatebook.Provider{&fakeProvider{id: "idp"}}, Logger: slog.New(slog.DiscardHandler)}
			if _, err := gatebook.New(cfg); err != nil {
				t.Fatal(err)
			}
			tt.change(&cfg)
			a, err := gatebook.New(cfg)
			if err == nil || a != nil || !strings.HasPrefix(err.Error(), "gatebook: ") || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("New = %v, want an error that names %s", err, tt.want)
			}
			if strings.Contains(err.Error(), "MARKER") || strings.Contains(err.Error(), secret) {
				t.Errorf("the error holds a secret: %v", err)
			}
		})
	}
}

func TestConfigFromTheEnvironment(t *testing.T) {
	clearEnv(t)
	t.Setenv("AUTH_SECRET", "the oldest secret, long ago retired....")
	t.Setenv("AUTH_SECRET_1", "the second secret, which is on its way out")
	t.Setenv("AUTH_SECRET_3", "the newest secret, with which is sealed")
	t.Setenv("AUTH_URL", "http://localhost/base")
	d := newDesk(t, func(_ *desk, c *gatebook.Config) {
		c.Secrets, c.URL, c.Session.Strategy = nil, "", gatebook.StrategyJWT
	})
	v := d.visitor()
	// The path of AUTH_URL is the base path.
	if w := v.get("/base/csrf"); w.Code != 200 {
		t.Fatalf("GET /base/csrf = %d", w.Code)
	}
	if w := v.get("/auth/csrf"); w.Code != 400 {
		t.Errorf("GET /auth/csrf = %d, want 400", w.Code)
	}
	for i, s := range []gatebook.Secret{"the newest secret, with which is sealed", "the second secret, which is on its way out", "the oldest secret, long ago retired...."} {
		other := newDesk(t, func(_ *desk, c *gatebook.Config) {
			c.Secrets, c.Session.Strategy, c.BasePath = []gatebook.Secret{s}, gatebook.StrategyJWT, "/auth"
		})
		u := other.visitor()
		u.signIn()
		token := u.cookies[sessionCookie]
		if _, err := d.auth.Verify(context.Background(), token); err != nil {
			t.Errorf("a token of secret %d: %v", i, err)
		}
		u.cookies = map[string]string{sessionCookie: token}
		u.send(d.auth.Middleware(nothing), u.request("GET", "/", nil))
		_, err := other.auth.Verify(context.Background(), u.cookies[sessionCookie])
		if newest := i == 0; (err == nil) != newest {
			t.Errorf("the renewed token opens with secret %d: %v", i, err)
		}
	}
	if s := d.log.String(); strings.Contains(s, "secret is short") {
		t.Errorf("log:\n%s", s)
	}
}

// TestAssertions are the classes of errors that Auth.js finds in a configuration
// at each request, here found by New or by the provider's own constructor. What
// concerns a request is in TestHosts (UntrustedHost) and TestCallbackURL
// (InvalidCallbackUrl).
func TestAssertions(t *testing.T) {
	clearEnv(t)
	mail, err := email.New(email.Config{From: "a@example.com", Mailer: &outbox{}})
	if err != nil {
		t.Fatal(err)
	}
	open := func(change func(*gatebook.Config)) error {
		cfg := gatebook.Config{Secrets: []gatebook.Secret{secret}, URL: "https://app.example.com", Adapter: memory.New(),
			Providers: []gatebook.Provider{&fakeProvider{id: "idp"}}, Logger: slog.New(slog.DiscardHandler)}
		change(&cfg)
		_, err := gatebook.New(cfg)
		return err
	}
	alone := func(c *gatebook.Config) { c.Adapter, c.Book = nil, book.New(book.NewMemory()) }
	for _, tt := range []struct {
		name  string
		check func() error
		want  string
	}{
		{"MissingSecret", func() error { return open(func(c *gatebook.Config) { c.Secrets = nil }) }, "Config.Secrets is missing"},
		{"InvalidEndpoints/issuer", func() error { _, err := oauth.New(oauth.Config{ID: "x", ClientID: "c", ClientSecret: "s"}); return err }, "Issuer"},
		{"InvalidEndpoints/oauth", func() error {
			_, err := oauth.New(oauth.Config{ID: "x", Type: "oauth", ClientID: "c", ClientSecret: "s", AuthURL: "https://a.example/"})
			return err
		}, "TokenURL"},
		{"MissingAuthorize", func() error { _, err := credentials.New(credentials.Config{}); return err }, "Authorize"},
		{"MissingAdapter/email", func() error {
			return open(func(c *gatebook.Config) { alone(c); c.Providers = []gatebook.Provider{mail} })
		}, "Config.Adapter"},
		{"MissingAdapter/database", func() error {
			return open(func(c *gatebook.Config) { alone(c); c.Session.Strategy = gatebook.StrategyDatabase })
		}, "Config.Adapter"},
		{"MissingAdapter/webauthn", func() error {
			return open(func(c *gatebook.Config) { alone(c); c.Providers = []gatebook.Provider{fakePasskeys{"passkey"}} })
		}, "Config.Adapter"},
		{"DuplicateConditionalUI", func() error {
			return open(func(c *gatebook.Config) {
				c.Providers = []gatebook.Provider{fakePasskeys{"passkey"}, fakePasskeys{"webauthn"}}
			})
		}, "both for passkeys"},
		{"UnsupportedStrategy", func() error { return open(func(c *gatebook.Config) { c.Session.Strategy = "cookie" }) }, "neither jwt nor database"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.check(); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one about %s", err, tt.want)
			}
		})
	}
}

func TestShortSecretIsSaid(t *testing.T) {
	clearEnv(t)
	d := newDesk(t, func(_ *desk, c *gatebook.Config) { c.Secrets = []gatebook.Secret{"MARKER"} })
	if s := d.log.String(); !strings.Contains(s, "secret is short") || strings.Contains(s, "MARKER") {
		t.Errorf("log %q", s)
	}
}

// What the caller does to its Config later changes nothing.
func TestConfigIsCopied(t *testing.T) {
	clearEnv(t)
	var cfg *gatebook.Config
	d := newDesk(t, func(d *desk, c *gatebook.Config) {
		c.Session.Strategy = gatebook.StrategyJWT
		c.Secrets = []gatebook.Secret{secret}
		cfg = c
	})
	secrets, providers := cfg.Secrets, cfg.Providers
	v := d.visitor()
	v.signIn()
	foreign := seal(t, sessionCookie, `{"sub":"1"}`)
	before, err := d.auth.Verify(context.Background(), foreign)
	if err != nil {
		t.Fatal(err)
	}
	secrets[0] = "another secret of at least 32 characters"
	slices.Reverse(providers)
	providers[0] = nil
	if after, err := d.auth.Verify(context.Background(), foreign); err != nil || after.ID != before.ID {
		t.Errorf("a foreign session has the sid %v, %v, and had %s", after, err, before.ID)
	}
	if got := v.get("/auth/session").Body.String(); !strings.Contains(got, "ada@example.com") {
		t.Errorf("session = %s", got)
	}
	if got := v.get("/auth/providers").Body.String(); !strings.HasPrefix(got, `{"idp":`) {
		t.Errorf("providers = %s", got)
	}
}
