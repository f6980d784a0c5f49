package gatebook

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"github.com/gatebook/gatebook/record"
)

var errNoAdapter = errors.New("gatebook: without Config.Adapter there are no users to write")

// CreateUser creates a user and records createUser. An empty ID is replaced by
// one that the adapter makes ([IDMaker]), or a random UUID; the e-mail address is
// put in lower case, and what no database keeps is replaced by U+FFFD in Name and
// Image. The error matches ErrConflict when the id or the address is taken. The
// actor is the session in ctx, if the middleware put one there, else the
// application; that holds for all writes of the application.
func (a *Auth) CreateUser(ctx context.Context, u User) (*User, error) {
	return a.own(nil).CreateUser(ctx, u)
}

// UpdateUser overwrites the named fields (name, email, emailVerified, image, or
// keys of Extra) of the user u.ID and records updateUser; it returns the whole
// user. The error matches ErrNotFound when there is no such user, and
// ErrConflict when a new address is taken.
func (a *Auth) UpdateUser(ctx context.Context, u User, fields ...string) (*User, error) {
	return a.own(nil).UpdateUser(ctx, u, fields...)
}

// DeleteUser deletes a user with all accounts and sessions and records
// deleteUser. What the book holds of the person stays. The error matches
// ErrNotFound when there is no such user.
func (a *Auth) DeleteUser(ctx context.Context, id string) error {
	return a.own(nil).DeleteUser(ctx, id)
}

// LinkAccount links an account to the user acc.UserID and records linkAccount.
// Tokens that the database cannot hold whole are left out, and recorded as
// account.tokensOmitted. The error matches ErrNotFound when there is no such user,
// and ErrConflict when the account is linked already.
func (a *Auth) LinkAccount(ctx context.Context, acc Account) error {
	return a.own(nil).LinkAccount(ctx, acc)
}

// InTransaction returns the same writes as part of the application's own
// transaction on the adapter's database. They are durable, recorded and told of
// when the application commits: call [Transaction.Committed] then.
//
// Where the pool has one connection, as is usual with SQLite, use the store once
// before: what it checks at first use needs a connection of its own.
func (a *Auth) InTransaction(tx *sql.Tx) *Transaction { return a.own(tx) }

func (a *Auth) own(tx *sql.Tx) *Transaction {
	return &Transaction{a: a, tx: tx, source: record.SourceApp}
}

// Transaction carries out writes inside the application's transaction. It is
// not safe for concurrent use.
type Transaction struct {
	a      *Auth
	tx     *sql.Tx
	source string // of the events
	told   []told
}

// Committed tells the handlers of what the transaction did. Call it after the
// commit and not otherwise; without it nothing is lost but the handlers' calls.
func (t *Transaction) Committed(ctx context.Context) {
	f := t.a.handlers.begin(ctx)
	defer f.close()
	t.a.book.Wake()
	f.fireAll(t.told)
	t.told = nil
}

// recorder begins an act of the application, and returns the subject key of the
// user whose session is in ctx, if there is one.
func (t *Transaction) recorder(ctx context.Context) (*recorder, record.Key, error) {
	if t.a.adapter == nil {
		return nil, record.Key{}, errNoAdapter
	}
	if ctx.Value(inTxKey{}) != nil {
		// Said before anything is read: the store may have but one connection,
		// and the act that waits for us holds it.
		return nil, record.Key{}, errInTx
	}
	r := &recorder{a: t.a, id: newID(), now: cut(t.a.now()), source: t.source, actor: Actor{Type: record.ActorApp}}
	res, ok := ctx.Value(sessionKey{}).(*resolved)
	if !ok || res.auth != t.a {
		return r, record.Key{}, nil
	}
	// A copy, because the application may do several things at once in a
	// request, and what is told of it is made at first use.
	v := *res.visit
	r.request = t.a.request(&v)
	if res.session == nil {
		return r, record.Key{}, nil
	}
	r.actor = Actor{Type: record.ActorUser, ID: res.session.User.ID}
	key := res.session.subject
	if key.IsZero() {
		var err error
		if key, err = t.subjectKey(ctx, r.actor.ID); err != nil {
			return nil, record.Key{}, err
		}
	}
	return r, key, nil
}

// subjectKey returns the key of a user, in an act of its own when the book has not
// met them.
func (t *Transaction) subjectKey(ctx context.Context, userID string) (record.Key, error) {
	r := &recorder{a: t.a, id: newID(), now: cut(t.a.now()), source: t.source}
	u, c, err := r.meetID(ctx, t.tx, User{ID: userID})
	if err != nil || len(c.events) == 0 {
		return u.Subject, err
	}
	return u.Subject, t.commit(ctx, c)
}

// commit carries out a change.
func (t *Transaction) commit(ctx context.Context, c change) error {
	entries, err := t.a.entries(ctx, c.events)
	if err != nil {
		return err
	}
	act := &Act{Writes: c.writes, Entries: entries, Tx: t.tx, InTx: t.a.inTx(c.events)}
	if err := t.a.commit(ctx, act); err != nil {
		return err
	}
	if t.tx != nil {
		t.told = append(t.told, c.events...)
		return nil
	}
	f := t.a.handlers.begin(ctx)
	defer f.close()
	f.fireAll(c.events)
	return nil
}

// user reads a user for a write; the act begins with meeting them when the book
// has not.
func (t *Transaction) user(ctx context.Context, r *recorder, id string) (*FoundUser, change, error) {
	if id == "" {
		return nil, change{}, fmt.Errorf("%w: the user's id is empty", ErrNotFound)
	}
	found, err := t.a.find(ctx, Query{UserID: id, Tx: t.tx})
	if err != nil {
		return nil, change{}, err
	}
	if found.ByID == nil {
		return nil, change{}, fmt.Errorf("%w: user", ErrNotFound)
	}
	return found.ByID, r.meet(found.ByID), nil
}

// again runs fn anew while it conflicts, unless it is part of a transaction of
// the application, which then has failed as a whole.
func (t *Transaction) again(fn func() error) error {
	if t.tx != nil {
		return fn()
	}
	return retry(fn)
}

// CreateUser is [Auth.CreateUser] in this transaction.
func (t *Transaction) CreateUser(ctx context.Context, u User) (*User, error) {
	user := u.clone()
	user.clean()
	user.Email = lower(user.Email)
	user.EmailVerified = cut(user.EmailVerified)
	if err := user.identified(); err != nil {
		return nil, fmt.Errorf("gatebook: CreateUser: %w", err)
	}
	err := t.again(func() error {
		r, actor, err := t.recorder(ctx)
		if err != nil {
			return err
		}
		if user.ID == "" {
			if user.ID, err = t.a.newUserID(ctx, user, t.tx); err != nil {
				return err
			}
		}
		key := record.NewKey()
		ev := &CreateUserEvent{Envelope: r.envelope(record.TypeCreateUser), User: user.clone()}
		ev.Subject = user.ID
		var c change
		c.does(ev, keys{key, actor}, CreateUser{User: *user, Subject: key})
		return t.commit(ctx, c)
	})
	if err != nil {
		return nil, fmt.Errorf("create user: %w", err)
	}
	return user, nil
}

// newUserID returns an id for a user who is about to be created.
func (a *Auth) newUserID(ctx context.Context, u *User, tx *sql.Tx) (string, error) {
	maker, ok := a.adapter.(IDMaker)
	if !ok {
		return uuid.NewString(), nil
	}
	asked := u.clone()
	asked.ID = ""
	id, err := maker.NewUserID(ctx, *asked, tx)
	if err == nil && id == "" {
		err = errors.New("the adapter made an empty id")
	}
	if err != nil {
		return "", fmt.Errorf("make a user's id: %w", err)
	}
	return id, nil
}

// UpdateUser is [Auth.UpdateUser] in this transaction.
func (t *Transaction) UpdateUser(ctx context.Context, u User, fields ...string) (*User, error) {
	if len(fields) == 0 {
		return nil, errors.New("gatebook: UpdateUser: name the fields to write")
	}
	fields = slices.Compact(slices.Sorted(slices.Values(fields)))
	var user *User
	err := t.again(func() error {
		r, actor, err := t.recorder(ctx)
		if err != nil {
			return err
		}
		found, c, err := t.user(ctx, r, u.ID)
		if err != nil {
			return err
		}
		user = found.User.clone()
		for _, f := range fields {
			switch f {
			case "name":
				user.Name = u.Name
			case "email":
				user.Email = lower(u.Email)
			case "emailVerified":
				user.EmailVerified = cut(u.EmailVerified)
			case "image":
				user.Image = u.Image
			default:
				v, ok := u.Extra[f]
				if !ok {
					return fmt.Errorf("gatebook: UpdateUser: %q is neither a field nor a key of Extra", f)
				}
				if user.Extra == nil {
					user.Extra = map[string]any{}
				}
				user.Extra[f] = v
			}
		}
		user.clean()
		if err := user.identified(); err != nil {
			return fmt.Errorf("gatebook: UpdateUser: %w", err)
		}
		ev := &UpdateUserEvent{Envelope: r.envelope(record.TypeUpdateUser), User: user.clone(), Changed: fields}
		ev.Subject = user.ID
		c.does(ev, keys{found.Subject, actor}, UpdateUser{User: *user, Fields: fields})
		return t.commit(ctx, c)
	})
	if err != nil {
		return nil, fmt.Errorf("update user: %w", err)
	}
	return user, nil
}

// DeleteUser is [Auth.DeleteUser] in this transaction.
func (t *Transaction) DeleteUser(ctx context.Context, id string) error {
	err := t.again(func() error {
		r, actor, err := t.recorder(ctx)
		if err != nil {
			return err
		}
		found, c, err := t.user(ctx, r, id)
		if err != nil {
			return err
		}
		ev := &DeleteUserEvent{Envelope: r.envelope(record.TypeDeleteUser), User: found.User.clone()}
		ev.Subject = id
		c.does(ev, keys{found.Subject, actor}, DeleteUser{ID: id})
		return t.commit(ctx, c)
	})
	if err != nil {
		return fmt.Errorf("delete user: %w", err)
	}
	return nil
}

// LinkAccount is [Auth.LinkAccount] in this transaction.
func (t *Transaction) LinkAccount(ctx context.Context, acc Account) error {
	if acc.Provider == "" || acc.ProviderAccountID == "" || acc.Type == "" {
		return errors.New("gatebook: LinkAccount: Provider, ProviderAccountID and Type are required")
	}
	acc.clean()
	if err := acc.identified(); err != nil {
		return fmt.Errorf("gatebook: LinkAccount: %w", err)
	}
	err := t.again(func() error {
		r, actor, err := t.recorder(ctx)
		if err != nil {
			return err
		}
		found, c, err := t.user(ctx, r, acc.UserID)
		if err != nil {
			return err
		}
		kept, omitted, err := t.a.fit(&acc)
		if err != nil {
			return err
		}
		r.auth = AuthInfo{Provider: acc.Provider, Method: acc.Type}
		ev := &LinkAccountEvent{Envelope: r.envelope(record.TypeLinkAccount), User: found.User.clone(), Account: acc.clone()}
		ev.Subject = acc.UserID
		k := keys{found.Subject, actor}
		c.does(ev, k, LinkAccount{Account: kept})
		if len(omitted) > 0 {
			c.does(r.tokensOmitted(&found.User, &acc, omitted), k)
		}
		return t.commit(ctx, c)
	})
	if err != nil {
		return fmt.Errorf("link account: %w", err)
	}
	return nil
}
