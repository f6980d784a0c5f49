package passkey_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/adapter/memory"
	"github.com/gatebook/gatebook/passkey"
	"github.com/gatebook/gatebook/passkey/passkeytest"
)

const origin = "https://app.example.com"

var (
	b64    = base64.RawURLEncoding
	stdB64 = base64.StdEncoding
)

// site is an Auth on memory with passkeys.
type site struct {
	t     testing.TB
	auth  *gatebook.Auth
	store *memory.Store
	log   *bytes.Buffer
	now   time.Time

	mu    sync.Mutex
	heard []gatebook.Event
}

func newSite(t testing.TB, c passkey.Config, change func(*gatebook.Config)) *site {
	t.Helper()
	s := &site{t: t, store: memory.New(), log: &bytes.Buffer{}, now: time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)}
	p, err := passkey.New(c)
	if err != nil {
		t.Fatal(err)
	}
	cfg := gatebook.Config{
		Secrets: []gatebook.Secret{"correct horse battery staple, 32 characters"}, URL: origin,
		Adapter: s.store, Providers: []gatebook.Provider{p},
		Events: gatebook.Events{Any: func(_ context.Context, ev gatebook.Event) error {
			if _, read := ev.(*gatebook.SessionEvent); read {
				return nil
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			s.heard = append(s.heard, ev)
			return nil
		}},
		Logger: slog.New(slog.NewTextHandler(s.log, nil)),
		Now:    func() time.Time { return s.now },
	}
	if change != nil {
		change(&cfg)
	}
	if s.auth, err = gatebook.New(cfg); err != nil {
		t.Fatal(err)
	}
	return s
}

// told returns the types of the events since it was last called.
func (s *site) told() []string {
	var types []string
	for _, e := range s.events() {
		types = append(types, e.Meta().Type)
	}
	return types
}

func (s *site) events() []gatebook.Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	heard := s.heard
	s.heard = nil
	return heard
}

func (s *site) want(types ...string) {
	s.t.Helper()
	if got := s.told(); !slices.Equal(got, types) {
		s.t.Errorf("events are %v, want %v\n%s", got, types, s.log)
	}
}

// browser is a client with cookies.
type browser struct {
	s       *site
	cookies map[string]string
}

func (s *site) browser() *browser { return &browser{s, map[string]string{}} }

func (b *browser) send(r *http.Request) *httptest.ResponseRecorder {
	for name, value := range b.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	w := httptest.NewRecorder()
	b.s.auth.ServeHTTP(w, r)
	for _, c := range w.Result().Cookies() {
		if c.MaxAge < 0 {
			delete(b.cookies, c.Name)
		} else {
			b.cookies[c.Name] = c.Value
		}
	}
	return w
}

func (b *browser) get(path string) *httptest.ResponseRecorder {
	return b.send(httptest.NewRequest("GET", origin+path, nil))
}

func (b *browser) post(path string, form url.Values) *httptest.ResponseRecorder {
	b.s.t.Helper()
	var body struct{ CSRFToken string }
	if err := json.Unmarshal(b.get("/auth/csrf").Body.Bytes(), &body); err != nil {
		b.s.t.Fatal(err)
	}
	form.Set("csrfToken", body.CSRFToken)
	r := httptest.NewRequest("POST", origin+path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return b.send(r)
}

// options asks for options.
func (b *browser) options(query string) *passkeytest.Options {
	b.s.t.Helper()
	w := b.get("/auth/webauthn-options/passkey?" + query)
	if w.Code != http.StatusOK {
		b.s.t.Fatalf("options?%s = %d %s %s\n%s", query, w.Code, w.Header().Get("Location"), w.Body, b.s.log)
	}
	return passkeytest.ParseOptions(b.s.t, w.Body.Bytes())
}

// answer posts a device's answer and returns where it leads.
func (b *browser) answer(action, data string) string {
	b.s.t.Helper()
	w := b.post("/auth/callback/passkey", url.Values{"action": {action}, "data": {data}})
	if w.Code != http.StatusFound {
		b.s.t.Fatalf("callback = %d %s\n%s", w.Code, w.Body, b.s.log)
	}
	return strings.TrimPrefix(w.Header().Get("Location"), origin)
}

// register signs up or adds a passkey.
func (b *browser) register(d *passkeytest.Authenticator, query string, spoils ...func(*passkeytest.Answer)) string {
	b.s.t.Helper()
	o := b.options(query)
	if o.Action != "register" {
		b.s.t.Fatalf("options?%s are to %s, want register", query, o.Action)
	}
	return b.answer("register", d.Create(b.s.t, o, spoils...))
}

// signIn signs in with a passkey.
func (b *browser) signIn(d *passkeytest.Authenticator, spoils ...func(*passkeytest.Answer)) string {
	b.s.t.Helper()
	return b.answer("authenticate", d.Get(b.s.t, b.options("action=authenticate"), spoils...))
}

// session returns the e-mail address of who is signed in, or "".
func (b *browser) session() string {
	b.s.t.Helper()
	var s struct{ User struct{ Email string } }
	if err := json.Unmarshal(b.get("/auth/session").Body.Bytes(), &s); err != nil {
		b.s.t.Fatal(err)
	}
	return s.User.Email
}

// user returns the user with an address.
func (s *site) user(email string) *gatebook.User {
	s.t.Helper()
	found, err := s.store.Find(context.Background(), gatebook.Query{Email: email})
	if err != nil || found.ByEmail == nil {
		s.t.Fatalf("no user has %s: %v", email, err)
	}
	return &found.ByEmail.User
}

func (s *site) passkeys(email string) []gatebook.Authenticator {
	s.t.Helper()
	list, err := s.auth.Passkeys(context.Background(), s.user(email).ID)
	if err != nil {
		s.t.Fatal(err)
	}
	return list
}
