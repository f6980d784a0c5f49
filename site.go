package gatebook

import (
	"bytes"
	"io"
	"net/http"
	"strings"

	"github.com/gatebook/gatebook/internal/cookie"
	"github.com/gatebook/gatebook/internal/pages"
)

// page sends one of the built-in pages.
func (x *exchange) page(status int, render func(io.Writer) error) {
	var buf bytes.Buffer
	if err := render(&buf); err != nil {
		x.a.log.Error("render page", "route", x.route, "error", err.Error())
		http.Error(x.w, "The page could not be made. Check the server logs for more information.", http.StatusInternalServerError)
		return
	}
	h := x.w.Header()
	h["Content-Type"] = []string{"text/html; charset=utf-8"}
	h["Content-Security-Policy"] = []string{x.a.pages.ContentSecurityPolicy()}
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

func (x *exchange) signInPage() {
	query := x.query()
	if page := x.a.cfg.Pages.SignIn; page != "" {
		to := withQuery(page, "callbackUrl", x.callback)
		if e := query["error"]; e != "" {
			to = withQuery(to, "error", e)
		}
		x.redirect(to)
		return
	}
	s := pages.SignIn{Host: x.host(), CSRFToken: x.csrfToken, CallbackURL: x.callback, Email: query["email"], Error: query["error"]}
	for _, p := range x.a.cfg.Providers {
		info := p.Info()
		pp := pages.Provider{ID: info.ID, Name: info.Name, Type: info.Type, Brand: info.BrandColor,
			SignInURL: x.signInURL(info.ID), CallbackURL: x.callbackURL(info.ID)}
		if c, ok := p.(CredentialsProvider); ok {
			for _, f := range c.Fields() {
				pp.Fields = append(pp.Fields, pages.Field{Name: f.Name, Label: f.Label, Type: f.Type, Placeholder: f.Placeholder, Required: true})
			}
		}
		s.Providers = append(s.Providers, pp)
	}
	x.page(http.StatusOK, func(w io.Writer) error { return x.a.pages.SignIn(w, s) })
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
			if v := x.query()[name]; v != "" {
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
	code := x.query()["error"]
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

// orderedQuery returns a query's parameters in their order; broken ones are
// left out.
func orderedQuery(raw string) []Param {
	var out []Param
	for pair := range strings.SplitSeq(raw, "&") {
		name, value, _ := strings.Cut(pair, "=")
		n, err1 := cookie.UnescapeComponent(strings.ReplaceAll(name, "+", " "))
		v, err2 := cookie.UnescapeComponent(strings.ReplaceAll(value, "+", " "))
		if err1 != nil || err2 != nil || n == "" {
			continue
		}
		out = append(out, Param{n, v})
	}
	return out
}
