// Package pages renders the built-in pages of a sign-in service: sign-in,
// sign-out, error and verify-request.
//
// Forms, field names, ids and classes are those of Auth.js v5, so that a
// client or an end-to-end test written for its pages finds the same things
// here; the look is our own. The pages run no script, but for passkeys one of
// ours, and load nothing but, when a theme names one, its logo. They are meant to be served with the
// header that [Pages.ContentSecurityPolicy] returns.
//
// The package knows nothing of requests, providers or configuration: what a
// page shows is exactly what its struct holds. In particular nothing from a
// query reaches a page unless the caller puts it into a field, and an error
// code only selects a text, so it is never shown itself.
package pages

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"net/http"
)

//go:embed pages.tmpl
var source string

// templates is shared by all Pages: what differs between themes is data.
var templates = template.Must(template.New("").Parse(source))

// Pages renders the pages in one theme. Its methods may be called
// concurrently. Make one with [New].
type Pages struct {
	scheme string
	style  template.CSS
	logo   template.URL
	policy string
}

// frame is what every template gets: the surroundings of a page and the page.
type frame struct {
	Title  string
	Scheme string // body class suffix: auto, light or dark
	Modes  string // value of the color-scheme meta element
	Style  template.CSS
	Logo   template.URL
	Page   any
}

// New returns Pages in the theme t, or an error that names the field of t
// that cannot be used.
func New(t Theme) (*Pages, error) {
	style, err := t.stylesheet()
	if err != nil {
		return nil, err
	}
	images, err := t.imageSources()
	if err != nil {
		return nil, err
	}
	scheme := t.ColorScheme
	if scheme == "" {
		scheme = "auto"
	}
	return &Pages{
		scheme: scheme,
		style:  template.CSS(style), //nolint:gosec // made of our own text and of colours that were parsed
		// The value has passed imageSources. Typed as a URL because
		// html/template would otherwise refuse data: images.
		logo:   template.URL(t.Logo), //nolint:gosec // as above
		policy: contentSecurityPolicy(style, images),
	}, nil
}

// ContentSecurityPolicy returns the value of the Content-Security-Policy
// header to send with each of these pages. It is the same for all of them and
// depends on the theme: the stylesheet is allowed by its hash, images from the
// page's own origin and from where the logo is.
func (p *Pages) ContentSecurityPolicy() string {
	return p.policy
}

// SignOut is what the sign-out page shows.
type SignOut struct {
	CSRFToken string
	// Action is the URL the form posts to.
	Action string
}

// SignOut writes the sign-out page, which asks whether to sign out. Its status
// is 200.
func (p *Pages) SignOut(w io.Writer, s SignOut) error {
	return p.render(w, "signout", "Sign Out", s)
}

// Native is what the page shows that asks whether a program on the visitor's
// device may be signed in.
type Native struct {
	// Client is what people know the program by, empty for one on their own
	// device, and User who they are.
	Client, User string
	CSRFToken    string
	// Action is the URL the form posts to, with the fields that follow.
	Action                        string
	RedirectURI, Challenge, State string
}

// Native writes that page. Its status is 200.
func (p *Pages) Native(w io.Writer, n Native) error {
	return p.render(w, "native", "Sign In", n)
}

// VerifyRequest is what the verify-request page shows.
type VerifyRequest struct {
	// Host is the text of the link to HomeURL.
	Host    string
	HomeURL string
}

// VerifyRequest writes the page that tells the visitor to open the link that
// was sent by e-mail. Its status is 200.
func (p *Pages) VerifyRequest(w io.Writer, v VerifyRequest) error {
	return p.render(w, "verify", "Verify Request", v)
}

// Error is what the error page shows.
type Error struct {
	// Code is Configuration, AccessDenied or Verification, spelled so. Any
	// other code, and none, gives a page without details.
	Code string
	// Host is the text of the link to HomeURL.
	Host    string
	HomeURL string
	// SignInURL is where the visitor may try again.
	SignInURL string
}

// Status returns the HTTP status to send with the page.
func (e Error) Status() int {
	switch e.Code {
	case "Configuration":
		return http.StatusInternalServerError
	case "AccessDenied", "Verification":
		return http.StatusForbidden
	}
	// Not a failure of this request: the page was asked for and is shown.
	return http.StatusOK
}

// Error writes the error page. Its status is e.Status().
func (p *Pages) Error(w io.Writer, e Error) error {
	return p.render(w, "error", "Error", e)
}

// render writes a page with one call of w.Write, so that a page is never sent
// in half because rendering failed.
func (p *Pages) render(w io.Writer, name, title string, page any) error {
	f := frame{Title: title, Scheme: p.scheme, Modes: p.scheme, Style: p.style, Logo: p.logo, Page: page}
	if p.scheme == "auto" {
		f.Modes = "light dark"
	}
	var b bytes.Buffer
	b.Grow(len(p.style) + 8<<10)
	if err := templates.ExecuteTemplate(&b, name, f); err != nil {
		return fmt.Errorf("render %s page: %w", name, err)
	}
	if _, err := w.Write(b.Bytes()); err != nil {
		return fmt.Errorf("write %s page: %w", name, err)
	}
	return nil
}
