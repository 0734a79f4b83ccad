package saved

import (
	"encoding/binary"
	"fmt"
	"io"
)

// Packed reads numbers that were put behind each other by binary.AppendUvarint and binary.AppendVarint, and bytes between
// them. After the first error it reads zeros.
type Packed struct {
	rest []byte
	err  error
}

// NewPacked reads from the beginning of b.
func NewPacked(b []byte) *Packed { return &Packed{rest: b} }

// Count reads how many things follow, each of which takes a byte at least: whoever lies about it has no more read than there is.
func (p *Packed) Count() int { return int(min(p.Uint(), uint64(len(p.rest)))) }

// More reports whether something is left to read.
func (p *Packed) More() bool { return p.err == nil && len(p.rest) > 0 }

// Uint reads a number without a sign.
func (p *Packed) Uint() uint64 {
	v, n := binary.Uvarint(p.rest)
	p.skip(n)
	return v
}

// Int reads a number with a sign.
func (p *Packed) Int() int64 {
	v, n := binary.Varint(p.rest)
	p.skip(n)
	return v
}

// Fill reads as many bytes as b has, which are some.
func (p *Packed) Fill(b []byte) {
	if len(b) > len(p.rest) {
		p.skip(0)
		return
	}
	p.skip(copy(b, p.rest))
}

// Bytes reads bytes that stand behind their number, up to limit of them. They are those of the packed numbers.
func (p *Packed) Bytes(limit int) []byte {
	n := p.Uint()
	switch {
	case n == 0:
		return nil
	case n > uint64(min(limit, len(p.rest))):
		p.skip(0)
		return nil
	}
	out := p.rest[:n]
	p.skip(int(n))
	return out
}

// End reports the first error, and bytes that nobody has read.
func (p *Packed) End() error {
	if p.err == nil && len(p.rest) > 0 {
		return fmt.Errorf("%d bytes more than there should be", len(p.rest))
	}
	return p.err
}

// Err is the first error.
func (p *Packed) Err() error { return p.err }

func (p *Packed) skip(n int) {
	if n > 0 {
		p.rest = p.rest[n:]
		return
	}
	p.rest = nil
	if p.err == nil {
		p.err = fmt.Errorf("packed numbers end too early, or are too large: %w", io.ErrUnexpectedEOF)
	}
}
