package dbserver

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"

	"github.com/jackc/pgx/v5"
)

// password returns one of 26 letters and digits.
func password() string { return rand.Text() }

// Postgres starts a PostgreSQL server. The error matches [ErrMissing] where
// there is none.
func Postgres() (*Server, error) {
	bin, err := postgresBin()
	if err != nil {
		return nil, err
	}
	return launch(kind{
		name:  "postgres",
		users: []string{"postgres", "nobody"},
		prepare: func(s *Server) error {
			secret := filepath.Join(s.dir, "password")
			if err := os.WriteFile(secret, []byte(s.password), 0o600); err != nil {
				return err
			}
			if err := s.give(secret); err != nil {
				return err
			}
			// The data is young: whoever pulls the plug starts again.
			return s.run(filepath.Join(bin, "initdb"), "-D", s.data(), "-U", "gatebook", "--no-sync", "--no-locale", "-E", "UTF8",
				"-A", "password", "--pwfile", secret)
		},
		command: func(s *Server) ([]string, error) {
			return []string{filepath.Join(bin, "postgres"), "-D", s.data(), "-p", strconv.Itoa(s.port), "-k", "", "-h", "127.0.0.1",
				"-c", "max_connections=200", "-c", "shared_buffers=64MB", "-c", "max_wal_size=256MB", "-c", "fsync=on", "-c", "synchronous_commit=on",
				"-c", "timezone=America/St_Johns", "-c", "logging_collector=off"}, nil
		},
		ready: func(ctx context.Context, s *Server) error {
			conn, err := pgx.Connect(ctx, s.URL(""))
			if err != nil {
				return err
			}
			return conn.Close(ctx)
		},
		url: func(s *Server, database string) string {
			if database == "" {
				database = "postgres"
			}
			u := url.URL{Scheme: "postgres", User: url.UserPassword("gatebook", s.password), Host: s.Addr(), Path: "/" + database, RawQuery: "sslmode=disable"}
			return u.String()
		},
		quit: syscall.SIGQUIT,
	})
}

// postgresBin finds the folder of initdb and postgres, which Debian keeps apart
// by version: the newest.
func postgresBin() (string, error) {
	if path, err := find("postgres"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil {
			if _, err := os.Stat(filepath.Join(filepath.Dir(path), "initdb")); err == nil {
				return filepath.Dir(path), nil
			}
		}
	}
	var found []string
	for _, pattern := range []string{"/usr/lib/postgresql/*/bin/postgres", "/usr/pgsql-*/bin/postgres", "/opt/homebrew/opt/postgresql*/bin/postgres"} {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			return "", err
		}
		found = append(found, paths...)
	}
	if len(found) == 0 {
		return "", fmt.Errorf("PostgreSQL: %w", ErrMissing)
	}
	return filepath.Dir(slices.Max(found)), nil
}
