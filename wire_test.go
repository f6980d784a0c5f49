package gatebook_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatebook/gatebook"
)

// logLines is a slog.Handler that keeps every line as one string.
type logLines struct {
	mu    *sync.Mutex
	lines *[]string
	attrs string
}

func newLogLines() *logLines { return &logLines{mu: new(sync.Mutex), lines: new([]string)} }

func (l *logLines) Enabled(context.Context, slog.Level) bool { return true }
func (l *logLines) WithGroup(string) slog.Handler            { return l }

func (l *logLines) WithAttrs(attrs []slog.Attr) slog.Handler {
	c := *l
	for _, a := range attrs {
		c.attrs += " " + a.String()
	}
	return &c
}

func (l *logLines) Handle(_ context.Context, r slog.Record) error {
	line := r.Level.String() + " " + r.Message + l.attrs
	r.Attrs(func(a slog.Attr) bool { line += " " + a.String(); return true })
	l.mu.Lock()
	defer l.mu.Unlock()
	*l.lines = append(*l.lines, line)
	return nil
}

func (l *logLines) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(*l.lines)
}

func (l *logLines) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	*l.lines = nil
}

// spy is an adapter that notes what is written through it, and fails when told to.
type spy struct {
	gatebook.Adapter

	mu     sync.Mutex
	wrote  []gatebook.Write
	before func(*gatebook.Act) error // what Commit does first
	find   func(gatebook.Query) error
}

func (s *spy) Commit(ctx context.Context, act *gatebook.Act) error {
	s.mu.Lock()
	before := s.before
	s.mu.Unlock()
	if before != nil {
		if err := before(act); err != nil {
			return err
		}
	}
	if act.InTx != nil { // the memory adapter has no transaction to show
		if err := act.InTx(ctx, nil); err != nil {
			return err
		}
		act.InTx = nil
	}
	if err := s.Adapter.Commit(ctx, act); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wrote = append(s.wrote, act.Writes...)
	return nil
}

func (s *spy) Find(ctx context.Context, q gatebook.Query) (*gatebook.Found, error) {
	s.mu.Lock()
	find := s.find
	s.mu.Unlock()
	if find != nil {
		if err := find(q); err != nil {
			return nil, err
		}
	}
	return s.Adapter.Find(ctx, q)
}

func (s *spy) onCommit(fn func(*gatebook.Act) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before = fn
}

func (s *spy) onFind(fn func(gatebook.Query) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.find = fn
}

// writes returns the types of the writes that were committed, in order.
func (s *spy) writes() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, w := range s.wrote {
		out = append(out, reflect.TypeOf(w).Name())
	}
	return out
}

func (s *spy) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wrote = nil
}

// wire is a site whose writes and log can be looked at.
type wire struct {
	*site
	spy   *spy
	lines *logLines
}

func newWire(t *testing.T, change func(*site, *gatebook.Config)) *wire {
	t.Helper()
	w := &wire{lines: newLogLines()}
	w.site = newSite(t, func(s *site, c *gatebook.Config) {
		w.spy = &spy{Adapter: s.store}
		s.adapter, c.Adapter, c.Logger = w.spy, w.spy, slog.New(w.lines)
		if change != nil {
			change(s, c)
		}
	})
	return w
}

// quiet forgets what was heard, logged and written so far.
func (w *wire) quiet() {
	w.heard.reset()
	w.lines.reset()
	w.spy.reset()
}

// request is one request past any browser: exactly these headers.
type request struct {
	method, path string
	body         string
	header       []string // "Name: value"
}

const formType = "Content-Type: application/x-www-form-urlencoded"

// serve hands r to the handler as a server does, without a router in between.
func (s *site) serve(r request) *answer {
	s.t.Helper()
	if r.method == "" {
		r.method = "GET"
	}
	req := httptest.NewRequest(r.method, "/", strings.NewReader(r.body))
	u, err := url.Parse(s.server.URL + r.path)
	if err != nil {
		s.t.Fatal(err)
	}
	req.URL, req.Host, req.RequestURI = u, u.Host, r.path
	for _, h := range r.header {
		name, value, _ := strings.Cut(h, ": ")
		switch name {
		case "Host":
			req.Host = value
			continue
		case "Remote":
			req.RemoteAddr = value
			continue
		}
		req.Header.Add(name, value)
	}
	rec := httptest.NewRecorder()
	s.auth.ServeHTTP(rec, req)
	return &answer{rec.Result(), rec.Body.String()}
}

// csrfPair returns a token and its cookie, made as another server with the same
// secret makes them.
func csrfPair(token string) (string, string) {
	token = strings.Repeat("0", 64-len(token)) + token
	sum := sha256.Sum256([]byte(token + secret))
	return token, "authjs.csrf-token=" + token + "%7C" + hex.EncodeToString(sum[:])
}

// cookieNames returns the names of the cookies an answer sets, those it clears
// with a minus.
func cookieNames(a *answer) []string {
	var out []string
	for _, c := range a.Header.Values("Set-Cookie") {
		name, rest, _ := strings.Cut(c, "=")
		if strings.HasPrefix(rest, "; Max-Age=0") {
			name = "-" + name
		}
		out = append(out, name)
	}
	return out
}

var (
	csrfCookieForm = regexp.MustCompile(`^authjs\.csrf-token=[0-9a-f]{64}%7C[0-9a-f]{64}; Path=/; HttpOnly; SameSite=Lax$`)
	csrfBodyForm   = regexp.MustCompile(`^\{"csrfToken":"[0-9a-f]{64}"\}$`)
)

var private = map[string]string{"Content-Type": "application/json", "Cache-Control": "private, no-cache, no-store", "Expires": "0", "Pragma": "no-cache"}

func checkHeaders(t *testing.T, a *answer, want map[string]string) {
	t.Helper()
	for _, name := range []string{"Content-Type", "Cache-Control", "Expires", "Pragma", "Location"} {
		if got := a.Header.Get(name); got != want[name] {
			t.Errorf("%s = %q, want %q", name, got, want[name])
		}
	}
}

// TestCSRFRoute is scenarios 1 to 4.
func TestCSRFRoute(t *testing.T) {
	s := newWire(t, nil)
	a := s.serve(request{path: "/auth/csrf"})
	checkHeaders(t, a, private)
	if a.StatusCode != 200 || !csrfBodyForm.MatchString(a.body) {
		t.Errorf("GET csrf = %d %s", a.StatusCode, a.body)
	}
	set := a.Header.Values("Set-Cookie")
	if len(set) != 2 || !csrfCookieForm.MatchString(set[0]) ||
		set[1] != "authjs.callback-url="+url.QueryEscape(s.server.URL)+"; Path=/; HttpOnly; SameSite=Lax" {
		t.Errorf("Set-Cookie = %q", set)
	}

	token, cookie := csrfPair("abc")
	a = s.serve(request{path: "/auth/csrf", header: []string{"Cookie: " + cookie + "; authjs.callback-url=" + s.server.URL}})
	if a.body != `{"csrfToken":"`+token+`"}` || len(a.Header.Values("Set-Cookie")) != 0 {
		t.Errorf("with good cookies: %s, cookies %q", a.body, a.Header.Values("Set-Cookie"))
	}

	for _, bad := range []string{
		strings.Replace(cookie, "%7C", "%7C0", 1),
		strings.TrimSuffix(cookie, cookie[len(cookie)-1:]),
		"authjs.csrf-token=" + token,
		"authjs.csrf-token=" + token + "%7C" + token,
		"authjs.csrf-token=%7C",
		"authjs.csrf-token=" + strings.Repeat("a|", 30000),
		"__Host-" + cookie, // the name of secure mode, on http
	} {
		a = s.serve(request{path: "/auth/csrf", header: []string{"Cookie: " + bad}})
		if strings.Contains(a.body, token) || !slices.Contains(cookieNames(a), "authjs.csrf-token") {
			t.Errorf("cookie %.80s…: %s, cookies %q", bad, a.body, cookieNames(a))
		}
	}
}

// TestProvidersRoute is scenario 5.
func TestProvidersRoute(t *testing.T) {
	s := newWire(t, nil)
	a := s.serve(request{path: "/auth/providers", header: []string{"Cookie: authjs.csrf-token=bad; authjs.callback-url=https://evil.example"}})
	want := `{"idp":{"id":"idp","name":"IDP","type":"oidc","signinUrl":"ORIGIN/auth/signin/idp","callbackUrl":"ORIGIN/auth/callback/idp"},` +
		`"second":{"id":"second","name":"SECOND","type":"oidc","signinUrl":"ORIGIN/auth/signin/second","callbackUrl":"ORIGIN/auth/callback/second"},` +
		`"email":{"id":"email","name":"Email","type":"email","signinUrl":"ORIGIN/auth/signin/email","callbackUrl":"ORIGIN/auth/callback/email"},` +
		`"credentials":{"id":"credentials","name":"Credentials","type":"credentials","signinUrl":"ORIGIN/auth/signin/credentials","callbackUrl":"ORIGIN/auth/callback/credentials"}}`
	if got := strings.ReplaceAll(a.body, s.server.URL, "ORIGIN"); got != want {
		t.Errorf("body (-want +got):\n%s", cmp.Diff(want, got))
	}
	checkHeaders(t, a, map[string]string{"Content-Type": "application/json"})
	if len(a.Header) != 1 {
		t.Errorf("headers = %v, want Content-Type only", a.Header)
	}
}

// TestSessionRouteSignedOut is scenario 6 and 14.
func TestSessionRouteSignedOut(t *testing.T) {
	strategies(t, func(t *testing.T, strategy string) {
		t.Helper()
		s := newWire(t, with(strategy))
		a := s.serve(request{path: "/auth/session"})
		checkHeaders(t, a, private)
		if a.StatusCode != 200 || a.body != "null" {
			t.Errorf("GET session = %d %s", a.StatusCode, a.body)
		}
		token, cookie := csrfPair("1")
		a = s.serve(request{"POST", "/auth/session", `{"csrfToken":"` + token + `","data":{"a":1}}`,
			[]string{"Content-Type: application/json", "Cookie: " + cookie}})
		checkHeaders(t, a, map[string]string{"Content-Type": "application/json"})
		if a.StatusCode != 200 || a.body != "null" {
			t.Errorf("POST session = %d %s", a.StatusCode, a.body)
		}
		for _, xr := range [][]string{nil, {"X-Auth-Return-Redirect: 1"}} {
			s.quiet()
			a = s.serve(request{"POST", "/auth/session", `{"data":{}}`, append([]string{"Content-Type: application/json", "Cookie: " + cookie}, xr...)})
			checkHeaders(t, a, map[string]string{"Content-Type": "application/json"})
			if a.StatusCode != 400 || a.body != "null" {
				t.Errorf("POST session without token = %d %s", a.StatusCode, a.body)
			}
			if n := len(s.lines.all()); n != 1 {
				t.Errorf("%d log lines, want 1: %q", n, s.lines.all())
			}
		}
	})
}

// TestMethods is scenario 7: HEAD and OPTIONS are answered as HTTP says.
func TestMethods(t *testing.T) {
	s := newWire(t, nil)
	get := s.serve(request{path: "/auth/session"})
	head := s.serve(request{method: "HEAD", path: "/auth/session"})
	if head.StatusCode != 200 || head.Header.Get("Content-Type") != get.Header.Get("Content-Type") {
		t.Errorf("HEAD = %d, %v", head.StatusCode, head.Header)
	}
	const allow = "GET, HEAD, OPTIONS, POST"
	if a := s.serve(request{method: "OPTIONS", path: "/auth/session"}); a.StatusCode != 204 || a.Header.Get("Allow") != allow || a.body != "" {
		t.Errorf("OPTIONS = %d, Allow %q, body %q", a.StatusCode, a.Header.Get("Allow"), a.body)
	}
	for _, m := range []string{"PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "FOO", "get"} {
		a := s.serve(request{method: m, path: "/auth/session"})
		if a.StatusCode != 405 || a.Header.Get("Allow") != allow || len(cookieNames(a)) > 0 {
			t.Errorf("%s = %d, Allow %q, cookies %q", m, a.StatusCode, a.Header.Get("Allow"), cookieNames(a))
		}
	}
}

// TestRoutes is scenarios 8 to 12, with the facts of section 1.3.
func TestRoutes(t *testing.T) {
	s := newWire(t, nil)
	token, cookie := csrfPair("7")
	configuration := s.server.URL + "/auth/error?error=Configuration"
	tests := []struct {
		method, path string
		status       int
		location     string
	}{
		{"GET", "/auth", 400, ""},
		{"GET", "/auth/", 400, ""},
		{"GET", "/auth///", 400, ""},
		{"GET", "/auth/nope", 400, ""},
		{"GET", "/auth/CSRF", 400, ""},
		{"GET", "/auth/csrf/x", 400, ""},
		{"GET", "/auth/session/undefined", 400, ""},
		{"GET", "/auth/callback/a/b", 400, ""},
		{"GET", "/auth/webauthn-options/x/y", 400, ""},
		{"GET", "/authcsrf", 400, ""},
		{"GET", "/auuth/signin", 400, ""},
		{"GET", "/api/auth/signin", 400, ""},
		{"GET", "/auth/auth/signin/idp", 400, ""},
		{"GET", "/auth/../auth/csrf", 400, ""},
		{"GET", "/auth/%63srf", 400, ""},
		{"GET", "//auth/csrf", 400, ""},
		{"GET", "/auth//csrf///", 200, ""},
		{"GET", "/auth/signin/", 200, ""},
		{"GET", "/auth/signin/undefined", 200, ""},
		{"GET", "/auth/signin/idp", 302, configuration},
		{"GET", "/auth/signin/nobody", 302, configuration},
		{"GET", "/auth/signin///idp///", 302, configuration},
		{"GET", "/auth/callback", 302, configuration},
		{"GET", "/auth/webauthn-options", 302, configuration},
		{"GET", "/auth/webauthn-options/idp", 302, configuration},
		{"GET", "/auth/callback/nobody", 302, configuration},
		{"GET", "/auth/callback/%69dp", 302, configuration},
		{"GET", "/auth/callback/IDP", 302, configuration},
		{"GET", "/auth/callback/credentials", 302, configuration},
		{"HEAD", "/auth/callback/credentials", 302, configuration},
		{"HEAD", "/auth/callback/idp", 200, ""},
		{"HEAD", "/auth/callback/email", 200, ""},
		{"POST", "/auth/csrf", 302, configuration},
		{"POST", "/auth/providers", 302, configuration},
		{"POST", "/auth/error", 302, configuration},
		{"POST", "/auth/verify-request", 302, configuration},
		{"POST", "/auth/callback", 302, configuration},
		{"POST", "/auth/callback/nobody", 302, configuration},
		{"POST", "/auth/signin/nobody", 302, configuration},
		{"POST", "/auth/signin", 302, s.server.URL + "/auth/signin"},
		{"POST", "/auth/signin/undefined", 302, s.server.URL + "/auth/signin"},
		{"POST", "/auth/signin/credentials", 302, s.server.URL + "/auth/signin"},
	}
	for _, tt := range tests {
		t.Run(tt.method+" "+tt.path, func(t *testing.T) {
			r := request{method: tt.method, path: tt.path, header: []string{"Cookie: " + cookie}}
			if tt.method == "POST" {
				r.body, r.header = "csrfToken="+token, append(r.header, formType)
			}
			a := s.serve(r)
			if a.StatusCode != tt.status || a.Header.Get("Location") != tt.location {
				t.Errorf("= %d to %q, want %d to %q", a.StatusCode, a.Header.Get("Location"), tt.status, tt.location)
			}
			if tt.status == 400 && (a.body != `"Bad request."` || a.Header.Get("Content-Type") != "application/json" || len(cookieNames(a)) > 0) {
				t.Errorf("body %s, headers %v", a.body, a.Header)
			}
		})
	}
	s.check() // none of it is an event
}

// TestMissingCSRF is scenario 13 and the second half of 15.
func TestMissingCSRF(t *testing.T) {
	s := newWire(t, nil)
	to := s.server.URL + "/auth/signin?error=MissingCSRF"
	token, cookie := csrfPair("7")
	for _, path := range []string{"/auth/signin", "/auth/signin/idp", "/auth/signin/email", "/auth/signin/credentials", "/auth/signout", "/auth/callback/credentials"} {
		for name, r := range map[string]request{
			"nothing":        {header: []string{formType}},
			"no cookie":      {body: "csrfToken=" + token, header: []string{formType}},
			"no token":       {header: []string{formType, "Cookie: " + cookie}},
			"other token":    {body: "csrfToken=" + strings.Repeat("0", 64), header: []string{formType, "Cookie: " + cookie}},
			"last one wins":  {body: "csrfToken=" + token + "&csrfToken=x", header: []string{formType, "Cookie: " + cookie}},
			"in the query":   {path: "?csrfToken=" + token, header: []string{formType, "Cookie: " + cookie}},
			"text":           {body: "csrfToken=" + token, header: []string{"Content-Type: text/plain", "Cookie: " + cookie}},
			"no type":        {body: "csrfToken=" + token, header: []string{"Cookie: " + cookie}},
			"text with json": {body: `{"csrfToken":"` + token + `"}`, header: []string{"Content-Type: text/plain; application/json", "Cookie: " + cookie}},
			"multipart":      {body: "csrfToken=" + token, header: []string{"Content-Type: multipart/form-data; boundary=x", "Cookie: " + cookie}},
			"number":         {body: `{"csrfToken":1}`, header: []string{"Content-Type: application/json", "Cookie: " + cookie}},
		} {
			r.method, r.path = "POST", path+r.path
			a := s.serve(r)
			if a.StatusCode != 302 || a.Header.Get("Location") != to || a.body != "" {
				t.Errorf("%s, %s: %d to %q", path, name, a.StatusCode, a.Header.Get("Location"))
			}
			r.header = append(slices.Clone(r.header), "X-Auth-Return-Redirect: 1")
			a = s.serve(r)
			if a.StatusCode != 200 || a.Header.Get("Location") != "" || a.body != `{"url":"`+to+`"}` || a.Header.Get("Content-Type") != "application/json" {
				t.Errorf("%s, %s, as JSON: %d to %q: %s", path, name, a.StatusCode, a.Header.Get("Location"), a.body)
			}
		}
	}
	if got := s.spy.writes(); len(got) > 0 {
		t.Errorf("written: %v", got)
	}
	for why, body := range map[string]string{"missing": "", "mismatch": "csrfToken=x"} {
		fresh := newWire(t, nil)
		fresh.serve(request{"POST", "/auth/signout", body, []string{formType, "Cookie: " + cookie}})
		fresh.check("csrf.rejected")
		if d := fresh.heard.all()[0].(*gatebook.DefenceEvent); d.Why != why || d.Check != "csrf" || d.Reason != "csrf" {
			t.Errorf("csrf.rejected says %q of %q", d.Why, d.Check)
		}
		if n := len(fresh.lines.all()); n != 1 {
			t.Errorf("log: %q", fresh.lines.all())
		}
	}
	for _, r := range []request{
		{body: "csrfToken=" + token, header: []string{"Content-Type: application/x-www-form-urlencoded; charset=utf-8"}},
		{body: `{"csrfToken":"` + token + `"}`, header: []string{"Content-Type: application/json; charset=utf-8"}},
	} {
		r.method, r.path, r.header = "POST", "/auth/signout", append(r.header, "Cookie: "+cookie)
		if a := s.serve(r); a.Header.Get("Location") != s.server.URL {
			t.Errorf("%v: to %q, want home", r, a.Header.Get("Location"))
		}
	}
}

// TestErrorRoute is scenarios 18 and 19.
func TestErrorRoute(t *testing.T) {
	s := newWire(t, nil)
	for _, tt := range []struct {
		query  string
		status int
		text   string
	}{
		{"", 200, "<h1>Error</h1>"},
		{"?error=Configuration", 500, "Server error"},
		{"?error=AccessDenied", 403, "You do not have permission to sign in."},
		{"?error=Verification", 403, "no longer valid"},
		{"?error=Foo%3Cscript%3E", 200, "<h1>Error</h1>"},
		{"?error=toString", 200, "<h1>Error</h1>"},
		{"?error=Foo&error=AccessDenied", 403, "permission"},
	} {
		a := s.serve(request{path: "/auth/error" + tt.query})
		if a.StatusCode != tt.status || !strings.Contains(a.body, tt.text) || strings.Contains(a.body, "script>") {
			t.Errorf("error%s = %d, want %d and %q", tt.query, a.StatusCode, tt.status, tt.text)
		}
		if got := a.Header.Get("Content-Type"); got != "text/html; charset=utf-8" {
			t.Errorf("Content-Type = %q", got)
		}
		for name, want := range map[string]string{"X-Frame-Options": "DENY", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin", "Cache-Control": "private, no-cache, no-store"} {
			if got := a.Header.Get(name); got != want {
				t.Errorf("%s = %q, want %q", name, got, want)
			}
		}
		if !strings.Contains(a.Header.Get("Content-Security-Policy"), "default-src 'none'") {
			t.Errorf("Content-Security-Policy = %q", a.Header.Get("Content-Security-Policy"))
		}
	}

	s = newWire(t, func(_ *site, c *gatebook.Config) { c.Pages.Error = "/e?y=1" })
	for path, want := range map[string]string{
		"/auth/error":                            "/e?y=1",
		"/auth/error?error=a%26b%0d%0aX-Evil:1":  "/e?y=1&error=a%26b%0D%0AX-Evil%3A1",
		"/auth/callback/nobody":                  s.server.URL + "/e?y=1&error=Configuration",
		"/auth/callback/email?token=nonsense":    s.server.URL + "/e?y=1&error=Verification",
		"/auth/callback/idp?error=access_denied": s.server.URL + "/e?y=1&error=Configuration",
	} {
		if a := s.serve(request{path: path}); a.StatusCode != 302 || a.Header.Get("Location") != want {
			t.Errorf("GET %s = %d to %q, want %q", path, a.StatusCode, a.Header.Get("Location"), want)
		}
	}
}

// TestOwnPages is scenarios 20 and 21.
func TestOwnPages(t *testing.T) {
	s := newWire(t, func(_ *site, c *gatebook.Config) {
		c.Pages = gatebook.Pages{SignIn: "/login", SignOut: "/bye", VerifyRequest: "/mail?x=1"}
	})
	cb := url.QueryEscape(s.server.URL + "/cb")
	for path, want := range map[string]string{
		"/auth/signin?error=X&callbackUrl=/cb":                   "/login?callbackUrl=" + cb + "&error=X",
		"/auth/signin?callbackUrl=/cb":                           "/login?callbackUrl=" + cb,
		"/auth/signin":                                           "/login?callbackUrl=" + url.QueryEscape(s.server.URL),
		"/auth/signout?callbackUrl=/cb":                          "/bye",
		"/auth/verify-request?provider=email&type=email&evil=1":  "/mail?x=1&provider=email&type=email",
		"/auth/verify-request":                                   "/mail?x=1",
		"/auth/signin?error=a%0d%0ab&callbackUrl=//evil.example": "/login?callbackUrl=" + url.QueryEscape(s.server.URL) + "&error=a%0D%0Ab",
	} {
		a := s.serve(request{path: path})
		if a.StatusCode != 302 || a.Header.Get("Location") != want || a.body != "" {
			t.Errorf("GET %s = %d to %q, want %q", path, a.StatusCode, a.Header.Get("Location"), want)
		}
		a = s.serve(request{path: path, header: []string{"X-Auth-Return-Redirect: 0"}})
		body, _ := json.Marshal(want)
		text := strings.ReplaceAll(string(body), `\u0026`, "&")
		if a.StatusCode != 200 || a.Header.Get("Location") != want || a.body != `{"url":`+text+`}` {
			t.Errorf("GET %s as JSON = %d to %q: %s", path, a.StatusCode, a.Header.Get("Location"), a.body)
		}
	}
	token, cookie := csrfPair("1")
	a := s.serve(request{"POST", "/auth/signin/idp", "", []string{formType, "Cookie: " + cookie}})
	if want := s.server.URL + "/login?error=MissingCSRF"; a.Header.Get("Location") != want {
		t.Errorf("failure leads to %q, want %q", a.Header.Get("Location"), want)
	}
	a = s.serve(request{"POST", "/auth/callback/credentials", "username=ada&password=wrong&csrfToken=" + token, []string{formType, "Cookie: " + cookie}})
	if want := s.server.URL + "/login?error=CredentialsSignin&code=credentials"; a.Header.Get("Location") != want {
		t.Errorf("failure leads to %q, want %q", a.Header.Get("Location"), want)
	}
}

// TestPagesArePaths: what is no path of the site is refused at the start.
func TestPagesArePaths(t *testing.T) {
	s := newWire(t, nil)
	for _, page := range []string{"login", "https://other.example/login", "//other.example"} {
		for name, pages := range map[string]gatebook.Pages{"SignIn": {SignIn: page}, "SignOut": {SignOut: page}, "Error": {Error: page}, "VerifyRequest": {VerifyRequest: page}, "NewUser": {NewUser: page}} {
			cfg := gatebook.Config{Secrets: []gatebook.Secret{secret}, URL: "http://app.test", Pages: pages, Adapter: s.adapter, Providers: []gatebook.Provider{s.idp}}
			if _, err := gatebook.New(cfg); err == nil || !strings.Contains(err.Error(), "Pages."+name) {
				t.Errorf("New with the page %q as %s: %v", page, name, err)
			}
		}
	}
}

// TestBuiltInPages is section 1.10: what the forms hold, and nothing of the
// query that is not escaped or chosen by us.
func TestBuiltInPages(t *testing.T) {
	s := newWire(t, nil)
	token, cookie := csrfPair("5")
	page := s.serve(request{path: `/auth/signin?csrfToken=evil&callbackUrl=/cb&email=%22%3E%3Cb%3E&error=CredentialsSignin&providers=x&theme=y`, header: []string{"Cookie: " + cookie}}).body
	for _, want := range []string{
		`<form method="POST" action="` + s.server.URL + `/auth/signin/idp">`,
		`<form method="POST" action="` + s.server.URL + `/auth/signin/email">`,
		`<form method="POST" action="` + s.server.URL + `/auth/callback/credentials">`,
		`name="csrfToken" value="` + token + `"`,
		`name="callbackUrl" value="` + s.server.URL + `/cb"`,
		`Sign in failed. Check the details you provided are correct.`,
		`name="username"`, `name="password"`, `value="&#34;&gt;&lt;b&gt;"`,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the sign-in page lacks %s", want)
		}
	}
	if strings.Contains(page, "evil") {
		t.Error("the query's csrfToken is on the page")
	}
	page = s.serve(request{path: "/auth/signout?callbackUrl=https://evil.example", header: []string{"Cookie: " + cookie}}).body
	for _, want := range []string{`action="` + s.server.URL + `/auth/signout"`, `name="csrfToken" value="` + token + `"`} {
		if !strings.Contains(page, want) {
			t.Errorf("the sign-out page lacks %s", want)
		}
	}
	page = s.serve(request{path: "/auth/verify-request?provider=email&type=email"}).body
	if !strings.Contains(page, "Check your email") || !strings.Contains(page, `href="`+s.server.URL+`"`) {
		t.Errorf("verify-request page:\n%s", page)
	}
}

// TestCallbackURL is scenarios 22 to 24.
func TestCallbackURL(t *testing.T) {
	s := newWire(t, nil)
	token, csrf := csrfPair("5")
	home := s.server.URL
	upper := strings.Replace(home, "http://", "HTTP://", 1)
	stored := func(a *answer) string {
		for _, c := range a.Header.Values("Set-Cookie") {
			if v, ok := strings.CutPrefix(c, "authjs.callback-url="); ok {
				v, rest, _ := strings.Cut(v, ";")
				if rest != " Path=/; HttpOnly; SameSite=Lax" {
					t.Errorf("attributes %q", rest)
				}
				v, err := url.PathUnescape(v)
				if err != nil {
					t.Error(err)
				}
				return v
			}
		}
		return "unchanged"
	}
	for _, tt := range []struct{ wish, want string }{
		{"/a", home + "/a"},
		{"/a?b=c&d#e", home + "/a?b=c&d#e"},
		{"/日本", home + "/%E6%97%A5%E6%9C%AC"},
		{"/" + strings.Repeat("a", 2047-len(home)), home + "/" + strings.Repeat("a", 2047-len(home))},
		{"/" + strings.Repeat("a", 2048-len(home)), home},
		{home + "/" + strings.Repeat("a", 2047-len(home)), home + "/" + strings.Repeat("a", 2047-len(home))},
		{"/" + strings.Repeat("ä", 500), home},
		{home + "/x", home + "/x"},
		{upper + "/x", upper + "/x"},
		{"//evil.example/x", home},
		{`/\evil.example`, home},
		{`\\evil.example`, home},
		{"https://evil.example", home},
		{home + "@evil.example", home},
		{home + ".evil.example", home},
		{strings.Replace(home, "//", "//user:pw@", 1), home},
		{"javascript:alert(1)", home},
		{"data:text/html,x", home},
		{"foo", home},
		{"/x\r\nSet-Cookie: a=b", home},
		{"/\t/evil.example", home},
		{"", home},
	} {
		esc := url.QueryEscape(tt.wish)
		a := s.serve(request{path: "/auth/csrf?callbackUrl=" + esc, header: []string{"Cookie: " + csrf}})
		if got := stored(a); a.StatusCode != 200 || got != tt.want {
			t.Errorf("query %.60q: cookie %.60q, want %.60q", tt.wish, got, tt.want)
		}
		a = s.serve(request{"POST", "/auth/signout", "csrfToken=" + token + "&callbackUrl=" + esc, []string{formType, "Cookie: " + csrf}})
		if a.StatusCode != 302 || a.Header.Get("Location") != tt.want || stored(a) != tt.want {
			t.Errorf("body %.60q: %d to %.60q, want %.60q", tt.wish, a.StatusCode, a.Header.Get("Location"), tt.want)
		}
		a = s.serve(request{"POST", "/auth/signout", "csrfToken=" + token, []string{formType, "Cookie: " + csrf + "; authjs.callback-url=" + strings.ReplaceAll(esc, "+", "%20")}})
		want := tt.want
		if tt.wish == want {
			want = "unchanged"
		}
		if a.StatusCode != 302 || a.Header.Get("Location") != tt.want || stored(a) != want {
			t.Errorf("cookie %.60q: %d to %.60q, cookie %.60q, want %.60q", tt.wish, a.StatusCode, a.Header.Get("Location"), stored(a), want)
		}
	}
	for _, tt := range []struct{ body, query, cookie, want string }{
		{"/body", "/query", "/cookie", "/body"},
		{"", "/query", "/cookie", "/cookie"}, // as in Auth.js: an empty one is one
		{"", "", "/cookie", "/cookie"},
		{"//evil.example", "/query", "/cookie", ""},
		{"/one&callbackUrl=/two", "", "", "/two"},
	} {
		a := s.serve(request{"POST", "/auth/signout?callbackUrl=" + tt.query, "csrfToken=" + token + "&callbackUrl=" + tt.body,
			[]string{formType, "Cookie: " + csrf + "; authjs.callback-url=" + url.QueryEscape(home+tt.cookie)}})
		if got := a.Header.Get("Location"); got != home+tt.want {
			t.Errorf("%+v: to %q", tt, got)
		}
	}
	// What was rejected is told of once, however often it was tried.
	s.check("redirect.rejected", "redirect.rejected", "redirect.rejected")
}

// TestRedirectCallback is section 10's redirect callback.
func TestRedirectCallback(t *testing.T) {
	for _, tt := range []struct {
		name    string
		fn      func(ctx context.Context, url, baseURL string) (string, error)
		want    string
		failing bool
	}{
		{"used as it is", func(_ context.Context, u, base string) (string, error) { return "https://other.example/?" + u, nil }, "https://other.example/?/x", false},
		{"relative", func(context.Context, string, string) (string, error) { return "/y", nil }, "/y", false},
		{"error", func(context.Context, string, string) (string, error) { return "", fmt.Errorf("callback-secret-marker") }, "", true},
		{"panic", func(context.Context, string, string) (string, error) { panic("callback-secret-marker") }, "", true},
		{"empty", func(context.Context, string, string) (string, error) { return "", nil }, "", true},
		{"header", func(context.Context, string, string) (string, error) { return "/\r\nX-Evil: 1", nil }, "", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newWire(t, func(_ *site, c *gatebook.Config) { c.Callbacks.Redirect = tt.fn })
			token, csrf := csrfPair("5")
			a := s.serve(request{"POST", "/auth/signout", "csrfToken=" + token + "&callbackUrl=/x", []string{formType, "Cookie: " + csrf}})
			want := tt.want
			if tt.failing {
				want = s.server.URL + "/auth/error?error=Configuration"
				if n := len(s.lines.all()); n != 1 || strings.Contains(s.lines.all()[0], "marker") {
					t.Errorf("log: %q, want one line without the error's text", s.lines.all())
				}
			}
			if a.StatusCode != 302 || a.Header.Get("Location") != want || a.Header.Get("X-Evil") != "" {
				t.Errorf("%d to %q, want %q", a.StatusCode, a.Header.Get("Location"), want)
			}
			a = s.serve(request{"POST", "/auth/session", "csrfToken=" + token + "&callbackUrl=/x", []string{formType, "Cookie: " + csrf}})
			if tt.failing != (a.StatusCode == 400) || a.body != "null" {
				t.Errorf("POST session = %d %s", a.StatusCode, a.body)
			}
		})
	}
	asked := false
	s := newWire(t, func(_ *site, c *gatebook.Config) {
		c.Callbacks.Redirect = func(context.Context, string, string) (string, error) { asked = true; return "/", nil }
	})
	s.serve(request{path: "/auth/csrf"})
	if asked {
		t.Error("the redirect callback was asked without a callback URL")
	}
	s.serve(request{path: "/auth/csrf?callbackUrl=/" + strings.Repeat("x", 3000)})
	if asked {
		t.Error("the redirect callback was asked for an overlong URL")
	}
}

// TestSecureCookies is scenario 25: names, attributes and keys of secure mode.
func TestSecureCookies(t *testing.T) {
	strategies(t, func(t *testing.T, strategy string) {
		t.Helper()
		s := newWire(t, func(_ *site, c *gatebook.Config) { c.URL, c.Session.Strategy = "https://app.example.com", strategy })
		b := newBrowser(s.site)
		a := b.get("/auth/csrf")
		for _, c := range a.Header.Values("Set-Cookie") {
			name, rest, _ := strings.Cut(c, "=")
			if name != "__Host-authjs.csrf-token" && name != "__Secure-authjs.callback-url" || !strings.HasSuffix(rest, "; Path=/; HttpOnly; Secure; SameSite=Lax") {
				t.Errorf("Set-Cookie: %s", c)
			}
		}
		s.idp.prove("1", "ada@example.com", true)
		a = b.begin("idp")
		want := []string{"__Secure-authjs.state", "__Secure-authjs.pkce.code_verifier", "__Secure-authjs.nonce"}
		if diff := cmp.Diff(want, cookieNames(a)); diff != "" {
			t.Errorf("cookies (-want +got):\n%s", diff)
		}
		check := regexp.MustCompile(`^__Secure-authjs\.(state|nonce|pkce\.code_verifier)=[A-Za-z0-9_.-]+; Max-Age=900; Path=/; Expires=Tue, 24 Nov 2026 12:15:00 GMT; HttpOnly; Secure; SameSite=Lax$`)
		for _, c := range a.Header.Values("Set-Cookie") {
			if !check.MatchString(c) {
				t.Errorf("Set-Cookie: %s", c)
			}
		}
		a = b.get(b.back("idp", a))
		if diff := cmp.Diff([]string{"-__Secure-authjs.state", "-__Secure-authjs.pkce.code_verifier", "-__Secure-authjs.nonce", "__Secure-authjs.session-token"}, cookieNames(a)); diff != "" {
			t.Errorf("cookies of the callback (-want +got):\n%s", diff)
		}
		if got := b.get("/auth/session").body; !strings.Contains(got, "ada@example.com") {
			t.Errorf("session = %s", got)
		}
		// The same values under the names of plain mode are nothing.
		plain := "authjs.session-token=" + b.cookies["__Secure-authjs.session-token"]
		if a := s.serve(request{path: "/auth/session", header: []string{"Cookie: " + plain}}); a.body != "null" {
			t.Errorf("plain cookie on a secure site: %s", a.body)
		}
	})
	// A token of a secure site is sealed with another key than that of a plain one.
	s := newWire(t, with(gatebook.StrategyJWT))
	secure := newWire(t, func(_ *site, c *gatebook.Config) {
		c.URL, c.Session.Strategy = "https://app.example.com", gatebook.StrategyJWT
	})
	secure.idp.prove("1", "ada@example.com", true)
	b := newBrowser(secure.site)
	b.get(b.back("idp", b.begin("idp")))
	value := b.cookies["__Secure-authjs.session-token"]
	if value == "" {
		t.Fatal("no session")
	}
	if a := s.serve(request{path: "/auth/session", header: []string{"Cookie: authjs.session-token=" + value}}); a.body != "null" {
		t.Errorf("token of a secure site opens a session on a plain one: %s", a.body)
	}
}

// browser keeps cookies by name and asks nothing of their attributes, so that a
// test can look at them and change them.
type browser struct {
	s       *site
	cookies map[string]string
	header  []string
}

func newBrowser(s *site) *browser { return &browser{s: s, cookies: map[string]string{}} }

func (b *browser) do(r request) *answer {
	b.s.t.Helper()
	var pairs []string
	for name, value := range b.cookies {
		pairs = append(pairs, name+"="+value)
	}
	slices.Sort(pairs)
	r.header = append(slices.Clone(r.header), b.header...)
	if len(pairs) > 0 {
		r.header = append(r.header, "Cookie: "+strings.Join(pairs, "; "))
	}
	a := b.s.serve(r)
	for _, c := range a.Header.Values("Set-Cookie") {
		name, rest, _ := strings.Cut(c, "=")
		value, _, _ := strings.Cut(rest, ";")
		if value == "" {
			delete(b.cookies, name)
		} else {
			b.cookies[name] = value
		}
	}
	return a
}

func (b *browser) get(path string) *answer { b.s.t.Helper(); return b.do(request{path: path}) }

// post sends a form with the CSRF token, which it asks for first.
func (b *browser) post(path string, form url.Values) *answer {
	b.s.t.Helper()
	var body struct{ CSRFToken string }
	if err := json.Unmarshal([]byte(b.get("/auth/csrf").body), &body); err != nil {
		b.s.t.Fatal(err)
	}
	f := url.Values{"csrfToken": {body.CSRFToken}}
	for k, v := range form {
		f[k] = v
	}
	return b.do(request{method: "POST", path: path, body: f.Encode(), header: []string{formType}})
}

func (b *browser) begin(provider string) *answer {
	b.s.t.Helper()
	return b.post("/auth/signin/"+provider, nil)
}

// back is the callback's path after begin.
func (b *browser) back(provider string, begun *answer) string {
	b.s.t.Helper()
	to, err := url.Parse(begun.Header.Get("Location"))
	if err != nil || to.Host != "idp.example" {
		b.s.t.Fatalf("sign-in leads to %q, want the provider", begun.Header.Get("Location"))
	}
	return "/auth/callback/" + provider + "?code=code-marker&state=" + url.QueryEscape(to.Query().Get("state"))
}

// TestStartAtProvider is the wire's part of scenarios 44 to 46.
func TestStartAtProvider(t *testing.T) {
	s := newWire(t, nil)
	b := newBrowser(s.site)
	b.get("/auth/csrf")
	a := b.post("/auth/signin/idp?prompt=login&scope=a+b&prompt=none&x=%zz", url.Values{"callbackUrl": {"/cb"}})
	if a.StatusCode != 302 || !strings.HasPrefix(a.Header.Get("Location"), "https://idp.example/authorize?state=") {
		t.Fatalf("%d to %q", a.StatusCode, a.Header.Get("Location"))
	}
	if diff := cmp.Diff([]string{"authjs.callback-url", "authjs.state", "authjs.pkce.code_verifier", "authjs.nonce"}, cookieNames(a)); diff != "" {
		t.Errorf("cookies (-want +got):\n%s", diff)
	}
	begun := s.idp.begun[0]
	want := []gatebook.Param{{Name: "prompt", Value: "login"}, {Name: "scope", Value: "a b"}, {Name: "prompt", Value: "none"}, {Name: "x", Value: "%zz"}}
	if diff := cmp.Diff(want, begun.Params); diff != "" {
		t.Errorf("Params (-want +got):\n%s", diff)
	}
	if want := s.server.URL + "/auth/callback/idp"; begun.RedirectURI != want {
		t.Errorf("RedirectURI = %q, want %q", begun.RedirectURI, want)
	}
	if strings.Count(begun.State, ".") != 4 {
		t.Errorf("State %q is no JWE", begun.State)
	}
	// With the header clients get the URL as JSON, and Location as it is.
	b.header = []string{"X-Auth-Return-Redirect: 1"}
	a = b.begin("idp")
	if a.StatusCode != 200 || a.body != `{"url":"`+a.Header.Get("Location")+`"}` || !strings.HasPrefix(a.Header.Get("Location"), "https://idp.example/") || len(cookieNames(a)) != 3 {
		t.Errorf("as JSON: %d, %s, cookies %q", a.StatusCode, a.body, cookieNames(a))
	}
}

// TestFormPost is scenario 47: the provider comes back with a cross-site POST.
func TestFormPost(t *testing.T) {
	post := &postProvider{fakeProvider{id: "post"}}
	s := newWire(t, func(_ *site, c *gatebook.Config) { c.Providers = append(c.Providers, post) })
	post.prove("1", "ada@example.com", true)
	b := newBrowser(s.site)
	a := b.begin("post")
	for _, c := range a.Header.Values("Set-Cookie") {
		if !strings.HasSuffix(c, "; HttpOnly; Secure; SameSite=None") {
			t.Errorf("Set-Cookie: %s", c)
		}
	}
	to := b.back("post", a)
	// A browser brings only the cookies for cross-site requests, so no CSRF token.
	delete(b.cookies, "authjs.csrf-token")
	delete(b.cookies, "authjs.callback-url")
	if a := b.get(to); !strings.Contains(a.Header.Get("Location"), "error=Configuration") {
		t.Errorf("the query of a GET counts: to %q", a.Header.Get("Location"))
	}
	to = b.back("post", b.begin("post"))
	path, query, _ := strings.Cut(to, "?")
	a = b.do(request{method: "POST", path: path, body: query, header: []string{formType}})
	if a.StatusCode != 302 || a.Header.Get("Location") != s.server.URL {
		t.Fatalf("POST = %d to %q\n%v", a.StatusCode, a.Header.Get("Location"), s.lines.all())
	}
	for _, c := range a.Header.Values("Set-Cookie") {
		if strings.Contains(c, "Max-Age=0") && !strings.HasSuffix(c, "=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax") {
			t.Errorf("cleared with %s", c)
		}
	}
	if b.cookies["authjs.session-token"] == "" {
		t.Error("no session")
	}
}

type postProvider struct{ fakeProvider }

func (p *postProvider) FormPost() bool { return true }

// TestConfigErrors is scenarios 16 and 17 as far as a request can bring them
// about: New refuses the rest.
func TestConfigErrors(t *testing.T) {
	t.Setenv("AUTH_URL", "")
	s := newWire(t, func(_ *site, c *gatebook.Config) { c.URL = "" })
	for _, tt := range []struct {
		method, path string
		html         bool
	}{
		{"GET", "/auth/session", false}, {"GET", "/auth/csrf", false}, {"GET", "/auth/providers", false}, {"GET", "/auth/callback/idp", false},
		{"POST", "/auth/signin/idp", false}, {"POST", "/auth/signout", false},
		{"GET", "/auth/signin", true}, {"GET", "/auth/signout", true}, {"GET", "/auth/error", true}, {"GET", "/auth/verify-request", true},
	} {
		s.lines.reset()
		a := s.serve(request{tt.method, tt.path, "", []string{"Host: evil.example", "X-Auth-Return-Redirect: 1"}})
		if a.StatusCode != 500 || len(cookieNames(a)) > 0 || a.Header.Get("Location") != "" {
			t.Errorf("%s %s = %d, %v", tt.method, tt.path, a.StatusCode, a.Header)
		}
		if tt.html != strings.Contains(a.body, "Server error") || !tt.html && a.body != `{"message":"There was a problem with the server configuration. Check the server logs for more information."}` {
			t.Errorf("%s %s: %s", tt.method, tt.path, a.body)
		}
		if strings.Contains(a.body, "evil") {
			t.Errorf("%s %s repeats the host", tt.method, tt.path)
		}
		if n := s.lines.all(); len(n) != 1 || !strings.Contains(n[0], "evil.example") {
			t.Errorf("%s %s: log %q", tt.method, tt.path, n)
		}
	}
	s.check("host.untrusted")
}
