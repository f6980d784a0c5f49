package adaptertest

import (
	"time"

	"github.com/gatebook/gatebook"
)

var onceRules = []rule{
	{"link kept", "A verification token is found by its hash as it was created.", func(w *world) {
		for _, identifier := range []string{"ada@example.com", "\u00e4da+x@b\u00fccher.example", "a b"} {
			l := link()
			l.Identifier = identifier
			l.Expires = time.Date(2029, time.March, 25, 2, 30, 0, 123_999_999, time.FixedZone("somewhere", -3*3600))
			w.commit(gatebook.CreateVerificationToken{Token: l}, gatebook.CreateVerificationToken{Token: link()})
			w.sameLink(w.find(gatebook.Query{Verification: l.Hash}).Verification, l)
		}
	}},
	{"link taken", "CreateVerificationToken conflicts when the pair of identifier and hash is there.", func(w *world) {
		l := link()
		w.commit(gatebook.CreateVerificationToken{Token: l})
		again := l
		again.Expires = now
		w.conflicts("the same pair", gatebook.CreateVerificationToken{Token: again})
		w.sameLink(w.find(gatebook.Query{Verification: l.Hash}).Verification, l)
	}},
	{"link used", "UseVerificationToken deletes the row; using it again conflicts.", func(w *world) {
		l, other := link(), link()
		other.Identifier = l.Identifier
		w.commit(gatebook.CreateVerificationToken{Token: l}, gatebook.CreateVerificationToken{Token: other})
		use := gatebook.UseVerificationToken{Identifier: l.Identifier, Hash: l.Hash}
		w.commit(use)
		if got := w.find(gatebook.Query{Verification: l.Hash}).Verification; got != nil {
			w.Errorf("Find of a used token = %+v", got)
		}
		w.conflicts("a used token", use)
		if w.find(gatebook.Query{Verification: other.Hash}).Verification == nil {
			w.Errorf("using one token took another of the same address")
		}
	}},
	{"link of another", "UseVerificationToken conflicts when identifier and hash are no pair.", func(w *world) {
		l, other := link(), link()
		w.commit(gatebook.CreateVerificationToken{Token: l}, gatebook.CreateVerificationToken{Token: other})
		w.conflicts("another's hash", gatebook.UseVerificationToken{Identifier: l.Identifier, Hash: other.Hash})
		w.conflicts("an unknown hash", gatebook.UseVerificationToken{Identifier: l.Identifier, Hash: "00"})
		w.conflicts("no identifier", gatebook.UseVerificationToken{Hash: l.Hash})
		if w.find(gatebook.Query{Verification: l.Hash}).Verification == nil ||
			w.find(gatebook.Query{Verification: other.Hash}).Verification == nil {
			w.Errorf("a conflict took a verification token")
		}
	}},
	{"check", "UseCheck uses a value up; using it again conflicts.", func(w *world) {
		d := digest()
		if w.find(gatebook.Query{Check: d}).CheckUsed {
			w.Errorf("a new check is used")
		}
		w.commit(gatebook.UseCheck{Digest: d, Expires: now})
		if !w.find(gatebook.Query{Check: d}).CheckUsed {
			w.Errorf("a used check is not used")
		}
		w.conflicts("a used check", gatebook.UseCheck{Digest: d, Expires: now})
		near := d
		near[31] ^= 1
		if w.find(gatebook.Query{Check: near}).CheckUsed {
			w.Errorf("another check is used")
		}
		w.commit(gatebook.UseCheck{Digest: near, Expires: now})
	}},
	{"check bytes", "A check is 32 bytes, of whatever values.", func(w *world) {
		for _, d := range [][32]byte{{31: 1}, {0: 1}, {0: 0xff, 31: 0xff}, {15: '\''}} {
			w.commit(gatebook.UseCheck{Digest: d, Expires: now})
			if !w.find(gatebook.Query{Check: d}).CheckUsed {
				w.Errorf("the used check %x is not used", d)
			}
		}
	}},
	{"sweep", "Sweep deletes what expired before the time, to the millisecond, and returns how many.", func(w *world) {
		tick := w.opts.LinkExpires.tick()
		now := w.opts.LinkExpires.cut(now)
		for i := range 3 {
			at := now.Add(time.Duration(i-1) * tick)
			l, d := link(), digest()
			l.Expires = at
			w.commit(gatebook.CreateVerificationToken{Token: l}, gatebook.UseCheck{Digest: d, Expires: at})
			n, err := w.a.Sweep(w.ctx, now)
			if err != nil {
				w.Fatalf("Sweep: %v", err)
			}
			f := w.find(gatebook.Query{Verification: l.Hash, Check: d})
			gone := f.Verification == nil && !f.CheckUsed
			kept := f.Verification != nil && f.CheckUsed
			if want := at.Before(now); want && (!gone || n != 2) || !want && (!kept || n != 0) {
				w.Errorf("Sweep(t) of two rows that expire at t%+d·%v = %d; link kept: %v, check kept: %v",
					i-1, tick, n, f.Verification != nil, f.CheckUsed)
			}
			if gone { // and free again
				l.Expires = now.Add(time.Hour)
				w.commit(gatebook.CreateVerificationToken{Token: l}, gatebook.UseCheck{Digest: d, Expires: l.Expires})
			}
		}
	}},
	{"sweep sessions", "Sweep never deletes sessions.", func(w *world) {
		u, s := create(w.user()), session(gatebook.User{})
		s.UserID, s.Expires = u.User.ID, time.UnixMilli(86_400_001).UTC()
		w.commit(u, gatebook.CreateSession{Session: s})
		if n, err := w.a.Sweep(w.ctx, now); n != 0 || err != nil {
			w.Errorf("Sweep with nothing to delete = %d, %v", n, err)
		}
		if !w.opens(s.Token) {
			w.Errorf("an expired session is gone")
		}
		w.found(u)
	}},
	{"sweep many", "Sweep deletes at most a few thousand rows a call and the rest in the next.", func(w *world) {
		const rows = 12_000
		var writes []gatebook.Write
		for i := range rows / 2 {
			l := link()
			l.Expires = now.Add(-time.Duration(i) * time.Second)
			writes = append(writes, gatebook.CreateVerificationToken{Token: l},
				gatebook.UseCheck{Digest: digest(), Expires: l.Expires})
		}
		w.commit(writes...)
		total := 0
		for calls := 0; ; calls++ {
			n, err := w.a.Sweep(w.ctx, now.Add(time.Hour))
			if err != nil {
				w.Fatalf("Sweep: %v", err)
			}
			if n > 9_999 {
				w.Errorf("Sweep deleted %d rows in one call", n)
			}
			if total += n; n == 0 {
				break
			}
		}
		if total != rows {
			w.Errorf("Sweep deleted %d rows in all, want %d", total, rows)
		}
	}},
}
