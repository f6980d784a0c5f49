package book

import (
	"context"
	"database/sql"
	"embed"
	"io/fs"

	"github.com/gatebook/gatebook/internal/sqldb"
	"github.com/gatebook/gatebook/record"
)

//go:embed migrations
var migrations embed.FS

// Migrations returns the migrations of the book's tables, to be applied by
// [sqldb.DB.Migrate] together with those of an adapter.
func Migrations(d sqldb.Dialect) sqldb.Set {
	sub, err := fs.Sub(migrations, "migrations/"+d.Name)
	if err != nil {
		panic(err) // the path is valid
	}
	return sqldb.Set{Name: "book", FS: sub}
}

// SQL is a [Store] in an SQL database, whose tables [Migrations] makes. It does
// nothing until first use, when it checks that they are there.
type SQL struct {
	db *sqldb.DB
}

// NewSQL returns the store in db.
func NewSQL(db *sqldb.DB) *SQL { return &SQL{db: db} }

// Insert inserts entries into the outbox in an act's own transaction, with one
// statement. Call it after the act's other writes, so that the entries are
// numbered under the locks of the rows they tell of, and [Book.Wake] after the
// commit.
func (s *SQL) Insert(ctx context.Context, tx *sql.Tx, entries []record.Entry) error {
	panic("not yet")
}
