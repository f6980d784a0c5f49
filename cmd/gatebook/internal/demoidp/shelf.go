package demoidp

import (
	"container/list"
	"time"
)

// shelf holds values that live equally long, so that the oldest is always the
// next to go. At its limit a new value pushes out the oldest: a flood costs
// the flooder's own values first, and memory stays bounded without a timer.
// The caller locks.
type shelf[V any] struct {
	life  time.Duration
	limit int
	byKey map[string]*list.Element
	order *list.List // of *shelved[V], oldest first
}

type shelved[V any] struct {
	key  string
	ends time.Time
	v    V
}

func newShelf[V any](life time.Duration, limit int) *shelf[V] {
	return &shelf[V]{life: life, limit: limit, byKey: make(map[string]*list.Element), order: list.New()}
}

// put adds v under key, which must be new.
func (s *shelf[V]) put(now time.Time, key string, v V) {
	s.sweep(now)
	if s.order.Len() >= s.limit {
		s.remove(s.order.Front())
	}
	s.byKey[key] = s.order.PushBack(&shelved[V]{key, now.Add(s.life), v})
}

// get returns the value under key if its time is not over.
func (s *shelf[V]) get(now time.Time, key string) (V, bool) {
	s.sweep(now)
	if e, ok := s.byKey[key]; ok {
		return e.Value.(*shelved[V]).v, true
	}
	var none V
	return none, false
}

// take is get and delete.
func (s *shelf[V]) take(now time.Time, key string) (V, bool) {
	v, ok := s.get(now, key)
	if ok {
		s.remove(s.byKey[key])
	}
	return v, ok
}

// deleteFunc removes the values for which drop is true.
func (s *shelf[V]) deleteFunc(drop func(V) bool) {
	for e := s.order.Front(); e != nil; {
		next := e.Next()
		if drop(e.Value.(*shelved[V]).v) {
			s.remove(e)
		}
		e = next
	}
}

func (s *shelf[V]) sweep(now time.Time) {
	for e := s.order.Front(); e != nil && !now.Before(e.Value.(*shelved[V]).ends); e = s.order.Front() {
		s.remove(e)
	}
}

func (s *shelf[V]) remove(e *list.Element) {
	s.order.Remove(e)
	delete(s.byKey, e.Value.(*shelved[V]).key)
}
