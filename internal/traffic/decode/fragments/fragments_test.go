package fragments

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/picketwatch/picket/internal/traffic/capture"
	"github.com/picketwatch/picket/internal/traffic/decode"
)

// fragment4 is an IPv4 packet with a part of a datagram.
func fragment4(id uint16, proto uint8, offset int, more bool, data []byte) []byte {
	b := make([]byte, 20, 20+len(data))
	b[0], b[8], b[9] = 0x45, 64, proto
	binary.BigEndian.PutUint16(b[2:], uint16(20+len(data)))
	binary.BigEndian.PutUint16(b[4:], id)
	place := uint16(offset / 8)
	if more {
		place |= 0x2000
	}
	binary.BigEndian.PutUint16(b[6:], place)
	copy(b[12:], []byte{10, 0, 0, 1, 10, 0, 0, 2})
	return append(b, data...)
}

// fragment6 is the same over IPv6.
func fragment6(id uint32, proto uint8, offset int, more bool, data []byte) []byte {
	b := make([]byte, 48, 48+len(data))
	b[0], b[6], b[7], b[8], b[23], b[24], b[39] = 0x60, 44, 64, 0xfd, 1, 0xfd, 2
	binary.BigEndian.PutUint16(b[4:], uint16(8+len(data)))
	b[40] = proto
	place := uint16(offset)
	if more {
		place |= 1
	}
	binary.BigEndian.PutUint16(b[42:], place)
	binary.BigEndian.PutUint32(b[44:], id)
	return append(b, data...)
}

// udp is a UDP datagram whose payload tells its place.
func udp(payload int) []byte {
	b := make([]byte, 8+payload)
	binary.BigEndian.PutUint16(b, 40000)
	binary.BigEndian.PutUint16(b[2:], 53)
	binary.BigEndian.PutUint16(b[4:], uint16(len(b)))
	for i := range payload {
		b[8+i] = byte(i / 8)
	}
	return b
}

// rig feeds packets and remembers what comes out.
type rig struct {
	t       *testing.T
	table   *Table
	fed     uint64
	flow    []uint64 // numbers of the packets that found their flow
	lost    []uint64 // and of those that did not
	packets []decode.Packet
	whole   [][]byte
	at      time.Duration
}

func newRig(t *testing.T, cfg Config) *rig {
	t.Helper()
	r := &rig{t: t}
	cfg.Lost = func(number uint64) { r.lost = append(r.lost, number) }
	r.table = New(cfg, func(number uint64, _ int64, p *decode.Packet) error {
		r.flow = append(r.flow, number)
		r.packets = append(r.packets, *p)
		return nil
	})
	return r
}

func (r *rig) feed(packets ...[]byte) *rig {
	r.t.Helper()
	for _, data := range packets {
		r.fed++
		var p decode.Packet
		if outcome := decode.Decode(&p, capture.LinkRaw, data, uint32(len(data))); outcome > decode.Fragment || !p.Part.Is {
			r.t.Fatalf("packet %d: %s, fragment %v", r.fed, outcome, p.Part.Is)
		}
		whole, err := r.table.Add(r.fed, int64(r.at), &p, data)
		if err != nil {
			r.t.Fatal(err)
		}
		if whole != nil {
			r.whole = append(r.whole, bytes.Clone(whole))
		}
	}
	return r
}

func (r *rig) close() *rig {
	r.t.Helper()
	if err := r.table.Close(); err != nil {
		r.t.Fatal(err)
	}
	if r.table.bytes != 0 || len(r.table.index) != 0 || r.table.Waiting() != 0 {
		r.t.Errorf("%d bytes and %d datagrams left", r.table.bytes, len(r.table.index))
	}
	if n := uint64(len(r.flow)) + r.table.counts.Lost; n != r.fed {
		r.t.Errorf("%d packets in flows and %d lost, of %d", len(r.flow), r.table.counts.Lost, r.fed)
	}
	told := slices.Concat(r.flow, r.lost)
	slices.Sort(told)
	if len(slices.Compact(told)) != int(r.fed) {
		r.t.Errorf("of %d packets not each was told of once: flows of %v, lost %v", r.fed, r.flow, r.lost)
	}
	return r
}

// payloadOf is what the joined packet carries.
func payloadOf(t *testing.T, whole []byte) []byte {
	t.Helper()
	var p decode.Packet
	if outcome := decode.Decode(&p, capture.LinkRaw, whole, uint32(len(whole))); outcome != decode.Flow || p.Part.Is || p.DstPort != 53 {
		t.Fatalf("%s %+v", outcome, p)
	}
	return p.Body
}

func TestInAnyOrder(t *testing.T) {
	want := udp(40)
	for name, fragment := range map[string]func(offset int, more bool, data []byte) []byte{
		"4": func(offset int, more bool, data []byte) []byte { return fragment4(7, 17, offset, more, data) },
		"6": func(offset int, more bool, data []byte) []byte { return fragment6(7, 17, offset, more, data) },
	} {
		parts := [][]byte{fragment(0, true, want[:16]), fragment(16, true, want[16:32]), fragment(32, false, want[32:])}
		for _, order := range [][]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}} {
			r := newRig(t, Config{})
			for _, i := range order {
				r.feed(parts[i])
			}
			r.close()
			if len(r.whole) != 1 || !bytes.Equal(payloadOf(t, r.whole[0]), want[8:]) {
				t.Errorf("IPv%s, order %v: %d datagrams %x", name, order, len(r.whole), r.whole)
			}
			if !slices.Equal(r.flow, []uint64{1, 2, 3}) {
				t.Errorf("IPv%s, order %v: flow of packets %v", name, order, r.flow)
			}
			var payload uint32
			for i, p := range r.packets {
				if payload += p.Payload; p.SrcPort != 40000 || p.DstPort != 53 || p.Short != (i > 0) || !p.Part.Is || p.Body != nil {
					t.Errorf("IPv%s, order %v: packet %d %+v", name, order, i, p)
				}
			}
			if payload != 40 {
				t.Errorf("IPv%s, order %v: %d bytes of payload", name, order, payload)
			}
		}
	}
}

// The smallest first fragment leaves TCP's flags to the second, where they must not be missed, nor counted twice.
func TestFlagsBehindATinyFirstFragment(t *testing.T) {
	tcp := make([]byte, 24)
	binary.BigEndian.PutUint16(tcp, 40000)
	binary.BigEndian.PutUint16(tcp[2:], 53)
	tcp[12], tcp[13] = 0x50, 2
	r := newRig(t, Config{}).feed(fragment4(1, 6, 0, true, tcp[:8]), fragment4(1, 6, 8, false, tcp[8:])).close()
	if len(r.whole) != 1 || len(r.packets) != 2 || r.packets[0].Flags != 2 || r.packets[0].Short || r.packets[1].Flags != 0 || !r.packets[1].Short {
		t.Errorf("%+v", r.packets)
	}
	// Alone it goes to its flow as it is.
	r = newRig(t, Config{}).feed(fragment4(1, 6, 0, true, tcp[:8])).close()
	if len(r.packets) != 1 || r.packets[0].SrcPort != 40000 || !r.packets[0].Short || r.table.counts.GivenUp != 1 {
		t.Errorf("%+v %+v", r.packets, r.table.counts)
	}
}

func TestOverlapsKeepWhatCameFirst(t *testing.T) {
	first, other := udp(40), bytes.Repeat([]byte{0xee}, 48)
	tests := []struct {
		name     string
		packets  [][]byte
		want     []byte
		overlaps uint64
	}{
		{"a repetition is none", [][]byte{fragment4(1, 17, 0, true, first[:16]), fragment4(1, 17, 0, true, other[:16]), fragment4(1, 17, 16, false, first[16:])}, first, 0},
		{"over the end of one", [][]byte{fragment4(1, 17, 0, true, first[:24]), fragment4(1, 17, 16, false, other[16:])},
			append(slices.Clone(first[:24]), other[24:]...), 1},
		{"over the beginning of one", [][]byte{fragment4(1, 17, 24, false, first[24:]), fragment4(1, 17, 8, true, other[8:40]), fragment4(1, 17, 0, true, first[:8])},
			slices.Concat(first[:8], other[8:24], first[24:]), 1},
		{"around one", [][]byte{fragment4(1, 17, 16, true, first[16:24]), fragment4(1, 17, 8, false, other[8:]), fragment4(1, 17, 0, true, first[:8])},
			slices.Concat(first[:8], other[8:16], first[16:24], other[24:]), 1},
		{"inside one", [][]byte{fragment4(1, 17, 0, true, first[:32]), fragment4(1, 17, 8, true, other[8:16]), fragment4(1, 17, 32, false, first[32:])}, first, 1},
	}
	for _, test := range tests {
		r := newRig(t, Config{}).feed(test.packets...).close()
		if len(r.whole) != 1 || !bytes.Equal(r.whole[0][20:], test.want) || r.table.counts.Overlaps != test.overlaps {
			t.Errorf("%s: %x, %+v\nwant %x", test.name, r.whole, r.table.counts, test.want)
		}
	}
}

// What cannot be part of the datagram is left out, and does not keep the rest from being joined.
func TestNonsenseIsLeftOut(t *testing.T) {
	want := udp(40)
	good := [][]byte{fragment4(1, 17, 0, true, want[:16]), fragment4(1, 17, 16, false, want[16:])}
	for name, bad := range map[string][]byte{
		"odd length":               fragment4(1, 17, 16, true, want[16:23]),
		"no data":                  fragment4(1, 17, 16, true, nil),
		"beyond what IP can hold":  fragment4(1, 17, 65528, true, want[:16]),
		"an end before the middle": fragment4(1, 17, 8, false, want[8:12]),
	} {
		r := newRig(t, Config{}).feed(good[0], bad, good[1]).close()
		if len(r.whole) != 1 || !bytes.Equal(r.whole[0][20:], want) || len(r.flow) != 3 {
			t.Errorf("%s: %x, flow of %v", name, r.whole, r.flow)
		}
	}
}

func TestWithoutAFirstFragment(t *testing.T) {
	r := newRig(t, Config{}).feed(fragment4(1, 17, 16, true, make([]byte, 16)), fragment4(1, 17, 32, false, make([]byte, 16)))
	if r.table.Waiting() != 2 {
		t.Errorf("%d wait", r.table.Waiting())
	}
	if r.close(); len(r.flow) != 0 || r.table.counts != (Counts{GivenUp: 1, Lost: 2}) {
		t.Errorf("flow of %v, %+v", r.flow, r.table.counts)
	}
}

func TestTimeout(t *testing.T) {
	whole := udp(40)
	r := newRig(t, Config{}).feed(fragment4(1, 17, 16, false, whole[16:]))
	r.at = 31 * time.Second
	r.feed(fragment4(1, 17, 0, true, whole[:16])) // the old datagram is gone
	if r.close(); len(r.whole) != 0 || !slices.Equal(r.flow, []uint64{2}) || r.table.counts != (Counts{GivenUp: 2, Lost: 1}) {
		t.Errorf("flow of %v, %+v", r.flow, r.table.counts)
	}
}

// A duplicate after the end still finds its flow; a first fragment begins anew.
func TestAfterTheEnd(t *testing.T) {
	data := udp(40)
	a, b := fragment4(1, 17, 0, true, data[:16]), fragment4(1, 17, 16, false, data[16:])
	r := newRig(t, Config{}).feed(a, b, b, b, a, b).close()
	if len(r.whole) != 2 || len(r.flow) != 6 {
		t.Errorf("%d datagrams, flow of %v", len(r.whole), r.flow)
	}
}

func TestTunnelsAndVLANsAreApart(t *testing.T) {
	data := udp(40)
	tagged := func(vlan byte, packet []byte) []byte {
		return append([]byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x81, 0, 0, vlan, 8, 0}, packet...)
	}
	table := New(Config{}, func(uint64, int64, *decode.Packet) error { return nil })
	for _, packet := range [][]byte{tagged(1, fragment4(1, 17, 0, true, data[:16])), tagged(2, fragment4(1, 17, 16, false, data[16:]))} {
		var p decode.Packet
		decode.Decode(&p, capture.LinkEthernet, packet, uint32(len(packet)))
		if whole, err := table.Add(1, 0, &p, packet); whole != nil || err != nil {
			t.Errorf("joined %x over two VLANs, error %v", whole, err)
		}
	}
}

// However many fragments come, what is held stays within the bounds and every packet is told of once.
func TestBounds(t *testing.T) {
	const datagrams, bytes = 50, 200 << 10
	r := newRig(t, Config{Datagrams: datagrams, Bytes: bytes})
	random := rand.New(rand.NewPCG(1, 2))
	data := make([]byte, 1400)
	for range 20_000 {
		offset := random.IntN(40) * 1400
		r.feed(fragment4(uint16(random.IntN(200)), 17, offset, offset == 0 || random.IntN(20) > 0, data[:8+8*random.IntN(170)]))
		if len(r.table.index) > datagrams || r.table.bytes > bytes {
			t.Fatalf("%d datagrams, %d bytes", len(r.table.index), r.table.bytes)
		}
	}
	r.close()
	// One datagram alone: its packets that wait are bounded too.
	r = newRig(t, Config{})
	for range 3 * maxParts {
		r.feed(fragment4(1, 17, 8, true, data[:8]))
	}
	if n := r.table.Waiting(); n != maxParts {
		t.Errorf("%d packets wait", n)
	}
	r.feed(fragment4(1, 17, 0, true, data[:8])).close()
	if len(r.flow) != maxParts+1 {
		t.Errorf("%d packets in the flow", len(r.flow))
	}
}

// In the steady state nothing is allocated: datagrams that are over lend their room to the next ones.
func TestSteadyStateAllocatesNothing(t *testing.T) {
	table := New(Config{Datagrams: 4}, func(uint64, int64, *decode.Packet) error { return nil })
	data := udp(1200)
	var packets [][]byte
	for id := range uint16(64) {
		packets = append(packets, fragment4(id, 17, 0, true, data[:800]), fragment4(id, 17, 800, false, data[800:]))
	}
	var p decode.Packet
	round := func() {
		for i, packet := range packets {
			decode.Decode(&p, capture.LinkRaw, packet, uint32(len(packet)))
			if whole, err := table.Add(1, 0, &p, packet); err != nil || (whole != nil) != (i%2 == 1) {
				t.Fatalf("packet %d: joined %v, error %v", i, whole != nil, err)
			}
		}
	}
	if n := testing.AllocsPerRun(5, round); n > 0 {
		t.Errorf("%g allocations", n)
	}
}

func TestEmitErrorStops(t *testing.T) {
	full := errors.New("disk full")
	table := New(Config{}, func(uint64, int64, *decode.Packet) error { return full })
	packet := fragment4(1, 17, 0, true, udp(8))
	var p decode.Packet
	decode.Decode(&p, capture.LinkRaw, packet, uint32(len(packet)))
	if _, err := table.Add(1, 0, &p, packet); !errors.Is(err, full) {
		t.Errorf("error %v", err)
	}
}

// FuzzTable feeds fragments as the input says, three bytes each: where, how long, which datagram and flags.
func FuzzTable(f *testing.F) {
	f.Add([]byte{0, 2, 1, 2, 2, 1, 4, 1, 0})
	f.Add([]byte{4, 1, 0, 0, 2, 1, 1, 2, 1, 2, 2, 1})
	f.Add([]byte{0, 1, 5, 1, 1, 4, 0, 0, 9})
	f.Fuzz(func(t *testing.T, script []byte) {
		r := newRig(t, Config{Datagrams: 3, Bytes: 16 << 10})
		for n := 0; len(script) >= 3; n++ {
			offset, units, how := int(script[0])*8, int(script[1])%32, script[2]
			script = script[3:]
			length := units * 8
			if how&1 == 0 {
				length = max(0, length-int(how>>5))
			}
			data := bytes.Repeat([]byte{byte(n)}, length)
			r.at += time.Duration(how>>6) * time.Second
			if how&1 == 0 && offset == 0 {
				continue // that would be no fragment
			}
			if how&4 != 0 {
				r.feed(fragment4(uint16(how>>3&3), 6+11*(how>>1&1), offset, how&1 != 0, data))
			} else {
				r.feed(fragment6(uint32(how>>3&3), 6+11*(how>>1&1), offset, how&1 != 0, data))
			}
			if r.table.bytes > 16<<10 || len(r.table.index) > 3 {
				t.Fatalf("%d bytes, %d datagrams", r.table.bytes, len(r.table.index))
			}
		}
		r.close()
		seen := map[uint64]bool{}
		for _, n := range r.flow {
			if seen[n] {
				t.Fatalf("packet %d twice", n)
			}
			seen[n] = true
		}
	})
}
