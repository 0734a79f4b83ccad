package confine

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// usageOf reads what the process table knows.
func usageOf(pid int) (Usage, error) {
	status, err := readStatus(pid)
	if err != nil {
		return Usage{}, err
	}
	u := Usage{Memory: kilobytes(status["VmRSS"]), PeakMemory: kilobytes(status["VmHWM"]), Tasks: status.number("Threads")}
	u.CPU, err = Spent(pid)
	return u, err
}

func kilobytes(field string) uint64 {
	n, err := strconv.ParseUint(strings.TrimSuffix(field, " kB"), 10, 54)
	if err != nil {
		return 0 // a process that is ending has no memory
	}
	return n << 10
}

// Spent is the processor time of a process with all of its threads. It takes one call of the kernel and no file, and is the
// same as before for a process that has not run since.
func Spent(pid int) (time.Duration, error) {
	clock := int32(^uint32(pid)<<3 | 2) // CPUCLOCK_SCHED of the process, as clock_getcpuclockid(3) makes it
	var t unix.Timespec
	if err := unix.ClockGettime(clock, &t); err != nil {
		return 0, fmt.Errorf("processor time of process %d: %w", pid, err)
	}
	return time.Duration(t.Nano()), nil
}

// Resident is the memory that a process has, in bytes.
func Resident(pid int) (uint64, error) {
	statm, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0, err
	}
	return parseStatm(statm, os.Getpagesize())
}

// parseStatm reads /proc/PID/statm, see proc_pid_statm(5).
func parseStatm(statm []byte, pageSize int) (uint64, error) {
	fields := bytes.Fields(statm)
	if len(fields) < 2 {
		return 0, fmt.Errorf("memory of a process with %d fields", len(fields))
	}
	pages, err := strconv.ParseUint(string(fields[1]), 10, 50)
	if err != nil {
		return 0, fmt.Errorf("memory of a process: %w", err)
	}
	return pages * uint64(pageSize), nil
}

// Throttled is how long the control group has let the process wait for its share of the processor, 0 where there is none.
func (p *Plan) Throttled() time.Duration {
	if p.group == nil {
		return 0
	}
	return p.group.throttled()
}

func (g *group) throttled() time.Duration {
	if g.kind == CgroupV2 {
		return time.Duration(g.stat("", "cpu.stat", "throttled_usec")) * time.Microsecond
	}
	return time.Duration(g.stat("cpu", "cpu.stat", "throttled_time"))
}
