package redis

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"time"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/record"
)

// holdTx is how long a user's rows stay out of the cache after an act in the
// application's own transaction, whose commit nobody tells of. If it takes longer
// the follower of the book drops them.
const holdTx = 10 * time.Second

// Commit implements [gatebook.Adapter]. What the act changed is dropped from the
// cache before Commit returns.
func (c *Cache) Commit(ctx context.Context, act *gatebook.Act) error {
	err := c.Adapter.Commit(ctx, act)
	if err != nil && !errors.Is(err, gatebook.ErrCommitUnknown) && !errors.Is(err, gatebook.ErrConflict) {
		return err // nothing was written
	}
	// A conflict may come of what the cache answered.
	hold := lease
	if act.Tx != nil {
		hold = holdTx
	}
	c.drop(ctx, hold, func(s *seal) (direct, tags []string) { return nil, s.changed(act) })
	return err
}

// ExtendSession implements [gatebook.Adapter].
func (c *Cache) ExtendSession(ctx context.Context, token gatebook.Secret, expires time.Time) error {
	err := c.Adapter.ExtendSession(ctx, token, expires)
	c.drop(ctx, lease, func(s *seal) (direct, tags []string) { return []string{s.name(kindSession, string(token))}, nil })
	return err
}

// changed returns the names of the keys that know of rows that act changes.
func (s *seal) changed(act *gatebook.Act) (tags []string) {
	user := func(id string) { tags = append(tags, s.name(kindUser, id)) }
	for _, w := range act.Writes {
		switch w := w.(type) {
		case gatebook.UpdateUser:
			user(w.User.ID)
		case gatebook.DeleteUser:
			user(w.ID)
		case gatebook.AddSubject:
			user(w.UserID)
		case gatebook.DeleteSession:
			tags = append(tags, s.name(kindHandle, w.Handle))
		case gatebook.AdoptSession:
			tags = append(tags, s.name(kindHandle, w.Session.Handle))
		}
	}
	if act.InTx != nil { // it may have changed the users it was told of
		for _, e := range act.Entries {
			if id := userOf(e.Blocks); id != "" {
				user(id)
			}
		}
	}
	return tags
}

// userOf returns the id of the user that an entry is about.
func userOf(blocks []record.Block) string {
	for _, b := range blocks {
		var about struct{ User record.Person }
		if b.Class == record.ClassIdentity && json.Unmarshal(b.Payload(), &about) == nil && about.User.ID != "" {
			return about.User.ID
		}
	}
	return ""
}

// drop removes rows from the cache: those under the names in direct and those
// that tags know of. This process takes none of them from now on, whether Redis
// answers or not.
func (c *Cache) drop(ctx context.Context, hold time.Duration, names func(*seal) (direct, tags []string)) {
	// It must happen though the visitor hung up.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), dropPatience)
	defer cancel()
	s, err := c.sealer(ctx)
	if err != nil {
		c.log.Error("redis: nothing was dropped from the session cache", "error", err.Error())
		return
	}
	direct, tags := names(s)
	all := append(direct, tags...)
	if len(all) == 0 {
		return
	}
	number := c.drops.begin(all...)
	c.news.tell(all)
	if !c.health.tryDrop() {
		return // the follower does it when Redis answers
	}
	defer c.health.dropped()
	client, err := c.connect(ctx)
	if err != nil {
		return
	}
	at, err := dropScript.Exec(ctx, client, all, []string{strconv.Itoa(len(direct)), millis(hold)}).ToInt64()
	c.health.report(err)
	if err == nil {
		c.drops.done(number, at, all)
	}
}
