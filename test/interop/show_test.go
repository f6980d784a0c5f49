package interop

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatebook/gatebook"
)

// shown is a step as text, one fact a line, with shapes in place of what is
// random or a time.
type shown struct {
	step  string
	lines []string
}

// hidden are headers that say nothing of the site.
var hidden = []string{"Date", "Connection", "Keep-Alive", "Content-Length", "Transfer-Encoding", "Set-Cookie", "Location", "X-Content-Type-Options"}

// show writes down what the visitor's steps did.
func (v *visitor) show() []shown {
	names := v.userNames()
	var all []shown
	for _, r := range v.records {
		if r.step == "quiet" {
			continue
		}
		s := shown{step: r.step}
		w := &writer{visitor: v, at: r.at}
		w.record(r)
		for _, line := range w.lines {
			for id, name := range names {
				line = strings.ReplaceAll(line, id, name)
			}
			s.lines = append(s.lines, w.shape(line))
		}
		all = append(all, s)
	}
	return all
}

// userNames gives the ids that the adapter made names in the order of their
// making, so that the same user is the same on both sides.
func (v *visitor) userNames() map[string]string {
	names := map[string]string{}
	for _, r := range v.records {
		for _, c := range r.calls {
			if c.Kind == "write" && c.Name == "createUser" {
				names[c.Payload.String("id")] = fmt.Sprintf("<user %d>", len(names)+1)
			}
		}
	}
	return names
}

// writer writes a record, at the time it began.
type writer struct {
	visitor *visitor
	at      time.Time
	link    string // the token of the magic link that was sent
	lines   []string
}

func (w *writer) line(format string, args ...any) {
	w.lines = append(w.lines, fmt.Sprintf(format, args...))
}

func (w *writer) record(r *answer) {
	if r.refused != nil {
		w.line("refused %v", r.refused)
		return
	}
	w.line("status %d", r.status)
	var headers []string
	for name, values := range r.header {
		if slices.Contains(hidden, name) {
			continue
		}
		for _, value := range values {
			headers = append(headers, strings.ToLower(name)+": "+value)
		}
	}
	slices.Sort(headers)
	w.lines = append(w.lines, headers...)
	if to := r.header.Get("Location"); to != "" {
		w.line("location %s", to)
	}
	w.cookies(r.cookies)
	switch {
	case strings.HasPrefix(r.header.Get("Content-Type"), "text/html"):
		w.lines = append(w.lines, outline(r.body)...)
	case r.body != "":
		w.line("body %s", r.body)
	}
	w.link = linkToken(r.calls)
	if w.visitor.setup.InOrder {
		for i := range r.calls {
			w.calls(r.calls[i].Kind, r.calls[i:i+1])
		}
		return
	}
	w.calls("call", r.calls)
	w.calls("write", r.calls)
	for _, a := range r.asked {
		w.line("asked %s", a)
	}
}

// cookies writes each Set-Cookie, and the claims of what is sealed in it; chunks
// are opened together.
func (w *writer) cookies(raw []string) {
	chunked := ""
	for _, c := range raw {
		pair, attrs, _ := strings.Cut(c, ";")
		name, value, _ := strings.Cut(pair, "=")
		base, part := name, false
		if i := strings.LastIndexByte(name, '.'); i > 0 && value != "" {
			if _, err := strconv.Atoi(name[i+1:]); err == nil {
				base, part = name[:i], true
			}
		}
		if part {
			chunked += value
			w.line("cookie %s=<%d characters>;%s", name, len(value), attrs)
			if len(value) < chunkSize {
				w.claims(base, chunked)
			}
			continue
		}
		w.line("cookie %s", c)
		w.claims(name, value)
	}
}

// chunkSize is how many characters of a token a cookie has.
const chunkSize = 3936

// claims writes what a sealed value says.
func (w *writer) claims(salt, sealed string) {
	o, ok := w.visitor.open(salt, sealed)
	if !ok {
		return
	}
	for name := range o.Names() {
		raw := string(o.Raw(name))
		if len(raw) > 200 && !strings.HasPrefix(raw, `"ey`) {
			raw = fmt.Sprintf("<%d bytes>", len(raw))
		}
		w.line("  claim %s %s", name, w.value(name, raw))
	}
	if inner := o.String("value"); inner != "" && strings.Count(inner, ".") == 4 {
		w.claims("encodedState", inner)
	}
}

// calls writes the calls of one kind, a line for each member of what was given.
func (w *writer) calls(kind string, calls []call) {
	for _, c := range calls {
		if c.Kind != kind || kind == "log" {
			continue
		}
		w.line("%s %s", kind, c.Name)
		w.object("  ", tidy(c.Payload), 0)
	}
}

func (w *writer) object(prefix string, o gatebook.Claims, depth int) {
	for name := range o.Names() {
		raw := o.Raw(name)
		var inner gatebook.Claims
		if depth < 2 && len(raw) > 2 && raw[0] == '{' && json.Unmarshal(raw, &inner) == nil {
			w.object(prefix+name+".", inner, depth+1)
			continue
		}
		text := string(raw)
		if len(text) > 500 && !strings.HasPrefix(text, `"ey`) {
			text = fmt.Sprintf("<%d bytes>", len(text))
		}
		w.line("%s%s %s", prefix, name, w.value(name, text))
	}
}

// linkToken finds the token of a magic link that was sent.
func linkToken(calls []call) string {
	for _, c := range calls {
		if u, err := url.Parse(c.Payload.String("url")); c.Name == "mail" && err == nil {
			return u.Query().Get("token")
		}
	}
	return ""
}

// tidy gives users and accounts, which are structs in Go, one order of members,
// and leaves out what they have not: null there and an empty field here.
func tidy(o gatebook.Claims) gatebook.Claims {
	out := o.Clone()
	for name := range o.Names() {
		var inner gatebook.Claims
		raw := o.Raw(name)
		if len(raw) < 2 || raw[0] != '{' || json.Unmarshal(raw, &inner) != nil {
			continue
		}
		switch name {
		case "user":
			inner = ordered(inner, "id", "name", "email", "emailVerified", "image")
		case "credentials": // a form is a map in Go
			inner = ordered(inner, slices.Sorted(inner.Names())...)
		case "account":
			inner = ordered(inner, "", "expires_at", "provider", "type", "providerAccountId", "userId")
		case "session", "result", "signInInfo":
			inner = tidy(inner)
		case "profile":
			if inner.Has("id") && !inner.Has("sub") { // the mapped one
				inner = ordered(inner, "id", "name", "email", "emailVerified", "image")
			}
		default:
			continue
		}
		out.Set(name, inner)
	}
	if o.Has("providerAccountId") || o.Has("email") && o.Has("id") { // a row
		return ordered(out, columns...)
	}
	return out
}

// columns are those of users and accounts.
var columns = []string{"id", "name", "email", "emailVerified", "image", "access_token", "refresh_token", "id_token", "expires_at", "scope",
	"token_type", "session_state", "", "provider", "type", "providerAccountId", "userId"}

// ordered returns o with members in the given order, the others where the empty
// name stands or at the end, and without nulls.
func ordered(o gatebook.Claims, names ...string) gatebook.Claims {
	var out gatebook.Claims
	add := func(name string) {
		if raw := o.Raw(name); len(raw) > 0 && string(raw) != "null" {
			out.Set(name, raw)
		}
	}
	rest := func() {
		for name := range o.Names() {
			if !slices.Contains(names, name) {
				add(name)
			}
		}
	}
	for _, name := range names {
		if name == "" {
			rest()
			continue
		}
		add(name)
	}
	if !slices.Contains(names, "") {
		rest()
	}
	return out
}

// value shows a member that is a number of seconds as a time.
func (w *writer) value(name, raw string) string {
	switch name {
	case "iat", "exp", "nbf", "auth_time", "expires_at":
		if n, err := strconv.ParseInt(raw, 10, 64); err == nil {
			return w.relative(time.Unix(n, 0))
		}
	case "jti":
		return "<uuid>"
	case "token":
		if w.link != "" && raw == strconv.Quote(sha256hex(w.link+strings.Join(w.visitor.setup.Secrets, ","))) {
			return "<hash of the link's token and the secret>"
		}
	case "credentialID", "credentialPublicKey":
		return fmt.Sprintf("<%s, %d characters>", name, len(raw)-2)
	case "access_token", "refresh_token", "id_token", "at_hash", "sessionToken":
		if raw != "null" && !strings.HasPrefix(raw, `"at-`) && !strings.HasPrefix(raw, `"rt-`) {
			return "<" + name + ">"
		}
	}
	return raw
}

// relative shows a time as its distance from when the step began, in tens of
// seconds.
func (w *writer) relative(t time.Time) string {
	return fmt.Sprintf("<now%+ds>", int(math.Round(t.Sub(w.at).Seconds()/10)*10))
}

var shapes = []struct {
	pattern *regexp.Regexp
	shape   string
}{
	{regexp.MustCompile(`eyJ[\w-]+\.\.[\w-]+\.[\w-]+\.[\w-]+`), "<sealed>"},
	{regexp.MustCompile(`eyJ[\w-]+\.eyJ[\w-]+\.[\w-]+`), "<signed>"},
	{regexp.MustCompile(`[0-9a-f]{64}`), "<hex64>"},
	{regexp.MustCompile(`z{1000,}`), "<thousands of z>"},
	{regexp.MustCompile(`"allowCredentials":\[(\{"id":"[\w-]+","type":"public-key","transports":\[[^\]]*\]\},?)+\]`), `"allowCredentials":[<made up>]`},
	// A set, which Auth.js gives as it was stored and Gatebook sorted.
	{regexp.MustCompile(`"transports":\["(?:internal","hybrid|hybrid","internal)"\]`), `"transports":[<internal, hybrid>]`},
	{regexp.MustCompile(`\b[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\b`), "<uuid>"},
	{regexp.MustCompile(`(^|[^\w-])[\w-]{43}($|[^\w-])`), "$1<random43>$2"},
}

var (
	isoDate  = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z`)
	httpDate = regexp.MustCompile(`(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT`)
)

// shape replaces what is random or a time in a line.
func (w *writer) shape(line string) string {
	if key := w.visitor.key; key != nil {
		line = strings.ReplaceAll(line, base64.StdEncoding.EncodeToString(key.ID), "<credential id>")
		line = strings.ReplaceAll(line, base64.RawURLEncoding.EncodeToString(key.ID), "<credential id, for URLs>")
	}
	if op := w.visitor.op; op != nil {
		line = both(line, op.Issuer, "NPM")
	}
	line = both(line, w.visitor.mock.server.URL, "MOCK")
	line = isoDate.ReplaceAllStringFunc(line, func(s string) string {
		t, err := time.Parse(time.RFC3339, s)
		if err != nil {
			return s
		}
		return w.relative(t)
	})
	line = httpDate.ReplaceAllStringFunc(line, func(s string) string {
		t, err := http.ParseTime(s)
		if err != nil {
			return s
		}
		return w.relative(t)
	})
	for _, s := range shapes {
		line = s.pattern.ReplaceAllString(line, s.shape)
	}
	return line
}

// both replaces an address as it is and as it stands in a query.
func both(line, address, name string) string {
	return strings.ReplaceAll(strings.ReplaceAll(line, address, name), url.QueryEscape(address), name)
}
