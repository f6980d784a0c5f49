//go:build linux

package main

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/gatebook/gatebook/adapter/sqlite"
)

// print writes the line of a benchmark and counts what is missed. Without a
// floor the ratio is of no meaning and not printed; without a bound the line is
// there to compare with.
func (r *runner) print(name, figure, floor string, ratio float64, bound string, ok bool, note string) {
	ratios, verdict := "-", "ok"
	if floor == "" {
		floor = "-"
	} else {
		ratios = fmt.Sprintf("%.3f", ratio)
	}
	switch {
	case bound == "":
		bound, verdict = "-", "for comparison"
	case !ok:
		verdict = "MISSED"
		r.missed++
	}
	if note != "" {
		note = " (" + note + ")"
	}
	fmt.Printf("%-36s %14s  floor %14s  ratio %6s  bound %-10s %s%s\n", name, figure, floor, ratios, bound, verdict, note)
}

// atLeast prints a benchmark whose figure must be at least bound times its
// floor.
func (r *runner) atLeast(name string, figure, floor []float64, unit func(float64) string, bound float64, note string) {
	f, g := median(figure), median(floor)
	r.print(name, unit(f), unit(g), f/g, fmt.Sprintf(">= %.2f", bound), f/g >= bound, note)
}

// atMost prints a benchmark whose figure must be at most bound times its floor.
func (r *runner) atMost(name string, figure, floor []float64, unit func(float64) string, bound float64, note string) {
	f, g := median(figure), median(floor)
	r.print(name, unit(f), unit(g), f/g, fmt.Sprintf("<= %.2f", bound), f/g <= bound, note)
}

// within prints a benchmark whose figure has a bound and no floor.
func (r *runner) within(name string, figure []float64, unit func(float64) string, bound float64, note string) {
	f := median(figure)
	r.print(name, unit(f), "", 0, "<= "+unit(bound), f <= bound, note)
}

func perSecond(v float64) string { return fmt.Sprintf("%.0f/s", v) }
func micros(v float64) string    { return fmt.Sprintf("%.1f µs", v*1e6) }
func seconds(v float64) string   { return fmt.Sprintf("%.2f s", v) }
func megabytes(v float64) string { return fmt.Sprintf("%.1f MB", v/1e6) }
func count(v float64) string     { return fmt.Sprintf("%.1f", v) }

func median[T cmp.Ordered](v []T) T {
	s := slices.Sorted(slices.Values(v))
	return s[len(s)/2]
}

// alternate measures figure and floor in turns; which comes first changes with
// each turn.
func alternate(turns int, figure, floor func() (float64, error)) (f, g []float64, err error) {
	turn := func(fn func() (float64, error), to *[]float64) {
		if err == nil {
			var v float64
			v, err = fn()
			*to = append(*to, v)
		}
	}
	for i := range turns {
		if i%2 == 0 {
			turn(figure, &f)
			turn(floor, &g)
		} else {
			turn(floor, &g)
			turn(figure, &f)
		}
	}
	return f, g, err
}

// maxMove is by how many per cent the reference may change during a run.
const maxMove = 20

// reference is a fixed piece of work: what the machine can do.
type reference struct {
	sum    time.Duration // SHA-256 of 1 MiB
	commit time.Duration // one row into SQLite, synced
	sync   time.Duration // fdatasync after a page was written
}

func (r reference) String() string {
	return fmt.Sprintf("SHA-256 of 1 MiB %v, one synced commit %v, fdatasync alone %v",
		r.sum.Round(time.Microsecond), r.commit.Round(time.Microsecond), r.sync.Round(time.Microsecond))
}

// moved says what differs too much between two measurements.
func (r reference) moved(after reference) string {
	far := func(a, b time.Duration) bool {
		return max(a, b)-min(a, b) > min(a, b)*maxMove/100
	}
	switch {
	case far(r.sum, after.sum):
		return "SHA-256"
	case far(r.commit, after.commit):
		return "commit"
	}
	return ""
}

// minSync is what no disk that keeps its promise can be faster than.
const minSync = 10 * time.Microsecond

func (r *runner) reference() (ref reference, err error) {
	const times = 301
	block := make([]byte, 1<<20)
	ref.sum, _ = medianTime(times, func() error { sha256.Sum256(block); return nil })

	dir, err := os.MkdirTemp(r.temp, "reference-")
	if err != nil {
		return ref, err
	}
	defer os.RemoveAll(dir)
	f, err := os.Create(filepath.Join(dir, "file"))
	if err != nil {
		return ref, err
	}
	defer f.Close()
	page := make([]byte, 4096)
	if _, err := f.Write(make([]byte, times*len(page))); err != nil {
		return ref, err
	}
	if err := f.Sync(); err != nil {
		return ref, err
	}
	at := int64(0)
	ref.sync, err = medianTime(times, func() error {
		page[0]++
		if _, err := f.WriteAt(page, at); err != nil {
			return err
		}
		at += int64(len(page))
		return fdatasync(f)
	})
	if err != nil {
		return ref, err
	}
	if ref.sync < minSync {
		fmt.Printf("WARNING: fdatasync in %s takes %v: nothing is synced there, and figures of sign-ins mean little; name another folder in GATEBOOK_BENCH_DATA\n", r.data, ref.sync)
	}

	db, err := sqlite.Open(filepath.Join(dir, "commit.db"))
	if err != nil {
		return ref, err
	}
	defer db.Close()
	if _, err := db.SQL().Exec("CREATE TABLE reference (n INTEGER PRIMARY KEY, text TEXT)"); err != nil {
		return ref, err
	}
	ref.commit, err = medianTime(times, func() error {
		_, err := db.SQL().Exec("INSERT INTO reference (text) VALUES ('a row')")
		return err
	})
	return ref, err
}

// medianTime returns how long fn takes.
func medianTime(times int, fn func() error) (time.Duration, error) {
	took := make([]time.Duration, times)
	for i := range took {
		began := time.Now()
		if err := fn(); err != nil {
			return 0, err
		}
		took[i] = time.Since(began)
	}
	return median(took), nil
}
