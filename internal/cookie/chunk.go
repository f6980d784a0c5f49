package cookie

import (
	"strconv"
	"strings"
)

const (
	// ChunkSize is how many bytes of a value go into one cookie: the 4096 that
	// browsers store, less 160 for name and attributes.
	ChunkSize = 3936
	// MaxChunks is the largest number of chunks that [Jar.Chunks] puts together.
	// It is more than MaxBytes holds of full ones.
	MaxChunks = 25

	// maxIndexDigits bounds which numbered cookies are taken for chunks at all.
	maxIndexDigits = 3
)

// Pair is the name and value of a cookie to set.
type Pair struct{ Name, Value string }

// Split returns the cookies that hold value: one called name if it fits into
// ChunkSize bytes, otherwise name.0, name.1 and so on, and none if it is empty.
// The value must be ASCII that needs no encoding, as tokens are.
func Split(name, value string) []Pair {
	if value == "" {
		return nil
	}
	if len(value) <= ChunkSize {
		return []Pair{{name, value}}
	}
	pairs := make([]Pair, 0, (len(value)+ChunkSize-1)/ChunkSize)
	for value != "" {
		n := min(ChunkSize, len(value))
		pairs = append(pairs, Pair{name + "." + strconv.Itoa(len(pairs)), value[:n]})
		value = value[n:]
	}
	return pairs
}

// Chunks returns the value that Split distributed, and the names of the cookies
// that hold it or are left over from an earlier one, in the order they came in:
// those to clear when the value changes or ends. Empty cookies do not count.
//
// The cookie called name wins if it is there; else the value is that of name.0,
// name.1 and so on up to the first gap. It is empty if there are neither, or
// chunks numbered MaxChunks or higher, which nothing of ours writes. Unlike
// Auth.js, Chunks leaves alone cookies that only share the prefix: the suffix
// must be a decimal number without leading zeros.
func (j Jar) Chunks(name string) (value string, names []string) {
	var plain string
	var chunks [MaxChunks]string
	var seen [1000]bool // by chunk number, of maxIndexDigits digits
	plainSeen, tooMany := false, false

	s := j.scan()
	for s.next() {
		suffix, ok := strings.CutPrefix(s.name, name)
		if !ok {
			continue
		}
		if suffix == "" {
			if plainSeen {
				continue
			}
			plainSeen = true
			if s.value != "" {
				plain = decoded(s.value)
				names = append(names, s.name)
			}
			continue
		}
		n, ok := chunkNumber(suffix)
		if !ok || seen[n] {
			continue
		}
		seen[n] = true
		if s.value == "" {
			continue
		}
		names = append(names, s.name)
		if n < MaxChunks {
			chunks[n] = decoded(s.value)
		} else {
			tooMany = true
		}
	}
	if plain != "" {
		return plain, names
	}
	if tooMany {
		return "", names
	}
	n := 0
	for n < MaxChunks && chunks[n] != "" {
		n++
	}
	return strings.Join(chunks[:n], ""), names
}

// IsChunk reports whether a cookie called name is taken for a part of the value
// of the cookie called whole.
func IsChunk(name, whole string) bool {
	suffix, ok := strings.CutPrefix(name, whole)
	if ok {
		_, ok = chunkNumber(suffix)
	}
	return ok
}

// chunkNumber reads the suffix of a chunk's name, such as ".12".
func chunkNumber(suffix string) (int, bool) {
	digits, ok := strings.CutPrefix(suffix, ".")
	if !ok || digits == "" || len(digits) > maxIndexDigits || digits[0] == '0' && digits != "0" {
		return 0, false
	}
	n := 0
	for _, c := range []byte(digits) {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = 10*n + int(c-'0')
	}
	return n, true
}
