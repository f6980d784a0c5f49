package catalog

import (
	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/provider/oauth"
)

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
// Params has prompt=consent too.
func Google(c Client) (*oauth.Provider, error) { return google.provider(c) }
