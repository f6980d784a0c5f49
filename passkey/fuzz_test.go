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
)

const fuzzOrigin = "https://example.org"

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
		len(data) >= 37 && [32]byte(data[:32]) == rp && data[32]&(flagUP|flagUV) == flagUP|flagUV
}

// An answer is accepted when, and only when, its signature is good and it says
// what was asked.
func FuzzAuthenticate(f *testing.F) {
	p := newProvider(f)
	key := ed25519.NewKeyFromSeed(make([]byte, 32))
	d := &device{t: f, origin: fuzzOrigin, flags: flagUP | flagUV, id: []byte("credential")}
	d.use(key)
	stored := &gatebook.Authenticator{CredentialID: stdB64.EncodeToString(d.id), PublicKey: d.cose, DeviceType: gatebook.DeviceSingle}
	c := &gatebook.Ceremony{Origin: fuzzOrigin, Challenge: fuzzChallenge}
	var o options
	o.Options.Challenge, o.Options.RPID = fuzzChallenge, "example.org"
	a := d.begin("webauthn.get", &o)
	f.Add(d.client(a), a.data(), d.sign(a.data(), d.client(a)))
	extended := append(a.data(), 0xa1, 0x61, 'a', 0x01)
	extended[32] |= 0x80
	f.Add(d.client(a), extended, d.sign(extended, d.client(a)))
	for _, v := range vectors(f) {
		f.Add([]byte(v.Authentication.ClientDataJSON), []byte(v.Authentication.AuthenticatorData), []byte(v.Authentication.Signature))
	}
	f.Fuzz(func(t *testing.T, client, data, signature []byte) {
		got, err := p.Authenticate(c, stored, assertion(d.id, client, data, signature))
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
	d := newDevice(f, fuzzOrigin)
	var o options
	o.Options.Challenge, o.Options.RPID = fuzzChallenge, "example.org"
	a := d.begin("webauthn.create", &o)
	a.flags |= flagAT
	a.credential = d.credentialData(d.cose)
	f.Add(d.id, d.client(a), d.cbor(map[string]any{"fmt": "none", "attStmt": map[string]any{}, "authData": a.data()}))
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
	d := newDevice(f, origin)
	s.browser().register(d, "email=ada@example.com")
	s.told()
	f.Add("authenticate", d.get(parseOptions(f, `{"options":{"challenge":"x","rpId":"app.example.com"}}`)))
	f.Add("register", d.create(parseOptions(f, `{"options":{"challenge":"x","rp":{"id":"app.example.com"}}}`)))
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
