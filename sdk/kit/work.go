package kit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/abi"
	"github.com/picketwatch/picket/sdk/config"
	"github.com/picketwatch/picket/sdk/records"
)

// The one instance of most checks.
const theInstance = "i"

// emitted is what an instance gave. The gate in front of it lets one value through at a time.
type emitted struct {
	Samples   []sdk.Sample
	Sightings []sdk.Sighting
	Findings  []sdk.Finding
	Receipts  []sdk.Receipt
}

func (e *emitted) Sample(v sdk.Sample) error {
	e.Samples = append(e.Samples, v)
	return nil
}

func (e *emitted) Sighting(v sdk.Sighting) error {
	e.Sightings = append(e.Sightings, v)
	return nil
}

func (e *emitted) Finding(v sdk.Finding) error {
	if v.ID == "" {
		v.ID = sdk.FindingID(v)
	}
	e.Findings = append(e.Findings, v)
	return nil
}

func (e *emitted) String() string {
	return fmt.Sprintf("%d samples, %d sightings, %d findings", len(e.Samples), len(e.Sightings), len(e.Findings))
}

// blocked is a sink that takes nothing until its context ends.
type blocked struct{ ctx context.Context }

func (b blocked) wait() error {
	<-b.ctx.Done()
	return b.ctx.Err()
}
func (b blocked) Sample(sdk.Sample) error     { return b.wait() }
func (b blocked) Sighting(sdk.Sighting) error { return b.wait() }
func (b blocked) Finding(sdk.Finding) error   { return b.wait() }

// sinks take whatever a plugin emits.
type sinks interface {
	sdk.SampleSink
	sdk.SightingSink
	sdk.FindingSink
}

// call bounds one call.
func (b *bench) call(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, b.o.Timeout)
}

// config is what an instance gets.
func (b *bench) config(name string) (abi.InstanceConfig, error) {
	cfg := abi.InstanceConfig{Instance: name, Plugin: b.about.ID, Config: b.o.Config, Secrets: b.o.Secrets, Grants: b.o.Grants}
	if cfg.Grants != nil {
		return cfg, nil
	}
	if b.o.Permissions == nil {
		cfg.Grants = DefaultGrants()
		return cfg, nil
	}
	full, err := config.WithDefaults(b.about.ConfigSchema, b.o.Config)
	if err != nil {
		return cfg, err
	}
	cfg.Grants, err = sdk.ExpandPermissions(b.o.Permissions, full)
	return cfg, err
}

// DefaultGrants are what a plugin gets when nothing else is said: its secrets, ICMP, and connections to this machine.
func DefaultGrants() []sdk.Permission {
	return []sdk.Permission{
		{Cap: sdk.CapSecretRead},
		{Cap: sdk.CapNetRaw, Args: map[string][]string{"proto": {"icmp"}}},
		{Cap: sdk.CapNetDial, Args: map[string][]string{"to": {"127.0.0.0/8", "::1", "localhost"}}},
	}
}

// session starts the subject and closes it at the end of f. What goes wrong there counts.
func (b *bench) session(ctx context.Context, r *result, f func(Session)) {
	start, cancel := b.call(ctx)
	defer cancel()
	s, err := b.subject.Start(start)
	if err != nil {
		r.failf("it does not start: %v", err)
		return
	}
	f(s)
	if err := s.Close(); err != nil {
		r.failf("Stop: %v", err)
	}
}

// configured is session with an instance.
func (b *bench) configured(ctx context.Context, r *result, f func(Session)) {
	b.session(ctx, r, func(s Session) {
		if err := b.configure(ctx, s, theInstance); err != nil {
			r.failf("configure with %s: %v", b.o.Config, err)
			return
		}
		f(s)
	})
}

func (b *bench) configure(ctx context.Context, s Session, name string) error {
	cfg, err := b.config(name)
	if err != nil {
		return err
	}
	ctx, cancel := b.call(ctx)
	defer cancel()
	return s.Configure(ctx, cfg)
}

// work lets the instance work once, as its kind does. It fails the check when the work does not end with ctx.
func (b *bench) work(ctx context.Context, r *result, s Session, into sinks) error {
	err, stuck := b.bounded(ctx, func() error { return b.workOnce(ctx, s, into) })
	if stuck {
		r.failf("still at work %s after its context ended", b.o.Timeout)
	}
	return err
}

// bounded runs f, which should end with ctx. When it does not, it is left to itself after a while.
func (b *bench) bounded(ctx context.Context, f func() error) (failure error, stuck bool) {
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		return err, false
	case <-ctx.Done():
	}
	select {
	case err := <-done:
		return err, false
	case <-time.After(b.o.Timeout):
		return ctx.Err(), true
	}
}

func (b *bench) workOnce(ctx context.Context, s Session, into sinks) error {
	switch b.about.Kind {
	case sdk.KindCollector:
		return s.Collect(ctx, theInstance, sdk.CollectRequest{Time: time.Now(), Interval: time.Minute}, into)
	case sdk.KindDiscovery:
		if !b.about.Passive {
			if err := s.Discover(ctx, theInstance, b.o.Scope, into); err != nil || !b.about.Observes {
				return err
			}
		}
		return b.show(ctx, s, into)
	case sdk.KindDetector:
		return b.show(ctx, s, into)
	case sdk.KindNotifier:
		receipt, err := s.Notify(ctx, theInstance, b.o.Notice)
		if e, ok := into.(*emitted); ok && err == nil {
			e.Receipts = append(e.Receipts, receipt)
		}
		return err
	}
	return fmt.Errorf("there is no kind %q", b.about.Kind)
}

// show shows the sample records and ends the capture.
func (b *bench) show(ctx context.Context, s Session, into sinks) error {
	for _, frame := range b.frames(records.BatchGuest) {
		if err := s.Inspect(ctx, theInstance, "capture", frame, into); err != nil {
			return err
		}
	}
	return s.Flush(ctx, theInstance, into)
}

// frames cuts the records that the plugin wants into batches. Facts come before their flows.
func (b *bench) frames(size int) [][]byte {
	wants := b.about.Subscription
	var out [][]byte
	for _, kind := range wants.Facts {
		out = append(out, sampleFacts(kind, size)...)
	}
	if wants.Packets != nil {
		out = append(out, cut(b.o.Packets, size, records.AppendPackets)...)
	}
	if wants.Flows || len(out) == 0 {
		out = append(out, cut(b.o.Flows, size, records.AppendFlows)...)
	}
	return out
}

func cut[T any](list []T, size int, pack func([]byte, []T) []byte) [][]byte {
	var out [][]byte
	for len(list) > 0 {
		n := min(size, len(list))
		out = append(out, pack(nil, list[:n]))
		list = list[n:]
	}
	return out
}

// inspect hands frames over and ends the capture if asked to.
func (b *bench) inspect(ctx context.Context, s Session, frames [][]byte, flush bool, e *emitted) error {
	ctx, cancel := b.call(ctx)
	defer cancel()
	for _, frame := range frames {
		if err := s.Inspect(ctx, theInstance, "capture", frame, e); err != nil {
			return err
		}
	}
	if flush {
		return s.Flush(ctx, theInstance, e)
	}
	return nil
}

// findings returns all findings of the sample records by a fresh instance, sorted.
func (b *bench) findings(ctx context.Context, r *result, size int) []sdk.Finding {
	var e emitted
	b.configured(ctx, r, func(s Session) {
		if err := b.inspect(ctx, s, b.frames(size), true, &e); err != nil {
			r.failf("inspect: %v", err)
		}
	})
	return sorted(e.Findings)
}

// expected fails the check unless the error is one that the outside world can cause.
func (r *result) expected(what string, err error) {
	var classified *sdk.Error
	switch class := sdk.ClassOf(err); {
	case err == nil:
	case errors.As(err, &classified) && class == sdk.Internal, !errors.As(err, &classified) && !ended(err):
		r.failf("%s: %v\n(an error without a class counts as a bug of the plugin; see sdk.Errorf)", what, err)
	case class == sdk.InvalidConfig:
		r.failf("%s blames the configuration, which was valid: %v", what, err)
	default:
		r.notef("%s: %s: %v", what, class, err)
	}
}

func ended(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// schema is the part of a configuration's JSON Schema that the checks look at.
type schema struct {
	Type       any               `json:"type"`
	Properties map[string]schema `json:"properties"`
	Secret     bool              `json:"x-secret"`
	Required   []string          `json:"required"`
}

func (b *bench) schema() schema {
	var s schema
	_ = json.Unmarshal(b.about.ConfigSchema, &s) // declaration reports what is wrong with it
	return s
}

// secrets returns the paths of the secret fields.
func (s schema) secrets(prefix string) []string {
	var out []string
	for name, p := range s.Properties {
		if p.Secret {
			out = append(out, prefix+name)
		}
		out = append(out, p.secrets(prefix+name+".")...)
	}
	return out
}
