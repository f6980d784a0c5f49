package oauth

import (
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/gatebook/gatebook"
)

// maxID is the longest id of an account, in bytes: what OpenID Connect Core,
// Section 2 allows a sub, and what the tables hold.
const maxID = 255

// Profile says where a user's fields are in a provider's profile. Each field is
// a list of paths, of which the first that leads to a text or number that is not
// empty counts. A path is a member's name, or names and array indexes joined
// with dots ("data.0.email"); a member whose name is the whole path goes first.
// A path with braces is a text in which each {path} is replaced by what it leads
// to ("{first_name} {last_name}"), and leads to nothing when one of them does. A
// number is taken as it is written. A nil field stands for its default, an empty
// one for none.
type Profile struct {
	// ID is what identifies the account. If nil, sub, id. A profile without one
	// is refused: a made-up id would be a new user at every sign-in.
	ID []string
	// Name is for display. If nil, name, nickname, preferred_username.
	Name []string
	// Email is written in lower case; one with control characters is left out. If
	// nil, email.
	Email []string
	// Image is the URL of a picture. If nil, picture.
	Image []string
	// EmailVerified leads to what says that the provider verified the address:
	// true or 1, which may be written as text, or the address itself, or an
	// array that has it. If nil, email_verified.
	EmailVerified []string
}

func (m Profile) withDefaults() Profile {
	set := func(field *[]string, paths ...string) {
		if *field == nil {
			*field = paths
		}
	}
	set(&m.ID, "sub", "id")
	set(&m.Name, "name", "nickname", "preferred_username")
	set(&m.Email, "email")
	set(&m.Image, "picture")
	set(&m.EmailVerified, "email_verified")
	return m
}

// apply fills the proof's user from its profile.
func (m Profile) apply(proof *gatebook.Proof) error {
	id := find(proof.Profile, m.ID)
	if id == "" || len(id) > maxID || id != printable(id) {
		return &gatebook.ProviderError{
			Reason: reasonProfileInvalid, Step: "profile",
			Err: errors.New("profile has no id, or one that is over 255 bytes or has control characters"),
		}
	}
	proof.Account.ProviderAccountID = id
	proof.User = gatebook.User{
		Name:  printable(find(proof.Profile, m.Name)),
		Email: address(find(proof.Profile, m.Email)),
		Image: printable(find(proof.Profile, m.Image)),
	}
	proof.EmailVerified = m.isVerified(proof.Profile, proof.User.Email)
	return nil
}

// isVerified reports whether one of the paths says that email is verified.
func (m Profile) isVerified(profile gatebook.Claims, email string) bool {
	return email != "" && slices.ContainsFunc(m.EmailVerified, func(path string) bool {
		raw := lookUp(profile, path)
		if v := scalar(raw); v == "true" || v == "1" {
			return true
		}
		return slices.ContainsFunc(texts(raw), func(v string) bool { return address(v) == email })
	})
}

// find returns the text at the first of the paths that leads to one.
func find(profile gatebook.Claims, paths []string) string {
	for _, path := range paths {
		if s := text(profile, path); s != "" {
			return s
		}
	}
	return ""
}

// text returns the text at a path, or what a text with paths in braces makes.
func text(profile gatebook.Claims, path string) string {
	if !strings.Contains(path, "{") {
		return scalar(lookUp(profile, path))
	}
	var b strings.Builder
	for path != "" {
		before, rest, _ := strings.Cut(path, "{")
		name, after, ok := strings.Cut(rest, "}")
		b.WriteString(before)
		if ok {
			s := scalar(lookUp(profile, name))
			if s == "" {
				return ""
			}
			b.WriteString(s)
		}
		path = after
	}
	return b.String()
}

// lookUp returns the JSON at a path, or nil.
func lookUp(profile gatebook.Claims, path string) json.RawMessage {
	if raw := profile.Raw(path); raw != nil {
		return raw
	}
	first, rest, ok := strings.Cut(path, ".")
	if raw := profile.Raw(first); ok && raw != nil {
		return descend(raw, rest)
	}
	return nil
}

// descend returns the value at path in raw, or nil.
func descend(raw json.RawMessage, path string) json.RawMessage {
	for step := range strings.SplitSeq(path, ".") {
		var object map[string]json.RawMessage
		var array []json.RawMessage
		if i, err := strconv.Atoi(step); err == nil && json.Unmarshal(raw, &array) == nil {
			if i < 0 || i >= len(array) {
				return nil
			}
			raw = array[i]
			continue
		}
		if json.Unmarshal(raw, &object) != nil {
			return nil
		}
		raw = object[step]
	}
	return raw
}

// scalar returns a JSON string's text, a number or boolean as it is written, and
// "" for anything else. No number passes through a float, which would round ids
// over 2^53.
func scalar(raw json.RawMessage) string {
	switch {
	case len(raw) == 0 || raw[0] == '{' || raw[0] == '[' || string(raw) == "null":
		return ""
	case raw[0] == '"':
		var s string
		if json.Unmarshal(raw, &s) != nil {
			return ""
		}
		return s
	}
	return string(raw)
}

// lower returns s in lower case, except that no letter from beyond ASCII becomes
// one of ASCII: the Kelvin sign's lower case is k, so an address with one,
// verified at a provider, would become the address of somebody else.
func lower(s string) string {
	return strings.Map(func(r rune) rune {
		if l := unicode.ToLower(r); r < utf8.RuneSelf || l >= utf8.RuneSelf {
			return l
		}
		return r
	}, s)
}

// address returns an e-mail address in lower case, or "" for one that has what
// printable takes out: without it, it would be the address of somebody else.
func address(s string) string {
	if s != printable(s) {
		return ""
	}
	return lower(s)
}

// printable returns s without control characters, which break log lines and
// which PostgreSQL (NUL) refuses.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r == utf8.RuneError {
			return -1
		}
		return r
	}, s)
}
