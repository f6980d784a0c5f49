package sqlstore_test

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/adapter/sqlstore"
	"github.com/gatebook/gatebook/record"
)

// TestHashTokens has an application leave Auth.js with its tables: sessions whose
// tokens are stored as they are go on and are hashed when they are met, and the
// digest that then stands there opens nothing.
func TestHashTokens(t *testing.T) {
	for _, l := range []sqlstore.Layout{sqlstore.SQLite, sqlstore.Postgres, sqlstore.MySQL} {
		t.Run(l.Database(), func(t *testing.T) {
			db := pool(t, l.Database())
			s := sqlstore.New(db, l)
			if err := s.Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
			u := gatebook.User{ID: "7d8a1f6e-52b0-4c39-9a41-000000000001", Email: "ada@example.com"}
			if err := s.Commit(t.Context(), &gatebook.Act{Writes: []gatebook.Write{gatebook.CreateUser{User: u, Subject: record.NewKey()}}}); err != nil {
				t.Fatal(err)
			}
			expires := map[string]string{"sqlite": "4102444800000", "postgres": "'2100-01-01'", "mysql": "'2100-01-01'"}[l.Database()]
			past := map[string]string{"sqlite": "1000", "postgres": "'2001-01-01'", "mysql": "'2001-01-01'"}[l.Database()]
			insert := func(token, expires string) {
				t.Helper()
				text := `INSERT INTO "session" ("sessionToken", "userId", "expires") VALUES ('` + token + `', '` + u.ID + `', ` + expires + `)`
				if l.Database() == "mysql" {
					text = strings.ReplaceAll(text, `"`, "`")
				}
				if _, err := db.ExecContext(t.Context(), text); err != nil {
					t.Fatal(err)
				}
			}
			const read, found, listed, ended, shaped = "0f3b6f0e-1111-4c39-9a41-000000000001", "0f3b6f0e-2222-4c39-9a41-000000000001",
				"0f3b6f0e-3333-4c39-9a41-000000000001", "0f3b6f0e-4444-4c39-9a41-000000000001",
				"aaaabbbbccccddddeeeeffff0000111122223333444455556666777788889999"
			for _, token := range []string{read, found, listed, shaped} {
				insert(token, expires)
			}
			insert(ended, past)

			var wg sync.WaitGroup
			for range 20 {
				wg.Go(func() {
					if f, err := s.Session(t.Context(), read); err != nil || f.User.ID != u.ID {
						t.Errorf("Session of a token that is not hashed, by many at once = %v, %v", f, err)
					}
				})
			}
			wg.Wait()
			f, err := s.Find(t.Context(), gatebook.Query{Session: found, UserID: u.ID})
			if err != nil || f.Session == nil || f.Session.User.ID != u.ID || f.ByID == nil {
				t.Errorf("Find of a token that is not hashed = %+v, %v", f, err)
			}
			list, err := s.Sessions(t.Context(), u.ID)
			if err != nil || len(list) != 5 {
				t.Errorf("Sessions = %d, %v; want 5", len(list), err)
			}
			gone, err := s.Expired(t.Context(), time.Now())
			if err != nil || len(gone) != 1 {
				t.Fatalf("Expired = %v, %v; want one", gone, err)
			}
			for _, row := range append(list, gone[0].Session) {
				if len(row.Handle) != 64 || strings.Contains(row.Handle, "-") {
					t.Errorf("a list shows a token in the handle %q", row.Handle)
				}
			}
			if err := s.Commit(t.Context(), &gatebook.Act{Writes: []gatebook.Write{gatebook.DeleteSession{Handle: gone[0].Session.Handle}}}); err != nil {
				t.Errorf("DeleteSession of a row that was listed: %v", err)
			}
			if err := s.ExtendSession(t.Context(), listed, time.Now().Add(time.Hour)); err != nil {
				t.Errorf("ExtendSession: %v", err)
			}
			// What a leaked table says opens nothing, nor does what looks like it.
			for _, token := range []gatebook.Secret{gatebook.Secret(list[0].Handle), shaped, "0f3b6f0e-5555-4c39-9a41-000000000001", "a\x00b", "\xff"} {
				if f, err := s.Session(t.Context(), token); !errors.Is(err, gatebook.ErrNotFound) {
					t.Errorf("Session(%q) = %v, %v; want ErrNotFound", string(token), f, err)
				}
			}
			var left int
			text := `SELECT count(*) FROM "session" WHERE "sessionToken" LIKE '0f3b%'`
			if l.Database() == "mysql" {
				text = strings.ReplaceAll(text, `"`, "`")
			}
			if err := db.QueryRowContext(t.Context(), text).Scan(&left); err != nil || left != 0 {
				t.Errorf("%d tokens stand in the table as they are, %v; want none", left, err)
			}
		})
	}
}
