package adapters

import (
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
)

// tokens are the columns of an account beside its key.
var tokens = []string{"refresh_token", "access_token", "expires_at", "token_type", "scope", "id_token", "session_state"}

// officialSuite asks npm's adapter on the tables of these tests what Auth.js asks
// of every adapter (the checks of its packages/utils/adapter.ts): the tables are
// what the adapter was made for.
func officialSuite(p *place) {
	s := &suite{place: p}
	s.users()
	s.sessions()
	s.accounts()
	s.links()
	s.passkeys()
	s.deletion()
}

type suite struct {
	*place
	user, session, account row
}

// equal compares what an adapter told or a table holds with what is wanted. Of
// got only the columns in want count: tables have ids and times of their own.
func (p *place) equal(what string, got, want row) {
	p.t.Helper()
	shown := row{}
	for name := range want {
		shown[name] = got[name]
	}
	if diff := cmp.Diff(want, shown); diff != "" {
		p.t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func (p *place) one(table string, where row) row {
	p.t.Helper()
	rows := p.rows(table, where)
	if len(rows) != 1 {
		p.t.Fatalf("%s has %d rows with %v, want 1", table, len(rows), where)
	}
	return rows[0]
}

func (p *place) none(table string, where row) {
	p.t.Helper()
	if rows := p.rows(table, where); len(rows) > 0 {
		p.t.Errorf("%s has %v, want nothing", table, rows)
	}
}

func (p *place) null(method string, args ...any) {
	p.t.Helper()
	if got := p.npm.call(method, args...); got != nil {
		p.t.Errorf("%s(%v) = %v, want null", method, args, got)
	}
}

func now() time.Time { return time.Now().UTC().Truncate(time.Millisecond) }

// users are checks 1 to 4 and 7.
func (s *suite) users() {
	want := row{"name": "Fill Murray", "email": "fill@murray.com", "image": "https://www.fillmurray.com/460/300", "emailVerified": now()}
	given := row{"id": uuid.NewString()}
	for name, v := range want {
		given[name] = v
	}
	s.user = s.npm.row("createUser", given)
	s.equal("createUser", s.user, want)
	want["id"] = s.user["id"]
	s.equal("the row of createUser", s.one(s.kind.user, row{"id": want["id"]}), want)
	unknown := any(uuid.NewString())
	if s.kind.users != nil && s.numbered() { // what is no id is an error there
		unknown = 999_999
	}
	s.null("getUser", unknown)
	s.equal("getUser", s.npm.row("getUser", want["id"]), want)
	s.null("getUserByEmail", "non-existent-email")
	s.equal("getUserByEmail", s.npm.row("getUserByEmail", want["email"]), want)
	want["name"] = "Updated Name"
	s.equal("updateUser", s.npm.row("updateUser", row{"id": want["id"], "name": want["name"]}), row{"name": want["name"]})
	s.equal("the row of updateUser", s.one(s.kind.user, row{"id": want["id"]}), want)
	s.user = want
}

// sessions are checks 5, 6, 8 and 11.
func (s *suite) sessions() {
	week := now().Add(7 * 24 * time.Hour).Truncate(time.Second)
	want := row{"sessionToken": uuid.NewString(), "userId": s.user["id"], "expires": week}
	at := row{"sessionToken": want["sessionToken"]}
	s.equal("createSession", s.npm.row("createSession", want), want)
	s.equal("the row of createSession", s.one(s.kind.session, at), want)
	s.null("getSessionAndUser", "invalid-token")
	found := s.npm.row("getSessionAndUser", want["sessionToken"])
	s.equal("getSessionAndUser: session", found["session"].(row), want)
	s.equal("getSessionAndUser: user", found["user"].(row), s.user)
	want["expires"] = s.cut(now().Add(30 * 24 * time.Hour))
	s.npm.call("updateSession", row{"sessionToken": want["sessionToken"], "expires": want["expires"]})
	s.equal("the row of updateSession", s.one(s.kind.session, at), want)
	s.npm.call("deleteSession", want["sessionToken"])
	s.none(s.kind.session, at)
	s.session = want
}

// accounts are checks 9, 10, 17, 18 and 20.
func (s *suite) accounts() {
	s.account = row{"userId": s.user["id"], "provider": "github", "providerAccountId": uuid.NewString(), "type": "oauth"}
	for _, name := range tokens {
		s.account[name] = uuid.NewString()
	}
	s.account["expires_at"] = int64(2592000)
	id := s.account["providerAccountId"]
	s.npm.call("linkAccount", s.account)
	at := row{"provider": "github", "providerAccountId": id}
	s.equal("the row of linkAccount", s.one(s.kind.account, at), s.account)
	s.null("getUserByAccount", row{"provider": "invalid-provider", "providerAccountId": "invalid-provider-account-id"})
	s.equal("getUserByAccount", s.npm.row("getUserByAccount", at), s.user)
	if s.kind.authenticator != "" { // those that know passkeys have getAccount
		for _, wrong := range [][]any{{"invalid", "github"}, {id, "invalid"}, {"invalid", "invalid"}} {
			s.null("getAccount", wrong...)
		}
		s.equal("getAccount", s.npm.row("getAccount", id, "github"), s.account)
	}
	s.npm.call("unlinkAccount", at)
	s.none(s.kind.account, at)
}

// links are checks 12 to 16.
func (s *suite) links() {
	link := row{"identifier": "info@example.com", "token": uuid.NewString(), "expires": s.cut(now().Add(15 * time.Minute))}
	key := row{"identifier": link["identifier"], "token": link["token"]}
	s.npm.call("createVerificationToken", link)
	s.equal("the row of createVerificationToken", s.one(s.kind.link, key), link)
	s.null("useVerificationToken", row{"identifier": "other@example.com", "token": link["token"]})
	s.equal("useVerificationToken", s.npm.row("useVerificationToken", key), link)
	s.none(s.kind.link, key)
	s.null("useVerificationToken", key)
}

// passkeys are checks 21 to 24.
func (s *suite) passkeys() {
	if s.kind.authenticator == "" {
		return
	}
	want := row{"credentialID": uuid.NewString(), "userId": s.user["id"], "providerAccountId": uuid.NewString(), "credentialPublicKey": uuid.NewString(),
		"counter": int64(0), "credentialDeviceType": "single-device", "credentialBackedUp": true, "transports": "usb,ble"}
	id := want["credentialID"]
	s.equal("createAuthenticator", s.npm.row("createAuthenticator", want), want)
	s.equal("the row of createAuthenticator", s.one(s.kind.authenticator, row{"credentialID": id}), want)
	s.null("getAuthenticator", "invalid")
	s.equal("getAuthenticator", s.npm.row("getAuthenticator", id), want)
	nobody := any(uuid.NewString())
	if s.numbered() {
		nobody = 999_999
	}
	if got := s.npm.call("listAuthenticatorsByUserId", nobody).([]any); len(got) != 0 {
		s.t.Errorf("listAuthenticatorsByUserId of nobody = %v, want none", got)
	}
	got := s.npm.call("listAuthenticatorsByUserId", s.user["id"]).([]any)
	if len(got) != 1 {
		s.t.Fatalf("listAuthenticatorsByUserId = %v, want one", got)
	}
	s.equal("listAuthenticatorsByUserId", got[0].(row), want)
	if _, err := s.npm.try("updateAuthenticatorCounter", "invalid", 1); err == nil {
		s.t.Error("updateAuthenticatorCounter of an unknown passkey did not fail")
	}
	want["counter"] = int64(1)
	s.equal("updateAuthenticatorCounter", s.npm.row("updateAuthenticatorCounter", id, 1), want)
}

// deletion is check 19.
func (s *suite) deletion() {
	s.npm.call("createSession", s.session)
	s.npm.call("linkAccount", s.account)
	s.npm.call("deleteUser", s.user["id"])
	s.none(s.kind.user, row{"id": s.user["id"]})
	s.none(s.kind.session, row{"userId": s.user["id"]})
	s.none(s.kind.account, row{"userId": s.user["id"]})
	if s.kind.authenticator != "" {
		s.none(s.kind.authenticator, row{"userId": s.user["id"]})
	}
}
