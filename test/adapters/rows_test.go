package adapters

import (
	"encoding/base64"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/record"
)

// person is a user with one row in each table, as npm's adapters have them.
type person struct{ user, account, session, link, passkey row }

// newPerson makes up a person, without the user's id. Bare people have nothing
// that may be null.
func (p *place) newPerson(name string, bare bool) *person {
	who := &person{
		user: row{"name": name, "email": uuid.NewString() + "@example.com", "image": "https://img.example/" + name, "emailVerified": now()},
		account: row{"type": "oidc", "provider": "op", "providerAccountId": "Account " + name, "refresh_token": "rt " + name,
			"access_token": "at " + name, "expires_at": int64(1893456000), "token_type": "bearer", "scope": "openid email",
			"id_token": strings.Repeat("i", 2000), "session_state": "state " + name},
		session: row{"sessionToken": "Token " + uuid.NewString(), "expires": now().Add(time.Hour)},
		link:    row{"identifier": uuid.NewString() + "@example.com", "token": uuid.NewString(), "expires": now().Add(time.Minute)},
		passkey: row{"credentialID": base64.StdEncoding.EncodeToString([]byte("Credential " + name + uuid.NewString())), "providerAccountId": "handle " + name,
			"credentialPublicKey": base64.StdEncoding.EncodeToString([]byte("Key " + name)), "counter": int64(7),
			"credentialDeviceType": "multiDevice", "credentialBackedUp": true, "transports": "hybrid,internal"},
	}
	who.session["expires"], who.link["expires"] = p.cut(who.session["expires"].(time.Time)), p.cut(who.link["expires"].(time.Time))
	if bare {
		who.user["name"], who.user["image"], who.user["emailVerified"] = nil, nil, nil
		for _, column := range tokens {
			who.account[column] = nil
		}
		who.passkey["transports"] = nil
	}
	return who
}

// is gives the person the id that a user row has.
func (who *person) is(id any) {
	who.user["id"] = id
	for _, r := range []row{who.account, who.session, who.passkey} {
		r["userId"] = id
	}
}

// sameRows: what either side writes, changes and deletes is the same for the
// other, field by field.
func sameRows(s *sites) {
	for _, name := range []string{"Ada Lovelace", "Ада 'Лавлейс' \"🜂\" \\ 洛芙萊斯", ""} {
		who := s.newPerson(name, name == "")
		s.write(who)
		s.same(who)
		s.npmChanges(who)
		s.same(who)
		s.gatebookChanges(who)
		s.same(who)
		s.npmDeletes(who)

		who = s.newPerson(name, name == "")
		s.npmWrites(who)
		s.same(who)
		s.gatebookChanges(who)
		s.same(who)
		s.npmChanges(who)
		s.same(who)
		s.deletes(who)
	}
}

func (p *place) commit(writes ...gatebook.Write) {
	p.t.Helper()
	if err := p.store.Commit(p.t.Context(), &gatebook.Act{Writes: writes}); err != nil {
		p.t.Fatalf("commit %T: %v", writes[0], err)
	}
}

// write has Gatebook write a person.
func (p *place) write(who *person) {
	p.t.Helper()
	u := userOf(who.user)
	u.ID = uuid.NewString()
	if maker, ok := gatebook.Adapter(p.store).(gatebook.IDMaker); ok {
		id, err := maker.NewUserID(p.t.Context(), u, nil)
		if err != nil {
			p.t.Fatal(err)
		}
		u.ID = id
	}
	who.is(p.id(u.ID))
	writes := []gatebook.Write{
		gatebook.CreateUser{User: u, Subject: record.NewKey()},
		gatebook.LinkAccount{Account: accountOf(who.account)},
		gatebook.CreateSession{Session: gatebook.StoredSession{Token: gatebook.Secret(text(who.session["sessionToken"])), UserID: u.ID,
			Expires: who.session["expires"].(time.Time), ID: uuid.NewString(), Begun: now(), Provider: "op"}},
		gatebook.CreateVerificationToken{Token: gatebook.VerificationToken{Identifier: text(who.link["identifier"]), Hash: text(who.link["token"]),
			Expires: who.link["expires"].(time.Time)}},
	}
	if p.authenticator != "" {
		writes = append(writes, gatebook.CreateAuthenticator{Authenticator: authenticatorOf(p.t, who.passkey)})
	}
	p.commit(writes...)
}

// npmWrites has npm's adapter write a person.
func (p *place) npmWrites(who *person) {
	p.t.Helper()
	given := row{"id": uuid.NewString()}
	for name, v := range who.user {
		given[name] = v
	}
	who.is(p.npm.row("createUser", given)["id"])
	p.npm.call("linkAccount", who.account)
	p.npm.call("createSession", who.session)
	p.npm.call("createVerificationToken", who.link)
	if p.authenticator != "" {
		p.npm.call("createAuthenticator", who.passkey)
	}
}

// same compares what both sides read with the person.
func (p *place) same(who *person) {
	p.t.Helper()
	key := row{"provider": who.account["provider"], "providerAccountId": who.account["providerAccountId"]}
	p.equal("npm's getUser", p.npm.row("getUser", who.user["id"]), who.user)
	p.equal("npm's getUserByEmail", p.npm.row("getUserByEmail", who.user["email"]), who.user)
	p.equal("npm's getUserByAccount", p.npm.row("getUserByAccount", key), who.user)
	found := p.npm.row("getSessionAndUser", who.session["sessionToken"])
	p.equal("npm's session", found["session"].(row), who.session)
	p.equal("npm's user of a session", found["user"].(row), who.user)
	p.equal("the row of an account", p.one(p.kind.account, key), who.account)
	p.equal("the row of a link", p.one(p.kind.link, row{"token": who.link["token"]}), who.link)
	if p.authenticator != "" {
		p.equal("npm's getAccount", p.npm.row("getAccount", key["providerAccountId"], key["provider"]), who.account)
		p.equal("npm's getAuthenticator", p.npm.row("getAuthenticator", who.passkey["credentialID"]), who.passkey)
	}
	p.gatebookSame(who)
}

func (p *place) gatebookSame(who *person) {
	p.t.Helper()
	f := p.find(who)
	for how, u := range map[string]*gatebook.FoundUser{"id": f.ByID, "e-mail address": f.ByEmail, "account": f.ByAccount} {
		if u == nil {
			p.t.Fatalf("Gatebook finds no user by %s", how)
		}
		p.equal("Gatebook's user by "+how, p.userRow(&u.User), who.user)
	}
	if f.Session == nil || f.Verification == nil {
		p.t.Fatalf("Gatebook finds the session %v and the link %v", f.Session, f.Verification)
	}
	s := f.Session.Session
	p.equal("Gatebook's session", row{"sessionToken": string(s.Token), "userId": p.id(s.UserID), "expires": s.Expires}, who.session)
	p.equal("Gatebook's user of a session", p.userRow(&f.Session.User), who.user)
	v := f.Verification
	p.equal("Gatebook's link", row{"identifier": v.Identifier, "token": v.Hash, "expires": v.Expires}, who.link)
	accounts, err := p.store.Accounts(p.t.Context(), f.ByID.User.ID)
	if err != nil || len(accounts) != 1 {
		p.t.Fatalf("Gatebook lists the accounts %v, %v", accounts, err)
	}
	a := accounts[0]
	p.equal("Gatebook's account", who.account, row{"userId": p.id(a.UserID), "type": a.Type, "provider": a.Provider, "providerAccountId": a.ProviderAccountID})
	if p.authenticator == "" {
		return
	}
	list, err := p.store.Authenticators(p.t.Context(), f.ByID.User.ID)
	if err != nil || len(list) != 1 || f.Authenticator == nil {
		p.t.Fatalf("Gatebook lists the passkeys %v, %v, and finds %v", list, err, f.Authenticator)
	}
	p.equal("Gatebook's passkey", p.passkeyRow(f.Authenticator), who.passkey)
	p.equal("Gatebook's listed passkey", p.passkeyRow(&list[0]), who.passkey)
}

// find asks Gatebook's adapter for everything of a person.
func (p *place) find(who *person) *gatebook.Found {
	p.t.Helper()
	q := gatebook.Query{UserID: asID(who.user["id"]), Email: text(who.user["email"]),
		Account: gatebook.AccountKey{Provider: text(who.account["provider"]), ProviderAccountID: text(who.account["providerAccountId"])},
		Session: gatebook.Secret(text(who.session["sessionToken"])), Verification: text(who.link["token"])}
	if p.authenticator != "" {
		q.Credential = text(who.passkey["credentialID"])
	}
	f, err := p.store.Find(p.t.Context(), q)
	if err != nil {
		p.t.Fatalf("Find: %v", err)
	}
	return f
}

// gatebookChanges has Gatebook change whatever may change.
func (p *place) gatebookChanges(who *person) {
	p.t.Helper()
	who.user["name"], who.user["email"], who.user["emailVerified"], who.user["image"] = "Renamed Ÿ", uuid.NewString()+"@example.org", now(), nil
	who.session["expires"] = p.cut(now().Add(99 * time.Hour))
	writes := []gatebook.Write{gatebook.UpdateUser{User: userOf(who.user), Fields: []string{"name", "email", "emailVerified", "image"}}}
	if p.authenticator != "" {
		was := uint32(who.passkey["counter"].(int64))
		writes = append(writes, gatebook.CountAuthenticator{CredentialID: text(who.passkey["credentialID"]), From: was, To: was + 1})
		who.passkey["counter"], who.passkey["credentialBackedUp"] = int64(was+1), false
	}
	p.commit(writes...)
	if err := p.store.ExtendSession(p.t.Context(), gatebook.Secret(text(who.session["sessionToken"])), who.session["expires"].(time.Time)); err != nil {
		p.t.Fatalf("ExtendSession: %v", err)
	}
}

// npmChanges has npm's adapter change whatever may change.
func (p *place) npmChanges(who *person) {
	p.t.Helper()
	who.user["name"], who.user["email"], who.user["emailVerified"] = "Renamed by Auth.js ß", uuid.NewString()+"@example.net", now()
	p.npm.call("updateUser", row{"id": who.user["id"], "name": who.user["name"], "email": who.user["email"], "emailVerified": who.user["emailVerified"]})
	who.session["expires"] = p.cut(now().Add(77 * time.Hour))
	p.npm.call("updateSession", row{"sessionToken": who.session["sessionToken"], "expires": who.session["expires"]})
	if p.authenticator != "" {
		who.passkey["counter"] = who.passkey["counter"].(int64) + 1
		p.npm.call("updateAuthenticatorCounter", who.passkey["credentialID"], who.passkey["counter"])
	}
}

// deletes has Gatebook delete a person, row by row; npm's adapter finds nothing.
func (p *place) deletes(who *person) {
	p.t.Helper()
	f := p.find(who)
	id := f.ByID.User.ID
	p.commit(gatebook.DeleteSession{Handle: f.Session.Session.Handle})
	p.null("getSessionAndUser", who.session["sessionToken"])
	p.commit(gatebook.UseVerificationToken{Identifier: f.Verification.Identifier, Hash: f.Verification.Hash})
	p.null("useVerificationToken", row{"identifier": who.link["identifier"], "token": who.link["token"]})
	p.commit(gatebook.UnlinkAccount{UserID: id, AccountKey: gatebook.AccountKey{Provider: text(who.account["provider"]), ProviderAccountID: text(who.account["providerAccountId"])}})
	p.null("getUserByAccount", row{"provider": who.account["provider"], "providerAccountId": who.account["providerAccountId"]})
	if p.authenticator != "" {
		p.commit(gatebook.DeleteAuthenticator{UserID: id, CredentialID: text(who.passkey["credentialID"])})
		p.null("getAuthenticator", who.passkey["credentialID"])
		p.npm.call("createAuthenticator", who.passkey)
	}
	p.npm.call("createSession", who.session)
	p.npm.call("linkAccount", who.account)
	p.commit(gatebook.DeleteUser{ID: id})
	p.null("getUser", who.user["id"])
	p.left(who.user["id"])
}

// npmDeletes has npm's adapter delete a person; Gatebook finds nothing.
func (p *place) npmDeletes(who *person) {
	p.t.Helper()
	p.npm.call("deleteSession", who.session["sessionToken"])
	if _, err := p.store.Session(p.t.Context(), gatebook.Secret(text(who.session["sessionToken"]))); !errors.Is(err, gatebook.ErrNotFound) {
		p.t.Errorf("a session that npm's adapter deleted gives %v, want ErrNotFound", err)
	}
	p.npm.call("useVerificationToken", row{"identifier": who.link["identifier"], "token": who.link["token"]})
	p.npm.call("unlinkAccount", row{"provider": who.account["provider"], "providerAccountId": who.account["providerAccountId"]})
	if f := p.find(who); f.Session != nil || f.Verification != nil || f.ByAccount != nil || f.ByID == nil {
		p.t.Errorf("after npm's adapter deleted all but the user Gatebook finds %+v", f)
	}
	p.npm.call("createSession", who.session)
	p.npm.call("linkAccount", who.account)
	p.npm.call("deleteUser", who.user["id"])
	if f := p.find(who); f.ByID != nil || f.ByEmail != nil || f.ByAccount != nil || f.Session != nil || f.Authenticator != nil {
		p.t.Errorf("after npm's adapter deleted the user Gatebook finds %+v", f)
	}
	p.left(who.user["id"])
}

// left checks that no row of a deleted user is left.
func (p *place) left(id any) {
	p.t.Helper()
	p.none(p.kind.user, row{"id": id})
	p.none(p.kind.account, row{"userId": id})
	p.none(p.kind.session, row{"userId": id})
	if p.authenticator != "" {
		p.none(p.authenticator, row{"userId": id})
	}
}

// id is a user's id as the database has it.
func (p *place) id(id string) any {
	if !p.numbered() {
		return id
	}
	n, err := strconv.ParseInt(id, 10, 64)
	if err != nil {
		p.t.Fatalf("id of a user: %v", err)
	}
	return n
}

func asID(v any) string {
	if n, ok := v.(int64); ok {
		return strconv.FormatInt(n, 10)
	}
	return text(v)
}

// text is v, "" if it is null.
func text(v any) string {
	s, _ := v.(string)
	return s
}

// null is s, null if it is empty.
func null(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func userOf(r row) gatebook.User {
	u := gatebook.User{ID: asID(r["id"]), Name: text(r["name"]), Email: text(r["email"]), Image: text(r["image"])}
	if at, ok := r["emailVerified"].(time.Time); ok {
		u.EmailVerified = at
	}
	return u
}

func (p *place) userRow(u *gatebook.User) row {
	r := row{"id": p.id(u.ID), "name": null(u.Name), "email": null(u.Email), "image": null(u.Image), "emailVerified": nil}
	if !u.EmailVerified.IsZero() {
		r["emailVerified"] = u.EmailVerified
	}
	return r
}

func accountOf(r row) gatebook.Account {
	a := gatebook.Account{UserID: asID(r["userId"]), Type: text(r["type"]), Provider: text(r["provider"]), ProviderAccountID: text(r["providerAccountId"]),
		RefreshToken: gatebook.Secret(text(r["refresh_token"])), AccessToken: gatebook.Secret(text(r["access_token"])),
		IDToken: gatebook.Secret(text(r["id_token"])), TokenType: text(r["token_type"]), Scope: text(r["scope"]), SessionState: text(r["session_state"])}
	if n, ok := r["expires_at"].(int64); ok {
		a.ExpiresAt = n
	}
	return a
}

func authenticatorOf(t *testing.T, r row) gatebook.Authenticator {
	t.Helper()
	key, err := base64.StdEncoding.DecodeString(text(r["credentialPublicKey"]))
	if err != nil {
		t.Fatal(err)
	}
	a := gatebook.Authenticator{CredentialID: text(r["credentialID"]), UserID: asID(r["userId"]), ProviderAccountID: text(r["providerAccountId"]),
		PublicKey: key, Counter: uint32(r["counter"].(int64)), DeviceType: text(r["credentialDeviceType"]), BackedUp: r["credentialBackedUp"].(bool)}
	if list := text(r["transports"]); list != "" {
		a.Transports = strings.Split(list, ",")
	}
	return a
}

func (p *place) passkeyRow(a *gatebook.Authenticator) row {
	return row{"credentialID": a.CredentialID, "userId": p.id(a.UserID), "providerAccountId": a.ProviderAccountID,
		"credentialPublicKey": base64.StdEncoding.EncodeToString(a.PublicKey), "counter": int64(a.Counter), "credentialDeviceType": a.DeviceType,
		"credentialBackedUp": a.BackedUp, "transports": null(strings.Join(slices.Sorted(slices.Values(a.Transports)), ","))}
}
