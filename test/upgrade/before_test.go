package upgrade_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/adapter/sqlstore"
)

// before is a server of the version before: it works on the tables that were
// there when it started, with the statements that it had then, and knows nothing
// of what is added.
type before struct {
	t      *testing.T
	d      *database
	db     *sql.DB
	tables map[string]bool
	// agent says that sessions have a column user_agent.
	agent bool

	line sync.Mutex
	mu   sync.Mutex
	made []visit // guarded by mu
}

// visit is what an act left.
type visit struct{ user, token, state string }

func newBefore(t *testing.T, d *database, dsn string) *before {
	t.Helper()
	b := &before{t: t, d: d, db: d.open(t, dsn), tables: map[string]bool{}}
	for _, name := range []string{"user", "account", "session", "gatebook_sessions", "gatebook_subjects", "gatebook_checks"} {
		b.tables[name] = b.has(`SELECT count(*) FROM "` + name + `"`)
	}
	b.agent = b.has(`SELECT count(user_agent) FROM gatebook_sessions`)
	return b
}

// has reports whether there is what a query asks.
func (b *before) has(query string) bool {
	var n int
	return b.db.QueryRowContext(b.t.Context(), text(query, b.d)).Scan(&n) == nil
}

// act signs somebody up and in, in one transaction, reads the session and moves
// its end, as far as there are tables for it.
func (b *before) act(ctx context.Context) error {
	v := visit{user: rand.Text(), token: digest(rand.Text()), state: rand.Text()}
	if b.d.driver == "sqlite" { // a server's own writers stand in line
		b.line.Lock()
		defer b.line.Unlock()
	}
	tx, err := b.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // after the commit there is nothing to take back
	for _, w := range b.writes(v) {
		if _, err := tx.ExecContext(ctx, text(w.query, b.d), w.args...); err != nil {
			return fmt.Errorf("%s: %w", w.query, err)
		}
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	if err := b.comeBack(ctx, v); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.made = append(b.made, v)
	return nil
}

type write struct {
	query string
	args  []any
}

func (b *before) writes(v visit) []write {
	var all []write
	add := func(table, query string, args ...any) {
		if b.tables[table] {
			all = append(all, write{query, args})
		}
	}
	add("user", `INSERT INTO "user" ("id", "name", "email", "emailVerified", "image") VALUES (?, ?, ?, ?, ?)`, v.user, "Ada", v.user+"@example.com", nil, nil)
	add("gatebook_subjects", `INSERT INTO gatebook_subjects (user_id, "key") VALUES (?, ?)`, v.user, []byte(v.user[:16]))
	add("account", `INSERT INTO "account" ("userId", "type", "provider", "providerAccountId", "access_token") VALUES (?, ?, ?, ?, ?)`,
		v.user, "oidc", "acme", v.user, "at")
	add("session", `INSERT INTO "session" ("sessionToken", "userId", "expires") VALUES (?, ?, ?)`, v.token, v.user, b.time(expiry))
	if b.agent {
		add("gatebook_sessions", `INSERT INTO gatebook_sessions (digest, sid, user_id, begun, provider, user_agent) VALUES (?, ?, ?, ?, ?, ?)`,
			v.token, v.user[:22], v.user, 1, "acme", "Here")
	} else {
		add("gatebook_sessions", `INSERT INTO gatebook_sessions (digest, sid, user_id, begun, provider) VALUES (?, ?, ?, ?, ?)`,
			v.token, v.user[:22], v.user, 1, "acme")
	}
	add("gatebook_checks", `INSERT INTO gatebook_checks (digest, expires) VALUES (?, ?)`, sum(v.state), 1)
	return all
}

// comeBack reads the session with its user, and moves its end.
func (b *before) comeBack(ctx context.Context, v visit) error {
	if !b.tables["session"] || !b.tables["gatebook_sessions"] || !b.tables["user"] {
		return nil
	}
	var user, sid string
	err := b.db.QueryRowContext(ctx, text(`SELECT u."id", coalesce(g.sid, '') FROM "session" s JOIN "user" u ON u."id" = s."userId"
		LEFT JOIN gatebook_sessions g ON g.digest = s."sessionToken" WHERE s."sessionToken" = ?`, b.d), v.token).Scan(&user, &sid)
	if err != nil {
		return fmt.Errorf("read the session: %w", err)
	}
	if user != v.user || sid != v.user[:22] {
		return fmt.Errorf("the session is %q of %q, want that of %q", sid, user, v.user)
	}
	_, err = b.db.ExecContext(ctx, text(`UPDATE "session" SET "expires" = ? WHERE "sessionToken" = ?`, b.d), b.time(expiry), v.token)
	if err != nil {
		return fmt.Errorf("move the end of the session: %w", err)
	}
	return nil
}

// time is a time as the tables have it.
func (b *before) time(t time.Time) any {
	if b.d.driver == "sqlite" {
		return t.UnixMilli()
	}
	return t.UTC().Format(time.DateTime)
}

// left wants everything that the version before wrote where this one finds it.
func (b *before) left(store *sqlstore.Store) {
	b.t.Helper()
	for _, v := range b.made {
		f, err := store.Find(b.t.Context(), gatebook.Query{UserID: v.user, Account: gatebook.AccountKey{Provider: "acme", ProviderAccountID: v.user}, Check: [32]byte(sum(v.state))})
		if err != nil {
			b.t.Fatal(err)
		}
		if b.tables["user"] && f.ByID == nil || b.tables["account"] && f.ByAccount == nil || b.tables["gatebook_checks"] != f.CheckUsed ||
			b.tables["user"] && b.tables["gatebook_subjects"] && f.ByID.Subject.IsZero() {
			b.t.Fatalf("of %+v this version finds %+v", v, f)
		}
		if !b.tables["session"] {
			continue
		}
		list, err := store.Sessions(b.t.Context(), v.user)
		if err != nil || len(list) != 1 || !list[0].Expires.Equal(expiry) || b.tables["gatebook_sessions"] && list[0].ID != v.user[:22] {
			b.t.Fatalf("of %+v this version lists the sessions %+v, %v", v, list, err)
		}
	}
	if len(b.made) < 20 {
		b.t.Fatalf("the version before did %d acts", len(b.made))
	}
}

func sum(s string) []byte {
	d := sha256.Sum256([]byte(s))
	return d[:]
}

func digest(token string) string { return hex.EncodeToString(sum(token)) }
