package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/gatebook/gatebook/adapter/sqlstore"
	"github.com/gatebook/gatebook/cmd/gatebook/internal/config"
	"github.com/gatebook/gatebook/cmd/gatebook/internal/database"
)

type migrateCommand struct {
	store
	DryRun bool `xor:"how" help:"Print the statements that would be run, and run none."`
	Status bool `xor:"how" help:"Say which migrations the database has; the status is 1 when some are missing."`
}

// Help is shown below the flags.
func (*migrateCommand) Help() string {
	return "Migrations only add. They may run while servers of this version and of the one before serve, and again when they were interrupted."
}

// Run makes the tables, or says what that would be.
func (c *migrateCommand) Run(env *environment) error {
	where, err := c.database()
	if err != nil {
		return err
	}
	if c.DryRun || c.Status {
		return c.plan(env, where)
	}
	db, err := database.ToMigrate(where)
	if err != nil {
		return err
	}
	// A migration that has begun is not broken off by an impatient person: half
	// an index is of no use.
	ctx := context.WithoutCancel(env.ctx)
	w := &steps{w: env.stdout}
	err = db.MigrateSteps(ctx, w.step)
	if err = errors.Join(w.end(), database.Named(where, err)); err == nil {
		err = database.Named(where, db.Check(ctx))
	}
	if err := errors.Join(err, db.Close()); err != nil {
		return err
	}
	_, err = fmt.Fprintf(env.stdout, "%s is up to date\n", clean(where.Name()))
	return err
}

// steps prints each step as it begins, and how long it took.
type steps struct {
	w     io.Writer
	began time.Time // zero between steps
	err   error     // of writing
}

func (s *steps) step(step sqlstore.Step) {
	var err error
	if step.Applied.IsZero() {
		s.began = time.Now()
		_, err = fmt.Fprintf(s.w, "%s %s ... ", step.Part, step.Name)
	} else {
		_, err = fmt.Fprintln(s.w, time.Since(s.began).Round(time.Millisecond))
		s.began = time.Time{}
	}
	s.err = errors.Join(s.err, err)
}

// end ends the line of a step that failed.
func (s *steps) end() error {
	if s.began.IsZero() {
		return s.err
	}
	_, err := fmt.Fprintln(s.w, "failed")
	return errors.Join(s.err, err)
}

// plan says what is there and what is missing.
func (c *migrateCommand) plan(env *environment, where config.Database) error {
	db, err := database.ToPlan(where)
	if err != nil {
		return err
	}
	all, err := db.Plan(env.ctx)
	if err = errors.Join(database.Named(where, err), db.Close()); err != nil {
		return err
	}
	if c.DryRun {
		return printStatements(env.stdout, all)
	}
	missing, err := printStatus(env.stdout, all)
	if err == nil && missing > 0 {
		err = fmt.Errorf("%s missing: run gatebook migrate", count(missing, "migration"))
	}
	return err
}

// newer reports whether a step was applied by a version that this one does not
// know.
func newer(s sqlstore.Step) bool { return len(s.Statements) == 0 }

func printStatements(w io.Writer, all []sqlstore.Step) error {
	var b strings.Builder
	for _, s := range all {
		if newer(s) {
			return fmt.Errorf("the database has %s %s, which this version does not know: migrate with the newer version", s.Part, s.Name)
		}
		if !s.Applied.IsZero() {
			continue
		}
		fmt.Fprintf(&b, "-- %s %s\n", s.Part, s.Name)
		for _, stmt := range s.Statements {
			fmt.Fprintf(&b, "%s;\n", strings.TrimRight(strings.TrimSpace(stmt), ";"))
		}
	}
	if b.Len() == 0 {
		b.WriteString("-- nothing is to be done\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func printStatus(w io.Writer, all []sqlstore.Step) (missing int64, err error) {
	var b strings.Builder
	b.WriteString("PART\tMIGRATION\tSTATE\n")
	for _, s := range all {
		state := "applied " + s.Applied.UTC().Format(time.RFC3339)
		switch {
		case s.Applied.IsZero():
			state = "missing"
			missing++
		case newer(s):
			state += ", by a newer version"
		}
		fmt.Fprintf(&b, "%s\t%s\t%s\n", s.Part, s.Name, state)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, err = io.WriteString(t, b.String())
	return missing, errors.Join(err, t.Flush())
}
