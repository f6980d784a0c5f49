// Package providers emulates sign-in providers in this process, each as strict
// as the real one is known to be: it refuses a redirect URI that is not
// registered, another way to authenticate the client, a request without the PKCE
// or the parameters it demands, scopes it does not have or in another form, a
// code that was used, a request for the profile by another method, without its
// header or its fields, or at another version of its API.
//
// What the emulators know is written here from the providers' documentation, and
// not taken from package catalog: two that agree have then both been thought of.
//
// A test makes one with [New], gives its Client to the provider under test, and
// walks the visitor through it:
//
//	idp := providers.New(providers.All()["github"], providers.Client{ID: "app", Secret: "…", RedirectURI: uri})
//	github, err := catalog.GitHub(catalog.Client{ID: "app", Secret: "…", HTTP: idp.HTTP()})
//	reply, err := idp.Visit(authorizationURL, providers.Consent)
package providers

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Object is a JSON object.
type Object = map[string]any

// Client is what is registered at a provider.
type Client struct {
	ID          string
	Secret      string
	RedirectURI string
}

// Emulator is a running provider. Its exported fields may be changed between
// requests, to have it answer something else.
type Emulator struct {
	Known
	Client Client
	// Now returns the time of its clock.
	Now func() time.Time
	// Metadata, Reply and Claims change the discovery document, the token reply
	// and the ID token's claims before they go out.
	Metadata, Reply, Claims func(Object)
	// Sign signs an ID token's claims in place of the provider's key.
	Sign func(claims Object) string
	// KeySet is the set of public keys.
	KeySet jose.JSONWebKeySet
	// Calls counts requests by URL without query.
	Calls map[string]int
	// LastToken is the form of the last token request, with what it was
	// authenticated with under "auth".
	LastToken url.Values

	mu     sync.Mutex // serializes requests
	key    *rsa.PrivateKey
	codes  map[string]*grant
	tokens map[string]*grant
}

// grant is what a person allowed the client.
type grant struct {
	redirectURI, challenge, nonce string
	scopes                        []string
	used                          bool
}

var signingKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

// New returns the provider that k describes, where c is registered.
func New(k Known, c Client) *Emulator {
	e := &Emulator{Known: k, Client: c, Now: time.Now, key: signingKey(), Calls: map[string]int{},
		codes: map[string]*grant{}, tokens: map[string]*grant{}}
	e.Sign = func(claims Object) string { return SignRS256("k1", e.key, claims) }
	e.KeySet.Keys = []jose.JSONWebKey{{Key: e.key.Public(), KeyID: "k1", Algorithm: "RS256", Use: "sig"}}
	return e
}

// SignRS256 returns claims as a JWS signed with key.
func SignRS256(kid string, key *rsa.PrivateKey, claims Object) string {
	opts := &jose.SignerOptions{}
	if kid != "" {
		opts = opts.WithHeader("kid", kid)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: key}, opts)
	return signWith(signer, err, claims)
}

func signWith(signer jose.Signer, err error, claims Object) string {
	if err != nil {
		panic(err)
	}
	jws, err := signer.Sign(encode(claims))
	if err != nil {
		panic(err)
	}
	s, err := jws.CompactSerialize()
	if err != nil {
		panic(err)
	}
	return s
}

func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// Answer is what the person does on the provider's page.
type Answer bool

// The person allows it, or not.
const (
	Consent Answer = true
	Deny    Answer = false
)

// Reply is what the browser brings back: a URL to get, or to post Form to.
type Reply struct {
	URL  string
	Form url.Values
}

// Visit opens the provider's page and answers it. An error is a page that says
// so: the browser then never comes back.
func (e *Emulator) Visit(authorizationURL string, answer Answer) (*Reply, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	u, err := url.Parse(authorizationURL)
	if err != nil {
		return nil, err
	}
	q := u.Query()
	for name, values := range q {
		if len(values) != 1 {
			return nil, fmt.Errorf("%d times the parameter %s", len(values), name)
		}
	}
	fixed, _ := url.Parse(e.Authorize)
	switch {
	case u.Scheme != "https" || u.Host != fixed.Host || u.Path != fixed.Path:
		return nil, fmt.Errorf("nobody answers %s://%s%s", u.Scheme, u.Host, u.Path)
	case q.Get("client_id") != e.Client.ID:
		return nil, errors.New("client_id is not registered")
	case q.Get("redirect_uri") != e.Client.RedirectURI:
		return nil, errors.New("redirect_uri is not registered")
	case e.HTTPSOnly && !strings.HasPrefix(e.Client.RedirectURI, "https://"):
		return nil, errors.New("redirect_uri must be https")
	}
	if code := e.refuses(q); code != "" {
		return e.back(q, url.Values{"error": {code}}), nil
	}
	if answer == Deny {
		return e.back(q, url.Values{"error": {e.Denied}}), nil
	}
	code := rand.Text()
	e.codes[code] = &grant{redirectURI: q.Get("redirect_uri"), challenge: q.Get("code_challenge"), nonce: q.Get("nonce"),
		scopes: strings.Split(q.Get("scope"), " ")}
	out := url.Values{"code": {code}}
	if e.Known.User != nil {
		out.Set("user", string(encode(e.Known.User)))
	}
	return e.back(q, out), nil
}

// refuses returns the error code for what an authorization request lacks.
func (e *Emulator) refuses(q url.Values) string {
	if q.Get("response_type") != "code" {
		return "unsupported_response_type"
	}
	for name, want := range e.Params {
		if q.Get(name) != want {
			return "invalid_request"
		}
	}
	switch {
	case e.StateNeeded && q.Get("state") == "",
		e.PKCENeeded && q.Get("code_challenge") == "",
		q.Has("code_challenge") && (q.Get("code_challenge_method") != "S256" || len(q.Get("code_challenge")) != 43):
		return "invalid_request"
	}
	asked := strings.Split(q.Get("scope"), " ")
	for _, s := range asked {
		if !slices.Contains(e.Scopes, s) {
			return "invalid_scope"
		}
	}
	if e.OpenID && !e.IDTokenAlways && !slices.Contains(asked, "openid") {
		return "invalid_scope"
	}
	return ""
}

func (e *Emulator) back(q, out url.Values) *Reply {
	if q.Has("state") {
		out.Set("state", q.Get("state"))
	}
	if e.IssParam != "" {
		out.Set("iss", e.IssParam)
	}
	if e.Params["response_mode"] == "form_post" {
		return &Reply{URL: q.Get("redirect_uri"), Form: out}
	}
	return &Reply{URL: q.Get("redirect_uri") + "?" + out.Encode()}
}

// HTTP returns a client whose requests the emulator answers.
func (e *Emulator) HTTP() *http.Client { return &http.Client{Transport: e} }

// RoundTrip answers a request of the client's server.
func (e *Emulator) RoundTrip(r *http.Request) (*http.Response, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if r.Body == nil {
		r.Body = http.NoBody
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	at := "https://" + r.URL.Host + r.URL.Path
	e.Calls[at]++
	w := httptest.NewRecorder()
	serve := map[string]func(http.ResponseWriter, *http.Request){
		e.Token: e.serveToken, e.Userinfo: e.serveUserinfo, e.Discovery: e.serveMetadata, e.Keys: e.serveKeys,
	}
	delete(serve, "")
	for url, document := range e.Documents {
		serve[url] = func(w http.ResponseWriter, r *http.Request) { e.serveDocument(w, r, document) }
	}
	h, ok := serve[at]
	switch {
	case !ok || r.URL.Scheme != "https":
		return nil, fmt.Errorf("nobody answers %s", at)
	case e.UserAgentNeeded && r.UserAgent() == "":
		fail(w, http.StatusForbidden, Object{"message": "Request forbidden by administrative rules."})
	default:
		h(w, r)
	}
	return w.Result(), nil
}

func write(w http.ResponseWriter, o any) {
	w.Header().Set("Content-Type", "application/json")
	w.Write(encode(o))
}

func fail(w http.ResponseWriter, status int, o Object) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(encode(o))
}

func (e *Emulator) serveMetadata(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet {
		http.Error(w, "", http.StatusMethodNotAllowed)
		return
	}
	o := Object{
		"issuer": e.Issuer, "authorization_endpoint": e.Authorize, "token_endpoint": e.Token, "jwks_uri": e.Keys,
		"id_token_signing_alg_values_supported": []string{"RS256"}, "response_types_supported": []string{"code"},
	}
	if e.Userinfo != "" {
		o["userinfo_endpoint"] = e.Userinfo
	}
	if e.Metadata != nil {
		e.Metadata(o)
	}
	write(w, o)
}

func (e *Emulator) serveKeys(w http.ResponseWriter, _ *http.Request) { write(w, e.KeySet) }

// serveToken redeems a code.
func (e *Emulator) serveToken(w http.ResponseWriter, r *http.Request) {
	mediaType, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	if r.Method != http.MethodPost || mediaType != "application/x-www-form-urlencoded" || r.URL.RawQuery != "" || r.ParseForm() != nil {
		e.refuse(w, "invalid_request")
		return
	}
	f := r.PostForm
	how, ok := e.authenticated(r, f)
	e.LastToken = maps.Clone(f)
	e.LastToken.Set("auth", how)
	if !ok {
		e.refuse(w, "invalid_client")
		return
	}
	g := e.codes[f.Get("code")]
	switch {
	case f.Get("grant_type") != "authorization_code":
		e.refuse(w, "unsupported_grant_type")
	case g == nil || g.used || f.Get("redirect_uri") != g.redirectURI:
		e.refuse(w, "invalid_grant")
	case g.challenge != "" && challenge(f.Get("code_verifier")) != g.challenge, g.challenge == "" && f.Has("code_verifier"):
		e.refuse(w, "invalid_grant")
	default:
		g.used = true
		e.reply(w, r, g)
	}
}

func challenge(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// authenticated reports how the client proved who it is, and whether the
// provider takes that.
func (e *Emulator) authenticated(r *http.Request, f url.Values) (how string, ok bool) {
	id, secret, basic := r.BasicAuth()
	post := f.Has("client_secret")
	switch {
	case basic && (post || f.Has("client_assertion")):
		return "two ways at once", false
	case basic:
		// RFC 6749, Section 2.3.1: both are form-encoded first.
		id, err1 := url.QueryUnescape(id)
		secret, err2 := url.QueryUnescape(secret)
		return "basic", slices.Contains(e.ClientAuth, "basic") && err1 == nil && err2 == nil && e.isClient(id, secret)
	case post:
		return "post", slices.Contains(e.ClientAuth, "post") && e.isClient(f.Get("client_id"), f.Get("client_secret"))
	case f.Has("client_assertion"):
		return "assertion", slices.Contains(e.ClientAuth, "assertion") && e.CheckAssertion != nil &&
			f.Get("client_assertion_type") == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" &&
			e.CheckAssertion(e, f.Get("client_assertion"))
	}
	return "none", slices.Contains(e.ClientAuth, "none") && f.Get("client_id") == e.Client.ID
}

func (e *Emulator) isClient(id, secret string) bool {
	if e.CheckSecret != nil {
		return id == e.Client.ID && e.CheckSecret(e, secret)
	}
	return id == e.Client.ID && secret == e.Client.Secret
}

func (e *Emulator) refuse(w http.ResponseWriter, code string) {
	if e.TokenError != nil {
		e.TokenError(w, code)
		return
	}
	status := http.StatusBadRequest
	if code == "invalid_client" {
		status = http.StatusUnauthorized
	}
	fail(w, status, Object{"error": code, "error_description": "described"})
}

func (e *Emulator) reply(w http.ResponseWriter, r *http.Request, g *grant) {
	access := "at-" + rand.Text()
	e.tokens[access] = g
	o := Object{"access_token": access, "token_type": "Bearer", "expires_in": 3600, "scope": strings.Join(g.scopes, " ")}
	if e.OpenID {
		o["id_token"] = e.Sign(e.claims(g, access))
	}
	maps.Copy(o, e.TokenReply)
	for name, v := range e.TokenReply {
		if v == nil {
			delete(o, name)
		}
	}
	if e.Reply != nil {
		e.Reply(o)
	}
	if e.FormEncoded && !strings.Contains(r.Header.Get("Accept"), "application/json") {
		w.Header().Set("Content-Type", "application/x-www-form-urlencoded")
		io.WriteString(w, url.Values{"access_token": {access}, "token_type": {"bearer"}}.Encode())
		return
	}
	write(w, o)
}

func (e *Emulator) claims(g *grant, access string) Object {
	now := e.Now()
	sum := sha256.Sum256([]byte(access))
	issuer := e.Issuer
	if e.TokenIssuer != "" {
		issuer = e.TokenIssuer
	}
	c := Object{"iss": issuer, "aud": e.Client.ID, "iat": now.Unix(), "exp": now.Add(10 * time.Minute).Unix(),
		"at_hash": base64.RawURLEncoding.EncodeToString(sum[:16])}
	if g.nonce != "" && !e.NoNonce {
		c["nonce"] = g.nonce
	}
	maps.Copy(c, e.Profile)
	if e.Claims != nil {
		e.Claims(c)
	}
	return c
}

// bearer returns what the token of a request allows, or answers it.
func (e *Emulator) bearer(w http.ResponseWriter, r *http.Request) *grant {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	g := e.tokens[token]
	switch {
	case r.Method != http.MethodGet:
		http.Error(w, "", http.StatusMethodNotAllowed)
	case !ok || g == nil:
		fail(w, http.StatusUnauthorized, Object{"message": "Bad credentials"})
	default:
		return g
	}
	return nil
}

// serveUserinfo gives the fields of the profile that are asked for.
func (e *Emulator) serveUserinfo(w http.ResponseWriter, r *http.Request) {
	g := e.bearer(w, r)
	if g == nil {
		return
	}
	if e.Fields == nil {
		write(w, e.Profile)
		return
	}
	asked := strings.Split(r.URL.Query().Get(e.FieldsParam), ",")
	o := Object{}
	for name, v := range e.Profile {
		needs, optional := e.Fields[name]
		switch {
		case !optional:
			o[name] = v // given unasked
		case slices.Contains(asked, name) && (needs == "" || slices.Contains(g.scopes, needs)):
			o[name] = v
		}
	}
	if e.Envelope != "" {
		write(w, Object{e.Envelope: o})
		return
	}
	write(w, o)
}

func (e *Emulator) serveDocument(w http.ResponseWriter, r *http.Request, d Document) {
	g := e.bearer(w, r)
	switch {
	case g == nil:
	case !slices.Contains(g.scopes, d.Scope):
		fail(w, http.StatusNotFound, Object{"message": "Not Found"})
	default:
		write(w, d.Body)
	}
}
