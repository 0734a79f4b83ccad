package capture

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// Bounds of what a compressed capture may grow to. A few megabytes can announce petabytes; whoever waits for their end
// waits for ever. Real captures shrink to a tenth at best, long runs of the same packet to a few hundredths.
const (
	MaxPlain = 64 << 30 // bytes in all
	MaxRatio = 1000     // plain bytes for each compressed one, looked at from ratioFrom on
)

const ratioFrom = 64 << 20

// BombError says that a compressed capture grows beyond what is read.
type BombError struct {
	Plain, Packed int64  // bytes so far
	Limit         string // which bound, in words
}

func (e *BombError) Error() string {
	return fmt.Sprintf("decompressed to %d bytes from %d: more than %s; decompress it yourself and upload the part that matters", e.Plain, e.Packed, e.Limit)
}

// bounded reads what comes out of a decompressor and gives up when it is too much for what went in.
type bounded struct {
	name   string
	plain  io.Reader
	packed *windowReader
	n      int64
	limits limits
}

type limits struct{ plain, ratio, from int64 }

var ordinary = limits{plain: MaxPlain, ratio: MaxRatio, from: ratioFrom}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.plain.Read(p)
	b.n += int64(n)
	switch {
	case b.n > b.limits.plain:
		return 0, &BombError{b.n, b.packed.n, fmt.Sprintf("the limit of %d bytes", b.limits.plain)}
	case b.n > b.limits.from && b.n/b.packed.n >= b.limits.ratio: // the input has at least its first bytes by now
		return 0, &BombError{b.n, b.packed.n, fmt.Sprintf("the limit of %d bytes for each one of the file", b.limits.ratio)}
	}
	return n, b.packed.explain(b.name, err)
}

// explain tells a stream that breaks from an input that cannot be read.
func (r *windowReader) explain(name string, err error) error {
	switch {
	case err == nil, errors.Is(err, io.EOF):
		return err
	case r.w.err != nil && !errors.Is(r.w.err, io.EOF):
		return r.w.err
	case errors.Is(err, io.ErrUnexpectedEOF):
		return &DamagedError{Truncated: true, Reason: "the " + name + " stream ends in the middle"}
	}
	return damagedf("the %s stream breaks: %v", name, err)
}

// decompress wraps a compressed stream, which w has at its start; ok is false for anything else.
func decompress(start []byte, w *window, most limits) (plain io.Reader, ok bool, err error) {
	in := &windowReader{w: w}
	switch {
	case len(start) >= 2 && start[0] == 0x1f && start[1] == 0x8b:
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, false, in.explain("gzip", cut(err))
		}
		return &bounded{name: "gzip", plain: z, packed: in, limits: most}, true, nil
	case len(start) == 4 && binary.LittleEndian.Uint32(start) == 0xfd2fb528:
		// One goroutine and a bounded window: a hostile frame must not make us hold gigabytes.
		z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(64<<20))
		if err != nil {
			return nil, false, in.explain("zstd", cut(err))
		}
		return &bounded{name: "zstd", plain: z, packed: in, limits: most}, true, nil
	}
	return nil, false, nil
}

// windowReader reads what a window has and then what its input still has.
type windowReader struct {
	w *window
	n int64 // bytes read
}

func (r *windowReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	have, err := r.w.peek(1)
	if len(have) == 0 {
		return 0, err
	}
	n := copy(p, r.w.buf[r.w.start:r.w.end])
	r.w.take(n)
	r.n += int64(n)
	return n, nil
}
