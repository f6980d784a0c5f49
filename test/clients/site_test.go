package clients_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/adapter/memory"
	"github.com/gatebook/gatebook/adapter/sqlite"
	"github.com/gatebook/gatebook/passkey"
	"github.com/gatebook/gatebook/provider/credentials"
	"github.com/gatebook/gatebook/provider/email"
	"github.com/gatebook/gatebook/provider/oauth"
	"github.com/gatebook/gatebook/test/browser"
	"github.com/gatebook/gatebook/test/oidcprovider"
)

// site is an application whose pages use a client of next-auth and whose back end
// is Gatebook, under the base path that these clients have by default.
type site struct {
	t    *testing.T
	url  string
	auth *gatebook.Auth
	log  syncBuffer

	mu    sync.Mutex
	heard []string
	links []string
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// store is an adapter and the strategy it is tested with.
type store struct {
	name, strategy string
	open           func(t *testing.T) gatebook.Adapter
}

var stores = []store{
	{"memory", gatebook.StrategyJWT, func(*testing.T) gatebook.Adapter { return memory.New() }},
	{"sqlite", gatebook.StrategyDatabase, func(t *testing.T) gatebook.Adapter {
		t.Helper()
		db, err := sqlite.Open(filepath.Join(t.TempDir(), "gatebook.db"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		})
		return db
	}},
}

// Send keeps the link of a mail.
func (s *site) Send(_ context.Context, m *email.Message) error {
	words := strings.Fields(m.Text)
	i := slices.IndexFunc(words, func(f string) bool { return strings.Contains(f, "token=") })
	if i < 0 {
		return errors.New("the mail has no link")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.links = append(s.links, words[i])
	return nil
}

func (s *site) link() string {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.links) == 0 {
		s.t.Fatal("no mail was sent")
	}
	return s.links[len(s.links)-1]
}

// told returns the events since it was last called, but those of reads.
func (s *site) told() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	heard := slices.DeleteFunc(s.heard, func(typ string) bool { return typ == "session" })
	s.heard = nil
	return heard
}

// setup is what differs between sites.
type setup struct {
	store
	script []byte
	// provider starts an OpenID provider; since that takes a while there is
	// otherwise only the name of one.
	provider bool
	base     string // the base path that the page is told, none when empty
}

// newSite starts the application with one user, Ada.
func newSite(t *testing.T, st setup) *site {
	t.Helper()
	s := &site{t: t}
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s.url = "http://localhost:" + port
	base, told := "/api/auth", ""
	if st.base != "" {
		base, told = st.base, ` data-base="`+st.base+`"`
	}
	cfg := gatebook.Config{
		Secrets: []gatebook.Secret{"correct horse battery staple, 32 characters"}, URL: s.url, BasePath: base,
		Adapter: st.open(t), Session: gatebook.SessionConfig{Strategy: st.strategy}, Providers: s.providers(st.provider),
		Events: gatebook.Events{Any: func(_ context.Context, ev gatebook.Event) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.heard = append(s.heard, ev.Meta().Type)
			return nil
		}},
		Callbacks: gatebook.Callbacks{JWT: updateToken, Session: updateSession},
		Logger:    slog.New(slog.NewTextHandler(&s.log, nil)),
	}
	if s.auth, err = gatebook.New(cfg); err != nil {
		t.Fatal(err)
	}
	if _, err := s.auth.CreateUser(t.Context(), gatebook.User{ID: "ada", Name: "Ada Lovelace", Email: "ada@example.com"}); err != nil {
		t.Fatal(err)
	}
	s.told()
	mux.Handle(s.auth.BasePath()+"/", s.auth)
	mux.HandleFunc("/page.js", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/javascript")
		w.Write(st.script)
	})
	page := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprint(w, `<!doctype html><html lang="en"><title>Page</title><div id="root"`+told+`></div><script type="module" src="/page.js"></script>`)
	}
	mux.HandleFunc("/{$}", page)
	mux.HandleFunc("/members", page)
	mux.HandleFunc("/favicon.ico", http.NotFound)
	return s
}

func (s *site) providers(provider bool) []gatebook.Provider {
	s.t.Helper()
	issuer := "https://op.example"
	if provider {
		client := oidcprovider.Client{ID: "app", Secret: "app-secret", RedirectURIs: []string{s.url + "/api/auth/callback/op"}}
		issuer = oidcprovider.Start(s.t, client).Issuer
	}
	oidc, err1 := oauth.New(oauth.Config{ID: "op", Name: "Provider", Issuer: issuer, ClientID: "app", ClientSecret: "app-secret",
		LinkByVerifiedEmail: true})
	mail, err2 := email.New(email.Config{From: "no-reply@example.com", Mailer: s})
	password, err3 := credentials.New(credentials.Config{Authorize: func(_ context.Context, typed map[string]string, _ *http.Request) (*gatebook.User, error) {
		switch typed["password"] {
		case "right":
			return &gatebook.User{ID: "ada", Name: "Ada Lovelace", Email: "ada@example.com"}, nil
		case "locked":
			return nil, &gatebook.CredentialsError{Code: "locked_out"}
		}
		return nil, gatebook.ErrBadCredentials
	}})
	keys, err4 := passkey.New(passkey.Config{SignUp: true})
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		s.t.Fatal(err)
	}
	return []gatebook.Provider{oidc, mail, password, keys}
}

// nickname is what the page sends to update its session.
func nickname(update json.RawMessage) string {
	var data struct{ Nickname string }
	if json.Unmarshal(update, &data) != nil {
		return ""
	}
	return data.Nickname
}

func updateToken(_ context.Context, p *gatebook.JWTParams) (*gatebook.Claims, error) {
	if p.Trigger == "update" {
		if err := p.Token.Set("nickname", nickname(p.Update)); err != nil {
			return nil, err
		}
	}
	return &p.Token, nil
}

func updateSession(_ context.Context, p *gatebook.SessionParams) (*gatebook.Claims, error) {
	name := nickname(p.Update)
	if p.Token != nil {
		name = p.Token.String("nickname")
	}
	return &p.Session, p.Session.Set("nickname", name)
}

// eval returns what an expression, or the promise it is, comes to in the page.
func eval[T any](t *testing.T, b *browser.Browser, expression string) T {
	t.Helper()
	return browser.Run(t, b, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
}

// shows waits until the page says that somebody, or with an empty address nobody,
// is signed in.
func shows(t *testing.T, b *browser.Browser, address string) {
	t.Helper()
	selector := `#who[data-status="authenticated"]`
	if address == "" {
		selector, address = `#who[data-status="unauthenticated"]`, "nobody"
	}
	b.Do(t, chromedp.WaitVisible(chromedp.CSS(selector)))
	if got := browser.Run(t, b, chromedp.Text(chromedp.ID("who"))); got != address {
		t.Fatalf("the page shows %q, want %q", got, address)
	}
}

// arrives waits for an element of the next page, and checks that page's address.
func arrives(t *testing.T, b *browser.Browser, selector, prefix string) {
	t.Helper()
	b.Do(t, chromedp.WaitVisible(chromedp.CSS(selector)))
	if got := eval[string](t, b, "location.href"); !strings.HasPrefix(got, prefix) {
		t.Fatalf("the browser is at %s, want %s", got, prefix)
	}
}
