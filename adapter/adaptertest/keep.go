package adaptertest

import (
	"errors"

	"github.com/gatebook/gatebook"
)

// keep returns the write that wants an account of u to be left at a provider of
// this suite.
func keep(u gatebook.User) gatebook.KeepAccount {
	return gatebook.KeepAccount{UserID: u.ID, Providers: []string{"none", "github", "passkey"}}
}

func unlink(a gatebook.Account) gatebook.UnlinkAccount {
	return gatebook.UnlinkAccount{UserID: a.UserID, AccountKey: key(a)}
}

var keepRules = []rule{
	{"one left", "KeepAccount changes nothing while an account is left.", func(w *world) {
		u := create(w.user())
		a, b := account(u.User), account(u.User)
		w.commit(u, gatebook.LinkAccount{Account: a}, gatebook.LinkAccount{Account: b})
		w.commit(unlink(a), keep(u.User))
		w.is("account", w.find(gatebook.Query{Account: key(b)}).ByAccount, u)
		w.found(u)
	}},
	{"last", "KeepAccount conflicts after the write that removes the last account.", func(w *world) {
		u, other := create(w.user()), create(w.user())
		a := account(u.User)
		w.commit(u, other, gatebook.LinkAccount{Account: a}, gatebook.LinkAccount{Account: account(other.User)})
		w.conflicts("the last account", unlink(a), keep(u.User))
		w.is("account", w.find(gatebook.Query{Account: key(a)}).ByAccount, u)
	}},
	{"order", "KeepAccount looks at what the writes before it left.", func(w *world) {
		u := create(w.user())
		a, b := account(u.User), account(u.User)
		w.commit(u, gatebook.LinkAccount{Account: a})
		w.commit(unlink(a), gatebook.LinkAccount{Account: b}, keep(u.User))
		w.conflicts("the last account, linked in the same act", unlink(b), keep(u.User), gatebook.LinkAccount{Account: a})
	}},
	{"providers", "KeepAccount counts accounts at the named providers alone, exactly.", func(w *world) {
		u := create(w.user())
		a, b := account(u.User), account(u.User)
		b.Provider = "GitHub"
		w.commit(u, gatebook.LinkAccount{Account: a}, gatebook.LinkAccount{Account: b})
		w.conflicts("an account elsewhere", unlink(a), keep(u.User))
		w.conflicts("no providers", gatebook.KeepAccount{UserID: u.User.ID})
		w.commit(unlink(b), keep(u.User))
	}},
	{"nobody", "KeepAccount conflicts when the user does not exist.", func(w *world) {
		w.conflicts("an unknown user", keep(w.user()))
		u := create(w.user())
		w.conflicts("a user without accounts", u, keep(u.User))
	}},
	{"passkey", "An account of a passkey counts only while the passkey is there.", onPasskeys(func(w *world) {
		u := create(w.user())
		p, a := passkey(u.User)
		b := account(u.User)
		w.commit(u, gatebook.LinkAccount{Account: a}, gatebook.LinkAccount{Account: b})
		w.conflicts("an account whose passkey is gone", unlink(b), keep(u.User))
		w.commit(gatebook.CreateAuthenticator{Authenticator: p})
		w.commit(unlink(b), keep(u.User))
		w.conflicts("the last passkey", gatebook.DeleteAuthenticator{UserID: u.User.ID, CredentialID: p.CredentialID}, keep(u.User))
		w.samePasskey(p)
	})},
	{"race", "Of concurrent acts that each remove one account and keep another exactly one account is left.", func(w *world) {
		u := create(w.user())
		accounts := make([]gatebook.Account, racers)
		writes := []gatebook.Write{u}
		for i := range accounts {
			accounts[i] = account(u.User)
			writes = append(writes, gatebook.LinkAccount{Account: accounts[i]})
		}
		w.commit(writes...)
		removed := 0
		w.together(racers, func(i int) error {
			return w.a.Commit(w.ctx, &gatebook.Act{Writes: []gatebook.Write{unlink(accounts[i]), keep(u.User)}})
		}, func(i int, err error) {
			switch {
			case err == nil:
				removed++
			case !errors.Is(err, gatebook.ErrConflict):
				w.Errorf("Commit of racer %d = %v, want nil or an error that matches ErrConflict", i, err)
			}
		})
		left, err := w.a.Accounts(w.ctx, u.User.ID)
		if err != nil || len(left) == 0 || len(left) != racers-removed {
			w.Errorf("%d of %d accounts were removed and %d are left, %v; want one at least", removed, racers, len(left), err)
		}
	}},
}
