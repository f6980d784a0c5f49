// Package claims holds a JSON object whose members keep their order, which the
// claims of a session token and the answers of the Auth.js routes need on the
// wire, and writes JSON text exactly as ECMAScript's JSON.stringify does.
//
// An [Object] keeps each value as raw JSON: what was read is written again
// unchanged, whatever it means to others. It is not a general JSON package: for
// everything but order and spelling it leans on encoding/json.
package claims

import (
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"strconv"
)

// MaxDepth is how deeply arrays and objects may nest in what [Parse] accepts,
// the outermost object counted.
const MaxDepth = 32

// ErrSyntax is returned, wrapped with the offset where reading stopped, for
// anything but one well-formed JSON object.
var ErrSyntax = errors.New("claims: not a JSON object")

// Object is a JSON object that keeps the order of its members. The zero Object
// is empty and ready to use. A plain copy shares its members: change a
// [Object.Clone] instead. An Object may be read by several goroutines, but not
// while one changes it.
type Object struct {
	members []member
}

// member holds its name decoded and its value as compact JSON, or as JSON that
// may contain white space, if loose.
type member struct {
	name  []byte
	value json.RawMessage
	loose bool
}

// Parse reads b, one JSON object in UTF-8 (RFC 8259) with nothing but white
// space around it, nested at most [MaxDepth] deep. Of members with the same name
// the last value counts and keeps the place of the first, as in ECMAScript. The
// Object aliases b, which must not change while the Object is in use. On failure
// the Object is empty and the error matches ErrSyntax.
func Parse(b []byte) (Object, error) {
	s := scanner{b: b}
	members, err := s.object()
	if err != nil {
		return Object{}, err
	}
	return Object{members: members}, nil
}

// Of returns the object that has members, whose names differ and whose values
// are compact JSON; neither is checked. It aliases the values.
func Of(members ...Member) Object {
	o := Object{members: make([]member, len(members))}
	for i, m := range members {
		o.members[i] = member{name: []byte(m.Name), value: m.Value}
	}
	return o
}

// Len returns the number of members.
func (o *Object) Len() int { return len(o.members) }

// Names yields the members' names in order. The Object must not be changed
// meanwhile.
func (o *Object) Names() iter.Seq[string] {
	return func(yield func(string) bool) {
		for i := range o.members {
			if !yield(string(o.members[i].name)) {
				return
			}
		}
	}
}

// Get returns the raw JSON of the member called name, null included, and whether
// there is one. The caller must not change its bytes.
func (o *Object) Get(name string) (json.RawMessage, bool) {
	if i := o.index(name); i >= 0 {
		return o.members[i].value, true
	}
	return nil, false
}

// String returns the text of the member called name, and false if there is none
// or it is not a JSON string. Half of a surrogate pair becomes U+FFFD.
func (o *Object) String(name string) (string, bool) {
	raw, ok := o.Get(name)
	if !ok || raw[0] != '"' {
		return "", false
	}
	text, err := unquote(raw)
	return string(text), err == nil
}

// Texts sets each element of to to what String returns for the name at its
// place, of at most 16. The texts share one allocation, and so stay or go together.
func (o *Object) Texts(to []string, names ...string) {
	size := 0
	for _, name := range names {
		raw, _ := o.Get(name)
		size += len(raw)
	}
	var scratch [256]byte
	buf := scratch[:0]
	if size > len(scratch) {
		buf = make([]byte, 0, size)
	}
	var ends [16]int // of the texts in buf
	for i, name := range names {
		if raw, ok := o.Get(name); ok && raw[0] == '"' {
			if text, err := unquote(raw); err == nil {
				buf = append(buf, text...)
			}
		}
		ends[i] = len(buf)
	}
	all, start := string(buf), 0
	for i := range names {
		to[i] = all[start:ends[i]]
		start = ends[i]
	}
}

// Int64 returns the value of the member called name, and false if there is none,
// it is not a JSON number, or not an integer that int64 holds. Numbers written
// with a fraction or exponent, such as 1.7e9, count if they are integral and not
// beyond 2^53.
func (o *Object) Int64(name string) (int64, bool) {
	raw, ok := o.Get(name)
	if !ok || raw[0] != '-' && !isDigit(raw[0]) {
		return 0, false
	}
	if n, err := strconv.ParseInt(string(raw), 10, 64); err == nil {
		return n, true
	}
	if !slices.ContainsFunc(raw, func(c byte) bool { return c == '.' || c|0x20 == 'e' }) {
		return 0, false
	}
	f, err := strconv.ParseFloat(string(raw), 64)
	if err != nil || f != math.Trunc(f) || math.Abs(f) > 1<<53 {
		return 0, false
	}
	return int64(f), true
}

// AppendMember appends the value of the member called name as compact JSON and
// reports whether there is one.
func (o *Object) AppendMember(dst []byte, name string) ([]byte, bool) {
	i := o.index(name)
	if i < 0 {
		return dst, false
	}
	return o.members[i].append(dst), true
}

func (m *member) append(dst []byte) []byte {
	if m.loose {
		return appendCompact(dst, m.value)
	}
	return append(dst, m.value...)
}

// Set gives the member called name the JSON of v, spelled as by [AppendValue]:
// in place if there is such a member, at the end if not. On failure the Object
// is unchanged.
func (o *Object) Set(name string, v any) error {
	raw, err := AppendValue(nil, v)
	if err != nil {
		return fmt.Errorf("set member %q: %w", name, err)
	}
	o.set(name, member{value: raw})
	return nil
}

// SetString gives the member called name the string s, as Set does.
func (o *Object) SetString(name, s string) {
	o.set(name, member{value: AppendString(make([]byte, 0, len(s)+2), s)})
}

// SetInt64 gives the member called name the number n, as Set does.
func (o *Object) SetInt64(name string, n int64) {
	o.set(name, member{value: strconv.AppendInt(nil, n, 10)})
}

// SetRaw gives the member called name a copy of raw, as Set does. If raw is not
// one JSON value of the kind Parse accepts, the error matches ErrSyntax and the
// Object is unchanged.
func (o *Object) SetRaw(name string, raw json.RawMessage) error {
	s := scanner{b: slices.Clone(raw)}
	value, loose, err := s.document()
	if err != nil {
		return fmt.Errorf("set member %q: %w", name, err)
	}
	o.set(name, member{value: value, loose: loose})
	return nil
}

// Delete removes the member called name, if there is one.
func (o *Object) Delete(name string) {
	if i := o.index(name); i >= 0 {
		// A new slice, so that a plain copy keeps whole members.
		o.members = slices.Concat(o.members[:i], o.members[i+1:])
	}
}

// Append appends the object as compact JSON, its members in order, to dst and
// returns the extended slice.
func (o *Object) Append(dst []byte) []byte { return o.AppendWith(dst) }

// Member is a name and its value, one compact JSON value.
type Member struct {
	Name  string
	Value []byte
}

// AppendWith appends what Append would after [Object.SetRaw] for each of with,
// without changing the object. The values are not checked.
func (o *Object) AppendWith(dst []byte, with ...Member) []byte {
	dst = append(dst, '{')
	begin := len(dst)
	for i := range o.members {
		m := &o.members[i]
		if len(dst) > begin {
			dst = append(dst, ',')
		}
		dst = appendString(dst, m.name)
		dst = append(dst, ':')
		j := slices.IndexFunc(with, func(w Member) bool { return w.Name == string(m.name) })
		if j >= 0 {
			dst = append(dst, with[j].Value...)
		} else {
			dst = m.append(dst)
		}
	}
	for _, w := range with {
		if o.index(w.Name) >= 0 {
			continue
		}
		if len(dst) > begin {
			dst = append(dst, ',')
		}
		dst = AppendString(dst, w.Name)
		dst = append(dst, ':')
		dst = append(dst, w.Value...)
	}
	return append(dst, '}')
}

// Clone returns a copy that shares no memory with o or with what o was parsed
// from.
func (o Object) Clone() Object {
	size := 0
	for _, m := range o.members {
		size += len(m.name) + len(m.value)
	}
	buf := make([]byte, 0, size)
	keep := func(b []byte) []byte {
		buf = append(buf, b...)
		return buf[len(buf)-len(b) : len(buf) : len(buf)]
	}
	members := make([]member, len(o.members))
	for i, m := range o.members {
		members[i] = member{name: keep(m.name), value: keep(m.value), loose: m.loose}
	}
	return Object{members: members}
}

// MarshalJSON implements json.Marshaler.
func (o Object) MarshalJSON() ([]byte, error) { return o.Append(nil), nil }

// UnmarshalJSON implements json.Unmarshaler. Unlike Parse it copies b. JSON null
// leaves the Object as it is.
func (o *Object) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		return nil
	}
	parsed, err := Parse(slices.Clone(b))
	if err != nil {
		return err
	}
	*o = parsed
	return nil
}

func (o *Object) index(name string) int {
	for i := range o.members {
		if string(o.members[i].name) == name {
			return i
		}
	}
	return -1
}

func (o *Object) set(name string, m member) {
	i := o.index(name)
	if i >= 0 {
		m.name = o.members[i].name
		o.members[i] = m
		return
	}
	m.name = []byte(name)
	o.members = append(o.members, m)
}
