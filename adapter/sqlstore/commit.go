package sqlstore

import (
	"context"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gatebook/gatebook"
)

// sweepLimit is how many rows of a table one Sweep deletes. It bounds how long
// an act waits for it.
const sweepLimit = 1000

// ExtendSession implements [gatebook.Adapter].
func (s *Store) ExtendSession(ctx context.Context, token gatebook.Secret, expires time.Time) error {
	q, err := s.ready(ctx)
	if err != nil {
		return err
	}
	err = s.db.Tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		n, err := (&run{tx: tx}).exec(ctx, &q.extendSession, expires.UnixMilli(), handle(token))
		if err == nil && n == 0 {
			err = gatebook.ErrNotFound
		}
		return err
	})
	if err != nil {
		return failed(ctx, "extend session", err)
	}
	return nil
}

// Claim implements [gatebook.Adapter].
func (s *Store) Claim(ctx context.Context, holder string, d time.Duration) (bool, error) {
	q, err := s.ready(ctx)
	if err != nil {
		return false, err
	}
	var n int64
	err = s.db.Tx(ctx, func(ctx context.Context, tx *sql.Tx) (err error) {
		n, err = (&run{tx: tx}).exec(ctx, &q.claim, holder, d.Milliseconds())
		return err
	})
	if err != nil {
		return false, failed(ctx, "claim the housekeeping", err)
	}
	return n > 0, nil
}

// Sweep implements [gatebook.Adapter].
func (s *Store) Sweep(ctx context.Context, before time.Time) (int, error) {
	q, err := s.ready(ctx)
	if err != nil {
		return 0, err
	}
	swept := 0
	for _, p := range []*query{&q.sweepVerificationTokens, &q.sweepChecks, &q.sweepTokens} {
		var n int64
		err := s.db.Tx(ctx, func(ctx context.Context, tx *sql.Tx) (err error) {
			n, err = (&run{tx: tx}).exec(ctx, p, before.UnixMilli(), sweepLimit)
			return err
		})
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
	if r.foreign {
		err = r.inside(ctx)
	} else {
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

// run is the carrying out of an act in a transaction.
type run struct {
	store   *Store
	q       *queries
	act     *gatebook.Act
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
	if _, err := r.tx.ExecContext(ctx, "SAVEPOINT gatebook_act"); err != nil {
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
	for i, w := range r.act.Writes {
		if err := r.write(ctx, w); err != nil {
			return fmt.Errorf("write %d, %T: %w", i, w, err)
		}
	}
	if r.act.InTx != nil {
		if r.refused = r.act.InTx(ctx, r.tx); r.refused != nil {
			return r.refused
		}
	}
	return r.store.log.Insert(ctx, r.tx, r.act.Entries)
}

// exec runs a statement and returns how many rows it changed.
func (r *run) exec(ctx context.Context, p *query, args ...any) (int64, error) {
	var res sql.Result
	var err error
	if r.foreign || p.stmt == nil { // of another pool, or written for this act alone
		res, err = r.tx.ExecContext(ctx, p.text, args...)
	} else {
		// Nothing here waits, for the lock is held; and to watch for the end of a
		// context costs the driver a goroutine.
		ctx = context.WithoutCancel(ctx)
		stmt := r.tx.StmtContext(ctx, p.stmt)
		defer func() { _ = stmt.Close() }()
		res, err = stmt.ExecContext(ctx, args...)
	}
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// must runs a statement whose precondition is that it changes a row.
func (r *run) must(ctx context.Context, p *query, args ...any) error {
	n, err := r.exec(ctx, p, args...)
	if err == nil && n == 0 {
		err = gatebook.ErrConflict
	}
	return err
}

func (r *run) write(ctx context.Context, w gatebook.Write) error {
	q := r.q
	switch w := w.(type) {
	case gatebook.CreateUser:
		return r.createUser(ctx, w)
	case gatebook.UpdateUser:
		return r.updateUser(ctx, w)
	case gatebook.DeleteUser:
		var n int64
		for i := range q.deleteUser {
			var err error
			if n, err = r.exec(ctx, &q.deleteUser[i], w.ID); err != nil {
				return err
			}
		}
		if n == 0 {
			return gatebook.ErrConflict
		}
		return nil
	case gatebook.AddSubject:
		if w.Subject.IsZero() {
			return errors.New("subject key is zero")
		}
		return r.must(ctx, &q.addSubject, w.UserID, w.Subject[:])
	case gatebook.LinkAccount:
		a := &w.Account
		var expires any
		if a.ExpiresAt != 0 {
			expires = a.ExpiresAt
		}
		return r.must(ctx, &q.linkAccount, a.UserID, a.Type, a.Provider, a.ProviderAccountID,
			null(string(a.RefreshToken)), null(string(a.AccessToken)), expires, null(a.TokenType),
			null(a.Scope), null(string(a.IDToken)), null(a.SessionState))
	case gatebook.UnlinkAccount:
		return r.must(ctx, &q.unlinkAccount, w.Provider, w.ProviderAccountID, w.UserID)
	case gatebook.KeepAccount:
		return r.keepAccount(ctx, &w)
	case gatebook.CreateSession:
		return r.createSession(ctx, &w.Session)
	case gatebook.AdoptSession:
		return r.must(ctx, &q.adoptSession, w.Session.Handle, w.Session.ID)
	case gatebook.DeleteSession:
		if err := r.must(ctx, &q.deleteSession, w.Handle); err != nil {
			return err
		}
		_, err := r.exec(ctx, &q.forgetSession, w.Handle)
		return err
	case gatebook.NoteSession:
		s := &w.Session
		return r.must(ctx, &q.noteToken, s.ID, s.UserID, s.Begun.UnixMilli(), s.Expires.UnixMilli(), s.Provider, s.UserAgent)
	case gatebook.RevokeToken:
		return r.must(ctx, &q.revokeToken, w.ID, w.Expires.UnixMilli())
	case gatebook.CreateAuthenticator:
		a := &w.Authenticator
		return r.must(ctx, &q.createAuthenticator, a.UserID, a.CredentialID, a.ProviderAccountID,
			base64.StdEncoding.EncodeToString(a.PublicKey), int64(a.Counter), a.DeviceType, a.BackedUp,
			null(strings.Join(a.Transports, ",")))
	case gatebook.CountAuthenticator:
		return r.must(ctx, &q.countAuthenticator, w.CredentialID, int64(w.From), int64(w.To), w.BackedUp)
	case gatebook.DeleteAuthenticator:
		return r.must(ctx, &q.deleteAuthenticator, w.CredentialID, w.UserID)
	case gatebook.CreateVerificationToken:
		return r.must(ctx, &q.createVerificationToken, w.Token.Identifier, w.Token.Hash, w.Token.Expires.UnixMilli())
	case gatebook.UseVerificationToken:
		return r.must(ctx, &q.useVerificationToken, w.Identifier, w.Hash)
	case gatebook.UseCheck:
		return r.must(ctx, &q.useCheck, w.Digest[:], w.Expires.UnixMilli())
	default:
		return fmt.Errorf("unknown write: %w", errors.ErrUnsupported)
	}
}

func (r *run) createUser(ctx context.Context, w gatebook.CreateUser) error {
	u := &w.User
	args := []any{u.ID, null(u.Name), null(u.Email), nullMillis(u.EmailVerified), null(u.Image)}
	p := &r.q.createUser
	if len(u.Extra) > 0 {
		columns := slices.Clone(userFields)
		for _, c := range slices.Sorted(maps.Keys(u.Extra)) {
			if err := r.extra(c); err != nil {
				return err
			}
			columns = append(columns, c)
			args = append(args, u.Extra[c])
		}
		p = &query{text: `INSERT INTO "user" (` + quoteAll(columns) + `) VALUES (?` + strings.Repeat(", ?", len(columns)-1) + `)`}
	}
	if err := r.must(ctx, p, args...); err != nil {
		return err
	}
	if w.Subject.IsZero() {
		return nil
	}
	// The key of a deleted user stays, so that its id is free again only when
	// the person has been erased.
	return r.must(ctx, &r.q.subjectOfNew, u.ID, w.Subject[:])
}

func (r *run) updateUser(ctx context.Context, w gatebook.UpdateUser) error {
	if len(w.Fields) == 0 {
		return r.must(ctx, &r.q.touchUser, w.User.ID)
	}
	if len(w.Fields) == 1 && w.Fields[0] == "emailVerified" { // as each magic link does
		return r.must(ctx, &r.q.verifyUser, nullMillis(w.User.EmailVerified), w.User.ID)
	}
	set := make([]string, 0, len(w.Fields))
	args := make([]any, 0, len(w.Fields)+1)
	for _, field := range w.Fields {
		switch field {
		case "name":
			args = append(args, null(w.User.Name))
		case "email":
			args = append(args, null(w.User.Email))
		case "emailVerified":
			args = append(args, nullMillis(w.User.EmailVerified))
		case "image":
			args = append(args, null(w.User.Image))
		default:
			if err := r.extra(field); err != nil {
				return err
			}
			v, ok := w.User.Extra[field]
			if !ok {
				return fmt.Errorf("field %q is not in the user's Extra", field)
			}
			args = append(args, v)
		}
		set = append(set, quote(field)+" = ?")
	}
	return r.must(ctx, &query{text: `UPDATE "user" SET ` + strings.Join(set, ", ") + ` WHERE "id" = ?`}, append(args, w.User.ID)...)
}

// extra refuses what is no further column of the user table.
func (r *run) extra(column string) error {
	if !slices.Contains(r.q.extra, column) {
		return fmt.Errorf("the user table has no further column %q", column)
	}
	return nil
}

// keepAccount locks the user's row first: where acts run side by side, neither
// would see what the other is about to delete.
func (r *run) keepAccount(ctx context.Context, w *gatebook.KeepAccount) error {
	if err := r.must(ctx, &r.q.touchUser, w.UserID); err != nil {
		return err
	}
	if len(w.Providers) == 0 {
		return gatebook.ErrConflict
	}
	args := []any{w.UserID}
	for _, p := range w.Providers {
		args = append(args, p)
	}
	var left int
	err := r.tx.QueryRowContext(ctx, `SELECT count(*) FROM "account" a WHERE a."userId" = ? AND a."provider" IN (?`+
		strings.Repeat(", ?", len(w.Providers)-1)+`) AND (a."type" <> 'webauthn' OR EXISTS (SELECT 1 FROM "authenticator" p
		WHERE p."userId" = a."userId" AND p."providerAccountId" = a."providerAccountId"))`, args...).Scan(&left)
	if err == nil && left == 0 {
		err = gatebook.ErrConflict
	}
	return err
}

func (r *run) createSession(ctx context.Context, row *gatebook.StoredSession) error {
	if row.Token == "" {
		return errors.New("session token is empty")
	}
	h := handle(row.Token)
	if err := r.must(ctx, &r.q.createSession, row.UserID, h, row.Expires.UnixMilli()); err != nil {
		return err
	}
	return r.must(ctx, &r.q.noteSession, h, row.ID, row.UserID, row.Begun.UnixMilli(), row.Provider, row.UserAgent)
}

func null(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func nullMillis(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UnixMilli()
}
