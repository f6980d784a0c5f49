// Package clients_test uses the clients of next-auth, as they come from npm, with
// Gatebook in the place of Auth.js, in Chromium.
package clients_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/webauthn"
	"github.com/chromedp/chromedp"
	"github.com/google/go-cmp/cmp"

	"github.com/gatebook/gatebook/test/browser"
	"github.com/gatebook/gatebook/test/clients"
)

// version is one of the clients, with what it answers differently.
type version struct {
	name  string
	alias []string
	// refused is the status that it is given for refused credentials, and code
	// whether it tells the code.
	refused int
	code    bool
	// signedOut is what it complains of when nobody is signed in.
	signedOut string
}

var versions = []version{
	{name: "v5", refused: 200, code: true},
	{name: "v4", alias: []string{"next-auth/react=next-auth-v4/react"}, refused: 401,
		signedOut: "[next-auth][error][CLIENT_FETCH_ERROR]"},
}

// everywhere runs a test with every client on every store, with or without an
// OpenID provider.
func everywhere(t *testing.T, provider bool, test func(v version, s *site, b *browser.Browser)) {
	t.Helper()
	for _, v := range versions {
		script := clients.Bundle(t, "app.jsx", v.alias...)
		for _, st := range stores {
			t.Run(v.name+"/"+st.name, func(t *testing.T) {
				s := newSite(t, setup{store: st, script: script, provider: provider})
				b := browser.New(t)
				b.Do(t, chromedp.Navigate(s.url))
				shows(t, b, "")
				test(v, s, b)
				if blocked := b.Blocked(); len(blocked) > 0 {
					t.Errorf("pages asked for %v", blocked)
				}
				if t.Failed() {
					t.Logf("log:\n%s", s.log.String())
				}
			})
		}
	}
}

// result is what signIn returns with redirect: false.
type result struct {
	Error  string
	Code   string
	Status int
	OK     bool
	URL    string
}

func signIn(t *testing.T, b *browser.Browser, provider, options string) result {
	t.Helper()
	return eval[result](t, b, fmt.Sprintf("client.signIn(%q, {redirect: false, callbackUrl: '/members', %s})", provider, options))
}

func TestReads(t *testing.T) {
	everywhere(t, false, func(v version, s *site, b *browser.Browser) {
		t := s.t
		type provider struct{ ID, Name, Type, SigninURL, CallbackURL string }
		got := eval[map[string]provider](t, b, "client.getProviders()")
		want := map[string]provider{}
		for _, p := range []provider{{ID: "op", Name: "Provider", Type: "oidc"}, {ID: "email", Name: "Email", Type: "email"},
			{ID: "credentials", Name: "Credentials", Type: "credentials"}, {ID: "passkey", Name: "Passkey", Type: "webauthn"}} {
			p.SigninURL, p.CallbackURL = s.url+"/api/auth/signin/"+p.ID, s.url+"/api/auth/callback/"+p.ID
			want[p.ID] = p
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("getProviders (-want +got):\n%s", diff)
		}
		if token := eval[string](t, b, "client.getCsrfToken()"); len(token) != 64 || token != eval[string](t, b, "client.getCsrfToken()") {
			t.Errorf("getCsrfToken = %q, want 64 characters, twice the same", token)
		}
		if !eval[bool](t, b, "client.getSession().then(s => s === null)") {
			t.Error("getSession is not null while nobody is signed in")
		}
		complaints := slices.Compact(eval[[]string](t, b, "complaints"))
		if got := strings.Join(complaints, "; "); got != v.signedOut {
			t.Errorf("while nobody is signed in the client complains: %q, want %q", got, v.signedOut)
		}
	})
}

// Credentials, without leaving the page.
func TestCredentials(t *testing.T) {
	everywhere(t, false, func(v version, s *site, b *browser.Browser) {
		t := s.t
		refused := result{Error: "CredentialsSignin", Code: "credentials", Status: v.refused, OK: v.refused == 200}
		for password, code := range map[string]string{"wrong": "credentials", "locked": "locked_out"} {
			want := refused
			want.Code = ""
			if v.code {
				want.Code = code
			}
			if diff := cmp.Diff(want, signIn(t, b, "credentials", "email: 'ada@example.com', password: '"+password+"'")); diff != "" {
				t.Errorf("signIn with the password %s (-want +got):\n%s", password, diff)
			}
		}
		shows(t, b, "")
		if got := s.told(); !slices.Equal(got, []string{"signIn.failed", "signIn.failed"}) {
			t.Errorf("events are %v, want two refusals", got)
		}

		want := result{Status: 200, OK: true, URL: s.url + "/members"}
		if diff := cmp.Diff(want, signIn(t, b, "credentials", "email: 'ada@example.com', password: 'right'")); diff != "" {
			t.Errorf("signIn (-want +got):\n%s", diff)
		}
		shows(t, b, "ada@example.com")

		// The session, and what the page adds to it.
		type session struct {
			User     struct{ Name, Email string }
			Expires  string
			Nickname string
		}
		first := eval[session](t, b, "client.getSession()")
		if first.User.Name != "Ada Lovelace" || first.User.Email != "ada@example.com" || len(first.Expires) != len("2026-12-24T14:00:00.000Z") {
			t.Errorf("getSession = %+v", first)
		}
		if got := eval[session](t, b, "session.update({nickname: 'Countess'})"); got.Nickname != "Countess" || got.User != first.User {
			t.Errorf("update = %+v", got)
		}
		if got := eval[string](t, b, "session.data.nickname"); got != "Countess" {
			t.Errorf("after update useSession has the nickname %q", got)
		}
		if got := eval[session](t, b, "session.update()"); got.User != first.User {
			t.Errorf("update without data = %+v", got)
		}

		out := eval[result](t, b, "client.signOut({redirect: false, callbackUrl: '/members'})")
		if out.URL != s.url+"/members" {
			t.Errorf("signOut = %+v", out)
		}
		shows(t, b, "")
		if got := s.told(); !slices.Equal(got, []string{"signIn", "signOut"}) {
			t.Errorf("events are %v, want signIn and signOut", got)
		}
	})
}

// A provider at another address, there and back, and out again.
func TestProvider(t *testing.T) {
	everywhere(t, true, func(_ version, s *site, b *browser.Browser) {
		t := s.t
		eval[any](t, b, "void client.signIn('op', {callbackUrl: '/members'})")
		b.Do(t, chromedp.Click(chromedp.CSS("button[value=ada]")), chromedp.Click(chromedp.CSS("button[name=consent]")))
		shows(t, b, "ada@example.com")
		arrives(t, b, "#who", s.url+"/members")
		if got := s.told(); !slices.Equal(got, []string{"linkAccount", "signIn"}) {
			t.Errorf("events are %v, want linkAccount and signIn", got)
		}
		eval[any](t, b, "void client.signOut({callbackUrl: '/'})")
		shows(t, b, "")
		arrives(t, b, "#who", s.url+"/")
	})
}

func TestEmail(t *testing.T) {
	everywhere(t, false, func(_ version, s *site, b *browser.Browser) {
		t := s.t
		want := result{Status: 200, OK: true, URL: s.url + "/api/auth/verify-request?provider=email&type=email"}
		if diff := cmp.Diff(want, signIn(t, b, "email", "email: 'ada@example.com'")); diff != "" {
			t.Errorf("signIn (-want +got):\n%s", diff)
		}
		first := s.link()
		b.Do(t, chromedp.Navigate(first))
		shows(t, b, "ada@example.com")
		arrives(t, b, "#who", s.url+"/members")

		eval[any](t, b, "void client.signOut({callbackUrl: '/'})")
		shows(t, b, "")
		eval[any](t, b, "void client.signIn('email', {email: 'grace@example.com'})")
		arrives(t, b, ".verify-request h1", want.URL)
		b.Do(t, chromedp.Navigate(first))
		arrives(t, b, ".error h1", s.url+"/api/auth/error?error=Verification")
	})
}

// Pages that need a session lead to the sign-in page and back.
func TestRequired(t *testing.T) {
	everywhere(t, false, func(_ version, s *site, b *browser.Browser) {
		t := s.t
		b.Do(t, chromedp.Navigate(s.url+"/members"))
		arrives(t, b, ".signin .error", s.url+"/api/auth/signin?error=SessionRequired&callbackUrl=")
		if got := browser.Run(t, b, chromedp.Text(chromedp.CSS(".error"))); got != "Please sign in to access this page." {
			t.Errorf("the sign-in page says %q", got)
		}
		b.Do(t, chromedp.SendKeys(chromedp.ID("input-email-for-credentials-provider"), "ada@example.com"),
			chromedp.SendKeys(chromedp.ID("input-password-for-credentials-provider"), "right\r"))
		shows(t, b, "ada@example.com")
		arrives(t, b, "#who", s.url+"/members")

		// A provider that does not exist leads there too.
		eval[any](t, b, "void client.signIn('nobody', {callbackUrl: '/members'})")
		arrives(t, b, ".signin h1", s.url+"/api/auth/signin?callbackUrl=")
	})
}

// Signing out in one tab shows in the other, and in two at once does no harm.
func TestTwoTabs(t *testing.T) {
	everywhere(t, false, func(v version, s *site, b *browser.Browser) {
		t := s.t
		other := b.Tab(t)
		other.Do(t, chromedp.Navigate(s.url))
		shows(t, other, "")
		tabs := []*browser.Browser{b, other}
		begin := func() {
			t.Helper()
			signIn(t, b, "credentials", "email: 'ada@example.com', password: 'right'")
			for _, tab := range tabs {
				tab.Do(t, chromedp.Reload())
				shows(t, tab, "ada@example.com")
			}
			s.told()
		}

		begin()
		eval[any](t, b, "client.signOut({redirect: false})")
		shows(t, b, "")
		shows(t, other, "")
		if got := s.told(); !slices.Equal(got, []string{"signOut"}) {
			t.Errorf("events are %v, want signOut", got)
		}

		begin()
		outs := make([]result, len(tabs))
		var wg sync.WaitGroup
		for i, tab := range tabs {
			wg.Go(func() { outs[i] = eval[result](t, tab, "client.signOut({redirect: false, callbackUrl: '/'})") })
		}
		wg.Wait()
		for i, tab := range tabs {
			if outs[i].URL != s.url+"/" {
				t.Errorf("tab %d: signOut = %+v", i, outs[i])
			}
			shows(t, tab, "")
			complaints := slices.DeleteFunc(eval[[]string](t, tab, "complaints"), func(c string) bool { return c == v.signedOut })
			if len(complaints) > 0 {
				t.Errorf("tab %d complains: %q", i, complaints)
			}
		}
	})
}

// A page may be told of another base path, which v4 forgets in one place.
func TestBasePath(t *testing.T) {
	for _, v := range versions {
		t.Run(v.name, func(t *testing.T) {
			s := newSite(t, setup{store: stores[0], script: clients.Bundle(t, "app.jsx", v.alias...), base: "/auth"})
			b := browser.New(t)
			b.Do(t, chromedp.Navigate(s.url))
			shows(t, b, "")
			want := result{Status: 200, OK: true, URL: s.url + "/members"}
			if diff := cmp.Diff(want, signIn(t, b, "credentials", "email: 'ada@example.com', password: 'right'")); diff != "" {
				t.Errorf("signIn (-want +got):\n%s", diff)
			}
			shows(t, b, "ada@example.com")
			eval[any](t, b, "client.signOut({redirect: false})")
			shows(t, b, "")
			b.Do(t, chromedp.Navigate(s.url+"/members"))
			if v.name == "v4" {
				arrives(t, b, "pre", s.url+"/api/auth/signin?error=SessionRequired") // 404
				return
			}
			arrives(t, b, ".signin .error", s.url+"/auth/signin?error=SessionRequired")
		})
	}
}

// Passkeys exist for v5 only.
func TestPasskeys(t *testing.T) {
	script := clients.Bundle(t, "passkeys.jsx")
	for _, st := range stores {
		t.Run(st.name, func(t *testing.T) {
			s := newSite(t, setup{store: st, script: script})
			b := browser.New(t)
			b.Do(t, chromedp.Navigate(s.url))
			shows(t, b, "")
			authenticator(t, b)

			// Somebody signed in adds one, and signs in with it.
			signIn(t, b, "credentials", "email: 'ada@example.com', password: 'right'")
			shows(t, b, "ada@example.com")
			s.told()
			want := result{Status: 200, OK: true, URL: s.url + "/members"}
			use := func(options string) result {
				t.Helper()
				return eval[result](t, b, "passkey('passkey', {redirect: false, callbackUrl: '/members', "+options+"})")
			}
			if diff := cmp.Diff(want, use("action: 'register'")); diff != "" {
				t.Fatalf("register (-want +got):\n%s\n%s", diff, s.log.String())
			}
			if got := s.told(); !slices.Contains(got, "passkey.added") {
				t.Errorf("events are %v, want passkey.added", got)
			}
			eval[any](t, b, "client.signOut({redirect: false})")
			shows(t, b, "")
			for _, options := range []string{"action: 'authenticate'", "email: 'ada@example.com'"} {
				if diff := cmp.Diff(want, use(options)); diff != "" {
					t.Fatalf("sign in with %s (-want +got):\n%s\n%s", options, diff, s.log.String())
				}
				shows(t, b, "ada@example.com")
				eval[any](t, b, "client.signOut({redirect: false})")
				shows(t, b, "")
			}

			// Somebody new becomes a user, and is taken along.
			eval[any](t, b, "void passkey('passkey', {action: 'register', email: 'grace@example.com', callbackUrl: '/members'})")
			shows(t, b, "grace@example.com")
			arrives(t, b, "#who", s.url+"/members")
			if got := eval[[]string](t, b, "complaints"); len(got) > 0 {
				t.Errorf("the client complains: %q", got)
			}
		})
	}
}

// authenticator gives the browser one that answers by itself.
func authenticator(t *testing.T, b *browser.Browser) {
	t.Helper()
	if _, err := chromedp.Call(b.Context(), webauthn.Enable, webauthn.EnableParams{}); err != nil {
		t.Fatal(err)
	}
	options := webauthn.AddVirtualAuthenticatorParams{Options: &webauthn.VirtualAuthenticatorOptions{
		Protocol: webauthn.AuthenticatorProtocolCtap2, Ctap2version: webauthn.Ctap2versionCtap21,
		Transport: webauthn.AuthenticatorTransportInternal, HasResidentKey: true, HasUserVerification: true,
		IsUserVerified: true, AutomaticPresenceSimulation: true,
	}}
	if _, err := chromedp.Call(b.Context(), webauthn.AddVirtualAuthenticator, options); err != nil {
		t.Fatal(err)
	}
}
