package providers_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/adapter/memory"
	"github.com/gatebook/gatebook/provider/catalog"
	"github.com/gatebook/gatebook/test/providers"
)

const (
	origin = "https://app.example.com"
	client = "app"
	// secret has what a form has to encode, as secrets of some providers do.
	secret = "s3cret+/=% of the client"
)

// site is an Auth on memory, whose visitor's browser is in this process.
type site struct {
	auth  *gatebook.Auth
	store *memory.Store
	log   bytes.Buffer

	mu     sync.Mutex
	events []gatebook.Event
}

func newSite(t *testing.T, p gatebook.Provider, strategy string) *site {
	t.Helper()
	s := &site{store: memory.New()}
	var err error
	s.auth, err = gatebook.New(gatebook.Config{
		Secrets: []gatebook.Secret{"a secret for tests, of thirty-two characters or more"}, URL: origin, Adapter: s.store,
		Providers: []gatebook.Provider{p}, Session: gatebook.SessionConfig{Strategy: strategy},
		Events: gatebook.Events{Any: func(_ context.Context, ev gatebook.Event) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.events = append(s.events, ev)
			return nil
		}},
		Logger: slog.New(slog.NewTextHandler(&s.log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// heard returns the types of the events since it was last asked, and the events.
func (s *site) heard() (types []string, events []gatebook.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	events, s.events = s.events, nil
	for _, ev := range events {
		types = append(types, ev.Meta().Type)
	}
	return types, events
}

// visitor is a browser in this process. It keeps cookies, and sends across sites
// only those that say so.
type visitor struct {
	t       *testing.T
	handler http.Handler
	jar     map[string]*http.Cookie
}

func (s *site) newBrowser(t *testing.T) *visitor {
	t.Helper()
	return &visitor{t: t, handler: s.auth, jar: map[string]*http.Cookie{}}
}

// send sends a request; a form makes it a POST. A browser that comes from
// another site sends cookies that are SameSite=Lax with a GET only.
func (b *visitor) send(target string, form url.Values, fromElsewhere bool) *http.Response {
	b.t.Helper()
	method, body := http.MethodGet, io.Reader(nil)
	if form != nil {
		method, body = http.MethodPost, strings.NewReader(form.Encode())
	}
	r := httptest.NewRequest(method, target, body)
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for _, c := range b.jar {
		if !fromElsewhere || form == nil || c.SameSite == http.SameSiteNoneMode && c.Secure {
			r.AddCookie(&http.Cookie{Name: c.Name, Value: c.Value})
		}
	}
	w := httptest.NewRecorder()
	b.handler.ServeHTTP(w, r)
	res := w.Result()
	for _, c := range res.Cookies() {
		if b.jar[c.Name] = c; c.MaxAge < 0 || c.Value == "" || !c.Expires.IsZero() && c.Expires.Before(time.Now()) {
			delete(b.jar, c.Name)
		}
	}
	return res
}

// begin starts a sign-in and returns where it leads.
func (b *visitor) begin(id string) string {
	b.t.Helper()
	var token struct{ CSRFToken string }
	if err := json.NewDecoder(b.send(origin+"/auth/csrf", nil, false).Body).Decode(&token); err != nil {
		b.t.Fatal(err)
	}
	res := b.send(origin+"/auth/signin/"+id, url.Values{"csrfToken": {token.CSRFToken}, "callbackUrl": {origin + "/home"}}, false)
	if res.StatusCode != http.StatusFound {
		b.t.Fatalf("a sign-in begins with %s", res.Status)
	}
	return res.Header.Get("Location")
}

// comeBack brings a provider's reply.
func (b *visitor) comeBack(r *providers.Reply) *http.Response {
	b.t.Helper()
	return b.send(r.URL, r.Form, true)
}

// signIn goes to the provider and back, and returns where that leads.
func (b *visitor) signIn(idp *providers.Emulator, id string, answer providers.Answer) string {
	b.t.Helper()
	reply, err := idp.Visit(b.begin(id), answer)
	if err != nil {
		b.t.Fatalf("the provider's page: %v", err)
	}
	return b.comeBack(reply).Header.Get("Location")
}

// start returns an emulated provider, and our client of it out of the catalog.
func start(t *testing.T, id string, change func(*catalog.Client)) (*providers.Emulator, gatebook.Provider) {
	t.Helper()
	idp := providers.New(providers.All()[id], providers.Client{ID: client, Secret: secret, RedirectURI: origin + "/auth/callback/" + id})
	c := catalog.Client{ID: client, Secret: secret, Issuer: providers.Issuers[id], HTTP: idp.HTTP()}
	if idp.CheckSecret != nil {
		c.Secret, c.SecretKey = "", &catalog.SecretKey{TeamID: providers.AppleTeamID, KeyID: providers.AppleKeyID, PrivateKey: applePEM(t)}
	}
	if change != nil {
		change(&c)
	}
	p, err := catalog.New(id, c)
	if err != nil {
		t.Fatal(err)
	}
	return idp, p
}
