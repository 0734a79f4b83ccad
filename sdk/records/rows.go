package records

import (
	"encoding/binary"
	"math"
	"net/netip"
	"slices"
	"time"
)

// writer builds one frame at the end of buf.
type writer struct {
	layout layout
	buf    []byte
	start  int // of the frame
	heap   int // of its heap
	row    int // being written
	count  int
}

func (l layout) newWriter(dst []byte, count int) *writer {
	start := len(dst)
	fixed := headerSize + count*l.rowSize
	dst = slices.Grow(dst, fixed+count*64) // 64: a community id and a few packet numbers
	dst = dst[:start+fixed]
	clear(dst[start:])
	return &writer{layout: l, buf: dst, start: start, heap: start + fixed, row: start + headerSize, count: count}
}

// finish writes the header and returns the whole buffer.
func (w *writer) finish() []byte {
	frame := w.buf[w.start:]
	copy(frame, magic)
	binary.LittleEndian.PutUint16(frame[4:], w.layout.schema)
	binary.LittleEndian.PutUint16(frame[6:], w.layout.major)
	binary.LittleEndian.PutUint32(frame[8:], uint32(w.layout.rowSize))
	binary.LittleEndian.PutUint32(frame[12:], uint32(w.count))
	binary.LittleEndian.PutUint32(frame[16:], uint32(w.heap-w.start))
	binary.LittleEndian.PutUint32(frame[20:], uint32(len(frame)))
	binary.LittleEndian.PutUint32(frame[crcAt:], checksum(frame))
	return w.buf
}

// ref is a heap offset in the low half and a length in the high one.
func (w *writer) ref(length int) uint64 {
	return uint64(uint32(len(w.buf)-w.heap)) | uint64(length)<<32
}

func (w *writer) text(s string) uint64 {
	if s == "" {
		return 0
	}
	ref := w.ref(len(s))
	w.buf = append(w.buf, s...)
	return ref
}

func (w *writer) u64s(list []uint64) uint64 {
	if len(list) == 0 {
		return 0
	}
	ref := w.ref(len(list))
	for _, v := range list {
		w.buf = binary.LittleEndian.AppendUint64(w.buf, v)
	}
	return ref
}

// reader resolves the references of one frame. After its first error it answers with nothing.
type reader struct {
	heap   []byte
	texts  string // the heap as a string, made once: strings outlive the frame
	listed int    // bytes of the heap that lists have used
	err    error
}

func newReader(heap []byte) *reader { return &reader{heap: heap} }

// span checks a reference and returns its bounds in the heap.
func (r *reader) span(ref uint64, size int) (start, length int) {
	at, n := uint64(uint32(ref)), ref>>32
	if at+n*uint64(size) > uint64(len(r.heap)) {
		if r.err == nil {
			r.err = frameError("a reference to %d x %d bytes at %d leaves the heap of %d", n, size, at, len(r.heap))
		}
		return 0, 0
	}
	return int(at), int(n)
}

func (r *reader) text(ref uint64) string {
	start, n := r.span(ref, 1)
	if n == 0 || r.err != nil {
		return ""
	}
	if r.texts == "" {
		r.texts = string(r.heap)
	}
	return r.texts[start : start+n]
}

func (r *reader) u64s(ref uint64, into []uint64) []uint64 {
	start, n := r.span(ref, 8)
	// Rows that share one list could turn a small frame into a huge result.
	if r.listed += n * 8; r.listed > len(r.heap) && r.err == nil {
		r.err = frameError("its lists are longer than its heap of %d bytes", len(r.heap))
	}
	into = into[:0]
	if r.err != nil {
		return into
	}
	for at := start; n > 0; at, n = at+8, n-1 {
		into = append(into, binary.LittleEndian.Uint64(r.heap[at:]))
	}
	return into
}

// noTime stands for the zero time.Time.
const noTime = math.MinInt64

// nanos returns the nanoseconds since 1970; a time beyond the years 1678 to 2262 becomes the nearest one inside.
func nanos(t time.Time) int64 {
	if t.IsZero() {
		return noTime
	}
	switch sec := t.Unix(); {
	case sec >= math.MaxInt64/int64(time.Second):
		return math.MaxInt64
	case sec <= math.MinInt64/int64(time.Second):
		return noTime + 1
	}
	return t.UnixNano()
}

func timeOf(ns int64) time.Time {
	if ns == noTime {
		return time.Time{}
	}
	return time.Unix(0, ns).UTC()
}

// putAddr writes 16 bytes and returns the kind: 0 none, 4 or 6. A zone is dropped; flows have none.
func putAddr(row []byte, a netip.Addr) uint8 {
	if !a.IsValid() {
		return 0
	}
	b := a.As16()
	copy(row, b[:])
	if a.Is4() {
		return 4
	}
	return 6
}

func getAddr(row []byte, kind uint8) netip.Addr {
	switch kind {
	case 4:
		return netip.AddrFrom4([4]byte(row[12:16]))
	case 6:
		return netip.AddrFrom16([16]byte(row))
	}
	return netip.Addr{}
}

func boolByte(b bool) uint8 {
	if b {
		return 1
	}
	return 0
}
