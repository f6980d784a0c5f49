package sqlstore_test

import (
	"errors"
	"testing"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/adapter/sqlstore"
	"github.com/gatebook/gatebook/record"
)

// TestTriggers: what a trigger of the application's makes of a new user must not
// leave an event about a user who is not there.
func TestTriggers(t *testing.T) {
	for name, body := range map[string]string{
		"another id":  "NEW.id = 'other-' || NEW.id; RETURN NEW;",
		"no row":      "RETURN NULL;",
		"a zero":      "PERFORM 1 / 0; RETURN NEW;",
		"no, it says": "RAISE EXCEPTION 'no';",
	} {
		t.Run(name, func(t *testing.T) {
			db := pool(t, "postgres")
			exec(t, db, `CREATE TABLE people (id text PRIMARY KEY, name text, email text UNIQUE, "emailVerified" timestamptz, image text)`)
			s := migrated(t, db, sqlstore.Postgres.WithUsers(sqlstore.Users{Table: "people"}))
			exec(t, db, "CREATE FUNCTION change() RETURNS trigger AS $$ BEGIN "+body+" END $$ LANGUAGE plpgsql",
				"CREATE TRIGGER change BEFORE INSERT ON people FOR EACH ROW EXECUTE FUNCTION change()")
			err := s.Commit(t.Context(), &gatebook.Act{
				Writes: []gatebook.Write{
					gatebook.CreateUser{User: gatebook.User{ID: "1", Email: "ada@example.com"}, Subject: record.NewKey()},
					gatebook.LinkAccount{Account: gatebook.Account{UserID: "1", Type: "oauth", Provider: "p", ProviderAccountID: "1"}},
				},
				Entries: []record.Entry{{ID: "entry", Header: []byte("{}")}},
			})
			if err == nil || errors.Is(err, gatebook.ErrCommitUnknown) {
				t.Errorf("Commit = %v, want an error that says it did not happen", err)
			}
			var rows int
			if err := db.QueryRow(`SELECT (SELECT count(*) FROM people) + (SELECT count(*) FROM account) + (SELECT count(*) FROM gatebook_outbox) +
				(SELECT count(*) FROM gatebook_subjects)`).Scan(&rows); err != nil || rows != 0 {
				t.Errorf("%d rows are left, %v; want none", rows, err)
			}
		})
	}
}
