package nextjs_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"mime/multipart"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gatebook/gatebook/adapter/sqlite"
	"github.com/gatebook/gatebook/book"
	"github.com/gatebook/gatebook/test/need"
	"github.com/gatebook/gatebook/test/nextjs"
)

// program is an example that was built and runs.
type program struct {
	t      *testing.T
	binary string
	env    []string
	cmd    *exec.Cmd
	log    logBuffer
}

// newProgram builds an example.
func newProgram(t *testing.T, name string, env ...string) *program {
	t.Helper()
	p := &program{t: t, binary: filepath.Join(t.TempDir(), name), env: append(os.Environ(), env...)}
	build := exec.CommandContext(t.Context(), "go", "build", "-o", p.binary, "./"+name)
	build.Dir = filepath.Join(filepath.Dir(need.Dir()), "examples")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s said:\n%s", name, p.log.String())
		}
	})
	return p
}

// start starts it and waits until it listens at addr.
func (p *program) start(addr string, args ...string) {
	p.t.Helper()
	cmd := exec.Command(p.binary, append([]string{"-listen", addr}, args...)...)
	cmd.Env, cmd.Stderr = p.env, &p.log
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.cmd = cmd
	p.t.Cleanup(func() { cmd.Process.Kill() })
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for range 2000 {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conn.Close()
			return
		}
		<-tick.C
	}
	p.t.Fatalf("it does not listen:\n%s", p.log.String())
}

// stop ends it as an operator does.
func (p *program) stop() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	if err := p.cmd.Wait(); err != nil {
		p.t.Errorf("it ended with %v:\n%s", err, p.log.String())
	}
}

type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// freeAddr returns an address of the host that browsers call localhost.
func freeAddr(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return fmt.Sprintf("localhost:%d", ln.Addr().(*net.TCPAddr).Port)
}

// The API of the guide beside the application.
func TestAPI(t *testing.T) {
	addr := freeAddr(t)
	app := nextjs.Start(t, "AUTH_SECRET="+secret, "API=http://"+addr)
	api := newProgram(t, "nextjs-api", "AUTH_SECRET="+secret)
	api.start(addr, "-origin", app)
	v := newVisitor(t, app)
	// The page asks the API, which is at another port, and so another origin with
	// the same cookies.
	ask := func(method string, headers ...string) *answer {
		there := &visitor{t: t, origin: "http://" + addr, header: http.Header{"Origin": {app}}, cookies: v.cookies}
		for i := 0; i+1 < len(headers); i += 2 {
			there.header.Set(headers[i], headers[i+1])
		}
		return there.do(method, "/api/hello", "", "")
	}
	if got := ask("GET"); got.StatusCode != 401 || got.body != `{"error":"sign in first"}` || got.Header.Get("Access-Control-Allow-Origin") != app {
		t.Errorf("before signing in: %d %s %v", got.StatusCode, got.body, got.Header)
	}
	if got := ask("OPTIONS", "Access-Control-Request-Method", "PUT", "Access-Control-Request-Headers", "content-type"); got.StatusCode != 204 ||
		got.Header.Get("Access-Control-Allow-Headers") != "content-type" {
		t.Errorf("preflight: %d %v", got.StatusCode, got.Header)
	}
	for _, person := range []struct{ login, want string }{
		{"ada", `{"email":"ada@example.com","id":"1","role":"admin"}`},
		{"grace", `{"email":"grace@example.com","id":"3","role":"admiral"}`},
	} {
		v.signIn(person.login)
		if got := ask("GET"); strings.TrimSpace(got.body) != person.want || got.Header.Get("Access-Control-Allow-Credentials") != "true" {
			t.Errorf("%s: %d %s %v", person.login, got.StatusCode, got.body, got.Header)
		}
		if got := v.get("/api/relay"); strings.TrimSpace(got.body) != person.want {
			t.Errorf("%s, through the application: %d %s", person.login, got.StatusCode, got.body)
		}
	}
	if got := ask("POST", "Origin", "https://evil.example"); got.StatusCode != 403 {
		t.Errorf("another site's POST: %d %s", got.StatusCode, got.body)
	}
	v.post("/api/auth/signout", url.Values{"csrfToken": {v.csrf()}})
	if got := ask("GET"); got.StatusCode != 401 {
		t.Errorf("after signing out: %d %s", got.StatusCode, got.body)
	}
}

var (
	hidden = regexp.MustCompile(`<input type="hidden" name="(\$[^"]+)"(?: value="([^"]*)")?`)
	who    = regexp.MustCompile(`<p id="who">([^<]*)</p>`)
)

// act sends the form of the page at /, which calls a server action.
func (v *visitor) act(fields ...string) *answer {
	v.t.Helper()
	page := v.get("/").body
	actions := hidden.FindAllStringSubmatch(page, -1)
	if actions == nil {
		v.t.Fatalf("no server action in %s", page)
	}
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	for _, a := range actions {
		w.WriteField(a[1], a[2])
	}
	for i := 0; i+1 < len(fields); i += 2 {
		w.WriteField(fields[i], fields[i+1])
	}
	w.Close()
	v.header.Set("Origin", v.origin)
	defer v.header.Del("Origin")
	return v.do("POST", "/", w.FormDataContentType(), body.String())
}

// person is who should be signed in; nobody if empty.
type person struct{ id, name, email, role string }

var (
	nobody = person{}
	ada    = person{"1", "Ada Lovelace", "ada@example.com", "admin"}
	bob    = person{"2", "Bob", "bob@example.com", "guest"}
	grace  = person{"3", "Grace Hopper", "grace@example.com", "admiral"}
)

// sees checks that every part of the site sees who it is: the session route, a
// route, a page and the middleware of the application, and the handler in Go.
func (v *visitor) sees(when string, p person) {
	v.t.Helper()
	session, page, members, hello := "null", "nobody", "", `{"error":"sign in first"}`
	if p != nobody {
		b, err := json.Marshal(map[string]any{"user": map[string]string{"id": p.id, "name": p.name, "email": p.email, "role": p.role}})
		if err != nil {
			v.t.Fatal(err)
		}
		session, page, members, hello = string(b), p.email, p.email, fmt.Sprintf(`{"email":%q,"id":%q,"role":%q}`, p.email, p.id, p.role)
	}
	// Twice round, for each of them renews what the next gets.
	for range 2 {
		if got := v.session(); got != session {
			v.t.Errorf("%s: the session is %s, want %s", when, got, session)
		}
		if got := noExpiry(v.t, v.get("/api/me").body); got != session {
			v.t.Errorf("%s: auth() in a route gives %s, want %s", when, got, session)
		}
		if got := who.FindStringSubmatch(v.get("/").body); got == nil || got[1] != page {
			v.t.Errorf("%s: the page says %q, want %q", when, got, page)
		}
		got := v.get("/members")
		if m := who.FindStringSubmatch(got.body); members != "" && (m == nil || m[1] != members) ||
			members == "" && !strings.HasPrefix(got.Header.Get("Location"), v.origin+"/api/auth/signin?callbackUrl=") {
			v.t.Errorf("%s: the guarded page is %d, %q, to %q", when, got.StatusCode, m, got.Header.Get("Location"))
		}
		if got := v.get("/api/go/hello"); strings.TrimSpace(got.body) != hello {
			v.t.Errorf("%s: Go says %q, want %q", when, got.body, hello)
		}
	}
}

// sid returns the sid of the session, empty for one that no part of Gatebook has
// renewed.
func (v *visitor) sid() string {
	v.t.Helper()
	s, err := reader(v.t, secret).Session(&http.Request{Header: http.Header{"Cookie": {v.cookie()}}})
	if err != nil {
		v.t.Fatal(err)
	}
	return s.ID
}

// Signing in moves from Auth.js to Gatebook and back, and nobody is signed out.
func TestLeaveAuthJSAndComeBack(t *testing.T) {
	addr := freeAddr(t)
	origin, file := "http://"+addr, filepath.Join(t.TempDir(), "book.db")
	front := newProgram(t, "leave-authjs", "AUTH_SECRET="+secret, "AUTH_URL="+origin)
	app := nextjs.Start(t, "AUTH_SECRET="+secret, "AUTH_URL="+origin)
	a, b, g, newcomer := newVisitor(t, origin), newVisitor(t, origin), newVisitor(t, origin), newVisitor(t, origin)

	front.start(addr, "-app", app, "-book", file, "-back")
	newcomer.sees("before anybody came", nobody)
	a.signIn("ada")
	g.signIn("grace")
	if got := b.act("username", "bob", "password", "right"); got.StatusCode != 303 {
		t.Errorf("signing in by a server action: %d %s", got.StatusCode, got.body)
	}
	csrf := newcomer.csrf()
	a.sees("at Auth.js", ada)
	b.sees("at Auth.js", bob)
	g.sees("at Auth.js", grace)
	sid := a.sid()
	front.stop()

	front.start(addr, "-app", app, "-book", file)
	a.sees("after the cut-over", ada)
	b.sees("after the cut-over", bob)
	g.sees("after the cut-over", grace)
	if got := a.sid(); got != sid || sid == "" {
		t.Errorf("Ada's sid was %q and is %q", sid, got)
	}
	newcomer.sees("after the cut-over", nobody)
	// A page that was loaded before the cut-over.
	refused := newcomer.post("/api/auth/callback/credentials", url.Values{"csrfToken": {csrf}, "username": {"ada"}, "password": {"wrong"}})
	if to := refused.Header.Get("Location"); !strings.Contains(to, "error=CredentialsSignin") {
		t.Errorf("a wrong password leads to %q", to)
	}
	newcomer.sees("after a wrong password", nobody)
	entered := newcomer.post("/api/auth/callback/credentials", url.Values{"csrfToken": {csrf}, "username": {"ada"}, "password": {"right"}})
	if entered.StatusCode != 302 {
		t.Errorf("signing in at Gatebook: %d %s", entered.StatusCode, entered.body)
	}
	newcomer.sees("signed in at Gatebook", ada)
	b.post("/api/auth/signout", url.Values{"csrfToken": {b.csrf()}})
	b.sees("signed out at Gatebook", nobody)
	b.signIn("bob")
	sid = newcomer.sid()
	// Server actions sign in without going through the front's routes.
	other := newVisitor(t, origin)
	other.act("username", "bob", "password", "right")
	other.sees("signed in by a server action", bob)
	front.stop()

	front.start(addr, "-app", app, "-book", file, "-back")
	a.sees("back at Auth.js", ada)
	b.sees("back at Auth.js", bob)
	g.sees("back at Auth.js", grace)
	newcomer.sees("back at Auth.js", ada)
	other.sees("back at Auth.js", bob)
	if got := newcomer.sid(); got != sid || sid == "" {
		t.Errorf("the newcomer's sid was %q and is %q", sid, got)
	}
	a.act()
	a.sees("signed out by a server action", nobody)
	newcomer.post("/api/auth/signout", url.Values{"csrfToken": {newcomer.csrf()}})
	newcomer.sees("signed out at Auth.js", nobody)
	front.stop()

	want := []string{"signIn.failed", "signIn", "signOut", "signIn"}
	if got := recorded(t, file, want...); !slices.Equal(got, want) {
		t.Errorf("the book has %q, want %q", got, want)
	}
}

// recorded returns the types of the entries in the book that are of one of types.
func recorded(t *testing.T, file string, types ...string) []string {
	t.Helper()
	b, err := sqlite.OpenBook(file)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	entries, err := b.Read(t.Context(), book.Query{Filter: book.Filter{Types: types}})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Header.Type)
	}
	return got
}
