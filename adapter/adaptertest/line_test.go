package adaptertest_test

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/adapter/memory"
)

// line is a store behind a connection that loses calls.
type line struct {
	*memory.Store
	left      int
	delivered bool
	broke     bool
}

var errLost = errors.New("connection lost")

func (l *line) cut(n int, delivered bool) { l.left, l.delivered, l.broke = n, delivered, false }

func (l *line) mend() bool {
	l.left = 0
	return l.broke
}

// call makes a call of one message over the line.
func (l *line) call(do func() error) error {
	if l.left == 0 {
		return do()
	}
	if l.left--; l.left > 0 {
		return do()
	}
	l.broke = true
	if !l.delivered {
		return errLost
	}
	if err := do(); err != nil {
		return err
	}
	return errLost
}

func (l *line) Commit(ctx context.Context, act *gatebook.Act) error {
	err := l.call(func() error { return l.Store.Commit(ctx, act) })
	if errors.Is(err, errLost) && l.delivered {
		return gatebook.ErrCommitUnknown
	}
	return err
}

func (l *line) Find(ctx context.Context, q gatebook.Query) (f *gatebook.Found, err error) {
	err = l.call(func() error {
		f, err = l.Store.Find(ctx, q)
		return err
	})
	return f, err
}

func (l *line) Session(ctx context.Context, token gatebook.Secret) (f *gatebook.FoundSession, err error) {
	err = l.call(func() error {
		f, err = l.Store.Session(ctx, token)
		return err
	})
	return f, err
}

func (l *line) Sessions(ctx context.Context, id string) (list []gatebook.StoredSession, err error) {
	err = l.call(func() error {
		list, err = l.Store.Sessions(ctx, id)
		return err
	})
	return list, err
}

func (l *line) ExtendSession(ctx context.Context, token gatebook.Secret, to time.Time) error {
	return l.call(func() error { return l.Store.ExtendSession(ctx, token, to) })
}

// unready refuses all until it is repaired.
type unready struct {
	*memory.Store
	right atomic.Bool
}

func (u *unready) check() error {
	if u.right.Load() {
		return nil
	}
	return errors.New("no tables; run: make tables")
}

func (u *unready) Find(ctx context.Context, q gatebook.Query) (*gatebook.Found, error) {
	if err := u.check(); err != nil {
		return nil, err
	}
	return u.Store.Find(ctx, q)
}

func (u *unready) Session(context.Context, gatebook.Secret) (*gatebook.FoundSession, error) {
	return nil, u.check()
}

func (u *unready) Sessions(context.Context, string) ([]gatebook.StoredSession, error) {
	return nil, u.check()
}

func (u *unready) Accounts(context.Context, string) ([]gatebook.Account, error) {
	return nil, u.check()
}

func (u *unready) Authenticators(context.Context, string) ([]gatebook.Authenticator, error) {
	return nil, u.check()
}

func (u *unready) ExtendSession(context.Context, gatebook.Secret, time.Time) error { return u.check() }

func (u *unready) Commit(ctx context.Context, act *gatebook.Act) error {
	if err := u.check(); err != nil {
		return err
	}
	return u.Store.Commit(ctx, act)
}

func (u *unready) Claim(context.Context, string, time.Duration) (bool, error) {
	return false, u.check()
}

func (u *unready) Expired(context.Context, time.Time) ([]gatebook.FoundSession, error) {
	return nil, u.check()
}

func (u *unready) Sweep(context.Context, time.Time) (int, error) { return 0, u.check() }
