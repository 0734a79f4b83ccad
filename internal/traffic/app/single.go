package app

import "net/netip"

// Single returns a flow to tell the facts of single packets with, for a protocol whose packets are no flows of TCP or UDP:
// what is below IP, and ICMP. It is nil when nobody asked for the protocol's facts.
func (e *Engine) Single(protocol string) *Flow {
	for i := range e.protocols {
		if e.protocols[i].Name == protocol && e.sinks[i] != nil {
			return &Flow{engine: e, proto: uint16(i + 1), name: uint16(i + 1)}
		}
	}
	return nil
}

// Single readies a flow of Engine.Single for the next packet; it belongs to no flow of the table until it is given an ID.
func (f *Flow) Single(number uint64, at int64) {
	f.ID, f.Client, f.Server, f.VLAN, f.Transport = 0, netip.AddrPort{}, netip.AddrPort{}, 0, 0
	f.Packet, f.Time, f.facts, f.Taken = number, at, 0, [maxKinds]uint16{}
}
