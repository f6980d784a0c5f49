package gatebook

import (
	"context"
	"fmt"
)

// Passkeys lists the passkeys of a user, by credential id, at most 1,000. An
// unknown user has none.
func (a *Auth) Passkeys(ctx context.Context, userID string) ([]Authenticator, error) {
	if a.adapter == nil {
		return nil, errNoAdapter
	}
	list, err := a.adapter.Authenticators(ctx, userID)
	if err != nil {
		return nil, fmt.Errorf("list passkeys: %w", err)
	}
	return list, nil
}
