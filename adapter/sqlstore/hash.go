package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"strings"

	"github.com/gatebook/gatebook"
)

// Gatebook's own layouts have the names and types of Drizzle's tables, so an
// application that leaves Auth.js may have sessions in them whose tokens are not
// hashed. They go on: a row is hashed when it is first met, and nothing but what
// is here ever sees the other form. A later version will no longer look for it.

// plain reports whether what the session table of an own layout has is a token
// and not its digest. A token that looks like a digest is taken for one, and opens
// nothing: else who reads a leaked table could present what it says.
func (q *queries) plain(stored string) bool {
	return !q.l.raw && stored != "" && (len(stored) != 64 || strings.Trim(stored, "0123456789abcdef") != "")
}

// runner is a pool or a transaction on it.
type runner interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// hash puts the digest in the place of a token that is not hashed, and reports
// whether there is a row of either form now: another may have been faster. It
// looks before it writes: unknown tokens are free to make.
func (q *queries) hash(ctx context.Context, db runner, token gatebook.Secret) (bool, error) {
	if !q.plain(string(token)) || !q.d.holds(string(token)) {
		return false, nil
	}
	var one int
	err := db.QueryRowContext(ctx, q.eitherForm.text, q.eitherForm.args([]any{string(token), digest(token)})...).Scan(&one)
	if err == nil {
		_, err = db.ExecContext(ctx, q.hashSession.text, q.hashSession.args([]any{string(token), digest(token)})...)
	}
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

// hashed hashes the listed rows that are not and gives them their handle.
func (s *Store) hashed(ctx context.Context, q *queries, n int, at func(i int) *gatebook.StoredSession) error {
	for i := range n {
		row := at(i)
		if !q.plain(row.Handle) {
			continue
		}
		token := gatebook.Secret(row.Handle)
		row.Handle = digest(token)
		if _, err := q.hash(ctx, s.db.SQL(), token); err != nil {
			return err
		}
	}
	return nil
}
