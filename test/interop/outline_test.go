package interop

import (
	"fmt"
	"strings"

	"golang.org/x/net/html"
)

// outline is a page as its forms, links and texts.
func outline(page string) []string {
	doc, err := html.Parse(strings.NewReader(page))
	if err != nil {
		return []string{"page " + err.Error()}
	}
	o := &outliner{}
	o.walk(doc)
	return o.lines
}

type outliner struct{ lines []string }

func (o *outliner) line(format string, args ...any) {
	o.lines = append(o.lines, fmt.Sprintf(format, args...))
}

func (o *outliner) walk(n *html.Node) {
	if n.Type == html.ElementNode {
		switch n.Data {
		case "style", "svg":
			return
		case "script", "link":
			o.line("loads %s %s%s", n.Data, attr(n, "src"), attr(n, "href"))
			return
		case "img":
			o.line("image %s alt=%q", attr(n, "src"), attr(n, "alt"))
		case "title", "h1", "h2", "p", "label", "a", "button":
			o.text(n)
			if n.Data != "button" {
				return
			}
			return
		case "hr":
			o.line("rule")
		case "form":
			o.line("form %s %s id=%q", strings.ToUpper(attr(n, "method")), attr(n, "action"), attr(n, "id"))
		case "input":
			o.line("  input %s %s=%q id=%q placeholder=%q%s", attr(n, "type"), attr(n, "name"), attr(n, "value"), attr(n, "id"), attr(n, "placeholder"), present(n, "required"))
			return
		}
	}
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		o.walk(c)
	}
}

// text writes an element that is text, with the links in it.
func (o *outliner) text(n *html.Node) {
	switch n.Data {
	case "a":
		o.line("link %s %q", attr(n, "href"), words(n))
	case "button":
		o.line("  button %s %q id=%q", attr(n, "type"), words(n), attr(n, "id"))
	case "label":
		o.line("  label %s %q", attr(n, "for"), words(n))
	case "p":
		if t := words(n); t != "" {
			o.line("text %q", t)
		}
		for c := n.FirstChild; c != nil; c = c.NextSibling {
			if c.Type == html.ElementNode && c.Data == "a" {
				o.text(c)
			}
		}
	default:
		o.line("%s %q", n.Data, words(n))
	}
}

// words is the text in an element, with single spaces.
func words(n *html.Node) string {
	var b strings.Builder
	var walk func(*html.Node)
	walk = func(n *html.Node) {
		if n.Type == html.TextNode {
			b.WriteString(n.Data + " ")
		}
		if n.Data == "svg" || n.Data == "style" {
			return
		}
		for c := n.FirstChild; c != nil; c = c.NextSibling {
			walk(c)
		}
	}
	walk(n)
	return strings.Join(strings.Fields(b.String()), " ")
}

func attr(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func present(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return " " + name
		}
	}
	return ""
}
