package gatebook

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/gatebook/gatebook/record"
)

// Databases keep text, and some of them neither NUL bytes nor what is no UTF-8.
// What is shown is cleaned. What identifies somebody is taken as it is or not at
// all: two that differ must not become one.

// maxID is how many bytes an id of a user or an account may have, here and in the
// book.
const maxID = 1024

// plainText reports whether every database can keep s.
func plainText(s string) bool { return strings.IndexByte(s, 0) < 0 && utf8.ValidString(s) }

// cleanText returns s with U+FFFD in place of what not every database can keep.
func cleanText(s string) string {
	if plainText(s) {
		return s
	}
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

// lower returns an address in lower case. What is no UTF-8 stays as it is, so that
// it is refused and not mended into another address.
func lower(address string) string {
	if !utf8.ValidString(address) {
		return address
	}
	return record.LowerAddress(address)
}

func (u *User) clean() {
	u.Name, u.Image = cleanText(u.Name), cleanText(u.Image)
}

func (a *Account) clean() {
	a.TokenType, a.Scope, a.SessionState = cleanText(a.TokenType), cleanText(a.Scope), cleanText(a.SessionState)
}

// identifier says what is wrong with an identifier, in words that follow its name.
func identifier(s string, limit int) error {
	switch {
	case len(s) > limit:
		return fmt.Errorf("has %d bytes, at most %d are kept", len(s), limit)
	case strings.IndexByte(s, 0) >= 0:
		return errors.New("has a NUL byte")
	case !utf8.ValidString(s):
		return errors.New("is not UTF-8")
	}
	return nil
}

// identified says what is wrong with the identifiers of a user.
func (u *User) identified() error {
	if err := identifier(u.ID, maxID); err != nil {
		return fmt.Errorf("the user's id %w", err)
	}
	if err := identifier(u.Email, maxAddress); err != nil {
		return fmt.Errorf("the e-mail address %w", err)
	}
	return nil
}

// identified says what is wrong with the identifiers of an account.
func (a *Account) identified() error {
	if err := identifier(a.Provider, maxID); err != nil {
		return fmt.Errorf("the account's provider %w", err)
	}
	if err := identifier(a.ProviderAccountID, maxID); err != nil {
		return fmt.Errorf("the account's id %w", err)
	}
	return nil
}

// fit returns an account as the table can hold it, and the names of the tokens
// that are left out because they do not fit: they are never cut. What is no token
// cannot be left out.
func (a *Auth) fit(acc *Account) (kept Account, omitted []string, err error) {
	kept = *acc
	kept.Reply = Claims{}
	if limiter, ok := a.adapter.(AccountLimiter); ok {
		omitted = slices.Clone(limiter.Unfit(acc.clone()))
	}
	tokens := map[string]*Secret{"access_token": &kept.AccessToken, "refresh_token": &kept.RefreshToken, "id_token": &kept.IDToken}
	for name, token := range tokens {
		if !plainText(string(*token)) {
			omitted = append(omitted, name)
		}
	}
	slices.Sort(omitted)
	omitted = slices.Compact(omitted)
	for _, name := range omitted {
		switch token := tokens[name]; {
		case token != nil:
			*token = ""
		case name == "token_type":
			kept.TokenType = ""
		case name == "scope":
			kept.Scope = ""
		case name == "session_state":
			kept.SessionState = ""
		case name == "expires_at":
			kept.ExpiresAt = 0
		default:
			return kept, nil, fmt.Errorf("the account's %s is longer than its column", name)
		}
	}
	return kept, omitted, nil
}

func (r *recorder) tokensOmitted(u *User, acc *Account, fields []string) *TokensOmittedEvent {
	ev := &TokensOmittedEvent{Envelope: r.envelope(record.TypeAccountTokensOmitted), User: u.clone(), Account: acc.clone(), Fields: fields}
	ev.Subject = u.ID
	return ev
}

// unfit refuses a sign-in whose identifiers cannot be kept, and cleans what is
// only shown.
func (in *proved) unfit() *refused {
	in.profile.clean()
	in.account.clean()
	err := in.profile.identified()
	if err == nil {
		err = in.account.identified()
	}
	if err == nil {
		return nil
	}
	reason := record.ReasonProfileInvalid
	if in.named() || in.method == TypeEmail || in.method == TypeWebAuthn {
		reason = record.ReasonIdentifierInvalid
	}
	return &refused{auth: in.info, reason: reason, step: err.Error(), target: in.profile.Email, writes: in.use}
}
