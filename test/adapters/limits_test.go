package adapters

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/adapter/sqlstore"
	"github.com/gatebook/gatebook/record"
)

// exact: Gatebook finds only what is asked for, byte by byte, where the
// database's collation takes other texts for the same.
func exact(s *sites) {
	who := s.newPerson("Zoë", false)
	s.npmWrites(who)
	for _, other := range []func(string) string{strings.ToLower, strings.ToUpper, func(s string) string { return s + " " }, func(s string) string {
		return strings.NewReplacer("o", "ö", "e", "é").Replace(s)
	}} {
		key := gatebook.AccountKey{Provider: "op", ProviderAccountID: other(text(who.account["providerAccountId"]))}
		token := gatebook.Secret(other(text(who.session["sessionToken"])))
		q := gatebook.Query{UserID: other(text(who.user["id"])) + "x", Account: key, Session: token, Email: other("X" + text(who.user["email"])),
			Verification: other("X" + text(who.link["token"]))}
		if id := text(who.passkey["credentialID"]); s.authenticator != "" && other(id) != id {
			q.Credential = other(id)
		}
		f, err := s.store.Find(s.t.Context(), q)
		if err != nil {
			s.t.Fatal(err)
		}
		if diff := cmp.Diff(&gatebook.Found{}, f); diff != "" {
			s.t.Errorf("%+v finds something:\n%s", q, diff)
		}
		if _, err := s.store.Session(s.t.Context(), token); !errors.Is(err, gatebook.ErrNotFound) {
			s.t.Errorf("Session(%q) gives %v, want ErrNotFound", string(token), err)
		}
		if err := s.store.ExtendSession(s.t.Context(), token, now()); !errors.Is(err, gatebook.ErrNotFound) {
			s.t.Errorf("ExtendSession(%q) gives %v, want ErrNotFound", string(token), err)
		}
		for _, w := range []gatebook.Write{
			gatebook.UnlinkAccount{UserID: asID(who.user["id"]), AccountKey: key},
			gatebook.UseVerificationToken{Identifier: text(who.link["identifier"]), Hash: other("X" + text(who.link["token"]))},
		} {
			if err := s.store.Commit(s.t.Context(), &gatebook.Act{Writes: []gatebook.Write{w}}); !errors.Is(err, gatebook.ErrConflict) {
				s.t.Errorf("%+v gives %v, want ErrConflict", w, err)
			}
		}
	}
	s.same(who)
}

// longTokens: what a column for a token holds whole is stored whole; what it
// does not is left out, which the book tells.
func longTokens(s *sites) {
	u, err := s.auth.CreateUser(s.t.Context(), gatebook.User{Email: "ada@example.com"})
	if err != nil {
		s.t.Fatal(err)
	}
	long, wide, late := strings.Repeat("x", 64_000), strings.Repeat("ä", 40_000), int64(4102444800) // 2100-01-01
	want := row{"access_token": long, "refresh_token": wide, "id_token": long, "scope": "openid", "expires_at": late}
	omitted := map[string][]string{
		"drizzle-mysql": {"access_token", "expires_at", "id_token", "refresh_token"}, "prisma-mysql": {"expires_at", "refresh_token"},
		"drizzle-postgres": {"expires_at"}, "prisma-postgres": {"expires_at"},
	}[s.name]
	for _, name := range omitted {
		want[name] = nil
	}
	if err := s.auth.LinkAccount(s.t.Context(), gatebook.Account{UserID: u.ID, Type: "oidc", Provider: "op", ProviderAccountID: "ada",
		AccessToken: gatebook.Secret(long), RefreshToken: gatebook.Secret(wide), IDToken: gatebook.Secret(long), Scope: "openid", ExpiresAt: late}); err != nil {
		s.t.Fatal(err)
	}
	s.equal("the account's row", s.one(s.account, row{"provider": "op"}), want)
	if s.authenticator != "" {
		s.equal("npm's account", s.npm.row("getAccount", "ada", "op"), want)
	}
	var told []string
	for _, e := range s.entries() {
		for _, b := range e.Blocks {
			var p record.TokensOmitted
			if e.Header.Type == "account.tokensOmitted" && b.Class == record.ClassIdentity && b.Decode(&p) == nil {
				told = append(told, p.Fields...)
			}
		}
	}
	if diff := cmp.Diff(omitted, told); diff != "" {
		s.t.Errorf("the book tells of omitted tokens (-want +got):\n%s", diff)
	}
}

// TestDoubles: the tables of @auth/pg-adapter let two rows be for one account,
// address or token. Gatebook refuses to work on them until they cannot, and names
// the doubles that stand in the way.
func TestDoubles(t *testing.T) {
	p := newPlace(t, kinds[0])
	for range 2 {
		p.npm.call("createUser", row{"email": "twice@example.com"})
		p.npm.call("linkAccount", row{"userId": 1, "type": "oauth", "provider": "github", "providerAccountId": "42"})
		p.npm.call("createSession", row{"userId": 1, "sessionToken": "one token, two rows", "expires": now()})
	}
	s := p.newStore()
	refused := func(words ...string) {
		t.Helper()
		err := s.Migrate(t.Context())
		for _, word := range words {
			if err == nil || !strings.Contains(err.Error(), word) {
				t.Errorf("Migrate = %v, want an error with %q", err, word)
			}
		}
		if _, err := s.Find(t.Context(), gatebook.Query{Email: "twice@example.com"}); err == nil {
			t.Error("Gatebook works on tables without unique keys")
		}
	}
	refused("users", "twice@example.com")
	p.exec("DELETE FROM users WHERE id = 2")
	refused("accounts", "github", "42")
	p.exec("DELETE FROM accounts WHERE id = 2")
	refused("sessions")
	p.exec("DELETE FROM sessions WHERE id = 2")
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatalf("Migrate without doubles: %v", err)
	}
	if f, err := s.Find(t.Context(), gatebook.Query{Email: "twice@example.com"}); err != nil || f.ByEmail == nil {
		t.Errorf("after Migrate the user is %v, %v", f, err)
	}
	if _, err := p.npm.try("linkAccount", row{"userId": 1, "type": "oauth", "provider": "github", "providerAccountId": "42"}); err == nil {
		t.Error("npm's adapter can still link an account twice")
	}
}

// finerTimes: a column may be finer than a millisecond; the rest is cut.
func finerTimes(s *sites) {
	if s.name != "pg" && s.name != "drizzle-postgres" {
		return
	}
	who := s.newPerson("Ada", false)
	s.npmWrites(who)
	s.exec(`UPDATE "` + s.session + `" SET expires = '2031-02-03 04:05:06.789999+00'`)
	found, err := s.store.Session(s.t.Context(), gatebook.Secret(text(who.session["sessionToken"])))
	if want := time.Date(2031, 2, 3, 4, 5, 6, 789e6, time.UTC); err != nil || !found.Session.Expires.Equal(want) {
		s.t.Errorf("the session expires at %v, %v, want %v", found, err, want)
	}
}

// timeForms: SQLite leaves it to programs how times are kept, and Prisma kept
// them as numbers before version 7 and keeps them as texts since. Gatebook writes
// what is there, texts where nothing is, and knows from both what has expired.
func timeForms(s *sites) {
	if s.name != "prisma-sqlite" {
		return
	}
	form := func(token any) any {
		return s.one(s.session, row{"sessionToken": token})["form"]
	}
	s.exec(`ALTER TABLE "Session" ADD COLUMN form text GENERATED ALWAYS AS (typeof(expires))`)
	who, other, old := s.newPerson("Ada", true), s.newPerson("Grace", true), s.newPerson("Old", true)
	for _, p := range []*person{who, other, old} {
		p.account["providerAccountId"] = uuid.NewString()
	}
	s.npmWrites(who)
	s.write(other)
	for _, token := range []any{who.session["sessionToken"], other.session["sessionToken"]} {
		if got := form(token); got != "text" {
			s.t.Errorf("a time is written as %v, want text", got)
		}
	}
	s.exec(`UPDATE "Session" SET expires = unixepoch(expires, 'subsec') * 1000 WHERE sessionToken = ?`, who.session["sessionToken"])
	s.same(who)
	s.store = s.newStore()
	s.write(old)
	if got := form(old.session["sessionToken"]); got != "integer" {
		s.t.Errorf("beside numbers a time is written as %v, want integer", got)
	}
	s.same(old)
	for _, ended := range []*person{who, other} {
		found, err := s.store.Expired(s.t.Context(), now())
		if err != nil || len(found) > 0 {
			s.t.Errorf("of sessions that go on are said to have expired: %v, %v", found, err)
		}
		s.npm.call("updateSession", row{"sessionToken": ended.session["sessionToken"], "expires": now().Add(-time.Hour)})
		found, err = s.store.Expired(s.t.Context(), now())
		if err != nil || len(found) != 1 || s.id(found[0].User.ID) != ended.user["id"] {
			s.t.Errorf("expired sessions are %v, %v, want that of %v", found, err, ended.user)
		}
		s.npm.call("deleteSession", ended.session["sessionToken"])
	}
}

// TestStricterTables: the tables of @auth/pg-adapter with the keys that its later
// documentation and @auth/neon-adapter have are as good, and get no second keys.
func TestStricterTables(t *testing.T) {
	p := newPlace(t, kinds[0])
	for _, statement := range []string{
		`ALTER TABLE users ADD UNIQUE (email)`, `ALTER TABLE accounts ADD UNIQUE (provider, "providerAccountId")`,
		`ALTER TABLE sessions ADD UNIQUE ("sessionToken")`, `ALTER TABLE accounts ALTER expires_at TYPE integer`,
		`ALTER TABLE accounts ADD FOREIGN KEY ("userId") REFERENCES users ON DELETE CASCADE`,
		`ALTER TABLE sessions ADD FOREIGN KEY ("userId") REFERENCES users ON DELETE CASCADE`,
	} {
		p.exec(statement)
	}
	p.migrate()
	keys := p.rows("pg_indexes", row{"schemaname": "public"})
	if len(keys) == 0 {
		t.Fatal("no indexes are found")
	}
	for _, key := range keys {
		if def := text(key["indexdef"]); strings.HasPrefix(text(key["indexname"]), "gatebook_") && strings.Contains(def, "UNIQUE") &&
			!strings.HasPrefix(text(key["tablename"]), "gatebook_") {
			t.Errorf("there is a second key: %s", def)
		}
	}
	for _, bare := range []bool{false, true} {
		who := p.newPerson("Ada", bare)
		p.npmWrites(who)
		p.same(who)
		p.gatebookChanges(who)
		p.same(who)
		p.deletes(who)
		who = p.newPerson("Ada", bare)
		p.write(who)
		p.same(who)
		p.npmDeletes(who)
	}
}

// TestIDsGivenAgain: SQLite may give the id of a deleted user to the next one,
// whom the book would take for the other. Gatebook refuses such a table.
func TestIDsGivenAgain(t *testing.T) {
	p := newPlace(t, people("sqlite", sqlstore.Integer))
	p.exec("DROP TABLE people")
	p.exec("CREATE TABLE people (person_id integer PRIMARY KEY, full_name text, mail text UNIQUE, mail_proved integer, picture text, role text)")
	s := p.newStore()
	err := s.Migrate(t.Context())
	if err == nil {
		_, err = s.Find(t.Context(), gatebook.Query{Email: "ada@example.com"})
	}
	if err == nil || !strings.Contains(err.Error(), "AUTOINCREMENT") {
		t.Errorf("Gatebook works on a table that gives ids again: %v, want an error with AUTOINCREMENT", err)
	}
}

// ownUsers: further columns of the application's own table of users that were
// named are read and written by both sides.
func ownUsers(s *sites) {
	if s.users == nil {
		return
	}
	given := s.npm.row("createUser", row{"id": uuid.NewString(), "email": "ada@example.com", "role": "reader"})
	role := func() any {
		f, err := s.store.Find(s.t.Context(), gatebook.Query{Email: "ada@example.com"})
		if err != nil || f.ByEmail == nil {
			s.t.Fatalf("Gatebook finds %v, %v", f, err)
		}
		return f.ByEmail.User.Extra["role"]
	}
	if got := role(); got != "reader" {
		s.t.Errorf("Gatebook reads the role %v, want reader", got)
	}
	if _, err := s.auth.UpdateUser(s.t.Context(), gatebook.User{ID: asID(given["id"]), Extra: map[string]any{"role": "writer"}}, "role"); err != nil {
		s.t.Fatal(err)
	}
	s.equal("the role that Gatebook gave", s.npm.row("getUser", given["id"]), row{"role": "writer", "email": "ada@example.com"})
	s.npm.call("updateUser", row{"id": given["id"], "role": "editor"})
	if got := role(); got != "editor" {
		s.t.Errorf("Gatebook reads the role %v, want editor", got)
	}
}

// housekeeping: of what npm's adapter wrote Gatebook finds what has expired, and
// nothing else.
func housekeeping(s *sites) {
	who, other := s.newPerson("Ada", false), s.newPerson("Grace", false)
	who.account["providerAccountId"], other.account["providerAccountId"] = "ada", "grace"
	past := s.cut(now().Add(-time.Hour))
	who.session["expires"], who.link["expires"] = past, past
	s.npmWrites(who)
	s.npmWrites(other)
	if found, err := s.store.Expired(s.t.Context(), past); err != nil || len(found) > 0 {
		s.t.Errorf("sessions that expired before the first one did: %v, %v", found, err)
	}
	found, err := s.store.Expired(s.t.Context(), now())
	if err != nil || len(found) != 1 || !found[0].Session.Expires.Equal(past) || s.id(found[0].User.ID) != who.user["id"] {
		s.t.Fatalf("expired sessions are %v, %v, want that of %v", found, err, who.user)
	}
	s.commit(gatebook.DeleteSession{Handle: found[0].Session.Handle})
	s.null("getSessionAndUser", who.session["sessionToken"])
	for _, want := range []int{1, 0} {
		if n, err := s.store.Sweep(s.t.Context(), now()); n != want || err != nil {
			s.t.Errorf("Sweep = %d, %v, want %d", n, err, want)
		}
	}
	s.none(s.link, row{"token": who.link["token"]})
	s.same(other)
}

// exec changes rows past both adapters.
func (p *place) exec(statement string, args ...any) {
	p.t.Helper()
	if _, err := p.db.ExecContext(p.t.Context(), statement, args...); err != nil {
		p.t.Fatalf("%s: %v", statement, err)
	}
}
