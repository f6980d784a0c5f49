package interop

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"time"

	"crypto/sha512"

	"github.com/go-jose/go-jose/v4"

	"github.com/gatebook/gatebook"
)

// key derives the key of a sealed cookie from secret and salt, the cookie's
// name.
func key(secret, salt string, size int) []byte {
	k, err := hkdf.Key(sha256.New, []byte(secret), []byte(salt), "Auth.js Generated Encryption Key ("+salt+")", size)
	if err != nil {
		panic(err)
	}
	return k
}

// open reads a sealed value under any of the site's secrets.
func (v *visitor) open(salt, sealed string) (gatebook.Claims, bool) {
	for _, secret := range v.setup.Secrets {
		jwe, err := jose.ParseEncryptedCompact(sealed, []jose.KeyAlgorithm{jose.DIRECT}, []jose.ContentEncryption{jose.A256CBC_HS512})
		if err != nil {
			return gatebook.Claims{}, false
		}
		text, err := jwe.Decrypt(key(secret, salt, 64))
		if err != nil {
			continue
		}
		if o, err := gatebook.ParseClaims(text); err == nil {
			return o, true
		}
	}
	return gatebook.Claims{}, false
}

// sealing is how a token is made that neither server made.
type sealing struct {
	secret string
	salt   string
	alg    jose.KeyAlgorithm      // dir if empty
	enc    jose.ContentEncryption // A256CBC-HS512 if empty
	kid    string                 // the key's thumbprint if empty, none if "-"
}

// seal makes a token of claims; durations are from now, in seconds.
func (s sealing) seal(claims map[string]any) string {
	if s.enc == "" {
		s.enc = jose.A256CBC_HS512
	}
	size := 64
	if s.enc != jose.A256CBC_HS512 {
		size = 32
	}
	k := key(s.secret, s.salt, size)
	if s.kid == "" {
		// RFC 7638 over {"k","kty"}, with the hash of the key's size.
		canonical := []byte(`{"k":"` + base64.RawURLEncoding.EncodeToString(k) + `","kty":"oct"}`)
		sum := sha512.Sum512(canonical)
		s.kid = base64.RawURLEncoding.EncodeToString(sum[:])
	}
	if s.alg == "" {
		s.alg = jose.DIRECT
	}
	recipient := jose.Recipient{Algorithm: s.alg, Key: k}
	if s.alg != jose.DIRECT {
		recipient.Key = k[:32]
	}
	options := &jose.EncrypterOptions{}
	if s.kid != "-" {
		options = options.WithHeader("kid", s.kid)
	}
	encrypter, err := jose.NewEncrypter(s.enc, recipient, options)
	if err != nil {
		panic(err)
	}
	out := map[string]any{}
	for name, value := range claims {
		if d, ok := value.(time.Duration); ok {
			value = time.Now().Add(d).Unix()
		}
		out[name] = value
	}
	payload, err := json.Marshal(out)
	if err != nil {
		panic(err)
	}
	jwe, err := encrypter.Encrypt(payload)
	if err != nil {
		panic(err)
	}
	text, err := jwe.CompactSerialize()
	if err != nil {
		panic(err)
	}
	return text
}
