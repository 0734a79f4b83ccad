package tunnel

import (
	"encoding/binary"
	"math/bits"

	"github.com/picketwatch/picket/plugins/detectors/internal/saved"
)

const (
	exactly    = 16 // values that a sketch remembers one by one
	sketchBits = 4096
	unit       = 64 // what a value counts that stands for itself
)

// sketch counts different values in bounded memory: a few exactly, more in a bitmap. A value that finds its bit taken is lost,
// so one that finds it free counts for as many as were lost on average: the sum stays true, whatever each of them weighs.
type sketch struct {
	few  []uint32
	bits *[sketchBits / 64]uint64
}

// add returns how many values, in units, a value stands for, 0 when it was there before.
func (s *sketch) add(h uint32) uint64 {
	if s.bits == nil {
		for _, one := range s.few {
			if one == h {
				return 0
			}
		}
		if len(s.few) < exactly {
			s.few = append(s.few, h)
			return unit
		}
		s.bits = new([sketchBits / 64]uint64)
		for _, one := range s.few {
			s.set(one)
		}
		s.few = nil
	}
	free := uint64(sketchBits - s.taken())
	if !s.set(h) {
		return 0
	}
	return unit * sketchBits / free
}

func (s *sketch) set(h uint32) bool {
	word, bit := h%sketchBits/64, uint64(1)<<(h%64)
	fresh := s.bits[word]&bit == 0
	s.bits[word] |= bit
	return fresh
}

func (s *sketch) taken() int {
	n := 0
	for _, word := range s.bits {
		n += bits.OnesCount64(word)
	}
	return n
}

func (s *sketch) appendTo(b []byte) []byte {
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

func readSketch(p *saved.Packed) (s sketch) {
	for range min(p.Count(), exactly) {
		s.few = append(s.few, uint32(p.Uint()))
	}
	if p.Uint() == 1 {
		var b [sketchBits / 8]byte
		p.Fill(b[:])
		s.few, s.bits = nil, new([sketchBits / 64]uint64)
		for i := range s.bits {
			s.bits[i] = binary.LittleEndian.Uint64(b[8*i:])
		}
	}
	return s
}

// hash is FNV-1a with a last stir, so that its lower bits are as good as the upper ones.
func hash[T string | []byte](b T) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(b) {
		h = (h ^ uint64(b[i])) * 1099511628211
	}
	h ^= h >> 29
	h *= 0xbf58476d1ce4e5b9
	return h ^ h>>32
}
