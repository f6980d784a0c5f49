package cli

import (
	"errors"
	"fmt"
	"os"

	"github.com/gatebook/gatebook/cmd/gatebook/internal/config"
	"github.com/gatebook/gatebook/cmd/gatebook/internal/server"
)

const defaultConfig = "gatebook.yaml"

type serveCommand struct {
	Config   string `default:"gatebook.yaml" env:"GATEBOOK_CONFIG" help:"Configuration file."`
	Listen   string `env:"GATEBOOK_LISTEN" help:"Address to listen on, above the file's."`
	Database string `name:"db" env:"GATEBOOK_DATABASE" placeholder:"FILE|URL" help:"SQLite file, or address of a database, above the file's."`
	URL      string `help:"Address of the site as visitors know it, above the file's and AUTH_URL."`
	LogLevel string `help:"debug, info, warn or error, above the file's."`
}

// Run serves until it is interrupted.
func (c *serveCommand) Run(env *environment) error {
	cfg, err := config.Load(c.Config, os.LookupEnv)
	if err != nil {
		return err
	}
	for _, o := range []struct{ flag, field *string }{
		{&c.Listen, &cfg.Listen}, {&c.Database, &cfg.Database.URL}, {&c.URL, &cfg.URL}, {&c.LogLevel, &cfg.Log.Level},
	} {
		if *o.flag != "" {
			*o.field = *o.flag
		}
	}
	log, err := newLogger(env.stderr, cfg.Log.Level, cfg.Log.Format)
	if err != nil {
		return err
	}
	s, err := server.New(env.ctx, cfg, log)
	if err != nil {
		return err
	}
	return s.Run(env.ctx)
}

// store is how commands that only need the database are told where it is.
type store struct {
	DB     string `name:"db" env:"GATEBOOK_DATABASE" placeholder:"FILE|URL" help:"SQLite file, or address of a database, above that of the configuration."`
	Config string `default:"gatebook.yaml" env:"GATEBOOK_CONFIG" help:"Configuration file."`
}

// database returns the database. Layout and users are those of the file, whatever
// the address: a server that is started here has them too.
func (s *store) database() (config.Database, error) {
	if s.DB != "" {
		if err := (config.Database{URL: s.DB}).CheckURL(); err != nil {
			return config.Database{}, fmt.Errorf("--db: %w", err)
		}
	}
	c, err := config.DatabaseOf(s.Config, s.DB, os.LookupEnv)
	switch {
	case errors.Is(err, os.ErrNotExist) && s.DB != "":
		return config.Database{URL: s.DB}, nil
	case errors.Is(err, os.ErrNotExist) && s.Config == defaultConfig:
		return c, errors.New("which database? Name it with --db, or the configuration with --config")
	case err != nil:
		return c, err
	}
	if c.URL == "" {
		c.URL = config.DefaultDatabase
	}
	return c, nil
}
