package redirect_test

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/gatebook/gatebook/internal/redirect"
)

const origin = "https://app.example.com"

var trusted = []string{"https://admin.example.com", "http://localhost:3000", "https://[2001:db8::1]:8443"}

// In all of these a missing want means that raw is refused.
var resolveTests = []struct{ raw, want string }{
	{"/", origin + "/"},
	{"/dashboard?tab=1#top", origin + "/dashboard?tab=1#top"},
	{"/a//b", origin + "/a//b"},
	{"/%2f%2fevil.test", origin + "/%2f%2fevil.test"},
	{"/%5cevil.test", origin + "/%5cevil.test"},
	{"/..//evil.test", origin + "/..//evil.test"},
	{"/.", origin + "/."},
	{"/@evil.test", origin + "/@evil.test"},
	{"/:80", origin + "/:80"},
	{"/a b", origin + "/a b"},
	{"/a?b=\\c", origin + "/a?b=\\c"},
	{"/a#\\c", origin + "/a#\\c"},
	{"/a?u=https://evil.test//x", origin + "/a?u=https://evil.test//x"},
	{"/é?ü=😀#ö", origin + "/%C3%A9?%C3%BC=%F0%9F%98%80#%C3%B6"},
	{"/\xff", origin + "/%FF"},
	{"/\u3000\u2028", origin + "/%E3%80%80%E2%80%A8"},
	{"/100%", origin + "/100%"},

	{"https://app.example.com", "https://app.example.com"},
	{"https://app.example.com/", "https://app.example.com/"},
	{"https://app.example.com/x?y#z", "https://app.example.com/x?y#z"},
	{"https://app.example.com?x", "https://app.example.com?x"},
	{"https://app.example.com#evil.test", "https://app.example.com#evil.test"},
	{"https://app.example.com:443/x", "https://app.example.com:443/x"},
	{"HTTPS://APP.Example.COM/X", "HTTPS://APP.Example.COM/X"},
	{"https://app.example.com/é", "https://app.example.com/%C3%A9"},
	{"https://app.example.com//evil.test", "https://app.example.com//evil.test"},
	{"https://app.example.com/@evil.test", "https://app.example.com/@evil.test"},
	{"https://app.example.com/?u=https://x:y@evil.test", "https://app.example.com/?u=https://x:y@evil.test"},
	{"https://admin.example.com/x", "https://admin.example.com/x"},
	{"http://localhost:3000/x", "http://localhost:3000/x"},
	{"https://[2001:DB8:0:0::1]:8443/x", "https://[2001:DB8:0:0::1]:8443/x"},

	{"", ""},
	{" ", ""},
	{"x", ""},
	{"?x", ""},
	{"#x", ""},
	{"dashboard", ""},
	{"./x", ""},
	{"//", ""},
	{"//evil.test", ""},
	{"///evil.test", ""},
	{"/\\evil.test", ""},
	{"\\\\evil.test", ""},
	{"\\/evil.test", ""},
	{"\\evil.test", ""},
	{"/a\\b", ""},
	{"/\t/evil.test", ""},
	{"/\n/evil.test", ""},
	{"/\r/evil.test", ""},
	{"\t//evil.test", ""},
	{" //evil.test", ""},
	{"\x00//evil.test", ""},
	{" /x", ""},
	{"/x\r\nSet-Cookie: a=b", ""},
	{"/x\x00", ""},
	{"/x?\x7f", ""},
	{"/x\u0085", ""},
	{"javascript:alert(1)", ""},
	{"java\nscript:alert(1)", ""},
	{"JavaScript://app.example.com/%0aalert(1)", ""},
	{"data:text/html,x", ""},
	{"vbscript:x", ""},
	{"file:///etc/passwd", ""},
	{"ftp://app.example.com/", ""},
	{"ws://app.example.com/", ""},
	{"blob:https://app.example.com/x", ""},
	{"mailto:ada@example.com", ""},
	{"https:evil.test", ""},
	{"https:/evil.test", ""},
	{"http:/evil.test", ""},
	{"https:app.example.com", ""},
	{"https:///app.example.com", ""},
	{"https://", ""},
	{"https:\\\\evil.test", ""},
	{"https:\\\\app.example.com", ""},
	{"https://evil.test", ""},
	{"http://app.example.com/", ""},
	{"http://app.example.com:443/", ""},
	{"https://app.example.com:80/", ""},
	{"https://app.example.com:444/", ""},
	{"https://app.example.com:/", ""},
	{"https://app.example.com:0443/", ""},
	{"https://app.example.com:+443/", ""},
	{"https://app.example.com:443x/", ""},
	{"https://app.example.com:65979/", ""},
	{"https://app.example.com:443:443/", ""},
	{"https://app.example.com@evil.test", ""},
	{"https://app.example.com:x@evil.test", ""},
	{"https://app.example.com:443@evil.test/", ""},
	{"https://user@app.example.com", ""},
	{"https://@app.example.com", ""},
	{"https://:@app.example.com", ""},
	{"https://evil.test#app.example.com", ""},
	{"https://evil.test#@app.example.com", ""},
	{"https://evil.test?@app.example.com", ""},
	{"https://evil.test\\@app.example.com", ""},
	{"https://evil.test/@app.example.com", ""},
	{"https://app.example.com\\@evil.test", ""},
	{"https://app.example.com\\.evil.test", ""},
	{"https://app.example.com.evil.test", ""},
	{"https://app.example.com.", ""},
	{"https://.app.example.com", ""},
	{"https://evilapp.example.com", ""},
	{"https://app.example.comx", ""},
	{"https://app.example.com%2eevil.test", ""},
	{"https://app%2eexample.com", ""},
	{"https://app.example.com%00.evil.test", ""},
	{"https://app.example.com .evil.test", ""},
	{"https://app.example.com;.evil.test", ""},
	{"https://app.example.com,evil.test", ""},
	{"https://app.exam\tple.com", ""},
	{"https://app．example.com", ""},
	{"https://app.example.com／evil.test", ""},
	{"https://app。example。com", ""},
	{"https://ａpp.example.com", ""},
	{"https://app.example.com\u00ad", ""},
	{"https://[::1]", ""},
	{"https://[2001:db8::1]", ""},
	{"https://[2001:db8::1%25eth0]:8443", ""},
	{"https://[2001:db8::1", ""},
	{"https://2001:db8::1:8443", ""},
	{" https://app.example.com", ""},
	{"\thttps://app.example.com", ""},
	{"\ufeffhttps://app.example.com", ""},
	{"ht\ntps://app.example.com", ""},
	{"https://app.example.com/\n", ""},
	{"//app.example.com", ""},
	{"https\u2236//app.example.com", ""},
	{"%2fx", ""},
	{"://app.example.com", ""},
}

func TestResolve(t *testing.T) {
	for _, tt := range resolveTests {
		got, ok := redirect.Resolve(tt.raw, origin, trusted)
		if got != tt.want || ok != (tt.want != "") {
			t.Errorf("Resolve(%q) = %q, %t, want %q", tt.raw, got, ok, tt.want)
		}
	}
}

func TestResolveWithoutTrustedOrigins(t *testing.T) {
	if got, ok := redirect.Resolve("https://admin.example.com/x", origin, nil); ok || got != "" {
		t.Errorf("Resolve = %q, %t, want it refused", got, ok)
	}
	if got, ok := redirect.Resolve("http://localhost:3000/x", "http://localhost:3000", nil); !ok || got != "http://localhost:3000/x" {
		t.Errorf("Resolve = %q, %t, want it unchanged", got, ok)
	}
}

func TestOrigin(t *testing.T) {
	tests := []struct{ in, want string }{
		{"https://app.example.com", "https://app.example.com"},
		{"HTTPS://App.Example.COM:443/Path?q#f", "https://app.example.com"},
		{"http://localhost:80", "http://localhost"},
		{"http://localhost:443", "http://localhost:443"},
		{"http://localhost:8080/", "http://localhost:8080"},
		{"http://127.0.0.1:8080", "http://127.0.0.1:8080"},
		{"http://[::1]:8080", "http://[::1]:8080"},
		{"http://[0:0:0:0:0:0:0:1]:80", "http://[::1]"},
		{"https://[2001:DB8::A]", "https://[2001:db8::a]"},
		{"https://xn--bcher-kva.example?x", "https://xn--bcher-kva.example"},
		{"https://a_b.example", "https://a_b.example"},
		{"https://1and1.example", "https://1and1.example"},
		{"https://3com", "https://3com"},
		{"https://example.0com", "https://example.0com"},
		{`https://example.com\x`, "https://example.com"},
	}
	for _, tt := range tests {
		got, err := redirect.Origin(tt.in)
		if got != tt.want || err != nil {
			t.Errorf("Origin(%q) = %q, %v, want %q", tt.in, got, err, tt.want)
		}
		if again, err := redirect.Origin(got); again != got || err != nil {
			t.Errorf("Origin(%q) = %q, %v, want it unchanged", got, again, err)
		}
	}
	for _, in := range []string{
		"", "example.com", "localhost:3000", "//example.com", "ftp://example.com", "https://", "https:///x", "https://?", "https://:443",
		"https:example.com", " https://example.com", "https://user:hunter2@example.com", "https://@example.com", "https://example.com:",
		"https://example.com:0", "https://example.com:65536", "https://example.com:-1", "https://example.com:x", "https://exa mple.com",
		"https://bücher.example", "https://\u212aube.example", "https://ex%61mple.com", "https://.example.com", "https://example..com", "https://.",
		"https://[::1", "https://::1", "https://[::1]x", "https://[1.2.3.4]", "https://[fe80::1%25eth0]", "https://[::ffff:1.2.3.4]", "https://[]",
		"http://1", "http://127.1", "http://0x7f.0.0.1", "http://0x7f000001", "http://0x", "http://2130706433", "http://127.0.0.01", "http://1.2.3.4.5",
		"http://1.2.3.4.", "http://256.1.1.1", "http://example.1", "http://example.0x1", "http://" + strings.Repeat("a", 254),
	} {
		got, err := redirect.Origin(in)
		if got != "" || !errors.Is(err, redirect.ErrURL) {
			t.Errorf("Origin(%q) = %q, %v, want ErrURL", in, got, err)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("Origin(%q) error tells the password: %v", in, err)
		}
	}
}

func TestParseBase(t *testing.T) {
	for _, tt := range []struct{ in, origin, path string }{
		{"https://app.example.com", "https://app.example.com", ""},
		{"https://app.example.com/", "https://app.example.com", ""},
		{"https://APP.example.com:443/api/Auth", "https://app.example.com", "/api/Auth"},
		{"http://localhost:3000/api/auth/", "http://localhost:3000", "/api/auth"},
		{"http://localhost:3000/a b/é", "http://localhost:3000", "/a%20b/%C3%A9"},
		{"http://localhost:3000/a%20b", "http://localhost:3000", "/a%20b"},
	} {
		o, p, err := redirect.ParseBase(tt.in)
		if o != tt.origin || p != tt.path || err != nil {
			t.Errorf("ParseBase(%q) = %q, %q, %v, want %q, %q", tt.in, o, p, err, tt.origin, tt.path)
		}
	}
	for _, in := range []string{
		"", "/auth", "app.example.com", "https://user:hunter2@app.example.com/", "https://app.example.com/?x", "https://app.example.com?",
		"https://app.example.com/#", "https://app.example.com//", "https://app.example.com//auth", "https://app.example.com/a//b",
		"https://app.example.com/a/../b", "https://app.example.com/%2E%2e/b", "https://app.example.com/.", `https://app.example.com/a\b`,
		"https://app.example.com/a%5Cb", "https://app.example.com/a\tb", "https://app.example.com/%zz",
	} {
		o, p, err := redirect.ParseBase(in)
		if o != "" || p != "" || !errors.Is(err, redirect.ErrURL) {
			t.Errorf("ParseBase(%q) = %q, %q, %v, want ErrURL", in, o, p, err)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("ParseBase(%q) error tells the password: %v", in, err)
		}
	}
}

// browserOrigin finds the origin of an absolute URL in the manner of the WHATWG
// URL Standard, as far as a special scheme goes, and empty for anything else. It
// is generous where the standard is: that is the danger.
func browserOrigin(raw string) string {
	raw = strings.TrimFunc(raw, func(r rune) bool { return r <= ' ' })
	raw = strings.NewReplacer("\t", "", "\n", "", "\r", "").Replace(raw)
	scheme, rest, ok := strings.Cut(raw, ":")
	scheme = strings.ToLower(scheme)
	if !ok || scheme != "http" && scheme != "https" {
		return ""
	}
	rest = strings.TrimLeft(rest, `/\`)
	if i := strings.IndexAny(rest, `/\?#`); i >= 0 {
		rest = rest[:i]
	}
	rest = rest[strings.LastIndexByte(rest, '@')+1:]
	host, port := rest, ""
	if i := strings.LastIndexByte(rest, ':'); i > strings.LastIndexByte(rest, ']') {
		host, port = rest[:i], rest[i+1:]
	}
	if unescaped, err := url.PathUnescape(host); err == nil {
		host = unescaped
	}
	host = strings.ToLower(host)
	if port != "" {
		n, err := strconv.Atoi(port)
		if err != nil {
			return ""
		}
		if n != map[string]int{"http": 80, "https": 443}[scheme] {
			host += ":" + strconv.Itoa(n)
		}
	}
	return scheme + "://" + host
}

func TestBrowserOrigin(t *testing.T) {
	for in, want := range map[string]string{
		"https:evil.test": "https://evil.test", "http:/\\evil.test\\x": "http://evil.test", "ht\ntps://a@b:0443": "https://b",
		"https://a%2eb:80?": "https://a.b:80", "javascript:x": "", "https://[::1]:1/": "https://[::1]:1",
	} {
		if got := browserOrigin(in); got != want {
			t.Errorf("browserOrigin(%q) = %q, want %q", in, got, want)
		}
	}
}

// Whoever reads what Resolve returns finds one of our origins.
func FuzzResolve(f *testing.F) {
	for _, tt := range resolveTests {
		f.Add(tt.raw)
	}
	ours := map[string]bool{origin: true}
	for _, o := range trusted {
		ours[o] = true
	}
	// Of IPv6 addresses browserOrigin does not know the one spelling.
	canonical := func(o string) string {
		if got, err := redirect.Origin(o); err == nil && strings.Contains(o, "[") {
			return got
		}
		return o
	}
	f.Fuzz(func(t *testing.T, raw string) {
		got, ok := redirect.Resolve(raw, origin, trusted)
		if !ok {
			if got != "" {
				t.Fatalf("Resolve(%q) = %q, false", raw, got)
			}
			return
		}
		if o := canonical(browserOrigin(got)); !ours[o] {
			t.Fatalf("Resolve(%q) = %q, where a browser finds %q", raw, got, o)
		}
		for _, c := range []byte(got) {
			if c < 0x20 || c >= 0x7f {
				t.Fatalf("Resolve(%q) = %q, which has byte %#x", raw, got, c)
			}
		}
		if again, ok := redirect.Resolve(got, origin, trusted); again != got || !ok {
			t.Fatalf("Resolve(%q) = %q, %t, want it unchanged", got, again, ok)
		}
		// net/url refuses a percent sign that encodes nothing; browsers do not.
		u, err := url.Parse(got)
		if err != nil {
			if !strings.Contains(err.Error(), "invalid URL escape") {
				t.Fatalf("Resolve(%q) = %q: %v", raw, got, err)
			}
			return
		}
		if o, err := redirect.Origin(u.Scheme + "://" + u.Host); err != nil || !ours[o] || u.User != nil {
			t.Fatalf("Resolve(%q) = %q, where net/url finds %q, %v", raw, got, o, err)
		}
	})
}

func FuzzOrigin(f *testing.F) {
	for _, tt := range resolveTests {
		f.Add(tt.raw)
	}
	f.Add("http://127.1")
	f.Add("https://[2001:DB8::A]:443/x")
	f.Fuzz(func(t *testing.T, raw string) {
		got, err := redirect.Origin(raw)
		if err != nil {
			if got != "" || !errors.Is(err, redirect.ErrURL) {
				t.Fatalf("Origin(%q) = %q, %v", raw, got, err)
			}
			return
		}
		if again, err := redirect.Origin(got); again != got || err != nil {
			t.Fatalf("Origin(%q) = %q, %v, want it unchanged", got, again, err)
		}
		u, err := url.Parse(got)
		if err != nil || u.Scheme+"://"+u.Host != got {
			t.Fatalf("Origin(%q) = %q, which net/url reads as %v, %v", raw, got, u, err)
		}
		if o := browserOrigin(got); o != got {
			t.Fatalf("Origin(%q) = %q, where a browser finds %q", raw, got, o)
		}
		if back, ok := redirect.Resolve(got+"/x", got, nil); !ok || back != got+"/x" {
			t.Fatalf("Resolve(%q) under its own origin = %q, %t", got+"/x", back, ok)
		}
		o, p, err := redirect.ParseBase(raw)
		if err != nil {
			return
		}
		if o != got || strings.HasSuffix(p, "/") || p != "" && (p[0] != '/' || strings.HasPrefix(p, "//")) {
			t.Fatalf("ParseBase(%q) = %q, %q, want origin %q", raw, o, p, got)
		}
		if o2, p2, err := redirect.ParseBase(o + p); o2 != o || p2 != p || err != nil {
			t.Fatalf("ParseBase(%q) = %q, %q, %v, want it unchanged", o+p, o2, p2, err)
		}
	})
}

func BenchmarkResolve(b *testing.B) {
	for _, raw := range []string{"/dashboard?tab=1", "https://app.example.com/dashboard"} {
		b.Run(raw[:5], func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				redirect.Resolve(raw, origin, trusted)
			}
		})
	}
}

func ExampleResolve() {
	for _, raw := range []string{"/dashboard", "https://app.example.com/x", "//evil.test", "javascript:alert(1)"} {
		fmt.Println(redirect.Resolve(raw, "https://app.example.com", nil))
	}
	// Output:
	// https://app.example.com/dashboard true
	// https://app.example.com/x true
	//  false
	//  false
}
