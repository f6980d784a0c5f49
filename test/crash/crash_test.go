package crash_test

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/adapter/mysql"
	"github.com/gatebook/gatebook/book"
	"github.com/gatebook/gatebook/record"
	"github.com/gatebook/gatebook/test/dbserver"
	"github.com/gatebook/gatebook/test/need"
)

// process is a server of its own.
type process struct {
	cmd    *exec.Cmd
	url    string
	pid    int // of the server, which a wrapping command started
	stderr *bytes.Buffer
}

// start starts a server on the database at an address; wrap, when given, is a
// command that runs it.
func start(t *testing.T, address, strategy, die string, wrap ...string) *process {
	t.Helper()
	args := append(wrap, os.Args[0])
	p := &process{cmd: exec.Command(args[0], args[1:]...), stderr: &bytes.Buffer{}}
	p.cmd.Env = append(os.Environ(), serverEnv+"="+address, strategyEnv+"="+strategy, dieEnv+"="+die)
	p.cmd.Stderr = p.stderr
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		p.cmd.Wait()
		t.Fatalf("the server did not start: %v\n%s", err, p.stderr)
	}
	var addr string
	if _, err := fmt.Sscan(line, &addr, &p.pid); err != nil {
		t.Fatalf("the server says %q", line)
	}
	p.url = "http://" + addr
	t.Cleanup(p.kill)
	return p
}

// kill ends the server at once; a second time it does nothing.
func (p *process) kill() {
	if p.cmd.ProcessState == nil {
		syscall.Kill(p.pid, syscall.SIGKILL)
		p.cmd.Wait()
	}
}

// signIn signs in as id and returns the session cookie's value, or an error
// when the server died on the way.
func (p *process) signIn(id string) (token string, err error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return "", err
	}
	tr := &http.Transport{}
	defer tr.CloseIdleConnections()
	client := &http.Client{Jar: jar, Transport: tr, Timeout: 20 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	var csrf struct{ CSRFToken string }
	res, err := client.Get(p.url + "/auth/csrf")
	if err != nil {
		return "", err
	}
	err = json.NewDecoder(res.Body).Decode(&csrf)
	res.Body.Close()
	if err != nil {
		return "", err
	}
	res, err = client.PostForm(p.url+"/auth/signin/idp", url.Values{"csrfToken": {csrf.CSRFToken}})
	if err != nil {
		return "", err
	}
	res.Body.Close()
	_, state, ok := strings.Cut(res.Header.Get("Location"), "?")
	if !ok {
		return "", fmt.Errorf("no way to the provider: %s %s", res.Status, res.Header.Get("Location"))
	}
	res, err = client.Get(p.url + "/auth/callback/idp?code=" + id + "&state=" + state)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	io.Copy(io.Discard, res.Body)
	for _, c := range res.Cookies() {
		if c.Name == "authjs.session-token" && c.Value != "" {
			return c.Value, nil
		}
	}
	return "", fmt.Errorf("no session: %s %s", res.Status, res.Header.Get("Location"))
}

// databases are those that a server is killed on.
var databases = []struct {
	name        string
	fresh       func(testing.TB) string
	kills, soak int
}{
	{"sqlite", testing.TB.TempDir, 150, 1000},
	{"postgres", need.Postgres, 40, 500},
	{"mariadb", need.MySQL, 40, 500},
}

// TestKill kills a server at random moments while clients sign in, new people
// and known ones, and starts it again.
func TestKill(t *testing.T) {
	for _, d := range databases {
		kills := d.kills
		if need.Soak() {
			kills = d.soak
		}
		for _, strategy := range []string{gatebook.StrategyJWT, gatebook.StrategyDatabase} {
			t.Run(d.name+" "+strategy, func(t *testing.T) {
				killServers(t, d.fresh(t), strategy, kills)
			})
		}
	}
}

func killServers(t *testing.T, address, strategy string, kills int) {
	t.Helper()
	var c crowd
	for round := range kills {
		p := start(t, address, strategy, "")
		first := c.enter(p, fmt.Sprint(round), true)
		// Every second kill comes while sign-ins are coming through, however slow
		// the machine is; the others at any moment.
		if round%2 == 0 {
			select {
			case <-first:
			case <-t.Context().Done():
			}
		}
		timer := time.NewTimer(time.Duration(5+rand.IntN(60)) * time.Millisecond)
		<-timer.C
		p.kill()
		c.leave()
	}
	if len(c.received) < kills/2 {
		t.Fatalf("only %d sign-ins between %d kills: that tests nothing", len(c.received), kills)
	}
	t.Logf("%d kills, %d sessions received", kills, len(c.received))
	examine(t, address, strategy, c.received)
}

// crowd signs in, four at a time.
type crowd struct {
	wg   sync.WaitGroup
	stop chan struct{}

	mu       sync.Mutex
	received []string // tokens
}

// enter lets the crowd sign in at p, each person twice, until it is told to
// leave; with dies until p does not answer. It returns a channel that is closed
// after the first sign-in.
func (c *crowd) enter(p *process, name string, dies bool) (first <-chan struct{}) {
	c.stop = make(chan struct{})
	came := make(chan struct{})
	var once sync.Once
	for visitor := range 4 {
		c.wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-c.stop:
					return
				default:
				}
				token, err := p.signIn(fmt.Sprintf("p%s-%d-%d", name, visitor, i/2))
				if err != nil && dies {
					return // killed
				}
				if err != nil {
					continue // refused
				}
				c.mu.Lock()
				c.received = append(c.received, token)
				c.mu.Unlock()
				once.Do(func() { close(came) })
			}
		})
	}
	return came
}

// leave waits until the crowd has gone.
func (c *crowd) leave() {
	close(c.stop)
	c.wg.Wait()
}

// TestKillDatabase kills the database itself while clients sign in, and starts
// it again. The server stays and comes to itself.
func TestKillDatabase(t *testing.T) {
	kills := 6
	if need.Soak() {
		kills = 100
	}
	for _, d := range []struct {
		name  string
		start func(testing.TB) *dbserver.Server
		make  string // what makes a database
	}{
		{"postgres", need.PostgresServer, "CREATE DATABASE site"},
		{"mariadb", need.MySQLServer, "CREATE DATABASE site"},
	} {
		for _, strategy := range []string{gatebook.StrategyJWT, gatebook.StrategyDatabase} {
			t.Run(d.name+" "+strategy, func(t *testing.T) {
				s := d.start(t)
				one(t, s.URL(""), d.make)
				p := start(t, s.URL("site"), strategy, "")
				var c crowd
				for round := range kills {
					first := c.enter(p, fmt.Sprint(round), false)
					select {
					case <-first:
					case <-t.Context().Done():
						t.Fatalf("nobody signs in after the database came back\n%s", p.stderr)
					}
					timer := time.NewTimer(time.Duration(5+rand.IntN(60)) * time.Millisecond)
					<-timer.C
					s.Kill()
					if err := s.Start(); err != nil {
						t.Fatal(err)
					}
					c.leave()
				}
				p.kill()
				t.Logf("%d kills, %d sessions received", kills, len(c.received))
				examine(t, s.URL("site"), strategy, c.received)
			})
		}
	}
}

// one runs one statement.
func one(t *testing.T, address, statement string) {
	t.Helper()
	db, err := sql.Open(map[string]string{"postgres": "pgx", "mysql": "mysql"}[database(address)], address)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(statement); err != nil {
		t.Fatal(err)
	}
}

// alone waits until nobody else is connected to the database: a statement that a
// killed server sent may still run.
func alone(t *testing.T, address string) {
	t.Helper()
	query := map[string]string{
		"postgres": "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()",
		"mysql":    "SELECT count(*) FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()",
	}[database(address)]
	if query == "" {
		return
	}
	db, err := sql.Open(map[string]string{"postgres": "pgx", "mysql": "mysql"}[database(address)], address)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		var n int
		if err := db.QueryRowContext(ctx, query).Scan(&n); err != nil {
			t.Fatalf("wait until nobody else is connected: %v", err)
		}
		if n == 0 {
			return
		}
		<-tick.C
	}
}

// TestKilledBetweenTheCommits kills the server after the first commit of a
// token sign-in and before the second.
func TestKilledBetweenTheCommits(t *testing.T) {
	dir := t.TempDir()
	p := start(t, dir, gatebook.StrategyJWT, "jwt")
	if token, err := p.signIn("ada"); err == nil {
		t.Fatalf("a session of %d bytes came from a server that died before it recorded the sign-in", len(token))
	}
	p.cmd.Wait()
	entries := examine(t, dir, gatebook.StrategyJWT, nil)
	var types []string
	for _, e := range entries {
		types = append(types, e.Header.Type)
	}
	if want := []string{record.TypeCreateUser, record.TypeLinkAccount}; !slices.Equal(types, want) {
		t.Errorf("the book has %v, want %v", types, want)
	}
	// The person signs in again as whom they were made.
	p = start(t, dir, gatebook.StrategyJWT, "")
	token, err := p.signIn("ada")
	if err != nil {
		t.Fatal(err)
	}
	p.kill()
	entries = examine(t, dir, gatebook.StrategyJWT, []string{token})
	if got := entries[len(entries)-1].Header.Type; len(entries) != 3 || got != record.TypeSignIn {
		t.Errorf("after the second sign-in the book has %d entries, the last %s; want 3 and signIn", len(entries), got)
	}
}

// examine checks state against book: nothing without its entry, no entry
// without its row, no gap, and a signIn for every session that was received.
func examine(t *testing.T, address, strategy string, received []string) []book.Entry {
	t.Helper()
	alone(t, address)
	db, err := open(address)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	auth, err := gatebook.New(config(db, strategy))
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	if err := auth.Book().Drain(ctx); err != nil {
		t.Fatal(err)
	}
	var entries []book.Entry
	for {
		after := int64(0)
		if len(entries) > 0 {
			after = entries[len(entries)-1].Seq
		}
		page, err := auth.Book().Read(ctx, book.Query{After: after, Limit: 1000})
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		entries = append(entries, page...)
	}
	created, linked, signedIn := map[string]int{}, map[string]int{}, map[string]int{}
	for i, e := range entries {
		if e.Seq != int64(i+1) {
			t.Fatalf("entry %d of the log has seq %d", i+1, e.Seq)
		}
		for j, b := range e.Blocks {
			if b.Digest() != e.Header.Blocks[j].Digest {
				t.Errorf("block %d of entry %d does not have the digest of its header", j, e.Seq)
			}
		}
		var change record.UserChange
		var account record.AccountChange
		var in record.SignIn
		switch e.Header.Type {
		case record.TypeCreateUser:
			decode(t, e, &change)
			created[change.User.ID]++
		case record.TypeLinkAccount:
			decode(t, e, &account)
			linked[account.Account.ID]++
		case record.TypeSignIn:
			decode(t, e, &in)
			signedIn[in.Session]++
		}
	}
	same(t, "user row", `SELECT "id" FROM "user"`, db, created, record.TypeCreateUser)
	same(t, "account row", `SELECT "providerAccountId" FROM "account"`, db, linked, record.TypeLinkAccount)
	if strategy == gatebook.StrategyDatabase {
		same(t, "session row", `SELECT sid FROM "session" JOIN gatebook_sessions ON digest = "sessionToken"`, db, signedIn, record.TypeSignIn)
	}
	for _, token := range received {
		s, err := auth.Verify(ctx, token)
		if err != nil {
			t.Errorf("a session that a client received does not open: %v", err)
			continue
		}
		if signedIn[s.ID] == 0 {
			t.Errorf("a client received session %s, and the book has no signIn of it", s.ID)
		}
	}
	return entries
}

func decode(t *testing.T, e book.Entry, v any) {
	t.Helper()
	for _, b := range e.Blocks {
		if b.Class == record.ClassIdentity {
			if err := b.Decode(v); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatalf("entry %d has no identity block", e.Seq)
}

// same compares rows with entries, one for one.
func same(t *testing.T, what, query string, db store, entries map[string]int, typ string) {
	t.Helper()
	if _, ok := db.(*mysql.DB); ok {
		query = strings.ReplaceAll(query, `"`, "`")
	}
	rows, err := db.SQL().Query(query)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	n := 0
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			t.Fatal(err)
		}
		if n++; entries[id] != 1 {
			t.Errorf("%s %q has %d entries %s, want one", what, id, entries[id], typ)
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	if n != len(entries) {
		t.Errorf("there are %d %ss and %s of %d", n, what, typ, len(entries))
	}
}

// TestSyncBeforeResponse looks at the system calls of a sign-in: the log's last
// write is synced before the response with the session is written.
func TestSyncBeforeResponse(t *testing.T) {
	strace := need.Strace(t)
	for _, strategy := range []string{gatebook.StrategyJWT, gatebook.StrategyDatabase} {
		t.Run(strategy, func(t *testing.T) {
			dir := t.TempDir()
			trace := dir + "/trace"
			p := start(t, dir, strategy, "", strace, "-f", "-y", "-s", "4096", "-e", "trace=pwrite64,fsync,fdatasync,write,sendto,ftruncate", "-o", trace)
			if _, err := p.signIn("ada"); err != nil {
				t.Fatal(err)
			}
			p.kill()
			b, err := os.ReadFile(trace)
			if err != nil {
				t.Fatal(err)
			}
			checkTrace(t, string(b))
		})
	}
}

// checkTrace follows the write-ahead log through a trace up to the response
// that hands out the session.
func checkTrace(t *testing.T, trace string) {
	t.Helper()
	writes, syncs := 0, 0
	dirty := false
	unfinished := map[string]string{} // by process: a call that has not returned
	for line := range strings.Lines(trace) {
		pid, call, _ := strings.Cut(strings.TrimSpace(line), " ")
		call = strings.TrimSpace(call)
		if handsOut(call) {
			if writes == 0 || syncs == 0 {
				t.Fatalf("before the session left, the log was written %d times and synced %d times", writes, syncs)
			}
			if dirty {
				t.Error("the session left before the log was synced")
			}
			return
		}
		if strings.HasSuffix(call, "<unfinished ...>") {
			unfinished[pid] = call
			if !strings.Contains(call, "sync(") { // a write counts from its begin
				follow(call, &writes, &syncs, &dirty)
			}
			continue
		}
		if strings.HasPrefix(call, "<... ") {
			begun := unfinished[pid]
			delete(unfinished, pid)
			if strings.Contains(begun, "sync(") && strings.HasSuffix(call, "= 0") {
				follow(begun, &writes, &syncs, &dirty)
			}
			continue
		}
		follow(call, &writes, &syncs, &dirty)
	}
	t.Errorf("the trace has no response with a session (%d writes of the log, %d syncs)", writes, syncs)
}

// handsOut reports whether a call begins to write the response that has the
// session's cookie.
func handsOut(call string) bool {
	return strings.HasPrefix(call, "write(") && strings.Contains(call, "HTTP/1.1 302") &&
		strings.Contains(call, "authjs.session-token=")
}

// follow notes what a call does to the write-ahead log.
func follow(call string, writes, syncs *int, dirty *bool) {
	if !strings.Contains(call, "site.db-wal>") {
		return
	}
	switch {
	case strings.HasPrefix(call, "pwrite64("):
		*writes++
		*dirty = true
	case strings.HasPrefix(call, "fsync("), strings.HasPrefix(call, "fdatasync("):
		*syncs++
		*dirty = false
	}
}
