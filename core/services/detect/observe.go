package detect

import (
	"context"
	"errors"
	"fmt"

	"github.com/picketwatch/picket/core/kernel/pluginhost/batch"
	"github.com/picketwatch/picket/sdk"
)

// Observer is one running instance that learns of devices from what a capture holds.
type Observer interface {
	Instance() string
	Plugin() string
	Generation() uint64
	Subscription() sdk.Subscription
	// InspectAll and Flush are those of a Detector.
	InspectAll(ctx context.Context, capture string, batches <-chan *batch.Batch, sink sdk.SightingSink) error
	Flush(ctx context.Context, sink sdk.SightingSink) error
}

// Sighted takes some of what an observer saw, in its order. Those of several observers may come at once.
type Sighted func(ctx context.Context, plugin string, sightings []sdk.Sighting) error

const (
	// maxSightings bounds what one observer may report about one capture; more than that is noise, and it is counted.
	maxSightings = 20_000
	// sightingBatch is how many are handed on together.
	sightingBatch = 256
)

// Observe adds an observer. It must come before the first frame.
func (r *Run) Observe(ctx context.Context, o Observer, sighted Sighted) {
	l := r.lane(o)
	s := &sightings{lane: l, to: sighted, plugin: o.Plugin(), ctx: ctx}
	l.inspect = func(ctx context.Context) error { return o.InspectAll(ctx, r.capture, l.frames, s) }
	l.flush = func(ctx context.Context) error { return errors.Join(o.Flush(ctx, s), s.hand()) }
	r.begin(ctx, l)
}

// sightings is the sink of one observer.
type sightings struct {
	lane   *lane
	to     Sighted
	plugin string
	ctx    context.Context
	batch  []sdk.Sighting
	count  int
}

// Sighting takes one sighting and says where it was made.
func (s *sightings) Sighting(v sdk.Sighting) error {
	if s.count >= maxSightings {
		s.lane.dropped++
		return nil
	}
	s.count++
	v.Capture = s.lane.capture
	v.Confidence = clamp01(v.Confidence)
	s.batch = append(s.batch, v)
	if len(s.batch) < sightingBatch {
		return nil
	}
	return s.hand()
}

func (s *sightings) hand() error {
	if len(s.batch) == 0 {
		return nil
	}
	err := s.to(s.ctx, s.plugin, s.batch)
	s.batch = nil
	if err != nil {
		return fmt.Errorf("keep what was seen: %w", err)
	}
	return nil
}
