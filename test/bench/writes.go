//go:build linux

package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"time"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/adapter/sqlite"
	"github.com/gatebook/gatebook/record"
)

const (
	maxRecorded = 1.15
	maxTokenAct = 1.2
)

// unrecorded is an adapter that leaves the entries of every act out.
type unrecorded struct{ gatebook.Adapter }

func (u unrecorded) Commit(ctx context.Context, act *gatebook.Act) error {
	bare := *act
	bare.Entries = nil
	return u.Adapter.Commit(ctx, &bare)
}

// tap keeps the last act that went through it and how long each took to commit.
type tap struct {
	gatebook.Adapter
	last *gatebook.Act
	took []float64 // seconds
}

func (t *tap) Commit(ctx context.Context, act *gatebook.Act) error {
	t.last = act
	began := time.Now()
	defer func() { t.took = append(t.took, time.Since(began).Seconds()) }()
	return t.Adapter.Commit(ctx, act)
}

// gate is an Auth on a fresh file of users who have been there before, with its
// sequencer running, behind a server.
type gate struct {
	*visitor
	auth *gatebook.Auth
	db   *sqlite.DB
	next int // user
	stop func() error
}

func (r *runner) newGate(ctx context.Context, name, strategy string, wrap func(gatebook.Adapter) gatebook.Adapter, given ...gatebook.Provider) (*gate, error) {
	db, err := r.usersFile(ctx, name)
	if err != nil {
		return nil, err
	}
	auth, err := newAuth(wrap(db), strategy, given...)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	v, err := newVisitor(auth)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	running, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- auth.Run(running) }()
	return &gate{visitor: v, auth: auth, db: db, stop: func() error {
		v.close()
		stop()
		return errors.Join(<-done, auth.Close(context.WithoutCancel(ctx)), db.Close())
	}}, nil
}

// visitor is one client of a server in this process, on one connection.
type visitor struct {
	server *http.Server
	conn   net.Conn
	in     *bufio.Reader
}

func newVisitor(h http.Handler) (*visitor, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	v := &visitor{server: &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}}
	go v.server.Serve(ln)
	if v.conn, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		return nil, errors.Join(err, v.server.Close())
	}
	v.in = bufio.NewReader(v.conn)
	return v, nil
}

func (v *visitor) close() { _ = errors.Join(v.conn.Close(), v.server.Close()) }

// send sends the bytes of a request and returns how long the answer took, in
// seconds, which must lead home.
func (v *visitor) send(request []byte) (float64, error) {
	began := time.Now()
	if _, err := v.conn.Write(request); err != nil {
		return 0, err
	}
	res, err := http.ReadResponse(v.in, nil)
	if err != nil {
		return 0, err
	}
	took := time.Since(began).Seconds()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		return 0, err
	}
	if res.StatusCode != http.StatusFound || res.Header.Get("Location") != origin {
		return 0, fmt.Errorf("a sign-in is answered with %s, Location %q", res.Status, res.Header.Get("Location"))
	}
	return took, res.Body.Close()
}

// usersFile returns a fresh database with users who have an account each.
func (r *runner) usersFile(ctx context.Context, name string) (*sqlite.DB, error) {
	db, err := sqlite.Open(filepath.Join(r.temp, name+".db"))
	if err != nil {
		return nil, err
	}
	act := &gatebook.Act{}
	for i := range r.users {
		act.Writes = append(act.Writes, gatebook.CreateUser{User: person(i), Subject: record.NewKey()}, gatebook.LinkAccount{Account: account(i)})
		if len(act.Writes) >= 1000 || i == r.users-1 {
			if err := db.Commit(ctx, act); err != nil {
				return nil, errors.Join(err, db.Close())
			}
			act.Writes = nil
		}
	}
	return db, nil
}

// turn signs in users one after the other and returns the median time: from the
// request with which the browser comes back to the answer.
func (g *gate) turn(ctx context.Context, acts, users int) (float64, error) {
	requests := make([][]byte, acts)
	for i := range requests {
		r, err := begin(g.auth, g.next%users)
		if err != nil {
			return 0, err
		}
		requests[i] = wire(r.URL.RequestURI(), r.Header.Get("Cookie"))
		g.next += 7919
	}
	took := make([]float64, acts)
	for i, request := range requests {
		var err error
		if took[i], err = g.send(request); err != nil {
			return 0, err
		}
	}
	// What this turn left to number must not slow the next one down.
	if err := g.db.Book().Drain(ctx); err != nil {
		return 0, err
	}
	return median(took), nil
}

// signInRows measures what recording costs a sign-in of a known user with a
// database session.
func signInRows(ctx context.Context, r *runner) (err error) {
	recorded, err := r.newGate(ctx, "recorded", gatebook.StrategyDatabase, func(a gatebook.Adapter) gatebook.Adapter { return a })
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, recorded.stop()) }()
	without, err := r.newGate(ctx, "unrecorded", gatebook.StrategyDatabase, func(a gatebook.Adapter) gatebook.Adapter { return unrecorded{a} })
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, without.stop()) }()
	figure, floor, err := alternate(r.turns,
		func() (float64, error) { return recorded.turn(ctx, r.acts, r.users) },
		func() (float64, error) { return without.turn(ctx, r.acts, r.users) })
	if err != nil {
		return err
	}
	r.atMost("sign-in with a database session", figure, floor, micros, maxRecorded, "p50 against the same without its outbox rows; sequencer running")
	return nil
}

// signInTokens measures a sign-in of a known user with a token session, which
// writes its entry and its used-up state: the act as the adapter carries it out,
// and for comparison all that is done for the request. The bare handler does
// nothing but commit the same rows and answer.
func signInTokens(ctx context.Context, r *runner) (err error) {
	t := &tap{}
	tokens, err := r.newGate(ctx, "tokens", gatebook.StrategyJWT, func(a gatebook.Adapter) gatebook.Adapter { t.Adapter = a; return t })
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, tokens.stop()) }()
	if _, err := tokens.turn(ctx, 1, r.users); err != nil {
		return err
	}
	bare, err := r.newBareCommit(ctx, t.last)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, bare.close()) }()
	var whole, bareWhole []float64
	figure, floor, err := alternate(r.turns,
		func() (float64, error) {
			t.took = nil
			v, err := tokens.turn(ctx, r.acts, r.users)
			whole = append(whole, v)
			return median(t.took), err
		},
		func() (float64, error) {
			bare.took = nil
			v, err := bare.turn(r.acts)
			bareWhole = append(bareWhole, v)
			return median(bare.took), err
		})
	if err != nil {
		return err
	}
	r.atMost("sign-in with a token session", figure, floor, micros, maxTokenAct, "p50 of its act against a bare commit of the same rows; sequencer running")
	r.print("  the whole request", micros(median(whole)), micros(median(bareWhole)), median(whole)/median(bareWhole), "", true,
		"with checks, look-up and token, against a handler that only commits")
	return nil
}

// bareCommit is a handler that writes the rows of an act with nothing but
// database/sql.
type bareCommit struct {
	*visitor
	db           *sqlite.DB
	check, entry *sql.Stmt
	expires      time.Time
	row          bareEntry
	n            int
	took         []float64 // seconds
}

type bareEntry struct{ header, blocks, terms []byte }

func (r *runner) newBareCommit(ctx context.Context, act *gatebook.Act) (*bareCommit, error) {
	if len(act.Writes) != 1 || len(act.Entries) != 1 {
		return nil, fmt.Errorf("the sign-in has %d writes and %d entries, want one of each", len(act.Writes), len(act.Entries))
	}
	use, ok := act.Writes[0].(gatebook.UseCheck)
	if !ok {
		return nil, fmt.Errorf("the sign-in writes a %T", act.Writes[0])
	}
	e := act.Entries[0]
	b := &bareCommit{expires: use.Expires, row: bareEntry{e.Header, record.AppendBlocks(nil, e.Blocks), record.AppendTerms(nil, e.Search)}}
	var err error
	if b.db, err = r.usersFile(ctx, "bare"); err != nil {
		return nil, err
	}
	if b.check, err = b.db.SQL().PrepareContext(ctx, "INSERT INTO gatebook_checks (digest, expires) VALUES (?, ?)"); err != nil {
		return nil, errors.Join(err, b.db.Close())
	}
	if b.entry, err = b.db.SQL().PrepareContext(ctx, "INSERT INTO gatebook_outbox (id, header, blocks, terms) VALUES (?, ?, ?, ?)"); err != nil {
		return nil, errors.Join(err, b.db.Close())
	}
	if b.visitor, err = newVisitor(b); err != nil {
		return nil, errors.Join(err, b.db.Close())
	}
	return b, nil
}

func (b *bareCommit) close() error {
	b.visitor.close()
	return errors.Join(b.check.Close(), b.entry.Close(), b.db.Close())
}

// ServeHTTP commits and leads home.
func (b *bareCommit) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	err := b.commit(r.Context())
	b.took = append(b.took, time.Since(began).Seconds())
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Location", origin)
	w.WriteHeader(http.StatusFound)
}

func (b *bareCommit) commit(ctx context.Context) error {
	b.n++
	digest := sha256.Sum256(fmt.Append(nil, b.n))
	id := fmt.Sprintf("01900000-0000-7000-8000-%012x", b.n)
	tx, err := b.db.SQL().BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	check, entry := tx.StmtContext(ctx, b.check), tx.StmtContext(ctx, b.entry)
	defer func() { _ = errors.Join(check.Close(), entry.Close()) }()
	if _, err := check.ExecContext(ctx, digest[:], b.expires.UnixMilli()); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	if _, err := entry.ExecContext(ctx, id, b.row.header, b.row.blocks, b.row.terms); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

func (b *bareCommit) turn(acts int) (float64, error) {
	request := wire("/auth/callback/instant", "")
	took := make([]float64, acts)
	for i := range took {
		var err error
		if took[i], err = b.send(request); err != nil {
			return 0, err
		}
	}
	return median(took), nil
}
