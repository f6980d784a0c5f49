package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gatebook/gatebook"
)

// sweepLimit is how many rows of a table one Sweep deletes. It bounds how long
// an act waits for it.
const sweepLimit = 1000

// ExtendSession implements [gatebook.Adapter].
func (s *Store) ExtendSession(ctx context.Context, token gatebook.Secret, expires time.Time) error {
	ctx, done := s.bounded(ctx)
	defer done()
	q, err := s.ready(ctx)
	if err != nil {
		return err
	}
	key, _, ok := q.key(token)
	if !ok {
		return failed(ctx, "extend session", cmp.Or(ctx.Err(), gatebook.ErrNotFound))
	}
	n, err := s.db.Do(ctx, q.extendSession.text, q.extendSession.args([]any{key, q.t.session.col("expires").stamp(expires)})...)
	if err == nil && n == 0 {
		err = s.unchanged(ctx, q, key)
	}
	if err != nil {
		return failed(ctx, "extend session", err)
	}
	return nil
}

// unchanged tells a session that is gone from one that had that expiry already,
// where an update does not.
func (s *Store) unchanged(ctx context.Context, q *queries, key string) error {
	if q.d.counts() {
		return gatebook.ErrNotFound
	}
	var one int
	err := s.db.SQL().QueryRowContext(ctx, q.hasSession.text, q.hasSession.args([]any{key})...).Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return gatebook.ErrNotFound
	}
	return s.db.Classify(err)
}

// Claim implements [gatebook.Adapter].
func (s *Store) Claim(ctx context.Context, holder string, d time.Duration) (bool, error) {
	ctx, done := s.bounded(ctx)
	defer done()
	q, err := s.ready(ctx)
	if err != nil {
		return false, err
	}
	// Those without the claim ask again and again, and write nothing.
	var held int
	err = s.db.SQL().QueryRowContext(ctx, q.claimHeld.text, q.claimHeld.args([]any{holder})...).Scan(&held)
	if err != nil {
		return false, failed(ctx, "claim the housekeeping", s.db.Classify(err))
	}
	if held > 0 {
		return false, nil
	}
	var mine int
	err = s.db.Tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, q.claimMake.text); err != nil {
			return err
		}
		err := tx.QueryRowContext(ctx, q.claimRow.text, q.claimRow.args([]any{holder})...).Scan(&mine)
		if err != nil || mine == 0 {
			return err
		}
		_, err = tx.ExecContext(ctx, q.claimTake.text, q.claimTake.args([]any{holder, d.Milliseconds()})...)
		return err
	})
	if err != nil {
		return false, failed(ctx, "claim the housekeeping", err)
	}
	return mine > 0, nil
}

// Sweep implements [gatebook.Adapter].
func (s *Store) Sweep(ctx context.Context, before time.Time) (int, error) {
	ctx, done := s.bounded(ctx)
	defer done()
	q, err := s.ready(ctx)
	if err != nil {
		return 0, err
	}
	swept := 0
	for _, p := range q.sweeps {
		n, err := s.db.Do(ctx, p.text, p.args([]any{p.column.bound(before), sweepLimit})...)
		if err != nil {
			return swept, failed(ctx, "sweep", err)
		}
		swept += int(n)
	}
	return swept, nil
}

// Commit implements [gatebook.Adapter].
func (s *Store) Commit(ctx context.Context, act *gatebook.Act) error {
	if len(act.Writes) == 0 && len(act.Entries) == 0 {
		return errors.New("act without writes and entries")
	}
	q, err := s.ready(ctx)
	if err != nil {
		return err
	}
	r := &run{store: s, q: q, act: act, tx: act.Tx, foreign: act.Tx != nil}
	if r.steps, err = q.plan(act); err != nil {
		return failed(ctx, "commit", err)
	}
	switch {
	case r.foreign:
		err = r.inside(ctx)
	case act.InTx == nil && q.d.CTE && together(r.steps):
		err = r.once(ctx, act.Entries)
	default:
		err = s.db.Tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
			r.tx = tx
			return r.all(ctx)
		})
	}
	switch {
	case r.refused != nil:
		return r.refused
	case err != nil:
		return failed(ctx, "commit", s.db.Classify(err))
	case !r.foreign && len(act.Entries) > 0:
		s.book.Wake()
	}
	return nil
}

// plan returns what carries out the writes of an act.
func (q *queries) plan(act *gatebook.Act) ([]step, error) {
	steps := make([]step, 0, 2*len(act.Writes))
	for i, w := range act.Writes {
		var err error
		if steps, err = q.steps(steps, w); err != nil {
			return nil, fmt.Errorf("write %d, %T: %w", i, w, err)
		}
	}
	return steps, nil
}

// run is the carrying out of an act.
type run struct {
	store   *Store
	q       *queries
	act     *gatebook.Act
	steps   []step
	tx      *sql.Tx
	foreign bool  // the transaction is the application's own
	refused error // what InTx said
}

// inside carries the act out in the application's own transaction. A savepoint
// takes back an act that fails half way, whatever the application does then.
func (r *run) inside(ctx context.Context) error {
	if err := r.store.db.CheckTx(ctx, r.tx); err != nil {
		return err
	}
	if err := r.q.d.savepoint(ctx, r.tx, "gatebook_act"); err != nil {
		return err
	}
	done := false
	defer func() {
		if !done { // an error, or a panic of InTx
			ctx := context.WithoutCancel(ctx)
			// They fail only when the whole transaction is over already.
			_, _ = r.tx.ExecContext(ctx, "ROLLBACK TO SAVEPOINT gatebook_act")
			_, _ = r.tx.ExecContext(ctx, "RELEASE SAVEPOINT gatebook_act")
		}
	}()
	if err := r.all(ctx); err != nil {
		return err
	}
	if _, err := r.tx.ExecContext(ctx, "RELEASE SAVEPOINT gatebook_act"); err != nil {
		return err
	}
	done = true
	return nil
}

// all carries out the writes in order, InTx, and then the entries: last, so that
// they are numbered under the locks of what was written.
func (r *run) all(ctx context.Context) error {
	if err := r.writeAll(ctx); err != nil {
		return err
	}
	if err := r.inTx(ctx); err != nil {
		return err
	}
	return r.store.log.Insert(ctx, r.tx, r.act.Entries)
}

// writeAll carries out the writes, in one round trip where that can be.
func (r *run) writeAll(ctx context.Context) error {
	if r.q.d.CTE && len(r.steps) > 1 && together(r.steps) {
		return r.once(ctx, nil)
	}
	for i := range r.steps {
		if err := r.do(ctx, &r.steps[i]); err != nil {
			return fmt.Errorf("%s %s: %w", r.steps[i].verb, r.steps[i].table.name, err)
		}
	}
	return nil
}

// inTx calls InTx. Where it keeps an error to itself with which the database
// rolled the whole transaction back, the entries must not follow: they would be
// committed alone.
func (r *run) inTx(ctx context.Context) error {
	if r.act.InTx == nil {
		return nil
	}
	if r.q.d.ends() {
		if err := r.q.d.savepoint(ctx, r.tx, "gatebook_handlers"); err != nil {
			return err
		}
	}
	if r.refused = r.act.InTx(context.WithValue(ctx, txKey{}, r.tx), r.tx); r.refused != nil {
		return r.refused
	}
	if !r.q.d.ends() {
		return nil
	}
	if _, err := r.tx.ExecContext(ctx, "RELEASE SAVEPOINT gatebook_handlers"); err != nil {
		return fmt.Errorf("%w: %w", errOver, err)
	}
	return nil
}

// errOver says that the transaction ended before its time.
var errOver = errors.New("the transaction is over: the database rolled it back, as for a deadlock, or a statement in it committed")

// savepoint sets a savepoint. MariaDB and MySQL set none where the transaction is
// over, say nothing, and would commit what follows statement by statement.
func (d *dialect) savepoint(ctx context.Context, tx *sql.Tx, name string) error {
	if _, err := tx.ExecContext(ctx, "SAVEPOINT "+name); err != nil {
		return err
	}
	if d != mysql {
		return nil
	}
	if _, err := tx.ExecContext(ctx, "ROLLBACK TO SAVEPOINT "+name); err != nil {
		return fmt.Errorf("%w: %w", errOver, err)
	}
	return nil
}

// do carries out one step.
func (r *run) do(ctx context.Context, s *step) error {
	args := s.args
	if s.handle != "" {
		token, err := r.token(ctx, s.handle)
		if err != nil {
			return err
		}
		args = append(args[:len(args)-1:len(args)-1], token)
	}
	if s.verb == "lock" {
		return r.look(ctx, s.alone, args)
	}
	counts := s.must
	if s.row != nil {
		if err := r.look(ctx, s.row, args); err != nil {
			return err
		}
		counts = false
	}
	n, err := r.exec(ctx, s.change, args)
	if err == nil && n == 0 && counts {
		err = gatebook.ErrConflict
	}
	return err
}

// look runs a query that must find a row.
func (r *run) look(ctx context.Context, p *query, args []any) error {
	if r.q.d.Queue && !r.foreign {
		ctx = context.WithoutCancel(ctx) // see [sqldb.DB.Exec]
	}
	var one int
	err := r.tx.QueryRowContext(ctx, p.text, p.args(args)...).Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return gatebook.ErrConflict
	}
	return err
}

// exec runs a change and returns how many rows it changed.
func (r *run) exec(ctx context.Context, c *change, args []any) (int64, error) {
	var res sql.Result
	var err error
	if c.number == 0 { // written for this act alone
		res, err = r.tx.ExecContext(ctx, c.alone.text, c.alone.args(args)...)
	} else {
		res, err = r.store.db.Exec(ctx, r.tx, c.alone.text, c.alone.args(args)...)
	}
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// token finds the raw token of a session by its handle. A database need not know
// SHA-256, and so the user's tokens are looked through here.
func (r *run) token(ctx context.Context, handle string) (string, error) {
	sum, userID, _ := strings.Cut(handle, ":")
	id, ok := r.q.id(userID)
	if !ok {
		return "", gatebook.ErrConflict
	}
	rows, err := r.tx.QueryContext(ctx, r.q.tokensOf.text, r.q.tokensOf.args([]any{id})...)
	if err != nil {
		return "", err
	}
	defer rows.Close()
	for rows.Next() {
		var token gatebook.Secret
		if err := rows.Scan((*string)(&token)); err != nil {
			return "", err
		}
		if digest(token) == sum {
			return string(token), rows.Close()
		}
	}
	if err := rows.Err(); err != nil {
		return "", err
	}
	return "", gatebook.ErrConflict
}
