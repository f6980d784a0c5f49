// Package native_test signs a program on a person's device in, as its author
// would write it: golang.org/x/oauth2, a loopback address, and the browser.
package native_test

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"golang.org/x/oauth2"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/adapter/sqlite"
	"github.com/gatebook/gatebook/book"
	"github.com/gatebook/gatebook/provider/credentials"
	"github.com/gatebook/gatebook/record"
	"github.com/gatebook/gatebook/test/browser"
)

// start returns a site at which Ada signs in with a password.
func start(t *testing.T) (site string, auth *gatebook.Auth) {
	t.Helper()
	var handler http.Handler
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler.ServeHTTP(w, r) }))
	t.Cleanup(srv.Close)
	site = strings.Replace(srv.URL, "127.0.0.1", "localhost", 1)
	db, err := sqlite.Open(filepath.Join(t.TempDir(), "site.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	password, err := credentials.New(credentials.Config{
		Fields: []gatebook.Field{{Name: "username"}, {Name: "password", Type: "password"}},
		Authorize: func(_ context.Context, form map[string]string, _ *http.Request) (*gatebook.User, error) {
			if form["password"] != "engine" {
				return nil, gatebook.ErrBadCredentials
			}
			return &gatebook.User{ID: "ada", Name: "Ada", Email: "ada@example.com"}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	auth, err = gatebook.New(gatebook.Config{
		Secrets: []gatebook.Secret{"a secret of more than thirty-two characters"}, URL: site, Adapter: db,
		Providers: []gatebook.Provider{password}, NativeRedirects: []string{"http://127.0.0.1/signed-in"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := auth.CreateUser(t.Context(), gatebook.User{ID: "ada", Name: "Ada", Email: "ada@example.com"}); err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/auth/", auth)
	mux.Handle("/api/me", auth.Require(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, err := auth.Session(r)
		if err != nil {
			t.Error(err)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]string{"email": s.User.Email, "session": s.ID})
	})))
	handler = mux
	return site, auth
}

// program is a command-line program that listens at whatever port it gets.
type program struct {
	cfg      oauth2.Config
	verifier string
	arrived  chan url.Values
}

func newProgram(t *testing.T, site string) *program {
	t.Helper()
	p := &program{verifier: oauth2.GenerateVerifier(), arrived: make(chan url.Values, 1)}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/signed-in" {
			http.NotFound(w, r)
			return
		}
		w.Write([]byte("<h1 id=\"done\">You may close this page.</h1>"))
		p.arrived <- r.URL.Query()
	})}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { srv.Close() })
	p.cfg = oauth2.Config{
		ClientID: "program", RedirectURL: "http://" + l.Addr().String() + "/signed-in",
		Endpoint: oauth2.Endpoint{AuthURL: site + "/auth/native", TokenURL: site + "/auth/native-token", AuthStyle: oauth2.AuthStyleInParams},
	}
	return p
}

func TestProgram(t *testing.T) {
	site, auth := start(t)
	p := newProgram(t, site)
	b := browser.New(t)
	b.Do(t,
		chromedp.Navigate(p.cfg.AuthCodeURL("a-state", oauth2.S256ChallengeOption(p.verifier))),
		chromedp.WaitVisible(chromedp.CSS(".signin")),
		chromedp.SendKeys(chromedp.CSS(`[name="username"]`), "ada"),
		chromedp.SendKeys(chromedp.CSS(`[name="password"]`), "engine"),
		chromedp.Click(chromedp.CSS("#submitButton")),
		chromedp.WaitVisible(chromedp.CSS(".native")),
	)
	if text := browser.Run(t, b, chromedp.Text(chromedp.CSS(".native"))); !strings.Contains(text, "ada@example.com") || !strings.Contains(text, "on this device") {
		t.Errorf("the page says %q, want who and which program", text)
	}
	b.Do(t, chromedp.Click(chromedp.CSS("#submitButton")), chromedp.WaitVisible(chromedp.CSS("#done")))

	got := <-p.arrived
	if got.Get("state") != "a-state" || got.Get("code") == "" {
		t.Fatalf("the browser brought %v", got)
	}
	token, err := p.cfg.Exchange(t.Context(), got.Get("code"), oauth2.VerifierOption(p.verifier))
	if err != nil {
		t.Fatal(err)
	}
	res, err := p.cfg.Client(t.Context(), token).Get(site + "/api/me")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var me struct{ Email, Session string }
	if err := json.NewDecoder(res.Body).Decode(&me); err != nil || me.Email != "ada@example.com" {
		t.Fatalf("the API says %d %+v, %v", res.StatusCode, me, err)
	}
	if _, err := p.cfg.Exchange(t.Context(), got.Get("code"), oauth2.VerifierOption(p.verifier)); err == nil {
		t.Error("the code works twice")
	}
	if err := auth.Book().Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	entries, err := auth.Book().Read(t.Context(), book.Query{Limit: 100})
	if err != nil {
		t.Fatal(err)
	}
	var types []string
	for _, e := range entries {
		types = append(types, e.Header.Type)
	}
	want := []string{record.TypeCreateUser, record.TypeSignIn, record.TypeSignIn, record.TypeSessionRevoked, record.TypeReplayDetected, record.TypeSignInFailed}
	if strings.Join(types, " ") != strings.Join(want, " ") {
		t.Errorf("the book has %q, want %q", types, want)
	}
}
