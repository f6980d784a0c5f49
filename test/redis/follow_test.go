package redis_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/adapter/memory"
	"github.com/gatebook/gatebook/adapter/redis"
	"github.com/gatebook/gatebook/book"
	"github.com/gatebook/gatebook/test/dbserver"
	"github.com/gatebook/gatebook/test/need"
)

// repaired is how long the follower may take: the entries must be numbered and
// read.
const repaired = time.Second

// TestServerDied ends sessions on a server that dies after each commit, before it
// drops anything, which is the same as one that has no cache. Another server
// follows the book.
func TestServerDied(t *testing.T) {
	address := need.Redis(t)
	path := filepath.Join(t.TempDir(), "site.db")
	dead := site(t, openSQLite(t, path))
	alive := open(t, openSQLite(t, path), address)
	run(t, site(t, alive))
	ways := map[string]func(s gatebook.StoredSession) error{
		"a session is revoked": func(s gatebook.StoredSession) error { return dead.RevokeSession(t.Context(), s.UserID, s.ID) },
		"all are revoked": func(s gatebook.StoredSession) error {
			_, err := dead.RevokeSessions(t.Context(), s.UserID)
			return err
		},
		"the user is deleted": func(s gatebook.StoredSession) error { return dead.DeleteUser(t.Context(), s.UserID) },
	}
	for name, end := range ways {
		s := signedIn(t, alive, name)
		warm(t, alive, s.Token)
		if err := end(s); err != nil {
			t.Fatal(err)
		}
		from := time.Now()
		within(t, repaired, name+" and the follower to drop it", func() bool { return refused(t, alive, s.Token) })
		t.Logf("%s: refused after %v", name, time.Since(from))
	}
	s := signedIn(t, alive, "ada")
	warm(t, alive, s.Token)
	if _, err := dead.UpdateUser(t.Context(), gatebook.User{ID: s.UserID, Name: "Ada King"}, "name"); err != nil {
		t.Fatal(err)
	}
	within(t, repaired, "the follower to drop a user that changed", func() bool {
		found, err := alive.Session(t.Context(), s.Token)
		return err == nil && found.User.Name == "Ada King"
	})
}

// TestFull ends sessions while Redis takes nothing more: what is in it is dropped
// all the same, by the server that ends them and by the follower.
func TestFull(t *testing.T) {
	address := need.RedisServer(t).URL("0")
	command := func(text string) {
		t.Helper()
		if _, err := dbserver.RedisCommand(t.Context(), address, text); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(t.TempDir(), "site.db")
	bare := site(t, openSQLite(t, path))
	one, two := open(t, openSQLite(t, path), address), open(t, openSQLite(t, path), address)
	cached := site(t, one)
	run(t, site(t, two))
	client := raw(t, address)
	for name, by := range map[string]*gatebook.Auth{"a server with the cache": cached, "one without": bare} {
		s := signedIn(t, two, name)
		within(t, oldest, "the session to be in Redis", func() bool {
			warm(t, two, s.Token)
			return len(keys(t, client, "s")) > 0
		})
		from := time.Now()
		command("CONFIG SET maxmemory 1")
		if n, err := by.RevokeSessions(t.Context(), s.UserID); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		within(t, repaired, "what "+name+" ended to be dropped", func() bool { return refused(t, two, s.Token) })
		t.Logf("by %s: refused after %v", name, time.Since(from))
		command("CONFIG SET maxmemory 0")
	}
}

// TestNobodyFollowed ends sessions while no follower runs, and starts one: it must
// go on where the last one was, or, when Redis has lost its place, far enough
// before.
func TestNobodyFollowed(t *testing.T) {
	for _, lost := range []bool{false, true} {
		address := need.Redis(t)
		path := filepath.Join(t.TempDir(), "site.db")
		dead := site(t, openSQLite(t, path))
		alive := open(t, openSQLite(t, path), address)
		auth := site(t, alive)
		stop := run(t, auth)
		client := raw(t, address)
		first := signedIn(t, alive, "first")
		if err := dead.RevokeSession(t.Context(), first.UserID, first.ID); err != nil {
			t.Fatal(err)
		}
		cursor := func() (book.Cursor, error) {
			names, err := client.Do(t.Context(), client.B().Keys().Pattern("gatebook:*:cursor").Build()).AsStrSlice()
			if err != nil || len(names) != 1 {
				return book.Cursor{}, errors.New("no cursor")
			}
			text, err := client.Do(t.Context(), client.B().Get().Key(names[0]).Build()).ToString()
			if err != nil {
				return book.Cursor{}, err
			}
			return book.ParseCursor(text)
		}
		within(t, 5*time.Second, "the cursor to move", func() bool { c, err := cursor(); return err == nil && c.Seq > 0 })
		stop()
		before, err := cursor()
		if err != nil {
			t.Fatal(err)
		}
		s := signedIn(t, alive, "second")
		warm(t, alive, s.Token)
		if err := dead.RevokeSession(t.Context(), s.UserID, s.ID); err != nil {
			t.Fatal(err)
		}
		if err := dead.Book().Drain(t.Context()); err != nil { // it is in the log before anybody looks
			t.Fatal(err)
		}
		if refused(t, alive, s.Token) {
			t.Fatal("the row was not cached, so that this shows nothing")
		}
		if lost {
			for _, name := range keysLike(t, client, "gatebook:*:cursor") {
				if err := client.Do(t.Context(), client.B().Del().Key(name).Build()).Error(); err != nil {
					t.Fatal(err)
				}
			}
		}
		run(t, auth)
		within(t, repaired, "the follower to drop what was ended meanwhile", func() bool { return refused(t, alive, s.Token) })
		within(t, repaired, "the cursor to be there", func() bool { c, err := cursor(); return err == nil && c.Seq > before.Seq })
	}
}

// TestRestoredBook puts the book of a backup in place of the one that the cursor is
// from: the follower starts again, and goes on following.
func TestRestoredBook(t *testing.T) {
	address := need.Redis(t)
	c := open(t, openSQLite(t, filepath.Join(t.TempDir(), "site.db")), address)
	client := raw(t, address)
	auth := site(t, c)
	stop := run(t, auth)
	end := func(name string) (gatebook.StoredSession, error) {
		s := signedIn(t, c, name)
		warm(t, c, s.Token)
		return s, auth.RevokeSession(t.Context(), s.UserID, s.ID)
	}
	if _, err := end("first"); err != nil {
		t.Fatal(err)
	}
	var name string
	within(t, 5*time.Second, "the cursor", func() bool {
		names := keysLike(t, client, "gatebook:*:cursor")
		if len(names) == 1 {
			name = names[0]
		}
		return name != ""
	})
	stop()
	for _, cursor := range []string{"1000000-0123456789abcdef", "1-0123456789abcdef", "nonsense", ""} {
		if err := client.Do(t.Context(), client.B().Set().Key(name).Value(cursor).Build()).Error(); err != nil {
			t.Fatal(err)
		}
		stop := run(t, auth)
		if _, err := end("after " + cursor); err != nil {
			t.Fatal(err)
		}
		within(t, 5*time.Second, "the cursor to follow the book after "+cursor, func() bool {
			text, err := client.Do(t.Context(), client.B().Get().Key(name).Build()).ToString()
			if err != nil {
				return false
			}
			at, err := book.ParseCursor(text)
			head, err2 := c.Book().Head(t.Context())
			return err == nil && err2 == nil && at == head
		})
		stop()
	}
}

// TestWriterCutOffWithFollower is TestWriterCutOff with a server that follows the
// book.
func TestWriterCutOffWithFollower(t *testing.T) {
	address := need.Redis(t)
	p, cutOff := through(t, address)
	path := filepath.Join(t.TempDir(), "site.db")
	one, two := open(t, openSQLite(t, path), cutOff), open(t, openSQLite(t, path), address)
	run(t, site(t, two))
	s := signedIn(t, one, "ada")
	warm(t, one, s.Token)
	warm(t, two, s.Token)
	p.Cut()
	if _, err := site(t, one).RevokeSessions(t.Context(), s.UserID); err != nil {
		t.Fatal(err)
	}
	if !refused(t, one, s.Token) {
		t.Error("the server that ended the session still takes it")
	}
	within(t, repaired, "the follower to drop it", func() bool { return refused(t, two, s.Token) })
}

// TestManyFollowers runs several followers, whose work one does.
func TestManyFollowers(t *testing.T) {
	address := need.Redis(t)
	path := filepath.Join(t.TempDir(), "site.db")
	dead := site(t, openSQLite(t, path))
	caches := make([]*redis.Cache, 4)
	for i := range caches {
		caches[i] = open(t, openSQLite(t, path), address)
		run(t, site(t, caches[i]))
	}
	for range 10 {
		s := people(t, caches...)
		for i := range s {
			if _, err := dead.RevokeSessions(t.Context(), s[i].UserID); err != nil {
				t.Fatal(err)
			}
		}
		for i := range s {
			for _, c := range caches {
				within(t, repaired, "each server to refuse", func() bool { return refused(t, c, s[i].Token) })
			}
		}
	}
}

// logged keeps what is logged.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) count(what string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), what)
}

// TestLog: that Redis is gone is said once, and once that it is back, and Run ends
// when it should.
func TestLog(t *testing.T) {
	server := need.RedisServer(t)
	log := new(logged)
	c, err := redis.Open(memory.New(), server.URL("0"), &redis.Options{Logger: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	connect(t, c)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	s := signedIn(t, c, "ada")
	server.Kill()
	within(t, 10*time.Second, "the failure to be noticed", func() bool {
		reads(t, c, s, 10)
		return log.count("does not answer") > 0
	})
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	within(t, 10*time.Second, "the return to be noticed", func() bool {
		reads(t, c, s, 10)
		return log.count("answers again") > 0
	})
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Run: %v", err)
	}
	if n, m := log.count("does not answer"), log.count("answers again"); n > 3 || m > 3 {
		t.Errorf("it is said %d times that Redis is gone and %d times that it is back:\n%s", n, m, &log.text)
	}
	if log.count("password") > 0 || strings.Contains(log.text.String(), strings.Split(server.URL(""), "@")[0][len("redis://:"):]) {
		t.Errorf("the log has the password:\n%s", &log.text)
	}
}
