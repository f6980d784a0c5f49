package interop

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatebook/gatebook/passkey/passkeytest"
	"github.com/gatebook/gatebook/test/oidcprovider"
)

// visitor is a browser on one of the two servers. It keeps cookies as they come
// and shows what happened as records.
type visitor struct {
	t     *testing.T
	setup setup
	side  side
	op    *oidcprovider.Provider
	mock  *mockServer

	jar     []cookie // in the order in which they were first set
	jars    map[string][]cookie
	csrf    string
	mails   []string // the links that were sent
	key     *passkeytest.Authenticator
	last    *answer
	records []*answer
	quiet   bool
}

type cookie struct{ name, value string }

// answer is what one step did.
type answer struct {
	step    string
	at      time.Time
	status  int
	header  http.Header
	cookies []string // Set-Cookie, raw
	body    string
	calls   []call
	asked   []string // of the mock provider
	refused error    // the site could not be made
}

// step is one thing that a visitor or the world does.
type step struct {
	label string
	do    func(*visitor)
}

// option changes a request.
type option func(*visitor, *http.Request)

// xr asks for JSON in place of a redirect, as the browser client does.
func xr(_ *visitor, r *http.Request) { r.Header.Set("X-Auth-Return-Redirect", "1") }

// with sets a header.
func with(name, value string) option {
	return func(_ *visitor, r *http.Request) { r.Header.Set(name, value) }
}

// cookies sends this Cookie header in place of the jar.
func cookies(raw string) option {
	return func(v *visitor, r *http.Request) { r.Header.Set("Cookie", v.fill(raw)) }
}

// request sends one request and records its answer. In path and body $csrf is
// the visitor's token and $secret… what fill knows.
func request(method, path, body string, opts ...option) step {
	label := method + " " + path
	if body != "" {
		label += " " + body
	}
	return step{label, func(v *visitor) { v.send(method, path, body, opts...) }}
}

func get(path string, opts ...option) step { return request("GET", path, "", opts...) }

// post sends a form, given as name=value&name=value.
func post(path, form string, opts ...option) step {
	return request("POST", path, form, append([]option{with("Content-Type", "application/x-www-form-urlencoded")}, opts...)...)
}

// postJSON sends a JSON body.
func postJSON(path, body string, opts ...option) step {
	return request("POST", path, body, append([]option{with("Content-Type", "application/json")}, opts...)...)
}

// named gives a step another label.
func named(label string, s step) step { return step{label, s.do} }

// quietly does steps that other scenarios compare; only what they leave counts.
func quietly(steps ...step) step {
	return step{"", func(v *visitor) {
		was := v.quiet
		v.quiet = true
		for _, s := range steps {
			s.do(v)
		}
		v.quiet = was
	}}
}

// behaves changes what the application does from now on.
func behaves(d does) step {
	return step{"", func(v *visitor) { v.side.behave(v.t, d) }}
}

// findsRows puts rows into the adapter.
func findsRows(fn func() rows) step {
	return step{"", func(v *visitor) { v.side.seed(v.t, fn()) }}
}

// has puts a cookie into the jar.
func has(name, value string) step {
	return step{"", func(v *visitor) { v.set(name, v.fill(value)) }}
}

// drops removes a cookie from the jar.
func drops(name string) step { return step{"", func(v *visitor) { v.drop(name) }} }

// keeps copies the jar under a name, for other.
func keeps(name string) step {
	return step{"", func(v *visitor) { v.jars[name] = slices.Clone(v.jar) }}
}

// other goes on in another browser, named, with its own cookies.
func other(name string) step {
	return step{"", func(v *visitor) {
		v.jars["before "+name] = v.jar
		v.jar, v.csrf = v.jars[name], ""
	}}
}

// at walks the visitor through npm's oidc-provider, to which the last answer
// leads, and back to the callback.
func at(account oidcprovider.Account, opts ...option) step {
	return step{"back from the provider as " + string(account), func(v *visitor) {
		back := v.op.SignIn(v.t, nil, v.last.location(), account)
		v.send("GET", back.RequestURI(), "", opts...)
	}}
}

// back is the way back from the mock provider, to which an answer led before:
// its callback with the given parameters, in which $code and $state stand for
// good ones.
func back(id, params string, opts ...option) step {
	return step{"back from " + id + " with " + params, func(v *visitor) { v.send("GET", "/auth/callback/"+id+"?"+params, "", opts...) }}
}

// signIn goes through npm's oidc-provider as one step of a longer story.
func signIn(account oidcprovider.Account) []step {
	return []step{post("/auth/signin/npm", "csrfToken=$csrf"), at(account)}
}

// signInAt goes through the mock provider with everything as it should be.
func signInAt(id string) []step {
	return []step{post("/auth/signin/"+id, "csrfToken=$csrf"), back(id, "code=$code&state=$state")}
}

// click opens the link of the last mail, in which change replaces a text.
func click(change ...string) step {
	label := "open the link"
	if change != nil {
		label += fmt.Sprintf(" %q", change)
	}
	return step{label, func(v *visitor) {
		if len(v.mails) == 0 {
			v.t.Fatal("no mail was sent")
		}
		u, err := url.Parse(v.mails[len(v.mails)-1])
		if err != nil {
			v.t.Fatal(err)
		}
		path := u.RequestURI()
		if change != nil {
			path = regexp.MustCompile(change[0]).ReplaceAllString(path, change[1])
		}
		v.send("GET", path, "")
	}}
}

// steps joins single steps and lists of them.
func steps(list ...any) []step {
	var all []step
	for _, s := range list {
		switch s := s.(type) {
		case step:
			all = append(all, s)
		case []step:
			all = append(all, s...)
		default:
			panic(fmt.Sprintf("%T is no step", s))
		}
	}
	return all
}

// fill replaces $names in a text.
func (v *visitor) fill(s string) string {
	if strings.Contains(s, "$csrf") {
		s = strings.ReplaceAll(s, "$csrf", v.token())
	}
	if strings.Contains(s, "$state") {
		s = strings.ReplaceAll(s, "$state", v.sent().Get("state"))
	}
	s = strings.ReplaceAll(s, "$code", "code-1")
	s = strings.ReplaceAll(s, "$mock", v.mock.server.URL)
	return s
}

// sent returns the parameters of the last request for authorization.
func (v *visitor) sent() url.Values {
	for _, r := range slices.Backward(v.records) {
		if u, err := url.Parse(r.location()); err == nil && u.Query().Get("client_id") != "" {
			v.mock.began(u.Query())
			return u.Query()
		}
	}
	return nil
}

// token returns the visitor's CSRF token, and gets one without a record.
func (v *visitor) token() string {
	if v.csrf == "" {
		was := v.quiet
		v.quiet = true
		v.send("GET", v.setup.base()+"/csrf", "")
		v.quiet = was
		v.csrf = regexp.MustCompile(`[0-9a-f]{64}`).FindString(v.last.body)
	}
	return v.csrf
}

func (s setup) base() string {
	if s.BasePath == "" {
		return "/auth"
	}
	return strings.TrimRight(s.BasePath, "/")
}

// send sends a request and keeps the record of its answer.
func (v *visitor) send(method, path, body string, opts ...option) {
	path, body = v.fill(path), v.fill(body)
	rec := &answer{at: time.Now()}
	defer func() {
		v.last = rec
		if v.quiet {
			rec.step = "quiet"
		}
		v.records = append(v.records, rec)
	}()
	if a, ok := v.side.(*alternating); ok {
		a.turn()
	}
	if r, ok := v.side.(refusedSite); ok {
		rec.refused = r.err
		return
	}
	req, err := http.NewRequest(method, "http://"+v.side.address()+path, strings.NewReader(body))
	if err != nil {
		v.t.Fatal(err)
	}
	req.URL.Opaque, req.URL.RawQuery = path, "" // as it is, not cleaned
	origin, err := url.Parse(v.setup.Origin)
	if err != nil {
		v.t.Fatal(err)
	}
	req.Host = origin.Host
	v.side.label(req)
	if h := v.header(); h != "" {
		req.Header.Set("Cookie", h)
	}
	for _, o := range opts {
		o(v, req)
	}
	res, err := transport.RoundTrip(req)
	if err != nil {
		v.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		v.t.Fatalf("%s %s: read the answer: %v", method, path, err)
	}
	if res.StatusCode == 599 {
		v.t.Fatalf("%s %s: Auth.js's server failed: %s", method, path, text)
	}
	rec.status, rec.header, rec.body = res.StatusCode, res.Header, string(text)
	rec.cookies = res.Header["Set-Cookie"]
	rec.calls, rec.asked = v.side.take(v.t), v.mock.take()
	for _, c := range rec.calls {
		if c.Name == "mail" {
			v.mails = append(v.mails, c.Payload.String("url"))
		}
	}
	for _, c := range rec.cookies {
		v.receive(c)
	}
}

var transport = &http.Transport{MaxIdleConnsPerHost: 16}

// header is the Cookie header of the jar.
func (v *visitor) header() string {
	var parts []string
	for _, c := range v.jar {
		parts = append(parts, c.name+"="+c.value)
	}
	return strings.Join(parts, "; ")
}

// receive keeps a cookie or, when it has run out, drops it.
func (v *visitor) receive(raw string) {
	pair, attrs, _ := strings.Cut(raw, ";")
	name, value, _ := strings.Cut(pair, "=")
	for a := range strings.SplitSeq(attrs, ";") {
		key, val, _ := strings.Cut(strings.TrimSpace(a), "=")
		when, err := http.ParseTime(val)
		if key == "Max-Age" && val == "0" || key == "Expires" && err == nil && when.Before(time.Now()) {
			v.drop(name)
			return
		}
	}
	v.set(name, value)
}

func (v *visitor) set(name, value string) {
	for i := range v.jar {
		if v.jar[i].name == name {
			v.jar[i].value = value
			return
		}
	}
	v.jar = append(v.jar, cookie{name, value})
}

func (v *visitor) drop(name string) {
	v.jar = slices.DeleteFunc(v.jar, func(c cookie) bool { return c.name == name })
}

// location is where an answer leads, also when it says so in JSON.
func (r *answer) location() string {
	if to := r.header.Get("Location"); to != "" {
		return to
	}
	if m := regexp.MustCompile(`^\{"url":"([^"]+)"\}$`).FindStringSubmatch(r.body); m != nil {
		return m[1]
	}
	return ""
}

// sha256hex is how tokens and CSRF cookies are hashed.
func sha256hex(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}
