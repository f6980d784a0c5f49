package sqlstore

import (
	"context"
	"errors"
	"time"
)

// budget is how long a database server may take for what is no act; an act's
// caller bounds it. A visitor must not wait for ever for a server that hangs.
const budget = 5 * time.Second

var errSlow = errors.New("the database did not answer within 5 s")

// bounded returns ctx with the budget. A file that the process reads itself does
// not hang, and there the watching would cost more than the reading.
func (s *Store) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if s.db.Dialect().Queue {
		return ctx, func() {}
	}
	return context.WithTimeoutCause(ctx, budget, errSlow)
}
