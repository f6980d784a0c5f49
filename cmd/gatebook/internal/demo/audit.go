package demo

import (
	"context"
	"fmt"

	"github.com/gatebook/gatebook/adapter/sqlite"
	"github.com/gatebook/gatebook/book"
	"github.com/gatebook/gatebook/record"
)

// auditor compares the tables with the book: every user, account and session
// must have the entry that tells where it came from, and the entries must be
// numbered without a gap. It reads each entry once and keeps what it learnt: a
// page asks a fresh one, a stream goes on with its own.
type auditor struct {
	db       *sqlite.DB
	last     int64 // the seq read up to
	gap      int64 // the first number that is missing, or 0
	users    map[string]bool
	accounts map[[2]string]bool
	sessions map[string]bool
}

func newAuditor(db *sqlite.DB) *auditor {
	return &auditor{db: db, users: map[string]bool{}, accounts: map[[2]string]bool{}, sessions: map[string]bool{}}
}

// audit is what the auditor found.
type audit struct {
	Entries int64 // the highest number
	Gap     int64 // the first missing number, or 0
	Waiting int   // entries that are written and have no number yet

	Users, Accounts, Sessions  int // rows
	NoCreate, NoLink, NoSignIn int // rows without their entry
}

// Whole reports whether nothing is missing.
func (a audit) Whole() bool { return a.Gap == 0 && a.NoCreate+a.NoLink+a.NoSignIn == 0 }

// check looks at the tables and then at the book, so that every row it saw has
// its entry in the log or in the outbox.
func (a *auditor) check(ctx context.Context) (audit, error) {
	users, err := a.rows(ctx, `SELECT id, '' FROM user`)
	if err != nil {
		return audit{}, err
	}
	accounts, err := a.rows(ctx, `SELECT provider, providerAccountId FROM account`)
	if err != nil {
		return audit{}, err
	}
	sessions, err := a.rows(ctx, `SELECT g.sid, '' FROM session s JOIN gatebook_sessions g ON g.digest = s.sessionToken`)
	if err != nil {
		return audit{}, err
	}
	// Asked between the two: when nothing waits now, the entries of those rows
	// are in the log that is read next.
	waiting, _, err := a.db.Book().Pending(ctx)
	if err != nil {
		return audit{}, err
	}
	if err := a.read(ctx); err != nil {
		return audit{}, err
	}
	out := audit{Entries: a.last, Gap: a.gap, Waiting: waiting,
		Users: len(users), Accounts: len(accounts), Sessions: len(sessions)}
	if waiting > 0 {
		return out, nil // what is missing may be among them
	}
	for _, u := range users {
		if !a.users[u[0]] {
			out.NoCreate++
		}
	}
	for _, acc := range accounts {
		if !a.accounts[acc] {
			out.NoLink++
		}
	}
	for _, s := range sessions {
		if !a.sessions[s[0]] {
			out.NoSignIn++
		}
	}
	return out, nil
}

// rows returns the two columns of a query.
func (a *auditor) rows(ctx context.Context, query string) ([][2]string, error) {
	rows, err := a.db.SQL().QueryContext(ctx, query)
	if err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	defer rows.Close()
	var all [][2]string
	for rows.Next() {
		var r [2]string
		if err := rows.Scan(&r[0], &r[1]); err != nil {
			return nil, fmt.Errorf("audit: %w", err)
		}
		all = append(all, r)
	}
	return all, rows.Err()
}

// read reads the entries that are new.
func (a *auditor) read(ctx context.Context) error {
	for {
		entries, err := a.db.Book().Read(ctx, book.Query{After: a.last, Limit: 1000})
		if err != nil {
			return fmt.Errorf("audit: %w", err)
		}
		for _, e := range entries {
			if e.Seq != a.last+1 && a.gap == 0 {
				a.gap = a.last + 1
			}
			a.last = e.Seq
			a.learn(e)
		}
		if len(entries) < 1000 {
			return nil
		}
	}
}

func (a *auditor) learn(e book.Entry) {
	f := factsOf(e)
	switch e.Header.Type {
	case record.TypeCreateUser:
		a.users[f.User.ID] = true
	case record.TypeLinkAccount:
		a.accounts[[2]string{f.Account.Provider, f.Account.ID}] = true
	case record.TypeSignIn:
		a.sessions[f.Session] = true
	}
}
