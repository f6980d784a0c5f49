package oauth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/cryptosigner"
	"golang.org/x/oauth2"

	"github.com/gatebook/gatebook"
)

// ClientKey is the private key of a client at a provider that knows its public
// key.
type ClientKey struct {
	// ID is the key's id at the provider, the kid of what it signs. May be empty.
	ID string
	// Signer is the private key: RSA of 2,048 bits or more (RS256), ECDSA on
	// P-256 (ES256) or Ed25519 (EdDSA). It may be in other hardware, and must be
	// safe for concurrent use.
	Signer crypto.Signer
	// Certificate, if not nil, is named by its thumbprint (x5t#S256), by which
	// Microsoft Entra ID finds the key.
	Certificate *x509.Certificate
}

func (k *ClientKey) algorithm() (jose.SignatureAlgorithm, error) {
	if k == nil || k.Signer == nil {
		return "", errors.New("field ClientKey is missing, which private_key_jwt needs")
	}
	switch pub := k.Signer.Public().(type) {
	case *rsa.PublicKey:
		if pub.N.BitLen() >= 2048 {
			return jose.RS256, nil
		}
	case *ecdsa.PublicKey:
		if pub.Curve == elliptic.P256() {
			return jose.ES256, nil
		}
	case ed25519.PublicKey:
		return jose.EdDSA, nil
	}
	return "", errors.New("field ClientKey: the key is no RSA of 2,048 bits, ECDSA on P-256 or Ed25519")
}

// ParseKey reads a private key in PEM: PKCS #8, as Apple and Microsoft give it,
// or the older forms of OpenSSL. Its errors never hold a part of the key.
func ParseKey(text gatebook.Secret) (crypto.Signer, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, errors.New("key is no PEM block")
	}
	for _, parse := range []func([]byte) (any, error){
		x509.ParsePKCS8PrivateKey,
		func(der []byte) (any, error) { return x509.ParseECPrivateKey(der) },
		func(der []byte) (any, error) { return x509.ParsePKCS1PrivateKey(der) },
	} {
		key, err := parse(block.Bytes)
		if err != nil {
			continue
		}
		if signer, ok := key.(crypto.Signer); ok {
			return signer, nil
		}
	}
	return nil, errors.New("key is no private key that can sign")
}

// validateClient checks that there is what ClientAuth sends, and nothing that it
// would leave unused.
func (c *Config) validateClient() error {
	if c.ClientKey != nil && c.ClientAuth != PrivateKeyJWT {
		return errors.New("field ClientKey belongs to ClientAuth private_key_jwt")
	}
	if c.SecretSource != nil && c.ClientSecret != "" {
		return errors.New("fields ClientSecret and SecretSource exclude each other")
	}
	if c.SecretSource != nil && c.ClientAuth != ClientSecretBasic && c.ClientAuth != ClientSecretPost {
		return errors.New("field SecretSource belongs to ClientAuth client_secret_basic or client_secret_post")
	}
	switch c.ClientAuth {
	case ClientSecretBasic, ClientSecretPost:
		if c.ClientSecret == "" && c.SecretSource == nil {
			return fmt.Errorf("field ClientSecret is empty, and so is %s", EnvName(c.ID, "SECRET"))
		}
	case ClientSecretJWT:
		// RFC 7518, Section 3.2: the key of HS256 has at least 256 bits.
		if len(c.ClientSecret) < sha256.Size {
			return errors.New("field ClientSecret needs 32 bytes or more for client_secret_jwt")
		}
	case PrivateKeyJWT:
		_, err := c.ClientKey.algorithm()
		return err
	case ClientNone:
	default:
		return fmt.Errorf("field ClientAuth %q is none of client_secret_basic, client_secret_post, client_secret_jwt, private_key_jwt, none", c.ClientAuth)
	}
	return nil
}

// authenticate completes a token request with who we are. It returns the
// Authorization header when that is how.
func (p *Provider) authenticate(ends *endpoints, conf *oauth2.Config) (authorization string, opts []oauth2.AuthCodeOption, err error) {
	switch p.cfg.ClientAuth {
	case ClientSecretBasic, ClientSecretPost:
		secret, err := p.secret()
		if err != nil {
			return "", nil, err
		}
		conf.ClientSecret = string(secret)
		if p.cfg.ClientAuth == ClientSecretBasic {
			conf.Endpoint.AuthStyle = oauth2.AuthStyleInHeader
			authorization = basic(p.cfg.ClientID, string(secret))
		}
		return authorization, nil, nil
	case ClientSecretJWT, PrivateKeyJWT:
		assertion, err := p.assertion(p.audience(ends))
		if err != nil {
			return "", nil, err
		}
		return "", []oauth2.AuthCodeOption{
			oauth2.SetAuthURLParam("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
			oauth2.SetAuthURLParam("client_assertion", assertion),
		}, nil
	}
	return "", nil, nil
}

// assertionLife is how long an assertion is good for. It is used at once.
const assertionLife = time.Minute

// audience is whom an assertion is for: the issuer and nobody else, since at a
// provider whose metadata names the token endpoint of another it would be good
// there too (OpenID Connect Core with errata set 3, Section 9). One that has no
// issuer, or none but its tenants', has only its token endpoint for a name.
func (p *Provider) audience(ends *endpoints) string {
	if ends.issuer == "" || p.cfg.Tenants != nil {
		return ends.tokenURL
	}
	return ends.issuer
}

// assertion says who we are to the token endpoint (RFC 7523, Section 3).
func (p *Provider) assertion(audience string) (string, error) {
	signer, err := p.signer()
	if err != nil {
		return "", err
	}
	now := p.cfg.Now()
	claims, err := json.Marshal(map[string]any{
		"iss": p.cfg.ClientID, "sub": p.cfg.ClientID, "aud": audience, "jti": rand.Text(),
		"iat": now.Unix(), "exp": now.Add(assertionLife).Unix(),
	})
	if err != nil {
		return "", err
	}
	signed, err := signer.Sign(claims)
	if err != nil {
		return "", err
	}
	return signed.CompactSerialize()
}

func (p *Provider) signer() (jose.Signer, error) {
	opts := (&jose.SignerOptions{}).WithType("JWT")
	k := p.cfg.ClientKey
	if p.cfg.ClientAuth == ClientSecretJWT {
		return jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: []byte(p.cfg.ClientSecret)}, opts)
	}
	alg, err := k.algorithm()
	if err != nil {
		return nil, err
	}
	if k.ID != "" {
		opts = opts.WithHeader("kid", k.ID)
	}
	if k.Certificate != nil {
		sum := sha256.Sum256(k.Certificate.Raw)
		opts = opts.WithHeader("x5t#S256", base64.RawURLEncoding.EncodeToString(sum[:]))
	}
	return jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: cryptosigner.Opaque(k.Signer)}, opts)
}

// renewBefore is how long before its end a made secret is made anew, so that
// none ends on its way.
const renewBefore = 10 * time.Minute

// madeSecret is what SecretSource made last.
type madeSecret struct {
	mu     sync.Mutex // guards what follows
	secret gatebook.Secret
	until  time.Time
}

// secret returns the client secret, made anew when it is near its end.
func (p *Provider) secret() (gatebook.Secret, error) {
	if p.cfg.SecretSource == nil {
		return p.cfg.ClientSecret, nil
	}
	m := &p.made
	m.mu.Lock()
	defer m.mu.Unlock()
	now := p.cfg.Now()
	if m.secret != "" && now.Before(m.until) {
		return m.secret, nil
	}
	secret, expires, err := p.cfg.SecretSource(now)
	if err != nil {
		return "", err
	}
	m.secret, m.until = secret, expires.Add(-renewBefore)
	return secret, nil
}
