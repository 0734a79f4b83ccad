package flow

import (
	"time"

	"github.com/picketwatch/picket/sdk"
)

// batch collects finished flows for the sink. Its memory is used again for each batch.
type batch struct {
	flows    []sdk.Flow
	packets  []uint64 // backs Flow.Packets
	features []sdk.Features
	ids      []byte // Community IDs, one after the other
	emit     func([]sdk.Flow) error
	err      error // the first one that emit returned; nothing is emitted after it
}

func newBatch(cfg Config, emit func([]sdk.Flow) error) batch {
	b := batch{flows: make([]sdk.Flow, 0, cfg.Batch), packets: make([]uint64, cfg.Batch*sdk.FlowPackets), emit: emit}
	b.ids = make([]byte, 0, cfg.Batch*communityIDSize)
	if cfg.Features {
		b.features = make([]sdk.Features, cfg.Batch)
	}
	return b
}

// append takes a finished flow; m is what its features need, nil without them.
func (b *batch) append(e state, m *more, reason sdk.EndReason, app string) {
	n := len(b.flows)
	numbers := b.packets[n*sdk.FlowPackets : (n+1)*sdk.FlowPackets : (n+1)*sdk.FlowPackets]
	b.flows = b.flows[:n+1]
	e.fill(&b.flows[n], numbers, reason)
	b.flows[n].App = app
	b.ids = appendCommunityID(b.ids, &e.key, e.initiatorIsA)
	if m != nil {
		b.flows[n].Features = &b.features[n]
		m.fill(&b.features[n], e, &b.flows[n])
	}
	if n+1 == cap(b.flows) {
		b.flush()
	}
}

func (b *batch) flush() {
	if len(b.flows) > 0 && b.err == nil {
		ids := string(b.ids) // one string for all of them
		for i := range b.flows {
			b.flows[i].CommunityID = ids[i*communityIDSize : (i+1)*communityIDSize]
		}
		b.err = b.emit(b.flows)
	}
	b.flows, b.ids = b.flows[:0], b.ids[:0]
}

const second = float64(time.Second)

// fill writes the finished flow but for its Community ID; numbers receives the packet numbers. The fields are set one by one: a
// value built beside f would be copied.
func (e state) fill(f *sdk.Flow, numbers []uint64, reason sdk.EndReason) {
	src, dst, srcPort, dstPort := e.key.a(), e.key.b(), e.key.aPort, e.key.bPort
	if !e.initiatorIsA {
		src, dst, srcPort, dstPort = dst, src, dstPort, srcPort
	}
	if isICMP(e.key.proto) {
		srcPort, dstPort = icmpTypeCode(srcPort, dstPort)
	}
	fs, rs := &e.side[fwd], &e.side[rev]
	*f = sdk.Flow{}
	f.ID = e.id
	f.Start, f.End = time.Unix(0, e.first).UTC(), time.Unix(0, e.last).UTC()
	f.Src, f.Dst = src.addr(e.key.version), dst.addr(e.key.version)
	f.SrcPort, f.DstPort = srcPort, dstPort
	f.VLAN, f.Proto = e.key.vlan, e.key.proto
	f.EndReason, f.InitiatorGuessed = reason, e.guessed
	f.Tunnel, f.TunnelID = e.tunnel.String(), e.tunnelID
	f.FwdPackets, f.RevPackets = fs.packets, rs.packets
	f.FwdBytes, f.RevBytes = fs.bytes, rs.bytes
	f.FwdPayload, f.RevPayload = fs.payload, rs.payload
	f.FwdFlags, f.RevFlags, f.FwdFirstFlags = fs.flags, rs.flags, fs.firstFlags
	f.Packets = numbers[:copy(numbers, e.packets[:min(e.total(), sdk.FlowPackets)])]
	f.FinCount, f.SynCount, f.RstCount = float64(e.flagCount[0]), float64(e.flagCount[1]), float64(e.flagCount[2])
	f.PshCount, f.AckCount, f.UrgCount = float64(e.flagCount[3]), float64(e.flagCount[4]), float64(e.flagCount[5])
	f.HandshakeRTT = float64(e.rtt) / second
	f.FwdLenMin, f.FwdLenMax, f.FwdLenMean, f.FwdLenStd = fs.length.stats(fs.packets, fs.bytes)
	f.RevLenMin, f.RevLenMax, f.RevLenMean, f.RevLenStd = rs.length.stats(rs.packets, rs.bytes)
	f.IATMin, f.IATMax, f.IATMean, f.IATStd = e.gap.stats(second)
	f.FwdIATMin, f.FwdIATMax, f.FwdIATMean, f.FwdIATStd = fs.gap.stats(second)
	f.RevIATMin, f.RevIATMax, f.RevIATMean, f.RevIATStd = rs.gap.stats(second)
}
