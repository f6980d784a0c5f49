package gatebook_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/record"
)

// run runs an Auth until the test or bubble ends, or stop is called.
func (d *desk) run() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := d.auth.Run(ctx); err != nil {
			d.t.Errorf("Run = %v", err)
		}
	}()
	return func() { cancel(); <-done }
}

// use is what an entry of session or session.refreshed says.
type use struct {
	Type        string
	Session     string
	Count       int64
	First, Last time.Duration // since the test began
	AtLeast     bool
}

func (d *desk) uses(begun time.Time) []use {
	d.t.Helper()
	var out []use
	for _, e := range d.entries() {
		if e.Header.Type != record.TypeSession && e.Header.Type != record.TypeSessionRefreshed {
			continue
		}
		p := payload[record.SessionUse](d.t, e, record.ClassIdentity)
		if p.User.ID == "" || p.Strategy == "" || e.Header.Subject.IsZero() || e.Header.Actor != e.Header.Subject || e.Header.ActorType != record.ActorUser {
			d.t.Errorf("%s is about %+v, %s, recorded as %s", e.Header.Type, p.User, p.Strategy, e.Raw)
		}
		out = append(out, use{e.Header.Type, p.Session, p.Count, p.First.Sub(begun), p.Last.Sub(begun), p.AtLeast})
	}
	return out
}

func TestSessionCounts(t *testing.T) {
	strategies(t, func(t *testing.T, strategy string) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			var told int
			d := newDesk(t, func(d *desk, c *gatebook.Config) {
				c.Session.Strategy = strategy
				c.Session.UpdateAge = time.Hour
				c.Events.Session = func(context.Context, *gatebook.SessionEvent) error { told++; return nil }
			})
			begun := time.Now()
			stop := d.run()
			a, b := d.visitor(), d.visitor()
			a.signIn()
			b.signIn()
			var sids []string
			for _, ev := range d.heard.all() {
				if ev.Meta().Type == "signIn" {
					sids = append(sids, ev.Meta().Session)
				}
			}
			app := d.auth.Middleware(nothing)
			for range 7 { // one use every 10 seconds, by route and middleware
				a.get("/auth/session")
				pause(5 * time.Second)
				a.send(app, a.request("GET", "/page", nil))
				pause(5 * time.Second)
			}
			b.get("/auth/session")
			if got := d.uses(begun); len(got) != 0 {
				t.Errorf("recorded %v within the first five minutes", got)
			}
			pause(4 * time.Minute)
			synctest.Wait()
			want := []use{{record.TypeSession, sids[0], 14, 0, 65 * time.Second, true}}
			if diff := cmp.Diff(want, d.uses(begun)); diff != "" {
				t.Errorf("after five minutes (-want +got):\n%s", diff)
			}
			pause(2 * time.Minute)
			a.get("/auth/session") // a new window, beyond the first five minutes of this server
			pause(2 * time.Hour)
			a.get("/auth/session") // which moves the row's expiry
			stop()
			mustClose(t, d.auth)
			want = append(want,
				use{record.TypeSession, sids[1], 1, 70 * time.Second, 70 * time.Second, true},
				use{record.TypeSession, sids[0], 1, 430 * time.Second, 430 * time.Second, false},
				use{record.TypeSession, sids[0], 1, 7630 * time.Second, 7630 * time.Second, false})
			if strategy == gatebook.StrategyDatabase {
				want = append(want, use{record.TypeSessionRefreshed, sids[0], 1, 7630 * time.Second, 7630 * time.Second, false})
			}
			if diff := cmp.Diff(want, d.uses(begun)); diff != "" {
				t.Errorf("at the end (-want +got):\n%s", diff)
			}
			if told != 17 {
				t.Errorf("the handler was told %d times, want 17", told)
			}
			mustClose(t, d.auth)
			if got := len(d.uses(begun)); got != len(want) {
				t.Errorf("closing twice recorded %d counts, want %d", got, len(want))
			}
		})
	})
}

// Counts are exact under concurrency.
func TestCountsOfManyAtOnce(t *testing.T) {
	d := newDesk(t, func(_ *desk, c *gatebook.Config) { c.Session.Strategy = gatebook.StrategyJWT })
	var wg sync.WaitGroup
	visitors := make([]*visitor, 10)
	for i := range visitors {
		visitors[i] = d.visitor()
		visitors[i].password(fmt.Sprint("u-", i), "right")
	}
	for range 20 {
		for _, v := range visitors {
			wg.Go(func() { d.auth.ServeHTTP(nullWriter{}, v.request("GET", "/auth/session", nil)) })
		}
	}
	wg.Go(func() { mustClose(t, d.auth) }) // while they are counted
	wg.Wait()
	mustClose(t, d.auth)
	total := map[string]int64{}
	for _, u := range d.uses(time.Now()) {
		total[u.Session] += u.Count
	}
	if len(total) != len(visitors) {
		t.Errorf("%d sessions were counted, want %d", len(total), len(visitors))
	}
	for sid, n := range total {
		if n != 20 {
			t.Errorf("session %s was counted %d times, want 20", sid, n)
		}
	}
}

// What cannot be recorded is counted on.
func TestCountsSurviveTheStore(t *testing.T) {
	for _, op := range []string{"Find", "Commit"} {
		t.Run(op, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDesk(t, func(_ *desk, c *gatebook.Config) { c.Session.Strategy = gatebook.StrategyJWT })
				begun := time.Now()
				pause(time.Hour)
				stop := d.run()
				v := d.visitor()
				v.signIn()
				stranger := d.visitor()
				for range 3 {
					v.get("/auth/session")
					stranger.cookies[sessionCookie] = "broken"
					stranger.get("/auth/session")
				}
				down := errors.New("the disk is full")
				used := false
				d.store.fault(func(o string, _ *gatebook.Act) error {
					if o != op {
						return nil
					}
					if !used { // while the count is being written
						used = true
						v.get("/auth/session")
					}
					return down
				}, nil)
				pause(6 * time.Minute)
				v.get("/auth/session")
				pause(6 * time.Minute)
				if got := d.uses(begun); len(got) != 0 {
					t.Errorf("recorded %v while the store was down", got)
				}
				if !strings.Contains(d.log.String(), "the disk is full") {
					t.Errorf("the log says nothing:\n%s", d.log)
				}
				d.store.fault(nil, nil)
				pause(time.Minute)
				stop()
				got := d.uses(begun)
				if len(got) != 1 || got[0].Count != 5 || got[0].First != time.Hour || got[0].Last != time.Hour+6*time.Minute {
					t.Errorf("recorded %+v, want one entry with 5 uses", got)
				}
				invalid := of(d.entries(), record.TypeSessionInvalid)
				if len(invalid) != 2 || payload[record.Defence](t, invalid[1], record.ClassDetail).Count != 2 {
					t.Errorf("recorded %d entries of session.invalid, want one and a count of 2", len(invalid))
				}
			})
		})
	}
}

// When nobody can tell whether counts were recorded, they are not recorded
// twice.
func TestCountsAfterAnUnknownCommit(t *testing.T) {
	d := newDesk(t, func(_ *desk, c *gatebook.Config) { c.Session.Strategy = gatebook.StrategyJWT })
	v := d.visitor()
	v.signIn()
	v.get("/auth/session")
	d.store.fault(func(op string, _ *gatebook.Act) error {
		if op == "Commit" {
			return gatebook.ErrCommitUnknown
		}
		return nil
	}, nil)
	mustClose(t, d.auth)
	d.store.fault(nil, nil)
	mustClose(t, d.auth)
	if got := d.uses(time.Now()); len(got) != 0 {
		t.Errorf("recorded %v", got)
	}
	v.get("/auth/session")
	d.store.fault(nil, func(op string, _ *gatebook.Act) error {
		if op == "Commit" {
			return gatebook.ErrCommitUnknown
		}
		return nil
	})
	mustClose(t, d.auth)
	d.store.fault(nil, nil)
	mustClose(t, d.auth)
	if got := d.uses(time.Now()); len(got) != 1 || got[0].Count != 1 {
		t.Errorf("recorded %v, want the count once", got)
	}
}

// The first failure of a kind from a network is recorded by itself, the rest of
// five minutes as a count.
func TestRepeatedFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, nil)
		stop := d.run()
		bad := func(remote string) {
			v := d.visitor()
			v.remote = remote
			v.cookies[sessionCookie] = "none of ours"
			v.get("/auth/session")
		}
		for i := range 20 {
			bad(fmt.Sprintf("192.0.2.%d:1", i+1)) // one IPv4 /24
			bad(fmt.Sprintf("[2001:db8:1:%x::1]:1", i))
		}
		bad("192.0.3.1:1")
		bad("[2001:db8:2::1]:1")
		if got := d.heard.types(); !slices.Equal(got, slices.Repeat([]string{"session.invalid"}, 4)) {
			t.Errorf("heard %v, want one for each network", got)
		}
		if got := types(d.entries()); !slices.Equal(got, slices.Repeat([]string{"session.invalid"}, 4)) {
			t.Errorf("recorded %v, want one for each network", got)
		}
		pause(6 * time.Minute)
		entries := d.entries()[4:]
		if len(entries) != 2 {
			t.Fatalf("recorded %v as counts, want two", types(entries))
		}
		for _, e := range entries {
			if p := payload[record.Defence](t, e, record.ClassDetail); p.Count != 19 || e.Header.Type != record.TypeSessionInvalid ||
				e.Header.Reason != record.ReasonSessionInvalid || e.Header.Outcome != record.Failure {
				t.Errorf("recorded %s, %+v, want a count of 19", e.Raw, p)
			}
		}
		bad("192.0.2.1:1")
		bad("192.0.2.2:1")
		stop()
		mustClose(t, d.auth)
		if got := d.entries()[6:]; len(got) != 2 || payload[record.Defence](t, got[1], record.ClassDetail).Count != 1 {
			t.Errorf("recorded %v, want one and a count of 1", types(got))
		}
	})
}

// A failure that could not be recorded is not forgotten.
func TestFailureThatCannotBeRecorded(t *testing.T) {
	d := newDesk(t, nil)
	v := d.visitor()
	v.cookies[sessionCookie] = "none of ours"
	d.store.fault(func(op string, _ *gatebook.Act) error {
		if op == "Commit" {
			return errors.New("down")
		}
		return nil
	}, nil)
	v.get("/auth/session")
	if got := d.heard.types(); len(got) != 0 {
		t.Errorf("heard %v of what is not recorded", got)
	}
	d.store.fault(nil, nil)
	mustClose(t, d.auth)
	if got := d.entries(); len(got) != 1 || payload[record.Defence](t, got[0], record.ClassDetail).Count != 1 {
		t.Errorf("recorded %v", types(got))
	}
}

// A session handler that fails with each request.
func TestFailingSessionHandler(t *testing.T) {
	told := 0
	d := newDesk(t, func(_ *desk, c *gatebook.Config) {
		c.Session.Strategy = gatebook.StrategyJWT
		c.Events.Session = func(context.Context, *gatebook.SessionEvent) error { return errors.New("failed") }
		c.Events.HandlerFailed = func(context.Context, *gatebook.HandlerFailedEvent) error { told++; return nil }
	})
	v := d.visitor()
	v.signIn()
	for range 5 {
		v.get("/auth/session")
	}
	mustClose(t, d.auth)
	failed := of(d.entries(), record.TypeHandlerFailed)
	if len(failed) != 2 || told != 5 {
		t.Fatalf("recorded %d failures, told of %d; want one and a count, told of 5", len(failed), told)
	}
	first, rest := handlerOf(t, failed[0]), handlerOf(t, failed[1])
	if first.Handler != "Session" || first.Event != "session" || first.Count != 0 || failed[0].Header.Cause != "" {
		t.Errorf("first %+v, cause %q; the event is recorded under another id", first, failed[0].Header.Cause)
	}
	if diff := cmp.Diff(record.Handler{Handler: "Session", Event: "session", Count: 4}, rest); diff != "" || failed[1].Header.Reason != record.ReasonHandlerError {
		t.Errorf("count (-want +got):\n%s", diff)
	}
}
