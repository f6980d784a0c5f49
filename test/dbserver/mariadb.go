package dbserver

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/go-sql-driver/mysql"
)

// MySQL starts a MariaDB server. The error matches [ErrMissing] where there is
// none.
func MySQL() (*Server, error) { return mariaDB(false) }

// SmallMySQL is [MySQL] with one file for all tables of InnoDB, which does not
// grow beyond 40 MB before [Server.Grow].
func SmallMySQL() (*Server, error) { return mariaDB(true) }

// Grow starts a server of [SmallMySQL] anew with as much room as the disk has.
func (s *Server) Grow() error {
	s.Stop()
	s.grown = true
	return s.Start()
}

// files are the options that bound the room of a server.
func (s *Server) files(small bool) []string {
	switch {
	case !small:
		return nil
	case s.grown:
		return []string{"--innodb-file-per-table=0", "--innodb-data-file-path=ibdata1:40M:autoextend"}
	default:
		return []string{"--innodb-file-per-table=0", "--innodb-data-file-path=ibdata1:40M"}
	}
}

func mariaDB(small bool) (*Server, error) {
	server, err := find("mariadbd")
	if err != nil {
		return nil, fmt.Errorf("MariaDB: %w", err)
	}
	install, err := find("mariadb-install-db")
	if err != nil {
		return nil, fmt.Errorf("MariaDB: %w", err)
	}
	return launch(kind{
		name:  "mariadb",
		users: []string{"mysql", "nobody"},
		prepare: func(s *Server) error {
			// root may come in by the socket alone, and only as the server's user.
			args := append([]string{"--no-defaults", "--datadir=" + s.data(), "--skip-test-db", "--skip-name-resolve", "--innodb-log-file-size=48M"}, s.files(small)...)
			if err := s.run(install, args...); err != nil {
				return err
			}
			users := filepath.Join(s.dir, "users.sql")
			text := fmt.Sprintf("CREATE USER IF NOT EXISTS gatebook@'127.0.0.1' IDENTIFIED BY '%s';\nGRANT ALL PRIVILEGES ON *.* TO gatebook@'127.0.0.1' WITH GRANT OPTION;\n", s.password)
			if err := os.WriteFile(users, []byte(text), 0o600); err != nil {
				return err
			}
			return s.give(users)
		},
		command: func(s *Server) ([]string, error) {
			return append([]string{server, "--no-defaults", "--datadir=" + s.data(), "--bind-address=127.0.0.1", "--port=" + strconv.Itoa(s.port),
				"--socket=" + filepath.Join(s.dir, "socket"), "--pid-file=" + filepath.Join(s.dir, "mariadb.pid"), "--skip-name-resolve",
				"--init-file=" + filepath.Join(s.dir, "users.sql"), "--max-connections=300", "--innodb-log-file-size=48M",
				"--innodb-flush-log-at-trx-commit=1", "--innodb-doublewrite=1",
				// As Debian sets it; MariaDB by itself would take latin1.
				"--character-set-server=utf8mb4", "--collation-server=utf8mb4_general_ci"}, s.files(small)...), nil
		},
		ready: func(ctx context.Context, s *Server) error {
			db, err := sql.Open("mysql", s.URL(""))
			if err != nil {
				return err
			}
			defer db.Close()
			return db.PingContext(ctx)
		},
		url: func(s *Server, database string) string {
			c := mysql.NewConfig()
			c.User, c.Passwd, c.Net, c.Addr, c.DBName = "gatebook", s.password, "tcp", s.Addr(), database
			c.Timeout = 10 * time.Second
			c.Logger = nil
			return c.FormatDSN()
		},
		quit: syscall.SIGKILL,
	})
}
