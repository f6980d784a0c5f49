// Package cut is a TCP proxy that loses connections at a chosen message: for
// tests of what is left when the line to a database breaks at any statement, or
// at COMMIT, before the server had it or before its answer came.
//
// It knows no protocol. What a client writes at once is a message, which is so
// for every protocol of questions and answers.
package cut

import (
	"net"
	"sync"
	"testing"
)

// Proxy passes connections on to a server. Its methods may be called
// concurrently.
type Proxy struct {
	to       string
	listener net.Listener

	mu        sync.Mutex
	left      int // messages until the cut; 0 when none is to come
	delivered bool
	lost      []net.Conn // both ends of what was cut
	down      bool
	conns     map[net.Conn]bool
}

// New returns a Proxy to the server at the address to, which ends with t.
func New(t testing.TB, to string) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{to: to, listener: l, conns: map[net.Conn]bool{}}
	var serving sync.WaitGroup
	serving.Go(func() { p.serve(&serving) })
	t.Cleanup(func() {
		l.Close()
		p.Down()
		serving.Wait()
	})
	return p
}

// Addr is the host and port of the proxy.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Break makes the n-th message from now on, from 1, the last of its connection.
// The server gets it when delivered is true, and then its answer is lost; else
// the message is. Connections made afterwards are whole.
func (p *Proxy) Break(n int, delivered bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left, p.delivered, p.lost = n, delivered, nil
}

// Mend takes [Proxy.Break] and [Proxy.Down] back and reports whether a
// connection was cut. The client can know of that when Mend returns, also where
// it waited for no answer.
func (p *Proxy) Mend() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.lost {
		c.Close()
	}
	cut := p.lost != nil
	p.left, p.lost, p.down = 0, nil, false
	return cut
}

// Down closes all connections, and new ones as soon as they are made.
func (p *Proxy) Down() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = true
	for c := range p.conns {
		c.Close()
	}
}

func (p *Proxy) serve(serving *sync.WaitGroup) {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return // closed
		}
		serving.Go(func() { p.pass(client) })
	}
}

// hold remembers a connection, unless the proxy is down.
func (p *Proxy) hold(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down {
		c.Close()
		return false
	}
	p.conns[c] = true
	return true
}

func (p *Proxy) drop(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
	c.Close()
}

// pass passes on what one connection has to say.
func (p *Proxy) pass(client net.Conn) {
	if !p.hold(client) {
		return
	}
	defer p.drop(client)
	server, err := net.Dial("tcp", p.to)
	if err != nil {
		return
	}
	if !p.hold(server) {
		return
	}
	defer p.drop(server)

	// answered is closed with the first answer that is lost, and done when the
	// server says no more.
	lost, answered, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		answer(client, server, lost, answered)
	}()
	p.ask(client, server, lost, answered, done)
	server.Close()
	client.Close()
	<-done
}

// ask passes the client's messages on, up to the one that is cut.
func (p *Proxy) ask(client, server net.Conn, lost chan<- struct{}, answered, done <-chan struct{}) {
	buf := make([]byte, 1<<20)
	for {
		n, err := client.Read(buf)
		if err != nil {
			return
		}
		cut, delivered := p.message(client, server)
		if cut && !delivered {
			return
		}
		if cut {
			close(lost)
		}
		if _, err := server.Write(buf[:n]); err != nil {
			return
		}
		if cut {
			// The server has done it when it begins to answer. Some messages have no
			// answer; then the client goes on with the next.
			next := make(chan struct{})
			go func() {
				_, _ = client.Read(buf)
				close(next)
			}()
			select {
			case <-answered:
			case <-done:
			case <-next:
			}
			return
		}
	}
}

// answer passes the server's answers on, until they are lost.
func answer(client, server net.Conn, lost <-chan struct{}, answered chan<- struct{}) {
	buf := make([]byte, 64<<10)
	for {
		n, err := server.Read(buf)
		select {
		case <-lost:
			close(answered)
			return
		default:
		}
		if err != nil {
			client.Close()
			return
		}
		if _, err := client.Write(buf[:n]); err != nil {
			return
		}
	}
}

// message counts a message and reports whether it is the last of its connection.
func (p *Proxy) message(client, server net.Conn) (cut, delivered bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.left == 0 {
		return false, false
	}
	if p.left--; p.left > 0 {
		return false, false
	}
	p.lost = append(p.lost, client, server)
	return true, p.delivered
}
