package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/gatebook/gatebook/internal/sqldb"
)

// query is a statement, prepared on the store's pool and then, by database/sql,
// once on each of its connections. In the application's own transaction, which
// may be of another pool, its text is used.
type query struct {
	text string
	stmt *sql.Stmt
}

// queries are the statements of a store whose tables were found right.
type queries struct {
	extra []string // further columns of the user table, in their order

	session, sessions, extendSession               query
	expired, adoptSession, claim                   query
	accounts, authenticators                       query
	createUser, touchUser, verifyUser              query
	deleteUser                                     [6]query
	addSubject, subjectOfNew                       query
	linkAccount, unlinkAccount                     query
	createSession, noteSession                     query
	deleteSession, forgetSession                   query
	noteToken, revokeToken, sweepTokens            query
	createAuthenticator, countAuthenticator        query
	deleteAuthenticator                            query
	createVerificationToken, useVerificationToken  query
	useCheck, sweepVerificationTokens, sweepChecks query

	// find has a statement for every choice of questions, prepared when first
	// asked: the index has a bit for each.
	find [1 << questions]atomic.Pointer[query]
}

// prepare looks at the tables and prepares the statements.
func prepare(ctx context.Context, db *sql.DB) (*queries, error) {
	extra, err := checkTables(ctx, db)
	if err != nil {
		return nil, err
	}
	q := &queries{extra: extra}
	user := q.userColumns()
	now := sqldb.SQLite.Now
	all := []struct {
		to   *query
		text string
	}{
		{&q.session, `SELECT ` + sessionColumns + `, ` + user + `
			FROM "session" s JOIN "user" u ON u."id" = s."userId"
			LEFT JOIN gatebook_sessions g ON g.digest = s."sessionToken"
			LEFT JOIN gatebook_subjects k ON k.user_id = u."id"
			WHERE s."sessionToken" = ?`},
		{&q.sessions, `SELECT * FROM (SELECT ` + sessionColumns + `
				FROM "session" s LEFT JOIN gatebook_sessions g ON g.digest = s."sessionToken" WHERE s."userId" = ?1
				UNION ALL SELECT '', expires, sid, begun, provider, user_agent FROM gatebook_tokens WHERE user_id = ?1)
			ORDER BY 4 DESC, 2 DESC, 1, 3 LIMIT 1000`},
		{&q.expired, `SELECT ` + sessionColumns + `, ` + user + `
			FROM "session" s JOIN "user" u ON u."id" = s."userId"
			LEFT JOIN gatebook_sessions g ON g.digest = s."sessionToken"
			LEFT JOIN gatebook_subjects k ON k.user_id = u."id"
			WHERE s."expires" < ? ORDER BY s."expires" LIMIT 200`},
		{&q.adoptSession, `INSERT INTO gatebook_sessions (digest, sid, user_id, begun, provider, user_agent)
			SELECT "sessionToken", ?2, "userId", 0, '', '' FROM "session" WHERE "sessionToken" = ?1`},
		// A claim that ends later than a claim can was made before the clock was
		// set back.
		{&q.claim, `INSERT INTO gatebook_jobs (name, holder, until) VALUES ('housekeeping', ?1, ` + now + ` + ?2)
			ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until
				WHERE holder = excluded.holder OR until NOT BETWEEN ` + now + ` AND ` + now + ` + 3600000`},
		{&q.accounts, `SELECT "type", "provider", "providerAccountId", coalesce("expires_at", 0), coalesce("token_type", ''),
				coalesce("scope", ''), coalesce("session_state", '')
			FROM "account" WHERE "userId" = ? ORDER BY "provider", "providerAccountId" LIMIT 1000`},
		{&q.authenticators, `SELECT "credentialID", "providerAccountId", "credentialPublicKey", "counter", "credentialDeviceType",
				"credentialBackedUp", coalesce("transports", '')
			FROM "authenticator" WHERE "userId" = ? ORDER BY "credentialID" LIMIT 1000`},
		{&q.extendSession, `UPDATE "session" SET "expires" = ? WHERE "sessionToken" = ?`},
		{&q.createUser, `INSERT INTO "user" ("id", "name", "email", "emailVerified", "image") VALUES (?, ?, ?, ?, ?)`},
		{&q.touchUser, `UPDATE "user" SET "id" = "id" WHERE "id" = ?`},
		{&q.verifyUser, `UPDATE "user" SET "emailVerified" = ? WHERE "id" = ?`},
		// In this order, so that nothing refers to what is gone where foreign
		// keys do not cascade. The user is last: its row says whether it existed.
		{&q.deleteUser[0], `DELETE FROM "account" WHERE "userId" = ?`},
		{&q.deleteUser[1], `DELETE FROM "session" WHERE "userId" = ?`},
		{&q.deleteUser[2], `DELETE FROM "authenticator" WHERE "userId" = ?`},
		{&q.deleteUser[3], `DELETE FROM gatebook_sessions WHERE user_id = ?`},
		{&q.deleteUser[4], `UPDATE gatebook_tokens SET revoked = 1, user_id = '', user_agent = '', provider = '', begun = 0 WHERE user_id = ?`},
		{&q.deleteUser[5], `DELETE FROM "user" WHERE "id" = ?`},
		{&q.subjectOfNew, `INSERT INTO gatebook_subjects (user_id, key) VALUES (?, ?)`},
		// The user is looked for in the insert itself, and not left to a foreign
		// key: tables that another program made may have none.
		{&q.addSubject, `INSERT INTO gatebook_subjects (user_id, key) SELECT "id", ?2 FROM "user" WHERE "id" = ?1`},
		{&q.linkAccount, `INSERT INTO "account" ("userId", "type", "provider", "providerAccountId", "refresh_token",
				"access_token", "expires_at", "token_type", "scope", "id_token", "session_state")
			SELECT "id", ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11 FROM "user" WHERE "id" = ?1`},
		{&q.unlinkAccount, `DELETE FROM "account" WHERE "provider" = ? AND "providerAccountId" = ? AND "userId" = ?`},
		{&q.createSession, `INSERT INTO "session" ("sessionToken", "userId", "expires")
			SELECT ?2, "id", ?3 FROM "user" WHERE "id" = ?1`},
		// Replaced, because another program may have deleted a session of that
		// token and left this row.
		{&q.noteSession, `REPLACE INTO gatebook_sessions (digest, sid, user_id, begun, provider, user_agent) VALUES (?, ?, ?, ?, ?, ?)`},
		{&q.deleteSession, `DELETE FROM "session" WHERE "sessionToken" = ?`},
		{&q.forgetSession, `DELETE FROM gatebook_sessions WHERE digest = ?`},
		{&q.noteToken, `INSERT INTO gatebook_tokens (sid, user_id, begun, expires, provider, user_agent, revoked) VALUES (?, ?, ?, ?, ?, ?, 0)
			ON CONFLICT (sid) DO UPDATE SET user_id = excluded.user_id, begun = excluded.begun, expires = excluded.expires,
				provider = excluded.provider, user_agent = excluded.user_agent WHERE revoked = 0`},
		// Of a session that was noted the later expiry stays: its token may live as
		// long as the note said.
		{&q.revokeToken, `INSERT INTO gatebook_tokens (sid, user_id, begun, expires, provider, user_agent, revoked) VALUES (?, '', 0, ?, '', '', 1)
			ON CONFLICT (sid) DO UPDATE SET revoked = 1, user_id = '', begun = 0, provider = '', user_agent = '',
				expires = max(expires, excluded.expires) WHERE revoked = 0`},
		{&q.createAuthenticator, `INSERT INTO "authenticator" ("credentialID", "userId", "providerAccountId", "credentialPublicKey",
				"counter", "credentialDeviceType", "credentialBackedUp", "transports")
			SELECT ?2, "id", ?3, ?4, ?5, ?6, ?7, ?8 FROM "user" WHERE "id" = ?1`},
		{&q.countAuthenticator, `UPDATE "authenticator" SET "counter" = ?3, "credentialBackedUp" = ?4
			WHERE "credentialID" = ?1 AND "counter" = ?2`},
		{&q.deleteAuthenticator, `DELETE FROM "authenticator" WHERE "credentialID" = ? AND "userId" = ?`},
		{&q.createVerificationToken, `INSERT INTO "verificationToken" ("identifier", "token", "expires") VALUES (?, ?, ?)`},
		{&q.useVerificationToken, `DELETE FROM "verificationToken" WHERE "identifier" = ? AND "token" = ?`},
		{&q.useCheck, `INSERT INTO gatebook_checks (digest, expires) VALUES (?, ?)`},
		{&q.sweepVerificationTokens, `DELETE FROM "verificationToken" WHERE rowid IN
			(SELECT rowid FROM "verificationToken" WHERE "expires" < ? LIMIT ?)`},
		{&q.sweepChecks, `DELETE FROM gatebook_checks WHERE digest IN
			(SELECT digest FROM gatebook_checks WHERE expires < ? LIMIT ?)`},
		{&q.sweepTokens, `DELETE FROM gatebook_tokens WHERE sid IN
			(SELECT sid FROM gatebook_tokens WHERE expires < ? LIMIT ?)`},
	}
	for i, p := range all {
		if *p.to, err = prepareOne(ctx, db, p.text); err != nil {
			for _, done := range all[:i] {
				_ = done.to.stmt.Close()
			}
			return nil, err
		}
	}
	return q, nil
}

func prepareOne(ctx context.Context, db *sql.DB, text string) (query, error) {
	stmt, err := db.PrepareContext(ctx, text)
	if err != nil {
		return query{}, fmt.Errorf("prepare statement: %w", err)
	}
	return query{text: text, stmt: stmt}, nil
}

// tables are the columns that the statements need, by table, and the keys that
// must be unique for a conflict to be noticed.
var tables = []struct {
	name    string
	columns []string
	unique  [][]string
}{
	{"user", userFields, [][]string{{"id"}, {"email"}}},
	{
		"account",
		[]string{
			"userId", "type", "provider", "providerAccountId", "refresh_token", "access_token", "expires_at",
			"token_type", "scope", "id_token", "session_state",
		},
		[][]string{{"provider", "providerAccountId"}},
	},
	{"session", []string{"sessionToken", "userId", "expires"}, [][]string{{"sessionToken"}}},
	{"verificationToken", []string{"identifier", "token", "expires"}, [][]string{{"identifier", "token"}}},
	{
		"authenticator",
		[]string{
			"credentialID", "userId", "providerAccountId", "credentialPublicKey", "counter", "credentialDeviceType",
			"credentialBackedUp", "transports",
		},
		[][]string{{"credentialID"}},
	},
}

var userFields = []string{"id", "name", "email", "emailVerified", "image"}

// checkTables returns the further columns of the user table, or what is wrong
// with the tables that an application brought along.
func checkTables(ctx context.Context, db *sql.DB) (extra []string, err error) {
	for _, t := range tables {
		columns, err := list(ctx, db, `SELECT name FROM pragma_table_xinfo(?) WHERE hidden <> 1 ORDER BY cid`, t.name)
		if err != nil {
			return nil, err
		}
		for _, c := range t.columns {
			if !slices.Contains(columns, c) {
				return nil, fmt.Errorf("table %q has no column %q: it is not the table that Auth.js's Drizzle adapter makes", t.name, c)
			}
		}
		if t.name == "user" {
			for _, c := range columns {
				if !slices.Contains(userFields, c) {
					extra = append(extra, c)
				}
			}
		}
		keys, err := list(ctx, db, `SELECT (SELECT group_concat(name, ',') FROM
				(SELECT name FROM pragma_index_info(i.name) ORDER BY name))
			FROM pragma_index_list(?) i WHERE i."unique" AND NOT i.partial
			UNION ALL SELECT (SELECT group_concat(name, ',') FROM
				(SELECT name FROM pragma_table_info(?1) WHERE pk > 0 ORDER BY name))`, t.name)
		if err != nil {
			return nil, err
		}
		for _, key := range t.unique {
			sorted := slices.Sorted(slices.Values(key))
			if !slices.Contains(keys, strings.Join(sorted, ",")) {
				return nil, fmt.Errorf("table %q has no unique key, so that two could take one %s: CREATE UNIQUE INDEX \"%s_%s\" ON %s (%s)",
					t.name, strings.Join(key, " and "), t.name, key[len(key)-1], quote(t.name), quoteAll(key))
			}
		}
	}
	return extra, nil
}

func list(ctx context.Context, db *sql.DB, query string, args ...any) ([]string, error) {
	rows, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("look at the tables: %w", err)
	}
	defer rows.Close()
	var all []string
	for rows.Next() {
		var s sql.NullString
		if err := rows.Scan(&s); err != nil {
			return nil, fmt.Errorf("look at the tables: %w", err)
		}
		all = append(all, s.String)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("look at the tables: %w", err)
	}
	return all, nil
}

func quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

func quoteAll(names []string) string {
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = quote(n)
	}
	return strings.Join(quoted, ", ")
}
