package docs_test

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/gatebook/gatebook"
)

// fields returns the exported fields of a struct, each with prefix before it.
func fields(typ reflect.Type, prefix string) map[string]bool {
	out := map[string]bool{}
	for f := range typ.Fields() {
		if f.IsExported() {
			out[prefix+f.Name] = true
		}
	}
	return out
}

// TestOptions keeps docs/options.md equal to the fields of the configuration.
func TestOptions(t *testing.T) {
	want := map[string]bool{}
	for _, s := range []struct {
		typ    reflect.Type
		prefix string
	}{
		{reflect.TypeFor[gatebook.Config](), ""},
		{reflect.TypeFor[gatebook.SessionConfig](), "Session."},
		{reflect.TypeFor[gatebook.Cookies](), "Cookies."},
		{reflect.TypeFor[gatebook.CookieConfig](), "CookieConfig."},
		{reflect.TypeFor[gatebook.Callbacks](), "Callbacks."},
		{reflect.TypeFor[gatebook.Pages](), "Pages."},
		{reflect.TypeFor[gatebook.Theme](), "Theme."},
	} {
		for name := range fields(s.typ, s.prefix) {
			want[name] = true
		}
	}
	b, err := os.ReadFile("../../docs/options.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(b), "\n## Options\n")
	table, _, _ = strings.Cut(table, "\n## ")
	got := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([A-Za-z.]+)` \\|").FindAllStringSubmatch(table, -1) {
		if got[m[1]] {
			t.Errorf("docs/options.md has %s twice", m[1])
		}
		got[m[1]] = true
	}
	for name := range want {
		if !got[name] {
			t.Errorf("docs/options.md has no row for %s", name)
		}
	}
	for name := range got {
		if !want[name] {
			t.Errorf("docs/options.md has a row for %s, which is no field", name)
		}
	}
}
