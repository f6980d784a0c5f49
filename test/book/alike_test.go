package book_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatebook/gatebook/book"
	"github.com/gatebook/gatebook/record"
)

func TestAppendNumberRead(t *testing.T) {
	for name, newStore := range stores {
		t.Run(name, func(t *testing.T) {
			s := newStore(t)
			b := newBook(t, s)
			first := time.Date(2026, 1, 2, 3, 4, 5, 6_000_000, time.UTC)
			want := add(t, b, event{At: first, User: "u1"}, event{At: first.Add(time.Hour)})
			want = append(want, add(t, b, event{At: first.Add(2 * time.Hour), IP: "192.0.2.1"})...)

			n, oldest, err := b.Pending(t.Context())
			if n != 3 || !oldest.Equal(first) || err != nil {
				t.Errorf("Pending = %d, %v, %v; want 3, %v", n, oldest, err, first)
			}
			if got := all(t, b); len(got) != 0 || head(t, b) != (book.Cursor{}) {
				t.Errorf("the log has %d entries before they were numbered", len(got))
			}
			before := time.Now().Add(-time.Minute)
			drain(t, b)
			got := all(t, b)
			if len(got) != len(want) {
				t.Fatalf("the log has %d entries, want %d", len(got), len(want))
			}
			for i, e := range got {
				h, err := record.ParseHeader(want[i].Header)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(h, e.Header); diff != "" {
					t.Errorf("header of %d (-want +got):\n%s", e.Seq, diff)
				}
				if diff := cmp.Diff(want[i].Header, e.Raw); diff != "" {
					t.Errorf("bytes of the header of %d (-want +got):\n%s", e.Seq, diff)
				}
				if diff := cmp.Diff(want[i].Blocks, e.Blocks); diff != "" {
					t.Errorf("blocks of %d (-want +got):\n%s", e.Seq, diff)
				}
				if e.RecordedAt.Before(before) || time.Since(e.RecordedAt) < -time.Minute || e.RecordedAt.Location() != time.UTC ||
					e.RecordedAt.Nanosecond()%1e6 != 0 {
					t.Errorf("recordedAt of %d = %v, want now in whole milliseconds, UTC", e.Seq, e.RecordedAt)
				}
			}
			if h := head(t, b); h != got[2].Cursor() {
				t.Errorf("Head = %v, want %v", h, got[2].Cursor())
			}
			if n, oldest, err := b.Pending(t.Context()); n != 0 || !oldest.IsZero() || err != nil {
				t.Errorf("Pending after Drain = %d, %v, %v; want 0", n, oldest, err)
			}
			// What a reader does with what it got is its own affair.
			untouched := fmt.Sprintf("%+v", got[0])
			got[0].Raw[0], got[0].Blocks[0].Bytes[0], got[0].Header.Blocks[0].Class = 'x', got[0].Blocks[0].Bytes[0]+1, "x"
			got[0].Blocks[1].Class = "x"
			if diff := cmp.Diff(untouched, fmt.Sprintf("%+v", all(t, b)[0])); diff != "" {
				t.Errorf("a change of a returned entry is seen by the next reader (-want +got):\n%s", diff)
			}
			if c, d := mustIdentity(t, b), mustIdentity(t, book.New(s)); c.ID != d.ID || string(c.SearchKey) != string(d.SearchKey) || len(c.SearchKey) != 32 {
				t.Error("two books on one store have two identities")
			}
		})
	}
}

func mustIdentity(t testing.TB, b *book.Book) book.Identity {
	t.Helper()
	id, err := b.Identity(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestAppendNothing(t *testing.T) {
	for name, newStore := range stores {
		t.Run(name, func(t *testing.T) {
			b := newBook(t, newStore(t))
			if err := b.Append(t.Context()); err != nil {
				t.Error(err)
			}
			if ok, err := b.Recorded(t.Context()); !ok || err != nil {
				t.Errorf("Recorded() = %v, %v; want true", ok, err)
			}
			drain(t, b)
		})
	}
}

func TestRecorded(t *testing.T) {
	for name, newStore := range stores {
		t.Run(name, func(t *testing.T) {
			s := newStore(t)
			b := newBook(t, s)
			add(t, b, event{ID: "in-log"})
			drain(t, b)
			add(t, b, event{ID: "in-outbox"})
			for _, tt := range []struct {
				ids     []string
				missing []string
			}{
				{[]string{"in-log"}, nil},
				{[]string{"in-outbox"}, nil},
				{[]string{"in-outbox", "in-log", "in-log"}, nil},
				{[]string{"nowhere", "in-log"}, []string{"nowhere"}},
				{[]string{"in-log", "nowhere", "in-outbox", "IN-LOG"}, []string{"nowhere", "IN-LOG"}},
			} {
				if ok, err := b.Recorded(t.Context(), tt.ids...); ok != (tt.missing == nil) || err != nil {
					t.Errorf("Recorded(%q) = %v, %v", tt.ids, ok, err)
				}
				got, err := s.Missing(t.Context(), tt.ids)
				if err != nil || !slices.Equal(got, tt.missing) {
					t.Errorf("Missing(%q) = %q, %v; want %q", tt.ids, got, err, tt.missing)
				}
			}
		})
	}
}

// An entry that is in the outbox twice, or again after it was numbered, gets
// one number.
func TestNumberedOnce(t *testing.T) {
	for name, newStore := range stores {
		t.Run(name, func(t *testing.T) {
			b := newBook(t, newStore(t))
			add(t, b, event{ID: "a"}, event{ID: "b"}, event{ID: "a"}, event{ID: "c"})
			drain(t, b)
			add(t, b, event{ID: "b"}, event{ID: "d"})
			drain(t, b)
			var ids []string
			for _, e := range all(t, b) {
				ids = append(ids, e.Header.ID)
			}
			if got := strings.Join(ids, " "); got != "a b c d" {
				t.Errorf("the log has %s, want a b c d", got)
			}
		})
	}
}

// Bytes that no program of ours wrote do not stop the book.
func TestForeignBytes(t *testing.T) {
	for name, newStore := range stores {
		t.Run(name, func(t *testing.T) {
			b := newBook(t, newStore(t))
			bad := record.Entry{ID: "bad", Header: []byte("no header")}
			if err := b.Append(t.Context(), bad, entry(t, b, event{ID: "good"})); err != nil {
				t.Fatal(err)
			}
			drain(t, b)
			got, err := b.Read(t.Context(), book.Query{})
			if err != nil || len(got) != 2 {
				t.Fatalf("Read = %d entries, %v; want 2", len(got), err)
			}
			if string(got[0].Raw) != "no header" || !cmp.Equal(got[0].Header, record.Header{}) || got[1].Header.ID != "good" {
				t.Errorf("Read = %+v", got)
			}
		})
	}
}

// TestQueries compares Read with a plain search through all entries.
func TestQueries(t *testing.T) {
	for name, newStore := range stores {
		t.Run(name, func(t *testing.T) {
			s := newStore(t)
			if m, ok := s.(*book.Memory); ok {
				now := time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)
				m.Now = func() time.Time { now = now.Add(time.Millisecond); return now }
			}
			b := newBook(t, s)
			rnd := rand.New(rand.NewPCG(1, 2))
			pick := func(from ...string) string { return from[rnd.IntN(len(from))] }
			types := []string{"signIn", "signIn.failed", "signOut", "session", "session.revoked", "session.expired", "sessionX", "createUser"}
			users := []string{"", "u1", "u2", "ü3"}
			emails := []string{"", "ada@example.com", "Grace@Example.com"}
			addresses := []string{"", "192.0.2.1", "2001:db8::1"}
			sids := []string{"", "s1", "s2"}
			outcomes := []string{record.Success, record.Success, record.Failure, record.Unknown}
			events := map[string]event{}
			for range 12 {
				var batch []event
				for range 25 {
					batch = append(batch, event{Type: pick(types...), User: pick(users...), Email: pick(emails...),
						IP: pick(addresses...), Session: pick(sids...), Outcome: pick(outcomes...)})
				}
				for i, e := range add(t, b, batch...) {
					events[e.ID] = batch[i]
				}
				drain(t, b)
			}
			log := all(t, b)
			if log[0].RecordedAt.Equal(log[len(log)-1].RecordedAt) {
				t.Fatal("all entries have the same recordedAt; the bounds of time are not tested")
			}
			found := 0
			for range 700 {
				q := book.Query{Limit: rnd.IntN(40), Reverse: rnd.IntN(2) == 0}
				maybe := func() bool { return rnd.IntN(4) == 0 }
				for maybe() || len(q.Types) == 1 && rnd.IntN(2) == 0 {
					q.Types = append(q.Types, pick(append(types, "session.", "sign", "s.", "signIn.", "")...))
				}
				if maybe() {
					q.Outcome = pick(record.Success, record.Failure, record.Unknown, "other")
				}
				if maybe() {
					q.UserID = pick("u1", "u2", "ü3", "u9")
				}
				if maybe() {
					q.Email = pick("ada@example.com", "grace@example.com", "GRACE@example.com", "nobody@example.com")
				}
				if maybe() {
					q.IP = pick("192.0.2.1", "2001:db8::1", "192.0.2.9")
				}
				if maybe() {
					q.Session = pick("s1", "s2", "s9")
				}
				instant := func() time.Time {
					at := log[rnd.IntN(len(log))].RecordedAt
					return at.Add([]time.Duration{0, 0, 1, -1, time.Hour, -time.Hour}[rnd.IntN(6)])
				}
				if maybe() {
					q.Since = instant()
				}
				if maybe() {
					q.Until = instant()
				}
				if maybe() {
					q.After = rnd.Int64N(int64(len(log)+10)) - 3
				}
				if maybe() {
					q.Before = rnd.Int64N(int64(len(log)+10)) - 3
				}
				got, err := b.Read(t.Context(), q)
				if err != nil {
					t.Fatalf("Read(%+v): %v", q, err)
				}
				want := search(log, events, q)
				found += len(want)
				if diff := cmp.Diff(want, got, cmp.Transformer("seq", func(e book.Entry) int64 { return e.Seq })); diff != "" {
					t.Fatalf("Read(%+v) (-want +got):\n%s", q, diff)
				}
			}
			if found < 500 {
				t.Errorf("the queries found %d entries only", found)
			}
		})
	}
}

func search(log []book.Entry, events map[string]event, q book.Query) []book.Entry {
	var out []book.Entry
	for _, e := range log {
		ev := events[e.Header.ID]
		typ := len(q.Types) == 0
		for _, want := range q.Types {
			typ = typ || ev.Type == want || strings.HasSuffix(want, ".") && strings.HasPrefix(ev.Type, want)
		}
		if typ && (q.Outcome == "" || ev.Outcome == q.Outcome) &&
			(q.UserID == "" || ev.User == q.UserID) && (q.IP == "" || ev.IP == q.IP) && (q.Session == "" || ev.Session == q.Session) &&
			(q.Email == "" || strings.EqualFold(ev.Email, q.Email)) &&
			(q.Since.IsZero() || !e.RecordedAt.Before(q.Since)) && (q.Until.IsZero() || e.RecordedAt.Before(q.Until)) &&
			e.Seq > q.After && (q.Before <= 0 || e.Seq < q.Before) {
			out = append(out, e)
		}
	}
	if q.Reverse {
		slices.Reverse(out)
	}
	limit := q.Limit
	if limit == 0 {
		limit = 50
	}
	return out[:min(len(out), limit)]
}

func TestLimits(t *testing.T) {
	for name, newStore := range stores {
		t.Run(name, func(t *testing.T) {
			b := newBook(t, newStore(t))
			for range 11 {
				add(t, b, make([]event, 100)...)
			}
			drain(t, b)
			for _, tt := range []struct{ limit, want int }{{0, 50}, {-1, 50}, {1, 1}, {1000, 1000}, {100_000, 1000}} {
				got, err := b.Read(t.Context(), book.Query{Limit: tt.limit})
				if err != nil || len(got) != tt.want {
					t.Errorf("Read with limit %d = %d entries, %v; want %d", tt.limit, len(got), err, tt.want)
				}
			}
		})
	}
}

// Pages in both directions give every entry once, whatever is appended
// meanwhile.
func TestPages(t *testing.T) {
	for name, newStore := range stores {
		t.Run(name, func(t *testing.T) {
			b := newBook(t, newStore(t))
			add(t, b, make([]event, 25)...)
			drain(t, b)
			q := book.Query{Limit: 10, Reverse: true}
			var seqs []int64
			for {
				page, err := b.Read(t.Context(), q)
				if err != nil {
					t.Fatal(err)
				}
				if len(page) == 0 {
					break
				}
				for _, e := range page {
					seqs = append(seqs, e.Seq)
				}
				q.Before = page[len(page)-1].Seq
				add(t, b, event{})
				drain(t, b)
			}
			if len(seqs) != 25 || seqs[0] != 25 || seqs[24] != 1 {
				t.Errorf("pages backwards give %v", seqs)
			}
			if log := all(t, b); len(log) != 28 {
				t.Errorf("pages forwards give %d entries, want 28", len(log))
			}
		})
	}
}

// A context that has ended is answered at once, and with its cause.
func TestEndedContext(t *testing.T) {
	for name, newStore := range stores {
		t.Run(name, func(t *testing.T) {
			b := newBook(t, newStore(t))
			add(t, b, event{})
			cause := errors.New("told to stop")
			ctx, cancel := context.WithCancelCause(t.Context())
			cancel(cause)
			if err := b.Append(ctx, entry(t, b, event{ID: "late"})); !errors.Is(err, cause) {
				t.Errorf("Append = %v, want the cause", err)
			}
			if err := b.Drain(ctx); !errors.Is(err, cause) {
				t.Errorf("Drain = %v, want the cause", err)
			}
			if err := b.Run(ctx); err != nil {
				t.Errorf("Run = %v, want nil", err)
			}
			for _, err := range b.Follow(ctx, book.Cursor{}, book.Filter{}) {
				if !errors.Is(err, cause) {
					t.Errorf("Follow yields %v, want the cause", err)
				}
			}
			if ok, err := b.Recorded(t.Context(), "late"); ok || err != nil {
				t.Errorf("Recorded = %v, %v; want false: Append failed", ok, err)
			}
		})
	}
}
