// Package saved writes down the memory of a detector piece by piece: what goes in are values, what comes out is a compressed
// list of them. A detector that has seen much is asked for its memory while it works, so writing must not need room for a
// second and a third copy of it, in a guest above all, whose memory never shrinks.
package saved

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// A list unpacks to so many times its size at most, and to a little more: a small state must not fill the memory. What
// detectors write down shrinks to a twentieth or so.
const (
	maxRatio = 200
	slack    = 1 << 20
)

// Writer makes a list.
type Writer struct {
	buf  bytes.Buffer
	pack *gzip.Writer
	enc  *json.Encoder
}

// NewWriter returns an empty list that will take about so many bytes. A guess that is far too low costs the memory of the list
// three times over while it grows.
func NewWriter(about int) *Writer {
	w := &Writer{}
	w.buf.Grow(about)
	w.pack, _ = gzip.NewWriterLevel(&w.buf, gzip.HuffmanOnly) // the level is a valid one, and what is packed repeats little
	w.enc = json.NewEncoder(w.pack)
	return w
}

// Put adds a value to the end.
func (w *Writer) Put(v any) error { return w.enc.Encode(v) }

// Bytes ends the list.
func (w *Writer) Bytes() ([]byte, error) {
	if err := w.pack.Close(); err != nil {
		return nil, err
	}
	return w.buf.Bytes(), nil
}

// Reader reads a list.
type Reader struct {
	unpack *gzip.Reader
	dec    *json.Decoder
}

// Is reports whether a state begins like a list. States before there were lists begin with a brace.
func Is(state []byte) bool { return bytes.HasPrefix(state, []byte{0x1f, 0x8b}) }

// NewReader reads a list from its beginning.
func NewReader(state []byte) (*Reader, error) {
	z, err := gzip.NewReader(bytes.NewReader(state))
	if err != nil {
		return nil, err
	}
	return &Reader{unpack: z, dec: json.NewDecoder(io.LimitReader(z, int64(len(state))*maxRatio+slack))}, nil
}

// Next reads one value into v, which must be empty.
func (r *Reader) Next(v any) error {
	err := r.dec.Decode(v)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// End reports whether the list ends here, as it was written.
func (r *Reader) End() error {
	if _, err := r.dec.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("the list does not end where it should: %w", errors.Join(err, io.ErrUnexpectedEOF))
	}
	return r.unpack.Close()
}
