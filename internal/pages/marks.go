package pages

import "unicode"

// mark writes the drawing beside a provider's name: its own mark where we have
// it, else its first letter.
func (w *writer) mark(p *Provider) {
	if m, ok := marks[p.ID]; ok {
		w.raw(m)
		return
	}
	w.raw(`<svg class="mark monogram" viewBox="0 0 24 24" aria-hidden="true"><rect x=".5" y=".5" width="23" height="23" rx="6" `)
	brand, ok := parseColor(p.Brand)
	text := p.Text
	if ok {
		if _, ok := parseColor(text); !ok {
			text = brand.readable()
		}
		// The faint line keeps a tile visible on a page of the same colour.
		w.raw(`fill="`)
		w.text(p.Brand)
		w.raw(`" stroke="currentColor" stroke-opacity=".15"/>`)
	} else {
		text = "currentColor"
		w.raw(`fill="currentColor" fill-opacity=".1"/>`)
	}
	w.raw(`<text x="12" y="16.7" fill="`)
	w.text(text)
	w.raw(`">`)
	w.text(monogram(p.Name))
	w.raw("</text></svg>")
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

// The drawings of the pages.
const (
	iconDoor   markup = `<path d="M5 21V10a7 7 0 0 1 14 0v11M2.5 21h19M15 14.5v.01"/>`
	iconExit   markup = `<path d="M9.5 21H6a2 2 0 0 1-2-2V5a2 2 0 0 1 2-2h3.5M15.5 16.5 20 12l-4.5-4.5M20 12H9.5"/>`
	iconLetter markup = `<rect x="2.5" y="5" width="19" height="14" rx="2.5"/><path d="m3.5 7.5 8.5 6 8.5-6"/>`
	iconLock   markup = `<rect x="4.5" y="10.5" width="15" height="10" rx="2.5"/><path d="M8 10.5V7a4 4 0 0 1 8 0v3.5"/>`
	iconDevice markup = `<rect x="6" y="2.5" width="12" height="19" rx="2.5"/><path d="M11 18h2"/>`
	iconAlert  markup = `<circle cx="12" cy="12" r="9.5"/><path d="M12 7.5V13M12 16.5v.01"/>`
)

// marks are the marks of providers by id. They are drawn in the page because a
// page loads nothing from elsewhere, and coloured by attributes because the
// policy refuses style attributes.
var marks = map[string]markup{
	"github": `<svg class="mark" viewBox="0 0 24 24" aria-hidden="true"><path fill="currentColor" d="M12 .297c-6.63 0-12 5.373-12 12 0 5.303 3.438 9.8 8.205 11.385.6.113.82-.258.82-.577 0-.285-.01-1.04-.015-2.04-3.338.724-4.042-1.61-4.042-1.61C4.422 18.07 3.633 17.7 3.633 17.7c-1.087-.744.084-.729.084-.729 1.205.084 1.838 1.236 1.838 1.236 1.07 1.835 2.809 1.305 3.495.998.108-.776.417-1.305.76-1.605-2.665-.3-5.466-1.332-5.466-5.93 0-1.31.465-2.38 1.235-3.22-.135-.303-.54-1.523.105-3.176 0 0 1.005-.322 3.3 1.23.96-.267 1.98-.399 3-.405 1.02.006 2.04.138 3 .405 2.28-1.552 3.285-1.23 3.285-1.23.645 1.653.24 2.873.12 3.176.765.84 1.23 1.91 1.23 3.22 0 4.61-2.805 5.625-5.475 5.92.42.36.81 1.096.81 2.22 0 1.606-.015 2.896-.015 3.286 0 .315.21.69.825.57C20.565 22.092 24 17.592 24 12.297c0-6.627-5.373-12-12-12"/></svg>`,
	"google": `<svg class="mark" viewBox="0 0 24 24" aria-hidden="true"><path fill="#4285f4" d="M22.56 12.25c0-.78-.07-1.53-.2-2.25H12v4.26h5.92c-.26 1.37-1.04 2.53-2.21 3.31v2.77h3.57c2.08-1.92 3.28-4.74 3.28-8.09z"/><path fill="#34a853" d="M12 23c2.97 0 5.46-.98 7.28-2.66l-3.57-2.77c-.98.66-2.23 1.06-3.71 1.06-2.86 0-5.29-1.93-6.16-4.53H2.18v2.84C3.99 20.53 7.7 23 12 23z"/><path fill="#fbbc05" d="M5.84 14.09c-.22-.66-.35-1.36-.35-2.09s.13-1.43.35-2.09V7.07H2.18C1.43 8.55 1 10.22 1 12s.43 3.45 1.18 4.93l3.66-2.84z"/><path fill="#ea4335" d="M12 5.38c1.62 0 3.06.56 4.21 1.64l3.15-3.15C17.45 2.09 14.97 1 12 1 7.7 1 3.99 3.47 2.18 7.07l3.66 2.84c.87-2.6 3.3-4.53 6.16-4.53z"/></svg>`,
}
