package userfile

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/gatebook/gatebook"
)

// readJSON reads an array of objects, or objects one after the other.
func readJSON(b *bufio.Reader, o Options) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		j := &jsonReader{in: lines{bounded: bounded{r: b}}, o: o}
		j.dec = json.NewDecoder(&j.in)
		array, err := j.begin(b)
		for n := 1; err == nil; n++ {
			var row Row
			row, err = j.next(array)
			if row.Number = n; err == nil && !yield(row, nil) {
				return
			}
		}
		if !errors.Is(err, io.EOF) {
			yield(Row{}, err)
		}
	}
}

type jsonReader struct {
	in  lines
	dec *json.Decoder
	o   Options
}

// lines counts the lines of what is read.
type lines struct {
	bounded
	ends []int64 // offsets of line ends that were read and not yet passed
	past int     // line ends passed
}

func (l *lines) Read(p []byte) (int, error) {
	before := l.read
	n, err := l.bounded.Read(p)
	for i, c := range p[:n] {
		if c == '\n' {
			l.ends = append(l.ends, before+int64(i))
		}
	}
	return n, err
}

// line returns the line of an offset, which never decreases.
func (l *lines) line(offset int64) int {
	n := 0
	for n < len(l.ends) && l.ends[n] < offset {
		n++
	}
	l.ends, l.past = l.ends[n:], l.past+n
	return l.past + 1
}

// begin looks whether the file holds an array.
func (j *jsonReader) begin(b *bufio.Reader) (array bool, err error) {
	for n := 1; ; n++ {
		p, err := b.Peek(n)
		if err != nil {
			return false, errors.New("line 1: the file is empty")
		}
		switch p[n-1] {
		case ' ', '\t', '\r', '\n':
			if n == 4096 {
				return false, errors.New("line 1: it begins with 4096 spaces")
			}
			continue
		case '[':
			_, err := j.dec.Token()
			return true, err
		case '{':
			return false, nil
		}
		return false, errors.New("line 1: it is neither an array of users nor one user after the other: it must begin with [ or {")
	}
}

// next reads a user; io.EOF says that there is none.
func (j *jsonReader) next(array bool) (Row, error) {
	j.in.next()
	if array && !j.dec.More() {
		return Row{}, j.end()
	}
	if !array && !j.dec.More() {
		// More is false at the end, and also at what closes nothing.
		if _, err := j.dec.Token(); err != nil {
			return Row{}, j.failed(err)
		}
	}
	var raw json.RawMessage
	if err := j.dec.Decode(&raw); err != nil {
		return Row{}, j.failed(err)
	}
	row := Row{Line: j.in.line(j.dec.InputOffset() - int64(len(raw)))}
	var fatal error
	row.ImportUser, row.Err, fatal = j.user(raw, row.Line)
	return row, fatal
}

// end reads what closes the array, and wants nothing after it.
func (j *jsonReader) end() error {
	if _, err := j.dec.Token(); errors.Is(err, io.EOF) {
		return errors.New("the file ends within the array: its last line should be ]")
	} else if err != nil {
		return j.failed(err)
	}
	if _, err := j.dec.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("line %d: something follows after the array of users", j.in.line(j.dec.InputOffset()))
	}
	return io.EOF
}

// failed names the line of an error.
func (j *jsonReader) failed(err error) error {
	if errors.Is(err, io.EOF) {
		return io.EOF
	}
	at := j.dec.InputOffset()
	rest, _ := io.ReadAll(j.dec.Buffered()) // it is in memory
	if se, ok := errors.AsType[*json.SyntaxError](err); ok {
		// The offset of that one counts from anywhere; that of this one from rest.
		if errors.As(json.NewDecoder(bytes.NewReader(rest)).Decode(new(json.RawMessage)), &se) {
			at += se.Offset - 1
		}
	} else {
		at += int64(len(rest) - len(bytes.TrimLeft(rest, " \t\r\n")))
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = errors.New("the file ends within this user")
	}
	return fmt.Errorf("line %d: %w", j.in.line(at), err)
}

// member is a name of an object with its value.
type member struct {
	name  string
	value json.RawMessage
}

// members parts an object. A name that is there twice could be read in two ways.
func members(raw []byte) ([]member, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("it is no object")
	}
	var out []member
	for dec.More() {
		t, err := dec.Token()
		if err != nil {
			return nil, err
		}
		m := member{name: t.(string)} // names are texts
		if err := dec.Decode(&m.value); err != nil {
			return nil, err
		}
		if slices.ContainsFunc(out, func(o member) bool { return o.name == m.name }) {
			return nil, fmt.Errorf("%q is there twice", clip(m.name))
		}
		out = append(out, m)
	}
	return out, nil
}

// user makes a user of an object. Names that are not known are fatal: most likely
// every user has them.
func (j *jsonReader) user(raw []byte, line int) (u gatebook.ImportUser, wrong, fatal error) {
	if !utf8.Valid(raw) {
		return u, errors.New("it is no UTF-8"), nil
	}
	all, err := members(raw)
	if err != nil {
		return u, err, nil
	}
	known := slices.Concat(userFields, j.o.Extra)
	var strange []string
	for _, m := range all {
		switch {
		case m.name == "accounts":
			u.Accounts, err, fatal = j.accounts(m.value, line)
		case slices.Contains(j.o.Ignore, m.name):
			err = nil
		case slices.Contains(j.o.Extra, m.name):
			err = j.extra(&u, m)
		case slices.Contains(known, m.name):
			err = setJSON(&u, nil, m)
		default:
			strange = append(strange, m.name)
		}
		if fatal != nil {
			return u, nil, fatal
		}
		if err != nil && wrong == nil {
			wrong = err
		}
	}
	if len(strange) > 0 {
		return u, nil, unknown(line, "key", strange, append(known, "accounts"))
	}
	return u, wrong, nil
}

// accounts makes the accounts of a user. An account's own id and its user's are
// what rows of the table have besides; they are not needed.
func (j *jsonReader) accounts(raw []byte, line int) (out []gatebook.Account, wrong, fatal error) {
	var list []json.RawMessage
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, errors.New("accounts is no list of objects"), nil
	}
	if len(list) > maxRows {
		return nil, fmt.Errorf("it has more than %d accounts", maxRows), nil
	}
	for _, item := range list {
		all, err := members(item)
		if err != nil {
			return nil, fmt.Errorf("accounts: %w", err), nil
		}
		var acc gatebook.Account
		var strange []string
		for _, m := range all {
			if m.name == "id" || m.name == "userId" || slices.Contains(j.o.Ignore, m.name) {
				continue
			}
			if !slices.Contains(accountFields, m.name) {
				strange = append(strange, m.name)
			} else if err := setJSON(nil, &acc, m); err != nil && wrong == nil {
				wrong = err
			}
		}
		if len(strange) > 0 {
			return nil, nil, unknown(line, "key", strange, accountFields)
		}
		out = append(out, acc)
	}
	return out, wrong, nil
}

// setJSON gives a field its value, which is a text, a number or null.
func setJSON(u *gatebook.ImportUser, acc *gatebook.Account, m member) error {
	text, ok := scalar(m.value)
	if !ok {
		return fmt.Errorf("%s is neither a text, a number nor null", m.name)
	}
	if halved(m.value, text) {
		return fmt.Errorf("%s has half of a character, as \\ud800 is", m.name)
	}
	return set(u, acc, m.name, text, nil)
}

// scalar returns a text as it is, a number as it is written, and null as "".
func scalar(raw json.RawMessage) (text string, ok bool) {
	switch raw[0] {
	case '"':
		return text, json.Unmarshal(raw, &text) == nil
	case 'n':
		return "", true
	case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		return string(raw), true
	}
	return "", false
}

// halved reports whether text, decoded from raw, has U+FFFD in place of halves of
// surrogate pairs: two ids that differ would become one.
func halved(raw json.RawMessage, text string) bool {
	const mark = "\uFFFD"
	said := strings.Count(string(raw), mark) + strings.Count(strings.ToLower(string(raw)), `\ufffd`)
	return strings.Count(text, mark) > said
}

// extra keeps the type of a further field.
func (j *jsonReader) extra(u *gatebook.ImportUser, m member) error {
	var v any
	dec := json.NewDecoder(strings.NewReader(string(m.value)))
	dec.UseNumber()
	if err := dec.Decode(&v); err != nil {
		return fmt.Errorf("%s: %w", m.name, err)
	}
	switch x := v.(type) {
	case nil:
		return nil
	case json.Number:
		if n, err := x.Int64(); err == nil {
			v = n
		} else if v, err = x.Float64(); err != nil {
			return fmt.Errorf("%s is too great a number", m.name)
		}
	case string, bool:
	default:
		return fmt.Errorf("%s is neither a text, a number, true, false nor null", m.name)
	}
	addExtra(u, m.name, v)
	return nil
}
