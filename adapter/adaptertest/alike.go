package adaptertest

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/record"
)

// alikes are texts that a careless comparison takes for one another: by case,
// accents, forms of composition and width, spaces at the ends, and numbers.
var alikes = []string{
	"ren\u00e9", "rene\u0301", "rene", "REN\u00c9", "Ren\u00e9", "ren\u00e9 ", " ren\u00e9", "ren\u00e9\t", "ren\u00e9\u00a0",
	"ren\u00e9\u200b", "\uff52\uff45\uff4e\u00e9", "stra\u00dfe", "strasse", "STRASSE", "\u0131", "i", "I", "\u0130", "\u03c3", "\u03c2",
	"1", "01", "1.0", "1e0", "+1", "true", "NULL", "null", "%", "_", "\\", "'",
}

// broken are texts that not every database can hold.
var broken = []string{
	"a\x00b", "\x00", "end\x00", "\xff", "cut \xe2\x82", "surrogate \xed\xa0\x80", "overlong \xc0\x80",
}

// apart commits the creation of a row whose key looks like that of another, and
// reports whether it is there now.
func (w *world) apart(key string, writes ...gatebook.Write) bool {
	w.Helper()
	err := w.a.Commit(w.ctx, &gatebook.Act{Writes: writes})
	loose := w.opts.LooseKeys
	if err != nil && (!loose || !errors.Is(err, gatebook.ErrConflict)) {
		w.Errorf("Commit(%s) of the free key %+q = %v", kinds(writes), key, err)
	}
	return err == nil
}

var alikeRules = []rule{
	{"accounts", "An account is the pair of provider and account id, kept exactly.", func(w *world) {
		keys := []gatebook.AccountKey{
			{Provider: "p", ProviderAccountID: "abc"}, {Provider: "P", ProviderAccountID: "abc"}, {Provider: "pa", ProviderAccountID: "bc"},
			{Provider: "p ", ProviderAccountID: "abc"}, {Provider: "p", ProviderAccountID: "9007199254740993"},
			{Provider: "p", ProviderAccountID: "9007199254740992"},
		}
		for _, s := range alikes {
			keys = append(keys, gatebook.AccountKey{Provider: "p", ProviderAccountID: s})
		}
		there := make(map[gatebook.AccountKey]gatebook.CreateUser)
		for _, k := range keys {
			u := create(w.user())
			if w.apart(k.Provider+"/"+k.ProviderAccountID, u, gatebook.LinkAccount{Account: gatebook.Account{
				UserID: u.User.ID, Type: gatebook.TypeOAuth, Provider: k.Provider, ProviderAccountID: k.ProviderAccountID,
			}}) {
				there[k] = u
			}
		}
		for _, k := range keys {
			u, ok := there[k]
			switch got := w.find(gatebook.Query{Account: k}).ByAccount; {
			case ok:
				w.is(fmt.Sprintf("the account %+q", k), got, u)
			case got != nil:
				w.Errorf("Find by the account %+q, which nobody has, = %s", k, showUser(got))
			default: // nor is what looks like it unlinked
				for _, u := range there {
					w.conflicts(fmt.Sprintf("the account %+q", k), gatebook.UnlinkAccount{UserID: u.User.ID, AccountKey: k})
				}
			}
		}
	}},
	{"links", "The identifier of a magic link is kept exactly, and so is its hash.", func(w *world) {
		there := make(map[string]gatebook.VerificationToken)
		for _, s := range alikes {
			l := link()
			l.Identifier = s
			w.commit(gatebook.CreateVerificationToken{Token: l}) // its hash is like no other
			there[s] = l
		}
		for _, s := range alikes {
			if got := w.find(gatebook.Query{LinksTo: s}).Links; len(got) != 1 {
				w.Errorf("Find lists %d links to %+q, want 1", len(got), s)
			}
			for other, l := range there {
				if other != s {
					w.conflicts(fmt.Sprintf("a link to %+q, not %+q", other, s), gatebook.UseVerificationToken{Identifier: s, Hash: l.Hash})
				}
			}
		}
		for s, l := range there {
			upper := strings.ToUpper(l.Hash)
			if f := w.find(gatebook.Query{Verification: upper}).Verification; f != nil {
				w.Errorf("Find by a hash in upper case = %v", f)
			}
			w.conflicts("a hash in upper case", gatebook.UseVerificationToken{Identifier: s, Hash: upper})
			w.conflicts("a hash with a space", gatebook.UseVerificationToken{Identifier: s, Hash: l.Hash + " "})
			w.sameLink(w.find(gatebook.Query{Verification: l.Hash}).Verification, l)
			w.commit(gatebook.UseVerificationToken{Identifier: s, Hash: l.Hash})
		}
	}},
	{"sessions", "The token of a session is kept exactly, and so is its handle.", func(w *world) {
		u := create(w.user())
		w.commit(u)
		there := make(map[string]gatebook.StoredSession)
		for _, token := range alikes {
			s := session(u.User)
			s.Token = gatebook.Secret(token)
			if w.apart(token, gatebook.CreateSession{Session: s}) {
				there[token] = s
			}
		}
		for _, token := range alikes {
			s, ok := there[token]
			if !ok {
				if w.opens(gatebook.Secret(token)) || w.find(gatebook.Query{Session: gatebook.Secret(token)}).Session != nil {
					w.Errorf("the token %+q, which none has, opens a session", token)
				}
				if err := w.a.ExtendSession(w.ctx, gatebook.Secret(token), now); !errors.Is(err, gatebook.ErrNotFound) {
					w.Errorf("ExtendSession with the token %+q, which none has, = %v", token, err)
				}
				continue
			}
			w.sameSession(w.session(s.Token).Session, s)
			h := w.handle(s.Token)
			for _, other := range []string{strings.ToUpper(h), h + " ", " " + h} {
				if other != h {
					w.conflicts(fmt.Sprintf("the handle %q", other), gatebook.DeleteSession{Handle: other})
				}
			}
		}
		for token, s := range there {
			w.commit(gatebook.DeleteSession{Handle: w.handle(s.Token)})
			if delete(there, token); w.opens(s.Token) {
				w.Errorf("the deleted session %+q opens", token)
			}
		}
	}},
	{"passkeys", "A credential id is kept exactly.", onPasskeys(func(w *world) {
		u := create(w.user())
		w.commit(u)
		there := make(map[string]gatebook.Authenticator)
		ids := []string{"AbCd", "abcd", "ABCD", "AbCd=", "AbCd ", "AbC", "Ab+d", "Ab/d", "Ab-d", "Ab_d"}
		for _, id := range ids {
			p, _ := passkey(u.User)
			p.CredentialID, p.ProviderAccountID = id, id
			if w.apart(id, gatebook.CreateAuthenticator{Authenticator: p}) {
				there[id] = p
			}
		}
		for _, id := range ids {
			if p, ok := there[id]; ok {
				w.samePasskey(p)
				continue
			}
			if got := w.find(gatebook.Query{Credential: id}).Authenticator; got != nil {
				w.Errorf("Find by the credential %q, which nobody has, = %v", id, got)
			}
			w.conflicts("the credential "+id, gatebook.DeleteAuthenticator{UserID: u.User.ID, CredentialID: id})
			w.conflicts("the credential "+id, gatebook.CountAuthenticator{CredentialID: id, From: 7, To: 8})
		}
		for _, p := range there {
			w.samePasskey(p)
		}
	})},
	{"token sessions", "The sid of a token session is kept exactly.", func(w *world) {
		u := create(w.user())
		note := session(u.User)
		note.Token, note.ID = "", "ab"+note.ID[2:]
		w.commit(u, gatebook.NoteSession{Session: note})
		for _, id := range []string{strings.ToUpper(note.ID), note.ID + " ", " " + note.ID, note.ID[:35]} {
			if f := w.find(gatebook.Query{TokenSession: id}); f.TokenSession != nil || f.Revoked {
				w.Errorf("Find by the sid %q = %v, revoked: %v", id, f.TokenSession, f.Revoked)
			}
		}
		w.commit(gatebook.RevokeToken{ID: strings.ToUpper(note.ID), Expires: now})
		w.sameNote(note)
	}},
	{"users", "The id of a user is kept exactly.", func(w *world) {
		if w.opts.IDs != TextIDs {
			return // the group Ability looks at these
		}
		there := make(map[string]gatebook.CreateUser)
		for _, id := range alikes {
			u := create(w.user())
			u.User.ID = id
			if w.apart(id, u) {
				there[id] = u
			}
		}
		for _, id := range alikes {
			if u, ok := there[id]; ok {
				w.found(u)
				continue
			}
			if f := w.find(gatebook.Query{UserID: id}).ByID; f != nil {
				w.Errorf("Find by the id %+q, which nobody has, = %s", id, showUser(f))
			}
			w.conflicts("the id "+id, gatebook.DeleteUser{ID: id})
			w.conflicts("the id "+id, gatebook.UpdateUser{User: gatebook.User{ID: id, Name: "x"}, Fields: []string{"name"}})
			w.conflicts("the id "+id, gatebook.LinkAccount{Account: account(gatebook.User{ID: id})})
			w.conflicts("the id "+id, gatebook.CreateSession{Session: session(gatebook.User{ID: id})})
		}
		for _, u := range there {
			w.found(u)
		}
	}},
	{"addresses", "E-mail addresses are kept exactly: those that only look alike are different.", func(w *world) {
		there := make(map[string]gatebook.CreateUser)
		for _, s := range alikes {
			if s != strings.ToLower(s) {
				continue // addresses arrive in lower case
			}
			u := create(w.user())
			u.User.Email = s + "@example.com"
			if w.apart(u.User.Email, u) {
				there[u.User.Email] = u
			}
		}
		for _, s := range append(alikes, "ren\u00e9@EXAMPLE.COM", "%@example.com") {
			address := strings.TrimSuffix(s, "@example.com") + "@example.com"
			if u, ok := there[address]; ok {
				w.found(u)
			} else if f := w.find(gatebook.Query{Email: address}).ByEmail; f != nil {
				w.Errorf("Find by the address %+q, which nobody has, = %s", address, showUser(f))
			}
		}
		if len(there) < 2 {
			w.Fatalf("two addresses at least are unlike each other")
		}
		// Nor may a change take what only looks like one's own for one's own.
		list := slices.Sorted(maps.Keys(there))
		next := there[list[0]].User
		next.Email = list[1]
		w.conflicts("the address of another", gatebook.UpdateUser{User: next, Fields: []string{"email"}})
	}},
}

var brokenRules = []rule{
	{"asked", "What cannot be stored does not exist: to ask for it is no error.", func(w *world) {
		w.commit(create(w.user()))
		for _, s := range broken {
			for name, q := range map[string]gatebook.Query{
				"Session": {Session: gatebook.Secret(s)}, "UserID": {UserID: s}, "Email": {Email: s},
				"Account":      {Account: gatebook.AccountKey{Provider: s, ProviderAccountID: s}},
				"Verification": {Verification: s}, "Credential": {Credential: s}, "TokenSession": {TokenSession: s}, "LinksTo": {LinksTo: s},
			} {
				if f, err := w.a.Find(w.ctx, q); err != nil || !nothing(f) {
					w.Errorf("Find with the %s %q = %v, %v; want nothing and no error", name, s, f, err)
				}
			}
			if w.opens(gatebook.Secret(s)) {
				w.Errorf("the token %q opens a session", s)
			}
			if err := w.a.ExtendSession(w.ctx, gatebook.Secret(s), now); !errors.Is(err, gatebook.ErrNotFound) {
				w.Errorf("ExtendSession with the token %q = %v, want an error that matches ErrNotFound", s, err)
			}
		}
	}},
	{"named", "What cannot be stored is not there to be changed: to name it conflicts.", func(w *world) {
		u := create(w.user())
		w.commit(u)
		for _, s := range broken {
			w.conflicts("broken text", gatebook.DeleteSession{Handle: s})
			w.conflicts("broken text", gatebook.AdoptSession{Session: gatebook.StoredSession{Handle: s, ID: uuid(), UserID: u.User.ID}})
			w.conflicts("broken text", gatebook.UseVerificationToken{Identifier: s, Hash: s})
			w.conflicts("broken text", gatebook.UnlinkAccount{UserID: u.User.ID, AccountKey: gatebook.AccountKey{Provider: s, ProviderAccountID: s}})
			w.conflicts("broken text", gatebook.KeepAccount{UserID: u.User.ID, Providers: []string{s}})
		}
		w.found(u)
	}},
	{"written", "Strings with NUL or invalid UTF-8 are refused or kept exactly, never altered.", func(w *world) {
		for _, s := range broken {
			u := create(w.user())
			w.commit(u)
			a, row, note, l := account(u.User), session(u.User), session(u.User), link()
			a.ProviderAccountID, a.Scope = s, s
			row.UserAgent, row.Provider = s, s
			note.Token, note.UserAgent = "", s
			l.Identifier = s
			for _, c := range []struct {
				write gatebook.Write
				same  func()
			}{
				{gatebook.LinkAccount{Account: a}, func() { w.sameAccount(a) }},
				{gatebook.CreateSession{Session: row}, func() { w.sameSession(w.session(row.Token).Session, row) }},
				{gatebook.NoteSession{Session: note}, func() { w.sameNote(note) }},
				{gatebook.CreateVerificationToken{Token: l}, func() { w.sameLink(w.find(gatebook.Query{Verification: l.Hash}).Verification, l) }},
			} {
				e := w.entry(u.User)
				err := w.a.Commit(w.ctx, &gatebook.Act{Writes: []gatebook.Write{c.write}, Entries: []record.Entry{e}})
				w.refusal(err, c.write)
				if err == nil {
					c.same()
				} else if w.recorded(e) {
					w.Errorf("Commit(%T) with %q was refused, but its entry is in the book", c.write, s)
				}
			}
			w.found(u)
		}
	}},
	{"long", "Strings are kept exactly or refused, never cut.", func(w *world) {
		for i, n := range []int{255, 256, 1000, 3000, 65_536} {
			x := string(rune('a' + i))
			u := create(w.user())
			w.commit(u)
			a, row, l := account(u.User), session(u.User), link()
			a.ProviderAccountID = strings.Repeat(x, n)
			row.Token = gatebook.Secret(strings.Repeat(x, n))
			l.Identifier = strings.Repeat(x, n)
			if err := w.fits(gatebook.LinkAccount{Account: a}); err == nil {
				w.sameAccount(a)
			}
			if f := w.find(gatebook.Query{Account: gatebook.AccountKey{Provider: a.Provider, ProviderAccountID: a.ProviderAccountID[:n-1]}}); f.ByAccount != nil {
				w.Errorf("an account id of %d bytes is found by one less", n)
			}
			if err := w.fits(gatebook.CreateSession{Session: row}); err == nil {
				w.sameSession(w.session(row.Token).Session, row)
			}
			if w.opens(row.Token[:n-1]) {
				w.Errorf("a token of %d bytes opens by one less", n)
			}
			if err := w.fits(gatebook.CreateVerificationToken{Token: l}); err == nil {
				w.sameLink(w.find(gatebook.Query{Verification: l.Hash}).Verification, l)
			}
		}
	}},
}

// fits commits a write that the store may refuse.
func (w *world) fits(wr gatebook.Write) error {
	w.Helper()
	err := w.a.Commit(w.ctx, &gatebook.Act{Writes: []gatebook.Write{wr}})
	w.refusal(err, wr)
	return err
}

var columnRules = []rule{
	{"kept", "Declared further columns come back in Extra as they were given; null is absent.", func(w *world) {
		for column, values := range w.opts.Columns {
			for i, v := range values {
				u := create(w.user())
				u.User.Extra = map[string]any{column: v}
				w.commit(u)
				w.column(u.User.ID, column, v)
				next := values[(i+1)%len(values)]
				u.User.Extra[column] = next
				w.commit(gatebook.UpdateUser{User: u.User, Fields: []string{column}})
				w.column(u.User.ID, column, next)
				u.User.Extra[column] = nil
				w.commit(gatebook.UpdateUser{User: u.User, Fields: []string{column}})
				w.column(u.User.ID, column, nil)
			}
		}
	}},
	{"everywhere", "Further columns come with the user wherever the user comes.", func(w *world) {
		if w.opts.NoExtra {
			return
		}
		u := create(w.user())
		u.User.Extra = w.extra("Countess", int64(38))
		a, s := account(u.User), session(u.User)
		w.commit(u, gatebook.LinkAccount{Account: a}, gatebook.CreateSession{Session: s})
		f := w.find(gatebook.Query{UserID: u.User.ID, Email: u.User.Email, Account: key(a), Session: s.Token})
		w.is("id", f.ByID, u)
		w.is("e-mail", f.ByEmail, u)
		w.is("account", f.ByAccount, u)
		w.is("session", &f.Session.FoundUser, u)
		w.is("session", &w.session(s.Token).FoundUser, u)
	}},
	{"unknown", "CreateUser refuses columns that the table has not, and leaves nothing.", func(w *world) {
		for _, column := range []string{"nosuchcolumn", "", `x" = 1, "y`, "id", "password"} {
			u := create(w.user())
			u.User.Extra = map[string]any{column: "x"}
			err := w.a.Commit(w.ctx, &gatebook.Act{Writes: []gatebook.Write{u}})
			got := w.find(gatebook.Query{UserID: u.User.ID}).ByID
			switch {
			case errors.Is(err, gatebook.ErrConflict):
				w.Errorf("CreateUser with the column %q = %v, want an error that is no conflict", column, err)
			case err == nil && (got == nil || got.User.Extra[column] != "x"): // a store without columns may keep all
				w.Errorf("CreateUser with the column %q lost it", column)
			case err != nil && got != nil:
				w.Errorf("CreateUser with the column %q = %v, but the user is there", column, err)
			}
		}
	}},
}

// column wants the user to have the value in the column; nil is absent.
func (w *world) column(id, column string, want any) {
	w.Helper()
	f := w.find(gatebook.Query{UserID: id}).ByID
	if f == nil {
		w.Fatalf("the user is not there")
	}
	got, ok := f.User.Extra[column]
	if !reflect.DeepEqual(got, want) || ok != (want != nil) {
		w.Errorf("Extra[%q] = %#v (there: %v), want %#v", column, got, ok, want)
	}
}
