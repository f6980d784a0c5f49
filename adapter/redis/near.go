package redis

import (
	"hash/maphash"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/gatebook/gatebook"
)

// A process keeps at most nearSize decoded rows.
const (
	nearSize = 1 << 15
	ways     = 4
)

// near keeps decoded rows, each in one of a few places that the hash of its token
// names, so that it needs no lock and never grows. That a row is in it says
// nothing; see [held].
type near struct {
	seed maphash.Seed
	sets [][ways]place
}

type place struct {
	hash atomic.Uint64 // that of the row, mostly: saves looking there
	row  atomic.Pointer[held]
}

func (n *near) init() {
	n.seed = maphash.MakeSeed()
	n.sets = make([][ways]place, nearSize/ways)
}

func (n *near) hash(token gatebook.Secret) uint64 { return maphash.String(n.seed, string(token)) }

func (n *near) set(hash uint64) *[ways]place { return &n.sets[hash%uint64(len(n.sets))] }

// find returns the row of a token. Tokens are compared only when all 64 bits of a
// hash with a random seed are equal, so that how long it takes tells nothing.
func (n *near) find(token gatebook.Secret) *held {
	hash := n.hash(token)
	set := n.set(hash)
	for i := range set {
		if set[i].hash.Load() != hash {
			continue
		}
		if h := set[i].row.Load(); h != nil && h.hash == hash && h.token == token {
			return h
		}
	}
	return nil
}

// put keeps a row in place of the same token's or else of the one that was read
// first.
func (n *near) put(h *held) {
	set := n.set(h.hash)
	to, first := &set[0], int64(math.MaxInt64)
	for i := range set {
		there := set[i].row.Load()
		if there == nil || there.token == h.token {
			to = &set[i]
			break
		}
		if there.at < first {
			to, first = &set[i], there.at
		}
	}
	to.hash.Store(h.hash)
	to.row.Store(h)
}

// news counts what was heard about names of keys: that Redis has another value
// now, or that this process dropped it. Names share counters; to be told too often
// costs a look into Redis.
type news struct {
	seed   maphash.Seed
	counts [4096]atomic.Uint64
	all    atomic.Uint64 // about every name: a connection was lost
}

func (n *news) about(name string) *atomic.Uint64 {
	return &n.counts[maphash.String(n.seed, name)%uint64(len(n.counts))]
}

// of returns what was heard about a row: a number that only grows.
func (n *news) of(h *held) uint64 {
	return n.all.Load() + h.news[0].Load() + h.news[1].Load() + h.news[2].Load()
}

// tell counts for each of names.
func (n *news) tell(names []string) {
	for _, name := range names {
		n.about(name).Add(1)
	}
}

// hear is called by the client when Redis tells of keys that changed, and with
// nil when it cannot any more.
func (n *news) hear(names []rueidis.RedisMessage) {
	if names == nil {
		n.all.Add(1)
	}
	for i := range names {
		if name, err := names[i].ToString(); err == nil {
			n.about(name).Add(1)
		}
	}
}

// drops remembers what this process dropped, so that what it reads after it has
// written is what it wrote, though Redis tells of a drop a moment later, or was
// not reached.
type drops struct {
	mu            sync.RWMutex
	last          uint64          // number of the last drop
	recent, older map[string]drop // by name of a key
	turned        time.Time
}

// drop is what is known of the drops of one name.
type drop struct {
	begun, done uint64 // the last of each
	at          int64  // when that was done, microseconds by the clock of Redis
}

// begin remembers that names are about to be dropped, and returns the number of
// that drop. Without names it returns that of the last.
func (d *drops) begin(names ...string) uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(names) > 0 {
		d.last++
	}
	for _, name := range names {
		d.note(name, drop{begun: d.last})
	}
	return d.last
}

// done remembers that Redis dropped names, at a time by its clock, after the drop
// of a number had begun.
func (d *drops) done(number uint64, at int64, names []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, name := range names {
		d.note(name, drop{done: number, at: at})
	}
}

func (d *drops) note(name string, n drop) {
	// What was dropped longer ago than anything lives need not be remembered.
	if now := time.Now(); now.Sub(d.turned) > maxAge {
		d.older, d.recent, d.turned = d.recent, make(map[string]drop), now
	}
	was := d.of(name)
	d.recent[name] = drop{begun: max(was.begun, n.begun), done: max(was.done, n.done), at: max(was.at, n.at)}
}

func (d *drops) of(name string) drop {
	if was, ok := d.recent[name]; ok {
		return was
	}
	return d.older[name]
}

// allow reports whether a row that was leased at a time is newer than any drop of
// these names. While a drop is not done none is.
func (d *drops) allow(leasedAt int64, names ...string) bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	for _, name := range names {
		if was := d.of(name); was.begun > was.done || leasedAt <= was.at {
			return false
		}
	}
	return true
}
