//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"debug/buildinfo"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	maxReady    = 1.0  // seconds
	maxResident = 60e6 // bytes
)

// core is the import path of the root package, and a prefix of the others.
const core = "github.com/gatebook/gatebook"

// runDemo measures how soon `gatebook demo` is ready and what it keeps in
// memory, parent and child together, and that its binary has no cgo.
func runDemo(ctx context.Context, r *runner) error {
	binary := filepath.Join(r.temp, "gatebook")
	build := exec.CommandContext(ctx, "go", "build", "-o", binary, core+"/cmd/gatebook")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build the binary: %w\n%s", err, out)
	}
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return err
	}
	pure := false
	for _, s := range info.Settings {
		pure = pure || s.Key == "CGO_ENABLED" && s.Value == "0"
	}
	stat, err := os.Stat(binary)
	if err != nil {
		return err
	}
	r.print("demo, binary", megabytes(float64(stat.Size())), "", 0, "no cgo", pure, "")

	var ready, resident, proportional []float64
	for i := range r.starts {
		dir := filepath.Join(r.temp, fmt.Sprintf("demo-%d", i))
		d, err := startDemo(exec.CommandContext(ctx, binary, "demo", "--addr=127.0.0.1:0", "--idp-addr=127.0.0.1:0", "--dir="+dir))
		if err != nil {
			return err
		}
		ready = append(ready, d.ready.Seconds())
		// It has served a page, and then nothing happens for a while.
		if i < 3 {
			err = d.visit(ctx)
			select {
			case <-time.After(r.round * 3):
			case <-ctx.Done():
			}
			rss, pss, err2 := footprint(d.cmd.Process.Pid)
			err = errors.Join(err, err2)
			resident, proportional = append(resident, rss), append(proportional, pss)
		}
		if err = errors.Join(err, d.stop()); err != nil {
			return err
		}
	}
	r.within("demo, ready", ready, seconds, maxReady, "in a new folder")
	r.within("demo, resident", resident, megabytes, maxResident,
		fmt.Sprintf("RSS of both processes; shared pages counted once: %s", megabytes(median(proportional))))
	return ctx.Err()
}

// runCold measures `make run` of somebody who has just cloned the repository:
// with no module and nothing compiled. It downloads.
func runCold(ctx context.Context, r *runner) error {
	out, err := exec.CommandContext(ctx, "go", "list", "-f", "{{.Dir}}", core).Output()
	if err != nil {
		return fmt.Errorf("find the repository: %w", err)
	}
	root := strings.TrimSpace(string(out))
	cmd := exec.CommandContext(ctx, filepath.Join(root, "scripts", "run.sh"),
		"--addr=127.0.0.1:0", "--idp-addr=127.0.0.1:0", "--dir="+filepath.Join(r.temp, "cold"))
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "GOMODCACHE="+filepath.Join(r.temp, "modules"), "GOCACHE="+filepath.Join(r.temp, "build"), "GOFLAGS=-modcacherw")
	cmd.Stderr = os.Stderr
	d, err := startDemo(cmd)
	if err != nil {
		return err
	}
	r.print("cold make run", seconds(d.ready.Seconds()), "", 0, "", true, "from an empty module cache to the ready demo")
	return d.stop()
}

// demo is a running demo.
type demo struct {
	cmd   *exec.Cmd
	url   string
	ready time.Duration
}

var readyLine = regexp.MustCompile(`^Gatebook demo: (http://\S+)`)

// startDemo starts a command that ends up as the demo and waits for the line that
// says it is ready.
func startDemo(cmd *exec.Cmd) (*demo, error) {
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	var said bytes.Buffer
	if cmd.Stderr == nil {
		cmd.Stderr = &said
	}
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	d := &demo{cmd: cmd}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	lines := bufio.NewReader(out)
	line, err := lines.ReadString('\n')
	d.ready = time.Since(began)
	m := readyLine.FindStringSubmatch(line)
	if m == nil {
		return nil, fmt.Errorf("the demo said %q (%w) and not that it is ready:\n%s", line, errors.Join(err, d.stop()), said.Bytes())
	}
	d.url = m[1]
	return d, nil
}

// visit opens the demo's page.
func (d *demo) visit(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.url, http.NoBody)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("the demo's page answers %s", res.Status)
	}
	return nil
}

// stop ends the demo as Ctrl-C does.
func (d *demo) stop() error {
	if err := d.cmd.Process.Signal(os.Interrupt); err != nil {
		return err
	}
	err := d.cmd.Wait()
	if ended := new(exec.ExitError); errors.As(err, &ended) && ended.Sys().(syscall.WaitStatus).Signal() == syscall.SIGINT {
		return nil
	}
	return err
}

// footprint returns what a process and all that it started have resident, in bytes:
// summed up, and with what they share counted once.
func footprint(pid int) (rss, pss float64, err error) {
	family, err := descendants(pid)
	if err != nil {
		return 0, 0, err
	}
	for _, p := range family {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", p))
		if err != nil {
			return 0, 0, err
		}
		for line := range strings.Lines(string(text)) {
			fields := strings.Fields(line)
			if len(fields) < 2 {
				continue
			}
			kilobytes, _ := strconv.ParseFloat(fields[1], 64)
			switch fields[0] {
			case "Rss:":
				rss += kilobytes * 1024
			case "Pss:":
				pss += kilobytes * 1024
			}
		}
	}
	return rss, pss, nil
}

// descendants returns a process and all that it started.
func descendants(pid int) ([]int, error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	children := map[int][]int{}
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		// The name, in parentheses, may hold anything.
		fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
		if len(fields) < 2 {
			continue
		}
		parent, _ := strconv.Atoi(fields[1])
		child, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		children[parent] = append(children[parent], child)
	}
	all := []int{pid}
	for i := 0; i < len(all); i++ {
		all = slices.Concat(all, children[all[i]])
	}
	return all, nil
}
