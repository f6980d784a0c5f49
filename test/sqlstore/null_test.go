package sqlstore_test

import (
	"database/sql"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/adapter/sqlstore"
	"github.com/gatebook/gatebook/record"
	"github.com/gatebook/gatebook/test/need"
)

// TestNeverNull: what a user does not have is an empty text where the table wants
// one. Only an address is not made up: two users would have the same.
func TestNeverNull(t *testing.T) {
	for _, at := range []struct {
		layout       sqlstore.Layout
		driver, text string
		dsn          func() string
	}{
		{sqlstore.Postgres, "pgx", "text", func() string { return need.Postgres(t) }},
		{sqlstore.MySQL, "mysql", "varchar(255)", func() string { return need.MySQL(t) }},
		{sqlstore.SQLite, "sqlite", "text", func() string {
			return "file:" + filepath.Join(t.TempDir(), "site.db") + "?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=foreign_keys(1)&_txlock=immediate"
		}},
	} {
		t.Run(at.driver, func(t *testing.T) {
			db, err := sql.Open(at.driver, at.dsn())
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			if _, err := db.Exec(strings.ReplaceAll(`CREATE TABLE people (id TEXT PRIMARY KEY, name TEXT NOT NULL DEFAULT '',
				email TEXT NOT NULL UNIQUE, image TEXT NOT NULL)`, "TEXT", at.text)); err != nil {
				t.Fatal(err)
			}
			s := sqlstore.New(db, at.layout.WithUsers(sqlstore.Users{Table: "people", EmailVerified: "-"}))
			if err := s.Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
			u := gatebook.User{ID: uuid.NewString(), Email: "ada@example.com"}
			create := func(u gatebook.User) error {
				return s.Commit(t.Context(), &gatebook.Act{Writes: []gatebook.Write{gatebook.CreateUser{User: u, Subject: record.NewKey()}}})
			}
			if err := create(u); err != nil {
				t.Fatalf("create a user without a name: %v", err)
			}
			var name, image string
			if err := db.QueryRow("SELECT name, image FROM people").Scan(&name, &image); name != "" || image != "" || err != nil {
				t.Errorf("the user's row has the name %q and the image %q, %v", name, image, err)
			}
			refused := func(err error) {
				t.Helper()
				if !errors.Is(err, gatebook.ErrUnfit) || !strings.Contains(err.Error(), `"email"`) {
					t.Errorf("a user without an address: %v, want ErrUnfit that names the column", err)
				}
			}
			refused(create(gatebook.User{ID: uuid.NewString(), Name: "Grace"}))
			u.Email = ""
			refused(s.Commit(t.Context(), &gatebook.Act{Writes: []gatebook.Write{gatebook.UpdateUser{User: u, Fields: []string{"email"}}}}))
		})
	}
}
