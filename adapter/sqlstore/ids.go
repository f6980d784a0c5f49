package sqlstore

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/gatebook/gatebook"
)

// newUUID returns a random UUID (RFC 9562, Section 5.4).
func newUUID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// isUUID reports whether s is a UUID as the database writes it (RFC 9562,
// Section 4), in lower case.
func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		switch b := s[i]; {
		case i == 8 || i == 13 || i == 18 || i == 23:
			if b != '-' {
				return false
			}
		case (b < '0' || b > '9') && (b < 'a' || b > 'f'):
			return false
		}
	}
	return true
}

// NewUserID implements [gatebook.IDMaker]. Ids that are whole numbers are made by
// the database as for a row of another program: from the column's sequence on
// PostgreSQL, by AUTO_INCREMENT on MariaDB and MySQL. SQLite gives none without a
// row; there they are counted in a table of Gatebook's own, and another program
// may take the same, which is a conflict of the act and not more.
func (s *Store) NewUserID(ctx context.Context, u gatebook.User, tx *sql.Tx) (string, error) {
	q, err := s.ready(ctx)
	if err != nil {
		return "", err
	}
	if q.l.ids != Integer {
		return newUUID(), nil
	}
	var id int64
	switch q.d {
	case postgres:
		id, err = s.nextval(ctx, q, tx)
	case mysql:
		id, err = s.increment(ctx, q, u, tx)
	default:
		id, err = s.count(ctx, q, tx)
	}
	if err != nil {
		return "", failed(ctx, "make the id of a user", s.db.Classify(err))
	}
	return strconv.FormatInt(id, 10), nil
}

// nextval takes the next value of the sequence that is the column's default.
func (s *Store) nextval(ctx context.Context, q *queries, tx *sql.Tx) (id int64, err error) {
	if !strings.HasPrefix(q.t.id.fallback, "nextval(") {
		return 0, fmt.Errorf("column %q of table %q has no sequence as its default: make it an identity column", q.t.id.name, q.t.id.table)
	}
	text := "SELECT " + q.t.id.fallback
	if tx != nil {
		err = tx.QueryRowContext(ctx, text).Scan(&id)
	} else {
		err = s.db.SQL().QueryRowContext(ctx, text).Scan(&id)
	}
	return id, err
}

// errTaken ends a transaction that was only to take an id.
var errTaken = errors.New("the id is taken")

// increment inserts the user and takes that back: the counter of an
// AUTO_INCREMENT column does not go back with it.
func (s *Store) increment(ctx context.Context, q *queries, u gatebook.User, tx *sql.Tx) (id int64, err error) {
	if q.t.id.fallback != "auto_increment" {
		return 0, fmt.Errorf("column %q of table %q is not AUTO_INCREMENT", q.t.id.name, q.t.id.table)
	}
	u.ID = "0" // which has the database make one
	steps, err := q.steps(nil, gatebook.CreateUser{User: u})
	if err != nil {
		return 0, err
	}
	insert := func(ctx context.Context, tx *sql.Tx) error {
		p := steps[0].alone
		args := append([]any{nil}, steps[0].args[1:]...)
		res, err := tx.ExecContext(ctx, p.text, p.args(args)...)
		if err != nil {
			return err
		}
		id, err = res.LastInsertId()
		return err
	}
	if tx == nil {
		err = s.db.Tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
			if err := insert(ctx, tx); err != nil {
				return err
			}
			return errTaken
		})
		if errors.Is(err, errTaken) {
			err = nil
		}
		return id, err
	}
	if err := q.d.savepoint(ctx, tx, "gatebook_id"); err != nil {
		return 0, err
	}
	err = insert(ctx, tx)
	_, back := tx.ExecContext(context.WithoutCancel(ctx), "ROLLBACK TO SAVEPOINT gatebook_id")
	return id, errors.Join(err, back)
}

// count takes the next number after all that were given out and all that are
// there.
func (s *Store) count(ctx context.Context, q *queries, tx *sql.Tx) (id int64, err error) {
	text := `INSERT INTO gatebook_ids (name, last) SELECT 'user', coalesce(max(` + q.t.id.q() + `), 0) + 1 FROM ` + q.t.user.q() + ` WHERE true
		ON CONFLICT (name) DO UPDATE SET last = max(last + 1, excluded.last) RETURNING last`
	take := func(ctx context.Context, tx *sql.Tx) error { return tx.QueryRowContext(ctx, text).Scan(&id) }
	if tx != nil {
		return id, take(ctx, tx)
	}
	err = s.db.Tx(ctx, take)
	return id, err
}
