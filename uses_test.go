package gatebook_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/record"
)

// TestCountsOfManySessions counts so many sessions that those whose window ends
// lie beside others that go on: each is recorded once, at its time, with what is
// its own.
func TestCountsOfManySessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const half = 150 // more than there are tables
		d := newDesk(t, func(_ *desk, c *gatebook.Config) { c.Session.Strategy = gatebook.StrategyJWT })
		begun := time.Now()
		stop := d.run()
		visitors := make([]*visitor, 2*half)
		for i := range visitors {
			visitors[i] = d.visitor()
			visitors[i].signIn()
		}
		var sids []string
		for _, ev := range d.heard.all() {
			if ev.Meta().Type == record.TypeSignIn {
				sids = append(sids, ev.Meta().Session)
			}
		}
		if len(sids) != len(visitors) {
			t.Fatalf("%d sign-ins, want %d", len(sids), len(visitors))
		}
		use := func(from, to int) {
			for i := from; i < to; i++ {
				for range 1 + i%3 {
					visitors[i].get("/auth/session")
				}
			}
		}
		check := func(when string, want map[string]int64) {
			t.Helper()
			got := map[string]int64{}
			for _, u := range d.uses(begun) {
				if _, twice := got[u.Session]; twice {
					t.Errorf("%s: a session is recorded twice", when)
				}
				got[u.Session] = u.Count
			}
			if len(got) != len(want) {
				t.Errorf("%s: %d sessions are recorded, want %d", when, len(got), len(want))
			}
			for sid, n := range want {
				if got[sid] != n {
					t.Errorf("%s: a session is recorded with %d uses, want %d", when, got[sid], n)
				}
			}
		}
		want := map[string]int64{}
		use(0, half)
		pause(2 * time.Minute)
		use(half, 2*half)
		pause(3*time.Minute + 15*time.Second)
		synctest.Wait()
		for i, sid := range sids[:half] {
			want[sid] = int64(1 + i%3)
		}
		check("when the first windows have ended", want)
		use(half, 2*half) // where they were counted before
		stop()
		mustClose(t, d.auth)
		for i, sid := range sids[half:] {
			want[sid] = 2 * int64(1+(half+i)%3)
		}
		check("at the end", want)
	})
}
