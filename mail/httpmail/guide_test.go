package httpmail_test

import (
	"os"
	"strings"
	"testing"

	"github.com/gatebook/gatebook/mail/httpmail"
)

// TestGuide keeps docs/email.md equal to the example, which runs, and to the
// services that there are.
func TestGuide(t *testing.T) {
	guide, err := os.ReadFile("../../docs/email.md")
	if err != nil {
		t.Fatal(err)
	}
	example, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	_, shown, _ := strings.Cut(string(guide), "```go\n")
	shown, _, _ = strings.Cut(shown, "```")
	if shown == "" || !strings.Contains(string(example), shown) {
		t.Errorf("the guide shows what example_test.go does not have:\n%s", shown)
	}
	for _, id := range httpmail.IDs() {
		for _, cell := range []string{"`\"" + id + "\"`", "`AUTH_" + strings.ToUpper(id) + "_KEY`"} {
			if !strings.Contains(string(guide), cell) {
				t.Errorf("the guide has no %s", cell)
			}
		}
	}
}
