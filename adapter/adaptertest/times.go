package adaptertest

import (
	"errors"
	"time"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/record"
)

// keptOrRefused commits writes with a time, and reports whether they were: a
// column that holds the time takes it, and one that does not refuses it with an
// error that is no conflict, and leaves nothing. CheckWrite may not know, where
// the bounds are those of the connection's time zone.
func (w *world) keptOrRefused(c Times, at time.Time, writes ...gatebook.Write) bool {
	w.Helper()
	holds, refuses := c.holds(at)
	e := w.entry(w.user())
	err := w.a.Commit(w.ctx, &gatebook.Act{Writes: writes, Entries: []record.Entry{e}})
	switch {
	case holds && err != nil:
		w.Errorf("Commit(%s) with the time %v = %v, want success", kinds(writes), at, err)
	case refuses && err == nil, errors.Is(err, gatebook.ErrConflict):
		w.Errorf("Commit(%s) with the time %v, which the column cannot hold, = %v; want an error that is no conflict",
			kinds(writes), at, err)
	}
	if got := w.recorded(e); got != (err == nil) {
		w.Errorf("Commit(%s) with the time %v = %v; its entry is in the book: %v", kinds(writes), at, err, got)
	}
	return err == nil
}

// instants are times in several zones that are easily spoilt: within hours that
// come twice or never, at the ends of what 32 bits, four digits and MySQL hold,
// and with more digits than are kept.
func instants() []time.Time {
	east, west := time.FixedZone("east", 13*3600+45*60), time.FixedZone("west", -9*3600-1800)
	return []time.Time{
		time.Date(2027, time.October, 31, 2, 30, 0, 1e6, east),
		time.Date(2027, time.March, 28, 2, 30, 0, 123_999_999, west),
		time.Date(2027, time.March, 28, 2, 30, 0, 999_999_999, time.Local),
		time.Date(2028, time.February, 29, 23, 59, 59, 999e6, west),
		time.Date(2038, time.January, 19, 3, 14, 7, 0, time.UTC),
		time.Date(2038, time.January, 19, 3, 14, 8, 999e6, time.UTC),
		time.Date(1999, time.December, 31, 23, 59, 59, 999_999_999, east),
		time.Date(1970, time.January, 1, 0, 0, 0, 1e6, time.UTC),
		time.Date(1969, time.July, 20, 20, 17, 40, 5e6, time.UTC),
		time.Date(9999, time.December, 31, 23, 59, 59, 998e6, time.UTC),
	}
}

var timeRules = []rule{
	{"sessions", "Times are UTC and kept to the millisecond, whatever zone they come in.", func(w *world) {
		u := create(w.user())
		w.commit(u)
		for _, at := range instants() {
			s := session(u.User)
			s.Expires, s.Begun = at, at.Add(time.Hour).In(time.Local)
			if !w.keptOrRefused(w.opts.SessionExpires, at, gatebook.CreateSession{Session: s}) {
				if w.opens(s.Token) {
					w.Errorf("a session that was refused opens")
				}
				continue
			}
			s.Begun = s.Begun.Truncate(time.Millisecond).UTC()
			w.sameSession(w.session(s.Token).Session, s)
			next := at.Add(w.opts.SessionExpires.tick())
			holds, _ := w.opts.SessionExpires.holds(next)
			if err := w.a.ExtendSession(w.ctx, s.Token, next); err == nil {
				s.Expires = next
			} else if holds {
				w.Errorf("ExtendSession to %v: %v", next, err)
			}
			w.sameSession(w.session(s.Token).Session, s)
		}
	}},
	{"users", "The time of verification is UTC and kept to the millisecond, whatever zone it comes in.", func(w *world) {
		known := create(w.user())
		w.commit(known)
		for _, at := range instants() {
			u := create(w.user())
			u.User.EmailVerified = at
			if w.keptOrRefused(w.opts.EmailVerified, at, u) {
				w.found(u)
			}
			next := known.User
			next.EmailVerified = at
			if w.keptOrRefused(w.opts.EmailVerified, at, gatebook.UpdateUser{User: next, Fields: []string{"emailVerified"}}) {
				known.User.EmailVerified = at
			}
			w.found(known)
		}
	}},
	{"links", "The end of a magic link is UTC and kept to the millisecond, whatever zone it comes in.", func(w *world) {
		for _, at := range instants() {
			l := link()
			l.Expires = at
			if w.keptOrRefused(w.opts.LinkExpires, at, gatebook.CreateVerificationToken{Token: l}) {
				w.sameLink(w.find(gatebook.Query{Verification: l.Hash}).Verification, l)
			}
		}
	}},
	{"notes", "Gatebook's own tables keep every time to the millisecond.", func(w *world) {
		u := create(w.user())
		w.commit(u)
		for _, at := range instants() {
			note := session(u.User)
			note.Token, note.Expires, note.Begun = "", at, at.Add(-time.Minute)
			w.commit(gatebook.NoteSession{Session: note}, gatebook.UseCheck{Digest: digest(), Expires: at})
			note.Expires, note.Begun = note.Expires.Truncate(time.Millisecond).UTC(), note.Begun.Truncate(time.Millisecond).UTC()
			w.sameNote(note)
		}
	}},
	{"cut", "What is finer than the column is cut, never rounded up: nothing lives longer than it was given.", func(w *world) {
		u := create(w.user())
		s, l := session(u.User), link()
		w.commit(u)
		for _, at := range []time.Time{
			time.Date(2031, time.May, 1, 12, 0, 0, 999_999_999, time.UTC), time.Date(2031, time.May, 1, 12, 0, 0, 500_500_000, time.UTC),
		} {
			s.Token, s.ID, s.Expires = gatebook.Secret(uuid()), uuid(), at
			l.Hash, l.Expires = uuid(), at
			w.commit(gatebook.CreateVerificationToken{Token: l}, gatebook.CreateSession{Session: s})
			f := w.find(gatebook.Query{Session: s.Token, Verification: l.Hash})
			if f.Session == nil || f.Verification == nil || f.Session.Session.Expires.After(at) || f.Verification.Expires.After(at) {
				w.Errorf("what was to end at %v ends at %s", at, show(f))
			}
		}
	}},
}
