package gatebook

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"

	"github.com/gatebook/gatebook/internal/redirect"
)

// fillOrigins checks the addresses of others that we deal with.
func (c *Config) fillOrigins() error {
	for i, s := range c.TrustedOrigins {
		origin, err := c.checkOrigin(s)
		if err != nil {
			return fmt.Errorf("gatebook: Config.TrustedOrigins[%d]: %w", i, err)
		}
		c.TrustedOrigins[i] = origin
	}
	return c.fillProxy()
}

// checkOrigin returns an origin of ours elsewhere as browsers write it.
func (c *Config) checkOrigin(s string) (string, error) {
	origin, path, err := redirect.ParseBase(s)
	switch {
	case err != nil:
		return "", err // which does not repeat the address: it may hold a password
	case path != "" || strings.HasSuffix(s, "/"):
		return "", fmt.Errorf("%q must be an origin, %q, without a path", s, origin)
	case strings.HasPrefix(origin, "http:") && !loopback(origin) && !strings.HasPrefix(strings.ToLower(c.URL), "http:"):
		return "", fmt.Errorf("%q is not https: anybody on the way could act there", s)
	}
	return origin, nil
}

// fillProxy checks what concerns the redirect proxy.
func (c *Config) fillProxy() error {
	if c.RedirectProxyURL == "" {
		c.RedirectProxyURL = os.Getenv("AUTH_REDIRECT_PROXY_URL")
	}
	if c.RedirectProxyURL == "" {
		if len(c.RedirectProxyOrigins) > 0 {
			return errors.New("gatebook: Config.RedirectProxyOrigins is for the redirect proxy, which has Config.RedirectProxyURL set too")
		}
		return nil
	}
	origin, path, err := redirect.ParseBase(c.RedirectProxyURL)
	switch {
	case err != nil:
		return fmt.Errorf("gatebook: Config.RedirectProxyURL: %w", err)
	case strings.HasPrefix(origin, "http:") && !loopback(origin):
		return errors.New("gatebook: Config.RedirectProxyURL must be an https address: providers send codes there")
	case c.URL == "":
		// Whoever chooses the Host header would choose where the proxy sends
		// other people's codes.
		return errors.New("gatebook: Config.RedirectProxyURL needs Config.URL (or AUTH_URL), the address of this deployment")
	}
	c.RedirectProxyURL = origin + path
	for i, s := range c.RedirectProxyOrigins {
		plain, wildcard := strings.CutPrefix(s, "https://*.")
		if wildcard {
			s = "https://" + plain
		}
		origin, err := c.checkOrigin(s)
		if err == nil && wildcard && !strings.Contains(plain, ".") {
			err = errors.New("the star must stand for one label below a domain, as in https://*.preview.example.com")
		}
		if err != nil {
			return fmt.Errorf("gatebook: Config.RedirectProxyOrigins[%d]: %w", i, err)
		}
		if wildcard {
			origin = strings.Replace(origin, "https://", "https://*.", 1)
		}
		c.RedirectProxyOrigins[i] = origin
	}
	return nil
}

// What front ends elsewhere may send us (Fetch Standard, CORS protocol).
const (
	allowMethods = "GET, HEAD, OPTIONS, POST"
	allowHeaders = "Authorization, Content-Type, X-Auth-Return-Redirect"
	// preflightAge is how many seconds browsers need not ask again.
	preflightAge = "600"
)

// cors lets scripts of trusted origins use our routes with the visitor's
// cookies. To all others it says nothing, and their browsers keep the answer
// from them.
func (a *Auth) cors(w http.ResponseWriter, r *http.Request) {
	if len(a.trusted) == 0 {
		return
	}
	h := w.Header()
	h.Add("Vary", "Origin")
	origin := r.Header.Get("Origin")
	if !slices.Contains(a.trusted, origin) {
		return
	}
	h.Set("Access-Control-Allow-Origin", origin)
	h.Set("Access-Control-Allow-Credentials", "true")
	if r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "" {
		h.Set("Access-Control-Allow-Methods", allowMethods)
		h.Set("Access-Control-Allow-Headers", allowHeaders)
		h.Set("Access-Control-Max-Age", preflightAge)
	}
}

// foreign reports whether a browser says that the request was begun by a site
// that is neither ours nor trusted. What is no browser says nothing, and then
// the CSRF token alone decides.
func (x *exchange) foreign() bool {
	origin := x.r.Header.Get("Origin")
	if origin == x.origin || slices.Contains(x.a.trusted, origin) {
		return false
	}
	// The browser compares with the address that it used, whatever proxies made
	// of that. It sends this to https and loopback only.
	switch x.r.Header.Get("Sec-Fetch-Site") {
	case "same-origin", "none":
		return false
	case "":
		return origin != ""
	}
	return true
}

// whyCSRF says what is wrong with a POST that was not csrfOK.
func (x *exchange) whyCSRF() string {
	switch {
	case x.foreign():
		return "forbidden"
	case x.form["csrfToken"] == "" || x.csrfCookie != "":
		return "missing"
	}
	return "mismatch"
}
