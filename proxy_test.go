package gatebook_test

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/record"
)

// lies are headers with which a stranger tries to be somebody or somewhere else.
var lies = []string{
	"X-Forwarded-Host: evil.example", "X-Forwarded-Proto: https", "X-Forwarded-For: 203.0.113.9",
	"X-Forwarded-Port: 444", "Forwarded: for=203.0.113.9;host=evil.example;proto=https",
	"X-Real-Ip: 203.0.113.9", "X-Original-Url: /auth/evil", "X-Rewrite-Url: /auth/evil", "X-Original-Host: evil.example",
}

// TestURLDecides: with Config.URL nothing that a request says changes a link, a
// redirect or a cookie, not even from a trusted proxy.
func TestURLDecides(t *testing.T) {
	for _, origin := range []string{"https://app.example.com", "http://app.example.com:8080"} {
		s := newWire(t, func(_ *site, c *gatebook.Config) {
			c.URL, c.TrustedProxies = origin, []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
		})
		secure := strings.HasPrefix(origin, "https")
		for _, headers := range [][]string{nil, {"Host: evil.example"}, lies, append([]string{"Host: evil.example"}, lies...), {"Host: "}, {"Host: a b"}, {"Host: [::1"}} {
			b := newBrowser(s.site)
			b.header = headers
			if got := b.get("/auth/providers").body; !strings.Contains(got, `"signinUrl":"`+origin+`/auth/signin/idp"`) || strings.Contains(got, "evil") {
				t.Errorf("%q: providers %s", headers, got)
			}
			a := b.post("/auth/signin/email", url.Values{"email": {"ada@example.com"}, "callbackUrl": {"https://evil.example/"}})
			if want := origin + "/auth/verify-request?provider=email&type=email"; a.Header.Get("Location") != want {
				t.Errorf("%q: to %q, want %q", headers, a.Header.Get("Location"), want)
			}
			if link := s.mail.link(t); !strings.HasPrefix(link, origin+"/auth/callback/email?callbackUrl="+url.QueryEscape(origin)+"&token=") {
				t.Errorf("%q: link %s", headers, link)
			}
			for name := range b.cookies {
				if strings.HasPrefix(name, "__") != secure {
					t.Errorf("%q: cookie %s", headers, name)
				}
			}
			b.begin("idp")
			if got := s.idp.begun[len(s.idp.begun)-1].RedirectURI; got != origin+"/auth/callback/idp" {
				t.Errorf("%q: redirect URI %q", headers, got)
			}
			for _, path := range []string{"/auth/signin", "/auth/signout", "/auth/error", "/auth/verify-request"} {
				if strings.Contains(b.get(path).body, "evil") {
					t.Errorf("%q: %s shows the host of the request", headers, path)
				}
			}
		}
	}
}

// TestHosts is which hosts are served when no URL is set, and as what.
func TestHosts(t *testing.T) {
	t.Setenv("AUTH_URL", "")
	t.Setenv("AUTH_TRUST_HOST", "")
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8:1::/48")}
	const ownProxy = "Remote: 10.0.0.1:99"
	for _, tt := range []struct {
		name    string
		trust   bool
		headers []string
		want    string // the origin, or none when the host is refused
	}{
		{"localhost", false, []string{"Host: localhost:8080"}, "http://localhost:8080"},
		{"below localhost", false, []string{"Host: app.localhost"}, "http://app.localhost"},
		{"127.0.0.1", false, []string{"Host: 127.0.0.1"}, "http://127.0.0.1"},
		{"127/8", false, []string{"Host: 127.8.9.1:1"}, "http://127.8.9.1:1"},
		{"IPv6 loopback", false, []string{"Host: [::1]:3000"}, "http://[::1]:3000"},
		{"upper case and default port", false, []string{"Host: LOCALHOST:80"}, "http://localhost"},
		{"another host", false, []string{"Host: app.example.com"}, ""},
		{"begins like localhost", false, []string{"Host: localhost.evil.example"}, ""},
		{"ends like localhost", false, []string{"Host: evillocalhost"}, ""},
		{"begins like 127", false, []string{"Host: 127.0.0.1.evil.example"}, ""},
		{"user and host", false, []string{"Host: localhost@evil.example"}, ""},
		{"host and path", false, []string{"Host: localhost/evil"}, "http://localhost"},
		{"no host", false, []string{"Host: "}, ""},
		{"IPv4 in another spelling", false, []string{"Host: 0x7f.1"}, ""},
		{"another IPv6", false, []string{"Host: [2001:db8::1]"}, ""},
		{"a stranger's headers", false, append([]string{"Host: localhost"}, lies...), "http://localhost"},
		{"a proxy's host is no loopback", false, []string{ownProxy, "Host: localhost", "X-Forwarded-Host: app.example.com"}, ""},

		{"trusted host", true, []string{"Host: app.example.com"}, "http://app.example.com"},
		{"trusted host, malformed", true, []string{"Host: a b"}, ""},
		{"trusted host, none", true, []string{"Host: "}, ""},
		{"trusted host, a stranger's headers", true, append([]string{"Host: app.example.com"}, lies...), "http://app.example.com"},
		{"proxy", true, []string{ownProxy, "Host: internal", "X-Forwarded-Host: app.example.com", "X-Forwarded-Proto: https"}, "https://app.example.com"},
		{"proxy, IPv6", true, []string{"Remote: [2001:db8:1::9]:1", "Host: internal", "X-Forwarded-Host: app.example.com", "X-Forwarded-Proto: https"}, "https://app.example.com"},
		{"proxy, IPv4 in IPv6", true, []string{"Remote: [::ffff:10.0.0.1]:1", "Host: internal", "X-Forwarded-Host: app.example.com"}, "http://app.example.com"},
		{"not a proxy, IPv6", true, []string{"Remote: [2001:db8:2::9]:1", "Host: app.example.com", "X-Forwarded-Proto: https"}, "http://app.example.com"},
		{"the proxy appends", true, []string{ownProxy, "Host: internal", "X-Forwarded-Host: evil.example, app.example.com", "X-Forwarded-Proto: https,http"}, "http://app.example.com"},
		{"the proxy adds a line", true, []string{ownProxy, "Host: internal", "X-Forwarded-Host: evil.example", "X-Forwarded-Host: app.example.com"}, "http://app.example.com"},
		{"odd scheme", true, []string{ownProxy, "Host: app.example.com", "X-Forwarded-Proto: javascript"}, "http://app.example.com"},
		{"odd host", true, []string{ownProxy, "Host: app.example.com", "X-Forwarded-Host: evil.example/@x"}, "http://evil.example"},
		{"address that cannot be read", true, []string{"Remote: @", "Host: app.example.com", "X-Forwarded-Proto: https"}, "http://app.example.com"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newWire(t, func(_ *site, c *gatebook.Config) { c.URL, c.TrustHost, c.TrustedProxies = "", tt.trust, proxies })
			a := s.serve(request{path: "/auth/providers", header: tt.headers})
			if tt.want == "" {
				if a.StatusCode != 500 {
					t.Errorf("%d %s, want the host refused", a.StatusCode, a.body)
				}
				s.check(record.TypeHostUntrusted)
				d := s.heard.all()[0].(*gatebook.DefenceEvent)
				if d.Reason != record.ReasonUntrustedHost || d.Check != "host" || d.Why != "forbidden" {
					t.Errorf("event: %+v", d)
				}
				return
			}
			if !strings.Contains(a.body, `"signinUrl":"`+tt.want+`/auth/signin/idp"`) {
				t.Errorf("%d %s, want %s", a.StatusCode, a.body, tt.want)
			}
			a = s.serve(request{path: "/auth/csrf", header: tt.headers})
			if secure := strings.HasPrefix(tt.want, "https"); secure != slices.Contains(cookieNames(a), "__Host-authjs.csrf-token") {
				t.Errorf("cookies %q", cookieNames(a))
			}
		})
	}
}

// TestTLSIsSecure: without a URL a connection with TLS has the cookies of secure
// mode.
func TestTLSIsSecure(t *testing.T) {
	t.Setenv("AUTH_URL", "")
	s := newWire(t, func(_ *site, c *gatebook.Config) { c.URL = "" })
	r := httptest.NewRequest("GET", "https://localhost/auth/csrf", nil)
	r.TLS = &tls.ConnectionState{}
	rec := httptest.NewRecorder()
	s.auth.ServeHTTP(rec, r)
	if got := rec.Header().Values("Set-Cookie"); len(got) != 2 || !strings.HasPrefix(got[0], "__Host-authjs.csrf-token=") || !strings.Contains(got[1], url.QueryEscape("https://localhost")+";") {
		t.Errorf("Set-Cookie = %q", got)
	}
}

// TestClientAddress is whose address an entry has.
func TestClientAddress(t *testing.T) {
	ours := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8:1::/48")}
	const xff = "X-Forwarded-For"
	for _, tt := range []struct {
		name, remote string
		header       []string
		want, source string
	}{
		{"direct", "198.51.100.7:4711", nil, "198.51.100.7", "connection"},
		{"direct, IPv6", "[2001:db8::7]:4711", nil, "2001:db8::7", "connection"},
		{"direct, IPv4 in IPv6", "[::ffff:198.51.100.7]:1", nil, "198.51.100.7", "connection"},
		{"a stranger lies", "198.51.100.7:4711", []string{"203.0.113.9"}, "198.51.100.7", "connection"},
		{"a stranger claims to be our proxy", "198.51.100.7:4711", []string{"203.0.113.9, 10.0.0.1"}, "198.51.100.7", "connection"},
		{"our proxy", "10.0.0.1:1", []string{"203.0.113.9"}, "203.0.113.9", xff},
		{"our proxy, IPv6", "[2001:db8:1::1]:1", []string{"2001:db8:2::9"}, "2001:db8:2::9", xff},
		{"our proxy as IPv4 in IPv6", "[::ffff:10.0.0.1]:1", []string{"::ffff:203.0.113.9"}, "203.0.113.9", xff},
		{"the client lied to our proxy", "10.0.0.1:1", []string{"1.1.1.1, 10.9.9.9, 203.0.113.9"}, "203.0.113.9", xff},
		{"two of our proxies", "10.0.0.1:1", []string{"1.1.1.1, 203.0.113.9, 10.0.0.2"}, "203.0.113.9", xff},
		{"two lines", "10.0.0.1:1", []string{"1.1.1.1", "203.0.113.9,10.0.0.2"}, "203.0.113.9", xff},
		{"with a port", "10.0.0.1:1", []string{"203.0.113.9:5555"}, "203.0.113.9", xff},
		{"IPv6 with a port", "10.0.0.1:1", []string{"[2001:db8:2::9]:5555"}, "2001:db8:2::9", xff},
		{"with a zone", "10.0.0.1:1", []string{"fe80::1%eth0"}, "fe80::1", xff},
		{"only ours", "10.0.0.1:1", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3", xff},
		{"nothing", "10.0.0.1:1", nil, "10.0.0.1", "connection"},
		{"empty", "10.0.0.1:1", []string{""}, "10.0.0.1", "connection"},
		{"nonsense", "10.0.0.1:1", []string{"203.0.113.9, nonsense"}, "10.0.0.1", "connection"},
		{"nonsense behind ours", "10.0.0.1:1", []string{"nonsense, 10.0.0.2"}, "10.0.0.2", xff},
		{"very long", "10.0.0.1:1", []string{"203.0.113.9" + strings.Repeat(",10.0.0.2", 10_000)}, "10.0.0.2", xff},
		{"more hops than are looked at", "10.0.0.1:1", []string{"203.0.113.9" + strings.Repeat(",10.0.0.2", 40)}, "10.0.0.2", xff},
		{"no address", "@", []string{"203.0.113.9"}, "invalid IP", "connection"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newWire(t, func(_ *site, c *gatebook.Config) { c.TrustedProxies = ours })
			header := []string{"Remote: " + tt.remote, "User-Agent: " + strings.Repeat("u", 5000), "Origin: https://evil.example"}
			for _, h := range tt.header {
				header = append(header, xff+": "+h)
			}
			s.serve(request{method: "POST", path: "/auth/callback/credentials", header: header})
			f := s.failed()
			if f.Request.IP.String() != tt.want || f.Request.IPSource != tt.source {
				t.Errorf("address %s from %s, want %s from %s", f.Request.IP, f.Request.IPSource, tt.want, tt.source)
			}
			if f.Request.Method != "POST" || f.Request.Route != "callback/credentials" || f.Request.Origin != "https://evil.example" {
				t.Errorf("request: %+v", f.Request)
			}
			s.check("csrf.rejected", "signIn.failed")
		})
	}
}

// TestBasePaths is where the handler may be mounted.
func TestBasePaths(t *testing.T) {
	for _, tt := range []struct {
		name, site, base string
		prefix           string // of the routes
	}{
		{"default", "http://app.test", "", "/auth"},
		{"as next-auth", "http://app.test", "/api/auth", "/api/auth"},
		{"from the URL", "http://app.test/api/auth", "", "/api/auth"},
		{"from the URL, with a slash", "http://app.test/api/auth/", "", "/api/auth"},
		{"both", "http://app.test/other", "/auth", "/auth"},
		{"with a slash", "http://app.test", "/auth/", "/auth"},
		{"root", "http://app.test", "/", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newWire(t, func(_ *site, c *gatebook.Config) { c.URL, c.BasePath = tt.site, tt.base })
			if a := s.serve(request{path: tt.prefix + "/csrf"}); a.StatusCode != 200 {
				t.Errorf("csrf = %d", a.StatusCode)
			}
			if got := s.serve(request{path: tt.prefix + "/providers"}).body; !strings.Contains(got, `"http://app.test`+tt.prefix+`/callback/idp"`) {
				t.Errorf("providers: %s", got)
			}
			if a := s.serve(request{path: tt.prefix + "/callback/nobody"}); a.Header.Get("Location") != "http://app.test"+tt.prefix+"/error?error=Configuration" {
				t.Errorf("to %q", a.Header.Get("Location"))
			}
			if n := s.lines.all(); len(n) != 1 {
				t.Errorf("log: %q", n)
			}
		})
	}
}

// TestMounts: below a router that keeps the path all is well; one that cuts the
// prefix off gives 400 and a line that says so.
func TestMounts(t *testing.T) {
	s := newWire(t, nil)
	sub := http.NewServeMux()
	sub.Handle("/auth/", s.auth)
	mux := http.NewServeMux()
	mux.Handle("/", sub)
	get := func(h http.Handler, path string) *httptest.ResponseRecorder {
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, httptest.NewRequest("GET", s.server.URL+path, nil))
		return rec
	}
	if rec := get(mux, "/auth/csrf"); rec.Code != 200 {
		t.Errorf("sub-router: %d", rec.Code)
	}
	for name, h := range map[string]http.Handler{"StripPrefix": http.StripPrefix("/auth", s.auth), "catch-all": s.auth} {
		s.lines.reset()
		path := "/auth/csrf"
		if name == "catch-all" {
			path = "/other"
		}
		rec := get(h, path)
		lines := s.lines.all()
		if rec.Code != 400 || rec.Body.String() != `"Bad request."` || len(lines) != 1 || !strings.Contains(lines[0], "StripPrefix") {
			t.Errorf("%s: %d %s, log %q", name, rec.Code, rec.Body, lines)
		}
	}
	s.lines.reset()
	for _, path := range []string{"/auth", "/auth/", "/auth/nope"} {
		if rec := get(s.auth, path); rec.Code != 400 || len(s.lines.all()) > 0 {
			t.Errorf("%s: %d, log %q", path, rec.Code, s.lines.all())
		}
	}
	// New refuses what cannot be a base.
	for _, base := range []string{"auth", "/a b", "/a?b", "/a#b", "/a%2fb", "//auth", "/a//b", `/a\b`} {
		cfg := gatebook.Config{Secrets: []gatebook.Secret{secret}, URL: "http://app.test", BasePath: base, Adapter: s.adapter, Providers: []gatebook.Provider{s.idp}}
		if _, err := gatebook.New(cfg); err == nil || !strings.Contains(err.Error(), "BasePath") {
			t.Errorf("New with base path %q: %v", base, err)
		}
	}
}
