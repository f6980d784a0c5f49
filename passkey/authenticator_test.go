package passkey_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"testing"

	"github.com/go-webauthn/webauthn/protocol/webauthncbor"
)

const (
	flagUP = 0x01
	flagUV = 0x04
	flagBE = 0x08
	flagBS = 0x10
	flagAT = 0x40
)

var (
	b64    = base64.RawURLEncoding
	stdB64 = base64.StdEncoding
)

// device is an authenticator in software together with the browser it is in: it
// signs whatever a test wants signed.
type device struct {
	t       testing.TB
	key     crypto.Signer
	cose    []byte
	id      []byte
	counter uint32
	flags   byte
	handle  string // as the browser library that Auth.js uses sends it
	origin  string
}

// newDevice returns an authenticator with a key for P-256, whose passkeys are
// synchronised.
func newDevice(t testing.TB, origin string) *device {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	d := &device{t: t, origin: origin, flags: flagUP | flagUV | flagBE | flagBS, id: make([]byte, 20)}
	rand.Read(d.id)
	d.use(k)
	return d
}

// use makes k the device's key.
func (d *device) use(k crypto.Signer) {
	d.key = k
	var cose map[int]any
	switch pub := k.Public().(type) {
	case *ecdsa.PublicKey:
		point, err := pub.Bytes()
		if err != nil {
			d.t.Fatal(err)
		}
		cose = map[int]any{1: 2, 3: -7, -1: 1, -2: point[1:33], -3: point[33:]}
	case ed25519.PublicKey:
		cose = map[int]any{1: 1, 3: -8, -1: 6, -2: []byte(pub)}
	case *rsa.PublicKey:
		cose = map[int]any{1: 3, 3: -257, -1: pub.N.Bytes(), -2: []byte{1, 0, 1}}
	}
	d.cose = d.cbor(cose)
}

func (d *device) cbor(v any) []byte {
	d.t.Helper()
	b, err := webauthncbor.Marshal(v)
	if err != nil {
		d.t.Fatal(err)
	}
	return b
}

// options is what the device reads of a site's options.
type options struct {
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

func parseOptions(t testing.TB, body string) *options {
	t.Helper()
	var o options
	if err := json.Unmarshal([]byte(body), &o); err != nil {
		t.Fatalf("options %s: %v", body, err)
	}
	if o.Options.RPID == "" {
		o.Options.RPID = o.Options.RP.ID
	}
	return &o
}

// answer is what the device is about to say; a test may spoil it.
type answer struct {
	id, rawID   string
	typ         string
	clientData  map[string]any
	rpID        string
	flags       byte
	counter     uint32
	credential  []byte // the credential data of a registration
	authData    []byte // if not nil, instead of what the above make
	format      string
	statement   map[string]any
	signature   []byte // if not nil, instead of a good one
	handle      any
	object      []byte // the attestation object, if not nil
	clientBytes []byte // if not nil, instead of clientData
}

type spoil func(*answer)

func (d *device) begin(typ string, o *options) *answer {
	return &answer{id: b64.EncodeToString(d.id), typ: "public-key", rpID: o.Options.RPID, flags: d.flags, format: "none",
		clientData: map[string]any{"type": typ, "challenge": o.Options.Challenge, "origin": d.origin, "crossOrigin": false}}
}

func (a *answer) data() []byte {
	if a.authData != nil {
		return a.authData
	}
	sum := sha256.Sum256([]byte(a.rpID))
	b := append(sum[:], a.flags)
	b = binary.BigEndian.AppendUint32(b, a.counter)
	return append(b, a.credential...)
}

func (d *device) client(a *answer) []byte {
	if a.clientBytes != nil {
		return a.clientBytes
	}
	b, err := json.Marshal(a.clientData)
	if err != nil {
		d.t.Fatal(err)
	}
	return b
}

func (d *device) credentialData(cose []byte) []byte {
	b := make([]byte, 16, 64) // an AAGUID of zeros
	b = binary.BigEndian.AppendUint16(b, uint16(len(d.id)))
	return append(append(b, d.id...), cose...)
}

// create answers creation options.
func (d *device) create(o *options, spoils ...spoil) string {
	d.t.Helper()
	a := d.begin("webauthn.create", o)
	a.flags |= flagAT
	a.counter = d.counter
	a.credential = d.credentialData(d.cose)
	d.handle = o.Options.User.ID
	for _, s := range spoils {
		s(a)
	}
	object := a.object
	if object == nil {
		statement := a.statement
		if statement == nil {
			statement = map[string]any{}
		}
		object = d.cbor(map[string]any{"fmt": a.format, "attStmt": statement, "authData": a.data()})
	}
	return d.json(a, map[string]any{"clientDataJSON": b64.EncodeToString(d.client(a)), "attestationObject": b64.EncodeToString(object),
		"transports": []string{"internal", "hybrid"}})
}

// get answers request options.
func (d *device) get(o *options, spoils ...spoil) string {
	d.t.Helper()
	if d.counter > 0 {
		d.counter++
	}
	a := d.begin("webauthn.get", o)
	a.counter, a.handle = d.counter, d.handle
	for _, s := range spoils {
		s(a)
	}
	client := d.client(a)
	if a.signature == nil {
		a.signature = d.sign(a.data(), client)
	}
	return d.json(a, map[string]any{"clientDataJSON": b64.EncodeToString(client), "authenticatorData": b64.EncodeToString(a.data()),
		"signature": b64.EncodeToString(a.signature), "userHandle": a.handle})
}

func (d *device) sign(data, client []byte) []byte {
	d.t.Helper()
	sum := sha256.Sum256(client)
	message := append(append([]byte(nil), data...), sum[:]...)
	opts, digest := crypto.SignerOpts(crypto.Hash(0)), message
	if _, ok := d.key.(ed25519.PrivateKey); !ok {
		h := sha256.Sum256(message)
		opts, digest = crypto.SHA256, h[:]
	}
	sig, err := d.key.Sign(rand.Reader, digest, opts)
	if err != nil {
		d.t.Fatal(err)
	}
	return sig
}

func (d *device) json(a *answer, response map[string]any) string {
	if a.rawID == "" {
		a.rawID = a.id
	}
	b, err := json.Marshal(map[string]any{"id": a.id, "rawId": a.rawID, "type": a.typ, "response": response,
		"clientExtensionResults": map[string]any{}, "authenticatorAttachment": "platform"})
	if err != nil {
		d.t.Fatal(err)
	}
	return string(b)
}
