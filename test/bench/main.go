//go:build linux

// Command bench runs every benchmark that a bound of Gatebook rests on, and
// prints one line for each:
//
//	name, figure, floor measured in the same run, ratio, bound, ok or MISSED
//
// It exits with 1 if a bound is missed. A floor is the least that a program
// without Gatebook would do: a bare net/http handler that answers the same
// bytes, a bare commit of the same rows. Figure and floor are measured in turns,
// and the ratio is that of their medians, so that what else the machine does
// meets both alike. At the beginning and the end a fixed piece of work is timed;
// if that changed by more than a fifth, the machine did, and the run is void.
//
// Flags: -run selects benchmarks by a regular expression, -quick makes
// everything tiny (to see that it works: its figures mean nothing), -profile
// writes CPU profiles into a folder. Large data is built once in the folder that
// GATEBOOK_BENCH_DATA names, by default one in the user's cache.
//
// Where Node.js and the npm packages of the test module are, Auth.js is measured
// beside Gatebook: there the floor is what it does.
//
// It needs Linux: it ties the server to one core and the client to another, and
// reads from /proc.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"time"
)

// sizes says how much is measured.
type sizes struct {
	sessions int           // different sessions that are read
	users    int           // users who sign in
	rounds   int           // turns of figure and floor
	round    time.Duration // of reading, a turn
	turns    int           // turns of signing in: a disk is less even than a core
	acts     int           // sign-ins a turn
	starts   int           // of the demo
	few      int           // users, where they grow
	many     int
}

var (
	full  = sizes{sessions: 100_000, users: 10_000, rounds: 12, round: time.Second, turns: 40, acts: 60, starts: 11, few: 10_000, many: 10_000_000}
	quick = sizes{sessions: 200, users: 20, rounds: 2, round: 50 * time.Millisecond, turns: 2, acts: 10, starts: 1, few: 100, many: 1000}
)

// bench is a benchmark or several that share their preparation.
type bench struct {
	name string
	// asked is set for what runs only when -run names it.
	asked bool
	run   func(context.Context, *runner) error
}

var benches = []bench{
	{name: "token session reads", run: readTokens},
	{name: "listed token session reads", run: readListed},
	{name: "verify", run: verifyTokens},
	{name: "database session reads", run: readRows},
	{name: "session reads from Redis", run: readCached},
	{name: "sign-in with a database session", run: signInRows},
	{name: "sign-in with a token session", run: signInTokens},
	{name: "OpenID callback", run: callbacks},
	{name: "passkey verification", run: verifyPasskeys},
	{name: "session read statements", run: readStatements},
	{name: "sign-in statements", run: signInStatements},
	{name: "growth in SQLite", run: growSQLite},
	{name: "growth in PostgreSQL", run: growPostgres},
	{name: "beside Auth.js", run: besideAuthjs},
	{name: "demo", run: runDemo},
	{name: "cold make run", asked: true, run: runCold},
}

// runner is one run of the program.
type runner struct {
	sizes
	data    string // folder of large data
	temp    string // folder on the same disk, removed at the end
	profile string // folder for profiles, or empty
	missed  int
}

func main() {
	if spec := os.Getenv(serveEnv); spec != "" {
		if err := serve(spec); err != nil {
			fmt.Fprintln(os.Stderr, "bench: server:", err)
			os.Exit(1)
		}
		return
	}
	pattern := flag.String("run", "", "run only benchmarks whose name matches this regular expression")
	small := flag.Bool("quick", false, "tiny sizes, to see that everything works; the figures mean nothing")
	profile := flag.String("profile", "", "write CPU profiles into this folder")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	missed, err := run(ctx, *pattern, *small, *profile)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	if missed > 0 {
		fmt.Printf("%d missed\n", missed)
		os.Exit(1)
	}
}

func run(ctx context.Context, pattern string, small bool, profile string) (missed int, err error) {
	wanted, err := regexp.Compile(pattern)
	if err != nil {
		return 0, fmt.Errorf("-run: %w", err)
	}
	r := &runner{sizes: full, profile: profile}
	if small {
		r.sizes = quick
	}
	if r.data, err = dataFolder(); err != nil {
		return 0, err
	}
	if r.temp, err = os.MkdirTemp(r.data, "run-"); err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(r.temp)) }()
	fmt.Printf("large data and databases: %s\n", r.data)

	before, err := r.reference()
	if err != nil {
		return 0, err
	}
	fmt.Printf("reference before: %v\n", before)
	ran := 0
	for _, b := range benches {
		if b.asked && pattern == "" || !wanted.MatchString(b.name) {
			continue
		}
		ran++
		if err := b.run(ctx, r); err != nil {
			return 0, fmt.Errorf("%s: %w", b.name, err)
		}
	}
	if ran == 0 {
		names, _ := json.Marshal(names())
		return 0, fmt.Errorf("-run %q selects none of %s", pattern, names)
	}
	after, err := r.reference()
	if err != nil {
		return 0, err
	}
	fmt.Printf("reference after:  %v\n", after)
	if what := before.moved(after); what != "" {
		fmt.Printf("VOID: the %s of the reference changed by more than %d %% during the run: the machine was busy with something else\n", what, maxMove)
	}
	return r.missed, nil
}

func names() []string {
	var all []string
	for _, b := range benches {
		all = append(all, b.name)
	}
	return all
}

// dataFolder returns the folder for large data, made where it is missing.
func dataFolder() (string, error) {
	dir := os.Getenv("GATEBOOK_BENCH_DATA")
	if dir == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("no folder for large data: set GATEBOOK_BENCH_DATA: %w", err)
		}
		dir = filepath.Join(cache, "gatebook-bench")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("folder for large data (GATEBOOK_BENCH_DATA): %w", err)
	}
	return filepath.Abs(dir)
}

// progress tells how far a long preparation is, in tenths.
func progress(what string, done, of int) {
	if of >= 10_000 && done%(of/10) == 0 {
		fmt.Fprintf(os.Stderr, "%s: %d of %d\n", what, done, of)
	}
}
