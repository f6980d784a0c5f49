//go:build linux

package main

import (
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/passkey"
	"github.com/gatebook/gatebook/passkey/passkeytest"
)

const (
	maxPasskey    = 1.2
	passkeyOrigin = "https://app.example.com"
	passkeyRPID   = "app.example.com"
)

// panicking is what the software authenticator reports to.
type panicking struct{ testing.TB }

func (panicking) Helper()                      {}
func (panicking) Fatal(args ...any)            { panic(fmt.Sprint(args...)) }
func (panicking) Fatalf(text string, v ...any) { panic(fmt.Sprintf(text, v...)) }

// owner is a user of go-webauthn.
type owner struct{ credential webauthn.Credential }

func (owner) WebAuthnID() []byte          { return []byte("ada") }
func (owner) WebAuthnName() string        { return "ada" }
func (owner) WebAuthnDisplayName() string { return "Ada" }
func (o owner) WebAuthnCredentials() []webauthn.Credential {
	return []webauthn.Credential{o.credential}
}

// verifyPasskeys measures the verification of a passkey's answer, beside the
// same by go-webauthn alone, set up once as it is meant to be.
func verifyPasskeys(_ context.Context, r *runner) error {
	key := passkeytest.New(panicking{}, passkeyOrigin)
	key.Handle = base64.RawURLEncoding.EncodeToString([]byte("ada"))
	var o passkeytest.Options
	o.Options.RPID, o.Options.Challenge = passkeyRPID, base64.RawURLEncoding.EncodeToString(make([]byte, 32))
	answer := []byte(key.Get(panicking{}, &o))

	p, err := passkey.New(passkey.Config{})
	if err != nil {
		return err
	}
	c := &gatebook.Ceremony{Origin: passkeyOrigin, Challenge: o.Options.Challenge}
	stored := &gatebook.Authenticator{CredentialID: base64.StdEncoding.EncodeToString(key.ID), PublicKey: key.COSE, DeviceType: gatebook.DeviceMulti}
	ours := func() error {
		_, err := p.Authenticate(c, stored, answer)
		return err
	}

	w, err := webauthn.New(&webauthn.Config{RPID: passkeyRPID, RPDisplayName: "App", RPOrigins: []string{passkeyOrigin}})
	if err != nil {
		return err
	}
	user := owner{webauthn.Credential{ID: key.ID, PublicKey: key.COSE, Flags: webauthn.CredentialFlags{BackupEligible: true}}}
	session := webauthn.SessionData{Challenge: o.Options.Challenge, RelyingPartyID: passkeyRPID, UserID: user.WebAuthnID(),
		UserVerification: protocol.VerificationRequired}
	theirs := func() error {
		parsed, err := protocol.ParseCredentialRequestResponseBytes(answer)
		if err != nil {
			return err
		}
		_, err = w.ValidateLogin(user, session, parsed)
		return err
	}
	turn := func(fn func() error) func() (float64, error) {
		return func() (float64, error) {
			began, err := cpuTime(os.Getpid())
			if err != nil {
				return 0, err
			}
			n := 0
			for deadline := time.Now().Add(r.round / 4); time.Now().Before(deadline); n++ {
				if err := fn(); err != nil {
					return 0, err
				}
			}
			ended, err := cpuTime(os.Getpid())
			return (ended - began).Seconds() / float64(n), err
		}
	}
	figure, floor, err := alternate(max(r.rounds, 2), turn(ours), turn(theirs))
	if err != nil {
		return err
	}
	r.atMost("passkey verification", figure, floor, micros, maxPasskey, "in process, CPU time; floor: go-webauthn alone")
	return nil
}
