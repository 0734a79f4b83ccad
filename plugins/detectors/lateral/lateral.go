// Package lateral finds hosts that run programs on other hosts, or take credentials from them.
//
// In go commands of SMB, calls of remote procedures, HTTP exchanges and messages of Kerberos, out come findings: a service, a
// task or a process that is made on another host, a program that is copied to a share for administrators, secrets that are
// asked of a domain controller. It judges what is asked for, not how much; few hosts do any of it. README.md has the reasoning.
//
// The reading path: read.go says which act a record is; memory.go remembers acts for each pair of hosts within bounds; tickets.go
// does so for Kerberos; report.go puts it into words.
package lateral

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/picketwatch/picket/plugins/detectors/internal/bare"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/config"
)

func init() {
	sdk.Register(Plugin())
}

// Plugin declares the detector.
func Plugin() sdk.Plugin {
	p := sdk.Plugin{
		ID:           "picket/lateral",
		Kind:         sdk.KindDetector,
		Summary:      "Finds hosts that run programs on other hosts, or take credentials from them, over the network.",
		Subscription: sdk.Subscription{Facts: []string{sdk.FactsHTTP, sdk.FactsMessages, sdk.FactsSMB}},
		Borrows:      true,
		New:          func() sdk.Instance { return &Detector{} },
	}
	for _, r := range rules[1:] {
		p.Rules = append(p.Rules, sdk.Rule{ID: r.id, Purpose: r.purpose, Techniques: r.techniques, Severity: r.severity, FalsePositives: []string{r.benign}})
	}
	p.Rules = append(p.Rules, weakTicket)
	return p
}

// Config is the operator's configuration.
type Config struct {
	Administrators    []string        `json:"administrators" format:"cidr" doc:"Hosts that may run programs on others: jump hosts, software distribution, inventory."`
	DomainControllers []string        `json:"domain_controllers" format:"cidr" doc:"Hosts that may replicate secrets, besides those that are seen to answer as domain controllers."`
	Internal          []string        `json:"internal" format:"cidr" default:"10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,100.64.0.0/10,169.254.0.0/16,fc00::/7,fe80::/10" doc:"Own networks, in which new pairs of hosts are looked for."`
	Learn             config.Duration `json:"learn" default:"168h" min:"1m" max:"8760h" doc:"For how long, by the time in the traffic, pairs of hosts are only remembered before new ones are told."`
	Hosts             int             `json:"hosts" default:"5" min:"2" max:"1000" doc:"On how many hosts one host must act within an hour to be told as one that spreads."`
	Tickets           int             `json:"tickets" default:"5" min:"1" max:"64" doc:"For how many services one host must get tickets with old encryption within ten minutes, where it did not ask for that."`
	MaxPairs          int             `json:"max_pairs" default:"16384" min:"64" max:"1000000" doc:"How many pairs of hosts with acts are remembered; the one quiet for longest is forgotten first."`
	MaxKnown          int             `json:"max_known" default:"100000" min:"1024" max:"10000000" doc:"How many pairs of hosts are remembered as usual; beyond it no new ones are told."`
}

// Detector is one instance. Calls come one at a time.
type Detector struct {
	cfg                               Config
	host                              sdk.Host
	administrators, domains, internal []netip.Prefix
	memory                            memory
}

// Config returns where the configuration goes.
func (d *Detector) Config() any { return &d.cfg }

// Start prepares an empty state.
func (d *Detector) Start(_ context.Context, host sdk.Host) error {
	d.host = host
	for _, list := range []struct {
		texts []string
		into  *[]netip.Prefix
	}{{d.cfg.Administrators, &d.administrators}, {d.cfg.DomainControllers, &d.domains}, {d.cfg.Internal, &d.internal}} {
		for _, text := range list.texts {
			p, err := netip.ParsePrefix(text)
			if err != nil {
				return sdk.Errorf(sdk.InvalidConfig, "a network: %w", err)
			}
			*list.into = append(*list.into, p.Masked())
		}
	}
	d.memory = newMemory()
	return nil
}

func contain(list []netip.Prefix, a netip.Addr) bool {
	for _, p := range list {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// Inspect takes records one by one, so where a batch ends makes no difference.
func (d *Detector) Inspect(ctx context.Context, batch sdk.Batch, sink sdk.FindingSink) error {
	for i := range batch.SMB {
		if a, ok := d.memory.shares.read(&batch.SMB[i]); ok {
			if err := d.take(&a, sink); err != nil {
				return err
			}
		}
	}
	for i := range batch.Messages {
		if err := d.message(&batch.Messages[i], sink); err != nil {
			return err
		}
	}
	for i := range batch.HTTP {
		if a, ok := readHTTP(&batch.HTTP[i]); ok {
			if err := d.take(&a, sink); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

func (d *Detector) message(r *sdk.Message, sink sdk.FindingSink) error {
	switch r.Protocol {
	case "dcerpc":
		if a, ok := d.memory.readCall(r); ok {
			if a.kind == dcsync && (contain(d.domains, r.Client) || d.memory.isController(bare.Of(r.Client))) {
				return nil // they tell each other
			}
			return d.take(&a, sink)
		}
	case "kerberos":
		return d.kerberos(r, sink)
	case "ssh":
		if r.Name == "banner" && !r.FromServer {
			a := actOf(&r.Seen, ssh)
			return d.take(&a, sink)
		}
	case "rdp":
		if r.Name == "request" {
			a := actOf(&r.Seen, rdp)
			return d.take(&a, sink)
		}
	}
	return nil
}

// take adds an act to what is known of its two hosts, and reports what stands out now.
func (d *Detector) take(a *act, sink sdk.FindingSink) error {
	if a.from == a.to || contain(d.administrators, a.from) {
		return nil
	}
	from, to := bare.Of(a.from), bare.Of(a.to)
	fresh := d.memory.learn(from, to, a, &d.cfg) && contain(d.internal, a.from) && contain(d.internal, a.to)
	if fresh {
		if err := d.add(pairKey{from, to, newPair, family(a.kind)}, a, sink); err != nil {
			return err
		}
	}
	if a.kind > kinds {
		return nil // nothing by itself
	}
	if err := d.add(pairKey{from, to, a.kind, none}, a, sink); err != nil {
		return err
	}
	if a.kind == program || a.kind == winrm || a.kind == shell {
		return nil // told by records of other kinds, which come in no certain order
	}
	return d.spread(from, a, sink)
}

func (d *Detector) add(k pairKey, a *act, sink sdk.FindingSink) error {
	p := d.memory.pairs[k]
	if p != nil && a.at-p.last > forget {
		if err := d.leave(p, sink); err != nil {
			return err
		}
		p = nil
	}
	for p == nil && len(d.memory.pairs) >= d.cfg.MaxPairs {
		if err := d.leave(d.memory.quietest(), sink); err != nil {
			return err
		}
		d.memory.forgotten++
	}
	if p == nil {
		p = d.memory.appear(k, a)
	}
	d.memory.add(p, a)
	if err := d.started(p, sink); err != nil {
		return err
	}
	return d.judge(p, false, sink)
}

// started joins a service to the program that was copied there to be started, in whatever order they are told.
func (d *Detector) started(p *pair, sink sdk.FindingSink) error {
	switch p.key.kind {
	case service:
		p.copied = p.copied || d.memory.pairs[pairKey{p.key.from, p.key.to, program, none}] != nil
	case program:
		if s := d.memory.pairs[pairKey{p.key.from, p.key.to, service, none}]; s != nil && !s.copied {
			s.copied = true
			return d.judge(s, false, sink)
		}
	}
	return nil
}

// leave reports the rest of what a pair did, and forgets it.
func (d *Detector) leave(p *pair, sink sdk.FindingSink) error {
	err := d.judge(p, true, sink)
	d.memory.remove(p)
	return err
}

// judge reports an act when it is first seen, when it has become more severe, and at the end when there was more of it.
func (d *Detector) judge(p *pair, final bool, sink sdk.FindingSink) error {
	severe := p.severity()
	if p.told > 0 && severe.Rank() <= p.severe.Rank() && (!final || p.count == p.told) {
		return nil
	}
	p.told, p.severe = p.count, severe
	return sink.Finding(p.finding())
}

// Flush reports what has grown since it was told, and forgets everything.
func (d *Detector) Flush(_ context.Context, sink sdk.FindingSink) error {
	for _, p := range d.memory.inOrder() {
		if err := d.judge(p, true, sink); err != nil {
			return err
		}
	}
	for _, t := range d.memory.askersInOrder() {
		if err := d.judgeTickets(t, true, sink); err != nil {
			return err
		}
	}
	if n := d.memory.forgotten; n > 0 && d.host != nil {
		d.host.Log().Warn("the memory was too small for this traffic; raise max_pairs or max_known", "forgotten", n)
	}
	d.memory = newMemory()
	return nil
}

func plural(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprint(n, " ", one, "s")
}
