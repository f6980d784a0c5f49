package need_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/gatebook/gatebook/test/need"
)

// outcome records what need does with a test instead of doing it.
type outcome struct {
	testing.TB
	skipped, failed string
}

func (o *outcome) Helper() {}

func (o *outcome) Skipf(format string, args ...any) {
	o.skipped = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func (o *outcome) Fatalf(format string, args ...any) {
	o.failed = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func call(f func(testing.TB) string) (path string, o *outcome) {
	o = new(outcome)
	done := make(chan struct{})
	go func() {
		defer close(done)
		path = f(o)
	}()
	<-done
	return path, o
}

var parts = []struct {
	name, env string
	get       func(testing.TB) string
}{
	{"Chromium", need.ChromiumEnv, need.Chromium},
	{"Node", need.NodeEnv, need.Node},
	{"NodeModules", need.NodeModulesEnv, need.NodeModules},
	{"Nextjs", need.NextjsEnv, need.Nextjs},
	{"Clients", need.ClientsEnv, need.Clients},
	{"Adapters", need.AdaptersEnv, need.Adapters},
	{"Nginx", need.NginxEnv, need.Nginx},
	{"Caddy", need.CaddyEnv, need.Caddy},
}

func TestThere(t *testing.T) {
	for _, part := range parts {
		t.Run(part.name, func(t *testing.T) {
			there := filepath.Join(t.TempDir(), "part")
			if err := os.WriteFile(there, nil, 0o755); err != nil {
				t.Fatal(err)
			}
			t.Setenv(part.env, there)
			if path, o := call(part.get); path != there {
				t.Errorf("= %q (skipped %q, failed %q), want %q", path, o.skipped, o.failed, there)
			}
		})
	}
}

func TestMissing(t *testing.T) {
	gone := filepath.Join(t.TempDir(), "gone")
	for _, part := range parts {
		for value, why := range map[string]string{"missing: Part: apt-get failed": "Part: apt-get failed", gone: gone} {
			t.Run(part.name, func(t *testing.T) {
				t.Setenv(part.env, value)

				t.Setenv("CI", "")
				_, o := call(part.get)
				if !strings.Contains(o.skipped, why) || o.failed != "" {
					t.Errorf("skipped %q and failed %q, want a skip that says %q", o.skipped, o.failed, why)
				}
				if strings.Contains(o.skipped, "\n") {
					t.Errorf("the skip says %q, want one line", o.skipped)
				}

				t.Setenv("CI", "true")
				_, o = call(part.get)
				if !strings.Contains(o.failed, why) || o.skipped != "" {
					t.Errorf("with CI=true skipped %q and failed %q, want a failure that says %q", o.skipped, o.failed, why)
				}
			})
		}
	}
}

func TestNotOnThePath(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	t.Setenv("CI", "")
	for _, part := range parts[:2] {
		t.Setenv(part.env, "")
		if path, o := call(part.get); o.skipped == "" {
			t.Errorf("%s = %q with an empty PATH, want a skip", part.name, path)
		}
	}
}

func TestOldNode(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "node"), []byte("#!/bin/sh\necho v18.20.4\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	t.Setenv("CI", "")
	t.Setenv(need.NodeEnv, "")
	if path, o := call(need.Node); !strings.Contains(o.skipped, "v18.20.4") {
		t.Errorf("Node = %q with Node.js 18 on the PATH, skipped %q; want a skip that tells the version", path, o.skipped)
	}
}
