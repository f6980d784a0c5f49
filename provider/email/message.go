package email

import (
	_ "embed"
	"errors"
	"html/template"
	"regexp"
	"strings"
	texttemplate "text/template"

	"github.com/gatebook/gatebook"
)

var (
	//go:embed message.html
	htmlSource string
	//go:embed message.txt
	textSource string

	htmlMessage = template.Must(template.New("html").Funcs(template.FuncMap{"unlinked": unlinked}).Parse(htmlSource))
	textMessage = texttemplate.Must(texttemplate.New("text").Parse(textSource))
)

// compose makes the built-in message. Text and HTML say the same; the HTML loads
// nothing from anywhere.
func compose(link *gatebook.MagicLink) (*Message, error) {
	if link.Host == "" || strings.ContainsFunc(link.Host, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return nil, errors.New("host of the link is malformed")
	}
	data := struct {
		Host, URL, Expires string
		look
	}{
		link.Host, string(link.URL), link.Expires.UTC().Format("2 January 2006, 15:04 UTC"), lookOf(link.Theme),
	}
	var text, html strings.Builder
	// The errors of the templates could quote the link.
	if textMessage.Execute(&text, data) != nil || htmlMessage.Execute(&html, data) != nil {
		return nil, errors.New("message template failed")
	}
	return &Message{
		To:      link.Address,
		Subject: "Sign in to " + link.Host,
		Text:    text.String(),
		HTML:    html.String(),
	}, nil
}

// look is a theme in the terms of the message. Mail programs know no custom
// properties and some no style element, so colours stand where they are used.
type look struct {
	Scheme           string // of the meta element color-scheme
	Page, Text, Soft string
	Brand, Button    string
}

var colorForm = regexp.MustCompile(`^#(?:[0-9a-fA-F]{3}|[0-9a-fA-F]{6})$`)

func lookOf(t gatebook.Theme) look {
	l := look{Scheme: "light dark", Page: "#ffffff", Text: "#111827", Soft: "#4b5563", Brand: "#1f4fd8", Button: "#ffffff"}
	switch t.ColorScheme {
	case "light":
		l.Scheme = "light"
	case "dark":
		l.Scheme, l.Page, l.Text, l.Soft = "dark", "#111827", "#f3f4f6", "#9ca3af"
	}
	if colorForm.MatchString(t.BrandColor) {
		l.Brand = t.BrandColor
	}
	if colorForm.MatchString(t.ButtonText) {
		l.Button = t.ButtonText
	}
	return l
}

// unlinked puts a zero-width space before each dot and colon, so that mail
// programs do not make a link of a host that a stranger may have chosen.
func unlinked(host string) template.HTML {
	escaped := template.HTMLEscapeString(host)
	protected := strings.NewReplacer(".", "&#8203;.", ":", "&#8203;:").Replace(escaped)
	return template.HTML(protected) //nolint:gosec // G203: it is escaped two lines above
}
