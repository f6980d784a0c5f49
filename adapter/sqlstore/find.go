package sqlstore

import (
	"cmp"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
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
	d, t := q.d, q.t
	s := d.text(t.id, t.id.in("u"))
	for _, c := range []*column{t.name, t.email} {
		s += ", " + d.optional(c, "u")
	}
	s += ", " + d.millis(t.verified, "u") + ", " + d.optional(t.image, "u")
	s += `, k."key"`
	for _, c := range t.extra {
		s += ", " + c.in("u")
	}
	return s
}

// userRow is a row of the user table on its way from the driver.
type userRow struct {
	user     gatebook.User
	verified any // a whole number or nil; scanned as any it costs a third of sql.NullInt64
	key      []byte
	extra    []any
}

// dest appends where to scan [queries.userColumns] to.
func (r *userRow) dest(q *queries, to []any) []any {
	to = append(to, &r.user.ID, &r.user.Name, &r.user.Email, &r.verified, &r.user.Image, &r.key)
	if len(q.t.extra) > 0 {
		r.extra = make([]any, len(q.t.extra))
		for i := range r.extra {
			to = append(to, &r.extra[i])
		}
	}
	return to
}

func (r *userRow) found(q *queries) (gatebook.FoundUser, error) {
	f := gatebook.FoundUser{User: r.user}
	if r.verified != nil {
		ms, ok := whole(r.verified)
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
		f.User.Extra[q.t.extra[i].name] = q.t.extra[i].plain(v)
	}
	return f, nil
}

// plain returns a value of the column as other drivers have it: some give bytes
// for every text, or for every value.
func (c *column) plain(v any) any {
	b, ok := v.([]byte)
	if !ok || c.form == bytesForm {
		return v
	}
	if n, ok := whole(b); ok && (c.form == numberForm || c.form == boolForm) {
		return n
	}
	return string(b)
}

// whole returns a whole number as a driver gives it.
func whole(v any) (int64, bool) {
	switch v := v.(type) {
	case int64:
		return v, true
	case []byte:
		n, err := strconv.ParseInt(string(v), 10, 64)
		return n, err == nil
	}
	return 0, false
}

// sessionColumns are what [sessionRow] scans: s is the session, g what Gatebook
// knows of it.
func (q *queries) sessionColumns() string {
	token, expires := q.t.session.col("sessionToken"), q.t.session.col("expires")
	// A date that is none, which some write, was long ago.
	return q.d.text(token, token.in("s")) + `, coalesce(` + q.d.millis(expires, "s") + `, 0) AS expires, ` + q.noteColumns()
}

func (q *queries) noteColumns() string {
	n := q.t.notes
	return q.d.optional(n.col("sid"), "g") + `, g."begun" AS begun, ` + q.d.optional(n.col("provider"), "g") + `, ` +
		q.d.optional(n.col("user_agent"), "g")
}

// sessionRow is what is read of a session besides its user.
type sessionRow struct {
	session gatebook.StoredSession
	expires int64
	begun   any // a whole number or nil
}

// dest appends where to scan [queries.sessionColumns] to.
func (r *sessionRow) dest(to []any) []any {
	s := &r.session
	return append(to, &s.Handle, &r.expires, &s.ID, &r.begun, &s.Provider, &s.UserAgent)
}

func (r *sessionRow) stored() gatebook.StoredSession {
	s := r.session
	s.Expires, s.Begun = fromMillis(r.expires), r.since()
	return s
}

// since is when the session began, zero when another program began it.
func (r *sessionRow) since() time.Time {
	if ms, ok := whole(r.begun); ok && ms != 0 {
		return fromMillis(ms)
	}
	return time.Time{}
}

// of is the session of a user, with its handle in place of what the table has.
func (r *sessionRow) of(q *queries, userID string) gatebook.StoredSession {
	s := r.stored()
	s.UserID = userID
	if q.l.raw {
		s.Handle = digest(gatebook.Secret(s.Handle)) + ":" + userID
	}
	return s
}

// digest is the lower-case hex SHA-256 of a session token.
func digest(token gatebook.Secret) string {
	sum := sha256.Sum256([]byte(token))
	var buf [2 * sha256.Size]byte
	hex.Encode(buf[:], sum[:])
	return string(buf[:])
}

// digestOf is the digest in a handle, which where tokens are raw goes on with the
// user.
func (q *queries) digestOf(handle string) string {
	if !q.l.raw {
		return handle
	}
	d, _, _ := strings.Cut(handle, ":")
	return d
}

// key is what the session table has for a token. A token that its text cannot be
// has no session.
func (q *queries) key(token gatebook.Secret) (key, sum string, ok bool) {
	sum = digest(token)
	if !q.l.raw {
		return sum, sum, true
	}
	return string(token), sum, q.d.holds(string(token))
}

// Session implements [gatebook.Adapter].
func (s *Store) Session(ctx context.Context, token gatebook.Secret) (*gatebook.FoundSession, error) {
	ctx, done := s.bounded(ctx)
	defer done()
	q, err := s.ready(ctx)
	if err != nil {
		return nil, err
	}
	key, sum, ok := q.key(token)
	if !ok {
		return nil, failed(ctx, "read session", cmp.Or(ctx.Err(), gatebook.ErrNotFound))
	}
	f, err := s.session(ctx, q, token, key, sum)
	if errors.Is(err, sql.ErrNoRows) {
		if was, herr := q.hash(ctx, s.db.SQL(), token); herr != nil {
			err = herr
		} else if was {
			f, err = s.session(ctx, q, token, key, sum)
		}
	}
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("read session: %w", gatebook.ErrNotFound)
	}
	if err != nil {
		return nil, failed(ctx, "read session", s.db.Classify(err))
	}
	return f, nil
}

func (s *Store) session(ctx context.Context, q *queries, token gatebook.Secret, key, sum string) (*gatebook.FoundSession, error) {
	var user userRow
	var row sessionRow
	dest := user.dest(q, row.dest(make([]any, 0, 16)))
	args := []any{key, sum}
	if !q.l.raw {
		args = args[:1]
	}
	var err error
	if stmt := q.session.stmt; stmt != nil {
		err = stmt.QueryRowContext(ctx, q.session.args(args)...).Scan(dest...)
	} else {
		err = s.db.SQL().QueryRowContext(ctx, q.session.text, q.session.args(args)...).Scan(dest...)
	}
	if err != nil {
		return nil, err
	}
	f := new(gatebook.FoundSession)
	if f.FoundUser, err = user.found(q); err != nil {
		return nil, err
	}
	f.Session = row.of(q, f.User.ID)
	f.Session.Token = token
	return f, nil
}

// Sessions implements [gatebook.Adapter].
func (s *Store) Sessions(ctx context.Context, userID string) ([]gatebook.StoredSession, error) {
	ctx, done := s.bounded(ctx)
	defer done()
	q, err := s.ready(ctx)
	if err != nil {
		return nil, err
	}
	id, ok := q.id(userID)
	if !ok {
		return nil, nothing(ctx, "list sessions")
	}
	list, err := readAll(ctx, s.db.SQL(), q.sessions, func(rows *sql.Rows) (gatebook.StoredSession, error) {
		var row sessionRow
		err := rows.Scan(row.dest(make([]any, 0, 8))...)
		if row.session.Handle == "" { // a token session
			one := row.stored()
			one.UserID = userID
			return one, err
		}
		return row.of(q, userID), err
	}, id, userID)
	if err == nil {
		err = s.complete(ctx, q, len(list), func(i int) *gatebook.StoredSession { return &list[i] })
		slices.SortStableFunc(list, func(a, b gatebook.StoredSession) int { return b.Begun.Compare(a.Begun) })
		list = list[:min(len(list), maxSessions)]
	}
	if err != nil {
		return nil, failed(ctx, "list sessions", s.db.Classify(err))
	}
	return list, nil
}

const (
	maxSessions = 1000 // of a list
	noteChunk   = 200  // notes that are read at once
)

// complete makes n listed sessions what they are to callers.
func (s *Store) complete(ctx context.Context, q *queries, n int, at func(i int) *gatebook.StoredSession) error {
	if q.l.raw {
		return s.annotate(ctx, q, n, at)
	}
	return s.hashed(ctx, q, n, at)
}

// annotate adds what Gatebook knows of n sessions whose tokens are raw in the
// table, where the database has no digests to join by.
func (s *Store) annotate(ctx context.Context, q *queries, n int, at func(i int) *gatebook.StoredSession) error {
	byDigest := make(map[string]*gatebook.StoredSession, n)
	var digests []any
	for i := range n {
		if row := at(i); row.Handle != "" {
			d := q.digestOf(row.Handle)
			byDigest[d] = row
			digests = append(digests, d)
		}
	}
	for chunk := range slices.Chunk(digests, noteChunk) {
		args := slices.Repeat([]any{""}, noteChunk)
		copy(args, chunk)
		_, err := readAll(ctx, s.db.SQL(), q.notes, func(rows *sql.Rows) (none struct{}, err error) {
			var row sessionRow
			var digest string
			if err := rows.Scan(&digest, &row.session.ID, &row.begun, &row.session.Provider, &row.session.UserAgent); err != nil {
				return none, err
			}
			if to := byDigest[digest]; to != nil {
				to.ID, to.Begun, to.Provider, to.UserAgent = row.session.ID, row.since(), row.session.Provider, row.session.UserAgent
			}
			return none, nil
		}, args...)
		if err != nil {
			return err
		}
	}
	return nil
}

// Expired implements [gatebook.Adapter].
func (s *Store) Expired(ctx context.Context, before time.Time) ([]gatebook.FoundSession, error) {
	ctx, done := s.bounded(ctx)
	defer done()
	q, err := s.ready(ctx)
	if err != nil {
		return nil, err
	}
	list, err := readAll(ctx, s.db.SQL(), q.expired, func(rows *sql.Rows) (gatebook.FoundSession, error) {
		var user userRow
		var row sessionRow
		if err := rows.Scan(user.dest(q, row.dest(make([]any, 0, 16)))...); err != nil {
			return gatebook.FoundSession{}, err
		}
		found, err := user.found(q)
		return gatebook.FoundSession{Session: row.of(q, found.User.ID), FoundUser: found}, err
	}, q.t.session.col("expires").bound(before))
	if err == nil {
		err = s.complete(ctx, q, len(list), func(i int) *gatebook.StoredSession { return &list[i].Session })
	}
	if err != nil {
		return nil, failed(ctx, "list expired sessions", s.db.Classify(err))
	}
	return list, nil
}

// Accounts implements [gatebook.Adapter].
func (s *Store) Accounts(ctx context.Context, userID string) ([]gatebook.Account, error) {
	ctx, done := s.bounded(ctx)
	defer done()
	q, err := s.ready(ctx)
	if err != nil {
		return nil, err
	}
	id, ok := q.id(userID)
	if !ok {
		return nil, nothing(ctx, "list accounts")
	}
	list, err := readAll(ctx, s.db.SQL(), q.accounts, func(rows *sql.Rows) (gatebook.Account, error) {
		a := gatebook.Account{UserID: userID}
		return a, rows.Scan(&a.Type, &a.Provider, &a.ProviderAccountID, &a.ExpiresAt, &a.TokenType, &a.Scope, &a.SessionState)
	}, id)
	if err != nil {
		return nil, failed(ctx, "list accounts", s.db.Classify(err))
	}
	return list, nil
}

// Authenticators implements [gatebook.Adapter].
func (s *Store) Authenticators(ctx context.Context, userID string) ([]gatebook.Authenticator, error) {
	ctx, done := s.bounded(ctx)
	defer done()
	q, err := s.ready(ctx)
	if err != nil {
		return nil, err
	}
	id, ok := q.id(userID)
	if !ok || q.authenticators == nil {
		return nil, nothing(ctx, "list authenticators")
	}
	list, err := readAll(ctx, s.db.SQL(), q.authenticators, func(rows *sql.Rows) (gatebook.Authenticator, error) {
		a := gatebook.Authenticator{UserID: userID}
		var key, transports string
		if err := rows.Scan(&a.CredentialID, &a.ProviderAccountID, &key, &a.Counter, &a.DeviceType, &a.BackedUp, &transports); err != nil {
			return a, err
		}
		return a, readAuthenticator(&a, key, transports)
	}, id)
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

// nothing is the error of a question that the database need not be asked.
func nothing(ctx context.Context, step string) error {
	if ctx.Err() != nil {
		return failed(ctx, step, ctx.Err())
	}
	return nil
}

// readAll runs a statement that lists rows, such as what a user has.
func readAll[T any](ctx context.Context, db *sql.DB, p *query, scan func(*sql.Rows) (T, error), args ...any) ([]T, error) {
	rows, err := p.run(ctx, db, args...)
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
	ctx, done := s.bounded(ctx)
	defer done()
	q, err := s.ready(ctx)
	if err != nil {
		return nil, err
	}
	mask, args := q.asked(&ask)
	f := new(gatebook.Found)
	if mask == 0 {
		return f, nothing(ctx, "find")
	}
	err = s.find(ctx, q, mask, &ask, args, f)
	if err == nil && ask.Session != "" && f.Session == nil {
		var db runner = s.db.SQL()
		if ask.Tx != nil {
			db = ask.Tx
		}
		var was bool
		if was, err = q.hash(ctx, db, ask.Session); was {
			f = new(gatebook.Found)
			err = s.find(ctx, q, mask, &ask, args, f)
		}
	}
	if err != nil {
		return nil, failed(ctx, "find", s.db.Classify(err))
	}
	return f, nil
}

func (s *Store) find(ctx context.Context, q *queries, mask int, ask *gatebook.Query, args []any, f *gatebook.Found) error {
	p, err := s.findQuery(ctx, q, mask, ask.Tx == nil)
	if err != nil {
		return err
	}
	var rows *sql.Rows
	if ask.Tx != nil {
		rows, err = ask.Tx.QueryContext(ctx, p.text, p.args(args)...)
	} else {
		rows, err = p.run(ctx, s.db.SQL(), args...)
	}
	if err != nil {
		return err
	}
	return readFound(q, rows, ask.Session, f)
}

// asked returns which questions are to be asked, with their arguments. What the
// database has no table for, or what cannot be in it, is not asked for.
func (q *queries) asked(ask *gatebook.Query) (mask int, args []any) {
	args = make([]any, 0, questions+2)
	add := func(question int, may bool, values ...string) {
		for _, v := range values {
			may = may && q.d.holds(v)
		}
		if !may {
			return
		}
		mask |= 1 << question
		for _, v := range values {
			args = append(args, v)
		}
	}
	if ask.Session != "" {
		if key, sum, ok := q.key(ask.Session); q.l.raw {
			add(askSession, ok, key, sum)
		} else {
			add(askSession, ok, key)
		}
	}
	if ask.UserID != "" {
		if id, ok := q.id(ask.UserID); ok {
			mask |= 1 << askID
			args = append(args, id)
		}
	}
	add(askEmail, ask.Email != "" && q.t.email != nil, ask.Email)
	add(askAccount, ask.Account != (gatebook.AccountKey{}), ask.Account.Provider, ask.Account.ProviderAccountID)
	add(askVerification, ask.Verification != "" && q.t.link != nil, ask.Verification)
	if ask.Check != [32]byte{} {
		mask |= 1 << askCheck
		args = append(args, ask.Check[:])
	}
	add(askCredential, ask.Credential != "" && q.t.passkey != nil, ask.Credential)
	add(askTokenSession, ask.TokenSession != "", ask.TokenSession)
	add(askLinks, ask.LinksTo != "" && q.t.link != nil, ask.LinksTo)
	return mask, args
}

// findQuery returns the statement for a choice of questions. It is not prepared
// inside a transaction of the application, which may hold the pool's only
// connection.
func (s *Store) findQuery(ctx context.Context, q *queries, mask int, prepare bool) (*query, error) {
	if p := q.find[mask].Load(); p != nil {
		return p, nil
	}
	p := q.findText(mask)
	if q.d.Prepared {
		if !prepare {
			return p, nil
		}
		if err := p.prepare(ctx, s.db.SQL()); err != nil {
			return nil, err
		}
	}
	if !q.find[mask].CompareAndSwap(nil, p) && p.stmt != nil {
		_ = p.stmt.Close() // another was faster
	}
	return q.find[mask].Load(), nil
}

// findText writes that statement.
func (q *queries) findText(mask int) *query {
	c := compiler{d: q.d}
	for i := range questions {
		if mask&(1<<i) == 0 {
			continue
		}
		if c.text.Len() > 0 {
			c.text.WriteString("\nUNION ALL\n")
		}
		c.text.WriteString(fmt.Sprintf("SELECT %d, ", i))
		c.add(0, q.part(i))
		c.shift++
		if i == askAccount || i == askSession && q.l.raw {
			c.shift++
		}
	}
	return &query{text: c.text.String(), order: c.order}
}

// part is one question's SELECT.
func (q *queries) part(question int) string {
	d, t := q.d, q.t
	number, bytes := "NULL", "NULL"
	if d == postgres {
		number, bytes = "CAST(NULL AS bigint)", "CAST(NULL AS bytea)"
	}
	noSession := `'', 0, '', ` + number + `, '', ''`
	user := ", " + q.userColumns() + ` FROM `
	key := q.subject()
	nulls := ", " + bytes
	for _, c := range t.extra {
		nulls += ", " + d.null(c)
	}
	text := func(t *table, name string) string { return d.text(t.col(name), t.col(name).in("x")) }
	switch question {
	case askSession:
		return q.sessionColumns() + user + t.session.q() + ` s JOIN ` + t.user.q() + ` u ON ` + t.id.in("u") + ` = s."userId"` +
			q.noteOf("?2") + key + ` WHERE ` + d.is(t.session.col("sessionToken"), "s", "?1")
	case askID:
		return noSession + user + t.user.q() + ` u` + key + ` WHERE ` + d.is(t.id, "u", "?1")
	case askEmail:
		return noSession + user + t.user.q() + ` u` + key + ` WHERE ` + d.is(t.email, "u", "?1")
	case askAccount:
		return noSession + user + t.account.q() + ` a JOIN ` + t.user.q() + ` u ON ` + t.id.in("u") + ` = a."userId"` + key +
			` WHERE ` + d.is(t.account.col("provider"), "a", "?1") + ` AND ` + d.is(t.account.col("providerAccountId"), "a", "?2")
	case askVerification: // in the places of a user's id, name and emailVerified
		return noSession + `, ` + text(t.link, "identifier") + `, ` + text(t.link, "token") + `, '', ` + d.millis(t.link.col("expires"), "x") +
			`, ''` + nulls + ` FROM ` + t.link.q() + ` x WHERE ` + d.is(t.link.col("token"), "x", "?1")
	case askCheck:
		return noSession + `, '', '', '', ` + number + `, ''` + nulls + ` FROM gatebook_checks x WHERE x."digest" = ` +
			d.typed(t.checks.col("digest"), "?1")
	case askCredential: // in the places of a session, and of a user's id and name
		return text(t.passkey, "credentialID") + `, ` + d.number(t.passkey.col("counter"), "x") + `, ` + text(t.passkey, "providerAccountId") + `, ` +
			d.number(t.passkey.col("credentialBackedUp"), "x") + `, ` + text(t.passkey, "credentialDeviceType") + `, ` +
			d.optional(t.passkey.col("transports"), "x") + `, ` + text(t.passkey, "userId") + `, ` + text(t.passkey, "credentialPublicKey") +
			`, '', ` + number + `, ''` + nulls + ` FROM ` + t.passkey.q() + ` x WHERE ` + d.is(t.passkey.col("credentialID"), "x", "?1")
	case askTokenSession: // whether it is revoked stands in the place of emailVerified
		return `'', x."expires", ` + text(t.tokens, "sid") + `, x."begun", ` + text(t.tokens, "provider") + `, ` + text(t.tokens, "user_agent") +
			`, ` + text(t.tokens, "user_id") + `, '', '', ` + d.number(t.tokens.col("revoked"), "x") + `, ''` + nulls +
			` FROM gatebook_tokens x WHERE ` + d.is(t.tokens.col("sid"), "x", "?1")
	default: // askLinks
		c := t.link.col("expires")
		return noSession + `, '', '', '', ` + d.millis(c, "x") + `, ''` + nulls + ` FROM
			(SELECT ` + c.in("y") + ` FROM ` + t.link.q() + ` y WHERE ` + d.is(t.link.col("identifier"), "y", "?1") +
			` ORDER BY ` + d.moment(c, "y") + ` DESC LIMIT 100) AS x`
	}
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
			f.Session = &gatebook.FoundSession{Session: row.of(q, found.User.ID), FoundUser: found}
			f.Session.Session.Token = token
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
			backedUp, _ := whole(row.begun)
			f.Authenticator = &gatebook.Authenticator{
				CredentialID: s.Handle, UserID: found.User.ID, ProviderAccountID: s.ID, Counter: uint32(row.expires),
				DeviceType: s.Provider, BackedUp: backedUp != 0,
			}
			if err := readAuthenticator(f.Authenticator, found.User.Name, s.UserAgent); err != nil {
				return err
			}
		case askTokenSession:
			revoked, _ := whole(user.verified)
			if f.Revoked = revoked != 0; !f.Revoked {
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

func fromMillis(ms int64) time.Time { return time.UnixMilli(ms).UTC() }
