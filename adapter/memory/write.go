package memory

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/gatebook/gatebook"
)

// undoer remembers how to take back the writes of an act, so that one that
// conflicts leaves nothing of those before it.
type undoer []func()

func (u *undoer) all() {
	for i := len(*u) - 1; i >= 0; i-- {
		(*u)[i]()
	}
}

// put sets m[k], or deletes it when v is nil, and remembers what was there.
func put[K comparable, V any](u *undoer, m map[K]V, k K, v *V) {
	old, had := m[k]
	*u = append(*u, func() {
		if had {
			m[k] = old
		} else {
			delete(m, k)
		}
	})
	if v == nil {
		delete(m, k)
	} else {
		m[k] = *v
	}
}

func has[K comparable, V any](m map[K]V, k K) bool {
	_, ok := m[k]
	return ok
}

func (s *Store) write(undo *undoer, w gatebook.Write) error {
	switch w := w.(type) {
	case gatebook.CreateUser:
		return s.createUser(undo, w)
	case gatebook.UpdateUser:
		return s.updateUser(undo, w)
	case gatebook.DeleteUser:
		return s.deleteUser(undo, w.ID)
	case gatebook.AddSubject:
		switch {
		case w.Subject.IsZero():
			return errors.New("subject key is zero")
		case !has(s.users, w.UserID) || has(s.subjects, w.UserID):
			return gatebook.ErrConflict
		}
		put(undo, s.subjects, w.UserID, &w.Subject)
	case gatebook.LinkAccount:
		key := gatebook.AccountKey{Provider: w.Account.Provider, ProviderAccountID: w.Account.ProviderAccountID}
		if !has(s.users, w.Account.UserID) || has(s.accounts, key) {
			return gatebook.ErrConflict
		}
		w.Account.Reply = gatebook.Claims{}
		put(undo, s.accounts, key, &w.Account)
	case gatebook.UnlinkAccount:
		if a, ok := s.accounts[w.AccountKey]; !ok || a.UserID != w.UserID {
			return gatebook.ErrConflict
		}
		put(undo, s.accounts, w.AccountKey, nil)
	case gatebook.KeepAccount:
		if !s.keeps(w) {
			return gatebook.ErrConflict
		}
	case gatebook.CreateSession:
		row := w.Session
		if row.Token == "" {
			return errors.New("session token is empty")
		}
		row.Handle = handle(row.Token)
		if !has(s.users, row.UserID) || has(s.sessions, row.Handle) {
			return gatebook.ErrConflict
		}
		row.Token, row.Expires, row.Begun = "", millis(row.Expires), millis(row.Begun)
		put(undo, s.sessions, row.Handle, &row)
	case gatebook.NoteSession:
		row := w.Session
		if has(s.revoked, row.ID) {
			return gatebook.ErrConflict
		}
		row.Token, row.Handle, row.Expires, row.Begun = "", "", millis(row.Expires), millis(row.Begun)
		put(undo, s.tokens, row.ID, &row)
	case gatebook.RevokeToken:
		if has(s.revoked, w.ID) {
			return gatebook.ErrConflict
		}
		s.revoke(undo, w.ID, millis(w.Expires))
	case gatebook.CreateAuthenticator:
		p := passkey(w.Authenticator)
		if !has(s.users, p.UserID) || has(s.passkeys, p.CredentialID) {
			return gatebook.ErrConflict
		}
		put(undo, s.passkeys, p.CredentialID, &p)
	case gatebook.CountAuthenticator:
		p, ok := s.passkeys[w.CredentialID]
		if !ok || p.Counter != w.From {
			return gatebook.ErrConflict
		}
		p.Counter, p.BackedUp = w.To, w.BackedUp
		put(undo, s.passkeys, w.CredentialID, &p)
	case gatebook.DeleteAuthenticator:
		if p, ok := s.passkeys[w.CredentialID]; !ok || p.UserID != w.UserID {
			return gatebook.ErrConflict
		}
		put(undo, s.passkeys, w.CredentialID, nil)
	case gatebook.AdoptSession:
		row, ok := s.sessions[w.Session.Handle]
		if !ok || row.ID != "" {
			return gatebook.ErrConflict
		}
		row.ID = w.Session.ID
		put(undo, s.sessions, row.Handle, &row)
	case gatebook.DeleteSession:
		if !has(s.sessions, w.Handle) {
			return gatebook.ErrConflict
		}
		put(undo, s.sessions, w.Handle, nil)
	case gatebook.CreateVerificationToken:
		l := link{w.Token.Identifier, w.Token.Hash}
		if has(s.links, l) {
			return gatebook.ErrConflict
		}
		expires := millis(w.Token.Expires)
		put(undo, s.links, l, &expires)
	case gatebook.UseVerificationToken:
		l := link{w.Identifier, w.Hash}
		if !has(s.links, l) {
			return gatebook.ErrConflict
		}
		put(undo, s.links, l, nil)
	case gatebook.UseCheck:
		if has(s.checks, w.Digest) {
			return gatebook.ErrConflict
		}
		expires := millis(w.Expires)
		put(undo, s.checks, w.Digest, &expires)
	default:
		return fmt.Errorf("unknown write: %w", errors.ErrUnsupported)
	}
	return nil
}

func (s *Store) createUser(undo *undoer, w gatebook.CreateUser) error {
	u := w.User
	// The subject key outlives the user, and one id can have but one: an id is
	// free again when the person has been erased.
	if has(s.users, u.ID) || has(s.subjects, u.ID) || has(s.emails, u.Email) {
		return gatebook.ErrConflict
	}
	u.EmailVerified = millis(u.EmailVerified)
	u.Extra = known(u.Extra)
	put(undo, s.users, u.ID, &u)
	if u.Email != "" {
		put(undo, s.emails, u.Email, &u.ID)
	}
	if !w.Subject.IsZero() {
		put(undo, s.subjects, u.ID, &w.Subject)
	}
	return nil
}

func (s *Store) updateUser(undo *undoer, w gatebook.UpdateUser) error {
	old, ok := s.users[w.User.ID]
	if !ok {
		return gatebook.ErrConflict
	}
	u := old
	u.Extra = maps.Clone(old.Extra)
	for _, field := range w.Fields {
		switch field {
		case "name":
			u.Name = w.User.Name
		case "email":
			u.Email = w.User.Email
		case "emailVerified":
			u.EmailVerified = millis(w.User.EmailVerified)
		case "image":
			u.Image = w.User.Image
		default:
			v, ok := w.User.Extra[field]
			if !ok {
				return fmt.Errorf("user has no field %q", field)
			}
			if u.Extra == nil {
				u.Extra = make(map[string]any)
			}
			u.Extra[field] = v
		}
	}
	u.Extra = known(u.Extra)
	if u.Email != old.Email {
		if has(s.emails, u.Email) {
			return gatebook.ErrConflict
		}
		if old.Email != "" {
			put(undo, s.emails, old.Email, nil)
		}
		if u.Email != "" {
			put(undo, s.emails, u.Email, &u.ID)
		}
	}
	put(undo, s.users, u.ID, &u)
	return nil
}

func (s *Store) deleteUser(undo *undoer, id string) error {
	u, ok := s.users[id]
	if !ok {
		return gatebook.ErrConflict
	}
	put(undo, s.users, id, nil)
	if u.Email != "" {
		put(undo, s.emails, u.Email, nil)
	}
	for key, a := range s.accounts {
		if a.UserID == id {
			put(undo, s.accounts, key, nil)
		}
	}
	for h, row := range s.sessions {
		if row.UserID == id {
			put(undo, s.sessions, h, nil)
		}
	}
	for sid, row := range s.tokens {
		if row.UserID == id {
			s.revoke(undo, sid, row.Expires)
		}
	}
	for credential, p := range s.passkeys {
		if p.UserID == id {
			put(undo, s.passkeys, credential, nil)
		}
	}
	return nil
}

func (s *Store) revoke(undo *undoer, sid string, until time.Time) {
	if row, ok := s.tokens[sid]; ok {
		if row.Expires.After(until) { // a token may live as long as its note
			until = row.Expires
		}
		put(undo, s.tokens, sid, nil)
	}
	put(undo, s.revoked, sid, &until)
}

// keeps reports whether the user has an account at one of the providers.
func (s *Store) keeps(w gatebook.KeepAccount) bool {
	for _, a := range s.accounts {
		if a.UserID == w.UserID && slices.Contains(w.Providers, a.Provider) && (a.Type != gatebook.TypeWebAuthn || s.hasPasskey(&a)) {
			return true
		}
	}
	return false
}

func (s *Store) hasPasskey(a *gatebook.Account) bool {
	for _, p := range s.passkeys {
		if p.UserID == a.UserID && p.ProviderAccountID == a.ProviderAccountID {
			return true
		}
	}
	return false
}

// known copies the extra columns that have a value; nil stands for null.
func known(extra map[string]any) map[string]any {
	var m map[string]any
	for k, v := range extra {
		if v == nil {
			continue
		}
		if m == nil {
			m = make(map[string]any, len(extra))
		}
		m[k] = v
	}
	return m
}
