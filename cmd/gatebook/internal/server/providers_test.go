package server_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"

	"github.com/gatebook/gatebook/cmd/gatebook/internal/config"
	"github.com/gatebook/gatebook/cmd/gatebook/internal/server"
	"github.com/gatebook/gatebook/provider/catalog"
)

// settings returns the providers of a configuration, by id, or the error.
func settings(t *testing.T, providers string, env map[string]string) (map[string]string, error) {
	t.Helper()
	text := "secrets: [ssssssssssssssssssssssssssssssssssssssss]\nproviders:\n" + providers
	cfg, err := config.Parse("gatebook.yaml", []byte(text), func(name string) (string, bool) { v, ok := env[name]; return v, ok })
	if err != nil {
		t.Fatal(err)
	}
	got, err := server.Settings(cfg)
	if err != nil {
		return nil, err
	}
	names := map[string]string{}
	for _, p := range got.Providers {
		names[p.Info().ID] = p.Info().Name
	}
	return names, nil
}

// TestCatalog configures every provider of the catalog by its id.
func TestCatalog(t *testing.T) {
	var b strings.Builder
	for _, id := range catalog.IDs() {
		b.WriteString("  - {id: " + id + ", clientId: a, clientSecret: b")
		switch id {
		case "auth0", "keycloak", "okta":
			b.WriteString(", issuer: https://id.example.com")
		}
		b.WriteString("}\n")
	}
	names, err := settings(t, b.String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(names) != len(catalog.IDs()) || names["microsoft-entra-id"] != "Microsoft Entra ID" {
		t.Errorf("providers = %v", names)
	}
}

func TestPasskeys(t *testing.T) {
	names, err := settings(t, "  - {type: passkey, rpId: example.com, rpName: Acme, origins: ['https://app.example.com'], signUp: true, securityKeys: true}\n", nil)
	if err != nil || names["webauthn"] != "WebAuthn" {
		t.Errorf("providers = %v, %v", names, err)
	}
	if _, err := settings(t, "  - {type: passkey, rpId: 'https://example.com'}\n", nil); err == nil || !strings.Contains(err.Error(), "must be a domain") {
		t.Errorf("an address for an RP id: %v", err)
	}
}

// TestKeys configures clients that sign in place of having a secret.
func TestKeys(t *testing.T) {
	encode := func(kind string, der []byte, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	env := map[string]string{}
	der, err := x509.MarshalPKCS8PrivateKey(curve)
	env["P8"] = encode("PRIVATE KEY", der, err)
	der, err = x509.MarshalPKCS8PrivateKey(key)
	env["RSA"] = encode("PRIVATE KEY", der, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err = x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	env["CERT"] = encode("CERTIFICATE", der, err)

	tests := []struct{ name, provider, want string }{
		{"Apple", "  - {id: apple, clientId: a, teamId: T, keyId: K, privateKey: \"${P8}\"}\n", ""},
		{"Apple without a key id", "  - {id: apple, clientId: a, teamId: T, privateKey: \"${P8}\"}\n", "KeyID"},
		{"Apple with another kind of key", "  - {id: apple, clientId: a, teamId: T, keyId: K, privateKey: \"${RSA}\"}\n", "P-256"},
		{"Entra", "  - {id: microsoft-entra-id, clientId: a, clientAuth: private_key_jwt, privateKey: \"${RSA}\", certificate: \"${CERT}\"}\n", ""},
		{"Entra with no certificate in it", "  - {id: microsoft-entra-id, clientId: a, clientAuth: private_key_jwt, privateKey: \"${RSA}\", certificate: x}\n", "certificate"},
		{"a key that nothing uses", "  - {id: google, clientId: a, clientSecret: b, privateKey: \"${RSA}\"}\n", "private_key_jwt"},
		{"no key", "  - {id: google, clientId: a, clientAuth: private_key_jwt, privateKey: \"${CERT}\"}\n", "privateKey"},
		{"public client", "  - {id: okta, issuer: https://id.example.com, clientId: a, clientAuth: none}\n", ""},
		{"own provider", "  - {id: own, type: oidc, issuer: https://id.example.com, clientId: a, clientAuth: private_key_jwt, keyId: k, privateKey: \"${P8}\"}\n", ""},
		{"a team at another provider", "  - {id: google, clientId: a, teamId: T, keyId: K, privateKey: \"${P8}\"}\n", "SecretKey"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := settings(t, tt.provider, env)
			switch {
			case tt.want == "" && err != nil:
				t.Errorf("error %v", err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), ":3:")):
				t.Errorf("error %v, want one with %q and the line", err, tt.want)
			}
		})
	}
}
