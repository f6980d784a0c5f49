package gatebook

import (
	"context"
	"encoding/base64"
	"encoding/hex"

	"github.com/gatebook/gatebook/internal/claims"
	"github.com/gatebook/gatebook/record"
)

// passkeyProof is what a ceremony proved: a registration or an assertion.
type passkeyProof struct {
	challenge
	registration *Registration
	assertion    *Assertion
}

// webauthnCallback completes a ceremony. Whatever of it fails, the visitor is
// told the same, and whether the passkey is known at all shows nowhere.
func (x *exchange) webauthnCallback(p WebAuthnProvider) {
	info := p.Info()
	if !x.csrfOK {
		x.refuseCSRF(info)
		return
	}
	ch, why := x.openChallenge()
	id, ok := credentialOf(x.form["data"])
	action := x.form["action"]
	r := refused{auth: info, reason: record.ReasonWebAuthnFailed, cause: record.TypeCheckFailed}
	switch {
	case action != "register" && action != "authenticate" || !ok:
		r.step, r.check, r.why = "the browser's answer is malformed or too long", "format", "mismatch"
	case why != "":
		r.step, r.check, r.why = "check of the challenge cookie", "webauthnChallenge", why
	case (action == "register") != (ch.owner != nil):
		r.step, r.check, r.why = "the challenge is for the other ceremony", "webauthnChallenge", "mismatch"
	case ch.owner != nil && ch.owner.ID == "" && !p.SignUp():
		r.step, r.check, r.why, r.reason = "signing up with a passkey is off", "account", "forbidden", record.ReasonAccessDenied
	default:
		x.completeCeremony(p, ch, id)
		return
	}
	x.refuse(r)
}

// credentialOf returns the id of the credential that a browser answered with, in
// the form in which it is stored.
func credentialOf(data string) (string, bool) {
	if len(data) > maxResponse {
		return "", false
	}
	o, err := claims.Parse([]byte(data))
	if err != nil {
		return "", false
	}
	text, _ := o.String("id")
	id, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(id) == 0 || len(id) > maxCredentialID || base64.RawURLEncoding.EncodeToString(id) != text {
		return "", false
	}
	return base64.StdEncoding.EncodeToString(id), true
}

// unknownKey stands in for the key of a passkey that nobody has, so that an
// answer for it takes as long: a point of P-256, which is not good for anything
// else, for such an answer is refused whatever it says.
var unknownKey, _ = hex.DecodeString("a5010203262001" +
	"2158206b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296" +
	"2258204fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5")

// completeCeremony verifies what the browser answered. The challenge is used up
// whatever comes of it.
func (x *exchange) completeCeremony(p WebAuthnProvider, ch challenge, id string) {
	info := p.Info()
	in := &proved{info: info, method: TypeWebAuthn, passkey: &passkeyProof{challenge: ch}, check: checkDigest("webauthnChallenge", ch.value),
		account: Account{Type: TypeWebAuthn, Provider: info.ID, ProviderAccountID: id},
		auth:    AuthInfo{Provider: info.ID, Method: TypeWebAuthn}}
	in.use = []Write{UseCheck{Digest: in.check, Expires: x.now.Add(2 * checkAge)}}
	in.query = Query{Credential: id, Account: in.account.key(), Check: in.check}
	ask := in.query
	if ch.owner != nil {
		in.profile, in.query.Email = *ch.owner, ch.owner.Email
		in.newUserID, in.reserved = ch.newUser, ch.newUser != ""
		ask.UserID, ask.Email = ch.owner.ID, ch.owner.Email
	}
	found, err := x.a.find(context.WithoutCancel(x.r.Context()), ask)
	switch {
	case err != nil:
		x.storeFailed(info, err)
		return
	case found.CheckUsed:
		x.refuse(x.replay(in))
		return
	}
	verified, known := false, found.ByAccount
	if ch.owner == nil {
		verified, err = x.verifyAssertion(p, in, found.Authenticator)
	} else {
		if known = found.ByID; known == nil {
			known = found.ByEmail
		}
		verified, err = x.verifyRegistration(p, in)
	}
	if err != nil {
		x.refusePasskey(in, known, err)
		return
	}
	// RFC 8176: possession of a key, a person at the device, and, where they had
	// to prove it was theirs, a second factor.
	in.auth.AMR = []string{"pop", "user"}
	if verified {
		in.auth.AMR = append(in.auth.AMR, "mfa")
	}
	x.finish(in)
}

func (x *exchange) verifyRegistration(p WebAuthnProvider, in *proved) (verified bool, err error) {
	c := &Ceremony{Origin: x.origin, Challenge: in.passkey.value}
	reg, err := guard(func() (*Registration, error) { return p.Register(c, []byte(x.form["data"])) })
	if err != nil {
		return false, err
	}
	if reg.Authenticator.CredentialID != in.account.ProviderAccountID {
		return false, &ProviderError{Reason: record.ReasonWebAuthnFailed, Step: "registration", Check: "credential"}
	}
	in.passkey.registration = reg
	return reg.UserVerified, nil
}

// verifyAssertion verifies an authentication against the stored passkey, nil when
// there is none: that takes as long.
func (x *exchange) verifyAssertion(p WebAuthnProvider, in *proved, stored *Authenticator) (verified bool, err error) {
	unknown := stored == nil
	if unknown {
		stored = &Authenticator{CredentialID: in.account.ProviderAccountID, ProviderAccountID: in.account.ProviderAccountID,
			PublicKey: unknownKey, DeviceType: DeviceSingle}
	}
	in.account.ProviderAccountID = stored.ProviderAccountID
	in.query.Account = in.account.key()
	c := &Ceremony{Origin: x.origin, Challenge: in.passkey.value}
	proof, err := guard(func() (*Assertion, error) { return p.Authenticate(c, stored, []byte(x.form["data"])) })
	if unknown {
		err = &ProviderError{Reason: record.ReasonWebAuthnFailed, Step: "authentication", Check: "credential"}
	}
	if err != nil {
		return false, err
	}
	in.passkey.assertion = proof
	return proof.UserVerified, nil
}

// refusePasskey refuses an answer that proved nothing.
func (x *exchange) refusePasskey(in *proved, known *FoundUser, err error) {
	r := refused{auth: in.info, page: "WebAuthnVerificationError", reason: reasonOf(err), step: "verify the passkey", err: err,
		known: known, target: in.profile.Email, writes: in.use}
	if pe := providerError(err); pe != nil && pe.Check != "" {
		r.cause, r.check, r.why = record.TypeCheckFailed, pe.Check, "mismatch"
	}
	x.refuse(r)
}

// checkPasskey checks what was proved against what the store has now.
func (x *exchange) checkPasskey(ctx context.Context, in *proved, t *attempt, found *Found) (*refused, error) {
	in.use = in.use[:1:1] // the challenge; a try before this one may have added to it
	if in.passkey.registration != nil {
		decoy, err := x.a.isDecoy(ctx, in.account.ProviderAccountID)
		if err != nil {
			return nil, err
		}
		t.decoy = decoy
		return in.passkey.checkRegistration(t, found), nil
	}
	return x.checkAssertion(ctx, in, found)
}

// passkeyRefused is how what follows from the store's rows is refused.
func passkeyRefused(known *FoundUser, check, step string) *refused {
	return &refused{page: "WebAuthnVerificationError", reason: record.ReasonWebAuthnFailed, cause: record.TypeCheckFailed,
		check: check, why: "mismatch", step: step, known: known}
}

func (k *passkeyProof) checkRegistration(t *attempt, found *Found) *refused {
	owner := ""
	if t.signedIn != nil {
		owner = t.signedIn.User.ID
	}
	switch taken := found.ByAccount; {
	case owner != k.owner.ID:
		// Or else a passkey begun by one person could go to another who signed
		// in meanwhile.
		return passkeyRefused(t.signedIn, "account", "another person is signed in than began the registration")
	case taken != nil && t.signedIn != nil && taken.User.ID != owner: // decided as W2
	case t.decoy && t.signedIn != nil && taken == nil && found.Authenticator == nil: // as W2
	case taken != nil || found.Authenticator != nil || t.decoy:
		no := passkeyRefused(taken, "credential", "the credential id is taken")
		no.why = "used"
		return no
	}
	t.passkey = &k.registration.Authenticator
	return nil
}

// checkAssertion compares the counter with the same read that its write rests on.
func (x *exchange) checkAssertion(ctx context.Context, in *proved, found *Found) (*refused, error) {
	k, stored, owner := in.passkey, found.Authenticator, found.ByAccount
	if stored == nil {
		return passkeyRefused(owner, "credential", "the passkey was removed"), nil
	}
	if owner == nil || owner.User.ID != stored.UserID {
		return &refused{reason: record.ReasonConfiguration, step: "the passkey's account is missing, or another user's", known: owner}, nil
	}
	if k.assertion.UserHandle != "" || k.discoverable {
		fits, err := x.a.handleFits(ctx, k.assertion.UserHandle, stored.UserID)
		if err != nil {
			return nil, err
		}
		if !fits {
			return passkeyRefused(owner, "userHandle", "the user handle is not the owner's"), nil
		}
	}
	if n := k.assertion.Counter; n <= stored.Counter && (n != 0 || stored.Counter != 0) {
		no := passkeyRefused(owner, "counter", "the signature counter did not go up: the passkey may exist twice")
		no.cloned = &PasskeyEvent{User: owner.User.clone(), Passkey: stored, Received: n}
		return no, nil
	}
	in.account.UserID = stored.UserID
	in.use = append(in.use, CountAuthenticator{CredentialID: stored.CredentialID, From: stored.Counter,
		To: k.assertion.Counter, BackedUp: k.assertion.BackedUp})
	return nil, nil
}
