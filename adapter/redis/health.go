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
	log    *slog.Logger
	next   atomic.Int64 // when to try again, nanoseconds since start; 0 while all is well
	rest   atomic.Int64 // how long to leave it alone after the next failure
	mu     sync.Mutex   // makes of reports a sequence
	last   time.Time    // of failures that counted; guarded by mu
	err    error        // the latest failure; guarded by mu
	failed int          // in a row; guarded by mu
	drop   atomic.Bool  // one is under way though Redis does not answer
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

// report takes note of what came of asking. A moment's silence is not worth a line
// in the log; it says so when several tries in a row have failed.
func (h *health) report(err error) {
	if err == nil && h.next.Load() == 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.err = err
	switch {
	case err == nil:
		h.next.Store(0)
		h.rest.Store(0)
		if h.failed >= worthTelling {
			h.log.Info("redis: the session cache answers again")
		}
		h.failed = 0
	case h.failed > 0 && time.Since(h.last) < time.Duration(h.rest.Load()):
		// It was asked before it was known to fail.
	default:
		h.last = time.Now()
		rest := min(max(2*time.Duration(h.rest.Load()), firstRest), maxRest)
		h.rest.Store(int64(rest))
		h.next.Store(int64(time.Since(start) + rest))
		if h.failed++; h.failed == worthTelling {
			h.log.Warn("redis: the session cache does not answer; sessions are read from the database", "error", err.Error())
		}
	}
}

// worthTelling is how many failures in a row are told of.
const worthTelling = 3

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
