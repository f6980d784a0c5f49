package demoidp_test

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"go.uber.org/goleak"
	"golang.org/x/oauth2"

	"github.com/gatebook/gatebook/cmd/gatebook/internal/demoidp"
)

const (
	clientID    = "gatebook-demo"
	secret      = "a secret: with / signs & more"
	redirectURI = "http://localhost:8080/auth/callback/demo"
)

func TestMain(m *testing.M) {
	// The protocol library logs every refusal to slog.Default.
	slog.SetDefault(slog.New(slog.DiscardHandler))
	if code := m.Run(); code != 0 {
		os.Exit(code)
	}
	if err := goleak.Find(); err != nil {
		os.Stderr.WriteString(err.Error() + "\n")
		os.Exit(1)
	}
}

// clock is a time that tests move.
type clock struct {
	mu sync.Mutex
	t  time.Time // guarded by mu
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// world is a provider that listens, and its client.
type world struct {
	t      *testing.T
	issuer string
	clock  *clock
	log    *bytes.Buffer
	op     *oidc.Provider
	conf   oauth2.Config
	ctx    context.Context // carries the HTTP client of the back channel
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, clock: &clock{t: time.Now().Truncate(time.Second)}, log: new(bytes.Buffer)}
	srv := httptest.NewUnstartedServer(nil)
	w.issuer = "http://" + srv.Listener.Addr().String()
	p, err := demoidp.New(demoidp.Config{
		Issuer: w.issuer, ClientID: clientID, ClientSecret: secret, RedirectURIs: []string{redirectURI},
		Logger: slog.New(slog.NewTextHandler(&syncWriter{w: w.log}, nil)), Now: w.clock.now,
	})
	if err != nil {
		t.Fatal(err)
	}
	srv.Config.Handler = p.Handler()
	srv.Start()
	t.Cleanup(srv.Close)

	w.ctx = oidc.ClientContext(context.Background(), srv.Client())
	w.op, err = oidc.NewProvider(w.ctx, w.issuer)
	if err != nil {
		t.Fatal(err)
	}
	w.conf = oauth2.Config{
		ClientID: clientID, ClientSecret: secret, Endpoint: w.op.Endpoint(), RedirectURL: redirectURI,
		Scopes: []string{"openid", "profile", "email"},
	}
	w.conf.Endpoint.AuthStyle = oauth2.AuthStyleInHeader
	return w
}

type syncWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (s *syncWriter) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.w.Write(b)
}

// browser is a visitor's browser that follows no redirect by itself.
type browser struct {
	t *testing.T
	c *http.Client
}

func newBrowser(t *testing.T) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	tr := &http.Transport{}
	t.Cleanup(tr.CloseIdleConnections)
	return &browser{t, &http.Client{Transport: tr, Jar: jar,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// reply is an answer, read.
type reply struct {
	status   int
	header   http.Header
	body     string
	location *url.URL // nil if none
}

func (b *browser) do(req *http.Request) reply {
	b.t.Helper()
	resp, err := b.c.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	r := reply{status: resp.StatusCode, header: resp.Header, body: string(body)}
	if resp.Header.Get("Location") != "" {
		if r.location, err = resp.Location(); err != nil {
			b.t.Fatal(err)
		}
	}
	return r
}

func (b *browser) get(u string) reply {
	b.t.Helper()
	req, err := http.NewRequest("GET", u, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	return b.do(req)
}

func (b *browser) post(u string, form url.Values) reply {
	b.t.Helper()
	req, err := http.NewRequest("POST", u, strings.NewReader(form.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return b.do(req)
}

var hidden = regexp.MustCompile(`<input type="hidden" name="([a-z]+)" value="([^"]*)">`)

// form returns the hidden fields of a page, with more set.
func form(page reply, name, value string) url.Values {
	v := url.Values{name: {value}}
	for _, m := range hidden.FindAllStringSubmatch(page.body, -1) {
		v.Set(m[1], m[2])
	}
	return v
}

// wants fails the test unless the status is as given.
func (r reply) wants(t *testing.T, status int) reply {
	t.Helper()
	if r.status != status {
		t.Fatalf("status = %d, want %d; body:\n%s", r.status, status, r.body)
	}
	return r
}

// begin starts an authorization and returns the sign-in page.
func (w *world) begin(b *browser, opts ...oauth2.AuthCodeOption) reply {
	w.t.Helper()
	r := b.get(w.conf.AuthCodeURL("the-state", opts...)).wants(w.t, http.StatusFound)
	if r.location.Path != "/signin" {
		w.t.Fatalf("authorization went to %v, want /signin", r.location)
	}
	return b.get(r.location.String()).wants(w.t, http.StatusOK)
}

// choose picks a person on the sign-in page and returns the consent page.
func (w *world) choose(b *browser, signIn reply, person string) reply {
	w.t.Helper()
	r := b.post(w.issuer+"/signin", form(signIn, "person", person)).wants(w.t, http.StatusSeeOther)
	return b.get(r.location.String()).wants(w.t, http.StatusOK)
}

// code goes the whole way through the pages and returns the code.
func (w *world) code(b *browser, person, verifier string, opts ...oauth2.AuthCodeOption) string {
	w.t.Helper()
	opts = append(opts, oauth2.S256ChallengeOption(verifier))
	consent := w.choose(b, w.begin(b, opts...), person)
	r := b.post(w.issuer+"/consent", form(consent, "allow", "yes")).wants(w.t, http.StatusSeeOther)
	code := r.location.Query().Get("code")
	if code == "" {
		w.t.Fatalf("no code in %v", r.location)
	}
	return code
}

func (w *world) token(person string) *oauth2.Token {
	w.t.Helper()
	verifier := oauth2.GenerateVerifier()
	code := w.code(newBrowser(w.t), person, verifier)
	tok, err := w.conf.Exchange(w.ctx, code, oauth2.VerifierOption(verifier))
	if err != nil {
		w.t.Fatal(err)
	}
	return tok
}

// refused fails the test unless err is the token endpoint's, with this code.
func refused(t *testing.T, err error, status int, code string) {
	t.Helper()
	var re *oauth2.RetrieveError
	if !errors.As(err, &re) || re.Response.StatusCode != status || re.ErrorCode != code {
		t.Fatalf("token endpoint: %v, want %d %s", err, status, code)
	}
}

func TestSignIn(t *testing.T) {
	w := newWorld(t)
	b := newBrowser(t)
	verifier := oauth2.GenerateVerifier()
	signIn := w.begin(b, oauth2.S256ChallengeOption(verifier), oidc.Nonce("the-nonce"))
	for _, want := range []string{"Demo identity provider", "Ada Lovelace", "grace@example.com", "localhost:8080", "Cancel"} {
		if !strings.Contains(signIn.body, want) {
			t.Errorf("the sign-in page lacks %q", want)
		}
	}
	consent := w.choose(b, signIn, "ada")
	for _, want := range []string{"Demo identity provider", "Ada Lovelace", "ada@example.com", "localhost:8080", "Cancel"} {
		if !strings.Contains(consent.body, want) {
			t.Errorf("the consent page lacks %q", want)
		}
	}
	if strings.Contains(consent.body, "Grace") {
		t.Error("the consent page of Ada names Grace")
	}
	r := b.post(w.issuer+"/consent", form(consent, "allow", "yes")).wants(t, http.StatusSeeOther)
	q := r.location.Query()
	if got := strings.Split(r.location.String(), "?")[0]; got != redirectURI {
		t.Fatalf("redirected to %q, want %q", got, redirectURI)
	}
	if q.Get("state") != "the-state" || q.Get("iss") != w.issuer {
		t.Errorf("state = %q, iss = %q, want the-state and %q", q.Get("state"), q.Get("iss"), w.issuer)
	}

	tok, err := w.conf.Exchange(w.ctx, q.Get("code"), oauth2.VerifierOption(verifier))
	if err != nil {
		t.Fatal(err)
	}
	raw, _ := tok.Extra("id_token").(string)
	id, err := w.op.Verifier(&oidc.Config{ClientID: clientID}).Verify(w.ctx, raw)
	if err != nil {
		t.Fatal(err)
	}
	if id.Subject != "ada" || id.Nonce != "the-nonce" {
		t.Errorf("sub = %q, nonce = %q, want ada and the-nonce", id.Subject, id.Nonce)
	}
	if err := id.VerifyAccessToken(tok.AccessToken); err != nil {
		t.Errorf("at_hash: %v", err)
	}
	var claims map[string]any
	if err := id.Claims(&claims); err != nil {
		t.Fatal(err)
	}
	person := map[string]any{
		"sub": "ada", "name": "Ada Lovelace", "given_name": "Ada", "email": "ada@example.com",
		"email_verified": true, "picture": w.issuer + "/avatar/ada.svg",
	}
	for claim, want := range person {
		if claims[claim] != want {
			t.Errorf("ID token: %s = %v, want %v", claim, claims[claim], want)
		}
	}
	if claims["acr"] != "0" || claims["auth_time"] != float64(w.clock.now().Unix()) {
		t.Errorf("acr = %v, auth_time = %v, want 0 and %d", claims["acr"], claims["auth_time"], w.clock.now().Unix())
	}
	if amr, ok := claims["amr"].([]any); !ok || len(amr) != 1 || amr[0] != "user" {
		t.Errorf("amr = %v, want [user]", claims["amr"])
	}

	info, err := w.op.UserInfo(w.ctx, oauth2.StaticTokenSource(tok))
	if err != nil {
		t.Fatal(err)
	}
	claims = nil
	if err := info.Claims(&claims); err != nil {
		t.Fatal(err)
	}
	for claim, want := range person {
		if claims[claim] != want {
			t.Errorf("userinfo: %s = %v, want %v", claim, claims[claim], want)
		}
	}
}

func TestScopesLimitWhatIsShared(t *testing.T) {
	w := newWorld(t)
	w.conf.Scopes = []string{"openid", "phone", "offline_access"}
	tok := w.token("grace")
	id, err := w.op.Verifier(&oidc.Config{ClientID: clientID}).Verify(w.ctx, tok.Extra("id_token").(string))
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	if err := id.Claims(&claims); err != nil {
		t.Fatal(err)
	}
	for _, claim := range []string{"name", "given_name", "picture", "email", "email_verified"} {
		if _, ok := claims[claim]; ok {
			t.Errorf("%s is in the ID token without its scope", claim)
		}
	}
	if tok.RefreshToken != "" || tok.Extra("scope") != "openid" {
		t.Errorf("refresh token %t, scope %q, want none and openid", tok.RefreshToken != "", tok.Extra("scope"))
	}
}

func TestDiscoveryNamesOnlyWhatIsServed(t *testing.T) {
	w := newWorld(t)
	b := newBrowser(t)
	var doc map[string]any
	if err := json.Unmarshal([]byte(b.get(w.issuer+"/.well-known/openid-configuration").wants(t, 200).body), &doc); err != nil {
		t.Fatal(err)
	}
	for member, want := range map[string][]any{
		"response_types_supported":              {"code"},
		"response_modes_supported":              {"query"},
		"grant_types_supported":                 {"authorization_code"},
		"id_token_signing_alg_values_supported": {"RS256"},
		"token_endpoint_auth_methods_supported": {"client_secret_basic"},
		"code_challenge_methods_supported":      {"S256"},
		"scopes_supported":                      {"openid", "profile", "email"},
	} {
		if got, _ := doc[member].([]any); !slices.Equal(got, want) {
			t.Errorf("%s = %v, want %v", member, doc[member], want)
		}
	}
	if doc["authorization_response_iss_parameter_supported"] != true {
		t.Error("RFC 9207 is not advertised")
	}
	served := 0
	for member, value := range doc {
		u, _ := value.(string)
		if !strings.HasSuffix(member, "_endpoint") && member != "jwks_uri" {
			continue
		}
		served++
		if r := b.get(u); r.status == http.StatusNotFound || !strings.HasPrefix(u, w.issuer+"/") {
			t.Errorf("%s %q answers %d", member, u, r.status)
		}
	}
	if served != 6 {
		t.Errorf("%d endpoints advertised, want 6", served)
	}
	for _, path := range []string{"/oauth/introspect", "/device_authorization", "/authorize/callback", "/healthz"} {
		if r := b.post(w.issuer+path, nil); r.status != http.StatusNotFound && r.status != http.StatusMethodNotAllowed {
			t.Errorf("POST %s = %d, want 404", path, r.status)
		}
	}
}

func TestCancel(t *testing.T) {
	w := newWorld(t)
	for _, step := range []string{"/signin", "/consent"} {
		b := newBrowser(t)
		page := w.begin(b, oauth2.S256ChallengeOption(oauth2.GenerateVerifier()))
		if step == "/consent" {
			page = w.choose(b, page, "grace")
		}
		r := b.post(w.issuer+step, form(page, "cancel", "yes")).wants(t, http.StatusSeeOther)
		q := r.location.Query()
		if q.Get("error") != "access_denied" || q.Get("state") != "the-state" || q.Get("iss") != w.issuer || q.Has("code") {
			t.Errorf("cancel at %s: redirected to %v", step, r.location)
		}
		if r := b.post(w.issuer+step, form(page, "person", "ada")); r.status != http.StatusBadRequest {
			t.Errorf("going on after cancel at %s = %d, want 400", step, r.status)
		}
	}
	if strings.Contains(w.log.String(), "the-state") {
		t.Error("the client's state is in the log")
	}
}

func TestTokenEndpointRefuses(t *testing.T) {
	w := newWorld(t)
	verifier := oauth2.GenerateVerifier()
	b := newBrowser(t)

	t.Run("wrong client secret", func(t *testing.T) {
		conf := w.conf
		conf.ClientSecret = "wrong"
		_, err := conf.Exchange(w.ctx, w.code(b, "ada", verifier), oauth2.VerifierOption(verifier))
		refused(t, err, http.StatusUnauthorized, "invalid_client")
	})
	t.Run("secret in the form", func(t *testing.T) {
		conf := w.conf
		conf.Endpoint.AuthStyle = oauth2.AuthStyleInParams
		_, err := conf.Exchange(w.ctx, w.code(b, "ada", verifier), oauth2.VerifierOption(verifier))
		refused(t, err, http.StatusUnauthorized, "invalid_client")
	})
	t.Run("wrong verifier, which takes the code", func(t *testing.T) {
		code := w.code(b, "ada", verifier)
		_, err := w.conf.Exchange(w.ctx, code, oauth2.VerifierOption(oauth2.GenerateVerifier()))
		refused(t, err, http.StatusBadRequest, "invalid_grant")
		_, err = w.conf.Exchange(w.ctx, code, oauth2.VerifierOption(verifier))
		refused(t, err, http.StatusBadRequest, "invalid_grant")
	})
	t.Run("no verifier", func(t *testing.T) {
		_, err := w.conf.Exchange(w.ctx, w.code(b, "ada", verifier))
		refused(t, err, http.StatusBadRequest, "invalid_request")
	})
	t.Run("other redirect_uri", func(t *testing.T) {
		conf := w.conf
		conf.RedirectURL += "/x"
		_, err := conf.Exchange(w.ctx, w.code(b, "ada", verifier), oauth2.VerifierOption(verifier))
		refused(t, err, http.StatusBadRequest, "invalid_grant")
	})
	t.Run("expired code", func(t *testing.T) {
		code := w.code(b, "ada", verifier)
		w.clock.advance(time.Minute)
		_, err := w.conf.Exchange(w.ctx, code, oauth2.VerifierOption(verifier))
		refused(t, err, http.StatusBadRequest, "invalid_grant")
	})
	t.Run("unknown code", func(t *testing.T) {
		_, err := w.conf.Exchange(w.ctx, "x", oauth2.VerifierOption(verifier))
		refused(t, err, http.StatusBadRequest, "invalid_grant")
	})
}

func TestCodeUsedTwiceRevokesItsToken(t *testing.T) {
	w := newWorld(t)
	verifier := oauth2.GenerateVerifier()
	code := w.code(newBrowser(t), "ada", verifier)
	tok, err := w.conf.Exchange(w.ctx, code, oauth2.VerifierOption(verifier))
	if err != nil {
		t.Fatal(err)
	}
	w.clock.advance(5 * time.Minute) // the code itself is expired long since
	_, err = w.conf.Exchange(w.ctx, code, oauth2.VerifierOption(verifier))
	refused(t, err, http.StatusBadRequest, "invalid_grant")
	if _, err := w.op.UserInfo(w.ctx, oauth2.StaticTokenSource(tok)); err == nil {
		t.Error("the first token still works after its code came twice")
	}
	if !strings.Contains(w.log.String(), "came twice") || strings.Contains(w.log.String(), code) {
		t.Errorf("want one line about the code, without the code; log:\n%s", w.log)
	}
}

func TestCodeRacedGivesOneToken(t *testing.T) {
	w := newWorld(t)
	verifier := oauth2.GenerateVerifier()
	code := w.code(newBrowser(t), "ada", verifier)
	results := make(chan error)
	for range 16 {
		go func() {
			_, err := w.conf.Exchange(w.ctx, code, oauth2.VerifierOption(verifier))
			results <- err
		}()
	}
	tokens := 0
	for range 16 {
		if err := <-results; err == nil {
			tokens++
		}
	}
	// The winner may lose its token to a loser that came before it was made.
	if tokens > 1 {
		t.Errorf("one code gave %d tokens", tokens)
	}
}

func TestConsentRacedGivesOneCode(t *testing.T) {
	w := newWorld(t)
	b := newBrowser(t)
	consent := w.choose(b, w.begin(b, oauth2.S256ChallengeOption(oauth2.GenerateVerifier())), "ada")
	statuses := make(chan int)
	for range 16 {
		go func() {
			resp, err := b.c.PostForm(w.issuer+"/consent", form(consent, "allow", "yes"))
			if err != nil {
				t.Error(err)
				statuses <- 0
				return
			}
			resp.Body.Close()
			statuses <- resp.StatusCode
		}()
	}
	codes := 0
	for range 16 {
		if <-statuses == http.StatusSeeOther {
			codes++
		}
	}
	if codes != 1 {
		t.Errorf("one consent gave %d codes", codes)
	}
}

func TestAuthorizationRefuses(t *testing.T) {
	w := newWorld(t)
	challenge := oauth2.S256ChallengeOption(oauth2.GenerateVerifier())
	set := oauth2.SetAuthURLParam
	// Without a client and a redirect URI that are known there is nowhere to
	// send the visitor.
	for name, opt := range map[string]oauth2.AuthCodeOption{
		"foreign redirect_uri":  set("redirect_uri", "https://evil.example/"),
		"longer redirect_uri":   set("redirect_uri", redirectURI+"/x"),
		"redirect_uri by query": set("redirect_uri", redirectURI+"?x=y"),
		"other port":            set("redirect_uri", "http://localhost:8082/auth/callback/demo"),
		"no redirect_uri":       set("redirect_uri", ""),
		"unknown client":        set("client_id", "x"),
		"no client":             set("client_id", ""),
	} {
		if r := newBrowser(t).get(w.conf.AuthCodeURL("s", challenge, opt)); r.status != http.StatusBadRequest {
			t.Errorf("%s: status = %d, location %v, want 400", name, r.status, r.location)
		}
	}
	for name, tt := range map[string]struct {
		want string
		opts []oauth2.AuthCodeOption
	}{
		"no PKCE":        {"invalid_request", nil},
		"PKCE plain":     {"invalid_request", []oauth2.AuthCodeOption{challenge, set("code_challenge_method", "plain")}},
		"no openid":      {"invalid_scope", []oauth2.AuthCodeOption{challenge, set("scope", "email")}},
		"form_post":      {"invalid_request", []oauth2.AuthCodeOption{challenge, set("response_mode", "form_post")}},
		"prompt none":    {"login_required", []oauth2.AuthCodeOption{challenge, set("prompt", "none")}},
		"bad hint":       {"login_required", []oauth2.AuthCodeOption{challenge, set("id_token_hint", "x.y.z")}},
		"request object": {"request_not_supported", []oauth2.AuthCodeOption{challenge, set("request", "x.y.z")}},
	} {
		r := newBrowser(t).get(w.conf.AuthCodeURL("the-state", tt.opts...))
		if r.location == nil {
			t.Errorf("%s: status = %d, want a redirect; body %s", name, r.status, r.body)
			continue
		}
		q := r.location.Query()
		if q.Get("error") != tt.want || q.Get("state") != "the-state" || q.Get("iss") != w.issuer ||
			!strings.HasPrefix(r.location.String(), redirectURI) {
			t.Errorf("%s: redirected to %v, want %s", name, r.location, tt.want)
		}
	}
}

func TestHintLeavesOnePerson(t *testing.T) {
	w := newWorld(t)
	hint := w.token("ada").Extra("id_token").(string)
	b := newBrowser(t)
	page := w.begin(b, oauth2.S256ChallengeOption(oauth2.GenerateVerifier()), oauth2.SetAuthURLParam("id_token_hint", hint))
	if !strings.Contains(page.body, "Ada") || strings.Contains(page.body, "Grace") {
		t.Error("the page does not offer Ada alone")
	}
	b.post(w.issuer+"/signin", form(page, "person", "grace")).wants(t, http.StatusBadRequest)
}

func TestFormsAreBoundToBrowserRequestAndPage(t *testing.T) {
	w := newWorld(t)
	challenge := oauth2.S256ChallengeOption(oauth2.GenerateVerifier())
	b := newBrowser(t)
	page := w.begin(b, challenge)
	fields := form(page, "person", "ada")

	t.Run("other browser", func(t *testing.T) {
		other := newBrowser(t)
		other.get(w.issuer+"/signin?id="+fields.Get("id")).wants(t, http.StatusBadRequest)
		other.post(w.issuer+"/signin", fields).wants(t, http.StatusBadRequest)
		w.begin(other, challenge) // now it has a cookie of its own
		other.get(w.issuer+"/signin?id="+fields.Get("id")).wants(t, http.StatusBadRequest)
		other.post(w.issuer+"/signin", fields).wants(t, http.StatusBadRequest)
	})
	t.Run("other request's form", func(t *testing.T) {
		mixed := form(w.begin(b, challenge), "person", "ada")
		mixed.Set("id", fields.Get("id"))
		b.post(w.issuer+"/signin", mixed).wants(t, http.StatusBadRequest)
	})
	t.Run("fields in the query", func(t *testing.T) {
		b.post(w.issuer+"/signin?"+fields.Encode(), nil).wants(t, http.StatusBadRequest)
	})
	t.Run("from another site", func(t *testing.T) {
		req, err := http.NewRequest("POST", w.issuer+"/signin", strings.NewReader(fields.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Sec-Fetch-Site", "same-site")
		b.do(req).wants(t, http.StatusForbidden)
	})
	t.Run("unknown person", func(t *testing.T) {
		b.post(w.issuer+"/signin", form(page, "person", "eve")).wants(t, http.StatusBadRequest)
		b.post(w.issuer+"/signin", form(page, "person", "")).wants(t, http.StatusBadRequest)
	})
	t.Run("consent before sign-in", func(t *testing.T) {
		b.post(w.issuer+"/consent", form(page, "person", "ada")).wants(t, http.StatusBadRequest)
		r := b.get(w.issuer+"/consent?id="+fields.Get("id")).wants(t, http.StatusSeeOther)
		if r.location.Path != "/signin" {
			t.Errorf("went to %v, want /signin", r.location)
		}
	})
	t.Run("consent of somebody else", func(t *testing.T) {
		ada := w.choose(b, page, "ada")
		w.choose(b, page, "grace") // in another tab
		b.post(w.issuer+"/consent", form(ada, "allow", "yes")).wants(t, http.StatusBadRequest)
	})
}

func TestRevocationAndEndSession(t *testing.T) {
	w := newWorld(t)
	works := func(tok *oauth2.Token) bool {
		_, err := w.op.UserInfo(w.ctx, oauth2.StaticTokenSource(tok))
		return err == nil
	}
	ada, grace := w.token("ada"), w.token("grace")
	if !works(ada) || !works(grace) {
		t.Fatal("fresh tokens do not work")
	}

	revoke := func(secret string) reply {
		req, err := http.NewRequest("POST", w.issuer+"/revoke", strings.NewReader(url.Values{"token": {ada.AccessToken}}.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if secret != "" {
			req.SetBasicAuth(url.QueryEscape(clientID), url.QueryEscape(secret))
		}
		return newBrowser(t).do(req)
	}
	revoke("").wants(t, http.StatusUnauthorized)
	revoke("wrong").wants(t, http.StatusUnauthorized)
	if !works(ada) {
		t.Error("a stranger revoked a token")
	}
	revoke(secret).wants(t, http.StatusOK)
	revoke(secret).wants(t, http.StatusOK)
	if works(ada) || !works(grace) {
		t.Error("revocation took the wrong token, or none")
	}

	ada = w.token("ada")
	end := w.issuer + "/end_session?" + url.Values{
		"id_token_hint":            {grace.Extra("id_token").(string)},
		"post_logout_redirect_uri": {"http://localhost:8080/"},
		"state":                    {"bye"},
	}.Encode()
	r := newBrowser(t).get(end).wants(t, http.StatusFound)
	if r.location.String() != "http://localhost:8080/?state=bye" {
		t.Errorf("end session went to %v", r.location)
	}
	if works(grace) || !works(ada) {
		t.Error("the end of the session took the wrong tokens, or none")
	}
	end = strings.Replace(end, "8080", "8082", 1)
	newBrowser(t).get(end).wants(t, http.StatusBadRequest)

	r = newBrowser(t).get(w.issuer+"/end_session").wants(t, http.StatusFound)
	if r := newBrowser(t).get(r.location.String()).wants(t, http.StatusOK); !strings.Contains(r.body, "Signed out") {
		t.Errorf("end session without a hint shows:\n%s", r.body)
	}
}

func TestOldRequestsAndTokensExpire(t *testing.T) {
	w := newWorld(t)
	b := newBrowser(t)
	page := w.begin(b, oauth2.S256ChallengeOption(oauth2.GenerateVerifier()))
	tok := w.token("ada")
	w.clock.advance(10*time.Minute - time.Second)
	b.get(w.issuer+"/signin?id="+form(page, "", "").Get("id")).wants(t, http.StatusOK)
	if _, err := w.op.UserInfo(w.ctx, oauth2.StaticTokenSource(tok)); err != nil {
		t.Errorf("token refused before its time: %v", err)
	}
	w.clock.advance(time.Second)
	r := b.get(w.issuer+"/signin?id="+form(page, "", "").Get("id")).wants(t, http.StatusBadRequest)
	if !strings.Contains(r.body, `href="http://localhost:8080/"`) {
		t.Error("the page of an expired request has no way back")
	}
	if _, err := w.op.UserInfo(w.ctx, oauth2.StaticTokenSource(tok)); err == nil {
		t.Error("the token works after its time")
	}
}

func TestRequestsAreCapped(t *testing.T) {
	w := newWorld(t)
	b := newBrowser(t)
	challenge := oauth2.S256ChallengeOption(oauth2.GenerateVerifier())
	first := form(w.begin(b, challenge), "", "").Get("id")
	for range 199 {
		b.get(w.conf.AuthCodeURL("s", challenge)).wants(t, http.StatusFound)
	}
	b.get(w.issuer+"/signin?id="+first).wants(t, http.StatusOK)
	last := b.get(w.conf.AuthCodeURL("s", challenge)).wants(t, http.StatusFound)
	b.get(w.issuer+"/signin?id="+first).wants(t, http.StatusBadRequest)
	b.get(last.location.String()).wants(t, http.StatusOK)
}

func TestLimitsAndHeaders(t *testing.T) {
	w := newWorld(t)
	b := newBrowser(t)
	b.get(w.conf.AuthCodeURL(strings.Repeat("s", 16<<10))).wants(t, http.StatusRequestURITooLong)
	fits, err := url.Parse(w.conf.AuthCodeURL("s", oauth2.S256ChallengeOption(oauth2.GenerateVerifier())))
	if err != nil {
		t.Fatal(err)
	}
	body := fits.Query()
	b.post(w.issuer+"/authorize", body).wants(t, http.StatusFound)
	body.Set("state", strings.Repeat("s", 16<<10))
	b.post(w.issuer+"/authorize", body).wants(t, http.StatusBadRequest)

	req, err := http.NewRequest("GET", w.issuer+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "rebound.example"
	b.do(req).wants(t, http.StatusMisdirectedRequest)

	page := w.begin(b, oauth2.S256ChallengeOption(oauth2.GenerateVerifier()))
	csp := page.header.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "frame-ancestors 'none'", "form-action 'self' http://localhost:8080"} {
		if !strings.Contains(csp, want) {
			t.Errorf("Content-Security-Policy %q lacks %q", csp, want)
		}
	}
	if strings.Contains(csp, "unsafe") || strings.Contains(page.body, "<script") || strings.Contains(page.body, "style=") {
		t.Error("the page needs scripts or unsafe styles")
	}
	for name, want := range map[string]string{
		"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin",
	} {
		if got := page.header.Get(name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	b.get(w.issuer+"/icon.svg").wants(t, http.StatusOK)
	for _, m := range regexp.MustCompile(`(?:src|href|action)="([^"]*)"`).FindAllStringSubmatch(page.body, -1) {
		if !strings.HasPrefix(m[1], "/") {
			t.Errorf("the page refers to %q", m[1])
		}
	}
}

func TestAvatar(t *testing.T) {
	w := newWorld(t)
	b := newBrowser(t)
	r := b.get(w.issuer+"/avatar/ada.svg").wants(t, http.StatusOK)
	if r.header.Get("Content-Type") != "image/svg+xml" || !strings.Contains(r.body, ">AL</text>") {
		t.Errorf("avatar is %s:\n%s", r.header.Get("Content-Type"), r.body)
	}
	if err := xml.Unmarshal([]byte(r.body), new(struct{})); err != nil {
		t.Errorf("avatar is no XML: %v", err)
	}
	for _, path := range []string{"/avatar/ada", "/avatar/eve.svg", "/avatar/.svg"} {
		b.get(w.issuer+path).wants(t, http.StatusNotFound)
	}
}

func TestNewNamesTheWrongField(t *testing.T) {
	good := demoidp.Config{
		Issuer: "http://localhost:8081", ClientID: "c", ClientSecret: "s", RedirectURIs: []string{redirectURI},
	}
	if _, err := demoidp.New(good); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		want   string
		change func(*demoidp.Config)
	}{
		"no issuer":           {"Issuer", func(c *demoidp.Config) { c.Issuer = "" }},
		"issuer with slash":   {"Issuer", func(c *demoidp.Config) { c.Issuer += "/" }},
		"http elsewhere":      {"Issuer", func(c *demoidp.Config) { c.Issuer = "http://idp.example" }},
		"http all addresses":  {"Issuer", func(c *demoidp.Config) { c.Issuer = "http://0.0.0.0:8081" }},
		"odd scheme":          {"Issuer", func(c *demoidp.Config) { c.Issuer = "ftp://localhost" }},
		"no client":           {"ClientID", func(c *demoidp.Config) { c.ClientID = "" }},
		"no secret":           {"ClientSecret", func(c *demoidp.Config) { c.ClientSecret = "" }},
		"no redirect":         {"RedirectURIs", func(c *demoidp.Config) { c.RedirectURIs = nil }},
		"redirect relative":   {"RedirectURIs", func(c *demoidp.Config) { c.RedirectURIs = []string{"/callback"} }},
		"redirect script":     {"RedirectURIs", func(c *demoidp.Config) { c.RedirectURIs = []string{"javascript://x/%0aalert(1)"} }},
		"redirect fragment":   {"RedirectURIs", func(c *demoidp.Config) { c.RedirectURIs = []string{redirectURI + "#x"} }},
		"subject with colon":  {"People", func(c *demoidp.Config) { c.People = []demoidp.Person{{Subject: "a:b", Name: "A", Email: "a@b"}} }},
		"person without name": {"People", func(c *demoidp.Config) { c.People = []demoidp.Person{{Subject: "a", Email: "a@b"}} }},
		"person twice":        {"People", func(c *demoidp.Config) { c.People = []demoidp.Person{{"a", "A", "A", "a@b"}, {"a", "A", "A", "a@b"}} }},
	} {
		cfg := good
		tt.change(&cfg)
		if _, err := demoidp.New(cfg); err == nil || !strings.HasPrefix(err.Error(), "demoidp: ") || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: New = %v, want an error that names %s", name, err, tt.want)
		}
	}
}

func BenchmarkNew(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := demoidp.New(demoidp.Config{
			Issuer: "http://localhost:8081", ClientID: "c", ClientSecret: "s", RedirectURIs: []string{redirectURI},
		}); err != nil {
			b.Fatal(err)
		}
	}
}
