package book_test

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/gatebook/gatebook/book"
	"github.com/gatebook/gatebook/internal/sqldb"
	"github.com/gatebook/gatebook/record"
)

// bench is a database with the table of an act's own writes.
func bench(b *testing.B) (*sqldb.DB, *book.SQL, *book.Book) {
	b.Helper()
	db, _ := newDB(b)
	if _, err := db.SQL().Exec(`CREATE TABLE bench_session (token TEXT PRIMARY KEY, user TEXT NOT NULL, expires INTEGER NOT NULL)`); err != nil {
		b.Fatal(err)
	}
	s := book.NewSQL(db)
	return db, s, newBook(b, s)
}

// act is a sign-in of a known user with a session in the database: one row, and
// one entry or none, in a synced commit.
func act(ctx context.Context, db *sqldb.DB, s *book.SQL, n int, entries []record.Entry) error {
	return db.Tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO bench_session (token, user, expires) VALUES (?, ?, ?)", fmt.Sprintf("%064d", n), "u1", n)
		if err != nil {
			return err
		}
		return s.Insert(ctx, tx, entries)
	})
}

func signIn(b *testing.B, bk *book.Book, n int) []record.Entry {
	b.Helper()
	return []record.Entry{entry(b, bk, event{ID: fmt.Sprintf("019ab5c7-de4a-7000-8000-%012d", n),
		User: "8f14e45f-ceea-4671-9d62-1c3b0a7f5e21", Email: "ada@example.com", IP: "192.0.2.7", Session: "Zx3kq1N0d0mVb2Jw"})}
}

// BenchmarkOutbox is what the outbox adds to a synced act: the same act with and
// without its entry, in turn, so that both see the same disk. Sealing the entry
// is not counted; BenchmarkEntry of package record is.
func BenchmarkOutbox(b *testing.B) {
	db, s, bk := bench(b)
	n := 0
	turns(b, "bare", "recorded", func(recorded bool) time.Duration {
		n++
		entries := signIn(b, bk, n)
		if !recorded {
			entries = nil
		}
		began := time.Now()
		if err := act(b.Context(), db, s, n, entries); err != nil {
			b.Fatal(err)
		}
		return time.Since(began)
	})
}

// BenchmarkSequencer is what the sequencer adds to acts of one client: recorded
// acts on two files in turn, one with a sequencer and one without.
func BenchmarkSequencer(b *testing.B) {
	dbIdle, idle, bkIdle := bench(b)
	dbBusy, busy, bkBusy := bench(b)
	run(b, bkBusy)
	n := 0
	turns(b, "idle", "numbering", func(numbering bool) time.Duration {
		n++
		db, s, bk := dbIdle, idle, bkIdle
		if numbering {
			db, s, bk = dbBusy, busy, bkBusy
		}
		entries := signIn(b, bk, n)
		began := time.Now()
		if err := act(b.Context(), db, s, n, entries); err != nil {
			b.Fatal(err)
		}
		took := time.Since(began)
		if numbering {
			bk.Wake()
		}
		return took
	})
}

// turns runs a floor and what is measured against it in turn, each first as
// often as the other, and reports their medians and the ratio of these.
func turns(b *testing.B, floor, name string, one func(measured bool) time.Duration) {
	b.Helper()
	var ds [2][]time.Duration
	for i := 0; b.Loop(); i++ {
		first := i % 2
		for _, arm := range []int{first, 1 - first} {
			ds[arm] = append(ds[arm], one(arm == 1))
		}
	}
	f, d := median(ds[0]), median(ds[1])
	b.ReportMetric(float64(f.Microseconds()), floor+"-p50-µs")
	b.ReportMetric(float64(d.Microseconds()), name+"-p50-µs")
	b.ReportMetric(float64(d)/float64(f), "ratio")
	b.ReportMetric(0, "ns/op") // of both arms and of sealing: says nothing
}

func median[T cmp.Ordered](v []T) T {
	slices.Sort(v)
	return v[len(v)/2]
}

// BenchmarkNumber moves a backlog from the outbox to the log: how long one batch
// holds the write lock, its commit included, and how many entries it moves.
// Medians, for once in a few batches a checkpoint of the WAL comes on top.
func BenchmarkNumber(b *testing.B) {
	for name, d := range databases {
		b.Run(name, func(b *testing.B) { benchmarkNumber(b, d) })
	}
}

func benchmarkNumber(b *testing.B, d database) {
	b.Helper()
	db, _ := d.migrated(b)
	s := book.NewSQL(db)
	bk := newBook(b, s)
	epoch, err := s.Acquire(b.Context(), "bench")
	if err != nil {
		b.Fatal(err)
	}
	var took []time.Duration
	var entries []int
	for n := 0; b.Loop(); {
		b.StopTimer()
		var batch []record.Entry
		for range 1000 {
			batch = append(batch, signIn(b, bk, n)...)
			n++
		}
		if err := bk.Append(b.Context(), batch...); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		for more := true; more; {
			began := time.Now()
			var got int
			if got, more, err = s.Number(b.Context(), epoch, nil); err != nil {
				b.Fatal(err)
			}
			if more { // the last one is short
				took, entries = append(took, time.Since(began)), append(entries, got)
			}
		}
	}
	b.ReportMetric(float64(median(took).Microseconds())/1000, "ms/batch-p50")
	b.ReportMetric(float64(median(entries)), "entries/batch-p50")
	b.ReportMetric(0, "ns/op") // of a thousand entries
}

// BenchmarkRead is the newest page of 50, of a log of 20,000 entries, by what is
// asked. Each figure must stay the same as the log grows.
func BenchmarkRead(b *testing.B) {
	_, _, bk := bench(b)
	types := []string{"signIn", "signIn", "signIn", "signIn.failed", "session", "session.revoked", "session.expired", "createUser"}
	for i := 0; i < 20_000; i += 500 {
		var batch []event
		for j := i; j < i+500; j++ {
			e := event{Type: types[j%len(types)], User: fmt.Sprintf("u%d", j%97), IP: fmt.Sprintf("192.0.2.%d", j%89)}
			if e.Type == "signIn.failed" {
				e.Outcome = record.Failure
			}
			batch = append(batch, e)
		}
		add(b, bk, batch...)
	}
	drain(b, bk)
	for _, q := range []struct {
		name string
		book.Filter
	}{
		{"all", book.Filter{}},
		{"type", book.Filter{Types: []string{"createUser"}}},
		{"prefix", book.Filter{Types: []string{"session."}}},
		{"user", book.Filter{UserID: "u5"}},
		{"user,ip", book.Filter{UserID: "u5", IP: "192.0.2.5"}},
		{"failure", book.Filter{Outcome: record.Failure}},
		{"since", book.Filter{Since: time.Now().Add(-time.Hour)}},
	} {
		b.Run(q.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := bk.Read(b.Context(), book.Query{Filter: q.Filter, Reverse: true}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
