package pluginhost

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/picketwatch/picket/core/kernel/pluginhost/crashlog"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/host"
)

// Handle names an instance to those who call it. It stays valid over restarts; while the instance is down its calls
// answer with an error of class Temporary. Calls to one instance are made one at a time.
type Handle struct{ s *supervisor }

// Collector, Discoverer, Detector and Notifier are handles of instances of their kind. An Observer is a discovery instance that
// is shown records, and may be a Discoverer besides.
type (
	Collector  struct{ Handle }
	Discoverer struct{ Handle }
	Observer   struct{ Handle }
	Detector   struct{ Handle }
	Notifier   struct{ Handle }
)

// Collectors returns the collectors, also those that are down, ordered by instance.
func (h *Host) Collectors() []Collector {
	return handles(h, sdk.KindCollector, func(x Handle) Collector { return Collector{x} })
}

// Discoverers returns the discovery instances that look for devices, and those that have not said yet whether they do.
func (h *Host) Discoverers() []Discoverer {
	return slices.DeleteFunc(handles(h, sdk.KindDiscovery, func(x Handle) Discoverer { return Discoverer{x} }),
		func(d Discoverer) bool { return d.says().Passive })
}

// Observers returns the discovery instances that learn of devices from records. An instance says that it does at its first start.
func (h *Host) Observers() []Observer {
	return slices.DeleteFunc(handles(h, sdk.KindDiscovery, func(x Handle) Observer { return Observer{x} }),
		func(o Observer) bool { return !o.says().Observes })
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

// says is what the program said of itself, nothing before its first start.
func (h Handle) says() host.Description {
	h.s.mu.Lock()
	defer h.s.mu.Unlock()
	return h.s.says
}

// WaitReady is Host.WaitReady for this instance.
func (h Handle) WaitReady(ctx context.Context) error { return h.s.awaitReady(ctx) }

// Collect asks for one collection.
func (c Collector) Collect(ctx context.Context, req sdk.CollectRequest, sink sdk.SampleSink) error {
	s := c.s
	return s.log.blankError(s.withTurn(ctx, func(r *run) error {
		s.last.is(crashlog.Step{Call: "Collect", Collect: &req})
		to := samples{sink, s.output(r)}
		sh := s.shadowOf()
		if sh == nil {
			return s.work(ctx, r, "Collect", s.host.cfg.Deadlines.Collect, func(ctx context.Context, i *host.Instance) error {
				return i.Collect(ctx, req, to)
			})
		}
		seen := names{to: to, seen: map[string]ShadowFinding{}}
		err := s.work(ctx, r, "Collect", s.host.cfg.Deadlines.Collect, func(ctx context.Context, i *host.Instance) error {
			return i.Collect(ctx, req, seen)
		})
		if err == nil {
			sh.collected(req, seen.seen)
		}
		return err
	}))
}

// Watches reports whether the collector's source sends by itself.
func (c Collector) Watches() bool {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	return c.s.says.Watches
}

// Watch takes what the collector's source sends by itself, beside the other calls, until ctx or the process ends.
func (c Collector) Watch(ctx context.Context, sink sdk.SampleSink) error {
	s := c.s
	r, err := s.callable()
	if err != nil {
		return s.log.blankError(err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { // an upgrade puts another process in charge, which has to be watched then
		select {
		case <-r.proc.Exited():
			cancel()
		case <-ctx.Done():
		}
	}()
	return s.log.blankError(r.inst.Watch(ctx, samples{sink, s.output(r)}))
}

// Discover asks for one round within the scope.
func (d Discoverer) Discover(ctx context.Context, scope sdk.Scope, sink sdk.SightingSink) error {
	s := d.s
	return s.log.blankError(s.withTurn(ctx, func(r *run) error {
		s.last.is(crashlog.Step{Call: "Discover", Scope: &scope})
		return s.work(ctx, r, "Discover", s.host.cfg.Deadlines.Discover, func(ctx context.Context, i *host.Instance) error {
			return i.Discover(ctx, scope, sightings{scope, sink, s.output(r)})
		})
	}))
}

// Notify delivers a notice.
func (n Notifier) Notify(ctx context.Context, notice sdk.Notice) (sdk.Receipt, error) {
	var receipt sdk.Receipt
	err := n.s.call(ctx, "Notify", n.s.host.cfg.Deadlines.Notify, func(ctx context.Context, i *host.Instance) (err error) {
		n.s.last.is(crashlog.Step{Call: "Notify", Notice: &notice}) // with the turn: another call may be under way before
		receipt, err = i.Notify(ctx, notice)
		return err
	})
	return receipt, err
}

// Undo takes back what was delivered.
func (n Notifier) Undo(ctx context.Context, receipt sdk.Receipt) error {
	return n.s.call(ctx, "Undo", n.s.host.cfg.Deadlines.Notify, func(ctx context.Context, i *host.Instance) error {
		return i.Undo(ctx, receipt)
	})
}

// Outcome asks what became of a delivery.
func (n Notifier) Outcome(ctx context.Context, receipt sdk.Receipt) (sdk.DeliveryStatus, error) {
	var status sdk.DeliveryStatus
	err := n.s.call(ctx, "Status", n.s.host.cfg.Deadlines.Notify, func(ctx context.Context, i *host.Instance) (err error) {
		status, err = i.Status(ctx, receipt)
		return err
	})
	return status, err
}

// The sinks count what passes. A discovery's sighting outside its scope is a broken promise: it is refused here,
// whatever the plugin thinks of it.
type (
	samples struct {
		to sdk.SampleSink
		output
	}
	sightings struct {
		scope sdk.Scope
		to    sdk.SightingSink
		output
	}
)

func (s samples) Sample(v sdk.Sample) error {
	if err := s.pass(sampleSize(&v)); err != nil {
		return err
	}
	s.s.acct.records(1)
	return s.to.Sample(v)
}

// sampleSize is about what a sample takes on the wire.
func sampleSize(v *sdk.Sample) int {
	n := 24 + len(v.Metric) + len(v.Unit)
	for name, value := range v.Labels {
		n += len(name) + len(value)
	}
	return n
}

// Commit makes durable what was passed on so far, if whoever collects it can.
func (s samples) Commit(ctx context.Context) error { return commit(ctx, s.to) }

func (s sightings) Sighting(v sdk.Sighting) error {
	if v.IP.IsValid() && len(s.scope.Prefixes) > 0 && !s.scope.Contains(v.IP) {
		return fmt.Errorf("sighting of %s, which is outside the scope", v.IP)
	}
	if err := s.pass(sightingSize(&v)); err != nil {
		return err
	}
	s.s.acct.records(1)
	return s.to.Sighting(v)
}
