package gatebook

import (
	"encoding/json"
	"iter"

	"github.com/gatebook/gatebook/internal/claims"
)

// Claims is a JSON object that keeps the order of its members: the claims of a
// session token, a provider's profile, a token reply, the output of the session
// callback. The zero Claims is empty. Copies share nothing that a method
// changes only after [Claims.Clone]; it is not safe for concurrent use with
// Set or Delete.
type Claims struct{ o claims.Object }

// ParseClaims reads one JSON object. Of a name that occurs twice the last value
// counts.
func ParseClaims(b []byte) (Claims, error) {
	o, err := claims.Parse(b)
	return Claims{o}, err
}

// Claim returns the member name decoded as a T. It reports false when there is
// none, when it is null, or when it is no T.
func Claim[T any](c Claims, name string) (T, bool) {
	return claims.Decode[T](&c.o, name)
}

// String returns the member name when it is a JSON string, else "".
func (c Claims) String(name string) string {
	s, _ := c.o.String(name)
	return s
}

// Has reports whether there is a member name, be it null.
func (c Claims) Has(name string) bool {
	_, ok := c.o.Get(name)
	return ok
}

// Raw returns the member's JSON, or nil. It must not be changed.
func (c Claims) Raw(name string) json.RawMessage {
	raw, _ := c.o.Get(name)
	return raw
}

// Set sets the member name to the JSON of v: in place when it exists, at the
// end when it does not. It fails when v cannot be encoded as JSON.
func (c *Claims) Set(name string, v any) error { return c.o.Set(name, v) }

// Delete removes the member name, if there is one.
func (c *Claims) Delete(name string) { c.o.Delete(name) }

// Names gives the members' names in order.
func (c Claims) Names() iter.Seq[string] { return c.o.Names() }

// Len returns the number of members.
func (c Claims) Len() int { return c.o.Len() }

// Clone returns a copy that shares nothing with c.
func (c Claims) Clone() Claims { return Claims{c.o.Clone()} }

func (c *Claims) clone() *Claims {
	if c == nil {
		return nil
	}
	d := c.Clone()
	return &d
}

// MarshalJSON returns the object with its members in order.
func (c Claims) MarshalJSON() ([]byte, error) { return c.o.Append(nil), nil }

// UnmarshalJSON is [ParseClaims] for encoding/json.
func (c *Claims) UnmarshalJSON(b []byte) error {
	p, err := ParseClaims(append([]byte(nil), b...))
	if err == nil {
		*c = p
	}
	return err
}
