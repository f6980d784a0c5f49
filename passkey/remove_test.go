package passkey_test

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/passkey/passkeytest"
)

func TestRemovePasskey(t *testing.T) {
	for name, strategy := range strategies {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, signUp, strategy)
			ctx := context.Background()
			first, second := passkeytest.New(t, origin), passkeytest.New(t, origin)
			b := s.browser()
			b.register(first, "email=ada@example.com")
			ada := s.user("ada@example.com")
			s.told()
			id := func(d *passkeytest.Authenticator) string { return stdB64.EncodeToString(d.ID) }
			if err := s.auth.RemovePasskey(ctx, ada.ID, id(first)); !errors.Is(err, gatebook.ErrLastSignIn) {
				t.Errorf("removing the last way to sign in: %v", err)
			}
			b.register(second, "action=register")
			s.told()
			for _, tt := range [][2]string{{"somebody", id(first)}, {ada.ID, id(passkeytest.New(t, origin))}, {ada.ID, ""}, {"", id(first)}} {
				if err := s.auth.RemovePasskey(ctx, tt[0], tt[1]); !errors.Is(err, gatebook.ErrNotFound) {
					t.Errorf("RemovePasskey(%q, %q) = %v, want ErrNotFound", tt[0], tt[1], err)
				}
			}
			s.want()
			if err := s.auth.RemovePasskey(ctx, ada.ID, id(first)); err != nil {
				t.Fatal(err)
			}
			events := s.events()
			if len(events) != 2 {
				t.Fatalf("%d events, want unlinkAccount and passkey.removed", len(events))
			}
			unlinked, ok := events[0].(*gatebook.UnlinkAccountEvent)
			removed, ok2 := events[1].(*gatebook.PasskeyEvent)
			if !ok || !ok2 || unlinked.Account.ProviderAccountID != id(first) || removed.Type != "passkey.removed" ||
				removed.Passkey.CredentialID != id(first) || removed.User.ID != ada.ID || removed.Act != unlinked.Act {
				t.Errorf("events are %+v, %+v", events[0], events[1])
			}
			if list := s.passkeys("ada@example.com"); len(list) != 1 || list[0].CredentialID != id(second) {
				t.Errorf("left are %+v", list)
			}
			if accounts, err := s.auth.Accounts(ctx, ada.ID); err != nil || len(accounts) != 1 {
				t.Errorf("accounts are %+v, %v", accounts, err)
			}
			if to := s.browser().signIn(first); to != verification {
				t.Errorf("the removed passkey leads to %q", to)
			}
			if to := s.browser().signIn(second); to != "" {
				t.Errorf("the other passkey leads to %q", to)
			}
		})
	}
}

// Unlinking its account removes a passkey too, and each is recorded.
func TestUnlinkPasskey(t *testing.T) {
	s := newSite(t, signUp, nil)
	b := s.browser()
	first := passkeytest.New(t, origin)
	b.register(first, "email=ada@example.com")
	b.register(passkeytest.New(t, origin), "action=register")
	s.told()
	key := gatebook.AccountKey{Provider: "passkey", ProviderAccountID: stdB64.EncodeToString(first.ID)}
	if err := s.auth.UnlinkAccount(context.Background(), s.user("ada@example.com").ID, key); err != nil {
		t.Fatal(err)
	}
	s.want("unlinkAccount", "passkey.removed")
	if n := len(s.passkeys("ada@example.com")); n != 1 {
		t.Errorf("%d passkeys are left, want 1", n)
	}
}

// Of two who remove the last two passkeys at once one is refused.
func TestRemoveLastTwo(t *testing.T) {
	s := newSite(t, signUp, nil)
	b := s.browser()
	b.register(passkeytest.New(t, origin), "email=ada@example.com")
	b.register(passkeytest.New(t, origin), "action=register")
	ada := s.user("ada@example.com")
	var wg sync.WaitGroup
	errs := make([]error, 2)
	for i, k := range s.passkeys("ada@example.com") {
		wg.Go(func() { errs[i] = s.auth.RemovePasskey(context.Background(), ada.ID, k.CredentialID) })
	}
	wg.Wait()
	if (errs[0] == nil) == (errs[1] == nil) || !errors.Is(errors.Join(errs...), gatebook.ErrLastSignIn) {
		t.Errorf("removing both: %v", errs)
	}
	if n := len(s.passkeys("ada@example.com")); n != 1 {
		t.Errorf("%d passkeys are left, want 1", n)
	}
}

// A passkey that another program left without an account can be removed.
func TestRemoveOrphan(t *testing.T) {
	s := newSite(t, signUp, nil)
	s.browser().register(passkeytest.New(t, origin), "email=ada@example.com")
	ada := s.user("ada@example.com")
	orphan := gatebook.Authenticator{CredentialID: "b3JwaGFu", UserID: ada.ID, ProviderAccountID: "b3JwaGFu", DeviceType: gatebook.DeviceSingle}
	if err := s.store.Commit(context.Background(), &gatebook.Act{Writes: []gatebook.Write{gatebook.CreateAuthenticator{Authenticator: orphan}}}); err != nil {
		t.Fatal(err)
	}
	s.told()
	if err := s.auth.RemovePasskey(context.Background(), ada.ID, "b3JwaGFu"); err != nil {
		t.Fatal(err)
	}
	s.want("passkey.removed")
}

// With revocable token sessions a revoked one adds no passkey.
func TestRevokedSessionAddsNothing(t *testing.T) {
	s := newSite(t, signUp, func(c *gatebook.Config) { c.Session.Strategy, c.Session.Revocable = gatebook.StrategyJWT, true })
	b := s.browser()
	b.register(passkeytest.New(t, origin), "email=ada@example.com")
	o := b.options("action=register")
	if _, err := s.auth.RevokeSessions(context.Background(), s.user("ada@example.com").ID); err != nil {
		t.Fatal(err)
	}
	s.told()
	if w := b.get("/auth/webauthn-options/passkey?action=register"); w.Code != http.StatusBadRequest {
		t.Errorf("options are %d %s", w.Code, w.Body)
	}
	s.refused(b.answer("register", passkeytest.New(t, origin).Create(t, o)), verification, "account")
}
