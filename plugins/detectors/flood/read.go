package flood

import (
	"net/netip"

	"github.com/picketwatch/picket/plugins/detectors/internal/bare"
	"github.com/picketwatch/picket/sdk"
)

// kind is what a flow is to the service or host that it goes to.
type kind uint8

const (
	nothing  kind = iota
	finished      // it went as it should, or its client waits for an answer in earnest
	halfOpen      // a connection was begun and never completed
	starving      // a request was begun, and the service waits
	unasked       // nobody asked for it, nobody answers
)

// Types of ICMP and ICMPv6.
const (
	echoReply, unreachable, echo          = 0, 3, 8
	unreachable6, echo6, echoReply6       = 1, 128, 129
	patient                         int64 = 10e9 // ns that a starving connection lasts at least
	shortRequest                          = 4096 // bytes
)

// read says what a flow is.
func read(f *sdk.Flow) kind {
	switch f.Proto {
	case sdk.ProtoTCP:
		return readTCP(f)
	case sdk.ProtoUDP:
		if f.RevPackets > 0 || f.Dst.IsMulticast() || isBroadcast(f.Dst) {
			return finished
		}
		return unasked
	case sdk.ProtoICMP:
		if f.SrcPort == echo || f.SrcPort == echoReply && f.FwdPackets > 0 {
			return unasked
		}
	case sdk.ProtoICMPv6:
		if (f.SrcPort == echo6 || f.SrcPort == echoReply6 && f.FwdPackets > 0) && !f.Dst.IsMulticast() {
			return unasked
		}
	}
	return nothing
}

func readTCP(f *sdk.Flow) kind {
	const syn, ack, rst, fin = sdk.FlagSYN, sdk.FlagACK, sdk.FlagRST, sdk.FlagFIN
	switch {
	case f.FwdPackets == 0:
		return nothing // the echo of what somebody forged
	case f.FwdFirstFlags&(syn|ack) == syn && f.FwdFlags&ack == 0 && f.FwdPayload == 0:
		return begun(f)
	case f.FwdFirstFlags&syn != 0:
		if f.RevPayload == 0 && f.FwdPayload > 0 && f.FwdPayload <= shortRequest && f.RevFlags&(syn|ack) == syn|ack &&
			f.RevFlags&(fin|rst) == 0 && f.FwdPackets > 3 && f.End.Sub(f.Start).Nanoseconds() >= patient {
			return starving
		}
		return finished
	case f.FwdFirstFlags&rst == 0 && f.FwdPackets == 1 && f.FwdPayload == 0 && f.RevFlags&^(rst|ack) == 0:
		return unasked
	}
	return finished
}

// begun tells a flood from clients that want to be served: a client whose question is not answered asks again, three to seven times,
// and one that is refused is done.
func begun(f *sdk.Flow) kind {
	switch {
	case f.RevFlags&sdk.FlagSYN != 0, f.RevPackets == 0 && (f.FwdPackets == 1 || f.FwdPackets > maxAgain):
		return halfOpen
	}
	return finished
}

// maxAgain is how many times a system asks at most for one connection.
const maxAgain = 12

// weight is how many packets of a flow fell into ten seconds, at its mean rate.
func weight(f *sdk.Flow) uint64 {
	lasted := f.End.Sub(f.Start).Nanoseconds()
	if lasted <= bucketSize {
		return f.FwdPackets
	}
	return uint64(float64(f.FwdPackets) * (float64(bucketSize) / float64(lasted)))
}

// keys are where a flow is counted: its service, and its host where floods need not keep to a port.
func (k kind) keys(f *sdk.Flow) (service, host key, both bool) {
	host = key{host: bare.Of(f.Dst), proto: f.Proto}
	service = host
	if f.Proto == sdk.ProtoTCP {
		service.port = f.DstPort
	}
	return service, host, service != host
}

// isBroadcast takes a last byte of 255 for a directed broadcast: flows do not show the netmask.
func isBroadcast(a netip.Addr) bool { return a.Is4() && a.As4()[3] == 255 }

// hash is FNV-1a with a last stir, the same on every machine.
func hash(b []byte) uint32 {
	h := uint64(14695981039346656037)
	for _, c := range b {
		h = (h ^ uint64(c)) * 1099511628211
	}
	h ^= h >> 32
	h *= 0xd6e8feb86659fd93
	return uint32(h >> 32)
}
