package book_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/gatebook/gatebook/book"
	"github.com/gatebook/gatebook/internal/sqldb"
	"github.com/gatebook/gatebook/record"
)

// server is a database server with a book, and a second pool beside it.
type server struct {
	database
	db, other *sqldb.DB
	log       *book.SQL
	book      *book.Book
}

// servers returns one of each kind.
func servers(t *testing.T) map[string]func(*testing.T) server {
	t.Helper()
	out := map[string]func(*testing.T) server{}
	for _, name := range []string{"postgres", "mysql"} {
		out[name] = func(t *testing.T) server {
			t.Helper()
			d := databases[name]
			db, address := d.migrated(t)
			log := book.NewSQL(db)
			return server{d, db, d.open(t, address), log, newBook(t, log)}
		}
	}
	return out
}

// waits waits until a statement that contains text waits for a lock, and returns
// the connection on which it does.
func (s server) waits(t testing.TB, text string) (connection int) {
	t.Helper()
	query := "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database() AND query LIKE ?"
	if s.driver == "mysql" {
		query = `SELECT p.id FROM information_schema.processlist AS p JOIN information_schema.innodb_trx AS x ON x.trx_mysql_thread_id = p.id
			WHERE x.trx_state = 'LOCK WAIT' AND p.db = DATABASE() AND p.info LIKE ?`
	}
	// InnoDB shows the same state again while it is asked more often than this.
	poll := time.NewTicker(150 * time.Millisecond)
	defer poll.Stop()
	deadline := time.Now().Add(20 * time.Second)
	for ; ; <-poll.C {
		err := s.other.SQL().QueryRow(s.dialect.Bind(query), "%"+text+"%").Scan(&connection)
		if err == nil {
			return connection
		}
		if !errors.Is(err, sql.ErrNoRows) {
			t.Fatal(err)
		}
		if time.Now().After(deadline) {
			t.Fatalf("nothing waits with %q", text)
		}
	}
}

// end ends a connection.
func (s server) end(t testing.TB, connection int) {
	t.Helper()
	query := "SELECT pg_terminate_backend(?)"
	if s.driver == "mysql" {
		query = "KILL ?"
	}
	execute(t, s.other, query, connection)
}

// tx begins a transaction on the second pool.
func (s server) tx(t testing.TB) *sql.Tx {
	t.Helper()
	tx, err := s.other.SQL().BeginTx(t.Context(), &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tx.Rollback() })
	return tx
}

func (s server) in(t testing.TB, tx *sql.Tx, query string, args ...any) {
	t.Helper()
	if _, err := tx.Exec(s.dialect.Bind(query), args...); err != nil {
		t.Fatal(err)
	}
}

// ids fails unless the log has the entries of these ids in this order.
func ids(t testing.TB, b *book.Book, want ...string) {
	t.Helper()
	var got []string
	for _, e := range all(t, b) {
		got = append(got, e.Header.ID)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the log has %v, want %v", got, want)
	}
}

// Two acts write the same row. The entry of the second gets its number when the
// act has the row, so after that of the first, though it began before the first
// had written its entry; and acts that write the row in one statement too.
func TestNumberedUnderRowLocks(t *testing.T) {
	for name, newServer := range servers(t) {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			execute(t, s.db, "CREATE TABLE state (id integer PRIMARY KEY, v varchar(20))")
			execute(t, s.db, "INSERT INTO state VALUES (1, '')")
			const write = "UPDATE state SET v = ? WHERE id = 1"
			transaction := func(id string) error {
				return s.db.Tx(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
					if _, err := tx.ExecContext(ctx, s.dialect.Bind(write), id); err != nil {
						return err
					}
					return s.log.Insert(ctx, tx, []record.Entry{entry(t, s.book, event{ID: id})})
				})
			}
			acts := map[string]func(string) error{"transaction": transaction}
			if s.dialect.CTE {
				acts["statement"] = func(id string) error {
					insert, args := s.log.InsertFrom("held", []record.Entry{entry(t, s.book, event{ID: id})})
					_, err := s.db.Do(t.Context(), s.dialect.Bind("WITH w AS ("+write+" RETURNING 1), held AS (SELECT "+
						s.dialect.Require("(SELECT COUNT(*) FROM w) = 1")+" AS ok), o AS ("+insert+
						" RETURNING 1) SELECT (SELECT COUNT(*) FROM o), (SELECT ok FROM held)"), append([]any{id}, args...)...)
					return err
				}
			}
			var want []string
			for form, act := range acts {
				// The first act has the row and not yet its entry.
				first := s.tx(t)
				s.in(t, first, write, "first")
				done := make(chan error, 1)
				go func() { done <- act(form + " second") }()
				s.waits(t, "UPDATE state")
				if err := s.log.Insert(t.Context(), first, []record.Entry{entry(t, s.book, event{ID: form + " first"})}); err != nil {
					t.Fatal(err)
				}
				if err := first.Commit(); err != nil {
					t.Fatal(err)
				}
				if err := <-done; err != nil {
					t.Fatal(err)
				}
				want = append(want, form+" first", form+" second")
			}
			drain(t, s.book)
			ids(t, s.book, want...)
		})
	}
}

// An act in one statement whose precondition does not hold leaves nothing, and
// its entries keep their order when it does.
func TestOneStatement(t *testing.T) {
	for name, newServer := range servers(t) {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			if !s.dialect.CTE {
				if query, _ := s.log.InsertFrom("held", []record.Entry{{}}); query == "" {
					t.Error("InsertFrom gives no statement")
				}
				return
			}
			execute(t, s.db, "CREATE TABLE state (id integer PRIMARY KEY, v varchar(20))")
			execute(t, s.db, "INSERT INTO state VALUES (1, '')")
			act := func(row int, entries ...record.Entry) error {
				insert, args := s.log.InsertFrom("held", entries)
				_, err := s.db.Do(t.Context(), s.dialect.Bind("WITH w AS (UPDATE state SET v = 'x' WHERE id = ? RETURNING 1), held AS (SELECT "+
					s.dialect.Require("(SELECT COUNT(*) FROM w) = 1")+" AS ok), o AS ("+insert+") SELECT ok FROM held"), append([]any{row}, args...)...)
				return err
			}
			if err := act(2, entry(t, s.book, event{ID: "never"})); !errors.Is(err, sqldb.ErrConflict) {
				t.Errorf("an act without its row = %v, want ErrConflict", err)
			}
			var entries []record.Entry
			var want []string
			for i := range 20 {
				id := fmt.Sprint("entry ", 20-i)
				entries, want = append(entries, entry(t, s.book, event{ID: id})), append(want, id)
			}
			if err := act(1, entries...); err != nil {
				t.Fatal(err)
			}
			drain(t, s.book)
			ids(t, s.book, want...)
		})
	}
}

// An entry may be committed after others with greater numbers were taken. It is
// found, nothing else is lost with them, and it comes before what began after its
// commit.
func TestLateCommit(t *testing.T) {
	for name, newServer := range servers(t) {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			epoch, err := s.log.Acquire(t.Context(), "one")
			if err != nil {
				t.Fatal(err)
			}
			late := s.tx(t)
			if err := s.log.Insert(t.Context(), late, []record.Entry{entry(t, s.book, event{ID: "late"})}); err != nil {
				t.Fatal(err)
			}
			var want []string
			var events []event
			for i := range 600 {
				id := fmt.Sprint("early ", i)
				want, events = append(want, id), append(events, event{ID: id})
			}
			add(t, s.book, events...)
			if n, more, err := s.log.Number(t.Context(), epoch, nil); n != 500 || !more || err != nil {
				t.Fatalf("Number = %d, %v, %v; want 500 of 600", n, more, err)
			}
			if err := late.Commit(); err != nil {
				t.Fatal(err)
			}
			add(t, s.book, event{ID: "after it"})
			for range 2 {
				if _, _, err := s.log.Number(t.Context(), epoch, nil); err != nil {
					t.Fatal(err)
				}
			}
			want = append(append(append(want[:500:500], "late"), want[500:]...), "after it")
			ids(t, s.book, want...)
			if n, _, err := s.book.Pending(t.Context()); n != 0 || err != nil {
				t.Errorf("Pending = %d, %v; want 0", n, err)
			}
		})
	}
}

// An entry with a smaller number is committed while a batch is between reading
// the outbox and emptying it. It is not lost.
func TestCommitInsideBatch(t *testing.T) {
	for name, newServer := range servers(t) {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			epoch, err := s.log.Acquire(t.Context(), "one")
			if err != nil {
				t.Fatal(err)
			}
			late := s.tx(t)
			if err := s.log.Insert(t.Context(), late, []record.Entry{entry(t, s.book, event{ID: "late"})}); err != nil {
				t.Fatal(err)
			}
			add(t, s.book, event{ID: "a"})
			// The batch waits to add its entry to the log.
			blocker := s.tx(t)
			s.in(t, blocker, "INSERT INTO gatebook_log (seq, recorded_at, id, type, outcome, header) VALUES (99, 0, 'a', '', '', '')")
			done := make(chan error, 1)
			go func() {
				_, _, err := s.log.Number(context.Background(), epoch, nil)
				done <- err
			}()
			s.waits(t, "INSERT INTO gatebook_log")
			if err := late.Commit(); err != nil {
				t.Fatal(err)
			}
			if err := blocker.Rollback(); err != nil {
				t.Fatal(err)
			}
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			ids(t, s.book, "a")
			if _, _, err := s.log.Number(t.Context(), epoch, nil); err != nil {
				t.Fatal(err)
			}
			ids(t, s.book, "a", "late")
		})
	}
}

// paused begins a batch that waits for a row of the outbox in the middle, while
// it has the head row, and returns what lets it go on, what ends it, and what
// became of it.
func (s server) paused(t *testing.T, epoch int64) (release func(), connection int, done <-chan error) {
	t.Helper()
	lock := s.tx(t)
	s.in(t, lock, "UPDATE gatebook_outbox SET id = id")
	result := make(chan error, 1)
	go func() {
		_, _, err := s.log.Number(context.Background(), epoch, nil)
		result <- err
	}()
	connection = s.waits(t, "DELETE")
	return func() { lock.Rollback() }, connection, result
}

// A server that takes the lease over waits for the batch that is under way, and
// the one that lost it numbers nothing more.
func TestTakenOverInsideBatch(t *testing.T) {
	for name, newServer := range servers(t) {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			add(t, s.book, event{ID: "a"}, event{ID: "b"})
			one, err := s.log.Acquire(t.Context(), "one")
			if err != nil {
				t.Fatal(err)
			}
			execute(t, s.db, "UPDATE gatebook_book SET lease_until = 0")
			release, _, done := s.paused(t, one)
			took := make(chan int64, 1)
			go func() {
				two, err := book.NewSQL(s.other).Acquire(context.Background(), "two")
				// By then the first one's batch renewed the lease, or did not.
				if err != nil && !errors.Is(err, book.ErrLeaseHeld) {
					t.Error(err)
				}
				took <- two
			}()
			s.waits(t, "FOR UPDATE")
			release()
			if err := <-done; err != nil {
				t.Errorf("the batch under way = %v", err)
			}
			<-took
			execute(t, s.db, "UPDATE gatebook_book SET lease_until = 0")
			two, err := book.NewSQL(s.other).Acquire(t.Context(), "two")
			if err != nil || two <= one {
				t.Fatalf("Acquire = %d, %v; want more than %d", two, err, one)
			}
			add(t, s.book, event{ID: "c"})
			if n, _, err := s.log.Number(t.Context(), one, nil); n != 0 || !errors.Is(err, book.ErrLeaseLost) {
				t.Errorf("Number under a lost lease = %d, %v; want ErrLeaseLost", n, err)
			}
			ids(t, s.book, "a", "b")
			if _, _, err := s.log.Number(t.Context(), two, nil); err != nil {
				t.Fatal(err)
			}
			ids(t, s.book, "a", "b", "c")
		})
	}
}

// The connection of a batch is killed in its middle: nothing is numbered, and
// then everything once.
func TestKilledInsideBatch(t *testing.T) {
	for name, newServer := range servers(t) {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			add(t, s.book, event{ID: "a"}, event{ID: "b"})
			epoch, err := s.log.Acquire(t.Context(), "one")
			if err != nil {
				t.Fatal(err)
			}
			release, connection, done := s.paused(t, epoch)
			s.end(t, connection)
			if err := <-done; err == nil || errors.Is(err, book.ErrCommitUnknown) {
				t.Errorf("Number whose connection is killed = %v, want a plain error", err)
			}
			release()
			ids(t, s.book)
			if n, _, err := s.book.Pending(t.Context()); n != 2 || err != nil {
				t.Errorf("Pending = %d, %v; want 2", n, err)
			}
			if _, _, err := s.log.Number(t.Context(), epoch, nil); err != nil {
				t.Errorf("Number afterwards = %v", err)
			}
			ids(t, s.book, "a", "b")
		})
	}
}

// A server that stops in the middle of a batch and sends nothing more keeps
// another one waiting for its lease and the database's limit, and no longer. The
// limit is gone from the connection after a batch.
func TestStoppedInsideBatch(t *testing.T) {
	for name, newServer := range servers(t) {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			limit := "SHOW idle_in_transaction_session_timeout"
			if s.driver == "mysql" {
				limit = "SELECT @@SESSION.idle_transaction_timeout"
			}
			s.db.SQL().SetMaxOpenConns(1)
			read := func() (value string) {
				t.Helper()
				if err := s.db.SQL().QueryRow(limit).Scan(&value); err != nil {
					t.Fatal(err)
				}
				return value
			}
			before := read()
			add(t, s.book, event{ID: "a"})
			drain(t, s.book)
			if after := read(); after != before {
				t.Errorf("after a batch the limit is %s, want %s", after, before)
			}
			add(t, s.book, event{ID: "b"})
			stopped, wake, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
			go func() {
				done <- s.db.Batch(context.Background(), func(ctx context.Context, tx *sql.Tx) error {
					var seq int64
					err := tx.QueryRowContext(ctx, "SELECT seq FROM gatebook_book WHERE one = 1 FOR UPDATE").Scan(&seq)
					close(stopped)
					<-wake
					_, late := tx.ExecContext(ctx, "UPDATE gatebook_book SET seq = 99")
					return errors.Join(err, late)
				})
			}()
			<-stopped
			began := time.Now()
			drain(t, newBook(t, book.NewSQL(s.other)))
			if d := time.Since(began); d > 15*time.Second {
				t.Errorf("another server had to wait %v", d)
			}
			close(wake)
			if err := <-done; err == nil {
				t.Error("a batch that was ended by the server succeeded")
			}
			ids(t, s.book, "a", "b")
		})
	}
}
