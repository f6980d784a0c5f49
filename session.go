package gatebook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gatebook/gatebook/internal/bearer"
	"github.com/gatebook/gatebook/internal/claims"
	"github.com/gatebook/gatebook/internal/cookie"
	"github.com/gatebook/gatebook/record"
)

// ErrNoSession says that nobody is signed in: there is no session, or it has
// ended, or its token is none of ours. A store that cannot answer gives another
// error.
var ErrNoSession = errors.New("gatebook: no session")

// Session is a signed-in user's session.
type Session struct {
	// ID is the sid: random, made at sign-in, the same over every renewal. The
	// book's entries of this session have it.
	ID string
	// User is who is signed in: the adapter's row for database sessions, what
	// the token says for token sessions.
	User User
	// Expires is when the session ends unless it is used, UTC.
	Expires time.Time
	// Strategy is StrategyJWT or StrategyDatabase.
	Strategy string
	// Token holds the claims of a token session, Stored the row of a database
	// session.
	Token  *Claims
	Stored *StoredSession
	// Data is the session callback's output. It is empty when the session was
	// read outside the middleware.
	Data Claims

	subject record.Key
	foreign bool // another program began it, and maybe nothing tells of it yet
}

// Verify returns the session that token opens: the value of a session cookie or
// of a Bearer header. It runs no callback, renews nothing and sends no event, also
// of a session that another program began and nobody has met.
// The error matches [ErrNoSession] unless the store could not answer.
func (a *Auth) Verify(ctx context.Context, token string) (*Session, error) {
	if a.cfg.Session.Strategy == StrategyDatabase {
		found, err := a.storedSession(ctx, token)
		if err != nil {
			return nil, err
		}
		if !found.Session.Expires.After(a.now()) {
			return nil, fmt.Errorf("%w: it has expired", ErrNoSession)
		}
		return a.fromRow(ctx, found)
	}
	token, err := cookie.UnescapeComponent(token)
	if err != nil {
		return nil, fmt.Errorf("%w: malformed token", ErrNoSession)
	}
	c, foreign, err := a.openToken(ctx, token, a.now(), a.tokenSalts...)
	if err != nil {
		return nil, err
	}
	if _, err := a.noted(ctx, &c); err != nil {
		return nil, err
	}
	s := a.fromToken(c)
	s.foreign = foreign
	return s, nil
}

// Session returns the session of a request: the one that the middleware put
// into its context, or else what [Auth.Verify] says of its cookie or, without
// one, its Bearer header. A request for a host that the configuration does not
// trust has none.
func (a *Auth) Session(r *http.Request) (*Session, error) {
	if res := a.resolved(r); res != nil {
		return res.session, res.err
	}
	v, trusted := a.visit(r, "")
	token, _ := a.presented(v)
	switch {
	case token == "":
		return nil, ErrNoSession
	case !trusted:
		return nil, errHost
	}
	return a.Verify(r.Context(), token)
}

// resolved returns what the middleware found, or nil outside it.
func (a *Auth) resolved(r *http.Request) *resolved {
	if res, ok := r.Context().Value(sessionKey{}).(*resolved); ok && res.auth == a {
		return res
	}
	return nil
}

var errHost = fmt.Errorf("%w: the host is not trusted", ErrNoSession)

var errExpired = fmt.Errorf("%w: it has expired", ErrNoSession)

// openToken decodes a session token, with the keys of the given salts unless the
// application does it, and checks its times. A token without a sid is another
// program's and gets one. The claims of an expired token are returned with the
// error.
func (a *Auth) openToken(ctx context.Context, token string, now time.Time, salts ...string) (c Claims, foreign bool, err error) {
	o, err := a.decodeToken(ctx, token, salts)
	if err != nil {
		return c, false, err
	}
	if sub, ok := o.Get("sub"); ok && (!utf8.Valid(sub) || bytes.Contains(sub, []byte(`\u0000`))) {
		return c, false, fmt.Errorf("%w: the token's subject is no id", ErrNoSession)
	}
	if raw, ok := o.Get("sid"); !ok || raw[0] != '"' || len(raw) == 2 {
		id, ok := o.String("jti")
		if !ok {
			id = token
		}
		sid, err := a.foreignSID(ctx, id)
		if err != nil {
			return c, false, err
		}
		o.SetString("sid", sid)
		foreign = true
	}
	return Claims{o}, foreign, checkTimes(&o, now.Unix())
}

// checkTimes checks the times of a token or check cookie.
func checkTimes(o *claims.Object, now int64) error {
	err := o.CheckTimes(now)
	if err == nil {
		return nil
	}
	if errors.Is(err, claims.ErrExpired) {
		return errExpired
	}
	return fmt.Errorf("%w: %w", ErrNoSession, err)
}

func (a *Auth) fromToken(c Claims) *Session {
	s := &Session{Strategy: StrategyJWT, Token: &c}
	var t [5]string
	c.o.Texts(t[:], "sid", "sub", "name", "email", "picture")
	s.ID, s.User.ID, s.User.Name, s.User.Email, s.User.Image = t[0], t[1], t[2], t[3], t[4]
	if exp, ok := c.o.Int64("exp"); ok {
		s.Expires = time.Unix(exp, 0).UTC()
	}
	return s
}

func (a *Auth) fromRow(ctx context.Context, f *FoundSession) (*Session, error) {
	sid, err := a.sid(ctx, &f.Session)
	if err != nil {
		return nil, err
	}
	return &Session{ID: sid, User: f.User, Expires: f.Session.Expires, Strategy: StrategyDatabase,
		Stored: &f.Session, subject: f.Subject, foreign: f.Session.ID == ""}, nil
}

// maxRowToken is how long the token of a database session may be.
const maxRowToken = 1024

// storedSession reads a database session; ErrNoSession when there is none.
func (a *Auth) storedSession(ctx context.Context, token string) (*FoundSession, error) {
	if token == "" || len(token) > maxRowToken || !plainText(token) {
		return nil, ErrNoSession
	}
	found, err := a.adapter.Session(ctx, Secret(token))
	if errors.Is(err, ErrNotFound) {
		return nil, ErrNoSession
	}
	if err != nil {
		return nil, fmt.Errorf("read session: %w", err)
	}
	return found, nil
}

// sessionToEnd is storedSession for an act that rests on the row: an adapter may
// answer [Adapter.Session] from a cache.
func (a *Auth) sessionToEnd(ctx context.Context, token string) (*FoundSession, error) {
	if token == "" || len(token) > maxRowToken {
		return nil, ErrNoSession
	}
	found, err := a.find(ctx, Query{Session: Secret(token)})
	switch {
	case err != nil:
		return nil, fmt.Errorf("read session: %w", err)
	case found.Session == nil:
		return nil, ErrNoSession
	}
	return found.Session, nil
}

type sessionKey struct{}

// resolved is what the middleware found; it travels in the request's context.
type resolved struct {
	auth    *Auth
	visit   *visit
	session *Session
	err     error
}

// Middleware reads the session of each request once, renews it, sends the
// session event, and puts the session where [Auth.Session] finds it. It lets
// every request through; see [Auth.Require]. Requests under the base path are
// left to the handler.
func (a *Auth) Middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if a.ownPath(r.URL.EscapedPath()) {
			next.ServeHTTP(w, r)
			return
		}
		res := a.resolve(r)
		if len(res.visit.set) > 0 {
			// A shared cache must not hand one visitor's cookie to the next;
			// the application may say otherwise.
			w.Header().Set("Cache-Control", "private")
			sendCookies(w.Header(), res.visit)
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), sessionKey{}, res)))
	})
}

// ownPath reports whether the middleware leaves a path to the handler: all of
// the base path, or, when that is the root, the routes.
func (a *Auth) ownPath(path string) bool {
	_, own := a.underBase(path)
	if a.base == "" {
		_, _, own = a.route(path)
	}
	return own
}

// resolve reads the session of a request for the application.
func (a *Auth) resolve(r *http.Request) *resolved {
	v, trusted := a.visit(r, "")
	res := &resolved{auth: a, visit: v, err: ErrNoSession}
	token, fromCookie := a.presented(v)
	if token == "" {
		return res
	}
	f := a.handlers.begin(r.Context())
	defer f.close()
	if !trusted {
		res.err = errHost
		a.log.Error("host not trusted, so nobody is signed in there: set Config.URL (or AUTH_URL) to the site's address",
			"host", fmt.Sprintf("%.256q", r.Host))
		rec := a.newRecorder(v)
		a.noteOnce(r.Context(), f, &DefenceEvent{Envelope: rec.failure(record.TypeHostUntrusted, record.ReasonUntrustedHost),
			Check: "host", Why: "forbidden"}, "host", "")
		return res
	}
	res.session, res.err = a.readSession(r.Context(), v, f, token, fromCookie, nil)
	if res.err != nil && !errors.Is(res.err, ErrNoSession) && r.Context().Err() == nil {
		a.log.Error("read session", "error", res.err.Error())
	}
	return res
}

// presented returns the token of a visit and whether it came in the cookie.
func (a *Auth) presented(v *visit) (string, bool) {
	if value, _ := v.sessionChunks(); value != "" {
		return value, true
	}
	return bearer.Token(v.r.Header), false
}

// Require lets a request through when somebody is signed in. Otherwise pages
// (GET or HEAD that accept text/html) are sent to sign in and back, and anything
// else gets 401 with a JSON body; when the store cannot answer, 503. Behind
// [Auth.Middleware] it reads nothing again.
func (a *Auth) Require(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, err := a.Session(r)
		switch {
		case err == nil && s != nil:
			next.ServeHTTP(w, r)
		case !errors.Is(err, ErrNoSession):
			if a.resolved(r) == nil && r.Context().Err() == nil { // the middleware logs it itself
				a.log.Error("read session", "error", err.Error())
			}
			writeJSON(w, http.StatusServiceUnavailable, `{"error":"sessions cannot be read at the moment"}`)
		case (r.Method == http.MethodGet || r.Method == http.MethodHead) && strings.Contains(r.Header.Get("Accept"), "text/html"):
			here := r.URL.RequestURI()
			if strings.HasPrefix(r.RequestURI, "/") {
				here = r.RequestURI // the application may be mounted with http.StripPrefix
			}
			http.Redirect(w, r, withQuery(a.signInPath(), "callbackUrl", here), http.StatusFound)
		default:
			w.Header().Set("WWW-Authenticate", "Bearer")
			writeJSON(w, http.StatusUnauthorized, `{"error":"sign in first"}`)
		}
	})
}

func writeJSON(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write([]byte(body))
}

// withQuery appends a parameter to a path that may have a query already.
func withQuery(path, name, value string) string {
	sep := "?"
	if strings.Contains(path, "?") {
		sep = "&"
	}
	return path + sep + string(cookie.AppendForm(nil, name, value))
}

// update is a client's wish to change its session.
type update struct{ data json.RawMessage }

// readSession reads, renews and counts the session that token opens, and sends the
// session event.
func (a *Auth) readSession(ctx context.Context, v *visit, f *firing, token string, fromCookie bool, up *update) (*Session, error) {
	var s *Session
	var err error
	if a.cfg.Session.Strategy == StrategyDatabase {
		s, err = a.readRow(ctx, v, f, token, fromCookie, up)
	} else {
		s, err = a.readToken(ctx, v, f, token, fromCookie, up)
	}
	if err != nil {
		return nil, err
	}
	a.counts.add(s, v.now, false)
	if a.handlers.wantsSession() {
		r := a.newRecorder(v)
		r.actor = Actor{Type: record.ActorUser, ID: s.User.ID}
		ev := &SessionEvent{Envelope: r.envelope(record.TypeSession), Token: s.Token, Session: s.Stored, Result: &s.Data}
		ev.Subject, ev.Envelope.Session = s.User.ID, s.ID
		f.fire(ev)
	}
	return s, nil
}

// endCookies queues the removal of every cookie of the session.
func (a *Auth) endCookies(v *visit) {
	_, names := v.sessionChunks()
	v.clearHostOnly(names)
	for _, n := range names {
		v.clear(sessionCookie, n)
	}
}

// invalid notes a session cookie or token that opens nothing.
func (a *Auth) invalid(ctx context.Context, v *visit, f *firing, reason string) {
	r := a.newRecorder(v)
	a.log.Warn("session token opens nothing", "reason", reason, "client_address", r.request.IP.String())
	a.noteOnce(ctx, f, &SessionInvalidEvent{r.failure(record.TypeSessionInvalid, reason)}, "", "")
}

// readToken is the read of a token session (Auth.js: session route, jwt
// strategy): open, jwt callback, session callback, encode anew.
func (a *Auth) readToken(ctx context.Context, v *visit, f *firing, token string, fromCookie bool, up *update) (*Session, error) {
	salts := []string{v.cookieName(sessionCookie)}
	if !fromCookie {
		salts = a.tokenSalts // whoever sends it may know the site by another scheme
	}
	c, foreign, err := a.openToken(ctx, token, v.now, salts...)
	if err != nil && !errors.Is(err, ErrNoSession) {
		return nil, err
	}
	if err != nil {
		if fromCookie {
			a.endCookies(v)
		}
		if errors.Is(err, errExpired) {
			a.tokenExpired(ctx, v, f, a.fromToken(c))
		} else {
			a.invalid(ctx, v, f, record.ReasonSessionInvalid)
		}
		return nil, err
	}
	note, err := a.noted(ctx, &c)
	if errors.Is(err, ErrNoSession) {
		if fromCookie {
			a.endCookies(v)
		}
		a.invalid(ctx, v, f, record.ReasonSessionRevoked)
	}
	if err != nil {
		return nil, err
	}
	if foreign {
		if err := a.meetSession(ctx, v, f, token, &Session{Strategy: StrategyJWT, Token: &c, foreign: true}); err != nil {
			return nil, err
		}
	}
	next := &c
	if a.cfg.Callbacks.JWT != nil {
		p := &JWTParams{Token: c.Clone()}
		if up != nil {
			p.Trigger, p.Update = "update", up.data
		}
		if next, err = a.callJWT(ctx, p, c); err != nil || next == nil {
			if fromCookie {
				a.endCookies(v)
			}
			if err != nil {
				a.log.Error("jwt callback failed", "error_type", errorType(err))
			}
			return nil, ErrNoSession
		}
	}
	s := a.fromToken(*next)
	s.Expires = v.now.Add(a.cfg.Session.MaxAge)
	s.Data = tokenView(next, s.Expires)
	if a.cfg.Callbacks.Session != nil {
		p := &SessionParams{Session: s.Data, Token: new(next.Clone())}
		if err := a.callSession(ctx, p, s); err != nil {
			if fromCookie {
				a.endCookies(v)
			}
			return nil, ErrNoSession
		}
	}
	if fromCookie {
		token, err := a.encodeToken(ctx, v, next)
		if err != nil { // the session goes on as it came
			a.log.Error("the session token was not renewed", "error_type", errorType(err))
			return s, nil
		}
		if err := a.renewNote(ctx, v, s, note); err != nil {
			if errors.Is(err, ErrNoSession) { // revoked meanwhile
				a.endCookies(v)
			}
			return nil, err
		}
		a.sendSession(v, token, s.Expires)
	} else if note != nil && lastsUntil(s.Token, v.now).After(note.Expires) { // another program renewed it
		if err := a.renewNote(ctx, v, s, note); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// callJWT calls the jwt callback. What the token must keep is put back if the
// callback dropped it: the sid.
func (a *Auth) callJWT(ctx context.Context, p *JWTParams, before Claims) (out *Claims, err error) {
	defer func() {
		if v := recover(); v != nil {
			out, err = nil, panicError(v)
		}
	}()
	out, err = a.cfg.Callbacks.JWT(ctx, p)
	if err != nil || out == nil {
		return nil, err
	}
	if sid, ok := before.o.String("sid"); ok {
		out.o.SetString("sid", sid)
	}
	return out, nil
}

// callSession calls the session callback and keeps its output.
func (a *Auth) callSession(ctx context.Context, p *SessionParams, s *Session) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = panicError(v)
		}
		if err != nil {
			a.log.Error("session callback failed", "error_type", errorType(err))
		}
	}()
	out, err := a.cfg.Callbacks.Session(ctx, p)
	if err != nil {
		return err
	}
	if out == nil {
		return errors.New("the session callback returned nothing")
	}
	s.Data = *out
	return nil
}

// sendSession queues the session cookie and the removal of chunks it replaces.
func (a *Auth) sendSession(v *visit, value string, expires time.Time) {
	name := v.cookieName(sessionCookie)
	_, names := v.sessionChunks()
	v.clearHostOnly(names)
	if len(value) <= cookie.ChunkSize && len(names) == 1 && names[0] == name { // nearly always
		v.add(sessionCookie, cookie.Cookie{Name: name, Value: value, Expires: expires})
		return
	}
	parts := cookie.Split(name, value)
	if len(names) != 1 || len(parts) != 1 || names[0] != parts[0].Name {
		for _, n := range names {
			v.clear(sessionCookie, n)
		}
	}
	for _, p := range parts {
		v.add(sessionCookie, cookie.Cookie{Name: p.Name, Value: p.Value, Expires: expires})
	}
}

// tokenView is the default output of the session callback for a token: absent
// claims stay absent and null ones null, as in Auth.js.
func tokenView(c *Claims, expires time.Time) Claims {
	b := append(make([]byte, 0, 256), '{')
	sep := ""
	for _, m := range [...][2]string{{`"name":`, "name"}, {`"email":`, "email"}, {`"image":`, "picture"}} {
		n := len(b)
		var ok bool
		if b, ok = c.o.AppendMember(append(append(b, sep...), m[0]...), m[1]); ok {
			sep = ","
		} else {
			b = b[:n]
		}
	}
	return view(append(b, '}'), expires)
}

// view returns the object {"user":…,"expires":…} in which user is the JSON given;
// the rest of its memory is used too.
func view(user []byte, expires time.Time) Claims {
	n := len(user)
	b := append(user, '"')
	// As toISOString of ECMAScript: always with three digits of a second.
	b = expires.UTC().AppendFormat(b, time.RFC3339)
	ms := expires.Nanosecond() / int(time.Millisecond)
	b = append(b[:len(b)-1], '.', byte('0'+ms/100), byte('0'+ms/10%10), byte('0'+ms%10), 'Z', '"')
	return Claims{claims.Of(claims.Member{Name: "user", Value: b[:n:n]}, claims.Member{Name: "expires", Value: b[n:len(b):len(b)]})}
}

// sessionExpired returns the event of a session that has run out.
func (r *recorder) sessionExpired(u *User, strategy, sid string) *SessionExpiredEvent {
	ev := &SessionExpiredEvent{Envelope: r.envelope(record.TypeSessionExpired), User: u.clone(), strategy: strategy}
	ev.Subject, ev.Session = u.ID, sid
	return ev
}

// tokenExpired notes that a session token had run out, once for each session.
func (a *Auth) tokenExpired(ctx context.Context, v *visit, f *firing, s *Session) {
	seen := a.newRecorder(v).sessionExpired(&s.User, s.Strategy, s.ID)
	if !a.counts.first(repeatKey{typ: record.TypeSessionExpired, sid: s.ID}, a.now(), seen) {
		return
	}
	err := retry(func() error {
		r := a.newRecorder(v)
		u, c, err := r.meetID(ctx, nil, s.User)
		if err != nil {
			return err
		}
		c.does(r.sessionExpired(&s.User, s.Strategy, s.ID), keys{subject: u.Subject})
		return a.act(ctx, f, c)
	})
	if err != nil {
		a.log.Error("record session.expired", "error", err.Error())
	}
}

// readRow is the read of a database session (Auth.js: session route, database
// strategy).
func (a *Auth) readRow(ctx context.Context, v *visit, f *firing, token string, fromCookie bool, up *update) (*Session, error) {
	found, err := a.storedSession(ctx, token)
	if errors.Is(err, ErrNoSession) {
		if fromCookie {
			a.endCookies(v)
		}
		a.invalid(ctx, v, f, record.ReasonSessionInvalid)
		return nil, err
	}
	if err != nil {
		return nil, err
	}
	s, err := a.fromRow(ctx, found)
	if err != nil {
		return nil, err
	}
	if !s.Expires.After(v.now) {
		if fromCookie {
			a.endCookies(v)
		}
		return nil, a.rowExpired(ctx, v, f, token, s)
	}
	if err := a.meetSession(ctx, v, f, token, s); err != nil {
		if fromCookie && errors.Is(err, ErrNoSession) {
			a.endCookies(v)
		}
		return nil, err
	}
	expires := v.now.Add(a.cfg.Session.MaxAge)
	if age := a.cfg.Session.MaxAge - s.Expires.Sub(v.now); age >= max(a.cfg.Session.UpdateAge, 0) {
		switch err := a.adapter.ExtendSession(ctx, Secret(token), expires); {
		case errors.Is(err, ErrNotFound): // ended meanwhile
			if fromCookie {
				a.endCookies(v)
			}
			return nil, ErrNoSession
		case err != nil:
			return nil, fmt.Errorf("extend session: %w", err)
		}
		a.counts.add(s, v.now, true)
	}
	s.Data = rowView(s)
	if a.cfg.Callbacks.Session != nil {
		p := &SessionParams{Session: s.Data, User: s.User.clone(), Stored: s.Stored.clone()}
		if up != nil {
			p.Trigger, p.Update = "update", up.data
		}
		if err := a.callSession(ctx, p, s); err != nil {
			return nil, fmt.Errorf("%w: the session callback failed", ErrNoSession)
		}
	}
	if fromCookie {
		a.sendSession(v, token, expires)
	}
	return s, nil
}

// rowView is the default output of the session callback for a row.
func rowView(s *Session) Claims {
	b := make([]byte, 0, 256)
	b = append(b, `{"name":`...)
	b = appendNullable(b, s.User.Name)
	b = append(b, `,"email":`...)
	b = appendNullable(b, s.User.Email)
	b = append(b, `,"image":`...)
	b = appendNullable(b, s.User.Image)
	return view(append(b, '}'), s.Expires)
}

func appendNullable(dst []byte, s string) []byte {
	if s == "" {
		return append(dst, "null"...)
	}
	return claims.AppendString(dst, s)
}

// rowExpired removes a row that has run out, with its event. Of several that meet
// it, requests and the housekeeping, one does.
func (a *Auth) rowExpired(ctx context.Context, v *visit, f *firing, token string, s *Session) error {
	err := retry(func() error {
		r := a.newRecorder(v)
		u := &FoundUser{User: s.User, Subject: s.subject}
		c := r.meet(u)
		c.does(r.sessionExpired(&s.User, s.Strategy, s.ID), keys{subject: u.Subject}, DeleteSession{Handle: s.Stored.Handle})
		err := a.act(ctx, f, c)
		if !isConflict(err) {
			return err
		}
		// Whoever came first removed it, or another program renewed it.
		if rerr := a.readAgain(ctx, token, s); rerr != nil || s.Expires.After(v.now) {
			return rerr
		}
		return err
	})
	if err != nil && !errors.Is(err, ErrNoSession) {
		return fmt.Errorf("remove expired session: %w", err)
	}
	return errExpired
}
