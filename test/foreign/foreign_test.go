package foreign_test

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/adapter/mysql"
	"github.com/gatebook/gatebook/adapter/postgres"
	"github.com/gatebook/gatebook/adapter/sqlite"
	"github.com/gatebook/gatebook/adapter/sqlstore"
	"github.com/gatebook/gatebook/book"
	"github.com/gatebook/gatebook/provider/credentials"
	"github.com/gatebook/gatebook/test/need"
)

// store is one program's connection to a database.
type store interface {
	gatebook.Adapter
	SQL() *sql.DB
	Close() error
}

// site is two programs on one database, in which another program has begun a
// session for the user u1.
type site struct {
	t      *testing.T
	stores []store
	auths  []*gatebook.Auth
}

const token = "a-token-of-another-program"

// on runs fn for each database.
func on(t *testing.T, fn func(*site)) {
	t.Helper()
	for name, start := range map[string]func(*testing.T) (open func() (store, error), insert string){
		"sqlite": func(t *testing.T) (func() (store, error), string) {
			t.Helper()
			path := filepath.Join(t.TempDir(), "site.db")
			return func() (store, error) { return sqlite.OpenLayout(path, sqlstore.SQLite) },
				`INSERT INTO "session" ("sessionToken", "userId", "expires") VALUES (?, ?, strftime('%s', 'now') * 1000 + ?)`
		},
		"postgres": func(t *testing.T) (func() (store, error), string) {
			t.Helper()
			address := need.Postgres(t)
			return func() (store, error) { return postgres.OpenLayout(t.Context(), address, sqlstore.Postgres) },
				`INSERT INTO "session" ("sessionToken", "userId", "expires") VALUES ($1, $2, now() AT TIME ZONE 'utc' + $3 * interval '1 ms')`
		},
		"mysql": func(t *testing.T) (func() (store, error), string) {
			t.Helper()
			dsn := need.MySQL(t)
			return func() (store, error) { return mysql.OpenLayout(t.Context(), dsn, sqlstore.MySQL) },
				"INSERT INTO session (sessionToken, userId, expires) VALUES (?, ?, UTC_TIMESTAMP(3) + INTERVAL ? * 1000 MICROSECOND)"
		},
	} {
		t.Run(name, func(t *testing.T) {
			open, insert := start(t)
			s := &site{t: t}
			for range 2 {
				db, err := open()
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = db.Close() })
				s.stores, s.auths = append(s.stores, db), append(s.auths, newAuth(t, db))
			}
			for _, id := range []string{"u1", "u2"} {
				u := gatebook.User{ID: id, Name: "Ada", Email: id + "@example.com"}
				if err := s.stores[0].Commit(t.Context(), &gatebook.Act{Writes: []gatebook.Write{gatebook.CreateUser{User: u}}}); err != nil {
					t.Fatal(err)
				}
			}
			digest := sha256.Sum256([]byte(token))
			if _, err := s.stores[0].SQL().ExecContext(t.Context(), insert, hex.EncodeToString(digest[:]), "u1", time.Hour.Milliseconds()); err != nil {
				t.Fatal(err)
			}
			fn(s)
		})
	}
}

func newAuth(t *testing.T, a gatebook.Adapter) *gatebook.Auth {
	t.Helper()
	p, err := credentials.New(credentials.Config{Authorize: func(_ context.Context, form map[string]string, _ *http.Request) (*gatebook.User, error) {
		return &gatebook.User{ID: form["username"]}, nil
	}, Fields: []gatebook.Field{{Name: "username"}}})
	if err != nil {
		t.Fatal(err)
	}
	auth, err := gatebook.New(gatebook.Config{Secrets: []gatebook.Secret{"0123456789abcdef0123456789abcdef"}, URL: "http://localhost",
		Adapter: a, Providers: []gatebook.Provider{p}, Session: gatebook.SessionConfig{Strategy: gatebook.StrategyDatabase},
		Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return auth
}

// do sends a request with the other program's session.
func (s *site) do(h http.Handler, method, path string, form url.Values, cookies ...*http.Cookie) *http.Response {
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	r := httptest.NewRequest(method, "http://localhost"+path, body)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for _, c := range append(cookies, &http.Cookie{Name: "authjs.session-token", Value: token}) {
		r.AddCookie(c)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

// signIn signs a user in with a browser that has the other program's session.
func (s *site) signIn(h http.Handler, user string) {
	res := s.do(h, "GET", "/auth/csrf", nil)
	var body struct{ CSRFToken string }
	if err := json.NewDecoder(res.Body).Decode(&body); err != nil {
		s.t.Error(err)
		return
	}
	s.do(h, "POST", "/auth/callback/credentials", url.Values{"csrfToken": {body.CSRFToken}, "username": {user}}, res.Cookies()...)
}

func (s *site) entries() []book.Entry {
	s.t.Helper()
	if err := s.auths[0].Book().Drain(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	all, err := s.auths[0].Book().Read(s.t.Context(), book.Query{Limit: 1000})
	if err != nil {
		s.t.Fatal(err)
	}
	return all
}

// count returns how many entries of each type there are, and the order of types.
func (s *site) count() (map[string]int, []string) {
	s.t.Helper()
	n, order := map[string]int{}, []string(nil)
	for _, e := range s.entries() {
		n[e.Header.Type]++
		order = append(order, e.Header.Type)
	}
	return n, order
}

// TestReadersAtOnce: 50 requests at once on two programs are all served, and one of
// them records the session and its user.
func TestReadersAtOnce(t *testing.T) {
	on(t, func(s *site) {
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				b, err := io.ReadAll(s.do(s.auths[i%2], "GET", "/auth/session", nil).Body)
				if err != nil || !strings.Contains(string(b), "u1@example.com") {
					s.t.Errorf("the session route says %s, %v", b, err)
				}
			})
		}
		wg.Wait()
		if n, order := s.count(); n["session.adopted"] != 1 || n["user.adopted"] != 1 || len(order) != 2 {
			s.t.Errorf("recorded %v", order)
		}
	})
}

// TestEverybodyAtOnce: the same while others sign out, revoke, and sign in over it.
func TestEverybodyAtOnce(t *testing.T) {
	on(t, func(s *site) {
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				auth := s.auths[i%2]
				switch {
				case i%5 == 1:
					s.signIn(auth, "u2")
				case i%5 == 2:
					s.signIn(auth, "u1")
				case i%10 == 3:
					if _, err := auth.RevokeSessions(s.t.Context(), "u1"); err != nil && !errors.Is(err, gatebook.ErrConflict) {
						s.t.Error(err)
					}
				case i%10 == 8:
					r := httptest.NewRequest("POST", "http://localhost/auth/signout", nil)
					r.Header.Set("Authorization", "Bearer "+token)
					w := httptest.NewRecorder()
					if auth.ServeHTTP(w, r); w.Code >= 500 {
						s.t.Errorf("signing out: %d", w.Code)
					}
				default:
					if res := s.do(auth, "GET", "/auth/account", nil); res.StatusCode >= 500 {
						s.t.Errorf("the account route: %d", res.StatusCode)
					}
				}
			})
		}
		wg.Wait()
		n, order := s.count()
		ended := n["signOut"] + n["session.revoked"]
		if n["session.adopted"] != 1 || n["user.adopted"] != 2 || ended == 0 || n["signIn"]+n["signIn.failed"] != 20 {
			s.t.Errorf("recorded %v: %v", n, order)
		}
		if slices.Index(order, "session.adopted") > slices.Index(order, "signOut") && n["signOut"] > 0 {
			s.t.Errorf("signed out before it was met: %v", order)
		}
	})
}
