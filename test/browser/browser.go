// Package browser drives a headless Chromium for tests of pages, in the size
// of a desktop or of a phone, and takes screenshots. What happens on a page is
// said in chromedp's actions:
//
//	b := browser.New(t)
//	b.Do(t, chromedp.Navigate(server.URL), chromedp.Click(chromedp.CSS("button")))
//	heading := browser.Run(t, b, chromedp.Text(chromedp.CSS("h1")))
//	b.Screenshot(t, filepath.Join(t.TempDir(), "home.png"))
//
// The browser reaches loopback addresses only. A page that asks for anything
// beyond does not get it, and Blocked tells.
package browser

import (
	"context"
	"errors"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"github.com/gatebook/gatebook/test/need"
)

// Size is a viewport in CSS pixels.
type Size struct {
	Width, Height int64
	// Mobile makes pages lay out as on a phone: the viewport meta element
	// counts, and there are touch events.
	Mobile bool
	// Scale is the number of device pixels to a CSS pixel; zero means 1.
	Scale float64
}

// The sizes that pages are tested in.
var (
	Desktop = Size{Width: 1280, Height: 800}
	Phone   = Size{Width: 390, Height: 844, Mobile: true, Scale: 2}
)

// stepTimeout bounds one call of Do or Run. A page under test answers in
// milliseconds; starting Chromium on a busy machine takes seconds.
const stepTimeout = time.Minute

// Browser is one Chromium with one tab, an empty profile, and no network
// beyond loopback. Its methods are for one goroutine.
type Browser struct {
	ctx context.Context

	mu      sync.Mutex
	blocked []string // guarded by mu
}

// New starts a browser in the size of a desktop, which ends with the test.
// Without Chromium it skips the test; see package need. The options come after
// those that every browser has.
func New(t testing.TB, more ...chromedp.ExecAllocatorOption) *Browser {
	t.Helper()
	path := need.Chromium(t)

	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path),
		// What follows keeps Chromium off the network: names other than
		// localhost do not resolve, and it looks for no updates.
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE *.localhost, EXCLUDE 127.0.0.1"),
		chromedp.Flag("no-proxy-server", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-domain-reliability", true),
		chromedp.Flag("disable-quic", true),
		chromedp.DisableGPU,
	)
	if os.Geteuid() == 0 {
		// Chromium's sandbox refuses to run as root, as CI does. The only
		// pages it shows are ours.
		options = append(options, chromedp.NoSandbox)
	}
	options = append(options, more...)
	allocator, stop := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, cancel := chromedp.NewContext(allocator, chromedp.WithErrorf(t.Logf))
	t.Cleanup(func() {
		// Cancel asks Chromium to end and waits for it; stop removes the
		// profile.
		if err := chromedp.Cancel(ctx); err != nil && !errors.Is(err, context.Canceled) {
			t.Logf("close the browser: %v", err)
		}
		cancel()
		stop()
	})

	return open(ctx, t)
}

// Tab opens another tab of the browser, with the same cookies and storage, which
// ends with the test. Like a Browser it is for one goroutine, but several may
// each have one.
func (b *Browser) Tab(t testing.TB) *Browser {
	t.Helper()
	ctx, cancel := chromedp.NewContext(b.ctx)
	t.Cleanup(cancel)
	return open(ctx, t)
}

// open makes the tab of ctx a Browser.
func open(ctx context.Context, t testing.TB) *Browser {
	t.Helper()
	b := &Browser{ctx: ctx}
	// The first call starts Chromium and ties its life to the context it is
	// given, so that one must not have the deadline of a step.
	if err := chromedp.Listen(ctx, b.note); err != nil {
		t.Fatalf("start Chromium: %v", err)
	}
	if _, err := chromedp.Call(ctx, network.Enable, network.EnableParams{}); err != nil {
		t.Fatalf("watch the requests of pages: %v", err)
	}
	b.Resize(t, Desktop)
	return b
}

// Context returns the chromedp context of the tab, for what Do and Run cannot
// express. It ends with the test.
func (b *Browser) Context() context.Context { return b.ctx }

// Do carries out steps in the tab, one after the other. It fails the test if
// one fails, or if together they take more than a minute.
func (b *Browser) Do(t testing.TB, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	Run(t, b, chromedp.Steps(steps...))
}

// Run carries out action in the tab of b and returns its value. It fails the
// test if the action fails or takes more than a minute.
func Run[T any](t testing.TB, b *Browser, action chromedp.Action[T]) T {
	t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, stepTimeout)
	defer cancel()
	value, err := chromedp.Run(ctx, action)
	if err != nil {
		t.Fatalf("browser: %v", err)
	}
	return value
}

// Resize makes the tab as large as size says.
func (b *Browser) Resize(t testing.TB, size Size) {
	t.Helper()
	scale := size.Scale
	if scale == 0 {
		scale = 1
	}
	options := []chromedp.EmulateViewportOption{chromedp.EmulateScale(scale)}
	if size.Mobile {
		options = append(options, chromedp.EmulateMobile, chromedp.EmulateTouch, chromedp.EmulatePortrait)
	}
	b.Do(t, chromedp.EmulateViewport(size.Width, size.Height, options...))
}

// JavaScript allows or forbids scripts in pages that are loaded from now on.
func (b *Browser) JavaScript(t testing.TB, allow bool) {
	t.Helper()
	forbid := emulation.SetScriptExecutionDisabledParams{Value: !allow}
	if _, err := chromedp.Call(b.ctx, emulation.SetScriptExecutionDisabled, forbid); err != nil {
		t.Fatalf("browser: allow scripts: %v", err)
	}
}

// Screenshot writes what the tab shows to file as PNG, making its folder.
func (b *Browser) Screenshot(t testing.TB, file string) {
	t.Helper()
	png := Run(t, b, chromedp.CaptureScreenshot())
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, png, 0o644); err != nil {
		t.Fatal(err)
	}
}

// Blocked returns the URLs beyond loopback that pages have asked for, in
// order. A test of pages that load nothing from elsewhere wants none.
func (b *Browser) Blocked() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]string(nil), b.blocked...)
}

func (b *Browser) note(event any) {
	request, ok := event.(*network.EventRequestWillBeSent)
	if !ok || onLoopback(request.Request.URL) {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.blocked = append(b.blocked, request.Request.URL)
}

// onLoopback reports whether address is a loopback address or, like data: and
// about:, none at all.
func onLoopback(address string) bool {
	u, err := url.Parse(address)
	if err != nil {
		return false
	}
	host := u.Hostname()
	return host == "" || host == "localhost" || net.ParseIP(host).IsLoopback()
}
