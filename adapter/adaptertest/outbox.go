package adaptertest

import (
	"bytes"
	"crypto/rand"
	"errors"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/book"
	"github.com/gatebook/gatebook/record"
)

var outboxRules = []rule{
	{"book", "Book returns the same value at every call.", func(w *world) {
		b := w.a.Book()
		if b == nil || b != w.a.Book() {
			w.Errorf("Book returns nil or different values")
		}
		w.commit(create(w.user()))
		if b != w.a.Book() {
			w.Errorf("Book returns another value after an act")
		}
	}},
	{"recorded", "When Commit returns nil its entries are in the outbox.", func(w *world) {
		e, never := w.entry(w.user()), w.entry(w.user())
		w.act(&gatebook.Act{Writes: []gatebook.Write{create(w.user())}, Entries: []record.Entry{e}})
		if !w.recorded(e) {
			w.Errorf("the entry is not in the book right after Commit")
		}
		if w.recorded(e, never) {
			w.Errorf("Recorded says that an entry is in the book that was never committed")
		}
		w.log()
		if !w.recorded(e) {
			w.Errorf("the entry is no longer in the book once it is numbered")
		}
	}},
	{"kept", "Entries are kept byte for byte, with their blocks and search terms.", func(w *world) {
		u := w.user()
		small, large := w.entry(u), w.large(u)
		w.act(&gatebook.Act{Entries: []record.Entry{small, large}})
		got := w.entries(book.Query{Filter: book.Filter{UserID: u.ID}})
		if len(got) != 2 {
			w.Fatalf("Read by the user's id = %d entries, want 2", len(got))
		}
		for i, want := range []record.Entry{small, large} {
			if !bytes.Equal(got[i].Raw, want.Header) {
				w.Errorf("the header of entry %d came back as\n\t%s, want\n\t%s", i, got[i].Raw, want.Header)
			}
			if !slices.EqualFunc(got[i].Blocks, want.Blocks, func(a, b record.Block) bool {
				return a.Class == b.Class && a.Subject == b.Subject && bytes.Equal(a.Bytes, b.Bytes)
			}) {
				w.Errorf("the blocks of entry %d came back changed", i)
			}
		}
		if got := w.entries(book.Query{Filter: book.Filter{UserID: uuid()}}); len(got) != 0 {
			w.Errorf("Read by another user's id = %d entries, want none", len(got))
		}
	}},
	{"order in an act", "Entries of an act are numbered in their order.", func(w *world) {
		var want []string
		for range 5 {
			var entries []record.Entry
			for range 40 {
				entries = append(entries, w.entry(w.user()))
			}
			w.act(&gatebook.Act{Writes: []gatebook.Write{create(w.user())}, Entries: entries})
			want = append(want, ids(entries)...)
		}
		if got := w.log(); !slices.Equal(got, want) {
			w.Errorf("the log has %d entries in another order than the %d committed", len(got), len(want))
		}
	}},
	{"order of acts", "An act begun after another's commit comes after it.", func(w *world) {
		var want []string
		for i := range 60 {
			e := w.entry(w.user())
			act := &gatebook.Act{Entries: []record.Entry{e}}
			if i%2 == 0 {
				act.Writes = []gatebook.Write{gatebook.UseCheck{Digest: digest(), Expires: now}}
			}
			w.act(act)
			want = append(want, e.ID)
			if i%7 == 0 {
				w.log()
			}
		}
		if got := w.log(); !slices.Equal(got, want) {
			w.Errorf("the log is not in the order of the commits")
		}
	}},
	{"order of writes", "Acts that wrote the same row come in the order of those writes.", func(w *world) {
		// Linking succeeds only after an unlinking and the other way round, so
		// whoever raced, the log must alternate.
		u := create(w.user())
		a := account(u.User)
		w.commit(u)
		linked := make(map[string]bool)
		var mu sync.Mutex
		var failed atomic.Bool
		writes := []gatebook.Write{
			gatebook.LinkAccount{Account: a}, gatebook.UnlinkAccount{UserID: u.User.ID, AccountKey: key(a)},
		}
		var rows [][2]record.Entry
		for range 160 {
			rows = append(rows, [2]record.Entry{w.entry(u.User), w.entry(u.User)})
		}
		jobs := make(chan [2]record.Entry)
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for entries := range jobs {
					for i := range entries {
						err := w.a.Commit(w.ctx, &gatebook.Act{Writes: writes[i : i+1], Entries: entries[i : i+1]})
						if err == nil {
							mu.Lock()
							linked[entries[i].ID] = i == 0
							mu.Unlock()
						} else if !errors.Is(err, gatebook.ErrConflict) && failed.CompareAndSwap(false, true) {
							w.Errorf("Commit = %v", err)
						}
					}
				}
			})
		}
		// The sequencer runs at the same time, as it does in life.
		wg.Go(func() {
			for _, r := range rows {
				jobs <- r
			}
			close(jobs)
		})
		for range 5 {
			if err := w.a.Book().Drain(w.ctx); err != nil {
				w.Errorf("the book's Drain: %v", err)
			}
		}
		wg.Wait()
		got := w.log()
		if len(got) != len(linked) || len(got) < 2 {
			w.Fatalf("%d acts were committed and %d entries are in the log", len(linked), len(got))
		}
		for i, id := range got {
			link, ok := linked[id]
			if !ok || link != (i%2 == 0) {
				w.Fatalf("entry %d of %d in the log: of an act that succeeded: %v, linking: %v; want linking and unlinking in turn",
					i, len(got), ok, link)
			}
		}
	}},
	{"last write", "The last act in the log to write a row is the one whose value the row has.", func(w *world) {
		u := create(w.user())
		w.commit(u)
		names := make(map[string]string)
		var acts []*gatebook.Act
		for range 64 {
			e, next := w.entry(u.User), u.User
			next.Name = e.ID
			names[e.ID] = next.Name
			acts = append(acts, &gatebook.Act{
				Writes:  []gatebook.Write{gatebook.UpdateUser{User: next, Fields: []string{"name"}}},
				Entries: []record.Entry{e},
			})
		}
		w.together(len(acts), func(i int) error { return w.a.Commit(w.ctx, acts[i]) }, func(_ int, err error) {
			if err != nil {
				w.Errorf("UpdateUser = %v", err)
			}
		})
		got := w.log()
		if len(got) != len(acts) {
			w.Fatalf("the log has %d entries, want %d", len(got), len(acts))
		}
		if name := w.find(gatebook.Query{UserID: u.User.ID}).ByID.User.Name; name != names[got[len(got)-1]] {
			w.Errorf("the row has another act's value than the last in the log")
		}
	}},
}

// large returns an entry as large as they get.
func (w *world) large(u gatebook.User) record.Entry {
	w.Helper()
	subject := record.NewKey()
	var blocks []record.Block
	for range record.MaxBlocks {
		b := make([]byte, record.MaxBlock)
		rand.Read(b)
		blocks = append(blocks, record.Block{Class: record.ClassDetail, Subject: subject, Bytes: b})
	}
	var terms []record.Term
	for range record.MaxTerms {
		terms = append(terms, record.NewTerm(w.id.SearchKey, record.TermUser, u.ID))
		u.ID = uuid()
	}
	h, err := record.ParseHeader(w.entry(u).Header)
	if err != nil {
		w.Fatalf("ParseHeader: %v", err)
	}
	e, err := record.New(h, blocks, terms)
	if err != nil {
		w.Fatalf("record.New: %v", err)
	}
	return e
}
