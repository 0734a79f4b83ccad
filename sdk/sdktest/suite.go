package sdktest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sort"
	"strings"
	"testing"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/config"
	"github.com/picketwatch/picket/sdk/internal/check"
	"github.com/picketwatch/picket/sdk/internal/instance"
	"github.com/picketwatch/picket/sdk/records"
)

// declaration checks what the plugin says about itself.
func (s suite) declaration(t *testing.T) {
	p := s.plugin
	if err := sdk.Check(p); err != nil {
		t.Fatal(err)
	}
	if !sentence(p.Summary) {
		t.Errorf("Summary %q: want one sentence that ends in a full stop", p.Summary)
	}
	if _, err := instance.Describe(p); err != nil {
		t.Error(err)
	}
	a, b := p.New(), p.New()
	if v := reflect.ValueOf(a); v.Kind() == reflect.Pointer && v.Type().Elem().Size() > 0 && v.Pointer() == reflect.ValueOf(b).Pointer() {
		t.Error("New returned the same instance twice")
	}
	if c := a.Config(); c != nil && reflect.ValueOf(c).Pointer() != reflect.ValueOf(a.Config()).Pointer() {
		t.Error("Config returned two different structs for one instance: what is decoded into it gets lost")
	}
	if p.Kind != sdk.KindDetector {
		if len(p.Rules) > 0 || p.Subscription != (sdk.Subscription{}) {
			t.Errorf("a %s has neither rules nor a subscription", p.Kind)
		}
		return
	}
	if len(p.Rules) == 0 || p.Subscription == (sdk.Subscription{}) {
		t.Error("a detector needs rules and a subscription")
	}
	checkRules(t, p.Rules)
}

func checkRules(t *testing.T, rules []sdk.Rule) {
	t.Helper()
	seen := map[string]bool{}
	for _, r := range rules {
		if r.ID == "" || seen[r.ID] {
			t.Errorf("rule %q needs an id of its own", r.ID)
		}
		seen[r.ID] = true
		if !sentence(r.Purpose) {
			t.Errorf("rule %s: Purpose %q: want one sentence that ends in a full stop", r.ID, r.Purpose)
		}
		if r.Severity.Rank() == 0 {
			t.Errorf("rule %s: severity %q", r.ID, r.Severity)
		}
		for _, id := range r.Techniques {
			if !check.Technique(id) {
				t.Errorf("rule %s: %q is not a technique such as T1046", r.ID, id)
			}
		}
	}
}

func sentence(s string) bool { return len(s) > 1 && strings.HasSuffix(s, ".") }

// configuration checks defaults and refusals.
func (s suite) configuration(t *testing.T) {
	into := s.plugin.New().Config()
	if err := config.Decode([]byte(`{"no-such-key": 1}`), into); sdk.ClassOf(err) != sdk.InvalidConfig {
		t.Errorf("an unknown key gave %v, want an error of class %s", err, sdk.InvalidConfig)
	}
	if err := config.Decode([]byte(`{`), into); sdk.ClassOf(err) != sdk.InvalidConfig {
		t.Errorf("broken JSON gave %v", err)
	}
	inst := s.plugin.New()
	err := config.Decode(nil, inst.Config())
	if err != nil {
		t.Logf("the defaults alone are not a configuration (required fields): %v", err)
		return
	}
	if v, ok := inst.(sdk.Validator); ok {
		if err := v.Validate(); err != nil && string(s.opt.Config) == "{}" {
			t.Errorf("the defaults are refused: %v", err)
		}
	}
}

// life runs the whole life of an instance twice and looks for what it leaves behind.
func (s suite) life(t *testing.T) {
	before := goroutines()
	for round := range 2 {
		t.Run(fmt.Sprint("round ", round+1), func(t *testing.T) {
			set := s.start(t)
			if err := set.Health(s.ctx(t), "i"); err != nil {
				s.expected(t, "Health", err)
			}
			e, err := s.work(s.ctx(t), t, set)
			s.expected(t, "work", err)
			t.Logf("%d samples, %d sightings, %d findings", len(e.samples), len(e.sightings), len(e.findings))
			for range 2 { // the host may ask twice
				if err := set.Stop(s.ctx(t), "i"); err != nil {
					t.Errorf("Stop: %v", err)
				}
			}
		})
	}
	noneLeft(t, before, s.opt.Timeout)
}

// expected fails the test unless the error is one that the outside world can cause.
func (s suite) expected(t *testing.T, what string, err error) {
	t.Helper()
	switch class := sdk.ClassOf(err); {
	case err == nil:
	case class == sdk.Internal:
		t.Errorf("%s: %v\n(an error without a class counts as a bug of the plugin; see sdk.Errorf)", what, err)
	case class == sdk.InvalidConfig:
		t.Errorf("%s blames the configuration, which was valid: %v", what, err)
	default:
		t.Logf("%s: %s: %v", what, class, err)
	}
}

// stopWithoutStart checks that Stop is safe at any time.
func (s suite) stopWithoutStart(t *testing.T) {
	inst := s.plugin.New()
	stopper, ok := inst.(sdk.Stopper)
	if !ok {
		t.Skip("it has no Stop")
	}
	if err := stopper.Stop(s.ctx(t)); err != nil {
		t.Errorf("Stop of a fresh instance: %v", err)
	}
	inst = s.plugin.New()
	if err := config.Decode(s.opt.Config, inst.Config()); err != nil {
		t.Skipf("needs secrets: %v", err)
	}
	if starter, ok := inst.(sdk.Starter); ok {
		ctx, cancel := context.WithCancel(s.ctx(t))
		cancel()
		t.Logf("Start with a cancelled context: %v", starter.Start(ctx, s.opt.NewHost(t)))
	}
	if err := inst.(sdk.Stopper).Stop(s.ctx(t)); err != nil {
		t.Errorf("Stop after a failed Start: %v", err)
	}
}

// cancelled checks that work ends with its context.
func (s suite) cancelled(t *testing.T) {
	before := goroutines()
	t.Run("work", func(t *testing.T) {
		set := s.start(t)
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_, err := s.work(ctx, t, set)
		t.Logf("returned %v", err)
	})
	noneLeft(t, before, s.opt.Timeout)
}

// inspect hands flows over in batches.
func (s suite) inspect(ctx context.Context, set *instance.Set, flows []sdk.Flow, size int, e *emitted) error {
	for len(flows) > 0 {
		n := min(size, len(flows))
		if err := set.Inspect(ctx, "i", "capture", records.AppendFlows(nil, flows[:n]), e); err != nil {
			return err
		}
		flows = flows[n:]
	}
	return nil
}

// run returns all findings of the sample flows, sorted.
func (s suite) run(t *testing.T, set *instance.Set, size int) []sdk.Finding {
	t.Helper()
	var e emitted
	err := s.inspect(s.ctx(t), set, s.opt.Flows, size, &e)
	if err := errors.Join(err, set.Flush(s.ctx(t), "i", &e)); err != nil {
		t.Fatal(err)
	}
	return sorted(e.findings)
}

func (s suite) repeatable(t *testing.T) {
	sameFindings(t, "a second instance", s.run(t, s.start(t), 1024), s.run(t, s.start(t), 1024))
}

// batches checks that the cut of the batches does not show: processes and guests get different ones.
func (s suite) batches(t *testing.T) {
	want := s.run(t, s.start(t), records.BatchProcess)
	for _, size := range []int{1, 7, records.BatchGuest} {
		sameFindings(t, fmt.Sprintf("with batches of %d", size), want, s.run(t, s.start(t), size))
	}
}

func (s suite) flushForgets(t *testing.T) {
	set := s.start(t)
	first := s.run(t, set, 1024)
	sameFindings(t, "after Flush, which forgets what was seen", first, s.run(t, set, 1024))
	var e emitted
	fresh := s.start(t)
	if err := fresh.Flush(s.ctx(t), "i", &e); err != nil || len(e.findings) > 0 {
		t.Errorf("Flush of nothing gave %d findings, %v", len(e.findings), err)
	}
}

// snapshot checks that an instance goes on where another one was.
func (s suite) snapshot(t *testing.T) {
	if _, ok := s.plugin.New().(sdk.Snapshotter); !ok {
		t.Skip("it has no Snapshot")
	}
	want := s.run(t, s.start(t), 1024)
	half := len(s.opt.Flows) / 2
	var e emitted
	first, second := s.start(t), s.start(t)
	if err := s.inspect(s.ctx(t), first, s.opt.Flows[:half], 1024, &e); err != nil {
		t.Fatal(err)
	}
	state, err := first.Snapshot(s.ctx(t), "i")
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Restore(s.ctx(t), "i", state); err != nil {
		t.Fatal(err)
	}
	err = s.inspect(s.ctx(t), second, s.opt.Flows[half:], 1024, &e)
	if err := errors.Join(err, second.Flush(s.ctx(t), "i", &e)); err != nil {
		t.Fatal(err)
	}
	sameFindings(t, "over a snapshot", want, sorted(e.findings))
	for _, junk := range [][]byte{{}, []byte("junk"), state[:len(state)/2]} {
		third := s.start(t)
		if err := third.Restore(s.ctx(t), "i", junk); err == nil && len(junk) > 0 && len(state) > 0 {
			t.Logf("a broken snapshot of %d bytes was accepted", len(junk))
		}
	}
}

func (s suite) emptyNotice(t *testing.T) {
	set := s.start(t)
	_, err := set.Notify(s.ctx(t), "i", sdk.Notice{ID: "empty", Event: "test"})
	s.expected(t, "a notice without an alert", err)
}

func sameFindings(t *testing.T, what string, want, got []sdk.Finding) {
	t.Helper()
	if diff := diffFindings(want, got); diff != "" {
		t.Errorf("%s: %s", what, diff)
	}
}

// diffFindings compares findings up to 1e-9 in their features, since fused arithmetic differs between platforms.
func diffFindings(want, got []sdk.Finding) string {
	if len(want) != len(got) {
		return fmt.Sprintf("%d findings, want %d", len(got), len(want))
	}
	for i := range want {
		a, b := want[i], got[i]
		if !closeFeatures(a.Features, b.Features) {
			return fmt.Sprintf("finding %d of rule %s has features %v, want %v", i, b.Rule, b.Features, a.Features)
		}
		a.Features, b.Features = nil, nil
		if !reflect.DeepEqual(normal(a), normal(b)) {
			return fmt.Sprintf("finding %d is\n%+v\nwant\n%+v", i, b, a)
		}
	}
	return ""
}

// normal makes empty lists equal, whichever way they are written.
func normal(f sdk.Finding) sdk.Finding {
	if len(f.Techniques) == 0 {
		f.Techniques = nil
	}
	if len(f.Packets) == 0 {
		f.Packets = nil
	}
	if len(f.Flows) == 0 {
		f.Flows = nil
	}
	f.Start, f.End = f.Start.UTC(), f.End.UTC()
	return f
}

func closeFeatures(a, b map[string]float64) bool {
	if len(a) != len(b) {
		return false
	}
	for key, x := range a {
		y, ok := b[key]
		if !ok || !closeTo(x, y) {
			return false
		}
	}
	return true
}

func closeTo(x, y float64) bool {
	return max(x-y, y-x) <= 1e-9*max(1, x, -x)
}

// sorted orders findings by what they are about: a detector may emit those of one moment in any order.
func sorted(f []sdk.Finding) []sdk.Finding {
	sort.SliceStable(f, func(i, j int) bool {
		a, b := f[i], f[j]
		if !a.Start.Equal(b.Start) {
			return a.Start.Before(b.Start)
		}
		for _, pair := range [][2]string{{a.Rule, b.Rule}, {a.Src, b.Src}, {a.Dst, b.Dst}} {
			if pair[0] != pair[1] {
				return pair[0] < pair[1]
			}
		}
		return a.ID < b.ID
	})
	return f
}
