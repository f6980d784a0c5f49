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
	jobs    tracker       // detached and late calls
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

// Call calls the handlers of e for ev as a server does after a commit: its own
// handler of each set, then Any, each with a copy, within the budget, and
// recovered when it panics; and it waits for [Detached] ones. It returns what a
// server would have recorded of them as handler.failed and handler.slow, in
// order. Nothing is recorded or logged, and nothing need have happened: it is
// for tests of handlers, where package gatebooktest calls it.
func (e Events) Call(ctx context.Context, ev Event) []*HandlerFailedEvent {
	var mu sync.Mutex
	var failures []*HandlerFailedEvent
	d := newDispatcher(e, slog.New(slog.DiscardHandler), time.Now)
	d.record = func(_ context.Context, more []*HandlerFailedEvent) {
		mu.Lock()
		defer mu.Unlock()
		failures = append(failures, more...)
	}
	f := d.begin(ctx)
	f.fire(ev)
	f.close()
	<-d.jobs.wait() // each has a budget
	mu.Lock()
	defer mu.Unlock()
	return failures
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
	select {
	case <-d.jobs.wait():
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for detached handlers: %w", context.Cause(ctx))
	}
}

// firing is the handlers' part of one request. Events are fired, and the firing
// is closed, by the one goroutine that serves the request.
type firing struct {
	d    *dispatcher
	ctx  context.Context
	left time.Duration // of the request's budget; only time spent in handlers counts

	mu       sync.Mutex
	ended    bool
	failures []*HandlerFailedEvent
	held     []func() // detached jobs, begun after the response
	// late are the calls that may outlast the request's budget, in order, and
	// working is set while a goroutine makes them.
	late    []lateCall
	working bool
}

// handlerCall is a handler of a set and the event it is to be told of.
type handlerCall struct {
	set  int
	name string
	fn   func(context.Context, Event) error
	ev   Event
}

type lateCall struct {
	handlerCall
	done chan struct{}
}

// begin returns a firing for a request with ctx. Its handlers' contexts carry
// the request's values and not its end: what happened is told of even if the
// visitor hung up.
func (d *dispatcher) begin(ctx context.Context) *firing {
	return &firing{d: d, ctx: ctx, left: requestBudget}
}

// fire calls the handlers for ev, one after the other.
func (f *firing) fire(ev Event) {
	for i := range f.d.sets {
		set := &f.d.sets[i]
		if name, fn := set.handler(ev); fn != nil {
			f.await(handlerCall{i, name, fn, ev})
		}
		if set.Any != nil {
			f.await(handlerCall{i, "Any", set.Any, ev})
		}
	}
}

// close records what failed and begins the detached jobs. It is called when the
// response is ready.
func (f *firing) close() {
	f.mu.Lock()
	f.ended = true
	held := f.held
	f.held = nil
	f.mu.Unlock()
	f.flush()
	for _, job := range held {
		go job()
	}
}

func (f *firing) flush() {
	f.mu.Lock()
	failures := f.failures
	f.failures = nil
	f.mu.Unlock()
	if len(failures) > 0 {
		f.d.record(context.WithoutCancel(f.ctx), failures)
	}
}

// await makes one call and waits for it within its budget and the request's.
// What the request's budget does not reach goes on without it, in order.
func (f *firing) await(c handlerCall) {
	begun := time.Now()
	if f.left >= hardBudget {
		failed := f.run(c, hardBudget)
		f.left -= time.Since(begun)
		for _, c := range f.note(failed) {
			f.await(c)
		}
		return
	}
	// The event is copied here: what is told late must not be what the
	// application made of it meanwhile.
	c.ev = c.ev.copy()
	late := lateCall{c, make(chan struct{})}
	f.mu.Lock()
	f.late = append(f.late, late)
	if !f.working {
		f.working = true
		f.d.jobs.add()
		go f.work()
	}
	f.mu.Unlock()
	if f.left <= 0 {
		return
	}
	timer := time.NewTimer(f.left)
	defer timer.Stop()
	select {
	case <-late.done:
	case <-timer.C:
	}
	f.left -= time.Since(begun)
}

// work makes the late calls, one after the other.
func (f *firing) work() {
	defer f.d.jobs.done()
	for {
		f.mu.Lock()
		if len(f.late) == 0 {
			f.working = false
			ended := f.ended
			f.mu.Unlock()
			if ended {
				f.flush()
			}
			return
		}
		c := f.late[0]
		f.late = f.late[1:]
		f.mu.Unlock()
		f.detached(c.handlerCall, hardBudget)
		close(c.done)
	}
}

// detached makes a call that no request waits for.
func (f *firing) detached(c handlerCall, budget time.Duration) {
	for _, c := range f.note(f.run(c, budget)) {
		f.note(f.run(c, hardBudget))
	}
}

// note keeps a failure to be recorded and returns the calls that tell of it. A
// HandlerFailed that fails is recorded only.
func (f *firing) note(failed *HandlerFailedEvent) []handlerCall {
	if failed == nil {
		return nil
	}
	f.mu.Lock()
	f.failures = append(f.failures, failed)
	f.mu.Unlock()
	if failed.Handler == "HandlerFailed" {
		return nil
	}
	var calls []handlerCall
	for i := range f.d.sets {
		if fn := adapt(f.d.sets[i].HandlerFailed); fn != nil {
			calls = append(calls, handlerCall{i, "HandlerFailed", fn, failed})
		}
	}
	return calls
}

type callKey struct{}

// call is one call of a handler; it travels in the handler's context, where
// Detached finds it.
type call struct {
	f    *firing
	set  int
	name string
}

// run makes c with a copy of its event, for at most budget, and returns what
// went wrong, or nil. A call that does not return in time is given up and
// counted until it does.
func (f *firing) run(c handlerCall, budget time.Duration) *HandlerFailedEvent {
	stuck := f.d.stuck[c.set][c.name]
	if stuck.Load() >= maxStuck {
		return f.failed(c, record.ReasonSaturated, nil, 0, budget)
	}
	ev := c.ev.copy()
	ctx, cancel := context.WithTimeout(context.WithValue(context.WithoutCancel(f.ctx), callKey{}, &call{f, c.set, c.name}), budget)
	type result struct {
		err      error
		panicked bool
	}
	done := make(chan result, 1)
	var settled atomic.Bool // by the end of the call or of its budget, whichever comes first
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
				f.d.log.Error("handler panicked", "handler", c.name, "event", ev.Meta().Type,
					"event_id", c.ev.Meta().ID, "panic_type", fmt.Sprintf("%T", v), "stack", string(debug.Stack()))
			} else if !returned {
				r = result{errGoexit, true}
			}
			if !settled.CompareAndSwap(false, true) {
				stuck.Add(-1)
			}
			done <- r
		}()
		r.err = c.fn(ctx, ev)
		returned = true
	}()
	timer := time.NewTimer(budget)
	defer timer.Stop()
	var r result
	select {
	case r = <-done:
	case <-timer.C:
		stuck.Add(1)
		if settled.CompareAndSwap(false, true) {
			return f.failed(c, record.ReasonHandlerTimeout, context.DeadlineExceeded, time.Since(begun), budget)
		}
		stuck.Add(-1) // it returned at the same moment
		r = <-done
	}
	took := time.Since(begun)
	switch {
	case r.panicked:
		return f.failed(c, record.ReasonHandlerPanic, r.err, took, budget)
	case r.err != nil && took >= budget: // it heeded the end of its context
		return f.failed(c, record.ReasonHandlerTimeout, r.err, took, budget)
	case r.err != nil:
		return f.failed(c, record.ReasonHandlerError, r.err, took, budget)
	case took > softBudget && budget == hardBudget:
		return f.failed(c, "", nil, took, softBudget)
	}
	return nil
}

// failed makes the event of a failure, handler.slow when there is no reason,
// and logs it. Of an error only its type is logged: its text may hold secrets.
// Each such event is an act of its own, for it is committed by itself; Cause
// leads to the event that was told of.
func (f *firing) failed(c handlerCall, reason string, err error, took, budget time.Duration) *HandlerFailedEvent {
	m := c.ev.Meta()
	typ, outcome := record.TypeHandlerFailed, record.Failure
	if reason == "" {
		typ, outcome = record.TypeHandlerSlow, record.Success
	}
	e := &HandlerFailedEvent{
		Envelope: Envelope{
			ID: newID(), Type: typ, Version: 1, Time: cut(f.d.now()), Act: newID(), Cause: m.ID,
			Source: record.SourceGatebook, Outcome: outcome, Reason: reason,
			Actor: Actor{Type: record.ActorSystem}, Initiator: "system", Subject: m.Subject,
		},
		Handler: c.name, Event: m.Type, EventID: m.ID, Err: err, Duration: took, budget: budget,
	}
	if m.Type == record.TypeSession {
		e.Cause = "" // it is recorded as a count, under another id
	}
	attrs := []any{"handler", c.name, "event", m.Type, "event_id", m.ID, "duration", took}
	if reason == "" {
		f.d.log.Warn("handler is slow", attrs...)
		return e
	}
	f.d.log.Error("handler failed", append(attrs, "reason", reason, "error_type", errorType(err))...)
	return e
}

type panickedError struct{ v any }

// Error gives the type of the panic's value, not the value.
func (e *panickedError) Error() string { return fmt.Sprintf("panic with a %T", e.v) }

// Unwrap returns the value when it is an error.
func (e *panickedError) Unwrap() error {
	err, _ := e.v.(error)
	return err
}

func panicError(v any) error { return &panickedError{v} }

var errGoexit = fmt.Errorf("gatebook: handler called runtime.Goexit")

func errorType(err error) string {
	switch e := err.(type) { //nolint:errorlint // the outermost type is what is asked for
	case nil:
		return ""
	case *panickedError:
		return fmt.Sprintf("%T", e.v)
	}
	return fmt.Sprintf("%T", err)
}

// Detached wraps a handler so that nobody waits for it: it runs after the
// response (for the session event of [Auth.Middleware], beside it), on a pool of
// 64 workers with room for 4,096 waiting calls that [Auth.Close] drains, for at
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
	d.jobs.add()
	job := func() {
		defer d.jobs.done()
		defer func() { <-d.places }()
		d.workers <- struct{}{}
		defer func() { <-d.workers }()
		f.detached(handlerCall{c.set, c.name, fn, ev}, detachedBudget)
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

// tracker counts jobs so that their end can be waited for. Unlike a WaitGroup it
// lets jobs begin while somebody waits: an abandoned handler may detach one at
// any time.
type tracker struct {
	mu   sync.Mutex
	n    int
	idle chan struct{} // closed when n becomes 0; nil while nobody waits
}

func (t *tracker) add() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.n++
}

func (t *tracker) done() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.n--; t.n == 0 && t.idle != nil {
		close(t.idle)
		t.idle = nil
	}
}

// wait returns a channel that is closed once no job is left.
func (t *tracker) wait() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.idle != nil {
		return t.idle
	}
	idle := make(chan struct{})
	if t.n == 0 {
		close(idle)
	} else {
		t.idle = idle
	}
	return idle
}
