package adaptertest

import (
	"reflect"
	"slices"

	"github.com/gatebook/gatebook"
)

func (w *world) accounts(userID string) []gatebook.Account {
	w.Helper()
	list, err := w.a.Accounts(w.ctx, userID)
	if err != nil {
		w.Fatalf("Accounts: %v", err)
	}
	return list
}

// sameAccount wants a to be stored as it was linked, as far as can be seen.
func (w *world) sameAccount(a gatebook.Account) {
	w.Helper()
	if w.opts.Account != nil {
		if got := w.opts.Account(w.T, w.a, key(a)); got == nil || !reflect.DeepEqual(*got, a) {
			w.Errorf("the stored account is %.300v, want %.300v (tokens whole: %v)", got, a, got != nil && sameTokens(*got, a))
		}
	}
	list := w.accounts(a.UserID)
	i := slices.IndexFunc(list, func(l gatebook.Account) bool { return key(l) == key(a) })
	a.AccessToken, a.RefreshToken, a.IDToken, a.Reply = "", "", "", gatebook.Claims{}
	if i < 0 || !reflect.DeepEqual(list[i], a) {
		w.Errorf("Accounts = %.600v, want one to be %.300v", list, a)
	}
}

func sameTokens(a, b gatebook.Account) bool {
	return a.AccessToken == b.AccessToken && a.RefreshToken == b.RefreshToken && a.IDToken == b.IDToken
}

var accountRules = []rule{
	{"link", "A linked account finds its user.", func(w *world) {
		u, other := create(w.user()), create(w.user())
		a, b := account(u.User), account(u.User)
		b.Provider = "google"
		w.commit(u, other, gatebook.LinkAccount{Account: a}, gatebook.LinkAccount{Account: b},
			gatebook.LinkAccount{Account: account(other.User)})
		w.is("account", w.find(gatebook.Query{Account: key(a)}).ByAccount, u)
		w.is("account", w.find(gatebook.Query{Account: key(b)}).ByAccount, u)
	}},
	{"bare", "An account needs no tokens.", func(w *world) {
		u := create(w.user())
		a := gatebook.Account{UserID: u.User.ID, Type: gatebook.TypeOIDC, Provider: "idp", ProviderAccountID: "1"}
		w.commit(u, gatebook.LinkAccount{Account: a})
		w.is("account", w.find(gatebook.Query{Account: key(a)}).ByAccount, u)
	}},
	{"link taken", "LinkAccount conflicts when the account is taken, by whomever.", func(w *world) {
		u, other := create(w.user()), create(w.user())
		a := account(u.User)
		w.commit(u, other, gatebook.LinkAccount{Account: a})
		b := account(other.User)
		b.ProviderAccountID = a.ProviderAccountID
		w.conflicts("another user's account", gatebook.LinkAccount{Account: b})
		w.conflicts("the user's own account", gatebook.LinkAccount{Account: a})
		w.is("account", w.find(gatebook.Query{Account: key(a)}).ByAccount, u)
	}},
	{"link nobody", "LinkAccount conflicts when the user does not exist.", func(w *world) {
		u := create(w.user())
		a := account(u.User)
		w.conflicts("an unknown user", gatebook.LinkAccount{Account: a})
		w.commit(u)
		if f := w.find(gatebook.Query{Account: key(a)}).ByAccount; f != nil {
			w.Errorf("the account of a conflict finds %s", showUser(f))
		}
	}},
	{"unlink", "UnlinkAccount deletes that account and no other.", func(w *world) {
		u := create(w.user())
		a, b := account(u.User), account(u.User)
		w.commit(u, gatebook.LinkAccount{Account: a}, gatebook.LinkAccount{Account: b})
		w.commit(gatebook.UnlinkAccount{UserID: u.User.ID, AccountKey: key(a)})
		if f := w.find(gatebook.Query{Account: key(a)}).ByAccount; f != nil {
			w.Errorf("an unlinked account finds %s", showUser(f))
		}
		w.is("account", w.find(gatebook.Query{Account: key(b)}).ByAccount, u)
		w.found(u)
		w.commit(gatebook.LinkAccount{Account: a})
	}},
	{"unlink nothing", "UnlinkAccount conflicts when the user has no such account.", func(w *world) {
		u, other := create(w.user()), create(w.user())
		a := account(u.User)
		w.commit(u, other, gatebook.LinkAccount{Account: a})
		w.conflicts("an unknown account", gatebook.UnlinkAccount{
			UserID: u.User.ID, AccountKey: gatebook.AccountKey{Provider: "github", ProviderAccountID: "0"},
		})
		w.conflicts("another provider", gatebook.UnlinkAccount{
			UserID: u.User.ID, AccountKey: gatebook.AccountKey{Provider: "google", ProviderAccountID: a.ProviderAccountID},
		})
		w.conflicts("another user's account", gatebook.UnlinkAccount{UserID: other.User.ID, AccountKey: key(a)})
		w.is("account", w.find(gatebook.Query{Account: key(a)}).ByAccount, u)
	}},
	{"accounts", "Accounts lists the accounts of that user, by provider and id, without tokens.", func(w *world) {
		u, other := create(w.user()), create(w.user())
		a, b := account(u.User), account(u.User)
		b.Provider = "a-provider"
		_, c := passkey(u.User)
		w.commit(u, other, gatebook.LinkAccount{Account: a}, gatebook.LinkAccount{Account: c},
			gatebook.LinkAccount{Account: b}, gatebook.LinkAccount{Account: account(other.User)})
		list := w.accounts(u.User.ID)
		for _, p := range []*gatebook.Account{&a, &b, &c} {
			p.AccessToken, p.RefreshToken, p.IDToken, p.Reply = "", "", "", gatebook.Claims{}
		}
		if want := []gatebook.Account{b, a, c}; !reflect.DeepEqual(list, want) {
			w.Errorf("Accounts = %+v, want %+v", list, want)
		}
		if list := w.accounts(w.newID()); len(list) != 0 {
			w.Errorf("Accounts of an unknown user = %d rows", len(list))
		}
	}},
}
