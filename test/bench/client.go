//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime"
	"syscall"
	"time"
)

// connections is how many requests are under way at once: enough that the
// server always has the next one waiting.
const connections = 16

// conn is a keep-alive connection with a request under way.
type conn struct {
	fd  int
	got int
	buf []byte
}

// load sends requests to a port of this machine for a while, each when the one
// before it on its connection is answered, and returns how many were. All
// answers must be 200 and have the given length. It is as cheap as can be, so
// that the server is what is measured: the bytes are ready, one thread serves
// all connections, and a request costs one write and one read.
func load(port int, requests [][]byte, length int, during time.Duration) (answered int, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	poll, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return 0, fmt.Errorf("epoll: %w", err)
	}
	defer syscall.Close(poll)
	next := 0
	send := func(c *conn) error {
		c.got = 0
		req := requests[next%len(requests)]
		next++
		if n, err := syscall.Write(c.fd, req); err != nil || n != len(req) {
			return fmt.Errorf("send a request: %d of %d bytes: %w", n, len(req), err)
		}
		return nil
	}
	conns := map[int32]*conn{}
	defer func() {
		for _, c := range conns {
			syscall.Close(c.fd)
		}
	}()
	for range connections {
		fd, err := dial(port)
		if err != nil {
			return 0, err
		}
		c := &conn{fd: fd, buf: make([]byte, length+1)}
		conns[int32(fd)] = c
		ev := syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(fd)}
		if err := syscall.EpollCtl(poll, syscall.EPOLL_CTL_ADD, fd, &ev); err != nil {
			return 0, fmt.Errorf("epoll: %w", err)
		}
		if err := send(c); err != nil {
			return 0, err
		}
	}
	events := make([]syscall.EpollEvent, connections)
	open := connections
	deadline := time.Now().Add(during)
	for open > 0 {
		// It asks again and again and never sleeps: a server that is slower would
		// otherwise have to wake its client more often, and pay for that too.
		n, err := syscall.EpollWait(poll, events, 0)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("epoll: %w", err)
		}
		now := time.Now()
		over := !now.Before(deadline)
		if n == 0 && now.Sub(deadline) > 10*time.Second {
			return 0, errors.New("no answer in 10 seconds")
		}
		for _, ev := range events[:n] {
			c := conns[ev.Fd]
			n, err := syscall.Read(c.fd, c.buf[c.got:])
			if err != nil || n <= 0 {
				return 0, fmt.Errorf("the server closed a connection: %w", errors.Join(err, io.EOF))
			}
			if c.got += n; c.got < length {
				continue
			}
			if c.got > length || !bytes.HasPrefix(c.buf, []byte("HTTP/1.1 200 OK\r\n")) {
				return 0, fmt.Errorf("an answer differs, want 200 and %d bytes:\n%s", length, c.buf[:c.got])
			}
			answered++
			if over {
				open--
				continue
			}
			if err := send(c); err != nil {
				return 0, err
			}
		}
	}
	return answered, nil
}

func dial(port int) (int, error) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("socket: %w", err)
	}
	if err := syscall.Connect(fd, &syscall.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		syscall.Close(fd)
		return 0, fmt.Errorf("connect: %w", err)
	}
	if err := syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1); err != nil {
		syscall.Close(fd)
		return 0, fmt.Errorf("connect: %w", err)
	}
	return fd, nil
}
