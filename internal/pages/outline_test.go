package pages_test

import (
	"fmt"
	"html"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// token is a tag or, with an empty name, text.
type token struct {
	name  string
	end   bool
	attrs []attr
	text  string
}

type attr struct {
	name, value string
	bare        bool // without a value
}

var (
	tagStart  = regexp.MustCompile(`^</?([a-z][a-z0-9]*)`)
	attribute = regexp.MustCompile(`^\s+([a-z][A-Za-z-]*)(?:="([^"<]*)")?`)
	tagEnd    = regexp.MustCompile(`^\s*/?>`)
)

// tokens reads page as narrowly as our templates write it: lower-case tags,
// attributes in double quotes, no raw < or & in text or values. Whatever breaks
// out of where it was put is therefore a failure.
func tokens(t *testing.T, page string) []token {
	t.Helper()
	rest, ok := strings.CutPrefix(page, "<!doctype html>")
	if !ok {
		t.Fatalf("page begins with %.40q, want a doctype", page)
	}
	var list []token
	for rest != "" {
		if rest[0] != '<' {
			text, _, _ := strings.Cut(rest, "<")
			rest = rest[len(text):]
			list = append(list, token{text: html.UnescapeString(text)})
			continue
		}
		m := tagStart.FindStringSubmatch(rest)
		if m == nil {
			t.Fatalf("not a tag: %.60q", rest)
		}
		tok := token{name: m[1], end: rest[1] == '/'}
		rest = rest[len(m[0]):]
		for {
			if m := attribute.FindStringSubmatch(rest); m != nil {
				a := attr{name: m[1], value: html.UnescapeString(m[2]), bare: !strings.HasSuffix(m[0], `"`)}
				tok.attrs = append(tok.attrs, a)
				rest = rest[len(m[0]):]
				continue
			}
			m := tagEnd.FindString(rest)
			if m == "" {
				t.Fatalf("in tag %s: not an attribute: %.60q", tok.name, rest)
			}
			rest = rest[len(m):]
			if strings.Contains(m, "/") {
				// A self-closing drawing element: its end follows.
				list = append(list, tok)
				tok = token{name: tok.name, end: true}
			}
			break
		}
		list = append(list, tok)
		if (tok.name == "style" || tok.name == "script") && !tok.end {
			code, _, ok := strings.Cut(rest, "</"+tok.name+">")
			if !ok {
				t.Fatalf("%s element does not end", tok.name)
			}
			list = append(list, token{text: code})
			rest = rest[len(code):]
		}
	}
	return list
}

var (
	void = []string{"meta", "input", "hr", "img"}
	// Inline elements belong to the text around them.
	inline = []string{"span", "bdi", "strong"}
	hidden = []string{"head", "svg", "script"}
)

// outline returns what a page consists of, one element a line, indented by
// depth, with its attributes and its own text. Head and drawings are left out.
// It fails the test where tags are not nested properly.
func outline(t *testing.T, page string) string {
	t.Helper()
	var lines, open []string
	depth, hide := 0, 0
	for _, tok := range tokens(t, page) {
		switch {
		case tok.name == "":
			text := strings.Join(strings.Fields(tok.text), " ")
			if text != "" && hide == 0 {
				last := &lines[len(lines)-1]
				*last += " " + text
			}
		case tok.end:
			if len(open) == 0 || open[len(open)-1] != tok.name {
				t.Fatalf("</%s> closes nothing; open: %v", tok.name, open)
			}
			open = open[:len(open)-1]
			if slices.Contains(hidden, tok.name) {
				hide--
			} else if hide == 0 && !slices.Contains(inline, tok.name) {
				depth--
			}
		default:
			if slices.Contains(hidden, tok.name) {
				hide++
			} else if hide == 0 && !slices.Contains(inline, tok.name) {
				line := strings.Repeat("  ", depth) + tok.name
				for _, a := range tok.attrs {
					if a.bare {
						line += " [" + a.name + "]"
					} else {
						line += fmt.Sprintf(" [%s=%s]", a.name, a.value)
					}
				}
				lines = append(lines, line)
				if !slices.Contains(void, tok.name) {
					depth++
				}
			}
			if !slices.Contains(void, tok.name) {
				open = append(open, tok.name)
			}
		}
	}
	if len(open) > 0 {
		t.Fatalf("not closed: %v", open)
	}
	return strings.Join(lines, "\n") + "\n"
}

// skeleton returns the tags of a page with the names of their attributes: what
// no value may change.
func skeleton(t *testing.T, page string) string {
	t.Helper()
	var b strings.Builder
	for _, tok := range tokens(t, page) {
		if tok.name == "" {
			continue
		}
		fmt.Fprint(&b, tok.name, tok.end)
		for _, a := range tok.attrs {
			fmt.Fprint(&b, " ", a.name, a.bare)
		}
		b.WriteByte('\n')
	}
	return b.String()
}
