package kit

import (
	"net/netip"
	"sort"
	"time"

	"github.com/picketwatch/picket/sdk"
)

// SampleFlows returns flows in order of their end, as the traffic engine gives them: web traffic, a port scan, a sweep,
// a beacon, and flows with nothing set that a detector must survive.
func SampleFlows() []sdk.Flow {
	var f flowMaker
	client, server := addr(10, 0, 0, 1), addr(192, 0, 2, 10)
	for i := range 300 {
		f.add(time.Duration(i)*7*time.Second+time.Duration(i*i%1000)*time.Millisecond, client, addr(192, 0, 2, byte(i%40)), 443, answered)
	}
	for port := range 200 {
		f.add(100*time.Second+time.Duration(port)*20*time.Millisecond, addr(10, 0, 0, 66), server, uint16(port+1), refused)
	}
	for host := range 200 {
		f.add(200*time.Second+time.Duration(host)*20*time.Millisecond, addr(10, 0, 0, 67), addr(10, 0, 1, byte(host)), 22, unanswered)
	}
	for i := range 60 {
		f.add(time.Duration(i)*30*time.Second, addr(10, 0, 0, 68), addr(198, 51, 100, 7), 8443, answered)
	}
	sort.SliceStable(f.flows, func(i, j int) bool { return f.flows[i].End.Before(f.flows[j].End) })
	return append(f.flows, sdk.Flow{}, sdk.Flow{ID: 1, Proto: 255, EndReason: 250})
}

type outcome int

const (
	answered outcome = iota
	refused
	unanswered
)

type flowMaker struct{ flows []sdk.Flow }

func (m *flowMaker) add(after time.Duration, src, dst netip.Addr, port uint16, o outcome) {
	n := uint64(len(m.flows) + 1)
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC).Add(after)
	f := sdk.Flow{
		ID: n, CommunityID: "1:sample", Start: start, End: start.Add(time.Second), Src: src, Dst: dst,
		SrcPort: uint16(40000 + n%20000), DstPort: port, Proto: sdk.ProtoTCP, EndReason: sdk.EndFIN,
		FwdPackets: 1, FwdBytes: 60, FwdFlags: sdk.FlagSYN, FwdFirstFlags: sdk.FlagSYN, SynCount: 1,
		FwdLenMin: 60, FwdLenMax: 60, FwdLenMean: 60, Packets: []uint64{4*n - 3},
	}
	switch o {
	case answered:
		f.FwdPackets, f.RevPackets, f.FwdBytes, f.RevBytes, f.FwdPayload, f.RevPayload = 6, 5, 900, 4000, 500, 3700
		f.FwdFlags, f.RevFlags = sdk.FlagSYN|sdk.FlagACK|sdk.FlagPSH|sdk.FlagFIN, sdk.FlagSYN|sdk.FlagACK|sdk.FlagPSH|sdk.FlagFIN
		f.HandshakeRTT, f.IATMean, f.IATMax = 0.02, 0.1, 0.5
		f.Packets = append(f.Packets, 4*n-2, 4*n-1)
	case refused:
		f.RevPackets, f.RevBytes, f.RevFlags, f.EndReason, f.RstCount = 1, 40, sdk.FlagRST|sdk.FlagACK, sdk.EndRST, 1
	case unanswered:
		f.EndReason = sdk.EndIdle
	}
	m.flows = append(m.flows, f)
}

func addr(a, b, c, d byte) netip.Addr { return netip.AddrFrom4([4]byte{a, b, c, d}) }

// SampleNotice returns a notice with everything set, and text that must be escaped.
func SampleNotice() sdk.Notice {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	return sdk.Notice{
		ID: "0198c0de-0000-7000-8000-000000000001", Time: at, Event: "alert.firing", Severity: sdk.SeverityHigh,
		Title: "Port scan by 10.0.0.66", Text: "10.0.0.66 asked 192.0.2.10 for 200 ports.\nWith <markup>, \"quotes\" and ümläute.",
		URL: "https://picket.example.org/alerts/1", AlertID: "0198c0de-0000-7000-8000-00000000000a",
		Alert: &sdk.Finding{ID: "abc", Detector: "picket/portscan", Rule: "vertical", Severity: sdk.SeverityHigh, Risk: 70, Confidence: 0.9,
			Techniques: []string{"T1046"}, Src: "10.0.0.66", Dst: "192.0.2.10", Start: at, End: at.Add(4 * time.Second), Packets: []uint64{1, 2},
			Flows: []sdk.FlowRef{}, Summary: "10.0.0.66 probed 200 ports of 192.0.2.10"},
		Samples: []sdk.Sample{
			{Metric: "system.cpu.time", Unit: "s", Type: sdk.Counter, Labels: map[string]string{"cpu.mode": "user", "host.name": "web-1"}, Time: at, Value: 12.5},
			{Metric: "system.filesystem.usage", Unit: "By", Type: sdk.Gauge, Labels: map[string]string{"system.filesystem.mountpoint": "/a b,c=d"}, Time: at, Value: 1e12},
		},
	}
}

// SamplePackets returns packets in order of time: address resolution with a second machine claiming an address, ordinary
// traffic, and packets that end too early.
func SamplePackets() []sdk.Packet {
	var out []sdk.Packet
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	add := func(data []byte) {
		n := uint64(len(out) + 1)
		out = append(out, sdk.Packet{Number: n, Time: at.Add(time.Duration(n) * 100 * time.Millisecond), Link: 1, Length: uint32(len(data)), Data: data})
	}
	for i := range 200 {
		who := byte(i%20 + 1)
		add(arpReply(who, who))
		if i > 100 {
			add(arpReply(1, 66)) // somebody else says that it is the first one
		}
		add(udpPacket(who, byte(i)))
	}
	add(nil)
	add([]byte{1, 2, 3})
	add(arpReply(1, 1)[:20])
	return out
}

func ethernet(kind uint16, from byte, payload []byte) []byte {
	head := []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, from, byte(kind >> 8), byte(kind)}
	return append(head, payload...)
}

// arpReply says that 10.0.0.who has the hardware address that ends in mac.
func arpReply(who, mac byte) []byte {
	return ethernet(0x0806, mac, []byte{0, 1, 8, 0, 6, 4, 0, 2, 2, 0, 0, 0, 0, mac, 10, 0, 0, who, 2, 0, 0, 0, 0, 254, 10, 0, 0, 254})
}

func udpPacket(from, port byte) []byte {
	return ethernet(0x0800, from, []byte{0x45, 0, 0, 32, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, from, 192, 0, 2, 1,
		0x9c, port, 0, 53, 0, 12, 0, 0, 1, 2, 3, 4})
}
