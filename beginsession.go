package gatebook

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/gatebook/gatebook/internal/cookie"
)

// BeginSession signs a user in because the application says so: after a proof
// that is none of Config.Providers, or in a test. It records signIn with source
// app and returns the cookies of the session, to be sent with http.SetCookie;
// for a Bearer header their values belong together, in order.
//
// Provider names the proof, in the form of a provider's id, such as
// "invitation"; it is the account's provider in the event, which is one of type
// credentials. The signIn callback is not asked, the jwt callback is. When the
// middleware put a visitor into ctx the session is theirs: what they were signed
// in to is replaced, as at any sign-in. Without one, the names of the cookies
// are those of Config.URL.
//
// The error matches [ErrNotFound] when there is no such user, and
// [ErrNoSession] when the jwt callback gave no token.
func (a *Auth) BeginSession(ctx context.Context, userID, provider string) ([]*http.Cookie, error) {
	if !providerID.MatchString(provider) {
		return nil, fmt.Errorf("gatebook: BeginSession: provider %q must be 1 to 64 letters, digits, '-' or '_'", provider)
	}
	if a.adapter == nil {
		return nil, errNoAdapter
	}
	if ctx.Value(inTxKey{}) != nil {
		return nil, errInTx
	}
	found, err := a.find(ctx, Query{UserID: userID})
	switch {
	case err != nil:
		return nil, fmt.Errorf("begin session: %w", err)
	case userID == "" || found.ByID == nil:
		return nil, fmt.Errorf("begin session: %w: user", ErrNotFound)
	}
	v, err := a.ownVisit(ctx)
	if err != nil {
		return nil, fmt.Errorf("begin session: %w", err)
	}
	x := &exchange{a: a, w: nowhere{}, visit: v, firing: a.handlers.begin(ctx)}
	defer x.firing.close()
	x.finish(&proved{info: ProviderInfo{ID: provider, Type: TypeCredentials}, method: TypeCredentials,
		profile: found.ByID.User, vetoed: true,
		account: Account{Type: TypeCredentials, Provider: provider, ProviderAccountID: userID},
		auth:    AuthInfo{Provider: provider, Method: TypeCredentials}, query: Query{UserID: userID}})
	if x.failed != nil {
		return nil, fmt.Errorf("begin session: %w", x.failed)
	}
	cookies := v.setCookies()
	name := v.cookieName(sessionCookie)
	for _, c := range cookies {
		if c.MaxAge == 0 && (c.Name == name || strings.HasPrefix(c.Name, name+".")) {
			return cookies, nil
		}
	}
	return nil, fmt.Errorf("begin session: %w: the jwt callback gave no token", ErrNoSession)
}

// ownVisit returns what stands for the request when the application acts: that
// of the visitor in ctx, or none.
func (a *Auth) ownVisit(ctx context.Context) (*visit, error) {
	if res, ok := ctx.Value(sessionKey{}).(*resolved); ok && res.auth == a {
		v := *res.visit
		v.now, v.set, v.own = cut(a.now()), nil, true
		return &v, nil
	}
	if a.origin == "" {
		return nil, errors.New("gatebook: Config.URL is not set, so nobody knows what the cookie is called")
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, a.origin+a.base, nil)
	if err != nil {
		return nil, err
	}
	v, _ := a.visit(r, "")
	v.own = true
	return v, nil
}

// setCookies returns the queued cookies for an answer of the application.
func (v *visit) setCookies() []*http.Cookie {
	out := make([]*http.Cookie, len(v.set))
	for i, c := range v.set {
		h := &http.Cookie{Name: c.Name, Value: string(cookie.AppendComponent(nil, c.Value)), Path: c.Path, Domain: c.Domain,
			Expires: c.Expires, HttpOnly: c.HTTPOnly, Secure: c.Secure}
		if c.HasMaxAge {
			if h.MaxAge = c.MaxAge; c.MaxAge == 0 {
				h.MaxAge = -1 // net/http's word for Max-Age=0
			}
		}
		switch c.SameSite {
		case "None":
			h.SameSite = http.SameSiteNoneMode
		case "Strict":
			h.SameSite = http.SameSiteStrictMode
		default:
			h.SameSite = http.SameSiteLaxMode
		}
		out[i] = h
	}
	return out
}

// nowhere takes an answer that nobody waits for.
type nowhere struct{}

func (nowhere) Header() http.Header         { return http.Header{} }
func (nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (nowhere) WriteHeader(int)             {}
