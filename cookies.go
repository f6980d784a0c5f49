package gatebook

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"

	"github.com/gatebook/gatebook/internal/cookie"
	"github.com/gatebook/gatebook/internal/redirect"
)

// Cookies change the names and attributes of our cookies (Auth.js: cookies).
// What is left out stays as it is: the names below, "__Secure-" before them in
// secure mode ("__Host-" before that of the CSRF token), Path=/, HttpOnly,
// SameSite=Lax, and Secure in secure mode. HttpOnly cannot be taken away.
type Cookies struct {
	SessionToken      CookieConfig // authjs.session-token
	CallbackURL       CookieConfig // authjs.callback-url
	CSRFToken         CookieConfig // authjs.csrf-token
	State             CookieConfig // authjs.state
	PKCECodeVerifier  CookieConfig // authjs.pkce.code_verifier
	Nonce             CookieConfig // authjs.nonce
	WebAuthnChallenge CookieConfig // authjs.challenge
}

// CookieConfig changes one cookie.
type CookieConfig struct {
	// Name is the whole name, with whatever prefix it is to have, in secure mode
	// and out of it; at most 100 letters, digits and other characters of names.
	// Encrypted cookies are sealed for their name, so a program that shares the
	// session must use the same one. If empty, the usual name.
	Name string
	// Path is "/" or a folder in which the base path lies. If empty, "/".
	Path string
	// SameSite is Lax, Strict or None. If empty, Lax. None lets other sites send
	// the cookie, and makes it Secure; Strict is not for the cookies that must
	// come back with the visitor from a provider.
	SameSite string
}

// cookieKind is one of our cookies.
type cookieKind int

const (
	sessionCookie cookieKind = iota
	callbackCookie
	csrfCookie
	stateCookie
	pkceCookie
	nonceCookie
	challengeCookie
	cookieKinds
)

// cookieNames are the names without the prefix of secure mode.
var cookieNames = [cookieKinds]string{
	sessionCookie:   "authjs.session-token",
	callbackCookie:  "authjs.callback-url",
	csrfCookie:      "authjs.csrf-token",
	stateCookie:     "authjs.state",
	pkceCookie:      "authjs.pkce.code_verifier",
	nonceCookie:     "authjs.nonce",
	challengeCookie: "authjs.challenge",
}

// cookieSpec is how a cookie is named and set in one mode.
type cookieSpec struct {
	name, domain, path, sameSite string
	secure                       bool
}

// cookieSet is all of them, in secure mode or out of it.
type cookieSet [cookieKinds]cookieSpec

// cookieSets returns the cookies without and with secure mode, or what is wrong
// with their configuration.
func (c *Config) cookieSets() (plain, secure *cookieSet, err error) {
	domain, err := c.cookieDomain()
	if err != nil {
		return nil, nil, err
	}
	if plain, err = c.cookieSet(false, domain); err != nil {
		return nil, nil, err
	}
	if secure, err = c.cookieSet(true, domain); err != nil {
		return nil, nil, err
	}
	switch fixed := c.UseSecureCookies; {
	case fixed != nil && *fixed:
		plain = secure
	case fixed != nil:
		secure = plain
	}
	return plain, secure, nil
}

func (c *Config) cookieSet(secure bool, domain string) (*cookieSet, error) {
	var set cookieSet
	fields := [cookieKinds]struct {
		name string
		CookieConfig
	}{
		sessionCookie:   {"SessionToken", c.Cookies.SessionToken},
		callbackCookie:  {"CallbackURL", c.Cookies.CallbackURL},
		csrfCookie:      {"CSRFToken", c.Cookies.CSRFToken},
		stateCookie:     {"State", c.Cookies.State},
		pkceCookie:      {"PKCECodeVerifier", c.Cookies.PKCECodeVerifier},
		nonceCookie:     {"Nonce", c.Cookies.Nonce},
		challengeCookie: {"WebAuthnChallenge", c.Cookies.WebAuthnChallenge},
	}
	for kind := range cookieKinds {
		f := fields[kind]
		s := cookieSpec{name: cookieNames[kind], path: "/", sameSite: "Lax", secure: secure}
		if secure {
			s.name = "__Secure-" + s.name
			if kind == csrfCookie {
				s.name = "__Host-" + cookieNames[kind]
			}
		}
		if kind == sessionCookie || kind == callbackCookie {
			s.domain = domain
		}
		if err := c.override(&s, f.CookieConfig, kind, f.name); err != nil {
			return nil, err
		}
		for other := range kind {
			if set[other].name == s.name {
				return nil, fmt.Errorf("gatebook: Config.Cookies.%s.Name %q is the name of another cookie too", f.name, s.name)
			}
		}
		if kind != sessionCookie && cookie.IsChunk(s.name, set[sessionCookie].name) {
			return nil, fmt.Errorf("gatebook: Config.Cookies.%s.Name %q is the name of a part of the session cookie", f.name, s.name)
		}
		set[kind] = s
	}
	return &set, nil
}

var cookieName = regexp.MustCompile("^[A-Za-z0-9!#$&'*+.^_`|~-]{1,100}$")

// override puts the configuration of the cookie in a field over its defaults.
func (c *Config) override(s *cookieSpec, o CookieConfig, kind cookieKind, field string) error {
	switch o.SameSite {
	case "":
	case "Lax", "Strict", "None":
		s.sameSite = o.SameSite
	default:
		return cookieError(field, "SameSite %q is none of Lax, Strict, None", o.SameSite)
	}
	if s.sameSite == "Strict" && (kind == stateCookie || kind == pkceCookie || kind == nonceCookie) {
		return cookieError(field, "SameSite Strict keeps the cookie back when the visitor comes back from the provider")
	}
	s.secure = s.secure || s.sameSite == "None" // browsers refuse None without
	if o.Path != "" {
		if o.Path != "/" && !strings.HasPrefix(c.BasePath+"/", strings.TrimRight(o.Path, "/")+"/") || strings.ContainsAny(o.Path, ";,\r\n ") {
			return cookieError(field, "Path %q must be / or a folder that the base path %q lies in", o.Path, c.BasePath)
		}
		s.path = o.Path
	}
	if o.Name != "" {
		if !cookieName.MatchString(o.Name) {
			return cookieError(field, "Name %q must be 1 to 100 characters that names of cookies may have", o.Name)
		}
		s.name = o.Name
	}
	return c.checkPrefix(s, o, field)
}

func cookieError(field, format string, args ...any) error {
	return fmt.Errorf("gatebook: Config.Cookies.%s.%s", field, fmt.Sprintf(format, args...))
}

// checkPrefix refuses what browsers refuse of cookies with these prefixes, in
// whichever case (RFC 6265bis, Section 5.4).
func (c *Config) checkPrefix(s *cookieSpec, o CookieConfig, field string) error {
	name := strings.ToLower(s.name)
	host := strings.HasPrefix(name, "__host-")
	switch {
	case host && s.path != "/":
		return cookieError(field, "Path %q: %s begins with __Host-, which needs the path /", s.path, s.name)
	case host && s.domain != "":
		return cookieError(field, "Name %q begins with __Host-, which no cookie of Config.CookieDomain can", s.name)
	case o.Name != "" && !s.secure && c.mayBePlain() && (host || strings.HasPrefix(name, "__secure-")):
		return cookieError(field, "Name %q needs secure cookies: set Config.URL to an https address, or UseSecureCookies", s.name)
	}
	return nil
}

// mayBePlain reports whether some request can find the site out of secure mode.
func (c *Config) mayBePlain() bool {
	if c.UseSecureCookies != nil {
		return !*c.UseSecureCookies
	}
	return !strings.HasPrefix(strings.ToLower(c.URL), "https:")
}

// cookieDomain checks Config.CookieDomain and returns it as it is to be set.
func (c *Config) cookieDomain() (string, error) {
	if c.CookieDomain == "" {
		return "", nil
	}
	domain := strings.ToLower(strings.TrimPrefix(c.CookieDomain, "."))
	fail := func(why string) (string, error) {
		return "", fmt.Errorf("gatebook: Config.CookieDomain %q %s", c.CookieDomain, why)
	}
	if c.URL == "" {
		return fail("needs Config.URL, whose host must be in it")
	}
	origin, _, err := redirect.ParseBase(c.URL)
	if err != nil {
		return fail("needs Config.URL")
	}
	as, err := redirect.Origin("https://" + domain)
	_, ip := netip.ParseAddr(domain)
	switch {
	case err != nil || as != "https://"+domain || ip == nil || strings.HasPrefix(domain, "[") || strings.HasSuffix(domain, "."):
		return fail("must be a name, such as example.com")
	case !strings.Contains(domain, "."):
		return fail("is a whole top-level domain, for which browsers keep no cookies")
	}
	if host := hostname(origin); host != domain && !strings.HasSuffix(host, "."+domain) {
		return fail("must be the host of Config.URL or a domain that it is in")
	}
	return domain, nil
}

// cookieName returns the name of a cookie for this visit.
func (v *visit) cookieName(kind cookieKind) string { return v.cookies[kind].name }

// add queues a cookie with the attributes of its kind; its name may be that of a
// chunk.
func (v *visit) add(kind cookieKind, c cookie.Cookie) {
	s := &v.cookies[kind]
	c.HTTPOnly, c.Path, c.Domain = true, s.path, s.domain
	if c.SameSite == "" {
		c.SameSite = s.sameSite
	}
	// Browsers keep a cookie for cross-site requests only when it is Secure; on
	// http they do so for loopback.
	c.Secure = s.secure || c.SameSite == "None"
	v.queue(c)
}

func (v *visit) queue(c cookie.Cookie) {
	for i := range v.set {
		if v.set[i].Name == c.Name && v.set[i].Domain == c.Domain {
			v.set[i] = c
			return
		}
	}
	v.set = append(v.set, c)
}

// clear queues the removal of a cookie, which may be a chunk.
func (v *visit) clear(kind cookieKind, name string) {
	v.add(kind, cookie.Cookie{Name: name, HasMaxAge: true})
}

// clearHostOnly queues the removal of a session cookie that was set before
// Config.CookieDomain was: browsers send both, the older one first, so that it
// would bring an ended session back. It comes before the cookie of the domain,
// for some clients take the two for one when the domain is the host.
func (v *visit) clearHostOnly(names []string) {
	s := &v.cookies[sessionCookie]
	if s.domain == "" {
		return
	}
	for _, name := range names {
		v.queue(cookie.Cookie{Name: name, HasMaxAge: true, HTTPOnly: true, Path: s.path, SameSite: s.sameSite, Secure: s.secure})
	}
}
