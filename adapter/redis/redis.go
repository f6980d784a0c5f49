// Package redis keeps the session rows of a SQL adapter in Redis or Valkey, so
// that most reads of a session ask neither of them: the rows are cached in this
// process too, and Redis tells when one is no longer good (client-side caching,
// RESP3).
//
//	db, err := postgres.Open(ctx, os.Getenv("DATABASE_URL"))
//	cache, err := redis.Open(db, "redis://localhost:6379", nil)
//	auth, err := gatebook.New(gatebook.Config{Adapter: cache, …})
//
// A [Cache] is the adapter it was given, except that Session is answered from
// the cache. Everything else goes to the database, which stays the only truth: a
// Redis that is dead, slow, flushed or gone costs speed and nothing more. Nothing
// that the cache answers is older than ten seconds, whatever happens to the
// network; where the connection lives a session that was ended is refused within
// a tenth of a second.
//
// What is in Redis is sealed and named by keyed digests. Who can read it learns
// no token, name or address; who can write it cannot make a session, and can
// bring one back that was ended for no longer than ten seconds.
//
// The README beside this file says what is stored and what a Redis user must be
// allowed to do.
package redis

import (
	"cmp"
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/gatebook/gatebook"
)

// A row that was read from the database may be filled in for as long as the
// lease of its key lasts, stays in Redis for inRedis, and in a process for
// inProcess after Redis was asked. Each is measured by one clock from its own
// beginning, so that together they are the age of the oldest answer, ten seconds,
// however slow the network is, however long a process was stopped, and whatever
// the clocks of the servers say.
const (
	lease     = 2 * time.Second
	inRedis   = 5 * time.Second
	inProcess = 3 * time.Second
	maxAge    = lease + inRedis + inProcess
)

// Redis has this long to answer. What it does not answer in time is read from the
// database; what it did not drop in time the follower of the book drops.
const (
	patience     = 50 * time.Millisecond
	dropPatience = 250 * time.Millisecond
)

// Cache is a [gatebook.Adapter] that reads sessions from Redis and does
// everything else in the adapter it was given. It is safe for concurrent use.
type Cache struct {
	gatebook.Adapter
	client atomic.Pointer[rueidis.Client]
	option rueidis.ClientOption
	told   atomic.Bool // Redis tells this process what changes
	log    *slog.Logger

	seal   atomic.Pointer[seal]
	near   near
	news   news
	drops  drops
	health health
	warned atomic.Int64 // when a value could not be opened, Unix seconds

	mu      sync.Mutex
	dialing chan struct{} // closed when the dialling goroutine ends; guarded by mu
	closed  bool          // guarded by mu
}

var (
	_ gatebook.Adapter        = (*Cache)(nil)
	_ gatebook.IDMaker        = (*Cache)(nil)
	_ gatebook.AccountLimiter = (*Cache)(nil)
	_ gatebook.WriteChecker   = (*Cache)(nil)
	_ gatebook.Runner         = (*Cache)(nil)
)

// Options are what most programs leave alone.
type Options struct {
	// Logger is told when Redis stops answering and when it answers again. If
	// nil, slog.Default.
	Logger *slog.Logger
}

// Open returns a cache of adapter in the Redis at address, such as
// redis://user:password@localhost:6379/0, or rediss: for TLS (the form is that of
// rueidis.ParseURL). It is [New] otherwise.
func Open(adapter gatebook.Adapter, address string, opts *Options) (*Cache, error) {
	option, err := rueidis.ParseURL(strings.TrimSuffix(address, "/"))
	if err != nil { // its text has the address, and that a password
		return nil, errors.New("redis: the address is malformed: want one like redis://user:password@localhost:6379/0")
	}
	return New(adapter, option, opts), nil
}

// cacheSize bounds the rows that each of a client's connections, at most four,
// keeps in this process: about 20,000.
const cacheSize = 32 << 20

// New returns a cache of adapter in the Redis, cluster or set of sentinels that
// option names. It does not wait for Redis: the connection is made at first use,
// and again until there is one. It is the cache's own, since all rests on what
// Redis tells about changes. If they are zero Dialer.Timeout and ConnWriteTimeout
// are a second, and CacheSizeEachConn is 32 MB; OnInvalidations and
// ClientTrackingOptions are set whatever they are. A server without RESP3 or
// client-side caching, or DisableCache, means that every read asks Redis. Opts may
// be nil.
func New(adapter gatebook.Adapter, option rueidis.ClientOption, opts *Options) *Cache {
	c := &Cache{Adapter: adapter, option: option, log: slog.Default()}
	if opts != nil && opts.Logger != nil {
		c.log = opts.Logger
	}
	c.option.Dialer.Timeout = cmp.Or(option.Dialer.Timeout, time.Second)
	c.option.ConnWriteTimeout = cmp.Or(option.ConnWriteTimeout, time.Second)
	c.option.CacheSizeEachConn = cmp.Or(option.CacheSizeEachConn, cacheSize)
	c.option.DisableRetry = true // the database answers sooner
	c.option.OnInvalidations = c.news.hear
	c.option.ClientTrackingOptions = nil
	c.option.ClientSetInfo = rueidis.DisableClientSetInfo // one thing less for the user to be allowed
	c.near.init()
	c.news.seed = maphash.MakeSeed()
	c.health.log = c.log
	return c
}

// Ping asks Redis whether the cache can work: that it answers, and that the user
// may do what the scripts do. It needs the adapter too, whose book has the keys.
func (c *Cache) Ping(ctx context.Context) error {
	s, err := c.sealer(ctx)
	if err != nil {
		return err
	}
	client, err := c.connect(ctx)
	if err != nil {
		return fmt.Errorf("redis: ping: %w", err)
	}
	err = c.rehearse(ctx, client, s)
	if ctx.Err() == nil {
		c.health.report(err)
	}
	if err != nil {
		return fmt.Errorf("redis: ping: %w", err)
	}
	return nil
}

// rehearse does with keys of its own what is done with a session's.
func (c *Cache) rehearse(ctx context.Context, client rueidis.Client, s *seal) error {
	name, tag, id := s.name(kindSession, ""), s.name(kindUser, ""), leaseID()
	if err := acquireScript.Exec(ctx, client, []string{name}, []string{id, millis(lease), ""}).Error(); err != nil {
		return err
	}
	if err := fillScript.Exec(ctx, client, []string{name, tag}, []string{id, id, millis(lease)}).Error(); err != nil {
		return err
	}
	err := client.DoCache(ctx, client.B().Get().Key(name).Cache(), inProcess).Error()
	if err != nil && !rueidis.IsRedisNil(err) {
		return err
	}
	return dropScript.Exec(ctx, client, []string{name, tag}, []string{"1", "1"}).Error()
}

// Close closes the connections. The adapter is left open, and reads go there from
// now on. Closing twice is harmless.
func (c *Cache) Close() error {
	c.mu.Lock()
	c.closed = true
	dialing := c.dialing
	c.mu.Unlock()
	if dialing != nil {
		<-dialing
	}
	if client := c.client.Swap(nil); client != nil {
		(*client).Close()
	}
	return nil
}

// CheckWrite implements [gatebook.WriteChecker]: as the adapter does, or nothing.
func (c *Cache) CheckWrite(ctx context.Context, w gatebook.Write) error {
	if checker, ok := c.Adapter.(gatebook.WriteChecker); ok {
		return checker.CheckWrite(ctx, w)
	}
	return nil
}

// NewUserID implements [gatebook.IDMaker]: as the adapter does, or a random UUID.
func (c *Cache) NewUserID(ctx context.Context, u gatebook.User, tx *sql.Tx) (string, error) {
	if maker, ok := c.Adapter.(gatebook.IDMaker); ok {
		return maker.NewUserID(ctx, u, tx)
	}
	var b [16]byte
	rand.Read(b[:])
	b[6] = b[6]&0x0f | 0x40 // RFC 9562, Section 5.4
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:]), nil
}

// Unfit implements [gatebook.AccountLimiter]: as the adapter does, or nothing.
func (c *Cache) Unfit(a *gatebook.Account) []string {
	if limiter, ok := c.Adapter.(gatebook.AccountLimiter); ok {
		return limiter.Unfit(a)
	}
	return nil
}

// redis returns the client, or nil while there is none or Redis does not answer.
func (c *Cache) redis() rueidis.Client {
	if !c.health.ask() {
		return nil
	}
	return c.connection()
}

// connection returns the client, or nil while there is none; then it is being
// dialled.
func (c *Cache) connection() rueidis.Client {
	if client := c.client.Load(); client != nil {
		return *client
	}
	c.dialling()
	return nil
}

var errClosed = errors.New("the cache is closed")

// connect waits for the client.
func (c *Cache) connect(ctx context.Context) (rueidis.Client, error) {
	if client := c.client.Load(); client != nil {
		return *client, nil
	}
	done := c.dialling()
	if done == nil {
		return nil, errClosed
	}
	select {
	case <-ctx.Done():
		return nil, fmt.Errorf("connect: %w", context.Cause(ctx))
	case <-done:
	}
	if client := c.client.Load(); client != nil {
		return *client, nil
	}
	return nil, c.health.failure()
}

// dialling returns what is closed when an attempt to connect, which it begins if
// none is under way, is over; nil when the cache is closed. It goes on apart,
// because a host that says nothing takes a second, and no reader of a session has
// one.
func (c *Cache) dialling() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil
	}
	if c.dialing != nil {
		return c.dialing
	}
	done := make(chan struct{})
	c.dialing = done
	go func() {
		defer close(done)
		client, err := c.dial()
		if err == nil {
			c.client.Store(&client)
		}
		c.health.report(err)
		c.mu.Lock()
		defer c.mu.Unlock()
		c.dialing = nil
	}()
	return done
}

// dial connects. Where Redis does not tell of changes, its client must not keep
// what it read.
func (c *Cache) dial() (rueidis.Client, error) {
	client, err := rueidis.NewClient(c.option)
	if err == nil && !c.option.DisableCache {
		if err = c.tells(client); err != nil {
			client.Close()
		}
	}
	if err == nil {
		c.told.Store(!c.option.DisableCache)
	}
	if !errors.Is(err, rueidis.ErrNoCache) {
		return client, err
	}
	without := c.option
	without.DisableCache = true
	if client, err = rueidis.NewClient(without); err == nil {
		c.log.Warn("redis: the server does not tell of changes (CLIENT TRACKING and CLIENT CACHING over RESP3), so that every read of a session asks it")
	}
	return client, err
}

// tells finds out whether Redis tells of changes: the error matches
// rueidis.ErrNoCache when it does not. A user who may not do CLIENT CACHING would
// not be told otherwise.
func (c *Cache) tells(client rueidis.Client) error {
	ctx, cancel := context.WithTimeout(context.Background(), c.option.Dialer.Timeout)
	defer cancel()
	name := "gatebook:{probe}:" + rand.Text()
	heard := c.news.about(name)
	before := heard.Load()
	if err := client.DoCache(ctx, client.B().Get().Key(name).Cache(), inProcess).Error(); err != nil && !rueidis.IsRedisNil(err) {
		return err
	}
	if err := client.Do(ctx, client.B().Set().Key(name).Value("").PxMilliseconds(1000).Build()).Error(); err != nil {
		return err
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for heard.Load() == before {
		select {
		case <-ctx.Done():
			return rueidis.ErrNoCache
		case <-tick.C:
		}
	}
	return nil
}
