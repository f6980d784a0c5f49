package demoidp

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"embed"
	"encoding/base64"
	"fmt"
	"hash/fnv"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

//go:embed pages
var files embed.FS

var pages = template.Must(template.ParseFS(files, "pages/*.html"))

// style stands in every page, allowed by its hash, so that a page is one
// response and loads nothing but the pictures.
var style = func() template.CSS {
	css, err := files.ReadFile("pages/style.css")
	if err != nil {
		panic(err) // the file is embedded
	}
	return template.CSS(css) //nolint:gosec // G203: our own file
}()

// contentSecurityPolicy is that of the pages. Chromium applies form-action to
// the redirect that answers a form, too, so the client's origins are in it.
func contentSecurityPolicy(origins []string) string {
	sum := sha256.Sum256([]byte(style))
	return "default-src 'none'; base-uri 'none'; frame-ancestors 'none'; img-src 'self'; " +
		"style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; " +
		"form-action 'self' " + strings.Join(origins, " ")
}

// page is what the templates get.
type page struct {
	Style  template.CSS
	Title  string
	App    string // host of the client, such as localhost:8080
	AppURL string // root of the client

	ID, Form string // of the request, for the forms
	People   []face
	Person   face
	Shared   []share
}

// face is a person as shown.
type face struct{ Subject, Name, GivenName, Email, Picture string }

// share is a line of the consent page.
type share struct{ What, Value string }

func faceOf(person *Person) face {
	return face{person.Subject, person.Name, person.GivenName, person.Email, avatarPath(person)}
}

// show writes the page of the template name.
func (p *Provider) show(w http.ResponseWriter, status int, name string, data page) {
	data.Style = style
	if data.AppURL == "" {
		data.AppURL = p.appURL
	}
	if u, err := url.Parse(data.AppURL); err == nil {
		data.App = u.Host
	}
	var b bytes.Buffer
	if err := pages.ExecuteTemplate(&b, name, data); err != nil {
		p.log.Error("demo identity provider: page failed", "page", name, "error", err)
		http.Error(w, "This page cannot be shown.", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", p.csp)
	w.WriteHeader(status)
	if _, err := b.WriteTo(w); err != nil {
		p.log.Debug("demo identity provider: the visitor left", "error", err)
	}
}

// gone answers whenever a request cannot go on. It does not say which of the
// reasons it was: that would tell one browser about another's sign-in.
func (p *Provider) gone(w http.ResponseWriter) {
	p.show(w, http.StatusBadRequest, "gone", page{Title: "This sign-in is no longer open"})
}

func (p *Provider) homePage(w http.ResponseWriter, _ *http.Request) {
	p.show(w, http.StatusOK, "home", page{Title: "Demo identity provider"})
}

func (p *Provider) signedOutPage(w http.ResponseWriter, _ *http.Request) {
	p.show(w, http.StatusOK, "signed-out", page{Title: "Signed out"})
}

func (p *Provider) signInPage(w http.ResponseWriter, r *http.Request) {
	req, ok := p.store.pending(r.FormValue("id"), browserOf(r))
	if !ok || req.approved {
		p.gone(w)
		return
	}
	data := page{Title: "Choose an account", AppURL: appOf(req), ID: req.id, Form: req.form}
	for i := range p.store.people {
		if person := &p.store.people[i]; req.only == "" || req.only == person.Subject {
			data.People = append(data.People, faceOf(person))
		}
	}
	p.show(w, http.StatusOK, "signin", data)
}

func (p *Provider) signInForm(w http.ResponseWriter, r *http.Request) {
	req, ok := p.posted(r)
	if !ok {
		p.gone(w)
		return
	}
	if r.PostForm.Has("cancel") {
		p.deny(w, r, req)
		return
	}
	if !p.store.choose(req.id, r.PostForm.Get("person")) {
		p.gone(w)
		return
	}
	http.Redirect(w, r, "/consent?id="+req.id, http.StatusSeeOther)
}

func (p *Provider) consentPage(w http.ResponseWriter, r *http.Request) {
	req, ok := p.store.pending(r.FormValue("id"), browserOf(r))
	if !ok || req.approved {
		p.gone(w)
		return
	}
	if req.person == nil {
		http.Redirect(w, r, "/signin?id="+req.id, http.StatusSeeOther)
		return
	}
	p.show(w, http.StatusOK, "consent", page{
		Title: "Share your details", AppURL: appOf(req), ID: req.id, Form: req.form,
		Person: faceOf(req.person), Shared: sharedOf(req),
	})
}

func (p *Provider) consentForm(w http.ResponseWriter, r *http.Request) {
	req, ok := p.posted(r)
	if !ok {
		p.gone(w)
		return
	}
	if r.PostForm.Has("cancel") {
		p.deny(w, r, req)
		return
	}
	if !p.store.approve(req.id, r.PostForm.Get("person")) {
		p.gone(w)
		return
	}
	location, err := op.BuildAuthResponseCallbackURL(r.Context(), req, p.op)
	if err != nil {
		p.log.Error("demo identity provider: no code issued", "error", err)
		p.gone(w)
		return
	}
	p.log.Info("demo identity provider: signed in", "sub", req.person.Subject, "client", req.ClientID)
	http.Redirect(w, r, withIss(location, p.issuer), http.StatusSeeOther)
}

// posted returns the request that a form of ours belongs to: right browser,
// right secret.
func (p *Provider) posted(r *http.Request) (*authRequest, bool) {
	if err := r.ParseForm(); err != nil {
		return nil, false
	}
	req, ok := p.store.pending(r.PostForm.Get("id"), browserOf(r))
	if !ok || subtle.ConstantTimeCompare([]byte(r.PostForm.Get("form")), []byte(req.form)) != 1 {
		return nil, false
	}
	return req, true
}

// deny sends the visitor back with access_denied (RFC 6749, Section 4.1.2.1).
// It is not left to the library, which would log the client's state.
func (p *Provider) deny(w http.ResponseWriter, r *http.Request, req *authRequest) {
	if !p.store.cancel(req.id) {
		p.gone(w)
		return
	}
	denied := oidc.ErrAccessDenied().WithDescription("The sign-in was cancelled.")
	denied.State = req.State
	location, err := op.AuthResponseURL(req.RedirectURI, req.ResponseType, req.ResponseMode, denied, p.op.Encoder())
	if err != nil {
		p.log.Error("demo identity provider: no error response", "error", err)
		p.gone(w)
		return
	}
	p.log.Info("demo identity provider: sign-in cancelled", "client", req.ClientID)
	http.Redirect(w, r, withIss(location, p.issuer), http.StatusSeeOther)
}

// appOf returns the root of the client's origin. The redirect URI is one of
// Config.RedirectURIs, which parse.
func appOf(req *authRequest) string {
	u, err := url.Parse(req.RedirectURI)
	if err != nil {
		return ""
	}
	return u.Scheme + "://" + u.Host + "/"
}

func sharedOf(req *authRequest) []share {
	var shared []share
	if slices.Contains(req.Scopes, oidc.ScopeProfile) {
		shared = append(shared, share{"Name and picture", req.person.Name})
	}
	if slices.Contains(req.Scopes, oidc.ScopeEmail) {
		shared = append(shared, share{"E-mail address", req.person.Email})
	}
	return append(shared, share{"Account id", req.person.Subject})
}

func avatarPath(person *Person) string { return "/avatar/" + person.Subject + ".svg" }

func (p *Provider) icon(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "max-age=3600")
	http.ServeFileFS(w, r, files, "pages/icon.svg")
}

// avatar draws a person's picture: initials on a disc whose hue follows from
// the subject. Pages on other origins may show it.
func (p *Provider) avatar(w http.ResponseWriter, r *http.Request) {
	subject, ok := strings.CutSuffix(r.PathValue("file"), ".svg")
	person := p.store.person(subject)
	if !ok || person == nil {
		http.NotFound(w, r)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "image/svg+xml")
	h.Set("Cache-Control", "max-age=3600")
	h.Set("Cross-Origin-Resource-Policy", "cross-origin")
	sum := fnv.New32a()
	sum.Write([]byte(person.Subject))
	hue := sum.Sum32() % 360
	fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 96 96" role="img" aria-label="%s">`+
		`<defs><linearGradient id="g" x2="1" y2="1"><stop stop-color="hsl(%d,62%%,44%%)"/>`+
		`<stop offset="1" stop-color="hsl(%d,68%%,28%%)"/></linearGradient></defs>`+
		`<circle cx="48" cy="48" r="48" fill="url(#g)"/>`+
		`<text x="48" y="49" fill="#fff" font-family="system-ui,sans-serif" font-size="36" font-weight="600" `+
		`text-anchor="middle" dominant-baseline="central">%s</text></svg>`,
		template.HTMLEscapeString(person.Name), hue, (hue+40)%360, template.HTMLEscapeString(initials(person.Name)))
}

// initials returns the first letters of the first and the last word of name.
func initials(name string) string {
	words := strings.Fields(name)
	if len(words) > 2 {
		words = []string{words[0], words[len(words)-1]}
	}
	var s []rune
	for _, word := range words {
		s = append(s, unicode.ToUpper([]rune(word)[0]))
	}
	return string(s)
}
