package adaptertest

import (
	"encoding/base64"
	"errors"
	"math"
	"reflect"
	"slices"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/record"
)

// passkey returns an authenticator of u, with its account.
func passkey(u gatebook.User) (gatebook.Authenticator, gatebook.Account) {
	d := digest()
	id := base64.StdEncoding.EncodeToString(d[:])
	p := gatebook.Authenticator{
		CredentialID: id, UserID: u.ID, ProviderAccountID: id, PublicKey: []byte{0xa5, 1, 2, 3, 0x26, 0, 0xff},
		Counter: 7, DeviceType: "multiDevice", BackedUp: true, Transports: []string{"internal", "hybrid"},
	}
	return p, gatebook.Account{UserID: u.ID, Type: gatebook.TypeWebAuthn, Provider: "passkey", ProviderAccountID: id}
}

// samePasskey wants the passkey to be found as p, alone and in its user's list.
func (w *world) samePasskey(p gatebook.Authenticator) {
	w.Helper()
	got := w.find(gatebook.Query{Credential: p.CredentialID}).Authenticator
	if got == nil || !reflect.DeepEqual(*got, p) {
		w.Errorf("Find by credential = %+v, want %+v", got, p)
	}
	list := w.passkeys(p.UserID)
	if i := slices.IndexFunc(list, func(l gatebook.Authenticator) bool { return l.CredentialID == p.CredentialID }); i < 0 ||
		!reflect.DeepEqual(list[i], p) {
		w.Errorf("Authenticators = %+v, want one to be %+v", list, p)
	}
}

func (w *world) passkeys(userID string) []gatebook.Authenticator {
	w.Helper()
	list, err := w.a.Authenticators(w.ctx, userID)
	if err != nil {
		w.Fatalf("Authenticators: %v", err)
	}
	return list
}

// hasPasskeys reports whether the store has a table for passkeys. Where it has
// none it must refuse p and know of nobody's.
func (w *world) hasPasskeys(p gatebook.Authenticator) bool {
	w.Helper()
	if !w.opts.NoPasskeys {
		return true
	}
	for _, wr := range []gatebook.Write{
		gatebook.CreateAuthenticator{Authenticator: p},
		gatebook.CountAuthenticator{CredentialID: p.CredentialID, From: p.Counter, To: p.Counter + 1},
		gatebook.DeleteAuthenticator{UserID: p.UserID, CredentialID: p.CredentialID},
	} {
		e := w.entry(w.user())
		err := w.a.Commit(w.ctx, &gatebook.Act{Writes: []gatebook.Write{wr}, Entries: []record.Entry{e}})
		if !errors.Is(err, errors.ErrUnsupported) || w.recorded(e) {
			w.Errorf("Commit(%T) where no table has passkeys = %v, want an error that matches errors.ErrUnsupported, and nothing written", wr, err)
		}
	}
	if got := w.find(gatebook.Query{Credential: p.CredentialID}).Authenticator; got != nil || len(w.passkeys(p.UserID)) != 0 {
		w.Errorf("a store without passkeys finds %v", got)
	}
	return false
}

// onPasskeys is test on stores that have a table for passkeys.
func onPasskeys(test func(*world)) func(*world) {
	return func(w *world) {
		u := w.user()
		p, _ := passkey(u)
		if w.hasPasskeys(p) {
			test(w)
		}
	}
}

// maxCounter is the greatest signature counter that the store holds.
func (w *world) maxCounter() uint32 {
	if w.opts.MaxCounter != 0 {
		return w.opts.MaxCounter
	}
	return math.MaxUint32
}

var passkeyRules = []rule{
	{"kept", "A passkey is found by its credential id, and listed, as it was created.", onPasskeys(func(w *world) {
		u := create(w.user())
		full, account := passkey(u.User)
		bare, _ := passkey(u.User)
		bare.Transports, bare.BackedUp, bare.DeviceType, bare.Counter = nil, false, "singleDevice", 0
		top, _ := passkey(u.User)
		top.Counter = w.maxCounter()
		w.commit(u, gatebook.LinkAccount{Account: account}, gatebook.CreateAuthenticator{Authenticator: full},
			gatebook.CreateAuthenticator{Authenticator: bare}, gatebook.CreateAuthenticator{Authenticator: top})
		for _, p := range []gatebook.Authenticator{full, bare, top} {
			w.samePasskey(p)
		}
	})},
	{"list", "Authenticators lists the passkeys of that user by credential id; an unknown user has none.", onPasskeys(func(w *world) {
		u, other := create(w.user()), create(w.user())
		w.commit(u, other)
		var want []string
		for range 5 {
			p, _ := passkey(u.User)
			theirs, _ := passkey(other.User)
			w.commit(gatebook.CreateAuthenticator{Authenticator: p}, gatebook.CreateAuthenticator{Authenticator: theirs})
			want = append(want, p.CredentialID)
		}
		slices.Sort(want)
		var got []string
		for _, p := range w.passkeys(u.User.ID) {
			got = append(got, p.CredentialID)
		}
		if !slices.Equal(got, want) {
			w.Errorf("Authenticators = %q, want %q", got, want)
		}
		if list := w.passkeys(w.newID()); len(list) != 0 {
			w.Errorf("Authenticators of an unknown user = %d rows", len(list))
		}
	})},
	{"unknown", "An unknown credential id finds nothing; letters count.", onPasskeys(func(w *world) {
		u := create(w.user())
		p, _ := passkey(u.User)
		p.CredentialID = "AbCd"
		w.commit(u, gatebook.CreateAuthenticator{Authenticator: p})
		for _, id := range []string{"abcd", "AbCd=", "AbC", " AbCd", "\x00", "\xff"} {
			if got := w.find(gatebook.Query{Credential: id}).Authenticator; got != nil {
				w.Errorf("Find by the credential %q = %+v", id, got)
			}
		}
	})},
	{"taken", "CreateAuthenticator conflicts when the credential id is taken, by whomever.", onPasskeys(func(w *world) {
		u, other := create(w.user()), create(w.user())
		p, _ := passkey(u.User)
		w.commit(u, other, gatebook.CreateAuthenticator{Authenticator: p})
		w.conflicts("the user's own passkey", gatebook.CreateAuthenticator{Authenticator: p})
		again := p
		again.UserID, again.PublicKey = other.User.ID, []byte{1}
		w.conflicts("another user's passkey", gatebook.CreateAuthenticator{Authenticator: again})
		w.samePasskey(p)
	})},
	{"nobody's", "CreateAuthenticator conflicts when the user does not exist.", onPasskeys(func(w *world) {
		p, _ := passkey(w.user())
		w.conflicts("an unknown user", gatebook.CreateAuthenticator{Authenticator: p})
		if got := w.find(gatebook.Query{Credential: p.CredentialID}).Authenticator; got != nil {
			w.Errorf("the passkey of a conflict is found: %+v", got)
		}
	})},
	{"count", "CountAuthenticator moves the counter from the stored one, and conflicts from any other.", onPasskeys(func(w *world) {
		u := create(w.user())
		p, _ := passkey(u.User)
		other, _ := passkey(u.User)
		w.commit(u, gatebook.CreateAuthenticator{Authenticator: p}, gatebook.CreateAuthenticator{Authenticator: other})
		if w.maxCounter() < math.MaxUint32 {
			err := w.a.Commit(w.ctx, &gatebook.Act{Writes: []gatebook.Write{
				gatebook.CountAuthenticator{CredentialID: p.CredentialID, From: 7, To: w.maxCounter() + 1},
			}})
			if err == nil || errors.Is(err, gatebook.ErrConflict) {
				w.Errorf("Commit of a counter that the store cannot hold = %v, want an error that is no conflict", err)
			}
		}
		count := gatebook.CountAuthenticator{CredentialID: p.CredentialID, From: 7, To: w.maxCounter()}
		w.commit(count)
		w.conflicts("a counter that moved", count)
		w.conflicts("an unknown passkey", gatebook.CountAuthenticator{CredentialID: "AAAA"})
		p.Counter, p.BackedUp = w.maxCounter(), false
		w.samePasskey(p)
		w.samePasskey(other)
		w.commit(gatebook.CountAuthenticator{CredentialID: p.CredentialID, From: p.Counter, To: p.Counter, BackedUp: true})
		p.BackedUp = true
		w.samePasskey(p)
	})},
	{"delete", "DeleteAuthenticator deletes that passkey, and conflicts when the user has no such passkey.", onPasskeys(func(w *world) {
		u, other := create(w.user()), create(w.user())
		p, _ := passkey(u.User)
		kept, _ := passkey(u.User)
		w.commit(u, other, gatebook.CreateAuthenticator{Authenticator: p}, gatebook.CreateAuthenticator{Authenticator: kept})
		w.conflicts("another user's passkey", gatebook.DeleteAuthenticator{UserID: other.User.ID, CredentialID: p.CredentialID})
		w.samePasskey(p)
		gone := gatebook.DeleteAuthenticator{UserID: u.User.ID, CredentialID: p.CredentialID}
		w.commit(gone)
		w.conflicts("a deleted passkey", gone)
		if got := w.find(gatebook.Query{Credential: p.CredentialID}).Authenticator; got != nil {
			w.Errorf("a deleted passkey is found: %+v", got)
		}
		w.samePasskey(kept)
	})},
	{"user deleted", "DeleteUser takes the user's passkeys.", onPasskeys(func(w *world) {
		u, other := create(w.user()), create(w.user())
		p, _ := passkey(u.User)
		kept, _ := passkey(other.User)
		w.commit(u, other, gatebook.CreateAuthenticator{Authenticator: p}, gatebook.CreateAuthenticator{Authenticator: kept})
		w.commit(gatebook.DeleteUser{ID: u.User.ID})
		if got := w.find(gatebook.Query{Credential: p.CredentialID}).Authenticator; got != nil || len(w.passkeys(u.User.ID)) > 0 {
			w.Errorf("a deleted user's passkey is found: %+v", got)
		}
		w.samePasskey(kept)
	})},
	{"rolled back", "An act that conflicts leaves passkeys as they were.", onPasskeys(func(w *world) {
		u := create(w.user())
		p, _ := passkey(u.User)
		fresh, _ := passkey(u.User)
		w.commit(u, gatebook.CreateAuthenticator{Authenticator: p})
		w.conflicts("the last of several writes", gatebook.CreateAuthenticator{Authenticator: fresh},
			gatebook.CountAuthenticator{CredentialID: p.CredentialID, From: 7, To: 8},
			gatebook.DeleteAuthenticator{UserID: u.User.ID, CredentialID: p.CredentialID},
			gatebook.DeleteSession{Handle: "none"})
		w.samePasskey(p)
		if got := w.find(gatebook.Query{Credential: fresh.CredentialID}).Authenticator; got != nil {
			w.Errorf("the passkey of a conflict is found: %+v", got)
		}
	})},
	{"one wins", "Of many who move a counter from the same value at once one wins.", onPasskeys(func(w *world) {
		u := create(w.user())
		p, _ := passkey(u.User)
		w.commit(u, gatebook.CreateAuthenticator{Authenticator: p})
		won := w.oneWins(func(i int) []gatebook.Write {
			return []gatebook.Write{gatebook.CountAuthenticator{CredentialID: p.CredentialID, From: 7, To: uint32(100 + i)}}
		})
		if got := w.find(gatebook.Query{Credential: p.CredentialID}).Authenticator; got == nil || got.Counter != uint32(100+won) {
			w.Errorf("after writer %d won the passkey is %+v", won, got)
		}
	})},
}
