package adaptertest

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/record"
)

// orderRules are about acts that write several rows that others write too, in
// whatever order. Those that get into each other's way may conflict.
var orderRules = []rule{
	{"opposite", "Acts that write the same rows in opposite orders are carried out or conflict, and nothing is half written.", func(w *world) {
		var users []gatebook.CreateUser
		for range 5 {
			users = append(users, create(w.user()))
			w.commit(users[len(users)-1])
		}
		acts := make([]*gatebook.Act, racers)
		touched := make(map[string][]int) // by entry
		for i := range acts {
			e := w.entry(users[0].User)
			acts[i] = &gatebook.Act{Entries: []record.Entry{e}}
			for step := range 3 { // any three of five, in any direction
				n := (i + step*(1+i/5%4)) % len(users)
				next := users[n].User
				next.Name = e.ID
				acts[i].Writes = append(acts[i].Writes, gatebook.UpdateUser{User: next, Fields: []string{"name"}})
				touched[e.ID] = append(touched[e.ID], n)
			}
		}
		var done []string
		w.together(len(acts), func(i int) error { return w.a.Commit(w.ctx, acts[i]) }, func(i int, err error) {
			switch {
			case err == nil:
				done = append(done, acts[i].Entries[0].ID)
			case !isConflict(err):
				w.Errorf("Commit = %v, want nil or an error that matches ErrConflict", err)
			}
		})
		// The log tells which act wrote each row last.
		log := w.log()
		for _, id := range log {
			for _, n := range touched[id] {
				users[n].User.Name = id
			}
		}
		for _, u := range users {
			w.found(u)
		}
		if slices.Sort(done); len(done) == 0 || !slices.Equal(done, slices.Sorted(slices.Values(log))) {
			w.Errorf("%d acts were carried out and %d are in the log; want the same, and one at least", len(done), len(log))
		}
	}},
	{"swap", "Acts that take from one another in opposite orders are carried out or conflict, and nothing is half written.", func(w *world) {
		for range 10 {
			u, other := create(w.user()), create(w.user())
			a, b := account(u.User), account(other.User)
			s, t := session(u.User), session(other.User)
			w.commit(u, other, gatebook.LinkAccount{Account: a}, gatebook.LinkAccount{Account: b},
				gatebook.CreateSession{Session: s}, gatebook.CreateSession{Session: t})
			endS, endT := gatebook.DeleteSession{Handle: w.handle(s.Token)}, gatebook.DeleteSession{Handle: w.handle(t.Token)}
			acts := []*gatebook.Act{
				{Writes: []gatebook.Write{unlink(a), endT, unlink(b), endS}}, {Writes: []gatebook.Write{endS, unlink(b), endT, unlink(a)}},
				{Writes: []gatebook.Write{unlink(b), endS, unlink(a), endT}}, {Writes: []gatebook.Write{endT, unlink(a), endS, unlink(b)}},
			}
			done := 0
			w.together(len(acts), func(i int) error { return w.a.Commit(w.ctx, acts[i]) }, func(_ int, err error) {
				if err == nil {
					done++
				} else if !isConflict(err) {
					w.Errorf("Commit = %v, want nil or an error that matches ErrConflict", err)
				}
			})
			there := []bool{
				w.opens(s.Token), w.opens(t.Token),
				w.find(gatebook.Query{Account: key(a)}).ByAccount != nil, w.find(gatebook.Query{Account: key(b)}).ByAccount != nil,
			}
			if done > 1 || slices.Contains(there, done == 1) {
				w.Errorf("%d of the acts were carried out; sessions and accounts are there: %v", done, there)
			}
		}
	}},
	{"users deleted", "Acts that delete users while others write to them leave no orphan.", func(w *world) {
		for range 4 {
			heir := create(w.user())
			users := []gatebook.CreateUser{create(w.user()), create(w.user()), create(w.user())}
			w.commit(heir, users[0], users[1], users[2])
			type rows struct {
				account gatebook.Account
				session gatebook.StoredSession
				passkey gatebook.Authenticator
			}
			mine := make([]rows, racers)
			w.together(racers, func(i int) error {
				u, other := users[i%3].User, users[(i+1)%3].User
				if i%16 == 7 {
					return w.again(gatebook.DeleteUser{ID: u.ID}, gatebook.DeleteUser{ID: other.ID})
				}
				p, _ := passkey(other)
				mine[i] = rows{account(u), session(other), p}
				writes := []gatebook.Write{gatebook.LinkAccount{Account: mine[i].account}, gatebook.CreateSession{Session: mine[i].session}}
				if !w.opts.NoPasskeys {
					writes = append(writes, gatebook.CreateAuthenticator{Authenticator: p})
				}
				return w.again(writes...)
			}, func(_ int, err error) {
				if err != nil && !isConflict(err) {
					w.Errorf("Commit = %v, want nil or an error that matches ErrConflict", err)
				}
			})
			for _, u := range users {
				if w.find(gatebook.Query{UserID: u.User.ID}).ByID != nil {
					w.commit(gatebook.DeleteUser{ID: u.User.ID})
				}
			}
			// An orphan would keep the heir from what it has the key of.
			for _, r := range mine {
				if r.session.Token == "" {
					continue
				}
				r.account.UserID, r.session.UserID, r.passkey.UserID = heir.User.ID, heir.User.ID, heir.User.ID
				w.commit(gatebook.LinkAccount{Account: r.account}, gatebook.CreateSession{Session: r.session})
				if !w.opts.NoPasskeys {
					w.commit(gatebook.CreateAuthenticator{Authenticator: r.passkey})
				}
			}
			for _, u := range users {
				rows, err := w.a.Sessions(w.ctx, u.User.ID)
				if n := len(w.accounts(u.User.ID)) + len(w.passkeys(u.User.ID)) + len(rows); n != 0 || err != nil {
					w.Errorf("a deleted user has %d rows, %v", n, err)
				}
			}
		}
	}},
	{"first sign-in", "Of a person's two first sign-ins at once one makes the user; the other conflicts, reads again and finds that user.", func(w *world) {
		for range 10 {
			k := gatebook.AccountKey{Provider: "github", ProviderAccountID: uuid()}
			address := uuid() + "@example.com"
			sessions := make([]gatebook.StoredSession, 2)
			made := make([]bool, 2)
			var fresh [2]gatebook.User
			for i := range fresh {
				fresh[i] = w.user()
				fresh[i].Email = address
			}
			w.together(2, func(i int) (err error) {
				for range 4 {
					f, err := w.a.Find(w.ctx, gatebook.Query{Account: k, Email: address})
					if err != nil {
						return err
					}
					var writes []gatebook.Write
					u := fresh[i]
					if made[i] = f.ByAccount == nil; made[i] {
						a := account(u)
						a.ProviderAccountID = k.ProviderAccountID
						writes = []gatebook.Write{create(u), gatebook.LinkAccount{Account: a}}
					} else {
						u = f.ByAccount.User
					}
					sessions[i] = session(u)
					err = w.a.Commit(w.ctx, &gatebook.Act{Writes: append(writes, gatebook.CreateSession{Session: sessions[i]})})
					if !isConflict(err) {
						return err
					}
				}
				return errors.New("conflicted four times")
			}, func(i int, err error) {
				if err != nil {
					w.Errorf("sign-in %d: %v", i, err)
				}
			})
			first, second := w.session(sessions[0].Token), w.session(sessions[1].Token)
			if first.User.ID != second.User.ID || made[0] == made[1] {
				w.Errorf("two first sign-ins at once made %v users, %q and %q", made, first.User.ID, second.User.ID)
			}
		}
	}},
	{"behind a lock", "Entries are numbered under the locks of the rows that the act wrote: one that waits comes after the one it waits for.", onSQL(func(w *world, _ *sql.DB) {
		u := create(w.user())
		w.commit(u)
		named := func() *gatebook.Act {
			e, next := w.entry(u.User), u.User
			next.Name = e.ID
			return &gatebook.Act{
				Writes:  []gatebook.Write{gatebook.UpdateUser{User: next, Fields: []string{"name"}}},
				Entries: []record.Entry{e},
			}
		}
		first := named()
		var later []*gatebook.Act
		for range 8 {
			later = append(later, named())
		}
		var wg sync.WaitGroup
		first.InTx = func(context.Context, *sql.Tx) error {
			for _, act := range later {
				wg.Go(func() {
					if err := w.a.Commit(w.ctx, act); err != nil {
						w.Errorf("Commit of an act that waits = %v", err)
					}
				})
			}
			<-time.After(100 * time.Millisecond) // so that all wait
			return nil
		}
		w.act(first)
		wg.Wait()
		got := w.log()
		if len(got) != 9 || got[0] != first.Entries[0].ID {
			w.Fatalf("the log = %q, want nine entries, the first of %s", got, first.Entries[0].ID)
		}
		u.User.Name = got[8]
		w.found(u)
	})},
}
