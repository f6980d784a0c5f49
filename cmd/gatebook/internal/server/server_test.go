package server_test

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/gatebook/gatebook/adapter/sqlite"
	"github.com/gatebook/gatebook/book"
	"github.com/gatebook/gatebook/cmd/gatebook/internal/config"
	"github.com/gatebook/gatebook/cmd/gatebook/internal/server"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// log is a place for log lines that may be read meanwhile.
type log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) { l.mu.Lock(); defer l.mu.Unlock(); return l.b.Write(p) }
func (l *log) String() string              { l.mu.Lock(); defer l.mu.Unlock(); return l.b.String() }

// serve runs a server for a configuration and returns its address, its
// database, and a function that ends it and returns what Run did.
func serve(t *testing.T, text string) (address, database string, logged *log, end func() error) {
	t.Helper()
	database = filepath.Join(t.TempDir(), "book.db")
	none := func(string) (string, bool) { return "", false }
	cfg, err := config.Parse("gatebook.yaml", []byte(text), none)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Listen, cfg.Database.URL = "127.0.0.1:0", database
	logged = &log{}
	s, err := server.New(t.Context(), cfg, slog.New(slog.NewTextHandler(logged, nil)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	end = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() { _ = end() })
	return s.Addr(), database, logged, end
}

const plain = `
secrets: [ssssssssssssssssssssssssssssssssssssssss]
providers: [{id: github, clientId: a, clientSecret: b}]
`

// get returns status and body of an answer.
func get(t *testing.T, url string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

func TestRoutes(t *testing.T) {
	tests := []struct {
		name, add, path string
		want            int
	}{
		{"default base", "", "/auth/providers", 200},
		{"base of the url", "url: http://localhost/a/b\n", "/a/b/providers", 200},
		{"base path", "url: http://localhost/a\nbasePath: /b\n", "/b/providers", 200},
		{"not the other", "url: http://localhost/a\nbasePath: /b\n", "/a/providers", 404},
		{"at the root", "basePath: /\n", "/providers", 200},
		{"health at the root", "basePath: /\n", "/healthz", 200},
		{"health", "", "/healthz", 200},
		{"ready", "", "/readyz", 200},
		{"elsewhere", "", "/", 404},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			address, _, _, _ := serve(t, plain+test.add)
			if got, body := get(t, "http://"+address+test.path); got != test.want {
				t.Errorf("GET %s = %d, want %d\n%s", test.path, got, test.want, body)
			}
		})
	}
}

// A server that is told to end finishes the request that it has, takes no more,
// and numbers what was recorded.
// What the file says of cookies and origins is what visitors see.
func TestCookiesAndOrigins(t *testing.T) {
	address, _, _, _ := serve(t, plain+`
url: https://auth.example.com
trustedOrigins: [https://spa.example]
cookieDomain: example.com
useSecureCookies: false
cookies: {csrfToken: {name: mine, sameSite: Strict}, callbackUrl: {name: back, path: /auth}}
redirectProxyUrl: https://proxy.example.com/auth
`)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/auth/csrf", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Origin", "https://spa.example")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if got := res.Header.Get("Access-Control-Allow-Origin"); got != "https://spa.example" {
		t.Errorf("Access-Control-Allow-Origin = %q", got)
	}
	set := strings.Join(res.Header.Values("Set-Cookie"), "\n")
	for _, want := range []string{"mine=", "; Path=/; HttpOnly; SameSite=Strict", "back=https%3A%2F%2Fauth.example.com; Domain=example.com; Path=/auth; HttpOnly; SameSite=Lax"} {
		if !strings.Contains(set, want) {
			t.Errorf("no %q in the cookies\n%s", want, set)
		}
	}
}

func TestDrain(t *testing.T) {
	address, database, logged, end := serve(t, plain)
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	body := "callbackUrl=http://elsewhere.example/"
	fmt.Fprintf(conn, "POST /auth/signin/github HTTP/1.1\r\nHost: %s\r\nContent-Type: application/x-www-form-urlencoded\r\n"+
		"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n", address, len(body))
	in := bufio.NewReader(conn)
	// The handler reads the body now.
	if line, err := in.ReadString('\n'); err != nil || !strings.Contains(line, "100 Continue") {
		t.Fatalf("answer = %q, %v, want 100 Continue", line, err)
	}
	if _, err := in.ReadString('\n'); err != nil {
		t.Fatal(err)
	}

	ended := make(chan error, 1)
	go func() { ended <- end() }()
	waitRefused(t, address)
	select {
	case err := <-ended:
		t.Fatalf("Run = %v before the request was finished", err)
	default:
	}
	io.WriteString(conn, body)
	res, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatalf("the request that was under way got no answer: %v", err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusFound {
		t.Errorf("status = %d, want 302", res.StatusCode)
	}
	if err := <-ended; err != nil {
		t.Errorf("Run = %v, want nil", err)
	}
	if !strings.Contains(logged.String(), "msg=ended") {
		t.Errorf("the log does not say that it ended:\n%s", logged)
	}

	b, err := sqlite.OpenBook(database)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if n, _, err := b.Pending(t.Context()); n != 0 || err != nil {
		t.Errorf("%d entries wait (%v), want none", n, err)
	}
	entries, err := b.Read(t.Context(), book.Query{})
	if err != nil || len(entries) == 0 {
		t.Errorf("the book has %d entries (%v), want those of the refused request", len(entries), err)
	}
}

// waitRefused waits until nobody listens at the address.
func waitRefused(t *testing.T, address string) {
	t.Helper()
	for t.Context().Err() == nil {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
		if err != nil {
			return
		}
		conn.Close()
	}
	t.Fatal("the server goes on to listen")
}

// Readiness follows the store: it is lost with it, and comes back with it.
func TestReady(t *testing.T) {
	address, database, logged, _ := serve(t, plain)
	ready := "http://" + address + "/readyz"
	if got, _ := get(t, ready); got != 200 {
		t.Fatalf("GET /readyz = %d, want 200", got)
	}
	db, err := sql.Open("sqlite", database)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rename := func(from, to string) {
		t.Helper()
		if _, err := db.ExecContext(t.Context(), `ALTER TABLE "`+from+`" RENAME TO "`+to+`"`); err != nil {
			t.Fatal(err)
		}
	}
	rename("user", "gone")
	for range 3 {
		if got, body := get(t, ready); got != 503 || strings.Contains(body, "user") {
			t.Errorf("GET /readyz without a table = %d %q, want 503 and no details", got, body)
		}
	}
	if got := strings.Count(logged.String(), "not ready"); got != 1 {
		t.Errorf("the log says %d times that it is not ready, want once\n%s", got, logged)
	}
	if got, _ := get(t, "http://"+address+"/healthz"); got != 200 {
		t.Errorf("GET /healthz = %d, want 200: the process itself is well", got)
	}
	rename("gone", "user")
	if got, body := get(t, ready); got != 200 {
		t.Errorf("GET /readyz with the table back = %d %q, want 200", got, body)
	}
}

// What New opened before it failed, and a Server that is never run, are closed.
func TestClose(t *testing.T) {
	none := func(string) (string, bool) { return "", false }
	cfg, err := config.Parse("gatebook.yaml", []byte(plain), none)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Listen, cfg.Database.URL = "127.0.0.1:0", filepath.Join(t.TempDir(), "book.db")
	s, err := server.New(t.Context(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	cfg.Listen = s.Addr()
	if _, err := server.New(t.Context(), cfg, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("two servers listen on one address")
	}
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Errorf("Close = %v, want nil", err)
	}
}
