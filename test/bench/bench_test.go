//go:build linux

package main_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/gatebook/gatebook/test/need"
)

// build builds the program.
func build(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "bench")
	if out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return path
}

// run runs the program and returns what it printed and the status it exited
// with.
func run(t *testing.T, program, data string, args ...string) (out string, status int) {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), "GATEBOOK_BENCH_DATA="+data)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	b, err := cmd.Output()
	ended := new(exec.ExitError)
	if err != nil && !errors.As(err, &ended) {
		t.Fatal(err)
	}
	if stderr.Len() > 0 {
		t.Logf("bench %s:\n%s", strings.Join(args, " "), &stderr)
	}
	return string(b), cmd.ProcessState.ExitCode()
}

var line = regexp.MustCompile(`^(\S.*?) {2,}(\S+(?: \S+)?)  floor +(\S+(?: \S+)?)  ratio +(\S+)  bound (.+?) +(ok|MISSED|for comparison)(?: \(.*\))?$`)

// number reads the number at the beginning of a figure.
func number(t *testing.T, figure string) float64 {
	t.Helper()
	v, err := strconv.ParseFloat(strings.TrimRight(figure, " /sµMB"), 64)
	if err != nil {
		t.Fatalf("figure %q: %v", figure, err)
	}
	return v
}

// TestQuick runs everything with tiny sizes: the figures then mean nothing, but
// each line must follow from them, and the exit status from the lines.
func TestQuick(t *testing.T) {
	out, status := run(t, build(t), t.TempDir(), "-quick")
	missed := 0
	seen := map[string]bool{}
	for l := range strings.Lines(out) {
		m := line.FindStringSubmatch(strings.TrimSpace(l))
		if m == nil {
			continue
		}
		name, figure, floor, ratio, bound, verdict := m[1], m[2], m[3], m[4], m[5], m[6]
		seen[name] = true
		value := number(t, figure)
		if value <= 0 {
			t.Errorf("%s: figure %s", name, figure)
		}
		if verdict == "MISSED" {
			missed++
		}
		if floor != "-" {
			want := value / number(t, floor)
			if value = number(t, ratio); value < 0.97*want || value > 1.03*want {
				t.Errorf("%s: ratio %s of %s and %s, want %.3f", name, ratio, figure, floor, want)
			}
		}
		ok := true
		switch sign, limit, _ := strings.Cut(bound, " "); sign {
		case "-", "no":
			continue
		case ">=":
			ok = value >= number(t, limit)
		case "<=":
			ok = value <= number(t, limit)
		default:
			t.Errorf("%s: bound %q", name, bound)
		}
		if (verdict == "ok") != ok {
			t.Errorf("%s: %s with figure %s, floor %s, bound %s", name, verdict, figure, floor, bound)
		}
	}
	for _, name := range []string{
		"token session reads", "verify, time", "verify, allocations", "database session reads", "passkey verification",
		"sign-in with a database session", "sign-in with a token session",
		"OpenID callback, database session", "OpenID callback, token session", "demo, binary", "demo, ready", "demo, resident",
	} {
		if !seen[name] {
			t.Errorf("no line for %s", name)
		}
	}
	if (status == 1) != (missed > 0) || status > 1 {
		t.Errorf("exit status %d with %d missed", status, missed)
	}
	if t.Failed() {
		t.Log(out)
	}
}

// TestBesideAuthjs measures both, tiny.
func TestBesideAuthjs(t *testing.T) {
	need.Node(t)
	need.NodeModules(t)
	out, _ := run(t, build(t), t.TempDir(), "-quick", "-run", "beside Auth.js")
	seen := 0
	for l := range strings.Lines(out) {
		if m := line.FindStringSubmatch(strings.TrimSpace(l)); m != nil && strings.HasSuffix(m[1], ", by Auth.js") {
			if seen++; number(t, m[2]) <= 0 || number(t, m[3]) <= 0 {
				t.Errorf("%s: figure %s, floor %s", m[1], m[2], m[3])
			}
		}
	}
	if seen != 4 {
		t.Errorf("%d lines, want 4:\n%s", seen, out)
	}
}

// TestFromRedis measures cached reads, tiny.
func TestFromRedis(t *testing.T) {
	need.Redis(t)
	out, _ := run(t, build(t), t.TempDir(), "-quick", "-run", "from Redis")
	if !strings.Contains(out, "\nsession reads from Redis ") {
		t.Errorf("no line of it:\n%s", out)
	}
}

// TestSelect runs nothing, and says so.
func TestSelect(t *testing.T) {
	program, data := build(t), t.TempDir()
	if out, status := run(t, program, data, "-quick", "-run", "no such thing"); status != 1 {
		t.Errorf("-run of nothing exits with %d\n%s", status, out)
	}
	out, status := run(t, program, data, "-quick", "-run", "^verify$")
	if strings.Contains(out, "sign-in") || !strings.Contains(out, "verify, time") {
		t.Errorf("-run ^verify$ runs something else, and exits with %d\n%s", status, out)
	}
	if left, err := filepath.Glob(filepath.Join(data, "run-*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
