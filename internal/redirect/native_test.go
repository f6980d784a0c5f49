package redirect_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/gatebook/gatebook/internal/redirect"
)

func TestCheckNative(t *testing.T) {
	for raw, good := range map[string]bool{
		"com.example.app:/callback":                    true,
		"com.example.app://callback":                   true,
		"https://app.example.com/cb?x=1":               true,
		"http://127.0.0.1/callback":                    true,
		"http://[::1]/callback":                        true,
		"http://127.0.0.1:8080/callback":               false,
		"http://localhost/callback":                    false,
		"http://app.example.com/callback":              false,
		"myapp:/callback":                              false,
		"javascript:alert(1)":                          false,
		"data:text/html,x":                             false,
		"com.example.app:/callback#fragment":           false,
		"com.example.app:/call back":                   false,
		"com.example.app:/callback\r\nX: y":            false,
		"com.example.app:/\u00e4":                      false,
		"https://user@app.example.com/":                false,
		`https://app.example.com\@evil.test`:           false,
		"/callback":                                    false,
		"":                                             false,
		"com.example.app:/" + strings.Repeat("x", 512): false,
	} {
		if err := redirect.CheckNative(raw); (err == nil) != good || err != nil && !errors.Is(err, redirect.ErrURL) {
			t.Errorf("CheckNative(%q) = %v, want good: %v", raw, err, good)
		}
	}
}

var natives = []string{"com.example.app:/callback", "https://app.example.com/cb", "http://127.0.0.1/callback", "http://[::1]/cb?a=1"}

func TestNative(t *testing.T) {
	for raw, want := range map[string]bool{
		"com.example.app:/callback":              true,
		"com.example.app:/callback/":             false,
		"com.example.app:/callback?x":            false,
		"COM.example.app:/callback":              false,
		"https://app.example.com/cb":             true,
		"https://app.example.com:8443/cb":        false,
		"http://127.0.0.1/callback":              true,
		"http://127.0.0.1:49152/callback":        true,
		"http://127.0.0.1:1/callback":            true,
		"http://127.0.0.1:65536/callback":        false,
		"http://127.0.0.1:0/callback":            false,
		"http://127.0.0.1:/callback":             false,
		"http://127.0.0.1:80@evil.test/callback": false,
		"http://127.0.0.1:80.evil.test/callback": false,
		"http://127.0.0.1:49152/other":           false,
		"http://127.0.0.1:49152/callback?x=1":    false,
		"http://127.0.0.2:49152/callback":        false,
		"http://[::1]:49152/cb?a=1":              true,
		"http://[::1]:49152/cb?a=2":              false,
		"http://evil.test:49152/callback":        false,
		"":                                       false,
		"http://":                                false,
	} {
		if got := redirect.Native(raw, natives); got != want {
			t.Errorf("Native(%q) = %v, want %v", raw, got, want)
		}
	}
}

func TestNativeName(t *testing.T) {
	for raw, want := range map[string]string{
		"com.example.app:/callback": "com.example.app", "com.example.app://x/y": "com.example.app",
		"https://app.example.com/cb?x": "app.example.com", "https://app.example.com?x": "app.example.com",
		"http://127.0.0.1:49152/cb": "", "http://[::1]/cb": "",
	} {
		if got := redirect.NativeName(raw); got != want {
			t.Errorf("NativeName(%q) = %q, want %q", raw, got, want)
		}
	}
}

// FuzzNative wants what is accepted to lead nowhere that was not allowed: with the
// port of a loopback address cut out it is the very text of one of the list.
func FuzzNative(f *testing.F) {
	for _, s := range natives {
		f.Add(s)
	}
	f.Add("http://127.0.0.1:49152/callback")
	f.Add("http://[::1]:49152/cb?a=1")
	f.Fuzz(func(t *testing.T, raw string) {
		if !redirect.Native(raw, natives) {
			return
		}
		if !strings.HasPrefix(raw, "http://") {
			for _, n := range natives {
				if raw == n {
					return
				}
			}
			t.Errorf("Native(%q) = true", raw)
		}
		if !strings.HasPrefix(raw, "http://127.0.0.1") && !strings.HasPrefix(raw, "http://[::1]") {
			t.Errorf("Native(%q) = true, which is no loopback address", raw)
		}
	})
}
