//go:build linux

package main

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

const (
	// settleTime is for what the starts left over.
	settleTime = 10 * time.Second
	// idleTime is one iteration. Five of them are two minutes, in which all that is done now and then is done: twelve
	// ledgers, two rounds of health checks and the one collection of garbage that Go's runtime makes in that time.
	idleTime = 24 * time.Second
)

// BenchmarkIdle measures what twenty instances of one program cost that have nothing to do: their memory, each page
// divided by those who share it, and the processor time of the host. The host has a process of its own: in this one there
// is more to clean up than its own, and the runtime may take a hundredth of a processor for that.
func BenchmarkIdle(b *testing.B) {
	dir, err := programs()
	if err != nil {
		b.Fatal(err)
	}
	host := startHost(b, dir)
	defer host.end()
	time.Sleep(settleTime)
	pid := host.cmd.Process.Pid
	var most float64
	theirs, first, began := cpuTimes(host.plugins), cpuTime(pid), time.Now()
	for last, at := first, began; b.Loop(); {
		time.Sleep(idleTime)
		used, now := cpuTime(pid), time.Now()
		most = max(most, perSecond(used-last, now.Sub(at)))
		last, at = used, now
	}
	b.ReportMetric(perSecond(cpuTime(pid)-first, time.Since(began)), "cpu-ms/s")
	b.ReportMetric(most, "most-cpu-ms/s")
	b.ReportMetric(perSecond(cpuTimes(host.plugins)-theirs, time.Since(began)), "plugins-cpu-ms/s")
	var total float64
	for _, pid := range host.plugins {
		total += pss(b, pid)
	}
	b.ReportMetric(total/float64(len(host.plugins)), "PSS-MB")
}

func cpuTimes(pids []int) (sum time.Duration) {
	for _, pid := range pids {
		sum += cpuTime(pid)
	}
	return sum
}

func perSecond(used, in time.Duration) float64 { return used.Seconds() * 1000 / in.Seconds() }

// pss is the proportional set size of a process in MB.
func pss(b *testing.B, pid int) float64 {
	b.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		var kb float64
		if n, _ := fmt.Sscanf(line, "Pss: %f kB", &kb); n == 1 {
			return kb / 1024
		}
	}
	b.Fatalf("no Pss of %d", pid)
	return 0
}
