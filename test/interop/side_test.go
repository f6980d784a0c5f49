package interop

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/record"
	"github.com/gatebook/gatebook/test/need"
)

// side is one of the two servers, running a site.
type side interface {
	// address is where the server listens.
	address() string
	// label makes a request one for this site.
	label(*http.Request)
	// behave changes what the application's code does from now on.
	behave(*testing.T, does)
	// seed puts rows into the adapter.
	seed(*testing.T, rows)
	// take returns what was called and written since the last take.
	take(*testing.T) []call
}

// call is a call of the application's code, or a write of its adapter.
type call struct {
	Kind    string          `json:"kind"` // call, write, log
	Name    string          `json:"name"`
	Payload gatebook.Claims `json:"payload"`
}

// rows are what a scenario finds in the adapter.
type rows struct {
	Users    []userRow    `json:"users,omitempty"`
	Accounts []accountRow `json:"accounts,omitempty"`
	Sessions []sessionRow `json:"sessions,omitempty"`
	Links    []linkRow    `json:"links,omitempty"`

	Authenticators []authenticatorRow `json:"authenticators,omitempty"`
}

type authenticatorRow struct {
	CredentialID      string `json:"credentialID"`
	UserID            string `json:"userId"`
	ProviderAccountID string `json:"providerAccountId"`
	PublicKey         string `json:"credentialPublicKey"` // base64
	Counter           uint32 `json:"counter"`
	DeviceType        string `json:"credentialDeviceType"`
	BackedUp          bool   `json:"credentialBackedUp"`
	Transports        string `json:"transports"`
}

type userRow struct {
	ID    string `json:"id"`
	Name  string `json:"name,omitempty"`
	Email string `json:"email,omitempty"`
	Image string `json:"image,omitempty"`
}

type accountRow struct {
	UserID            string `json:"userId"`
	Type              string `json:"type"`
	Provider          string `json:"provider"`
	ProviderAccountID string `json:"providerAccountId"`
}

type sessionRow struct {
	Token   string    `json:"sessionToken"`
	UserID  string    `json:"userId"`
	Expires time.Time `json:"expires"`
}

type linkRow struct {
	Identifier string    `json:"identifier"`
	Hash       string    `json:"token"`
	Expires    time.Time `json:"expires"`
}

// node is a Node.js process that serves Auth.js.
type node struct {
	addr string
	http *http.Client
	last atomic.Int64
}

// startWithin is how long Node.js has to listen; it takes under a second.
const startWithin = time.Minute

// startNode starts Auth.js; it ends with the test. Auth.js remembers for the
// whole process which kinds of providers it has seen, and then asks every site
// for what they need: sites without an adapter need a process of their own.
func startNode(t *testing.T) *node {
	t.Helper()
	need.NodeModules(t)
	cmd := exec.Command(need.Node(t), filepath.Join(need.Dir(), "interop", "testdata", "authjs.mjs"))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cmd.StdinPipe(); err != nil { // when it closes the process ends
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start Auth.js: %v", err)
	}
	ready, drained := make(chan string, 1), make(chan struct{})
	go func() {
		defer close(drained)
		defer close(ready)
		lines := bufio.NewScanner(stdout)
		for lines.Scan() {
			if addr, ok := strings.CutPrefix(lines.Text(), "ready "); ok {
				ready <- addr
				break
			}
		}
		io.Copy(io.Discard, stdout)
	}()
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-drained
		cmd.Wait()
		if t.Failed() && stderr.Len() > 0 {
			t.Logf("Auth.js said:\n%s", stderr.Bytes())
		}
	})
	select {
	case addr, ok := <-ready:
		if !ok {
			t.Fatal("Auth.js ended before it listened")
		}
		return &node{addr: addr, http: &http.Client{}}
	case <-time.After(startWithin):
		t.Fatalf("Auth.js did not listen within %v", startWithin)
	}
	return nil
}

// authjsSite is Auth.js as setup describes it.
type authjsSite struct {
	node *node
	id   string
}

func newAuthJS(t *testing.T, n *node, s setup) *authjsSite {
	t.Helper()
	a := &authjsSite{n, strconv.FormatInt(n.last.Add(1), 10)}
	a.control(t, "create", s, nil)
	t.Cleanup(func() { a.control(t, "drop", nil, nil) })
	return a
}

func (a *authjsSite) control(t *testing.T, what string, in, out any) {
	t.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	res, err := a.node.http.Post("http://"+a.node.addr+"/__interop/"+a.id+"/"+what, "application/json", bytes.NewReader(body))
	if err != nil {
		t.Fatalf("control Auth.js: %s: %v", what, err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("control Auth.js: %s: %s, %v: %s", what, res.Status, err, text)
	}
	if out != nil {
		if err := json.Unmarshal(text, out); err != nil {
			t.Fatalf("control Auth.js: %s: %v", what, err)
		}
	}
}

func (a *authjsSite) address() string       { return a.node.addr }
func (a *authjsSite) label(r *http.Request) { r.Header.Set("X-Interop-Site", a.id) }

func (a *authjsSite) behave(t *testing.T, d does) {
	t.Helper()
	a.control(t, "does", every(d), nil)
}

func (a *authjsSite) seed(t *testing.T, r rows) {
	t.Helper()
	a.control(t, "seed", r, nil)
}

func (a *authjsSite) take(t *testing.T) []call {
	t.Helper()
	var calls []call
	a.control(t, "take", nil, &calls)
	return calls
}

// every has each field of d, empty ones too, so that they replace older ones.
func every(d does) map[string]any {
	return map[string]any{"signIn": d.SignIn, "redirect": d.Redirect, "jwt": d.JWT, "session": d.Session,
		"events": d.Events, "mail": d.Mail, "slow": d.Slow, "fail": d.Fail}
}

func (g *gatebookSite) address() string     { return strings.TrimPrefix(g.server.URL, "http://") }
func (g *gatebookSite) label(*http.Request) {}

func (g *gatebookSite) behave(_ *testing.T, d does) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.does = d
}

func (g *gatebookSite) take(*testing.T) []call {
	g.mu.Lock()
	defer g.mu.Unlock()
	calls := g.trace
	g.trace = nil
	return calls
}

func (g *gatebookSite) seed(t *testing.T, r rows) {
	t.Helper()
	var writes []gatebook.Write
	for _, u := range r.Users {
		writes = append(writes, gatebook.CreateUser{Subject: record.NewKey(),
			User: gatebook.User{ID: u.ID, Name: u.Name, Email: u.Email, Image: u.Image}})
	}
	for _, a := range r.Accounts {
		writes = append(writes, gatebook.LinkAccount{Account: gatebook.Account{UserID: a.UserID, Type: a.Type,
			Provider: a.Provider, ProviderAccountID: a.ProviderAccountID}})
	}
	for _, s := range r.Sessions {
		writes = append(writes, gatebook.CreateSession{Session: gatebook.StoredSession{Token: gatebook.Secret(s.Token), UserID: s.UserID,
			ID: "sid-of-" + s.Token, Expires: s.Expires.UTC().Truncate(time.Millisecond), Begun: time.Now().UTC(), Provider: "npm"}})
	}
	for _, l := range r.Links {
		writes = append(writes, gatebook.CreateVerificationToken{Token: gatebook.VerificationToken{Identifier: l.Identifier,
			Hash: l.Hash, Expires: l.Expires.UTC().Truncate(time.Millisecond)}})
	}
	for _, a := range r.Authenticators {
		writes = append(writes, gatebook.CreateAuthenticator{Authenticator: a.authenticator()})
	}
	if err := g.store.Commit(context.Background(), &gatebook.Act{Writes: writes}); err != nil {
		t.Fatalf("seed Gatebook: %v", err)
	}
}

// refusedSite stands for a site that cannot be made: New refused its Config.
type refusedSite struct{ err error }

func (r refusedSite) address() string         { return "" }
func (r refusedSite) label(*http.Request)     {}
func (r refusedSite) behave(*testing.T, does) {}
func (r refusedSite) seed(*testing.T, rows)   {}
func (r refusedSite) take(*testing.T) []call  { return nil }
