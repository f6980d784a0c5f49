package gatebook

import (
	"hash/maphash"
	"slices"
	"sync"
	"time"
)

// useTable counts the uses of sessions by sid. A server may have to count very
// many, and on each of its cycles the garbage collector would follow every
// pointer kept here, at the cost of the requests: so it keeps none. It is safe
// for concurrent use.
type useTable struct {
	mu    sync.Mutex
	seed  maphash.Seed
	index map[uint64]int32 // place in rows, by the hash of the sid or the next number that is free
	rows  []useRow
	text  []byte // of the rows, in their order
}

// useRow is what is counted of one session in one window.
type useRow struct {
	at               int       // where its text begins
	sizes            [4]uint32 // of sid, user id, name and e-mail address in it
	database         bool      // the strategy
	count, refreshed int64
	first, last      int64 // milliseconds since 1970
}

// use is a row that was taken out of its table.
type use struct {
	session             string
	userID, name, email string
	strategy            string
	count, refreshed    int64
	first, last         time.Time
}

func (t *useTable) textOf(r *useRow) []byte {
	return t.text[r.at : r.at+int(r.sizes[0]+r.sizes[1]+r.sizes[2]+r.sizes[3])]
}

// find returns the row of a sid, or nil and where the index has room for it.
func (t *useTable) find(sid string) (*useRow, uint64) {
	for k := maphash.String(t.seed, sid); ; k++ {
		i, ok := t.index[k]
		if !ok {
			return nil, k
		}
		if r := &t.rows[i]; string(t.text[r.at:r.at+int(r.sizes[0])]) == sid {
			return r, k
		}
	}
}

// insert adds a row, whose text is there, at a place that find told.
func (t *useTable) insert(k uint64, r useRow) {
	if t.index == nil {
		t.index = map[uint64]int32{}
	}
	t.index[k] = int32(len(t.rows))
	t.rows = append(t.rows, r)
}

// add counts u in the row of its session, which it makes if there is none and
// fewer rows than limit, else it reports false.
func (t *useTable) add(u *use, limit int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	r, k := t.find(u.session)
	if r != nil {
		r.count += u.count
		r.refreshed += u.refreshed
		r.first = min(r.first, u.first.UnixMilli())
		r.last = max(r.last, u.last.UnixMilli())
		return true
	}
	if len(t.rows) >= limit {
		return false
	}
	row := useRow{at: len(t.text), database: u.strategy == StrategyDatabase, count: u.count, refreshed: u.refreshed,
		first: u.first.UnixMilli(), last: u.last.UnixMilli()}
	for i, s := range [...]string{u.session, u.userID, u.name, u.email} {
		row.sizes[i] = uint32(len(s))
		t.text = append(t.text, s...)
	}
	t.insert(k, row)
	return true
}

func (t *useTable) len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.rows)
}

// take removes and returns the rows that were begun at a time, in milliseconds
// since 1970, or before.
func (t *useTable) take(until int64) []*use {
	ended := func(r useRow) bool { return r.first <= until }
	t.mu.Lock()
	defer t.mu.Unlock()
	if !slices.ContainsFunc(t.rows, ended) {
		return nil
	}
	old := useTable{rows: t.rows, text: t.text}
	t.index, t.rows, t.text = nil, nil, nil
	var out []*use
	for _, r := range old.rows {
		text := old.textOf(&r)
		if ended(r) {
			out = append(out, r.use(string(text)))
			continue
		}
		_, k := t.find(string(text[:r.sizes[0]]))
		r.at = len(t.text)
		t.text = append(t.text, text...)
		t.insert(k, r)
	}
	return out
}

// use returns the row with its text.
func (r *useRow) use(text string) *use {
	part := func(i int) string {
		s := text[:r.sizes[i]]
		text = text[r.sizes[i]:]
		return s
	}
	u := &use{strategy: StrategyJWT, count: r.count, refreshed: r.refreshed,
		first: time.UnixMilli(r.first).UTC(), last: time.UnixMilli(r.last).UTC()}
	if r.database {
		u.strategy = StrategyDatabase
	}
	u.session, u.userID, u.name, u.email = part(0), part(1), part(2), part(3)
	return u
}
