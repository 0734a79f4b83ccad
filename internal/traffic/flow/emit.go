package flow

import (
	"time"

	"github.com/picketwatch/picket/internal/traffic/decode"
	"github.com/picketwatch/picket/sdk"
)

// batch collects finished flows for the sink. Its memory is used again for each batch.
type batch struct {
	flows    []sdk.Flow
	packets  []uint64 // backs Flow.Packets
	features []sdk.Features
	emit     func([]sdk.Flow) error
	err      error // the first one that emit returned; nothing is emitted after it
}

func newBatch(cfg Config, emit func([]sdk.Flow) error) batch {
	b := batch{flows: make([]sdk.Flow, 0, cfg.Batch), packets: make([]uint64, cfg.Batch*sdk.FlowPackets), emit: emit}
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
		b.err = b.emit(b.flows)
	}
	b.flows = b.flows[:0]
}

const second = float64(time.Second)

// fill writes the finished flow; numbers receives the packet numbers.
func (e state) fill(f *sdk.Flow, numbers []uint64, reason sdk.EndReason) {
	a, b := e.key.addresses()
	src, dst, srcPort, dstPort := a, b, e.key.aPort, e.key.bPort
	if !e.initiatorIsA {
		src, dst, srcPort, dstPort = b, a, e.key.bPort, e.key.aPort
	}
	if e.key.proto == sdk.ProtoICMP || e.key.proto == sdk.ProtoICMPv6 {
		srcPort, dstPort = icmpTypeCode(srcPort, dstPort)
	}
	fs, rs := &e.side[fwd], &e.side[rev]
	*f = sdk.Flow{
		ID:               e.id,
		CommunityID:      communityID(&e.key, e.initiatorIsA),
		Start:            time.Unix(0, e.first).UTC(),
		End:              time.Unix(0, e.last).UTC(),
		Src:              decode.Addr(src, e.key.version),
		Dst:              decode.Addr(dst, e.key.version),
		SrcPort:          srcPort,
		DstPort:          dstPort,
		VLAN:             e.key.vlan,
		Proto:            e.key.proto,
		EndReason:        reason,
		InitiatorGuessed: e.guessed,
		Tunnel:           e.tunnel.String(),
		TunnelID:         e.tunnelID,
		FwdPackets:       fs.packets, RevPackets: rs.packets,
		FwdBytes: fs.bytes, RevBytes: rs.bytes,
		FwdPayload: fs.payload, RevPayload: rs.payload,
		FwdFlags: fs.flags, RevFlags: rs.flags,
		FwdFirstFlags: fs.firstFlags,
		Packets:       numbers[:copy(numbers, e.packets[:min(e.total(), sdk.FlowPackets)])],
		FinCount:      float64(e.flagCount[0]),
		SynCount:      float64(e.flagCount[1]),
		RstCount:      float64(e.flagCount[2]),
		PshCount:      float64(e.flagCount[3]),
		AckCount:      float64(e.flagCount[4]),
		UrgCount:      float64(e.flagCount[5]),
		HandshakeRTT:  float64(e.rtt) / second,
	}
	fwdLengths, revLengths := fs.lengths(), rs.lengths()
	f.FwdLenMin, f.FwdLenMax, f.FwdLenMean, f.FwdLenStd = fwdLengths.stats(1)
	f.RevLenMin, f.RevLenMax, f.RevLenMean, f.RevLenStd = revLengths.stats(1)
	f.IATMin, f.IATMax, f.IATMean, f.IATStd = e.gap.stats(second)
	f.FwdIATMin, f.FwdIATMax, f.FwdIATMean, f.FwdIATStd = fs.gap.stats(second)
	f.RevIATMin, f.RevIATMax, f.RevIATMean, f.RevIATStd = rs.gap.stats(second)
}
