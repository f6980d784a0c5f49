package sqlstore

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/gatebook/gatebook/book"
	"github.com/gatebook/gatebook/internal/sqldb"
)

//go:embed migrations
var migrations embed.FS

// Migrations returns the migrations as files, VERSION_name.sql, in the format of
// goose: those of the book, those of Gatebook's other tables and, for a layout of
// Gatebook's own, those of Auth.js's tables. [Store.Migrate] applies them; they
// are here to be read and reviewed, or to be applied by goose or atlas. What it
// adds to tables that are there already is in [Store.Plan] only.
func Migrations(l Layout) fs.FS {
	all := make(files)
	for _, set := range l.sets("") {
		names, err := fs.Glob(set.FS, "*.sql")
		if err != nil {
			panic(err) // the pattern is valid
		}
		for _, name := range names {
			text, err := fs.ReadFile(set.FS, name)
			if err != nil {
				panic(err) // it is in the program
			}
			all[name] = string(text)
		}
	}
	return all
}

// sets are the migrations of a layout. The type of the users' ids is that of
// references to them, for the layout's own if empty.
func (l Layout) sets(idType string) []sqldb.Set {
	sets := []sqldb.Set{book.Migrations(l.dialect.Dialect), {Name: "adapter", FS: l.files("adapter", nil)}}
	if l.raw {
		return sets
	}
	if idType == "" {
		idType = map[*dialect]map[IDType]string{
			sqlite:   {Text: "text", UUID: "text", Integer: "integer"},
			postgres: {Text: "text", UUID: "uuid", Integer: "bigint"},
			mysql:    {Text: "varchar(255)", UUID: "char(36)", Integer: "bigint"},
		}[l.dialect][l.ids]
	}
	users, id := `"`+l.tables[userTable]+`"`, l.userNames()[0]
	if l.ownUsers() {
		users = quote(l.users.Table)
	}
	ref := users + ` ("` + id + `")`
	if l.dialect.backtick() {
		ref = strings.ReplaceAll(ref, `"`, "`")
	}
	return append(sets, sqldb.Set{Name: "tables", FS: l.files("tables", strings.NewReplacer("/*users*/", ref, "/*id*/", idType))})
}

// files are the migrations in a folder, without that of the users table when the
// application has its own.
func (l Layout) files(folder string, fill *strings.Replacer) files {
	out := make(files)
	dir := path.Join("migrations", l.dialect.Name, folder)
	entries, err := migrations.ReadDir(dir)
	if err != nil {
		panic(err) // the path is valid
	}
	for _, e := range entries {
		if l.ownUsers() && strings.HasSuffix(e.Name(), "_users.sql") {
			continue
		}
		text, err := migrations.ReadFile(path.Join(dir, e.Name()))
		if err != nil {
			panic(err) // it is in the program
		}
		out[e.Name()] = string(text)
		if fill != nil {
			out[e.Name()] = fill.Replace(string(text))
		}
	}
	return out
}

// Step is one step of a migration.
type Step struct {
	// Part is what it belongs to: book, adapter, tables, or keys for what is added
	// to tables that were there already.
	Part string
	// Version and Name are those of its file in [Migrations].
	Version int64
	Name    string
	// Statements are what it runs. There are none when a newer version of Gatebook
	// has applied it.
	Statements []string
	// Applied is when it was applied, zero when it was not.
	Applied time.Time
}

func steps(all []sqldb.Step) []Step {
	out := make([]Step, len(all))
	for i, s := range all {
		out[i] = step1(s)
	}
	return out
}

func step1(s sqldb.Step) Step { return Step{s.Set, s.Version, s.Name, s.Statements, s.Applied} }

// Migrate makes the tables, or brings them up to date, and gives tables that are
// there already the unique keys and indexes they lack. Where rows have the same
// value already that fails, with an error that lists them. It may run while other
// servers serve, and again at any time.
func (s *Store) Migrate(ctx context.Context) error { return s.MigrateSteps(ctx, nil) }

// MigrateSteps is [Store.Migrate], which tells progress of each step before it
// runs and again, with Applied set, after it.
func (s *Store) MigrateSteps(ctx context.Context, progress func(Step)) error {
	if err := s.migrate(ctx, progress); err != nil {
		return failed(ctx, "migrate", err)
	}
	// The head row is made here: the first act may be inside the application's
	// transaction, which holds the lock that making it needs.
	if _, err := s.log.Identity(ctx); err != nil && !errors.Is(err, sqldb.ErrWeak) {
		return failed(ctx, "migrate", err)
	}
	return nil
}

func (s *Store) migrate(ctx context.Context, progress func(Step)) error {
	if err := s.layout.check(); err != nil {
		return err
	}
	tell := func(step sqldb.Step) {
		if progress != nil {
			progress(step1(step))
		}
	}
	if err := s.strange(ctx); err != nil {
		return err
	}
	idType, err := s.idType(ctx)
	if err != nil {
		return err
	}
	if err := s.db.Migrate(ctx, tell, s.layout.sets(idType)...); err != nil {
		return err
	}
	keys, err := s.keys(ctx, true)
	if err != nil || keys == nil {
		return err
	}
	return s.db.Migrate(ctx, tell, *keys)
}

// strange refuses to migrate around a table that is there already and is not what
// the layout takes it for: others would refer to it.
func (s *Store) strange(ctx context.Context) error {
	all, err := s.layout.see(ctx, s.db.SQL())
	if err != nil {
		return s.db.Classify(err)
	}
	for i, t := range all {
		if t == nil {
			continue
		}
		if err := s.layout.shaped(t, i); err != nil {
			return err
		}
	}
	return nil
}

// Plan returns the steps of [Store.Migrate]: those that were applied and those
// that are to be. It changes nothing.
func (s *Store) Plan(ctx context.Context) ([]Step, error) {
	if err := s.layout.check(); err != nil {
		return nil, failed(ctx, "plan", err)
	}
	idType, err := s.idType(ctx)
	if err != nil {
		return nil, failed(ctx, "plan", err)
	}
	sets := s.layout.sets(idType)
	keys, err := s.keys(ctx, false)
	if err != nil {
		return nil, failed(ctx, "plan", err)
	}
	if keys != nil {
		sets = append(sets, *keys)
	}
	all, err := s.db.Plan(ctx, sets...)
	if err != nil {
		return nil, failed(ctx, "plan", err)
	}
	return steps(all), nil
}

// idType is the type of the ids of an application's users, to be referred to.
// MariaDB and MySQL want references to be of the very same type.
func (s *Store) idType(ctx context.Context) (string, error) {
	l := s.layout
	if l.raw || !l.ownUsers() {
		return "", nil
	}
	t, err := l.dialect.look(ctx, s.db.SQL(), l.users.Table)
	if err != nil {
		return "", s.db.Classify(err)
	}
	if len(t.columns) == 0 {
		return "", l.missing(userTable)
	}
	c := t.find(l.userNames()[0])
	if c == nil {
		return "", fmt.Errorf("table %q has no column %q, which Users.ID names", t.name, l.userNames()[0])
	}
	if err := l.holds(c, wantID); err != nil {
		return "", err
	}
	if l.dialect == sqlite {
		return "", nil
	}
	return c.full, nil
}

// keys are the unique keys and indexes that tables lack which were there before,
// as migrations; nil when they lack none. When they are to be made, rows that
// stand in the way are an error.
func (s *Store) keys(ctx context.Context, make bool) (*sqldb.Set, error) {
	l := s.layout
	all, err := l.see(ctx, s.db.SQL())
	if err != nil {
		return nil, s.db.Classify(err)
	}
	set := files{}
	for i, t := range all {
		if t == nil {
			continue
		}
		spec := l.spec(i)
		add := func(kind string, n int, columns []string) {
			name := indexName(t, columns)
			set[fmt.Sprintf("202611240009%d%d_%s.sql", i+1, n, name)] = l.dialect.makeIndex(t, kind, name, columns)
		}
		for n, key := range spec.keys {
			if t.keeps(key) || slices.ContainsFunc(key, func(c string) bool { return t.find(c) == nil }) {
				continue
			}
			if make {
				if err := s.doubles(ctx, t, key); err != nil {
					return nil, err
				}
			}
			add("UNIQUE INDEX", n, key)
		}
		for n, columns := range spec.indexes {
			if !t.finds(columns) && t.find(columns[0]) != nil && l.dialect.canIndex(t.find(columns[0])) {
				add("INDEX", 5+n, columns)
			}
		}
	}
	if len(set) == 0 {
		return nil, nil
	}
	return &sqldb.Set{Name: "keys", FS: set}, nil
}

// canIndex reports whether an index may be made of the whole column.
func (d *dialect) canIndex(c *column) bool {
	return d != mysql || !strings.HasSuffix(c.kind, "text")
}

// makeIndex is a migration. On PostgreSQL it lets others write meanwhile; what a
// broken one left is of no use.
func (d *dialect) makeIndex(t *table, kind, name string, columns []string) string {
	on := ` ON ` + t.q() + ` (` + quoteAll(columns) + ")"
	switch d {
	case postgres:
		schema, _, ok := strings.Cut(t.name, ".")
		drop := `"` + name + `"`
		if ok {
			drop = `"` + schema + `".` + drop
		}
		return "-- +goose NO TRANSACTION\n-- +goose Up\nDROP INDEX CONCURRENTLY IF EXISTS " + drop + ";\nCREATE " + kind + ` CONCURRENTLY "` +
			name + `"` + on + ";\n"
	case mysql:
		return "-- +goose Up\n" + strings.ReplaceAll("CREATE "+kind+` "`+name+`"`+on, `"`, "`") + ";\n"
	}
	return "-- +goose Up\nCREATE " + kind + ` IF NOT EXISTS "` + name + `"` + on + ";\n"
}

// doubles refuses to make a unique key where several rows have one value, and
// lists the first of them.
func (s *Store) doubles(ctx context.Context, t *table, key []string) error {
	d := s.layout.dialect
	var shown []string
	for _, name := range key {
		shown = append(shown, d.text(t.find(name), t.find(name).q()))
	}
	there := make([]string, len(key))
	for i, name := range key {
		there[i] = `"` + name + `" IS NOT NULL`
	}
	var found []string
	err := d.each(ctx, s.db.SQL(), `SELECT `+strings.Join(shown, ", ")+`, count(*) FROM `+t.q()+` WHERE `+strings.Join(there, " AND ")+
		` GROUP BY `+quoteAll(key)+` HAVING count(*) > 1 ORDER BY 1 LIMIT 20`, nil, func(rows *sql.Rows) error {
		values := make([]string, len(key))
		to := make([]any, len(key)+1)
		n := 0
		for i := range values {
			to[i] = &values[i]
		}
		to[len(key)] = &n
		if err := rows.Scan(to...); err != nil {
			return err
		}
		if t.name == s.layout.tables[sessionTable] {
			found = append(found, fmt.Sprintf("a session token %d times", n)) // it is a secret
		} else {
			found = append(found, fmt.Sprintf("%q %d times", values, n))
		}
		return nil
	})
	if err != nil || found == nil {
		return s.db.Classify(err)
	}
	return fmt.Errorf("table %q must have a unique key of %s, and has %s: leave one row of each, then run the migration again",
		t.name, strings.Join(key, " and "), strings.Join(found, ", "))
}
