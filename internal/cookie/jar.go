package cookie

import "strings"

// What a Jar looks at of all Cookie headers of a request together. Browsers send
// far less; the rest is ignored, so that a request cannot buy much work.
const (
	MaxBytes = 64 << 10
	MaxPairs = 512
)

// Jar reads the cookies of a request. It finds each when asked and keeps nothing,
// for a request asks for few of them. The zero Jar is empty.
type Jar struct {
	header []string
}

// Parse returns the Jar of a request whose Cookie headers have the values header
// (http.Header["Cookie"]). The Jar aliases header. Pairs end at a semicolon;
// names and values lose the spaces and tabs around them, but no quotation marks;
// a pair without = is skipped. What lies beyond MaxBytes or MaxPairs is ignored,
// a pair cut by the limit as a whole.
func Parse(header []string) Jar { return Jar{header: header} }

// Get returns the value of the first cookie called name and whether there is
// one. A value that contains % is decoded, and kept as it is if that fails.
func (j Jar) Get(name string) (string, bool) {
	s := j.scan()
	for s.next() {
		if s.name == name {
			return decoded(s.value), true
		}
	}
	return "", false
}

// decoded undoes the encoding of a cookie's value where there is one.
func decoded(value string) string {
	if strings.IndexByte(value, '%') < 0 {
		return value
	}
	text, err := UnescapeComponent(value)
	if err != nil {
		return value
	}
	return text
}

// scanner walks over the pairs of a Jar.
type scanner struct {
	header []string // not yet begun
	rest   string   // of the header being read
	bytes  int      // still allowed
	pairs  int      // still allowed
	name   string
	value  string // not decoded
}

func (j Jar) scan() scanner {
	return scanner{header: j.header, bytes: MaxBytes, pairs: MaxPairs}
}

// next moves to the next pair and reports whether there is one.
func (s *scanner) next() bool {
	for {
		if s.rest == "" && !s.nextHeader() {
			return false
		}
		pair := s.rest
		if i := strings.IndexByte(pair, ';'); i >= 0 {
			pair, s.rest = pair[:i], pair[i+1:]
		} else {
			s.rest = ""
		}
		name, value, ok := strings.Cut(pair, "=")
		if !ok {
			continue
		}
		if s.pairs == 0 {
			return false
		}
		s.pairs--
		s.name, s.value = trim(name), trim(value)
		return true
	}
}

func (s *scanner) nextHeader() bool {
	for len(s.header) > 0 && s.bytes > 0 {
		s.rest, s.header = s.header[0], s.header[1:]
		if len(s.rest) > s.bytes {
			// Half a value must not pass for a whole one.
			s.rest = s.rest[:strings.LastIndexByte(s.rest[:s.bytes+1], ';')+1]
			s.bytes = 0
		} else {
			s.bytes -= len(s.rest)
		}
		if s.rest != "" {
			return true
		}
	}
	return false
}

// trim cuts spaces and tabs from both ends of s.
func trim(s string) string {
	for s != "" && (s[0] == ' ' || s[0] == '\t') {
		s = s[1:]
	}
	for s != "" && (s[len(s)-1] == ' ' || s[len(s)-1] == '\t') {
		s = s[:len(s)-1]
	}
	return s
}
