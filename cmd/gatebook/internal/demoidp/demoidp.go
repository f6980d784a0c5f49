// Package demoidp is the OpenID provider inside gatebook demo: a real provider
// over real HTTP, on its own port, with two people in it.
//
// The protocol is github.com/zitadel/oidc/v3, a certified implementation:
// discovery, authorization code with PKCE S256, nonce, signed ID tokens, key
// set, userinfo, revocation and end session. The pages, the storage and the
// limits are here. What the library offers beyond that (implicit flow, JWT
// bearer and device grants, introspection, CORS) is not routed and not
// advertised.
//
// Signing in is choosing one of the people, so it proves nothing; the ID token
// says so (acr 0, amr user). The provider keeps no sign-in of its own: every
// authorization asks who it is and what may be shared, and prompt=none always
// answers login_required.
//
// Everything is in memory, ages out and is capped, and is gone with the
// process, the signing key included. Never run it for anything but a demo.
package demoidp

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// The largest request line and the largest body that are read. An
// authorization request is kept until it is finished, so these two and the
// caps in store.go bound the memory that strangers can take.
const (
	maxRequestURI = 16 << 10
	maxBody       = 16 << 10
)

// Config configures a Provider. Issuer, ClientID, ClientSecret and
// RedirectURIs are required. It is copied.
type Config struct {
	// Issuer is where the provider is reached: scheme and host, without path
	// or final slash, such as http://localhost:8081. Plain http is allowed on
	// a loopback host only. Requests with another Host are refused.
	Issuer string
	// ClientID and ClientSecret are those of the one client. It authenticates
	// with client_secret_basic.
	ClientID, ClientSecret string
	// RedirectURIs are compared exactly (RFC 9700, Section 2.1). The root of
	// each one's origin, such as http://localhost:8080/, may be used as
	// post_logout_redirect_uri.
	RedirectURIs []string
	// People are those who can sign in. If empty, Ada Lovelace and Grace
	// Hopper at example.com.
	People []Person
	// Logger gets sign-ins, refusals and the second use of a code. If nil,
	// slog.Default. The protocol library itself always logs what it refuses
	// to slog.Default.
	Logger *slog.Logger
	// Now returns the current time for auth_time and for what ages out here.
	// If nil, time.Now. The library signs iat and exp with the real time.
	Now func() time.Time
}

// Person is somebody who can sign in at the provider.
type Person struct {
	// Subject is the sub claim and the name of the picture: letters a to z,
	// digits and hyphens.
	Subject string
	// Name and GivenName are the claims of those names.
	Name, GivenName string
	// Email is the email claim. It is always stated as verified.
	Email string
}

// Provider is the demo's OpenID provider. Make one with New. It may be used
// concurrently, starts no goroutine and needs no closing.
type Provider struct {
	issuer  string
	store   *store
	op      *op.Provider
	log     *slog.Logger
	csp     string
	appURL  string
	handler http.Handler
}

var subjectForm = regexp.MustCompile(`^[a-z0-9-]{1,64}$`)

// New returns a provider for cfg, or an error that names the field that is
// wrong. It listens on nothing: serve Handler at the address in Issuer.
//
// ID tokens are signed with RS256, the one algorithm that every OpenID
// client must support (OpenID Connect Core 1.0, Section 15.1), so the demo
// takes the way that most providers take. The RSA key is made when it is
// first asked for (typically 50 ms, once), not here, where it would delay the
// start.
func New(cfg Config) (*Provider, error) {
	issuer, err := checkIssuer(cfg.Issuer)
	if err != nil {
		return nil, err
	}
	if cfg.ClientID == "" || cfg.ClientSecret == "" {
		return nil, errors.New("demoidp: ClientID and ClientSecret are required")
	}
	origins, err := redirectOrigins(cfg.RedirectURIs)
	if err != nil {
		return nil, err
	}
	if len(cfg.People) == 0 {
		cfg.People = []Person{
			{Subject: "ada", Name: "Ada Lovelace", GivenName: "Ada", Email: "ada@example.com"},
			{Subject: "grace", Name: "Grace Hopper", GivenName: "Grace", Email: "grace@example.com"},
		}
	}
	if err := checkPeople(cfg.People); err != nil {
		return nil, err
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}

	p := &Provider{
		issuer: cfg.Issuer,
		store:  newStore(cfg, origins),
		log:    cfg.Logger,
		csp:    contentSecurityPolicy(origins),
		appURL: origins[0] + "/",
	}
	var sealing [32]byte
	rand.Read(sealing[:]) // never fails (crypto/rand)
	opts := []op.Option{
		// The library's default would also open tokens in unauthenticated
		// AES-CFB, for deployments older than its AES-GCM.
		op.WithCrypto(op.NewAES256GCMCrypto(sealing, "")),
		op.WithCORSOptions(nil),
	}
	if issuer.Scheme == "http" {
		opts = append(opts, op.WithAllowInsecure())
	}
	p.op, err = op.NewProvider(&op.Config{
		DefaultLogoutRedirectURI: "/signed-out",
		CodeMethodS256:           true,
		SupportedScopes:          []string{oidc.ScopeOpenID, oidc.ScopeProfile, oidc.ScopeEmail},
		SupportedClaims: []string{"sub", "iss", "aud", "exp", "iat", "auth_time", "nonce", "acr", "amr",
			"azp", "at_hash", "c_hash", "name", "given_name", "picture", "email", "email_verified"},
	}, p.store, op.StaticIssuer(cfg.Issuer), opts...)
	if err != nil {
		return nil, fmt.Errorf("demoidp: set up the protocol: %w", err)
	}
	p.handler = p.limit(issuer.Host, p.routes())
	return p, nil
}

// Handler returns the provider's endpoints and pages, to be served at the root
// of the address in Config.Issuer.
func (p *Provider) Handler() http.Handler { return p.handler }

// checkIssuer refuses whatever could not be reached only from this machine.
func checkIssuer(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || raw != u.Scheme+"://"+u.Host {
		return nil, fmt.Errorf("demoidp: Issuer %q is not scheme://host[:port] alone", raw)
	}
	host := u.Hostname()
	loopback := host == "localhost" || net.ParseIP(host).IsLoopback()
	if u.Scheme != "https" && (u.Scheme != "http" || !loopback) {
		return nil, fmt.Errorf("demoidp: Issuer %q: plain http is allowed on localhost only", raw)
	}
	return u, nil
}

// redirectOrigins returns scheme and host of each redirect URI.
func redirectOrigins(uris []string) ([]string, error) {
	if len(uris) == 0 {
		return nil, errors.New("demoidp: RedirectURIs is required")
	}
	var origins []string
	for _, raw := range uris {
		u, err := url.Parse(raw)
		if err != nil || u.Host == "" || u.User != nil || strings.Contains(raw, "#") ||
			(u.Scheme != "http" && u.Scheme != "https") {
			return nil, fmt.Errorf("demoidp: RedirectURIs: %q is not a full http or https address without fragment", raw)
		}
		origins = append(origins, u.Scheme+"://"+u.Host)
	}
	return origins, nil
}

func checkPeople(people []Person) error {
	seen := make(map[string]bool)
	for _, person := range people {
		switch {
		case !subjectForm.MatchString(person.Subject):
			return fmt.Errorf("demoidp: People: Subject %q must be letters a to z, digits and hyphens", person.Subject)
		case seen[person.Subject]:
			return fmt.Errorf("demoidp: People: Subject %q is there twice", person.Subject)
		case person.Name == "" || person.Email == "":
			return fmt.Errorf("demoidp: People: %q needs Name and Email", person.Subject)
		}
		seen[person.Subject] = true
	}
	return nil
}

// routes lists every path that is served. The library's other endpoints stay
// unreachable, so what they could do needs no thought.
func (p *Provider) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", p.discovery)
	mux.HandleFunc("GET /authorize", p.authorize)
	mux.HandleFunc("POST /authorize", p.authorize)
	mux.HandleFunc("POST /oauth/token", p.withClientBasic)
	mux.HandleFunc("POST /revoke", p.withClientBasic)
	mux.Handle("GET /userinfo", p.op)
	mux.Handle("POST /userinfo", p.op)
	mux.Handle("GET /end_session", p.op)
	mux.Handle("POST /end_session", p.op)
	mux.Handle("GET /keys", p.op)

	// The forms are bound to the browser and to the request by secrets; that
	// they come from our own pages is checked as well.
	own := http.NewCrossOriginProtection()
	mux.HandleFunc("GET /{$}", p.homePage)
	mux.HandleFunc("GET /signin", p.signInPage)
	mux.Handle("POST /signin", own.Handler(http.HandlerFunc(p.signInForm)))
	mux.HandleFunc("GET /consent", p.consentPage)
	mux.Handle("POST /consent", own.Handler(http.HandlerFunc(p.consentForm)))
	mux.HandleFunc("GET /signed-out", p.signedOutPage)
	mux.HandleFunc("GET /icon.svg", p.icon)
	mux.HandleFunc("GET /avatar/{file}", p.avatar)
	return mux
}

// limit holds for every request: its size, its Host and the headers of its
// answer.
func (p *Provider) limit(host string, next http.Handler) http.Handler {
	next = http.MaxBytesHandler(next, maxBody)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store") // RFC 6749, Section 5.1, and all pages
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin") // no-referrer would null the Origin of our own forms
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		if len(r.RequestURI) > maxRequestURI {
			http.Error(w, "The address is too long.", http.StatusRequestURITooLong)
			return
		}
		// A page elsewhere whose name was pointed at this machine (DNS
		// rebinding) comes with its own name.
		if !strings.EqualFold(r.Host, host) {
			http.Error(w, "This is the identity provider of the Gatebook demo. Its address is "+p.issuer+".",
				http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// metadata is the discovery document with the member of RFC 9207, Section 3,
// which the library does not know.
type metadata struct {
	*oidc.DiscoveryConfiguration
	IssParameter bool `json:"authorization_response_iss_parameter_supported"`
}

// discovery answers with what is served here, which is less than the library
// would claim.
func (p *Provider) discovery(w http.ResponseWriter, r *http.Request) {
	m := op.CreateDiscoveryConfig(op.ContextWithIssuer(r.Context(), p.issuer), p.op, p.store)
	m.ResponseTypesSupported = []string{string(oidc.ResponseTypeCode)}
	m.ResponseModesSupported = []string{string(oidc.ResponseModeQuery)}
	m.GrantTypesSupported = []oidc.GrantType{oidc.GrantTypeCode}
	m.ACRValuesSupported = []string{acr}
	m.TokenEndpointAuthMethodsSupported = []oidc.AuthMethod{oidc.AuthMethodBasic}
	m.RevocationEndpointAuthMethodsSupported = m.TokenEndpointAuthMethodsSupported
	m.RevocationEndpointAuthSigningAlgValuesSupported = nil
	m.IntrospectionEndpoint = ""
	m.IntrospectionEndpointAuthMethodsSupported = nil
	m.IntrospectionEndpointAuthSigningAlgValuesSupported = nil
	m.DeviceAuthorizationEndpoint = ""

	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(metadata{m, true}); err != nil {
		p.log.Debug("demo identity provider: the client left", "error", err)
	}
}

// withClientBasic lets only client_secret_basic through. The library would
// take the secret from the form too, which we do not advertise.
func (p *Provider) withClientBasic(w http.ResponseWriter, r *http.Request) {
	if _, _, ok := r.BasicAuth(); !ok {
		h := w.Header()
		h.Set("WWW-Authenticate", `Basic realm="Demo identity provider"`) // RFC 6749, Section 5.2
		h.Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprintln(w, `{"error":"invalid_client","error_description":"The client must authenticate with client_secret_basic."}`)
		return
	}
	p.op.ServeHTTP(w, r)
}

// authorize gives the browser its cookie, to which the request and its forms
// are bound, and hands over to the library.
func (p *Provider) authorize(w http.ResponseWriter, r *http.Request) {
	browser := browserOf(r)
	if browser == "" {
		browser = rand.Text()
		http.SetCookie(w, &http.Cookie{
			Name: browserCookie, Value: browser, Path: "/", HttpOnly: true,
			SameSite: http.SameSiteLaxMode, Secure: strings.HasPrefix(p.issuer, "https:"),
		})
	}
	ctx := context.WithValue(r.Context(), browserKey{}, browser)
	p.op.ServeHTTP(&issWriter{w, p.issuer}, r.WithContext(ctx))
}

// issWriter adds iss to the authorization error responses that the library
// sends to the client: RFC 9207, Section 2, wants it in those too.
type issWriter struct {
	http.ResponseWriter
	issuer string
}

func (w *issWriter) WriteHeader(status int) {
	if location := w.Header().Get("Location"); strings.HasPrefix(location, "http") {
		w.Header().Set("Location", withIss(location, w.issuer))
	}
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (w *issWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// withIss appends iss to an authorization response, which always has a
// parameter (code or error) at its end already, in the query or the fragment.
func withIss(location, issuer string) string {
	return location + "&iss=" + url.QueryEscape(issuer)
}

const browserCookie = "demo-idp-browser"

type browserKey struct{}

// browserOf returns the value of the browser's cookie, or "" if it has none
// that we could have made.
func browserOf(r *http.Request) string {
	c, err := r.Cookie(browserCookie)
	if err != nil || len(c.Value) != len(rand.Text()) {
		return ""
	}
	return c.Value
}
