// Package clients bundles the clients of next-auth for its tests, which use them
// in Chromium as they come from npm.
package clients

import (
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/gatebook/gatebook/test/need"
)

// bundles are those that were made already, by source and aliases.
var bundles sync.Map

// Bundle returns the script of a page that is made of source, a file of this
// folder, with the packages that it imports. alias puts one package in the place
// of another: "next-auth/react=next-auth-v4/react".
func Bundle(t testing.TB, source string, alias ...string) []byte {
	t.Helper()
	key := strings.Join(append([]string{source}, alias...), " ")
	if script, ok := bundles.Load(key); ok {
		return script.([]byte)
	}
	esbuild := filepath.Join(need.Clients(t), "esbuild", "bin", "esbuild")
	args := []string{esbuild, source, "--bundle", "--format=esm", "--jsx=automatic", "--log-level=warning",
		`--define:process.env.NODE_ENV="production"`, "--define:process.env={}"}
	for _, a := range alias {
		args = append(args, "--alias:"+a)
	}
	cmd := exec.Command(need.Node(t), args...)
	cmd.Dir = filepath.Join(need.Dir(), "clients")
	script, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Logf("esbuild said:\n%s", exit.Stderr)
		}
		t.Fatalf("bundle %s: %v", source, err)
	}
	bundles.Store(key, script)
	return script
}
