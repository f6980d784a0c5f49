// Package spa_test runs the front end of docs/single-page-and-native.md in
// Chromium, on another origin than the handler.
package spa_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/adapter/memory"
	"github.com/gatebook/gatebook/gatebooktest"
	"github.com/gatebook/gatebook/provider/credentials"
	"github.com/gatebook/gatebook/test/browser"
)

// The hosts of the tests all lead to this machine. To browsers the last label of
// a name under localhost is no site of its own, so that the first two are one
// site, and the others are two.
const (
	apiHost      = "api.site.localhost"
	appHost      = "app.site.localhost"
	strangerHost = "app.elsewhere.localhost"
)

// client returns the guide's script, for a handler at origin.
func client(t *testing.T, origin string) string {
	t.Helper()
	b, err := os.ReadFile("../../docs/single-page-and-native.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(b), "\n```js\n")
	script, _, ended := strings.Cut(rest, "\n```\n")
	if !ok || !ended || strings.Count(script, "https://api.example.com") != 1 {
		t.Fatal("the guide has no client")
	}
	return strings.Replace(script, "https://api.example.com", origin, 1)
}

// stage is a handler, front ends on other origins, and a browser.
type stage struct {
	*browser.Browser
	t         *testing.T
	api       string // origins
	app       string
	stranger  string
	front     *http.ServeMux
	cfg       gatebook.Config
	handler   atomic.Pointer[gatebook.Auth]
	mu        sync.Mutex
	listening []string // types of events
}

func serve(t *testing.T, host string, h http.Handler) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	_, port, err := net.SplitHostPort(s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return "http://" + net.JoinHostPort(host, port)
}

func newStage(t *testing.T, change func(*stage, *gatebook.Config), options ...chromedp.ExecAllocatorOption) *stage {
	t.Helper()
	s := &stage{Browser: browser.New(t, options...), t: t}
	s.api = serve(t, apiHost, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.handler.Load().ServeHTTP(w, r) }))
	front := http.NewServeMux()
	s.front = front
	front.HandleFunc("GET /auth.js", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/javascript")
		io.WriteString(w, client(t, s.api))
	})
	front.HandleFunc("GET /", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		io.WriteString(w, `<!doctype html><title>front end</title><script type="module">import * as auth from "/auth.js"; globalThis.auth = auth; document.body.id = "ready"</script><body>`)
	})
	s.app, s.stranger = serve(t, appHost, front), serve(t, strangerHost, front)

	passwords, err := credentials.New(credentials.Config{Authorize: func(_ context.Context, typed map[string]string, _ *http.Request) (*gatebook.User, error) {
		if typed["password"] != "right" {
			return nil, gatebook.ErrBadCredentials
		}
		return &gatebook.User{ID: "1", Name: "Grace Hopper", Email: typed["email"]}, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	cfg := gatebook.Config{
		Secrets: []gatebook.Secret{"correct horse battery staple, 32 characters"}, URL: s.api, TrustedOrigins: []string{s.app},
		Adapter: memory.New(), Session: gatebook.SessionConfig{Strategy: gatebook.StrategyJWT},
		Providers: []gatebook.Provider{gatebooktest.NewOpenID(t).Provider("acme"), passwords},
		Callbacks: gatebook.Callbacks{
			JWT: func(_ context.Context, p *gatebook.JWTParams) (*gatebook.Claims, error) {
				if p.Trigger == "update" {
					return &p.Token, p.Token.Set("name", p.Update)
				}
				return &p.Token, nil
			},
		},
		Events: gatebook.Events{Any: func(_ context.Context, e gatebook.Event) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.listening = append(s.listening, e.Meta().Type)
			return nil
		}},
	}
	if change != nil {
		change(s, &cfg)
	}
	s.cfg = cfg
	s.again(func(*gatebook.Config) {})
	return s
}

// again starts the handler with another configuration.
func (s *stage) again(change func(*gatebook.Config)) {
	s.t.Helper()
	change(&s.cfg)
	auth, err := gatebook.New(s.cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	s.handler.Store(auth)
}

// visit opens a page of a front end and waits for its script.
func (s *stage) visit(origin string) {
	s.t.Helper()
	s.Do(s.t, chromedp.Navigate(origin+"/page?x=1"), chromedp.WaitReady(chromedp.CSS("#ready")))
}

// js evaluates the body of an async function in the page and returns its result.
func (s *stage) js(body string) string {
	s.t.Helper()
	type result struct {
		Value any
		Error string
	}
	got := browser.Run(s.t, s.Browser, chromedp.Evaluate[result](`(async () => {
		try { return {Value: await (async () => { `+body+` })() ?? null} } catch (e) { return {Error: String(e)} }
	})()`, func(p *runtime.EvaluateParams) { p.AwaitPromise, p.ReturnByValue = new(true), new(true) }))
	if got.Error != "" {
		return got.Error
	}
	b, err := json.Marshal(got.Value)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(b)
}

// leave evaluates what sends the tab elsewhere, and waits until it is back at a
// page of the front end.
func (s *stage) leave(body string) {
	s.t.Helper()
	s.js(`document.body.id = "left"; ` + body)
	s.Do(s.t, chromedp.WaitReady(chromedp.CSS("#ready")))
}

func (s *stage) user() string {
	s.t.Helper()
	return s.js(`return (await auth.session())?.user?.name`)
}

func (s *stage) heard(typ string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.listening {
		if t == typ {
			n++
		}
	}
	return n
}

// TestFrontEnd: a front end on another origin of the same site signs people in
// at a provider and with a password, reads and updates the session, and signs
// out. Nothing but its origin is configured.
func TestFrontEnd(t *testing.T) {
	s := newStage(t, nil)
	s.visit(s.app)
	if got := s.user(); got != "null" {
		t.Fatalf("before: %s", got)
	}
	s.leave(`await auth.signIn("acme")`)
	if got := s.js(`return location.href`); got != fmt.Sprintf("%q", s.app+"/page?x=1") {
		t.Errorf("the visitor comes back to %s", got)
	}
	if got := s.user(); got != `"Ada Lovelace"` {
		t.Fatalf("signed in: %s", got)
	}
	if got := s.js(`return (await auth.update("Ada Byron")).user.name`); got != `"Ada Byron"` {
		t.Errorf("updated: %s", got)
	}
	if got := s.user(); got != `"Ada Byron"` {
		t.Errorf("after the update: %s", got)
	}
	if got := s.js(`return (await auth.signOut()).url`); got != fmt.Sprintf("%q", s.app+"/page?x=1") {
		t.Errorf("signing out leads to %s", got)
	}
	if got := s.user(); got != "null" {
		t.Errorf("after signing out: %s", got)
	}
	if got := s.js(`return auth.signInWithPassword({email: "grace@example.com", password: "wrong"})`); got != `"CredentialsSignin"` {
		t.Errorf("a wrong password: %s", got)
	}
	if got := s.js(`return auth.signInWithPassword({email: "grace@example.com", password: "right"})`); got != "null" {
		t.Errorf("the right password: %s", got)
	}
	if got := s.user(); got != `"Grace Hopper"` {
		t.Errorf("signed in: %s", got)
	}
	if s.heard("signIn") != 2 || s.heard("signOut") != 1 || s.heard("csrf.rejected") != 0 {
		t.Errorf("events %v", s.listening)
	}
	// Scripts see no cookie, on either side.
	if got := s.js(`return document.cookie`); got != `""` {
		t.Errorf("cookies of the front end: %s", got)
	}
	s.Do(t, chromedp.Navigate(s.api+"/auth/signin"))
	if got := s.js(`return document.cookie`); got != `""` {
		t.Errorf("cookies that scripts see: %s", got)
	}
}

// TestStranger: a front end that is not listed reads nothing and changes
// nothing, in the browser of somebody who is signed in, even when cookies are
// sent along and the token has got out.
func TestStranger(t *testing.T) {
	s := newStage(t, func(_ *stage, c *gatebook.Config) { everywhere(c) }, keepsAll(t))
	s.visit(s.app)
	s.js(`return auth.signInWithPassword({email: "grace@example.com", password: "right"})`)
	token := s.js(`return (await (await fetch("` + s.api + `/auth/csrf", {credentials: "include"})).json()).csrfToken`)
	s.visit(s.stranger)
	for _, call := range []string{"session()", "signOut()", `update("Mallory")`, `signIn("acme")`} {
		if got := s.js(`return auth.` + call); !strings.Contains(got, "Failed to fetch") {
			t.Errorf("%s by a stranger: %s", call, got)
		}
	}
	for path, body := range map[string]string{"/auth/signout": `new URLSearchParams({csrfToken: ` + token + `})`,
		"/auth/session": `new URLSearchParams({csrfToken: ` + token + `, data: "Mallory"})`} {
		s.js(`await fetch("` + s.api + path + `", {method: "POST", credentials: "include", mode: "no-cors", body: ` + body + `})`)
	}
	if s.heard("csrf.rejected") == 0 {
		t.Errorf("events %v", s.listening)
	}
	// A form sends the cookies and needs no leave of CORS.
	s.Do(t, chromedp.Navigate(s.stranger+"/page"), chromedp.WaitReady(chromedp.CSS("#ready")))
	s.js(`document.body.innerHTML = '<form method=post action="` + s.api + `/auth/signout"><input name=csrfToken></form>';
		document.forms[0].csrfToken.value = ` + token + `; document.forms[0].submit()`)
	s.Do(t, chromedp.WaitReady(chromedp.CSS(".error, [role=alert]")))
	s.visit(s.app)
	if got := s.user(); got != `"Grace Hopper"` {
		t.Errorf("after the stranger's visit: %s", got)
	}
	if s.heard("signOut") != 0 {
		t.Errorf("events %v", s.listening)
	}
}

// keepsAll is a browser that keeps cookies of other sites. Debian's Chromium does
// so for nobody who has not asked for it.
func keepsAll(t *testing.T) chromedp.ExecAllocatorOption {
	t.Helper()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "Default"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "Default", "Preferences"), []byte(`{"profile":{"cookie_controls_mode":0}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	return chromedp.UserDataDir(dir)
}

// everywhere lets the cookies go along from other sites.
func everywhere(c *gatebook.Config) {
	for _, cookie := range []*gatebook.CookieConfig{&c.Cookies.SessionToken, &c.Cookies.CallbackURL, &c.Cookies.CSRFToken,
		&c.Cookies.State, &c.Cookies.PKCECodeVerifier, &c.Cookies.Nonce, &c.Cookies.WebAuthnChallenge} {
		cookie.SameSite = "None"
	}
}

// TestOtherSite: what the guide says of a front end on another site. With the
// usual cookies nobody is signed in there; with SameSite=None somebody is, where
// the browser keeps third-party cookies as Chromium does.
func TestOtherSite(t *testing.T) {
	for name, change := range map[string]func(*gatebook.Config){"Lax": func(*gatebook.Config) {}, "None": everywhere} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, func(s *stage, c *gatebook.Config) { c.TrustedOrigins = []string{s.stranger}; change(c) }, keepsAll(t))
			s.visit(s.stranger)
			got := s.js(`return auth.signInWithPassword({email: "grace@example.com", password: "right"})`)
			user := s.user()
			if name == "Lax" && (got != `"MissingCSRF"` || user != "null") || name == "None" && (got != "null" || user != `"Grace Hopper"`) {
				t.Errorf("signing in gives %s and %s", got, user)
			}
			if name == "Lax" {
				return
			}
			s.js(`return auth.signOut()`)
			s.leave(`await auth.signIn("acme")`)
			if got := s.user(); got != `"Ada Lovelace"` {
				t.Errorf("signing in at a provider gives %s", got)
			}
		})
	}
}

// TestCookieDomain: the server of the front end's pages sees the session too, of
// a cookie that an older configuration left behind nothing stays, and another
// site sees none.
func TestCookieDomain(t *testing.T) {
	var auth *gatebook.Auth
	whoami := func(w http.ResponseWriter, r *http.Request) {
		who := "nobody"
		if c, err := r.Cookie("authjs.session-token"); err == nil {
			if s, err := auth.Verify(r.Context(), c.Value); err == nil {
				who = s.User.Name
			}
		}
		fmt.Fprintf(w, "%d %s", len(r.CookiesNamed("authjs.session-token")), who)
	}
	s := newStage(t, func(s *stage, c *gatebook.Config) {
		var err error
		if auth, err = gatebook.New(*c); err != nil { // as another program with the secret
			t.Fatal(err)
		}
		s.front.HandleFunc("GET /whoami", whoami)
	})
	s.visit(s.app)
	s.js(`return auth.signInWithPassword({email: "grace@example.com", password: "right"})`)
	const ask = `return (await fetch("/whoami")).text()`
	if got := s.js(ask); got != `"0 nobody"` {
		t.Fatalf("without a domain: %s", got)
	}
	s.again(func(c *gatebook.Config) { c.CookieDomain = "site.localhost" })
	if got := s.user(); got != `"Grace Hopper"` {
		t.Errorf("the session from before: %s", got)
	}
	if got := s.js(ask); got != `"1 Grace Hopper"` {
		t.Errorf("at the front end: %s", got)
	}
	s.visit(s.stranger)
	if got := s.js(ask); got != `"0 nobody"` {
		t.Errorf("at another site: %s", got)
	}
	s.visit(s.app)
	s.js(`return auth.signOut()`)
	if got := s.js(ask); got != `"0 nobody"` {
		t.Errorf("at the front end, after signing out: %s", got)
	}
	if got := s.user(); got != "null" {
		t.Errorf("after signing out: %s", got)
	}
}
