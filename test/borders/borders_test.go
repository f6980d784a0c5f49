package borders

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gatebook/gatebook/test/need"
)

// repository returns the folder that go.work is in.
func repository() string { return filepath.Dir(need.Dir()) }

// list runs `go list` in the repository with the workspace on or off.
func list(t *testing.T, workspace bool, args ...string) []listed {
	t.Helper()
	fields := "-json=ImportPath,Name,Dir,Doc,Standard,Module,Imports,TestImports,XTestImports,GoFiles,TestGoFiles,XTestGoFiles,Error"
	cmd := exec.Command("go", append([]string{"list", fields}, args...)...)
	cmd.Dir = repository()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	cmd.Env = os.Environ()
	if !workspace {
		cmd.Env = append(cmd.Env, "GOWORK=off")
	}
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, stderr.Bytes())
	}
	var packages []listed
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("output of %v: %v", cmd, err)
		}
		packages = append(packages, p)
	}
	if len(packages) == 0 {
		t.Fatalf("%v lists no package", cmd)
	}
	return packages
}

func TestBorders(t *testing.T) {
	packages := list(t, true, "-e", "work")
	var inCore []string
	for _, p := range packages {
		if p.inCore() {
			inCore = append(inCore, p.ImportPath)
		}
	}
	for _, p := range packages {
		if len(p.GoFiles) == 0 {
			p.Doc = docOfTests(t, p)
			p.GoFiles = p.XTestGoFiles
		}
		for _, line := range violations(p, inCore) {
			t.Error(line)
		}
	}
}

// docOfTests returns the package comment of a package that is tests only,
// which go list does not tell.
func docOfTests(t *testing.T, p listed) string {
	t.Helper()
	for _, name := range slices.Concat(p.TestGoFiles, p.XTestGoFiles) {
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, parser.PackageClauseOnly|parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		if doc := file.Doc.Text(); doc != "" {
			return doc
		}
	}
	return ""
}

func TestCoreLinksOnlyWhatIsListed(t *testing.T) {
	for _, p := range list(t, false, "-deps", "./...") {
		if p.Standard || p.Module == nil || p.Module.Path == module {
			continue
		}
		if !slices.Contains(coreModules, p.Module.Path) {
			t.Errorf("core links %s of the module %s, which is not listed", p.ImportPath, p.Module.Path)
		}
	}
}

func TestCoreRequiresOnlyWhatIsListed(t *testing.T) {
	cmd := exec.Command("go", "mod", "edit", "-json")
	cmd.Dir = repository()
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v", cmd, err)
	}
	var mod struct {
		Require []struct {
			Path     string
			Indirect bool
		}
	}
	if err := json.Unmarshal(out, &mod); err != nil {
		t.Fatal(err)
	}
	for _, r := range mod.Require {
		if !r.Indirect && !slices.Contains(coreModules, r.Path) && !slices.Contains(testModules, r.Path) {
			t.Errorf("core's go.mod requires %s, which is not listed", r.Path)
		}
	}
}

// The rules must be able to fail: each row breaks one of them, or none.
func TestViolations(t *testing.T) {
	inCore := []string{module, module + "/record", module + "/adapter/memory"}
	tests := []struct {
		name string
		pkg  listed
		want string // contained in the only violation; none if empty
	}{
		{"root knows book", pkg("", imports("context", module+"/book", module+"/internal/jwe")), ""},
		{"root knows a provider", pkg("", imports(module+"/provider/oauth")), "provider/oauth, which the room . may not know"},
		{"record uses a module", pkg("record", imports("github.com/google/uuid")), "uuid, which the room record may not use"},
		{"book uses the tree", pkg("book", imports("golang.org/x/mod/sumdb/tlog", module+"/record")), ""},
		{"book uses uuid", pkg("book", imports("github.com/google/uuid")), "may not use"},
		{"book knows the root", pkg("book", imports(module)), "may not know"},
		{"internal knows internal", pkg("internal/jwe", imports(module+"/internal/cookie")), "internal/cookie, which the room internal/jwe may not know"},
		{"internal knows its own", pkg("internal/sqldb/sqldbtest", imports(module+"/internal/sqldb")), ""},
		{"catalog knows the engine", pkg("provider/catalog", imports(module, module+"/provider/oauth")), ""},
		{"adapter knows adapter", other("adapter/sqlite", imports(module+"/adapter/memory")), "may not know"},
		{"adapter knows internal", other("adapter/sqlite", imports(module+"/internal/sqldb")), "may not know"},
		{"sqlstore knows internal/sqldb", pkg("adapter/sqlstore", imports(module+"/internal/sqldb")), ""},
		{"adapter uses a driver", other("adapter/sqlite", imports("modernc.org/sqlite")), ""},
		{"core uses a driver", pkg("adapter/sqlstore", imports("modernc.org/sqlite")), "may not use"},
		{"a name that begins alike", pkg("record", imports("github.com/google/uuidx")), "may not use"},
		{"the binary knows internal", other("cmd/gatebook", imports(module+"/internal/pages")), "may not know"},
		{"the binary knows its own internal", other("cmd/gatebook", imports(module+"/cmd/gatebook/internal/demo")), ""},
		{"a test knows the binary", other("test/e2e", imports(module+"/cmd/gatebook/internal/demo")), "may not know"},
		{"an adapter's test knows internal", other("adapter/sqlite", xtests(module+"/internal/sqldb")), "in its tests"},
		{"a test with a driver knows internal", other("test/sqldb", xtests(module+"/internal/sqldb")), ""},
		{"a test's helper knows internal", other("test/sqldb", imports(module+"/internal/sqldb")), "may not know"},
		{"a test knows the binary too", other("test/e2e", xtests(module+"/cmd/gatebook")), "in its tests"},
		{"core's test uses a driver", pkg("record", xtests("modernc.org/sqlite")), "in its tests"},
		{"core's test knows another module", pkg("record", xtests(module+"/adapter/sqlite")), "in its tests"},
		{"core's test knows core", pkg("record", xtests("testing", module+"/adapter/memory", "github.com/google/go-cmp/cmp", "pgregory.net/rapid")), ""},
		{"core's test is inside", pkg("record", func(p *listed) { p.TestGoFiles = []string{"record_test.go"} }), "tests inside the package"},
		{"no comment", pkg("record", func(p *listed) { p.Doc = "" }), "no package comment"},
		{"a name that says nothing", pkg("record/util", imports()), "says nothing"},
		{"a new room", pkg("elsewhere", imports()), "no room"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := violations(test.pkg, inCore)
			switch {
			case test.want == "" && len(got) > 0:
				t.Errorf("violations = %q, want none", got)
			case test.want != "" && (len(got) != 1 || !strings.Contains(got[0], test.want)):
				t.Errorf("violations = %q, want one with %q", got, test.want)
			}
		})
	}
}

// pkg returns a package of core at the path, with a comment and what change
// adds; other one of another module.
func pkg(path string, change func(*listed)) listed {
	p := listed{
		ImportPath: strings.TrimSuffix(module+"/"+path, "/"),
		Doc:        "Package x does something.",
		GoFiles:    []string{"x.go"},
		Module:     &struct{ Path string }{module},
	}
	change(&p)
	return p
}

func other(path string, change func(*listed)) listed {
	p := pkg(path, change)
	p.Module.Path = module + "/another"
	return p
}

func imports(paths ...string) func(*listed) { return func(p *listed) { p.Imports = paths } }
func xtests(paths ...string) func(*listed)  { return func(p *listed) { p.XTestImports = paths } }
