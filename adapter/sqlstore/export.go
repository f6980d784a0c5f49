package sqlstore

import (
	"context"
	"database/sql"
	"strings"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/internal/sqldb"
)

// Export reads the users of a database with their accounts, so that they can be
// imported into another one: see [gatebook.Auth.Import]. It writes nothing, and
// the database needs no tables of Gatebook's.
type Export struct {
	db          *sqldb.DB
	d           *dialect
	extra       []*column
	first, next *query
	count       *query
}

// NewExport looks at the tables of l in db, and returns an Export of them.
func NewExport(ctx context.Context, db *sql.DB, l Layout) (*Export, error) {
	if err := l.check(); err != nil {
		return nil, failed(ctx, "export", err)
	}
	e := &Export{db: sqldb.New(db, l.engine()), d: l.dialect}
	users, err := e.table(ctx, l, userTable)
	if err != nil {
		return nil, failed(ctx, "export", err)
	}
	accounts, err := e.table(ctx, l, accountTable)
	if err != nil {
		return nil, failed(ctx, "export", err)
	}
	t := &tables{user: users, account: accounts}
	if err := l.userColumns(t); err != nil {
		return nil, failed(ctx, "export", err)
	}
	e.extra = t.extra
	e.write(t)
	return e, nil
}

// table looks at one of Auth.js's tables. What it must have is less than for
// working on it: the columns, and no keys.
func (e *Export) table(ctx context.Context, l Layout, which int) (*table, error) {
	t, err := e.d.look(ctx, e.db.SQL(), l.table(which))
	if err != nil {
		return nil, e.db.Classify(err)
	}
	if len(t.columns) == 0 {
		return nil, l.missing(which)
	}
	return t, l.shaped(t, which)
}

// exportTexts are the columns of an account that are texts, in the order in which
// they are scanned.
var exportTexts = []string{
	"type", "provider", "providerAccountId", "access_token", "refresh_token", "id_token", "token_type", "scope", "session_state",
}

// write writes the statements: a page of users, and to each its accounts. Users
// are limited before they are joined, so that a page is of whole ones.
func (e *Export) write(t *tables) {
	d := e.d
	s := d.text(t.id, t.id.in("u")) + ", " + d.optional(t.name, "u") + ", " + d.optional(t.email, "u") + ", " +
		d.millis(t.verified, "u") + ", " + d.optional(t.image, "u")
	for _, name := range exportTexts {
		s += ", " + d.optional(t.account.col(name), "a")
	}
	s += ", coalesce(" + d.number(t.account.col("expires_at"), "a") + ", 0)"
	for _, c := range t.extra {
		s += ", " + c.in("u")
	}
	page := func(where string, limit string) *query {
		return d.query(`SELECT ` + s + ` FROM (SELECT * FROM ` + t.user.q() + where + ` ORDER BY ` + t.id.q() + ` LIMIT ` + limit + `) u
			LEFT JOIN ` + t.account.q() + ` a ON a."userId" = ` + t.id.in("u") + ` ORDER BY ` + t.id.in("u"))
	}
	e.first = page("", "?1")
	e.next = page(` WHERE `+t.id.q()+` > `+d.typed(t.id, "?1"), "?2")
	e.count = d.query(`SELECT count(*) FROM ` + t.user.q())
}

// Count returns how many users there are.
func (e *Export) Count(ctx context.Context) (int64, error) {
	var n int64
	err := e.db.SQL().QueryRowContext(ctx, e.count.text).Scan(&n)
	return n, failedIf(ctx, "count users", e.db.Classify(err))
}

func failedIf(ctx context.Context, step string, err error) error {
	if err == nil {
		return nil
	}
	return failed(ctx, step, err)
}

// Users returns at most limit users after the one of that id, or from the
// beginning if it is empty, in the order in which the database sorts ids.
func (e *Export) Users(ctx context.Context, after string, limit int) ([]gatebook.ImportUser, error) {
	p, args := e.first, []any{limit}
	if after != "" {
		p, args = e.next, []any{after, limit}
	}
	rows, err := e.db.SQL().QueryContext(ctx, p.text, p.args(args)...)
	if err != nil {
		return nil, failed(ctx, "read users", e.db.Classify(err))
	}
	defer rows.Close()
	var out []gatebook.ImportUser
	for rows.Next() {
		user, account, err := e.row(rows)
		if err != nil {
			return nil, failed(ctx, "read users", e.db.Classify(err))
		}
		if n := len(out); n == 0 || out[n-1].User.ID != user.ID {
			out = append(out, gatebook.ImportUser{User: user})
		}
		if account.Provider != "" {
			last := &out[len(out)-1]
			last.Accounts = append(last.Accounts, account)
		}
	}
	return out, failedIf(ctx, "read users", e.db.Classify(rows.Err()))
}

func (e *Export) row(rows *sql.Rows) (gatebook.User, gatebook.Account, error) {
	var u userRow
	var a gatebook.Account
	to := []any{&u.user.ID, &u.user.Name, &u.user.Email, &u.verified, &u.user.Image, &a.Type, &a.Provider, &a.ProviderAccountID,
		(*string)(&a.AccessToken), (*string)(&a.RefreshToken), (*string)(&a.IDToken), &a.TokenType, &a.Scope, &a.SessionState, &a.ExpiresAt}
	u.extra = make([]any, len(e.extra))
	for i := range u.extra {
		to = append(to, &u.extra[i])
	}
	if err := rows.Scan(to...); err != nil {
		return gatebook.User{}, a, err
	}
	found, err := u.found(&queries{t: &tables{extra: e.extra}})
	return found.User, a, err
}

// SkipIDs moves the database's own maker of ids past those that are there, after
// an import has brought numbers along: PostgreSQL does not see them. Where ids are
// no numbers, and on other databases, nothing is to be done.
func (s *Store) SkipIDs(ctx context.Context) error {
	q, err := s.ready(ctx)
	if err != nil || q.l.ids != Integer || q.d != postgres {
		return err
	}
	sequence, ok := strings.CutPrefix(q.t.id.fallback, "nextval(")
	if !ok {
		return nil
	}
	sequence = "CAST(" + strings.TrimSuffix(sequence, ")") + " AS regclass)"
	// The next one is taken, so that what it is can be seen.
	_, err = s.db.SQL().ExecContext(ctx, `SELECT setval(`+sequence+`, max(`+q.t.id.q()+`)) FROM `+q.t.user.q()+
		` HAVING max(`+q.t.id.q()+`) >= nextval(`+sequence+`)`)
	return failedIf(ctx, "skip ids", s.db.Classify(err))
}
