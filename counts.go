package gatebook

import (
	"context"
	"hash/maphash"
	"net/netip"
	"sync"
	"time"

	"github.com/gatebook/gatebook/record"
)

// What happens with every request is counted, and recorded outside the request.
const (
	countWindow = 5 * time.Minute
	countTick   = 10 * time.Second
	sweepEvery  = 6 // ticks
	// maxUses is how many sessions may be counted before all are written
	// early, and maxRepeats how many kinds of repetition are told apart.
	maxUses     = 1 << 17
	maxRepeats  = 1 << 14
	countShards = 64
)

// counts holds the uses of sessions, by sid, and repeated failures, by network.
type counts struct {
	seed   maphash.Seed
	shards [countShards]countShard

	mu      sync.Mutex
	repeats map[repeatKey]*repeat
	begun   time.Time // when the server did
}

type countShard struct {
	mu   sync.Mutex
	uses map[string]*use
}

// use is what is counted of one session in one window.
type use struct {
	user        User
	session     string
	strategy    string
	count       int64
	refreshed   int64
	first, last time.Time
}

func newCounts(now time.Time) *counts {
	c := &counts{seed: maphash.MakeSeed(), repeats: map[repeatKey]*repeat{}, begun: now}
	for i := range c.shards {
		c.shards[i].uses = map[string]*use{}
	}
	return c
}

// add counts one use of s, or, when refreshed, that its expiry was moved.
func (c *counts) add(s *Session, now time.Time, refreshed bool) {
	if s.ID == "" {
		return
	}
	shard := &c.shards[maphash.String(c.seed, s.ID)%countShards]
	shard.mu.Lock()
	u := shard.uses[s.ID]
	if u == nil {
		u = &use{user: User{ID: s.User.ID, Email: s.User.Email, Name: s.User.Name}, session: s.ID, strategy: s.Strategy, first: now}
		shard.uses[s.ID] = u
	}
	u.last = now
	if refreshed {
		u.refreshed++
	} else {
		u.count++
	}
	shard.mu.Unlock()
}

// take removes and returns the uses whose window is over, or all.
func (c *counts) take(now time.Time, all bool) []*use {
	n := 0
	for i := range c.shards {
		c.shards[i].mu.Lock()
		n += len(c.shards[i].uses)
		c.shards[i].mu.Unlock()
	}
	all = all || n > maxUses
	var out []*use
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		for sid, u := range s.uses {
			if all || now.Sub(u.first) >= countWindow {
				delete(s.uses, sid)
				out = append(out, u)
			}
		}
		s.mu.Unlock()
	}
	return out
}

// sessionUse is the event under which counts are recorded.
type sessionUse struct {
	Envelope
	user    User
	payload record.SessionUse
}

func (e *sessionUse) copy() Event { c := *e; return &c }

// repeated is the event under which repetitions are recorded.
type repeated struct {
	Envelope
	check, why string
	count      int64
}

func (e *repeated) copy() Event { c := *e; return &c }

// repeatKey says what counts as a repetition: the same thing from one network
// (an IPv4 /24 or IPv6 /48).
type repeatKey struct {
	typ, reason, check, why string
	network                 netip.Prefix
}

type repeat struct {
	since time.Time
	more  int64
	meta  Envelope // of the last
}

func network(ip netip.Addr) netip.Prefix {
	bits := 48
	if ip.Is4() {
		bits = 24
	}
	p, _ := ip.Prefix(bits)
	return p
}

// first reports whether an event is the first of its kind in its window, and
// is to be recorded by itself; otherwise it is counted.
func (c *counts) first(k repeatKey, now time.Time, ev Event) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.repeats[k]
	if r == nil && len(c.repeats) >= maxRepeats {
		k.network = netip.Prefix{}
		r = c.repeats[k]
	}
	if r == nil {
		c.repeats[k] = &repeat{since: now}
		return true
	}
	r.more++
	r.meta = *ev.Meta()
	return false
}

func (c *counts) takeRepeats(now time.Time, all bool) []*repeated {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []*repeated
	for k, r := range c.repeats {
		if !all && now.Sub(r.since) < countWindow {
			continue
		}
		delete(c.repeats, k)
		if r.more > 0 {
			out = append(out, &repeated{Envelope: r.meta, check: k.check, why: k.why, count: r.more})
		}
	}
	return out
}

const countBatch = 100

// flushCounts records the counts whose window is over, or all of them.
func (a *Auth) flushCounts(ctx context.Context, all bool) {
	now := cut(a.now())
	var batch []told
	write := func() {
		entries, err := a.entries(ctx, batch)
		if err == nil {
			err = a.commit(ctx, &Act{Entries: entries})
		}
		if err != nil {
			a.log.Error("record counts", "count", len(batch), "error", err.Error())
		}
		batch = batch[:0]
	}
	for _, r := range a.counts.takeRepeats(now, all) {
		batch = append(batch, told{ev: r, keys: keys{subject: record.NewKey()}})
		if len(batch) >= countBatch {
			write()
		}
	}
	uses := a.counts.take(now, all)
	for _, u := range uses {
		key, err := a.subjectKey(ctx, u.user.ID)
		if err != nil {
			a.log.Error("record counts", "error", err.Error())
			continue
		}
		r := &recorder{a: a, id: newID(), now: now, source: record.SourceGatebook, actor: Actor{Type: record.ActorUser, ID: u.user.ID}}
		for typ, n := range map[string]int64{record.TypeSession: u.count, record.TypeSessionRefreshed: u.refreshed} {
			if n == 0 {
				continue
			}
			e := &sessionUse{Envelope: r.envelope(typ), user: u.user, payload: record.SessionUse{
				Session: u.session, Strategy: u.strategy, Count: n, First: u.first, Last: u.last,
				// A server that was killed before this one began may have lost
				// what it had counted of the same session.
				AtLeast: u.first.Sub(a.counts.begun) < countWindow,
			}}
			e.Subject, e.Session = u.user.ID, u.session
			batch = append(batch, told{ev: e, keys: keys{subject: key, actor: key}})
		}
		if len(batch) >= countBatch {
			write()
		}
	}
	if len(batch) > 0 {
		write()
	}
}

// subjectKey returns the key of a user, storing a new one when the book has not
// met them, or a fresh one where there is no such user.
func (a *Auth) subjectKey(ctx context.Context, userID string) (record.Key, error) {
	if a.adapter == nil || userID == "" {
		return record.NewKey(), nil
	}
	for range maxTries {
		found, err := a.adapter.Find(ctx, Query{UserID: userID})
		if err != nil {
			return record.Key{}, err
		}
		if found.ByID == nil {
			return record.NewKey(), nil
		}
		if !found.ByID.Subject.IsZero() {
			return found.ByID.Subject, nil
		}
		key := record.NewKey()
		err = a.commit(ctx, &Act{Writes: []Write{AddSubject{UserID: userID, Subject: key}}})
		if err == nil {
			return key, nil
		}
		if !isConflict(err) {
			return record.Key{}, err
		}
	}
	return record.Key{}, ErrConflict
}

// noteOnce records an event of a failure that is no sign-in: the first of its
// kind from a network in five minutes by itself, further ones as a count.
func (a *Auth) noteOnce(ctx context.Context, f *firing, ev Event, check, why string) {
	m := ev.Meta()
	k := repeatKey{typ: m.Type, reason: m.Reason, check: check, why: why, network: network(m.Request.IP)}
	if !a.counts.first(k, a.now(), ev) {
		return
	}
	entries, err := a.entries(ctx, []told{{ev: ev, keys: keys{subject: record.NewKey()}}})
	if err == nil {
		err = a.commit(ctx, &Act{Entries: entries})
	}
	if err != nil {
		a.log.Error("record "+m.Type, "error", err.Error())
		return
	}
	f.fire(ev)
}
