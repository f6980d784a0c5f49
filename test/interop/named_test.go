package interop

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gatebook/gatebook/test/need"
)

var updateNamed = flag.Bool("update-named", false, "write testdata/named.txt anew, keeping the names")

const unnamed = "UNNAMED"

// hunk is a run of lines in which a step of the two sides differs.
type hunk struct {
	step  string
	lines string // "- " Auth.js's, "+ " Gatebook's
	id    string // of the entry in differences.json
}

// names is what is known of differences: named.txt, which the test keeps equal
// to what happens, and the entries it refers to.
type names struct {
	path    string
	entries map[string]bool // ids of differences.json

	mu    sync.Mutex
	known map[string][]hunk // by scenario
	found map[string][]hunk
	used  map[string]int // by id, how many scenarios show it
}

func readNames(t *testing.T) *names {
	t.Helper()
	n := &names{path: filepath.Join(need.Dir(), "interop", "testdata", "named.txt"), entries: map[string]bool{},
		known: map[string][]hunk{}, found: map[string][]hunk{}, used: map[string]int{}}
	raw, err := os.ReadFile(filepath.Join(need.Dir(), "..", "testdata", "differences.json"))
	if err != nil {
		t.Fatal(err)
	}
	var list []struct{ ID string }
	if err := json.Unmarshal(raw, &list); err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		if e.ID != "" && n.entries[e.ID] {
			t.Errorf("differences.json: two entries have the id %q", e.ID)
		}
		n.entries[e.ID] = e.ID != ""
	}
	text, err := os.ReadFile(n.path)
	if err != nil && !*updateNamed {
		t.Fatal(err)
	}
	n.parse(string(text))
	return n
}

// parse reads named.txt: "# SCENARIO what", "@ step", "[id]", and lines.
func (n *names) parse(text string) {
	var scenario, step string
	var h *hunk
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case strings.HasPrefix(line, "# "):
			scenario, _, _ = strings.Cut(line[2:], " ")
		case strings.HasPrefix(line, "@ "):
			step = line[2:]
		case strings.HasPrefix(line, "["):
			n.known[scenario] = append(n.known[scenario], hunk{step: step, id: strings.Trim(line, "[]")})
			h = &n.known[scenario][len(n.known[scenario])-1]
		case strings.HasPrefix(line, "- "), strings.HasPrefix(line, "+ "):
			h.lines += line + "\n"
		}
	}
}

// compare reports the differences of a scenario that have no name, and the
// names that have no difference.
func (n *names) compare(t *testing.T, s scenario, got told) {
	t.Helper()
	var found []hunk
	used := map[string]bool{}
	if len(got.authjs) != len(got.gatebook) {
		t.Fatalf("Auth.js made %d steps, Gatebook %d", len(got.authjs), len(got.gatebook))
	}
	for i := range got.authjs {
		a, g := got.authjs[i], got.gatebook[i]
		for _, r := range rules {
			if r.apply(&a, &g) {
				used[r.id] = true
			}
		}
		partWays(&a, &g)
		for _, lines := range hunks(a.lines, g.lines) {
			found = append(found, hunk{step: a.step, lines: lines})
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.name(found, n.known[s.id])
	n.found[s.id] = found
	for _, h := range found {
		used[h.id] = true
	}
	for id := range used {
		n.used[id]++
	}
	if *updateNamed {
		return
	}
	for _, h := range found {
		if h.id == unnamed {
			t.Errorf("%s: a difference without a name (- Auth.js, + Gatebook)\n@ %s\n%s", s.what, h.step, h.lines)
		} else if !n.entries[h.id] {
			t.Errorf("%s: named.txt names the difference %q, which differences.json does not have", s.what, h.id)
		}
	}
	for _, h := range n.known[s.id] {
		if !slices.Contains(found, h) {
			t.Errorf("%s: named.txt names a difference that is no longer there: [%s]\n@ %s\n%s", s.what, h.id, h.step, h.lines)
		}
	}
}

// partWays shortens steps of which one side refuses what the other carries out:
// what callbacks were given then is no difference of its own.
func partWays(a, g *shown) {
	const fails = `^location \S*[?&]error=|^body null$|^status [45]|^refused `
	if a.has(fails) == g.has(fails) {
		return
	}
	a.remove(`^  `)
	g.remove(`^  `)
}

// name gives each hunk the id it has in known, in order where there are several
// alike.
func (n *names) name(found, known []hunk) {
	known = slices.Clone(known)
	for i := range found {
		h := &found[i]
		h.id = unnamed
		j := slices.IndexFunc(known, func(k hunk) bool { return k.step == h.step && k.lines == h.lines })
		if j >= 0 {
			h.id = known[j].id
			known = slices.Delete(known, j, j+1)
		}
	}
}

// finish looks at all scenarios together, and writes named.txt when told to.
func (n *names) finish(t *testing.T) {
	t.Helper()
	if *updateNamed {
		n.write(t)
	}
	all := allScenarios()
	if len(n.found) < len(all) { // -run chose some
		return
	}
	for _, s := range all {
		delete(n.known, s.id)
	}
	for id := range n.known {
		t.Errorf("named.txt has the scenario %s, which there is not", id)
	}
	for id, is := range n.entries {
		if is && n.used[id] == 0 {
			t.Errorf("differences.json: no scenario shows the difference %q", id)
		}
	}
	t.Logf("%d scenarios", len(n.found))
	for _, id := range slices.Sorted(maps.Keys(n.used)) {
		t.Logf("%4d scenarios show %s", n.used[id], id)
	}
}

func (n *names) write(t *testing.T) {
	t.Helper()
	var b strings.Builder
	missing := 0
	b.WriteString("Differences of single scenarios, each under the id of its entry in testdata/differences.json of the root:\n" +
		"lines of Auth.js with -, of Gatebook with +. Written by: go test ./test/interop -update-named\n")
	for _, s := range allScenarios() {
		list, ok := n.found[s.id]
		if !ok {
			list = n.known[s.id]
		}
		if len(list) == 0 {
			continue
		}
		fmt.Fprintf(&b, "\n# %s %s\n", s.id, s.what)
		step := ""
		for _, h := range list {
			if h.step != step {
				fmt.Fprintf(&b, "@ %s\n", h.step)
				step = h.step
			}
			fmt.Fprintf(&b, "[%s]\n%s", h.id, h.lines)
			if h.id == unnamed {
				missing++
			}
		}
	}
	if missing > 0 {
		t.Errorf("%d differences in %s have no name yet", missing, n.path)
	}
	if err := os.WriteFile(n.path, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

// hunks compares lines and returns each run of differences.
func hunks(a, b []string) []string {
	// The longest common subsequence; a step has at most a hundred lines.
	n := make([][]int, len(a)+1)
	for i := range n {
		n[i] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				n[i][j] = n[i+1][j+1] + 1
			} else {
				n[i][j] = max(n[i+1][j], n[i][j+1])
			}
		}
	}
	var out []string
	var gone, come string
	flush := func() {
		if gone+come != "" {
			out = append(out, gone+come)
		}
		gone, come = "", ""
	}
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			flush()
			i, j = i+1, j+1
		case j == len(b) || i < len(a) && n[i+1][j] >= n[i][j+1]:
			gone += "- " + a[i] + "\n"
			i++
		default:
			come += "+ " + b[j] + "\n"
			j++
		}
	}
	flush()
	return out
}
