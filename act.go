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

// change is what an act is made of: writes and the events that tell of them.
type change struct {
	writes []Write
	events []told
}

// does adds an event with the writes that it tells of.
func (c *change) does(ev Event, k keys, writes ...Write) {
	c.writes = append(c.writes, writes...)
	c.events = append(c.events, told{ev, k})
}

func (c *change) add(other change) {
	c.writes = append(c.writes, other.writes...)
	c.events = append(c.events, other.events...)
}

// act commits a change with its entries, and then calls the handlers.
func (a *Auth) act(ctx context.Context, f *firing, c change) error {
	if err := a.write(ctx, c); err != nil {
		return err
	}
	f.fireAll(c.events)
	return nil
}

func (f *firing) fireAll(events []told) {
	for _, t := range events {
		f.fire(t.ev)
	}
}

// write commits a change with its entries.
func (a *Auth) write(ctx context.Context, c change) error {
	// What is recorded must not depend on whether the visitor still waits, nor
	// what is read for it wait for ever.
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitBudget)
	defer cancel()
	entries, err := a.entries(bounded, c.events)
	if err != nil {
		return err
	}
	act := &Act{Writes: c.writes, Entries: entries}
	if a.adapter != nil {
		act.InTx = a.inTx(c.events)
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
