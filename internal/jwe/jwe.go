// Package jwe seals and opens the session tokens of Auth.js v5: compact JWE
// (RFC 7516) with direct encryption under a key derived from a secret and a
// salt. A [Codec] writes A256CBC-HS512 and reads that and A256GCM. A [V4] opens
// those of next-auth v4.
//
// It is cryptography only. What the payload means, and whether its time claims
// still hold, is for the caller. It is not a general JOSE library: no other
// algorithms, no compression, no critical headers.
package jwe

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"slices"
	"strings"
	"sync"
)

// MaxToken is the length in bytes of the longest token that [Codec.Open] looks
// at. Browsers refuse a set of cookies far smaller than this.
const MaxToken = 64 << 10

const (
	encCBC = "A256CBC-HS512"
	encGCM = "A256GCM"

	cbcIVSize  = aes.BlockSize
	cbcTagSize = 32
	gcmIVSize  = 12
	gcmTagSize = 16
)

var (
	// ErrInvalid is returned for every token that cannot be opened with the key
	// it asks for: malformed, too long, of a foreign algorithm, or with a wrong
	// tag or padding. It is one error on purpose, so that an answer does not
	// help someone who tries out altered tokens.
	ErrInvalid = errors.New("jwe: invalid token")

	// ErrUnknownKey is returned for a well-formed header whose kid belongs to
	// none of the codec's secrets: the token was sealed with a secret since
	// retired, by another application, or for another cookie name.
	ErrUnknownKey = errors.New("jwe: no secret matches the token's key id")
)

// Strict refuses non-zero trailing bits, so that a token has one spelling.
var base64URL = base64.RawURLEncoding.Strict()

// Codec seals and opens tokens for one salt. Make it with [New]. It does not
// change afterwards and is safe for concurrent use.
type Codec struct {
	keys []*key
}

// New derives the keys for salt from each of secrets, as Auth.js does: HKDF
// (RFC 5869) with SHA-256 over the bytes of the secret. The first secret seals,
// all of them open. For a cookie the salt is the cookie's name without a chunk
// suffix. New fails if there is no secret or one of them is empty.
func New(secrets []string, salt string) (*Codec, error) {
	if len(secrets) == 0 {
		return nil, errors.New("jwe: no secret given")
	}
	c := &Codec{keys: make([]*key, len(secrets))}
	for i, secret := range secrets {
		if secret == "" {
			return nil, fmt.Errorf("jwe: secret %d of %d is empty", i+1, len(secrets))
		}
		k, err := newKey(secret, salt)
		if err != nil {
			return nil, fmt.Errorf("jwe: derive key from secret %d of %d: %w", i+1, len(secrets), err)
		}
		c.keys[i] = k
	}
	return c, nil
}

// Seal appends to dst a compact JWE of payload and returns the extended slice.
// It uses the first secret, A256CBC-HS512 (RFC 7518, Section 5.2.5) and a random
// initialization vector. A payload above about 48,000 bytes makes a token longer
// than [MaxToken], which Open refuses.
func (c *Codec) Seal(dst, payload []byte) []byte {
	k := c.keys[0]
	st := k.states.Get().(*state)
	defer k.states.Put(st)

	// Reading from crypto/rand cannot fail: it ends the program instead.
	rand.Read(st.iv[:])
	pad := aes.BlockSize - len(payload)%aes.BlockSize
	st.buf = append(st.buf[:0], payload...)
	for range pad {
		st.buf = append(st.buf, byte(pad))
	}
	st.enc.SetIV(st.iv[:])
	st.enc.CryptBlocks(st.buf, st.buf)
	tag := st.tag(k.aad, st.buf)

	dst = slices.Grow(dst, len(k.prefix)+2+base64URL.EncodedLen(cbcIVSize)+
		base64URL.EncodedLen(len(st.buf))+base64URL.EncodedLen(cbcTagSize))
	dst = append(dst, k.prefix...)
	dst = base64URL.AppendEncode(dst, st.iv[:])
	dst = append(dst, '.')
	dst = base64URL.AppendEncode(dst, st.buf)
	dst = append(dst, '.')
	return base64URL.AppendEncode(dst, tag)
}

// Sealed reports whether token begins as those that c seals do, so that none but
// a codec of the same secrets and salt can open it. It decrypts nothing.
func (c *Codec) Sealed(token string) bool {
	return slices.ContainsFunc(c.keys, func(k *key) bool { return strings.HasPrefix(token, k.prefix) })
}

// Open appends the payload of token to dst and returns the extended slice; the
// spare capacity of dst serves as working space. On failure it returns nil and
// ErrInvalid or ErrUnknownKey. A token without kid is opened with the first
// secret only.
func (c *Codec) Open(dst []byte, token string) ([]byte, error) {
	if len(token) > MaxToken {
		return nil, ErrInvalid
	}
	// Nearly every token starts with exactly the bytes that Seal writes.
	for _, k := range c.keys {
		if rest, ok := strings.CutPrefix(token, k.prefix); ok {
			return k.openCBC(dst, k.aad, rest)
		}
	}
	return c.openParsed(dst, token)
}

// openParsed opens a token whose header is not one that Seal writes.
func (c *Codec) openParsed(dst []byte, token string) ([]byte, error) {
	protected, rest, ok := strings.Cut(token, ".")
	if !ok || !strings.HasPrefix(rest, ".") {
		// With alg "dir" the encrypted key is empty (RFC 7518, Section 4.5).
		return nil, ErrInvalid
	}
	h, err := parseHeader(protected)
	if err != nil {
		return nil, err
	}
	k := c.keys[0]
	if h.hasKID {
		i := slices.IndexFunc(c.keys, func(k *key) bool { return k.kid[h.enc] == h.kid })
		if i < 0 {
			return nil, ErrUnknownKey
		}
		k = c.keys[i]
	}
	if h.enc == encGCM {
		return openGCM(k.gcm, dst, []byte(protected), rest[1:])
	}
	return k.openCBC(dst, []byte(protected), rest[1:])
}

type header struct {
	enc    string
	kid    string
	hasKID bool
}

func parseHeader(protected string) (header, error) {
	raw := make([]byte, base64URL.DecodedLen(len(protected)))
	if !decode(raw, protected) {
		return header{}, ErrInvalid
	}
	// A map and not a struct: encoding/json would match "ALG" to a field Alg.
	var members map[string]json.RawMessage
	if err := json.Unmarshal(raw, &members); err != nil {
		return header{}, ErrInvalid
	}
	for _, name := range []string{"zip", "crit"} {
		if _, ok := members[name]; ok {
			return header{}, ErrInvalid
		}
	}
	if alg, ok := stringMember(members, "alg"); !ok || alg != "dir" {
		return header{}, ErrInvalid
	}
	var h header
	var ok bool
	if h.enc, ok = stringMember(members, "enc"); !ok || h.enc != encCBC && h.enc != encGCM {
		return header{}, ErrInvalid
	}
	if _, h.hasKID = members["kid"]; h.hasKID {
		if h.kid, ok = stringMember(members, "kid"); !ok {
			return header{}, ErrInvalid
		}
	}
	return h, nil
}

func stringMember(members map[string]json.RawMessage, name string) (string, bool) {
	raw := members[name]
	if len(raw) == 0 || raw[0] != '"' {
		return "", false
	}
	var s string
	err := json.Unmarshal(raw, &s)
	return s, err == nil
}

// key is what one secret gives for one salt.
type key struct {
	aad    []byte            // the protected header Seal writes, base64url
	prefix string            // the same as text, and the empty encrypted key
	kid    map[string]string // key id by enc
	gcm    cipher.AEAD
	states sync.Pool // of *state
}

func newKey(secret, salt string) (*key, error) {
	// The 32 bytes that Auth.js derives for A256GCM are the first 32 of these.
	okm, err := hkdf.Key(sha256.New, []byte(secret), []byte(salt),
		"Auth.js Generated Encryption Key ("+salt+")", 64)
	if err != nil {
		return nil, err
	}
	// RFC 7518, Section 5.2.2.1: MAC key first, encryption key last.
	macKey, encKey := okm[:32], okm[32:]
	block, err := aes.NewCipher(encKey)
	if err != nil {
		return nil, err
	}
	gcmBlock, err := aes.NewCipher(okm[:32])
	if err != nil {
		return nil, err
	}
	gcm, err := cipher.NewGCM(gcmBlock)
	if err != nil {
		return nil, err
	}
	sum512 := sha512.Sum512(jwk(okm))
	sum256 := sha256.Sum256(jwk(okm[:32]))
	k := &key{
		kid: map[string]string{
			encCBC: base64URL.EncodeToString(sum512[:]),
			encGCM: base64URL.EncodeToString(sum256[:]),
		},
		gcm: gcm,
	}
	k.aad = base64URL.AppendEncode(nil,
		[]byte(`{"alg":"dir","enc":"`+encCBC+`","kid":"`+k.kid[encCBC]+`"}`))
	k.prefix = string(k.aad) + ".."
	k.states.New = func() any { return newState(block, macKey) }
	return k, nil
}

// jwk returns the canonical JSON whose hash is the thumbprint of a symmetric
// key (RFC 7638, Section 3.2).
func jwk(k []byte) []byte {
	return []byte(`{"k":"` + base64URL.EncodeToString(k) + `","kty":"oct"}`)
}

// openCBC opens the last three parts of a token, RFC 7518, Section 5.2.2.2.
func (k *key) openCBC(dst, aad []byte, rest string) ([]byte, error) {
	iv, body, tag, ok := split(rest, cbcIVSize, cbcTagSize)
	if !ok {
		return nil, ErrInvalid
	}
	n := base64URL.DecodedLen(len(body))
	if n == 0 || n%aes.BlockSize != 0 {
		return nil, ErrInvalid
	}
	dst = slices.Grow(dst, n)
	text := dst[len(dst) : len(dst)+n]

	st := k.states.Get().(*state)
	defer k.states.Put(st)
	if !decode(st.iv[:], iv) || !decode(st.got[:], tag) || !decode(text, body) {
		return nil, ErrInvalid
	}
	// The tag comes before the padding: who can see which of the two failed can
	// decrypt a token by asking often enough.
	if subtle.ConstantTimeCompare(st.tag(aad, text), st.got[:]) != 1 {
		return nil, ErrInvalid
	}
	st.dec.SetIV(st.iv[:])
	st.dec.CryptBlocks(text, text)

	pad := int(text[n-1])
	if pad == 0 || pad > aes.BlockSize {
		return nil, ErrInvalid
	}
	for _, b := range text[n-pad:] {
		if int(b) != pad {
			return nil, ErrInvalid
		}
	}
	return dst[:len(dst)+n-pad], nil
}

// openGCM opens the last three parts of a token, RFC 7518, Section 5.3. Tokens
// of this kind are rare, so it does not save allocations.
func openGCM(key cipher.AEAD, dst, aad []byte, rest string) ([]byte, error) {
	iv, body, tag, ok := split(rest, gcmIVSize, gcmTagSize)
	if !ok {
		return nil, ErrInvalid
	}
	n := base64URL.DecodedLen(len(body))
	nonce := make([]byte, gcmIVSize)
	sealed := make([]byte, n+gcmTagSize)
	if !decode(nonce, iv) || !decode(sealed[:n], body) || !decode(sealed[n:], tag) {
		return nil, ErrInvalid
	}
	out, err := key.Open(dst, nonce, sealed, aad)
	if err != nil {
		return nil, ErrInvalid
	}
	return out, nil
}

// split cuts IV, ciphertext and tag apart by their lengths in bytes.
func split(rest string, ivSize, tagSize int) (iv, body, tag string, ok bool) {
	i := base64URL.EncodedLen(ivSize)
	j := len(rest) - base64URL.EncodedLen(tagSize) - 1
	if j <= i || rest[i] != '.' || rest[j] != '.' {
		return "", "", "", false
	}
	return rest[:i], rest[i+1 : j], rest[j+1:], true
}

// decode fills dst with the decoded s and reports whether s is the one right
// spelling of that many bytes.
func decode(dst []byte, s string) bool {
	// encoding/base64 skips line ends even when strict. A text that has some then
	// decodes to fewer bytes than its length promises, but for one length in
	// four, which no text without line ends can have.
	if len(s)%4 == 1 || base64URL.DecodedLen(len(s)) != len(dst) {
		return false
	}
	n, err := base64URL.Decode(dst, []byte(s))
	return err == nil && n == len(dst)
}

// state is the working memory of one Seal or Open, kept for the next: the key
// schedule and the hashed key blocks of HMAC cost more than a short token.
type state struct {
	mac hash.Hash
	enc cbcMode
	dec cbcMode
	iv  [cbcIVSize]byte
	got [cbcTagSize]byte
	al  [8]byte
	sum [sha512.Size]byte
	buf []byte
}

// cbcMode is a CBC mode that can start again. Those of crypto/cipher over
// crypto/aes can, which crypto/tls relies on too.
type cbcMode interface {
	cipher.BlockMode
	SetIV([]byte)
}

func newState(block cipher.Block, macKey []byte) *state {
	zero := make([]byte, cbcIVSize)
	return &state{
		mac: hmac.New(sha512.New, macKey),
		enc: cipher.NewCBCEncrypter(block, zero).(cbcMode), //nolint:gosec // SetIV gives each use its own, random one
		dec: cipher.NewCBCDecrypter(block, zero).(cbcMode),
	}
}

// tag computes the authentication tag over aad, st.iv and ciphertext, RFC 7518,
// Section 5.2.2.1. The result is valid until the next call.
func (st *state) tag(aad, ciphertext []byte) []byte {
	binary.BigEndian.PutUint64(st.al[:], uint64(len(aad))*8)
	st.mac.Reset()
	st.mac.Write(aad)
	st.mac.Write(st.iv[:])
	st.mac.Write(ciphertext)
	st.mac.Write(st.al[:])
	return st.mac.Sum(st.sum[:0])[:cbcTagSize]
}
