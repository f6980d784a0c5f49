package nextjs_test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/gatebook/gatebook/test/browser"
	"github.com/gatebook/gatebook/test/nextjs"
)

// A page of the application calls the API from Chromium, which decides what CORS
// allows: the origin of the configuration reads it, and no other, although the
// cookie goes along.
func TestAPIInABrowser(t *testing.T) {
	b := browser.New(t)
	app := nextjs.Start(t, "AUTH_SECRET="+secret)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	ln.Close()
	api := newProgram(t, "nextjs-api", "AUTH_SECRET="+secret)
	api.start(addr, "-origin", app)
	call := func(options string) string {
		return browser.Run(t, b, chromedp.Evaluate[string](fmt.Sprintf(`fetch("http://%s/api/hello", %s)
			.then(async r => r.status + " " + (await r.text()).trim(), e => "refused")`, addr, options), chromedp.EvalAwaitPromise))
	}
	const (
		plain     = `{credentials: "include"}`
		preflight = `{credentials: "include", method: "PUT", headers: {"Content-Type": "application/json", "X-Trace": "1"}, body: "{}"}`
	)
	b.Do(t, chromedp.Navigate(app))
	if got := call(plain); got != `401 {"error":"sign in first"}` {
		t.Errorf("before signing in: %s", got)
	}
	b.Do(t,
		chromedp.SendKeys(chromedp.CSS("input[name=username]"), "grace"),
		chromedp.SendKeys(chromedp.CSS("input[name=password]"), "right"),
		chromedp.Click(chromedp.CSS("button")),
		chromedp.WaitNotPresent(chromedp.CSS("input")),
	)
	for _, options := range []string{plain, preflight} {
		if got := call(options); got != `200 {"email":"grace@example.com","id":"3","role":"admiral"}` {
			t.Errorf("signed in, with %s: %s", options, got)
		}
	}
	if got := call(`{}`); !strings.HasPrefix(got, "401 ") {
		t.Errorf("without credentials: %s", got)
	}
	evil := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<p>evil") }))
	defer evil.Close()
	b.Do(t, chromedp.Navigate(evil.URL))
	for _, options := range []string{plain, preflight} {
		if got := call(options); got != "refused" {
			t.Errorf("from another origin, with %s: %s", options, got)
		}
	}
}
