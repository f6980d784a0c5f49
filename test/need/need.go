// Package need gives tests what they use beside Go: a browser, Node.js and npm
// packages, databases. A test asks for a part at its beginning and gets its path
// or address:
//
//	chromium := need.Chromium(t)
//	url := need.Postgres(t)
//
// Where the part is missing the test is skipped, with one line that says what
// is missing and why; with CI=true it fails, because in CI a part that was not
// tested is an error. This package is the only place of the repository that
// skips a test.
//
// `make test` installs the parts and names them in environment variables. A
// person who runs `go test` by hand need not set them: without a variable the
// usual places are looked at.
package need

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

// The environment variables by which scripts/provide.sh names the parts. A
// value is an absolute path, or "missing: " and the reason.
const (
	ChromiumEnv    = "GATEBOOK_TEST_CHROMIUM"
	NodeEnv        = "GATEBOOK_TEST_NODE"
	NodeModulesEnv = "GATEBOOK_TEST_NODE_MODULES"
	NextjsEnv      = "GATEBOOK_TEST_NEXTJS"
	ClientsEnv     = "GATEBOOK_TEST_CLIENTS"
	AdaptersEnv    = "GATEBOOK_TEST_ADAPTERS"
	StraceEnv      = "GATEBOOK_TEST_STRACE"
	NginxEnv       = "GATEBOOK_TEST_NGINX"
	CaddyEnv       = "GATEBOOK_TEST_CADDY"
	// SoakEnv is set by `make soak`; see Soak.
	SoakEnv = "GATEBOOK_SOAK"
)

// minNode is the oldest major version of Node.js that the packages under test
// run on.
const minNode = 20

// Chromium returns the path of a Chromium or Chrome, or skips or fails t.
func Chromium(t testing.TB) string {
	t.Helper()
	return part(t, ChromiumEnv, func() (path, missing string) {
		for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
			if path, err := exec.LookPath(name); err == nil {
				return path, ""
			}
		}
		return "", "Chromium: not on the PATH"
	})
}

// Node returns the path of a Node.js of version 20 or newer, or skips or fails
// t.
func Node(t testing.TB) string {
	t.Helper()
	return part(t, NodeEnv, func() (path, missing string) {
		path, err := exec.LookPath("node")
		if err != nil {
			return "", "Node.js: not on the PATH"
		}
		out, err := exec.Command(path, "--version").Output()
		if err != nil {
			return "", fmt.Sprintf("Node.js: node --version: %v", err)
		}
		version := strings.TrimSpace(string(out))
		major, _, _ := strings.Cut(strings.TrimPrefix(version, "v"), ".")
		if n, err := strconv.Atoi(major); err != nil || n < minNode {
			return "", fmt.Sprintf("Node.js %d or newer: %s is %s", minNode, path, version)
		}
		return path, ""
	})
}

// NodeModules returns the folder of the npm packages that
// test/package-lock.json lists, or skips or fails t. Scripts in the test
// module find the packages by themselves, for the folder lies above them.
func NodeModules(t testing.TB) string {
	t.Helper()
	return part(t, NodeModulesEnv, packages("node_modules"))
}

// Nextjs returns the folder of the npm packages that
// test/nextjs/package-lock.json lists, Next.js among them, or skips or fails t.
func Nextjs(t testing.TB) string {
	t.Helper()
	return part(t, NextjsEnv, packages("nextjs/node_modules"))
}

// Clients returns the folder of the npm packages that
// test/clients/package-lock.json lists, which are for browsers, or skips or
// fails t.
func Clients(t testing.TB) string {
	t.Helper()
	return part(t, ClientsEnv, packages("clients/node_modules"))
}

// Adapters returns the folder of the npm packages that
// test/adapters/package-lock.json lists, the official database adapters of
// Auth.js, or skips or fails t.
func Adapters(t testing.TB) string {
	t.Helper()
	return part(t, AdaptersEnv, packages("adapters/node_modules"))
}

// packages looks for npm packages in a folder of the test module.
func packages(folder string) func() (path, missing string) {
	return func() (path, missing string) {
		dir := filepath.Join(Dir(), filepath.FromSlash(folder))
		if _, err := os.Stat(filepath.Join(dir, ".package-lock.json")); err != nil {
			return "", "npm packages: test/" + folder + " is not there"
		}
		return dir, ""
	}
}

// Strace returns the path of strace, or skips or fails t.
func Strace(t testing.TB) string {
	t.Helper()
	return part(t, StraceEnv, func() (path, missing string) {
		path, err := exec.LookPath("strace")
		if err != nil {
			return "", "strace: not on the PATH"
		}
		return path, ""
	})
}

// Nginx returns the path of nginx, or skips or fails t.
func Nginx(t testing.TB) string {
	t.Helper()
	return part(t, NginxEnv, func() (path, missing string) { return server("nginx") })
}

// Caddy returns the path of Caddy, or skips or fails t.
func Caddy(t testing.TB) string {
	t.Helper()
	return part(t, CaddyEnv, func() (path, missing string) { return server("caddy") })
}

// server finds a program that systems keep away from people's PATH.
func server(name string) (path, missing string) {
	for _, at := range []string{name, "/usr/sbin/" + name, "/usr/local/sbin/" + name} {
		if path, err := exec.LookPath(at); err == nil {
			return path, ""
		}
	}
	return "", name + ": neither on the PATH nor in sbin"
}

// Soak reports whether `make soak` runs: then tests with a number of rounds, of
// kills or of rows use their long one.
func Soak() bool { return os.Getenv(SoakEnv) != "" }

// Dir returns the folder of the test module. It panics if the binary was built
// with -trimpath, which tests are not.
func Dir() string {
	_, file, _, ok := runtime.Caller(0)
	if !ok || !filepath.IsAbs(file) {
		panic("need: the test binary does not know its source folder: built with -trimpath?")
	}
	return filepath.Dir(filepath.Dir(file))
}

// part returns the path that the variable env names or, if it is not set, the
// one that look finds.
func part(t testing.TB, env string, look func() (path, missing string)) string {
	t.Helper()
	path, missing := find(os.Getenv(env), look)
	if missing == "" {
		return path
	}
	without(t, missing)
	return ""
}

// without skips a test that cannot have what it needs; in CI it fails.
func without(t testing.TB, missing string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("needs %s; with CI=true that is a failure", missing)
	}
	t.Skipf("needs %s (`make test` installs it where it can)", missing)
}

// find returns a path, or what is missing and why.
func find(value string, look func() (path, missing string)) (path, missing string) {
	if why, ok := strings.CutPrefix(value, "missing: "); ok {
		return "", why
	}
	if value != "" {
		if _, err := os.Stat(value); err != nil {
			return "", err.Error()
		}
		return value, ""
	}
	return look()
}
