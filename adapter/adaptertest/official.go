package adaptertest

import (
	"reflect"
	"time"

	"github.com/gatebook/gatebook"
)

// fixture is the data of Auth.js's own suite (packages/utils/adapter.ts).
type fixture struct {
	user    gatebook.CreateUser
	session gatebook.StoredSession
	account gatebook.Account
	link    gatebook.VerificationToken
	passkey gatebook.Authenticator
}

func (w *world) fixture() fixture {
	w.Helper()
	u := create(gatebook.User{
		ID: w.newID(), Email: "fill@murray.com", Name: "Fill Murray", Image: "https://www.fillmurray.com/460/300",
		EmailVerified: now,
	})
	s := session(u.User)
	s.Expires = now.Add(7 * 24 * time.Hour).Truncate(time.Second)
	a := account(u.User)
	a.IDToken, a.ExpiresAt = gatebook.Secret(uuid()), 2_592_000
	p, _ := passkey(u.User)
	return fixture{u, s, a, link(), p}
}

// officialRules are the 24 cases of Auth.js's own suite of adapters in the words
// of this contract, numbered as there. Where a method of Auth.js returns the row
// it wrote, the row is read.
var officialRules = []rule{
	{"1 methods", "The methods for users, accounts and sessions are there and answer.", func(w *world) {
		w.answers()
	}},
	{"2 createUser", "createUser stores all fields it is given.", func(w *world) {
		f := w.fixture()
		w.commit(f.user)
		w.found(f.user)
	}},
	{"3 getUser", "getUser of an unknown id is null, of a known one the user.", func(w *world) {
		f := w.fixture()
		w.commit(f.user)
		if got := w.find(gatebook.Query{UserID: w.newID()}).ByID; got != nil {
			w.Errorf("Find of an unknown id = %s", showUser(got))
		}
		w.is("id", w.find(gatebook.Query{UserID: f.user.User.ID}).ByID, f.user)
	}},
	{"4 getUserByEmail", "getUserByEmail of an unknown address is null, of a known one the user.", func(w *world) {
		f := w.fixture()
		w.commit(f.user)
		if got := w.find(gatebook.Query{Email: "non-existent@email.com"}).ByEmail; got != nil {
			w.Errorf("Find of an unknown address = %s", showUser(got))
		}
		w.is("e-mail", w.find(gatebook.Query{Email: "fill@murray.com"}).ByEmail, f.user)
	}},
	{"5 createSession", "createSession stores token, user and expiry.", func(w *world) {
		f := w.fixture()
		w.commit(f.user)
		w.commit(gatebook.CreateSession{Session: f.session})
		w.sameSession(w.session(f.session.Token).Session, f.session)
	}},
	{"6 getSessionAndUser", "getSessionAndUser of an unknown token is null, of a known one session and user.", func(w *world) {
		f := w.fixture()
		w.commit(f.user, gatebook.CreateSession{Session: f.session})
		if w.opens("invalid-token") {
			w.Errorf("invalid-token opens a session")
		}
		got := w.session(f.session.Token)
		w.sameSession(got.Session, f.session)
		w.is("session", &got.FoundUser, f.user)
	}},
	{"7 updateUser", "updateUser with a name changes the name alone.", func(w *world) {
		f := w.fixture()
		w.commit(f.user)
		w.commit(gatebook.UpdateUser{User: gatebook.User{ID: f.user.User.ID, Name: "Updated Name"}, Fields: []string{"name"}})
		f.user.User.Name = "Updated Name"
		w.found(f.user)
	}},
	{"8 updateSession", "updateSession sets the expiry to the millisecond given.", func(w *world) {
		f := w.fixture()
		w.commit(f.user, gatebook.CreateSession{Session: f.session})
		f.session.Expires = now.Add(3 * 24 * time.Hour)
		if err := w.a.ExtendSession(w.ctx, f.session.Token, f.session.Expires); err != nil {
			w.Fatalf("ExtendSession: %v", err)
		}
		w.sameSession(w.session(f.session.Token).Session, f.session)
	}},
	{"9 linkAccount", "linkAccount stores exactly the fields it is given.", func(w *world) {
		f := w.fixture()
		w.commit(f.user)
		w.commit(gatebook.LinkAccount{Account: f.account})
		w.sameAccount(f.account)
	}},
	{"10 getUserByAccount", "getUserByAccount of an unknown account is null, of a known one the user.", func(w *world) {
		f := w.fixture()
		w.commit(f.user, gatebook.LinkAccount{Account: f.account})
		if got := w.find(gatebook.Query{Account: gatebook.AccountKey{
			Provider: "invalid-provider", ProviderAccountID: "invalid-provider-account-id",
		}}).ByAccount; got != nil {
			w.Errorf("Find of an unknown account = %s", showUser(got))
		}
		w.is("account", w.find(gatebook.Query{Account: key(f.account)}).ByAccount, f.user)
	}},
	{"11 deleteSession", "deleteSession removes the row.", func(w *world) {
		f := w.fixture()
		w.commit(f.user, gatebook.CreateSession{Session: f.session})
		w.commit(gatebook.DeleteSession{Handle: w.handle(f.session.Token)})
		if w.opens(f.session.Token) {
			w.Errorf("a deleted session opens")
		}
	}},
	{"12 methods for links", "The methods for magic links are there and answer.", func(w *world) {
		if f := w.find(gatebook.Query{Verification: link().Hash, LinksTo: "fill@murray.com"}); !nothing(f) {
			w.Errorf("Find in an empty store = %s", show(f))
		}
	}},
	{"13 createVerificationToken", "createVerificationToken stores identifier, hash and expiry exactly.", func(w *world) {
		l := link()
		w.commit(gatebook.CreateVerificationToken{Token: l})
		w.sameLink(w.find(gatebook.Query{Verification: l.Hash}).Verification, l)
	}},
	{"14 useVerificationToken", "useVerificationToken gives the row and deletes it.", func(w *world) {
		l := link()
		w.commit(gatebook.CreateVerificationToken{Token: l})
		got := w.find(gatebook.Query{Verification: l.Hash}).Verification
		w.sameLink(got, l)
		w.commit(gatebook.UseVerificationToken{Identifier: got.Identifier, Hash: got.Hash})
		if got := w.find(gatebook.Query{Verification: l.Hash}).Verification; got != nil {
			w.Errorf("a used link is there: %v", got)
		}
	}},
	{"15 used twice", "The second use of a magic link finds none.", func(w *world) {
		l := link()
		use := gatebook.UseVerificationToken{Identifier: l.Identifier, Hash: l.Hash}
		w.commit(gatebook.CreateVerificationToken{Token: l})
		w.commit(use)
		w.conflicts("a used link", use)
	}},
	{"16 another identifier", "A magic link is not used by the right token with another identifier.", func(w *world) {
		l := link()
		w.commit(gatebook.CreateVerificationToken{Token: l})
		w.conflicts("another identifier", gatebook.UseVerificationToken{Identifier: "another@murray.com", Hash: l.Hash})
		w.sameLink(w.find(gatebook.Query{Verification: l.Hash}).Verification, l)
	}},
	{"17 methods that remove", "unlinkAccount and deleteUser are there and answer.", func(w *world) {
		f := w.fixture()
		w.conflicts("nobody", gatebook.UnlinkAccount{UserID: f.user.User.ID, AccountKey: key(f.account)})
		w.conflicts("nobody", gatebook.DeleteUser{ID: f.user.User.ID})
	}},
	{"18 unlinkAccount", "unlinkAccount removes the account's row.", func(w *world) {
		f := w.fixture()
		w.commit(f.user, gatebook.LinkAccount{Account: f.account})
		w.commit(gatebook.UnlinkAccount{UserID: f.user.User.ID, AccountKey: key(f.account)})
		if list := w.accounts(f.user.User.ID); len(list) != 0 {
			w.Errorf("Accounts after the account was unlinked = %+v", list)
		}
	}},
	{"19 deleteUser", "deleteUser removes the user with all sessions and accounts.", func(w *world) {
		f := w.fixture()
		w.commit(f.user, gatebook.LinkAccount{Account: f.account}, gatebook.CreateSession{Session: f.session})
		w.commit(gatebook.DeleteUser{ID: f.user.User.ID})
		if got := w.find(gatebook.Query{
			UserID: f.user.User.ID, Email: f.user.User.Email, Account: key(f.account), Session: f.session.Token,
		}); !nothing(got) || len(w.accounts(f.user.User.ID)) != 0 {
			w.Errorf("a deleted user is still found: %s", show(got))
		}
	}},
	{"20 getAccount", "getAccount of another id or provider is null, of the right pair the account.", func(w *world) {
		f := w.fixture()
		w.commit(f.user, gatebook.LinkAccount{Account: f.account})
		for _, k := range []gatebook.AccountKey{
			{Provider: f.account.Provider, ProviderAccountID: "invalid-id"},
			{Provider: "invalid-provider", ProviderAccountID: f.account.ProviderAccountID},
			{Provider: "invalid-provider", ProviderAccountID: "invalid-id"},
		} {
			if got := w.find(gatebook.Query{Account: k}).ByAccount; got != nil {
				w.Errorf("Find of the account %v = %s", k, showUser(got))
			}
		}
		w.sameAccount(f.account)
	}},
	{"21 createAuthenticator", "createAuthenticator stores the fields it is given.", func(w *world) {
		f := w.fixture()
		w.commit(f.user)
		if w.hasPasskeys(f.passkey) {
			w.commit(gatebook.CreateAuthenticator{Authenticator: f.passkey})
			w.samePasskey(f.passkey)
		}
	}},
	{"22 getAuthenticator", "getAuthenticator of an unknown credential is null, of a known one the passkey.", func(w *world) {
		f := w.fixture()
		w.commit(f.user)
		if got := w.find(gatebook.Query{Credential: "unknown"}).Authenticator; got != nil {
			w.Errorf("Find of an unknown credential = %v", got)
		}
		if w.hasPasskeys(f.passkey) {
			w.commit(gatebook.CreateAuthenticator{Authenticator: f.passkey})
			got := w.find(gatebook.Query{Credential: f.passkey.CredentialID}).Authenticator
			if got == nil || !reflect.DeepEqual(*got, f.passkey) {
				w.Errorf("Find of a known credential = %v, want %v", got, f.passkey)
			}
		}
	}},
	{"23 listAuthenticatorsByUserId", "listAuthenticatorsByUserId of an unknown user is empty, of a known one that user's.", func(w *world) {
		f := w.fixture()
		w.commit(f.user)
		if list := w.passkeys(w.newID()); len(list) != 0 {
			w.Errorf("Authenticators of an unknown user = %v", list)
		}
		if w.hasPasskeys(f.passkey) {
			second, _ := passkey(f.user.User)
			w.commit(gatebook.CreateAuthenticator{Authenticator: f.passkey}, gatebook.CreateAuthenticator{Authenticator: second})
			if list := w.passkeys(f.user.User.ID); len(list) != 2 {
				w.Errorf("Authenticators = %d passkeys, want 2", len(list))
			}
			w.samePasskey(f.passkey)
			w.samePasskey(second)
		}
	}},
	{"24 updateAuthenticatorCounter", "updateAuthenticatorCounter of an unknown credential fails, of a known one sets the counter.", func(w *world) {
		f := w.fixture()
		w.commit(f.user)
		if w.hasPasskeys(f.passkey) {
			w.commit(gatebook.CreateAuthenticator{Authenticator: f.passkey})
			w.conflicts("an unknown credential", gatebook.CountAuthenticator{CredentialID: "unknown", To: 1})
			w.commit(gatebook.CountAuthenticator{CredentialID: f.passkey.CredentialID, From: f.passkey.Counter, To: f.passkey.Counter + 1, BackedUp: true})
			f.passkey.Counter++
			w.samePasskey(f.passkey)
		}
	}},
}

// answers calls every method that reads, and wants an empty store to say so.
func (w *world) answers() {
	w.Helper()
	id := w.newID()
	f := w.find(gatebook.Query{
		Session: "none", UserID: id, Email: "nobody@murray.com", Account: gatebook.AccountKey{Provider: "a", ProviderAccountID: "b"},
		Verification: link().Hash, Check: digest(), Credential: "none", TokenSession: uuid(), LinksTo: "nobody@murray.com",
	})
	if !nothing(f) {
		w.Errorf("Find in an empty store = %s", show(f))
	}
	sessions, err := w.a.Sessions(w.ctx, id)
	expired, err2 := w.a.Expired(w.ctx, now.AddDate(1000, 0, 0))
	if len(sessions)+len(expired) != 0 || err != nil || err2 != nil {
		w.Errorf("an empty store has sessions: %v, %v, %v, %v", sessions, err, expired, err2)
	}
	if len(w.accounts(id))+len(w.passkeys(id)) != 0 || w.opens("none") {
		w.Errorf("an empty store has accounts, passkeys or sessions")
	}
}
