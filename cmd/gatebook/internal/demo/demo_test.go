package demo_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gatebook/gatebook/adapter/sqlite"
	"github.com/gatebook/gatebook/book"
	"github.com/gatebook/gatebook/record"
)

// binary returns the path of the program as it is released: without cgo and
// without the race detector, whose time and memory say nothing.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "gatebook-demo-test")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "gatebook")
	cmd := exec.Command("go", "build", "-o", path, "github.com/gatebook/gatebook/cmd/gatebook")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%v: %w\n%s", cmd, err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	status := m.Run()
	if path, err := binary(); err == nil {
		_ = os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(status)
}

// running is a demo that runs.
type running struct {
	t    *testing.T
	cmd  *exec.Cmd
	url  string
	dir  string
	out  *bufio.Reader
	errs *bytes.Buffer
	took time.Duration
	end  func() error
}

// run starts a demo on free ports with its data in dir.
func run(t *testing.T, dir string) *running {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	d := &running{t: t, dir: dir, errs: &bytes.Buffer{}}
	d.cmd = exec.Command(path, "demo", "--addr", "127.0.0.1:0", "--idp-addr", "127.0.0.1:0", "--dir", dir)
	d.cmd.Stderr = d.errs
	out, err := d.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	d.out = bufio.NewReader(out)
	begun := time.Now()
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	d.end = sync.OnceValue(func() error {
		_ = d.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		rest, err := io.ReadAll(d.out)
		if len(rest) > 0 {
			err = fmt.Errorf("printed more than one line: %q", rest)
		}
		if werr := d.cmd.Wait(); werr != nil {
			err = fmt.Errorf("%w\n%s", werr, d.errs)
		}
		return err
	})
	t.Cleanup(func() {
		if err := d.end(); err != nil {
			t.Errorf("the demo ended with %v", err)
		}
		log, err := os.ReadFile(filepath.Join(dir, "demo.log"))
		if err != nil {
			t.Error(err)
		}
		if bytes.Contains(log, []byte("panic:")) || bytes.Contains(log, []byte("DATA RACE")) {
			t.Error("something went wrong in the site")
		}
		if t.Failed() {
			t.Logf("demo.log:\n%s", log)
		}
	})
	line, err := d.out.ReadString('\n')
	d.took = time.Since(begun)
	if err != nil {
		t.Fatalf("the demo printed no line: %v\n%s", err, d.errs)
	}
	if d.url = regexp.MustCompile(`http://localhost:\d+`).FindString(line); d.url == "" || !strings.Contains(line, dir) {
		t.Fatalf("the demo says %q, want its address and its folder", line)
	}
	return d
}

// visitor is somebody with a browser without scripts.
type visitor struct {
	t      *testing.T
	demo   *running
	client *http.Client
}

func (d *running) visitor() *visitor {
	jar, err := cookiejar.New(nil)
	if err != nil {
		d.t.Fatal(err)
	}
	return &visitor{d.t, d, &http.Client{Jar: jar, Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}}
}

// page is an answer.
type page struct {
	status int
	url    *url.URL
	header http.Header
	body   string
}

func (v *visitor) do(method, to string, form url.Values) page {
	v.t.Helper()
	if strings.HasPrefix(to, "/") {
		to = v.demo.url + to
	}
	r, err := http.NewRequestWithContext(v.t.Context(), method, to, strings.NewReader(form.Encode()))
	if err != nil {
		v.t.Fatal(err)
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	res, err := v.client.Do(r)
	if err != nil {
		v.t.Fatalf("%s %s: %v", method, r.URL.Path, err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		v.t.Fatalf("%s %s: %v", method, r.URL.Path, err)
	}
	return page{res.StatusCode, res.Request.URL, res.Header, string(body)}
}

// numbered gets the front page when everything so far has its number.
func (v *visitor) numbered() page { v.t.Helper(); v.demo.entries(book.Filter{}); return v.get("/") }

func (v *visitor) get(to string) page { v.t.Helper(); return v.do(http.MethodGet, to, nil) }

var (
	formTag  = regexp.MustCompile(`(?s)<form[^>]*method="post"[^>]*action="([^"]*)"[^>]*>(.*?)</form>`)
	inputTag = regexp.MustCompile(`<(?:input|button)[^>]*name="([^"]*)"[^>]*value="([^"]*)"`)
)

// submit sends the form of a page whose action ends so, with what it holds and
// what is typed.
func (v *visitor) submit(on page, action string, typed url.Values) page {
	v.t.Helper()
	for _, f := range formTag.FindAllStringSubmatch(on.body, -1) {
		if !strings.HasSuffix(f[1], action) {
			continue
		}
		form := url.Values{}
		for _, in := range inputTag.FindAllStringSubmatch(f[2], -1) {
			if in[1] != "cancel" && !form.Has(in[1]) {
				form.Set(in[1], in[2])
			}
		}
		for name := range typed {
			form.Set(name, typed.Get(name))
		}
		to, err := on.url.Parse(f[1])
		if err != nil {
			v.t.Fatal(err)
		}
		return v.do(http.MethodPost, to.String(), form)
	}
	v.t.Fatalf("the page %s has no form for %s:\n%s", on.url.Path, action, visible(on.body))
	return page{}
}

// throughProvider signs in at the demo's OpenID provider.
func (v *visitor) throughProvider(person string) page {
	v.t.Helper()
	choose := v.submit(v.get("/"), "/auth/signin/demo", nil)
	consent := v.submit(choose, "/signin", url.Values{"person": {person}})
	return v.submit(consent, "/consent", nil)
}

// entries returns the book, once nothing in it waits to be numbered.
func (d *running) entries(f book.Filter) []book.Entry {
	d.t.Helper()
	b, err := sqlite.OpenBook(filepath.Join(d.dir, "site.db"))
	if err != nil {
		d.t.Fatal(err)
	}
	defer b.Close()
	ctx, cancel := context.WithTimeout(d.t.Context(), 20*time.Second)
	defer cancel()
	for {
		n, _, err := b.Pending(ctx)
		if err != nil {
			d.t.Fatalf("%d entries wait to be numbered: %v", n, err)
		}
		if n == 0 {
			break
		}
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
	entries, err := b.Read(ctx, book.Query{Filter: f, Limit: 1000})
	if err != nil {
		d.t.Fatal(err)
	}
	return entries
}

// types returns the types of entries, joined.
func types(entries []book.Entry) string {
	var all []string
	for _, e := range entries {
		s := e.Header.Type
		if e.Header.Reason != "" {
			s += ":" + e.Header.Reason
		}
		all = append(all, s)
	}
	return strings.Join(all, " ")
}

func want(t *testing.T, p page, status int, parts ...string) {
	t.Helper()
	if p.status != status {
		t.Errorf("%s: status %d, want %d", p.url.Path, p.status, status)
	}
	for _, part := range parts {
		if !strings.Contains(p.body, part) {
			t.Errorf("%s does not say %q:\n%s", p.url.Path, part, visible(p.body))
		}
	}
}

// visible returns the part of a page without style and script.
func visible(body string) string {
	if _, main, ok := strings.Cut(body, "<main"); ok {
		body = main
	}
	body, _, _ = strings.Cut(body, "<script")
	return body
}

// sitePID finds the site among the children of the demo.
func (d *running) sitePID() int {
	d.t.Helper()
	pid := d.cmd.Process.Pid
	out, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil || len(bytes.Fields(out)) == 0 {
		// Threads start children too.
		files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
		for _, f := range files {
			b, _ := os.ReadFile(f)
			out = append(out, b...)
		}
	}
	fields := bytes.Fields(out)
	if len(fields) == 0 {
		return 0
	}
	n, err := strconv.Atoi(string(fields[0]))
	if err != nil {
		d.t.Fatal(err)
	}
	return n
}

// resident returns the kilobytes that a process has in memory.
func resident(t *testing.T, pid int) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`VmRSS:\s+(\d+) kB`).FindSubmatch(b)
	if m == nil {
		t.Fatalf("process %d tells no VmRSS", pid)
	}
	n, err := strconv.Atoi(string(m[1]))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestSignInThroughTheProvider(t *testing.T) {
	d := run(t, t.TempDir())
	v := d.visitor()
	home := v.get("/")
	want(t, home, 200, "Nobody is signed in", "1 entry")
	in := v.throughProvider("ada")
	if in.url.Path != "/" || in.url.RawQuery != "" {
		t.Errorf("after the sign-in the visitor is at %s, want /", in.url)
	}
	want(t, in, 200, "Ada Lovelace", "ada@example.com", "Demo identity provider")
	want(t, v.numbered(), 200, "createUser", "linkAccount", "signIn", "3 entries", `2 users, each with createUser`, `1 account, each with linkAccount`, `1 session, each with signIn`)
	if got := types(d.entries(book.Filter{Email: "ada@example.com"})); got != "createUser linkAccount signIn" {
		t.Errorf("the book has %q of Ada, want createUser linkAccount signIn", got)
	}

	// Another account for the same person, and the other forms of theirs.
	v.throughProvider("grace")
	want(t, v.get("/"), 200, "Ada Lovelace", ">grace<")
	v.submit(v.get("/"), "/unlink", nil)
	v.submit(v.get("/"), "/revoke", nil)
	want(t, v.get("/"), 200, "Nobody is signed in")
	if got := types(d.entries(book.Filter{Email: "ada@example.com"})); got != "createUser linkAccount signIn linkAccount signIn unlinkAccount session.revoked" {
		t.Errorf("the book has %q of Ada", got)
	}
	v.throughProvider("grace")
	v.submit(v.get("/"), "/delete", nil)
	want(t, v.get("/"), 200, "Nobody is signed in")
}

// What a person sees of where else they are signed in, and ends from here.
func TestElsewhere(t *testing.T) {
	d := run(t, t.TempDir())
	typed := url.Values{"username": {"ada"}, "password": {"password"}}
	var all []*visitor
	for range 4 {
		v := d.visitor()
		v.submit(v.get("/"), "/auth/callback/password", typed)
		all = append(all, v)
	}
	here := all[0]
	home := here.get("/")
	if got := strings.Count(home.body, "Also signed in"); got != 3 {
		t.Fatalf("the page tells of %d other sessions, want 3", got)
	}
	here.submit(home, "/elsewhere", nil) // the first form: the newest session
	want(t, all[3].get("/"), 200, "Nobody is signed in")
	want(t, all[2].get("/"), 200, "Ada Lovelace")
	home = here.get("/")
	if got := strings.Count(home.body, "Also signed in"); got != 2 {
		t.Errorf("the page tells of %d other sessions, want 2", got)
	}
	here.do(http.MethodPost, "/elsewhere", url.Values{})
	want(t, all[1].get("/"), 200, "Nobody is signed in")
	want(t, all[2].get("/"), 200, "Nobody is signed in")
	home = here.get("/")
	want(t, home, 200, "Ada Lovelace")
	if strings.Contains(home.body, "Also signed in") || strings.Contains(home.body, "Sign out elsewhere") {
		t.Error("the page still tells of other sessions")
	}
	want(t, here.numbered(), 200, "session.revoked")
}

func TestWrongPassword(t *testing.T) {
	d := run(t, t.TempDir())
	v := d.visitor()
	wrong := v.submit(v.get("/"), "/auth/callback/password", url.Values{"username": {"ada"}, "password": {"12345678"}})
	unknown := v.submit(v.get("/"), "/auth/callback/password", url.Values{"username": {"nobody"}, "password": {"12345678"}})
	notice := regexp.MustCompile(`<p class="notice bad" role="alert">([^<]*)</p>`)
	first, second := notice.FindStringSubmatch(wrong.body), notice.FindStringSubmatch(unknown.body)
	if first == nil || second == nil || first[1] != second[1] {
		t.Errorf("the visitor reads %q and %q, want the same", first, second)
	}
	if wrong.url.String() != unknown.url.String() {
		t.Errorf("the visitor comes to %s and %s, want the same", wrong.url, unknown.url)
	}
	got := types(d.entries(book.Filter{Types: []string{record.TypeSignInFailed}}))
	if got != "signIn.failed:badCredentials signIn.failed:unknownUser" {
		t.Errorf("the book has %q, want both reasons", got)
	}
	want(t, v.get("/"), 200, `<span class="reason">badCredentials</span>`, `<span class="reason">unknownUser</span>`)
	if strings.Contains(v.get("/").body, "12345678") {
		t.Error("the page shows what was typed as the password")
	}

	in := v.submit(v.get("/"), "/auth/callback/password", url.Values{"username": {"ada"}, "password": {"password"}})
	want(t, in, 200, "Ada Lovelace", "ada@gatebook.example", "a password")
	v.submit(in, "/auth/signout", nil)
	want(t, v.numbered(), 200, "Nobody is signed in", "signOut")
}

func TestMagicLink(t *testing.T) {
	d := run(t, t.TempDir())
	v := d.visitor()
	want(t, v.get("/mailbox"), 200, "No mail yet")
	sent := v.submit(v.get("/"), "/auth/signin/email", url.Values{"email": {"Grace@Example.com"}})
	want(t, sent, 200, "Check your e-mail")
	mailbox := v.get("/mailbox")
	want(t, mailbox, 200, "grace@example.com")
	mail := v.get(regexp.MustCompile(`/mailbox/[^"]+`).FindString(mailbox.body))
	link := regexp.MustCompile(`href="(http://localhost:\d+/auth/callback/email[^"]*)"`).FindStringSubmatch(mail.body)
	if link == nil {
		t.Fatalf("the mail has no link:\n%s", mail.body)
	}
	preview := v.get(regexp.MustCompile(`/mailbox/[^"]+/html`).FindString(mail.body))
	if !strings.Contains(preview.body, `href="`+link[1]+`"`) || !strings.Contains(preview.body, `<base target="_top">`) {
		t.Errorf("the mail's HTML does not lead out of its frame:\n%s", preview.body)
	}
	if policy := preview.header.Get("Content-Security-Policy"); !strings.HasPrefix(policy, "default-src 'none';") || !strings.Contains(policy, "sandbox allow-top-navigation-by-user-activation") {
		t.Errorf("the mail's HTML has the policy %q", policy)
	}
	to := strings.ReplaceAll(link[1], "&amp;", "&")
	want(t, v.get(to), 200, "grace@example.com", "address verified", "a magic link")
	want(t, d.visitor().get(to), 200, "This link no longer works")
	if got := types(d.entries(book.Filter{Email: "grace@example.com"})); got != "createUser signIn signIn.failed:tokenUsed" {
		t.Errorf("the book has %q of Grace", got)
	}

	// A mail is there whatever becomes of the server.
	for _, path := range []string{"/mailbox/nothing", "/mailbox/nothing/html"} {
		if got := v.get(path).status; got != 404 {
			t.Errorf("%s has the status %d, want 404", path, got)
		}
	}
}

// The button: the server is killed in the middle of a sign-in, another one takes
// over, and nothing is missing or half done.
func TestKill(t *testing.T) {
	d := run(t, t.TempDir())
	v := d.visitor()
	v.throughProvider("ada")
	before := len(d.entries(book.Filter{}))
	for _, moment := range []string{"after", "inside", "after"} {
		pid := d.sitePID()
		asked := v.submit(v.get("/"), "/crash", url.Values{"moment": {moment}})
		want(t, asked, 202, strconv.Itoa(pid))
		if got := asked.header.Get("Refresh"); !strings.HasSuffix(got, "url=/#crash") {
			t.Errorf("Refresh = %q, want one that leads back", got)
		}
		d.waitGone(pid)
		back := v.get("/") // waits until a server takes it
		want(t, back, 200, "kill -9", strconv.Itoa(pid))
		if now := d.sitePID(); now == pid || now == 0 {
			t.Errorf("the site is process %d, want another than %d", now, pid)
		}
		entries := d.entries(book.Filter{})
		for i, e := range entries {
			if e.Seq != int64(i+1) {
				t.Fatalf("entry %d has the number %d", i+1, e.Seq)
			}
		}
		over := v.get("/")
		want(t, over, 200, "The book has no gap.", "Ada Lovelace", "entries, no gap")
		added := types(entries[before:])
		before = len(entries)
		if moment == "inside" {
			want(t, over, 200, "Nothing is left of that sign-in")
			if added != "" {
				t.Errorf("a sign-in that was never committed has the entries %q", added)
			}
			continue
		}
		want(t, over, 200, "The visitor never got an answer")
		if added != "createUser signIn" {
			t.Errorf("a committed sign-in has the entries %q, want createUser signIn", added)
		}
	}
}

// waitGone waits until a process has ended.
func (d *running) waitGone(pid int) {
	d.t.Helper()
	deadline := time.After(20 * time.Second)
	for syscall.Kill(pid, 0) == nil {
		select {
		case <-deadline:
			d.t.Fatalf("process %d is still there", pid)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// Whoever kills the site, it is started again, and who comes meanwhile waits.
func TestParentStartsAgain(t *testing.T) {
	d := run(t, t.TempDir())
	v := d.visitor()
	for range 5 {
		pid := d.sitePID()
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		d.waitGone(pid)
		want(t, v.get("/"), 200, "Nobody is signed in")
	}
}

// A stream shows what happens meanwhile, and goes on at its cursor after the
// server was killed: each entry once, none missing.
func TestLive(t *testing.T) {
	d := run(t, t.TempDir())
	v := d.visitor()
	if got := v.get("/live?after=nothing").status; got != 400 {
		t.Errorf("a stream from no cursor has the status %d, want 400", got)
	}
	cursor := "0-0000000000000000"
	read := func(until int64) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, d.url+"/live?after=0-0000000000000000", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Last-Event-ID", cursor)
		res, err := v.client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if got := res.Header.Get("Content-Type"); got != "text/event-stream" {
			t.Errorf("Content-Type = %q", got)
		}
		lines := bufio.NewScanner(res.Body)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			id, ok := strings.CutPrefix(lines.Text(), "id: ")
			if !ok {
				continue
			}
			last, err := book.ParseCursor(cursor)
			if err != nil {
				t.Fatal(err)
			}
			next, err := book.ParseCursor(id)
			if err != nil {
				t.Fatal(err)
			}
			if next.Seq != last.Seq+1 {
				t.Fatalf("entry %d follows %d", next.Seq, last.Seq)
			}
			if cursor = id; next.Seq == until {
				return
			}
		}
		t.Fatalf("the stream ended at %s: %v", cursor, lines.Err())
	}
	read(1)
	v.throughProvider("ada")
	read(4)
	pid := d.sitePID()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	d.waitGone(pid)
	v.submit(v.get("/"), "/auth/signout", nil)
	read(5)

	// A cursor of another history is told so.
	cursor = "5-0000000000000000"
	if got := v.stream("5-0000000000000000", "event: "); got != "event: replaced" {
		t.Errorf("the stream of another history begins with %q, want event: replaced", got)
	}
}

// stream returns the first line of a stream that begins so, leaving out the
// state.
func (v *visitor) stream(after, prefix string) string {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(v.t.Context(), 20*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, v.demo.url+"/live?after="+after, nil)
	if err != nil {
		v.t.Fatal(err)
	}
	res, err := v.client.Do(r)
	if err != nil {
		v.t.Fatal(err)
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() {
		if line := lines.Text(); strings.HasPrefix(line, prefix) && line != "event: state" {
			return line
		}
	}
	return ""
}

// The demo is there at once and takes little memory; its data stays.
func TestStart(t *testing.T) {
	dir := t.TempDir()
	d := run(t, dir)
	first := d.took
	v := d.visitor()
	v.throughProvider("ada")
	site := d.sitePID()
	idle := resident(t, d.cmd.Process.Pid) + resident(t, site)
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("ready after %v, resident %d kB in two processes, binary %d kB", first.Round(time.Millisecond), idle, info.Size()/1024)
	if first > time.Second {
		t.Errorf("ready after %v, want under 1 s", first)
	}
	if idle > 60<<10 {
		t.Errorf("%d kB are resident, want under 60 MB", idle)
	}
	stop := time.Now()
	if err := d.end(); err != nil {
		t.Errorf("the demo ended with %v", err)
	}
	if took := time.Since(stop); took > 5*time.Second {
		t.Errorf("it took %v to end", took)
	}
	d.waitGone(site)

	// Everything is numbered, and who is signed in stays so.
	again := run(t, dir)
	u, err := url.Parse(d.url)
	if err != nil {
		t.Fatal(err)
	}
	back := again.visitor()
	for _, c := range v.client.Jar.Cookies(u) {
		if c.Name == "authjs.session-token" { // cookies know no ports
			back.client.Jar.SetCookies(u, []*http.Cookie{c})
		}
	}
	want(t, back.numbered(), 200, "Ada Lovelace", "ada@example.com", "5 entries, no gap")
	if got := types(again.entries(book.Filter{})); got != "createUser createUser linkAccount signIn session" {
		t.Errorf("the book has %q, want the sign-in and the count of what the session was used", got)
	}
}

// A site never outlives its parent, however that ends.
func TestParentKilled(t *testing.T) {
	d := run(t, t.TempDir())
	pid := d.sitePID()
	if err := d.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	d.waitGone(pid)
	if err := d.end(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("the demo ended with %v, want killed", err)
	}
	d.end = func() error { return nil }
}

// Only this machine's own name is answered, and only our own forms are taken.
func TestStrangers(t *testing.T) {
	d := run(t, t.TempDir())
	v := d.visitor()
	ask := func(method, path string, change func(*http.Request)) int {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, d.url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		change(r)
		client := *v.client
		client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		res, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		return res.StatusCode
	}
	host := func(h string) func(*http.Request) { return func(r *http.Request) { r.Host = h } }
	foreign := func(r *http.Request) {
		r.Header.Set("Origin", "http://elsewhere.example")
		r.Header.Set("Sec-Fetch-Site", "cross-site")
	}
	port := strings.TrimPrefix(d.url, "http://localhost:")
	tests := []struct {
		name, method, path string
		change             func(*http.Request)
		want               int
	}{
		{"another host", "GET", "/", host("rebound.example:" + port), 421},
		{"another host's sign-in", "GET", "/auth/csrf", host("rebound.example"), 421},
		{"another host's mails", "GET", "/mailbox", host("rebound.example"), 421},
		{"the address in numbers", "GET", "/mailbox", host("127.0.0.1:" + port), 307},
		{"a foreign kill", "POST", "/crash", foreign, 403},
		{"a foreign deletion", "POST", "/delete", foreign, 403},
		{"a kill by a link", "GET", "/crash", func(*http.Request) {}, 405},
		{"deleting nobody", "POST", "/delete", func(*http.Request) {}, 303},
		{"a mail outside the folder", "GET", "/mailbox/..%2F..%2Fsecret", func(*http.Request) {}, 404},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := ask(test.method, test.path, test.change); got != test.want {
				t.Errorf("%s %s = %d, want %d", test.method, test.path, got, test.want)
			}
		})
	}
	policy := v.get("/").header.Get("Content-Security-Policy")
	if !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") {
		t.Errorf("Content-Security-Policy = %q", policy)
	}
}

func TestFlags(t *testing.T) {
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	d := run(t, t.TempDir())
	taken := strings.Replace(strings.TrimPrefix(d.url, "http://"), "localhost", "127.0.0.1", 1)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		args []string
		want string
	}{
		{"the port is taken", []string{"--addr", taken}, taken + " is used by another program: choose another address with --addr"},
		{"the provider's port is taken", []string{"--idp-addr", taken}, "choose another address with --idp-addr"},
		{"for everybody", []string{"--addr", "0.0.0.0:0"}, "the demo listens on this machine only"},
		{"for everybody, too", []string{"--addr", ":0"}, "the demo listens on this machine only"},
		{"no port", []string{"--addr", "localhost"}, "is no address with a port"},
		{"the folder is a file", []string{"--dir", file}, "make the demo's folder"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			args := append([]string{"demo", "--addr", "127.0.0.1:0", "--idp-addr", "127.0.0.1:0", "--dir", t.TempDir()}, test.args...)
			out, err := exec.CommandContext(t.Context(), path, args...).CombinedOutput()
			if err == nil || !strings.Contains(string(out), test.want) {
				t.Errorf("gatebook %s: %v\n%swant %q", strings.Join(args, " "), err, out, test.want)
			}
		})
	}
}

// Nothing that opens a door is in the log or the book.
func TestNoSecrets(t *testing.T) {
	d := run(t, t.TempDir())
	v := d.visitor()
	v.throughProvider("ada")
	other := d.visitor()
	other.submit(other.get("/"), "/auth/signin/email", url.Values{"email": {"ada@example.com"}})
	v.submit(v.get("/"), "/crash", nil)
	u, err := url.Parse(d.url)
	if err != nil {
		t.Fatal(err)
	}
	var secrets []string
	for _, c := range v.client.Jar.Cookies(u) {
		if c.Name == "authjs.session-token" || c.Name == "authjs.csrf-token" {
			secrets = append(secrets, c.Value)
		}
	}
	kept, err := os.ReadFile(filepath.Join(d.dir, "secret"))
	if err != nil {
		t.Fatal(err)
	}
	secrets = append(secrets, string(kept))
	mails, err := filepath.Glob(filepath.Join(d.dir, "mail", "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range mails {
		var mail struct{ Text string }
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(b, &mail); err != nil {
			t.Fatal(err)
		}
		if m := regexp.MustCompile(`token=([^&\s]+)`).FindStringSubmatch(mail.Text); m != nil {
			secrets = append(secrets, m[1])
		}
	}
	if len(secrets) < 4 {
		t.Fatalf("found %d secrets, want the session's, the form's, the kept one and a link's", len(secrets))
	}
	if err := d.end(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"demo.log", "site.db", "site.db-wal"} {
		b, err := os.ReadFile(filepath.Join(d.dir, name))
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		for _, s := range secrets {
			if bytes.Contains(b, []byte(s)) {
				t.Errorf("%s holds a secret", name)
			}
		}
	}
	for _, name := range []string{"", "secret", "demo.log", "site.db", "mail", ".gitignore"} {
		info, err := os.Stat(filepath.Join(d.dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if name != "" && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s can be read by others: %v", name, info.Mode())
		}
	}
}

// The page can say that something is missing: each row damages the database in
// one way.
func TestAudit(t *testing.T) {
	tests := []struct{ name, damage, want string }{
		{"a user", `INSERT INTO user (id, email) VALUES ('x', 'x@example.com')`, "1 without createUser"},
		{"an account", `INSERT INTO account (userId, type, provider, providerAccountId) SELECT id, 'oidc', 'demo', 'x' FROM user LIMIT 1`, "1 without linkAccount"},
		{"a session", `UPDATE gatebook_sessions SET sid = 'another'`, "1 without signIn"},
		{"an entry", `DELETE FROM gatebook_log WHERE seq = 3`, "№ 3 is missing"},
		{"the first entry", `DELETE FROM gatebook_log WHERE seq = 1`, "№ 1 is missing"},
		{"the last entry", `DELETE FROM gatebook_log WHERE seq = 4`, "1 without signIn"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			d := run(t, t.TempDir())
			v := d.visitor()
			v.throughProvider("ada")
			want(t, v.numbered(), 200, "4 entries, no gap")
			db, err := sqlite.Open(filepath.Join(d.dir, "site.db"))
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			if _, err := db.SQL().ExecContext(t.Context(), test.damage); err != nil {
				t.Fatal(err)
			}
			want(t, v.get("/"), 200, test.want, `class="state broken"`)
		})
	}
}
