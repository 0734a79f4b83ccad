package carve

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/picketwatch/picket/core/kernel/carved"
	"github.com/picketwatch/picket/internal/traffic/capture"
)

// part is a raw IPv4 packet with a part of a UDP datagram from one of two hosts to another.
func part(from byte, id, offset uint16, more bool, data []byte) []byte {
	b := make([]byte, 20, 20+len(data))
	b[0], b[8], b[9] = 0x45, 64, 17
	binary.BigEndian.PutUint16(b[2:], uint16(20+len(data)))
	binary.BigEndian.PutUint16(b[4:], id)
	place := offset / 8
	if more {
		place |= 0x2000
	}
	binary.BigEndian.PutUint16(b[6:], place)
	copy(b[12:], []byte{10, 0, 0, from, 10, 0, 0, 9})
	return append(b, data...)
}

// datagram is a UDP datagram with so many bytes of payload.
func datagram(payload int) []byte {
	b := make([]byte, 8+payload)
	binary.BigEndian.PutUint16(b, 40000)
	binary.BigEndian.PutUint16(b[2:], 5000)
	binary.BigEndian.PutUint16(b[4:], uint16(len(b)))
	return b
}

// written is a capture with these raw IP packets, at least one second apart.
func written(t *testing.T, packets [][]byte) string {
	t.Helper()
	b := appendHeader(nil, capture.LinkRaw)
	for i, data := range packets {
		b = appendRecord(b, &capture.Packet{Time: int64(i) * 1e9, Length: uint32(len(data)), Data: data})
	}
	path := filepath.Join(t.TempDir(), "fragments.pcap")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Packets of a flow come in the order of the capture although the flow of some is known late, so that pages show each once.
func TestFragmentsInOrder(t *testing.T) {
	long := datagram(32)
	first, middle, last := long[:16], long[16:32], long[32:]
	whole := part(1, 1, 0, false, datagram(8))
	stray := part(1, 99, 16, true, middle) // its first fragment never comes
	other := part(2, 1, 0, false, datagram(8))
	cases := map[string]struct {
		packets [][]byte
		want    []uint64
	}{
		"known late": {
			[][]byte{part(1, 2, 32, false, last), whole, part(1, 2, 16, true, middle), other, whole, part(1, 2, 0, true, first), whole},
			[]uint64{1, 2, 3, 5, 6, 7},
		},
		"in order":     {[][]byte{part(1, 2, 0, true, first), whole, part(1, 2, 16, true, middle), part(1, 2, 32, false, last)}, []uint64{1, 2, 3, 4}},
		"never known":  {[][]byte{stray, whole, other, whole, whole}, []uint64{2, 4, 5}},
		"of two flows": {[][]byte{part(2, 7, 16, true, middle), whole, part(1, 2, 16, true, middle), part(1, 2, 0, true, first), part(2, 7, 0, true, first)}, []uint64{2, 3, 4}},
		"two datagrams at once": {
			[][]byte{part(1, 3, 16, false, middle), part(1, 2, 16, false, middle), whole, part(1, 2, 0, true, first), whole, part(1, 3, 0, true, first)},
			[]uint64{1, 2, 3, 4, 5, 6},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			path := written(t, c.packets)
			flow := flowFrom(t, path, "10.0.0.1")
			var times []int64
			for p := range packetsOf(t, run(t, path, carved.Wanted{Flow: flow}).file()) {
				times = append(times, p.Time/1e9+1)
			}
			if len(times) != len(c.want) || !slices.IsSorted(times) {
				t.Errorf("the file has packets %v, want %v", times, c.want)
			}
			for limit := 1; limit <= len(c.want)+1; limit++ {
				if got := paged(t, path, flow, limit); !slices.Equal(got, c.want) {
					t.Errorf("pages of %d show %v, want %v", limit, got, c.want)
				}
			}
		})
	}
}

// What waits for a fragment's flow is bounded: the oldest goes, the order stays.
func TestWaitingIsBounded(t *testing.T) {
	packets := [][]byte{part(1, 2, 32, false, make([]byte, 16))}
	big := part(1, 1, 0, false, datagram(60_000))
	for range heldBytes/len(big) + 10 {
		packets = append(packets, big)
	}
	packets = append(packets, part(1, 2, 0, true, datagram(24)))
	path := written(t, packets)
	got := paged(t, path, flowFrom(t, path, "10.0.0.1"), 100)
	if len(got) != len(packets)-1 || got[0] != 2 || !slices.IsSorted(got) {
		t.Errorf("%d of %d packets: %v", len(got), len(packets), got)
	}
}

func flowFrom(t *testing.T, path, src string) uint64 {
	t.Helper()
	in, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	flows, _ := flowsOf(t, in)
	for _, f := range flows {
		if f.Src.String() == src {
			return f.ID
		}
	}
	t.Fatalf("no flow from %s among %d", src, len(flows))
	return 0
}

// paged are the numbers on all pages, as somebody sees them who turns page after page.
func paged(t *testing.T, path string, flow uint64, limit int) (numbers []uint64) {
	t.Helper()
	for after := uint64(0); ; after = numbers[len(numbers)-1] {
		list := run(t, path, carved.Wanted{Flow: flow, After: after, Limit: limit}).packets(t)
		if len(list) > limit {
			t.Fatalf("%d packets on a page of %d", len(list), limit)
		}
		for _, p := range list {
			numbers = append(numbers, p.Number)
		}
		if len(list) == 0 {
			return numbers
		}
	}
}
