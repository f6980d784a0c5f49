package crash_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	driver "github.com/go-sql-driver/mysql"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/test/cut"
	"github.com/gatebook/gatebook/test/dbserver"
	"github.com/gatebook/gatebook/test/need"
)

// fault is something that happens to a database and passes again.
type fault struct {
	name string
	// on is the database it happens to: postgres, mysql, or both if empty.
	on string
	// start starts the server, prepare makes the database site; if nil, as usual.
	start   func(testing.TB) *dbserver.Server
	prepare func(t *testing.T, f *faulty)
	begin   func(t *testing.T, f *faulty)
	mend    func(t *testing.T, f *faulty)
	// says is what the server's log must say.
	says map[string]string
	// reads says that sessions can still be read.
	reads bool
	// slowly says that a few sign-ins may still find room.
	slowly bool
}

// faulty is a database with a way to it that can be cut.
type faulty struct {
	*dbserver.Server
	kind  string
	proxy *cut.Proxy
	name  string // of the database
}

// admin runs statements as the database's owner.
func (f *faulty) admin(t *testing.T, database string, statements ...string) {
	t.Helper()
	for _, s := range statements {
		one(t, f.URL(database), s)
	}
}

// through is the address of the database through the proxy.
func (f *faulty) through(t *testing.T) string {
	t.Helper()
	return strings.Replace(f.URL(f.name), f.Addr(), f.proxy.Addr(), 1)
}

// site is through for a user who may do no more than the READMEs grant.
func (f *faulty) site(t *testing.T) string {
	t.Helper()
	if f.kind == "mysql" {
		c, err := driver.ParseDSN(f.through(t))
		if err != nil {
			t.Fatal(err)
		}
		c.User, c.Passwd = "app", "password"
		return c.FormatDSN()
	}
	u, err := url.Parse(f.through(t))
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword("app", "password")
	return u.String()
}

var faults = []fault{
	{
		name:  "unreachable",
		begin: func(_ *testing.T, f *faulty) { f.proxy.Down() },
		mend:  func(_ *testing.T, f *faulty) { f.proxy.Mend() },
		says:  map[string]string{"postgres": "connect", "mysql": "connect"},
	},
	{
		name:  "stopped",
		begin: func(_ *testing.T, f *faulty) { f.Stop() },
		mend: func(t *testing.T, f *faulty) {
			t.Helper()
			if err := f.Start(); err != nil {
				t.Fatal(err)
			}
		},
		says: map[string]string{"postgres": "connect", "mysql": "connect"},
	},
	{
		name:  "hanging",
		begin: func(_ *testing.T, f *faulty) { f.Pause() },
		mend:  func(_ *testing.T, f *faulty) { f.Resume() },
		says:  map[string]string{"postgres": "", "mysql": ""},
	},
	{
		name: "read-only", on: "postgres", reads: true,
		begin: func(t *testing.T, f *faulty) {
			t.Helper()
			f.admin(t, "site", "ALTER DATABASE site SET default_transaction_read_only = on",
				"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'")
		},
		mend: func(t *testing.T, f *faulty) {
			t.Helper()
			f.admin(t, "postgres", "ALTER DATABASE site RESET default_transaction_read_only")
			f.admin(t, "postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'")
		},
		says: map[string]string{"postgres": "read-only"},
	},
	{
		name: "read-only", on: "mysql", reads: true,
		begin: func(t *testing.T, f *faulty) { t.Helper(); f.admin(t, "", "SET GLOBAL read_only = 1") },
		mend:  func(t *testing.T, f *faulty) { t.Helper(); f.admin(t, "", "SET GLOBAL read_only = 0") },
		says:  map[string]string{"mysql": "read-only"},
	},
	{
		name: "full", on: "postgres", reads: true, slowly: true,
		prepare: func(t *testing.T, f *faulty) {
			t.Helper()
			dir := filepath.Join(f.Dir(), "..", "small")
			need.SmallDisk(t, dir, 24<<20, f.Dir())
			f.admin(t, "postgres", "CREATE TABLESPACE small LOCATION '"+dir+"'", "CREATE DATABASE site TABLESPACE small")
		},
		begin: func(t *testing.T, f *faulty) {
			t.Helper()
			f.admin(t, "site", `DO $$ BEGIN
				CREATE TABLE filler (x text);
				ALTER TABLE filler ALTER x SET STORAGE EXTERNAL;
			END $$`)
			f.fill(t, "INSERT INTO filler SELECT repeat('x', 7000) FROM generate_series(1, 20)", "INSERT INTO filler VALUES ('x')")
		},
		mend: func(t *testing.T, f *faulty) { t.Helper(); f.admin(t, "site", "DROP TABLE filler", "CHECKPOINT") },
		says: map[string]string{"postgres": "full"},
	},
	{
		name: "full", on: "mysql", reads: true, slowly: true,
		start: need.SmallMySQLServer,
		begin: func(t *testing.T, f *faulty) {
			t.Helper()
			f.admin(t, "site", "CREATE TABLE filler (x mediumblob)")
			f.fill(t, "INSERT INTO filler VALUES (repeat('x', 1000000))", "INSERT INTO filler VALUES (repeat('x', 10000))", "INSERT INTO filler VALUES ('x')")
		},
		mend: func(t *testing.T, f *faulty) {
			t.Helper()
			if err := f.Grow(); err != nil { // to drop a table it needs room, too
				t.Fatal(err)
			}
		},
		says: map[string]string{"mysql": "full"},
	},
}

// fill runs the statements, one after the other, each until it fails because
// there is no room.
func (f *faulty) fill(t *testing.T, statements ...string) {
	t.Helper()
	db, err := sql.Open(map[string]string{"postgres": "pgx", "mysql": "mysql"}[f.kind], f.URL("site"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, s := range statements {
		for n := 0; ; n++ {
			_, err := db.Exec(s)
			if err != nil && (strings.Contains(err.Error(), "No space left") || strings.Contains(err.Error(), "full")) {
				break
			}
			if err != nil || n > 1<<20 {
				t.Fatalf("%s: %v", s, err)
			}
		}
	}
}

// TestFaults does to a database what happens to databases. While it lasts nobody
// is signed in, and whoever was stays; then all is well by itself.
func TestFaults(t *testing.T) {
	for kind, start := range map[string]func(testing.TB) *dbserver.Server{"postgres": need.PostgresServer, "mysql": need.MySQLServer} {
		for _, f := range faults {
			if f.on != "" && f.on != kind {
				continue
			}
			t.Run(f.name+" "+kind, func(t *testing.T) {
				t.Parallel()
				if f.start == nil {
					f.start = start
				}
				s := f.start(t)
				db := &faulty{Server: s, kind: kind, proxy: cut.New(t, s.Addr()), name: "site"}
				if f.prepare == nil {
					f.prepare = func(t *testing.T, db *faulty) {
						t.Helper()
						db.admin(t, map[string]string{"postgres": "postgres"}[kind], "CREATE DATABASE site")
					}
				}
				f.prepare(t, db)
				db.grant(t)
				f.run(t, db)
			})
		}
	}
}

// grant makes the tables as their owner and the application's user, with the
// rights of the READMEs.
func (f *faulty) grant(t *testing.T) {
	t.Helper()
	owner, err := open(f.URL("site"))
	if err != nil {
		t.Fatal(err)
	}
	defer owner.Close()
	file := map[string]string{"postgres": "postgres", "mysql": "mysql"}[f.kind]
	for _, s := range readmeGrants(t, filepath.Join(need.Dir(), "..", "adapter", file, "README.md")) {
		f.admin(t, "site", s)
	}
}

// readmeGrants returns the SQL statements of a README's chapter on grants.
func readmeGrants(t *testing.T, path string) []string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(b), "\n## Grants\n")
	_, text, _ = strings.Cut(text, "```sql\n")
	text, _, ok := strings.Cut(text, "```")
	if !ok {
		t.Fatalf("%s has no statements below Grants", path)
	}
	var statements []string
	for s := range strings.SplitSeq(text, ";\n") {
		if s = strings.TrimSpace(s); s != "" {
			statements = append(statements, s)
		}
	}
	return statements
}

// syncBuffer is a buffer for several goroutines.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func (f *fault) run(t *testing.T, db *faulty) {
	t.Helper()
	adapter, err := open(db.site(t))
	if err != nil {
		t.Fatal(err)
	}
	defer adapter.Close()
	log := new(syncBuffer)
	cfg := config(adapter, gatebook.StrategyDatabase)
	cfg.Logger = slog.New(slog.NewTextHandler(log, nil))
	auth, err := gatebook.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- auth.Run(ctx) }()
	site := httptest.NewServer(auth)
	defer site.Close()
	p := &process{url: site.URL}

	before, err := p.signIn("before")
	if err != nil {
		t.Fatal(err)
	}
	received := []string{before}
	f.begin(t, db)
	for n, failed := 0, 0; f.slowly && failed < 3; n++ {
		token, err := p.signIn(fmt.Sprintf("late%d", n))
		if err == nil {
			received = append(received, token)
		} else {
			failed++
		}
		if n > 5000 {
			t.Fatal("there is still room")
		}
	}
	for i := range 3 {
		begun := time.Now()
		if token, err := p.signIn(fmt.Sprintf("during%d", i)); err == nil && f.slowly {
			received = append(received, token)
		} else if err == nil {
			t.Errorf("a session of %d bytes was given out", len(token))
		}
		if took := time.Since(begun); took > 20*time.Second {
			t.Errorf("the visitor waited for %v", took)
		}
	}
	body, cookies := p.session(t, before)
	if has := strings.Contains(body, "before@example.com"); has != f.reads {
		t.Errorf("the session of before is %s; there %v, want %v", body, has, f.reads)
	}
	if _, err := auth.Verify(t.Context(), before); (err == nil) != f.reads || errors.Is(err, gatebook.ErrNoSession) {
		t.Errorf("Verify = %v, want an error that does not say that there is no session, unless it can be read", err)
	}
	for _, c := range cookies {
		if strings.Contains(c.Name, "session-token") && c.Value == "" {
			t.Error("a session that could not be read was taken from its owner")
		}
	}
	said := log.String()
	if want := f.says[db.kind]; !strings.Contains(said, want) {
		t.Errorf("the log does not say %q:\n%.2000s", want, said)
	}
	for _, secret := range []string{"password=password", ":password@", secret, before} {
		if strings.Contains(said, secret) {
			t.Errorf("the log has the secret %q:\n%.2000s", secret, said)
		}
	}

	f.mend(t, db)
	ok, giveUp := false, time.Now().Add(30*time.Second)
	var after string
	for !ok && time.Now().Before(giveUp) {
		after, err = p.signIn("after")
		ok = err == nil
	}
	if !ok {
		t.Fatalf("half a minute after all is well again nobody can sign in: %v\n%.3000s", err, log)
	}
	stop()
	if err := <-ran; err != nil {
		t.Errorf("Run = %v", err)
	}
	if err := auth.Close(context.Background()); err != nil {
		t.Errorf("Close = %v", err)
	}
	site.Close()
	adapter.Close()
	examine(t, db.URL("site"), gatebook.StrategyDatabase, append(received, after))
}

// session asks for the session of a token.
func (p *process) session(t *testing.T, token string) (body string, cookies []*http.Cookie) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+"/auth/session", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.AddCookie(&http.Cookie{Name: "authjs.session-token", Value: token})
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatalf("ask for the session: %v", err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b), res.Cookies()
}
