// Package sieve looks for many byte strings at once, without regard to the case of letters.
//
// It does not look at every byte of a text: of each string all pieces of four bytes are known that can stand at every fourth place,
// so one look at every fourth place finds where a string may lie. A table of bits that fits into the processor's nearest cache says
// no to nearly all of them. Strings of four to six bytes are looked for at every second place by pieces of three. Only those that are
// shorter still, and those whose pieces are in every text, are looked for at every place.
package sieve

import (
	"encoding/binary"
	"math/bits"
)

// Sieve finds strings.
type Sieve struct {
	far   tier     // pieces of four bytes at every fourth place
	half  tier     // pieces of three bytes at every second place
	near  tier     // pieces of four bytes at every place
	short tier     // pieces of two bytes at every place
	pairs []uint64 // by a piece of two bytes: whether short has it
	texts [][]byte // the strings in lower case
}

// tier is the pieces that are looked for at the same places.
type tier struct {
	shift uint
	bits  []uint64 // by a piece's sum: whether one has it
	keys  []uint32 // pieces, where their sum says or behind that
	first []int32  // by place of the key: one more than its first entry
	list  []entry

	longest int // string
}

// entry is where a piece lies in a string.
type entry struct {
	text, offset int32
	next         int32 // one more than the next entry with the same piece
}

// New makes a sieve; strings are named by their index. An empty one is never found.
func New(list [][]byte) *Sieve {
	s := &Sieve{}
	var far, half, near, short []int32
	for i, p := range list {
		low := make([]byte, len(p))
		for j, b := range p {
			low[j] = fold(b)
		}
		s.texts = append(s.texts, low)
		switch n := len(p); {
		case n >= farSize && !dull(low, farSize, 4):
			far = append(far, int32(i))
		case n >= halfSize && !dull(low, halfSize, 3):
			half = append(half, int32(i))
		case n >= 4 && dull(low, 2, 2):
			near = append(near, int32(i))
		case n > 0:
			short = append(short, int32(i))
		}
	}
	s.far.make(stride * len(far))
	for _, i := range far {
		at, _ := window(s.texts[i], farSize, 4)
		for o := at; o < at+stride; o++ {
			s.put(&s.far, four(s.texts[i][o:]), i, o)
		}
	}
	s.half.make(halfStride * len(half))
	for _, i := range half {
		at, _ := window(s.texts[i], halfSize, 3)
		for o := at; o < at+halfStride; o++ {
			s.put(&s.half, three(s.texts[i][o:]), i, o)
		}
	}
	s.near.make(len(near))
	for _, i := range near {
		at, _ := window(s.texts[i], 4, 4)
		s.put(&s.near, four(s.texts[i][at:]), i, at)
	}
	s.makeShort(short)
	return s
}

func (s *Sieve) makeShort(list []int32) {
	pieces := 0
	for _, i := range list {
		if pieces++; len(s.texts[i]) == 1 {
			pieces += 255
		}
	}
	s.short.make(pieces)
	for _, i := range list {
		text := s.texts[i]
		if len(text) > 1 {
			at, _ := window(text, 2, 2)
			s.put(&s.short, two(text[at:]), i, at)
			continue
		}
		for b := range 256 { // whatever stands behind it
			s.put(&s.short, two([]byte{text[0], byte(b)}), i, 0)
		}
	}
	if len(list) == 0 {
		return
	}
	s.pairs = make([]uint64, 1<<16/64)
	for at, piece := range s.short.keys {
		if s.short.first[at] != 0 {
			s.pairs[piece>>6] |= 1 << (piece & 63)
		}
	}
}

const (
	stride     = 4
	farSize    = 4 + stride - 1
	halfStride = 2
	halfSize   = 3 + halfStride - 1
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

// window is where those bytes of a string begin whose pieces texts are likely to have least often, and how often that is.
func window(text []byte, size, piece int) (best, least int) {
	least = 1 << 30
	for at := 0; at+size <= len(text); at++ {
		sum := 0
		for o := at; o+piece <= at+size; o++ {
			for _, b := range text[o : o+piece] {
				sum += common(b)
			}
			if isDull(text[o : o+piece]) {
				sum += veryOften
			}
		}
		if sum < least {
			best, least = at, sum
		}
	}
	return best, least
}

const veryOften = 100

// dull reports whether each window of a string has a piece that texts have all the time.
func dull(text []byte, size, piece int) bool {
	_, least := window(text, size, piece)
	return least >= veryOften
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
	return small >= min(len(piece), 3) || same == len(piece)
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

// four, three and two are the pieces at the beginning of a text, and eight what several of them lie in. They tell less apart than
// letters of either case.
func four(b []byte) uint32  { return binary.LittleEndian.Uint32(b) | 0x20202020 }
func three(b []byte) uint32 { return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | 0x202020 }
func two(b []byte) uint32   { return uint32(binary.LittleEndian.Uint16(b)) | 0x2020 }
func eight(b []byte) uint64 { return binary.LittleEndian.Uint64(b) | 0x2020202020202020 }

// sum spreads pieces over the table.
func sum(piece uint32) uint32 { return piece * 0x9e3779b1 }

func (s *Sieve) put(t *tier, piece uint32, text int32, offset int) {
	e := entry{text: text, offset: int32(offset)}
	t.longest = max(t.longest, len(s.texts[text]))
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
	for _, t := range [...]*tier{&s.far, &s.half, &s.near, &s.short} {
		n += 8*len(t.bits) + 8*len(t.keys) + 12*len(t.list)
	}
	return n + 8*len(s.pairs)
}

// Find calls hit with each string that ends in text behind the first from bytes, and the position behind it, in no certain order.
func (s *Sieve) Find(text []byte, from int, hit func(found int32, end int)) {
	if s.far.bits != nil {
		s.eachFar(text, s.far.begin(from), from, hit)
	}
	if s.half.bits != nil {
		s.eachHalf(text, s.half.begin(from), from, hit)
	}
	if s.near.bits != nil {
		s.eachNear(text, s.near.begin(from), from, hit)
	}
	if s.short.bits != nil {
		s.eachShort(text, s.short.begin(from), from, hit)
	}
}

// begin is where the longest string may begin that ends behind a place.
func (t *tier) begin(from int) int { return max(0, from-t.longest+1) }

// has reports whether a string may have a piece.
func (t *tier) has(piece uint32) bool {
	i := sum(piece) >> (t.shift & 31)
	return t.bits[i>>6]>>(i&63)&1 != 0
}

// eachFar looks at four places at once, and at each of them only when one may have something; so do the other tiers.
func (s *Sieve) eachFar(text []byte, at, from int, hit func(found int32, end int)) {
	t := &s.far
	table, shift := t.bits, t.shift&31
	for ; at+4*stride <= len(text); at += 4 * stride {
		lo, hi := eight(text[at:]), eight(text[at+8:])
		a, b, c, d := sum(uint32(lo))>>shift, sum(uint32(lo>>32))>>shift, sum(uint32(hi))>>shift, sum(uint32(hi>>32))>>shift
		if (table[a>>6]>>(a&63)|table[b>>6]>>(b&63)|table[c>>6]>>(c&63)|table[d>>6]>>(d&63))&1 != 0 {
			s.some(t, stride, text, at, at+4*stride, from, hit)
		}
	}
	s.some(t, stride, text, at, len(text), from, hit)
}

func (s *Sieve) eachHalf(text []byte, at, from int, hit func(found int32, end int)) {
	const piece = 1<<24 - 1
	t := &s.half
	table, shift := t.bits, t.shift&31
	for ; at+8 <= len(text); at += 3 * halfStride {
		w := eight(text[at:])
		a, b, c := sum(uint32(w)&piece)>>shift, sum(uint32(w>>16)&piece)>>shift, sum(uint32(w>>32)&piece)>>shift
		if (table[a>>6]>>(a&63)|table[b>>6]>>(b&63)|table[c>>6]>>(c&63))&1 != 0 {
			s.someHalf(text, at, at+3*halfStride, from, hit)
		}
	}
	s.someHalf(text, at, len(text), from, hit)
}

func (s *Sieve) eachNear(text []byte, at, from int, hit func(found int32, end int)) {
	t := &s.near
	table, shift := t.bits, t.shift&31
	for ; at+8 <= len(text); at += 4 {
		w := eight(text[at:])
		a, b, c, d := sum(uint32(w))>>shift, sum(uint32(w>>8))>>shift, sum(uint32(w>>16))>>shift, sum(uint32(w>>24))>>shift
		if (table[a>>6]>>(a&63)|table[b>>6]>>(b&63)|table[c>>6]>>(c&63)|table[d>>6]>>(d&63))&1 != 0 {
			s.some(t, 1, text, at, at+4, from, hit)
		}
	}
	s.some(t, 1, text, at, len(text), from, hit)
}

func (s *Sieve) eachShort(text []byte, at, from int, hit func(found int32, end int)) {
	table := (*[1 << 16 / 64]uint64)(s.pairs)
	for ; at+8 <= len(text); at += 4 {
		w := eight(text[at:])
		a, b, c, d := uint16(w), uint16(w>>8), uint16(w>>16), uint16(w>>24)
		if (table[a>>6]>>(a&63)|table[b>>6]>>(b&63)|table[c>>6]>>(c&63)|table[d>>6]>>(d&63))&1 != 0 {
			s.someShort(text, at, at+4, from, hit)
		}
	}
	s.someShort(text, at, len(text), from, hit)
	if len(text) > 0 { // nothing stands behind the last byte
		last := len(text) - 1
		s.settle(&s.short, two([]byte{text[last], 0}), text, last, from, hit)
	}
}

// some looks at the places from at to until, one after the other.
func (s *Sieve) some(t *tier, by int, text []byte, at, until, from int, hit func(found int32, end int)) {
	for ; at < until && at+4 <= len(text); at += by {
		if piece := four(text[at:]); t.has(piece) {
			s.settle(t, piece, text, at, from, hit)
		}
	}
}

func (s *Sieve) someHalf(text []byte, at, until, from int, hit func(found int32, end int)) {
	for ; at < until && at+3 <= len(text); at += halfStride {
		if piece := three(text[at:]); s.half.has(piece) {
			s.settle(&s.half, piece, text, at, from, hit)
		}
	}
}

func (s *Sieve) someShort(text []byte, at, until, from int, hit func(found int32, end int)) {
	for ; at < until && at+2 <= len(text); at++ {
		if piece := two(text[at:]); s.pairs[piece>>6]>>(piece&63)&1 != 0 {
			s.settle(&s.short, piece, text, at, from, hit)
		}
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
