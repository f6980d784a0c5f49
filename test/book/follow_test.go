package book_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatebook/gatebook/book"
	"github.com/gatebook/gatebook/record"
)

// follow collects what b.Follow yields until it has n entries.
func follow(t testing.TB, b *book.Book, c book.Cursor, f book.Filter, n int) []book.Entry {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out []book.Entry
	for e, err := range b.Follow(ctx, c, f) {
		if err != nil {
			t.Errorf("Follow after %d of %d entries: %v", len(out), n, err)
			break
		}
		if out = append(out, e); len(out) == n {
			break
		}
	}
	return out
}

// TestFollow has readers, in the process of the sequencer and outside it, follow
// a log while it grows.
func TestFollow(t *testing.T) {
	const writers, each = 4, 150
	for name, newStore := range stores {
		t.Run(name, func(t *testing.T) {
			s := newStore(t)
			b := newBook(t, s)
			other := newBook(t, s) // hears no wake-up and no change
			run(t, b)
			var wg sync.WaitGroup
			for w := range writers {
				wg.Go(func() {
					for i := range each {
						typ := record.TypeSignIn
						if i%3 == 0 {
							typ = record.TypeSessionRevoked
						}
						add(t, b, event{Type: typ, User: fmt.Sprintf("u%d", w)})
					}
				})
			}
			for _, r := range []*book.Book{b, other} {
				wg.Go(func() {
					for i, e := range follow(t, r, book.Cursor{}, book.Filter{}, writers*each) {
						if e.Seq != int64(i)+1 {
							t.Errorf("entry %d that Follow yields has seq %d", i+1, e.Seq)
							return
						}
					}
				})
				wg.Go(func() {
					got := follow(t, r, book.Cursor{}, book.Filter{UserID: "u2", Types: []string{"session."}}, each/3)
					for i, e := range got {
						if e.Header.Type != record.TypeSessionRevoked || i > 0 && e.Seq <= got[i-1].Seq {
							t.Errorf("Follow yields %d of type %s out of order or out of place", e.Seq, e.Header.Type)
						}
					}
				})
			}
			wg.Wait()

			// From a place in the middle, and through pages that are all full.
			log := all(t, b)
			got := follow(t, b, log[99].Cursor(), book.Filter{}, len(log)-100)
			if len(got) != len(log)-100 || got[0].Seq != 101 {
				t.Errorf("Follow from 100 yields %d entries, the first is %d", len(got), got[0].Seq)
			}
		})
	}
}

// Follow waits for entries that match, and goes past those that do not.
func TestFollowWaits(t *testing.T) {
	for name, newStore := range stores {
		t.Run(name, func(t *testing.T) {
			b := newBook(t, newStore(t))
			add(t, b, event{ID: "a"})
			drain(t, b)
			next := make(chan book.Entry)
			ctx, cancel := context.WithCancelCause(t.Context())
			ended := make(chan error, 1)
			go func() {
				for e, err := range b.Follow(ctx, book.Cursor{}, book.Filter{Types: []string{"signIn"}}) {
					if err != nil {
						ended <- err
						break
					}
					next <- e
				}
				close(next)
			}()
			if e := <-next; e.Header.ID != "a" {
				t.Errorf("Follow yields %s, want a", e.Header.ID)
			}
			add(t, b, event{Type: "signOut"})
			drain(t, b)
			add(t, b, event{ID: "b"})
			began := time.Now()
			drain(t, b)
			if e := <-next; e.Header.ID != "b" {
				t.Errorf("Follow yields %s, want b", e.Header.ID)
			}
			if d := time.Since(began); d > 5*time.Second {
				t.Errorf("Follow took %v to hear of an entry", d)
			}
			cause := errors.New("told to stop")
			cancel(cause)
			if err := <-ended; !errors.Is(err, cause) {
				t.Errorf("Follow ends with %v, want the cause", err)
			}
		})
	}
}

// A reader's cursor is from a log that a backup, restored, has replaced.
func TestHistoryReplaced(t *testing.T) {
	for name, newStore := range stores {
		t.Run(name, func(t *testing.T) {
			// The same entries give the same log.
			b := newBook(t, newStore(t))
			entries := add(t, b, make([]event, 5)...)
			drain(t, b)
			log := all(t, b)
			restored := func(n int) *book.Book {
				r := newBook(t, newStore(t))
				if n > 0 {
					if err := r.Append(t.Context(), entries[:n]...); err != nil {
						t.Fatal(err)
					}
				}
				drain(t, r)
				return r
			}
			last := log[4].Cursor()
			first := func(r *book.Book, c book.Cursor) (e book.Entry, err error) {
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
				defer cancel()
				for e, err = range r.Follow(ctx, c, book.Filter{}) {
					break
				}
				return e, err
			}

			shorter := restored(3)
			if _, err := first(shorter, last); !errors.Is(err, book.ErrHistoryReplaced) {
				t.Errorf("Follow of a shorter log = %v, want ErrHistoryReplaced", err)
			}
			add(t, shorter, event{}, event{})
			drain(t, shorter)
			if _, err := first(shorter, last); !errors.Is(err, book.ErrHistoryReplaced) {
				t.Errorf("Follow of another log of the same length = %v, want ErrHistoryReplaced", err)
			}
			add(t, shorter, event{ID: "after"})
			drain(t, shorter)
			if e, err := first(shorter, last); !errors.Is(err, book.ErrHistoryReplaced) {
				t.Errorf("Follow of a longer log = %s, %v, want ErrHistoryReplaced", e.Header.ID, err)
			}
			if _, err := first(restored(0), last); !errors.Is(err, book.ErrHistoryReplaced) {
				t.Errorf("Follow of an empty log = %v, want ErrHistoryReplaced", err)
			}
			// What both logs have is no replaced history.
			if e, err := first(shorter, log[2].Cursor()); err != nil || e.Seq != 4 {
				t.Errorf("Follow from an entry that both have = %d, %v; want 4", e.Seq, err)
			}
			if e, err := first(shorter, book.Cursor{}); err != nil || e.Seq != 1 {
				t.Errorf("Follow from the beginning = %d, %v; want 1", e.Seq, err)
			}
		})
	}
}

// swapped is a store beneath which another can be put, as a restore does.
type swapped struct {
	book.Store
	now atomic.Pointer[book.Store]
}

func (s *swapped) Head(ctx context.Context) (book.Cursor, error) { return (*s.now.Load()).Head(ctx) }
func (s *swapped) Digest(ctx context.Context, seq int64) ([8]byte, error) {
	return (*s.now.Load()).Digest(ctx, seq)
}
func (s *swapped) Read(ctx context.Context, sel book.Selection) ([]book.Entry, error) {
	return (*s.now.Load()).Read(ctx, sel)
}

// History is replaced beneath a reader that waits, also one that has been past
// entries that did not match.
func TestHistoryReplacedMeanwhile(t *testing.T) {
	for _, filter := range []book.Filter{{}, {Types: []string{"signIn"}}} {
		t.Run(fmt.Sprint(filter.Types), func(t *testing.T) {
			for name, newStore := range stores {
				t.Run(name, func(t *testing.T) {
					before, after := newStore(t), newStore(t)
					b := newBook(t, before)
					common := add(t, b, event{ID: "common"})
					add(t, b, event{ID: "lost", Type: "signOut"})
					drain(t, b)
					r := newBook(t, after)
					if err := r.Append(t.Context(), common...); err != nil {
						t.Fatal(err)
					}
					add(t, r, event{ID: "other", Type: "signOut"}, event{ID: "more"})
					drain(t, r)

					s := &swapped{Store: before}
					s.now.Store(&before)
					reader := newBook(t, s)
					ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
					defer cancel()
					var err error
					n := 0
					for e, e2 := range reader.Follow(ctx, book.Cursor{}, filter) {
						if err = e2; err != nil {
							break
						}
						if n++; e.Header.ID == "more" || e.Header.ID == "other" {
							t.Errorf("Follow yields %s of the other history", e.Header.ID)
						}
						if e.Header.ID == "lost" || len(filter.Types) > 0 {
							// The reader goes on to wait, or does so already.
							time.AfterFunc(50*time.Millisecond, func() { s.now.Store(&after) })
						}
					}
					if !errors.Is(err, book.ErrHistoryReplaced) {
						t.Errorf("Follow ends with %v after %d entries, want ErrHistoryReplaced", err, n)
					}
				})
			}
		})
	}
}
