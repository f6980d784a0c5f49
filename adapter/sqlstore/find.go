package sqlstore

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
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
	askCredential
	askTokenSession
	askLinks
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

// sessionColumns are what [sessionRow] scans: s is the session, g what Gatebook
// knows of it.
const sessionColumns = `s."sessionToken", s."expires", coalesce(g.sid, ''), g.begun, coalesce(g.provider, ''), coalesce(g.user_agent, '')`

// sessionRow is what is read of a session besides its user.
type sessionRow struct {
	session gatebook.StoredSession
	expires int64
	begun   any // int64 or nil
}

// dest appends where to scan [sessionColumns] to.
func (r *sessionRow) dest(to []any) []any {
	s := &r.session
	return append(to, &s.Handle, &r.expires, &s.ID, &r.begun, &s.Provider, &s.UserAgent)
}

func (r *sessionRow) stored() gatebook.StoredSession {
	s := r.session
	s.Expires = fromMillis(r.expires)
	if ms, ok := r.begun.(int64); ok && ms != 0 { // 0: another program began it
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
	dest = user.dest(q, row.dest(dest))
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
	list, err := readAll(ctx, &q.sessions, userID, func(rows *sql.Rows) (gatebook.StoredSession, error) {
		var row sessionRow
		err := rows.Scan(row.dest(make([]any, 0, 8))...)
		row.session.UserID = userID
		return row.stored(), err
	})
	if err != nil {
		return nil, failed(ctx, "list sessions", s.db.Classify(err))
	}
	return list, nil
}

// Expired implements [gatebook.Adapter].
func (s *Store) Expired(ctx context.Context, before time.Time) ([]gatebook.FoundSession, error) {
	q, err := s.ready(ctx)
	if err != nil {
		return nil, err
	}
	list, err := readAll(ctx, &q.expired, before.UnixMilli(), func(rows *sql.Rows) (gatebook.FoundSession, error) {
		var user userRow
		var row sessionRow
		if err := rows.Scan(user.dest(q, row.dest(make([]any, 0, 16)))...); err != nil {
			return gatebook.FoundSession{}, err
		}
		found, err := user.found(q)
		f := gatebook.FoundSession{Session: row.stored(), FoundUser: found}
		f.Session.UserID = found.User.ID
		return f, err
	})
	if err != nil {
		return nil, failed(ctx, "list expired sessions", s.db.Classify(err))
	}
	return list, nil
}

// Accounts implements [gatebook.Adapter].
func (s *Store) Accounts(ctx context.Context, userID string) ([]gatebook.Account, error) {
	q, err := s.ready(ctx)
	if err != nil {
		return nil, err
	}
	list, err := readAll(ctx, &q.accounts, userID, func(rows *sql.Rows) (gatebook.Account, error) {
		a := gatebook.Account{UserID: userID}
		return a, rows.Scan(&a.Type, &a.Provider, &a.ProviderAccountID, &a.ExpiresAt, &a.TokenType, &a.Scope, &a.SessionState)
	})
	if err != nil {
		return nil, failed(ctx, "list accounts", s.db.Classify(err))
	}
	return list, nil
}

// Authenticators implements [gatebook.Adapter].
func (s *Store) Authenticators(ctx context.Context, userID string) ([]gatebook.Authenticator, error) {
	q, err := s.ready(ctx)
	if err != nil {
		return nil, err
	}
	list, err := readAll(ctx, &q.authenticators, userID, func(rows *sql.Rows) (gatebook.Authenticator, error) {
		a := gatebook.Authenticator{UserID: userID}
		var key, transports string
		if err := rows.Scan(&a.CredentialID, &a.ProviderAccountID, &key, &a.Counter, &a.DeviceType, &a.BackedUp, &transports); err != nil {
			return a, err
		}
		return a, readAuthenticator(&a, key, transports)
	})
	if err != nil {
		return nil, failed(ctx, "list authenticators", s.db.Classify(err))
	}
	return list, nil
}

// readAuthenticator decodes what the row of a passkey has as text.
func readAuthenticator(a *gatebook.Authenticator, key, transports string) error {
	if transports != "" {
		a.Transports = strings.Split(transports, ",")
	}
	var err error
	if a.PublicKey, err = base64.StdEncoding.DecodeString(key); err != nil {
		return fmt.Errorf("public key of a passkey is not in base64: %w", err)
	}
	return nil
}

// readAll runs a statement that lists rows, such as what a user has.
func readAll[T any](ctx context.Context, p *query, arg any, scan func(*sql.Rows) (T, error)) ([]T, error) {
	rows, err := p.stmt.QueryContext(ctx, arg)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []T
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
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
	if ask.Credential != "" {
		add(askCredential, ask.Credential)
	}
	if ask.TokenSession != "" {
		add(askTokenSession, ask.TokenSession)
	}
	if ask.LinksTo != "" {
		add(askLinks, ask.LinksTo)
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
		noSession = `'', 0, '', NULL, '', ''`
		key       = ` LEFT JOIN gatebook_subjects k ON k.user_id = u."id" `
	)
	user := ", " + q.userColumns() + ` FROM `
	nulls := strings.Repeat(", NULL", len(q.extra))
	parts := [questions]string{
		askSession: sessionColumns + user +
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
		// In the places of a session, and of a user's id and name.
		askCredential: `"credentialID", "counter", "providerAccountId", "credentialBackedUp", "credentialDeviceType",
			coalesce("transports", ''), "userId", "credentialPublicKey", '', NULL, '', NULL` + nulls +
			` FROM "authenticator" WHERE "credentialID" = ?`,
		// Whether it is revoked stands in the place of emailVerified.
		askTokenSession: `'', expires, sid, begun, provider, user_agent, user_id, '', '', revoked, '', NULL` + nulls +
			` FROM gatebook_tokens WHERE sid = ?`,
		askLinks: noSession + `, '', '', '', "expires", '', NULL` + nulls + ` FROM
			(SELECT "expires" FROM "verificationToken" WHERE "identifier" = ? ORDER BY "expires" DESC LIMIT 100)`,
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
		dest := append(make([]any, 0, 16), &part)
		if err := rows.Scan(user.dest(q, row.dest(dest))...); err != nil {
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
		case askCredential:
			s := &row.session
			f.Authenticator = &gatebook.Authenticator{
				CredentialID: s.Handle, UserID: found.User.ID, ProviderAccountID: s.ID, Counter: uint32(row.expires),
				DeviceType: s.Provider, BackedUp: row.begun != int64(0),
			}
			if err := readAuthenticator(f.Authenticator, found.User.Name, s.UserAgent); err != nil {
				return err
			}
		case askTokenSession:
			if f.Revoked = user.verified != int64(0); !f.Revoked {
				note := row.stored()
				note.UserID = found.User.ID
				f.TokenSession = &note
			}
		case askLinks:
			f.Links = append(f.Links, found.User.EmailVerified)
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
