package interop

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/adapter/memory"
	"github.com/gatebook/gatebook/record"
)

// sharedStore is Auth.js's adapter interface over the store that Gatebook uses:
// both then have the same users, accounts, sessions and links. Auth.js's side of
// it calls a method with its arguments as a JSON list.
type sharedStore struct{ store *memory.Store }

func newSharedStore(t *testing.T, store *memory.Store) string {
	t.Helper()
	s := httptest.NewServer(sharedStore{store})
	t.Cleanup(s.Close)
	return s.URL
}

func (s sharedStore) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var args []json.RawMessage
	err := json.NewDecoder(r.Body).Decode(&args)
	var out any
	if err == nil {
		out, err = s.call(r.Context(), strings.TrimPrefix(r.URL.Path, "/"), args)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	json.NewEncoder(w).Encode(out)
}

// sharedUser, sharedAccount and sharedSession are rows as Auth.js sees them.
type sharedUser struct {
	ID            string     `json:"id"`
	Name          *string    `json:"name"`
	Email         *string    `json:"email"`
	EmailVerified *time.Time `json:"emailVerified"`
	Image         *string    `json:"image"`
}

type sharedAccount struct {
	accountRow
	AccessToken  string `json:"access_token"`
	RefreshToken string `json:"refresh_token"`
	IDToken      string `json:"id_token"`
	ExpiresAt    int64  `json:"expires_at"`
	TokenType    string `json:"token_type"`
	Scope        string `json:"scope"`
}

func (s sharedStore) call(ctx context.Context, method string, args []json.RawMessage) (any, error) {
	switch method {
	case "createUser", "updateUser", "getUser", "getUserByEmail", "getUserByAccount", "linkAccount":
		return s.users(ctx, method, args[0])
	case "createSession", "updateSession", "deleteSession", "getSessionAndUser":
		return s.sessions(ctx, method, args[0])
	case "createVerificationToken", "useVerificationToken":
		return s.links(ctx, method, args[0])
	}
	return s.passkeys(ctx, method, args)
}

func (s sharedStore) users(ctx context.Context, method string, arg json.RawMessage) (any, error) {
	var u sharedUser
	var a sharedAccount
	var text string
	var into any = &text
	switch method {
	case "createUser", "updateUser":
		into = &u
	case "linkAccount", "getUserByAccount":
		into = &a
	}
	if err := json.Unmarshal(arg, into); err != nil {
		return nil, err
	}
	key := gatebook.AccountKey{Provider: a.Provider, ProviderAccountID: a.ProviderAccountID}
	switch method {
	case "createUser":
		if u.ID == "" { // a passkey's user has none
			u.ID = uuid.NewString()
		}
		return s.find(ctx, gatebook.Query{UserID: u.ID}, s.commit(ctx, gatebook.CreateUser{User: u.user(), Subject: record.NewKey()}))
	case "updateUser": // only an opened link does
		return s.find(ctx, gatebook.Query{UserID: u.ID}, s.commit(ctx, gatebook.UpdateUser{User: u.user(), Fields: []string{"emailVerified"}}))
	case "linkAccount":
		return nil, s.commit(ctx, gatebook.LinkAccount{Account: gatebook.Account{UserID: a.UserID, Type: a.Type, Provider: a.Provider,
			ProviderAccountID: a.ProviderAccountID, AccessToken: gatebook.Secret(a.AccessToken), RefreshToken: gatebook.Secret(a.RefreshToken),
			IDToken: gatebook.Secret(a.IDToken), ExpiresAt: a.ExpiresAt, TokenType: a.TokenType, Scope: a.Scope}})
	case "getUserByAccount":
		return s.find(ctx, gatebook.Query{Account: key}, nil)
	case "getUserByEmail":
		return s.find(ctx, gatebook.Query{Email: text}, nil)
	}
	return s.find(ctx, gatebook.Query{UserID: text}, nil)
}

// find answers with the user that q asks for, or with null.
func (s sharedStore) find(ctx context.Context, q gatebook.Query, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	found, err := s.store.Find(ctx, q)
	if err != nil {
		return nil, err
	}
	for _, u := range []*gatebook.FoundUser{found.ByID, found.ByEmail, found.ByAccount} {
		if u != nil {
			return shareUser(&u.User), nil
		}
	}
	return nil, nil
}

func (s sharedStore) commit(ctx context.Context, writes ...gatebook.Write) error {
	return s.store.Commit(ctx, &gatebook.Act{Writes: writes})
}

func (s sharedStore) sessions(ctx context.Context, method string, arg json.RawMessage) (any, error) {
	var row sessionRow
	if err := json.Unmarshal(arg, &row); err != nil && json.Unmarshal(arg, &row.Token) != nil {
		return nil, err
	}
	token := gatebook.Secret(row.Token)
	switch method {
	case "createSession":
		return row, s.commit(ctx, gatebook.CreateSession{Session: gatebook.StoredSession{Token: token, UserID: row.UserID, Expires: row.Expires}})
	case "updateSession":
		return nil, s.store.ExtendSession(ctx, token, row.Expires)
	}
	found, err := s.store.Session(ctx, token)
	if errors.Is(err, gatebook.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if method == "deleteSession" {
		return nil, s.commit(ctx, gatebook.DeleteSession{Handle: found.Session.Handle})
	}
	return map[string]any{"user": shareUser(&found.User),
		"session": sessionRow{row.Token, found.Session.UserID, found.Session.Expires}}, nil
}

func (s sharedStore) links(ctx context.Context, method string, arg json.RawMessage) (any, error) {
	var row linkRow
	if err := json.Unmarshal(arg, &row); err != nil {
		return nil, err
	}
	switch method {
	case "createVerificationToken":
		return row, s.commit(ctx, gatebook.CreateVerificationToken{Token: gatebook.VerificationToken{
			Identifier: row.Identifier, Hash: row.Hash, Expires: row.Expires}})
	case "useVerificationToken":
		found, err := s.store.Find(ctx, gatebook.Query{Verification: row.Hash})
		if err != nil || found.Verification == nil {
			return nil, err
		}
		v := found.Verification
		return linkRow{v.Identifier, v.Hash, v.Expires}, s.commit(ctx, gatebook.UseVerificationToken{Identifier: v.Identifier, Hash: v.Hash})
	}
	return nil, nil
}

func (s sharedStore) passkeys(ctx context.Context, method string, args []json.RawMessage) (any, error) {
	var row authenticatorRow
	var text string
	if json.Unmarshal(args[0], &text) != nil {
		if err := json.Unmarshal(args[0], &row); err != nil {
			return nil, err
		}
	}
	switch method {
	case "getAccount":
		key := gatebook.AccountKey{ProviderAccountID: text}
		if err := json.Unmarshal(args[1], &key.Provider); err != nil {
			return nil, err
		}
		found, err := s.store.Find(ctx, gatebook.Query{Account: key})
		if err != nil || found.ByAccount == nil {
			return nil, err
		}
		return accountRow{found.ByAccount.User.ID, "webauthn", key.Provider, text}, nil
	case "listAuthenticatorsByUserId":
		list, err := s.store.Authenticators(ctx, text)
		rows := []authenticatorRow{}
		for i := range list {
			rows = append(rows, shareAuthenticator(&list[i]))
		}
		return rows, err
	case "createAuthenticator":
		return row, s.commit(ctx, gatebook.CreateAuthenticator{Authenticator: row.authenticator()})
	}
	found, err := s.store.Find(ctx, gatebook.Query{Credential: text})
	if err != nil || found.Authenticator == nil {
		return nil, err
	}
	row = shareAuthenticator(found.Authenticator)
	if method == "updateAuthenticatorCounter" {
		was := row.Counter
		if err := json.Unmarshal(args[1], &row.Counter); err != nil {
			return nil, err
		}
		return row, s.commit(ctx, gatebook.CountAuthenticator{CredentialID: text, From: was, To: row.Counter, BackedUp: row.BackedUp})
	}
	return row, nil
}

func (r authenticatorRow) authenticator() gatebook.Authenticator {
	key, err := base64.StdEncoding.DecodeString(r.PublicKey)
	if err != nil {
		panic(err)
	}
	return gatebook.Authenticator{CredentialID: r.CredentialID, UserID: r.UserID, ProviderAccountID: r.ProviderAccountID, PublicKey: key,
		Counter: r.Counter, DeviceType: r.DeviceType, BackedUp: r.BackedUp, Transports: strings.Split(r.Transports, ",")}
}

func shareAuthenticator(a *gatebook.Authenticator) authenticatorRow {
	return authenticatorRow{CredentialID: a.CredentialID, UserID: a.UserID, ProviderAccountID: a.ProviderAccountID,
		PublicKey: base64.StdEncoding.EncodeToString(a.PublicKey), Counter: a.Counter, DeviceType: a.DeviceType, BackedUp: a.BackedUp,
		Transports: strings.Join(a.Transports, ",")}
}

func (u sharedUser) user() gatebook.User {
	out := gatebook.User{ID: u.ID}
	for _, f := range []struct {
		to   *string
		from *string
	}{{&out.Name, u.Name}, {&out.Email, u.Email}, {&out.Image, u.Image}} {
		if f.from != nil {
			*f.to = *f.from
		}
	}
	if u.EmailVerified != nil {
		out.EmailVerified = *u.EmailVerified
	}
	return out
}

func shareUser(u *gatebook.User) sharedUser {
	text := func(s string) *string {
		if s == "" {
			return nil
		}
		return &s
	}
	out := sharedUser{ID: u.ID, Name: text(u.Name), Email: text(u.Email), Image: text(u.Image)}
	if !u.EmailVerified.IsZero() {
		out.EmailVerified = &u.EmailVerified
	}
	return out
}
