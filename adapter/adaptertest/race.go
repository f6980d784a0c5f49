package adaptertest

import (
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/record"
)

const racers = 64

// together runs act n times at once and then gives each outcome to see.
func (w *world) together(n int, act func(i int) error, see func(i int, err error)) {
	w.Helper()
	errs := make([]error, n)
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			<-start
			errs[i] = act(i)
		})
	}
	close(start)
	wg.Wait()
	for i, err := range errs {
		see(i, err)
	}
}

// oneWins runs the acts of write at once and wants one to succeed, all others
// to conflict, and only the winner's entry in the book.
func (w *world) oneWins(write func(i int) []gatebook.Write) int {
	w.Helper()
	var acts []*gatebook.Act
	for i := range racers {
		acts = append(acts, &gatebook.Act{Writes: write(i), Entries: []record.Entry{w.entry(w.user())}})
	}
	winner, winners := -1, 0
	w.together(racers, func(i int) error { return w.a.Commit(w.ctx, acts[i]) }, func(i int, err error) {
		switch {
		case err == nil:
			winner = i
			winners++
		case !errors.Is(err, gatebook.ErrConflict):
			w.Errorf("Commit of a racer = %v, want nil or an error that matches ErrConflict", err)
		}
	})
	if winners != 1 {
		w.Fatalf("%d of %d racers succeeded, want exactly one", winners, racers)
	}
	if got, want := w.log(), ids(acts[winner].Entries); !slices.Equal(got, want) {
		w.Errorf("the log has %d entries; want the winner's alone", len(got))
	}
	return winner
}

var raceRules = []rule{
	{"link", "Of concurrent acts that use one verification token exactly one succeeds.", func(w *world) {
		l := link()
		w.commit(gatebook.CreateVerificationToken{Token: l})
		w.oneWins(func(int) []gatebook.Write {
			return []gatebook.Write{gatebook.UseVerificationToken{Identifier: l.Identifier, Hash: l.Hash}}
		})
	}},
	{"link and more", "Of concurrent acts that use one verification token last exactly one leaves its writes.", func(w *world) {
		l := link()
		w.commit(gatebook.CreateVerificationToken{Token: l})
		var users []gatebook.CreateUser
		for range racers {
			users = append(users, create(w.user()))
		}
		winner := w.oneWins(func(i int) []gatebook.Write {
			return []gatebook.Write{users[i], gatebook.UseVerificationToken{Identifier: l.Identifier, Hash: l.Hash}}
		})
		for i, u := range users {
			if found := w.find(gatebook.Query{UserID: u.User.ID}).ByID != nil; found != (i == winner) {
				w.Errorf("the user of racer %d is there: %v, racer won: %v", i, found, i == winner)
			}
		}
	}},
	{"check", "Of concurrent acts that use one check exactly one succeeds.", func(w *world) {
		d := digest()
		w.oneWins(func(int) []gatebook.Write { return []gatebook.Write{gatebook.UseCheck{Digest: d, Expires: now}} })
	}},
	{"account", "Of concurrent acts that link one account exactly one succeeds.", func(w *world) {
		users := make([]gatebook.CreateUser, racers)
		var writes []gatebook.Write
		for i := range users {
			users[i] = create(w.user())
			writes = append(writes, users[i])
		}
		w.commit(writes...)
		a := account(gatebook.User{})
		winner := w.oneWins(func(i int) []gatebook.Write {
			mine := a
			mine.UserID = users[i].User.ID
			return []gatebook.Write{gatebook.LinkAccount{Account: mine}}
		})
		w.is("account", w.find(gatebook.Query{Account: key(a)}).ByAccount, users[winner])
	}},
	{"e-mail", "Of concurrent acts that create a user with one e-mail address exactly one succeeds.", func(w *world) {
		address := uuid() + "@example.com"
		users := make([]gatebook.CreateUser, racers)
		winner := w.oneWins(func(i int) []gatebook.Write {
			users[i] = create(w.user())
			users[i].User.Email = address
			a := account(users[i].User)
			return []gatebook.Write{users[i], gatebook.LinkAccount{Account: a}}
		})
		w.found(users[winner])
		for i, u := range users {
			if i != winner && w.find(gatebook.Query{UserID: u.User.ID}).ByID != nil {
				w.Errorf("a loser's user is there")
			}
		}
	}},
	{"change of e-mail", "Of concurrent acts that change to one e-mail address exactly one succeeds.", func(w *world) {
		address := uuid() + "@example.com"
		users := make([]gatebook.CreateUser, racers)
		var writes []gatebook.Write
		for i := range users {
			users[i] = create(w.user())
			writes = append(writes, users[i])
		}
		w.commit(writes...)
		winner := w.oneWins(func(i int) []gatebook.Write {
			next := users[i].User
			next.Email = address
			return []gatebook.Write{gatebook.UpdateUser{User: next, Fields: []string{"email"}}}
		})
		users[winner].User.Email = address
		for _, u := range users {
			w.found(u)
		}
	}},
	{"session", "Of concurrent acts that create a session of one token exactly one succeeds.", func(w *world) {
		u := create(w.user())
		w.commit(u)
		s := session(u.User)
		w.oneWins(func(i int) []gatebook.Write {
			mine := s
			mine.ID = uuid()
			return []gatebook.Write{gatebook.CreateSession{Session: mine}}
		})
	}},
	{"end of session", "Of concurrent acts that delete one session exactly one succeeds.", func(w *world) {
		u := create(w.user())
		s := session(u.User)
		w.commit(u, gatebook.CreateSession{Session: s})
		h := w.handle(s.Token)
		w.oneWins(func(int) []gatebook.Write { return []gatebook.Write{gatebook.DeleteSession{Handle: h}} })
	}},
	{"subject", "Of concurrent acts that add one user's subject key exactly one succeeds.", func(w *world) {
		u := gatebook.CreateUser{User: w.user()}
		w.commit(u)
		keys := make([]record.Key, racers)
		winner := w.oneWins(func(i int) []gatebook.Write {
			keys[i] = record.NewKey()
			return []gatebook.Write{gatebook.AddSubject{UserID: u.User.ID, Subject: keys[i]}}
		})
		u.Subject = keys[winner]
		w.found(u)
	}},
	{"end of user", "Of concurrent acts that delete one user exactly one succeeds.", func(w *world) {
		u := create(w.user())
		w.commit(u)
		w.oneWins(func(int) []gatebook.Write { return []gatebook.Write{gatebook.DeleteUser{ID: u.User.ID}} })
	}},
	{"sign-in and end of user", "A session or account created while its user is deleted is gone with the user, or conflicts.", func(w *world) {
		for range 4 {
			u := create(w.user())
			w.commit(u)
			sessions := make([]gatebook.StoredSession, racers)
			accounts := make([]gatebook.Account, racers)
			w.together(racers, func(i int) error {
				sessions[i], accounts[i] = session(u.User), account(u.User)
				if i == racers/2 {
					return w.a.Commit(w.ctx, &gatebook.Act{Writes: []gatebook.Write{gatebook.DeleteUser{ID: u.User.ID}}})
				}
				return w.a.Commit(w.ctx, &gatebook.Act{Writes: []gatebook.Write{
					gatebook.LinkAccount{Account: accounts[i]}, gatebook.CreateSession{Session: sessions[i]},
				}})
			}, func(i int, err error) {
				if err != nil && (i == racers/2 || !errors.Is(err, gatebook.ErrConflict)) {
					w.Errorf("Commit = %v", err)
				}
				if w.opens(sessions[i].Token) {
					w.Errorf("a session of a deleted user opens")
				}
				if f := w.find(gatebook.Query{Account: key(accounts[i])}); f.ByAccount != nil {
					w.Errorf("an account of a deleted user finds %s", showUser(f.ByAccount))
				}
			})
			if rows, err := w.a.Sessions(w.ctx, u.User.ID); err != nil || len(rows) != 0 {
				w.Errorf("Sessions of a deleted user = %d, %v", len(rows), err)
			}
		}
	}},
	{"renewal and sign-out", "ExtendSession at the moment of sign-out does not bring the session back.", func(w *world) {
		u := create(w.user())
		w.commit(u)
		for range 20 {
			s := session(u.User)
			w.commit(gatebook.CreateSession{Session: s})
			h := w.handle(s.Token)
			w.together(9, func(i int) error {
				if i == 4 {
					return w.a.Commit(w.ctx, &gatebook.Act{Writes: []gatebook.Write{gatebook.DeleteSession{Handle: h}}})
				}
				return w.a.ExtendSession(w.ctx, s.Token, now.Add(time.Duration(i)*time.Hour))
			}, func(i int, err error) {
				if err != nil && (i == 4 || !errors.Is(err, gatebook.ErrNotFound)) {
					w.Errorf("racer %d: %v", i, err)
				}
			})
			if w.opens(s.Token) {
				w.Errorf("the session is back")
			}
		}
	}},
	{"all methods", "All methods may be called concurrently.", func(w *world) {
		u := create(w.user())
		s := session(u.User)
		w.commit(u, gatebook.CreateSession{Session: s})
		w.together(racers, func(i int) (err error) {
			switch i % 6 {
			case 0:
				_, err = w.a.Session(w.ctx, s.Token)
			case 1:
				_, err = w.a.Find(w.ctx, gatebook.Query{UserID: u.User.ID, Session: s.Token, Check: [32]byte{byte(i)}})
			case 2:
				_, err = w.a.Sessions(w.ctx, u.User.ID)
			case 3:
				err = w.a.ExtendSession(w.ctx, s.Token, now)
			case 4:
				err = w.a.Commit(w.ctx, &gatebook.Act{Writes: []gatebook.Write{create(w.user())}})
			case 5:
				_, err = w.a.Sweep(w.ctx, now)
			}
			return err
		}, func(i int, err error) {
			if err != nil {
				w.Errorf("call %d: %v", i, err)
			}
		})
	}},
}

func isConflict(err error) bool { return errors.Is(err, gatebook.ErrConflict) }

// again commits writes, and once more each time they conflict, as callers do, up
// to three times in all.
func (w *world) again(writes ...gatebook.Write) (err error) {
	for range 3 {
		if err = w.a.Commit(w.ctx, &gatebook.Act{Writes: writes}); !isConflict(err) {
			return err
		}
	}
	return err
}
