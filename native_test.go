package gatebook_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/record"
)

const (
	appURI   = "com.example.app:/callback"
	verifier = "a-code-verifier-of-at-least-forty-three-characters.~_"
)

func challenge(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// native returns a desk for native clients.
func native(t testing.TB, strategy string) *desk {
	t.Helper()
	return newDesk(t, func(_ *desk, c *gatebook.Config) {
		c.Session.Strategy = strategy
		c.NativeRedirects = []string{appURI, "http://127.0.0.1/cb"}
	})
}

// ask is the path of a client's authorization request, with changes.
func ask(changes ...string) string {
	q := url.Values{"response_type": {"code"}, "client_id": {"app"}, "redirect_uri": {appURI},
		"code_challenge": {challenge(verifier)}, "code_challenge_method": {"S256"}, "state": {"st&te"}}
	for i := 0; i < len(changes); i += 2 {
		if q.Set(changes[i], changes[i+1]); changes[i+1] == "" {
			q.Del(changes[i])
		}
	}
	return "/auth/native?" + q.Encode()
}

var hiddenField = regexp.MustCompile(`<input type="hidden" name="([^"]+)" value="([^"]*)">`)

// allow opens the page for a client and lets it in; it returns where that leads.
func (v *visitor) allow(target string) *url.URL {
	v.d.t.Helper()
	w := v.get(target)
	form := url.Values{}
	for _, m := range hiddenField.FindAllStringSubmatch(w.Body.String(), -1) {
		form.Set(m[1], strings.ReplaceAll(m[2], "&amp;", "&"))
	}
	if w.Code != 200 || form.Get("redirect_uri") == "" {
		v.d.t.Fatalf("GET %s = %d to %q, want the page that asks\n%s", target, w.Code, w.Header().Get("Location"), v.d.log)
	}
	w = v.send(v.d.auth, v.request("POST", "/auth/native", form))
	to, err := url.Parse(w.Header().Get("Location"))
	if err != nil || w.Code != 302 {
		v.d.t.Fatalf("the page's form leads to %q with %d\n%s", w.Header().Get("Location"), w.Code, v.d.log)
	}
	return to
}

// redeem asks for a session as a client does, which has no cookies.
func (d *desk) redeem(code string, changes ...string) (*httptest.ResponseRecorder, map[string]any) {
	d.t.Helper()
	f := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {appURI}, "code_verifier": {verifier}}
	for i := 0; i < len(changes); i += 2 {
		f.Set(changes[i], changes[i+1])
	}
	app := d.visitor()
	w := app.send(d.auth, app.request("POST", "/auth/native-token", f))
	var body map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
		d.t.Fatalf("native-token answers %d %q: %v", w.Code, w.Body, err)
	}
	return w, body
}

// bearer reads the session of a client's token.
func (d *desk) bearer(token string) string {
	app := d.visitor()
	app.header.Set("Authorization", "Bearer "+token)
	return app.get("/auth/session").Body.String()
}

func TestNative(t *testing.T) {
	for _, strategy := range []string{gatebook.StrategyJWT, gatebook.StrategyDatabase} {
		t.Run(strategy, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := native(t, strategy)
				v := d.visitor()

				// Whoever is not signed in does that first, and comes back.
				w := v.get(ask())
				to, err := url.Parse(w.Header().Get("Location"))
				if err != nil || w.Code != 302 || to.Path != "/auth/signin" {
					t.Fatalf("GET native signed out = %d to %q, want the sign-in page", w.Code, w.Header().Get("Location"))
				}
				back := to.Query().Get("callbackUrl")
				if !strings.HasPrefix(back, deskOrigin+"/auth/native?") {
					t.Fatalf("the sign-in page leads to %q, want back", back)
				}
				v.get("/auth/signin?callbackUrl=" + url.QueryEscape(back))
				if got := v.signIn().Header().Get("Location"); got != back {
					t.Fatalf("the sign-in leads to %q, want %q", got, back)
				}

				to = v.allow(strings.TrimPrefix(back, deskOrigin))
				code := to.Query().Get("code")
				if to.Scheme != "com.example.app" || to.Path != "/callback" || to.Query().Get("state") != "st&te" || code == "" {
					t.Fatalf("the client gets %q", to)
				}
				browserToken := v.cookies[sessionCookie]
				if browserToken == "" || strings.Contains(to.String(), browserToken) {
					t.Errorf("the browser's token %q is in %q", browserToken, to)
				}

				w, body := d.redeem(code)
				token, _ := body["access_token"].(string)
				if w.Code != 200 || token == "" || token == browserToken || body["token_type"] != "Bearer" || body["expires_in"] != 2592000.0 ||
					w.Header().Get("Cache-Control") != "no-store" || len(w.Result().Cookies()) > 1 {
					t.Fatalf("native-token answers %d %v with %v\n%s", w.Code, body, w.Header(), d.log)
				}
				if got := d.bearer(token); !strings.Contains(got, `"email":"ada@example.com"`) {
					t.Errorf("the client's session is %s", got)
				}
				if got := v.get("/auth/session").Body.String(); !strings.Contains(got, `"email":"ada@example.com"`) {
					t.Errorf("the browser's session is %s", got)
				}

				// Its beginning is an act like any other: one signIn, of a session of
				// its own.
				ins := of(d.entries(), record.TypeSignIn)
				if len(ins) != 2 {
					t.Fatalf("%d entries say signIn, want 2: the browser's and the client's", len(ins))
				}
				first, second := payload[record.SignIn](t, ins[0], record.ClassIdentity), payload[record.SignIn](t, ins[1], record.ClassIdentity)
				if second.Session == "" || second.Session == first.Session || ins[1].Header.Method != gatebook.TypeNative {
					t.Errorf("the client's signIn is %+v by %q", second, ins[1].Header.Method)
				}
				d.leaks(token)
				d.leaks(code)
			})
		})
	}
}

// TestNativeLoopback lets a program listen at whatever port it got.
func TestNativeLoopback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := native(t, gatebook.StrategyDatabase)
		v := d.visitor()
		v.signIn()
		const uri = "http://127.0.0.1:49152/cb"
		to := v.allow(ask("redirect_uri", uri, "state", ""))
		if !strings.HasPrefix(to.String(), uri+"?code=") || to.Query().Has("state") {
			t.Fatalf("the client gets %q", to)
		}
		if w, body := d.redeem(to.Query().Get("code"), "redirect_uri", uri); w.Code != 200 {
			t.Errorf("native-token = %d %v", w.Code, body)
		}
	})
}

func TestNativeRequestRefused(t *testing.T) {
	for _, tt := range []struct {
		name    string
		changes []string
		want    string // the error the client is told; or empty, and nothing goes there
	}{
		{"no redirect_uri", []string{"redirect_uri", ""}, ""},
		{"another's redirect_uri", []string{"redirect_uri", "com.evil.app:/callback"}, ""},
		{"a longer redirect_uri", []string{"redirect_uri", appURI + "/x"}, ""},
		{"a script", []string{"redirect_uri", "javascript:alert(1)"}, ""},
		{"no challenge", []string{"code_challenge", ""}, "invalid_request"},
		{"short challenge", []string{"code_challenge", "abc"}, "invalid_request"},
		{"plain challenge", []string{"code_challenge_method", "plain"}, "invalid_request"},
		{"no method", []string{"code_challenge_method", ""}, "invalid_request"},
		{"token in a URL", []string{"response_type", "token"}, "unsupported_response_type"},
		{"long state", []string{"state", strings.Repeat("x", 513)}, "invalid_request"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := native(t, gatebook.StrategyDatabase)
				v := d.visitor()
				v.signIn()
				w := v.get(ask(tt.changes...))
				to, err := url.Parse(w.Header().Get("Location"))
				if err != nil {
					t.Fatal(err)
				}
				if tt.want == "" {
					if to.Path != "/auth/error" || of(d.entries(), record.TypeRedirectRejected) == nil {
						t.Errorf("leads to %q, want the error page and redirect.rejected", to)
					}
					return
				}
				if to.Scheme != "com.example.app" || to.Query().Get("error") != tt.want || to.Query().Has("code") {
					t.Errorf("leads to %q, want the client with error=%s", to, tt.want)
				}
			})
		})
	}
}

func TestNativeGrantRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := native(t, gatebook.StrategyDatabase)
		v := d.visitor()
		form := url.Values{"redirect_uri": {appURI}, "code_challenge": {challenge(verifier)}, "code_challenge_method": {"S256"}}
		w := v.post("/auth/native", form)
		if to := w.Header().Get("Location"); to != appURI+"?error=access_denied" {
			t.Errorf("POST native signed out leads to %q", to)
		}
		v.signIn()
		form.Del("csrfToken")
		w = v.send(d.auth, v.request("POST", "/auth/native", form))
		if to := w.Header().Get("Location"); !strings.Contains(to, "error=MissingCSRF") {
			t.Errorf("POST native without the CSRF token leads to %q", to)
		}
	})
}

func TestNativeCodeRefused(t *testing.T) {
	for _, tt := range []struct {
		name    string
		changes []string
		wait    time.Duration
		want    string
		reason  string
	}{
		{"garbage", []string{"code", "garbage"}, 0, "invalid_grant", record.ReasonTokenUnknown},
		{"session token for a code", []string{"code", "session"}, 0, "invalid_grant", record.ReasonTokenUnknown},
		{"expired", nil, time.Minute, "invalid_grant", record.ReasonTokenExpired},
		{"another verifier", []string{"code_verifier", strings.Repeat("x", 43)}, 0, "invalid_grant", record.ReasonPKCEFailed},
		{"challenge for the verifier", []string{"code_verifier", challenge(verifier)}, 0, "invalid_grant", record.ReasonPKCEFailed},
		{"another redirect_uri", []string{"redirect_uri", "http://127.0.0.1:1/cb"}, 0, "invalid_grant", record.ReasonInvalidRedirect},
		{"no verifier", []string{"code_verifier", ""}, 0, "invalid_request", ""},
		{"no code", []string{"code", ""}, 0, "invalid_request", ""},
		{"another grant", []string{"grant_type", "password"}, 0, "unsupported_grant_type", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := native(t, gatebook.StrategyJWT)
				v := d.visitor()
				v.signIn()
				code := v.allow(ask()).Query().Get("code")
				pause(tt.wait)
				if len(tt.changes) > 1 && tt.changes[1] == "session" {
					tt.changes[1] = v.cookies[sessionCookie]
				}
				w, body := d.redeem(code, tt.changes...)
				if w.Code != 400 || body["error"] != tt.want || body["access_token"] != nil {
					t.Errorf("native-token = %d %v, want 400 and %s", w.Code, body, tt.want)
				}
				failed := of(d.entries(), record.TypeSignInFailed)
				switch {
				case tt.reason == "" && failed != nil:
					t.Errorf("a request that is none is recorded")
				case tt.reason != "" && (len(failed) != 1 || failed[0].Header.Reason != tt.reason):
					t.Errorf("recorded: %v, want one signIn.failed with %s", failed, tt.reason)
				}
				if strings.Contains(tt.name, "verifier") && tt.reason != "" {
					if w, body := d.redeem(code); w.Code != 400 || body["error"] != "invalid_grant" {
						t.Errorf("after a wrong verifier the code gives %d %v", w.Code, body)
					}
				}
			})
		})
	}
}

// TestNativeOnce lets many redeem one code at once.
func TestNativeOnce(t *testing.T) {
	for _, strategy := range []string{gatebook.StrategyJWT, gatebook.StrategyDatabase} {
		t.Run(strategy, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := native(t, strategy)
				v := d.visitor()
				v.signIn()
				code := v.allow(ask()).Query().Get("code")
				var wg sync.WaitGroup
				codes := make([]int, 20)
				for i := range codes {
					wg.Go(func() {
						w, _ := d.redeem(code)
						codes[i] = w.Code
					})
				}
				wg.Wait()
				won := 0
				for _, c := range codes {
					if c == 200 {
						won++
					}
				}
				all := d.entries()
				if won != 1 || len(of(all, record.TypeSignIn)) != 2 || len(of(all, record.TypeReplayDetected)) != len(codes)-1 {
					t.Errorf("%d of %d got a session; recorded: %v", won, len(codes), types(all))
				}
			})
		})
	}
}

// TestNativeVeto lets the signIn and jwt callbacks and the store say no.
func TestNativeVeto(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := native(t, gatebook.StrategyJWT)
		v := d.visitor()
		v.signIn()
		code := v.allow(ask()).Query().Get("code")
		d.store.fault(func(op string, _ *gatebook.Act) error {
			if op == "Find" {
				return errors.New("the store is down")
			}
			return nil
		}, nil)
		if w, body := d.redeem(code); w.Code != 503 || body["error"] != "temporarily_unavailable" {
			t.Errorf("with the store down: %d %v", w.Code, body)
		}
		d.store.fault(nil, nil)
		if w, body := d.redeem(code); w.Code != 200 {
			t.Errorf("with the store back: %d %v", w.Code, body)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		refuse := false
		d := newDesk(t, func(_ *desk, c *gatebook.Config) {
			c.NativeRedirects = []string{appURI}
			c.Callbacks.SignIn = func(_ context.Context, s *gatebook.SignInAttempt) error {
				if refuse && s.Account.Type == gatebook.TypeNative {
					return gatebook.Deny("not-here")
				}
				return nil
			}
		})
		v := d.visitor()
		v.signIn()
		refuse = true
		if w, body := d.redeem(v.allow(ask()).Query().Get("code")); w.Code != 400 || body["error"] != "access_denied" {
			t.Errorf("refused by the signIn callback: %d %v", w.Code, body)
		}
		if failed := of(d.entries(), record.TypeSignInFailed); len(failed) != 1 || failed[0].Header.Reason != record.ReasonAccessDenied {
			t.Errorf("recorded: %v", failed)
		}
	})
}

// TestNativeClaims keeps what the jwt callback put into the browser's token.
func TestNativeClaims(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, func(_ *desk, c *gatebook.Config) {
			c.NativeRedirects = []string{appURI}
			c.Session.Strategy = gatebook.StrategyJWT
			c.Callbacks.JWT = func(_ context.Context, p *gatebook.JWTParams) (*gatebook.Claims, error) {
				if p.Account != nil && p.Account.Type == gatebook.TypeOIDC {
					_ = p.Token.Set("role", "editor")
				}
				return &p.Token, nil
			}
		})
		v := d.visitor()
		v.signIn()
		_, body := d.redeem(v.allow(ask()).Query().Get("code"))
		s, err := d.auth.Verify(t.Context(), body["access_token"].(string))
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Token.String("role"); got != "editor" {
			t.Errorf("role = %q, want the browser's", got)
		}
	})
}

func TestNativeOff(t *testing.T) {
	d := newDesk(t, nil)
	v := d.visitor()
	for _, r := range []struct{ method, path string }{{"GET", ask()}, {"POST", "/auth/native"}, {"POST", "/auth/native-token"}} {
		if w := v.send(d.auth, v.request(r.method, r.path, url.Values{})); w.Code != 400 {
			t.Errorf("%s %s without NativeRedirects = %d", r.method, r.path, w.Code)
		}
	}
}

func TestNativeConfig(t *testing.T) {
	for _, tt := range []struct {
		uris []string
		bare bool
		want string
	}{
		{[]string{appURI, "http://localhost/cb"}, false, "Config.NativeRedirects[1]"},
		{[]string{"myapp:/cb"}, false, "Config.NativeRedirects[0]"},
		{[]string{appURI}, true, "Config.NativeRedirects needs Config.Adapter"},
	} {
		d := newDesk(t, nil)
		cfg := d.cfg
		cfg.NativeRedirects = tt.uris
		if tt.bare {
			cfg.Adapter, cfg.Book, cfg.Providers = nil, d.auth.Book(), []gatebook.Provider{d.idp}
		}
		_, err := gatebook.New(cfg)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("New with %q = %v, want an error that names %s", tt.uris, err, tt.want)
		}
	}
}

// TestBearerSignOut ends the session of a program, and no other.
func TestBearerSignOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := native(t, gatebook.StrategyDatabase)
		v := d.visitor()
		v.signIn()
		_, body := d.redeem(v.allow(ask()).Query().Get("code"))
		token := body["access_token"].(string)
		app := d.visitor()
		app.header.Set("Authorization", "Bearer "+token)
		d.store.fault(func(string, *gatebook.Act) error { return errors.New("the store is down") }, nil)
		if w := app.send(d.auth, app.request("POST", "/auth/signout", nil)); w.Code != 503 {
			t.Errorf("POST signout with the store down = %d", w.Code)
		}
		d.store.fault(nil, nil)
		if w := app.send(d.auth, app.request("POST", "/auth/signout", nil)); w.Code != 204 {
			t.Errorf("POST signout with a Bearer header = %d %q", w.Code, w.Body)
		}
		if got := d.bearer(token); got != "null" {
			t.Errorf("the program's session is still %s", got)
		}
		if got := v.get("/auth/session").Body.String(); got == "null" {
			t.Errorf("the browser's session ended too")
		}
		if out := of(d.entries(), record.TypeSignOut); len(out) != 1 {
			t.Errorf("%d entries say signOut, want 1", len(out))
		}

		// With a cookie the header proves nothing.
		v.header.Set("Authorization", "Bearer "+token)
		w := v.send(d.auth, v.request("POST", "/auth/signout", nil))
		if to := w.Header().Get("Location"); !strings.Contains(to, "error=MissingCSRF") || !v.signedIn() {
			t.Errorf("POST signout with cookie and header leads to %q, signed in: %v", to, v.signedIn())
		}
	})
}

// TestNativeReplayEnds ends the session of a code that comes again, and no other.
func TestNativeReplayEnds(t *testing.T) {
	for _, strategy := range []string{gatebook.StrategyJWT, gatebook.StrategyDatabase} {
		t.Run(strategy, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDesk(t, func(_ *desk, c *gatebook.Config) {
					c.Session.Strategy, c.Session.Revocable = strategy, strategy == gatebook.StrategyJWT
					c.NativeRedirects = []string{appURI}
				})
				v := d.visitor()
				v.signIn()
				code := v.allow(ask()).Query().Get("code")
				_, body := d.redeem(code)
				token := body["access_token"].(string)
				user := payload[record.SignIn](t, of(d.entries(), record.TypeSignIn)[0], record.ClassIdentity).User.ID
				list, err := d.auth.Sessions(t.Context(), user)
				if err != nil || len(list) != 2 {
					t.Fatalf("Sessions = %v, %v; want the browser's and the client's", list, err)
				}
				if got := d.bearer(token); got == "null" {
					t.Fatal("the client has no session")
				}
				if w, body := d.redeem(code); w.Code != 400 || body["error"] != "invalid_grant" {
					t.Errorf("the code used twice: %d %v", w.Code, body)
				}
				if got := d.bearer(token); got != "null" {
					t.Errorf("the session of a code that was used twice goes on: %s", got)
				}
				if got := v.get("/auth/session").Body.String(); got == "null" {
					t.Error("the browser's session ended too")
				}
			})
		})
	}
}

// TestNativeCookies does not look at cookies that another page had sent along.
func TestNativeCookies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := native(t, gatebook.StrategyDatabase)
		attacker, victim := d.visitor(), d.visitor()
		victim.signIn()
		d.idp.prove("2", "eve@example.com", true)
		attacker.signIn()
		code := attacker.allow(ask()).Query().Get("code")
		f := url.Values{"code": {code}, "redirect_uri": {appURI}, "code_verifier": {verifier}}
		w := victim.send(d.auth, victim.request("POST", "/auth/native-token", f))
		if w.Code != 200 || len(w.Result().Cookies()) > 0 {
			t.Errorf("native-token with cookies = %d with %v", w.Code, w.Result().Cookies())
		}
		if got := victim.get("/auth/session").Body.String(); !strings.Contains(got, "ada@example.com") {
			t.Errorf("the visitor's session is %s", got)
		}
	})
}

// TestNativeCodeIsForNoScript: a script in a page of the site, or of a trusted
// origin, can ask for the JSON that names where to go. It must not read a code: it
// could redeem it, and carry off a session, which HttpOnly keeps from it.
func TestNativeCodeIsForNoScript(t *testing.T) {
	d := native(t, gatebook.StrategyDatabase)
	v := d.visitor()
	v.signIn()
	for _, json := range []string{"", "true"} {
		if json == "" {
			v.header.Set("X-Auth-Return-Redirect", "1")
		}
		w := v.post("/auth/native", url.Values{"redirect_uri": {appURI}, "code_challenge": {challenge(verifier)}, "code_challenge_method": {"S256"}, "json": {json}})
		if to := w.Header().Get("Location"); w.Code != 302 || !strings.HasPrefix(to, appURI+"?code=") || w.Body.Len() > 0 {
			t.Errorf("POST native for JSON (field %q) = %d to %q with %q", json, w.Code, to, w.Body)
		}
		v.header.Del("X-Auth-Return-Redirect")
	}
}

// TestNativeReplayAtOnce: whichever of the two that have a code comes first, and
// however close, the thief's session does not go on.
func TestNativeReplayAtOnce(t *testing.T) {
	for _, strategy := range []string{gatebook.StrategyJWT, gatebook.StrategyDatabase} {
		t.Run(strategy, func(t *testing.T) {
			d := newDesk(t, func(_ *desk, c *gatebook.Config) {
				c.Session.Strategy, c.Session.Revocable = strategy, strategy == gatebook.StrategyJWT
				c.NativeRedirects = []string{appURI}
			})
			v := d.visitor()
			v.signIn()
			code := v.allow(ask()).Query().Get("code")
			token := ""
			d.store.fault(func(op string, _ *gatebook.Act) error {
				if op == "Commit" { // the other is faster
					d.store.fault(nil, nil)
					_, body := d.redeem(code)
					token, _ = body["access_token"].(string)
				}
				return nil
			}, nil)
			w, body := d.redeem(code)
			if w.Code != 400 || body["error"] != "invalid_grant" || token == "" {
				t.Fatalf("the second: %d %v, the first has %q", w.Code, body, token)
			}
			if got := d.bearer(token); got != "null" {
				t.Errorf("the session of a code that was used twice goes on: %s", got)
			}
		})
	}
}

// TestNativeBesideRevocation: whoever holds a stolen session and redeems code after
// code has no session left when its owner ended all of them, however the two meet.
func TestNativeBesideRevocation(t *testing.T) {
	strategies(t, func(t *testing.T, strategy string) {
		t.Helper()
		for _, first := range []string{"the end is committed first", "the client is committed first"} {
			t.Run(first, func(t *testing.T) {
				d := newDesk(t, func(d *desk, c *gatebook.Config) {
					listing(strategy)(d, c)
					c.NativeRedirects = []string{appURI}
				})
				v := d.visitor()
				v.signIn()
				user, code := d.userOf(v), v.allow(ask()).Query().Get("code")
				var token any
				revoke := func() {
					if n, err := d.auth.RevokeSessions(t.Context(), user); n == 0 || err != nil {
						t.Errorf("RevokeSessions = %d, %v", n, err)
					}
				}
				redeem := func() {
					_, body := d.redeem(code)
					token = body["access_token"]
				}
				outer, inner := redeem, revoke
				if first == "the client is committed first" {
					outer, inner = revoke, redeem
				}
				d.store.fault(func(op string, _ *gatebook.Act) error {
					if op == "Commit" {
						d.store.fault(nil, nil)
						inner()
					}
					return nil
				}, nil)
				outer()
				if token, _ := token.(string); token != "" && d.bearer(token) != "null" {
					t.Error("the client's session goes on")
				}
				if left, err := d.auth.Sessions(t.Context(), user); len(left) > 0 || err != nil {
					t.Errorf("left are %+v, %v", left, err)
				}
			})
		}
	})
}

// TestNativeReplayOfNothing: a code that was used up without a session has none to
// end, and none is told of.
func TestNativeReplayOfNothing(t *testing.T) {
	strategies(t, func(t *testing.T, strategy string) {
		t.Helper()
		d := newDesk(t, func(d *desk, c *gatebook.Config) {
			listing(strategy)(d, c)
			c.NativeRedirects = []string{appURI}
		})
		v := d.visitor()
		v.signIn()
		code := v.allow(ask()).Query().Get("code")
		d.redeem(code, "code_verifier", strings.Repeat("x", 43))
		if w, body := d.redeem(code); w.Code != 400 {
			t.Errorf("the code after a wrong verifier: %d %v", w.Code, body)
		}
		all := d.entries()
		if of(all, record.TypeReplayDetected) == nil || of(all, record.TypeSessionRevoked) != nil {
			t.Errorf("recorded %v, want replay.detected and no session.revoked", types(all))
		}
	})
}
