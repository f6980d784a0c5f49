// Package docs_test keeps documentation equal to what it describes.
package docs_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/gatebook/gatebook/record"
)

const guide = "../../docs/what-is-recorded.md"

// constants returns the string constants of the catalogue whose names begin
// with prefix.
func constants(t *testing.T, prefix string) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../../record/catalogue.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || !strings.HasPrefix(spec.Names[0].Name, prefix) {
			return true
		}
		s, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, s)
		return true
	})
	if len(out) == 0 {
		t.Fatalf("the catalogue has no constants %s…", prefix)
	}
	return out
}

// cells returns the first n cells of each row of the table under a heading,
// without back quotes.
func rows(t *testing.T, heading string) [][]string {
	t.Helper()
	b, err := os.ReadFile(guide)
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(b), "\n## "+heading+"\n")
	if !ok {
		t.Fatalf("%s has no section %q", guide, heading)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	var out [][]string
	for line := range strings.Lines(section) {
		if !strings.HasPrefix(line, "| ") {
			continue
		}
		var cells []string
		for cell := range strings.SplitSeq(strings.Trim(line, "|\n "), "|") {
			cells = append(cells, strings.Trim(strings.TrimSpace(cell), "`"))
		}
		out = append(out, cells)
	}
	return out[1:]
}

func TestTypesAreDescribed(t *testing.T) {
	want := constants(t, "Type")
	var got []string
	for _, r := range rows(t, "Types") {
		got = append(got, r[0])
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("the guide describes %v, the catalogue has %v", got, want)
	}
}

func TestReasonsAreDescribed(t *testing.T) {
	b, err := os.ReadFile(guide)
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(b), "\n## Reasons\n")
	var got []string
	for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(section, -1) {
		got = append(got, m[1])
	}
	want := constants(t, "Reason")
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("the guide names %v, the catalogue has %v", got, want)
	}
}

func TestFieldsAreDescribed(t *testing.T) {
	var want, got []string
	for _, p := range []any{record.SignIn{}, record.SignOut{}, record.UserChange{}, record.AccountChange{}, record.SessionUse{},
		record.SessionEnd{}, record.SessionAdopted{}, record.TokensOmitted{}, record.SignInFailed{}, record.Passkey{}, record.Request{}, record.Defence{}, record.Handler{}} {
		typ := reflect.TypeOf(p)
		for f := range typ.Fields() {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			want = append(want, typ.Name()+"."+name)
		}
	}
	for _, r := range rows(t, "Fields") {
		got = append(got, r[0]+"."+r[1])
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("the guide describes\n%v\nthe payloads have\n%v", got, want)
	}
}
