package gatebook

import (
	"slices"
	"strings"

	"github.com/gatebook/gatebook/internal/claims"
	"github.com/gatebook/gatebook/internal/cookie"
	"github.com/gatebook/gatebook/internal/redirect"
	"github.com/gatebook/gatebook/record"
)

// The redirect proxy lets deployments whose addresses no provider knows, such as
// previews, sign people in: the provider sends the visitor to the proxy, which
// sends them on to the callback address that the state names. The state is
// sealed with the shared secret, and the proxy has a list of origins, so that a
// deployment that can be talked into another name cannot have it send codes to
// strangers. The code is redeemed where the sign-in began, by the browser that
// began it: the proxy opens nothing but the state.

// maxForward is the longest address that the proxy sends a visitor to.
const maxForward = 16 << 10

// proxied reports whether the providers send visitors of this deployment to the
// redirect proxy.
func (x *exchange) proxied() bool {
	return x.a.cfg.RedirectProxyURL != "" && !x.isProxy()
}

// isProxy reports whether this deployment is the redirect proxy.
func (x *exchange) isProxy() bool {
	rest, ok := strings.CutPrefix(x.a.cfg.RedirectProxyURL, x.origin)
	return ok && (rest == "" || rest[0] == '/')
}

// redirectURI returns where a provider is to send the visitor.
func (x *exchange) redirectURI(id string) string {
	if x.proxied() {
		return x.a.cfg.RedirectProxyURL + "/callback/" + id
	}
	return x.callbackURL(id)
}

// newState returns the state of a sign-in that begins.
func (x *exchange) newState(id string) string {
	random := Param{"random", newRandom()}
	if x.proxied() {
		return x.a.sealClaims(stateSalt, x.now, Param{"origin", x.callbackURL(id)}, random)
	}
	return x.a.sealClaims(stateSalt, x.now, random)
}

// received returns the parameters of a callback: of the form where one was
// posted, else of the query.
func (x *exchange) received() []Param {
	if x.fields != nil {
		return x.fields
	}
	return x.params
}

// forward sends a visitor whose sign-in began at another deployment on to it. It
// reports whether it has answered.
func (x *exchange) forward(info ProviderInfo) bool {
	if x.a.cfg.RedirectProxyURL == "" || !x.isProxy() {
		return false
	}
	params := x.received()
	state := lastValues(params)["state"]
	if state == "" {
		return false
	}
	to, why := x.stateOrigin(state)
	no := refused{auth: info, reason: record.ReasonStateMismatch, step: "the state at the redirect proxy",
		cause: record.TypeCheckFailed, check: "state", why: why}
	if why != "" {
		x.refuse(no)
		return true
	}
	if to == "" {
		return false
	}
	switch origin, err := redirect.Origin(to); {
	case err != nil || strings.ContainsAny(to, "?#") || !strings.HasSuffix(to, "/callback/"+info.ID):
		no.why = "mismatch"
	case origin == x.origin:
		return false
	case !x.forwards(origin):
		no.why, no.reason = "forbidden", record.ReasonInvalidRedirect
		no.step = "Config.RedirectProxyOrigins lacks the origin at which the sign-in began"
	}
	query := encodeOnce(params)
	if no.why == "" && len(to)+len(query) > maxForward {
		no.why = "forbidden"
	}
	if no.why != "" {
		x.refuse(no)
		return true
	}
	x.w.Header().Set("Referrer-Policy", "no-referrer")
	x.redirect(to + "?" + query)
	return true
}

// stateOrigin opens a state and returns the callback address of the deployment
// that made it, or "" when that is this one; why says what is wrong with it.
func (x *exchange) stateOrigin(state string) (origin, why string) {
	payload, err := x.a.codecs[stateSalt].Open(nil, state)
	if err != nil {
		return "", "mismatch"
	}
	o, err := claims.Parse(payload)
	if err != nil {
		return "", "mismatch"
	}
	if why := whyTimes(&o, x.now.Unix()); why != "" {
		return "", why
	}
	origin, ok := o.String("origin")
	if _, there := o.Get("origin"); there && !ok {
		return "", "mismatch"
	}
	return origin, ""
}

// forwards reports whether visitors may be sent on to an origin.
func (x *exchange) forwards(origin string) bool {
	list := x.a.cfg.RedirectProxyOrigins
	if slices.Contains(list, origin) {
		return true
	}
	host, ok := strings.CutPrefix(origin, "https://")
	_, parent, dotted := strings.Cut(host, ".")
	return ok && dotted && slices.Contains(list, "https://*."+parent)
}

// encodeOnce encodes parameters as a query: each name once, at its first place,
// with its last value.
func encodeOnce(params []Param) string {
	last := lastValues(params)
	var b []byte
	for _, p := range params {
		if v, ok := last[p.Name]; ok {
			b = cookie.AppendForm(b, p.Name, v)
			delete(last, p.Name)
		}
	}
	return string(b)
}
