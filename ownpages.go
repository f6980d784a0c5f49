package gatebook

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/gatebook/gatebook/internal/pages"
)

// SignInData is what an application needs to draw the sign-in page itself, or a
// page with a button to sign out. [Auth.SignInData] returns it. All of it is text
// for html/template to escape.
type SignInData struct {
	// CSRFToken is the value of the input csrfToken that every form must have.
	CSRFToken string
	// CallbackURL is the value of the input callbackUrl: where the visitor goes
	// afterwards. It is absolute and was checked.
	CallbackURL string
	// Email is what the page's query suggests for e-mail inputs, or empty. Whoever
	// made the link chose it.
	Email string
	// Error is the code of the failure that led here, such as CredentialsSignin,
	// or empty; Code is the further code of refused credentials and of [Deny].
	// Whoever made the link chose both: compare them with codes you know and do
	// not show them.
	Error, Code string
	// ErrorText tells a visitor in English what Error means. It is one of our own
	// texts, and empty when Error is.
	ErrorText string
	// Providers are in the order of [Config.Providers].
	Providers []SignInProvider
	// SignOutURL is where a form is posted to that signs out; its inputs are
	// csrfToken and, if not to the page itself, callbackUrl.
	SignOutURL string
}

// SignInProvider is a way to sign in and the form that begins it.
type SignInProvider struct {
	ProviderInfo
	// Action is where the form is posted to, absolute, with the inputs csrfToken
	// and callbackUrl and those of Fields.
	Action string
	// Fields are what the visitor has to type; none where another site asks, and
	// for passkeys, which need a script.
	Fields []Field
}

// errUntrustedHost is for the operator.
var errUntrustedHost = errors.New("gatebook: the request's host is not trusted: set Config.URL (or AUTH_URL) to the site's address")

// SignInData returns what a sign-in page of the application's own has to show
// for the request r, and does what the built-in page would: it sets the cookies
// of the CSRF token and of the callback URL on w, and forbids caching, for the
// token is this visitor's. Call it before the first Write.
//
// The page's query is read as the built-in page reads it: callbackUrl, which is
// checked and recorded when it leads elsewhere, error, code and email. Set
// [Pages].SignIn to the page's path, so that visitors are sent there, and
// [Pages].Error too if it is to show every failure. It needs no [Auth.Middleware].
//
// It fails when the host of r is not trusted, which is recorded, when the query
// has too many parameters and when the redirect callback fails; then nothing is
// set on w.
func (a *Auth) SignInData(w http.ResponseWriter, r *http.Request) (*SignInData, error) {
	v, trusted := a.visit(r, "signin")
	x := &exchange{a: a, w: w, visit: v, action: "signin"}
	x.firing = a.handlers.begin(r.Context())
	defer x.firing.close()
	if !trusted {
		x.noteHost()
		return nil, errUntrustedHost
	}
	params, ok := parseForm(r.URL.RawQuery)
	if !ok {
		return nil, fmt.Errorf("gatebook: the query has more than %d parameters", maxParams)
	}
	x.query = lastValues(params)
	x.readCSRF()
	if err := x.readCallbackURL(); err != nil {
		return nil, err
	}
	noCache(w.Header())
	sendCookies(w.Header(), v)
	d := &SignInData{CSRFToken: x.csrfToken, CallbackURL: x.callback, Email: x.query["email"],
		Error: x.query["error"], Code: x.query["code"], ErrorText: pages.Message(x.query["error"]),
		Providers: make([]SignInProvider, len(a.cfg.Providers)), SignOutURL: x.origin + a.base + "/signout"}
	for i, p := range a.cfg.Providers {
		d.Providers[i] = x.signInProvider(p)
	}
	return d, nil
}

func (x *exchange) signInProvider(p Provider) SignInProvider {
	info := p.Info()
	out := SignInProvider{ProviderInfo: info, Action: x.signInURL(info.ID)}
	switch p := p.(type) {
	case EmailProvider:
		out.Fields = []Field{{Name: "email", Label: "Email", Type: "email", Placeholder: "email@example.com"}}
	case WebAuthnProvider:
		out.Action = x.callbackURL(info.ID) // which a script posts to
	case CredentialsProvider:
		out.Action = x.callbackURL(info.ID)
		for _, f := range p.Fields() {
			if f.Label == "" {
				f.Label = f.Name
			}
			if f.Type == "" {
				f.Type = "text"
			}
			out.Fields = append(out.Fields, f)
		}
	}
	return out
}

// BasePath returns the path under which the handler is to be mounted, such as
// "/auth", without a slash at its end; it is empty for the root. The routes are
// below it: BasePath() + "/signin", "/signout", "/session" and so on.
//
//	mux.Handle(auth.BasePath()+"/", auth)
func (a *Auth) BasePath() string { return a.base }
