// Package pages renders the built-in pages of a sign-in service: sign-in,
// sign-out, error and verify-request.
//
// Forms, field names, ids and classes are those of Auth.js v5, so that a
// client or an end-to-end test written for its pages finds the same things
// here; the look is our own. The pages run no script, but for passkeys one of
// ours, and load nothing but, when a theme names one, its logo.
//
// The package knows nothing of requests, providers or configuration: what a
// page shows is exactly what its struct holds. In particular nothing from a
// query reaches a page unless the caller puts it into a field, and an error
// code only selects a text, so it is never shown itself.
package pages

import "net/http"

// Pages renders the pages in one theme. Its methods may be called
// concurrently. Make one with [New].
type Pages struct {
	// A page is head, its title, body, its content and foot.
	head, body markup
	logo       markup // or empty
	policy     string
}

const foot markup = "</div>\n</main>\n</body>\n</html>\n"

// Page is a page and what has to be sent with it.
type Page struct {
	Status int
	// Policy is the value of the Content-Security-Policy header: the stylesheet
	// is allowed by its hash, images from the page's own origin and from where
	// the theme's logo is, with passkeys their script by its hash, and nothing
	// else.
	Policy string
	// HTML is the body, in UTF-8. It is the caller's.
	HTML []byte
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
	scheme, modes := markup("auto"), markup("light dark")
	if t.ColorScheme == "light" || t.ColorScheme == "dark" {
		scheme = markup(t.ColorScheme)
		modes = scheme
	}
	p := &Pages{
		head: `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="` + modes + `">
<meta name="robots" content="noindex">
<title>`,
		body: "</title>\n<style>" + markup(style) + "</style>\n</head>\n" +
			`<body class="__next-auth-theme-` + scheme + "\">\n<main>\n<div class=\"page\">\n",
		policy: contentSecurityPolicy(style, images),
	}
	if t.Logo != "" {
		var w writer
		w.raw(`<img class="logo"`)
		w.attr("src", t.Logo)
		w.raw(` alt="Logo">`)
		p.logo = markup(w.b)
	}
	return p, nil
}

// begin starts a page of about size bytes besides what all pages have: its
// title, the classes of its outermost element, and its logo or icon.
func (p *Pages) begin(size int, title, class, icon markup) *writer {
	w := &writer{make([]byte, 0, len(p.head)+len(p.body)+len(p.logo)+len(foot)+size)}
	w.raw(p.head, title, p.body, `<div class="`, class, "\">\n<div class=\"card\">\n")
	if p.logo != "" {
		w.raw(p.logo, "\n")
	} else {
		w.raw(`<svg class="icon" viewBox="0 0 24 24" aria-hidden="true">`, icon, "</svg>\n")
	}
	return w
}

func (p *Pages) end(w *writer, status int) Page {
	w.raw("</div>\n</div>\n", foot)
	return Page{Status: status, Policy: p.policy, HTML: w.b}
}

// endScripted ends a page that has the script of passkeys.
func (p *Pages) endScripted(w *writer) Page {
	w.raw("</div>\n</div>\n<script>", markup(passkeyScript), "</script>\n", foot)
	return Page{Status: http.StatusOK, Policy: p.policy + scriptPolicy, HTML: w.b}
}

// home writes a link to the site.
func home(w *writer, url, host string) {
	w.raw(`<p class="actions"><a class="site"`)
	w.link("href", url)
	w.raw("><bdi>")
	w.text(host)
	w.raw("</bdi></a></p>\n")
}

// SignOut is what the sign-out page shows.
type SignOut struct {
	CSRFToken string
	// Action is the URL the form posts to.
	Action string
}

// SignOut returns the sign-out page, which asks whether to sign out.
func (p *Pages) SignOut(s SignOut) Page {
	w := p.begin(1<<10, "Sign Out", "signout", iconExit)
	w.raw("<h1>Sign out</h1>\n<p>Are you sure you want to sign out?</p>\n", `<form class="actions" method="POST"`)
	w.link("action", s.Action)
	w.raw(">\n")
	w.hidden("csrfToken", s.CSRFToken)
	w.raw(`<button class="button main" id="submitButton" type="submit"><span>Sign out</span></button>`, "\n</form>\n")
	return p.end(w, http.StatusOK)
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

// Native returns that page.
func (p *Pages) Native(n Native) Page {
	w := p.begin(1<<10+len(n.RedirectURI)+len(n.State), "Sign In", "native", iconDevice)
	w.raw("<h1>Sign in on this device</h1>\n<p>")
	if n.Client == "" {
		w.raw("A program on this device")
	} else {
		w.raw("The program ")
		w.name(n.Client)
	}
	w.raw(" asks to be signed in")
	if n.User != "" {
		w.raw(" as ")
		w.name(n.User)
	}
	w.raw(". Continue only if you have just begun this there.</p>\n", `<form class="actions" method="POST"`)
	w.link("action", n.Action)
	w.raw(">\n")
	w.hidden("csrfToken", n.CSRFToken)
	w.hidden("redirect_uri", n.RedirectURI)
	w.hidden("code_challenge", n.Challenge)
	w.hidden("code_challenge_method", "S256")
	w.hidden("state", n.State)
	w.raw(`<button class="button main" id="submitButton" type="submit"><span>Continue</span></button>`, "\n</form>\n")
	return p.end(w, http.StatusOK)
}

// name writes a name that stands out in a sentence.
func (w *writer) name(s string) {
	w.raw("<strong><bdi>")
	w.text(s)
	w.raw("</bdi></strong>")
}

// VerifyRequest is what the verify-request page shows.
type VerifyRequest struct {
	// Host is the text of the link to HomeURL.
	Host    string
	HomeURL string
}

// VerifyRequest returns the page that tells the visitor to open the link that
// was sent by e-mail.
func (p *Pages) VerifyRequest(v VerifyRequest) Page {
	w := p.begin(1<<10, "Verify Request", "verify-request", iconLetter)
	w.raw("<h1>Check your email</h1>\n<p>A sign in link has been sent to your email address.</p>\n")
	home(w, v.HomeURL, v.Host)
	return p.end(w, http.StatusOK)
}

// Error is what the error page shows.
type Error struct {
	// Code is Configuration, AccessDenied, Verification or
	// WebAuthnVerificationError, spelled so. Any other code, and none, gives a
	// page without details.
	Code string
	// Host is the text of the link to HomeURL.
	Host    string
	HomeURL string
	// SignInURL is where the visitor may try again.
	SignInURL string
}

// Error returns the error page. Where it tells of a failure its status does so
// too; a page without details was merely asked for.
func (p *Pages) Error(e Error) Page {
	switch e.Code {
	case "Configuration":
		w := p.beginError(iconAlert, "Server error")
		w.raw("<p>There is a problem with the server configuration.</p>\n",
			"<p>If you run this site, check the server logs: they have the reason.</p>\n</div>\n")
		return p.end(w, http.StatusInternalServerError)
	case "AccessDenied":
		w := p.beginError(iconLock, "Access Denied")
		w.raw("<p>You do not have permission to sign in.</p>\n")
		again(w, e.SignInURL)
		w.raw("</div>\n")
		return p.end(w, http.StatusForbidden)
	case "Verification":
		w := p.beginError(iconAlert, "Unable to sign in")
		w.raw("<p>The sign in link is no longer valid.</p>\n",
			"<p>It may have been used already or it may have expired.</p>\n</div>\n")
		again(w, e.SignInURL)
		return p.end(w, http.StatusForbidden)
	case "WebAuthnVerificationError":
		w := p.beginError(iconAlert, "Unable to sign in")
		w.raw("<p>The passkey could not be verified.</p>\n</div>\n")
		again(w, e.SignInURL)
		return p.end(w, http.StatusOK) // as in Auth.js, which has no text for it
	}
	w := p.beginError(iconAlert, "Error")
	w.raw("<p>Something went wrong.</p>\n")
	home(w, e.HomeURL, e.Host)
	w.raw("</div>\n")
	return p.end(w, http.StatusOK)
}

func (p *Pages) beginError(icon, heading markup) *writer {
	w := p.begin(1<<10, "Error", "error", icon)
	w.raw("<h1>", heading, "</h1>\n<div class=\"message\">\n")
	return w
}

// again writes a link to the sign-in page.
func again(w *writer, url string) {
	w.raw(`<p class="actions"><a class="button main"`)
	w.link("href", url)
	w.raw("><span>Sign in</span></a></p>\n")
}
