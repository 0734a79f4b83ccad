package flow

import (
	"math/bits"
	"time"

	"github.com/picketwatch/picket/sdk"
)

// fill writes the features of the finished flow f, whose state is e.
func (m *more) fill(out *sdk.Features, e state, f *sdk.Flow) {
	m.endRun()
	m.active.add(m.activeNow)
	a, b := &m.side[sideOf(e.initiatorIsA)], &m.side[sideOf(!e.initiatorIsA)]
	a.flags.settle()
	b.flags.settle()
	*out = sdk.Features{
		FwdHeaderBytes: float64(f.FwdBytes - f.FwdPayload), RevHeaderBytes: float64(f.RevBytes - f.RevPayload),
		FwdDataPackets: float64(a.data), RevDataPackets: float64(b.data),
		FwdSmallPackets: float64(a.small), RevSmallPackets: float64(b.small),
		FwdWindowFirst: float64(a.winFirst), RevWindowFirst: float64(b.winFirst),
		FwdWindowMin: float64(a.winMin), RevWindowMin: float64(b.winMin),
		FwdWindowMax: float64(a.winMax), RevWindowMax: float64(b.winMax),
		FwdZeroWindows: float64(a.zeroWindows), RevZeroWindows: float64(b.zeroWindows),
		FwdTTLMin: float64(a.ttlMin), RevTTLMin: float64(b.ttlMin),
		FwdTTLMax: float64(a.ttlMax), RevTTLMax: float64(b.ttlMax),
		FwdRetransmits: float64(a.segments.retransmits), RevRetransmits: float64(b.segments.retransmits),
		FwdOutOfOrder: float64(a.segments.outOfOrder), RevOutOfOrder: float64(b.segments.outOfOrder),
		FwdMissedBytes: float64(a.segments.missed), RevMissedBytes: float64(b.segments.missed),
		FwdDuration: float64(since(a.first, e.side[fwd].last)) / second, RevDuration: float64(since(b.first, e.side[rev].last)) / second,
		ActivePeriods: float64(m.active.n),
		FwdBulks:      float64(a.bulk.count), RevBulks: float64(b.bulk.count),
		FwdBulkPackets: ratio(a.bulk.packets, a.bulk.count), RevBulkPackets: ratio(b.bulk.packets, b.bulk.count),
		FwdBulkBytes: ratio(a.bulk.bytes, uint64(a.bulk.count)), RevBulkBytes: ratio(b.bulk.bytes, uint64(b.bulk.count)),
		FwdBulkRate: ratio(a.bulk.bytes, a.bulk.time) * second, RevBulkRate: ratio(b.bulk.bytes, b.bulk.time) * second,
		Turns:        float64(m.turns),
		HandshakeAck: float64(m.ack) / second,
		FwdEntropy:   a.content.entropy, RevEntropy: b.content.entropy,
		FwdPrintable: ratio(a.content.text, a.content.bytes), RevPrintable: ratio(b.content.text, b.content.bytes),
		PacketRatio: ratio(f.RevPackets, f.FwdPackets), ByteRatio: ratio(f.RevBytes, f.FwdBytes),
		FwdGoodput: ratio(f.FwdPayload, f.FwdBytes), RevGoodput: ratio(f.RevPayload, f.RevBytes),
	}
	fwdLengths, revLengths := e.side[fwd].lengths(), e.side[rev].lengths()
	both := fwdLengths.with(&revLengths)
	out.LenMin, out.LenMax, out.LenMean, out.LenStd = both.stats(1)
	fwdPayload, revPayload := a.payload.of(f.FwdPackets, f.FwdPayload), b.payload.of(f.RevPackets, f.RevPayload)
	out.FwdPayloadMin, out.FwdPayloadMax, out.FwdPayloadMean, out.FwdPayloadStd = fwdPayload.stats(1)
	out.RevPayloadMin, out.RevPayloadMax, out.RevPayloadMean, out.RevPayloadStd = revPayload.stats(1)
	out.ActiveMin, out.ActiveMax, out.ActiveMean, out.ActiveStd = m.active.stats(second)
	out.IdleMin, out.IdleMax, out.IdleMean, out.IdleStd = m.idle.stats(second)
	m.fillFlags(out, &a.flags.full, &b.flags.full)
	m.fillRates(out, f)
	m.fillTimes(out, e, a, b)
	m.fillLengths(out, e.initiatorIsA)
}

func (m *more) fillFlags(out *sdk.Features, a, b *[8]uint32) {
	out.FwdFinCount, out.RevFinCount = float64(a[bitFIN]), float64(b[bitFIN])
	out.FwdSynCount, out.RevSynCount = float64(a[bitSYN]), float64(b[bitSYN])
	out.FwdRstCount, out.RevRstCount = float64(a[bitRST]), float64(b[bitRST])
	out.FwdPshCount, out.RevPshCount = float64(a[bitPSH]), float64(b[bitPSH])
	out.FwdAckCount, out.RevAckCount = float64(a[bitACK]), float64(b[bitACK])
	out.FwdUrgCount, out.RevUrgCount = float64(a[bitURG]), float64(b[bitURG])
	out.FwdEceCount, out.RevEceCount = float64(a[bitECE]), float64(b[bitECE])
	out.FwdCwrCount, out.RevCwrCount = float64(a[bitCWR]), float64(b[bitCWR])
	out.EceCount, out.CwrCount = float64(a[bitECE])+float64(b[bitECE]), float64(a[bitCWR])+float64(b[bitCWR])
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

// with returns the spread of the values of both.
func (s *spread) with(t *spread) spread {
	if s.n == 0 {
		return *t
	}
	if t.n == 0 {
		return *s
	}
	both := spread{n: s.n + t.n, sum: s.sum + t.sum, min: min(s.min, t.min), max: max(s.max, t.max)}
	var carry uint64
	both.sqLo, carry = bits.Add64(s.sqLo, t.sqLo, 0)
	both.sqHi = s.sqHi + t.sqHi + carry
	return both
}
