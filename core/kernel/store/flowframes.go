package store

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"

	"github.com/klauspost/compress/s2"

	"github.com/picketwatch/picket/sdk/records"
)

const (
	framesName = "run-%d" + framesExt
	framesExt  = ".frames"
	// Before each frame stand its length as it lies there and the checksum of that.
	frameHead = 8
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// frameWriter appends the frames of a recording to its file. They are packed with S2: it takes a quarter of the time of the
// fastest zstd, and a recording is made while its capture is analysed.
type frameWriter struct {
	file  *os.File
	out   *bufio.Writer
	place uint64
	buf   []byte
}

func createFrames(path string) (*frameWriter, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	return &frameWriter{file: f, out: bufio.NewWriterSize(f, 256<<10)}, nil
}

// add returns where the frame lies and how many bytes it takes there. Packed is the frame as an S2 block, when there is one.
func (w *frameWriter) add(frame, packed []byte) (place uint64, size uint32, err error) {
	if packed == nil {
		packed = s2.Encode(w.buf[:cap(w.buf)], frame)
		w.buf = packed
	}
	var head [frameHead]byte
	binary.LittleEndian.PutUint32(head[:], uint32(len(packed)))
	binary.LittleEndian.PutUint32(head[4:], crc32.Checksum(packed, castagnoli))
	if _, err := w.out.Write(head[:]); err != nil {
		return 0, 0, err
	}
	if _, err := w.out.Write(packed); err != nil {
		return 0, 0, err
	}
	place, size = w.place, uint32(frameHead+len(packed))
	w.place += uint64(size)
	return place, size, nil
}

// finish makes what was added durable.
func (w *frameWriter) finish() error {
	return errors.Join(w.out.Flush(), w.file.Sync(), w.file.Close())
}

func (w *frameWriter) abandon() {
	_ = w.file.Close()
	_ = os.Remove(w.file.Name())
}

// framePlace is where a frame lies.
type framePlace struct {
	kind  uint8
	block uint32
	place uint64
	size  uint32
	count uint32
}

// frameReader reads frames of one recording. What it returns is valid until the next call.
type frameReader struct {
	file   *os.File
	packed []byte
	frame  []byte
}

func (f *Flows) openFrames(id uint32) (*frameReader, error) {
	file, err := os.Open(f.framesPath(id))
	if err != nil {
		return nil, fmt.Errorf("rows of a recording: %w", err)
	}
	return &frameReader{file: file}, nil
}

func (r *frameReader) close() { _ = r.file.Close() }

func (r *frameReader) read(p framePlace) ([]byte, error) {
	if p.size < frameHead || p.size > frameHead+uint32(s2.MaxEncodedLen(records.MaxFrame)) {
		return nil, fmt.Errorf("%s: a frame of %d bytes at %d", r.file.Name(), p.size, p.place)
	}
	if cap(r.packed) < int(p.size) {
		r.packed = make([]byte, p.size)
	}
	r.packed = r.packed[:p.size]
	if _, err := r.file.ReadAt(r.packed, int64(p.place)); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, fmt.Errorf("%s: %w", r.file.Name(), err)
	}
	head, packed := r.packed[:frameHead], r.packed[frameHead:]
	n, err := s2.DecodedLen(packed)
	if int(binary.LittleEndian.Uint32(head)) != len(packed) || binary.LittleEndian.Uint32(head[4:]) != crc32.Checksum(packed, castagnoli) || err != nil || n > records.MaxFrame {
		return nil, fmt.Errorf("%s: the frame at %d is damaged; analyse the capture again", r.file.Name(), p.place)
	}
	if cap(r.frame) < n {
		r.frame = make([]byte, n)
	}
	if r.frame, err = s2.Decode(r.frame[:cap(r.frame)], packed); err != nil {
		return nil, fmt.Errorf("%s: the frame at %d is damaged; analyse the capture again: %w", r.file.Name(), p.place, err)
	}
	return r.frame, nil
}
