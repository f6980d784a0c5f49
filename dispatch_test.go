package gatebook_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/record"
)

// onCreate returns a configuration whose sets call the given handlers when a
// user is created, in order, and report failures to failed.
func onCreate(failed *[]*gatebook.HandlerFailedEvent, handlers ...func(context.Context) error) func(*desk, *gatebook.Config) {
	return func(_ *desk, c *gatebook.Config) {
		var mu sync.Mutex
		sets := []gatebook.Events{c.Events, {HandlerFailed: func(_ context.Context, e *gatebook.HandlerFailedEvent) error {
			mu.Lock()
			defer mu.Unlock()
			*failed = append(*failed, e)
			return nil
		}}}
		for _, h := range handlers {
			sets = append(sets, gatebook.Events{CreateUser: func(ctx context.Context, _ *gatebook.CreateUserEvent) error { return h(ctx) }})
		}
		c.Events = gatebook.JoinEvents(sets...)
	}
}

// create makes a user, which calls the handlers of createUser, and returns how
// long that took.
func (d *desk) create() time.Duration {
	d.t.Helper()
	begun := time.Now()
	if _, err := d.auth.CreateUser(context.Background(), gatebook.User{Name: "Ada"}); err != nil {
		d.t.Fatal(err)
	}
	return time.Since(begun)
}

func TestHandlerBudgets(t *testing.T) {
	boom := errors.New("boom")
	tests := []struct {
		name    string
		handler func(context.Context) error
		took    time.Duration
		typ     string
		reason  string
		errText string // type of the error
		budget  int64
	}{
		{"a second is not slow", func(context.Context) error { pause(time.Second); return nil }, time.Second, "", "", "", 0},
		{"more is slow", func(context.Context) error { pause(1001 * time.Millisecond); return nil }, 1001 * time.Millisecond,
			record.TypeHandlerSlow, "", "", 1000},
		{"slow and failed is failed once", func(context.Context) error { pause(2 * time.Second); return boom }, 2 * time.Second,
			record.TypeHandlerFailed, record.ReasonHandlerError, "*errors.errorString", 5000},
		{"heeds its context", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, 5 * time.Second,
			record.TypeHandlerFailed, record.ReasonHandlerTimeout, "context.deadlineExceededError", 5000},
		{"ignores its context", func(context.Context) error { pause(time.Minute); return nil }, 5 * time.Second,
			record.TypeHandlerFailed, record.ReasonHandlerTimeout, "context.deadlineExceededError", 5000},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var failed []*gatebook.HandlerFailedEvent
				d := newDesk(t, onCreate(&failed, tt.handler))
				if took := d.create(); took != tt.took {
					t.Errorf("the request took %v, want %v", took, tt.took)
				}
				pause(2 * time.Minute) // for what was given up
				mustClose(t, d.auth)
				entries := d.entries()
				if tt.typ == "" {
					if len(failed) != 0 || len(entries) != 1 {
						t.Errorf("told %v, recorded %v, want nothing but createUser", failed, types(entries))
					}
					return
				}
				if len(failed) != 1 || len(entries) != 2 {
					t.Fatalf("told of %d failures, recorded %v, want one\n%s", len(failed), types(entries), d.log)
				}
				f, e := failed[0], entries[1]
				if f.Type != tt.typ || f.Reason != tt.reason || f.Handler != "CreateUser" || f.Event != record.TypeCreateUser ||
					f.EventID != entries[0].Header.ID || f.Cause != f.EventID || f.Duration != tt.took {
					t.Errorf("told %+v", f)
				}
				if e.Header.Type != f.Type || e.Header.ID != f.ID || e.Header.Act != f.Act || e.Header.Position != f.Position ||
					e.Header.Reason != f.Reason || e.Header.Cause != f.Cause || e.Header.ActorType != record.ActorSystem {
					t.Errorf("recorded %s, told %+v", e.Raw, f)
				}
				want := record.Handler{Handler: "CreateUser", Event: record.TypeCreateUser, EventID: f.EventID,
					ErrorType: tt.errText, DurationMS: tt.took.Milliseconds(), BudgetMS: tt.budget}
				if diff := cmp.Diff(want, handlerOf(t, e)); diff != "" {
					t.Errorf("payload (-want +got):\n%s", diff)
				}
				if got := d.heard.types(); !slices.Equal(got, []string{"createUser"}) {
					t.Errorf("Any heard %v, want createUser only", got)
				}
				level := "ERROR"
				if tt.typ == record.TypeHandlerSlow {
					level = "WARN"
				}
				if n := strings.Count(d.log.String(), "level="+level); n != 1 || !strings.Contains(d.log.String(), f.EventID) {
					t.Errorf("the log has %d lines of level %s, want one with the event's id:\n%s", n, level, d.log)
				}
			})
		})
	}
}

func TestRequestBudget(t *testing.T) {
	type step struct {
		name string
		at   time.Duration
	}
	tests := []struct {
		name  string
		takes []time.Duration // of each handler; negative ones heed their context
		want  time.Duration   // when the request goes on
		begin []time.Duration // when each handler begins
		fails int
	}{
		{"within", []time.Duration{time.Second, time.Second}, 2 * time.Second,
			[]time.Duration{0, time.Second}, 0},
		{"two that hang use it up", []time.Duration{-1, -1, 0, 0}, 10 * time.Second,
			[]time.Duration{0, 5 * time.Second, 10 * time.Second, 10 * time.Second}, 2},
		{"one that is within its own budget goes on, and the next waits for it",
			[]time.Duration{4 * time.Second, 4 * time.Second, 4 * time.Second, 2 * time.Second, -1, time.Second}, 10 * time.Second,
			[]time.Duration{0, 4 * time.Second, 8 * time.Second, 12 * time.Second, 14 * time.Second, 19 * time.Second}, 5},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var mu sync.Mutex
				var got []step
				var failed []*gatebook.HandlerFailedEvent
				begun := time.Now()
				var handlers []func(context.Context) error
				for i, takes := range tt.takes {
					handlers = append(handlers, func(ctx context.Context) error {
						mu.Lock()
						got = append(got, step{fmt.Sprint(i), time.Since(begun)})
						mu.Unlock()
						if takes < 0 {
							<-ctx.Done()
							return ctx.Err()
						}
						pause(takes)
						return nil
					})
				}
				d := newDesk(t, onCreate(&failed, handlers...))
				if took := d.create(); took != tt.want {
					t.Errorf("the request took %v, want %v", took, tt.want)
				}
				mustClose(t, d.auth) // waits for the rest
				var want []step
				for i, at := range tt.begin {
					want = append(want, step{fmt.Sprint(i), at})
				}
				if diff := cmp.Diff(want, got, cmp.AllowUnexported(step{})); diff != "" {
					t.Errorf("handlers began (-want +got):\n%s", diff)
				}
				if len(failed) != tt.fails {
					t.Errorf("told of %d slow or failed handlers, want %d", len(failed), tt.fails)
				}
				if n := len(d.entries()); n != 1+tt.fails {
					t.Errorf("%d entries, want createUser and %d", n, tt.fails)
				}
			})
		})
	}
}

func TestHandlerFailedIsWithinTheBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		d := newDesk(t, func(_ *desk, c *gatebook.Config) {
			set := gatebook.Events{
				CreateUser:    func(ctx context.Context, _ *gatebook.CreateUserEvent) error { return hang(ctx) },
				HandlerFailed: func(ctx context.Context, _ *gatebook.HandlerFailedEvent) error { return hang(ctx) },
			}
			c.Events = gatebook.JoinEvents(set, set)
		})
		if took := d.create(); took != 10*time.Second {
			t.Errorf("the request took %v, want 10s", took)
		}
		mustClose(t, d.auth)
		// Each of the two handlers failed, and for each both of HandlerFailed.
		if got := of(d.entries(), record.TypeHandlerFailed); len(got) != 6 {
			t.Errorf("recorded %d failures, want 6", len(got))
		}
	})
}

func TestOnlyHandlersUseTheBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := false
		d := newDesk(t, func(d *desk, c *gatebook.Config) {
			c.Session.Strategy = gatebook.StrategyJWT
			c.Callbacks.JWT = func(_ context.Context, p *gatebook.JWTParams) (*gatebook.Claims, error) {
				if p.User != nil {
					pause(time.Minute)
				}
				return &p.Token, nil
			}
			c.Events.SignIn = func(context.Context, *gatebook.SignInEvent) error { pause(time.Second); ended = true; return nil }
		})
		d.visitor().signIn()
		if !ended {
			t.Error("the request did not wait for a handler, because a callback had taken long before")
		}
	})
}

type customError struct{ text string }

var absent *customError

func (e *customError) Error() string { return e.text }

func TestFailingHandlers(t *testing.T) {
	const marker = "marker-a-handler-gave"
	secretError := &customError{marker}
	tests := []struct {
		name   string
		fail   func() error
		reason string
		typ    string
		is     error
	}{
		{"error", func() error { return secretError }, record.ReasonHandlerError, "*gatebook_test.customError", secretError},
		{"wrapped error", func() error { return fmt.Errorf(marker+": %w", secretError) }, record.ReasonHandlerError, "*fmt.wrapError", secretError},
		{"panic with an error", func() error { panic(secretError) }, record.ReasonHandlerPanic, "*gatebook_test.customError", secretError},
		{"panic with a text", func() error { panic(marker) }, record.ReasonHandlerPanic, "string", nil},
		{"nil dereference", func() error { return errors.New(absent.text) }, record.ReasonHandlerPanic, "runtime.errorString", nil},
		{"panic with nil", func() error { panic(new(runtime.PanicNilError)) }, record.ReasonHandlerPanic, "*runtime.PanicNilError", nil},
		{"Goexit", func() error { runtime.Goexit(); return nil }, record.ReasonHandlerPanic, "*errors.errorString", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var failed []*gatebook.HandlerFailedEvent
			later := false
			d := newDesk(t, func(d *desk, c *gatebook.Config) {
				onCreate(&failed, func(context.Context) error { return tt.fail() }, func(context.Context) error { later = true; return nil })(d, c)
			})
			v := d.visitor()
			if w := v.signIn(); w.Code != 302 || w.Header().Get("Location") != deskOrigin || !v.signedIn() {
				t.Fatalf("the visitor got %d to %q", w.Code, w.Header().Get("Location"))
			}
			if !later {
				t.Error("the next handler was not called")
			}
			if got := d.heard.types(); !slices.Equal(got, []string{"createUser", "linkAccount", "signIn"}) {
				t.Errorf("Any heard %v", got)
			}
			if len(failed) != 1 || failed[0].Reason != tt.reason || failed[0].Err == nil {
				t.Fatalf("HandlerFailed heard %+v, want one with reason %s", failed, tt.reason)
			}
			if tt.is != nil && !errors.Is(failed[0].Err, tt.is) {
				t.Errorf("HandlerFailed got %v, want the error itself", failed[0].Err)
			}
			entries := of(d.entries(), record.TypeHandlerFailed)
			if len(entries) != 1 || handlerOf(t, entries[0]).ErrorType != tt.typ {
				t.Errorf("recorded %+v, want the type %s", entries, tt.typ)
			}
			d.leaks(marker)
		})
	}
}

func TestHandlerFailedThatFails(t *testing.T) {
	const marker = "marker-a-handler-gave"
	calls := 0
	d := newDesk(t, func(_ *desk, c *gatebook.Config) {
		c.Events.CreateUser = func(context.Context, *gatebook.CreateUserEvent) error { return errors.New(marker) }
		c.Events.HandlerFailed = func(context.Context, *gatebook.HandlerFailedEvent) error { calls++; panic(marker) }
	})
	d.create()
	if calls != 1 {
		t.Errorf("HandlerFailed was called %d times, want once", calls)
	}
	entries := d.entries()
	if got := types(entries); !slices.Equal(got, []string{"createUser", "handler.failed", "handler.failed"}) {
		t.Fatalf("recorded %v", got)
	}
	first, second := handlerOf(t, entries[1]), handlerOf(t, entries[2])
	if first.Handler != "CreateUser" || second.Handler != "HandlerFailed" || second.EventID != entries[1].Header.ID {
		t.Errorf("recorded %+v and %+v", first, second)
	}
	if n := strings.Count(d.log.String(), "handler failed"); n != 2 {
		t.Errorf("the log tells of %d failures, want 2:\n%s", n, d.log)
	}
	d.leaks(marker)
}

// A handler that hangs is skipped once 64 of its calls do, and called again when
// one returned.
func TestSaturation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int32
		release := make(chan struct{})
		var failed []*gatebook.HandlerFailedEvent
		d := newDesk(t, onCreate(&failed, func(context.Context) error { calls.Add(1); <-release; return nil }))
		for range 64 {
			if took := d.create(); took != 5*time.Second {
				t.Fatalf("a call that hangs held the request for %v", took)
			}
		}
		for range 3 {
			if took := d.create(); took != 0 {
				t.Errorf("a handler that is skipped held the request for %v", took)
			}
		}
		if calls.Load() != 64 {
			t.Errorf("%d calls, want 64", calls.Load())
		}
		release <- struct{}{}
		synctest.Wait()
		if took := d.create(); took != 5*time.Second || calls.Load() != 65 {
			t.Errorf("after one returned: took %v, %d calls, want another call", took, calls.Load())
		}
		d.create()
		if calls.Load() != 65 {
			t.Errorf("%d calls, want the handler skipped again", calls.Load())
		}
		close(release)
		synctest.Wait()
		if took := d.create(); took != 0 || calls.Load() != 66 {
			t.Errorf("after all returned: took %v, %d calls", took, calls.Load())
		}
		reasons := map[string]int{}
		for _, e := range of(d.entries(), record.TypeHandlerFailed) {
			reasons[e.Header.Reason]++
		}
		if diff := cmp.Diff(map[string]int{record.ReasonHandlerTimeout: 65, record.ReasonSaturated: 4}, reasons); diff != "" {
			t.Errorf("recorded (-want +got):\n%s", diff)
		}
		if len(failed) != 69 {
			t.Errorf("HandlerFailed was told %d times, want 69", len(failed))
		}
	})
}

// goroutines returns how many more there are than before. Those that have done
// all there is for them to do still count until they are gone, which takes a
// while on a busy machine.
func goroutines(before, limit int) int {
	n := runtime.NumGoroutine() - before
	for i := 0; n > limit && i < 100_000; i++ {
		runtime.Gosched()
		n = runtime.NumGoroutine() - before
	}
	return n
}

// One hundred sign-ins a second for twenty seconds, and a handler that never
// returns.
func TestHangingHandlerUnderLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var hanging atomic.Int32
		d := newDesk(t, func(_ *desk, c *gatebook.Config) {
			c.Session.Strategy = gatebook.StrategyJWT
			c.Events.SignIn = func(context.Context, *gatebook.SignInEvent) error { hanging.Add(1); <-release; return nil }
		})
		before := runtime.NumGoroutine()
		var wg sync.WaitGroup
		most, served := 0, atomic.Int32{}
		for i := range 20 * 100 {
			wg.Go(func() {
				v := d.visitor()
				if v.password(fmt.Sprint("user", i), "right"); v.signedIn() {
					served.Add(1)
				}
			})
			pause(10 * time.Millisecond)
			most = max(most, runtime.NumGoroutine()-before)
		}
		wg.Wait()
		if n := int(served.Load()); n != 2000 {
			t.Errorf("%d sign-ins, want 2000", n)
		}
		// Five seconds of sign-ins were under way when the first was given up;
		// each has its own goroutine and the handler's.
		if n := hanging.Load(); n > 600 || most > 1300 {
			t.Errorf("%d calls hang, and there were %d goroutines", n, most)
		}
		synctest.Wait()
		if n := goroutines(before, 600); n > 600 {
			t.Errorf("%d goroutines are left", n)
		}
		close(release)
		synctest.Wait()
		d.visitor().password("ada", "right")
		if n := goroutines(before, 2); n > 2 {
			t.Errorf("%d goroutines are left after the handler returned", n)
		}
		entries := d.entries()
		if got := len(of(entries, record.TypeSignIn)); got != 2001 {
			t.Errorf("recorded %d sign-ins, want 2001", got)
		}
		if got := len(of(entries, record.TypeHandlerFailed)); got != 2000 {
			t.Errorf("recorded %d failures, want 2000", got)
		}
	})
}

func TestHandlerContext(t *testing.T) {
	type key struct{}
	synctest.Test(t, func(t *testing.T) {
		ctx, hangUp := context.WithCancel(context.WithValue(context.Background(), key{}, "value"))
		var seen []string
		look := func(ctx context.Context, name string) error {
			deadline, ok := ctx.Deadline()
			seen = append(seen, fmt.Sprint(name, " ", ctx.Value(key{}), " ", ok, " ", time.Until(deadline), " ", ctx.Err()))
			return nil
		}
		d := newDesk(t, func(d *desk, c *gatebook.Config) {
			// The visitor hangs up while the provider answers; the sign-in is
			// carried out all the same.
			c.Callbacks.SignIn = func(context.Context, *gatebook.SignInAttempt) error { hangUp(); return nil }
			c.Events.CreateUser = func(ctx context.Context, _ *gatebook.CreateUserEvent) error { return look(ctx, "create") }
			c.Events.SignIn = func(ctx context.Context, _ *gatebook.SignInEvent) error { return look(ctx, "signIn") }
			c.Events.LinkAccount = gatebook.Detached(func(ctx context.Context, _ *gatebook.LinkAccountEvent) error { return look(ctx, "detached") })
		})
		v := d.visitor()
		back := v.begin(d.idp)
		v.ctx = ctx
		v.get(back)
		synctest.Wait()
		want := []string{"create value true 5s <nil>", "signIn value true 5s <nil>", "detached value true 30s <nil>"}
		if diff := cmp.Diff(want, seen); diff != "" {
			t.Errorf("contexts (-want +got):\n%s", diff)
		}
		if got := types(d.entries()); !slices.Equal(got, []string{"createUser", "linkAccount", "signIn"}) {
			t.Errorf("recorded %v", got)
		}
	})
}

// The visitor hangs up at each commit and in each handler.
func TestHangUpAtEachStep(t *testing.T) {
	strategies(t, func(t *testing.T, strategy string) {
		t.Helper()
		for _, step := range []string{"Commit 1", "Commit 2", "CreateUser", "LinkAccount", "SignIn"} {
			if strategy == gatebook.StrategyDatabase && step == "Commit 2" {
				continue
			}
			t.Run(step, func(t *testing.T) {
				ctx, hangUp := context.WithCancel(context.Background())
				at := func(s string) error {
					if s == step {
						hangUp()
					}
					return nil
				}
				d := newDesk(t, func(d *desk, c *gatebook.Config) {
					c.Session.Strategy = strategy
					c.Events.CreateUser = func(context.Context, *gatebook.CreateUserEvent) error { return at("CreateUser") }
					c.Events.LinkAccount = func(context.Context, *gatebook.LinkAccountEvent) error { return at("LinkAccount") }
					c.Events.SignIn = func(context.Context, *gatebook.SignInEvent) error { return at("SignIn") }
				})
				v := d.visitor()
				back := v.begin(d.idp)
				n := 0
				d.store.fault(func(op string, _ *gatebook.Act) error {
					if op == "Commit" {
						n++
						return at(fmt.Sprint("Commit ", n))
					}
					return nil
				}, nil)
				v.ctx = ctx
				v.get(back)
				if ctx.Err() == nil {
					t.Fatal("the visitor did not hang up")
				}
				want := []string{"createUser", "linkAccount", "signIn"}
				if got := d.heard.types(); !slices.Equal(got, want) {
					t.Errorf("heard %v, want %v", got, want)
				}
				if got := types(d.entries()); !slices.Equal(got, want) {
					t.Errorf("recorded %v, want %v", got, want)
				}
			})
		}
	})
}

func TestHandlerSignsInFromInside(t *testing.T) {
	strategies(t, func(t *testing.T, strategy string) {
		t.Helper()
		var s *site
		var begun atomic.Bool
		inside := make(map[string]string)
		s = newSite(t, func(_ *site, c *gatebook.Config) {
			c.Session.Strategy = strategy
			c.Events.CreateUser = func(ctx context.Context, e *gatebook.CreateUserEvent) error {
				if begun.Swap(true) {
					return nil
				}
				var err error
				func() {
					other := *s // somebody else signs in, through HTTP
					other.client = newClient(t)
					s.second.prove("2", "grace@example.com", true)
					inside["http"] = other.signIn(s.second).Header.Get("Location")
					// and the application writes.
					u := gatebook.User{Name: "Third", Email: "third@example.com"}
					var made *gatebook.User
					if made, err = s.auth.CreateUser(ctx, u); err != nil {
						return
					}
					made.Name = "Changed"
					if _, err = s.auth.UpdateUser(ctx, *made, "name"); err != nil {
						return
					}
					if _, err = s.auth.UpdateUser(ctx, gatebook.User{ID: e.User.ID, Name: "Ada King"}, "name"); err != nil {
						return
					}
					err = s.auth.DeleteUser(ctx, made.ID)
				}()
				return err
			}
		})
		s.idp.prove("1", "ada@example.com", true)
		if to := s.signIn(s.idp).Header.Get("Location"); to != s.server.URL || inside["http"] != s.server.URL {
			t.Fatalf("outside leads to %q, inside to %q\n%s", to, inside["http"], s.log)
		}
		got := s.heard.types()
		slices.Sort(got)
		want := []string{"createUser", "createUser", "createUser", "deleteUser", "linkAccount", "linkAccount", "signIn", "signIn", "updateUser", "updateUser"}
		if !slices.Equal(got, want) {
			t.Errorf("heard %v, want %v", got, want)
		}
		if strings.Contains(s.log.String(), "handler failed") {
			t.Errorf("a handler failed:\n%s", s.log)
		}
	})
}

func TestDetachedRunsAfterTheResponse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var order []string
		note := func(s string) {
			mu.Lock()
			defer mu.Unlock()
			order = append(order, s)
		}
		d := newDesk(t, func(_ *desk, c *gatebook.Config) {
			c.Events.CreateUser = gatebook.Detached(func(_ context.Context, e *gatebook.CreateUserEvent) error {
				note("detached " + e.Type)
				pause(time.Minute / 4)
				return nil
			})
			c.Events.SignIn = func(context.Context, *gatebook.SignInEvent) error {
				pause(time.Second)
				note("awaited signIn")
				return nil
			}
		})
		v := d.visitor()
		begun := time.Now()
		v.signIn()
		if took := time.Since(begun); took != time.Second {
			t.Errorf("the request waited %v", took)
		}
		mustClose(t, d.auth)
		if took := time.Since(begun); took != time.Second+time.Minute/4 {
			t.Errorf("Close returned after %v, want when the handler had ended", took)
		}
		if diff := cmp.Diff([]string{"awaited signIn", "detached createUser"}, order); diff != "" {
			t.Errorf("order (-want +got):\n%s", diff)
		}
		if got := len(of(d.entries(), record.TypeHandlerSlow)); got != 0 {
			t.Errorf("%d handlers are recorded as slow: nobody waited", got)
		}
	})
}

func TestDetachedFailures(t *testing.T) {
	const marker = "marker-a-handler-gave"
	tests := []struct {
		name   string
		fn     func(context.Context) error
		reason string
		took   time.Duration
	}{
		{"error", func(context.Context) error { return errors.New(marker) }, record.ReasonHandlerError, 0},
		{"panic", func(context.Context) error { panic(marker) }, record.ReasonHandlerPanic, 0},
		{"hangs", func(ctx context.Context) error { pause(time.Hour); return nil }, record.ReasonHandlerTimeout, 30 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var told []string
				d := newDesk(t, func(_ *desk, c *gatebook.Config) {
					c.Events.CreateUser = gatebook.Detached(func(ctx context.Context, _ *gatebook.CreateUserEvent) error { return tt.fn(ctx) })
					c.Events.HandlerFailed = func(_ context.Context, e *gatebook.HandlerFailedEvent) error {
						told = append(told, e.Handler+" "+e.Reason)
						return nil
					}
				})
				d.create()
				begun := time.Now()
				mustClose(t, d.auth)
				if took := time.Since(begun); took != tt.took {
					t.Errorf("Close waited %v, want %v", took, tt.took)
				}
				if diff := cmp.Diff([]string{"CreateUser " + tt.reason}, told); diff != "" {
					t.Errorf("told (-want +got):\n%s", diff)
				}
				failed := of(d.entries(), record.TypeHandlerFailed)
				if len(failed) != 1 || failed[0].Header.Reason != tt.reason || handlerOf(t, failed[0]).BudgetMS != 30000 {
					t.Errorf("recorded %v", failed)
				}
				d.leaks(marker)
				pause(2 * time.Hour)
			})
		})
	}
}

// The pool has 64 workers and room for 4,096 calls; one more is awaited.
func TestDetachedPoolIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var running, most, all atomic.Int32
		d := newDesk(t, func(_ *desk, c *gatebook.Config) {
			c.Events = gatebook.Events{CreateUser: gatebook.Detached(func(context.Context, *gatebook.CreateUserEvent) error {
				n := running.Add(1)
				for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
				}
				<-release
				running.Add(-1)
				all.Add(1)
				return nil
			})}
		})
		for range 64 + 4096 {
			if took := d.create(); took != 0 {
				t.Fatalf("a detached call held the request for %v", took)
			}
		}
		synctest.Wait()
		if n := running.Load(); n != 64 {
			t.Errorf("%d calls run, want 64", n)
		}
		returned := make(chan struct{})
		go func() { d.create(); close(returned) }()
		synctest.Wait()
		select {
		case <-returned:
			t.Error("the call that found no room was not awaited")
		default:
		}
		if n := running.Load(); n != 65 {
			t.Errorf("%d calls run, want 65: the one without room is not dropped", n)
		}
		ended, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := d.auth.Close(ended); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Close with calls left = %v, want that its context ended", err)
		}
		close(release)
		<-returned
		mustClose(t, d.auth)
		if n := all.Load(); n != 64+4096+1 {
			t.Errorf("%d calls were made, want %d", n, 64+4096+1)
		}
		if n := most.Load(); n != 65 {
			t.Errorf("at most %d ran at once, want 65", n)
		}
	})
}

// A handler that was given up may detach work when nobody expects it any more.
func TestDetachedFromAnAbandonedCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		done := make(chan struct{})
		detached := gatebook.Detached(func(context.Context, *gatebook.CreateUserEvent) error { close(done); return nil })
		d := newDesk(t, func(_ *desk, c *gatebook.Config) {
			c.Events.CreateUser = func(ctx context.Context, e *gatebook.CreateUserEvent) error {
				pause(time.Minute)
				return detached(ctx, e)
			}
		})
		d.create()
		mustClose(t, d.auth)
		<-done
		mustClose(t, d.auth)
	})
}

func TestDetachedInAPlainTest(t *testing.T) {
	want := errors.New("mail server")
	fn := gatebook.Detached(func(_ context.Context, e *gatebook.CreateUserEvent) error {
		e.User.Name = "called"
		return want
	})
	e := &gatebook.CreateUserEvent{User: &gatebook.User{}}
	if err := fn(context.Background(), e); !errors.Is(err, want) || e.User.Name != "called" {
		t.Errorf("Detached with a plain context = %v, want the handler's own error, at once", err)
	}
}

// Beside the session of a stream, a detached handler does not wait for its end.
func TestDetachedBesideAStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		done := make(chan struct{})
		d := newDesk(t, func(_ *desk, c *gatebook.Config) {
			c.Events.Session = gatebook.Detached(func(context.Context, *gatebook.SessionEvent) error { close(done); return nil })
		})
		v := d.visitor()
		v.signIn()
		v.send(d.auth.Middleware(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-done })), v.request("GET", "/stream", nil))
	})
}

// What is told late is what was, not what the application made of it meanwhile.
func TestLateEventIsACopy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told string
		hang := gatebook.Events{Session: func(ctx context.Context, _ *gatebook.SessionEvent) error { <-ctx.Done(); return nil }}
		d := newDesk(t, func(_ *desk, c *gatebook.Config) {
			c.Session.Strategy = gatebook.StrategyJWT
			c.Events = gatebook.JoinEvents(hang, hang, gatebook.Events{Session: func(_ context.Context, e *gatebook.SessionEvent) error {
				told = e.Token.String("email") + " " + e.Result.String("more")
				return nil
			}})
		})
		v := d.visitor()
		v.signIn()
		v.send(d.auth.Middleware(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			s, err := d.auth.Session(r)
			if err != nil {
				t.Fatal(err)
			}
			s.Token.Set("email", "spoilt")
			s.Data.Set("more", "spoilt")
		})), v.request("GET", "/", nil))
		mustClose(t, d.auth)
		if told != "ada@example.com " {
			t.Errorf("the late handler saw %q", told)
		}
	})
}

func TestConcurrentSignIns(t *testing.T) {
	strategies(t, func(t *testing.T, strategy string) {
		t.Helper()
		const n = 60
		var mu sync.Mutex
		var signIns, failed int
		d := newDesk(t, func(d *desk, c *gatebook.Config) {
			c.Session.Strategy = strategy
			spoil := gatebook.Events{
				SignIn: func(_ context.Context, e *gatebook.SignInEvent) error {
					e.User.Email, e.Account.Provider = "spoilt", "spoilt"
					if e.Profile != nil {
						return e.Profile.Set("sub", "spoilt")
					}
					return nil
				},
				Session: func(_ context.Context, e *gatebook.SessionEvent) error { return e.Result.Set("spoilt", true) },
				CreateUser: gatebook.Detached(func(_ context.Context, e *gatebook.CreateUserEvent) error {
					e.User.Name = "spoilt"
					return errors.New("failed")
				}),
			}
			count := func(_ context.Context, e *gatebook.HandlerFailedEvent) error {
				mu.Lock()
				defer mu.Unlock()
				if e.Type == record.TypeHandlerFailed { // a busy machine may make one slow
					failed++
				}
				return nil
			}
			c.Events = gatebook.JoinEvents(spoil, spoil, gatebook.Events{HandlerFailed: count, SignIn: func(_ context.Context, e *gatebook.SignInEvent) error {
				mu.Lock()
				defer mu.Unlock()
				if e.User.Email != "spoilt" && (e.Profile == nil || e.Profile.String("sub") != "spoilt") {
					signIns++
				}
				return nil
			}})
		})
		ctx, stop := context.WithCancel(context.Background())
		ran := make(chan error)
		go func() { ran <- d.auth.Run(ctx) }()
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() {
				v := d.visitor()
				v.remote = fmt.Sprintf("192.0.%d.1:1", i)
				v.link(fmt.Sprintf("user%d@example.com", i))
				v.get("/auth/session")
				v.get("/auth/session")
				v.post("/auth/signout", nil)
			})
		}
		for range n {
			wg.Go(func() { d.visitor().signIn() }) // all the same person
		}
		wg.Wait()
		stop()
		if err := <-ran; err != nil {
			t.Error(err)
		}
		mustClose(t, d.auth)
		entries := d.entries()
		for i, e := range entries {
			if e.Seq != int64(i)+1 {
				t.Fatalf("entry %d has seq %d", i, e.Seq)
			}
		}
		if got := len(of(entries, record.TypeSignIn)); got != signIns {
			t.Errorf("recorded %d sign-ins, told of %d", got, signIns)
		}
		if got := len(of(entries, record.TypeHandlerFailed)); got == 0 || got != failed {
			t.Errorf("recorded %d failures, told of %d", got, failed)
		}
		if strings.Contains(fmt.Sprint(entries), "spoilt") {
			t.Error("what a handler did to its copy is in the book")
		}
	})
}

// TestCall: handlers that are called for a test meet what they meet in a
// request: order, copies, budget, recovery, and their failures come back.
func TestCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		boom := errors.New("boom")
		var heard []string
		events := gatebook.JoinEvents(
			gatebook.Events{
				CreateUser: func(_ context.Context, e *gatebook.CreateUserEvent) error {
					heard = append(heard, "own "+e.User.Name)
					e.User.Name = "changed"
					return boom
				},
				Any: func(_ context.Context, e gatebook.Event) error {
					heard = append(heard, "any "+e.Meta().ID)
					panic("boom")
				},
			},
			gatebook.Events{
				CreateUser: gatebook.Detached(func(_ context.Context, e *gatebook.CreateUserEvent) error {
					time.Sleep(20 * time.Second)
					heard = append(heard, "detached "+e.User.Name)
					return boom
				}),
				Any: func(context.Context, gatebook.Event) error { time.Sleep(2 * time.Second); return nil },
			})
		ev := &gatebook.CreateUserEvent{Envelope: gatebook.Envelope{ID: "1", Type: record.TypeCreateUser}, User: &gatebook.User{Name: "Ada"}}
		var got []string
		for _, f := range events.Call(t.Context(), ev) {
			got = append(got, fmt.Sprintf("%s %s %s %s %v", f.Type, f.Reason, f.Handler, f.Cause, f.Err))
		}
		want := []string{
			"handler.failed handlerError CreateUser 1 boom", "handler.failed handlerPanic Any 1 panic with a string",
			"handler.slow  Any 1 <nil>", "handler.failed handlerError CreateUser 1 boom"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("failures (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{"own Ada", "any 1", "detached Ada"}, heard); diff != "" {
			t.Errorf("heard (-want +got):\n%s", diff)
		}
		if ev.User.Name != "Ada" {
			t.Error("a handler changed the caller's event")
		}
	})
}
