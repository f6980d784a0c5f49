package redis

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"github.com/gatebook/gatebook"
)

// Session implements [gatebook.Adapter]. What it answers was in the database at
// most ten seconds ago; after a Commit or ExtendSession of this Cache that
// changed the row, it is what they left. A token that opens nothing is asked of
// the database each time.
func (c *Cache) Session(ctx context.Context, token gatebook.Secret) (*gatebook.FoundSession, error) {
	if ctx.Err() != nil {
		return nil, fmt.Errorf("read session: %w", context.Cause(ctx))
	}
	client := c.redis()
	if client == nil {
		return c.Adapter.Session(ctx, token)
	}
	h := c.near.find(token)
	if h == nil {
		return c.load(ctx, client, token, "")
	}
	value, err := c.cached(ctx, client, h.name)
	switch {
	case err != nil:
		return c.Adapter.Session(ctx, token)
	case value == "":
		return c.load(ctx, client, token, "")
	case value[0] == leased: // another reader is about to fill it
		return c.Adapter.Session(ctx, token)
	}
	if value != h.value {
		if h, err = c.open(h.name, value, token); err != nil {
			return c.load(ctx, client, token, value)
		}
		c.near.put(h)
	}
	if !c.good(h) {
		return c.load(ctx, client, token, "")
	}
	return h.answer(), nil
}

// cached reads a key through the client's own cache; it is empty when Redis does
// not have it.
func (c *Cache) cached(ctx context.Context, client rueidis.Client, name string) (string, error) {
	wait := brief{Context: ctx, patience: patience}
	value, err := client.DoCache(&wait, client.B().Get().Key(name).Cache(), inProcess).ToString()
	wait.stop()
	if rueidis.IsRedisNil(err) {
		return "", nil
	}
	c.answered(ctx, err)
	return value, err
}

// answered takes note of what came of asking Redis on behalf of ctx.
func (c *Cache) answered(ctx context.Context, err error) {
	if err == nil || ctx.Err() == nil { // that a visitor hung up is nobody's fault
		c.health.report(err)
	}
}

// load answers from Redis itself, or from the database, and then leaves in Redis
// what it read. Bad is what Redis has and cannot be opened.
func (c *Cache) load(ctx context.Context, client rueidis.Client, token gatebook.Secret, bad string) (*gatebook.FoundSession, error) {
	s, err := c.sealer(ctx)
	if err != nil {
		return c.Adapter.Session(ctx, token)
	}
	name := s.name(kindSession, string(token))
	mine := leaseID()
	at := time.Now()
	value, leasedAt, err := c.acquire(ctx, client, name, mine, bad)
	if err != nil {
		return c.Adapter.Session(ctx, token)
	}
	if value != "" && value[0] != leased {
		h, err := c.open(name, value, token)
		if err == nil && c.good(h) {
			c.near.put(h)
			return h.answer(), nil
		}
		if err != nil && bad == "" {
			return c.load(ctx, client, token, value)
		}
	}
	found, err := c.Adapter.Session(ctx, token)
	if err != nil || leasedAt == 0 {
		return found, err
	}
	c.fill(ctx, client, s, &held{token: token, name: name, at: at.UnixMilli(), leasedAt: leasedAt, found: *found}, mine)
	return found, nil
}

// open opens what Redis has under a name.
func (c *Cache) open(name, value string, token gatebook.Secret) (*held, error) {
	s := c.seal.Load() // names come from it
	h, err := s.open(name, value)
	if err == nil {
		// Whoever can write Redis could put back what was there long ago.
		if age := time.Since(time.UnixMilli(h.at)); age > lease+inRedis || age < -lease {
			err = fmt.Errorf("it was read %v ago", age)
		}
	}
	if err != nil {
		c.warn(err)
		return nil, err
	}
	h.token, h.name, h.value = token, name, value
	h.hash = c.near.hash(token)
	h.found.Session.Token = token
	h.tags = s.tags(&h.found)
	return h, nil
}

// warn says, at most once a minute, that a value could not be used.
func (c *Cache) warn(err error) {
	now, last := time.Now().Unix(), c.warned.Load()
	if now-last >= 60 && c.warned.CompareAndSwap(last, now) {
		c.log.Warn("redis: a session in Redis is not used: another program wrote it, or a server whose clock differs", "error", err.Error())
	}
}

// good reports whether nothing happened in this process since h was read that
// makes it old.
func (c *Cache) good(h *held) bool {
	version := c.drops.version.Load()
	if h.checked.Load() == version {
		return true
	}
	if !c.drops.allow(h.leasedAt, h.name, h.tags[0], h.tags[1]) {
		return false
	}
	h.checked.Store(version)
	return true
}

// fill leaves in Redis what was read, unless it was changed meanwhile.
func (c *Cache) fill(ctx context.Context, client rueidis.Client, s *seal, h *held, mine string) {
	// A session that runs out while it is cached would be taken for ended,
	// though it may be extended in time by who knows nothing of this cache.
	if time.Until(h.found.Session.Expires) < maxAge {
		return
	}
	var err error
	if h.value, err = s.close(h.name, h); err != nil {
		c.warn(err)
		return
	}
	h.hash, h.tags = c.near.hash(h.token), s.tags(&h.found)
	short, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	filled, err := fillScript.Exec(short, client, []string{h.name, h.tags[0], h.tags[1]},
		[]string{mine, h.value, millis(inRedis)}).AsBool()
	c.answered(ctx, err)
	if err == nil && filled {
		h.found = clone(&h.found)
		c.near.put(h)
	}
}

// held is a row that this process has decoded.
type held struct {
	hash     uint64 // of the token
	token    gatebook.Secret
	name     string    // of its key in Redis
	tags     [2]string // names of the keys that know of it: its user's and its handle's
	value    string    // what Redis has, sealed; that it still is the same is what makes the row good
	at       int64     // when the database was read, Unix milliseconds, by the clock of who did
	leasedAt int64     // before that, microseconds, by the clock of Redis
	found    gatebook.FoundSession
	checked  version
}

// answer returns the row, which the caller may change.
func (h *held) answer() *gatebook.FoundSession {
	f := clone(&h.found)
	return &f
}

func clone(f *gatebook.FoundSession) gatebook.FoundSession {
	c := *f
	if c.User.Extra != nil {
		c.User.Extra = maps.Clone(c.User.Extra)
		for column, v := range c.User.Extra {
			if b, ok := v.([]byte); ok {
				c.User.Extra[column] = slices.Clone(b)
			}
		}
	}
	return c
}

// brief is a context that ends a moment after somebody begins to wait for it: a
// read that is answered from memory then pays for no timer.
type brief struct {
	context.Context
	patience time.Duration
	once     sync.Once
	inner    context.Context
	cancel   context.CancelFunc
}

func (b *brief) begin() context.Context {
	b.once.Do(func() { b.inner, b.cancel = context.WithTimeout(b.Context, b.patience) })
	return b.inner
}

func (b *brief) Deadline() (time.Time, bool) { return b.begin().Deadline() }
func (b *brief) Done() <-chan struct{}       { return b.begin().Done() }
func (b *brief) Err() error                  { return b.begin().Err() }

func (b *brief) stop() {
	if b.cancel != nil {
		b.cancel()
	}
}
