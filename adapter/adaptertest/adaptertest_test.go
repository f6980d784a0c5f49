package adaptertest_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/adapter/adaptertest"
	"github.com/gatebook/gatebook/adapter/memory"
)

// faultVariable makes the test program run the suite on the adapter with that
// fault instead.
const faultVariable = "GATEBOOK_TEST_FAULT"

// TestSuite is the suite on an adapter that keeps the contract, or, in the
// processes that TestFaults starts, on one that does not.
func TestSuite(t *testing.T) {
	fault := faults[os.Getenv(faultVariable)]
	spoil := func(a gatebook.Adapter) gatebook.Adapter {
		if fault.spoil != nil {
			return fault.spoil(a)
		}
		return a
	}
	adaptertest.Run(t, func(*testing.T) gatebook.Adapter { return spoil(memory.New()) }, &adaptertest.Options{
		Unready: func(*testing.T) []adaptertest.Unready {
			u := &unready{Store: memory.New()}
			return []adaptertest.Unready{{Name: "tables", Adapter: spoil(u), Says: "run: make tables", Repair: func(*testing.T) { u.right.Store(true) }}}
		},
	})
}

// TestFaults breaks an adapter in one way after the other and wants the suite
// to say which rule that breaks.
func TestFaults(t *testing.T) {
	if os.Getenv(faultVariable) != "" {
		return
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command(exe, "-test.run=^TestSuite$")
			cmd.Env = append(os.Environ(), faultVariable+"="+name)
			out, err := cmd.CombinedOutput()
			if !strings.Contains(string(out), fault.says) || err == nil {
				t.Errorf("the suite on an adapter with this fault: %v, want a failure that says %q; it says:\n%.3000s", err, fault.says, out)
			}
		})
	}
}

func Example() {
	// In a file of your adapter's tests:
	testAdapter := func(t *testing.T) {
		t.Helper()
		adaptertest.Run(t, func(*testing.T) gatebook.Adapter {
			return memory.New() // your adapter, empty, on a database of its own
		}, nil)
	}
	_ = testAdapter
}
