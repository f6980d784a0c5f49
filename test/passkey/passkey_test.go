// Package passkey_test registers and uses passkeys on the built-in page, in
// Chromium with an authenticator of its own, and together with the real Auth.js.
package passkey_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/webauthn"
	"github.com/chromedp/chromedp"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/adapter/sqlite"
	"github.com/gatebook/gatebook/passkey"
	"github.com/gatebook/gatebook/test/browser"
)

const secret = "correct horse battery staple, 32 characters"

// site is a small application with passkeys on SQLite.
type site struct {
	t    *testing.T
	auth *gatebook.Auth
	url  string
	log  *bytes.Buffer
	db   *sql.DB // its database, as another program sees it

	mu    sync.Mutex
	heard []string
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, log: &bytes.Buffer{}}
	path := filepath.Join(t.TempDir(), "gatebook.db")
	store, err := sqlite.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if s.db, err = sql.Open("sqlite", path); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(s.db.Close(), store.Close()); err != nil {
			t.Error(err)
		}
	})
	keys, err := passkey.New(passkey.Config{SignUp: true})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s.url = "http://localhost:" + port // passkeys need a name
	s.auth, err = gatebook.New(gatebook.Config{
		Secrets: []gatebook.Secret{secret}, URL: s.url, Adapter: store,
		Providers: []gatebook.Provider{keys},
		Events: gatebook.Events{Any: func(_ context.Context, ev gatebook.Event) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.heard = append(s.heard, ev.Meta().Type)
			return nil
		}},
		Logger: slog.New(slog.NewTextHandler(s.log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	mux.Handle("/auth/", s.auth)
	mux.Handle("/{$}", s.auth.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who := "nobody"
		if session, err := s.auth.Session(r); err == nil {
			who = session.User.Email
		}
		fmt.Fprintf(w, `<!doctype html><title>Home</title><h1 id="who">%s</h1><a href="/auth/signout">Sign out</a>`, who)
	})))
	return s
}

// told returns the events since it was last called but those of reads.
func (s *site) told() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	heard := slices.DeleteFunc(s.heard, func(typ string) bool { return typ == "session" })
	s.heard = nil
	return heard
}

// authenticator gives the browser an authenticator that answers by itself.
func authenticator(t *testing.T, b *browser.Browser) webauthn.AuthenticatorID {
	t.Helper()
	if _, err := chromedp.Call(b.Context(), webauthn.Enable, webauthn.EnableParams{}); err != nil {
		t.Fatal(err)
	}
	added, err := chromedp.Call(b.Context(), webauthn.AddVirtualAuthenticator, webauthn.AddVirtualAuthenticatorParams{
		Options: &webauthn.VirtualAuthenticatorOptions{
			Protocol: webauthn.AuthenticatorProtocolCtap2, Ctap2version: webauthn.Ctap2versionCtap21,
			Transport: webauthn.AuthenticatorTransportInternal, HasResidentKey: true, HasUserVerification: true,
			IsUserVerified: true, AutomaticPresenceSimulation: true, DefaultBackupEligibility: true, DefaultBackupState: true,
		}})
	if err != nil {
		t.Fatal(err)
	}
	return added.AuthenticatorID
}

// presence says whether the authenticator answers by itself.
func presence(t *testing.T, b *browser.Browser, id webauthn.AuthenticatorID, yes bool) {
	t.Helper()
	p := webauthn.SetAutomaticPresenceSimulationParams{AuthenticatorID: id, Enabled: yes}
	if _, err := chromedp.Call(b.Context(), webauthn.SetAutomaticPresenceSimulation, p); err != nil {
		t.Fatal(err)
	}
}

func who(t *testing.T, b *browser.Browser) string {
	t.Helper()
	return browser.Run(t, b, chromedp.Text(chromedp.ID("who")))
}

func (s *site) signOut(b *browser.Browser) {
	s.t.Helper()
	b.Do(s.t, chromedp.Navigate(s.url+"/auth/signout"), chromedp.Click(chromedp.ID("submitButton")))
	if got := who(s.t, b); got != "nobody" {
		s.t.Fatalf("after signing out the page says %q", got)
	}
	s.told()
}

func TestBuiltInPage(t *testing.T) {
	s, b := newSite(t), browser.New(t)
	id := authenticator(t, b)
	signIn := s.url + "/auth/signin?callbackUrl=/"

	// With an address that nobody has, the button registers.
	presence(t, b, id, true)
	b.Do(t, chromedp.Navigate(signIn),
		chromedp.SendKeys(chromedp.CSS("input[name=email]"), "ada@example.com"),
		chromedp.Click(chromedp.ID("submitButton-passkey")))
	if got := who(t, b); got != "ada@example.com" {
		t.Fatalf("after registering the page says %q\n%s", got, s.log)
	}
	if got, want := s.told(), []string{"createUser", "linkAccount", "passkey.added", "signIn"}; !slices.Equal(got, want) {
		t.Errorf("events are %v, want %v", got, want)
	}
	s.signOut(b)

	// The input offers passkeys by itself; the authenticator takes the offer.
	b.Do(t, chromedp.Navigate(signIn))
	if got := who(t, b); got != "ada@example.com" {
		t.Fatalf("after the offer the page says %q\n%s", got, s.log)
	}
	if got := s.told(); !slices.Equal(got, []string{"signIn"}) {
		t.Errorf("events are %v, want signIn", got)
	}
	s.signOut(b)

	// Without the offer the button signs in: with nothing typed, and with the
	// address.
	for _, typed := range []string{"", "ada@example.com"} {
		presence(t, b, id, false)
		b.Do(t, chromedp.Navigate(signIn))
		if typed != "" {
			b.Do(t, chromedp.SendKeys(chromedp.CSS("input[name=email]"), typed))
		}
		b.Do(t, chromedp.Click(chromedp.ID("submitButton-passkey")))
		presence(t, b, id, true)
		if got := who(t, b); got != "ada@example.com" {
			t.Fatalf("after the button with %q typed the page says %q\n%s", typed, got, s.log)
		}
		s.signOut(b)
	}
	if blocked := b.Blocked(); len(blocked) > 0 {
		t.Errorf("the page asked for %v", blocked)
	}
}

// What goes wrong in the browser is said on the page.
func TestBuiltInPageTells(t *testing.T) {
	s, b := newSite(t), browser.New(t)
	id := authenticator(t, b)
	if _, err := chromedp.Call(b.Context(), webauthn.SetUserVerified,
		webauthn.SetUserVerifiedParams{AuthenticatorID: id, IsUserVerified: false}); err != nil {
		t.Fatal(err)
	}
	b.Do(t, chromedp.Navigate(s.url+"/auth/signin"),
		chromedp.SendKeys(chromedp.CSS("input[name=email]"), "ada@example.com"),
		chromedp.Click(chromedp.ID("submitButton-passkey")))
	note := browser.Run(t, b, chromedp.Text(chromedp.CSS("form [role=alert]:not([hidden])")))
	if !strings.Contains(note, "No passkey was used") {
		t.Errorf("the page says %q", note)
	}
	if got := s.told(); len(got) > 0 {
		t.Errorf("events are %v, want none", got)
	}
}

// The function of docs/passkeys.md adds a passkey from a page of the
// application's own and signs in there, and what it made signs in on the
// built-in page.
func TestOwnPage(t *testing.T) {
	guide, err := os.ReadFile("../../docs/passkeys.md")
	if err != nil {
		t.Fatal(err)
	}
	function := regexp.MustCompile("(?s)```js\n(async function usePasskey.*?)```").FindSubmatch(guide)
	if function == nil {
		t.Fatal("docs/passkeys.md has no function usePasskey")
	}
	s, b := newSite(t), browser.New(t)
	first := authenticator(t, b)
	b.Do(t, chromedp.Navigate(s.url+"/auth/signin?callbackUrl=/"),
		chromedp.SendKeys(chromedp.CSS("input[name=email]"), "ada@example.com"),
		chromedp.Click(chromedp.ID("submitButton-passkey")))
	if got := who(t, b); got != "ada@example.com" {
		t.Fatalf("after registering the page says %q\n%s", got, s.log)
	}
	s.told()
	// Another authenticator, for the first one is excluded.
	if _, err := chromedp.Call(b.Context(), webauthn.RemoveVirtualAuthenticator,
		webauthn.RemoveVirtualAuthenticatorParams{AuthenticatorID: first}); err != nil {
		t.Fatal(err)
	}
	authenticator(t, b)
	use := func(arguments string) string {
		t.Helper()
		return browser.Run(t, b, chromedp.Evaluate[string]("(() => {"+string(function[1])+";return usePasskey("+arguments+")})().catch((e) => e.name + ': ' + e.message)",
			chromedp.EvalAwaitPromise))
	}
	if to := use(`"register"`); to != s.url+"/" {
		t.Fatalf("registering leads to %q\n%s", to, s.log)
	}
	if got, want := s.told(), []string{"linkAccount", "passkey.added", "signIn"}; !slices.Equal(got, want) {
		t.Errorf("events are %v, want %v", got, want)
	}
	s.signOut(b)
	if to := use(`"authenticate", "/?in"`); to != s.url+"/?in" {
		t.Fatalf("signing in leads to %q\n%s", to, s.log)
	}
	if got := s.told(); !slices.Equal(got, []string{"signIn"}) {
		t.Errorf("events are %v, want signIn", got)
	}
	s.signOut(b)
	b.Do(t, chromedp.Navigate(s.url+"/auth/signin?callbackUrl=/")) // the offer is taken
	if got := who(t, b); got != "ada@example.com" {
		t.Errorf("signing in with what was added, the page says %q\n%s", got, s.log)
	}
}

// Another tab that opens the sign-in page takes this one's challenge away; when
// this one is looked at again it asks for a new one.
func TestTwoTabs(t *testing.T) {
	s, b := newSite(t), browser.New(t)
	id := authenticator(t, b)
	b.Do(t, chromedp.Navigate(s.url+"/auth/signin?callbackUrl=/"),
		chromedp.SendKeys(chromedp.CSS("input[name=email]"), "ada@example.com"),
		chromedp.Click(chromedp.ID("submitButton-passkey")))
	if got := who(t, b); got != "ada@example.com" {
		t.Fatalf("after registering the page says %q\n%s", got, s.log)
	}
	s.signOut(b)
	presence(t, b, id, false)
	b.Do(t, chromedp.Navigate(s.url+"/auth/signin?callbackUrl=/"))
	status := browser.Run(t, b, chromedp.Evaluate[int](`fetch("/auth/webauthn-options/passkey?action=authenticate").then((r) => {
		document.dispatchEvent(new Event("visibilitychange"));
		return r.status;
	})`, chromedp.EvalAwaitPromise))
	if status != http.StatusOK {
		t.Fatalf("options are %d", status)
	}
	presence(t, b, id, true)
	if got := who(t, b); got != "ada@example.com" {
		t.Errorf("after the other tab the page says %q\n%s", got, s.log)
	}
	if got := s.told(); !slices.Equal(got, []string{"signIn"}) {
		t.Errorf("events are %v, want signIn", got)
	}
}
