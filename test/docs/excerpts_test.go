package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// excerpt is a block of code in a guide that names the file it is from in a
// comment above it, such as <!-- from examples/nextjs-api/main.go -->.
var excerpt = regexp.MustCompile("(?s)<!-- from (\\S+) -->\n```\\w*\n(.*?)\n```")

// Code that a guide shows is code that the tests run.
func TestExcerpts(t *testing.T) {
	guides, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, guide := range guides {
		text, err := os.ReadFile(guide)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range excerpt.FindAllStringSubmatch(string(text), -1) {
			found++
			source, err := os.ReadFile(filepath.Join("..", "..", filepath.FromSlash(m[1])))
			if err != nil {
				t.Errorf("%s: %v", guide, err)
				continue
			}
			if !contains(string(source), m[2]) {
				t.Errorf("%s shows what is not in %s:\n%s", guide, m[1], m[2])
			}
		}
		if n := strings.Count(string(text), "<!-- from "); n != len(excerpt.FindAllString(string(text), -1)) {
			t.Errorf("%s: of %d excerpts some have no code below them", guide, n)
		}
	}
	if found == 0 {
		t.Error("no guide has an excerpt")
	}
}

// contains reports whether the lines of block stand in source, one after the
// other, all indented by the same white space more.
func contains(source, block string) bool {
	for _, indent := range []string{"", "\t", "\t\t", "\t\t\t", "  ", "    "} {
		var lines []string
		for line := range strings.SplitSeq(block, "\n") {
			if line != "" {
				line = indent + line
			}
			lines = append(lines, line)
		}
		if strings.Contains("\n"+source+"\n", "\n"+strings.Join(lines, "\n")+"\n") {
			return true
		}
	}
	return false
}
