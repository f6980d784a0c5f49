package oauth_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/provider/oauth"
)

var (
	rsaKey      = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 2048)) })
	otherRSAKey = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 2048)) })
	ecKey       = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) })
	edKey       = sync.OnceValue(func() ed25519.PrivateKey {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return must(key, err)
	})
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

type object = map[string]any

// fake is an OpenID provider that signs real tokens. Its fields are what its
// endpoints answer; a handler that is set answers in place of the endpoint.
type fake struct {
	*httptest.Server
	now time.Time

	mu        sync.Mutex // guards what follows
	metadata  object
	reply     object // the token endpoint's, without id_token when noIDToken
	claims    object // of the ID token
	sign      func(claims object) string
	keys      []object
	profile   object
	noIDToken bool
	handlers  map[string]http.HandlerFunc // by path
	calls     map[string]int
	token     *http.Request // the last token request, its form parsed
	userinfo  *http.Request

	nonce, challenge string
}

func newFake(t *testing.T) *fake {
	t.Helper()
	f := &fake{now: time.Unix(1_800_000_000, 0).UTC(), handlers: map[string]http.HandlerFunc{}, calls: map[string]int{}}
	mux := http.NewServeMux()
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		f.calls[r.URL.Path]++
		h := f.handlers[r.URL.Path]
		f.mu.Unlock()
		if h == nil {
			h = mux.ServeHTTP
		}
		h(w, r)
	}))
	t.Cleanup(f.Close)
	f.metadata = object{
		"issuer":                 f.URL,
		"authorization_endpoint": f.URL + "/authorize",
		"token_endpoint":         f.URL + "/token",
		"userinfo_endpoint":      f.URL + "/userinfo",
		"jwks_uri":               f.URL + "/keys",
	}
	f.reply = object{"access_token": "at-1", "token_type": "Bearer", "expires_in": 3600, "scope": "openid email", "refresh_token": "rt-1", "custom": "kept"}
	f.claims = object{
		"iss": f.URL, "aud": "client", "sub": "ada-1", "exp": f.now.Unix() + 300, "iat": f.now.Unix(),
		"name": "Ada", "email": "Ada@Example.com", "email_verified": true, "picture": "https://img.example/ada.png",
		"amr": []string{"pwd", "otp"}, "acr": "urn:2", "auth_time": f.now.Unix() - 60,
	}
	f.profile = object{"sub": "ada-1", "name": "Ada L.", "email": "ada@example.com"}
	f.sign = signRS256("k1", rsaKey())
	f.keys = []object{rsaJWK("k1", rsaKey())}
	mux.HandleFunc("/.well-known/openid-configuration", f.serveMetadata)
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) { f.write(w, object{"keys": f.keys}) })
	mux.HandleFunc("/token", f.serveToken)
	mux.HandleFunc("/userinfo", func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		f.userinfo = r
		f.mu.Unlock()
		f.write(w, f.profile)
	})
	return f
}

func (f *fake) write(w http.ResponseWriter, o object) {
	f.mu.Lock()
	defer f.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	w.Write(must(json.Marshal(o)))
}

func (f *fake) serveMetadata(w http.ResponseWriter, _ *http.Request) { f.write(w, f.metadata) }

func (f *fake) serveToken(w http.ResponseWriter, r *http.Request) {
	r.ParseForm()
	f.mu.Lock()
	f.token = r
	reply := maps.Clone(f.reply)
	if !f.noIDToken {
		claims := maps.Clone(f.claims)
		if _, ok := claims["nonce"]; !ok && f.nonce != "" {
			claims["nonce"] = f.nonce
		}
		reply["id_token"] = f.sign(claims)
	}
	badVerifier := f.challenge != "" && challenge(r.Form.Get("code_verifier")) != f.challenge
	f.mu.Unlock()
	if badVerifier {
		w.WriteHeader(http.StatusBadRequest)
		reply = object{"error": "invalid_grant", "error_description": "PKCE verification failed"}
	}
	f.write(w, reply)
}

func challenge(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func (f *fake) handle(path string, h http.HandlerFunc) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.handlers[path] = h
}

func (f *fake) count(path string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls[path]
}

// config is the configuration of a client at f.
func (f *fake) config() oauth.Config {
	return oauth.Config{
		ID: "acme", Issuer: f.URL, ClientID: "client", ClientSecret: "secret",
		Now: func() time.Time { return f.now },
	}
}

// oauthConfig is the configuration of a client that knows f as plain OAuth 2.0.
func (f *fake) oauthConfig() oauth.Config {
	c := f.config()
	c.Type, c.Issuer = gatebook.TypeOAuth, ""
	c.AuthURL, c.TokenURL, c.UserinfoURL = f.URL+"/authorize", f.URL+"/token", f.URL+"/userinfo"
	f.noIDToken = true
	return c
}

const callback = "https://app.example/auth/callback/acme"

// begin begins a sign-in and tells f of its checks, as the browser would.
func (f *fake) begin(t *testing.T, p *oauth.Provider) *gatebook.Complete {
	t.Helper()
	red, err := p.Begin(t.Context(), &gatebook.Begin{RedirectURI: callback, State: "state-1"})
	if err != nil {
		t.Fatalf("Begin: %v", err)
	}
	q := must(url.Parse(red.URL)).Query()
	f.mu.Lock()
	f.nonce, f.challenge = q.Get("nonce"), q.Get("code_challenge")
	f.mu.Unlock()
	return &gatebook.Complete{
		RedirectURI:  callback,
		Params:       map[string]string{"code": "code-1", "state": q.Get("state")},
		State:        "state-1",
		CodeVerifier: red.CodeVerifier,
		Nonce:        red.Nonce,
	}
}

// signIn signs in through f with the configuration c.
func (f *fake) signIn(t *testing.T, c oauth.Config) (*gatebook.Proof, error) {
	t.Helper()
	p := newProvider(t, c)
	return p.Complete(t.Context(), f.begin(t, p))
}

func newProvider(t *testing.T, c oauth.Config) *oauth.Provider {
	t.Helper()
	p, err := oauth.New(c)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	return p
}

// wantError fails the test unless err is a ProviderError with these fields.
func wantError(t *testing.T, proof *gatebook.Proof, err error, want gatebook.ProviderError) {
	t.Helper()
	var got *gatebook.ProviderError
	if !errors.As(err, &got) {
		t.Fatalf("error = %v (%T), want a *ProviderError", err, err)
	}
	if proof != nil {
		t.Error("there is a proof beside the error")
	}
	cause := got.Err
	if got.Err = nil; *got != want {
		t.Errorf("error = %+v (cause %v), want %+v", *got, cause, want)
	}
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func signingInput(header, claims object) string {
	return b64(must(json.Marshal(header))) + "." + b64(must(json.Marshal(claims)))
}

func signRS256(kid string, key *rsa.PrivateKey) func(object) string {
	return func(claims object) string {
		in := signingInput(object{"alg": "RS256", "kid": kid}, claims)
		sum := sha256.Sum256([]byte(in))
		return in + "." + b64(must(rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])))
	}
}

func signES256(claims object) string {
	in := signingInput(object{"alg": "ES256", "kid": "ec"}, claims)
	sum := sha256.Sum256([]byte(in))
	r, s, err := ecdsa.Sign(rand.Reader, ecKey(), sum[:])
	if err != nil {
		panic(err)
	}
	return in + "." + b64(append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...))
}

func signEdDSA(claims object) string {
	in := signingInput(object{"alg": "EdDSA", "kid": "ed"}, claims)
	return in + "." + b64(ed25519.Sign(edKey(), []byte(in)))
}

// signNone makes a token that says it needs no signature.
func signNone(claims object) string {
	return signingInput(object{"alg": "none"}, claims) + "."
}

// signHS256 makes a token whose HMAC key is something public.
func signHS256(key []byte) func(object) string {
	return func(claims object) string {
		in := signingInput(object{"alg": "HS256", "kid": "k1"}, claims)
		mac := hmac.New(sha256.New, key)
		io.WriteString(mac, in)
		return in + "." + b64(mac.Sum(nil))
	}
}

func rsaJWK(kid string, key *rsa.PrivateKey) object {
	return object{"kty": "RSA", "kid": kid, "use": "sig", "alg": "RS256",
		"n": b64(key.N.Bytes()), "e": b64(big.NewInt(int64(key.E)).Bytes())}
}

func ecJWK() object {
	point := must(ecKey().PublicKey.Bytes())
	return object{"kty": "EC", "kid": "ec", "crv": "P-256", "x": b64(point[1:33]), "y": b64(point[33:])}
}

func edJWK() object {
	return object{"kty": "OKP", "kid": "ed", "crv": "Ed25519", "x": b64(edKey().Public().(ed25519.PublicKey))}
}

// transport is an http.RoundTripper that is a function.
type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func status(code int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		io.WriteString(w, body)
	}
}

// hang answers nothing until the client has gone.
func hang(w http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
}
