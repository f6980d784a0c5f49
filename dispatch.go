package gatebook

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatebook/gatebook/record"
)

// Budgets of handlers. They are fixed so that a server's worst answer is known.
const (
	softBudget     = time.Second
	hardBudget     = 5 * time.Second
	requestBudget  = 10 * time.Second
	detachedBudget = 30 * time.Second
	// maxStuck is how many calls of one handler may hang before it is skipped.
	maxStuck        = 64
	detachedWorkers = 64
	detachedQueue   = 4096
)

// dispatcher calls the application's handlers.
type dispatcher struct {
	sets []Events
	// stuck counts, for each set and field, the calls that were given up and
	// have not returned.
	stuck []map[string]*atomic.Int32
	log   *slog.Logger
	now   func() time.Time
	// record writes handler.failed and handler.slow.
	record func(context.Context, []*HandlerFailedEvent)

	places  chan struct{} // one for each job that waits or runs
	workers chan struct{} // one for each job that runs
	jobs    sync.WaitGroup
}

var handlerFields = []string{"SignIn", "SignOut", "CreateUser", "UpdateUser", "LinkAccount",
	"Session", "SignInFailed", "HandlerFailed", "Any"}

func newDispatcher(events Events, log *slog.Logger, now func() time.Time) *dispatcher {
	d := &dispatcher{
		sets: events.flatten(), log: log, now: now,
		places:  make(chan struct{}, detachedWorkers+detachedQueue),
		workers: make(chan struct{}, detachedWorkers),
	}
	for range d.sets {
		m := make(map[string]*atomic.Int32, len(handlerFields))
		for _, f := range handlerFields {
			m[f] = new(atomic.Int32)
		}
		d.stuck = append(d.stuck, m)
	}
	return d
}

// wantsSession reports whether any handler is called for the session event, so
// that reading a session builds none otherwise.
func (d *dispatcher) wantsSession() bool {
	for i := range d.sets {
		if d.sets[i].Session != nil || d.sets[i].Any != nil {
			return true
		}
	}
	return false
}

// drain waits until no detached job is left or ctx ends.
func (d *dispatcher) drain(ctx context.Context) error {
	done := make(chan struct{})
	go func() { d.jobs.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for detached handlers: %w", context.Cause(ctx))
	}
}

// firing is the handlers' part of one request.
type firing struct {
	d   *dispatcher
	ctx context.Context
	end time.Time // when the request's budget is spent

	mu       sync.Mutex
	ended    bool
	failures []*HandlerFailedEvent
	held     []func() // detached jobs, begun after the response
	tail     []tailCall
}

type tailCall struct {
	set  int
	name string
	fn   func(context.Context, Event) error
	ev   Event
}

// begin returns a firing for a request with ctx. Its handlers' contexts carry
// the request's values and not its end: what happened is told of even if the
// visitor hung up.
func (d *dispatcher) begin(ctx context.Context) *firing {
	return &firing{d: d, ctx: context.WithoutCancel(ctx), end: time.Now().Add(requestBudget)}
}

// fire calls the handlers for ev, one after the other.
func (f *firing) fire(ev Event) {
	for i := range f.d.sets {
		set := &f.d.sets[i]
		if name, fn := set.handler(ev); fn != nil {
			f.await(i, name, fn, ev)
		}
		if _, about := ev.(*HandlerFailedEvent); set.Any != nil && !about {
			f.await(i, "Any", set.Any, ev)
		}
	}
}

// close records what failed, begins the detached jobs and lets go of what the
// request's budget did not reach. It is called when the response is ready.
func (f *firing) close() {
	f.mu.Lock()
	f.ended = true
	held, tail := f.held, f.tail
	f.held, f.tail = nil, nil
	f.mu.Unlock()
	f.flush()
	for _, job := range held {
		go job()
	}
	if len(tail) > 0 {
		f.d.jobs.Go(func() {
			for _, c := range tail {
				f.report(f.run(c.set, c.name, c.fn, c.ev, hardBudget))
			}
			f.flush()
		})
	}
}

func (f *firing) flush() {
	f.mu.Lock()
	failures := f.failures
	f.failures = nil
	f.mu.Unlock()
	if len(failures) > 0 {
		f.d.record(f.ctx, failures)
	}
}

// await calls one handler and waits for it within its budget and the request's.
func (f *firing) await(set int, name string, fn func(context.Context, Event) error, ev Event) {
	left := time.Until(f.end)
	if left <= 0 {
		f.mu.Lock()
		f.tail = append(f.tail, tailCall{set, name, fn, ev.copy()})
		f.mu.Unlock()
		return
	}
	if left >= hardBudget {
		f.report(f.run(set, name, fn, ev, hardBudget))
		return
	}
	// The request's budget may be spent while the handler is within its own:
	// then it goes on detached, and whoever is later reports.
	done := make(chan *HandlerFailedEvent, 1)
	var settled atomic.Bool
	f.d.jobs.Go(func() {
		failed := f.run(set, name, fn, ev, hardBudget)
		if settled.CompareAndSwap(false, true) {
			done <- failed
			return
		}
		f.report(failed)
		f.flush()
	})
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case failed := <-done:
		f.report(failed)
	case <-timer.C:
		if !settled.CompareAndSwap(false, true) {
			f.report(<-done)
		}
	}
}

// report logs a failure, keeps it to be recorded, and tells HandlerFailed.
func (f *firing) report(failed *HandlerFailedEvent) {
	if failed == nil {
		return
	}
	f.mu.Lock()
	f.failures = append(f.failures, failed)
	f.mu.Unlock()
	if failed.Handler == "HandlerFailed" {
		return // it is logged and recorded only
	}
	for i := range f.d.sets {
		if fn := adapt(f.d.sets[i].HandlerFailed); fn != nil {
			f.report(f.run(i, "HandlerFailed", fn, failed, hardBudget))
		}
	}
}

type callKey struct{}

// call is one call of a handler; it travels in the handler's context, where
// Detached finds it.
type call struct {
	f    *firing
	set  int
	name string
	ev   Event
}

// run calls fn with a copy of ev, for at most budget, and returns what went
// wrong, or nil. A call that does not return in time is given up and counted
// until it does.
func (f *firing) run(set int, name string, fn func(context.Context, Event) error, ev Event, budget time.Duration) *HandlerFailedEvent {
	stuck := f.d.stuck[set][name]
	if stuck.Load() >= maxStuck {
		return f.failed(name, ev, record.ReasonSaturated, nil, 0)
	}
	c := &call{f: f, set: set, name: name, ev: ev.copy()}
	ctx, cancel := context.WithTimeout(context.WithValue(f.ctx, callKey{}, c), budget)
	type result struct {
		err      error
		panicked bool
	}
	done := make(chan result, 1)
	var givenUp atomic.Bool
	begun := time.Now()
	go func() {
		defer cancel()
		var r result
		returned := false
		defer func() {
			// A handler that calls runtime.Goexit returns nothing and panics
			// with nothing; it has failed all the same.
			if v := recover(); v != nil {
				r = result{panicError(v), true}
				f.d.log.Error("handler panicked", "handler", name, "event", ev.Meta().Type,
					"event.id", ev.Meta().ID, "panic.type", fmt.Sprintf("%T", v), "stack", string(debug.Stack()))
			} else if !returned {
				r = result{errGoexit, true}
			}
			if !givenUp.CompareAndSwap(false, true) {
				stuck.Add(-1)
			}
			done <- r
		}()
		r.err = fn(ctx, c.ev)
		returned = true
	}()
	timer := time.NewTimer(budget)
	defer timer.Stop()
	select {
	case r := <-done:
		took := time.Since(begun)
		switch {
		case r.panicked:
			return f.failed(name, ev, record.ReasonHandlerPanic, r.err, took)
		case r.err != nil:
			return f.failed(name, ev, record.ReasonHandlerError, r.err, took)
		case took > softBudget && budget == hardBudget:
			return f.failed(name, ev, "", nil, took)
		}
		return nil
	case <-timer.C:
		stuck.Add(1)
		if !givenUp.CompareAndSwap(false, true) {
			stuck.Add(-1) // it returned at the same moment
		}
		return f.failed(name, ev, record.ReasonHandlerTimeout, context.DeadlineExceeded, time.Since(begun))
	}
}

// failed makes the event of a failure, handler.slow when there is no reason,
// and logs it. Of an error only its type is logged: its text may hold secrets.
func (f *firing) failed(name string, ev Event, reason string, err error, took time.Duration) *HandlerFailedEvent {
	m := ev.Meta()
	typ, outcome := record.TypeHandlerFailed, record.Failure
	if reason == "" {
		typ, outcome = record.TypeHandlerSlow, record.Success
	}
	e := &HandlerFailedEvent{
		Envelope: Envelope{
			ID: newID(), Type: typ, Version: 1, Time: cut(f.d.now()), Act: m.Act, Cause: m.ID,
			Source: record.SourceGatebook, Outcome: outcome, Reason: reason,
			Actor: Actor{Type: record.ActorSystem}, Initiator: "system", Subject: m.Subject,
		},
		Handler: name, Event: m.Type, EventID: m.ID, Err: err, Duration: took,
	}
	attrs := []any{"handler", name, "event", m.Type, "event.id", m.ID, "duration", took}
	if reason == "" {
		f.d.log.Warn("handler is slow", attrs...)
		return e
	}
	f.d.log.Error("handler failed", append(attrs, "reason", reason, "error.type", errorType(err))...)
	return e
}

type errPanic struct{ v any }

// Error gives the type of the panic's value, not the value.
func (e *errPanic) Error() string { return fmt.Sprintf("panic with a %T", e.v) }

// Unwrap returns the value when it is an error.
func (e *errPanic) Unwrap() error {
	err, _ := e.v.(error)
	return err
}

func panicError(v any) error { return &errPanic{v} }

var errGoexit = fmt.Errorf("gatebook: handler called runtime.Goexit")

func errorType(err error) string {
	switch e := err.(type) {
	case nil:
		return ""
	case *errPanic:
		return fmt.Sprintf("%T", e.v)
	}
	return fmt.Sprintf("%T", err)
}

// Detached wraps a handler so that it runs after the response, on a pool of 64
// workers with room for 4,096 waiting calls that [Auth.Close] drains, for at
// most 30 seconds. When the pool is full the call is awaited instead; it is
// never dropped by us, but a crash loses it. Called with a context that is not
// from Gatebook, as in a plain test, the handler runs at once.
//
//	Events{CreateUser: gatebook.Detached(sendWelcomeMail)}
func Detached[E Event](fn func(context.Context, E) error) func(context.Context, E) error {
	return func(ctx context.Context, ev E) error {
		c, ok := ctx.Value(callKey{}).(*call)
		if !ok {
			return fn(ctx, ev)
		}
		if c.detach(func(ctx context.Context, e Event) error { return fn(ctx, e.(E)) }, ev) {
			return nil
		}
		return fn(ctx, ev)
	}
}

// detach takes fn for later and reports whether there was room.
func (c *call) detach(fn func(context.Context, Event) error, ev Event) bool {
	f, d := c.f, c.f.d
	select {
	case d.places <- struct{}{}:
	default:
		return false
	}
	d.jobs.Add(1)
	job := func() {
		defer d.jobs.Done()
		defer func() { <-d.places }()
		d.workers <- struct{}{}
		defer func() { <-d.workers }()
		f.report(f.run(c.set, c.name, fn, ev, detachedBudget))
		f.flush()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended {
		go job()
	} else {
		f.held = append(f.held, job)
	}
	return true
}
