package adapters

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatebook/gatebook/test/need"
)

// npm is an official adapter in a Node.js process (server.mjs).
type npm struct {
	t    *testing.T
	addr string
	http *http.Client
	// again calls a method again that a change of the tables has refused, as
	// Prisma asks applications to.
	again bool
}

// startWithin is how long Node.js has to listen; it takes about a second.
const startWithin = time.Minute

// startNode starts server.mjs with these arguments; it ends with the test.
func startNode(t *testing.T, args ...string) *npm {
	t.Helper()
	need.Adapters(t)
	cmd := exec.Command(need.Node(t), append([]string{filepath.Join(need.Dir(), "adapters", "server.mjs")}, args...)...)
	cmd.Env = append(os.Environ(), "TZ=Pacific/Chatham") // no time may depend on it
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
		return &npm{t: t, addr: addr, http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}}
	case <-time.After(startWithin):
		t.Fatalf("Auth.js did not listen within %v", startWithin)
	}
	return nil
}

// row is a row as an adapter or a database has it: text, bool, int64, time.Time,
// or nil.
type row map[string]any

// call calls a method of the adapter, which must not fail. Objects are rows.
func (n *npm) call(method string, args ...any) any {
	n.t.Helper()
	v, err := n.try(method, args...)
	for n.again && err != nil && strings.Contains(err.Error(), "write conflict or a deadlock") {
		v, err = n.try(method, args...)
	}
	if err != nil {
		n.t.Fatalf("%s of npm's adapter: %v", method, err)
	}
	return v
}

// row calls a method that answers with a row.
func (n *npm) row(method string, args ...any) row {
	n.t.Helper()
	v := n.call(method, args...)
	r, ok := v.(row)
	if !ok {
		n.t.Fatalf("%s of npm's adapter = %v, want a row", method, v)
	}
	return r
}

func (n *npm) try(method string, args ...any) (any, error) {
	if args == nil {
		args = []any{}
	}
	body, err := json.Marshal(tag(args))
	if err != nil {
		return nil, err
	}
	res, err := n.http.Post("http://"+n.addr+"/adapter/"+method, "application/json", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	decoder := json.NewDecoder(res.Body)
	decoder.UseNumber()
	var out struct {
		Value any    `json:"value"`
		Error string `json:"error"`
	}
	if err := decoder.Decode(&out); err != nil {
		return nil, fmt.Errorf("%s: %w", res.Status, err)
	}
	if out.Error != "" {
		return nil, errors.New(out.Error)
	}
	return untag(out.Value), nil
}

// tag writes times as {"$date": …}, which server.mjs makes dates of.
func tag(v any) any {
	switch v := v.(type) {
	case time.Time:
		return map[string]any{"$date": v.UTC().Format("2006-01-02T15:04:05.000Z")}
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = tag(v[i])
		}
		return out
	case row:
		out := map[string]any{}
		for name, member := range v {
			out[name] = tag(member)
		}
		return out
	}
	return v
}

// untag is the reverse of tag; whole numbers become int64.
func untag(v any) any {
	switch v := v.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		return v.String()
	case []any:
		for i := range v {
			v[i] = untag(v[i])
		}
	case map[string]any:
		if text, ok := v["$date"].(string); ok {
			at, err := time.Parse(time.RFC3339, text)
			if err != nil {
				panic(err)
			}
			return at.UTC()
		}
		out := row{}
		for name, member := range v {
			out[name] = untag(member)
		}
		return out
	}
	return v
}
