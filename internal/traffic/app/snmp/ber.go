package snmp

// ber reads BER: unlike DER, which the libraries read, a length may take more bytes than it needs, and agents do so.
type ber []byte

// Tags.
const (
	tagInteger  = 0x02
	tagOctets   = 0x04
	tagOID      = 0x06
	tagSequence = 0x30
	tagIP       = 0x40
	tagCounter  = 0x41 // gauge and ticks follow
	tagCount64  = 0x46
	tagPDU      = 0xa0
)

// next takes the next element. Indefinite lengths, which SNMP forbids, and tags of several bytes do not fit.
func (b *ber) next() (tag byte, value ber, ok bool) {
	s := *b
	if len(s) < 2 || s[0]&0x1f == 0x1f {
		return 0, nil, false
	}
	tag, size := s[0], int(s[1])
	s = s[2:]
	if size > 0x7f {
		count := size & 0x7f
		if count == 0 || count > 4 || count > len(s) {
			return 0, nil, false
		}
		size = 0
		for _, c := range s[:count] {
			size = size<<8 | int(c)
		}
		s = s[count:]
	}
	if size < 0 || size > len(s) {
		return 0, nil, false
	}
	*b = s[size:]
	return tag, s[:size], true
}

// take takes the next element, which must have the tag.
func (b *ber) take(tag byte, to *ber) bool {
	have, value, ok := b.next()
	*to = value
	return ok && have == tag
}

// number takes an integer.
func (b *ber) number(to *int64) bool {
	var v ber
	if !b.take(tagInteger, &v) || len(v) == 0 || len(v) > 8 {
		return false
	}
	*to = integer(v)
	return true
}

// integer reads up to 8 bytes, with a sign, and a ninth when it is the zero before a large unsigned number.
func integer(v []byte) int64 {
	var n int64
	for i, c := range v[:min(len(v), 9)] {
		if i == 0 {
			n = int64(int8(c))
			continue
		}
		n = n<<8 | int64(c)
	}
	return n
}
