//go:build linux

package pluginhost

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/records"
)

func init() {
	sdk.Register(sdk.Plugin{ID: "stateful/detector", Kind: sdk.KindDetector, Summary: "Counts flows and remembers them.",
		Subscription: sdk.Subscription{Flows: true}, Rules: []sdk.Rule{{ID: "sum", Purpose: "Sums up.", Severity: sdk.SeverityInfo}},
		New: func() sdk.Instance { return &summer{} }})
	sdk.Register(sdk.Plugin{ID: "forgetful/detector", Kind: sdk.KindDetector, Summary: "Counts flows and keeps no state.",
		Subscription: sdk.Subscription{Flows: true}, Rules: []sdk.Rule{{ID: "sum", Purpose: "Sums up.", Severity: sdk.SeverityInfo}},
		New: func() sdk.Instance { return &forgetful{} }})
	sdk.Register(sdk.Plugin{ID: "versioned/collector", Kind: sdk.KindCollector, Summary: "Behaves as its version says.",
		New: func() sdk.Instance { return &versioned{} }})
}

// misbehave does what the mood of this version says, from its third call on.
func misbehave(call int) error {
	_, mood := ownRelease()
	if call < 3 {
		return nil
	}
	switch mood {
	case "crash":
		panic("the new version cannot cope")
	case "hang", "grpc hang":
		select {}
	case "error", "grpc error":
		return errors.New("the new version is confused")
	case "slow":
		time.Sleep(60 * time.Millisecond)
	}
	return nil
}

// summer knows how many flows it saw, the sum of their ids, and how many came twice: at the end of a capture it says so.
type summer struct {
	state struct {
		Count, Sum, Twice, Captures uint64
		Seen                        map[uint64]bool
	}
	calls int
}

func (d *summer) Config() any { return nil }

func (d *summer) Inspect(_ context.Context, b sdk.Batch, sink sdk.FindingSink) error {
	d.calls++
	if err := misbehave(d.calls); err != nil {
		return err
	}
	if d.state.Seen == nil {
		d.state.Seen = map[uint64]bool{}
	}
	_, mood := ownRelease()
	for i := range b.Flows {
		id := b.Flows[i].ID
		d.state.Count++
		d.state.Sum += id
		if d.state.Seen[id] {
			d.state.Twice++
		}
		d.state.Seen[id] = true
		if id%10 == 0 || mood == "keen" && id%5 == 0 {
			if mood == "blind" && id%20 == 0 {
				continue
			}
			err := sink.Finding(sdk.Finding{Rule: "sum", Severity: sdk.SeverityInfo, Summary: fmt.Sprintf("flow %d", id),
				Src: fmt.Sprintf("10.0.%d.%d", id/250, id%250), Start: b.Flows[i].Start, End: b.Flows[i].End})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func (d *summer) Flush(_ context.Context, sink sdk.FindingSink) error {
	d.state.Captures++
	text := fmt.Sprintf("count=%d sum=%d twice=%d captures=%d", d.state.Count, d.state.Sum, d.state.Twice, d.state.Captures)
	d.state.Count, d.state.Sum, d.state.Twice, d.state.Seen = 0, 0, 0, nil
	return sink.Finding(sdk.Finding{Rule: "sum", Severity: sdk.SeverityLow, Summary: text})
}

func (d *summer) Snapshot(context.Context) ([]byte, error) {
	if _, mood := ownRelease(); mood == "no snapshot" {
		return nil, sdk.Errorf(sdk.Unsupported, "this version keeps no state")
	}
	return json.Marshal(d.state)
}

func (d *summer) Restore(_ context.Context, state []byte) error {
	if _, mood := ownRelease(); mood == "no snapshot" {
		return sdk.Errorf(sdk.Unsupported, "this version keeps no state")
	} else if mood == "other state" {
		return sdk.Errorf(sdk.InvalidConfig, "state of schema 1; this version reads schema 2")
	}
	return json.Unmarshal(state, &d.state)
}

// forgetful is the same without Snapshot and Restore.
type forgetful struct{ inner summer }

func (d *forgetful) Config() any { return nil }
func (d *forgetful) Inspect(ctx context.Context, b sdk.Batch, sink sdk.FindingSink) error {
	return d.inner.Inspect(ctx, b, sink)
}
func (d *forgetful) Flush(ctx context.Context, sink sdk.FindingSink) error {
	return d.inner.Flush(ctx, sink)
}

// versioned measures the version that it is.
type versioned struct{ calls int }

func (c *versioned) Config() any { return nil }

func (c *versioned) Start(_ context.Context, h sdk.Host) error {
	version, mood := ownRelease()
	if mood == "store" || mood == "exit at start" {
		if err := h.State().Put("by", []byte(version)); err != nil {
			return err
		}
	}
	switch mood {
	case "exit at start":
		println("no such library")
		os.Exit(5)
	case "hang at start":
		select {}
	}
	return nil
}

func (c *versioned) Health(context.Context) error {
	if _, mood := ownRelease(); mood == "sick" {
		return errors.New("the sensor is gone")
	}
	return nil
}

func (c *versioned) Collect(_ context.Context, _ sdk.CollectRequest, sink sdk.SampleSink) error {
	c.calls++
	if err := misbehave(c.calls); err != nil {
		return err
	}
	version, mood := ownRelease()
	metrics := []string{"rounds"}
	if mood == "keen" {
		metrics = []string{"rounds.total", "rounds"}
	}
	if mood == "flood" {
		for range 5000 {
			if err := sink.Sample(sdk.Sample{Metric: "rounds", Type: sdk.Gauge, Time: time.Now()}); err != nil {
				return err
			}
		}
	}
	if mood == "busy" {
		for used := cpuUsed(); cpuUsed()-used < 200*time.Millisecond; {
			for range 1_000_000 { //nolint:revive // that is the work
			}
		}
	}
	if mood == "hungry" {
		hungry = make([]byte, 200<<20)
		for i := range hungry {
			hungry[i] = byte(i)
		}
		time.Sleep(10 * time.Second)
	}
	for _, m := range metrics {
		err := sink.Sample(sdk.Sample{Metric: m, Type: sdk.Gauge, Value: float64(c.calls), Labels: map[string]string{"version": version}, Time: time.Now()})
		if err != nil {
			return err
		}
	}
	return nil
}

var hungry []byte

// cpuUsed is what this process has used of the processor.
func cpuUsed() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// upgradable is a fixture whose node holds more versions.
func upgradable(t *testing.T, moods map[string]string, change func(*Config)) *fixture {
	t.Helper()
	f := newFixture(t, change)
	f.shelf.moods = moods
	return f
}

func versionedAssignment(instance, plugin, version string) Assignment {
	return Assignment{Instance: instance, Plugin: plugin, Version: version, Runtime: RuntimeProcess}
}

// framed is a frame with the flows from..to-1.
func framed(from, to int) []byte {
	flows := make([]sdk.Flow, 0, to-from)
	for id := from; id < to; id++ {
		at := time.Unix(int64(id), 0).UTC()
		flows = append(flows, sdk.Flow{ID: uint64(id), Start: at, End: at.Add(time.Second)})
	}
	return records.AppendFlows(nil, flows)
}

// verdicts gathers findings by id, as the analysis does, and counts those that came twice.
type verdicts struct {
	mu    sync.Mutex
	texts map[string]string
}

func (v *verdicts) Finding(f sdk.Finding) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.texts == nil {
		v.texts = map[string]string{}
	}
	v.texts[f.ID] = f.Summary
	return nil
}

// analyse shows a detector one capture in so many batches of 50 flows and checks what it says of them in the end.
func (f *fixture) analyse(d Detector, batches int, each func(i int)) string {
	f.t.Helper()
	var v verdicts
	for i := range batches {
		if each != nil {
			each(i)
		}
		if err := d.Inspect(f.t.Context(), "capture", framed(1+50*i, 51+50*i), &v); err != nil {
			f.t.Fatalf("batch %d: %v", i, err)
		}
	}
	if err := d.Flush(f.t.Context(), &v); err != nil {
		f.t.Fatal(err)
	}
	n := 50 * batches
	want := fmt.Sprintf("count=%d sum=%d twice=0", n, n*(n+1)/2)
	summary := ""
	for _, text := range v.texts {
		if strings.HasPrefix(text, "count=") {
			summary = text
		}
	}
	if !strings.HasPrefix(summary, want) {
		f.t.Errorf("the detector says %q, want %q", summary, want)
	}
	if len(v.texts) != n/10+1 {
		f.t.Errorf("%d findings, want %d", len(v.texts), n/10+1)
	}
	return summary
}

// --- the journal ---

func TestACrashInTheMiddleOfACaptureIsInvisible(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.MaxCrashes = 1000 })
	f.apply(versionedAssignment("d", "stateful/detector", "1.0.0"))
	f.untilState("d", Ready)
	d := f.Detectors()[0]
	born := d.Generation()
	kills := 0
	summary := f.analyse(d, 200, func(i int) {
		if i%17 == 5 { // also right after a snapshot, which comes every 64 batches
			st := f.until("d", "a process", func(s Status) bool { return s.State == Ready && s.PID != 0 })
			_ = syscall.Kill(st.PID, syscall.SIGKILL)
			kills++
		}
	})
	if st, _ := f.Instance("d"); st.Ledger.Crashes < 10 || st.Ledger.Replayed == 0 {
		t.Errorf("%d kills, but the ledger says %+v", kills, st.Ledger)
	}
	if d.Generation() != born {
		t.Error("the detector is said to have forgotten something")
	}
	if !strings.HasSuffix(summary, "captures=1") {
		t.Errorf("%s: want one capture", summary)
	}
	if again := f.analyse(d, 3, nil); !strings.HasSuffix(again, "captures=2") {
		t.Errorf("what it learned in the first capture is lost: %s", again)
	}
}

// Kills come at any moment, also during a replay, a snapshot and a flush.
func TestKillsAtAnyMomentLoseNothing(t *testing.T) {
	f := newFixture(t, func(c *Config) {
		c.MaxCrashes = 1_000_000
		c.Backoff = Backoffs{First: time.Millisecond, Base: time.Millisecond, Max: time.Millisecond}
	})
	f.apply(versionedAssignment("d", "stateful/detector", "1.0.0"))
	f.untilState("d", Ready)
	// The next kill comes at a random moment after some batches have passed since the last one: a machine that is slow
	// makes the test no harder.
	stop := make(chan struct{})
	var passed, kills atomic.Int64
	var killer sync.WaitGroup
	killer.Go(func() {
		for next := int64(0); ; {
			select {
			case <-stop:
				return
			case <-time.After(time.Duration(rand.IntN(3000)) * time.Microsecond):
			}
			if st, _ := f.Instance("d"); passed.Load() >= next && st.PID != 0 && st.State == Ready {
				_ = syscall.Kill(st.PID, syscall.SIGKILL)
				kills.Add(1)
				next = passed.Load() + rand.Int64N(20)
			}
		}
	})
	for i := range 5 {
		summary := f.analyse(f.Detectors()[0], 150, func(int) { passed.Add(1) })
		if !strings.HasSuffix(summary, fmt.Sprintf("captures=%d", i+1)) {
			t.Errorf("after capture %d: %s", i+1, summary)
		}
	}
	close(stop)
	killer.Wait()
	t.Logf("%d kills", kills.Load())
}

func TestABatchThatKillsEndsInQuarantine(t *testing.T) {
	f := upgradable(t, map[string]string{"1.0.0": "crash"}, nil)
	f.apply(versionedAssignment("d", "stateful/detector", "1.0.0"))
	f.untilState("d", Ready)
	var v verdicts
	var err error
	for i := 0; err == nil && i < 10; i++ {
		err = f.Detectors()[0].Inspect(t.Context(), "c", framed(1+i, 2+i), &v)
	}
	if sdk.ClassOf(err) != sdk.Temporary {
		t.Errorf("got %v", err)
	}
	if st := f.untilState("d", Quarantined); !strings.Contains(st.Reason, "cannot cope") {
		t.Errorf("reason %q", st.Reason)
	}
}

func TestADetectorWithoutStateSaysWhatItMissed(t *testing.T) {
	f := newFixture(t, nil)
	f.apply(versionedAssignment("d", "forgetful/detector", "1.0.0"))
	st := f.untilState("d", Ready)
	d := f.Detectors()[0]
	born := d.Generation()
	var v verdicts
	if err := d.Inspect(t.Context(), "c", framed(1, 51), &v); err != nil {
		t.Fatal(err)
	}
	_ = syscall.Kill(st.PID, syscall.SIGKILL)
	f.until("d", "another process", func(s Status) bool { return s.State == Ready && s.PID != st.PID && s.PID != 0 })
	if d.Generation() == born {
		t.Error("nobody hears that the detector forgot the capture")
	}
	if err := d.Flush(t.Context(), &v); err != nil {
		t.Fatal(err)
	}
	born, st = d.Generation(), f.untilState("d", Ready)
	_ = syscall.Kill(st.PID, syscall.SIGKILL)
	f.until("d", "another process", func(s Status) bool { return s.State == Ready && s.PID != st.PID && s.PID != 0 })
	if d.Generation() != born {
		t.Error("between two captures there is nothing to forget")
	}
}

// --- upgrades ---

func TestAnUpgradeUnderLoadLosesNothing(t *testing.T) {
	f := upgradable(t, map[string]string{"2.0.0": ""}, func(c *Config) { c.Probation.LatencyFloor = time.Hour }) // how fast this machine is decides nothing here
	f.apply(versionedAssignment("d", "stateful/detector", "1.0.0"), versionedAssignment("c", "versioned/collector", "1.0.0"))
	old := f.untilState("d", Ready)
	f.untilState("c", Ready)
	d := f.Detectors()[0]
	born := d.Generation()

	stop := make(chan struct{})
	var load sync.WaitGroup
	versions := map[string]int{}
	var failures []error
	load.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			got, err := f.collect("c")
			if err != nil {
				failures = append(failures, err)
				continue
			}
			versions[got[0].Labels["version"]]++
		}
	})
	done := make(chan error, 2)
	summary := f.analyse(d, 300, func(i int) {
		if i == 100 {
			go func() { done <- f.Upgrade(t.Context(), "d", "2.0.0") }()
			go func() { done <- f.Upgrade(t.Context(), "c", "2.0.0") }()
		}
		if i > 100 {
			time.Sleep(2 * time.Millisecond)
		}
	})
	for range 2 {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(50 * time.Millisecond)
	close(stop)
	load.Wait()
	st := f.untilState("d", Ready)
	if st.Version != "2.0.0" || st.PID == old.PID || st.Previous != "1.0.0" || st.Ledger.Crashes != 0 {
		t.Errorf("after the upgrade: %+v", st)
	}
	if u := st.Upgrade; u == nil || u.From != "1.0.0" || u.To != "2.0.0" || u.State != UpgradeProbation && u.State != UpgradeDone {
		t.Errorf("upgrade %+v", st.Upgrade)
	}
	if len(failures) > 0 || versions["1.0.0"] == 0 || versions["2.0.0"] == 0 {
		t.Errorf("calls during the upgrade: %v, failures %v", versions, failures)
	}
	if d.Generation() != born || !strings.HasSuffix(summary, "captures=1") {
		t.Errorf("the upgrade was noticed: %s", summary)
	}
	waitGone(t, old.PID)
	// And back again, in the middle of the next capture.
	f.analyse(d, 100, func(i int) {
		if i == 40 {
			if err := f.Rollback(t.Context(), "d", "somebody wants it back"); err != nil {
				t.Error(err)
			}
		}
	})
	if st := f.untilState("d", Ready); st.Version != "1.0.0" || st.Upgrade.State != UpgradeRolledBack || st.Upgrade.Reason != "somebody wants it back" {
		t.Errorf("after the rollback: %s, %+v", st.Version, st.Upgrade)
	}
	if err := f.Rollback(t.Context(), "d", ""); err == nil {
		t.Error("a second rollback found something to go back to")
	}
}

// A change of the assignment that names another version is an upgrade too.
func TestApplyUpgrades(t *testing.T) {
	f := upgradable(t, map[string]string{"2.0.0": ""}, nil)
	f.apply(versionedAssignment("d", "stateful/detector", "1.0.0"))
	f.untilState("d", Ready)
	d := f.Detectors()[0]
	f.analyse(d, 100, func(i int) {
		if i == 20 {
			f.apply(versionedAssignment("d", "stateful/detector", "2.0.0"))
		}
		if i == 60 {
			f.until("d", "the new version", func(s Status) bool { return s.State == Ready && s.Version == "2.0.0" })
		}
	})
	f.apply(versionedAssignment("d", "stateful/detector", "3.0.0")) // which is not on this node
	st := f.until("d", "a failed upgrade", func(s Status) bool { return s.Upgrade != nil && s.Upgrade.State == UpgradeFailed })
	if st.State != Ready || st.Version != "2.0.0" || !strings.Contains(st.Upgrade.Reason, "installed on this node") {
		t.Errorf("%s %s %+v", st.State, st.Version, st.Upgrade)
	}
	f.analyse(d, 5, nil)
}

func TestBadUpgradesGoBackByThemselves(t *testing.T) {
	for mood, says := range map[string]string{
		"crash": "cannot cope", "hang": "did not answer Collect within 5s", "error": "calls failed", "slow": "95th percentile", "sick": "the sensor is gone",
	} {
		t.Run(mood, func(t *testing.T) {
			t.Parallel()
			f := upgradable(t, map[string]string{"2.0.0": mood}, func(c *Config) {
				c.Deadlines.Collect = 5 * time.Second // the version that is well must keep it on a busy machine too
				c.HealthEvery = 30 * time.Millisecond
				if mood != "slow" {
					c.Probation.LatencyFloor = time.Hour // how fast this machine is decides nothing there
				}
			})
			f.apply(versionedAssignment("c", "versioned/collector", "1.0.0"))
			f.untilState("c", Ready)
			for range 30 {
				if _, err := f.collect("c"); err != nil {
					t.Fatal(err)
				}
			}
			if err := f.Upgrade(t.Context(), "c", "2.0.0"); err != nil {
				t.Fatal(err)
			}
			deadline := time.Now().Add(patience)
			for {
				_, _ = f.collect("c")
				if st, _ := f.Instance("c"); st.Upgrade.State == UpgradeRolledBack && st.State == Ready {
					break
				}
				if time.Now().After(deadline) {
					t.Fatal("it was not taken back")
				}
				time.Sleep(2 * time.Millisecond)
			}
			st := f.untilState("c", Ready)
			if st.Version != "1.0.0" || !strings.Contains(st.Upgrade.Reason, says) || st.Previous != "" {
				t.Errorf("version %s, reason %q, want %q", st.Version, st.Upgrade.Reason, says)
			}
			history, err := f.History("c")
			if err != nil || !slices.ContainsFunc(history, func(x Transition) bool {
				return strings.Contains(x.Reason, "rollback from 2.0.0 to 1.0.0") && strings.Contains(x.Reason, says)
			}) {
				t.Errorf("the history does not say why: %+v, %v", history, err)
			}
			if got, err := f.collect("c"); err != nil || got[0].Labels["version"] != "1.0.0" {
				t.Errorf("after the way back: %v, %v", got, err)
			}
		})
	}
}

// A detector that goes bad in the middle of a capture costs nothing of the capture.
func TestABadDetectorGoesBackInTheMiddleOfACapture(t *testing.T) {
	for _, mood := range []string{"crash", "hang"} {
		t.Run(mood, func(t *testing.T) {
			t.Parallel()
			f := upgradable(t, map[string]string{"2.0.0": mood}, func(c *Config) { c.Deadlines.Inspect = 500 * time.Millisecond })
			f.apply(versionedAssignment("d", "stateful/detector", "1.0.0"))
			f.untilState("d", Ready)
			d := f.Detectors()[0]
			f.analyse(d, 60, func(i int) {
				if i == 20 {
					if err := f.Upgrade(t.Context(), "d", "2.0.0"); err != nil {
						t.Error(err)
					}
				}
			})
			if st := f.untilState("d", Ready); st.Version != "1.0.0" || st.Upgrade.State != UpgradeRolledBack {
				t.Errorf("%s, %+v", st.Version, st.Upgrade)
			}
		})
	}
}

func TestAnUpgradeThatCannotTakeOverLeavesTheOldOne(t *testing.T) {
	f := upgradable(t, map[string]string{"2.0.0": "other state", "2.1.0": "exit at start"}, nil)
	f.apply(versionedAssignment("d", "stateful/detector", "1.0.0"), versionedAssignment("c", "versioned/collector", "1.0.0"))
	old, oldC := f.untilState("d", Ready), f.untilState("c", Ready)
	err := f.Upgrade(t.Context(), "d", "2.0.0")
	if err == nil || !strings.Contains(err.Error(), "this version reads schema 2") || !strings.Contains(err.Error(), "stays at 1.0.0") {
		t.Errorf("got %v", err)
	}
	if err := f.Upgrade(t.Context(), "c", "2.1.0"); err == nil || !strings.Contains(err.Error(), "no such library") {
		t.Errorf("got %v", err)
	}
	if err := f.Upgrade(t.Context(), "c", "9.0.0"); err == nil || !strings.Contains(err.Error(), "installed on this node") {
		t.Errorf("got %v", err)
	}
	st, stC := f.untilState("d", Ready), f.untilState("c", Ready)
	if st.PID != old.PID || stC.PID != oldC.PID || st.Upgrade.State != UpgradeFailed || st.Ledger.Crashes+stC.Ledger.Crashes != 0 {
		t.Errorf("the old ones did not go on: %+v", st.Upgrade)
	}
	f.analyse(f.Detectors()[0], 3, nil)
}

// What a candidate says of its state counts only once it is in charge: the old one goes on with its journal.
func TestAFailedUpgradeCostsNoState(t *testing.T) {
	f := upgradable(t, map[string]string{"2.0.0": "no snapshot"}, func(c *Config) { c.Deadlines.Switch = 300 * time.Millisecond })
	f.apply(versionedAssignment("d", "stateful/detector", "1.0.0"))
	old := f.untilState("d", Ready)
	d := f.Detectors()[0]
	born := d.Generation()
	var v verdicts
	inspect := func(from, to int) {
		t.Helper()
		for i := from; i < to; i++ {
			if err := d.Inspect(t.Context(), "capture", framed(1+50*i, 51+50*i), &v); err != nil {
				t.Fatalf("batch %d: %v", i, err)
			}
		}
	}
	inspect(0, 3)
	if err := f.Upgrade(t.Context(), "d", "2.0.0"); err == nil || !strings.Contains(err.Error(), "in the middle of") {
		t.Fatalf("got %v", err)
	}
	inspect(3, 6)
	_ = syscall.Kill(old.PID, syscall.SIGKILL)
	waitGone(t, old.PID)
	inspect(6, 9)
	if err := d.Flush(t.Context(), &v); err != nil {
		t.Fatal(err)
	}
	if d.Generation() != born {
		t.Error("the detector lost sight of the capture")
	}
	const want = "count=450 sum=101475 twice=0 captures=1"
	if !slices.Contains(slices.Collect(maps.Values(v.texts)), want) {
		t.Errorf("no %q among the verdicts", want)
	}
}

// A version that is revoked while the next one starts beside it does not wait for that.
func TestARevocationDuringAnUpgrade(t *testing.T) {
	f := upgradable(t, map[string]string{"2.0.0": "hang at start"}, func(c *Config) { c.Deadlines.Configure = time.Hour })
	f.apply(versionedAssignment("c", "versioned/collector", "1.0.0"))
	old := f.untilState("c", Ready)
	f.apply(versionedAssignment("c", "versioned/collector", "2.0.0"))
	f.until("c", "the upgrade to begin", func(s Status) bool { return s.Upgrade != nil && s.Upgrade.State == UpgradeStarting })
	const id = "versioned/collector"
	f.shelf.set(id+" 1.0.0", &registry.Refusal{Plugin: id, Version: "1.0.0", Reason: registry.Revoked})
	f.Recheck()
	waitGone(t, old.PID)
	f.until("c", "the new version instead", func(s Status) bool { return s.State == Starting && s.Version == "2.0.0" })
}

// Whoever mends what kept the wanted version from taking over gets it, although the version that went on was revoked.
func TestAVersionThatWentOnAndWasRevokedIsNoLongerPinned(t *testing.T) {
	f := upgradable(t, map[string]string{"2.0.0": ""}, nil)
	f.apply(versionedAssignment("c", "versioned/collector", "1.0.0"))
	f.untilState("c", Ready)
	good := versionedAssignment("c", "versioned/collector", "2.0.0")
	bad := good
	bad.Grants = append(slices.Clone(good.Grants), sdk.Permission{Cap: sdk.CapFlowsRead}) // which it does not ask for
	f.apply(bad)
	f.until("c", "the upgrade to fail", func(s Status) bool { return s.Upgrade != nil && s.Upgrade.State == UpgradeFailed })
	const id = "versioned/collector"
	f.shelf.set(id+" 1.0.0", &registry.Refusal{Plugin: id, Version: "1.0.0", Reason: registry.Revoked})
	f.Recheck()
	f.untilState("c", Revoked)
	f.apply(good)
	f.until("c", "the wanted version", func(s Status) bool { return s.State == Ready && s.Version == "2.0.0" })
}

// A version that is revoked on probation is on probation no more.
func TestARevocationOnProbation(t *testing.T) {
	f := upgradable(t, map[string]string{"2.0.0": ""}, nil)
	f.apply(versionedAssignment("c", "versioned/collector", "1.0.0"))
	f.untilState("c", Ready)
	f.apply(versionedAssignment("c", "versioned/collector", "2.0.0"))
	f.until("c", "the probation", func(s Status) bool { return s.Upgrade != nil && s.Upgrade.State == UpgradeProbation })
	const id = "versioned/collector"
	f.shelf.set(id+" 2.0.0", &registry.Refusal{Plugin: id, Version: "2.0.0", Reason: registry.Revoked, Err: errors.New("it mines coins")})
	f.Recheck()
	st := f.untilState("c", Revoked)
	if u := st.Upgrade; u.State != UpgradeFailed || !strings.Contains(u.Reason, "it mines coins") || u.Ended.IsZero() {
		t.Errorf("the upgrade reads %+v", u)
	}
}

// A question to the registry does not call an upgrade off, when nothing came of it.
func TestARecheckDuringAnUpgrade(t *testing.T) {
	f := upgradable(t, map[string]string{"2.0.0": ""}, nil)
	f.apply(versionedAssignment("d", "forgetful/detector", "1.0.0"))
	f.untilState("d", Ready)
	d := f.Detectors()[0]
	var v verdicts
	if err := d.Inspect(t.Context(), "capture", framed(1, 51), &v); err != nil {
		t.Fatal(err)
	}
	f.apply(versionedAssignment("d", "forgetful/detector", "2.0.0"))
	f.until("d", "the upgrade to wait", func(s Status) bool { return s.Upgrade != nil && s.Upgrade.State == UpgradeWaiting })
	s, err := f.supervisor("d")
	if err != nil {
		t.Fatal(err)
	}
	f.Recheck()
	f.until("d", "the question", func(Status) bool { return !ordered(s, orderRecheck) })
	if err := d.Flush(t.Context(), &v); err != nil {
		t.Fatal(err)
	}
	st := f.until("d", "the new version", func(s Status) bool { return s.State == Ready && s.Version == "2.0.0" })
	begun := 0
	for _, h := range st.History {
		if strings.Contains(h.Reason, "starts beside the old one") {
			begun++
		}
	}
	if begun != 1 {
		t.Errorf("the new version was started %d times", begun)
	}
}

func ordered(s *supervisor, o order) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.orders&o != 0
}

// What is asked for beside a restart, or beside a change, is not forgotten over it.
func TestOrdersAreNotSwallowed(t *testing.T) {
	f := upgradable(t, map[string]string{"2.0.0": ""}, nil)
	f.apply(versionedAssignment("c", "versioned/collector", "1.0.0"))
	old := f.untilState("c", Ready)
	s, err := f.supervisor("c")
	if err != nil {
		t.Fatal(err)
	}
	ask := func(version string, o order) {
		s.mu.Lock()
		a := s.cur.assignment
		a.Version = version
		s.trying = &a
		s.orders |= o | orderShadow
		s.mu.Unlock()
		s.signal()
	}
	ask("2.0.0", orderRestart)
	f.until("c", "the restart and the shadow", func(s Status) bool {
		return s.State == Ready && s.PID != old.PID && s.Shadow != nil && s.Shadow.Running
	})

	const id = "versioned/collector"
	f.shelf.set(id+" 1.0.0", &registry.Refusal{Plugin: id, Version: "1.0.0", Reason: registry.Revoked})
	s.poke(orderRecheck)
	f.untilState("c", Revoked)
	if err := f.Shadow(t.Context(), "c", "2.0.0"); err == nil {
		t.Error("a shadow runs beside nothing")
	}
	s.mu.Lock()
	s.trying = &Assignment{}
	s.orders |= orderShadow
	s.mu.Unlock()
	s.signal()
	f.until("c", "an answer", func(Status) bool { return !ordered(s, orderShadow) })
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shadowErr == nil || !strings.Contains(s.shadowErr.Error(), "is revoked: a shadow needs") {
		t.Errorf("got %v", s.shadowErr)
	}
}

// What a candidate says about its secrets reaches nobody, though it was never in charge.
func TestSecretsOfACandidateAreBlanked(t *testing.T) {
	log := &lockedBuffer{}
	f := upgradable(t, map[string]string{"2.0.0": ""}, func(c *Config) {
		c.Log = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	a := moodyAssignment("c", "calm")
	a.Secrets = map[string]string{"password": "the-first-one"}
	f.apply(a)
	f.untilState("c", Ready)
	b := moodyAssignment("c", "leak at start")
	b.Version, b.Secrets = "2.0.0", map[string]string{"password": "hush-hush-hush"}
	f.apply(b)
	st := f.until("c", "the upgrade to fail", func(s Status) bool { return s.Upgrade != nil && s.Upgrade.State == UpgradeFailed })
	if !strings.Contains(st.Upgrade.Reason, "?key=[secret]: refused") {
		t.Errorf("the upgrade failed because %q", st.Upgrade.Reason)
	}
	history, _ := f.History("c")
	if text := fmt.Sprintf("%+v %+v %s", st, history, log.String()); strings.Contains(text, "hush") {
		t.Errorf("it was told: %s", text)
	}
	s, err := f.supervisor("c")
	if err != nil {
		t.Fatal(err)
	}
	if got := s.log.blank("the-first-one"); got != "[secret]" {
		t.Errorf("the secret of the one in charge is shown as %q", got)
	}
}

// A detector without state is exchanged between two captures.
func TestAnUpgradeWaitsForTheEndOfTheCapture(t *testing.T) {
	f := upgradable(t, map[string]string{"2.0.0": ""}, nil)
	f.apply(versionedAssignment("d", "forgetful/detector", "1.0.0"))
	f.untilState("d", Ready)
	d := f.Detectors()[0]
	born := d.Generation()
	done := make(chan error, 1)
	f.analyse(d, 60, func(i int) {
		if i == 10 {
			go func() { done <- f.Upgrade(t.Context(), "d", "2.0.0") }()
			f.until("d", "the upgrade to wait", func(s Status) bool { return s.Upgrade != nil && s.Upgrade.State == UpgradeWaiting })
		}
	})
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if st := f.untilState("d", Ready); st.Version != "2.0.0" || d.Generation() != born {
		t.Errorf("version %s, generation %d after %d", st.Version, d.Generation(), born)
	}
}

func TestAProbationEndsWell(t *testing.T) {
	f := upgradable(t, map[string]string{"2.0.0": ""}, func(c *Config) { c.Probation.Calls, c.HealthEvery = 10, 20*time.Millisecond })
	f.apply(versionedAssignment("c", "versioned/collector", "1.0.0"))
	f.untilState("c", Ready)
	if err := f.Upgrade(t.Context(), "c", "2.0.0"); err != nil {
		t.Fatal(err)
	}
	for range 12 {
		if _, err := f.collect("c"); err != nil {
			t.Fatal(err)
		}
	}
	f.until("c", "the end of the probation", func(s Status) bool { return s.Upgrade.State == UpgradeDone })
	st := f.untilState("c", Ready)
	_ = syscall.Kill(st.PID, syscall.SIGKILL) // now it is a crash like any other
	if now := f.until("c", "another process", func(s Status) bool { return s.State == Ready && s.PID != st.PID && s.PID != 0 }); now.Version != "2.0.0" {
		t.Errorf("a crash after the probation took the version back")
	}
}

// --- shadow ---

func TestAShadowIsCompared(t *testing.T) {
	f := upgradable(t, map[string]string{"2.0.0": "keen", "2.1.0": "blind", "2.2.0": "crash"}, nil)
	f.apply(versionedAssignment("d", "stateful/detector", "1.0.0"), versionedAssignment("c", "versioned/collector", "1.0.0"),
		Assignment{Instance: "n", Plugin: "test/notifier", Version: "1.0.0", Runtime: RuntimeProcess})
	f.untilState("d", Ready)
	f.untilState("c", Ready)
	f.untilState("n", Ready)
	d := f.Detectors()[0]
	f.analyse(d, 10, nil)
	if err := f.Shadow(t.Context(), "d", "2.0.0"); err != nil {
		t.Fatal(err)
	}
	f.analyse(d, 20, nil) // 1000 flows: each tenth is found, the shadow also finds each fifth
	st := f.until("d", "a comparison", func(s Status) bool { return s.Shadow != nil && s.Shadow.Compared == 1 })
	if r := st.Shadow; r.Same != 101 || r.Added != 100 || r.Lost != 0 || len(r.AddedItems) != 100 || r.AddedItems[0].Rule != "sum" || !r.Running || r.Version != "2.0.0" || r.Against != "1.0.0" {
		t.Errorf("report %+v", r)
	}
	if st.Version != "1.0.0" {
		t.Errorf("the instance runs %s", st.Version)
	}
	if err := f.Shadow(t.Context(), "d", "2.1.0"); err != nil {
		t.Fatal(err)
	}
	f.analyse(d, 20, nil)
	if r := f.until("d", "a comparison", func(s Status) bool { return s.Shadow != nil && s.Shadow.Compared == 1 }).Shadow; r.Added != 0 || r.Lost != 50 || r.Same != 51 {
		t.Errorf("report %+v", r)
	}
	if err := errors.Join(f.DropShadow(t.Context(), "d"), f.Upgrade(t.Context(), "d", "2.1.0")); err != nil {
		t.Fatal(err)
	}
	if st := f.untilState("d", Ready); st.Version != "2.1.0" || st.Shadow != nil {
		t.Errorf("promoted: %s, %+v", st.Version, st.Shadow)
	}
	if err := f.Shadow(t.Context(), "c", "2.0.0"); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if got, err := f.collect("c"); err != nil || len(got) != 1 {
			t.Fatalf("%v, %v", got, err)
		}
	}
	if r := f.until("c", "comparisons", func(s Status) bool { return s.Shadow != nil && s.Shadow.Compared == 3 }).Shadow; r.Added != 1 || r.Lost != 0 || r.AddedItems[0].Metric != "rounds.total" {
		t.Errorf("report %+v", r)
	}
	if err := f.Shadow(t.Context(), "c", "2.2.0"); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		if _, err := f.collect("c"); err != nil {
			t.Fatal(err)
		}
	}
	if r := f.until("c", "the shadow's end", func(s Status) bool { return s.Shadow != nil && !s.Shadow.Running }); !strings.Contains(r.Shadow.Reason, "died during Collect") || r.Ledger.Crashes != 0 {
		t.Errorf("a shadow that crashed: %+v", r.Shadow)
	}
	if err := f.DropShadow(t.Context(), "c"); err != nil {
		t.Fatal(err)
	}
	if err := f.Shadow(t.Context(), "n", "2.0.0"); err == nil {
		t.Error("a notifier has a shadow")
	}
}

// --- what is kept over a restart of the host ---

func TestQuarantineAndHistorySurviveTheHost(t *testing.T) {
	dir := t.TempDir()
	same := func(c *Config) { c.Dir = dir }
	f := newFixture(t, same)
	f.apply(moodyAssignment("a", "exit"))
	for crashed := range uint64(3) {
		f.until("a", "another try", func(s Status) bool { return s.State == Ready && s.Ledger.Crashes == crashed })
		_, _ = f.collect("a")
	}
	f.untilState("a", Quarantined)
	f.Stop(t.Context())

	again := newFixture(t, same)
	again.apply(moodyAssignment("a", "exit"))
	st := again.untilState("a", Quarantined)
	if !strings.Contains(st.Reason, "crashed 3 times") || again.shelf.opened != 0 {
		t.Errorf("reason %q, started %d times", st.Reason, again.shelf.opened)
	}
	history, _ := again.History("a")
	if n := len(history); n < 8 || history[0].State != Starting {
		t.Errorf("history: %+v", history)
	}
	if err := again.Release(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	again.Stop(t.Context())

	// Other settings are a new try.
	third := newFixture(t, same)
	third.apply(moodyAssignment("a", ""))
	third.untilState("a", Ready)
	third.apply() // and what is taken away is forgotten
	deadline := time.Now().Add(patience)
	for {
		left, _ := filepath.Glob(filepath.Join(dir, "memory", "*"))
		if len(left) == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("left: %v", left)
		}
		time.Sleep(time.Millisecond)
	}
}

func TestCrashesAreCountedOverTheHost(t *testing.T) {
	dir := t.TempDir()
	for host := range 3 {
		f := newFixture(t, func(c *Config) { c.Dir = dir })
		f.apply(moodyAssignment("a", "exit"))
		f.untilState("a", Ready)
		_, _ = f.collect("a")
		if host < 2 {
			f.until("a", "the next process", func(s Status) bool { return s.State == Ready && s.Ledger.Crashes == 1 })
		} else {
			f.untilState("a", Quarantined)
		}
		f.Stop(t.Context())
	}
}

// What was taken back stays taken back when the host starts again.
func TestARollbackSurvivesTheHost(t *testing.T) {
	dir := t.TempDir()
	f := upgradable(t, map[string]string{"2.0.0": "crash"}, func(c *Config) { c.Dir = dir })
	f.apply(versionedAssignment("c", "versioned/collector", "1.0.0"))
	f.untilState("c", Ready)
	f.apply(versionedAssignment("c", "versioned/collector", "2.0.0"))
	f.until("c", "the new version", func(s Status) bool { return s.State == Ready && s.Version == "2.0.0" })
	for range 3 {
		_, _ = f.collect("c")
	}
	f.until("c", "the way back", func(s Status) bool { return s.State == Ready && s.Version == "1.0.0" })
	f.Stop(t.Context())
	again := upgradable(t, map[string]string{"2.0.0": "crash"}, func(c *Config) { c.Dir = dir })
	again.apply(versionedAssignment("c", "versioned/collector", "2.0.0"))
	if st := again.untilState("c", Ready); st.Version != "1.0.0" || st.Upgrade == nil || st.Upgrade.State != UpgradeRolledBack {
		t.Errorf("%s, %+v", st.Version, st.Upgrade)
	}
	// Who names a version again wants it.
	if err := again.Upgrade(t.Context(), "c", "2.0.0"); err != nil {
		t.Fatal(err)
	}
}

func TestDamagedMemoryIsNoReasonToStandStill(t *testing.T) {
	dir := t.TempDir()
	f := newFixture(t, func(c *Config) { c.Dir = dir })
	for i, text := range []string{"", "{", `{"plugin":7}`, strings.Repeat("x", maxRemembered+1)} {
		name := fmt.Sprintf("a%d", i)
		if err := (FileMemory{Dir: filepath.Join(dir, "memory")}).SaveInstance(name, []byte(text)); err != nil {
			t.Fatal(err)
		}
		f.apply(moodyAssignment(name, ""))
		f.untilState(name, Ready)
	}
}

// --- limits ---

func TestLimits(t *testing.T) {
	f := upgradable(t, map[string]string{"1.1.0": "flood", "1.2.0": "hungry"}, nil)
	flood := versionedAssignment("flood", "versioned/collector", "1.1.0")
	flood.Limits.RecordsPerSecond = 1000
	hungry := versionedAssignment("hungry", "versioned/collector", "1.2.0")
	hungry.Limits.Memory = "100Mi"
	late := moodyAssignment("late", "hang")
	late.Limits.Deadline = "150ms"
	f.apply(flood, hungry, late)
	for _, i := range []string{"flood", "hungry", "late"} {
		f.untilState(i, Ready)
	}
	got, err := f.collect("flood")
	if err == nil || !strings.Contains(err.Error(), "more than 1000 records a second") || len(got) < 1000 || len(got) > 3000 {
		t.Errorf("%d samples passed, %v", len(got), err)
	}
	st, _ := f.Instance("flood")
	if st.Ledger.Dropped == 0 || st.Ledger.BytesOut == 0 || st.State != Ready || st.Limits.RecordsPerSecond != 1000 {
		t.Errorf("%+v", st.Ledger)
	}
	if _, err := f.collect("hungry"); sdk.ClassOf(err) != sdk.Temporary {
		t.Errorf("got %v", err)
	}
	f.until("hungry", "a reason", func(s Status) bool {
		return slices.ContainsFunc(s.History, func(x Transition) bool {
			return strings.HasPrefix(x.Reason, "used ") && strings.Contains(x.Reason, "its limit is 100 MiB")
		})
	})
	if _, err := f.collect("late"); err == nil || !strings.Contains(err.Error(), "within 150ms") {
		t.Errorf("got %v", err)
	}
}

func TestProgress(t *testing.T) {
	at := func(s int) time.Time { return time.Unix(int64(s), 0) }
	for name, c := range map[string]struct {
		looks []struct {
			at      int
			counter uint64
			busy    bool
		}
		want bool
	}{
		"works": {[]struct {
			at      int
			counter uint64
			busy    bool
		}{{0, 1, true}, {30, 2, true}, {70, 3, true}}, false},
		"idle": {[]struct {
			at      int
			counter uint64
			busy    bool
		}{{0, 1, false}, {100, 1, false}, {200, 1, false}}, false},
		"stands still": {[]struct {
			at      int
			counter uint64
			busy    bool
		}{{0, 1, true}, {30, 1, true}, {61, 1, true}}, true},
		"has just begun": {[]struct {
			at      int
			counter uint64
			busy    bool
		}{{0, 1, false}, {100, 1, true}}, false},
	} {
		var p progressWatch
		got := false
		for _, l := range c.looks {
			got = p.stuck(at(l.at), l.counter, l.busy, time.Minute)
		}
		if got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestProbationVerdicts(t *testing.T) {
	var rules Probations
	rules.fill()
	calls := func(n int, took time.Duration, failed int) (string, bool) {
		p := probation{From: "1.0.0", To: "2.0.0", healthy: true, Before: standing{Calls: 100, Rate: 0.02, P95: 10 * time.Millisecond}}
		var verdict string
		var passed bool
		for i := range n {
			verdict, passed = p.see(rules, p.Began, took, i < failed)
		}
		return verdict, passed
	}
	for name, c := range map[string]struct {
		n, failed int
		took      time.Duration
		verdict   string
		passed    bool
	}{
		"as before":       {100, 0, 10 * time.Millisecond, "", true},
		"not over":        {99, 0, 10 * time.Millisecond, "", false},
		"two failures":    {4, 2, 10 * time.Millisecond, "", false},
		"fails":           {8, 3, 10 * time.Millisecond, "3 of its", false},
		"a little slower": {100, 0, 19 * time.Millisecond, "", true},
		"twice as slow":   {100, 0, 20 * time.Millisecond, "95th percentile", false},
	} {
		verdict, passed := calls(c.n, c.took, c.failed)
		if passed != c.passed || (c.verdict == "") != (verdict == "") || !strings.Contains(verdict, c.verdict) {
			t.Errorf("%s: %q, %v", name, verdict, passed)
		}
	}
	p := probation{healthy: true, Before: standing{Calls: 100, P95: 10 * time.Millisecond}}
	for i := range 100 { // one call in ten takes long: nothing to say of thirty, enough to say of a hundred
		took := 10 * time.Millisecond
		if i%10 == 0 {
			took *= 5
		}
		if verdict, _ := p.see(rules, p.Began, took, false); (verdict != "") != (i == 99) {
			t.Errorf("after %d calls: %q", i+1, verdict)
		}
	}
}
