package gatebooktest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/gatebooktest"
	"github.com/gatebook/gatebook/record"
)

// spy is a test that goes on when it fails, and tells what it was told. Fatalf
// ends the goroutine that called it, as in a test.
type spy struct {
	testing.TB
	mu       sync.Mutex
	failed   []string
	cleanups []func()
}

func (s *spy) Helper()                  {}
func (s *spy) Output() io.Writer        { return io.Discard }
func (s *spy) Cleanup(f func())         { s.cleanups = append(s.cleanups, f) }
func (s *spy) Context() context.Context { return s.TB.Context() }

func (s *spy) Errorf(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed = append(s.failed, fmt.Sprintf(format, args...))
}

func (s *spy) Fatalf(format string, args ...any) {
	s.Errorf(format, args...)
	panic(s)
}

// run runs a test and returns what it failed with.
func run(t *testing.T, test func(testing.TB)) string {
	t.Helper()
	s := &spy{TB: t}
	func() {
		defer func() {
			if p := recover(); p != nil && p != any(s) {
				panic(p)
			}
		}()
		test(s)
	}()
	for _, f := range slices.Backward(s.cleanups) {
		f()
	}
	return strings.Join(s.failed, "\n")
}

var ada = gatebook.User{Email: "Ada@example.com", Name: "Ada Lovelace"}

func both(t *testing.T, fn func(t *testing.T, strategy string)) {
	t.Helper()
	for _, s := range []string{gatebook.StrategyJWT, gatebook.StrategyDatabase} {
		t.Run(s, func(t *testing.T) { fn(t, s) })
	}
}

func TestSignIn(t *testing.T) {
	both(t, func(t *testing.T, strategy string) {
		t.Helper()
		site := gatebooktest.New(t, gatebook.Config{Session: gatebook.SessionConfig{Strategy: strategy}})
		site.Mux.HandleFunc("/me", func(w http.ResponseWriter, r *http.Request) {
			s, err := site.Auth.Session(r)
			if err != nil {
				http.Error(w, err.Error(), http.StatusUnauthorized)
				return
			}
			io.WriteString(w, s.User.Email)
		})
		me := func(c *http.Client) string {
			res, err := c.Get(site.URL + "/me")
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			body, err := io.ReadAll(res.Body)
			if err != nil {
				t.Fatal(err)
			}
			return strings.TrimSpace(string(body))
		}
		client := site.SignIn(ada)
		site.Want("createUser", "signIn")
		if got := me(client); got != "ada@example.com" {
			t.Errorf("signed in as %q", got)
		}
		site.Want() // the session event is left out
		if got := me(client); got != "ada@example.com" {
			t.Errorf("then %q", got)
		}
		site.Want("session") // unless it is asked for
		if got := me(site.Client()); got != "gatebook: no session" {
			t.Errorf("another visitor: %q", got)
		}
		again := site.SignIn(gatebook.User{Email: "ADA@example.com"})
		site.Want("signIn")
		if got := me(again); got != "ada@example.com" {
			t.Errorf("signed in again as %q", got)
		}
		if res := site.Post(client, "/auth/signout", nil); res.Status != 404 || res.URL.String() != site.URL {
			t.Errorf("signing out leads to %s with %d", res.URL, res.Status) // the application has no page there
		}
		site.Want("signOut")
		if got := me(client); got != "gatebook: no session" {
			t.Errorf("after signing out: %q", got)
		}
		var recorded []string
		for _, e := range site.Entries() {
			recorded = append(recorded, e.Header.Type)
		}
		if diff := cmp.Diff([]string{"createUser", "signIn", "signIn", "signOut"}, recorded); diff != "" {
			t.Errorf("the book (-want +got):\n%s", diff)
		}
	})
}

func TestSignInByID(t *testing.T) {
	site := gatebooktest.New(t, gatebook.Config{})
	made, err := site.Auth.CreateUser(t.Context(), gatebook.User{ID: "u1", Email: "u1@example.com"})
	if err != nil {
		t.Fatal(err)
	}
	site.SignIn(gatebook.User{ID: made.ID})
	site.SignIn(gatebook.User{ID: "u2"})
	site.Want("createUser", "signIn", "createUser", "signIn")
	var who []string
	for _, e := range site.Events() {
		who = append(who, e.Meta().Subject)
	}
	if diff := cmp.Diff([]string{"u1", "u1", "u2", "u2"}, who); diff != "" {
		t.Errorf("subjects (-want +got):\n%s", diff)
	}
}

// TestRefusedSignIn: who expects to be signed in is told why not.
func TestRefusedSignIn(t *testing.T) {
	got := run(t, func(t testing.TB) {
		t.Helper()
		site := gatebooktest.New(t, gatebook.Config{Callbacks: gatebook.Callbacks{
			SignIn: func(context.Context, *gatebook.SignInAttempt) error { return gatebook.Deny("staffOnly") }}})
		site.SignIn(ada)
	})
	for _, part := range []string{"sign in as ada@example.com: gatebook: no session", "\n\tsignIn.failed accessDenied of ada@example.com", "with gatebooktest"} {
		if !strings.Contains(got, part) {
			t.Errorf("%q does not say %q", got, part)
		}
	}
}

func TestWantFails(t *testing.T) {
	for name, tt := range map[string]struct {
		want []string
		says string
	}{
		"too many": {[]string{"createUser"}, "want createUser; since the last Want there was\n\tcreateUser of ada@example.com "},
		"missing":  {[]string{"createUser", "linkAccount", "signIn"}, "want createUser, linkAccount, signIn; "},
		"order":    {[]string{"signIn", "createUser"}, "\n\tsignIn of ada@example.com "},
		"nothing":  {nil, "want nothing; since"},
	} {
		t.Run(name, func(t *testing.T) {
			got := run(t, func(t testing.TB) {
				t.Helper()
				site := gatebooktest.New(t, gatebook.Config{})
				site.SignIn(ada)
				site.Want(tt.want...)
				site.Want() // what was compared once is not compared again
			})
			if !strings.Contains(got, tt.says) || strings.Count(got, "gatebooktest:") != 1 {
				t.Errorf("says %q, want %q in it", got, tt.says)
			}
		})
	}
	got := run(t, func(t testing.TB) {
		t.Helper()
		site := gatebooktest.New(t, gatebook.Config{})
		site.SignIn(ada)
		gatebooktest.Last[*gatebook.SignOutEvent](site)
	})
	if !strings.HasPrefix(got, "gatebooktest: there was no *gatebook.SignOutEvent, but\n\tcreateUser") {
		t.Errorf("says %q", got)
	}
	got = run(t, func(t testing.TB) {
		t.Helper()
		gatebooktest.New(t, gatebook.Config{}).Want("signIn")
	})
	if got != "gatebooktest: want signIn; since the last Want there was nothing" {
		t.Errorf("says %q", got)
	}
}

// TestFire: handlers meet what they meet in production.
func TestFire(t *testing.T) {
	broken := errors.New("the mail server is down")
	var heard []string
	events := gatebook.JoinEvents(
		gatebook.Events{CreateUser: func(_ context.Context, e *gatebook.CreateUserEvent) error {
			heard = append(heard, "first "+e.User.Email)
			e.User.Email = "changed"
			return broken
		}},
		gatebook.Events{
			CreateUser: func(ctx context.Context, e *gatebook.CreateUserEvent) error {
				if _, ok := ctx.Deadline(); !ok {
					t.Error("no budget")
				}
				heard = append(heard, "second "+e.User.Email)
				panic("boom")
			},
			SignOut: gatebook.Detached(func(context.Context, *gatebook.SignOutEvent) error {
				heard = append(heard, "detached")
				return broken
			}),
			HandlerFailed: func(_ context.Context, e *gatebook.HandlerFailedEvent) error {
				heard = append(heard, "failed "+e.Reason)
				return nil
			},
		})
	site := gatebooktest.New(t, gatebook.Config{Events: events})
	ev := &gatebook.CreateUserEvent{User: &gatebook.User{ID: "u1", Email: "ada@example.com"}}
	err := site.Fire(ev)
	if !errors.Is(err, broken) || !strings.Contains(err.Error(), "handlerError") || !strings.Contains(err.Error(), "handlerPanic") {
		t.Errorf("Fire = %v", err)
	}
	if ev.User.Email != "ada@example.com" {
		t.Error("a handler changed the test's event")
	}
	if err := site.Fire(&gatebook.SignOutEvent{}); !errors.Is(err, broken) {
		t.Errorf("Fire for a detached handler = %v", err)
	}
	if err := site.Fire(&gatebook.UpdateUserEvent{}); err != nil {
		t.Errorf("Fire without a handler = %v", err)
	}
	want := []string{"first ada@example.com", "failed handlerError", "second ada@example.com", "failed handlerPanic", "detached", "failed handlerError"}
	if diff := cmp.Diff(want, heard); diff != "" {
		t.Errorf("heard (-want +got):\n%s", diff)
	}
	site.Want("handler.failed", "handler.failed", "createUser", "signOut", "handler.failed", "updateUser")
	if n := len(site.Entries()); n != 0 {
		t.Errorf("%d entries: Fire must not write what did not happen", n)
	}
}

// TestFireFillsIn: every message gets the type it is recorded under, and an
// envelope that a handler can use.
func TestFireFillsIn(t *testing.T) {
	user := &gatebook.User{ID: "u1"}
	account := &gatebook.Account{Provider: "github", Type: gatebook.TypeOAuth}
	for _, tt := range []struct {
		ev   gatebook.Event
		typ  string
		user bool
	}{
		{&gatebook.SignInEvent{User: user, Account: account}, record.TypeSignIn, true},
		{&gatebook.SignOutEvent{}, record.TypeSignOut, false},
		{&gatebook.CreateUserEvent{User: user}, record.TypeCreateUser, true},
		{&gatebook.UpdateUserEvent{User: user}, record.TypeUpdateUser, true},
		{&gatebook.LinkAccountEvent{User: user, Account: account}, record.TypeLinkAccount, true},
		{&gatebook.SessionEvent{}, record.TypeSession, false},
		{&gatebook.SignInFailedEvent{}, record.TypeSignInFailed, false},
		{&gatebook.DeleteUserEvent{User: user}, record.TypeDeleteUser, true},
		{&gatebook.UnlinkAccountEvent{User: user, Account: account}, record.TypeUnlinkAccount, true},
		{&gatebook.SessionRevokedEvent{User: user}, record.TypeSessionRevoked, true},
		{&gatebook.SessionExpiredEvent{User: user}, record.TypeSessionExpired, true},
		{&gatebook.SessionInvalidEvent{}, record.TypeSessionInvalid, false},
		{&gatebook.TokensOmittedEvent{User: user, Account: account}, record.TypeAccountTokensOmitted, true},
		{&gatebook.PasskeyEvent{Envelope: gatebook.Envelope{Type: record.TypePasskeyAdded}, User: user}, record.TypePasskeyAdded, true},
		{&gatebook.DefenceEvent{Envelope: gatebook.Envelope{Type: record.TypeCSRFRejected}}, record.TypeCSRFRejected, false},
	} {
		var got gatebook.Envelope
		site := gatebooktest.New(t, gatebook.Config{Events: gatebook.Events{Any: func(_ context.Context, e gatebook.Event) error {
			got = *e.Meta()
			return nil
		}}})
		if err := site.Fire(tt.ev); err != nil {
			t.Errorf("%T: %v", tt.ev, err)
		}
		if got.Type != tt.typ || got.ID == "" || got.Act == "" || got.Version != 1 || got.Time.IsZero() || !got.Request.IP.IsValid() ||
			got.Outcome == "" || tt.user != (got.Subject == "u1" && got.Actor == gatebook.Actor{Type: record.ActorUser, ID: "u1"}) {
			t.Errorf("%T: envelope %+v", tt.ev, got)
		}
		if _, ok := tt.ev.(*gatebook.SignInEvent); ok && (got.Auth.Provider != "github" || got.Auth.Method != "oauth") {
			t.Errorf("auth %+v", got.Auth)
		}
	}
	for _, ev := range []gatebook.Event{&gatebook.UserAdoptedEvent{User: user}, &gatebook.SessionAdoptedEvent{User: user}} {
		if err := gatebooktest.New(t, gatebook.Config{}).Fire(ev); err != nil || ev.Meta().Source != record.SourceForeign ||
			ev.Meta().Actor.Type != record.ActorSystem || ev.Meta().Subject != "u1" {
			t.Errorf("%T: %v, envelope %+v", ev, err, ev.Meta())
		}
	}
	got := run(t, func(t testing.TB) {
		t.Helper()
		_ = gatebooktest.New(t, gatebook.Config{}).Fire(&gatebook.DefenceEvent{})
	})
	if !strings.Contains(got, "set the Type of a *gatebook.DefenceEvent") {
		t.Errorf("says %q", got)
	}
}

// TestFail: each step of the store fails as it does in production, and only as
// long as it is told to.
func TestFail(t *testing.T) {
	site := gatebooktest.New(t, gatebook.Config{Session: gatebook.SessionConfig{UpdateAge: -1}})
	client := site.SignIn(ada)
	site.Mux.Handle("/", site.Auth.Require(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
	status := func() int {
		res, err := client.Get(site.URL + "/")
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		return res.StatusCode
	}
	store := func(string) error { _, err := site.Auth.CreateUser(t.Context(), gatebook.User{Name: "x"}); return err }
	user := site.Events()[0].Meta().Subject
	for step, act := range map[gatebooktest.Step]func() error{
		gatebooktest.StepFind: func() error {
			_, err := site.Auth.UpdateUser(t.Context(), gatebook.User{ID: user, Name: "A"}, "name")
			return err
		},
		gatebooktest.StepSessions: func() error { _, err := site.Auth.RevokeSessions(t.Context(), user); return err },
		gatebooktest.StepAccounts: func() error {
			_, err := site.Auth.Accounts(t.Context(), user)
			return err
		},
		gatebooktest.StepAuthenticators: func() error {
			_, err := site.Auth.Passkeys(t.Context(), user)
			return err
		},
		gatebooktest.StepCommit: func() error { return store("") },
		gatebooktest.StepConflict: func() error {
			err := store("")
			if err != nil && !errors.Is(err, gatebook.ErrConflict) {
				t.Errorf("conflict: %v", err)
			}
			return err
		},
		gatebooktest.StepUnknown: func() error {
			err := store("")
			if err != nil && !errors.Is(err, gatebook.ErrCommitUnknown) {
				t.Errorf("unknown: %v", err)
			}
			return err
		},
	} {
		mend := site.Fail(step)
		if err := act(); !errors.Is(err, gatebooktest.ErrFailed) {
			t.Errorf("%s: %v", step, err)
		}
		mend()
		mend()
		if step == gatebooktest.StepSessions {
			continue // it would end the session
		}
		if err := act(); err != nil {
			t.Errorf("%s, mended: %v", step, err)
		}
	}
	for _, step := range []gatebooktest.Step{gatebooktest.StepSession, gatebooktest.StepExtend} {
		if got := status(); got != 200 {
			t.Errorf("before %s: %d", step, got)
		}
		mend := site.Fail(step)
		if got := status(); got != 503 {
			t.Errorf("%s: %d, want 503", step, got)
		}
		mend()
	}
	got := run(t, func(t testing.TB) {
		t.Helper()
		gatebooktest.New(t, gatebook.Config{}).Fail("disk")
	})
	if !strings.Contains(got, `Fail("disk"): the steps are ["find" "session"`) {
		t.Errorf("says %q", got)
	}
}

// TestFailedCommit: nothing is written, nobody is signed in and no handler is
// told otherwise.
func TestFailedCommit(t *testing.T) {
	idp := gatebooktest.NewOpenID(t)
	site := gatebooktest.New(t, gatebook.Config{Providers: []gatebook.Provider{idp.Provider("acme")}, Logger: slog.New(slog.DiscardHandler)})
	client := site.Client()
	mend := site.Fail("commit")
	res := site.Post(client, "/auth/signin/acme", nil)
	if !strings.Contains(res.URL.String(), "/auth/error?error=Configuration") {
		t.Errorf("it ends at %s", res.URL)
	}
	site.Want()
	mend()
	site.Post(client, "/auth/signin/acme", nil)
	site.Want("createUser", "linkAccount", "signIn")
}

func TestOpenID(t *testing.T) {
	both(t, func(t *testing.T, strategy string) {
		t.Helper()
		idp := gatebooktest.NewOpenID(t)
		var log bytes.Buffer
		site := gatebooktest.New(t, gatebook.Config{Providers: []gatebook.Provider{idp.Provider("acme")},
			Session: gatebook.SessionConfig{Strategy: strategy}, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		site.Post(site.Client(), "/auth/signin/acme", nil)
		site.Want("createUser", "linkAccount", "signIn")
		site.Post(site.Client(), "/auth/signin/acme", nil)
		site.Want("signIn")
		in := gatebooktest.Last[*gatebook.SignInEvent](site)
		if in.User.Email != "ada@example.com" || in.Profile.String("name") != "Ada Lovelace" || in.Account.ProviderAccountID != "ada" || *in.IsNewUser {
			t.Errorf("signIn: %+v", in)
		}
		idp.Person(map[string]any{"sub": "eve", "email": "ada@example.com"})
		res := site.Post(site.Client(), "/auth/signin/acme", nil)
		site.Want("signIn.failed")
		if !strings.Contains(res.URL.RawQuery, "OAuthAccountNotLinked") {
			t.Errorf("it ends at %s", res.URL)
		}
		idp.Person(map[string]any{"sub": "ada", "iss": "https://somebody-else.example"})
		site.Post(site.Client(), "/auth/signin/acme", nil)
		site.Want("check.failed", "signIn.failed")
		idp.Refuse("access_denied")
		site.Post(site.Client(), "/auth/signin/acme", nil)
		site.Want("signIn.failed")
		if got := gatebooktest.Last[*gatebook.SignInFailedEvent](site).Reason; got != record.ReasonProviderDenied {
			t.Errorf("reason %q", got)
		}
		idp.Refuse("")
		idp.Person(map[string]any{"sub": "ada"})
		site.Post(site.Client(), "/auth/signin/acme", nil)
		site.Want("signIn")
	})
}

// TestOpenIDRefuses: a client that gets the protocol wrong is refused, as by
// real providers.
func TestOpenIDRefuses(t *testing.T) {
	idp := gatebooktest.NewOpenID(t)
	c := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	const back = "https://site.example/cb"
	authorize := func(change func(url.Values)) *http.Response {
		q := url.Values{"client_id": {idp.ClientID}, "redirect_uri": {back}, "response_type": {"code"}, "state": {"s"},
			// The challenge of the verifier "v".
			"code_challenge_method": {"S256"}, "code_challenge": {"TJRIXgwhrmxBzh3-e2v6zupato5AokdvUCCOUm9QYIA"}}
		change(q)
		res, err := c.Get(idp.URL + "/authorize?" + q.Encode())
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		return res
	}
	for name, change := range map[string]func(url.Values){
		"no redirect_uri": func(q url.Values) { q.Del("redirect_uri") },
		"another client":  func(q url.Values) { q.Set("client_id", "x") },
	} {
		if res := authorize(change); res.StatusCode != 400 {
			t.Errorf("%s: %d to %q", name, res.StatusCode, res.Header.Get("Location"))
		}
	}
	for name, change := range map[string]func(url.Values){
		"implicit": func(q url.Values) { q.Set("response_type", "token") },
		"no PKCE":  func(q url.Values) { q.Del("code_challenge") },
		"plain":    func(q url.Values) { q.Set("code_challenge_method", "plain") },
	} {
		if to := authorize(change).Header.Get("Location"); !strings.Contains(to, "error=invalid_request") || strings.Contains(to, "code=") {
			t.Errorf("%s: to %q", name, to)
		}
	}
	redeem := func(secret string, change func(url.Values)) (int, string) {
		to, err := url.Parse(authorize(func(url.Values) {}).Header.Get("Location"))
		if err != nil {
			t.Fatal(err)
		}
		form := url.Values{"grant_type": {"authorization_code"}, "code": {to.Query().Get("code")}, "redirect_uri": {back}, "code_verifier": {"v"}}
		change(form)
		r, err := http.NewRequestWithContext(t.Context(), "POST", idp.URL+"/token", strings.NewReader(form.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.SetBasicAuth(idp.ClientID, secret)
		res, err := c.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, string(body)
	}
	if status, body := redeem(idp.ClientSecret, func(url.Values) {}); status != 200 || !strings.Contains(body, "id_token") {
		t.Fatalf("the right request: %d %s", status, body)
	}
	if status, body := redeem("wrong", func(url.Values) {}); status != 401 || !strings.Contains(body, "invalid_client") {
		t.Errorf("wrong secret: %d %s", status, body)
	}
	for name, change := range map[string]func(url.Values){
		"no such code":         func(f url.Values) { f.Set("code", "x") },
		"another verifier":     func(f url.Values) { f.Set("code_verifier", "w") },
		"another redirect_uri": func(f url.Values) { f.Set("redirect_uri", back+"/") },
		"another grant":        func(f url.Values) { f.Set("grant_type", "password") },
	} {
		if status, body := redeem(idp.ClientSecret, change); status != 400 || !strings.Contains(body, "invalid_grant") {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
	r, err := http.NewRequestWithContext(t.Context(), "GET", idp.URL+"/userinfo", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer x")
	res, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if res.Body.Close(); res.StatusCode != 401 {
		t.Errorf("userinfo with a made-up token: %d", res.StatusCode)
	}
}

// TestConfiguration: what production has is kept, and what is wrong is said.
func TestConfiguration(t *testing.T) {
	site := gatebooktest.New(t, gatebook.Config{URL: "https://app.example.com/api/auth", Secrets: []gatebook.Secret{"one that is the test's own, 32 bytes"}})
	site.SignIn(ada)
	site.Want("createUser", "signIn")
	if res := site.Post(site.Client(), "/api/auth/signout", nil); res.Status != 404 || res.URL.String() != site.URL {
		t.Errorf("sign-out ends at %s", res.URL)
	}
	root := gatebooktest.New(t, gatebook.Config{BasePath: "/"})
	root.Mux.HandleFunc("/orders", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "orders") })
	client := root.SignIn(ada)
	res, err := client.Get(root.URL + "/orders")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, _ := io.ReadAll(res.Body); string(body) != "orders" {
		t.Errorf("%q", body)
	}
	got := run(t, func(t testing.TB) {
		t.Helper()
		gatebooktest.New(t, gatebook.Config{Session: gatebook.SessionConfig{Strategy: "cookie"}})
	})
	if !strings.Contains(got, `Config.Session.Strategy "cookie"`) {
		t.Errorf("says %q", got)
	}
}

// TestStop: a detached handler that does not end fails the test it belongs to.
func TestStop(t *testing.T) {
	t.Parallel() // it waits
	release := make(chan bool)
	defer close(release)
	got := run(t, func(t testing.TB) {
		t.Helper()
		site := gatebooktest.New(t, gatebook.Config{Events: gatebook.Events{
			CreateUser: gatebook.Detached(func(context.Context, *gatebook.CreateUserEvent) error { <-release; return nil })}})
		site.SignIn(ada)
	})
	if !strings.Contains(got, "close the site: wait for detached handlers") {
		t.Errorf("says %q", got)
	}
}
