package authjs

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/gatebook/gatebook/internal/bearer"
	"github.com/gatebook/gatebook/internal/cookie"
)

// Session returns the session of a request: the one that [Reader.Require] found,
// or else that of its session cookie or, if it has none, of its Authorization
// header. The error matches [ErrNoSession]. Of a request that did not come
// through net/http, such as a gRPC call, the header alone is needed.
func (rd *Reader) Session(r *http.Request) (*Session, error) {
	if f, ok := r.Context().Value(sessionKey{}).(*found); ok && f.by == rd {
		return f.session, nil
	}
	s, _, err := rd.read(r)
	return s, err
}

type sessionKey struct{}

// found is what Require leaves for Session.
type found struct {
	by      *Reader
	session *Session
}

// read returns the session of a request and whether it came in a cookie.
func (rd *Reader) read(r *http.Request) (s *Session, fromCookie bool, err error) {
	jar := cookie.Parse(r.Header["Cookie"])
	secureOnly := rd.secureOnly || r.TLS != nil
	for i := range rd.sources {
		src := &rd.sources[i]
		if secureOnly && !src.secure || !mentions(r.Header["Cookie"], src.cookie) {
			continue
		}
		token, _ := jar.Chunks(src.cookie)
		if token == "" {
			continue
		}
		fromCookie = true
		if s, err = rd.open(src, token); err == nil {
			return s, true, nil
		}
	}
	if fromCookie {
		return nil, true, err
	}
	if token := bearer.Token(r.Header); token != "" {
		s, err = rd.Verify(token)
		return s, false, err
	}
	return nil, false, errNothing
}

var errNothing = fmt.Errorf("%w: the request has no session cookie and no Bearer token", ErrNoSession)

// mentions tells cheaply that no cookie is called name.
func mentions(header []string, name string) bool {
	for _, h := range header {
		if strings.Contains(h, name) {
			return true
		}
	}
	return false
}

// Require lets a request through when somebody is signed in, and [Reader.Session]
// says who without reading it again. Otherwise the answer is 401 with a JSON
// body. A request that could change something (any method but GET, HEAD and
// OPTIONS) or opens a WebSocket, comes with a cookie, and was sent by a page of
// another origin than those of Config and the service's own, gets 403: a browser
// adds the cookie whoever asks.
func (rd *Reader) Require(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, fromCookie, err := rd.read(r)
		switch {
		case err != nil:
			w.Header().Set("WWW-Authenticate", "Bearer")
			refuse(w, http.StatusUnauthorized, `{"error":"sign in first"}`)
		case fromCookie && rd.foreign(r):
			refuse(w, http.StatusForbidden, `{"error":"this site may not do that"}`)
		default:
			ctx := context.WithValue(r.Context(), sessionKey{}, &found{rd, s})
			next.ServeHTTP(w, r.WithContext(ctx))
		}
	})
}

// foreign reports whether the page that sent r may not send such requests.
func (rd *Reader) foreign(r *http.Request) bool {
	if r.Header.Get("Upgrade") != "" {
		// A WebSocket begins with a GET, and no rule of CORS keeps a page from
		// opening one and reading what comes.
		as := *r
		as.Method = http.MethodPost
		r = &as
	}
	return rd.csrf.Check(r) != nil
}

func refuse(w http.ResponseWriter, status int, body string) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	w.Write([]byte(body))
}

// CORS lets the pages of Config.Origins read answers and send cookies (Fetch
// Standard, Section 3.3). It answers preflights and adds headers to the answers
// of next; put it around [Reader.Require], so that pages can read a 401 too.
// Requests of other origins get the answer without those headers, and their
// preflights 403.
func (rd *Reader) CORS(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !rd.cors.Answer(w, r) {
			next.ServeHTTP(w, r)
		}
	})
}
