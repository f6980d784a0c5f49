package sqldb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Set is a series of migrations that belong together. Several sets share one
// database; they are applied each in order of version.
type Set struct {
	// Name tells the set from others in the version table.
	Name string
	// FS holds files named VERSION_name.sql in its root, in the comment format
	// of goose: "-- +goose Up", "-- +goose Down", and "-- +goose StatementBegin"
	// and "StatementEnd" around a statement with inner semicolons. Only Up is
	// run. Versions are numbers; a file that was released never changes.
	FS fs.FS
}

const (
	versionTable = `CREATE TABLE IF NOT EXISTS gatebook_migrations (
	part       TEXT    NOT NULL,
	version    INTEGER NOT NULL,
	name       TEXT    NOT NULL,
	applied_at INTEGER NOT NULL,
	PRIMARY KEY (part, version)
)`
	selectVersions = `SELECT version FROM gatebook_migrations WHERE part = ? ORDER BY version`
)

// Migrate applies the migrations of sets that are missing, each in its own
// transaction, so that a failure leaves those before it applied and none half
// done. It may run while other servers migrate or serve. It changes nothing and
// returns an error that matches [ErrSchema] when the database has a migration
// newer than those it knows.
func (d *DB) Migrate(ctx context.Context, sets ...Set) error {
	for _, set := range sets {
		files, err := readSet(set)
		if err != nil {
			return err
		}
		if err := d.write(ctx, func(ctx context.Context, c *sql.Conn) error {
			_, err := c.ExecContext(ctx, versionTable)
			return err
		}); err != nil {
			return fmt.Errorf("create version table: %w", err)
		}
		for _, m := range files {
			if err := d.write(ctx, func(ctx context.Context, c *sql.Conn) error {
				return d.apply(ctx, c, set, files, m)
			}); err != nil {
				return fmt.Errorf("migrate %s to %d: %w", set.Name, m.version, err)
			}
		}
	}
	return nil
}

// apply runs one migration unless it has been run. It looks under the write
// lock, for another server may migrate at the same time.
func (d *DB) apply(ctx context.Context, c *sql.Conn, set Set, files []migration, m migration) error {
	applied, err := versions(ctx, c, set)
	if err != nil {
		return err
	}
	if newest := files[len(files)-1].version; len(applied) > 0 && applied[len(applied)-1] > newest {
		return fmt.Errorf("%w: the database has migration %d of %s, and this version of Gatebook knows none after %d: use the newer version",
			ErrSchema, applied[len(applied)-1], set.Name, newest)
	}
	if slices.Contains(applied, m.version) {
		return nil
	}
	for _, stmt := range m.statements {
		if _, err := c.ExecContext(ctx, stmt); err != nil {
			return err
		}
	}
	_, err = c.ExecContext(ctx, `INSERT INTO gatebook_migrations (part, version, name, applied_at) VALUES (?, ?, ?, `+d.dialect.Now+`)`,
		set.Name, m.version, m.name)
	return err
}

// Check returns nil when every migration of sets has been applied, and
// otherwise an error that matches [ErrSchema] and names the command to run. A
// database that has newer ones as well passes: migrations only add, so that
// servers of the version before can go on.
func (d *DB) Check(ctx context.Context, sets ...Set) error {
	for _, set := range sets {
		files, err := readSet(set)
		if err != nil {
			return err
		}
		applied, err := versions(ctx, d.db, set)
		if err != nil {
			// Only a missing table is a missing schema; a database that is down
			// or locked is not. So the table is asked for by name.
			var n int
			if d.db.QueryRowContext(ctx, d.dialect.hasTable, "gatebook_migrations").Scan(&n) != nil || n != 0 {
				return fmt.Errorf("read schema version: %w", d.Classify(err))
			}
		}
		for _, m := range files {
			if !slices.Contains(applied, m.version) {
				return fmt.Errorf("%w: migration %s is missing: run \"gatebook migrate\", or call the adapter's Migrate", ErrSchema, m.name)
			}
		}
	}
	return nil
}

type queryer interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

func versions(ctx context.Context, q queryer, set Set) ([]int64, error) {
	rows, err := q.QueryContext(ctx, selectVersions, set.Name)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []int64
	for rows.Next() {
		var v int64
		if err := rows.Scan(&v); err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, rows.Err()
}

// write runs fn in a transaction on a bare connection. Unlike [DB.Tx] it needs
// no table to exist.
func (d *DB) write(ctx context.Context, fn func(context.Context, *sql.Conn) error) (err error) {
	select {
	case d.writer <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-d.writer }()
	c, err := d.db.Conn(ctx)
	if err != nil {
		return d.Classify(err)
	}
	defer c.Close()
	if _, err := c.ExecContext(ctx, d.dialect.begin); err != nil {
		return d.Classify(err)
	}
	done := false
	defer func() {
		if !done {
			// The connection may still be inside the transaction.
			_ = c.Raw(func(any) error { return driver.ErrBadConn })
		}
	}()
	if err := fn(ctx, c); err != nil {
		return d.failed(ctx, "", err)
	}
	if _, err := c.ExecContext(ctx, "COMMIT"); err != nil {
		return d.failed(ctx, "commit", err)
	}
	done = true
	return nil
}

type migration struct {
	version    int64
	name       string
	statements []string
}

func readSet(set Set) ([]migration, error) {
	names, err := fs.Glob(set.FS, "*.sql")
	if err != nil {
		return nil, fmt.Errorf("list migrations of %s: %w", set.Name, err)
	}
	var out []migration
	for _, name := range names {
		b, err := fs.ReadFile(set.FS, name)
		if err != nil {
			return nil, fmt.Errorf("read migration: %w", err)
		}
		number, _, _ := strings.Cut(path.Base(name), "_")
		v, err := strconv.ParseInt(number, 10, 64)
		if err != nil || v < 1 {
			return nil, fmt.Errorf("migration %s: name does not begin with a version", name)
		}
		stmts, err := parseUp(string(b))
		if err != nil {
			return nil, fmt.Errorf("migration %s: %w", name, err)
		}
		out = append(out, migration{version: v, name: strings.TrimSuffix(path.Base(name), ".sql"), statements: stmts})
	}
	slices.SortFunc(out, func(a, b migration) int { return int(min(max(a.version-b.version, -1), 1)) })
	for i := 1; i < len(out); i++ {
		if out[i].version == out[i-1].version {
			return nil, fmt.Errorf("migrations %s and %s have the same version", out[i-1].name, out[i].name)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no migrations of %s", set.Name)
	}
	return out, nil
}

// endsStatement reports whether the last word of line before a comment ends in a
// semicolon. A word that begins with two hyphens begins a comment, as it does for
// goose.
func endsStatement(line string) bool {
	last := ""
	for word := range strings.FieldsSeq(line) {
		if strings.HasPrefix(word, "--") {
			break
		}
		last = word
	}
	return strings.HasSuffix(last, ";")
}

// parseUp returns the statements of the Up part of a file in goose's format: a
// statement ends with a semicolon at the end of a line, or with StatementEnd.
func parseUp(text string) ([]string, error) {
	var out []string
	var stmt strings.Builder
	up, seen, block := false, false, false
	end := func() {
		if s := strings.TrimSpace(stmt.String()); s != "" {
			out = append(out, s)
		}
		stmt.Reset()
	}
	for line := range strings.Lines(text) {
		trimmed := strings.TrimSpace(line)
		if command, ok := strings.CutPrefix(trimmed, "-- +goose "); ok {
			switch command = strings.TrimSpace(command); {
			case command == "Up" && !seen:
				up, seen = true, true
			case command == "Down":
				up = false
			case command == "StatementBegin" && !block:
				block = true
			case command == "StatementEnd" && block:
				block = false
				if up {
					end()
				}
			default:
				return nil, fmt.Errorf("goose command %q is not supported here", command)
			}
			continue
		}
		// Within a statement every line counts: it may be one of a string.
		if !up || !block && stmt.Len() == 0 && (trimmed == "" || strings.HasPrefix(trimmed, "--")) {
			continue
		}
		stmt.WriteString(line)
		if !block && endsStatement(line) {
			end()
		}
	}
	if !seen {
		return nil, errors.New("no \"-- +goose Up\"")
	}
	if block || strings.TrimSpace(stmt.String()) != "" {
		return nil, errors.New("the last statement does not end")
	}
	return out, nil
}
