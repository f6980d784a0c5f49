package redirect

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// CheckNative reports why raw cannot be a redirect URI of a native client (RFC
// 8252, Section 7). It may be an https URL that the client's system gives to it
// alone, a URL with a scheme of the client's own, which must have a dot in it, or
// http on a loopback address, without a port. The error matches ErrURL.
func CheckNative(raw string) error {
	if len(raw) > 512 || strings.ContainsFunc(raw, func(r rune) bool { return r <= ' ' || r > '~' }) || strings.ContainsAny(raw, `\#`) {
		return fmt.Errorf("%w: it must be at most 512 printable ASCII characters, without fragment and backslash", ErrURL)
	}
	u, err := url.Parse(raw)
	if err != nil || u.User != nil {
		return fmt.Errorf("%w: it cannot be parsed, or names a user", ErrURL)
	}
	switch u.Scheme {
	case "https":
		_, err := Origin(raw)
		return err
	case "http":
		ip, err := netip.ParseAddr(strings.Trim(u.Host, "[]"))
		if err != nil || !ip.IsLoopback() {
			return fmt.Errorf("%w: http is for 127.0.0.1 and [::1] only, named without a port: any port is then allowed", ErrURL)
		}
		return nil
	}
	if !strings.Contains(u.Scheme, ".") {
		return fmt.Errorf("%w: a scheme of one's own is a domain backwards, such as com.example.app, so that nobody else has it", ErrURL)
	}
	return nil
}

// Native reports whether raw is one of the allowed redirect URIs, which
// CheckNative accepted: the same, or, on a loopback address, the same but for its
// port (RFC 8252, Section 7.3).
func Native(raw string, allowed []string) bool {
	if slices.Contains(allowed, raw) {
		return true
	}
	rest, ok := strings.CutPrefix(raw, "http://")
	if !ok {
		return false
	}
	end := strings.IndexAny(rest, "/?")
	if end < 0 {
		end = len(rest)
	}
	i := strings.LastIndexByte(rest[:end], ':')
	if i < 0 || !isPort(rest[i+1:end]) {
		return false
	}
	// Without its port it is an address that was allowed only when that is one of
	// loopback: CheckNative takes http for no other.
	return slices.Contains(allowed, "http://"+rest[:i]+rest[end:])
}

// NativeName is what people know a client by at its redirect URI, which
// CheckNative accepted: its host, or the scheme of its own. A loopback address
// has none.
func NativeName(raw string) string {
	scheme, rest, _ := strings.Cut(raw, ":")
	switch scheme {
	case "http":
		return ""
	case "https":
		rest = strings.TrimPrefix(rest, "//")
		if i := strings.IndexAny(rest, "/?"); i >= 0 {
			rest = rest[:i]
		}
		return rest
	}
	return scheme
}
