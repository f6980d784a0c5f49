package pages_test

import (
	"crypto/sha256"
	"encoding/base64"
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/gatebook/gatebook/internal/pages"
)

// stylesheet returns the content of the one style element of p's pages.
func stylesheet(t *testing.T, p *pages.Pages) string {
	t.Helper()
	page := string(p.SignIn(full()).HTML)
	if n := strings.Count(page, "<style"); n != 1 {
		t.Fatalf("%d style elements, want 1", n)
	}
	_, rest, _ := strings.Cut(page, "<style>")
	css, _, _ := strings.Cut(rest, "</style>")
	return css
}

func TestContentSecurityPolicy(t *testing.T) {
	tests := []struct {
		name   string
		theme  pages.Theme
		images string
	}{
		{"none", pages.Theme{}, "'self'"},
		{"light", pages.Theme{ColorScheme: "light"}, "'self'"},
		{"dark", pages.Theme{ColorScheme: "dark"}, "'self'"},
		{"colours", pages.Theme{BrandColor: "#e11d48", ButtonText: "#fff"}, "'self'"},
		{"path", pages.Theme{Logo: "/logo.svg?v=1"}, "'self'"},
		{"data", pages.Theme{Logo: "data:image/png;base64,iVBORw0KGgo="}, "'self' data:"},
		{"https", pages.Theme{Logo: "https://img.example.com:8443/logo.svg"}, "'self' https://img.example.com:8443"},
		{"http", pages.Theme{Logo: "http://localhost/logo.svg"}, "'self' http://localhost"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := newPages(t, test.theme)
			sum := sha256.Sum256([]byte(stylesheet(t, p)))
			hash := base64.StdEncoding.EncodeToString(sum[:])
			// No form-action: browsers would stop the redirect to a provider.
			want := "default-src 'none'; style-src 'sha256-" + hash + "'; img-src " + test.images +
				"; frame-ancestors 'none'; base-uri 'none'"
			for _, page := range []pages.Page{p.SignIn(full()), p.SignOut(pages.SignOut{}), p.VerifyRequest(pages.VerifyRequest{}), p.Error(pages.Error{})} {
				if page.Policy != want {
					t.Errorf("policy\n%s, want\n%s", page.Policy, want)
				}
			}
		})
	}
}

// The script is allowed by its hash, and only where it is.
func TestSignInPolicy(t *testing.T) {
	p := newPages(t, pages.Theme{})
	plain := p.Error(pages.Error{}).Policy
	if got := p.SignIn(full()).Policy; got != plain {
		t.Errorf("without the options' address the policy is %s", got)
	}
	s := full()
	for i := range s.Providers {
		s.Providers[i].OptionsURL = "https://app.example.com/auth/webauthn-options/" + s.Providers[i].ID
	}
	signIn := p.SignIn(s)
	page := string(signIn.HTML)
	_, rest, _ := strings.Cut(page, "<script>")
	script, _, ok := strings.Cut(rest, "</script>")
	sum := sha256.Sum256([]byte(script))
	want := plain + "; script-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; connect-src 'self'"
	if got := signIn.Policy; !ok || got != want {
		t.Errorf("policy\n%s, want\n%s", got, want)
	}
	if n := strings.Count(page, "<script"); n != 1 {
		t.Errorf("%d scripts, want 1", n)
	}
	if n := strings.Count(page, "data-options="); n != 1 {
		t.Errorf("%d forms with options, want that of the passkey", n)
	}
}

func TestLogo(t *testing.T) {
	for _, logo := range []string{"/logo.svg?a=1", "https://img.example.com/l.png", "data:image/png;base64,iVBORw0KGgo="} {
		p := newPages(t, pages.Theme{Logo: logo})
		for _, page := range everyPage(p) {
			if want := "img [class=logo] [src=" + logo + "] [alt=Logo]\n"; !strings.Contains(outline(t, page), want) {
				t.Errorf("no %q in:\n%s", want, outline(t, page))
			}
		}
	}
}

func TestNewRefuses(t *testing.T) {
	tests := map[string]struct {
		theme pages.Theme
		field string
	}{
		"scheme":            {pages.Theme{ColorScheme: "Dark"}, "colour scheme"},
		"colour name":       {pages.Theme{BrandColor: "red"}, "brand colour"},
		"colour with alpha": {pages.Theme{BrandColor: "#11223344"}, "brand colour"},
		"colour sign":       {pages.Theme{BrandColor: "#+12345"}, "brand colour"},
		"colour underscore": {pages.Theme{BrandColor: "#1_2_34"}, "brand colour"},
		"not hexadecimal":   {pages.Theme{BrandColor: "#12345g"}, "brand colour"},
		"no hash":           {pages.Theme{BrandColor: "1234567"}, "brand colour"},
		"short no hash":     {pages.Theme{BrandColor: "1234"}, "brand colour"},
		"declaration":       {pages.Theme{BrandColor: "#000;}*{"}, "brand colour"},
		"end of style":      {pages.Theme{ButtonText: "</style>"}, "button text colour"},
		"multi-byte":        {pages.Theme{ButtonText: "#é1"}, "button text colour"},
		"script":            {pages.Theme{Logo: "javascript:alert(1)"}, "logo"},
		"data not image":    {pages.Theme{Logo: "data:text/html,x"}, "logo"},
		"relative":          {pages.Theme{Logo: "logo.svg"}, "logo"},
		"no scheme":         {pages.Theme{Logo: "//img.example.com/l.png"}, "logo"},
		"new directive":     {pages.Theme{Logo: "https://a;script-src/l.png"}, "logo"},
		"new policy":        {pages.Theme{Logo: "https://a,b/l.png"}, "logo"},
		"wildcard":          {pages.Theme{Logo: "https://*/l.png"}, "logo"},
		"password":          {pages.Theme{Logo: "https://u:p@a.example/l.png"}, "logo"},
		"no host":           {pages.Theme{Logo: "https:///l.png"}, "logo"},
		"control character": {pages.Theme{Logo: "/a\nb"}, "logo"},
	}
	for name, test := range tests {
		p, err := pages.New(test.theme)
		if err == nil || p != nil || !strings.Contains(err.Error(), "theme "+test.field) {
			t.Errorf("%s: New = %v, %v, want an error about the theme's %s", name, p, err, test.field)
		}
	}
}

func TestThemeColours(t *testing.T) {
	tests := []struct {
		theme       pages.Theme
		brand, text string
	}{
		{pages.Theme{BrandColor: "#fde047"}, "#fde047", "#000000"},
		{pages.Theme{BrandColor: "#1E3A8A"}, "#1E3A8A", "#ffffff"},
		{pages.Theme{BrandColor: "#fff"}, "#fff", "#000000"},
		{pages.Theme{BrandColor: "#1e3a8a", ButtonText: "#abc"}, "#1e3a8a", "#abc"},
	}
	for _, test := range tests {
		for _, scheme := range []string{"", "auto", "light", "dark"} {
			test.theme.ColorScheme = scheme
			// The last declaration wins, in the dark as well.
			last := map[string]string{}
			for _, m := range declaration.FindAllStringSubmatch(stylesheet(t, newPages(t, test.theme)), -1) {
				last[m[1]] = m[2]
			}
			if last["brand-color"] != test.brand || last["button-text-color"] != test.text {
				t.Errorf("%+v: text %s on %s, want %s on %s", test.theme,
					last["button-text-color"], last["brand-color"], test.text, test.brand)
			}
		}
	}
}

func TestColorScheme(t *testing.T) {
	tests := []struct{ scheme, class, modes string }{
		{"", "auto", "light dark"},
		{"auto", "auto", "light dark"},
		{"light", "light", "light"},
		{"dark", "dark", "dark"},
	}
	for _, test := range tests {
		p := newPages(t, pages.Theme{ColorScheme: test.scheme})
		page := string(p.Error(pages.Error{}).HTML)
		for _, want := range []string{
			`<body class="__next-auth-theme-` + test.class + `">`,
			`<meta name="color-scheme" content="` + test.modes + `">`,
		} {
			if !strings.Contains(page, want) {
				t.Errorf("scheme %q: no %s", test.scheme, want)
			}
		}
		follows := strings.Contains(page, "prefers-color-scheme: dark")
		if follows != (test.class == "auto") {
			t.Errorf("scheme %q: follows the device: %v", test.scheme, follows)
		}
	}
}

var declaration = regexp.MustCompile(`--([a-z-]+): (#[0-9A-Fa-f]{3,6});`)

// The built-in colours meet WCAG 2.2, 1.4.3 and 1.4.11, in both schemes.
func TestContrast(t *testing.T) {
	pairs := []struct {
		front, back string
		least       float64
	}{
		{"ink", "card", 7},
		{"ink", "hover", 7},
		{"muted", "card", 4.5},
		{"button-text-color", "brand-color", 4.5},
		{"alert-ink", "alert-ground", 4.5},
		{"edge", "card", 3},
		{"focus", "card", 3},
		{"brand-color", "card", 3},
	}
	for _, scheme := range []string{"light", "dark"} {
		colours := map[string]string{}
		for _, m := range declaration.FindAllStringSubmatch(stylesheet(t, newPages(t, pages.Theme{ColorScheme: scheme})), -1) {
			colours[m[1]] = m[2]
		}
		for _, pair := range pairs {
			a, b := luminance(t, colours[pair.front]), luminance(t, colours[pair.back])
			if got := (max(a, b) + 0.05) / (min(a, b) + 0.05); got < pair.least {
				t.Errorf("%s: %s on %s has contrast %.2f, want %.1f", scheme, pair.front, pair.back, got, pair.least)
			}
		}
	}
}

// What an application chooses itself is measured, in each scheme it is shown in.
func TestThemeContrast(t *testing.T) {
	tests := []struct {
		theme pages.Theme
		least float64
	}{
		{pages.Theme{}, 4.58},
		{pages.Theme{BrandColor: "#777"}, 4.58},
		{pages.Theme{BrandColor: "#000", ButtonText: "#fff"}, 21},
		{pages.Theme{BrandColor: "#fde047", ButtonText: "#ffffff"}, 1.32},
		{pages.Theme{ButtonText: "#fff"}, 1.72}, // on the built-in colour of the dark
		{pages.Theme{ButtonText: "#fff", ColorScheme: "dark"}, 1.72},
		{pages.Theme{ButtonText: "#fff", ColorScheme: "light"}, 8.74},
		{pages.Theme{ButtonText: "#000", ColorScheme: "auto"}, 2.40},
	}
	for _, test := range tests {
		newPages(t, test.theme)
		if got := test.theme.Contrast(); math.Abs(got-test.least) > 0.01 {
			t.Errorf("%+v: contrast %.2f, want %.2f", test.theme, got, test.least)
		}
	}
}

func luminance(t *testing.T, colour string) float64 {
	t.Helper()
	n, err := strconv.ParseUint(strings.TrimPrefix(colour, "#"), 16, 32)
	if err != nil || len(colour) != 7 {
		t.Fatalf("colour is %q, want #rrggbb", colour)
	}
	linear := func(v uint64) float64 {
		s := float64(v&0xff) / 255
		if s <= 0.04045 {
			return s / 12.92
		}
		return math.Pow((s+0.055)/1.055, 2.4)
	}
	return 0.2126*linear(n>>16) + 0.7152*linear(n>>8) + 0.0722*linear(n)
}

// A page that is translated to a language written from right to left turns
// around by itself only if no property names a side.
func TestLogicalProperties(t *testing.T) {
	sides := regexp.MustCompile(`(?m)(?:^|[\s;{])(?:(?:margin|padding|border)-(?:left|right)[a-z-]*|left|right|float|text-align:\s*(?:left|right))\s*[:;]`)
	if found := sides.FindAllString(stylesheet(t, newPages(t, pages.Theme{})), -1); len(found) > 0 {
		t.Errorf("properties that name a side: %q", found)
	}
}
