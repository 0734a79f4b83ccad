// Package detect hands what a capture holds to the detectors and gathers what they find. In go row frames of flows and of
// packets (sdk/records), in the order of the capture, each to the detectors that subscribed to it; out come findings, each
// once, each with an id that depends only on the capture's id and on what was found, so that a job that is done again cannot
// double anything. A frame is made once, however many detectors see it.
//
// Each detector has its own goroutine and its own short queue, so a slow one does not hold up the others until its
// queue is full. Analysis of a stored capture never drops: a full queue makes Frame wait, at most until the detector's
// deadline ends it. From then on its queue is emptied unseen, and its verdict is said to be incomplete.
package detect

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"sync"

	"github.com/picketwatch/picket/core/kernel/pluginhost/batch"
	"github.com/picketwatch/picket/sdk"
)

// Detector is one running detector instance.
type Detector interface {
	Instance() string
	Plugin() string
	// Generation rises with every start: a detector that was restarted has forgotten what it was shown.
	Generation() uint64
	// Subscription is what it wants to see and was granted.
	Subscription() sdk.Subscription
	// InspectAll shows it the batches as they come, until the channel is closed. It releases those that it takes; after an
	// error it takes no more.
	InspectAll(ctx context.Context, capture string, batches <-chan *batch.Batch, sink sdk.FindingSink) error
	Flush(ctx context.Context, sink sdk.FindingSink) error
}

// DefaultQueue is how many frames wait for one detector.
const DefaultQueue = 8

// maxFindings bounds what one detector may report about one capture; more than that is noise, and it is counted.
const maxFindings = 10000

// Run is the analysis of one capture. Frame and Close are called from one goroutine.
type Run struct {
	capture string
	lanes   []*lane
	share   Share
	packets []sdk.PacketSubscription
	wg      sync.WaitGroup
}

// Share makes a batch of a frame of flows for so many detectors; pluginhost.Host does.
type Share func(frame []byte, readers int) *batch.Batch

func unshared(frame []byte, readers int) *batch.Batch { return batch.New(frame, readers, nil, nil) }

// Result is what a run found and what it could not see.
type Result struct {
	Findings []sdk.Finding
	// Failed names the detectors whose verdict is incomplete, with the reason.
	Failed map[string]error
	// Dropped counts findings beyond the bound, by instance.
	Dropped map[string]int
}

// Start begins the analysis of one capture with these detectors. The ids of the findings derive from the capture's.
// Every detector's queue holds at most queue frames. Without share each detector is sent what it is to see.
func Start(ctx context.Context, capture string, detectors []Detector, queue int, share Share) *Run {
	if queue <= 0 {
		queue = DefaultQueue
	}
	if share == nil {
		share = unshared
	}
	r := &Run{capture: capture, share: share}
	for _, d := range detectors {
		l := &lane{detector: d, capture: capture, frames: make(chan *batch.Batch, queue), seen: map[string]bool{}}
		l.flows, l.packets = r.subscribe(d.Subscription())
		r.lanes = append(r.lanes, l)
		r.wg.Add(1)
		go func() {
			defer r.wg.Done()
			l.run(ctx)
		}()
	}
	return r
}

// subscribe notes a detector's wishes; detectors that want the same packets share them.
func (r *Run) subscribe(s sdk.Subscription) (flows bool, packets int) {
	if s.Packets == nil {
		return s.Flows, noPackets
	}
	same := func(p sdk.PacketSubscription) bool {
		return p.SnapLen == s.Packets.SnapLen && slices.Equal(p.Layers, s.Packets.Layers)
	}
	if i := slices.IndexFunc(r.packets, same); i >= 0 {
		return s.Flows, i
	}
	r.packets = append(r.packets, *s.Packets)
	return s.Flows, len(r.packets) - 1
}

const noPackets = -1

// PacketSubscriptions are the distinct wishes for packets. Packets names them by their place in the list.
func (r *Run) PacketSubscriptions() []sdk.PacketSubscription { return r.packets }

// Frame hands one frame of flows to every detector that wants flows, waiting for those that are behind. It keeps the
// slice: the caller must not reuse it.
func (r *Run) Frame(ctx context.Context, frame []byte) error {
	return r.hand(ctx, frame, r.share, func(l *lane) bool { return l.flows })
}

// Packets is Frame for the packets of one subscription. They are never shared: not everybody who may read flows may read them.
func (r *Run) Packets(ctx context.Context, subscription int, frame []byte) error {
	return r.hand(ctx, frame, unshared, func(l *lane) bool { return l.packets == subscription })
}

func (r *Run) hand(ctx context.Context, frame []byte, share Share, wants func(*lane) bool) error {
	var to []*lane
	for _, l := range r.lanes {
		if wants(l) {
			to = append(to, l)
		}
	}
	b := share(frame, len(to))
	for i, l := range to {
		select {
		case l.frames <- b:
		case <-ctx.Done():
			for range to[i:] {
				b.Release()
			}
			return ctx.Err()
		}
	}
	return nil
}

// Close ends the capture: every detector is flushed, so that no state of this capture reaches the next one, and the
// findings are returned in order of time.
func (r *Run) Close() Result {
	for _, l := range r.lanes {
		close(l.frames)
	}
	r.wg.Wait()
	res := Result{Failed: map[string]error{}, Dropped: map[string]int{}}
	for _, l := range r.lanes {
		res.Findings = append(res.Findings, l.findings...)
		if l.err != nil {
			res.Failed[l.detector.Instance()] = l.err
		}
		if l.dropped > 0 {
			res.Dropped[l.detector.Instance()] = l.dropped
		}
	}
	sort.SliceStable(res.Findings, func(i, j int) bool {
		return res.Findings[i].Start.Before(res.Findings[j].Start)
	})
	return res
}

// lane is one detector's part of a run. Only its goroutine touches it until the run is closed.
type lane struct {
	detector Detector
	capture  string
	frames   chan *batch.Batch
	flows    bool
	packets  int // the place of its subscription, or noPackets

	findings []sdk.Finding
	seen     map[string]bool
	dropped  int
	err      error
}

func (l *lane) run(ctx context.Context) {
	born := l.detector.Generation()
	if err := l.detector.InspectAll(ctx, l.capture, l.frames, l); err != nil {
		l.err = fmt.Errorf("inspect: %w", err)
	}
	for b := range l.frames { // one failed detector must not block the capture for the others
		b.Release()
	}
	if l.err == nil && l.detector.Generation() != born {
		l.err = sdk.Errorf(sdk.Temporary, "restarted in the middle of the capture")
	}
	// Also after a failure: what the instance still holds of this capture must not leak into the next one.
	if err := l.detector.Flush(ctx, l); err != nil {
		l.err = errors.Join(l.err, fmt.Errorf("flush: %w", err))
	}
}

// Finding takes one finding; the lane is the sink of its detector.
func (l *lane) Finding(f sdk.Finding) error {
	f.Detector = l.detector.Plugin() // a detector speaks only for itself
	if f.Severity.Rank() == 0 {
		f.Severity = sdk.SeverityInfo
	}
	f.Risk = min(max(f.Risk, 0), 100)
	f.Confidence = clamp01(f.Confidence)
	f.ID = FindingID(l.capture, f)
	if l.seen[f.ID] {
		return nil
	}
	if len(l.findings) >= maxFindings {
		l.dropped++
		return nil
	}
	l.seen[f.ID] = true
	l.findings = append(l.findings, f)
	return nil
}

// clamp01 also turns NaN into 0: the comparison is false for it.
func clamp01(v float64) float64 {
	if v >= 0 && v <= 1 {
		return v
	}
	if v > 1 {
		return 1
	}
	return 0
}
