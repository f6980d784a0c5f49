package gatebooktest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/provider/oauth"
)

// OpenID is an OpenID provider (OpenID Connect Core 1.0, authorization code with
// PKCE) on this machine. It signs its tokens with ES256 and asks nobody
// anything: whoever is sent to it comes back at once as the person that
// [OpenID.Person] names. Make one with [NewOpenID]. It may be used concurrently.
type OpenID struct {
	// URL is the issuer, ClientID and ClientSecret are those of the one client,
	// for what is configured by hand; Provider has them.
	URL          string
	ClientID     string
	ClientSecret string

	t   testing.TB
	key *ecdsa.PrivateKey

	mu     sync.Mutex
	claims map[string]any
	refuse string
	grants map[string]grant // by code
	tokens map[string]map[string]any
}

// grant is what an authorization request asked for and who granted it.
type grant struct {
	redirectURI, nonce, challenge string
	claims                        map[string]any
}

// NewOpenID starts a provider, which stops when the test ends. Until Person says
// otherwise its person is Ada Lovelace, ada@example.com, with sub "ada".
//
//	idp := gatebooktest.NewOpenID(t)
//	site := gatebooktest.New(t, gatebook.Config{Providers: []gatebook.Provider{idp.Provider("acme")}})
//	client := site.Client()
//	site.Post(client, "/auth/signin/acme", nil)
//	site.Want("createUser", "linkAccount", "signIn")
func NewOpenID(t testing.TB) *OpenID {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatalf("gatebooktest: %v", err)
	}
	p := &OpenID{t: t, key: key, ClientID: "site", ClientSecret: rand.Text(),
		grants: map[string]grant{}, tokens: map[string]map[string]any{}}
	p.Person(map[string]any{"sub": "ada", "name": "Ada Lovelace", "email": "ada@example.com", "email_verified": true})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", p.metadata)
	mux.HandleFunc("GET /keys", p.keys)
	mux.HandleFunc("GET /authorize", p.authorize)
	mux.HandleFunc("POST /token", p.token)
	mux.HandleFunc("GET /userinfo", p.userinfo)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	p.URL = server.URL
	return p
}

// Provider returns the provider as a site configures it, under the given id.
func (p *OpenID) Provider(id string) *oauth.Provider {
	p.t.Helper()
	provider, err := oauth.New(p.Config(id))
	if err != nil {
		p.t.Fatalf("gatebooktest: %v", err)
	}
	return provider
}

// Config returns what Provider configures, for a change of it.
func (p *OpenID) Config(id string) oauth.Config {
	return oauth.Config{ID: id, Issuer: p.URL, ClientID: p.ClientID, ClientSecret: gatebook.Secret(p.ClientSecret)}
}

// Person says who signs in from now on, by the claims of the ID token and of
// userinfo (OpenID Connect Core 1.0, Section 5.1). The claims that protect the
// protocol, such as iss and nonce, are added; one that is given here is sent as
// it is, even when it is wrong.
func (p *OpenID) Person(claims map[string]any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.claims = maps.Clone(claims)
}

// Refuse sends people back with this error code, such as "access_denied" (OpenID
// Connect Core 1.0, Section 3.1.2.6), until it is called with "".
func (p *OpenID) Refuse(code string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse = code
}

func (p *OpenID) metadata(w http.ResponseWriter, _ *http.Request) {
	reply(w, http.StatusOK, map[string]any{
		"issuer": p.URL, "authorization_endpoint": p.URL + "/authorize", "token_endpoint": p.URL + "/token",
		"userinfo_endpoint": p.URL + "/userinfo", "jwks_uri": p.URL + "/keys",
		"response_types_supported": []string{"code"}, "subject_types_supported": []string{"public"},
		"id_token_signing_alg_values_supported":          []string{"ES256"},
		"code_challenge_methods_supported":               []string{"S256"},
		"authorization_response_iss_parameter_supported": true,
	})
}

func (p *OpenID) keys(w http.ResponseWriter, _ *http.Request) {
	point, err := p.key.PublicKey.Bytes()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	reply(w, http.StatusOK, map[string]any{"keys": []any{map[string]any{
		"kty": "EC", "use": "sig", "alg": "ES256", "kid": "1", "crv": "P-256", "x": b64(point[1:33]), "y": b64(point[33:])}}})
}

// authorize grants at once. What a provider may not send back to anybody is an
// error of the test's site, so it ends up on a page.
func (p *OpenID) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	to, err := url.Parse(q.Get("redirect_uri"))
	switch {
	case err != nil || to.Host == "":
		http.Error(w, "redirect_uri is missing or no URL", http.StatusBadRequest)
		return
	case q.Get("client_id") != p.ClientID:
		http.Error(w, "client_id is not "+p.ClientID, http.StatusBadRequest)
		return
	}
	answer := url.Values{"state": {q.Get("state")}, "iss": {p.URL}}
	p.mu.Lock()
	switch {
	case p.refuse != "":
		answer.Set("error", p.refuse)
	case q.Get("response_type") != "code" || q.Get("code_challenge_method") != "S256" || q.Get("code_challenge") == "":
		answer.Set("error", "invalid_request")
	default:
		code := rand.Text()
		answer.Set("code", code)
		p.grants[code] = grant{redirectURI: q.Get("redirect_uri"), nonce: q.Get("nonce"),
			challenge: q.Get("code_challenge"), claims: maps.Clone(p.claims)}
	}
	p.mu.Unlock()
	to.RawQuery = answer.Encode()
	http.Redirect(w, r, to.String(), http.StatusFound)
}

// token redeems a code, once (RFC 6749, Section 4.1.3; RFC 7636, Section 4.6).
func (p *OpenID) token(w http.ResponseWriter, r *http.Request) {
	id, secret, ok := r.BasicAuth()
	if ok {
		id, secret = unescape(id), unescape(secret)
	} else {
		id, secret = r.PostFormValue("client_id"), r.PostFormValue("client_secret")
	}
	if id != p.ClientID || subtle.ConstantTimeCompare([]byte(secret), []byte(p.ClientSecret)) == 0 {
		reply(w, http.StatusUnauthorized, map[string]any{"error": "invalid_client"})
		return
	}
	code := r.PostFormValue("code")
	p.mu.Lock()
	g, ok := p.grants[code]
	delete(p.grants, code)
	p.mu.Unlock()
	sum := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
	if !ok || r.PostFormValue("grant_type") != "authorization_code" ||
		r.PostFormValue("redirect_uri") != g.redirectURI || b64(sum[:]) != g.challenge {
		reply(w, http.StatusBadRequest, map[string]any{"error": "invalid_grant"})
		return
	}
	idToken, err := p.sign(g)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	access := rand.Text()
	p.mu.Lock()
	p.tokens[access] = g.claims
	p.mu.Unlock()
	reply(w, http.StatusOK, map[string]any{"access_token": access, "token_type": "Bearer", "expires_in": 3600,
		"scope": "openid profile email", "id_token": idToken})
}

// unescape decodes a part of the Authorization header (RFC 6749, Section 2.3.1).
func unescape(s string) string {
	if decoded, err := url.QueryUnescape(s); err == nil {
		return decoded
	}
	return s
}

// sign makes the ID token of a grant.
func (p *OpenID) sign(g grant) (string, error) {
	now := time.Now().Unix()
	claims := map[string]any{"iss": p.URL, "aud": p.ClientID, "iat": now, "exp": now + 300, "auth_time": now}
	if g.nonce != "" {
		claims["nonce"] = g.nonce
	}
	maps.Copy(claims, g.claims)
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	input := b64([]byte(`{"alg":"ES256","typ":"JWT","kid":"1"}`)) + "." + b64(payload)
	sum := sha256.Sum256([]byte(input))
	r, s, err := ecdsa.Sign(rand.Reader, p.key, sum[:])
	if err != nil {
		return "", err
	}
	return input + "." + b64(append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)), nil
}

func (p *OpenID) userinfo(w http.ResponseWriter, r *http.Request) {
	scheme, token := "Bearer ", r.Header.Get("Authorization")
	p.mu.Lock()
	claims, ok := p.tokens[token[min(len(token), len(scheme)):]]
	p.mu.Unlock()
	if !ok {
		w.Header().Set("WWW-Authenticate", "Bearer")
		reply(w, http.StatusUnauthorized, map[string]any{"error": "invalid_token"})
		return
	}
	reply(w, http.StatusOK, claims)
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func reply(w http.ResponseWriter, status int, body any) {
	b, err := json.Marshal(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	w.Write(b)
}
