package sqldb

import (
	"cmp"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Step is a migration of a [Set].
type Step struct {
	Set     string
	Version int64
	// Name is the file's name without ".sql".
	Name string
	// Statements are those it runs, in order. A step without any is one that the database
	// has from a newer version of Gatebook.
	Statements []string
	// Applied is when it was applied, zero when it was not.
	Applied time.Time

	alone bool // not in a transaction
}

// runner is how a dialect's migrations run.
type runner struct {
	versions string // makes the version table
	// begin begins a transaction and keeps other runners, but no server that
	// looks which migrations there are, out of it. Empty where a transaction
	// does not hold what changes tables.
	begin []string
	// lock, for what runs outside a transaction, returns 1 and keeps other
	// runners out until unlock, or returns 0. It does not wait, for the other
	// one may be waiting for the end of every statement that is under way.
	lock, unlock string
	// set and reset are run around a migration outside a transaction.
	set, reset string
	// again reports whether a lock could not be had in time.
	again func(error) bool
}

// While somebody waits to change a table nobody else gets at it. So the runner
// waits for two seconds only, lets the others through, and tries again, for a
// minute.
const (
	lockPause    = 200 * time.Millisecond
	lockPatience = time.Minute
)

// errMigrating says that another runner is at work.
var errMigrating = errors.New("another program migrates this database")

// Migrate applies the steps of sets that are missing, each in its own
// transaction where the database can, so that a failure leaves those before it
// applied and none half done; otherwise a step that was broken off is run again
// from its beginning. It may run while other servers migrate or serve. It
// changes nothing and returns an error that matches [ErrSchema] when the
// database has a migration newer than those it knows.
//
// Progress, when not nil, is told of each step before it runs, and again, with
// Applied set, after it.
func (d *DB) Migrate(ctx context.Context, progress func(Step), sets ...Set) error {
	steps, err := d.Plan(ctx, sets...)
	if err != nil {
		return err
	}
	for _, s := range steps {
		if err := s.known(); err != nil {
			return err
		}
	}
	if err := d.makeVersions(ctx); err != nil {
		return fmt.Errorf("create version table: %w", d.Classify(err))
	}
	for _, s := range steps {
		if !s.Applied.IsZero() {
			continue
		}
		if progress != nil {
			progress(s)
		}
		if err := d.step(ctx, s); err != nil {
			return fmt.Errorf("migrate %s to %d: %w", s.Set, s.Version, err)
		}
		if progress != nil {
			s.Applied = time.Now()
			progress(s)
		}
	}
	return nil
}

// known returns an error when the step is one of a newer version.
func (s Step) known() error {
	if len(s.Statements) > 0 {
		return nil
	}
	return fmt.Errorf("%w: the database has migration %d of %s, which this version of Gatebook does not know: use the newer version",
		ErrSchema, s.Version, s.Set)
}

// Plan returns the steps of sets in the order in which they are applied, those
// that were and those that [DB.Migrate] would. It changes nothing.
func (d *DB) Plan(ctx context.Context, sets ...Set) ([]Step, error) {
	there, err := d.hasVersions(ctx)
	if err != nil {
		return nil, fmt.Errorf("read schema version: %w", d.Classify(err))
	}
	var steps []Step
	for _, set := range sets {
		files, err := readSet(set)
		if err != nil {
			return nil, err
		}
		applied := map[int64]Step{}
		if there {
			if applied, err = d.applied(ctx, d.db, set.Name); err != nil {
				return nil, fmt.Errorf("read schema version: %w", d.Classify(err))
			}
		}
		for _, m := range files {
			steps = append(steps, Step{set.Name, m.version, m.name, m.statements, applied[m.version].Applied, m.alone})
			delete(applied, m.version)
		}
		newest := files[len(files)-1].version
		maps.DeleteFunc(applied, func(v int64, _ Step) bool { return v < newest })
		steps = append(steps, slices.SortedFunc(maps.Values(applied),
			func(a, b Step) int { return cmp.Compare(a.Version, b.Version) })...)
	}
	return steps, nil
}

// Check returns nil when every step of sets has been applied, and otherwise an
// error that matches [ErrSchema] and names the command to run. A database that
// has newer ones as well passes: migrations only add, so that servers of the
// version before can go on.
func (d *DB) Check(ctx context.Context, sets ...Set) error {
	steps, err := d.Plan(ctx, sets...)
	if err != nil {
		return err
	}
	for _, s := range steps {
		if s.Applied.IsZero() {
			return fmt.Errorf("%w: migration %s is missing: run \"gatebook migrate\", or call the adapter's Migrate", ErrSchema, s.Name)
		}
	}
	if d.dialect.Queue {
		return nil
	}
	return again(func() error {
		conn, err := d.connect(ctx)
		if err != nil {
			return err
		}
		return conn.Close()
	})
}

// hasVersions reports whether the version table is there.
func (d *DB) hasVersions(ctx context.Context) (bool, error) {
	var n int
	err := d.db.QueryRowContext(ctx, d.dialect.Bind(d.dialect.hasTable), "gatebook_migrations").Scan(&n)
	return n > 0, err
}

func (d *DB) makeVersions(ctx context.Context) error {
	there, err := d.hasVersions(ctx)
	if err != nil || there {
		return err
	}
	_, err = d.db.ExecContext(ctx, d.dialect.runner.versions)
	if err == nil {
		return nil
	}
	// IF NOT EXISTS does not help two who make it at once on PostgreSQL.
	if there, _ := d.hasVersions(ctx); there {
		return nil
	}
	return err
}

type queryer interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// applied returns the steps of a set that were applied, by version.
func (d *DB) applied(ctx context.Context, q queryer, set string) (map[int64]Step, error) {
	rows, err := q.QueryContext(ctx, d.dialect.Bind(`SELECT version, name, applied_at FROM gatebook_migrations WHERE part = ?`), set)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	out := map[int64]Step{}
	for rows.Next() {
		s := Step{Set: set}
		var at int64
		if err := rows.Scan(&s.Version, &s.Name, &at); err != nil {
			return nil, err
		}
		s.Applied = time.UnixMilli(at).UTC()
		out[s.Version] = s
	}
	return out, rows.Err()
}

// step applies s unless another runner has, and tries again while locks cannot
// be had.
func (d *DB) step(ctx context.Context, s Step) error {
	leave, err := d.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	for began := time.Now(); ; {
		err := d.apply(ctx, s)
		if err == nil || !errors.Is(err, errMigrating) && !d.dialect.runner.again(err) || time.Since(began) > lockPatience {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(lockPause):
		}
	}
}

func (d *DB) apply(ctx context.Context, s Step) error {
	c, err := d.db.Conn(ctx)
	if err != nil {
		return d.failed(ctx, "connect", err)
	}
	defer c.Close()
	if s.alone || len(d.dialect.runner.begin) == 0 {
		err = d.applyAlone(ctx, c, s)
	} else {
		err = d.applyInside(ctx, c, s)
	}
	if err != nil {
		// The connection may still be inside the transaction, or have the lock.
		_ = c.Raw(func(any) error { return driver.ErrBadConn })
		return d.failed(ctx, "", err)
	}
	return nil
}

// applyInside applies s in a transaction.
func (d *DB) applyInside(ctx context.Context, c *sql.Conn, s Step) error {
	if err := execAll(ctx, c, d.dialect.runner.begin...); err != nil {
		return err
	}
	if err := d.runAndNote(ctx, c, s); err != nil {
		return err
	}
	return execAll(ctx, c, "COMMIT")
}

// applyAlone applies s without a transaction.
func (d *DB) applyAlone(ctx context.Context, c *sql.Conn, s Step) error {
	r := d.dialect.runner
	if r.lock != "" {
		var got int
		if err := c.QueryRowContext(ctx, r.lock).Scan(&got); err != nil {
			return err
		}
		if got != 1 {
			return errMigrating
		}
	}
	if err := execAll(ctx, c, r.set); err != nil {
		return err
	}
	if err := d.runAndNote(ctx, c, s); err != nil {
		return err
	}
	return execAll(ctx, c, r.reset, r.unlock)
}

// runAndNote runs the statements of s unless somebody did. It looks under the
// lock.
func (d *DB) runAndNote(ctx context.Context, c *sql.Conn, s Step) error {
	applied, err := d.applied(ctx, c, s.Set)
	if err != nil {
		return err
	}
	if _, done := applied[s.Version]; done {
		return nil
	}
	if err := execAll(ctx, c, s.Statements...); err != nil {
		return err
	}
	_, err = c.ExecContext(ctx, d.dialect.Bind(`INSERT INTO gatebook_migrations (part, version, name, applied_at) VALUES (?, ?, ?, `+
		d.dialect.Now+`)`), s.Set, s.Version, s.Name)
	return err
}

func execAll(ctx context.Context, c *sql.Conn, statements ...string) error {
	for _, stmt := range statements {
		if stmt == "" {
			continue
		}
		if _, err := c.ExecContext(ctx, stmt); err != nil {
			return err
		}
	}
	return nil
}
