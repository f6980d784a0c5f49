// Package account_test runs the front end of docs/account.md in Chromium.
package account_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/adapter/memory"
	"github.com/gatebook/gatebook/gatebooktest"
	"github.com/gatebook/gatebook/test/browser"
)

// script returns the guide's script.
func script(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("../../docs/account.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(b), "\n```js\n")
	text, _, ended := strings.Cut(rest, "\n```\n")
	if !ok || !ended {
		t.Fatal("the guide has no script")
	}
	return text
}

// TestGuide lets a page sign out elsewhere and unlink an account as the guide
// says, and then do what is refused.
func TestGuide(t *testing.T) {
	for _, strategy := range []string{gatebook.StrategyJWT, gatebook.StrategyDatabase} {
		t.Run(strategy, func(t *testing.T) { testGuide(t, strategy) })
	}
}

func testGuide(t *testing.T, strategy string) {
	t.Helper()
	ctx := context.Background()
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	origin := strings.Replace(server.URL, "127.0.0.1", "localhost", 1)
	openID := gatebooktest.NewOpenID(t)
	auth, err := gatebook.New(gatebook.Config{
		Secrets: []gatebook.Secret{"correct horse battery staple, 32 characters"}, URL: origin, Adapter: memory.New(),
		Session:   gatebook.SessionConfig{Strategy: strategy, Revocable: true},
		Providers: []gatebook.Provider{openID.Provider("github"), openID.Provider("other")},
	})
	if err != nil {
		t.Fatal(err)
	}
	user, err := auth.CreateUser(ctx, gatebook.User{Name: "Ada Lovelace", Email: "ada@example.com"})
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range [][2]string{{"github", "583231"}, {"other", "1"}} {
		err := auth.LinkAccount(ctx, gatebook.Account{UserID: user.ID, Type: gatebook.TypeOIDC, Provider: a[0], ProviderAccountID: a[1]})
		if err != nil {
			t.Fatal(err)
		}
	}
	mux.Handle("/auth/", auth)
	mux.HandleFunc("GET /in", func(w http.ResponseWriter, r *http.Request) {
		cookies, err := auth.BeginSession(r.Context(), user.ID, "test")
		if err != nil {
			t.Error(err)
		}
		for _, c := range cookies {
			http.SetCookie(w, c)
		}
	})
	mux.HandleFunc("GET /page", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, `<!doctype html><title>front end</title><body><script type="module">
			const result = []
			try {
				%s
				result.push(sessions.length, sessions.filter(s => s.current).length)
				result.push((await (await fetch("/auth/account")).json()).sessions.length)
				await post("account/unlink", {provider: "other", providerAccountId: "1"})
			} catch (e) { result.push(e.message) }
			document.body.textContent = result.join(" ")
			document.body.id = "done"
		</script>`, script(t))
	})
	// Elsewhere somebody is signed in, with cookies that Go keeps.
	res, err := http.Get(origin + "/in")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	elsewhere := res.Cookies()

	b := browser.New(t)
	b.Do(t, chromedp.Navigate(origin+"/in"), chromedp.Navigate(origin+"/page"), chromedp.WaitReady(chromedp.CSS("#done")))
	// Two sessions, of which one is this; one is left; and what remains is the
	// last way to sign in.
	if got := browser.Run(t, b, chromedp.Evaluate[string]("document.body.textContent")); got != "2 1 1 lastSignIn" {
		t.Errorf("the page says %q, want 2 1 1 lastSignIn", got)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, origin+"/auth/session", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range elsewhere {
		req.AddCookie(c)
	}
	if res, err = http.DefaultClient.Do(req); err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, err := io.ReadAll(res.Body); err != nil || string(body) != "null" {
		t.Errorf("elsewhere the session is %s, %v", body, err)
	}
	if list, err := auth.Accounts(ctx, user.ID); err != nil || len(list) != 1 || list[0].Provider != "other" {
		t.Errorf("accounts %+v, %v", list, err)
	}
}
