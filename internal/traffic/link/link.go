// Package link reads what no flow of TCP or UDP carries: frames without IP (ARP, LLDP, CDP, PROFINET DCP, spanning tree, the
// beacons of 802.11), and ICMP, neighbour discovery and IGMP in IP.
//
// In goes one captured packet after the other, with what package decode made of it; out go facts through the app.Engine that
// asked for them. Each message stands alone: nothing is kept between packets. Frames are found behind VLAN tags; those inside
// of MPLS, PPPoE and tunnels are not looked for. A PROFINET frame other than DCP is not read.
package link

import (
	"net/netip"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/capture"
	"github.com/picketwatch/picket/internal/traffic/decode"
)

// Names of the protocols, by which their facts are asked for.
const (
	NameARP      = "arp"          // fact ARP
	NameLLDP     = "lldp"         // fact LLDP
	NameCDP      = "cdp"          // fact CDP
	NameDCP      = "profinet-dcp" // fact DCP
	NameSTP      = "stp"          // fact STP
	NameWireless = "802.11"       // fact Wireless
	NameNDP      = "ndp"          // fact NDP
	NameICMP     = "icmp"         // fact ICMP, of both versions
	NameIGMP     = "igmp"         // fact IGMP
)

// Protocols returns the protocols, which have no parsers of flows.
func Protocols() []app.Protocol {
	names := []string{NameARP, NameLLDP, NameCDP, NameDCP, NameSTP, NameWireless, NameNDP, NameICMP, NameIGMP}
	out := make([]app.Protocol, 0, len(names))
	for _, name := range names {
		out = append(out, app.Protocol{Name: name})
	}
	return out
}

// At says which packet is read.
type At struct {
	Number uint64
	Time   int64
	// Flow is the flow that an IP packet was counted in, 0 for a frame without IP. FromServer says that the other side began it.
	Flow       uint64
	FromServer bool
}

// Reader reads what was asked for.
type Reader struct {
	arp, lldp, cdp, dcp, stp, wireless, ndp, icmp, igmp *app.Flow
	frames, packets                                     bool // somebody asked for what is below IP, or in it
	engine                                              *app.Engine
	fact                                                facts
}

// facts are used again for each packet.
type facts struct {
	arp      ARP
	lldp     LLDP
	cdp      CDP
	dcp      DCP
	stp      STP
	wireless Wireless
	ndp      NDP
	icmp     ICMP
	igmp     IGMP
}

// New returns a reader for an engine, nil when nobody asked for anything that it reads.
func New(e *app.Engine) *Reader {
	if e == nil {
		return nil
	}
	r := &Reader{
		engine: e,
		arp:    e.Single(NameARP), lldp: e.Single(NameLLDP), cdp: e.Single(NameCDP), dcp: e.Single(NameDCP), stp: e.Single(NameSTP),
		wireless: e.Single(NameWireless), ndp: e.Single(NameNDP), icmp: e.Single(NameICMP), igmp: e.Single(NameIGMP),
	}
	r.frames = r.arp != nil || r.lldp != nil || r.cdp != nil || r.dcp != nil || r.stp != nil || r.wireless != nil
	r.packets = r.ndp != nil || r.icmp != nil || r.igmp != nil
	if !r.frames && !r.packets {
		return nil
	}
	return r
}

// Wants reports whether a packet of this outcome may be of interest.
func (r *Reader) Wants(outcome decode.Outcome, d *decode.Packet) bool {
	switch outcome {
	case decode.NotIP:
		return r.frames
	case decode.Flow:
		return r.packets && (d.Proto == protoICMP || d.Proto == protoICMPv6 || d.Proto == protoIGMP)
	}
	return false
}

// IP protocols.
const (
	protoICMP   = 1
	protoIGMP   = 2
	protoICMPv6 = 58
)

// Frame reads a packet whose outcome is decode.NotIP.
func (r *Reader) Frame(at At, link capture.LinkType, data []byte) {
	defer r.engine.Survive(0, at.Number)
	f, ok := open(link, data)
	if !ok {
		return
	}
	switch f.kind {
	case kindARP:
		tell(r.arp, at, &f, &r.fact.arp)
	case kindLLDP:
		tell(r.lldp, at, &f, &r.fact.lldp)
	case kindCDP:
		tell(r.cdp, at, &f, &r.fact.cdp)
	case kindProfinet:
		tell(r.dcp, at, &f, &r.fact.dcp)
	case kindSTP:
		tell(r.stp, at, &f, &r.fact.stp)
	case kindManagement:
		tell(r.wireless, at, &f, &r.fact.wireless)
	}
}

// reader reads a frame into itself; what is left out for a limit it tells to the flow. It says false when the bytes are none
// of its own.
type reader interface {
	read(to *app.Flow, f *frame) bool
}

func tell(to *app.Flow, at At, f *frame, fact reader) {
	if to == nil {
		return
	}
	to.Single(at.Number, at.Time)
	to.VLAN = f.vlan
	if fact.read(to, f) {
		to.Emit(app.Client, fact)
	}
}

// Packet reads a packet whose outcome is decode.Flow. The frame around it is given for the sender's hardware address.
func (r *Reader) Packet(at At, link capture.LinkType, data []byte, d *decode.Packet) {
	if d.Short {
		return
	}
	defer r.engine.Survive(at.Flow, at.Number)
	switch {
	case d.Proto == protoICMPv6 && d.Version == 6 && isNDP(d):
		if r.ndp != nil && r.fact.ndp.read(ready(r.ndp, at, d), d) {
			if f, ok := open(link, data); ok && d.Tunnel == 0 { // in a tunnel the frame is that of its end
				r.fact.ndp.Source = f.source
			}
			r.ndp.Emit(direction(at), &r.fact.ndp)
		}
	case d.Proto == protoICMP || d.Proto == protoICMPv6:
		if r.icmp != nil {
			r.fact.icmp.read(d)
			ready(r.icmp, at, d).Emit(direction(at), &r.fact.icmp)
		}
	case r.igmp != nil && d.Proto == protoIGMP:
		if r.fact.igmp.read(ready(r.igmp, at, d), d) {
			r.igmp.Emit(direction(at), &r.fact.igmp)
		}
	}
}

func direction(at At) app.Dir {
	if at.FromServer {
		return app.Server
	}
	return app.Client
}

// ready fills the flow in for an IP packet.
func ready(to *app.Flow, at At, d *decode.Packet) *app.Flow {
	to.Single(at.Number, at.Time)
	to.ID, to.VLAN, to.Transport = at.Flow, d.VLAN, d.Proto
	to.Client, to.Server = netip.AddrPortFrom(d.SrcAddr(), 0), netip.AddrPortFrom(d.DstAddr(), 0)
	if at.FromServer {
		to.Client, to.Server = to.Server, to.Client
	}
	return to
}
