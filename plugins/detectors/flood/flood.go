// Package flood finds floods: much more is begun at a service, or sent to a host or a network, than is finished or answered.
//
// In go flows, out come findings of four rules: "syn", connections to a service that stay half open; "packets", packets to a host that
// nobody asked for; "starved", connections to a service that keep it waiting; "strangers", packets from and to addresses by chance.
// README.md has the reasoning and the arithmetic.
//
// The reading path: read.go says what a flow is; target.go counts by service and host, strangers.go over all; judge.go decides;
// report.go puts it into words.
package flood

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/picketwatch/picket/plugins/detectors/internal/recent"
	"github.com/picketwatch/picket/sdk"
)

// The rules.
const (
	RuleSYN       = "syn"
	RulePackets   = "packets"
	RuleStarved   = "starved"
	RuleStrangers = "strangers"
)

func init() { sdk.Register(Plugin()) }

// Plugin declares the detector.
func Plugin() sdk.Plugin {
	return sdk.Plugin{
		ID:      "picket/flood",
		Kind:    sdk.KindDetector,
		Summary: "Finds floods that keep a service, a host or a network from working.",
		Rules: []sdk.Rule{
			{
				ID:             RuleSYN,
				Purpose:        "Many connections to a service were begun and never completed.",
				Techniques:     []string{"T1499.001", "T1498.001"},
				Severity:       sdk.SeverityHigh,
				FalsePositives: []string{"A capture that does not show what the clients of a busy service send."},
			},
			{
				ID:             RulePackets,
				Purpose:        "A host was sent many packets that it did not ask for and does not answer, or very many pings.",
				Techniques:     []string{"T1498.001"},
				Severity:       sdk.SeverityHigh,
				FalsePositives: []string{"A collector of logs or measurements that is off while many hosts send to it."},
			},
			{
				ID:             RuleStarved,
				Purpose:        "Many connections to a service began a request and kept it waiting for the rest.",
				Techniques:     []string{"T1499.002"},
				Severity:       sdk.SeverityHigh,
				FalsePositives: []string{"A service that hangs, so that no client gets an answer."},
			},
			{
				ID:             RuleStrangers,
				Purpose:        "Many single packets passed in a moment from and to addresses that have nothing in common.",
				Techniques:     []string{"T1498.001"},
				Severity:       sdk.SeverityHigh,
				FalsePositives: []string{"A sensor in a backbone that sees one direction only."},
			},
		},
		Subscription: sdk.Subscription{Flows: true},
		Borrows:      true,
		New:          func() sdk.Instance { return &Detector{} },
	}
}

// Config is the operator's configuration.
type Config struct {
	HalfOpen   int      `json:"half_open" default:"200" min:"20" max:"10000000" doc:"How many connections to a service must stay half open within ten seconds."`
	Packets    int      `json:"packets" default:"5000" min:"100" max:"100000000" doc:"How many packets that nobody asked for must go to a host within ten seconds; from many sources, and of pings, a fifth of them."`
	Starved    int      `json:"starved" default:"100" min:"20" max:"1000000" doc:"How many connections must keep a service waiting for the rest of a request, of those that began within ten seconds."`
	Strangers  int      `json:"strangers" default:"64" min:"32" max:"1000000" doc:"How many packets must pass within a second from and to addresses that have nothing in common."`
	Ignore     []string `json:"ignore" format:"cidr" doc:"Hosts that may be flooded, for example those of load tests."`
	MaxTargets int      `json:"max_targets" default:"4096" min:"64" max:"100000" doc:"How many services and hosts are remembered; the one quiet for longest is forgotten first."`
}

// Detector is one instance. Calls come one at a time.
type Detector struct {
	cfg    Config
	host   sdk.Host
	ignore []netip.Prefix
	memory
}

// memory is what Flush forgets and Snapshot keeps.
type memory struct {
	targets   recent.Table[key, *target]
	strangers strangers
}

// Config returns where the configuration goes.
func (d *Detector) Config() any { return &d.cfg }

// Start prepares an empty state.
func (d *Detector) Start(_ context.Context, host sdk.Host) error {
	d.host, d.ignore = host, nil
	for _, text := range d.cfg.Ignore {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return sdk.Errorf(sdk.InvalidConfig, "ignore: %w", fmt.Errorf("%q: %w", text, err))
		}
		d.ignore = append(d.ignore, p.Masked())
	}
	d.memory = newMemory(d.cfg.MaxTargets)
	return nil
}

func newMemory(limit int) memory { return memory{targets: recent.New[key, *target](limit)} }

// Inspect takes flows one by one, so where a batch ends makes no difference.
func (d *Detector) Inspect(ctx context.Context, batch sdk.Batch, sink sdk.FindingSink) error {
	for i := range batch.Flows {
		if err := d.flow(&batch.Flows[i], sink); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// Flush tells the last word on each flood and forgets everything.
func (d *Detector) Flush(_ context.Context, sink sdk.FindingSink) error {
	for t := range d.targets.All() {
		if err := d.lastWord(t, sink); err != nil {
			return err
		}
	}
	if err := d.judgeStrangers(true, sink); err != nil {
		return err
	}
	if n := d.targets.Forgotten; n > 0 && d.host != nil {
		d.host.Log().Warn("the memory was too small for this traffic; raise max_targets", "forgotten", n)
	}
	d.memory = newMemory(d.cfg.MaxTargets)
	return nil
}

func (d *Detector) ignored(a netip.Addr) bool {
	for _, p := range d.ignore {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
