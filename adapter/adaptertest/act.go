package adaptertest

import (
	"errors"
	"fmt"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/record"
)

// stranger is a Write that no adapter knows: only package gatebook can add to
// the interface, but anybody can embed it.
type stranger struct{ gatebook.Write }

// scene is a user with everything, and for each write one that conflicts.
type scene struct {
	w         *world
	u, other  gatebook.CreateUser
	account   gatebook.Account
	session   gatebook.StoredSession
	link      gatebook.VerificationToken
	check     [32]byte
	conflicts []gatebook.Write
	spare     spare // for everything to delete
}

type spare struct {
	account gatebook.Account
	session gatebook.StoredSession
	link    gatebook.VerificationToken
}

func (w *world) scene() *scene {
	w.Helper()
	s := &scene{w: w, u: create(w.user()), other: create(w.user()), link: link(), check: digest()}
	s.account, s.session = account(s.u.User), session(s.u.User)
	s.spare = spare{account(s.u.User), session(s.u.User), link()}
	w.commit(s.u, s.other, gatebook.LinkAccount{Account: s.spare.account},
		gatebook.CreateSession{Session: s.spare.session}, gatebook.CreateVerificationToken{Token: s.spare.link}, gatebook.LinkAccount{Account: s.account}, gatebook.CreateSession{Session: s.session},
		gatebook.CreateVerificationToken{Token: s.link}, gatebook.UseCheck{Digest: s.check, Expires: now})

	sameID, sameEmail, updateEmail := create(w.user()), create(w.user()), s.u.User
	sameID.User.ID, sameEmail.User.Email, updateEmail.Email = s.u.User.ID, s.u.User.Email, s.other.User.Email
	ofNobody, sessionOfNobody := account(w.user()), session(w.user())
	s.conflicts = []gatebook.Write{
		sameID,
		sameEmail,
		gatebook.UpdateUser{User: w.user(), Fields: []string{"name"}},
		gatebook.UpdateUser{User: updateEmail, Fields: []string{"email"}},
		gatebook.DeleteUser{ID: w.newID()},
		gatebook.AddSubject{UserID: s.u.User.ID, Subject: record.NewKey()},
		gatebook.AddSubject{UserID: w.newID(), Subject: record.NewKey()},
		gatebook.LinkAccount{Account: s.account},
		gatebook.LinkAccount{Account: ofNobody},
		gatebook.UnlinkAccount{UserID: s.other.User.ID, AccountKey: key(s.account)},
		gatebook.CreateSession{Session: s.session},
		gatebook.CreateSession{Session: sessionOfNobody},
		gatebook.DeleteSession{Handle: "unknown"},
		gatebook.CreateVerificationToken{Token: s.link},
		gatebook.UseVerificationToken{Identifier: "x" + s.link.Identifier, Hash: s.link.Hash},
		gatebook.UseCheck{Digest: s.check, Expires: now},
	}
	return s
}

// everything returns an act's worth of writes of every kind, none of which
// conflicts, and the query that would find them.
func (s *scene) everything(handle string) ([]gatebook.Write, gatebook.Query) {
	u, renamed := create(s.w.user()), s.other.User
	a, ns, l, d := account(u.User), session(u.User), link(), digest()
	renamed.Name = "renamed"
	return []gatebook.Write{
			u,
			gatebook.LinkAccount{Account: a},
			gatebook.CreateSession{Session: ns},
			gatebook.CreateVerificationToken{Token: l},
			gatebook.UseCheck{Digest: d, Expires: now},
			gatebook.UpdateUser{User: renamed, Fields: []string{"name"}},
			gatebook.UseVerificationToken{Identifier: s.spare.link.Identifier, Hash: s.spare.link.Hash},
			gatebook.UnlinkAccount{UserID: s.u.User.ID, AccountKey: key(s.spare.account)},
			gatebook.DeleteSession{Handle: handle},
		}, gatebook.Query{
			UserID: u.User.ID, Email: u.User.Email, Account: key(a), Session: ns.Token,
			Verification: l.Hash, Check: d,
		}
}

// intact returns a function that fails the test unless the whole scene, and
// what q asks for, is as it is now.
func (w *world) intact(s *scene, q gatebook.Query) func(after string) {
	w.Helper()
	first := w.unchanged(q, s.u.User.ID, s.other.User.ID)
	second := w.unchanged(gatebook.Query{
		UserID: s.u.User.ID, Email: s.other.User.Email, Account: key(s.account), Session: s.session.Token,
		Verification: s.link.Hash, Check: s.check,
	})
	third := w.unchanged(gatebook.Query{
		Account: key(s.spare.account), Session: s.spare.session.Token, Verification: s.spare.link.Hash,
	})
	return func(after string) {
		w.Helper()
		first(after)
		second(after)
		third(after)
	}
}

var actRules = []rule{
	{"whole", "An act carries out all its writes and records all its entries.", func(w *world) {
		s := w.scene()
		writes, q := s.everything(w.handle(s.spare.session.Token))
		entries := []record.Entry{w.entry(s.u.User), w.entry(s.other.User)}
		w.act(&gatebook.Act{Writes: writes, Entries: entries})
		f := w.find(q)
		if f.ByID == nil || f.ByEmail == nil || f.ByAccount == nil || f.Session == nil || f.Verification == nil || !f.CheckUsed {
			w.Errorf("Find after the act = %s, want everything it created", show(f))
		}
		f = w.find(gatebook.Query{
			UserID: s.other.User.ID, Account: key(s.spare.account), Session: s.spare.session.Token,
			Verification: s.spare.link.Hash,
		})
		if f.ByID == nil || f.ByID.User.Name != "renamed" || f.ByAccount != nil || f.Session != nil || f.Verification != nil {
			w.Errorf("Find after the act = %s, want none of what it deleted", show(f))
		}
		if !w.recorded(entries...) {
			w.Errorf("the act's entries are not in the book")
		}
	}},
	{"all or nothing", "When a precondition does not hold everything is rolled back and the error matches ErrConflict.", func(w *world) {
		s := w.scene()
		handle := w.handle(s.spare.session.Token)
		for _, bad := range s.conflicts {
			writes, q := s.everything(handle)
			for _, order := range []struct {
				name   string
				writes []gatebook.Write
			}{
				{"last", append(writes[:len(writes):len(writes)], bad)},
				{"first", append([]gatebook.Write{bad}, writes...)},
				{"alone", []gatebook.Write{bad}},
			} {
				same := w.intact(s, q)
				e := w.entry(s.u.User)
				err := w.a.Commit(w.ctx, &gatebook.Act{Writes: order.writes, Entries: []record.Entry{e}})
				if !errors.Is(err, gatebook.ErrConflict) {
					w.Errorf("Commit with a conflicting %T %s = %v, want an error that matches ErrConflict", bad, order.name, err)
				}
				if w.recorded(e) {
					w.Errorf("Commit with a conflicting %T %s put its entry into the book", bad, order.name)
				}
				same(fmt.Sprintf("Commit with a conflicting %T %s", bad, order.name))
			}
		}
		if got := w.log(); len(got) != 0 {
			w.Errorf("the log has %d entries of acts that conflicted", len(got))
		}
	}},
	{"order of writes", "Writes are carried out in their order.", func(w *world) {
		u := create(w.user())
		a, s := account(u.User), session(u.User)
		w.conflicts("an account before its user", gatebook.LinkAccount{Account: a}, u)
		w.conflicts("a session before its user", gatebook.CreateSession{Session: s}, u)
		first, second := u.User, u.User
		first.Name, second.Name = "first", "second"
		w.commit(u,
			gatebook.LinkAccount{Account: a}, gatebook.UnlinkAccount{UserID: u.User.ID, AccountKey: key(a)},
			gatebook.LinkAccount{Account: a},
			gatebook.UpdateUser{User: first, Fields: []string{"name"}},
			gatebook.UpdateUser{User: second, Fields: []string{"name"}})
		u.User.Name = "second"
		w.found(u)
		w.is("account", w.find(gatebook.Query{Account: key(a)}).ByAccount, u)
	}},
	{"twice in one act", "A write sees those before it in its act: what one used up conflicts in the next.", func(w *world) {
		s := w.scene()
		handle := w.handle(s.session.Token)
		u := create(w.user())
		newLink, newSession, newAccount := link(), session(s.u.User), account(s.u.User)
		same := w.intact(s, gatebook.Query{UserID: u.User.ID})
		for _, wr := range []gatebook.Write{
			u,
			gatebook.DeleteUser{ID: s.u.User.ID},
			gatebook.LinkAccount{Account: newAccount},
			gatebook.UnlinkAccount{UserID: s.u.User.ID, AccountKey: key(s.account)},
			gatebook.CreateSession{Session: newSession},
			gatebook.DeleteSession{Handle: handle},
			gatebook.CreateVerificationToken{Token: newLink},
			gatebook.UseVerificationToken{Identifier: s.link.Identifier, Hash: s.link.Hash},
			gatebook.UseCheck{Digest: digest(), Expires: now},
		} {
			w.conflicts("the same twice", wr, wr)
			same(fmt.Sprintf("the same %T twice in an act", wr))
		}
	}},
	{"entries alone", "An act may have entries and no writes.", func(w *world) {
		entries := []record.Entry{w.entry(w.user())}
		w.act(&gatebook.Act{Entries: entries})
		if !w.recorded(entries...) {
			w.Errorf("the entry is not in the book")
		}
	}},
	{"writes alone", "An act may have writes and no entries.", func(w *world) {
		u := create(w.user())
		w.commit(u)
		w.found(u)
		if got := w.log(); len(got) != 0 {
			w.Errorf("the log has %d entries", len(got))
		}
	}},
	{"empty", "An act without writes and entries is refused.", func(w *world) {
		if err := w.a.Commit(w.ctx, &gatebook.Act{}); err == nil || errors.Is(err, gatebook.ErrConflict) {
			w.Errorf("Commit of an empty act = %v, want an error that is no conflict", err)
		}
	}},
	{"unknown write", "Adapters refuse writes that they do not know; after any error nothing was written.", func(w *world) {
		for name, bad := range map[string]gatebook.Write{
			"a stranger's write": stranger{}, "a wrapped write": stranger{gatebook.UseCheck{Digest: digest(), Expires: now}}, "nil": nil,
		} {
			s := w.scene()
			writes, q := s.everything(w.handle(s.spare.session.Token))
			for _, writes := range [][]gatebook.Write{append(writes, bad), {bad}} {
				same := w.intact(s, q)
				e := w.entry(s.u.User)
				err := w.a.Commit(w.ctx, &gatebook.Act{Writes: writes, Entries: []record.Entry{e}})
				if err == nil || errors.Is(err, gatebook.ErrConflict) {
					w.Errorf("Commit with %s = %v, want an error that is no conflict", name, err)
				}
				if w.recorded(e) {
					w.Errorf("Commit with %s put its entry into the book", name)
				}
				same("Commit with " + name)
			}
		}
	}},
	{"act unchanged", "Commit leaves the act as it was, so that it can be run again.", func(w *world) {
		u := create(w.user())
		u.User.Extra = w.extra("x", nil)
		s := session(u.User)
		e := w.entry(u.User)
		act := &gatebook.Act{Writes: []gatebook.Write{u, gatebook.CreateSession{Session: s}}, Entries: []record.Entry{e}}
		w.act(act)
		if got := act.Writes[1].(gatebook.CreateSession).Session; got != s || len(act.Writes) != 2 || len(act.Entries) != 1 {
			w.Errorf("Commit changed the act")
		}
		if w.opts.NoExtra {
			return
		}
		// Nor may the store hold on to what the caller goes on to change.
		u.User.Extra[TextColumn] = "changed by the caller"
		f := w.find(gatebook.Query{UserID: u.User.ID})
		if got := f.ByID.User.Extra[TextColumn]; got != "x" {
			w.Errorf("the stored user has %v after the caller changed the map given to Commit", got)
		}
		f.ByID.User.Extra[TextColumn] = "changed by the reader"
		if got := w.find(gatebook.Query{UserID: u.User.ID}).ByID.User.Extra[TextColumn]; got != "x" {
			w.Errorf("the stored user has %v after a reader changed the map from Find", got)
		}
	}},
}
