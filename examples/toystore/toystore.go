// Package toystore is an adapter in as few lines as the contract of
// [gatebook.Adapter] allows, to begin one of your own from. It keeps everything
// in memory, so nothing outlives the process: for a program in which people sign
// in, what Commit does last has to be durable. See docs/your-own-adapter.md.
package toystore

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/book"
	"github.com/gatebook/gatebook/record"
)

// Store is a [gatebook.Adapter], and the [book.Outbox] of its book.
type Store struct {
	book *book.Book
	mu   sync.Mutex
	now  *state
}

// state is all there is at one moment. It is never changed: an act makes the
// next one from a copy, so that it is carried out wholly or not at all.
type state struct {
	users    map[string]gatebook.User
	subjects map[string]record.Key
	accounts map[gatebook.AccountKey]gatebook.Account
	sessions map[string]gatebook.StoredSession // by handle
	noted    map[string]gatebook.StoredSession // token sessions, by sid
	revoked  map[string]time.Time              // token sessions, until when, by sid
	passkeys map[string]gatebook.Authenticator // by credential id
	links    map[link]time.Time
	checks   map[[32]byte]time.Time
	outbox   []record.Entry
	holder   string // who does the housekeeping
	until    time.Time
}

type link struct{ identifier, hash string }

// New returns an empty store whose events are kept in log.
func New(log *book.Book) *Store {
	s := &Store{now: (&state{}).next()}
	s.book = log.WithOutbox(s)
	return s
}

// Book implements [gatebook.Adapter].
func (s *Store) Book() *book.Book { return s.book }

// Pending and Remove are the outbox, from which the book's sequencer takes.
func (s *Store) Pending(ctx context.Context, limit int) ([]record.Entry, error) {
	st, err := s.read(ctx)
	return st.outbox[:min(len(st.outbox), limit)], err
}

// Remove implements [book.Outbox].
func (s *Store) Remove(ctx context.Context, ids []string) error {
	return s.write(ctx, func(st *state) error {
		st.outbox = slices.DeleteFunc(st.outbox, func(e record.Entry) bool { return slices.Contains(ids, e.ID) })
		return nil
	})
}

func (s *Store) read(ctx context.Context) (*state, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now, context.Cause(ctx)
}

// write is a transaction. Acts come one after the other here, so that the order
// of the outbox is that of the writes; a store that runs them side by side
// inserts the entries last, under the locks of the rows it wrote.
func (s *Store) write(ctx context.Context, change func(*state) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := context.Cause(ctx); err != nil {
		return err
	}
	next := s.now.next()
	if err := change(next); err != nil {
		return err
	}
	s.now = next // COMMIT
	return nil
}

func (st *state) next() *state {
	return &state{
		clone(st.users), clone(st.subjects), clone(st.accounts), clone(st.sessions), clone(st.noted), clone(st.revoked),
		clone(st.passkeys), clone(st.links), clone(st.checks), slices.Clone(st.outbox), st.holder, st.until,
	}
}

func clone[K comparable, V any](m map[K]V) map[K]V {
	c := make(map[K]V, len(m))
	maps.Copy(c, m)
	return c
}

// Commit implements [gatebook.Adapter].
func (s *Store) Commit(ctx context.Context, act *gatebook.Act) error {
	if act.InTx != nil || act.Tx != nil {
		return fmt.Errorf("toystore has no *sql.Tx: %w", errors.ErrUnsupported)
	}
	if len(act.Writes)+len(act.Entries) == 0 {
		return errors.New("act without writes and entries")
	}
	err := s.write(ctx, func(st *state) error {
		for _, w := range act.Writes {
			if err := st.apply(w); err != nil {
				return fmt.Errorf("%T: %w", w, err)
			}
		}
		st.outbox = append(st.outbox, act.Entries...)
		return nil
	})
	if err == nil && len(act.Entries) > 0 {
		s.book.Wake()
	}
	return err
}

// must says that the precondition of a write does not hold.
func must(holds bool) error {
	if !holds {
		return gatebook.ErrConflict
	}
	return nil
}

func has[K comparable, V any](m map[K]V, k K) bool {
	_, ok := m[k]
	return ok
}

func (st *state) apply(w gatebook.Write) error {
	switch w := w.(type) {
	case gatebook.CreateUser:
		u := kept(w.User)
		if has(st.users, u.ID) || has(st.subjects, u.ID) || st.taken(u.Email, u.ID) {
			return gatebook.ErrConflict
		}
		st.users[u.ID] = u
		if !w.Subject.IsZero() {
			st.subjects[u.ID] = w.Subject
		}
	case gatebook.UpdateUser:
		return st.update(w)
	case gatebook.DeleteUser:
		if !has(st.users, w.ID) {
			return gatebook.ErrConflict
		}
		delete(st.users, w.ID)
		maps.DeleteFunc(st.accounts, func(_ gatebook.AccountKey, a gatebook.Account) bool { return a.UserID == w.ID })
		maps.DeleteFunc(st.sessions, func(_ string, s gatebook.StoredSession) bool { return s.UserID == w.ID })
		maps.DeleteFunc(st.passkeys, func(_ string, p gatebook.Authenticator) bool { return p.UserID == w.ID })
		for sid, note := range st.noted {
			if note.UserID == w.ID {
				st.revoke(sid, note.Expires)
			}
		}
	case gatebook.AddSubject:
		if !has(st.users, w.UserID) || has(st.subjects, w.UserID) {
			return gatebook.ErrConflict
		}
		st.subjects[w.UserID] = w.Subject
	case gatebook.LinkAccount:
		k := gatebook.AccountKey{Provider: w.Account.Provider, ProviderAccountID: w.Account.ProviderAccountID}
		if !has(st.users, w.Account.UserID) || has(st.accounts, k) {
			return gatebook.ErrConflict
		}
		w.Account.Reply = gatebook.Claims{}
		st.accounts[k] = w.Account
	case gatebook.UnlinkAccount:
		a, ok := st.accounts[w.AccountKey]
		delete(st.accounts, w.AccountKey)
		return must(ok && a.UserID == w.UserID)
	case gatebook.KeepAccount:
		return must(len(rows(st.accounts, func(a gatebook.Account) bool {
			return a.UserID == w.UserID && slices.Contains(w.Providers, a.Provider) &&
				(a.Type != gatebook.TypeWebAuthn || len(rows(st.passkeys, func(p gatebook.Authenticator) bool {
					return p.UserID == a.UserID && p.ProviderAccountID == a.ProviderAccountID
				})) > 0)
		})) > 0)
	case gatebook.CreateSession:
		row := w.Session
		row.Handle, row.Token, row.Expires, row.Begun = handle(row.Token), "", millis(row.Expires), millis(row.Begun)
		if !has(st.users, row.UserID) || has(st.sessions, row.Handle) {
			return gatebook.ErrConflict
		}
		st.sessions[row.Handle] = row
	case gatebook.AdoptSession:
		row, ok := st.sessions[w.Session.Handle]
		if !ok || row.ID != "" {
			return gatebook.ErrConflict
		}
		row.ID = w.Session.ID
		st.sessions[row.Handle] = row
	case gatebook.DeleteSession:
		ok := has(st.sessions, w.Handle)
		delete(st.sessions, w.Handle)
		return must(ok)
	case gatebook.NoteSession:
		row := w.Session
		row.Token, row.Handle, row.Expires, row.Begun = "", "", millis(row.Expires), millis(row.Begun)
		st.noted[row.ID] = row
		return must(!has(st.revoked, row.ID))
	case gatebook.RevokeToken:
		ok := !has(st.revoked, w.ID)
		st.revoke(w.ID, millis(w.Expires))
		return must(ok)
	case gatebook.CreateAuthenticator:
		p := w.Authenticator
		if !has(st.users, p.UserID) || has(st.passkeys, p.CredentialID) {
			return gatebook.ErrConflict
		}
		st.passkeys[p.CredentialID] = p
	case gatebook.CountAuthenticator:
		p, ok := st.passkeys[w.CredentialID]
		if !ok || p.Counter != w.From {
			return gatebook.ErrConflict
		}
		p.Counter, p.BackedUp = w.To, w.BackedUp
		st.passkeys[w.CredentialID] = p
	case gatebook.DeleteAuthenticator:
		p, ok := st.passkeys[w.CredentialID]
		delete(st.passkeys, w.CredentialID)
		return must(ok && p.UserID == w.UserID)
	case gatebook.CreateVerificationToken:
		l := link{w.Token.Identifier, w.Token.Hash}
		ok := !has(st.links, l)
		st.links[l] = millis(w.Token.Expires)
		return must(ok)
	case gatebook.UseVerificationToken:
		l := link{w.Identifier, w.Hash}
		ok := has(st.links, l)
		delete(st.links, l)
		return must(ok)
	case gatebook.UseCheck:
		ok := !has(st.checks, w.Digest)
		st.checks[w.Digest] = millis(w.Expires)
		return must(ok)
	default:
		return errors.ErrUnsupported
	}
	return nil
}

func (st *state) update(w gatebook.UpdateUser) error {
	u, ok := st.users[w.User.ID]
	if !ok {
		return gatebook.ErrConflict
	}
	u = kept(u) // with a map of its own
	for _, field := range w.Fields {
		switch field {
		case "name":
			u.Name = w.User.Name
		case "image":
			u.Image = w.User.Image
		case "emailVerified":
			u.EmailVerified = w.User.EmailVerified
		case "email":
			if st.taken(w.User.Email, u.ID) {
				return gatebook.ErrConflict
			}
			u.Email = w.User.Email
		default:
			v, ok := w.User.Extra[field]
			if !ok {
				return fmt.Errorf("a user has no field %q", field)
			}
			u.Extra[field] = v
		}
	}
	st.users[u.ID] = kept(u)
	return nil
}

func (st *state) revoke(sid string, until time.Time) {
	if note, ok := st.noted[sid]; ok && note.Expires.After(until) {
		until = note.Expires
	}
	delete(st.noted, sid)
	st.revoked[sid] = until
}

// kept is u as it is stored: times in milliseconds, and no map that is anybody
// else's.
func kept(u gatebook.User) gatebook.User {
	u.EmailVerified, u.Extra = millis(u.EmailVerified), clone(u.Extra)
	maps.DeleteFunc(u.Extra, func(_ string, v any) bool { return v == nil })
	return u
}

func millis(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }

// handle is what a session is known by: not its token, for a handle may be seen.
func handle(token gatebook.Secret) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// Find implements [gatebook.Adapter]. The whole answer is from one state.
func (s *Store) Find(ctx context.Context, q gatebook.Query) (*gatebook.Found, error) {
	if q.Tx != nil {
		return nil, fmt.Errorf("toystore has no *sql.Tx: %w", errors.ErrUnsupported)
	}
	st, err := s.read(ctx)
	if err != nil {
		return nil, err
	}
	f := &gatebook.Found{
		Session: st.session(q.Session), ByID: st.user(q.UserID), ByEmail: st.byEmail(q.Email),
		ByAccount: st.user(st.accounts[q.Account].UserID),
	}
	for l, expires := range st.links {
		if l.hash == q.Verification {
			f.Verification = &gatebook.VerificationToken{Identifier: l.identifier, Hash: l.hash, Expires: expires}
		}
		if l.identifier == q.LinksTo {
			f.Links = append(f.Links, expires)
		}
	}
	slices.SortFunc(f.Links, func(a, b time.Time) int { return b.Compare(a) })
	f.Links = f.Links[:min(len(f.Links), 100)]
	if q.Check != [32]byte{} {
		f.CheckUsed = has(st.checks, q.Check)
	}
	if p, ok := st.passkeys[q.Credential]; ok {
		f.Authenticator = &p
	}
	if note, ok := st.noted[q.TokenSession]; ok {
		f.TokenSession = &note
	}
	f.Revoked = has(st.revoked, q.TokenSession)
	return f, nil
}

func (st *state) user(id string) *gatebook.FoundUser {
	u, ok := st.users[id]
	if !ok {
		return nil
	}
	return &gatebook.FoundUser{User: kept(u), Subject: st.subjects[id]}
}

func (st *state) byEmail(address string) *gatebook.FoundUser {
	for id, u := range st.users {
		if u.Email == address && address != "" {
			return st.user(id)
		}
	}
	return nil
}

// taken reports whether another than id has the address. Many may have none.
func (st *state) taken(address, id string) bool {
	other := st.byEmail(address)
	return other != nil && other.User.ID != id
}

func (st *state) session(token gatebook.Secret) *gatebook.FoundSession {
	row, ok := st.sessions[handle(token)]
	if !ok {
		return nil
	}
	row.Token = token
	return &gatebook.FoundSession{Session: row, FoundUser: *st.user(row.UserID)}
}

// Session implements [gatebook.Adapter].
func (s *Store) Session(ctx context.Context, token gatebook.Secret) (*gatebook.FoundSession, error) {
	st, err := s.read(ctx)
	if err != nil {
		return nil, err
	}
	if f := st.session(token); f != nil {
		return f, nil
	}
	return nil, gatebook.ErrNotFound
}

// rows returns those of a table, in no order.
func rows[K comparable, V any](table map[K]V, are func(V) bool) []V {
	var list []V
	for _, row := range table {
		if are(row) {
			list = append(list, row)
		}
	}
	return list
}

// Sessions implements [gatebook.Adapter].
func (s *Store) Sessions(ctx context.Context, userID string) ([]gatebook.StoredSession, error) {
	st, err := s.read(ctx)
	mine := func(row gatebook.StoredSession) bool { return row.UserID == userID }
	list := append(rows(st.sessions, mine), rows(st.noted, mine)...)
	slices.SortFunc(list, func(a, b gatebook.StoredSession) int { return b.Begun.Compare(a.Begun) })
	return list[:min(len(list), 1000)], err
}

// Accounts implements [gatebook.Adapter].
func (s *Store) Accounts(ctx context.Context, userID string) ([]gatebook.Account, error) {
	st, err := s.read(ctx)
	list := rows(st.accounts, func(a gatebook.Account) bool { return a.UserID == userID })
	for i := range list {
		list[i].AccessToken, list[i].RefreshToken, list[i].IDToken = "", "", ""
	}
	slices.SortFunc(list, func(a, b gatebook.Account) int {
		return cmp.Or(cmp.Compare(a.Provider, b.Provider), cmp.Compare(a.ProviderAccountID, b.ProviderAccountID))
	})
	return list[:min(len(list), 1000)], err
}

// Authenticators implements [gatebook.Adapter].
func (s *Store) Authenticators(ctx context.Context, userID string) ([]gatebook.Authenticator, error) {
	st, err := s.read(ctx)
	list := rows(st.passkeys, func(p gatebook.Authenticator) bool { return p.UserID == userID })
	slices.SortFunc(list, func(a, b gatebook.Authenticator) int { return cmp.Compare(a.CredentialID, b.CredentialID) })
	return list[:min(len(list), 1000)], err
}

// ExtendSession implements [gatebook.Adapter].
func (s *Store) ExtendSession(ctx context.Context, token gatebook.Secret, expires time.Time) error {
	return s.write(ctx, func(st *state) error {
		row, ok := st.sessions[handle(token)]
		if !ok {
			return gatebook.ErrNotFound
		}
		row.Expires = millis(expires)
		st.sessions[row.Handle] = row
		return nil
	})
}

// Claim implements [gatebook.Adapter].
func (s *Store) Claim(ctx context.Context, holder string, d time.Duration) (mine bool, err error) {
	err = s.write(ctx, func(st *state) error {
		if mine = st.holder == holder || !time.Now().Before(st.until); mine {
			st.holder, st.until = holder, time.Now().Add(d)
		}
		return nil
	})
	return mine, err
}

// Expired implements [gatebook.Adapter].
func (s *Store) Expired(ctx context.Context, before time.Time) ([]gatebook.FoundSession, error) {
	st, err := s.read(ctx)
	var list []gatebook.FoundSession
	for _, row := range rows(st.sessions, func(row gatebook.StoredSession) bool { return row.Expires.Before(before) }) {
		list = append(list, gatebook.FoundSession{Session: row, FoundUser: *st.user(row.UserID)})
	}
	slices.SortFunc(list, func(a, b gatebook.FoundSession) int { return a.Session.Expires.Compare(b.Session.Expires) })
	return list[:min(len(list), 200)], err
}

// Sweep implements [gatebook.Adapter].
func (s *Store) Sweep(ctx context.Context, before time.Time) (n int, err error) {
	err = s.write(ctx, func(st *state) error {
		old := func(t time.Time) bool {
			if n < 4000 && t.Before(before) {
				n++
				return true
			}
			return false
		}
		maps.DeleteFunc(st.links, func(_ link, t time.Time) bool { return old(t) })
		maps.DeleteFunc(st.checks, func(_ [32]byte, t time.Time) bool { return old(t) })
		maps.DeleteFunc(st.revoked, func(_ string, t time.Time) bool { return old(t) })
		maps.DeleteFunc(st.noted, func(_ string, s gatebook.StoredSession) bool { return old(s.Expires) })
		return nil
	})
	return n, err
}
