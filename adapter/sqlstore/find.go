package sqlstore

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/record"
)

// The questions of a [gatebook.Query], each a part of one statement. Those that
// read the user table come first: the first part decides what the driver takes
// the types of the columns to be.
const (
	askSession = iota
	askID
	askEmail
	askAccount
	askVerification
	askCheck
	questions
)

// userColumns are what [userRow] scans. The names are those of the statements: u
// is the user, k the subject key.
func (q *queries) userColumns() string {
	s := `u."id", coalesce(u."name", ''), coalesce(u."email", ''), u."emailVerified", coalesce(u."image", ''), k.key`
	for _, c := range q.extra {
		s += ", u." + quote(c)
	}
	return s
}

// userRow is a row of the user table on its way from the driver.
type userRow struct {
	user     gatebook.User
	verified any // int64 or nil; scanned as any it costs a third of sql.NullInt64
	key      []byte
	extra    []any
}

// dest appends where to scan [queries.userColumns] to.
func (r *userRow) dest(q *queries, to []any) []any {
	to = append(to, &r.user.ID, &r.user.Name, &r.user.Email, &r.verified, &r.user.Image, &r.key)
	if len(q.extra) > 0 {
		r.extra = make([]any, len(q.extra))
		for i := range r.extra {
			to = append(to, &r.extra[i])
		}
	}
	return to
}

func (r *userRow) found(q *queries) (gatebook.FoundUser, error) {
	f := gatebook.FoundUser{User: r.user}
	if r.verified != nil {
		ms, ok := r.verified.(int64)
		if !ok {
			return f, fmt.Errorf("emailVerified of a user is a %T, want milliseconds since 1970", r.verified)
		}
		f.User.EmailVerified = fromMillis(ms)
	}
	if r.key != nil {
		if len(r.key) != len(f.Subject) {
			return f, fmt.Errorf("subject key of a user has %d bytes, want %d", len(r.key), len(f.Subject))
		}
		f.Subject = record.Key(r.key)
	}
	for i, v := range r.extra {
		if v == nil {
			continue
		}
		if f.User.Extra == nil {
			f.User.Extra = make(map[string]any, len(r.extra))
		}
		f.User.Extra[q.extra[i]] = v
	}
	return f, nil
}

// sessionRow is what is read of a session besides its user.
type sessionRow struct {
	session gatebook.StoredSession
	expires int64
	begun   any // int64 or nil
}

func (r *sessionRow) stored() gatebook.StoredSession {
	s := r.session
	s.Expires = fromMillis(r.expires)
	if ms, ok := r.begun.(int64); ok {
		s.Begun = fromMillis(ms)
	}
	return s
}

// Session implements [gatebook.Adapter].
func (s *Store) Session(ctx context.Context, token gatebook.Secret) (*gatebook.FoundSession, error) {
	q, err := s.ready(ctx)
	if err != nil {
		return nil, err
	}
	var user userRow
	var row sessionRow
	dest := make([]any, 0, 16)
	dest = append(dest, &row.session.Handle, &row.expires, &row.session.ID, &row.begun, &row.session.Provider)
	dest = user.dest(q, dest)
	err = q.session.stmt.QueryRowContext(ctx, handle(token)).Scan(dest...)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("read session: %w", gatebook.ErrNotFound)
	}
	if err != nil {
		return nil, failed(ctx, "read session", s.db.Classify(err))
	}
	f := new(gatebook.FoundSession)
	if f.FoundUser, err = user.found(q); err != nil {
		return nil, fmt.Errorf("read session: %w", err)
	}
	f.Session = row.stored()
	f.Session.Token, f.Session.UserID = token, f.User.ID
	return f, nil
}

// Sessions implements [gatebook.Adapter].
func (s *Store) Sessions(ctx context.Context, userID string) ([]gatebook.StoredSession, error) {
	q, err := s.ready(ctx)
	if err != nil {
		return nil, err
	}
	list, err := readSessions(q.sessions.stmt.QueryContext(ctx, userID))
	if err != nil {
		return nil, failed(ctx, "list sessions", s.db.Classify(err))
	}
	return list, nil
}

func readSessions(rows *sql.Rows, err error) ([]gatebook.StoredSession, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []gatebook.StoredSession
	for rows.Next() {
		var row sessionRow
		err := rows.Scan(&row.session.Handle, &row.session.UserID, &row.expires, &row.session.ID, &row.begun, &row.session.Provider)
		if err != nil {
			return nil, err
		}
		list = append(list, row.stored())
	}
	return list, rows.Err()
}

// Find implements [gatebook.Adapter]. It is one statement, and so one state.
func (s *Store) Find(ctx context.Context, ask gatebook.Query) (*gatebook.Found, error) {
	q, err := s.ready(ctx)
	if err != nil {
		return nil, err
	}
	mask, args := asked(&ask)
	f := new(gatebook.Found)
	if mask == 0 {
		return f, nil
	}
	var rows *sql.Rows
	if ask.Tx != nil {
		// Nothing is prepared: the transaction may hold the pool's only
		// connection.
		rows, err = ask.Tx.QueryContext(ctx, q.findText(mask), args...)
	} else {
		stmt, perr := s.findQuery(ctx, q, mask)
		if perr != nil {
			return nil, failed(ctx, "find", s.db.Classify(perr))
		}
		rows, err = stmt.stmt.QueryContext(ctx, args...)
	}
	if err == nil {
		err = readFound(q, rows, ask.Session, f)
	}
	if err != nil {
		return nil, failed(ctx, "find", s.db.Classify(err))
	}
	return f, nil
}

func asked(ask *gatebook.Query) (mask int, args []any) {
	args = make([]any, 0, questions+1)
	add := func(question int, values ...any) {
		mask |= 1 << question
		args = append(args, values...)
	}
	if ask.Session != "" {
		add(askSession, handle(ask.Session))
	}
	if ask.UserID != "" {
		add(askID, ask.UserID)
	}
	if ask.Email != "" {
		add(askEmail, ask.Email)
	}
	if ask.Account != (gatebook.AccountKey{}) {
		add(askAccount, ask.Account.Provider, ask.Account.ProviderAccountID)
	}
	if ask.Verification != "" {
		add(askVerification, ask.Verification)
	}
	if ask.Check != [32]byte{} {
		add(askCheck, ask.Check[:])
	}
	return mask, args
}

// findQuery returns the statement for a choice of questions.
func (s *Store) findQuery(ctx context.Context, q *queries, mask int) (*query, error) {
	if p := q.find[mask].Load(); p != nil {
		return p, nil
	}
	p, err := prepareOne(ctx, s.db.SQL(), q.findText(mask))
	if err != nil {
		return nil, err
	}
	if !q.find[mask].CompareAndSwap(nil, &p) {
		_ = p.stmt.Close() // another was faster
	}
	return q.find[mask].Load(), nil
}

// findText is the text of that statement.
func (q *queries) findText(mask int) string {
	const (
		noSession = `'', 0, '', NULL, ''`
		key       = ` LEFT JOIN gatebook_subjects k ON k.user_id = u."id" `
	)
	user := ", " + q.userColumns() + ` FROM `
	nulls := strings.Repeat(", NULL", len(q.extra))
	parts := [questions]string{
		askSession: `s."sessionToken", s."expires", coalesce(g.sid, ''), g.begun, coalesce(g.provider, '')` + user +
			`"session" s JOIN "user" u ON u."id" = s."userId"
			LEFT JOIN gatebook_sessions g ON g.digest = s."sessionToken"` + key + `WHERE s."sessionToken" = ?`,
		askID:    noSession + user + `"user" u` + key + `WHERE u."id" = ?`,
		askEmail: noSession + user + `"user" u` + key + `WHERE u."email" = ?`,
		askAccount: noSession + user + `"account" a JOIN "user" u ON u."id" = a."userId"` + key +
			`WHERE a."provider" = ? AND a."providerAccountId" = ?`,
		// In the places of a user's id, name and emailVerified.
		askVerification: noSession + `, "identifier", "token", '', "expires", '', NULL` + nulls +
			` FROM "verificationToken" WHERE "token" = ?`,
		askCheck: noSession + `, '', '', '', NULL, '', NULL` + nulls + ` FROM gatebook_checks WHERE digest = ?`,
	}
	var text []string
	for i, part := range parts {
		if mask&(1<<i) != 0 {
			text = append(text, fmt.Sprintf("SELECT %d, %s", i, part))
		}
	}
	return strings.Join(text, "\nUNION ALL\n")
}

func readFound(q *queries, rows *sql.Rows, token gatebook.Secret, f *gatebook.Found) error {
	defer rows.Close()
	for rows.Next() {
		var part int
		var user userRow
		var row sessionRow
		dest := make([]any, 0, 16)
		dest = append(dest, &part, &row.session.Handle, &row.expires, &row.session.ID, &row.begun, &row.session.Provider)
		if err := rows.Scan(user.dest(q, dest)...); err != nil {
			return err
		}
		found, err := user.found(q)
		if err != nil {
			return err
		}
		switch part {
		case askSession:
			f.Session = &gatebook.FoundSession{Session: row.stored(), FoundUser: found}
			f.Session.Session.Token, f.Session.Session.UserID = token, found.User.ID
		case askID:
			f.ByID = &found
		case askEmail:
			f.ByEmail = &found
		case askAccount:
			f.ByAccount = &found
		case askVerification:
			f.Verification = &gatebook.VerificationToken{
				Identifier: found.User.ID, Hash: found.User.Name, Expires: found.User.EmailVerified,
			}
		case askCheck:
			f.CheckUsed = true
		}
	}
	return rows.Err()
}

// handle is what a session's row has in place of its token. A leaked table then
// holds no token that works, and how long a look-up takes tells nothing of one.
func handle(token gatebook.Secret) string {
	sum := sha256.Sum256([]byte(token))
	var buf [2 * sha256.Size]byte
	hex.Encode(buf[:], sum[:])
	return string(buf[:])
}

func fromMillis(ms int64) time.Time { return time.UnixMilli(ms).UTC() }
