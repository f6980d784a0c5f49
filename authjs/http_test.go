package authjs_test

import (
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatebook/gatebook/authjs"
	"github.com/gatebook/gatebook/internal/cookie"
)

// get returns a request with headers, names and values in turn.
func get(headers ...string) *http.Request {
	r := &http.Request{Method: "GET", Host: "api.example.com", URL: &url.URL{Path: "/"}, Header: http.Header{}}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header[headers[i]] = append(r.Header[headers[i]], headers[i+1])
	}
	return r
}

// chunked is a Cookie header that holds token as Auth.js sends it.
func chunked(name, token string) string {
	var parts []string
	for _, p := range cookie.Split(name, token) {
		parts = append(parts, p.Name+"="+p.Value)
	}
	return strings.Join(parts, "; ")
}

func TestCookies(t *testing.T) {
	long := `{"sub":"1","x":"` + strings.Repeat("x", 9000) + `"}`
	one := func(salt string) string { return seal(t, secret, salt, `{"sub":"1"}`) }
	two := func(salt string) string { return seal(t, secret, salt, `{"sub":"2"}`) }
	v4one := sealV4(t, secret, `{"sub":"1"}`)
	big := seal(t, secret, v5Cookie, long)
	https := func(c *authjs.Config) { c.Origins = []string{"https://app.example.com"} }
	mixed := func(c *authjs.Config) { c.Origins = []string{"https://app.example.com", "http://localhost:3000"} }
	renamed := func(c *authjs.Config) { c.Cookie = "session" }
	tests := []struct {
		name    string
		change  func(*authjs.Config)
		headers []string
		user    string
	}{
		{"v5", nil, []string{"Cookie", v5Cookie + "=" + one(v5Cookie)}, "1"},
		{"v5, secure", nil, []string{"Cookie", secureCookie + "=" + one(secureCookie)}, "1"},
		{"v4", nil, []string{"Cookie", v4Cookie + "=" + v4one}, "1"},
		{"v4, secure", nil, []string{"Cookie", "__Secure-" + v4Cookie + "=" + v4one}, "1"},
		{"v5, chunks", nil, []string{"Cookie", chunked(v5Cookie, big)}, "1"},
		{"v4, chunks", nil, []string{"Cookie", chunked(v4Cookie, sealV4(t, secret, long))}, "1"},
		{"chunks in two headers, the last first", nil, []string{"Cookie", v5Cookie + ".2=" + big[2*3936:3*3936] + "; " + v5Cookie + ".1=" + big[3936:2*3936] + "; " + v5Cookie + ".3=" + big[3*3936:], "Cookie", v5Cookie + ".0=" + big[:3936]}, "1"},
		{"a chunk is missing", nil, []string{"Cookie", v5Cookie + ".0=" + big[:3936] + "; " + v5Cookie + ".2=" + big[2*3936:]}, ""},
		{"among others", nil, []string{"Cookie", "a=1; authjs.csrf-token=x%7Cy; " + v5Cookie + "-other=x; " + v5Cookie + "=" + one(v5Cookie) + "; b=2"}, "1"},
		{"percent-encoded", nil, []string{"Cookie", v5Cookie + "=" + strings.ReplaceAll(one(v5Cookie), ".", "%2E")}, "1"},
		{"the secure one first", nil, []string{"Cookie", v5Cookie + "=" + two(v5Cookie) + "; " + secureCookie + "=" + one(secureCookie)}, "1"},
		{"v5 first", nil, []string{"Cookie", v4Cookie + "=" + sealV4(t, secret, `{"sub":"2"}`) + "; " + v5Cookie + "=" + one(v5Cookie)}, "1"},
		{"v4 where v5's has ended", nil, []string{"Cookie", v4Cookie + "=" + v4one + "; " + v5Cookie + "=" + seal(t, secret, v5Cookie, `{"sub":"2","exp":1}`)}, "1"},
		{"the first of two", nil, []string{"Cookie", v5Cookie + "=" + one(v5Cookie) + "; " + v5Cookie + "=" + two(v5Cookie)}, "1"},
		{"empty", nil, []string{"Cookie", v5Cookie + "="}, ""},
		{"none", nil, nil, ""},

		// Who can set a cookie from http, or from another host of the domain, can
		// set the plain one only, and has none but secure tokens of his own.
		{"a secure token in the plain cookie", nil, []string{"Cookie", v5Cookie + "=" + one(secureCookie)}, ""},
		{"a plain token in the secure cookie", nil, []string{"Cookie", secureCookie + "=" + one(v5Cookie)}, ""},
		{"a v4 token in v5's cookie", nil, []string{"Cookie", v5Cookie + "=" + v4one}, ""},
		{"a v5 token in v4's cookie", nil, []string{"Cookie", v4Cookie + "=" + one(v5Cookie)}, ""},
		{"plain v4 beside a secure site", https, []string{"Cookie", v4Cookie + "=" + v4one}, ""},
		{"plain v5 beside a secure site", https, []string{"Cookie", v5Cookie + "=" + one(v5Cookie)}, ""},
		{"secure v4 beside a secure site", https, []string{"Cookie", "__Secure-" + v4Cookie + "=" + v4one}, "1"},
		{"plain v5 beside a site under test", mixed, []string{"Cookie", v5Cookie + "=" + one(v5Cookie)}, "1"},

		{"renamed", renamed, []string{"Cookie", "session=" + one("session")}, "1"},
		{"renamed v4", renamed, []string{"Cookie", "session=" + v4one}, "1"},
		{"renamed, chunks", renamed, []string{"Cookie", chunked("session", seal(t, secret, "session", long))}, "1"},
		{"renamed, and the old name comes", renamed, []string{"Cookie", v5Cookie + "=" + one(v5Cookie)}, ""},

		{"Bearer", nil, []string{"Authorization", "Bearer " + one(v5Cookie)}, "1"},
		{"Bearer, secure salt", https, []string{"Authorization", "bearer  " + one(secureCookie)}, "1"},
		{"Bearer, v4", https, []string{"Authorization", "Bearer " + v4one}, "1"},
		{"Bearer, percent-encoded", nil, []string{"Authorization", "Bearer " + strings.ReplaceAll(one(v5Cookie), ".", "%2e")}, "1"},
		{"Bearer, renamed", renamed, []string{"Authorization", "Bearer " + one("session")}, "1"},
		{"Basic", nil, []string{"Authorization", "Basic " + one(v5Cookie)}, ""},
		{"no scheme", nil, []string{"Authorization", one(v5Cookie)}, ""},
		{"a bad cookie and a Bearer", nil, []string{"Cookie", v5Cookie + "=x", "Authorization", "Bearer " + one(v5Cookie)}, ""},
		{"a huge header", nil, []string{"Cookie", strings.Repeat(v5Cookie+".1=x; ", 1<<16) + v5Cookie + "=" + one(v5Cookie)}, ""},
	}
	for _, tt := range tests {
		s, err := newReader(t, tt.change).Session(get(tt.headers...))
		if tt.user != "" && (err != nil || s.User.ID != tt.user) || tt.user == "" && (!errors.Is(err, authjs.ErrNoSession) || s != nil) {
			t.Errorf("%s: Session = %+v, %v, want %q", tt.name, s, err, tt.user)
		}
	}
	r := get("Cookie", v4Cookie+"="+v4one)
	r.TLS = &tls.ConnectionState{}
	if s, err := newReader(t, nil).Session(r); !errors.Is(err, authjs.ErrNoSession) {
		t.Errorf("a plain cookie over TLS: %+v, %v", s, err)
	}
}

// What is wrong is said to the operator.
func TestReasons(t *testing.T) {
	rd := newReader(t, nil)
	for _, tt := range []struct{ header, value, want string }{
		{"Accept", "*/*", "no session cookie"},
		{"Cookie", v5Cookie + "=7abb9a78-ff43-440f-85ab-42e1e490d784", `session.strategy "jwt"`},
		{"Cookie", v5Cookie + "=" + vectorCBC, "no secret opens"},
		{"Cookie", v5Cookie + "=" + seal(t, secret, v5Cookie, `{"exp":1}`), "expired"},
		{"Authorization", "Bearer " + vectorV4, "no secret opens"},
		{"Authorization", "Bearer %", "malformed"},
	} {
		if _, err := rd.Session(get(tt.header, tt.value)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %.60s: %v, want %q", tt.header, tt.value, err, tt.want)
		}
	}
}

// serve calls an API behind the Reader that answers who is signed in.
func serve(t testing.TB, rd *authjs.Reader, r *http.Request) *http.Response {
	t.Helper()
	api := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, err := rd.Session(r)
		again, _ := rd.Session(r)
		if err != nil || s != again {
			t.Errorf("Session behind Require = %+v, %v, and again %+v", s, err, again)
			return
		}
		io.WriteString(w, "user "+s.User.ID)
	})
	w := httptest.NewRecorder()
	rd.CORS(rd.Require(api)).ServeHTTP(w, r)
	if got := w.Header()["Set-Cookie"]; got != nil {
		t.Errorf("Set-Cookie: %q", got)
	}
	return w.Result()
}

func body(t testing.TB, res *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestRequire(t *testing.T) {
	rd := newReader(t, func(c *authjs.Config) { c.Origins = []string{"https://app.example.com"} })
	token := seal(t, secret, secureCookie, `{"sub":"1"}`)
	crossed := []string{"Cookie", secureCookie + "=" + token}
	with := func(headers ...string) []string { return append(crossed[:2:2], headers...) }
	for _, tt := range []struct {
		name, method string
		headers      []string
		status       int
		body         string
	}{
		{"cookie", "GET", crossed, 200, "user 1"},
		{"Bearer", "GET", []string{"Authorization", "Bearer " + token}, 200, "user 1"},
		{"nobody", "GET", nil, 401, `{"error":"sign in first"}`},
		{"nobody's page", "GET", []string{"Accept", "text/html"}, 401, `{"error":"sign in first"}`},
		{"bad token", "GET", []string{"Authorization", "Bearer x"}, 401, `{"error":"sign in first"}`},
		{"OPTIONS", "OPTIONS", nil, 401, `{"error":"sign in first"}`},

		{"own page posts", "POST", with("Sec-Fetch-Site", "same-origin"), 200, "user 1"},
		{"a program posts", "POST", crossed, 200, "user 1"},
		{"listed page posts", "POST", with("Sec-Fetch-Site", "same-site", "Origin", "https://app.example.com"), 200, "user 1"},
		{"another page posts", "POST", with("Sec-Fetch-Site", "same-site", "Origin", "https://blog.example.com"), 403, `{"error":"this site may not do that"}`},
		{"a sandboxed page posts", "POST", with("Sec-Fetch-Site", "cross-site", "Origin", "null"), 403, `{"error":"this site may not do that"}`},
		{"another page of an old browser deletes", "DELETE", with("Origin", "https://blog.example.com"), 403, `{"error":"this site may not do that"}`},
		{"own page opens a WebSocket", "GET", with("Upgrade", "websocket", "Origin", "https://api.example.com"), 200, "user 1"},
		{"listed page opens a WebSocket", "GET", with("Upgrade", "websocket", "Origin", "https://app.example.com"), 200, "user 1"},
		{"another page opens a WebSocket", "GET", with("Upgrade", "websocket", "Origin", "https://blog.example.com"), 403, `{"error":"this site may not do that"}`},
		{"another page reads", "GET", with("Sec-Fetch-Site", "cross-site", "Origin", "https://blog.example.com"), 200, "user 1"},
		{"another page posts with a Bearer", "POST", []string{"Authorization", "Bearer " + token, "Origin", "https://blog.example.com"}, 200, "user 1"},
	} {
		r := get(tt.headers...)
		r.Method = tt.method
		res := serve(t, rd, r)
		if got := body(t, res); res.StatusCode != tt.status || got != tt.body {
			t.Errorf("%s: %d %s, want %d %s", tt.name, res.StatusCode, got, tt.status, tt.body)
		}
		if res.StatusCode == 401 && (res.Header.Get("WWW-Authenticate") != "Bearer" || res.Header.Get("Content-Type") != "application/json" || res.Header.Get("Cache-Control") != "no-store") {
			t.Errorf("%s: %v", tt.name, res.Header)
		}
	}
}

func TestReadersDoNotMix(t *testing.T) {
	first, second := newReader(t, nil), newReader(t, func(c *authjs.Config) { c.Secrets = []authjs.Secret{"other"} })
	first.Require(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if s, err := second.Session(r); !errors.Is(err, authjs.ErrNoSession) {
			t.Errorf("the second reader has the session of the first: %+v, %v", s, err)
		}
	})).ServeHTTP(httptest.NewRecorder(), get("Authorization", "Bearer "+seal(t, secret, v5Cookie, `{"sub":"1"}`)))
}

func TestCORS(t *testing.T) {
	rd := newReader(t, func(c *authjs.Config) { c.Origins = []string{"https://app.example.com", "http://localhost:3000"} })
	const vary = "Origin,Access-Control-Request-Method,Access-Control-Request-Headers"
	allowed := map[string]string{"Access-Control-Allow-Origin": "https://app.example.com", "Access-Control-Allow-Credentials": "true"}
	preflight := map[string]string{"Access-Control-Allow-Origin": "https://app.example.com", "Access-Control-Allow-Credentials": "true",
		"Access-Control-Allow-Methods": "GET, HEAD, POST, PUT, PATCH, DELETE", "Access-Control-Max-Age": "600"}
	named := map[string]string{"Access-Control-Allow-Headers": "authorization, content-type"}
	for k, v := range preflight {
		named[k] = v
	}
	const origin, method, names = "Origin", "Access-Control-Request-Method", "Access-Control-Request-Headers"
	for _, tt := range []struct {
		name, method string
		headers      []string
		status       int
		vary         string
		want         map[string]string // of CORS, all of them
	}{
		{"no origin", "GET", nil, 401, "Origin", nil},
		{"allowed", "GET", []string{origin, "https://app.example.com"}, 401, "Origin", allowed},
		{"another", "GET", []string{origin, "https://evil.example"}, 401, "Origin", nil},
		{"null", "GET", []string{origin, "null"}, 401, "Origin", nil},
		{"empty", "GET", []string{origin, ""}, 401, "Origin", nil},
		{"other case", "GET", []string{origin, "https://APP.example.com"}, 401, "Origin", nil},
		{"other scheme", "GET", []string{origin, "http://app.example.com"}, 401, "Origin", nil},
		{"other port", "GET", []string{origin, "https://app.example.com:8443"}, 401, "Origin", nil},
		{"longer", "GET", []string{origin, "https://app.example.com.evil.example"}, 401, "Origin", nil},
		{"shorter", "GET", []string{origin, "https://app.example.co"}, 401, "Origin", nil},
		{"two in one", "GET", []string{origin, "https://app.example.com https://evil.example"}, 401, "Origin", nil},
		{"two", "GET", []string{origin, "https://app.example.com", origin, "https://app.example.com"}, 401, "Origin", nil},
		{"preflight", "OPTIONS", []string{origin, "https://app.example.com", method, "DELETE"}, 204, vary, preflight},
		{"preflight with headers", "OPTIONS", []string{origin, "https://app.example.com", method, "POST", names, "authorization, content-type"}, 204, vary, named},
		{"preflight of another", "OPTIONS", []string{origin, "https://evil.example", method, "GET"}, 403, vary, nil},
		{"preflight of null", "OPTIONS", []string{origin, "null", method, "GET"}, 403, vary, nil},
		{"preflight for a strange method", "OPTIONS", []string{origin, "https://app.example.com", method, "CONNECT"}, 403, vary, allowed},
		{"preflight for *", "OPTIONS", []string{origin, "https://app.example.com", method, "GET", names, "*"}, 403, vary, allowed},
		{"preflight with a line end", "OPTIONS", []string{origin, "https://app.example.com", method, "GET", names, "x\r\nSet-Cookie: a=b"}, 403, vary, allowed},
		{"preflight with many headers", "OPTIONS", []string{origin, "https://app.example.com", method, "GET", names, strings.Repeat("a", 1025)}, 403, vary, allowed},
		{"OPTIONS that is none", "OPTIONS", []string{origin, "https://app.example.com"}, 401, "Origin", allowed},
		{"preflight without origin", "OPTIONS", []string{method, "GET"}, 401, "Origin", nil},
	} {
		r := get(tt.headers...)
		r.Method = tt.method
		res := serve(t, rd, r)
		var got map[string]string
		for k, v := range res.Header {
			if strings.HasPrefix(k, "Access-Control-") {
				if got == nil {
					got = map[string]string{}
				}
				got[k] = strings.Join(v, "|")
			}
		}
		if d := cmp.Diff(tt.want, got); res.StatusCode != tt.status || d != "" {
			t.Errorf("%s: %d, want %d; headers (-want +got):\n%s", tt.name, res.StatusCode, tt.status, d)
		}
		if got := strings.Join(res.Header["Vary"], ","); got != tt.vary {
			t.Errorf("%s: Vary: %q, want %q", tt.name, got, tt.vary)
		}
	}
	// What the handlers around say of Vary stays.
	w := httptest.NewRecorder()
	w.Header().Set("Vary", "Accept-Encoding")
	rd.CORS(http.NotFoundHandler()).ServeHTTP(w, get())
	if got := strings.Join(w.Header()["Vary"], ","); got != "Accept-Encoding,Origin" {
		t.Errorf("Vary: %q", got)
	}
}

func TestNoOrigins(t *testing.T) {
	r := get("Origin", "https://app.example.com", "Access-Control-Request-Method", "GET")
	r.Method = "OPTIONS"
	if res := serve(t, newReader(t, nil), r); res.StatusCode != 403 || res.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("without Origins a preflight gets %d, %v", res.StatusCode, res.Header)
	}
}

// FuzzRequest: whatever a request brings, its answer names no origin but those
// of the configuration and has no header that the request wrote.
func FuzzRequest(f *testing.F) {
	rd := newReader(f, func(c *authjs.Config) {
		c.Secrets, c.Origins = []authjs.Secret{"secret"}, []string{"https://app.example.com", "http://localhost:3000"}
	})
	// The same in each process that fuzzes.
	const token = vectorCBC
	for _, s := range [][5]string{
		{"GET", v5Cookie + "=" + token, "", "https://app.example.com", ""},
		{"OPTIONS", "", "", "https://app.example.com", "authorization"},
		{"OPTIONS", "", "", "null", "x\r\ny: z"},
		{"POST", v5Cookie + ".0=a; " + v5Cookie + ".1=b", "Bearer " + token, "https://evil.example", "*"},
		{"GET", "", "Bearer %", "", ""},
	} {
		f.Add(s[0], s[1], s[2], s[3], s[4])
	}
	f.Fuzz(func(t *testing.T, method, cookies, authorization, origin, names string) {
		r := get("Cookie", cookies, "Authorization", authorization, "Origin", origin, "Access-Control-Request-Method", "GET",
			"Access-Control-Request-Headers", names)
		r.Method = method
		res := serve(t, rd, r)
		switch got := body(t, res); {
		case res.StatusCode == 200 && got == "user 42":
			if !strings.Contains(cookies, token[:200]) && !strings.Contains(authorization, token[:200]) && !strings.Contains(authorization+cookies, "%") {
				t.Fatalf("%q, %q: somebody is signed in", cookies, authorization)
			}
		case res.StatusCode == 200:
			t.Fatalf("200 %q", got)
		}
		for name, values := range res.Header {
			for _, v := range values {
				if strings.ContainsAny(v, "\r\n\x00*") {
					t.Fatalf("%s: %q", name, v)
				}
			}
		}
		if got := res.Header.Get("Access-Control-Allow-Origin"); got != "" && (got != "https://app.example.com" && got != "http://localhost:3000" || origin != got) {
			t.Fatalf("Access-Control-Allow-Origin: %q for %q", got, origin)
		}
	})
}

func BenchmarkSession(b *testing.B) {
	rd := newReader(b, nil)
	for name, r := range map[string]*http.Request{
		"v5":      get("Cookie", "theme=dark; "+secureCookie+"="+seal(b, secret, secureCookie, payload)),
		"v4":      get("Cookie", "theme=dark; __Secure-"+v4Cookie+"="+sealV4(b, secret, payload)),
		"Bearer":  get("Authorization", "Bearer "+seal(b, secret, v5Cookie, payload)),
		"chunked": get("Cookie", chunked(v5Cookie, seal(b, secret, v5Cookie, strings.Replace(payload, "admin", strings.Repeat("x", 9000), 1)))),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := rd.Session(r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("none", func(b *testing.B) {
		r := get("Cookie", "theme=dark")
		b.ReportAllocs()
		for b.Loop() {
			if _, err := rd.Session(r); err == nil {
				b.Fatal("somebody is signed in")
			}
		}
	})
	b.Run("hostile", func(b *testing.B) {
		r := get("Cookie", strings.Repeat(v5Cookie+".1=%41; ", 3000), "Authorization", "Bearer "+strings.Repeat("a", 60000))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := rd.Session(r); err == nil {
				b.Fatal("somebody is signed in")
			}
		}
	})
}
