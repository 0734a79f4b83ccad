package beacon

import (
	"fmt"
	"net/netip"

	"github.com/picketwatch/picket/sdk"
)

// isCall reports whether a flow is a call as a beacon makes them: it shows how it began, it says something, and it was
// heard. That leaves out the middle of old connections, connections that only knock (TCP health checks send nothing),
// one-way telemetry, and whatever goes to many hosts at once.
func isCall(f *sdk.Flow) bool {
	if f.FwdPayload == 0 || f.RevPackets == 0 || toMany(f.Dst) {
		return false
	}
	switch f.Proto {
	case sdk.ProtoTCP:
		return f.FwdFirstFlags&(sdk.FlagSYN|sdk.FlagACK) == sdk.FlagSYN && f.RevFlags&sdk.FlagSYN != 0
	case sdk.ProtoUDP:
		return !periodicByNature(f.DstPort)
	}
	return false
}

const (
	portSNMP = 161
	// manyPings are more than somebody sends who only looks whether a host is there.
	manyPings = 5
)

// isWatch reports whether a flow is what a monitoring system asks a host within the network: pings without an end, or SNMP.
func isWatch(f *sdk.Flow) bool {
	const echo, echo6 = 8, 128
	switch {
	case f.RevPackets == 0 || outside(f.Dst):
		return false
	case f.Proto == sdk.ProtoUDP:
		return f.DstPort == portSNMP
	case f.Proto == sdk.ProtoICMP && f.SrcPort == echo || f.Proto == sdk.ProtoICMPv6 && f.SrcPort == echo6:
		return f.RevPackets >= manyPings
	}
	return false
}

// periodicByNature names the UDP services whose ordinary clients are regular: name lookups, addresses, time, discovery,
// monitoring, logs, key exchange and its keep-alives.
func periodicByNature(port uint16) bool {
	switch port {
	case 53, 67, 68, 69, 123, 137, 138, 161, 162, 319, 320, 500, 514, 546, 547, 1812, 1813, 1900, 2055, 3478, 3702, 4500, 4739,
		5246, 5350, 5351, 5353, 5355, 5678, 6343, 10001, 17500, 51820:
		return true
	}
	return false
}

func toMany(a netip.Addr) bool {
	return a.IsMulticast() || a.Is4() && a.As4()[3] == 255
}

// prefixes are the destinations that may be called regularly.
type prefixes []netip.Prefix

func parsePrefixes(texts []string) (prefixes, error) {
	var out prefixes
	for _, text := range texts {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", text, err)
		}
		out = append(out, p.Masked())
	}
	return out, nil
}

func (p prefixes) contain(a netip.Addr) bool {
	for _, prefix := range p {
		if prefix.Contains(a) {
			return true
		}
	}
	return false
}
