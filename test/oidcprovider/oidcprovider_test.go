package oidcprovider_test

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatebook/gatebook/test/oidcprovider"
)

var client = oidcprovider.Client{
	ID:           "app",
	Secret:       "the secret of a test client",
	RedirectURIs: []string{"http://localhost:3000/auth/callback/npm", "http://127.0.0.1:3000/auth/callback/npm"},
}

// The example of RFC 7636, Appendix B.
const (
	codeVerifier  = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
	codeChallenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
)

func authorizationURL(issuer, redirectURI string) string {
	return issuer + "/auth?" + url.Values{
		"client_id":             {client.ID},
		"response_type":         {"code"},
		"redirect_uri":          {redirectURI},
		"scope":                 {"openid email profile"},
		"state":                 {"the-state"},
		"nonce":                 {"the-nonce"},
		"code_challenge":        {codeChallenge},
		"code_challenge_method": {"S256"},
	}.Encode()
}

func TestSignIn(t *testing.T) {
	op := oidcprovider.Start(t, client)
	tests := []struct {
		account     oidcprovider.Account
		redirectURI string
		want        map[string]any
	}{
		{oidcprovider.Ada, client.RedirectURIs[0], map[string]any{
			"sub": "ada", "name": "Ada Lovelace", "given_name": "Ada", "family_name": "Lovelace",
			"email": "ada@example.com", "email_verified": true,
		}},
		{oidcprovider.Grace, client.RedirectURIs[1], map[string]any{
			"sub": "grace", "name": "Grace Hopper", "given_name": "Grace", "family_name": "Hopper",
			"email": "grace@example.com", "email_verified": false,
		}},
	}
	for _, test := range tests {
		t.Run(string(test.account), func(t *testing.T) {
			callback := op.SignIn(t, nil, authorizationURL(op.Issuer, test.redirectURI), test.account)
			q := callback.Query()
			if got := callback.Scheme + "://" + callback.Host + callback.Path; got != test.redirectURI {
				t.Errorf("callback at %s, want %s", got, test.redirectURI)
			}
			if q.Get("state") != "the-state" || q.Get("iss") != op.Issuer || q.Get("code") == "" {
				t.Fatalf("callback query = %v, want a code, the state and the issuer", q)
			}

			idToken, userinfo := exchange(t, op.Issuer, q.Get("code"), test.redirectURI)
			if idToken["iss"] != op.Issuer || idToken["aud"] != client.ID || idToken["nonce"] != "the-nonce" {
				t.Errorf("ID token = %v, want issuer, audience and nonce", idToken)
			}
			if diff := cmp.Diff(test.want, userinfo); diff != "" {
				t.Errorf("userinfo (-want +got):\n%s", diff)
			}
			for claim, want := range test.want {
				if idToken[claim] != want {
					t.Errorf("ID token claim %s = %v, want %v", claim, idToken[claim], want)
				}
			}
		})
	}
}

func TestSignInAgainNeedsNoPage(t *testing.T) {
	op := oidcprovider.Start(t, client)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	posts := 0
	visitor := &http.Client{Jar: jar, Transport: countPosts{&posts}}
	op.SignIn(t, visitor, authorizationURL(op.Issuer, client.RedirectURIs[0]), oidcprovider.Ada)
	if posts != 2 {
		t.Errorf("first sign-in posted %d forms, want 2: sign-in and consent", posts)
	}
	posts = 0
	callback := op.SignIn(t, visitor, authorizationURL(op.Issuer, client.RedirectURIs[0]), oidcprovider.Ada)
	if posts != 0 || callback.Query().Get("code") == "" {
		t.Errorf("second sign-in posted %d forms and came back with %v, want none and a code", posts, callback.Query())
	}
}

func TestRefuse(t *testing.T) {
	op := oidcprovider.Start(t, client)
	q := op.Refuse(t, nil, authorizationURL(op.Issuer, client.RedirectURIs[0])).Query()
	if q.Get("error") != "access_denied" || q.Get("state") != "the-state" || q.Get("code") != "" {
		t.Errorf("callback query = %v, want access_denied, the state and no code", q)
	}
}

// The provider must be strict where the tests of our client rely on it.
func TestProviderIsStrict(t *testing.T) {
	op := oidcprovider.Start(t, client)
	code := op.SignIn(t, nil, authorizationURL(op.Issuer, client.RedirectURIs[0]), oidcprovider.Ada).Query().Get("code")
	if res := post(t, op.Issuer, code, client.RedirectURIs[0], strings.Repeat("x", 43)); res.StatusCode != http.StatusBadRequest {
		t.Errorf("exchange with a wrong code verifier: %s, want 400", res.Status)
	}
	res, err := http.Get(authorizationURL(op.Issuer, "http://localhost:3001/elsewhere"))
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusBadRequest {
		t.Errorf("authorization request with an unknown redirect URI: %s, want 400", res.Status)
	}
}

func TestEndsWithTheTest(t *testing.T) {
	var issuer string
	t.Run("provider", func(t *testing.T) { issuer = oidcprovider.Start(t, client).Issuer })
	if issuer == "" {
		return // the part is missing, which the subtest has told
	}
	if res, err := http.Get(issuer + "/jwks"); err == nil {
		res.Body.Close()
		t.Error("the provider still answers after the test that started it")
	}
}

// exchange redeems code and returns the claims of the ID token, unchecked, and
// the userinfo.
func exchange(t *testing.T, issuer, code, redirectURI string) (idToken, userinfo map[string]any) {
	t.Helper()
	res := post(t, issuer, code, redirectURI, codeVerifier)
	var tokens struct {
		AccessToken string `json:"access_token"`
		IDToken     string `json:"id_token"`
	}
	decode(t, res, &tokens)
	parts := strings.Split(tokens.IDToken, ".")
	if len(parts) != 3 {
		t.Fatalf("ID token has %d parts, want 3", len(parts))
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(payload, &idToken); err != nil {
		t.Fatal(err)
	}

	req, err := http.NewRequest(http.MethodGet, issuer+"/me", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+tokens.AccessToken)
	res, err = http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	decode(t, res, &userinfo)
	return idToken, userinfo
}

func post(t *testing.T, issuer, code, redirectURI, verifier string) *http.Response {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, issuer+"/token", strings.NewReader(url.Values{
		"grant_type":    {"authorization_code"},
		"code":          {code},
		"redirect_uri":  {redirectURI},
		"code_verifier": {verifier},
	}.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(url.QueryEscape(client.ID), url.QueryEscape(client.Secret))
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	return res
}

func decode(t *testing.T, res *http.Response, into any) {
	t.Helper()
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != http.StatusOK {
		t.Fatalf("%s answered %s: %s", res.Request.URL, res.Status, body)
	}
	if err := json.Unmarshal(body, into); err != nil {
		t.Fatal(err)
	}
}

type countPosts struct{ posts *int }

func (c countPosts) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Method == http.MethodPost {
		*c.posts++
	}
	return http.DefaultTransport.RoundTrip(req)
}
