package database

import (
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/gatebook/gatebook/adapter/sqlite"
	"github.com/gatebook/gatebook/adapter/sqlstore"
)

// file is a SQLite file that was there.
type file struct {
	*sqlite.DB
	pool *sql.DB
}

// Close closes the file.
func (f file) Close() error { return f.pool.Close() }

// existingFile opens a file with the settings that serving has, and makes none.
func existingFile(path string) (Store, error) {
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("open the database: %w", err)
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open the database: %w", err)
	}
	abs = filepath.ToSlash(abs)
	if !strings.HasPrefix(abs, "/") {
		abs = "/" + abs // as SQLite wants a drive letter
	}
	dsn := url.URL{Scheme: "file", Path: abs, RawQuery: url.Values{
		"mode":    {"rw"},
		"_pragma": {"busy_timeout(5000)", "synchronous(FULL)", "foreign_keys(1)"},
		"_txlock": {"immediate"},
	}.Encode()}
	pool, err := sql.Open("sqlite", dsn.String())
	if err != nil {
		return nil, fmt.Errorf("open the database: %w", err)
	}
	return file{DB: sqlite.New(pool, sqlstore.SQLite), pool: pool}, nil
}
