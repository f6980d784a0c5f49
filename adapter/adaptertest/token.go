package adaptertest

import (
	"errors"
	"slices"
	"time"

	"github.com/gatebook/gatebook"
)

// sameNote wants the token session to be noted as want.
func (w *world) sameNote(want gatebook.StoredSession) {
	w.Helper()
	f := w.find(gatebook.Query{TokenSession: want.ID})
	if f.TokenSession == nil || f.Revoked {
		w.Errorf("Find by sid = %+v, revoked: %v; want %+v", f.TokenSession, f.Revoked, want)
		return
	}
	got := *f.TokenSession
	got.Expires, got.Begun = plain(got.Expires), plain(got.Begun)
	if got != want {
		w.Errorf("Find by sid = %+v, want %+v", got, want)
	}
}

// revoked wants the token session to be revoked, and nothing else to be known of
// it.
func (w *world) revoked(id string) {
	w.Helper()
	if f := w.find(gatebook.Query{TokenSession: id}); !f.Revoked || f.TokenSession != nil {
		w.Errorf("Find by the sid of a revoked session = %+v, revoked: %v; want revoked and no note", f.TokenSession, f.Revoked)
	}
}

var tokenRules = []rule{
	{"noted", "A noted token session is found by its sid, and listed with the database sessions.", func(w *world) {
		u, other := create(w.user()), create(w.user())
		note, row, theirs := session(u.User), session(u.User), session(other.User)
		note.Token, note.UserAgent = "", "Browser/1.0 (\u00e4)"
		row.Begun = row.Begun.Add(time.Second)
		w.commit(u, other, gatebook.NoteSession{Session: note}, gatebook.CreateSession{Session: row}, gatebook.NoteSession{Session: theirs})
		w.sameNote(note)
		list, err := w.a.Sessions(w.ctx, u.User.ID)
		if err != nil || len(list) != 2 || list[0].ID != row.ID || list[1].ID != note.ID || list[1].UserAgent != note.UserAgent {
			w.Errorf("Sessions = %+v, %v; want the database session, then the noted one", list, err)
		}
	}},
	{"user agent", "A database session keeps its user agent.", func(w *world) {
		u := create(w.user())
		s := session(u.User)
		s.UserAgent = "Browser/1.0"
		w.commit(u, gatebook.CreateSession{Session: s})
		w.sameSession(w.session(s.Token).Session, s)
		if list, err := w.a.Sessions(w.ctx, u.User.ID); err != nil || len(list) != 1 || list[0].UserAgent != s.UserAgent {
			w.Errorf("Sessions = %+v, %v; want the user agent %q", list, err, s.UserAgent)
		}
	}},
	{"noted anew", "NoteSession replaces what was noted of the sid.", func(w *world) {
		u := create(w.user())
		note := session(u.User)
		note.Token = ""
		w.commit(u, gatebook.NoteSession{Session: note})
		note.Expires, note.UserAgent = note.Expires.Add(time.Hour), "Another/2"
		w.commit(gatebook.NoteSession{Session: note})
		w.sameNote(note)
	}},
	{"revoked", "RevokeToken ends a token session for good and forgets its note.", func(w *world) {
		u := create(w.user())
		note, other := session(u.User), session(u.User)
		w.commit(u, gatebook.NoteSession{Session: note}, gatebook.NoteSession{Session: other})
		revoke := gatebook.RevokeToken{ID: note.ID, Expires: now}
		w.commit(revoke)
		w.revoked(note.ID)
		w.conflicts("a revoked session", revoke)
		w.conflicts("a revoked session", gatebook.NoteSession{Session: note})
		w.revoked(note.ID)
		if list, err := w.a.Sessions(w.ctx, u.User.ID); err != nil || len(list) != 1 || list[0].ID != other.ID {
			w.Errorf("Sessions after one was revoked = %+v, %v; want the other", list, err)
		}
		if w.find(gatebook.Query{TokenSession: other.ID}).Revoked {
			w.Errorf("revoking one session revoked another")
		}
	}},
	{"revoked unknown", "RevokeToken ends a token session that was never noted.", func(w *world) {
		id := uuid()
		w.commit(gatebook.RevokeToken{ID: id, Expires: now})
		w.revoked(id)
		w.conflicts("a revoked session", gatebook.RevokeToken{ID: id, Expires: now})
	}},
	{"revoked for long enough", "A revocation is kept as long as the note would have been.", func(w *world) {
		u := create(w.user())
		note := session(u.User)
		w.commit(u, gatebook.NoteSession{Session: note}, gatebook.RevokeToken{ID: note.ID, Expires: now})
		if _, err := w.a.Sweep(w.ctx, note.Expires); err != nil {
			w.Fatalf("Sweep: %v", err)
		}
		w.revoked(note.ID)
		if _, err := w.a.Sweep(w.ctx, note.Expires.Add(time.Millisecond)); err != nil {
			w.Fatalf("Sweep: %v", err)
		}
		if w.find(gatebook.Query{TokenSession: note.ID}).Revoked {
			w.Errorf("Sweep left a revocation that had expired")
		}
	}},
	{"rolled back", "An act that conflicts leaves notes and revocations as they were.", func(w *world) {
		u := create(w.user())
		note := session(u.User)
		note.Token = ""
		fresh := uuid()
		w.commit(u, gatebook.NoteSession{Session: note})
		w.conflicts("the last of several writes", gatebook.RevokeToken{ID: note.ID, Expires: now},
			gatebook.RevokeToken{ID: fresh, Expires: now}, gatebook.DeleteSession{Handle: "none"})
		w.sameNote(note)
		if w.find(gatebook.Query{TokenSession: fresh}).Revoked {
			w.Errorf("an act that conflicts revoked a session")
		}
	}},
	{"user deleted", "DeleteUser revokes the user's noted token sessions.", func(w *world) {
		u, other := create(w.user()), create(w.user())
		note, kept := session(u.User), session(other.User)
		kept.Token = ""
		w.commit(u, other, gatebook.NoteSession{Session: note}, gatebook.NoteSession{Session: kept})
		w.commit(gatebook.DeleteUser{ID: u.User.ID})
		w.revoked(note.ID)
		w.sameNote(kept)
	}},
	{"one wins", "Of many who revoke a token session at once one wins.", func(w *world) {
		u := create(w.user())
		note := session(u.User)
		w.commit(u, gatebook.NoteSession{Session: note})
		w.oneWins(func(int) []gatebook.Write { return []gatebook.Write{gatebook.RevokeToken{ID: note.ID, Expires: now}} })
		w.revoked(note.ID)
	}},
	{"renewal and end", "NoteSession at the moment of RevokeToken does not bring the session back.", func(w *world) {
		u := create(w.user())
		w.commit(u)
		for range 20 {
			note := session(u.User)
			w.commit(gatebook.NoteSession{Session: note})
			w.together(9, func(i int) error {
				mine := note
				mine.Expires = mine.Expires.Add(time.Duration(i) * time.Hour)
				writes := []gatebook.Write{gatebook.NoteSession{Session: mine}}
				if i == 4 {
					writes = []gatebook.Write{gatebook.RevokeToken{ID: note.ID, Expires: now}}
				}
				return w.a.Commit(w.ctx, &gatebook.Act{Writes: writes})
			}, func(i int, err error) {
				if err != nil && (i == 4 || !errors.Is(err, gatebook.ErrConflict)) {
					w.Errorf("racer %d: %v", i, err)
				}
			})
			w.revoked(note.ID)
		}
		if list, err := w.a.Sessions(w.ctx, u.User.ID); err != nil || len(list) != 0 {
			w.Errorf("Sessions after all were revoked = %+v, %v", list, err)
		}
	}},
	{"links to", "Find lists the expiries of the links to an address, latest first, at most 100.", func(w *world) {
		l, other := link(), link()
		w.commit(gatebook.CreateVerificationToken{Token: other})
		for i := range 103 {
			next := link()
			next.Identifier, next.Expires = l.Identifier, now.Add(time.Duration(i)*time.Second)
			w.commit(gatebook.CreateVerificationToken{Token: next})
		}
		links := w.find(gatebook.Query{LinksTo: l.Identifier}).Links
		if len(links) != 100 || !slices.IsSortedFunc(links, func(a, b time.Time) int { return b.Compare(a) }) ||
			!links[0].Equal(w.opts.LinkExpires.cut(now.Add(102*time.Second))) {
			w.Errorf("Find = %d links, the first expiring at %v", len(links), links)
		}
		if got := w.find(gatebook.Query{LinksTo: other.Identifier}).Links; len(got) != 1 || !plain(got[0]).Equal(w.opts.LinkExpires.cut(other.Expires)) {
			w.Errorf("Find of one link = %v, want %v", got, other.Expires)
		}
		if got := w.find(gatebook.Query{LinksTo: uuid() + "@example.com"}).Links; len(got) != 0 {
			w.Errorf("Find of no links = %v", got)
		}
	}},
}
