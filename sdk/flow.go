package sdk

import (
	"net/netip"
	"strings"
	"time"
)

// Transport protocols as in the IP header.
const (
	ProtoICMP   = 1
	ProtoTCP    = 6
	ProtoUDP    = 17
	ProtoICMPv6 = 58
)

// TCP flags as in the header.
const (
	FlagFIN = 1 << iota
	FlagSYN
	FlagRST
	FlagPSH
	FlagACK
	FlagURG
	FlagECE
	FlagCWR
)

// EndReason says why a flow was closed.
type EndReason uint8

const (
	EndNone    EndReason = iota // not closed
	EndFIN                      // both sides closed
	EndRST                      // a reset was seen
	EndIdle                     // nothing for the idle timeout
	EndActive                   // open for longer than the active timeout; the rest is a new flow
	EndEvicted                  // dropped to stay within the memory cap
	EndCapture                  // the capture ended
)

var endReasons = [...]string{"none", "fin", "rst", "idle", "active", "eviction", "end"}

// String is the reason as it is shown, for example "idle".
func (r EndReason) String() string {
	if int(r) < len(endReasons) {
		return endReasons[r]
	}
	return "unknown"
}

// FlowPackets is how many packet numbers a flow keeps as evidence: its first ones.
const FlowPackets = 8

// Flow is a bidirectional conversation. Src is the initiator (the client); Fwd is from Src to Dst, Rev the answer.
// For ICMP, SrcPort holds the type and DstPort the code of the first packet.
//
// It travels as a fixed-layout row (package records): fields are only ever appended there.
type Flow struct {
	ID          uint64 // within the capture, from 1
	CommunityID string // version 1, seed 0
	Start, End  time.Time
	Src, Dst    netip.Addr
	SrcPort     uint16
	DstPort     uint16
	VLAN        uint16 // 0 when untagged
	Proto       uint8
	EndReason   EndReason
	// InitiatorGuessed is true when the capture did not show who began.
	InitiatorGuessed bool

	FwdPackets, RevPackets uint64
	FwdBytes, RevBytes     uint64 // IP length
	FwdPayload, RevPayload uint64 // transport payload
	FwdFlags, RevFlags     uint8  // TCP flags seen, or-ed
	FwdFirstFlags          uint8  // flags of the initiator's first packet

	// Packets holds the numbers of the first packets in the capture.
	Packets []uint64

	// Features, all float64. Lengths are IP lengths in bytes, inter-arrival times (IAT) are in seconds;
	// standard deviations are of the population; a feature of an empty direction is 0.
	FwdLenMin, FwdLenMax, FwdLenMean, FwdLenStd float64
	RevLenMin, RevLenMax, RevLenMean, RevLenStd float64
	IATMin, IATMax, IATMean, IATStd             float64
	FwdIATMin, FwdIATMax, FwdIATMean, FwdIATStd float64
	RevIATMin, RevIATMax, RevIATMean, RevIATStd float64
	SynCount, FinCount, RstCount, PshCount      float64
	AckCount, UrgCount                          float64
	HandshakeRTT                                float64 // SYN to SYN-ACK, 0 when not seen

	// App is the application protocol that the content shows, for example "tls"; "" when it is not known.
	App string
	// Tunnel is the kind of the innermost tunnel that the flow was carried in, for example "vxlan", "" for none; TunnelID its
	// network (VNI, key), 0 where it has none.
	Tunnel   string
	TunnelID uint32

	// Features are further ones, nil unless the Subscription asks for them.
	Features *Features
}

// Duration is the time from the first to the last packet.
func (f *Flow) Duration() time.Duration { return f.End.Sub(f.Start) }

// ProtoName names a transport protocol.
func ProtoName(p uint8) string {
	switch p {
	case ProtoICMP:
		return "icmp"
	case ProtoTCP:
		return "tcp"
	case ProtoUDP:
		return "udp"
	case ProtoICMPv6:
		return "icmpv6"
	}
	return "ip"
}

// Ref names the flow for the evidence of a finding. It may be kept: the texts of a flow lie beside those of others, which
// would be kept with them.
func (f *Flow) Ref() FlowRef {
	return FlowRef{
		ID:          f.ID,
		CommunityID: strings.Clone(f.CommunityID),
		Proto:       ProtoName(f.Proto),
		Src:         netip.AddrPortFrom(f.Src, f.SrcPort).String(),
		Dst:         netip.AddrPortFrom(f.Dst, f.DstPort).String(),
	}
}
