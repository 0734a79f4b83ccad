package kept

import (
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/picketwatch/picket/internal/traffic/capture"
)

// Place says where an entry stands.
type Place struct {
	block  int
	number uint64 // of the block
	at     int
}

// Reader reads what a Writer keeps, or kept.
type Reader struct {
	mem  []byte
	copy []byte
}

// NewReader reads a memory that Blocks accepts.
func NewReader(mem []byte) *Reader { return &Reader{mem: mem, copy: make([]byte, BlockSize)} }

// Each shows the entries from the oldest to the newest. A block that is written anew meanwhile is passed over.
func (r *Reader) Each(see func(Place, *Entry)) {
	type numbered struct {
		block  int
		number uint64
	}
	var list []numbered
	for i := range len(r.mem) / BlockSize {
		if n := word(r.mem[i*BlockSize:], blockNumber).Load(); n > 0 {
			list = append(list, numbered{i, n})
		}
	}
	slices.SortFunc(list, func(a, b numbered) int { return cmp.Compare(a.number, b.number) })
	var e Entry
	for _, x := range list {
		b, ok := r.take(x.block, x.number)
		if !ok {
			continue
		}
		for at := blockHead; at < len(b); {
			size := e.read(b[at:])
			if size == 0 {
				break
			}
			see(Place{x.block, x.number, at}, &e)
			at += size
		}
	}
}

// take copies a block, if it still is the one with that number.
func (r *Reader) take(block int, number uint64) ([]byte, bool) {
	b := r.mem[block*BlockSize : (block+1)*BlockSize]
	used := word(b, blockUsed).Load()
	if used < blockHead || used > BlockSize || word(b, blockNumber).Load() != number {
		return nil, false
	}
	out := r.copy[:copy(r.copy, b[:used])]
	return out, word(b, blockNumber).Load() == number
}

// read takes an entry apart and returns its size, 0 when there is none.
func (e *Entry) read(b []byte) int {
	if len(b) < entryHead {
		return 0
	}
	size, captured := uint64(binary.NativeEndian.Uint32(b[entrySize:])), uint64(binary.NativeEndian.Uint32(b[entryCaptured:]))
	if size < entryHead+captured || size > uint64(len(b)) || size%align != 0 || captured > longest {
		return 0
	}
	mark := binary.NativeEndian.Uint64(b[entryFlow:])
	e.Flow, e.Backward = mark>>1, mark&1 == 1
	e.Packet = capture.Packet{
		Number: binary.NativeEndian.Uint64(b[entryNumber:]), Time: int64(binary.NativeEndian.Uint64(b[entryTime:])),
		Link: capture.LinkType(binary.NativeEndian.Uint32(b[entryLink:])), Length: binary.NativeEndian.Uint32(b[entryLength:]),
		Data: b[entryHead : entryHead+captured],
	}
	return int(size)
}

// Take shows the entries at some places, in their order, as far as they are still there. It ends with the first error.
func (r *Reader) Take(places []Place, see func(*Entry) error) error {
	var b []byte
	var ok bool
	var e Entry
	for i, p := range places {
		if i == 0 || p.block != places[i-1].block || p.number != places[i-1].number {
			b, ok = r.take(p.block, p.number)
		}
		if !ok || p.at >= len(b) || e.read(b[p.at:]) == 0 {
			continue
		}
		if err := see(&e); err != nil {
			return err
		}
	}
	return nil
}
