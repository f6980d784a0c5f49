package passkey_test

import (
	"bufio"
	"bytes"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatebook/gatebook/passkey/passkeytest"
	"github.com/gatebook/gatebook/test/need"
)

// authjs starts the real Auth.js with passkeys and returns where it is.
func authjs(t *testing.T) string {
	t.Helper()
	need.NodeModules(t)
	cmd := exec.Command(need.Node(t), filepath.Join("testdata", "authjs.mjs"))
	cmd.Env = append(cmd.Environ(), "SECRET="+secret)
	var log bytes.Buffer
	cmd.Stderr = &log
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := in.Close(); err != nil {
			t.Error(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("Auth.js ended: %v", err)
		}
		if t.Failed() {
			t.Logf("Auth.js wrote:\n%s", log.String())
		}
	})
	timer := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	line, err := bufio.NewReader(out).ReadString('\n')
	port, ok := strings.CutPrefix(strings.TrimSpace(line), "ready ")
	if err != nil || !ok {
		t.Fatalf("Auth.js said %q: %v", line, err)
	}
	return "http://localhost:" + port
}

// tables are rows by table and column, as both write them.
type tables map[string][]map[string]any

// theirs tells the rows of Auth.js, after adding some.
func theirs(t *testing.T, site string, add tables) tables {
	t.Helper()
	b, err := json.Marshal(add)
	if err != nil {
		t.Fatal(err)
	}
	method := http.MethodPost
	if add == nil {
		method, b = http.MethodGet, nil
	}
	req, err := http.NewRequestWithContext(t.Context(), method, site+"/rows", bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var rows tables
	if err := json.NewDecoder(res.Body).Decode(&rows); err != nil {
		t.Fatal(err)
	}
	return rows
}

var shared = []string{"user", "account", "authenticator"}

// ours tells the rows of Gatebook's database.
func ours(t *testing.T, db *sql.DB) tables {
	t.Helper()
	all := tables{}
	for _, table := range shared {
		all[table] = rowsOf(t, db, table)
	}
	return all
}

func rowsOf(t *testing.T, db *sql.DB, table string) []map[string]any {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), `SELECT * FROM "`+table+`"`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	var out []map[string]any
	for rows.Next() {
		values, to := make([]any, len(names)), make([]any, len(names))
		for i := range values {
			to[i] = &values[i]
		}
		if err := rows.Scan(to...); err != nil {
			t.Fatal(err)
		}
		row := map[string]any{}
		for i, name := range names {
			if n, ok := values[i].(int64); ok {
				values[i] = float64(n) // as JSON has it
			}
			row[name] = values[i]
		}
		out = append(out, row)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

// insert adds rows to Gatebook's database as another program does.
func insert(t *testing.T, db *sql.DB, add tables) {
	t.Helper()
	for _, table := range shared {
		for _, row := range add[table] {
			var names, marks []string
			var values []any
			for name, value := range row {
				names, marks, values = append(names, `"`+name+`"`), append(marks, "?"), append(values, value)
			}
			text := fmt.Sprintf(`INSERT INTO %q (%s) VALUES (%s)`, table, strings.Join(names, ", "), strings.Join(marks, ", "))
			if _, err := db.ExecContext(t.Context(), text, values...); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// visitor is a client with cookies that answers with a software authenticator.
type visitor struct {
	t      *testing.T
	site   string
	client *http.Client
}

func visit(t *testing.T, site string) *visitor {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &visitor{t, site, &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

func (v *visitor) do(method, path string, form url.Values) (*http.Response, []byte) {
	v.t.Helper()
	req, err := http.NewRequestWithContext(v.t.Context(), method, v.site+path, strings.NewReader(form.Encode()))
	if err != nil {
		v.t.Fatal(err)
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	res, err := v.client.Do(req)
	if err != nil {
		v.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	return res, body
}

func (v *visitor) options(query string) []byte {
	v.t.Helper()
	res, body := v.do(http.MethodGet, "/auth/webauthn-options/passkey?"+query, nil)
	if res.StatusCode != http.StatusOK {
		v.t.Fatalf("options?%s at %s = %d to %q: %s", query, v.site, res.StatusCode, res.Header.Get("Location"), body)
	}
	return body
}

// answer posts an answer and returns where it leads.
func (v *visitor) answer(action, data string) string {
	v.t.Helper()
	var token struct{ CSRFToken string }
	_, body := v.do(http.MethodGet, "/auth/csrf", nil)
	if err := json.Unmarshal(body, &token); err != nil {
		v.t.Fatal(err)
	}
	res, _ := v.do(http.MethodPost, "/auth/callback/passkey", url.Values{"action": {action}, "data": {data}, "csrfToken": {token.CSRFToken}})
	return strings.TrimPrefix(res.Header.Get("Location"), v.site)
}

func (v *visitor) register(key *passkeytest.Authenticator, query string) string {
	v.t.Helper()
	return v.answer("register", key.Create(v.t, passkeytest.ParseOptions(v.t, v.options(query))))
}

func (v *visitor) signIn(key *passkeytest.Authenticator, query string) string {
	v.t.Helper()
	return v.answer("authenticate", key.Get(v.t, passkeytest.ParseOptions(v.t, v.options(query)), key.FullSignature(v.t)))
}

func (v *visitor) who() string {
	v.t.Helper()
	var session *struct{ User struct{ Email string } }
	_, body := v.do(http.MethodGet, "/auth/session", nil)
	if err := json.Unmarshal(body, &session); err != nil {
		v.t.Fatal(err)
	}
	if session == nil {
		return ""
	}
	return session.User.Email
}

// keys are the kinds of passkeys that rows tell apart.
func keys(t *testing.T) map[string]*passkeytest.Authenticator {
	t.Helper()
	bound := passkeytest.New(t, "")
	bound.Flags, bound.Counter = passkeytest.UserPresent|passkeytest.UserVerified, 3
	local := passkeytest.New(t, "")
	local.Flags &^= passkeytest.BackedUp
	return map[string]*passkeytest.Authenticator{"synchronised": passkeytest.New(t, ""), "device-bound": bound, "eligible": local}
}

// Passkeys that Auth.js registered and its Drizzle adapter wrote sign in here,
// chosen by the person and asked for by address.
func TestRowsOfAuthjs(t *testing.T) {
	them, s, all := authjs(t), newSite(t), keys(t)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		all[name].Origin = them
		v := visit(t, them)
		if to := v.register(all[name], "email="+name+"@example.com"); to != "" || v.who() != name+"@example.com" {
			t.Fatalf("%s: registering at Auth.js leads to %q, signed in is %q", name, to, v.who())
		}
	}
	insert(t, s.db, theirs(t, them, nil))
	for _, name := range slices.Sorted(maps.Keys(all)) {
		all[name].Origin = s.url
		for _, query := range []string{"action=authenticate", "email=" + name + "@example.com"} {
			v := visit(t, s.url)
			if to := v.signIn(all[name], query); to != "" || v.who() != name+"@example.com" {
				t.Errorf("%s: signing in with options?%s leads to %q, signed in is %q\n%s", name, query, to, v.who(), s.log)
			}
		}
	}
	// A user whom Auth.js made is told of once, when first met.
	want := slices.Repeat([]string{"user.adopted", "signIn", "signIn"}, len(all))
	if got := s.told(); !slices.Equal(got, want) {
		t.Errorf("events are %v, want %v", got, want)
	}
}

// Passkeys registered here sign in at Auth.js, whose adapter reads their rows.
func TestRowsForAuthjs(t *testing.T) {
	them, s, all := authjs(t), newSite(t), keys(t)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		all[name].Origin = s.url
		if to := visit(t, s.url).register(all[name], "email="+name+"@example.com"); to != "" {
			t.Fatalf("%s: registering leads to %q\n%s", name, to, s.log)
		}
	}
	theirs(t, them, ours(t, s.db))
	for _, name := range slices.Sorted(maps.Keys(all)) {
		all[name].Origin = them
		v := visit(t, them)
		if to := v.signIn(all[name], "action=authenticate"); to != "" || v.who() != name+"@example.com" {
			t.Errorf("%s: signing in at Auth.js leads to %q, signed in is %q", name, to, v.who())
		}
	}
}

// The same passkey makes the same rows, but for ids.
func TestRowsAlike(t *testing.T) {
	them, s, all := authjs(t), newSite(t), keys(t)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		for _, site := range []string{them, s.url} {
			all[name].Origin = site
			if to := visit(t, site).register(all[name], "email="+name+"@example.com"); to != "" {
				t.Fatalf("%s: registering leads to %q", name, to)
			}
		}
	}
	bare := func(all tables) tables {
		for _, table := range shared {
			for _, row := range all[table] {
				delete(row, "userId")
				if table == "user" {
					delete(row, "id")
				}
			}
			slices.SortFunc(all[table], func(a, b map[string]any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
		}
		return all
	}
	if diff := cmp.Diff(bare(theirs(t, them, nil)), bare(ours(t, s.db))); diff != "" {
		t.Errorf("rows (-Auth.js +Gatebook):\n%s", diff)
	}
}

// A ceremony that one began the other completes: they share the secret, and a
// visitor may meet either.
func TestCeremoniesAcross(t *testing.T) {
	them, s := authjs(t), newSite(t)
	for email, way := range map[string][2]string{"ada@example.com": {them, s.url}, "grace@example.com": {s.url, them}} {
		key := passkeytest.New(t, way[1])
		v := visit(t, way[0])
		o := passkeytest.ParseOptions(t, v.options("email="+email))
		v.site = way[1]
		if to := v.answer("register", key.Create(t, o)); to != "" {
			t.Errorf("registering at %s after options of %s leads to %q\n%s", way[1], way[0], to, s.log)
		}
		v = visit(t, way[0])
		o = passkeytest.ParseOptions(t, v.options("action=authenticate"))
		v.site = way[1]
		if to := v.answer("authenticate", key.Get(t, o, key.FullSignature(t))); to != "" || v.who() != email {
			t.Errorf("signing in at %s after options of %s leads to %q\n%s", way[1], way[0], to, s.log)
		}
	}
}
