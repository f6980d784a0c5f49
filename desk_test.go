package gatebook_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
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
	"github.com/gatebook/gatebook/book"
	"github.com/gatebook/gatebook/provider/credentials"
	"github.com/gatebook/gatebook/provider/email"
	"github.com/gatebook/gatebook/record"
)

// desk is an Auth on memory that is called directly, without a network, so that
// it works in a bubble of testing/synctest. Its time is that of package time.
type desk struct {
	t     testing.TB
	auth  *gatebook.Auth
	store *store
	heard *heard
	idp   *fakeProvider
	mail  *outbox
	log   *syncBuffer
	cfg   gatebook.Config
}

const deskOrigin = "http://localhost"

// syncBuffer is a buffer that a handler given up by the request may still write
// to.
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

// newDesk returns a desk; change may adjust its configuration.
func newDesk(t testing.TB, change func(*desk, *gatebook.Config)) *desk {
	t.Helper()
	d := &desk{t: t, store: &store{Store: memory.New()}, heard: &heard{}, idp: &fakeProvider{id: "idp"}, mail: &outbox{}, log: &syncBuffer{}}
	mail, err := email.New(email.Config{From: "Site <no-reply@example.com>", Mailer: d.mail})
	if err != nil {
		t.Fatal(err)
	}
	password, err := credentials.New(credentials.Config{Authorize: func(_ context.Context, form map[string]string, _ *http.Request) (*gatebook.User, error) {
		if form["password"] != "right" {
			return nil, gatebook.ErrBadCredentials
		}
		return &gatebook.User{ID: form["username"], Name: "Ada Lovelace", Email: "ada@example.com"}, nil
	}, Fields: []gatebook.Field{{Name: "username"}, {Name: "password", Type: "password"}}})
	if err != nil {
		t.Fatal(err)
	}
	d.cfg = gatebook.Config{
		Secrets: []gatebook.Secret{secret}, URL: deskOrigin, Adapter: d.store,
		Providers: []gatebook.Provider{d.idp, mail, password},
		Events:    gatebook.Events{Any: func(_ context.Context, ev gatebook.Event) error { d.heard.add(ev); return nil }},
		Logger:    slog.New(slog.NewTextHandler(d.log, nil)),
	}
	if change != nil {
		change(d, &d.cfg)
	}
	d.auth = d.open(d.cfg)
	d.idp.prove("1", "ada@example.com", true)
	return d
}

func (d *desk) open(cfg gatebook.Config) *gatebook.Auth {
	d.t.Helper()
	a, err := gatebook.New(cfg)
	if err != nil {
		d.t.Fatal(err)
	}
	return a
}

// visitor is somebody with cookies.
type visitor struct {
	d       *desk
	cookies map[string]string
	header  http.Header
	ctx     context.Context
	remote  string
}

func (d *desk) visitor() *visitor {
	return &visitor{d: d, cookies: map[string]string{}, header: http.Header{}, ctx: context.Background(), remote: "192.0.2.1:1234"}
}

// request makes a request with the visitor's cookies.
func (v *visitor) request(method, target string, form url.Values) *http.Request {
	var r *http.Request
	if form != nil {
		r = httptest.NewRequest(method, deskOrigin+target, strings.NewReader(form.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	} else {
		r = httptest.NewRequest(method, deskOrigin+target, nil)
	}
	r.RemoteAddr = v.remote
	for name, values := range v.header {
		r.Header[name] = values
	}
	for name, value := range v.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	return r.WithContext(v.ctx)
}

// send lets h answer r and keeps the cookies.
func (v *visitor) send(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	for _, c := range w.Result().Cookies() {
		if c.MaxAge < 0 {
			delete(v.cookies, c.Name)
		} else {
			v.cookies[c.Name] = c.Value
		}
	}
	return w
}

func (v *visitor) get(target string) *httptest.ResponseRecorder {
	return v.send(v.d.auth, v.request("GET", target, nil))
}

// post sends a form with the CSRF token.
func (v *visitor) post(target string, form url.Values) *httptest.ResponseRecorder {
	v.d.t.Helper()
	var body struct{ CSRFToken string }
	if err := json.Unmarshal(v.get("/auth/csrf").Body.Bytes(), &body); err != nil {
		v.d.t.Fatal(err)
	}
	if form == nil {
		form = url.Values{}
	}
	form.Set("csrfToken", body.CSRFToken)
	return v.send(v.d.auth, v.request("POST", target, form))
}

// begin starts at the provider and returns the callback's path.
func (v *visitor) begin(p *fakeProvider) string {
	v.d.t.Helper()
	w := v.post("/auth/signin/"+p.id, nil)
	to, err := url.Parse(w.Header().Get("Location"))
	if err != nil || to.Host != "idp.example" {
		v.d.t.Fatalf("sign-in at %s leads to %q, want the provider\n%s", p.id, w.Header().Get("Location"), v.d.log)
	}
	return "/auth/callback/" + p.id + "?code=c&state=" + url.QueryEscape(to.Query().Get("state"))
}

// signIn goes through the provider and back.
func (v *visitor) signIn() *httptest.ResponseRecorder {
	v.d.t.Helper()
	return v.get(v.begin(v.d.idp))
}

// password signs in with a password.
func (v *visitor) password(user, password string) *httptest.ResponseRecorder {
	v.d.t.Helper()
	return v.post("/auth/callback/credentials", url.Values{"username": {user}, "password": {password}})
}

// link signs in by magic link.
func (v *visitor) link(address string) *httptest.ResponseRecorder {
	v.d.t.Helper()
	v.post("/auth/signin/email", url.Values{"email": {address}})
	v.d.mail.mu.Lock()
	sent := slices.Clone(v.d.mail.sent)
	v.d.mail.mu.Unlock()
	target := ""
	for _, m := range sent {
		for _, f := range strings.Fields(m.Text) {
			if m.To == address && strings.HasPrefix(f, deskOrigin) && strings.Contains(f, "token=") {
				target = strings.TrimPrefix(f, deskOrigin)
			}
		}
	}
	if target == "" {
		v.d.t.Fatalf("no mail with a link was sent\n%s", v.d.log)
	}
	return v.get(target)
}

const sessionCookie = "authjs.session-token"

// signedIn reports whether the visitor has a session cookie.
func (v *visitor) signedIn() bool {
	for name := range v.cookies {
		if strings.HasPrefix(name, sessionCookie) {
			return true
		}
	}
	return false
}

// entries numbers what waits and returns the whole book.
func (d *desk) entries() []book.Entry {
	d.t.Helper()
	return bookOf(d.t, d.auth.Book())
}

func bookOf(t testing.TB, b *book.Book) []book.Entry {
	t.Helper()
	if err := b.Drain(context.Background()); err != nil {
		t.Fatal(err)
	}
	var all []book.Entry
	for {
		q := book.Query{Limit: 1000}
		if n := len(all); n > 0 {
			q.After = all[n-1].Seq
		}
		page, err := b.Read(context.Background(), q)
		if err != nil {
			t.Fatal(err)
		}
		if all = append(all, page...); len(page) < 1000 {
			return all
		}
	}
}

// of returns the entries of a type.
func of(entries []book.Entry, typ string) []book.Entry {
	var out []book.Entry
	for _, e := range entries {
		if e.Header.Type == typ {
			out = append(out, e)
		}
	}
	return out
}

// types returns the types of entries in order.
func types(entries []book.Entry) []string {
	var out []string
	for _, e := range entries {
		out = append(out, e.Header.Type)
	}
	return out
}

// payload decodes the payload of an entry's block of a class.
func payload[T any](t testing.TB, e book.Entry, class string) T {
	t.Helper()
	for _, b := range e.Blocks {
		if b.Class == class {
			var v T
			if err := b.Decode(&v); err != nil {
				t.Fatal(err)
			}
			return v
		}
	}
	t.Fatalf("%s has no %s block", e.Header.Type, class)
	panic("unreachable")
}

// handlerOf returns what a handler.* entry says.
func handlerOf(t testing.TB, e book.Entry) record.Handler {
	t.Helper()
	return payload[record.Handler](t, e, record.ClassDetail)
}

// leaks looks for text where secrets must not be: log and book.
func (d *desk) leaks(text string) {
	d.t.Helper()
	if strings.Contains(d.log.String(), text) {
		d.t.Errorf("the log holds %q:\n%s", text, d.log)
	}
	for _, e := range d.entries() {
		if bytes.Contains(e.Raw, []byte(text)) {
			d.t.Errorf("the header of %s holds %q: %s", e.Header.Type, text, e.Raw)
		}
		for _, b := range e.Blocks {
			if bytes.Contains(b.Bytes, []byte(text)) {
				d.t.Errorf("a block of %s holds %q: %q", e.Header.Type, text, b.Bytes)
			}
		}
	}
}

// store is the memory adapter with faults, and with transactions that InTx
// handlers may believe in.
type store struct {
	*memory.Store

	mu      sync.Mutex
	before  func(op string, act *gatebook.Act) error // instead of the operation
	after   func(op string, act *gatebook.Act) error // after it has happened
	commits int
	hangs   bool // commits wait for the end of their context

	keepers    []string // who claimed the housekeeping, each time
	freeForAll bool     // everybody may
}

func (s *store) hang(yes bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hangs = yes
}

func (s *store) fault(before, after func(string, *gatebook.Act) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before, s.after = before, after
}

func (s *store) hooks() (before, after func(string, *gatebook.Act) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	pass := func(string, *gatebook.Act) error { return nil }
	if before = s.before; before == nil {
		before = pass
	}
	if after = s.after; after == nil {
		after = pass
	}
	return before, after
}

func faulty[T any](s *store, op string, act *gatebook.Act, fn func() (T, error)) (T, error) {
	before, after := s.hooks()
	var none T
	if err := before(op, act); err != nil {
		return none, err
	}
	v, err := fn()
	if err != nil {
		return none, err
	}
	if err := after(op, act); err != nil {
		return none, err
	}
	return v, nil
}

func (s *store) Find(ctx context.Context, q gatebook.Query) (*gatebook.Found, error) {
	q.Tx = nil
	return faulty(s, "Find", nil, func() (*gatebook.Found, error) { return s.Store.Find(ctx, q) })
}

func (s *store) Session(ctx context.Context, token gatebook.Secret) (*gatebook.FoundSession, error) {
	return faulty(s, "Session", nil, func() (*gatebook.FoundSession, error) { return s.Store.Session(ctx, token) })
}

func (s *store) Sessions(ctx context.Context, userID string) ([]gatebook.StoredSession, error) {
	return faulty(s, "Sessions", nil, func() ([]gatebook.StoredSession, error) { return s.Store.Sessions(ctx, userID) })
}

func (s *store) Accounts(ctx context.Context, userID string) ([]gatebook.Account, error) {
	return faulty(s, "Accounts", nil, func() ([]gatebook.Account, error) { return s.Store.Accounts(ctx, userID) })
}

func (s *store) ExtendSession(ctx context.Context, token gatebook.Secret, expires time.Time) error {
	_, err := faulty(s, "ExtendSession", nil, func() (int, error) { return 0, s.Store.ExtendSession(ctx, token, expires) })
	return err
}

func (s *store) Claim(ctx context.Context, holder string, d time.Duration) (bool, error) {
	got, err := faulty(s, "Claim", nil, func() (bool, error) { return s.Store.Claim(ctx, holder, d) })
	s.mu.Lock()
	defer s.mu.Unlock()
	if got = got || s.freeForAll; got {
		s.keepers = append(s.keepers, holder)
	}
	return got, err
}

// kept returns who did the housekeeping, in order.
func (s *store) kept() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Compact(slices.Clone(s.keepers))
}

func (s *store) Expired(ctx context.Context, before time.Time) ([]gatebook.FoundSession, error) {
	return faulty(s, "Expired", nil, func() ([]gatebook.FoundSession, error) { return s.Store.Expired(ctx, before) })
}

func (s *store) Sweep(ctx context.Context, before time.Time) (int, error) {
	return faulty(s, "Sweep", nil, func() (int, error) { return s.Store.Sweep(ctx, before) })
}

func (s *store) Commit(ctx context.Context, act *gatebook.Act) error {
	s.mu.Lock()
	s.commits++
	hangs := s.hangs
	s.mu.Unlock()
	if hangs {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	_, err := faulty(s, "Commit", act, func() (int, error) {
		if act.InTx != nil {
			// The writes are not undone by an error here; a handler's error must
			// come before them.
			if err := act.InTx(ctx, (*sql.Tx)(nil)); err != nil {
				return 0, err
			}
		}
		c := *act
		c.InTx, c.Tx = nil, nil
		return 0, s.Store.Commit(ctx, &c)
	})
	return err
}

func (s *store) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.commits
}

// pause waits inside a bubble.
func pause(d time.Duration) { <-time.After(d) }

// mustClose drains an Auth.
func mustClose(t testing.TB, a *gatebook.Auth) {
	t.Helper()
	if err := a.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

// claimsOf parses a JSON object.
func claimsOf(t testing.TB, format string, args ...any) gatebook.Claims {
	t.Helper()
	c, err := gatebook.ParseClaims(fmt.Appendf(nil, format, args...))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// nothing is an application that answers 200.
var nothing = http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})

// nullWriter takes an answer that nobody looks at.
type nullWriter struct{}

func (nullWriter) Header() http.Header         { return http.Header{} }
func (nullWriter) Write(b []byte) (int, error) { return len(b), nil }
func (nullWriter) WriteHeader(int)             {}
