package oauth_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/provider/oauth"
	"github.com/gatebook/gatebook/record"
)

func TestSignInOIDC(t *testing.T) {
	f := newFake(t)
	proof, err := f.signIn(t, f.config())
	if err != nil {
		t.Fatalf("sign in: %v", err)
	}
	wantUser := gatebook.User{Name: "Ada", Email: "ada@example.com", Image: "https://img.example/ada.png"}
	if diff := cmp.Diff(wantUser, proof.User); diff != "" {
		t.Errorf("user (-want +got):\n%s", diff)
	}
	a := proof.Account
	if a.IDToken == "" || !strings.Contains(string(must(a.Reply.MarshalJSON())), string(a.IDToken)) {
		t.Error("account has not the ID token, or the reply has not")
	}
	a.Reply, a.IDToken = gatebook.Claims{}, ""
	wantAccount := gatebook.Account{
		Type: "oidc", Provider: "acme", ProviderAccountID: "ada-1", AccessToken: "at-1", RefreshToken: "rt-1",
		ExpiresAt: f.now.Unix() + 3600, TokenType: "bearer", Scope: "openid email",
	}
	if a.AccessToken != wantAccount.AccessToken || a.RefreshToken != wantAccount.RefreshToken {
		t.Error("tokens of the account are not the reply's")
	}
	if diff := cmp.Diff(wantAccount, a, cmp.AllowUnexported(gatebook.Claims{}), cmp.Comparer(func(x, y gatebook.Claims) bool { return x.Len() == y.Len() })); diff != "" {
		t.Errorf("account (-want +got):\n%s", diff)
	}
	if got := proof.Account.Reply.String("custom"); got != "kept" {
		t.Errorf("reply's further member = %q, want it kept", got)
	}
	if proof.Profile.String("email") != "Ada@Example.com" || !proof.Profile.Has("iat") {
		t.Error("profile is not the raw claims of the ID token")
	}
	if !proof.EmailVerified {
		t.Error("EmailVerified = false, want true")
	}
	if diff := cmp.Diff([]string{"pwd", "otp"}, proof.AMR); diff != "" || proof.ACR != "urn:2" || !proof.AuthTime.Equal(f.now.Add(-time.Minute)) {
		t.Errorf("amr %v, acr %q, auth_time %v; want the token's", proof.AMR, proof.ACR, proof.AuthTime)
	}
}

func TestSignInOAuth(t *testing.T) {
	f := newFake(t)
	c := f.oauthConfig()
	c.Profile = oauth.Profile{ID: []string{"id"}, Name: []string{"display.name"}, Image: []string{"pictures.1.url"}}
	// 2^53 + 1: a float would make another person of it.
	f.handle("/userinfo", func(w http.ResponseWriter, r *http.Request) {
		if got := r.Header.Get("Authorization"); got != "Bearer at-1" {
			t.Errorf("Authorization = %q", got)
		}
		if r.Header.Get("User-Agent") != "gatebook" {
			t.Errorf("User-Agent = %q, want gatebook", r.Header.Get("User-Agent"))
		}
		status(200, `{"id":9007199254740993,"display":{"name":"Grace"},"email":"GRACE@example.com","pictures":[{},{"url":"https://img.example/g.png"}]}`)(w, r)
	})
	proof, err := f.signIn(t, c)
	if err != nil {
		t.Fatalf("sign in: %v", err)
	}
	if got, want := proof.Account.ProviderAccountID, "9007199254740993"; got != want {
		t.Errorf("ProviderAccountID = %q, want %q", got, want)
	}
	if proof.Account.Type != "oauth" {
		t.Errorf("account type = %q, want oauth", proof.Account.Type)
	}
	want := gatebook.User{Name: "Grace", Email: "grace@example.com", Image: "https://img.example/g.png"}
	if diff := cmp.Diff(want, proof.User); diff != "" {
		t.Errorf("user (-want +got):\n%s", diff)
	}
	if proof.EmailVerified {
		t.Error("EmailVerified = true without the provider saying so")
	}
	if f.count("/.well-known/openid-configuration") != 0 {
		t.Error("an OAuth 2.0 provider was discovered")
	}
}

func TestClientAuthentication(t *testing.T) {
	// What a server that does not decode, and one that does, both accept from
	// Auth.js.
	const id, secret = "client", "s3cret-._~!*'()"
	tests := []struct {
		name                                string
		secret                              gatebook.Secret
		auth                                oauth.ClientAuth
		wantUser, wantPass                  string
		wantClientID, wantSecret, wantBasic bool
	}{
		{name: "basic", secret: secret, wantUser: "client", wantPass: secret, wantBasic: true},
		{name: "basic escapes", secret: "a b:c%d/é", wantUser: "client", wantPass: "a+b%3Ac%25d%2F%C3%A9", wantBasic: true},
		{name: "post", secret: secret, auth: oauth.ClientSecretPost, wantClientID: true, wantSecret: true},
		{name: "none", secret: secret, auth: oauth.ClientNone, wantClientID: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake(t)
			c := f.config()
			c.ClientAuth, c.ClientSecret = tt.auth, tt.secret
			if _, err := f.signIn(t, c); err != nil {
				t.Fatalf("sign in: %v", err)
			}
			user, pass, ok := f.token.BasicAuth()
			if ok != tt.wantBasic || user != tt.wantUser || pass != tt.wantPass {
				t.Errorf("Authorization = %q:%q, %v; want %q:%q, %v", user, pass, ok, tt.wantUser, tt.wantPass, tt.wantBasic)
			}
			if got := f.token.PostForm.Has("client_id"); got != tt.wantClientID {
				t.Errorf("client_id in the body: %v, want %v", got, tt.wantClientID)
			}
			if got := f.token.PostForm.Has("client_secret"); got != tt.wantSecret {
				t.Errorf("client_secret in the body: %v, want %v", got, tt.wantSecret)
			}
			form := f.token.PostForm
			if form.Get("grant_type") != "authorization_code" || form.Get("code") != "code-1" || form.Get("redirect_uri") != callback {
				t.Errorf("form = %v", form)
			}
			if f.count("/token") != 1 {
				t.Errorf("%d token requests, want 1: a code works once", f.count("/token"))
			}
		})
	}
}

func TestAuthorizationResponse(t *testing.T) {
	type params = map[string]string
	denied := func(reason, code string) gatebook.ProviderError {
		return gatebook.ProviderError{Reason: reason, Step: "authorize", Code: code, Denied: true}
	}
	invalid := gatebook.ProviderError{Reason: record.ReasonProviderError, Step: "authorize"}
	state := gatebook.ProviderError{Reason: record.ReasonStateMismatch, Check: "state", Step: "authorize"}
	iss := gatebook.ProviderError{Reason: record.ReasonIssuerMismatch, Check: "iss", Step: "authorize"}
	tests := []struct {
		name   string
		change func(*gatebook.Complete)
		want   gatebook.ProviderError
	}{
		{"wrong state", func(c *gatebook.Complete) { c.Params["state"] = "state-2" }, state},
		{"missing state", func(c *gatebook.Complete) { delete(c.Params, "state") }, state},
		{"no state kept", func(c *gatebook.Complete) { c.State, c.Params["state"] = "", "" }, state},
		{"error without state", func(c *gatebook.Complete) { c.Params = params{"error": "access_denied"} }, state},
		{"access denied", func(c *gatebook.Complete) { c.Params["error"] = "access_denied" }, denied(record.ReasonProviderDenied, "access_denied")},
		{"login required", func(c *gatebook.Complete) { c.Params["error"] = "login_required" }, denied(record.ReasonProviderDenied, "login_required")},
		{"server error", func(c *gatebook.Complete) { c.Params["error"] = "server_error" }, denied(record.ReasonProviderError, "server_error")},
		{"error that is text", func(c *gatebook.Complete) { c.Params["error"] = "<script>Ada" }, denied(record.ReasonProviderError, "")},
		{"error that is long", func(c *gatebook.Complete) { c.Params["error"] = strings.Repeat("a", 65) }, denied(record.ReasonProviderError, "")},
		{"error and code", func(c *gatebook.Complete) { c.Params["error"] = "invalid_scope" }, denied(record.ReasonProviderError, "invalid_scope")},
		{"no code", func(c *gatebook.Complete) { delete(c.Params, "code") }, invalid},
		{"response", func(c *gatebook.Complete) { c.Params["response"] = "jwt" }, invalid},
		{"id_token", func(c *gatebook.Complete) { c.Params["id_token"] = "jwt" }, invalid},
		{"token", func(c *gatebook.Complete) { c.Params["token"] = "" }, invalid},
		{"access_token", func(c *gatebook.Complete) { c.Params["access_token"] = "t" }, invalid},
		{"foreign iss", func(c *gatebook.Complete) { c.Params["iss"] = "https://evil.example" }, iss},
		{"empty iss", func(c *gatebook.Complete) { c.Params["iss"] = "" }, iss},
		{"no verifier", func(c *gatebook.Complete) { c.CodeVerifier = "" },
			gatebook.ProviderError{Reason: record.ReasonPKCEFailed, Check: "pkce", Step: "authorize"}},
		{"no nonce", func(c *gatebook.Complete) { c.Nonce = "" },
			gatebook.ProviderError{Reason: record.ReasonNonceMismatch, Check: "nonce", Step: "authorize"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake(t)
			p := newProvider(t, f.config())
			c := f.begin(t, p)
			tt.change(c)
			proof, err := p.Complete(t.Context(), c)
			wantError(t, proof, err, tt.want)
			if f.count("/token") != 0 {
				t.Error("the code was redeemed all the same")
			}
		})
	}
}

func TestIssParameter(t *testing.T) {
	f := newFake(t)
	tests := []struct {
		name     string
		config   oauth.Config
		required bool
		iss      string // "-" for none
		ok       bool
	}{
		{"openid, sent", f.config(), false, f.URL, true},
		{"openid, promised and sent", f.config(), true, f.URL, true},
		{"openid, promised and missing", f.config(), true, "-", false},
		{"oauth without issuer", f.oauthConfig(), false, "https://elsewhere.example", true},
	}
	withIssuer := f.oauthConfig()
	withIssuer.Issuer = "https://acme.example/login"
	tests = append(tests, []struct {
		name     string
		config   oauth.Config
		required bool
		iss      string
		ok       bool
	}{
		{"oauth with issuer, sent", withIssuer, false, "https://acme.example/login", true},
		{"oauth with issuer, missing", withIssuer, false, "-", true},
		{"oauth with issuer, mixed up", withIssuer, false, f.URL, false},
	}...)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f.metadata["authorization_response_iss_parameter_supported"] = tt.required
			f.noIDToken = tt.config.Type == gatebook.TypeOAuth
			p := newProvider(t, tt.config)
			c := f.begin(t, p)
			if tt.iss != "-" {
				c.Params["iss"] = tt.iss
			}
			proof, err := p.Complete(t.Context(), c)
			if tt.ok {
				if err != nil {
					t.Errorf("Complete: %v", err)
				}
				return
			}
			wantError(t, proof, err, gatebook.ProviderError{Reason: record.ReasonIssuerMismatch, Check: "iss", Step: "authorize"})
		})
	}
}

func TestWrongVerifier(t *testing.T) {
	f := newFake(t)
	p := newProvider(t, f.config())
	c := f.begin(t, p)
	c.CodeVerifier = "of-another-sign-in"
	proof, err := p.Complete(t.Context(), c)
	wantError(t, proof, err, gatebook.ProviderError{Reason: record.ReasonProviderError, Step: "token", Code: "invalid_grant"})
}

func TestTokenReplyRefused(t *testing.T) {
	bad := gatebook.ProviderError{Reason: record.ReasonProviderError, Step: "token"}
	coded := func(code string) gatebook.ProviderError { e := bad; e.Code = code; return e }
	unreachable := gatebook.ProviderError{Reason: record.ReasonProviderUnreachable, Step: "token"}
	tests := []struct {
		name    string
		handler http.HandlerFunc
		want    gatebook.ProviderError
	}{
		{"500", status(500, `{"access_token":"at","id_token":"x"}`), bad},
		{"500 with HTML", status(500, "<h1>oops</h1>"), bad},
		{"201", status(201, `{"access_token":"at"}`), bad},
		{"HTML", status(200, "<!doctype html><title>Sign in</title>"), bad},
		{"form", status(200, "access_token=at&token_type=bearer"), bad},
		{"empty", status(200, ""), bad},
		{"array", status(200, `[{"access_token":"at"}]`), bad},
		{"two objects", status(200, `{"access_token":"at"}{}`), bad},
		{"oversized", func(w http.ResponseWriter, _ *http.Request) {
			w.Write([]byte(`{"access_token":"at"}` + strings.Repeat(" ", 1<<20)))
		}, bad},
		{"error", status(400, `{"error":"invalid_client","error_description":"secret s3cret is wrong"}`), coded("invalid_client")},
		{"error with 200", status(200, `{"error":"bad_verification_code","access_token":"at"}`), coded("bad_verification_code")},
		{"error that is an object", status(200, `{"error":{"message":"x"}}`), bad},
		{"redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		}, bad},
		{"no access_token", status(200, `{"token_type":"bearer"}`), bad},
		{"empty access_token", status(200, `{"access_token":""}`), bad},
		{"access_token that is a number", status(200, `{"access_token":1}`), bad},
		{"token_type mac", status(200, `{"access_token":"at","token_type":"mac"}`), bad},
		{"token_type that is a number", status(200, `{"access_token":"at","token_type":1}`), bad},
		{"expires_in that is text", status(200, `{"access_token":"at","expires_in":"soon"}`), bad},
		{"expires_in below 0", status(200, `{"access_token":"at","expires_in":-1}`), bad},
		{"expires_in beyond all time", status(200, `{"access_token":"at","expires_in":1e300}`), bad},
		{"expires_in NaN", status(200, `{"access_token":"at","expires_in":"NaN"}`), bad},
		{"refresh_token that is an object", status(200, `{"access_token":"at","refresh_token":{}}`), bad},
		{"scope that is a number", status(200, `{"access_token":"at","scope":1}`), bad},
		{"no id_token", status(200, `{"access_token":"at"}`), bad},
		{"slow", hang, unreachable},
		{"hangs up", func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) }, unreachable},
		{"slow body", func(w http.ResponseWriter, r *http.Request) {
			w.Write([]byte(`{"access_token":`))
			w.(http.Flusher).Flush()
			hang(w, r)
		}, unreachable},
	}
	for _, tt := range tests {
		refuse := func(t *testing.T, configure func(*fake) oauth.Config) {
			t.Helper()
			f := newFake(t)
			c := configure(f)
			c.Client = &http.Client{Timeout: 2 * time.Second}
			if strings.HasPrefix(tt.name, "slow") {
				c.Client.Timeout = 100 * time.Millisecond
			}
			f.handle("/token", tt.handler)
			proof, err := f.signIn(t, c)
			wantError(t, proof, err, tt.want)
			if f.count("/elsewhere") != 0 {
				t.Error("a redirect was followed, with the code")
			}
			if f.count("/token") != 1 {
				t.Errorf("%d token requests, want 1", f.count("/token"))
			}
		}
		t.Run(tt.name, func(t *testing.T) {
			refuse(t, (*fake).config)
			// Where no ID token is asked for, nothing else may let it through.
			if tt.name != "no id_token" {
				refuse(t, (*fake).oauthConfig)
			}
		})
	}
}

func TestTokenReplyRepaired(t *testing.T) {
	tests := []struct {
		name        string
		reply       string
		want        gatebook.Account // type and provider apart
		wantExpires int64            // seconds from now
		wantReply   string
	}{
		{"token_type missing", `{"access_token":"at"}`, gatebook.Account{TokenType: "bearer"}, 0,
			`{"access_token":"at","token_type":"bearer"}`},
		{"token_type in capitals", `{"token_type":"BEARER","access_token":"at"}`, gatebook.Account{TokenType: "bearer"}, 0,
			`{"token_type":"bearer","access_token":"at"}`},
		{"dpop", `{"access_token":"at","token_type":"DPoP"}`, gatebook.Account{TokenType: "dpop"}, 0,
			`{"access_token":"at","token_type":"dpop"}`},
		{"expires_in as text", `{"access_token":"at","token_type":"bearer","expires_in":"3600"}`, gatebook.Account{TokenType: "bearer"}, 3600,
			`{"access_token":"at","token_type":"bearer","expires_in":3600}`},
		{"expires_in with fraction", `{"access_token":"at","token_type":"bearer","expires_in":3599.9}`, gatebook.Account{TokenType: "bearer"}, 3599,
			`{"access_token":"at","token_type":"bearer","expires_in":3599}`},
		{"expires_in 0", `{"access_token":"at","token_type":"bearer","expires_in":0}`, gatebook.Account{TokenType: "bearer"}, 0,
			`{"access_token":"at","token_type":"bearer","expires_in":0}`},
		{"scope as array", `{"access_token":"at","token_type":"bearer","scope":["a","b"]}`, gatebook.Account{TokenType: "bearer", Scope: "a b"}, 0,
			`{"access_token":"at","token_type":"bearer","scope":"a b"}`},
		{"nulls", `{"access_token":"at","token_type":null,"scope":null,"refresh_token":null,"expires_in":null}`, gatebook.Account{TokenType: "bearer"}, 0,
			`{"access_token":"at","token_type":"bearer"}`},
		{"order and numbers kept", `{"z":12345678901234567890,"access_token":"at","token_type":"bearer","session_state":"ss"}`,
			gatebook.Account{TokenType: "bearer", SessionState: "ss"}, 0,
			`{"z":12345678901234567890,"access_token":"at","token_type":"bearer","session_state":"ss"}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake(t)
			c := f.oauthConfig()
			f.handle("/token", status(200, tt.reply))
			proof, err := f.signIn(t, c)
			if err != nil {
				t.Fatalf("sign in: %v", err)
			}
			a := proof.Account
			if a.AccessToken != "at" || a.TokenType != tt.want.TokenType || a.Scope != tt.want.Scope || a.SessionState != tt.want.SessionState || a.RefreshToken != "" {
				t.Errorf("account = %+v", a)
			}
			want := int64(0)
			if tt.wantExpires > 0 {
				want = f.now.Unix() + tt.wantExpires
			}
			if a.ExpiresAt != want {
				t.Errorf("ExpiresAt = %d, want %d", a.ExpiresAt, want)
			}
			if got := string(must(json.Marshal(a.Reply))); got != tt.wantReply {
				t.Errorf("reply = %s, want %s", got, tt.wantReply)
			}
		})
	}
}

func TestUserinfoRefused(t *testing.T) {
	bad := gatebook.ProviderError{Reason: record.ReasonProviderError, Step: "userinfo"}
	profile := gatebook.ProviderError{Reason: record.ReasonProfileInvalid, Step: "profile"}
	tests := []struct {
		name    string
		handler http.HandlerFunc
		want    gatebook.ProviderError
	}{
		{"500", status(500, `{"id":1}`), bad},
		{"401", status(401, `{"id":1,"message":"Bad credentials"}`), bad},
		{"HTML", status(200, "<html>"), bad},
		{"array", status(200, `[1]`), bad},
		{"deep", status(200, `{"id":1,"x":`+strings.Repeat("[", 5000)+strings.Repeat("]", 5000)+`}`), bad},
		{"oversized", func(w http.ResponseWriter, _ *http.Request) {
			w.Write([]byte(`{"id":1}` + strings.Repeat(" ", 1<<20)))
		}, bad},
		{"redirect", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) }, bad},
		{"hangs up", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
			gatebook.ProviderError{Reason: record.ReasonProviderUnreachable, Step: "userinfo"}},
		{"no id", status(200, `{"name":"Ada"}`), profile},
		{"null id", status(200, `{"id":null}`), profile},
		{"empty id", status(200, `{"id":""}`), profile},
		{"id that is an object", status(200, `{"id":{"a":1}}`), profile},
		{"long id", status(200, `{"id":"`+strings.Repeat("a", 256)+`"}`), profile},
		{"id with NUL", status(200, `{"id":"a\u0000b"}`), profile},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake(t)
			c := f.oauthConfig()
			f.handle("/userinfo", tt.handler)
			proof, err := f.signIn(t, c)
			wantError(t, proof, err, tt.want)
			if f.count("/elsewhere") != 0 {
				t.Error("a redirect was followed, with the access token")
			}
		})
	}
}

func TestUserinfoProfile(t *testing.T) {
	f := newFake(t)
	c := f.config()
	c.UserinfoProfile = true
	proof, err := f.signIn(t, c)
	if err != nil {
		t.Fatalf("sign in: %v", err)
	}
	if proof.User.Name != "Ada L." || proof.EmailVerified {
		t.Errorf("user %+v, verified %v; want userinfo's", proof.User, proof.EmailVerified)
	}
	if proof.ACR != "urn:2" {
		t.Errorf("ACR = %q, want the ID token's", proof.ACR)
	}
	f.profile["sub"] = "grace-1"
	proof, err = f.signIn(t, c)
	wantError(t, proof, err, gatebook.ProviderError{Reason: record.ReasonProfileInvalid, Step: "userinfo"})
	// The ID token is verified as always.
	f.profile["sub"], f.claims["sub"], f.claims["aud"] = "ada-1", "ada-1", "other"
	proof, err = f.signIn(t, c)
	wantError(t, proof, err, gatebook.ProviderError{Reason: record.ReasonIDTokenInvalid, Check: "aud", Step: "id_token"})
}

func TestEnrich(t *testing.T) {
	f := newFake(t)
	f.handle("/emails", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer at-1" {
			t.Errorf("Authorization = %q", r.Header.Get("Authorization"))
		}
		status(200, `["x"]`)(w, r)
	})
	c := f.oauthConfig()
	c.Enrich = func(ctx context.Context, fetch oauth.Fetch, profile *gatebook.Claims) error {
		code, body, err := fetch(ctx, f.URL+"/emails")
		if err != nil || code != 200 || string(body) != `["x"]` {
			t.Errorf("fetch = %d, %q, %v", code, body, err)
		}
		return profile.Set("email", "Late@Example.com")
	}
	proof, err := f.signIn(t, c)
	if err != nil || proof.User.Email != "late@example.com" {
		t.Errorf("sign in = %+v, %v; want the e-mail of Enrich", proof, err)
	}
	mine := errors.New("mine")
	c.Enrich = func(context.Context, oauth.Fetch, *gatebook.Claims) error { return mine }
	proof, err = f.signIn(t, c)
	if !errors.Is(err, mine) {
		t.Errorf("error = %v, want one that wraps Enrich's", err)
	}
	wantError(t, proof, err, gatebook.ProviderError{Reason: record.ReasonProviderError, Step: "userinfo"})
	f.handle("/emails", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	c.Enrich = func(ctx context.Context, fetch oauth.Fetch, _ *gatebook.Claims) error {
		_, _, err := fetch(ctx, f.URL+"/emails")
		return err
	}
	proof, err = f.signIn(t, c)
	wantError(t, proof, err, gatebook.ProviderError{Reason: record.ReasonProviderUnreachable, Step: "userinfo"})
}

func TestProfileMapping(t *testing.T) {
	tests := []struct {
		name     string
		profile  string
		paths    oauth.Profile
		wantID   string
		want     gatebook.User
		verified bool
	}{
		{"default", `{"sub":"1","id":"2","name":"N","nickname":"K","email":"E@x.example","picture":"P","email_verified":true}`, oauth.Profile{},
			"1", gatebook.User{Name: "N", Email: "e@x.example", Image: "P"}, true},
		{"fallbacks", `{"id":7,"name":null,"nickname":"","preferred_username":"U","email":null}`, oauth.Profile{},
			"7", gatebook.User{Name: "U"}, false},
		{"verified as text", `{"sub":"1","email":"e@x.example","email_verified":"true"}`, oauth.Profile{},
			"1", gatebook.User{Email: "e@x.example"}, true},
		{"verified as other text", `{"sub":"1","email":"e@x.example","email_verified":"yes"}`, oauth.Profile{},
			"1", gatebook.User{Email: "e@x.example"}, false},
		{"verified but no address", `{"sub":"1","email_verified":true}`, oauth.Profile{}, "1", gatebook.User{}, false},
		{"verified under another path, default ignored", `{"sub":"1","email":"e@x.example","email_verified":true,"confirmed":false}`,
			oauth.Profile{EmailVerified: []string{"confirmed"}}, "1", gatebook.User{Email: "e@x.example"}, false},
		{"no name wanted", `{"sub":"1","name":"N"}`, oauth.Profile{Name: []string{}}, "1", gatebook.User{}, false},
		{"paths", `{"data":{"ids":[5,6],"n.a":{"b":"x"}},"https://x.example/id":"url"}`,
			oauth.Profile{ID: []string{"data.ids.9", "data.nothing.at.all", "data.ids.1"}, Name: []string{"https://x.example/id"}},
			"6", gatebook.User{Name: "url"}, false},
		{"text with paths", `{"sub":"1","first":"Ada","last":"L","n":7}`, oauth.Profile{Name: []string{"{first} {middle} {last}", "{first} {last} ({n})"}},
			"1", gatebook.User{Name: "Ada L (7)"}, false},
		{"verified as a number", `{"sub":"1","email":"e@x.example","verified":1}`, oauth.Profile{EmailVerified: []string{"verified"}},
			"1", gatebook.User{Email: "e@x.example"}, true},
		{"verified by the address itself", `{"sub":"1","email":"E@x.example","confirmed":"e@X.example"}`, oauth.Profile{EmailVerified: []string{"confirmed"}},
			"1", gatebook.User{Email: "e@x.example"}, true},
		{"another address is the verified one", `{"sub":"1","email":"e@x.example","confirmed":"f@x.example"}`, oauth.Profile{EmailVerified: []string{"confirmed"}},
			"1", gatebook.User{Email: "e@x.example"}, false},
		{"among the verified addresses", `{"sub":"1","email":"e@x.example","edov":false,"list":["f@x.example","E@x.example"]}`,
			oauth.Profile{EmailVerified: []string{"edov", "list"}}, "1", gatebook.User{Email: "e@x.example"}, true},
		{"not among the verified addresses", `{"sub":"1","email":"e@x.example","list":["f@x.example","true",true]}`,
			oauth.Profile{EmailVerified: []string{"list"}}, "1", gatebook.User{Email: "e@x.example"}, false},
		{"number with exponent", `{"sub":1e3}`, oauth.Profile{}, "1e3", gatebook.User{}, false},
		{"control characters", `{"sub":"1","name":"A\u0000d\na\u0085","picture":"x\u007f"}`, oauth.Profile{},
			"1", gatebook.User{Name: "Ada", Image: "x"}, false},
		// Without it, it would be the address of somebody else.
		{"control characters in the address", `{"sub":"1","email":"a\u0085da@x.example","email_verified":true}`, oauth.Profile{}, "1", gatebook.User{}, false},
		{"half a character in the address", `{"sub":"1","email":"ada\ud800@x.example","email_verified":true}`, oauth.Profile{}, "1", gatebook.User{}, false},
		{"verified by nearly the address", `{"sub":"1","email":"ada@x.example","list":["a\u0000da@x.example"]}`,
			oauth.Profile{EmailVerified: []string{"list"}}, "1", gatebook.User{Email: "ada@x.example"}, false},
		// The lower case of the Kelvin sign is k, and of İ it begins with i.
		{"no letter becomes ASCII", `{"sub":"1","email":"\u212Aate@\u0130.EXAMPLE"}`, oauth.Profile{},
			"1", gatebook.User{Email: "\u212Aate@\u0130.example"}, false},
		{"letters beyond ASCII", `{"sub":"1","email":"ÉVA@EXAMPLE.COM"}`, oauth.Profile{}, "1", gatebook.User{Email: "éva@example.com"}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake(t)
			c := f.oauthConfig()
			c.Profile = tt.paths
			f.handle("/userinfo", status(200, tt.profile))
			proof, err := f.signIn(t, c)
			if err != nil {
				t.Fatalf("sign in: %v", err)
			}
			if proof.Account.ProviderAccountID != tt.wantID {
				t.Errorf("id = %q, want %q", proof.Account.ProviderAccountID, tt.wantID)
			}
			if diff := cmp.Diff(tt.want, proof.User); diff != "" {
				t.Errorf("user (-want +got):\n%s", diff)
			}
			if proof.EmailVerified != tt.verified {
				t.Errorf("EmailVerified = %v, want %v", proof.EmailVerified, tt.verified)
			}
			if got := string(must(json.Marshal(proof.Profile))); len(got) < len(tt.profile)/4 {
				t.Errorf("profile = %s, want the raw one", got)
			}
		})
	}
}
