package gatebook

import (
	"context"
	"errors"
	"fmt"
)

// maxTries is how often an act is run from its reads when another act got in
// its way.
const maxTries = 4

func isConflict(err error) bool { return errors.Is(err, ErrConflict) }

// act commits writes with the entries of events, and then calls the handlers.
func (a *Auth) act(ctx context.Context, f *firing, writes []Write, events ...told) error {
	if err := a.write(ctx, writes, events); err != nil {
		return err
	}
	f.fireAll(events)
	return nil
}

func (f *firing) fireAll(events []told) {
	for _, t := range events {
		f.fire(t.ev)
	}
}

// write commits writes with the entries of events.
func (a *Auth) write(ctx context.Context, writes []Write, events []told) error {
	// What is recorded must not depend on whether the visitor still waits, nor
	// what is read for it wait for ever.
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitBudget)
	defer cancel()
	entries, err := a.entries(bounded, events)
	if err != nil {
		return err
	}
	act := &Act{Writes: writes, Entries: entries}
	if a.adapter != nil {
		act.InTx = a.inTx(events)
	}
	return a.commit(ctx, act)
}

// retry runs fn again while its act conflicts with another. fn reads anew each
// time; callbacks are not called again.
func retry(fn func() error) error {
	var err error
	for range maxTries {
		if err = fn(); !isConflict(err) {
			return err
		}
	}
	return fmt.Errorf("%w, in each of %d tries", err, maxTries)
}
