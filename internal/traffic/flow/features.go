package flow

import (
	"time"

	"github.com/picketwatch/picket/sdk"
)

// fill writes the features of the finished flow f, whose state is e. They are set one by one: a value built beside out would be
// copied.
func (m *more) fill(out *sdk.Features, e state, f *sdk.Flow) {
	m.endRun()
	m.active.add(m.activeNow)
	a, b := &m.side[sideOf(e.initiatorIsA)], &m.side[sideOf(!e.initiatorIsA)]
	*out = sdk.Features{}
	out.FwdHeaderBytes, out.RevHeaderBytes = float64(f.FwdBytes-f.FwdPayload), float64(f.RevBytes-f.RevPayload)
	out.FwdDataPackets, out.RevDataPackets = float64(a.data), float64(b.data)
	out.FwdSmallPackets, out.RevSmallPackets = float64(a.small), float64(b.small)
	out.FwdTTLMin, out.RevTTLMin = float64(a.ttlMin), float64(b.ttlMin)
	out.FwdTTLMax, out.RevTTLMax = float64(a.ttlMax), float64(b.ttlMax)
	out.FwdDuration, out.RevDuration = float64(since(a.first, e.side[fwd].last))/second, float64(since(b.first, e.side[rev].last))/second
	out.ActivePeriods = float64(m.active.n)
	out.Turns = float64(m.turns)
	out.FwdEntropy, out.RevEntropy = a.content.entropy, b.content.entropy
	out.FwdPrintable, out.RevPrintable = ratio(a.content.text, a.content.bytes), ratio(b.content.text, b.content.bytes)
	out.PacketRatio, out.ByteRatio = ratio(f.RevPackets, f.FwdPackets), ratio(f.RevBytes, f.FwdBytes)
	out.FwdGoodput, out.RevGoodput = ratio(f.FwdPayload, f.FwdBytes), ratio(f.RevPayload, f.RevBytes)
	out.LenMin, out.LenMax, out.LenMean, out.LenStd = statsOfBoth(&e.side[fwd], &e.side[rev])
	out.FwdPayloadMin, out.FwdPayloadMax, out.FwdPayloadMean, out.FwdPayloadStd = a.payload.stats(f.FwdPackets, f.FwdPayload)
	out.RevPayloadMin, out.RevPayloadMax, out.RevPayloadMean, out.RevPayloadStd = b.payload.stats(f.RevPackets, f.RevPayload)
	out.ActiveMin, out.ActiveMax, out.ActiveMean, out.ActiveStd = m.active.stats(second)
	out.IdleMin, out.IdleMax, out.IdleMean, out.IdleStd = m.idle.stats(second)
	if e.key.proto == sdk.ProtoTCP {
		m.fillTCP(out, a, b)
	}
	if a.bulk.count|b.bulk.count != 0 {
		fillBulks(out, &a.bulk, &b.bulk)
	}
	m.fillRates(out, f)
	m.fillTimes(out, e, a, b)
	m.fillLengths(out, e.initiatorIsA)
}

// fillTCP writes what only TCP has.
func (m *more) fillTCP(out *sdk.Features, a, b *moreSide) {
	out.FwdWindowFirst, out.RevWindowFirst = float64(a.winFirst), float64(b.winFirst)
	out.FwdWindowMin, out.RevWindowMin = float64(a.winMin), float64(b.winMin)
	out.FwdWindowMax, out.RevWindowMax = float64(a.winMax), float64(b.winMax)
	out.FwdZeroWindows, out.RevZeroWindows = float64(a.zeroWindows), float64(b.zeroWindows)
	out.FwdRetransmits, out.RevRetransmits = float64(a.segments.retransmits), float64(b.segments.retransmits)
	out.FwdOutOfOrder, out.RevOutOfOrder = float64(a.segments.outOfOrder), float64(b.segments.outOfOrder)
	out.FwdMissedBytes, out.RevMissedBytes = float64(a.segments.missed), float64(b.segments.missed)
	out.HandshakeAck = float64(m.ack) / second
	a.flags.settle()
	b.flags.settle()
	fillFlags(out, &a.flags.full, &b.flags.full)
}

func fillBulks(out *sdk.Features, a, b *bulk) {
	out.FwdBulks, out.RevBulks = float64(a.count), float64(b.count)
	out.FwdBulkPackets, out.RevBulkPackets = ratio(a.packets, a.count), ratio(b.packets, b.count)
	out.FwdBulkBytes, out.RevBulkBytes = ratio(a.bytes, uint64(a.count)), ratio(b.bytes, uint64(b.count))
	out.FwdBulkRate, out.RevBulkRate = ratio(a.bytes, a.time)*second, ratio(b.bytes, b.time)*second
}

func fillFlags(out *sdk.Features, a, b *[8]uint32) {
	out.FwdFinCount, out.RevFinCount = float64(a[bitFIN]), float64(b[bitFIN])
	out.FwdSynCount, out.RevSynCount = float64(a[bitSYN]), float64(b[bitSYN])
	out.FwdRstCount, out.RevRstCount = float64(a[bitRST]), float64(b[bitRST])
	out.FwdPshCount, out.RevPshCount = float64(a[bitPSH]), float64(b[bitPSH])
	out.FwdAckCount, out.RevAckCount = float64(a[bitACK]), float64(b[bitACK])
	out.FwdUrgCount, out.RevUrgCount = float64(a[bitURG]), float64(b[bitURG])
	out.FwdEceCount, out.RevEceCount = float64(a[bitECE]), float64(b[bitECE])
	out.FwdCwrCount, out.RevCwrCount = float64(a[bitCWR]), float64(b[bitCWR])
	out.EceCount, out.CwrCount = out.FwdEceCount+out.RevEceCount, out.FwdCwrCount+out.RevCwrCount
}

func (m *more) fillRates(out *sdk.Features, f *sdk.Flow) {
	d := f.End.Sub(f.Start)
	if d <= 0 {
		return
	}
	s := float64(d) / float64(time.Second)
	out.PacketRate, out.ByteRate = float64(f.FwdPackets+f.RevPackets)/s, float64(f.FwdBytes+f.RevBytes)/s
	out.FwdPacketRate, out.FwdByteRate = float64(f.FwdPackets)/s, float64(f.FwdBytes)/s
	out.RevPacketRate, out.RevByteRate = float64(f.RevPackets)/s, float64(f.RevBytes)/s
}

func (m *more) fillTimes(out *sdk.Features, e state, a, b *moreSide) {
	switch {
	case a.data > 0 && b.data > 0:
		out.FirstData = float64(min(a.firstData, b.firstData)-e.first) / second
		out.ResponseTime = float64(since(a.firstData, b.firstData)) / second
	case a.data > 0:
		out.FirstData = float64(a.firstData-e.first) / second
	case b.data > 0:
		out.FirstData = float64(b.firstData-e.first) / second
	}
}

func (m *more) fillLengths(out *sdk.Features, initiatorIsA bool) {
	for i, to := range [firstLengths]*float64{
		&out.FirstLen1, &out.FirstLen2, &out.FirstLen3, &out.FirstLen4, &out.FirstLen5, &out.FirstLen6, &out.FirstLen7, &out.FirstLen8,
	} {
		if n := float64(m.lengths[i]); n > 0 {
			*to = n
			if fromA := m.dataFromA>>i&1 != 0; fromA != initiatorIsA {
				*to = -n
			}
		}
	}
}

// ratio is 0 without a divisor.
func ratio[T uint8 | uint32 | uint64](a, b T) float64 {
	if b == 0 {
		return 0
	}
	return float64(a) / float64(b)
}
