package gatebook

import (
	"context"
	"errors"
	"hash/maphash"
	"math"
	"net/netip"
	"sync"
	"time"

	"github.com/gatebook/gatebook/book"
	"github.com/gatebook/gatebook/record"
)

// What happens with every request is counted, and recorded outside the request.
const (
	countWindow = 5 * time.Minute
	countTick   = 10 * time.Second
	// maxUses is how many sessions may be counted before all are written
	// early, and maxRepeats how many kinds of repetition are told apart.
	maxUses     = 1 << 17
	maxRepeats  = 1 << 14
	countShards = 64
)

// counts holds the uses of sessions, by sid, and repeated failures, by network.
type counts struct {
	seed   maphash.Seed
	shards [countShards]useTable

	mu      sync.Mutex
	repeats map[repeatKey]*repeat
	begun   time.Time // when the server did
}

func newCounts(now time.Time) *counts {
	c := &counts{seed: maphash.MakeSeed(), repeats: map[repeatKey]*repeat{}, begun: now}
	for i := range c.shards {
		c.shards[i].seed = c.seed
	}
	return c
}

func (c *counts) shard(sid string) *useTable {
	return &c.shards[maphash.String(c.seed, sid)%countShards]
}

// add counts one use of s, or, when refreshed, that its expiry was moved.
func (c *counts) add(s *Session, now time.Time, refreshed bool) {
	if s.ID == "" {
		return
	}
	u := use{session: s.ID, userID: s.User.ID, name: s.User.Name, email: s.User.Email, strategy: s.Strategy, first: now, last: now}
	if refreshed {
		u.refreshed = 1
	} else {
		u.count = 1
	}
	c.shard(s.ID).add(&u, math.MaxInt32)
}

// take removes and returns the uses whose window is over, or all.
func (c *counts) take(now time.Time, all bool) []*use {
	n := 0
	for i := range c.shards {
		n += c.shards[i].len()
	}
	until := now.Add(-countWindow).UnixMilli()
	if all || n > maxUses {
		until = math.MaxInt64
	}
	var out []*use
	for i := range c.shards {
		out = append(out, c.shards[i].take(until)...)
	}
	return out
}

// putBack counts u again, which could not be recorded. When there is no room it
// is dropped and putBack reports false.
func (c *counts) putBack(u *use) bool {
	return c.shard(u.session).add(u, 2*maxUses/countShards)
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
	key        repeatKey
	since      time.Time
	check, why string
	count      int64
}

func (e *repeated) copy() Event { c := *e; return &c }

// repeatKey says what counts as a repetition: the same thing from one network
// (an IPv4 /24 or IPv6 /48).
type repeatKey struct {
	typ, reason, check, why string
	network                 netip.Prefix
	// sid is set when the repetitions of one session are not even counted.
	sid string
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
		// There is no room to tell networks apart. Without them the number of
		// kinds is small, but for sessions.
		if k.sid != "" {
			return true
		}
		k.network = netip.Prefix{}
		r = c.repeats[k]
	}
	if r == nil {
		c.repeats[k] = &repeat{since: now}
		return true
	}
	r.more++
	r.meta = ev.Meta().clone()
	return false
}

// missed counts n events, of which ev is the last, that could not be recorded.
func (c *counts) missed(k repeatKey, since time.Time, ev Event, n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.repeats[k]
	if r == nil {
		r = &repeat{since: since}
		c.repeats[k] = r
	}
	if r.more == 0 {
		r.meta = ev.Meta().clone()
	}
	r.more += n
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
		if r.more > 0 && k.sid == "" {
			out = append(out, &repeated{Envelope: r.meta, key: k, since: r.since, check: k.check, why: k.why, count: r.more})
		}
	}
	return out
}

const countBatch = 100

// writeCounts records counts from time to time until ctx ends.
func (a *Auth) writeCounts(ctx context.Context) {
	tick := time.NewTicker(countTick)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			a.flushCounts(ctx, false)
		}
	}
}

// flushCounts records the counts whose window is over, or all of them. What
// cannot be recorded is counted on and tried again later.
func (a *Auth) flushCounts(ctx context.Context, all bool) {
	now := cut(a.now())
	b := &countsBatch{a: a, ctx: ctx}
	for _, r := range a.counts.takeRepeats(now, all) {
		b.add(func() { a.counts.missed(r.key, r.since, r, r.count) },
			told{ev: r, keys: keys{subject: record.NewKey()}})
	}
	for _, u := range a.counts.take(now, all) {
		b.addUse(u, now)
	}
	b.write()
	if b.failed > 0 {
		a.log.Error("record counts; they are kept for later", "count", b.failed, "dropped", b.dropped, "error", b.err.Error())
	}
}

// countsBatch writes counts, many in a commit. After the first failure it writes
// no more.
type countsBatch struct {
	a       *Auth
	ctx     context.Context
	events  []told
	undo    []func()
	err     error
	failed  int
	dropped int
}

// add adds events that are undone together when they cannot be recorded.
func (b *countsBatch) add(undo func(), events ...told) {
	b.undo = append(b.undo, undo)
	b.events = append(b.events, events...)
	if len(b.undo) >= countBatch {
		b.write()
	}
}

func (b *countsBatch) addUse(u *use, now time.Time) {
	a := b.a
	undo := func() {
		if !a.counts.putBack(u) {
			b.dropped++
		}
	}
	var key record.Key
	if b.err == nil {
		key, b.err = a.subjectKey(b.ctx, u.userID)
	}
	r := &recorder{a: a, id: newID(), now: now, source: record.SourceGatebook, actor: Actor{Type: record.ActorUser, ID: u.userID}}
	var events []told
	for _, c := range [...]struct {
		typ   string
		count int64
	}{{record.TypeSession, u.count}, {record.TypeSessionRefreshed, u.refreshed}} {
		if c.count == 0 {
			continue
		}
		e := &sessionUse{Envelope: r.envelope(c.typ), user: User{ID: u.userID, Email: u.email, Name: u.name}, payload: record.SessionUse{
			Session: u.session, Strategy: u.strategy, Count: c.count, First: u.first, Last: u.last,
			// A server that was killed before this one began may have lost
			// what it had counted of the same session.
			AtLeast: u.first.Sub(a.counts.begun) < countWindow,
		}}
		e.Subject, e.Session = u.userID, u.session
		events = append(events, told{ev: e, keys: keys{subject: key, actor: key}})
	}
	b.add(undo, events...)
}

func (b *countsBatch) write() {
	if b.err == nil && len(b.events) > 0 {
		b.err = b.a.write(b.ctx, change{events: b.events})
		if errors.Is(b.err, ErrCommitUnknown) || errors.Is(b.err, book.ErrCommitUnknown) {
			// They may be there: what is lost is less bad than what is counted
			// twice.
			b.a.log.Error("record counts; they may be lost", "count", len(b.undo), "error", b.err.Error())
			b.undo, b.err = nil, nil
		}
	}
	if b.err != nil {
		b.failed += len(b.undo)
		for _, undo := range b.undo {
			undo()
		}
	}
	b.events, b.undo = nil, nil
}

// subjectKey returns the key of a user, in an act of its own when the book has not
// met them, or a fresh one where there is no such user.
func (a *Auth) subjectKey(ctx context.Context, userID string) (key record.Key, err error) {
	t := a.own(nil)
	err = t.again(func() error {
		key, err = t.subjectKey(ctx, userID)
		return err
	})
	return key, err
}

// noteOnce records an event of a failure that is no sign-in: the first of its
// kind from a network in five minutes by itself, further ones as a count.
func (a *Auth) noteOnce(ctx context.Context, f *firing, ev Event, check, why string) {
	m := ev.Meta()
	k := repeatKey{typ: m.Type, reason: m.Reason, check: check, why: why, network: network(m.Request.IP)}
	if !a.counts.first(k, a.now(), ev) {
		return
	}
	if err := a.write(ctx, change{events: []told{{ev: ev, keys: keys{subject: record.NewKey()}}}}); err != nil {
		a.counts.missed(k, a.now(), ev, 1)
		a.log.Error("record a failure", "type", m.Type, "error", err.Error())
		return
	}
	f.fire(ev)
}
