package providers

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Known is what is known of a provider, and of Ada, who has an account there.
type Known struct {
	// OpenID is set for a provider that gives ID tokens; Issuer is its
	// metadata's, TokenIssuer that of its ID tokens where that differs.
	OpenID              bool
	Issuer, TokenIssuer string
	// The addresses, without query. Discovery is that of the metadata.
	Authorize, Token, Userinfo, Discovery, Keys string

	// Params must be in the authorization request. Scopes are those that may be
	// asked for, separated by spaces.
	Params map[string]string
	Scopes []string
	// IDTokenAlways is set where an ID token comes without the scope openid.
	IDTokenAlways bool
	// PKCENeeded and StateNeeded say what a request is refused without.
	PKCENeeded, StateNeeded bool
	// NoNonce is set where ID tokens leave the nonce out.
	NoNonce bool
	// HTTPSOnly is set where a redirect URI must be https, on every host.
	HTTPSOnly bool
	// IssParam is the iss of the reply (RFC 9207), empty where there is none.
	IssParam string
	// Denied is the error code when the person says no.
	Denied string
	// User is what comes beside the code at the first consent.
	User Object

	// ClientAuth are the ways for the client to prove who it is: basic, post,
	// assertion, none. CheckSecret checks a secret that is not a fixed one.
	ClientAuth     []string
	CheckSecret    func(e *Emulator, secret string) bool
	CheckAssertion func(e *Emulator, assertion string) bool
	// TokenReply changes the members of the token reply; nil removes one.
	TokenReply Object
	// TokenError answers a refused token request.
	TokenError func(w http.ResponseWriter, code string)
	// FormEncoded is set where a token reply is a form unless JSON is asked for.
	FormEncoded bool

	// UserAgentNeeded is set where a request without User-Agent is refused.
	UserAgentNeeded bool
	// Profile is Ada's: the claims of the ID token, or the userinfo document.
	Profile Object
	// Fields are the members of the profile that must be asked for in the
	// parameter FieldsParam, with the scope they need. Envelope is the member
	// that the profile is wrapped in.
	Fields      map[string]string
	FieldsParam string
	Envelope    string
	// Documents are further ones, by address.
	Documents map[string]Document

	// Want is what a sign-in of Ada must come to.
	Want Want
}

// Document is one that a token with a scope can get.
type Document struct {
	Scope string
	Body  any
}

// Want is what a sign-in comes to: the user, the id of the account, and whether
// the provider says that it verified the address.
type Want struct {
	AccountID, Name, Email, Image string
	Verified                      bool
}

var openIDScopes = []string{"openid", "profile", "email", "offline_access"}

// claims are the usual claims of an ID token.
func claims(sub string, more Object) Object {
	o := Object{"sub": sub, "name": "Ada Lovelace", "email": "Ada@example.com", "email_verified": true, "picture": "https://img.example/ada.png"}
	for name, v := range more {
		if o[name] = v; v == nil {
			delete(o, name)
		}
	}
	return o
}

func wantClaims(sub string, verified bool) Want {
	return Want{AccountID: sub, Name: "Ada Lovelace", Email: "ada@example.com", Image: "https://img.example/ada.png", Verified: verified}
}

// Issuers are the issuers that a registration has to name, by provider.
var Issuers = map[string]string{
	"auth0":    "https://acme.eu.auth0.com",
	"keycloak": "https://sso.example.com/realms/acme",
	"okta":     "https://acme.okta.com/oauth2/default",
}

// All returns what is known of each provider, by id.
func All() map[string]Known {
	return map[string]Known{
		"apple": apple(), "auth0": auth0(), "discord": discord(), "facebook": facebook(), "github": github(), "gitlab": gitlab(),
		"google": google(), "keycloak": keycloak(), "linkedin": linkedin(), "microsoft-entra-id": entra(), "okta": okta(),
		"slack": slack(), "twitter": twitter(),
	}
}

// AppleKey is the key that the client of Apple registered.
var AppleKey = sync.OnceValue(func() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return key
})

// AppleTeamID and AppleKeyID are the client's team and the id of its key.
const (
	AppleTeamID = "TEAM123456"
	AppleKeyID  = "KEY1234567"
)

func apple() Known {
	const host = "https://appleid.apple.com"
	return Known{
		OpenID: true, Issuer: host, Discovery: host + "/.well-known/openid-configuration",
		Authorize: host + "/auth/authorize", Token: host + "/auth/token", Keys: host + "/auth/keys",
		Params: map[string]string{"response_mode": "form_post"}, Scopes: []string{"openid", "name", "email"}, IDTokenAlways: true,
		HTTPSOnly: true, Denied: "user_cancelled_authorize",
		User:       Object{"name": Object{"firstName": "Ada", "lastName": "Lovelace"}, "email": "ada@example.com"},
		ClientAuth: []string{"post"}, CheckSecret: isAppleSecret,
		TokenReply: Object{"scope": nil, "refresh_token": "rt-apple"},
		Profile: Object{"sub": "001234.0123456789abcdef.0123", "email": "Ada@example.com", "email_verified": "true",
			"is_private_email": "false", "nonce_supported": true, "auth_time": 1_790_000_000},
		Want: Want{AccountID: "001234.0123456789abcdef.0123", Name: "Ada Lovelace", Email: "ada@example.com", Verified: true},
	}
}

// isAppleSecret checks a client secret as Apple says it must be.
func isAppleSecret(e *Emulator, secret string) bool {
	jws, err := jose.ParseSignedCompact(secret, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil || jws.Signatures[0].Header.KeyID != AppleKeyID {
		return false
	}
	payload, err := jws.Verify(AppleKey().Public())
	if err != nil {
		return false
	}
	var c struct {
		Iss, Aud, Sub string
		Iat, Exp      int64
	}
	now := e.Now().Unix()
	const sixMonths = 15777000 // seconds, Apple's own figure
	return json.Unmarshal(payload, &c) == nil && c.Iss == AppleTeamID && c.Aud == "https://appleid.apple.com" &&
		c.Sub == e.Client.ID && c.Iat <= now && c.Exp > now && c.Exp <= now+sixMonths
}

// auth0 names itself with a slash at the end.
func auth0() Known {
	host := Issuers["auth0"]
	return Known{
		OpenID: true, Issuer: host + "/", Discovery: host + "/.well-known/openid-configuration",
		Authorize: host + "/authorize", Token: host + "/oauth/token", Userinfo: host + "/userinfo", Keys: host + "/.well-known/jwks.json",
		Scopes: openIDScopes, Denied: "access_denied", ClientAuth: []string{"basic", "post"},
		Profile: claims("auth0|5f7c8ec7c33c6c004bbafe82", Object{"nickname": "ada"}),
		Want:    wantClaims("auth0|5f7c8ec7c33c6c004bbafe82", true),
	}
}

func discord() Known {
	return Known{
		Authorize: "https://discord.com/api/oauth2/authorize", Token: "https://discord.com/api/oauth2/token",
		Userinfo: "https://discord.com/api/users/@me",
		Scopes:   []string{"identify", "email", "guilds", "openid"}, Denied: "access_denied", ClientAuth: []string{"basic", "post"},
		TokenReply: Object{"expires_in": 604800, "refresh_token": "rt-discord"},
		Profile: Object{"id": "80351110224678912", "username": "ada", "global_name": "Ada Lovelace", "discriminator": "0",
			"avatar": "8342729096ea3675442027381ff50dfe", "verified": true, "email": "Ada@example.com"},
		Want: Want{AccountID: "80351110224678912", Name: "Ada Lovelace", Email: "ada@example.com", Verified: true,
			Image: "https://cdn.discordapp.com/avatars/80351110224678912/8342729096ea3675442027381ff50dfe.png"},
	}
}

// facebook answers versions of its API that it still has.
func facebook() Known {
	return Known{
		Authorize: "https://www.facebook.com/v24.0/dialog/oauth", Token: "https://graph.facebook.com/v24.0/oauth/access_token",
		Userinfo: "https://graph.facebook.com/v24.0/me",
		Scopes:   []string{"email", "public_profile"}, HTTPSOnly: true, Denied: "access_denied", ClientAuth: []string{"basic", "post"},
		TokenReply: Object{"token_type": "bearer", "scope": nil, "expires_in": 5183944},
		TokenError: func(w http.ResponseWriter, code string) {
			number := map[string]int{"invalid_client": 1, "invalid_grant": 100}[code]
			fail(w, http.StatusBadRequest, Object{"error": Object{"message": "described", "type": "OAuthException", "code": number, "fbtrace_id": "A"}})
		},
		FieldsParam: "fields", Fields: map[string]string{"name": "", "email": "email", "picture": ""},
		Profile: Object{"id": "10229876543210987", "name": "Ada Lovelace", "email": "Ada@example.com",
			"picture": Object{"data": Object{"height": 50, "url": "https://img.example/ada.png", "width": 50}}},
		Want: wantClaims("10229876543210987", false),
	}
}

// github gives a form unless JSON is asked for, errors with status 200, and the
// address in a list of its own.
func github() Known {
	return Known{
		Authorize: "https://github.com/login/oauth/authorize", Token: "https://github.com/login/oauth/access_token",
		Userinfo: "https://api.github.com/user",
		Scopes:   []string{"read:user", "user:email", "user", "repo"}, Denied: "access_denied", IssParam: "https://github.com/login/oauth",
		ClientAuth: []string{"basic", "post"}, FormEncoded: true, UserAgentNeeded: true,
		TokenReply: Object{"token_type": "bearer", "scope": "read:user,user:email", "expires_in": nil},
		TokenError: func(w http.ResponseWriter, code string) {
			own := map[string]string{"invalid_client": "incorrect_client_credentials", "invalid_grant": "bad_verification_code"}[code]
			write(w, Object{"error": own, "error_description": "described"})
		},
		Profile: Object{"id": 583231, "login": "ada", "name": nil, "email": nil, "avatar_url": "https://img.example/ada.png"},
		Documents: map[string]Document{"https://api.github.com/user/emails": {Scope: "user:email", Body: []Object{
			{"email": "old@example.com", "primary": false, "verified": true, "visibility": nil},
			{"email": "Ada@example.com", "primary": true, "verified": true, "visibility": "private"},
		}}},
		Want: Want{AccountID: "583231", Name: "ada", Email: "ada@example.com", Image: "https://img.example/ada.png", Verified: true},
	}
}

func gitlab() Known {
	return Known{
		Authorize: "https://gitlab.com/oauth/authorize", Token: "https://gitlab.com/oauth/token", Userinfo: "https://gitlab.com/api/v4/user",
		Scopes: []string{"read_user", "openid", "profile", "email"}, Denied: "access_denied", ClientAuth: []string{"basic", "post"},
		TokenReply: Object{"refresh_token": "rt-gitlab", "created_at": 1_790_000_000},
		Profile: Object{"id": 1234567, "username": "ada", "name": "Ada Lovelace", "state": "active", "email": "Ada@example.com",
			"confirmed_at": "2025-01-01T00:00:00.000Z", "avatar_url": "https://img.example/ada.png"},
		Want: wantClaims("1234567", false),
	}
}

func google() Known {
	return Known{
		OpenID: true, Issuer: "https://accounts.google.com", Discovery: "https://accounts.google.com/.well-known/openid-configuration",
		Authorize: "https://accounts.google.com/o/oauth2/v2/auth", Token: "https://oauth2.googleapis.com/token",
		Userinfo: "https://openidconnect.googleapis.com/v1/userinfo", Keys: "https://www.googleapis.com/oauth2/v3/certs",
		Scopes: []string{"openid", "profile", "email"}, Denied: "access_denied", ClientAuth: []string{"basic", "post"},
		Profile: claims("108204268033311374519", Object{"hd": "example.com", "azp": "app"}),
		Want:    wantClaims("108204268033311374519", true),
	}
}

func keycloak() Known {
	realm := Issuers["keycloak"]
	connect := realm + "/protocol/openid-connect"
	return Known{
		OpenID: true, Issuer: realm, Discovery: realm + "/.well-known/openid-configuration",
		Authorize: connect + "/auth", Token: connect + "/token", Userinfo: connect + "/userinfo", Keys: connect + "/certs",
		Scopes: openIDScopes, Denied: "access_denied", IssParam: realm, ClientAuth: []string{"basic", "post"},
		TokenReply: Object{"session_state": "5f2b", "not-before-policy": 0, "refresh_expires_in": 1800, "refresh_token": "rt-keycloak"},
		Profile:    claims("f3a1c6c4-8f5c-4a7a-9d3e-1b2c3d4e5f60", Object{"preferred_username": "ada"}),
		Want:       wantClaims("f3a1c6c4-8f5c-4a7a-9d3e-1b2c3d4e5f60", true),
	}
}

// linkedin documents a token reply without token_type, and leaves the nonce out.
func linkedin() Known {
	return Known{
		OpenID: true, Issuer: "https://www.linkedin.com/oauth", Discovery: "https://www.linkedin.com/oauth/.well-known/openid-configuration",
		Authorize: "https://www.linkedin.com/oauth/v2/authorization", Token: "https://www.linkedin.com/oauth/v2/accessToken",
		Userinfo: "https://api.linkedin.com/v2/userinfo", Keys: "https://www.linkedin.com/oauth/openid/jwks",
		Scopes: []string{"openid", "profile", "email"}, NoNonce: true, Denied: "user_cancelled_login", ClientAuth: []string{"post"},
		TokenReply: Object{"token_type": nil, "scope": "email,openid,profile", "expires_in": 5183999},
		Profile:    claims("782bbtaQ", Object{"locale": "en_US", "at_hash": nil}),
		Want:       wantClaims("782bbtaQ", true),
	}
}

// EntraTenant is the tenant of Ada's employer, EntraPersonal that of accounts of
// one's own.
const (
	EntraTenant   = "72f988bf-86f1-41af-91ab-2d7cd011db47"
	EntraPersonal = "9188040d-6c67-4c5b-b112-36a304b66dad"
)

// entra's metadata of many tenants names none of them.
func entra() Known {
	const host = "https://login.microsoftonline.com"
	return Known{
		OpenID: true, Issuer: host + "/{tenantid}/v2.0", TokenIssuer: host + "/" + EntraTenant + "/v2.0",
		Discovery: host + "/common/v2.0/.well-known/openid-configuration",
		Authorize: host + "/common/oauth2/v2.0/authorize", Token: host + "/common/oauth2/v2.0/token",
		Userinfo: "https://graph.microsoft.com/oidc/userinfo", Keys: host + "/common/discovery/v2.0/keys",
		Scopes: []string{"openid", "profile", "email", "offline_access", "User.Read"}, Denied: "access_denied", ClientAuth: []string{"basic", "post"},
		TokenReply: Object{"ext_expires_in": 3600},
		TokenError: func(w http.ResponseWriter, code string) {
			status := http.StatusBadRequest
			if code == "invalid_client" {
				status = http.StatusUnauthorized
			}
			fail(w, status, Object{"error": code, "error_description": "AADSTS70008: described", "error_codes": []int{70008},
				"timestamp": time.Unix(0, 0).UTC().Format(time.DateTime) + "Z", "trace_id": "t", "correlation_id": "c"})
		},
		Profile: claims("AAAAAAAAAAAAAAAAAAAAAIkzqFVrSaSaFHy782bbtaQ", Object{
			"tid": EntraTenant, "oid": "00000000-0000-0000-66f3-3332eca7ea81", "email_verified": nil, "picture": nil}),
		Want: Want{AccountID: "AAAAAAAAAAAAAAAAAAAAAIkzqFVrSaSaFHy782bbtaQ", Name: "Ada Lovelace", Email: "ada@example.com"},
	}
}

// okta refuses a request without state, and a client of the usual kind that does
// not use Basic authentication.
func okta() Known {
	server := Issuers["okta"]
	return Known{
		OpenID: true, Issuer: server, Discovery: server + "/.well-known/openid-configuration",
		Authorize: server + "/v1/authorize", Token: server + "/v1/token", Userinfo: server + "/v1/userinfo", Keys: server + "/v1/keys",
		Scopes: openIDScopes, StateNeeded: true, PKCENeeded: true, Denied: "access_denied", IssParam: server, ClientAuth: []string{"basic"},
		Profile: claims("00uid4BxXw6I6TV4m0g3", Object{"amr": []string{"pwd", "mfa"}, "ver": 1}),
		Want:    wantClaims("00uid4BxXw6I6TV4m0g3", true),
	}
}

// slack answers everything with status 200 and says in ok what it means.
func slack() Known {
	return Known{
		OpenID: true, Issuer: "https://slack.com", Discovery: "https://slack.com/.well-known/openid-configuration",
		Authorize: "https://slack.com/openid/connect/authorize", Token: "https://slack.com/api/openid.connect.token",
		Userinfo: "https://slack.com/api/openid.connect.userInfo", Keys: "https://slack.com/openid/connect/keys",
		Scopes: []string{"openid", "profile", "email"}, HTTPSOnly: true, Denied: "access_denied", ClientAuth: []string{"basic", "post"},
		TokenReply: Object{"ok": true, "scope": nil, "expires_in": nil},
		TokenError: func(w http.ResponseWriter, code string) {
			own := map[string]string{"invalid_client": "bad_client_secret", "invalid_grant": "invalid_code"}[code]
			write(w, Object{"ok": false, "error": own})
		},
		Profile: claims("U0R7JM", Object{"https://slack.com/user_id": "U0R7JM", "https://slack.com/team_id": "T0R7GR", "date_email_verified": 1_700_000_000}),
		Want:    wantClaims("U0R7JM", true),
	}
}

// twitter demands PKCE and Basic authentication, wraps the profile, and gives
// only the fields that are asked for.
func twitter() Known {
	return Known{
		Authorize: "https://x.com/i/oauth2/authorize", Token: "https://api.x.com/2/oauth2/token", Userinfo: "https://api.x.com/2/users/me",
		Scopes:     []string{"users.read", "tweet.read", "users.email", "offline.access"},
		PKCENeeded: true, StateNeeded: true, Denied: "access_denied", ClientAuth: []string{"basic"},
		TokenReply:  Object{"token_type": "bearer", "expires_in": 7200, "refresh_token": "rt-twitter"},
		FieldsParam: "user.fields", Envelope: "data",
		Fields: map[string]string{"profile_image_url": "", "confirmed_email": "users.email"},
		Profile: Object{"id": "2244994945", "name": "Ada Lovelace", "username": "ada",
			"profile_image_url": "https://img.example/ada.png", "confirmed_email": "Ada@example.com"},
		Want: Want{AccountID: "2244994945", Name: "Ada Lovelace", Image: "https://img.example/ada.png"},
	}
}

// OpenID returns a provider that keeps to OpenID Connect Core and Discovery, and
// takes every way to authenticate a client.
func OpenID() Known {
	const host = "https://op.example.com"
	return Known{
		OpenID: true, Issuer: host, Discovery: host + "/.well-known/openid-configuration",
		Authorize: host + "/authorize", Token: host + "/token", Userinfo: host + "/userinfo", Keys: host + "/keys",
		Scopes: openIDScopes, Denied: "access_denied", ClientAuth: []string{"basic", "post", "assertion", "none"},
		Profile: claims("ada-1", nil), Want: wantClaims("ada-1", true),
	}
}
