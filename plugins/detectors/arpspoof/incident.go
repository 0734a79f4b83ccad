package arpspoof

import (
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/picketwatch/picket/sdk"
)

// Bounds of what is kept.
const (
	maxIncidents = 1024
	maxPackets   = 32
)

// incident is one thing that was found. It is reported when it begins, again each time it has doubled, and at the end.
type incident struct {
	Rule     string   `json:"rule"`
	Where    place    `json:"where"`
	By       mac      `json:"by"`
	From     mac      `json:"from"` // whose address it is, zero when not known
	Start    int64    `json:"start"`
	End      int64    `json:"end"`
	Count    int      `json:"count"`
	Reported int      `json:"reported"`
	Packets  []uint64 `json:"packets"`
}

// incidents are in the order in which they began; the oldest goes when there are too many.
type incidents struct {
	list  []incident
	dirty bool
}

func (n *incidents) add(rule string, where place, by, from mac, now int64, packets ...uint64) {
	n.dirty = true
	i := slices.IndexFunc(n.list, func(o incident) bool { return o.Rule == rule && o.Where == where && o.By == by })
	if i < 0 {
		if len(n.list) >= maxIncidents {
			n.list = slices.Delete(n.list, 0, 1)
		}
		n.list = append(n.list, incident{Rule: rule, Where: where, By: by, From: from, Start: now})
		i = len(n.list) - 1
	}
	o := &n.list[i]
	o.End, o.Count = now, o.Count+1
	for _, p := range packets {
		if at, known := slices.BinarySearch(o.Packets, p); !known && len(o.Packets) < maxPackets {
			o.Packets = slices.Insert(o.Packets, at, p)
		}
	}
}

// report emits what is new. What is known of an address as a takeover is not told again under a weaker rule.
func (n *incidents) report(final bool, sink sdk.FindingSink) error {
	if !n.dirty && !final {
		return nil
	}
	n.dirty = false
	for i := range n.list {
		o := &n.list[i]
		enough := max(1, 2*o.Reported)
		if final {
			enough = o.Reported + 1
		}
		if o.Count < enough {
			continue
		}
		o.Reported = o.Count
		if o.Rule == RuleUnasked && n.has(RuleTakeover, o.Where, o.By) {
			continue
		}
		if err := sink.Finding(o.finding()); err != nil {
			return err
		}
	}
	return nil
}

func (n *incidents) has(rule string, where place, by mac) bool {
	return slices.ContainsFunc(n.list, func(o incident) bool { return o.Rule == rule && o.Where == where && o.By == by })
}

func (o *incident) finding() sdk.Finding {
	f := sdk.Finding{
		Detector: "picket/arpspoof", Rule: o.Rule, Techniques: []string{"T1557.002"},
		Src: o.By.String(), Start: time.Unix(0, o.Start).UTC(), End: time.Unix(0, o.End).UTC(),
		Packets: slices.Clone(o.Packets), Flows: []sdk.FlowRef{}, Features: map[string]float64{"claims": float64(o.Count)},
	}
	if o.Where.VLAN != 0 {
		f.Features["vlan"] = float64(o.Where.VLAN)
	}
	if o.Where.IP.IsValid() {
		f.Dst = o.Where.IP.String()
	}
	switch o.Rule {
	case RuleTakeover:
		f.Severity, f.Risk, f.Confidence = sdk.SeverityHigh, 80, 0.9
		f.Summary = fmt.Sprintf("%s claims %s, which belongs to %s, without having been asked (%s)", o.By, f.Dst, o.From, times(o.Count))
	case RuleUnasked:
		f.Severity, f.Risk, f.Confidence = sdk.SeverityMedium, 60, 0.6
		f.Summary = fmt.Sprintf("%s, which has another address, told a host that had not asked that it has %s", o.By, f.Dst)
	case RuleFlood:
		f.Severity, f.Risk, f.Confidence = sdk.SeverityMedium, 55, 0.7
		f.Summary = fmt.Sprintf("%s tells others again and again where addresses are, without having been asked", o.By)
	}
	return f
}

func times(n int) string {
	if n == 1 {
		return "seen once"
	}
	return fmt.Sprintf("seen %d times", n)
}

func parseMACs(list []string) (map[mac]bool, error) {
	out := map[mac]bool{}
	for i, text := range list {
		m, err := net.ParseMAC(text)
		if err != nil || len(m) != len(mac{}) {
			return nil, sdk.Errorf(sdk.InvalidConfig, "ignore_macs[%d]: %q is not a hardware address such as 02:00:00:00:00:01", i, text)
		}
		out[mac(m)] = true
	}
	return out, nil
}
