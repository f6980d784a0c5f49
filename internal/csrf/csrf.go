// Package csrf makes and checks the double-submit token of Auth.js v5 against
// cross-site request forgery: a random token and a cookie that holds it together
// with a hash only the server can make.
//
// Whether a request must carry the token, and comparing the one in its body with
// the one in its cookie ([Equal]), is for the caller.
package csrf

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
)

const tokenLen = 64 // hex digits of 32 random bytes, and as many of SHA-256

// Signer makes and checks tokens. It does not change and is safe for concurrent
// use. Printing it does not show the secret.
type Signer struct {
	secret string
}

// New returns the Signer for secret. Auth.js takes several secrets joined with
// commas, newest first, so that adding one ends the validity of all tokens.
func New(secret string) *Signer { return &Signer{secret: secret} }

// Token returns a new token, 64 lower-case hex digits, and the value of the
// cookie to set with it, not encoded: the token, a vertical bar and its hash.
func (s *Signer) Token() (token, cookieValue string) {
	var random [tokenLen / 2]byte
	// Reading from crypto/rand cannot fail: it ends the program instead.
	rand.Read(random[:])
	token = hex.EncodeToString(random[:])
	return token, token + "|" + s.HashToken(token)
}

// Verify returns the token in the cookie's value, already decoded, and whether
// its hash is right, compared in constant time. It is narrower than Auth.js in
// that the token must have the form that Token gives it; the e-mail tokens that
// share the hash then never pass for one. Like Auth.js it ignores a second bar
// and what follows.
func (s *Signer) Verify(cookieValue string) (token string, ok bool) {
	token, hash, ok := strings.Cut(cookieValue, "|")
	if !ok || !isToken(token) {
		return "", false
	}
	hash, _, _ = strings.Cut(hash, "|")
	want := s.sum(token)
	if !equal(want[:], hash) {
		return "", false
	}
	return token, true
}

// HashToken returns the SHA-256 hash of the token followed by the secret, as 64
// lower-case hex digits. Tokens of e-mail links are stored as this hash.
func (s *Signer) HashToken(token string) string {
	sum := s.sum(token)
	return string(sum[:])
}

// Format implements fmt.Formatter, so that no verb prints the secret.
func (s *Signer) Format(f fmt.State, _ rune) { io.WriteString(f, "csrf.Signer") }

func (s *Signer) sum(token string) (hexSum [tokenLen]byte) {
	// Enough for a token and the usual secrets without an allocation.
	buf := append(make([]byte, 0, 256), token...)
	sum := sha256.Sum256(append(buf, s.secret...))
	hex.Encode(hexSum[:], sum[:])
	return hexSum
}

// Equal reports whether a and b are equal, in a time that depends on their
// lengths only.
func Equal(a, b string) bool {
	return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1
}

func equal(a []byte, b string) bool {
	return subtle.ConstantTimeCompare(a, []byte(b)) == 1
}

func isToken(s string) bool {
	if len(s) != tokenLen {
		return false
	}
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
