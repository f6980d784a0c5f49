package passkey

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/protocol/webauthncbor"
	"github.com/go-webauthn/webauthn/protocol/webauthncose"
	"github.com/go-webauthn/webauthn/webauthn"

	"github.com/gatebook/gatebook"
)

const (
	registration   = "registration"
	authentication = "authentication"
	// maxKey is how many bytes a public key may have: an RSA key of 4,096 bits
	// has about 530. A larger one would make every sign-in with it slow.
	maxKey = 1024
	// maxTransports and the form of a transport keep what a browser claims
	// within what the list in the database can hold.
	maxTransports = 8
)

var transport = regexp.MustCompile(`^[a-z0-9-]{1,32}$`)

// failed says which check a ceremony failed.
func failed(step, check string, err error) error {
	return &gatebook.ProviderError{Reason: "webauthnFailed", Step: step, Check: check, Err: err}
}

// user is the owner of one credential, as go-webauthn asks for it.
type user struct {
	handle     []byte
	credential []webauthn.Credential
}

func (u *user) WebAuthnID() []byte                         { return u.handle }
func (u *user) WebAuthnName() string                       { return "" }
func (u *user) WebAuthnDisplayName() string                { return "" }
func (u *user) WebAuthnCredentials() []webauthn.Credential { return u.credential }

// check names the first thing in an answer that is not as asked: what
// go-webauthn checks again, told apart for the book, and the origin to the letter.
func (rp *party) check(want protocol.CeremonyType, challenge string, client *protocol.CollectedClientData, data *protocol.AuthenticatorData) string {
	hash := sha256.Sum256([]byte(rp.id))
	switch f := data.Flags; {
	case client.Type != want:
		return "type"
	case subtle.ConstantTimeCompare([]byte(client.Challenge), []byte(challenge)) != 1:
		return "challenge"
	case !slices.Contains(rp.origins, client.Origin) || client.CrossOrigin || client.TopOrigin != "":
		return "origin"
	case string(data.RPIDHash) != string(hash[:]):
		return "rpId"
	case !f.HasUserPresent():
		return "userPresent"
	case !f.HasUserVerified():
		return "userVerified"
	case f.HasBackupState() && !f.HasBackupEligible():
		return "backupEligible"
	}
	return ""
}

// Register verifies what a browser answered to creation options (WebAuthn Level
// 3, Section 7.1). Of the algorithms only those that were asked for are taken.
func (p *Provider) Register(c *gatebook.Ceremony, response []byte) (*gatebook.Registration, error) {
	rp, err := p.party(c.Origin)
	if err != nil {
		return nil, err
	}
	parsed, err := protocol.ParseCredentialCreationResponseBytes(response)
	if err != nil {
		return nil, failed(registration, "format", err)
	}
	client, data := &parsed.Response.CollectedClientData, &parsed.Response.AttestationObject.AuthData
	if check := rp.check(protocol.CreateCeremony, c.Challenge, client, data); check != "" {
		return nil, failed(registration, check, nil)
	}
	if err := checkKey(data.AttData.CredentialPublicKey); err != nil {
		return nil, failed(registration, "algorithm", err)
	}
	verifier, err := rp.verifier(client.Origin)
	if err != nil {
		return nil, fmt.Errorf("passkey: configure go-webauthn: %w", err)
	}
	session := webauthn.SessionData{Challenge: c.Challenge, RelyingPartyID: rp.id, UserVerification: protocol.VerificationRequired}
	for _, alg := range algorithms {
		session.CredParams = append(session.CredParams, protocol.CredentialParameter{Type: protocol.PublicKeyCredentialType, Algorithm: alg})
	}
	made, err := verifier.CreateCredential(&user{}, session, parsed)
	if err != nil {
		return nil, failed(registration, "attestation", err)
	}
	a := gatebook.Authenticator{CredentialID: base64.StdEncoding.EncodeToString(made.ID), PublicKey: made.PublicKey,
		Counter: made.Authenticator.SignCount, DeviceType: gatebook.DeviceSingle, BackedUp: made.Flags.BackupState}
	if made.Flags.BackupEligible {
		a.DeviceType = gatebook.DeviceMulti
	}
	for _, t := range made.Transport {
		if s := string(t); len(a.Transports) < maxTransports && transport.MatchString(s) && !slices.Contains(a.Transports, s) {
			a.Transports = append(a.Transports, s)
		}
	}
	return &gatebook.Registration{Authenticator: a, AAGUID: aaguid(made.Authenticator.AAGUID), UserVerified: true}, nil
}

// checkKey refuses keys that were not asked for, and such as could never verify
// anything.
func checkKey(cose []byte) error {
	if len(cose) > maxKey {
		return errors.New("the public key is too large")
	}
	var key webauthncose.PublicKeyData
	if err := webauthncbor.Unmarshal(cose, &key); err != nil {
		return err
	}
	if !slices.Contains(algorithms, webauthncose.COSEAlgorithmIdentifier(key.Algorithm)) {
		return errors.New("the algorithm was not asked for")
	}
	_, err := webauthncose.ParsePublicKey(cose)
	return err
}

// aaguid writes an AAGUID as a UUID.
func aaguid(b []byte) string {
	if len(b) != 16 {
		return ""
	}
	h := hex.EncodeToString(b)
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// Authenticate verifies what a browser answered to request options against a
// stored passkey (WebAuthn Level 3, Section 7.2). The counter and the user handle
// are the caller's to compare.
func (p *Provider) Authenticate(c *gatebook.Ceremony, stored *gatebook.Authenticator, response []byte) (*gatebook.Assertion, error) {
	rp, err := p.party(c.Origin)
	if err != nil {
		return nil, err
	}
	parsed, err := protocol.ParseCredentialRequestResponseBytes(response)
	if err != nil {
		return nil, failed(authentication, "format", err)
	}
	client, data := &parsed.Response.CollectedClientData, &parsed.Response.AuthenticatorData
	if check := rp.check(protocol.AssertCeremony, c.Challenge, client, data); check != "" {
		return nil, failed(authentication, check, nil)
	}
	id, err := base64.StdEncoding.DecodeString(stored.CredentialID)
	if err != nil {
		return nil, fmt.Errorf("passkey: a stored credential id is no standard base64: %w", err)
	}
	verifier, err := rp.verifier(client.Origin)
	if err != nil {
		return nil, fmt.Errorf("passkey: configure go-webauthn: %w", err)
	}
	handle := parsed.Response.UserHandle
	owner := &user{handle: handle, credential: []webauthn.Credential{{ID: id, PublicKey: stored.PublicKey,
		Flags: webauthn.CredentialFlags{BackupEligible: data.Flags.HasBackupEligible()}}}}
	session := webauthn.SessionData{Challenge: c.Challenge, RelyingPartyID: rp.id, UserID: handle, UserVerification: protocol.VerificationRequired}
	if _, err := verifier.ValidateLogin(owner, session, parsed); err != nil {
		return nil, failed(authentication, "signature", err)
	}
	// Auth.js stores no flag BE; its device type is the same thing. It never
	// changes (Section 7.2, step 18). It is compared last, so that how long an
	// answer takes does not tell what is stored.
	if data.Flags.HasBackupEligible() != (stored.DeviceType == gatebook.DeviceMulti) {
		return nil, failed(authentication, "backupEligible", nil)
	}
	return &gatebook.Assertion{Counter: data.Counter, BackedUp: data.Flags.HasBackupState(), UserHandle: handleText(handle), UserVerified: true}, nil
}

// handleText returns a user handle as the text that it is. The browser library
// that Auth.js uses sends the text itself where the standard has base64url of it;
// what was decoded as such is encoded back.
func handleText(b []byte) string {
	for _, c := range b {
		if c < ' ' || c > '~' {
			return base64.RawURLEncoding.EncodeToString(b)
		}
	}
	return string(b)
}
