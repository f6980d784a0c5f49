package importing

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// state is what is kept of an import that is under way. It holds no more of the
// users than the last one's id.
type state struct {
	Version  int      `json:"version"`
	Source   string   `json:"source"` // its mark
	Book     string   `json:"book"`   // the id of the book that users are imported into
	Position Position `json:"position"`
	Counts   Counts   `json:"counts"`
}

const stateVersion = 1

// load returns the state of an import that was interrupted, or that of one at
// its beginning.
func (x *Import) load(ctx context.Context) (*state, error) {
	mark, err := x.Source.Mark()
	if err != nil {
		return nil, err
	}
	id, err := x.Auth.Book().Identity(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the book's identity: %w", err)
	}
	begin := &state{Version: stateVersion, Source: mark, Book: id.ID}
	if x.State == "" {
		return begin, nil
	}
	data, err := os.ReadFile(x.State)
	if errors.Is(err, os.ErrNotExist) {
		return begin, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read where the last import was: %w", err)
	}
	var s state
	if err := json.Unmarshal(data, &s); err != nil || s.Version != stateVersion {
		return nil, fmt.Errorf("%s is no state of an import: delete it to begin anew, or name another file with --state", x.State)
	}
	if s.Source != mark || s.Book != id.ID {
		x.Note(fmt.Sprintf("%s is of another file, database or version of them: this import begins anew, and who is there already is skipped", x.State))
		return begin, nil
	}
	x.Note(fmt.Sprintf("going on after the %d users of an import that was interrupted (%s)", s.Position.Users, x.State))
	return &s, nil
}

// save writes the state in one step, so that a kill leaves the one before or
// this one. It is not synced: after a loss of power some users are looked at
// twice, and found there.
func (x *Import) save(s *state) error {
	if x.State == "" {
		return nil
	}
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(x.State), filepath.Base(x.State)+".*")
	if err != nil {
		return fmt.Errorf("keep where the import is: %w", err)
	}
	_, err = f.Write(append(data, '\n'))
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), x.State)
	}
	if err != nil {
		return fmt.Errorf("keep where the import is: %w", errors.Join(err, os.Remove(f.Name())))
	}
	return nil
}

// forget removes the state of an import that is done.
func (x *Import) forget() error {
	if x.State == "" {
		return nil
	}
	if err := os.Remove(x.State); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
