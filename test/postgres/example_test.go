package postgres_test

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatebook/gatebook/gatebooktest"
	"github.com/gatebook/gatebook/test/need"
)

// TestExample runs examples/postgres-chi as its comment says: a person signs in
// at an OpenID provider, has a workspace by the time they come back, and invites
// another.
func TestExample(t *testing.T) {
	database := need.Postgres(t)
	idp := gatebooktest.NewOpenID(t)
	program := filepath.Join(t.TempDir(), "postgres-chi")
	build := exec.Command("go", "build", "-o", program, "./postgres-chi")
	build.Dir = filepath.Join(need.Dir(), "..", "examples")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	site := startExample(t, program, "DATABASE_URL="+database, "AUTH_SECRET=a secret of more than thirty-two characters",
		"AUTH_ACME_ISSUER="+idp.URL, "AUTH_ACME_ID="+idp.ClientID, "AUTH_ACME_SECRET="+idp.ClientSecret)

	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	visitor := &http.Client{Jar: jar, Timeout: 30 * time.Second}
	_, csrf, _ := strings.Cut(get(t, visitor, site+"/auth/csrf"), `"csrfToken":"`)
	csrf, _, _ = strings.Cut(csrf, `"`)
	post(t, visitor, site+"/auth/signin/acme", url.Values{"csrfToken": {csrf}, "callbackUrl": {site + "/"}}, http.StatusOK)

	if got, want := get(t, visitor, site+"/"), "Workspace of ada@example.com, 2 pages"; got != want {
		t.Fatalf("the first page says %q, want %q", got, want)
	}
	invite := func(email string, want int) {
		t.Helper()
		post(t, visitor, site+"/invite", url.Values{"email": {email}}, want)
	}
	invite("grace@example.com", http.StatusCreated)
	invite("grace@example.com", http.StatusConflict)
	invite("ada@example.com", http.StatusConflict)

	pool := newPool(t, database)
	for query, want := range map[string]int{
		`SELECT count(*) FROM "user"`:                                                                       2,
		"SELECT count(*) FROM workspace":                                                                    2,
		"SELECT count(*) FROM page":                                                                         4,
		`SELECT count(*) FROM member m JOIN "user" u ON u.id = m.user_id`:                                   1,
		"SELECT count(*) FROM gatebook_log WHERE type = 'createUser'":                                       2,
		"SELECT count(*) FROM gatebook_log WHERE type = 'signIn'":                                           1,
		"SELECT count(*) FROM gatebook_log WHERE seq NOT BETWEEN 1 AND (SELECT count(*) FROM gatebook_log)": 0,
	} {
		if got := eventually(t, func() int { return count(t, pool, query) }, want); got != want {
			t.Errorf("%s = %d, want %d", query, got, want)
		}
	}
}

// eventually returns what get returns once that is want, or after 10 s.
func eventually(t *testing.T, get func() int, want int) int {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	end := time.Now().Add(10 * time.Second)
	for {
		if got := get(); got == want || time.Now().After(end) {
			return got
		}
		<-tick.C
	}
}

// startExample starts a program on a free port and returns its address.
func startExample(t *testing.T, program string, env ...string) string {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	var out bytes.Buffer
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), append(env, "LISTEN="+addr, "AUTH_URL=http://"+addr)...)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(os.Interrupt)
		if err := cmd.Wait(); err != nil {
			t.Errorf("the program ended with %v:\n%s", err, &out)
		}
	})
	eventually(t, func() int {
		res, err := http.Get("http://" + addr + "/")
		if err != nil {
			return 0
		}
		res.Body.Close()
		return res.StatusCode
	}, http.StatusOK)
	return "http://" + addr
}

func get(t *testing.T, c *http.Client, address string) string {
	t.Helper()
	res, err := c.Get(address)
	return body(t, res, err, http.StatusOK)
}

func post(t *testing.T, c *http.Client, address string, form url.Values, want int) {
	t.Helper()
	res, err := c.PostForm(address, form)
	body(t, res, err, want)
}

func body(t *testing.T, res *http.Response, err error, want int) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != want {
		t.Fatalf("%s %s: %s, want %d\n%.500s", res.Request.Method, res.Request.URL, res.Status, want, b)
	}
	return string(b)
}
