// Package encrypted finds encrypted connections that are not what they seem, without decrypting them.
//
// In go hellos of TLS and QUIC and the flows that they begin, out come findings of four rules: "names-over-https", a program asks
// a public resolver for names in a way that hides them or carries more than names; "odd-port", a port carries another protocol than
// its own; "keystrokes", a person or a shell is at the other end; "stranger", a host began to speak in a new way, with somebody whom nobody
// else knows. README.md has the reasoning and the arithmetic.
//
// The reading path: hello.go remembers how connections begin until their flows end; resolver.go, port.go and keys.go judge a flow
// with its hello; learned.go compares it with what is usual; report.go puts it into words.
package encrypted

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"github.com/picketwatch/picket/plugins/detectors/internal/bare"
	"github.com/picketwatch/picket/plugins/detectors/internal/flowref"
	"github.com/picketwatch/picket/plugins/detectors/internal/issue"
	"github.com/picketwatch/picket/plugins/detectors/internal/shape"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/config"
)

func init() { sdk.Register(Plugin()) }

// Plugin declares the detector.
func Plugin() sdk.Plugin {
	p := sdk.Plugin{
		ID:           "picket/encrypted",
		Kind:         sdk.KindDetector,
		Summary:      "Finds encrypted connections that are not what they seem, by who speaks with whom and by the shape of what passes.",
		Subscription: sdk.Subscription{Flows: true, Facts: []string{sdk.FactsTLS}},
		Borrows:      true,
		New:          func() sdk.Instance { return &Detector{} },
	}
	for _, r := range rules {
		p.Rules = append(p.Rules, sdk.Rule{ID: r.id, Purpose: r.purpose, Techniques: r.techniques, Severity: sdk.SeverityLow, FalsePositives: []string{r.benign}})
	}
	return p
}

// Config is the operator's configuration.
type Config struct {
	Internal    []string        `json:"internal" format:"cidr" default:"10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,100.64.0.0/10,127.0.0.0/8,169.254.0.0/16,fc00::/7,fe80::/10" doc:"Own networks. What stays within them is not judged."`
	Ignore      []string        `json:"ignore" format:"cidr" doc:"Hosts and servers of which nothing is told, for example a forwarder of names or a proxy."`
	Names       []string        `json:"names" doc:"Names of servers, with all below them, of which nothing is told."`
	Resolvers   []string        `json:"resolvers" format:"cidr" doc:"Further public resolvers that take questions over HTTPS."`
	Learn       config.Duration `json:"learn" default:"72h" min:"1m" max:"8760h" doc:"For how long, by the time in the traffic, a host is only learned before a stranger is told."`
	HalfLife    config.Duration `json:"half_life" default:"168h" min:"1h" max:"8760h" doc:"After which time what a host did counts half: who changes slowly stays usual."`
	MaxHosts    int             `json:"max_hosts" default:"4096" min:"64" max:"100000" doc:"How many hosts are remembered with what is usual for them; the one quiet for longest is forgotten first."`
	MaxServices int             `json:"max_services" default:"16384" min:"64" max:"1000000" doc:"How many destinations and fingerprints are remembered, each; the one quiet for longest is forgotten first."`
	MaxFindings int             `json:"max_findings" default:"4096" min:"64" max:"100000" doc:"How many findings are remembered to grow; the one quiet for longest is forgotten first."`
}

// Detector is one instance. Calls come one at a time.
type Detector struct {
	cfg                         Config
	host                        sdk.Host
	internal, ignore, resolvers []netip.Prefix
	memory                      memory
}

// Config returns where the configuration goes.
func (d *Detector) Config() any { return &d.cfg }

// Start prepares an empty state.
func (d *Detector) Start(_ context.Context, host sdk.Host) error {
	d.host = host
	d.internal, d.ignore, d.resolvers = nil, nil, nil
	for _, list := range []struct {
		texts []string
		into  *[]netip.Prefix
	}{{d.cfg.Internal, &d.internal}, {d.cfg.Ignore, &d.ignore}, {d.cfg.Resolvers, &d.resolvers}} {
		for _, text := range list.texts {
			p, err := netip.ParsePrefix(text)
			if err != nil {
				return sdk.Errorf(sdk.InvalidConfig, "a network: %w", fmt.Errorf("%q: %w", text, err))
			}
			*list.into = append(*list.into, p.Masked())
		}
	}
	for i, name := range d.cfg.Names {
		d.cfg.Names[i] = strings.ToLower(strings.Trim(name, "."))
	}
	d.memory = newMemory(&d.cfg)
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
	for i := range batch.TLS {
		d.greet(&batch.TLS[i])
	}
	for i := range batch.Flows {
		f := &batch.Flows[i]
		if (f.Proto != sdk.ProtoTCP && f.Proto != sdk.ProtoUDP) || f.FwdPayload == 0 || f.RevPayload == 0 {
			continue
		}
		if err := d.flow(f, sink); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// flow judges one flow that left the own networks and was answered.
func (d *Detector) flow(f *sdk.Flow, sink sdk.FindingSink) error {
	h := d.memory.take(f.ID)
	if contain(d.internal, f.Dst) || !contain(d.internal, f.Src) || contain(d.ignore, f.Src) || contain(d.ignore, f.Dst) {
		return nil
	}
	c := connection{Flow: f, hello: h, client: bare.Of(f.Src), server: bare.Of(f.Dst)}
	tell := func(rule uint8, signs uint32, name string) error {
		s := issue.Seen{At: f.Start, Client: f.Src, Server: f.Dst, Flow: flowref.Of(f), Proto: f.Proto, Name: name, Signs: signs}
		if len(f.Packets) > 0 {
			s.Packet = f.Packets[0]
		}
		k := issue.Key{Rule: rule, Client: c.client, Server: c.server, Port: f.DstPort}
		if rule == keystrokes || rule == stranger {
			d.memory.keep(k, shape.Of(f))
		}
		return d.memory.issues.See(k, &s, func(i *issue.Issue) error { return sink.Finding(d.finding(i)) })
	}
	if signs := d.memory.port(&c); signs != 0 {
		if err := tell(oddPort, signs, ""); err != nil {
			return err
		}
	}
	if h == nil || h.signs&allowed != 0 {
		return nil
	}
	if h.signs&resolver != 0 {
		if signs := d.memory.asked(&c); signs != 0 {
			return tell(namesOverHTTPS, signs, h.name)
		}
		return nil
	}
	strange := d.memory.learned(&c, int64(d.cfg.Learn), int64(d.cfg.HalfLife))
	if signs := c.keystrokes(strange); signs != 0 {
		if err := tell(keystrokes, signs, h.name); err != nil {
			return err
		}
	}
	if worthTelling(strange) {
		return tell(stranger, strange, h.name)
	}
	return nil
}

// Flush reports what has grown since it was told, and forgets everything.
func (d *Detector) Flush(_ context.Context, sink sdk.FindingSink) error {
	err := d.memory.issues.Flush(func(i *issue.Issue) error { return sink.Finding(d.finding(i)) })
	if n := d.memory.issues.Forgotten + d.memory.hosts.Forgotten; n > 0 && d.host != nil {
		d.host.Log().Warn("the memory was too small for this traffic; raise max_hosts or max_findings", "forgotten", n)
	}
	d.memory = newMemory(&d.cfg)
	return err
}
