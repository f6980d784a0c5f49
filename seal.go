package gatebook

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/gatebook/gatebook/internal/claims"
	"github.com/gatebook/gatebook/internal/cookie"
)

const (
	// stateSalt separates the keys of the state parameter from all others.
	stateSalt = "encodedState"
	// checkAge is how long a visitor may take at the provider.
	checkAge = 15 * time.Minute
)

// newRandom returns 32 random bytes in unpadded base64url, 43 characters: a
// state, nonce or the like.
func newRandom() string {
	var b [32]byte
	rand.Read(b[:])
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// newHex returns 32 random bytes as 64 hex digits, the form of Auth.js's magic
// link tokens.
func newHex() string {
	var b [32]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// sealClaims encrypts claims that are good for checkAge.
func (a *Auth) sealClaims(salt string, now time.Time, members ...Param) string {
	var o claims.Object
	for _, m := range members {
		o.SetString(m.Name, m.Value)
	}
	return a.sealObject(salt, now, o)
}

func (a *Auth) sealObject(salt string, now time.Time, o claims.Object) string {
	o.SetInt64("iat", now.Unix())
	o.SetInt64("exp", now.Add(checkAge).Unix())
	o.SetString("jti", uuid.NewString())
	return string(a.codecs[salt].Seal(nil, o.Append(nil)))
}

// sealCheck queues a check cookie: a value that only the same browser brings
// back, bound to the provider that it was made for.
func (x *exchange) sealCheck(kind cookieKind, value, provider string, formPost bool) {
	name := x.cookieName(kind)
	c := cookie.Cookie{Name: name, Expires: x.now.Add(checkAge), MaxAge: int(checkAge / time.Second), HasMaxAge: true,
		Value: x.a.sealClaims(name, x.now, Param{"value", value}, Param{"provider", provider})}
	if formPost {
		// The provider's form is a cross-site POST, which brings only cookies
		// that say so.
		c.SameSite = "None"
	}
	x.add(kind, c)
}

// openCheck reads a check cookie; why says what is wrong with it, or is empty.
func (x *exchange) openCheck(kind cookieKind, provider string) (value, why string) {
	name := x.cookieName(kind)
	sealed, ok := x.jar.Get(name)
	if !ok || sealed == "" {
		return "", "missing"
	}
	o, why := x.openSealed(name, sealed)
	if why != "" {
		return "", why
	}
	value, _ = o.String("value")
	if p, _ := o.String("provider"); value == "" || p != provider {
		return "", "mismatch"
	}
	return value, ""
}

// openSealed decrypts what sealClaims made with the same salt, unless it is too
// old.
func (x *exchange) openSealed(salt, sealed string) (o claims.Object, why string) {
	payload, err := x.a.codecs[salt].Open(nil, sealed)
	if err != nil {
		return o, "mismatch"
	}
	if o, err = claims.Parse(payload); err != nil {
		return o, "mismatch"
	}
	return o, whyTimes(&o, x.now.Unix())
}

// whyTimes says what is wrong with the times of a check, or nothing.
func whyTimes(o *claims.Object, now int64) string {
	err := checkTimes(o, now)
	switch {
	case err == nil:
		return ""
	case errors.Is(err, errExpired):
		return "expired"
	}
	return "mismatch"
}

// clearChecks queues the removal of the check cookies that came.
func (x *exchange) clearChecks() {
	for _, kind := range []cookieKind{stateCookie, pkceCookie, nonceCookie} {
		if _, ok := x.jar.Get(x.cookieName(kind)); ok {
			x.clear(kind, x.cookieName(kind))
		}
	}
}

// checkDigest is what stands for a value that may be used once.
func checkDigest(kind, value string) [32]byte { return sha256.Sum256([]byte(kind + "\x00" + value)) }
