package gatebook_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/record"
)

// refusal is what a refused attempt must come to.
type refusal struct {
	to     string // below the origin, or absolute
	reason string
	// The more precise entry before signIn.failed, or none.
	cause, check, why string
	// writes are what it uses up; nothing else may be written.
	writes []string
}

// checkRefusal holds an answer, the events, the book, the log and the writes
// since quiet against want.
func (w *wire) checkRefusal(a *answer, xr bool, want refusal) {
	w.t.Helper()
	to := want.to
	if strings.HasPrefix(to, "/") {
		to = w.server.URL + to
	}
	body, _ := json.Marshal(map[string]string{"url": to})
	asJSON := strings.ReplaceAll(string(body), `\u0026`, "&")
	if !xr && (a.StatusCode != 302 || a.Header.Get("Location") != to || a.body != "") {
		w.t.Errorf("answer = %d to %q: %s; want 302 to %q", a.StatusCode, a.Header.Get("Location"), a.body, to)
	}
	if xr && (a.StatusCode != 200 || a.body != asJSON) {
		w.t.Errorf("answer = %d, %s; want 200, %s", a.StatusCode, a.body, asJSON)
	}
	if a.Header.Get("Cache-Control") != "private, no-cache, no-store" {
		w.t.Errorf("Cache-Control = %q", a.Header.Get("Cache-Control"))
	}
	for _, name := range cookieNames(a) {
		if strings.Contains(name, "session-token") && name[0] != '-' {
			w.t.Errorf("a refused attempt sets %s", name)
		}
	}
	events := []string{record.TypeSignInFailed}
	if want.cause != "" {
		events = []string{want.cause, record.TypeSignInFailed}
	}
	w.check(events...)
	failed := w.failed()
	if failed.Reason != want.reason || failed.Outcome != record.Failure {
		w.t.Errorf("reason = %q, want %q", failed.Reason, want.reason)
	}
	if failed.Actor.Type != record.ActorUnauthenticated || failed.Actor.ID != "" {
		w.t.Errorf("actor = %+v", failed.Actor)
	}
	if want.cause != "" {
		d, ok := w.heard.all()[0].(*gatebook.DefenceEvent)
		if !ok || d.Check != want.check || d.Why != want.why || d.Reason != want.reason {
			w.t.Errorf("cause = %+v, want check %q, why %q", w.heard.all()[0], want.check, want.why)
		}
		if failed.Cause != w.heard.all()[0].Meta().ID || failed.Act != w.heard.all()[0].Meta().Act || failed.Position != 1 {
			w.t.Errorf("signIn.failed has cause %q, position %d", failed.Cause, failed.Position)
		}
	} else if failed.Cause != "" || failed.Position != 0 {
		w.t.Errorf("signIn.failed has cause %q, position %d", failed.Cause, failed.Position)
	}
	if diff := cmp.Diff(want.writes, w.spy.writes()); diff != "" {
		w.t.Errorf("writes (-want +got):\n%s", diff)
	}
	if lines := w.lines.all(); len(lines) != 1 || !strings.Contains(lines[0], "reason="+want.reason) {
		w.t.Errorf("log: %q, want one line with the reason %q", lines, want.reason)
	}
}

// checkLeaks searches everything that was logged and recorded.
func (w *wire) checkLeaks(markers ...string) {
	w.t.Helper()
	var all bytes.Buffer
	for _, l := range w.lines.all() {
		all.WriteString(l + "\n")
	}
	for _, e := range w.entries() {
		all.Write(e.Raw)
		for _, b := range e.Blocks {
			all.Write(b.Bytes)
		}
	}
	markers = append(markers, "code-marker", "a-code-verifier", "a-nonce", "at-marker", "reply-marker", "secret-marker", secret)
	for _, m := range markers {
		if m != "" && bytes.Contains(all.Bytes(), []byte(m)) {
			i := bytes.Index(all.Bytes(), []byte(m))
			w.t.Errorf("%.40q is in the log or the book: …%s…", m, all.Bytes()[max(0, i-80):i])
		}
	}
}

// twice runs fn with both strategies, each with and without the header for an
// answer in JSON.
func twice(t *testing.T, fn func(t *testing.T, strategy string, xr bool)) {
	t.Helper()
	strategies(t, func(t *testing.T, strategy string) {
		t.Helper()
		t.Run("redirect", func(t *testing.T) { fn(t, strategy, false) })
		t.Run("json", func(t *testing.T) { fn(t, strategy, true) })
	})
}

// with asks for the answer in JSON if xr.
func (b *browser) withHeader(xr bool) *browser {
	b.header = nil
	if xr {
		b.header = []string{"X-Auth-Return-Redirect: 1"}
	}
	return b
}

const (
	state = "authjs.state"
	pkce  = "authjs.pkce.code_verifier"
	nonce = "authjs.nonce"
)

// TestBadCallback is what somebody may bring back from a provider, or claim to.
func TestBadCallback(t *testing.T) {
	const configuration = "/auth/error?error=Configuration"
	failedCheck := func(reason, check, why string) refusal {
		return refusal{to: configuration, reason: reason, cause: record.TypeCheckFailed, check: check, why: why}
	}
	atProvider := func(err error) func(*stage, *string) {
		return func(st *stage, _ *string) { st.idp.err = err }
	}
	used := []string{"UseCheck"}
	tests := []struct {
		name   string
		change func(st *stage, to *string)
		want   refusal
	}{
		{"no cookies", func(st *stage, _ *string) { clear(st.b.cookies) }, failedCheck(record.ReasonStateMismatch, "state", "missing")},
		{"no state cookie", func(st *stage, _ *string) { delete(st.b.cookies, state) }, failedCheck(record.ReasonStateMismatch, "state", "missing")},
		{"no PKCE cookie", func(st *stage, _ *string) { delete(st.b.cookies, pkce) }, failedCheck(record.ReasonPKCEFailed, "pkce", "missing")},
		{"no nonce cookie", func(st *stage, _ *string) { delete(st.b.cookies, nonce) }, failedCheck(record.ReasonNonceMismatch, "nonce", "missing")},
		{"empty state cookie", func(st *stage, _ *string) { st.b.cookies[state] = "" }, failedCheck(record.ReasonStateMismatch, "state", "missing")},
		{"state cookie with the name of secure mode", func(st *stage, _ *string) {
			st.b.cookies["__Secure-"+state] = st.b.cookies[state]
			delete(st.b.cookies, state)
		}, failedCheck(record.ReasonStateMismatch, "state", "missing")},
		{"state cookie made up", func(st *stage, _ *string) { st.b.cookies[state] = "secret-marker" }, failedCheck(record.ReasonStateMismatch, "state", "mismatch")},
		{"state cookie changed", func(st *stage, _ *string) {
			st.b.cookies[state] = flip(st.b.cookies[state])
		}, failedCheck(record.ReasonStateMismatch, "state", "mismatch")},
		{"PKCE cookie changed", func(st *stage, _ *string) {
			st.b.cookies[pkce] = flip(st.b.cookies[pkce])
		}, failedCheck(record.ReasonPKCEFailed, "pkce", "mismatch")},
		{"nonce cookie changed", func(st *stage, _ *string) {
			st.b.cookies[nonce] = flip(st.b.cookies[nonce])
		}, failedCheck(record.ReasonNonceMismatch, "nonce", "mismatch")},
		{"state and nonce cookies swapped", func(st *stage, _ *string) {
			st.b.cookies[state], st.b.cookies[nonce] = st.b.cookies[nonce], st.b.cookies[state]
		}, failedCheck(record.ReasonStateMismatch, "state", "mismatch")},
		{"PKCE and nonce cookies swapped", func(st *stage, _ *string) {
			st.b.cookies[pkce], st.b.cookies[nonce] = st.b.cookies[nonce], st.b.cookies[pkce]
		}, failedCheck(record.ReasonPKCEFailed, "pkce", "mismatch")},
		{"the state parameter as the cookie", func(st *stage, to *string) {
			u, _ := url.Parse(*to)
			st.b.cookies[state] = u.Query().Get("state")
		}, failedCheck(record.ReasonStateMismatch, "state", "mismatch")},
		{"cookies of a sign-in at another provider", func(st *stage, to *string) {
			*to = strings.Replace(st.b.back("second", st.b.begin("second")), "/second", "/idp", 1)
		}, failedCheck(record.ReasonStateMismatch, "state", "mismatch")},
		{"another provider's sign-in was begun meanwhile", func(st *stage, _ *string) {
			st.b.begin("second")
		}, failedCheck(record.ReasonStateMismatch, "state", "mismatch")},
		{"PKCE cookie of another provider", func(st *stage, _ *string) {
			other := newBrowser(st.site)
			other.begin("second")
			st.b.cookies[pkce] = other.cookies[pkce]
		}, failedCheck(record.ReasonPKCEFailed, "pkce", "mismatch")},
		{"callback of an attacker's own sign-in", func(st *stage, to *string) {
			*to = newBrowser(st.site).attackersCallback()
		}, failedCheck(record.ReasonStateMismatch, "state", "mismatch")},
		{"state cookie of an older sign-in", func(st *stage, _ *string) {
			old := st.b.cookies[state]
			st.b.begin("idp")
			st.b.cookies[state] = old
		}, refusal{}}, // the state fits its cookie: nothing is wrong with it
		{"no state parameter", func(_ *stage, to *string) {
			*to = "/auth/callback/idp?code=code-marker"
		}, failedCheck(record.ReasonStateMismatch, "state", "missing")},
		{"state parameter made up", func(_ *stage, to *string) {
			*to = "/auth/callback/idp?code=code-marker&state=secret-marker"
		}, failedCheck(record.ReasonStateMismatch, "state", "mismatch")},
		{"state parameter twice, the last one wrong", func(_ *stage, to *string) { *to += "&state=x" }, failedCheck(record.ReasonStateMismatch, "state", "mismatch")},
		{"state parameter in the body", func(_ *stage, to *string) {
			*to = "POST /auth/callback/idp"
		}, failedCheck(record.ReasonStateMismatch, "state", "missing")},
		{"too late", func(st *stage, _ *string) { st.clock.advance(15*time.Minute + 15*time.Second) }, failedCheck(record.ReasonStateMismatch, "state", "expired")},
		{"provider error without cookies", func(st *stage, to *string) {
			clear(st.b.cookies)
			*to = "/auth/callback/idp?error=access_denied&error_description=secret-marker"
		}, failedCheck(record.ReasonStateMismatch, "state", "missing")},

		{"the person said no", atProvider(&gatebook.ProviderError{Reason: record.ReasonProviderDenied, Step: "authorize", Code: "access_denied", Denied: true}),
			refusal{to: "/auth/signin?error=OAuthCallbackError", reason: record.ReasonProviderDenied, writes: used}},
		{"token endpoint", atProvider(&gatebook.ProviderError{Reason: record.ReasonProviderError, Step: "token", Err: errors.New("secret-marker")}),
			refusal{to: configuration, reason: record.ReasonProviderError, writes: used}},
		{"nonce of the ID token", atProvider(&gatebook.ProviderError{Reason: record.ReasonNonceMismatch, Check: "nonce", Step: "id_token"}),
			refusal{to: configuration, reason: record.ReasonNonceMismatch, cause: record.TypeCheckFailed, check: "nonce", why: "mismatch", writes: used}},
		{"issuer", atProvider(fmt.Errorf("wrapped: %w", &gatebook.ProviderError{Reason: record.ReasonIssuerMismatch, Check: "iss", Step: "id_token"})),
			refusal{to: configuration, reason: record.ReasonIssuerMismatch, cause: record.TypeCheckFailed, check: "iss", why: "mismatch", writes: used}},
		{"another error", atProvider(errors.New("secret-marker")), refusal{to: configuration, reason: record.ReasonInternal, writes: used}},
		{"panic", func(st *stage, _ *string) { st.idp.proof = nil }, refusal{to: configuration, reason: record.ReasonInternal, writes: used}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			twice(t, func(t *testing.T, strategy string, xr bool) {
				t.Helper()
				st := newStage(t, strategy, nil)
				st.idp.prove("1", "new@example.com", true)
				to := st.b.back("idp", st.b.begin("idp"))
				secrets := []string{st.b.cookies[state], st.b.cookies[pkce], st.b.cookies[nonce]}
				u, _ := url.Parse(to)
				secrets = append(secrets, u.Query().Get("state"))
				tt.change(st, &to)
				st.b.withHeader(xr)
				held := len(st.b.cookies)
				st.quiet()
				r := request{path: to}
				if rest, ok := strings.CutPrefix(to, "POST "); ok {
					r = request{method: "POST", path: rest, body: u.RawQuery, header: []string{formType}}
				}
				a := st.b.do(r)
				if tt.want.to == "" {
					st.check("createUser", "linkAccount", "signIn")
					return
				}
				st.checkRefusal(a, xr, tt.want)
				st.checkLeaks(secrets...)
				for _, name := range []string{state, pkce, nonce} {
					if _, ok := st.b.cookies[name]; ok && held > 0 {
						t.Errorf("%s is still there", name)
					}
				}
			})
		})
	}
}

func (b *browser) attackersCallback() string { return b.back("idp", b.begin("idp")) }

// flip changes one character in the middle of a sealed value.
func flip(s string) string {
	i := len(s) / 2
	c := byte('A')
	if s[i] == c {
		c = 'B'
	}
	return s[:i] + string(c) + s[i+1:]
}

// TestReplay: a callback that comes again is refused and recorded, and the
// session of the first time is not touched.
func TestReplay(t *testing.T) {
	twice(t, func(t *testing.T, strategy string, xr bool) {
		t.Helper()
		st := newStage(t, strategy, nil)
		st.idp.prove("1", "new@example.com", true)
		to := st.b.back("idp", st.b.begin("idp"))
		thief := newBrowser(st.site).withHeader(xr)
		for k, v := range st.b.cookies {
			thief.cookies[k] = v
		}
		st.b.get(to)
		session := st.b.cookies["authjs.session-token"]
		st.idp.err = errors.New("the provider was asked again")
		st.quiet()
		a := thief.get(to)
		st.checkRefusal(a, xr, refusal{to: "/auth/error?error=Configuration", reason: record.ReasonReplay,
			cause: record.TypeReplayDetected, check: "state", why: "used"})
		st.checkLeaks(thief.cookies[state], session)
		if _, err := st.auth.Verify(context.Background(), session); err != nil {
			t.Errorf("the first session: %v", err)
		}
		// A failed attempt uses its state up too.
		to = st.b.back("idp", st.b.begin("idp"))
		for k, v := range st.b.cookies {
			thief.cookies[k] = v
		}
		st.idp.err = errors.New("down")
		st.b.get(to)
		st.idp.prove("2", "other@example.com", true)
		st.quiet()
		st.checkRefusal(thief.get(to), xr, refusal{to: "/auth/error?error=Configuration", reason: record.ReasonReplay,
			cause: record.TypeReplayDetected, check: "state", why: "used"})
	})
}

// racer is a provider whose callbacks all wait for each other before they prove
// anything.
type racer struct {
	*fakeProvider
	all sync.WaitGroup
}

func (r *racer) Complete(ctx context.Context, c *gatebook.Complete) (*gatebook.Proof, error) {
	r.all.Done()
	r.all.Wait()
	return r.fakeProvider.Complete(ctx, c)
}

// TestRace: of several callbacks that race on one state one signs in, and each
// of the others is recorded.
func TestRace(t *testing.T) {
	const n = 4
	strategies(t, func(t *testing.T, strategy string) {
		t.Helper()
		race := &racer{fakeProvider: &fakeProvider{id: "race"}}
		s := newWire(t, func(_ *site, c *gatebook.Config) {
			c.Session.Strategy, c.Providers = strategy, append(c.Providers, race)
		})
		race.prove("1", "ada@example.com", true)
		b := newBrowser(s.site)
		to := b.back("race", b.begin("race"))
		s.quiet()
		race.all.Add(n)
		answers := make(chan *answer, n)
		for range n {
			go func() {
				other := newBrowser(s.site)
				for k, v := range b.cookies {
					other.cookies[k] = v
				}
				answers <- other.get(to)
			}()
		}
		sessions := 0
		for range n {
			a := <-answers
			if slices.Contains(cookieNames(a), "authjs.session-token") {
				sessions++
				if a.Header.Get("Location") != s.server.URL {
					t.Errorf("the winner is sent to %q", a.Header.Get("Location"))
				}
			} else if want := s.server.URL + "/auth/error?error=Configuration"; a.Header.Get("Location") != want {
				t.Errorf("a loser is sent to %q, want %q", a.Header.Get("Location"), want)
			}
		}
		if sessions != 1 {
			t.Errorf("%d sessions", sessions)
		}
		count := map[string]int{}
		causes := map[string]bool{}
		for _, ev := range s.heard.all() {
			m := ev.Meta()
			count[m.Type]++
			if m.Type == record.TypeReplayDetected {
				causes[m.ID] = true
			}
			if m.Type == record.TypeSignInFailed && (m.Reason != record.ReasonReplay || !causes[m.Cause]) {
				t.Errorf("signIn.failed with reason %q, cause %q", m.Reason, m.Cause)
			}
		}
		want := map[string]int{"createUser": 1, "linkAccount": 1, "signIn": 1, record.TypeReplayDetected: n - 1, record.TypeSignInFailed: n - 1}
		if diff := cmp.Diff(want, count); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		want = map[string]int{"UseCheck": 1, "CreateUser": 1, "LinkAccount": 1}
		if strategy == gatebook.StrategyDatabase {
			want["CreateSession"] = 1
		}
		count = map[string]int{}
		for _, w := range s.spy.writes() {
			count[w]++
		}
		if diff := cmp.Diff(want, count); diff != "" {
			t.Errorf("writes (-want +got):\n%s", diff)
		}
	})
}

// TestCSRFAtSignIn: a sign-in that did not come from our page.
func TestCSRFAtSignIn(t *testing.T) {
	twice(t, func(t *testing.T, strategy string, xr bool) {
		t.Helper()
		for _, path := range []string{"/auth/signin/idp", "/auth/signin/email", "/auth/callback/credentials"} {
			st := newStage(t, strategy, nil)
			token, _ := csrfPair("1")
			_, other := csrfPair("2")
			header := []string{formType, "Cookie: " + other}
			if xr {
				header = append(header, "X-Auth-Return-Redirect: 1")
			}
			st.quiet()
			a := st.serve(request{"POST", path, "csrfToken=" + token + "&username=ada&password=right&email=ada@example.com", header})
			st.checkRefusal(a, xr, refusal{to: "/auth/signin?error=MissingCSRF", reason: record.ReasonCSRF, cause: record.TypeCSRFRejected, check: "csrf", why: "mismatch"})
			st.quiet()
			a = st.serve(request{"POST", path, "csrfToken=" + token, append([]string{formType}, header[2:]...)})
			st.checkRefusal(a, xr, refusal{to: "/auth/signin?error=MissingCSRF", reason: record.ReasonCSRF, cause: record.TypeCSRFRejected, check: "csrf", why: "missing"})
			if !slices.Contains(cookieNames(a), "authjs.csrf-token") {
				t.Error("a fresh CSRF cookie does not come with the failure")
			}
			st.checkLeaks(token)
			if len(st.mail.sent) > 0 || len(st.idp.begun) > 0 {
				t.Error("it did something")
			}
		}
	})
}

// TestBadBodies: what cannot be read is refused before anything is done.
func TestBadBodies(t *testing.T) {
	s := newWire(t, nil)
	token, cookie := csrfPair("1")
	many := func(n int) string { return strings.TrimSuffix(strings.Repeat("a=b&", n), "&") }
	members := func(n int) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(`,"` + strconv.Itoa(i) + `":1`)
		}
		return `{"csrfToken":"` + token + `"` + b.String() + "}"
	}
	const js, tooLarge, bad = "Content-Type: application/json", `"The request body is larger than 1 MiB."`, `"Bad request."`
	for _, tt := range []struct {
		name, typ, body string
		status          int
		answer          string
	}{
		{"form over 1 MiB", formType, "csrfToken=" + token + "&x=" + strings.Repeat("secret-marker", 1<<20/13), 413, tooLarge},
		{"JSON over 1 MiB", js, `{"csrfToken":"` + token + `","x":"` + strings.Repeat("x", 1<<20) + `"}`, 413, tooLarge},
		{"text over 1 MiB", "Content-Type: text/plain", strings.Repeat("x", 1<<20+1), 413, tooLarge},
		{"too many fields", formType, many(501), 400, bad},
		{"1 MiB of fields", formType, many(1 << 18), 400, bad},
		{"too many members", js, members(500), 400, bad},
		{"1 MiB of members", js, members(80_000), 400, bad},
		{"broken JSON", js, `{"csrfToken":"secret-marker"`, 400, bad},
		{"array", js, `["secret-marker"]`, 400, bad},
		{"string", js, `"x"`, 400, bad},
		{"deep JSON", js, `{"a":` + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000) + `}`, 400, bad},
		{"JSON not UTF-8", js, "{\"a\":\"\xff\"}", 400, bad},
		{"two JSON values", js, `{}{}`, 400, bad},
	} {
		for _, path := range []string{"/auth/signin/idp", "/auth/callback/credentials", "/auth/signout", "/auth/session", "/auth/csrf", "/auth/callback/idp"} {
			s.quiet()
			a := s.serve(request{"POST", path, tt.body, []string{tt.typ, "Cookie: " + cookie, "X-Auth-Return-Redirect: 1"}})
			if a.StatusCode != tt.status || a.body != tt.answer || len(cookieNames(a)) > 0 || a.Header.Get("Location") != "" {
				t.Errorf("%s, POST %s = %d %.60s, cookies %q", tt.name, path, a.StatusCode, a.body, cookieNames(a))
			}
			if lines := s.lines.all(); len(lines) != 1 || len(lines[0]) > 300 {
				t.Errorf("%s, POST %s: log %.300q", tt.name, path, lines)
			}
			s.check()
			if w := s.spy.writes(); len(w) > 0 {
				t.Errorf("%s: written %v", tt.name, w)
			}
		}
	}
	s.checkLeaks(token)
	for _, tt := range []struct{ typ, body string }{
		{formType, many(499) + "&csrfToken=" + token},
		{formType, "csrfToken=" + token + "&x=" + strings.Repeat("x", 1<<20-100)},
		{formType, "%zz=%&=&&&;;=;&csrfToken=" + token},
		{js, members(499)},
		{js, `{"csrfToken":"x","csrfToken":"` + token + `"}`},
	} {
		a := s.serve(request{"POST", "/auth/signout", tt.body, []string{tt.typ, "Cookie: " + cookie}})
		if a.Header.Get("Location") != s.server.URL {
			t.Errorf("%s %.60s = %d to %q, want home", tt.typ, tt.body, a.StatusCode, a.Header.Get("Location"))
		}
	}
	s.lines.reset()
	if a := s.serve(request{path: "/auth/csrf?" + many(501)}); a.StatusCode != 400 || a.body != bad || len(s.lines.all()) != 1 {
		t.Errorf("too many parameters = %d %s, log %q", a.StatusCode, a.body, s.lines.all())
	}
	if a := s.serve(request{path: "/auth/csrf?" + many(500)}); a.StatusCode != 200 {
		t.Errorf("500 parameters = %d", a.StatusCode)
	}
}

// TestOddCookies: large, many, and other people's cookies disturb nothing, over
// a real connection.
func TestOddCookies(t *testing.T) {
	strategies(t, func(t *testing.T, strategy string) {
		t.Helper()
		st := newStage(t, strategy, nil)
		st.signedIn(st.ada)
		session := "authjs.session-token=" + st.b.cookies["authjs.session-token"]
		var chunks []string
		for i := range 200 {
			chunks = append(chunks, fmt.Sprintf("authjs.session-token.%d=%s", i, strings.Repeat("x", 100)))
		}
		for _, tt := range []struct {
			name, cookie string
			signedIn     bool
		}{
			{"ours alone", session, true},
			{"a stranger's with our prefix", "authjs.session-token-other=1; authjs.session-tokenx=2; authjs.session-token.x=3; authjs.session-token.01=4; " + session, true},
			{"a stranger's behind ours", session + "; authjs.session-token-other=1; authjs.session-token.=x", true},
			{"twice, the first counts", session + "; authjs.session-token=x", true},
			{"twice, the first is wrong", "authjs.session-token=x; " + session, false},
			{"100 kB behind ours", session + "; x=" + strings.Repeat("x", 100_000), true},
			{"100 kB before ours", "x=" + strings.Repeat("x", 100_000) + "; " + session, false},
			{"100 kB of ours", "authjs.session-token=" + strings.Repeat("x", 100_000), false},
			{"60 kB of ours", "authjs.session-token=" + strings.Repeat("x", 60_000), false},
			{"200 chunks", strings.Join(chunks, "; "), false},
			{"200 chunks behind ours", session + "; " + strings.Join(chunks, "; "), true},
			{"1000 cookies before ours", strings.Repeat("a=b; ", 1000) + session, false},
			{"no names", "=; ==; ;;; =x; " + session, true},
			{"control characters", "a=\x01\x7f\xff; " + session, true},
			{"broken encoding", "a=%zz%; authjs.callback-url=%zz; authjs.csrf-token=%; " + session, true},
		} {
			st.quiet()
			a := st.serve(request{path: "/auth/session", header: []string{"Cookie: " + tt.cookie}})
			if a.StatusCode != 200 || tt.signedIn != strings.Contains(a.body, "ada@example.com") || !tt.signedIn && a.body != "null" {
				t.Errorf("%s: %d %s, want signed in: %v", tt.name, a.StatusCode, a.body, tt.signedIn)
			}
			for _, name := range cookieNames(a) {
				if strings.Contains(name, "other") || strings.HasSuffix(name, "tokenx") || strings.HasSuffix(name, ".x") {
					t.Errorf("%s: the answer touches %s", tt.name, name)
				}
			}
			req, err := http.NewRequest("GET", st.server.URL+"/auth/session", nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Cookie", strings.Map(func(r rune) rune {
				if r < ' ' || r == 0x7f {
					return -1
				}
				return r
			}, tt.cookie))
			res := st.do(req)
			if res.StatusCode != 200 {
				t.Errorf("%s over a connection: %d", tt.name, res.StatusCode)
			}
		}
		st.checkLeaks(strings.TrimPrefix(session, "authjs.session-token="))
	})
}

// TestBadSessionTokens: a token that is tampered with, foreign or expired opens
// nothing anywhere, is cleared, and is told of.
func TestBadSessionTokens(t *testing.T) {
	strategies(t, func(t *testing.T, strategy string) {
		t.Helper()
		foreign := func(st *stage) string {
			if strategy == gatebook.StrategyDatabase {
				return "7d6d3f2e-2f0c-4b57-9d5c-2b8f2f6f1c11"
			}
			other := newStage(t, strategy, func(_ *site, c *gatebook.Config) {
				c.Secrets = []gatebook.Secret{"another secret, also of 32 characters"}
			})
			other.signedIn(other.ada)
			return other.b.cookies["authjs.session-token"]
		}
		for _, tt := range []struct {
			name  string
			event string
			token func(*stage) string
		}{
			{"tampered", record.TypeSessionInvalid, func(st *stage) string { return flip(st.b.cookies["authjs.session-token"]) }},
			{"cut", record.TypeSessionInvalid, func(st *stage) string { s := st.b.cookies["authjs.session-token"]; return s[:len(s)-1] }},
			{"foreign", record.TypeSessionInvalid, foreign},
			{"made up", record.TypeSessionInvalid, func(*stage) string { return "secret-marker" }},
			{"alg none", record.TypeSessionInvalid, func(*stage) string { return "eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0." }},
			{"a check cookie", record.TypeSessionInvalid, func(st *stage) string { st.b.begin("idp"); return st.b.cookies[state] }},
			{"expired", record.TypeSessionExpired, func(st *stage) string {
				st.clock.advance(31 * 24 * time.Hour)
				return st.b.cookies["authjs.session-token"]
			}},
		} {
			for _, r := range []request{{path: "/auth/session"}, {method: "POST", path: "/auth/signout"}} {
				t.Run(tt.name+" at "+r.path, func(t *testing.T) {
					st := newStage(t, strategy, nil)
					st.signedIn(st.ada)
					bad := tt.token(st)
					token, csrf := csrfPair("1")
					r.body, r.header = "csrfToken="+token, []string{formType, "Cookie: " + csrf + "; authjs.session-token=" + bad}
					st.quiet()
					a := st.serve(r)
					if !slices.Contains(cookieNames(a), "-authjs.session-token") {
						t.Errorf("cookies %q", cookieNames(a))
					}
					if r.method == "" && (a.StatusCode != 200 || a.body != "null") || r.method == "POST" && a.Header.Get("Location") != st.server.URL {
						t.Errorf("%d to %q: %s", a.StatusCode, a.Header.Get("Location"), a.body)
					}
					event := tt.event
					if r.method == "POST" && strategy == gatebook.StrategyJWT {
						event = record.TypeSessionInvalid
					}
					st.check(event)
					for _, w := range st.spy.writes() {
						if w != "DeleteSession" || tt.name != "expired" {
							t.Errorf("written: %v", st.spy.writes())
						}
					}
					st.checkLeaks(bad)
				})
			}
		}
	})
}

// TestVeto is the signIn callback at each way in: scenario 66 and section 10.
func TestVeto(t *testing.T) {
	type attempt struct {
		name  string
		write []string
		run   func(st *stage, arm func()) *answer
	}
	attempts := []attempt{
		{"provider", []string{"UseCheck"}, func(st *stage, arm func()) *answer {
			to := st.b.back("idp", st.b.begin("idp"))
			arm()
			return st.b.get(to)
		}},
		{"link asked for", nil, func(st *stage, arm func()) *answer {
			st.b.get("/auth/csrf")
			arm()
			return st.b.post("/auth/signin/email", url.Values{"email": {"new@example.com"}})
		}},
		{"link opened", []string{"UseVerificationToken", "UseCheck"}, func(st *stage, arm func()) *answer {
			to := st.magicLink("new@example.com", "")
			arm()
			return st.b.get(to)
		}},
		{"credentials", nil, func(st *stage, arm func()) *answer {
			st.b.get("/auth/csrf")
			arm()
			return st.b.post("/auth/callback/credentials", url.Values{"username": {st.ada.ID}, "password": {"right"}})
		}},
	}
	denied := "/auth/error?error=AccessDenied"
	for _, tt := range []struct {
		name string
		veto func() error
		want refusal
	}{
		{"Deny", func() error { return gatebook.Deny("") }, refusal{to: denied, reason: record.ReasonAccessDenied}},
		{"Deny with a code", func() error { return gatebook.Deny("not today&x=\r\n") }, refusal{to: denied + "&code=not+today%26x%3D%0D%0A", reason: record.ReasonAccessDenied}},
		{"wrapped", func() error { return fmt.Errorf("secret-marker: %w", gatebook.Deny("")) }, refusal{to: denied, reason: record.ReasonAccessDenied}},
		{"RedirectTo", func() error { return gatebook.RedirectTo("/waiting?x=1") }, refusal{to: "/waiting?x=1", reason: record.ReasonAccessDenied}},
		{"error", func() error { return errors.New("secret-marker") }, refusal{to: denied, reason: record.ReasonInternal}},
		{"panic", func() error { panic("secret-marker") }, refusal{to: denied, reason: record.ReasonInternal}},
		{"panic with an error", func() error { panic(errors.New("secret-marker")) }, refusal{to: denied, reason: record.ReasonInternal}},
		{"bad credentials", func() error { return gatebook.ErrBadCredentials }, refusal{to: "/auth/signin?error=CredentialsSignin&code=credentials", reason: record.ReasonBadCredentials}},
		{"bad credentials with a code", func() error { return &gatebook.CredentialsError{Code: "my code"} }, refusal{to: "/auth/signin?error=CredentialsSignin&code=my+code", reason: record.ReasonBadCredentials}},
	} {
		for _, at := range attempts {
			t.Run(tt.name+", "+at.name, func(t *testing.T) {
				twice(t, func(t *testing.T, strategy string, xr bool) {
					t.Helper()
					armed := false
					var asked []*gatebook.SignInAttempt
					st := newStage(t, strategy, func(_ *site, c *gatebook.Config) {
						c.Callbacks.SignIn = func(_ context.Context, s *gatebook.SignInAttempt) error {
							if !armed {
								return nil
							}
							asked = append(asked, s)
							return tt.veto()
						}
					})
					st.idp.prove("1", "new@example.com", true)
					a := at.run(st, func() { armed = true; st.quiet(); st.mail.sent = nil; st.b.withHeader(xr) })
					want := tt.want
					want.writes = at.write
					if xr && strings.HasPrefix(tt.name, "RedirectTo") && a.Header.Get("Location") != st.server.URL+want.to {
						t.Errorf("Location = %q", a.Header.Get("Location"))
					}
					st.checkRefusal(a, xr, want)
					st.checkLeaks()
					if len(asked) != 1 {
						t.Fatalf("asked %d times", len(asked))
					}
					if got := asked[0]; got.VerificationRequest != (at.name == "link asked for") || (got.Profile != nil) != (at.name == "provider") ||
						(got.Credentials != nil) != (at.name == "credentials") || got.Request.Route == "" || got.Request.IP.String() != "192.0.2.1" {
						t.Errorf("asked with %+v", got)
					}
					switch got := asked[0]; at.name {
					case "credentials": // whom Authorize returned, not the row
						if got.User.ID != st.ada.ID || got.User.Name != "Ada Lovelace" {
							t.Errorf("asked about %+v", got.User)
						}
					case "link asked for", "link opened":
						if got.User.ID == "" || got.Account.UserID != got.User.ID || got.Account.ProviderAccountID != "new@example.com" {
							t.Errorf("asked about %+v, %+v", got.User, got.Account)
						}
					}
					if len(st.mail.sent) > 0 {
						t.Error("a mail was sent")
					}
				})
			})
		}
	}
	// Where the callback sends visitors goes through the redirect callback, so
	// what it took from a request cannot lead to another site.
	st := newStage(t, gatebook.StrategyDatabase, func(_ *site, c *gatebook.Config) {
		c.Callbacks.SignIn = func(context.Context, *gatebook.SignInAttempt) error { return gatebook.RedirectTo("//evil.example") }
	})
	st.idp.prove("1", "new@example.com", true)
	if a := st.b.get(st.b.back("idp", st.b.begin("idp"))); a.Header.Get("Location") != st.server.URL {
		t.Errorf("to %q, want home", a.Header.Get("Location"))
	}
}

// TestJWTCallbackAtSignIn is scenario 79 and section 10: no session without a
// token, no signIn without a session.
func TestJWTCallbackAtSignIn(t *testing.T) {
	for _, tt := range []struct {
		name   string
		fn     func() (*gatebook.Claims, error)
		to     string
		reason string
	}{
		{"nothing", func() (*gatebook.Claims, error) { return nil, nil }, "", record.ReasonAccessDenied},
		{"error", func() (*gatebook.Claims, error) { return nil, errors.New("secret-marker") }, "/auth/error?error=Configuration", record.ReasonInternal},
		{"panic", func() (*gatebook.Claims, error) { panic("secret-marker") }, "/auth/error?error=Configuration", record.ReasonInternal},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, known := range []bool{true, false} {
				armed := false
				st := newStage(t, gatebook.StrategyJWT, func(_ *site, c *gatebook.Config) {
					c.Callbacks.JWT = func(_ context.Context, p *gatebook.JWTParams) (*gatebook.Claims, error) {
						if armed {
							return tt.fn()
						}
						return &p.Token, nil
					}
				})
				st.idp.prove("1", "new@example.com", true)
				events, writes := []string{"createUser", "linkAccount", "signIn.failed"}, []string{"UseCheck", "CreateUser", "LinkAccount"}
				if known {
					st.link(st.ada, "idp", "1")
					events, writes = []string{"signIn.failed"}, []string{"UseCheck"}
				}
				to := st.b.back("idp", st.b.begin("idp"))
				st.b.cookies["authjs.session-token"] = "stale"
				st.quiet()
				armed = true
				a := st.b.get(to)
				st.check(events...)
				if diff := cmp.Diff(writes, st.spy.writes()); diff != "" {
					t.Errorf("writes (-want +got):\n%s", diff)
				}
				f := st.failed()
				if f.Reason != tt.reason || f.User == nil || f.User.ID == "" || f.Subject != f.User.ID {
					t.Errorf("signIn.failed: %q, %+v", f.Reason, f.User)
				}
				if a.Header.Get("Location") != st.server.URL+tt.to {
					t.Errorf("to %q, want %q", a.Header.Get("Location"), st.server.URL+tt.to)
				}
				if slices.Contains(cookieNames(a), "authjs.session-token") {
					t.Error("a session came out of it")
				}
				if tt.name == "nothing" && !slices.Contains(cookieNames(a), "-authjs.session-token") {
					t.Errorf("cookies %q, want the old session cleared", cookieNames(a))
				}
				if n := len(st.lines.all()); n != 1 {
					t.Errorf("log: %q", st.lines.all())
				}
				st.checkLeaks()
			}
		})
	}
}

// TestStoreFails: no session while the store cannot say that it has recorded
// one, one line in the log, nothing told, and all is well when it is back.
func TestStoreFails(t *testing.T) {
	down := errors.New("disk is full")
	strategies(t, func(t *testing.T, strategy string) {
		t.Helper()
		flows := map[string]func(st *stage) (path string, body url.Values){
			"provider": func(st *stage) (string, url.Values) { return st.b.back("idp", st.b.begin("idp")), nil },
			"link":     func(st *stage) (string, url.Values) { return st.magicLink("new@example.com", ""), nil },
			"request": func(*stage) (string, url.Values) {
				return "/auth/signin/email", url.Values{"email": {"new@example.com"}}
			},
			"credentials": func(st *stage) (string, url.Values) {
				return "/auth/callback/credentials", url.Values{"username": {st.ada.ID}, "password": {"right"}}
			},
		}
		for name, flow := range flows {
			for _, broken := range []string{"find", "commit", "both"} {
				if broken == "find" && name == "credentials" && strategy == gatebook.StrategyJWT {
					broken = "both" // it finds nothing out but in the commit
				}
				t.Run(name+" "+broken, func(t *testing.T) {
					st := newStage(t, strategy, nil)
					st.idp.prove("1", "new@example.com", true)
					path, form := flow(st)
					if form != nil {
						st.b.get("/auth/csrf")
					}
					run := func() *answer {
						if form != nil {
							return st.b.post(path, form)
						}
						return st.b.get(path)
					}
					held := map[string]string{}
					for k, v := range st.b.cookies {
						held[k] = v
					}
					st.quiet()
					if broken != "commit" {
						st.spy.onFind(func(gatebook.Query) error { return down })
					}
					if broken != "find" {
						st.spy.onCommit(func(*gatebook.Act) error { return down })
					}
					a := run()
					if want := st.server.URL + "/auth/error?error=Configuration"; a.Header.Get("Location") != want {
						t.Errorf("to %q, want %q", a.Header.Get("Location"), want)
					}
					if slices.Contains(cookieNames(a), "authjs.session-token") {
						t.Error("a session was given out")
					}
					lines := st.lines.all()
					if len(lines) != 1 || !strings.Contains(lines[0], "disk is full") || !strings.Contains(lines[0], "reason="+record.ReasonStoreError) {
						t.Errorf("log: %q", lines)
					}
					if broken == "find" {
						st.check("signIn.failed")
					} else {
						st.check()
						if w := st.spy.writes(); len(w) > 0 {
							t.Errorf("written: %v", w)
						}
					}
					st.spy.onFind(nil)
					st.spy.onCommit(nil)
					st.quiet()
					for k, v := range held {
						st.b.cookies[k] = v
					}
					if a := run(); strings.Contains(a.Header.Get("Location"), "error=") {
						t.Errorf("when the store is back: to %q\n%v", a.Header.Get("Location"), st.lines.all())
					}
				})
			}
		}
	})
}

// TestStoreFailsAtSecondCommit: with token sessions user and account are there
// and told of, and the session is not.
func TestStoreFailsAtSecondCommit(t *testing.T) {
	st := newStage(t, gatebook.StrategyJWT, nil)
	st.idp.prove("1", "new@example.com", true)
	to := st.b.back("idp", st.b.begin("idp"))
	st.quiet()
	commits := 0
	st.spy.onCommit(func(*gatebook.Act) error {
		if commits++; commits == 2 {
			return errors.New("disk is full")
		}
		return nil
	})
	a := st.b.get(to)
	if slices.Contains(cookieNames(a), "authjs.session-token") || !strings.HasSuffix(a.Header.Get("Location"), "error=Configuration") {
		t.Errorf("to %q, cookies %q", a.Header.Get("Location"), cookieNames(a))
	}
	st.check("createUser", "linkAccount", "signIn.failed")
	if f := st.failed(); f.Reason != record.ReasonStoreError || f.User == nil {
		t.Errorf("signIn.failed: %+v", f)
	}
	if n := len(st.lines.all()); n != 1 {
		t.Errorf("log: %q", st.lines.all())
	}
	// The next attempt finds both and signs in.
	st.quiet()
	st.b.get(st.b.back("idp", st.b.begin("idp")))
	st.check("signIn")
}

// TestInTxRefuses: what an InTx handler returns undoes the sign-in, and its text
// stays out of the log.
func TestInTxRefuses(t *testing.T) {
	strategies(t, func(t *testing.T, strategy string) {
		t.Helper()
		for name, fn := range map[string]func() error{
			"error": func() error { return errors.New("secret-marker") },
			"panic": func() error { panic("secret-marker") },
		} {
			for _, event := range []string{"createUser", "signIn"} {
				st := newStage(t, strategy, func(_ *site, c *gatebook.Config) {
					if event == "createUser" {
						c.InTx.CreateUser = func(_ context.Context, _ *sql.Tx, e *gatebook.CreateUserEvent) error {
							if e.SignInInfo == nil {
								return nil
							}
							return fn()
						}
						return
					}
					c.InTx.SignIn = func(context.Context, *sql.Tx, *gatebook.SignInEvent) error { return fn() }
				})
				st.idp.prove("1", "new@example.com", true)
				to := st.b.back("idp", st.b.begin("idp"))
				st.quiet()
				a := st.b.get(to)
				if slices.Contains(cookieNames(a), "authjs.session-token") || !strings.HasSuffix(a.Header.Get("Location"), "/auth/error?error=Configuration") {
					t.Errorf("%s, %s: to %q, cookies %q", name, event, a.Header.Get("Location"), cookieNames(a))
				}
				events, writes := []string{"signIn.failed"}, []string(nil) // a link would work again
				if event == "signIn" && strategy == gatebook.StrategyJWT {
					// User and account were committed before.
					events, writes = []string{"createUser", "linkAccount", "signIn.failed"}, []string{"UseCheck", "CreateUser", "LinkAccount"}
				}
				st.check(events...)
				if f := st.failed(); f.Reason != record.ReasonInternal {
					t.Errorf("%s, %s: reason %q", name, event, f.Reason)
				}
				if diff := cmp.Diff(writes, st.spy.writes()); diff != "" {
					t.Errorf("%s, %s: writes (-want +got):\n%s", name, event, diff)
				}
				if n := len(st.lines.all()); n != 1 {
					t.Errorf("log: %q", st.lines.all())
				}
				st.checkLeaks()
			}
		}
	})
}

// TestRefusalInTheWay: a refused attempt is recorded whatever other acts do, and
// what it uses up is given up last.
func TestRefusalInTheWay(t *testing.T) {
	for conflicts, writes := range map[int][]string{1: {"UseCheck"}, 2: {"UseCheck"}, 100: nil} {
		st := newStage(t, gatebook.StrategyDatabase, func(_ *site, c *gatebook.Config) {
			c.Callbacks.SignIn = func(context.Context, *gatebook.SignInAttempt) error { return gatebook.Deny("") }
		})
		st.idp.prove("1", "ada@example.com", true)
		to := st.b.back("idp", st.b.begin("idp"))
		st.quiet()
		left := conflicts
		st.spy.onCommit(func(act *gatebook.Act) error {
			if left--; left >= 0 && len(act.Writes) > 0 {
				return fmt.Errorf("serialization failure: %w", gatebook.ErrConflict)
			}
			return nil
		})
		st.checkRefusal(st.b.get(to), false, refusal{to: "/auth/error?error=AccessDenied", reason: record.ReasonAccessDenied, writes: writes})
		if f := st.failed(); f.User == nil || f.User.ID != st.ada.ID {
			t.Errorf("%d conflicts: user %v", conflicts, f.User)
		}
	}
}

// TestUnknownProvider: what stands in a path where a provider should be is not
// repeated in log and book.
func TestUnknownProvider(t *testing.T) {
	s := newWire(t, nil)
	token, cookie := csrfPair("1")
	for _, r := range []request{
		{path: "/auth/callback/secret-marker"},
		{path: "/auth/signin/secret-marker?callbackUrl=//evil"},
		{method: "POST", path: "/auth/callback/secret-marker", body: "csrfToken=" + token},
		{method: "POST", path: "/auth/signin/secret-marker", body: "csrfToken=" + token},
	} {
		r.header = []string{formType, "Cookie: " + cookie}
		if a := s.serve(r); a.Header.Get("Location") != s.server.URL+"/auth/error?error=Configuration" {
			t.Errorf("%v: to %q", r, a.Header.Get("Location"))
		}
	}
	s.checkLeaks()
}
