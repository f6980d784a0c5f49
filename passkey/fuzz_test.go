package passkey_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/passkey"
	"github.com/gatebook/gatebook/passkey/passkeytest"
)

const fuzzOrigin = "https://example.org"

// there are the flags of somebody who is at the authenticator and is its owner.
const there = passkeytest.UserPresent | passkeytest.UserVerified

var fuzzChallenge = strings.Repeat("A", 43)

func newProvider(t testing.TB) *passkey.Provider {
	t.Helper()
	p, err := passkey.New(passkey.Config{})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// asAsked reports whether client data and authenticator data are what the
// ceremony asked for.
func asAsked(typ string, client, data []byte) bool {
	var c struct {
		Type, Challenge, Origin, TopOrigin string
		CrossOrigin                        bool
	}
	rp := sha256.Sum256([]byte("example.org"))
	return json.Unmarshal(client, &c) == nil && c.Type == typ && c.Challenge == fuzzChallenge && c.Origin == fuzzOrigin && !c.CrossOrigin &&
		len(data) >= 37 && [32]byte(data[:32]) == rp && data[32]&there == there
}

// An answer is accepted when, and only when, its signature is good and it says
// what was asked.
func FuzzAuthenticate(f *testing.F) {
	p := newProvider(f)
	key := ed25519.NewKeyFromSeed(make([]byte, 32))
	d := &passkeytest.Authenticator{Origin: fuzzOrigin, Flags: there, ID: []byte("credential")}
	d.SetKey(f, key)
	stored := &gatebook.Authenticator{CredentialID: stdB64.EncodeToString(d.ID), PublicKey: d.COSE, DeviceType: gatebook.DeviceSingle}
	c := &gatebook.Ceremony{Origin: fuzzOrigin, Challenge: fuzzChallenge}
	var o passkeytest.Options
	o.Options.Challenge, o.Options.RPID = fuzzChallenge, "example.org"
	d.Get(f, &o, func(a *passkeytest.Answer) {
		client := a.ClientJSON(f)
		f.Add(client, a.Data(), d.Sign(f, a.Data(), client))
		extended := append(a.Data(), 0xa1, 0x61, 'a', 0x01)
		extended[32] |= passkeytest.ExtensionData
		f.Add(client, extended, d.Sign(f, extended, client))
	})
	for _, v := range vectors(f) {
		f.Add([]byte(v.Authentication.ClientDataJSON), []byte(v.Authentication.AuthenticatorData), []byte(v.Authentication.Signature))
	}
	f.Fuzz(func(t *testing.T, client, data, signature []byte) {
		got, err := p.Authenticate(c, stored, assertion(d.ID, client, data, signature))
		if err != nil {
			if got != nil {
				t.Errorf("an error comes with %+v", got)
			}
			return
		}
		sum := sha256.Sum256(client)
		if !ed25519.Verify(key.Public().(ed25519.PublicKey), append(append([]byte(nil), data...), sum[:]...), signature) {
			t.Error("accepted without a good signature")
		}
		if !asAsked("webauthn.get", client, data) || got.Counter != binary.BigEndian.Uint32(data[33:]) {
			t.Errorf("accepted %q, %x as %+v", client, data, got)
		}
	})
}

// What registers says what was asked and makes a key that can be used, and the
// same answer registers nothing for another challenge.
func FuzzRegister(f *testing.F) {
	p := newProvider(f)
	d := passkeytest.New(f, fuzzOrigin)
	var o passkeytest.Options
	o.Options.Challenge, o.Options.RPID = fuzzChallenge, "example.org"
	d.Create(f, &o, func(a *passkeytest.Answer) {
		f.Add(d.ID, a.ClientJSON(f), passkeytest.CBOR(f, map[string]any{"fmt": "none", "attStmt": map[string]any{}, "authData": a.Data()}))
	})
	for _, v := range vectors(f) {
		// With this challenge all but self-attested signatures are still as good.
		client := strings.ReplaceAll(string(v.Registration.ClientDataJSON), b64.EncodeToString(v.Registration.Challenge), fuzzChallenge)
		f.Add([]byte(v.CredentialID), []byte(client), []byte(v.Registration.AttestationObject))
	}
	c := &gatebook.Ceremony{Origin: fuzzOrigin, Challenge: fuzzChallenge}
	other := &gatebook.Ceremony{Origin: fuzzOrigin, Challenge: strings.Repeat("B", 43)}
	f.Fuzz(func(t *testing.T, id, client, object []byte) {
		answer := attestation(id, client, object)
		got, err := p.Register(c, answer)
		if err != nil {
			if got != nil {
				t.Errorf("an error comes with %+v", got)
			}
			return
		}
		k := got.Authenticator
		raw, err := base64.StdEncoding.DecodeString(k.CredentialID)
		if err != nil || string(raw) != string(id) || len(id) == 0 || len(id) > 1023 || len(k.PublicKey) > 1024 || k.UserID != "" {
			t.Errorf("registered %+v", k)
		}
		if k.DeviceType != gatebook.DeviceMulti && (k.DeviceType != gatebook.DeviceSingle || k.BackedUp) {
			t.Errorf("device type %q, backed up: %v", k.DeviceType, k.BackedUp)
		}
		if !asAsked("webauthn.create", client, object[max(0, indexOf(object, sha256.Sum256([]byte("example.org")))):]) {
			t.Errorf("accepted %q, %x", client, object)
		}
		if _, err := p.Register(other, answer); err == nil {
			t.Error("accepted for two challenges")
		}
		if _, err := p.Authenticate(c, &k, assertion(id, client, object, []byte{0})); err == nil {
			t.Error("a registration signs in")
		}
	})
}

func indexOf(b []byte, sum [32]byte) int { return strings.Index(string(b), string(sum[:])) }

// Whatever is posted to the callback, the visitor gets an answer of ours, nobody
// is signed in, and one attempt is recorded.
func FuzzCallback(f *testing.F) {
	s := newSite(f, signUp, nil)
	d := passkeytest.New(f, origin)
	s.browser().register(d, "email=ada@example.com")
	s.told()
	f.Add("authenticate", d.Get(f, passkeytest.ParseOptions(f, []byte(`{"options":{"challenge":"x","rpId":"app.example.com"}}`))))
	f.Add("register", d.Create(f, passkeytest.ParseOptions(f, []byte(`{"options":{"challenge":"x","rp":{"id":"app.example.com"}}}`))))
	f.Add("authenticate", `{"id":"AA","rawId":"AA","type":"public-key","response":{}}`)
	f.Add("register", `{"id":"AA","id":1}`)
	f.Add("", "")
	f.Fuzz(func(t *testing.T, action, data string) {
		s.t = t
		s.log.Reset()
		for _, query := range []string{"action=authenticate", "email=new@example.com"} {
			b := s.browser()
			b.options(query)
			w := b.post("/auth/callback/passkey", url.Values{"action": {action}, "data": {data}})
			to := w.Header().Get("Location")
			if w.Code == http.StatusBadRequest || w.Code == http.StatusRequestEntityTooLarge {
				continue
			}
			if to != origin+configuration && to != origin+verification {
				t.Errorf("%q, %q leads to %d %q", action, data, w.Code, to)
			}
			if b.cookies["__Secure-authjs.session-token"] != "" {
				t.Error("somebody is signed in")
			}
			if told := s.told(); len(told) != 2 || told[1] != "signIn.failed" {
				t.Errorf("events are %v", told)
			}
		}
	})
}
