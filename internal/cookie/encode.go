package cookie

import (
	"errors"
	"strings"
	"unicode/utf8"
)

// ErrEscape is returned for text whose percent signs are not followed by two hex
// digits or do not encode UTF-8.
var ErrEscape = errors.New("cookie: invalid percent-encoding")

const upperHex = "0123456789ABCDEF"

// set is a set of ASCII characters, with a place for every byte.
type set [256]bool

func newSet(chars string) (s set) {
	for _, c := range chars {
		s[c] = true
	}
	return s
}

const alphanumeric = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

var (
	componentSafe = newSet(alphanumeric + "-_.!~*'()")
	formSafe      = newSet(alphanumeric + "*-._")
)

// AppendComponent appends s encoded as by ECMAScript's encodeURIComponent to dst
// and returns the extended slice. Invalid UTF-8 becomes U+FFFD first.
func AppendComponent(dst []byte, s string) []byte {
	return appendEncoded(dst, s, &componentSafe, false)
}

// AppendForm appends the pair of name and value in the encoding
// application/x-www-form-urlencoded of the WHATWG URL Standard to dst, after an
// & unless dst is empty, and returns the extended slice. Unlike
// url.Values.Encode it keeps the order of the calls, and it keeps * and encodes
// ~ as browsers do. Invalid UTF-8 becomes U+FFFD first.
func AppendForm(dst []byte, name, value string) []byte {
	if len(dst) > 0 {
		dst = append(dst, '&')
	}
	dst = appendEncoded(dst, name, &formSafe, true)
	dst = append(dst, '=')
	return appendEncoded(dst, value, &formSafe, true)
}

func appendEncoded(dst []byte, s string, safe *set, plus bool) []byte {
	// Most values need no encoding at all; they are copied in one piece.
	i := 0
	for i < len(s) && safe[s[i]] {
		i++
	}
	dst = append(dst, s[:i]...)
	if s = s[i:]; s == "" {
		return dst
	}
	for _, c := range []byte(strings.ToValidUTF8(s, "\uFFFD")) {
		switch {
		case safe[c]:
			dst = append(dst, c)
		case c == ' ' && plus:
			dst = append(dst, '+')
		default:
			dst = append(dst, '%', upperHex[c>>4], upperHex[c&0xf])
		}
	}
	return dst
}

// UnescapeComponent decodes s as ECMAScript's decodeURIComponent does. What is
// not percent-encoded stands for itself, + included. The error is ErrEscape.
func UnescapeComponent(s string) (string, error) {
	i := strings.IndexByte(s, '%')
	if i < 0 {
		return s, nil
	}
	var scratch [256]byte // of most values nothing but the result is allocated
	out := scratch[:0]
	if len(s) > len(scratch) {
		out = make([]byte, 0, len(s))
	}
	for {
		out = append(out, s[:i]...)
		s = s[i:]
		// The bytes of one character must all be encoded, so that each run of
		// escapes is UTF-8 by itself.
		run := len(out)
		for strings.HasPrefix(s, "%") {
			if len(s) < 3 {
				return "", ErrEscape
			}
			hi, lo := unhex(s[1]), unhex(s[2])
			if hi < 0 || lo < 0 {
				return "", ErrEscape
			}
			out = append(out, byte(hi<<4|lo))
			s = s[3:]
		}
		if !utf8.Valid(out[run:]) {
			return "", ErrEscape
		}
		if i = strings.IndexByte(s, '%'); i < 0 {
			return string(append(out, s...)), nil
		}
	}
}

func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
