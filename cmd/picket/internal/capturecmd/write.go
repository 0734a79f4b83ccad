package capturecmd

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
)

// What a capture file says of itself.
const (
	magicNanos   = 0xa1b23c4d
	linkEthernet = 1
	linkRawIP    = 101
	maxSnapLen   = 262144
)

// writer writes packets as a pcap with nanoseconds.
type writer struct {
	out  *bufio.Writer
	head [16]byte
}

func newWriter(to io.Writer, rawIP bool) *writer {
	w := &writer{out: bufio.NewWriterSize(to, 1<<20)}
	var head [24]byte
	link := uint32(linkEthernet)
	if rawIP {
		link = linkRawIP
	}
	le := binary.LittleEndian
	le.PutUint32(head[:], magicNanos)
	le.PutUint16(head[4:], 2)
	le.PutUint16(head[6:], 4)
	le.PutUint32(head[16:], maxSnapLen)
	le.PutUint32(head[20:], link)
	_, _ = w.out.Write(head[:]) // an error comes with flush
	return w
}

func (w *writer) write(p packet) error {
	le := binary.LittleEndian
	le.PutUint32(w.head[:], uint32(p.at/1e9)) //nolint:gosec // the format ends in 2106
	le.PutUint32(w.head[4:], uint32(p.at%1e9))
	le.PutUint32(w.head[8:], uint32(len(p.data))) //nolint:gosec // at most maxSnapLen
	le.PutUint32(w.head[12:], p.length)
	_, err := w.out.Write(w.head[:])
	if err == nil {
		_, err = w.out.Write(p.data)
	}
	return written(err)
}

func (w *writer) flush() error { return written(w.out.Flush()) }

func written(err error) error {
	if err != nil {
		return fmt.Errorf("write the capture: %w", err)
	}
	return nil
}
