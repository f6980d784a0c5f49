// Package outside looks at a running site as a visitor does, over whatever lies
// between, and says what is not as it should be: `gatebook doctor
// --from-outside`.
//
// It sends GET requests to the one host that it was told, follows no redirect,
// reads little of each answer, and signs nobody in.
package outside

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

// maxBody is how much of an answer is read: the longest, the sign-in page, is a
// few kilobytes.
const maxBody = 1 << 20

// stranger is a name that nobody has (RFC 6761, Section 6.4).
const stranger = "doctor.invalid"

// Site is what is looked at and what should be there.
type Site struct {
	// URL is the address of the site, with or without the base path.
	URL string
	// Want is what the configuration says, or nil when there is none to compare
	// with.
	Want *Want
	// Timeout is for each request.
	Timeout time.Duration
	// Transport makes the requests. If nil, one that resolves names and checks
	// certificates as every program does.
	Transport *http.Transport
}

// Want is what a configuration says of what visitors see.
type Want struct {
	// URL and BasePath are the configured ones; URL may be empty.
	URL, BasePath string
	// Providers are the ids, in order.
	Providers []string
	// CSRFCookie and CallbackCookie are changed names of cookies, or empty.
	CSRFCookie, CallbackCookie string
	// SecureCookies is set when the mode of cookies is fixed.
	SecureCookies *bool
	// TrustedOrigins may use the routes from scripts.
	TrustedOrigins []string
}

// Report gets what is found: OK for what is as it should be, Warn for what is
// only unwise, Fault for what is wrong.
type Report interface {
	OK(subject, format string, args ...any)
	Warn(subject, format string, args ...any)
	Fault(subject, format string, args ...any)
}

// look is one look at a site.
type look struct {
	Report
	site   Site
	client *http.Client
	origin string // of the site as visitors know it
	base   string // path
	host   string
	https  bool
}

// Look asks the site and reports. It returns when ctx ends, too.
func Look(ctx context.Context, r Report, s Site) {
	l := &look{Report: r, site: s}
	if !l.parse() {
		return
	}
	transport := s.Transport
	if transport == nil {
		transport = &http.Transport{Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true}
	}
	// Each request finds its own way: behind a balancer, to another server.
	transport.DisableKeepAlives = true
	l.client = &http.Client{Transport: transport, Timeout: s.Timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	first := l.reach(ctx)
	if first == nil {
		return
	}
	l.transport(first)
	l.clock(first)
	l.cookies(ctx, first)
	l.caching("csrf", first)
	l.providers(ctx)
	l.session(ctx)
	l.page(ctx)
	l.strangers(ctx)
	l.cors(ctx)
	l.plain(ctx)
}

func (l *look) parse() bool {
	u, err := url.Parse(l.site.URL)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Scheme != "https" && u.Scheme != "http" {
		l.Fault("address", "give the site's address, such as https://app.example.com")
		return false
	}
	l.https = u.Scheme == "https"
	l.host = strings.ToLower(u.Host)
	l.host = strings.TrimSuffix(l.host, map[bool]string{true: ":443", false: ":80"}[l.https])
	l.origin = u.Scheme + "://" + l.host
	l.base = strings.TrimRight(u.EscapedPath(), "/")
	w := l.site.Want
	if w == nil {
		if l.base == "" {
			l.base = "/auth"
		}
		return true
	}
	switch configured := strings.TrimRight(w.BasePath, "/"); {
	case l.base == "":
		l.base = configured
	case l.base != configured:
		l.Fault("address", "the configuration has the base path %s, and %s was asked for", configured, l.base)
	}
	if c, err := url.Parse(w.URL); w.URL != "" && (err != nil || !strings.EqualFold(c.Scheme+"://"+c.Host, l.origin)) {
		l.Fault("address", "the configuration's url is %s, and visitors were said to use %s: links and cookies are made for the former", w.URL, l.origin)
	}
	return true
}

// answer is what came back.
type answer struct {
	*http.Response
	body   []byte
	remote netip.Addr
	took   time.Duration
	at     time.Time
}

// get asks for an address with the headers given, as "Name: value".
func (l *look) get(ctx context.Context, to string, headers ...string) (*answer, error) {
	a := &answer{}
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(c httptrace.GotConnInfo) {
		if ap, err := netip.ParseAddrPort(c.Conn.RemoteAddr().String()); err == nil {
			a.remote = ap.Addr().Unmap()
		}
	}})
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, to, http.NoBody)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", "gatebook doctor")
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if req.Header.Set(name, value); name == "Host" {
			req.Host = value
		}
	}
	begun := time.Now()
	res, err := l.client.Do(req)
	if err != nil {
		if ue, ok := errors.AsType[*url.Error](err); ok {
			err = ue.Err
		}
		return nil, err
	}
	defer func() { _ = res.Body.Close() }() // it was read
	a.Response, a.at = res, time.Now()
	a.took = a.at.Sub(begun)
	if a.body, err = io.ReadAll(io.LimitReader(a.Body, maxBody)); err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	return a, nil
}

func (l *look) at(route string) string { return l.origin + l.base + route }

// reach finds the routes, or says what is there in their place.
func (l *look) reach(ctx context.Context) *answer {
	a, err := l.get(ctx, l.at("/csrf"))
	if err != nil {
		l.Fault("reach", "%s: %v", l.at("/csrf"), err)
		return nil
	}
	if _, ok := token(a); ok && a.StatusCode == http.StatusOK {
		l.OK("reach", "%s answers from %s in %d ms", l.at("/"), a.remote, a.took.Milliseconds())
		if a.remote.IsLoopback() || a.remote.IsPrivate() {
			l.Warn("reach", "%s is an address inside: visitors may come another way", a.remote)
		}
		return a
	}
	l.Fault("reach", "%s", l.instead(a))
	return nil
}

// instead says what an answer means that is not the one of the route.
func (l *look) instead(a *answer) string {
	at := l.at("/csrf")
	switch {
	case a.StatusCode >= 300 && a.StatusCode < 400:
		to := a.Header.Get("Location")
		if u, err := a.Location(); err == nil {
			to = u.Scheme + "://" + u.Host + u.Path
		}
		return fmt.Sprintf("%s redirects to %s: url must be the address that visitors end at", at, to)
	case strings.Contains(string(a.body), "problem with the server configuration"):
		return at + " is served, but not under this name: set url (Config.URL) to " + l.origin + "; the server's log has the name that arrived"
	case a.StatusCode == http.StatusBadRequest && strings.Contains(string(a.body), "Bad request."):
		return at + " answers 400: a proxy changes the path, or basePath is another; the server's log says which it wants"
	case a.StatusCode == http.StatusNotFound:
		return at + " does not exist: a proxy does not hand " + l.base + "/ on, or basePath is another"
	case a.StatusCode >= 502 && a.StatusCode <= 504:
		return fmt.Sprintf("%s answers %d: a proxy does not reach the server", at, a.StatusCode)
	case a.StatusCode == http.StatusUnauthorized || a.StatusCode == http.StatusForbidden:
		return fmt.Sprintf("%s answers %d: something in front wants a password or keeps us out", at, a.StatusCode)
	}
	return fmt.Sprintf("%s answers %d %s, which is none of ours", at, a.StatusCode, a.Header.Get("Content-Type"))
}

var tokenForm = regexp.MustCompile(`^[0-9a-f]{64}$`)

func token(a *answer) (string, bool) {
	var body struct{ CSRFToken string }
	if json.Unmarshal(a.body, &body) != nil {
		return "", false
	}
	return body.CSRFToken, tokenForm.MatchString(body.CSRFToken)
}

// transport looks at TLS and at what browsers are told of it.
func (l *look) transport(a *answer) {
	if !l.https {
		if host, _, _ := strings.Cut(l.host, ":"); host != "localhost" && !strings.HasSuffix(host, ".localhost") && !a.remote.IsLoopback() {
			l.Fault("tls", "%s is not https: cookies and links can be read on the way", l.origin)
		}
		return
	}
	if a.TLS == nil || len(a.TLS.PeerCertificates) == 0 {
		return // a transport of the caller's own
	}
	left := time.Until(a.TLS.PeerCertificates[0].NotAfter)
	if days := int(left.Hours() / 24); days < 14 {
		l.Warn("tls", "the certificate ends in %d days", days)
	} else {
		l.OK("tls", "%s, certificate good for %d days", tls.VersionName(a.TLS.Version), days)
	}
	hsts := a.Header.Get("Strict-Transport-Security")
	m := maxAge.FindStringSubmatch(hsts)
	switch {
	case hsts == "":
		l.Warn("hsts", "no Strict-Transport-Security: whoever types the name without https:// can be caught on the way; let the proxy send max-age=31536000")
	case m == nil || len(m[1]) < 6:
		l.Warn("hsts", "Strict-Transport-Security %q is for less than two days", hsts)
	default:
		l.OK("hsts", "%s", hsts)
	}
}

var maxAge = regexp.MustCompile(`(?i)max-age="?([0-9]+)`)

// clock compares the Date of an answer with the clock here.
func (l *look) clock(a *answer) {
	date, err := http.ParseTime(a.Header.Get("Date"))
	if err != nil {
		l.Warn("clock", "the answer has no Date")
		return
	}
	// Date is in whole seconds, from some moment while the answer was made.
	off := date.Sub(a.at).Round(time.Second)
	slack := a.took + time.Second
	switch {
	case off.Abs() > time.Minute+slack:
		l.Fault("clock", "the server's clock and this one are %s apart: tokens of providers are refused, or valid for too long", off.Abs())
	case off.Abs() > 10*time.Second+slack:
		l.Warn("clock", "the server's clock and this one are %s apart", off.Abs())
	default:
		l.OK("clock", "within %s of this one", (slack + off.Abs()).Truncate(time.Second))
	}
}

// caching looks for signs that an answer may be or was given to others.
func (l *look) caching(route string, a *answer) {
	if !strings.Contains(a.Header.Get("Cache-Control"), "no-store") {
		l.Fault("caching", "%s arrives with Cache-Control %q in place of no-store: a proxy changes it", l.at("/"+route), a.Header.Get("Cache-Control"))
	}
	hit := ""
	for _, name := range []string{"X-Cache", "Cf-Cache-Status", "X-Cache-Status", "X-Proxy-Cache"} {
		if v := a.Header.Get(name); strings.Contains(strings.ToUpper(v), "HIT") {
			hit = name + ": " + v
		}
	}
	if age := a.Header.Get("Age"); age != "" && age != "0" {
		hit = "Age: " + age
	}
	if hit != "" {
		l.Fault("caching", "%s comes from a cache (%s): visitors get each other's answers; take the caching of %s/ away", l.at("/"+route), hit, l.base)
	}
}

// wantSecure is the mode of cookies that the site should be in.
func (l *look) wantSecure() bool {
	if w := l.site.Want; w != nil && w.SecureCookies != nil {
		return *w.SecureCookies
	}
	return l.https
}

// cookies looks at the first cookies of a visitor, and whether the server gets
// them back as it gave them.
func (l *look) cookies(ctx context.Context, a *answer) {
	csrf, back := "authjs.csrf-token", "authjs.callback-url"
	if l.wantSecure() {
		csrf, back = "__Host-"+csrf, "__Secure-"+back
	}
	if w := l.site.Want; w != nil {
		csrf, back = or(w.CSRFCookie, csrf), or(w.CallbackCookie, back)
	}
	got := map[string]*http.Cookie{}
	var names []string
	for _, c := range a.Cookies() {
		got[c.Name] = c
		names = append(names, c.Name)
	}
	if len(got) == 0 {
		l.Fault("cookies", "none arrives: something on the way takes Set-Cookie away, and nobody can sign in")
		return
	}
	if got[csrf] == nil {
		why := ""
		if l.https && slices.Contains(names, "authjs.csrf-token") {
			why = ": the server takes the site for http; set url, or trustedProxies so that X-Forwarded-Proto counts"
		}
		l.Fault("cookies", "%s is missing; there are %s%s", csrf, strings.Join(names, ", "), why)
		return
	}
	bad := false
	for _, c := range got {
		if c.Secure != l.wantSecure() && c.SameSite != http.SameSiteNoneMode || !c.HttpOnly || c.SameSite == 0 {
			bad = true
			l.Fault("cookies", "%s does not arrive with the attributes it was sent with (Secure %t, HttpOnly %t): a proxy changes Set-Cookie", c.Name, c.Secure, c.HttpOnly)
		}
	}
	if c := got[back]; c != nil {
		if v, err := url.PathUnescape(c.Value); err == nil && v != l.origin {
			bad = true
			l.Fault("cookies", "the server takes the site for %s, and visitors use %s: set url", v, l.origin)
		}
	}
	if l.kept(ctx, a, csrf, got[csrf].Value) && !bad {
		l.OK("cookies", "%s, with Secure %t, HttpOnly, %s", strings.Join(names, ", "), l.wantSecure(), "and they come back as they were sent")
	}
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// kept asks a few times with the cookie: every server must know it again.
func (l *look) kept(ctx context.Context, first *answer, name, value string) bool {
	want, _ := token(first)
	const times = 4
	lost := 0
	for range times {
		a, err := l.get(ctx, l.at("/csrf"), "Cookie: "+name+"="+value)
		if err != nil {
			l.Fault("cookies", "ask again: %v", err)
			return false
		}
		if got, _ := token(a); got != want {
			lost++
		}
	}
	switch {
	case lost == times:
		l.Fault("cookies", "the server does not know its own cookie again: something on the way drops the Cookie header, or a cache answers")
	case lost > 0:
		l.Fault("cookies", "%d of %d times the cookie was not known again: servers behind the balancer have different secrets", lost, times)
	}
	return lost == 0
}

// providers compares the links that the server makes with the address that was
// asked, and its ways to sign in with the configured ones.
func (l *look) providers(ctx context.Context) {
	a, err := l.get(ctx, l.at("/providers"))
	var list map[string]struct{ ID, Type, SigninURL, CallbackURL string }
	if err != nil || json.Unmarshal(a.body, &list) != nil || len(list) == 0 {
		l.Fault("providers", "%s is not the list of providers", l.at("/providers"))
		return
	}
	ids := slices.Sorted(maps.Keys(list))
	l.links(ids, func(id string) (kind, signIn, callback string) {
		p := list[id]
		return p.Type, p.SigninURL, p.CallbackURL
	})
	if w := l.site.Want; w != nil {
		want := slices.Sorted(slices.Values(w.Providers))
		if !slices.Equal(ids, want) {
			l.Fault("providers", "the site has %s, the configuration %s: the server runs with another one", strings.Join(ids, ", "), strings.Join(want, ", "))
			return
		}
	}
	l.OK("providers", "%s", strings.Join(ids, ", "))
}

// links compares what leads to and from providers with the address that was
// asked.
func (l *look) links(ids []string, of func(id string) (kind, signIn, callback string)) {
	for _, id := range ids {
		_, signIn, callback := of(id)
		for link, want := range map[string]string{signIn: l.at("/signin/" + id), callback: l.at("/callback/" + id)} {
			if link != want {
				l.Fault("links", "%s leads to %s in place of %s: set url (Config.URL) and basePath to what visitors use", id, link, want)
				return
			}
		}
	}
	for _, id := range ids {
		if kind, _, callback := of(id); kind == "oidc" || kind == "oauth" {
			l.OK("links", "the redirect URI to be registered at %s is %s", id, callback)
		}
	}
}

// session looks at the answer that must never be somebody else's.
func (l *look) session(ctx context.Context) {
	a, err := l.get(ctx, l.at("/session"))
	if err != nil {
		l.Fault("session", "%v", err)
		return
	}
	if string(a.body) != "null" {
		l.Fault("session", "asked without a cookie, %s answers %d and not null: a cache gives out somebody's session", l.at("/session"), a.StatusCode)
		return
	}
	l.caching("session", a)
	l.OK("session", "nobody is signed in without a cookie")
}

// page looks at where signing in begins.
func (l *look) page(ctx context.Context) {
	a, err := l.get(ctx, l.at("/signin"))
	switch {
	case err != nil:
		l.Fault("page", "%v", err)
	case a.StatusCode == http.StatusFound:
		to, err := a.Location()
		if err != nil || to.Scheme+"://"+to.Host != l.origin {
			l.Fault("page", "%s redirects to another site", l.at("/signin"))
			return
		}
		l.OK("page", "%s leads to %s", l.at("/signin"), to.Path)
	case a.StatusCode != http.StatusOK:
		l.Fault("page", "%s answers %d", l.at("/signin"), a.StatusCode)
	case a.Header.Get("Content-Security-Policy") == "":
		l.Fault("page", "%s arrives without its Content-Security-Policy: a proxy takes it away", l.at("/signin"))
	default:
		l.OK("page", "%s", l.at("/signin"))
	}
}

// strangers asks as somebody who wants links to lead elsewhere.
func (l *look) strangers(ctx context.Context) {
	for _, try := range []struct {
		headers []string
		what    string
	}{
		{[]string{"X-Forwarded-Host: " + stranger, "Forwarded: host=" + stranger}, "X-Forwarded-Host of anybody: magic links can be made to lead elsewhere; set url, and let the proxy replace the header"},
		{[]string{"Host: " + stranger}, "the Host header of anybody: magic links can be made to lead elsewhere; set url, or let the proxy refuse unknown names"},
		{[]string{"X-Forwarded-Proto: " + map[bool]string{true: "http", false: "https"}[l.https]}, "X-Forwarded-Proto of anybody; let the proxy replace the header"},
	} {
		a, err := l.get(ctx, l.at("/providers"), try.headers...)
		if err != nil {
			continue // refused on the way, as it should be
		}
		if text := string(a.body); strings.Contains(text, `"signinUrl":"`) && !strings.Contains(text, `"signinUrl":"`+l.at("/signin/")) {
			l.Fault("strangers", "the site believes %s", try.what)
			return
		}
	}
	l.OK("strangers", "the site does not believe what visitors say of its name")
}

// cors asks as a script of a stranger, and of each front end that is trusted.
func (l *look) cors(ctx context.Context) {
	allowed := func(origin string) (string, bool) {
		a, err := l.get(ctx, l.at("/csrf"), "Origin: "+origin)
		if err != nil {
			return "", false
		}
		return a.Header.Get("Access-Control-Allow-Origin"), a.Header.Get("Access-Control-Allow-Credentials") == "true"
	}
	if origin, credentials := allowed("https://" + stranger); credentials || origin == "https://"+stranger {
		l.Fault("cors", "scripts of any site may read what is the visitor's: a proxy adds Access-Control-Allow-Origin; take that away")
		return
	}
	if l.site.Want == nil {
		return
	}
	for _, origin := range l.site.Want.TrustedOrigins {
		if got, credentials := allowed(origin); got != origin || !credentials {
			l.Fault("cors", "scripts of %s may not read the answers, though it is in trustedOrigins: a proxy takes the headers away, or the server runs with another configuration", origin)
			continue
		}
		l.OK("cors", "%s may use the routes", origin)
	}
}

// plain asks the same name without TLS.
func (l *look) plain(ctx context.Context) {
	if !l.https || strings.Contains(strings.TrimPrefix(l.host, "["), ":") {
		return // on a port of its own there is no other
	}
	to := "http://" + l.host + l.base + "/csrf"
	a, err := l.get(ctx, to)
	if err != nil {
		l.OK("http", "nothing answers at http://%s", l.host)
		return
	}
	switch u, err := a.Location(); {
	case a.StatusCode < 400 && err == nil && u.Scheme == "https" && strings.EqualFold(u.Host, l.host):
		l.OK("http", "http://%s leads to https", l.host)
	case a.StatusCode < 400 && err == nil && u.Scheme == "https":
		l.Warn("http", "http://%s leads to https://%s, another name", l.host, u.Host)
	case a.StatusCode == http.StatusOK && len(a.Cookies()) > 0:
		l.Fault("http", "http://%s serves the routes too: cookies and links can be read on the way; redirect it to https", l.host)
	default:
		l.Warn("http", "http://%s answers %d and does not lead to https", l.host, a.StatusCode)
	}
}
