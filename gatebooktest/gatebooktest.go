// Package gatebooktest is for the tests of programs that use Gatebook: a site
// with sign-in on memory, somebody signed in with a real session, and the
// question whether the events happened that should have.
//
//	func TestWelcome(t *testing.T) {
//		var welcomed string
//		site := gatebooktest.New(t, gatebook.Config{Events: gatebook.Events{
//			CreateUser: func(_ context.Context, e *gatebook.CreateUserEvent) error {
//				welcomed = e.User.Email
//				return nil
//			},
//		}})
//		site.SignIn(gatebook.User{Email: "ada@example.com"})
//		site.Want("createUser", "signIn")
//		if welcomed != "ada@example.com" {
//			t.Errorf("welcomed %q", welcomed)
//		}
//	}
//
// Handlers, callbacks, cookies and the book are those of production; only the
// store is in memory and the network is this machine's. [NewOpenID] is a
// provider that signs real tokens, for what depends on the way people sign in.
package gatebooktest

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/adapter/memory"
	"github.com/gatebook/gatebook/provider/credentials"
)

// ProviderID is the id of the provider that [Site.SignIn] uses. It is added to
// those of the configuration.
const ProviderID = "gatebooktest"

// Site is a site that people can sign in to. Make one with [New]. Its methods
// may be called concurrently, but for Want.
type Site struct {
	// Auth is what New made of the configuration.
	Auth *gatebook.Auth
	// URL is the site's address, "http://127.0.0.1:" and a port, without a path.
	URL string
	// Mux is the application: what is not below the base path goes through
	// Auth.Middleware to it. Add the handlers to test.
	Mux *http.ServeMux

	t      testing.TB
	base   string
	events gatebook.Events
	store  *store
	log    *log

	mu      sync.Mutex
	tickets map[string]gatebook.User // who signs in with which word
	told    []gatebook.Event
	seen    int // of told, by Want
}

// New starts a site with cfg, of which nothing is required. URL is always the
// site's own (of cfg's only the path is kept). If empty, Adapter is a fresh one
// in memory, Secrets is one that is good for tests only, and Logger writes to
// the test's output. Everything is stopped when the test ends, and the test
// fails when a detached handler does not end then.
func New(t testing.TB, cfg gatebook.Config) *Site {
	t.Helper()
	s := &Site{t: t, Mux: http.NewServeMux(), log: &log{w: t.Output()}, tickets: map[string]gatebook.User{}}
	own, err := credentials.New(credentials.Config{ID: ProviderID, Name: "Test", Authorize: s.redeem,
		Fields: []gatebook.Field{{Name: "ticket"}}})
	if err != nil {
		t.Fatalf("gatebooktest: %v", err)
	}
	server := httptest.NewServer(http.HandlerFunc(s.serve))
	s.URL = server.URL
	if cfg.Adapter == nil {
		cfg.Adapter = memory.New()
	}
	s.store = &store{Adapter: cfg.Adapter, failing: map[Step]int{}}
	cfg.Adapter = s.store
	if len(cfg.Secrets) == 0 {
		cfg.Secrets = []gatebook.Secret{"a secret that is good for tests only"}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.NewTextHandler(s.log, nil))
	}
	cfg.BasePath = basePath(&cfg)
	s.base = strings.TrimRight(cfg.BasePath, "/")
	cfg.URL = server.URL
	cfg.Providers = append(cfg.Providers[:len(cfg.Providers):len(cfg.Providers)], own)
	s.events = gatebook.JoinEvents(cfg.Events, gatebook.Events{
		Any:           func(_ context.Context, e gatebook.Event) error { s.tell(e); return nil },
		HandlerFailed: func(_ context.Context, e *gatebook.HandlerFailedEvent) error { s.tell(e); return nil },
	})
	cfg.Events = s.events
	if s.Auth, err = gatebook.New(cfg); err != nil {
		server.Close()
		t.Fatalf("gatebooktest: %v", err)
	}
	t.Cleanup(func() { s.stop(server) })
	return s
}

// basePath is the library's rule for Config.BasePath.
func basePath(cfg *gatebook.Config) string {
	if u, err := url.Parse(cfg.URL); cfg.BasePath == "" && err == nil && strings.Trim(u.Path, "/") != "" {
		return u.Path
	}
	if cfg.BasePath == "" {
		return "/auth"
	}
	return cfg.BasePath
}

func (s *Site) serve(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, s.base+"/") && s.base != "" {
		s.Auth.ServeHTTP(w, r)
		return
	}
	if _, pattern := s.Mux.Handler(r); s.base == "" && pattern == "" {
		s.Auth.ServeHTTP(w, r)
		return
	}
	s.Auth.Middleware(s.Mux).ServeHTTP(w, r)
}

// stopTime is how long detached handlers may go on when the test has ended.
const stopTime = 5 * time.Second

func (s *Site) stop(server *httptest.Server) {
	server.Close()
	ctx, cancel := context.WithTimeout(context.Background(), stopTime)
	defer cancel()
	s.store.mendAll()
	if err := s.Auth.Close(ctx); err != nil {
		s.t.Errorf("gatebooktest: close the site: %v", err)
	}
	s.log.close()
}

// Client returns the client of a new visitor, with a cookie jar of its own. It
// follows redirects.
func (s *Site) Client() *http.Client {
	s.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.t.Fatalf("gatebooktest: %v", err)
	}
	return &http.Client{Jar: jar}
}

// SignIn signs user in and returns the client of a visitor with that session.
// The user is the stored one with that ID or, without ID, that address; one who
// is not there is created first. So the events are createUser, for those, and
// signIn (by provider [ProviderID], type credentials). Callbacks are asked as
// always, and a sign-in that they refuse ends the test.
func (s *Site) SignIn(user gatebook.User) *http.Client {
	s.t.Helper()
	ctx := s.t.Context()
	found, err := s.store.Find(ctx, gatebook.Query{UserID: user.ID, Email: strings.ToLower(user.Email)})
	if err != nil {
		s.t.Fatalf("gatebooktest: find the user: %v", err)
	}
	switch {
	case user.ID != "" && found.ByID != nil:
		user = found.ByID.User
	case user.ID == "" && found.ByEmail != nil:
		user = found.ByEmail.User
	default:
		made, err := s.Auth.CreateUser(ctx, user)
		if err != nil {
			s.t.Fatalf("gatebooktest: %v", err)
		}
		user = *made
	}
	ticket := rand.Text()
	s.mu.Lock()
	s.tickets[ticket] = user
	before := len(s.told)
	s.mu.Unlock()
	c := s.Client()
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	s.Post(c, s.base+"/callback/"+ProviderID, url.Values{"ticket": {ticket}})
	c.CheckRedirect = nil
	if err := s.signedIn(c); err != nil {
		s.t.Fatalf("gatebooktest: sign in as %s: %v%s", user.Email, err, list(s.since(before)))
	}
	return c
}

// redeem is the provider's Authorize: a ticket is good for one sign-in.
func (s *Site) redeem(_ context.Context, typed map[string]string, _ *http.Request) (*gatebook.User, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	user, ok := s.tickets[typed["ticket"]]
	if !ok {
		return nil, gatebook.ErrBadCredentials
	}
	delete(s.tickets, typed["ticket"])
	return &user, nil
}

// signedIn reports what the site says of the client's cookies.
func (s *Site) signedIn(c *http.Client) error {
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.URL+"/", nil)
	if err != nil {
		return err
	}
	for _, cookie := range c.Jar.Cookies(r.URL) {
		r.AddCookie(cookie)
	}
	_, err = s.Auth.Session(r)
	return err
}

// Answer is a response whose body was read.
type Answer struct {
	// Status is the status code, and URL the address that the redirects led to.
	Status int
	URL    *url.URL
	Header http.Header
	Body   string
}

// Post sends a form to a path of the site, with the CSRF token that routes below
// the base path want:
//
//	site.Post(client, "/auth/signin/email", url.Values{"email": {"ada@example.com"}})
func (s *Site) Post(c *http.Client, path string, form url.Values) Answer {
	s.t.Helper()
	var csrf struct{ CSRFToken string }
	if err := json.Unmarshal([]byte(s.do(c, http.MethodGet, s.base+"/csrf", nil).Body), &csrf); err != nil {
		s.t.Fatalf("gatebooktest: read the CSRF token: %v", err)
	}
	filled := url.Values{"csrfToken": {csrf.CSRFToken}}
	for name, values := range form {
		filled[name] = values
	}
	return s.do(c, http.MethodPost, path, filled)
}

// do sends a request and reads the answer.
func (s *Site) do(c *http.Client, method, path string, form url.Values) Answer {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.URL+path, strings.NewReader(form.Encode()))
	if err != nil {
		s.t.Fatalf("gatebooktest: %v", err)
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	res, err := c.Do(r)
	if err != nil {
		s.t.Fatalf("gatebooktest: %v", err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatalf("gatebooktest: read the answer of %s: %v", path, err)
	}
	return Answer{Status: res.StatusCode, URL: res.Request.URL, Header: res.Header, Body: string(body)}
}

// log is the test's output until the test ends; what is given up by a request
// may log later.
type log struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.w == nil {
		return len(p), nil
	}
	n, err := l.w.Write(p)
	if err != nil {
		return n, fmt.Errorf("write to the test's output: %w", err)
	}
	return n, nil
}

func (l *log) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.w = nil
}
