package confine

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// userHZ is the unit of times in /proc/PID/stat; the kernel promises 100 to user space on every architecture we build.
const userHZ = 100

// usageOf reads what the process table knows.
func usageOf(pid int) (Usage, error) {
	status, err := readStatus(pid)
	if err != nil {
		return Usage{}, err
	}
	u := Usage{Memory: kilobytes(status["VmRSS"]), PeakMemory: kilobytes(status["VmHWM"]), Tasks: status.number("Threads")}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return Usage{}, err
	}
	// The name of the program may hold any byte; fields are counted behind it.
	_, rest, ok := strings.Cut(string(stat[strings.LastIndexByte(string(stat), ')')+1:]), " ")
	fields := strings.Fields(rest)
	const utime, stime = 14 - 3, 15 - 3
	if !ok || len(fields) <= stime {
		return Usage{}, fmt.Errorf("process status with %d fields", len(fields))
	}
	for _, i := range []int{utime, stime} {
		ticks, err := strconv.ParseInt(fields[i], 10, 63)
		if err != nil {
			return Usage{}, fmt.Errorf("process status: %w", err)
		}
		u.CPU += time.Duration(ticks) * time.Second / userHZ
	}
	return u, nil
}

func kilobytes(field string) uint64 {
	n, err := strconv.ParseUint(strings.TrimSuffix(field, " kB"), 10, 54)
	if err != nil {
		return 0 // a process that is ending has no memory
	}
	return n << 10
}
