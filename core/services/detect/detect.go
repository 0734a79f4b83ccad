// Package detect hands what a capture holds to the detectors and observers, and gathers what they find. In go row frames of
// flows, facts and packets (sdk/records), in the order of the capture, each to those that subscribed to it; out come findings,
// each once, each with an id that depends only on the capture's id and on what was found, so that a job that is done again
// cannot double anything. A frame is made once, however many see it. What observers see goes to a sink as it comes.
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
	"strings"
	"sync"
	"time"

	"github.com/picketwatch/picket/core/kernel/pluginhost/batch"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/records"
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
const DefaultQueue = 4

// maxFindings bounds what one detector may report about one capture; more than that is noise, and it is counted.
const maxFindings = 10000

// Run is the analysis of one capture. Its methods are called from one goroutine.
type Run struct {
	capture string
	lanes   []*lane
	share   Share
	packets []sdk.PacketSubscription
	wg      sync.WaitGroup
	queue   int
	closing chan struct{} // of a run over live traffic, in which who is behind misses records; else nil
}

// Share makes a batch of a frame for so many detectors; pluginhost.Host does.
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
	r := &Run{capture: capture, share: share, queue: queue}
	for _, d := range detectors {
		l := r.detector(d)
		l.bunch = bunched
		r.begin(func() { l.run(ctx) })
	}
	return r
}

// detector makes the lane of a detector.
func (r *Run) detector(d Detector) *lane {
	l := r.lane(d)
	l.plugin, l.judges = d.Plugin(), true
	l.inspect = func(ctx context.Context) error { return d.InspectAll(ctx, r.capture, l.frames, l) }
	l.flush = func(ctx context.Context) error { return d.Flush(ctx, l) }
	return l
}

// lane makes the lane of a reader.
func (r *Run) lane(who reader) *lane {
	s := who.Subscription()
	l := &lane{reader: who, capture: r.capture, frames: make(chan *batch.Batch, r.queue), told: map[string]telling{}, wants: s}
	l.packets = r.subscribe(s)
	r.lanes = append(r.lanes, l)
	return l
}

func (r *Run) begin(work func()) { r.wg.Go(work) }

// subscribe notes the packets that somebody wants; those who want the same share them.
func (r *Run) subscribe(s sdk.Subscription) int {
	if s.Packets == nil {
		return noPackets
	}
	same := func(p sdk.PacketSubscription) bool {
		return p.SnapLen == s.Packets.SnapLen && slices.Equal(p.Layers, s.Packets.Layers)
	}
	if i := slices.IndexFunc(r.packets, same); i >= 0 {
		return i
	}
	r.packets = append(r.packets, *s.Packets)
	return len(r.packets) - 1
}

const noPackets = -1

// PacketSubscriptions are the distinct wishes for packets. Packets names them by their place in the list.
func (r *Run) PacketSubscriptions() []sdk.PacketSubscription { return r.packets }

// Wanted are the kinds of which somebody wants all facts, those of which the first facts of each flow do, for they are wanted
// by observers alone, and whether somebody wants the further features of flows.
func (r *Run) Wanted() (facts, first []string, features bool) {
	for _, kind := range sdk.FactKinds {
		wants := func(l *lane) bool { return slices.Contains(l.wants.Facts, kind) }
		switch {
		case slices.ContainsFunc(r.lanes, func(l *lane) bool { return l.judges && wants(l) }):
			facts = append(facts, kind)
		case slices.ContainsFunc(r.lanes, wants):
			first = append(first, kind)
		}
	}
	return facts, first, slices.ContainsFunc(r.lanes, func(l *lane) bool { return l.wants.Features })
}

// Without are the parts of facts that nobody looks at who wants their kind.
func (r *Run) Without() (parts []string) {
	for _, part := range sdk.FactParts {
		kind, _, _ := strings.Cut(part, ".")
		looks := func(l *lane) bool {
			first := !l.judges && part == sdk.PartDetails // which it is shown all the same
			return slices.Contains(l.wants.Facts, kind) && !slices.Contains(l.wants.Without, part) && !first
		}
		if !slices.ContainsFunc(r.lanes, looks) {
			parts = append(parts, part)
		}
	}
	return parts
}

// Frame hands flows to everybody who wants flows, waiting for those that are behind. It reads the frame until the parcel is
// done with, and its packed form for longer: the caller must not change them. Those who asked for the further features are
// handed a longer frame.
func (r *Run) Frame(ctx context.Context, flows records.Parcel) error {
	if flows.Features == nil {
		return r.hand(ctx, flows, func(l *lane) bool { return l.wants.Flows })
	}
	long := func(l *lane) bool { return l.wants.Flows && l.wants.Features }
	if slices.ContainsFunc(r.lanes, long) {
		frame, err := flows.Long()
		if err != nil {
			return err
		}
		if err := r.hand(ctx, records.Parcel{Frame: frame}, long); err != nil {
			return err
		}
	}
	return r.hand(ctx, flows, func(l *lane) bool { return l.wants.Flows && !l.wants.Features })
}

// Facts is Frame for facts of one kind.
func (r *Run) Facts(ctx context.Context, kind string, facts records.Parcel) error {
	return r.hand(ctx, facts, func(l *lane) bool { return slices.Contains(l.wants.Facts, kind) })
}

// Packets is Facts for the packets of one subscription. It keeps the frame.
func (r *Run) Packets(ctx context.Context, subscription int, frame []byte) error {
	return r.hand(ctx, records.Parcel{Frame: frame}, func(l *lane) bool { return l.packets == subscription })
}

func (r *Run) hand(ctx context.Context, p records.Parcel, wants func(*lane) bool) error {
	var to []*lane
	for _, l := range r.lanes {
		if wants(l) {
			to = append(to, l)
		}
	}
	if len(to) == 0 {
		if p.Done != nil {
			p.Done()
		}
		return nil
	}
	b := r.share(p.Frame, len(to))
	b.Packed, b.Done = p.Packed, p.Done
	for i, l := range to {
		if r.closing != nil {
			l.offer(b)
			continue
		}
		if err := l.pass(ctx, b); err != nil {
			for range to[i+1:] {
				b.Release()
			}
			return err
		}
	}
	return nil
}

// Close ends the capture: every detector is flushed, so that no state of this capture reaches the next one, and the
// findings are returned in order of time.
func (r *Run) Close() Result {
	for _, l := range r.lanes {
		_ = l.passHeld(context.Background()) // until they are closed, a lane takes its frames
		close(l.frames)
	}
	if r.closing != nil {
		close(r.closing)
	}
	r.wg.Wait()
	res := Result{Failed: map[string]error{}, Dropped: map[string]int{}}
	for _, l := range r.lanes {
		res.Findings = append(res.Findings, l.findings...)
		if l.err != nil {
			res.Failed[l.reader.Instance()] = l.err
		}
		if l.dropped > 0 {
			res.Dropped[l.reader.Instance()] = l.dropped
		}
	}
	sort.SliceStable(res.Findings, func(i, j int) bool {
		return res.Findings[i].Start.Before(res.Findings[j].Start)
	})
	return res
}

// reader is what detectors and observers have in common.
type reader interface {
	Instance() string
	Plugin() string
	Generation() uint64
	Subscription() sdk.Subscription
}

// lane is one reader's part of a run. Only its goroutine touches it until the run is closed.
type lane struct {
	reader  reader
	plugin  string
	capture string
	frames  chan *batch.Batch
	wants   sdk.Subscription
	packets int  // the place of its subscription, or noPackets
	judges  bool // it is a detector's
	bunch   int  // how many frames are passed on together, where that is more than one
	held    []*batch.Batch

	inspect func(context.Context) error
	flush   func(context.Context) error

	findings []sdk.Finding
	told     map[string]telling // by finding
	dropped  int
	err      error

	found  func(sdk.Finding) error // takes findings as they come; nil when they are gathered
	keptAs func(sdk.Finding) string
	live   liveState
}

func (l *lane) run(ctx context.Context) {
	born := l.reader.Generation()
	if err := l.inspect(ctx); err != nil {
		l.err = fmt.Errorf("inspect: %w", err)
	}
	l.release() // one failed reader must not block the capture for the others
	if l.err == nil && l.reader.Generation() != born {
		l.err = sdk.Errorf(sdk.Temporary, "restarted in the middle of the capture")
	}
	// Also after a failure: what the instance still holds of this capture must not leak into the next one.
	if err := l.flush(ctx); err != nil {
		l.err = errors.Join(l.err, fmt.Errorf("flush: %w", err))
	}
}

// Finding takes one finding; the lane is the sink of its detector. One that is known counts again only when it has grown.
func (l *lane) Finding(f sdk.Finding) error {
	f.Detector = l.plugin // a detector speaks only for itself
	f = Clean(f)
	f.ID = FindingID(l.capture, f)
	last, known := l.told[f.ID]
	if known && !f.End.After(last.end) { // said again after a crash
		return nil
	}
	if !known && len(l.told) >= maxFindings {
		l.dropped++
		return nil
	}
	if l.found != nil {
		return l.tell(f, known)
	}
	if known {
		l.findings[last.place] = f // it has grown
	} else {
		last.place = len(l.findings)
		l.findings = append(l.findings, f)
	}
	l.told[f.ID] = telling{f.End, last.place}
	return nil
}

// telling is what is known of a finding that was told.
type telling struct {
	end   time.Time // of what was said of it last
	place int       // among the findings, where they are gathered
}

// Clean brings what a finding says of itself within its bounds.
func Clean(f sdk.Finding) sdk.Finding {
	if f.Severity.Rank() == 0 {
		f.Severity = sdk.SeverityInfo
	}
	f.Risk = min(max(f.Risk, 0), 100)
	f.Confidence = clamp01(f.Confidence)
	return f
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
