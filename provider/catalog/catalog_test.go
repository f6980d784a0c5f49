package catalog_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/provider/catalog"
	"github.com/gatebook/gatebook/provider/oauth"
)

// answers is a transport that answers by "METHOD host/path", and keeps what it
// was asked.
type answers struct {
	bodies map[string]string // the status 200's, or "404" and the like
	asked  []string
	last   *http.Request
}

func (a *answers) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		r.Body.Close()
	}
	key := r.Method + " " + r.URL.Host + r.URL.Path
	a.asked, a.last = append(a.asked, key), r
	body, ok := a.bodies[key]
	status := http.StatusOK
	switch {
	case !ok:
		return nil, errors.New("nobody answers " + key)
	case body == "403":
		status = http.StatusForbidden
	case body == "404":
		status = http.StatusNotFound
	case body == "500":
		status = http.StatusInternalServerError
	}
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

func signIn(t *testing.T, p *oauth.Provider, params map[string]string) (*gatebook.Proof, error) {
	t.Helper()
	all := map[string]string{"state": "s", "code": "c"}
	for k, v := range params {
		all[k] = v
	}
	return p.Complete(t.Context(), &gatebook.Complete{
		RedirectURI: "https://app.example/auth/callback/x", State: "s", CodeVerifier: "v", Nonce: "n", Params: all})
}

func begin(t *testing.T, p *oauth.Provider) *url.URL {
	t.Helper()
	red, err := p.Begin(t.Context(), &gatebook.Begin{RedirectURI: "https://app.example/auth/callback/x", State: "s"})
	if err != nil {
		t.Fatalf("Begin: %v", err)
	}
	u, err := url.Parse(red.URL)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestGitHubRequest(t *testing.T) {
	p, err := catalog.GitHub(catalog.Client{ID: "client", Secret: "secret"})
	if err != nil {
		t.Fatalf("GitHub: %v", err)
	}
	u := begin(t, p)
	var names []string
	for pair := range strings.SplitSeq(u.RawQuery, "&") {
		name, _, _ := strings.Cut(pair, "=")
		names = append(names, name)
	}
	want := []string{"scope", "response_type", "client_id", "redirect_uri", "state", "code_challenge", "code_challenge_method"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("parameters (-want +got):\n%s", diff)
	}
	if got := u.Scheme + "://" + u.Host + u.Path; got != "https://github.com/login/oauth/authorize" {
		t.Errorf("endpoint = %q", got)
	}
	if got := u.Query().Get("scope"); got != "read:user user:email" {
		t.Errorf("scope = %q", got)
	}
	want = []string{"github", "GitHub", "oauth"}
	if got := []string{p.Info().ID, p.Info().Name, p.Info().Type}; !slices.Equal(got, want) {
		t.Errorf("Info = %q, want %q", got, want)
	}
	if p.LinkByEmail() {
		t.Error("LinkByEmail() = true without being asked for")
	}
}

func TestGitHubEmail(t *testing.T) {
	const (
		user      = "GET api.github.com/user"
		emails    = "GET api.github.com/user/emails"
		noEmail   = `{"id":583231,"login":"ada","name":null,"email":null,"avatar_url":"https://avatars.example/1"}`
		hasEmail  = `{"id":583231,"login":"ada","name":"Ada","email":"Public@example.com","avatar_url":"https://avatars.example/1","email_verified":true}`
		addresses = `[{"email":"old@example.com","primary":false,"verified":true},` +
			`{"email":"Main@example.com","primary":true,"verified":true},{"email":"Public@example.com","primary":false,"verified":false}]`
	)
	tests := []struct {
		name, user, emails string
		wantEmail          string
		wantVerified       bool
		wantErr            bool
	}{
		{"primary and verified", noEmail, addresses, "main@example.com", true, false},
		{"public and not verified", hasEmail, addresses, "public@example.com", false, false},
		{"public and verified", strings.Replace(hasEmail, "Public", "old", 1), addresses, "old@example.com", true, false},
		{"public and not in the list", hasEmail, `[{"email":"main@example.com","primary":true,"verified":true}]`, "public@example.com", false, false},
		{"primary and not verified", noEmail, `[{"email":"a@example.com","primary":true,"verified":false}]`, "a@example.com", false, false},
		{"no primary", noEmail, `[{"email":"a@example.com","verified":true},{"email":"b@example.com","verified":true}]`, "a@example.com", true, false},
		{"empty list", noEmail, `[]`, "", false, false},
		{"no leave to read the list", hasEmail, "403", "public@example.com", false, false},
		{"no list there", noEmail, "404", "", false, false},
		{"list fails", noEmail, "500", "", false, true},
		{"list is an object", noEmail, `{}`, "", false, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := &answers{bodies: map[string]string{
				"POST github.com/login/oauth/access_token": `{"access_token":"at","scope":"read:user,user:email","token_type":"bearer"}`,
				user: tt.user, emails: tt.emails,
			}}
			p, err := catalog.GitHub(catalog.Client{ID: "client", Secret: "secret", HTTP: &http.Client{Transport: a}})
			if err != nil {
				t.Fatalf("GitHub: %v", err)
			}
			proof, err := signIn(t, p, map[string]string{"iss": "https://github.com/login/oauth"})
			if tt.wantErr {
				if err == nil {
					t.Fatal("no error")
				}
				return
			}
			if err != nil {
				t.Fatalf("sign in: %v", err)
			}
			if proof.User.Email != tt.wantEmail || proof.EmailVerified != tt.wantVerified {
				t.Errorf("e-mail %q, verified %v; want %q, %v", proof.User.Email, proof.EmailVerified, tt.wantEmail, tt.wantVerified)
			}
			if proof.Account.ProviderAccountID != "583231" || proof.User.Image != "https://avatars.example/1" {
				t.Errorf("account id %q, image %q", proof.Account.ProviderAccountID, proof.User.Image)
			}
			if want := map[bool]string{true: "ada", false: "Ada"}[tt.user == noEmail]; proof.User.Name != want {
				t.Errorf("name = %q, want %q", proof.User.Name, want)
			}
			if a.last.Header.Get("Authorization") != "Bearer at" {
				t.Errorf("Authorization of the last request = %q", a.last.Header.Get("Authorization"))
			}
		})
	}
}

func TestGitHubErrorWithStatus200(t *testing.T) {
	a := &answers{bodies: map[string]string{
		"POST github.com/login/oauth/access_token": `{"error":"bad_verification_code","error_description":"The code passed is incorrect or expired."}`,
	}}
	p, err := catalog.GitHub(catalog.Client{ID: "client", Secret: "secret", HTTP: &http.Client{Transport: a}})
	if err != nil {
		t.Fatalf("GitHub: %v", err)
	}
	_, err = signIn(t, p, nil)
	var e *gatebook.ProviderError
	if !errors.As(err, &e) || e.Code != "bad_verification_code" || e.Step != "token" {
		t.Errorf("error = %v, want the provider's code", err)
	}
	_, err = signIn(t, p, map[string]string{"iss": "https://github.example.com/login/oauth"})
	if !errors.As(err, &e) || e.Check != "iss" {
		t.Errorf("error = %v, want a failed check of iss", err)
	}
}

func TestGitHubEnterprise(t *testing.T) {
	t.Setenv("AUTH_GITHUB_WORK_ID", "client-of-env")
	t.Setenv("AUTH_GITHUB_WORK_SECRET", "secret-of-env")
	t.Setenv("AUTH_GITHUB_WORK_ISSUER", "https://git.corp.example/login/oauth")
	a := &answers{bodies: map[string]string{
		"POST git.corp.example/login/oauth/access_token": `{"access_token":"at"}`,
		"GET git.corp.example/api/v3/user":               `{"id":1,"login":"ada"}`,
		"GET git.corp.example/api/v3/user/emails":        `[{"email":"ada@corp.example","primary":true,"verified":true}]`,
	}}
	p, err := catalog.GitHub(catalog.Client{ProviderID: "github-work", HTTP: &http.Client{Transport: a}})
	if err != nil {
		t.Fatalf("GitHub: %v", err)
	}
	if u := begin(t, p); u.Host != "git.corp.example" || u.Query().Get("client_id") != "client-of-env" {
		t.Errorf("request goes to %s", u)
	}
	proof, err := signIn(t, p, map[string]string{"iss": "https://git.corp.example/login/oauth"})
	if err != nil {
		t.Fatalf("sign in: %v", err)
	}
	if proof.Account.Provider != "github-work" || !proof.EmailVerified {
		t.Errorf("provider %q, verified %v", proof.Account.Provider, proof.EmailVerified)
	}
	if _, _, ok := a.last.BasicAuth(); ok {
		t.Error("the client's secret went to the API")
	}
}

const googleMetadata = `{"issuer":"https://accounts.google.com",
	"authorization_endpoint":"https://accounts.google.com/o/oauth2/v2/auth","token_endpoint":"https://oauth2.googleapis.com/token",
	"jwks_uri":"https://www.googleapis.com/oauth2/v3/certs","id_token_signing_alg_values_supported":["RS256"]}`

func TestGoogle(t *testing.T) {
	a := &answers{bodies: map[string]string{
		"GET accounts.google.com/.well-known/openid-configuration": googleMetadata,
	}}
	p, err := catalog.Google(catalog.Client{ID: "client", Secret: "secret", HTTP: &http.Client{Transport: a},
		Params: []gatebook.Param{{Name: "access_type", Value: "offline"}}, LinkByVerifiedEmail: true})
	if err != nil {
		t.Fatalf("Google: %v", err)
	}
	if want := (gatebook.ProviderInfo{ID: "google", Name: "Google", Type: "oidc", BrandColor: "#1a73e8"}); p.Info() != want {
		t.Errorf("Info() = %+v, want %+v", p.Info(), want)
	}
	if len(a.asked) != 0 {
		t.Errorf("the constructor asked %q", a.asked)
	}
	u := begin(t, p)
	q := u.Query()
	if u.Host != "accounts.google.com" || q.Get("scope") != "openid profile email" || q.Get("nonce") == "" || q.Get("access_type") != "offline" {
		t.Errorf("request = %s", u)
	}
	if !p.LinkByEmail() {
		t.Error("LinkByEmail() = false, want true")
	}
}

// TestGoogleIssuers signs in with both spellings of the issuer that Google uses
// in ID tokens, and with one that it does not use.
func TestGoogleIssuers(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	b64 := base64.RawURLEncoding.EncodeToString
	for iss, ok := range map[string]bool{
		"https://accounts.google.com": true, "accounts.google.com": true, "http://accounts.google.com": false,
	} {
		now := time.Now().Unix()
		in := b64([]byte(`{"alg":"RS256","kid":"k"}`)) + "." + b64(fmt.Appendf(nil,
			`{"iss":%q,"aud":"client","sub":"12345678901234567890","iat":%d,"exp":%d,"nonce":"n","email":"Ada@example.com","email_verified":true}`,
			iss, now, now+60))
		sum := sha256.Sum256([]byte(in))
		signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
		if err != nil {
			t.Fatal(err)
		}
		a := &answers{bodies: map[string]string{
			"GET accounts.google.com/.well-known/openid-configuration": googleMetadata,
			"GET www.googleapis.com/oauth2/v3/certs":                   `{"keys":[{"kty":"RSA","kid":"k","n":"` + b64(key.N.Bytes()) + `","e":"AQAB"}]}`,
			"POST oauth2.googleapis.com/token":                         `{"access_token":"at","token_type":"Bearer","id_token":"` + in + "." + b64(signature) + `"}`,
		}}
		p, err := catalog.Google(catalog.Client{ID: "client", Secret: "secret", HTTP: &http.Client{Transport: a}})
		if err != nil {
			t.Fatalf("Google: %v", err)
		}
		proof, err := signIn(t, p, nil)
		if (err == nil) != ok {
			t.Errorf("issuer %s: error %v, want ok = %v", iss, err, ok)
		}
		if ok && err == nil && (proof.Account.ProviderAccountID != "12345678901234567890" || !proof.EmailVerified || proof.User.Email != "ada@example.com") {
			t.Errorf("issuer %s: proof of %q, e-mail %q, verified %v", iss, proof.Account.ProviderAccountID, proof.User.Email, proof.EmailVerified)
		}
	}
}

func TestNew(t *testing.T) {
	if ids := catalog.IDs(); !slices.IsSorted(ids) || !slices.Contains(ids, "github") || !slices.Contains(ids, "google") {
		t.Errorf("IDs() = %q", ids)
	}
	ownIssuer := map[string]string{
		"auth0":    "https://acme.eu.auth0.com",
		"keycloak": "https://sso.example/realms/acme",
		"okta":     "https://acme.okta.com",
	}
	for _, id := range catalog.IDs() {
		issuer := ownIssuer[id]
		if issuer != "" {
			_, err := catalog.New(id, catalog.Client{ID: "client", Secret: "secret"})
			if name := oauth.EnvName(id, "ISSUER"); err == nil || !strings.Contains(err.Error(), "Issuer") || !strings.Contains(err.Error(), name) {
				t.Errorf("New(%q) without an issuer: error %v, want one that names Issuer and %s", id, err, name)
			}
		}
		p, err := catalog.New(id, catalog.Client{ID: "client", Secret: "secret", Issuer: issuer})
		if err != nil {
			t.Errorf("New(%q): %v", id, err)
			continue
		}
		if p.Info().ID != id || p.Info().Name == "" || !strings.HasPrefix(p.Info().BrandColor, "#") || len(p.Info().BrandColor) != 7 {
			t.Errorf("New(%q).Info() = %+v", id, p.Info())
		}
		for key, c := range map[string]catalog.Client{"ID": {Secret: "secret", Issuer: issuer}, "SECRET": {ID: "client", Issuer: issuer}} {
			_, err = catalog.New(id, c)
			if name := oauth.EnvName(id, key); err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("New(%q) without %s: error %v, want one that names %s", id, key, err, name)
			}
		}
	}
	if _, err := catalog.New("nowhere", catalog.Client{}); err == nil {
		t.Error("New of an unknown id succeeded")
	}
}
