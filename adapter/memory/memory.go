// Package memory keeps users, accounts, sessions and the book in this process:
// for tests, examples and trying things out. Everything is gone when the
// process ends, so a commit is durable only as long as the process lives.
//
// Programs that people sign in to use adapter/sqlite or another adapter on a
// database. The zero Store is not usable; call [New].
package memory

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/book"
	"github.com/gatebook/gatebook/record"
)

const (
	maxRows  = 1000 // of a list
	maxLinks = 100
	maxSweep = 4000
	maxEnds  = 200
)

// Store is a [gatebook.Adapter] in memory, safe for concurrent use.
type Store struct {
	log  *book.Memory
	book *book.Book

	mu       sync.Mutex // guards the maps and the order of the outbox
	users    map[string]gatebook.User
	emails   map[string]string // address to user id
	subjects map[string]record.Key
	accounts map[gatebook.AccountKey]gatebook.Account
	sessions map[string]gatebook.StoredSession // by handle
	links    map[link]time.Time
	checks   map[[32]byte]time.Time
	tokens   map[string]gatebook.StoredSession // noted, by sid
	revoked  map[string]time.Time              // until when, by sid
	passkeys map[string]gatebook.Authenticator // by credential id
	claimed  string                            // who does the housekeeping
	until    time.Time
}

type link struct{ identifier, hash string }

var _ gatebook.Adapter = (*Store)(nil)

// New returns an empty Store with an empty book.
func New() *Store {
	log := book.NewMemory()
	return &Store{
		log:      log,
		book:     book.New(log),
		users:    make(map[string]gatebook.User),
		emails:   make(map[string]string),
		subjects: make(map[string]record.Key),
		accounts: make(map[gatebook.AccountKey]gatebook.Account),
		sessions: make(map[string]gatebook.StoredSession),
		links:    make(map[link]time.Time),
		checks:   make(map[[32]byte]time.Time),
		tokens:   make(map[string]gatebook.StoredSession),
		revoked:  make(map[string]time.Time),
		passkeys: make(map[string]gatebook.Authenticator),
	}
}

// Book returns the book that acts are recorded in.
func (s *Store) Book() *book.Book { return s.book }

// Find implements [gatebook.Adapter].
func (s *Store) Find(ctx context.Context, q gatebook.Query) (*gatebook.Found, error) {
	if q.Tx != nil {
		return nil, fmt.Errorf("memory: find in a database transaction: %w", errors.ErrUnsupported)
	}
	if err := ended(ctx); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var f gatebook.Found
	if q.Session != "" {
		f.Session = s.session(q.Session)
	}
	if q.UserID != "" {
		f.ByID = s.user(q.UserID)
	}
	if q.Email != "" {
		f.ByEmail = s.user(s.emails[q.Email])
	}
	if q.Account != (gatebook.AccountKey{}) {
		f.ByAccount = s.user(s.accounts[q.Account].UserID)
	}
	if q.Verification != "" {
		for l, expires := range s.links {
			if l.hash == q.Verification {
				f.Verification = &gatebook.VerificationToken{Identifier: l.identifier, Hash: l.hash, Expires: expires}
			}
		}
	}
	if q.Check != [32]byte{} {
		_, f.CheckUsed = s.checks[q.Check]
	}
	if q.Credential != "" {
		if p, ok := s.passkeys[q.Credential]; ok {
			p = passkey(p)
			f.Authenticator = &p
		}
	}
	if q.TokenSession != "" {
		if row, ok := s.tokens[q.TokenSession]; ok {
			f.TokenSession = &row
		}
		_, f.Revoked = s.revoked[q.TokenSession]
	}
	if q.LinksTo != "" {
		f.Links = s.linksTo(q.LinksTo)
	}
	return &f, nil
}

func (s *Store) linksTo(address string) []time.Time {
	var list []time.Time
	for l, expires := range s.links {
		if l.identifier == address {
			list = append(list, expires)
		}
	}
	slices.SortFunc(list, func(a, b time.Time) int { return b.Compare(a) })
	return list[:min(len(list), maxLinks)]
}

// passkey copies what a row does not own.
func passkey(p gatebook.Authenticator) gatebook.Authenticator {
	p.PublicKey, p.Transports = slices.Clone(p.PublicKey), slices.Clone(p.Transports)
	return p
}

// Session implements [gatebook.Adapter].
func (s *Store) Session(ctx context.Context, token gatebook.Secret) (*gatebook.FoundSession, error) {
	if err := ended(ctx); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.session(token); f != nil {
		return f, nil
	}
	return nil, fmt.Errorf("session: %w", gatebook.ErrNotFound)
}

// Sessions implements [gatebook.Adapter].
func (s *Store) Sessions(ctx context.Context, userID string) ([]gatebook.StoredSession, error) {
	if err := ended(ctx); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []gatebook.StoredSession
	for _, rows := range []map[string]gatebook.StoredSession{s.sessions, s.tokens} {
		for _, row := range rows {
			if row.UserID == userID {
				list = append(list, row)
			}
		}
	}
	slices.SortFunc(list, func(a, b gatebook.StoredSession) int {
		if c := b.Begun.Compare(a.Begun); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return list[:min(len(list), maxRows)], nil
}

// Accounts implements [gatebook.Adapter].
func (s *Store) Accounts(ctx context.Context, userID string) ([]gatebook.Account, error) {
	if err := ended(ctx); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []gatebook.Account
	for _, a := range s.accounts {
		if a.UserID == userID {
			a.AccessToken, a.RefreshToken, a.IDToken = "", "", ""
			list = append(list, a)
		}
	}
	slices.SortFunc(list, func(a, b gatebook.Account) int {
		return cmp.Or(strings.Compare(a.Provider, b.Provider), strings.Compare(a.ProviderAccountID, b.ProviderAccountID))
	})
	return list[:min(len(list), maxRows)], nil
}

// Authenticators implements [gatebook.Adapter].
func (s *Store) Authenticators(ctx context.Context, userID string) ([]gatebook.Authenticator, error) {
	if err := ended(ctx); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []gatebook.Authenticator
	for _, p := range s.passkeys {
		if p.UserID == userID {
			list = append(list, passkey(p))
		}
	}
	slices.SortFunc(list, func(a, b gatebook.Authenticator) int { return strings.Compare(a.CredentialID, b.CredentialID) })
	return list[:min(len(list), maxRows)], nil
}

// ExtendSession implements [gatebook.Adapter].
func (s *Store) ExtendSession(ctx context.Context, token gatebook.Secret, expires time.Time) error {
	if err := ended(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	row, ok := s.sessions[handle(token)]
	if !ok {
		return fmt.Errorf("extend session: %w", gatebook.ErrNotFound)
	}
	row.Expires = millis(expires)
	s.sessions[row.Handle] = row
	return nil
}

// Commit implements [gatebook.Adapter]. Acts with InTx or Tx fail with an error
// that matches [errors.ErrUnsupported].
func (s *Store) Commit(ctx context.Context, act *gatebook.Act) error {
	if act.InTx != nil || act.Tx != nil {
		return fmt.Errorf("memory: act in a database transaction: %w", errors.ErrUnsupported)
	}
	if len(act.Writes) == 0 && len(act.Entries) == 0 {
		return errors.New("memory: act without writes and entries")
	}
	if err := ended(ctx); err != nil {
		return err
	}
	if err := s.apply(act); err != nil {
		return err
	}
	if len(act.Entries) > 0 {
		s.book.Wake()
	}
	return nil
}

func (s *Store) apply(act *gatebook.Act) (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var undo undoer
	for i, w := range act.Writes {
		if err := s.write(&undo, w); err != nil {
			undo.all()
			return fmt.Errorf("write %d, %T: %w", i, w, err)
		}
	}
	// Under the same lock as the writes: acts that wrote the same row stand in
	// the outbox in the order of those writes.
	s.log.Add(act.Entries...)
	return nil
}

// Claim implements [gatebook.Adapter].
func (s *Store) Claim(ctx context.Context, holder string, d time.Duration) (bool, error) {
	if err := ended(ctx); err != nil {
		return false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if s.claimed != holder && now.Before(s.until) {
		return false, nil
	}
	s.claimed, s.until = holder, now.Add(d)
	return true, nil
}

// Expired implements [gatebook.Adapter].
func (s *Store) Expired(ctx context.Context, before time.Time) ([]gatebook.FoundSession, error) {
	if err := ended(ctx); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []gatebook.FoundSession
	for _, row := range s.sessions {
		if row.Expires.Before(before) {
			list = append(list, gatebook.FoundSession{Session: row, FoundUser: *s.user(row.UserID)})
		}
	}
	slices.SortFunc(list, func(a, b gatebook.FoundSession) int {
		return cmp.Or(a.Session.Expires.Compare(b.Session.Expires), strings.Compare(a.Session.Handle, b.Session.Handle))
	})
	return list[:min(len(list), maxEnds)], nil
}

// Sweep implements [gatebook.Adapter].
func (s *Store) Sweep(ctx context.Context, before time.Time) (int, error) {
	if err := ended(ctx); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for l, expires := range s.links {
		if n < maxSweep && expires.Before(before) {
			delete(s.links, l)
			n++
		}
	}
	for digest, expires := range s.checks {
		if n < maxSweep && expires.Before(before) {
			delete(s.checks, digest)
			n++
		}
	}
	for sid, row := range s.tokens {
		if n < maxSweep && row.Expires.Before(before) {
			delete(s.tokens, sid)
			n++
		}
	}
	for sid, expires := range s.revoked {
		if n < maxSweep && expires.Before(before) {
			delete(s.revoked, sid)
			n++
		}
	}
	return n, nil
}

func (s *Store) user(id string) *gatebook.FoundUser {
	u, ok := s.users[id]
	if !ok {
		return nil
	}
	u.Extra = maps.Clone(u.Extra)
	return &gatebook.FoundUser{User: u, Subject: s.subjects[id]}
}

func (s *Store) session(token gatebook.Secret) *gatebook.FoundSession {
	row, ok := s.sessions[handle(token)]
	if !ok {
		return nil
	}
	row.Token = token
	return &gatebook.FoundSession{Session: row, FoundUser: *s.user(row.UserID)}
}

// handle is what a session is kept under. It is a hash because a handle must
// not open the session.
func handle(token gatebook.Secret) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// millis is t as every adapter keeps it.
func millis(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return time.UnixMilli(t.UnixMilli()).UTC()
}

func ended(ctx context.Context) error {
	if ctx.Err() == nil {
		return nil
	}
	return fmt.Errorf("memory: %w", context.Cause(ctx))
}
