package dbserver

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// RedisDatabases is how many numbered databases a Redis server of ours has.
const RedisDatabases = 4096

// Redis starts a Redis or Valkey server that keeps nothing on disk. The error
// matches [ErrMissing] where there is none.
func Redis() (*Server, error) {
	server, err := find("redis-server", "valkey-server")
	if err != nil {
		return nil, fmt.Errorf("Redis: %w", err)
	}
	return launch(kind{
		name:  "redis",
		users: []string{"redis", "nobody"},
		prepare: func(s *Server) error {
			return nil
		},
		command: func(s *Server) ([]string, error) {
			// A password on the command line could be read by everybody.
			conf := filepath.Join(s.dir, "redis.conf")
			text := fmt.Sprintf("bind 127.0.0.1\nport %d\nrequirepass %s\ndir %q\nsave \"\"\nappendonly no\ndatabases %d\n", s.port, s.password, s.data(), RedisDatabases)
			if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
				return nil, err
			}
			return []string{server, conf}, s.give(conf)
		},
		ready: func(ctx context.Context, s *Server) error {
			_, err := RedisCommand(ctx, s.URL(""), "PING")
			return err
		},
		url: func(s *Server, database string) string {
			u := url.URL{Scheme: "redis", User: url.UserPassword("", s.password), Host: s.Addr(), Path: "/" + database}
			return u.String()
		},
		quit: syscall.SIGKILL,
	})
}

// RedisCommand sends one command of words without spaces to the server of a
// URL, in the database the URL names, and returns its answer of one line
// without the mark of its type. It spares the tests' helpers a client.
func RedisCommand(ctx context.Context, address, command string) (string, error) {
	u, err := url.Parse(address)
	if err != nil {
		return "", err
	}
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", u.Host)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return "", err
		}
	}
	var commands []string
	if secret, ok := u.User.Password(); ok {
		commands = append(commands, strings.TrimSpace("AUTH "+u.User.Username())+" "+secret)
	}
	if number := strings.Trim(u.Path, "/"); number != "" {
		commands = append(commands, "SELECT "+number)
	}
	replies := bufio.NewReader(conn)
	var line string
	for _, c := range append(commands, command) {
		if _, err := fmt.Fprintf(conn, "%s\r\n", c); err != nil {
			return "", err
		}
		if line, err = replies.ReadString('\n'); err != nil {
			return "", err
		}
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "-") {
			word, _, _ := strings.Cut(c, " ")
			return "", fmt.Errorf("redis: %s: %s", word, line[1:])
		}
	}
	return strings.TrimLeft(line, "+:"), nil
}
