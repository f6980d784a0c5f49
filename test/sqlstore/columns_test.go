package sqlstore_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/adapter/sqlstore"
	"github.com/gatebook/gatebook/record"
)

// TestColumns works on users tables as applications have them: with types, names
// and indexes that Auth.js's tables do not have.
func TestColumns(t *testing.T) {
	born := time.Date(1990, 5, 6, 7, 8, 9, 123456000, time.UTC)
	const uuid = "7d8a1f6e-52b0-4c39-9a41-000000000001"
	tests := map[string]struct {
		layout sqlstore.Layout
		make   string
		users  sqlstore.Users
		id     string
		extra  map[string]any
	}{
		"postgres, types of all kinds": {
			sqlstore.Postgres,
			`CREATE TABLE people (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text, email text UNIQUE, "emailVerified" timestamptz,
				image text, born timestamptz, local timestamp, day date, meta jsonb, uid uuid, n numeric, ok boolean, list int[])`,
			sqlstore.Users{IDType: sqlstore.Integer, Extra: []string{"born", "local", "day", "meta", "uid", "n", "ok", "list"}}, "5",
			map[string]any{
				"born": born, "local": born, "day": born.Truncate(24 * time.Hour), "meta": `{"a": 1}`, "uid": uuid, "n": "1.5", "ok": true, "list": "{1,2}",
			},
		},
		"postgres, a domain": {
			sqlstore.Postgres,
			`CREATE DOMAIN address AS varchar(40) CHECK (VALUE LIKE '%@%');
CREATE TABLE people (id text PRIMARY KEY, name text, email address UNIQUE, "emailVerified" timestamptz, image text)`,
			sqlstore.Users{}, "5", nil,
		},
		"postgres, UUIDs as texts": {
			sqlstore.Postgres, `CREATE TABLE people (id text PRIMARY KEY, name text, email text UNIQUE, "emailVerified" timestamptz, image text)`,
			sqlstore.Users{IDType: sqlstore.UUID}, uuid, nil,
		},
		"mysql, its type of UUIDs": {
			sqlstore.MySQL, "CREATE TABLE people (id uuid PRIMARY KEY, name text, email varchar(255) UNIQUE, emailVerified datetime(3), image text)",
			sqlstore.Users{IDType: sqlstore.UUID}, uuid, nil,
		},
		"sqlite, an index of an expression and types in other words": {
			sqlstore.SQLite,
			`CREATE TABLE people (id integer PRIMARY KEY AUTOINCREMENT, name nvarchar(30), email text(80) UNIQUE, "emailVerified" datetime(6),
				image clob, "seen?" timestamp, ok bool);
CREATE UNIQUE INDEX people_low ON people (lower(email))`,
			sqlstore.Users{IDType: sqlstore.Integer, Extra: []string{"ok"}}, "5", map[string]any{"ok": int64(1)},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			db := pool(t, tt.layout.Database())
			exec(t, db, tt.make)
			tt.users.Table = "people"
			s := migrated(t, db, tt.layout.WithUsers(tt.users))
			u := gatebook.User{
				ID: tt.id, Name: "Ada", Email: "Ada@example.com", EmailVerified: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Extra: tt.extra,
			}
			if err := s.Commit(t.Context(), &gatebook.Act{Writes: []gatebook.Write{
				gatebook.CreateUser{User: u, Subject: record.NewKey()},
				gatebook.LinkAccount{Account: gatebook.Account{UserID: u.ID, Type: "oauth", Provider: "p", ProviderAccountID: "1"}},
				gatebook.CreateSession{Session: gatebook.StoredSession{Token: "token", ID: "sid", UserID: u.ID, Begun: time.Now(), Expires: time.Now().Add(time.Hour)}},
			}}); err != nil {
				t.Fatal(err)
			}
			f, err := s.Find(t.Context(), gatebook.Query{
				Session: "token", UserID: u.ID, Email: u.Email, Account: gatebook.AccountKey{Provider: "p", ProviderAccountID: "1"}, LinksTo: "x",
			})
			if err != nil || f.Session == nil || f.ByID == nil || f.ByEmail == nil || f.ByAccount == nil {
				t.Fatalf("Find = %+v, %v; want the user in each way", f, err)
			}
			if diff := cmp.Diff(u, f.Session.User); diff != "" {
				t.Errorf("what was read is not what was written (-want +got):\n%s", diff)
			}
			change := gatebook.UpdateUser{User: f.ByID.User, Fields: append([]string{"name", "email"}, tt.users.Extra...)}
			for _, w := range []gatebook.Write{change, gatebook.DeleteUser{ID: u.ID}} {
				if err := s.Commit(t.Context(), &gatebook.Act{Writes: []gatebook.Write{w}}); err != nil {
					t.Errorf("Commit of a %T: %v", w, err)
				}
			}
		})
	}
}

// TestUpperCaseUUIDs: an application that has UUIDs as texts may have them in
// upper case.
func TestUpperCaseUUIDs(t *testing.T) {
	db := pool(t, "mysql")
	const id = "7D8A1F6E-52B0-4C39-9A41-000000000001"
	exec(t, db, "CREATE TABLE people (id char(36) PRIMARY KEY, name text, email varchar(255) UNIQUE, emailVerified datetime, image text)",
		"INSERT INTO people (id, email) VALUES ('"+id+"', 'ada@example.com')")
	s := migrated(t, db, sqlstore.MySQL.WithUsers(sqlstore.Users{Table: "people", IDType: sqlstore.UUID}))
	if err := s.Commit(t.Context(), &gatebook.Act{Writes: []gatebook.Write{
		gatebook.AddSubject{UserID: id, Subject: record.NewKey()},
		gatebook.CreateSession{Session: gatebook.StoredSession{Token: "token", ID: "sid", UserID: id, Begun: time.Now(), Expires: time.Now().Add(time.Hour)}},
	}}); err != nil {
		t.Fatal(err)
	}
	f, err := s.Session(t.Context(), "token")
	if err != nil || f.User.ID != id || f.Subject.IsZero() {
		t.Errorf("Session = %+v, %v; want the user %s", f, err, id)
	}
}

// TestPartOfAKey: a key of which only the beginning of a column is a part does not
// keep the other column unique.
func TestPartOfAKey(t *testing.T) {
	db := pool(t, "mysql")
	exec(t, db, "CREATE TABLE people (id varchar(40) PRIMARY KEY, name text, email varchar(255), emailVerified datetime, image text, tenant varchar(100), "+
		"UNIQUE KEY (email, tenant(10)))")
	s := sqlstore.New(db, sqlstore.MySQL.WithUsers(sqlstore.Users{Table: "people"}))
	steps, err := s.Plan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if last := steps[len(steps)-1]; last.Part != "keys" || !strings.Contains(strings.Join(last.Statements, ""), "email") {
		t.Errorf("the last step is %+v, want one that makes email unique", last)
	}
}

// TestNoDate: a session whose expiry is no date, which other programs can write,
// is long over, and hinders nobody.
func TestNoDate(t *testing.T) {
	for _, l := range []sqlstore.Layout{sqlstore.PrismaSQLite, sqlstore.MySQL} {
		t.Run(l.Database(), func(t *testing.T) {
			db := pool(t, l.Database())
			at, none := "'2100-01-01 00:00:00'", "'0000-00-00 00:00:00'"
			if l.Database() == "sqlite" {
				none = "'soon'"
				exec(t, db, `CREATE TABLE "User" (id TEXT PRIMARY KEY, name TEXT, email TEXT UNIQUE, "emailVerified" DATETIME, image TEXT)`,
					`CREATE TABLE "Account" ("userId" TEXT, type TEXT, provider TEXT, "providerAccountId" TEXT, refresh_token TEXT, access_token TEXT,
						expires_at INTEGER, token_type TEXT, scope TEXT, id_token TEXT, session_state TEXT, PRIMARY KEY (provider, "providerAccountId"))`,
					`CREATE TABLE "Session" ("sessionToken" TEXT PRIMARY KEY, "userId" TEXT, expires DATETIME)`)
			}
			s := migrated(t, db, l)
			user, session := name(l, tables[l.Name()][0]), name(l, tables[l.Name()][2])
			if l.Database() == "mysql" {
				db.SetMaxOpenConns(1)
				exec(t, db, "SET sql_mode = 'STRICT_TRANS_TABLES'")
			}
			exec(t, db, "INSERT INTO "+user+" (id, email) VALUES ('1', 'ada@example.com')",
				"INSERT INTO "+session+" VALUES ('aaaa', '1', "+none+")", "INSERT INTO "+session+" VALUES ('bbbb', '1', "+at+")")
			list, err := s.Sessions(t.Context(), "1")
			if err != nil || len(list) != 2 {
				t.Errorf("Sessions = %v, %v; want 2", list, err)
			}
			gone, err := s.Expired(t.Context(), time.Now())
			if err != nil || len(gone) != 1 || gone[0].Session.Expires.Year() != 1970 {
				t.Errorf("Expired = %+v, %v; want the one without a date", gone, err)
			}
		})
	}
}
