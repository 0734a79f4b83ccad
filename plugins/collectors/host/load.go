package host

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/shirou/gopsutil/v4/common"
	"github.com/shirou/gopsutil/v4/host"
	"github.com/shirou/gopsutil/v4/load"
)

// readLoad names the load averages as the OpenTelemetry host metrics receiver does; the conventions have none.
func (c *Collector) readLoad(ctx context.Context, out *samples) error {
	l, err := load.AvgWithContext(ctx)
	if err != nil {
		return err
	}
	out.gauge("system.cpu.load_average.1m", "{thread}", l.Load1)
	out.gauge("system.cpu.load_average.5m", "{thread}", l.Load5)
	out.gauge("system.cpu.load_average.15m", "{thread}", l.Load15)
	return nil
}

// readUptime reads the file on Linux: the system call behind the library rounds up to whole seconds.
func (c *Collector) readUptime(ctx context.Context, out *samples) error {
	if onLinux {
		up, err := c.procUptime()
		if err != nil {
			return err
		}
		out.gauge("system.uptime", "s", up)
		return nil
	}
	up, err := host.UptimeWithContext(ctx)
	if err != nil {
		return err
	}
	out.gauge("system.uptime", "s", float64(up))
	return nil
}

func (c *Collector) procUptime() (float64, error) {
	name := filepath.Join(c.dir(common.HostProcEnvKey, "/proc"), "uptime")
	text, err := os.ReadFile(name)
	if err != nil {
		return 0, err
	}
	up, _, _ := strings.Cut(string(text), " ")
	seconds, err := strconv.ParseFloat(strings.TrimSpace(up), 64)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", name, err)
	}
	return seconds, nil
}
