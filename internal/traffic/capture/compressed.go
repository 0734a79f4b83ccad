package capture

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// decompress wraps a compressed stream, which w has at its start; ok is false for anything else.
func decompress(start []byte, w *window) (plain io.Reader, ok bool, err error) {
	switch {
	case len(start) >= 2 && start[0] == 0x1f && start[1] == 0x8b:
		z, err := gzip.NewReader(windowReader{w})
		if err != nil {
			return nil, false, fmt.Errorf("open gzip stream: %w", err)
		}
		return z, true, nil
	case len(start) == 4 && binary.LittleEndian.Uint32(start) == 0xfd2fb528:
		// One goroutine and a bounded window: a hostile frame must not make us hold gigabytes.
		z, err := zstd.NewReader(windowReader{w}, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(64<<20))
		if err != nil {
			return nil, false, fmt.Errorf("open zstd stream: %w", err)
		}
		return z, true, nil
	}
	return nil, false, nil
}

// windowReader reads what a window has and then what its input still has.
type windowReader struct{ w *window }

func (r windowReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	have, err := r.w.peek(1)
	if len(have) == 0 {
		return 0, err
	}
	n := copy(p, r.w.buf[r.w.start:r.w.end])
	r.w.take(n)
	return n, nil
}
