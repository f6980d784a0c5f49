// Package passkeytest has an authenticator in software, for tests of sites with
// passkeys that need no browser:
//
//	key := passkeytest.New(t, "https://app.example.com")
//	// GET /auth/webauthn-options/passkey?email=ada@example.com
//	data := key.Create(t, passkeytest.ParseOptions(t, body))
//	// POST /auth/callback/passkey with action=register and data
//
// It stands for the authenticator and the browser together and signs whatever it
// is told to, so that answers which no browser would send can be tested too.
package passkeytest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"math/big"
	"testing"

	"github.com/go-webauthn/webauthn/protocol/webauthncbor"
)

// Flags of authenticator data (WebAuthn Level 3, Section 6.1).
const (
	UserPresent    = 0x01
	UserVerified   = 0x04
	BackupEligible = 0x08
	BackedUp       = 0x10
	AttestedData   = 0x40
	ExtensionData  = 0x80
)

var b64 = base64.RawURLEncoding

// Authenticator keeps one passkey and answers for it. Its fields may be changed
// between calls. It is not safe for concurrent use.
type Authenticator struct {
	// Origin is where its browser believes to be.
	Origin string
	// ID is the credential id, 20 random bytes.
	ID []byte
	// COSE is the public key; SetKey changes it together with the private one.
	COSE []byte
	// Flags are those of its answers: present, verified, eligible and backed up.
	Flags byte
	// Counter counts the signatures once it is above 0, where it begins.
	Counter uint32
	// Handle is the user handle of the passkey, as text, and sent as that like
	// the browser library of Auth.js does.
	Handle string

	key crypto.Signer
}

// New returns an authenticator with a key for P-256 and no passkey yet.
func New(t testing.TB, origin string) *Authenticator {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := &Authenticator{Origin: origin, Flags: UserPresent | UserVerified | BackupEligible | BackedUp, ID: make([]byte, 20)}
	rand.Read(a.ID)
	a.SetKey(t, key)
	return a
}

// SetKey makes key, of type *ecdsa.PrivateKey for P-256, ed25519.PrivateKey or
// *rsa.PrivateKey, the passkey's.
func (a *Authenticator) SetKey(t testing.TB, key crypto.Signer) {
	t.Helper()
	a.key = key
	switch pub := key.Public().(type) {
	case *ecdsa.PublicKey:
		point, err := pub.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		a.COSE = CBOR(t, map[int]any{1: 2, 3: -7, -1: 1, -2: point[1:33], -3: point[33:]})
	case ed25519.PublicKey:
		a.COSE = CBOR(t, map[int]any{1: 1, 3: -8, -1: 6, -2: []byte(pub)})
	case *rsa.PublicKey:
		a.COSE = CBOR(t, map[int]any{1: 3, 3: -257, -1: pub.N.Bytes(), -2: []byte{1, 0, 1}})
	default:
		t.Fatalf("passkeytest: no algorithm for a key of type %T", pub)
	}
}

// CBOR encodes v as CTAP2 does.
func CBOR(t testing.TB, v any) []byte {
	t.Helper()
	b, err := webauthncbor.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Options are what a site wants of its browser, as the route webauthn-options
// answers.
type Options struct {
	// Action is register or authenticate.
	Action  string
	Options struct {
		Challenge        string
		RPID             string
		RP               struct{ ID string }
		User             struct{ ID, Name, DisplayName string }
		AllowCredentials []struct {
			ID, Type   string
			Transports []string
		}
		ExcludeCredentials []struct{ ID string }
	}
}

// ParseOptions reads the body of that route.
func ParseOptions(t testing.TB, body []byte) *Options {
	t.Helper()
	var o Options
	if err := json.Unmarshal(body, &o); err != nil {
		t.Fatalf("options %s: %v", body, err)
	}
	if o.Options.RPID == "" {
		o.Options.RPID = o.Options.RP.ID
	}
	return &o
}

// Answer is what the authenticator is about to say. Members that are nil are
// made from the others.
type Answer struct {
	ID, RawID, Type string
	// Client is the client data.
	Client map[string]any
	// RPID, Flags, Counter and Credential, the attested credential data of a
	// registration, make the authenticator data.
	RPID       string
	Flags      byte
	Counter    uint32
	Credential []byte
	// Format and Statement make the attestation object.
	Format    string
	Statement map[string]any
	// Handle is the user handle.
	Handle any

	// ClientData, AuthData, Object and Signature take the place of what the
	// above would make.
	ClientData, AuthData, Object, Signature []byte
}

func (a *Authenticator) begin(typ string, o *Options) *Answer {
	return &Answer{ID: b64.EncodeToString(a.ID), Type: "public-key", RPID: o.Options.RPID, Flags: a.Flags, Format: "none",
		Client: map[string]any{"type": typ, "challenge": o.Options.Challenge, "origin": a.Origin, "crossOrigin": false}}
}

// Data returns the authenticator data.
func (s *Answer) Data() []byte {
	if s.AuthData != nil {
		return s.AuthData
	}
	sum := sha256.Sum256([]byte(s.RPID))
	b := append(sum[:], s.Flags)
	b = binary.BigEndian.AppendUint32(b, s.Counter)
	return append(b, s.Credential...)
}

// ClientJSON returns the client data.
func (s *Answer) ClientJSON(t testing.TB) []byte {
	t.Helper()
	if s.ClientData != nil {
		return s.ClientData
	}
	b, err := json.Marshal(s.Client)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Attested returns attested credential data with a COSE key.
func (a *Authenticator) Attested(cose []byte) []byte {
	b := make([]byte, 16, 64) // an AAGUID of zeros
	b = binary.BigEndian.AppendUint16(b, uint16(len(a.ID)))
	return append(append(b, a.ID...), cose...)
}

// Create answers creation options with a new passkey, in the JSON that the site
// gets as data. Each change may alter the answer.
func (a *Authenticator) Create(t testing.TB, o *Options, changes ...func(*Answer)) string {
	t.Helper()
	s := a.begin("webauthn.create", o)
	s.Flags |= AttestedData
	s.Counter, s.Credential = a.Counter, a.Attested(a.COSE)
	a.Handle = o.Options.User.ID
	for _, change := range changes {
		change(s)
	}
	if s.Object == nil {
		if s.Statement == nil {
			s.Statement = map[string]any{}
		}
		s.Object = CBOR(t, map[string]any{"fmt": s.Format, "attStmt": s.Statement, "authData": s.Data()})
	}
	return s.json(t, map[string]any{"clientDataJSON": b64.EncodeToString(s.ClientJSON(t)), "attestationObject": b64.EncodeToString(s.Object),
		"transports": []string{"internal", "hybrid"}})
}

// Get answers request options with a signature.
func (a *Authenticator) Get(t testing.TB, o *Options, changes ...func(*Answer)) string {
	t.Helper()
	if a.Counter > 0 {
		a.Counter++
	}
	s := a.begin("webauthn.get", o)
	s.Counter, s.Handle = a.Counter, a.Handle
	for _, change := range changes {
		change(s)
	}
	client := s.ClientJSON(t)
	if s.Signature == nil {
		s.Signature = a.Sign(t, s.Data(), client)
	}
	return s.json(t, map[string]any{"clientDataJSON": b64.EncodeToString(client), "authenticatorData": b64.EncodeToString(s.Data()),
		"signature": b64.EncodeToString(s.Signature), "userHandle": s.Handle})
}

// Sign signs authenticator data and client data as an assertion does.
func (a *Authenticator) Sign(t testing.TB, data, client []byte) []byte {
	t.Helper()
	sum := sha256.Sum256(client)
	message := append(append([]byte(nil), data...), sum[:]...)
	opts, digest := crypto.SignerOpts(crypto.Hash(0)), message
	if _, whole := a.key.(ed25519.PrivateKey); !whole {
		h := sha256.Sum256(message)
		opts, digest = crypto.SHA256, h[:]
	}
	sig, err := a.key.Sign(rand.Reader, digest, opts)
	if err != nil {
		t.Fatal(err)
	}
	return sig
}

// FullSignature is a change for Get, to be the last one: it signs until both
// integers of an ECDSA signature have their full length. SimpleWebAuthn 9, which
// Auth.js uses, refuses shorter ones, about one signature in 128.
func (a *Authenticator) FullSignature(t testing.TB) func(*Answer) {
	t.Helper()
	return func(s *Answer) {
		if _, ok := a.key.(*ecdsa.PrivateKey); !ok {
			return
		}
		var ints struct{ R, S *big.Int }
		for s.Signature == nil {
			sig := a.Sign(t, s.Data(), s.ClientJSON(t))
			if _, err := asn1.Unmarshal(sig, &ints); err != nil {
				t.Fatal(err)
			}
			if ints.R.BitLen() > 248 && ints.S.BitLen() > 248 {
				s.Signature = sig
			}
		}
	}
}

func (s *Answer) json(t testing.TB, response map[string]any) string {
	t.Helper()
	if s.RawID == "" {
		s.RawID = s.ID
	}
	b, err := json.Marshal(map[string]any{"id": s.ID, "rawId": s.RawID, "type": s.Type, "response": response,
		"clientExtensionResults": map[string]any{}, "authenticatorAttachment": "platform"})
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
