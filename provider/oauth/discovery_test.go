package oauth_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/provider/oauth"
	"github.com/gatebook/gatebook/record"
)

const wellKnown = "/.well-known/openid-configuration"

func TestDiscoveryRefused(t *testing.T) {
	bad := gatebook.ProviderError{Reason: record.ReasonProviderError, Step: "discovery"}
	unreachable := gatebook.ProviderError{Reason: record.ReasonProviderUnreachable, Step: "discovery"}
	iss := gatebook.ProviderError{Reason: record.ReasonIssuerMismatch, Check: "iss", Step: "discovery"}
	set := func(name string, value any) func(*fake) { return func(f *fake) { f.metadata[name] = value } }
	handle := func(h http.HandlerFunc) func(*fake) { return func(f *fake) { f.handlers[wellKnown] = h } }
	tests := []struct {
		name   string
		change func(*fake)
		want   gatebook.ProviderError
	}{
		{"another issuer", set("issuer", "https://evil.example"), iss},
		{"no issuer", set("issuer", ""), iss},
		{"404", handle(status(404, "not found")), bad},
		{"500", handle(status(500, "oops")), bad},
		{"redirect", handle(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) }), bad},
		{"HTML", handle(status(200, "<html>")), bad},
		{"huge", handle(func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, `{"issuer":"`+strings.Repeat("a", 5<<20)+`"}`)
		}), bad},
		{"hangs up", handle(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }), unreachable},
		{"slow", handle(hang), unreachable},
		{"down", func(f *fake) { f.Close() }, unreachable},
		{"no authorization endpoint", set("authorization_endpoint", ""), bad},
		{"no token endpoint", set("token_endpoint", nil), bad},
		{"no keys", set("jwks_uri", nil), bad},
		{"javascript as endpoint", set("authorization_endpoint", "javascript:alert(1)"), bad},
		{"http endpoint elsewhere", set("token_endpoint", "http://idp.example/token"), bad},
		{"http keys elsewhere", set("jwks_uri", "http://idp.example/keys"), bad},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake(t)
			tt.change(f)
			c := f.config()
			c.Client = &http.Client{Timeout: 5 * time.Second}
			if tt.name == "slow" {
				c.Client.Timeout = 100 * time.Millisecond
			}
			p := newProvider(t, c)
			red, err := p.Begin(t.Context(), &gatebook.Begin{RedirectURI: callback, State: "s"})
			wantError(t, nil, err, tt.want)
			if red != nil {
				t.Error("there is a redirection beside the error")
			}
			if f.count("/elsewhere") != 0 {
				t.Error("a redirect was followed")
			}
		})
	}
}

// roundTripper is an http.RoundTripper that is a function.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// http is for a provider on this machine, not for one elsewhere that says that
// its keys or its token endpoint are on ours.
func TestDiscoveryKeepsHTTPS(t *testing.T) {
	for _, name := range []string{"", "authorization_endpoint", "token_endpoint", "userinfo_endpoint", "jwks_uri"} {
		metadata := map[string]string{"issuer": "https://idp.example"}
		for _, e := range []string{"authorization_endpoint", "token_endpoint", "userinfo_endpoint", "jwks_uri"} {
			metadata[e] = "https://idp.example/" + e
		}
		if name != "" {
			metadata[name] = "http://127.0.0.1:9/internal"
		}
		c := oauth.Config{ID: "acme", Issuer: "https://idp.example", ClientID: "client", ClientSecret: "secret"}
		c.Client = &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			w := httptest.NewRecorder()
			w.Header().Set("Content-Type", "application/json")
			json.NewEncoder(w).Encode(metadata)
			return w.Result(), nil
		})}
		_, err := newProvider(t, c).Begin(t.Context(), &gatebook.Begin{State: "s"})
		if name == "" && err != nil || name != "" && err == nil {
			t.Errorf("http for %q: %v", name, err)
		}
	}
}

func TestDiscoveryRecovers(t *testing.T) {
	f := newFake(t)
	f.handle(wellKnown, status(503, "later"))
	p := newProvider(t, f.config())
	if _, err := p.Begin(t.Context(), &gatebook.Begin{State: "s"}); err == nil {
		t.Fatal("Begin succeeded without metadata")
	}
	f.handle(wellKnown, nil)
	if _, err := p.Begin(t.Context(), &gatebook.Begin{State: "s"}); err != nil {
		t.Errorf("Begin after the provider came back: %v", err)
	}
}

func TestDiscoveryIsCached(t *testing.T) {
	f := newFake(t)
	now := f.now
	c := f.config()
	c.Now = func() time.Time { return now }
	p := newProvider(t, c)
	begin := func(want int) {
		t.Helper()
		if _, err := p.Begin(t.Context(), &gatebook.Begin{State: "s"}); err != nil {
			t.Errorf("Begin: %v", err)
		}
		if n := f.count(wellKnown); n != want {
			t.Errorf("%d discoveries, want %d", n, want)
		}
	}
	begin(1)
	now = now.Add(59 * time.Minute)
	begin(1)
	now = now.Add(time.Minute)
	begin(2)
	// A provider that is down for a while is served from what is known, and
	// asked once a minute.
	f.handle(wellKnown, status(503, "later"))
	now = now.Add(time.Hour)
	begin(3)
	now = now.Add(59 * time.Second)
	begin(3)
	now = now.Add(time.Second)
	begin(4)
	f.handle(wellKnown, nil)
	now = now.Add(time.Minute)
	begin(5)
	begin(5)
}

func TestDiscoveryIsSingleFlight(t *testing.T) {
	f := newFake(t)
	entered, release := make(chan struct{}), make(chan struct{})
	f.handle(wellKnown, func(w http.ResponseWriter, _ *http.Request) {
		entered <- struct{}{} // a second discovery would wait here for ever
		<-release
		f.write(w, f.metadata)
	})
	p := newProvider(t, f.config())
	// The one who began it hangs up; the others get their answer all the same.
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error)
	go func() {
		_, err := p.Begin(ctx, &gatebook.Begin{State: "s"})
		first <- err
	}()
	<-entered
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("error of the cancelled = %v, want context.Canceled in its chain", err)
	}
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, err := p.Begin(t.Context(), &gatebook.Begin{State: "s"}); err != nil {
				t.Errorf("Begin: %v", err)
			}
		})
	}
	close(release)
	wg.Wait()
	if n := f.count(wellKnown); n != 1 {
		t.Errorf("%d discoveries, want 1", n)
	}
}

func TestDiscoveryTrailingSlash(t *testing.T) {
	f := newFake(t)
	f.metadata["issuer"], f.claims["iss"] = f.URL+"/", f.URL+"/"
	if _, err := f.signIn(t, f.config()); err != nil {
		t.Errorf("sign in: %v", err)
	}
	// The token must then have the provider's spelling.
	f.claims["iss"] = f.URL
	if _, err := f.signIn(t, f.config()); err == nil {
		t.Error("a token with another spelling of the issuer was accepted")
	}
}

func TestConfiguredEndpointsGoFirst(t *testing.T) {
	f := newFake(t)
	f.metadata["token_endpoint"] = f.URL + "/other"
	c := f.config()
	c.TokenURL = f.URL + "/token"
	if _, err := f.signIn(t, c); err != nil {
		t.Errorf("sign in: %v", err)
	}
}

// TestNothingLeaks puts a marker into everything that a provider sends, in each
// place where it can be, and looks for it in every error.
func TestNothingLeaks(t *testing.T) {
	const marker = "MARKER-7f3a"
	evil := func(f *fake) object {
		return object{"access_token": marker, "refresh_token": marker, "id_token": marker, "token_type": marker, "scope": marker,
			"expires_in": marker, "error": marker, "error_description": marker, "error_uri": marker, "session_state": marker,
			"iss": marker, "aud": marker, "sub": marker, "nonce": marker, "azp": marker, "at_hash": marker, "exp": marker,
			"email": marker, "name": marker, "issuer": marker, "authorization_endpoint": marker, "token_endpoint": marker, "jwks_uri": marker,
			"keys": []object{{"kty": marker}}}
	}
	one := func(set func(f *fake, name string, value any), names ...string) (out []func(*fake)) {
		for _, name := range names {
			for _, value := range []any{marker, []string{marker}, object{marker: marker}} {
				out = append(out, func(f *fake) { set(f, name, value) })
			}
		}
		return out
	}
	header := func(w http.ResponseWriter) {
		w.Header().Set("Location", "https://"+marker+".example/?"+marker)
		w.Header().Set("WWW-Authenticate", marker)
		w.Header().Set("Content-Type", "application/"+marker)
	}
	var changes []func(*fake)
	for _, path := range []string{wellKnown, "/token", "/keys", "/userinfo"} {
		for _, code := range []int{200, 302, 400, 401, 500} {
			changes = append(changes, func(f *fake) {
				f.handlers[path] = func(w http.ResponseWriter, _ *http.Request) { header(w); w.WriteHeader(code); f.write(w, evil(f)) }
			}, func(f *fake) {
				f.handlers[path] = func(w http.ResponseWriter, _ *http.Request) {
					header(w)
					w.WriteHeader(code)
					io.WriteString(w, marker)
				}
			})
		}
		for _, raw := range []string{marker + "\r\n\r\n", "HTTP/1.1 200 " + marker + "\r\n" + marker + "\r\n\r\n",
			"HTTP/1.1 " + marker + "\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: " + marker + "\r\n\r\n",
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: " + marker + "\r\n\r\n"} {
			changes = append(changes, func(f *fake) {
				f.handlers[path] = func(w http.ResponseWriter, _ *http.Request) {
					conn, _, _ := w.(http.Hijacker).Hijack()
					io.WriteString(conn, raw)
					conn.Close()
				}
			})
		}
	}
	changes = append(changes, one(func(f *fake, n string, v any) { f.claims[n] = v },
		"iss", "aud", "sub", "exp", "iat", "nbf", "nonce", "azp", "at_hash", "_claim_names", "_claim_sources")...)
	changes = append(changes, one(func(f *fake, n string, v any) { f.reply[n] = v },
		"access_token", "refresh_token", "token_type", "scope", "expires_in", "error", "error_description", "session_state")...)
	changes = append(changes, one(func(f *fake, n string, v any) { f.metadata[n] = v },
		"issuer", "authorization_endpoint", "token_endpoint", "userinfo_endpoint", "jwks_uri", "id_token_signing_alg_values_supported",
		"authorization_response_iss_parameter_supported")...)
	changes = append(changes, one(func(f *fake, n string, v any) { f.profile[n] = v }, "sub")...)
	changes = append(changes,
		func(f *fake) { f.sign = func(object) string { return marker } },
		func(f *fake) { f.sign = func(object) string { return marker + "." + marker + "." + marker } },
		func(f *fake) {
			f.sign = func(c object) string {
				return signingInput(object{"alg": marker, "kid": marker, "crit": []string{marker}}, c) + "." + b64([]byte(marker))
			}
		},
		func(f *fake) { f.sign = signRS256(marker, otherRSAKey()) },
		func(f *fake) { f.metadata["token_endpoint"] = "http://127.0.0.1:1/" + marker },
		func(f *fake) { f.metadata["jwks_uri"] = "http://127.0.0.1:1/" + marker },
	)
	failed := 0
	for i, change := range changes {
		f := newFake(t)
		change(f)
		c := f.config()
		c.UserinfoProfile = true
		c.ClientSecret = marker
		p := newProvider(t, c)
		red, err := p.Begin(t.Context(), &gatebook.Begin{RedirectURI: callback + "?" + marker, State: marker})
		if err == nil {
			_, err = p.Complete(t.Context(), &gatebook.Complete{
				RedirectURI: callback + "?" + marker, State: marker, CodeVerifier: red.CodeVerifier, Nonce: red.Nonce,
				Params: map[string]string{"state": marker, "code": marker, "error_description": marker},
			})
		}
		if err == nil {
			continue
		}
		failed++
		for e := err; e != nil; e = errors.Unwrap(e) {
			for _, verb := range []string{"%v", "%+v", "%q"} {
				if s := fmt.Sprintf(verb, e); strings.Contains(strings.ToLower(s), strings.ToLower(marker)) {
					t.Errorf("change %d: %T prints %s", i, e, s)
				}
			}
		}
	}
	if failed < len(changes)*3/4 {
		t.Errorf("only %d of %d changes made an error: the test tests little", failed, len(changes))
	}
}

// FuzzReplies feeds a provider's replies to the engine. Whatever they are, there
// is a proof with an account or an error that quotes nothing.
func FuzzReplies(f *testing.F) {
	f.Add(`{"access_token":"at"}`, `{"id":1,"email":"Ada@Example.com","email_verified":"true"}`, `{"name":{"firstName":"Ada","lastName":"L"}}`)
	f.Add(`{"access_token":"at","token_type":"Bearer","expires_in":"3600","scope":["a"]}`, `{"sub":"x","name":{"a":[1]},"email":"a@b.example","list":["A@b.example"]}`, `{"email":"x@example.com","sub":"y"}`)
	f.Add(`{"error":"invalid_grant"}`, ``, ``)
	f.Add(`{"error":{"code":190,"type":"OAuthException"}}`, ``, `[`)
	f.Add(`{"ok":false}`, `{"id":1}`, `{"name":{"firstName":"\u0000"}}`)
	f.Add(`[]`, `{"id":"\ud800"}`, `{}`)
	f.Add("{\"access_token\":\"a\",\"access_token\":\"\u0000\"}", `{"id":1e999,"a.b":{"0":null}}`, `null`)
	f.Fuzz(func(t *testing.T, token, profile, user string) {
		rt := transport(func(r *http.Request) (*http.Response, error) {
			body := token
			if r.URL.Path == "/userinfo" {
				body = profile
			}
			return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
		})
		p, err := oauth.New(oauth.Config{
			ID: "acme", Type: "oauth", ClientID: "c", ClientSecret: "s", Client: &http.Client{Transport: rt},
			AuthURL: "https://a.example/a", TokenURL: "https://a.example/token", UserinfoURL: "https://a.example/userinfo",
			UserParam: "user",
			Profile: oauth.Profile{
				Name:          []string{"{user.name.firstName} {user.name.lastName}", "name.a.0", "a.b.0"},
				EmailVerified: []string{"email_verified", "list"},
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		complete := func(user string) (*gatebook.Proof, error) {
			return p.Complete(t.Context(), &gatebook.Complete{
				State: "s", CodeVerifier: "v", Params: map[string]string{"state": "s", "code": "c", "user": user}})
		}
		proof, err := complete(user)
		if err != nil {
			var e *gatebook.ProviderError
			if proof != nil || !errors.As(err, &e) || e.Reason == "" || e.Step == "" {
				t.Errorf("Complete = %v, %v (%T)", proof, err, err)
			}
			return
		}
		if proof.Account.ProviderAccountID == "" || proof.Account.AccessToken == "" {
			t.Errorf("proof without id or access token: %+v", proof.Account)
		}
		if strings.ContainsFunc(proof.User.Name+proof.User.Email, func(r rune) bool { return r < ' ' }) {
			t.Errorf("control characters in %+v", proof.User)
		}
		// What the browser brings decides nothing but the name.
		plain, err := complete("")
		if err != nil || plain.Account.ProviderAccountID != proof.Account.ProviderAccountID ||
			plain.User.Email != proof.User.Email || plain.EmailVerified != proof.EmailVerified {
			t.Errorf("with user %q: %+v, without: %+v, %v", user, proof, plain, err)
		}
		if proof.EmailVerified && proof.User.Email == "" {
			t.Error("no address is verified")
		}
	})
}

// FuzzIDToken feeds ID tokens to the engine. None is good but the one that the
// provider's key signed.
func FuzzIDToken(f *testing.F) {
	now := time.Unix(1_800_000_000, 0)
	claims := object{"iss": "https://op.example", "aud": "c", "sub": "ada-1", "exp": now.Unix() + 300, "iat": now.Unix(), "nonce": "n"}
	good := signRS256("k1", rsaKey())(claims)
	parts := strings.Split(good, ".")
	for _, seed := range []string{
		good, signNone(claims), signRS256("k1", otherRSAKey())(claims), signHS256([]byte("s"))(claims), signES256(claims),
		parts[0] + "." + parts[1] + ".", parts[0] + ".." + parts[2], good + "=", good + "\n", " " + good, strings.ToUpper(good),
		`{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`,
	} {
		f.Add(seed)
	}
	keys := string(must(json.Marshal(object{"keys": []object{rsaJWK("k1", rsaKey())}})))
	f.Fuzz(func(t *testing.T, token string) {
		rt := transport(func(r *http.Request) (*http.Response, error) {
			body := keys
			if r.URL.Path == "/token" {
				body = string(must(json.Marshal(object{"access_token": "at", "id_token": token})))
			}
			return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
		})
		p, err := oauth.New(oauth.Config{
			ID: "acme", Issuer: "https://op.example", ClientID: "c", ClientSecret: "s", Client: &http.Client{Transport: rt},
			AuthURL: "https://op.example/a", TokenURL: "https://op.example/token", JWKSURL: "https://op.example/keys",
			Now: func() time.Time { return now },
		})
		if err != nil {
			t.Fatal(err)
		}
		proof, err := p.Complete(t.Context(), &gatebook.Complete{
			State: "s", CodeVerifier: "v", Nonce: "n", Params: map[string]string{"state": "s", "code": "c"}})
		// The last character of a signature has bits that decode to nothing.
		signed := strings.HasPrefix(token, parts[0]+"."+parts[1]+".")
		if err == nil && !signed || err != nil && token == good {
			t.Errorf("token %q: proof %+v, error %v", token, proof, err)
		}
	})
}
