package jwe_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/gatebook/gatebook/internal/jwe"
)

const salt = "authjs.session-token"

type vectors struct {
	Secret string
	Keys   []struct{ Salt, Key, KID string }
	Tokens []struct{ Name, Salt, Token, Payload string }
}

func readVectors(tb testing.TB) vectors {
	tb.Helper()
	b, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		tb.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(b, &v); err != nil {
		tb.Fatal(err)
	}
	if len(v.Keys) == 0 || len(v.Tokens) == 0 {
		tb.Fatal("testdata/vectors.json holds no vectors")
	}
	return v
}

func newCodec(tb testing.TB, secrets ...string) *jwe.Codec {
	tb.Helper()
	c, err := jwe.New(secrets, salt)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

func TestSealHeader(t *testing.T) {
	v := readVectors(t)
	for _, k := range v.Keys {
		t.Run(k.Salt, func(t *testing.T) {
			c, err := jwe.New([]string{v.Secret}, k.Salt)
			if err != nil {
				t.Fatal(err)
			}
			got := strings.SplitN(string(c.Seal(nil, []byte("{}"))), ".", 2)[0]
			want := base64.RawURLEncoding.EncodeToString(
				[]byte(`{"alg":"dir","enc":"A256CBC-HS512","kid":"` + k.KID + `"}`))
			if got != want {
				t.Errorf("Seal header = %s, want %s", got, want)
			}
		})
	}
}

// The kid proves the key only as far as this test's own reading of it goes; a
// token sealed here by hand with the key of the vector proves it whole.
func TestOpenWithVectorKeys(t *testing.T) {
	v := readVectors(t)
	for _, k := range v.Keys {
		t.Run(k.Salt, func(t *testing.T) {
			key, err := hex.DecodeString(k.Key)
			if err != nil {
				t.Fatal(err)
			}
			c, err := jwe.New([]string{v.Secret}, k.Salt)
			if err != nil {
				t.Fatal(err)
			}
			token := sealCBC(t, key, `{"alg":"dir","enc":"A256CBC-HS512","kid":"`+k.KID+`"}`, pad([]byte("payload")))
			got, err := c.Open(nil, token)
			if err != nil || string(got) != "payload" {
				t.Errorf("Open = %q, %v, want payload", got, err)
			}
		})
	}
}

func TestOpenVectors(t *testing.T) {
	v := readVectors(t)
	for _, tt := range v.Tokens {
		t.Run(tt.Name, func(t *testing.T) {
			c, err := jwe.New([]string{"newer secret", v.Secret}, tt.Salt)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(tt.Name, "without kid") {
				// Only the first secret may open it.
				if got, err := c.Open(nil, tt.Token); !errors.Is(err, jwe.ErrInvalid) || got != nil {
					t.Errorf("Open with the secret in second place = %q, %v, want ErrInvalid", got, err)
				}
				if c, err = jwe.New([]string{v.Secret, "older secret"}, tt.Salt); err != nil {
					t.Fatal(err)
				}
			}
			got, err := c.Open([]byte("before "), tt.Token)
			if err != nil || string(got) != "before "+tt.Payload {
				t.Errorf("Open = %q, %v, want %q", got, err, "before "+tt.Payload)
			}
		})
	}
}

func TestRoundTrip(t *testing.T) {
	c := newCodec(t, "secret")
	var buf []byte
	for n := range 200 {
		payload := bytes.Repeat([]byte{'x'}, n)
		buf = c.Seal(append(buf[:0], "head "...), payload)
		token, ok := strings.CutPrefix(string(buf), "head ")
		if !ok {
			t.Fatalf("Seal overwrote dst: %q", buf)
		}
		got, err := c.Open(nil, token)
		if err != nil || !bytes.Equal(got, payload) {
			t.Fatalf("Open(Seal(%d bytes)) = %d bytes, %v", n, len(got), err)
		}
	}
}

func TestSealTwiceDiffers(t *testing.T) {
	c := newCodec(t, "secret")
	a, b := c.Seal(nil, []byte("{}")), c.Seal(nil, []byte("{}"))
	if bytes.Equal(a, b) {
		t.Error("two tokens of one payload are equal, want a fresh initialization vector each")
	}
}

func TestRotation(t *testing.T) {
	old, both, fresh := newCodec(t, "old"), newCodec(t, "new", "old"), newCodec(t, "new")
	token := string(old.Seal(nil, []byte("{}")))
	if got, err := both.Open(nil, token); err != nil || string(got) != "{}" {
		t.Errorf("Open with both secrets = %q, %v", got, err)
	}
	if got, err := fresh.Open(nil, token); !errors.Is(err, jwe.ErrUnknownKey) || got != nil {
		t.Errorf("Open with the new secret only = %q, %v, want ErrUnknownKey", got, err)
	}
	if got, err := fresh.Open(nil, string(both.Seal(nil, []byte("{}")))); err != nil || string(got) != "{}" {
		t.Errorf("Open of a token sealed with the first of two = %q, %v", got, err)
	}
	other, err := jwe.New([]string{"old"}, "__Secure-"+salt)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Open(nil, token); !errors.Is(err, jwe.ErrUnknownKey) {
		t.Errorf("Open under another salt = %v, want ErrUnknownKey", err)
	}
}

func TestSealed(t *testing.T) {
	first, both, other := newCodec(t, "one"), newCodec(t, "two", "one"), newCodec(t, "three")
	token := string(first.Seal(nil, []byte("{}")))
	for _, tt := range []struct {
		name  string
		codec *jwe.Codec
		token string
		want  bool
	}{
		{"its own", first, token, true}, {"of an older secret", both, token, true}, {"another's", other, token, false},
		{"of a newer secret", first, string(both.Seal(nil, nil)), false}, {"cut", first, token[:100], false}, {"empty", first, "", false},
	} {
		if got := tt.codec.Sealed(tt.token); got != tt.want {
			t.Errorf("Sealed of a token that is %s = %t, want %t", tt.name, got, tt.want)
		}
	}
}

func TestNewErrors(t *testing.T) {
	for _, secrets := range [][]string{nil, {}, {""}, {"hunter2", ""}} {
		c, err := jwe.New(secrets, salt)
		if err == nil || c != nil {
			t.Errorf("New(%q) = %v, %v, want an error", secrets, c, err)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("New(%q) error tells a secret: %v", secrets, err)
		}
	}
}

// Every header here is sealed with the right key and a right tag, so that only
// the reading of the header can refuse it.
func TestHeaders(t *testing.T) {
	key := derive(t, "secret", salt)
	sum := sha512.Sum512([]byte(`{"k":"` + b64(key) + `","kty":"oct"}`))
	kid := b64(sum[:])
	sum256 := sha256.Sum256([]byte(`{"k":"` + b64(key[:32]) + `","kty":"oct"}`))
	tests := []struct {
		name, header string
		want         error
	}{
		{"as sealed", `{"alg":"dir","enc":"A256CBC-HS512","kid":"` + kid + `"}`, nil},
		{"other order", `{"kid":"` + kid + `", "enc":"A256CBC-HS512", "alg":"dir"}`, nil},
		{"no kid", `{"alg":"dir","enc":"A256CBC-HS512"}`, nil},
		{"unknown member", `{"alg":"dir","enc":"A256CBC-HS512","typ":"JWT","x":[1,{}]}`, nil},
		{"escaped value", `{"alg":"\u0064ir","enc":"A256CBC-HS512"}`, nil},
		{"foreign kid", `{"alg":"dir","enc":"A256CBC-HS512","kid":"x"}`, jwe.ErrUnknownKey},
		{"empty kid", `{"alg":"dir","enc":"A256CBC-HS512","kid":""}`, jwe.ErrUnknownKey},
		{"kid of the other enc", `{"alg":"dir","enc":"A256CBC-HS512","kid":"` + b64(sum256[:]) + `"}`, jwe.ErrUnknownKey},
		{"null kid", `{"alg":"dir","enc":"A256CBC-HS512","kid":null}`, jwe.ErrInvalid},
		{"numeric kid", `{"alg":"dir","enc":"A256CBC-HS512","kid":1}`, jwe.ErrInvalid},
		{"alg none", `{"alg":"none","enc":"A256CBC-HS512"}`, jwe.ErrInvalid},
		{"alg RSA", `{"alg":"RSA-OAEP","enc":"A256CBC-HS512"}`, jwe.ErrInvalid},
		{"alg in capitals", `{"alg":"DIR","enc":"A256CBC-HS512"}`, jwe.ErrInvalid},
		{"name in capitals", `{"ALG":"dir","enc":"A256CBC-HS512"}`, jwe.ErrInvalid},
		{"no alg", `{"enc":"A256CBC-HS512"}`, jwe.ErrInvalid},
		{"no enc", `{"alg":"dir"}`, jwe.ErrInvalid},
		{"enc too weak", `{"alg":"dir","enc":"A128CBC-HS256"}`, jwe.ErrInvalid},
		{"enc not a string", `{"alg":"dir","enc":["A256CBC-HS512"]}`, jwe.ErrInvalid},
		{"zip", `{"alg":"dir","enc":"A256CBC-HS512","zip":"DEF"}`, jwe.ErrInvalid},
		{"null zip", `{"alg":"dir","enc":"A256CBC-HS512","zip":null}`, jwe.ErrInvalid},
		{"crit", `{"alg":"dir","enc":"A256CBC-HS512","crit":["x"],"x":1}`, jwe.ErrInvalid},
		{"empty crit", `{"alg":"dir","enc":"A256CBC-HS512","crit":[]}`, jwe.ErrInvalid},
		{"not an object", `["dir"]`, jwe.ErrInvalid},
		{"null", `null`, jwe.ErrInvalid},
		{"two values", `{"alg":"dir","enc":"A256CBC-HS512"}{}`, jwe.ErrInvalid},
		{"empty", ``, jwe.ErrInvalid},
	}
	c := newCodec(t, "secret")
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := c.Open(nil, sealCBC(t, key, tt.header, pad([]byte("payload"))))
			if !errors.Is(err, tt.want) || tt.want != nil && got != nil {
				t.Errorf("Open = %q, %v, want %v", got, err, tt.want)
			}
			if tt.want == nil && string(got) != "payload" {
				t.Errorf("Open = %q, want payload", got)
			}
		})
	}

	t.Run("GCM", func(t *testing.T) {
		for header, want := range map[string]error{
			`{"alg":"dir","enc":"A256GCM","kid":"` + b64(sum256[:]) + `"}`: nil,
			`{"alg":"dir","enc":"A256GCM"}`:                                nil,
			`{"alg":"dir","enc":"A256GCM","kid":"` + kid + `"}`:            jwe.ErrUnknownKey,
		} {
			got, err := c.Open(nil, sealGCM(t, key[:32], header, []byte("payload")))
			if !errors.Is(err, want) || want == nil && string(got) != "payload" {
				t.Errorf("Open under %s = %q, %v, want %v", header, got, err, want)
			}
		}
	})
}

// A token whose tag is right but whose padding is not can only come from one who
// has the key; it must look like any other invalid one all the same.
func TestPadding(t *testing.T) {
	key := derive(t, "secret", salt)
	const header = `{"alg":"dir","enc":"A256CBC-HS512"}`
	c := newCodec(t, "secret")
	for name, block := range map[string][]byte{
		"zero":         make([]byte, 16),
		"too large":    bytes.Repeat([]byte{17}, 16),
		"very large":   bytes.Repeat([]byte{255}, 16),
		"inconsistent": append(bytes.Repeat([]byte{'x'}, 13), 2, 3, 3),
		"no":           nil,
		"half a block": make([]byte, 24),
	} {
		if got, err := c.Open(nil, sealCBC(t, key, header, block)); !errors.Is(err, jwe.ErrInvalid) || got != nil {
			t.Errorf("Open with %s padding = %q, %v, want ErrInvalid", name, got, err)
		}
	}
}

func TestMalformed(t *testing.T) {
	c := newCodec(t, "secret")
	token := string(c.Seal(nil, []byte("{}")))
	p := strings.Split(token, ".")
	// 48 bytes of ciphertext, 64 characters: the length at which one line end more
	// does not show in the number of bytes that the text would decode to.
	q := strings.Split(string(c.Seal(nil, make([]byte, 40))), ".")
	join := func(parts ...string) string { return strings.Join(parts, ".") }
	tests := map[string]string{
		"empty":                    "",
		"dots":                     "....",
		"one part":                 p[0],
		"four parts":               join(p[0], p[1], p[2], p[3]),
		"six parts":                token + ".",
		"leading dot":              "." + token,
		"encrypted key":            join(p[0], "AAAA", p[2], p[3], p[4]),
		"no initialization vector": join(p[0], "", "", p[3], p[4]),
		"no ciphertext":            join(p[0], "", p[2], "", p[4]),
		"no tag":                   join(p[0], "", p[2], p[3], ""),
		"short tag":                join(p[0], "", p[2], p[3], p[4][:22]),
		"cut short":                token[:len(token)-1],
		"longer by one":            token + "A",
		"padded":                   token + "=",
		"half a block":             join(p[0], "", p[2], p[3][:11], p[4]),
		"standard alphabet":        join(p[0], "", p[2], "+/"+p[3][2:], p[4]),
		"line end in the text":     join(p[0], "", p[2], p[3][:4]+"\n"+p[3][4:], p[4]),
		"line end after quanta":    join(q[0], "", q[2], q[3]+"\n", q[4]),
		"line ends in the tag":     join(p[0], "", p[2], p[3], "\r\n"+p[4][2:]),
		"line end in the header":   join(p[0][:8]+"\n"+p[0][8:], "", p[2], p[3], p[4]),
		"space before":             " " + token,
		"line end after":           token + "\n",
		"trailing bits":            trailingBits(token),
		"valid but too long":       string(c.Seal(nil, make([]byte, jwe.MaxToken*3/4))),
		"too long":                 p[0] + ".." + strings.Repeat("A", jwe.MaxToken),
	}
	for name, bad := range tests {
		if got, err := c.Open(nil, bad); !errors.Is(err, jwe.ErrInvalid) || got != nil {
			t.Errorf("Open, %s: %q, %v, want ErrInvalid", name, got, err)
		}
	}
}

// trailingBits sets a bit of the last character that stands for no bit of the
// tag: 43 characters hold 258 bits, the tag 256.
func trailingBits(token string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	i := strings.IndexByte(alphabet, token[len(token)-1])
	return token[:len(token)-1] + string(alphabet[i|1])
}

func TestEveryChangedCharacterIsRefused(t *testing.T) {
	c := newCodec(t, "secret")
	token := c.Seal(nil, []byte(`{"sub":"42"}`))
	for i := range token {
		for _, b := range []byte{token[i] ^ 1, 'A', '.', '='} {
			if b == token[i] {
				continue
			}
			changed := bytes.Clone(token)
			changed[i] = b
			if got, err := c.Open(nil, string(changed)); err == nil || got != nil {
				t.Fatalf("Open with byte %d changed from %q to %q = %q, want an error", i, token[i], b, got)
			}
		}
	}
}

func TestConcurrentUse(t *testing.T) {
	c := newCodec(t, "secret")
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			want := fmt.Sprintf(`{"sub":"%d"}`, g)
			for range 200 {
				got, err := c.Open(nil, string(c.Seal(nil, []byte(want))))
				if err != nil || string(got) != want {
					t.Errorf("Open(Seal(%s)) = %q, %v", want, got, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestAllocations(t *testing.T) {
	v := readVectors(t)
	c := newCodec(t, v.Secret)
	token, payload := v.Tokens[0].Token, []byte(v.Tokens[0].Payload)
	buf := make([]byte, 0, 1024)
	// Not 0: the pool may be emptied at any time, and always loses some under the
	// race detector.
	if n := testing.AllocsPerRun(1000, func() {
		if _, err := c.Open(buf, token); err != nil {
			t.Fatal(err)
		}
	}); n > 6 {
		t.Errorf("Open allocates %v times, want at most 6", n)
	}
	if n := testing.AllocsPerRun(1000, func() { c.Seal(buf, payload) }); n > 6 {
		t.Errorf("Seal allocates %v times, want at most 6", n)
	}
}

// Own round trip, no panic, and nothing beside an error. What opens must open
// again after it was sealed, and have one spelling only.
func FuzzOpen(f *testing.F) {
	v := readVectors(f)
	for _, tt := range v.Tokens {
		f.Add(tt.Token)
	}
	key := derive(f, v.Secret, salt)
	for _, header := range []string{
		`{"alg":"dir","enc":"A256CBC-HS512"}`,
		`{"alg":"dir","enc":"A256CBC-HS512","zip":"DEF"}`,
		`{"alg":"dir","enc":"A256CBC-HS512","kid":null}`,
	} {
		f.Add(sealCBC(f, key, header, pad([]byte("{}"))))
	}
	f.Add("....")
	c := newCodec(f, v.Secret)
	f.Fuzz(func(t *testing.T, token string) {
		payload, err := c.Open(nil, token)
		if err != nil {
			if payload != nil {
				t.Fatalf("Open = %q beside %v", payload, err)
			}
			if !errors.Is(err, jwe.ErrInvalid) && !errors.Is(err, jwe.ErrUnknownKey) {
				t.Fatalf("Open error = %v, want one of the two", err)
			}
			return
		}
		again, err := c.Open(nil, string(c.Seal(nil, payload)))
		if err != nil || !bytes.Equal(again, payload) {
			t.Fatalf("Open(Seal(%q)) = %q, %v", payload, again, err)
		}
	})
}

func FuzzRoundTrip(f *testing.F) {
	for _, tt := range readVectors(f).Tokens {
		f.Add("secret", "authjs.session-token", []byte(tt.Payload), uint(7), byte(1))
	}
	f.Fuzz(func(t *testing.T, secret, salt string, payload []byte, at uint, flip byte) {
		c, err := jwe.New([]string{secret}, salt)
		if err != nil {
			if secret != "" {
				t.Fatalf("New: %v", err)
			}
			return
		}
		token := c.Seal(nil, payload)
		if len(token) > jwe.MaxToken {
			return
		}
		got, err := c.Open(nil, string(token))
		if err != nil || !bytes.Equal(got, payload) {
			t.Fatalf("Open(Seal(%q)) = %q, %v", payload, got, err)
		}
		if flip == 0 {
			return
		}
		token[at%uint(len(token))] ^= flip
		if got, err := c.Open(nil, string(token)); err == nil || got != nil {
			t.Fatalf("Open of a changed token = %q, %v, want an error", got, err)
		}
	})
}

func BenchmarkOpen(b *testing.B) {
	v := readVectors(b)
	c := newCodec(b, v.Secret)
	token := v.Tokens[0].Token
	buf := make([]byte, 0, 1024)
	b.ReportAllocs()
	b.SetBytes(int64(len(token)))
	for b.Loop() {
		if _, err := c.Open(buf, token); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpenSecondSecret(b *testing.B) {
	v := readVectors(b)
	c := newCodec(b, "newer secret", v.Secret)
	token := v.Tokens[0].Token
	buf := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Open(buf, token); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpenGCM(b *testing.B) {
	v := readVectors(b)
	c := newCodec(b, v.Secret)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Open(nil, v.Tokens[1].Token); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSeal(b *testing.B) {
	v := readVectors(b)
	c := newCodec(b, v.Secret)
	payload := []byte(v.Tokens[0].Payload)
	buf := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		c.Seal(buf, payload)
	}
}

func ExampleCodec() {
	c, err := jwe.New([]string{"a long random secret"}, "authjs.session-token")
	if err != nil {
		fmt.Println(err)
		return
	}
	token := c.Seal(nil, []byte(`{"sub":"42"}`))
	payload, err := c.Open(nil, string(token))
	fmt.Println(string(payload), err)
	_, err = c.Open(nil, string(token[:len(token)-1]))
	fmt.Println(err)
	// Output:
	// {"sub":"42"} <nil>
	// jwe: invalid token
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func derive(tb testing.TB, secret, salt string) []byte {
	tb.Helper()
	key, err := hkdf.Key(sha256.New, []byte(secret), []byte(salt), "Auth.js Generated Encryption Key ("+salt+")", 64)
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

func pad(b []byte) []byte {
	n := 16 - len(b)%16
	return append(b, bytes.Repeat([]byte{byte(n)}, n)...)
}

// sealCBC writes a token step by step after RFC 7518, Section 5.2.2.1, without
// the code under test, under any header and with any padding.
func sealCBC(tb testing.TB, key []byte, header string, padded []byte) string {
	tb.Helper()
	block, err := aes.NewCipher(key[32:])
	if err != nil {
		tb.Fatal(err)
	}
	iv := make([]byte, 16)
	rand.Read(iv)
	text := make([]byte, len(padded))
	// What does not fill a block goes as it is, to make bad tokens with a good tag.
	whole := copy(text, padded) / aes.BlockSize * aes.BlockSize
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(text[:whole], padded[:whole])
	aad := b64([]byte(header))
	mac := hmac.New(sha512.New, key[:32])
	mac.Write([]byte(aad))
	mac.Write(iv)
	mac.Write(text)
	binary.Write(mac, binary.BigEndian, uint64(len(aad))*8)
	return aad + ".." + b64(iv) + "." + b64(text) + "." + b64(mac.Sum(nil)[:32])
}

func sealGCM(tb testing.TB, key []byte, header string, payload []byte) string {
	tb.Helper()
	block, err := aes.NewCipher(key)
	if err != nil {
		tb.Fatal(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		tb.Fatal(err)
	}
	iv := make([]byte, 12)
	rand.Read(iv)
	aad := b64([]byte(header))
	sealed := gcm.Seal(nil, iv, payload, []byte(aad))
	n := len(sealed) - 16
	return aad + ".." + b64(iv) + "." + b64(sealed[:n]) + "." + b64(sealed[n:])
}
