package record

import "time"

// Types of entries. Each has a payload struct below; the catalogue only grows.
const (
	TypeSignIn           = "signIn"
	TypeSignOut          = "signOut"
	TypeCreateUser       = "createUser"
	TypeUpdateUser       = "updateUser"
	TypeLinkAccount      = "linkAccount"
	TypeSession          = "session"
	TypeSignInFailed     = "signIn.failed"
	TypeHandlerFailed    = "handler.failed"
	TypeHandlerSlow      = "handler.slow"
	TypeDeleteUser       = "deleteUser"
	TypeUnlinkAccount    = "unlinkAccount"
	TypeSessionRevoked   = "session.revoked"
	TypeSessionExpired   = "session.expired"
	TypeSessionRefreshed = "session.refreshed"
	TypeSessionInvalid   = "session.invalid"
	TypeCSRFRejected     = "csrf.rejected"
	TypeCheckFailed      = "check.failed"
	TypeReplayDetected   = "replay.detected"
	TypeRedirectRejected = "redirect.rejected"
	TypeHostUntrusted    = "host.untrusted"

	TypeUserAdopted          = "user.adopted"
	TypeSessionAdopted       = "session.adopted"
	TypeAccountTokensOmitted = "account.tokensOmitted"

	TypePasskeyAdded        = "passkey.added"
	TypePasskeyRemoved      = "passkey.removed"
	TypePasskeyCloneWarning = "passkey.cloneWarning"
)

// Reason codes of failures: closed, so that a report can count them.
const (
	ReasonUnknownUser         = "unknownUser"
	ReasonBadCredentials      = "badCredentials"
	ReasonAccessDenied        = "accessDenied"
	ReasonAccountNotLinked    = "accountNotLinked"
	ReasonLinkedToOtherUser   = "linkedToOtherUser"
	ReasonTokenExpired        = "tokenExpired"
	ReasonTokenUsed           = "tokenUsed"
	ReasonTokenUnknown        = "tokenUnknown"
	ReasonProviderDenied      = "providerDenied"
	ReasonProviderError       = "providerError"
	ReasonProviderUnreachable = "providerUnreachable"
	ReasonStateMismatch       = "stateMismatch"
	ReasonNonceMismatch       = "nonceMismatch"
	ReasonPKCEFailed          = "pkceFailed"
	ReasonIssuerMismatch      = "issuerMismatch"
	ReasonIDTokenInvalid      = "idTokenInvalid"
	ReasonReplay              = "replay"
	ReasonCSRF                = "csrf"
	ReasonInvalidRedirect     = "invalidRedirect"
	ReasonUntrustedHost       = "untrustedHost"
	ReasonProfileInvalid      = "profileInvalid"
	ReasonWebAuthnFailed      = "webauthnFailed"
	ReasonIdentifierInvalid   = "identifierInvalid"
	ReasonMailFailed          = "mailFailed"
	ReasonRateLimited         = "rateLimited"
	ReasonSessionInvalid      = "sessionInvalid"
	ReasonSessionExpired      = "sessionExpired"
	ReasonSessionRevoked      = "sessionRevoked"
	ReasonStoreError          = "storeError"
	ReasonConfiguration       = "configuration"
	ReasonInternal            = "internal"
	ReasonHandlerError        = "handlerError"
	ReasonHandlerPanic        = "handlerPanic"
	ReasonHandlerTimeout      = "handlerTimeout"
	ReasonSaturated           = "saturated"
)

// The tag "max" is how many bytes of a string, or of each string of a list, are
// recorded, as JSON without quotes; without one it is [MaxString].

// Person is a user in an identity block.
type Person struct {
	ID    string `json:"id,omitempty" max:"1024"`
	Email string `json:"email,omitempty" max:"320"`
	Name  string `json:"name,omitempty"`
}

// LinkedAccount is a provider's account in an identity block. Tokens are never
// recorded.
type LinkedAccount struct {
	Provider string `json:"provider,omitempty"`
	Type     string `json:"type,omitempty"`
	ID       string `json:"id,omitempty" max:"1024"`
}

// Assurance says how strongly the provider says it authenticated the person
// (RFC 8176 amr, OpenID Connect Core acr and auth_time).
type Assurance struct {
	AMR      []string   `json:"amr,omitempty" max:"64"`
	ACR      string     `json:"acr,omitempty"`
	AuthTime *time.Time `json:"authTime,omitempty"`
}

// Request is the payload of a request block.
type Request struct {
	// IP is the client's address, and IPSource where it was taken from:
	// "connection" or the name of the trusted proxy's header.
	IP        string `json:"ip,omitempty"`
	IPSource  string `json:"ipSource,omitempty"`
	UserAgent string `json:"userAgent,omitempty" max:"512"`
	Method    string `json:"method,omitempty" max:"16"`
	// Route is the route under the base path, such as "callback/github". The
	// paths of the application and query strings are never recorded: they may
	// carry secrets.
	Route string `json:"route,omitempty"`
	// Origin is the Origin header: scheme, host and port.
	Origin string `json:"origin,omitempty"`
	// Truncated names the members that were cut to their limit.
	Truncated []string `json:"truncated,omitempty"`
}

// SignIn is the identity payload of signIn.
type SignIn struct {
	User      Person         `json:"user"`
	Account   *LinkedAccount `json:"account,omitempty"`
	Assurance *Assurance     `json:"assurance,omitempty"`
	// Session is the sid of the session that begins or goes on.
	Session   string   `json:"session,omitempty" max:"1024"`
	Strategy  string   `json:"strategy,omitempty"`
	IsNewUser *bool    `json:"isNewUser,omitempty"`
	Truncated []string `json:"truncated,omitempty"`
}

// SignOut is the identity payload of signOut.
type SignOut struct {
	User      Person   `json:"user"`
	Session   string   `json:"session,omitempty" max:"1024"`
	Strategy  string   `json:"strategy,omitempty"`
	Truncated []string `json:"truncated,omitempty"`
}

// UserChange is the identity payload of createUser, updateUser, deleteUser and
// user.adopted.
type UserChange struct {
	User Person `json:"user"`
	// Changed names the fields of the user that an update wrote.
	Changed   []string `json:"changed,omitempty"`
	Truncated []string `json:"truncated,omitempty"`
}

// AccountChange is the identity payload of linkAccount and unlinkAccount.
type AccountChange struct {
	User      Person        `json:"user"`
	Account   LinkedAccount `json:"account"`
	Truncated []string      `json:"truncated,omitempty"`
}

// TokensOmitted is the identity payload of account.tokensOmitted.
type TokensOmitted struct {
	User    Person        `json:"user"`
	Account LinkedAccount `json:"account"`
	// Fields names what was left out, as in RFC 6749, Section 5.1, such as
	// access_token.
	Fields    []string `json:"fields,omitempty" max:"64"`
	Truncated []string `json:"truncated,omitempty"`
}

// SessionAdopted is the identity payload of session.adopted.
type SessionAdopted struct {
	User Person `json:"user"`
	// Session is the sid that the session has from then on.
	Session   string   `json:"session,omitempty" max:"1024"`
	Strategy  string   `json:"strategy,omitempty"`
	Truncated []string `json:"truncated,omitempty"`
}

// SessionUse is the identity payload of session and session.refreshed: how
// often one session was used or renewed on one server between two times.
type SessionUse struct {
	User     Person    `json:"user"`
	Session  string    `json:"session,omitempty" max:"1024"`
	Strategy string    `json:"strategy,omitempty"`
	Count    int64     `json:"count"`
	First    time.Time `json:"first"`
	Last     time.Time `json:"last"`
	// AtLeast is set when a server may have been killed before it wrote all it
	// had counted.
	AtLeast   bool     `json:"atLeast,omitempty"`
	Truncated []string `json:"truncated,omitempty"`
}

// SessionEnd is the identity payload of session.revoked, session.expired and
// session.invalid.
type SessionEnd struct {
	User     Person `json:"user"`
	Session  string `json:"session,omitempty" max:"1024"`
	Strategy string `json:"strategy,omitempty"`
	// Scope is "one", "others" (all but the one that asked) or "all", and Count
	// how many sessions were revoked.
	Scope string `json:"scope,omitempty"`
	Count int    `json:"count,omitempty"`
	// Why says what ended the session: "app" (the application asked), "user" (the
	// user did, on the account routes), or "otherUser" (somebody else signed in
	// with the same browser).
	Why       string   `json:"why,omitempty"`
	Truncated []string `json:"truncated,omitempty"`
}

// SignInFailed is the identity payload of signIn.failed. User is set when the
// claimed address belongs to a known user; Target is the claimed address.
type SignInFailed struct {
	User      *Person        `json:"user,omitempty"`
	Target    string         `json:"target,omitempty" max:"320"`
	Account   *LinkedAccount `json:"account,omitempty"`
	Truncated []string       `json:"truncated,omitempty"`
}

// Passkey is the identity payload of passkey.added, passkey.removed and
// passkey.cloneWarning.
type Passkey struct {
	User Person `json:"user"`
	// CredentialIDHash is the lower-case hex SHA-256 of the credential id.
	CredentialIDHash string `json:"credentialIdHash"`
	// AAGUID is the model that the authenticator said it is, where it was added.
	AAGUID     string   `json:"aaguid,omitempty" max:"64"`
	Transports []string `json:"transports,omitempty" max:"64"`
	// DeviceBound is set when the passkey cannot leave its authenticator, and
	// BackedUp when it is kept elsewhere too.
	DeviceBound bool `json:"deviceBound,omitempty"`
	BackedUp    bool `json:"backedUp,omitempty"`
	// Stored and Received are the signature counters of a clone warning.
	Stored    *uint32  `json:"stored,omitempty"`
	Received  *uint32  `json:"received,omitempty"`
	Truncated []string `json:"truncated,omitempty"`
}

// Defence is the detail payload of csrf.rejected, check.failed,
// replay.detected, redirect.rejected and host.untrusted.
type Defence struct {
	// Check is what failed: state, nonce, pkce, iss, csrf, callbackUrl, host; of a
	// passkey webauthnChallenge, credential, type, challenge, origin, rpId,
	// userPresent, userVerified, userHandle, backupEligible, algorithm,
	// signature, attestation, format, account.
	Check string `json:"check,omitempty"`
	// Why is missing, mismatch, expired, used or forbidden.
	Why string `json:"why,omitempty"`
	// Count is set on an entry that stands for that many repetitions from one
	// network, which were counted instead of recorded one by one.
	Count int64 `json:"count,omitempty"`
}

// Handler is the detail payload of handler.failed and handler.slow.
type Handler struct {
	// Handler is the name of the field of Events, and Event the type and
	// EventID the id of the event it was called for.
	Handler string `json:"handler"`
	Event   string `json:"event"`
	EventID string `json:"eventId,omitempty" max:"1024"`
	// ErrorType is the Go type of the error or of the panic's value, never its
	// text.
	ErrorType string `json:"errorType,omitempty"`
	// DurationMS and BudgetMS are milliseconds.
	DurationMS int64 `json:"durationMs"`
	BudgetMS   int64 `json:"budgetMs,omitempty"`
	// Count is set on an entry that stands for that many further failures of
	// the handler, which were counted instead of recorded one by one.
	Count int64 `json:"count,omitempty"`
}
