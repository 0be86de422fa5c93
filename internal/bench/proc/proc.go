// Package proc reads what processes have used: processor time, system calls
// that read or write, and memory, from Linux' /proc.
package proc

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Usage is what a process has used since it started.
type Usage struct {
	CPU   time.Duration
	Calls int64 // system calls that read or write, of sockets and of files
}

// Sub is what was used since before.
func (u Usage) Sub(before Usage) Usage { return Usage{u.CPU - before.CPU, u.Calls - before.Calls} }

// Add is the usage of both.
func (u Usage) Add(v Usage) Usage { return Usage{u.CPU + v.CPU, u.Calls + v.Calls} }

// Own is the usage of this process.
func Own() (Usage, error) {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return Usage{}, fmt.Errorf("proc: %w", err)
	}
	calls, err := calls("self")
	return Usage{time.Duration(r.Utime.Nano() + r.Stime.Nano()), calls}, err
}

// Of is the usage of processes that run, together; the time in steps of 10 ms each.
func Of(pids ...int) (sum Usage, err error) {
	for _, pid := range pids {
		u, err := of(pid)
		if err != nil {
			return Usage{}, err
		}
		sum = sum.Add(u)
	}
	return sum, nil
}

func of(pid int) (Usage, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return Usage{}, fmt.Errorf("proc: %w", err)
	}
	ticks, err := ticks(stat)
	if err != nil {
		return Usage{}, fmt.Errorf("proc: process %d: %w", pid, err)
	}
	calls, err := calls(strconv.Itoa(pid))
	return Usage{time.Duration(ticks) * tick, calls}, err
}

// ticks is utime and stime of a stat line.
func ticks(stat []byte) (sum int64, err error) {
	// The name, in brackets, may hold anything; utime is the 12th field behind it.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 13 {
		return 0, fmt.Errorf("stat has %d fields behind the name", len(fields))
	}
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(string(f), 10, 64)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}

func calls(pid string) (int64, error) {
	v, err := values("/proc/"+pid+"/io", "syscr", "syscw")
	return v[0] + v[1], err
}

// Memory is the resident memory of a process in bytes: now, and at its most.
func Memory(pid int) (now, peak int64, err error) {
	v, err := values(fmt.Sprintf("/proc/%d/status", pid), "VmRSS", "VmHWM")
	return v[0] << 10, v[1] << 10, err
}

// Machine is the processor time that everything on this machine has used, of
// all processors together.
func Machine() (time.Duration, error) {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, fmt.Errorf("proc: %w", err)
	}
	line, _, _ := strings.Cut(string(stat), "\n")
	fields := strings.Fields(line) // cpu user nice system idle iowait irq softirq steal …
	if len(fields) < 9 || fields[0] != "cpu" {
		return 0, fmt.Errorf("proc: /proc/stat begins with %q", line)
	}
	sum := int64(0)
	for _, i := range []int{1, 2, 3, 6, 7, 8} {
		n, err := strconv.ParseInt(fields[i], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("proc: /proc/stat: %w", err)
		}
		sum += n
	}
	return time.Duration(sum) * tick, nil
}

// tick is USER_HZ's, on all that Go runs on.
const tick = 10 * time.Millisecond

// values reads two numbers of a file of lines "name: number …".
func values(path, first, second string) (v [2]int64, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return v, fmt.Errorf("proc: %w", err)
	}
	found := 0
	for line := range strings.Lines(string(text)) {
		name, rest, _ := strings.Cut(line, ":")
		fields := strings.Fields(rest)
		if name != first && name != second || len(fields) == 0 {
			continue
		}
		i := 0
		if name == second {
			i = 1
		}
		if v[i], err = strconv.ParseInt(fields[0], 10, 64); err != nil {
			return v, fmt.Errorf("proc: %s: %w", path, err)
		}
		found++
	}
	if found != 2 {
		return v, fmt.Errorf("proc: %s has not both %s and %s", path, first, second)
	}
	return v, nil
}
