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
	"fmt"
	"net/http"
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
	// ClientSecretJWT sends an assertion that the secret signs with HS256
	// (OpenID Connect Core, Section 9), so that the secret itself stays here.
	ClientSecretJWT ClientAuth = "client_secret_jwt"
	// PrivateKeyJWT sends an assertion that ClientKey signs (RFC 7523,
	// Section 2.2).
	PrivateKeyJWT ClientAuth = "private_key_jwt"
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
	// Tenants says how iss names the tenants of a provider that has many and
	// whose Issuer stands for more than one of them. If nil, iss is Issuer.
	Tenants *Tenants
	// AuthURL, TokenURL and UserinfoURL are the endpoints, JWKSURL is where the
	// keys of an OpenID provider are. They take precedence over discovered ones;
	// with AuthURL, TokenURL and JWKSURL nothing is discovered.
	AuthURL     string
	TokenURL    string
	UserinfoURL string
	JWKSURL     string
	// IDTokenAlgs are the algorithms that ID tokens may be signed with. If nil,
	// those of the metadata that use a key pair, else RS256. HS256 must stand
	// alone: its key is the client secret.
	IDTokenAlgs []string
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
	// ClientKey signs for PrivateKeyJWT.
	ClientKey *ClientKey
	// SecretSource makes the client secret, in place of ClientSecret, for
	// providers whose secret is a token with an end (Apple). What it returns is
	// used until shortly before expires; then it is called again.
	SecretSource func(now time.Time) (secret gatebook.Secret, expires time.Time, err error)

	// Scopes are asked for. If nil, "openid profile email" for OpenID Connect
	// and none for OAuth 2.0.
	Scopes []string
	// NoOpenIDScope allows Scopes without "openid", for an OpenID provider that
	// gives an ID token whatever is asked for (Apple).
	NoOpenIDScope bool
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
	// UserParam is the parameter of the reply in which the browser brings a JSON
	// object about the person (Apple: user). It becomes the profile's member of
	// that name. The provider does not sign it, so nothing but the name for
	// display may be taken from it.
	UserParam string
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
	made      madeSecret
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
