package outside_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/adapter/memory"
	"github.com/gatebook/gatebook/cmd/gatebook/internal/outside"
	"github.com/gatebook/gatebook/provider/credentials"
	"github.com/gatebook/gatebook/provider/oauth"
)

const origin = "https://app.example.com"

// report is what was found, a line each.
type report struct{ lines []string }

func (r *report) add(mark, subject, format string, args ...any) {
	r.lines = append(r.lines, mark+" "+subject+": "+fmt.Sprintf(format, args...))
}
func (r *report) OK(subject, format string, args ...any)    { r.add("ok", subject, format, args...) }
func (r *report) Warn(subject, format string, args ...any)  { r.add("warn", subject, format, args...) }
func (r *report) Fault(subject, format string, args ...any) { r.add("WRONG", subject, format, args...) }

func (r *report) String() string { return strings.Join(r.lines, "\n") }

// handler returns the routes of a site at origin.
func handler(t *testing.T, change func(*gatebook.Config)) http.Handler {
	t.Helper()
	passwords, err := credentials.New(credentials.Config{Authorize: func(context.Context, map[string]string, *http.Request) (*gatebook.User, error) {
		return nil, gatebook.ErrBadCredentials
	}})
	if err != nil {
		t.Fatal(err)
	}
	acme, err := oauth.New(oauth.Config{ID: "acme", Issuer: "https://id.acme.example", ClientID: "c", ClientSecret: "s"})
	if err != nil {
		t.Fatal(err)
	}
	cfg := gatebook.Config{Secrets: []gatebook.Secret{"correct horse battery staple, 32 characters"}, URL: origin, Adapter: memory.New(),
		Providers: []gatebook.Provider{acme, passwords}, TrustedOrigins: []string{"https://spa.example"}, Logger: slog.New(slog.DiscardHandler)}
	if change != nil {
		change(&cfg)
	}
	auth, err := gatebook.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/auth/", auth)
	return mux
}

// between answers as h does, changed by fn on the way: what a proxy does.
func between(h http.Handler, fn func(*http.Request, *httptest.ResponseRecorder)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r)
		fn(r, rec)
		for name, values := range rec.Header() {
			w.Header()[name] = values
		}
		w.WriteHeader(rec.Code)
		w.Write(rec.Body.Bytes())
	})
}

func header(name, value string) func(*http.Request, *httptest.ResponseRecorder) {
	return func(_ *http.Request, rec *httptest.ResponseRecorder) { rec.Header().Set(name, value) }
}

// plainSite is what answers without TLS, when nothing else is said.
var toHTTPS = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	http.Redirect(w, r, "https://"+r.Host+r.URL.Path, http.StatusMovedPermanently)
})

// look runs a look at a site whose names all lead to these servers.
func look(t *testing.T, at string, want *outside.Want, secure, plain http.Handler) *report {
	t.Helper()
	s := httptest.NewTLSServer(between(secure, func(_ *http.Request, rec *httptest.ResponseRecorder) {
		if rec.Header().Get("Strict-Transport-Security") == "" {
			rec.Header().Set("Strict-Transport-Security", "max-age=31536000")
		}
	}))
	t.Cleanup(s.Close)
	p := httptest.NewServer(plain)
	t.Cleanup(p.Close)
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		to := s.Listener.Addr().String()
		if strings.HasSuffix(addr, ":80") {
			to = p.Listener.Addr().String()
		}
		return (&net.Dialer{}).DialContext(ctx, network, to)
	}
	r := &report{}
	outside.Look(t.Context(), r, outside.Site{URL: at, Want: want, Timeout: 30 * time.Second,
		Transport: &http.Transport{DialContext: dial, TLSClientConfig: s.Client().Transport.(*http.Transport).TLSClientConfig.Clone()}})
	return r
}

func good() *outside.Want {
	return &outside.Want{URL: origin, BasePath: "/auth", Providers: []string{"credentials", "acme"}, TrustedOrigins: []string{"https://spa.example"}}
}

// The certificate of httptest is for example.com and its names.
func TestAllIsWell(t *testing.T) {
	for _, want := range []*outside.Want{good(), nil} {
		for _, at := range []string{origin, origin + "/", "https://APP.example.com:443/auth/"} {
			r := look(t, at, want, handler(t, nil), toHTTPS)
			if s := r.String(); strings.Contains(s, "WRONG") || strings.Count(s, "warn ") != 1 || !strings.Contains(s, "warn reach: 127.0.0.1 is an address inside") {
				t.Errorf("%s, compared %v:\n%s", at, want != nil, s)
			}
			for _, line := range []string{"ok reach: " + origin + "/auth/ answers", "ok tls: TLS 1.3", "ok hsts: max-age=31536000", "ok clock: within ",
				"ok cookies: __Host-authjs.csrf-token, __Secure-authjs.callback-url, with Secure true", "ok links: the redirect URI to be registered at acme is " + origin + "/auth/callback/acme",
				"ok providers: acme, credentials", "ok session: ", "ok page: " + origin + "/auth/signin", "ok strangers: ", "ok http: http://app.example.com leads to https"} {
				if !strings.Contains(r.String(), line) {
					t.Errorf("%s, compared %v: no line %q in\n%s", at, want != nil, line, r)
				}
			}
			if got := strings.Contains(r.String(), "ok cors: https://spa.example"); got != (want != nil) {
				t.Errorf("%s, compared %v:\n%s", at, want != nil, r)
			}
		}
	}
}

// TestFaults is what can be wrong between a visitor and the server, and which
// line says so.
func TestFaults(t *testing.T) {
	site := func(change func(*gatebook.Config)) func(*testing.T) http.Handler {
		return func(t *testing.T) http.Handler { t.Helper(); return handler(t, change) }
	}
	way := func(fn func(*http.Request, *httptest.ResponseRecorder)) func(*testing.T) http.Handler {
		return func(t *testing.T) http.Handler { t.Helper(); return between(handler(t, nil), fn) }
	}
	always := func(status int, body string) func(*testing.T) http.Handler {
		return func(*testing.T) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status); io.WriteString(w, body) })
		}
	}
	any127 := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	for _, tt := range []struct {
		name string
		site func(*testing.T) http.Handler
		want func(*outside.Want)
		line string // of the report
	}{
		{"another url", site(func(c *gatebook.Config) { c.URL = "https://www.example.com" }), nil, "WRONG cookies: the server takes the site for https://www.example.com, and visitors use " + origin},
		{"links elsewhere", site(func(c *gatebook.Config) { c.URL = "https://www.example.com" }), nil, "WRONG links: acme leads to https://www.example.com/auth/"},
		{"http url", site(func(c *gatebook.Config) { c.URL = "http://app.example.com" }), nil, "WRONG cookies: __Host-authjs.csrf-token is missing; there are authjs.csrf-token, authjs.callback-url: the server takes the site for http"},
		{"host not trusted", site(func(c *gatebook.Config) { c.URL = "" }), nil, "WRONG reach: " + origin + "/auth/csrf is served, but not under this name: set url"},
		{"believes Host", func(t *testing.T) http.Handler {
			t.Helper()
			return asTLS(handler(t, func(c *gatebook.Config) { c.URL, c.TrustHost = "", true }))
		}, nil, "WRONG strangers: the site believes the Host header of anybody"},
		{"believes X-Forwarded-Host", func(t *testing.T) http.Handler {
			t.Helper()
			return asTLS(handler(t, func(c *gatebook.Config) { c.URL, c.TrustHost, c.TrustedProxies = "", true, any127 }))
		}, nil, "WRONG strangers: the site believes X-Forwarded-Host of anybody"},
		{"base path", site(func(c *gatebook.Config) { c.BasePath = "/login" }), nil, "WRONG reach: " + origin + "/auth/csrf answers 400: a proxy changes the path"},
		{"not there", always(404, "nothing"), nil, "WRONG reach: " + origin + "/auth/csrf does not exist"},
		{"down", always(502, "bad gateway"), nil, "answers 502: a proxy does not reach the server"},
		{"password in front", always(401, ""), nil, "something in front wants a password"},
		{"another program", always(200, `{"csrfToken":"\u001b[31m"}`), nil, "which is none of ours"},
		{"moved", func(*testing.T) http.Handler {
			return http.RedirectHandler("https://www.example.com/auth/csrf?secret=1", http.StatusMovedPermanently)
		}, nil, "redirects to https://www.example.com/auth/csrf: url must be"},
		{"no Set-Cookie", way(func(_ *http.Request, rec *httptest.ResponseRecorder) { rec.Header().Del("Set-Cookie") }), nil, "WRONG cookies: none arrives"},
		{"Set-Cookie changed", way(func(_ *http.Request, rec *httptest.ResponseRecorder) {
			for i, c := range rec.Header()["Set-Cookie"] {
				rec.Header()["Set-Cookie"][i] = strings.ReplaceAll(c, "; HttpOnly", "")
			}
		}), nil, "does not arrive with the attributes it was sent with (Secure true, HttpOnly false)"},
		{"no Cookie", func(t *testing.T) http.Handler {
			t.Helper()
			h := handler(t, nil)
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { r.Header.Del("Cookie"); h.ServeHTTP(w, r) })
		}, nil, "WRONG cookies: the server does not know its own cookie again"},
		{"two secrets", func(t *testing.T) http.Handler {
			t.Helper()
			one := handler(t, nil)
			two := handler(t, func(c *gatebook.Config) {
				c.Secrets = []gatebook.Secret{"another secret of at least 32 characters, too"}
			})
			n := 0
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if n++; n%2 == 0 {
					two.ServeHTTP(w, r)
					return
				}
				one.ServeHTTP(w, r)
			})
		}, nil, "servers behind the balancer have different secrets"},
		{"no-store taken away", way(func(_ *http.Request, rec *httptest.ResponseRecorder) { rec.Header().Set("Cache-Control", "public") }), nil, `WRONG caching: ` + origin + `/auth/csrf arrives with Cache-Control "public"`},
		{"cached", way(header("Age", "7")), nil, "comes from a cache (Age: 7)"},
		{"cached, by CDN", way(header("CF-Cache-Status", "HIT")), nil, "comes from a cache (Cf-Cache-Status: HIT)"},
		{"somebody's session", way(func(r *http.Request, rec *httptest.ResponseRecorder) {
			if r.URL.Path == "/auth/session" {
				rec.Body.Reset()
				rec.Body.WriteString(`{"user":{"name":"MARKER"}}`)
			}
		}), nil, "WRONG session: asked without a cookie"},
		{"no HSTS", way(header("Strict-Transport-Security", "max-age=0")), nil, `warn hsts: Strict-Transport-Security "max-age=0"`},
		{"clock off", way(header("Date", time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat))), nil, "WRONG clock: the server's clock and this one are 1h"},
		{"clock a little off", way(header("Date", time.Now().Add(30*time.Second).UTC().Format(http.TimeFormat))), nil, "warn clock: "},
		{"no date", way(header("Date", "yesterday")), nil, "warn clock: the answer has no Date"},
		{"no policy", way(func(_ *http.Request, rec *httptest.ResponseRecorder) { rec.Header().Del("Content-Security-Policy") }), nil, "WRONG page: "},
		{"page elsewhere", way(func(r *http.Request, rec *httptest.ResponseRecorder) {
			if r.URL.Path == "/auth/signin" {
				rec.Code = http.StatusFound
				rec.Header().Set("Location", "https://evil.example/")
			}
		}), nil, "WRONG page: " + origin + "/auth/signin redirects to another site"},
		{"cors for all", way(func(r *http.Request, rec *httptest.ResponseRecorder) {
			if o := r.Header.Get("Origin"); o != "" {
				rec.Header().Set("Access-Control-Allow-Origin", o)
				rec.Header().Set("Access-Control-Allow-Credentials", "true")
			}
		}), nil, "WRONG cors: scripts of any site may read"},
		{"cors taken away", way(func(_ *http.Request, rec *httptest.ResponseRecorder) { rec.Header().Del("Access-Control-Allow-Origin") }), nil, "WRONG cors: scripts of https://spa.example may not read the answers"},
		{"providers", site(nil), func(w *outside.Want) { w.Providers = []string{"github"} }, "WRONG providers: the site has acme, credentials, the configuration github"},
		{"no providers", way(func(r *http.Request, rec *httptest.ResponseRecorder) {
			if r.URL.Path == "/auth/providers" {
				rec.Body.Reset()
			}
		}), nil, "WRONG providers: " + origin + "/auth/providers is not the list"},
		{"configured url", site(nil), func(w *outside.Want) { w.URL = "https://www.example.com" }, "WRONG address: the configuration's url is https://www.example.com"},
		{"configured base", site(nil), func(w *outside.Want) { w.BasePath = "/login" }, "WRONG reach: " + origin + "/login/csrf does not exist"},
		{"cookie's name", site(nil), func(w *outside.Want) { w.CSRFCookie = "mine" }, "WRONG cookies: mine is missing"},
		{"cookie's mode", site(nil), func(w *outside.Want) { w.SecureCookies = new(false) }, "WRONG cookies: authjs.csrf-token is missing"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			want := good()
			if tt.want != nil {
				tt.want(want)
			}
			r := look(t, origin, want, tt.site(t), toHTTPS)
			if !strings.Contains(r.String(), tt.line) {
				t.Errorf("no line %q in\n%s", tt.line, r)
			}
			if strings.Contains(r.String(), "MARKER") || strings.Contains(r.String(), "secret=1") {
				t.Errorf("it repeats what it read:\n%s", r)
			}
		})
	}
}

// asTLS tells the handler what a proxy tells that ends TLS: the httptest server
// does that itself, so that a Config without URL sees https.
func asTLS(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS == nil {
			r.TLS = &tls.ConnectionState{}
		}
		h.ServeHTTP(w, r)
	})
}

// TestWithoutTLS is what the name says without TLS.
func TestWithoutTLS(t *testing.T) {
	for name, tt := range map[string]struct {
		plain http.Handler
		line  string
	}{
		"same site":    {handler(t, nil), "WRONG http: http://app.example.com serves the routes too"},
		"another name": {http.RedirectHandler("https://www.example.com/", http.StatusFound), "warn http: http://app.example.com leads to https://www.example.com, another name"},
		"something":    {http.NotFoundHandler(), "warn http: http://app.example.com answers 404"},
		"no TLS":       {http.RedirectHandler("http://app.example.com/x", http.StatusFound), "warn http: "},
	} {
		t.Run(name, func(t *testing.T) {
			if r := look(t, origin, nil, handler(t, nil), tt.plain); !strings.Contains(r.String(), tt.line) {
				t.Errorf("no line %q in\n%s", tt.line, r)
			}
		})
	}
}

// A site in the clear is wrong unless it is this machine's; a certificate that
// nobody vouches for, an address that is none, a server that is not there are said.
func TestUnreachable(t *testing.T) {
	h := handler(t, func(c *gatebook.Config) { c.URL = "" })
	clear := httptest.NewServer(h)
	defer clear.Close()
	secure := httptest.NewTLSServer(h)
	defer secure.Close()
	gone := httptest.NewServer(h)
	gone.Close()
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer silent.Close()
	for at, line := range map[string]string{
		clear.URL:                       "ok providers: acme, credentials",
		secure.URL:                      "WRONG reach: " + secure.URL + "/auth/csrf: tls: failed to verify certificate",
		gone.URL:                        "connection refused",
		silent.URL:                      "WRONG reach: ",
		"app.example.com":               "WRONG address: give the site's address",
		"ftp://app.example.com":         "WRONG address: ",
		"https://u:MARKER@example.com":  "WRONG address: ",
		"https://app.example.com/?x=y":  "WRONG address: ",
		"https://":                      "WRONG address: ",
		"https://app.example.com/#frag": "WRONG address: ",
	} {
		r := &report{}
		timeout := 30 * time.Second
		if at == silent.URL {
			timeout = 100 * time.Millisecond
		}
		outside.Look(t.Context(), r, outside.Site{URL: at, Timeout: timeout})
		if !strings.Contains(r.String(), line) || strings.Contains(r.String(), "MARKER") {
			t.Errorf("%s: no line %q in\n%s", at, line, r)
		}
	}
}

// TestGuarded: it follows nobody to another host, and an answer without end does
// not fill the memory.
func TestGuarded(t *testing.T) {
	var hosts []string
	endless := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hosts = append(hosts, r.Host)
		if r.Method != http.MethodGet {
			t.Errorf("%s %s", r.Method, r.URL)
		}
		w.Header().Set("Content-Length", strconv.Itoa(1<<40))
		for {
			if _, err := w.Write(make([]byte, 1<<16)); err != nil {
				return
			}
		}
	})
	s := httptest.NewServer(endless)
	defer s.Close()
	r := &report{}
	outside.Look(t.Context(), r, outside.Site{URL: s.URL, Timeout: 30 * time.Second})
	if !strings.Contains(r.String(), "which is none of ours") {
		t.Errorf("an endless answer:\n%s", r)
	}
	follow := httptest.NewServer(http.RedirectHandler(s.URL+"/auth/csrf", http.StatusFound))
	defer follow.Close()
	hosts = nil
	outside.Look(t.Context(), r, outside.Site{URL: follow.URL, Timeout: 30 * time.Second})
	if len(hosts) != 0 {
		t.Errorf("it followed to %q", hosts)
	}
}
