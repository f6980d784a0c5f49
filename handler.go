package gatebook

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/gatebook/gatebook/internal/claims"
	"github.com/gatebook/gatebook/internal/cookie"
	"github.com/gatebook/gatebook/internal/csrf"
	"github.com/gatebook/gatebook/internal/redirect"
	"github.com/gatebook/gatebook/record"
)

// Limits of what a request may bring.
const (
	maxBody = 1 << 20 // bytes of a body
	// maxParams is how many fields a form, a JSON body or a query may have:
	// what is done with them must not grow with the square of their number.
	maxParams = 500
	// maxCallback is how long a callback URL may be, absolute and encoded: it
	// goes into a cookie, a header and a mail, which others have to carry.
	maxCallback = 2048
)

// ServeHTTP serves the routes under the base path as an Auth.js v5 server does:
// csrf, providers, session, signin, signout, callback, error, verify-request,
// webauthn-options; and, for native clients, native and native-token.
// Beside them account, account/unlink and account/sessions/revoke let a user see
// and change how they sign in and where they are signed in.
func (a *Auth) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.cors(w, r)
	action, provider, ok := a.route(r.URL.EscapedPath())
	if !ok {
		if _, under := a.underBase(r.URL.EscapedPath() + "/"); !under {
			a.log.Warn("path is not under the base path: mount the handler there, without http.StripPrefix", "base", a.base)
		}
		badRequest(w)
		return
	}
	switch r.Method {
	case http.MethodGet, http.MethodPost, http.MethodHead:
	case http.MethodOptions:
		w.Header().Set("Allow", allowMethods)
		w.WriteHeader(http.StatusNoContent)
		return
	default:
		w.Header().Set("Allow", allowMethods)
		writeJSON(w, http.StatusMethodNotAllowed, `"Method not allowed."`)
		return
	}
	route := action
	switch {
	case a.providers[provider] != nil:
		route += "/" + provider
	case provider != "":
		// What is none of ours is not repeated in logs and the book: it may be
		// anything, a secret too.
		route += "/?"
	}
	v, trusted := a.visit(r, route)
	x := &exchange{a: a, w: w, visit: v, action: action, provider: provider}
	x.firing = a.handlers.begin(r.Context())
	defer x.firing.close()
	if !trusted {
		x.untrustedHost()
		return
	}
	if !x.readQuery() || !x.readForm() {
		return
	}
	x.readCSRF()
	if accountRoutes[action] != "" {
		x.account()
		return
	}
	if err := x.readCallbackURL(); err != nil {
		x.fail(err)
		return
	}
	x.dispatch()
}

// underBase returns what follows the base path and its slash.
func (a *Auth) underBase(path string) (string, bool) {
	rest, ok := strings.CutPrefix(path, a.base)
	if !ok || rest == "" || rest[0] != '/' {
		return "", false
	}
	return rest[1:], true
}

// route reads action and provider from a path; repeated and trailing slashes do
// no harm.
func (a *Auth) route(path string) (action, provider string, ok bool) {
	rest, ok := a.underBase(path)
	if !ok {
		return "", "", false
	}
	var parts [3]string
	n := 0
	for part := range strings.SplitSeq(rest, "/") {
		if part == "" {
			continue
		}
		if n == len(parts) {
			return "", "", false
		}
		parts[n] = part
		n++
	}
	if parts[0] == "account" {
		action = strings.Join(parts[:n], "/")
		return action, "", accountRoutes[action] != ""
	}
	if n == len(parts) {
		return "", "", false
	}
	action, provider = parts[0], parts[1]
	switch action {
	case "signin", "callback", "webauthn-options":
	case "providers", "session", "csrf", "signout", "verify-request", "error":
		if n != 1 {
			return "", "", false
		}
	case "native", "native-token":
		if n != 1 || len(a.cfg.NativeRedirects) == 0 {
			return "", "", false
		}
	default:
		return "", "", false
	}
	if provider == "undefined" {
		provider = "" // what some clients send for none
	}
	return action, provider, true
}

func badRequest(w http.ResponseWriter) { writeJSON(w, http.StatusBadRequest, `"Bad request."`) }

// exchange is a request under the base path and its answer.
type exchange struct {
	*visit
	a        *Auth
	w        http.ResponseWriter
	firing   *firing
	action   string
	provider string

	params     []Param // of the query, in order
	query      map[string]string
	form       map[string]string
	fields     []Param         // of a form that was posted, in order
	data       json.RawMessage // the member data of the body, as JSON
	csrfToken  string
	csrfCookie string // the value that is to be set, or empty
	csrfOK     bool   // a POST with the token of its cookie, from no foreign origin
	callback   string // the resolved callback URL

	failed error // what an act of the application came to
}

// readQuery reads the query, of a name the last value. It reports false after it
// has answered.
func (x *exchange) readQuery() bool {
	var ok bool
	if x.params, ok = parseForm(x.r.URL.RawQuery); !ok {
		return x.refuseRequest(http.StatusBadRequest, "the query has too many parameters")
	}
	x.query = lastValues(x.params)
	return true
}

// refuseRequest answers a request that cannot be read.
func (x *exchange) refuseRequest(status int, why string) bool {
	attrs := []any{"route", x.route, "reason", why, "client.address", x.a.request(x.visit).IP.String()}
	x.a.log.Warn("request refused", attrs...)
	if status == http.StatusRequestEntityTooLarge {
		writeJSON(x.w, status, `"The request body is larger than 1 MiB."`)
		return false
	}
	badRequest(x.w)
	return false
}

// readForm reads the body of a POST: JSON or a form, of a name the last value.
// It reports false after it has answered.
func (x *exchange) readForm() bool {
	if x.r.Method != http.MethodPost {
		return true
	}
	x.form = map[string]string{}
	body, err := io.ReadAll(http.MaxBytesReader(x.w, x.r.Body, maxBody))
	if err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return x.refuseRequest(http.StatusRequestEntityTooLarge, "the body is larger than 1 MiB")
		}
		return x.refuseRequest(http.StatusBadRequest, "the body could not be read")
	}
	typ, _, _ := mime.ParseMediaType(x.r.Header.Get("Content-Type"))
	switch typ {
	case "application/json":
		if len(bytes.TrimSpace(body)) == 0 {
			return true
		}
		o, err := claims.Parse(body)
		if err != nil {
			return x.refuseRequest(http.StatusBadRequest, "the body is no JSON object")
		}
		if o.Len() > maxParams {
			return x.refuseRequest(http.StatusBadRequest, "the body has too many fields")
		}
		for name := range o.Names() {
			if s, ok := o.String(name); ok {
				x.form[name] = s
			}
		}
		x.data, _ = o.Get("data")
	case "application/x-www-form-urlencoded":
		fields, ok := parseForm(string(body))
		if !ok {
			return x.refuseRequest(http.StatusBadRequest, "the body has too many fields")
		}
		x.fields = fields
		for _, f := range fields {
			x.form[f.Name] = f.Value
		}
		if data, ok := x.form["data"]; ok {
			x.data = claims.AppendString(nil, data)
		}
	}
	return true
}

// lastValues gives each name its last value.
func lastValues(params []Param) map[string]string {
	if len(params) == 0 {
		return nil // most requests have no query
	}
	out := make(map[string]string, len(params))
	for _, p := range params {
		out[p.Name] = p.Value
	}
	return out
}

// readCSRF keeps the token of a good cookie or makes a new one, and says whether
// a POST is one of ours.
func (x *exchange) readCSRF() {
	name := x.cookieName(csrfCookie)
	if value, ok := x.jar.Get(name); ok {
		if token, ok := x.a.csrf.Verify(value); ok {
			x.csrfToken = token
			x.csrfOK = x.r.Method == http.MethodPost && csrf.Equal(x.form["csrfToken"], token) && !x.foreign()
			return
		}
	}
	x.csrfToken, x.csrfCookie = x.a.csrf.Token()
	if x.action != "providers" { // that route sets no cookies
		x.add(csrfCookie, cookie.Cookie{Name: name, Value: x.csrfCookie})
	}
}

// readCallbackURL resolves where to go afterwards: the body's wish, else the
// query's, else the cookie's, else home. What points elsewhere is rejected,
// recorded, and leads home; a bad cookie is mended.
func (x *exchange) readCallbackURL() error {
	name := x.cookieName(callbackCookie)
	stored, _ := x.jar.Get(name)
	wish, given := x.form["callbackUrl"]
	where := "body"
	if !given {
		wish, where = x.query["callbackUrl"], "query"
	}
	if wish == "" {
		wish, where = stored, "cookie"
	}
	x.callback = x.origin
	if wish != "" && (wish != x.origin || x.a.cfg.Callbacks.Redirect != nil) {
		to, err := x.resolveURL(wish, where)
		if err != nil {
			return err
		}
		x.callback = to
	}
	if x.callback != stored && x.action != "providers" {
		x.add(callbackCookie, cookie.Cookie{Name: name, Value: x.callback})
	}
	return nil
}

// resolveURL applies the redirect callback, or the default rule, to a URL that
// the visitor chose.
func (x *exchange) resolveURL(wish, where string) (string, error) {
	if fn := x.a.cfg.Callbacks.Redirect; fn != nil && len(wish) <= maxCallback {
		to, err := guard(func() (string, error) { return fn(x.r.Context(), wish, x.origin) })
		if err != nil {
			return "", &routeError{step: "redirect callback", reason: record.ReasonInternal, err: err}
		}
		if to == "" || strings.ContainsFunc(to, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return "", &routeError{step: "redirect callback returned nothing or control characters", reason: record.ReasonInternal}
		}
		return to, nil
	}
	if to, ok := redirect.Resolve(wish, x.origin, x.a.trusted); ok && len(to) <= maxCallback {
		return to, nil
	}
	x.a.log.Warn("callback URL rejected: it leads to another site, or is none", "in", where, "route", x.route)
	r := x.a.newRecorder(x.visit)
	x.a.noteOnce(x.r.Context(), x.firing, &DefenceEvent{Envelope: r.failure(record.TypeRedirectRejected, record.ReasonInvalidRedirect),
		Check: "callbackUrl", Why: "forbidden"}, "callbackUrl", where)
	return x.origin, nil
}

// dispatch serves the action.
func (x *exchange) dispatch() {
	post := x.r.Method == http.MethodPost
	switch {
	case x.action == "csrf" && !post:
		x.json(http.StatusOK, `{"csrfToken":"`+x.csrfToken+`"}`, true)
	case x.action == "providers" && !post:
		x.json(http.StatusOK, x.providerList(), false)
	case x.action == "session" && !post:
		x.serveSession(nil)
	case x.action == "session":
		if !x.csrfOK {
			x.failCSRF()
			return
		}
		x.serveSession(&update{x.data})
	case x.action == "signin" && !post && x.provider == "":
		x.signInPage()
	case x.action == "signin" && post && x.provider == "" && !x.csrfOK:
		x.failCSRF()
	case x.action == "signin" && post:
		x.startSignIn()
	case x.action == "signout" && !post:
		x.signOutPage()
	case x.action == "signout":
		x.signOut()
	case x.action == "callback":
		x.serveCallback()
	case x.action == "webauthn-options" && !post:
		x.webauthnOptions()
	case x.action == "verify-request" && !post:
		x.verifyRequestPage()
	case x.action == "error" && !post:
		x.errorPage()
	case x.action == "native" && !post:
		x.nativePage()
	case x.action == "native":
		x.grantNative()
	case x.action == "native-token" && post:
		x.redeemNative()
	default:
		x.fail(&routeError{step: x.r.Method + " " + x.action + " is no route", reason: record.ReasonConfiguration})
	}
}

// sendCookies writes the queued cookies, in order.
func sendCookies(h http.Header, v *visit) {
	if len(v.set) == 0 {
		return
	}
	var scratch [2048]byte // most cookies fit
	values := slices.Grow(h["Set-Cookie"], len(v.set))
	for i := range v.set {
		values = append(values, string(v.set[i].Append(scratch[:0])))
	}
	h["Set-Cookie"] = values
}

func noCache(h http.Header) {
	v := [...]string{"private, no-cache, no-store", "0", "no-cache"} // one allocation
	h["Cache-Control"] = v[0:1:1]
	h["Expires"] = v[1:2:2]
	h["Pragma"] = v[2:3:3]
}

func (x *exchange) json(status int, body string, private bool) {
	h := x.w.Header()
	if private {
		noCache(h)
	}
	h["Content-Type"] = []string{"application/json"}
	sendCookies(h, x.visit)
	x.w.WriteHeader(status)
	io.WriteString(x.w, body)
}

// redirect sends the visitor to a URL or path, or tells a client that asked
// where to go.
func (x *exchange) redirect(to string) { x.send(to, "") }

// send answers with where to go: to the browser with a redirect, to a client that
// asks for it with JSON, and Location beside it unless it tells of a failure.
// The code of a failure is that of its page.
//
// Clients of Auth.js v5 ask with a header. Those of next-auth v4 ask with a field
// of the form, and look at the status for refused credentials.
func (x *exchange) send(to, failure string) {
	h := x.w.Header()
	_, v5 := x.r.Header["X-Auth-Return-Redirect"]
	v4 := !v5 && x.form["json"] == "true"
	if !v4 && !v5 || failure == "" {
		h["Location"] = []string{to}
	}
	noCache(h)
	sendCookies(h, x.visit)
	if !v4 && !v5 {
		x.w.WriteHeader(http.StatusFound)
		return
	}
	status := http.StatusOK
	if _, ok := x.a.providers[x.provider].(CredentialsProvider); v4 && ok {
		switch failure {
		case "CredentialsSignin":
			status = http.StatusUnauthorized
		case "AccessDenied":
			status = http.StatusForbidden
		}
	}
	h["Content-Type"] = []string{"application/json"}
	x.w.WriteHeader(status)
	b := append([]byte(`{"url":`), claims.AppendString(nil, to)...)
	x.w.Write(append(b, '}'))
}

// routeError is an error that ends a request with an error page.
type routeError struct {
	// step says what failed, for the log; reason is a code of package record.
	step   string
	reason string
	// page is the code that the visitor sees; Configuration when empty. code is
	// the further code of refused credentials and vetoes.
	page string
	code string
	err  error
	// told is set when the log has it already.
	told bool
	// unrecorded is why the book has nothing of it, where it should.
	unrecorded error
}

func (e *routeError) Error() string { return "gatebook: " + e.step + ": " + e.reason }
func (e *routeError) Unwrap() error { return e.err }

// signInPageCodes are the codes that are shown on the sign-in page; the others
// have the error page.
var signInPageCodes = map[string]bool{"CredentialsSignin": true, "OAuthAccountNotLinked": true,
	"OAuthCallbackError": true, "MissingCSRF": true, "AccountNotLinked": true}

// fail answers with the error page of err. The check cookies of a failed
// callback are cleared, other queued cookies are sent.
func (x *exchange) fail(err error) {
	e := &routeError{step: x.route, reason: record.ReasonInternal, err: err}
	errors.As(err, &e)
	if x.own {
		x.failed = e
		return
	}
	if e.page == "" {
		e.page = "Configuration"
	}
	if !e.told {
		x.logFailure(e)
	}
	if x.action == "session" && x.r.Method == http.MethodPost {
		x.json(http.StatusBadRequest, "null", false)
		return
	}
	if x.action == "native-token" {
		x.nativeFailed(e)
		return
	}
	query := string(cookie.AppendForm(nil, "error", e.page))
	if e.code != "" {
		query = string(cookie.AppendForm([]byte(query), "code", e.code))
	}
	path := x.a.base + "/error"
	if x.a.cfg.Pages.Error != "" {
		path = x.a.cfg.Pages.Error
	}
	if signInPageCodes[e.page] {
		path = x.a.signInPath()
	}
	sep := "?"
	if strings.Contains(path, "?") {
		sep = "&"
	}
	x.send(x.origin+path+sep+query, e.page)
}

// logFailure writes the one line that an operator reads. Errors of the store,
// of providers and of mailers are written out: they must not hold secrets. Of an
// application's error only the type is known to be safe.
func (x *exchange) logFailure(e *routeError) {
	attrs := []any{"route", x.route, "step", e.step, "reason", e.reason, "client.address", x.a.request(x.visit).IP.String()}
	var pe *ProviderError
	var panicked *panicked
	switch {
	case errors.As(e.err, &panicked):
		attrs = append(attrs, "panic.type", errorType(panicked.err), "stack", panicked.stack)
	case errors.As(e.err, &pe):
		attrs = append(attrs, "error", pe.Error())
	case (e.reason == record.ReasonStoreError || e.reason == record.ReasonMailFailed) && e.err != nil:
		attrs = append(attrs, "error", e.err.Error())
	case e.err != nil:
		attrs = append(attrs, "error.type", errorType(e.err))
	}
	if e.unrecorded != nil {
		attrs = append(attrs, "record.error", e.unrecorded.Error())
	}
	ours := e.unrecorded != nil
	switch e.reason {
	case record.ReasonStoreError, record.ReasonMailFailed, record.ReasonInternal, record.ReasonConfiguration:
		ours = true
	}
	if ours {
		x.a.log.Error("request failed", attrs...)
		return
	}
	x.a.log.Warn("request refused", attrs...)
}

// untrustedHost answers a request for a host that nobody vouches for.
func (x *exchange) untrustedHost() {
	x.noteHost()
	x.configError()
}

// noteHost tells of a request for a host that nobody vouches for.
func (x *exchange) noteHost() {
	x.a.log.Error("host not trusted: set Config.URL (or AUTH_URL) to the site's address", "host", fmt.Sprintf("%.256q", x.r.Host))
	r := x.a.newRecorder(x.visit)
	x.a.noteOnce(x.r.Context(), x.firing, &DefenceEvent{Envelope: r.failure(record.TypeHostUntrusted, record.ReasonUntrustedHost),
		Check: "host", Why: "forbidden"}, "host", "")
}

// configError is the answer to a request that cannot be served as configured.
func (x *exchange) configError() {
	switch x.action {
	case "signin", "signout", "error", "verify-request":
		if x.r.Method != http.MethodPost {
			// This page does not show the host, which the visitor chose.
			x.set = nil
			x.renderError("Configuration")
			return
		}
	}
	writeJSON(x.w, http.StatusInternalServerError,
		`{"message":"There was a problem with the server configuration. Check the server logs for more information."}`)
}

// failCSRF notes and answers a POST without the token of its cookie that is no
// attempt to sign in.
func (x *exchange) failCSRF() {
	x.noteCSRF()
	x.fail(&routeError{step: "CSRF token missing or wrong", reason: record.ReasonCSRF, page: "MissingCSRF", told: true})
}

func (x *exchange) noteCSRF() {
	why := x.whyCSRF()
	x.a.log.Warn("CSRF token missing or wrong", "route", x.route, "why", why)
	r := x.a.newRecorder(x.visit)
	x.a.noteOnce(x.r.Context(), x.firing, &DefenceEvent{Envelope: r.failure(record.TypeCSRFRejected, record.ReasonCSRF),
		Check: "csrf", Why: why}, "csrf", x.route)
}

// serveSession answers GET and POST of the session route.
func (x *exchange) serveSession(up *update) {
	body := "null"
	if token, fromCookie := x.a.presented(x.visit); token != "" {
		s, err := x.a.readSession(x.r.Context(), x.visit, x.firing, token, fromCookie, up)
		switch {
		case err == nil:
			var scratch [1024]byte
			body = string(s.Data.o.Append(scratch[:0]))
		case !errors.Is(err, ErrNoSession):
			x.a.log.Error("read session", "error", err.Error())
		}
	} else {
		x.a.endCookies(x.visit) // what is left of a token that lost a part
	}
	x.json(http.StatusOK, body, up == nil)
}

// providerList is the JSON of the providers route, in the configured order.
func (x *exchange) providerList() string {
	b := []byte{'{'}
	for i, p := range x.a.cfg.Providers {
		info := p.Info()
		if i > 0 {
			b = append(b, ',')
		}
		b = claims.AppendString(b, info.ID)
		b = append(b, `:{"id":`...)
		b = claims.AppendString(b, info.ID)
		b = append(b, `,"name":`...)
		b = claims.AppendString(b, info.Name)
		b = append(b, `,"type":`...)
		b = claims.AppendString(b, info.Type)
		b = append(b, `,"signinUrl":`...)
		b = claims.AppendString(b, x.signInURL(info.ID))
		b = append(b, `,"callbackUrl":`...)
		b = claims.AppendString(b, x.callbackURL(info.ID))
		b = append(b, '}')
	}
	return string(append(b, '}'))
}

func (x *exchange) signInURL(id string) string   { return x.origin + x.a.base + "/signin/" + id }
func (x *exchange) callbackURL(id string) string { return x.origin + x.a.base + "/callback/" + id }
