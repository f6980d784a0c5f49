//go:build linux

package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/adapter/memory"
	"github.com/gatebook/gatebook/adapter/sqlite"
	"github.com/gatebook/gatebook/adapter/sqlstore"
	"github.com/gatebook/gatebook/record"
)

const (
	minTokenReads = 0.5
	minRowReads   = 0.7
	minListed     = 0.25
	maxVerify     = 8e-6 // seconds
	maxVerifyMem  = 25   // allocations
)

// readTokens measures GET /auth/session for token sessions.
func readTokens(ctx context.Context, r *runner) error {
	auth, err := newAuth(forgetful{memory.New()}, gatebook.StrategyJWT)
	if err != nil {
		return err
	}
	requests := make([][]byte, r.sessions)
	for i := range requests {
		b, err := tokenVisitor(auth, i)
		if err != nil {
			return err
		}
		requests[i] = wire("/auth/session", b.header())
		progress("tokens made", i+1, len(requests))
	}
	return r.reads(ctx, "token session reads", spec{}, requests, minTokenReads)
}

// readListed measures GET /auth/session for token sessions whose list is in
// SQLite. The bare handler asks no database: the difference from other tokens is
// what the list costs.
func readListed(ctx context.Context, r *runner) error {
	path := filepath.Join(r.temp, "listed.db")
	db, err := sqlite.Open(path)
	if err != nil {
		return err
	}
	notes := &noting{Adapter: memory.New()}
	auth, err := newAuthOf(notes, listed)
	if err != nil {
		return errors.Join(err, db.Close())
	}
	requests := make([][]byte, r.sessions)
	for i := range requests {
		b, err := tokenVisitor(auth, i)
		if err == nil && (len(notes.writes) >= 1000 || i == len(requests)-1) {
			err = db.Commit(ctx, &gatebook.Act{Writes: notes.writes})
			notes.writes = nil
		}
		if err != nil {
			return errors.Join(err, db.Close())
		}
		requests[i] = wire("/auth/session", b.header())
		progress("tokens made and listed", i+1, len(requests))
	}
	if err := db.Close(); err != nil {
		return err
	}
	return r.reads(ctx, "listed token session reads", spec{Database: path, Listed: true}, requests, minListed)
}

// noting is an adapter that keeps the notes of token sessions, to be written
// elsewhere, and forgets everything else.
type noting struct {
	gatebook.Adapter
	writes []gatebook.Write
}

func (n *noting) Commit(_ context.Context, act *gatebook.Act) error {
	for _, w := range act.Writes {
		if _, ok := w.(gatebook.NoteSession); ok {
			n.writes = append(n.writes, w)
		}
	}
	return nil
}

// readRows measures GET /auth/session for database sessions in SQLite.
func readRows(ctx context.Context, r *runner) error {
	path, err := r.sessionFile(ctx)
	if err != nil {
		return err
	}
	auth, err := newAuth(memory.New(), gatebook.StrategyDatabase)
	if err != nil {
		return err
	}
	requests := make([][]byte, r.sessions)
	for i := range requests {
		b := newBrowser(auth)
		b.do(b.request("GET", "/auth/csrf", ""))
		b.names, b.cookies[sessionCookie] = append(b.names, sessionCookie), string(rowToken(i))
		requests[i] = wire("/auth/session", b.header())
	}
	return r.reads(ctx, "database session reads", spec{Database: path}, requests, minRowReads)
}

// reads measures a server that answers requests beside a bare one. Each is a
// process of its own, for a bare server has no heap to look after.
func (r *runner) reads(ctx context.Context, name string, s spec, requests [][]byte, bound float64) (err error) {
	apart, err := separate()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, apart.together()) }()
	srv, err := apart.start(s)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, srv.stop()) }()
	// Each session is a session of its own: the answers to some are looked at.
	answers := s
	var raw []byte
	for i := 0; i < len(requests); i += max(1, len(requests)/50) {
		if answers.Bare, raw, err = ask(srv.Port, requests[i]); err != nil {
			return err
		}
		if !strings.Contains(answers.Bare.Body, person(i).Email) || len(answers.Bare.Header["Set-Cookie"]) != 1 {
			return fmt.Errorf("session %d is answered with %v %s", i, answers.Bare.Header, answers.Bare.Body)
		}
	}
	bare, err := apart.start(answers)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, bare.stop()) }()
	if _, same, err := ask(bare.Port, requests[0]); err != nil {
		return err
	} else if !alike(raw, same) {
		return fmt.Errorf("the bare handler answers\n%s\nand not\n%s", same, raw)
	}
	// Once round, so that every session has been read and counted before.
	for n := 0; n < len(requests); {
		answered, err := load(srv.Port, requests[n:], len(raw), r.round)
		if err != nil {
			return err
		}
		n += answered
	}
	turn := 0
	sessions := func() [][]byte { // others than in the turn before
		turn++
		at := turn * 7919 % len(requests)
		return append(requests[at:len(requests):len(requests)], requests[:at]...)
	}
	figure, floor, err := alternate(r.rounds,
		func() (float64, error) { return r.rate(srv, srv.Port, len(raw), sessions()) },
		func() (float64, error) { return r.rate(bare, bare.Port, len(raw), sessions()) })
	if err != nil {
		return err
	}
	r.atLeast(name, figure, floor, perSecond, bound, fmt.Sprintf("%d sessions, a second of one core", len(requests)))
	if err := r.profileServer(name, srv, len(raw), requests); err != nil {
		return err
	}
	_, raw, err = ask(bare.Plain, requests[0])
	if err != nil {
		return err
	}
	var plain []float64
	for range min(3, r.rounds) {
		v, err := r.rate(bare, bare.Plain, len(raw), requests)
		if err != nil {
			return err
		}
		plain = append(plain, v)
	}
	r.print("  net/http that says hello", perSecond(median(plain)), "", 0, "", true, "the same requests, no headers to answer")
	return ctx.Err()
}

// forgetful is an adapter that keeps nothing of what it is told.
type forgetful struct{ gatebook.Adapter }

func (forgetful) Commit(context.Context, *gatebook.Act) error { return nil }

// verifyTokens measures Verify in this process.
func verifyTokens(ctx context.Context, r *runner) error {
	auth, err := newAuth(forgetful{memory.New()}, gatebook.StrategyJWT)
	if err != nil {
		return err
	}
	tokens := make([]string, min(r.sessions, 10_000))
	for i := range tokens {
		b, err := tokenVisitor(auth, i)
		if err != nil {
			return err
		}
		tokens[i] = b.cookies[sessionCookie]
	}
	var took, allocated []float64
	for range max(r.rounds, 10) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		began, err := cpuTime(os.Getpid())
		if err != nil {
			return err
		}
		n := 0
		for deadline := time.Now().Add(r.round / 2); time.Now().Before(deadline); {
			for range 100 {
				s, err := auth.Verify(ctx, tokens[n%len(tokens)])
				if err != nil {
					return err
				}
				if n%997 == 0 && s.User.Email != person(n%len(tokens)).Email {
					return fmt.Errorf("token %d is of %s", n%len(tokens), s.User.Email)
				}
				n++
			}
		}
		ended, err := cpuTime(os.Getpid())
		if err != nil {
			return err
		}
		runtime.ReadMemStats(&after)
		took = append(took, (ended-began).Seconds()/float64(n))
		allocated = append(allocated, float64(after.Mallocs-before.Mallocs)/float64(n))
	}
	r.within("verify, time", took, micros, maxVerify, "in process, CPU time with garbage collection")
	r.within("verify, allocations", allocated, count, maxVerifyMem, "")
	return nil
}

// sessionOf are the writes of the session number i and its user.
func sessionOf(i int, now time.Time) []gatebook.Write {
	u := person(i)
	return []gatebook.Write{gatebook.CreateUser{User: u, Subject: record.NewKey()},
		gatebook.CreateSession{Session: gatebook.StoredSession{Token: rowToken(i), UserID: u.ID,
			ID: record.NewKey().String(), Expires: now.Add(30 * 24 * time.Hour), Begun: now, Provider: "instant"}}}
}

// rowToken is the token of the session number i.
func rowToken(i int) gatebook.Secret {
	return gatebook.Secret(fmt.Sprintf("4e1dcb0a-93c4-4b7f-8c53-0000%08d", i))
}

// sessionFile returns a database with r.sessions sessions, each of a user of its
// own. It is built once.
func (r *runner) sessionFile(ctx context.Context) (string, error) {
	sum, err := migrationsSum(sqlstore.Migrations(sqlstore.SQLite))
	if err != nil {
		return "", err
	}
	path := filepath.Join(r.data, fmt.Sprintf("sessions-%d-%s.db", r.sessions, sum))
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		if err := r.buildSessions(ctx, path); err != nil {
			return "", fmt.Errorf("build %s: %w", path, err)
		}
	}
	db, err := sqlite.Open(path)
	if err != nil {
		return "", err
	}
	// As if all had been used a moment ago.
	_, err = db.SQL().ExecContext(ctx, `UPDATE "session" SET "expires" = ?`, time.Now().Add(30*24*time.Hour-time.Minute).UnixMilli())
	return path, errors.Join(err, db.Close())
}

// migrationsSum tells migrations apart: of others there is another file.
func migrationsSum(files fs.FS) (string, error) {
	sum := sha256.New()
	err := fs.WalkDir(files, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := fs.ReadFile(files, path)
		sum.Write(text)
		return err
	})
	return hex.EncodeToString(sum.Sum(nil)[:4]), err
}

func (r *runner) buildSessions(ctx context.Context, path string) error {
	building := filepath.Join(r.temp, "sessions.db")
	db, err := sqlite.Open(building)
	if err != nil {
		return err
	}
	now := time.Now().UTC().Truncate(time.Millisecond)
	act := &gatebook.Act{}
	for i := range r.sessions {
		act.Writes = append(act.Writes, sessionOf(i, now)...)
		if len(act.Writes) >= 1000 || i == r.sessions-1 {
			if err := db.Commit(ctx, act); err != nil {
				return errors.Join(err, db.Close())
			}
			act.Writes = nil
		}
		progress("sessions written", i+1, r.sessions)
	}
	// Closing folds the log into the file, which can then be moved.
	if err := db.Close(); err != nil {
		return err
	}
	return os.Rename(building, path)
}
