//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	_ "net/http/pprof" // on the default mux, which only the control port serves
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/adapter/memory"
	"github.com/gatebook/gatebook/adapter/sqlite"
)

// serveEnv tells this program to be the server; its value is a spec.
const serveEnv = "GATEBOOK_BENCH_SERVE"

var logOutput io.Writer = os.Stderr

// spec is what a server is to be.
type spec struct {
	Core     int
	Database string // a file for database sessions; without one sessions are tokens
	Rows     int    // this many database sessions in memory, in place of a file
	Listed   bool   // sessions are tokens all the same, and the file has their list
	Bare     *answer
}

// ports are where a server listens: Gatebook or the bare handler, the least that
// net/http can answer, and the profiler.
type ports struct{ Port, Plain, Profile int }

// answer is what the bare handler answers.
type answer struct {
	Header http.Header
	Body   string
}

// serve is the server process, on one core. It ends when its standard input
// does.
func serve(arg string) error {
	var s spec
	if err := json.Unmarshal([]byte(arg), &s); err != nil {
		return fmt.Errorf("%s: %w", serveEnv, err)
	}
	runtime.GOMAXPROCS(1)
	if err := pin(s.Core); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	var adapter gatebook.Adapter = memory.New()
	sessions := gatebook.SessionConfig{Strategy: gatebook.StrategyJWT}
	bare := &bareHandler{answer: s.Bare}
	if s.Database != "" {
		db, err := sqlite.Open(s.Database)
		if err != nil {
			return err
		}
		defer db.Close()
		adapter, sessions = db, listed
		if !s.Listed {
			if bare.query, err = db.SQL().Prepare(sessionQuery); err != nil {
				return err
			}
			sessions.Strategy = gatebook.StrategyDatabase
		}
	}
	if s.Rows > 0 {
		sessions.Strategy = gatebook.StrategyDatabase
		if err := fillSessions(ctx, adapter, s.Rows); err != nil {
			return err
		}
	}
	var handler http.Handler = bare
	if s.Bare == nil {
		auth, err := newAuthOf(adapter, sessions)
		if err != nil {
			return err
		}
		var running sync.WaitGroup
		running.Go(func() { auth.Run(ctx) })
		defer running.Wait()
		defer stop()
		handler = auth
	}
	plain := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello\n") })
	var p ports
	var servers []*http.Server
	defer func() {
		for _, srv := range servers {
			srv.Close()
		}
	}()
	for _, l := range []struct {
		port    *int
		handler http.Handler
	}{{&p.Port, handler}, {&p.Plain, plain}, {&p.Profile, http.DefaultServeMux}} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		*l.port = ln.Addr().(*net.TCPAddr).Port
		srv := &http.Server{Handler: l.handler, ReadHeaderTimeout: 10 * time.Second}
		servers = append(servers, srv)
		go srv.Serve(ln)
	}
	if err := json.NewEncoder(os.Stdout).Encode(p); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

// bareHandler answers what Gatebook does, knowing it beforehand. For database
// sessions it asks the database the same.
type bareHandler struct {
	answer *answer
	query  *sql.Stmt
}

func (b *bareHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if b.query != nil {
		_, rest, _ := strings.Cut(r.Header.Get("Cookie"), sessionCookie+"=")
		token, _, _ := strings.Cut(rest, ";")
		sum := sha256.Sum256([]byte(token))
		var digest, sid, provider, id, name, email, image string
		var expires int64
		var begun, verified sql.NullInt64
		var key []byte
		err := b.query.QueryRowContext(r.Context(), hex.EncodeToString(sum[:])).
			Scan(&digest, &expires, &sid, &begun, &provider, &id, &name, &email, &verified, &image, &key)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
	}
	h := w.Header()
	for name, values := range b.answer.Header {
		h[name] = values
	}
	io.WriteString(w, b.answer.Body)
}

// sessionQuery is the statement with which adapter/sqlite reads a session.
const sessionQuery = `SELECT s."sessionToken", s."expires", coalesce(g.sid, ''), g.begun, coalesce(g.provider, ''),
		u."id", coalesce(u."name", ''), coalesce(u."email", ''), u."emailVerified", coalesce(u."image", ''), k.key
	FROM "session" s JOIN "user" u ON u."id" = s."userId"
	LEFT JOIN gatebook_sessions g ON g.digest = s."sessionToken"
	LEFT JOIN gatebook_subjects k ON k.user_id = u."id"
	WHERE s."sessionToken" = ?`

// halves are the cores of this machine: one for servers, and this process is
// tied to the others meanwhile.
type halves struct {
	all    []int
	server int
}

// separate ties this process to all cores but one.
func separate() (*halves, error) {
	all, err := cores()
	if err != nil {
		return nil, err
	}
	if len(all) < 2 {
		return nil, errors.New("needs two cores: one for the server and one for the client")
	}
	return &halves{all: all, server: all[0]}, pin(all[1:]...)
}

// together lets this process run on every core again.
func (h *halves) together() error { return pin(h.all...) }

// server is a server process that was started.
type server struct {
	ports
	cmd *exec.Cmd
	in  io.WriteCloser
}

// start starts a server on the core that is kept for it.
func (h *halves) start(s spec) (*server, error) {
	s.Core = h.server
	arg, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	srv := &server{cmd: exec.Command(self)}
	srv.cmd.Env = append(os.Environ(), serveEnv+"="+string(arg))
	srv.cmd.Stderr = os.Stderr
	if srv.in, err = srv.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := srv.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := srv.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the server: %w", err)
	}
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &srv.ports)
	}
	if err != nil {
		return nil, fmt.Errorf("the server did not start: %w", errors.Join(err, srv.stop()))
	}
	return srv, nil
}

// stop ends the server.
func (s *server) stop() error { return errors.Join(s.in.Close(), s.cmd.Wait()) }

// ask sends one request and returns the answer, and its bytes.
func ask(port int, request []byte) (*answer, []byte, error) {
	c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return nil, nil, err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := c.Write(request); err != nil {
		return nil, nil, err
	}
	var raw bytes.Buffer
	res, err := http.ReadResponse(bufio.NewReader(io.TeeReader(c, &raw)), nil)
	if err != nil {
		return nil, nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, nil, err
	}
	if res.StatusCode != http.StatusOK {
		return nil, nil, fmt.Errorf("the server answers %s: %s", res.Status, body)
	}
	// These two net/http adds itself.
	res.Header.Del("Date")
	res.Header.Del("Content-Length")
	return &answer{Header: res.Header, Body: string(body)}, raw.Bytes(), nil
}

// alike reports whether two answers are alike in length and, but for their
// dates, in their bytes.
func alike(a, b []byte) bool {
	cut := func(raw []byte) string {
		before, rest, _ := strings.Cut(string(raw), "\r\nDate: ")
		_, after, _ := strings.Cut(rest, "\r\n")
		return before + after
	}
	return len(a) == len(b) && cut(a) == cut(b)
}

// rate loads a port for a round and returns how many requests the server
// answers in a second of its core: by its CPU clock, so that what else runs on
// that core does not count.
func (r *runner) rate(s *server, port, length int, requests [][]byte) (float64, error) {
	before, err := cpuTime(s.cmd.Process.Pid)
	if err != nil {
		return 0, err
	}
	n, err := load(port, requests, length, r.round)
	if err != nil {
		return 0, err
	}
	after, err := cpuTime(s.cmd.Process.Pid)
	if err != nil {
		return 0, err
	}
	return float64(n) / (after - before).Seconds(), nil
}

// profileServer writes a CPU profile of a server under load, if asked for.
func (r *runner) profileServer(name string, s *server, length int, requests [][]byte) error {
	if r.profile == "" {
		return nil
	}
	if err := os.MkdirAll(r.profile, 0o755); err != nil {
		return err
	}
	failed := make(chan error, 1)
	go func() {
		_, err := load(s.Port, requests, length, 6*time.Second)
		failed <- err
	}()
	res, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/debug/pprof/profile?seconds=5", s.Profile))
	if err != nil {
		return err
	}
	defer res.Body.Close()
	f, err := os.Create(filepath.Join(r.profile, name+".pprof"))
	if err != nil {
		return err
	}
	_, err = io.Copy(f, res.Body)
	return errors.Join(err, f.Close(), <-failed)
}
