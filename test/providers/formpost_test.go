package providers_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/adapter/memory"
	"github.com/gatebook/gatebook/provider/oauth"
	"github.com/gatebook/gatebook/test/browser"
	"github.com/gatebook/gatebook/test/oidcprovider"
)

// TestFormPostInBrowser signs in at a provider on another site that comes back
// with a form, as Apple does: what a browser sends with a POST across sites
// decides whether that works, and whether the visitor gets where they were.
func TestFormPostInBrowser(t *testing.T) {
	b := browser.New(t)
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	// The provider is on 127.0.0.1, which is another site than localhost.
	home := strings.Replace(server.URL, "127.0.0.1", "localhost", 1)
	op := oidcprovider.Start(t, oidcprovider.Client{ID: client, Secret: secret, RedirectURIs: []string{home + "/auth/callback/op"}})
	p, err := oauth.New(oauth.Config{ID: "op", Issuer: op.Issuer, ClientID: client, ClientSecret: secret,
		AuthParams: []gatebook.Param{{Name: "response_mode", Value: "form_post"}}})
	if err != nil {
		t.Fatal(err)
	}
	auth, err := gatebook.New(gatebook.Config{Secrets: []gatebook.Secret{longSecret}, URL: home, Adapter: memory.New(), Providers: []gatebook.Provider{p}})
	if err != nil {
		t.Fatal(err)
	}
	mux.Handle("/auth/", auth)
	mux.Handle("/", auth.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, err := auth.Session(r)
		if err != nil {
			io.WriteString(w, "nobody")
			return
		}
		io.WriteString(w, "<h1 id=home>"+s.User.Email+" at "+r.URL.Path+"</h1>")
	})))

	b.Do(t,
		chromedp.Navigate(home+"/auth/signin?callbackUrl=/where/they/were"),
		chromedp.Click(chromedp.CSS(`form[action$="/auth/signin/op"] button`)),
		chromedp.Click(chromedp.CSS(`button[value="ada"]`)),
		chromedp.Click(chromedp.CSS(`button[name="consent"]`)),
	)
	if got, want := browser.Run(t, b, chromedp.Text(chromedp.CSS("#home"))), "ada@example.com at /where/they/were"; got != want {
		t.Errorf("the visitor sees %q, want %q", got, want)
	}
}
