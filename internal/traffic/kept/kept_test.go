package kept

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/capture"
	"github.com/picketwatch/picket/internal/traffic/decode"
)

func packet(n uint64, size int) *capture.Packet {
	data := bytes.Repeat([]byte{byte(n)}, size)
	return &capture.Packet{Number: n, Time: int64(n) * int64(time.Second), Link: capture.LinkEthernet, Length: uint32(size + 5), Data: data}
}

// put gives a packet of a flow to a writer.
func put(w *Writer, p *capture.Packet, flow, nth uint64, d app.Dir) {
	_ = w.Packet(p, &decode.Packet{})
	if flow > 0 {
		_ = w.Member(p.Number, flow, nth, d)
	}
}

type seen struct {
	number, flow   uint64
	captured, wire int
	back           bool
}

func all(mem []byte) (list []seen) {
	NewReader(mem).Each(func(_ Place, e *Entry) {
		list = append(list, seen{e.Packet.Number, e.Flow, len(e.Packet.Data), int(e.Packet.Length), e.Backward})
	})
	return list
}

func TestWhatIsKeptOfPackets(t *testing.T) {
	mem := make([]byte, 2*BlockSize)
	w := NewWriter(mem)
	put(w, packet(1, 60), 7, 1, app.Client)
	put(w, packet(2, 1514), 7, 2, app.Server)
	put(w, packet(3, 42), 0, 0, app.Client)
	put(w, packet(4, 9000), 8, 1, app.Client)
	put(w, packet(5, 1514), 9, firstOfFlow+1, app.Server)
	put(w, packet(6, 100), 9, firstOfFlow+2, app.Client)
	if got := all(mem); len(got) != 0 {
		t.Errorf("packets are shown before they are done: %v", got)
	}
	w.Flush()
	want := []seen{{1, 7, 60, 65, false}, {2, 7, 1514, 1519, true}, {3, 0, 42, 47, false}, {4, 8, longest, 9005, false},
		{5, 9, shortened, 1519, true}, {6, 9, 100, 105, false}}
	got := all(mem)
	if len(got) != len(want) {
		t.Fatalf("got %v", got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("packet %d: %+v, want %+v", i+1, got[i], want[i])
		}
	}
	if w.Span() != 5*time.Second {
		t.Errorf("a span of %s", w.Span())
	}
	NewReader(mem).Each(func(_ Place, e *Entry) {
		if !bytes.Equal(e.Packet.Data, bytes.Repeat([]byte{byte(e.Packet.Number)}, len(e.Packet.Data))) || e.Packet.Link != capture.LinkEthernet || e.Packet.Time != int64(e.Packet.Number)*1e9 {
			t.Errorf("packet %d is not what was put in", e.Packet.Number)
		}
	})
}

// A fragment learns its flow when the others have come, unless it is overwritten by then.
func TestAFragmentLearnsItsFlowLater(t *testing.T) {
	mem := make([]byte, 2*BlockSize)
	w := NewWriter(mem)
	part := decode.Packet{}
	part.Part.Is = true
	_ = w.Packet(packet(1, 100), &part)
	_ = w.Packet(packet(2, 100), &part)
	_ = w.Packet(packet(3, 100), &part)
	put(w, packet(4, 60), 5, 1, app.Client)
	w.Lost(3)
	_ = w.Member(1, 6, 1, app.Server)
	for i := 0; w.number <= 2; i++ { // twice around
		put(w, packet(uint64(100+i), 1000), 5, 2, app.Client)
	}
	before := bytes.Clone(mem[:BlockSize])
	_ = w.Member(2, 6, 1, app.Server)
	if !bytes.Equal(before, mem[:BlockSize]) {
		t.Error("a fragment that is overwritten was marked")
	}
	mem = make([]byte, 2*BlockSize)
	w = NewWriter(mem)
	_ = w.Packet(packet(1, 100), &part)
	put(w, packet(2, 60), 5, 1, app.Client)
	_ = w.Member(1, 6, 1, app.Server)
	w.Flush()
	if got := all(mem); len(got) != 2 || got[0].flow != 6 || !got[0].back || got[1].flow != 5 {
		t.Errorf("got %v", got)
	}
}

// The oldest packets make room, and a reader gets what is left in order.
func TestTheOldestMakeRoom(t *testing.T) {
	mem := make([]byte, 3*BlockSize)
	w := NewWriter(mem)
	const packets = 3000
	for n := range uint64(packets) {
		put(w, packet(n+1, 1000), 1, 2, app.Client)
	}
	w.Flush()
	got := all(mem)
	if len(got) < 2*BlockSize/1100 || len(got) > 3*BlockSize/1040 || got[len(got)-1].number != packets {
		t.Fatalf("%d are kept, the last is %v", len(got), got[len(got)-1])
	}
	for i := range got {
		if got[i].number != packets-uint64(len(got)-1-i) {
			t.Fatalf("packet %d stands where %d should", got[i].number, packets-len(got)+1+i)
		}
	}
}

// What a reader has seen and is overwritten since is passed over, also in the middle of taking.
func TestWhatIsOverwrittenIsNotTaken(t *testing.T) {
	mem := make([]byte, 2*BlockSize)
	w := NewWriter(mem)
	for n := range uint64(400) {
		put(w, packet(n+1, 1000), 1, 2, app.Client)
	}
	w.Flush()
	r := NewReader(mem)
	var places []Place
	var first uint64
	r.Each(func(p Place, e *Entry) {
		if first == 0 {
			first = e.Packet.Number
		}
		places = append(places, p)
	})
	for n := range uint64(200) { // into the block of the oldest
		put(w, packet(1001+n, 1000), 1, 2, app.Client)
	}
	w.Flush()
	var numbers []uint64
	if err := r.Take(places, func(e *Entry) error { numbers = append(numbers, e.Packet.Number); return nil }); err != nil {
		t.Fatal(err)
	}
	if len(numbers) == 0 || len(numbers) >= len(places) || numbers[0] <= first || numbers[len(numbers)-1] != 400 {
		t.Errorf("%d of %d were taken, %v…", len(numbers), len(places), numbers[:min(3, len(numbers))])
	}
}

func TestMemoryThatIsNone(t *testing.T) {
	for _, size := range []int64{0, BlockSize, 2*BlockSize - 1, 2*BlockSize + 8} {
		if n, err := Blocks(size); err == nil {
			t.Errorf("%d bytes have %d blocks", size, n)
		}
	}
}

// FuzzReader reads memory that was written by whoever took over the worker.
func FuzzReader(f *testing.F) {
	mem := make([]byte, 2*BlockSize)
	w := NewWriter(mem)
	put(w, packet(1, 60), 7, 1, app.Client)
	put(w, packet(2, 60), 7, 1, app.Client)
	w.Flush()
	f.Add(mem[:256], uint16(0))
	f.Add(binary.NativeEndian.AppendUint64(nil, 1<<63), uint16(8))
	f.Fuzz(func(t *testing.T, data []byte, at uint16) {
		mem := make([]byte, 2*BlockSize)
		copy(mem[at:], data)
		r := NewReader(mem)
		var places []Place
		r.Each(func(p Place, e *Entry) {
			if len(e.Packet.Data) > longest {
				t.Fatal("more than is ever kept")
			}
			places = append(places, p)
		})
		_ = r.Take(places, func(*Entry) error { return nil })
	})
}
