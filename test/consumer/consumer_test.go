package consumer_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gatebook/gatebook/test/borders"
	"github.com/gatebook/gatebook/test/need"
)

const module = "github.com/gatebook/gatebook"

// listedByCore are the modules that tools which read `go list -m all`, such as
// licence and vulnerability scanners, may show besides core and what it links:
// what core's tests use, and what the linked modules name in their own go.mod.
var listedByCore = []string{
	"cloud.google.com/go/compute/metadata", // named by x/oauth2
	"github.com/google/go-cmp",
	"golang.org/x/net",  // named by x/crypto
	"golang.org/x/term", // named by x/crypto
	"golang.org/x/text", // named by x/crypto
	"golang.org/x/tools",
	"pgregory.net/rapid",
}

func TestCore(t *testing.T) {
	c := newConsumer(t, "core", "")
	c.run("build", "-o", os.DevNull, ".")

	mayLink := append(borders.CoreModules(), module)
	linked := c.modules("list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}}{{end}}{{end}}", ".")
	if !slices.Contains(linked, module) {
		t.Fatalf("the program links %q, not core: it tests nothing", linked)
	}
	for _, path := range linked {
		if !slices.Contains(mayLink, path) {
			t.Errorf("a program that imports core links %s", path)
		}
	}
	for _, path := range c.modules("list", "-m", "-f", "{{if not .Main}}{{.Path}}{{end}}", "all") {
		if !slices.Contains(mayLink, path) && !slices.Contains(listedByCore, path) {
			t.Errorf("a program that imports core has %s in its module list", path)
		}
	}
}

// A service that reads sessions carries neither drivers nor OpenID Connect.
func TestAuthjs(t *testing.T) {
	c := newConsumer(t, "authjs", "")
	c.run("build", "-o", os.DevNull, ".")
	linked := c.modules("list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}}{{end}}{{end}}", ".")
	if !slices.Equal(linked, []string{module}) {
		t.Errorf("a program that imports authjs links %q, want core alone", linked)
	}
}

// consumer is a program in a folder of its own, outside the workspace.
type consumer struct {
	t   *testing.T
	dir string
}

// newConsumer copies the program testdata/name to an empty folder and gives it
// a go.mod that requires the modules of the repository in the folders given,
// as they are in the checkout.
func newConsumer(t *testing.T, name string, folders ...string) *consumer {
	t.Helper()
	c := &consumer{t, t.TempDir()}
	if err := os.CopyFS(c.dir, os.DirFS(filepath.Join("testdata", name))); err != nil {
		t.Fatal(err)
	}
	repository := filepath.Dir(need.Dir())
	mod := "module example.com/consumer\n\ngo 1.26.0\n"
	var sums []byte
	for _, folder := range folders {
		path := strings.TrimSuffix(module+"/"+folder, "/")
		mod += "\nrequire " + path + " v0.0.0\nreplace " + path + " => " + filepath.Join(repository, folder) + "\n"
		// The checksums the repository trusts; without them the program would
		// have to ask for them.
		sum, err := os.ReadFile(filepath.Join(repository, folder, "go.sum"))
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		sums = append(sums, sum...)
	}
	for name, content := range map[string][]byte{"go.mod": []byte(mod), "go.sum": sums} {
		if err := os.WriteFile(filepath.Join(c.dir, name), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// run runs the go command in the consumer's folder and returns its output.
func (c *consumer) run(args ...string) string {
	c.t.Helper()
	cmd := exec.Command("go", args...)
	cmd.Dir = c.dir
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=mod")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		c.t.Fatalf("%v: %v\n%s", cmd, err, stderr.Bytes())
	}
	return string(out)
}

// modules runs a go command that prints a module path a line, and returns each
// once.
func (c *consumer) modules(args ...string) []string {
	c.t.Helper()
	lines := strings.Fields(c.run(args...))
	slices.Sort(lines)
	return slices.Compact(lines)
}
