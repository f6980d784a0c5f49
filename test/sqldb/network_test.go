package sqldb_test

import (
	"context"
	"database/sql"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/gatebook/gatebook/internal/sqldb"
)

// swamp forwards connections to a server, and on demand swallows everything that
// is sent, without closing anything.
type swamp struct {
	net.Listener
	server    string
	swallowed atomic.Bool

	mu    sync.Mutex
	conns []net.Conn
}

func newSwamp(t testing.TB, server string) *swamp {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &swamp{Listener: l, server: server}
	t.Cleanup(func() {
		l.Close()
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, c := range w.conns {
			c.Close()
		}
	})
	go w.run()
	return w
}

func (w *swamp) run() {
	for {
		in, err := w.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", w.server)
		if err != nil {
			in.Close()
			continue
		}
		w.mu.Lock()
		w.conns = append(w.conns, in, out)
		w.mu.Unlock()
		go w.copy(out, in)
		go w.copy(in, out)
	}
}

func (w *swamp) copy(to io.Writer, from io.Reader) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		if w.swallowed.Load() {
			continue
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

// through returns address with the server behind w, and w.
func (s server) through(t testing.TB, address string) (string, *swamp) {
	t.Helper()
	if s.driver == "mysql" {
		c, err := mysql.ParseDSN(address)
		if err != nil {
			t.Fatal(err)
		}
		w := newSwamp(t, c.Addr)
		c.Addr = w.Addr().String()
		return c.FormatDSN(), w
	}
	_, rest, _ := strings.Cut(address, "@")
	host, _, _ := strings.Cut(rest, "/")
	w := newSwamp(t, host)
	return strings.Replace(address, host, w.Addr().String(), 1), w
}

// Where the network swallows everything, a commit and a statement end with their
// context, and nobody knows what became of them; before that, everybody does.
func TestServerSwallowed(t *testing.T) {
	for name, s := range servers {
		t.Run(name, func(t *testing.T) {
			clear, address := s.newDB(t)
			behind, w := s.through(t, address)
			within := func(d time.Duration, fn func(context.Context) error) error {
				t.Helper()
				ctx, cancel := context.WithTimeout(t.Context(), d)
				defer cancel()
				began := time.Now()
				err := fn(ctx)
				if took := time.Since(began); took > d+5*time.Second {
					t.Errorf("it took %v, want no longer than its context of %v", took, d)
				}
				return err
			}
			write := func(ctx context.Context, tx *sql.Tx) error {
				_, err := tx.ExecContext(ctx, "UPDATE a SET n = n + 1")
				return err
			}
			for _, tt := range []struct {
				name    string
				act     func(context.Context, *sqldb.DB) error
				unknown bool
			}{
				{"commit", func(ctx context.Context, db *sqldb.DB) error {
					return db.Tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
						err := write(ctx, tx)
						w.swallowed.Store(true)
						return err
					})
				}, true},
				{"statement in a transaction", func(ctx context.Context, db *sqldb.DB) error {
					return db.Tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
						w.swallowed.Store(true)
						return write(ctx, tx)
					})
				}, false},
				{"rollback", func(ctx context.Context, db *sqldb.DB) error {
					return db.Tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
						err := write(ctx, tx)
						w.swallowed.Store(true)
						return errors.Join(err, io.EOF)
					})
				}, false},
				{"one statement", func(ctx context.Context, db *sqldb.DB) error {
					w.swallowed.Store(true)
					_, err := db.Do(ctx, "UPDATE a SET n = n + 1")
					return err
				}, true},
			} {
				db := s.open(t, behind)
				for range 2 { // connects, and has the driver ask once whether that is alive
					if _, err := db.Do(t.Context(), "UPDATE a SET n = n"); err != nil {
						t.Fatal(err)
					}
				}
				err := within(time.Second, func(ctx context.Context) error { return tt.act(ctx, db) })
				if err == nil || errors.Is(err, sqldb.ErrCommitUnknown) != tt.unknown {
					t.Errorf("%s: %v, want ErrCommitUnknown: %v", tt.name, err, tt.unknown)
				}
				if tt.name != "rollback" && !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("%s: %v, want the cause", tt.name, err)
				}
				w.swallowed.Store(false)
				w.mu.Lock()
				for _, c := range w.conns { // what was begun on them ends
					c.Close()
				}
				w.conns = nil
				w.mu.Unlock()
			}
			if n := count(t, clear, "SELECT n FROM a WHERE id = 1"); n != 0 {
				t.Errorf("n = %d, want 0: nothing arrived", n)
			}
		})
	}
}

// A context that ends while one statement waits for a lock leaves it open whether
// the statement was carried out.
func TestServerContextEnds(t *testing.T) {
	for name, s := range servers {
		t.Run(name, func(t *testing.T) {
			db, _ := s.newDB(t)
			cause := errors.New("told to stop")
			if err := db.Tx(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
				if err := s.exec(ctx, tx, "UPDATE a SET n = 1"); err != nil {
					return err
				}
				ctx, cancel := context.WithTimeoutCause(t.Context(), 200*time.Millisecond, cause)
				defer cancel()
				if _, err := db.Do(ctx, "UPDATE a SET n = 2"); !errors.Is(err, sqldb.ErrCommitUnknown) || !errors.Is(err, cause) {
					t.Errorf("Do = %v, want ErrCommitUnknown and the cause", err)
				}
				if _, err := db.Do(ctx, "UPDATE a SET n = 2"); errors.Is(err, sqldb.ErrCommitUnknown) || !errors.Is(err, cause) {
					t.Errorf("Do under an ended context = %v, want the cause alone", err)
				}
				ctx, cancel = context.WithTimeoutCause(t.Context(), 200*time.Millisecond, cause)
				defer cancel()
				err := db.Tx(ctx, func(ctx context.Context, tx *sql.Tx) error { return s.exec(ctx, tx, "UPDATE a SET n = 3") })
				if errors.Is(err, sqldb.ErrCommitUnknown) || !errors.Is(err, cause) {
					t.Errorf("Tx = %v, want the cause alone", err)
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			// MariaDB carries the statement out once it has the lock, though nobody is
			// there any more; what was not committed it rolls back.
			if n := count(t, db, "SELECT n FROM a WHERE id = 1"); n != 1 && n != 2 {
				t.Errorf("n = %d, want 1 or 2", n)
			}
		})
	}
}

// A database that cannot be written says so.
func TestServerReadOnly(t *testing.T) {
	for name, s := range servers {
		t.Run(name, func(t *testing.T) {
			_, address := s.newDB(t)
			option := "options=-c%20default_transaction_read_only%3Don"
			if s.driver == "mysql" {
				option = "tx_read_only=1"
			}
			db := s.open(t, withOption(address, option))
			_, alone := db.Do(t.Context(), "UPDATE a SET n = 1")
			own := db.Tx(t.Context(), func(ctx context.Context, tx *sql.Tx) error { return s.exec(ctx, tx, "UPDATE a SET n = 1") })
			for _, err := range []error{alone, own} {
				if !errors.Is(err, sqldb.ErrReadOnly) {
					t.Errorf("%v, want ErrReadOnly", err)
				}
			}
		})
	}
}
