package passkey_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/passkey"
	"github.com/gatebook/gatebook/passkey/passkeytest"
)

// listed returns the credential ids that the options for an address name.
func (s *site) listed(email string) []string {
	s.t.Helper()
	var ids []string
	for _, c := range s.browser().options("action=authenticate&email=" + email).Options.AllowCredentials {
		raw, err := b64.DecodeString(c.ID)
		if err != nil {
			s.t.Fatal(err)
		}
		ids = append(ids, stdB64.EncodeToString(raw))
	}
	return ids
}

// Stores give passkeys by credential id, so decoys in another order would be
// known for what they are.
func TestDecoysAreInOrder(t *testing.T) {
	s := newSite(t, passkey.Config{}, nil)
	pairs := 0
	for i := range 60 {
		ids := s.listed(fmt.Sprintf("nobody%d@example.com", i))
		if len(ids) > 1 {
			pairs++
		}
		if !slices.IsSorted(ids) {
			t.Errorf("nobody%d has the passkeys %q, which no user has in this order", i, ids)
		}
	}
	if pairs == 0 {
		t.Error("no address has two decoys: the test shows nothing")
	}
}

// Browsers give transports in different orders, which are kept as they came: a
// list in an order that decoys do not have would be a real one.
func TestTransportsAreInOrder(t *testing.T) {
	s := newSite(t, signUp, nil)
	s.browser().register(passkeytest.New(t, origin), "email=ada@example.com")
	if got := s.passkeys("ada@example.com")[0].Transports; slices.IsSorted(got) {
		t.Fatalf("the passkey has the transports %q: the test shows nothing", got)
	}
	addresses := []string{"ada@example.com"}
	for i := range 12 {
		addresses = append(addresses, fmt.Sprintf("nobody%d@example.com", i))
	}
	for _, address := range addresses {
		var o struct {
			Options struct {
				AllowCredentials []struct{ Transports []string }
			}
		}
		body := s.browser().get("/auth/webauthn-options/passkey?action=authenticate&email=" + address).Body
		if err := json.Unmarshal(body.Bytes(), &o); err != nil || len(o.Options.AllowCredentials) == 0 {
			t.Fatalf("%s: %v", body, err)
		}
		for _, c := range o.Options.AllowCredentials {
			if len(c.Transports) == 0 || !slices.IsSorted(c.Transports) {
				t.Errorf("%s has a passkey with the transports %q", address, c.Transports)
			}
		}
	}
}

// Somebody who tries to register as their own what the options list for an
// address learns nothing: a decoy is as taken as a real one.
func TestDecoyCannotBeRegistered(t *testing.T) {
	for name, strategy := range strategies {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, signUp, strategy)
			s.browser().register(passkeytest.New(t, origin), "email=ada@example.com")
			eve := s.browser()
			eve.register(passkeytest.New(t, origin), "email=eve@example.com")
			if _, err := s.auth.CreateUser(context.Background(), gatebook.User{Email: "none@example.com"}); err != nil {
				t.Fatal(err)
			}
			s.told()
			try := func(b *browser, id, query string) string {
				d := passkeytest.New(t, origin)
				var err error
				if d.ID, err = stdB64.DecodeString(id); err != nil {
					t.Fatal(err)
				}
				return b.register(d, query)
			}
			addresses := []string{"none@example.com"}
			for i := range 12 { // of every shape
				addresses = append(addresses, fmt.Sprintf("nobody%d@example.com", i))
			}
			real := s.listed("ada@example.com")[0]
			want, wantNew := try(eve, real, "action=register"), try(s.browser(), real, "email=new@example.com")
			s.want("signIn.failed", "check.failed", "signIn.failed")
			for _, address := range addresses {
				for _, id := range s.listed(address) {
					if got := try(eve, id, "action=register"); got != want {
						t.Errorf("registering what %s is listed with leads to %q, and to %q where it is real", address, got, want)
					}
					s.want("signIn.failed")
					if got := try(s.browser(), id, "email=new@example.com"); got != wantNew {
						t.Errorf("signing up with what %s is listed with leads to %q, and to %q where it is real", address, got, wantNew)
					}
					s.want("check.failed", "signIn.failed")
				}
			}
			if n := len(s.passkeys("eve@example.com")); n != 1 {
				t.Errorf("Eve has %d passkeys, want her own", n)
			}
		})
	}
}
