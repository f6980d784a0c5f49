package sqldb_test

import (
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pressly/goose/v3"

	"github.com/gatebook/gatebook/adapter/sqlstore"
	"github.com/gatebook/gatebook/internal/sqldb"
)

// schema returns the statements of what a database holds, without the tables in
// which migrations are noted.
func schema(t *testing.T, db *sqldb.DB) []string {
	t.Helper()
	rows, err := db.SQL().Query(`SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL
		AND tbl_name NOT IN ('goose_db_version', 'gatebook_migrations', 'sqlite_sequence') ORDER BY type, name`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			t.Fatal(err)
		}
		out = append(out, s)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

// Goose reads the same files to the same end, and back again: a team that
// migrates with it need not use our runner.
func TestGooseMakesTheSame(t *testing.T) {
	for name, files := range map[string]fs.FS{
		"gatebook": sqlstore.Migrations(sqlstore.SQLite),
		"all that the format has": set("1_first.sql", first, "2_second.sql", second+"-- +goose Down\nALTER TABLE a DROP COLUMN x;\n",
			"10_third.sql", `
-- +goose Up

-- a comment before a statement
CREATE TABLE c (x TEXT DEFAULT 'a;b', -- a comment that ends like a statement;
	-- a line of its own;

	y TEXT DEFAULT '--'
); -- done
  INSERT INTO c (x) VALUES ('one'); INSERT INTO c (x) VALUES ('two

-- not a comment
');
-- +goose StatementBegin
CREATE TRIGGER t AFTER INSERT ON c BEGIN
	-- within a block all belongs to the statement
	UPDATE c SET y = 'x;';

	UPDATE c SET y = 'z';
END;
-- +goose StatementEnd
-- +goose Down
DROP TABLE c;
`).FS,
	} {
		t.Run(name, func(t *testing.T) {
			ours := open(t, filepath.Join(t.TempDir(), "ours.db"), settings)
			if err := ours.Migrate(t.Context(), nil, sqldb.Set{Name: "all", FS: files}); err != nil {
				t.Fatal(err)
			}
			theirs := open(t, filepath.Join(t.TempDir(), "theirs.db"), settings)
			p, err := goose.NewProvider(goose.DialectSQLite3, theirs.SQL(), files)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := p.Up(t.Context()); err != nil {
				t.Fatal(err)
			}
			got := schema(t, ours)
			if len(got) < 3 {
				t.Fatalf("the schema has %d parts only", len(got))
			}
			if diff := cmp.Diff(schema(t, theirs), got); diff != "" {
				t.Errorf("our schema is not goose's (-goose +ours):\n%s", diff)
			}
			if strings.HasPrefix(name, "all") {
				const rows = `SELECT COUNT(*) FROM c WHERE x IN ('one', 'two' || char(10, 10) || '-- not a comment' || char(10))`
				if a, b := count(t, theirs, rows), count(t, ours, rows); a != 2 || b != 2 {
					t.Errorf("goose inserted %d of 2 rows and we %d", a, b)
				}
				return
			}
			// Back and forth. Tables that are shared with Auth.js stay.
			if _, err := p.DownTo(t.Context(), 0); err != nil {
				t.Errorf("migrating back: %v", err)
			}
			if n := count(t, theirs, "SELECT COUNT(*) FROM sqlite_schema WHERE type = 'table' AND name LIKE 'gatebook!_%' ESCAPE '!'"); n != 0 {
				t.Errorf("migrating back leaves %d of our tables", n)
			}
			if _, err := p.Up(t.Context()); err != nil {
				t.Errorf("migrating again: %v", err)
			}
			if diff := cmp.Diff(got, schema(t, theirs)); diff != "" {
				t.Errorf("back and forth changes the schema (-before +after):\n%s", diff)
			}
		})
	}
}
