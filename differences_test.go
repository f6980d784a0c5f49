package gatebook_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var updateDifferences = flag.Bool("update-differences", false, "write docs/differences.md from testdata/differences.json")

// difference is one way in which a client or an application can notice that this
// is not Auth.js.
type difference struct {
	// ID is how test/interop names the difference where Auth.js and Gatebook are
	// seen side by side; empty when they cannot be.
	ID       string   `json:"id"`
	Area     string   `json:"area"`
	AuthJS   string   `json:"authjs"`
	Gatebook string   `json:"gatebook"`
	Why      string   `json:"why"`
	Tests    []string `json:"tests"` // "TestX", or "folder TestX"
}

const differencesHead = `# Differences from Auth.js

Gatebook answers as Auth.js v5 does: routes, cookies, tokens, tables and error codes. Where Auth.js is unsafe, loses something or
contradicts its own documentation, Gatebook does not follow. This is the list of what a client, an application or an operator can
notice, and why. Each line is held by a test.

This page is made from testdata/differences.json: ` + "`go test -run TestDifferences -update-differences .`" + `
`

// TestDifferences keeps docs/differences.md equal to the list, and each entry of
// the list tied to a test that is there.
func TestDifferences(t *testing.T) {
	raw, err := os.ReadFile("testdata/differences.json")
	if err != nil {
		t.Fatal(err)
	}
	var list []difference
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&list); err != nil {
		t.Fatal(err)
	}
	sources := map[string]string{}
	var page strings.Builder
	page.WriteString(differencesHead)
	area := ""
	for _, d := range list {
		if d.Area == "" || d.AuthJS == "" || d.Gatebook == "" || d.Why == "" || len(d.Tests) == 0 {
			t.Errorf("incomplete: %+v", d)
		}
		for _, name := range d.Tests {
			dir, fn, ok := strings.Cut(name, " ")
			if !ok {
				dir, fn = ".", name
			}
			if _, ok := sources[dir]; !ok {
				sources[dir] = testSources(t, dir)
			}
			if !strings.Contains(sources[dir], "func "+fn+"(") {
				t.Errorf("no test %s in %s, which is to prove: %s", fn, dir, d.Gatebook)
			}
		}
		if d.Area != area {
			area = d.Area
			page.WriteString("\n## " + area + "\n\n| Auth.js | Gatebook | why |\n|---|---|---|\n")
		}
		page.WriteString("| " + strings.Join([]string{d.AuthJS, d.Gatebook, d.Why}, " | ") + " |\n")
	}
	const path = "docs/differences.md"
	if *updateDifferences {
		if err := os.WriteFile(path, []byte(page.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(page.String(), string(got)); diff != "" {
		t.Errorf("%s is not what testdata/differences.json says; run this test with -update-differences (-want +got):\n%s", path, diff)
	}
}

func testSources(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(b)
	}
	return all.String()
}
