package instance

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/internal/check"
	"github.com/picketwatch/picket/sdk/records"
)

// Inspect hands one frame to a detector or an observer. What an observer sees goes to the sink too, which must be an
// sdk.SightingSink then; the name of the capture is left to the caller.
func (s *Set) Inspect(ctx context.Context, id, capture string, frame []byte, sink sdk.FindingSink) error {
	if !s.verified {
		if err := records.Verify(frame); err != nil {
			return err
		}
	}
	return s.InspectLocal(ctx, id, capture, frame, sink)
}

// InspectLocal is Inspect for a frame that has not left this machine: its checksum is not compared.
func (s *Set) InspectLocal(ctx context.Context, id, capture string, frame []byte, sink sdk.FindingSink) error {
	return s.reading(ctx, id, sink, func(ctx context.Context, r *running, to reader) error { return r.inspect(ctx, to, capture, frame) })
}

func (r *running) inspect(ctx context.Context, to reader, capture string, frame []byte) error {
	if records.SchemaOf(frame) == records.Flows {
		return r.inspectFlows(ctx, to, capture, frame)
	}
	batch, err := r.batches.Decode(frame)
	if err != nil {
		return err
	}
	batch.Capture = capture
	return to.inspect(ctx, batch)
}

// InspectShared is InspectLocal for a frame that others of this process are shown too. Flows are decoded by each, in pieces that
// stay in the processor's nearest cache: all of a frame at once would cost more.
func (s *Set) InspectShared(ctx context.Context, id, capture string, frame *records.Shared, sink sdk.FindingSink) error {
	return s.reading(ctx, id, sink, func(ctx context.Context, r *running, to reader) error {
		if !r.plugin.Borrows || records.SchemaOf(frame.Frame) == records.Flows {
			return r.inspect(ctx, to, capture, frame.Frame)
		}
		batch, err := frame.Decode()
		if err != nil {
			return err
		}
		batch.Capture = capture
		return to.inspect(ctx, batch)
	})
}

// inspectFlows hands the flows over in pieces: how they are cut into batches makes no difference to who reads them.
func (r *running) inspectFlows(ctx context.Context, to reader, capture string, frame []byte) error {
	if err := r.flows.Reset(frame); err != nil {
		return err
	}
	defer r.flows.Release()
	for {
		flows, err := r.flows.Next()
		if err != nil || len(flows) == 0 {
			return err
		}
		if err := to.inspect(ctx, sdk.Batch{Capture: capture, Flows: flows}); err != nil {
			return err
		}
		r.progress.Add(1)
	}
}

// Flush ends a capture for a detector or an observer.
func (s *Set) Flush(ctx context.Context, id string, sink sdk.FindingSink) error {
	return s.reading(ctx, id, sink, func(ctx context.Context, _ *running, to reader) error { return to.flush(ctx) })
}

// reader is an instance that is shown records, during one call.
type reader interface {
	inspect(ctx context.Context, batch sdk.Batch) error
	flush(ctx context.Context) error
}

// reading does work that shows records to an instance. What it emits passes a gate.
func (s *Set) reading(ctx context.Context, id string, sink sdk.FindingSink, work func(context.Context, *running, reader) error) error {
	r, ctx, done, err := s.acquire(ctx, id)
	if err != nil {
		return err
	}
	defer done()
	switch inst := r.inst.(type) {
	case sdk.Detector:
		gate := check.NewGate(ctx, check.MaxFindings, "findings", r.declared, counted(r, sink.Finding))
		defer gate.Close()
		return gate.Result(work(ctx, r, detector{inst, findingSink{gate}}))
	case sdk.Observer:
		to, ok := sink.(sdk.SightingSink)
		if !ok {
			return sdk.Errorf(sdk.Unsupported, "%s sees devices, and nobody here takes sightings", r.plugin.ID)
		}
		gate := check.NewGate(ctx, check.MaxSightings, "sightings", check.Observed, counted(r, to.Sighting))
		defer gate.Close()
		return gate.Result(work(ctx, r, observer{inst, sightingSink{gate}}))
	}
	return wrongKind(r, "detect")
}

// declared checks a finding and signs it.
func (r *running) declared(f *sdk.Finding) error {
	if family, _, _ := strings.Cut(f.Rule, "/"); !r.rules[f.Rule] && !r.rules[family] {
		return fmt.Errorf("finding of rule %q, which %s does not declare", f.Rule, r.plugin.ID)
	}
	f.Detector = r.plugin.ID
	f.Packets = slices.Clone(f.Packets) // they may be those of a flow, whose memory the next flows of the frame take
	return check.Finding(f)
}

type detector struct {
	inst sdk.Detector
	sink findingSink
}

func (d detector) inspect(ctx context.Context, b sdk.Batch) error {
	return d.inst.Inspect(ctx, b, d.sink)
}
func (d detector) flush(ctx context.Context) error { return d.inst.Flush(ctx, d.sink) }

type observer struct {
	inst sdk.Observer
	sink sightingSink
}

func (o observer) inspect(ctx context.Context, b sdk.Batch) error {
	return o.inst.Observe(ctx, b, o.sink)
}
func (o observer) flush(ctx context.Context) error { return o.inst.EndCapture(ctx, o.sink) }
