package redis

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
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
	h := c.near.find(token)
	if h != nil && c.stands(h) {
		return h.answer(), nil
	}
	client := c.redis()
	switch {
	case client == nil:
		return c.Adapter.Session(ctx, token)
	case h == nil:
		return c.load(ctx, client, token, "")
	}
	return c.renew(ctx, client, h)
}

// stands reports whether nobody can have told of a change of h since Redis was
// last asked for it, and that was a short time ago.
func (c *Cache) stands(h *held) bool {
	p := h.proof.Load()
	return p != nil && p.seen == c.news.of(h) && int64(time.Since(start)) < p.until
}

// renew asks Redis, by way of its client's own cache, whether a row is still what
// it was, and answers with what Redis has.
func (c *Cache) renew(ctx context.Context, client rueidis.Client, h *held) (*gatebook.FoundSession, error) {
	seen := c.news.of(h) // before anything is asked
	short, cancel := brief(ctx)
	reply := client.DoCache(short, client.B().Get().Key(h.name).Cache(), inProcess)
	value, err := reply.ToString()
	cancel()
	if rueidis.IsRedisNil(err) {
		err = nil
	}
	c.health.report(err)
	switch {
	case err != nil:
		return c.Adapter.Session(ctx, h.token)
	case value == "":
		return c.load(ctx, client, h.token, "")
	case value[0] == leased: // another reader is about to fill it
		return c.Adapter.Session(ctx, h.token)
	}
	is := h
	if value != h.value {
		is, err = c.open(h.name, value, h.token)
	} else if fresh(h.at) != nil { // as when it was opened
		err = errOld
	}
	if err != nil {
		return c.load(ctx, client, h.token, value)
	}
	if !c.drops.allow(is.leasedAt, is.name, is.tags[0], is.tags[1]) {
		return c.load(ctx, client, h.token, "")
	}
	if pxat := reply.CachePXAT(); pxat > 0 && c.told.Load() && is.tags == h.tags {
		left := min(time.Until(time.UnixMilli(pxat)), inProcess)
		is.proof.Store(&proof{seen: seen, until: int64(time.Since(start) + left)})
	}
	if is != h {
		c.near.put(is)
	}
	return is.answer(), nil
}

// brief returns the context of one question to Redis. That the visitor hung up does
// not end it: others may wait for the same answer, and would take it for a failure
// of Redis.
func brief(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), patience)
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
		if err == nil && c.drops.allow(h.leasedAt, name, h.tags[0], h.tags[1]) {
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
		err = fresh(h.at)
	}
	if err != nil {
		c.warn(err)
		return nil, err
	}
	h.token, h.name, h.value = token, name, value
	h.found.Session.Token = token
	c.know(s, h)
	return h, nil
}

// know fills in what is kept of a row beside what was sealed.
func (c *Cache) know(s *seal, h *held) {
	h.hash = c.near.hash(h.token)
	h.tags = [2]string{s.name(kindUser, h.found.User.ID), s.name(kindHandle, h.found.Session.Handle)}
	h.news = [3]*atomic.Uint64{c.news.about(h.name), c.news.about(h.tags[0]), c.news.about(h.tags[1])}
}

var errOld = errors.New("it is older than anything in Redis should be")

// fresh returns an error unless what was read at a time, Unix milliseconds, may
// still be in Redis. Whoever can write there could put back what was there before.
func fresh(at int64) error {
	if age := time.Since(time.UnixMilli(at)); age > lease+inRedis || age < -lease {
		return errOld
	}
	return nil
}

// warn says, at most once a minute, that a value could not be used.
func (c *Cache) warn(err error) {
	now, last := time.Now().Unix(), c.warned.Load()
	if now-last >= 60 && c.warned.CompareAndSwap(last, now) {
		c.log.Warn("redis: a session in Redis is not used: another program wrote it, or a server whose clock differs", "error", err.Error())
	}
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
		if !errors.Is(err, errLong) {
			c.warn(err)
		}
		return
	}
	c.know(s, h)
	short, cancel := brief(ctx)
	defer cancel()
	filled, err := fillScript.Exec(short, client, []string{h.name, h.tags[0], h.tags[1]},
		[]string{mine, h.value, millis(inRedis)}).AsBool()
	c.health.report(err)
	if err == nil && filled {
		h.found = clone(&h.found)
		c.near.put(h)
	}
}

// held is a row that this process has decoded. Only proof changes.
type held struct {
	hash     uint64 // of the token
	token    gatebook.Secret
	name     string            // of its key in Redis
	tags     [2]string         // names of the keys that know of it: its user's and its handle's
	news     [3]*atomic.Uint64 // what is heard about name and tags
	value    string            // what Redis had, sealed
	at       int64             // when the database was read, Unix milliseconds, by the clock of who did
	leasedAt int64             // before that, microseconds, by the clock of Redis
	found    gatebook.FoundSession
	proof    atomic.Pointer[proof]
}

// proof says that Redis had a row, and tells of changes to it.
type proof struct {
	seen  uint64 // what had been heard before Redis was asked
	until int64  // nanoseconds since start
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
