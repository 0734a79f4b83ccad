// Package sketch counts different values in bounded memory: in go hashes, out come how many different ones each stands for.
package sketch

import (
	"encoding/binary"
	"math/bits"

	"github.com/picketwatch/picket/plugins/detectors/internal/saved"
)

// Unit is what a value counts that stands for itself.
const Unit = 64

const (
	exactly = 16 // values that a sketch remembers one by one
	size    = 4096
)

// Sketch remembers values: a few exactly, more in a bitmap. A value that finds its bit taken is lost,
// so one that finds it free counts for as many as were lost on average: the sum stays true, whatever each of them weighs.
type Sketch struct {
	few  []uint32
	bits *[size / 64]uint64
}

// Add returns how many values, in units, a value stands for, 0 when it was there before.
func (s *Sketch) Add(h uint32) uint64 {
	if s.bits == nil {
		for _, one := range s.few {
			if one == h {
				return 0
			}
		}
		if len(s.few) < exactly {
			s.few = append(s.few, h)
			return Unit
		}
		s.bits = new([size / 64]uint64)
		for _, one := range s.few {
			s.set(one)
		}
		s.few = nil
	}
	if !s.set(h) {
		return 0
	}
	free := uint64(size - s.taken() + 1) // before
	return Unit * size / free
}

// Emptied is a sketch that has seen nothing, in the memory of one that is not used any more.
func (s *Sketch) Emptied() Sketch { return Sketch{few: s.few[:0]} }

func (s *Sketch) set(h uint32) bool {
	word, bit := h%size/64, uint64(1)<<(h%64)
	fresh := s.bits[word]&bit == 0
	s.bits[word] |= bit
	return fresh
}

func (s *Sketch) taken() int {
	n := 0
	for _, word := range s.bits {
		n += bits.OnesCount64(word)
	}
	return n
}

// AppendTo writes the sketch behind b, for Read.
func (s *Sketch) AppendTo(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(s.few)))
	for _, one := range s.few {
		b = binary.AppendUvarint(b, uint64(one))
	}
	if s.bits == nil {
		return append(b, 0)
	}
	b = append(b, 1)
	for _, word := range s.bits {
		b = binary.LittleEndian.AppendUint64(b, word)
	}
	return b
}

// Read reads what AppendTo wrote.
func Read(p *saved.Packed) (s Sketch) {
	for range min(p.Count(), exactly) {
		s.few = append(s.few, uint32(p.Uint()))
	}
	if p.Uint() == 1 {
		var b [size / 8]byte
		p.Fill(b[:])
		s.few, s.bits = nil, new([size / 64]uint64)
		for i := range s.bits {
			s.bits[i] = binary.LittleEndian.Uint64(b[8*i:])
		}
	}
	return s
}
