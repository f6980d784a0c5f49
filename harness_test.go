package gatebook_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/adapter/memory"
	"github.com/gatebook/gatebook/book"
	"github.com/gatebook/gatebook/provider/credentials"
	"github.com/gatebook/gatebook/provider/email"
	"github.com/gatebook/gatebook/record"
)

const secret = "correct horse battery staple, 32 characters"

// fakeProvider proves whatever the test says. It is no identity provider: those
// are tested for real elsewhere; here it makes every answer possible.
type fakeProvider struct {
	id     string
	link   bool
	post   bool // answers with a form
	checks []string

	mu    sync.Mutex
	proof *gatebook.Proof
	err   error
	begun []*gatebook.Begin
	ended []*gatebook.Complete
}

func (p *fakeProvider) Info() gatebook.ProviderInfo {
	return gatebook.ProviderInfo{ID: p.id, Name: strings.ToUpper(p.id), Type: gatebook.TypeOIDC}
}

func (p *fakeProvider) Begin(_ context.Context, b *gatebook.Begin) (*gatebook.Redirection, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.begun = append(p.begun, b)
	return &gatebook.Redirection{URL: "https://idp.example/authorize?state=" + url.QueryEscape(b.State),
		CodeVerifier: "a-code-verifier", Nonce: "a-nonce"}, nil
}

func (p *fakeProvider) Complete(_ context.Context, c *gatebook.Complete) (*gatebook.Proof, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = append(p.ended, c)
	if p.err != nil {
		return nil, p.err
	}
	if c.CodeVerifier != "a-code-verifier" || c.Nonce != "a-nonce" {
		return nil, fmt.Errorf("checks did not arrive")
	}
	proof := *p.proof
	return &proof, nil
}

func (p *fakeProvider) Checks() []string {
	if p.checks != nil {
		return p.checks
	}
	return []string{"state", "pkce", "nonce"}
}
func (p *fakeProvider) FormPost() bool    { return p.post }
func (p *fakeProvider) LinkByEmail() bool { return p.link }

func (p *fakeProvider) prove(id, mail string, verified bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	profile, err := gatebook.ParseClaims([]byte(fmt.Sprintf(`{"sub":%q,"email":%q,"name":"Ada Lovelace","private":"kept"}`, id, mail)))
	if err != nil {
		panic(err)
	}
	reply, err := gatebook.ParseClaims([]byte(`{"access_token":"at-marker","token_type":"bearer","more":"reply-marker"}`))
	if err != nil {
		panic(err)
	}
	p.err = nil
	p.proof = &gatebook.Proof{
		User: gatebook.User{Name: "Ada Lovelace", Email: mail, Image: "https://img.example/a.png"},
		Account: gatebook.Account{Type: gatebook.TypeOIDC, Provider: p.id, ProviderAccountID: id,
			AccessToken: "at-marker", TokenType: "bearer", Scope: "openid", Reply: reply},
		Profile: profile, EmailVerified: verified, AMR: []string{"pwd"}, ACR: "1",
	}
}

// told is what handlers were told, in order.
type heard struct {
	mu     sync.Mutex
	events []gatebook.Event
}

func (h *heard) add(ev gatebook.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.events = append(h.events, ev)
}

func (h *heard) types() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []string
	for _, e := range h.events {
		out = append(out, e.Meta().Type)
	}
	return out
}

func (h *heard) reset() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.events = nil
}

func (h *heard) all() []gatebook.Event {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.events)
}

// outbox is a Mailer that keeps what it is given.
type outbox struct {
	mu   sync.Mutex
	sent []*email.Message
	err  error
}

func (o *outbox) Send(_ context.Context, m *email.Message) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil {
		return o.err
	}
	o.sent = append(o.sent, m)
	return nil
}

// link returns the link in the last mail.
func (o *outbox) link(t *testing.T) string {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.sent) == 0 {
		t.Fatal("no mail was sent")
	}
	for _, f := range strings.Fields(o.sent[len(o.sent)-1].Text) {
		if strings.HasPrefix(f, "http") && strings.Contains(f, "token=") {
			return f
		}
	}
	t.Fatal("the mail has no link")
	return ""
}

// site is an Auth on memory behind a real server, with a browser-like client.
type site struct {
	t       *testing.T
	auth    *gatebook.Auth
	store   *memory.Store
	book    *book.Book
	server  *httptest.Server
	client  *http.Client
	heard   *heard
	idp     *fakeProvider
	second  *fakeProvider
	mail    *outbox
	log     *bytes.Buffer
	clock   *clock
	adapter gatebook.Adapter
	cfg     gatebook.Config
}

// reopen makes the site anew with another configuration.
func (s *site) reopen(change func(*gatebook.Config)) {
	s.t.Helper()
	change(&s.cfg)
	var err error
	if s.auth, err = gatebook.New(s.cfg); err != nil {
		s.t.Fatal(err)
	}
	s.book = s.auth.Book()
}

type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

type syncWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (s *syncWriter) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.w.Write(p)
}

// newSite starts a site; change may adjust the configuration.
func newSite(t *testing.T, change func(*site, *gatebook.Config)) *site {
	t.Helper()
	s := &site{t: t, store: memory.New(), heard: &heard{}, mail: &outbox{}, log: &bytes.Buffer{},
		clock: &clock{now: time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)},
		idp:   &fakeProvider{id: "idp"}, second: &fakeProvider{id: "second"}}
	s.adapter = s.store
	mail, err := email.New(email.Config{From: "Site <no-reply@example.com>", Mailer: s.mail})
	if err != nil {
		t.Fatal(err)
	}
	password, err := credentials.New(credentials.Config{Authorize: func(_ context.Context, form map[string]string, _ *http.Request) (*gatebook.User, error) {
		if form["password"] == "right" {
			return &gatebook.User{ID: form["username"], Name: "Ada Lovelace", Email: "ada@example.com"}, nil
		}
		if form["password"] == "broken" {
			return nil, fmt.Errorf("handler-secret-marker")
		}
		return nil, gatebook.ErrBadCredentials
	}, Fields: []gatebook.Field{{Name: "username"}, {Name: "password", Type: "password"}}})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	s.server = httptest.NewServer(mux)
	t.Cleanup(s.server.Close)
	cfg := gatebook.Config{
		Secrets: []gatebook.Secret{secret}, URL: s.server.URL, Adapter: s.store,
		Providers: []gatebook.Provider{s.idp, s.second, mail, password},
		Events:    gatebook.Events{Any: func(_ context.Context, ev gatebook.Event) error { s.heard.add(ev); return nil }},
		Logger:    slog.New(slog.NewTextHandler(&syncWriter{w: s.log}, nil)),
		Now:       s.clock.Now,
	}
	if change != nil {
		change(s, &cfg)
	}
	s.cfg = cfg
	s.reopen(func(*gatebook.Config) {})
	mux.Handle("/auth/", s.auth)
	mux.Handle("/", s.auth.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sess, err := s.auth.Session(r)
		if err != nil {
			fmt.Fprintf(w, "nobody: %v", err)
			return
		}
		fmt.Fprintf(w, "hello %s", sess.User.Email)
	})))
	s.client = newClient(t)
	return s
}

func newClient(t *testing.T) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// answer is a response with its body read.
type answer struct {
	*http.Response
	body string
}

func (s *site) do(req *http.Request) *answer {
	s.t.Helper()
	res, err := s.client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return &answer{res, string(b)}
}

func (s *site) get(path string) *answer {
	s.t.Helper()
	if strings.HasPrefix(path, "/") {
		path = s.server.URL + path
	}
	req, err := http.NewRequest("GET", path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.do(req)
}

// post sends a form with the CSRF token.
func (s *site) post(path string, form url.Values) *answer {
	s.t.Helper()
	var body struct{ CSRFToken string }
	if err := json.Unmarshal([]byte(s.get("/auth/csrf").body), &body); err != nil {
		s.t.Fatal(err)
	}
	if form == nil {
		form = url.Values{}
	}
	form.Set("csrfToken", body.CSRFToken)
	return s.postRaw(path, form)
}

func (s *site) postRaw(path string, form url.Values) *answer {
	s.t.Helper()
	req, err := http.NewRequest("POST", s.server.URL+path, strings.NewReader(form.Encode()))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return s.do(req)
}

// signIn goes through a provider and back.
func (s *site) signIn(p *fakeProvider) *answer {
	s.t.Helper()
	return s.get(s.begin(p))
}

// begin starts at a provider and returns the callback's path.
func (s *site) begin(p *fakeProvider) string {
	s.t.Helper()
	res := s.post("/auth/signin/"+p.id, nil)
	to, err := url.Parse(res.Header.Get("Location"))
	if err != nil || to.Host != "idp.example" {
		s.t.Fatalf("sign-in at %s leads to %q, want the provider", p.id, res.Header.Get("Location"))
	}
	return "/auth/callback/" + p.id + "?code=c&state=" + url.QueryEscape(to.Query().Get("state"))
}

// entries numbers what waits and returns the whole book.
func (s *site) entries() []book.Entry {
	s.t.Helper()
	if err := s.book.Drain(context.Background()); err != nil {
		s.t.Fatal(err)
	}
	all, err := s.book.Read(context.Background(), book.Query{Limit: 1000})
	if err != nil {
		s.t.Fatal(err)
	}
	return all
}

// check compares what was heard with want, and that the book has the same
// events under the same ids.
func (s *site) check(want ...string) {
	s.t.Helper()
	if got := s.heard.types(); !slices.Equal(got, want) {
		s.t.Errorf("handlers heard %v, want %v", got, want)
	}
	recorded := map[string]book.Entry{}
	for _, e := range s.entries() {
		recorded[e.Header.ID] = e
	}
	for _, ev := range s.heard.all() {
		m := ev.Meta()
		if m.Type == record.TypeSession {
			continue
		}
		e, ok := recorded[m.ID]
		if !ok {
			s.t.Errorf("%s was told of and not recorded", m.Type)
			continue
		}
		if e.Header.Type != m.Type || e.Header.Act != m.Act || e.Header.Position != m.Position || e.Header.Reason != m.Reason {
			s.t.Errorf("%s is recorded as %s, act %s, position %d, reason %q; told act %s, position %d, reason %q",
				m.Type, e.Header.Type, e.Header.Act, e.Header.Position, e.Header.Reason, m.Act, m.Position, m.Reason)
		}
	}
}

func strategies(t *testing.T, fn func(t *testing.T, strategy string)) {
	t.Helper()
	for _, s := range []string{gatebook.StrategyJWT, gatebook.StrategyDatabase} {
		t.Run(s, func(t *testing.T) { fn(t, s) })
	}
}

func with(strategy string) func(*site, *gatebook.Config) {
	return func(_ *site, c *gatebook.Config) { c.Session.Strategy = strategy }
}
