package flow

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/picketwatch/picket/internal/traffic/decode"
	"github.com/picketwatch/picket/sdk"
)

// featuresOf plays a conversation of whole TCP headers that is one flow.
func featuresOf(t *testing.T, packets ...packet) *sdk.Features {
	t.Helper()
	var out *sdk.Features
	table := New(Config{Features: true}, func(flows []sdk.Flow) error {
		if len(flows) != 1 || out != nil {
			t.Fatalf("%d flows", len(flows))
		}
		features := *flows[0].Features
		out = &features
		return nil
	})
	for i, p := range packets {
		d := p.tcp()
		d.Whole = true
		add(t, table, uint64(i+1), int64(p.at), &d)
	}
	closed(t, table)
	return out
}

// Segments are told by their sequence numbers, round the end of their range as well.
func TestSegments(t *testing.T) {
	for name, c := range map[string]struct {
		packets             []packet
		again, late, missed float64
	}{
		"in order":                {[]packet{{bytes: 100}, {seq: 100, bytes: 50}, {seq: 150, flags: fin}, {seq: 151}}, 0, 0, 0},
		"sent again":              {[]packet{{bytes: 100}, {bytes: 100}, {seq: 100, bytes: 1}}, 1, 0, 0},
		"the SYN sent again":      {[]packet{{flags: syn}, {flags: syn}, {seq: 1, bytes: 9}}, 1, 0, 0},
		"a gap":                   {[]packet{{bytes: 100}, {seq: 300, bytes: 100}, {seq: 400, bytes: 1}}, 0, 0, 200},
		"late":                    {[]packet{{bytes: 100}, {seq: 200, bytes: 100}, {seq: 100, bytes: 100}}, 0, 1, 0},
		"late, in two parts":      {[]packet{{bytes: 100}, {seq: 300, bytes: 100}, {seq: 100, bytes: 100}, {seq: 200, bytes: 100}}, 0, 2, 0},
		"late, the last part":     {[]packet{{bytes: 100}, {seq: 300, bytes: 100}, {seq: 200, bytes: 100}, {seq: 100, bytes: 100}}, 0, 2, 0},
		"an older gap":            {[]packet{{bytes: 1}, {seq: 10, bytes: 1}, {seq: 20, bytes: 1}, {seq: 5, bytes: 1}}, 1, 0, 18},
		"a keep-alive":            {[]packet{{bytes: 100}, {seq: 99, bytes: 1}, {seq: 99}}, 0, 0, 0},
		"partly sent again":       {[]packet{{bytes: 100}, {seq: 50, bytes: 100}, {seq: 150, bytes: 1}}, 1, 0, 0},
		"round the end":           {[]packet{{seq: math.MaxUint32 - 9, bytes: 10}, {bytes: 10}, {seq: 15, bytes: 1}}, 0, 0, 5},
		"a gap round the end":     {[]packet{{seq: math.MaxUint32 - 9, bytes: 5}, {seq: 5, bytes: 1}, {seq: math.MaxUint32 - 4, bytes: 10}}, 0, 1, 0},
		"a reset is no segment":   {[]packet{{bytes: 100}, {seq: 5000, bytes: 3, flags: rst}}, 0, 0, 0},
		"the other way is apart":  {[]packet{{bytes: 100}, {back: true, seq: 7, bytes: 10}, {seq: 100, bytes: 1}}, 0, 0, 0},
		"nothing is not expected": {[]packet{{seq: 9}, {seq: 5000, bytes: 1}}, 0, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			f := featuresOf(t, c.packets...)
			if f.FwdRetransmits != c.again || f.FwdOutOfOrder != c.late || f.FwdMissedBytes != c.missed {
				t.Errorf("%v sent again, %v out of order, %v bytes missed", f.FwdRetransmits, f.FwdOutOfOrder, f.FwdMissedBytes)
			}
		})
	}
}

// A late SYN turns a flow round: what was counted for each endpoint goes with it.
func TestFeaturesOfATurnedFlow(t *testing.T) {
	f := featuresOf(t,
		packet{back: true, flags: ack | psh, seq: 1, bytes: 10}, // taken for the client's
		packet{flags: syn, seq: 5},
		packet{flags: ack, seq: 6, bytes: 7})
	if f.FirstLen1 != -10 || f.FirstLen2 != 7 || f.RevPshCount != 1 || f.FwdSynCount != 1 || f.FwdPayloadMax != 7 || f.RevDataPackets != 1 {
		t.Errorf("%+v", f)
	}
}

func TestFlagsOfManyPackets(t *testing.T) {
	packets := make([]packet, 700)
	for i := range packets {
		packets[i] = packet{flags: ack, back: i%7 == 0}
		if i%2 == 0 {
			packets[i].flags |= psh | sdk.FlagECE
		}
	}
	f := featuresOf(t, packets...)
	if f.FwdAckCount != 600 || f.RevAckCount != 100 || f.FwdPshCount != 300 || f.EceCount != 350 || f.CwrCount != 0 {
		t.Errorf("%+v", f)
	}
}

func TestActiveAndIdle(t *testing.T) {
	const s = time.Second
	f := featuresOf(t, packet{at: 0}, packet{at: 5 * s}, packet{at: 11 * s}, packet{at: 12 * s}, packet{at: 32 * s})
	want := [9]float64{3, 0, 5, 2, math.Sqrt(14. / 3), 6, 20, 13, 7}
	have := [9]float64{f.ActivePeriods, f.ActiveMin, f.ActiveMax, f.ActiveMean, f.ActiveStd, f.IdleMin, f.IdleMax, f.IdleMean, f.IdleStd}
	for i := range want {
		if math.Abs(have[i]-want[i]) > 1e-12 {
			t.Errorf("%v, want %v", have, want)
			break
		}
	}
}

func TestContent(t *testing.T) {
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	for name, c := range map[string]struct {
		body          []byte
		entropy, text float64
	}{
		"nothing":         {nil, 0, 0},
		"one value":       {slices.Repeat([]byte{'a'}, 300), 0, 1},
		"two values":      {slices.Repeat([]byte{'a', 0}, 20), 1, 0.5},
		"all, cut to 128": {every, 7, (127. - 32 + 3) / 128},
	} {
		got := contentOf(c.body)
		if text := ratio(got.text, got.bytes); math.Abs(got.entropy-c.entropy) > 1e-12 || text != c.text {
			t.Errorf("%s: entropy %v, text %v", name, got.entropy, text)
		}
	}
}

// Nobody pays who does not ask.
func TestNoFeaturesWithoutAsking(t *testing.T) {
	for _, f := range play(t, Config{}, packet{flags: syn}, packet{back: true, flags: syn | ack}) {
		if f.Features != nil {
			t.Error("features that nobody asked for")
		}
	}
	table := New(Config{}, func([]sdk.Flow) error { return nil })
	d := packet{}.tcp()
	add(t, table, 1, 0, &d)
	if table.pool.mores.chunks != nil || table.out.features != nil {
		t.Error("memory for features that nobody asked for")
	}
}

func TestFeaturesAllocateNothing(t *testing.T) {
	table := New(Config{Features: true, Batch: 8}, func([]sdk.Flow) error { return nil })
	d := decoded(sdk.ProtoUDP, client, server)
	d.Payload, d.Length, d.Body = 8, 36, make([]byte, 8)
	number, at := uint64(0), int64(0)
	one := func() {
		number, at = number+1, at+int64(time.Second)
		add(t, table, number, at, &d)
	}
	one()
	if n := testing.AllocsPerRun(100, one); n > 0 {
		t.Errorf("%v allocations a packet", n)
	}
}

// What a packet says must never make a number that is none.
func FuzzFeatures(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{0x12, 1, 2, 3, 4, 0xff, 0xff, 0xff, 0xff, 9, 9, 9, 0x10, 0, 2, 3, 4, 0xff, 0, 0xff, 0xff, 9, 9, 9})
	f.Fuzz(func(t *testing.T, steps []byte) {
		table := New(Config{Features: true, Batch: 1}, func(flows []sdk.Flow) error {
			check(t, &flows[0])
			return nil
		})
		at := int64(0)
		for n := uint64(1); len(steps) >= 12; n, steps = n+1, steps[12:] {
			d := fuzzed(steps[:12])
			at += (int64(steps[9]) - 20) * int64(steps[10]) * 1e8
			if err := table.Add(n, at, &d); err != nil {
				t.Fatal(err)
			}
		}
		closed(t, table)
	})
}

func fuzzed(b []byte) decode.Packet {
	p := packet{back: b[1]&1 != 0, flags: b[0], seq: uint32(b[2])<<24 | uint32(b[3])<<8 | uint32(b[4]), bytes: uint32(b[5])<<(b[6]%25) | uint32(b[7])}
	d := p.tcp()
	d.Whole, d.Short, d.Part.Is = b[8]&1 != 0, b[8]&2 != 0, b[8]&4 != 0
	d.Window, d.TTL, d.Body = uint16(b[11])<<8, b[10], b
	return d
}

func check(t *testing.T, f *sdk.Flow) {
	t.Helper()
	g := f.Features
	for _, v := range []float64{
		g.LenStd, g.FwdPayloadStd, g.RevPayloadStd, g.ActiveStd, g.IdleStd, g.PacketRate, g.ByteRate, g.FwdBulkRate, g.RevBulkRate, g.FwdMissedBytes,
		g.RevMissedBytes, g.FwdGoodput, g.FwdEntropy, g.RevEntropy, g.FirstData, g.ResponseTime, g.HandshakeAck, g.FwdDuration, g.RevDuration,
	} {
		if math.IsNaN(v) || math.IsInf(v, 0) || v < 0 {
			t.Fatalf("%+v", g)
		}
	}
	if g.FwdMissedBytes > 1<<40 || g.RevMissedBytes > 1<<40 || g.FwdEntropy > 8 || g.FwdPrintable > 1 ||
		g.FwdDataPackets+g.RevDataPackets > float64(f.FwdPackets+f.RevPackets) {
		t.Fatalf("%+v", g)
	}
}
