package records

import (
	"encoding/binary"
	"math/bits"
	"unsafe"
)

// The texts of facts say the same again and again: names of protocols, of messages and of fields, the name that is asked for
// and answered. A frame holds such a word once, and its rows share it.

// Limits of what rows share.
const (
	maxWord = 64
	// maxShared bytes are far below the largest frame, which the texts of a frame, each counted as often as it is referred to, must
	// not reach.
	maxShared = MaxFrame / 4
)

// words are where words lie in the frame: references, by hash. One that another word took the place of is written again.
type words [256]uint64

// word writes a text of up to maxWord bytes, unless it lies in the frame.
func (w *writer) word(s string) uint64 {
	slot := &w.words[wordHash(s)]
	if ref := *slot; ref>>32 == uint64(len(s)) {
		at := w.heap + int(uint32(ref))
		if string(w.buf[at:at+len(s)]) == s {
			w.shared += len(s)
			return ref
		}
	}
	*slot = w.newText(s)
	return *slot
}

// wordHash mixes the ends of a text, which is not empty, with its length.
func wordHash(s string) uint8 {
	b := unsafe.Slice(unsafe.StringData(s), len(s))
	var head, tail uint64
	switch n := len(b); {
	case n >= 8:
		head, tail = binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[n-8:])
	case n >= 4:
		head, tail = uint64(binary.LittleEndian.Uint32(b)), uint64(binary.LittleEndian.Uint32(b[n-4:]))
	default:
		head, tail = uint64(b[0])|uint64(b[n/2])<<8, uint64(b[n-1])
	}
	const odd = 0x9e3779b97f4a7c15 // spreads small differences over the high bits
	return uint8((head*odd ^ bits.RotateLeft64(tail*odd, 32) ^ uint64(len(b))) * odd >> 56)
}

// knownWords are texts that were read last, by hash of their references.
type knownWords [32]struct {
	ref  uint64
	text string
}

// word is text for one that other rows may share: it is copied once.
func (r *reader) word(ref uint64) string {
	if r.inside {
		return r.part(ref)
	}
	const odd = 0x9e3779b97f4a7c15
	slot := &r.known[ref*odd>>59]
	if n := int(ref >> 32); slot.ref == ref && n > 0 && r.copied+r.shared+n <= MaxFrame {
		r.shared += n
		return slot.text
	}
	slot.ref, slot.text = ref, r.text(ref)
	return slot.text
}

// part is the text where it lies. Nearly all lie inside the heap; see oddText for the others.
func (r *reader) part(ref uint64) string {
	start, n := uint64(uint32(ref)), ref>>32
	if start+n > uint64(len(r.texts)) || r.copied+int(n) > MaxFrame || r.err != nil {
		return r.oddText(ref)
	}
	r.copied += int(n)
	return r.texts[start : start+n]
}
