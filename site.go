package gatebook

import (
	"strconv"
	"strings"

	"github.com/gatebook/gatebook/internal/cookie"
	"github.com/gatebook/gatebook/internal/pages"
)

// page sends one of the built-in pages.
func (x *exchange) page(p pages.Page) {
	h := x.w.Header()
	h["Content-Type"] = []string{"text/html; charset=utf-8"}
	h["Content-Security-Policy"] = []string{p.Policy}
	h["Referrer-Policy"] = []string{"same-origin"}
	h["X-Content-Type-Options"] = []string{"nosniff"}
	h["X-Frame-Options"] = []string{"DENY"}
	noCache(h)
	sendCookies(h, x.visit)
	x.w.WriteHeader(p.Status)
	x.w.Write(p.HTML)
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
				pp.Fields = append(pp.Fields, pages.Field{Name: f.Name, Label: f.Label, Type: f.Type, Placeholder: f.Placeholder})
			}
		}
		if _, ok := p.(WebAuthnProvider); ok {
			pp.OptionsURL = x.origin + x.a.base + "/webauthn-options/" + info.ID
			// Not required: a passkey knows whose it is.
			pp.Fields = []pages.Field{{Name: "email", Label: "Email", Type: "email", Autocomplete: "username webauthn", Value: query["email"]}}
		}
		s.Providers[i] = pp
	}
	x.page(x.a.pages.SignIn(s))
}

func (x *exchange) signOutPage() {
	if page := x.a.cfg.Pages.SignOut; page != "" {
		x.redirect(page)
		return
	}
	x.page(x.a.pages.SignOut(pages.SignOut{CSRFToken: x.csrfToken, Action: x.origin + x.a.base + "/signout"}))
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
	x.page(x.a.pages.VerifyRequest(pages.VerifyRequest{Host: x.host(), HomeURL: x.origin}))
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
	x.page(x.a.pages.Error(pages.Error{Code: code, Host: x.host(), HomeURL: x.origin, SignInURL: x.a.base + "/signin"}))
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
