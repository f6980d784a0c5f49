package demo

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"html/template"
	"strconv"
	"strings"
	"time"

	"github.com/gatebook/gatebook/book"
	"github.com/gatebook/gatebook/record"
)

// facts are the members of the catalogue's payloads that the pages show in
// words; an entry has some of them.
type facts struct {
	User      record.Person
	Target    string
	Account   record.LinkedAccount
	Session   string
	IsNewUser *bool
	Changed   []string
	Count     int64
	Scope     string
	Why       string
	Check     string
	IP        string
	Route     string
}

// factsOf reads the blocks of an entry. What does not decode is left out.
func factsOf(e book.Entry) facts {
	var f facts
	for _, b := range e.Blocks {
		_ = json.Unmarshal(b.Payload(), &f)
	}
	return f
}

// actView is an act: the entries of one commit (of two, with token sessions).
type actView struct {
	ID      string
	Time    string // when it happened
	Route   string
	Entries []entryView
}

// entryView is an entry as it is shown.
type entryView struct {
	Seq      int64
	Act      string
	Type     string
	Failed   bool
	Reason   string
	Says     string // what happened, in words
	Recorded string
	Cursor   string
	Digest   string // SHA-256 of the header, hex
	Header   template.HTML
	Bytes    int
	Blocks   []blockView
	Open     bool
	actTime  string
	route    string
}

type blockView struct {
	Class   string
	Subject string
	Digest  string
	Bytes   int
	Payload template.HTML
	Erased  bool
}

// acts groups entries, given newest first, by act. Entries of an act follow one
// another unless two acts were carried out at the same time.
func acts(entries []book.Entry) []actView {
	var all []actView
	for _, e := range entries {
		v := viewOf(e)
		if n := len(all); n > 0 && all[n-1].ID == v.Act {
			// Within the act the order of the book.
			all[n-1].Entries = append([]entryView{v}, all[n-1].Entries...)
			continue
		}
		all = append(all, actView{ID: v.Act, Time: v.actTime, Route: v.route, Entries: []entryView{v}})
	}
	return all
}

func viewOf(e book.Entry) entryView {
	f := factsOf(e)
	sum := sha256.Sum256(e.Raw)
	v := entryView{
		Seq: e.Seq, Act: e.Header.Act, Type: e.Header.Type, Failed: e.Header.Outcome == record.Failure,
		Reason: e.Header.Reason, Says: says(e.Header, f), Recorded: stamp(e.RecordedAt), Cursor: e.Cursor().String(),
		Digest: hex.EncodeToString(sum[:]), Header: highlight(e.Raw), Bytes: len(e.Raw),
		actTime: stamp(e.Header.Time), route: f.Route,
	}
	have := map[record.Digest]record.Block{}
	for _, b := range e.Blocks {
		have[b.Digest()] = b
	}
	for _, ref := range e.Header.Blocks {
		b, ok := have[ref.Digest]
		v.Blocks = append(v.Blocks, blockView{Class: ref.Class, Subject: ref.Subject.String(), Digest: ref.Digest.String(),
			Bytes: len(b.Bytes), Payload: highlight(b.Payload()), Erased: !ok})
	}
	return v
}

// stamp is a time of the day as the visitor's clock has it: all of this happens
// on one machine.
func stamp(t time.Time) string { return t.Local().Format("15:04:05.000") }

// says tells an entry in words.
func says(h record.Header, f facts) string {
	who := f.User.Name
	if who == "" {
		who = f.User.Email
	}
	if who == "" {
		who = f.Target
	}
	if who == "" {
		who = "somebody"
	}
	with := ""
	if h.Provider != "" {
		with = " with " + h.Provider
	}
	switch h.Type {
	case record.TypeSignIn:
		if f.IsNewUser != nil && *f.IsNewUser {
			with += ", for the first time"
		}
		return who + " signed in" + with
	case record.TypeSignOut:
		return "a session was ended by its user"
	case record.TypeCreateUser:
		return who + " is a user now"
	case record.TypeUpdateUser:
		return who + " changed: " + strings.Join(f.Changed, ", ")
	case record.TypeLinkAccount:
		return who + " can sign in with " + f.Account.Provider
	case record.TypeUnlinkAccount:
		return who + " can no longer sign in with " + f.Account.Provider
	case record.TypeDeleteUser:
		return who + " was deleted"
	case record.TypeSession:
		return who + "’s session was used, " + times(f.Count)
	case record.TypeSessionRefreshed:
		return who + "’s session was renewed, " + times(f.Count)
	case record.TypeSessionRevoked:
		if f.Why == "otherUser" {
			return who + "’s session ended: somebody else signed in with that browser"
		}
		return who + "’s sessions were ended: " + strconv.FormatInt(f.Count, 10)
	case record.TypeSessionExpired:
		return who + "’s session had run out"
	case record.TypeSessionInvalid:
		return "a session cookie that opens nothing"
	case record.TypeSignInFailed:
		return who + " was refused" + with
	case record.TypeCheckFailed, record.TypeReplayDetected, record.TypeCSRFRejected, record.TypeRedirectRejected, record.TypeHostUntrusted:
		if f.Check != "" {
			return "the check of " + f.Check + " failed: " + f.Why
		}
	}
	return ""
}

func times(n int64) string {
	if n == 1 {
		return "once"
	}
	return strconv.FormatInt(n, 10) + " times"
}

// highlight lays JSON out and marks its parts for the style sheet. Objects and
// lists that fit stay on one line.
func highlight(raw []byte) template.HTML {
	if !json.Valid(raw) {
		return template.HTML(template.HTMLEscapeString(string(raw))) //nolint:gosec // G203: it is escaped
	}
	l := layout{in: raw}
	l.value(0)
	return template.HTML(l.out.String()) //nolint:gosec // G203: mark escapes what is not ours
}

// jsonWidth is how long a line of laid out JSON may be.
const jsonWidth = 54

// layout lays out valid JSON without white space, as the book has it.
type layout struct {
	in  []byte
	at  int
	out strings.Builder
}

func (l *layout) value(depth int) {
	end := l.end()
	open := l.in[l.at]
	if open != '{' && open != '[' {
		class := "n"
		if open == '"' {
			class = "s"
		}
		l.mark(class, end)
		return
	}
	inline := end-l.at+2*depth <= jsonWidth
	l.out.WriteByte(open)
	l.at++
	for first := true; l.in[l.at] != '}' && l.in[l.at] != ']'; first = false {
		if !first {
			l.out.WriteByte(l.in[l.at])
			l.at++
		}
		switch {
		case !inline:
			l.out.WriteString("\n" + strings.Repeat("  ", depth+1))
		case !first:
			l.out.WriteByte(' ')
		}
		if open == '{' {
			l.mark("k", l.end())
			l.out.WriteString(": ")
			l.at++
		}
		l.value(depth + 1)
	}
	if !inline {
		l.out.WriteString("\n" + strings.Repeat("  ", depth))
	}
	l.out.WriteByte(l.in[l.at])
	l.at++
}

// mark writes what is up to end, with a class.
func (l *layout) mark(class string, end int) {
	l.out.WriteString(`<span class="` + class + `">`)
	template.HTMLEscape(&l.out, l.in[l.at:end])
	l.out.WriteString(`</span>`)
	l.at = end
}

// end returns where the value that begins here ends.
func (l *layout) end() int {
	depth, text := 0, false
	for i := l.at; i < len(l.in); i++ {
		switch c := l.in[i]; {
		case text && c == '\\':
			i++
		case c == '"':
			if text = !text; !text && depth == 0 {
				return i + 1
			}
		case text:
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']' || c == ',':
			if depth == 0 {
				return i
			}
			if c != ',' {
				if depth--; depth == 0 {
					return i + 1
				}
			}
		}
	}
	return len(l.in)
}
