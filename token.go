package gatebook

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/gatebook/gatebook/internal/claims"
	"github.com/gatebook/gatebook/internal/cookie"
)

// newToken returns the token of a new database session. What an application
// makes of its own is refused when nobody could tell it from a mistake.
func (a *Auth) newToken() (Secret, error) {
	fn := a.cfg.Session.GenerateToken
	if fn == nil {
		return Secret(uuid.NewString()), nil
	}
	token, err := guard(func() (string, error) { return fn(), nil })
	if err != nil {
		return "", &tokenError{err}
	}
	invisible := func(r rune) bool { return r <= ' ' || r >= 0x7f }
	if len(token) < 16 || len(token) > 512 || strings.ContainsFunc(token, invisible) {
		a.log.Error("Config.Session.GenerateToken must return 16 to 512 visible characters of ASCII", "length", len(token))
		return "", &tokenError{errors.New("no token")}
	}
	return Secret(token), nil
}

// tokenError says that the application's GenerateToken gave no token.
type tokenError struct{ err error }

func (e *tokenError) Error() string { return "make a session token: GenerateToken" }
func (e *tokenError) Unwrap() error { return e.err }

// decodeToken returns the claims of a session token. The error matches
// ErrNoSession.
func (a *Auth) decodeToken(ctx context.Context, token string, salts []string) (claims.Object, error) {
	if fn := a.cfg.Session.DecodeToken; fn != nil {
		if len(token) > maxToken {
			return claims.Object{}, fmt.Errorf("%w: the token is too long", ErrNoSession)
		}
		c, err := guard(func() (Claims, error) { return fn(ctx, token) })
		if err != nil {
			return claims.Object{}, fmt.Errorf("%w: the token is none of ours", ErrNoSession)
		}
		return c.Clone().o, nil
	}
	if i := slices.IndexFunc(salts, func(salt string) bool { return a.codecs[salt].Sealed(token) }); i >= 0 {
		salts = salts[i : i+1]
	}
	var payload []byte
	err := errors.New("no salt")
	for _, salt := range salts {
		if payload, err = a.codecs[salt].Open(nil, token); err == nil {
			break
		}
	}
	if err != nil {
		return claims.Object{}, fmt.Errorf("%w: the token is none of ours", ErrNoSession)
	}
	o, err := claims.Parse(payload)
	if err != nil {
		return claims.Object{}, fmt.Errorf("%w: the token's claims are malformed", ErrNoSession)
	}
	return o, nil
}

// maxToken is the longest token that cookies bring back.
const maxToken = cookie.ChunkSize * cookie.MaxChunks

// encodeToken encodes the claims with new times and a new jti, as the value of
// the session cookie.
func (a *Auth) encodeToken(ctx context.Context, v *visit, c *Claims) (string, error) {
	now := v.now.Unix()
	var iat, exp [20]byte
	var jti [40]byte
	// The session keeps the claims as they were. Most tokens fit into scratch.
	var payload, scratch [1536]byte
	text := c.o.AppendWith(payload[:0],
		claims.Member{Name: "iat", Value: strconv.AppendInt(iat[:0], now, 10)},
		claims.Member{Name: "exp", Value: strconv.AppendInt(exp[:0], now+int64(a.cfg.Session.TokenMaxAge/time.Second), 10)},
		claims.Member{Name: "jti", Value: claims.AppendString(jti[:0], uuid.NewString())})
	if a.cfg.Session.EncodeToken != nil {
		return a.encodeOwn(ctx, slices.Clone(text))
	}
	return string(a.codecs[v.cookieName(sessionCookie)].Seal(scratch[:0], text)), nil
}

// encodeOwn lets the application encode the claims.
func (a *Auth) encodeOwn(ctx context.Context, text []byte) (string, error) {
	o, err := claims.Parse(text)
	if err != nil {
		return "", fmt.Errorf("read the claims: %w", err)
	}
	token, err := guard(func() (string, error) { return a.cfg.Session.EncodeToken(ctx, Claims{o}) })
	if err != nil {
		return "", err
	}
	if token == "" || len(token) > maxToken || string(cookie.AppendComponent(nil, token)) != token {
		return "", errors.New("gatebook: Config.Session.EncodeToken returned what no session cookie can hold")
	}
	return token, nil
}
