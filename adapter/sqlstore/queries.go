package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
)

// query is a statement in the words of its database. Where that is worth it it is
// prepared on the store's pool and then, by database/sql, once on each of its
// connections. In the application's own transaction, which may be of another
// pool, its text is used.
type query struct {
	text  string
	order []arg
	stmt  *sql.Stmt
}

// query compiles text.
func (d *dialect) query(text string) *query {
	c := compiler{d: d}
	c.add(0, text)
	return &query{text: c.text.String(), order: c.order}
}

// args returns what to give the driver for the arguments ?1, ?2, and so on.
func (p *query) args(args []any) []any {
	same := len(p.order) == len(args)
	for i, a := range p.order {
		same = same && a.n == i+1
	}
	if same {
		return args
	}
	out := make([]any, len(p.order))
	for i, a := range p.order {
		out[i] = args[a.n-1]
	}
	return out
}

// queries are the statements of a store whose tables were found right.
type queries struct {
	l Layout
	d *dialect
	t *tables

	session, sessions, expired, notes  *query
	accounts, authenticators, tokensOf *query
	extendSession, hasSession          *query
	eitherForm, hashSession            *query
	claimHeld, claimRow, claimTake     *query
	claimMake                          *query
	sweeps                             []sweep

	// find has a statement for every choice of questions, compiled when first
	// asked: the index has a bit for each.
	find [1 << questions]atomic.Pointer[query]

	changes
	few    sync.Map      // *change by its columns, where they differ from user to user
	shapes sync.Map      // *single by the shape of an act
	known  atomic.Int64  // of shapes
	number atomic.Uint32 // of the last change
}

// prepare looks at the tables and writes the statements.
func prepare(ctx context.Context, db *sql.DB, l Layout) (*queries, error) {
	t, err := l.inspect(ctx, db)
	if err != nil {
		return nil, err
	}
	q := &queries{l: l, d: l.dialect, t: t}
	q.reads()
	q.writes()
	if !q.d.Prepared {
		return q, nil
	}
	for i, p := range q.hot() {
		if err := p.prepare(ctx, db); err != nil {
			for _, done := range q.hot()[:i] {
				_ = done.stmt.Close()
			}
			return nil, err
		}
	}
	return q, nil
}

// hot are the reads that are worth preparing.
func (q *queries) hot() []*query {
	hot := []*query{q.session, q.sessions, q.expired, q.accounts}
	if q.authenticators != nil {
		hot = append(hot, q.authenticators)
	}
	return hot
}

func (p *query) prepare(ctx context.Context, db *sql.DB) (err error) {
	if p.stmt, err = db.PrepareContext(ctx, p.text); err != nil {
		return fmt.Errorf("prepare statement: %w", err)
	}
	return nil
}

// run runs the query, outside of a transaction of the application.
func (p *query) run(ctx context.Context, db *sql.DB, args ...any) (*sql.Rows, error) {
	if p.stmt != nil {
		return p.stmt.QueryContext(ctx, p.args(args)...)
	}
	return db.QueryContext(ctx, p.text, p.args(args)...)
}

// reads writes the statements that read, and the few that stand alone.
func (q *queries) reads() {
	d, t := q.d, q.t
	user, subject := q.userColumns(), q.subject()
	s := t.session
	token, expires := s.col("sessionToken"), s.col("expires")
	open := `SELECT ` + q.sessionColumns() + `, ` + user + ` FROM ` + s.q() + ` s JOIN ` + t.user.q() + ` u ON ` +
		t.id.in("u") + ` = s."userId"`
	q.session = d.query(open + q.noteOf("?2") + subject + ` WHERE ` + d.is(token, "s", "?1"))
	// Where the table has raw tokens their digests are made here, and the notes are
	// asked for afterwards.
	q.expired = d.query(open + q.noteOf("") + subject +
		` WHERE ` + d.moment(expires, "s") + ` < ` + d.typed(expires, "?1") + ` ORDER BY ` + d.moment(expires, "s") + ` LIMIT 200`)
	q.sessions = d.query(`SELECT * FROM (SELECT ` + q.sessionColumns() + ` FROM ` + s.q() + ` s` + q.noteOf("") +
		` WHERE ` + d.is(s.col("userId"), "s", "?1") + `
			UNION ALL SELECT '', n."expires", ` + d.text(t.tokens.col("sid"), `n."sid"`) + `, n."begun", ` +
		d.text(t.tokens.col("provider"), `n."provider"`) + `, ` + d.text(t.tokens.col("user_agent"), `n."user_agent"`) +
		` FROM gatebook_tokens n WHERE ` + d.is(t.tokens.col("user_id"), "n", "?2") + `) AS a
		ORDER BY ` + q.newest())
	q.notes = d.query(`SELECT g."digest", ` + q.noteColumns() + ` FROM gatebook_sessions g WHERE g."digest" IN (` + list(noteChunk) + `)`)
	q.tokensOf = d.query(`SELECT ` + d.text(token, token.in("s")) + ` FROM ` + s.q() + ` s WHERE ` + d.is(s.col("userId"), "s", "?1"))
	q.hasSession = d.query(`SELECT 1 FROM ` + s.q() + ` WHERE ` + d.is(token, "", "?1"))
	q.eitherForm = d.query(`SELECT 1 FROM ` + s.q() + ` WHERE ` + d.is(token, "", "?1") + ` OR ` + d.is(token, "", "?2"))
	q.hashSession = d.query(`UPDATE ` + s.q() + ` SET ` + token.q() + ` = ` + d.typed(token, "?2") + ` WHERE ` + d.is(token, "", "?1"))
	q.extendSession = d.query(`UPDATE ` + s.q() + ` SET ` + expires.q() + ` = ` + d.typed(expires, "?2") + ` WHERE ` + d.is(token, "", "?1"))

	a := t.account
	q.accounts = d.query(`SELECT ` + d.text(a.col("type"), `a."type"`) + `, ` + d.text(a.col("provider"), `a."provider"`) + `, ` +
		d.text(a.col("providerAccountId"), `a."providerAccountId"`) + `, coalesce(a."expires_at", 0), ` +
		d.optional(a.col("token_type"), "a") + `, ` + d.optional(a.col("scope"), "a") + `, ` + d.optional(a.col("session_state"), "a") +
		` FROM ` + a.q() + ` a WHERE ` + d.is(a.col("userId"), "a", "?1") +
		` ORDER BY ` + d.order(a.col("provider"), "a") + `, ` + d.order(a.col("providerAccountId"), "a") + ` LIMIT 1000`)
	if p := t.passkey; p != nil {
		q.authenticators = d.query(`SELECT ` + d.text(p.col("credentialID"), `p."credentialID"`) + `, ` +
			d.text(p.col("providerAccountId"), `p."providerAccountId"`) + `, ` + d.text(p.col("credentialPublicKey"), `p."credentialPublicKey"`) +
			`, ` + d.number(p.col("counter"), "p") + `, ` + d.text(p.col("credentialDeviceType"), `p."credentialDeviceType"`) + `, ` +
			d.number(p.col("credentialBackedUp"), "p") + `, ` + d.optional(p.col("transports"), "p") +
			` FROM ` + p.q() + ` p WHERE ` + d.is(p.col("userId"), "p", "?1") + ` ORDER BY ` + d.order(p.col("credentialID"), "p") + ` LIMIT 1000`)
	}
	q.keeping()
}

// keeping writes the statements of the housekeeping.
func (q *queries) keeping() {
	d, t := q.d, q.t
	// A claim that ends later than a claim can was made before the clock was set
	// back.
	runs := `"until" BETWEEN ` + d.Now + ` AND ` + d.Now + ` + 3600000`
	q.claimHeld = d.query(`SELECT count(*) FROM gatebook_jobs WHERE "name" = 'housekeeping' AND "holder" <> ?1 AND ` + runs)
	q.claimMake = d.query(`INSERT INTO gatebook_jobs ("name", "holder", "until") VALUES ('housekeeping', '', 0) ` + d.ignore(`"name"`))
	q.claimRow = d.query(`SELECT CASE WHEN "holder" <> ?1 AND ` + runs + ` THEN 0 ELSE 1 END FROM gatebook_jobs
		WHERE "name" = 'housekeeping'` + d.ForUpdate)
	q.claimTake = d.query(`UPDATE gatebook_jobs SET "holder" = ?1, "until" = ` + d.Now + ` + ` + d.typed(t.jobs.col("until"), "?2") +
		` WHERE "name" = 'housekeeping'`)
	for _, from := range []struct {
		*table
		key string
	}{{t.checks, `"digest"`}, {t.tokens, `"sid"`}, {t.link, `"identifier", "token"`}} {
		if from.table == nil {
			continue
		}
		c := from.col("expires")
		text := strings.NewReplacer("%t", from.q(), "%k", from.key, "%c", d.moment(c, ""), "?1", d.typed(c, "?1")).Replace(d.sweep)
		q.sweeps = append(q.sweeps, sweep{d.query(text), c})
	}
}

// sweep deletes what is less than a time in a column.
type sweep struct {
	*query
	column *column
}

// newest is the order of sessions, newest first. Where tokens are raw their notes
// are not at hand; then more are read, those first that expire last.
func (q *queries) newest() string {
	if q.l.raw {
		return fmt.Sprintf("a.expires DESC, 1, 3 LIMIT %d", 5*maxSessions)
	}
	return fmt.Sprintf("coalesce(a.begun, 0) DESC, a.expires DESC, 1, 3 LIMIT %d", maxSessions)
}

// noteOf joins what Gatebook knows of a session: found by the argument that is the
// digest of its token where the table has raw ones. Without one, nothing is.
func (q *queries) noteOf(digest string) string {
	switch {
	case !q.l.raw:
		return ` LEFT JOIN gatebook_sessions g ON g."digest" = s."sessionToken"`
	case digest == "":
		return ` LEFT JOIN gatebook_sessions g ON 1 = 0`
	}
	return ` LEFT JOIN gatebook_sessions g ON g."digest" = ` + q.d.typed(q.t.notes.col("digest"), digest)
}

// subject joins the key by which the book knows a user.
func (q *queries) subject() string {
	id := q.d.text(q.t.id, q.t.id.in("u"))
	switch {
	case q.d == mysql && (q.t.id.form == numberForm || q.t.id.kind == "uuid"):
		id = "CAST(" + q.t.id.in("u") + " AS CHAR)"
	case q.d == mysql: // compared as the subjects' own column says, so that its index is used
		id = q.t.id.in("u")
	}
	return ` LEFT JOIN gatebook_subjects k ON k."user_id" = ` + id
}

// list returns the arguments ?1 to ?n.
func list(n int) string {
	s := "?1"
	for i := 2; i <= n; i++ {
		s += fmt.Sprintf(", ?%d", i)
	}
	return s
}
