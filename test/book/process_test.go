package book_test

import (
	"bufio"
	"context"
	"database/sql"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatebook/gatebook/book"
	"github.com/gatebook/gatebook/internal/sqldb"
)

// processEnv makes the test program a process of its own: what it does, the
// kind of database, and its address, with colons between.
const processEnv = "GATEBOOK_TEST_BOOK_PROCESS"

func TestMain(m *testing.M) {
	what, rest, ok := strings.Cut(os.Getenv(processEnv), ":")
	if !ok {
		os.Exit(m.Run())
	}
	name, address, _ := strings.Cut(rest, ":")
	if err := process(what, databases[name], address); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// process works on the database until standard input ends. "serve" numbers, and
// appends with four writers: each entry's id is written to standard output
// once it is durable. "lock" holds SQLite's write lock.
func process(what string, d database, address string) error {
	p, err := sql.Open(d.driver, address)
	if err != nil {
		return err
	}
	if what == "lock" {
		c, err := p.Conn(context.Background())
		if err != nil {
			return err
		}
		if _, err := c.ExecContext(context.Background(), "BEGIN IMMEDIATE"); err != nil {
			return err
		}
		fmt.Println("locked")
		io.Copy(io.Discard, os.Stdin)
		_, err = c.ExecContext(context.Background(), "ROLLBACK")
		return err
	}
	b := book.New(book.NewSQL(sqldb.New(p, d.dialect)))
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() { b.Run(ctx) })
	id, err := b.Identity(ctx)
	if err != nil {
		return err
	}
	var stop atomic.Bool
	var mu sync.Mutex
	for w := range 4 {
		wg.Go(func() {
			// Without a pause this process would keep the lock from others for
			// seconds: SQLite has no queue for processes.
			pace := time.NewTicker(4 * time.Millisecond)
			defer pace.Stop()
			for i := 0; !stop.Load(); i++ {
				<-pace.C
				e, err := seal(id, event{ID: fmt.Sprintf("p%d-%d-%d", os.Getpid(), w, i), User: "u"})
				if err != nil {
					fmt.Fprintln(os.Stderr, err)
					return
				}
				if err := b.Append(ctx, e); err != nil {
					if !stop.Load() {
						fmt.Fprintln(os.Stderr, err)
					}
					continue
				}
				mu.Lock()
				fmt.Println(e.ID)
				mu.Unlock()
			}
		})
	}
	io.Copy(io.Discard, os.Stdin)
	stop.Store(true)
	cancel()
	wg.Wait()
	return nil
}

// child is a process that runs [process].
type child struct {
	cmd  *exec.Cmd
	in   io.Closer
	mu   sync.Mutex
	said []string
	line chan struct{} // gets a value with the first lines
	done chan struct{} // closed when standard output has ended
}

// startProcess starts a process on a database of [databases].
func startProcess(t testing.TB, what, name, address string) *child {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := &child{cmd: exec.Command(exe), line: make(chan struct{}, 64), done: make(chan struct{})}
	c.cmd.Env = append(os.Environ(), processEnv+"="+what+":"+name+":"+address)
	c.cmd.Stderr = t.Output()
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(c.done)
		r := bufio.NewReader(out)
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return // a line without end was cut off by a kill
			}
			c.mu.Lock()
			c.said = append(c.said, strings.TrimSuffix(line, "\n"))
			c.mu.Unlock()
			select {
			case c.line <- struct{}{}:
			default:
			}
		}
	}()
	t.Cleanup(c.kill)
	return c
}

// wait waits for n lines.
func (c *child) wait(t testing.TB, n int) {
	t.Helper()
	for range n {
		select {
		case <-c.line:
		case <-c.done:
			t.Fatal("the process ended early")
		}
	}
}

// lines returns what the process has said.
func (c *child) lines() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.said...)
}

// end ends the process gently.
func (c *child) end() {
	c.in.Close()
	<-c.done
	c.cmd.Wait()
}

func (c *child) kill() {
	c.cmd.Process.Kill()
	<-c.done
	c.cmd.Wait()
}
