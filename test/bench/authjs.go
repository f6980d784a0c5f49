//go:build linux

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/adapter/memory"
	"github.com/gatebook/gatebook/test/need"
)

// minBesideAuthjs is how many times the token session reads of Auth.js ours are
// expected to be, a second of one core.
const minBesideAuthjs = 40

// contest is a kind of request that both answer.
type contest struct {
	name     string
	strategy string
	bound    float64 // 0 for none
	requests func(*runner, *gatebook.Auth) ([][]byte, error)
}

var contests = []contest{
	{"token session reads, by Auth.js", gatebook.StrategyJWT, minBesideAuthjs, tokenReads},
	{"database session reads, by Auth.js", gatebook.StrategyDatabase, 0, rowReads},
	{"CSRF tokens, by Auth.js", gatebook.StrategyJWT, 0, csrfReads},
	{"credentials, by Auth.js", gatebook.StrategyJWT, 0, credentialPosts},
}

// besideAuthjs measures Gatebook beside Auth.js in Node.js: the same requests,
// byte by byte, from the same client over the same number of keep-alive
// connections, each server a process on the one core that is kept for it, and
// charged by its CPU clock. Both keep in memory what they keep: of Auth.js's
// adapters none is as fast, and Gatebook's entries are not what is compared.
func besideAuthjs(ctx context.Context, r *runner) error {
	node, err := findNode()
	if err != nil {
		fmt.Fprintf(os.Stderr, "beside Auth.js: left out: %v\n", err)
		return nil
	}
	for _, c := range contests {
		if err := r.contest(c, node); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

// findNode returns the path of Node.js; the npm packages are beside the script.
func findNode() (string, error) {
	node := os.Getenv(need.NodeEnv)
	if why, missing := strings.CutPrefix(node, "missing: "); missing {
		return "", errors.New("needs " + why)
	}
	if node == "" {
		var err error
		if node, err = exec.LookPath("node"); err != nil {
			return "", errors.New("needs Node.js: not on the PATH")
		}
	}
	if _, err := os.Stat(filepath.Join(need.Dir(), "node_modules", "@auth", "core")); err != nil {
		return "", errors.New("needs npm packages: npm ci --prefix test --ignore-scripts")
	}
	return node, nil
}

// sessionsBeside is how many sessions are read here.
func (r *runner) sessionsBeside() int { return min(r.sessions, 10_000) }

func (r *runner) contest(c contest, node string) (err error) {
	apart, err := separate()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, apart.together()) }()
	auth, err := newAuth(forgetful{memory.New()}, c.strategy)
	if err != nil {
		return err
	}
	requests, err := c.requests(r, auth)
	if err != nil {
		return err
	}
	rows := 0
	if c.strategy == gatebook.StrategyDatabase {
		rows = r.sessionsBeside()
	}
	ours, err := apart.start(spec{Rows: rows})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ours.stop()) }()
	theirs, err := apart.startNode(node, c.strategy, rows)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, theirs.stop()) }()
	// Both answer the same, or they are not compared.
	a, oursRaw, err := ask(ours.Port, requests[0])
	if err != nil {
		return err
	}
	b, theirsRaw, err := ask(theirs.Port, requests[0])
	if err != nil {
		return err
	}
	if shape(a.Body) != shape(b.Body) || len(a.Header["Set-Cookie"]) != len(b.Header["Set-Cookie"]) {
		return fmt.Errorf("answers differ: Gatebook's\n%s\nand Auth.js's\n%s", oursRaw, theirsRaw)
	}
	rate := func(s *server, raw []byte) func() (float64, error) {
		return func() (float64, error) { return r.rate(s, s.Port, len(raw), requests) }
	}
	for range 5 { // until its compiler has seen enough
		if _, err := load(theirs.Port, requests, len(theirsRaw), r.round); err != nil {
			return err
		}
	}
	if _, err := load(ours.Port, requests, len(oursRaw), r.round); err != nil {
		return err
	}
	figure, floor, err := alternate(min(r.rounds, 5), rate(ours, oursRaw), rate(theirs, theirsRaw))
	if err != nil {
		return err
	}
	f, g := median(figure), median(floor)
	bound, ok := "", true
	if c.bound > 0 {
		bound, ok = fmt.Sprintf(">= %.0f", c.bound), f/g >= c.bound
	}
	r.print(c.name, perSecond(f), perSecond(g), f/g, bound, ok, "a second of one core; the floor is Auth.js")
	return nil
}

// shape is a body without what is random in it.
func shape(body string) string {
	for _, sep := range []string{`"csrfToken":"`, `"expires":"`} {
		if before, after, ok := strings.Cut(body, sep); ok {
			_, rest, _ := strings.Cut(after, `"`)
			body = before + sep + rest
		}
	}
	return body
}

// startNode starts Auth.js on the core that is kept for servers.
func (h *halves) startNode(node, strategy string, sessions int) (*server, error) {
	arg, err := json.Marshal(map[string]any{"strategy": strategy, "sessions": sessions})
	if err != nil {
		return nil, err
	}
	srv := &server{cmd: exec.Command("taskset", "-c", strconv.Itoa(h.server), node, filepath.Join(need.Dir(), "bench", "authjs.mjs"), string(arg))}
	srv.cmd.Env = append(os.Environ(), "NODE_ENV=production")
	srv.cmd.Stderr = os.Stderr
	if srv.in, err = srv.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := srv.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := srv.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start Auth.js: %w", err)
	}
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &srv.ports)
	}
	if err != nil {
		return nil, fmt.Errorf("start Auth.js: %w", errors.Join(err, srv.stop()))
	}
	return srv, nil
}

func tokenReads(r *runner, auth *gatebook.Auth) ([][]byte, error) {
	requests := make([][]byte, r.sessionsBeside())
	for i := range requests {
		b, err := tokenVisitor(auth, i)
		if err != nil {
			return nil, err
		}
		requests[i] = wire("/auth/session", b.header())
	}
	return requests, nil
}

func rowReads(r *runner, auth *gatebook.Auth) ([][]byte, error) {
	requests := make([][]byte, r.sessionsBeside())
	for i := range requests {
		b := newBrowser(auth)
		b.do(b.request("GET", "/auth/csrf", ""))
		b.names, b.cookies[sessionCookie] = append(b.names, sessionCookie), string(rowToken(i))
		requests[i] = wire("/auth/session", b.header())
	}
	return requests, nil
}

// csrfReads are of newcomers, who get a token.
func csrfReads(*runner, *gatebook.Auth) ([][]byte, error) {
	return [][]byte{wire("/auth/csrf", "theme=dark")}, nil
}

// credentialPosts sign in, each somebody else.
func credentialPosts(r *runner, auth *gatebook.Auth) ([][]byte, error) {
	requests := make([][]byte, min(r.sessions, 1000))
	for i := range requests {
		b := newBrowser(auth)
		b.do(b.request("GET", "/auth/csrf", ""))
		token, _, _ := strings.Cut(b.cookies["__Host-authjs.csrf-token"], "%7C")
		body := url.Values{"csrfToken": {token}, "number": {fmt.Sprintf("%04d", i)}}.Encode()
		requests[i] = fmt.Appendf(nil, "POST /auth/callback/typed HTTP/1.1\r\nHost: app.example.com\r\nUser-Agent: %s\r\nAccept: */*\r\n"+
			"X-Auth-Return-Redirect: 1\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\nCookie: %s\r\n\r\n%s",
			userAgent, len(body), b.header(), body)
	}
	return requests, nil
}

// fillSessions gives a store n sessions, each of a user of its own.
func fillSessions(ctx context.Context, store gatebook.Adapter, n int) error {
	now := time.Now().UTC().Truncate(time.Millisecond).Add(-time.Minute) // as if used a moment ago
	for i := range n {
		if err := store.Commit(ctx, &gatebook.Act{Writes: sessionOf(i, now)}); err != nil {
			return err
		}
	}
	return nil
}
