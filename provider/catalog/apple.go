package catalog

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/provider/oauth"
)

const appleIssuer = "https://appleid.apple.com"

// apple has no userinfo endpoint. Asking for the name or the address forces
// response_mode=form_post, and the name comes once, at the first consent, beside
// the code.
var apple = entry{
	id: "apple", name: "Apple", brand: "#000000",
	typ:       gatebook.TypeOIDC,
	issuer:    appleIssuer,
	auth:      oauth.ClientSecretPost,
	secret:    appleSecret,
	checks:    stateAndNonce,
	scopes:    []string{"name", "email"},
	noOpenID:  true,
	params:    []gatebook.Param{{Name: "response_mode", Value: "form_post"}},
	httpsOnly: true,
	userParam: "user",
	profile: oauth.Profile{
		ID: []string{"sub"},
		Name: []string{
			"{user.name.firstName} {user.name.lastName}", "user.name.firstName", "user.name.lastName", "email",
		},
		Image: []string{},
	},
}

// Apple returns Sign in with Apple. Its ID is the Services ID; its secret is a
// token that SecretKey signs, or in Secret one that was signed elsewhere and
// lasts six months at most. Apple takes neither http nor localhost for a
// redirect URI. The address may be a relay of Apple's, and the name is known at
// the first sign-in only: after that the address stands in for it.
func Apple(c Client) (*oauth.Provider, error) { return apple.provider(c) }

// appleSecretLife is far below the six months that Apple allows: a secret that
// leaks ends soon, and making one takes no time.
const appleSecretLife = 24 * time.Hour

// appleSecret returns what makes client secrets: JWTs signed with ES256 (Apple,
// Sign in with Apple REST API, Creating a client secret).
func appleSecret(clientID string, k *SecretKey) (secretSource, error) {
	if k.TeamID == "" {
		return nil, errors.New("field SecretKey: TeamID is empty")
	}
	if k.KeyID == "" {
		return nil, errors.New("field SecretKey: KeyID is empty")
	}
	key, err := oauth.ParseKey(k.PrivateKey)
	if err != nil {
		return nil, fmt.Errorf("field SecretKey: PrivateKey: %w", err)
	}
	ec, ok := key.(*ecdsa.PrivateKey)
	if !ok || ec.Curve != elliptic.P256() {
		return nil, errors.New("field SecretKey: PrivateKey is no ECDSA key on P-256")
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: ec},
		(&jose.SignerOptions{}).WithHeader("kid", k.KeyID))
	if err != nil {
		return nil, fmt.Errorf("field SecretKey: %w", err)
	}
	return func(now time.Time) (gatebook.Secret, time.Time, error) {
		expires := now.Add(appleSecretLife)
		claims, err := json.Marshal(map[string]any{
			"iss": k.TeamID, "iat": now.Unix(), "exp": expires.Unix(), "aud": appleIssuer, "sub": clientID,
		})
		if err != nil {
			return "", expires, err
		}
		signed, err := signer.Sign(claims)
		if err != nil {
			return "", expires, err
		}
		secret, err := signed.CompactSerialize()
		return gatebook.Secret(secret), expires, err
	}, nil
}
