//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/picketwatch/picket/core/kernel/pluginhost"
	"github.com/picketwatch/picket/core/services/collect"
	"github.com/picketwatch/picket/core/services/detect"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/records"
)

// One round of a collector, and one capture for a detector.
const (
	roundSamples  = 2000
	captureFrames = 40
	frameFlows    = 500
	captureFlows  = captureFrames * frameFlows
	foundEvery    = 100 // as the plugins do
)

// tally counts what arrived at the end, and what should have.
type tally struct {
	mu           sync.Mutex
	acknowledged uint64 // records
	lost         uint64
	doubled      uint64
	refused      uint64 // rounds and captures that failed, and said so
	lives        int    // of collectors that were seen
	faults       []string
}

func (t *tally) fault(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.faults) < 20 {
		t.faults = append(t.faults, fmt.Sprintf(format, args...))
	}
}

// driver gives one instance its work and checks what comes of it.
type driver interface {
	instance() string
	// work does one piece and returns how many records were acknowledged.
	work(ctx context.Context) (records int, err error)
	// settle checks at the end what can be checked only then.
	settle()
}

// --- collectors ---

// collecting runs a collector below the service that runs them in the product. What the service stores comes here: that is
// the far end.
type collecting struct {
	pluginhost.Collector
	name    string
	t       *tally
	service *collect.Service
	stored  atomic.Int64

	mu    sync.Mutex
	last  map[string]uint64 // by life: the last number that was stored
	acked map[string]uint64 // by life: the last number that the plugin was told to forget
}

func newCollecting(c pluginhost.Collector, t *tally) *collecting {
	d := &collecting{Collector: c, name: c.Instance(), t: t, last: map[string]uint64{}, acked: map[string]uint64{}}
	d.service = collect.New(collect.Config{
		Collectors: func() []collect.Collector { return []collect.Collector{d} },
		Store:      d.store, Interval: time.Hour, Jitter: func() float64 { return 0.99 }, // rounds come when work asks for them
	})
	return d
}

func (d *collecting) instance() string        { return d.name }
func (d *collecting) Interval() time.Duration { return time.Hour }

// Collect stands between the service and the host, and notes what the host acknowledges to the plugin.
func (d *collecting) Collect(ctx context.Context, req sdk.CollectRequest, sink sdk.SampleSink) error {
	return d.Collector.Collect(ctx, req, &witness{d: d, to: sink, seen: map[string]uint64{}})
}

type witness struct {
	d    *collecting
	to   sdk.SampleSink
	seen map[string]uint64
}

func (w *witness) Sample(s sdk.Sample) error {
	if err := w.to.Sample(s); err != nil {
		return err
	}
	w.seen[s.Labels["life"]] = uint64(s.Value)
	return nil
}

func (w *witness) Commit(ctx context.Context) error {
	if err := w.to.(interface{ Commit(context.Context) error }).Commit(ctx); err != nil {
		return err
	}
	w.d.mu.Lock()
	defer w.d.mu.Unlock()
	for life, n := range w.seen {
		w.d.acked[life] = max(w.d.acked[life], n)
	}
	return nil
}

func (d *collecting) store(_ context.Context, b collect.Batch) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range b.Samples {
		s := &b.Samples[i]
		if s.Metric != "soak.number" {
			continue
		}
		life, n := s.Labels["life"], uint64(s.Value)
		last := d.last[life]
		switch {
		case n == last+1:
		case n <= last:
			d.count(0, 1)
			d.t.fault("%s: sample %d of life %s came twice", d.instance(), n, life)
			continue
		default:
			d.count(n-last-1, 0)
			d.t.fault("%s: samples %d to %d of life %s are missing", d.instance(), last+1, n-1, life)
		}
		d.last[life] = n
		d.stored.Add(1)
	}
	return nil
}

func (d *collecting) count(lost, doubled uint64) {
	d.t.mu.Lock()
	d.t.lost, d.t.doubled = d.t.lost+lost, d.t.doubled+doubled
	d.t.mu.Unlock()
}

func (d *collecting) work(ctx context.Context) (int, error) {
	before := d.stored.Load()
	err := d.service.CollectNow(ctx, d.instance())
	return int(d.stored.Load() - before), err
}

func (d *collecting) settle() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for life, n := range d.acked {
		if d.last[life] < n {
			d.count(n-d.last[life], 0)
			d.t.fault("%s: samples %d to %d of life %s were acknowledged and are not stored", d.instance(), d.last[life]+1, n, life)
		}
	}
	d.t.mu.Lock()
	d.t.lives += len(d.last)
	d.t.mu.Unlock()
}

// --- detectors ---

var soakFrames = sync.OnceValue(func() [][]byte {
	frames := make([][]byte, captureFrames)
	for f := range frames {
		flows := make([]sdk.Flow, frameFlows)
		for i := range flows {
			id := uint64(f*frameFlows + i + 1)
			at := time.Unix(int64(id), 0).UTC()
			flows[i] = sdk.Flow{ID: id, Start: at, End: at.Add(time.Second)}
		}
		frames[f] = records.AppendFlows(nil, flows)
	}
	return frames
})

// detecting shows a detector capture after capture through the service that does so in the product. A capture is
// acknowledged when its verdict is not said to be incomplete.
type detecting struct {
	pluginhost.Detector
	share    detect.Share
	name     string
	t        *tally
	captures int
}

func (d *detecting) instance() string { return d.name }
func (d *detecting) settle()          {}

func (d *detecting) work(ctx context.Context) (int, error) {
	d.captures++
	run := detect.Start(ctx, fmt.Sprintf("%s-%d", d.instance(), d.captures), []detect.Detector{d.Detector}, 0, d.share)
	var err error
	for _, frame := range soakFrames() {
		if err = run.Frame(ctx, records.Parcel{Frame: frame}); err != nil {
			break
		}
	}
	result := run.Close()
	if err = errors.Join(err, result.Failed[d.instance()]); err != nil {
		return 0, err // it is done again
	}
	d.check(result.Findings)
	return captureFlows, nil
}

// check compares a verdict with what it must be.
func (d *detecting) check(found []sdk.Finding) {
	var count, sum, twice, captures uint64
	flows := map[string]int{}
	for _, f := range found {
		if strings.HasPrefix(f.Summary, "count=") {
			_, _ = fmt.Sscanf(f.Summary, "count=%d sum=%d twice=%d captures=%d", &count, &sum, &twice, &captures)
			continue
		}
		flows[f.Summary]++
	}
	const wantSum = uint64(captureFlows) * (captureFlows + 1) / 2
	missing := uint64(captureFlows/foundEvery - min(len(flows), captureFlows/foundEvery))
	more := uint64(len(found)) - min(uint64(len(found)), uint64(captureFlows/foundEvery+1))
	if count == captureFlows && sum == wantSum && twice == 0 && missing == 0 && more == 0 {
		return
	}
	d.t.mu.Lock()
	d.t.lost += captureFlows - min(count, captureFlows) + missing
	d.t.doubled += twice + more
	d.t.mu.Unlock()
	d.t.fault("%s, capture %d: it says count=%d sum=%d twice=%d, %d findings", d.instance(), d.captures, count, sum, twice, len(found))
}
