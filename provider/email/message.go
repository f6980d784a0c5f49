package email

import (
	_ "embed"
	"errors"
	"html/template"
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
	data := struct{ Host, URL, Expires string }{
		link.Host, string(link.URL), link.Expires.UTC().Format("2 January 2006, 15:04 UTC"),
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

// unlinked puts a zero-width space before each dot and colon, so that mail
// programs do not make a link of a host that a stranger may have chosen.
func unlinked(host string) template.HTML {
	escaped := template.HTMLEscapeString(host)
	protected := strings.NewReplacer(".", "&#8203;.", ":", "&#8203;:").Replace(escaped)
	return template.HTML(protected) //nolint:gosec // G203: it is escaped two lines above
}
