package gatebook

import (
	"context"
	"fmt"

	"github.com/gatebook/gatebook/record"
)

// Passkeys lists the passkeys of a user, by credential id, at most 1,000. An
// unknown user has none.
func (a *Auth) Passkeys(ctx context.Context, userID string) ([]Authenticator, error) {
	if a.adapter == nil {
		return nil, errNoAdapter
	}
	if !plainText(userID) {
		return nil, nil // nobody's
	}
	list, err := a.adapter.Authenticators(ctx, userID)
	if err != nil {
		return nil, fmt.Errorf("list passkeys: %w", err)
	}
	return list, nil
}

// RemovePasskey removes a passkey, named by its [Authenticator].CredentialID,
// together with its account, and records unlinkAccount and passkey.removed. The
// error matches ErrNotFound when the user has no such passkey, and
// [ErrLastSignIn] when nothing would be left to sign in with. The authenticator
// keeps its half, which opens nothing any more.
func (a *Auth) RemovePasskey(ctx context.Context, userID, credentialID string) error {
	key, err := a.passkeyAccount(ctx, userID, credentialID)
	switch {
	case err != nil:
	case key != AccountKey{}:
		err = a.own(nil).unlink(ctx, userID, key, credentialID)
	default:
		err = a.removeOrphan(ctx, userID, credentialID)
	}
	if err != nil {
		return fmt.Errorf("remove passkey: %w", err)
	}
	return nil
}

// passkeyAccount returns the account of a user's passkey, zero when it has none.
func (a *Auth) passkeyAccount(ctx context.Context, userID, credentialID string) (AccountKey, error) {
	k, err := a.passkey(ctx, userID, credentialID)
	if err != nil {
		return AccountKey{}, err
	}
	accounts, err := a.adapter.Accounts(ctx, userID)
	if err != nil {
		return AccountKey{}, err
	}
	for _, acc := range accounts {
		if isPasskey(acc) && acc.ProviderAccountID == k.ProviderAccountID {
			return acc.key(), nil
		}
	}
	return AccountKey{}, nil
}

func (a *Auth) passkey(ctx context.Context, userID, credentialID string) (*Authenticator, error) {
	if a.adapter == nil {
		return nil, errNoAdapter
	}
	if credentialID == "" || userID == "" {
		return nil, fmt.Errorf("%w: the id of the user or of the credential is empty", ErrNotFound)
	}
	found, err := a.find(ctx, Query{Credential: credentialID})
	if err != nil {
		return nil, err
	}
	if k := found.Authenticator; k != nil && k.UserID == userID {
		return k, nil
	}
	return nil, fmt.Errorf("%w: the user has no such passkey", ErrNotFound)
}

// removeOrphan removes a passkey without an account, with which nobody can sign
// in: another program left it.
func (a *Auth) removeOrphan(ctx context.Context, userID, credentialID string) error {
	t := a.own(nil)
	return retry(func() error {
		r, actor, err := t.recorder(ctx)
		if err != nil {
			return err
		}
		user, c, err := t.user(ctx, r, userID)
		if err != nil {
			return err
		}
		k, err := a.passkey(ctx, userID, credentialID)
		if err != nil {
			return err
		}
		c.does(r.passkeyRemoved(&user.User, k), keys{user.Subject, actor}, DeleteAuthenticator{UserID: userID, CredentialID: credentialID})
		return t.commit(ctx, c)
	})
}

func (r *recorder) passkeyRemoved(u *User, k *Authenticator) *PasskeyEvent {
	ev := &PasskeyEvent{Envelope: r.envelope(record.TypePasskeyRemoved), User: u.clone(), Passkey: k}
	ev.Subject = u.ID
	return ev
}
