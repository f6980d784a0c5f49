package csrf_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/gatebook/gatebook/internal/csrf"
)

type vector struct{ Secret, Token, Hash string }

func readVectors(tb testing.TB) []vector {
	tb.Helper()
	b, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		tb.Fatal(err)
	}
	var file struct{ Vectors []vector }
	if err := json.Unmarshal(b, &file); err != nil {
		tb.Fatal(err)
	}
	if len(file.Vectors) == 0 {
		tb.Fatal("testdata/vectors.json holds no vectors")
	}
	return file.Vectors
}

func TestVectors(t *testing.T) {
	for _, v := range readVectors(t) {
		s := csrf.New(v.Secret)
		if got := s.HashToken(v.Token); got != v.Hash {
			t.Errorf("New(%q).HashToken(%q) = %s, want %s", v.Secret, v.Token, got, v.Hash)
		}
		if got, ok := s.Verify(v.Token + "|" + v.Hash); got != v.Token || !ok {
			t.Errorf("New(%q).Verify = %q, %t, want %q", v.Secret, got, ok, v.Token)
		}
	}
}

func TestToken(t *testing.T) {
	s := csrf.New("secret")
	token, value := s.Token()
	if len(token) != 64 || strings.Trim(token, "0123456789abcdef") != "" {
		t.Errorf("Token = %q, want 64 lower-case hex digits", token)
	}
	if want := token + "|" + s.HashToken(token); value != want {
		t.Errorf("Token cookie = %q, want %q", value, want)
	}
	if got, ok := s.Verify(value); got != token || !ok {
		t.Errorf("Verify(%q) = %q, %t", value, got, ok)
	}
	if again, _ := s.Token(); again == token {
		t.Error("Token returned the same token twice")
	}
	if got, ok := csrf.New("other").Verify(value); got != "" || ok {
		t.Errorf("Verify with another secret = %q, %t", got, ok)
	}
}

func TestVerify(t *testing.T) {
	s := csrf.New("secret")
	token, value := s.Token()
	hash := value[65:]
	// Signed with the secret, but not of the form of a CSRF token.
	signed := func(token string) string { return token + "|" + s.HashToken(token) }
	tests := []struct {
		name, value string
		ok          bool
	}{
		{"as made", value, true},
		{"third part", value + "|more", true},
		{"empty", "", false},
		{"token only", token, false},
		{"no hash", token + "|", false},
		{"no token", "|" + hash, false},
		{"bar only", "|", false},
		{"hash first", hash + "|" + token, false},
		{"short hash", token + "|" + hash[:63], false},
		{"long hash", value + "0", false},
		{"hash in capitals", token + "|" + strings.ToUpper(hash), strings.ToUpper(hash) == hash},
		{"still encoded", token + "%7C" + hash, false},
		{"signed and empty", signed(""), false},
		{"signed and short", signed(token[:63]), false},
		{"signed and long", signed(token + "0"), false},
		{"signed in capitals", signed(strings.Repeat("A", 64)), false},
		{"signed mail token", signed("0b6e1f0c-5b3d-4a52-9f0e-6a6a4a1e9f10"), false},
		{"secret moved into the token", signed(token[:58]) + "secret", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := s.Verify(tt.value)
			if ok != tt.ok || ok && got != token || !ok && got != "" {
				t.Errorf("Verify(%q) = %q, %t, want %t", tt.value, got, ok, tt.ok)
			}
		})
	}
}

func TestEqual(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want bool
	}{{"", "", true}, {"a", "a", true}, {"a", "b", false}, {"a", "", false}, {"a", "aa", false}, {"é", "é", true}} {
		if got := csrf.Equal(tt.a, tt.b); got != tt.want {
			t.Errorf("Equal(%q, %q) = %t, want %t", tt.a, tt.b, got, tt.want)
		}
	}
}

func TestPrintingHidesTheSecret(t *testing.T) {
	s := csrf.New("hunter2")
	holder := struct{ signer *csrf.Signer }{s}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "signer", s, "holder", holder)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "signer", s, "holder", holder)
	out := log.String() + fmt.Sprintf("%v %+v %#v %s %q %x %d %v %+v %#v", s, s, s, s, s, s, s, holder, holder, holder)
	if strings.Contains(out, "hunter2") || strings.Contains(out, fmt.Sprintf("%x", "hunter2")) {
		t.Errorf("the secret is printed: %s", out)
	}
}

func TestAllocations(t *testing.T) {
	s := csrf.New(strings.Repeat("s", 44))
	_, value := s.Token()
	if n := testing.AllocsPerRun(1000, func() {
		if _, ok := s.Verify(value); !ok {
			t.Fatal("refused")
		}
	}); n > 0 {
		t.Errorf("Verify allocates %v times, want none", n)
	}
}

// What is accepted is what the hash says, and nothing else is.
func FuzzVerify(f *testing.F) {
	for _, v := range readVectors(f) {
		f.Add(v.Secret, v.Token+"|"+v.Hash)
		f.Add(v.Secret, v.Token+"|"+v.Hash+"|")
		f.Add(v.Secret, v.Token)
	}
	f.Add("", "|")
	f.Fuzz(func(t *testing.T, secret, value string) {
		s := csrf.New(secret)
		token, ok := s.Verify(value)
		if !ok {
			if token != "" {
				t.Fatalf("Verify(%q) = %q, false", value, token)
			}
		} else if rest, found := strings.CutPrefix(value, token+"|"+s.HashToken(token)); !found || len(token) != 64 || rest != "" && rest[0] != '|' {
			t.Fatalf("Verify(%q) accepts %q", value, token)
		}
		fresh, cookie := s.Token()
		if got, ok := s.Verify(cookie); got != fresh || !ok {
			t.Fatalf("Verify(%q) = %q, %t, want it accepted", cookie, got, ok)
		}
		if got, ok := csrf.New(secret + "x").Verify(cookie); ok {
			t.Fatalf("Verify with another secret accepts %q", got)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	s := csrf.New(strings.Repeat("s", 44))
	_, value := s.Token()
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := s.Verify(value); !ok {
			b.Fatal("refused")
		}
	}
}

func ExampleSigner() {
	s := csrf.New("a long random secret")
	token, cookie := s.Token()

	// In the next request: the cookie, and the token from the body of the form.
	fromCookie, ok := s.Verify(cookie)
	fmt.Println(ok && csrf.Equal(fromCookie, token))
	_, ok = s.Verify(token + "|forged")
	fmt.Println(ok)
	// Output:
	// true
	// false
}
