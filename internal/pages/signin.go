package pages

import (
	"html/template"
	"io"
	"unicode"
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

// signInPage is a SignIn as the template needs it. Like block it embeds
// nothing: templates find a field of an embedded struct much more slowly.
type signInPage struct {
	Host, CSRFToken, CallbackURL, Email string
	// Message is the text for SignIn.Error.
	Message string
	Blocks  []block
	Script  template.JS
}

// block is a provider as the template needs it.
type block struct {
	ID, Name string
	OAuth    bool // of type oauth or oidc
	Email    bool
	WebAuthn bool   // if none of the three, of type credentials
	Action   string // where the form is posted to
	// OptionsURL is that of a WebAuthn form with the script.
	OptionsURL string
	Rule       bool // a separator comes before it
	Focus      bool // the first e-mail input gets the focus
	Inputs     []input
	Mark       template.HTML
}

// input is a field as the template needs it.
type input struct {
	ID    string
	Field Field
}

// SignIn writes the sign-in page. Its status is 200.
func (p *Pages) SignIn(w io.Writer, s SignIn) error {
	page := signInPage{
		Host:        s.Host,
		CSRFToken:   s.CSRFToken,
		CallbackURL: s.CallbackURL,
		Email:       s.Email,
		Message:     Message(s.Error),
		Blocks:      make([]block, 0, len(s.Providers)),
	}
	if s.scripted() {
		page.Script = template.JS(passkeyScript) //nolint:gosec // our own
	}
	focused := false
	for _, provider := range s.Providers {
		b, ok := newBlock(provider)
		if !ok {
			continue
		}
		if b.Email && !focused {
			b.Focus, focused = true, true
		}
		if n := len(page.Blocks); n > 0 {
			b.Rule = !b.OAuth || !page.Blocks[n-1].OAuth
		}
		page.Blocks = append(page.Blocks, b)
	}
	return p.render(w, "signin", "Sign In", page)
}

// newBlock returns false if the provider has nothing to show.
func newBlock(p Provider) (block, bool) {
	b := block{ID: p.ID, Name: p.Name, Action: p.SignInURL}
	switch p.Type {
	case "oauth", "oidc":
		b.OAuth = true
		b.Mark = mark(p)
	case "email":
		b.Email = true
	case "credentials", "webauthn":
		if len(p.Fields) == 0 {
			return block{}, false
		}
		if b.WebAuthn = p.Type == "webauthn"; b.WebAuthn {
			b.OptionsURL = p.OptionsURL
		}
		b.Action = p.CallbackURL
		b.Inputs = make([]input, len(p.Fields))
		for i, f := range p.Fields {
			b.Inputs[i] = input{ID: inputID(f.Name, p.ID), Field: f.withDefaults()}
		}
	default:
		return block{}, false
	}
	return b, true
}

func inputID(field, provider string) string {
	return "input-" + field + "-for-" + provider + "-provider"
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

// mark returns the drawing beside a provider's name: its own mark where we have
// it, else its first letter.
//
// It is HTML without further escaping: the letter is a letter, a digit or a
// bullet, and the colours have been parsed.
func mark(p Provider) template.HTML {
	if m, ok := marks[p.ID]; ok {
		return m
	}
	tile, text := `fill="currentColor" fill-opacity=".1"`, "currentColor"
	if brand, ok := parseColor(p.Brand); ok {
		// The faint line keeps a tile visible on a page of the same colour.
		tile, text = `fill="`+p.Brand+`" stroke="currentColor" stroke-opacity=".15"`, p.Text
		if _, ok := parseColor(text); !ok {
			text = brand.readable()
		}
	}
	//nolint:gosec // colours that were parsed, and a monogram of letters and digits
	return template.HTML(`<svg class="mark monogram" viewBox="0 0 24 24" aria-hidden="true">` +
		`<rect x=".5" y=".5" width="23" height="23" rx="6" ` + tile + `/>` +
		`<text x="12" y="16.7" fill="` + text + `">` + monogram(p.Name) + `</text></svg>`)
}

// monogram returns the first letter or digit of name, in upper case.
func monogram(name string) string {
	for _, r := range name {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return string(unicode.ToUpper(r))
		}
	}
	return "•"
}

// marks are the marks of providers by id. They are drawn in the page because a
// page loads nothing from elsewhere, and coloured by attributes because the
// policy refuses style attributes.
var marks = map[string]template.HTML{
	"github": `<svg class="mark" viewBox="0 0 24 24" aria-hidden="true"><path fill="currentColor" d="M12 .297c-6.63 0-12 5.373-12 12 0 5.303 3.438 9.8 8.205 11.385.6.113.82-.258.82-.577 0-.285-.01-1.04-.015-2.04-3.338.724-4.042-1.61-4.042-1.61C4.422 18.07 3.633 17.7 3.633 17.7c-1.087-.744.084-.729.084-.729 1.205.084 1.838 1.236 1.838 1.236 1.07 1.835 2.809 1.305 3.495.998.108-.776.417-1.305.76-1.605-2.665-.3-5.466-1.332-5.466-5.93 0-1.31.465-2.38 1.235-3.22-.135-.303-.54-1.523.105-3.176 0 0 1.005-.322 3.3 1.23.96-.267 1.98-.399 3-.405 1.02.006 2.04.138 3 .405 2.28-1.552 3.285-1.23 3.285-1.23.645 1.653.24 2.873.12 3.176.765.84 1.23 1.91 1.23 3.22 0 4.61-2.805 5.625-5.475 5.92.42.36.81 1.096.81 2.22 0 1.606-.015 2.896-.015 3.286 0 .315.21.69.825.57C20.565 22.092 24 17.592 24 12.297c0-6.627-5.373-12-12-12"/></svg>`,
	"google": `<svg class="mark" viewBox="0 0 24 24" aria-hidden="true"><path fill="#4285f4" d="M22.56 12.25c0-.78-.07-1.53-.2-2.25H12v4.26h5.92c-.26 1.37-1.04 2.53-2.21 3.31v2.77h3.57c2.08-1.92 3.28-4.74 3.28-8.09z"/><path fill="#34a853" d="M12 23c2.97 0 5.46-.98 7.28-2.66l-3.57-2.77c-.98.66-2.23 1.06-3.71 1.06-2.86 0-5.29-1.93-6.16-4.53H2.18v2.84C3.99 20.53 7.7 23 12 23z"/><path fill="#fbbc05" d="M5.84 14.09c-.22-.66-.35-1.36-.35-2.09s.13-1.43.35-2.09V7.07H2.18C1.43 8.55 1 10.22 1 12s.43 3.45 1.18 4.93l3.66-2.84z"/><path fill="#ea4335" d="M12 5.38c1.62 0 3.06.56 4.21 1.64l3.15-3.15C17.45 2.09 14.97 1 12 1 7.7 1 3.99 3.47 2.18 7.07l3.66 2.84c.87-2.6 3.3-4.53 6.16-4.53z"/></svg>`,
}
