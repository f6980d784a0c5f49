// Package authjs reads the sessions of an Auth.js application in a Go service
// beside it: those of Auth.js v5 and of next-auth v4, with nothing but the
// secret that the application has. It asks nobody, keeps nothing and starts
// nothing: a [Reader] decrypts the cookie or the Bearer token of a request.
//
//	reader, err := authjs.NewReader(authjs.Config{}) // reads AUTH_SECRET
//	http.Handle("/api/", reader.Require(api))
//
// It reads token sessions (session.strategy "jwt"), which Auth.js has unless it
// has an adapter. It never writes a cookie, so it renews no session: that is
// the application's business. To sign people in, use package gatebook, which
// understands the same secret, cookies and tables.
package authjs

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/gatebook/gatebook/internal/claims"
	"github.com/gatebook/gatebook/internal/cookie"
	"github.com/gatebook/gatebook/internal/cors"
	"github.com/gatebook/gatebook/internal/jwe"
	"github.com/gatebook/gatebook/internal/redirect"
	"github.com/gatebook/gatebook/internal/secret"
)

// ErrNoSession says that nobody is signed in: there is no token, or it has
// expired, or no secret opens it. What follows it in an error's text is for the
// log, not for the visitor.
var ErrNoSession = errors.New("authjs: no session")

// Secret is the secret of an Auth.js application, with string as its underlying
// type. It prints, logs and marshals as "[redacted]".
type Secret = secret.Secret

// Config configures a [Reader].
type Config struct {
	// Secrets are those of the application. All of them open, so that it can
	// change its secret. If empty, AUTH_SECRET_3, AUTH_SECRET_2, AUTH_SECRET_1,
	// AUTH_SECRET and NEXTAUTH_SECRET of the environment, those that are set.
	Secrets []Secret
	// Origins are the origins of the pages that call this service, such as
	// "https://app.example.com", each written as browsers send it. [Reader.CORS]
	// lets them read answers and send cookies, and [Reader.Require] lets them
	// change things. If all of them are https, only cookies of secure sites
	// (their names begin with __Secure-) are read.
	Origins []string
	// Cookie is the name of the session cookie, whole, if the application has
	// another than Auth.js and next-auth give it (cookies.sessionToken.name).
	Cookie string
	// Now returns the current time. If nil, time.Now.
	Now func() time.Time
}

// Reader reads sessions. Make it with [NewReader]. It does not change afterwards
// and is safe for concurrent use.
type Reader struct {
	sources []source // in the order in which cookies are looked at
	v4      *jwe.V4
	now     func() time.Time
	cors    *cors.Policy
	csrf    *http.CrossOriginProtection
	// secureOnly says that the front ends are secure sites.
	secureOnly bool
}

// source is a cookie that may hold a session.
type source struct {
	cookie string
	v5     *jwe.Codec // with the cookie's name as its salt; nil if v5 does not write it
	v4     bool
	secure bool
}

const (
	securePrefix = "__Secure-"
	v5Cookie     = "authjs.session-token"
	v4Cookie     = "next-auth.session-token"

	// cookieChars are those of a cookie's name (RFC 6265, Section 4.1.1).
	cookieChars = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+-.^_`|~"
)

// NewReader returns a Reader, or an error that names the field that is wrong.
func NewReader(cfg Config) (*Reader, error) {
	secrets, err := cfg.secrets()
	if err != nil {
		return nil, err
	}
	rd := &Reader{now: cfg.Now, csrf: http.NewCrossOriginProtection()}
	if rd.now == nil {
		rd.now = time.Now
	}
	if rd.v4, err = jwe.NewV4(secrets); err != nil {
		return nil, fmt.Errorf("authjs: Config.Secrets: %w", err)
	}
	rd.sources = []source{
		{cookie: securePrefix + v5Cookie}, {cookie: v5Cookie},
		{cookie: securePrefix + v4Cookie, v4: true}, {cookie: v4Cookie, v4: true},
	}
	if cfg.Cookie != "" {
		if strings.Trim(cfg.Cookie, cookieChars) != "" {
			return nil, fmt.Errorf("authjs: Config.Cookie %q is no name that a cookie can have", cfg.Cookie)
		}
		rd.sources = []source{{cookie: cfg.Cookie, v4: true}}
	}
	for i := range rd.sources {
		s := &rd.sources[i]
		s.secure = cfg.Cookie != "" || strings.HasPrefix(s.cookie, securePrefix)
		if s.v4 && cfg.Cookie == "" {
			continue
		}
		if s.v5, err = jwe.New(secrets, s.cookie); err != nil {
			return nil, fmt.Errorf("authjs: Config.Secrets: %w", err)
		}
	}
	if err := rd.trust(cfg.Origins); err != nil {
		return nil, err
	}
	return rd, nil
}

func (c *Config) secrets() ([]string, error) {
	found := c.Secrets
	if len(found) == 0 {
		found = secret.FromEnv()
		if s := os.Getenv("NEXTAUTH_SECRET"); s != "" {
			found = append(found, Secret(s))
		}
	}
	if len(found) == 0 || slices.Contains(found, "") {
		return nil, errors.New("authjs: Config.Secrets is missing: set it or AUTH_SECRET to the secret of the Auth.js application")
	}
	out := make([]string, len(found))
	for i, s := range found {
		out[i] = string(s)
	}
	return out, nil
}

// trust takes the origins of the front ends.
func (rd *Reader) trust(origins []string) (err error) {
	if rd.cors, err = cors.New(origins, redirect.Origin); err != nil {
		return fmt.Errorf("authjs: Config.Origins: %w", err)
	}
	rd.secureOnly = len(origins) > 0
	for _, o := range origins {
		if err := rd.csrf.AddTrustedOrigin(o); err != nil {
			return fmt.Errorf("authjs: Config.Origins: %w", err)
		}
		rd.secureOnly = rd.secureOnly && strings.HasPrefix(o, "https://")
	}
	return nil
}

// Verify returns the session that token is: the value of a session cookie (of
// its chunks put together) or what follows "Bearer " in an Authorization header,
// percent-encoded or not. The error matches [ErrNoSession].
func (rd *Reader) Verify(token string) (*Session, error) {
	token, err := cookie.UnescapeComponent(token)
	if err != nil {
		return nil, fmt.Errorf("%w: the token is malformed", ErrNoSession)
	}
	// Nearly every token says by its beginning which salt it belongs to.
	for i := range rd.sources {
		if s := &rd.sources[i]; s.v5 != nil && s.v5.Sealed(token) {
			return rd.open(s, token)
		}
	}
	for i := range rd.sources {
		var s *Session
		if s, err = rd.open(&rd.sources[i], token); !errors.Is(err, errNotOurs) {
			return s, err
		}
	}
	return nil, err
}

var errNotOurs = fmt.Errorf("%w: no secret opens the token", ErrNoSession)

// open opens token as one that may be in the cookie of s. That a token opens
// only in the cookie that it was made for is what __Secure- rests on: whoever
// can set the other cookie must not put a token of his own there.
func (rd *Reader) open(s *source, token string) (*Session, error) {
	if s.v5 != nil {
		if payload, err := s.v5.Open(nil, token); err == nil {
			return rd.session(payload, 5)
		}
	}
	if s.v4 {
		if payload, err := rd.v4.Open(nil, token); err == nil {
			return rd.session(payload, 4)
		}
	}
	if token != "" && !strings.Contains(token, ".") {
		return nil, fmt.Errorf(`%w: it looks like the key of a database session, and only session.strategy "jwt" is read`, errNotOurs)
	}
	return nil, errNotOurs
}

// session reads what a token says.
func (rd *Reader) session(payload []byte, version int) (*Session, error) {
	o, err := claims.Parse(payload)
	if err != nil {
		return nil, fmt.Errorf("%w: the token's claims are malformed", ErrNoSession)
	}
	if err := o.CheckTimes(rd.now().Unix()); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoSession, err)
	}
	s := &Session{Version: version, Token: Claims{o}}
	var t [5]string
	o.Texts(t[:], "sid", "sub", "name", "email", "picture")
	s.ID, s.User = t[0], User{ID: t[1], Name: t[2], Email: t[3], Image: t[4]}
	if version == 4 && s.User.ID == "" && s.User.Email == "" {
		// Before 4.24.5 the cookies that hold state, nonce and code verifier of a
		// sign-in in progress were sealed with the same key (CVE-2023-48309), and
		// anybody can have those.
		return nil, fmt.Errorf("%w: the token names nobody", ErrNoSession)
	}
	if exp, ok := o.Int64("exp"); ok {
		s.Expires = time.Unix(exp, 0).UTC()
	}
	return s, nil
}
