package book

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Wake tells the sequencer of this process that entries were committed to the
// outbox. It does not block. The sequencer then runs, but at most once in 20
// milliseconds; without Wake entries wait up to 250 milliseconds. If no Run
// runs in this process and entries keep waiting, Wake says so once in the log.
func (b *Book) Wake() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
	if b.running.Load() > 0 || b.told.Load() {
		return
	}
	now := time.Now().UnixMilli()
	if b.firstWake.CompareAndSwap(0, now) || now-b.firstWake.Load() < waited.Milliseconds() {
		return
	}
	if b.told.CompareAndSwap(false, true) {
		go b.tell()
	}
}

// tell warns when entries really wait: the sequencer may run in another
// process.
func (b *Book) tell() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	n, oldest, err := b.Pending(ctx)
	if err != nil || n == 0 || time.Since(oldest) < waited {
		b.firstWake.Store(0)
		b.told.Store(false)
		return
	}
	b.logger().Warn("book: entries wait for their number: call Run, or start a server that does",
		"waiting", n, "since", oldest)
}

// Run numbers what is in the outbox until ctx ends and then returns nil. Only
// one server at a time does; the others wait to take over. Errors of the store
// are logged and tried again, with growing pauses of up to 5 seconds. When ctx
// ends a batch that is under way is rolled back and the lease given back; call
// [Book.Drain] for what is left.
func (b *Book) Run(ctx context.Context) error {
	b.running.Add(1)
	defer b.running.Add(-1)
	defer b.release(ctx)
	var failing string
	backoff := poll
	for {
		began := time.Now()
		n, more, err := b.round(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			// The same failure is said once, not every few seconds.
			if err.Error() != failing {
				failing = err.Error()
				b.logger().LogAttrs(ctx, slog.LevelError, "book: numbering failed; trying again", slog.String("error", failing))
			}
			if !sleep(ctx, backoff, nil) {
				return nil
			}
			backoff = min(2*backoff, 5*time.Second)
			continue
		}
		if failing != "" {
			failing, backoff = "", poll
			b.logger().LogAttrs(ctx, slog.LevelInfo, "book: numbering works again", slog.Int("entries", n))
		}
		if !more && !sleep(ctx, poll, b.wake) {
			return nil
		}
		if rest := pace - time.Since(began); rest > 0 && !sleep(ctx, rest, nil) {
			return nil
		}
	}
}

// Drain numbers everything that waits now, with the lease if it can be had;
// while another server holds it, Drain waits for that one to do it.
func (b *Book) Drain(ctx context.Context) error {
	rest, _, err := b.Pending(ctx)
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("drain the outbox: %w", err)
	}
	for {
		n, more, err := b.round(ctx)
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return fmt.Errorf("drain the outbox: %w", err)
		}
		// The outbox is emptied in its order, so acts that go on meanwhile do
		// not keep Drain here. Of two outboxes no common order is known.
		if rest -= n; rest <= 0 && b.outbox == nil {
			return nil
		}
		if more {
			continue
		}
		waiting, err := b.waiting(ctx)
		if err != nil {
			return fmt.Errorf("drain the outbox: %w", err)
		}
		if !waiting {
			return nil
		}
		if !sleep(ctx, pace, nil) {
			return fmt.Errorf("drain the outbox: %w", context.Cause(ctx))
		}
	}
}

// round numbers one batch if something waits and the lease can be had.
func (b *Book) round(ctx context.Context) (n int, more bool, err error) {
	select {
	case b.turn <- struct{}{}:
		defer func() { <-b.turn }()
	case <-ctx.Done():
		return 0, false, context.Cause(ctx)
	}
	if waiting, err := b.waiting(ctx); err != nil || !waiting {
		return 0, false, err
	}
	if b.epoch == 0 {
		b.epoch, err = b.store.Acquire(ctx, b.holder)
		if errors.Is(err, ErrLeaseHeld) {
			return 0, false, nil
		}
		if err != nil {
			return 0, false, fmt.Errorf("take the lease: %w", err)
		}
	}
	n, more, err = b.number(ctx)
	if n > 0 {
		b.notify() // also before an error of the second outbox
	}
	if errors.Is(err, ErrLeaseLost) {
		b.epoch = 0
		return n, false, nil
	}
	if err != nil {
		// Also after an unknown commit nothing is kept here: the next batch
		// reads the head again.
		return n, false, fmt.Errorf("number entries: %w", err)
	}
	return n, more, nil
}

func (b *Book) number(ctx context.Context) (n int, more bool, err error) {
	n, more, err = b.store.Number(ctx, b.epoch, nil)
	if err != nil || b.outbox == nil {
		return n, more, err
	}
	foreign, err := b.outbox.Pending(ctx, batchLimit)
	if err != nil || len(foreign) == 0 {
		return n, more, err
	}
	taken, _, err := b.store.Number(ctx, b.epoch, foreign)
	if err != nil {
		return n, more, err
	}
	ids := make([]string, taken)
	for i, e := range foreign[:taken] {
		ids[i] = e.ID
	}
	if err := b.outbox.Remove(ctx, ids); err != nil {
		return n, more, fmt.Errorf("remove numbered entries from the outbox: %w", err)
	}
	return n + taken, more || taken < len(foreign) || len(foreign) == batchLimit, nil
}

func (b *Book) waiting(ctx context.Context) (bool, error) {
	waiting, err := b.store.Waiting(ctx)
	if err != nil || waiting || b.outbox == nil {
		return waiting, err
	}
	foreign, err := b.outbox.Pending(ctx, 1)
	return len(foreign) > 0, err
}

// release gives the lease back so that the next server need not wait for it to
// run out. It is a courtesy: a failure is not worth a word.
func (b *Book) release(ctx context.Context) {
	b.turn <- struct{}{}
	defer func() { <-b.turn }()
	if b.epoch == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaseTime)
	defer cancel()
	_ = b.store.Release(ctx, b.epoch)
	b.epoch = 0
}

// sleep waits for d or until something is sent on wake, and reports whether ctx
// still runs.
func sleep(ctx context.Context, d time.Duration, wake <-chan struct{}) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
	case <-wake:
	}
	return true
}
