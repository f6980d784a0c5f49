package gatebook

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/gatebook/gatebook/record"
)

// ErrLastSignIn says that an account was not removed because the user could not
// sign in any more.
var ErrLastSignIn = errors.New("gatebook: this is the user's last way to sign in")

// Accounts lists the accounts of a user, by provider and account id, at most
// 1,000, without their tokens. An unknown user has none.
func (a *Auth) Accounts(ctx context.Context, userID string) ([]Account, error) {
	if a.adapter == nil {
		return nil, errNoAdapter
	}
	if !plainText(userID) {
		return nil, nil // nobody's
	}
	list, err := a.adapter.Accounts(ctx, userID)
	if err != nil {
		return nil, fmt.Errorf("list accounts: %w", err)
	}
	return list, nil
}

// UnlinkAccount removes an account from a user, an account of a passkey together
// with the passkey, and records unlinkAccount and passkey.removed. The error matches ErrNotFound when the user has no such account, and
// [ErrLastSignIn] when nothing would be left to sign in with: no account at a
// configured provider, and no address with a provider that sends links. Of
// passwords, which the application keeps, Gatebook knows nothing.
func (a *Auth) UnlinkAccount(ctx context.Context, userID string, key AccountKey) error {
	return a.own(nil).UnlinkAccount(ctx, userID, key)
}

// UnlinkAccount is [Auth.UnlinkAccount] in this transaction.
func (t *Transaction) UnlinkAccount(ctx context.Context, userID string, key AccountKey) error {
	return t.unlink(ctx, userID, key, key.ProviderAccountID)
}

// unlink removes an account, and the passkey of that id if the account is its.
func (t *Transaction) unlink(ctx context.Context, userID string, key AccountKey, credentialID string) error {
	err := t.again(func() error {
		r, actor, err := t.recorder(ctx)
		if err != nil {
			return err
		}
		found, c, err := t.user(ctx, r, userID)
		if err != nil {
			return err
		}
		passkey, err := t.linked(ctx, userID, key, credentialID)
		if err != nil {
			return err
		}
		r.auth.Provider = key.Provider
		ev := &UnlinkAccountEvent{Envelope: r.envelope(record.TypeUnlinkAccount), User: found.User.clone(),
			Account: &Account{UserID: userID, Provider: key.Provider, ProviderAccountID: key.ProviderAccountID}}
		ev.Subject = userID
		k := keys{found.Subject, actor}
		c.does(ev, k, UnlinkAccount{UserID: userID, AccountKey: key})
		if passkey != nil { // nobody could sign in with what is left
			c.does(r.passkeyRemoved(&found.User, passkey), k, DeleteAuthenticator{UserID: userID, CredentialID: passkey.CredentialID})
		}
		return t.remove(ctx, &found.User, key, c)
	})
	if err != nil {
		return fmt.Errorf("unlink account: %w", err)
	}
	return nil
}

// linked returns the passkey whose account it is, nil when it is no passkey's,
// and an error that matches ErrNotFound when the user has no such account.
func (t *Transaction) linked(ctx context.Context, userID string, key AccountKey, credentialID string) (*Authenticator, error) {
	found, err := t.a.find(ctx, Query{Account: key, Credential: credentialID, Tx: t.tx})
	if err != nil {
		return nil, err
	}
	if found.ByAccount == nil || found.ByAccount.User.ID != userID {
		return nil, fmt.Errorf("%w: the user has no such account", ErrNotFound)
	}
	if p := found.Authenticator; p != nil && p.UserID == userID && p.ProviderAccountID == key.ProviderAccountID {
		return p, nil
	}
	return nil, nil
}

// remove commits what removes a way to sign in, the account gone, unless it
// is the last. That is decided in the commit, so that two who each remove one of
// the last two ways do not both succeed.
func (t *Transaction) remove(ctx context.Context, u *User, gone AccountKey, c change) error {
	if t.a.linkTo(u) {
		return t.commit(ctx, c)
	}
	c.writes = append(c.writes, KeepAccount{UserID: u.ID, Providers: t.a.accountProviders()})
	err := t.commit(ctx, c)
	if !isConflict(err) {
		return err
	}
	if t.tx != nil { // accounts cannot be listed inside a transaction
		return fmt.Errorf("%w, or another act was in the way: %w", ErrLastSignIn, err)
	}
	ways, werr := t.a.ways(ctx, u.ID)
	if werr != nil {
		return werr
	}
	if !slices.ContainsFunc(ways, func(acc Account) bool { return acc.key() != gone }) {
		return ErrLastSignIn
	}
	return err
}

// linkTo reports whether a user can sign in by magic link: some provider sends
// links to the address as it is stored. Another program may have stored it in
// other letters, and then whoever opens a link is somebody new.
func (a *Auth) linkTo(u *User) bool {
	return slices.ContainsFunc(a.cfg.Providers, func(p Provider) bool {
		mail, ok := p.(EmailProvider)
		return ok && sendsTo(mail, u)
	})
}

func sendsTo(p EmailProvider, u *User) bool {
	if u.Email == "" {
		return false
	}
	address, err := guard(func() (string, error) { return p.Normalize(u.Email) })
	return err == nil && address == u.Email
}

// accountProviders returns the ids of the providers that have accounts.
func (a *Auth) accountProviders() []string {
	var ids []string
	for _, p := range a.cfg.Providers {
		switch p.(type) {
		case EmailProvider, CredentialsProvider:
		default:
			ids = append(ids, p.Info().ID)
		}
	}
	return ids
}

// ways returns the accounts with which a user can sign in as things are
// configured, as KeepAccount counts them. Beside them there may be [Auth.linkTo].
func (a *Auth) ways(ctx context.Context, userID string) ([]Account, error) {
	list, err := a.Accounts(ctx, userID)
	if err != nil {
		return nil, err
	}
	providers := a.accountProviders()
	ways := slices.DeleteFunc(slices.Clone(list), func(acc Account) bool { return !slices.Contains(providers, acc.Provider) })
	if !slices.ContainsFunc(ways, isPasskey) {
		return ways, nil
	}
	keys, err := a.adapter.Authenticators(ctx, userID)
	if err != nil {
		return nil, fmt.Errorf("list passkeys: %w", err)
	}
	return slices.DeleteFunc(ways, func(acc Account) bool {
		return isPasskey(acc) && !slices.ContainsFunc(keys, func(k Authenticator) bool { return k.ProviderAccountID == acc.ProviderAccountID })
	}), nil
}

func isPasskey(acc Account) bool { return acc.Type == TypeWebAuthn }
