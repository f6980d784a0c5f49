package claims

import (
	"bytes"
	"encoding/json"
	"strconv"
	"unicode/utf8"
)

const hexDigits = "0123456789abcdef"

// AppendString appends s as a JSON string spelled as ECMAScript's JSON.stringify
// spells it (ECMA-262, QuoteJSONString) and returns the extended slice: only the
// quotation mark, the backslash and control characters are escaped, and <, >, &,
// U+2028 and U+2029 stand for themselves. Each byte of invalid UTF-8 becomes
// U+FFFD. The text must not be put inside an HTML script element as it is.
func AppendString(dst []byte, s string) []byte { return appendString(dst, s) }

func appendString[T string | []byte](dst []byte, s T) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			// Four bytes at most, so that the conversion stays on the stack.
			r, size := utf8.DecodeRuneInString(string(s[i:min(i+utf8.UTFMax, len(s))]))
			if r == utf8.RuneError && size == 1 {
				dst = append(dst, s[start:i]...)
				dst = append(dst, "\uFFFD"...)
				start = i + 1
			}
			i += size
			continue
		}
		if c >= 0x20 && c != '"' && c != '\\' {
			i++
			continue
		}
		dst = append(dst, s[start:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\b':
			dst = append(dst, `\b`...)
		case '\f':
			dst = append(dst, `\f`...)
		case '\n':
			dst = append(dst, `\n`...)
		case '\r':
			dst = append(dst, `\r`...)
		case '\t':
			dst = append(dst, `\t`...)
		default:
			dst = append(dst, `\u00`...)
			dst = append(dst, hexDigits[c>>4], hexDigits[c&0xf])
		}
		i++
		start = i
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}

// AppendValue appends the compact JSON of v to dst and returns the extended
// slice, with strings spelled as by AppendString; in all else it follows
// encoding/json, whose errors it returns. On failure it returns nil.
func AppendValue(dst []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return append(dst, "null"...), nil
	case string:
		return AppendString(dst, v), nil
	case bool:
		return strconv.AppendBool(dst, v), nil
	case int:
		return strconv.AppendInt(dst, int64(v), 10), nil
	case int64:
		return strconv.AppendInt(dst, v, 10), nil
	case Object:
		return v.Append(dst), nil
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return appendUnescaped(dst, bytes.TrimSuffix(buf.Bytes(), []byte("\n"))), nil
}

// appendUnescaped appends JSON text from encoding/json with the characters that
// it escapes in spite of SetEscapeHTML(false), and ECMAScript does not: the two
// line separators and what it puts for invalid UTF-8.
func appendUnescaped(dst, text []byte) []byte {
	for {
		i := bytes.IndexByte(text, '\\')
		if i < 0 {
			return append(dst, text...)
		}
		dst = append(dst, text[:i]...)
		text = text[i:]
		switch {
		case bytes.HasPrefix(text, []byte(`\u2028`)):
			dst, text = append(dst, "\u2028"...), text[6:]
		case bytes.HasPrefix(text, []byte(`\u2029`)):
			dst, text = append(dst, "\u2029"...), text[6:]
		case bytes.HasPrefix(text, []byte(`\ufffd`)):
			dst, text = append(dst, "\uFFFD"...), text[6:]
		default:
			// A backslash and what it escapes: not the start of another escape.
			dst, text = append(dst, text[:2]...), text[2:]
		}
	}
}
