// Package anomaly finds flows whose shape is unusual for what they claim to be: pings and DNS questions that carry more
// than pings and questions do, as tunnels make them.
//
// It is the proof of the contract for a detector that rests on a model. In go flows, out come findings of one rule. The
// model is model.json, grown by the program in the folder train from captures that we made ourselves; its card says what
// it is good for. The reading path: features.go turns a flow into numbers, forest.go judges them, anomaly.go reports.
package anomaly

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/picketwatch/picket/sdk"
)

// RuleUnusual is the only rule.
const RuleUnusual = "unusual"

//go:embed model.json
var modelFile []byte

var builtIn = sync.OnceValues(func() (*Model, error) { return ParseModel(modelFile) })

func init() { sdk.Register(Plugin()) }

// Plugin declares the detector.
func Plugin() sdk.Plugin {
	return sdk.Plugin{
		ID:      "picket/anomaly",
		Kind:    sdk.KindDetector,
		Summary: "Finds pings and DNS questions of unusual shape, as tunnels make them, with a model.",
		Rules: []sdk.Rule{{
			ID:       RuleUnusual,
			Purpose:  "Flows of ICMP or DNS have a shape that ordinary ones do not have.",
			Severity: sdk.SeverityLow,
			FalsePositives: []string{
				"A test of the largest packet size by ping.",
				"Software that asks very long names, for example some mail filters and virus scanners.",
			},
		}},
		Subscription: sdk.Subscription{Flows: true},
		New:          func() sdk.Instance { return &Detector{} },
	}
}

// Config is the operator's configuration.
type Config struct {
	Margin   float64 `json:"margin" default:"0" min:"0" max:"0.3" doc:"How far above the model's threshold a score must be; more is quieter."`
	MinFlows int     `json:"min_flows" default:"1" min:"1" max:"1000" doc:"From how many unusual flows between two hosts they are reported."`
	MaxPairs int     `json:"max_pairs" default:"1024" min:"16" max:"100000" doc:"How many pairs of hosts with unusual flows are remembered; further ones are counted and left out."`
}

// Detector is one instance. Calls come one at a time.
type Detector struct {
	cfg   Config
	host  sdk.Host
	model *Model
	memory
}

// memory is what Flush forgets and Snapshot keeps.
type memory struct {
	Version int     `json:"version"`
	Pairs   []*pair `json:"pairs"` // in order of appearance
	Left    uint64  `json:"left"`  // pairs that did not fit
}

// pair is two hosts with unusual flows of one class.
type pair struct {
	Src, Dst, Class string
	Start, End      time.Time
	Count           int
	Reported        int
	Score           float64 // the highest
	Features        [numFeatures]float64
	Packets         []uint64
	Flows           []sdk.FlowRef
}

// snapshotVersion changes when the meaning of what is kept does; another version is refused.
const snapshotVersion = 1

// Bounds of the evidence of one finding.
const (
	maxPackets = 32
	maxFlows   = 16
)

// Config returns where the configuration goes.
func (d *Detector) Config() any { return &d.cfg }

// Start reads the model.
func (d *Detector) Start(_ context.Context, host sdk.Host) error {
	d.host = host
	d.memory = memory{Version: snapshotVersion}
	var err error
	if d.model, err = builtIn(); err != nil {
		return sdk.Errorf(sdk.Internal, "%w", err)
	}
	return nil
}

// Inspect judges flows one by one, so where a batch ends makes no difference.
func (d *Detector) Inspect(ctx context.Context, batch sdk.Batch, sink sdk.FindingSink) error {
	for i := range batch.Flows {
		f := &batch.Flows[i]
		class := Class(f)
		forest, judged := d.model.Classes[class]
		if !judged {
			continue
		}
		x := Features(f)
		score := round(forest.Score(&x, d.model.Depth), 6)
		if score < forest.Threshold+d.cfg.Margin {
			continue
		}
		if p := d.pair(f, class); p != nil {
			p.add(f, score, x)
			if err := d.report(p, 2*p.Reported, sink); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

func (d *Detector) pair(f *sdk.Flow, class string) *pair {
	src, dst := f.Src.String(), f.Dst.String()
	i := slices.IndexFunc(d.Pairs, func(p *pair) bool { return p.Src == src && p.Dst == dst && p.Class == class })
	if i >= 0 {
		return d.Pairs[i]
	}
	if len(d.Pairs) >= d.cfg.MaxPairs {
		d.Left++
		return nil
	}
	p := &pair{Src: src, Dst: dst, Class: class, Start: f.Start.UTC(), End: f.End.UTC()}
	d.Pairs = append(d.Pairs, p)
	return p
}

func (p *pair) add(f *sdk.Flow, score float64, x [numFeatures]float64) {
	p.Count++
	if score > p.Score {
		p.Score, p.Features = score, x
	}
	if f.End.After(p.End) {
		p.End = f.End.UTC()
	}
	for _, n := range f.Packets {
		if len(p.Packets) < maxPackets {
			p.Packets = append(p.Packets, n)
		}
	}
	if len(p.Flows) < maxFlows {
		p.Flows = append(p.Flows, f.Ref())
	}
}

// report tells of a pair when it has enough flows. Later findings of a pair have the id of the first.
func (d *Detector) report(p *pair, enough int, sink sdk.FindingSink) error {
	if p.Count < max(enough, d.cfg.MinFlows) {
		return nil
	}
	p.Reported = p.Count
	return sink.Finding(p.finding(d.model))
}

func (p *pair) finding(m *Model) sdk.Finding {
	out := sdk.Finding{
		Detector: "picket/anomaly", Rule: RuleUnusual, Severity: sdk.SeverityLow,
		Risk: int(round(100*p.Score/2, 0)), Confidence: round(p.Score/2, 2), Techniques: []string{},
		Src: p.Src, Dst: p.Dst, Start: p.Start, End: p.End, Packets: slices.Clone(p.Packets), Flows: slices.Clone(p.Flows),
		Features: map[string]float64{"score": p.Score, "threshold": m.Classes[p.Class].Threshold, "flows": float64(p.Count)},
	}
	for i, name := range FeatureNames {
		out.Features[name] = p.Features[i]
	}
	out.Summary = fmt.Sprintf("%s and %s exchanged %d %s flows of unusual shape (score %.2f, ordinary is below %.2f); the model %s %s says so",
		p.Src, p.Dst, p.Count, p.Class, p.Score, m.Classes[p.Class].Threshold, m.Card.Name, m.Card.Version)
	return out
}

// Flush reports what has grown since it was reported, and forgets everything.
func (d *Detector) Flush(_ context.Context, sink sdk.FindingSink) error {
	for _, p := range d.Pairs {
		if err := d.report(p, p.Reported+1, sink); err != nil {
			return err
		}
	}
	if d.Left > 0 && d.host != nil {
		d.host.Log().Warn("more pairs of hosts than max_pairs had unusual flows", "flows_left_out", d.Left)
	}
	d.memory = memory{Version: snapshotVersion}
	return nil
}

// Snapshot writes down everything that the next findings depend on.
func (d *Detector) Snapshot(context.Context) ([]byte, error) { return json.Marshal(d.memory) }

// Restore takes what Snapshot wrote.
func (d *Detector) Restore(_ context.Context, state []byte) error {
	var in memory
	if err := json.Unmarshal(state, &in); err != nil {
		return fmt.Errorf("read snapshot: %w", err)
	}
	if in.Version != snapshotVersion {
		return fmt.Errorf("read snapshot: version %d, expected %d", in.Version, snapshotVersion)
	}
	if slices.Contains(in.Pairs, nil) {
		return fmt.Errorf("read snapshot: an empty pair")
	}
	d.memory = in
	return nil
}
