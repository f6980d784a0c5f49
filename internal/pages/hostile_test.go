package pages_test

import (
	"strings"
	"testing"

	"github.com/gatebook/gatebook/internal/pages"
)

var hostile = []string{
	`"><script>alert(1)</script>`,
	`' onmouseover='alert(1)`,
	`" autofocus onfocus="alert(1)`,
	"</style><script>alert(1)</script>",
	"<!--", "-->", "]]>", "<![CDATA[",
	"{{.CSRFToken}}", "{{template \"top\"}}",
	"&lt;b&gt;&amp;&quot;", "a&b=c", "`${x}`",
	"javascript:alert(1)", "JaVaScRiPt&colon;alert(1)", "data:text/html,<script>alert(1)</script>",
	"\x00<b>", "\xff\xfe<b>", "line\r\nbreak", "\u2028", "\u202edeified", "\U0001F600",
	strings.Repeat("<", 1000),
}

// hostilePages puts s into everything that is shown.
func hostilePages(t *testing.T, s string) map[string]string {
	t.Helper()
	p := newPages(t, pages.Theme{})
	fields := []pages.Field{{
		Name: s, Label: s, Type: "text", Placeholder: s, Value: s,
		Autocomplete: s, InputMode: s, Pattern: s,
	}}
	in := pages.SignIn{
		Host: s, CSRFToken: s, CallbackURL: s, Email: s, Error: s,
		Providers: []pages.Provider{
			{ID: "-" + s, Name: s, Type: "oauth", SignInURL: s},
			// The brand decides which mark is drawn, so it is one that is taken.
			{ID: "-" + s, Name: s, Type: "oidc", SignInURL: s, Brand: "#abcdef", Text: s},
			{ID: "-" + s, Name: s, Type: "email", SignInURL: s},
			{ID: "-" + s, Name: s, Type: "credentials", CallbackURL: s, Fields: fields},
			{ID: "-" + s, Name: s, Type: "webauthn", CallbackURL: s, OptionsURL: s, Fields: fields},
		},
	}
	return map[string]string{
		"signin":  string(p.SignIn(in).HTML),
		"signout": string(p.SignOut(pages.SignOut{CSRFToken: s, Action: s}).HTML),
		"native": string(p.Native(pages.Native{Client: s, User: s, CSRFToken: s, Action: s,
			RedirectURI: s, Challenge: s, State: s}).HTML),
		"verify": string(p.VerifyRequest(pages.VerifyRequest{Host: s, HomeURL: s}).HTML),
		"error":  string(p.Error(pages.Error{Code: s, Host: s, HomeURL: s, SignInURL: s}).HTML),
		"denied": string(p.Error(pages.Error{Code: "AccessDenied", Host: s, HomeURL: s, SignInURL: s}).HTML),
	}
}

// checkHostile fails the test if s changes what a page consists of, or if a
// value does not arrive as it was given.
func checkHostile(t *testing.T, s string) {
	t.Helper()
	plain := hostilePages(t, "x")
	for name, page := range hostilePages(t, s) {
		if got, want := skeleton(t, page), skeleton(t, plain[name]); got != want {
			t.Errorf("%s page with %q consists of\n%s\nwant\n%s", name, s, got, want)
		}
		for _, tok := range tokens(t, page) {
			for _, a := range tok.attrs {
				switch a.name {
				case "value":
					if name == "native" && a.value == "S256" {
						continue // what the page itself says
					}
					// HTML has no NUL; it is shown as the replacement character.
					if want := strings.ReplaceAll(s, "\x00", "\ufffd"); a.value != want {
						t.Errorf("%s page: value is %q, want %q", name, a.value, want)
					}
				case "action", "href", "data-options":
					if v := strings.ToLower(a.value); strings.HasPrefix(v, "javascript:") || strings.HasPrefix(v, "data:") {
						t.Errorf("%s page: %s is %q", name, a.name, a.value)
					}
				}
			}
		}
	}
}

func TestHostileValues(t *testing.T) {
	for _, s := range hostile {
		checkHostile(t, s)
	}
}

func FuzzValues(f *testing.F) {
	for _, s := range hostile {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		// Empty values leave elements out, and these codes choose a page.
		switch s {
		case "", "Configuration", "AccessDenied", "Verification", "WebAuthnVerificationError":
			return
		}
		checkHostile(t, s)
	})
}
