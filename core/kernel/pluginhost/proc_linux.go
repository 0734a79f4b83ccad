package pluginhost

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"
)

// userHZ is the unit of times in /proc/PID/stat; the kernel promises 100 to user space on every architecture we build.
const userHZ = 100

// usageOf reads what a process has used so far.
func usageOf(pid int) (usage, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return usage{}, err
	}
	return parseStat(stat, os.Getpagesize())
}

// parseStat reads /proc/PID/stat, see proc_pid_stat(5). The name of the program stands in parentheses and may itself
// hold any byte, so fields are counted from the last one.
func parseStat(stat []byte, pageSize int) (usage, error) {
	end := bytes.LastIndexByte(stat, ')')
	if end < 0 {
		return usage{}, fmt.Errorf("process status without a name")
	}
	fields := bytes.Fields(stat[end+1:])
	const state, utime, stime, rss = 3, 14, 15, 24 // as the manual counts, from 1
	if len(fields) <= rss-state {
		return usage{}, fmt.Errorf("process status with %d fields", len(fields))
	}
	var n [3]uint64
	for i, f := range []int{utime, stime, rss} {
		v, err := strconv.ParseUint(string(fields[f-state]), 10, 63)
		if err != nil {
			return usage{}, fmt.Errorf("process status, field %d: %w", f, err)
		}
		n[i] = v
	}
	return usage{cpu: time.Duration(n[0]+n[1]) * time.Second / userHZ, memory: n[2] * uint64(pageSize)}, nil
}
