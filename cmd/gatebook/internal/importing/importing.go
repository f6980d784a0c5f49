// Package importing imports users from a source into a database, and goes on
// where an import was interrupted.
package importing

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/cmd/gatebook/internal/userfile"
)

// Source is where users come from.
type Source interface {
	// Name is what the source is called in what people read.
	Name() string
	// Mark changes when the source is another or has changed, so that a position
	// in it means nothing any more.
	Mark() (string, error)
	// Users returns the users from a position on; the zero Position is the
	// beginning. An error ends them.
	Users(ctx context.Context, from Position) iter.Seq2[userfile.Row, error]
	// Progress returns how much of how much has been read, in any unit; a total
	// of 0 is not known.
	Progress() (done, total int64)
	// Place says where a user stands, such as "users.csv:7".
	Place(row *userfile.Row) string
}

// Position is a place in a source: how many users were read, and the id of the
// last.
type Position struct {
	Users int64  `json:"users"`
	After string `json:"after,omitempty"`
}

// Counts are what became of users.
type Counts struct {
	Imported int64 `json:"imported"`
	Accounts int64 `json:"accounts"` // of those imported
	Known    int64 `json:"known"`
	Refused  int64 `json:"refused"`
}

// Import is an import.
type Import struct {
	Auth   *gatebook.Auth
	Source Source
	// State is the file that keeps the position; empty where there is none, as
	// in a dry run.
	State  string
	DryRun bool
	// Refused is told of each user that is refused, and Note of what else a
	// person should know. Progress is called after each batch.
	Refused  func(place, why string)
	Note     func(text string)
	Progress func(Counts)
}

// batchSize is how many users are imported at once. What is done is noted after
// each.
const batchSize = 500

// Run imports all users of the source, or those after the position that State
// holds. It returns what became of them, those of the interrupted import
// included, and an error when the source or the store failed: calling it again
// goes on from there.
func (x *Import) Run(ctx context.Context) (Counts, error) {
	s, err := x.load(ctx)
	if err != nil {
		return Counts{}, err
	}
	batch := make([]userfile.Row, 0, batchSize)
	for row, err := range x.Source.Users(ctx, s.Position) {
		if err != nil {
			// What stands before it is well.
			if err2 := x.batch(ctx, s, batch); err2 != nil {
				return s.Counts, err2
			}
			return s.Counts, name(x.Source.Name(), err)
		}
		if batch = append(batch, row); len(batch) < batchSize {
			continue
		}
		if err := x.batch(ctx, s, batch); err != nil {
			return s.Counts, err
		}
		batch = batch[:0]
	}
	if err := x.batch(ctx, s, batch); err != nil {
		return s.Counts, err
	}
	return s.Counts, x.forget()
}

// batch imports rows and moves the position past them.
func (x *Import) batch(ctx context.Context, s *state, rows []userfile.Row) error {
	if len(rows) == 0 {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	users := make([]gatebook.ImportUser, 0, len(rows))
	for _, row := range rows {
		if row.Err == nil {
			users = append(users, row.ImportUser)
		}
	}
	results, err := x.Auth.Import(ctx, users, &gatebook.ImportOptions{DryRun: x.DryRun})
	if err != nil {
		return err
	}
	for i := range rows {
		row := &rows[i]
		if row.Err != nil {
			x.refuse(s, row, row.Err.Error())
			continue
		}
		r := results[0]
		results = results[1:]
		switch {
		case r.Refused != "":
			x.refuse(s, row, r.Refused)
		case r.Known:
			s.Counts.Known++
		default:
			s.Counts.Imported++
			s.Counts.Accounts += int64(len(row.Accounts))
		}
	}
	s.Position.Users += int64(len(rows))
	s.Position.After = rows[len(rows)-1].User.ID
	x.Progress(s.Counts)
	return x.save(s)
}

func (x *Import) refuse(s *state, row *userfile.Row, why string) {
	s.Counts.Refused++
	x.Refused(x.Source.Place(row), why)
}

// name puts the name of the source before an error; before each, where it is
// several.
func name(source string, err error) error {
	several, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return fmt.Errorf("%s: %w", source, err)
	}
	var out []error
	for _, e := range several.Unwrap() {
		out = append(out, name(source, e))
	}
	return errors.Join(out...)
}
