package adaptertest

import (
	"sync"
	"time"

	"github.com/gatebook/gatebook"
)

var findRules = []rule{
	{"absent", "What does not exist is nil or false in Find's answer, never an error.", func(w *world) {
		w.commit(create(w.user()))
		f := w.find(gatebook.Query{
			Session: "no such token", UserID: w.newID(), Email: "nobody@example.com",
			Account:      gatebook.AccountKey{Provider: "github", ProviderAccountID: "0"},
			Verification: "00", Check: digest(), Credential: "AAAA", TokenSession: uuid(), LinksTo: "nobody@example.com",
		})
		if !nothing(f) {
			w.Errorf("Find of what does not exist = %+v, want nothing", show(f))
		}
	}},
	{"nothing", "Zero members of a Query are not asked.", func(w *world) {
		u := w.user()
		u.Email = ""
		w.commit(create(u), gatebook.UseCheck{Expires: now})
		if f := w.find(gatebook.Query{}); !nothing(f) {
			w.Errorf("Find of an empty Query = %s, want nothing", show(f))
		}
	}},
	{"all", "Find answers all members of a Query at once.", func(w *world) {
		byID, byEmail, byAccount, bySession := create(w.user()), create(w.user()), create(w.user()), create(w.user())
		a, s, l, d := account(byAccount.User), session(bySession.User), link(), digest()
		p, _ := passkey(byID.User)
		note, to := session(byEmail.User), link()
		w.commit(byID, byEmail, byAccount, bySession)
		if w.hasPasskeys(p) {
			w.commit(gatebook.CreateAuthenticator{Authenticator: p})
		} else {
			p.CredentialID = "" // and so it is not asked for
		}
		w.commit(gatebook.LinkAccount{Account: a},
			gatebook.CreateSession{Session: s}, gatebook.CreateVerificationToken{Token: l},
			gatebook.UseCheck{Digest: d, Expires: now},
			gatebook.NoteSession{Session: note}, gatebook.CreateVerificationToken{Token: to})
		q := gatebook.Query{
			Session: s.Token, UserID: byID.User.ID, Email: byEmail.User.Email, Account: key(a),
			Verification: l.Hash, Check: d, Credential: p.CredentialID, TokenSession: note.ID, LinksTo: to.Identifier,
		}
		check := func(q gatebook.Query) {
			w.Helper()
			f := w.find(q)
			if q.UserID != "" {
				w.is("id", f.ByID, byID)
			} else if f.ByID != nil {
				w.Errorf("Find answered by id, which was not asked")
			}
			if q.Email != "" {
				w.is("e-mail", f.ByEmail, byEmail)
			} else if f.ByEmail != nil {
				w.Errorf("Find answered by e-mail, which was not asked")
			}
			if q.Account != (gatebook.AccountKey{}) {
				w.is("account", f.ByAccount, byAccount)
			} else if f.ByAccount != nil {
				w.Errorf("Find answered by account, which was not asked")
			}
			switch {
			case (q.Session != "") != (f.Session != nil):
				w.Errorf("Find answers session: %v, asked: %v", f.Session != nil, q.Session != "")
			case f.Session != nil:
				w.is("session", &f.Session.FoundUser, bySession)
				if f.Session.Session.ID != s.ID || f.Session.Session.Token != s.Token {
					w.Errorf("Find by session gives id %q, want %q, with the token asked for", f.Session.Session.ID, s.ID)
				}
			}
			switch {
			case (q.Verification != "") != (f.Verification != nil):
				w.Errorf("Find answers verification: %v, asked: %v", f.Verification != nil, q.Verification != "")
			case f.Verification != nil:
				w.sameLink(f.Verification, l)
			}
			if f.CheckUsed != (q.Check == d) {
				w.Errorf("Find answers check used: %v, asked: %v", f.CheckUsed, q.Check == d)
			}
			if got := f.Authenticator; (got != nil) != (q.Credential != "") || got != nil && got.CredentialID != p.CredentialID {
				w.Errorf("Find answers passkey: %v, asked: %q", got, q.Credential)
			}
			if got := f.TokenSession; (got != nil) != (q.TokenSession != "") || got != nil && got.ID != note.ID {
				w.Errorf("Find answers token session: %v, asked: %q", got, q.TokenSession)
			}
			if got := f.Links; (got != nil) != (q.LinksTo != "") || got != nil && (len(got) != 1 || !got[0].Equal(w.opts.LinkExpires.cut(to.Expires))) {
				w.Errorf("Find answers links: %v, asked: %q", got, q.LinksTo)
			}
		}
		// Every choice of questions, since a store may have a statement for each.
		for mask := range 1 << 9 {
			part := q
			for i, drop := range []func(){
				func() { part.Session = "" }, func() { part.UserID = "" }, func() { part.Email = "" },
				func() { part.Account = gatebook.AccountKey{} }, func() { part.Verification = "" },
				func() { part.Check = [32]byte{} }, func() { part.Credential = "" },
				func() { part.TokenSession = "" }, func() { part.LinksTo = "" },
			} {
				if mask&(1<<i) == 0 {
					drop()
				}
			}
			check(part)
		}
	}},
	{"same", "Find gives a user that several members ask for in each of them.", func(w *world) {
		u := create(w.user())
		a, s := account(u.User), session(u.User)
		w.commit(u, gatebook.LinkAccount{Account: a}, gatebook.CreateSession{Session: s})
		f := w.find(gatebook.Query{UserID: u.User.ID, Email: u.User.Email, Account: key(a), Session: s.Token})
		w.is("id", f.ByID, u)
		w.is("e-mail", f.ByEmail, u)
		w.is("account", f.ByAccount, u)
		if f.Session == nil {
			w.Fatalf("Find by session = nil")
		}
		w.is("session", &f.Session.FoundUser, u)
	}},
	{"expired", "Find returns expired sessions and verification tokens like any other.", func(w *world) {
		u, s, l := create(w.user()), session(gatebook.User{}), link()
		s.UserID, s.Expires, l.Expires = u.User.ID, time.UnixMilli(86_400_001).UTC(), time.UnixMilli(86_400_002).UTC()
		w.commit(u, gatebook.CreateSession{Session: s}, gatebook.CreateVerificationToken{Token: l})
		f := w.find(gatebook.Query{Session: s.Token, Verification: l.Hash})
		if f.Session == nil || f.Verification == nil {
			w.Errorf("Find = %s, want the expired session and the expired verification token", show(f))
		}
	}},
	{"consistent", "Find answers from one consistent state: an act is seen wholly or not at all.", func(w *world) {
		for range 40 {
			l, d := link(), digest()
			w.commit(gatebook.CreateVerificationToken{Token: l})
			var wg sync.WaitGroup
			done := make(chan error, 1)
			wg.Go(func() {
				done <- w.a.Commit(w.ctx, &gatebook.Act{Writes: []gatebook.Write{
					gatebook.UseVerificationToken{Identifier: l.Identifier, Hash: l.Hash},
					gatebook.UseCheck{Digest: d, Expires: now},
				}})
			})
			for used, last := false, false; !used; {
				select {
				case err := <-done:
					if err != nil {
						w.Fatalf("Commit: %v", err)
					}
					last = true
				default:
				}
				f := w.find(gatebook.Query{Verification: l.Hash, Check: d})
				used = f.CheckUsed
				if used == (f.Verification != nil) {
					w.Fatalf("Find during an act that uses up a link and a check: link there: %v, check used: %v",
						f.Verification != nil, f.CheckUsed)
				}
				if last && !used {
					w.Fatalf("Find after Commit returned does not see the act")
				}
			}
			wg.Wait()
		}
	}},
}
