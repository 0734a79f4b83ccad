// Package botnet finds hosts that take part in a botnet.
//
// In go flows and exchanges of HTTP, out come findings of six rules: "chat-channel", a host takes orders over IRC; "heartbeat", a
// program keeps telling a server that it is there; "mining", it computes for
// somebody; "peers", it has the same short exchange with many hosts outside; "spread", it attacks many hosts in one way;
// "http-command", a program asks for orders by HTTP. README.md has the reasoning and the arithmetic.
//
// The reading path: flows.go judges flows, http.go exchanges, report.go puts it into words.
package botnet

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/picketwatch/picket/plugins/detectors/internal/bare"
	"github.com/picketwatch/picket/plugins/detectors/internal/recent"
	"github.com/picketwatch/picket/sdk"
)

// The rules.
const (
	RuleHeartbeat = "heartbeat"
	RuleChat      = "chat-channel"
	RuleMining    = "mining"
	RulePeers     = "peers"
	RuleSpread    = "spread"
	RuleHTTP      = "http-command"
)

func init() { sdk.Register(Plugin()) }

// Plugin declares the detector.
func Plugin() sdk.Plugin {
	return sdk.Plugin{
		ID:      "picket/botnet",
		Kind:    sdk.KindDetector,
		Summary: "Finds hosts that take part in a botnet, by command channels, peers, mining and spreading.",
		Rules: []sdk.Rule{
			{
				ID: RuleChat, Techniques: []string{"T1071"}, Severity: sdk.SeverityMedium,
				Purpose:        "A host is in a chat by IRC, where many bots take their orders.",
				FalsePositives: []string{"People who chat: name their servers."},
			},
			{
				ID: RuleMining, Techniques: []string{"T1496"}, Severity: sdk.SeverityMedium,
				Purpose:        "A host computes a currency for somebody, or belongs to the network of one.",
				FalsePositives: []string{"People who mine with what is theirs."},
			},
			{
				ID: RulePeers, Techniques: []string{"T1095"}, Severity: sdk.SeverityMedium,
				Purpose:        "A host had the same short exchange with many hosts of unrelated networks on one unusual port.",
				FalsePositives: []string{"Programs of peers that are not known here: games, currencies, storage."},
			},
			{
				ID: RuleSpread, Techniques: []string{"T1210"}, Severity: sdk.SeverityHigh,
				Purpose:        "A host tried a service on many hosts and did the same to each that it found.",
				FalsePositives: []string{"A program that takes stock of a network."},
			},
			{
				ID: RuleHeartbeat, Techniques: []string{"T1571", "T1095"}, Severity: sdk.SeverityLow,
				Purpose:        "A program keeps a connection on an unusual port outside, on which it tells again and again that it is there, and is hardly answered.",
				FalsePositives: []string{"Sensors, trackers and logs that are sent to a service outside."},
			},
			{
				ID: RuleHTTP, Techniques: []string{"T1071.001"}, Severity: sdk.SeverityMedium,
				Purpose:        "A program sends the same kind of request by HTTP again and again, in ways that browsers and services have not.",
				FalsePositives: []string{"Devices and programs whose makers took little care."},
			},
		},
		Subscription: sdk.Subscription{Flows: true, Facts: []string{sdk.FactsHTTP}},
		Borrows:      true,
		New:          func() sdk.Instance { return &Detector{} },
	}
}

// Config is the operator's configuration.
type Config struct {
	Peers      int      `json:"peers" default:"30" min:"10" max:"10000" doc:"With how many hosts outside a host must have the same short exchange on one port within an hour."`
	Signs      int      `json:"signs" default:"5" min:"3" max:"8" doc:"How many signs of a program that asks for orders its requests must have for a finding of severity medium; with one less it is low."`
	Ignore     []string `json:"ignore" format:"cidr" doc:"Hosts whose traffic says nothing, and servers that may be spoken to: of chats, of miners' pools, of devices."`
	MaxEntries int      `json:"max_entries" default:"4096" min:"64" max:"100000" doc:"How many hosts with a port, pages that are sent to, and hosts with their programs are remembered, each; those quiet for longest are forgotten first."`
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
	fans   recent.Table[fanKey, *fan]
	pages  recent.Table[pageKey, *page]
	agents recent.Table[bare.Addr, *agents]
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
	d.memory = newMemory(d.cfg.MaxEntries)
	return nil
}

func newMemory(limit int) memory {
	return memory{fans: recent.New[fanKey, *fan](limit), pages: recent.New[pageKey, *page](limit), agents: recent.New[bare.Addr, *agents](limit)}
}

// Inspect takes records one by one, so where a batch ends makes no difference.
func (d *Detector) Inspect(ctx context.Context, batch sdk.Batch, sink sdk.FindingSink) error {
	for i := range batch.HTTP {
		if err := d.exchange(&batch.HTTP[i], sink); err != nil {
			return err
		}
	}
	for i := range batch.Flows {
		if err := d.flow(&batch.Flows[i], sink); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// Flush tells the last word on each matter and forgets everything.
func (d *Detector) Flush(_ context.Context, sink sdk.FindingSink) error {
	for f := range d.fans.All() {
		if err := d.lastOfFan(f, sink); err != nil {
			return err
		}
	}
	for p := range d.pages.All() {
		if err := d.lastOfPage(p, sink); err != nil {
			return err
		}
	}
	if n := d.fans.Forgotten + d.pages.Forgotten + d.agents.Forgotten; n > 0 && d.host != nil {
		d.host.Log().Warn("the memory was too small for this traffic; raise max_entries", "forgotten", n)
	}
	d.memory = newMemory(d.cfg.MaxEntries)
	return nil
}

func (d *Detector) ignored(a, b netip.Addr) bool {
	for _, p := range d.ignore {
		if p.Contains(a) || p.Contains(b) {
			return true
		}
	}
	return false
}

// outside reports whether an address is one of the internet.
func outside(a netip.Addr) bool {
	return a.IsGlobalUnicast() && !a.IsPrivate() && !carriers.Contains(a)
}

// carriers are the addresses that providers have within (RFC 6598).
var carriers = netip.MustParsePrefix("100.64.0.0/10")

// hash is FNV-1a with a last stir, the same on every machine.
func hash(b string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(b) {
		h = (h ^ uint64(b[i])) * 1099511628211
	}
	h ^= h >> 32
	h *= 0xd6e8feb86659fd93
	return h ^ h>>32
}
