package gatebook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gatebook/gatebook/internal/cookie"
	"github.com/gatebook/gatebook/record"
)

// accountRoutes are the routes on which users see and change what is their own,
// with the method of each. Auth.js has none of this name.
var accountRoutes = map[string]string{
	"account":                 http.MethodGet,
	"account/unlink":          http.MethodPost,
	"account/sessions/revoke": http.MethodPost,
}

// account answers the account routes, in JSON, to whoever is signed in. What is
// asked for is always of that user: of others nothing is said, not even that it
// exists.
func (x *exchange) account() {
	method := accountRoutes[x.action]
	token, fromCookie := x.a.presented(x.visit)
	switch {
	case x.r.Method != method && (method != http.MethodGet || x.r.Method != http.MethodHead):
		allow := "OPTIONS, POST"
		if method == http.MethodGet {
			allow = "GET, HEAD, OPTIONS"
		}
		x.w.Header().Set("Allow", allow)
		x.accountError(http.StatusMethodNotAllowed, "methodNotAllowed", "use "+method)
		return
	case method == http.MethodPost && !x.csrfOK && (token == "" || fromCookie):
		// A program that holds its token itself has no cookies, and no other site
		// can make a browser send its header.
		x.noteCSRF()
		x.accountError(http.StatusForbidden, "csrf", "send the csrfToken of the route csrf, and its cookie")
		return
	}
	// It is read as for any request that uses it: callbacks are asked, and it is
	// renewed.
	s, err := (*Session)(nil), ErrNoSession
	if token != "" {
		s, err = x.a.readSession(x.r.Context(), x.visit, x.firing, token, fromCookie, nil)
	}
	switch {
	case errors.Is(err, ErrNoSession):
		x.accountError(http.StatusUnauthorized, "signedOut", "sign in first")
		return
	case err != nil:
		x.accountFailed(err)
		return
	}
	ctx := context.WithValue(context.WithoutCancel(x.r.Context()), sessionKey{}, &resolved{auth: x.a, visit: x.visit, session: s})
	switch x.action {
	case "account":
		x.showAccount(ctx, s)
	case "account/unlink":
		x.unlink(ctx, s)
	default:
		x.revokeSessions(ctx, s)
	}
}

// theirs returns the writes of the user who is at the account routes.
func (x *exchange) theirs() *Transaction {
	return &Transaction{a: x.a, source: record.SourceGatebook}
}

func (x *exchange) unlink(ctx context.Context, s *Session) {
	key := AccountKey{x.form["provider"], x.form["providerAccountId"]}
	if key.Provider == "" || key.ProviderAccountID == "" {
		x.accountError(http.StatusBadRequest, "badRequest", "provider and providerAccountId say which account")
		return
	}
	if err := x.theirs().UnlinkAccount(ctx, s.User.ID, key); err != nil {
		x.accountFailed(err)
		return
	}
	x.json(http.StatusOK, `{"unlinked":1}`, true)
}

func (x *exchange) revokeSessions(ctx context.Context, s *Session) {
	sid, scope := x.form["sid"], x.form["scope"]
	here := x.a.shownID(s)
	n, ended := 1, scope == scopeAll || sid == here
	var err error
	switch {
	case (sid == "") == (scope == ""):
		x.accountError(http.StatusBadRequest, "badRequest", "send either sid or scope")
		return
	case sid != "":
		err = x.theirs().RevokeSession(ctx, s.User.ID, sid)
	case scope == scopeOthers:
		n, err = x.theirs().RevokeOtherSessions(ctx, s.User.ID, here)
	case scope == scopeAll:
		n, err = x.theirs().RevokeSessions(ctx, s.User.ID)
	default:
		x.accountError(http.StatusBadRequest, "badRequest", "scope is others or all")
		return
	}
	if err != nil {
		x.accountFailed(err)
		return
	}
	if ended {
		x.forgetSession()
	}
	b, _ := json.Marshal(map[string]int{"revoked": n})
	x.json(http.StatusOK, string(b), true)
}

// forgetSession queues the removal of the session's cookies in place of their
// renewal.
func (x *exchange) forgetSession() {
	name := x.cookieName(sessionCookie)
	x.set = slices.DeleteFunc(x.set, func(c cookie.Cookie) bool { return c.Name == name || strings.HasPrefix(c.Name, name+".") })
	x.a.endCookies(x.visit)
}

// shownID is the id under which a session is listed.
func (a *Auth) shownID(s *Session) string {
	if s.Strategy == StrategyJWT {
		return a.listID(s.ID)
	}
	return s.ID
}

// accountView is the answer of GET account.
type accountView struct {
	User      userView      `json:"user"`
	Ways      []wayView     `json:"ways"`
	Sessions  []sessionView `json:"sessions"`
	Revocable bool          `json:"revocable"`
}

type userView struct {
	ID    string  `json:"id"`
	Name  *string `json:"name"`
	Email *string `json:"email"`
	Image *string `json:"image"`
}

// wayView is a way to sign in: an account, or the address to which links go.
type wayView struct {
	Type      string `json:"type"`
	Provider  string `json:"provider"`
	Name      string `json:"name"`
	AccountID string `json:"providerAccountId"`
	// Usable says that one can sign in with it as things are configured, and
	// Removable that account/unlink would remove it.
	Usable    bool `json:"usable"`
	Removable bool `json:"removable"`
}

type sessionView struct {
	SID       string `json:"sid"`
	Current   bool   `json:"current"`
	Begun     string `json:"begun,omitempty"`
	Expires   string `json:"expires"`
	Provider  string `json:"provider,omitempty"`
	UserAgent string `json:"userAgent,omitempty"`
}

func (x *exchange) showAccount(ctx context.Context, s *Session) {
	v := accountView{Ways: []wayView{}, Revocable: x.a.canRevoke() == nil}
	user, err := x.accountUser(ctx, s)
	if err == nil && x.a.adapter != nil {
		v.Ways, err = x.a.wayViews(ctx, user)
	}
	if err == nil {
		v.Sessions, err = x.a.sessionViews(ctx, s)
	}
	if err != nil {
		x.accountFailed(err)
		return
	}
	v.User = userView{user.ID, orNull(user.Name), orNull(user.Email), orNull(user.Image)}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(&v); err != nil {
		x.accountFailed(err)
		return
	}
	x.json(http.StatusOK, strings.TrimSuffix(b.String(), "\n"), true)
}

// accountUser returns the signed-in user as the adapter has them; a token may be
// older than the latest change.
func (x *exchange) accountUser(ctx context.Context, s *Session) (*User, error) {
	if x.a.adapter == nil || s.Strategy == StrategyDatabase || s.User.ID == "" {
		return &s.User, nil
	}
	found, err := x.a.find(ctx, Query{UserID: s.User.ID})
	if err != nil {
		return nil, err
	}
	if found.ByID == nil { // whom only the application knows
		return &s.User, nil
	}
	return &found.ByID.User, nil
}

// wayViews lists the accounts of a user, and the address when it is a way too.
func (a *Auth) wayViews(ctx context.Context, u *User) ([]wayView, error) {
	list, err := a.Accounts(ctx, u.ID)
	if err != nil {
		return nil, err
	}
	ways, err := a.ways(ctx, u.ID)
	if err != nil {
		return nil, err
	}
	usable := map[AccountKey]bool{}
	for _, acc := range ways {
		usable[acc.key()] = true
	}
	links := a.linkTo(u)
	views := make([]wayView, 0, len(list)+1)
	for _, acc := range list {
		w := wayView{Type: acc.Type, Provider: acc.Provider, AccountID: acc.ProviderAccountID, Usable: usable[acc.key()]}
		if p := a.providers[acc.Provider]; p != nil {
			w.Name = p.Info().Name
		}
		left := len(ways)
		if w.Usable {
			left--
		}
		w.Removable = links || left > 0
		views = append(views, w)
	}
	for _, p := range a.cfg.Providers {
		if mail, ok := p.(EmailProvider); ok && sendsTo(mail, u) {
			views = append(views, wayView{Type: TypeEmail, Provider: p.Info().ID, Name: p.Info().Name, AccountID: u.Email, Usable: true})
		}
	}
	return views, nil
}

// sessionViews lists the sessions of the user of s: s alone where no list is kept.
func (a *Auth) sessionViews(ctx context.Context, s *Session) ([]sessionView, error) {
	var list []StoredSession
	if a.canRevoke() == nil {
		var err error
		if list, err = a.Sessions(ctx, s.User.ID); err != nil {
			return nil, err
		}
	}
	here := a.shownID(s)
	if !slices.ContainsFunc(list, func(r StoredSession) bool { return r.ID == here }) {
		list = append([]StoredSession{{ID: here, Expires: s.Expires}}, list...)
	}
	views := make([]sessionView, len(list))
	for i, r := range list {
		views[i] = sessionView{SID: r.ID, Current: r.ID == here, Expires: jsonTime(r.Expires), Provider: r.Provider, UserAgent: r.UserAgent}
		if !r.Begun.IsZero() {
			views[i].Begun = jsonTime(r.Begun)
		}
	}
	return views, nil
}

// jsonTime is t as toISOString of ECMAScript writes it.
func jsonTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// accountFailed answers a request that could not be carried out.
func (x *exchange) accountFailed(err error) {
	switch {
	case errors.Is(err, ErrLastSignIn):
		x.accountError(http.StatusConflict, "lastSignIn", "this is the last way to sign in: add another first")
	case errors.Is(err, ErrNotRevocable):
		x.accountError(http.StatusConflict, "notRevocable", "sessions cannot be ended from here")
	case errors.Is(err, ErrNotFound), errors.Is(err, errNoAdapter):
		x.accountError(http.StatusNotFound, "notFound", "there is nothing of yours by that name")
	case errors.Is(err, ErrConflict):
		x.accountError(http.StatusConflict, "conflict", "something else changed at the same time: look again")
	default:
		if x.r.Context().Err() == nil {
			x.a.log.Error("account", "route", x.route, "error", err.Error())
		}
		x.accountError(http.StatusServiceUnavailable, "unavailable", "this cannot be done at the moment")
	}
}

// accountError answers with a code for programs and a text for people.
func (x *exchange) accountError(status int, code, text string) {
	x.json(status, `{"code":"`+code+`","error":"`+text+`"}`, true)
}
