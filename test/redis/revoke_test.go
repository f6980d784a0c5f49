package redis_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/adapter/redis"
	"github.com/gatebook/gatebook/provider/credentials"
	"github.com/gatebook/gatebook/record"
	"github.com/gatebook/gatebook/test/need"
)

// prompt is how long a server may take to refuse a session that another ended.
const prompt = 100 * time.Millisecond

// site returns an Auth on adapter, as one of several servers.
func site(t testing.TB, adapter gatebook.Adapter) *gatebook.Auth {
	t.Helper()
	passwords, err := credentials.New(credentials.Config{
		Authorize: func(context.Context, map[string]string, *http.Request) (*gatebook.User, error) { return nil, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	auth, err := gatebook.New(gatebook.Config{
		Secrets: []gatebook.Secret{"a secret of thirty-two characters"}, URL: "https://example.com", Adapter: adapter,
		Providers: []gatebook.Provider{passwords}, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	return auth
}

// run runs an Auth until the test ends or stop is called.
func run(t testing.TB, auth *gatebook.Auth) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- auth.Run(ctx) }()
	var once bool
	stop = func() {
		if cancel(); !once {
			if err := <-ended; err != nil {
				t.Errorf("Run: %v", err)
			}
		}
		once = true
	}
	t.Cleanup(stop)
	return stop
}

// warm makes a server answer for a token from its memory.
func warm(t testing.TB, c *redis.Cache, tokens ...gatebook.Secret) {
	t.Helper()
	for range 3 {
		for _, token := range tokens {
			if _, err := c.Session(t.Context(), token); err != nil {
				t.Fatalf("Session: %v", err)
			}
		}
	}
}

func refused(t testing.TB, c gatebook.Adapter, token gatebook.Secret) bool {
	t.Helper()
	_, err := c.Session(t.Context(), token)
	if err != nil && !errors.Is(err, gatebook.ErrNotFound) {
		t.Fatalf("Session: %v", err)
	}
	return err != nil
}

// TestRevokedEverywhere ends sessions on one server and wants another one, whose
// memory has them, to refuse them at once: by each way to end one.
func TestRevokedEverywhere(t *testing.T) {
	address := need.Redis(t)
	path := filepath.Join(t.TempDir(), "site.db")
	one, two := open(t, openSQLite(t, path), address), open(t, openSQLite(t, path), address)
	first, second := site(t, one), site(t, two)
	ways := []struct {
		name string
		end  func(s gatebook.StoredSession) error
	}{
		{"a session is revoked", func(s gatebook.StoredSession) error { return first.RevokeSession(t.Context(), s.UserID, s.ID) }},
		{"all sessions are revoked", func(s gatebook.StoredSession) error {
			_, err := first.RevokeSessions(t.Context(), s.UserID)
			return err
		}},
		{"the user is deleted", func(s gatebook.StoredSession) error { return first.DeleteUser(t.Context(), s.UserID) }},
		{"in the application's transaction", func(s gatebook.StoredSession) error {
			tx, err := openSQLite(t, path).SQL().BeginTx(t.Context(), nil)
			if err != nil {
				return err
			}
			if _, err = first.InTransaction(tx).RevokeSessions(t.Context(), s.UserID); err != nil {
				return errors.Join(err, tx.Rollback())
			}
			// Meanwhile it is still good, and must not come back afterwards.
			if refused(t, two, s.Token) {
				t.Error("refused before the commit")
			}
			return tx.Commit()
		}},
	}
	var took []time.Duration
	for round := range 20 {
		for i, way := range ways {
			s := signedIn(t, one, fmt.Sprintf("user %d of round %d", i, round))
			warm(t, one, s.Token)
			warm(t, two, s.Token)
			if err := way.end(s); err != nil {
				t.Fatalf("%s: %v", way.name, err)
			}
			ended := time.Now()
			if !refused(t, one, s.Token) {
				t.Fatalf("%s: the server that ended it still takes it", way.name)
			}
			within(t, prompt, way.name+" and the other server to refuse it", func() bool { return refused(t, two, s.Token) })
			took = append(took, time.Since(ended))
			if _, err := second.Verify(t.Context(), string(s.Token)); !errors.Is(err, gatebook.ErrNoSession) {
				t.Errorf("%s: Verify = %v, want ErrNoSession", way.name, err)
			}
		}
	}
	slices.Sort(took)
	t.Logf("refused after %v, at most %v", took[len(took)/2], took[len(took)-1])
}

// TestChangedUser changes a user on one server: the other must show what it is
// now.
func TestChangedUser(t *testing.T) {
	address := need.Redis(t)
	path := filepath.Join(t.TempDir(), "site.db")
	one, two := open(t, openSQLite(t, path), address), open(t, openSQLite(t, path), address)
	s := signedIn(t, one, "ada")
	for _, name := range []string{"Ada", "Augusta", "Ada King"} {
		warm(t, one, s.Token)
		warm(t, two, s.Token)
		if _, err := site(t, one).UpdateUser(t.Context(), gatebook.User{ID: s.UserID, Name: name}, "name"); err != nil {
			t.Fatal(err)
		}
		if found, err := one.Session(t.Context(), s.Token); err != nil || found.User.Name != name {
			t.Errorf("Session where it was changed = %+v, %v; want %q", found, err, name)
		}
		within(t, prompt, "the other server to know", func() bool {
			found, err := two.Session(t.Context(), s.Token)
			return err == nil && found.User.Name == name
		})
	}
}

// TestExtended moves the expiry on one server.
func TestExtended(t *testing.T) {
	address := need.Redis(t)
	path := filepath.Join(t.TempDir(), "site.db")
	one, two := open(t, openSQLite(t, path), address), open(t, openSQLite(t, path), address)
	s := signedIn(t, one, "ada")
	warm(t, one, s.Token)
	warm(t, two, s.Token)
	later := s.Expires.Add(time.Hour)
	if err := one.ExtendSession(t.Context(), s.Token, later); err != nil {
		t.Fatal(err)
	}
	if found, err := one.Session(t.Context(), s.Token); err != nil || !found.Session.Expires.Equal(later) {
		t.Errorf("Session where it was extended = %+v, %v; want %v", found, err, later)
	}
	within(t, prompt, "the other server to know", func() bool {
		found, err := two.Session(t.Context(), s.Token)
		return err == nil && found.Session.Expires.Equal(later)
	})
}

// TestInTxHandler changes the user's row in a handler inside the transaction,
// which no write of the act tells of.
func TestInTxHandler(t *testing.T) {
	db := openSQLite(t, filepath.Join(t.TempDir(), "site.db"))
	c := open(t, db, need.Redis(t))
	s := signedIn(t, c, "ada")
	warm(t, c, s.Token)
	id, err := c.Book().Identity(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	block, err := record.NewBlock(record.ClassIdentity, record.NewKey(), record.SignIn{User: record.Person{ID: s.UserID}})
	if err != nil {
		t.Fatal(err)
	}
	e, err := record.New(record.Header{Book: id.ID, ID: "1", Type: record.TypeSignIn, TypeVersion: 1, Source: record.SourceGatebook,
		Time: time.Now(), Act: "1", Outcome: record.Success}, []record.Block{block}, nil)
	if err != nil {
		t.Fatal(err)
	}
	act := &gatebook.Act{Entries: []record.Entry{e}, InTx: func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE "user" SET "name" = 'Ada King'`)
		return err
	}}
	if err := c.Commit(t.Context(), act); err != nil {
		t.Fatal(err)
	}
	if found, err := c.Session(t.Context(), s.Token); err != nil || found.User.Name != "Ada King" {
		t.Errorf("Session = %+v, %v; want the name that the handler wrote", found, err)
	}
}

// TestSoonExpired: a row that runs out while it is cached would be taken for
// ended though another program extends it in time.
func TestSoonExpired(t *testing.T) {
	address := need.Redis(t)
	db := &counting{Adapter: openSQLite(t, filepath.Join(t.TempDir(), "site.db"))}
	c := open(t, db, address)
	s := signedIn(t, c, "ada")
	soon := time.Now().Add(5 * time.Second)
	if err := c.ExtendSession(t.Context(), s.Token, soon); err != nil {
		t.Fatal(err)
	}
	warm(t, c, s.Token)
	if err := db.Adapter.ExtendSession(t.Context(), s.Token, s.Expires); err != nil { // behind the cache's back
		t.Fatal(err)
	}
	if found, err := c.Session(t.Context(), s.Token); err != nil || !found.Session.Expires.Equal(s.Expires) {
		t.Errorf("Session = %+v, %v; want the expiry that the database has", found, err)
	}
}
