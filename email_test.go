package gatebook_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/provider/email"
	"github.com/gatebook/gatebook/record"
)

// dump is every byte of an answer.
func dump(t *testing.T, a *answer) string {
	t.Helper()
	head, err := httputil.DumpResponse(a.Response, false)
	if err != nil {
		t.Fatal(err)
	}
	return string(head) + a.body
}

// TestLinkRequest is scenario 63: the token's hash, the link's parameters and
// their order, the redirect; and known and unknown addresses get the same bytes.
func TestLinkRequest(t *testing.T) {
	for name, secrets := range map[string][]gatebook.Secret{"one secret": {secret}, "two secrets": {"a new secret, 32 characters long", secret}} {
		t.Run(name, func(t *testing.T) {
			strategies(t, func(t *testing.T, strategy string) {
				t.Helper()
				st := newStage(t, strategy, func(_ *site, c *gatebook.Config) { c.Secrets = secrets })
				st.b.get("/auth/csrf")
				var answers []string
				for _, address := range []string{"ada@example.com", "new@example.com"} {
					st.quiet()
					a := st.b.post("/auth/signin/email", url.Values{"email": {" " + strings.ToUpper(address) + "\n"}, "callbackUrl": {"/cb?a=b&c"}})
					answers = append(answers, dump(t, a))
					delete(st.b.cookies, "authjs.callback-url")
					if want := st.server.URL + "/auth/verify-request?provider=email&type=email"; a.StatusCode != 302 || a.Header.Get("Location") != want {
						t.Errorf("%d to %q, want %q", a.StatusCode, a.Header.Get("Location"), want)
					}
					st.check()
					if diff := cmp.Diff([]string{"CreateVerificationToken", "UseCheck"}, st.spy.writes()); diff != "" {
						t.Errorf("writes (-want +got):\n%s", diff)
					}
					link := st.mail.link(t)
					before := st.server.URL + "/auth/callback/email?callbackUrl=" + url.QueryEscape(st.server.URL+"/cb?a=b&c") + "&token="
					after := "&email=" + url.QueryEscape(address)
					token, ok1 := strings.CutPrefix(link, before)
					token, ok2 := strings.CutSuffix(token, after)
					if !ok1 || !ok2 || len(token) < 43 || strings.ContainsAny(token, "%&=") {
						t.Fatalf("link %s, want %s…%s", link, before, after)
					}
					joined := string(secrets[0])
					for _, s := range secrets[1:] {
						joined += "," + string(s)
					}
					sum := sha256.Sum256([]byte(token + joined))
					want := gatebook.VerificationToken{Identifier: address, Hash: hex.EncodeToString(sum[:]), Expires: st.clock.Now().Add(24 * time.Hour)}
					if diff := cmp.Diff(want, st.spy.wrote[0].(gatebook.CreateVerificationToken).Token); diff != "" {
						t.Errorf("row (-want +got):\n%s", diff)
					}
					if n := len(st.lines.all()); n > 0 {
						t.Errorf("log: %q", st.lines.all())
					}
					st.checkLeaks(token)
				}
				if answers[0] != answers[1] {
					t.Errorf("a known and an unknown address differ:\n%s\n%s", answers[0], answers[1])
				}
				a := st.b.get("/auth/verify-request?provider=email&type=email")
				if a.StatusCode != 200 || !strings.Contains(a.body, "Check your email") || strings.Contains(a.body, "example.com") {
					t.Errorf("%d %s", a.StatusCode, a.body)
				}
			})
		})
	}
}

// TestLinkAddresses is scenario 64: what is no address is refused before
// anything is written or sent.
func TestLinkAddresses(t *testing.T) {
	s := newWire(t, nil)
	b := newBrowser(s.site)
	b.get("/auth/csrf")
	for _, address := range []string{"", " ", "x", "@", "a@", "@b", "x@y@z", `"a"@b.example`, "a@b.example\r\nBcc: c@d.example", "a＠b.example", "a@b.example,c@d.example",
		"a@b.example;c@d.example", "a@b .example", "<a@b.example>", "a@b.example\x00", strings.Repeat("a", 300) + "@b.example", "secret-marker"} {
		s.quiet()
		a := b.post("/auth/signin/email", url.Values{"email": {address}})
		s.checkRefusal(a, false, refusal{to: "/auth/error?error=Configuration", reason: record.ReasonIdentifierInvalid})
	}
	a := b.post("/auth/signin/email", nil)
	if !strings.HasSuffix(a.Header.Get("Location"), "error=Configuration") {
		t.Errorf("no address: to %q", a.Header.Get("Location"))
	}
	if n := len(s.mail.sent); n > 0 {
		t.Errorf("%d mails were sent", n)
	}
	s.checkLeaks()
	for address, want := range map[string]string{"Foo@Example.com": "foo@example.com", "a@b.c,evil.com": "a@b.c", " x@localhost ": "x@localhost"} {
		b.post("/auth/signin/email", url.Values{"email": {address}})
		if got := s.mail.sent[len(s.mail.sent)-1].To; got != want {
			t.Errorf("%q: mail to %q, want %q", address, got, want)
		}
	}
}

// TestLinkOpened is scenario 65.
func TestLinkOpened(t *testing.T) {
	const verification = "/auth/error?error=Verification"
	links := []string{"UseVerificationToken", "UseCheck"}
	edit := func(change func(url.Values)) func(*stage, string) string {
		return func(_ *stage, to string) string {
			u, _ := url.Parse(to)
			q := u.Query()
			change(q)
			u.RawQuery = q.Encode()
			return u.String()
		}
	}
	for _, tt := range []struct {
		name   string
		change func(st *stage, to string) string
		want   refusal
		target string
		user   bool // ada is named
	}{
		{"in another browser", func(_ *stage, to string) string { return to }, refusal{}, "", false},
		{"without the address", edit(func(q url.Values) { q.Del("email") }), refusal{}, "", false},
		{"with POST", func(_ *stage, to string) string { return "POST " + to }, refusal{}, "", false},
		{"to another site", edit(func(q url.Values) { q.Set("callbackUrl", "https://evil.example") }), refusal{}, "", false},
		{"a scanner came first", func(st *stage, to string) string {
			st.serve(request{method: "HEAD", path: to})
			st.serve(request{method: "OPTIONS", path: to})
			return to
		}, refusal{}, "", false},
		{"no token", edit(func(q url.Values) { q.Del("token") }), refusal{to: verification, reason: record.ReasonTokenUnknown}, "ada@example.com", true},
		{"nothing", func(*stage, string) string { return "/auth/callback/email" }, refusal{to: verification, reason: record.ReasonTokenUnknown}, "", false},
		{"made-up token", edit(func(q url.Values) { q.Set("token", "secret-marker") }), refusal{to: verification, reason: record.ReasonTokenUnknown}, "ada@example.com", true},
		{"made-up token, no address", edit(func(q url.Values) { q.Set("token", "x"); q.Set("email", "secret-marker") }), refusal{to: verification, reason: record.ReasonTokenUnknown}, "", false},
		{"another address", edit(func(q url.Values) { q.Set("email", "grace@example.com") }), refusal{to: verification, reason: record.ReasonTokenUnknown, writes: links}, "ada@example.com", true},
		{"address in another case", edit(func(q url.Values) { q.Set("email", "ADA@example.com") }), refusal{to: verification, reason: record.ReasonTokenUnknown, writes: links}, "ada@example.com", true},
		{"used before", func(st *stage, to string) string {
			newBrowser(st.site).get(to)
			return to
		}, refusal{to: verification, reason: record.ReasonTokenUsed, cause: record.TypeReplayDetected, check: "verificationToken", why: "used"}, "ada@example.com", true},
		{"at the last moment", func(st *stage, to string) string { st.clock.advance(24*time.Hour - time.Millisecond); return to }, refusal{}, "", false},
		{"too late", func(st *stage, to string) string { st.clock.advance(24 * time.Hour); return to },
			refusal{to: verification, reason: record.ReasonTokenExpired, writes: links}, "ada@example.com", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			twice(t, func(t *testing.T, strategy string, xr bool) {
				t.Helper()
				st := newStage(t, strategy, nil)
				to := st.magicLink("ada@example.com", "/cb")
				u, _ := url.Parse(to)
				to = tt.change(st, to)
				st.quiet()
				st.b.withHeader(xr)
				r := request{path: to}
				if rest, ok := strings.CutPrefix(to, "POST "); ok {
					r = request{method: "POST", path: rest, header: []string{formType}}
				}
				a := st.b.do(r)
				defer st.checkLeaks(u.Query().Get("token"))
				if tt.want.to == "" {
					events, to := []string{"updateUser", "signIn"}, st.server.URL+"/cb"
					if tt.name == "to another site" {
						events, to = append([]string{"redirect.rejected"}, events...), st.server.URL
					}
					st.check(events...)
					if a.Header.Get("Location") != to {
						t.Errorf("to %q, want %q", a.Header.Get("Location"), to)
					}
					if e := st.signIn(); e.User.ID != st.ada.ID || !e.User.EmailVerified.Equal(st.clock.Now()) || e.Profile != nil || e.Account.UserID != st.ada.ID ||
						e.Account.ProviderAccountID != "ada@example.com" || e.Account.Provider != "email" || e.Account.Type != "email" {
						t.Errorf("signIn: user %+v, account %+v", e.User, e.Account)
					}
					return
				}
				st.checkRefusal(a, xr, tt.want)
				f := st.failed()
				if f.Target != tt.target || tt.user != (f.User != nil && f.User.ID == st.ada.ID) {
					t.Errorf("signIn.failed names target %q, user %+v", f.Target, f.User)
				}
			})
		})
	}
}

// TestLinkRace: of several who open one link at once, one is signed in.
func TestLinkRace(t *testing.T) {
	strategies(t, func(t *testing.T, strategy string) {
		t.Helper()
		const n = 4
		arrived, all := make(chan bool, n), make(chan bool)
		st := newStage(t, strategy, func(_ *site, c *gatebook.Config) {
			c.Callbacks.SignIn = func(_ context.Context, s *gatebook.SignInAttempt) error {
				if !s.VerificationRequest {
					arrived <- true
					<-all
				}
				return nil
			}
		})
		to := st.magicLink("ada@example.com", "")
		st.quiet()
		answers := make(chan *answer, n)
		for range n {
			go func() { answers <- newBrowser(st.site).get(to) }()
		}
		for range n {
			<-arrived
		}
		close(all)
		sessions := 0
		for range n {
			a := <-answers
			if slices.Contains(cookieNames(a), "authjs.session-token") {
				sessions++
			} else if want := st.server.URL + "/auth/error?error=Verification"; a.Header.Get("Location") != want {
				t.Errorf("to %q, want %q", a.Header.Get("Location"), want)
			}
		}
		count := map[string]int{}
		for _, ev := range st.heard.all() {
			count[ev.Meta().Type]++
			if f, ok := ev.(*gatebook.SignInFailedEvent); ok && (f.Reason != record.ReasonTokenUsed || f.Cause == "" || f.User == nil) {
				t.Errorf("signIn.failed: %q, cause %q, user %v", f.Reason, f.Cause, f.User)
			}
		}
		want := map[string]int{"updateUser": 1, "signIn": 1, record.TypeReplayDetected: n - 1, record.TypeSignInFailed: n - 1}
		if diff := cmp.Diff(want, count); diff != "" || sessions != 1 {
			t.Errorf("%d sessions; events (-want +got):\n%s", sessions, diff)
		}
	})
}

// TestMailFails: the visitor sees the same for every address, the operator what
// the mail server said, and nobody the link.
func TestMailFails(t *testing.T) {
	twice(t, func(t *testing.T, strategy string, xr bool) {
		t.Helper()
		for name, fail := range map[string]func(m *email.Message) error{
			"error":      func(*email.Message) error { return errors.New("550 mailbox is full") },
			"quotes":     func(m *email.Message) error { return fmt.Errorf("550 refused: %s", m.Text) },
			"panic":      func(m *email.Message) error { panic(m.Text) },
			"no hang-up": nil,
		} {
			t.Run(name, func(t *testing.T) {
				var seen context.Context
				st := newStage(t, strategy, func(s *site, c *gatebook.Config) {
					p, err := email.New(email.Config{From: "a@example.com", Mailer: mailFunc(func(ctx context.Context, m *email.Message) error {
						seen = ctx
						s.mail.sent = append(s.mail.sent, m)
						if fail != nil {
							return fail(m)
						}
						return nil
					})})
					if err != nil {
						t.Fatal(err)
					}
					c.Providers[2] = p
				})
				st.b.get("/auth/csrf")
				var answers []string
				for _, address := range []string{"ada@example.com", "new@example.com"} {
					st.quiet()
					st.b.withHeader(xr)
					a := st.b.post("/auth/signin/email", url.Values{"email": {address}})
					answers = append(answers, dump(t, a))
					// A hang is bounded, and the visitor's hang-up ends nothing.
					if end, ok := seen.Deadline(); !ok || time.Until(end) > 31*time.Second {
						t.Error("the mailer has no deadline")
					}
					if fail == nil {
						continue
					}
					reason := record.ReasonMailFailed
					st.checkRefusal(a, xr, refusal{to: "/auth/error?error=Configuration", reason: reason, writes: []string{"CreateVerificationToken", "UseCheck", "UseVerificationToken"}})
					f := st.failed()
					if f.Target != address || (f.User != nil) != (address == "ada@example.com") {
						t.Errorf("signIn.failed: target %q, user %v", f.Target, f.User)
					}
					if name == "error" && !strings.Contains(st.lines.all()[0], "550 mailbox is full") {
						t.Errorf("log: %q", st.lines.all())
					}
					u, _ := url.Parse(st.mail.link(t))
					st.checkLeaks(u.Query().Get("token"))
				}
				if answers[0] != answers[1] {
					t.Errorf("a known and an unknown address differ:\n%s\n%s", answers[0], answers[1])
				}
			})
		}
	})
}

type mailFunc func(context.Context, *email.Message) error

func (f mailFunc) Send(ctx context.Context, m *email.Message) error { return f(ctx, m) }

// TestMailHangs: a mailer that waits for ever is given up after half a minute.
func TestMailHangs(t *testing.T) {
	s := newWire(t, func(_ *site, c *gatebook.Config) {
		p, err := email.New(email.Config{From: "a@example.com", Mailer: mailFunc(func(ctx context.Context, m *email.Message) error {
			<-ctx.Done()
			return context.Cause(ctx)
		})})
		if err != nil {
			t.Fatal(err)
		}
		c.Providers[2] = p
	})
	synctest.Test(t, func(t *testing.T) {
		b := newBrowser(s.site)
		b.get("/auth/csrf")
		s.quiet()
		begun := time.Now()
		a := b.post("/auth/signin/email", url.Values{"email": {"ada@example.com"}})
		if !strings.HasSuffix(a.Header.Get("Location"), "error=Configuration") {
			t.Errorf("to %q", a.Header.Get("Location"))
		}
		if took := time.Since(begun); took != 30*time.Second {
			t.Errorf("it took %v", took)
		}
	})
	if f := s.failed(); f.Reason != record.ReasonMailFailed {
		t.Errorf("reason %q", f.Reason)
	}
}
