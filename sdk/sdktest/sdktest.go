// Package sdktest tests plugins the way the host treats them. In goes a plugin and, where needed, a valid
// configuration; out come failed tests that say which promise of the contract was broken.
//
//	func TestConformance(t *testing.T) {
//		sdktest.Run(t, Plugin(), sdktest.Options{Config: []byte(`{"targets": ["127.0.0.1"]}`)})
//	}
//
//	func TestCases(t *testing.T) { sdktest.Cases(t, Plugin(), "testdata") }
package sdktest

import (
	"context"
	"encoding/json"
	"net/netip"
	"testing"
	"time"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/abi"
	"github.com/picketwatch/picket/sdk/internal/instance"
)

// Options say how a plugin can be tested. Most need only Config.
type Options struct {
	Config  json.RawMessage   // a valid configuration; {} when empty
	Secrets map[string]string // by the path of their field
	// Grants are enforced as in production. Nil grants the secrets, ICMP and connections to this machine.
	Grants []sdk.Permission
	// Scope of a discovery; 127.0.0.1/32 when empty.
	Scope sdk.Scope
	// Notice for a notifier; one with everything set when empty.
	Notice sdk.Notice
	// Flows for a detector; a mix of ordinary conversations and scans when nil.
	Flows []sdk.Flow
	// NewHost, if not nil, makes the host of each instance.
	NewHost func(t *testing.T) sdk.Host
	// Timeout bounds one call; 30 s when 0.
	Timeout time.Duration
}

func (o Options) withDefaults() Options {
	if len(o.Config) == 0 {
		o.Config = json.RawMessage("{}")
	}
	if len(o.Scope.Prefixes) == 0 {
		o.Scope.Prefixes = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	}
	if o.Notice.ID == "" {
		o.Notice = sampleNotice()
	}
	if o.Flows == nil {
		o.Flows = SampleFlows()
	}
	if o.Timeout == 0 {
		o.Timeout = 30 * time.Second
	}
	if o.NewHost == nil {
		grants := o.Grants
		o.NewHost = func(t *testing.T) sdk.Host {
			t.Helper()
			h := NewHost(t)
			h.Secrets = o.Secrets
			if grants != nil {
				h.Grants = grants
			}
			return h
		}
	}
	return o
}

// Run checks that the plugin keeps the contract of its kind.
func Run(t *testing.T, p sdk.Plugin, o Options) {
	t.Helper()
	s := suite{plugin: p, opt: o.withDefaults()}
	t.Run("declaration", s.declaration)
	if t.Failed() {
		return // the rest needs what failed there
	}
	t.Run("configuration", s.configuration)
	t.Run("life", s.life)
	t.Run("stop without start", s.stopWithoutStart)
	t.Run("cancelled", s.cancelled)
	switch p.Kind {
	case sdk.KindDetector:
		t.Run("same input, same findings", s.repeatable)
		t.Run("size of the batches", s.batches)
		t.Run("flush forgets", s.flushForgets)
		t.Run("snapshot", s.snapshot)
	case sdk.KindNotifier:
		t.Run("empty notice", s.emptyNotice)
	}
}

// suite runs one plugin.
type suite struct {
	plugin sdk.Plugin
	opt    Options
}

// emitted is what one instance gave.
type emitted struct {
	samples   []sdk.Sample
	sightings []sdk.Sighting
	findings  []sdk.Finding
}

func (e *emitted) Sample(v sdk.Sample) error {
	e.samples = append(e.samples, v)
	return nil
}

func (e *emitted) Sighting(v sdk.Sighting) error {
	e.sightings = append(e.sightings, v)
	return nil
}

func (e *emitted) Finding(v sdk.Finding) error {
	v.ID = sdk.FindingID(v)
	e.findings = append(e.findings, v)
	return nil
}

// set returns the machinery that runs instances in production, with the fake host.
func (s suite) set(t *testing.T) *instance.Set {
	t.Helper()
	return instance.New(instance.Config{
		Plugins: []sdk.Plugin{s.plugin},
		NewHost: func(abi.InstanceConfig) (sdk.Host, error) { return s.opt.NewHost(t), nil },
	})
}

// start configures an instance named "i" and stops it at the end of the test.
func (s suite) start(t *testing.T) *instance.Set {
	t.Helper()
	set := s.set(t)
	if err := s.configure(t, set); err != nil {
		t.Fatalf("configure with %s: %v", s.opt.Config, err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), s.opt.Timeout)
		defer cancel()
		if err := set.StopAll(ctx); err != nil {
			t.Errorf("Stop: %v", err)
		}
	})
	return set
}

func (s suite) configure(t *testing.T, set *instance.Set) error {
	t.Helper()
	return set.Configure(s.ctx(t), abi.InstanceConfig{
		Instance: "i", Plugin: s.plugin.ID, Config: s.opt.Config, Secrets: s.opt.Secrets, Grants: s.opt.Grants,
	})
}

// ctx bounds one call.
func (s suite) ctx(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), s.opt.Timeout)
	t.Cleanup(cancel)
	return ctx
}

// work lets the instance work once, as its kind does, and fails the test when it does not end with its context.
func (s suite) work(ctx context.Context, t *testing.T, set *instance.Set) (emitted, error) {
	t.Helper()
	type result struct {
		e   emitted
		err error
	}
	done := make(chan result, 1)
	go func() {
		e, err := s.workOnce(ctx, set)
		done <- result{e, err}
	}()
	select {
	case r := <-done:
		return r.e, r.err
	case <-ctx.Done():
	}
	select {
	case r := <-done:
		return r.e, r.err
	case <-time.After(s.opt.Timeout):
		t.Fatalf("still at work %s after its context ended", s.opt.Timeout)
		return emitted{}, nil
	}
}

func (s suite) workOnce(ctx context.Context, set *instance.Set) (emitted, error) {
	var e emitted
	var err error
	switch s.plugin.Kind {
	case sdk.KindCollector:
		err = set.Collect(ctx, "i", sdk.CollectRequest{Time: time.Now(), Interval: time.Minute}, &e)
	case sdk.KindDiscovery:
		err = set.Discover(ctx, "i", s.opt.Scope, &e)
	case sdk.KindDetector:
		err = s.inspect(ctx, set, s.opt.Flows, len(s.opt.Flows), &e)
		if err == nil {
			err = set.Flush(ctx, "i", &e)
		}
	case sdk.KindNotifier:
		_, err = set.Notify(ctx, "i", s.opt.Notice)
	}
	return e, err
}
