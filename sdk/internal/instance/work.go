package instance

import (
	"context"
	"fmt"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/internal/check"
)

// Collect lets a collector measure once.
func (s *Set) Collect(ctx context.Context, id string, req sdk.CollectRequest, sink sdk.SampleSink) error {
	r, ctx, done, err := s.acquire(ctx, id)
	if err != nil {
		return err
	}
	defer done()
	c, ok := r.inst.(sdk.Collector)
	if !ok {
		return wrongKind(r, "collect")
	}
	gate := check.NewGate(ctx, check.MaxSamples, "samples", check.Sample, sink.Sample)
	defer gate.Close()
	return gate.Result(c.Collect(ctx, req, sampleSink{gate}))
}

// Discover lets a discovery plugin look for devices.
func (s *Set) Discover(ctx context.Context, id string, scope sdk.Scope, sink sdk.SightingSink) error {
	r, ctx, done, err := s.acquire(ctx, id)
	if err != nil {
		return err
	}
	defer done()
	d, ok := r.inst.(sdk.Discoverer)
	if !ok {
		return wrongKind(r, "discover")
	}
	gate := check.NewGate(ctx, check.MaxSightings, "sightings", check.InScope(scope), sink.Sighting)
	defer gate.Close()
	return gate.Result(d.Discover(ctx, scope, sightingSink{gate}))
}

// Inspect hands one frame to a detector.
func (s *Set) Inspect(ctx context.Context, id, capture string, frame []byte, sink sdk.FindingSink) error {
	return s.detect(ctx, id, sink, func(ctx context.Context, r *running, d sdk.Detector, sink sdk.FindingSink) error {
		flows, err := s.decode(frame, r.flows)
		if err != nil {
			return err
		}
		r.flows = flows
		return d.Inspect(ctx, sdk.Batch{Capture: capture, Flows: flows}, sink)
	})
}

// Flush ends a capture for a detector.
func (s *Set) Flush(ctx context.Context, id string, sink sdk.FindingSink) error {
	return s.detect(ctx, id, sink, func(ctx context.Context, _ *running, d sdk.Detector, sink sdk.FindingSink) error {
		return d.Flush(ctx, sink)
	})
}

func (s *Set) detect(ctx context.Context, id string, sink sdk.FindingSink,
	work func(context.Context, *running, sdk.Detector, sdk.FindingSink) error,
) error {
	r, ctx, done, err := s.acquire(ctx, id)
	if err != nil {
		return err
	}
	defer done()
	d, ok := r.inst.(sdk.Detector)
	if !ok {
		return wrongKind(r, "detect")
	}
	declared := func(f *sdk.Finding) error {
		if !r.rules[f.Rule] {
			return fmt.Errorf("finding of rule %q, which %s does not declare", f.Rule, r.plugin.ID)
		}
		f.Detector = r.plugin.ID
		return check.Finding(f)
	}
	gate := check.NewGate(ctx, check.MaxFindings, "findings", declared, sink.Finding)
	defer gate.Close()
	return gate.Result(work(ctx, r, d, findingSink{gate}))
}

// Notify lets a notifier deliver a notice.
func (s *Set) Notify(ctx context.Context, id string, notice sdk.Notice) (sdk.Receipt, error) {
	r, ctx, done, err := s.acquire(ctx, id)
	if err != nil {
		return sdk.Receipt{}, err
	}
	defer done()
	n, ok := r.inst.(sdk.Notifier)
	if !ok {
		return sdk.Receipt{}, wrongKind(r, "notify")
	}
	receipt, err := n.Notify(ctx, notice)
	check.Receipt(&receipt)
	return receipt, err
}

// Health asks an instance whether it can work. One that is at work can: the deadline of that call watches over it.
func (s *Set) Health(ctx context.Context, id string) error {
	s.mu.Lock()
	r := s.byID[id]
	s.mu.Unlock()
	if r == nil {
		return sdk.Errorf(sdk.Internal, "there is no instance %q in this process", id)
	}
	select {
	case r.busy <- struct{}{}:
	default:
		return nil
	}
	defer func() { <-r.busy }()
	if h, ok := r.inst.(sdk.HealthChecker); ok {
		return h.Health(ctx)
	}
	return nil
}

// Snapshot returns the state of an instance.
func (s *Set) Snapshot(ctx context.Context, id string) ([]byte, error) {
	r, ctx, done, err := s.acquire(ctx, id)
	if err != nil {
		return nil, err
	}
	defer done()
	snap, ok := r.inst.(sdk.Snapshotter)
	if !ok {
		return nil, sdk.Errorf(sdk.Unsupported, "%s keeps no state", r.plugin.ID)
	}
	state, err := snap.Snapshot(ctx)
	if err == nil && len(state) > check.MaxState {
		return nil, fmt.Errorf("snapshot of %d bytes is larger than %d", len(state), check.MaxState)
	}
	return state, err
}

// Restore hands a snapshot to an instance.
func (s *Set) Restore(ctx context.Context, id string, state []byte) error {
	r, ctx, done, err := s.acquire(ctx, id)
	if err != nil {
		return err
	}
	defer done()
	snap, ok := r.inst.(sdk.Snapshotter)
	if !ok {
		return sdk.Errorf(sdk.Unsupported, "%s keeps no state", r.plugin.ID)
	}
	return snap.Restore(ctx, state)
}

func wrongKind(r *running, what string) error {
	return sdk.Errorf(sdk.Unsupported, "%s is a %s and cannot %s", r.plugin.ID, r.plugin.Kind, what)
}

type (
	sampleSink   struct{ g *check.Gate[sdk.Sample] }
	sightingSink struct{ g *check.Gate[sdk.Sighting] }
	findingSink  struct{ g *check.Gate[sdk.Finding] }
)

func (s sampleSink) Sample(v sdk.Sample) error       { return s.g.Put(v) }
func (s sightingSink) Sighting(v sdk.Sighting) error { return s.g.Put(v) }
func (s findingSink) Finding(v sdk.Finding) error    { return s.g.Put(v) }
