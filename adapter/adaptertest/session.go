package adaptertest

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/gatebook/gatebook"
)

// sameSession wants got to be the session created, opened by its token.
func (w *world) sameSession(got gatebook.StoredSession, want gatebook.StoredSession) {
	w.Helper()
	if got.Handle == "" {
		w.Errorf("the session found has no Handle")
	}
	want.Handle, want.Expires = got.Handle, w.opts.SessionExpires.cut(want.Expires)
	got.Expires, got.Begun = plain(got.Expires), plain(got.Begun)
	if got != want {
		w.Errorf("the session found is\n\t%+v, want\n\t%+v (token as asked for: %v)", got, want, got.Token == want.Token)
	}
}

var sessionRules = []rule{
	{"kept", "Session returns the session as it was created, with its user and subject key.", func(w *world) {
		u := create(w.user())
		u.User.Extra = w.extra("Countess", int64(38))
		s := session(u.User)
		w.commit(u, gatebook.CreateSession{Session: s})
		f := w.session(s.Token)
		w.sameSession(f.Session, s)
		w.is("session", &f.FoundUser, u)
		f = w.find(gatebook.Query{Session: s.Token}).Session
		if f == nil {
			w.Fatalf("Find by session = nil")
		}
		w.sameSession(f.Session, s)
	}},
	{"expired", "An expired session is returned like any other.", func(w *world) {
		u, s := create(w.user()), session(gatebook.User{})
		s.UserID, s.Expires = u.User.ID, time.UnixMilli(86_400_001).UTC()
		w.commit(u, gatebook.CreateSession{Session: s})
		w.sameSession(w.session(s.Token).Session, s)
	}},
	{"no subject", "The subject key is zero while the book has not met the session's user.", func(w *world) {
		u := gatebook.CreateUser{User: w.user()}
		s := session(u.User)
		w.commit(u, gatebook.CreateSession{Session: s})
		w.is("session", &w.session(s.Token).FoundUser, u)
	}},
	{"unknown", "Unknown tokens give an error that matches ErrNotFound.", func(w *world) {
		u := create(w.user())
		s := session(u.User)
		s.Token = "Token-" + s.Token
		w.commit(u, gatebook.CreateSession{Session: s})
		for _, token := range []gatebook.Secret{
			"", "x", gatebook.Secret(strings.ToLower(string(s.Token))), s.Token + " ", s.Token[:len(s.Token)-1],
			"%", gatebook.Secret(strings.Repeat("x", 100_000)), "a\x00b", "\xff",
		} {
			if f, err := w.a.Session(w.ctx, token); !errors.Is(err, gatebook.ErrNotFound) || f != nil {
				w.Errorf("Session(%.40q) = %v, %v; want nil and an error that matches ErrNotFound", string(token), f, err)
			}
		}
	}},
	{"handle", "A handle is no secret that works as a token.", func(w *world) {
		u := create(w.user())
		s := session(u.User)
		w.commit(u, gatebook.CreateSession{Session: s})
		h := w.handle(s.Token)
		if w.opens(gatebook.Secret(h)) {
			w.Errorf("the handle opens the session")
		}
		if err := w.a.ExtendSession(w.ctx, gatebook.Secret(h), now); !errors.Is(err, gatebook.ErrNotFound) {
			w.Errorf("ExtendSession with the handle = %v, want an error that matches ErrNotFound", err)
		}
	}},
	{"user gone", "A session whose user is gone gives an error that matches ErrNotFound.", func(w *world) {
		u := create(w.user())
		s := session(u.User)
		w.commit(u, gatebook.CreateSession{Session: s})
		w.commit(gatebook.DeleteUser{ID: u.User.ID})
		if w.opens(s.Token) {
			w.Errorf("the session of a deleted user opens")
		}
		if f := w.find(gatebook.Query{Session: s.Token}); f.Session != nil {
			w.Errorf("Find by the session of a deleted user = %s", show(f))
		}
	}},
	{"token taken", "CreateSession conflicts when the token is taken.", func(w *world) {
		u, other := create(w.user()), create(w.user())
		s, t := session(u.User), session(other.User)
		t.Token = s.Token
		w.commit(u, other, gatebook.CreateSession{Session: s})
		w.conflicts("a taken token", gatebook.CreateSession{Session: t})
		w.sameSession(w.session(s.Token).Session, s)
	}},
	{"of nobody", "CreateSession conflicts when the user does not exist.", func(w *world) {
		u := create(w.user())
		s := session(u.User)
		w.conflicts("an unknown user", gatebook.CreateSession{Session: s})
		w.commit(u)
		if w.opens(s.Token) {
			w.Errorf("the session of a conflict opens")
		}
	}},
	{"extend", "ExtendSession moves the expiry, to the millisecond, and nothing else.", func(w *world) {
		u := create(w.user())
		s, other := session(u.User), session(u.User)
		w.commit(u, gatebook.CreateSession{Session: s}, gatebook.CreateSession{Session: other})
		for _, to := range []time.Time{
			s.Expires.Add(time.Millisecond), s.Expires.Add(-time.Hour), now.Add(999_999 * time.Nanosecond).Local(), now,
		} {
			if err := w.a.ExtendSession(w.ctx, s.Token, to); err != nil {
				w.Fatalf("ExtendSession: %v", err)
			}
			s.Expires = to
			w.sameSession(w.session(s.Token).Session, s)
			w.sameSession(w.session(other.Token).Session, other)
		}
	}},
	{"extend nothing", "ExtendSession does not bring back a session that is gone: the error matches ErrNotFound.", func(w *world) {
		u := create(w.user())
		s := session(u.User)
		w.commit(u, gatebook.CreateSession{Session: s})
		w.commit(gatebook.DeleteSession{Handle: w.handle(s.Token)})
		for _, token := range []gatebook.Secret{s.Token, "unknown", ""} {
			if err := w.a.ExtendSession(w.ctx, token, now); !errors.Is(err, gatebook.ErrNotFound) {
				w.Errorf("ExtendSession of a session that is gone = %v, want an error that matches ErrNotFound", err)
			}
		}
		if w.opens(s.Token) {
			w.Errorf("the session is back")
		}
	}},
	{"delete", "DeleteSession deletes the session of that handle and no other.", func(w *world) {
		u := create(w.user())
		s, other := session(u.User), session(u.User)
		w.commit(u, gatebook.CreateSession{Session: s}, gatebook.CreateSession{Session: other})
		w.commit(gatebook.DeleteSession{Handle: w.handle(s.Token)})
		if w.opens(s.Token) {
			w.Errorf("a deleted session opens")
		}
		w.sameSession(w.session(other.Token).Session, other)
		w.commit(gatebook.CreateSession{Session: s})
		w.sameSession(w.session(s.Token).Session, s)
	}},
	{"delete nothing", "DeleteSession conflicts when the session is gone.", func(w *world) {
		u := create(w.user())
		s := session(u.User)
		w.commit(u, gatebook.CreateSession{Session: s})
		h := w.handle(s.Token)
		w.conflicts("a token for a handle", gatebook.DeleteSession{Handle: string(s.Token)})
		w.commit(gatebook.DeleteSession{Handle: h})
		w.conflicts("a deleted session", gatebook.DeleteSession{Handle: h})
		w.conflicts("no handle", gatebook.DeleteSession{})
	}},
	{"list", "Sessions lists a user's sessions, expired ones too, newest first, without tokens.", func(w *world) {
		u, other := create(w.user()), create(w.user())
		w.commit(u, other, gatebook.CreateSession{Session: session(other.User)})
		var want []gatebook.StoredSession
		for _, i := range []int{3, 0, 4, 1, 2} {
			s := session(u.User)
			s.Begun = now.Add(time.Duration(i) * time.Millisecond)
			s.Expires = now.Add(-time.Duration(i) * time.Hour)
			w.commit(gatebook.CreateSession{Session: s})
			s.Handle, s.Token, s.Expires = w.handle(s.Token), "", w.opts.SessionExpires.cut(s.Expires)
			want = append(want, s)
		}
		slices.SortFunc(want, func(a, b gatebook.StoredSession) int { return b.Begun.Compare(a.Begun) })
		got, err := w.a.Sessions(w.ctx, u.User.ID)
		if err != nil {
			w.Fatalf("Sessions: %v", err)
		}
		for i, s := range got {
			got[i].Expires, got[i].Begun = plain(s.Expires), plain(s.Begun)
			if s.Token != "" {
				w.Errorf("Sessions gives a token away")
			}
		}
		if !slices.Equal(got, want) {
			w.Errorf("Sessions =\n\t%+v, want\n\t%+v", got, want)
		}
		w.commit(gatebook.DeleteSession{Handle: want[0].Handle})
		if got, err = w.a.Sessions(w.ctx, u.User.ID); err != nil || len(got) != 4 || got[0].Handle != want[1].Handle {
			w.Errorf("Sessions after the newest was deleted =\n\t%+v, %v; want\n\t%+v", got, err, want[1:])
		}
	}},
	{"list of nobody", "Sessions of an unknown user are none, and no error.", func(w *world) {
		w.commit(create(w.user()))
		for _, id := range []string{w.newID(), uuid(), "", "0", "-1", "x"} {
			if got, err := w.a.Sessions(w.ctx, id); err != nil || len(got) != 0 {
				w.Errorf("Sessions(%q) = %v, %v; want none", id, got, err)
			}
		}
	}},
	{"long list", "Sessions lists at most 1,000, the newest.", func(w *world) {
		u := create(w.user())
		writes := []gatebook.Write{u}
		for i := range 1005 {
			s := session(u.User)
			// Scattered, so that the order of creation is of no help.
			s.Begun = now.Add(time.Duration(i*7%1005) * time.Second)
			writes = append(writes, gatebook.CreateSession{Session: s})
		}
		w.commit(writes...)
		got, err := w.a.Sessions(w.ctx, u.User.ID)
		if err != nil || len(got) != 1000 {
			w.Fatalf("Sessions of a user with 1,005 = %d, %v; want 1,000", len(got), err)
		}
		for i, s := range got {
			if want := now.Add(time.Duration(1004-i) * time.Second); !s.Begun.Equal(want) {
				w.Fatalf("session %d of the list began %v, want %v", i, s.Begun, want)
			}
		}
	}},
}
