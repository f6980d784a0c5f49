// Package demo_test uses the demo as a person does, in a browser.
package demo_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/gatebook/gatebook/test/browser"
)

// screenshotsEnv names a folder in which the test leaves what it saw.
const screenshotsEnv = "GATEBOOK_SCREENSHOTS"

// start builds and starts the demo and returns its address.
func start(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	binary := filepath.Join(dir, "gatebook")
	build := exec.Command("go", "build", "-o", binary, "github.com/gatebook/gatebook/cmd/gatebook")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	cmd := exec.Command(binary, "demo", "--addr", "127.0.0.1:0", "--idp-addr", "127.0.0.1:0", "--dir", filepath.Join(dir, "demo"))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(os.Interrupt)
		if err := cmd.Wait(); err != nil {
			t.Errorf("the demo ended with %v\n%s", err, &stderr)
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the demo did not start: %v\n%s", err, &stderr)
	}
	t.Logf("ready after %v", time.Since(begun).Round(time.Millisecond))
	url := regexp.MustCompile(`http://localhost:\d+`).FindString(line)
	if url == "" {
		t.Fatalf("the demo says %q, want its address", line)
	}
	return url
}

// shot keeps what the browser shows when everything has come to rest, in light
// and in dark, where a person asked for it.
func shot(t *testing.T, b *browser.Browser, name string) {
	t.Helper()
	dir := os.Getenv(screenshotsEnv)
	if dir == "" {
		return
	}
	for _, scheme := range []string{"dark", "light"} {
		media := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}
		if _, err := chromedp.Call(b.Context(), emulation.SetEmulatedMedia, media); err != nil {
			t.Fatal(err)
		}
		browser.Run(t, b, chromedp.Evaluate[bool](`Promise.all(document.getAnimations().filter(a => a.effect.getTiming().iterations !== Infinity).map(a => a.finished)).then(() => true)`, chromedp.EvalAwaitPromise))
		b.Screenshot(t, filepath.Join(dir, name+map[string]string{"dark": "-dark", "light": ""}[scheme]+".png"))
	}
}

func text(t *testing.T, b *browser.Browser, selector string) string {
	t.Helper()
	return browser.Run(t, b, chromedp.Text(chromedp.CSS(selector)))
}

// appears waits for the newest entry of the book to be of a type, without the
// page being loaded again.
func appears(selector string) chromedp.Action[chromedp.Void] {
	return chromedp.WaitVisible(chromedp.CSS(selector))
}

func TestDemo(t *testing.T) {
	site := start(t)
	b := browser.New(t)
	b.Resize(t, browser.Size{Width: 1440, Height: 900})
	b.Do(t, chromedp.Navigate(site), chromedp.WaitVisible(chromedp.CSS(`html[data-live="on"]`)))
	shot(t, b, "empty")

	// A wrong password: nothing useful on the left, the reason on the right.
	b.Do(t,
		chromedp.SendKeys(chromedp.CSS("#username"), "ada"),
		chromedp.SendKeys(chromedp.CSS("#password"), "not the one"),
		chromedp.Click(chromedp.CSS(`form[action="/auth/callback/password"] button`)),
		chromedp.WaitVisible(chromedp.CSS(".notice.bad")),
		appears(".entry.failed"),
	)
	if got := text(t, b, ".notice.bad"); strings.Contains(strings.ToLower(got), "password is") || strings.Contains(got, "badCredentials") {
		t.Errorf("the visitor is told %q", got)
	}
	if got := text(t, b, "#acts"); !strings.Contains(got, "signIn.failed") || !strings.Contains(got, "badCredentials") {
		t.Errorf("the book shows %q, want signIn.failed with its reason", got)
	}
	shot(t, b, "refused")

	// Through the real provider: choose a person, consent, come back.
	b.Do(t,
		chromedp.Click(chromedp.CSS(`form[action="/auth/signin/demo"] button`)),
		chromedp.WaitVisible(chromedp.CSS(`button[value="ada"]`)),
	)
	shot(t, b, "provider")
	b.Do(t,
		chromedp.Click(chromedp.CSS(`button[value="ada"]`)),
		chromedp.WaitVisible(chromedp.CSS(`button[name="allow"]`)),
	)
	shot(t, b, "consent")
	b.Do(t,
		chromedp.Click(chromedp.CSS(`button[name="allow"]`)),
		chromedp.WaitVisible(chromedp.CSS(".who")),
	)
	if got := text(t, b, "#visitor-title"); got != "Ada Lovelace" {
		t.Errorf("signed in is %q, want Ada Lovelace", got)
	}
	b.Do(t, appears(`.act:first-child .entry:nth-child(3)`)) // createUser, linkAccount, signIn
	if got := text(t, b, "#acts"); !strings.Contains(got, "createUser") || !strings.Contains(got, "linkAccount") {
		t.Errorf("the book shows %q, want createUser, linkAccount and signIn", got)
	}
	shot(t, b, "demo")

	// While nobody touches the page, somebody else's attempt slides in, with its
	// envelope open and the one before closed.
	attempt(t, site)
	b.Do(t, appears(`.act.arrives .entry.failed details[open] .envelope`))
	if got := browser.Run(t, b, chromedp.Evaluate[int](`document.querySelectorAll("#acts details[open]").length`)); got != 1 {
		t.Errorf("%d envelopes are open, want the newest", got)
	}
	if got := text(t, b, ".act.arrives"); !strings.Contains(got, "unknownUser") || !strings.Contains(got, `"outcome": "failure"`) {
		t.Errorf("what slid in is %q, want the refused attempt with its header", got)
	}

	// A second account for who is signed in.
	b.Do(t,
		chromedp.Click(chromedp.CSS(`form[action="/auth/signin/demo"] button`)),
		chromedp.Click(chromedp.CSS(`button[value="grace"]`)),
		chromedp.Click(chromedp.CSS(`button[name="allow"]`)),
		chromedp.WaitVisible(chromedp.CSS(`input[value="grace"] + button.link`)),
	)
	if got := text(t, b, "#visitor-title"); got != "Ada Lovelace" {
		t.Errorf("after linking an account signed in is %q, want Ada Lovelace still", got)
	}

	// Sign out, and in again by a magic link out of the mailbox.
	b.Do(t,
		chromedp.Click(chromedp.CSS(`form[action="/auth/signout"] button`)),
		chromedp.WaitVisible(chromedp.CSS("#email")),
		chromedp.SendKeys(chromedp.CSS("#email"), "grace@example.com"),
		chromedp.Click(chromedp.CSS(`form[action="/auth/signin/email"] button`)),
		chromedp.WaitVisible(chromedp.CSS(".notice.good")),
		chromedp.Navigate(site+"/mailbox"),
		chromedp.Click(chromedp.CSS(".mails a")),
		chromedp.WaitVisible(chromedp.CSS(".letter a")),
	)
	shot(t, b, "mail")
	// The button in the mail's HTML, by keyboard: its frame is a sandbox that no
	// script reaches into.
	b.Do(t,
		chromedp.Focus(chromedp.CSS("iframe.preview")),
		chromedp.KeyEvent(kb.Tab),
		chromedp.KeyEvent(kb.Enter),
		chromedp.WaitVisible(chromedp.CSS(".who")),
	)
	if got := text(t, b, ".who"); !strings.Contains(got, "grace@example.com") {
		t.Errorf("signed in is %q, want grace@example.com", got)
	}

	// Kill the server in the middle of a sign-in, both ways.
	for _, moment := range []string{"after", "inside"} {
		b.Do(t,
			chromedp.WaitVisible(chromedp.CSS(`html[data-live="on"]`)),
			chromedp.Click(chromedp.CSS(`input[value="`+moment+`"]`)),
			chromedp.Click(chromedp.CSS("#crash-form button")),
			chromedp.WaitVisible(chromedp.CSS("#crash-result [data-over]")),
		)
		if got := text(t, b, "#crash-result"); !strings.Contains(got, "The book has no gap.") {
			t.Errorf("after a kill %s the commit the page says %q", moment, got)
		}
		if got := text(t, b, "#state"); !strings.Contains(got, "no gap") || strings.Contains(got, "without") {
			t.Errorf("after a kill %s the commit the book is %q", moment, got)
		}
		shot(t, b, "killed-"+moment)
		b.Do(t, chromedp.Navigate(site))
	}

	// On a phone: nothing is wider than the screen, with an envelope open too.
	b.Resize(t, browser.Phone)
	b.Do(t, chromedp.Navigate(site), appears("#acts details[open] .envelope"))
	shot(t, b, "phone")
	if got := browser.Run(t, b, chromedp.Evaluate[int](`document.documentElement.scrollWidth`)); got > int(browser.Phone.Width) {
		t.Errorf("the page is %d pixels wide on a phone of %d", got, browser.Phone.Width)
	}
	b.Do(t, chromedp.Click(chromedp.CSS(".dock")))
	shot(t, b, "phone-book")

	// Without JavaScript: the forms work, the kill too, and what is recorded is
	// there when the page is loaded again.
	b.JavaScript(t, false)
	b.Do(t,
		chromedp.Navigate(site),
		chromedp.Click(chromedp.CSS(`form[action="/auth/signout"] button`)),
		chromedp.WaitVisible(chromedp.CSS("#email")),
		chromedp.Click(chromedp.CSS("#crash-form button")),
		chromedp.WaitVisible(chromedp.CSS("#crash-result [data-over]")),
	)
	if got := text(t, b, "#crash-result"); !strings.Contains(got, "The book has no gap.") {
		t.Errorf("without JavaScript the page says %q after a kill", got)
	}
	if got := text(t, b, "#acts"); !strings.Contains(got, "signOut") {
		t.Errorf("without JavaScript the book shows %q, want signOut", got)
	}
	shot(t, b, "phone-signed-out")
	if foreign := b.Blocked(); len(foreign) > 0 {
		t.Errorf("pages asked for %v", foreign)
	}
}

// attempt tries a password for a name that nobody has, as a client without a
// browser.
func attempt(t *testing.T, site string) {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Jar: jar}
	res, err := client.Get(site + "/auth/csrf")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var csrf struct{ CSRFToken string }
	if err := json.NewDecoder(res.Body).Decode(&csrf); err != nil {
		t.Fatal(err)
	}
	res, err = client.PostForm(site+"/auth/callback/password",
		url.Values{"csrfToken": {csrf.CSRFToken}, "username": {"nobody"}, "password": {"guess"}})
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
}
