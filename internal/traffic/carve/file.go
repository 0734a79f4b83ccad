package carve

import (
	"encoding/binary"
	"fmt"

	"github.com/picketwatch/picket/internal/traffic/capture"
	"github.com/picketwatch/picket/internal/traffic/worker"
)

const (
	magicNanos = 0xa1b23c4d
	snapLength = capture.MaxPacket
	pieceSize  = 128 << 10
)

// file sends packets as a pcap file with times in nanoseconds. Such a file has one link type; packets of another, which a
// flow has when it was heard on two kinds of interfaces, end it with an error before the first byte of theirs.
type file struct {
	out   *output
	link  capture.LinkType
	begun bool
	buf   []byte
}

func (f *file) packet(p *capture.Packet, _ string) error {
	if !f.begun {
		f.begun, f.link = true, p.Link
		f.buf = appendHeader(f.buf, p.Link)
	}
	if p.Link != f.link {
		return fmt.Errorf("packet %d has link type %d and the ones before it %d, which one pcap file cannot hold", p.Number, p.Link, f.link)
	}
	f.buf = appendRecord(f.buf, p)
	if len(f.buf) >= pieceSize {
		f.flush()
	}
	return f.out.err
}

func (f *file) flush() {
	f.out.send(worker.KindPiece, f.buf)
	f.buf = f.buf[:0]
}

func (f *file) close() error {
	if len(f.buf) > 0 {
		f.flush()
	}
	return f.out.err
}

func appendHeader(b []byte, link capture.LinkType) []byte {
	b = binary.LittleEndian.AppendUint32(b, magicNanos)
	b = binary.LittleEndian.AppendUint16(b, 2)
	b = binary.LittleEndian.AppendUint16(b, 4)
	b = append(b, make([]byte, 8)...)
	b = binary.LittleEndian.AppendUint32(b, snapLength)
	return binary.LittleEndian.AppendUint32(b, uint32(link))
}

// appendRecord keeps what 32 bits of seconds can say, as every pcap file does.
func appendRecord(b []byte, p *capture.Packet) []byte {
	const second = 1_000_000_000
	seconds, nanos := p.Time/second, p.Time%second
	if nanos < 0 {
		seconds, nanos = seconds-1, nanos+second
	}
	b = binary.LittleEndian.AppendUint32(b, uint32(seconds)) //nolint:gosec // wraps, as in every pcap file
	b = binary.LittleEndian.AppendUint32(b, uint32(nanos))   //nolint:gosec // below 1e9
	b = binary.LittleEndian.AppendUint32(b, uint32(len(p.Data)))
	b = binary.LittleEndian.AppendUint32(b, p.Length)
	return append(b, p.Data...)
}
