package jwe_test

import (
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"strings"
	"testing"

	"github.com/gatebook/gatebook/internal/jwe"
)

// v4Token was made by next-auth 4.24.15 for the secret "secret", and v4Other with
// the salt "next-auth.state", as it seals other cookies.
const (
	v4Token   = "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0..80kEIIderkurdkio.vIGzewsDgsYYtkTBkt6kEyq9dDOnOyYj7NUu5O4KlPSZW8BRRNtGcWXYsFbatOIOaM-TLUI7f1koxy_1KUPYZAmk0ovnhOPax3VebnasTqboeRbPcLBo9fBqYUzUrd3l3jnrkVIIaED7EAFJLmRy5_bkNxBR5pRhBQGM9nYEXh9NtMq3YyBjTnQev-7I7X3x3z-buueiobo5j6kL2QhE7z2vsA1c.FZoO_IS2rW2-DoNbPs1q0Q"
	v4Payload = `{"name":"Ada","email":"ada@example.com","picture":"https://img.test/a.png","sub":"42","iat":1795528916,"exp":4102444800,"jti":"7abb9a78-ff43-440f-85ab-42e1e490d784"}`
	v4Other   = "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0..2PF8Ekk5lLqSavQx.qb7SZJwCZp0w6LA3sHlcqzX8X8IBRPBwuNtaaijZ959rf1zW1vGTo_-bQNY1sOLd4HqjUWUToJGgJ92mjq-_hZabfJ-PCxxpj8XZHXU8n841VQAGFioPVnFR7I2uXMxoIdp_Oen5nUbmfDkSkdrdcXpogDyYXgaQb4xuNr38qK38Qg.ouqmfgXyDUHblykb8Ib5Tw"
)

func newV4(tb testing.TB, secrets ...string) *jwe.V4 {
	tb.Helper()
	v, err := jwe.NewV4(secrets)
	if err != nil {
		tb.Fatal(err)
	}
	return v
}

func TestV4(t *testing.T) {
	for _, secrets := range [][]string{{"secret"}, {"new", "secret"}, {"secret", "old"}} {
		got, err := newV4(t, secrets...).Open([]byte("before "), v4Token)
		if err != nil || string(got) != "before "+v4Payload {
			t.Errorf("Open with %q = %q, %v", secrets, got, err)
		}
	}
	p := strings.Split(v4Token, ".")
	gcm := readVectors(t).Tokens[1]
	if gcm.Name != "A256GCM without kid" {
		t.Fatalf("the second vector is %s", gcm.Name)
	}
	cbc := string(newCodec(t, "secret").Seal(nil, []byte("{}")))
	for name, bad := range map[string]string{
		"another salt":         v4Other,
		"of v5":                cbc,
		"of v5, GCM":           gcm.Token,
		"empty":                "",
		"dots":                 "....",
		"encrypted key":        strings.Replace(v4Token, "..", ".AAAA.", 1),
		"no tag":               strings.Join([]string{p[0], "", p[2], p[3], ""}, "."),
		"no text":              strings.Join([]string{p[0], "", p[2], "", p[4]}, "."),
		"cut short":            v4Token[:len(v4Token)-1],
		"longer":               v4Token + "A",
		"line end after":       v4Token + "\n",
		"line end in the text": strings.Join([]string{p[0], "", p[2], p[3][:4] + "\n" + p[3][4:], p[4]}, "."),
		"too long":             p[0] + ".." + p[2] + "." + strings.Repeat("A", jwe.MaxToken) + "." + p[4],
		"valid but too long":   sealGCM(t, v4Key(t), `{"alg":"dir","enc":"A256GCM"}`, make([]byte, jwe.MaxToken*3/4)),
		"flipped":              v4Token[:60] + string(v4Token[60]^1) + v4Token[61:],
	} {
		if got, err := newV4(t, "secret").Open(nil, bad); !errors.Is(err, jwe.ErrInvalid) || got != nil {
			t.Errorf("Open, %s: %q, %v, want ErrInvalid", name, got, err)
		}
	}
	if got, err := newV4(t, "other").Open(nil, v4Token); !errors.Is(err, jwe.ErrInvalid) || got != nil {
		t.Errorf("Open with another secret = %q, %v, want ErrInvalid", got, err)
	}
}

func v4Key(t *testing.T) []byte {
	t.Helper()
	key, err := hkdf.Key(sha256.New, []byte("secret"), nil, "NextAuth.js Generated Encryption Key", 32)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// With the right key and a right tag, only the reading of the header can refuse.
func TestV4Headers(t *testing.T) {
	key := v4Key(t)
	for header, ok := range map[string]bool{
		`{"alg":"dir","enc":"A256GCM"}`:             true,
		`{"enc":"A256GCM","alg":"dir","typ":"JWT"}`: true,
		`{"alg":"dir","enc":"A256GCM","kid":"x"}`:   false,
		`{"alg":"none","enc":"A256GCM"}`:            false,
		`{"alg":"dir","enc":"A128GCM"}`:             false,
		`{"alg":"dir","enc":"A256GCM","zip":"DEF"}`: false,
		`{"alg":"dir","enc":"A256GCM","crit":[]}`:   false,
	} {
		got, err := newV4(t, "secret").Open(nil, sealGCM(t, key, header, []byte("payload")))
		if ok != (err == nil) || ok != (string(got) == "payload") {
			t.Errorf("Open under %s = %q, %v, want it to open: %t", header, got, err, ok)
		}
	}
}

func TestNewV4Errors(t *testing.T) {
	for _, secrets := range [][]string{nil, {""}, {"hunter2", ""}} {
		v, err := jwe.NewV4(secrets)
		if err == nil || v != nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("NewV4(%q) = %v, %v, want an error that tells none", secrets, v, err)
		}
	}
}
