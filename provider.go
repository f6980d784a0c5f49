package gatebook

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"
)

// Provider is a way to sign in: a [RedirectProvider], an [EmailProvider], a
// [CredentialsProvider] or a [WebAuthnProvider]. Packages provider/oauth,
// provider/catalog, provider/email, provider/credentials and passkey make them.
type Provider interface {
	// Info describes the provider. It must give the same answer at every call.
	Info() ProviderInfo
}

// ProviderInfo is what clients and the sign-in page are told of a provider.
type ProviderInfo struct {
	// ID is the provider's part of the routes: letters, digits, '-' and '_'.
	ID string
	// Name is shown to people.
	Name string
	// Type is one of the Type constants.
	Type string
	// BrandColor is the colour of the sign-in button, "#rrggbb", or empty.
	BrandColor string
}

// RedirectProvider proves who somebody is by sending the browser away and
// reading what it brings back (OAuth 2.0, OpenID Connect). Both methods are
// called without any transaction open and may take as long as the request.
type RedirectProvider interface {
	Provider
	// Begin returns where to send the browser. The values of the result's
	// checks are sealed into cookies by the caller.
	Begin(ctx context.Context, b *Begin) (*Redirection, error)
	// Complete reads what the browser brought back, redeems the code and
	// returns who it proved. Its errors are *[ProviderError] or internal ones.
	Complete(ctx context.Context, c *Complete) (*Proof, error)
	// Checks lists the checks that Begin makes: of "state", "pkce", "nonce".
	Checks() []string
	// FormPost reports whether the browser comes back with a POST
	// (OAuth 2.0 Form Post Response Mode).
	FormPost() bool
	// LinkByEmail reports whether an account with an address that the provider
	// verified may be linked to the user who has that address
	// (Auth.js: allowDangerousEmailAccountLinking).
	LinkByEmail() bool
}

// Begin is the input of [RedirectProvider.Begin].
type Begin struct {
	// RedirectURI is our callback, absolute.
	RedirectURI string
	// State is the value of the state parameter, made by the caller.
	State string
	// Params are parameters of the sign-in request's query, last one winning;
	// they may not override what protects the flow.
	Params []Param
}

// Param is a name and value, in the order of the request.
type Param struct{ Name, Value string }

// Redirection is the output of [RedirectProvider.Begin].
type Redirection struct {
	URL string
	// CodeVerifier and Nonce are kept for Complete; empty when the provider
	// does not use that check.
	CodeVerifier Secret
	Nonce        Secret
}

// Complete is the input of [RedirectProvider.Complete].
type Complete struct {
	RedirectURI string
	// Params are the query's or the form's parameters, each name once.
	Params map[string]string
	// State, CodeVerifier and Nonce are what the sealed cookies held; a check
	// that the provider uses and that has no valid cookie never gets here.
	State        string
	CodeVerifier Secret
	Nonce        Secret
}

// Proof is what a provider proved.
type Proof struct {
	// User is the mapped profile: name, e-mail in lower case, image. Its ID is
	// empty.
	User User
	// Account has everything but UserID, with the whole Reply.
	Account Account
	// Profile is the provider's raw profile.
	Profile Claims
	// EmailVerified reports that the provider says it verified the address.
	EmailVerified bool
	// AMR, ACR and AuthTime are the ID token's claims, where present.
	AMR      []string
	ACR      string
	AuthTime time.Time
}

// ProviderError says why a provider proved nothing. Its text is for the log:
// it names the step and the provider's error code, and never holds a token,
// code or free text of the provider.
type ProviderError struct {
	// Reason is one of record's reason codes.
	Reason string
	// Check is what failed when it was a check: state, nonce, pkce, iss, aud,
	// exp, signature; of a passkey type, challenge, origin, rpId, userPresent,
	// userVerified, backupEligible, algorithm, signature, attestation, format or
	// credential.
	Check string
	// Step is where: authorize, discovery, token, id_token, userinfo, profile,
	// registration, authentication, relying party.
	Step string
	// Code is the provider's error code (RFC 6749, Section 4.1.2.1), at most 64
	// characters of a-z, 0-9, '_', '-' and '.', or empty.
	Code string
	// Denied reports that the provider sent the browser back with an error
	// parameter: the visitor then sees OAuthCallbackError, else Configuration.
	Denied bool
	// Err is the cause, for errors.Is; it is not printed.
	Err error
}

// Error names the step, the reason and the provider's code.
func (e *ProviderError) Error() string {
	s := "gatebook: provider: " + e.Step + ": " + e.Reason
	if e.Check != "" {
		s += " (" + e.Check + ")"
	}
	if e.Code != "" {
		s += ": " + e.Code
	}
	return s
}

// Unwrap returns the cause.
func (e *ProviderError) Unwrap() error { return e.Err }

// EmailProvider sends magic links.
type EmailProvider interface {
	Provider
	// Normalize returns the address in its one form, or an error when it is
	// none that a link may be sent to.
	Normalize(address string) (string, error)
	// MaxAge is how long a link works.
	MaxAge() time.Duration
	// Send sends the link. It is called after the link's row is committed.
	Send(ctx context.Context, m *MagicLink) error
}

// MagicLink is a mail to be sent.
type MagicLink struct {
	// Address is the normalised recipient.
	Address string
	// URL opens the session; it is a secret.
	URL Secret
	// Host is the site's host, shown to the reader.
	Host    string
	Expires time.Time
	// Theme is that of the site, with ButtonText filled in when BrandColor is
	// set: black or white, whichever is easier to read.
	Theme Theme
}

// CredentialsProvider checks what somebody typed.
type CredentialsProvider interface {
	Provider
	// Fields are the inputs of the sign-in page.
	Fields() []Field
	// Authorize returns the user, or an error that matches [ErrBadCredentials]
	// when the credentials are wrong. [Deny] and [RedirectTo] refuse as they do
	// from the signIn callback. Any other error is an internal one.
	Authorize(ctx context.Context, credentials map[string]string, r *http.Request) (*User, error)
}

// Field is an input of a credentials form.
type Field struct {
	Name        string // the input's and the credential's name
	Label       string
	Type        string // text when empty
	Placeholder string
}

// ErrBadCredentials is returned by Authorize for an unknown account and for a
// wrong password alike. Return a *[CredentialsError] to say which it was to the
// book, or to give the page a code.
var ErrBadCredentials = errors.New("gatebook: bad credentials")

// CredentialsError is an [ErrBadCredentials] with more to say.
type CredentialsError struct {
	// Code is shown in the error page's URL (Auth.js: code); "credentials"
	// when empty. The visitor sees it.
	Code string
	// Reason is recorded: record.ReasonUnknownUser or
	// record.ReasonBadCredentials (the default). The visitor does not see it.
	Reason string
	// Target is the address or name that was claimed, recorded as the target. A
	// name that is no address is recorded only when Reason says
	// record.ReasonBadCredentials: what nobody has may be a mistyped password.
	Target string
}

// Error returns the text of ErrBadCredentials.
func (e *CredentialsError) Error() string { return ErrBadCredentials.Error() }

// Is reports whether target is ErrBadCredentials.
func (e *CredentialsError) Is(target error) bool { return target == ErrBadCredentials }

// WebAuthnProvider makes and verifies the two ceremonies of passkeys and
// security keys (Web Authentication Level 3). It keeps nothing: challenges,
// stored passkeys and whose they are are the caller's. Its methods may be called
// concurrently; they wait for nothing. Their errors are *[ProviderError] or
// internal ones.
type WebAuthnProvider interface {
	Provider
	// SignUp reports whether somebody who is not signed in may register a
	// passkey, which makes a new user with an address that nobody has verified.
	SignUp() bool
	// CreationOptions returns the JSON of the options with which a browser makes
	// a passkey (PublicKeyCredentialCreationOptions, Section 5.4).
	CreationOptions(*Ceremony, *PasskeyOwner) (json.RawMessage, error)
	// RequestOptions returns the JSON of the options with which a browser asks
	// for a passkey (PublicKeyCredentialRequestOptions, Section 5.5).
	RequestOptions(*Ceremony) (json.RawMessage, error)
	// Register verifies what the browser answered to creation options
	// (Section 7.1) and returns the new passkey.
	Register(c *Ceremony, response []byte) (*Registration, error)
	// Authenticate verifies what the browser answered to request options against
	// a stored passkey (Section 7.2), all but the counter and the user handle.
	Authenticate(c *Ceremony, stored *Authenticator, response []byte) (*Assertion, error)
}

// Ceremony is what both ends of a WebAuthn ceremony share.
type Ceremony struct {
	// Origin is that of the site as visitors know it: scheme://host[:port].
	Origin string
	// Challenge is 32 random bytes in unpadded base64url.
	Challenge string
	// Credentials are the passkeys that are not to be made again, or of which
	// one is asked for; none of the latter lets the person choose. Only their
	// CredentialID and Transports count.
	Credentials []Authenticator
}

// PasskeyOwner is the user of creation options.
type PasskeyOwner struct {
	// Handle is the user handle, 64 lower-case hex digits; the authenticator
	// keeps the digits' bytes, as with Auth.js.
	Handle string
	// Name and DisplayName are shown when passkeys are to be chosen from.
	Name        string
	DisplayName string
}

// Registration is a verified registration.
type Registration struct {
	// Authenticator has no UserID and no ProviderAccountID.
	Authenticator Authenticator
	// AAGUID is the model of the authenticator as it says itself, a UUID; all
	// zeros when it does not say.
	AAGUID string
	// UserVerified reports that the authenticator checked who used it, by PIN or
	// biometrics.
	UserVerified bool
}

// Assertion is a verified authentication.
type Assertion struct {
	// Counter is the authenticator's signature counter, 0 where it has none.
	Counter  uint32
	BackedUp bool
	// UserHandle is what the authenticator keeps as the owner, as text; empty
	// when it does not say.
	UserHandle   string
	UserVerified bool
}
