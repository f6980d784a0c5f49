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

var errHungUp = errors.New("the visitor hung up")

var contextRules = []rule{
	{"ended", "A method whose context has ended returns an error that matches its cause, and does nothing.", func(w *world) {
		u := create(w.user())
		s, l, d := session(u.User), link(), digest()
		l.Expires = time.UnixMilli(86_400_001).UTC()
		w.commit(u, gatebook.CreateSession{Session: s}, gatebook.CreateVerificationToken{Token: l})
		e := w.entry(u.User)
		ctx, cancel := context.WithCancelCause(w.ctx)
		cancel(errHungUp)
		for name, call := range map[string]func() error{
			"Find": func() error {
				_, err := w.a.Find(ctx, gatebook.Query{UserID: u.User.ID})
				return err
			},
			"Session": func() error {
				_, err := w.a.Session(ctx, s.Token)
				return err
			},
			"Sessions": func() error {
				_, err := w.a.Sessions(ctx, u.User.ID)
				return err
			},
			"Accounts": func() error {
				_, err := w.a.Accounts(ctx, u.User.ID)
				return err
			},
			"Authenticators": func() error {
				_, err := w.a.Authenticators(ctx, u.User.ID)
				return err
			},
			"Claim": func() error {
				_, err := w.a.Claim(ctx, "ended", time.Hour)
				return err
			},
			"Expired": func() error {
				_, err := w.a.Expired(ctx, now)
				return err
			},
			"ExtendSession": func() error { return w.a.ExtendSession(ctx, s.Token, now) },
			"Commit": func() error {
				return w.a.Commit(ctx, &gatebook.Act{
					Writes: []gatebook.Write{gatebook.UseCheck{Digest: d, Expires: now}}, Entries: []record.Entry{e},
				})
			},
			"Sweep": func() error {
				_, err := w.a.Sweep(ctx, now)
				return err
			},
		} {
			if err := call(); !errors.Is(err, errHungUp) {
				w.Errorf("%s = %v, want an error that matches the context's cause", name, err)
			}
		}
		if f := w.find(gatebook.Query{Verification: l.Hash, Check: d}); f.Verification == nil || f.CheckUsed {
			w.Errorf("after calls whose context had ended: %s", show(f))
		}
		w.sameSession(w.session(s.Token).Session, s)
		if !w.claim("another", time.Hour) {
			w.Errorf("a Claim whose context had ended was granted")
		}
		if w.recorded(e) {
			w.Errorf("the entry of a Commit whose context had ended is in the book")
		}
	}},
	{"deadline", "A method whose deadline has passed returns an error that matches its cause.", func(w *world) {
		ctx, cancel := context.WithDeadline(w.ctx, time.Now().Add(-time.Second))
		defer cancel()
		if _, err := w.a.Session(ctx, "x"); !errors.Is(err, context.DeadlineExceeded) {
			w.Errorf("Session = %v, want an error that matches context.DeadlineExceeded", err)
		}
	}},
	{"during", "When the context ends during Commit the act is done wholly or not at all.", func(w *world) {
		s := w.scene()
		done, undone := 0, 0
		for i := range 60 {
			u, d := create(w.user()), digest()
			e := w.entry(u.User)
			writes := []gatebook.Write{u}
			for range 100 {
				writes = append(writes, gatebook.CreateVerificationToken{Token: link()})
			}
			writes = append(writes, gatebook.UseCheck{Digest: d, Expires: now})
			ctx, cancel := context.WithCancelCause(w.ctx)
			timer := time.AfterFunc(time.Duration(i*i)*time.Microsecond, func() { cancel(errHungUp) })
			err := w.a.Commit(ctx, &gatebook.Act{Writes: writes, Entries: []record.Entry{e}})
			timer.Stop()
			cancel(nil)
			f, recorded := w.find(gatebook.Query{UserID: u.User.ID, Check: d}), w.recorded(e)
			switch all := f.ByID != nil && f.CheckUsed && recorded; {
			case err == nil && all:
				done++
			case errors.Is(err, errHungUp) && f.ByID == nil && !f.CheckUsed && !recorded:
				undone++
			case errors.Is(err, gatebook.ErrCommitUnknown) && all == recorded:
			default:
				w.Errorf("Commit = %v; user there: %v, check used: %v, entry recorded: %v", err, f.ByID != nil, f.CheckUsed, recorded)
			}
		}
		w.Logf("%d acts done, %d not", done, undone)
		w.found(s.u)
	}},
	{"InTx", "When the context ends inside InTx the act is done wholly or not at all.", onSQL(func(w *world, _ *sql.DB) {
		u := create(w.user())
		e := w.entry(u.User)
		ctx, cancel := context.WithCancelCause(w.ctx)
		err := w.a.Commit(ctx, &gatebook.Act{Writes: []gatebook.Write{u}, Entries: []record.Entry{e}, InTx: func(context.Context, *sql.Tx) error {
			cancel(errHungUp)
			return nil
		}})
		if found := w.find(gatebook.Query{UserID: u.User.ID}).ByID != nil; found != (err == nil) || w.recorded(e) != (err == nil) {
			w.Errorf("Commit = %v; user there: %v, entry recorded: %v", err, found, w.recorded(e))
		}
		if err != nil && !errors.Is(err, errHungUp) {
			w.Errorf("Commit = %v, want an error that matches the context's cause", err)
		}
		w.commit(create(w.user()))
	})},
	{"waiting", "A Commit that waits for another returns when its context ends.", onSQL(func(w *world, _ *sql.DB) {
		u := create(w.user()) // whose id may have to wait too
		inside, release := make(chan struct{}), make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			err := w.a.Commit(w.ctx, &gatebook.Act{Writes: []gatebook.Write{create(w.user())}, InTx: func(context.Context, *sql.Tx) error {
				close(inside)
				<-release
				return nil
			}})
			if err != nil {
				w.Errorf("Commit of the act that was waited for = %v", err)
			}
		})
		<-inside
		ctx, cancel := context.WithCancelCause(w.ctx)
		timer := time.AfterFunc(20*time.Millisecond, func() { cancel(errHungUp) })
		defer timer.Stop()
		// On a database with row locks it need not wait at all.
		err := w.a.Commit(ctx, &gatebook.Act{Writes: []gatebook.Write{u}})
		close(release)
		wg.Wait()
		if err != nil && !errors.Is(err, errHungUp) {
			w.Errorf("Commit = %v, want nil or an error that matches the context's cause", err)
		}
		if found := w.find(gatebook.Query{UserID: u.User.ID}).ByID != nil; found != (err == nil) {
			w.Errorf("Commit = %v, but user there: %v", err, found)
		}
	})},
	{"waiting for a row", "An act that waits for a row of another returns when its context ends, and is not done or says that it may be.", onSQL(func(w *world, _ *sql.DB) {
		u := create(w.user())
		w.commit(u)
		for range 3 {
			inside, release := make(chan struct{}), make(chan struct{})
			var wg sync.WaitGroup
			first := u.User
			first.Name = uuid()
			wg.Go(func() {
				err := w.a.Commit(w.ctx, &gatebook.Act{
					Writes: []gatebook.Write{gatebook.UpdateUser{User: first, Fields: []string{"name"}}},
					InTx: func(context.Context, *sql.Tx) error {
						close(inside)
						<-release
						return nil
					},
				})
				if err != nil {
					w.Errorf("Commit of the act that was waited for = %v", err)
				}
			})
			<-inside
			ctx, cancel := context.WithCancelCause(w.ctx)
			timer := time.AfterFunc(50*time.Millisecond, func() { cancel(errHungUp) })
			entries := make([]record.Entry, 16) // more than some pools have connections
			for i := range entries {
				entries[i] = w.entry(u.User)
			}
			unknown := false
			w.together(len(entries), func(i int) error {
				next := u.User
				next.Name = "waited"
				return w.a.Commit(ctx, &gatebook.Act{
					Writes: []gatebook.Write{gatebook.UpdateUser{User: next, Fields: []string{"name"}}}, Entries: entries[i : i+1],
				})
			}, func(i int, err error) {
				if !errors.Is(err, errHungUp) {
					w.Errorf("Commit of an act that waits = %v, want an error that matches the context's cause", err)
				}
				if errors.Is(err, gatebook.ErrCommitUnknown) {
					unknown = true
					entries[i].ID = ""
				}
			})
			timer.Stop()
			close(release)
			wg.Wait()
			// A database that was left to carry out a statement may do so yet.
			if !unknown {
				u.User.Name = first.Name
				w.found(u)
			}
			for _, e := range entries {
				if e.ID != "" && w.recorded(e) {
					w.Errorf("the entry of an act whose context ended is in the book")
				}
			}
			next := u.User
			next.Name = uuid()
			w.commit(gatebook.UpdateUser{User: next, Fields: []string{"name"}})
			u.User.Name = next.Name
		}
	})},
	{"InTx hung up", "A statement of InTx whose context ends undoes the act; its connection is no worse for it.", onSQL(func(w *world, _ *sql.DB) {
		for range 12 {
			u := create(w.user())
			e := w.entry(u.User)
			ctx, cancel := context.WithCancelCause(w.ctx)
			err := w.a.Commit(ctx, &gatebook.Act{Writes: []gatebook.Write{u}, Entries: []record.Entry{e}, InTx: func(ctx context.Context, tx *sql.Tx) error {
				cancel(errHungUp)
				var one int
				return tx.QueryRowContext(ctx, "SELECT 1").Scan(&one)
			}})
			if err == nil || errors.Is(err, gatebook.ErrConflict) {
				w.Errorf("Commit = %v, want the error of InTx", err)
			}
			if w.find(gatebook.Query{UserID: u.User.ID}).ByID != nil || w.recorded(e) {
				w.Errorf("an act whose context ended inside InTx left something")
			}
			w.commit(create(w.user()))
		}
	})},
	{"Tx hung up", "When the context ends during an act in the application's transaction the act is done wholly or not at all.", onSQL(func(w *world, db *sql.DB) {
		for i := range 20 {
			u, d := create(w.user()), digest()
			e := w.entry(u.User)
			writes := []gatebook.Write{u}
			for range 50 {
				writes = append(writes, gatebook.CreateVerificationToken{Token: link()})
			}
			writes = append(writes, gatebook.UseCheck{Digest: d, Expires: now})
			ctx, cancel := context.WithCancelCause(w.ctx)
			tx := w.begin(db)
			timer := time.AfterFunc(time.Duration(i*i*i)*time.Microsecond, func() { cancel(errHungUp) })
			err := w.a.Commit(ctx, &gatebook.Act{Writes: writes, Entries: []record.Entry{e}, Tx: tx})
			timer.Stop()
			cancel(nil)
			// It fails where the end of a context costs the connection.
			committed := tx.Commit() == nil
			f := w.find(gatebook.Query{UserID: u.User.ID, Check: d})
			there := []bool{f.ByID != nil, f.CheckUsed, w.recorded(e)}
			if done := err == nil && committed; slices.Contains(there, !done) || err != nil && !errors.Is(err, errHungUp) {
				w.Errorf("Commit = %v, the transaction was committed: %v; user, check and entry are there: %v", err, committed, there)
			}
		}
		w.commit(create(w.user()))
	})},
	{"reading", "A reading whose context ends returns the whole answer or an error that matches its cause.", func(w *world) {
		u := create(w.user())
		s := session(u.User)
		w.commit(u, gatebook.CreateSession{Session: s})
		for i := range 60 {
			ctx, cancel := context.WithCancelCause(w.ctx)
			timer := time.AfterFunc(time.Duration(i*i/2)*time.Microsecond, func() { cancel(errHungUp) })
			f, err := w.a.Session(ctx, s.Token)
			found, err2 := w.a.Find(ctx, gatebook.Query{UserID: u.User.ID, Session: s.Token})
			list, err3 := w.a.Sessions(ctx, u.User.ID)
			timer.Stop()
			cancel(nil)
			for _, err := range []error{err, err2, err3} {
				if err != nil && !errors.Is(err, errHungUp) {
					w.Errorf("a reading = %v, want an error that matches the context's cause", err)
				}
			}
			if err == nil && f.Session.ID != s.ID || err2 == nil && (found.ByID == nil || found.Session == nil) || err3 == nil && len(list) != 1 {
				w.Errorf("a reading gave a part of the answer: %v, %v, %v", f, found, list)
			}
		}
		w.sameSession(w.session(s.Token).Session, s)
	}},
}
