package saved

import (
	"encoding/binary"
	"errors"
	"io"
	"math"
	"testing"
)

func TestPacked(t *testing.T) {
	b := binary.AppendUvarint(nil, math.MaxUint64)
	b = binary.AppendVarint(b, math.MinInt64)
	b = append(b, 3, 'a', 'b', 'c', 'd', 'e')
	p := NewPacked(b)
	var two [2]byte
	if p.Uint() != math.MaxUint64 || p.Int() != math.MinInt64 || string(p.Bytes(3)) != "abc" || !p.More() {
		t.Error("something else came out than went in")
	}
	if p.Fill(two[:]); string(two[:]) != "de" || p.More() || p.Err() != nil {
		t.Errorf("%q, %v", two, p.Err())
	}
	for n := range len(b) - 1 {
		p := NewPacked(b[:n])
		p.Uint()
		p.Int()
		p.Bytes(3)
		p.Fill(two[:])
		if !errors.Is(p.Err(), io.ErrUnexpectedEOF) || p.More() || p.Uint() != 0 {
			t.Errorf("%d bytes: %v", n, p.Err())
		}
	}
	if p := NewPacked([]byte{5, 1, 2, 3, 4, 5}); p.Bytes(4) != nil || p.Err() == nil {
		t.Error("more bytes than the limit were read")
	}
}

func FuzzPacked(f *testing.F) {
	f.Add([]byte{1, 2, 3, 'a', 'b', 'c', 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		for p := NewPacked(b); p.More(); { // each round takes at least a byte, or this never ends
			var room [4]byte
			p.Uint()
			p.Int()
			if len(p.Bytes(8)) > 8 {
				t.Fatal("too many bytes")
			}
			p.Fill(room[:])
		}
	})
}
