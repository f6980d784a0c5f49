package providers_test

import (
	"encoding/json"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/provider/oauth"
	"github.com/gatebook/gatebook/test/oidcprovider"
	"github.com/gatebook/gatebook/test/providers"
)

// TestRealProvider signs Ada in at an OpenID provider that is not ours, with
// every way to authenticate the client and each kind of signature.
func TestRealProvider(t *testing.T) {
	keys, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{
		{Key: secondKey().Public(), KeyID: "r", Algorithm: "RS256", Use: "sig"},
		{Key: curveKey().Public(), KeyID: "e", Algorithm: "ES256", Use: "sig"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		client oidcprovider.Client
		config oauth.Config
	}{
		{"client_secret_basic", oidcprovider.Client{Secret: secret}, oauth.Config{ClientSecret: secret}},
		{"client_secret_post", oidcprovider.Client{Secret: secret}, oauth.Config{ClientSecret: secret, ClientAuth: oauth.ClientSecretPost}},
		{"client_secret_jwt", oidcprovider.Client{Secret: longSecret}, oauth.Config{ClientSecret: longSecret, ClientAuth: oauth.ClientSecretJWT}},
		{"private_key_jwt RSA", oidcprovider.Client{Auth: "private_key_jwt", Keys: keys},
			oauth.Config{ClientAuth: oauth.PrivateKeyJWT, ClientKey: &oauth.ClientKey{ID: "r", Signer: secondKey()}}},
		{"private_key_jwt P-256", oidcprovider.Client{Auth: "private_key_jwt", Keys: keys},
			oauth.Config{ClientAuth: oauth.PrivateKeyJWT, ClientKey: &oauth.ClientKey{ID: "e", Signer: curveKey()}}},
		{"none", oidcprovider.Client{}, oauth.Config{ClientAuth: oauth.ClientNone}},
		{"ES256", oidcprovider.Client{Secret: secret, IDTokenAlg: "ES256"}, oauth.Config{ClientSecret: secret}},
		{"HS256", oidcprovider.Client{Secret: longSecret, IDTokenAlg: "HS256"}, oauth.Config{ClientSecret: longSecret, IDTokenAlgs: []string{"HS256"}}},
		{"userinfo", oidcprovider.Client{Secret: secret}, oauth.Config{ClientSecret: secret, UserinfoProfile: true}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := tt.client
			c.ID, c.RedirectURIs = client, []string{origin + "/auth/callback/op"}
			if c.Auth == "" && tt.config.ClientAuth != "" {
				c.Auth = string(tt.config.ClientAuth)
			}
			op := oidcprovider.Start(t, c)
			config := tt.config
			config.ID, config.Issuer, config.ClientID = "op", op.Issuer, client
			p, err := oauth.New(config)
			if err != nil {
				t.Fatal(err)
			}
			s := newSite(t, p, gatebook.StrategyDatabase)
			b := s.newBrowser(t)
			back := op.SignIn(t, nil, b.begin("op"), oidcprovider.Ada)
			if to := b.comeBack(&providers.Reply{URL: back.String()}).Header.Get("Location"); to != origin+"/home" {
				t.Fatalf("the sign-in leads to %q\n%s", to, &s.log)
			}
			found, err := s.store.Find(t.Context(), gatebook.Query{Email: "ada@example.com"})
			if err != nil || found.ByEmail == nil || found.ByEmail.User.Name != "Ada Lovelace" {
				t.Errorf("the user is %+v, error %v", found.ByEmail, err)
			}
		})
	}
}
