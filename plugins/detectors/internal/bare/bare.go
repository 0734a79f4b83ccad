// Package bare holds addresses as detectors remember them by the hundred thousand. A netip.Addr is 24 bytes with a pointer
// among them, which the collector follows each time it looks at the memory; in go addresses and out come 17 bytes.
package bare

import (
	"encoding/binary"
	"net/netip"

	"github.com/picketwatch/picket/plugins/detectors/internal/saved"
)

const (
	size = 16 // of an address
	bits = 8
)

// Addr is an address without a zone (flows have none), or none at all: its 16 bytes and, behind them, of how many it is made.
type Addr [size + 1]byte

// Of returns an address without its zone.
func Of(a netip.Addr) (b Addr) {
	b.Set(a)
	return b
}

// Set makes b an address without its zone, where it lies. It is written in the halves that As16 makes: the processor waits for
// what is read in wider pieces than it was written in.
func (b *Addr) Set(a netip.Addr) {
	if !a.IsValid() {
		*b = Addr{}
		return
	}
	from := a.As16()
	binary.NativeEndian.PutUint64(b[:], binary.NativeEndian.Uint64(from[:]))
	binary.NativeEndian.PutUint64(b[size/2:], binary.NativeEndian.Uint64(from[size/2:]))
	b[size] = byte(a.BitLen() / bits)
}

// Addr is the address again.
func (b *Addr) Addr() netip.Addr {
	switch b[size] {
	case 4:
		return netip.AddrFrom4([4]byte(b[size-4:]))
	case size:
		return netip.AddrFrom16([size]byte(b[:]))
	}
	return netip.Addr{}
}

// AppendTo writes the address behind b, for Read.
func (b *Addr) AppendTo(to []byte) []byte {
	bytes := b.bytes()
	return append(append(to, byte(len(bytes))), bytes...)
}

// Read reads what AppendTo wrote. What no address has as many bytes of is none.
func Read(p *saved.Packed) Addr {
	a, _ := netip.AddrFromSlice(p.Bytes(longest))
	return Of(a)
}

// longest is an address with a zone, as the first snapshots of detectors may have it.
const longest = 64

func (b *Addr) bytes() []byte {
	if b[size] == 4 {
		return b[size-4 : size]
	}
	return b[:b[size]]
}
