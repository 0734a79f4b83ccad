package records

import "encoding/binary"

// rowWriter gathers rows into one frame at a time, as they come.
type rowWriter[T any] struct {
	codec                 *codec[T]
	w                     writer
	rowsLimit, bytesLimit int
	rows                  int
}

// Add writes one record and keeps nothing of it. The writer must not be full.
func (r *rowWriter[T]) Add(v *T) {
	if r.rows == 0 {
		r.begin(r.rowsLimit)
	}
	r.codec.put(&r.w, v)
	r.w.row += r.codec.layout.rowSize
	r.rows++
}

// begin starts a frame in the memory of the last one.
func (r *rowWriter[T]) begin(rows int) {
	old := &r.w
	w := r.codec.layout.newWriter(old.buf[:0], rows)
	w.pairs, w.given, w.words = old.pairs, old.given, old.words
	if w.words != nil {
		*w.words = words{}
	}
	r.w = w
}

// Full reports whether no further record fits into the frame.
func (r *rowWriter[T]) Full() bool {
	return r.rows == r.rowsLimit || r.Size() >= r.bytesLimit || r.w.shared >= maxShared
}

// Rows is the number of records in the frame so far.
func (r *rowWriter[T]) Rows() int { return r.rows }

// Size is the length of the frame so far, in bytes.
func (r *rowWriter[T]) Size() int {
	if r.rows == 0 {
		return 0
	}
	return headerSize + r.rows*r.codec.layout.rowSize + len(r.w.buf) - r.w.heap
}

// Frame returns the frame with what was added since the last one, without a checksum, and begins the next. It is valid
// until the next Add.
func (r *rowWriter[T]) Frame() []byte {
	if r.rows == 0 {
		r.begin(0)
		return r.w.finishLocal()
	}
	w := &r.w
	end := headerSize + r.rows*r.codec.layout.rowSize
	n := copy(w.buf[end:], w.buf[w.heap:]) // what is in the heap is counted from its first byte
	w.buf, w.heap, w.count, r.rows = w.buf[:end+n], end, r.rows, 0
	return w.finishLocal()
}

// Sealed is Frame with the checksum, for whoever passes the frame on.
func (r *rowWriter[T]) Sealed() []byte {
	frame := r.Frame()
	binary.LittleEndian.PutUint32(frame[crcAt:], checksum(frame))
	return frame
}
