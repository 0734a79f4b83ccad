// Package gpu is the collector picket/gpu: what goes in are the files of the kernel's driver for AMD graphics processors below
// /sys/class/drm, what comes out are samples of their load, memory and power.
package gpu

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"strconv"

	"github.com/picketwatch/picket/plugins/internal/measure"
	"github.com/picketwatch/picket/sdk"
)

func init() { sdk.Register(Plugin()) }

// Plugin declares the collector.
func Plugin() sdk.Plugin {
	return sdk.Plugin{ID: "picket/gpu", Kind: sdk.KindCollector,
		Summary: "Measures how busy AMD graphics processors are, their memory and their power.", New: func() sdk.Instance { return New() }}
}

const (
	maxCards   = 32   // the kernel's numbers of cards begin at 0, and may have gaps
	maxSensors = 64   // as those of its sensors
	maxFile    = 4096 // what a file of sysfs holds at most
	amd        = "0x1002"
)

// Collector reads one machine.
type Collector struct {
	host sdk.Host
	open func(name string) (fs.File, error)
}

// New returns a collector that has not been started.
func New() *Collector { return &Collector{} }

// Config implements sdk.Instance.
func (c *Collector) Config() any { return nil }

// Start implements sdk.Starter.
func (c *Collector) Start(_ context.Context, host sdk.Host) error {
	c.host = host
	if c.open == nil {
		c.open = host.Open
	}
	return nil
}

// Collect reads all cards. A machine without any has no samples, which is no error.
func (c *Collector) Collect(ctx context.Context, _ sdk.CollectRequest, sink sdk.SampleSink) error {
	if c.host == nil {
		return sdk.Errorf(sdk.Internal, "Collect was called before Start")
	}
	out := measure.Samples{Time: c.host.Now()}
	var failed []error
	for i := range maxCards {
		if err := ctx.Err(); err != nil {
			return err
		}
		card := fmt.Sprintf("card%d", i)
		if err := c.card(card, &out); err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", card, err))
		}
	}
	if err := out.Emit(sink); err != nil {
		return err
	}
	return errors.Join(failed...)
}

func (c *Collector) card(card string, out *measure.Samples) error {
	r := reader{open: c.open, dir: "/sys/class/drm/" + card + "/device/"}
	if vendor, ok := r.text("vendor"); !ok || vendor != amd {
		return r.err
	}
	out.Common = map[string]string{"hw.id": card, "hw.vendor": "AMD"}
	if name, ok := r.text("product_name"); ok && name != "" {
		out.Common["hw.name"] = name
	}
	if busy, ok := r.number("gpu_busy_percent"); ok && busy <= 100 {
		out.Gauge("hw.gpu.utilization", "1", busy/100)
	}
	used, known := r.number("mem_info_vram_used")
	if known {
		out.Gauge("hw.gpu.memory.usage", "By", used)
	}
	if total, ok := r.number("mem_info_vram_total"); ok && total > 0 {
		out.Gauge("hw.gpu.memory.limit", "By", total)
		if known && used <= total {
			out.Gauge("hw.gpu.memory.utilization", "1", used/total)
		}
	}
	if watts, ok := r.power(); ok {
		out.Gauge("hw.power", "W", watts, "hw.type", "gpu")
	}
	return r.err
}

// reader reads the files of one card. What is not there is not present; the first other error is kept.
type reader struct {
	open func(name string) (fs.File, error)
	dir  string
	err  error
}

// power is what the card draws. Newer cards say what they draw now, older ones an average.
func (r *reader) power() (watts float64, ok bool) {
	for i := range maxSensors {
		sensors := fmt.Sprintf("hwmon/hwmon%d/", i)
		if _, there := r.text(sensors + "name"); !there {
			continue
		}
		for _, file := range []string{"power1_average", "power1_input"} {
			if n, ok := r.number(sensors + file); ok {
				return n / 1e6, true
			}
		}
	}
	return 0, false
}

func (r *reader) number(file string) (float64, bool) {
	text, ok := r.text(file)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || n > math.MaxInt64 {
		r.keep(sdk.Errorf(sdk.Downstream, "%s holds no number", file))
		return 0, false
	}
	return float64(n), true
}

func (r *reader) text(file string) (string, bool) {
	f, err := r.open(r.dir + file)
	if err != nil {
		r.keep(err)
		return "", false
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil { // of a card that sleeps the driver says so for each file
		r.keep(sdk.Errorf(sdk.Temporary, "read %s: %w", file, err))
		return "", false
	}
	return string(bytes.TrimSpace(bytes.ToValidUTF8(b, []byte("?")))), true
}

func (r *reader) keep(err error) {
	if r.err == nil && !errors.Is(err, fs.ErrNotExist) {
		r.err = err
	}
}
