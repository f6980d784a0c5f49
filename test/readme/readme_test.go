// Package readme_test runs what the README shows.
package readme_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestProgramIsInTheREADME keeps the README's first program equal to the file
// that is compiled.
func TestProgramIsInTheREADME(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile("program/main.go")
	if err != nil {
		t.Fatal(err)
	}
	_, program, _ = bytes.Cut(program, []byte("\npackage main"))
	if !bytes.Contains(readme, append([]byte("```go\npackage main"), append(program, []byte("```")...)...)) {
		t.Error("the README's first program is not test/readme/program/main.go")
	}
}

// mailServer takes mails and gives their text.
func mailServer(t *testing.T) (addr string, mails <-chan string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	out := make(chan string, 1)
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go takeMail(conn, out)
		}
	}()
	return ln.Addr().String(), out
}

// takeMail is the server's side of one SMTP session (RFC 5321, Appendix D).
func takeMail(conn net.Conn, out chan<- string) {
	defer conn.Close()
	say := func(line string) { fmt.Fprintf(conn, "%s\r\n", line) }
	say("220 test ESMTP")
	in := bufio.NewScanner(conn)
	var text strings.Builder
	data := false
	for in.Scan() {
		line := in.Text()
		verb, _, _ := strings.Cut(strings.ToUpper(line), " ")
		switch {
		case data && line == ".":
			data = false
			out <- text.String()
			say("250 taken")
		case data:
			text.WriteString(line + "\n")
		case verb == "DATA":
			data = true
			say("354 go on")
		case verb == "QUIT":
			say("221 bye")
			return
		default:
			say("250 ok")
		}
	}
}

// TestProgramRuns builds the program, asks it for a magic link and signs in.
func TestProgramRuns(t *testing.T) {
	dir := t.TempDir()
	binary := filepath.Join(dir, "program")
	if out, err := exec.Command("go", "build", "-o", binary, "./program").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := ln.Addr().(*net.TCPAddr).Port
	ln.Close()
	site := fmt.Sprintf("http://localhost:%d", port)
	smtp, mails := mailServer(t)

	var log syncBuffer
	cmd := exec.Command(binary)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "AUTH_SECRET=a secret of more than thirty-two characters", "AUTH_URL="+site,
		"AUTH_GITHUB_ID=id", "AUTH_GITHUB_SECRET=secret", "SMTP_URL=smtp://"+smtp, fmt.Sprintf("PORT=%d", port))
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cmd.Process.Kill(); cmd.Wait() }()

	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Jar: jar, Timeout: 20 * time.Second}
	var csrf struct{ CSRFToken string }
	body := await(t, client, site+"/auth/csrf", &log)
	if err := json.Unmarshal([]byte(body), &csrf); err != nil {
		t.Fatal(err)
	}
	if got := await(t, client, site+"/auth/providers", &log); !strings.Contains(got, `"github"`) || !strings.Contains(got, `"email"`) {
		t.Errorf("providers = %s", got)
	}
	if got := await(t, client, site+"/", &log); !strings.Contains(got, site+"/auth/signin/github") {
		t.Errorf("who is not signed in sees %.200s", got)
	}
	res, err := client.PostForm(site+"/auth/signin/email", url.Values{"csrfToken": {csrf.CSRFToken}, "email": {"ada@example.com"}})
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	mail := <-mails
	mail = strings.NewReplacer("=\n", "", "=3D", "=").Replace(mail)
	link := regexp.MustCompile(regexp.QuoteMeta(site) + `/auth/callback/email\?\S+`).FindString(mail)
	if link == "" {
		t.Fatalf("the mail has no link:\n%s", mail)
	}
	if got := await(t, client, link, &log); got != "hello, ada@example.com" {
		t.Errorf("the link leads to %q", got)
	}
	if got := log.String(); !strings.Contains(got, "welcome, ada@example.com") {
		t.Errorf("the CreateUser handler did not run:\n%s", got)
	}
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// await gets a page, as soon as the program listens.
func await(t *testing.T, client *http.Client, to string, log *syncBuffer) string {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for range 1000 {
		req, err := http.NewRequest("GET", to, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept", "text/html")
		res, err := client.Do(req)
		if err != nil {
			<-tick.C
			continue
		}
		var b bytes.Buffer
		_, err = b.ReadFrom(res.Body)
		res.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	t.Fatalf("the program does not answer:\n%s", log)
	return ""
}
