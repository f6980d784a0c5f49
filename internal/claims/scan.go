package claims

import (
	"encoding/json"
	"fmt"
	"unicode/utf8"
)

// mapFrom is the number of members from which duplicate names are looked up in a
// map: below, comparing is faster and allocates nothing; above, comparing each
// with each would let a large object cost its square.
const mapFrom = 32

// scanner reads strict JSON. encoding/json is the reference its fuzz test holds
// it to; it exists because the claims of a session are read on every request.
type scanner struct {
	b     []byte
	i     int
	loose bool // white space was seen since this was last cleared
}

// object reads b as one object and returns its members.
func (s *scanner) object() ([]member, error) {
	if !utf8.Valid(s.b) {
		return nil, fmt.Errorf("%w: not UTF-8", ErrSyntax)
	}
	s.space()
	if s.peek() != '{' {
		return nil, s.fail()
	}
	members, err := s.members()
	if err != nil {
		return nil, err
	}
	if s.space(); s.i != len(s.b) {
		return nil, s.fail()
	}
	return members, nil
}

// document reads b as one value of any kind.
func (s *scanner) document() (value json.RawMessage, loose bool, err error) {
	if !utf8.Valid(s.b) {
		return nil, false, fmt.Errorf("%w: not UTF-8", ErrSyntax)
	}
	s.space()
	start := s.i
	s.loose = false
	if err := s.value(MaxDepth - 1); err != nil {
		return nil, false, err
	}
	end, loose := s.i, s.loose
	if s.space(); s.i != len(s.b) {
		return nil, false, s.fail()
	}
	return s.b[start:end:end], loose, nil
}

func (s *scanner) members() ([]member, error) {
	members := make([]member, 0, 8)
	var byName map[string]int
	s.i++
	if s.space(); s.peek() == '}' {
		s.i++
		return members, nil
	}
	for {
		start := s.i
		escaped, err := s.str()
		if err != nil {
			return nil, err
		}
		name := s.b[start+1 : s.i-1 : s.i-1]
		if escaped {
			if name, err = unquote(s.b[start:s.i]); err != nil {
				return nil, s.fail()
			}
		}
		if s.space(); s.peek() != ':' {
			return nil, s.fail()
		}
		s.i++
		s.space()
		start = s.i
		s.loose = false
		if err := s.value(MaxDepth - 1); err != nil {
			return nil, err
		}
		m := member{name: name, value: s.b[start:s.i:s.i], loose: s.loose}

		if byName == nil && len(members) == mapFrom {
			byName = make(map[string]int)
			for i := range members {
				byName[string(members[i].name)] = i
			}
		}
		if i := find(members, byName, name); i >= 0 {
			members[i] = m
		} else {
			if byName != nil {
				byName[string(name)] = len(members)
			}
			members = append(members, m)
		}

		s.space()
		switch s.peek() {
		case ',':
			s.i++
			s.space()
		case '}':
			s.i++
			return members, nil
		default:
			return nil, s.fail()
		}
	}
}

func find(members []member, byName map[string]int, name []byte) int {
	if byName != nil {
		if i, ok := byName[string(name)]; ok {
			return i
		}
		return -1
	}
	for i := range members {
		if string(members[i].name) == string(name) {
			return i
		}
	}
	return -1
}

// value reads one value in which depth more levels may nest.
func (s *scanner) value(depth int) error {
	switch c := s.peek(); {
	case c == '"':
		_, err := s.str()
		return err
	case c == '{' || c == '[':
		return s.nested(c, depth)
	case c == 't':
		return s.literal("true")
	case c == 'f':
		return s.literal("false")
	case c == 'n':
		return s.literal("null")
	default:
		return s.number()
	}
}

// nested reads an object or array.
func (s *scanner) nested(open byte, depth int) error {
	if depth == 0 {
		return fmt.Errorf("%w: nested more than %d levels deep", ErrSyntax, MaxDepth)
	}
	end := open + 2 // in ASCII ']' follows '[', and '}' '{', at this distance
	s.i++
	if s.space(); s.peek() == end {
		s.i++
		return nil
	}
	for {
		if open == '{' {
			if _, err := s.str(); err != nil {
				return err
			}
			if s.space(); s.peek() != ':' {
				return s.fail()
			}
			s.i++
			s.space()
		}
		if err := s.value(depth - 1); err != nil {
			return err
		}
		s.space()
		switch s.peek() {
		case ',':
			s.i++
			s.space()
		case end:
			s.i++
			return nil
		default:
			return s.fail()
		}
	}
}

// str reads a string and reports whether it has escapes.
func (s *scanner) str() (escaped bool, err error) {
	if s.peek() != '"' {
		return false, s.fail()
	}
	i := s.i + 1
	for i < len(s.b) {
		switch c := s.b[i]; {
		case c == '"':
			s.i = i + 1
			return escaped, nil
		case c < 0x20:
			s.i = i
			return false, s.fail()
		case c == '\\':
			escaped = true
			s.i = i
			if err := s.escape(); err != nil {
				return false, err
			}
			i = s.i
		default:
			i++
		}
	}
	s.i = i
	return false, s.fail()
}

func (s *scanner) escape() error {
	s.i++
	switch s.peek() {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		s.i++
		return nil
	case 'u':
		s.i++
		for range 4 {
			if !isHex(s.peek()) {
				return s.fail()
			}
			s.i++
		}
		return nil
	}
	return s.fail()
}

func (s *scanner) literal(want string) error {
	if len(s.b)-s.i < len(want) || string(s.b[s.i:s.i+len(want)]) != want {
		return s.fail()
	}
	s.i += len(want)
	return nil
}

// number reads a number, RFC 8259, Section 6.
func (s *scanner) number() error {
	if s.peek() == '-' {
		s.i++
	}
	if s.peek() == '0' {
		s.i++
	} else if !s.digits() {
		return s.fail()
	}
	if s.peek() == '.' {
		s.i++
		if !s.digits() {
			return s.fail()
		}
	}
	if s.peek()|0x20 == 'e' {
		s.i++
		if c := s.peek(); c == '+' || c == '-' {
			s.i++
		}
		if !s.digits() {
			return s.fail()
		}
	}
	return nil
}

// digits reads one or more digits.
func (s *scanner) digits() bool {
	start := s.i
	for isDigit(s.peek()) {
		s.i++
	}
	return s.i > start
}

func (s *scanner) space() {
	for s.i < len(s.b) {
		switch s.b[s.i] {
		case ' ', '\t', '\n', '\r':
			s.i++
			s.loose = true
		default:
			return
		}
	}
}

// peek returns the next byte, and at the end 0, which no JSON text outside of a
// string may contain.
func (s *scanner) peek() byte {
	if s.i < len(s.b) {
		return s.b[s.i]
	}
	return 0
}

func (s *scanner) fail() error {
	return fmt.Errorf("%w: at byte %d", ErrSyntax, s.i)
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isHex(c byte) bool {
	return isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'f'
}

// unquote returns the text of the well-formed JSON string raw.
func unquote(raw []byte) ([]byte, error) {
	body := raw[1 : len(raw)-1]
	escaped := false
	for _, c := range body {
		if c == '\\' {
			escaped = true
			break
		}
	}
	if !escaped {
		return body, nil
	}
	var text string
	if err := json.Unmarshal(raw, &text); err != nil {
		return nil, err
	}
	return []byte(text), nil
}

// appendCompact appends well-formed JSON without the white space between its
// tokens.
func appendCompact(dst, raw []byte) []byte {
	inString := false
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		switch {
		case inString && c == '\\':
			dst = append(dst, c)
			i++
			c = raw[i]
		case c == '"':
			inString = !inString
		case !inString && (c == ' ' || c == '\t' || c == '\n' || c == '\r'):
			continue
		}
		dst = append(dst, c)
	}
	return dst
}
