package pages

import (
	"net/http"
	"strconv"
)

// SignIn is what the sign-in page shows.
type SignIn struct {
	// Host is what the visitor signs in to, shown below the heading. If
	// empty, nothing is.
	Host      string
	CSRFToken string
	// CallbackURL is where to go afterwards; only forms of oauth and oidc
	// providers carry it.
	CallbackURL string
	// Email is filled into e-mail forms.
	Email string
	// Error is the code of the failure to tell of. If empty, none; a code
	// that is not known gives a general text.
	Error string
	// Providers are shown in this order.
	Providers []Provider
}

// Provider is one way to sign in.
type Provider struct {
	ID   string
	Name string
	// Type is oauth, oidc, email, credentials or webauthn. Providers of
	// another type are not shown.
	Type string
	// SignInURL is where oauth, oidc and email forms are posted to.
	SignInURL string
	// CallbackURL is where credentials and webauthn forms are posted to.
	CallbackURL string
	// OptionsURL is where the options of passkeys are fetched from, by the
	// page's script. If empty, the page has none.
	OptionsURL string
	// Brand and Text colour the mark beside the name, #rgb or #rrggbb. A
	// value that is neither counts as empty: a plain mark, and black or white
	// on Brand.
	Brand, Text string
	// Fields are what credentials and webauthn forms ask for. Without any
	// the form is not shown.
	Fields []Field
}

// Field is one input of a credentials or webauthn form. Empty and zero fields
// give no attribute unless said otherwise.
type Field struct {
	Name string
	// Label is shown above the input. If empty, Name.
	Label string
	// Type is the input's type. If empty, text.
	Type        string
	Placeholder string
	Value       string
	// Autocomplete tells browsers and password managers what belongs here. If
	// empty, current-password for passwords and username for fields named
	// username or email.
	Autocomplete string
	InputMode    string
	Pattern      string
	// MinLength and MaxLength are in UTF-16 code units, as HTML counts.
	MinLength, MaxLength int
	Required             bool
}

// The kinds of form.
type kind int

const (
	redirecting kind = iota // oauth, oidc
	emailing
	filling  // credentials
	ceremony // webauthn
	none     // nothing to show
)

func (p *Provider) kind() kind {
	switch {
	case p.Type == "oauth" || p.Type == "oidc":
		return redirecting
	case p.Type == "email":
		return emailing
	case p.Type == "credentials" && len(p.Fields) > 0:
		return filling
	case p.Type == "webauthn" && len(p.Fields) > 0:
		return ceremony
	}
	return none
}

// SignIn returns the sign-in page.
func (p *Pages) SignIn(s SignIn) Page {
	size := (len(s.Providers) + 1) << 10
	scripted := s.scripted()
	if scripted {
		size += len(passkeyScript)
	}
	w := p.begin(size, "Sign In", "signin", iconDoor)
	w.raw("<h1>Sign in</h1>\n")
	if s.Host != "" {
		w.raw("<p>to continue to ")
		w.name(s.Host)
		w.raw("</p>\n")
	}
	if s.Error != "" {
		w.raw(`<div class="error" role="alert"><p>`)
		w.text(Message(s.Error))
		w.raw("</p></div>\n")
	}
	w.raw("<div class=\"providers\">\n")
	last := none
	focused := false
	for i := range s.Providers {
		k := s.Providers[i].kind()
		if k == none {
			continue
		}
		// A line stands between two blocks unless both are mere buttons.
		if last != none && (k != redirecting || last != redirecting) {
			w.raw("<hr>\n")
		}
		last = k
		w.provider(&s, &s.Providers[i], k, !focused)
		focused = focused || k == emailing
	}
	w.raw("</div>\n")
	if scripted {
		return p.endScripted(w)
	}
	return p.end(w, http.StatusOK)
}

// provider writes the form of one provider; focus gives its e-mail input the
// focus.
func (w *writer) provider(s *SignIn, p *Provider, k kind, focus bool) {
	w.raw(`<div class="provider">`, "\n<form")
	if k == ceremony {
		w.attr("id", p.ID+"-form")
	}
	w.raw(` method="POST"`)
	if k == redirecting || k == emailing {
		w.link("action", p.SignInURL)
	} else {
		w.link("action", p.CallbackURL)
	}
	scripted := k == ceremony && p.OptionsURL != ""
	if scripted {
		w.link("data-options", p.OptionsURL)
	}
	w.raw(">\n")
	w.hidden("csrfToken", s.CSRFToken)
	switch k {
	case redirecting:
		w.hidden("callbackUrl", s.CallbackURL)
		w.raw(`<button class="button" type="submit">`)
		w.mark(p)
	case emailing:
		w.email(p.ID, s.Email, focus)
		w.raw(`<button class="button main" id="submitButton" type="submit">`)
	case filling:
		w.fields(p, k)
		w.raw(`<button class="button main" id="submitButton" type="submit">`)
	default:
		w.fields(p, k)
		w.raw(`<button class="button main"`)
		w.attr("id", "submitButton-"+p.ID)
		w.raw(` type="submit">`)
	}
	w.raw("<span>Sign in with <bdi>")
	w.text(p.Name)
	w.raw("</bdi></span></button>\n")
	if scripted {
		w.raw("<p role=\"alert\" hidden></p>\n<noscript><p>Passkeys need JavaScript.</p></noscript>\n")
	}
	w.raw("</form>\n</div>\n")
}

// inputID writes the attribute name with the id of an input.
func (w *writer) inputID(name markup, field, provider string) {
	w.raw(" ", name, `="input-`)
	w.text(field)
	w.raw("-for-")
	w.text(provider)
	w.raw(`-provider"`)
}

func (w *writer) email(id, address string, focus bool) {
	w.raw("<label")
	w.inputID("for", "email", id)
	w.raw(">Email</label>\n<input")
	w.inputID("id", "email", id)
	w.raw(` type="email" name="email" value="`)
	w.text(address)
	w.raw(`" placeholder="email@example.com" autocomplete="email" required`)
	if focus {
		w.raw(" autofocus")
	}
	w.raw(">\n")
}

func (w *writer) fields(p *Provider, k kind) {
	for i := range p.Fields {
		f := p.Fields[i].withDefaults()
		if f.Type != "hidden" {
			w.raw("<label")
			w.inputID("for", f.Name, p.ID)
			w.raw("><bdi>")
			w.text(f.Label)
			w.raw("</bdi></label>\n")
		}
		w.raw("<input")
		w.inputID("id", f.Name, p.ID)
		w.field(&f)
		if k == ceremony {
			w.raw(" data-form-field")
		}
		w.raw(">\n")
	}
}

// field writes the attributes of an input.
func (w *writer) field(f *Field) {
	w.attr("type", f.Type)
	w.attr("name", f.Name)
	w.attr("placeholder", f.Placeholder)
	w.attr("value", f.Value)
	w.attr("autocomplete", f.Autocomplete)
	w.attr("inputmode", f.InputMode)
	w.attr("pattern", f.Pattern)
	w.length("minlength", f.MinLength)
	w.length("maxlength", f.MaxLength)
	if f.Required {
		w.raw(" required")
	}
}

func (w *writer) length(name markup, n int) {
	if n != 0 {
		w.raw(" ", name, `="`)
		w.b = strconv.AppendInt(w.b, int64(n), 10)
		w.raw(`"`)
	}
}

func (f Field) withDefaults() Field {
	if f.Label == "" {
		f.Label = f.Name
	}
	if f.Type == "" {
		f.Type = "text"
	}
	if f.Autocomplete == "" {
		switch {
		case f.Type == "password":
			f.Autocomplete = "current-password"
		case f.Name == "username" || f.Name == "email":
			f.Autocomplete = "username"
		}
	}
	return f
}
