package gatebook

import (
	"fmt"
	"strings"
	"unicode"

	"github.com/gatebook/gatebook/record"
)

// normal returns a copy in the form in which users are stored.
func (u ImportUser) normal() ImportUser {
	out := ImportUser{User: *u.User.clone()}
	out.User.Email = record.LowerAddress(out.User.Email)
	out.User.EmailVerified = cut(out.User.EmailVerified)
	for _, acc := range u.Accounts {
		acc.UserID, acc.Reply = "", Claims{}
		out.Accounts = append(out.Accounts, acc)
	}
	return out
}

// wrong says what is wrong with a user by itself; empty when nothing is.
func (u *ImportUser) wrong() string {
	if u.User.ID == "" && u.User.Email == "" && len(u.Accounts) == 0 {
		return "it has neither id, email nor account, so that nobody could tell whether it is there already"
	}
	if u.User.Email == "" && !u.User.EmailVerified.IsZero() {
		return "emailVerified is set without an email"
	}
	fields := []struct {
		name, value string
		limit       int
	}{
		{"id", u.User.ID, maxID}, {"email", u.User.Email, maxAddress},
		{"name", u.User.Name, maxImportText}, {"image", u.User.Image, maxImportText},
	}
	for _, f := range fields {
		if err := identifier(f.value, f.limit); err != nil {
			return f.name + " " + err.Error()
		}
	}
	if u.User.Email != "" && !isAddress(u.User.Email) {
		return "email is no e-mail address"
	}
	seen := map[AccountKey]bool{}
	for i := range u.Accounts {
		acc := &u.Accounts[i]
		if why := acc.wrong(); why != "" {
			return why
		}
		if seen[acc.key()] {
			return fmt.Sprintf("the account %q at %q is there twice", acc.ProviderAccountID, acc.Provider)
		}
		seen[acc.key()] = true
	}
	return ""
}

// maxImportText is the most bytes of a name, a picture's address or a token:
// pictures are addresses, and tokens of 64 kB have been seen.
const maxImportText = 128 << 10

func (a *Account) wrong() string {
	for _, f := range []struct {
		name, value string
		limit       int
		need        bool
	}{
		{"provider", a.Provider, maxID, true}, {"providerAccountId", a.ProviderAccountID, maxID, true},
		{"type", a.Type, maxID, true}, {"access_token", string(a.AccessToken), maxImportText, false},
		{"refresh_token", string(a.RefreshToken), maxImportText, false}, {"id_token", string(a.IDToken), maxImportText, false},
		{"token_type", a.TokenType, maxImportText, false}, {"scope", a.Scope, maxImportText, false},
		{"session_state", a.SessionState, maxImportText, false},
	} {
		if f.need && f.value == "" {
			return "the account has no " + f.name
		}
		if err := identifier(f.value, f.limit); err != nil {
			return f.name + " " + err.Error()
		}
	}
	return ""
}

// isAddress is wider than looksLikeAddress: what another system has mailed to is
// an address, and only what no mail system takes for one is none.
func isAddress(s string) bool {
	at := strings.LastIndexByte(s, '@')
	return at > 0 && at < len(s)-1 && !strings.ContainsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) })
}
