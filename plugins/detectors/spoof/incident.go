package spoof

import (
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/picketwatch/picket/sdk"
)

// Bounds of what is kept.
const (
	maxIncidents = 1024
	maxPackets   = 32
	maxText      = 256
)

// key is what the messages of one finding have in common.
type key struct {
	rule   string
	where  place
	by     mac
	server netip.Addr
}

// incident is one thing that was found. It is reported when it begins, again each time it has doubled, and at the end.
type incident struct {
	key
	from       mac        // whose address it is, zero when not known
	rival      netip.Addr // the server that was there before
	names      string     // what a server names
	sure       bool       // there is no doubt: the operator's list says so, or the makes of the clients
	size       int        // clients, messages, answers: what the rule counts
	start, end int64
	count      int
	reported   int
	packets    []uint64
	dirty      bool
}

// incidents are in the order in which they began; the oldest goes when there are too many.
type incidents struct {
	by      map[key]*incident
	list    []*incident
	dirty   []*incident
	leaving []*incident // what went and may have grown since it was reported
}

func newIncidents() incidents { return incidents{by: map[key]*incident{}} }

func (n *incidents) add(k key, now int64, packets ...uint64) *incident {
	o := n.by[k]
	if o == nil {
		if len(n.list) >= maxIncidents {
			oldest := n.list[0]
			n.list = slices.Delete(n.list, 0, 1)
			delete(n.by, oldest.key)
			n.leaving = append(n.leaving, oldest)
		}
		o = &incident{key: k, start: now}
		n.insert(o)
	}
	o.end, o.count = now, o.count+1
	for _, p := range packets {
		o.packet(p)
	}
	if !o.dirty {
		o.dirty = true
		n.dirty = append(n.dirty, o)
	}
	return o
}

func (n *incidents) insert(o *incident) {
	n.by[o.key] = o
	n.list = append(n.list, o)
}

// packet adds one to the evidence.
func (o *incident) packet(p uint64) {
	if at, known := slices.BinarySearch(o.packets, p); !known && p != 0 && len(o.packets) < maxPackets {
		o.packets = slices.Insert(o.packets, at, p)
	}
}

// report emits what is new. What is known of an address as a takeover is not told again under a weaker rule.
func (n *incidents) report(final bool, sink sdk.FindingSink) error {
	for _, o := range n.leaving {
		if err := n.tell(o, true, sink); err != nil {
			return err
		}
	}
	n.leaving = n.leaving[:0]
	list := n.dirty
	if final {
		list = n.list
	}
	for _, o := range list {
		o.dirty = false
		if err := n.tell(o, final, sink); err != nil {
			return err
		}
	}
	n.dirty = n.dirty[:0]
	return nil
}

func (n *incidents) tell(o *incident, final bool, sink sdk.FindingSink) error {
	enough := max(1, 2*o.reported)
	if final {
		enough = o.reported + 1
	}
	if o.count < enough {
		return nil
	}
	o.reported = o.count
	stronger := key{rule: RuleTakeover, where: o.where, by: o.by}
	if (o.rule == RuleUnasked || o.rule == RuleRouter) && n.by[stronger] != nil {
		return nil
	}
	return sink.Finding(o.finding())
}

var techniques = func() map[string][]string {
	out := map[string][]string{}
	for _, r := range Plugin().Rules {
		out[r.ID] = r.Techniques
	}
	return out
}()

// What a finding is worth where nothing makes it more.
var worth = map[string]struct {
	severity   sdk.Severity
	risk       int
	confidence float64
}{
	RuleTakeover:   {sdk.SeverityHigh, 80, 0.9},
	RuleUnasked:    {sdk.SeverityMedium, 60, 0.6},
	RuleFlood:      {sdk.SeverityMedium, 55, 0.7},
	RuleDenial:     {sdk.SeverityMedium, 60, 0.7},
	RuleRouter:     {sdk.SeverityMedium, 60, 0.6},
	RuleRouters:    {sdk.SeverityHigh, 75, 0.9},
	RuleServer:     {sdk.SeverityHigh, 80, 0.7},
	RuleStarvation: {sdk.SeverityMedium, 55, 0.6},
	RuleDHCPFlood:  {sdk.SeverityMedium, 55, 0.7},
}

// establishedAnswers are those that a DHCP server gave before another one came, so that it is clear which of them belongs there.
const establishedAnswers = 3

func (o *incident) finding() sdk.Finding {
	w := worth[o.rule]
	switch {
	case o.rule == RuleRouter && o.sure:
		w.severity, w.risk, w.confidence = sdk.SeverityHigh, 80, 0.95
	case o.rule == RuleServer && o.sure:
		w.risk, w.confidence = 85, 0.95
	case o.rule == RuleServer && o.size >= establishedAnswers:
		w.confidence = 0.9
	case o.rule == RuleStarvation && o.sure:
		w.severity, w.risk, w.confidence = sdk.SeverityHigh, 75, 0.9
	}
	f := sdk.Finding{
		Detector: "picket/spoof", Rule: o.rule, Techniques: slices.Clone(techniques[o.rule]), Severity: w.severity, Risk: w.risk, Confidence: w.confidence,
		Start: ofTime(o.start), End: ofTime(o.end), Packets: slices.Clone(o.packets), Flows: []sdk.FlowRef{},
		Features: map[string]float64{"messages": float64(o.count)},
	}
	if o.where.VLAN != 0 {
		f.Features["vlan"] = float64(o.where.VLAN)
	}
	if o.size > 0 {
		f.Features["size"] = float64(o.size)
	}
	switch {
	case o.server.IsValid():
		f.Src = o.server.String()
	case o.by != mac{}:
		f.Src = o.by.String()
	}
	if o.where.IP.IsValid() {
		f.Dst = o.where.IP.String()
	}
	f.Summary = o.summary(&f)
	return f
}

func (o *incident) summary(f *sdk.Finding) string {
	switch o.rule {
	case RuleTakeover:
		if f.Dst == "" {
			return fmt.Sprintf("%s claims the addresses of many others, without having been asked (%s)", f.Src, times(o.count))
		}
		return fmt.Sprintf("%s claims %s, which belongs to %s, without having been asked (%s)", f.Src, f.Dst, o.from, times(o.count))
	case RuleUnasked:
		return fmt.Sprintf("%s, which has another address, told a host that had not asked that it has %s", f.Src, f.Dst)
	case RuleFlood:
		return fmt.Sprintf("%s tells others again and again where addresses are, without having been asked", f.Src)
	case RuleDenial:
		return fmt.Sprintf("%s says of each address that a host wants that it is taken (%s)", f.Src, times(o.count))
	case RuleRouter:
		if o.sure {
			return fmt.Sprintf("%s (%s) acts as a router and is none of those that are listed (%s)", f.Src, f.Dst, times(o.count))
		}
		return fmt.Sprintf("%s (%s) acts as a router beside, or in the name of, the one that the network has (%s)", f.Src, f.Dst, times(o.count))
	case RuleRouters:
		return fmt.Sprintf("%d routers announced themselves within a minute", o.count)
	case RuleServer:
		if o.sure {
			return fmt.Sprintf("%s gives out addresses by DHCP (%s) and is none of the servers that are listed (%s)", f.Src, o.names, times(o.count))
		}
		return fmt.Sprintf("%s gives out addresses by DHCP beside %s and names others: %s (%s)", f.Src, o.rival, o.names, times(o.count))
	case RuleStarvation:
		return fmt.Sprintf("%d DHCP clients asked for addresses within seconds, as if to use them all up", o.size)
	}
	return fmt.Sprintf("%s sent %d DHCP messages within a minute", f.Src, o.size)
}

func times(n int) string {
	if n == 1 {
		return "seen once"
	}
	return fmt.Sprintf("seen %d times", n)
}

func parseMACs(field string, list []string) (map[mac]bool, error) {
	out := map[mac]bool{}
	for i, text := range list {
		m, err := net.ParseMAC(text)
		if err != nil || len(m) != len(mac{}) {
			return nil, sdk.Errorf(sdk.InvalidConfig, "%s[%d]: %q is not a hardware address such as 02:00:00:00:00:01", field, i, text)
		}
		out[mac(m)] = true
	}
	return out, nil
}
