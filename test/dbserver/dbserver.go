// Package dbserver starts database servers for tests: PostgreSQL, MariaDB and
// Redis as the machine has them installed, each on a free port of the loopback
// address and on a folder of its own, with what a commit needs to survive loss
// of power turned on. Tests ask for them through package test/need; the command
// test/servers starts them for a whole run.
//
// A server ends with [Server.Close], and also when the process that started it
// ends in any other way: killed, interrupted or panicking.
package dbserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// DiskEnv is an environment variable that, when not empty, keeps the folders of
// servers on a disk: `make bench` sets it, for there it counts what a commit waits
// for.
const DiskEnv = "GATEBOOK_TEST_DISK"

// ErrMissing says that the programs of a server are not installed.
var ErrMissing = errors.New("not installed")

// Server is a server of one's own. Its methods are for one goroutine, but for
// those that only read. Methods with a context or that signal the process return
// when it is so.
type Server struct {
	kind     kind
	dir      string // of data, log and pid
	port     int
	password string
	owner    *owner // nil: the server runs as who started it
	grown    bool   // see Grow

	cmd    *exec.Cmd
	exited chan struct{} // closed when cmd has ended
	reaper *exec.Cmd
	alive  io.WriteCloser // held open while the server may live; see reap
}

// kind is what differs between servers.
type kind struct {
	name string
	// users are those that the server may run as where we are root, which it
	// refuses.
	users []string
	// prepare makes the data in s.data() before the first start.
	prepare func(s *Server) error
	// command returns program and arguments of the server in the foreground.
	command func(s *Server) ([]string, error)
	// ready fails until the server answers.
	ready func(ctx context.Context, s *Server) error
	// url is the address of a database, "" for that of the server.
	url func(s *Server, database string) string
	// quit ends the server at once, and with it the processes it started.
	quit syscall.Signal
}

// owner is an unprivileged user.
type owner struct{ uid, gid int }

// startTimeout is how long a server may take until it answers: recovery after a
// kill included, on a busy machine.
const startTimeout = 60 * time.Second

// launch makes a server's folder and starts it.
func launch(k kind) (*Server, error) {
	s := &Server{kind: k, password: password()}
	if err := s.makeDir(); err != nil {
		return nil, fmt.Errorf("%s: %w", k.name, err)
	}
	if err := s.reap(); err != nil {
		_ = os.RemoveAll(s.dir)
		return nil, fmt.Errorf("%s: %w", k.name, err)
	}
	err := k.prepare(s)
	// A port that was free may be taken before the server has it.
	for try := 0; err == nil && try < 3; try++ {
		if s.port, err = freePort(); err != nil {
			break
		}
		if err = s.Start(); err == nil {
			return s, nil
		}
	}
	s.Close()
	return nil, fmt.Errorf("%s: %w", k.name, err)
}

func (s *Server) makeDir() error {
	var err error
	parent := dir()
	if os.Getenv(DiskEnv) != "" {
		parent = ""
	}
	if s.dir, err = os.MkdirTemp(parent, "gatebook-"+s.kind.name+"-"); err != nil {
		return err
	}
	if os.Getuid() != 0 {
		return os.Mkdir(s.data(), 0o700)
	}
	for _, name := range s.kind.users {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		s.owner = new(owner)
		if s.owner.uid, err = strconv.Atoi(u.Uid); err != nil {
			return err
		}
		if s.owner.gid, err = strconv.Atoi(u.Gid); err != nil {
			return err
		}
		if err := os.Mkdir(s.data(), 0o700); err != nil {
			return err
		}
		return errors.Join(s.give(s.dir), s.give(s.data()))
	}
	return fmt.Errorf("runs as none of the users %s, and not as root", strings.Join(s.kind.users, ", "))
}

// give gives a file to the user the server runs as.
func (s *Server) give(path string) error {
	if s.owner == nil {
		return nil
	}
	return os.Chown(path, s.owner.uid, s.owner.gid)
}

func (s *Server) data() string    { return filepath.Join(s.dir, "data") }
func (s *Server) pidFile() string { return filepath.Join(s.dir, "pid") }

// attributes runs a command in a process group of its own, so that an interrupt
// from the terminal reaches only us, and as the server's user.
func (s *Server) attributes() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setpgid: true}
	if s.owner != nil {
		attr.Credential = &syscall.Credential{Uid: uint32(s.owner.uid), Gid: uint32(s.owner.gid)}
	}
	return attr
}

// run runs a program of the server's to its end.
func (s *Server) run(name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Dir = s.dir
	cmd.SysProcAttr = s.attributes()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", filepath.Base(name), err, tail(out))
	}
	return nil
}

// reaping ends the server named in the file pid and removes the folder. It
// begins when the other end of its standard input is closed, which the system
// does when we end, in whatever way.
const reaping = `cd / && cat >/dev/null
if pid=$(cat "$1/pid" 2>/dev/null); then
	kill -"$2" "$pid"; kill -CONT "$pid"
	for i in 1 2 3 4 5 6 7 8 9 10; do kill -0 "$pid" && sleep 0.2; done
	kill -KILL "$pid"
fi 2>/dev/null
for i in 1 2 3 4 5 6 7 8 9 10; do rm -rf "$1" && exit; sleep 1; done 2>/dev/null`

func (s *Server) reap() error {
	s.reaper = exec.Command("/bin/sh", "-c", reaping, "reaper", s.dir, strconv.Itoa(int(s.kind.quit)))
	s.reaper.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var err error
	if s.alive, err = s.reaper.StdinPipe(); err != nil {
		return err
	}
	return s.reaper.Start()
}

// Start starts the server again after [Server.Kill] or [Server.Stop], on the
// same port and data, and waits until it answers.
func (s *Server) Start() error {
	args, err := s.kind.command(s)
	if err != nil {
		return err
	}
	log, err := os.OpenFile(s.LogFile(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	s.cmd = exec.Command(args[0], args[1:]...)
	s.cmd.Dir = s.dir
	s.cmd.Stdout, s.cmd.Stderr = log, log
	s.cmd.SysProcAttr = s.attributes()
	// Where summer time is: a time that was meant as UTC and taken for local
	// is then wrong by an amount that nobody mistakes.
	s.cmd.Env = append(os.Environ(), "TZ=America/St_Johns", "LC_ALL=C.UTF-8")
	if err := s.cmd.Start(); err != nil {
		return err
	}
	s.exited = make(chan struct{})
	go func(cmd *exec.Cmd, exited chan struct{}) {
		_ = cmd.Wait()
		close(exited)
	}(s.cmd, s.exited)
	if err := os.WriteFile(s.pidFile(), strconv.AppendInt(nil, int64(s.cmd.Process.Pid), 10), 0o600); err != nil {
		s.Kill()
		return err
	}
	return s.wait()
}

// wait waits until the server answers.
func (s *Server) wait() error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := s.kind.ready(ctx, s)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-s.exited:
			return fmt.Errorf("the server ended (%s)\n%s", s.cmd.ProcessState, s.logTail())
		case <-ctx.Done():
			s.Kill()
			return fmt.Errorf("the server does not answer: %w\n%s", err, s.logTail())
		}
	}
}

// Kill ends the server and all its processes with SIGKILL, as a crash would. On
// one that is not running it does nothing.
func (s *Server) Kill() { s.end(syscall.SIGKILL) }

// Stop ends the server in the orderly way: sessions are ended, data is flushed.
func (s *Server) Stop() { s.end(s.kind.stop()) }

// stop is the signal that ends the server in the orderly way without waiting
// for its clients.
func (k kind) stop() syscall.Signal {
	if k.name == "postgres" {
		return syscall.SIGINT // fast shutdown
	}
	return syscall.SIGTERM
}

func (s *Server) end(sig syscall.Signal) {
	if s.cmd == nil || s.cmd.Process == nil {
		return
	}
	select {
	case <-s.exited:
	default:
		pids := []int{s.cmd.Process.Pid}
		if sig == syscall.SIGKILL {
			_ = syscall.Kill(pids[0], syscall.SIGSTOP) // it starts no more children
			pids = append(pids, children(pids[0])...)
		}
		for _, pid := range pids {
			_ = syscall.Kill(pid, sig)
		}
		<-s.exited
		// PostgreSQL does not start beside children of the one before.
		for _, pid := range pids[1:] {
			for !gone(pid) {
				runtime.Gosched()
			}
		}
	}
	_ = os.Remove(s.pidFile())
	s.cmd = nil
}

// Pause stops all processes of the server with SIGSTOP: connections stay and
// nothing answers, as when a machine hangs. [Server.Resume] undoes it. It needs
// Linux.
func (s *Server) Pause() { s.signalAll(syscall.SIGSTOP) }

// Resume undoes [Server.Pause].
func (s *Server) Resume() { s.signalAll(syscall.SIGCONT) }

func (s *Server) signalAll(sig syscall.Signal) {
	pid := s.cmd.Process.Pid
	for _, p := range append([]int{pid}, children(pid)...) {
		_ = syscall.Kill(p, sig)
	}
}

// Close ends the server at once and removes its folder.
func (s *Server) Close() {
	if s.cmd != nil && s.cmd.Process != nil {
		s.end(s.kind.quit)
	}
	_ = s.alive.Close()
	_ = s.reaper.Wait()
}

// Addr is the server's host and port, the same over restarts.
func (s *Server) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// URL is what a driver opens a database of the server by, as a user who may do
// everything: a URL for PostgreSQL and Redis (where database is a number), a
// data source name of go-sql-driver/mysql for MariaDB. Without a database it is
// that of the server.
func (s *Server) URL(database string) string { return s.kind.url(s, database) }

// Dir is the server's data folder.
func (s *Server) Dir() string { return s.data() }

// LogFile is the file that the server writes its messages to.
func (s *Server) LogFile() string { return filepath.Join(s.dir, "log") }

func (s *Server) logTail() []byte {
	b, err := os.ReadFile(s.LogFile())
	if err != nil {
		return nil
	}
	return tail(b)
}

// tail returns the last 20 lines.
func tail(b []byte) []byte {
	lines := bytes.SplitAfter(b, []byte("\n"))
	return bytes.Join(lines[max(0, len(lines)-21):], nil)
}

// children lists the processes that pid started (proc(5)); none where there is
// no /proc.
func children(pid int) []int {
	var found []int
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, stat := range stats {
		b, err := os.ReadFile(stat)
		if err != nil {
			continue // it has ended
		}
		// pid (name) state ppid …; the name may hold anything.
		fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
		if len(fields) < 2 || fields[1] != strconv.Itoa(pid) {
			continue
		}
		if child, err := strconv.Atoi(filepath.Base(filepath.Dir(stat))); err == nil {
			found = append(found, child)
		}
	}
	return found
}

// gone reports whether a process has ended, perhaps without its parent having
// heard of it yet; always where there is no /proc.
func gone(pid int) bool {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return true
	}
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	return len(fields) == 0 || fields[0] == "Z"
}

// freePort finds a port below those that systems give to clients, so that it
// is still free when a server that was killed wants it again.
func freePort() (int, error) {
	var l net.Listener
	var err error
	for range 50 {
		port := 20000 + rand.IntN(12000)
		if l, err = net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err == nil {
			return port, l.Close()
		}
	}
	return 0, fmt.Errorf("find a free port: %w", err)
}

// find returns the path of a program, or an error that matches [ErrMissing].
// Systems keep servers away from people's PATH.
func find(names ...string) (string, error) {
	for _, name := range names {
		for _, at := range []string{name, "/usr/sbin/" + name, "/usr/local/sbin/" + name, "/usr/local/bin/" + name} {
			if path, err := exec.LookPath(at); err == nil {
				return path, nil
			}
		}
	}
	return "", fmt.Errorf("%s: %w", names[0], ErrMissing)
}
