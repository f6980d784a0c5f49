package gatebook_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/book"
	"github.com/gatebook/gatebook/record"
)

// writes are the application's own, with what each tells of.
var writes = []struct {
	name string
	act  func(context.Context, writer) error
	typ  string
	text string
}{
	{"CreateUser", func(ctx context.Context, w writer) error {
		u, err := w.CreateUser(ctx, gatebook.User{Name: "Grace", Email: "Grace@Example.com"})
		if err == nil && (u.ID == "" || u.Email != "grace@example.com") {
			err = fmt.Errorf("CreateUser = %+v", u)
		}
		return err
	}, "createUser", "createUser user={SUBJECT Grace <grace@example.com> } signInInfo=nil"},
	{"UpdateUser", func(ctx context.Context, w writer) error {
		u, err := w.UpdateUser(ctx, gatebook.User{ID: "u-1", Name: "not named", Email: "New@Example.com", Extra: map[string]any{"plan": "pro"}}, "plan", "email", "plan")
		if err == nil && (u.Name != "Ada" || u.Email != "new@example.com" || u.Extra["plan"] != "pro") {
			err = fmt.Errorf("UpdateUser = %+v", u)
		}
		return err
	}, "updateUser", "updateUser user={SUBJECT Ada <new@example.com>  map[plan:pro]} changed=[email plan]"},
	{"LinkAccount", func(ctx context.Context, w writer) error {
		return w.LinkAccount(ctx, gatebook.Account{UserID: "u-1", Type: "oidc", Provider: "idp", ProviderAccountID: "77", AccessToken: "at"})
	}, "linkAccount", `linkAccount user={SUBJECT Ada <ada@example.com> } account={oidc idp 77 of "SUBJECT", "at" "" "" 0 "" "" "" {}} profile=nil`},
	{"UnlinkAccount", func(ctx context.Context, w writer) error {
		return w.UnlinkAccount(ctx, "u-1", gatebook.AccountKey{Provider: "old", ProviderAccountID: "1"})
	}, "unlinkAccount", "unlinkAccount"},
	{"RevokeSessions", func(ctx context.Context, w writer) error {
		n, err := w.RevokeSessions(ctx, "u-1")
		if err == nil && n != 2 {
			err = fmt.Errorf("RevokeSessions = %d, want 2", n)
		}
		return err
	}, "session.revoked", "session.revoked"},
	{"RevokeSession", func(ctx context.Context, w writer) error { return w.RevokeSession(ctx, "u-1", "sid 1") }, "session.revoked", "session.revoked"},
	{"RevokeOtherSessions", func(ctx context.Context, w writer) error {
		n, err := w.RevokeOtherSessions(ctx, "u-1", "sid 1")
		if err == nil && n != 1 {
			err = fmt.Errorf("RevokeOtherSessions = %d, want 1", n)
		}
		return err
	}, "session.revoked", "session.revoked"},
	{"DeleteUser", func(ctx context.Context, w writer) error { return w.DeleteUser(ctx, "u-1") }, "deleteUser", "deleteUser"},
}

// writer is what Auth and Transaction have in common.
type writer interface {
	CreateUser(context.Context, gatebook.User) (*gatebook.User, error)
	UpdateUser(context.Context, gatebook.User, ...string) (*gatebook.User, error)
	DeleteUser(context.Context, string) error
	LinkAccount(context.Context, gatebook.Account) error
	UnlinkAccount(context.Context, string, gatebook.AccountKey) error
	RevokeSession(ctx context.Context, userID, sid string) error
	RevokeOtherSessions(ctx context.Context, userID, sid string) (int, error)
	RevokeSessions(context.Context, string) (int, error)
}

// withAda sets up the user u-1 with an account and two sessions.
func withAda(t *testing.T, d *desk) {
	t.Helper()
	ctx := context.Background()
	if _, err := d.auth.CreateUser(ctx, gatebook.User{ID: "u-1", Name: "Ada", Email: "ada@example.com"}); err != nil {
		t.Fatal(err)
	}
	if err := d.auth.LinkAccount(ctx, gatebook.Account{UserID: "u-1", Type: "oidc", Provider: "old", ProviderAccountID: "1"}); err != nil {
		t.Fatal(err)
	}
	d.sessions("u-1", 2)
	d.heard.reset()
}

func (d *desk) sessions(user string, n int) {
	d.t.Helper()
	act := &gatebook.Act{}
	for i := range n {
		act.Writes = append(act.Writes, gatebook.CreateSession{Session: gatebook.StoredSession{
			Token: gatebook.Secret(fmt.Sprint(user, " token ", i)), UserID: user, ID: fmt.Sprint("sid ", i), Expires: time.Now().Add(time.Hour)}})
	}
	if err := d.store.Commit(context.Background(), act); err != nil {
		d.t.Fatal(err)
	}
}

func TestOwnWrites(t *testing.T) {
	for _, tt := range writes {
		t.Run(tt.name, func(t *testing.T) {
			d := newDesk(t, nil)
			withAda(t, d)
			before := len(d.entries())
			if err := tt.act(context.Background(), d.auth); err != nil {
				t.Fatal(err)
			}
			events, entries := d.heard.all(), d.entries()[before:]
			if len(events) != 1 || len(entries) != 1 || events[0].Meta().ID != entries[0].Header.ID {
				t.Fatalf("heard %v, recorded %v", d.heard.types(), types(entries))
			}
			m := events[0].Meta()
			if got := (namer{m.Subject: "SUBJECT"}).text(events[0]); got != tt.text {
				t.Errorf("told %s\nwant %s", got, tt.text)
			}
			if m.Type != tt.typ || m.Source != record.SourceApp || m.Actor != (gatebook.Actor{Type: record.ActorApp}) || m.Initiator != "system" ||
				m.Outcome != record.Success || m.Request != (gatebook.RequestInfo{}) || m.Subject == "" {
				t.Errorf("envelope %+v", m)
			}
			if h := entries[0].Header; h.Type != tt.typ || h.Act != m.Act || h.Source != record.SourceApp || h.ActorType != record.ActorApp || !h.Actor.IsZero() || h.Subject.IsZero() {
				t.Errorf("recorded %s", entries[0].Raw)
			}
			switch e := events[0].(type) {
			case *gatebook.SessionRevokedEvent:
				p := payload[record.SessionEnd](t, entries[0], record.ClassIdentity)
				want := map[string]record.SessionEnd{
					"RevokeSessions":      {Scope: "all", Count: 2},
					"RevokeOtherSessions": {Scope: "others", Count: 1},
					"RevokeSession":       {Scope: "one", Count: 1, Session: "sid 1"},
				}[tt.name]
				if e.Scope != want.Scope || e.Count != want.Count || e.User.ID != "u-1" || p.Scope != want.Scope || p.Count != want.Count ||
					m.Session != want.Session || p.Session != want.Session || p.Why != "app" || p.User.ID != "u-1" || p.Strategy != gatebook.StrategyDatabase {
					t.Errorf("told %+v, recorded %+v", e, p)
				}
				for i := range 2 {
					_, err := d.auth.Verify(context.Background(), fmt.Sprint("u-1 token ", i))
					ended := want.Scope == "all" || (i == 1) == (want.Scope == "one")
					if errors.Is(err, gatebook.ErrNoSession) != ended {
						t.Errorf("session %d: %v, want it to have ended: %v", i, err, ended)
					}
				}
			case *gatebook.DeleteUserEvent:
				if e.User.Email != "ada@example.com" {
					t.Errorf("told %+v", e.User)
				}
			case *gatebook.UnlinkAccountEvent:
				if e.User.ID != "u-1" || e.Account.Provider != "old" || e.Account.ProviderAccountID != "1" {
					t.Errorf("told %+v", e)
				}
			}
		})
	}
}

// A write in a request of somebody signed in has them as actor, and their
// address and browser in their own block.
func TestActorOfOwnWrites(t *testing.T) {
	strategies(t, func(t *testing.T, strategy string) {
		t.Helper()
		for _, tt := range writes {
			if tt.typ == record.TypeSessionRevoked && strategy == gatebook.StrategyJWT {
				continue // those of token sessions are in TestRevokeSession
			}
			t.Run(tt.name, func(t *testing.T) {
				d := newDesk(t, with2(strategy))
				withAda(t, d)
				d.idp.prove("admin", "admin@example.com", true)
				v := d.visitor()
				v.header.Set("User-Agent", "Admin's browser")
				v.signIn()
				admin := d.heard.all()[0].Meta().Subject
				d.heard.reset()
				before := d.entries()
				adminKey := of(before, record.TypeSignIn)[0].Header.Subject
				v.send(d.auth.Middleware(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
					if err := tt.act(r.Context(), d.auth); err != nil {
						t.Error(err)
					}
				})), v.request("POST", "/admin", nil))
				entries := of(d.entries()[len(before):], tt.typ)
				var m *gatebook.Envelope
				for _, ev := range d.heard.all() {
					if ev.Meta().Type == tt.typ {
						m = ev.Meta()
					}
				}
				if len(entries) != 1 || m == nil {
					t.Fatalf("recorded %v, heard %v", types(entries), d.heard.types())
				}
				if m.Actor != (gatebook.Actor{Type: record.ActorUser, ID: admin}) || m.Initiator != "user" || m.Source != record.SourceApp ||
					m.Request.UserAgent != "Admin's browser" || m.Request.Method != "POST" || m.Subject == admin {
					t.Errorf("envelope %+v", m)
				}
				e := entries[0]
				if e.Header.Actor != adminKey || e.Header.Subject == adminKey {
					t.Errorf("recorded %s, want the actor %s", e.Raw, adminKey)
				}
				for i, b := range e.Blocks {
					if (b.Class == record.ClassRequest) != (e.Header.Blocks[i].Subject == adminKey) {
						t.Errorf("a block of class %s is of %s", b.Class, e.Header.Blocks[i].Subject)
					}
				}
			})
		}
	})
}

func TestOwnWriteErrors(t *testing.T) {
	ctx := context.Background()
	nobody := gatebook.AccountKey{Provider: "old", ProviderAccountID: "2"}
	account := gatebook.Account{UserID: "u-1", Type: "oidc", Provider: "old", ProviderAccountID: "1"}
	tests := []struct {
		name string
		act  func(writer) error
		want error
	}{
		{"id taken", func(w writer) error { _, err := w.CreateUser(ctx, gatebook.User{ID: "u-1"}); return err }, gatebook.ErrConflict},
		{"address taken", func(w writer) error {
			_, err := w.CreateUser(ctx, gatebook.User{Email: "ADA@example.com"})
			return err
		}, gatebook.ErrConflict},
		{"update nobody", func(w writer) error { _, err := w.UpdateUser(ctx, gatebook.User{ID: "x"}, "name"); return err }, gatebook.ErrNotFound},
		{"update without id", func(w writer) error { _, err := w.UpdateUser(ctx, gatebook.User{}, "name"); return err }, gatebook.ErrNotFound},
		{"update to a taken address", func(w writer) error {
			_, err := w.UpdateUser(ctx, gatebook.User{ID: "u-1", Email: "grace@example.com"}, "email")
			return err
		}, gatebook.ErrConflict},
		{"update nothing", func(w writer) error { _, err := w.UpdateUser(ctx, gatebook.User{ID: "u-1"}); return err }, nil},
		{"update an unknown field", func(w writer) error { _, err := w.UpdateUser(ctx, gatebook.User{ID: "u-1"}, "plan"); return err }, nil},
		{"delete nobody", func(w writer) error { return w.DeleteUser(ctx, "x") }, gatebook.ErrNotFound},
		{"delete without id", func(w writer) error { return w.DeleteUser(ctx, "") }, gatebook.ErrNotFound},
		{"link to nobody", func(w writer) error { a := account; a.UserID = "x"; return w.LinkAccount(ctx, a) }, gatebook.ErrNotFound},
		{"link what is linked", func(w writer) error { return w.LinkAccount(ctx, account) }, gatebook.ErrConflict},
		{"link without provider", func(w writer) error { a := account; a.Provider = ""; return w.LinkAccount(ctx, a) }, nil},
		{"unlink what is not linked", func(w writer) error { return w.UnlinkAccount(ctx, "u-1", nobody) }, gatebook.ErrNotFound},
		{"unlink another's", func(w writer) error {
			return w.UnlinkAccount(ctx, "u-2", gatebook.AccountKey{Provider: "old", ProviderAccountID: "1"})
		}, gatebook.ErrNotFound},
		{"unlink from nobody", func(w writer) error { return w.UnlinkAccount(ctx, "x", nobody) }, gatebook.ErrNotFound},
		{"revoke nobody's", func(w writer) error { _, err := w.RevokeSessions(ctx, "x"); return err }, gatebook.ErrNotFound},
		{"revoke another's", func(w writer) error { return w.RevokeSession(ctx, "u-2", "sid 1") }, gatebook.ErrNotFound},
		{"revoke an unknown one", func(w writer) error { return w.RevokeSession(ctx, "u-1", "sid 7") }, gatebook.ErrNotFound},
		{"revoke without id", func(w writer) error { return w.RevokeSession(ctx, "u-1", "") }, gatebook.ErrNotFound},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := newDesk(t, nil)
			withAda(t, d)
			if _, err := d.auth.CreateUser(ctx, gatebook.User{ID: "u-2", Email: "grace@example.com"}); err != nil {
				t.Fatal(err)
			}
			d.heard.reset()
			before := len(d.entries())
			err := tt.act(d.auth)
			if err == nil || tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
			if got := d.entries()[before:]; len(got) != 0 || len(d.heard.types()) != 0 {
				t.Errorf("recorded %v, heard %v", types(got), d.heard.types())
			}
		})
	}
	t.Run("token sessions", func(t *testing.T) {
		d := newDesk(t, with2(gatebook.StrategyJWT))
		if _, err := d.auth.RevokeSessions(ctx, "u-1"); !errors.Is(err, gatebook.ErrNotRevocable) {
			t.Errorf("RevokeSessions = %v, want ErrNotRevocable", err)
		}
	})
	t.Run("no sessions", func(t *testing.T) {
		d := newDesk(t, nil)
		if _, err := d.auth.CreateUser(ctx, gatebook.User{ID: "u-1"}); err != nil {
			t.Fatal(err)
		}
		if n, err := d.auth.RevokeSessions(ctx, "u-1"); n != 0 || err != nil || len(d.entries()) != 1 {
			t.Errorf("RevokeSessions = %d, %v; recorded %v", n, err, types(d.entries()))
		}
	})
	t.Run("no adapter", func(t *testing.T) {
		d := newDesk(t, func(d *desk, c *gatebook.Config) {
			c.Adapter, c.Book, c.Providers = nil, book.New(book.NewMemory()), []gatebook.Provider{d.idp}
		})
		for _, w := range writes {
			if err := w.act(ctx, d.auth); err == nil {
				t.Errorf("%s without an adapter gives no error", w.name)
			}
		}
	})
}

// However many sessions there are, all end.
func TestRevokeManySessions(t *testing.T) {
	for _, n := range []int{1, 999, 1000, 1001, 2500} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			d := newDesk(t, nil)
			ctx := context.Background()
			if _, err := d.auth.CreateUser(ctx, gatebook.User{ID: "u-1"}); err != nil {
				t.Fatal(err)
			}
			d.sessions("u-1", n)
			got, err := d.auth.RevokeSessions(ctx, "u-1")
			if err != nil || got != n {
				t.Errorf("RevokeSessions = %d, %v, want %d", got, err, n)
			}
			left, err := d.store.Sessions(ctx, "u-1")
			if err != nil || len(left) != 0 {
				t.Errorf("%d sessions are left, %v", len(left), err)
			}
			total := 0
			for _, e := range of(d.entries(), record.TypeSessionRevoked) {
				total += payload[record.SessionEnd](t, e, record.ClassIdentity).Count
			}
			if total != n {
				t.Errorf("recorded the end of %d sessions, want %d", total, n)
			}
			if n <= 1000 {
				return
			}
			d.sessions("u-1", n)
			if got, err := d.auth.InTransaction(new(sql.Tx)).RevokeSessions(ctx, "u-1"); err == nil || got != 1000 {
				t.Errorf("in a transaction: %d, %v, want an error after 1000", got, err)
			}
		})
	}
}

// Half way the store fails: what had ended is said.
func TestRevokeHalf(t *testing.T) {
	d := newDesk(t, nil)
	ctx := context.Background()
	if _, err := d.auth.CreateUser(ctx, gatebook.User{ID: "u-1"}); err != nil {
		t.Fatal(err)
	}
	d.sessions("u-1", 1500)
	commits := 0
	d.store.fault(func(op string, _ *gatebook.Act) error {
		if op == "Commit" {
			if commits++; commits == 2 {
				return errors.New("down")
			}
		}
		return nil
	}, nil)
	if n, err := d.auth.RevokeSessions(ctx, "u-1"); err == nil || n != 1000 {
		t.Errorf("RevokeSessions = %d, %v, want 1000 and an error", n, err)
	}
}

// In the application's transaction the handlers are called when it says that it
// has committed, and nothing is tried again.
func TestInTransaction(t *testing.T) {
	for _, tt := range writes {
		t.Run(tt.name, func(t *testing.T) {
			d := newDesk(t, nil)
			withAda(t, d)
			tx := new(sql.Tx)
			acts := 0
			d.store.fault(func(op string, act *gatebook.Act) error {
				if op == "Commit" {
					if acts++; act.Tx != tx {
						t.Error("the act is not in the application's transaction")
					}
				}
				return nil
			}, nil)
			x := d.auth.InTransaction(tx)
			if err := tt.act(context.Background(), x); err != nil {
				t.Fatal(err)
			}
			if got := d.heard.types(); len(got) != 0 {
				t.Errorf("heard %v before the commit", got)
			}
			x.Committed(context.Background())
			x.Committed(context.Background())
			if got := d.heard.types(); !slices.Equal(got, []string{tt.typ}) || acts != 1 {
				t.Errorf("heard %v in %d acts", got, acts)
			}
		})
	}
	t.Run("order", func(t *testing.T) {
		d := newDesk(t, nil)
		x := d.auth.InTransaction(new(sql.Tx))
		ctx := context.Background()
		if _, err := x.CreateUser(ctx, gatebook.User{ID: "u-1"}); err != nil {
			t.Fatal(err)
		}
		if _, err := x.UpdateUser(ctx, gatebook.User{ID: "u-1", Name: "Ada"}, "name"); err != nil {
			t.Fatal(err)
		}
		if err := x.DeleteUser(ctx, "u-1"); err != nil {
			t.Fatal(err)
		}
		if err := x.DeleteUser(ctx, "u-1"); !errors.Is(err, gatebook.ErrNotFound) {
			t.Errorf("DeleteUser again = %v", err)
		}
		x.Committed(ctx)
		if got := d.heard.types(); !slices.Equal(got, []string{"createUser", "updateUser", "deleteUser"}) {
			t.Errorf("heard %v", got)
		}
	})
	t.Run("conflict", func(t *testing.T) {
		d := newDesk(t, nil)
		withAda(t, d)
		n := d.store.count()
		d.store.fault(func(op string, _ *gatebook.Act) error {
			if op == "Commit" {
				return gatebook.ErrConflict
			}
			return nil
		}, nil)
		x := d.auth.InTransaction(new(sql.Tx))
		if err := x.DeleteUser(context.Background(), "u-1"); !errors.Is(err, gatebook.ErrConflict) || d.store.count() != n+1 {
			t.Errorf("DeleteUser = %v after %d tries, want one: the transaction has failed", err, d.store.count()-n)
		}
		x.Committed(context.Background())
		if got := d.heard.types(); len(got) != 0 {
			t.Errorf("heard %v of what failed", got)
		}
	})
	t.Run("memory", func(t *testing.T) {
		d := newDesk(t, func(d *desk, c *gatebook.Config) { c.Adapter = d.store.Store })
		if _, err := d.auth.InTransaction(new(sql.Tx)).CreateUser(context.Background(), gatebook.User{}); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("CreateUser in a transaction of a database that memory is not = %v", err)
		}
	})
}

// A write that meets another act runs again from its reads, at most three times
// more.
func TestOwnWritesRunAgain(t *testing.T) {
	for _, tt := range writes {
		for _, conflicts := range []int{1, 3, 4} {
			t.Run(fmt.Sprint(tt.name, " ", conflicts), func(t *testing.T) {
				d := newDesk(t, nil)
				withAda(t, d)
				before := len(d.entries())
				n := 0
				d.store.fault(func(op string, _ *gatebook.Act) error {
					if op == "Commit" {
						if n++; n <= conflicts {
							return fmt.Errorf("deadlock: %w", gatebook.ErrConflict)
						}
					}
					return nil
				}, nil)
				err := tt.act(context.Background(), d.auth)
				want := []string{tt.typ}
				if conflicts > 3 {
					want = nil
					if !errors.Is(err, gatebook.ErrConflict) || !strings.Contains(err.Error(), "4 tries") {
						t.Errorf("error %v", err)
					}
				} else if err != nil {
					t.Error(err)
				}
				if n != min(conflicts+1, 4) {
					t.Errorf("%d commits, want %d", n, min(conflicts+1, 4))
				}
				d.store.fault(nil, nil)
				if got := types(d.entries()[before:]); !slices.Equal(got, want) || !slices.Equal(d.heard.types(), want) {
					t.Errorf("recorded %v, heard %v, want %v", got, d.heard.types(), want)
				}
			})
		}
	}
}

// A write is not undone half way because the visitor hung up.
func TestOwnWriteOutlivesTheRequest(t *testing.T) {
	d := newDesk(t, nil)
	ctx, hangUp := context.WithCancel(context.Background())
	d.store.fault(func(op string, _ *gatebook.Act) error {
		if op == "Commit" {
			hangUp()
		}
		return nil
	}, nil)
	if _, err := d.auth.CreateUser(ctx, gatebook.User{ID: "u-1"}); err != nil || !slices.Equal(d.heard.types(), []string{"createUser"}) {
		t.Errorf("CreateUser = %v, heard %v", err, d.heard.types())
	}
}

// In no InTx handler's context can sessions be revoked either.
func TestRevokeInsideInTx(t *testing.T) {
	d := newDesk(t, func(d *desk, c *gatebook.Config) {
		c.InTx.CreateUser = func(ctx context.Context, _ *sql.Tx, _ *gatebook.CreateUserEvent) error {
			_, err := d.auth.RevokeSessions(ctx, "u-1")
			if err == nil || !strings.Contains(err.Error(), "inside an InTx handler") {
				t.Errorf("RevokeSessions = %v", err)
			}
			return nil
		}
	})
	if _, err := d.auth.CreateUser(context.Background(), gatebook.User{ID: "u-1"}); err != nil {
		t.Fatal(err)
	}
}

// One request may write from several goroutines.
func TestConcurrentOwnWrites(t *testing.T) {
	d := newDesk(t, nil)
	v := d.visitor()
	v.signIn()
	admin := d.heard.all()[0].Meta().Subject
	d.cfg.Events = gatebook.Events{} // so that reading the session makes no envelope
	d.auth = d.open(d.cfg)
	v.send(d.auth.Middleware(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				if _, err := d.auth.CreateUser(r.Context(), gatebook.User{ID: fmt.Sprint(i)}); err != nil {
					t.Error(err)
				}
				if _, err := d.auth.UpdateUser(r.Context(), gatebook.User{ID: admin, Name: fmt.Sprint(i)}, "name"); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	})), v.request("POST", "/", nil))
	if got := d.entries(); len(of(got, record.TypeCreateUser)) != 9 || len(of(got, record.TypeUpdateUser)) != 8 {
		t.Errorf("recorded %v", types(got))
	}
}

// A user whom the book has not met gets a subject key with the first write, and
// keeps it.
func TestUserOfAnotherProgram(t *testing.T) {
	d := newDesk(t, nil)
	ctx := context.Background()
	// Another program's row has no key.
	if err := d.store.Store.Commit(ctx, &gatebook.Act{Writes: []gatebook.Write{gatebook.CreateUser{User: gatebook.User{ID: "u-1"}}}}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b"} {
		if _, err := d.auth.UpdateUser(ctx, gatebook.User{ID: "u-1", Name: name}, "name"); err != nil {
			t.Fatal(err)
		}
	}
	found, err := d.store.Find(ctx, gatebook.Query{UserID: "u-1"})
	if err != nil || found.ByID == nil {
		t.Fatal(found, err)
	}
	var keys []record.Key
	for _, e := range d.entries() {
		keys = append(keys, e.Header.Subject)
	}
	if diff := cmp.Diff([]record.Key{found.ByID.Subject, found.ByID.Subject, found.ByID.Subject}, keys); diff != "" || found.ByID.Subject.IsZero() {
		t.Errorf("subject keys (-want +got):\n%s", diff)
	}
	d.checkTypes(record.TypeUserAdopted, record.TypeUpdateUser, record.TypeUpdateUser)
}
