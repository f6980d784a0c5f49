package sqlite_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/adapter/sqlite"
	"github.com/gatebook/gatebook/adapter/sqlstore"
	"github.com/gatebook/gatebook/record"
)

const good = "_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=foreign_keys(1)"

func open(t testing.TB, path string) *sqlite.DB {
	t.Helper()
	return openLayout(t, path, sqlstore.SQLite)
}

func openLayout(t testing.TB, path string, l sqlstore.Layout) *sqlite.DB {
	t.Helper()
	db, err := sqlite.OpenLayout(path, l)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func pool(t testing.TB, path, query string) *sql.DB {
	t.Helper()
	p, err := sql.Open("sqlite", "file:"+path+"?"+query)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func run(t testing.TB, db *sql.DB, query string, args ...any) {
	t.Helper()
	if _, err := db.Exec(query, args...); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

var expires = time.Date(2031, time.March, 9, 7, 5, 3, 217e6, time.UTC)

func user(n int) gatebook.CreateUser {
	return gatebook.CreateUser{
		User: gatebook.User{
			ID: fmt.Sprintf("user-%d", n), Name: "Ada", Email: fmt.Sprintf("ada%d@example.com", n), EmailVerified: expires,
		},
		Subject: record.NewKey(),
	}
}

func session(u gatebook.CreateUser, token string) gatebook.CreateSession {
	return gatebook.CreateSession{Session: gatebook.StoredSession{
		Token: gatebook.Secret(token), UserID: u.User.ID, Expires: expires, ID: "sid-" + token,
		Begun: expires.Add(-time.Hour), Provider: "github",
	}}
}

func commit(t testing.TB, a gatebook.Adapter, writes ...gatebook.Write) {
	t.Helper()
	if err := a.Commit(context.Background(), &gatebook.Act{Writes: writes}); err != nil {
		t.Fatal(err)
	}
}

func entry(t testing.TB, a gatebook.Adapter, n int) record.Entry {
	t.Helper()
	id, err := a.Book().Identity(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	subject := record.NewKey()
	block, err := record.NewBlock(record.ClassIdentity, subject, record.Person{ID: "1", Email: "ada@example.com", Name: "Ada"})
	if err != nil {
		t.Fatal(err)
	}
	request, err := record.NewBlock(record.ClassRequest, subject, record.Request{})
	if err != nil {
		t.Fatal(err)
	}
	e, err := record.New(record.Header{
		Book: id.ID, ID: fmt.Sprintf("01900000-0000-7000-8000-%012x", n), Type: record.TypeSignIn, TypeVersion: 1,
		Source: record.SourceGatebook, Time: time.Now(), Act: fmt.Sprintf("01900000-0000-7000-9000-%012x", n),
		Outcome: record.Success, Provider: "github", Method: gatebook.TypeOAuth, Subject: subject,
	}, []record.Block{block, request}, []record.Term{
		record.NewTerm(id.SearchKey, record.TermUser, "1"), record.NewTerm(id.SearchKey, record.TermEmail, "ada@example.com"),
		record.NewTerm(id.SearchKey, record.TermSession, "sid"), record.NewTerm(id.SearchKey, record.TermIP, "127.0.0.1"),
	})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestOpenSettings(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a ?b#c%41.db")
	db := open(t, path)
	commit(t, db, user(1))
	// On every connection, not only on the first.
	for i := range 8 {
		c, err := db.SQL().Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		for pragma, want := range map[string]string{
			"synchronous": "2", "journal_mode": "wal", "foreign_keys": "1", "busy_timeout": "5000",
		} {
			var got string
			if err := c.QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&got); err != nil || got != want {
				t.Errorf("connection %d: PRAGMA %s = %q, %v; want %q", i, pragma, got, err, want)
			}
		}
	}
	for _, suffix := range []string{"", "-wal", "-shm"} {
		info, err := os.Stat(path + suffix)
		if err != nil {
			t.Error(err)
		} else if got := info.Mode().Perm(); got != 0o600 {
			t.Errorf("mode of %s = %v, want 0600", filepath.Base(path+suffix), got)
		}
	}
}

func TestOpenAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	u := user(1)
	db := open(t, path)
	commit(t, db, u, session(u, "token"))
	id, err := db.Book().Identity(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Errorf("second Close = %v", err)
	}
	db = open(t, path)
	if f, err := db.Session(t.Context(), "token"); err != nil || f.Subject != u.Subject || f.Session.ID != "sid-token" {
		t.Errorf("Session after opening again = %+v, %v", f, err)
	}
	if again, err := db.Book().Identity(t.Context()); err != nil || again.ID != id.ID {
		t.Errorf("Identity after opening again = %v, %v; want %v", again, err, id)
	}
}

func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	other := filepath.Join(dir, "other")
	if err := os.WriteFile(other, []byte(strings.Repeat("no database ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"", ":memory:", "file:x?mode=memory", dir, filepath.Join(dir, "no", "such", "folder.db"), other} {
		if db, err := sqlite.Open(path); err == nil {
			db.Close()
			t.Errorf("Open(%q) succeeded", path)
		} else if !strings.HasPrefix(err.Error(), "sqlite: ") {
			t.Errorf("Open(%q) = %v, want an error that begins with the package", path, err)
		}
		if b, err := sqlite.OpenBook(path); err == nil {
			b.Close()
			t.Errorf("OpenBook(%q) succeeded", path)
		}
	}
}

func TestOpenBook(t *testing.T) {
	path := filepath.Join(t.TempDir(), "book.db")
	b, err := sqlite.OpenBook(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Identity(t.Context()); err != nil {
		t.Errorf("Identity: %v", err)
	}
	if err := b.Drain(t.Context()); err != nil {
		t.Errorf("Drain: %v", err)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	p := pool(t, path, good)
	var n int
	if err := p.QueryRow(`SELECT count(*) FROM sqlite_schema WHERE name IN ('user', 'session')`).Scan(&n); err != nil || n != 0 {
		t.Errorf("OpenBook made %d tables of users, %v", n, err)
	}
	// The file can become one with users later.
	open(t, path)
}

// methods calls every method of an adapter that asks the database.
func methods(ctx context.Context, a gatebook.Adapter) map[string]error {
	errs := make(map[string]error)
	_, errs["Find"] = a.Find(ctx, gatebook.Query{UserID: "1"})
	_, errs["Session"] = a.Session(ctx, "token")
	_, errs["Sessions"] = a.Sessions(ctx, "1")
	errs["ExtendSession"] = a.ExtendSession(ctx, "token", expires)
	errs["Commit"] = a.Commit(ctx, &gatebook.Act{Writes: []gatebook.Write{user(1)}})
	_, errs["Sweep"] = a.Sweep(ctx, expires)
	_, errs["Identity"] = a.Book().Identity(ctx)
	return errs
}

func TestNewBeforeMigrate(t *testing.T) {
	p := pool(t, filepath.Join(t.TempDir(), "test.db"), good)
	db := sqlite.New(p, sqlstore.SQLite)
	if n := p.Stats().OpenConnections; n != 0 {
		t.Errorf("New opened %d connections, want none", n)
	}
	for name, err := range methods(t.Context(), db) {
		if err == nil || !strings.Contains(err.Error(), "Migrate") || !strings.Contains(err.Error(), "gatebook migrate") ||
			errors.Is(err, gatebook.ErrNotFound) || errors.Is(err, gatebook.ErrConflict) {
			t.Errorf("%s before Migrate = %v, want an error that names the command and the method", name, err)
		}
	}
	var n int
	if err := p.QueryRow(`SELECT count(*) FROM sqlite_schema`).Scan(&n); err != nil || n != 0 {
		t.Errorf("using it before Migrate left %d objects in the database, %v", n, err)
	}
	for range 2 {
		if err := db.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for name, err := range methods(t.Context(), db) {
		if err != nil && !errors.Is(err, gatebook.ErrNotFound) {
			t.Errorf("%s after Migrate = %v", name, err)
		}
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
	if err := p.Ping(); err != nil {
		t.Errorf("Close of a DB on the application's pool closed the pool: %v", err)
	}
}

func TestWeakConnection(t *testing.T) {
	for name, query := range map[string]string{
		"synchronous":  strings.Replace(good, "synchronous(FULL)", "synchronous(NORMAL)", 1),
		"foreign_keys": strings.Replace(good, "foreign_keys(1)", "foreign_keys(0)", 1),
		"journal_mode": strings.Replace(good, "journal_mode(WAL)", "journal_mode(MEMORY)", 1),
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "test.db")
			if name != "journal_mode" {
				commit(t, open(t, path), user(0))
			}
			p := pool(t, path, query)
			db := sqlite.New(p, sqlstore.SQLite)
			if err := db.Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
			refused := func(how string, act *gatebook.Act) {
				t.Helper()
				u := user(1)
				act.Writes = []gatebook.Write{u, session(u, "token")}
				if err := db.Commit(t.Context(), act); err == nil || !strings.Contains(err.Error(), name) {
					t.Errorf("Commit %s = %v, want an error that names %s", how, err, name)
				}
			}
			refused("on a weak connection", &gatebook.Act{})
			tx, err := p.Begin()
			if err != nil {
				t.Fatal(err)
			}
			refused("in a transaction on a weak connection", &gatebook.Act{Tx: tx})
			if err := tx.Commit(); err != nil {
				t.Fatal(err)
			}
			if _, err := db.Session(t.Context(), "token"); !errors.Is(err, gatebook.ErrNotFound) {
				t.Errorf("Session after refused acts = %v, want an error that matches ErrNotFound", err)
			}
		})
	}
}

// TestWeakAct changes the setting of the one connection between two acts.
func TestWeakAct(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "test.db"))
	db.SQL().SetMaxOpenConns(1)
	commit(t, db, user(1))
	run(t, db.SQL(), "PRAGMA synchronous = OFF")
	if err := db.Commit(t.Context(), &gatebook.Act{Writes: []gatebook.Write{user(2)}}); err == nil || !strings.Contains(err.Error(), "synchronous") {
		t.Errorf("Commit = %v, want an error that names synchronous", err)
	}
	run(t, db.SQL(), "PRAGMA synchronous = EXTRA")
	commit(t, db, user(2))
}

// drizzle is what an application that uses Auth.js has, as drizzle-kit makes it.
const drizzle = `
CREATE TABLE "user" ("id" text PRIMARY KEY NOT NULL, "name" text, "email" text, "emailVerified" integer, "image" text, "role" text DEFAULT 'reader');
CREATE UNIQUE INDEX "user_email_unique" ON "user" ("email");
CREATE TABLE "account" ("userId" text NOT NULL, "type" text NOT NULL, "provider" text NOT NULL, "providerAccountId" text NOT NULL,
	"refresh_token" text, "access_token" text, "expires_at" integer, "token_type" text, "scope" text, "id_token" text, "session_state" text,
	PRIMARY KEY("provider", "providerAccountId"), FOREIGN KEY ("userId") REFERENCES "user"("id") ON UPDATE no action ON DELETE cascade);
CREATE TABLE "session" ("sessionToken" text PRIMARY KEY NOT NULL, "userId" text NOT NULL, "expires" integer NOT NULL,
	FOREIGN KEY ("userId") REFERENCES "user"("id") ON UPDATE no action ON DELETE cascade);
CREATE TABLE "verificationToken" ("identifier" text NOT NULL, "token" text NOT NULL, "expires" integer NOT NULL, PRIMARY KEY("identifier", "token"));
CREATE TABLE "authenticator" ("credentialID" text NOT NULL, "userId" text NOT NULL, "providerAccountId" text NOT NULL,
	"credentialPublicKey" text NOT NULL, "counter" integer NOT NULL, "credentialDeviceType" text NOT NULL, "credentialBackedUp" integer NOT NULL,
	"transports" text, PRIMARY KEY("userId", "credentialID"), FOREIGN KEY ("userId") REFERENCES "user"("id") ON DELETE cascade);
CREATE UNIQUE INDEX "authenticator_credentialID_unique" ON "authenticator" ("credentialID");
INSERT INTO "user" VALUES ('u1', 'Grace', 'grace@example.com', 1930806303217, NULL, 'editor');
INSERT INTO "account" ("userId", "type", "provider", "providerAccountId") VALUES ('u1', 'oauth', 'github', '42');
INSERT INTO "session" VALUES ('a-raw-token', 'u1', 1930806303217);`

func TestBesideAuthjs(t *testing.T) {
	ctx := t.Context()
	p := pool(t, filepath.Join(t.TempDir(), "test.db"), good)
	run(t, p, drizzle)
	db := sqlite.New(p, sqlstore.SQLite.WithUsers(sqlstore.Users{Extra: []string{"role"}}))
	if err := db.Migrate(ctx); err != nil {
		t.Fatal(err)
	}
	f, err := db.Find(ctx, gatebook.Query{UserID: "u1", Account: gatebook.AccountKey{Provider: "github", ProviderAccountID: "42"}})
	if err != nil || f.ByID == nil || f.ByAccount == nil || f.ByID.User.Email != "grace@example.com" ||
		!f.ByID.User.EmailVerified.Equal(expires) || f.ByID.User.Extra["role"] != "editor" || !f.ByID.Subject.IsZero() {
		t.Fatalf("Find of a user that Auth.js made = %+v, %v", f, err)
	}
	// Tokens are stored hashed here: one that Auth.js stored as it is goes on, and
	// from then on what is in the table does not open.
	if f, err := db.Session(ctx, "a-raw-token"); err != nil || f.User.ID != "u1" {
		t.Errorf("Session with a token that is stored raw = %+v, %v; want u1", f, err)
	}
	var stored string
	if err := p.QueryRow(`SELECT "sessionToken" FROM "session"`).Scan(&stored); err != nil || stored == "a-raw-token" {
		t.Errorf("the table has %q, %v; want a digest", stored, err)
	}
	if _, err := db.Session(ctx, gatebook.Secret(stored)); !errors.Is(err, gatebook.ErrNotFound) {
		t.Errorf("Session with what the table has = %v, want an error that matches ErrNotFound", err)
	}
	if list, err := db.Sessions(ctx, "u1"); err != nil || len(list) != 1 || !list[0].Begun.IsZero() || list[0].ID != "" {
		t.Errorf("Sessions with one that another program began = %+v, %v", list, err)
	}
	commit(t, db, gatebook.AddSubject{UserID: "u1", Subject: record.NewKey()},
		gatebook.LinkAccount{Account: gatebook.Account{
			UserID: "u1", Type: gatebook.TypeOIDC, Provider: "google", ProviderAccountID: "7",
			AccessToken: "at", RefreshToken: "rt", IDToken: "it", ExpiresAt: 1930806303, TokenType: "bearer", Scope: "openid", SessionState: "ss",
		}},
		session(gatebook.CreateUser{User: gatebook.User{ID: "u1"}}, "secret"),
		gatebook.CreateVerificationToken{Token: gatebook.VerificationToken{Identifier: "grace@example.com", Hash: "00ff", Expires: expires}})
	for query, want := range map[string]string{
		`SELECT json_array("userId", "type", "access_token", "refresh_token", "id_token", "expires_at", "token_type", "scope", "session_state")
			FROM "account" WHERE "provider" = 'google' AND "providerAccountId" = '7'`: `["u1","oidc","at","rt","it",1930806303,"bearer","openid","ss"]`,
		// SHA-256 of "secret".
		`SELECT json_array("userId", "expires") FROM "session" WHERE "sessionToken" =
			'2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b'`: `["u1",1930806303217]`,
		`SELECT json_array("identifier", "expires") FROM "verificationToken" WHERE "token" = '00ff'`: `["grace@example.com",1930806303217]`,
		`SELECT json_array(sid, user_id, begun, provider) FROM gatebook_sessions`:                    `["sid-secret","u1",1930802703217,"github"]`,
	} {
		var got string
		if err := p.QueryRow(query).Scan(&got); err != nil || got != want {
			t.Errorf("%s = %s, %v; want %s", query, got, err, want)
		}
	}
	commit(t, db, gatebook.CreateUser{User: gatebook.User{ID: "u2"}, Subject: record.NewKey()})
	var n int
	if err := p.QueryRow(`SELECT count(*) FROM "user" WHERE "id" = 'u2' AND "name" IS NULL AND "email" IS NULL
		AND "emailVerified" IS NULL AND "image" IS NULL AND "role" = 'reader'`).Scan(&n); err != nil || n != 1 {
		t.Errorf("a user without anything is not stored as nulls and defaults: %d, %v", n, err)
	}
	run(t, p, `INSERT INTO "authenticator" VALUES ('c', 'u1', 'p', 'k', 0, 'd', 0, NULL)`)
	commit(t, db, gatebook.DeleteUser{ID: "u1"})
	for table, want := range map[string]int{`"account"`: 0, `"session"`: 0, `"authenticator"`: 0, "gatebook_sessions": 0, "gatebook_subjects": 2} {
		if err := p.QueryRow("SELECT count(*) FROM " + table).Scan(&n); err != nil || n != want {
			t.Errorf("after DeleteUser %s has %d rows, %v; want %d", table, n, err, want)
		}
	}
}

// TestOrphan shows what a program with foreign keys off can leave behind.
func TestOrphan(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	db := open(t, path)
	u := user(1)
	commit(t, db, u, session(u, "token"), gatebook.LinkAccount{Account: gatebook.Account{
		UserID: u.User.ID, Type: gatebook.TypeOAuth, Provider: "github", ProviderAccountID: "1",
	}})
	run(t, pool(t, path, "_pragma=foreign_keys(0)&_pragma=busy_timeout(5000)"), `DELETE FROM "user"`)
	if f, err := db.Session(t.Context(), "token"); !errors.Is(err, gatebook.ErrNotFound) {
		t.Errorf("Session whose user is gone = %v, %v; want an error that matches ErrNotFound", f, err)
	}
	f, err := db.Find(t.Context(), gatebook.Query{Session: "token", Account: gatebook.AccountKey{Provider: "github", ProviderAccountID: "1"}})
	if err != nil || f.Session != nil || f.ByAccount != nil {
		t.Errorf("Find of what has no user = %+v, %v; want nothing", f, err)
	}
}

func TestWrongTables(t *testing.T) {
	schema, _, _ := strings.Cut(drizzle, "INSERT")
	for name, change := range map[string][2]string{
		`"emailVerified"`: {`"emailVerified" integer, `, ""},
		`"session_state"`: {`, "session_state" text`, ""},
		`"expires"`:       {`"userId" text NOT NULL, "expires" integer NOT NULL`, `"userId" text NOT NULL, "expires" blob NOT NULL`},
		`"role"`:          {`"role" text DEFAULT 'reader'`, `"role" text NOT NULL`},
		"Users.IDType":    {`"account" ("userId" text`, `"account" ("userId" integer`},
	} {
		if !strings.Contains(schema, change[0]) {
			t.Fatalf("the schema does not contain %s", change[0])
		}
		p := pool(t, filepath.Join(t.TempDir(), "test.db"), good)
		run(t, p, strings.Replace(schema, change[0], change[1], 1))
		db := sqlite.New(p, sqlstore.SQLite)
		// What others would refer to is refused before anything is made.
		if err := db.Migrate(t.Context()); err == nil != (name == `"role"`) || err != nil && !strings.Contains(err.Error(), name) {
			t.Errorf("Migrate without %s = %v, want an error with %s", change[0], err, name)
			continue
		} else if err != nil {
			continue
		}
		if err := db.Check(t.Context()); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("Check without %s = %v, want an error with %s", change[0], err, name)
		}
		err := db.Commit(t.Context(), &gatebook.Act{Writes: []gatebook.Write{gatebook.UseCheck{Digest: [32]byte{1}, Expires: expires}}})
		if err == nil {
			t.Errorf("Commit without %s succeeded", change[0])
		}
	}
}

// TestMissingKeys: tables without a key that must be unique are refused, and
// Migrate makes it unless rows stand in the way.
func TestMissingKeys(t *testing.T) {
	schema, rows, _ := strings.Cut(drizzle, "INSERT")
	rows = "INSERT" + rows
	const index = `CREATE UNIQUE INDEX "user_email_unique" ON "user" ("email");`
	for name, test := range map[string]struct{ old, changed, double, shown string }{
		"none":        {index, "", `INSERT INTO "user" ("id", "email") VALUES ('u2', 'grace@example.com')`, "grace@example.com"},
		"not unique":  {index, strings.Replace(index, "UNIQUE ", "", 1), `INSERT INTO "user" ("id", "email") VALUES ('u2', 'grace@example.com')`, "grace@example.com"},
		"partial":     {index, strings.Replace(index, ";", ` WHERE "email" LIKE '%+%';`, 1), `INSERT INTO "user" ("id", "email") VALUES ('u2', 'grace@example.com')`, "grace@example.com"},
		"two columns": {`PRIMARY KEY("provider", "providerAccountId"), FOREIGN`, `FOREIGN`, `INSERT INTO "account" SELECT * FROM "account"`, `["github" "42"] 2 times`},
		"a secret":    {`"sessionToken" text PRIMARY KEY NOT NULL`, `"sessionToken" text NOT NULL`, `INSERT INTO "session" SELECT * FROM "session"`, "a session token 2 times"},
	} {
		t.Run(name, func(t *testing.T) {
			p := pool(t, filepath.Join(t.TempDir(), "test.db"), good)
			if !strings.Contains(schema, test.old) {
				t.Fatalf("the schema does not contain %s", test.old)
			}
			run(t, p, strings.Replace(schema, test.old, test.changed, 1)+rows)
			run(t, p, test.double)
			db := sqlite.New(p, sqlstore.DrizzleSQLite)
			err := db.Migrate(t.Context())
			if err == nil || !strings.Contains(err.Error(), test.shown) || strings.Contains(err.Error(), "a-raw-token") {
				t.Errorf("Migrate with two rows = %v, want an error that shows %s", err, test.shown)
			}
			if err := db.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "CREATE UNIQUE INDEX") {
				t.Errorf("Check = %v, want an error with the statement", err)
			}
			run(t, p, `DELETE FROM "user" WHERE "id" = 'u2'; DELETE FROM "account" WHERE rowid > 1; DELETE FROM "session" WHERE rowid > 1`)
			plan, err := db.Plan(t.Context())
			if err != nil || !slices.ContainsFunc(plan, func(s sqlstore.Step) bool {
				return s.Part == "keys" && s.Applied.IsZero() && strings.HasPrefix(s.Statements[0], "CREATE UNIQUE INDEX")
			}) {
				t.Errorf("Plan = %v, %v; want a step that makes the key", plan, err)
			}
			for range 2 {
				if err := db.Migrate(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if err := db.Check(t.Context()); err != nil {
				t.Errorf("Check after Migrate = %v", err)
			}
			if _, err := db.Session(t.Context(), "a-raw-token"); err != nil {
				t.Errorf("Session after Migrate = %v", err)
			}
		})
	}
}

// TestInTx sees the application's rows come and go with the act.
func TestInTx(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "test.db"))
	run(t, db.SQL(), `CREATE TABLE profile (user_id text PRIMARY KEY)`)
	u := user(1)
	insert := func(fail error) func(context.Context, *sql.Tx) error {
		return func(ctx context.Context, tx *sql.Tx) error {
			if _, err := tx.ExecContext(ctx, `INSERT INTO profile SELECT "id" FROM "user"`); err != nil {
				return err
			}
			return fail
		}
	}
	count := func() (n int) {
		t.Helper()
		if err := db.SQL().QueryRow(`SELECT count(*) FROM profile`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	refused := errors.New("refused")
	if err := db.Commit(t.Context(), &gatebook.Act{Writes: []gatebook.Write{u}, InTx: insert(refused)}); err != refused || count() != 0 { //nolint:errorlint // as it is, not wrapped
		t.Errorf("Commit = %v, with %d rows of the application; want its own error and none", err, count())
	}
	if err := db.Commit(t.Context(), &gatebook.Act{Writes: []gatebook.Write{u}, InTx: insert(nil)}); err != nil || count() != 1 {
		t.Errorf("Commit = %v, with %d rows of the application; want one", err, count())
	}
	// What the application did before a conflict in its own transaction stays.
	tx, err := db.SQL().Begin()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(`INSERT INTO profile VALUES ('mine')`); err != nil {
		t.Fatal(err)
	}
	if err := db.Commit(t.Context(), &gatebook.Act{Writes: []gatebook.Write{user(2), u}, Tx: tx}); !errors.Is(err, gatebook.ErrConflict) {
		t.Errorf("Commit = %v, want an error that matches ErrConflict", err)
	}
	if err := tx.Commit(); err != nil || count() != 2 {
		t.Errorf("the application's commit = %v, with %d rows; want 2", err, count())
	}
	if f, err := db.Find(t.Context(), gatebook.Query{UserID: user(2).User.ID}); err != nil || f.ByID != nil {
		t.Errorf("Find of the user of an act that conflicted = %+v, %v", f.ByID, err)
	}
}

// TestDriverWarning keeps the versions in the code equal to those of go.mod.
func TestDriverWarning(t *testing.T) {
	if w := sqlite.DriverWarning(); w != "" {
		t.Errorf("DriverWarning = %q in this module's own build, want none", w)
	}
	mod, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("sqlite.go")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mod)) {
		f := strings.Fields(strings.TrimPrefix(strings.TrimSpace(line), "require "))
		if len(f) >= 2 && slices.Contains([]string{"modernc.org/sqlite", "modernc.org/libc"}, f[0]) && !strings.Contains(string(source), `"`+f[1]+`"`) {
			t.Errorf("sqlite.go does not name %s %s", f[0], f[1])
		}
	}
}
