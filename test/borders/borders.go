// Package borders holds the rules about who may import what in this
// repository, as data, and the tests that keep them. A rule that is broken
// here is a decision about the design, not a detail: change the table only
// together with the design it states.
package borders

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// module is the import path of the core module and the prefix of every other.
const module = "github.com/gatebook/gatebook"

// CoreModules returns the modules that may be in the binary of a program that
// imports core.
func CoreModules() []string { return slices.Clone(coreModules) }

// coreModules are the modules that a program gets when it imports any package
// of core. Each is there for a reason that no part of the standard library
// serves; adding one makes every user of the library carry it.
var coreModules = []string{
	"code.dny.dev/ssrf",
	"github.com/coreos/go-oidc/v3",
	"github.com/go-jose/go-jose/v4",
	"github.com/google/uuid",
	"golang.org/x/crypto",
	"golang.org/x/mod",
	"golang.org/x/oauth2",
	"golang.org/x/sys", // through x/crypto
}

// testModules are what core's tests may import besides. They are in core's
// go.mod, but in nobody's program.
var testModules = []string{
	"github.com/google/go-cmp",
	"pgregory.net/rapid",
}

// A room is a package, with the packages below it, and what it may import.
type room struct {
	// path is relative to the repository; "." is the root package alone.
	path string
	// ours are the rooms it may know, itself aside; "..." is all of them.
	ours []string
	// not are those of ours that it may not know after all.
	not []string
	// modules are the foreign modules it may import: nil for coreModules,
	// empty for none. Rooms outside core are not bound by it.
	modules []string
}

var none = []string{}

// rooms is the table of the house. A package belongs to the room with the
// longest path that fits; one that belongs to none fails the test.
var rooms = []room{
	{path: "record", modules: none},
	{path: "book", ours: []string{"record", "internal/sqldb"}, modules: []string{"golang.org/x/mod"}},
	{path: ".", ours: []string{"record", "book", "internal"}},
	{path: "internal/*"},
	// Whoever only reads sessions gets no module but core.
	{path: "authjs", ours: []string{"internal"}, modules: none},
	{path: "provider/oauth", ours: []string{"."}},
	{path: "provider/catalog", ours: []string{".", "provider/oauth"}},
	{path: "provider/email", ours: []string{"."}},
	{path: "provider/credentials", ours: []string{"."}},
	// The Mailer that it implements is provider/email's.
	{path: "mail/smtp", ours: []string{".", "provider/email"}},
	{path: "mail/httpmail", ours: []string{".", "provider/email"}, modules: none},
	{path: "passkey", ours: []string{"."}},
	{path: "adapter/sqlstore", ours: []string{".", "record", "book", "internal/sqldb"}},
	{path: "adapter/memory", ours: []string{".", "record", "book", "adapter/sqlstore"}},
	{path: "adapter/sqlite", ours: []string{".", "record", "book", "adapter/sqlstore"}},
	{path: "adapter/postgres", ours: []string{".", "record", "book", "adapter/sqlstore"}},
	{path: "adapter/mysql", ours: []string{".", "record", "book", "adapter/sqlstore"}},
	{path: "adapter/redis", ours: []string{".", "record", "book", "adapter/sqlstore"}},
	{path: "adapter/adaptertest", ours: []string{".", "record", "book"}, modules: none},
	{path: "gatebooktest", ours: []string{".", "book", "provider/credentials", "provider/oauth", "adapter/memory"}},
	{path: "cmd/gatebook", ours: []string{"..."}, not: []string{"internal"}},
	{path: "examples", ours: []string{"..."}, not: []string{"internal", "cmd"}},
	{path: "test", ours: []string{"..."}, not: []string{"internal", "cmd"}},
	{path: "tools", modules: none},
}

// refusedNames are package names that say nothing about what is inside.
var refusedNames = []string{"util", "utils", "common", "helper", "helpers", "types", "misc", "shared"}

// listed is a package as `go list -json` tells of it.
type listed struct {
	ImportPath, Name, Dir, Doc string
	Standard                   bool
	Module                     *struct{ Path string }
	Imports                    []string
	TestImports, XTestImports  []string
	GoFiles                    []string
	TestGoFiles, XTestGoFiles  []string
	Error                      *struct{ Err string }
}

func (p listed) inCore() bool { return p.Module != nil && p.Module.Path == module }

// violations returns a line for each rule that p breaks. Packages of core have
// the import paths inCore.
func violations(p listed, inCore []string) []string {
	var found []string
	report := func(format string, args ...any) {
		found = append(found, p.ImportPath+" "+fmt.Sprintf(format, args...))
	}

	if p.Error != nil {
		report("cannot be listed: %s", p.Error.Err)
	}
	if slices.Contains(refusedNames, p.Name) || slices.Contains(refusedNames, path.Base(p.ImportPath)) {
		report("has a name that says nothing")
	}
	if len(p.GoFiles) > 0 && p.Doc == "" {
		report("has no package comment")
	}

	own, ok := roomOf(p.ImportPath)
	if !ok {
		report("belongs to no room of the table")
		return found
	}
	for _, imported := range p.Imports {
		if !own.mayKnow(imported) {
			report("imports %s, which the room %s may not know", imported, own.path)
		}
		if p.inCore() && !own.mayUse(imported) {
			report("imports %s, which the room %s may not use", imported, own.path)
		}
	}
	tests := slices.Concat(p.TestImports, p.XTestImports)
	if p.inCore() {
		if len(p.TestGoFiles) > 0 {
			report("has tests inside the package, in %s", strings.Join(p.TestGoFiles, ", "))
		}
		for _, imported := range tests {
			foreign := !standard(imported) && !slices.Contains(inCore, imported)
			if foreign && !isBelowAny(imported, testModules) {
				report("imports %s in its tests; core's tests use the standard library, go-cmp, rapid and core", imported)
			}
		}
		return found
	}
	for _, imported := range tests {
		// Tests may know what their room may not, but no command; and internal
		// packages only from the module test, where what needs a driver or a
		// foreign implementation to compare with is tested. That module has no
		// version and so cannot meet another version of core.
		relative, ours := relativePath(imported)
		if !ours || isBelow(relative, own.path) {
			continue
		}
		if isBelow(relative, "cmd") || isBelow(relative, "internal") && own.path != "test" {
			report("imports %s in its tests", imported)
		}
	}
	return found
}

// roomOf returns the room that the package importPath belongs to.
func roomOf(importPath string) (room, bool) {
	relative, ours := relativePath(importPath)
	if !ours {
		return room{}, false
	}
	var best room
	for _, r := range rooms {
		if parent, each := strings.CutSuffix(r.path, "/*"); each && isBelow(relative, parent) && relative != parent {
			// Each folder is a room of its own, and those do not know one
			// another.
			first, _, _ := strings.Cut(relative[len(parent)+1:], "/")
			r.path = parent + "/" + first
		}
		if isBelow(relative, r.path) && len(r.path) > len(best.path) {
			best = r
		}
	}
	return best, best.path != ""
}

// mayKnow reports whether r may import the package, as far as it is ours.
func (r room) mayKnow(importPath string) bool {
	relative, ours := relativePath(importPath)
	if !ours || isBelow(relative, r.path) {
		return true
	}
	return isBelowAny(relative, r.ours) && !isBelowAny(relative, r.not)
}

// mayUse reports whether r may import the package, as far as it is foreign.
func (r room) mayUse(importPath string) bool {
	if _, ours := relativePath(importPath); ours || standard(importPath) {
		return true
	}
	if r.modules == nil {
		return isBelowAny(importPath, coreModules)
	}
	return isBelowAny(importPath, r.modules)
}

// relativePath returns where in the repository a package of ours is.
func relativePath(importPath string) (relative string, ours bool) {
	if importPath == module {
		return ".", true
	}
	return strings.CutPrefix(importPath, module+"/")
}

// standard reports whether the package is of the standard library: the first
// element of any other path is a host name.
func standard(importPath string) bool {
	first, _, _ := strings.Cut(importPath, "/")
	return !strings.Contains(first, ".")
}

// isBelow reports whether p is parent or in a folder of it. Everything is
// below "...", and only the root package is below ".".
func isBelow(p, parent string) bool {
	return p == parent || parent == "..." || strings.HasPrefix(p, parent+"/")
}

func isBelowAny(p string, parents []string) bool {
	return slices.ContainsFunc(parents, func(parent string) bool { return isBelow(p, parent) })
}
