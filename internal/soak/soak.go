//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/picketwatch/picket/core/kernel/pluginhost"
	"github.com/picketwatch/picket/core/kernel/pluginhost/confine"
	"github.com/picketwatch/picket/registry/policy"
	"github.com/picketwatch/picket/sdk"
)

type options struct {
	Plugins   int           `json:"plugins"`
	Duration  time.Duration `json:"duration_ns"`
	Measure   time.Duration `json:"measure_ns"`
	KillEvery time.Duration `json:"kill_every_ns"`
	Share     float64       `json:"share"`
	Level     confine.Level `json:"level"`
}

// report is what a soak saw.
type report struct {
	Options  options        `json:"options"`
	Mix      map[string]int `json:"mix"`
	Level    confine.Level  `json:"level"`
	Ceiling  float64        `json:"ceiling_records_per_second"`
	Soak     outcome        `json:"soak"`
	Before   census         `json:"before"` // all plugins run, nothing was killed yet
	After    census         `json:"after"`  // all plugins run again
	End      census         `json:"end"`    // the host was stopped
	MostRSS  uint64         `json:"most_rss_bytes"`
	Defaults outcome        `json:"defaults"`
	Resting  map[string]int `json:"quarantined_after_crashes"` // by instance, in the second run
}

// outcome of one run.
type outcome struct {
	Seconds      float64  `json:"seconds"`
	Kills        int      `json:"kills"`
	Acknowledged uint64   `json:"acknowledged_records"`
	Rate         float64  `json:"records_per_second"`
	OfCeiling    float64  `json:"of_ceiling"`
	Lost         uint64   `json:"lost"`
	Doubled      uint64   `json:"doubled"`
	Refused      uint64   `json:"failed_and_said_so"` // rounds and captures
	Lives        int      `json:"lives_of_collectors"`
	Crashes      uint64   `json:"crashes"`
	Replayed     uint64   `json:"batches_replayed"`
	Faults       []string `json:"faults,omitempty"`
}

// mix is what runs, in turns.
var mix = []struct {
	plugin, runtime string
	records         int // of one piece of work
}{
	{"soak/numbers", pluginhost.RuntimeProcess, roundSamples},
	{"soak/stateful", pluginhost.RuntimeProcess, captureFlows},
	{"soak/numbers", pluginhost.RuntimeWASM, roundSamples},
	{"soak/stateful", pluginhost.RuntimeWASM, captureFlows},
	{"soak/stateless", pluginhost.RuntimeProcess, captureFlows},
	{"soak/stateless", pluginhost.RuntimeWASM, captureFlows},
}

func assignments(n int) (list []pluginhost.Assignment, kinds map[string]int) {
	kinds = map[string]int{}
	for i := range n {
		m := mix[i%len(mix)]
		a := pluginhost.Assignment{Instance: fmt.Sprintf("%02d-%s-%s", i, strings.TrimPrefix(m.plugin, "soak/"), m.runtime),
			Plugin: m.plugin, Version: "1.0.0", Runtime: m.runtime}
		if m.plugin == "soak/numbers" {
			a.Config = fmt.Appendf(nil, `{"samples": %d}`, roundSamples)
		} else {
			a.Grants = permissions(sdk.KindDetector)
		}
		list = append(list, a)
		kinds[m.plugin+" "+m.runtime]++
	}
	return list, kinds
}

// node is a host with its plugins and their drivers.
type node struct {
	*pluginhost.Host
	dir     string
	drivers []driver
	rates   []float64 // records per second of each driver, 0 is as fast as it goes
	tally   *tally
	ready   context.CancelFunc // ends the services
	serving sync.WaitGroup
}

func newNode(ctx context.Context, programs string, shelf shelf, o options, change func(*pluginhost.Config)) (*node, error) {
	dir, err := os.MkdirTemp("", "soak")
	if err != nil {
		return nil, err
	}
	ceiling, err := policy.Parse([]byte("apiVersion: picket/v1\nminimum_level: C\n")) // -level may ask for no confinement
	if err != nil {
		return nil, err
	}
	cfg := pluginhost.Config{Dir: dir, RunDir: filepath.Join(dir, "r"), Helpers: programs, Registry: shelf, Ceiling: ceiling, MostLevel: o.Level}
	cfg.Deadlines.Start, cfg.Deadlines.Compile = time.Minute, 3*time.Minute // 24 starts share the machine
	if change != nil {
		change(&cfg)
	}
	h, err := pluginhost.New(cfg)
	if err != nil {
		return nil, err
	}
	n := &node{Host: h, dir: dir, tally: &tally{}}
	list, _ := assignments(o.Plugins)
	if err := h.Apply(ctx, list); err != nil {
		return n, err
	}
	for _, a := range list {
		if err := h.WaitReady(ctx, a.Instance); err != nil {
			return n, err
		}
	}
	serve, cancel := context.WithCancel(context.Background())
	n.ready = cancel
	for _, c := range h.Collectors() {
		d := newCollecting(c, n.tally)
		n.drivers = append(n.drivers, d)
		n.serving.Go(func() { d.service.Run(serve) })
	}
	for _, d := range h.Detectors() {
		n.drivers = append(n.drivers, &detecting{Detector: d, share: h.Share, name: d.Instance(), t: n.tally})
	}
	n.rates = make([]float64, len(n.drivers))
	return n, nil
}

func (n *node) stop() {
	if n.ready != nil {
		n.ready()
	}
	n.serving.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	n.Stop(ctx)
}

// drive lets all drivers work until ctx ends; each finishes what it has begun. It returns what each had acknowledged.
func (n *node) drive(ctx context.Context) []uint64 {
	done := make([]uint64, len(n.drivers))
	began := time.Now()
	var all sync.WaitGroup
	for i, d := range n.drivers {
		all.Go(func() {
			for ctx.Err() == nil {
				records, err := d.work(context.Background())
				done[i] += uint64(records)
				if err != nil {
					n.tally.mu.Lock()
					n.tally.refused++
					n.tally.mu.Unlock()
					if st, _ := n.Instance(d.instance()); st.State == pluginhost.Quarantined {
						return
					}
					pause(ctx, 20*time.Millisecond) // the next process is not there at once
				}
				if n.rates[i] > 0 {
					pause(ctx, time.Until(began.Add(time.Duration(float64(done[i])/n.rates[i]*float64(time.Second)))))
				}
			}
		})
	}
	all.Wait()
	n.tally.mu.Lock()
	defer n.tally.mu.Unlock()
	for _, d := range done {
		n.tally.acknowledged += d
	}
	return done
}

func pause(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// kill ends one random plugin at every tick, as long as ctx lasts and one is left. fits says which may be killed.
func (n *node) kill(ctx context.Context, every time.Duration, fits func(pluginhost.Status) bool) (kills int) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return kills
		}
		all := n.Instances()
		alive := slices.DeleteFunc(slices.Clone(all), func(s pluginhost.Status) bool { return s.PID <= 1 || s.State != pluginhost.Ready || !fits(s) })
		if len(alive) > 0 {
			if syscall.Kill(alive[rand.IntN(len(alive))].PID, syscall.SIGKILL) == nil {
				kills++
			}
		} else if !slices.ContainsFunc(all, func(s pluginhost.Status) bool { return s.State != pluginhost.Quarantined }) {
			return kills
		}
	}
}

// calm waits until every plugin is up again, and all that belongs to those that went is gone.
func (n *node) calm(ctx context.Context) error {
	for _, st := range n.Instances() {
		for {
			err := n.WaitReady(ctx, st.Instance)
			if err == nil {
				break
			}
			if sdk.ClassOf(err) != sdk.Temporary || ctx.Err() != nil {
				return err
			}
			pause(ctx, 50*time.Millisecond)
		}
	}
	pause(ctx, 2*time.Second)
	return ctx.Err()
}

func (n *node) outcome(took time.Duration, kills int, ceiling float64) outcome {
	for _, d := range n.drivers {
		d.settle()
	}
	t := n.tally
	t.mu.Lock()
	defer t.mu.Unlock()
	out := outcome{Seconds: took.Seconds(), Kills: kills, Acknowledged: t.acknowledged, Lost: t.lost, Doubled: t.doubled, Refused: t.refused,
		Lives: t.lives, Faults: t.faults, Rate: float64(t.acknowledged) / took.Seconds()}
	out.OfCeiling = out.Rate / ceiling
	for _, st := range n.Instances() {
		out.Crashes += st.Ledger.Crashes
		out.Replayed += st.Ledger.Replayed
	}
	return out
}

// soak does both runs.
func soak(ctx context.Context, o options) (*report, error) {
	programs, err := os.MkdirTemp("", "soak-programs")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(programs)
	if err := build(programs); err != nil {
		return nil, err
	}
	shelf, err := newShelf(programs)
	if err != nil {
		return nil, err
	}
	r := &report{Options: o, Level: o.Level, Resting: map[string]int{}}
	if r.Level == "" {
		r.Level = confine.Detect().Level
	}
	_, r.Mix = assignments(o.Plugins)
	rates, err := r.first(ctx, programs, shelf)
	if err != nil {
		return r, fmt.Errorf("first run: %w", err)
	}
	if err := r.second(ctx, programs, shelf, rates); err != nil {
		return r, fmt.Errorf("run with the defaults: %w", err)
	}
	return r, nil
}

// first measures the ceiling, and then runs at a part of it while plugins are killed.
func (r *report) first(ctx context.Context, programs string, shelf shelf) ([]float64, error) {
	o := r.Options
	n, err := newNode(ctx, programs, shelf, o, func(c *pluginhost.Config) {
		c.MaxCrashes = 1_000_000
		c.Backoff = pluginhost.Backoffs{First: 50 * time.Millisecond, Base: 50 * time.Millisecond, Max: 100 * time.Millisecond}
	})
	if n != nil {
		defer os.RemoveAll(n.dir)
		defer n.stop()
	}
	if err != nil {
		return nil, err
	}
	within, cancel := context.WithTimeout(ctx, o.Measure)
	defer cancel()
	began := time.Now()
	for i, records := range n.drive(within) {
		n.rates[i] = float64(records) / time.Since(began).Seconds() * o.Share
		r.Ceiling += n.rates[i] / o.Share
	}
	if err := n.calm(ctx); err != nil {
		return nil, err
	}
	n.tally.mu.Lock()
	n.tally.acknowledged, n.tally.refused = 0, 0
	n.tally.mu.Unlock()
	r.Before = take(filepath.Join(n.dir, "r"))

	within, cancel = context.WithTimeout(ctx, o.Duration)
	defer cancel()
	var kills int
	var watching sync.WaitGroup
	watching.Go(func() { kills = n.kill(within, o.KillEvery, func(pluginhost.Status) bool { return true }) })
	watching.Go(func() { r.watchMemory(within) })
	began = time.Now()
	n.drive(within)
	took := time.Since(began)
	watching.Wait()
	if err := n.calm(ctx); err != nil {
		return nil, err
	}
	r.Soak = n.outcome(took, kills, r.Ceiling)
	r.After = take(filepath.Join(n.dir, "r"))
	n.stop()
	pause(ctx, time.Second)
	r.End = take(filepath.Join(n.dir, "r"))
	return n.rates, nil
}

func (r *report) watchMemory(ctx context.Context) {
	for ctx.Err() == nil {
		r.MostRSS = max(r.MostRSS, residentMemory())
		pause(ctx, time.Second)
	}
}

// second runs with the host's own settings until every plugin rests.
func (r *report) second(ctx context.Context, programs string, shelf shelf, rates []float64) error {
	n, err := newNode(ctx, programs, shelf, r.Options, nil)
	if n != nil {
		defer os.RemoveAll(n.dir)
		defer n.stop()
	}
	if err != nil {
		return err
	}
	copy(n.rates, rates)
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	within, resting := context.WithCancel(ctx)
	var kills atomic.Int64
	began := time.Now()
	var killing sync.WaitGroup
	killing.Go(func() {
		defer resting()
		kills.Store(int64(n.kill(ctx, r.Options.KillEvery, func(s pluginhost.Status) bool { return s.State != pluginhost.Quarantined })))
	})
	n.drive(within)
	killing.Wait()
	r.Defaults = n.outcome(time.Since(began), int(kills.Load()), r.Ceiling)
	for _, st := range n.Instances() {
		if st.State == pluginhost.Quarantined {
			r.Resting[st.Instance] = int(st.Ledger.Crashes)
		}
	}
	return nil
}

// Bounds for what a host may hold more after a soak than before it: kept histories and log lines, and what the runtime
// has not given back.
const (
	slackHeap   = 32 << 20
	slackHandle = 8 // descriptors, goroutines
)

// verdict is nil when the soak showed what it should.
func (r *report) verdict() error {
	var problems []error
	bad := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	for name, o := range map[string]outcome{"the soak": r.Soak, "the run with the defaults": r.Defaults} {
		if o.Lost > 0 || o.Doubled > 0 || len(o.Faults) > 0 {
			bad("%s: %d records lost, %d doubled: %v", name, o.Lost, o.Doubled, o.Faults)
		}
		if o.Acknowledged == 0 || o.Kills == 0 {
			bad("%s: %d records, %d kills: nothing was shown", name, o.Acknowledged, o.Kills)
		}
	}
	if r.After.Heap > r.Before.Heap+slackHeap {
		bad("the heap grew from %d to %d bytes", r.Before.Heap, r.After.Heap)
	}
	if r.After.Descriptors > r.Before.Descriptors+slackHandle || r.After.Goroutines > r.Before.Goroutines+slackHandle {
		bad("descriptors went from %d to %d, goroutines from %d to %d: %s", r.Before.Descriptors, r.After.Descriptors, r.Before.Goroutines, r.After.Goroutines,
			strings.Join(r.After.more(&r.Before), "; "))
	}
	if r.After.Processes != r.Before.Processes || r.After.Zombies != 0 || r.End.Processes != 0 || r.End.Folders != 0 {
		bad("processes went from %d to %d (%d of them zombies) and %d at the end, with %d socket folders", r.Before.Processes, r.After.Processes, r.After.Zombies,
			r.End.Processes, r.End.Folders)
	}
	for instance, crashes := range r.Resting {
		if crashes != 3 {
			bad("%s rests after %d crashes", instance, crashes)
		}
	}
	if len(r.Resting) != r.Options.Plugins {
		bad("%d of %d plugins rest in quarantine", len(r.Resting), r.Options.Plugins)
	}
	return errors.Join(problems...)
}

func (r *report) print(w io.Writer) {
	p := func(name string, format string, args ...any) {
		fmt.Fprintf(w, "  %-34s %s\n", name, fmt.Sprintf(format, args...))
	}
	fmt.Fprintf(w, "%d plugins at level %s: %v\n", r.Options.Plugins, r.Level, r.Mix)
	p("measured ceiling", "%.0f records/s", r.Ceiling)
	for _, o := range []struct {
		name string
		outcome
	}{{"budget raised", r.Soak}, {"defaults", r.Defaults}} {
		fmt.Fprintf(w, "%s, %.0f s\n", o.name, o.Seconds)
		p("kills, crashes", "%d, %d", o.Kills, o.Crashes)
		p("acknowledged", "%d records, %.0f/s, %.0f %% of the ceiling", o.Acknowledged, o.Rate, 100*o.OfCeiling)
		p("lost, doubled", "%d, %d", o.Lost, o.Doubled)
		p("rounds and captures done again", "%d", o.Refused)
		p("lives of collectors", "%d", o.Lives)
		p("batches replayed", "%d", o.Replayed)
		for _, f := range o.Faults {
			p("fault", "%s", f)
		}
	}
	p("in quarantine", "%d of %d, after 3 crashes each", len(r.Resting), r.Options.Plugins)
	fmt.Fprintf(w, "the host                                    before       after         end\n")
	row := func(name string, of func(census) any) {
		fmt.Fprintf(w, "  %-34s %12v %11v %11v\n", name, of(r.Before), of(r.After), of(r.End))
	}
	row("resident memory, MiB", func(c census) any { return c.RSS >> 20 })
	row("heap, KiB", func(c census) any { return c.Heap >> 10 })
	row("descriptors", func(c census) any { return c.Descriptors })
	row("goroutines", func(c census) any { return c.Goroutines })
	row("threads", func(c census) any { return c.Threads })
	row("processes", func(c census) any { return c.Processes })
	row("zombies", func(c census) any { return c.Zombies })
	row("socket folders", func(c census) any { return c.Folders })
	row("control groups", func(c census) any { return c.Groups })
	p("most resident memory", "%d MiB", r.MostRSS>>20)
	for _, what := range r.After.more(&r.Before) {
		p("goroutines after", "%s", what)
	}
}
