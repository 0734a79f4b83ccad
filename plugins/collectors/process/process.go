// Package process is the collector picket/process: what goes in is the machine's table of processes, what comes out are
// samples of those that use most of it, and of the programs that must run. Of a command line nothing leaves the machine:
// it may hold secrets.
package process

import (
	"context"
	"errors"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/picketwatch/picket/sdk"
)

const (
	maxProcesses = 50_000
	memory       = time.Minute // over which the use of the processors is averaged to rank by
	settled      = time.Minute // age from which a process may be listed: series of what ends at once help nobody
	newcomers    = 2           // processes that may join the list in a minute, so that series stay few where many come and go
)

func init() {
	sdk.Register(sdk.Plugin{
		ID:      "picket/process",
		Kind:    sdk.KindCollector,
		Summary: "Measures which programs use the processors and the memory of a machine, and counts those that must run.",
		New:     func() sdk.Instance { return New() },
	})
}

// process is one line of the table.
type process struct {
	pid     int
	started float64 // seconds, on a clock that the table has
	name    string
	state   string
	cpu     float64 // seconds
	memory  float64 // bytes
}

// table is what the system says of all processes at one time.
type table struct {
	now       float64 // on the clock of started
	cpus      int
	created   float64 // processes since the system began, NaN when it does not count them
	processes []process
}

// known is what is remembered of a process from one collection to the next.
type known struct {
	started float64
	cpu     float64
	use     float64 // share of all processors, now
	average float64 // the same over the last minute
	first   bool    // seen once: its use is not known
	name    string  // as the table says
	full    string  // the whole name, where the table cuts it
	told    string  // the name that it is listed by
	matches []int   // watched patterns
	listed  bool
	seen    bool
}

// Collector measures one machine.
type Collector struct {
	config  Config
	now     func() time.Time
	source  source
	last    time.Time // of the last collection
	known   map[int]*known
	room    float64 // how many may join the list now
	watched []watch
}

// New returns a collector that has not been started.
func New() *Collector {
	return &Collector{now: time.Now, source: newSource(), known: map[int]*known{}}
}

// Config implements sdk.Instance.
func (c *Collector) Config() any { return &c.config }

// Validate implements sdk.Validator.
func (c *Collector) Validate() error { return c.config.validate() }

// Start takes a first reading, because use is the change between two.
func (c *Collector) Start(ctx context.Context, host sdk.Host) error {
	c.now = host.Now
	c.watched = make([]watch, len(c.config.Watched))
	c.room = float64(2 * c.config.Top)
	t, err := c.source.read(ctx)
	if err != nil {
		return explain(err)
	}
	c.learn(ctx, t)
	return nil
}

// Collect reads the table once and hands over what became of it.
func (c *Collector) Collect(ctx context.Context, _ sdk.CollectRequest, sink sdk.SampleSink) error {
	t, err := c.source.read(ctx)
	if err != nil {
		return explain(err)
	}
	c.learn(ctx, t)
	c.list(t)
	out := emitter{sink: sink, now: c.last}
	c.emitCounts(t, &out)
	c.emitListed(ctx, t, &out)
	c.emitWatched(t, &out)
	return out.err
}

func explain(err error) error {
	var classed *sdk.Error
	if errors.As(err, &classed) || errors.Is(err, context.Canceled) {
		return err
	}
	return sdk.Errorf(sdk.Temporary, "read the table of processes: %w", err)
}

// learn compares the table with the last one.
func (c *Collector) learn(ctx context.Context, t table) {
	now := c.now()
	passed := now.Sub(c.last)
	c.last = now
	weight := 1 - math.Exp(-passed.Seconds()/memory.Seconds())
	for _, p := range t.processes {
		k := c.known[p.pid]
		if k == nil || k.started != p.started { // a number is given again, a number with a start is not
			k = &known{started: p.started, cpu: p.cpu, first: true}
			c.known[p.pid] = k
		} else if passed > 0 {
			k.use = max(0, p.cpu-k.cpu) / passed.Seconds() / float64(t.cpus)
			if k.first {
				k.average = k.use
			}
			k.average += weight * (k.use - k.average)
			k.cpu, k.first = p.cpu, false
		}
		if k.name != p.name { // it is new, or became another program
			command := ""
			k.name = p.name
			k.full, command = c.source.names(ctx, p, slices.ContainsFunc(c.config.Watched, byCommand))
			k.matches = c.config.matches(k.full, command)
		}
		k.seen = true
	}
	for pid, k := range c.known {
		if !k.seen {
			delete(c.known, pid)
		}
		k.seen = false
	}
	c.room = min(float64(2*c.config.Top), c.room+newcomers*passed.Minutes())
}

// list chooses the processes to tell of. One that is listed stays until it is far from the top, so that two that are alike
// do not take turns.
func (c *Collector) list(t table) {
	keep := map[int]bool{}
	for _, by := range []func(p process) float64{
		func(p process) float64 { return c.known[p.pid].average },
		func(p process) float64 { return p.memory },
	} {
		ranked := slices.Clone(t.processes)
		slices.SortFunc(ranked, func(a, b process) int {
			switch d := by(b) - by(a); {
			case d < 0:
				return -1
			case d > 0:
				return 1
			}
			return a.pid - b.pid
		})
		chosen := 0
		for i, p := range ranked {
			k := c.known[p.pid]
			if by(p) <= 0 || i >= 2*c.config.Top && chosen >= c.config.Top {
				break
			}
			switch {
			case k.listed && i < 2*c.config.Top, keep[p.pid]:
			case chosen < c.config.Top && t.now-p.started >= settled.Seconds() && c.room >= 1:
				c.room--
			default:
				continue
			}
			keep[p.pid] = true
			chosen++
		}
	}
	for pid, k := range c.known {
		if keep[pid] && !k.listed {
			k.told = tell(k.full)
		}
		k.listed = keep[pid]
	}
}

// emitter hands samples over until the first error.
type emitter struct {
	sink sdk.SampleSink
	now  time.Time
	err  error
}

func (e *emitter) emit(kind sdk.MetricType, metric, unit string, value float64, labels map[string]string) {
	if e.err == nil {
		e.err = e.sink.Sample(sdk.Sample{Metric: metric, Unit: unit, Type: kind, Labels: labels, Time: e.now, Value: value})
	}
}

func (c *Collector) emitCounts(t table, out *emitter) {
	counts := map[string]float64{"running": 0, "sleeping": 0, "stopped": 0, "defunct": 0}
	for _, p := range t.processes {
		if p.state != "" {
			counts[p.state]++
		}
	}
	for _, state := range []string{"running", "sleeping", "stopped", "defunct"} {
		out.emit(sdk.Gauge, "system.process.count", "{process}", counts[state], map[string]string{"process.state": state})
	}
	if !math.IsNaN(t.created) {
		out.emit(sdk.Counter, "system.process.created", "{process}", t.created, nil)
	}
}

func (c *Collector) emitListed(ctx context.Context, t table, out *emitter) {
	for _, p := range t.processes {
		k := c.known[p.pid]
		if !k.listed {
			continue
		}
		labels := map[string]string{"process.pid": strconv.Itoa(p.pid), "process.executable.name": k.told}
		c.source.owner(ctx, p.pid, labels)
		if !k.first {
			out.emit(sdk.Gauge, "process.cpu.utilization", "1", k.use, labels)
		}
		out.emit(sdk.Gauge, "process.memory.usage", "By", p.memory, labels)
		since := map[string]string{}
		for name, value := range labels {
			since[name] = value
		}
		if p.state != "" {
			since["process.state"] = p.state
		}
		out.emit(sdk.Gauge, "process.uptime", "s", max(0, t.now-p.started), since)
	}
}
