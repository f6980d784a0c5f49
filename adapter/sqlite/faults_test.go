package sqlite_test

import (
	"bufio"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	moderncsqlite "modernc.org/sqlite"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/adapter/sqlite"
	"github.com/gatebook/gatebook/adapter/sqlstore"
	"github.com/gatebook/gatebook/record"
)

// lockVariable makes the test program a process that holds the write lock of
// the named file until its standard input ends.
const lockVariable = "GATEBOOK_TEST_LOCK"

func TestMain(m *testing.M) {
	if path := os.Getenv(lockVariable); path != "" {
		if err := holdLock(path); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func holdLock(path string) error {
	p, err := sql.Open("sqlite", "file:"+path+"?_txlock=immediate&"+good)
	if err != nil {
		return err
	}
	tx, err := p.Begin()
	if err != nil {
		return err
	}
	fmt.Println("locked")
	io.Copy(io.Discard, os.Stdin)
	return tx.Rollback()
}

// lockElsewhere has another process hold the write lock. Release ends it
// gently, kill at once.
func lockElsewhere(t *testing.T, path string) (release, kill func()) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := osexec.Command(exe)
	cmd.Env = append(os.Environ(), lockVariable+"="+path)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if line != "locked\n" {
		t.Fatalf("the other process says %q, %v", line, err)
	}
	release = func() {
		in.Close()
		cmd.Wait()
	}
	kill = func() {
		cmd.Process.Kill()
		cmd.Wait()
	}
	return release, kill
}

// refuses commits a sign-in, which must fail with an error that says text, and
// leave no session and no entry.
func refuses(t *testing.T, db *sqlite.DB, act *gatebook.Act, text string) {
	t.Helper()
	u := user(100)
	act.Writes = append(act.Writes, u, session(u, "refused"))
	act.Entries = []record.Entry{entry(t, db, 100)}
	err := db.Commit(t.Context(), act)
	switch {
	case err == nil:
		t.Error("Commit succeeded, want an error")
	case errors.Is(err, gatebook.ErrConflict), errors.Is(err, gatebook.ErrNotFound), errors.Is(err, gatebook.ErrCommitUnknown):
		t.Errorf("Commit = %v, want an error of no class that a caller would try again after", err)
	case !strings.Contains(err.Error(), text):
		t.Errorf("Commit = %v, want an error that says %q", err, text)
	}
	if f, err := db.Session(t.Context(), "refused"); !errors.Is(err, gatebook.ErrNotFound) {
		t.Errorf("Session after a refused act = %v, %v; want an error that matches ErrNotFound", f, err)
	}
	if ok, err := db.Book().Recorded(t.Context(), act.Entries[0].ID); ok || err != nil {
		t.Errorf("Recorded after a refused act = %v, %v; want false", ok, err)
	}
}

// works commits the same sign-in, which must succeed.
func works(t *testing.T, db *sqlite.DB) {
	t.Helper()
	u := user(100)
	err := db.Commit(t.Context(), &gatebook.Act{
		Writes: []gatebook.Write{u, session(u, "refused")}, Entries: []record.Entry{entry(t, db, 100)},
	})
	if err != nil {
		t.Errorf("Commit after the fault = %v", err)
	}
	if _, err := db.Session(t.Context(), "refused"); err != nil {
		t.Errorf("Session after the fault = %v", err)
	}
	if err := db.Book().Drain(t.Context()); err != nil {
		t.Errorf("Drain after the fault = %v", err)
	}
}

func TestFullDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	first := open(t, path)
	commit(t, first, user(1))
	entry(t, first, 1)
	var pages int
	if err := first.SQL().QueryRow("PRAGMA page_count").Scan(&pages); err != nil {
		t.Fatal(err)
	}
	db := sqlite.New(pool(t, path, fmt.Sprintf("%s&_pragma=max_page_count(%d)", good, pages+5)), sqlstore.SQLite)
	db.SQL().SetMaxOpenConns(1) // the limit is the connection's
	large := user(2)
	large.User.Image = strings.Repeat("x", 100_000)
	for range 3 {
		refuses(t, db, &gatebook.Act{Writes: []gatebook.Write{large}}, "full")
	}
	run(t, db.SQL(), fmt.Sprintf("PRAGMA max_page_count = %d", pages+1000))
	works(t, db)
}

func TestReadOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	u := user(1)
	writer := open(t, path)
	commit(t, writer, u, session(u, "token"))
	entry(t, writer, 1)
	db := sqlite.New(pool(t, path, "mode=ro&"+good), sqlstore.SQLite)
	if f, err := db.Session(t.Context(), "token"); err != nil || f.User.ID != u.User.ID {
		t.Errorf("Session of a read-only database = %v, %v", f, err)
	}
	refuses(t, db, &gatebook.Act{}, "read-only")
	if err := db.ExtendSession(t.Context(), "token", time.Now()); err == nil || errors.Is(err, gatebook.ErrNotFound) {
		t.Errorf("ExtendSession in a read-only database = %v, want an error that says so", err)
	}
	// And one that becomes writable again.
	writer.SQL().SetMaxOpenConns(1)
	run(t, writer.SQL(), "PRAGMA query_only = ON")
	refuses(t, writer, &gatebook.Act{}, "read-only")
	run(t, writer.SQL(), "PRAGMA query_only = OFF")
	works(t, writer)
}

func TestLocked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	u := user(1)
	first := open(t, path)
	commit(t, first, u, session(u, "token"))
	entry(t, first, 1)
	db := sqlite.New(pool(t, path, strings.Replace(good, "busy_timeout(5000)", "busy_timeout(100)", 1)), sqlstore.SQLite)
	release, _ := lockElsewhere(t, path)
	refuses(t, db, &gatebook.Act{}, "locked")
	refuses(t, db, &gatebook.Act{}, "locked")
	if _, err := db.Session(t.Context(), "token"); err != nil {
		t.Errorf("Session while another process writes = %v", err)
	}
	release()
	works(t, db)
}

func TestLockedByTheDead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	db := open(t, path)
	commit(t, db, user(1))
	_, kill := lockElsewhere(t, path)
	kill()
	works(t, db)
}

// TestLockedAndGone has the visitor hang up while another process writes.
func TestLockedAndGone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	db := open(t, path)
	commit(t, db, user(1))
	release, _ := lockElsewhere(t, path)
	gone := errors.New("the visitor hung up")
	ctx, cancel := context.WithCancelCause(t.Context())
	timer := time.AfterFunc(30*time.Millisecond, func() { cancel(gone) })
	defer timer.Stop()
	began := time.Now()
	err := db.Commit(ctx, &gatebook.Act{Writes: []gatebook.Write{user(2)}})
	if !errors.Is(err, gone) || errors.Is(err, gatebook.ErrCommitUnknown) {
		t.Errorf("Commit = %v, want an error that matches the context's cause", err)
	}
	if d := time.Since(began); d > 3*time.Second {
		t.Errorf("Commit returned %v after the context ended", d)
	}
	release()
	works(t, db)
	if f, err := db.Find(t.Context(), gatebook.Query{UserID: user(2).User.ID}); err != nil || f.ByID != nil {
		t.Errorf("Find of the user of an act given up = %v, %v", f.ByID, err)
	}
}

// counting is a driver's connector that counts how often statements are
// prepared on its connections.
type counting struct {
	driver.Connector
	prepared atomic.Int64
}

type modernc interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.Pinger
	driver.SessionResetter
	driver.Validator
}

type countingConn struct {
	modernc
	c *counting
}

func (c *counting) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return countingConn{conn.(modernc), c}, nil
}

func (c countingConn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	c.c.prepared.Add(1)
	return c.modernc.PrepareContext(ctx, query)
}

func TestStatementsArePreparedOnce(t *testing.T) {
	connector, err := moderncsqlite.NewConnector("file:" + filepath.Join(t.TempDir(), "test.db") + "?" + good)
	if err != nil {
		t.Fatal(err)
	}
	count := &counting{Connector: connector}
	p := sql.OpenDB(count)
	t.Cleanup(func() { p.Close() })
	p.SetMaxOpenConns(1)
	db := sqlite.New(p, sqlstore.SQLite)
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	u := user(1)
	commit(t, db, u)
	n := 0
	signIn := func() {
		t.Helper()
		n++
		token := fmt.Sprint("token", n)
		q := gatebook.Query{Email: u.User.Email, Check: [32]byte{byte(n)}}
		if _, err := db.Find(t.Context(), q); err != nil {
			t.Fatal(err)
		}
		commit(t, db, session(u, token), gatebook.UseCheck{Digest: q.Check, Expires: expires})
		if _, err := db.Session(t.Context(), gatebook.Secret(token)); err != nil {
			t.Fatal(err)
		}
	}
	signIn()
	before := count.prepared.Load()
	if before == 0 {
		t.Fatal("nothing was prepared at all")
	}
	for range 100 {
		signIn()
	}
	if got := count.prepared.Load() - before; got != 0 {
		t.Errorf("100 sign-ins prepared %d statements, want none", got)
	}
}
