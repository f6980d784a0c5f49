//go:build linux

package main

import (
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"
	"unsafe"
)

// cpuSet has a bit for each core, as sched_setaffinity(2) takes it.
type cpuSet [16]uint64

// cores returns the cores that this process may run on.
func cores() ([]int, error) {
	var set cpuSet
	_, _, errno := syscall.RawSyscall(syscall.SYS_SCHED_GETAFFINITY, 0, unsafe.Sizeof(set), uintptr(unsafe.Pointer(&set)))
	if errno != 0 {
		return nil, fmt.Errorf("ask which cores there are: %w", errno)
	}
	var all []int
	for i := range len(set) * 64 {
		if set[i/64]&(1<<(i%64)) != 0 {
			all = append(all, i)
		}
	}
	return all, nil
}

// pin ties every thread of this process, and those it will have, to some cores.
func pin(cores ...int) error {
	var set cpuSet
	for _, c := range cores {
		set[c/64] |= 1 << (c % 64)
	}
	// Twice: a thread that was made meanwhile may have missed the first.
	for range 2 {
		tasks, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return fmt.Errorf("tie to a core: %w", err)
		}
		for _, t := range tasks {
			tid, err := strconv.Atoi(t.Name())
			if err != nil {
				return fmt.Errorf("tie to a core: %w", err)
			}
			_, _, errno := syscall.RawSyscall(syscall.SYS_SCHED_SETAFFINITY, uintptr(tid), unsafe.Sizeof(set), uintptr(unsafe.Pointer(&set)))
			if errno != 0 && errno != syscall.ESRCH {
				return fmt.Errorf("tie to a core: %w", errno)
			}
		}
	}
	return nil
}

// cpuTime returns how long a process has had a core, all its threads together
// (clock_getcpuclockid(3)).
func cpuTime(pid int) (time.Duration, error) {
	const scheduler = 2
	clock := int32(^pid)<<3 | scheduler
	var ts syscall.Timespec
	_, _, errno := syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, uintptr(clock), uintptr(unsafe.Pointer(&ts)), 0)
	if errno != 0 {
		return 0, fmt.Errorf("read the CPU clock of process %d: %w", pid, errno)
	}
	return time.Duration(ts.Nano()), nil
}

func fdatasync(f *os.File) error { return syscall.Fdatasync(int(f.Fd())) }
