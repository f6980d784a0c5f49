package gatebooktest_test

import (
	"os"
	"strings"
	"testing"
)

// TestGuide keeps docs/test-your-handlers.md equal to example_test.go, which
// runs.
func TestGuide(t *testing.T) {
	guide, err := os.ReadFile("../docs/test-your-handlers.md")
	if err != nil {
		t.Fatal(err)
	}
	examples, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	shown := strings.Split(string(guide), "```go\n")[1:]
	if n := strings.Count(string(examples), "\nfunc Test"); n != len(shown) || n == 0 {
		t.Errorf("the guide shows %d tests, and there are %d", len(shown), n)
	}
	for _, part := range shown {
		test, _, _ := strings.Cut(part, "```")
		if !strings.Contains(string(examples), test) {
			t.Errorf("the guide shows what example_test.go does not have:\n%s", test)
		}
	}
}
