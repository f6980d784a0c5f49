package adaptertest

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/record"
)

// found wants u by each of its keys.
func (w *world) found(u gatebook.CreateUser) {
	w.Helper()
	f := w.find(gatebook.Query{UserID: u.User.ID, Email: u.User.Email})
	w.is("id", f.ByID, u)
	if u.User.Email != "" {
		w.is("e-mail", f.ByEmail, u)
	}
}

// keepsOrRefuses commits writes, of which Find gives back what show wants. A
// store that cannot hold them may refuse.
func (w *world) keepsOrRefuses(what string, u gatebook.CreateUser) {
	w.Helper()
	e := w.entry(w.user())
	err := w.a.Commit(w.ctx, &gatebook.Act{Writes: []gatebook.Write{u}, Entries: []record.Entry{e}})
	switch {
	case err == nil:
		f := w.find(gatebook.Query{UserID: u.User.ID, Email: u.User.Email})
		for by, got := range map[string]*gatebook.FoundUser{"id": f.ByID, "e-mail": f.ByEmail} {
			if got == nil {
				w.Errorf("a user with %s is not found by %s", what, by)
				continue
			}
			for field, pair := range map[string][2]string{
				"id":    {got.User.ID, u.User.ID},
				"name":  {got.User.Name, u.User.Name},
				"email": {got.User.Email, u.User.Email},
				"image": {got.User.Image, u.User.Image},
				TextColumn: {
					fmt.Sprint(got.User.Extra[TextColumn]), fmt.Sprint(u.User.Extra[TextColumn]),
				},
			} {
				if pair[0] != pair[1] {
					w.Errorf("%s with %s came back as %.120q (%d bytes), want %.120q (%d bytes)",
						field, what, pair[0], len(pair[0]), pair[1], len(pair[1]))
				}
			}
		}
	case w.recorded(e):
		w.Errorf("Commit of %s was refused, but its entry is in the book", what)
	}
	w.refusal(err, u)
}

func (w *world) textUser(s string) gatebook.CreateUser {
	w.Helper()
	u := w.user()
	u.Name, u.Email, u.Image, u.Extra = s, uuid()+s+"@example.com", "https://example.com/"+s, w.extra(s, nil)
	if w.opts.IDs == TextIDs {
		u.ID += s
	}
	return create(u)
}

// fields returns the names of all fields that an update can overwrite.
func (w *world) fields() []string {
	fields := []string{"image", "emailVerified", "email", "name"}
	for column := range w.extra(nil, nil) {
		fields = append(fields, column)
	}
	return fields
}

var userRules = []rule{
	{"kept", "A created user comes back as it was given, with its subject key.", func(w *world) {
		u := create(w.user())
		u.User.Extra = w.extra("Countess", int64(38))
		w.commit(u)
		w.found(u)
		f := w.find(gatebook.Query{UserID: u.User.ID}).ByID
		if got := f.User.EmailVerified; got.Location() != time.UTC {
			w.Errorf("emailVerified is in %v, want UTC", got.Location())
		}
	}},
	{"null", "Empty strings and zero times stand for null: many users may have no address.", func(w *world) {
		for range 3 {
			u := create(gatebook.User{ID: w.newID()})
			w.commit(u)
			w.found(u)
		}
	}},
	{"no subject", "The subject key is zero while the book has not met a user.", func(w *world) {
		u := gatebook.CreateUser{User: w.user()}
		w.commit(u)
		w.found(u)
	}},
	{"Unicode", "Strings are kept exactly.", func(w *world) {
		for _, s := range []string{
			"Grace Ωmega 龍 🗝️", "e\u0301 is not \u00e9", "\u202eright to left", " spaces ", "tab\tline\nreturn\r",
			`quote ' double " back \ percent % under _ question ? dollar $1 colon :a`, "'; DROP TABLE user; --",
			"\ufeffmark", "\U0010ffff", "<b>&amp;", "null",
		} {
			w.keepsOrRefuses(fmt.Sprintf("%q", s), w.textUser(s))
		}
	}},
	{"long", "Strings are kept exactly or refused, never cut.", func(w *world) {
		for _, n := range []int{255, 256, 65_535, 65_536, 1 << 20} {
			u := create(w.user())
			u.User.Name = strings.Repeat("é", n/2) + strings.Repeat("x", n%2)
			u.User.Image = "https://example.com/" + strings.Repeat("i", n)
			u.User.Extra = w.extra(strings.Repeat("n", n), nil)
			w.keepsOrRefuses(fmt.Sprintf("%d bytes", n), u)
		}
		u := create(w.user())
		u.User.ID, u.User.Email = strings.Repeat("1", 2000), strings.Repeat("a", 2000)+"@example.com"
		w.keepsOrRefuses("an id and an address of 2,000 bytes", u)
	}},
	{"broken", "Strings with NUL or invalid UTF-8 are refused or kept exactly, never altered.", func(w *world) {
		for _, s := range broken {
			w.keepsOrRefuses(fmt.Sprintf("%q", s), w.textUser(s))
		}
	}},
	{"id taken", "CreateUser conflicts when the id is taken.", func(w *world) {
		u, other := create(w.user()), create(w.user())
		w.commit(u)
		other.User.ID = u.User.ID
		same := w.unchanged(gatebook.Query{UserID: u.User.ID, Email: other.User.Email})
		w.conflicts("a taken id", other)
		same("the conflict")
	}},
	{"e-mail taken", "CreateUser conflicts when the e-mail address is taken.", func(w *world) {
		u, other := create(w.user()), create(w.user())
		w.commit(u)
		other.User.Email = u.User.Email
		same := w.unchanged(gatebook.Query{UserID: other.User.ID, Email: u.User.Email})
		w.conflicts("a taken address", other)
		same("the conflict")
	}},
	{"update", "UpdateUser overwrites the named fields and no others.", func(w *world) {
		for field, change := range map[string]func(to, from *gatebook.User){
			"name":          func(to, from *gatebook.User) { to.Name = from.Name },
			"email":         func(to, from *gatebook.User) { to.Email = from.Email },
			"image":         func(to, from *gatebook.User) { to.Image = from.Image },
			"emailVerified": func(to, from *gatebook.User) { to.EmailVerified = from.EmailVerified },
			TextColumn:      func(to, from *gatebook.User) { to.Extra[TextColumn] = from.Extra[TextColumn] },
			NumberColumn:    func(to, from *gatebook.User) { to.Extra[NumberColumn] = from.Extra[NumberColumn] },
		} {
			u, bystander := create(w.user()), create(w.user())
			if w.opts.NoExtra && (field == TextColumn || field == NumberColumn) {
				continue
			}
			u.User.Extra = w.extra("before", int64(1))
			w.commit(u, bystander)
			next := w.user()
			next.ID, next.EmailVerified = u.User.ID, now.Add(time.Hour+time.Millisecond)
			next.Extra = w.extra("after", int64(2))
			w.commit(gatebook.UpdateUser{User: next, Fields: []string{field}})
			gone := u.User.Email
			change(&u.User, &next)
			w.found(u)
			w.found(bystander)
			if field == "email" {
				if f := w.find(gatebook.Query{Email: gone}); f.ByEmail != nil {
					w.Errorf("the address from before the change still finds %s", showUser(f.ByEmail))
				}
			}
		}
	}},
	{"update all", "UpdateUser overwrites several fields at once.", func(w *world) {
		u := create(w.user())
		w.commit(u)
		id := u.User.ID
		u.User = w.user()
		u.User.ID, u.User.Extra = id, w.extra("Ada", int64(40))
		w.commit(gatebook.UpdateUser{User: u.User, Fields: w.fields()})
		w.found(u)
	}},
	{"update to null", "UpdateUser with empty values makes the fields null.", func(w *world) {
		for range 2 {
			u := create(w.user())
			u.User.Extra = w.extra("x", int64(3))
			w.commit(u)
			u.User = gatebook.User{ID: u.User.ID, Extra: w.extra(nil, nil)}
			w.commit(gatebook.UpdateUser{User: u.User, Fields: w.fields()})
			w.found(u)
		}
	}},
	{"update nobody", "UpdateUser conflicts when the user does not exist, whatever the fields.", func(w *world) {
		for _, fields := range [][]string{{"name"}, {"email"}, w.fields(), nil} {
			u := w.user()
			u.Extra = w.extra("x", nil)
			w.conflicts("an unknown user", gatebook.UpdateUser{User: u, Fields: fields})
			if f := w.find(gatebook.Query{UserID: u.ID, Email: u.Email}); f.ByID != nil || f.ByEmail != nil {
				w.Errorf("the conflict created %s", show(f))
			}
		}
	}},
	{"update to taken", "UpdateUser conflicts when a new e-mail address is taken; one's own is not.", func(w *world) {
		u, other := create(w.user()), create(w.user())
		w.commit(u, other)
		next := u.User
		next.Email, next.Name = other.User.Email, "changed"
		w.conflicts("a taken address", gatebook.UpdateUser{User: next, Fields: []string{"name", "email"}})
		w.found(u)
		w.found(other)
		u.User.Name = "changed"
		w.commit(gatebook.UpdateUser{User: u.User, Fields: []string{"name", "email"}})
		w.found(u)
	}},
	{"update of what", "UpdateUser refuses fields that it does not know.", func(w *world) {
		u := create(w.user())
		w.commit(u)
		for _, field := range []string{"id", "", "nosuchcolumn", `name" = 'x', "image`, "Name"} {
			next := u.User
			next.Name = "changed"
			err := w.a.Commit(w.ctx, &gatebook.Act{Writes: []gatebook.Write{
				gatebook.UpdateUser{User: next, Fields: []string{field}},
			}})
			if err == nil || errors.Is(err, gatebook.ErrConflict) {
				w.Errorf("UpdateUser of the field %q = %v, want an error that is no conflict", field, err)
			}
		}
		w.found(u)
	}},
	{"delete", "DeleteUser takes the user's accounts and sessions, and nobody else's.", func(w *world) {
		u, other := create(w.user()), create(w.user())
		a1, a2, a3 := account(u.User), account(u.User), account(other.User)
		a2.Provider = "google"
		s1, s2, s3 := session(u.User), session(u.User), session(other.User)
		w.commit(u, other, gatebook.LinkAccount{Account: a1}, gatebook.LinkAccount{Account: a2},
			gatebook.LinkAccount{Account: a3}, gatebook.CreateSession{Session: s1},
			gatebook.CreateSession{Session: s2}, gatebook.CreateSession{Session: s3})
		w.commit(gatebook.DeleteUser{ID: u.User.ID})
		f := w.find(gatebook.Query{UserID: u.User.ID, Email: u.User.Email, Account: key(a1), Session: s1.Token})
		if !nothing(f) || w.find(gatebook.Query{Account: key(a2)}).ByAccount != nil {
			w.Errorf("a deleted user is still found: %s", show(f))
		}
		if w.opens(s1.Token) || w.opens(s2.Token) {
			w.Errorf("a session of a deleted user still opens")
		}
		if rows, err := w.a.Sessions(w.ctx, u.User.ID); err != nil || len(rows) != 0 {
			w.Errorf("Sessions of a deleted user = %d rows, %v", len(rows), err)
		}
		w.found(other)
		if !w.opens(s3.Token) || w.find(gatebook.Query{Account: key(a3)}).ByAccount == nil {
			w.Errorf("deleting one user took the session or account of another")
		}
	}},
	{"delete frees", "What a deleted user had, address and accounts, is free again.", func(w *world) {
		u, next := create(w.user()), create(w.user())
		a := account(u.User)
		w.commit(u, gatebook.LinkAccount{Account: a})
		next.User.Email = u.User.Email
		b := a
		b.UserID = next.User.ID
		w.commit(gatebook.DeleteUser{ID: u.User.ID}, next, gatebook.LinkAccount{Account: b})
		w.found(next)
		w.is("account", w.find(gatebook.Query{Account: key(a)}).ByAccount, next)
	}},
	{"delete keeps the key", "A deleted user's subject key stays: the id takes no other until the person is erased.", func(w *world) {
		u := create(w.user())
		w.commit(u)
		w.commit(gatebook.DeleteUser{ID: u.User.ID})
		again := create(w.user())
		again.User.ID = u.User.ID
		w.conflicts("the id of a deleted user with a new subject key", again)
	}},
	{"delete nobody", "DeleteUser conflicts when the user does not exist.", func(w *world) {
		w.conflicts("an unknown user", gatebook.DeleteUser{ID: w.newID()})
		u := create(w.user())
		w.commit(u)
		w.commit(gatebook.DeleteUser{ID: u.User.ID})
		w.conflicts("a deleted user", gatebook.DeleteUser{ID: u.User.ID})
	}},
	{"subject", "AddSubject stores the key of a user that has none.", func(w *world) {
		u := gatebook.CreateUser{User: w.user()}
		w.commit(u)
		u.Subject = record.NewKey()
		w.commit(gatebook.AddSubject{UserID: u.User.ID, Subject: u.Subject})
		w.found(u)
	}},
	{"subject taken", "AddSubject conflicts when the user has a key already.", func(w *world) {
		u := create(w.user())
		w.commit(u)
		w.conflicts("a user with a key", gatebook.AddSubject{UserID: u.User.ID, Subject: record.NewKey()})
		w.conflicts("the key the user has", gatebook.AddSubject{UserID: u.User.ID, Subject: u.Subject})
		w.found(u)
	}},
	{"subject of nobody", "AddSubject conflicts when the user does not exist.", func(w *world) {
		id := w.newID()
		w.conflicts("an unknown user", gatebook.AddSubject{UserID: id, Subject: record.NewKey()})
		u := create(w.user())
		u.User.ID = id
		w.commit(u)
		w.found(u)
	}},
}
