// Package nextjs runs a small Next.js application on Auth.js: route handlers,
// middleware, server components and server actions, as its documentation sets
// them up. Services in Go are tested beside it.
//
// The application is in this folder. People sign in with a user name, ada, bob
// or grace, and the password "right".
package nextjs

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatebook/gatebook/test/need"
)

const (
	// Building takes 20 seconds of one core, starting one; a busy machine gets more.
	buildWithin = 4 * time.Minute
	startWithin = time.Minute
)

// built remembers that this process has built the application.
var built struct {
	sync.Mutex
	done bool
}

// Start builds the application, once a process, and starts it with an
// environment such as "AUTH_SECRET=…". It ends with the test. It returns the
// address it listens at, and trusts the X-Forwarded headers of whoever comes.
// Without Node.js or the npm packages it skips the test; see package need.
func Start(t testing.TB, env ...string) (url string) {
	t.Helper()
	node := need.Node(t)
	need.Nextjs(t)
	build(t, node)

	cmd := command(t.Context(), node, "server.mjs")
	cmd.Env = append(cmd.Env, env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	// The server ends when its standard input closes: also when this process
	// is killed and no cleanup runs.
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start Next.js: %v", err)
	}
	ready, drained := make(chan string, 1), make(chan struct{})
	go func() {
		defer close(drained)
		defer close(ready)
		lines := bufio.NewScanner(stdout)
		for lines.Scan() {
			if url, ok := strings.CutPrefix(lines.Text(), "ready "); ok {
				ready <- url
				break
			}
		}
		io.Copy(io.Discard, stdout)
	}()
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-drained
		cmd.Wait()
		if t.Failed() {
			t.Logf("Next.js said:\n%s", stderr.Bytes())
		}
	})
	select {
	case url, ok := <-ready:
		if !ok {
			t.Fatal("Next.js ended before it listened")
		}
		return url
	case <-time.After(startWithin):
		t.Fatalf("Next.js did not listen within %v", startWithin)
	}
	return ""
}

func build(t testing.TB, node string) {
	t.Helper()
	built.Lock()
	defer built.Unlock()
	if built.done {
		return
	}
	ctx, cancel := context.WithTimeout(t.Context(), buildWithin)
	defer cancel()
	cmd := command(ctx, node, filepath.Join("node_modules", "next", "dist", "bin", "next"), "build")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the Next.js application: %v\n%s", err, out)
	}
	built.done = true
}

// command is Node.js in the folder of the application. What the machine's
// environment says to Auth.js does not reach it.
func command(ctx context.Context, node string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, node, args...)
	cmd.Dir = filepath.Join(need.Dir(), "nextjs")
	cmd.WaitDelay = 5 * time.Second
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "AUTH_") && !strings.HasPrefix(v, "NEXTAUTH_") && !strings.HasPrefix(v, "NODE_ENV=") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, "NEXT_TELEMETRY_DISABLED=1", "NODE_ENV=production")
	return cmd
}
