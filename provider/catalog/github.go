package catalog

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/provider/oauth"
)

var github = entry{ //nolint:gosec // G101: the URL of access tokens is none
	id: "github", name: "GitHub", brand: "#24292f",
	typ: gatebook.TypeOAuth,
	// GitHub sends iss with its reply (RFC 9207), so it has an issuer although
	// it is no OpenID provider.
	issuer: "https://github.com/login/oauth", issuerPath: "/login/oauth",
	apiBase: func(base string) string {
		if base == "https://github.com" {
			return "https://api.github.com"
		}
		return base + "/api/v3"
	},
	authURL:     "{base}/login/oauth/authorize",
	tokenURL:    "{base}/login/oauth/access_token",
	userinfoURL: "{api}/user",
	scopes:      []string{"read:user", "user:email"},
	profile: oauth.Profile{
		ID:    []string{"id"},
		Name:  []string{"name", "login"},
		Image: []string{"avatar_url"},
	},
	enrich: func(api string) enrich { return githubEmail(api + "/user/emails") },
}

// GitHub returns GitHub, or with an Issuer a GitHub Enterprise Server. The
// address is the public one of the profile, else the primary one, and it is
// verified when GitHub's list of addresses says so.
func GitHub(c Client) (*oauth.Provider, error) { return github.provider(c) }

// githubEmail fills email, and email_verified, which GitHub's profile has not:
// its own address is often null, and never says whether it was verified. An
// application without leave to read the list gets the profile as it is.
func githubEmail(url string) enrich {
	type address struct {
		Email    string `json:"email"`
		Primary  bool   `json:"primary"`
		Verified bool   `json:"verified"`
	}
	return func(ctx context.Context, fetch oauth.Fetch, profile *gatebook.Claims) error {
		// Whatever a profile says of itself here is not the list's word.
		profile.Delete("email_verified")
		status, body, err := fetch(ctx, url)
		if err != nil {
			return err
		}
		switch status {
		case http.StatusOK:
		case http.StatusForbidden, http.StatusNotFound:
			return nil
		default:
			return fmt.Errorf("the list of addresses has status %d", status)
		}
		var list []address
		if json.Unmarshal(body, &list) != nil {
			return fmt.Errorf("the list of addresses is no JSON array of addresses")
		}
		var chosen address
		public := profile.String("email")
		for i, a := range list {
			switch {
			case public != "" && a.Email == public:
				chosen = a
			case public == "" && (i == 0 || a.Primary):
				chosen = a
			}
		}
		if chosen.Email == "" {
			return nil
		}
		if public == "" {
			if err := profile.Set("email", chosen.Email); err != nil {
				return err
			}
		}
		return profile.Set("email_verified", chosen.Verified)
	}
}
