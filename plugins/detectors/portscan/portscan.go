// Package portscan finds hosts that look for open ports or live hosts.
//
// In go flows, out come findings of four rules: vertical (many ports of a host), horizontal (one port of many hosts), udp
// (either shape over UDP) and icmp-sweep. It decides by answers, not by counts: a client knows where its services are, so
// nearly all of its first contacts succeed; a scanner guesses, so nearly all of its fail. README.md has the reasoning and
// where each threshold comes from.
//
// The reading path: contact.go says what one flow tells about one target; source.go remembers that for each source within
// bounds; judge.go decides.
package portscan

import (
	"context"
	"errors"
	"time"

	"github.com/picketwatch/picket/plugins/detectors/internal/bare"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/config"
)

// The rules, as findings name them.
const (
	RuleVertical   = "vertical"
	RuleHorizontal = "horizontal"
	RuleUDP        = "udp"
	RuleICMPSweep  = "icmp-sweep"
)

func init() {
	sdk.Register(Plugin())
}

// Plugin declares the detector.
func Plugin() sdk.Plugin {
	scanners := "Vulnerability scanners, inventory tools and monitoring that probe on purpose."
	return sdk.Plugin{
		ID:      "picket/portscan",
		Kind:    sdk.KindDetector,
		Summary: "Finds hosts that probe many ports of a host, or one port of many hosts.",
		Rules: []sdk.Rule{
			{ID: RuleVertical, Purpose: "One host tried many TCP ports of another, and nearly all were closed or silent.",
				Techniques: []string{"T1046"}, Severity: sdk.SeverityMedium,
				FalsePositives: []string{scanners, "A client that keeps trying every service of a host that is down."}},
			{ID: RuleHorizontal, Purpose: "One host tried the same TCP port on many hosts, and nearly all were closed or silent.",
				Techniques: []string{"T1046", "T1018"}, Severity: sdk.SeverityMedium,
				FalsePositives: []string{scanners, "Peer-to-peer clients whose peers share one port.", "A client behind a firewall that drops a port."}},
			{ID: RuleUDP, Purpose: "One host sent UDP probes to many ports of a host or to one port of many hosts, without answers.",
				Techniques: []string{"T1046"}, Severity: sdk.SeverityMedium,
				FalsePositives: []string{scanners, "One-way telemetry to many receivers."}},
			{ID: RuleICMPSweep, Purpose: "One host pinged many addresses, some of which nobody has.",
				Techniques: []string{"T1018", "T1046"}, Severity: sdk.SeverityLow,
				FalsePositives: []string{scanners, "Address management that pings whole ranges."}},
		},
		Subscription: sdk.Subscription{Flows: true},
		Borrows:      true,
		New:          func() sdk.Instance { return &Detector{} },
	}
}

// Config is the operator's configuration.
type Config struct {
	VerticalPorts   int             `json:"vertical_ports" default:"8" min:"3" max:"65535" doc:"How many more TCP ports of a host must fail than succeed."`
	HorizontalHosts int             `json:"horizontal_hosts" default:"5" min:"3" max:"65535" doc:"How many more hosts must fail than succeed on a TCP port."`
	UDPTargets      int             `json:"udp_targets" default:"16" min:"4" max:"65535" doc:"How many more UDP ports of a host, or hosts on a UDP port, must stay silent than answer."`
	SweepHosts      int             `json:"sweep_hosts" default:"10" min:"4" max:"65535" doc:"How many addresses must be pinged."`
	SweepSilent     float64         `json:"sweep_silent" default:"0.2" min:"0" max:"1" doc:"Which share of the pinged addresses must not answer."`
	Window          config.Duration `json:"window" default:"6h" min:"1m" max:"168h" doc:"How long contacts of a source count together, by the time in the flows."`
	Ignore          []string        `json:"ignore" format:"cidr" doc:"Sources that may scan, for example the vulnerability scanner."`
	MaxSources      int             `json:"max_sources" default:"16384" min:"16" max:"1000000" doc:"How many sources are remembered; the one quiet for longest is judged and forgotten first."`
	MaxTargets      int             `json:"max_targets" default:"4096" min:"64" max:"70000" doc:"How many targets are remembered for one source."`
	MaxContacts     int             `json:"max_contacts" default:"100000" min:"1024" max:"10000000" doc:"How many targets are remembered in all."`
}

// Detector is one instance. Calls come one at a time.
type Detector struct {
	cfg     Config
	host    sdk.Host
	ignore  prefixes
	sources sources
	groups  groups // room for judging
	clock   int64  // the latest end of a flow
	swept   int64  // clock of the last look at quiet sources
}

// Config returns where the configuration goes.
func (d *Detector) Config() any { return &d.cfg }

// Validate checks what the tags cannot say.
func (d *Detector) Validate() error {
	if d.cfg.MaxTargets > d.cfg.MaxContacts {
		return errors.New("max_targets must not be larger than max_contacts")
	}
	return nil
}

// Start prepares an empty state.
func (d *Detector) Start(_ context.Context, host sdk.Host) error {
	d.host = host
	var err error
	if d.ignore, err = parsePrefixes(d.cfg.Ignore); err != nil {
		return sdk.Errorf(sdk.InvalidConfig, "ignore: %w", err)
	}
	d.reset()
	return nil
}

func (d *Detector) reset() {
	d.sources = newSources(d.cfg.MaxSources, d.cfg.MaxTargets, d.cfg.MaxContacts)
	d.groups = groups{}
	d.clock, d.swept = 0, 0
}

// When running windows are looked at, in flow time: now and then; a source when it has found nothing closed for a minute
// (its scan is over and can be told as one), or when its scan goes on for long.
const (
	sweepEvery = int64(30 * time.Second)
	calmAfter  = int64(time.Minute)
	longAfter  = int64(10 * time.Minute)
)

// Inspect takes flows one by one, so where a batch ends makes no difference.
func (d *Detector) Inspect(ctx context.Context, batch sdk.Batch, sink sdk.FindingSink) error {
	for i := range batch.Flows {
		f := &batch.Flows[i]
		d.clock = max(d.clock, f.End.UnixNano())
		if err := d.sweep(sink); err != nil {
			return err
		}
		if err := d.observe(f, sink); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// observe adds what the flow tells about its target to the memory of its source. A source that must go to make room is judged
// before: memory that is too small costs time, not detections.
func (d *Detector) observe(f *sdk.Flow, sink sdk.FindingSink) error {
	if from, to, ok := unreachable(f); ok {
		d.sources.refused(to, from, f.FwdPackets)
		return nil
	}
	var c contact
	if !c.read(f) || d.ignore.contain(f.Src) {
		return nil
	}
	addr := bare.Of(f.Src)
	s := d.sources.find(addr)
	for old := d.sources.crowded(s); old != nil; old = d.sources.crowded(s) {
		if err := d.judge(old, true, sink); err != nil {
			return err
		}
		d.sources.forget(old)
		if old == s {
			s = nil
		}
	}
	if s == nil {
		s = d.sources.appear(addr, f, d.clock)
	}
	d.sources.add(s, &c, f, d.clock)
	if s.failures() >= s.next() && d.mayBeClear(s) {
		return d.judge(s, false, sink)
	}
	return nil
}

// sweep judges sources now and then, so that a live capture reports before it ends: a finished window completely, and a
// running one only when the case is clear, because the contacts that succeeded may still be open and unreported.
func (d *Detector) sweep(sink sdk.FindingSink) error {
	if d.clock-d.swept < sweepEvery {
		return nil
	}
	d.swept = d.clock
	over := func(s *source) bool { return d.clock-s.first > int64(d.cfg.Window) }
	due := func(s *source) bool {
		return over(s) || s.failures() != s.judged && (d.clock-s.failedAt >= calmAfter || d.clock-s.judgedAt >= longAfter)
	}
	for _, s := range d.sources.ordered(due) {
		over := over(s)
		if err := d.judge(s, over, sink); err != nil {
			return err
		}
		if over {
			d.sources.remove(s)
		}
	}
	return nil
}

// Flush judges everything and forgets it.
func (d *Detector) Flush(_ context.Context, sink sdk.FindingSink) error {
	fewest := d.fewest()
	for _, s := range d.sources.ordered(func(s *source) bool { return s.failures() >= fewest }) {
		if err := d.judge(s, true, sink); err != nil {
			return err
		}
	}
	if n := d.sources.forgotten; n > 0 && d.host != nil {
		d.host.Log().Warn("the memory was too small for this traffic; raise max_sources, max_targets or max_contacts", "forgotten", n)
	}
	d.reset()
	return nil
}
