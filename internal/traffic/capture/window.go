package capture

import (
	"errors"
	"io"
)

const (
	// windowStart is what an ordinary capture needs.
	windowStart = 128 << 10
	// windowSize holds the largest packet with its headers and leaves room to read ahead.
	windowSize = 2 * MaxPacket
)

// window is a bounded view on a stream: peek shows bytes without copying them, take moves past them.
type window struct {
	r          io.Reader
	buf        []byte
	start, end int
	owed       int64 // bytes still to be skipped, left so that the bytes shown before them stay valid
	err        error // what the input said last
}

func newWindow(r io.Reader) *window {
	return &window{r: r, buf: make([]byte, windowStart)}
}

// peek returns the next n bytes (n at most windowSize). With fewer left it returns those and the reason, io.EOF at the
// end of the input. The bytes stay valid until the next call.
func (w *window) peek(n int) ([]byte, error) {
	if w.owed > 0 {
		n := w.owed
		w.owed = 0
		if err := w.skip(n); err != nil {
			return nil, err
		}
	}
	if w.end-w.start >= n {
		return w.buf[w.start : w.start+n], nil
	}
	return w.fill(n)
}

func (w *window) fill(n int) ([]byte, error) {
	buf := w.buf
	if n > len(buf) {
		w.buf = make([]byte, windowSize)
	}
	copy(w.buf, buf[w.start:w.end])
	w.end -= w.start
	w.start = 0
	for empty := 0; w.end < n && w.err == nil; {
		var got int
		got, w.err = w.r.Read(w.buf[w.end:])
		w.end += got
		if got > 0 {
			empty = 0
		} else if empty++; empty > 100 && w.err == nil {
			w.err = io.ErrNoProgress
		}
	}
	if w.end < n {
		return w.buf[:w.end], w.err
	}
	return w.buf[:n], nil
}

// take moves past n bytes that peek has shown.
func (w *window) take(n int) { w.start += n }

// skip moves past n bytes, however many, without holding them.
func (w *window) skip(n int64) error {
	for n > 0 {
		have := int64(w.end - w.start)
		if have >= n {
			w.start += int(n)
			return nil
		}
		n -= have
		w.start = w.end
		if _, err := w.fill(1); err != nil {
			return cut(err)
		}
	}
	return nil
}

// cut turns an end inside a record into io.ErrUnexpectedEOF.
func cut(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
