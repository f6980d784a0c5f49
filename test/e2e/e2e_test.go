// Package e2e_test signs people in through a real OpenID provider, over real
// HTTP, into SQLite, and compares what the handlers were told and what the book
// holds.
package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/adapter/sqlite"
	"github.com/gatebook/gatebook/book"
	"github.com/gatebook/gatebook/provider/credentials"
	"github.com/gatebook/gatebook/provider/email"
	"github.com/gatebook/gatebook/provider/oauth"
	"github.com/gatebook/gatebook/record"
	"github.com/gatebook/gatebook/test/oidcprovider"
)

// site is a site on SQLite with two OpenID providers, magic links and passwords.
type site struct {
	t      *testing.T
	auth   *gatebook.Auth
	db     *sqlite.DB
	url    string
	issuer map[string]*oidcprovider.Provider
	mails  chan *email.Message
	log    *lockedBuffer

	mu     sync.Mutex
	events []gatebook.Event
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

type mailer chan *email.Message

func (m mailer) Send(_ context.Context, msg *email.Message) error { m <- msg; return nil }

func newSite(t *testing.T, strategy string, changes ...func(*gatebook.Config)) *site {
	t.Helper()
	s := &site{t: t, mails: make(chan *email.Message, 10), issuer: map[string]*oidcprovider.Provider{}, log: &lockedBuffer{}}
	var handler http.Handler
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler.ServeHTTP(w, r) }))
	t.Cleanup(srv.Close)
	// The providers run on 127.0.0.1, so the site is localhost: they share no
	// cookies.
	s.url = strings.Replace(srv.URL, "127.0.0.1", "localhost", 1)
	var providers []gatebook.Provider
	for _, id := range []string{"first", "second"} {
		op := oidcprovider.Start(t, oidcprovider.Client{ID: "site", Secret: "a secret with + and /", RedirectURIs: []string{s.url + "/auth/callback/" + id}})
		s.issuer[id] = op
		p, err := oauth.New(oauth.Config{ID: id, Name: id, Issuer: op.Issuer, ClientID: "site", ClientSecret: "a secret with + and /"})
		if err != nil {
			t.Fatal(err)
		}
		providers = append(providers, p)
	}
	mail, err := email.New(email.Config{From: "no-reply@example.com", Mailer: mailer(s.mails)})
	if err != nil {
		t.Fatal(err)
	}
	password, err := credentials.New(credentials.Config{Authorize: func(_ context.Context, form map[string]string, _ *http.Request) (*gatebook.User, error) {
		if form["password"] != "the right one" {
			return nil, gatebook.ErrBadCredentials
		}
		return &gatebook.User{ID: "mary", Name: "Mary", Email: "mary@example.com"}, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	providers = append(providers, mail, password)
	if s.db, err = sqlite.Open(filepath.Join(t.TempDir(), "site.db")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.db.Close() })
	cfg := gatebook.Config{
		Secrets: []gatebook.Secret{"a secret of more than thirty-two characters"}, URL: s.url, Adapter: s.db, Providers: providers,
		Session: gatebook.SessionConfig{Strategy: strategy}, Logger: slog.New(slog.NewTextHandler(s.log, nil)),
		Events: gatebook.Events{Any: func(_ context.Context, e gatebook.Event) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.events = append(s.events, e)
			return nil
		}},
	}
	for _, change := range changes {
		change(&cfg)
	}
	if s.auth, err = gatebook.New(cfg); err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/auth/", s.auth)
	handler = mux
	ctx, stop := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- s.auth.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ran; err != nil {
			t.Errorf("Run: %v", err)
		}
		if err := s.auth.Close(context.Background()); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

// visitor is a browser.
type visitor struct {
	*site
	client *http.Client
}

func (s *site) visitor() *visitor {
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return &visitor{s, &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

func (v *visitor) get(to string) (location, body string) {
	v.t.Helper()
	res, err := v.client.Get(to)
	if err != nil {
		v.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	return res.Header.Get("Location"), string(b)
}

func (v *visitor) post(path string, form url.Values) string {
	v.t.Helper()
	var token struct{ CSRFToken string }
	_, body := v.get(v.url + "/auth/csrf")
	if err := json.Unmarshal([]byte(body), &token); err != nil {
		v.t.Fatal(err)
	}
	form.Set("csrfToken", token.CSRFToken)
	res, err := v.client.PostForm(v.url+path, form)
	if err != nil {
		v.t.Fatal(err)
	}
	res.Body.Close()
	return res.Header.Get("Location")
}

// signIn goes to a provider, signs in there as account, and comes back.
func (v *visitor) signIn(provider string, account oidcprovider.Account) string {
	v.t.Helper()
	to := v.post("/auth/signin/"+provider, url.Values{})
	back := v.issuer[provider].SignIn(v.t, v.client, to, account)
	location, _ := v.get(back.String())
	return location
}

// link asks for a magic link and returns it.
func (v *visitor) link(address string) string {
	v.t.Helper()
	if to := v.post("/auth/signin/email", url.Values{"email": {address}}); !strings.Contains(to, "/auth/verify-request") {
		v.t.Fatalf("asking for a link leads to %q\n%s", to, v.log)
	}
	for _, word := range strings.Fields((<-v.mails).Text) {
		if strings.HasPrefix(word, v.url) && strings.Contains(word, "token=") {
			return word
		}
	}
	v.t.Fatal("the mail has no link")
	return ""
}

func (v *visitor) session() string {
	v.t.Helper()
	_, body := v.get(v.url + "/auth/session")
	return body
}

// want compares the events since the last call with types, and each with its
// entry in the book. It returns them.
func (s *site) want(types ...string) []gatebook.Event {
	s.t.Helper()
	s.mu.Lock()
	events := slices.DeleteFunc(s.events, func(e gatebook.Event) bool { return e.Meta().Type == record.TypeSession })
	s.events = nil
	s.mu.Unlock()
	var got []string
	for _, e := range events {
		got = append(got, e.Meta().Type)
	}
	if !slices.Equal(got, types) {
		s.t.Fatalf("handlers heard %v, want %v\n%s", got, types, s.log)
	}
	if err := s.auth.Book().Drain(context.Background()); err != nil {
		s.t.Fatal(err)
	}
	entries, err := s.auth.Book().Read(context.Background(), book.Query{Limit: 1000})
	if err != nil {
		s.t.Fatal(err)
	}
	entries = entries[len(entries)-len(events):]
	for i, e := range events {
		m, h := e.Meta(), entries[i].Header
		if h.ID != m.ID || h.Type != m.Type || h.Act != m.Act || h.Position != m.Position || h.Reason != m.Reason || h.Outcome != m.Outcome {
			s.t.Errorf("entry %d is %s %s, act %s, position %d, %s %s; told was %s %s, act %s, position %d, %s %s", entries[i].Seq,
				h.Type, h.ID, h.Act, h.Position, h.Outcome, h.Reason, m.Type, m.ID, m.Act, m.Position, m.Outcome, m.Reason)
		}
	}
	for i, e := range entries {
		if i > 0 && e.Seq != entries[i-1].Seq+1 {
			s.t.Errorf("after entry %d comes %d", entries[i-1].Seq, e.Seq)
		}
	}
	return events
}

func strategies(t *testing.T, fn func(*testing.T, *site)) {
	t.Helper()
	for _, strategy := range []string{gatebook.StrategyJWT, gatebook.StrategyDatabase} {
		t.Run(strategy, func(t *testing.T) { fn(t, newSite(t, strategy)) })
	}
}

func TestOpenID(t *testing.T) {
	strategies(t, func(t *testing.T, s *site) {
		t.Helper()
		v := s.visitor()
		if to := v.signIn("first", oidcprovider.Ada); to != s.url {
			t.Fatalf("the callback leads to %q, want home\n%s", to, s.log)
		}
		events := s.want("createUser", "linkAccount", "signIn")
		created, linked, in := events[0].(*gatebook.CreateUserEvent), events[1].(*gatebook.LinkAccountEvent), events[2].(*gatebook.SignInEvent)
		if created.User.Email != "ada@example.com" || created.SignInInfo == nil || created.SignInInfo.Provider != "first" {
			t.Errorf("createUser tells of %+v from %+v", created.User, created.SignInInfo)
		}
		if linked.User.ID != created.User.ID || linked.Account.ProviderAccountID != "ada" || linked.Account.UserID != "" || linked.Profile.Email != "ada@example.com" {
			t.Errorf("linkAccount tells of user %q, account %q of %q, profile %q", linked.User.ID, linked.Account.ProviderAccountID, linked.Account.UserID, linked.Profile.Email)
		}
		if in.IsNewUser == nil || !*in.IsNewUser || in.Profile.String("sub") != "ada" || string(in.Account.AccessToken) == "" ||
			!in.Account.Reply.Has("access_token") || in.User.ID != created.User.ID {
			t.Errorf("signIn tells of user %+v, new %v, profile with sub %q", in.User, in.IsNewUser, in.Profile.String("sub"))
		}
		if got := v.session(); !strings.Contains(got, `"email":"ada@example.com"`) {
			t.Errorf("session = %s", got)
		}

		// The same person again, in another browser: known now.
		other := s.visitor()
		other.signIn("first", oidcprovider.Ada)
		if in := s.want("signIn")[0].(*gatebook.SignInEvent); *in.IsNewUser {
			t.Error("the second sign-in says that the user is new")
		}

		// A second way to sign in, for who is signed in.
		v.signIn("second", oidcprovider.Grace)
		events = s.want("linkAccount", "signIn")
		if e := events[0].(*gatebook.LinkAccountEvent); e.User.ID != created.User.ID || e.Account.Provider != "second" {
			t.Errorf("linkAccount tells of user %q and provider %q", e.User.ID, e.Account.Provider)
		}

		// From now on that way alone leads to the same user.
		third := s.visitor()
		third.signIn("second", oidcprovider.Grace)
		if e := s.want("signIn")[0].(*gatebook.SignInEvent); e.User.ID != created.User.ID {
			t.Errorf("the linked account signs in user %q, want %q", e.User.ID, created.User.ID)
		}

		// The address belongs to somebody, and this provider is not allowed to link by it.
		stranger := s.visitor()
		if to := stranger.signIn("second", oidcprovider.Ada); to != s.url+"/auth/signin?error=OAuthAccountNotLinked" {
			t.Errorf("an account with a known address leads to %q", to)
		}
		if e := s.want("signIn.failed")[0].(*gatebook.SignInFailedEvent); e.Reason != record.ReasonAccountNotLinked || e.User.ID != created.User.ID {
			t.Errorf("signIn.failed says %q about %+v", e.Reason, e.User)
		}

		if to := v.post("/auth/signout", url.Values{}); to != s.url {
			t.Errorf("signing out leads to %q", to)
		}
		out := s.want("signOut")[0].(*gatebook.SignOutEvent)
		if (out.Token == nil) == (out.Session == nil) {
			t.Errorf("signOut tells of token %v and session %v, want one", out.Token, out.Session)
		}
		if got := v.session(); got != "null" {
			t.Errorf("after signing out session = %s", got)
		}
	})
}

func TestRefusedAtTheProvider(t *testing.T) {
	strategies(t, func(t *testing.T, s *site) {
		t.Helper()
		v := s.visitor()
		back := s.issuer["first"].Refuse(t, v.client, v.post("/auth/signin/first", url.Values{}))
		if to, _ := v.get(back.String()); to != s.url+"/auth/signin?error=OAuthCallbackError" {
			t.Errorf("a refusal leads to %q", to)
		}
		if e := s.want("signIn.failed")[0]; e.Meta().Reason != record.ReasonProviderDenied {
			t.Errorf("the reason is %q", e.Meta().Reason)
		}
	})
}

func TestReplayedCallback(t *testing.T) {
	strategies(t, func(t *testing.T, s *site) {
		t.Helper()
		v := s.visitor()
		back := s.issuer["first"].SignIn(t, v.client, v.post("/auth/signin/first", url.Values{}), oidcprovider.Ada)
		// A thief has the callback and the browser's cookies.
		thief := s.visitor()
		thief.client.Jar.SetCookies(back, v.client.Jar.Cookies(back))
		v.get(back.String())
		s.want("createUser", "linkAccount", "signIn")
		if to, _ := thief.get(back.String()); !strings.Contains(to, "/auth/error?error=Configuration") {
			t.Errorf("a replay leads to %q", to)
		}
		events := s.want("replay.detected", "signIn.failed")
		if events[1].Meta().Cause != events[0].Meta().ID {
			t.Error("replay.detected is not the cause of signIn.failed")
		}
		if got := thief.session(); got != "null" {
			t.Errorf("the thief has the session %s", got)
		}
	})
}

func TestMagicLink(t *testing.T) {
	strategies(t, func(t *testing.T, s *site) {
		t.Helper()
		v := s.visitor()
		link := v.link("Ada@Example.com")
		if to, _ := v.get(link); to != s.url {
			t.Fatalf("the link leads to %q, want home\n%s", to, s.log)
		}
		events := s.want("createUser", "signIn")
		user := events[0].(*gatebook.CreateUserEvent).User
		if user.Email != "ada@example.com" || user.EmailVerified.IsZero() {
			t.Errorf("createUser tells of %+v", user)
		}
		in := events[1].(*gatebook.SignInEvent)
		if in.Profile != nil || in.Account.Type != "email" || in.Account.ProviderAccountID != "ada@example.com" || in.Account.UserID != user.ID || !*in.IsNewUser {
			t.Errorf("signIn tells of account %+v, profile %v", in.Account, in.Profile)
		}

		if to, _ := s.visitor().get(link); to != s.url+"/auth/error?error=Verification" {
			t.Errorf("the used link leads to %q", to)
		}
		if e := s.want("replay.detected", "signIn.failed")[1]; e.Meta().Reason != record.ReasonTokenUsed {
			t.Errorf("the reason is %q", e.Meta().Reason)
		}

		v.get(v.link("ada@example.com"))
		events = s.want("updateUser", "signIn")
		if e := events[0].(*gatebook.UpdateUserEvent); e.User.ID != user.ID || !e.User.EmailVerified.After(user.EmailVerified) {
			t.Errorf("updateUser tells of %+v", e.User)
		}
		if got := v.session(); !strings.Contains(got, `"email":"ada@example.com"`) {
			t.Errorf("session = %s", got)
		}
	})
}

func TestPassword(t *testing.T) {
	strategies(t, func(t *testing.T, s *site) {
		t.Helper()
		if _, err := s.auth.CreateUser(t.Context(), gatebook.User{ID: "mary", Name: "Mary", Email: "mary@example.com"}); err != nil {
			t.Fatal(err)
		}
		s.want("createUser")
		v := s.visitor()
		if to := v.post("/auth/callback/credentials", url.Values{"email": {"mary@example.com"}, "password": {"wrong-marker"}}); to != s.url+"/auth/signin?error=CredentialsSignin&code=credentials" {
			t.Errorf("a wrong password leads to %q", to)
		}
		failed := s.want("signIn.failed")[0].(*gatebook.SignInFailedEvent)
		if failed.Reason != record.ReasonBadCredentials || failed.Target != "mary@example.com" || failed.User == nil || failed.User.ID != "mary" || failed.Actor.Type != record.ActorUnauthenticated {
			t.Errorf("signIn.failed tells %q about %+v, target %q, actor %v", failed.Reason, failed.User, failed.Target, failed.Actor)
		}
		if to := v.post("/auth/callback/credentials", url.Values{"email": {"mary@example.com"}, "password": {"the right one"}}); to != s.url {
			t.Errorf("the right password leads to %q\n%s", to, s.log)
		}
		in := s.want("signIn")[0].(*gatebook.SignInEvent)
		if in.Profile != nil || in.IsNewUser != nil || in.User.ID != "mary" {
			t.Errorf("signIn tells of %+v, profile %v, new %v", in.User, in.Profile, in.IsNewUser)
		}
		if got := v.session(); !strings.Contains(got, `"email":"mary@example.com"`) {
			t.Errorf("session = %s", got)
		}
	})
}

// TestWithoutAdapter signs in where people are whoever their provider says and
// the book is a file of its own.
func TestWithoutAdapter(t *testing.T) {
	b, err := sqlite.OpenBook(filepath.Join(t.TempDir(), "book.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	var handler http.Handler
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler.ServeHTTP(w, r) }))
	defer srv.Close()
	s := &site{t: t, url: strings.Replace(srv.URL, "127.0.0.1", "localhost", 1), issuer: map[string]*oidcprovider.Provider{}, log: &lockedBuffer{}}
	op := oidcprovider.Start(t, oidcprovider.Client{ID: "site", Secret: "secret-secret", RedirectURIs: []string{s.url + "/auth/callback/first"}})
	s.issuer["first"] = op
	p, err := oauth.New(oauth.Config{ID: "first", Issuer: op.Issuer, ClientID: "site", ClientSecret: "secret-secret"})
	if err != nil {
		t.Fatal(err)
	}
	s.auth, err = gatebook.New(gatebook.Config{Secrets: []gatebook.Secret{"a secret of more than thirty-two characters"}, URL: s.url,
		Book: b.Book, Providers: []gatebook.Provider{p}, Logger: slog.New(slog.NewTextHandler(s.log, nil)),
		Events: gatebook.Events{SignIn: func(_ context.Context, e *gatebook.SignInEvent) error { s.events = append(s.events, e); return nil }}})
	if err != nil {
		t.Fatal(err)
	}
	handler = s.auth
	v := s.visitor()
	if to := v.signIn("first", oidcprovider.Ada); to != s.url {
		t.Fatalf("the callback leads to %q\n%s", to, s.log)
	}
	in := s.want("signIn")[0].(*gatebook.SignInEvent)
	if in.IsNewUser != nil || in.User.Email != "ada@example.com" || in.Profile.String("sub") != "ada" {
		t.Errorf("signIn tells of %+v, new %v", in.User, in.IsNewUser)
	}
	if got := v.session(); !strings.Contains(got, "ada@example.com") {
		t.Errorf("session = %s", got)
	}
}
