package detect

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

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
	// sightingBatch is how many are handed on together. Those of one device are merged in one go, so that of a capture there may
	// be many; those of live traffic go on as they come.
	sightingBatch     = 8192
	liveSightingBatch = 256
)

// Observe adds an observer. It must come before the first frame.
func (r *Run) Observe(ctx context.Context, o Observer, sighted Sighted) {
	l, _ := r.observer(ctx, o, sighted)
	l.bunch = bunched
	r.begin(func() { l.run(ctx) })
}

// So many frames of a capture a detector and an observer are shown together, as many as come together from the worker: each is done
// with one before the next one comes, and to wake it for each cost as much as what it does with them.
const bunched = 4

// pass puts a batch into the queue, or holds it until there are enough of them.
func (l *lane) pass(ctx context.Context, b *batch.Batch) error {
	l.held = append(l.held, b)
	if len(l.held) < l.bunch {
		return nil
	}
	return l.passHeld(ctx)
}

// passHeld puts what is held into the queue, and lets it go when ctx ends before.
func (l *lane) passHeld(ctx context.Context) error {
	held := l.held
	l.held = nil
	for i, b := range held {
		select {
		case l.frames <- b:
		case <-ctx.Done():
			for _, b := range held[i:] {
				b.Release()
			}
			return ctx.Err()
		}
	}
	return nil
}

// observer makes the lane of an observer.
func (r *Run) observer(ctx context.Context, o Observer, sighted Sighted) (*lane, *sightings) {
	l := r.lane(o)
	s := &sightings{lane: l, to: sighted, plugin: o.Plugin(), ctx: ctx, most: sightingBatch}
	l.inspect = func(ctx context.Context) error { return o.InspectAll(ctx, r.capture, l.frames, s) }
	l.flush = func(ctx context.Context) error { return errors.Join(o.Flush(ctx, s), s.hand()) }
	return l, s
}

// sightings is the sink of one observer.
type sightings struct {
	lane   *lane
	to     Sighted
	plugin string
	ctx    context.Context
	count  int
	most   int           // how many are handed on together
	wait   time.Duration // how long some wait for others; 0: for as long as it takes

	mu    sync.Mutex // guards what follows
	batch []sdk.Sighting
	late  *time.Timer // runs while some wait
	err   error       // of those that the timer could not hand on
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
	s.mu.Lock()
	defer s.mu.Unlock()
	s.batch = append(s.batch, v)
	if len(s.batch) >= s.most {
		return s.handLocked()
	}
	if s.wait > 0 && s.late == nil {
		s.late = time.AfterFunc(s.wait, s.handLate)
	}
	return nil
}

func (s *sightings) hand() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.handLocked()
}

func (s *sightings) handLocked() error {
	if s.late != nil {
		s.late.Stop()
		s.late = nil
	}
	if err := s.err; err != nil {
		s.err = nil
		return err
	}
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

// handLate leaves an error to the next call.
func (s *sightings) handLate() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = s.handLocked()
}
