package host

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/shirou/gopsutil/v4/cpu"
)

// cpuTimes remembers the last reading of the processor times, because utilisation is the change between two.
type cpuTimes struct {
	at   time.Time
	last map[string]cpu.TimesStat // by gopsutil's name: "cpu-total", "cpu0", ...
}

// minCPUInterval is the shortest time over which a utilisation is worth saying: the kernel counts in ticks of 10 ms.
const minCPUInterval = 200 * time.Millisecond

func (t *cpuTimes) first(ctx context.Context, now time.Time, perCPU bool) error {
	times, err := readCPUTimes(ctx, perCPU)
	if err != nil {
		return explain("cpu", err)
	}
	t.remember(now, times)
	return nil
}

func (t *cpuTimes) remember(now time.Time, times []cpu.TimesStat) {
	t.at, t.last = now, make(map[string]cpu.TimesStat, len(times))
	for _, s := range times {
		t.last[s.CPU] = s
	}
}

func (c *Collector) readCPU(ctx context.Context, out *samples) error {
	times, err := readCPUTimes(ctx, c.config.PerCPU)
	if err != nil {
		return err
	}
	now := c.now()
	longEnough := now.Sub(c.cpu.at) >= minCPUInterval
	for _, cur := range times {
		labels := cpuLabels(cur.CPU)
		for _, m := range modes(cur) {
			out.counter("system.cpu.time", "s", m.seconds, append(labels, label{"cpu.mode", m.name})...)
		}
		if prev, known := c.cpu.last[cur.CPU]; known && longEnough {
			utilization(out, prev, cur, labels)
		}
	}
	if longEnough {
		c.cpu.remember(now, times)
	}
	countCPUs(ctx, out)
	return nil
}

// readCPUTimes returns the times of each processor, or of all together under the name "cpu-total".
func readCPUTimes(ctx context.Context, perCPU bool) ([]cpu.TimesStat, error) {
	times, err := cpu.TimesWithContext(ctx, perCPU)
	if err != nil {
		return nil, err
	}
	if len(times) == 0 { // gopsutil's way of saying that it could not read them
		return nil, errors.New("the system gives no processor times")
	}
	return times, nil
}

func cpuLabels(name string) []label {
	if n, ok := strings.CutPrefix(name, "cpu"); ok && n != "-total" {
		return []label{{"cpu.logical_number", n}}
	}
	return nil
}

type mode struct {
	name    string
	seconds float64
}

// modes maps to the modes of the conventions. Guest time is part of user time already; soft interrupts count as
// interrupts, which have no mode of their own for them.
func modes(t cpu.TimesStat) []mode {
	out := []mode{{"user", t.User}, {"system", t.System}, {"idle", t.Idle}}
	if onLinux { // other systems do not know them
		out = append(out, mode{"nice", t.Nice}, mode{"iowait", t.Iowait}, mode{"interrupt", t.Irq + t.Softirq}, mode{"steal", t.Steal})
	}
	return out
}

// utilization says which share of the time between two readings went to each mode. Counters that went back (iowait
// does, by the kernel's own account) are taken as unchanged.
func utilization(out *samples, prev, cur cpu.TimesStat, labels []label) {
	before, after := modes(prev), modes(cur)
	var total float64
	for i := range after {
		after[i].seconds = max(0, after[i].seconds-before[i].seconds)
		total += after[i].seconds
	}
	if total <= 0 {
		return
	}
	for _, m := range after {
		out.gauge("system.cpu.utilization", "1", m.seconds/total, append(labels, label{"cpu.mode", m.name})...)
	}
}

func countCPUs(ctx context.Context, out *samples) {
	if n, err := cpu.CountsWithContext(ctx, true); err == nil && n > 0 {
		out.gauge("system.cpu.logical.count", "{cpu}", float64(n))
	}
	if n, err := cpu.CountsWithContext(ctx, false); err == nil && n > 0 {
		out.gauge("system.cpu.physical.count", "{cpu}", float64(n))
	}
}
