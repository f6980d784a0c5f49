package interop

// setup is the configuration of a site, the same for both servers. Auth.js gets
// it as JSON (testdata/authjs.mjs), Gatebook as a Config (gatebook_test.go).
type setup struct {
	// Origin is where visitors think the site is; the default is home.
	Origin   string   `json:"origin"`
	BasePath string   `json:"basePath,omitempty"`
	Secrets  []string `json:"secrets"`
	// Untrusted sites do not vouch for the host of a request.
	Untrusted bool       `json:"-"`
	TrustHost bool       `json:"trustHost"`
	Providers []provider `json:"providers"`
	// Adapter keeps users in memory; without one there is only Strategy jwt.
	Adapter bool          `json:"adapter"`
	Session sessionConfig `json:"session"`
	JWT     tokens        `json:"jwt"`
	Pages   pages         `json:"pages"`
	Theme   theme         `json:"theme"`
	Does    does          `json:"does"`
	// Plain sites have no callbacks and no events.
	Plain bool `json:"plain,omitempty"`
	// UseSecureCookies fixes the mode of cookies, and Cookies names some of them.
	UseSecureCookies *bool                   `json:"useSecureCookies,omitempty"`
	Cookies          map[string]cookieConfig `json:"cookies,omitempty"`
	// RedirectProxy is the address of the redirect proxy, which sends on to
	// home only.
	RedirectProxy string `json:"redirectProxy,omitempty"`
	// Store is the address of the store that Auth.js shares with Gatebook.
	Store string `json:"store,omitempty"`
	// InOrder shows calls and writes in one order, in place of one after the
	// other.
	InOrder bool `json:"-"`
}

type sessionConfig struct {
	Strategy  string `json:"strategy,omitempty"`
	MaxAge    int    `json:"maxAge,omitempty"` // seconds
	UpdateAge *int   `json:"updateAge,omitempty"`
}

type tokens struct {
	MaxAge int    `json:"maxAge,omitempty"`
	Secret string `json:"secret,omitempty"`
}

// cookieConfig changes a cookie, by Auth.js's name of it.
type cookieConfig struct {
	Name string `json:"name"`
}

type pages struct {
	SignIn        string `json:"signIn,omitempty"`
	SignOut       string `json:"signOut,omitempty"`
	Error         string `json:"error,omitempty"`
	VerifyRequest string `json:"verifyRequest,omitempty"`
	NewUser       string `json:"newUser,omitempty"`
}

type theme struct {
	ColorScheme string `json:"colorScheme,omitempty"`
	BrandColor  string `json:"brandColor,omitempty"`
	ButtonText  string `json:"buttonText,omitempty"`
	Logo        string `json:"logo,omitempty"`
}

// does says what the application's code does when it is called. Empty fields
// allow and change nothing.
type does struct {
	SignIn   string   `json:"signIn,omitempty"`   // deny, throw, credentials (throws CredentialsSignin), "to URL"
	Redirect string   `json:"redirect,omitempty"` // default (recorded), throw, "to URL"
	JWT      string   `json:"jwt,omitempty"`      // null, throw, role, merge, small, "big BYTES"
	Session  string   `json:"session,omitempty"`  // throw, role
	Events   string   `json:"events,omitempty"`   // throw, change (what it was given)
	Mail     string   `json:"mail,omitempty"`     // throw
	Slow     int      `json:"slow,omitempty"`     // milliseconds of each event handler
	Fail     []string `json:"fail,omitempty"`     // methods of Auth.js's adapter
}

// provider describes a provider in the words of Auth.js.
type provider struct {
	Kind            string      `json:"kind"` // oidc, oauth, email, credentials, github, google
	ID              string      `json:"id,omitempty"`
	Name            string      `json:"name,omitempty"`
	Issuer          string      `json:"issuer,omitempty"`
	AuthURL         string      `json:"authURL,omitempty"`
	TokenURL        string      `json:"tokenURL,omitempty"`
	UserinfoURL     string      `json:"userinfoURL,omitempty"`
	ClientID        string      `json:"clientID,omitempty"`
	ClientSecret    string      `json:"clientSecret,omitempty"`
	ClientAuth      string      `json:"clientAuth,omitempty"`
	Checks          []string    `json:"checks,omitempty"`
	Params          [][2]string `json:"params,omitempty"`
	UserinfoProfile bool        `json:"userinfoProfile,omitempty"`
	Profile         string      `json:"profile,omitempty"` // fields (id, name, email, picture), no id, throw
	Account         string      `json:"account,omitempty"` // none
	Link            bool        `json:"link,omitempty"`
	MaxAge          int         `json:"maxAge,omitempty"` // seconds, of magic links
}

const (
	home   = "http://localhost:3000"
	secret = "correct horse battery staple, 32 characters"
	client = "app"
	// clientSecret has what HTTP Basic authentication must escape.
	clientSecret = "client/secret_with ~odd-characters"
)

// npm is npm's oidc-provider; its issuer is filled in when the site starts.
var npm = provider{Kind: "oidc", ID: "npm", Name: "Npm", Issuer: "NPM", ClientID: client, ClientSecret: clientSecret,
	Checks: []string{"pkce", "state", "nonce"}}

// acme is an OAuth 2.0 provider and mock an OpenID provider, both at the mock
// server of the scenario.
var (
	acme = provider{Kind: "oauth", ID: "acme", Name: "Acme", AuthURL: "MOCK/authorize", TokenURL: "MOCK/token", UserinfoURL: "MOCK/userinfo",
		ClientID: client, ClientSecret: clientSecret, Checks: []string{"pkce", "state"}, Profile: "fields", Params: [][2]string{{"scope", "read:user"}}}
	mock = provider{Kind: "oidc", ID: "mock", Name: "Mock", Issuer: "MOCK", ClientID: client, ClientSecret: clientSecret,
		Checks: []string{"pkce", "state", "nonce"}}
	mail      = provider{Kind: "email", ID: "email", Name: "Email", MaxAge: 24 * 60 * 60}
	passwords = provider{Kind: "credentials", ID: "credentials", Name: "Password"}
	github    = provider{Kind: "github"}
	google    = provider{Kind: "google"}
	passkeys  = provider{Kind: "passkey", ID: "passkey"}
	webauthn  = provider{Kind: "webauthn", ID: "webauthn"}
)

// withDefaults fills in what nearly every site has.
func (s setup) withDefaults() setup {
	if s.Origin == "" {
		s.Origin = home
	}
	if s.Secrets == nil {
		s.Secrets = []string{secret}
	}
	if s.Providers == nil {
		s.Providers = []provider{npm, acme, passwords}
		if s.Adapter {
			s.Providers = []provider{npm, acme, mail, passwords}
		}
	}
	s.TrustHost = !s.Untrusted
	return s
}
