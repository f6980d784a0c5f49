package cli_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/adapter/sqlite"
	"github.com/gatebook/gatebook/cmd/gatebook/internal/cli"
	"github.com/gatebook/gatebook/provider/credentials"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"gatebook": func() { os.Exit(cli.Main()) }})
}

// TestScripts runs testdata/script: every command, as a person types it.
func TestScripts(t *testing.T) {
	provider := fakeProvider(t)
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("SECRET", strings.Repeat("s", 43))
			env.Setenv("ISSUER", provider.URL)
			env.Setenv("CLOSED", closedPort(t))
			env.Setenv("LISTEN", closedPort(t))
			env.Setenv("OPEN", provider.Listener.Addr().String())
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"book": makeBook, "waiting": makeWaiting, "expand": expand, "get": get, "mode": mode, "whoami": whoami, "newer": makeNewer,
		},
	})
}

// fakeProvider answers with the metadata of an OpenID provider (OpenID Connect
// Discovery 1.0, Section 4.2), which is all that doctor asks for.
func fakeProvider(t *testing.T) *httptest.Server {
	t.Helper()
	var s *httptest.Server
	s = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/.well-known/openid-configuration" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"issuer":%q,"authorization_endpoint":%q,"token_endpoint":%q,"jwks_uri":%q,"response_types_supported":["code"],
			"subject_types_supported":["public"],"id_token_signing_alg_values_supported":["RS256"]}`,
			s.URL, s.URL+"/authorize", s.URL+"/token", s.URL+"/keys")
	}))
	t.Cleanup(s.Close)
	return s
}

// closedPort returns an address that nobody listens on.
func closedPort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// makeBook makes a database in which a user was made, changed, and refused; the
// name holds what a terminal must not get.
//
//	book FILE
func makeBook(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: book FILE")
	}
	db, err := sqlite.Open(ts.MkAbs(args[0]))
	ts.Check(err)
	defer db.Close()
	passwords, err := credentials.New(credentials.Config{Authorize: nobody})
	ts.Check(err)
	auth, err := gatebook.New(gatebook.Config{Secrets: []gatebook.Secret{gatebook.Secret(strings.Repeat("s", 43))},
		URL: "http://localhost:3000", Adapter: db, Providers: []gatebook.Provider{passwords}, Logger: slog.New(slog.DiscardHandler)})
	ts.Check(err)
	ctx := context.Background()
	_, err = auth.CreateUser(ctx, gatebook.User{ID: "u-ada", Name: "Ada \x1b[31mLovelace\u202e\u0085", Email: "ada@example.com"})
	ts.Check(err)
	_, err = auth.CreateUser(ctx, gatebook.User{ID: "u-grace", Name: "Grace", Email: "grace@example.com"})
	ts.Check(err)
	_, err = auth.UpdateUser(ctx, gatebook.User{ID: "u-grace", Name: "Grace Hopper"}, "name")
	ts.Check(err)
	signIn(auth, "ada@example.com")
	ts.Check(auth.Close(ctx))
}

// makeWaiting adds an entry of yesterday to a database, which nobody numbers.
//
//	waiting FILE
func makeWaiting(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: waiting FILE")
	}
	db, err := sqlite.Open(ts.MkAbs(args[0]))
	ts.Check(err)
	defer db.Close()
	passwords, err := credentials.New(credentials.Config{Authorize: nobody})
	ts.Check(err)
	auth, err := gatebook.New(gatebook.Config{Secrets: []gatebook.Secret{gatebook.Secret(strings.Repeat("s", 43))},
		Adapter: db, Providers: []gatebook.Provider{passwords}, Now: func() time.Time { return time.Now().AddDate(0, 0, -1) }})
	ts.Check(err)
	_, err = auth.CreateUser(context.Background(), gatebook.User{Name: "Ada"})
	ts.Check(err)
}

// makeNewer notes in a database that a version to come has migrated it.
//
//	newer FILE
func makeNewer(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: newer FILE")
	}
	db, err := sqlite.Open(ts.MkAbs(args[0]))
	ts.Check(err)
	defer db.Close()
	_, err = db.SQL().Exec("INSERT INTO gatebook_migrations (part, version, name, applied_at) VALUES ('adapter', 29990101000000, '29990101000000_later', 1)")
	ts.Check(err)
}

// expand puts environment variables in the place of @NAME@ in a file, keeping
// its mode.
//
//	expand FILE
func expand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: expand FILE")
	}
	text := ts.ReadFile(args[0])
	issuer := ts.Getenv("ISSUER")
	text = strings.NewReplacer("@ISSUER@", issuer, "@OPEN@", ts.Getenv("OPEN"), "@CLOSED@", ts.Getenv("CLOSED"), "@LISTEN@", ts.Getenv("LISTEN")).Replace(text)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o600))
}

func nobody(context.Context, map[string]string, *http.Request) (*gatebook.User, error) {
	return nil, gatebook.ErrBadCredentials
}

// signIn makes an attempt that is refused.
func signIn(auth http.Handler, email string) {
	first := httptest.NewRecorder()
	auth.ServeHTTP(first, httptest.NewRequest(http.MethodGet, "http://localhost:3000/auth/csrf", nil))
	token := strings.Split(first.Body.String(), `"`)[3]
	r := httptest.NewRequest(http.MethodPost, "http://localhost:3000/auth/callback/credentials",
		strings.NewReader("csrfToken="+token+"&email="+email+"&password=no"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for _, c := range first.Result().Cookies() {
		r.AddCookie(c)
	}
	auth.ServeHTTP(httptest.NewRecorder(), r)
}

// get asks a server that may only just have been started for a path, wants a
// status, and prints the answer.
//
//	get ADDRESS PATH STATUS
func get(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: get ADDRESS PATH STATUS")
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	deadline := time.After(30 * time.Second)
	for {
		res, err := client.Get("http://" + args[0] + args[1])
		if err == nil {
			body, err := io.ReadAll(res.Body)
			res.Body.Close()
			ts.Check(err)
			if got := strconv.Itoa(res.StatusCode); got != args[2] {
				ts.Fatalf("GET %s = %s, want %s\n%s", args[1], got, args[2], body)
			}
			ts.Logf("GET %s = %s %s\n%s", args[1], args[2], res.Header.Get("Location"), body)
			return
		}
		select {
		case <-deadline:
			ts.Fatalf("GET %s: %v", args[1], err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// whoami asks a server who the bearer of a header or of cookies, as a file holds
// them, is, and wants an address in the answer.
//
//	whoami ADDRESS FILE EMAIL
func whoami(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: whoami ADDRESS FILE EMAIL")
	}
	r, err := http.NewRequest(http.MethodGet, "http://"+args[0]+"/auth/session", nil)
	ts.Check(err)
	text := strings.TrimSpace(ts.ReadFile(args[1]))
	var state struct {
		Cookies []struct{ Name, Value, Domain string }
	}
	switch name, value, ok := strings.Cut(text, ": "); {
	case json.Unmarshal([]byte(text), &state) == nil:
		for _, c := range state.Cookies {
			r.AddCookie(&http.Cookie{Name: c.Name, Value: c.Value})
		}
	case ok:
		r.Header.Set(name, value)
	default:
		r.Header.Set("Cookie", text)
	}
	res, err := http.DefaultClient.Do(r)
	ts.Check(err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	ts.Check(err)
	if !strings.Contains(string(body), `"email":"`+args[2]+`"`) {
		ts.Fatalf("the session of %s is %s", args[1], body)
	}
}

// mode wants the permission bits of a file.
//
//	mode FILE 600
func mode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: mode FILE OCTAL")
	}
	info, err := os.Stat(ts.MkAbs(args[0]))
	ts.Check(err)
	if got := fmt.Sprintf("%o", info.Mode().Perm()); got != args[1] {
		ts.Fatalf("%s has the mode %s, want %s", args[0], got, args[1])
	}
}

// Following shows what is written meanwhile, and ends well when interrupted.
func TestFollow(t *testing.T) {
	file := filepath.Join(t.TempDir(), "book.db")
	db, err := sqlite.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	passwords, err := credentials.New(credentials.Config{Authorize: nobody})
	if err != nil {
		t.Fatal(err)
	}
	auth, err := gatebook.New(gatebook.Config{Secrets: []gatebook.Secret{gatebook.Secret(strings.Repeat("s", 43))},
		Adapter: db, Providers: []gatebook.Provider{passwords}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	create := func(name string) {
		t.Helper()
		if _, err := auth.CreateUser(t.Context(), gatebook.User{Name: name}); err != nil {
			t.Fatal(err)
		}
		if err := auth.Close(t.Context()); err != nil { // numbers it
			t.Fatal(err)
		}
	}
	create("Ada")

	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Args = []string{"gatebook", "events", "--follow", "--db", file}
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for _, want := range []string{"SEQ", "Ada", "Grace", "Ada again"} {
		if want != "SEQ" && want != "Ada" {
			create(want)
		}
		if !lines.Scan() || !strings.Contains(lines.Text(), want) {
			t.Fatalf("printed %q (%v), want %s", lines.Text(), lines.Err(), want)
		}
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if lines.Scan() {
		t.Errorf("printed %q at the end, want nothing", lines.Text())
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("interrupted, it ended with %v, want nil", err)
	}
}
