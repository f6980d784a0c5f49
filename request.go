package gatebook

import (
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/gatebook/gatebook/internal/cookie"
	"github.com/gatebook/gatebook/internal/redirect"
)

// newID returns a UUID version 7: unique, and in the order of time within a
// process.
func newID() string { return uuid.Must(uuid.NewV7()).String() }

// cut cuts t to what databases and the wire keep.
func cut(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }

// visit is what the wire knows of a request.
type visit struct {
	r *http.Request
	// origin is scheme://host[:port] of the site as the visitor knows it.
	origin string
	// cookies are how ours are named and set for this visit.
	cookies *cookieSet
	jar     cookie.Jar
	now     time.Time
	route   string
	info    RequestInfo
	set     []cookie.Cookie  // to be sent, in order
	room    [1]cookie.Cookie // most answers set one
	own     bool             // the application acts, not the visitor

	// What the cookies of the session hold and which they are, once asked.
	session      string
	sessionNames []string
	sessionRead  bool
}

// sessionChunks returns the value of the session cookie and the names of the
// cookies that it came in.
func (v *visit) sessionChunks() (value string, names []string) {
	if !v.sessionRead {
		v.session, v.sessionNames = v.jar.Chunks(v.cookieName(sessionCookie))
		v.sessionRead = true
	}
	return v.session, v.sessionNames
}

// visit reads what every request needs. It reports false when the host is none
// that the configuration trusts.
func (a *Auth) visit(r *http.Request, route string) (*visit, bool) {
	v := &visit{r: r, now: cut(a.now()), route: route, jar: cookie.Parse(r.Header["Cookie"])}
	trusted := true
	if a.origin != "" {
		v.origin = a.origin
	} else {
		v.origin, trusted = a.requestOrigin(r)
	}
	if v.cookies = a.plain; strings.HasPrefix(v.origin, "https:") {
		v.cookies = a.secure
	}
	v.set = v.room[:0]
	return v, trusted
}

// requestOrigin derives the site's origin from the request, which only a
// trusted proxy, a trusted Host or loopback may tell.
func (a *Auth) requestOrigin(r *http.Request) (string, bool) {
	scheme, host := "http", r.Host
	if r.TLS != nil {
		scheme = "https"
	}
	if len(a.proxies) > 0 && a.trusts(peer(r)) {
		if p := lastField(r.Header, "X-Forwarded-Proto"); p == "https" || p == "http" {
			scheme = p
		}
		if h := lastField(r.Header, "X-Forwarded-Host"); h != "" {
			host = h
		}
	}
	origin, err := redirect.Origin(scheme + "://" + host)
	if err != nil {
		return "", false
	}
	return origin, a.trustHost || loopback(origin)
}

func loopback(origin string) bool {
	host := hostname(origin)
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && ip.IsLoopback()
}

// hostname returns the host of an origin, without port; IPv6 in its brackets.
func hostname(origin string) string {
	_, host, _ := strings.Cut(origin, "://")
	if i := strings.LastIndexByte(host, ':'); i > 0 && !strings.HasSuffix(host, "]") {
		host = host[:i]
	}
	return host
}

// lastField returns the last element of a list header: the one that the proxy
// next to us wrote.
func lastField(h http.Header, name string) string {
	v := h[name]
	if len(v) == 0 {
		return ""
	}
	s := v[len(v)-1]
	if i := strings.LastIndexByte(s, ','); i >= 0 {
		s = s[i+1:]
	}
	return strings.TrimSpace(s)
}

func peer(r *http.Request) netip.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap()
}

func (a *Auth) trusts(ip netip.Addr) bool {
	for _, p := range a.proxies {
		if p.Contains(ip) {
			return true
		}
	}
	return false
}

// clientIP returns the client's address and where it was taken from: the
// connection, or, when that is a trusted proxy, the last address of
// X-Forwarded-For that is none. A header from anybody else is not looked at.
func (a *Auth) clientIP(r *http.Request) (netip.Addr, string) {
	ip := peer(r)
	if len(a.proxies) == 0 || !a.trusts(ip) {
		return ip, "connection"
	}
	source := "connection"
	list := strings.Join(r.Header["X-Forwarded-For"], ",")
	for range 32 {
		i := strings.LastIndexByte(list, ',')
		hop, ok := parseHop(strings.TrimSpace(list[i+1:]))
		if !ok {
			break
		}
		ip, source = hop, "X-Forwarded-For"
		if i < 0 || !a.trusts(hop) {
			break
		}
		list = list[:i]
	}
	return ip, source
}

// parseHop reads an address of X-Forwarded-For, to which some proxies add a port.
func parseHop(s string) (netip.Addr, bool) {
	ip, err := netip.ParseAddr(s)
	if err != nil {
		ap, err := netip.ParseAddrPort(s)
		if err != nil {
			return netip.Addr{}, false
		}
		ip = ap.Addr()
	}
	return ip.Unmap().WithZone(""), true
}

// request returns what events tell of the request; it is made when the first
// event of a visit is.
func (a *Auth) request(v *visit) RequestInfo {
	if v.own && v.r.RemoteAddr == "" {
		return RequestInfo{} // there is none
	}
	if v.info.IPSource == "" {
		r := v.r
		ip, source := a.clientIP(r)
		v.info = RequestInfo{IP: ip, IPSource: source, UserAgent: r.UserAgent(), Method: r.Method,
			Route: v.route, Origin: r.Header.Get("Origin")}
	}
	return v.info
}

// maxUserAgent is how many bytes of a browser's name are kept with a session.
const maxUserAgent = 256

// userAgent returns what the browser calls itself, cut to what is kept.
func userAgent(r *http.Request) string {
	s := strings.ToValidUTF8(r.UserAgent(), "\uFFFD")
	if len(s) <= maxUserAgent {
		return s
	}
	return strings.ToValidUTF8(s[:maxUserAgent], "")
}
