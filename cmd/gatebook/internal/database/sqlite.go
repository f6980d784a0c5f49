package database

import (
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

var errNoFile = fmt.Errorf("%w: `gatebook migrate` makes it", fs.ErrNotExist)

// openFile opens a SQLite file with the settings that serving has. It makes none
// unless told to, and then one for its owner alone.
func openFile(path string, missing int) (*sql.DB, error) {
	journal := []string{}
	switch _, err := os.Stat(path); {
	case errors.Is(err, os.ErrNotExist) && missing == mayLack:
		pool, err := sql.Open("sqlite", ":memory:")
		if err == nil {
			pool.SetMaxOpenConns(1) // each connection would have a database of its own
		}
		return pool, err
	case errors.Is(err, os.ErrNotExist) && missing == mayMake:
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, err
		}
		if err := f.Close(); err != nil {
			return nil, err
		}
		journal = append(journal, "journal_mode(WAL)")
	case errors.Is(err, os.ErrNotExist):
		return nil, errNoFile
	case err != nil:
		return nil, err
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	abs = filepath.ToSlash(abs)
	if !strings.HasPrefix(abs, "/") {
		abs = "/" + abs // as SQLite wants a drive letter
	}
	dsn := url.URL{Scheme: "file", Path: abs, RawQuery: url.Values{
		"mode":    {"rw"},
		"_pragma": append(journal, "busy_timeout(5000)", "synchronous(FULL)", "foreign_keys(1)"),
		"_txlock": {"immediate"},
	}.Encode()}
	return sql.Open("sqlite", dsn.String())
}
