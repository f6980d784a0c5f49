package pages_test

import (
	"flag"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/gatebook/gatebook/internal/pages"
)

func newPages(t testing.TB, theme pages.Theme) *pages.Pages {
	t.Helper()
	p, err := pages.New(theme)
	if err != nil {
		t.Fatalf("New(%+v): %v", theme, err)
	}
	return p
}

func signIn(t testing.TB, s pages.SignIn) string {
	t.Helper()
	return string(newPages(t, pages.Theme{}).SignIn(s).HTML)
}

// everyPage returns each page of p, with nothing in it but what all have.
func everyPage(p *pages.Pages) map[string]string {
	return map[string]string{
		"Sign In":        string(p.SignIn(pages.SignIn{}).HTML),
		"Sign In ":       string(p.Native(pages.Native{}).HTML),
		"Sign Out":       string(p.SignOut(pages.SignOut{}).HTML),
		"Verify Request": string(p.VerifyRequest(pages.VerifyRequest{}).HTML),
		"Error":          string(p.Error(pages.Error{}).HTML),
	}
}

func full() pages.SignIn {
	return pages.SignIn{
		Host:        "app.example.com",
		CSRFToken:   "token-1",
		CallbackURL: "https://app.example.com/after?a=1&b=2",
		Email:       "ada@example.com",
		Error:       "CredentialsSignin",
		Providers: []pages.Provider{
			{ID: "github", Name: "GitHub", Type: "oauth", SignInURL: "https://app.example.com/auth/signin/github"},
			{ID: "google", Name: "Google", Type: "oidc", SignInURL: "https://app.example.com/auth/signin/google"},
			{ID: "gitlab", Name: "GitLab", Type: "oidc", SignInURL: "https://app.example.com/auth/signin/gitlab", Brand: "#fc6d26", Text: "#fff"},
			{ID: "email", Name: "Email", Type: "email", SignInURL: "https://app.example.com/auth/signin/email"},
			{ID: "credentials", Name: "Password", Type: "credentials", CallbackURL: "https://app.example.com/auth/callback/credentials", Fields: []pages.Field{
				{Name: "username", Label: "User name", Placeholder: "ada"},
				{Name: "password", Type: "password", Required: true, MinLength: 8, MaxLength: 64},
				{Name: "code", Label: "Code", Value: "0", Autocomplete: "one-time-code", InputMode: "numeric", Pattern: "[0-9]{6}"},
				{Name: "realm", Type: "hidden", Value: "main"},
			}},
			{ID: "passkey", Name: "Passkey", Type: "webauthn", CallbackURL: "https://app.example.com/auth/callback/passkey", Fields: []pages.Field{
				{Name: "email", Label: "Email", Required: true, Autocomplete: "username webauthn"},
			}},
			{ID: "demo", Name: "Demo", Type: "oidc", SignInURL: "https://app.example.com/auth/signin/demo"},
		},
	}
}

var update = flag.Bool("update", false, "write the outlines in testdata")

func golden(t *testing.T, name string, page pages.Page) {
	t.Helper()
	got := outline(t, string(page.HTML))
	if *update {
		if err := os.WriteFile("testdata/"+name+".outline", []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/" + name + ".outline")
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("outline of %s:\n%s\nwant:\n%s", name, got, want)
	}
}

func TestSignInOutline(t *testing.T) {
	golden(t, "signin", newPages(t, pages.Theme{}).SignIn(full()))
}

func TestSignOutOutline(t *testing.T) {
	p := newPages(t, pages.Theme{ColorScheme: "dark"})
	golden(t, "signout", p.SignOut(pages.SignOut{CSRFToken: "token-1", Action: "https://app.example.com/auth/signout?callbackUrl=%2Fa&x=1"}))
}

func TestNativeOutline(t *testing.T) {
	golden(t, "native", newPages(t, pages.Theme{}).Native(pages.Native{Client: "app.example.com", User: "ada@example.com",
		CSRFToken: "token-1", Action: "https://app.example.com/auth/native", RedirectURI: "com.example.app:/back",
		Challenge: "challenge-1", State: "state-1"}))
}

func TestPasskeyOutline(t *testing.T) {
	passkey := full().Providers[5]
	passkey.OptionsURL = "https://app.example.com/auth/webauthn-options/passkey"
	golden(t, "passkey", newPages(t, pages.Theme{}).SignIn(pages.SignIn{CSRFToken: "token-1", Providers: []pages.Provider{passkey}}))
}

func TestVerifyRequestOutline(t *testing.T) {
	p := newPages(t, pages.Theme{Logo: "/logo.svg"})
	golden(t, "verify", p.VerifyRequest(pages.VerifyRequest{Host: "app.example.com", HomeURL: "https://app.example.com"}))
}

func TestErrorPage(t *testing.T) {
	tests := []struct {
		code, outline string
		status        int
	}{
		{"Configuration", "error-configuration", 500},
		{"AccessDenied", "error-accessdenied", 403},
		{"Verification", "error-verification", 403},
		{"WebAuthnVerificationError", "error-passkey", 200},
		{"", "error-other", 200},
		{"Default", "error-other", 200},
		{"configuration", "error-other", 200},
		{"undefined", "error-other", 200},
		{"constructor", "error-other", 200},
		{"<script>alert(1)</script>", "error-other", 200},
	}
	for _, test := range tests {
		t.Run(test.code, func(t *testing.T) {
			page := newPages(t, pages.Theme{}).Error(pages.Error{
				Code: test.code, Host: "app.example.com", HomeURL: "https://app.example.com",
				SignInURL: "https://app.example.com/auth/signin?callbackUrl=%2Fa",
			})
			if page.Status != test.status {
				t.Errorf("status %d, want %d", page.Status, test.status)
			}
			golden(t, test.outline, page)
		})
	}
}

func TestTitles(t *testing.T) {
	for title, page := range everyPage(newPages(t, pages.Theme{})) {
		if !strings.Contains(page, "<title>"+strings.TrimSpace(title)+"</title>") {
			t.Errorf("no title %q in:\n%s", title, page)
		}
	}
}

func TestSignInMessages(t *testing.T) {
	const (
		other   = "Try signing in with a different account."
		general = "Unable to sign in."
	)
	messages := map[string]string{
		"Signin":             other,
		"OAuthSignin":        other,
		"OAuthCallbackError": other,
		"OAuthCreateAccount": other,
		"EmailCreateAccount": other,
		"Callback":           other,

		"OAuthAccountNotLinked": "To confirm your identity, sign in with the same account you used originally.",
		"EmailSignin":           "The e-mail could not be sent.",
		"CredentialsSignin":     "Sign in failed. Check the details you provided are correct.",
		"SessionRequired":       "Please sign in to access this page.",

		"AccountNotLinked":          "To confirm your identity, sign in with the same account you used originally.",
		"MissingCSRF":               "The page was open for too long. Please try again.",
		"WebAuthnVerificationError": "The passkey could not be verified. Please try again.",
		"AccessDenied":              "You do not have permission to sign in.",
		"Verification":              "The sign in link is no longer valid. It may have been used already or it may have expired.",
		"Configuration":             "There is a problem with the server configuration.",

		"signin":      general,
		"default":     general,
		"toString":    general,
		"__proto__":   general,
		"<b>bold</b>": general,
	}
	for code, text := range messages {
		page := signIn(t, pages.SignIn{Error: code})
		if want := `<div class="error" role="alert"><p>` + text + `</p></div>`; !strings.Contains(page, want) {
			t.Errorf("Error %q: no %s in:\n%s", code, want, page)
		}
		if page != strings.Replace(signIn(t, pages.SignIn{Error: "?"}), general, text, 1) {
			t.Errorf("Error %q changes the page beyond its text", code)
		}
	}
	if page := signIn(t, pages.SignIn{}); strings.Contains(page, "alert\"") {
		t.Errorf("error box without an error:\n%s", page)
	}
}

// Separators stand between two blocks if at least one of them is a form to
// fill in; providers with nothing to show leave no trace.
func TestSeparators(t *testing.T) {
	fields := []pages.Field{{Name: "a"}}
	kinds := map[rune]pages.Provider{
		'o': {ID: "o", Name: "O", Type: "oauth"},
		'i': {ID: "i", Name: "I", Type: "oidc"},
		'e': {ID: "e", Name: "E", Type: "email"},
		'c': {ID: "c", Name: "C", Type: "credentials", Fields: fields},
		'w': {ID: "w", Name: "W", Type: "webauthn", Fields: fields},
		'C': {ID: "C", Name: "C", Type: "credentials"},
		'W': {ID: "W", Name: "W", Type: "webauthn"},
		'?': {ID: "u", Name: "U", Type: "saml"},
	}
	tests := map[string]string{
		"":        "",
		"o":       "p",
		"oi":      "pp",
		"oe":      "p-p",
		"eo":      "p-p",
		"oeo":     "p-p-p",
		"ec":      "p-p",
		"oiecwoi": "pp-p-p-p-pp",
		"CoW?i":   "pp",
		"oCe":     "p-p",
		"oC":      "p",
	}
	for in, want := range tests {
		var s pages.SignIn
		for _, r := range in {
			s.Providers = append(s.Providers, kinds[r])
		}
		var got strings.Builder
		for line := range strings.Lines(outline(t, signIn(t, s))) {
			switch strings.TrimSpace(line) {
			case "hr":
				got.WriteByte('-')
			case "div [class=provider]":
				got.WriteByte('p')
			}
		}
		if got.String() != want {
			t.Errorf("providers %q give %q, want %q", in, got.String(), want)
		}
	}
}

func TestMonogram(t *testing.T) {
	tests := []struct {
		name, brand, text string
		want              string
	}{
		{"demo", "", "", `fill="currentColor">D</text>`},
		{"  (élan)", "", "", `fill="currentColor">É</text>`},
		{"تسجيل", "", "", `fill="currentColor">ت</text>`},
		{"", "", "", `fill="currentColor">•</text>`},
		{"<!>", "", "", `fill="currentColor">•</text>`},
		{"7eleven", "#fff", "", `fill="#000000">7</text>`},
		{"x", "#111111", "", `fill="#ffffff">X</text>`},
		{"x", "#111111", "#abc", `fill="#abc">X</text>`},
		{"x", "#111111", "red", `fill="#ffffff">X</text>`},
		{"x", "red", "#abc", `fill="currentColor">X</text>`},
		{"x", `#12"/><b>`, "", `fill="currentColor">X</text>`},
	}
	for _, test := range tests {
		page := signIn(t, pages.SignIn{Providers: []pages.Provider{
			{ID: "p", Name: test.name, Type: "oidc", Brand: test.brand, Text: test.text},
		}})
		if !strings.Contains(page, test.want) {
			t.Errorf("provider %q, brand %q, text %q: no %s in:\n%s", test.name, test.brand, test.text, test.want, page)
		}
	}
}

// Only one element can have the focus when a page opens.
func TestAutofocusOnce(t *testing.T) {
	page := signIn(t, pages.SignIn{Providers: []pages.Provider{
		{ID: "a", Name: "A", Type: "email"},
		{ID: "b", Name: "B", Type: "email"},
	}})
	if n := strings.Count(page, " autofocus"); n != 1 {
		t.Errorf("%d inputs with autofocus, want 1", n)
	}
}

// Nothing runs, and nothing is loaded but the logo.
func TestLoadsNothing(t *testing.T) {
	p := newPages(t, pages.Theme{Logo: "https://img.example.com/logo.png"})
	all := everyPage(p)
	all["full"] = string(p.SignIn(full()).HTML)
	for name, page := range all {
		for _, tok := range tokens(t, page) {
			switch tok.name {
			case "script", "link", "iframe", "object", "embed", "base", "use", "image":
				t.Errorf("%s: element %s", name, tok.name)
			case "":
				if strings.Contains(tok.text, "url(") || strings.Contains(tok.text, "@import") {
					t.Errorf("%s: stylesheet or text loads something", name)
				}
			}
			for _, a := range tok.attrs {
				switch {
				case a.name == "style" || strings.HasPrefix(a.name, "on"):
					t.Errorf("%s: attribute %s on %s; the policy refuses it", name, a.name, tok.name)
				case a.name == "src" && a.value != "https://img.example.com/logo.png":
					t.Errorf("%s: %s loads %s", name, tok.name, a.value)
				}
			}
		}
	}
}

func TestConcurrentUse(t *testing.T) {
	p := newPages(t, pages.Theme{})
	want := string(p.SignIn(full()).HTML)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if string(p.SignIn(full()).HTML) != want {
				t.Error("SignIn beside others differs")
			}
		})
	}
	wg.Wait()
}

// What a page costs a server is bounded: it is one piece of memory, and a second
// where a provider has no mark of its own.
func TestAllocations(t *testing.T) {
	p := newPages(t, pages.Theme{})
	s := full()
	if n := testing.AllocsPerRun(100, func() { p.SignIn(s) }); n > 20 {
		t.Errorf("a sign-in page with everything takes %v allocations, want at most 20", n)
	}
	if n := testing.AllocsPerRun(100, func() { p.Error(pages.Error{Code: "AccessDenied"}) }); n > 2 {
		t.Errorf("an error page takes %v allocations, want at most 2", n)
	}
}

// A caller's providers are read, not changed.
func TestInputUnchanged(t *testing.T) {
	s := full()
	first := signIn(t, s)
	if f := s.Providers[4].Fields[1]; f.Label != "" || f.Autocomplete != "" {
		t.Errorf("field after SignIn: %+v, want as before", f)
	}
	if signIn(t, s) != first {
		t.Error("second SignIn with the same input differs")
	}
}
