package redis

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// While Redis does not answer, one read in a while tries it, and the others do
// not wait for it.
const (
	firstRest = 100 * time.Millisecond
	maxRest   = 2 * time.Second
)

// health keeps readers from a Redis that does not answer. Its zero value is well.
type health struct {
	log  *slog.Logger
	next atomic.Int64 // when to try again, nanoseconds since start; 0 while all is well
	rest atomic.Int64 // how long to leave it alone after the next failure
	mu   sync.Mutex   // makes of reports a sequence
	last time.Time    // of failures that counted; guarded by mu
	err  error        // the latest failure; guarded by mu
	drop atomic.Bool  // one is under way though Redis does not answer
}

var start = time.Now()

// ask reports whether Redis may be asked.
func (h *health) ask() bool {
	next := h.next.Load()
	if next == 0 {
		return true
	}
	now := int64(time.Since(start))
	return now >= next && h.next.CompareAndSwap(next, now+h.rest.Load())
}

// report takes note of what came of asking.
func (h *health) report(err error) {
	if err == nil && h.next.Load() == 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.err = err
	failing := h.next.Load() != 0
	switch {
	case err == nil && failing:
		h.next.Store(0)
		h.rest.Store(0)
		h.log.Info("redis: the session cache answers again")
	case err != nil:
		rest := time.Duration(h.rest.Load())
		if failing && time.Since(h.last) < rest {
			return // asked before it was known
		}
		rest = min(max(2*rest, firstRest), maxRest)
		h.last = time.Now()
		h.rest.Store(int64(rest))
		h.next.Store(int64(time.Since(start) + rest))
		if !failing {
			h.log.Warn("redis: the session cache does not answer; sessions are read from the database", "error", err.Error())
		}
	}
}

// tryDrop reports whether a drop may be tried: always while all is well, and
// otherwise one at a time, for it is not to be left out because of a moment's
// silence, nor to pile up at a dead connection. Dropped must be called after it.
func (h *health) tryDrop() bool { return h.next.Load() == 0 || h.drop.CompareAndSwap(false, true) }

func (h *health) dropped() { h.drop.Store(false) }

// failure returns the latest failure.
func (h *health) failure() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err == nil { // between two attempts
		return errClosed
	}
	return h.err
}
