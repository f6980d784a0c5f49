package gatebooktest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/gatebook/gatebook"
)

// Step is something that the store does and [Site.Fail] makes fail.
type Step string

// The steps.
const (
	// StepFind is the read before a sign-in or another act is decided.
	StepFind Step = "find"
	// StepSession is the read of a database session.
	StepSession Step = "session"
	// StepSessions is the list of a user's sessions.
	StepSessions Step = "sessions"
	// StepAccounts is the list of a user's accounts, and StepAuthenticators that
	// of their passkeys.
	StepAccounts       Step = "accounts"
	StepAuthenticators Step = "authenticators"
	// StepExtend is moving the expiry of a database session.
	StepExtend Step = "extend"
	// StepCommit is the commit of an act; nothing of it is written.
	StepCommit Step = "commit"
	// StepConflict is a commit that meets another act at every try: the error
	// matches gatebook.ErrConflict, and nothing is written.
	StepConflict Step = "conflict"
	// StepUnknown is a commit that loses its connection, so that nobody can say
	// whether it happened (it did not): the error matches
	// gatebook.ErrCommitUnknown.
	StepUnknown Step = "unknown"
	// StepSweep is the deletion of what has expired.
	StepSweep Step = "sweep"
)

var steps = []Step{StepFind, StepSession, StepSessions, StepAccounts, StepAuthenticators, StepExtend, StepCommit, StepConflict, StepUnknown, StepSweep}

// ErrFailed is the error of a step that was made to fail.
var ErrFailed = errors.New("gatebooktest: the store was made to fail")

// Fail makes a step of the store fail, from now until the function that it
// returns is called, or the test ends.
//
//	site.Fail("session")
//	res, err := client.Get(site.URL + "/orders") // what does the page say now?
func (s *Site) Fail(step Step) (mend func()) {
	s.t.Helper()
	if !slices.Contains(steps, step) {
		s.t.Fatalf("gatebooktest: Fail(%q): the steps are %q", step, steps)
	}
	s.store.add(step, 1)
	return sync.OnceFunc(func() { s.store.add(step, -1) })
}

// store is an adapter of which steps can fail.
type store struct {
	gatebook.Adapter

	mu      sync.Mutex
	failing map[Step]int // how often Fail asked for it
}

func (s *store) add(step Step, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failing[step] += n
}

func (s *store) mendAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.failing)
}

func (s *store) err(step Step) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failing[step] > 0 {
		return fmt.Errorf("%s: %w", step, ErrFailed)
	}
	return nil
}

func (s *store) Find(ctx context.Context, q gatebook.Query) (*gatebook.Found, error) {
	if err := s.err(StepFind); err != nil {
		return nil, err
	}
	return s.Adapter.Find(ctx, q)
}

func (s *store) Session(ctx context.Context, token gatebook.Secret) (*gatebook.FoundSession, error) {
	if err := s.err(StepSession); err != nil {
		return nil, err
	}
	return s.Adapter.Session(ctx, token)
}

func (s *store) Sessions(ctx context.Context, userID string) ([]gatebook.StoredSession, error) {
	if err := s.err(StepSessions); err != nil {
		return nil, err
	}
	return s.Adapter.Sessions(ctx, userID)
}

func (s *store) Accounts(ctx context.Context, userID string) ([]gatebook.Account, error) {
	if err := s.err(StepAccounts); err != nil {
		return nil, err
	}
	return s.Adapter.Accounts(ctx, userID)
}

func (s *store) Authenticators(ctx context.Context, userID string) ([]gatebook.Authenticator, error) {
	if err := s.err(StepAuthenticators); err != nil {
		return nil, err
	}
	return s.Adapter.Authenticators(ctx, userID)
}

func (s *store) ExtendSession(ctx context.Context, token gatebook.Secret, expires time.Time) error {
	if err := s.err(StepExtend); err != nil {
		return err
	}
	return s.Adapter.ExtendSession(ctx, token, expires)
}

func (s *store) Commit(ctx context.Context, act *gatebook.Act) error {
	if err := s.err(StepCommit); err != nil {
		return err
	}
	if err := s.err(StepConflict); err != nil {
		return errors.Join(gatebook.ErrConflict, err)
	}
	if err := s.err(StepUnknown); err != nil {
		return errors.Join(gatebook.ErrCommitUnknown, err)
	}
	return s.Adapter.Commit(ctx, act)
}

func (s *store) Sweep(ctx context.Context, before time.Time) (int, error) {
	if err := s.err(StepSweep); err != nil {
		return 0, err
	}
	return s.Adapter.Sweep(ctx, before)
}
