//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"

	"github.com/gatebook/gatebook"
)

const (
	origin = "https://app.example.com"
	secret = "benchmarks have no secrets; this is 32 characters long or more"
)

// newAuth returns an Auth as an application would have it, with the given
// providers, or else the one that says yes at once and one for passwords.
func newAuth(adapter gatebook.Adapter, strategy string, given ...gatebook.Provider) (*gatebook.Auth, error) {
	return newAuthOf(adapter, gatebook.SessionConfig{Strategy: strategy}, given...)
}

// listed are token sessions that can be listed and ended.
var listed = gatebook.SessionConfig{Strategy: gatebook.StrategyJWT, Revocable: true}

func newAuthOf(adapter gatebook.Adapter, sessions gatebook.SessionConfig, given ...gatebook.Provider) (*gatebook.Auth, error) {
	if given == nil {
		given = []gatebook.Provider{instant{}, typed{}}
	}
	return gatebook.New(gatebook.Config{
		Secrets: []gatebook.Secret{secret}, URL: origin, Adapter: adapter,
		Providers: given,
		Session:   sessions,
		Logger:    slog.New(slog.NewTextHandler(errorLog{}, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
}

// errorLog passes on what is logged: nothing should be.
type errorLog struct{}

func (errorLog) Write(p []byte) (int, error) { return fmt.Fprintf(logOutput, "server log: %s", p) }

// person is the user number i. All have values of the same length, so that all
// answers have.
func person(i int) gatebook.User {
	n := fmt.Sprintf("%08d", i)
	return gatebook.User{
		ID: "7d8a1f6e-52b0-4c39-9a41-0000" + n, Name: "Person " + n,
		Email: "person." + n + "@example.com", Image: "https://img.example.com/u/" + n + ".png",
	}
}

// account is what the provider says of the user number i.
func account(i int) gatebook.Account {
	return gatebook.Account{
		UserID: person(i).ID, Type: gatebook.TypeOIDC, Provider: instant{}.Info().ID, ProviderAccountID: strconv.Itoa(i),
		AccessToken: "ya29.a0AfB_byExampleExampleExampleExampleExampleExample", TokenType: "bearer", Scope: "openid profile email",
	}
}

// instant is an OpenID provider that answers at once and with whom the code
// names: what it costs to ask a real one is not ours to measure.
type instant struct{}

func (instant) Info() gatebook.ProviderInfo {
	return gatebook.ProviderInfo{ID: "instant", Name: "Instant", Type: gatebook.TypeOIDC}
}

func (instant) Begin(_ context.Context, b *gatebook.Begin) (*gatebook.Redirection, error) {
	return &gatebook.Redirection{
		URL:          "https://idp.example.com/authorize?state=" + url.QueryEscape(b.State),
		CodeVerifier: "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", Nonce: "n-0S6_WzA2Mj-ExampleExampleExampleExample",
	}, nil
}

func (instant) Complete(_ context.Context, c *gatebook.Complete) (*gatebook.Proof, error) {
	i, err := strconv.Atoi(c.Params["code"])
	if err != nil {
		return nil, fmt.Errorf("the code is no number: %w", err)
	}
	u := person(i)
	u.ID = ""
	profile, err := gatebook.ParseClaims(fmt.Appendf(nil, `{"sub":"%d","name":%q,"email":%q,"email_verified":true,"picture":%q}`, i, u.Name, u.Email, u.Image))
	if err != nil {
		return nil, err
	}
	a := account(i)
	a.UserID = ""
	return &gatebook.Proof{User: u, Account: a, Profile: profile, EmailVerified: true, AMR: []string{"pwd"}}, nil
}

func (instant) Checks() []string  { return []string{"state", "pkce", "nonce"} }
func (instant) FormPost() bool    { return false }
func (instant) LinkByEmail() bool { return false }

// typed signs in whose number is typed.
type typed struct{}

func (typed) Info() gatebook.ProviderInfo {
	return gatebook.ProviderInfo{ID: "typed", Name: "Typed", Type: gatebook.TypeCredentials}
}

func (typed) Fields() []gatebook.Field { return []gatebook.Field{{Name: "number"}} }

func (typed) Authorize(_ context.Context, form map[string]string, _ *http.Request) (*gatebook.User, error) {
	i, err := strconv.Atoi(form["number"])
	if err != nil {
		return nil, gatebook.ErrBadCredentials
	}
	u := person(i)
	return &u, nil
}

// browser keeps cookies and calls a handler in this process.
type browser struct {
	handler http.Handler
	names   []string
	cookies map[string]string
}

func newBrowser(h http.Handler) *browser { return &browser{handler: h, cookies: map[string]string{}} }

func (b *browser) request(method, path, body string) *http.Request {
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	r := httptest.NewRequest(method, origin+path, reader)
	r.Header.Set("User-Agent", userAgent)
	if body != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if len(b.names) > 0 {
		r.Header.Set("Cookie", b.header())
	}
	return r
}

// header is the value of the Cookie header.
func (b *browser) header() string {
	pairs := make([]string, len(b.names))
	for i, n := range b.names {
		pairs[i] = n + "=" + b.cookies[n]
	}
	return strings.Join(pairs, "; ")
}

func (b *browser) do(r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	b.handler.ServeHTTP(w, r)
	b.keep(w)
	return w
}

func (b *browser) keep(w *httptest.ResponseRecorder) {
	for _, line := range w.Header()["Set-Cookie"] {
		pair, _, _ := strings.Cut(line, ";")
		name, value, _ := strings.Cut(pair, "=")
		if _, known := b.cookies[name]; !known {
			b.names = append(b.names, name)
		}
		b.cookies[name] = value
	}
}

// post sends a form with the CSRF token of the browser's cookie.
func (b *browser) post(path string, form url.Values) *httptest.ResponseRecorder {
	token, _, _ := strings.Cut(b.cookies["__Host-authjs.csrf-token"], "%7C")
	form.Set("csrfToken", token)
	return b.do(b.request("POST", path, form.Encode()))
}

// begin starts a sign-in of the user number i at the provider and returns the
// request with which the browser comes back.
func begin(h http.Handler, i int) (*http.Request, error) {
	b := newBrowser(h)
	b.do(b.request("GET", "/auth/csrf", ""))
	w := b.post("/auth/signin/instant", url.Values{})
	to, err := url.Parse(w.Header().Get("Location"))
	if err != nil || to.Host != "idp.example.com" {
		return nil, fmt.Errorf("a sign-in begins with %d, Location %q", w.Code, w.Header().Get("Location"))
	}
	q := url.Values{"code": {strconv.Itoa(i)}, "state": {to.Query().Get("state")}}
	return b.request("GET", "/auth/callback/instant?"+q.Encode(), ""), nil
}

// tokenVisitor signs the user number i in with a token session.
func tokenVisitor(h http.Handler, i int) (*browser, error) {
	b := newBrowser(h)
	b.do(b.request("GET", "/auth/csrf", ""))
	b.post("/auth/callback/typed", url.Values{"number": {strconv.Itoa(i)}})
	if b.cookies[sessionCookie] == "" {
		return nil, errors.New("a sign-in gave no session")
	}
	return b, nil
}

const (
	sessionCookie = "__Secure-authjs.session-token"
	userAgent     = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
)

// wire is a browser's request, byte by byte.
func wire(path, cookies string) []byte {
	return []byte("GET " + path + " HTTP/1.1\r\nHost: app.example.com\r\nUser-Agent: " + userAgent +
		"\r\nAccept: */*\r\nAccept-Encoding: gzip, deflate, br\r\nCookie: " + cookies + "\r\n\r\n")
}
