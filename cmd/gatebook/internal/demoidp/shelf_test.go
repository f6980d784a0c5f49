package demoidp

import (
	"slices"
	"strconv"
	"testing"
	"time"
)

func TestShelf(t *testing.T) {
	at := func(s int) time.Time { return time.Unix(int64(s), 0) }
	s := newShelf[int](10*time.Second, 3)
	has := func(now int, want ...string) {
		t.Helper()
		var got []string
		for i := range 10 {
			if v, ok := s.get(at(now), strconv.Itoa(i)); ok && v == i {
				got = append(got, strconv.Itoa(i))
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("at %d s the shelf holds %v, want %v", now, got, want)
		}
		if len(s.byKey) != len(want) || s.order.Len() != len(want) {
			t.Errorf("at %d s %d keys and %d values are kept, want %d", now, len(s.byKey), s.order.Len(), len(want))
		}
	}
	has(0)
	for i := range 3 {
		s.put(at(i), strconv.Itoa(i), i)
	}
	has(2, "0", "1", "2")
	s.put(at(3), "3", 3) // pushes out the oldest
	has(3, "1", "2", "3")
	if v, ok := s.take(at(4), "2"); !ok || v != 2 {
		t.Errorf("take = %d, %t, want 2, true", v, ok)
	}
	if _, ok := s.take(at(4), "2"); ok {
		t.Error("a value was taken twice")
	}
	has(10, "1", "3")
	has(11, "3") // a value that lives 10 s is gone in the tenth
	s.put(at(12), "4", 4)
	s.put(at(12), "5", 5)
	s.deleteFunc(func(v int) bool { return v != 5 })
	has(12, "5")
	s.put(at(22), "6", 6) // what is over makes room, and nothing else
	has(22, "6")
}
