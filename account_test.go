package gatebook_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/provider/email"
	"github.com/gatebook/gatebook/record"
)

// linkOnly leaves a desk without magic links and with a second provider, so that
// accounts are all there is to sign in with.
func linkOnly(d *desk, c *gatebook.Config) {
	c.Providers = []gatebook.Provider{d.idp, &fakeProvider{id: "second"}, &fakeProvider{id: "passkey"}}
}

// withAccounts sets up the user u-1 with accounts, each "provider id".
func withAccounts(t *testing.T, d *desk, email string, accounts ...string) {
	t.Helper()
	ctx := context.Background()
	if _, err := d.auth.CreateUser(ctx, gatebook.User{ID: "u-1", Name: "Ada", Email: email}); err != nil {
		t.Fatal(err)
	}
	for _, a := range accounts {
		key := accountKey(a)
		acc := gatebook.Account{UserID: "u-1", Type: "oidc", Provider: key.Provider, ProviderAccountID: key.ProviderAccountID, AccessToken: "at-marker"}
		if key.Provider == "passkey" {
			acc.Type = gatebook.TypeWebAuthn
		}
		if err := d.auth.LinkAccount(ctx, acc); err != nil {
			t.Fatal(err)
		}
	}
	d.heard.reset()
}

func accountKey(s string) gatebook.AccountKey {
	provider, id, _ := strings.Cut(s, " ")
	return gatebook.AccountKey{Provider: provider, ProviderAccountID: id}
}

// accounts returns the accounts of a user, each "provider id".
func (d *desk) accounts(user string) []string {
	d.t.Helper()
	list, err := d.auth.Accounts(context.Background(), user)
	if err != nil {
		d.t.Fatal(err)
	}
	var out []string
	for _, a := range list {
		if a.AccessToken != "" || a.UserID != user {
			d.t.Errorf("Accounts = %+v", a)
		}
		out = append(out, a.Provider+" "+a.ProviderAccountID)
	}
	return out
}

func (d *desk) write(writes ...gatebook.Write) {
	d.t.Helper()
	if err := d.store.Commit(context.Background(), &gatebook.Act{Writes: writes}); err != nil {
		d.t.Fatal(err)
	}
}

func TestLastWayToSignIn(t *testing.T) {
	passkey := gatebook.CreateAuthenticator{Authenticator: gatebook.Authenticator{CredentialID: "k", ProviderAccountID: "k", UserID: "u-1"}}
	tests := []struct {
		name     string
		change   func(*desk, *gatebook.Config)
		email    string
		accounts string
		passkey  bool
		unlink   string
		want     error
		left     string
	}{
		{"of two", linkOnly, "", "idp 1, second 2", false, "idp 1", nil, "second 2"},
		{"of two at one provider", linkOnly, "", "idp 1, idp 2", false, "idp 2", nil, "idp 1"},
		{"the last", linkOnly, "ada@example.com", "idp 1", false, "idp 1", gatebook.ErrLastSignIn, "idp 1"},
		{"beside an account whose provider is gone", linkOnly, "", "idp 1, gone 2", false, "idp 1", gatebook.ErrLastSignIn, "gone 2, idp 1"},
		{"an account whose provider is gone", linkOnly, "", "idp 1, gone 2", false, "gone 2", nil, "idp 1"},
		{"only an account whose provider is gone", linkOnly, "", "gone 2", false, "gone 2", gatebook.ErrLastSignIn, "gone 2"},
		{"beside a magic link", nil, "ada@example.com", "idp 1", false, "idp 1", nil, ""},
		{"without an address", nil, "", "idp 1", false, "idp 1", gatebook.ErrLastSignIn, "idp 1"},
		{"beside a passkey", linkOnly, "", "idp 1, passkey k", true, "idp 1", nil, "passkey k"},
		{"beside the account of a lost passkey", linkOnly, "", "idp 1, passkey k", false, "idp 1", gatebook.ErrLastSignIn, "idp 1, passkey k"},
		{"the passkey", linkOnly, "", "idp 1, passkey k", true, "passkey k", nil, "idp 1"},
		{"the last passkey", linkOnly, "", "passkey k", true, "passkey k", gatebook.ErrLastSignIn, "passkey k"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := newDesk(t, tt.change)
			withAccounts(t, d, tt.email, strings.Split(tt.accounts, ", ")...)
			if tt.passkey {
				d.write(passkey)
			}
			before := len(d.entries())
			err := d.auth.UnlinkAccount(context.Background(), "u-1", accountKey(tt.unlink))
			if !errors.Is(err, tt.want) {
				t.Errorf("UnlinkAccount = %v, want %v", err, tt.want)
			}
			if got := strings.Join(d.accounts("u-1"), ", "); got != tt.left {
				t.Errorf("left are %q, want %q", got, tt.left)
			}
			var want []string
			if tt.want == nil {
				want = []string{record.TypeUnlinkAccount}
				if tt.name == "the passkey" {
					want = append(want, record.TypePasskeyRemoved)
				}
			}
			if got := types(d.entries()[before:]); !slices.Equal(got, want) {
				t.Errorf("recorded %v, want %v", got, want)
			}
			keys, err := d.store.Authenticators(context.Background(), "u-1")
			if err != nil || len(keys) > 0 != (tt.passkey && strings.Contains(tt.left, "passkey")) {
				t.Errorf("passkeys are left: %v, %v", keys, err)
			}
		})
	}
}

// However many accounts are removed at once, one is left.
func TestLastWayRace(t *testing.T) {
	for _, n := range []int{2, 3, 8} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			for range 20 {
				d := newDesk(t, linkOnly)
				var accounts []string
				for i := range n {
					accounts = append(accounts, fmt.Sprint("idp ", i))
				}
				withAccounts(t, d, "", accounts...)
				var wg sync.WaitGroup
				errs := make([]error, n)
				for i, a := range accounts {
					wg.Go(func() { errs[i] = d.auth.UnlinkAccount(context.Background(), "u-1", accountKey(a)) })
				}
				wg.Wait()
				refused := 0
				for _, err := range errs {
					if errors.Is(err, gatebook.ErrLastSignIn) {
						refused++
					} else if err != nil {
						t.Fatal(err)
					}
				}
				if left := d.accounts("u-1"); len(left) != 1 || refused != 1 {
					t.Fatalf("left are %v, %d were refused", left, refused)
				}
				if got := of(d.entries(), record.TypeUnlinkAccount); len(got) != n-1 {
					t.Fatalf("recorded %d unlinkAccount of %d", len(got), n-1)
				}
			}
		})
	}
}

// In the application's transaction nothing can be listed; the last way stays all
// the same.
func TestLastWayInTransaction(t *testing.T) {
	d := newDesk(t, linkOnly)
	withAccounts(t, d, "", "idp 1", "idp 2")
	w := d.auth.InTransaction(new(sql.Tx))
	if err := w.UnlinkAccount(context.Background(), "u-1", accountKey("idp 1")); err != nil {
		t.Fatal(err)
	}
	if err := w.UnlinkAccount(context.Background(), "u-1", accountKey("idp 2")); !errors.Is(err, gatebook.ErrLastSignIn) {
		t.Errorf("UnlinkAccount of the last account = %v, want ErrLastSignIn", err)
	}
	if diff := cmp.Diff([]string{"idp 2"}, d.accounts("u-1")); diff != "" {
		t.Error(diff)
	}
}

func TestAccounts(t *testing.T) {
	d := newDesk(t, linkOnly)
	withAccounts(t, d, "", "second 2", "idp 1")
	if diff := cmp.Diff([]string{"idp 1", "second 2"}, d.accounts("u-1")); diff != "" {
		t.Error(diff)
	}
	if got := d.accounts("nobody"); got != nil {
		t.Errorf("Accounts of nobody = %v", got)
	}
	d.store.fault(func(op string, _ *gatebook.Act) error { return errors.New("down") }, nil)
	if _, err := d.auth.Accounts(context.Background(), "u-1"); err == nil {
		t.Error("Accounts of a store that is down gives no error")
	}
}

// TestLastWayIsNoDeadLink: an address that links cannot sign in with is no way:
// another program stored it in other letters than they are sent to, or the
// provider refuses it.
func TestLastWayIsNoDeadLink(t *testing.T) {
	for _, tt := range []struct {
		stored string
		only   string // the domain that links are sent to, or any
		want   error
	}{
		{"Ada@Example.com", "", gatebook.ErrLastSignIn},
		{"ada@example.com", "company.example", gatebook.ErrLastSignIn},
		{"ada@example.com", "example.com", nil},
	} {
		d := newDesk(t, func(d *desk, c *gatebook.Config) {
			mail, err := email.New(email.Config{From: "a@example.com", Mailer: d.mail, NormalizeIdentifier: func(typed string) (string, error) {
				if !strings.HasSuffix(typed, tt.only) {
					return "", errors.New("not one of ours")
				}
				return typed, nil
			}})
			if err != nil {
				t.Fatal(err)
			}
			c.Providers = []gatebook.Provider{d.idp, mail}
		})
		d.write(gatebook.CreateUser{User: gatebook.User{ID: "u-1", Email: tt.stored}, Subject: record.NewKey()},
			gatebook.LinkAccount{Account: gatebook.Account{UserID: "u-1", Type: "oidc", Provider: "idp", ProviderAccountID: "1"}})
		v := d.in("Here")
		if a := v.account(); a.Ways[0].Removable != (tt.want == nil) || (len(a.Ways) == 2) != (tt.want == nil) {
			t.Errorf("%s, links to %q: ways %+v", tt.stored, tt.only, a.Ways)
		}
		if err := d.auth.UnlinkAccount(context.Background(), "u-1", accountKey("idp 1")); !errors.Is(err, tt.want) {
			t.Errorf("%s, links to %q: UnlinkAccount = %v, want %v", tt.stored, tt.only, err, tt.want)
		}
	}
}
