package cli_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatebook/gatebook/adapter/sqlite"
	"github.com/gatebook/gatebook/book"
)

// manyUsers writes a file of n users with an account each.
func manyUsers(t *testing.T, n int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "users.csv")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w := bufio.NewWriter(f)
	fmt.Fprintln(w, "id,email,provider,providerAccountId,type")
	for i := range n {
		fmt.Fprintf(w, "u-%d,%d@example.com,github,%d,oauth\n", i, i, i)
	}
	if err := errors.Join(w.Flush(), f.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

// gatebook returns the command of this program.
func gatebookCommand(ctx context.Context, t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, self)
	cmd.Args = append([]string{"gatebook"}, args...)
	return cmd
}

// An import that is killed again and again goes on where it was, and nobody is
// there twice, nor missing.
func TestImportKilled(t *testing.T) {
	const users = 10_000
	file := manyUsers(t, users)
	db, state := filepath.Join(t.TempDir(), "users.db"), file+".import"
	kills, last := 0, ""
	for {
		cmd := gatebookCommand(t.Context(), t, "import", "--db", db, file)
		var out, complaints strings.Builder
		cmd.Stdout, cmd.Stderr = &out, &complaints
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		if kills < 3 {
			last = moved(t, state, last, ended)
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			<-ended
			kills++
			continue
		}
		if err := <-ended; err != nil {
			t.Fatalf("%v\n%s", err, complaints.String())
		}
		if !strings.Contains(complaints.String(), "going on after the ") {
			t.Errorf("it did not go on where it was: %s", complaints.String())
		}
		var imported, accounts, known, refused int
		if _, err := fmt.Sscanf(strings.TrimPrefix(out.String(), file+": "), "%d users imported with %d accounts; %d there already; %d refused",
			&imported, &accounts, &known, &refused); err != nil || imported+known != users || refused != 0 || known > kills*500 {
			t.Errorf("it said %q, %v", out.String(), err)
		}
		break
	}
	if _, err := os.Stat(state); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the state is still there: %v", err)
	}
	everybodyOnce(t, db, users)
}

// moved waits until a state says more than before, and returns it.
func moved(t *testing.T, state, last string, ended chan error) string {
	t.Helper()
	for {
		if b, err := os.ReadFile(state); err == nil && string(b) != last {
			return string(b)
		}
		select {
		case err := <-ended:
			t.Fatalf("it ended too early: %v", err)
		case <-time.After(time.Millisecond):
		}
	}
}

func everybodyOnce(t *testing.T, path string, users int) {
	t.Helper()
	db, err := sqlite.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for table, n := range map[string]int{"user": users, "account": users} {
		var got int
		if err := db.SQL().QueryRowContext(t.Context(), `SELECT count(*) FROM "`+table+`"`).Scan(&got); err != nil || got != n {
			t.Errorf("%d rows in %s, %v, want %d", got, table, err, n)
		}
	}
	if err := db.Book().Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	seen := map[string]bool{}
	for after := int64(0); ; {
		page, err := db.Book().Read(t.Context(), book.Query{After: after, Limit: 1000})
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		for _, e := range page {
			count[e.Header.Type]++
			if key := e.Header.Type + e.Header.Subject.String(); seen[key] {
				t.Fatalf("%s twice of one person", e.Header.Type)
			} else {
				seen[key] = true
			}
		}
		after = page[len(page)-1].Seq
	}
	if count["createUser"] != users || count["linkAccount"] != users || len(count) != 2 {
		t.Errorf("the book has %v, want %d of createUser and linkAccount each", count, users)
	}
}

// Interrupted, it stops in good order and says how to go on.
func TestImportInterrupted(t *testing.T) {
	file := manyUsers(t, 10_000)
	cmd := gatebookCommand(t.Context(), t, "import", "--db", filepath.Join(t.TempDir(), "users.db"), file)
	var complaints strings.Builder
	cmd.Stderr = &complaints
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	moved(t, file+".import", "", ended)
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; cmd.ProcessState.ExitCode() != 1 || !strings.Contains(complaints.String(), "the same command goes on from here") {
		t.Errorf("it ended with %v: %s", err, complaints.String())
	}
}
