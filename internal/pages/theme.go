package pages

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"math"
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

// Theme adapts the pages to an application. The zero value is the built-in
// look, light or dark as the visitor's device asks for.
type Theme struct {
	// ColorScheme is auto, light or dark. If empty, auto.
	ColorScheme string
	// BrandColor fills the main buttons: #rgb or #rrggbb. If empty, the
	// built-in colour.
	BrandColor string
	// ButtonText is the colour of the text on BrandColor: #rgb or #rrggbb.
	// If empty, black or white, whichever is easier to read.
	ButtonText string
	// Logo is shown above the content: a path on the same origin that begins
	// with one slash, an http or https URL, or a data: URL of an image. If
	// empty, a small drawing.
	Logo string
}

var (
	//go:embed pages.css
	baseCSS string

	// darkCSS holds the declarations that turn the light colours into the
	// dark ones, without a selector.
	//
	//go:embed dark.css
	darkCSS string
)

// stylesheet returns the content of the one style element.
func (t Theme) stylesheet() (string, error) {
	css := "\n" + baseCSS
	switch t.ColorScheme {
	case "", "auto":
		css += "@media (prefers-color-scheme: dark) {\nbody {\n" + darkCSS + "}\n}\n"
	case "light":
	case "dark":
		css += "body {\n" + darkCSS + "}\n"
	default:
		return "", fmt.Errorf("theme colour scheme is %q, want auto, light or dark", t.ColorScheme)
	}
	text := t.ReadableText()
	if t.BrandColor != "" {
		if _, ok := parseColor(t.BrandColor); !ok {
			return "", fmt.Errorf("theme brand colour is %q, want #rgb or #rrggbb", t.BrandColor)
		}
		css += "body { --brand-color: " + t.BrandColor + "; }\n"
	}
	if text != "" {
		if _, ok := parseColor(text); !ok {
			return "", fmt.Errorf("theme button text colour is %q, want #rgb or #rrggbb", t.ButtonText)
		}
		css += "body { --button-text-color: " + text + "; }\n"
	}
	return css, nil
}

// ReadableText returns the colour of a button's text: ButtonText, or black or
// white when only BrandColor is set. It is empty when neither is.
func (t Theme) ReadableText() string {
	if c, ok := parseColor(t.BrandColor); ok && t.ButtonText == "" {
		return c.readable()
	}
	return t.ButtonText
}

// Contrast returns the least contrast of the text on the main buttons, by the
// definition of WCAG 2.2: from 1 to 21, where 4.5 is what everybody can read. It
// is for a theme that [New] takes.
func (t Theme) Contrast() float64 {
	if t.ButtonText == "" {
		return leastContrast // of what is chosen, and of the built-in colours
	}
	text, _ := parseColor(t.ButtonText)
	backs := []string{t.BrandColor}
	if t.BrandColor == "" {
		backs = nil
		if t.ColorScheme != "dark" {
			backs = append(backs, builtInBrand(baseCSS))
		}
		if t.ColorScheme != "light" {
			backs = append(backs, builtInBrand(darkCSS))
		}
	}
	least := 21.0
	for _, b := range backs {
		back, _ := parseColor(b)
		least = min(least, text.contrast(back))
	}
	return least
}

// leastContrast is that of black or white, whichever has more, on any colour.
const leastContrast = 4.58

func builtInBrand(css string) string {
	_, rest, _ := strings.Cut(css, "--brand-color: ")
	value, _, _ := strings.Cut(rest, ";")
	return value
}

var (
	dataImage = regexp.MustCompile(`^data:image/(?:png|jpeg|gif|webp|avif|svg\+xml)[;,]`)
	// Narrower than RFC 3986, Section 3.2.2, which allows a semicolon and a
	// comma in a host: those would end a directive or a policy.
	imageHost = regexp.MustCompile(`^[A-Za-z0-9.\-]+(?::[0-9]+)?$`)
)

// imageSources returns the value of img-src. The page's own origin is always
// in it, because browsers apply the directive to the site's icon too.
func (t Theme) imageSources() (string, error) {
	switch {
	case t.Logo == "":
		return "'self'", nil
	case dataImage.MatchString(t.Logo):
		return "'self' data:", nil
	}
	u, err := url.Parse(t.Logo)
	switch {
	case err != nil:
	case u.Scheme == "" && u.Host == "" && strings.HasPrefix(t.Logo, "/"):
		return "'self'", nil
	case (u.Scheme == "https" || u.Scheme == "http") && u.User == nil && imageHost.MatchString(u.Host):
		return "'self' " + u.Scheme + "://" + u.Host, nil
	}
	return "", fmt.Errorf("theme logo is %q, want /path, an http or https URL, or data:image/", t.Logo)
}

// contentSecurityPolicy returns the policy for pages with this stylesheet
// (Content Security Policy Level 3).
//
// It has no form-action on purpose. Browsers that enforce it follow the
// redirects of a submitted form with it, and a sign-in goes to the provider,
// from there to whatever that federates with, and when nobody has to type
// anything on to the application, which may be any origin or an application's
// own scheme. A list of those cannot be known, and one wide enough to be right
// keeps nothing out.
func contentSecurityPolicy(style, images string) string {
	sum := sha256.Sum256([]byte(style))
	return "default-src 'none'; " +
		"style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; " +
		"img-src " + images + "; " +
		"frame-ancestors 'none'; base-uri 'none'"
}

// color is an sRGB colour, 0 to 255 each.
type color struct{ r, g, b uint8 }

// parseColor reads #rgb and #rrggbb.
func parseColor(s string) (color, bool) {
	if len(s) == 4 {
		s = string([]byte{s[0], s[1], s[1], s[2], s[2], s[3], s[3]})
	}
	if len(s) != 7 || s[0] != '#' {
		return color{}, false
	}
	n, err := strconv.ParseUint(s[1:], 16, 32)
	if err != nil {
		return color{}, false
	}
	return color{uint8(n >> 16), uint8(n >> 8), uint8(n)}, true
}

// luminance is the relative luminance of WCAG 2.2.
func (c color) luminance() float64 {
	linear := func(v uint8) float64 {
		s := float64(v) / 255
		if s <= 0.04045 {
			return s / 12.92
		}
		return math.Pow((s+0.055)/1.055, 2.4)
	}
	return 0.2126*linear(c.r) + 0.7152*linear(c.g) + 0.0722*linear(c.b)
}

// contrast is the contrast ratio of WCAG 2.2.
func (c color) contrast(d color) float64 {
	a, b := c.luminance(), d.luminance()
	return (max(a, b) + 0.05) / (min(a, b) + 0.05)
}

// readable returns black or white, whichever has more contrast on c.
func (c color) readable() string {
	if c.contrast(color{255, 255, 255}) >= c.contrast(color{}) {
		return "#ffffff"
	}
	return "#000000"
}
