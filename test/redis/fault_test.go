package redis_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/adapter/memory"
	"github.com/gatebook/gatebook/adapter/redis"
	"github.com/gatebook/gatebook/test/dbserver"
	"github.com/gatebook/gatebook/test/need"
)

// oldest is how old the oldest answer may be.
const oldest = 10 * time.Second

// proxy passes bytes between clients and a server until it is cut: then
// connections stay, and nothing goes through.
type proxy struct {
	net.Listener
	to string

	mu     sync.Mutex
	whole  chan struct{} // closed while everything goes through; guarded by mu
	broken bool          // no connection is taken; guarded by mu
	conns  []net.Conn    // guarded by mu
}

func newProxy(t testing.TB, to string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{Listener: l, to: to, whole: make(chan struct{})}
	close(p.whole)
	t.Cleanup(func() { _ = l.Close() })
	t.Cleanup(p.Mend)
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", to)
			p.mu.Lock()
			if err != nil || p.broken {
				_ = client.Close()
				p.mu.Unlock()
				continue
			}
			p.conns = append(p.conns, client, server)
			p.mu.Unlock()
			go p.pass(client, server)
			go p.pass(server, client)
		}
	}()
	return p
}

func (p *proxy) pass(from, to net.Conn) {
	defer from.Close()
	defer to.Close()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		p.mu.Lock()
		whole := p.whole
		p.mu.Unlock()
		<-whole
		if err != nil {
			return
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

// Cut makes the network swallow everything, and Mend ends that.
func (p *proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.whole = make(chan struct{})
}

// Break ends all connections and takes no new ones, until Mend.
func (p *proxy) Break() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.broken = true
	for _, c := range p.conns {
		_ = c.Close()
	}
	p.conns = nil
}

func (p *proxy) Mend() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.broken = false
	select {
	case <-p.whole:
	default:
		close(p.whole)
	}
}

// through returns the address of a server by way of a proxy.
func through(t testing.TB, address string) (*proxy, string) {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	p := newProxy(t, u.Host)
	u.Host = p.Addr().String()
	return p, u.String()
}

// unconnected returns a cache that may have no connection.
func unconnected(t testing.TB, adapter gatebook.Adapter, address string) *redis.Cache {
	t.Helper()
	c, err := redis.Open(adapter, address, &redis.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// reads reads a session many times, which must be there, and returns how long the
// slowest and all of them took.
func reads(t testing.TB, c *redis.Cache, s gatebook.StoredSession, n int) (slowest, all time.Duration) {
	t.Helper()
	began := time.Now()
	for range n {
		from := time.Now()
		if found, err := c.Session(t.Context(), s.Token); err != nil || found.User.ID != s.UserID {
			t.Fatalf("Session = %+v, %v", found, err)
		}
		slowest = max(slowest, time.Since(from))
	}
	return slowest, time.Since(began)
}

// bounded reads a session that no memory has, while Redis is not there: that must
// cost little, at most a few waits.
func bounded(t testing.TB, what string, c *redis.Cache) {
	t.Helper()
	s := signedIn(t, c, fmt.Sprintf("user %d", numbers.Add(1)))
	slowest, all := reads(t, c, s, 2000)
	t.Logf("%s: the slowest read took %v, 2000 took %v", what, slowest, all)
	if slowest > 250*time.Millisecond || all > 2*time.Second {
		t.Errorf("%s: the slowest read took %v, 2000 took %v; want at most 250ms and 2s", what, slowest, all)
	}
}

// cachedAgain waits until reads do not go to the database any more.
func cachedAgain(t testing.TB, c *redis.Cache, db *counting, s gatebook.StoredSession) {
	t.Helper()
	within(t, 15*time.Second, "the cache to work again", func() bool {
		before := db.reads.Load()
		reads(t, c, s, 20)
		return db.reads.Load() == before
	})
}

func deleteSession(t testing.TB, a gatebook.Adapter, token gatebook.Secret) {
	t.Helper()
	found, err := a.Session(t.Context(), token)
	if err == nil {
		err = a.Commit(t.Context(), &gatebook.Act{Writes: []gatebook.Write{gatebook.DeleteSession{Handle: found.Session.Handle}}})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// faults makes a server of one's own, two caches on it, and sessions in them.
func faults(t *testing.T) (address string, db *counting, one, two *redis.Cache, s [3]gatebook.StoredSession) {
	t.Helper()
	db = &counting{Adapter: memory.New()}
	address = need.Redis(t)
	one, two = open(t, db, address), open(t, db, address)
	return address, db, one, two, people(t, one, two)
}

// numbers makes the names of people different.
var numbers atomic.Int64

func people(t testing.TB, caches ...*redis.Cache) (s [3]gatebook.StoredSession) {
	t.Helper()
	for i := range s {
		s[i] = signedIn(t, caches[0], fmt.Sprintf("user %d", numbers.Add(1)))
		for _, c := range caches {
			warm(t, c, s[i].Token)
		}
	}
	return s
}

// TestRedisDown kills the server, and hangs it. Meanwhile every session opens, none
// that was ended does, and nobody waits long.
func TestRedisDown(t *testing.T) {
	ways := []struct {
		name      string
		down, up  func(*dbserver.Server) error
		nextCheck time.Duration // in which every server refuses what was ended meanwhile
	}{
		{"killed", func(s *dbserver.Server) error { s.Kill(); return nil }, (*dbserver.Server).Start, prompt},
		{"hanging", func(s *dbserver.Server) error { s.Pause(); return nil },
			func(s *dbserver.Server) error { s.Resume(); return nil }, oldest},
	}
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			server := need.RedisServer(t)
			db := &counting{Adapter: memory.New()}
			one, two := open(t, db, server.URL("")), open(t, db, server.URL(""))
			s := people(t, one, two)
			if err := way.down(server); err != nil {
				t.Fatal(err)
			}
			bounded(t, way.name, one)
			reads(t, one, s[0], 100)
			from := time.Now()
			deleteSession(t, one, s[1].Token)
			if took := time.Since(from); took > 500*time.Millisecond {
				t.Errorf("ending a session took %v while Redis is %s", took, way.name)
			}
			if !refused(t, one, s[1].Token) {
				t.Error("the server that ended a session still takes it")
			}
			within(t, way.nextCheck, "the other server to refuse it", func() bool { return refused(t, two, s[1].Token) })
			t.Logf("%s: the other server refused after %v", way.name, time.Since(from))
			if err := way.up(server); err != nil {
				t.Fatal(err)
			}
			cachedAgain(t, one, db, s[0])
			cachedAgain(t, two, db, s[0])
			for _, c := range []*redis.Cache{one, two} {
				if !refused(t, c, s[1].Token) {
					t.Error("a session that was ended meanwhile opens afterwards")
				}
			}
			warm(t, one, s[2].Token)
			warm(t, two, s[2].Token)
			deleteSession(t, one, s[2].Token)
			within(t, prompt, "the other server to refuse one that is ended now", func() bool { return refused(t, two, s[2].Token) })
		})
	}
}

// TestNoRedisAtStart opens a cache of which there is no server yet.
func TestNoRedisAtStart(t *testing.T) {
	server := need.RedisServer(t)
	server.Kill()
	db := &counting{Adapter: memory.New()}
	c := unconnected(t, db, server.URL(""))
	s := signedIn(t, c, "ada")
	bounded(t, "before there is a server", c)
	if err := c.Ping(t.Context()); err == nil {
		t.Error("Ping says that there is one")
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	cachedAgain(t, c, db, s)
	if err := c.Ping(t.Context()); err != nil {
		t.Errorf("Ping: %v", err)
	}
}

// TestBlackHole opens a cache of a server that takes connections and says nothing.
func TestBlackHole(t *testing.T) {
	p, address := through(t, need.Redis(t))
	p.Cut()
	db := &counting{Adapter: memory.New()}
	c := unconnected(t, db, address)
	s := signedIn(t, c, "ada")
	bounded(t, "a server that says nothing", c)
	from := time.Now()
	if err := c.Close(); err != nil || time.Since(from) > 5*time.Second {
		t.Errorf("Close = %v after %v", err, time.Since(from))
	}
	reads(t, c, s, 10)
}

// TestFlushed empties Redis again and again.
func TestFlushed(t *testing.T) {
	address, db, one, two, s := faults(t)
	client := raw(t, address)
	for i := range s {
		if err := client.Do(t.Context(), client.B().Flushdb().Build()).Error(); err != nil {
			t.Fatal(err)
		}
		before := db.reads.Load()
		reads(t, one, s[i], 10)
		within(t, prompt, "the flush to be heard of", func() bool {
			reads(t, one, s[i], 1)
			return db.reads.Load() > before
		})
		warm(t, two, s[i].Token)
		deleteSession(t, one, s[i].Token)
		within(t, prompt, "the other server to refuse", func() bool { return refused(t, two, s[i].Token) })
	}
}

// TestReaderCutOff cuts one server off from Redis: it learns nothing, and must
// still refuse in time what another ended.
func TestReaderCutOff(t *testing.T) {
	address := need.Redis(t)
	p, cutOff := through(t, address)
	db := &counting{Adapter: memory.New()}
	one, two := open(t, db, address), open(t, db, cutOff)
	s := people(t, one, two)
	p.Cut()
	deleteSession(t, one, s[0].Token)
	from := time.Now()
	bounded(t, "cut off", two)
	within(t, oldest, "the server that is cut off to refuse", func() bool { return refused(t, two, s[0].Token) })
	t.Logf("refused after %v", time.Since(from))
	p.Mend()
	cachedAgain(t, two, db, s[1])
	if !refused(t, two, s[0].Token) {
		t.Error("it opens again after the network was mended")
	}
}

// TestWriterCutOff cuts off the server that ends a session, and nobody follows the
// book: the rows that Redis and the other server have are only as good as they are
// young.
func TestWriterCutOff(t *testing.T) {
	address := need.Redis(t)
	p, cutOff := through(t, address)
	db := &counting{Adapter: memory.New()}
	one, two := open(t, db, cutOff), open(t, db, address)
	s := people(t, one, two)
	p.Cut()
	from := time.Now()
	deleteSession(t, one, s[0].Token)
	if !refused(t, one, s[0].Token) {
		t.Error("the server that ended the session still takes it")
	}
	within(t, oldest, "the other server to refuse", func() bool { return refused(t, two, s[0].Token) })
	t.Logf("refused after %v", time.Since(from))
	p.Mend()
	within(t, oldest, "the server to have its connection again", func() bool { return one.Ping(t.Context()) == nil })
	if !refused(t, one, s[0].Token) {
		t.Error("it opens again after the network was mended")
	}
}

// TestDropLost breaks the connection of the server that ends a session just when it
// does, so that Redis keeps the row. That server must not take it again when it has
// its connection back, though another still does.
func TestDropLost(t *testing.T) {
	address := need.Redis(t)
	p, breaking := through(t, address)
	db := &counting{Adapter: memory.New()}
	one, two := open(t, db, breaking), open(t, db, address)
	s := people(t, one, two)
	for range 3 { // rows that are as young as can be
		warm(t, two, s[0].Token)
	}
	p.Break()
	deleteSession(t, one, s[0].Token)
	p.Mend()
	within(t, oldest, "the server to have its connection again", func() bool { return one.Ping(t.Context()) == nil })
	if refused(t, two, s[0].Token) {
		t.Fatal("Redis has not kept the row, so that this shows nothing")
	}
	for !refused(t, two, s[0].Token) {
		if !refused(t, one, s[0].Token) {
			t.Fatal("the server that ended a session takes it again")
		}
	}
}

// TestOldestAnswer changes a row where nobody tells the cache of it: no server may
// give the old one for longer than the promise is, however often it is read.
func TestOldestAnswer(t *testing.T) {
	address := need.Redis(t)
	db := memory.New()
	one, two := open(t, db, address), open(t, db, address)
	s := people(t, one, two)
	deleteSession(t, db, s[0].Token)
	from := time.Now()
	for _, c := range []*redis.Cache{one, two, open(t, db, address)} {
		within(t, oldest-time.Since(from), "the row to be too old", func() bool { return refused(t, c, s[0].Token) })
	}
	t.Logf("refused after %v", time.Since(from))
}

// TestWithoutTracking uses a connection on which Redis tells of nothing.
func TestWithoutTracking(t *testing.T) {
	option, err := rueidis.ParseURL(need.Redis(t))
	if err != nil {
		t.Fatal(err)
	}
	option.AlwaysRESP2 = true
	db := &counting{Adapter: memory.New()}
	var caches [2]*redis.Cache
	for i := range caches {
		caches[i] = redis.New(db, option, &redis.Options{Logger: slog.New(slog.DiscardHandler)})
		t.Cleanup(func() { _ = caches[i].Close() })
		connect(t, caches[i])
	}
	s := people(t, caches[:]...)
	cachedAgain(t, caches[0], db, s[0])
	cachedAgain(t, caches[1], db, s[0])
	deleteSession(t, caches[0], s[0].Token)
	for _, c := range caches {
		if !refused(t, c, s[0].Token) {
			t.Error("a session that was ended opens")
		}
	}
}

// TestEverythingExpires: Redis holds what is in use, and nothing for good but the
// cursor.
func TestEverythingExpires(t *testing.T) {
	address, _, one, _, s := faults(t)
	deleteSession(t, one, s[0].Token)
	client := raw(t, address)
	for _, kind := range []string{"s", "u", "h"} {
		names := keys(t, client, kind)
		if len(names) == 0 {
			t.Errorf("no keys of kind %s", kind)
		}
		for _, name := range names {
			left, err := client.Do(t.Context(), client.B().Pttl().Key(name).Build()).ToInt64()
			if err != nil || left <= 0 || left > oldest.Milliseconds() {
				t.Errorf("%s lives for %d ms more, %v", name, left, err)
			}
		}
	}
}

// TestBusyUser keeps filling sessions of one user: what Redis knows of the user
// holds those that are there and not all there ever were.
func TestBusyUser(t *testing.T) {
	address := need.Redis(t)
	db := memory.New()
	c := open(t, db, address)
	first := signedIn(t, db, "robot")
	client := raw(t, address)
	n := 0
	session := func() {
		n++
		next := first
		next.Token, next.ID = gatebook.Secret(fmt.Sprintf("token %d", n)), fmt.Sprintf("sid %d", n)
		if err := db.Commit(t.Context(), &gatebook.Act{Writes: []gatebook.Write{gatebook.CreateSession{Session: next}}}); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Session(t.Context(), next.Token); err != nil {
			t.Fatal(err)
		}
	}
	session()
	names := keys(t, client, "u")
	if len(names) != 1 {
		t.Fatalf("keys of users: %q", names)
	}
	began := time.Now()
	within(t, oldest, "the first ones to be gone", func() bool { session(); return time.Since(began) > 6*time.Second })
	known, err := client.Do(t.Context(), client.B().Zcard().Key(names[0]).Build()).ToInt64()
	if err != nil {
		t.Fatal(err)
	}
	there := int64(len(keys(t, client, "s")))
	t.Logf("%d sessions, of which %d are there and %d are known", n, there, known)
	if known > there+int64(n)/20 {
		t.Errorf("of %d sessions %d are there, and %d are known", n, there, known)
	}
}

// TestHangUp lets visitors hang up while Redis is asked, which is no failure of
// Redis.
func TestHangUp(t *testing.T) {
	server := need.RedisServer(t)
	log := new(logged)
	c, err := redis.Open(memory.New(), server.URL("0"), &redis.Options{Logger: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	connect(t, c)
	within(t, 30*time.Second, "a hang-up that is not taken for a failure", func() bool {
		s := signedIn(t, c, fmt.Sprintf("user %d", numbers.Add(1)))
		within(t, 10*time.Second, "Redis to be well", func() bool { return c.Ping(t.Context()) == nil })
		failed := log.count("does not answer")
		server.Pause()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = c.Session(ctx, s.Token)
		}()
		asked := time.NewTimer(5 * time.Millisecond)
		<-asked.C
		cancel()
		server.Resume()
		<-done
		return log.count("does not answer") == failed
	})
}
