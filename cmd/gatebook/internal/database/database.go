// Package database opens the database that a configuration names.
package database

import (
	"context"
	"errors"
	"fmt"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/adapter/sqlite"
	"github.com/gatebook/gatebook/cmd/gatebook/internal/config"
)

// Store is an open database.
type Store interface {
	gatebook.Adapter
	// Migrate makes the tables, or brings them up to date.
	Migrate(ctx context.Context) error
	// Check says what is wrong with the tables or the settings, if something is.
	Check(ctx context.Context) error
	Close() error
}

// Open opens a database to serve from it: what is missing is made. Close the
// Store.
func Open(c config.Database) (Store, error) {
	kind, err := kindOf(&c)
	if err != nil {
		return nil, err
	}
	if kind == config.SQLite {
		db, err := sqlite.Open(c.URL)
		if err != nil { // a nil *sqlite.DB would be a Store
			return nil, err
		}
		return db, nil
	}
	return nil, named(c, errors.ErrUnsupported)
}

// Existing opens a database that must be there, and makes and changes no tables.
// Close the Store.
func Existing(c config.Database) (Store, error) {
	kind, err := kindOf(&c)
	if err != nil {
		return nil, err
	}
	if kind == config.SQLite {
		return existingFile(c.URL)
	}
	return nil, named(c, errors.ErrUnsupported)
}

// kindOf returns the kind of database, after it put the default in the place of
// what is not said.
func kindOf(c *config.Database) (string, error) {
	if c.URL == "" {
		c.URL = config.DefaultDatabase
	}
	kind, err := c.Kind()
	if err != nil {
		return "", fmt.Errorf("database: it %w", err)
	}
	return kind, nil
}

// named adds to an error which setting and which database it is about.
func named(c config.Database, err error) error {
	return fmt.Errorf("database: %s: %w", c.Name(), err)
}
