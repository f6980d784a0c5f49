package redis

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatebook/gatebook"
)

// nearSize is how many decoded rows a process keeps at most.
const nearSize = 1 << 15

// near keeps decoded rows, each at the one place that the hash of its token
// names, so that it needs no lock and never grows. That a row is in it says
// nothing; see [held].
type near struct {
	seed  maphash.Seed
	slots []atomic.Pointer[held]
}

func (n *near) init() {
	n.seed = maphash.MakeSeed()
	n.slots = make([]atomic.Pointer[held], nearSize)
}

func (n *near) hash(token gatebook.Secret) uint64 { return maphash.String(n.seed, string(token)) }

// find returns the row of a token. Tokens are compared only when all 64 bits of a
// hash with a random seed are equal, so that how long it takes tells nothing.
func (n *near) find(token gatebook.Secret) *held {
	hash := n.hash(token)
	h := n.slots[hash%nearSize].Load()
	if h == nil || h.hash != hash || h.token != token {
		return nil
	}
	return h
}

func (n *near) put(h *held) { n.slots[h.hash%nearSize].Store(h) }

// version counts the drops of this process.
type version = atomic.Uint64

// drops remembers what this process dropped, so that what it reads after it has
// written is what it wrote, though Redis tells of a drop a moment later.
type drops struct {
	version version

	mu            sync.RWMutex
	recent, older map[string]int64 // by name of a key: when, microseconds by the clock of Redis
	turned        time.Time
}

// never is the time of a drop that Redis has not confirmed: nothing was leased
// after it.
const never = 1<<63 - 1

// note remembers that names were dropped at a time.
func (d *drops) note(at int64, names []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	// What was dropped longer ago than anything lives need not be remembered.
	if now := time.Now(); now.Sub(d.turned) > maxAge {
		d.older, d.recent, d.turned = d.recent, make(map[string]int64), now
	}
	for _, name := range names {
		d.recent[name] = at
	}
	d.version.Add(1)
}

// allow reports whether a row that was leased at a time is newer than any drop of
// these names.
func (d *drops) allow(leasedAt int64, names ...string) bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	for _, name := range names {
		at, ok := d.recent[name]
		if !ok {
			at, ok = d.older[name]
		}
		if ok && leasedAt <= at {
			return false
		}
	}
	return true
}
