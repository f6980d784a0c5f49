// Package demo is `gatebook demo`: a site whose pages show a visitor beside the
// book, an OpenID provider and a mailbox, all on this machine only.
//
// There are two processes. The parent, [Demo], runs the OpenID provider and
// holds the listening socket of the site; the site itself, [RunSite], is a
// process of its own, so that it can be killed in the middle of a sign-in. The
// parent starts it again; who connects meanwhile waits, for the socket stays
// open. Everything that has to survive is in one folder: the database, the
// mails, the secret and a log.
package demo

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/gatebook/gatebook/cmd/gatebook/internal/demoidp"
)

// Config configures a [Demo].
type Config struct {
	// Addr is where the site listens and ProviderAddr where the OpenID provider
	// does: a loopback address and a port, 0 for a free one.
	Addr, ProviderAddr string
	// Dir is the folder of the data; it is made if it is missing.
	Dir string
	// Site is the command that runs [RunSite].
	Site []string
}

// Demo is the parent process. Make one with [New]; its methods are for one
// goroutine.
type Demo struct {
	cfg      Config
	url      string
	start    start
	socket   *os.File // of the site, for it to inherit
	provider *net.TCPListener
	handler  http.Handler
	log      *slog.Logger
	logFile  *os.File
	opened   []io.Closer

	mu   sync.Mutex
	site *site // guarded by mu
}

// New makes the folder, listens at both addresses and prepares the provider.
// Close the Demo, or Run it, which closes it at the end.
func New(cfg Config) (*Demo, error) {
	d := &Demo{cfg: cfg}
	if err := d.prepare(); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

func (d *Demo) prepare() error {
	dir, err := filepath.Abs(d.cfg.Dir)
	if err != nil {
		return err
	}
	d.cfg.Dir = dir
	if err := os.MkdirAll(filepath.Join(dir, mailFolder), 0o700); err != nil {
		return fmt.Errorf("make the demo's folder: %w", err)
	}
	// The folder may lie in somebody's checkout, and has secrets in it.
	if err := os.WriteFile(filepath.Join(dir, ".gitignore"), []byte("*\n"), 0o600); err != nil {
		return fmt.Errorf("make the demo's folder: %w", err)
	}
	secret, err := keptSecret(filepath.Join(dir, "secret"))
	if err != nil {
		return err
	}
	d.logFile, err = os.OpenFile(filepath.Join(dir, "demo.log"), os.O_CREATE|os.O_TRUNC|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("make the demo's log: %w", err)
	}
	d.opened = append(d.opened, d.logFile)
	d.log = slog.New(slog.NewTextHandler(d.logFile, nil))
	// The protocol library of the provider logs to the default logger only.
	slog.SetDefault(d.log)

	site, err := listen(d.cfg.Addr, "--addr")
	if err != nil {
		return err
	}
	d.opened = append(d.opened, site)
	if d.socket, err = site.File(); err != nil {
		return err
	}
	d.opened = append(d.opened, d.socket)
	if d.provider, err = listen(d.cfg.ProviderAddr, "--idp-addr"); err != nil {
		return err
	}
	d.url = "http://localhost:" + port(site)
	d.start = start{
		URL: d.url, Issuer: "http://localhost:" + port(d.provider),
		ClientID: "gatebook-demo", ClientSecret: rand.Text(), Secret: secret, Dir: dir,
	}
	provider, err := demoidp.New(demoidp.Config{
		Issuer: d.start.Issuer, ClientID: d.start.ClientID, ClientSecret: d.start.ClientSecret,
		RedirectURIs: []string{d.url + "/auth/callback/" + providerID}, Logger: d.log,
	})
	if err != nil {
		return err
	}
	d.handler = provider.Handler()
	return nil
}

// keptSecret returns the secret in the file, which it makes: sessions then
// survive a restart of the demo.
func keptSecret(path string) (string, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		b = []byte(rand.Text() + rand.Text())
		err = os.WriteFile(path, b, 0o600)
	}
	if err == nil && len(b) < 32 {
		err = fmt.Errorf("%s is too short: delete it", path)
	}
	if err != nil {
		return "", fmt.Errorf("secret of the demo: %w", err)
	}
	return string(b), nil
}

// listen listens on a loopback address. The demo's people need no password, so
// nobody else on the network may reach them.
func listen(addr, flag string) (*net.TCPListener, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("%s %q is no address with a port, such as 127.0.0.1:8080", flag, addr)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, fmt.Errorf("%s %q: the demo listens on this machine only: 127.0.0.1 or localhost", flag, addr)
	}
	ln, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%s is used by another program: choose another address with %s", addr, flag)
	}
	if err != nil {
		return nil, fmt.Errorf("listen on %s (%s): %w", addr, flag, err)
	}
	return ln.(*net.TCPListener), nil
}

func port(ln net.Listener) string { return strconv.Itoa(ln.Addr().(*net.TCPAddr).Port) }

// URL returns the address of the site.
func (d *Demo) URL() string { return d.url }

// Dir returns the absolute path of the folder.
func (d *Demo) Dir() string { return d.cfg.Dir }

// Issuer returns the address of the OpenID provider.
func (d *Demo) Issuer() string { return d.start.Issuer }

// SitePID returns the process id of the running site, or 0.
func (d *Demo) SitePID() int {
	if s := d.current(); s != nil {
		return s.cmd.Process.Pid
	}
	return 0
}

// Close lets go of what New opened.
func (d *Demo) Close() error {
	var err error
	for _, c := range d.opened {
		if e := c.Close(); !errors.Is(e, net.ErrClosed) { // the provider's server closes its own
			err = errors.Join(err, e)
		}
	}
	d.opened = nil
	return err
}

// Run serves until ctx ends, and calls ready when the site does for the first
// time. It returns nil when ctx ended, and an error when the site cannot be
// kept running.
func (d *Demo) Run(ctx context.Context, ready func() error) error {
	return errors.Join(d.serve(ctx, ready), d.Close())
}

func (d *Demo) serve(ctx context.Context, ready func() error) error {
	server := &http.Server{Handler: d.handler, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute,
		ErrorLog: slog.NewLogLogger(d.log.Handler(), slog.LevelWarn)}
	defer func() { _ = server.Close() }() // its listener is closed by Close
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(d.provider) }()

	unready := 0
	for {
		s, err := d.startSite()
		if err != nil {
			return fmt.Errorf("start the site: %w", err)
		}
		go d.hear(s)
		select {
		case <-s.ready:
			unready = 0
			if ready != nil {
				if err := ready(); err != nil {
					s.stop()
					return err
				}
				ready = nil
				debug.FreeOSMemory() // what starting took is not needed again
			}
		case <-s.gone:
		case <-ctx.Done():
		}
		select {
		case <-s.gone:
		case err := <-failed:
			s.stop()
			return fmt.Errorf("serve the provider: %w", err)
		case <-ctx.Done():
			s.stop()
			return nil
		}
		d.log.Info("the site ended and is started again", "pid", s.cmd.Process.Pid, "state", s.cmd.ProcessState.String())
		select {
		case <-s.ready:
		default:
			if unready++; unready == 3 {
				return fmt.Errorf("the site does not start (%s): see %s", s.cmd.ProcessState, d.logFile.Name())
			}
		}
	}
}

// site is a running process of the site.
type site struct {
	cmd    *exec.Cmd
	input  io.Closer
	to     *line
	notes  *json.Decoder
	ready  chan struct{} // closed when it serves
	gone   chan struct{} // closed when it has ended
	reach  chan struct{} // gets a value when the armed sign-in stands still
	mu     sync.Mutex
	killed bool // on request; guarded by mu
}

func (d *Demo) startSite() (*site, error) {
	cmd := exec.Command(d.cfg.Site[0], d.cfg.Site[1:]...) //nolint:gosec,noctx // G204: this program itself; stop ends it
	cmd.ExtraFiles = []*os.File{d.socket}
	cmd.Stderr = d.logFile
	cmd.Dir = d.cfg.Dir
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s := &site{cmd: cmd, input: in, to: newLine(in), notes: json.NewDecoder(out),
		ready: make(chan struct{}), gone: make(chan struct{}), reach: make(chan struct{}, 1)}
	d.mu.Lock()
	begin := d.start
	d.site = s
	d.mu.Unlock()
	if err := s.to.send(command{Start: &begin}); err != nil {
		d.log.Warn("tell the site to start", "error", err)
	}
	return s, nil
}

func (d *Demo) current() *site { d.mu.Lock(); defer d.mu.Unlock(); return d.site }

// hear reads the site's notes until it ends.
func (d *Demo) hear(s *site) {
	for {
		var n note
		if err := s.notes.Decode(&n); err != nil {
			break
		}
		switch {
		case n.Ready:
			close(s.ready)
		case n.Reached:
			select {
			case s.reach <- struct{}{}:
			default:
			}
		case n.Crash != "":
			go d.crash(s, n.Crash)
		}
	}
	if err := s.cmd.Wait(); err != nil {
		d.log.Info("the site has ended", "pid", s.cmd.Process.Pid, "error", err)
	}
	close(s.gone)
}

// stopTime is how long the site gets to end by itself.
const stopTime = 10 * time.Second

// stop ends the site: kindly, and when that does not help, not.
func (s *site) stop() {
	_ = s.input.Close() // it may have ended meanwhile
	timer := time.NewTimer(stopTime)
	defer timer.Stop()
	select {
	case <-s.gone:
	case <-timer.C:
		_ = s.cmd.Process.Kill() // it may have ended meanwhile
		<-s.gone
	}
}

// crash has somebody sign in by magic link and kills the site (SIGKILL) when
// that sign-in has come to the moment.
func (d *Demo) crash(s *site, moment string) {
	s.mu.Lock()
	again := s.killed
	s.killed = true
	s.mu.Unlock()
	if again {
		return
	}
	c := &crash{Moment: moment, PID: s.cmd.Process.Pid,
		Address: "visitor-" + strings.ToLower(rand.Text()[:5]) + "@example.com"}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	answer := make(chan error, 1)
	if err := s.to.send(command{Arm: &arm{Address: c.Address, Moment: moment}}); err != nil {
		d.log.Error("arm the crash", "error", err)
	}
	go func() { answer <- signInByMail(ctx, d.url, d.cfg.Dir, c.Address) }()
	select {
	case <-s.reach:
	case err := <-answer:
		c.Answered = err == nil
		answer <- err
		d.log.Error("the sign-in ended before the kill", "error", err)
	case <-s.gone:
		return
	case <-ctx.Done():
		d.log.Error("the sign-in did not come to the moment of the kill")
	}
	c.KilledAt = time.Now()
	d.mu.Lock()
	d.start.Crash = c // the next site is started with it
	d.mu.Unlock()
	if err := s.cmd.Process.Kill(); err != nil {
		d.log.Error("kill the site", "error", err)
	}
	d.log.Info("killed the site in the middle of a sign-in", "pid", c.PID, "moment", moment, "answer", <-answer)
}
