// Package cookie reads and writes cookies byte for byte as Auth.js v5 does: the
// Cookie header with its percent-encoded values, Set-Cookie with its order of
// attributes, session values cut into chunks, and the two URL encodings that
// belong to them.
//
// net/http has cookies too, but refuses, quotes or keeps escaped what Auth.js
// clients send. It knows nothing of what a cookie means and nothing of sealing.
package cookie

import (
	"strconv"
	"time"
)

// timeFormat is the date of HTTP (RFC 9110, Section 5.6.7), for times in UTC.
const timeFormat = "Mon, 02 Jan 2006 15:04:05 GMT"

// appendTime appends t as timeFormat says. Every session that is read gets a
// date, and reading the format takes most of time.Time.AppendFormat's time.
func appendTime(dst []byte, t time.Time) []byte {
	year, month, day := t.Date()
	if year < 1000 || year > 9999 {
		return t.AppendFormat(dst, timeFormat)
	}
	hour, minute, second := t.Clock()
	two := func(n int) { dst = append(dst, byte('0'+n/10), byte('0'+n%10)) }
	dst = append(dst, t.Weekday().String()[:3]...)
	dst = append(dst, ", "...)
	two(day)
	dst = append(dst, ' ')
	dst = append(dst, month.String()[:3]...)
	dst = append(dst, ' ')
	two(year / 100)
	two(year % 100)
	dst = append(dst, ' ')
	two(hour)
	dst = append(dst, ':')
	two(minute)
	dst = append(dst, ':')
	two(second)
	return append(dst, " GMT"...)
}

// Cookie is one cookie to set. Name, Domain and Path are written as they are and
// must come from configuration that was checked, never from a request.
type Cookie struct {
	Name  string
	Value string // not encoded; any text
	// MaxAge is the lifetime in seconds, written only if HasMaxAge is true. Zero
	// deletes the cookie.
	MaxAge    int
	HasMaxAge bool
	Domain    string    // not written if empty
	Path      string    // not written if empty
	Expires   time.Time // written in whole seconds, not at all if zero
	HTTPOnly  bool
	Secure    bool
	SameSite  string // "Lax", "Strict" or "None"; not written if empty
}

// Append appends c as the value of a Set-Cookie header (RFC 6265, Section 4.1)
// to dst and returns the extended slice. The cookie's value is encoded with
// AppendComponent.
func (c *Cookie) Append(dst []byte) []byte {
	dst = append(dst, c.Name...)
	dst = append(dst, '=')
	dst = AppendComponent(dst, c.Value)
	if c.HasMaxAge {
		dst = append(dst, "; Max-Age="...)
		dst = strconv.AppendInt(dst, int64(c.MaxAge), 10)
	}
	if c.Domain != "" {
		dst = append(dst, "; Domain="...)
		dst = append(dst, c.Domain...)
	}
	if c.Path != "" {
		dst = append(dst, "; Path="...)
		dst = append(dst, c.Path...)
	}
	if !c.Expires.IsZero() {
		dst = append(dst, "; Expires="...)
		dst = appendTime(dst, c.Expires.UTC())
	}
	if c.HTTPOnly {
		dst = append(dst, "; HttpOnly"...)
	}
	if c.Secure {
		dst = append(dst, "; Secure"...)
	}
	if c.SameSite != "" {
		dst = append(dst, "; SameSite="...)
		dst = append(dst, c.SameSite...)
	}
	return dst
}
