// Package tunnel finds data that is carried in protocols which are let through because they carry none: DNS and ping.
//
// In go DNS messages and ICMP packets, out come findings of two rules: "dns", a client and a domain exchange more information
// in names and answers than names and answers need, and "icmp", two hosts ping each other with contents that keep changing.
// README.md has the reasoning, the arithmetic, and what keeps lookups by hash, blocklists and content networks quiet.
//
// The reading path: name.go takes names apart; channel.go remembers a client and a domain;
// judge.go weighs them; echo.go does the same for pings; report.go puts it into words.
package tunnel

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"github.com/picketwatch/picket/plugins/detectors/internal/recent"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/config"
)

// The rules.
const (
	RuleDNS  = "dns"
	RuleICMP = "icmp"
)

func init() { sdk.Register(Plugin()) }

// Plugin declares the detector.
func Plugin() sdk.Plugin {
	return sdk.Plugin{
		ID:      "picket/tunnel",
		Kind:    sdk.KindDetector,
		Summary: "Finds data that is carried in DNS names and answers, or in pings.",
		Rules: []sdk.Rule{
			{
				ID:         RuleDNS,
				Purpose:    "A client and a domain exchanged more information in names and answers than looking up names needs.",
				Techniques: []string{"T1071.004", "T1048.003", "T1572"},
				Severity:   sdk.SeverityHigh,
				FalsePositives: []string{
					"Services that are asked by hash, such as virus scanners and blocklists, when they are not in the list of lookups.",
					"A resolver through which many people use the same service with a random name for each visit.",
				},
			},
			{
				ID:             RuleICMP,
				Purpose:        "Two hosts exchanged pings whose contents kept changing, or whose answers did not repeat the question.",
				Techniques:     []string{"T1095", "T1572"},
				Severity:       sdk.SeverityHigh,
				FalsePositives: []string{"A monitoring program that fills its pings with random bytes."},
			},
		},
		Subscription: sdk.Subscription{
			Facts:   []string{sdk.FactsDNS},
			Packets: &sdk.PacketSubscription{Layers: []string{"icmp"}, SnapLen: 128},
		},
		Borrows: true,
		New:     func() sdk.Instance { return &Detector{} },
	}
}

// Config is the operator's configuration.
type Config struct {
	Information int             `json:"information" default:"3072" min:"256" max:"10000000" doc:"How much a client and a domain exchange beyond the ordinary, in characters and bytes, until it is a tunnel."`
	Window      config.Duration `json:"window" default:"6h" min:"1m" max:"168h" doc:"How long what they exchange counts together, by the time in the packets."`
	Lookups     []string        `json:"lookups" default:"avqs.mcafee.com,avts.mcafee.com,e5.sk,sophosxl.net,spamhaus.org,spamhaus.net,surbl.org,uribl.com,spamcop.net,barracudacentral.org,mailspike.net,senderscore.com,dnswl.org,msbl.org,cymru.com,safeframe.googlesyndication.com,fastly-insights.com,akstat.io,cedexis-radar.net" doc:"Domains whose names carry data by design: virus scanners, blocklists, measurements."`
	Ignore      []string        `json:"ignore" format:"cidr" doc:"Clients and servers that may carry data in names and pings, for example the mail gateway."`
	MaxDomains  int             `json:"max_domains" default:"8192" min:"64" max:"1000000" doc:"How many pairs of client and domain, and of hosts that ping each other, are remembered; the one quiet for longest is judged and forgotten first."`
}

// Detector is one instance. Calls come one at a time.
type Detector struct {
	cfg    Config
	host   sdk.Host
	ignore []netip.Prefix
	names  splitter
	memory
}

// memory is what Flush forgets and Snapshot keeps.
type memory struct {
	clock    int64 // the latest time seen
	channels recent.Table[channelKey, *channel]
	echoes   recent.Table[echoKey, *echoes]
}

// Config returns where the configuration goes.
func (d *Detector) Config() any { return &d.cfg }

// Start prepares an empty state.
func (d *Detector) Start(_ context.Context, host sdk.Host) error {
	d.host, d.ignore, d.names.lookups = host, nil, map[string]bool{}
	for _, text := range d.cfg.Ignore {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return sdk.Errorf(sdk.InvalidConfig, "ignore: %w", fmt.Errorf("%q: %w", text, err))
		}
		d.ignore = append(d.ignore, p.Masked())
	}
	for _, domain := range d.cfg.Lookups {
		d.names.lookups[strings.ToLower(strings.Trim(domain, "."))] = true
	}
	d.reset()
	return nil
}

func (d *Detector) reset() { d.memory = newMemory(d.cfg.MaxDomains) }

func newMemory(limit int) memory {
	return memory{channels: recent.New[channelKey, *channel](limit), echoes: recent.New[echoKey, *echoes](limit)}
}

// Inspect takes records one by one, so where a batch ends makes no difference.
func (d *Detector) Inspect(ctx context.Context, batch sdk.Batch, sink sdk.FindingSink) error {
	for i := range batch.DNS {
		if err := d.message(&batch.DNS[i], sink); err != nil {
			return err
		}
	}
	for i := range batch.Packets {
		if err := d.packet(&batch.Packets[i], sink); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// Flush judges everything and forgets it.
func (d *Detector) Flush(_ context.Context, sink sdk.FindingSink) error {
	for c := range d.channels.All() {
		if err := d.judge(c, true, sink); err != nil {
			return err
		}
	}
	for e := range d.echoes.All() {
		if err := d.judgeEchoes(e, true, sink); err != nil {
			return err
		}
	}
	if n := d.channels.Forgotten + d.echoes.Forgotten; n > 0 && d.host != nil {
		d.host.Log().Warn("the memory was too small for this traffic; raise max_domains", "forgotten", n)
	}
	d.reset()
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
