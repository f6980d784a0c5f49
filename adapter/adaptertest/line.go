package adaptertest

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/record"
)

// mostMessages is more than an act of lineRules may send to its store.
const mostMessages = 100

// onLine runs test with the adapter behind a line that can break, if the store
// has one.
func onLine(test func(*world, *Line)) func(*world) {
	return func(w *world) {
		if w.opts.Line == nil {
			return
		}
		line := w.opts.Line(w.T)
		w.a = line.Adapter
		test(w, line)
	}
}

// broken does something over a line that breaks at each message in turn, lost
// and delivered, until it is done before the line breaks, and then looks at what
// is left, over a line that is whole again.
func (w *world) broken(line *Line, try func() (do, look func())) {
	w.Helper()
	for _, delivered := range []bool{false, true} {
		breaks := 0
		for n := 1; ; n++ {
			if n > mostMessages {
				w.Fatalf("the line still breaks after %d messages", n)
			}
			w.commit(create(w.user())) // a connection is there, as in life
			do, look := try()
			line.Break(n, delivered)
			do()
			broke := line.Mend()
			look()
			if !broke {
				break
			}
			breaks++
		}
		if breaks == 0 {
			w.Errorf("the line never broke")
		}
	}
}

// lineAct is an act whose writes need one another, and how to see what it left.
type lineAct struct {
	*gatebook.Act
	q gatebook.Query
}

func (w *world) lineAct() lineAct {
	w.Helper()
	u, l := create(w.user()), link()
	a, s := account(u.User), session(u.User)
	w.commit(gatebook.CreateVerificationToken{Token: l})
	return lineAct{&gatebook.Act{
		Writes: []gatebook.Write{
			u, gatebook.LinkAccount{Account: a}, gatebook.CreateSession{Session: s},
			gatebook.UseVerificationToken{Identifier: l.Identifier, Hash: l.Hash},
		},
		Entries: []record.Entry{w.entry(u.User), w.entry(u.User)},
	}, gatebook.Query{UserID: u.User.ID, Account: key(a), Session: s.Token, Verification: l.Hash}}
}

// left wants everything that the act did to be there, or nothing, and reports
// which.
func (w *world) left(act lineAct, after error) (all bool) {
	w.Helper()
	f := w.find(act.q)
	there := []bool{
		f.ByID != nil, f.ByAccount != nil, f.Session != nil, f.Verification == nil,
		w.recorded(act.Entries[0]), w.recorded(act.Entries[1]),
	}
	for _, t := range there {
		if t != there[0] {
			w.Fatalf("after Commit = %v user, account, session, use of the link and entries are there: %v", after, there)
		}
	}
	return there[0]
}

func (w *world) breakActs(line *Line, inTx func(context.Context, *sql.Tx) error) {
	w.Helper()
	counts := make(map[string]int)
	w.broken(line, func() (do, look func()) {
		act := w.lineAct()
		act.InTx = inTx
		var err error
		return func() { err = w.a.Commit(w.ctx, act.Act) }, func() { w.lookAt(act, err, counts) }
	})
	log := w.log()
	w.Logf("%d acts undone, %d unknown, %d entries in the log", counts["undone"], counts["unknown"], len(log))
	seen := make(map[string]bool)
	for _, id := range log {
		if seen[id] {
			w.Errorf("the entry %s is in the log twice", id)
		}
		seen[id] = true
	}
}

// lookAt wants what an act left to be what its error says.
func (w *world) lookAt(act lineAct, err error, counts map[string]int) {
	w.Helper()
	switch all := w.left(act, err); {
	case err == nil && !all:
		w.Errorf("Commit = nil, but the act was not carried out")
	case errors.Is(err, gatebook.ErrCommitUnknown):
		counts["unknown"]++
	case err != nil && all:
		w.Errorf("Commit = %v, but the act was carried out", err)
	case err != nil:
		counts["undone"]++
	}
	if err != nil && !w.recorded(act.Entries...) {
		w.act(act.Act) // nothing of it is in the way
	}
	if !w.left(act, nil) {
		w.Errorf("an act that was carried out again is not there")
	}
}

var lineRules = []rule{
	{"acts", "When the connection is lost at any message of an act, it is carried out wholly or not at all, and the error says so or that it may be either.", onLine(func(w *world, line *Line) {
		w.breakActs(line, nil)
	})},
	{"acts with InTx", "When the connection is lost at any message of an act with InTx, it is carried out wholly or not at all, and the error says so or that it may be either.", onLine(func(w *world, line *Line) {
		if _, ok := w.a.(SQL); ok {
			w.breakActs(line, func(ctx context.Context, tx *sql.Tx) error {
				var one int
				return tx.QueryRowContext(ctx, "SELECT 1").Scan(&one)
			})
		}
	})},
	{"readings", "When the connection is lost at any message of a reading, its error is that, and never that nothing exists.", onLine(func(w *world, line *Line) {
		u := create(w.user())
		s := session(u.User)
		w.commit(u, gatebook.CreateSession{Session: s})
		whole := func() { w.sameSession(w.session(s.Token).Session, s) }
		for _, read := range []func(){
			func() {
				if _, err := w.a.Session(w.ctx, s.Token); errors.Is(err, gatebook.ErrNotFound) || errors.Is(err, gatebook.ErrConflict) {
					w.Errorf("Session over a broken line = %v", err)
				}
			},
			func() {
				f, err := w.a.Find(w.ctx, gatebook.Query{UserID: u.User.ID, Session: s.Token})
				if err == nil && (f.ByID == nil || f.Session == nil) {
					w.Errorf("Find over a broken line = %s", show(f))
				}
			},
			func() {
				if rows, err := w.a.Sessions(w.ctx, u.User.ID); err == nil && len(rows) != 1 {
					w.Errorf("Sessions over a broken line = %d rows", len(rows))
				}
			},
		} {
			w.broken(line, func() (do, look func()) { return read, whole })
		}
	})},
	{"renewal", "When the connection is lost at any message of ExtendSession, the session stays, with the old end or the new.", onLine(func(w *world, line *Line) {
		u := create(w.user())
		s := session(u.User)
		w.commit(u, gatebook.CreateSession{Session: s})
		w.broken(line, func() (do, look func()) {
			next := s.Expires.Add(time.Hour)
			var err error
			return func() { err = w.a.ExtendSession(w.ctx, s.Token, next) }, func() {
				if errors.Is(err, gatebook.ErrNotFound) || errors.Is(err, gatebook.ErrConflict) {
					w.Errorf("ExtendSession over a broken line = %v", err)
				}
				if got := w.session(s.Token).Session; err == nil || got.Expires.Equal(w.opts.SessionExpires.cut(next)) {
					s.Expires = next
				}
				w.sameSession(w.session(s.Token).Session, s)
			}
		})
	})},
}

var unreadyRules = []rule{
	{"refused", "Until its tables are right every method fails with an error that says what to do.", func(w *world) {
		if w.opts.Unready == nil {
			return
		}
		for _, u := range w.opts.Unready(w.T) {
			w.Run(u.Name, func(t *testing.T) {
				in := *w
				in.T, in.a = t, u.Adapter
				in.refuses(u)
			})
		}
	}},
}

// refuses wants every method to fail, and the store to work once it is repaired.
func (w *world) refuses(u Unready) {
	w.Helper()
	who := gatebook.User{ID: "1", Name: "Ada", Email: "ada@example.com"}
	if w.opts.IDs == UUIDs {
		who.ID = uuid()
	}
	for round := range 2 {
		for name, call := range map[string]func() error{
			"Find": func() error {
				_, err := w.a.Find(w.ctx, gatebook.Query{UserID: who.ID, Session: "token"})
				return err
			},
			"Session": func() error {
				_, err := w.a.Session(w.ctx, "token")
				return err
			},
			"Sessions": func() error {
				_, err := w.a.Sessions(w.ctx, who.ID)
				return err
			},
			"Accounts": func() error {
				_, err := w.a.Accounts(w.ctx, who.ID)
				return err
			},
			"Authenticators": func() error {
				_, err := w.a.Authenticators(w.ctx, who.ID)
				return err
			},
			"ExtendSession": func() error { return w.a.ExtendSession(w.ctx, "token", now) },
			"Commit": func() error {
				return w.a.Commit(w.ctx, &gatebook.Act{Writes: []gatebook.Write{gatebook.CreateUser{User: who}}})
			},
			"Claim": func() error {
				_, err := w.a.Claim(w.ctx, "one", time.Hour)
				return err
			},
			"Expired": func() error {
				_, err := w.a.Expired(w.ctx, now)
				return err
			},
			"Sweep": func() error {
				_, err := w.a.Sweep(w.ctx, now)
				return err
			},
		} {
			err := call()
			if err == nil || !strings.Contains(err.Error(), u.Says) || errors.Is(err, gatebook.ErrNotFound) ||
				errors.Is(err, gatebook.ErrConflict) || errors.Is(err, gatebook.ErrCommitUnknown) {
				w.Errorf("%s, call %d, = %v, want an error that says %q", name, round, err, u.Says)
			}
		}
	}
	if u.Repair == nil {
		return
	}
	u.Repair(w.T)
	w.commit(gatebook.CreateUser{User: who})
	if w.find(gatebook.Query{UserID: who.ID}).ByID == nil {
		w.Errorf("a user created after the repair is not there")
	}
}
