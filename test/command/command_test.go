// Package command_test runs the binary on real servers: PostgreSQL and MariaDB.
package command_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/gatebook/gatebook/test/need"
)

var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "gatebook-command")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binary = filepath.Join(dir, "gatebook")
	build := exec.Command("go", "build", "-o", binary, "github.com/gatebook/gatebook/cmd/gatebook")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the command: %v\n%s", err, out)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// place is a folder with a configuration, on a database.
type place struct {
	t        *testing.T
	dir      string
	database string // address or data source name
	password string // of it, which nothing may print
}

const secret = "0123456789abcdef0123456789abcdef"

// newPlace writes a configuration whose key database has that value.
func newPlace(t *testing.T, address, keys string) *place {
	t.Helper()
	p := &place{t: t, dir: t.TempDir(), database: address}
	if m := regexp.MustCompile(`:([^:@/]+)@`).FindStringSubmatch(address); m != nil {
		p.password = m[1]
	}
	p.write("gatebook.yaml", `url: http://localhost:3000
secrets: ["${AUTH_SECRET}"]
providers: [{id: acme, type: oidc, issuer: https://id.acme.example, clientId: a, clientSecret: b}]
database:
  url: ${DATABASE_URL}
`+keys)
	return p
}

func (p *place) write(name, text string) {
	p.t.Helper()
	if err := os.WriteFile(filepath.Join(p.dir, name), []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

func (p *place) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Dir = p.dir
	cmd.Env = append(os.Environ(), "AUTH_SECRET="+secret, "DATABASE_URL="+p.database)
	return cmd
}

// run runs the command, wants a status, and returns what it printed and what it
// complained of.
func (p *place) run(status int, args ...string) (out, complaints string) {
	p.t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := p.command(p.t.Context(), args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		p.t.Fatal(err)
	} else if ok && exit.ExitCode() != status || !ok && status != 0 {
		p.t.Fatalf("gatebook %s: %v, want status %d\n%s%s", strings.Join(args, " "), err, status, stdout.String(), stderr.String())
	}
	p.secret(stdout.String() + stderr.String())
	return stdout.String(), stderr.String()
}

// secret wants no password in a text.
func (p *place) secret(text string) {
	p.t.Helper()
	if p.password != "" && strings.Contains(text, p.password) {
		p.t.Errorf("the password is in %s", text)
	}
}

func (p *place) want(text string, patterns ...string) {
	p.t.Helper()
	for _, pattern := range patterns {
		if !regexp.MustCompile(`(?m)` + pattern).MatchString(text) {
			p.t.Errorf("want %s in\n%s", pattern, text)
		}
	}
}

// server is a kind of database server.
type server struct {
	name, driver string
	fresh        func(testing.TB) string
	about        string // what doctor says of it
	address      string // how its address is shown
}

var servers = []server{
	{"PostgreSQL", "pgx", need.Postgres, `PostgreSQL \d+`, `PostgreSQL at \S+:\d+/\w+`},
	{"MariaDB", "mysql", need.MySQL, `MariaDB 1\d\.`, `MySQL at tcp\(\S+:\d+\)/\w+`},
}

// exec runs statements on a database.
func (p *place) exec(s server, statements ...string) {
	p.t.Helper()
	db, err := sql.Open(s.driver, p.database)
	if err != nil {
		p.t.Fatal(err)
	}
	defer db.Close()
	for _, stmt := range statements {
		if s.driver == "mysql" {
			stmt = strings.ReplaceAll(stmt, `"`, "`")
		}
		if _, err := db.ExecContext(p.t.Context(), stmt); err != nil {
			p.t.Fatalf("%s: %v", stmt, err)
		}
	}
}

// column returns the one value of a query.
func (p *place) column(s server, query string) (value string) {
	p.t.Helper()
	db, err := sql.Open(s.driver, p.database)
	if err != nil {
		p.t.Fatal(err)
	}
	defer db.Close()
	if s.driver == "mysql" {
		query = strings.ReplaceAll(query, `"`, "`")
	}
	if err := db.QueryRowContext(p.t.Context(), query).Scan(&value); err != nil {
		p.t.Fatalf("%s: %v", query, err)
	}
	return value
}

// From an empty database to a session that a browser has: migrate, doctor, import,
// serve, mint, events.
func TestCommands(t *testing.T) {
	for _, s := range servers {
		t.Run(s.name, func(t *testing.T) {
			p := newPlace(t, s.fresh(t), "")
			out, complaints := p.run(1, "migrate", "--status")
			p.want(out, `^book +\S+ +missing$`, `^adapter +\S+ +missing$`, `^tables +\S+ +missing$`)
			p.want(complaints, `^gatebook: \d+ migrations missing: run gatebook migrate$`)
			out, _ = p.run(0, "migrate", "--dry-run")
			p.want(out, `^-- tables \S+_users$`, `^CREATE TABLE.* .?user.? \($`)
			out, _ = p.run(1, "doctor")
			p.want(out, `^WRONG +database +`+s.address+`, `+s.about+`\S*.*: .*migration \S+ is missing: run "gatebook migrate"`)
			out, _ = p.run(0, "migrate")
			p.want(out, `^book \S+ \.\.\. \S+s$`, `^`+s.address+` is up to date$`)
			out, _ = p.run(0, "migrate", "--dry-run")
			p.want(out, `^-- nothing is to be done$`)
			out, _ = p.run(0, "migrate", "--status")
			p.want(out, `^tables +\S+_users +applied 20\S+Z$`)

			p.write("users.csv", "id,email,emailVerified,provider,providerAccountId,type\nu-1,ada@example.com,2024-05-06T07:08:09.123Z,acme,1,oidc\nu-2,grace@example.com,,,,\n")
			out, _ = p.run(0, "import", "users.csv")
			p.want(out, `^users.csv: 2 users imported with 1 account; 0 there already; 0 refused$`)
			out, _ = p.run(0, "import", "users.csv")
			p.want(out, `^users.csv: 0 users imported with 0 accounts; 2 there already; 0 refused$`)

			serving := p.serve()
			cookie, _ := p.run(0, "session", "mint", "ada@example.com")
			if body := serving.get("/auth/session", strings.TrimSpace(cookie)); !strings.Contains(body, `"ada@example.com"`) {
				t.Errorf("the session is %s", body)
			}
			serving.end()
			p.cached(cookie)
			out, _ = p.run(0, "events")
			p.want(out, `createUser +success .*ada@example.com`, `linkAccount`, `signIn +success`)
		})
	}
}

// cached: with a cache of sessions the same is served, and without it as well.
func (p *place) cached(cookie string) {
	p.t.Helper()
	config, err := os.ReadFile(filepath.Join(p.dir, "gatebook.yaml"))
	if err != nil {
		p.t.Fatal(err)
	}
	address := need.Redis(p.t)
	p.write("gatebook.yaml", string(config)+"redis: "+address+"\n")
	out, _ := p.run(1, "doctor", "--timeout", "2s") // the provider is not there
	p.want(out, `^ok +redis +it caches sessions$`)
	for range 2 {
		serving := p.serve()
		if body := serving.get("/auth/session", strings.TrimSpace(cookie)); !strings.Contains(body, `"ada@example.com"`) {
			p.t.Errorf("the session is %s", body)
		}
		serving.end()
		p.write("gatebook.yaml", string(config)+"redis: redis://:hunter2@127.0.0.1:1\n")
	}
	out, _ = p.run(1, "doctor", "--timeout", "2s")
	p.want(out, `^warn +redis +sessions are read from the database until it answers: `)
	if strings.Contains(out, "hunter2") {
		p.t.Errorf("the password is in %s", out)
	}
	p.write("gatebook.yaml", string(config))
}

// serving is a server under way.
type serving struct {
	p    *place
	cmd  *exec.Cmd
	addr string
	log  *bytes.Buffer
}

func (p *place) serve() *serving {
	p.t.Helper()
	ln, err := (&net.ListenConfig{}).Listen(p.t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		p.t.Fatal(err)
	}
	addr := ln.Addr().String()
	if err := ln.Close(); err != nil {
		p.t.Fatal(err)
	}
	s := &serving{p: p, addr: addr, log: &bytes.Buffer{}, cmd: p.command(p.t.Context(), "serve", "--listen", addr)}
	s.cmd.Stderr = s.log
	if err := s.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	s.get("/readyz", "")
	return s
}

// get asks until somebody answers, and wants 200.
func (s *serving) get(path, cookie string) string {
	s.p.t.Helper()
	deadline := time.After(time.Minute)
	for {
		r, err := http.NewRequestWithContext(s.p.t.Context(), http.MethodGet, "http://"+s.addr+path, nil)
		if err != nil {
			s.p.t.Fatal(err)
		}
		r.Host = "localhost:3000"
		r.Header.Set("Cookie", cookie)
		res, err := http.DefaultClient.Do(r)
		if err == nil {
			var b bytes.Buffer
			_, err := b.ReadFrom(res.Body)
			if err = errors.Join(err, res.Body.Close()); err != nil || res.StatusCode != http.StatusOK {
				s.p.t.Fatalf("GET %s = %d, %v\n%s", path, res.StatusCode, err, b.String())
			}
			return b.String()
		}
		select {
		case <-deadline:
			s.p.t.Fatalf("GET %s: %v", path, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (s *serving) end() {
	s.p.t.Helper()
	if err := s.cmd.Process.Signal(os.Interrupt); err != nil {
		s.p.t.Fatal(err)
	}
	if err := s.cmd.Wait(); err != nil {
		s.p.t.Errorf("serve ended with %v\n%s", err, s.log.String())
	}
	s.p.secret(s.log.String())
}

// What is wrong with a database is said in a way that names it and what to do,
// and nothing serves from it.
func TestBadDatabases(t *testing.T) {
	for _, s := range servers {
		t.Run(s.name, func(t *testing.T) {
			t.Run("half migrated", func(t *testing.T) {
				p := newPlace(t, s.fresh(t), "")
				p.run(0, "migrate")
				p.exec(s, `DELETE FROM gatebook_migrations WHERE part = 'adapter' AND name LIKE '%_jobs'`, `DROP TABLE gatebook_jobs`)
				_, complaints := p.run(1, "migrate", "--status")
				p.want(complaints, `^gatebook: 1 migration missing: run gatebook migrate$`)
				out, _ := p.run(1, "doctor", "--timeout", "2s")
				p.want(out, `^WRONG +database +.*: .*migration \S+_jobs is missing: run "gatebook migrate"`)
				_, complaints = p.run(1, "session", "mint", "ada@example.com")
				p.want(complaints, `migration \S+_jobs is missing: run "gatebook migrate"`)
				out, _ = p.run(0, "migrate")
				p.want(out, `^adapter \S+_jobs \.\.\. `, `is up to date$`)
			})
			t.Run("newer", func(t *testing.T) {
				p := newPlace(t, s.fresh(t), "")
				p.run(0, "migrate")
				p.exec(s, `INSERT INTO gatebook_migrations (part, version, name, applied_at) VALUES ('adapter', 29990101000000, '29990101000000_later', 1)`)
				out, _ := p.run(0, "migrate", "--status")
				p.want(out, `^adapter +29990101000000_later +applied \S+, by a newer version$`)
				_, complaints := p.run(1, "migrate")
				p.want(complaints, `^gatebook: database: `+s.address+`: migrate: .*migration 29990101000000 of adapter, which this version of Gatebook does not know: use the newer version$`)
				out, _ = p.run(1, "doctor", "--timeout", "1s") // the provider is not there
				p.want(out, `^ok +database +`, `^warn +database +a newer version has migrated it \(adapter 29990101000000_later\)`)
				p.serve().end()
			})
			t.Run("commits that do not survive", func(t *testing.T) {
				p := newPlace(t, s.fresh(t), "")
				p.run(0, "migrate")
				if s.driver != "pgx" {
					return // there the setting is the whole server's
				}
				name := p.column(s, `SELECT current_database()`)
				p.exec(s, `ALTER DATABASE "`+name+`" SET synchronous_commit = off`)
				out, _ := p.run(1, "doctor", "--timeout", "2s")
				p.want(out, `^WRONG +database +.*synchronous_commit`)
				_, complaints := p.run(1, "serve")
				p.want(complaints, `^gatebook: database: `+s.address+`: .*synchronous_commit`)
			})
			t.Run("read-only", func(t *testing.T) {
				p := newPlace(t, s.fresh(t), "")
				p.run(0, "migrate")
				if s.driver != "pgx" {
					return // there the setting is the whole server's
				}
				name := p.column(s, `SELECT current_database()`)
				p.exec(s, `ALTER DATABASE "`+name+`" SET default_transaction_read_only = on`)
				out, _ := p.run(1, "doctor", "--timeout", "2s")
				p.want(out, `^WRONG +database +`+s.address+`, .*: it can only be read \(a standby, or default_transaction_read_only is on\)`)
			})
			t.Run("a table of another layout", func(t *testing.T) {
				p := newPlace(t, s.fresh(t), "")
				p.exec(s, `CREATE TABLE "user" (uid varchar(20) PRIMARY KEY, login varchar(20))`)
				for _, args := range [][]string{{"migrate"}, {"serve"}} {
					_, complaints := p.run(1, args...)
					p.want(complaints, `^gatebook: database: `+s.address+`: .*"user".*`)
				}
				p.run(1, "doctor", "--timeout", "1s")
			})
			t.Run("a layout that is not there", func(t *testing.T) {
				p := newPlace(t, s.fresh(t), "  layout: drizzle\n")
				for _, args := range [][]string{{"serve"}, {"import", "users.csv"}} {
					p.write("users.csv", "id\n1\n")
					_, complaints := p.run(1, args...)
					p.want(complaints, `^gatebook: database: `+s.address+`: .*there is no table "user": the layout "drizzle" is for a database in which Auth.js's adapter has its tables`)
				}
			})
			t.Run("wrong password", func(t *testing.T) {
				address := s.fresh(t)
				p := newPlace(t, regexp.MustCompile(`:[^:@/]+@`).ReplaceAllString(address, ":hunter2@"), "")
				if p.password != "hunter2" {
					t.Fatal("the address has no password to be wrong")
				}
				for _, args := range [][]string{{"migrate"}, {"serve"}, {"doctor", "--timeout", "2s"}} {
					out, complaints := p.run(1, args...)
					p.want(out+complaints, `database.*`+s.address+`: .*(password authentication failed|Access denied)`)
				}
			})
			t.Run("no such database", func(t *testing.T) {
				p := newPlace(t, regexp.MustCompile(`/(\w+)(\?|$)`).ReplaceAllString(s.fresh(t), "/nowhere_at_all$2"), "")
				_, complaints := p.run(1, "migrate")
				p.want(complaints, `^gatebook: database: .*nowhere_at_all.*: .*(does not exist|Unknown database)`)
			})
		})
	}
}
