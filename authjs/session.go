package authjs

import (
	"iter"
	"time"

	"github.com/gatebook/gatebook/internal/claims"
)

// Session is what a session token says. It belongs to the caller.
type Session struct {
	// ID is the sid that Gatebook gives a session, the same over every renewal.
	// It is empty for a session that Auth.js began and Gatebook has not renewed.
	ID string
	// User is who is signed in.
	User User
	// Expires is when the token expires, UTC, in seconds; zero if it never does.
	// The application renews it earlier.
	Expires time.Time
	// Version is 5 for a token of Auth.js v5 or Gatebook, 4 for next-auth v4.
	Version int
	// Token holds all claims, those that the application's jwt callback added
	// too; see [Claim].
	Token Claims
}

// User is the person whom a token names, by its standard claims. What the token
// does not say is empty, also ID when the jwt callback drops sub.
type User struct {
	ID    string // sub
	Name  string // name
	Email string // email
	Image string // picture
}

// Claims are the claims of a token in their order. Reading them changes nothing.
type Claims struct{ o claims.Object }

// Claim returns the claim name decoded as a T. It reports false when there is
// none, when it is null, or when it is no T.
//
//	role, ok := authjs.Claim[string](s.Token, "role")
func Claim[T any](c Claims, name string) (T, bool) { return claims.Decode[T](&c.o, name) }

// Names gives the names of the claims in order.
func (c Claims) Names() iter.Seq[string] { return c.o.Names() }

// MarshalJSON returns the claims as one JSON object.
func (c Claims) MarshalJSON() ([]byte, error) { return c.o.Append(nil), nil }
