package cookie_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/gatebook/gatebook/internal/cookie"
)

const name = "authjs.session-token"

func TestAppend(t *testing.T) {
	expires := time.Date(2026, 12, 23, 17, 26, 15, 968e6, time.FixedZone("", 2*60*60))
	tests := []struct {
		name string
		in   cookie.Cookie
		want string
	}{
		{"CSRF token", cookie.Cookie{Name: "authjs.csrf-token", Value: "12|ab", Path: "/", HTTPOnly: true, SameSite: "Lax"},
			"authjs.csrf-token=12%7Cab; Path=/; HttpOnly; SameSite=Lax"},
		{"check", cookie.Cookie{Name: "authjs.state", Value: "a.b-c_d", MaxAge: 900, HasMaxAge: true, Path: "/", Expires: expires, HTTPOnly: true, SameSite: "Lax"},
			"authjs.state=a.b-c_d; Max-Age=900; Path=/; Expires=Wed, 23 Dec 2026 15:26:15 GMT; HttpOnly; SameSite=Lax"},
		{"cleared", cookie.Cookie{Name: name, HasMaxAge: true, Path: "/", HTTPOnly: true, SameSite: "Lax"},
			name + "=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax"},
		{"everything", cookie.Cookie{Name: "n", Value: "v", MaxAge: 1, HasMaxAge: true, Domain: "example.com", Path: "/p", Expires: expires, HTTPOnly: true, Secure: true, SameSite: "None"},
			"n=v; Max-Age=1; Domain=example.com; Path=/p; Expires=Wed, 23 Dec 2026 15:26:15 GMT; HttpOnly; Secure; SameSite=None"},
		{"nothing", cookie.Cookie{Name: "n"}, "n="},
		{"value with attributes", cookie.Cookie{Name: "n", Value: "v; Domain=evil\r\nX: y"}, "n=v%3B%20Domain%3Devil%0D%0AX%3A%20y"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := string(tt.in.Append([]byte("x"))); got != "x"+tt.want {
				t.Errorf("Append = %q, want %q", got, "x"+tt.want)
			}
		})
	}
}

func TestAppendExpires(t *testing.T) {
	start := time.Date(1999, 12, 25, 0, 0, 0, 0, time.UTC)
	for i := range 3000 { // through every day of the week, month, hour and leap days
		at := start.Add(time.Duration(i) * (37*time.Hour + 61*time.Minute + 13*time.Second))
		for _, at := range []time.Time{at, at.In(time.FixedZone("", 5*3600)), at.AddDate(-1995, 0, 0), at.AddDate(9000, 0, 0)} {
			c := cookie.Cookie{Name: "a", Expires: at}
			if got, want := string(c.Append(nil)), "a=; Expires="+at.UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT"); got != want {
				t.Fatalf("Append = %s, want %s", got, want)
			}
		}
	}
}

func TestGet(t *testing.T) {
	tests := []struct {
		name   string
		header []string
		want   string
		ok     bool
	}{
		{"no header", nil, "", false},
		{"empty header", []string{""}, "", false},
		{"alone", []string{"a=1"}, "1", true},
		{"in the middle", []string{"b=2; a=1; c=3"}, "1", true},
		{"without spaces", []string{"b=2;a=1;c=3"}, "1", true},
		{"first of two", []string{"a=1; a=2"}, "1", true},
		{"first and empty", []string{"a=; a=2"}, "", true},
		{"second header", []string{"b=2", "a=1"}, "1", true},
		{"after an empty header", []string{"", ";", "a=1"}, "1", true},
		{"trimmed", []string{" \ta \t=\t 1 2 \t"}, "1 2", true},
		{"quotation marks stay", []string{`a="1"`}, `"1"`, true},
		{"equals sign in the value", []string{"a=b=c="}, "b=c=", true},
		{"decoded", []string{"a=1%7C2%20%C3%A9"}, "1|2 é", true},
		{"plus stays", []string{"a=1+2%2B"}, "1+2+", true},
		{"bad escape stays", []string{"a=%7C%7"}, "%7C%7", true},
		{"bad UTF-8 stays", []string{"a=%C3%28"}, "%C3%28", true},
		{"without an equals sign", []string{"a; a=1"}, "1", true},
		{"other case", []string{"A=1"}, "", false},
		{"prefix", []string{"aa=1; a.0=2"}, "", false},
		{"in a value", []string{"b=a=1"}, "", false},
		{"trailing semicolons", []string{";; ;a=1;;"}, "1", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, ok := cookie.Parse(tt.header).Get("a"); got != tt.want || ok != tt.ok {
				t.Errorf("Parse(%q).Get(a) = %q, %t, want %q, %t", tt.header, got, ok, tt.want, tt.ok)
			}
		})
	}
}

func TestLimits(t *testing.T) {
	filler := "x=" + strings.Repeat("y", cookie.MaxBytes-len("x=;a=1")) + ";"
	pairs := strings.Repeat("x=1; ", cookie.MaxPairs-1)
	tests := []struct {
		name   string
		header []string
		want   string
		ok     bool
	}{
		{"last byte", []string{filler + "a=1"}, "1", true},
		{"last byte, more follows", []string{filler + "a=1; b=2"}, "1", true},
		{"cut value", []string{filler + "a=12"}, "", false},
		{"beyond", []string{filler + "z=1;a=1"}, "", false},
		{"second header", []string{filler, "a=1"}, "1", true},
		{"second header cut", []string{filler, "a=12"}, "", false},
		{"header after the cut one", []string{filler + "zz=12", "a=1"}, "", false},
		{"one huge value", []string{"a=" + strings.Repeat("y", 100_000)}, "", false},
		{"last pair", []string{pairs + "a=1"}, "1", true},
		{"pair beyond", []string{pairs + "x=1; a=1"}, "", false},
		{"pair beyond in another header", []string{pairs + "x=1", "a=1"}, "", false},
		{"segments without = are no pairs", []string{pairs + "x; y; a=1"}, "1", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, ok := cookie.Parse(tt.header).Get("a"); got != tt.want || ok != tt.ok {
				t.Errorf("Get = %.20q, %t, want %q, %t", got, ok, tt.want, tt.ok)
			}
		})
	}
}

func TestChunks(t *testing.T) {
	many := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "%s.%d=%d; ", name, i, i%10)
		}
		return b.String()
	}
	numbered := func(n int) (names []string) {
		for i := range n {
			names = append(names, fmt.Sprintf("%s.%d", name, i))
		}
		return names
	}
	tests := []struct {
		name, header, value string
		names               []string
	}{
		{"absent", "other=1", "", nil},
		{"plain", "other=1; " + name + "=abc", "abc", []string{name}},
		{"plain and empty", name + "=", "", nil},
		{"two chunks", name + ".0=abc; " + name + ".1=def", "abcdef", []string{name + ".0", name + ".1"}},
		{"in any order", name + ".1=def; x=1; " + name + ".2=ghi; " + name + ".0=abc", "abcdefghi", []string{name + ".1", name + ".2", name + ".0"}},
		{"sorted as numbers", strings.Replace(many(11), name+".10=0; ", "", 1) + name + ".10=X", "0123456789X", numbered(11)},
		{"plain beside chunks", name + ".0=old; " + name + "=abc; " + name + ".1=old", "abc", []string{name + ".0", name, name + ".1"}},
		{"empty plain beside chunks", name + "=; " + name + ".0=abc", "abc", []string{name + ".0"}},
		{"gap", name + ".0=abc; " + name + ".2=ghi", "abc", []string{name + ".0", name + ".2"}},
		{"empty chunk is a gap", name + ".0=abc; " + name + ".1=; " + name + ".2=ghi", "abc", []string{name + ".0", name + ".2"}},
		{"no first chunk", name + ".1=def", "", []string{name + ".1"}},
		{"first of two", name + ".0=abc; " + name + ".0=xyz; " + name + ".1=def", "abcdef", []string{name + ".0", name + ".1"}},
		{"first of two plain ones", name + "=abc; " + name + "=xyz", "abc", []string{name}},
		{"first is empty", name + "=; " + name + "=xyz", "", nil},
		{"decoded", name + ".0=%41; " + name + ".1=%42", "AB", []string{name + ".0", name + ".1"}},
		{"strangers", strings.Join([]string{name + "-other=1", name + "x=1", name + ".=1", name + ".a=1", name + ".00=1", name + ".01=1",
			name + ".-1=1", name + ".+1=1", name + ".1e1=1", name + ".0.0=1", name + ".1000=1", name + ". 0=1", "x" + name + "=1"}, "; "), "", nil},
		{"as many as allowed", many(cookie.MaxChunks), strings.Repeat("0123456789", 3)[:cookie.MaxChunks], numbered(cookie.MaxChunks)},
		{"one too many", many(cookie.MaxChunks + 1), "", numbered(cookie.MaxChunks + 1)},
		{"200", many(200), "", numbered(200)},
		{"200 and a plain one", name + "=abc; " + many(200), "abc", append([]string{name}, numbered(200)...)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			value, names := cookie.Parse([]string{tt.header}).Chunks(name)
			if value != tt.value || !slices.Equal(names, tt.names) {
				t.Errorf("Chunks = %q, %q, want %q, %q", value, names, tt.value, tt.names)
			}
		})
	}
}

func TestSplit(t *testing.T) {
	for _, tt := range []struct {
		length int
		names  []string
	}{
		{0, nil},
		{1, []string{"n"}},
		{3936, []string{"n"}},
		{3937, []string{"n.0", "n.1"}},
		{7872, []string{"n.0", "n.1"}},
		{7873, []string{"n.0", "n.1", "n.2"}},
	} {
		value := strings.Repeat("0123456789", 1000)[:tt.length]
		pairs := cookie.Split("n", value)
		var names []string
		var joined string
		for i, p := range pairs {
			names = append(names, p.Name)
			joined += p.Value
			if i < len(pairs)-1 && len(p.Value) != 3936 {
				t.Errorf("Split of %d bytes: cookie %d holds %d", tt.length, i, len(p.Value))
			}
		}
		if !slices.Equal(names, tt.names) || joined != value {
			t.Errorf("Split of %d bytes = %q, holding %d bytes, want %q", tt.length, names, len(joined), tt.names)
		}
	}
}

func TestAppendComponent(t *testing.T) {
	for in, want := range map[string]string{
		"":                       "",
		"AZaz09-_.!~*'()":        "AZaz09-_.!~*'()",
		" +&=;,/?:@#%$|\"<>":     "%20%2B%26%3D%3B%2C%2F%3F%3A%40%23%25%24%7C%22%3C%3E",
		"http://localhost:3000":  "http%3A%2F%2Flocalhost%3A3000",
		"é😀":                     "%C3%A9%F0%9F%98%80",
		"\x00\r\n\x7f":           "%00%0D%0A%7F",
		"safe up to here \xff!":  "safe%20up%20to%20here%20%EF%BF%BD!",
		"[]{}^`\\":               "%5B%5D%7B%7D%5E%60%5C",
		"abc\xc3\xa9\xc3def|ghi": "abc%C3%A9%EF%BF%BDdef%7Cghi",
	} {
		if got := string(cookie.AppendComponent([]byte("x"), in)); got != "x"+want {
			t.Errorf("AppendComponent(%q) = %q, want %q", in, got, "x"+want)
		}
	}
}

func TestAppendForm(t *testing.T) {
	var b []byte
	for _, p := range [][2]string{{"z", "1 2"}, {"a b", "~*-._!'()"}, {"é", "&=+%"}, {"z", ""}} {
		b = cookie.AppendForm(b, p[0], p[1])
	}
	const want = "z=1+2&a+b=%7E*-._%21%27%28%29&%C3%A9=%26%3D%2B%25&z="
	if string(b) != want {
		t.Errorf("AppendForm = %s, want %s", b, want)
	}
}

func TestUnescapeComponent(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "abc": "abc", "a+b": "a+b", "%41%5a%5A": "AZZ", "%C3%A9": "é", "é%20é": "é é", "%F0%9F%98%80x%7C": "😀x|", "%00": "\x00",
	} {
		if got, err := cookie.UnescapeComponent(in); got != want || err != nil {
			t.Errorf("UnescapeComponent(%q) = %q, %v, want %q", in, got, err, want)
		}
	}
	for _, in := range []string{"%", "%4", "x%", "%4x", "%x4", "% 1", "%C3", "%C3x", "%C3\xa9", "%A9", "%ED%A0%80", "%C0%80", "%F8%88%80%80%80", "%F4%90%80%80", "%41%"} {
		if got, err := cookie.UnescapeComponent(in); got != "" || !errors.Is(err, cookie.ErrEscape) {
			t.Errorf("UnescapeComponent(%q) = %q, %v, want ErrEscape", in, got, err)
		}
	}
}

func TestAllocations(t *testing.T) {
	header := []string{browserHeader}
	buf := make([]byte, 0, 2048)
	c := cookie.Cookie{Name: name, Value: token, Path: "/", Expires: time.Unix(1800000000, 0), HTTPOnly: true, SameSite: "Lax"}
	for _, tt := range []struct {
		name string
		max  float64
		f    func()
	}{
		{"Get", 0, func() { cookie.Parse(header).Get(name) }},
		{"Chunks of one cookie", 1, func() { cookie.Parse(header).Chunks(name) }},
		{"Append", 0, func() { c.Append(buf) }},
		{"AppendComponent of a token", 0, func() { cookie.AppendComponent(buf, token) }},
	} {
		if n := testing.AllocsPerRun(1000, tt.f); n > tt.max {
			t.Errorf("%s allocates %v times, want at most %v", tt.name, n, tt.max)
		}
	}
}

// What net/http reads in a header, the Jar reads too, where the two agree on
// what is a cookie; what the Jar finds is in the header.
func FuzzJar(f *testing.F) {
	for _, s := range []string{
		browserHeader, "a=1; a=2", name + ".1=b; " + name + ".0=a; " + name + "-other=x", "a=%7C; b=%", ";;=;a;=b; c", " \ta = \t1 ",
		name + "=; " + name + ".25=x; " + name + ".00=y", strings.Repeat("x=1;", 600),
	} {
		f.Add(s, "")
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, first, second string) {
		jar := cookie.Parse([]string{first, second})
		for _, n := range []string{"", "a", name, name + ".0"} {
			if v, ok := jar.Get(n); !ok && v != "" {
				t.Fatalf("Get(%q) = %q, false", n, v)
			}
		}
		// net/http trims line ends too, which no header that arrived can hold.
		comparable := !strings.ContainsAny(first+second, "\r\n")
		if comparable && len(first)+len(second) < 1000 && strings.Count(first, ";")+strings.Count(second, ";") < 500 {
			seen := map[string]bool{}
			for _, c := range (&http.Request{Header: http.Header{"Cookie": {first, second}}}).Cookies() {
				// Without a value there may be no = either, which net/http accepts.
				skip := seen[c.Name] || c.Value == "" || c.Quoted || strings.ContainsAny(c.Value, "% \t")
				seen[c.Name] = true
				if skip {
					continue
				}
				got, ok := jar.Get(c.Name)
				if !ok {
					t.Fatalf("Get(%q) finds nothing, net/http finds %q", c.Name, c.Value)
				}
				// The first may be one that net/http refuses for its value.
				if got != c.Value && strings.Count(first+second, c.Name) == 1 {
					t.Fatalf("Get(%q) = %q, want %q", c.Name, got, c.Value)
				}
			}
		}
		value, names := jar.Chunks(name)
		if value != "" && len(names) == 0 {
			t.Fatalf("Chunks = %q without names", value)
		}
		sorted := slices.Sorted(slices.Values(names))
		if len(slices.Compact(sorted)) != len(names) {
			t.Fatalf("Chunks names a cookie twice: %q", names)
		}
		for _, n := range names {
			if v, ok := jar.Get(n); !ok || v == "" || !strings.HasPrefix(n, name) {
				t.Fatalf("Chunks names %q, which Get finds as %q, %t", n, v, ok)
			}
		}
		if plain, _ := jar.Get(name); plain != "" && value != plain {
			t.Fatalf("Chunks = %q, want the plain cookie %q", value, plain)
		}
	})
}

// Split and Chunks are inverse for what tokens consist of, whatever else is sent.
func FuzzChunks(f *testing.F) {
	f.Add(uint16(542), "x=1", false)
	f.Add(uint16(3936), "", true)
	f.Add(uint16(3937), name+"-other=1; ", true)
	f.Add(uint16(60000), "authjs.csrf-token=1%7C2", false)
	f.Fuzz(func(t *testing.T, length uint16, other string, backwards bool) {
		if strings.Contains(other, name) {
			return // may be a cookie of the session itself
		}
		value := strings.Repeat("eyJhbGciOiJkaXIi.-_", 1+int(length)/19)[:length]
		pairs := cookie.Split(name, value)
		if backwards {
			slices.Reverse(pairs)
		}
		var header strings.Builder
		for _, p := range pairs {
			fmt.Fprintf(&header, "%s=%s; ", p.Name, cookie.AppendComponent(nil, p.Value))
		}
		header.WriteString(other)
		if header.Len() > cookie.MaxBytes {
			return
		}
		got, names := cookie.Parse([]string{header.String()}).Chunks(name)
		if got != value || len(names) != len(pairs) {
			t.Fatalf("Chunks after Split of %d bytes = %d bytes from %q", len(value), len(got), names)
		}
	})
}

func FuzzComponent(f *testing.F) {
	for _, s := range []string{"", "a b", "%41%C3%A9", "%", "é|\xff", "AZaz09-_.!~*'()+"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		enc := string(cookie.AppendComponent(nil, s))
		got, err := cookie.UnescapeComponent(enc)
		if want := strings.ToValidUTF8(s, "\uFFFD"); err != nil || got != want {
			t.Fatalf("UnescapeComponent(%q) = %q, %v, want %q", enc, got, err, want)
		}
		if i := strings.IndexFunc(enc, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune(`",;\`, r) }); i >= 0 {
			t.Fatalf("AppendComponent(%q) = %q, which no cookie may hold", s, enc)
		}
		form := string(cookie.AppendForm(nil, s, s))
		if values, err := url.ParseQuery(form); err != nil || values.Get(got) != got {
			t.Fatalf("url.ParseQuery(%q) = %q, %v, want %q", form, values, err, got)
		}
		// The decoder itself, on anything.
		dec, err := cookie.UnescapeComponent(s)
		if err != nil {
			if dec != "" {
				t.Fatalf("UnescapeComponent(%q) = %q beside %v", s, dec, err)
			}
			return
		}
		want, err := url.PathUnescape(s)
		if err != nil || dec != want {
			t.Fatalf("UnescapeComponent(%q) = %q, url.PathUnescape: %q, %v", s, dec, want, err)
		}
		if utf8.ValidString(s) && !utf8.ValidString(dec) {
			t.Fatalf("UnescapeComponent(%q) = %q, which is not UTF-8", s, dec)
		}
	})
}

// A token of the usual length, and the header of a browser that holds a session.
var (
	token         = strings.Repeat("eyJhbGciOiJkaXIi-_", 31)[:542]
	browserHeader = "_ga=GA1.1.1234567890.1700000000; theme=dark; authjs.csrf-token=" +
		strings.Repeat("0123456789abcdef", 4) + "%7C" + strings.Repeat("fedcba9876543210", 4) +
		"; authjs.callback-url=http%3A%2F%2Flocalhost%3A3000; " + name + "=" + token
)

func BenchmarkGet(b *testing.B) {
	header := []string{browserHeader}
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := cookie.Parse(header).Get(name); !ok {
			b.Fatal("not found")
		}
	}
}

func BenchmarkChunks(b *testing.B) {
	header := []string{browserHeader}
	b.ReportAllocs()
	for b.Loop() {
		if v, _ := cookie.Parse(header).Chunks(name); v == "" {
			b.Fatal("not found")
		}
	}
}

// The worst that a request can ask for: as many cookies as are looked at, all
// taken for chunks.
func BenchmarkChunksHostile(b *testing.B) {
	var h strings.Builder
	for i := range cookie.MaxPairs {
		fmt.Fprintf(&h, "%s.%d=%s;", name, i, strings.Repeat("%41", 30))
	}
	header := []string{h.String()}
	b.ReportAllocs()
	for b.Loop() {
		cookie.Parse(header).Chunks(name)
	}
}

func BenchmarkAppend(b *testing.B) {
	c := cookie.Cookie{Name: name, Value: token, Path: "/", Expires: time.Unix(1800000000, 0), HTTPOnly: true, SameSite: "Lax"}
	buf := make([]byte, 0, 2048)
	b.ReportAllocs()
	for b.Loop() {
		c.Append(buf)
	}
}

func ExampleCookie_Append() {
	c := cookie.Cookie{
		Name:     "authjs.callback-url",
		Value:    "https://app.example.com/a?b=c",
		Path:     "/",
		HTTPOnly: true,
		SameSite: "Lax",
	}
	fmt.Println(string(c.Append(nil)))
	// Output:
	// authjs.callback-url=https%3A%2F%2Fapp.example.com%2Fa%3Fb%3Dc; Path=/; HttpOnly; SameSite=Lax
}

func ExampleJar_Chunks() {
	jar := cookie.Parse([]string{"theme=dark; session.1=world; session.0=hello-; session-other=x"})
	value, names := jar.Chunks("session")
	fmt.Println(value, names)
	// Output:
	// hello-world [session.1 session.0]
}
