package agent

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/picketwatch/picket/core/kernel/agents/flowbatch"
	"github.com/picketwatch/picket/core/kernel/pluginhost"
	"github.com/picketwatch/picket/core/services/collect"
	"github.com/picketwatch/picket/core/services/detect"
	"github.com/picketwatch/picket/core/services/traffic"
	"github.com/picketwatch/picket/internal/packetsocket"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/records"
)

// Capture is an interface whose traffic the agent watches. The agent opens the socket, a confined worker reads the packets,
// and flows leave the machine, and the packets that a finding rests on.
type Capture struct {
	packetsocket.Config
	Keep int64 // bytes of memory for the newest packets, where they are judged; 0 keeps none
}

// maxCaptures bounds the interfaces: each has a ring and a worker of its own.
const maxCaptures = 16

// newCaptures checks what is to be captured. Whether it can be shows when it begins, and stands in the status.
func (a *Agent) newCaptures() error {
	if len(a.cfg.Captures) > maxCaptures {
		return &UsageError{fmt.Sprintf("%d captures: at most %d interfaces can be watched", len(a.cfg.Captures), maxCaptures)}
	}
	if len(a.cfg.Captures) > 0 {
		if err := pluginhost.CheckHelper(a.cfg.Helpers, "picket-traffic"); err != nil {
			return err
		}
	}
	a.evidence = a.newEvidence()
	for i, c := range a.cfg.Captures {
		var judge *detection
		if i >= maxJudged {
			c.Keep = 0 // nobody finds anything there
		}
		live, err := traffic.NewLive(traffic.LiveConfig{Programs: a.cfg.Helpers, Socket: c.Config, Keep: c.Keep, Open: a.cfg.openSocket, Log: a.log,
			Record: func(_ context.Context, r traffic.Run) (traffic.LiveRecorder, error) {
				return a.recordFlows(r, judge), nil
			}})
		if err != nil {
			return &UsageError{"capture: " + err.Error()}
		}
		if i < maxJudged {
			judge = a.newDetection(i, live)
			a.detections = append(a.detections, judge)
		} else {
			a.log.Warn("the traffic of this interface is recorded and not judged; detectors judge the first captures only",
				"interface", c.Interface, "judged", maxJudged)
		}
		a.captures = append(a.captures, live)
	}
	return nil
}

// capture runs all captures until ctx ends, which closes their flows.
func (a *Agent) capture(ctx context.Context) {
	var running sync.WaitGroup
	for _, live := range a.captures {
		running.Go(func() { live.Run(ctx) })
	}
	if len(a.captures) > 0 {
		for _, d := range a.detections {
			running.Go(func() { d.watch(ctx) })
		}
		running.Go(func() { a.evidence.run(ctx) })
		a.measureCaptures(ctx)
		running.Wait()
		var finishing sync.WaitGroup
		for _, d := range a.detections {
			finishing.Go(d.finish)
		}
		finishing.Wait()
		a.evidence.finish()
		for _, live := range a.captures {
			live.Forget()
		}
	}
}

const captureSampleEvery = 15 * time.Second

// measureCaptures sends how the captures go, as samples like those of a collector.
func (a *Agent) measureCaptures(ctx context.Context) {
	for sleep(ctx, captureSampleEvery) {
		var list []sdk.Sample
		for _, live := range a.captures {
			list = append(list, captureSamples(live.Figures(), a.server.serverTime().UTC())...)
		}
		for _, f := range a.detectionFigures() {
			list = append(list, detectionSamples(f, a.server.serverTime().UTC())...)
		}
		if err := a.outbox.samples(ctx, collect.Batch{Samples: list}); err != nil {
			a.log.Warn("how the captures go could not be queued", "problem", err)
		}
	}
}

func captureSamples(f traffic.LiveFigures, now time.Time) []sdk.Sample {
	labels := map[string]string{"interface": f.Interface}
	counter := func(name, unit string, v uint64) sdk.Sample {
		return sdk.Sample{Metric: "picket.capture." + name, Unit: unit, Type: sdk.Counter, Labels: labels, Time: now, Value: float64(v)}
	}
	running := sdk.Sample{Metric: "picket.capture.running", Unit: "1", Type: sdk.Gauge, Labels: labels, Time: now}
	if f.Problem == "" {
		running.Value = 1
	}
	return []sdk.Sample{
		running,
		counter("received", "{packet}", f.Received), counter("dropped", "{packet}", f.Dropped), counter("packets", "{packet}", f.Packets),
		counter("bytes", "By", f.Bytes), counter("flows", "{flow}", f.Flows), counter("restarts", "1", uint64(f.Restarts)),
		counter("lost_flows", "{flow}", f.LostFlows),
		{Metric: "picket.capture.kept", Unit: "s", Type: sdk.Gauge, Labels: labels, Time: now, Value: f.Kept},
	}
}

func detectionSamples(f detect.Figures, now time.Time) []sdk.Sample {
	labels := map[string]string{"instance": f.Instance}
	counter := func(name, unit string, v uint64) sdk.Sample {
		return sdk.Sample{Metric: "picket.detection." + name, Unit: unit, Type: sdk.Counter, Labels: labels, Time: now, Value: float64(v)}
	}
	return []sdk.Sample{
		counter("shown", "{record}", f.Shown), counter("missed", "{record}", f.Missed), counter("findings", "{finding}", f.Findings),
		counter("failures", "1", f.Failures),
	}
}

// detectionFigures are those of all that judge, capture by capture.
func (a *Agent) detectionFigures() []detect.Figures {
	out := []detect.Figures{}
	for _, d := range a.detections {
		out = append(out, d.figures()...)
	}
	return out
}

// captureFigures are those of all captures, for the status.
func (a *Agent) captureFigures() []traffic.LiveFigures {
	out := make([]traffic.LiveFigures, len(a.captures))
	for i, live := range a.captures {
		out[i] = live.Figures()
	}
	return out
}

// How long flows wait for others that travel with them.
const flowsWait = 10 * time.Second

// flowQueue gathers the frames of one run and puts them into the agent's queue.
type flowQueue struct {
	put   func(kind uint8, rows int, v any) error
	batch flowbatch.Batch

	mu     sync.Mutex // guards what follows
	frames []byte
	rows   int
	late   *time.Timer // runs while frames wait
	err    error       // of a batch that the timer could not queue
	closed bool
}

func (a *Agent) recordFlows(r traffic.Run, judge *detection) *liveRecord {
	q := &flowQueue{put: a.outbox.put, batch: flowbatch.Batch{Run: r.ID, Interface: r.Interface, Filter: r.Filter, Started: r.Started}}
	to := &liveRecord{flowQueue: q, wanted: recordedWanted(), detection: judge}
	if judge != nil {
		to.wanted = judge.begin(r)
	}
	return to
}

// Flows implements traffic.Recorder.
func (q *flowQueue) Flows(_ context.Context, flows records.Parcel) error {
	return q.add(flows)
}

// Facts implements traffic.Recorder.
func (q *flowQueue) Facts(_ context.Context, _ string, facts records.Parcel) error {
	return q.add(facts)
}

func (q *flowQueue) add(p records.Parcel) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.err != nil {
		return q.err
	}
	if len(q.frames) > 0 && len(q.frames)+len(p.Features)+len(p.Frame) > flowbatch.MaxBytes {
		if err := q.flush(); err != nil {
			return err
		}
	}
	q.frames = append(append(q.frames, p.Features...), p.Frame...)
	q.rows += records.Count(p.Frame)
	if q.late == nil {
		q.late = time.AfterFunc(flowsWait, q.flushLate)
	}
	return nil
}

// Close implements traffic.Recorder.
func (q *flowQueue) Close(context.Context, bool) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	return q.flush()
}

func (q *flowQueue) flushLate() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.closed {
		q.err = q.flush()
	}
}

func (q *flowQueue) flush() error {
	if q.late != nil {
		q.late.Stop()
		q.late = nil
	}
	if len(q.frames) == 0 {
		return nil
	}
	b := q.batch
	if err := b.Pack(q.frames); err != nil {
		return err
	}
	rows := q.rows
	q.frames, q.rows = q.frames[:0], 0
	return q.put(kindFlows, rows, b)
}
