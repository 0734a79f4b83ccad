// Package spoof finds hosts that pass themselves off as others to their neighbours, to get between two hosts or to cut one
// off: by ARP, by IPv6 neighbour discovery, as a router, as a DHCP server; and those that drown these services.
//
// In go the facts of ARP, neighbour discovery and DHCP, out come findings. README.md has the reasoning and what keeps ordinary
// doubles (bridges, routers that answer for others, failover) quiet.
//
// The reading path: message.go reads a fact of ARP or neighbour discovery; memory.go remembers who claims what within
// bounds; claim.go judges each claim as it comes, router.go routers, dhcp.go servers and their clients; incident.go keeps and
// reports what was found.
package spoof

import (
	"context"
	"net/netip"
	"time"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/config"
)

// The rules.
const (
	RuleTakeover   = "takeover"
	RuleUnasked    = "unasked"
	RuleFlood      = "flood"
	RuleDenial     = "denial"
	RuleRouter     = "rogue-router"
	RuleRouters    = "router-flood"
	RuleServer     = "rogue-dhcp"
	RuleStarvation = "dhcp-starvation"
	RuleDHCPFlood  = "dhcp-flood"
)

func init() { sdk.Register(Plugin()) }

// Plugin declares the detector.
func Plugin() sdk.Plugin {
	poisoning := []string{"T1557.002"}
	return sdk.Plugin{
		ID:      "picket/spoof",
		Kind:    sdk.KindDetector,
		Summary: "Finds hosts that pass themselves off as others by ARP, neighbour discovery or DHCP.",
		Rules: []sdk.Rule{
			{ID: RuleTakeover, Purpose: "A card claims, without having been asked, an address that belongs to another card.", Techniques: poisoning, Severity: sdk.SeverityHigh,
				FalsePositives: []string{"Two machines that were given the same address by mistake.", "A failover pair that goes back and forth several times within the window.", "A host whose two cards share its traffic by telling neighbours one or the other."}},
			{ID: RuleUnasked, Purpose: "A card that has another address told a single host, which had not asked, where an address is.", Techniques: poisoning, Severity: sdk.SeverityMedium,
				FalsePositives: []string{"A sensor that hears answers but not the questions, for example a one-way mirror port."}},
			{ID: RuleFlood, Purpose: "A card told others again and again, without having been asked, where addresses are.", Techniques: append([]string{"T1498"}, poisoning...), Severity: sdk.SeverityMedium,
				FalsePositives: []string{"A cluster or load balancer that moves very many addresses at once."}},
			{ID: RuleDenial, Purpose: "A card says of one address after the other that it is taken, when hosts ask whether they may have it.", Techniques: []string{"T1499"}, Severity: sdk.SeverityMedium,
				FalsePositives: []string{"A proxy that answers for addresses that nobody has."}},
			{ID: RuleRouter, Purpose: "A host that is none of the routers of the network says that it is one, or that a router is none.", Techniques: []string{"T1557"}, Severity: sdk.SeverityMedium,
				FalsePositives: []string{"A new router.", "A machine that shares its connection by mistake."}},
			{ID: RuleRouters, Purpose: "Very many routers were announced within a minute.", Techniques: []string{"T1499", "T1498"}, Severity: sdk.SeverityHigh},
			{ID: RuleServer, Purpose: "A second DHCP server names routers or name servers that the first one does not.", Techniques: []string{"T1557.003"}, Severity: sdk.SeverityHigh,
				FalsePositives: []string{"A new server that takes the old one's place.", "A home router that was plugged in the wrong way round: it does harm all the same."}},
			{ID: RuleStarvation, Purpose: "Very many clients asked for addresses within seconds.", Techniques: []string{"T1499", "T1498"}, Severity: sdk.SeverityMedium,
				FalsePositives: []string{"A large network whose power has come back."}},
			{ID: RuleDHCPFlood, Purpose: "One client sent very many DHCP messages within a minute.", Techniques: []string{"T1499", "T1498"}, Severity: sdk.SeverityMedium,
				FalsePositives: []string{"A client that is broken.", "A test of a server's load."}},
		},
		Subscription: sdk.Subscription{Facts: []string{sdk.FactsARP, sdk.FactsDHCP}},
		Borrows:      true,
		New:          func() sdk.Instance { return &Detector{} },
	}
}

// Config is the operator's configuration.
type Config struct {
	Window      config.Duration `json:"window" default:"5m" min:"10s" max:"24h" doc:"How long claims of the same address count together, by the time in the traffic."`
	FloodClaims int             `json:"flood_claims" default:"20" min:"5" max:"1000" doc:"From how many unasked claims of one card within a minute they are a flood; of announcements to everybody six times as many."`
	Clients     int             `json:"clients" default:"64" min:"10" max:"1000" doc:"From how many DHCP clients of different makes within ten seconds they are made up; of any make four times as many within a minute."`
	Messages    int             `json:"messages" default:"60" min:"10" max:"10000" doc:"From how many DHCP messages of one client within a minute they are a flood."`
	Routers     []string        `json:"routers" max:"256" doc:"Hardware addresses of the routers of IPv6 networks. With any, every other router is a finding at once."`
	Servers     []string        `json:"dhcp_servers" format:"cidr" doc:"The DHCP servers. With any, every other server is a finding at once."`
	IgnoreMACs  []string        `json:"ignore_macs" max:"256" doc:"Hardware addresses that may claim any address, for example a router that answers for others, as 02:00:00:00:00:01."`
	MaxEntries  int             `json:"max_entries" default:"16384" min:"64" max:"1000000" doc:"How many addresses, cards and clients of each kind are remembered; those quiet for longest are forgotten first."`
}

// Detector is one instance. Calls come one at a time.
type Detector struct {
	cfg     Config
	host    sdk.Host
	ignore  map[mac]bool
	routing map[mac]bool // the cards of routers, where they are known
	serving []netip.Prefix
	memory
}

// memory is what Flush forgets and Snapshot keeps. Neighbours and DHCP have clocks of their own, as how their facts are mixed is
// not certain.
type memory struct {
	clock     int64
	owners    generations[place, owners]
	tellers   generations[card, teller]
	asked     asked
	links     links
	dhcp      dhcp
	incidents incidents
}

// Config returns where the configuration goes.
func (d *Detector) Config() any { return &d.cfg }

// Validate checks what the tags cannot say.
func (d *Detector) Validate() error {
	if _, err := parseMACs("ignore_macs", d.cfg.IgnoreMACs); err != nil {
		return err
	}
	_, err := parseMACs("routers", d.cfg.Routers)
	return err
}

// Start prepares an empty state.
func (d *Detector) Start(_ context.Context, host sdk.Host) error {
	d.host = host
	var err error
	if d.ignore, err = parseMACs("ignore_macs", d.cfg.IgnoreMACs); err != nil {
		return err
	}
	if d.routing, err = parseMACs("routers", d.cfg.Routers); err != nil {
		return err
	}
	if d.serving, err = parsePrefixes(d.cfg.Servers); err != nil {
		return sdk.Errorf(sdk.InvalidConfig, "dhcp_servers: %w", err)
	}
	d.memory = d.empty()
	return nil
}

func (d *Detector) empty() memory {
	n := d.cfg.MaxEntries
	return memory{
		owners: newGenerations[place, owners](n), tellers: newGenerations[card, teller](n), asked: newAsked(n),
		dhcp: newDHCP(n), incidents: newIncidents(),
	}
}

// Inspect takes facts one by one, so where a batch ends makes no difference.
func (d *Detector) Inspect(ctx context.Context, batch sdk.Batch, sink sdk.FindingSink) error {
	for i := range batch.ARP {
		m, ok := messageOf(&batch.ARP[i])
		if !ok {
			continue
		}
		d.clock = max(d.clock, m.at) // a message from the past must not turn the clock back
		d.neighbour(&m)
		if err := d.incidents.report(false, sink); err != nil {
			return err
		}
	}
	for i := range batch.DHCP {
		f := &batch.DHCP[i]
		d.dhcp.clock = max(d.dhcp.clock, f.Time.UnixNano())
		d.lease(f)
		if err := d.incidents.report(false, sink); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// neighbour judges a message of ARP or neighbour discovery.
func (d *Detector) neighbour(m *message) {
	switch {
	case d.ignore[m.card]:
	case m.operation >= advert:
		d.route(m)
	case m.claims():
		d.claim(m)
	}
	if m.operation == question && m.claimed != m.wanted {
		d.asked.add(request{m.vlan, m.claimed, m.wanted}, m.card, d.clock)
	}
}

// Flush reports what has grown since it was reported, and forgets everything.
func (d *Detector) Flush(_ context.Context, sink sdk.FindingSink) error {
	if err := d.incidents.report(true, sink); err != nil {
		return err
	}
	if n := d.owners.forgotten + d.tellers.forgotten + d.dhcp.clients.forgotten; n > 0 && d.host != nil {
		d.host.Log().Warn("the memory was too small for this traffic; raise max_entries", "forgotten", n)
	}
	d.memory = d.empty()
	return nil
}

// ofTime is a time of the memory as findings have it.
func ofTime(ns int64) time.Time { return time.Unix(0, ns).UTC() }
