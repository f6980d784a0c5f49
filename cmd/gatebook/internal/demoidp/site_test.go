package demoidp_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/adapter/sqlite"
	"github.com/gatebook/gatebook/book"
	"github.com/gatebook/gatebook/cmd/gatebook/internal/demoidp"
	"github.com/gatebook/gatebook/provider/oauth"
)

// TestGatebookSignsIn goes through this provider into Gatebook, with both
// strategies: first and second sign-in, a second account for who is signed in,
// a cancelled one, signing out.
func TestGatebookSignsIn(t *testing.T) {
	for _, strategy := range []string{gatebook.StrategyJWT, gatebook.StrategyDatabase} {
		t.Run(strategy, func(t *testing.T) { testSite(t, strategy) })
	}
}

func testSite(t *testing.T, strategy string) {
	t.Helper()
	var auth *gatebook.Auth
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { auth.ServeHTTP(w, r) }))
	t.Cleanup(site.Close)
	srv := httptest.NewUnstartedServer(nil)
	issuer := "http://" + srv.Listener.Addr().String()
	p, err := demoidp.New(demoidp.Config{Issuer: issuer, ClientID: clientID, ClientSecret: secret,
		RedirectURIs: []string{site.URL + "/auth/callback/demo"}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	srv.Config.Handler = p.Handler()
	srv.Start()
	t.Cleanup(srv.Close)
	provider, err := oauth.New(oauth.Config{ID: "demo", Issuer: issuer, ClientID: clientID, ClientSecret: secret, Client: srv.Client()})
	if err != nil {
		t.Fatal(err)
	}
	db, err := sqlite.Open(filepath.Join(t.TempDir(), "site.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	var told []gatebook.Event
	auth, err = gatebook.New(gatebook.Config{Secrets: []gatebook.Secret{"a secret of more than thirty-two characters"}, URL: site.URL,
		Adapter: db, Providers: []gatebook.Provider{provider}, Session: gatebook.SessionConfig{Strategy: strategy},
		Logger: slog.New(slog.DiscardHandler),
		Events: gatebook.Events{Any: func(_ context.Context, e gatebook.Event) error { told = append(told, e); return nil }}})
	if err != nil {
		t.Fatal(err)
	}

	post := func(b *browser, path string) reply {
		var csrf struct{ CSRFToken string }
		if err := json.Unmarshal([]byte(b.get(site.URL+"/auth/csrf").body), &csrf); err != nil {
			t.Fatal(err)
		}
		return b.post(site.URL+path, url.Values{"csrfToken": {csrf.CSRFToken}}).wants(t, http.StatusFound)
	}
	signIn := func(b *browser, person, answer string) reply {
		r := b.get(post(b, "/auth/signin/demo").location.String()).wants(t, http.StatusFound)
		page := b.get(r.location.String()).wants(t, http.StatusOK)
		r = b.post(issuer+"/signin", form(page, "person", person)).wants(t, http.StatusSeeOther)
		page = b.get(r.location.String()).wants(t, http.StatusOK)
		r = b.post(issuer+"/consent", form(page, answer, "yes")).wants(t, http.StatusSeeOther)
		return b.get(r.location.String()).wants(t, http.StatusFound)
	}
	want := func(types ...string) {
		t.Helper()
		var got, ids []string
		for _, e := range told {
			if m := e.Meta(); m.Type != "session" {
				got, ids = append(got, m.Type), append(ids, m.ID)
			}
		}
		told = nil
		if !slices.Equal(got, types) {
			t.Errorf("handlers heard %v, want %v", got, types)
		}
		if err := auth.Book().Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		entries, err := auth.Book().Read(t.Context(), book.Query{Limit: 100})
		if err != nil {
			t.Fatal(err)
		}
		for i, e := range entries[len(entries)-len(ids):] {
			if e.Header.ID != ids[i] {
				t.Errorf("entry %d is %s, want %s", e.Seq, e.Header.ID, ids[i])
			}
		}
	}

	b := newBrowser(t)
	if r := signIn(b, "ada", "allow"); r.location.String() != site.URL {
		t.Errorf("the callback leads to %v", r.location)
	}
	want("createUser", "linkAccount", "signIn")
	if got := b.get(site.URL + "/auth/session").body; !strings.Contains(got, `"email":"ada@example.com"`) {
		t.Errorf("session = %s", got)
	}
	signIn(newBrowser(t), "ada", "allow")
	want("signIn")
	signIn(b, "grace", "allow")
	want("linkAccount", "signIn")
	signIn(newBrowser(t), "ada", "cancel")
	want("signIn.failed")
	post(b, "/auth/signout")
	want("signOut")
	if got := b.get(site.URL + "/auth/session").body; got != "null" {
		t.Errorf("after signing out session = %s", got)
	}
}
