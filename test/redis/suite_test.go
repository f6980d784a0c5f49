// Package redis_test tries the session cache on a Redis server: adapter/redis has
// its parts, this has what happens when servers, connections and readers meet.
package redis_test

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"log/slog"
	"path/filepath"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/adapter/adaptertest"
	"github.com/gatebook/gatebook/adapter/memory"
	"github.com/gatebook/gatebook/adapter/redis"
	"github.com/gatebook/gatebook/adapter/sqlite"
	"github.com/gatebook/gatebook/adapter/sqlstore"
	"github.com/gatebook/gatebook/record"
	"github.com/gatebook/gatebook/test/need"
)

// open returns a cache of adapter, as one server of a site has it, which has its
// connection.
func open(t testing.TB, adapter gatebook.Adapter, address string) *redis.Cache {
	t.Helper()
	c, err := redis.Open(adapter, address, &redis.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	connect(t, c)
	return c
}

// connect waits until the cache has its connection: it is made at first use.
func connect(t testing.TB, c *redis.Cache) {
	t.Helper()
	within(t, 10*time.Second, "Redis to answer", func() bool { return c.Ping(t.Context()) == nil })
}

// within waits until something is so.
func within(t testing.TB, d time.Duration, what string, so func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(d); !so(); {
		if time.Now().After(end) {
			t.Fatalf("waited %v for %s", d, what)
		}
		<-tick.C
	}
}

// raw returns a client of one's own, to look at what is stored.
func raw(t testing.TB, address string) rueidis.Client {
	t.Helper()
	option, err := rueidis.ParseURL(address)
	if err != nil {
		t.Fatal(err)
	}
	option.DisableCache, option.ForceSingleClient = true, true
	client, err := rueidis.NewClient(option)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

// keys returns the names of the keys of a kind.
func keys(t testing.TB, client rueidis.Client, kind string) []string {
	t.Helper()
	return keysLike(t, client, "gatebook:*:"+kind+":*")
}

func keysLike(t testing.TB, client rueidis.Client, pattern string) []string {
	t.Helper()
	names, err := client.Do(t.Context(), client.B().Keys().Pattern(pattern).Build()).AsStrSlice()
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// counting counts the sessions that are read from an adapter.
type counting struct {
	gatebook.Adapter
	reads atomic.Int64
}

func (c *counting) Session(ctx context.Context, token gatebook.Secret) (*gatebook.FoundSession, error) {
	c.reads.Add(1)
	return c.Adapter.Session(ctx, token)
}

// signedIn is a user with a session.
func signedIn(t testing.TB, a gatebook.Adapter, name string) gatebook.StoredSession {
	t.Helper()
	u := gatebook.User{ID: name, Name: name, Email: name + "@example.com"}
	s := gatebook.StoredSession{Token: gatebook.Secret("token of " + name), UserID: u.ID, ID: "sid of " + name,
		Expires: time.Now().Add(time.Hour).UTC().Truncate(time.Millisecond), Begun: time.Now().UTC().Truncate(time.Millisecond), Provider: "github"}
	if err := a.Commit(t.Context(), &gatebook.Act{Writes: []gatebook.Write{
		gatebook.CreateUser{User: u, Subject: record.NewKey()}, gatebook.CreateSession{Session: s}}}); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestAdapterOnMemory(t *testing.T) {
	address := need.Redis(t)
	adaptertest.Run(t, func(t *testing.T) gatebook.Adapter {
		t.Helper()
		return open(t, memory.New(), address)
	}, nil)
}

// onSQLite lends the suite what it asks adapters on database/sql for.
type onSQLite struct {
	*redis.Cache
	db *sqlite.DB
}

func (o onSQLite) SQL() *sql.DB { return o.db.SQL() }

func TestAdapterOnSQLite(t *testing.T) {
	address := need.Redis(t)
	adaptertest.Run(t, func(t *testing.T) gatebook.Adapter {
		t.Helper()
		path := filepath.Join(t.TempDir(), "site.db")
		for _, column := range []string{adaptertest.TextColumn + " TEXT", adaptertest.NumberColumn + " INTEGER"} {
			exec(t, openSQLite(t, path), `ALTER TABLE "user" ADD COLUMN `+column)
		}
		db, err := sqlite.OpenLayout(path, sqlstore.SQLite.WithUsers(sqlstore.Users{
			Extra: []string{adaptertest.TextColumn, adaptertest.NumberColumn}}))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		return onSQLite{open(t, db, address), db}
	}, &adaptertest.Options{
		Foreign: func(t *testing.T, a gatebook.Adapter, s gatebook.StoredSession) {
			t.Helper()
			sum := sha256.Sum256([]byte(s.Token))
			exec(t, a.(onSQLite), `INSERT INTO "session" ("sessionToken", "userId", "expires") VALUES (?, ?, ?)`,
				hex.EncodeToString(sum[:]), s.UserID, s.Expires.UnixMilli())
		},
	})
}

func exec(t testing.TB, db adaptertest.SQL, statement string, args ...any) {
	t.Helper()
	if _, err := db.SQL().ExecContext(t.Context(), statement, args...); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

func openSQLite(t testing.TB, path string) *sqlite.DB {
	t.Helper()
	db, err := sqlite.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// TestFilledForAll reads a session on one server; another then needs no database.
func TestFilledForAll(t *testing.T) {
	address := need.Redis(t)
	db := &counting{Adapter: memory.New()}
	one := open(t, db, address)
	s := signedIn(t, one, "ada")
	// On a busy machine a read may not wait for Redis.
	within(t, 30*time.Second, "a server to find in Redis what another one filled in", func() bool {
		warm(t, one, s.Token)
		other := open(t, db, address)
		before := db.reads.Load()
		for range 50 {
			found, err := other.Session(t.Context(), s.Token)
			if err != nil || found.User.Email != "ada@example.com" || found.Session.ID != s.ID || found.Session.Token != s.Token {
				t.Fatalf("Session = %+v, %v", found, err)
			}
		}
		return db.reads.Load() == before
	})
}

// fixed has one session.
type fixed struct {
	gatebook.Adapter
	session func() *gatebook.FoundSession
}

func (f fixed) Session(context.Context, gatebook.Secret) (*gatebook.FoundSession, error) {
	return f.session(), nil
}

// TestAnswersAreTheCallersOwn changes what Session returned, and reads again.
func TestAnswersAreTheCallersOwn(t *testing.T) {
	expires := time.Now().Add(time.Hour).UTC().Truncate(time.Millisecond)
	row := func() *gatebook.FoundSession {
		return &gatebook.FoundSession{
			Session: gatebook.StoredSession{Token: "token", Handle: "handle", UserID: "ada", Expires: expires, ID: "sid", Begun: expires, UserAgent: "agent"},
			FoundUser: gatebook.FoundUser{Subject: record.Key{1, 2, 3}, User: gatebook.User{ID: "ada", Name: "Ada", EmailVerified: expires,
				Extra: map[string]any{"photo": []byte("a photo"), "shoe": int64(38), "tall": 1.7, "staff": true, "left": nil, "born": expires}}},
		}
	}
	c := open(t, fixed{memory.New(), row}, need.Redis(t))
	for range 5 {
		found, err := c.Session(t.Context(), "token")
		if err != nil || !reflect.DeepEqual(found, row()) {
			t.Fatalf("Session = %#v, %v; want %#v", found, err, row())
		}
		found.User.Extra["photo"].([]byte)[0] = 'X'
		found.User.Extra["shoe"] = int64(0)
		found.User.ID, found.Session.UserID, found.Session.ID = "mallory", "mallory", "other"
	}
}

// TestNotCached: what would not come back as it went in is read from the database
// each time.
func TestNotCached(t *testing.T) {
	address := need.Redis(t)
	for name, u := range map[string]gatebook.User{
		"a column of another type": {ID: "1", Extra: map[string]any{"n": struct{ N int }{1}}},
		"text that is not UTF-8":   {ID: "2", Name: "\xff"},
		"a picture in the row":     {ID: "4", Image: "data:image/png;base64," + strings.Repeat("A", 9<<10)},
		"a time without end":       {ID: "3", EmailVerified: time.Date(20000, 1, 1, 0, 0, 0, 0, time.UTC)},
	} {
		db := &counting{Adapter: memory.New()}
		c := open(t, db, address)
		s := gatebook.StoredSession{Token: "token", UserID: u.ID, Expires: time.Now().Add(time.Hour)}
		if err := c.Commit(t.Context(), &gatebook.Act{Writes: []gatebook.Write{
			gatebook.CreateUser{User: u, Subject: record.NewKey()}, gatebook.CreateSession{Session: s}}}); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if found, err := c.Session(t.Context(), s.Token); err != nil || !reflect.DeepEqual(found.User, u) {
				t.Errorf("%s: Session = %#v, %v; want %#v", name, found, err, u)
			}
		}
		if n := db.reads.Load(); n != 3 {
			t.Errorf("%s: 3 reads read the database %d times", name, n)
		}
	}
}

// TestLongRow: a session that Redis could not take in time is no failure of Redis,
// which all others would be kept from.
func TestLongRow(t *testing.T) {
	db := &counting{Adapter: memory.New()}
	c := open(t, db, need.Redis(t))
	long, short := signedIn(t, c, "long"), signedIn(t, c, "short")
	if err := c.Commit(t.Context(), &gatebook.Act{Writes: []gatebook.Write{gatebook.UpdateUser{
		User: gatebook.User{ID: long.UserID, Image: "data:," + strings.Repeat("A", 20<<20)}, Fields: []string{"image"}}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Session(t.Context(), short.Token); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := c.Session(t.Context(), long.Token); err != nil {
			t.Fatal(err)
		}
		db.reads.Store(0)
		if _, err := c.Session(t.Context(), short.Token); err != nil || db.reads.Load() != 0 {
			t.Errorf("Session = %v beside a long one, and %d reads of the database, want none", err, db.reads.Load())
		}
	}
}

// TestBadAddress: the error tells what is wanted, and no password.
func TestBadAddress(t *testing.T) {
	for _, address := range []string{"", "localhost:6379", "redis://user:hidden@local host:6379", "redis://user:hidden@localhost:port/0",
		"http://user:hidden@localhost", "redis://user:hidden@localhost:6379/zero", "redis://user:hidden@localhost:6379/0?db=x"} {
		_, err := redis.Open(memory.New(), address, nil)
		if err == nil || !strings.Contains(err.Error(), "redis://user:password@localhost:6379/0") || strings.Contains(err.Error(), "hidden") {
			t.Errorf("Open(%q) = %v", address, err)
		}
	}
}
