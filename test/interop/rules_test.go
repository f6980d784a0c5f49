package interop

import (
	"regexp"
	"slices"
	"strings"
)

// rule takes a difference that is everywhere out of a step, and reports whether
// it was there. Its id is that of an entry of differences.json.
type rule struct {
	id    string
	apply func(authjs, gatebook *shown) bool
}

var rules = []rule{
	{"redirects-not-cached", func(_, g *shown) bool {
		return (g.has(`^status 302`) || g.has(`^content-type: text/html`) || g.has(`^body \{"url":`)) &&
			g.remove(`^(cache-control: private, no-cache, no-store|expires: 0|pragma: no-cache)$`)
	}},
	{"passkey-options-not-cached", func(a, g *shown) bool {
		return a.has(`^body \{"(action|error)":"`) && g.remove(`^(cache-control: private, no-cache, no-store|expires: 0|pragma: no-cache)$`)
	}},
	{"pages-load-nothing", func(_, g *shown) bool {
		return g.has(`^content-type: text/html`) && g.remove(`^(content-security-policy: default-src 'none'; .*|referrer-policy: same-origin|x-frame-options: DENY)$`)
	}},
	{"pages-say-their-charset", func(a, g *shown) bool {
		return a.has(`^content-type: text/html$`) && g.replace(`^content-type: text/html; charset=utf-8$`, "content-type: text/html")
	}},
	{"pages-own-words", func(_, g *shown) bool {
		heading := g.has(`^title "Sign In"$`) && g.removeAll(`^h1 "Sign in"$`, `^text "to continue to .*"$`)
		signOut := g.replace(`^h1 "Sign out"$`, `h1 "Signout"`)
		failed := g.remove(`^text "Something went wrong\."$`)
		return heading || signOut || failed
	}},
	{"failures-set-cookies", func(a, g *shown) bool {
		fails := g.has(`^location \S*[?&]error=\w`) || g.has(`^body \{"url":"\S*[?&]error=\w`) || g.has(`^status 400$`)
		return fails && !a.has(`^cookie `) &&
			g.remove(`^cookie (__Host-)?authjs\.csrf-token=|^cookie (__Secure-)?authjs\.(callback-url=|(state|nonce|pkce\.code_verifier|challenge)=; Max-Age=0)`)
	}},
	{"sid", func(a, g *shown) bool {
		if a.has(`^\s+(claim |token\.)sid `) { // Gatebook made the token
			return false
		}
		longer := a.has(`^cookie \S+=<\d+ characters>`)
		if longer { // by the same claim
			a.replace(`=<\d+ characters>`, "=<characters>")
			g.replace(`=<\d+ characters>`, "=<characters>")
		}
		return g.remove(`^\s+(claim |token\.)sid `)
	}},
	{"nonce-max-age", func(_, g *shown) bool {
		return g.replace(`^(cookie (?:__Secure-)?authjs\.nonce=<sealed>); Max-Age=900;`, "$1;")
	}},
	{"create-user-info", func(_, g *shown) bool { return g.remove(`^  signInInfo\.`) }},
	// Auth.js makes an id for a user whom the adapter then gives another.
	{"new-user-id", func(a, g *shown) bool {
		known := false
		for i, line := range a.lines {
			if user := strings.Replace(line, `"<uuid>"`, `"<user 1>"`, 1); (strings.HasPrefix(line, "  user.id ") || strings.HasPrefix(line, "  account.userId ")) && user != line &&
				slices.Contains(g.lines, user) {
				a.lines[i], known = user, true
			}
		}
		return known
	}},
	// Who registers a passkey has no id there until the adapter gives one.
	{"new-user-id", func(a, g *shown) bool {
		const callback = "call signIn callback"
		there := a.within(callback, func(p *shown) bool { return !p.has(`^  user\.id `) })
		return there && g.within(callback, func(p *shown) bool { return p.remove(`^  user\.id "<(user 1|uuid)>"$`) })
	}},
	{"new-user-id", func(a, g *shown) bool {
		const event = "call linkAccount event"
		here := g.within(event, func(p *shown) bool { return !p.has(`^  profile\.id `) })
		return here && a.within(event, func(p *shown) bool { return p.remove(`^  profile\.id "<uuid>"$`) })
	}},
	// The message of linkAccount has the account as it is stored there, and as
	// the provider gave it here.
	{"link-account-whole", func(_, g *shown) bool {
		return g.within("call linkAccount event", func(p *shown) bool {
			return p.remove(`^  account\.` + notStored)
		})
	}},
	// The message of session has the callback's output there; here it stands
	// beside the adapter's row or the token.
	{"session-message", func(_, g *shown) bool {
		return g.within("call session event", func(p *shown) bool {
			p.remove(`^  session\.`)
			return p.replace(`^  result\.`, "  session.")
		})
	}},
}

// notStored are members of a token reply that no account keeps.
const notStored = `(?:expires_in|further) `

// has reports whether a line matches.
func (s *shown) has(pattern string) bool {
	return slices.ContainsFunc(s.lines, regexp.MustCompile(pattern).MatchString)
}

// remove removes the lines that match, and reports whether there were any.
func (s *shown) remove(pattern string) bool {
	n := len(s.lines)
	s.lines = slices.DeleteFunc(slices.Clone(s.lines), regexp.MustCompile(pattern).MatchString)
	return len(s.lines) < n
}

// removeAll removes the lines that match any of the patterns.
func (s *shown) removeAll(patterns ...string) bool { return s.remove(strings.Join(patterns, "|")) }

// replace replaces what matches, and reports whether anything did.
func (s *shown) replace(pattern, by string) bool {
	re := regexp.MustCompile(pattern)
	was := s.lines
	s.lines = slices.Clone(was)
	for i, line := range was {
		s.lines[i] = re.ReplaceAllString(line, by)
	}
	return !slices.Equal(was, s.lines)
}

// within applies a change to each call of that name alone.
func (s *shown) within(name string, change func(*shown) bool) bool {
	var out []string
	changed := false
	for i := 0; i < len(s.lines); {
		end := i + 1
		for end < len(s.lines) && strings.HasPrefix(s.lines[end], "  ") {
			end++
		}
		part := &shown{lines: s.lines[i:end]}
		if s.lines[i] == name && change(part) {
			changed = true
		}
		out = append(out, part.lines...)
		i = end
	}
	s.lines = out
	return changed
}
