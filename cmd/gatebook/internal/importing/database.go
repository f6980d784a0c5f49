package importing

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"iter"
	"sync/atomic"

	"github.com/gatebook/gatebook/adapter/sqlstore"
	"github.com/gatebook/gatebook/cmd/gatebook/internal/userfile"
)

// Database is a source in a database.
type Database struct {
	export      *sqlstore.Export
	name, about string
	total       int64
	done        atomic.Int64
}

// pageSize is how many users are read at once. Where accounts have no index by
// user, a page reads all of them, so it is long.
const pageSize = 5000

// FromDatabase returns a source of the users in an export. Name is what may be
// shown of the database, and about what tells it from others.
func FromDatabase(ctx context.Context, export *sqlstore.Export, name, about string) (*Database, error) {
	total, err := export.Count(ctx)
	if err != nil {
		return nil, err
	}
	return &Database{export: export, name: name, about: about, total: total}, nil
}

// Name returns what may be shown of the database.
func (d *Database) Name() string { return d.name }

// Mark returns a digest of which database it is: what changes in it meanwhile is
// no reason to begin anew.
func (d *Database) Mark() (string, error) {
	sum := sha256.Sum256([]byte(d.about))
	return hex.EncodeToString(sum[:]), nil
}

// Users returns the users after the last one of a position.
func (d *Database) Users(ctx context.Context, from Position) iter.Seq2[userfile.Row, error] {
	return func(yield func(userfile.Row, error) bool) {
		d.done.Store(from.Users)
		for after := from.After; ; {
			page, err := d.export.Users(ctx, after, pageSize)
			if err != nil {
				yield(userfile.Row{}, err)
				return
			}
			for _, u := range page {
				d.done.Add(1)
				if !yield(userfile.Row{ImportUser: u}, nil) {
					return
				}
				after = u.User.ID
			}
			if len(page) < pageSize {
				return
			}
		}
	}
}

// Progress returns users.
func (d *Database) Progress() (done, total int64) { return d.done.Load(), d.total }

// Place names the user by its id.
func (d *Database) Place(row *userfile.Row) string { return fmt.Sprintf("user %q", row.User.ID) }
