// Package host is the collector picket/host: what goes in is the state of the machine it runs on, what comes out are
// samples of its processors, memory, swap, file systems, disks, network interfaces, load, uptime, sensors and batteries,
// named as the OpenTelemetry conventions for system and hardware metrics name them.
//
// Each section is read on its own goroutine with its own deadline, so that one that hangs (a dead network mount, most
// often) costs its own samples and nothing else.
package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/picketwatch/picket/sdk"
	"github.com/shirou/gopsutil/v4/common"
	"github.com/shirou/gopsutil/v4/disk"
)

func init() {
	sdk.Register(sdk.Plugin{
		ID:      "picket/host",
		Kind:    sdk.KindCollector,
		Summary: "Measures processors, memory, disks, file systems, network interfaces, sensors and batteries of the machine it runs on.",
		New:     func() sdk.Instance { return New() },
	})
}

// Collector measures one machine.
type Collector struct {
	config   Config
	now      func() time.Time
	sections []section
	readings *runner
	cpu      cpuTimes

	// What tests replace: where /proc and /sys lie, and how a file system is asked for its usage.
	env   common.EnvMap
	usage func(ctx context.Context, path string) (*disk.UsageStat, error)
}

// section measures one part of the machine into out. At most one call of each section runs at a time.
type section struct {
	name string
	read func(ctx context.Context, out *samples) error
}

// New returns a collector that has not been started.
func New() *Collector {
	return &Collector{now: time.Now, readings: newRunner(), env: common.EnvMap{}, usage: disk.UsageWithContext}
}

// Config implements sdk.Instance.
func (c *Collector) Config() any { return &c.config }

// Validate implements sdk.Validator.
func (c *Collector) Validate() error { return c.config.validate() }

// Start takes the first reading of the processor times, so that the first collection can already say how busy they
// were.
func (c *Collector) Start(ctx context.Context, host sdk.Host) error {
	c.now = host.Now
	c.sections = c.chosen()
	for _, s := range c.sections {
		if s.name == "cpu" {
			return c.cpu.first(c.machine(ctx), c.now(), c.config.PerCPU)
		}
	}
	return nil
}

// Stop waits for readings that are still under way. One that hangs in the kernel cannot be ended from here; it ends
// with the process.
func (c *Collector) Stop(ctx context.Context) error { return c.readings.wait(ctx) }

// Collect reads all sections at once and hands over what came in time. Its error names the sections that did not;
// the samples of the others have been emitted by then.
func (c *Collector) Collect(ctx context.Context, _ sdk.CollectRequest, sink sdk.SampleSink) error {
	asked := ctx
	ctx, cancel := context.WithTimeout(c.machine(ctx), c.timeout())
	defer cancel()

	pending := make([]*reading, len(c.sections))
	for i, s := range c.sections {
		pending[i] = c.readings.start(s.name, c.now(), func() (*samples, error) {
			out := &samples{}
			err := s.read(ctx, out)
			out.stamp(c.now())
			return out, err
		})
	}
	var failed []error
	for _, r := range pending {
		out, err := r.result(ctx)
		if err != nil {
			failed = append(failed, explain(r.name, err))
		}
		if err := out.emit(sink); err != nil {
			return err
		}
	}
	if err := asked.Err(); err != nil { // nobody waits any more, which is no section's fault
		return err
	}
	return errors.Join(failed...)
}

func (c *Collector) chosen() []section {
	all := []section{
		{"cpu", c.readCPU},
		{"memory", c.readMemory},
		{"paging", c.readPaging},
		{"filesystem", c.readFilesystems},
		{"disk", c.readDisks},
		{"network", c.readNetwork},
		{"load", c.readLoad},
		{"uptime", c.readUptime},
		{"sensors", c.readSensors},
		{"power", c.readPower},
	}
	var out []section
	for _, s := range all {
		if c.config.wants(s.name) {
			out = append(out, s)
		}
	}
	return out
}

// machine tells gopsutil where /proc and /sys are, and to give Windows disk times in milliseconds as elsewhere.
func (c *Collector) machine(ctx context.Context) context.Context {
	ctx = context.WithValue(ctx, disk.WillBeDeletedOptInWindowsIOTimeMs, true) //nolint:staticcheck // the library made its key a string
	return context.WithValue(ctx, common.EnvKey, c.env)
}

// dir returns a folder of machine where the library has no function for what is read there.
func (c *Collector) dir(key common.EnvKeyType, usual string) string {
	if d := c.env[key]; d != "" {
		return d
	}
	return usual
}

func (c *Collector) timeout() time.Duration { return time.Duration(c.config.Timeout) }

// explain gives a failed section its name and the class by which the host decides.
func explain(name string, err error) error {
	var classed *sdk.Error
	switch {
	case errors.As(err, &classed):
		return fmt.Errorf("%s: %w", name, err)
	case errors.Is(err, fs.ErrPermission):
		return sdk.Errorf(sdk.PermissionDenied, "%s: %w", name, err)
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("%s: %w", name, err)
	}
	return sdk.Errorf(sdk.Temporary, "%s: %w", name, err)
}
