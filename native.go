package gatebook

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/gatebook/gatebook/internal/claims"
	"github.com/gatebook/gatebook/internal/cookie"
	"github.com/gatebook/gatebook/internal/csrf"
	"github.com/gatebook/gatebook/internal/pages"
	"github.com/gatebook/gatebook/internal/redirect"
	"github.com/gatebook/gatebook/record"
)

// TypeNative is the type of the account in the signIn of a native client, which
// redeemed a code from the browser; its Provider is how the person signed in
// there, where that is known.
const TypeNative = "native"

const (
	// nativeSalt separates the keys of one-time codes from all others.
	nativeSalt = "gatebook.native-code"
	// nativeAge is how long a code works.
	nativeAge = time.Minute
	// maxNativeState is how long a client's state may be.
	maxNativeState = 512
)

// Forms of RFC 7636: a challenge is a SHA-256 in base64url (Section 4.2), a
// verifier 43 to 128 unreserved characters (Section 4.1).
var (
	challengeForm = regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`)
	verifierForm  = regexp.MustCompile(`^[A-Za-z0-9._~-]{43,128}$`)
)

// nativeRequest is the authorization request of a native client (RFC 6749, Section
// 4.1.1, and RFC 7636, Section 4.3).
type nativeRequest struct{ redirectURI, challenge, state string }

// readNative reads the request of a client from the query or the form, and answers
// what is wrong with it. The client is told of its mistakes only at an address
// that was allowed (RFC 6749, Section 4.1.2.1).
func (x *exchange) readNative(params map[string]string) (*nativeRequest, bool) {
	n := &nativeRequest{redirectURI: params["redirect_uri"], challenge: params["code_challenge"], state: params["state"]}
	if !redirect.Native(n.redirectURI, x.a.cfg.NativeRedirects) {
		r := x.a.newRecorder(x.visit)
		x.a.noteOnce(x.r.Context(), x.firing, &DefenceEvent{Envelope: r.failure(record.TypeRedirectRejected, record.ReasonInvalidRedirect),
			Check: "redirect_uri", Why: "forbidden"}, "native", "")
		x.fail(&routeError{step: "redirect_uri of a native client is none of Config.NativeRedirects", reason: record.ReasonInvalidRedirect})
		return nil, false
	}
	if len(n.state) > maxNativeState {
		n.state = ""
		x.toClient(n, "error", "invalid_request")
		return nil, false
	}
	if kind := params["response_type"]; kind != "" && kind != "code" {
		x.toClient(n, "error", "unsupported_response_type")
		return nil, false
	}
	// Only S256: with the plain method whoever sees the request has the verifier.
	if params["code_challenge_method"] != "S256" || !challengeForm.MatchString(n.challenge) {
		x.toClient(n, "error", "invalid_request")
		return nil, false
	}
	return n, true
}

// toClient sends the browser back to the client with a parameter and its state.
// Whoever asks for JSON in place of a redirect is a script and gets none: with
// what it reads there it could carry off a session.
func (x *exchange) toClient(n *nativeRequest, name, value string) {
	to := withQuery(n.redirectURI, name, value)
	if n.state != "" {
		to = withQuery(to, "state", n.state)
	}
	h := x.w.Header()
	h["Location"] = []string{to}
	noCache(h)
	sendCookies(h, x.visit)
	x.w.WriteHeader(http.StatusFound)
}

// nativePage answers the browser that a native client opened: whoever is not
// signed in signs in and comes back here; then the page asks whether the client
// may. It asks, because another program may have taken the client's scheme (RFC
// 8252, Section 8.6).
func (x *exchange) nativePage() {
	n, ok := x.readNative(x.query)
	if !ok {
		return
	}
	s, err := x.browserSession()
	if errors.Is(err, ErrNoSession) {
		x.redirect(x.origin + withQuery(x.a.signInPath(), "callbackUrl", x.origin+x.a.base+"/native?"+n.query()))
		return
	}
	if err != nil {
		x.fail(&routeError{step: "read session", reason: record.ReasonStoreError, err: err})
		return
	}
	who := s.User.Email
	if who == "" {
		who = s.User.Name
	}
	x.page(x.a.pages.Native(pages.Native{Client: redirect.NativeName(n.redirectURI), User: who, CSRFToken: x.csrfToken,
		Action: x.origin + x.a.base + "/native", RedirectURI: n.redirectURI, Challenge: n.challenge, State: n.state}))
}

func (n *nativeRequest) query() string {
	b := cookie.AppendForm(nil, "redirect_uri", n.redirectURI)
	b = cookie.AppendForm(b, "code_challenge", n.challenge)
	b = cookie.AppendForm(b, "code_challenge_method", "S256")
	if n.state != "" {
		b = cookie.AppendForm(b, "state", n.state)
	}
	return string(b)
}

// browserSession is the session of the browser's cookie. A Bearer header is not
// looked at: no browser sends one to a page.
func (x *exchange) browserSession() (*Session, error) {
	token, _ := x.sessionChunks()
	if token == "" {
		return nil, ErrNoSession
	}
	s, err := x.a.Verify(x.r.Context(), token)
	if err == nil {
		err = x.a.meetSession(x.r.Context(), x.visit, x.firing, token, s)
	}
	return s, err
}

// grantNative answers the page's form: the client gets a one-time code.
func (x *exchange) grantNative() {
	if !x.csrfOK {
		x.failCSRF()
		return
	}
	n, ok := x.readNative(x.form)
	if !ok {
		return
	}
	s, err := x.browserSession()
	switch {
	case errors.Is(err, ErrNoSession):
		x.toClient(n, "error", "access_denied")
		return
	case err != nil:
		x.toClient(n, "error", "temporarily_unavailable")
		return
	}
	var o claims.Object
	o.SetString("redirect_uri", n.redirectURI)
	o.SetString("code_challenge", n.challenge)
	o.SetString("user", s.User.ID)
	// The session to come has its own sid from the start, so that a code that is
	// used twice can end it.
	o.SetString("sid", newSID())
	o.SetString("from", s.ID)
	if s.Stored != nil {
		o.SetString("provider", s.Stored.Provider)
	}
	if s.Token != nil {
		t := s.Token.Clone()
		for _, name := range []string{"sid", "iat", "exp", "jti"} {
			t.Delete(name)
		}
		_ = o.SetRaw("claims", t.o.Append(nil)) // an object is JSON
	}
	o.SetInt64("exp", x.now.Add(nativeAge).Unix())
	o.SetString("jti", uuid.NewString())
	x.toClient(n, "code", string(x.a.codecs[nativeSalt].Seal(nil, o.Append(nil))))
}

// nativeCode is what a one-time code says.
type nativeCode struct {
	redirectURI, challenge string
	user, sid, provider    string
	from                   string // the sid of the browser's session
	claims                 Claims
	digest                 [32]byte
}

// openCode opens a code; reason says why it is none.
func (a *Auth) openCode(code string, now time.Time) (*nativeCode, string) {
	payload, err := a.codecs[nativeSalt].Open(nil, code)
	if err != nil {
		return nil, record.ReasonTokenUnknown
	}
	o, err := claims.Parse(payload)
	if err != nil {
		return nil, record.ReasonTokenUnknown
	}
	c := &nativeCode{}
	var t [7]string
	o.Texts(t[:], "redirect_uri", "code_challenge", "user", "sid", "provider", "jti", "from")
	c.redirectURI, c.challenge, c.user, c.sid, c.provider, c.from = t[0], t[1], t[2], t[3], t[4], t[6]
	c.digest = checkDigest("native", t[5])
	if raw, ok := o.Get("claims"); ok {
		if c.claims, err = ParseClaims(raw); err != nil {
			return nil, record.ReasonTokenUnknown
		}
	}
	if exp, _ := o.Int64("exp"); exp <= now.Unix() {
		return c, record.ReasonTokenExpired
	}
	return c, ""
}

// redeemNative answers the token request of a native client (RFC 6749, Section
// 4.1.3): for a code and its verifier it gets a session of its own, which begins
// with an act like any other.
func (x *exchange) redeemNative() {
	// No client sends cookies. Those of a browser, which another page of the same
	// domain may have sent here, must not take part.
	x.session, x.sessionNames, x.sessionRead = "", nil, true
	if kind := x.form["grant_type"]; kind != "" && kind != "authorization_code" {
		x.nativeError(http.StatusBadRequest, "unsupported_grant_type", "the only grant type is authorization_code")
		return
	}
	if x.form["code"] == "" || !verifierForm.MatchString(x.form["code_verifier"]) || x.form["redirect_uri"] == "" {
		x.nativeError(http.StatusBadRequest, "invalid_request",
			"send code, code_verifier (43 to 128 characters) and redirect_uri as a form")
		return
	}
	c, reason := x.a.openCode(x.form["code"], x.now)
	no := refused{auth: ProviderInfo{Type: TypeNative}, reason: reason, step: "code of a native client"}
	switch {
	case reason != "":
	case c.redirectURI != x.form["redirect_uri"]:
		no.reason = record.ReasonInvalidRedirect
	case !csrf.Equal(challengeOf(x.form["code_verifier"]), c.challenge):
		no.reason, no.cause, no.check, no.why = record.ReasonPKCEFailed, record.TypeCheckFailed, "pkce", "mismatch"
		// Whoever has the code but not its verifier does not try again.
		no.writes = []Write{UseCheck{Digest: c.digest, Expires: x.now.Add(2 * nativeAge)}}
	default:
		x.beginNative(c)
		return
	}
	x.refuse(no)
}

func challengeOf(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// beginNative carries out the sign-in of a native client.
func (x *exchange) beginNative(c *nativeCode) {
	info := ProviderInfo{ID: c.provider, Type: TypeNative}
	ctx := context.WithoutCancel(x.r.Context())
	found, err := x.a.find(ctx, Query{UserID: c.user, Check: c.digest})
	goesOn := false
	if err == nil {
		goesOn, err = x.a.goesOn(ctx, c.user, c.from)
	}
	if err != nil {
		x.storeFailed(info, err)
		return
	}
	in := &proved{info: info, method: TypeNative, auth: AuthInfo{Provider: c.provider, Method: TypeNative},
		account: Account{Type: TypeNative, Provider: c.provider, ProviderAccountID: c.user, UserID: c.user},
		query:   Query{UserID: c.user, Check: c.digest}, check: c.digest,
		use: []Write{UseCheck{Digest: c.digest, Expires: x.now.Add(2 * nativeAge)}}, newSID: c.sid, claims: c.claims, from: c.from}
	switch {
	case found.CheckUsed:
		x.endNative(ctx, in)
		x.refuse(x.replay(in))
		return
	case !goesOn:
		x.refuse(refused{auth: info, reason: record.ReasonSessionRevoked, step: "the browser's session has ended", known: found.ByID, writes: in.use})
		return
	case found.ByID != nil:
		in.profile = found.ByID.User
	case c.claims.Len() > 0: // whom Authorize returned is no user of the adapter
		in.profile = x.a.fromToken(c.claims).User
	default:
		x.refuse(refused{auth: info, reason: record.ReasonTokenUnknown, step: "the code's user is gone", writes: in.use})
		return
	}
	x.finish(in)
}

// endNative ends the session that was begun with a code, which comes again (one of
// the two who have it has stolen it; RFC 6749, Section 10.5) or was granted by a
// session that has ended.
func (x *exchange) endNative(ctx context.Context, in *proved) {
	if x.a.listed() {
		// A code may have been used up without a session: nothing is to be told of
		// one that never was.
		found, err := x.a.find(ctx, Query{TokenSession: x.a.listID(in.newSID)})
		if err == nil && found.TokenSession == nil {
			return
		}
	}
	err := x.a.RevokeSession(ctx, in.query.UserID, in.newSID)
	if err != nil && !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrNotRevocable) {
		x.a.log.Error("end the session of a native client", "error", err.Error())
	}
}

// sendNative answers with the session that has begun (RFC 6749, Section 5.1),
// unless the one that granted it ended while it did: whoever ends all sessions
// lists them once more afterwards, so that one of the two sees the other.
func (x *exchange) sendNative(in *proved) {
	ctx := context.WithoutCancel(x.r.Context())
	switch goesOn, err := x.a.goesOn(ctx, in.query.UserID, in.from); {
	case err != nil:
		x.endNative(ctx, in)
		x.fail(&routeError{step: "read the browser's session", reason: record.ReasonStoreError, err: err})
		return
	case !goesOn:
		x.endNative(ctx, in)
		x.fail(&routeError{step: "the browser's session ended meanwhile", reason: record.ReasonSessionRevoked})
		return
	}
	name := x.cookieName(sessionCookie)
	token, age := "", x.a.cfg.Session.MaxAge
	for _, c := range x.set { // in chunks where it is long, in their order
		if !c.HasMaxAge && (c.Name == name || strings.HasPrefix(c.Name, name+".")) {
			token += c.Value
		}
	}
	if x.a.cfg.Session.Strategy == StrategyJWT {
		age = x.a.cfg.Session.TokenMaxAge
	}
	b := claims.AppendString([]byte(`{"access_token":`), token)
	b = append(b, `,"token_type":"Bearer","expires_in":`...)
	b = strconv.AppendInt(b, int64(age/time.Second), 10)
	x.nativeAnswer(http.StatusOK, append(b, '}'))
}

// nativeFailed answers a token request that came to nothing.
func (x *exchange) nativeFailed(e *routeError) {
	switch e.reason {
	case record.ReasonStoreError, record.ReasonInternal:
		x.nativeError(http.StatusServiceUnavailable, "temporarily_unavailable", "the session could not be made; sign in again")
	case record.ReasonAccessDenied:
		x.nativeError(http.StatusBadRequest, "access_denied", "the sign-in was refused")
	default:
		x.nativeError(http.StatusBadRequest, "invalid_grant", "the code is unknown, expired, used, or another's; sign in again")
	}
}

func (x *exchange) nativeError(status int, code, text string) {
	x.nativeAnswer(status, fmt.Appendf(nil, `{"error":%q,"error_description":%q}`, code, text))
}

func (x *exchange) nativeAnswer(status int, body []byte) {
	h := x.w.Header()
	noCache(h)
	h["Cache-Control"] = []string{"no-store"} // RFC 6749, Section 5.1
	h["Content-Type"] = []string{"application/json"}
	x.w.WriteHeader(status)
	x.w.Write(body)
}
