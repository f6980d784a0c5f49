// Package oauth signs people in with OAuth 2.0 (RFC 6749) and OpenID Connect
// Core 1.0: one engine for every provider, over golang.org/x/oauth2 for the
// exchange of the code and coreos/go-oidc for discovery, keys and signatures.
//
// Most programs take a provider they know by name from package
// provider/catalog. Use [New] for an OpenID provider of your own, which needs
// nothing but its issuer and a client:
//
//	acme, err := oauth.New(oauth.Config{
//		ID:           "acme",
//		Issuer:       "https://login.acme.example",
//		ClientID:     "gatebook",
//		ClientSecret: gatebook.Secret(os.Getenv("ACME_SECRET")),
//	})
//
// It uses the authorization code grant only, with state and PKCE S256 always
// and nonce for OpenID Connect, as RFC 9700 asks; ID tokens are verified with
// the provider's published keys. It refreshes no tokens and calls no API for
// the application: the tokens are in the account. How a provider strays from
// the standards is said as data in [Config]; there is no code for single
// providers here.
package oauth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/gatebook/gatebook"
)

// ClientAuth says how we prove to the token endpoint who we are, in the words
// of RFC 7591, Section 2 (token_endpoint_auth_method).
type ClientAuth string

const (
	// ClientSecretBasic sends id and secret in the Authorization header
	// (RFC 6749, Section 2.3.1). It is the default.
	ClientSecretBasic ClientAuth = "client_secret_basic"
	// ClientSecretPost sends them in the request's body.
	ClientSecretPost ClientAuth = "client_secret_post"
	// ClientNone sends the id alone: a public client, which PKCE protects.
	ClientNone ClientAuth = "none"
)

// Checks protect the flow against forged, stolen and mixed-up replies.
const (
	// CheckState ties the reply to the browser that began (RFC 6749,
	// Section 10.12).
	CheckState = "state"
	// CheckPKCE ties the code to us (RFC 7636), with S256.
	CheckPKCE = "pkce"
	// CheckNonce ties the ID token to this sign-in (OpenID Connect Core,
	// Section 3.1.2.1).
	CheckNonce = "nonce"
)

// Config describes a provider and our client there. An OpenID provider needs ID,
// Issuer, ClientID and ClientSecret; an OAuth 2.0 provider has Type, AuthURL,
// TokenURL and UserinfoURL in place of the issuer.
type Config struct {
	// ID is the provider's part of the routes and of the account's key: letters,
	// digits, '-' and '_'. Required.
	ID string
	// Name is shown to people. If empty, ID.
	Name string
	// BrandColor is the colour of the sign-in button, "#rrggbb", or empty.
	BrandColor string
	// Type is gatebook.TypeOIDC, the default, or gatebook.TypeOAuth for a
	// provider that gives no ID token.
	Type string

	// Issuer is the provider's issuer identifier, a URL. OpenID Connect requires
	// it: endpoints and keys are discovered from it at first use. For OAuth 2.0
	// it is optional, and only what the iss parameter of the reply is compared
	// with (RFC 9207). If empty, the variable AUTH_<ID>_ISSUER ([EnvName]).
	Issuer string
	// IssuerAliases are further values of iss that the provider's ID tokens may
	// have.
	IssuerAliases []string
	// AuthURL, TokenURL and UserinfoURL are the endpoints. They take precedence
	// over discovered ones.
	AuthURL     string
	TokenURL    string
	UserinfoURL string
	// InsecureHTTP allows http:// URLs on hosts that are not this machine, whose
	// replies anybody on the way can forge. Only for a development network.
	InsecureHTTP bool

	// ClientID and ClientSecret are what the provider gave us at registration.
	// If empty, the variables AUTH_<ID>_ID and AUTH_<ID>_SECRET ([EnvName]).
	ClientID     string
	ClientSecret gatebook.Secret
	// ClientAuth is how they are sent. If empty, ClientSecretBasic. Nothing is
	// probed: a probe would spend the code.
	ClientAuth ClientAuth

	// Scopes are asked for. If nil, "openid profile email" for OpenID Connect
	// and none for OAuth 2.0.
	Scopes []string
	// AuthParams are further parameters of the authorization request, in order,
	// such as prompt or response_mode=form_post. Parameters of the sign-in
	// request take precedence, except over response_mode.
	AuthParams []gatebook.Param
	// Checks are the checks to make. If nil, state and pkce, and nonce for
	// OpenID Connect. Leave one out only for a provider that refuses it; state
	// must stay.
	Checks []string

	// UserinfoProfile takes an OpenID provider's profile from the userinfo
	// endpoint instead of the ID token, for providers whose ID token has no
	// name and address. The ID token is verified all the same.
	UserinfoProfile bool
	// Profile says where the user's fields are in the profile.
	Profile Profile
	// Enrich, if set, completes the profile with further requests before it is
	// mapped.
	Enrich func(ctx context.Context, fetch Fetch, profile *gatebook.Claims) error
	// LinkByVerifiedEmail links an account to the user who has its address, if
	// the provider says it verified that address. Whoever controls the provider
	// can then sign in as any user, so set it only for providers you trust with
	// that (Auth.js: allowDangerousEmailAccountLinking, which asks for no
	// verification).
	LinkByVerifiedEmail bool

	// Client makes the requests to the provider. Its Transport is used, and its
	// Timeout if it is under 10 seconds; redirects are never followed. If nil,
	// http.DefaultTransport.
	Client *http.Client
	// Now returns the current time. If nil, time.Now.
	Now func() time.Time
}

// Fetch gets url with the sign-in's access token as Bearer token (RFC 6750,
// Section 2.1) and returns the reply's status and its body, at most 1 MiB. Its
// errors are for returning as they are.
type Fetch func(ctx context.Context, url string) (status int, body []byte, err error)

// Provider is a [gatebook.RedirectProvider]. It is safe for concurrent use.
type Provider struct {
	cfg       Config
	http      *http.Client
	discovery discovery
}

var _ gatebook.RedirectProvider = (*Provider)(nil)

var validID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// New returns the provider that c describes. It uses no network; what is wrong
// with c is said in the error, which names the field.
func New(c Config) (*Provider, error) {
	c = withDefaults(c)
	if err := c.validate(); err != nil {
		return nil, fmt.Errorf("oauth: provider %q: %w", c.ID, err)
	}
	p := &Provider{cfg: c, http: newClient(c.Client)}
	p.discovery.fetch = p.discover
	p.discovery.now = c.Now
	return p, nil
}

// EnvName returns the name of the environment variable that stands in for an
// empty field of the provider called id, as in Auth.js: key is ID, SECRET or
// ISSUER, and EnvName("microsoft-entra-id", "ID") is AUTH_MICROSOFT_ENTRA_ID_ID.
func EnvName(id, key string) string {
	return "AUTH_" + strings.ToUpper(strings.ReplaceAll(id, "-", "_")) + "_" + key
}

func withDefaults(c Config) Config {
	if c.Name == "" {
		c.Name = c.ID
	}
	if c.Type == "" {
		c.Type = gatebook.TypeOIDC
	}
	if c.Issuer == "" {
		c.Issuer = os.Getenv(EnvName(c.ID, "ISSUER"))
	}
	if c.ClientID == "" {
		c.ClientID = os.Getenv(EnvName(c.ID, "ID"))
	}
	if c.ClientSecret == "" {
		c.ClientSecret = gatebook.Secret(os.Getenv(EnvName(c.ID, "SECRET")))
	}
	if c.ClientAuth == "" {
		c.ClientAuth = ClientSecretBasic
	}
	if c.Checks == nil {
		c.Checks = []string{CheckState, CheckPKCE}
		if c.Type == gatebook.TypeOIDC {
			c.Checks = append(c.Checks, CheckNonce)
		}
	}
	c.Profile = c.Profile.withDefaults()
	if c.Now == nil {
		c.Now = time.Now
	}
	c.Scopes = slices.Clone(c.Scopes)
	c.AuthParams = slices.Clone(c.AuthParams)
	c.Checks = slices.Clone(c.Checks)
	c.IssuerAliases = slices.Clone(c.IssuerAliases)
	return c
}

func (c *Config) validate() error {
	if !validID.MatchString(c.ID) {
		return errors.New("field ID must be 1 to 64 letters, digits, '-' and '_'")
	}
	if c.ClientID == "" {
		return fmt.Errorf("field ClientID is empty, and so is %s", EnvName(c.ID, "ID"))
	}
	switch c.ClientAuth {
	case ClientSecretBasic, ClientSecretPost:
		if c.ClientSecret == "" {
			return fmt.Errorf("field ClientSecret is empty, and so is %s", EnvName(c.ID, "SECRET"))
		}
	case ClientNone:
	default:
		return fmt.Errorf("field ClientAuth %q is none of client_secret_basic, client_secret_post, none", c.ClientAuth)
	}
	switch c.Type {
	case gatebook.TypeOIDC:
		if c.Issuer == "" {
			return fmt.Errorf("field Issuer is empty, and so is %s", EnvName(c.ID, "ISSUER"))
		}
		if c.Scopes != nil && !slices.Contains(c.Scopes, "openid") {
			return errors.New(`field Scopes of an OpenID provider must contain "openid"`)
		}
	case gatebook.TypeOAuth:
		if c.AuthURL == "" || c.TokenURL == "" || c.UserinfoURL == "" {
			return errors.New("fields AuthURL, TokenURL and UserinfoURL are required for type oauth")
		}
	default:
		return fmt.Errorf("field Type %q is neither oidc nor oauth", c.Type)
	}
	return errors.Join(
		c.checkURL("Issuer", c.Issuer), c.checkURL("AuthURL", c.AuthURL),
		c.checkURL("TokenURL", c.TokenURL), c.checkURL("UserinfoURL", c.UserinfoURL),
		c.validateChecks(), c.validateParams())
}

// checkURL refuses URLs that no request can go to, and http where the reply
// would decide who somebody is and anybody could forge it. An empty one is none.
func (c *Config) checkURL(field, s string) error {
	if s == "" {
		return nil
	}
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" || u.Scheme != "https" && u.Scheme != "http" {
		return fmt.Errorf("field %s is no absolute https URL", field)
	}
	if field == "Issuer" && u.RawQuery != "" {
		return errors.New("field Issuer must have no query")
	}
	if u.Scheme == "http" && !c.InsecureHTTP && !isLoopback(u.Hostname()) {
		return fmt.Errorf("field %s must be https (InsecureHTTP allows http for development)", field)
	}
	return nil
}

func isLoopback(host string) bool {
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}

func (c *Config) validateChecks() error {
	for _, check := range c.Checks {
		if check != CheckState && check != CheckPKCE && check != CheckNonce {
			return fmt.Errorf("field Checks: %q is none of state, pkce, nonce", check)
		}
	}
	if !slices.Contains(c.Checks, CheckState) {
		return errors.New("field Checks must contain state")
	}
	if slices.Contains(c.Checks, CheckNonce) && c.Type != gatebook.TypeOIDC {
		return errors.New("field Checks: nonce needs an ID token, which type oauth has not")
	}
	return nil
}

func (c *Config) validateParams() error {
	for _, p := range c.AuthParams {
		switch {
		case p.Name == "response_mode":
			if p.Value != "query" && p.Value != "form_post" {
				return errors.New("field AuthParams: response_mode must be query or form_post")
			}
		case p.Name == "" || isProtected(p.Name):
			return fmt.Errorf("field AuthParams: %q cannot be set", p.Name)
		}
	}
	return nil
}

// Info describes the provider.
func (p *Provider) Info() gatebook.ProviderInfo {
	return gatebook.ProviderInfo{ID: p.cfg.ID, Name: p.cfg.Name, Type: p.cfg.Type, BrandColor: p.cfg.BrandColor}
}

// Checks lists the checks that a sign-in makes: of state, pkce and nonce.
func (p *Provider) Checks() []string { return slices.Clone(p.cfg.Checks) }

// FormPost reports whether the provider sends its reply with a POST.
func (p *Provider) FormPost() bool {
	return slices.Contains(p.cfg.AuthParams, gatebook.Param{Name: "response_mode", Value: "form_post"})
}

// LinkByEmail returns Config.LinkByVerifiedEmail.
func (p *Provider) LinkByEmail() bool { return p.cfg.LinkByVerifiedEmail }

func (p *Provider) isOIDC() bool { return p.cfg.Type == gatebook.TypeOIDC }

func (p *Provider) has(check string) bool { return slices.Contains(p.cfg.Checks, check) }
