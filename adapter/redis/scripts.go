package redis

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/rueidis"
)

// How a fill that raced with a drop is refused. Before a reader asks the database
// it puts a lease, an id of its own, under the session's name; afterwards its row
// replaces that lease and nothing else. Dropping a session deletes what is under
// its name, row or lease. Of a user, or a handle, a drop does not know the names
// of leases: it leaves a mark in the user's key that lasts as long as any lease,
// and while it is there no row of the user is filled in.
//
// The keys of users and handles are sorted sets: names of sessions by when they
// are gone, and the mark "!" by when it is. What is gone is removed as more is
// added. Every key but the cursor expires.

// acquireScript returns what is under a name, or takes the lease and returns the
// time, in microseconds. Unusable contents, given as the third argument, count as
// nothing.
var acquireScript = rueidis.NewLuaScript(`
local value = redis.call('GET', KEYS[1])
if value and value ~= ARGV[3] then return {value, 0} end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
local now = redis.call('TIME')
return {'', now[1] * 1000000 + now[2]}
`)

// fillScript replaces the lease under the first name by a row, and tells the
// other keys of it, if the lease is still there and none of them has a mark.
var fillScript = rueidis.NewLuaScript(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for i = 2, #KEYS do
  if tonumber(redis.call('ZSCORE', KEYS[i], '!') or 0) > now then
    redis.call('DEL', KEYS[1])
    return 0
  end
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
for i = 2, #KEYS do
  redis.call('ZREMRANGEBYSCORE', KEYS[i], '-inf', now)
  redis.call('ZADD', KEYS[i], now + ARGV[3], KEYS[1])
  redis.call('PEXPIRE', KEYS[i], ARGV[3])
end
return 1
`)

// dropScript deletes the first ARGV[1] keys, and of the others what they know
// of; there it leaves marks for ARGV[2] milliseconds. It returns the time, in
// microseconds.
var dropScript = rueidis.NewLuaScript(dropText + `return drop(tonumber(ARGV[1]), 1)`)

// followScript moves the cursor, the first key, to ARGV[3] and drops the other
// keys as dropScript does, unless the cursor is there or further already: then it
// changes nothing and returns the cursor. With ARGV[4] it is moved back too.
// Deleting comes first, because a Redis that is full lets a script write that
// has deleted something.
var followScript = rueidis.NewLuaScript(dropText + `
local cursor = redis.call('GET', KEYS[1])
if cursor and ARGV[4] == '' then
  local at = tonumber(string.match(cursor, '^%d+'))
  if at and at >= tonumber(string.match(ARGV[3], '^%d+')) then return cursor end
end
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[1], ARGV[3])
return drop(tonumber(ARGV[1]), 2)
`)

const dropText = `
local function drop(direct, first)
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  for i = first, #KEYS do
    if i < first + direct then
      redis.call('DEL', KEYS[i])
    else
      local mark = now + ARGV[2]
      for _, name in ipairs(redis.call('ZRANGE', KEYS[i], 0, -1)) do
        if name == '!' then
          mark = math.max(mark, tonumber(redis.call('ZSCORE', KEYS[i], '!')))
        else
          redis.call('DEL', name)
        end
      end
      redis.call('DEL', KEYS[i])
      redis.call('ZADD', KEYS[i], mark, '!')
      redis.call('PEXPIREAT', KEYS[i], mark)
    end
  end
  return time[1] * 1000000 + time[2]
end
`

func millis(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// acquire returns what is under a name, or takes the lease for it; then it
// returns when.
func (c *Cache) acquire(ctx context.Context, client rueidis.Client, name, id, bad string) (value string, leasedAt int64, err error) {
	short, cancel := brief(ctx)
	defer cancel()
	reply, err := acquireScript.Exec(short, client, []string{name}, []string{id, millis(lease), bad}).ToArray()
	if err == nil && len(reply) != 2 {
		err = fmt.Errorf("a script returned %d values", len(reply))
	}
	if err == nil {
		value, err = reply[0].ToString()
	}
	if err == nil {
		leasedAt, err = reply[1].ToInt64()
	}
	c.health.report(err)
	return value, leasedAt, err
}
