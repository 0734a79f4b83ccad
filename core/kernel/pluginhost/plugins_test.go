//go:build linux

package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"time"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/records"
)

// The test binary, executed again by picket-launch, is a plugin that serves the following.
func init() {
	sdk.Register(sdk.Plugin{ID: "test/collector", Kind: sdk.KindCollector, Summary: "Does what its configuration says.",
		New: func() sdk.Instance { return &moody{} }})
	sdk.Register(sdk.Plugin{ID: "test/detector", Kind: sdk.KindDetector, Summary: "Finds every flow.",
		Subscription: sdk.Subscription{Flows: true},
		Rules:        []sdk.Rule{{ID: "any", Purpose: "Finds every flow.", Severity: sdk.SeverityInfo}},
		New:          func() sdk.Instance { return &finder{} }})
	sdk.Register(sdk.Plugin{ID: "test/notifier", Kind: sdk.KindNotifier, Summary: "Remembers nothing.",
		New: func() sdk.Instance { return &teller{} }})
	sdk.Register(sdk.Plugin{ID: "test/discovery", Kind: sdk.KindDiscovery, Summary: "Sees two devices, one out of scope, and who asks for names.",
		Subscription: sdk.Subscription{Flows: true, Facts: []string{sdk.FactsDNS, sdk.FactsTLS, "of tomorrow"}},
		New:          func() sdk.Instance { return &seer{} }})
}

// moody collects, or fails in the way that its mode names.
type moody struct {
	cfg struct {
		Mode   string `json:"mode" doc:"How to behave."`
		Target string `json:"target" doc:"An address."`
	}
	host   sdk.Host
	rounds atomic.Int64
}

func (m *moody) Config() any { return &m.cfg }

func (m *moody) Validate() error {
	if m.cfg.Mode == "invalid" {
		return errors.New("mode invalid is not a mood")
	}
	return nil
}

func (m *moody) Start(_ context.Context, h sdk.Host) error {
	m.host = h
	switch m.cfg.Mode {
	case "exit at start":
		println("cannot find my keys") // to descriptor 2, as a runtime would
		os.Exit(7)
	case "leak at start":
		return sdk.Errorf(sdk.InvalidConfig, "log in at https://x/?key=%s: refused", "hush-hush-hush")
	case "child":
		return exec.Command("/bin/sleep", "300").Start()
	case "talk":
		h.Log().Info("the password is hush-hush-hush")
		h.Log().Warn("careful", "count", 3)
	}
	return nil
}

func (m *moody) Stop(context.Context) error {
	if m.cfg.Mode == "panic at stop" {
		panic("I cannot let go")
	}
	return nil
}

func (m *moody) Health(context.Context) error {
	if m.cfg.Mode == "sick" {
		return errors.New("the sensor is unplugged")
	}
	if m.cfg.Mode == "leak" {
		return errors.New("the sensor refuses hush-hush-hush")
	}
	if m.cfg.Mode == "deaf" {
		select {}
	}
	return nil
}

func (m *moody) Collect(ctx context.Context, _ sdk.CollectRequest, sink sdk.SampleSink) error {
	switch m.cfg.Mode {
	case "panic":
		panic("I cannot go on")
	case "exit":
		os.Exit(3)
	case "hang":
		select {}
	case "slow":
		time.Sleep(2 * time.Second)
	case "leak":
		return &sdk.Error{Class: sdk.Downstream, RetryAfter: time.Minute, Err: errors.New("the sensor refuses hush-hush-hush")}
	case "downstream":
		return sdk.Errorf(sdk.Downstream, "the device refused")
	case "environment":
		return m.emit(sink, "env", float64(len(os.Environ())), map[string]string{"names": strings.Join(os.Environ(), " ")})
	case "state":
		old, err := m.host.State().Get("rounds")
		if err != nil {
			return err
		}
		if err := m.host.State().Put("rounds", append(old, 'x')); err != nil {
			return err
		}
		return m.emit(sink, "rounds", float64(len(old)+1), nil)
	}
	return m.emit(sink, "rounds", float64(m.rounds.Add(1)), nil)
}

func (m *moody) emit(sink sdk.SampleSink, metric string, v float64, labels map[string]string) error {
	return sink.Sample(sdk.Sample{Metric: metric, Type: sdk.Gauge, Value: v, Labels: labels, Time: time.Now()})
}

type finder struct{ flows int }

func (f *finder) Config() any { return nil }

func (f *finder) Inspect(_ context.Context, b sdk.Batch, sink sdk.FindingSink) error {
	for i := range b.Flows {
		f.flows++
		err := sink.Finding(sdk.Finding{Rule: "any", Severity: sdk.SeverityInfo, Summary: b.Capture,
			Flows: []sdk.FlowRef{b.Flows[i].Ref()}, Start: b.Flows[i].Start, End: b.Flows[i].End})
		if err != nil {
			return err
		}
	}
	return nil
}

func (f *finder) Flush(_ context.Context, sink sdk.FindingSink) error {
	return sink.Finding(sdk.Finding{Rule: "any", Severity: sdk.SeverityLow, Summary: fmt.Sprintf("%d flows", f.flows)})
}

type teller struct{}

func (*teller) Config() any { return nil }

func (*teller) Notify(_ context.Context, n sdk.Notice) (sdk.Receipt, error) {
	if n.Title == "refuse" {
		return sdk.Receipt{}, sdk.Errorf(sdk.Downstream, "mailbox full")
	}
	return sdk.Receipt{ForeignID: "told-" + n.ID}, nil
}

func (*teller) Undo(_ context.Context, r sdk.Receipt) error {
	if !r.Undoable {
		return sdk.Errorf(sdk.Unsupported, "%s cannot be undone", r.ForeignID)
	}
	return nil
}

func (*teller) Status(_ context.Context, r sdk.Receipt) (sdk.DeliveryStatus, error) {
	return sdk.DeliveryStatus{State: sdk.DeliveryClosed, Text: r.ForeignID + " is done"}, nil
}

type seer struct{}

func (*seer) Config() any { return nil }

func (*seer) Discover(_ context.Context, scope sdk.Scope, sink sdk.SightingSink) error {
	inside := scope.Prefixes[0].Addr().Next()
	if err := sink.Sighting(sdk.Sighting{Time: time.Now(), IP: inside, Confidence: 1}); err != nil {
		return err
	}
	outside := scope.Prefixes[0].Addr().Prev()
	return sink.Sighting(sdk.Sighting{Time: time.Now(), IP: outside, Confidence: 1})
}

func (*seer) Observe(_ context.Context, b sdk.Batch, sink sdk.SightingSink) error {
	for i := range b.DNS {
		if b.DNS[i].Query == "crash.example" {
			os.Exit(3)
		}
		err := sink.Sighting(sdk.Sighting{Time: b.DNS[i].Time, IP: b.DNS[i].Client, Capture: "not it", Packet: b.DNS[i].Packet, Confidence: 1})
		if err != nil {
			return err
		}
	}
	return nil
}

func (*seer) EndCapture(_ context.Context, sink sdk.SightingSink) error {
	return sink.Sighting(sdk.Sighting{Time: time.Unix(1, 0), MAC: "00:11:22:33:44:55", Confidence: 1})
}

// flowFrame is one frame with n flows.
func flowFrame(n int) []byte {
	flows := make([]sdk.Flow, n)
	for i := range flows {
		flows[i].ID = uint64(i + 1)
		flows[i].Start = time.Unix(int64(i), 0).UTC()
		flows[i].End = flows[i].Start.Add(time.Second)
	}
	return records.AppendFlows(nil, flows)
}
