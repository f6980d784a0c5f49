package oauth_test

import (
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"strings"
	"testing"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/record"
)

func TestIDTokenRefused(t *testing.T) {
	invalid := func(check string) gatebook.ProviderError {
		return gatebook.ProviderError{Reason: record.ReasonIDTokenInvalid, Check: check, Step: "id_token"}
	}
	nonce := gatebook.ProviderError{Reason: record.ReasonNonceMismatch, Check: "nonce", Step: "id_token"}
	iss := gatebook.ProviderError{Reason: record.ReasonIssuerMismatch, Check: "iss", Step: "id_token"}
	publicPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: must(x509.MarshalPKIXPublicKey(&rsaKey().PublicKey))})
	claim := func(name string, value any) func(*fake) {
		return func(f *fake) { f.claims[name] = value }
	}
	drop := func(name string) func(*fake) { return func(f *fake) { delete(f.claims, name) } }
	sign := func(s func(object) string) func(*fake) { return func(f *fake) { f.sign = s } }
	tests := []struct {
		name   string
		change func(*fake)
		want   gatebook.ProviderError
	}{
		{"another issuer", claim("iss", "https://evil.example"), iss},
		{"issuer with a slash more", func(f *fake) { f.claims["iss"] = f.URL + "/" }, iss},
		{"no issuer", drop("iss"), iss},
		{"another audience", claim("aud", "someone-else"), invalid("aud")},
		{"no audience", drop("aud"), invalid("aud")},
		{"audience that is a number", claim("aud", 1), invalid("")},
		{"several audiences without azp", claim("aud", []string{"client", "other"}), invalid("aud")},
		{"several audiences, azp another", func(f *fake) { f.claims["aud"], f.claims["azp"] = []string{"client", "other"}, "other" }, invalid("aud")},
		{"audience that begins like ours", claim("aud", []string{"client2"}), invalid("aud")},
		{"another nonce", claim("nonce", "of-another-sign-in"), nonce},
		{"no nonce", claim("nonce", ""), nonce},
		{"nonce null", claim("nonce", nil), nonce},
		{"expired", func(f *fake) { f.claims["exp"] = f.now.Unix() - 30 }, invalid("exp")},
		{"no expiry", drop("exp"), invalid("exp")},
		{"expiry null", claim("exp", nil), invalid("")},
		{"issued in the future", func(f *fake) { f.claims["iat"] = f.now.Unix() + 31 }, invalid("exp")},
		{"no issue time", drop("iat"), invalid("exp")},
		{"not yet valid", func(f *fake) { f.claims["nbf"] = f.now.Unix() + 31 }, invalid("exp")},
		{"no subject", drop("sub"), invalid("")},
		{"empty subject", claim("sub", ""), invalid("")},
		{"wrong at_hash", claim("at_hash", "AAAA"), invalid("signature")},
		{"empty at_hash", claim("at_hash", ""), invalid("signature")},
		{"another key under the same kid", sign(signRS256("k1", otherRSAKey())), invalid("signature")},
		{"unknown kid", sign(signRS256("k9", otherRSAKey())), invalid("signature")},
		{"no kid, another key", sign(signRS256("", otherRSAKey())), invalid("signature")},
		{"alg none", sign(signNone), invalid("signature")},
		{"alg none, metadata allows it", func(f *fake) {
			f.sign, f.metadata["id_token_signing_alg_values_supported"] = signNone, []string{"none", "RS256"}
		}, invalid("signature")},
		{"HS256 with the public key", sign(signHS256(publicPEM)), invalid("signature")},
		{"HS256 with the client secret, metadata allows it", func(f *fake) {
			f.sign, f.metadata["id_token_signing_alg_values_supported"] = signHS256([]byte("secret")), []string{"HS256"}
		}, invalid("signature")},
		{"ES256, which the metadata does not name", func(f *fake) { f.sign = signES256; f.keys = append(f.keys, ecJWK()) }, invalid("signature")},
		{"changed after signing", func(f *fake) {
			f.sign = func(c object) string {
				parts := strings.Split(signRS256("k1", rsaKey())(c), ".")
				c["sub"] = "grace-1"
				return signingInput(object{"alg": "RS256", "kid": "k1"}, c) + "." + parts[2]
			}
		}, invalid("signature")},
		{"JSON serialization", func(f *fake) {
			f.sign = func(c object) string {
				parts := strings.Split(signRS256("k1", rsaKey())(c), ".")
				return `{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`
			}
		}, invalid("signature")},
		{"two parts", sign(func(c object) string { return signingInput(object{"alg": "RS256"}, c) }), invalid("signature")},
		{"garbage", sign(func(object) string { return "a.b.c" }), invalid("signature")},
		{"claims null", sign(func(object) string { return signRS256("k1", rsaKey())(nil) }), invalid("")},
		{"keys unreachable", func(f *fake) {
			f.handlers["/keys"] = func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
		}, gatebook.ProviderError{Reason: record.ReasonProviderUnreachable, Step: "id_token"}},
		{"keys 500", func(f *fake) { f.handlers["/keys"] = status(500, "oops") },
			gatebook.ProviderError{Reason: record.ReasonProviderError, Step: "id_token"}},
		{"keys HTML", func(f *fake) { f.handlers["/keys"] = status(200, "<html>") },
			gatebook.ProviderError{Reason: record.ReasonProviderError, Step: "id_token"}},
		{"keys huge", func(f *fake) { f.handlers["/keys"] = status(200, `{"keys":[]}`+strings.Repeat(" ", 1<<20)) },
			gatebook.ProviderError{Reason: record.ReasonProviderError, Step: "id_token"}},
		{"no keys", func(f *fake) { f.keys = nil }, invalid("signature")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake(t)
			tt.change(f)
			proof, err := f.signIn(t, f.config())
			wantError(t, proof, err, tt.want)
		})
	}
}

func TestIDTokenAccepted(t *testing.T) {
	half := func(sum []byte) string { return b64(sum[:len(sum)/2]) }
	sum256, sum512 := sha256.Sum256([]byte("at-1")), sha512.Sum512([]byte("at-1"))
	algs := func(f *fake, names ...string) { f.metadata["id_token_signing_alg_values_supported"] = names }
	tests := []struct {
		name   string
		change func(*fake)
	}{
		{"audience array of one", func(f *fake) { f.claims["aud"] = []string{"client"} }},
		{"several audiences with azp", func(f *fake) { f.claims["aud"], f.claims["azp"] = []string{"other", "client"}, "client" }},
		{"just expired", func(f *fake) { f.claims["exp"] = f.now.Unix() - 29 }},
		{"issued by a fast clock", func(f *fake) { f.claims["iat"] = f.now.Unix() + 30 }},
		{"fractional times", func(f *fake) {
			f.claims["exp"], f.claims["iat"] = float64(f.now.Unix())+10.5, float64(f.now.Unix())-0.5
		}},
		{"nbf now", func(f *fake) { f.claims["nbf"] = f.now.Unix() }},
		{"at_hash", func(f *fake) { f.claims["at_hash"] = half(sum256[:]) }},
		{"no kid", func(f *fake) { f.sign = signRS256("", rsaKey()) }},
		{"ES256", func(f *fake) { algs(f, "RS256", "ES256"); f.sign = signES256; f.keys = append(f.keys, ecJWK()) }},
		{"EdDSA with at_hash", func(f *fake) {
			algs(f, "EdDSA")
			f.sign, f.claims["at_hash"] = signEdDSA, half(sum512[:])
			f.keys = append(f.keys, edJWK())
		}},
		{"a key of an unknown kind beside", func(f *fake) {
			f.keys = append([]object{{"kty": "OKP", "crv": "Ed448", "kid": "x", "x": "AA"}}, f.keys...)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake(t)
			tt.change(f)
			if _, err := f.signIn(t, f.config()); err != nil {
				t.Errorf("sign in: %v", err)
			}
		})
	}
}

func TestIssuerAliases(t *testing.T) {
	f := newFake(t)
	f.claims["iss"] = "accounts.acme.example"
	c := f.config()
	if _, err := f.signIn(t, c); err == nil {
		t.Error("an alias that is not configured was accepted")
	}
	c.IssuerAliases = []string{"accounts.acme.example"}
	if _, err := f.signIn(t, c); err != nil {
		t.Errorf("sign in: %v", err)
	}
}

func TestWithoutNonceCheck(t *testing.T) {
	f := newFake(t)
	c := f.config()
	c.Checks = []string{"state", "pkce"}
	if _, err := f.signIn(t, c); err != nil {
		t.Errorf("sign in: %v", err)
	}
	f.claims["nonce"] = "of-another-sign-in"
	proof, err := f.signIn(t, c)
	wantError(t, proof, err, gatebook.ProviderError{Reason: record.ReasonNonceMismatch, Check: "nonce", Step: "id_token"})
}

func TestKeyRotation(t *testing.T) {
	f := newFake(t)
	p := newProvider(t, f.config())
	signIn := func() error {
		_, err := p.Complete(t.Context(), f.begin(t, p))
		return err
	}
	for range 2 {
		if err := signIn(); err != nil {
			t.Fatalf("sign in: %v", err)
		}
	}
	if n := f.count("/keys"); n != 1 {
		t.Errorf("%d requests for keys, want 1", n)
	}
	f.mu.Lock()
	f.keys = []object{rsaJWK("k2", otherRSAKey())}
	f.sign = signRS256("k2", otherRSAKey())
	f.mu.Unlock()
	if err := signIn(); err != nil {
		t.Errorf("sign in after rotation: %v", err)
	}
	f.mu.Lock()
	f.sign = signRS256("k1", rsaKey())
	f.mu.Unlock()
	if err := signIn(); err == nil {
		t.Error("a token of the withdrawn key was accepted")
	}
}
