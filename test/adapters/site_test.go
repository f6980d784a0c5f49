package adapters

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/book"
	"github.com/gatebook/gatebook/provider/email"
	"github.com/gatebook/gatebook/provider/oauth"
	"github.com/gatebook/gatebook/test/oidcprovider"
)

const (
	secret       = "one secret for both applications, 32 characters"
	client       = "app"
	clientSecret = "client-secret"
	// maxAge and updateAge are those of sessions at both sites.
	maxAge    = 30 * 24 * time.Hour
	updateAge = 24 * time.Hour
)

// sites are an Auth.js application and Gatebook on one database and one host,
// with one secret and one OpenID provider.
type sites struct {
	*place
	authjs, gatebook string // their addresses, such as http://localhost:1234
	// second is another server of Gatebook's.
	second string
	auths  [2]*gatebook.Auth
	auth   *gatebook.Auth // the first of them
	close  func()         // closes them, once
	op     *oidcprovider.Provider

	mu    sync.Mutex
	links []string // sent by Gatebook
	// since is the last number of the book before the story that is told.
	since int64
}

// newSites serves a place that has a store.
func newSites(p *place) *sites {
	p.t.Helper()
	s := &sites{place: p, authjs: onLocalhost(p.t, p.npm.addr)}
	// Gatebook's addresses are needed before there is an Auth to serve them.
	addresses := []*string{&s.gatebook, &s.second}
	for i, address := range addresses {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.auths[i].ServeHTTP(w, r) }))
		p.t.Cleanup(server.Close)
		*address = onLocalhost(p.t, strings.TrimPrefix(server.URL, "http://"))
	}
	s.op = oidcprovider.Start(p.t, oidcprovider.Client{ID: client, Secret: clientSecret,
		RedirectURIs: []string{s.authjs + "/auth/callback/op", s.gatebook + "/auth/callback/op"}})
	s.startAuthJS()
	for i, address := range addresses {
		s.auths[i] = s.newGatebook(*address)
	}
	s.auth = s.auths[0]
	s.close = sync.OnceFunc(func() {
		for _, a := range s.auths {
			if err := a.Close(context.Background()); err != nil {
				p.home.Errorf("close Gatebook: %v", err)
			}
		}
	})
	p.home.Cleanup(s.close)
	return s
}

func onLocalhost(t *testing.T, addr string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return "http://localhost:" + port
}

func (s *sites) startAuthJS() {
	s.t.Helper()
	config := map[string]any{
		"secret":   secret,
		"provider": map[string]string{"issuer": s.op.Issuer, "clientId": client, "clientSecret": clientSecret},
		"session":  map[string]any{"strategy": "database", "maxAge": maxAge.Seconds(), "updateAge": updateAge.Seconds()},
	}
	body, err := json.Marshal(config)
	if err != nil {
		s.t.Fatal(err)
	}
	res, err := http.Post(s.authjs+"/site", "application/json", bytes.NewReader(body))
	if err != nil || res.StatusCode != http.StatusOK {
		s.t.Fatalf("make the Auth.js application: %v, %v", res, err)
	}
	res.Body.Close()
}

func (s *sites) newGatebook(address string) *gatebook.Auth {
	s.t.Helper()
	op, err1 := oauth.New(oauth.Config{ID: "op", Name: "Op", Issuer: s.op.Issuer, ClientID: client, ClientSecret: clientSecret})
	links, err2 := email.New(email.Config{From: "no-reply@example.com", Mailer: s,
		Compose: func(l *gatebook.MagicLink) (*email.Message, error) { return &email.Message{Text: string(l.URL)}, nil }})
	if err1 != nil || err2 != nil {
		s.t.Fatal(err1, err2)
	}
	auth, err := gatebook.New(gatebook.Config{
		Secrets: []gatebook.Secret{secret}, URL: address, Adapter: s.store, Providers: []gatebook.Provider{op, links},
		Session: gatebook.SessionConfig{MaxAge: maxAge, UpdateAge: updateAge},
		Logger:  slog.New(slog.NewTextHandler(logs{s.t}, &slog.HandlerOptions{Level: slog.LevelError})),
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return auth
}

// logs writes to a test's log.
type logs struct{ t *testing.T }

func (l logs) Write(line []byte) (int, error) {
	l.t.Logf("Gatebook: %s", bytes.TrimSpace(line))
	return len(line), nil
}

// Send is Gatebook's mail server.
func (s *sites) Send(_ context.Context, m *email.Message) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.links = append(s.links, m.Text)
	return nil
}

// sent returns the path and query of the last link that a site sent.
func (s *sites) sent(site string) string {
	s.t.Helper()
	list := s.links
	if site == s.authjs {
		var out struct{ Value []string }
		res, err := http.Get(s.authjs + "/mail/")
		if err != nil {
			s.t.Fatal(err)
		}
		defer res.Body.Close()
		if err := json.NewDecoder(res.Body).Decode(&out); err != nil {
			s.t.Fatal(err)
		}
		list = out.Value
	}
	if len(list) == 0 {
		s.t.Fatalf("%s sent no link", site)
	}
	return mustParse(s.t, list[len(list)-1]).RequestURI()
}

// empty deletes all that the tables of Auth.js hold, and begins the book anew as
// far as recorded is concerned.
func (s *sites) empty() {
	s.t.Helper()
	for _, table := range []string{s.session, s.account, s.authenticator, s.link, s.user} {
		if table != "" {
			s.exec("DELETE FROM " + s.quote(table))
		}
	}
	for _, e := range s.entries() {
		s.since = e.Seq
	}
}

// entries returns the book from the beginning of the story.
func (s *sites) entries() []book.Entry {
	s.t.Helper()
	if err := s.auth.Book().Drain(context.Background()); err != nil {
		s.t.Fatal(err)
	}
	entries, err := s.auth.Book().Read(context.Background(), book.Query{After: s.since, Limit: 1000})
	if err != nil {
		s.t.Fatal(err)
	}
	return entries
}

// recorded counts the entries of a type.
func (s *sites) recorded(typ string) (n int) {
	s.t.Helper()
	for _, e := range s.entries() {
		if e.Header.Type == typ {
			n++
		}
	}
	return n
}

// visitor is a browser: its cookies go to both sites, which differ in their ports
// only.
type visitor struct {
	*sites
	http *http.Client
}

func (s *sites) visitor() *visitor {
	s.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return &visitor{s, &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// answer is what came back: the status, where to, and the body.
type answer struct {
	status   int
	location string
	body     string
}

func (v *visitor) do(res *http.Response, err error) answer {
	v.t.Helper()
	if err != nil {
		v.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	return answer{res.StatusCode, res.Header.Get("Location"), string(body)}
}

func (v *visitor) get(at string) answer {
	v.t.Helper()
	return v.do(v.http.Get(at))
}

// post posts a form with the site's CSRF token.
func (v *visitor) post(site, path string, form url.Values) answer {
	v.t.Helper()
	var csrf struct{ CSRFToken string }
	if err := json.Unmarshal([]byte(v.get(site+"/auth/csrf").body), &csrf); err != nil {
		v.t.Fatal(err)
	}
	form.Set("csrfToken", csrf.CSRFToken)
	form.Set("callbackUrl", site+"/")
	return v.do(v.http.PostForm(site+path, form))
}

// signIn signs in at a site with the OpenID provider.
func (v *visitor) signIn(site string, who oidcprovider.Account) {
	v.t.Helper()
	if a := v.get(v.begin(site, who)); a.status != http.StatusFound || a.location != site+"/" {
		v.t.Fatalf("the callback of %s answers %v", site, a)
	}
}

// begin goes to the OpenID provider and returns the address that it sends the
// visitor back to.
func (v *visitor) begin(site string, who oidcprovider.Account) string {
	v.t.Helper()
	to := v.post(site, "/auth/signin/op", url.Values{})
	if to.status != http.StatusFound {
		v.t.Fatalf("sign-in at %s answers %v", site, to)
	}
	return v.op.SignIn(v.t, v.http, to.location, who).String()
}

// ask has a site send a magic link and returns its path and query.
func (v *visitor) ask(site, address string) string {
	v.t.Helper()
	if a := v.post(site, "/auth/signin/email", url.Values{"email": {address}}); a.status != http.StatusFound || strings.Contains(a.location, "error") {
		v.t.Fatalf("%s answers %v to one who asks for a link", site, a)
	}
	return v.sent(site)
}

func (v *visitor) signOut(site string) {
	v.t.Helper()
	if a := v.post(site, "/auth/signout", url.Values{}); a.status != http.StatusFound {
		v.t.Fatalf("sign-out at %s answers %v", site, a)
	}
}

// shown is what a site shows of a session.
type shown struct {
	User struct {
		Name, Email, Image string
	}
	Expires time.Time
}

// session reads the session at a site; nil when there is none.
func (v *visitor) session(site string) *shown {
	v.t.Helper()
	a := v.get(site + "/auth/session")
	var out *shown
	if err := json.Unmarshal([]byte(a.body), &out); err != nil || a.status != http.StatusOK {
		v.t.Fatalf("%s/auth/session answers %v", site, a)
	}
	return out
}

// token is the session token in the visitor's cookies, "" for none.
func (v *visitor) token() string {
	v.t.Helper()
	for _, c := range v.http.Jar.Cookies(mustParse(v.t, v.gatebook)) {
		if c.Name == "authjs.session-token" {
			return c.Value
		}
	}
	return ""
}

func mustParse(t *testing.T, address string) *url.URL {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return u
}
