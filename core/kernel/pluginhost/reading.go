package pluginhost

import (
	"context"
	"slices"

	"github.com/picketwatch/picket/core/kernel/pluginhost/batch"
	"github.com/picketwatch/picket/core/kernel/pluginhost/crashlog"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/host"
	"github.com/picketwatch/picket/sdk/records"
)

// Instances that read are shown the records of a capture: detectors, which say what they find, and observers, which say what
// devices they see. They are fed, kept alive and given their state back in the same way.

// reads reports whether a process is shown records.
func (r *run) reads() bool { return r.kind == sdk.KindDetector || r.says.Observes }

// Generation rises when the detector has forgotten what it was shown: it was restarted and could not be given back its
// state. A caller that feeds it in pieces learns from it that its verdict is incomplete.
func (d Detector) Generation() uint64 { return d.s.epochOf() }

// Generation is that of a Detector.
func (o Observer) Generation() uint64 { return o.s.epochOf() }

// Subscription is what the detector wants to see and was granted, nothing before its first start. Withheld names the rest.
func (d Detector) Subscription() sdk.Subscription { return d.subscription() }

// Subscription is that of a Detector.
func (o Observer) Subscription() sdk.Subscription { return o.subscription() }

// Withheld names what the detector wants to see and was not granted, as permissions.
func (d Detector) Withheld() []string { return d.withheld() }

// Withheld is that of a Detector.
func (o Observer) Withheld() []string { return o.withheld() }

func (h Handle) subscription() sdk.Subscription {
	granted, _ := h.asks()
	return granted
}

func (h Handle) withheld() []string {
	_, withheld := h.asks()
	return withheld
}

func (h Handle) asks() (granted sdk.Subscription, withheld []string) {
	h.s.mu.Lock()
	defer h.s.mu.Unlock()
	return split(h.s.says.Subscription, h.s.state.Permissions)
}

// split divides what a plugin wants to see into what it was granted and the permissions that it lacks.
func split(wants sdk.Subscription, permissions []sdk.Permission) (granted sdk.Subscription, withheld []string) {
	grants := sdk.Grants(permissions)
	granted.Flows = wants.Flows && grants.Has(sdk.CapFlowsRead)
	granted.Features = wants.Features && granted.Flows
	if wants.Flows && !granted.Flows {
		withheld = append(withheld, sdk.CapFlowsRead)
	}
	var kinds []string
	for _, kind := range wants.Facts {
		switch {
		case !grants.Facts(kind) && kind == sdk.FactsContents:
			withheld = append(withheld, sdk.CapFilesRead)
		case !grants.Facts(kind):
			kinds = append(kinds, kind)
		case slices.Contains(sdk.FactKinds, kind) && !slices.Contains(granted.Facts, kind): // a newer plugin may know more kinds
			granted.Facts = append(granted.Facts, kind)
		}
	}
	granted.Without = wants.Without
	if kinds != nil {
		withheld = append(withheld, sdk.Permission{Cap: sdk.CapFactsRead, Args: map[string][]string{"kinds": kinds}}.String())
	}
	if p := wants.Packets; p != nil && grants.Packets(*p) {
		granted.Packets = p
	} else if p != nil {
		withheld = append(withheld, sdk.CapPacketsRead)
	}
	return granted, withheld
}

// mayRead reports whether a process may be shown a frame of records. What is being read was chosen for the process that was in
// charge when the capture began; another version, or a shadow, may have been granted less of it.
func (r *run) mayRead(frame []byte) bool {
	switch schema := records.SchemaOf(frame); schema {
	case records.Flows:
		return r.shown.Flows
	case records.Packets:
		return r.shown.Packets != nil
	default:
		return slices.Contains(r.shown.Facts, schema.Facts())
	}
}

// sayWithheld notes once what a process that starts will not be shown.
func (s *supervisor) sayWithheld(wants sdk.Subscription, grants []sdk.Permission) {
	_, withheld := split(wants, grants)
	for _, permission := range withheld {
		s.note("it is not shown all that it asks for: it was not granted " + permission)
	}
}

// InspectAll shows the detector the batches of one capture as they come, several at a time, until the channel is closed. It
// releases each that it takes; after an error the rest is left to the caller. A batch is done when the detector has answered
// it. The frames are kept until a snapshot of the detector covers them. A detector that gives and takes its state survives the
// death of its process without a trace: InspectAll waits for the next one, which is given everything since the last snapshot,
// and then what was not answered.
func (d Detector) InspectAll(ctx context.Context, capture string, in <-chan *batch.Batch, sink sdk.FindingSink) error {
	return d.s.feed(ctx, capture, in, sinks{findings: sink})
}

// InspectAll shows the observer the batches of one capture as a Detector is shown them. A sighting names the capture.
func (o Observer) InspectAll(ctx context.Context, capture string, in <-chan *batch.Batch, sink sdk.SightingSink) error {
	return o.s.feed(ctx, capture, in, sinks{sightings: sink})
}

// Inspect hands the detector one frame of rows (package records), as InspectAll does. The frame must not be changed afterwards.
func (d Detector) Inspect(ctx context.Context, capture string, frame []byte, sink sdk.FindingSink) error {
	return d.InspectAll(ctx, capture, one(frame), sink)
}

// Inspect is that of a Detector.
func (o Observer) Inspect(ctx context.Context, capture string, frame []byte, sink sdk.SightingSink) error {
	return o.InspectAll(ctx, capture, one(frame), sink)
}

func one(frame []byte) <-chan *batch.Batch {
	in := make(chan *batch.Batch, 1)
	in <- batch.New(frame, 1, nil, nil)
	close(in)
	return in
}

// Flush ends a capture.
func (d Detector) Flush(ctx context.Context, sink sdk.FindingSink) error {
	return d.s.endCapture(ctx, sinks{findings: sink})
}

// Flush ends a capture: the observer says what is pending and forgets what it saw.
func (o Observer) Flush(ctx context.Context, sink sdk.SightingSink) error {
	return o.s.endCapture(ctx, sinks{sightings: sink})
}

func (s *supervisor) endCapture(ctx context.Context, to sinks) error {
	return s.persistent(ctx, func() error {
		return s.withTurn(ctx, func(r *run) error {
			if err := s.revive(ctx, r); err != nil {
				return err
			}
			sh := s.shadowOf()
			s.last.is(crashlog.Step{Call: "Flush"})
			err := s.work(ctx, r, "Flush", s.host.cfg.Deadlines.Flush, func(ctx context.Context, i *host.Instance) error {
				return i.Flush(ctx, said{to, s.journal.capture, s.output(r), sh})
			})
			if lost(err) || ctx.Err() != nil {
				return err
			}
			s.flushed(ctx, r)
			if sh != nil {
				sh.flushed(s.journal.capture)
			}
			return err
		})
	})
}

// sinks take what an instance says of records; the one that is not for its kind is nil.
type sinks struct {
	findings  sdk.FindingSink
	sightings sdk.SightingSink
}

// said counts and passes on what an instance says of the records of a capture.
type said struct {
	to      sinks
	capture string
	output
	shadow *shadow
}

func (s said) Finding(v sdk.Finding) error {
	if s.to.findings == nil {
		return sdk.Errorf(sdk.Unsupported, "a finding of what is no detector")
	}
	if err := s.pass(256 + len(v.Summary) + 8*len(v.Packets)); err != nil {
		return err
	}
	if s.shadow != nil {
		s.shadow.saw(v)
	}
	s.s.acct.finding()
	return s.to.findings.Finding(v)
}

func (s said) Sighting(v sdk.Sighting) error {
	if s.to.sightings == nil {
		return sdk.Errorf(sdk.Unsupported, "a sighting of what is no observer")
	}
	if err := s.pass(sightingSize(&v)); err != nil {
		return err
	}
	s.s.acct.records(1)
	v.Capture = s.capture
	return s.to.sightings.Sighting(v)
}

// sightingSize is about what a sighting takes on the wire.
func sightingSize(v *sdk.Sighting) int {
	n := 64 + len(v.MAC) + len(v.Hostname)
	for name, value := range v.Facts {
		n += len(name) + len(value)
	}
	return n
}
