package record

import (
	"slices"
	"unicode/utf16"
	"unicode/utf8"
)

// scanner reads canonical JSON (RFC 8785). Its input is valid UTF-8. After the
// first fault bad is set and everything it returns is without meaning. Of the
// numbers in unknown members only the grammar is checked, not that they are the
// shortest.
type scanner struct {
	b     []byte
	i     int
	depth int
	bad   bool
}

const maxDepth = 16

func (s *scanner) peek() byte {
	if s.bad || s.i >= len(s.b) {
		s.bad = true
		return 0
	}
	return s.b[s.i]
}

func (s *scanner) expect(c byte) {
	if s.peek() != c {
		s.bad = true
		return
	}
	s.i++
}

// accept consumes c if it is next.
func (s *scanner) accept(c byte) bool {
	if s.peek() != c {
		return false
	}
	s.i++
	return true
}

// object calls member for each name; member must consume the value.
func (s *scanner) object(member func(name string)) {
	s.expect('{')
	s.depth++
	defer func() { s.depth-- }()
	if s.depth > maxDepth || s.bad {
		s.bad = true
		return
	}
	if s.accept('}') {
		return
	}
	last := ""
	for first := true; !s.bad; first = false {
		name := s.string()
		if !first && !ascends(last, name) {
			s.bad = true
		}
		s.expect(':')
		if s.bad {
			return
		}
		member(name)
		last = name
		if s.accept('}') {
			return
		}
		s.expect(',')
	}
}

// ascends reports whether a comes before b in the order of RFC 8785, Section
// 3.2.3: by UTF-16 code units.
func ascends(a, b string) bool {
	if ascii(a) && ascii(b) {
		return a < b
	}
	return slices.Compare(utf16.Encode([]rune(a)), utf16.Encode([]rune(b))) < 0
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

func (s *scanner) array(element func()) {
	s.expect('[')
	s.depth++
	defer func() { s.depth-- }()
	if s.depth > maxDepth || s.bad {
		s.bad = true
		return
	}
	if s.accept(']') {
		return
	}
	for !s.bad {
		element()
		if s.accept(']') {
			return
		}
		s.expect(',')
	}
}

func (s *scanner) string() string {
	s.expect('"')
	start := s.i
	for !s.bad && s.i < len(s.b) && s.b[s.i] != '"' && s.b[s.i] != '\\' && s.b[s.i] >= 0x20 {
		s.i++
	}
	if !s.bad && s.i < len(s.b) && s.b[s.i] == '"' {
		s.i++
		return string(s.b[start : s.i-1])
	}
	out := append([]byte(nil), s.b[min(start, len(s.b)):s.i]...)
	for {
		switch c := s.peek(); {
		case s.bad || c < 0x20:
			s.bad = true
			return ""
		case c == '"':
			s.i++
			return string(out)
		case c == '\\':
			out = append(out, s.escape())
		default:
			s.i++
			out = append(out, c)
		}
	}
}

// escape reads an escape that appendString writes, and no other.
func (s *scanner) escape() byte {
	s.i++
	switch c := s.peek(); c {
	case '"', '\\':
		s.i++
		return c
	case 'b':
		s.i++
		return '\b'
	case 't':
		s.i++
		return '\t'
	case 'n':
		s.i++
		return '\n'
	case 'f':
		s.i++
		return '\f'
	case 'r':
		s.i++
		return '\r'
	case 'u':
		for v := byte(0); v < 0x20 && len(s.b)-s.i >= 5; v++ {
			var buf [8]byte
			esc := appendString(buf[:0], string(rune(v)))
			if len(esc) == 8 && string(s.b[s.i:s.i+5]) == string(esc[2:7]) {
				s.i += 5
				return v
			}
		}
	}
	s.bad = true
	return 0
}

// int reads a number that is not negative and below a billion.
func (s *scanner) int() int {
	start, n := s.i, 0
	for !s.bad && s.i < len(s.b) && s.b[s.i] >= '0' && s.b[s.i] <= '9' && s.i-start < 9 {
		n = n*10 + int(s.b[s.i]-'0')
		s.i++
	}
	if s.i == start || s.b[start] == '0' && s.i-start > 1 {
		s.bad = true
	}
	return n
}

// skip reads over a value of any kind.
func (s *scanner) skip() {
	switch c := s.peek(); c {
	case '{':
		s.object(func(string) { s.skip() })
	case '[':
		s.array(s.skip)
	case '"':
		s.string()
	case 't':
		s.word("true")
	case 'f':
		s.word("false")
	case 'n':
		s.word("null")
	default:
		s.number()
	}
}

func (s *scanner) word(w string) {
	for i := range len(w) {
		s.expect(w[i])
	}
}

// number reads over a number (RFC 8259, Section 6).
func (s *scanner) number() {
	digits := func() {
		start := s.i
		for s.i < len(s.b) && s.b[s.i] >= '0' && s.b[s.i] <= '9' {
			s.i++
		}
		if s.i == start {
			s.bad = true
		}
	}
	next := func(chars string) bool {
		if s.bad || s.i >= len(s.b) {
			return false
		}
		for i := range len(chars) {
			if s.b[s.i] == chars[i] {
				s.i++
				return true
			}
		}
		return false
	}
	next("-")
	if !next("0") {
		digits()
	}
	if next(".") {
		digits()
	}
	if next("eE") {
		next("+-")
		digits()
	}
}
