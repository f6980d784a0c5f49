package book_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatebook/gatebook/book"
	"github.com/gatebook/gatebook/record"
)

func entries(t testing.TB, ids ...string) []record.Entry {
	t.Helper()
	out := make([]record.Entry, len(ids))
	for i, id := range ids {
		var err error
		out[i], err = record.New(record.Header{ID: id, Type: record.TypeSignOut, TypeVersion: 1, Act: "act", Time: time.Now()}, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func add(t testing.TB, b *book.Book, ids ...string) {
	t.Helper()
	if err := b.Append(t.Context(), entries(t, ids...)...); err != nil {
		t.Fatal(err)
	}
}

// numbered returns the ids of the log.
func numbered(t testing.TB, b *book.Book) string {
	t.Helper()
	log, err := b.Read(t.Context(), book.Query{Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	ids := make([]string, len(log))
	for i, e := range log {
		if e.Seq != int64(i)+1 {
			t.Errorf("entry %d of the log has seq %d", i+1, e.Seq)
		}
		ids[i] = e.Header.ID
	}
	return strings.Join(ids, " ")
}

// start runs b in the bubble and returns its log and what ends it and waits.
func start(t *testing.T, b *book.Book) (log *logBuffer, stop func()) {
	t.Helper()
	log = new(logBuffer)
	b.SetLogger(slog.New(slog.NewTextHandler(log, nil)))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- b.Run(ctx) }()
	return log, func() {
		t.Helper()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v, want nil when its context ends", err)
		}
	}
}

// logBuffer is a log that may be read while it is written.
type logBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// counted notes when batches begin and fails them on demand.
type counted struct {
	*book.Memory
	mu      sync.Mutex
	batches []time.Time
	fail    error
}

func (c *counted) Number(ctx context.Context, epoch int64, foreign []record.Entry) (int, bool, error) {
	c.mu.Lock()
	c.batches = append(c.batches, time.Now())
	fail := c.fail
	c.mu.Unlock()
	if fail != nil {
		return 0, false, fail
	}
	return c.Memory.Number(ctx, epoch, foreign)
}

// set makes batches fail with err from now on, and returns when those before
// began.
func (c *counted) set(err error) []time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	began := c.batches
	c.batches, c.fail = nil, err
	return began
}

func TestWake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &counted{Memory: book.NewMemory()}
		b := book.New(s)
		_, stop := start(t, b)
		synctest.Wait()

		// Entries of another process, which cannot wake this one.
		began := time.Now()
		s.Memory.Add(entries(t, "foreign")...)
		time.Sleep(250 * time.Millisecond)
		synctest.Wait()
		if got := numbered(t, b); got != "foreign" {
			t.Errorf("%v after a commit without wake-up the log has %q", time.Since(began), got)
		}

		// After a wake-up at once, but not more often than every 20 ms.
		time.Sleep(100 * time.Millisecond)
		began = time.Now()
		s.set(nil)
		add(t, b, "w0")
		synctest.Wait()
		if got := numbered(t, b); got != "foreign w0" || time.Since(began) != 0 {
			t.Errorf("%v after a wake-up the log has %q", time.Since(began), got)
		}
		for i := range 200 {
			time.Sleep(time.Millisecond)
			add(t, b, fmt.Sprintf("w%d", i+1))
		}
		time.Sleep(20 * time.Millisecond)
		synctest.Wait()
		batches := s.set(nil)
		for i := range batches[1:] {
			if d := batches[i+1].Sub(batches[i]); d < 20*time.Millisecond {
				t.Errorf("two batches begin %v after one another", d)
			}
		}
		if n := len(batches); n < 10 || n > 13 || !strings.HasSuffix(numbered(t, b), " w200") {
			t.Errorf("%d batches for 200 entries in 200 ms", n)
		}
		stop()
	})
}

// A follower hears of what its own process numbers without waiting for a poll.
func TestFollowAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := book.New(book.NewMemory())
		_, stop := start(t, b)
		ctx, cancel := context.WithCancel(t.Context())
		var at []time.Time
		done := make(chan struct{})
		go func() {
			defer close(done)
			for _, err := range b.Follow(ctx, book.Cursor{}, book.Filter{}) {
				if err == nil {
					at = append(at, time.Now())
				}
			}
		}()
		synctest.Wait()
		time.Sleep(130 * time.Millisecond) // between two polls
		began := time.Now()
		add(t, b, "a")
		synctest.Wait()
		if len(at) != 1 || at[0] != began {
			t.Errorf("Follow yields at %v, want %v", at, began)
		}
		cancel()
		<-done
		stop()
	})
}

func TestRunTriesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &counted{Memory: book.NewMemory()}
		s.set(errors.New("disk is full"))
		b := book.New(s)
		log, stop := start(t, b)
		add(t, b, "a")
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := strings.Count(log.String(), "disk is full"); n != 1 {
			t.Errorf("in a minute of one failure the log says it %d times, want once:\n%s", n, log)
		}
		// 250 ms doubled up to 5 s: 7 tries in the first 20 s, then 12 a minute.
		if n := len(s.set(nil)); n < 12 || n > 18 {
			t.Errorf("in a minute of failure Run tried %d times, want about 15", n)
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if got := numbered(t, b); got != "a" || !strings.Contains(log.String(), "works again") {
			t.Errorf("5 s after the failure the log has %q and says:\n%s", got, log)
		}
		stop()
	})
}

// A lease is given back at the end, so the next server need not wait.
func TestRunReleases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := book.NewMemory()
		one, two := book.New(s), book.New(s)
		_, stop := start(t, one)
		add(t, one, "a")
		synctest.Wait()
		add(t, one, "b") // left behind: its batch would begin 20 ms later
		stop()
		began := time.Now()
		if err := two.Drain(t.Context()); err != nil || numbered(t, two) != "a b" {
			t.Errorf("Drain = %v, the log has %q", err, numbered(t, two))
		}
		if d := time.Since(began); d != 0 {
			t.Errorf("the next server waited %v for the lease", d)
		}
	})
}

// Another server numbers once the lease of a silent one has run out.
func TestTakeOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := book.NewMemory()
		one, two := book.New(s), book.New(s)
		add(t, one, "a")
		if err := one.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		add(t, two, "b")
		if err := two.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(began); d < 2900*time.Millisecond || d > 3100*time.Millisecond {
			t.Errorf("the other server took over after %v, want 3 s", d)
		}
		// The first one was only asleep: it must neither number nor fail.
		add(t, one, "c")
		if err := one.Drain(t.Context()); err != nil {
			t.Errorf("Drain of the server that was taken over: %v", err)
		}
		if got := numbered(t, two); got != "a b c" {
			t.Errorf("the log has %q, want a b c", got)
		}
	})
}

// Drain numbers what waits when it is called; it does not run after acts that
// go on.
func TestDrainEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &growing{Memory: book.NewMemory(), t: t}
		b := book.New(s)
		add(t, b, "a", "b")
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := b.Drain(ctx); err != nil {
			t.Errorf("Drain while entries are added = %v", err)
		}
		if got := numbered(t, b); !strings.HasPrefix(got, "a b") {
			t.Errorf("the log has %q", got)
		}
	})
}

// growing gets another entry with every batch.
type growing struct {
	*book.Memory
	t *testing.T
	n int
}

func (g *growing) Number(ctx context.Context, epoch int64, foreign []record.Entry) (int, bool, error) {
	n, more, err := g.Memory.Number(ctx, epoch, foreign)
	g.n++
	g.Memory.Add(entries(g.t, fmt.Sprintf("more-%d", g.n))...)
	return n, more, err
}

// recordedAt goes with the clock, but never back.
func TestClockSetBack(t *testing.T) {
	s := book.NewMemory()
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	s.Now = func() time.Time { return now }
	b := book.New(s)
	for _, id := range []string{"a", "b", "c"} {
		add(t, b, id)
		if err := b.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		now = now.Add(-time.Hour)
	}
	now = now.Add(24 * time.Hour)
	add(t, b, "d")
	if err := b.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	log, err := b.Read(t.Context(), book.Query{})
	if err != nil || len(log) != 4 {
		t.Fatalf("Read = %v, %v", log, err)
	}
	noon := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	for i, want := range []time.Time{noon, noon, noon, now} {
		if !log[i].RecordedAt.Equal(want) {
			t.Errorf("recordedAt of %d = %v, want %v", i+1, log[i].RecordedAt, want)
		}
	}
}

// A lease that was given before the clock was set back does not keep others
// out for longer than a lease lasts.
func TestLeaseFromTheFuture(t *testing.T) {
	s := book.NewMemory()
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	s.Now = func() time.Time { return now }
	if _, err := s.Acquire(t.Context(), "one"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Acquire(t.Context(), "two"); !errors.Is(err, book.ErrLeaseHeld) {
		t.Errorf("Acquire of a held lease = %v, want ErrLeaseHeld", err)
	}
	now = now.Add(-time.Hour)
	if _, err := s.Acquire(t.Context(), "two"); err != nil {
		t.Errorf("Acquire of a lease from the future = %v", err)
	}
}

// Wake warns when entries wait and no Run numbers them, once.
func TestWakeWarns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := book.New(book.NewMemory())
		log := new(logBuffer)
		b.SetLogger(slog.New(slog.NewTextHandler(log, nil)))
		for i := range 30 {
			add(t, b, fmt.Sprint(i))
			synctest.Wait()
			if i < 9 && log.String() != "" {
				t.Errorf("after %d s the log says %s", i, log)
			}
			time.Sleep(time.Second)
		}
		synctest.Wait()
		if n := strings.Count(log.String(), "entries wait for their number"); n != 1 {
			t.Errorf("in 30 s without Run the log warns %d times, want once:\n%s", n, log)
		}
	})
}

// waitingOutbox is an adapter's outbox in another database.
type waitingOutbox struct {
	waiting []record.Entry
	fail    error // of Remove
}

func (o *waitingOutbox) Pending(_ context.Context, limit int) ([]record.Entry, error) {
	return append([]record.Entry(nil), o.waiting[:min(limit, len(o.waiting))]...), nil
}

func (o *waitingOutbox) Remove(_ context.Context, ids []string) error {
	if o.fail != nil {
		return o.fail
	}
	gone := map[string]bool{}
	for _, id := range ids {
		gone[id] = true
	}
	var rest []record.Entry
	for _, e := range o.waiting {
		if !gone[e.ID] {
			rest = append(rest, e)
		}
	}
	o.waiting = rest
	return nil
}

func TestSecondOutbox(t *testing.T) {
	o := &waitingOutbox{waiting: entries(t, "f1", "f2")}
	b := book.New(book.NewMemory()).WithOutbox(o)
	add(t, b, "own")
	if n, _, err := b.Pending(t.Context()); n != 3 || err != nil {
		t.Errorf("Pending = %d, %v; want 3", n, err)
	}
	if ok, err := b.Recorded(t.Context(), "own", "f2"); !ok || err != nil {
		t.Errorf("Recorded = %v, %v; want true", ok, err)
	}
	if ok, err := b.Recorded(t.Context(), "own", "f3"); ok || err != nil {
		t.Errorf("Recorded = %v, %v; want false", ok, err)
	}
	// The log has them, but the outbox could not be told.
	o.fail = errors.New("connection lost")
	if err := b.Drain(t.Context()); !errors.Is(err, o.fail) {
		t.Errorf("Drain = %v, want that the outbox failed", err)
	}
	o.fail = nil
	o.waiting = append(o.waiting, entries(t, "f3")...)
	if err := b.Drain(t.Context()); err != nil {
		t.Error(err)
	}
	if got := numbered(t, b); got != "own f1 f2 f3" || len(o.waiting) != 0 {
		t.Errorf("the log has %q, want own f1 f2 f3; %d wait", got, len(o.waiting))
	}
	// More than a batch.
	var ids []string
	for i := range 700 {
		ids = append(ids, fmt.Sprintf("x%d", i))
	}
	o.waiting = entries(t, ids...)
	if err := b.Drain(t.Context()); err != nil {
		t.Error(err)
	}
	if got := numbered(t, b); !strings.HasSuffix(got, " x698 x699") {
		t.Errorf("the log ends with %q", got[len(got)-20:])
	}
}
