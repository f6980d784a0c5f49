// Package adaptertest is the conformance suite of [gatebook.Adapter]: one
// subtest for each rule of its contract. It imports nothing but the standard
// library and Gatebook, so that anybody's adapter can be run against it:
//
//	func TestAdapter(t *testing.T) {
//		adaptertest.Run(t, func(t *testing.T) gatebook.Adapter { return open(t) }, nil)
//	}
//
// A store whose tables cannot hold everything says so in [Options].
//
// What no suite can see, such as whether a commit survives loss of power, stays
// with the adapter's own tests.
package adaptertest

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/book"
	"github.com/gatebook/gatebook/record"
)

// Columns of the user table, beyond Auth.js's own, that the suite needs: one of
// text and one of whole numbers, null when not given.
const (
	TextColumn   = "nickname"
	NumberColumn = "shoe"
)

// SQL is implemented by adapters on database/sql. On those that have it the
// suite tests acts in the application's own transaction; on others such acts
// must fail with an error that matches [errors.ErrUnsupported].
type SQL interface {
	// SQL returns the pool that the adapter works on.
	SQL() *sql.DB
}

// patience is how long one subtest may take before whatever hangs is called
// hung.
const patience = 2 * time.Minute

// Run tests the adapters that newAdapter returns. It calls newAdapter once for
// each subtest. The adapter must be ready for use, empty but for what its
// migrations put there, with [TextColumn] and [NumberColumn] in its user table,
// and is released with t.Cleanup. A failure begins with the rule that was
// broken. Opts may be nil.
func Run(t *testing.T, newAdapter func(t *testing.T) gatebook.Adapter, opts *Options) {
	t.Helper()
	if opts == nil {
		opts = new(Options)
	}
	for _, group := range []struct {
		name  string
		rules []rule
	}{
		{"Official", officialRules},
		{"Find", findRules},
		{"Alike", alikeRules},
		{"Broken", brokenRules},
		{"Column", columnRules},
		{"User", userRules},
		{"Account", accountRules},
		{"Session", sessionRules},
		{"Token", tokenRules},
		{"Adopt", adoptRules},
		{"Passkey", passkeyRules},
		{"Keep", keepRules},
		{"Once", onceRules},
		{"Housekeeping", housekeepingRules},
		{"Ability", abilityRules},
		{"Time", timeRules},
		{"Act", actRules},
		{"Outbox", outboxRules},
		{"Race", raceRules},
		{"Order", orderRules},
		{"Tx", txRules},
		{"Context", contextRules},
		{"Unready", unreadyRules},
	} {
		t.Run(group.name, func(t *testing.T) {
			for _, r := range group.rules {
				t.Run(r.name, func(t *testing.T) {
					ctx, cancel := context.WithTimeoutCause(t.Context(), patience,
						fmt.Errorf("still not done after %v", patience))
					defer cancel()
					w := &world{T: t, ctx: ctx, rule: r.text, opts: opts, a: newAdapter(t)}
					r.test(w)
				})
			}
		})
	}
	if opts.Line != nil {
		t.Run("Lost", func(t *testing.T) { runLost(t, opts) })
	}
}

// rule is one rule of the contract with its test.
type rule struct {
	name string
	text string
	test func(*world)
}

// world is what a subtest works with.
type world struct {
	*testing.T
	ctx  context.Context
	rule string
	opts *Options
	a    gatebook.Adapter
	id   book.Identity
}

// Errorf reports a failure below the rule it breaks.
func (w *world) Errorf(format string, args ...any) {
	w.Helper()
	w.T.Errorf("%s\n\t%s", w.rule, fmt.Sprintf(format, args...))
}

// Fatalf is Errorf and ends the subtest.
func (w *world) Fatalf(format string, args ...any) {
	w.Helper()
	w.T.Fatalf("%s\n\t%s", w.rule, fmt.Sprintf(format, args...))
}

// now is a time that every store can keep: whole milliseconds.
var now = time.Date(2031, time.March, 9, 7, 5, 3, 217e6, time.UTC)

// uuid returns a random UUID, version 7 in form.
func uuid() string {
	var b [16]byte
	rand.Read(b[:])
	ms := time.Now().UnixMilli()
	for i := range 6 {
		b[i] = byte(ms >> (40 - 8*i))
	}
	b[6] = b[6]&0x0f | 0x70
	b[8] = b[8]&0x3f | 0x80
	s := hex.EncodeToString(b[:])
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}

func digest() (d [32]byte) {
	rand.Read(d[:])
	return d
}

// lastID is the last number given to a user, where ids are numbers that the
// database does not make, or to a row of the application's own table.
var lastID atomic.Int64

// newID returns an id for a user, that none has.
func (w *world) newID() string {
	w.Helper()
	if m, ok := w.a.(gatebook.IDMaker); ok {
		id, err := m.NewUserID(w.ctx, gatebook.User{}, nil)
		if err != nil {
			w.Fatalf("NewUserID: %v", err)
		}
		return id
	}
	if w.opts.IDs == IntegerIDs {
		return strconv.FormatInt(1000+lastID.Add(1), 10)
	}
	return uuid()
}

// user returns a user that nobody else in the test is.
func (w *world) user() gatebook.User {
	w.Helper()
	name := uuid()
	return gatebook.User{
		ID:            w.newID(),
		Name:          "Ada " + name[len(name)-4:],
		Email:         name + "@example.com",
		Image:         "https://example.com/" + name + ".png",
		EmailVerified: now,
	}
}

// extra returns values for [TextColumn] and [NumberColumn], if there are such.
func (w *world) extra(text, number any) map[string]any {
	if w.opts.NoExtra {
		return nil
	}
	return map[string]any{TextColumn: text, NumberColumn: number}
}

func create(u gatebook.User) gatebook.CreateUser {
	return gatebook.CreateUser{User: u, Subject: record.NewKey()}
}

func account(u gatebook.User) gatebook.Account {
	return gatebook.Account{
		UserID: u.ID, Type: gatebook.TypeOAuth, Provider: "github", ProviderAccountID: uuid(),
		AccessToken: gatebook.Secret(rand.Text()), RefreshToken: gatebook.Secret(rand.Text()),
		ExpiresAt: now.Unix(), TokenType: "bearer", Scope: "user", SessionState: "1",
	}
}

func key(a gatebook.Account) gatebook.AccountKey {
	return gatebook.AccountKey{Provider: a.Provider, ProviderAccountID: a.ProviderAccountID}
}

func session(u gatebook.User) gatebook.StoredSession {
	return gatebook.StoredSession{
		Token: gatebook.Secret(rand.Text()), UserID: u.ID, Expires: now.Add(30 * 24 * time.Hour),
		ID: uuid(), Begun: now, Provider: "github",
	}
}

func link() gatebook.VerificationToken {
	d := digest()
	return gatebook.VerificationToken{
		Identifier: uuid() + "@example.com", Hash: hex.EncodeToString(d[:]), Expires: now.Add(24 * time.Hour),
	}
}

// entry returns an entry about u that the book takes.
func (w *world) entry(u gatebook.User) record.Entry {
	w.Helper()
	if w.id.ID == "" {
		id, err := w.a.Book().Identity(w.ctx)
		if err != nil {
			w.Fatalf("the book's Identity: %v", err)
		}
		w.id = id
	}
	subject := record.NewKey()
	block, err := record.NewBlock(record.ClassIdentity, subject, record.Person{ID: u.ID, Email: u.Email, Name: u.Name})
	if err != nil {
		w.Fatalf("NewBlock: %v", err)
	}
	e, err := record.New(record.Header{
		Book: w.id.ID, ID: uuid(), Type: record.TypeUpdateUser, TypeVersion: 1, Source: record.SourceGatebook,
		Time: time.Now(), Act: uuid(), Outcome: record.Success, Subject: subject,
	}, []record.Block{block}, []record.Term{record.NewTerm(w.id.SearchKey, record.TermUser, u.ID)})
	if err != nil {
		w.Fatalf("record.New: %v", err)
	}
	return e
}

func (w *world) commit(writes ...gatebook.Write) {
	w.Helper()
	w.act(&gatebook.Act{Writes: writes})
}

func (w *world) act(act *gatebook.Act) {
	w.Helper()
	if err := w.a.Commit(w.ctx, act); err != nil {
		w.Fatalf("Commit(%s) failed, want success: %v", kinds(act.Writes), err)
	}
}

// conflicts commits writes and wants a conflict.
func (w *world) conflicts(what string, writes ...gatebook.Write) {
	w.Helper()
	if err := w.a.Commit(w.ctx, &gatebook.Act{Writes: writes}); !errors.Is(err, gatebook.ErrConflict) {
		w.Errorf("Commit(%s) of %s = %v, want an error that matches ErrConflict", kinds(writes), what, err)
	}
}

func kinds(writes []gatebook.Write) string {
	s := ""
	for i, wr := range writes {
		if i > 4 {
			return s + ", …"
		}
		if i > 0 {
			s += ", "
		}
		s += fmt.Sprintf("%T", wr)
	}
	return s
}

func (w *world) find(q gatebook.Query) *gatebook.Found {
	w.Helper()
	f, err := w.a.Find(w.ctx, q)
	if err != nil {
		w.Fatalf("Find failed: %v", err)
	}
	if f == nil {
		w.Fatalf("Find = nil, nil; want an answer")
	}
	return f
}

func (w *world) session(token gatebook.Secret) *gatebook.FoundSession {
	w.Helper()
	f, err := w.a.Session(w.ctx, token)
	if err != nil || f == nil {
		w.Fatalf("Session of a session that was created = %v, %v", f, err)
	}
	return f
}

// opens reports whether token opens a session.
func (w *world) opens(token gatebook.Secret) bool {
	w.Helper()
	f, err := w.a.Session(w.ctx, token)
	switch {
	case err == nil && f != nil:
		return true
	case errors.Is(err, gatebook.ErrNotFound):
		return false
	}
	w.Fatalf("Session = %v, %v; want a session or an error that matches ErrNotFound", f, err)
	return false
}

func (w *world) handle(token gatebook.Secret) string {
	w.Helper()
	return w.session(token).Session.Handle
}

// log numbers what waits in the outbox and returns the log's ids in order.
func (w *world) log() []string {
	w.Helper()
	var ids []string
	for _, e := range w.entries(book.Query{}) {
		ids = append(ids, e.Header.ID)
	}
	return ids
}

func (w *world) entries(q book.Query) []book.Entry {
	w.Helper()
	b := w.a.Book()
	if err := b.Drain(w.ctx); err != nil {
		w.Fatalf("the book's Drain: %v", err)
	}
	q.Limit = 1000
	var all []book.Entry
	for {
		page, err := b.Read(w.ctx, q)
		if err != nil {
			w.Fatalf("the book's Read: %v", err)
		}
		if len(page) == 0 {
			return all
		}
		all = append(all, page...)
		q.After = page[len(page)-1].Seq
	}
}

// recorded reports whether all of the entries are in outbox or log.
func (w *world) recorded(entries ...record.Entry) bool {
	w.Helper()
	ok, err := w.a.Book().Recorded(w.ctx, ids(entries)...)
	if err != nil {
		w.Fatalf("the book's Recorded: %v", err)
	}
	return ok
}

func ids(entries []record.Entry) []string {
	var list []string
	for _, e := range entries {
		list = append(list, e.ID)
	}
	return list
}

// unchanged returns a function that fails the test unless the adapter answers
// everything about users as it does now.
func (w *world) unchanged(q gatebook.Query, users ...string) func(after string) {
	w.Helper()
	see := func() string {
		w.Helper()
		s := show(w.find(q))
		for _, id := range users {
			rows, err := w.a.Sessions(w.ctx, id)
			if err != nil {
				w.Fatalf("Sessions: %v", err)
			}
			slices.SortFunc(rows, func(a, b gatebook.StoredSession) int { return strings.Compare(a.Handle, b.Handle) })
			s += showUser(w.find(gatebook.Query{UserID: id}).ByID) + fmt.Sprintf(" sessions %v\n", rows)
		}
		return s
	}
	before := see()
	return func(after string) {
		w.Helper()
		if got := see(); got != before {
			w.Errorf("%s left something behind:\n%s\nbefore it was\n%s", after, got, before)
		}
	}
}
