package oauth_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"maps"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/provider/oauth"
	"github.com/gatebook/gatebook/record"
)

const longSecret = "a secret of thirty-two bytes or more"

// TestAssertions looks at what stands in place of a secret: who it is from and
// for, how long it lasts, that no two are alike, and that the key signed it.
func TestAssertions(t *testing.T) {
	certificate := must(x509.ParseCertificate(must(x509.CreateCertificate(rand.Reader,
		&x509.Certificate{SerialNumber: big.NewInt(1)}, &x509.Certificate{SerialNumber: big.NewInt(1)}, rsaKey().Public(), rsaKey()))))
	sum := sha256.Sum256(certificate.Raw)
	tests := []struct {
		name   string
		change func(*oauth.Config)
		alg    string
		verify func(input, signature []byte) bool
		header map[string]string
	}{
		{"secret", func(c *oauth.Config) { c.ClientAuth, c.ClientSecret = oauth.ClientSecretJWT, longSecret },
			"HS256", func(in, sig []byte) bool {
				mac := hmac.New(sha256.New, []byte(longSecret))
				mac.Write(in)
				return hmac.Equal(mac.Sum(nil), sig)
			}, nil},
		{"RSA", key(&oauth.ClientKey{ID: "k9", Signer: rsaKey(), Certificate: certificate}), "RS256", func(in, sig []byte) bool {
			sum := sha256.Sum256(in)
			return rsa.VerifyPKCS1v15(&rsaKey().PublicKey, crypto.SHA256, sum[:], sig) == nil
		},
			map[string]string{"kid": "k9", "x5t#S256": base64.RawURLEncoding.EncodeToString(sum[:])}},
		{"P-256", key(&oauth.ClientKey{Signer: ecKey()}), "ES256", func(in, sig []byte) bool {
			sum := sha256.Sum256(in)
			return len(sig) == 64 && ecdsa.Verify(&ecKey().PublicKey, sum[:], new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:]))
		}, nil},
		{"Ed25519", key(&oauth.ClientKey{Signer: edKey()}), "EdDSA", func(in, sig []byte) bool {
			return ed25519.Verify(edKey().Public().(ed25519.PublicKey), in, sig)
		}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake(t)
			c := f.config()
			tt.change(&c)
			seen := map[string]bool{}
			for range 2 {
				if _, err := f.signIn(t, c); err != nil {
					t.Fatalf("sign in: %v", err)
				}
				if f.token.Header.Get("Authorization") != "" || f.token.Form.Has("client_secret") {
					t.Error("the secret itself was sent")
				}
				if got := f.token.Form.Get("client_assertion_type"); got != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" {
					t.Errorf("client_assertion_type = %q", got)
				}
				assertion := f.token.Form.Get("client_assertion")
				parts := strings.Split(assertion, ".")
				if len(parts) != 3 {
					t.Fatalf("assertion %q is no compact JWS", assertion)
				}
				input := []byte(parts[0] + "." + parts[1])
				if !tt.verify(input, must(base64.RawURLEncoding.DecodeString(parts[2]))) {
					t.Error("the assertion's signature is not the key's")
				}
				var header map[string]string
				if err := json.Unmarshal(must(base64.RawURLEncoding.DecodeString(parts[0])), &header); err != nil {
					t.Fatal(err)
				}
				payload := must(base64.RawURLEncoding.DecodeString(parts[1]))
				var claims struct {
					Iss, Sub, Aud, JTI string
					Iat, Exp           int64
				}
				if err := json.Unmarshal(payload, &claims); err != nil {
					t.Fatal(err)
				}
				if claims.Iss != "client" || claims.Sub != "client" || claims.Aud != f.URL || claims.Iat != f.now.Unix() ||
					claims.Exp != f.now.Unix()+60 || claims.JTI == "" || seen[claims.JTI] {
					t.Errorf("claims = %s", payload)
				}
				seen[claims.JTI] = true
				want := map[string]string{"alg": tt.alg, "typ": "JWT"}
				maps.Copy(want, tt.header)
				if diff := cmp.Diff(want, header); diff != "" {
					t.Errorf("header (-want +got):\n%s", diff)
				}
			}
		})
	}
}

func key(k *oauth.ClientKey) func(*oauth.Config) {
	return func(c *oauth.Config) { c.ClientAuth, c.ClientSecret, c.ClientKey = oauth.PrivateKeyJWT, "", k }
}

func TestClientRefused(t *testing.T) {
	small := must(rsa.GenerateKey(rand.Reader, 1024))
	p384 := must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))
	source := func(time.Time) (gatebook.Secret, time.Time, error) { return "", time.Time{}, nil }
	for field, changes := range map[string][]func(*oauth.Config){
		"ClientKey": {
			key(nil), key(&oauth.ClientKey{}), key(&oauth.ClientKey{Signer: small}), key(&oauth.ClientKey{Signer: p384}),
			func(c *oauth.Config) { c.ClientKey = &oauth.ClientKey{Signer: rsaKey()} },
		},
		"ClientSecret": {
			func(c *oauth.Config) { c.ClientSecret = "" },
			func(c *oauth.Config) { c.ClientAuth, c.ClientSecret = oauth.ClientSecretJWT, "short" },
			func(c *oauth.Config) { c.SecretSource = source },
		},
		"SecretSource": {func(c *oauth.Config) {
			c.ClientSecret, c.ClientAuth, c.SecretSource = "", oauth.ClientNone, source
		}},
		"UserinfoURL": {func(c *oauth.Config) {
			c.AuthURL, c.TokenURL, c.JWKSURL = "https://acme.example/a", "https://acme.example/t", "https://acme.example/k"
			c.UserinfoProfile = true
		}},
		"ClientAuth": {func(c *oauth.Config) { c.ClientAuth = "tls_client_auth" }},
		"IDTokenAlgs": {
			func(c *oauth.Config) { c.IDTokenAlgs = []string{"none"} },
			func(c *oauth.Config) { c.IDTokenAlgs = []string{"HS256", "RS256"} },
			func(c *oauth.Config) {
				c.IDTokenAlgs, c.ClientAuth, c.ClientSecret = []string{"HS256"}, oauth.ClientNone, ""
			},
			func(c *oauth.Config) { plain(c); c.IDTokenAlgs = []string{"RS256"} },
		},
		"JWKSURL": {
			func(c *oauth.Config) { c.JWKSURL = "http://keys.example/" },
			func(c *oauth.Config) { plain(c); c.JWKSURL = "https://keys.example/" },
		},
		"Tenants": {
			func(c *oauth.Config) { c.Tenants = &oauth.Tenants{Issuer: "https://acme.example", Claim: "tid"} },
			func(c *oauth.Config) { c.Tenants = &oauth.Tenants{Issuer: "https://acme.example/{tenant}"} },
			func(c *oauth.Config) {
				plain(c)
				c.Tenants = &oauth.Tenants{Issuer: "https://acme.example/{tenant}", Claim: "tid"}
			},
		},
		"Scopes": {func(c *oauth.Config) { c.Scopes = []string{"email"} }},
	} {
		for i, change := range changes {
			c := oauth.Config{ID: "acme", Issuer: "https://acme.example", ClientID: "client", ClientSecret: "secret"}
			change(&c)
			if _, err := oauth.New(c); err == nil || !strings.Contains(err.Error(), field) {
				t.Errorf("%s, case %d: error %v, want one that names the field", field, i, err)
			}
		}
	}
}

func plain(c *oauth.Config) {
	c.Type, c.AuthURL, c.TokenURL, c.UserinfoURL = gatebook.TypeOAuth, "https://acme.example/a", "https://acme.example/t", "https://acme.example/u"
}

// TestSecretSource asks for a secret when there is none, and again when the last
// one is near its end.
func TestSecretSource(t *testing.T) {
	f := newFake(t)
	c := f.config()
	c.ClientSecret, c.ClientAuth = "", oauth.ClientSecretPost
	made := 0
	var fail error
	c.SecretSource = func(now time.Time) (gatebook.Secret, time.Time, error) {
		made++
		if !now.Equal(f.now) {
			t.Errorf("now = %v, want %v", now, f.now)
		}
		return gatebook.Secret("secret-" + string(rune('0'+made))), now.Add(time.Hour), fail
	}
	p := newProvider(t, c)
	if made != 0 {
		t.Errorf("New made %d secrets", made)
	}
	for _, step := range []struct {
		wait time.Duration
		want string
	}{{0, "secret-1"}, {45 * time.Minute, "secret-1"}, {5 * time.Minute, "secret-2"}, {time.Minute, "secret-2"}} {
		f.now = f.now.Add(step.wait)
		f.claims["exp"], f.claims["iat"] = f.now.Unix()+60, f.now.Unix()
		if _, err := p.Complete(t.Context(), f.begin(t, p)); err != nil {
			t.Fatalf("sign in: %v", err)
		}
		if got := f.token.Form.Get("client_secret"); got != step.want {
			t.Errorf("after %v: secret %q, want %q", step.wait, got, step.want)
		}
	}
	f.now, fail = f.now.Add(2*time.Hour), errors.New("no key")
	calls := f.count("/token")
	proof, err := p.Complete(t.Context(), f.begin(t, p))
	if !errors.Is(err, fail) {
		t.Errorf("error = %v, want one that wraps the source's", err)
	}
	wantError(t, proof, err, gatebook.ProviderError{Reason: record.ReasonConfiguration, Step: "token"})
	if f.count("/token") != calls {
		t.Error("the code went out without a secret")
	}
}

func TestParseKey(t *testing.T) {
	encode := func(typ string, der []byte) gatebook.Secret {
		return gatebook.Secret(pem.EncodeToMemory(&pem.Block{Type: typ, Bytes: der}))
	}
	for name, text := range map[string]gatebook.Secret{
		"PKCS #8": encode("PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(ecKey()))),
		"SEC 1":   encode("EC PRIVATE KEY", must(x509.MarshalECPrivateKey(ecKey()))),
	} {
		got, err := oauth.ParseKey(text)
		if err != nil || !ecKey().PublicKey.Equal(got.Public()) {
			t.Errorf("%s: key %v, error %v", name, got, err)
		}
	}
	if got, err := oauth.ParseKey(encode("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey()))); err != nil || !rsaKey().PublicKey.Equal(got.Public()) {
		t.Errorf("PKCS #1: error %v", err)
	}
	for name, text := range map[string]gatebook.Secret{
		"empty":      "",
		"no PEM":     "MIGTAgEAMBMGByqGSM49",
		"public key": encode("PUBLIC KEY", must(x509.MarshalPKIXPublicKey(ecKey().Public()))),
		"cut short":  encode("PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(edKey()))[:20]),
	} {
		if got, err := oauth.ParseKey(text); err == nil || got != nil {
			t.Errorf("%s: key %v, error %v", name, got, err)
		}
	}
}

// TestAudienceWithoutIssuer authenticates at a provider of plain OAuth 2.0.
func TestAudienceWithoutIssuer(t *testing.T) {
	f := newFake(t)
	c := f.oauthConfig()
	c.ClientAuth, c.ClientSecret = oauth.ClientSecretJWT, longSecret
	f.profile["id"] = "1"
	if _, err := f.signIn(t, c); err != nil {
		t.Fatalf("sign in: %v", err)
	}
	parts := strings.Split(f.token.Form.Get("client_assertion"), ".")
	var claims struct{ Aud string }
	if err := json.Unmarshal(must(base64.RawURLEncoding.DecodeString(parts[1])), &claims); err != nil || claims.Aud != f.URL+"/token" {
		t.Errorf("aud = %q, error %v; want the token endpoint", claims.Aud, err)
	}
}
