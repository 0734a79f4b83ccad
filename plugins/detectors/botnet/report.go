package botnet

import (
	"fmt"
	"math"
	"net/netip"
	"strings"

	"github.com/picketwatch/picket/plugins/detectors/internal/sketch"
	"github.com/picketwatch/picket/sdk"
)

// usualChat reports whether a port is one that people chat at.
func usualChat(port uint16) bool { return port >= 6660 && port <= 6669 || port == 6697 || port == 7000 }

// ofFan puts a fan into words.
func (d *Detector) ofFan(o *fan) sdk.Finding {
	src, hosts := o.src.Addr(), o.nHosts/sketch.Unit
	out := sdk.Finding{
		Detector: "picket/botnet",
		Src:      src.String(),
		Features: map[string]float64{"hosts": float64(hosts), "flows": float64(o.flows), "failed": float64(o.failed)},
	}
	if o.dst.Addr().IsValid() {
		out.Dst = netip.AddrPortFrom(o.dst.Addr(), o.port).String()
	}
	var confidence float64
	switch o.kind {
	case ofChat:
		out.Rule, out.Techniques, confidence = RuleChat, []string{"T1071"}, 0.7
		out.Summary = fmt.Sprintf("%s is in a chat (IRC) at %s, a port where people do not chat", src, out.Dst)
		if usualChat(o.port) {
			confidence = 0.4
			out.Summary = fmt.Sprintf("%s is in a chat (IRC) at %s", src, out.Dst)
		}
	case ofPool:
		out.Rule, out.Techniques, confidence = RuleMining, []string{"T1496"}, 0.9
		out.Summary = fmt.Sprintf("%s mines for the pool at %s (Stratum)", src, out.Dst)
	case ofCurrency:
		out.Rule, out.Techniques, confidence = RuleMining, []string{"T1496"}, 0.6
		out.Summary = fmt.Sprintf("%s belongs to the network of the currency Monero: it greeted %d of its hosts", src, hosts)
	case ofHeartbeat:
		out.Rule, out.Techniques, confidence = RuleHeartbeat, []string{"T1571", "T1095"}, 0.45
		out.Summary = fmt.Sprintf("a program on %s keeps telling %s that it is there, in a protocol that is not known, and is hardly answered", src, out.Dst)
	case ofPeers:
		out.Rule, out.Techniques = RulePeers, []string{"T1095"}
		confidence = grown(0.6, float64(hosts)/float64(d.cfg.Peers))
		out.Summary = fmt.Sprintf("%s had the same short exchange with about %d hosts outside at %s port %d", src, hosts, strings.ToUpper(sdk.ProtoName(o.proto)), o.port)
	case ofSpread:
		out.Rule, out.Techniques = RuleSpread, []string{"T1210"}
		confidence = grown(0.7, float64(o.sizes.most())/exploits)
		out.Features["same"] = float64(o.sizes.most())
		out.Summary = fmt.Sprintf("%s tried port %d of about %d hosts and sent the same to %d that answered, as a worm does", src, o.port, hosts, o.sizes.most())
	}
	o.Into(&out, confidence)
	if confidence < 0.5 {
		out.Severity, out.Risk = sdk.SeverityLow, 30
	}
	for i := range o.refs {
		out.Flows = append(out.Flows, o.refs[i].Full(src, o.refs[i].dst.Addr(), o.proto))
	}
	return out
}

// grown is a confidence that is a tenth more each time that something doubles.
func grown(from, times float64) float64 {
	return min(0.95, math.Round(100*(from+0.1*math.Log2(max(1, times))))/100)
}

// ofPage puts requests into words.
func (d *Detector) ofPage(p *page) sdk.Finding {
	client, server, score := p.client.Addr(), p.server.Addr(), p.score()
	out := sdk.Finding{
		Detector: "picket/botnet", Rule: RuleHTTP, Techniques: []string{"T1071.001"},
		Src:      client.String(),
		Features: map[string]float64{"requests": float64(p.requests), "signs": float64(score)},
	}
	var names []string
	for i, one := range signNames {
		if p.has(i) {
			names = append(names, one.text)
		}
	}
	times, many := "requests", ""
	if p.requests == 1 {
		times = "request"
	}
	if p.ofKind() {
		many = fmt.Sprintf("%d servers such as ", p.met())
		out.Features["servers"] = float64(p.met())
	} else {
		out.Dst = netip.AddrPortFrom(server, p.port).String()
	}
	out.Summary = fmt.Sprintf("a program on %s sent %d %s to %s%s%s that look like asking for orders: %s", client, p.requests, times, many, p.host, p.path, strings.Join(names, ", "))
	p.Into(&out, min(0.9, math.Round(100*(0.6+0.1*float64(score-d.cfg.Signs)))/100))
	if score < d.cfg.Signs || p.requests < fewRequests {
		out.Severity, out.Risk = sdk.SeverityLow, 35
	}
	out.Flows = p.Refs(client, server, sdk.ProtoTCP)
	return out
}
