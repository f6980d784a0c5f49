package adaptertest_test

import (
	"context"
	"errors"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/book"
)

// broken is an adapter whose methods can be replaced.
type broken struct {
	gatebook.Adapter
	find    func(context.Context, gatebook.Query) (*gatebook.Found, error)
	commit  func(context.Context, *gatebook.Act) error
	session func(context.Context, gatebook.Secret) (*gatebook.FoundSession, error)
	list    func(context.Context, string) ([]gatebook.StoredSession, error)
	extend  func(context.Context, gatebook.Secret, time.Time) error
	sweep   func(context.Context, time.Time) (int, error)
	claim   func(context.Context, string, time.Duration) (bool, error)
	expired func(context.Context, time.Time) ([]gatebook.FoundSession, error)
	book    func() *book.Book
}

func (b broken) Claim(ctx context.Context, holder string, d time.Duration) (bool, error) {
	if b.claim != nil {
		return b.claim(ctx, holder, d)
	}
	return b.Adapter.Claim(ctx, holder, d)
}

func (b broken) Expired(ctx context.Context, before time.Time) ([]gatebook.FoundSession, error) {
	if b.expired != nil {
		return b.expired(ctx, before)
	}
	return b.Adapter.Expired(ctx, before)
}

func (b broken) Find(ctx context.Context, q gatebook.Query) (*gatebook.Found, error) {
	if b.find != nil {
		return b.find(ctx, q)
	}
	return b.Adapter.Find(ctx, q)
}

func (b broken) Commit(ctx context.Context, act *gatebook.Act) error {
	if b.commit != nil {
		return b.commit(ctx, act)
	}
	return b.Adapter.Commit(ctx, act)
}

func (b broken) Session(ctx context.Context, token gatebook.Secret) (*gatebook.FoundSession, error) {
	if b.session != nil {
		return b.session(ctx, token)
	}
	return b.Adapter.Session(ctx, token)
}

func (b broken) Sessions(ctx context.Context, id string) ([]gatebook.StoredSession, error) {
	if b.list != nil {
		return b.list(ctx, id)
	}
	return b.Adapter.Sessions(ctx, id)
}

func (b broken) ExtendSession(ctx context.Context, token gatebook.Secret, to time.Time) error {
	if b.extend != nil {
		return b.extend(ctx, token, to)
	}
	return b.Adapter.ExtendSession(ctx, token, to)
}

func (b broken) Sweep(ctx context.Context, before time.Time) (int, error) {
	if b.sweep != nil {
		return b.sweep(ctx, before)
	}
	return b.Adapter.Sweep(ctx, before)
}

func (b broken) Book() *book.Book {
	if b.book != nil {
		return b.book()
	}
	return b.Adapter.Book()
}

// checker says of every write that the store can hold it.
type checker struct{ broken }

func (checker) CheckWrite(context.Context, gatebook.Write) error { return nil }

// changed returns an act whose writes went through change.
func changed(act *gatebook.Act, change func(gatebook.Write) gatebook.Write) *gatebook.Act {
	c := *act
	c.Writes = nil
	for _, w := range act.Writes {
		if w = change(w); w != nil {
			c.Writes = append(c.Writes, w)
		}
	}
	return &c
}

// writing breaks what acts write.
func writing(change func(gatebook.Write) gatebook.Write) func(gatebook.Adapter) gatebook.Adapter {
	return func(a gatebook.Adapter) gatebook.Adapter {
		return broken{Adapter: a, commit: func(ctx context.Context, act *gatebook.Act) error {
			return a.Commit(ctx, changed(act, change))
		}}
	}
}

var faults = map[string]struct {
	says  string
	spoil func(gatebook.Adapter) gatebook.Adapter
}{
	"each write on its own": {"When a precondition does not hold everything is rolled back", func(a gatebook.Adapter) gatebook.Adapter {
		return broken{Adapter: a, commit: func(ctx context.Context, act *gatebook.Act) error {
			for _, w := range act.Writes {
				if err := a.Commit(ctx, &gatebook.Act{Writes: []gatebook.Write{w}}); err != nil {
					return err
				}
			}
			if len(act.Entries) == 0 && len(act.Writes) > 0 {
				return nil
			}
			return a.Commit(ctx, &gatebook.Act{Entries: act.Entries, InTx: act.InTx, Tx: act.Tx})
		}}
	}},
	"entries before writes": {"put its entry into the book", func(a gatebook.Adapter) gatebook.Adapter {
		return broken{Adapter: a, commit: func(ctx context.Context, act *gatebook.Act) error {
			if len(act.Entries) > 0 {
				if err := a.Commit(ctx, &gatebook.Act{Entries: act.Entries}); err != nil || len(act.Writes) == 0 {
					return err
				}
			}
			return a.Commit(ctx, &gatebook.Act{Writes: act.Writes, InTx: act.InTx, Tx: act.Tx})
		}}
	}},
	"entries behind the lock": {"Acts that wrote the same row come in the order of those writes.", func(a gatebook.Adapter) gatebook.Adapter {
		var mu sync.Mutex
		var late *gatebook.Act
		return broken{Adapter: a, commit: func(ctx context.Context, act *gatebook.Act) error {
			if len(act.Writes) == 0 || len(act.Entries) != 1 || act.InTx != nil {
				return a.Commit(ctx, act)
			}
			err := a.Commit(ctx, &gatebook.Act{Writes: act.Writes})
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			// Every other act's entry is held back until after the next one's.
			if _, unlink := act.Writes[0].(gatebook.LinkAccount); unlink && late == nil {
				late = &gatebook.Act{Entries: act.Entries}
				return nil
			}
			err = a.Commit(ctx, &gatebook.Act{Entries: act.Entries})
			if late != nil {
				err = errors.Join(err, a.Commit(ctx, late))
				late = nil
			}
			return err
		}}
	}},
	"conflicts are fine": {"Of concurrent acts that use one check exactly one succeeds.", func(a gatebook.Adapter) gatebook.Adapter {
		return broken{Adapter: a, commit: func(ctx context.Context, act *gatebook.Act) error {
			if err := a.Commit(ctx, act); !errors.Is(err, gatebook.ErrConflict) {
				return err
			}
			return nil
		}}
	}},
	"conflict is another error": {"want an error that matches ErrConflict", func(a gatebook.Adapter) gatebook.Adapter {
		return broken{Adapter: a, commit: func(ctx context.Context, act *gatebook.Act) error {
			if err := a.Commit(ctx, act); !errors.Is(err, gatebook.ErrConflict) {
				return err
			}
			return errors.New("duplicate key")
		}}
	}},
	"unknown writes are passed over": {"Adapters refuse writes that they do not know", writing(func(w gatebook.Write) gatebook.Write {
		switch w.(type) {
		case gatebook.CreateUser, gatebook.UpdateUser, gatebook.DeleteUser, gatebook.AddSubject, gatebook.LinkAccount,
			gatebook.UnlinkAccount, gatebook.CreateSession, gatebook.DeleteSession, gatebook.CreateVerificationToken,
			gatebook.UseVerificationToken, gatebook.UseCheck:
			return w
		}
		return gatebook.UseCheck{Digest: [32]byte{byte(time.Now().UnixNano())}, Expires: time.Now()}
	})},
	"whole seconds": {"Times are UTC and kept to the millisecond, whatever zone", writing(func(w gatebook.Write) gatebook.Write {
		if c, ok := w.(gatebook.CreateSession); ok {
			c.Session.Expires = c.Session.Expires.Truncate(time.Second)
			return c
		}
		return w
	})},
	"addresses without accents": {"E-mail addresses are kept exactly", writing(func(w gatebook.Write) gatebook.Write {
		if c, ok := w.(gatebook.CreateUser); ok {
			c.User.Email = strings.NewReplacer("\u00e9", "e", "\u00df", "ss").Replace(c.User.Email)
			return c
		}
		return w
	})},
	"names cut": {"Strings are kept exactly or refused, never cut.", writing(func(w gatebook.Write) gatebook.Write {
		if c, ok := w.(gatebook.CreateUser); ok && len(c.User.Name) > 255 {
			c.User.Name = c.User.Name[:255]
			return c
		}
		return w
	})},
	"long names refused as a fault": {"what cannot be held is refused with an error that matches ErrUnfit", func(a gatebook.Adapter) gatebook.Adapter {
		return broken{Adapter: a, commit: func(ctx context.Context, act *gatebook.Act) error {
			for _, w := range act.Writes {
				if c, ok := w.(gatebook.CreateUser); ok && len(c.User.Name) > 255 {
					return errors.New("value too long")
				}
			}
			return a.Commit(ctx, act)
		}}
	}},
	"CheckWrite passes all": {"CheckWrite = <nil> of a write with which Commit", func(a gatebook.Adapter) gatebook.Adapter {
		return checker{broken{Adapter: a, commit: func(ctx context.Context, act *gatebook.Act) error {
			for _, w := range act.Writes {
				if c, ok := w.(gatebook.CreateUser); ok && len(c.User.Name) > 255 {
					return gatebook.ErrUnfit
				}
			}
			return a.Commit(ctx, act)
		}}}
	}},
	"broken text mended": {"Strings with NUL or invalid UTF-8 are refused or kept exactly", writing(func(w gatebook.Write) gatebook.Write {
		if c, ok := w.(gatebook.CreateUser); ok {
			c.User.Name = strings.ToValidUTF8(c.User.Name, "\ufffd")
			return c
		}
		return w
	})},
	"update of everything": {"UpdateUser overwrites the named fields and no others.", writing(func(w gatebook.Write) gatebook.Write {
		if c, ok := w.(gatebook.UpdateUser); ok {
			c.Fields = append(slices.Clone(c.Fields), "image")
			return c
		}
		return w
	})},
	"subject keys lost": {"A created user comes back as it was given, with its subject key.", writing(func(w gatebook.Write) gatebook.Write {
		if c, ok := w.(gatebook.CreateUser); ok {
			c.Subject = [16]byte{}
			return c
		}
		return w
	})},
	"by id for all": {"Find answers all members of a Query at once.", func(a gatebook.Adapter) gatebook.Adapter {
		return broken{Adapter: a, find: func(ctx context.Context, q gatebook.Query) (*gatebook.Found, error) {
			if q.UserID != "" && q.Email != "" {
				q.Email = ""
			}
			return a.Find(ctx, q)
		}}
	}},
	"absent is an error": {"What does not exist is nil or false in Find's answer, never an error.", func(a gatebook.Adapter) gatebook.Adapter {
		return broken{Adapter: a, find: func(ctx context.Context, q gatebook.Query) (*gatebook.Found, error) {
			f, err := a.Find(ctx, q)
			if err == nil && reflect.DeepEqual(*f, gatebook.Found{}) {
				return nil, gatebook.ErrNotFound
			}
			return f, err
		}}
	}},
	"counter not compared": {"CountAuthenticator moves the counter from the stored one", func(a gatebook.Adapter) gatebook.Adapter {
		return broken{Adapter: a, commit: func(ctx context.Context, act *gatebook.Act) error {
			return a.Commit(ctx, changed(act, func(w gatebook.Write) gatebook.Write {
				if c, ok := w.(gatebook.CountAuthenticator); ok {
					if f, err := a.Find(ctx, gatebook.Query{Credential: c.CredentialID}); err == nil && f.Authenticator != nil {
						c.From = f.Authenticator.Counter
					}
					return c
				}
				return w
			}))
		}}
	}},
	"passkey of anybody": {"DeleteAuthenticator deletes that passkey", func(a gatebook.Adapter) gatebook.Adapter {
		return broken{Adapter: a, commit: func(ctx context.Context, act *gatebook.Act) error {
			return a.Commit(ctx, changed(act, func(w gatebook.Write) gatebook.Write {
				if d, ok := w.(gatebook.DeleteAuthenticator); ok {
					if f, err := a.Find(ctx, gatebook.Query{Credential: d.CredentialID}); err == nil && f.Authenticator != nil {
						d.UserID = f.Authenticator.UserID
					}
					return d
				}
				return w
			}))
		}}
	}},
	"revocation forgotten": {"RevokeToken ends a token session for good", writing(func(w gatebook.Write) gatebook.Write {
		if _, ok := w.(gatebook.RevokeToken); ok {
			return nil
		}
		return w
	})},
	"revocation short": {"A revocation is kept as long as the note would have been.", func(a gatebook.Adapter) gatebook.Adapter {
		return broken{Adapter: a, sweep: func(ctx context.Context, before time.Time) (int, error) {
			return a.Sweep(ctx, before.Add(time.Hour))
		}}
	}},
	"last account removed": {"KeepAccount conflicts after the write that removes the last account.", writing(func(w gatebook.Write) gatebook.Write {
		if _, ok := w.(gatebook.KeepAccount); ok {
			return nil
		}
		return w
	})},
	"two states": {"Find answers from one consistent state", func(a gatebook.Adapter) gatebook.Adapter {
		return broken{Adapter: a, find: func(ctx context.Context, q gatebook.Query) (*gatebook.Found, error) {
			f, err := a.Find(ctx, q)
			if err != nil || f.Verification == nil || q.Check == [32]byte{} || f.CheckUsed {
				return f, err
			}
			// If an act is at work it gets the time to finish.
			for range 20_000 {
				late, err := a.Find(ctx, q)
				if err != nil {
					return nil, err
				}
				if f.CheckUsed = late.CheckUsed; f.CheckUsed {
					break
				}
			}
			return f, nil
		}}
	}},
	"expired is unknown": {"An expired session is returned like any other.", func(a gatebook.Adapter) gatebook.Adapter {
		return broken{Adapter: a, session: func(ctx context.Context, token gatebook.Secret) (*gatebook.FoundSession, error) {
			f, err := a.Session(ctx, token)
			if err == nil && f.Session.Expires.Before(time.Now()) {
				return nil, gatebook.ErrNotFound
			}
			return f, err
		}}
	}},
	"unknown is nothing": {"Unknown tokens give an error that matches ErrNotFound.", func(a gatebook.Adapter) gatebook.Adapter {
		return broken{Adapter: a, session: func(ctx context.Context, token gatebook.Secret) (*gatebook.FoundSession, error) {
			f, err := a.Session(ctx, token)
			if errors.Is(err, gatebook.ErrNotFound) {
				return nil, nil
			}
			return f, err
		}}
	}},
	"local time": {"Times are UTC and kept to the millisecond, whatever zone", func(a gatebook.Adapter) gatebook.Adapter {
		return broken{Adapter: a, session: func(ctx context.Context, token gatebook.Secret) (*gatebook.FoundSession, error) {
			f, err := a.Session(ctx, token)
			if err == nil {
				f.Session.Expires = f.Session.Expires.In(time.FixedZone("here", 3600))
			}
			return f, err
		}}
	}},
	"oldest first": {"Sessions lists a user's sessions, expired ones too, newest first, without tokens.", func(a gatebook.Adapter) gatebook.Adapter {
		return broken{Adapter: a, list: func(ctx context.Context, id string) ([]gatebook.StoredSession, error) {
			list, err := a.Sessions(ctx, id)
			slices.Reverse(list)
			return list, err
		}}
	}},
	"renewal brings back": {"ExtendSession does not bring back a session that is gone", func(a gatebook.Adapter) gatebook.Adapter {
		return broken{Adapter: a, extend: func(ctx context.Context, token gatebook.Secret, to time.Time) error {
			if err := a.ExtendSession(ctx, token, to); !errors.Is(err, gatebook.ErrNotFound) {
				return err
			}
			return nil
		}}
	}},
	"sweep too much": {"Sweep deletes what expired before the time, to the millisecond", func(a gatebook.Adapter) gatebook.Adapter {
		return broken{Adapter: a, sweep: func(ctx context.Context, before time.Time) (int, error) {
			return a.Sweep(ctx, before.Add(time.Millisecond))
		}}
	}},
	"sweep all": {"Sweep deletes at most a few thousand rows a call", func(a gatebook.Adapter) gatebook.Adapter {
		return broken{Adapter: a, sweep: func(ctx context.Context, before time.Time) (int, error) {
			total := 0
			for {
				n, err := a.Sweep(ctx, before)
				if total += n; n == 0 || err != nil {
					return total, err
				}
			}
		}}
	}},
	"claims for all": {"Who has the claim renews it and keeps everybody else from it.", func(a gatebook.Adapter) gatebook.Adapter {
		return broken{Adapter: a, claim: func(ctx context.Context, _ string, _ time.Duration) (bool, error) {
			return ctx.Err() == nil, context.Cause(ctx)
		}}
	}},
	"claims looked up before they are made": {"Of many who claim at once one has the claim.", func(a gatebook.Adapter) gatebook.Adapter {
		var claimed atomic.Bool
		return broken{Adapter: a, claim: func(ctx context.Context, name string, d time.Duration) (bool, error) {
			if claimed.Load() || d < time.Second {
				return a.Claim(ctx, name, d)
			}
			runtime.Gosched()
			claimed.Store(true)
			_, err := a.Claim(ctx, name, d)
			return err == nil, err
		}}
	}},
	"expired too soon": {"Expired lists database sessions that expired before the time", func(a gatebook.Adapter) gatebook.Adapter {
		return broken{Adapter: a, expired: func(ctx context.Context, before time.Time) ([]gatebook.FoundSession, error) {
			return a.Expired(ctx, before.Add(time.Millisecond))
		}}
	}},
	"expired without their users": {"Expired lists database sessions that expired before the time, with their users", func(a gatebook.Adapter) gatebook.Adapter {
		return broken{Adapter: a, expired: func(ctx context.Context, before time.Time) ([]gatebook.FoundSession, error) {
			list, err := a.Expired(ctx, before)
			for i := range list {
				list[i].FoundUser = gatebook.FoundUser{}
			}
			return list, err
		}}
	}},
	"expired newest first": {"Expired lists at most 200, the oldest.", func(a gatebook.Adapter) gatebook.Adapter {
		return broken{Adapter: a, expired: func(ctx context.Context, before time.Time) ([]gatebook.FoundSession, error) {
			list, err := a.Expired(ctx, before)
			slices.Reverse(list)
			return list, err
		}}
	}},
	"adopted by another ID": {"AdoptSession notes the ID of a session", writing(func(w gatebook.Write) gatebook.Write {
		if c, ok := w.(gatebook.AdoptSession); ok {
			c.Session.ID = c.Session.Handle
			return c
		}
		return w
	})},
	"adopted twice": {"Of many who meet a foreign session at once one tells of it.", func(a gatebook.Adapter) gatebook.Adapter {
		return broken{Adapter: a, commit: func(ctx context.Context, act *gatebook.Act) error {
			err := a.Commit(ctx, act)
			if len(act.Writes) == 1 && errors.Is(err, gatebook.ErrConflict) {
				if _, ok := act.Writes[0].(gatebook.AdoptSession); ok {
					return a.Commit(ctx, &gatebook.Act{Entries: act.Entries})
				}
			}
			return err
		}}
	}},
	"tokens cut": {"A token is stored whole or named by Unfit", writing(func(w gatebook.Write) gatebook.Write {
		if c, ok := w.(gatebook.LinkAccount); ok {
			c.Account.Scope = c.Account.Scope[:min(len(c.Account.Scope), 255)]
			return c
		}
		return w
	})},
	"times rounded": {"What is finer than the column is cut, never rounded up", writing(func(w gatebook.Write) gatebook.Write {
		if c, ok := w.(gatebook.CreateSession); ok {
			c.Session.Expires = c.Session.Expires.Round(time.Millisecond)
			return c
		}
		return w
	})},
	"ids trimmed": {"What is no id of the store is no user's", func(a gatebook.Adapter) gatebook.Adapter {
		return broken{Adapter: a, find: func(ctx context.Context, q gatebook.Query) (*gatebook.Found, error) {
			q.UserID = strings.TrimSpace(q.UserID)
			return a.Find(ctx, q)
		}}
	}},
	"no tables is nothing": {"Until its tables are right every method fails", func(a gatebook.Adapter) gatebook.Adapter {
		return broken{Adapter: a, session: func(ctx context.Context, token gatebook.Secret) (*gatebook.FoundSession, error) {
			f, err := a.Session(ctx, token)
			if err != nil && strings.Contains(err.Error(), "no tables") {
				return nil, gatebook.ErrNotFound
			}
			return f, err
		}}
	}},
	"tokens without case": {"The token of a session is kept exactly", func(a gatebook.Adapter) gatebook.Adapter {
		return broken{Adapter: a, session: func(ctx context.Context, token gatebook.Secret) (*gatebook.FoundSession, error) {
			f, err := a.Session(ctx, token)
			if errors.Is(err, gatebook.ErrNotFound) {
				return a.Session(ctx, gatebook.Secret(strings.ToLower(string(token))))
			}
			return f, err
		}, commit: func(ctx context.Context, act *gatebook.Act) error {
			return a.Commit(ctx, changed(act, func(w gatebook.Write) gatebook.Write {
				if c, ok := w.(gatebook.CreateSession); ok && c.Session.Token == "REN\u00c9" {
					c.Session.Token = "ren\u00e9"
					return c
				}
				return w
			}))
		}}
	}},
	"accounts without spaces": {"An account is the pair of provider and account id, kept exactly.", func(a gatebook.Adapter) gatebook.Adapter {
		return broken{Adapter: a, find: func(ctx context.Context, q gatebook.Query) (*gatebook.Found, error) {
			q.Account.ProviderAccountID = strings.TrimRight(q.Account.ProviderAccountID, " ")
			return a.Find(ctx, q)
		}}
	}},
	"identifiers without case": {"The identifier of a magic link is kept exactly", writing(func(w gatebook.Write) gatebook.Write {
		if c, ok := w.(gatebook.CreateVerificationToken); ok {
			c.Token.Identifier = strings.ToLower(c.Token.Identifier)
			return c
		}
		if c, ok := w.(gatebook.UseVerificationToken); ok {
			c.Identifier = strings.ToLower(c.Identifier)
			return c
		}
		return w
	})},
	"broken questions": {"What cannot be stored does not exist: to ask for it is no error.", func(a gatebook.Adapter) gatebook.Adapter {
		return broken{Adapter: a, find: func(ctx context.Context, q gatebook.Query) (*gatebook.Found, error) {
			if !utf8.ValidString(q.Email) {
				return nil, errors.New("invalid byte sequence")
			}
			return a.Find(ctx, q)
		}}
	}},
	"half of crossing acts": {"Acts that write the same rows in opposite orders are carried out or conflict", func(a gatebook.Adapter) gatebook.Adapter {
		return broken{Adapter: a, commit: func(ctx context.Context, act *gatebook.Act) error {
			if len(act.Writes) != 3 {
				return a.Commit(ctx, act)
			}
			if _, ok := act.Writes[2].(gatebook.UpdateUser); !ok {
				return a.Commit(ctx, act)
			}
			err := a.Commit(ctx, &gatebook.Act{Writes: act.Writes[:1]})
			if err != nil {
				return err
			}
			runtime.Gosched()
			return a.Commit(ctx, &gatebook.Act{Writes: act.Writes[1:], Entries: act.Entries})
		}}
	}},
	"orphans": {"Acts that delete users while others write to them leave no orphan.", func(a gatebook.Adapter) gatebook.Adapter {
		return broken{Adapter: a, commit: func(ctx context.Context, act *gatebook.Act) error {
			if len(act.Writes) != 1 {
				return a.Commit(ctx, act)
			}
			d, ok := act.Writes[0].(gatebook.DeleteUser)
			if !ok {
				return a.Commit(ctx, act)
			}
			left, err := a.Accounts(ctx, d.ID)
			if err != nil {
				return err
			}
			if err := a.Commit(ctx, act); err != nil {
				return err
			}
			ghost := gatebook.User{ID: "ghost of " + d.ID}
			writes := []gatebook.Write{gatebook.CreateUser{User: ghost}}
			for _, account := range left {
				account.UserID = ghost.ID
				writes = append(writes, gatebook.LinkAccount{Account: account})
			}
			return a.Commit(ctx, &gatebook.Act{Writes: writes})
		}}
	}},
	"a new book": {"Book returns the same value at every call.", func(a gatebook.Adapter) gatebook.Adapter {
		return broken{Adapter: a, book: func() *book.Book { return book.New(book.NewMemory()) }}
	}},
	"deaf to contexts": {"A method whose context has ended returns an error that matches its cause", func(a gatebook.Adapter) gatebook.Adapter {
		return broken{Adapter: a, commit: func(ctx context.Context, act *gatebook.Act) error {
			return a.Commit(context.WithoutCancel(ctx), act)
		}}
	}},
	"no cause": {"want an error that matches the context's cause", func(a gatebook.Adapter) gatebook.Adapter {
		return broken{Adapter: a, session: func(ctx context.Context, token gatebook.Secret) (*gatebook.FoundSession, error) {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			return a.Session(ctx, token)
		}}
	}},
	"InTx is passed over": {"fail what has InTx or Tx with an error that matches errors.ErrUnsupported", func(a gatebook.Adapter) gatebook.Adapter {
		return broken{Adapter: a, commit: func(ctx context.Context, act *gatebook.Act) error {
			c := *act
			c.InTx, c.Tx = nil, nil
			return a.Commit(ctx, &c)
		}}
	}},
}
