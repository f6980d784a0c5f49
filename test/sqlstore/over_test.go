package sqlstore_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"testing"
	"time"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/adapter/sqlstore"
	"github.com/gatebook/gatebook/record"
)

// end has the database roll the whole transaction back by itself.
func end(t *testing.T, db *sql.DB, tx *sql.Tx, database string) {
	t.Helper()
	if database == "sqlite" { // a statement that was interrupted
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if _, err := tx.ExecContext(ctx, `INSERT INTO pair WITH RECURSIVE s (i) AS (SELECT 1000 UNION ALL SELECT i + 1 FROM s) SELECT i, 0 FROM s`); err == nil {
			t.Error("the statement came to an end")
		}
		return
	}
	other, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Error(err)
		return
	}
	defer other.Rollback()
	update := func(tx *sql.Tx, where string) error {
		_, err := tx.Exec("UPDATE pair SET n = n + 1 WHERE id " + where)
		return err
	}
	// Of two that wait for each other the one that changed less is rolled back.
	if err := update(other, ">= 2"); err != nil {
		t.Error(err)
	}
	if err := update(tx, "= 1"); err != nil {
		t.Error(err)
	}
	waits := make(chan error, 1)
	go func() { waits <- update(other, "= 1") }()
	if err := update(tx, "= 2"); err == nil {
		t.Error("there was no deadlock")
	}
	if err := <-waits; err != nil {
		t.Error(err)
	}
}

// TestTransactionOver has the database roll back a transaction of which the
// application does not tell, and sees nothing of the act committed alone.
func TestTransactionOver(t *testing.T) {
	for _, l := range []sqlstore.Layout{sqlstore.SQLite, sqlstore.MySQL} {
		t.Run(l.Database(), func(t *testing.T) {
			db := pool(t, l.Database())
			s := migrated(t, db, l)
			exec(t, db, "CREATE TABLE pair (id integer PRIMARY KEY, n integer)",
				"INSERT INTO pair WITH RECURSIVE s (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < 200) SELECT i, 0 FROM s")
			act := func() *gatebook.Act {
				return &gatebook.Act{
					Writes: []gatebook.Write{
						gatebook.CreateUser{User: gatebook.User{ID: "1", Email: "ada@example.com"}, Subject: record.NewKey()},
					},
					Entries: []record.Entry{{ID: rand.Text(), Header: []byte("{}")}},
				}
			}
			check := func(what string, err error) {
				t.Helper()
				var users, entries int
				if err := db.QueryRow("SELECT (SELECT count(*) FROM "+name(l, "user")+"), (SELECT count(*) FROM gatebook_outbox)").
					Scan(&users, &entries); err != nil {
					t.Fatal(err)
				}
				if err == nil || users != 0 || entries != 0 {
					t.Errorf("%s: Commit = %v, and there are %d users and %d entries; want an error and none", what, err, users, entries)
				}
			}
			a := act()
			a.InTx = func(_ context.Context, tx *sql.Tx) error {
				end(t, db, tx, l.Database())
				return nil
			}
			check("in InTx", s.Commit(t.Context(), a))

			tx, err := db.Begin()
			if err != nil {
				t.Fatal(err)
			}
			a.Tx = tx
			err = s.Commit(t.Context(), a)
			_ = tx.Rollback()
			check("in InTx in a transaction of the application", err)

			if l.Database() == "mysql" {
				if tx, err = db.Begin(); err != nil {
					t.Fatal(err)
				}
				end(t, db, tx, "mysql")
				a = act()
				a.Tx = tx
				err = s.Commit(t.Context(), a)
				_ = tx.Rollback()
				check("before, in a transaction of the application", err)
			}

			a = act()
			a.InTx = func(context.Context, *sql.Tx) error { return nil }
			if err := s.Commit(t.Context(), a); err != nil {
				t.Errorf("Commit afterwards: %v", err)
			}
		})
	}
}
