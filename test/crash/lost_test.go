package crash_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/test/cut"
	"github.com/gatebook/gatebook/test/dbserver"
	"github.com/gatebook/gatebook/test/need"
)

// TestLostConnection cuts the connection to the database at every message of a
// sign-in in turn, before the server has it and before its answer comes. Whoever
// gets a session is signed in and in the book; of the others nothing is half
// done; and a commit whose answer was lost is found by its entries, so that the
// visitor does not notice.
func TestLostConnection(t *testing.T) {
	for kind, start := range map[string]func(testing.TB) *dbserver.Server{"postgres": need.PostgresServer, "mysql": need.MySQLServer} {
		t.Run(kind, func(t *testing.T) {
			s := start(t)
			for i, strategy := range []string{gatebook.StrategyJWT, gatebook.StrategyDatabase} {
				t.Run(strategy, func(t *testing.T) {
					db := &faulty{Server: s, kind: kind, proxy: cut.New(t, s.Addr()), name: fmt.Sprintf("site%d", i)}
					db.admin(t, map[string]string{"postgres": "postgres"}[kind], "CREATE DATABASE "+db.name)
					loseAll(t, db, strategy)
				})
			}
		})
	}
}

func loseAll(t *testing.T, db *faulty, strategy string) {
	t.Helper()
	adapter, err := open(db.through(t))
	if err != nil {
		t.Fatal(err)
	}
	defer adapter.Close()
	log := new(syncBuffer)
	cfg := config(adapter, strategy)
	cfg.Logger = slog.New(slog.NewTextHandler(log, nil))
	auth, err := gatebook.New(cfg) // which does not run: all messages are those of the visitor
	if err != nil {
		t.Fatal(err)
	}
	site := httptest.NewServer(auth)
	defer site.Close()
	p := &process{url: site.URL}

	var received []string
	refused := 0
	signIn := func(id string) (cut bool) {
		token, err := p.signIn(id)
		cut = db.proxy.Mend()
		switch {
		case err == nil:
			received = append(received, token)
		case cut:
			refused++
		default:
			t.Errorf("%s cannot sign in, and no connection was lost: %v", id, err)
		}
		return cut
	}
	cuts := 0
	for _, delivered := range []bool{false, true} {
		for _, known := range []bool{false, true} {
			for n := 1; ; n++ {
				id := fmt.Sprintf("p%d-%v-%v", n, delivered, known)
				if known {
					signIn(id)
				}
				db.proxy.Break(n, delivered)
				if !signIn(id) {
					break
				}
				if cuts++; n > 100 {
					t.Fatal("a sign-in is not done after 100 messages")
				}
			}
		}
	}
	found := strings.Count(log.String(), "the entries are there")
	t.Logf("%d connections lost, %d sign-ins refused, %d commits found by their entries", cuts, refused, found)
	if refused == 0 || found == 0 {
		t.Errorf("of %d lost connections %d had a sign-in refused and %d a commit found: want both", cuts, refused, found)
	}
	site.Close()
	if err := auth.Close(context.Background()); err != nil {
		t.Errorf("Close = %v", err)
	}
	adapter.Close()
	examine(t, db.URL(db.name), strategy, received)
}
