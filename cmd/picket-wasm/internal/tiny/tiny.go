// Package tiny is a small plugin for the tests of this command: a detector that does what its configuration says, as a
// process or as a guest.
package tiny

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"time"

	"github.com/picketwatch/picket/sdk"
)

// Plugin declares the detector.
func Plugin() sdk.Plugin {
	return sdk.Plugin{
		ID: "test/tiny", Kind: sdk.KindDetector, Summary: "Counts destinations.", Subscription: sdk.Subscription{Flows: true},
		Rules: []sdk.Rule{{ID: "many", Purpose: "A source asks many destinations.", Severity: sdk.SeverityMedium, Techniques: []string{"T1046"}}},
		New:   func() sdk.Instance { return &detector{} },
	}
}

type detector struct {
	cfg struct {
		Limit int    `json:"limit" default:"5" min:"1" doc:"Destinations before a finding."`
		Mode  string `json:"mode" default:"count" enum:"count,score,panic,loop,hog,dial,log,secret,null" doc:"What to do."`
		Token string `json:"token" secret:"true"`
	}
	host sdk.Host
	seen map[string]map[string]int
	hog  [][]byte
}

func (d *detector) Config() any { return &d.cfg }

func (d *detector) Start(_ context.Context, host sdk.Host) error {
	d.host = host
	return nil
}

func (d *detector) Inspect(ctx context.Context, b sdk.Batch, sink sdk.FindingSink) error {
	switch d.cfg.Mode {
	case "score":
		return score(b, sink)
	case "panic":
		panic("the guest broke")
	case "loop":
		for i := 0; ; i++ {
			if i < 0 {
				return nil
			}
		}
	case "hog":
		for {
			d.hog = append(d.hog, make([]byte, 1<<20))
		}
	case "null":
		var p *sdk.Flow
		return fmt.Errorf("port %d", p.DstPort)
	case "dial":
		_, err := d.host.Dial(ctx, "tcp", "127.0.0.1:80")
		return err
	case "secret":
		v, err := d.host.Secret("token")
		if err != nil {
			return err
		}
		return sdk.Errorf(sdk.Downstream, "the secret is %s and %s", v, d.cfg.Token)
	case "log":
		d.host.Log().Warn("from the guest", "flows", len(b.Flows), "clock", d.host.Now().Year() >= 2024 && time.Now().Year() >= 2024)
		return nil
	}
	return d.count(b, sink)
}

func (d *detector) count(b sdk.Batch, sink sdk.FindingSink) error {
	if d.seen == nil {
		d.seen = map[string]map[string]int{}
	}
	for i := range b.Flows {
		f := &b.Flows[i]
		src, dst := f.Src.String(), netip.AddrPortFrom(f.Dst, f.DstPort).String()
		if d.seen[src] == nil {
			d.seen[src] = map[string]int{}
		}
		d.seen[src][dst]++
		if len(d.seen[src]) != d.cfg.Limit || d.seen[src][dst] != 1 {
			continue
		}
		err := sink.Finding(sdk.Finding{
			Rule: "many", Severity: sdk.SeverityMedium, Risk: 40, Confidence: 0.75, Techniques: []string{"T1046"},
			Src: src, Dst: dst, Start: f.Start, End: f.End, Packets: append([]uint64{}, f.Packets...), Flows: []sdk.FlowRef{f.Ref()},
			Features: map[string]float64{"mean_len": f.FwdLenMean / 3, "seconds": f.Duration().Seconds()}, Summary: src + " in " + b.Capture,
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// score is the work of a light detector, for the benchmarks: some sums and thresholds for each flow, hardly a finding.
func score(b sdk.Batch, sink sdk.FindingSink) error {
	for i := range b.Flows {
		f := &b.Flows[i]
		risk := 0
		for _, v := range [...]float64{f.FwdLenMean, f.RevLenMean, f.IATMean, f.IATStd, f.SynCount - f.AckCount, f.HandshakeRTT, f.RstCount} {
			if v*v > 1e9 {
				risk++
			}
		}
		if float64(f.RevPayload) > 1e6*float64(f.FwdPayload+1) {
			risk++
		}
		if risk < 3 {
			continue
		}
		if err := sink.Finding(sdk.Finding{Rule: "many", Severity: sdk.SeverityLow, Risk: risk, Start: f.Start, End: f.End}); err != nil {
			return err
		}
	}
	return nil
}

func (d *detector) Flush(context.Context, sdk.FindingSink) error {
	d.seen = nil
	return nil
}

func (d *detector) Snapshot(context.Context) ([]byte, error) { return json.Marshal(d.seen) }
func (d *detector) Restore(_ context.Context, state []byte) error {
	return json.Unmarshal(state, &d.seen)
}
