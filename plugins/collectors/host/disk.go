package host

import (
	"context"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"github.com/shirou/gopsutil/v4/common"
	"github.com/shirou/gopsutil/v4/disk"
)

func (c *Collector) readDisks(ctx context.Context, out *samples) error {
	counters, err := disk.IOCountersWithContext(ctx)
	if err != nil {
		return err
	}
	names := make([]string, 0, len(counters))
	for name := range counters {
		if c.config.Disks.allows(name) && (c.config.Partitions || !c.isPartition(name)) {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	for _, name := range names {
		out.disk(counters[name])
	}
	return nil
}

func (s *samples) disk(d disk.IOCountersStat) {
	device := label{"system.device", d.Name}
	read, write := label{"disk.io.direction", "read"}, label{"disk.io.direction", "write"}
	s.counter("system.disk.io", "By", float64(d.ReadBytes), device, read)
	s.counter("system.disk.io", "By", float64(d.WriteBytes), device, write)
	s.counter("system.disk.operations", "{operation}", float64(d.ReadCount), device, read)
	s.counter("system.disk.operations", "{operation}", float64(d.WriteCount), device, write)
	s.counter("system.disk.operation_time", "s", float64(d.ReadTime)/1000, device, read)
	s.counter("system.disk.operation_time", "s", float64(d.WriteTime)/1000, device, write)
	if !onLinux {
		return
	}
	s.counter("system.disk.io_time", "s", float64(d.IoTime)/1000, device)
	s.counter("system.disk.merged", "{operation}", float64(d.MergedReadCount), device, read)
	s.counter("system.disk.merged", "{operation}", float64(d.MergedWriteCount), device, write)
}

// isPartition asks the kernel, because names do not tell: nvme0n1 is a disk and sda1 is not. Counting both would
// count every byte twice.
func (c *Collector) isPartition(name string) bool {
	if !onLinux {
		return false
	}
	// The kernel writes a slash in a device name as an exclamation mark there.
	_, err := os.Stat(filepath.Join(c.dir(common.HostSysEnvKey, "/sys"), "class", "block", strings.ReplaceAll(name, "/", "!"), "partition"))
	return err == nil
}
