package records

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
		keys := r.w.keys
		r.w = r.codec.layout.newWriter(r.w.buf[:0], r.rowsLimit)
		r.w.keys = keys
	}
	r.codec.put(&r.w, v)
	r.w.row += r.codec.layout.rowSize
	r.rows++
}

// Full reports whether no further record fits into the frame.
func (r *rowWriter[T]) Full() bool { return r.rows == r.rowsLimit || r.Size() >= r.bytesLimit }

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
	w := &r.w
	end := headerSize + r.rows*r.codec.layout.rowSize
	if r.rows == 0 {
		*w = r.codec.layout.newWriter(w.buf[:0], 0)
		return w.finishLocal()
	}
	n := copy(w.buf[end:], w.buf[w.heap:]) // what is in the heap is counted from its first byte
	w.buf, w.heap, w.count, r.rows = w.buf[:end+n], end, r.rows, 0
	return w.finishLocal()
}
