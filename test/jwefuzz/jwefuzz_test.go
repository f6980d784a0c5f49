package jwefuzz_test

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"strings"
	"testing"

	jose "github.com/go-jose/go-jose/v4"

	"github.com/gatebook/gatebook/internal/jwe"
)

const (
	secret = "secret"
	salt   = "authjs.session-token"

	// Tokens that Auth.js v5 made with this secret and salt, one of each kind.
	cbcToken = "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2Q0JDLUhTNTEyIiwia2lkIjoiN3g5RFVNVmFFVTZnaWFiMGwwT1dEdDRlNFNzUkhfY2J3TW9mMkV6RXl5Nm9uSzVvOHhTUFBCNzk5UlZvcW0ydjZ6Njc0a1FDdjlqb20yVDhTLWExZFEifQ" +
		"..wYFQxYguy2E_t7Ma4vfYyQ.acyToGc4xUof3a4K_b6FtErqoq5cupwRMwXGvebWhfQrYxCNUgPt6sblnj_Tx9IwZcB5sxLHfh4ykxXQDcBCbO-PKA3mvBcAELX6EnAIZHvj7XrBF5OsU7roB3XudyOrirldKse6SQpPSypBLQsjiWaxKXnSleZQKRJqhhUyTRAaFf63iOIbVbOuuqtvkT3LOZCsxc64CXb1i6wPX72c8lAZksuTTpDYQvV4-UVnFqQ" +
		".uUiYEOVyxm4WZ7DDoDtCSxrEFfUI4gFSxYhjEM8I0go"
	gcmToken = "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0" +
		"..jTdox1Yj_eAbtceH.WJlnxvgfatg3F6Ys-yi6XXXLZWb5G1860lZICf4OBpecyYgrdzaxnRV8QB1M-idUQcF7U19lpnkyynyMFO-t4IWGgc8B9ZllHIFv3zn3Db_6JV7gGn0vbLpuhSPLPZWHI5HxE1_ZkA" +
		".IR7DqyY-cnbOqYDIOpcp-A"
)

// keys are what secret and salt derive to, by the content encryption they are for.
func keys(tb testing.TB) map[jose.ContentEncryption][]byte {
	tb.Helper()
	key, err := hkdf.Key(sha256.New, []byte(secret), []byte(salt), "Auth.js Generated Encryption Key ("+salt+")", 64)
	if err != nil {
		tb.Fatal(err)
	}
	return map[jose.ContentEncryption][]byte{jose.A256CBC_HS512: key, jose.A256GCM: key[:32]}
}

func newCodec(tb testing.TB) *jwe.Codec {
	tb.Helper()
	c, err := jwe.New([]string{secret}, salt)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// joseOpen opens token with go-jose as internal/jwe is meant to. The payload is
// not nil if it opens.
func joseOpen(token string, keys map[jose.ContentEncryption][]byte) ([]byte, error) {
	object, err := jose.ParseEncryptedCompact(token, []jose.KeyAlgorithm{jose.DIRECT},
		[]jose.ContentEncryption{jose.A256CBC_HS512, jose.A256GCM})
	if err != nil {
		return nil, err
	}
	enc, _ := object.Header.ExtraHeaders["enc"].(string)
	payload, err := object.Decrypt(keys[jose.ContentEncryption(enc)])
	if err != nil {
		return nil, err
	}
	return append([]byte{}, payload...), nil
}

func joseSeal(tb testing.TB, enc jose.ContentEncryption, options *jose.EncrypterOptions, payload []byte) string {
	tb.Helper()
	encrypter, err := jose.NewEncrypter(enc, jose.Recipient{Algorithm: jose.DIRECT, Key: keys(tb)[enc]}, options)
	if err != nil {
		tb.Fatal(err)
	}
	object, err := encrypter.Encrypt(payload)
	if err != nil {
		tb.Fatal(err)
	}
	token, err := object.CompactSerialize()
	if err != nil {
		tb.Fatal(err)
	}
	return token
}

func TestBothOpenTheVectors(t *testing.T) {
	c := newCodec(t)
	for _, token := range []string{cbcToken, gcmToken} {
		want, err := joseOpen(token, keys(t))
		if err != nil {
			t.Fatal(err)
		}
		got, err := c.Open(nil, token)
		if err != nil || !bytes.Equal(got, want) || !bytes.Contains(got, []byte("Ada")) {
			t.Errorf("Open = %s, %v, want %s", got, err, want)
		}
	}
}

func TestCompressedIsRefused(t *testing.T) {
	token := joseSeal(t, jose.A256CBC_HS512, &jose.EncrypterOptions{Compression: jose.DEFLATE}, []byte("{}"))
	if got, err := newCodec(t).Open(nil, token); !errors.Is(err, jwe.ErrInvalid) || got != nil {
		t.Errorf("Open = %q, %v, want ErrInvalid", got, err)
	}
}

func FuzzSeal(f *testing.F) {
	c, all := newCodec(f), keys(f)
	f.Add([]byte(""))
	for _, token := range []string{cbcToken, gcmToken} {
		payload, err := joseOpen(token, all)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(payload)
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		token := string(c.Seal(nil, payload))
		if len(token) > jwe.MaxToken {
			return
		}
		if got, err := joseOpen(token, all); err != nil || !bytes.Equal(got, payload) {
			t.Fatalf("go-jose opens Seal(%q) as %q, %v", payload, got, err)
		}
		for enc := range all {
			token := joseSeal(t, enc, nil, payload)
			if got, err := c.Open(nil, token); err != nil || !bytes.Equal(got, payload) {
				t.Fatalf("Open of go-jose's %s of %q = %q, %v", enc, payload, got, err)
			}
		}
	})
}

// FuzzOpen gives both the same token. Ours may refuse more (what is compressed,
// of an unknown key id, loosely spelled), never less, and never read it otherwise.
func FuzzOpen(f *testing.F) {
	c, all := newCodec(f), keys(f)
	f.Add(cbcToken)
	f.Add(gcmToken)
	f.Add(joseSeal(f, jose.A256CBC_HS512, nil, []byte("{}")))
	f.Add(joseSeal(f, jose.A256CBC_HS512, &jose.EncrypterOptions{Compression: jose.DEFLATE}, []byte("{}")))
	f.Add(joseSeal(f, jose.A256GCM, (&jose.EncrypterOptions{}).WithType("JWT"), []byte("{}")))
	f.Add(strings.Replace(cbcToken, ".", ".AAAA", 1))
	f.Add(cbcToken + "\n")
	f.Fuzz(func(t *testing.T, token string) {
		got, err := c.Open(nil, token)
		if err != nil {
			if got != nil {
				t.Fatalf("Open = %q beside %v", got, err)
			}
			return
		}
		want, err := joseOpen(token, all)
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("Open = %q, go-jose: %q, %v", got, want, err)
		}
	})
}

// BenchmarkOpen compares the two on the token that a session is read from.
func BenchmarkOpen(b *testing.B) {
	c, all := newCodec(b), keys(b)
	b.Run("ours", func(b *testing.B) {
		buf := make([]byte, 0, 1024)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := c.Open(buf, cbcToken); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("go-jose", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := joseOpen(cbcToken, all); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// v4Token was made by next-auth 4.24.15 with the same secret.
const v4Token = "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0..80kEIIderkurdkio.vIGzewsDgsYYtkTBkt6kEyq9dDOnOyYj7NUu5O4KlPSZW8BRRNtGcWXYsFbatOIOaM-TLUI7f1koxy_1KUPYZAmk0ovnhOPax3VebnasTqboeRbPcLBo9fBqYUzUrd3l3jnrkVIIaED7EAFJLmRy5_bkNxBR5pRhBQGM9nYEXh9NtMq3YyBjTnQev-7I7X3x3z-buueiobo5j6kL2QhE7z2vsA1c.FZoO_IS2rW2-DoNbPs1q0Q"

// FuzzV4 gives both the same token of next-auth v4, as FuzzOpen does.
func FuzzV4(f *testing.F) {
	v, err := jwe.NewV4([]string{secret})
	if err != nil {
		f.Fatal(err)
	}
	key, err := hkdf.Key(sha256.New, []byte(secret), nil, "NextAuth.js Generated Encryption Key", 32)
	if err != nil {
		f.Fatal(err)
	}
	all := map[jose.ContentEncryption][]byte{jose.A256GCM: key}
	if got, err := v.Open(nil, v4Token); err != nil || !bytes.Contains(got, []byte("Ada")) {
		f.Fatalf("Open = %q, %v", got, err)
	}
	for _, token := range []string{v4Token, gcmToken, cbcToken, strings.Replace(v4Token, "..", ".AAAA.", 1), v4Token + "\n", "...."} {
		f.Add(token)
	}
	f.Fuzz(func(t *testing.T, token string) {
		got, err := v.Open(nil, token)
		if err != nil {
			if got != nil {
				t.Fatalf("Open = %q beside %v", got, err)
			}
			return
		}
		want, err := joseOpen(token, all)
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("Open = %q, go-jose: %q, %v", got, want, err)
		}
	})
}
