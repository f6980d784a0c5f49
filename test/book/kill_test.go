package book_test

import (
	"math/rand/v2"
	"testing"

	"github.com/gatebook/gatebook/book"
	"github.com/gatebook/gatebook/test/need"
)

// TestKilled kills a process at random moments while it appends and numbers.
// What it said was durable is in the log afterwards, once, and the log has no
// gap.
func TestKilled(t *testing.T) {
	for name, d := range databases {
		t.Run(name, func(t *testing.T) { killed(t, name, d) })
	}
}

func killed(t *testing.T, name string, d database) {
	t.Helper()
	kills := 20
	if need.Soak() {
		kills = 200
	}
	db, address := d.migrated(t)
	b := newBook(t, book.NewSQL(db))
	acknowledged := map[string]bool{}
	pending := 0
	for i := range kills {
		// As if the next server started three seconds later, so that it numbers.
		execute(t, db, "UPDATE gatebook_book SET lease_until = 0")
		c := startProcess(t, "serve", name, address)
		// Some soon, before anything can be numbered; some late, so that on a slow
		// database too something was.
		c.wait(t, 1+rand.IntN(60<<(i%5)))
		c.kill()
		for _, id := range c.lines() {
			acknowledged[id] = true
		}
		n, _, err := b.Pending(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		pending += n
		all(t, b)
	}
	numbered := head(t, b).Seq
	drain(t, b)
	log := all(t, b)
	for _, e := range log {
		if len(e.Blocks) != 2 || len(e.Header.Blocks) != 2 {
			t.Errorf("entry %d has %d blocks and lists %d, want 2", e.Seq, len(e.Blocks), len(e.Header.Blocks))
		}
		delete(acknowledged, e.Header.ID)
	}
	for id := range acknowledged {
		t.Errorf("entry %s was acknowledged and is not in the log", id)
	}
	found, err := b.Read(t.Context(), book.Query{Filter: book.Filter{UserID: "u"}, Limit: 1000, Reverse: true})
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range found {
		if e.Seq != int64(len(log)-i) {
			t.Errorf("the search for the user finds %d where %d is", e.Seq, len(log)-i)
			break
		}
	}
	if pending == 0 || numbered == 0 {
		t.Errorf("%d entries were left in the outbox and %d numbered by the killed: the moments were not random", pending, numbered)
	}
	t.Logf("%d kills, %d entries, %d numbered and %d left behind by the killed", kills, len(log), numbered, pending)
}
