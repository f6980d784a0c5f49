package gatebook_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/record"
)

// Run clears away what has expired, and says when it cannot.
func TestHousekeeping(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, nil)
		stop := d.run()
		d.visitor().post("/auth/signin/email", url.Values{"email": {"ada@example.com"}})
		pause(25*time.Hour + 2*time.Minute)
		stop()
		if n, err := d.store.Sweep(context.Background(), time.Now()); n != 0 || err != nil {
			t.Errorf("Sweep found %d more rows, %v", n, err)
		}
	})
	// However much there is, it does not pile up.
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, nil)
		for i := range 20_000 {
			d.write(gatebook.UseCheck{Digest: [32]byte{byte(i), byte(i >> 8)}, Expires: time.Now()})
		}
		stop := d.run()
		pause(time.Hour + 2*time.Minute)
		stop()
		if n, err := d.store.Sweep(context.Background(), time.Now()); n != 0 || err != nil {
			t.Errorf("Sweep found %d more rows, %v", n, err)
		}
	})
}

// expire writes sessions that have run out, of n users, some of whom the book has
// not met, and returns the ids of those users.
func (d *desk) expire(n int, ago time.Duration) {
	d.t.Helper()
	var writes []gatebook.Write
	for i := range n {
		id := fmt.Sprintf("u-%d", i%(n/2+1))
		if i <= n/2 {
			u := gatebook.CreateUser{User: gatebook.User{ID: id, Email: id + "@example.com"}}
			if i%2 == 0 {
				u.Subject = record.NewKey()
			}
			writes = append(writes, u)
		}
		s := gatebook.StoredSession{Token: gatebook.Secret(fmt.Sprintf("token-%d", i)), UserID: id, Expires: time.Now().Add(-ago)}
		if i%3 == 0 {
			s.ID, s.Begun, s.Provider = fmt.Sprintf("sid-%d", i), time.Now().Add(-30*24*time.Hour), "idp"
		}
		writes = append(writes, gatebook.CreateSession{Session: s})
	}
	d.write(writes...)
}

// expired wants each of n sessions to have ended with one event, and each user that
// the book met then to have been adopted once.
func (d *desk) expired(n int, beside ...string) {
	d.t.Helper()
	entries := d.entries()
	sids, adopted := map[string]int{}, map[string]int{}
	subjects := map[string]record.Key{}
	for _, e := range entries {
		switch e.Header.Type {
		case record.TypeSessionExpired:
			p := payload[record.SessionEnd](d.t, e, record.ClassIdentity)
			sids[p.Session]++
			if old, ok := subjects[p.User.ID]; ok && old != e.Header.Subject {
				d.t.Errorf("%s has two subject keys", p.User.ID)
			}
			subjects[p.User.ID] = e.Header.Subject
			if p.Strategy != gatebook.StrategyDatabase || p.Scope != "one" || p.Count != 1 || p.Session == "" || p.User.Email == "" {
				d.t.Errorf("session.expired tells of %+v", p)
			}
		case record.TypeUserAdopted:
			adopted[payload[record.UserChange](d.t, e, record.ClassIdentity).User.ID]++
		default:
			if !slices.Contains(beside, e.Header.Type) {
				d.t.Errorf("recorded %s", e.Header.Type)
			}
		}
	}
	if len(sids) != n {
		d.t.Errorf("%d sessions ended, want %d", len(sids), n)
	}
	for sid, times := range sids {
		if times != 1 {
			d.t.Errorf("the end of %s is told of %d times", sid, times)
		}
	}
	for id, times := range adopted {
		if times != 1 {
			d.t.Errorf("%s was adopted %d times", id, times)
		}
	}
	left, err := d.store.Expired(context.Background(), time.Now())
	if err != nil || len(left) != 0 {
		d.t.Errorf("%d sessions are left, %v", len(left), err)
	}
}

// TestExpiredSessionsEnd: expired database sessions end with an event each, however
// many there are and whoever began them, on one of two servers at a time.
func TestExpiredSessionsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, listing(gatebook.StrategyDatabase))
		const n = 1234
		d.expire(n, time.Hour)
		other := *d
		other.auth = d.open(d.cfg)
		stop, stopOther := d.run(), other.run()
		pause(4 * time.Minute)
		stop()
		stopOther()
		d.expired(n)
		if got := d.store.kept(); len(got) != 1 {
			t.Errorf("kept by %v, want one", got)
		}
		heard := 0
		for _, typ := range d.heard.types() {
			if typ == record.TypeSessionExpired {
				heard++
			}
		}
		if heard != n {
			t.Errorf("Any heard of %d ends, want %d", heard, n)
		}
		for _, e := range d.entries() {
			if h := e.Header; h.Type == record.TypeSessionExpired && (h.ActorType != record.ActorSystem || h.Initiator != "system" || h.Source != record.SourceGatebook) {
				t.Fatalf("header %+v", h)
			}
		}
	})
}

// With token sessions the rows are another program's, if there are any.
func TestRowsOfAnotherStrategyStay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, listing(gatebook.StrategyJWT))
		d.expire(3, time.Hour)
		stop := d.run()
		pause(4 * time.Minute)
		stop()
		d.checkTypes()
		if left, err := d.store.Expired(t.Context(), time.Now()); len(left) != 3 || err != nil {
			t.Errorf("left are %d, %v", len(left), err)
		}
	})
}

// What expired just now is left alone: another server's clock may be slow.
func TestFreshlyExpiredSessionsStay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, listing(gatebook.StrategyDatabase))
		d.expire(3, 0)
		stop := d.run()
		pause(4 * time.Minute)
		d.checkTypes()
		pause(3 * time.Minute)
		stop()
		d.expired(3)
	})
}

// TestHousekeeperStops: when the server that has the claim stops in the middle,
// another goes on when the claim has run out, and when the first wakes up nothing
// is told of twice.
func TestHousekeeperStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, listing(gatebook.StrategyDatabase))
		const n = 100
		d.expire(n, time.Hour)
		var once sync.Once
		wake := make(chan struct{})
		d.store.fault(func(op string, act *gatebook.Act) error {
			if op == "Commit" && len(act.Writes) > 0 {
				hang := false
				once.Do(func() { hang = true })
				if hang {
					<-wake
				}
			}
			return nil
		}, nil)
		stop := d.run()
		pause(time.Minute + time.Second)
		other := *d
		other.auth = d.open(d.cfg)
		stopOther := other.run()
		pause(time.Minute + 30*time.Second)
		if got := len(of(d.entries(), record.TypeSessionExpired)); got != 0 {
			t.Errorf("%d ended while the claim was another's", got)
		}
		pause(2 * time.Minute)
		close(wake)
		pause(time.Minute)
		stop()
		stopOther()
		d.expired(n)
		if got := d.store.kept(); len(got) != 2 {
			t.Errorf("kept by %v, want that another takes over for good", got)
		}
	})
}

// TestExpiredOnceInEveryRace: a session ends once when the housekeeping of two
// servers and requests meet it at the same time.
func TestExpiredOnceInEveryRace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, listing(gatebook.StrategyDatabase))
		const n = 300
		d.expire(n, time.Hour)
		second := d.open(d.cfg)
		// Everybody thinks that the claim is theirs.
		d.store.freeForAll = true
		other := *d
		other.auth = second
		stop, stopOther := d.run(), other.run()
		pause(time.Minute - time.Millisecond)
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() {
				pause(time.Duration(i%40) * time.Millisecond)
				v := d.visitor()
				v.cookies[sessionCookie] = fmt.Sprintf("token-%d", i)
				h := []*gatebook.Auth{d.auth, second}[i%2]
				if i%5 == 0 {
					v.header.Set("Authorization", "Bearer "+v.cookies[sessionCookie])
					delete(v.cookies, sessionCookie)
					if got := v.send(h, v.request("POST", "/auth/signout", nil)).Code; got != 204 {
						t.Errorf("signing out of an expired session: %d", got)
					}
				} else if got := v.send(h, v.request("GET", "/auth/session", nil)).Body.String(); got != "null" {
					t.Errorf("an expired session is %s", got)
				}
			})
		}
		wg.Wait()
		pause(2 * time.Minute)
		stop()
		stopOther()
		d.expired(n, record.TypeSessionInvalid)
	})
}

// TestHousekeepingFails: what cannot be done is logged and done later, and each
// kind of it does not keep the others from being done.
func TestHousekeepingFails(t *testing.T) {
	for _, op := range []string{"Claim", "Expired", "Sweep", "Commit"} {
		t.Run(op, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDesk(t, listing(gatebook.StrategyDatabase))
				d.expire(60, time.Hour)
				d.write(gatebook.UseCheck{Digest: [32]byte{1}, Expires: time.Now().Add(-2 * time.Hour)})
				d.store.fault(func(got string, _ *gatebook.Act) error {
					if got == op {
						return errors.New("the store is down")
					}
					return nil
				}, nil)
				stop := d.run()
				pause(90 * time.Second)
				if !strings.Contains(d.log.String(), "the store is down") {
					t.Errorf("log:\n%s", d.log)
				}
				d.store.fault(nil, nil)
				if op == "Sweep" {
					d.expired(60)
				}
				pause(2 * time.Minute)
				stop()
				d.expired(60)
				if f, err := d.store.Store.Find(context.Background(), gatebook.Query{Check: [32]byte{1}}); err != nil || f.CheckUsed {
					t.Errorf("the check is still there, %v", err)
				}
			})
		})
	}
}

// Whoever meets an expired session that another ends at that moment is told the
// same, and nothing is told of twice.
func TestExpiredMeanwhile(t *testing.T) {
	for _, route := range []string{"/auth/session", "/auth/signout", "/auth/account"} {
		t.Run(route, func(t *testing.T) {
			d := newDesk(t, listing(gatebook.StrategyDatabase))
			d.expire(1, time.Hour)
			second := d.open(d.cfg)
			request := func(h http.Handler) *httptest.ResponseRecorder {
				v := d.visitor()
				v.header.Set("Authorization", "Bearer token-0")
				method := map[bool]string{true: "POST", false: "GET"}[route == "/auth/signout"]
				return v.send(h, v.request(method, route, nil))
			}
			d.store.fault(func(op string, _ *gatebook.Act) error {
				if op == "Commit" {
					d.store.fault(nil, nil)
					request(second)
				}
				return nil
			}, nil)
			if got := request(d.auth).Code; got >= 500 {
				t.Errorf("%s answers %d\n%s", route, got, d.log)
			}
			d.expired(1)
		})
	}
}
