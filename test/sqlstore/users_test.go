package sqlstore_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/adapter/adaptertest"
	"github.com/gatebook/gatebook/adapter/sqlstore"
	"github.com/gatebook/gatebook/record"
)

const more = ", password_hash text, nickname text, shoe bigint"

// people are tables of users as applications have them.
var people = map[string]struct {
	layout sqlstore.Layout
	ddl    string
	ids    adaptertest.IDs
	kind   sqlstore.IDType
}{
	"postgres uuid": {
		sqlstore.Postgres, `CREATE SCHEMA app;
CREATE TABLE app.people (person_id uuid PRIMARY KEY DEFAULT gen_random_uuid(), full_name varchar(300), mail text UNIQUE,
	mail_verified timestamptz, picture text` + more + `)`, adaptertest.UUIDs, sqlstore.UUID,
	},
	"postgres serial": {
		sqlstore.Postgres, `CREATE SCHEMA app;
CREATE TABLE app.people (person_id bigserial PRIMARY KEY, full_name text, mail text UNIQUE, mail_verified bigint, picture text` + more + `)`,
		adaptertest.IntegerIDs, sqlstore.Integer,
	},
	"postgres identity": {
		sqlstore.Postgres, `CREATE SCHEMA app;
CREATE TABLE app.people (person_id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, full_name text, mail text UNIQUE,
	mail_verified timestamp, picture text` + more + `)`, adaptertest.IntegerIDs, sqlstore.Integer,
	},
	"mysql text": {
		sqlstore.MySQL, `CREATE TABLE people (person_id varchar(64) CHARACTER SET utf8mb3 PRIMARY KEY, full_name mediumtext, mail varchar(320) UNIQUE,
	mail_verified datetime(3), picture mediumtext` + strings.ReplaceAll(more, " text", " mediumtext") + `)`, adaptertest.TextIDs, sqlstore.Text,
	},
	"mysql auto_increment": {
		sqlstore.MySQL, `CREATE TABLE people (person_id bigint unsigned AUTO_INCREMENT PRIMARY KEY, full_name mediumtext, mail varchar(320) UNIQUE,
	mail_verified bigint, picture mediumtext` + strings.ReplaceAll(more, " text", " mediumtext") + `)`, adaptertest.IntegerIDs, sqlstore.Integer,
	},
	"sqlite rowid": {
		sqlstore.SQLite, `CREATE TABLE people (person_id integer PRIMARY KEY AUTOINCREMENT, full_name text, mail text UNIQUE, mail_verified integer, picture text` +
			more + `)`, adaptertest.IntegerIDs, sqlstore.Integer,
	},
}

// peopleOf is the layout with that table.
func peopleOf(l sqlstore.Layout, kind sqlstore.IDType, columns ...string) sqlstore.Layout {
	return l.WithUsers(sqlstore.Users{
		Table: peopleTable(l), ID: "person_id", Name: "full_name", Email: "mail", EmailVerified: "mail_verified", Image: "picture",
		IDType: kind, Extra: columns,
	})
}

func peopleTable(l sqlstore.Layout) string {
	if l.Database() == "postgres" {
		return "app.people"
	}
	return "people"
}

// TestUsers runs the suite on an application's own table of users, with every type
// of id.
func TestUsers(t *testing.T) {
	for name, p := range people {
		t.Run(name, func(t *testing.T) {
			db := pool(t, p.layout.Database())
			exec(t, db, p.ddl)
			l := peopleOf(p.layout, p.kind, adaptertest.TextColumn, adaptertest.NumberColumn)
			migrated(t, db, l)
			adaptertest.Run(t, func(t *testing.T) gatebook.Adapter {
				t.Helper()
				return emptied(t, db, l, peopleTable(l))
			}, lent(l, &adaptertest.Options{IDs: p.ids, LooseKeys: p.layout.Database() == "mysql"}))
		})
	}
}

// TestUndeclared: no column is read that was not declared.
func TestUndeclared(t *testing.T) {
	for name, p := range people {
		t.Run(name, func(t *testing.T) {
			db := pool(t, p.layout.Database())
			exec(t, db, p.ddl)
			s := migrated(t, db, peopleOf(p.layout, p.kind, adaptertest.TextColumn))
			u := gatebook.User{Name: "Ada", Email: "ada@example.com", Extra: map[string]any{adaptertest.TextColumn: "Countess"}}
			var err error
			if u.ID, err = s.NewUserID(t.Context(), u, nil); err != nil {
				t.Fatal(err)
			}
			create := gatebook.CreateUser{User: u, Subject: record.NewKey()}
			if err := s.Commit(t.Context(), &gatebook.Act{Writes: []gatebook.Write{create}}); err != nil {
				t.Fatal(err)
			}
			exec(t, db, "UPDATE "+peopleTable(p.layout)+" SET password_hash = 'secret'")
			f, err := s.Find(t.Context(), gatebook.Query{UserID: u.ID})
			if err != nil || f.ByID == nil || len(f.ByID.User.Extra) != 1 || f.ByID.User.Extra[adaptertest.TextColumn] != "Countess" {
				t.Errorf("Find = %+v, %v; want a user with the declared column alone", f.ByID, err)
			}
			u.Extra = map[string]any{"password_hash": "x"}
			err = s.Commit(t.Context(), &gatebook.Act{Writes: []gatebook.Write{gatebook.UpdateUser{User: u, Fields: []string{"password_hash"}}}})
			if err == nil || !strings.Contains(err.Error(), "Users.Extra") {
				t.Errorf("UpdateUser of a column that was not declared = %v, want an error that names Users.Extra", err)
			}
		})
	}
}

// TestNarrowText: what a column's character set has not is in no row, and no error.
func TestNarrowText(t *testing.T) {
	db := pool(t, "mysql")
	exec(t, db, `CREATE TABLE people (person_id varchar(64) CHARACTER SET latin1 PRIMARY KEY, full_name text, mail varchar(255) CHARACTER SET latin1 UNIQUE,
	mail_verified bigint, picture text)`)
	s := migrated(t, db, peopleOf(sqlstore.MySQL, sqlstore.Text))
	commit := func(u gatebook.User) error {
		return s.Commit(t.Context(), &gatebook.Act{Writes: []gatebook.Write{gatebook.CreateUser{User: u, Subject: record.NewKey()}}})
	}
	for _, id := range []string{"plain", "ren\u00e9", "a?"} {
		if err := commit(gatebook.User{ID: id, Email: id + "@example.com"}); err != nil {
			t.Fatal(err)
		}
		f, err := s.Find(t.Context(), gatebook.Query{UserID: id, Email: id + "@example.com"})
		if err != nil || f.ByID == nil || f.ByEmail == nil || f.ByID.User.ID != id || f.ByID.Subject.IsZero() {
			t.Errorf("Find of %q = %+v, %v", id, f, err)
		}
	}
	for _, id := range []string{"a\u9f8d", "\U0001f511", "PLAIN", "plain "} {
		f, err := s.Find(t.Context(), gatebook.Query{UserID: id, Email: id + "@example.com"})
		if err != nil || f.ByID != nil || f.ByEmail != nil {
			t.Errorf("Find of %q, who is nobody, = %+v, %v", id, f, err)
		}
	}
	if err := commit(gatebook.User{ID: "a\u9f8d"}); !errors.Is(err, gatebook.ErrUnfit) || !strings.Contains(err.Error(), "latin1") {
		t.Errorf("CreateUser with an id that latin1 has not = %v, want an error that matches ErrUnfit and names it", err)
	}
}

// TestUsersRefused: what Users says wrongly is an error that names it.
func TestUsersRefused(t *testing.T) {
	db := pool(t, "postgres")
	exec(t, db, people["postgres uuid"].ddl)
	base := sqlstore.Users{
		Table: "app.people", ID: "person_id", Name: "full_name", Email: "mail", EmailVerified: "mail_verified", Image: "picture", IDType: sqlstore.UUID,
	}
	for name, change := range map[string]func(*sqlstore.Users){
		"app.persons":  func(u *sqlstore.Users) { u.Table = "app.persons" },
		"Users.IDType": func(u *sqlstore.Users) { u.IDType = sqlstore.Integer },
		"no_name":      func(u *sqlstore.Users) { u.Name = "no_name" },
		"Users.Extra":  func(u *sqlstore.Users) { u.Extra = []string{"role"} },
		"a time":       func(u *sqlstore.Users) { u.EmailVerified = "nickname" },
		"named twice":  func(u *sqlstore.Users) { u.Image = "mail" },
		"unique":       func(u *sqlstore.Users) { u.Email, u.Image = "picture", "-" },
		"ID is needed": func(u *sqlstore.Users) { u.ID = "-" },
	} {
		u := base
		change(&u)
		s := sqlstore.New(db, sqlstore.Postgres.WithUsers(u))
		err := s.Migrate(t.Context())
		if err == nil {
			// Migrate makes unique keys; the other things are found by Check.
			err = s.Check(t.Context())
		}
		if name == "unique" {
			if err != nil {
				t.Errorf("Migrate that has to make a unique key = %v", err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("Migrate and Check with a wrong setting = %v, want an error with %q", err, name)
		}
	}
	if err := sqlstore.New(db, sqlstore.Layout{}).Check(t.Context()); err == nil || !strings.Contains(err.Error(), "Layout is empty") {
		t.Errorf("Check of the zero Layout = %v", err)
	}
}
