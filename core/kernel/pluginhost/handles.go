package pluginhost

import (
	"context"
	"fmt"
	"time"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/host"
	"github.com/picketwatch/picket/sdk/records"
)

// Handle names an instance to those who call it. It stays valid over restarts; while the instance is down its calls
// answer with an error of class Temporary. Calls to one instance are made one at a time.
type Handle struct{ s *supervisor }

// Collector, Discoverer, Detector and Notifier are handles of instances of their kind.
type (
	Collector  struct{ Handle }
	Discoverer struct{ Handle }
	Detector   struct{ Handle }
	Notifier   struct{ Handle }
)

// Collectors returns the collectors, also those that are down, ordered by instance.
func (h *Host) Collectors() []Collector {
	return handles(h, sdk.KindCollector, func(x Handle) Collector { return Collector{x} })
}

// Discoverers returns the discovery instances.
func (h *Host) Discoverers() []Discoverer {
	return handles(h, sdk.KindDiscovery, func(x Handle) Discoverer { return Discoverer{x} })
}

// Detectors returns the detectors.
func (h *Host) Detectors() []Detector {
	return handles(h, sdk.KindDetector, func(x Handle) Detector { return Detector{x} })
}

// Notifiers returns the notifiers.
func (h *Host) Notifiers() []Notifier {
	return handles(h, sdk.KindNotifier, func(x Handle) Notifier { return Notifier{x} })
}

func handles[T any](h *Host, kind sdk.Kind, wrap func(Handle) T) []T {
	var out []T
	for _, s := range h.all() {
		s.mu.Lock()
		match := s.state.Kind == kind && s.want != nil
		s.mu.Unlock()
		if match {
			out = append(out, wrap(Handle{s}))
		}
	}
	return out
}

// Instance is the name of the instance.
func (h Handle) Instance() string { return h.s.name }

// Assignment is what is wanted of the instance now, zero when it is being removed.
func (h Handle) Assignment() Assignment {
	if a := h.s.wanted(); a != nil {
		return *a
	}
	return Assignment{Instance: h.s.name}
}

// Plugin is the id of the plugin.
func (h Handle) Plugin() string { return h.Assignment().Plugin }

// Interval is how often the assignment wants the instance to work, 0 when it does not say.
func (h Handle) Interval() time.Duration { return h.Assignment().Interval }

// Status returns the status of the instance.
func (h Handle) Status() Status { return h.s.status() }

// Generation counts the starts of the instance. A caller that feeds it in pieces learns from it that the instance was
// restarted in between and has forgotten what came before.
func (h Handle) Generation() uint64 {
	h.s.mu.Lock()
	defer h.s.mu.Unlock()
	return h.s.generation
}

// WaitReady is Host.WaitReady for this instance.
func (h Handle) WaitReady(ctx context.Context) error { return h.s.awaitReady(ctx) }

// Collect asks for one collection.
func (c Collector) Collect(ctx context.Context, req sdk.CollectRequest, sink sdk.SampleSink) error {
	return c.s.call(ctx, "Collect", c.s.host.cfg.Deadlines.Collect, func(ctx context.Context, i *host.Instance) error {
		return i.Collect(ctx, req, samples{sink, &c.s.acct})
	})
}

// Discover asks for one round within the scope.
func (d Discoverer) Discover(ctx context.Context, scope sdk.Scope, sink sdk.SightingSink) error {
	return d.s.call(ctx, "Discover", d.s.host.cfg.Deadlines.Discover, func(ctx context.Context, i *host.Instance) error {
		return i.Discover(ctx, scope, sightings{scope, sink, &d.s.acct})
	})
}

// Inspect hands the detector one frame of flow rows (package records).
func (d Detector) Inspect(ctx context.Context, capture string, frame []byte, sink sdk.FindingSink) error {
	return d.s.call(ctx, "Inspect", d.s.host.cfg.Deadlines.Inspect, func(ctx context.Context, i *host.Instance) error {
		d.s.acct.records(records.Count(frame))
		return i.Inspect(ctx, capture, frame, findings{sink, &d.s.acct})
	})
}

// Flush ends a capture.
func (d Detector) Flush(ctx context.Context, sink sdk.FindingSink) error {
	return d.s.call(ctx, "Flush", d.s.host.cfg.Deadlines.Flush, func(ctx context.Context, i *host.Instance) error {
		return i.Flush(ctx, findings{sink, &d.s.acct})
	})
}

// Notify delivers a notice.
func (n Notifier) Notify(ctx context.Context, notice sdk.Notice) (sdk.Receipt, error) {
	var receipt sdk.Receipt
	err := n.s.call(ctx, "Notify", n.s.host.cfg.Deadlines.Notify, func(ctx context.Context, i *host.Instance) (err error) {
		receipt, err = i.Notify(ctx, notice)
		return err
	})
	return receipt, err
}

// The sinks count what passes. A discovery's sighting outside its scope is a broken promise: it is refused here,
// whatever the plugin thinks of it.
type (
	samples struct {
		to   sdk.SampleSink
		acct *account
	}
	sightings struct {
		scope sdk.Scope
		to    sdk.SightingSink
		acct  *account
	}
	findings struct {
		to   sdk.FindingSink
		acct *account
	}
)

func (s samples) Sample(v sdk.Sample) error {
	s.acct.records(1)
	return s.to.Sample(v)
}

func (s sightings) Sighting(v sdk.Sighting) error {
	if v.IP.IsValid() && len(s.scope.Prefixes) > 0 && !s.scope.Contains(v.IP) {
		return fmt.Errorf("sighting of %s, which is outside the scope", v.IP)
	}
	s.acct.records(1)
	return s.to.Sighting(v)
}

func (s findings) Finding(v sdk.Finding) error {
	s.acct.finding()
	return s.to.Finding(v)
}
