package adaptertest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/record"
)

var txRules = []rule{
	{"unsupported", "Adapters that are not on database/sql fail what has InTx or Tx with an error that matches errors.ErrUnsupported.", func(w *world) {
		if _, ok := w.a.(SQL); ok {
			return // the other rules of this group are about these
		}
		u := create(w.user())
		ran := false
		err := w.a.Commit(w.ctx, &gatebook.Act{Writes: []gatebook.Write{u}, InTx: func(context.Context, *sql.Tx) error {
			ran = true
			return nil
		}})
		if err == nil && ran {
			return // on database/sql after all
		}
		if !errors.Is(err, errors.ErrUnsupported) || ran {
			w.Errorf("Commit with InTx = %v (InTx ran: %v), want an error that matches errors.ErrUnsupported", err, ran)
		}
		if err := w.a.Commit(w.ctx, &gatebook.Act{Writes: []gatebook.Write{u}, Tx: new(sql.Tx)}); !errors.Is(err, errors.ErrUnsupported) {
			w.Errorf("Commit with Tx = %v, want an error that matches errors.ErrUnsupported", err)
		}
		if f := w.find(gatebook.Query{UserID: u.User.ID}); f.ByID != nil {
			w.Errorf("the user of an unsupported act is there")
		}
		if _, err := w.a.Find(w.ctx, gatebook.Query{UserID: u.User.ID, Tx: new(sql.Tx)}); !errors.Is(err, errors.ErrUnsupported) {
			w.Errorf("Find with Tx = %v, want an error that matches errors.ErrUnsupported", err)
		}
	}},
	{"InTx", "InTx runs inside the transaction, after the writes.", onSQL(func(w *world, db *sql.DB) {
		u := create(w.user())
		e := w.entry(u.User)
		ran := 0
		w.act(&gatebook.Act{Writes: []gatebook.Write{u}, Entries: []record.Entry{e}, InTx: func(ctx context.Context, tx *sql.Tx) error {
			ran++
			if f := w.find(gatebook.Query{UserID: u.User.ID}); f.ByID != nil {
				w.Errorf("the act is seen from outside while InTx runs")
			}
			var one int
			return tx.QueryRowContext(ctx, "SELECT 1").Scan(&one)
		}})
		if ran != 1 {
			w.Errorf("InTx ran %d times, want once", ran)
		}
		w.found(u)
		if !w.recorded(e) {
			w.Errorf("the entry is not in the book")
		}
	})},
	{"InTx alone", "An act may have entries and InTx and no writes.", onSQL(func(w *world, db *sql.DB) {
		e := w.entry(w.user())
		ran := false
		w.act(&gatebook.Act{Entries: []record.Entry{e}, InTx: func(context.Context, *sql.Tx) error {
			ran = true
			return nil
		}})
		if !ran || !w.recorded(e) {
			w.Errorf("InTx ran: %v, entry recorded: %v; want both", ran, w.recorded(e))
		}
	})},
	{"InTx fails", "An error of InTx rolls everything back and is returned as it is.", onSQL(func(w *world, db *sql.DB) {
		s := w.scene()
		writes, q := s.everything(w.handle(s.spare.session.Token))
		same := w.intact(s, q)
		e := w.entry(s.u.User)
		refused := errors.New("refused by the application")
		err := w.a.Commit(w.ctx, &gatebook.Act{Writes: writes, Entries: []record.Entry{e}, InTx: func(context.Context, *sql.Tx) error {
			return refused
		}})
		if err != refused { //nolint:errorlint // as it is, not wrapped
			w.Errorf("Commit = %v, want InTx's own error", err)
		}
		if w.recorded(e) {
			w.Errorf("the entry of a refused act is in the book")
		}
		same("an act that InTx refused")
	})},
	{"InTx not reached", "InTx does not run when a write conflicts.", onSQL(func(w *world, db *sql.DB) {
		err := w.a.Commit(w.ctx, &gatebook.Act{
			Writes: []gatebook.Write{gatebook.DeleteUser{ID: w.newID()}},
			InTx: func(context.Context, *sql.Tx) error {
				w.Errorf("InTx ran")
				return nil
			},
		})
		if !errors.Is(err, gatebook.ErrConflict) {
			w.Errorf("Commit = %v, want an error that matches ErrConflict", err)
		}
	})},
	{"InTx panics", "A panic of InTx rolls everything back and goes on to the caller.", onSQL(func(w *world, db *sql.DB) {
		u := create(w.user())
		func() {
			defer func() {
				if recover() == nil {
					w.Errorf("the panic did not come through")
				}
			}()
			_ = w.a.Commit(w.ctx, &gatebook.Act{Writes: []gatebook.Write{u}, InTx: func(context.Context, *sql.Tx) error {
				panic("application's mistake")
			}})
		}()
		if f := w.find(gatebook.Query{UserID: u.User.ID}); f.ByID != nil {
			w.Errorf("the user of a panicked act is there")
		}
		w.commit(u)
		w.found(u)
	})},
	{"Tx", "An act with Tx is carried out in the application's transaction, and committed by it.", onSQL(func(w *world, db *sql.DB) {
		s := w.scene()
		writes, q := s.everything(w.handle(s.spare.session.Token))
		entries := []record.Entry{w.entry(s.u.User), w.entry(s.u.User)}
		same := w.intact(s, q)
		tx := w.begin(db)
		ran := false
		w.act(&gatebook.Act{Writes: writes, Entries: entries, Tx: tx, InTx: func(_ context.Context, got *sql.Tx) error {
			ran = got == tx
			return nil
		}})
		if !ran {
			w.Errorf("InTx did not run with the application's transaction")
		}
		same("an act in a transaction not yet committed")
		inside := q
		inside.Tx = tx
		if f := w.find(inside); f.ByID == nil || f.ByEmail == nil || f.ByAccount == nil || f.Session == nil ||
			f.Verification == nil || !f.CheckUsed {
			w.Errorf("Find inside the transaction = %s, want everything that the act wrote in it", show(f))
		}
		if err := tx.Commit(); err != nil {
			w.Fatalf("Commit of the application's transaction: %v", err)
		}
		w.a.Book().Wake()
		f := w.find(q)
		if f.ByID == nil || f.ByAccount == nil || f.Session == nil || f.Verification == nil || !f.CheckUsed || !w.recorded(entries...) {
			w.Errorf("Find after the application's commit = %s, recorded %v; want everything", show(f), w.recorded(entries...))
		}
	})},
	{"Tx rolled back", "An act in a transaction that the application rolls back leaves nothing.", onSQL(func(w *world, db *sql.DB) {
		s := w.scene()
		writes, q := s.everything(w.handle(s.spare.session.Token))
		e := w.entry(s.u.User)
		same := w.intact(s, q)
		tx := w.begin(db)
		w.act(&gatebook.Act{Writes: writes, Entries: []record.Entry{e}, Tx: tx})
		if err := tx.Rollback(); err != nil {
			w.Fatalf("Rollback of the application's transaction: %v", err)
		}
		same("a transaction that was rolled back")
		if w.recorded(e) {
			w.Errorf("the entry of a transaction that was rolled back is in the book")
		}
		w.act(&gatebook.Act{Writes: writes, Entries: []record.Entry{e}})
	})},
	{"Tx conflict", "An act that conflicts leaves nothing, even when the application commits its transaction.", onSQL(func(w *world, db *sql.DB) {
		s := w.scene()
		handle := w.handle(s.spare.session.Token)
		for _, bad := range s.conflicts {
			writes, q := s.everything(handle)
			same := w.intact(s, q)
			e := w.entry(s.u.User)
			tx := w.begin(db)
			err := w.a.Commit(w.ctx, &gatebook.Act{Writes: append(writes, bad), Entries: []record.Entry{e}, Tx: tx})
			if !errors.Is(err, gatebook.ErrConflict) {
				w.Errorf("Commit with a conflicting %T = %v, want an error that matches ErrConflict", bad, err)
			}
			if err := tx.Commit(); err != nil {
				w.Errorf("Commit of a transaction with an act that conflicted: %v", err)
			}
			same(fmt.Sprintf("an act with a conflicting %T in a transaction", bad))
			if w.recorded(e) {
				w.Errorf("the entry of an act that conflicted is in the book")
			}
		}
	})},
	{"InTx writes", "What InTx writes in the transaction is kept or undone with the act.", onSQL(func(w *world, db *sql.DB) {
		work := w.workTable(db)
		refused := errors.New("refused by the application")
		for _, want := range []error{nil, refused, gatebook.ErrConflict} {
			u, n := create(w.user()), lastID.Add(1)
			e := w.entry(u.User)
			act := &gatebook.Act{Writes: []gatebook.Write{u}, Entries: []record.Entry{e}, InTx: func(ctx context.Context, tx *sql.Tx) error {
				if err := work.insert(ctx, tx, n); err != nil {
					return err
				}
				return want
			}}
			err := w.a.Commit(w.ctx, act)
			if !errors.Is(err, want) {
				w.Errorf("Commit = %v, want %v", err, want)
			}
			there := []bool{w.find(gatebook.Query{UserID: u.User.ID}).ByID != nil, w.recorded(e), work.has(n)}
			if slices.Contains(there, want != nil) {
				w.Errorf("after Commit = %v user, entry and the application's row are there: %v", err, there)
			}
		}
	})},
	{"InTx fails in the database", "A statement of InTx that fails rolls everything back; the next act goes on.", onSQL(func(w *world, _ *sql.DB) {
		for range 12 { // more often than the pool has connections
			u := create(w.user())
			e := w.entry(u.User)
			err := w.a.Commit(w.ctx, &gatebook.Act{Writes: []gatebook.Write{u}, Entries: []record.Entry{e}, InTx: func(ctx context.Context, tx *sql.Tx) error {
				_, err := tx.ExecContext(ctx, "SELECT nosuchcolumn FROM nosuchtable")
				return err
			}})
			if err == nil || errors.Is(err, gatebook.ErrConflict) || w.recorded(e) || w.find(gatebook.Query{UserID: u.User.ID}).ByID != nil {
				w.Errorf("Commit with a statement that fails = %v, entry recorded: %v", err, w.recorded(e))
			}
		}
		w.commit(create(w.user()))
	})},
	{"Tx goes on", "After an act that failed the application's transaction goes on, and commits its own work and other acts.", onSQL(func(w *world, db *sql.DB) {
		work := w.workTable(db)
		refused := errors.New("refused by the application")
		taken := create(w.user())
		w.commit(taken)
		for name, fail := range map[string]func(*gatebook.Act) (fails func(error) bool){
			"conflicts": func(act *gatebook.Act) func(error) bool {
				act.Writes = append(act.Writes, taken)
				return func(err error) bool { return errors.Is(err, gatebook.ErrConflict) }
			},
			"is refused": func(act *gatebook.Act) func(error) bool {
				act.InTx = func(context.Context, *sql.Tx) error { return refused }
				return func(err error) bool { return err == refused } //nolint:errorlint // as it is, not wrapped
			},
			"has an unknown write": func(act *gatebook.Act) func(error) bool {
				act.Writes = append(act.Writes, stranger{})
				return func(err error) bool { return err != nil && !errors.Is(err, gatebook.ErrConflict) }
			},
			"is broken by InTx": func(act *gatebook.Act) func(error) bool {
				act.InTx = func(ctx context.Context, tx *sql.Tx) error {
					_, err := tx.ExecContext(ctx, "SELECT nosuchcolumn FROM nosuchtable")
					return err
				}
				return func(err error) bool { return err != nil && !errors.Is(err, gatebook.ErrConflict) }
			},
			"is late": func(act *gatebook.Act) func(error) bool {
				act.Entries = nil
				return func(err error) bool { return errors.Is(err, errHungUp) }
			},
		} {
			before, failed, after := create(w.user()), create(w.user()), create(w.user())
			entries := []record.Entry{w.entry(before.User), w.entry(failed.User), w.entry(after.User)}
			one, two := lastID.Add(1), lastID.Add(1)
			tx := w.begin(db)
			w.must(work.insert(w.ctx, tx, one))
			w.act(&gatebook.Act{Writes: []gatebook.Write{before}, Entries: entries[:1], Tx: tx})
			act := &gatebook.Act{Writes: []gatebook.Write{failed}, Entries: entries[1:2], Tx: tx}
			ctx, cancel := context.WithCancelCause(w.ctx)
			fails := fail(act)
			if name == "is late" {
				cancel(errHungUp)
			}
			if err := w.a.Commit(ctx, act); !fails(err) {
				w.Errorf("Commit of an act that %s = %v", name, err)
			}
			cancel(nil)
			w.must(work.insert(w.ctx, tx, two))
			w.act(&gatebook.Act{Writes: []gatebook.Write{after, gatebook.LinkAccount{Account: account(before.User)}}, Entries: entries[2:], Tx: tx})
			f, err := w.a.Find(w.ctx, gatebook.Query{UserID: failed.User.ID, Email: after.User.Email, Tx: tx})
			if err != nil || f.ByID != nil || f.ByEmail == nil {
				w.Errorf("Find in the transaction after an act that %s: failed act's user there: %v, later one's: %v, %v", name, f.ByID != nil, f.ByEmail != nil, err)
			}
			if err := tx.Commit(); err != nil {
				w.Errorf("Commit of a transaction with an act that %s: %v", name, err)
				continue
			}
			w.found(before)
			w.found(after)
			if w.find(gatebook.Query{UserID: failed.User.ID}).ByID != nil || w.recorded(entries[1]) {
				w.Errorf("an act that %s left something", name)
			}
			if !w.recorded(entries[0], entries[2]) || !work.has(one) || !work.has(two) {
				w.Errorf("a transaction with an act that %s lost other work", name)
			}
		}
	})},
	{"Tx panics", "A panic of InTx in the application's transaction undoes the act and goes on to the caller.", onSQL(func(w *world, db *sql.DB) {
		u, other := create(w.user()), create(w.user())
		tx := w.begin(db)
		func() {
			defer func() {
				if recover() == nil {
					w.Errorf("the panic did not come through")
				}
			}()
			_ = w.a.Commit(w.ctx, &gatebook.Act{Writes: []gatebook.Write{u}, Tx: tx, InTx: func(context.Context, *sql.Tx) error {
				panic("application's mistake")
			}})
		}()
		w.act(&gatebook.Act{Writes: []gatebook.Write{other}, Tx: tx})
		w.must(tx.Commit())
		w.found(other)
		if f := w.find(gatebook.Query{UserID: u.User.ID}); f.ByID != nil {
			w.Errorf("the user of a panicked act is there")
		}
	})},
	{"Tx ended", "An act or a question in a transaction that has ended fails, and not as a conflict.", onSQL(func(w *world, db *sql.DB) {
		u := create(w.user())
		tx := w.begin(db)
		w.must(tx.Rollback())
		e := w.entry(u.User)
		err := w.a.Commit(w.ctx, &gatebook.Act{Writes: []gatebook.Write{u}, Entries: []record.Entry{e}, Tx: tx})
		if err == nil || errors.Is(err, gatebook.ErrConflict) || errors.Is(err, gatebook.ErrCommitUnknown) {
			w.Errorf("Commit in a transaction that has ended = %v", err)
		}
		if _, err := w.a.Find(w.ctx, gatebook.Query{UserID: u.User.ID, Tx: tx}); err == nil {
			w.Errorf("Find in a transaction that has ended = nil")
		}
		if w.find(gatebook.Query{UserID: u.User.ID}).ByID != nil || w.recorded(e) {
			w.Errorf("an act in a transaction that has ended left something")
		}
	})},
	{"Tx made ids", "NewUserID makes ids in the application's transaction too.", onSQL(func(w *world, db *sql.DB) {
		m, ok := w.a.(gatebook.IDMaker)
		if !ok {
			return
		}
		u := create(w.user())
		tx := w.begin(db)
		id, err := m.NewUserID(w.ctx, u.User, tx)
		if err != nil {
			w.Fatalf("NewUserID in a transaction: %v", err)
		}
		u.User.ID = id
		w.act(&gatebook.Act{Writes: []gatebook.Write{u}, Tx: tx})
		w.must(tx.Commit())
		w.found(u)
	})},
}

// table is one of the application's own.
type table struct {
	w  *world
	db *sql.DB
}

// workTable makes the application's table, with one column of numbers.
func (w *world) workTable(db *sql.DB) table {
	w.Helper()
	if _, err := db.ExecContext(w.ctx, "CREATE TABLE IF NOT EXISTS adaptertest_work (n bigint)"); err != nil {
		w.Fatalf("make a table of the application's: %v", err)
	}
	return table{w, db}
}

func (t table) insert(ctx context.Context, tx *sql.Tx, n int64) error {
	_, err := tx.ExecContext(ctx, fmt.Sprintf("INSERT INTO adaptertest_work (n) VALUES (%d)", n))
	return err
}

func (t table) has(n int64) bool {
	t.w.Helper()
	var count int
	err := t.db.QueryRowContext(t.w.ctx, fmt.Sprintf("SELECT count(*) FROM adaptertest_work WHERE n = %d", n)).Scan(&count)
	t.w.must(err)
	return count > 0
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatalf("the application's own statement: %v", err)
	}
}

func onSQL(test func(*world, *sql.DB)) func(*world) {
	return func(w *world) {
		if a, ok := w.a.(SQL); ok {
			test(w, a.SQL())
		}
	}
}

func (w *world) begin(db *sql.DB) *sql.Tx {
	w.Helper()
	tx, err := db.BeginTx(w.ctx, nil)
	if err != nil {
		w.Fatalf("BeginTx: %v", err)
	}
	w.Cleanup(func() { tx.Rollback() })
	return tx
}
