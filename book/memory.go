package book

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gatebook/gatebook/record"
)

// Memory is a [Store] in memory, for tests and for adapters in memory. It is
// lost with the process. Reading it goes through all entries.
type Memory struct {
	// Now returns the current time. If nil, time.Now. Set it before first use.
	Now func() time.Time

	mu       sync.Mutex // guards what follows
	identity Identity
	outbox   []record.Entry
	log      []memoryEntry
	ids      map[string]struct{} // of the log
	recorded time.Time           // of the last entry
	epoch    int64
	holder   string
	until    time.Time
}

type memoryEntry struct {
	Entry
	search []record.Term
}

var _ Store = (*Memory)(nil)

// NewMemory returns an empty store.
func NewMemory() *Memory {
	return &Memory{identity: newIdentity(), ids: map[string]struct{}{}}
}

func (m *Memory) now() time.Time {
	now := time.Now
	if m.Now != nil {
		now = m.Now
	}
	return now().UTC().Truncate(time.Millisecond)
}

// Add adds entries to the outbox. It never fails and calls nothing, so that an
// adapter may call it while it holds its own lock: writes and entries are then
// one step for everybody who takes that lock. Call [Book.Wake] afterwards. What
// the entries point to belongs to m from then on.
func (m *Memory) Add(entries ...record.Entry) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.outbox = append(m.outbox, entries...)
}

// Identity implements [Store].
func (m *Memory) Identity(context.Context) (Identity, error) { return m.identity, nil }

// Append implements [Store].
func (m *Memory) Append(ctx context.Context, entries []record.Entry) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	m.Add(entries...)
	return nil
}

// Missing implements [Store].
func (m *Memory) Missing(ctx context.Context, ids []string) ([]string, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var missing []string
	for _, id := range ids {
		if _, ok := m.ids[id]; ok {
			continue
		}
		if !slices.ContainsFunc(m.outbox, func(e record.Entry) bool { return e.ID == id }) {
			missing = append(missing, id)
		}
	}
	return missing, nil
}

// Pending implements [Store].
func (m *Memory) Pending(ctx context.Context) (int, time.Time, error) {
	if ctx.Err() != nil {
		return 0, time.Time{}, context.Cause(ctx)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.outbox) == 0 {
		return 0, time.Time{}, nil
	}
	h, _ := record.ParseHeader(m.outbox[0].Header)
	return len(m.outbox), h.Time, nil
}

// Waiting implements [Store].
func (m *Memory) Waiting(ctx context.Context) (bool, error) {
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.outbox) > 0, nil
}

// Acquire implements [Store].
func (m *Memory) Acquire(ctx context.Context, holder string) (int64, error) {
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	now := m.now()
	m.mu.Lock()
	defer m.mu.Unlock()
	// A lease that ends later than a lease can was given before the clock was
	// set back.
	held := m.until.After(now) && !m.until.After(now.Add(leaseTime))
	if held && m.holder != holder {
		return 0, ErrLeaseHeld
	}
	m.epoch++
	m.holder, m.until = holder, now.Add(leaseTime)
	return m.epoch, nil
}

// Release implements [Store].
func (m *Memory) Release(_ context.Context, epoch int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.epoch == epoch {
		m.holder, m.until = "", time.Time{}
	}
	return nil
}

// Number implements [Store].
func (m *Memory) Number(ctx context.Context, epoch int64, foreign []record.Entry) (int, bool, error) {
	if ctx.Err() != nil {
		return 0, false, context.Cause(ctx)
	}
	now := m.now()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.epoch != epoch {
		return 0, false, ErrLeaseLost
	}
	m.until = now.Add(leaseTime)
	if now.After(m.recorded) {
		m.recorded = now
	}
	source := m.outbox
	if foreign != nil {
		source = foreign
	}
	n := min(len(source), batchLimit)
	for _, e := range source[:n] {
		if _, ok := m.ids[e.ID]; ok {
			continue
		}
		m.ids[e.ID] = struct{}{}
		h, _ := record.ParseHeader(e.Header)
		m.log = append(m.log, memoryEntry{
			Entry:  Entry{Seq: int64(len(m.log)) + 1, RecordedAt: m.recorded, Header: h, Raw: e.Header, Blocks: e.Blocks},
			search: e.Search,
		})
	}
	if foreign == nil {
		m.outbox = slices.Delete(m.outbox, 0, n)
	}
	return n, n < len(source), nil
}

// Head implements [Store].
func (m *Memory) Head(ctx context.Context) (Cursor, error) {
	if ctx.Err() != nil {
		return Cursor{}, context.Cause(ctx)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.log) == 0 {
		return Cursor{}, nil
	}
	return m.log[len(m.log)-1].Cursor(), nil
}

// Digest implements [Store].
func (m *Memory) Digest(ctx context.Context, seq int64) ([8]byte, error) {
	if ctx.Err() != nil {
		return [8]byte{}, context.Cause(ctx)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if seq < 1 || seq > int64(len(m.log)) {
		return [8]byte{}, nil
	}
	return m.log[seq-1].Cursor().Digest, nil
}

// Read implements [Store].
func (m *Memory) Read(ctx context.Context, s Selection) ([]Entry, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	lo, hi := s.After, int64(len(m.log))
	if s.Before > 0 {
		hi = min(hi, s.Before-1)
	}
	var out []Entry
	for i := range max(hi-lo, 0) {
		e := &m.log[lo+i]
		if s.Reverse {
			e = &m.log[hi-1-i]
		}
		if len(out) == s.Limit {
			break
		}
		if s.matches(e) {
			c := e.Entry
			c.Raw, c.Blocks, c.Header.Blocks = slices.Clone(c.Raw), cloneBlocks(c.Blocks), slices.Clone(c.Header.Blocks)
			out = append(out, c)
		}
	}
	return out, nil
}

func (s *Selection) matches(e *memoryEntry) bool {
	if !s.Since.IsZero() && e.RecordedAt.Before(s.Since) || !s.Until.IsZero() && !e.RecordedAt.Before(s.Until) {
		return false
	}
	if s.Outcome != "" && e.Header.Outcome != s.Outcome {
		return false
	}
	for _, t := range s.Terms {
		if !slices.Contains(e.search, t) {
			return false
		}
	}
	return len(s.Types) == 0 || slices.ContainsFunc(s.Types, func(t string) bool {
		return t == e.Header.Type || strings.HasSuffix(t, ".") && strings.HasPrefix(e.Header.Type, t)
	})
}

func cloneBlocks(blocks []record.Block) []record.Block {
	out := slices.Clone(blocks)
	for i := range out {
		out[i].Bytes = slices.Clone(out[i].Bytes)
	}
	return out
}
