package main

import (
	"time"

	"golang.org/x/sys/unix"
)

// cpuTime is the processor time that a process has used; pid 0 is this one.
func cpuTime(pid int) time.Duration {
	clock := int32(^pid<<3 | 2) // CPUCLOCK_SCHED of the process, as clock_getcpuclockid(3) makes it
	var t unix.Timespec
	if err := unix.ClockGettime(clock, &t); err != nil {
		return 0
	}
	return time.Duration(t.Nano())
}
