// Package mint_test signs a browser in with a session that the binary minted.
package mint_test

import (
	"encoding/json"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/adapter/sqlite"
	"github.com/gatebook/gatebook/test/browser"
)

// binary builds gatebook, and returns a function that makes its commands in the
// folder dir.
func binary(t *testing.T, dir string) func(args ...string) *exec.Cmd {
	t.Helper()
	path := filepath.Join(dir, "gatebook")
	build := exec.Command("go", "build", "-o", path, "github.com/gatebook/gatebook/cmd/gatebook")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return func(args ...string) *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), path, args...)
		cmd.Dir, cmd.Stderr = dir, os.Stderr
		cmd.Env = append(os.Environ(), "AUTH_SECRET="+strings.Repeat("s", 43), "AUTH_URL=")
		return cmd
	}
}

// serve starts the server and waits until it answers.
func serve(t *testing.T, cmd *exec.Cmd, url string) {
	t.Helper()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(os.Interrupt)
		cmd.Wait()
	})
	for end := time.Now().Add(20 * time.Second); ; {
		res, err := http.Get(url + "/readyz")
		if err == nil {
			res.Body.Close()
			return
		}
		if time.Now().After(end) {
			t.Fatalf("the server does not answer: %v", err)
		}
		<-time.After(20 * time.Millisecond)
	}
}

func TestBrowser(t *testing.T) {
	dir := t.TempDir()
	gatebookCmd := binary(t, dir)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	ln.Close()
	_, port, _ := net.SplitHostPort(addr)
	site := "http://localhost:" + port
	config := "url: " + site + "\nlisten: " + addr + "\nproviders: [{id: github, clientId: a, clientSecret: b}]\n"
	if err := os.WriteFile(filepath.Join(dir, "gatebook.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	db, err := sqlite.Open(filepath.Join(dir, "gatebook.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.Commit(t.Context(), &gatebook.Act{Writes: []gatebook.Write{
		gatebook.CreateUser{User: gatebook.User{ID: "u-ada", Email: "ada@example.com"}}}}); err != nil {
		t.Fatal(err)
	}
	serve(t, gatebookCmd("serve"), site)

	out, err := gatebookCmd("session", "mint", "ada@example.com", "--as", "playwright").Output()
	if err != nil {
		t.Fatal(err)
	}
	// What a Playwright context does with its storageState.
	var state struct {
		Cookies []struct {
			Name, Value, Domain, Path string
			Expires                   int64
			HTTPOnly, Secure          bool
			SameSite                  network.CookieSameSite
		}
		Origins []any
	}
	if err := json.Unmarshal(out, &state); err != nil || len(state.Cookies) == 0 || state.Origins == nil {
		t.Fatalf("%v in %s", err, out)
	}
	b := browser.New(t)
	for _, c := range state.Cookies {
		if _, err := chromedp.Call(b.Context(), network.SetCookie, network.SetCookieParams{Name: c.Name, Value: c.Value,
			Domain: c.Domain, Path: c.Path, Expires: cdp.TimeSinceEpoch(c.Expires), HTTPOnly: &c.HTTPOnly, Secure: &c.Secure,
			SameSite: c.SameSite}); err != nil {
			t.Fatal(err)
		}
	}
	b.Do(t, chromedp.Navigate(site+"/auth/session"))
	body := browser.Run(t, b, chromedp.Text(chromedp.CSS("body")))
	if !strings.Contains(body, `"email":"ada@example.com"`) {
		t.Errorf("the session is %s", body)
	}
}
