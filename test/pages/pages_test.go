// Package pages_test looks at the built-in pages in a browser: whether axe finds
// anything to object to, whether they fit, and whether they can be used without
// a mouse.
package pages_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/google/go-cmp/cmp"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/adapter/memory"
	"github.com/gatebook/gatebook/passkey"
	"github.com/gatebook/gatebook/provider/catalog"
	"github.com/gatebook/gatebook/provider/credentials"
	"github.com/gatebook/gatebook/provider/email"
	"github.com/gatebook/gatebook/provider/oauth"
	"github.com/gatebook/gatebook/test/browser"
	"github.com/gatebook/gatebook/test/need"
)

// screenshotsEnv names a folder in which the tests leave what they saw.
const screenshotsEnv = "GATEBOOK_SCREENSHOTS"

// logo is an image in the page, with text that names a colour scheme cannot
// change.
const logo = `data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' width='160' height='40'%3E%3Crect width='160' height='40' rx='8' fill='%23777'/%3E%3C/svg%3E`

// native asks somebody who is signed in whether a program may be.
const native = "/auth/native?response_type=code&redirect_uri=com.example.app:/back&code_challenge_method=S256&" +
	"code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"

type nobody struct{}

func (nobody) Send(context.Context, *email.Message) error { return nil }

func must[T any](t *testing.T) func(T, error) T {
	t.Helper()
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// providers are of every kind, with names in two directions of writing, one of
// them longer than any button.
func providers(t *testing.T) []gatebook.Provider {
	t.Helper()
	oidc := func(id, name, brand string) gatebook.Provider {
		return must[*oauth.Provider](t)(oauth.New(oauth.Config{ID: id, Name: name, BrandColor: brand,
			Issuer: "https://" + id + ".example", ClientID: "id", ClientSecret: "secret"}))
	}
	return []gatebook.Provider{
		must[*oauth.Provider](t)(catalog.GitHub(catalog.Client{ID: "id", Secret: "secret"})),
		must[*oauth.Provider](t)(catalog.Google(catalog.Client{ID: "id", Secret: "secret"})),
		oidc("city", "بوابة المدينة (2)", "#0a6e5c"),
		oidc("long", "The Identity Service of the Consolidated Universities of the Northern Provinces", "#ffd400"),
		must[*email.Provider](t)(email.New(email.Config{From: "no-reply@example.com", Mailer: nobody{}})),
		must[*credentials.Provider](t)(credentials.New(credentials.Config{
			Name: "كلمة المرور",
			Fields: []gatebook.Field{
				{Name: "username", Label: "اسم المستخدم (إلزامي)", Placeholder: "مريم"},
				{Name: "password", Label: "Password", Type: "password"},
			},
			Authorize: func(_ context.Context, typed map[string]string, _ *http.Request) (*gatebook.User, error) {
				if typed["password"] != "right" {
					return nil, gatebook.ErrBadCredentials
				}
				return &gatebook.User{ID: "1", Name: typed["username"], Email: "maryam@example.com"}, nil
			},
		})),
		must[*passkey.Provider](t)(passkey.New(passkey.Config{})),
	}
}

// serve starts a site with the theme and returns its address.
func serve(t *testing.T, theme gatebook.Theme) string {
	t.Helper()
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	url := strings.Replace(server.URL, "127.0.0.1", "localhost", 1) // passkeys need a name
	auth := must[*gatebook.Auth](t)(gatebook.New(gatebook.Config{
		Secrets: []gatebook.Secret{"a secret of more than thirty-two characters"}, URL: url, Adapter: memory.New(),
		Session: gatebook.SessionConfig{Strategy: gatebook.StrategyJWT}, Providers: providers(t), Theme: theme,
		NativeRedirects: []string{"com.example.app:/back"},
		Logger:          slog.New(slog.DiscardHandler),
	}))
	mux.Handle(auth.BasePath()+"/", auth)
	return url
}

// views are the pages, each way they look.
var views = map[string]string{
	"signin":              "/auth/signin?callbackUrl=%2Fprivate",
	"signin-error":        "/auth/signin?error=CredentialsSignin&email=ada%40example.com",
	"signout":             "/auth/signout",
	"verify-request":      "/auth/verify-request?provider=email&type=email",
	"error":               "/auth/error",
	"error-configuration": "/auth/error?error=Configuration",
	"error-accessdenied":  "/auth/error?error=AccessDenied",
	"error-verification":  "/auth/error?error=Verification",
	"error-passkey":       "/auth/error?error=WebAuthnVerificationError",
	"native":              native,
}

// media makes the browser of somebody who prefers what features say.
func media(t *testing.T, b *browser.Browser, features ...*emulation.MediaFeature) {
	t.Helper()
	p := emulation.SetEmulatedMediaParams{Features: features}
	if _, err := chromedp.Call(b.Context(), emulation.SetEmulatedMedia, p); err != nil {
		t.Fatal(err)
	}
}

func prefers(name, value string) *emulation.MediaFeature {
	return &emulation.MediaFeature{Name: name, Value: value}
}

// open opens a page as it is, or turned around as a translation to a language
// that is written from right to left turns it.
func open(t *testing.T, b *browser.Browser, address, dir string) {
	t.Helper()
	b.Do(t, chromedp.Navigate(address))
	eval[string](t, b, `document.documentElement.dir = "`+dir+`"`)
}

// newBrowser is that of somebody signed in: one page is for them only, and the
// others are the same for all. The ports of a host share its cookies.
func newBrowser(t *testing.T) *browser.Browser {
	t.Helper()
	b := browser.New(t)
	b.Do(t, chromedp.Navigate(serve(t, gatebook.Theme{})+"/auth/signin?callbackUrl=/auth/signout"))
	send(t, b, "right")
	b.Do(t, chromedp.WaitVisible(chromedp.CSS(".signout")))
	return b
}

// send fills in the form of the sign-in page and presses Enter.
func send(t *testing.T, b *browser.Browser, password string) {
	t.Helper()
	b.Do(t, chromedp.SendKeys(chromedp.CSS("[name=username]"), "مريم"), chromedp.SendKeys(chromedp.CSS("[name=password]"), password+"\r"))
}

func eval[T any](t *testing.T, b *browser.Browser, expression string) T {
	t.Helper()
	return browser.Run(t, b, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
}

func shot(t *testing.T, b *browser.Browser, name string) {
	t.Helper()
	if dir := os.Getenv(screenshotsEnv); dir != "" {
		b.Screenshot(t, filepath.Join(dir, name+".png"))
	}
}

// themes are those that the pages are looked at in. The colours are light, dark
// and in between, and as near as one comes to those of the pages.
var themes = map[string]gatebook.Theme{
	"built-in": {},
	"brand":    {BrandColor: "#e11d48", Logo: logo},
	"pale":     {BrandColor: "#fde047"},
	"white":    {BrandColor: "#ffffff"},
	"black":    {BrandColor: "#000000"},
	"grey":     {BrandColor: "#777777", Logo: logo},
}

// TestAxe has axe look for what keeps people out: on every page, in light and
// dark, in both directions, and in each theme.
func TestAxe(t *testing.T) {
	axe, err := os.ReadFile(filepath.Join(need.Clients(t), "axe-core", "axe.min.js"))
	if err != nil {
		t.Fatal(err)
	}
	b := newBrowser(t)
	b.Resize(t, browser.Size{Width: 1000, Height: 1300})
	for themeName, theme := range themes {
		site := serve(t, theme)
		for _, scheme := range []string{"light", "dark"} {
			media(t, b, prefers("prefers-color-scheme", scheme))
			for _, dir := range []string{"ltr", "rtl"} {
				for name, path := range views {
					// Themes change colours only, which these pages have all of.
					if themeName != "built-in" && (dir == "rtl" || name != "signin-error" && name != "error-accessdenied") {
						continue
					}
					name := strings.Join([]string{name, themeName, scheme, dir}, "-")
					open(t, b, site+path, dir)
					shot(t, b, name)
					eval[bool](t, b, string(axe)+"; true")
					for _, found := range eval[[]string](t, b, axeRun) {
						t.Errorf("%s: %s", name, found)
					}
				}
			}
		}
	}
	if blocked := b.Blocked(); len(blocked) > 0 {
		t.Errorf("pages asked for %v", blocked)
	}
}

// axeRun returns what axe objects to, and where. What it cannot decide by itself
// counts too. Drawings beside a name, whose letter is no text, are left out.
const axeRun = `axe.run({exclude: ["svg[aria-hidden=true]"]}, {resultTypes: ["violations", "incomplete"]}).then(r => [...r.violations, ...r.incomplete].flatMap(
	v => v.nodes.map(n => v.id + ": " + v.help + ": " + n.target + ": " + n.failureSummary)))`

// TestFits: nothing is cut off or has to be scrolled to sideways, on a narrow
// screen (which a window of 640 pixels is at 200 %) and with larger letters.
func TestFits(t *testing.T) {
	b := newBrowser(t)
	site := serve(t, gatebook.Theme{Logo: logo})
	for _, size := range []struct {
		name    string
		width   int64
		letters string
	}{{"narrow", 320, "100%"}, {"phone", 390, "100%"}, {"letters", 640, "200%"}} {
		b.Resize(t, browser.Size{Width: size.width, Height: 1200, Mobile: size.name == "phone"})
		for _, dir := range []string{"ltr", "rtl"} {
			for name, path := range views {
				open(t, b, site+path, dir)
				eval[string](t, b, `document.documentElement.style.fontSize = "`+size.letters+`"`)
				shot(t, b, strings.Join([]string{name, size.name, dir}, "-"))
				for _, found := range eval[[]string](t, b, overflowing) {
					t.Errorf("%s, %s, %s: %s does not fit", name, size.name, dir, found)
				}
			}
		}
	}
}

// overflowing returns the elements with text or inputs that reach out of the
// window or hold more than fits into them.
const overflowing = `[...document.querySelectorAll("html, main, main *:not(svg, svg *, [type=hidden])")].filter(e => {
	const box = e.getBoundingClientRect();
	return box.left < 0 || box.right > innerWidth || e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).display !== "inline";
}).map(e => e.tagName + "." + e.className)`

// TestKeyboard walks through the sign-in page with the Tab key and signs in with
// Enter; where one is can be seen.
func TestKeyboard(t *testing.T) {
	b := browser.New(t)
	for _, scheme := range []string{"light", "dark"} {
		media(t, b, prefers("prefers-color-scheme", scheme))
		b.Do(t, chromedp.Navigate(serve(t, gatebook.Theme{})+"/auth/signin"))
		begins := `document.activeElement.id === "input-email-for-email-provider"`
		browser.Run(t, b, chromedp.Poll[bool](begins, chromedp.WithPollingTimeout(10*time.Second)))
		eval[any](t, b, "document.activeElement.blur(); document.body.tabIndex = -1; document.body.focus()")
		var got []string
		for range 11 {
			b.Do(t, chromedp.KeyEvent("\t"))
			got = append(got, eval[string](t, b, focused))
		}
		want := []string{
			"Sign in with GitHub", "Sign in with Google", "Sign in with بوابة المدينة (2)",
			"Sign in with The Identity Service of the Consolidated Universities of the Northern Provinces",
			"input-email-for-email-provider", "Sign in with Email",
			"input-username-for-credentials-provider", "input-password-for-credentials-provider", "Sign in with كلمة المرور",
			"input-email-for-passkey-provider", "Sign in with Passkey",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("Tab leads to (-want +got):\n%s", diff)
		}
		send(t, b, "wrong")
		b.Do(t, chromedp.WaitVisible(chromedp.CSS(".error[role=alert]")))
	}
}

// focused names the element with the focus, and says so when that cannot be seen.
const focused = `(e => {
	const style = getComputedStyle(e);
	const seen = style.outlineStyle === "solid" && parseFloat(style.outlineWidth) >= 2;
	return (e.id && e.tagName === "INPUT" ? e.id : (e.querySelector("span") ?? e).innerText.trim()) + (seen ? "" : " (cannot be seen)");
})(document.activeElement)`

// What people have set for all pages is heeded.
func TestPreferences(t *testing.T) {
	b := newBrowser(t)
	site := serve(t, gatebook.Theme{})
	transition := `getComputedStyle(document.querySelector(".button")).transitionDuration`
	b.Do(t, chromedp.Navigate(site+"/auth/signin"))
	if got := eval[string](t, b, transition); got == "0s" {
		t.Fatal("buttons have no transition: this test sees nothing")
	}
	media(t, b, prefers("prefers-reduced-motion", "reduce"))
	if got := eval[string](t, b, transition); got != "0s" {
		t.Errorf("with reduced motion a button's transition takes %s", got)
	}
	media(t, b, prefers("forced-colors", "active"))
	for name, path := range views {
		b.Do(t, chromedp.Navigate(site+path))
		shot(t, b, name+"-forced")
		for _, found := range eval[[]string](t, b, `[...document.querySelectorAll(".button, input:not([type=hidden])")].filter(
			e => parseFloat(getComputedStyle(e).borderTopWidth) < 1).map(e => e.outerHTML)`) {
			t.Errorf("%s: with forced colours nothing shows where this is: %s", name, found)
		}
	}
}

// The policy lets the theme's stylesheet and logo through.
func TestTheme(t *testing.T) {
	b := browser.New(t)
	b.Do(t, chromedp.Navigate(serve(t, gatebook.Theme{BrandColor: "#e11d48", ButtonText: "#fff", Logo: logo})+"/auth/signout"))
	if got := eval[string](t, b, `getComputedStyle(document.querySelector(".main")).backgroundColor`); got != "rgb(225, 29, 72)" {
		t.Errorf("the button is %s, want the brand's colour", got)
	}
	if got := eval[int](t, b, `document.querySelector(".logo").naturalWidth`); got != 160 {
		t.Errorf("the logo is %d pixels wide, want 160: was it loaded?", got)
	}
}
