// Package redirect decides where a visitor may be sent after signing in or out,
// and normalizes the origins that such decisions rest on.
//
// A callback URL comes from the visitor's link, form or cookie, and browsers read
// more into a URL than net/url does: they drop tabs and line ends, take \ for /,
// and "https:evil" for a host. [Resolve] accepts only what every reader takes for
// the same place, and always answers with an absolute URL.
package redirect

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// ErrURL is returned, wrapped with what is wrong, for a base URL or origin that
// cannot be one. The message does not repeat the URL, which may hold a password.
var ErrURL = errors.New("redirect: invalid URL")

// Resolve returns the absolute URL that raw, a callback URL from outside, stands
// for, and whether a visitor may be sent there. The origin and the trusted
// origins must be as [Origin] returns them.
//
// A path must begin with a single slash and is put after origin. An absolute URL
// must have the scheme http or https, no user-info, and one of the origins; it is
// returned unchanged. Either way bytes outside of ASCII are percent-encoded, so
// that the result can stand in a header, and resolving it again changes nothing.
// Text with control characters, with a backslash before the query, or with any
// other beginning is refused, even where a browser would find our origin in it.
func Resolve(raw, origin string, trusted []string) (string, bool) {
	head := raw
	if i := strings.IndexAny(raw, "?#"); i >= 0 {
		head = raw[:i]
	}
	if strings.IndexByte(head, '\\') >= 0 || strings.ContainsFunc(raw, isControl) {
		return "", false
	}
	if strings.HasPrefix(raw, "/") {
		if strings.HasPrefix(raw, "//") {
			return "", false
		}
		return origin + escapeNonASCII(raw), true
	}
	scheme, rest, ok := strings.Cut(head, "://")
	if !ok {
		return "", false
	}
	authority, _, _ := strings.Cut(rest, "/")
	got, err := makeOrigin(scheme, authority)
	if err != nil || got != origin && !slices.Contains(trusted, got) {
		return "", false
	}
	return escapeNonASCII(raw), true
}

// Origin returns the origin of rawURL as browsers write it (RFC 6454, Section
// 6.2): scheme://host[:port] in lower case, without a default port. Whatever
// follows the host is ignored. The scheme must be http or https, and the host an
// IP address or a name of ASCII letters, digits, hyphens, underscores and dots:
// an international name in its xn-- form. The error matches ErrURL.
func Origin(rawURL string) (string, error) {
	scheme, rest, ok := strings.Cut(rawURL, "://")
	if !ok {
		return "", fmt.Errorf("%w: it must begin with http:// or https://", ErrURL)
	}
	if i := strings.IndexAny(rest, `/?#\`); i >= 0 {
		rest = rest[:i]
	}
	return makeOrigin(scheme, rest)
}

// ParseBase returns the origin and the path of the URL an application is reached
// at. The path is percent-encoded and has no slash at its end; it is empty for
// the root. Besides what Origin refuses, a query, a fragment and a path with a
// backslash or with empty or dot segments are errors, which match ErrURL.
func ParseBase(rawURL string) (origin, path string, err error) {
	if origin, err = Origin(rawURL); err != nil {
		return "", "", err
	}
	u, err := url.Parse(rawURL)
	if err != nil {
		return "", "", fmt.Errorf("%w: it cannot be parsed", ErrURL)
	}
	if strings.ContainsAny(rawURL, "?#") {
		return "", "", fmt.Errorf("%w: it must not have a query or fragment", ErrURL)
	}
	path = strings.TrimSuffix(u.EscapedPath(), "/")
	if path == "" {
		return origin, "", nil
	}
	for _, segment := range strings.Split(path[1:], "/") {
		// Browsers take %2e for a dot.
		segment = strings.ReplaceAll(strings.ToLower(segment), "%2e", ".")
		if segment == "" || segment == "." || segment == ".." {
			return "", "", fmt.Errorf("%w: its path has an empty or dot segment", ErrURL)
		}
		if strings.Contains(segment, "%5c") {
			return "", "", fmt.Errorf("%w: its path has a backslash", ErrURL)
		}
	}
	return origin, path, nil
}

// makeOrigin checks and normalizes the two parts of an origin.
func makeOrigin(scheme, authority string) (string, error) {
	scheme = strings.ToLower(scheme)
	defaultPort := ""
	switch scheme {
	case "http":
		defaultPort = "80"
	case "https":
		defaultPort = "443"
	default:
		return "", fmt.Errorf("%w: it must begin with http:// or https://", ErrURL)
	}
	if strings.Contains(authority, "@") {
		return "", fmt.Errorf("%w: it must not have a user name or password", ErrURL)
	}
	host, port := authority, ""
	// The colons of an IPv6 address are inside of brackets.
	if i := strings.LastIndexByte(authority, ':'); i > strings.LastIndexByte(authority, ']') {
		host, port = authority[:i], authority[i+1:]
		if !isPort(port) {
			return "", fmt.Errorf("%w: its port must be a number from 1 to 65535", ErrURL)
		}
	}
	host, err := normalizeHost(host)
	if err != nil {
		return "", err
	}
	if port == "" || port == defaultPort {
		return scheme + "://" + host, nil
	}
	return scheme + "://" + host + ":" + port, nil
}

// isPort wants the one spelling of a port: "0443" is the default port to a
// browser, and another string to us.
func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0 && s == strconv.FormatUint(n, 10)
}

func normalizeHost(host string) (string, error) {
	if inner, ok := strings.CutPrefix(host, "["); ok {
		inner, ok = strings.CutSuffix(inner, "]")
		ip, err := netip.ParseAddr(inner)
		if !ok || err != nil || !ip.Is6() || ip.Zone() != "" || ip.Is4In6() {
			return "", fmt.Errorf("%w: its host is not an IPv6 address in brackets", ErrURL)
		}
		return "[" + ip.String() + "]", nil
	}
	if host == "" || len(host) > 253 || host[0] == '.' || strings.Contains(host, "..") {
		return "", fmt.Errorf("%w: its host is missing or not a name", ErrURL)
	}
	// Before ToLower, which makes an ASCII k of the Kelvin sign.
	for _, c := range []byte(host) {
		if !isHostByte(c) {
			return "", fmt.Errorf("%w: its host has a character that names do not have", ErrURL)
		}
	}
	host = strings.ToLower(host)
	// To a browser a name whose last label is a number is an IPv4 address in one
	// of many spellings (WHATWG URL Standard, "ends in a number"): take only the
	// usual one.
	label := host[strings.LastIndexByte(strings.TrimSuffix(host, "."), '.')+1:]
	if '0' <= label[0] && label[0] <= '9' && endsInNumber(strings.TrimSuffix(label, ".")) {
		if _, err := netip.ParseAddr(host); err != nil {
			return "", fmt.Errorf("%w: its host is not an IPv4 address", ErrURL)
		}
	}
	return host, nil
}

func endsInNumber(label string) bool {
	if hex, ok := strings.CutPrefix(label, "0x"); ok {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return strings.Trim(label, "0123456789") == ""
}

func isHostByte(c byte) bool {
	return 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '_' || c == '.'
}

// isControl reports C0 and C1 controls and DEL. Browsers remove some of them
// from a URL before they read it.
func isControl(r rune) bool { return r < 0x20 || 0x7f <= r && r <= 0x9f }

func escapeNonASCII(s string) string {
	const upperHex = "0123456789ABCDEF"
	if strings.IndexFunc(s, func(r rune) bool { return r >= utf8.RuneSelf }) < 0 {
		return s
	}
	out := make([]byte, 0, 3*len(s))
	for _, c := range []byte(s) {
		if c < utf8.RuneSelf {
			out = append(out, c)
		} else {
			out = append(out, '%', upperHex[c>>4], upperHex[c&0xf])
		}
	}
	return string(out)
}
