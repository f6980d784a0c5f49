package browser_test

import (
	"fmt"
	"image/png"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/google/go-cmp/cmp"

	"github.com/gatebook/gatebook/test/browser"
)

const page = `<!DOCTYPE html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Page</title><h1>Hello</h1>
<form method="post"><input name="name"><button>Send</button></form>
<p id="script">no script</p>
<script>document.getElementById("script").textContent =
innerWidth + " wide, " + (navigator.maxTouchPoints ? "touch" : "mouse")</script>`

func serve(t *testing.T, html string) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		if r.Method == http.MethodPost {
			fmt.Fprintf(w, "<h1>Hello %s</h1>", r.FormValue("name"))
			return
		}
		fmt.Fprint(w, html)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func TestForm(t *testing.T) {
	b := browser.New(t)
	b.Do(t,
		chromedp.Navigate(serve(t, page)),
		chromedp.SendKeys(chromedp.CSS("input"), "Ada"),
		chromedp.Click(chromedp.CSS("button")),
		chromedp.WaitNotPresent(chromedp.CSS("form")),
	)
	if heading := browser.Run(t, b, chromedp.Text(chromedp.CSS("h1"))); heading != "Hello Ada" {
		t.Errorf("heading = %q, want %q", heading, "Hello Ada")
	}
}

func TestSizes(t *testing.T) {
	b := browser.New(t)
	address := serve(t, page)
	tests := []struct {
		name   string
		size   browser.Size
		text   string
		pixels [2]int
	}{
		{"phone", browser.Phone, "390 wide, touch", [2]int{780, 1688}},
		{"desktop", browser.Desktop, "1280 wide, mouse", [2]int{1280, 800}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b.Resize(t, test.size)
			b.Do(t, chromedp.Navigate(address))
			if text := browser.Run(t, b, chromedp.Text(chromedp.ID("script"))); text != test.text {
				t.Errorf("the page says %q, want %q", text, test.text)
			}
			file := filepath.Join(t.TempDir(), "shots", "page.png")
			b.Screenshot(t, file)
			if got := pixels(t, file); got != test.pixels {
				t.Errorf("screenshot has %v pixels, want %v", got, test.pixels)
			}
		})
	}
}

func pixels(t *testing.T, file string) [2]int {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	shot, err := png.DecodeConfig(f)
	if err != nil {
		t.Fatal(err)
	}
	return [2]int{shot.Width, shot.Height}
}

func TestJavaScriptOff(t *testing.T) {
	b := browser.New(t)
	address := serve(t, page)
	for _, on := range []bool{false, true} {
		b.JavaScript(t, on)
		b.Do(t, chromedp.Navigate(address))
		text := browser.Run(t, b, chromedp.Text(chromedp.ID("script")))
		if ran := text != "no script"; ran != on {
			t.Errorf("with JavaScript %v the page says %q", on, text)
		}
	}
}

func TestBlocked(t *testing.T) {
	b := browser.New(t)
	b.Do(t, chromedp.Navigate(serve(t, page)))
	if got := b.Blocked(); len(got) != 0 {
		t.Errorf("Blocked() = %q for a page that loads nothing, want none", got)
	}
	b.Do(t, chromedp.Navigate(serve(t, `<img src="http://elsewhere.example/pixel.png"><h1>Hello</h1>`)))
	want := []string{"http://elsewhere.example/pixel.png"}
	if diff := cmp.Diff(want, b.Blocked()); diff != "" {
		t.Errorf("Blocked() (-want +got):\n%s", diff)
	}
}
