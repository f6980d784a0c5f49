// Package previews_test signs in through the redirect proxy in Chromium: a
// provider knows one deployment, and people begin at another.
package previews_test

import (
	"context"
	"fmt"
	"html"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/adapter/memory"
	"github.com/gatebook/gatebook/gatebooktest"
	"github.com/gatebook/gatebook/provider/oauth"
	"github.com/gatebook/gatebook/test/browser"
)

// The hosts are three sites to a browser, and the provider, at 127.0.0.1, is a
// fourth.
const (
	proxyHost   = "auth.example.localhost"
	previewHost = "pr-7.preview.localhost"
)

// serve starts a server whose handler comes later and returns its origin.
func serve(t *testing.T, host string, h *http.Handler) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (*h).ServeHTTP(w, r) }))
	t.Cleanup(s.Close)
	_, port, err := net.SplitHostPort(s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return "http://" + net.JoinHostPort(host, port)
}

// stage is the provider and the two deployments.
type stage struct {
	proxy, preview string // origins
	provider       oauth.Config
}

func newStage(t *testing.T, post bool) *stage {
	t.Helper()
	s := &stage{provider: gatebooktest.NewOpenID(t).Config("acme")}
	if post {
		s.provider.AuthURL = posting(t, s.provider.Issuer)
		s.provider.AuthParams = []gatebook.Param{{Name: "response_mode", Value: "form_post"}}
	}
	var proxy, preview http.Handler
	s.proxy, s.preview = serve(t, proxyHost, &proxy), serve(t, previewHost, &preview)
	proxy = s.deploy(t, s.proxy, func(c *gatebook.Config) { c.RedirectProxyOrigins = []string{s.preview} })
	preview = s.deploy(t, s.preview, func(*gatebook.Config) {})
	return s
}

func (s *stage) deploy(t *testing.T, origin string, change func(*gatebook.Config)) http.Handler {
	t.Helper()
	acme, err := oauth.New(s.provider)
	if err != nil {
		t.Fatal(err)
	}
	cfg := gatebook.Config{Secrets: []gatebook.Secret{"correct horse battery staple, 32 characters"}, URL: origin, RedirectProxyURL: s.proxy + "/auth",
		Adapter: memory.New(), Providers: []gatebook.Provider{acme}, Logger: slog.New(slog.DiscardHandler)}
	change(&cfg)
	auth, err := gatebook.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/auth/", auth)
	mux.Handle("/", auth.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who := "nobody"
		if s, err := auth.Session(r); err == nil {
			who = s.User.Name
		}
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, "<!doctype html><p id=who>%s</p>", html.EscapeString(who))
	})))
	return mux
}

// posting is an authorization endpoint in front of the provider's that answers
// with a form (OAuth 2.0 Form Post Response Mode).
func posting(t *testing.T, issuer string) string {
	t.Helper()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		res, err := client.Get(issuer + "/authorize?" + r.URL.RawQuery)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer res.Body.Close()
		to, err := res.Location()
		if err != nil || r.URL.Query().Get("response_mode") != "form_post" {
			http.Error(w, "no form is asked for", http.StatusBadRequest)
			return
		}
		fields := to.Query()
		to.RawQuery = ""
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, `<!doctype html><body onload="document.forms[0].submit()"><form method=post action="%s">`, html.EscapeString(to.String()))
		for name := range fields {
			fmt.Fprintf(w, `<input type=hidden name="%s" value="%s">`, html.EscapeString(name), html.EscapeString(fields.Get(name)))
		}
		io.WriteString(w, "</form>")
	}))
	t.Cleanup(s.Close)
	return s.URL + "/authorize"
}

// TestSignIn: a person begins at the preview and comes back to it signed in,
// whether the provider answers with a redirect or with a form; the proxy keeps
// nothing.
func TestSignIn(t *testing.T) {
	for _, post := range []bool{false, true} {
		t.Run(fmt.Sprintf("form %t", post), func(t *testing.T) {
			s := newStage(t, post)
			b := browser.New(t)
			b.Do(t, chromedp.Navigate(s.preview+"/auth/signin?callbackUrl=/inside"), chromedp.Click(chromedp.CSS("form button")),
				chromedp.WaitReady(chromedp.CSS("#who")))
			if at := browser.Run(t, b, chromedp.Location()); at != s.preview+"/inside" {
				t.Errorf("the visitor ends at %s", at)
			}
			if who := browser.Run(t, b, chromedp.Text(chromedp.CSS("#who"))); who != "Ada Lovelace" {
				t.Errorf("signed in: %s", who)
			}
			b.Do(t, chromedp.Navigate(s.proxy+"/"))
			if who := browser.Run(t, b, chromedp.Text(chromedp.CSS("#who"))); who != "nobody" {
				t.Errorf("signed in at the proxy: %s", who)
			}
			// The proxy's own visitors sign in there.
			b.Do(t, chromedp.Navigate(s.proxy+"/auth/signin?callbackUrl=/inside"), chromedp.Click(chromedp.CSS("form button")),
				chromedp.WaitReady(chromedp.CSS("#who")))
			if at := browser.Run(t, b, chromedp.Location()); at != s.proxy+"/inside" {
				t.Errorf("the proxy's visitor ends at %s", at)
			}
		})
	}
}

// TestStolenState: somebody begins at the preview and has another person's
// browser go on from there. That browser ends signed in nowhere, and the one who
// began has no code.
func TestStolenState(t *testing.T) {
	s := newStage(t, false)
	here := &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		_, port, _ := net.SplitHostPort(addr)
		return (&net.Dialer{}).DialContext(ctx, network, "127.0.0.1:"+port)
	}}
	t.Cleanup(here.CloseIdleConnections)
	thief := &http.Client{Transport: here, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	var err error
	if thief.Jar, err = cookiejar.New(nil); err != nil {
		t.Fatal(err)
	}
	page, err := thief.Get(s.preview + "/auth/csrf")
	if err != nil {
		t.Fatal(err)
	}
	defer page.Body.Close()
	body, err := io.ReadAll(page.Body)
	if err != nil {
		t.Fatal(err)
	}
	token := strings.Split(string(body), `"`)[3]
	begun, err := thief.PostForm(s.preview+"/auth/signin/acme", url.Values{"csrfToken": {token}})
	if err != nil {
		t.Fatal(err)
	}
	defer begun.Body.Close()
	to := begun.Header.Get("Location")
	if !strings.HasPrefix(to, s.provider.Issuer) {
		t.Fatalf("the sign-in begins at %q", to)
	}
	b := browser.New(t)
	b.Do(t, chromedp.Navigate(to))
	if at := browser.Run(t, b, chromedp.Location()); at != s.preview+"/auth/error?error=Configuration" {
		t.Errorf("the other person ends at %s", at)
	}
	for _, origin := range []string{s.preview, s.proxy} {
		b.Do(t, chromedp.Navigate(origin+"/"))
		if who := browser.Run(t, b, chromedp.Text(chromedp.CSS("#who"))); who != "nobody" {
			t.Errorf("signed in at %s: %s", origin, who)
		}
	}
}
