package gatebook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/gatebook/gatebook/book"
	"github.com/gatebook/gatebook/internal/redirect"
	"github.com/gatebook/gatebook/internal/secret"
)

// Config configures an [Auth]. Providers is required, and a secret, here or in
// the environment. It is copied by [New].
type Config struct {
	// Secrets encrypt and authenticate cookies and tokens. The first is used
	// for new ones, all for reading: to rotate, put the new one in front. Make
	// one with `gatebook secret`. If empty, AUTH_SECRET_3, AUTH_SECRET_2,
	// AUTH_SECRET_1 and AUTH_SECRET of the environment, those that are set.
	Secrets []Secret
	// URL is the address of the site as visitors know it, such as
	// "https://app.example.com"; a path in it is the default of BasePath. When
	// set, it decides every link, redirect and cookie, whatever the Host or
	// X-Forwarded headers say. If empty, AUTH_URL; if that is empty too, only
	// requests to loopback hosts are served, unless TrustHost is set.
	URL string
	// BasePath is the path under which the handler is mounted. If empty, the
	// path of URL, and "/auth" when it has none.
	BasePath string
	// TrustHost serves any host that a request names. Only safe behind a proxy
	// that checks the Host header: whoever chooses it chooses where magic links
	// point. AUTH_TRUST_HOST sets it too.
	TrustHost bool
	// TrustedProxies lists the networks of our own proxies. Only their
	// X-Forwarded-For, -Host and -Proto headers are looked at.
	TrustedProxies []netip.Prefix
	// TrustedOrigins lists the origins of our own front ends elsewhere, such as
	// "https://app.example.com", without a path. Scripts there may use our routes
	// with the visitor's cookies (CORS), their POSTs pass the check of origins,
	// and callback URLs may lead there. Whoever controls one can act for each
	// visitor who is signed in. http is for loopback only, unless URL is http.
	TrustedOrigins []string

	// UseSecureCookies fixes the mode of cookies: true makes them Secure with the
	// prefixes __Secure- and __Host- in their names, false does not. If nil,
	// secure mode is used when visitors know the site by https. False on such a
	// site sends sessions over any connection; only for sharing them with an
	// Auth.js application that is set so.
	UseSecureCookies *bool
	// CookieDomain, such as "example.com", shares the session with all hosts in
	// that domain, which must hold the host of URL. Each of them can then read
	// and replace the session. If empty, cookies stay with the host. Of a domain
	// under which strangers register theirs, such as co.uk, browsers keep none.
	CookieDomain string
	// Cookies change the names and attributes of single cookies.
	Cookies Cookies

	// RedirectProxyURL is the address, base path included, of the deployment
	// whose callback addresses are registered at the providers, such as
	// "https://auth.example.com/auth": providers send visitors there, and it
	// sends them on to where they began. It is set at that deployment too, and
	// all share a secret. It needs URL. If empty, AUTH_REDIRECT_PROXY_URL.
	RedirectProxyURL string
	// RedirectProxyOrigins lists, at that deployment, the origins that it sends
	// visitors on to, with the provider's code. An entry may stand for each host
	// one label below a domain: "https://*.preview.example.com".
	RedirectProxyOrigins []string

	// Providers are the ways to sign in, in the order in which they are shown.
	Providers []Provider
	// Adapter keeps users, accounts and sessions. Without one, people are whoever
	// their provider says, sessions are tokens, and Book is required.
	Adapter Adapter
	// Book is where events are recorded when there is no adapter.
	Book *book.Book

	Session   SessionConfig
	Callbacks Callbacks
	// Events are called after the change they tell of is committed.
	Events Events
	// InTx are called inside the transaction; they can undo it.
	InTx InTx

	// NativeRedirects are the addresses at which programs on people's own
	// devices get a one-time code from the browser (RFC 8252): a claimed https
	// URL, a scheme of the program's own with a dot in it, such as
	// "com.example.app:/callback", or "http://127.0.0.1/callback", which stands
	// for any port. They are compared exactly. Adapter is needed, which sees that
	// a code works once.
	NativeRedirects []string

	Pages Pages
	Theme Theme

	// Logger gets one line for each thing an operator should know. If nil,
	// slog.Default.
	Logger *slog.Logger
	// Now returns the current time. If nil, time.Now.
	Now func() time.Time
}

// SessionConfig configures sessions.
type SessionConfig struct {
	// Strategy is StrategyJWT or StrategyDatabase. If empty, database with an
	// adapter and jwt without.
	Strategy string
	// MaxAge is how long a session lasts without being used. If zero, 30 days.
	MaxAge time.Duration
	// UpdateAge is how old a database session gets before its expiry is moved.
	// If zero, one day; negative moves it at every use.
	UpdateAge time.Duration
	// GenerateToken makes the token of a database session (Auth.js:
	// generateSessionToken): 16 to 512 visible characters of ASCII that nobody can
	// guess. If nil, a random UUID.
	GenerateToken func() string

	// TokenMaxAge is how long a session token is valid (Auth.js: jwt.maxAge). If
	// zero, MaxAge.
	TokenMaxAge time.Duration
	// TokenSecrets encrypt session tokens and the cookies of a sign-in under way
	// (Auth.js: jwt.secret). If empty, Secrets. To share sessions with an Auth.js
	// application that sets jwt.secret; nothing else needs two.
	TokenSecrets []Secret
	// EncodeToken and DecodeToken replace the encryption of session tokens
	// (Auth.js: jwt.encode and jwt.decode); both or none. The cookies of a
	// sign-in under way stay encrypted as they are. EncodeToken gets the claims
	// with iat, exp and jti, and returns at most 90 kB of letters, digits and
	// "-_.!~*'()". DecodeToken returns the claims that EncodeToken got, with an
	// error when it cannot vouch for them: whatever it accepts is signed in. We
	// check exp, nbf and iat.
	EncodeToken func(context.Context, Claims) (string, error)
	DecodeToken func(ctx context.Context, token string) (Claims, error)
	// Revocable keeps a list of token sessions in the adapter, so that signing out
	// is final and sessions can be listed and ended. Each read of a session then
	// asks the store, by primary key. Sessions in the database need no such list.
	Revocable bool
}

// Callbacks let the application take part in a decision. They run outside any
// transaction; the request waits for them.
type Callbacks struct {
	// SignIn may refuse a sign-in: nil allows, [Deny] and [RedirectTo] refuse,
	// any other error refuses too and is recorded as internal. It is called when
	// a magic link is asked for and when somebody has proved who they are.
	SignIn func(context.Context, *SignInAttempt) error
	// Redirect says where to go for the callback URL url, which a visitor chose;
	// baseURL is the site's origin. It must not return a foreign address that
	// it does not know. If nil, addresses of the site itself and of
	// Config.TrustedOrigins are allowed and everything else leads to baseURL.
	Redirect func(ctx context.Context, url, baseURL string) (string, error)
	// JWT returns the claims of a session token: at sign-in, and whenever the
	// session is read through the middleware or the session route. Returning
	// nil ends the session. If nil, p.Token.
	JWT func(context.Context, *JWTParams) (*Claims, error)
	// Session returns what clients are shown of a session. If nil, p.Session:
	// the user's name, e-mail and image, and the expiry.
	Session func(context.Context, *SessionParams) (*Claims, error)
}

// SignInAttempt is what the signIn callback decides on.
type SignInAttempt struct {
	// User is the stored user when the account is known, else who the provider
	// says it is.
	User    *User
	Account *Account
	// Profile is the provider's raw profile, nil for e-mail and credentials.
	Profile *Claims
	// VerificationRequest is true when a magic link is asked for.
	VerificationRequest bool
	// Credentials is the whole submitted form, for credentials only.
	Credentials map[string]string
	Request     RequestInfo
}

// JWTParams is the input of the jwt callback. User, Account, Profile and
// IsNewUser are set at sign-in only.
type JWTParams struct {
	Token     Claims
	User      *User
	Account   *Account
	Profile   *Claims
	IsNewUser *bool
	// Trigger is signIn, signUp, update or empty.
	Trigger string
	// Update is the data that a client sent to update the session, any JSON
	// value; do not trust it.
	Update json.RawMessage
}

// SessionParams is the input of the session callback.
type SessionParams struct {
	// Session is what clients are shown by default.
	Session Claims
	// Token is set for token sessions, User and Stored for database sessions.
	Token  *Claims
	User   *User
	Stored *StoredSession
	// Trigger is update or empty, and Update the data that the client sent.
	Trigger string
	Update  json.RawMessage
}

// Pages are paths of the application's own pages; empty ones are built in.
type Pages struct {
	SignIn        string
	SignOut       string
	Error         string
	VerifyRequest string
	// NewUser is where new users go first.
	NewUser string
}

// Theme changes the looks of the built-in pages.
type Theme struct {
	// ColorScheme is auto, light or dark. If empty, auto.
	ColorScheme string
	// BrandColor and ButtonText are colours, "#rrggbb".
	BrandColor string
	ButtonText string
	// Logo is the address of an image.
	Logo string
}

// refusal is what [Deny] and [RedirectTo] return.
type refusal struct{ code, url string }

func (r *refusal) Error() string { return "gatebook: sign-in refused" }

// Deny returns the error with which the signIn callback refuses. The code, when
// not empty, is shown to the visitor in the address of the error page.
func Deny(code string) error { return &refusal{code: code} }

// RedirectTo returns the error with which the signIn callback refuses and sends
// the visitor to url, which goes through the redirect callback.
func RedirectTo(url string) error { return &refusal{url: url} }

var providerID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$`)

// fill sets what was left out, from the environment and the defaults, and
// reports what is wrong, naming the field.
func (c *Config) fill() error {
	if len(c.Secrets) == 0 {
		c.Secrets = secret.FromEnv()
	}
	if len(c.Secrets) == 0 || slices.Contains(c.Secrets, "") {
		return errors.New("gatebook: Config.Secrets is missing: set it or AUTH_SECRET; `gatebook secret` makes one")
	}
	if c.URL == "" {
		c.URL = os.Getenv("AUTH_URL")
	}
	if v := os.Getenv("AUTH_TRUST_HOST"); v != "" && v != "false" && v != "0" {
		c.TrustHost = true
	}
	if c.URL != "" {
		_, base, err := redirect.ParseBase(c.URL)
		if err != nil {
			return fmt.Errorf("gatebook: Config.URL: %w", err) // not repeated: it may hold a password
		}
		if c.BasePath == "" && base != "/" {
			c.BasePath = base
		}
	}
	if c.BasePath == "" {
		c.BasePath = "/auth"
	}
	if !strings.HasPrefix(c.BasePath, "/") || strings.ContainsAny(c.BasePath, "?#%\\ ") || strings.Contains(c.BasePath, "//") {
		return fmt.Errorf("gatebook: Config.BasePath %q must be a plain path that begins with one slash, such as /auth", c.BasePath)
	}
	c.BasePath = strings.TrimRight(c.BasePath, "/")
	if c.BasePath != "" && path.Clean(c.BasePath) != c.BasePath {
		return fmt.Errorf("gatebook: Config.BasePath %q must not have . or .. in it", c.BasePath)
	}
	for i, p := range c.TrustedProxies {
		if !p.IsValid() {
			return fmt.Errorf("gatebook: Config.TrustedProxies[%d] is no network: make it with netip.MustParsePrefix", i)
		}
	}
	if err := c.fillOrigins(); err != nil {
		return err
	}
	return c.fillStores()
}

func (c *Config) fillStores() error {
	switch {
	case len(c.Providers) == 0:
		return errors.New("gatebook: Config.Providers is empty: name at least one way to sign in")
	case c.Adapter != nil && c.Book != nil:
		return errors.New("gatebook: Config.Book is for use without an adapter; with one, its own book is used")
	case c.Adapter == nil && c.Book == nil:
		return errors.New("gatebook: Config.Adapter and Config.Book are both missing: events must be recorded somewhere; use an adapter, or sqlite.OpenBook")
	}
	s := &c.Session
	switch s.Strategy {
	case "":
		s.Strategy = StrategyJWT
		if c.Adapter != nil {
			s.Strategy = StrategyDatabase
		}
	case StrategyJWT:
	case StrategyDatabase:
		if c.Adapter == nil {
			return errors.New("gatebook: Config.Session.Strategy is database, which needs Config.Adapter")
		}
	default:
		return fmt.Errorf("gatebook: Config.Session.Strategy %q is neither jwt nor database", s.Strategy)
	}
	if s.Revocable && c.Adapter == nil {
		return errors.New("gatebook: Config.Session.Revocable needs Config.Adapter to keep the list of sessions")
	}
	if s.MaxAge == 0 {
		s.MaxAge = 30 * 24 * time.Hour
	}
	if s.UpdateAge == 0 {
		s.UpdateAge = 24 * time.Hour
	}
	if s.TokenMaxAge == 0 {
		s.TokenMaxAge = s.MaxAge
	}
	if s.MaxAge < time.Second || s.TokenMaxAge < time.Second {
		return errors.New("gatebook: Config.Session.MaxAge and TokenMaxAge must be at least a second")
	}
	if (s.EncodeToken == nil) != (s.DecodeToken == nil) {
		return errors.New("gatebook: Config.Session.EncodeToken and DecodeToken go together: set both or none")
	}
	if slices.Contains(s.TokenSecrets, "") {
		return errors.New("gatebook: Config.Session.TokenSecrets has an empty secret")
	}
	if len(s.TokenSecrets) == 0 {
		s.TokenSecrets = c.Secrets
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c.checkProviders()
}

func (c *Config) checkProviders() error {
	seen := map[string]bool{}
	passkeys := "" // the id of the provider of passkeys
	for i, p := range c.Providers {
		if p == nil {
			return fmt.Errorf("gatebook: Config.Providers[%d] is nil", i)
		}
		info := p.Info()
		if !providerID.MatchString(info.ID) || info.ID == "undefined" {
			return fmt.Errorf("gatebook: Config.Providers[%d]: id %q must be 1 to 64 letters, digits, '-' or '_'", i, info.ID)
		}
		if seen[info.ID] {
			return fmt.Errorf("gatebook: Config.Providers: two have the id %q", info.ID)
		}
		seen[info.ID] = true
		switch p := p.(type) {
		case RedirectProvider, CredentialsProvider:
		case WebAuthnProvider:
			if c.Adapter == nil {
				return fmt.Errorf("gatebook: Config.Providers: %q needs Config.Adapter to keep passkeys", info.ID)
			}
			if passkeys != "" {
				return fmt.Errorf("gatebook: Config.Providers: %q and %q are both for passkeys, which have one table: keep one", passkeys, info.ID)
			}
			passkeys = info.ID
		case EmailProvider:
			if c.Adapter == nil {
				return fmt.Errorf("gatebook: Config.Providers: %q sends magic links, which need Config.Adapter to keep their tokens", info.ID)
			}
			if err := checkLinks(p); err != nil {
				return err
			}
		default:
			return fmt.Errorf("gatebook: Config.Providers: %q (%T) is no RedirectProvider, EmailProvider, CredentialsProvider or WebAuthnProvider", info.ID, p)
		}
	}
	for i, uri := range c.NativeRedirects {
		if err := redirect.CheckNative(uri); err != nil {
			return fmt.Errorf("gatebook: Config.NativeRedirects[%d]: %w", i, err)
		}
	}
	if len(c.NativeRedirects) > 0 && c.Adapter == nil {
		return errors.New("gatebook: Config.NativeRedirects needs Config.Adapter, which sees that a code works once")
	}
	for name, page := range map[string]string{"SignIn": c.Pages.SignIn, "SignOut": c.Pages.SignOut,
		"Error": c.Pages.Error, "VerifyRequest": c.Pages.VerifyRequest, "NewUser": c.Pages.NewUser} {
		if page != "" && (!strings.HasPrefix(page, "/") || strings.HasPrefix(page, "//") || strings.ContainsAny(page, "\\\r\n\t")) {
			return fmt.Errorf("gatebook: Config.Pages.%s %q must be a path of this site, beginning with one slash", name, page)
		}
	}
	return nil
}
