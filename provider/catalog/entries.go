package catalog

import (
	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/provider/oauth"
)

// entries are sorted by id.
var entries = []entry{
	apple, auth0, discord, facebook, github, gitlab, google, keycloak, linkedin, entra, okta, slack, twitter,
}

// stateOnly are the checks of providers that know neither PKCE nor nonce,
// stateAndNonce of those that know no PKCE.
var (
	stateOnly     = []string{oauth.CheckState}
	stateAndNonce = []string{oauth.CheckState, oauth.CheckNonce}
)

var auth0 = entry{id: "auth0", name: "Auth0", brand: "#EB5424", typ: gatebook.TypeOIDC}

// Auth0 returns a tenant of Auth0, whose Issuer is required:
// https://<tenant>.<region>.auth0.com.
func Auth0(c Client) (*oauth.Provider, error) { return auth0.provider(c) }

// facebook names a version of its API in every URL: one without a version means
// the oldest that the application may use, which changes by itself.
var facebook = entry{ //nolint:gosec // G101: the URL of access tokens is none
	id: "facebook", name: "Facebook", brand: "#006aff",
	typ:         gatebook.TypeOAuth,
	authURL:     "https://www.facebook.com/v24.0/dialog/oauth",
	tokenURL:    "https://graph.facebook.com/v24.0/oauth/access_token",
	userinfoURL: "https://graph.facebook.com/v24.0/me?fields=id,name,email,picture",
	scopes:      []string{"email"},
	httpsOnly:   true,
	profile:     oauth.Profile{ID: []string{"id"}, Name: []string{"name"}, Image: []string{"picture.data.url"}},
}

// Facebook returns Facebook Login. People who registered with a telephone number
// have no address, and Facebook does not say whether one is verified.
func Facebook(c Client) (*oauth.Provider, error) { return facebook.provider(c) }

var gitlab = entry{ //nolint:gosec // G101: the URL of tokens is none
	id: "gitlab", name: "GitLab", brand: "#FC6D26",
	typ:         gatebook.TypeOAuth,
	issuer:      "https://gitlab.com",
	authURL:     "{base}/oauth/authorize",
	tokenURL:    "{base}/oauth/token",
	userinfoURL: "{base}/api/v4/user",
	scopes:      []string{"read_user"},
	profile:     oauth.Profile{Name: []string{"name", "username"}, Image: []string{"avatar_url"}},
}

// GitLab returns gitlab.com, or with an Issuer the GitLab at that address. Its
// profile does not say whether the address is verified: confirmed_at is set too
// where an instance asks for no confirmation.
func GitLab(c Client) (*oauth.Provider, error) { return gitlab.provider(c) }

var google = entry{
	id: "google", name: "Google", brand: "#1a73e8",
	typ:    gatebook.TypeOIDC,
	issuer: "https://accounts.google.com",
	// "The value of iss is always https://accounts.google.com or
	// accounts.google.com" (Google Identity, OpenID Connect, ID token payload).
	issuerAliases: []string{"accounts.google.com"},
}

// Google returns Google's OpenID provider. It gives a refresh token only when
// Params has access_type=offline, and then at the first consent only, unless
// Params has prompt=consent too. The parameter hd is a hint to Google's page:
// whoever must be of one Workspace is checked on the profile's hd in the signIn
// callback.
func Google(c Client) (*oauth.Provider, error) { return google.provider(c) }

var keycloak = entry{id: "keycloak", name: "Keycloak", brand: "#428bca", typ: gatebook.TypeOIDC}

// Keycloak returns a realm of a Keycloak server, whose Issuer is required:
// https://<host>/realms/<realm>.
func Keycloak(c Client) (*oauth.Provider, error) { return keycloak.provider(c) }

// linkedin knows no PKCE, and its ID tokens have no nonce.
var linkedin = entry{
	id: "linkedin", name: "LinkedIn", brand: "#006699",
	typ:    gatebook.TypeOIDC,
	issuer: "https://www.linkedin.com/oauth",
	auth:   oauth.ClientSecretPost,
	checks: stateOnly,
}

// LinkedIn returns Sign In with LinkedIn using OpenID Connect.
func LinkedIn(c Client) (*oauth.Provider, error) { return linkedin.provider(c) }

var okta = entry{id: "okta", name: "Okta", brand: "#000000", typ: gatebook.TypeOIDC}

// Okta returns an authorization server of an Okta organization, whose Issuer is
// required: https://<organization>.okta.com, or that with
// /oauth2/<authorization server>. A public client has the Auth oauth.ClientNone.
func Okta(c Client) (*oauth.Provider, error) { return okta.provider(c) }

var slack = entry{
	id: "slack", name: "Slack", brand: "#611f69",
	typ:    gatebook.TypeOIDC,
	issuer: "https://slack.com",
	checks: stateAndNonce, httpsOnly: true,
}

// Slack returns Sign in with Slack. The workspace is in the profile's claims
// https://slack.com/team_id and the like.
func Slack(c Client) (*oauth.Provider, error) { return slack.provider(c) }

var twitter = entry{ //nolint:gosec // G101: the URL of tokens is none
	id: "twitter", name: "X", brand: "#1da1f2",
	typ:         gatebook.TypeOAuth,
	authURL:     "https://x.com/i/oauth2/authorize",
	tokenURL:    "https://api.x.com/2/oauth2/token",
	userinfoURL: "https://api.x.com/2/users/me?user.fields=profile_image_url",
	userinfoWith: map[string]string{
		"users.email": "https://api.x.com/2/users/me?user.fields=profile_image_url,confirmed_email",
	},
	scopes: []string{"users.read", "tweet.read", "offline.access"},
	profile: oauth.Profile{
		ID:            []string{"data.id"},
		Name:          []string{"data.name"},
		Email:         []string{"data.confirmed_email", "data.email"},
		Image:         []string{"data.profile_image_url"},
		EmailVerified: []string{"data.confirmed_email"},
	},
}

// Twitter returns X, whose id is still twitter, as in Auth.js. It gives an
// address, and a verified one, only with the scope users.email, for which the
// application needs X's leave:
//
//	Scopes: []string{"users.read", "tweet.read", "users.email"}
func Twitter(c Client) (*oauth.Provider, error) { return twitter.provider(c) }
