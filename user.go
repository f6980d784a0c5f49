package gatebook

import (
	"encoding/json"
	"maps"
	"slices"
	"time"
)

// User is a person who can sign in. In Auth.js's tables it is a row of the user
// table; empty strings and zero times stand for null.
type User struct {
	// ID is the user's id: a random UUID unless the adapter's database makes
	// its own. Numbers are written in decimal.
	ID string
	// Name, Email and Image are what the provider or the application gave.
	// Email is in lower case.
	Name  string
	Email string
	Image string
	// EmailVerified is when the person last proved the address by opening a
	// magic link, UTC; zero when never.
	EmailVerified time.Time
	// Extra holds the further columns of the application's user table, by
	// column name. Handlers get copies of values that are []byte, []string,
	// []any or map[string]any; a pointer would be shared.
	Extra map[string]any
}

func (u *User) clone() *User {
	if u == nil {
		return nil
	}
	c := *u
	c.Extra = maps.Clone(u.Extra)
	for name, v := range c.Extra {
		c.Extra[name] = cloneValue(v)
	}
	return &c
}

// cloneValue copies what a column may hold and what JSON decodes to; other
// values are taken to be immutable.
func cloneValue(v any) any {
	switch v := v.(type) {
	case []byte:
		return slices.Clone(v)
	case json.RawMessage:
		return slices.Clone(v)
	case []string:
		return slices.Clone(v)
	case []any:
		c := slices.Clone(v)
		for i := range c {
			c[i] = cloneValue(c[i])
		}
		return c
	case map[string]any:
		c := maps.Clone(v)
		for name := range c {
			c[name] = cloneValue(c[name])
		}
		return c
	}
	return v
}

// Kinds of providers and accounts.
const (
	TypeOAuth       = "oauth"
	TypeOIDC        = "oidc"
	TypeEmail       = "email"
	TypeCredentials = "credentials"
	TypeWebAuthn    = "webauthn"
)

// Account is what connects a user with a provider. Its token fields have the
// names and meaning of RFC 6749, Section 5.1.
type Account struct {
	// UserID is the user the account belongs to; empty in messages where
	// Auth.js leaves it out.
	UserID string
	// Type is one of oauth, oidc, email, credentials, webauthn.
	Type string
	// Provider is the provider's configured id and ProviderAccountID the
	// person's id there (OpenID Connect Core, Section 2, sub).
	Provider          string
	ProviderAccountID string

	AccessToken  Secret
	RefreshToken Secret
	IDToken      Secret
	// ExpiresAt is when the access token expires, in seconds since 1970, or 0.
	ExpiresAt    int64
	TokenType    string
	Scope        string
	SessionState string
	// Reply is the provider's whole token reply, in its order, in the messages
	// and callbacks of a sign-in; it is not stored. It holds secrets.
	Reply Claims
}

func (a *Account) clone() *Account {
	if a == nil {
		return nil
	}
	c := *a
	c.Reply = a.Reply.Clone()
	return &c
}

func (a *Account) key() AccountKey { return AccountKey{a.Provider, a.ProviderAccountID} }

// Session strategies.
const (
	// StrategyJWT keeps the session in an encrypted cookie, as Auth.js does
	// without an adapter.
	StrategyJWT = "jwt"
	// StrategyDatabase keeps the session in a row of the adapter, as Auth.js
	// does with one.
	StrategyDatabase = "database"
)

// StoredSession is an adapter's session row together with what Gatebook knows
// of it.
type StoredSession struct {
	// Token is the secret in the cookie. Adapters that store only its hash
	// return the token they were asked for, and none when they list sessions.
	Token Secret
	// Handle is the adapter's own name of the row, given back in
	// [DeleteSession]; it is no secret that works as a token.
	Handle string
	UserID string
	// Expires is when the session ends, UTC, in milliseconds.
	Expires time.Time
	// ID is the sid: random, made at sign-in, the same over every renewal.
	ID string
	// Begun is when the session began and Provider how; zero for a session
	// that another program began.
	Begun    time.Time
	Provider string
	// UserAgent is the header of that name that began the session, at most 256
	// bytes.
	UserAgent string
}

func (s *StoredSession) clone() *StoredSession {
	if s == nil {
		return nil
	}
	c := *s
	return &c
}

// Device types of passkeys.
const (
	DeviceSingle = "singleDevice"
	DeviceMulti  = "multiDevice"
)

// Authenticator is a passkey's row, with the names of Auth.js.
type Authenticator struct {
	// CredentialID is the credential's id in standard base64 with padding
	// (WebAuthn Level 3, Section 5.1), at most 1,023 bytes before encoding.
	CredentialID string
	UserID       string
	// ProviderAccountID is the id of the passkey's account.
	ProviderAccountID string
	// PublicKey is the credential's public key as a COSE key.
	PublicKey []byte
	// Counter is the last signature counter seen.
	Counter uint32
	// DeviceType is DeviceSingle or DeviceMulti: whether the credential may be
	// backed up (the flag BE). BackedUp says whether it was (BS).
	DeviceType string
	BackedUp   bool
	// Transports are hints how to reach it, such as internal or usb.
	Transports []string
}

func (a *Authenticator) clone() *Authenticator {
	if a == nil {
		return nil
	}
	c := *a
	c.PublicKey, c.Transports = slices.Clone(a.PublicKey), slices.Clone(a.Transports)
	return &c
}

// VerificationToken is a magic link's row.
type VerificationToken struct {
	// Identifier is the normalised address the link was sent to.
	Identifier string
	// Hash is the lower-case hex SHA-256 of token and secret (the token itself
	// is stored nowhere).
	Hash    string
	Expires time.Time
}
