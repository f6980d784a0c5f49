package borders

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// files calls visit with the content of each text file of the repository, and
// its path there.
func files(t *testing.T, visit func(name string, content []byte)) {
	t.Helper()
	skipped := []string{".git", "node_modules", ".next", "bin", "coverage"}
	root := repository()
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		switch skip := slices.Contains(skipped, entry.Name()); {
		case skip && entry.IsDir():
			return fs.SkipDir
		case skip, !entry.Type().IsRegular(): // in a linked work tree .git is a file
			return nil
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if bytes.IndexByte(content, 0) >= 0 {
			return nil
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		visit(filepath.ToSlash(name), content)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// What is written here must mean the same on every machine: a lock file with a
// registry's address fails where another mirror is used, and a path of one
// machine's folders fails on the next.
var unportable = []struct {
	what string
	is   *regexp.Regexp
}{
	{"host of a package registry", regexp.MustCompile(`\b(?:proxy\.golang|sum\.golang|registry\.npmjs|registry\.yarnpkg|(?:deb|security|archive)\.debian)\.(?:org|com)\b`)},
	{"folder of one machine", regexp.MustCompile(`(?:^|[^\w.~/<>-])/(?:work|root)(?:/|\b)`)},
	{"folder of one person", regexp.MustCompile(`(?:^|[^\w.~/<>-])/(?:home|Users)/\w+/`)},
}

func TestFilesArePortable(t *testing.T) {
	files(t, func(name string, content []byte) {
		for i, line := range strings.Split(string(content), "\n") {
			for _, u := range unportable {
				if found := u.is.FindString(line); found != "" {
					t.Errorf("%s:%d names the %s: %q", name, i+1, u.what, strings.TrimSpace(found))
				}
			}
		}
	})
}

func TestUnportable(t *testing.T) {
	// The parts are joined here, so that this file does not name them itself.
	named := []string{
		`"resolved": "https://registry.` + `npmjs.org/debug/-/debug-4.4.3.tgz"`,
		"GOPROXY=https://proxy." + "golang.org,direct",
		"cd /" + "work/main",
		`dir := "/` + `root/data"`,
		"see /" + "home/ada/notes.md",
	}
	for _, line := range named {
		if !slices.ContainsFunc(unportable, func(u struct {
			what string
			is   *regexp.Regexp
		}) bool {
			return u.is.MatchString(line)
		}) {
			t.Errorf("%q passes", line)
		}
	}
	for _, line := range []string{"https://example.com/work", "./work/x", "</root>", "go test work", "roots/root", "/rooted"} {
		for _, u := range unportable {
			if u.is.MatchString(line) {
				t.Errorf("%q names the %s, want it to pass", line, u.what)
			}
		}
	}
}

// Tests neither skip (package need is where they may) nor sleep, except in the
// bubble of testing/synctest, where sleeping is how time passes.
func TestNoTestSkipsOrSleeps(t *testing.T) {
	files(t, func(name string, content []byte) {
		if !strings.HasSuffix(name, ".go") || strings.HasPrefix(name, "test/need/") {
			return
		}
		for _, found := range skipsAndSleeps(t, name, content) {
			t.Error(found)
		}
	})
}

func skipsAndSleeps(t *testing.T, name string, content []byte) []string {
	t.Helper()
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, name, content, parser.SkipObjectResolution)
	if err != nil {
		t.Errorf("%v", err)
		return nil
	}
	var testing, synctest bool
	for _, spec := range file.Imports {
		path, _ := strconv.Unquote(spec.Path.Value)
		testing = testing || path == "testing"
		synctest = synctest || path == "testing/synctest"
	}
	if !testing {
		return nil
	}
	var found []string
	ast.Inspect(file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		f, ok := call.Fun.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		receiver, ok := f.X.(*ast.Ident)
		if !ok {
			return true
		}
		switch skips := []string{"Skip", "Skipf", "SkipNow"}; {
		case slices.Contains(skips, f.Sel.Name) && slices.Contains([]string{"t", "b", "f", "tb"}, receiver.Name):
			found = append(found, set.Position(call.Pos()).String()+" skips a test; use package need")
		case receiver.Name == "time" && f.Sel.Name == "Sleep" && !synctest:
			found = append(found, set.Position(call.Pos()).String()+" sleeps in a test")
		}
		return true
	})
	return found
}

func TestSkipsAndSleeps(t *testing.T) {
	tests := []struct {
		imports, body string
		want          int
	}{
		{`"testing"`, `t.Skip()`, 1},
		{`"testing"`, `f.Fuzz(func(t *testing.T) { t.SkipNow() })`, 1},
		{`"testing"; "time"`, `time.Sleep(time.Second)`, 1},
		{`"testing"; "testing/synctest"; "time"`, `time.Sleep(time.Second)`, 0},
		{`"time"`, `time.Sleep(time.Second)`, 0},
		{`"testing"`, `scanner.Skip()`, 0},
	}
	for _, test := range tests {
		source := "package x\nimport (" + test.imports + ")\nfunc x() { " + test.body + " }"
		if got := skipsAndSleeps(t, "x_test.go", []byte(source)); len(got) != test.want {
			t.Errorf("%s with %s: %q, want %d", test.body, test.imports, got, test.want)
		}
	}
}
