package oauth_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/provider/oauth"
)

func TestNew(t *testing.T) {
	good := oauth.Config{ID: "acme", Issuer: "https://login.acme.example", ClientID: "c", ClientSecret: "s"}
	plain := oauth.Config{ID: "acme", Type: "oauth", ClientID: "c", ClientSecret: "s",
		AuthURL: "https://a.example/a", TokenURL: "https://a.example/t", UserinfoURL: "https://a.example/u"}
	tests := []struct {
		name   string
		base   oauth.Config
		change func(*oauth.Config)
		want   string // part of the error; empty for none
	}{
		{"openid", good, func(c *oauth.Config) {}, ""},
		{"oauth", plain, func(c *oauth.Config) {}, ""},
		{"oauth with issuer", plain, func(c *oauth.Config) { c.Issuer = "https://a.example" }, ""},
		{"no id", good, func(c *oauth.Config) { c.ID = "" }, "ID must be"},
		{"id with slash", good, func(c *oauth.Config) { c.ID = "a/b" }, "ID must be"},
		{"no client id", good, func(c *oauth.Config) { c.ClientID = "" }, "ClientID is empty, and so is AUTH_ACME_ID"},
		{"no secret", good, func(c *oauth.Config) { c.ClientSecret = "" }, "ClientSecret is empty, and so is AUTH_ACME_SECRET"},
		{"public client", good, func(c *oauth.Config) { c.ClientSecret, c.ClientAuth = "", oauth.ClientNone }, ""},
		{"odd client auth", good, func(c *oauth.Config) { c.ClientAuth = "tls" }, "ClientAuth"},
		{"no issuer", good, func(c *oauth.Config) { c.Issuer = "" }, "Issuer is empty"},
		{"relative issuer", good, func(c *oauth.Config) { c.Issuer = "login.acme.example" }, "Issuer is no absolute"},
		{"issuer with query", good, func(c *oauth.Config) { c.Issuer += "?a=b" }, "Issuer must have no query"},
		{"issuer with user", good, func(c *oauth.Config) { c.Issuer = "https://u:p@a.example" }, "Issuer is no absolute"},
		{"javascript", plain, func(c *oauth.Config) { c.AuthURL = "javascript:alert(1)" }, "AuthURL is no absolute"},
		{"http", good, func(c *oauth.Config) { c.Issuer = "http://login.acme.example" }, "Issuer must be https"},
		{"http allowed", good, func(c *oauth.Config) { c.Issuer, c.InsecureHTTP = "http://login.acme.example", true }, ""},
		{"http on loopback", good, func(c *oauth.Config) { c.Issuer = "http://127.0.0.1:8081" }, ""},
		{"http that begins like loopback", good, func(c *oauth.Config) { c.Issuer = "http://127.0.0.1.evil.example" }, "Issuer must be https"},
		{"odd type", good, func(c *oauth.Config) { c.Type = "saml" }, "Type"},
		{"oauth without userinfo", plain, func(c *oauth.Config) { c.UserinfoURL = "" }, "UserinfoURL"},
		{"scopes without openid", good, func(c *oauth.Config) { c.Scopes = []string{"email"} }, "openid"},
		{"no state", good, func(c *oauth.Config) { c.Checks = []string{"pkce"} }, "state"},
		{"odd check", good, func(c *oauth.Config) { c.Checks = []string{"state", "none"} }, "none"},
		{"nonce without id token", plain, func(c *oauth.Config) { c.Checks = []string{"state", "nonce"} }, "nonce"},
		{"param of the flow", good, func(c *oauth.Config) { c.AuthParams = []gatebook.Param{{Name: "redirect_uri", Value: "x"}} }, "redirect_uri"},
		{"fragment mode", good, func(c *oauth.Config) { c.AuthParams = []gatebook.Param{{Name: "response_mode", Value: "fragment"}} }, "response_mode"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := tt.base
			tt.change(&c)
			_, err := oauth.New(c)
			switch {
			case tt.want == "" && err != nil:
				t.Errorf("New: %v", err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("New: error %v, want one with %q", err, tt.want)
			}
		})
	}
}

func TestNewTakesTheEnvironment(t *testing.T) {
	t.Setenv("AUTH_MY_ACME_ID", "client-of-env")
	t.Setenv("AUTH_MY_ACME_SECRET", "secret-of-env")
	t.Setenv("AUTH_MY_ACME_ISSUER", "https://login.acme.example")
	if _, err := oauth.New(oauth.Config{ID: "my-acme"}); err != nil {
		t.Errorf("New: %v", err)
	}
	f := newFake(t)
	c := f.config()
	c.ID, c.ClientID = "my-acme", ""
	red, err := newProvider(t, c).Begin(t.Context(), &gatebook.Begin{RedirectURI: callback, State: "s"})
	if err != nil {
		t.Fatalf("Begin: %v", err)
	}
	if got := must(url.Parse(red.URL)).Query().Get("client_id"); got != "client-of-env" {
		t.Errorf("client_id = %q, want the environment's", got)
	}
}

func TestInfo(t *testing.T) {
	p := newProvider(t, oauth.Config{ID: "acme", Issuer: "https://a.example", ClientID: "c", ClientSecret: "s", BrandColor: "#123456",
		AuthParams: []gatebook.Param{{Name: "response_mode", Value: "form_post"}}, LinkByVerifiedEmail: true})
	want := gatebook.ProviderInfo{ID: "acme", Name: "acme", Type: "oidc", BrandColor: "#123456"}
	if got := p.Info(); got != want {
		t.Errorf("Info() = %+v, want %+v", got, want)
	}
	if !p.FormPost() || !p.LinkByEmail() {
		t.Errorf("FormPost() = %v, LinkByEmail() = %v, want true", p.FormPost(), p.LinkByEmail())
	}
	if diff := cmp.Diff([]string{"state", "pkce", "nonce"}, p.Checks()); diff != "" {
		t.Errorf("Checks() (-want +got):\n%s", diff)
	}
}

// split returns the raw name=value pairs of a URL's query, and blanks the values
// that are random.
func split(t *testing.T, raw string) (base string, pairs []string) {
	t.Helper()
	base, query, _ := strings.Cut(raw, "?")
	for pair := range strings.SplitSeq(query, "&") {
		name, value, _ := strings.Cut(pair, "=")
		if name == "nonce" || name == "code_challenge" {
			if len(value) != 43 {
				t.Errorf("%s has %d characters, want 43", name, len(value))
			}
			pair = name + "=…"
		}
		pairs = append(pairs, pair)
	}
	return base, pairs
}

func TestBegin(t *testing.T) {
	f := newFake(t)
	const redirect = "redirect_uri=https%3A%2F%2Fapp.example%2Fauth%2Fcallback%2Facme"
	hostile := []gatebook.Param{
		{Name: "client_id", Value: "evil"}, {Name: "redirect_uri", Value: "https://evil.example"},
		{Name: "response_type", Value: "token"}, {Name: "response_mode", Value: "fragment"},
		{Name: "state", Value: "evil"}, {Name: "nonce", Value: "evil"},
		{Name: "code_challenge", Value: "evil"}, {Name: "code_challenge_method", Value: "plain"},
		{Name: "request", Value: "evil"}, {Name: "request_uri", Value: "https://evil.example"},
	}
	tests := []struct {
		name     string
		endpoint string // of the metadata; empty for the fake's own
		config   oauth.Config
		params   []gatebook.Param
		want     []string
	}{
		{
			name: "issuer only", config: f.config(),
			params: []gatebook.Param{{Name: "prompt", Value: "login"}, {Name: "login_hint", Value: "~a*b c@é"}},
			want: []string{"response_type=code", "client_id=client", redirect, "prompt=login", "login_hint=%7Ea*b+c%40%C3%A9",
				"state=s", "code_challenge=…", "code_challenge_method=S256", "nonce=…", "scope=openid+profile+email"},
		},
		{
			name: "static", config: func() oauth.Config {
				c := f.oauthConfig()
				c.Scopes = []string{"read:user", "user:email"}
				c.AuthParams = []gatebook.Param{{Name: "allow_signup", Value: "false"}}
				return c
			}(),
			want: []string{"scope=read%3Auser+user%3Aemail", "allow_signup=false", "response_type=code", "client_id=client", redirect,
				"state=s", "code_challenge=…", "code_challenge_method=S256"},
		},
		{
			name: "configured params and endpoint's own", endpoint: "/authorize?tenant=t%201&client_id=old&x", config: func() oauth.Config {
				c := f.config()
				c.AuthParams = []gatebook.Param{{Name: "prompt", Value: "consent"}}
				c.Scopes = []string{"openid", "email"}
				return c
			}(),
			params: []gatebook.Param{{Name: "prompt", Value: "login"}},
			want: []string{"tenant=t+1", "client_id=client", "x=", "response_type=code", redirect, "scope=openid+email", "prompt=login",
				"state=s", "code_challenge=…", "code_challenge_method=S256", "nonce=…"},
		},
		{
			name: "what protects the flow cannot be overridden", config: f.config(), params: hostile,
			want: []string{"response_type=code", "client_id=client", redirect,
				"state=s", "code_challenge=…", "code_challenge_method=S256", "nonce=…", "scope=openid+profile+email"},
		},
		{
			name: "fewer checks", config: func() oauth.Config { c := f.config(); c.Checks = []string{"state"}; return c }(),
			want: []string{"response_type=code", "client_id=client", redirect, "state=s", "scope=openid+profile+email"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f.metadata["authorization_endpoint"] = f.URL + "/authorize"
			if tt.endpoint != "" {
				f.metadata["authorization_endpoint"] = f.URL + tt.endpoint
			}
			p := newProvider(t, tt.config)
			red, err := p.Begin(t.Context(), &gatebook.Begin{RedirectURI: callback, State: "s", Params: tt.params})
			if err != nil {
				t.Fatalf("Begin: %v", err)
			}
			base, pairs := split(t, red.URL)
			if base != f.URL+"/authorize" {
				t.Errorf("endpoint = %q, want %q", base, f.URL+"/authorize")
			}
			if diff := cmp.Diff(tt.want, pairs); diff != "" {
				t.Errorf("query (-want +got):\n%s", diff)
			}
			q := must(url.Parse(red.URL)).Query()
			if q.Get("nonce") != string(red.Nonce) {
				t.Errorf("nonce sent %q, returned %q", q.Get("nonce"), string(red.Nonce))
			}
			if red.CodeVerifier != "" && q.Get("code_challenge") != challenge(string(red.CodeVerifier)) {
				t.Error("code_challenge is not the S256 of the verifier")
			}
		})
	}
}

func TestBeginIsRandom(t *testing.T) {
	f := newFake(t)
	p := newProvider(t, f.config())
	a, b := f.begin(t, p), f.begin(t, p)
	if a.Nonce == b.Nonce || a.CodeVerifier == b.CodeVerifier {
		t.Error("two sign-ins share nonce or verifier")
	}
}

func TestEnvName(t *testing.T) {
	if got, want := oauth.EnvName("microsoft-entra-id", "ID"), "AUTH_MICROSOFT_ENTRA_ID_ID"; got != want {
		t.Errorf("EnvName = %q, want %q", got, want)
	}
}
