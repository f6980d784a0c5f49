package redis

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/rueidis"

	"github.com/gatebook/gatebook/book"
	"github.com/gatebook/gatebook/record"
)

// followed are the types of entries after which a cached row may be wrong.
var followed = book.Filter{Types: []string{
	record.TypeSignOut, record.TypeSessionRevoked, record.TypeSessionExpired,
	record.TypeUpdateUser, record.TypeDeleteUser, record.TypeSessionAdopted, record.TypeUserAdopted,
}}

// lookBack is how old entries may be that are read again when the cursor is lost:
// far more than anything in the cache can be, and than clocks should differ.
const lookBack = time.Minute

const pageSize = 200

// Run follows the book, and drops once more what an act changed: for a server
// that died between its commit and the drop, for one that could not reach Redis,
// and for one that has no cache. Of several servers each runs it; the cursor they
// share, in Redis, makes one of them drop. Auth.Run calls it. It returns nil when
// ctx ends; errors are logged and tried again.
func (c *Cache) Run(ctx context.Context) error {
	failing := ""
	rest := firstRest
	for ctx.Err() == nil {
		some, err := c.follow(ctx)
		if some {
			failing, rest = "", firstRest
		}
		if err != nil && ctx.Err() == nil && err.Error() != failing {
			failing = err.Error()
			c.log.Warn("redis: the cache does not follow the book at the moment; trying again", "error", failing)
		}
		timer := time.NewTimer(rest)
		select {
		case <-ctx.Done():
			timer.Stop()
		case <-timer.C:
		}
		rest = min(2*rest, maxRest)
	}
	return nil
}

// follow drops what the book tells of until something goes wrong, and reports
// whether something went right before.
func (c *Cache) follow(ctx context.Context) (some bool, err error) {
	s, err := c.sealer(ctx)
	if err != nil {
		return false, err
	}
	client, err := c.connect(ctx)
	if err != nil {
		return false, err
	}
	cursor, err := c.place(ctx, client, s)
	if err != nil {
		return false, err
	}
	for {
		for e, ferr := range c.Book().Follow(ctx, cursor, followed) {
			if errors.Is(ferr, book.ErrHistoryReplaced) {
				if err = c.restart(ctx, client, s); err != nil {
					return some, err
				}
				return true, nil
			}
			if ferr != nil {
				return some, ferr
			}
			ahead, err := c.dropEntry(ctx, client, s, e)
			if err != nil {
				return some, err
			}
			some = true
			if ahead != (book.Cursor{}) && ahead != e.Cursor() {
				cursor = ahead // another server has been there
				break
			}
		}
	}
}

// place returns where to go on: the stored cursor, or, when it is lost, the end
// of the book after what is old enough has been dropped again.
func (c *Cache) place(ctx context.Context, client rueidis.Client, s *seal) (book.Cursor, error) {
	for range 2 {
		short, cancel := context.WithTimeout(ctx, dropPatience)
		text, err := client.Do(short, client.B().Get().Key(s.cursor()).Build()).ToString()
		cancel()
		if err != nil && !rueidis.IsRedisNil(err) {
			return book.Cursor{}, fmt.Errorf("read the cursor: %w", err)
		}
		if err == nil {
			if cursor, err := book.ParseCursor(text); err == nil {
				return cursor, nil
			}
		}
		if err := c.restart(ctx, client, s); err != nil {
			return book.Cursor{}, err
		}
	}
	return book.Cursor{}, errors.New("the cursor is lost as soon as it is written: is Redis full?")
}

// restart drops what the entries of the last minute tell of, and moves the cursor
// to the end of the book. Whatever happened before that the cache has forgotten.
func (c *Cache) restart(ctx context.Context, client rueidis.Client, s *seal) error {
	head, err := c.Book().Head(ctx)
	if err != nil {
		return err
	}
	q := book.Query{Filter: followed, Before: head.Seq + 1, Limit: pageSize}
	q.Since = time.Now().Add(-lookBack)
	var tags []string
	for {
		page, err := c.Book().Read(ctx, q)
		if err != nil {
			return err
		}
		for _, e := range page {
			if id := userOf(e.Blocks); id != "" {
				tags = append(tags, s.name(kindUser, id))
			}
		}
		if len(page) < pageSize {
			break
		}
		q.After = page[len(page)-1].Seq
	}
	for len(tags) > pageSize { // a script keeps everybody else waiting
		if _, err := c.move(ctx, client, s, head, true, tags[:pageSize]); err != nil {
			return err
		}
		tags = tags[pageSize:]
	}
	_, err = c.move(ctx, client, s, head, true, tags)
	return err
}

// dropEntry drops what an entry tells of and moves the cursor there, or returns
// the cursor if that is there or further.
func (c *Cache) dropEntry(ctx context.Context, client rueidis.Client, s *seal, e book.Entry) (ahead book.Cursor, err error) {
	var tags []string
	if id := userOf(e.Blocks); id != "" {
		tags = append(tags, s.name(kindUser, id))
	}
	return c.move(ctx, client, s, e.Cursor(), false, tags)
}

func (c *Cache) move(ctx context.Context, client rueidis.Client, s *seal, to book.Cursor, back bool, tags []string) (ahead book.Cursor, err error) {
	short, cancel := context.WithTimeout(ctx, dropPatience)
	defer cancel()
	force := ""
	if back {
		force = "back"
	}
	number := c.drops.begin()
	reply, err := followScript.Exec(short, client, append([]string{s.cursor()}, tags...),
		[]string{"0", millis(lease), to.String(), force}).ToMessage()
	if ctx.Err() == nil {
		c.health.report(err)
	}
	if err != nil {
		return ahead, fmt.Errorf("move the cursor: %w", err)
	}
	if reply.IsInt64() {
		at, err := reply.AsInt64()
		c.drops.done(number, at, tags)
		return ahead, err
	}
	text, err := reply.ToString()
	if err == nil {
		ahead, err = book.ParseCursor(text)
	}
	if err != nil {
		return ahead, fmt.Errorf("read the cursor: %w", err)
	}
	return ahead, nil
}
