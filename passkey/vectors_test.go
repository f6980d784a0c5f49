package passkey_test

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"testing"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/passkey"
	"github.com/gatebook/gatebook/passkey/passkeytest"
)

// vector is one of the specification's registrations with an authentication.
type vector struct {
	Name         string
	Section      string
	CredentialID bytesInHex
	PublicKey    bytesInHex
	Registration struct{ Challenge, ClientDataJSON, AttestationObject bytesInHex }

	Authentication struct{ Challenge, ClientDataJSON, AuthenticatorData, Signature bytesInHex }
}

type bytesInHex []byte

func (b *bytesInHex) UnmarshalText(text []byte) (err error) {
	*b, err = hex.DecodeString(string(text))
	return err
}

// vectors reads the test vectors of Web Authentication Level 3, Section 16.
func vectors(t testing.TB) []vector {
	t.Helper()
	b, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Vectors []vector }
	if err := json.Unmarshal(b, &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Vectors) == 0 {
		t.Fatal("there are no vectors")
	}
	return file.Vectors
}

func attestation(id, client, object []byte) []byte {
	b, _ := json.Marshal(map[string]any{"id": b64.EncodeToString(id), "rawId": b64.EncodeToString(id), "type": "public-key",
		"response": map[string]any{"clientDataJSON": b64.EncodeToString(client), "attestationObject": b64.EncodeToString(object)}})
	return b
}

func assertion(id, client, data, signature []byte) []byte {
	b, _ := json.Marshal(map[string]any{"id": b64.EncodeToString(id), "rawId": b64.EncodeToString(id), "type": "public-key",
		"response": map[string]any{"clientDataJSON": b64.EncodeToString(client), "authenticatorData": b64.EncodeToString(data),
			"signature": b64.EncodeToString(signature)}})
	return b
}

// outcome is the check that failed, or "" when none did.
func outcome(t *testing.T, err error) string {
	t.Helper()
	if err == nil {
		return ""
	}
	var pe *gatebook.ProviderError
	if !errors.As(err, &pe) {
		t.Errorf("%v is no ProviderError", err)
		return err.Error()
	}
	return pe.Check
}

// The specification's vectors come out as they should for a site that demands
// user verification and is in nobody else's frame.
func TestVectors(t *testing.T) {
	p, err := passkey.New(passkey.Config{})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][2]string{
		"none-es256":                    {"userVerified", "userVerified"},
		"packed-self-es256":             {"", "userVerified"},
		"none-es256-crossOrigin":        {"origin", "origin"},
		"none-es256-topOrigin":          {"origin", "origin"},
		"none-es256-long-credential-id": {"userVerified", ""},
		"packed-es256":                  {"", ""},
		"packed-es384":                  {"userVerified", ""},
		"packed-es512":                  {"algorithm", "userVerified"},
		"packed-rs256":                  {"", "userVerified"},
		"packed-eddsa":                  {"userVerified", "userVerified"},
		"tpm-es256":                     {"attestation", ""},             // no maker of TPMs
		"android-key-es256":             {"attestation", "userVerified"}, // its key is not said to be generated there
		"apple-es256":                   {"userVerified", "userVerified"},
		"fido-u2f-es256":                {"userVerified", "userVerified"},
	}
	for _, v := range vectors(t) {
		t.Run(v.Name, func(t *testing.T) {
			c := &gatebook.Ceremony{Origin: "https://example.org", Challenge: b64.EncodeToString(v.Registration.Challenge)}
			reg, err := p.Register(c, attestation(v.CredentialID, v.Registration.ClientDataJSON, v.Registration.AttestationObject))
			got := [2]string{outcome(t, err)}
			if err == nil && reg.Authenticator.CredentialID != stdB64.EncodeToString(v.CredentialID) {
				t.Errorf("registered %+v", reg)
			}
			c.Challenge = b64.EncodeToString(v.Authentication.Challenge)
			stored := &gatebook.Authenticator{CredentialID: stdB64.EncodeToString(v.CredentialID), PublicKey: v.PublicKey, DeviceType: gatebook.DeviceMulti}
			if v.Authentication.AuthenticatorData[32]&passkeytest.BackupEligible == 0 {
				stored.DeviceType = gatebook.DeviceSingle
			}
			_, err = p.Authenticate(c, stored, assertion(v.CredentialID, v.Authentication.ClientDataJSON, v.Authentication.AuthenticatorData, v.Authentication.Signature))
			got[1] = outcome(t, err)
			if got != want[v.Name] {
				t.Errorf("registration and authentication are refused for %q, want %q", got, want[v.Name])
			}
		})
	}
}
