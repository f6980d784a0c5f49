package sqldb_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/gatebook/gatebook/internal/sqldb"
)

func TestBind(t *testing.T) {
	for _, tt := range []struct{ query, want string }{
		{"SELECT 1", "SELECT 1"},
		{"SELECT ?, ?", "SELECT $1, $2"},
		{"SELECT '?', ?", "SELECT '?', $1"},
		{"SELECT 'it''s ?', ?", "SELECT 'it''s ?', $1"},
		{`SELECT "a?" FROM "b""?" WHERE c = ?`, `SELECT "a?" FROM "b""?" WHERE c = $1`},
		{"SELECT ? -- why?\n, ?", "SELECT $1 -- why?\n, $2"},
		{"SELECT ? /* why? */, ?", "SELECT $1 /* why? */, $2"},
		{"SELECT ? - ? / ?", "SELECT $1 - $2 / $3"},
		{"SELECT '?", "SELECT '?"},
		{"SELECT ? -- ?", "SELECT $1 -- ?"},
		{"(?,?,?,?,?,?,?,?,?,?,?)", "($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11)"},
	} {
		if got := sqldb.Postgres.Bind(tt.query); got != tt.want {
			t.Errorf("Bind(%q) = %q, want %q", tt.query, got, tt.want)
		}
		for _, d := range []sqldb.Dialect{sqldb.SQLite, sqldb.MySQL} {
			if got := d.Bind(tt.query); got != tt.query {
				t.Errorf("%s: Bind(%q) = %q, want the same", d.Name, tt.query, got)
			}
		}
	}
}

// What a dialect writes is what its database takes.
func TestWords(t *testing.T) {
	for name, s := range servers {
		t.Run(name, func(t *testing.T) {
			db, _ := s.newDB(t)
			d := s.dialect
			odd := "a\"b`c?"
			if _, err := db.SQL().Exec("CREATE TABLE " + d.Quote(odd) + " (" + d.Quote(odd) + " integer)"); err != nil {
				t.Errorf("Quote: %v", err)
			}
			for query, want := range map[string]int{
				"SELECT " + d.Greatest("1", "3", "2"):                              3,
				"SELECT COUNT(*) FROM a WHERE " + d.Text("id") + " = '1'":          1,
				"SELECT CASE WHEN " + d.Now + " > 1700000000000 THEN 1 ELSE 0 END": 1,
				"SELECT id FROM a" + d.ForUpdate:                                   1,
				"SELECT id FROM a" + d.ForShare:                                    1,
			} {
				if n := count(t, db, query); n != want {
					t.Errorf("%s = %d, want %d", query, n, want)
				}
			}
			insert := "INSERT INTO a (id, name, n) VALUES (1, 'new', 7)"
			if _, err := db.Do(t.Context(), insert+d.IfNew("id")); err != nil {
				t.Errorf("IfNew: %v", err)
			}
			if n := count(t, db, "SELECT n FROM a WHERE name = 'one'"); n != 0 {
				t.Errorf("IfNew changed the row to %d", n)
			}
			if _, err := db.Do(t.Context(), insert+d.OnConflict("id")+"name = "+d.New("name")+", n = a.n + "+d.New("n")); err != nil {
				t.Errorf("OnConflict: %v", err)
			}
			if n := count(t, db, "SELECT n FROM a WHERE name = 'new'"); n != 7 {
				t.Errorf("OnConflict made n %d, want 7", n)
			}
			var text string
			var number int64
			var bytes []byte
			var truth bool
			err := db.SQL().QueryRow(d.Bind("SELECT "+d.Param(sqldb.Text)+", "+d.Param(sqldb.Int)+", "+d.Param(sqldb.Bytes)+", "+d.Param(sqldb.Bool)),
				"a", int64(1)<<40, []byte{0, 255}, true).Scan(&text, &number, &bytes, &truth)
			if err != nil || text != "a" || number != 1<<40 || string(bytes) != "\x00\xff" || !truth {
				t.Errorf("Param gives %q, %d, %x, %v, %v", text, number, bytes, truth, err)
			}
		})
	}
}

func TestClasses(t *testing.T) {
	pg := func(state string) error { return fmt.Errorf("wrapped: %w", &pgconn.PgError{Code: state}) }
	my := func(number uint16) error {
		return errors.Join(errors.New("other"), fmt.Errorf("wrapped: %w", &mysql.MySQLError{Number: number}))
	}
	for _, tt := range []struct {
		dialect sqldb.Dialect
		err     error
		want    error // nil for none
	}{
		{sqldb.Postgres, pg("23505"), sqldb.ErrConflict},
		{sqldb.Postgres, pg("40001"), sqldb.ErrConflict},
		{sqldb.Postgres, pg("40P01"), sqldb.ErrConflict},
		{sqldb.Postgres, pg("55P03"), sqldb.ErrBusy},
		{sqldb.Postgres, pg("53100"), sqldb.ErrFull},
		{sqldb.Postgres, pg("25006"), sqldb.ErrReadOnly},
		{sqldb.Postgres, pg("42P01"), nil},
		{sqldb.Postgres, my(1062), nil},
		{sqldb.MySQL, my(1062), sqldb.ErrConflict},
		{sqldb.MySQL, my(1213), sqldb.ErrConflict},
		{sqldb.MySQL, my(1205), sqldb.ErrConflict},
		{sqldb.MySQL, my(1114), sqldb.ErrFull},
		{sqldb.MySQL, my(1290), sqldb.ErrReadOnly},
		{sqldb.MySQL, my(1146), nil},
		{sqldb.MySQL, pg("23505"), nil},
		{sqldb.MySQL, errors.New("Error 1062"), nil},
	} {
		got := sqldb.New(nil, tt.dialect).Classify(tt.err)
		if tt.want == nil && got != tt.err || tt.want != nil && !errors.Is(got, tt.want) || !errors.Is(got, tt.err) { //nolint:errorlint // the very same
			t.Errorf("%s: Classify(%v) = %v, want %v", tt.dialect.Name, tt.err, got, tt.want)
		}
	}
}
