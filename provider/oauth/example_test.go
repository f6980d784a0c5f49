package oauth_test

import (
	"context"
	"fmt"
	"net/url"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/provider/oauth"
)

// An OpenID provider of one's own needs its issuer and a client there.
func ExampleNew() {
	acme, err := oauth.New(oauth.Config{
		ID:           "acme",
		Name:         "Acme",
		Issuer:       "https://login.acme.example",
		ClientID:     "gatebook",
		ClientSecret: "from-the-registration",
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(acme.Info().Name, acme.Checks())
	// Output: Acme [state pkce nonce]
}

// An OAuth 2.0 provider that is not in the catalog is described by its
// endpoints and by where its profile keeps the user's fields.
func ExampleNew_oauth() {
	forge, err := oauth.New(oauth.Config{
		ID:           "forge",
		Type:         gatebook.TypeOAuth,
		AuthURL:      "https://forge.example/oauth/authorize",
		TokenURL:     "https://forge.example/oauth/token",
		UserinfoURL:  "https://forge.example/api/user",
		ClientID:     "gatebook",
		ClientSecret: "from-the-registration",
		Scopes:       []string{"profile"},
		Profile:      oauth.Profile{ID: []string{"data.id"}, Name: []string{"data.display_name"}, Email: []string{"data.emails.0"}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	to, err := forge.Begin(context.Background(), &gatebook.Begin{RedirectURI: "https://app.example/auth/callback/forge", State: "of-the-caller"})
	if err != nil {
		fmt.Println(err)
		return
	}
	u, _ := url.Parse(to.URL)
	fmt.Println(u.Host, u.Query().Get("scope"), u.Query().Get("code_challenge_method"))
	// Output: forge.example profile S256
}
