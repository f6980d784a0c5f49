package adaptertest_test

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/adapter/memory"
)

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
