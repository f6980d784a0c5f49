package gatebook

import (
	"bytes"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/gatebook/gatebook/internal/cookie"
	"github.com/gatebook/gatebook/internal/pages"
)

// page sends one of the built-in pages.
func (x *exchange) page(status int, render func(io.Writer) error) {
	x.pageUnder(x.a.pages.ContentSecurityPolicy(), status, render)
}

// pageUnder sends a page with another policy than most have.
func (x *exchange) pageUnder(policy string, status int, render func(io.Writer) error) {
	var buf bytes.Buffer
	if err := render(&buf); err != nil {
		x.a.log.Error("render page", "route", x.route, "error", err.Error())
		http.Error(x.w, "The page could not be made. Check the server logs for more information.", http.StatusInternalServerError)
		return
	}
	h := x.w.Header()
	h["Content-Type"] = []string{"text/html; charset=utf-8"}
	h["Content-Security-Policy"] = []string{policy}
	h["Referrer-Policy"] = []string{"same-origin"}
	h["X-Content-Type-Options"] = []string{"nosniff"}
	h["X-Frame-Options"] = []string{"DENY"}
	noCache(h)
	sendCookies(h, x.visit)
	x.w.WriteHeader(status)
	x.w.Write(buf.Bytes())
}

func (x *exchange) host() string {
	_, host, _ := strings.Cut(x.origin, "://")
	return host
}

// signInPath is where people sign in: our page, or the application's own.
func (a *Auth) signInPath() string {
	if a.cfg.Pages.SignIn != "" {
		return a.cfg.Pages.SignIn
	}
	return a.base + "/signin"
}

func (x *exchange) signInPage() {
	query := x.query
	if page := x.a.cfg.Pages.SignIn; page != "" {
		to := withQuery(page, "callbackUrl", x.callback)
		if e := query["error"]; e != "" {
			to = withQuery(to, "error", e)
		}
		x.redirect(to)
		return
	}
	s := pages.SignIn{Host: x.host(), CSRFToken: x.csrfToken, CallbackURL: x.callback, Email: query["email"], Error: query["error"]}
	s.Providers = make([]pages.Provider, len(x.a.cfg.Providers))
	for i, p := range x.a.cfg.Providers {
		info := p.Info()
		pp := pages.Provider{ID: info.ID, Name: info.Name, Type: info.Type, Brand: info.BrandColor,
			SignInURL: x.signInURL(info.ID), CallbackURL: x.callbackURL(info.ID)}
		if c, ok := p.(CredentialsProvider); ok {
			for _, f := range c.Fields() {
				pp.Fields = append(pp.Fields, pages.Field{Name: f.Name, Label: f.Label, Type: f.Type, Placeholder: f.Placeholder, Required: true})
			}
		}
		if _, ok := p.(WebAuthnProvider); ok {
			pp.OptionsURL = x.origin + x.a.base + "/webauthn-options/" + info.ID
			// Not required: a passkey knows whose it is.
			pp.Fields = []pages.Field{{Name: "email", Label: "Email", Type: "email", Autocomplete: "username webauthn", Value: query["email"]}}
		}
		s.Providers[i] = pp
	}
	x.pageUnder(x.a.pages.SignInPolicy(s), http.StatusOK, func(w io.Writer) error { return x.a.pages.SignIn(w, s) })
}

func (x *exchange) signOutPage() {
	if page := x.a.cfg.Pages.SignOut; page != "" {
		x.redirect(page)
		return
	}
	s := pages.SignOut{CSRFToken: x.csrfToken, Action: x.origin + x.a.base + "/signout"}
	x.page(http.StatusOK, func(w io.Writer) error { return x.a.pages.SignOut(w, s) })
}

func (x *exchange) verifyRequestPage() {
	if page := x.a.cfg.Pages.VerifyRequest; page != "" {
		to := page
		for _, name := range []string{"provider", "type"} {
			if v := x.query[name]; v != "" {
				to = withQuery(to, name, v)
			}
		}
		x.redirect(to)
		return
	}
	v := pages.VerifyRequest{Host: x.host(), HomeURL: x.origin}
	x.page(http.StatusOK, func(w io.Writer) error { return x.a.pages.VerifyRequest(w, v) })
}

func (x *exchange) errorPage() {
	code := x.query["error"]
	if page := x.a.cfg.Pages.Error; page != "" {
		if code == "" {
			x.redirect(page)
			return
		}
		x.redirect(withQuery(page, "error", code))
		return
	}
	x.renderError(code)
}

func (x *exchange) renderError(code string) {
	e := pages.Error{Code: code, Host: x.host(), HomeURL: x.origin, SignInURL: x.a.base + "/signin"}
	x.page(e.Status(), func(w io.Writer) error { return x.a.pages.Error(w, e) })
}

// parseForm reads a query or form as the WHATWG URL Standard does: what is not
// percent-encoded well stands for itself, and only & separates. It reports false
// when there are more than maxParams.
func parseForm(encoded string) ([]Param, bool) {
	var out []Param
	for pair := range strings.SplitSeq(encoded, "&") {
		if pair == "" {
			continue
		}
		if len(out) == maxParams {
			return nil, false
		}
		name, value, _ := strings.Cut(pair, "=")
		out = append(out, Param{unescapeForm(name), unescapeForm(value)})
	}
	return out, true
}

func unescapeForm(s string) string {
	s = strings.ReplaceAll(s, "+", " ")
	if t, err := cookie.UnescapeComponent(s); err == nil {
		return strings.ToValidUTF8(t, "\uFFFD")
	}
	var b []byte
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if v, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				b = append(b, byte(v))
				i += 2
				continue
			}
		}
		b = append(b, s[i])
	}
	return strings.ToValidUTF8(string(b), "\uFFFD")
}
