package gatebook

import (
	"context"
	"fmt"
	"time"
)

const (
	houseEvery = time.Minute
	// houseClaim is for how long a server that stops in the middle keeps others
	// from going on. It is claimed anew before each batch.
	houseClaim = 2 * time.Minute
	// What has expired is kept for the longest LinkLimits.Per: the limits count
	// magic links that have expired meanwhile.
	sweepAfter = time.Hour
	// maxBatches is how many batches of a kind are done at one time.
	maxBatches = 1000
	// endBatch is how many sessions an act ends: other acts may wait for it.
	endBatch = 25
	// fewRows are not worth asking again for.
	fewRows = 500
	// Between batches there is a pause of at least minPause, and of three times as
	// long as the batch took, so that acts find the store free most of the time.
	minPause   = 10 * time.Millisecond
	pauseShare = 3
)

// keepHouse ends expired sessions and deletes what else has expired, of several
// servers on one, until ctx ends.
func (a *Auth) keepHouse(ctx context.Context) {
	tick := time.NewTicker(houseEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		jobs := []func(context.Context) (more bool, err error){a.sweep}
		if a.cfg.Session.Strategy == StrategyDatabase { // otherwise the rows are another program's
			jobs = append(jobs, a.endExpired)
		}
		for _, batch := range jobs {
			if err := a.inBatches(ctx, batch); err != nil && ctx.Err() == nil {
				a.log.Error("clean up what has expired", "error_type", errorType(err), "error", err.Error())
			}
		}
	}
}

// inBatches calls batch while there is more to do and the claim is ours.
func (a *Auth) inBatches(ctx context.Context, batch func(context.Context) (bool, error)) error {
	for range maxBatches {
		if mine, err := a.adapter.Claim(ctx, a.holder, houseClaim); err != nil || !mine {
			return err
		}
		more, err := batch(ctx)
		if err != nil || !more {
			return err
		}
	}
	return nil
}

// atEase calls fn and pauses afterwards.
func atEase(ctx context.Context, fn func() error) error {
	begun := time.Now()
	if err := fn(); err != nil {
		return err
	}
	pause := time.NewTimer(max(minPause, pauseShare*time.Since(begun)))
	defer pause.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-pause.C:
		return nil
	}
}

// sweep deletes some of the rows that have expired and need no event.
func (a *Auth) sweep(ctx context.Context) (more bool, err error) {
	n := 0
	err = atEase(ctx, func() (err error) {
		n, err = a.adapter.Sweep(ctx, a.now().Add(-sweepAfter))
		return err
	})
	return n >= fewRows, err
}

// endExpired ends some of the database sessions that have run out. Those that
// expired just now are left to whoever uses them: the clocks of servers differ.
func (a *Auth) endExpired(ctx context.Context) (more bool, err error) {
	list, err := a.adapter.Expired(ctx, a.now().Add(-clockSlack))
	if err != nil {
		return false, fmt.Errorf("list expired sessions: %w", err)
	}
	for len(list) > 0 {
		n := min(len(list), endBatch)
		batch := list[:n]
		list = list[n:]
		ended, err := a.endBatch(ctx, batch)
		if err != nil {
			return false, err
		}
		more = more || ended > 0 // what somebody else is ending is not waited for
	}
	return more, nil
}

// endBatch ends sessions in one act, or, when some of them have ended meanwhile,
// each in its own, and returns how many it ended.
func (a *Auth) endBatch(ctx context.Context, list []FoundSession) (ended int, err error) {
	err = atEase(ctx, func() error { return a.endRows(ctx, list) })
	if err == nil || !isConflict(err) {
		return len(list), err
	}
	for i := range list {
		err := atEase(ctx, func() error { return a.endRows(ctx, list[i:i+1]) })
		switch {
		case err == nil:
			ended++
		case !isConflict(err):
			return ended, err
		}
	}
	return ended, nil
}

func (a *Auth) endRows(ctx context.Context, list []FoundSession) error {
	var c change
	users := map[string]*FoundUser{}
	for i := range list {
		s := &list[i].Session
		u := users[s.UserID]
		if u == nil {
			u = new(list[i].FoundUser)
			users[s.UserID] = u
		}
		sid, err := a.sid(ctx, s)
		if err != nil {
			return err
		}
		// An act for each, for they have nothing to do with one another.
		r := a.systemRecorder()
		c.add(r.meet(u))
		c.does(r.sessionExpired(&u.User, StrategyDatabase, sid), keys{subject: u.Subject}, DeleteSession{Handle: s.Handle})
	}
	f := a.handlers.begin(ctx)
	defer f.close()
	return a.act(ctx, f, c)
}
