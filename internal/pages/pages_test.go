package pages_test

import (
	"bytes"
	"errors"
	"io"
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

// render returns what write writes.
func render(t testing.TB, write func(io.Writer) error) string {
	t.Helper()
	var b strings.Builder
	if err := write(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func signIn(t testing.TB, s pages.SignIn) string {
	t.Helper()
	p := newPages(t, pages.Theme{})
	return render(t, func(w io.Writer) error { return p.SignIn(w, s) })
}

func errorPage(t testing.TB, e pages.Error) string {
	t.Helper()
	p := newPages(t, pages.Theme{})
	return render(t, func(w io.Writer) error { return p.Error(w, e) })
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

func golden(t *testing.T, name, page string) {
	t.Helper()
	want, err := os.ReadFile("testdata/" + name + ".outline")
	if err != nil {
		t.Fatal(err)
	}
	if got := outline(t, page); got != string(want) {
		t.Errorf("outline of %s:\n%s\nwant:\n%s", name, got, want)
	}
}

func TestSignInOutline(t *testing.T) {
	golden(t, "signin", signIn(t, full()))
}

func TestSignOutOutline(t *testing.T) {
	p := newPages(t, pages.Theme{ColorScheme: "dark"})
	golden(t, "signout", render(t, func(w io.Writer) error {
		return p.SignOut(w, pages.SignOut{CSRFToken: "token-1", Action: "https://app.example.com/auth/signout?callbackUrl=%2Fa&x=1"})
	}))
}

func TestVerifyRequestOutline(t *testing.T) {
	p := newPages(t, pages.Theme{Logo: "/logo.svg"})
	golden(t, "verify", render(t, func(w io.Writer) error {
		return p.VerifyRequest(w, pages.VerifyRequest{Host: "app.example.com", HomeURL: "https://app.example.com"})
	}))
}

func TestErrorPage(t *testing.T) {
	tests := []struct {
		code, outline string
		status        int
	}{
		{"Configuration", "error-configuration", 500},
		{"AccessDenied", "error-accessdenied", 403},
		{"Verification", "error-verification", 403},
		{"", "error-other", 200},
		{"Default", "error-other", 200},
		{"configuration", "error-other", 200},
		{"undefined", "error-other", 200},
		{"constructor", "error-other", 200},
		{"<script>alert(1)</script>", "error-other", 200},
	}
	for _, test := range tests {
		t.Run(test.code, func(t *testing.T) {
			e := pages.Error{
				Code: test.code, Host: "app.example.com", HomeURL: "https://app.example.com",
				SignInURL: "https://app.example.com/auth/signin?callbackUrl=%2Fa",
			}
			if got := e.Status(); got != test.status {
				t.Errorf("Status() = %d, want %d", got, test.status)
			}
			golden(t, test.outline, errorPage(t, e))
		})
	}
}

func TestTitles(t *testing.T) {
	p := newPages(t, pages.Theme{})
	tests := map[string]func(io.Writer) error{
		"Sign In":        func(w io.Writer) error { return p.SignIn(w, pages.SignIn{}) },
		"Sign Out":       func(w io.Writer) error { return p.SignOut(w, pages.SignOut{}) },
		"Verify Request": func(w io.Writer) error { return p.VerifyRequest(w, pages.VerifyRequest{}) },
		"Error":          func(w io.Writer) error { return p.Error(w, pages.Error{}) },
	}
	for title, write := range tests {
		if page := render(t, write); !strings.Contains(page, "<title>"+title+"</title>") {
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
	all := map[string]func(io.Writer) error{
		"signin":  func(w io.Writer) error { return p.SignIn(w, full()) },
		"signout": func(w io.Writer) error { return p.SignOut(w, pages.SignOut{}) },
		"verify":  func(w io.Writer) error { return p.VerifyRequest(w, pages.VerifyRequest{}) },
		"error":   func(w io.Writer) error { return p.Error(w, pages.Error{}) },
	}
	for name, write := range all {
		for _, tok := range tokens(t, render(t, write)) {
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

// One write, so that what fails while rendering is never sent in half, and a
// failed write is told.
func TestOneWrite(t *testing.T) {
	p := newPages(t, pages.Theme{})
	w := &brokenWriter{}
	if err := p.SignIn(w, full()); !errors.Is(err, errBroken) {
		t.Errorf("SignIn to a broken writer: %v, want %v", err, errBroken)
	}
	if w.calls != 1 {
		t.Errorf("%d writes, want 1", w.calls)
	}
}

var errBroken = errors.New("broken")

type brokenWriter struct{ calls int }

func (w *brokenWriter) Write([]byte) (int, error) {
	w.calls++
	return 0, errBroken
}

func TestConcurrentUse(t *testing.T) {
	p := newPages(t, pages.Theme{})
	want := render(t, func(w io.Writer) error { return p.SignIn(w, full()) })
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			var b bytes.Buffer
			if err := p.SignIn(&b, full()); err != nil || b.String() != want {
				t.Errorf("SignIn beside others differs (error %v)", err)
			}
		})
	}
	wg.Wait()
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
