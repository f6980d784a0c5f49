package cut_test

import (
	"bufio"
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/gatebook/gatebook/test/cut"
)

// counter is a server that answers each line with how many it has had.
func counter(t *testing.T) (addr string, had *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	had = new(atomic.Int64)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				lines := bufio.NewScanner(c)
				for lines.Scan() {
					n := had.Add(1)
					if lines.Text() != "quiet" {
						fmt.Fprintln(c, n)
					}
				}
			}()
		}
	}()
	return l.Addr().String(), had
}

// talk sends lines on one connection until one is not answered and returns how
// many were.
func talk(t *testing.T, addr string, lines int) (answered int) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return 0
	}
	defer c.Close()
	answers := bufio.NewReader(c)
	for range lines {
		if _, err := fmt.Fprintln(c, "line"); err != nil {
			return answered
		}
		if line, err := answers.ReadString('\n'); err != nil || strings.TrimSpace(line) == "" {
			return answered
		}
		answered++
	}
	return answered
}

func TestBreak(t *testing.T) {
	for _, delivered := range []bool{false, true} {
		addr, had := counter(t)
		p := cut.New(t, addr)
		p.Break(3, delivered)
		if n := talk(t, p.Addr(), 5); n != 2 {
			t.Errorf("delivered %v: %d answers, want 2", delivered, n)
		}
		want := int64(2)
		if delivered {
			want = 3
		}
		if n := had.Load(); n != want {
			t.Errorf("delivered %v: the server had %d messages, want %d", delivered, n, want)
		}
		if n := talk(t, p.Addr(), 5); n != 5 {
			t.Errorf("delivered %v: %d answers on the next connection, want 5", delivered, n)
		}
		if !p.Mend() {
			t.Error("Mend = false after a cut")
		}
		p.Break(9, delivered)
		if n := talk(t, p.Addr(), 5); n != 5 || p.Mend() {
			t.Errorf("delivered %v: a cut came too early, after %d answers", delivered, n)
		}
	}
}

// TestNoAnswer cuts at a message that the server does not answer.
func TestNoAnswer(t *testing.T) {
	addr, had := counter(t)
	p := cut.New(t, addr)
	p.Break(1, true)
	c, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintln(c, "quiet")
	for had.Load() == 0 {
		runtime.Gosched()
	}
	fmt.Fprintln(c, "line")
	if line, err := bufio.NewReader(c).ReadString('\n'); err == nil {
		t.Errorf("an answer %q came after the cut", line)
	}
}

func TestDown(t *testing.T) {
	addr, _ := counter(t)
	p := cut.New(t, addr)
	p.Down()
	if n := talk(t, p.Addr(), 1); n != 0 {
		t.Error("an answer came through a proxy that is down")
	}
	p.Mend()
	if n := talk(t, p.Addr(), 1); n != 1 {
		t.Error("no answer after Mend")
	}
}
