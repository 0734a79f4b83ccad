// Package sieve looks for many byte strings at once, without regard to the case of letters.
//
// It does not look at every byte of a text: of each string all pieces of four bytes are known that can stand at every fourth place,
// so one look at every fourth place finds where a string may lie. A table of bits that fits into the processor's nearest cache says
// no to nearly all of them. Strings of less than seven bytes, and those whose pieces are in every text, are looked for at every place.
package sieve

import (
	"encoding/binary"
	"math/bits"
)

// Sieve finds strings.
type Sieve struct {
	far     tier // pieces of four bytes at every fourth place
	near    tier // pieces of four bytes at every place
	short   tier // pieces of two bytes at every place
	longest int
	texts   [][]byte // the strings in lower case
}

// tier is the pieces that are looked for at the same places.
type tier struct {
	shift uint
	bits  []uint64 // by a piece's sum: whether one has it
	keys  []uint32 // pieces, where their sum says or behind that
	first []int32  // by place of the key: one more than its first entry
	list  []entry
}

// entry is where a piece lies in a string.
type entry struct {
	text, offset int32
	next         int32 // one more than the next entry with the same piece
}

// New makes a sieve; strings are named by their index. An empty one is never found.
func New(list [][]byte) *Sieve {
	s := &Sieve{}
	var far, near, short []int32
	for i, p := range list {
		low := make([]byte, len(p))
		for j, b := range p {
			low[j] = fold(b)
		}
		s.texts = append(s.texts, low)
		s.longest = max(s.longest, len(p))
		_, dull := window(low, farSize)
		switch n := len(p); {
		case n >= farSize && !dull:
			far = append(far, int32(i))
		case n >= 4:
			near = append(near, int32(i))
		case n > 0:
			short = append(short, int32(i))
		}
	}
	s.far.make(stride * len(far))
	for _, i := range far {
		at, _ := window(s.texts[i], farSize)
		for o := at; o < at+stride; o++ {
			s.far.put(four(s.texts[i][o:]), entry{text: i, offset: int32(o)})
		}
	}
	s.near.make(len(near))
	for _, i := range near {
		at, _ := window(s.texts[i], 4)
		s.near.put(four(s.texts[i][at:]), entry{text: i, offset: int32(at)})
	}
	pieces := 0
	for _, i := range short {
		if pieces++; len(s.texts[i]) == 1 {
			pieces += 255
		}
	}
	s.short.make(pieces)
	for _, i := range short {
		text := s.texts[i]
		if len(text) > 1 {
			s.short.put(two(text), entry{text: i})
			continue
		}
		for b := range 256 { // whatever stands behind it
			s.short.put(two([]byte{text[0], byte(b)}), entry{text: i})
		}
	}
	return s
}

const (
	stride  = 4
	farSize = 4 + stride - 1
)

// make takes room for so many pieces.
func (t *tier) make(pieces int) {
	if pieces == 0 {
		return
	}
	size := min(bits.Len(uint(256*pieces)), 17) // at most 16 KiB, half of what the nearest cache of a processor holds
	t.shift, t.bits = uint(32-size), make([]uint64, 1<<size/64)
	room := 1 << bits.Len(uint(2*pieces))
	t.keys, t.first = make([]uint32, room), make([]int32, room)
}

// window is where those bytes of a string begin that texts are likely to have least often, and whether they have them all the time.
func window(text []byte, size int) (best int, dull bool) {
	least := 1 << 30
	for at := 0; at+size <= len(text); at++ {
		sum := 0
		for o := at; o+4 <= at+size; o++ {
			sum += common(text[o]) + common(text[o+1]) + common(text[o+2]) + common(text[o+3])
			if isDull(text[o : o+4]) {
				sum += 100
			}
		}
		if sum < least {
			best, least = at, sum
		}
	}
	return best, least >= 100
}

// isDull reports whether a piece is in every other packet: filling, and small numbers.
func isDull(piece []byte) bool {
	small, same := 0, 0
	for _, b := range piece {
		if b|0x21 == 0x21 || b == 0xff {
			small++
		}
		if b == piece[0] {
			same++
		}
	}
	return small >= 3 || same == 4
}

func common(b byte) int {
	switch {
	case b == 0 || b == ' ' || b == 0xff:
		return 4
	case b == 'e' || b == 't' || b == 'a' || b == 'o' || b == 'i' || b == 'n' || b == 's' || b == 'r':
		return 3
	case b >= 'a' && b <= 'z' || b >= '0' && b <= '9' || b == '/' || b == '.' || b == '-' || b == '\r' || b == '\n' || b == 1:
		return 2
	}
	return 1
}

// four and two are the pieces at the beginning of a text. They tell less apart than letters of either case.
func four(b []byte) uint32 { return binary.LittleEndian.Uint32(b) | 0x20202020 }
func two(b []byte) uint32  { return uint32(binary.LittleEndian.Uint16(b)) | 0x2020 }

// sum spreads pieces over the table.
func sum(piece uint32) uint32 { return piece * 0x9e3779b1 }

func (t *tier) put(piece uint32, e entry) {
	h := sum(piece)
	t.bits[h>>t.shift/64] |= 1 << (h >> t.shift % 64)
	at := t.place(piece, h)
	t.keys[at] = piece
	for i := t.first[at]; i != 0; i = t.list[i-1].next {
		if t.list[i-1].text == e.text && t.list[i-1].offset == e.offset {
			return
		}
	}
	e.next = t.first[at]
	t.list = append(t.list, e)
	t.first[at] = int32(len(t.list))
}

// place is where a piece stands, or is to stand.
func (t *tier) place(piece, h uint32) int {
	mask := len(t.keys) - 1
	at := int(h>>(32-uint(bits.Len(uint(mask))))) & mask
	for t.first[at] != 0 && t.keys[at] != piece {
		at = (at + 1) & mask
	}
	return at
}

func fold(b byte) byte {
	if b >= 'A' && b <= 'Z' {
		return b + 32
	}
	return b
}

// Size is how many bytes the tables take.
func (s *Sieve) Size() (n int) {
	for _, t := range [...]*tier{&s.far, &s.near, &s.short} {
		n += 8*len(t.bits) + 8*len(t.keys) + 12*len(t.list)
	}
	return n
}

// Find calls hit with each string that ends in text behind the first from bytes, and the position behind it, in no certain order.
func (s *Sieve) Find(text []byte, from int, hit func(found int32, end int)) {
	begin := max(0, from-s.longest+1)
	if s.far.bits != nil {
		s.each(&s.far, stride, text, begin, from, hit)
	}
	if s.near.bits != nil {
		s.each(&s.near, 1, text, begin, from, hit)
	}
	if s.short.bits != nil {
		s.eachShort(text, max(0, from-2), from, hit)
	}
}

func (s *Sieve) each(t *tier, by int, text []byte, at, from int, hit func(found int32, end int)) {
	table, shift := t.bits, t.shift&31
	for ; at+4 <= len(text); at += by {
		h := sum(four(text[at:]))
		i := h >> shift
		if table[i>>6]>>(i&63)&1 != 0 {
			s.settle(t, four(text[at:]), text, at, from, hit)
		}
	}
}

func (s *Sieve) eachShort(text []byte, at, from int, hit func(found int32, end int)) {
	t := &s.short
	table, shift := t.bits, t.shift&31
	for ; at+2 <= len(text); at++ {
		i := sum(two(text[at:])) >> shift
		if table[i>>6]>>(i&63)&1 != 0 {
			s.settle(t, two(text[at:]), text, at, from, hit)
		}
	}
	if at < len(text) { // nothing stands behind the last byte
		s.settle(t, two([]byte{text[at], 0}), text, at, from, hit)
	}
}

// settle compares the strings that have the piece which stands at a place of the text.
func (s *Sieve) settle(t *tier, piece uint32, text []byte, at, from int, hit func(found int32, end int)) {
	for i := t.first[t.place(piece, sum(piece))]; i != 0; {
		e := &t.list[i-1]
		low := s.texts[e.text]
		if start := at - int(e.offset); start >= 0 {
			if end := start + len(low); end > from && end <= len(text) && equal(text[start:end], low) {
				hit(e.text, end)
			}
		}
		i = e.next
	}
}

// equal compares with a string in lower case.
func equal(text, low []byte) bool {
	for i, b := range low {
		if c := text[i]; c != b && (c < 'A' || c > 'Z' || c+32 != b) {
			return false
		}
	}
	return true
}
