package adaptertest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/book"
	"github.com/gatebook/gatebook/record"
)

// runLost tests what is left when the connection between an adapter and its
// store is lost, at every message in turn, before the store had it and before
// its answer came.
func runLost(t *testing.T, opts *Options) {
	t.Helper()
	for _, r := range lostRules {
		t.Run(r.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeoutCause(t.Context(), patience, fmt.Errorf("still not done after %v", patience))
			defer cancel()
			line := opts.Line(t)
			r.test(&lossy{world{T: t, ctx: ctx, rule: r.text, opts: opts, a: line.Adapter}, line})
		})
	}
}

// lossy is a world whose connection can be cut.
type lossy struct {
	world
	line *Line
}

type lostRule struct {
	name, text string
	test       func(*lossy)
}

// An effect is one thing that an act changes: what it is called, and whether it
// is there.
type effect struct {
	name string
	is   func() bool
}

// a trial is an act that has not been carried out yet.
type trial struct {
	act     *gatebook.Act
	effects []effect
}

const lostText = "An act whose connection is lost is done wholly or not at all; not at all after any error that does not match ErrCommitUnknown; and its entries tell."

var lostRules = []lostRule{
	{"first sign-in", lostText, func(l *lossy) { l.cutAll(true, l.firstSignIn) }},
	{"first sign-in, new connection", lostText, func(l *lossy) { l.cutAll(false, l.firstSignIn) }},
	{"sign-in", lostText, func(l *lossy) { l.cutAll(true, l.signIn) }},
	{"handler in the transaction", lostText, func(l *lossy) { l.cutAll(true, l.inTx) }},
	{"unlinking", lostText, func(l *lossy) { l.cutAll(true, l.unlink) }},
	{"deletion", lostText, func(l *lossy) { l.cutAll(true, l.deletion) }},
	{"append", "Entries whose connection is lost are all appended or none is; none after any error that does not match the book's ErrCommitUnknown.", func(l *lossy) { l.appends() }},
	{"read", "A question whose connection is lost is answered in full or with an error, which is not that the row does not exist.", func(l *lossy) { l.reads() }},
	{"sequencer", "Entries get their number once, without a gap, also when the sequencer's connection is lost.", func(l *lossy) { l.numbers() }},
}

// mostMessages bounds how many messages an act may take.
const mostMessages = 100

// cutAll carries acts out, each with the connection cut one message later, until
// one gets through whole. Warm acts follow another on the same connection.
func (l *lossy) cutAll(warm bool, next func() trial) {
	l.Helper()
	var written []record.Entry
	for _, delivered := range []bool{false, true} {
		cuts := 0
		for n := 1; ; n++ {
			if n > mostMessages {
				l.Fatalf("an act is not done after %d messages", mostMessages)
			}
			if warm {
				done := next()
				l.act(done.act)
				written = append(written, done.act.Entries...)
			}
			t := next()
			l.line.Break(n, delivered)
			err := l.a.Commit(l.ctx, t.act)
			cut := l.line.Mend()
			if l.judge(fmt.Sprintf("cut at message %d, delivered %v", n, delivered), t, err) {
				written = append(written, t.act.Entries...)
			}
			if !cut {
				if err != nil {
					l.Errorf("Commit whose connection was not cut = %v", err)
				}
				break
			}
			cuts++
		}
		if cuts == 0 {
			l.Fatalf("no connection was cut: the line does not lead through what Break cuts")
		}
	}
	l.once(written)
}

// judge looks at what an act left, and reports whether it was done.
func (l *lossy) judge(when string, t trial, err error) (done bool) {
	l.Helper()
	var is []string
	for _, e := range t.effects {
		if e.is() {
			is = append(is, e.name)
		}
	}
	done = len(is) > 0
	if done && len(is) != len(t.effects) {
		l.Errorf("%s: an act was half done: only %q are there; Commit = %v", when, is, err)
	}
	if recorded := l.recorded(t.act.Entries...); recorded != done {
		l.Errorf("%s: done %v, and its entries recorded %v; Commit = %v", when, done, recorded, err)
	}
	switch {
	case err == nil && !done:
		l.Errorf("%s: Commit = nil, and nothing was done", when)
	case err != nil && done && !errors.Is(err, gatebook.ErrCommitUnknown):
		l.Errorf("%s: Commit = %v, and the act was done; want an error that matches ErrCommitUnknown", when, err)
	case errors.Is(err, gatebook.ErrConflict):
		l.Errorf("%s: Commit = %v of an act that meets no other", when, err)
	}
	return done
}

// once wants each entry in the log once, and no other.
func (l *lossy) once(written []record.Entry) {
	l.Helper()
	var all []book.Entry
	l.settle()
	all = l.entries(book.Query{})
	var got []string
	for i, e := range all {
		if e.Seq != int64(i+1) {
			l.Fatalf("entry %d of the log has seq %d", i+1, e.Seq)
		}
		got = append(got, e.Header.ID)
	}
	want := ids(written)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		l.Errorf("the log has %d entries and %d acts' were written: %v, want %v", len(got), len(want), got, want)
	}
}

// settle lets the sequencer end what a lost connection left it with.
func (l *lossy) settle() {
	l.Helper()
	for {
		err := l.a.Book().Drain(l.ctx)
		if err == nil {
			return
		}
		if l.ctx.Err() != nil {
			l.Fatalf("the book's Drain: %v", err)
		}
		timer := time.NewTimer(100 * time.Millisecond)
		select {
		case <-timer.C:
		case <-l.ctx.Done():
			timer.Stop()
		}
	}
}

func (l *lossy) there(u gatebook.User) effect {
	return effect{"user", func() bool { return l.find(gatebook.Query{UserID: u.ID}).ByID != nil }}
}

func (l *lossy) linked(a gatebook.Account) effect {
	return effect{"account", func() bool { return l.find(gatebook.Query{Account: key(a)}).ByAccount != nil }}
}

func (l *lossy) opened(s gatebook.StoredSession) effect {
	return effect{"session", func() bool { return l.opens(s.Token) }}
}

func (l *lossy) used(c gatebook.UseCheck) effect {
	return effect{"check", func() bool { return l.find(gatebook.Query{Check: c.Digest}).CheckUsed }}
}

func not(e effect) effect {
	return effect{"no " + e.name, func() bool { return !e.is() }}
}

func (l *lossy) firstSignIn() trial {
	l.Helper()
	u, lk := l.user(), link()
	a, s, c := account(u), session(u), gatebook.UseCheck{Digest: digest(), Expires: now}
	l.commit(gatebook.CreateVerificationToken{Token: lk})
	return trial{
		&gatebook.Act{
			Writes: []gatebook.Write{
				gatebook.UseVerificationToken{Identifier: lk.Identifier, Hash: lk.Hash}, c,
				create(u), gatebook.LinkAccount{Account: a}, gatebook.CreateSession{Session: s},
			},
			Entries: []record.Entry{l.entry(u), l.entry(u), l.entry(u)},
		},
		[]effect{l.there(u), l.linked(a), l.opened(s), l.used(c), {"link used", func() bool {
			return l.find(gatebook.Query{Verification: lk.Hash}).Verification == nil
		}}},
	}
}

// known returns a user with an account, a session and, where there are such, a
// passkey with its account.
func (l *lossy) known() (u gatebook.User, a gatebook.Account, s gatebook.StoredSession, effects []effect) {
	l.Helper()
	u = l.user()
	a, s = account(u), session(u)
	writes := []gatebook.Write{create(u), gatebook.LinkAccount{Account: a}, gatebook.CreateSession{Session: s}}
	effects = []effect{l.there(u), l.linked(a), l.opened(s)}
	if !l.opts.NoPasskeys {
		p, of := passkey(u)
		writes = append(writes, gatebook.LinkAccount{Account: of}, gatebook.CreateAuthenticator{Authenticator: p})
		effects = append(effects, l.linked(of), effect{"passkey", func() bool {
			return l.find(gatebook.Query{Credential: p.CredentialID}).Authenticator != nil
		}})
	}
	l.commit(writes...)
	return u, a, s, effects
}

func (l *lossy) signIn() trial {
	l.Helper()
	u, _, old, _ := l.known()
	s, c := session(u), gatebook.UseCheck{Digest: digest(), Expires: now}
	changed := u
	changed.Name = "Countess of Lovelace"
	return trial{
		&gatebook.Act{
			Writes: []gatebook.Write{
				c, gatebook.UpdateUser{User: changed, Fields: []string{"name"}},
				gatebook.DeleteSession{Handle: l.handle(old.Token)}, gatebook.CreateSession{Session: s},
			},
			Entries: []record.Entry{l.entry(u)},
		},
		[]effect{l.opened(s), not(l.opened(old)), l.used(c), {"name", func() bool {
			return l.find(gatebook.Query{UserID: u.ID}).ByID.User.Name == changed.Name
		}}},
	}
}

func (l *lossy) inTx() trial {
	l.Helper()
	t := l.firstSignIn()
	if _, ok := l.a.(SQL); ok {
		t.act.InTx = func(context.Context, *sql.Tx) error { return nil }
	}
	return t
}

func (l *lossy) unlink() trial {
	l.Helper()
	u, a, _, _ := l.known()
	other := account(u)
	l.commit(gatebook.LinkAccount{Account: other})
	return trial{
		&gatebook.Act{
			Writes: []gatebook.Write{
				gatebook.UnlinkAccount{UserID: u.ID, AccountKey: key(a)},
				gatebook.KeepAccount{UserID: u.ID, Providers: []string{other.Provider}},
			},
			Entries: []record.Entry{l.entry(u)},
		},
		[]effect{not(l.linked(a))},
	}
}

func (l *lossy) deletion() trial {
	l.Helper()
	u, _, _, effects := l.known()
	t := trial{act: &gatebook.Act{Writes: []gatebook.Write{gatebook.DeleteUser{ID: u.ID}}, Entries: []record.Entry{l.entry(u)}}}
	for _, e := range effects {
		t.effects = append(t.effects, not(e))
	}
	return t
}

func (l *lossy) appends() {
	var written []record.Entry
	for _, delivered := range []bool{false, true} {
		for n, cut := 1, true; cut; n++ {
			if n > mostMessages {
				l.Fatalf("Append is not done after %d messages", mostMessages)
			}
			u := gatebook.User{ID: uuid()}
			entries := []record.Entry{l.entry(u), l.entry(u)}
			l.line.Break(n, delivered)
			err := l.a.Book().Append(l.ctx, entries...)
			cut = l.line.Mend()
			first, second := l.recorded(entries[0]), l.recorded(entries[1])
			switch {
			case first != second:
				l.Errorf("cut at message %d: of two entries one is there", n)
			case err == nil && !first:
				l.Errorf("cut at message %d: Append = nil, and nothing was appended", n)
			case err != nil && first && !errors.Is(err, book.ErrCommitUnknown):
				l.Errorf("cut at message %d: Append = %v, and the entries are there; want an error that matches book.ErrCommitUnknown", n, err)
			}
			if first {
				written = append(written, entries...)
			}
		}
	}
	l.once(written)
}

func (l *lossy) reads() {
	u, a, s, _ := l.known()
	for _, delivered := range []bool{false, true} {
		for n, cut := 1, true; cut; n++ {
			if n > mostMessages {
				l.Fatalf("questions are not answered after %d messages", mostMessages)
			}
			l.line.Break(n, delivered)
			f, err := l.a.Session(l.ctx, s.Token)
			if errors.Is(err, gatebook.ErrNotFound) || err == nil && f.User.ID != u.ID {
				l.Errorf("cut at message %d: Session = %v, %v", n, f, err)
			}
			found, err := l.a.Find(l.ctx, gatebook.Query{UserID: u.ID, Account: key(a), Email: u.Email})
			if err == nil && (found.ByID == nil || found.ByAccount == nil || found.ByEmail == nil) {
				l.Errorf("cut at message %d: Find = %s, want the user three times", n, show(found))
			}
			if list, err := l.a.Sessions(l.ctx, u.ID); err == nil && len(list) != 1 {
				l.Errorf("cut at message %d: Sessions = %v, want one", n, list)
			}
			cut = l.line.Mend()
		}
	}
}

func (l *lossy) numbers() {
	var written []record.Entry
	for _, delivered := range []bool{false, true} {
		for n, cut := 1, true; cut; n++ {
			if n > mostMessages {
				l.Fatalf("a batch is not done after %d messages", mostMessages)
			}
			u := gatebook.User{ID: uuid()}
			entries := []record.Entry{l.entry(u), l.entry(u), l.entry(u)}
			if err := l.a.Book().Append(l.ctx, entries...); err != nil {
				l.Fatalf("Append: %v", err)
			}
			written = append(written, entries...)
			l.line.Break(n, delivered)
			_ = l.a.Book().Drain(l.ctx) // what it left is looked at
			cut = l.line.Mend()
			l.settle()
		}
	}
	l.once(written)
}
