package pages

import "strings"

// markup is HTML that needs no escaping: what is written in this package, and
// what is made from it and from checked values. A constant becomes markup by
// itself and a string variable does not, so a value from outside cannot get
// into a page unescaped without a conversion that can be seen.
type markup string

// writer appends a page. html/template would do, and takes tens of times as long
// for a page that every visitor loads.
type writer struct{ b []byte }

func (w *writer) raw(m ...markup) {
	for _, m := range m {
		w.b = append(w.b, m...)
	}
}

// text writes s as text or as a part of a value in double quotes.
func (w *writer) text(s string) {
	done := 0
	for i := range len(s) {
		var m markup
		switch s[i] {
		case '&':
			m = "&amp;"
		case '<':
			m = "&lt;"
		case '>':
			m = "&gt;"
		case '"':
			m = "&#34;"
		case '\'':
			m = "&#39;"
		case '\r': // as it is, it would be read as a line feed
			m = "&#13;"
		case 0: // which HTML does not have
			m = "\uFFFD"
		default:
			continue
		}
		w.b = append(w.b, s[done:i]...)
		w.b = append(w.b, m...)
		done = i + 1
	}
	w.b = append(w.b, s[done:]...)
}

// attr writes an attribute with its value, and none for an empty value.
func (w *writer) attr(name markup, value string) {
	if value == "" {
		return
	}
	w.raw(" ", name, `="`)
	w.text(value)
	w.raw(`"`)
}

// link writes the attribute name with an address. One that is neither a path nor
// http leads nowhere: browsers run what follows javascript:.
func (w *writer) link(name markup, address string) {
	if !strings.HasPrefix(address, "/") && !strings.HasPrefix(address, "https://") && !strings.HasPrefix(address, "http://") {
		address = "#"
	}
	w.attr(name, address)
}

// hidden writes a hidden input, also an empty one.
func (w *writer) hidden(name markup, value string) {
	w.raw(`<input type="hidden" name="`, name, `" value="`)
	w.text(value)
	w.raw("\">\n")
}
