// Package kept holds the newest packets of live traffic in a bounded piece of memory, for whoever wants to see what a finding
// rests on.
//
// In go packets as traffic.Follower hears of them, out come entries that name packet and flow. The memory belongs to somebody else and
// is shared: the worker that reads the traffic writes, another process reads at the same time, also when the worker is dead.
// So it is divided into blocks that are written one after the other. A block has a number, by which a reader sees that it was
// written anew meanwhile. A reader believes nothing that stands in the memory: who wrote it parses packets.
package kept

import (
	"encoding/binary"
	"fmt"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/capture"
	"github.com/picketwatch/picket/internal/traffic/decode"
)

// BlockSize is what is forgotten at once.
const BlockSize = 256 << 10

// What is kept of a packet: its beginning, of the first packets of a flow and of those without one as much as a page shows; behind these
// the headers, so that one large copy does not push out all else.
const (
	longest     = 2048
	firstOfFlow = 128
	shortened   = 128
)

// Where things stand in a block and in an entry. Both are in the order of bytes of the machine, which writer and reader share.
const (
	blockNumber = 0 // ascending from 1; 0 was never written
	blockUsed   = 8 // bytes, with this head
	blockHead   = 16

	entrySize     = 0 // bytes, with this head and what fills it up
	entryCaptured = 4
	entryNumber   = 8
	entryTime     = 16
	entryFlow     = 24 // twice the flow's number, and one more when the packet came back; 0 without a flow
	entryLength   = 32
	entryLink     = 36
	entryHead     = 40
	align         = 8
)

// maxWaiting bounds the fragments whose flow is not known yet.
const maxWaiting = 1024

// Entry is a packet that was kept. Its data lie in a copy that the next entry may overwrite.
type Entry struct {
	Packet   capture.Packet
	Flow     uint64 // 0 without a flow
	Backward bool   // from the side that was asked
}

// word is a part of the memory that both sides read and write as a whole.
func word(b []byte, at int) *atomic.Uint64 {
	//nolint:gosec // blocks and entries are aligned, and callers stay within them
	return (*atomic.Uint64)(unsafe.Pointer(&b[at : at+8][0]))
}

// Blocks is how many blocks so much memory has.
func Blocks(size int64) (int, error) {
	n := size / BlockSize
	if n < 2 || size%BlockSize != 0 {
		return 0, fmt.Errorf("memory for packets has %d bytes, not two or more times %d", size, BlockSize)
	}
	return int(n), nil
}

// Writer keeps packets. It is used by one goroutine.
type Writer struct {
	mem     []byte
	block   []byte // the one that is written
	number  uint64 // of it
	used    int    // in it, with the last entry
	last    int    // where the last entry stands
	current uint64 // the number of its packet
	newest  int64
	waiting map[uint64]mark // fragments whose flow is not known yet, by their numbers
}

// mark is where the flow of a packet is noted.
type mark struct {
	at    *atomic.Uint64
	block uint64
}

// NewWriter begins to write a memory that Blocks accepts.
func NewWriter(mem []byte) *Writer {
	w := &Writer{mem: mem, waiting: map[uint64]mark{}}
	w.next()
	return w
}

// next begins a block, and forgets what was in it.
func (w *Writer) next() {
	if w.block != nil {
		w.Flush()
	}
	w.number++
	at := int((w.number-1)%uint64(len(w.mem)/BlockSize)) * BlockSize
	w.block = w.mem[at : at+BlockSize]
	w.used, w.last = blockHead, 0
	word(w.block, blockUsed).Store(blockHead)
	word(w.block, blockNumber).Store(w.number)
}

// Packet implements traffic.Follower: it keeps the packet as one without a flow.
func (w *Writer) Packet(p *capture.Packet, d *decode.Packet) error {
	data := p.Data[:min(len(p.Data), longest)]
	size := entryHead + (len(data)+align-1)&^(align-1)
	if w.used+size > BlockSize {
		w.next()
	}
	e := w.block[w.used : w.used+size]
	binary.NativeEndian.PutUint32(e[entryCaptured:], uint32(len(data)))
	binary.NativeEndian.PutUint64(e[entryNumber:], p.Number)
	binary.NativeEndian.PutUint64(e[entryTime:], uint64(p.Time))
	binary.NativeEndian.PutUint64(e[entryFlow:], 0)
	binary.NativeEndian.PutUint32(e[entryLength:], p.Length)
	binary.NativeEndian.PutUint32(e[entryLink:], uint32(p.Link))
	copy(e[entryHead:], data)
	w.last, w.current, w.newest = w.used, p.Number, p.Time
	w.end(size)
	if d.Part.Is {
		if len(w.waiting) >= maxWaiting {
			clear(w.waiting)
		}
		w.waiting[p.Number] = mark{word(e, entryFlow), w.number}
	}
	return nil
}

// end says how long the last entry is.
func (w *Writer) end(size int) {
	binary.NativeEndian.PutUint32(w.block[w.last+entrySize:], uint32(size))
	w.used = w.last + size
}

// Member implements traffic.Follower: it notes the flow, and shortens a packet behind the first ones of it.
func (w *Writer) Member(number, flow, nth uint64, d app.Dir) error {
	is := flow << 1
	if d == app.Server {
		is++
	}
	if m, ok := w.waiting[number]; ok {
		if w.number-m.block < uint64(len(w.mem)/BlockSize) { // else it is overwritten
			m.at.Store(is)
		}
		delete(w.waiting, number)
		return nil
	}
	if number != w.current {
		return nil // it is forgotten
	}
	e := w.block[w.last:]
	binary.NativeEndian.PutUint64(e[entryFlow:], is)
	if nth > firstOfFlow && binary.NativeEndian.Uint32(e[entryCaptured:]) > shortened {
		binary.NativeEndian.PutUint32(e[entryCaptured:], shortened)
		w.end(entryHead + shortened)
	}
	return nil
}

// Lost implements traffic.Follower.
func (w *Writer) Lost(number uint64) { delete(w.waiting, number) }

// Flush shows readers all packets, of which nothing changes any more but the flow of a fragment. It is for the time between two packets, now
// and then: until then readers have what was there at the last time.
func (w *Writer) Flush() { word(w.block, blockUsed).Store(uint64(w.used)) }

// Span is how far the packets that are kept go back.
func (w *Writer) Span() time.Duration {
	oldest := w.mem
	if n := uint64(len(w.mem) / BlockSize); w.number > n {
		oldest = w.mem[int(w.number%n)*BlockSize:]
	}
	if w.newest == 0 {
		return 0
	}
	return time.Duration(w.newest - int64(binary.NativeEndian.Uint64(oldest[blockHead+entryTime:])))
}
