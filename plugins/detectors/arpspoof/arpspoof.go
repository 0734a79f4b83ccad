// Package arpspoof finds hosts that claim the address of another by ARP, to get between two hosts or to cut one off.
//
// In go ARP packets, out come findings of three rules. README.md has the reasoning and what keeps ordinary doubles
// (bridges, routers that answer for others, failover) quiet.
//
// The reading path: packet.go reads a packet; memory.go remembers who claims what within bounds; arpspoof.go judges each
// claim as it comes; incident.go keeps and reports what was found.
package arpspoof

import (
	"context"
	"slices"
	"time"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/config"
)

// The rules.
const (
	RuleTakeover = "takeover"
	RuleUnasked  = "unasked"
	RuleFlood    = "flood"
)

func init() { sdk.Register(Plugin()) }

// Plugin declares the detector.
func Plugin() sdk.Plugin {
	technique := []string{"T1557.002"}
	return sdk.Plugin{
		ID:      "picket/arpspoof",
		Kind:    sdk.KindDetector,
		Summary: "Finds hosts that claim the address of another by ARP.",
		Rules: []sdk.Rule{
			{ID: RuleTakeover, Purpose: "A card claims, without having been asked, an address that belongs to another card.", Techniques: technique, Severity: sdk.SeverityHigh,
				FalsePositives: []string{"Two machines that were given the same address by mistake.", "A failover pair that goes back and forth several times within the window."}},
			{ID: RuleUnasked, Purpose: "A card that has another address told a single host, which had not asked, where an address is.", Techniques: technique, Severity: sdk.SeverityMedium,
				FalsePositives: []string{"A sensor that hears answers but not the questions, for example a one-way mirror port."}},
			{ID: RuleFlood, Purpose: "A card told others again and again, without having been asked, where addresses are.", Techniques: technique, Severity: sdk.SeverityMedium,
				FalsePositives: []string{"A cluster or load balancer that moves many addresses at once."}},
		},
		Subscription: sdk.Subscription{Packets: &sdk.PacketSubscription{Layers: []string{"arp"}, SnapLen: 64}},
		New:          func() sdk.Instance { return &Detector{} },
	}
}

// Config is the operator's configuration.
type Config struct {
	Window      config.Duration `json:"window" default:"5m" min:"10s" max:"24h" doc:"How long claims of the same address count together, by the time in the packets."`
	FloodClaims int             `json:"flood_claims" default:"20" min:"5" max:"1000" doc:"From how many unasked claims of one card within a minute they are a flood."`
	IgnoreMACs  []string        `json:"ignore_macs" max:"256" doc:"Hardware addresses that may claim any address, for example a router that answers for others, as 02:00:00:00:00:01."`
	MaxEntries  int             `json:"max_entries" default:"16384" min:"64" max:"1000000" doc:"How many addresses, and how many cards, are remembered; those quiet for longest are forgotten first."`
}

// Validate implements sdk.Validator.
func (c *Config) validate() error {
	_, err := parseMACs(c.IgnoreMACs)
	return err
}

// Detector is one instance. Calls come one at a time.
type Detector struct {
	cfg    Config
	host   sdk.Host
	ignore map[mac]bool
	memory
}

// memory is what Flush forgets and Snapshot keeps.
type memory struct {
	clock     int64
	owners    generations[place, owners]
	tellers   generations[card, teller]
	asked     asked
	incidents incidents
}

// Config returns where the configuration goes.
func (d *Detector) Config() any { return &d.cfg }

// Validate implements sdk.Validator.
func (d *Detector) Validate() error { return d.cfg.validate() }

// Start prepares an empty state.
func (d *Detector) Start(_ context.Context, host sdk.Host) error {
	d.host = host
	var err error
	if d.ignore, err = parseMACs(d.cfg.IgnoreMACs); err != nil {
		return err
	}
	d.reset()
	return nil
}

func (d *Detector) reset() {
	n := d.cfg.MaxEntries
	d.memory = memory{
		owners: newGenerations[place, owners](n), tellers: newGenerations[card, teller](n),
		asked: asked{max: n, at: map[request]int64{}},
	}
}

// Inspect takes packets one by one, so where a batch ends makes no difference.
func (d *Detector) Inspect(ctx context.Context, batch sdk.Batch, sink sdk.FindingSink) error {
	for i := range batch.Packets {
		p, ok := parse(&batch.Packets[i])
		if !ok {
			continue
		}
		d.clock = max(d.clock, p.at) // a packet from the past must not turn the clock back
		if p.claims() && !d.ignore[p.senderMAC] {
			d.claim(&p)
		}
		if !p.reply && p.sender != p.target {
			d.asked.add(request{p.vlan, p.sender, p.target}, d.clock)
		}
		if err := d.incidents.report(false, sink); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// claim judges one claim and remembers it.
func (d *Detector) claim(p *arp) {
	k := d.kindOf(p)
	where := place{p.vlan, p.sender}
	all := d.owners.get(where)
	if d.echoes(all, p) {
		return
	}
	window := int64(d.cfg.Window)
	own := *all.of(p.senderMAC) // a copy: the list moves below
	for i := range all.Claims {
		other := &all.Claims[i]
		if other.MAC == p.senderMAC || d.clock-other.Last > window {
			continue
		}
		if k == unasked {
			d.incidents.add(RuleTakeover, where, p.senderMAC, other.MAC, d.clock, other.Packet, p.number)
		}
		if other.Unasked != 0 && d.clock-other.Unasked <= window {
			d.incidents.add(RuleTakeover, where, other.MAC, p.senderMAC, d.clock, other.Teller, p.number)
		}
		if other.Rivalled != 0 && other.Rival == p.senderMAC && d.clock-other.Rivalled <= window {
			other.Rivalled = 0
			if other.Contests++; other.Contests >= 2 {
				d.incidents.add(RuleTakeover, where, other.MAC, p.senderMAC, d.clock, other.Packet, p.number)
			}
		}
		if k == announcement {
			own.Rival, own.Rivalled = other.MAC, d.clock
		}
	}
	own.Last, own.Packet, own.Kind, own.Target, own.Reply = d.clock, p.number, k, p.target, p.reply
	if k == unasked {
		own.Unasked, own.Teller = d.clock, p.number
	}
	*all.of(p.senderMAC) = own
	d.tell(p, k)
}

// kindOf says whether somebody asked.
func (d *Detector) kindOf(p *arp) kind {
	switch {
	case p.announcement():
		return announcement
	case p.reply && !d.asked.whether(request{p.vlan, p.target, p.sender}, d.clock):
		return unasked
	}
	return ordinary
}

// echoTime is how soon a bridge repeats what it heard.
const echoTime = int64(50 * time.Millisecond)

// echoes reports whether the packet is what another card has just said, with the card replaced: wireless bridges do that.
func (d *Detector) echoes(all *owners, p *arp) bool {
	return slices.ContainsFunc(all.Claims, func(c claim) bool {
		return c.MAC != p.senderMAC && d.clock-c.Last <= echoTime && c.Target == p.target && c.Reply == p.reply && c.Kind != unasked
	})
}

// floodTime is the time in which flood_claims make a flood.
const floodTime = int64(time.Minute)

// tell remembers what a card does, and judges it by that.
func (d *Detector) tell(p *arp, k kind) {
	t := d.tellers.get(card{p.vlan, p.senderMAC})
	t.claims(p.sender)
	if k != ordinary {
		t.Times, t.Packets = append(t.Times, d.clock), append(t.Packets, p.number)
		if over := len(t.Times) - d.cfg.FloodClaims; over > 0 {
			t.Times, t.Packets = slices.Delete(t.Times, 0, over), slices.Delete(t.Packets, 0, over)
		}
		if len(t.Times) == d.cfg.FloodClaims && d.clock-t.Times[0] <= floodTime {
			d.incidents.add(RuleFlood, place{VLAN: p.vlan}, p.senderMAC, mac{}, d.clock, t.Packets...)
		}
	}
	if k == unasked && len(t.Unasked) < maxPlaces && !slices.ContainsFunc(t.Unasked, func(u told) bool { return u.IP == p.sender }) {
		t.Unasked = append(t.Unasked, told{p.sender, d.clock, p.number})
	}
	if len(t.IPs) < 2 {
		return
	}
	for _, u := range t.Unasked {
		if d.clock-u.At <= int64(d.cfg.Window) {
			d.incidents.add(RuleUnasked, place{p.vlan, u.IP}, p.senderMAC, mac{}, d.clock, u.Packet)
		}
	}
}

// Flush reports what has grown since it was reported, and forgets everything.
func (d *Detector) Flush(_ context.Context, sink sdk.FindingSink) error {
	if err := d.incidents.report(true, sink); err != nil {
		return err
	}
	if n := d.owners.forgotten + d.tellers.forgotten; n > 0 && d.host != nil {
		d.host.Log().Warn("the memory was too small for this traffic; raise max_entries", "forgotten", n)
	}
	d.reset()
	return nil
}
