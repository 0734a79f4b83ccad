package host

import (
	"context"
	"errors"
	"runtime"

	"github.com/shirou/gopsutil/v4/mem"
)

// onLinux decides about what only Linux counts. Elsewhere gopsutil says 0 for it, which would be a lie.
const onLinux = runtime.GOOS == "linux"

// pageUnit is the factor by which gopsutil multiplies the page counters of /proc/vmstat.
const pageUnit = 4096

func (c *Collector) readMemory(ctx context.Context, out *samples) error {
	m, err := mem.VirtualMemoryWithContext(ctx)
	if err != nil {
		return err
	}
	if m.Total == 0 {
		return errors.New("the system gives no memory size")
	}
	out.gauge("system.memory.limit", "By", float64(m.Total))
	states := []struct {
		name  string
		bytes uint64
	}{{"used", m.Used}, {"free", m.Free}}
	if onLinux {
		states = append(states, struct {
			name  string
			bytes uint64
		}{"cached", m.Cached}, struct {
			name  string
			bytes uint64
		}{"buffers", m.Buffers})
		out.gauge("system.memory.linux.available", "By", float64(m.Available))
		out.gauge("system.memory.linux.shared", "By", float64(m.Shared))
	}
	for _, s := range states {
		state := label{"system.memory.state", s.name}
		out.gauge("system.memory.usage", "By", float64(s.bytes), state)
		out.gauge("system.memory.utilization", "1", float64(s.bytes)/float64(m.Total), state)
	}
	return nil
}

// readPaging measures swap. A machine without swap gives no usage, rather than 0 of 0.
func (c *Collector) readPaging(ctx context.Context, out *samples) error {
	if onLinux {
		if err := readFaults(ctx, out); err != nil {
			return err
		}
	}
	devices, err := mem.SwapDevicesWithContext(ctx)
	if err != nil {
		return err
	}
	for _, d := range devices {
		total := d.UsedBytes + d.FreeBytes
		if total == 0 {
			continue
		}
		device := label{"system.device", d.Name}
		out.pagingState("used", d.UsedBytes, total, device)
		out.pagingState("free", d.FreeBytes, total, device)
	}
	return nil
}

func (s *samples) pagingState(state string, bytes, total uint64, device label) {
	l := label{"system.paging.state", state}
	s.gauge("system.paging.usage", "By", float64(bytes), device, l)
	s.gauge("system.paging.utilization", "1", float64(bytes)/float64(total), device, l)
}

// readFaults counts page faults, and pages moved from and to swap.
func readFaults(ctx context.Context, out *samples) error {
	m, err := mem.SwapMemoryWithContext(ctx)
	if err != nil {
		return err
	}
	const fault, direction = "system.paging.fault.type", "system.paging.direction"
	out.counter("system.paging.faults", "{fault}", float64(m.PgMajFault/pageUnit), label{fault, "major"})
	out.counter("system.paging.faults", "{fault}", float64((m.PgFault-m.PgMajFault)/pageUnit), label{fault, "minor"})
	out.counter("system.paging.operations", "{operation}", float64(m.Sin/pageUnit), label{direction, "in"}, label{fault, "major"})
	out.counter("system.paging.operations", "{operation}", float64(m.Sout/pageUnit), label{direction, "out"}, label{fault, "major"})
	return nil
}
