// Package userfile reads users with their accounts from CSV, JSON and NDJSON,
// one at a time, whatever the length of the file.
package userfile

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/cmd/gatebook/internal/config"
)

// Options say what else a file may have.
type Options struct {
	// Extra are further fields of a user, which become [gatebook.User].Extra.
	Extra []string
	// Ignore are fields that are not looked at.
	Ignore []string
}

// Row is a user of a file.
type Row struct {
	// Line is where the user begins, from 1.
	Line int
	// Number tells the users of JSON apart, which may be one line; from 1.
	Number int
	gatebook.ImportUser
	// Err says what is wrong with this user; the next one may be well.
	Err error
}

// Formats of files, by the ending of their names.
const (
	CSV  = "csv"
	JSON = "json" // one array, or objects one after the other, as NDJSON has them
)

// Format returns the format of a file by its name, or "".
func Format(name string) string {
	switch _, ending, _ := cutLast(strings.ToLower(name), "."); ending {
	case "csv", "tsv":
		return CSV
	case "json", "ndjson", "jsonl":
		return JSON
	}
	return ""
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// Read returns the users of r. An error ends them: what follows cannot be read.
func Read(r io.Reader, format string, o Options) iter.Seq2[Row, error] {
	b := bufio.NewReaderSize(r, 64<<10)
	if mark, err := b.Peek(3); err == nil && string(mark) == "\ufeff" {
		_, _ = b.Discard(3) // it was peeked at
	}
	if format == CSV {
		return readCSV(b, o)
	}
	return readJSON(b, o)
}

// maxUser is the most bytes of one user: 1,000 accounts with long tokens fit.
const maxUser = 32 << 20

// bounded refuses to read on and on for one user.
type bounded struct {
	r          io.Reader
	read, stop int64
}

var errLong = fmt.Errorf("the user has more than %d MB", maxUser>>20)

// next says that another user is read from here on.
func (b *bounded) next() { b.stop = b.read + maxUser }

func (b *bounded) Read(p []byte) (int, error) {
	if b.stop > 0 && b.read >= b.stop {
		return 0, errLong
	}
	n, err := b.r.Read(p)
	b.read += int64(n)
	return n, err
}

// Fields of a user and of an account, as Auth.js names them.
var (
	userFields    = []string{"id", "name", "email", "emailVerified", "image"}
	accountFields = []string{
		"provider", "providerAccountId", "type",
		"access_token", "refresh_token", "id_token", "expires_at", "token_type", "scope", "session_state",
	}
)

// unknown complains of fields that a file must not have.
func unknown(line int, what string, names, known []string) error {
	var errs []error
	for _, name := range names {
		hint := "the " + what + "s are " + strings.Join(known, ", ")
		if near := config.Nearest(name, known); near != "" {
			hint = "did you mean " + near + "?"
		}
		errs = append(errs, fmt.Errorf("line %d: unknown %s %q; %s To leave it out: --ignore %s", line, what, name, strings.TrimSuffix(hint, ".")+stop(hint), name))
	}
	return errors.Join(errs...)
}

// stop ends a sentence that does not end yet.
func stop(s string) string {
	if strings.HasSuffix(s, "?") {
		return ""
	}
	return "."
}

// set gives a field its value. Empty values are as good as none.
func set(u *gatebook.ImportUser, acc *gatebook.Account, name, value string, extra []string) (err error) {
	if value == "" {
		return nil
	}
	switch name {
	case "id":
		u.User.ID = value
	case "name":
		u.User.Name = value
	case "email":
		u.User.Email = strings.TrimSpace(value)
	case "emailVerified":
		u.User.EmailVerified, err = parseTime(value)
	case "image":
		u.User.Image = value
	case "provider":
		acc.Provider = value
	case "providerAccountId":
		acc.ProviderAccountID = value
	case "type":
		acc.Type = value
	case "access_token":
		acc.AccessToken = gatebook.Secret(value)
	case "refresh_token":
		acc.RefreshToken = gatebook.Secret(value)
	case "id_token":
		acc.IDToken = gatebook.Secret(value)
	case "expires_at":
		acc.ExpiresAt, err = strconv.ParseInt(value, 10, 64)
		if err != nil || acc.ExpiresAt < 0 {
			err = fmt.Errorf("expires_at %q is no number of seconds since 1970", clip(value))
		}
	case "token_type":
		acc.TokenType = value
	case "scope":
		acc.Scope = value
	case "session_state":
		acc.SessionState = value
	default:
		if slices.Contains(extra, name) {
			addExtra(u, name, value)
		}
	}
	return err
}

func addExtra(u *gatebook.ImportUser, name string, value any) {
	if u.User.Extra == nil {
		u.User.Extra = map[string]any{}
	}
	u.User.Extra[name] = value
}

// timeForms are how databases and JSON write a time. Without a zone it is UTC,
// as Auth.js's adapters store it.
var timeForms = []string{
	time.RFC3339, "2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05Z07", "2006-01-02 15:04:05 -0700",
	"2006-01-02T15:04:05", time.DateTime, time.DateOnly,
}

// parseTime reads a time in one of the forms, or in milliseconds since 1970, as
// the tables of SQLite have it.
func parseTime(s string) (time.Time, error) {
	for _, form := range timeForms {
		if t, err := time.Parse(form, s); err == nil && t.Year() > 1970 {
			return t.UTC(), nil
		}
	}
	// Below are seconds, for which a time of today is one of January 1970.
	if ms, err := strconv.ParseInt(s, 10, 64); err == nil && ms >= 1e11 && ms < 1e14 {
		return time.UnixMilli(ms).UTC(), nil
	}
	return time.Time{}, fmt.Errorf("emailVerified %q is no time: write it as 2026-11-24T10:00:00Z, or in milliseconds since 1970", clip(s))
}

// clip shortens a text from the file for an error: a time is seen whole, and a
// token that stands in the wrong column is not.
func clip(s string) string {
	const most = 24
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}
