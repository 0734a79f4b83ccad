// Package anomaly finds what is unusual: pings and DNS questions of a shape that tunnels have, flows of a host that are unlike its
// others, and hours in which a host does far more than usual.
//
// In go flows, out come findings of three rules. "unusual" rests on a model, model.json, grown by the program in the folder train
// from captures that we made ourselves; its card says what it is good for. "unlike-before" and "busier" compare with what is usual
// for a host and for its network, which they learn and which drifts. The reading path: features.go turns a flow into numbers,
// forest.go judges them, anomaly.go reports; baseline.go learns the shape of flows, activity.go what hosts do in an hour, report.go
// puts both into words.
package anomaly

import (
	"context"
	_ "embed"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/picketwatch/picket/plugins/detectors/internal/issue"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/config"
)

// The rules.
const (
	RuleUnusual = "unusual"
	RuleUnlike  = "unlike-before"
	RuleBusier  = "busier"
)

//go:embed model.json
var modelFile []byte

var builtIn = sync.OnceValues(func() (*Model, error) { return ParseModel(modelFile) })

func init() { sdk.Register(Plugin()) }

// Plugin declares the detector.
func Plugin() sdk.Plugin {
	return sdk.Plugin{
		ID:      "picket/anomaly",
		Kind:    sdk.KindDetector,
		Summary: "Finds pings and DNS questions of unusual shape, flows unlike a host's others, and hours unlike its others.",
		Rules: []sdk.Rule{{
			ID:       RuleUnusual,
			Purpose:  "Flows of ICMP or DNS have a shape that ordinary ones do not have.",
			Severity: sdk.SeverityLow,
			FalsePositives: []string{
				"A test of the largest packet size by ping.",
				"Software that asks very long names, for example some mail filters and virus scanners.",
			},
		}, {
			ID:             RuleUnlike,
			Purpose:        "Flows of a host with one service are unlike others of the host and of its network, and began after the host was learned.",
			Severity:       sdk.SeverityLow,
			FalsePositives: []string{"A new program, or a new use of an old one."},
		}, {
			ID:             RuleBusier,
			Purpose:        "A host does far more within an hour than it does usually, and than its network does.",
			Severity:       sdk.SeverityLow,
			FalsePositives: []string{"A migration, an inventory, a first backup."},
		}},
		Subscription: sdk.Subscription{Flows: true},
		Borrows:      true,
		New:          func() sdk.Instance { return &Detector{} },
	}
}

// Config is the operator's configuration.
type Config struct {
	Margin   float64         `json:"margin" default:"0" min:"0" max:"0.3" doc:"How far above the model's threshold a score must be; more is quieter."`
	MinFlows int             `json:"min_flows" default:"1" min:"1" max:"1000" doc:"From how many unusual flows between two hosts they are reported."`
	MaxPairs int             `json:"max_pairs" default:"1024" min:"16" max:"100000" doc:"How many pairs of hosts with unusual flows are remembered; further ones are counted and left out."`
	Internal []string        `json:"internal" format:"cidr" default:"10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,100.64.0.0/10,169.254.0.0/16,fc00::/7,fe80::/10" doc:"Own networks, of whose hosts it is learned what is usual."`
	Ignore   []string        `json:"ignore" format:"cidr" doc:"Hosts of which that is not learned, for example a scanner of one's own."`
	Learn    config.Duration `json:"learn" default:"72h" min:"1h" max:"8760h" doc:"For how long, by the time in the flows, a host is only learned."`
	HalfLife config.Duration `json:"half_life" default:"168h" min:"1h" max:"8760h" doc:"After which time what a host did counts half."`
	MaxHosts int             `json:"max_hosts" default:"2048" min:"16" max:"100000" doc:"How many hosts are learned; the one quiet for longest is forgotten first."`
}

// Detector is one instance. Calls come one at a time.
type Detector struct {
	cfg              Config
	host             sdk.Host
	model            *Model
	internal, ignore []netip.Prefix
	memory
	baselines
}

// memory is what Flush forgets and Snapshot keeps.
type memory struct {
	Pairs []*pair `json:"pairs"` // in order of appearance
	Left  uint64  `json:"left"`  // pairs that did not fit
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
	d.memory, d.baselines = memory{}, newBaselines(d.cfg.MaxHosts)
	d.internal, d.ignore = nil, nil
	for _, list := range []struct {
		texts []string
		into  *[]netip.Prefix
	}{{d.cfg.Internal, &d.internal}, {d.cfg.Ignore, &d.ignore}} {
		for _, text := range list.texts {
			p, err := netip.ParsePrefix(text)
			if err != nil {
				return sdk.Errorf(sdk.InvalidConfig, "a network: %q: %w", text, err)
			}
			*list.into = append(*list.into, p.Masked())
		}
	}
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
		if err := d.learn(f, sink); err != nil {
			return err
		}
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
		ref := f.Ref()
		ref.CommunityID = strings.Clone(ref.CommunityID)
		p.Flows = append(p.Flows, ref)
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
	if err := d.matters.Flush(func(i *issue.Issue) error { return sink.Finding(d.matter(i)) }); err != nil {
		return err
	}
	if n := d.hosts.Forgotten + d.matters.Forgotten; n > 0 && d.host != nil {
		d.host.Log().Warn("the memory was too small for this traffic; raise max_hosts", "forgotten", n)
	}
	d.memory, d.baselines = memory{}, newBaselines(d.cfg.MaxHosts)
	return nil
}
