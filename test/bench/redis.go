//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/adapter/memory"
	"github.com/gatebook/gatebook/adapter/redis"
	"github.com/gatebook/gatebook/test/dbserver"
	"github.com/gatebook/gatebook/test/need"
)

// maxCached is how many times longer a cached session read may take than a cached
// read of rueidis.
const maxCached = 1.5

// cachedSessions is how many sessions are read in turn.
const cachedSessions = 1000

// readCached measures reads of sessions that Redis has and tells about, in this
// process, beside rueidis' own cached reads of values of the same size.
func readCached(ctx context.Context, r *runner) (err error) {
	address := os.Getenv(need.RedisEnv)
	if why, missing := strings.CutPrefix(address, "missing: "); missing {
		fmt.Fprintf(os.Stderr, "session reads from Redis: left out: needs %s\n", why)
		return nil
	}
	if address == "" {
		own, err := dbserver.Redis()
		if errors.Is(err, dbserver.ErrMissing) {
			fmt.Fprintf(os.Stderr, "session reads from Redis: left out: %v\n", err)
			return nil
		}
		if err != nil {
			return err
		}
		defer own.Close()
		address = own.URL("0")
	}
	cache, err := redis.Open(memory.New(), address, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cache.Close()) }()
	if err := cache.Ping(ctx); err != nil {
		return err
	}
	option, err := rueidis.ParseURL(strings.TrimSuffix(address, "/"))
	if err != nil {
		return err
	}
	client, err := rueidis.NewClient(option)
	if err != nil {
		return err
	}
	defer client.Close()
	c := &cachedReads{runner: r, cache: cache, client: client}
	if err := c.prepare(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.clean()) }()
	// The bound is on how long a read takes. What the rows that are handed out cost
	// the garbage collector is seen beside it: values of rueidis are handed out as
	// they are.
	figure, floor, err := alternate(r.rounds,
		func() (float64, error) { return c.rate(ctx, wall, c.session) },
		func() (float64, error) { return c.rate(ctx, wall, c.value) })
	if err != nil {
		return err
	}
	r.atLeast("session reads from Redis", figure, floor, perSecond, 1/maxCached, "in process; the floor is rueidis' cached GET of a value as long")
	figure, floor, err = alternate(r.rounds,
		func() (float64, error) { return c.rate(ctx, cpu, c.session) },
		func() (float64, error) { return c.rate(ctx, cpu, c.value) })
	if err != nil {
		return err
	}
	f, g := median(figure), median(floor)
	r.print("  with garbage collection", perSecond(f), perSecond(g), f/g, "", true, "a second of one core")
	return nil
}

type cachedReads struct {
	*runner
	cache  *redis.Cache
	client rueidis.Client
	tokens []gatebook.Secret
	names  []string
}

// prepare makes the sessions, and for each a value as long as its row in Redis.
func (c *cachedReads) prepare(ctx context.Context) error {
	now := time.Now().UTC().Truncate(time.Millisecond)
	for i := range cachedSessions {
		if err := c.cache.Commit(ctx, &gatebook.Act{Writes: sessionOf(i, now)}); err != nil {
			return err
		}
		c.tokens = append(c.tokens, rowToken(i))
		if err := c.session(ctx, i); err != nil {
			return err
		}
	}
	rows, err := c.client.Do(ctx, c.client.B().Keys().Pattern("gatebook:*:s:*").Build()).AsStrSlice()
	if err != nil || len(rows) == 0 {
		return errors.Join(errors.New("no session is in Redis"), err)
	}
	length, err := c.client.Do(ctx, c.client.B().Strlen().Key(rows[0]).Build()).ToInt64()
	if err != nil {
		return err
	}
	for i := range cachedSessions {
		name := fmt.Sprintf("%s%06d", strings.Replace(rows[0], "gatebook:", "benching:", 1)[:len(rows[0])-6], i)
		c.names = append(c.names, name)
		if err := c.client.Do(ctx, c.client.B().Set().Key(name).Value(strings.Repeat("x", int(length))).Build()).Error(); err != nil {
			return err
		}
	}
	return nil
}

func (c *cachedReads) clean() error {
	return c.client.Do(context.Background(), c.client.B().Del().Key(c.names...).Build()).Error()
}

func (c *cachedReads) session(ctx context.Context, i int) error {
	found, err := c.cache.Session(ctx, c.tokens[i])
	if err == nil && found.Session.Token != c.tokens[i] {
		return fmt.Errorf("token %d opens another session", i)
	}
	return err
}

// value reads with the time to live that the cache asks for.
func (c *cachedReads) value(ctx context.Context, i int) error {
	value, err := c.client.DoCache(ctx, c.client.B().Get().Key(c.names[i]).Cache(), 3*time.Second).ToString()
	if err == nil && value == "" {
		return fmt.Errorf("value %d is empty", i)
	}
	return err
}

func wall() (time.Duration, error) { return time.Since(begun), nil }

var begun = time.Now()

func cpu() (time.Duration, error) { return cpuTime(os.Getpid()) }

// rate returns how often read can be done in a second of a clock, when all is in
// memory at the beginning. What expires meanwhile is part of it.
func (c *cachedReads) rate(ctx context.Context, clock func() (time.Duration, error), read func(context.Context, int) error) (float64, error) {
	for range 3 {
		for i := range cachedSessions {
			if err := read(ctx, i); err != nil {
				return 0, err
			}
		}
	}
	deadline := time.Now().Add(c.round)
	before, err := clock()
	if err != nil {
		return 0, err
	}
	n := 0
	for time.Now().Before(deadline) {
		for range 100 {
			if err := read(ctx, n%cachedSessions); err != nil {
				return 0, err
			}
			n++
		}
	}
	after, err := clock()
	return float64(n) / (after - before).Seconds(), err
}
