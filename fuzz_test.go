package gatebook_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/adapter/memory"
	"github.com/gatebook/gatebook/provider/credentials"
	"github.com/gatebook/gatebook/provider/email"
)

// fuzzOrigin is the site of the fuzz targets. They have no server and no
// network, and a new site for each input: what one input leaves behind must not
// decide about the next.
const fuzzOrigin = "http://app.test:8080"

func fuzzSite(t *testing.T) *wire {
	t.Helper()
	w := &wire{lines: newLogLines()}
	w.site = &site{t: t, store: memory.New(), heard: &heard{}, mail: &outbox{}, server: &httptest.Server{URL: fuzzOrigin},
		clock: &clock{now: time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)}, idp: &fakeProvider{id: "idp"}, second: &fakeProvider{id: "second"}}
	w.spy = &spy{Adapter: w.store}
	w.adapter = w.spy
	w.idp.prove("1", "ada@example.com", true)
	mail, err := email.New(email.Config{From: "a@example.com", Mailer: w.mail})
	if err != nil {
		t.Fatal(err)
	}
	password, err := credentials.New(credentials.Config{Authorize: func(context.Context, map[string]string, *http.Request) (*gatebook.User, error) {
		return nil, gatebook.ErrBadCredentials
	}})
	if err != nil {
		t.Fatal(err)
	}
	w.cfg = gatebook.Config{
		Secrets: []gatebook.Secret{secret}, URL: fuzzOrigin, Adapter: w.spy, Session: gatebook.SessionConfig{Strategy: gatebook.StrategyJWT},
		Providers: []gatebook.Provider{w.idp, w.second, mail, password}, Logger: slog.New(w.lines), Now: w.clock.Now,
		Events: gatebook.Events{Any: func(_ context.Context, ev gatebook.Event) error { w.heard.add(ev); return nil }},
	}
	w.reopen(func(*gatebook.Config) {})
	return w
}

// checkAnswer holds what is true of every answer: nothing fails, and nobody is
// sent to another site but to the provider's own page.
func checkAnswer(t *testing.T, a *answer) {
	t.Helper()
	switch a.StatusCode {
	case 200, 204, 302, 400, 403, 405, 413:
	default:
		t.Errorf("status %d: %s", a.StatusCode, a.body)
	}
	for name, values := range a.Header {
		for _, v := range values {
			if strings.ContainsAny(v, "\r\n\x00") {
				t.Errorf("%s: %q", name, v)
			}
		}
	}
	for _, c := range a.Header.Values("Set-Cookie") {
		name, rest, _ := strings.Cut(c, "=")
		value, attributes, _ := strings.Cut(rest, ";")
		if !strings.HasPrefix(name, "authjs.") || strings.ContainsAny(value, " \",\\") || !strings.Contains(attributes, "Path=/; ") || !strings.Contains(attributes, "HttpOnly") {
			t.Errorf("Set-Cookie: %q", c)
		}
	}
	if to := a.Header.Get("Location"); to != "" && !ownPage(to) && !strings.HasPrefix(to, "https://idp.example/authorize?state=") {
		t.Errorf("Location: %q", to)
	}
}

// ownPage reports whether every browser takes to for a page of the site: the
// origin and then the end, a path, a query or a fragment, with nothing that is
// read in more than one way.
func ownPage(to string) bool {
	if len(to) < len(fuzzOrigin) || !strings.EqualFold(to[:len(fuzzOrigin)], fuzzOrigin) {
		return false
	}
	rest := to[len(fuzzOrigin):]
	path, _, _ := strings.Cut(rest, "?")
	path, _, _ = strings.Cut(path, "#")
	u, err := url.Parse(to)
	return (rest == "" || strings.ContainsRune("/?#", rune(rest[0]))) && !strings.Contains(path, `\`) &&
		!strings.ContainsFunc(to, func(r rune) bool { return r < ' ' || r >= 0x7f }) &&
		(err != nil || strings.EqualFold(u.Host, "app.test:8080") && u.User == nil)
}

// FuzzCallbackURL: whatever a visitor wants to be sent to, from the body, the
// query, the cookie or a magic link, stays on the site and is the same when it
// comes back.
func FuzzCallbackURL(f *testing.F) {
	for _, s := range []string{"", "/", "/a?b=c#d", fuzzOrigin, fuzzOrigin + "/x", strings.ToUpper(fuzzOrigin) + "/X", "//evil.example", `/\evil.example`, `\\evil.example`,
		"https://evil.example", fuzzOrigin + "@evil.example", fuzzOrigin + ".evil.example", "http://u:p@app.test:8080/", "javascript:alert(1)", "/\t/evil.example",
		"/x\r\nX-Evil: 1", "\x00", "http:app.test:8080", "/日本", "/\xff", "/%0d%0a", "http://app.test:8080\\@evil.example", " /x", "/x y", "/a;b=c", "/%zz", "/\u0085", "/\u2028"} {
		f.Add(s)
	}
	token, csrf := csrfPair("1")
	f.Fuzz(func(t *testing.T, wish string) {
		s := fuzzSite(t)
		esc := url.QueryEscape(wish)
		for _, r := range []request{
			{"POST", "/auth/signout", "csrfToken=" + token + "&callbackUrl=" + esc, []string{formType, "Cookie: " + csrf}},
			{"POST", "/auth/signout?callbackUrl=" + esc, "csrfToken=" + token, []string{formType, "Cookie: " + csrf}},
			{"POST", "/auth/signout", "csrfToken=" + token, []string{formType, "Cookie: " + csrf + "; authjs.callback-url=" + url.PathEscape(wish)}},
		} {
			a := s.serve(r)
			checkAnswer(t, a)
			to := a.Header.Get("Location")
			if !ownPage(to) {
				t.Fatalf("%s %s: to %q", r.method, r.path, to)
			}
			again := s.serve(request{"POST", "/auth/signout", "csrfToken=" + token + "&callbackUrl=" + url.QueryEscape(to), []string{formType, "Cookie: " + csrf}})
			if got := again.Header.Get("Location"); got != to {
				t.Errorf("%q becomes %q", to, got)
			}
		}
		b := newBrowser(s.site)
		checkAnswer(t, b.get("/auth/signin?callbackUrl="+esc))
		b.post("/auth/signin/email", url.Values{"email": {"ada@example.com"}, "callbackUrl": {wish}})
		link := strings.TrimPrefix(s.mail.link(t), fuzzOrigin)
		a := b.get(link)
		checkAnswer(t, a)
		if !ownPage(a.Header.Get("Location")) || b.cookies["authjs.session-token"] == "" {
			t.Errorf("the link leads to %q", a.Header.Get("Location"))
		}
		a = b.get(link + "&callbackUrl=" + esc)
		checkAnswer(t, a)
	})
}

// FuzzCSRFCookie: no cookie but one with the right hash makes a POST one of
// ours.
func FuzzCSRFCookie(f *testing.F) {
	token, csrf := csrfPair("1")
	_, value, _ := strings.Cut(csrf, "=")
	f.Add(value, token)
	f.Add(strings.ToUpper(value), token)
	f.Add(value+"%7Cx", token)
	f.Add(token, token)
	f.Add("|", "")
	f.Add("%7C", "")
	f.Add("a%7Cb", "a")
	f.Add(value+"; authjs.csrf-token=x", token)
	f.Fuzz(func(t *testing.T, cookie, sent string) {
		s := fuzzSite(t)
		form := url.Values{"csrfToken": {sent}, "email": {"ada@example.com"}}.Encode()
		a := s.serve(request{"POST", "/auth/signin/email", form, []string{formType, "Cookie: authjs.csrf-token=" + cookie}})
		checkAnswer(t, a)
		good := strings.HasPrefix(a.Header.Get("Location"), fuzzOrigin+"/auth/verify-request?")
		if !good && a.Header.Get("Location") != fuzzOrigin+"/auth/signin?error=MissingCSRF" {
			t.Errorf("to %q", a.Header.Get("Location"))
		}
		if good != (len(s.mail.sent) == 1) {
			t.Errorf("%d mails, to %q", len(s.mail.sent), a.Header.Get("Location"))
		}
		// Only what has the token and its hash in it can be right.
		if good && (sent != token || !strings.Contains(cookie, value[len(value)-64:])) {
			t.Errorf("cookie %q with token %q is taken", cookie, sent)
		}
	})
}

// FuzzCheckCookies: nothing but the cookies that a sign-in set completes it.
func FuzzCheckCookies(f *testing.F) {
	f.Add("", "", "", "")
	f.Add("a.b.c.d.e", "x", "y", "z")
	f.Add("eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2Q0JDLUhTNTEyIn0..AAAAAAAAAAAAAAAAAAAAAA.AAAA.AAAA", "", "", "s")
	f.Add("%00", "; authjs.state=x", "=", "&state=")
	f.Fuzz(func(t *testing.T, stateCookie, pkceCookie, nonceCookie, param string) {
		s := fuzzSite(t)
		b := newBrowser(s.site)
		to := b.back("idp", b.begin("idp"))
		good := map[string]string{state: b.cookies[state], pkce: b.cookies[pkce], nonce: b.cookies[nonce]}
		// Each of the values in place of the good one, and all of them.
		for _, change := range []map[string]string{{state: stateCookie}, {pkce: pkceCookie}, {nonce: nonceCookie}, {state: stateCookie, pkce: pkceCookie, nonce: nonceCookie}, nil} {
			thief := newBrowser(s.site)
			path := to
			for name, value := range good {
				thief.cookies[name] = value
			}
			for name, value := range change {
				// A separator would bring the good cookie in again.
				thief.cookies[name] = strings.NewReplacer(";", "", "authjs", "").Replace(value)
			}
			if change == nil {
				path = "/auth/callback/idp?code=c&state=" + url.QueryEscape(param)
			}
			a := thief.get(path)
			checkAnswer(t, a)
			if slices.Contains(cookieNames(a), "authjs.session-token") {
				t.Errorf("%v completes the sign-in", change)
			}
		}
		if a := b.get(to); !slices.Contains(cookieNames(a), "authjs.session-token") {
			t.Errorf("the good cookies do not: %v", s.lines.all())
		}
	})
}

// FuzzForm: no body, of no type, at no route, is too much.
func FuzzForm(f *testing.F) {
	token, csrf := csrfPair("1")
	for _, typ := range []string{"application/x-www-form-urlencoded", "application/json", "text/plain", "application/json; charset=x", "multipart/form-data", ""} {
		for _, body := range []string{"", "csrfToken=" + token, `{"csrfToken":"` + token + `","data":{"a":[1,null]}}`, "a=%zz&=&&;", `{"a":"\ud800"}`, "\xff=\xfe", "callbackUrl=//evil.example&email=a@b.c",
			`{"callbackUrl":"https://evil.example","csrfToken":"` + token + `"}`} {
			f.Add(typ, body, "a=b&callbackUrl=/x")
		}
	}
	f.Fuzz(func(t *testing.T, typ, body, query string) {
		if strings.ContainsAny(typ, "\r\n") || strings.ContainsFunc(query, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '#' }) {
			return // a server does not let these through
		}
		s := fuzzSite(t)
		for _, path := range []string{"/auth/signin", "/auth/signin/idp", "/auth/signin/email", "/auth/signin/credentials", "/auth/callback/idp", "/auth/callback/email",
			"/auth/callback/credentials", "/auth/signout", "/auth/session", "/auth/csrf", "/auth/error"} {
			r := request{"POST", path + "?" + query, body, []string{"Content-Type: " + typ, "Cookie: " + csrf}}
			checkAnswer(t, s.serve(r))
			r.header = append(r.header, "X-Auth-Return-Redirect: 1")
			a := s.serve(r)
			checkAnswer(t, a)
			if a.StatusCode == 302 {
				t.Errorf("POST %s is redirected in spite of the header", path)
			}
			if slices.Contains(cookieNames(a), "authjs.session-token") {
				t.Errorf("POST %s signs in", path)
			}
		}
		if w := slices.DeleteFunc(s.spy.writes(), func(s string) bool { return s == "CreateVerificationToken" }); len(w) > 0 {
			t.Errorf("written: %v", w)
		}
	})
}

// FuzzRoute: a path is one of the routes or refused.
func FuzzRoute(f *testing.F) {
	for _, p := range []string{"/auth", "/auth/", "/auth/csrf", "/auth//csrf///", "/authcsrf", "/auth/csrf/x", "/auth/callback/idp", "/auth/callback/a/b", "/auth/signin/undefined",
		"/auth/%63srf", "/auth/..", "/auth/../auth/csrf", "//auth/csrf", "/auth/callback/%2f", "/auth/signin/\\evil", "/auth/callback/idp%00", "/auth/error;x", "*", ""} {
		f.Add("GET", p)
		f.Add("POST", p)
		f.Add("HEAD", p)
	}
	known := []string{"providers", "session", "csrf", "signin", "signout", "callback", "verify-request", "error"}
	f.Fuzz(func(t *testing.T, method, path string) {
		u, err := url.Parse(fuzzOrigin + path)
		if err != nil || u.RawQuery != "" || u.Fragment != "" || u.Host != "app.test:8080" || method == "" || strings.ContainsFunc(method, func(r rune) bool { return r < 'A' || r > 'Z' }) {
			return
		}
		s := fuzzSite(t)
		a := s.serve(request{method: method, path: path})
		checkAnswer(t, a)
		rest, ok := strings.CutPrefix(u.EscapedPath(), "/auth/")
		parts := strings.FieldsFunc(rest, func(r rune) bool { return r == '/' })
		route := ok && len(parts) > 0 && len(parts) < 3 && slices.Contains(known, parts[0])
		if !route && a.StatusCode != 400 {
			t.Errorf("%s %q = %d, want 400", method, path, a.StatusCode)
		}
		if route && len(parts) == 1 && method == "GET" && a.StatusCode == 400 {
			t.Errorf("%s %q = 400", method, path)
		}
		if len(s.spy.writes()) > 0 {
			t.Errorf("%s %q writes %v", method, path, s.spy.writes())
		}
	})
}
