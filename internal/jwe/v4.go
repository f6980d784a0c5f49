package jwe

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
)

// v4Header is the protected header as next-auth v4 writes it, in base64url.
var v4Header = base64URL.EncodeToString([]byte(`{"alg":"dir","enc":"A256GCM"}`))

// V4 opens the session tokens of next-auth v4: A256GCM under a key derived from
// a secret alone, without a key id. Make it with [NewV4]. It does not change
// afterwards and is safe for concurrent use.
type V4 struct {
	keys []cipher.AEAD
}

// NewV4 derives the key of each of secrets as next-auth v4 does: HKDF (RFC 5869)
// with SHA-256 and an empty salt. All of them open. It fails if there is no
// secret or one of them is empty.
func NewV4(secrets []string) (*V4, error) {
	if len(secrets) == 0 {
		return nil, errors.New("jwe: no secret given")
	}
	v := &V4{keys: make([]cipher.AEAD, len(secrets))}
	for i, secret := range secrets {
		if secret == "" {
			return nil, fmt.Errorf("jwe: secret %d of %d is empty", i+1, len(secrets))
		}
		key, err := hkdf.Key(sha256.New, []byte(secret), nil, "NextAuth.js Generated Encryption Key", 32)
		if err != nil {
			return nil, fmt.Errorf("jwe: derive key from secret %d of %d: %w", i+1, len(secrets), err)
		}
		block, err := aes.NewCipher(key)
		if err != nil {
			return nil, err
		}
		if v.keys[i], err = cipher.NewGCM(block); err != nil {
			return nil, err
		}
	}
	return v, nil
}

// Open appends the payload of token to dst and returns the extended slice. On
// failure it returns nil and ErrInvalid. A token says nothing of its key, so
// each is tried.
func (v *V4) Open(dst []byte, token string) ([]byte, error) {
	protected, rest, ok := strings.Cut(token, "..")
	if !ok || len(token) > MaxToken {
		return nil, ErrInvalid
	}
	// The header is one that [Codec.Open] takes too, but for the key id.
	if protected != v4Header {
		if h, err := parseHeader(protected); err != nil || h.enc != encGCM || h.hasKID {
			return nil, ErrInvalid
		}
	}
	for _, key := range v.keys {
		if out, err := openGCM(key, dst, []byte(protected), rest); err == nil {
			return out, nil
		}
	}
	return nil, ErrInvalid
}
