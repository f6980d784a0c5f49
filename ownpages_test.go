package gatebook_test

import (
	"context"
	"errors"
	"html"
	"html/template"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/record"
)

// drawnPage draws everything that SignInData gives, as a page of an application
// does.
var drawnPage = template.Must(template.New("").Parse(`{{with .ErrorText}}<p role="alert">{{.}}</p>{{end}}
{{range .Providers}}<form method="post" action="{{.Action}}" id="{{.ID}}">
<input type="hidden" name="csrfToken" value="{{$.CSRFToken}}">
<input type="hidden" name="callbackUrl" value="{{$.CallbackURL}}">
{{range .Fields}}<input type="{{.Type}}" name="{{.Name}}">{{end}}
</form>
{{end}}<form method="post" action="{{.SignOutURL}}" id="signout">
<input type="hidden" name="csrfToken" value="{{.CSRFToken}}">
</form>`))

// withDrawnPage serves the page at /login and sends visitors there.
func withDrawnPage(s *site, c *gatebook.Config) {
	c.Pages.SignIn = "/login"
	s.server.Config.Handler.(*http.ServeMux).HandleFunc("/login", func(w http.ResponseWriter, r *http.Request) {
		d, err := s.auth.SignInData(w, r)
		if err == nil {
			err = drawnPage.Execute(w, d)
		}
		if err != nil {
			http.Error(w, "no page", http.StatusInternalServerError)
		}
	})
}

var formInput = regexp.MustCompile(`<input type="[a-z]+" name="([a-zA-Z]+)"(?: value="([^"]*)")?>`)

// submit sends the form of the page with what the visitor typed.
func (s *site) submit(page, id string, typed url.Values) *answer {
	s.t.Helper()
	_, form, ok := strings.Cut(page, `id="`+id+`">`)
	if !ok {
		s.t.Fatalf("the page has no form %s:\n%s", id, page)
	}
	action := regexp.MustCompile(`action="([^"]*)" id="` + id + `"`).FindStringSubmatch(page)
	form, _, _ = strings.Cut(form, "</form>")
	values := url.Values{}
	for _, m := range formInput.FindAllStringSubmatch(form, -1) {
		values.Set(m[1], html.UnescapeString(m[2]))
		if v := typed.Get(m[1]); v != "" {
			values.Set(m[1], v)
		}
	}
	path, ok := strings.CutPrefix(action[1], s.server.URL)
	if !ok {
		s.t.Fatalf("form %s is posted to %s, want a URL of %s", id, action[1], s.server.URL)
	}
	return s.postRaw(path, values)
}

// A page drawn by the application signs in with every kind of provider, tells of
// failures, and signs out.
func TestSignInData(t *testing.T) {
	for _, strategy := range []string{gatebook.StrategyJWT, gatebook.StrategyDatabase} {
		s := newSite(t, func(s *site, c *gatebook.Config) {
			withDrawnPage(s, c)
			c.Session.Strategy = strategy
		})
		res := s.get("/auth/signin?callbackUrl=/private")
		if got, want := res.Header.Get("Location"), "/login?callbackUrl="+url.QueryEscape(s.server.URL+"/private"); got != want {
			t.Fatalf("GET signin leads to %s, want %s", got, want)
		}
		page := s.get(res.Header.Get("Location"))
		if got := page.Header.Get("Cache-Control"); got != "private, no-cache, no-store" {
			t.Errorf("Cache-Control of the page = %q: its token belongs to one visitor", got)
		}

		if strategy == gatebook.StrategyJWT { // credentials with database sessions need a stored user
			res = s.submit(page.body, "credentials", url.Values{"username": {"ada"}, "password": {"wrong"}})
			if got, want := res.Header.Get("Location"), s.server.URL+"/login?error=CredentialsSignin&code=credentials"; got != want {
				t.Fatalf("a wrong password leads to %s, want %s", got, want)
			}
			again := s.get(strings.TrimPrefix(res.Header.Get("Location"), s.server.URL)).body
			if want := `<p role="alert">Sign in failed. Check the details you provided are correct.</p>`; !strings.Contains(again, want) {
				t.Errorf("the page after a wrong password has no %s:\n%s", want, again)
			}
			res = s.submit(again, "credentials", url.Values{"username": {"ada"}, "password": {"right"}})
			if got := res.Header.Get("Location"); got != s.server.URL+"/private" {
				t.Errorf("after signing in: %s, want /private, which the first page was given", got)
			}
		}

		s.idp.prove("1", "ada@example.com", true)
		res = s.submit(page.body, "idp", nil)
		to, err := url.Parse(res.Header.Get("Location"))
		if err != nil || to.Host != "idp.example" {
			t.Fatalf("the provider's form leads to %s", res.Header.Get("Location"))
		}
		res = s.get("/auth/callback/idp?code=c&state=" + url.QueryEscape(to.Query().Get("state")))
		if got := res.Header.Get("Location"); got != s.server.URL+"/private" {
			t.Errorf("after the provider: %s, want /private", got)
		}
		s.submit(page.body, "email", url.Values{"email": {"Ada@Example.com"}})
		if link := s.mail.link(t); !strings.Contains(link, "callbackUrl="+url.QueryEscape(s.server.URL+"/private")) {
			t.Errorf("the mail's link does not lead to /private: %s", link)
		}

		if got := s.get("/").body; got != "hello ada@example.com" {
			t.Fatalf("before signing out: %s", got)
		}
		s.submit(page.body, "signout", nil)
		if got := s.get("/").body; !strings.HasPrefix(got, "nobody") {
			t.Errorf("after signing out: %s", got)
		}
	}
}

func TestSignInDataValues(t *testing.T) {
	var data *gatebook.SignInData
	s := newSite(t, nil)
	ask := func(query string) *answer {
		r := httptest.NewRequest(http.MethodGet, s.server.URL+"/login?"+query, nil)
		w := httptest.NewRecorder()
		var err error
		if data, err = s.auth.SignInData(w, r); err != nil {
			t.Fatal(err)
		}
		return &answer{w.Result(), ""}
	}

	res := ask("email=ada%40example.com&error=OAuthAccountNotLinked&code=x&csrfToken=y&callbackUrl=%2Fa%3Fb%3D1")
	text := []gatebook.Field{{Name: "username", Label: "username", Type: "text"}, {Name: "password", Label: "password", Type: "password"}}
	base := s.server.URL + "/auth"
	want := &gatebook.SignInData{CSRFToken: data.CSRFToken, CallbackURL: s.server.URL + "/a?b=1", Email: "ada@example.com",
		Error: "OAuthAccountNotLinked", Code: "x", ErrorText: "To confirm your identity, sign in with the same account you used originally.",
		SignOutURL: base + "/signout",
		Providers: []gatebook.SignInProvider{
			{ProviderInfo: gatebook.ProviderInfo{ID: "idp", Name: "IDP", Type: gatebook.TypeOIDC}, Action: base + "/signin/idp"},
			{ProviderInfo: gatebook.ProviderInfo{ID: "second", Name: "SECOND", Type: gatebook.TypeOIDC}, Action: base + "/signin/second"},
			{ProviderInfo: gatebook.ProviderInfo{ID: "email", Name: "Email", Type: gatebook.TypeEmail}, Action: base + "/signin/email",
				Fields: []gatebook.Field{{Name: "email", Label: "Email", Type: "email", Placeholder: "email@example.com"}}},
			{ProviderInfo: gatebook.ProviderInfo{ID: "credentials", Name: "Credentials", Type: gatebook.TypeCredentials}, Action: base + "/callback/credentials",
				Fields: text},
		}}
	if diff := cmp.Diff(want, data); diff != "" {
		t.Errorf("SignInData (-want +got):\n%s", diff)
	}
	if len(data.CSRFToken) != 64 || data.CSRFToken == "y" {
		t.Errorf("CSRFToken = %q, want one of ours", data.CSRFToken)
	}
	cookies := res.Cookies()
	if len(cookies) != 2 || cookies[0].Name != "authjs.csrf-token" || !strings.HasPrefix(cookies[0].Value, data.CSRFToken+"%7C") ||
		cookies[1].Name != "authjs.callback-url" {
		t.Errorf("cookies = %v, want the token's and the callback URL's", cookies)
	}

	ask("callbackUrl=https%3A%2F%2Fevil.example%2F")
	if data.CallbackURL != s.server.URL || data.Error != "" || data.ErrorText != "" {
		t.Errorf("with a foreign callback URL: %+v, want home and no error", data)
	}
	var rejected []string
	for _, e := range s.entries() {
		rejected = append(rejected, e.Header.Type+" "+e.Header.Reason)
	}
	if diff := cmp.Diff([]string{record.TypeRedirectRejected + " " + record.ReasonInvalidRedirect}, rejected); diff != "" {
		t.Errorf("recorded (-want +got):\n%s", diff)
	}
	ask("error=%3Cscript%3E")
	if data.ErrorText != "Unable to sign in." {
		t.Errorf("text for an unknown code = %q", data.ErrorText)
	}
}

// What cannot be served is an error, and no cookie comes of it.
func TestSignInDataRefuses(t *testing.T) {
	tests := []struct {
		name, target, text string
		change             func(*gatebook.Config)
	}{
		{"host", "http://evil.example/login", "Config.URL", func(c *gatebook.Config) { c.URL = "" }},
		{"query", "http://localhost/login?" + strings.Repeat("a&", 501), "500 parameters", nil},
		{"redirect callback", "http://localhost/login?callbackUrl=%2Fa", "redirect callback", func(c *gatebook.Config) {
			c.Callbacks.Redirect = func(context.Context, string, string) (string, error) { return "", errors.New("broken") }
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := newSite(t, func(_ *site, c *gatebook.Config) {
				if test.change != nil {
					test.change(c)
				}
			})
			w := httptest.NewRecorder()
			d, err := s.auth.SignInData(w, httptest.NewRequest(http.MethodGet, test.target, nil))
			if d != nil || err == nil || !strings.Contains(err.Error(), test.text) {
				t.Errorf("SignInData = %v, %v, want an error about %s", d, err, test.text)
			}
			if len(w.Header()) != 0 {
				t.Errorf("headers set: %v", w.Header())
			}
			if entries := s.entries(); test.name == "host" && (len(entries) != 1 || entries[0].Header.Type != record.TypeHostUntrusted) {
				t.Errorf("recorded: %v, want %s", entries, record.TypeHostUntrusted)
			}
		})
	}
}

func TestBasePath(t *testing.T) {
	for _, test := range []struct{ url, base, want string }{
		{"http://localhost", "", "/auth"},
		{"http://localhost/app", "", "/app"},
		{"http://localhost", "/api/auth/", "/api/auth"},
		{"http://localhost", "/", ""},
	} {
		s := newSite(t, func(_ *site, c *gatebook.Config) { c.URL, c.BasePath = test.url, test.base })
		if got := s.auth.BasePath(); got != test.want {
			t.Errorf("BasePath with URL %s and BasePath %q = %q, want %q", test.url, test.base, got, test.want)
		}
	}
}

// A theme whose buttons are hard to read is taken, and the log says so.
func TestThemeContrast(t *testing.T) {
	for _, test := range []struct {
		theme gatebook.Theme
		warns bool
	}{
		{gatebook.Theme{}, false},
		{gatebook.Theme{BrandColor: "#fde047"}, false},
		{gatebook.Theme{BrandColor: "#fde047", ButtonText: "#ffffff"}, true},
	} {
		s := newSite(t, func(_ *site, c *gatebook.Config) { c.Theme = test.theme })
		if got := strings.Contains(s.log.String(), "hard to read"); got != test.warns {
			t.Errorf("%+v: warned %v, want %v\n%s", test.theme, got, test.warns, s.log)
		}
	}
}

// The code of docs/own-pages.md is that of the example, which is compiled and run.
func TestOwnPagesDocument(t *testing.T) {
	example, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("docs/own-pages.md")
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(string(page), "```go\n")[1:]
	if len(parts) < 5 {
		t.Fatalf("docs/own-pages.md has %d blocks of Go, want 5", len(parts))
	}
	for _, part := range parts {
		code, _, _ := strings.Cut(part, "\n```")
		if !strings.Contains(string(example), code) {
			t.Errorf("example_test.go has not this code of docs/own-pages.md:\n%s", code)
		}
	}
}
