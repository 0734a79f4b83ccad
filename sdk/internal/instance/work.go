package instance

import (
	"context"
	"fmt"
	"math"

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
	gate := check.NewGate(ctx, check.MaxSamples, "samples", check.Sample, counted(r, sink.Sample))
	defer gate.Close()
	return gate.Result(c.Collect(ctx, req, sampleSink{gate}))
}

// Watch lets a collector send what its source sends by itself, beside its other calls, until ctx ends or the instance is
// stopped.
func (s *Set) Watch(ctx context.Context, id string, sink sdk.SampleSink) error {
	r, err := s.find(id)
	if err != nil {
		return err
	}
	select {
	case r.watch <- struct{}{}:
	case <-r.ctx.Done():
		return sdk.Errorf(sdk.Temporary, "instance %s was stopped", id)
	default:
		return sdk.Errorf(sdk.Temporary, "instance %s watches already", id)
	}
	defer func() { <-r.watch }()
	// The turn is held for a moment: Start has ended then, and what it set can be seen.
	select {
	case r.busy <- struct{}{}:
	case <-ctx.Done():
		return sdk.Errorf(sdk.Temporary, "instance %s was busy: %w", id, ctx.Err())
	}
	w, ok := r.inst.(sdk.Watcher)
	<-r.busy
	switch {
	case r.ctx.Err() != nil:
		return sdk.Errorf(sdk.Temporary, "instance %s was stopped", id)
	case !ok:
		return wrongKind(r, "watch")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(r.ctx, cancel)()
	defer s.tell(id)
	gate := check.NewGate(ctx, math.MaxInt, "samples", check.Sample, counted(r, sink.Sample))
	defer gate.Close()
	return gate.Result(w.Watch(ctx, sampleSink{gate}))
}

// counted counts what an instance emits as progress.
func counted[T any](r *running, emit func(T) error) func(T) error {
	return func(v T) error {
		r.progress.Add(1)
		return emit(v)
	}
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
	gate := check.NewGate(ctx, check.MaxSightings, "sightings", check.InScope(scope), counted(r, sink.Sighting))
	defer gate.Close()
	return gate.Result(d.Discover(ctx, scope, sightingSink{gate}))
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

// Undo lets a notifier take back what it delivered.
func (s *Set) Undo(ctx context.Context, id string, receipt sdk.Receipt) error {
	r, ctx, done, err := s.acquire(ctx, id)
	if err != nil {
		return err
	}
	defer done()
	n, ok := r.inst.(sdk.Undoer)
	if !ok {
		return wrongKind(r, "undo")
	}
	return n.Undo(ctx, receipt)
}

// Status asks a notifier what became of what it delivered.
func (s *Set) Status(ctx context.Context, id string, receipt sdk.Receipt) (sdk.DeliveryStatus, error) {
	r, ctx, done, err := s.acquire(ctx, id)
	if err != nil {
		return sdk.DeliveryStatus{}, err
	}
	defer done()
	n, ok := r.inst.(sdk.StatusReporter)
	if !ok {
		return sdk.DeliveryStatus{}, wrongKind(r, "report a status")
	}
	status, err := n.Status(ctx, receipt)
	if err == nil {
		err = check.Status(&status)
	}
	return status, err
}

// Health asks an instance whether it can work. One that is at work can: the deadline of that call watches over it.
func (s *Set) Health(ctx context.Context, id string) error {
	r, err := s.find(id)
	if err != nil {
		return err
	}
	select {
	case r.busy <- struct{}{}:
	default:
		return nil
	}
	defer s.tell(id)
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
