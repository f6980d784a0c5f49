package adaptertest

import (
	"fmt"
	"slices"
	"time"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/record"
)

// soon is how long what takes a millisecond may take on a busy machine.
const soon = 10 * time.Second

func (w *world) claim(holder string, d time.Duration) bool {
	w.Helper()
	ok, err := w.a.Claim(w.ctx, holder, d)
	if err != nil {
		w.Fatalf("Claim: %v", err)
	}
	return ok
}

func (w *world) expired(before time.Time) []gatebook.FoundSession {
	w.Helper()
	list, err := w.a.Expired(w.ctx, before)
	if err != nil {
		w.Fatalf("Expired: %v", err)
	}
	return list
}

var housekeepingRules = []rule{
	{"claim", "Who has the claim renews it and keeps everybody else from it.", func(w *world) {
		for range 3 {
			if !w.claim("one", time.Hour) {
				w.Errorf("Claim by the holder = false")
			}
			if w.claim("other", time.Hour) || w.claim("ONE", time.Hour) {
				w.Errorf("Claim by another = true")
			}
		}
	}},
	{"claim ends", "A claim ends after its time; the next to claim has it.", func(w *world) {
		if !w.claim("one", time.Hour) || !w.claim("one", time.Millisecond) {
			w.Fatalf("Claim by the holder = false")
		}
		for begun := time.Now(); !w.claim("other", time.Hour); {
			if time.Since(begun) > soon {
				w.Fatalf("a claim of a millisecond has not ended after %v", soon)
			}
		}
		if w.claim("one", time.Hour) {
			w.Errorf("Claim by who had it before = true")
		}
	}},
	{"claim by many", "Of many who claim at once one has the claim.", func(w *world) {
		won := make([]bool, racers)
		w.together(racers, func(i int) (err error) {
			won[i], err = w.a.Claim(w.ctx, fmt.Sprintf("server %d", i), time.Hour)
			return err
		}, func(i int, err error) {
			if err != nil {
				w.Errorf("Claim %d: %v", i, err)
			}
		})
		winner := slices.Index(won, true)
		if winner < 0 || slices.Index(won[winner+1:], true) >= 0 {
			w.Fatalf("Claims at once = %v, want exactly one true", won)
		}
		if !w.claim(fmt.Sprintf("server %d", winner), time.Hour) {
			w.Errorf("Claim by who won = false")
		}
	}},
	{"claim passes on", "Of many who claim an ended claim at once one has it.", func(w *world) {
		if !w.claim("old", time.Millisecond) {
			w.Fatalf("Claim of what nobody has = false")
		}
		for granted, begun := 0, time.Now(); granted == 0; {
			if time.Since(begun) > soon {
				w.Fatalf("a claim of a millisecond has not ended after %v", soon)
			}
			won := make([]bool, racers)
			w.together(racers, func(i int) (err error) {
				won[i], err = w.a.Claim(w.ctx, fmt.Sprintf("server %d", i), time.Hour)
				return err
			}, func(i int, err error) {
				if err != nil {
					w.Errorf("Claim: %v", err)
				}
				if won[i] {
					granted++
				}
			})
			if granted > 1 {
				w.Errorf("%d claims at once were granted, want one", granted)
			}
		}
	}},
	{"expired", "Expired lists database sessions that expired before the time, with their users, oldest first, without tokens.", func(w *world) {
		u, unmet := create(w.user()), gatebook.CreateUser{User: w.user()}
		u.User.Extra = w.extra("Countess", int64(38))
		tick, at := w.opts.SessionExpires.tick(), w.opts.SessionExpires.cut(now)
		note := session(u.User)
		note.Expires = at.Add(-time.Hour)
		w.commit(u, unmet, gatebook.NoteSession{Session: note})
		want := make([]gatebook.StoredSession, 5)
		owners := []gatebook.CreateUser{u, unmet, u, unmet, u}
		for _, i := range []int{2, 0, 4, 1, 3} {
			want[i] = session(owners[i].User)
			want[i].Expires = at.Add(time.Duration(i-3) * tick)
			w.commit(gatebook.CreateSession{Session: want[i]})
		}
		got := w.expired(at)
		if len(got) != 3 {
			w.Fatalf("Expired = %d sessions, want 3: %+v", len(got), got)
		}
		for i, f := range got {
			if f.Session.Token != "" {
				w.Errorf("Expired gives a token away")
			}
			f.Session.Token = want[i].Token
			w.sameSession(f.Session, want[i])
			w.is("Expired", &f.FoundUser, owners[i])
			w.commit(gatebook.DeleteSession{Handle: f.Session.Handle})
			if w.opens(want[i].Token) {
				w.Errorf("a session deleted by the handle from Expired opens")
			}
		}
		if got := w.expired(at); len(got) != 0 {
			w.Errorf("Expired after its sessions were deleted = %+v", got)
		}
		if !w.opens(want[3].Token) || !w.opens(want[4].Token) {
			w.Errorf("a session that had not expired is gone")
		}
	}},
	{"expired many", "Expired lists at most 200, the oldest.", func(w *world) {
		u := create(w.user())
		writes := []gatebook.Write{u}
		for i := range 205 {
			s := session(u.User)
			s.Expires = now.Add(-time.Duration(i*7%205) * time.Minute)
			writes = append(writes, gatebook.CreateSession{Session: s})
		}
		w.commit(writes...)
		for _, want := range []int{200, 5, 0} {
			got := w.expired(now.Add(time.Second))
			if len(got) != want {
				w.Fatalf("Expired = %d sessions, want %d", len(got), want)
			}
			var ends []gatebook.Write
			for i, f := range got {
				if i > 0 && f.Session.Expires.Before(got[i-1].Session.Expires) {
					w.Errorf("session %d of Expired is older than the one before", i)
				}
				ends = append(ends, gatebook.DeleteSession{Handle: f.Session.Handle})
			}
			if want > 0 {
				w.commit(ends...)
			}
		}
	}},
	{"expired once", "Of many who end an expired session at once one does.", func(w *world) {
		u := create(w.user())
		s := session(u.User)
		s.Expires = time.UnixMilli(86_400_000).UTC()
		w.commit(u, gatebook.CreateSession{Session: s})
		w.oneWins(func(int) []gatebook.Write {
			list := w.expired(now)
			if len(list) != 1 {
				w.Fatalf("Expired = %d sessions, want 1", len(list))
			}
			return []gatebook.Write{gatebook.DeleteSession{Handle: list[0].Session.Handle}}
		})
	}},
}

// foreign makes a session as another program would.
func (w *world) foreign(u gatebook.User) gatebook.StoredSession {
	w.Helper()
	s := gatebook.StoredSession{Token: gatebook.Secret(uuid()), UserID: u.ID, Expires: now.Add(time.Hour)}
	if w.opts.Foreign != nil {
		w.opts.Foreign(w.T, w.a, s)
	} else {
		w.commit(gatebook.CreateSession{Session: s})
	}
	return s
}

// adopt returns the write that notes s, and s as it then is.
func (w *world) adopt(s gatebook.StoredSession) (gatebook.AdoptSession, gatebook.StoredSession) {
	w.Helper()
	noted := gatebook.StoredSession{Handle: w.handle(s.Token), UserID: s.UserID, ID: uuid()}
	s.ID = noted.ID
	return gatebook.AdoptSession{Session: noted}, s
}

var adoptRules = []rule{
	{"foreign", "A session that another program began opens and is listed like any other, without ID and beginning.", func(w *world) {
		u := create(w.user())
		w.commit(u)
		s := w.foreign(u.User)
		w.sameSession(w.session(s.Token).Session, s)
		w.is("session", &w.session(s.Token).FoundUser, u)
		list, err := w.a.Sessions(w.ctx, u.User.ID)
		if err != nil || len(list) != 1 || list[0].ID != "" || !list[0].Begun.IsZero() || list[0].Token != "" {
			w.Errorf("Sessions = %+v, %v; want the foreign one, without ID and beginning", list, err)
		}
		if err := w.a.ExtendSession(w.ctx, s.Token, s.Expires.Add(time.Hour)); err != nil {
			w.Errorf("ExtendSession of a foreign session: %v", err)
		}
		s.Expires = s.Expires.Add(time.Hour)
		w.sameSession(w.session(s.Token).Session, s)
		if got := w.expired(s.Expires.Add(time.Hour)); len(got) != 1 || got[0].Session.ID != "" {
			w.Errorf("Expired = %+v, want the foreign session", got)
		}
		w.commit(gatebook.DeleteSession{Handle: w.handle(s.Token)})
		if w.opens(s.Token) {
			w.Errorf("a deleted foreign session opens")
		}
	}},
	{"adopted", "AdoptSession notes the ID of a session that another program began; a second conflicts.", func(w *world) {
		u := create(w.user())
		w.commit(u)
		s, other := w.foreign(u.User), w.foreign(u.User)
		adopt, adopted := w.adopt(s)
		w.commit(adopt)
		w.sameSession(w.session(s.Token).Session, adopted)
		w.sameSession(w.session(other.Token).Session, other)
		w.conflicts("an adopted session", adopt)
		again, _ := w.adopt(s)
		w.conflicts("an adopted session by another ID", again)
		w.sameSession(w.session(s.Token).Session, adopted)
		list, err := w.a.Sessions(w.ctx, u.User.ID)
		if err != nil || len(list) != 2 || (list[0].ID != adopted.ID && list[1].ID != adopted.ID) {
			w.Errorf("Sessions = %+v, %v; want the adopted one among them", list, err)
		}
		w.commit(gatebook.DeleteSession{Handle: w.handle(s.Token)})
		w.conflicts("an adopted session that is gone", adopt)
		if w.opens(s.Token) {
			w.Errorf("a deleted session opens")
		}
	}},
	{"own", "AdoptSession conflicts when the session has an ID already, or is none.", func(w *world) {
		u := create(w.user())
		s := session(u.User)
		w.commit(u, gatebook.CreateSession{Session: s})
		adopt, _ := w.adopt(s)
		w.conflicts("one's own session", adopt)
		w.sameSession(w.session(s.Token).Session, s)
		for _, handle := range []string{"", "unknown", string(s.Token), adopt.Session.Handle + "0"} {
			adopt.Session.Handle = handle
			w.conflicts("an unknown session", adopt)
		}
	}},
	{"one wins", "Of many who meet a foreign session at once one tells of it.", func(w *world) {
		u := create(w.user())
		w.commit(u)
		s := w.foreign(u.User)
		all := make([]gatebook.StoredSession, racers)
		winner := w.oneWins(func(i int) []gatebook.Write {
			var wr gatebook.AdoptSession
			wr, all[i] = w.adopt(s)
			return []gatebook.Write{wr}
		})
		w.sameSession(w.session(s.Token).Session, all[winner])
	}},
	{"rolled back", "An act that conflicts adopts nothing.", func(w *world) {
		u := create(w.user())
		w.commit(u)
		s := w.foreign(u.User)
		adopt, adopted := w.adopt(s)
		w.conflicts("the last of several writes", adopt, gatebook.DeleteSession{Handle: "none"})
		w.conflicts("the same session twice", adopt, adopt)
		w.sameSession(w.session(s.Token).Session, s)
		w.commit(adopt)
		w.sameSession(w.session(s.Token).Session, adopted)
	}},
	{"with its user", "A foreign session's user gets a subject key in the act that adopts it.", func(w *world) {
		u := gatebook.CreateUser{User: w.user()}
		w.commit(u)
		s := w.foreign(u.User)
		adopt, adopted := w.adopt(s)
		u.Subject = record.NewKey()
		w.act(&gatebook.Act{
			Writes:  []gatebook.Write{gatebook.AddSubject{UserID: u.User.ID, Subject: u.Subject}, adopt},
			Entries: []record.Entry{w.entry(u.User)},
		})
		f := w.session(s.Token)
		w.sameSession(f.Session, adopted)
		w.is("session", &f.FoundUser, u)
	}},
	{"gone at once", "AdoptSession at the moment of sign-out leaves nothing.", func(w *world) {
		u := create(w.user())
		w.commit(u)
		for range 10 {
			s := w.foreign(u.User)
			adopt, _ := w.adopt(s)
			w.together(2, func(i int) error {
				writes := []gatebook.Write{adopt}
				if i == 1 {
					writes = []gatebook.Write{gatebook.DeleteSession{Handle: adopt.Session.Handle}}
				}
				return w.again(writes...)
			}, func(i int, err error) {
				if err != nil && (i == 1 || !isConflict(err)) {
					w.Errorf("racer %d: %v", i, err)
				}
			})
			if list, err := w.a.Sessions(w.ctx, u.User.ID); w.opens(s.Token) || err != nil || len(list) != 0 {
				w.Errorf("the session is back: %+v, %v", list, err)
			}
		}
	}},
}
