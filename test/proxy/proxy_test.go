// Package proxy_test runs the handler behind nginx and Caddy, configured as
// docs/behind-a-proxy.md says.
package proxy_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/adapter/memory"
	"github.com/gatebook/gatebook/provider/credentials"
	"github.com/gatebook/gatebook/test/need"
)

const (
	host = "app.example.com"
	// visitorAddr is where requests to the proxy come from. The proxy itself
	// talks to us from 127.0.0.1.
	visitorAddr = "127.0.0.2"
)

// authority is a certificate authority for one test.
type authority struct {
	pool *x509.CertPool
	file string
}

// newAuthority writes a certificate for host, and its key, into dir.
func newAuthority(t *testing.T, dir string) *authority {
	t.Helper()
	caKey, key := newKey(t), newKey(t)
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Test CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host, "localhost"},
		NotBefore: ca.NotBefore, NotAfter: ca.NotAfter, KeyUsage: x509.KeyUsageDigitalSignature}
	caDER := must(x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey))
	leafDER := must(x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), caKey))
	a := &authority{pool: x509.NewCertPool()}
	a.pool.AddCert(must(x509.ParseCertificate(caDER)))
	a.file = filepath.Join(dir, "ca.pem")
	write(t, a.file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER}))
	write(t, filepath.Join(dir, "cert.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leafDER}))
	write(t, filepath.Join(dir, "key.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: must(x509.MarshalPKCS8PrivateKey(key))}))
	return a
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// snippet returns the block of a language in the guide; under names the heading
// that it follows.
func snippet(t *testing.T, under, language string) string {
	t.Helper()
	b, err := os.ReadFile("../../docs/behind-a-proxy.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(b), "\n## "+under+"\n")
	_, rest, ok := strings.Cut(section, "\n```"+language+"\n")
	if !ok {
		t.Fatalf("the guide has no block of %s under %s", language, under)
	}
	block, _, _ := strings.Cut(rest, "\n```\n")
	return block + "\n"
}

// replace exchanges what must be there.
func replace(t *testing.T, s string, pairs ...string) string {
	t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(s, pairs[i]) {
			t.Fatalf("%q is not in:\n%s", pairs[i], s)
		}
		s = strings.ReplaceAll(s, pairs[i], pairs[i+1])
	}
	return s
}

func freePort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	return port
}

// proxy is a running server in front of an upstream.
type proxy struct {
	addr string
	ca   *authority
}

// kinds are the proxies; change may adjust the guide's block.
var kinds = map[string]func(t *testing.T, upstream string, change func(string) string) *proxy{
	"nginx": startNginx,
	"caddy": startCaddy,
}

func same(s string) string { return s }

func startNginx(t *testing.T, upstream string, change func(string) string) *proxy {
	t.Helper()
	bin, dir, port := need.Nginx(t), t.TempDir(), freePort(t)
	p := &proxy{addr: "127.0.0.1:" + port, ca: newAuthority(t, dir)}
	server := change(replace(t, snippet(t, "nginx", "nginx"), "listen 443 ssl", "listen "+p.addr+" ssl", "http://127.0.0.1:3000", "http://"+upstream,
		"/etc/ssl/app.example.com.pem", "cert.pem", "/etc/ssl/app.example.com.key", "key.pem"))
	var conf strings.Builder
	conf.WriteString("daemon off;\nmaster_process off;\npid nginx.pid;\nerror_log stderr warn;\nevents {}\nhttp {\naccess_log off;\n")
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		fmt.Fprintf(&conf, "%s_temp_path %s;\n", kind, kind)
	}
	conf.WriteString(server + "}\n")
	write(t, filepath.Join(dir, "nginx.conf"), []byte(conf.String()))
	run(t, p.addr, exec.Command(bin, "-e", "stderr", "-p", dir, "-c", filepath.Join(dir, "nginx.conf")))
	return p
}

func startCaddy(t *testing.T, upstream string, change func(string) string) *proxy {
	t.Helper()
	bin, dir, port := need.Caddy(t), t.TempDir(), freePort(t)
	p := &proxy{addr: "127.0.0.1:" + port, ca: newAuthority(t, dir)}
	site := change(replace(t, snippet(t, "Caddy", "caddyfile"), "app.example.com {\n", "app.example.com {\n\ttls "+dir+"/cert.pem "+dir+"/key.pem\n",
		"127.0.0.1:3000", upstream))
	global := fmt.Sprintf("{\n\tadmin off\n\tauto_https disable_redirects\n\tskip_install_trust\n\tdefault_bind 127.0.0.1\n\thttps_port %s\n}\n", port)
	write(t, filepath.Join(dir, "Caddyfile"), []byte(global+site))
	cmd := exec.Command(bin, "run", "--config", filepath.Join(dir, "Caddyfile"), "--adapter", "caddyfile")
	cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
	run(t, p.addr, cmd)
	return p
}

// run starts cmd, waits until it listens on addr, and ends it with the test.
func run(t *testing.T, addr string, cmd *exec.Cmd) {
	t.Helper()
	logged := &lockedBuffer{}
	cmd.Stdout, cmd.Stderr = logged, logged
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended by itself
		<-ended
		if t.Failed() {
			t.Logf("%s:\n%s", filepath.Base(cmd.Path), logged)
		}
	})
	deadline := time.After(30 * time.Second)
	for {
		if conn, err := net.Dial("tcp", addr); err == nil {
			conn.Close()
			return
		}
		select {
		case <-ended:
			t.Fatalf("%s ended:\n%s", cmd.Path, logged)
		case <-deadline:
			t.Fatalf("%s does not listen on %s:\n%s", cmd.Path, addr, logged)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  strings.Builder
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

// client is a visitor: requests to host go to the proxy, from an address of
// their own.
type client struct {
	t *testing.T
	*http.Client
	header http.Header
}

func (p *proxy) visitor(t *testing.T) *client {
	t.Helper()
	dial := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(visitorAddr)}}
	transport := &http.Transport{
		DialContext:     func(ctx context.Context, _, _ string) (net.Conn, error) { return dial.DialContext(ctx, "tcp", p.addr) },
		TLSClientConfig: &tls.Config{RootCAs: p.ca.pool},
	}
	t.Cleanup(transport.CloseIdleConnections)
	jar := must(cookiejar.New(nil))
	return &client{t: t, header: http.Header{}, Client: &http.Client{Jar: jar, Transport: transport, Timeout: 30 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

type answer struct {
	*http.Response
	body string
}

func (c *client) do(method, to string, form url.Values) *answer {
	c.t.Helper()
	r, err := http.NewRequest(method, to, strings.NewReader(form.Encode()))
	if err != nil {
		c.t.Fatal(err)
	}
	for name, values := range c.header {
		r.Header[name] = values
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	res, err := c.Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return &answer{res, string(b)}
}

// signIn types a password at the routes below base and returns the answer.
func (c *client) signIn(base string) *answer {
	c.t.Helper()
	var body struct{ CSRFToken string }
	a := c.do("GET", base+"/csrf", nil)
	if err := json.Unmarshal([]byte(a.body), &body); err != nil {
		c.t.Fatalf("GET %s/csrf: %d %s", base, a.StatusCode, a.body)
	}
	return c.do("POST", base+"/callback/credentials", url.Values{"csrfToken": {body.CSRFToken}, "email": {"ada@example.com"},
		"password": {"right"}, "callbackUrl": {"/inside"}})
}

// site is an application behind the proxy.
type site struct {
	*httptest.Server
	addr string

	mu    sync.Mutex
	seen  []gatebook.RequestInfo // of each sign-in
	lines *lockedBuffer
}

func newSite(t *testing.T, change func(*gatebook.Config)) *site {
	t.Helper()
	s := &site{lines: &lockedBuffer{}}
	passwords := must(credentials.New(credentials.Config{Authorize: func(_ context.Context, typed map[string]string, _ *http.Request) (*gatebook.User, error) {
		return &gatebook.User{ID: "1", Email: typed["email"]}, nil
	}}))
	cfg := gatebook.Config{Secrets: []gatebook.Secret{"correct horse battery staple, 32 characters"}, Adapter: memory.New(),
		Session: gatebook.SessionConfig{Strategy: gatebook.StrategyJWT}, Providers: []gatebook.Provider{passwords},
		Logger: slog.New(slog.NewTextHandler(s.lines, nil)),
		Events: gatebook.Events{SignIn: func(_ context.Context, e *gatebook.SignInEvent) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.seen = append(s.seen, e.Request)
			return nil
		}}}
	change(&cfg)
	auth, err := gatebook.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/", auth.Middleware(http.NotFoundHandler()))
	mux.Handle("/auth/", auth)
	mux.Handle("/shop/auth/", auth)
	s.Server = httptest.NewServer(mux)
	t.Cleanup(s.Close)
	s.addr = s.Listener.Addr().String()
	return s
}

func (s *site) last(t *testing.T) gatebook.RequestInfo {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.seen) == 0 {
		t.Fatalf("nobody signed in\n%s", s.lines)
	}
	return s.seen[len(s.seen)-1]
}

// lies are headers with which a visitor tries to be somebody or somewhere else.
func lies() http.Header {
	return http.Header{"X-Forwarded-For": {"203.0.113.9"}, "X-Forwarded-Host": {"evil.example"}, "X-Forwarded-Proto": {"http"},
		"X-Real-Ip": {"203.0.113.9"}, "Forwarded": {"for=203.0.113.9;host=evil.example;proto=http"}, "X-Forwarded-Port": {"80"}}
}

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}

// forEach runs a test behind each proxy.
func forEach(t *testing.T, fn func(t *testing.T, start func(*testing.T, string, func(string) string) *proxy)) {
	t.Helper()
	for name, start := range kinds {
		t.Run(name, func(t *testing.T) { t.Parallel(); fn(t, start) })
	}
}

// TestSignIn: behind each proxy, with each way of saying what the site's address
// is, and with and without a visitor's lies, links, cookies and the recorded
// address are right.
func TestSignIn(t *testing.T) {
	forEach(t, func(t *testing.T, start func(*testing.T, string, func(string) string) *proxy) {
		t.Helper()
		for _, tt := range []struct {
			name   string
			change func(*gatebook.Config)
			ip     string
			source string
			origin string
		}{
			{"URL", func(c *gatebook.Config) { c.URL = "https://" + host }, "127.0.0.1", "connection", "https://" + host},
			{"URL and proxies", func(c *gatebook.Config) { c.URL, c.TrustedProxies = "https://"+host, loopback }, visitorAddr, "X-Forwarded-For", "https://" + host},
			{"host and proxies", func(c *gatebook.Config) { c.TrustHost, c.TrustedProxies = true, loopback }, visitorAddr, "X-Forwarded-For", "https://" + host},
			{"host alone", func(c *gatebook.Config) { c.TrustHost = true }, "127.0.0.1", "connection", "http://" + host},
			{"other proxies", func(c *gatebook.Config) {
				c.TrustHost, c.TrustedProxies = true, []netip.Prefix{netip.MustParsePrefix("127.0.0.9/32")}
			}, "127.0.0.1", "connection", "http://" + host},
		} {
			s := newSite(t, tt.change)
			p := start(t, s.addr, same)
			for _, header := range []http.Header{{}, lies()} {
				v := p.visitor(t)
				v.header = header
				a := v.signIn("https://" + host + "/auth")
				if got := a.Header.Get("Location"); got != tt.origin+"/inside" {
					t.Errorf("%s, lies %v: to %q, want %s/inside", tt.name, len(header) > 0, got, tt.origin)
				}
				if info := s.last(t); info.IP.String() != tt.ip || info.IPSource != tt.source {
					t.Errorf("%s, lies %v: address %s from %s, want %s from %s", tt.name, len(header) > 0, info.IP, info.IPSource, tt.ip, tt.source)
				}
				secure := strings.HasPrefix(tt.origin, "https")
				for _, c := range a.Cookies() {
					if strings.HasPrefix(c.Name, "__") != secure || c.Secure != secure {
						t.Errorf("%s: cookie %s", tt.name, c)
					}
				}
				if got := v.do("GET", "https://"+host+"/auth/session", nil).body; !strings.Contains(got, "ada@example.com") {
					t.Errorf("%s, lies %v: session %s", tt.name, len(header) > 0, got)
				}
				if got := v.do("GET", "https://"+host+"/auth/providers", nil).body; !strings.Contains(got, `"`+tt.origin+`/auth/callback/credentials"`) || strings.Contains(got, "evil") {
					t.Errorf("%s, lies %v: providers %s", tt.name, len(header) > 0, got)
				}
			}
			if got := p.visitor(t).do("GET", "https://"+host+"/auth/csrf", nil).Header.Get("Strict-Transport-Security"); got != "max-age=31536000" {
				t.Errorf("%s: Strict-Transport-Security %q", tt.name, got)
			}
		}
	})
}

// TestPastTheProxy: whoever reaches the server itself is believed nothing.
func TestPastTheProxy(t *testing.T) {
	s := newSite(t, func(c *gatebook.Config) { c.TrustHost, c.TrustedProxies = true, loopback })
	p := &proxy{addr: s.addr, ca: &authority{}}
	v := p.visitor(t)
	v.header = lies()
	v.header.Set("X-Forwarded-Proto", "https")
	if got := v.signIn("http://" + host + "/auth").Header.Get("Location"); got != "http://"+host+"/inside" {
		t.Errorf("to %q", got)
	}
	if info := s.last(t); info.IP.String() != visitorAddr || info.IPSource != "connection" {
		t.Errorf("address %s from %s", info.IP, info.IPSource)
	}
}

// The other usual line of nginx's configuration gives the same address.
func TestNginxAddsToTheList(t *testing.T) {
	s := newSite(t, func(c *gatebook.Config) { c.URL, c.TrustedProxies = "https://"+host, loopback })
	p := startNginx(t, s.addr, func(block string) string {
		return replace(t, block, "X-Forwarded-For   $remote_addr", "X-Forwarded-For   $proxy_add_x_forwarded_for")
	})
	v := p.visitor(t)
	v.header = lies()
	v.signIn("https://" + host + "/auth")
	if info := s.last(t); info.IP.String() != visitorAddr {
		t.Errorf("address %s", info.IP)
	}
}

// TestTwoProxies: behind Caddy behind nginx the visitor is the first who is none
// of both.
func TestTwoProxies(t *testing.T) {
	s := newSite(t, func(c *gatebook.Config) { c.URL, c.TrustedProxies = "https://"+host, loopback })
	inner := startCaddy(t, s.addr, func(site string) string {
		return replace(t, site, "reverse_proxy "+s.addr, "reverse_proxy "+s.addr+" {\n\t\ttrusted_proxies 127.0.0.1/32\n\t}")
	})
	outer := startNginx(t, s.addr, func(block string) string {
		return replace(t, block, "proxy_pass http://"+s.addr, "proxy_ssl_server_name on;\n\t\tproxy_ssl_name "+host+";\n\t\tproxy_pass https://"+inner.addr)
	})
	v := outer.visitor(t)
	v.header = lies()
	if got := v.signIn("https://" + host + "/auth").Header.Get("Location"); got != "https://"+host+"/inside" {
		t.Errorf("to %q", got)
	}
	if info := s.last(t); info.IP.String() != visitorAddr {
		t.Errorf("address %s", info.IP)
	}
}

// strict adds to nginx what the guide has for servers whose proxy says what the
// site is called. Caddy needs nothing.
func strict(t *testing.T, block string) string {
	t.Helper()
	if !strings.Contains(block, "listen") {
		return block
	}
	listen := regexp.MustCompile(`listen \S+ ssl`).FindString(block)
	return replace(t, snippet(t, "Several names for one server", "nginx"), "listen 443 ssl", listen) + block
}

// TestUnknownHosts: where the proxy says what the site is called, it lets no
// other name through.
func TestUnknownHosts(t *testing.T) {
	forEach(t, func(t *testing.T, start func(*testing.T, string, func(string) string) *proxy) {
		t.Helper()
		s := newSite(t, func(c *gatebook.Config) { c.TrustHost, c.TrustedProxies = true, loopback })
		p := start(t, s.addr, func(block string) string { return strict(t, block) })
		if a := p.visitor(t).do("GET", "https://"+host+"/auth/providers", nil); a.StatusCode != 200 {
			t.Errorf("its own name: %d", a.StatusCode)
		}
		r := must(http.NewRequest("GET", "https://"+host+"/auth/providers", nil))
		r.Host = "evil.example" // the name in TLS stays
		res, err := p.visitor(t).Do(r)
		if err == nil {
			defer res.Body.Close()
			if b, _ := io.ReadAll(res.Body); len(b) > 0 {
				t.Errorf("another name: %d %s", res.StatusCode, b)
			}
		}
	})
}

// TestPathPrefix: a proxy that hands the path on works below a folder; one that
// cuts it is told of in the log.
func TestPathPrefix(t *testing.T) {
	cut := map[string]func(*testing.T, string) string{
		"nginx": func(t *testing.T, s string) string {
			t.Helper()
			return regexp.MustCompile(`location / \{\n(\s+proxy_pass http://[0-9.:]+);`).ReplaceAllString(s, "location /shop/ {\n$1/;")
		},
		"caddy": func(t *testing.T, s string) string {
			t.Helper()
			return regexp.MustCompile(`\n\treverse_proxy (\S+)`).ReplaceAllString(s, "\n\thandle_path /shop/* {\n\t\treverse_proxy $1\n\t}")
		},
	}
	for name, start := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, func(c *gatebook.Config) { c.URL = "https://" + host + "/shop/auth" })
			v := start(t, s.addr, same).visitor(t)
			if got := v.signIn("https://" + host + "/shop/auth").Header.Get("Location"); got != "https://"+host+"/inside" {
				t.Errorf("to %q", got)
			}
			if got := v.do("GET", "https://"+host+"/shop/auth/providers", nil).body; !strings.Contains(got, `"https://`+host+`/shop/auth/callback/credentials"`) {
				t.Errorf("providers %s", got)
			}
			bad := start(t, s.addr, func(block string) string { return cut[name](t, block) }).visitor(t)
			if a := bad.do("GET", "https://"+host+"/shop/auth/csrf", nil); a.StatusCode != 400 || !strings.Contains(s.lines.String(), "path is not under the base path") {
				t.Errorf("a cut path: %d %s\n%s", a.StatusCode, a.body, s.lines)
			}
		})
	}
}

// TestLargeSession: a session of several cookies passes, in both directions, and
// what the guide says of nginx's buffers is so.
func TestLargeSession(t *testing.T) {
	large := func(c *gatebook.Config) {
		c.URL = "https://" + host
		c.Callbacks.JWT = func(_ context.Context, p *gatebook.JWTParams) (*gatebook.Claims, error) {
			err := p.Token.Set("roles", strings.Repeat("role,", 2000))
			return &p.Token, err
		}
	}
	forEach(t, func(t *testing.T, start func(*testing.T, string, func(string) string) *proxy) {
		t.Helper()
		s := newSite(t, large)
		v := start(t, s.addr, same).visitor(t)
		a := v.signIn("https://" + host + "/auth")
		if n := len(a.Cookies()); a.StatusCode != 302 || n < 4 {
			t.Fatalf("sign-in: %d with %d cookies", a.StatusCode, n)
		}
		if a := v.do("GET", "https://"+host+"/auth/session", nil); a.StatusCode != 200 || !strings.Contains(a.body, "ada@example.com") {
			t.Errorf("session: %d %s", a.StatusCode, a.body)
		}
	})
	t.Run("nginx without buffers", func(t *testing.T) {
		s := newSite(t, large)
		v := startNginx(t, s.addr, func(block string) string {
			return regexp.MustCompile(`(?m)^\s+proxy_b\w+\s.*\n`).ReplaceAllString(block, "")
		}).visitor(t)
		if a := v.signIn("https://" + host + "/auth"); a.StatusCode != 502 {
			t.Errorf("sign-in: %d, want 502: the guide need not speak of buffers", a.StatusCode)
		}
	})
}

// TestDoctorFromOutside: doctor sees through each proxy whether it and the server
// fit, and which part of the configuration does not.
func TestDoctorFromOutside(t *testing.T) {
	doctor := filepath.Join(t.TempDir(), "gatebook")
	if out, err := exec.Command("go", "build", "-o", doctor, "github.com/gatebook/gatebook/cmd/gatebook").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	forEach(t, func(t *testing.T, start func(*testing.T, string, func(string) string) *proxy) {
		t.Helper()
		for _, tt := range []struct {
			name   string
			change func(c *gatebook.Config, origin string)
			line   string // of what is wrong, or none
		}{
			{"URL", func(c *gatebook.Config, origin string) { c.URL = origin }, ""},
			{"host and proxies", func(c *gatebook.Config, _ string) { c.TrustHost, c.TrustedProxies = true, loopback }, ""},
			{"host alone", func(c *gatebook.Config, _ string) { c.TrustHost = true }, "the server takes the site for http; set url, or trustedProxies so that X-Forwarded-Proto counts"},
			{"another address", func(c *gatebook.Config, _ string) { c.URL = "https://www.example.com" }, "links and cookies are made for the former|the server takes the site for https://www.example.com"},
			{"another path", func(c *gatebook.Config, origin string) { c.URL = origin + "/shop/auth" }, "a proxy changes the path, or basePath is another"},
		} {
			var s atomic.Pointer[site]
			var origin string
			upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.Load().Config.Handler.ServeHTTP(w, r) }))
			t.Cleanup(upstream.Close)
			p := start(t, upstream.Listener.Addr().String(), func(block string) string {
				block = strings.Replace(block, "app.example.com {", "app.example.com, localhost {", 1)
				return strict(t, strings.Replace(block, "server_name app.example.com", "server_name app.example.com localhost", 1))
			})
			_, port, _ := net.SplitHostPort(p.addr)
			origin = "https://localhost:" + port
			s.Store(newSite(t, func(c *gatebook.Config) { tt.change(c, origin) }))
			cmd := exec.Command(doctor, "doctor", "--config", filepath.Join(t.TempDir(), "none.yaml"), "--from-outside", origin)
			cmd.Env = append(os.Environ(), "SSL_CERT_FILE="+p.ca.file)
			out, err := cmd.CombinedOutput()
			if (err == nil) != (tt.line == "") || strings.Contains(string(out), "WRONG") != (tt.line != "") || !regexp.MustCompile(tt.line).Match(out) {
				t.Errorf("%s: %v\n%s", tt.name, err, out)
			}
			if tt.line == "" && !strings.Contains(string(out), "max-age=31536000") {
				t.Errorf("%s: the proxy's header is not seen:\n%s", tt.name, out)
			}
		}
	})
}
