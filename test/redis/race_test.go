package redis_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/adapter/memory"
	"github.com/gatebook/gatebook/adapter/redis"
	"github.com/gatebook/gatebook/test/need"
)

// gate is an adapter whose readers of sessions wait, when it is closed, with what
// they read.
type gate struct {
	gatebook.Adapter
	closed atomic.Bool
	read   chan struct{} // a reader has read
	open   chan struct{} // it may go on
}

func newGate(a gatebook.Adapter) *gate {
	return &gate{Adapter: a, read: make(chan struct{}), open: make(chan struct{})}
}

func (g *gate) Session(ctx context.Context, token gatebook.Secret) (*gatebook.FoundSession, error) {
	found, err := g.Adapter.Session(ctx, token)
	if g.closed.Load() {
		g.read <- struct{}{}
		<-g.open
	}
	return found, err
}

// TestFillAfterDrop lets a reader read a row from the database, changes the row
// and drops it, and lets the reader go on: what it read must not be filled in. On
// the server that changes the row nothing was known of it before.
func TestFillAfterDrop(t *testing.T) {
	address := need.Redis(t)
	changes := []struct {
		name   string
		change func(ctx context.Context, a gatebook.Adapter, s gatebook.StoredSession, handle string) error
	}{
		{"session deleted", func(ctx context.Context, a gatebook.Adapter, _ gatebook.StoredSession, handle string) error {
			return a.Commit(ctx, &gatebook.Act{Writes: []gatebook.Write{gatebook.DeleteSession{Handle: handle}}})
		}},
		{"user changed", func(ctx context.Context, a gatebook.Adapter, s gatebook.StoredSession, _ string) error {
			return a.Commit(ctx, &gatebook.Act{Writes: []gatebook.Write{
				gatebook.UpdateUser{User: gatebook.User{ID: s.UserID, Name: "changed"}, Fields: []string{"name"}}}})
		}},
		{"user deleted", func(ctx context.Context, a gatebook.Adapter, s gatebook.StoredSession, _ string) error {
			return a.Commit(ctx, &gatebook.Act{Writes: []gatebook.Write{gatebook.DeleteUser{ID: s.UserID}}})
		}},
		{"session extended", func(ctx context.Context, a gatebook.Adapter, s gatebook.StoredSession, _ string) error {
			return a.ExtendSession(ctx, s.Token, s.Expires.Add(time.Hour))
		}},
	}
	for _, tt := range changes {
		for _, same := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, by the same server %v", tt.name, same), func(t *testing.T) {
				db := memory.New()
				g := newGate(db)
				reader, writer := open(t, g, address), open(t, db, address)
				if same {
					writer = reader
				}
				s := signedIn(t, db, "ada")
				found, err := db.Session(t.Context(), s.Token)
				if err != nil {
					t.Fatal(err)
				}
				g.closed.Store(true)
				done := make(chan error, 1)
				go func() {
					_, err := reader.Session(context.Background(), s.Token)
					done <- err
				}()
				<-g.read
				g.closed.Store(false)
				if err := tt.change(t.Context(), writer, s, found.Session.Handle); err != nil {
					t.Fatal(err)
				}
				g.open <- struct{}{}
				if err := <-done; err != nil {
					t.Fatalf("Session that was read before the change: %v", err)
				}
				want, wantErr := db.Session(t.Context(), s.Token)
				for range 3 {
					for _, c := range []*redis.Cache{reader, writer, open(t, db, address)} {
						got, err := c.Session(t.Context(), s.Token)
						if wantErr != nil {
							if !errors.Is(err, gatebook.ErrNotFound) {
								t.Fatalf("Session = %+v, %v; want none", got, err)
							}
						} else if err != nil || got.User.Name != want.User.Name || !got.Session.Expires.Equal(want.Session.Expires) {
							t.Fatalf("Session = %+v, %v; want %+v", got, err, want)
						}
					}
				}
			})
		}
	}
}

// TestOldLease lets a reader hold what it read for longer than its lease lasts:
// Redis must not take it then, for it would be older than the cache promises.
func TestOldLease(t *testing.T) {
	address := need.Redis(t)
	db := memory.New()
	g := newGate(db)
	slow := open(t, g, address)
	s := signedIn(t, db, "ada")
	g.closed.Store(true)
	done := make(chan error, 1)
	go func() {
		_, err := slow.Session(context.Background(), s.Token)
		done <- err
	}()
	<-g.read
	g.closed.Store(false)
	// Changed by a program that knows nothing of the cache.
	if err := db.ExtendSession(t.Context(), s.Token, s.Expires.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	redisClient := raw(t, address)
	if got := keys(t, redisClient, "s"); len(got) != 1 {
		t.Fatalf("keys of sessions: %q, want a lease", got)
	}
	within(t, 5*time.Second, "the lease to end", func() bool { return len(keys(t, redisClient, "s")) == 0 })
	g.open <- struct{}{}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got := keys(t, redisClient, "s"); len(got) > 0 {
		t.Error("a row was filled in after its lease had ended")
	}
}

// TestReadersAndWriters reads on two servers while users change: after a change no
// reader of the same server sees what was before, and none of the other a tenth of
// a second later.
func TestReadersAndWriters(t *testing.T) {
	address := need.Redis(t)
	db := memory.New()
	one, two := open(t, db, address), open(t, db, address)
	const users = 4
	var sessions []gatebook.StoredSession
	var written [users]atomic.Int64 // the version that a Commit which returned has left
	var settled [users]atomic.Int64 // the version of which a tenth of a second has passed
	for i := range users {
		sessions = append(sessions, signedIn(t, one, fmt.Sprintf("user %d", i)))
		rename(t, one, sessions[i], 1)
		written[i].Store(1)
		settled[i].Store(1)
	}
	long := 3 * time.Second
	if need.Soak() {
		long = time.Minute
	}
	ctx, cancel := context.WithTimeout(t.Context(), long)
	defer cancel()
	var wg sync.WaitGroup
	var reads atomic.Int64
	read := func(c *redis.Cache, least *[users]atomic.Int64, where string) {
		for ctx.Err() == nil {
			i := rand.IntN(users)
			want := least[i].Load()
			found, err := c.Session(context.WithoutCancel(ctx), sessions[i].Token)
			if err != nil {
				t.Errorf("Session: %v", err)
				return
			}
			if got, _ := strconv.ParseInt(found.User.Name, 10, 64); got < want {
				t.Errorf("%s: user %d is read in version %d after version %d was written", where, i, got, want)
				return
			}
			reads.Add(1)
		}
	}
	for range 4 {
		wg.Go(func() { read(one, &written, "the server that writes") })
		wg.Go(func() { read(two, &settled, "the other server") })
	}
	for i := range users {
		wg.Go(func() {
			for version := int64(2); ctx.Err() == nil; version++ {
				rename(t, one, sessions[i], version)
				written[i].Store(version)
				time.AfterFunc(prompt, func() { settled[i].Store(max(settled[i].Load(), version)) })
				pause := time.NewTimer(time.Duration(rand.Int64N(int64(4 * time.Millisecond))))
				<-pause.C
			}
		})
	}
	wg.Wait()
	t.Logf("%d reads, versions up to %d", reads.Load(), written[0].Load())
}

func rename(t testing.TB, a gatebook.Adapter, s gatebook.StoredSession, version int64) {
	t.Helper()
	err := a.Commit(context.WithoutCancel(t.Context()), &gatebook.Act{Writes: []gatebook.Write{gatebook.UpdateUser{
		User: gatebook.User{ID: s.UserID, Name: strconv.FormatInt(version, 10)}, Fields: []string{"name"}}}})
	if err != nil {
		t.Errorf("Commit: %v", err)
	}
}
