package traffic

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/records"
)

func TestBuffers(t *testing.T) {
	b := &buffers{}
	for _, n := range []int{0, 1, 4096, 4097, 1 << 20, 1<<22 - 1, 1 << 22, 1<<22 + 1, 16 << 20} {
		first := b.take(n)
		if len(first) != n {
			t.Fatalf("%d bytes, not %d", len(first), n)
		}
		b.give(first)
		again := b.take(n)
		same := &first[:1][0] == &again[:1][0]
		if want := n <= 1<<22; len(again) != n || same != want {
			t.Errorf("of %d bytes: %d, used again %v", n, len(again), same)
		}
		if other := b.take(n); n > 0 && &other[0] == &again[0] {
			t.Errorf("%d bytes are lent twice", n)
		}
	}
	b.give(nil)
	b.give(make([]byte, 5000)) // none of its own
	if b.size != 0 {
		t.Errorf("%d bytes wait", b.size)
	}
	for range 20 {
		b.give(make([]byte, 1<<20))
	}
	if b.size != maxSpare {
		t.Errorf("%d bytes wait, %d may", b.size, maxSpare)
	}
}

// TestFramesInLentMemory reads frames into memory that is given back between them.
func TestFramesInLentMemory(t *testing.T) {
	var out []byte
	say := func(kind byte, frame []byte) {
		packed := s2.Encode(nil, frame)
		out = append(binary.LittleEndian.AppendUint32(out, uint32(len(packed))), kind)
		out = append(out, packed...)
	}
	var want [][]byte
	for i := range 20 {
		frame := records.AppendFlows(nil, make([]sdk.Flow, 1+i*7%13))
		want = append(want, frame)
		say(msgFrame, frame)
	}
	m := newMessages(bytes.NewReader(out), time.Second)
	m.lent = &buffers{}
	var held [][]byte
	for i, frame := range want {
		got, err := m.next()
		if err != nil || !bytes.Equal(got.body, frame) {
			t.Fatalf("frame %d: %d bytes, not %d: %v", i, len(got.body), len(frame), err)
		}
		if i%3 == 0 {
			held = append(held, got.body)
			continue
		}
		m.lent.give(got.body)
	}
	for i, frame := range held {
		if !bytes.Equal(frame, want[3*i]) {
			t.Errorf("frame %d, which was not given back, has changed", 3*i)
		}
	}
}
