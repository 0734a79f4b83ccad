package pysdk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/host"
	"github.com/picketwatch/picket/sdk/records"
)

// startPlane starts the probe with a record plane, and a ring unless it is nil.
func startPlane(t *testing.T, ring *host.Ring) (*host.Process, *logBuffer) {
	t.Helper()
	cfg, log := testConfig(t, "-I", zipapp(t, "testdata/probe"))
	ours, theirs, err := host.RecordsPair()
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	cfg.Records, cfg.Ring = ours, ring
	cfg.Cmd.ExtraFiles = []*os.File{theirs}
	cfg.Cmd.Env = append(cfg.Cmd.Env, host.RecordsEnv+"=3")
	p := start(t, cfg, log)
	if !p.Records() {
		t.Fatal("it does not speak the record plane")
	}
	return p, log
}

// durable is a sink that counts what it was asked to keep.
type durable struct {
	sinks
	kept  int
	slow  time.Duration
	fails bool
}

func (d *durable) Commit(context.Context) error {
	time.Sleep(d.slow)
	if d.fails {
		return sdk.Errorf(sdk.Temporary, "the disk is full")
	}
	d.kept = len(d.samples)
	return nil
}

func TestPlaneSamples(t *testing.T) {
	p, log := startPlane(t, nil)
	for name, c := range map[string]struct {
		mode  string
		count int
		want  int
		class sdk.Class
		sink  *durable
	}{
		"none beyond three": {"count", 3, 3, "", &durable{}},
		"many":              {"count", 20_000, 20_000, "", &durable{}},
		"a slow store":      {"count", 5_000, 5_000, "", &durable{slow: 20 * time.Millisecond}},
		"a bug":             {"boom", 2_000, 2_000, sdk.Internal, &durable{}},
		"a full store":      {"count", 10, 10, sdk.Temporary, &durable{fails: true}},
	} {
		t.Run(name, func(t *testing.T) {
			i := configure(t, p, "test/collector", fmt.Sprintf(`{"name": "n", "mode": %q, "count": %d}`, c.mode, c.count))
			when := time.Unix(1_700_000_000, 0).UTC()
			err := i.Collect(testContext(t), sdk.CollectRequest{Time: when, Interval: time.Minute}, c.sink)
			if (err == nil) != (c.class == "") || err != nil && sdk.ClassOf(err) != c.class {
				t.Errorf("got %v\n%s", err, log)
			}
			if len(c.sink.samples) != c.want || !c.sink.fails && c.sink.kept != c.want {
				t.Fatalf("%d samples, %d kept, want %d", len(c.sink.samples), c.sink.kept, c.want)
			}
			for n, s := range c.sink.samples {
				if s.Value != float64(n) || s.Metric != "test.count" || s.Labels["ü"] != "ß" || !s.Time.Equal(when) || s.Type != sdk.Gauge || s.Unit != "1" {
					t.Fatalf("sample %d is %+v", n, s)
				}
			}
			if err := i.Stop(testContext(t)); err != nil {
				t.Error(err)
			}
		})
	}
	if err := p.Fault(); err != nil {
		t.Error(err)
	}
}

func TestPlaneBatches(t *testing.T) {
	ring, err := host.NewRing(4 << 20)
	if err != nil {
		t.Fatal(err)
	}
	defer ring.Close()
	p, log := startPlane(t, ring)
	i := configure(t, p, "test/detector", `{}`)
	detectAll(t, i)

	var s sinks
	block, err := ring.Put(testContext(t), records.AppendFlows(nil, testFlows(1024)))
	if err != nil {
		t.Fatal(err)
	}
	defer block.Release()
	if err := i.InspectBlock(testContext(t), "c", block, &s); err != nil || len(s.findings) != 23 {
		t.Fatalf("%d findings, %v\n%s", len(s.findings), err, log)
	}
	answers := 0
	stream := i.Stream(&s, func(n uint64, err error) {
		if answers++; err != nil || int(n) != answers {
			t.Errorf("answer %d: %d, %v", answers, n, err)
		}
	})
	frame := records.AppendFlows(nil, testFlows(1024))
	begun := time.Now()
	for n := range 100 {
		if n%2 == 0 {
			err = stream.Send(testContext(t), "c", frame)
		} else {
			err = stream.SendBlock(testContext(t), "c", block)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	stream.Wait(testContext(t))
	t.Logf("%d flows with 23 findings in each batch: %s per flow", 100*1024, time.Since(begun)/(100*1024))
	if answers != 100 || len(s.findings) != 101*23 {
		t.Errorf("%d answers, %d findings", answers, len(s.findings))
	}
	if err := i.Stop(testContext(t)); err != nil {
		t.Error(err)
	}
	if err := p.Fault(); err != nil {
		t.Error(err)
	}
}

func TestPlaneWatchUndoAndStatus(t *testing.T) {
	p, _ := startPlane(t, nil)
	i := configure(t, p, "test/watcher", `{}`)
	ctx, cancel := context.WithCancel(testContext(t))
	sink := &stopAfter{n: 5, stop: cancel}
	if err := i.Watch(ctx, sink); err == nil || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if len(sink.samples) < 5 || sink.samples[4].Value != 4 {
		t.Errorf("%+v", sink.samples)
	}
	if err := i.Stop(testContext(t)); err != nil {
		t.Error(err)
	}
	n := configure(t, p, "test/notifier", `{}`)
	if err := n.Undo(testContext(t), sdk.Receipt{ForeignID: "known"}); err != nil {
		t.Error(err)
	}
	if err := n.Undo(testContext(t), sdk.Receipt{}); sdk.ClassOf(err) != sdk.Downstream {
		t.Errorf("got %v", err)
	}
	status, err := n.Status(testContext(t), sdk.Receipt{})
	if err != nil || status.State != sdk.DeliveryClosed || status.Text != "Done" || status.Time.UnixNano() != 5 {
		t.Errorf("%+v, %v", status, err)
	}
	if err := p.Fault(); err != nil {
		t.Error(err)
	}
}

// stopAfter calls stop at the nth sample.
type stopAfter struct {
	sinks
	n    int
	stop func()
}

func (s *stopAfter) Sample(v sdk.Sample) error {
	if err := s.sinks.Sample(v); err != nil {
		return err
	}
	if len(s.samples) == s.n {
		s.stop()
	}
	return nil
}

// A host that breaks the protocol is left, with the reason in the log.
func TestPlaneBrokenHost(t *testing.T) {
	cfg, log := testConfig(t, "-I", zipapp(t, "testdata/probe"))
	ours, theirs, err := host.RecordsPair()
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	cfg.Cmd.ExtraFiles = []*os.File{theirs}
	cfg.Cmd.Env = append(cfg.Cmd.Env, host.RecordsEnv+"=3")
	p := start(t, cfg, log)
	theirs.Close()
	if _, err := ours.Write([]byte(strings.Repeat("x", 64))); err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.Exited():
	case <-time.After(patience):
		t.Fatal("it goes on")
	}
	if p.ExitCode() != 6 {
		t.Errorf("exit code %d", p.ExitCode())
	}
	log.waitFor(t, "record plane")
}
