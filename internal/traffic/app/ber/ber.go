// Package ber reads BER: unlike DER, which the libraries read, a length may take more bytes than it needs, and SNMP agents and
// directories write it so.
package ber

// Tags.
const (
	Boolean    = 0x01
	Int        = 0x02
	Octets     = 0x04
	OID        = 0x06
	Enumerated = 0x0a
	Sequence   = 0x30
)

// Reader is what remains of a list of elements.
type Reader []byte

// Header reads the tag and the length at the beginning of b: the element has head bytes before its size bytes of value. head is
// 0 when b is too short to tell, below 0 when no element begins so: indefinite lengths and tags of several bytes do not fit.
func Header(b []byte) (tag byte, head, size int) {
	if len(b) > 0 && b[0]&0x1f == 0x1f {
		return 0, -1, 0
	}
	if len(b) < 2 {
		return 0, 0, 0
	}
	tag, size = b[0], int(b[1])
	if size <= 0x7f {
		return tag, 2, size
	}
	count := size & 0x7f
	if count == 0 || count > 4 {
		return 0, -1, 0
	}
	if len(b) < 2+count {
		return 0, 0, 0
	}
	var n uint32
	for _, c := range b[2:][:count] {
		n = n<<8 | uint32(c)
	}
	if n > 1<<30 {
		return 0, -1, 0
	}
	return tag, 2 + count, int(n)
}

// Next takes the next element.
func (r *Reader) Next() (tag byte, value Reader, ok bool) {
	tag, head, size := Header(*r)
	if head <= 0 || size > len(*r)-head {
		return 0, nil, false
	}
	b := (*r)[head:]
	*r = b[size:]
	return tag, b[:size:size], true
}

// Take takes the next element, which must have the tag.
func (r *Reader) Take(tag byte, to *Reader) bool {
	have, value, ok := r.Next()
	*to = value
	return ok && have == tag
}

// Open is Take for an element whose end may be cut off.
func (r *Reader) Open(tag byte, to *Reader) bool {
	have, head, size := Header(*r)
	if head <= 0 || have != tag {
		return false
	}
	b := (*r)[head:]
	size = min(size, len(b))
	*to, *r = b[:size:size], b[size:]
	return true
}

// Number takes an integer.
func (r *Reader) Number(to *int64) bool { return r.integer(Int, to) }

// Enum takes an enumerated value.
func (r *Reader) Enum(to *int64) bool { return r.integer(Enumerated, to) }

func (r *Reader) integer(tag byte, to *int64) bool {
	var v Reader
	if !r.Take(tag, &v) || len(v) == 0 || len(v) > 8 {
		return false
	}
	*to = Integer(v)
	return true
}

// Integer reads up to 8 bytes, with a sign, and a ninth when it is the zero before a large unsigned number.
func Integer(v []byte) int64 {
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
