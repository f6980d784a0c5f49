package interop

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/adapter/memory"
	"github.com/gatebook/gatebook/book"
	"github.com/gatebook/gatebook/passkey"
	"github.com/gatebook/gatebook/provider/catalog"
	"github.com/gatebook/gatebook/provider/credentials"
	"github.com/gatebook/gatebook/provider/email"
	"github.com/gatebook/gatebook/provider/oauth"
)

// gatebookSite is Gatebook as setup describes it.
type gatebookSite struct {
	setup  setup
	auth   *gatebook.Auth
	store  *memory.Store
	server *httptest.Server

	mu    sync.Mutex
	does  does
	trace []call
}

// newGatebook starts the site on a store. A configuration that New refuses gives an error.
func newGatebook(t *testing.T, s setup, store *memory.Store) (*gatebookSite, error) {
	t.Helper()
	g := &gatebookSite{setup: s, does: s.Does, store: store}
	cfg, err := g.config()
	if err != nil {
		return nil, err
	}
	if g.auth, err = gatebook.New(cfg); err != nil {
		return nil, err
	}
	g.server = httptest.NewServer(g.auth)
	t.Cleanup(g.server.Close)
	return g, nil
}

func (g *gatebookSite) config() (gatebook.Config, error) {
	s := g.setup
	cfg := gatebook.Config{
		BasePath: s.BasePath, TrustHost: false, Logger: slog.New(slog.DiscardHandler),
		Session: gatebook.SessionConfig{Strategy: s.Session.Strategy, MaxAge: seconds(s.Session.MaxAge), TokenMaxAge: seconds(s.JWT.MaxAge)},
		Pages:   gatebook.Pages(s.Pages),
		Theme:   gatebook.Theme(s.Theme),
	}
	if !s.Untrusted {
		cfg.URL = s.Origin
	}
	cfg.UseSecureCookies = s.UseSecureCookies
	cfg.Cookies.SessionToken.Name, cfg.Cookies.CSRFToken.Name = s.Cookies["sessionToken"].Name, s.Cookies["csrfToken"].Name
	if s.RedirectProxy != "" {
		cfg.RedirectProxyURL = s.RedirectProxy
		if strings.HasPrefix(s.RedirectProxy, s.Origin+"/") {
			cfg.RedirectProxyOrigins = []string{home}
		}
	}
	if s.JWT.Secret != "" {
		cfg.Session.TokenSecrets = []gatebook.Secret{gatebook.Secret(s.JWT.Secret)}
	}
	for _, secret := range s.Secrets {
		cfg.Secrets = append(cfg.Secrets, gatebook.Secret(secret))
	}
	if s.Session.UpdateAge != nil {
		if cfg.Session.UpdateAge = seconds(*s.Session.UpdateAge); cfg.Session.UpdateAge == 0 {
			cfg.Session.UpdateAge = -1
		}
	}
	if s.Adapter {
		cfg.Adapter = &recorder{g.store, g}
	} else {
		cfg.Book = book.New(book.NewMemory())
	}
	if !s.Plain {
		cfg.Callbacks, cfg.Events = g.callbacks(), g.events()
	}
	for _, p := range s.Providers {
		made, err := g.provider(p)
		if err != nil {
			return cfg, err
		}
		cfg.Providers = append(cfg.Providers, made)
	}
	return cfg, nil
}

func seconds(n int) time.Duration { return time.Duration(n) * time.Second }

func (g *gatebookSite) provider(p provider) (gatebook.Provider, error) {
	switch p.Kind {
	case "github":
		return catalog.GitHub(catalog.Client{ID: "app", Secret: "secret"})
	case "google":
		return catalog.Google(catalog.Client{ID: "app", Secret: "secret"})
	case "passkey":
		return passkey.New(passkey.Config{SignUp: true})
	case "webauthn":
		return passkey.New(passkey.Config{SignUp: true, SecurityKeys: true})
	case "credentials":
		return credentials.New(credentials.Config{ID: p.ID, Name: p.Name, Authorize: g.authorize,
			Fields: []gatebook.Field{{Name: "username", Label: "User name"}, {Name: "password", Label: "Password", Type: "password"}}})
	case "email":
		return email.New(email.Config{ID: p.ID, Name: p.Name, From: "Site <no-reply@example.com>", MaxAge: seconds(p.MaxAge),
			Mailer: g, Compose: func(l *gatebook.MagicLink) (*email.Message, error) { return &email.Message{Text: string(l.URL)}, nil }})
	}
	c := oauth.Config{ID: p.ID, Name: p.Name, Type: p.Kind, Issuer: p.Issuer, AuthURL: p.AuthURL, TokenURL: p.TokenURL,
		UserinfoURL: p.UserinfoURL, ClientID: p.ClientID, ClientSecret: gatebook.Secret(p.ClientSecret),
		ClientAuth: oauth.ClientAuth(p.ClientAuth), Checks: p.Checks, UserinfoProfile: p.UserinfoProfile, LinkByVerifiedEmail: p.Link}
	for _, q := range p.Params {
		c.AuthParams = append(c.AuthParams, gatebook.Param{Name: q[0], Value: q[1]})
	}
	switch p.Profile {
	case "throw":
		c.Enrich = func(context.Context, oauth.Fetch, *gatebook.Claims) error {
			return errors.New("the profile cannot be read")
		}
	case "no id":
		c.Profile.ID = []string{}
	}
	return oauth.New(c)
}

// Send is the site's mail server.
func (g *gatebookSite) Send(_ context.Context, m *email.Message) error {
	if g.now().Mail == "throw" {
		return errors.New("the mail server is down")
	}
	g.call("mail", object("to", m.To, "url", m.Text))
	return nil
}

func (g *gatebookSite) authorize(_ context.Context, typed map[string]string, _ *http.Request) (*gatebook.User, error) {
	g.call("authorize", object("credentials", typed))
	ada := &gatebook.User{ID: "u-ada", Name: "Ada Lovelace", Email: "ada@example.com"}
	switch typed["password"] {
	case "right":
		return ada, nil
	case "numeric":
		ada.ID = "7" // ids are strings here
		return ada, nil
	case "no id":
		ada.ID = ""
		return ada, nil
	case "only id":
		return &gatebook.User{ID: "u-ada"}, nil
	case "stranger":
		return &gatebook.User{ID: "u-nobody", Name: "Nobody"}, nil
	case "coded":
		return nil, &gatebook.CredentialsError{Code: "my code"}
	case "denied":
		return nil, gatebook.Deny("")
	case "broken":
		return nil, errors.New("the directory is down")
	}
	return nil, gatebook.ErrBadCredentials
}

func (g *gatebookSite) callbacks() gatebook.Callbacks {
	c := gatebook.Callbacks{SignIn: g.signIn, JWT: g.jwt, Session: g.session}
	if g.setup.Does.Redirect != "" {
		c.Redirect = g.redirect
	}
	return c
}

func (g *gatebookSite) signIn(_ context.Context, a *gatebook.SignInAttempt) error {
	p := object("user", userOf(a.User), "account", accountOf(a.Account), "profile", a.Profile)
	if a.VerificationRequest {
		p.Set("email", map[string]bool{"verificationRequest": true})
	}
	if a.Credentials != nil {
		p.Set("credentials", a.Credentials)
	}
	g.call("signIn callback", p)
	switch what := g.now().SignIn; {
	case what == "throw":
		return errors.New("signIn fails")
	case what == "deny":
		return gatebook.Deny("")
	case what == "credentials":
		return &gatebook.CredentialsError{Code: "my code"}
	case strings.HasPrefix(what, "to "):
		return gatebook.RedirectTo(strings.TrimPrefix(what, "to "))
	}
	return nil
}

func (g *gatebookSite) redirect(_ context.Context, url, base string) (string, error) {
	g.call("redirect callback", object("url", url, "baseUrl", base))
	what := g.now().Redirect
	if what == "throw" {
		return "", errors.New("redirect fails")
	}
	if to, ok := strings.CutPrefix(what, "to "); ok {
		return to, nil
	}
	if strings.HasPrefix(url, "/") {
		return base + url, nil
	}
	if url == base || strings.HasPrefix(url, base+"/") {
		return url, nil
	}
	return base, nil
}

func (g *gatebookSite) jwt(_ context.Context, p *gatebook.JWTParams) (*gatebook.Claims, error) {
	o := object("token", &p.Token, "user", userOf(p.User), "account", accountOf(p.Account), "profile", p.Profile,
		"isNewUser", p.IsNewUser, "trigger", p.Trigger)
	if p.Trigger == "update" && p.Update != nil {
		o.Set("session", p.Update)
	}
	g.call("jwt callback", o)
	token := p.Token.Clone()
	what, arg, _ := strings.Cut(g.now().JWT, " ")
	switch what {
	case "throw":
		return nil, errors.New("jwt fails")
	case "null":
		return nil, nil
	case "role":
		token.Set("role", "admin")
	case "big":
		var n int
		fmt.Sscan(arg, &n)
		token.Set("big", strings.Repeat("x", n))
	case "small":
		token.Delete("big")
	case "merge":
		var more map[string]any
		if p.Trigger == "update" && json.Unmarshal(p.Update, &more) == nil {
			for name, v := range more {
				token.Set(name, v)
			}
		}
	}
	return &token, nil
}

func (g *gatebookSite) session(_ context.Context, p *gatebook.SessionParams) (*gatebook.Claims, error) {
	o := object("session", &p.Session, "token", p.Token)
	if p.Stored != nil {
		row := rowOf(p.Stored)
		row.Set("user", userOf(p.User))
		o = object("session", row, "user", userOf(p.User))
		if p.Update != nil {
			o.Set("newSession", p.Update)
		}
		if p.Trigger != "" {
			o.Set("trigger", p.Trigger)
		}
	}
	g.call("session callback", o)
	out := p.Session.Clone()
	switch g.now().Session {
	case "throw":
		return nil, errors.New("session fails")
	case "role":
		role := "reader"
		if p.Token != nil && p.Token.String("role") != "" {
			role = p.Token.String("role")
		}
		out.Set("role", role)
	}
	return &out, nil
}

func (g *gatebookSite) events() gatebook.Events {
	return gatebook.Events{
		SignIn: func(_ context.Context, e *gatebook.SignInEvent) error {
			return g.event("signIn", object("user", userOf(e.User), "account", accountOf(e.Account), "profile", e.Profile, "isNewUser", e.IsNewUser))
		},
		SignOut: func(_ context.Context, e *gatebook.SignOutEvent) error {
			return g.event("signOut", object("token", e.Token, "session", rowOf(e.Session)))
		},
		CreateUser: func(_ context.Context, e *gatebook.CreateUserEvent) error {
			o := object("user", userOf(e.User))
			if i := e.SignInInfo; i != nil {
				o.Set("signInInfo", object("provider", i.Provider, "account", accountOf(i.Account), "profile", i.Profile))
			}
			return g.event("createUser", o)
		},
		UpdateUser: func(_ context.Context, e *gatebook.UpdateUserEvent) error {
			return g.event("updateUser", object("user", userOf(e.User)))
		},
		LinkAccount: func(_ context.Context, e *gatebook.LinkAccountEvent) error {
			return g.event("linkAccount", object("user", userOf(e.User), "account", accountOf(e.Account), "profile", userOf(e.Profile)))
		},
		Session: func(_ context.Context, e *gatebook.SessionEvent) error {
			if err := g.event("session", object("result", e.Result, "session", rowOf(e.Session), "token", e.Token)); err != nil {
				return err
			}
			if g.now().Events == "change" {
				e.Result.Set("changed", true)
			}
			return nil
		},
	}
}

func (g *gatebookSite) event(name string, message *gatebook.Claims) error {
	g.call(name+" event", message)
	what := g.now()
	if what.Slow > 0 {
		<-time.After(time.Duration(what.Slow) * time.Millisecond)
		g.call(name+" event ends", object())
	}
	if what.Events == "throw" {
		return fmt.Errorf("handler of %s fails", name)
	}
	return nil
}

func (g *gatebookSite) call(name string, payload *gatebook.Claims) { g.tell("call", name, payload) }

func (g *gatebookSite) tell(kind, name string, payload *gatebook.Claims) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.trace = append(g.trace, call{kind, name, *payload})
}

func (g *gatebookSite) now() does {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.does
}

// object makes an ordered object of names and values; nil ones and empty texts
// are left out, as JavaScript leaves out what is undefined.
func object(pairs ...any) *gatebook.Claims {
	var o gatebook.Claims
	for i := 0; i < len(pairs); i += 2 {
		switch v := pairs[i+1].(type) {
		case *gatebook.Claims:
			if v == nil {
				continue
			}
		case *bool:
			if v == nil {
				continue
			}
		case string:
			if v == "" {
				continue
			}
		}
		if err := o.Set(pairs[i].(string), pairs[i+1]); err != nil {
			panic(err)
		}
	}
	return &o
}

func userOf(u *gatebook.User) *gatebook.Claims {
	if u == nil {
		return nil
	}
	o := object("id", u.ID, "name", u.Name, "email", u.Email)
	if !u.EmailVerified.IsZero() {
		o.Set("emailVerified", isoTime(u.EmailVerified))
	}
	if u.Image != "" {
		o.Set("image", u.Image)
	}
	return o
}

func isoTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// accountOf is the account as Auth.js shows it: the token reply, its members as
// the fields say, and who it is.
func accountOf(a *gatebook.Account) *gatebook.Claims {
	if a == nil {
		return nil
	}
	o := a.Reply.Clone()
	for _, f := range [][2]string{{"access_token", string(a.AccessToken)}, {"refresh_token", string(a.RefreshToken)},
		{"id_token", string(a.IDToken)}, {"token_type", a.TokenType}, {"scope", a.Scope}, {"session_state", a.SessionState}} {
		if f[1] != "" {
			o.Set(f[0], f[1])
		}
	}
	if a.ExpiresAt != 0 {
		o.Set("expires_at", a.ExpiresAt)
	}
	for _, f := range [][2]string{{"provider", a.Provider}, {"type", a.Type}, {"providerAccountId", a.ProviderAccountID}, {"userId", a.UserID}} {
		if f[1] != "" {
			o.Set(f[0], f[1])
		}
	}
	return &o
}

func rowOf(s *gatebook.StoredSession) *gatebook.Claims {
	if s == nil {
		return nil
	}
	return object("sessionToken", string(s.Token), "userId", s.UserID, "expires", isoTime(s.Expires))
}

// authenticatorOf is a passkey's row as Auth.js's adapters store it.
func authenticatorOf(a *gatebook.Authenticator) *gatebook.Claims {
	return object("providerAccountId", a.ProviderAccountID, "counter", a.Counter, "credentialID", a.CredentialID,
		"credentialPublicKey", base64.StdEncoding.EncodeToString(a.PublicKey), "credentialBackedUp", a.BackedUp,
		"credentialDeviceType", a.DeviceType, "transports", strings.Join(a.Transports, ","), "userId", a.UserID)
}

// recorder is the memory adapter, told what to fail, telling what it wrote in
// the words of Auth.js's adapter.
type recorder struct {
	*memory.Store
	site *gatebookSite
}

var errStore = errors.New("the store fails")

func (r *recorder) fails(methods ...string) bool {
	return slices.ContainsFunc(r.site.now().Fail, func(m string) bool { return slices.Contains(methods, m) })
}

func (r *recorder) Find(ctx context.Context, q gatebook.Query) (*gatebook.Found, error) {
	if q.Session != "" && r.fails("getSessionAndUser") || q.UserID != "" && r.fails("getUser") ||
		q.Email != "" && r.fails("getUserByEmail") || q.Account != (gatebook.AccountKey{}) && r.fails("getUserByAccount") {
		return nil, errStore
	}
	return r.Store.Find(ctx, q)
}

func (r *recorder) Session(ctx context.Context, token gatebook.Secret) (*gatebook.FoundSession, error) {
	if r.fails("getSessionAndUser") {
		return nil, errStore
	}
	return r.Store.Session(ctx, token)
}

func (r *recorder) ExtendSession(ctx context.Context, token gatebook.Secret, expires time.Time) error {
	if r.fails("updateSession") {
		return errStore
	}
	if err := r.Store.ExtendSession(ctx, token, expires); err != nil {
		return err
	}
	r.site.tell("write", "updateSession", object("sessionToken", string(token), "expires", isoTime(expires)))
	return nil
}

func (r *recorder) Commit(ctx context.Context, act *gatebook.Act) error {
	var wrote []call
	again := "" // a session written anew under its own token has not changed
	for _, w := range act.Writes {
		if d, ok := w.(gatebook.DeleteSession); ok {
			again = d.Handle
		}
		if c, ok := w.(gatebook.CreateSession); ok && c.Session.Handle == again && again != "" {
			wrote = slices.DeleteFunc(wrote, func(c call) bool { return c.Name == "deleteSession" })
			continue
		}
		name, payload := written(w)
		if name == "" {
			continue
		}
		if r.fails(name) {
			return errStore
		}
		wrote = append(wrote, call{"write", name, *payload})
	}
	if err := r.Store.Commit(ctx, act); err != nil {
		return err
	}
	for _, c := range wrote {
		r.site.tell(c.Kind, c.Name, &c.Payload)
	}
	return nil
}

// written says a write in the words of Auth.js's adapter; the book's own have no
// name there.
func written(w gatebook.Write) (string, *gatebook.Claims) {
	switch w := w.(type) {
	case gatebook.CreateUser:
		return "createUser", userOf(&w.User)
	case gatebook.UpdateUser:
		o := object("id", w.User.ID)
		if slices.Contains(w.Fields, "emailVerified") {
			o.Set("emailVerified", isoTime(w.User.EmailVerified))
		}
		return "updateUser", o
	case gatebook.LinkAccount:
		return "linkAccount", accountOf(&w.Account)
	case gatebook.CreateSession:
		return "createSession", rowOf(&w.Session)
	case gatebook.DeleteSession:
		return "deleteSession", object()
	case gatebook.CreateAuthenticator:
		return "createAuthenticator", authenticatorOf(&w.Authenticator)
	case gatebook.CountAuthenticator:
		return "updateAuthenticatorCounter", object("credentialID", w.CredentialID, "counter", w.To)
	case gatebook.CreateVerificationToken:
		return "createVerificationToken", object("identifier", w.Token.Identifier, "token", w.Token.Hash, "expires", isoTime(w.Token.Expires))
	case gatebook.UseVerificationToken:
		return "useVerificationToken", object("identifier", w.Identifier, "token", w.Hash)
	}
	return "", nil
}
