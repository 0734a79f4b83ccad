// Package plane is the record plane of a plugin process: batches for detectors and samples of collectors over a socket
// pair, beside the gRPC connection that carries control. proto/records/PLANE.md describes it byte by byte. Host is the
// end of the host, Plugin that of the process. Neither end believes the other: each length is looked at before it is
// read, each queue has a bound, and what breaks the rules ends the process.
package plane

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// Major is the version of the protocol.
const Major = 1

const (
	// MaxBody is the longest body of a message.
	MaxBody = 16<<20 + 64<<10
	// MaxSamples is the longest body of a SAMPLES message, MaxSampleRows the number of its rows.
	MaxSamples    = 1 << 20
	MaxSampleRows = 1024
	// MaxResult is the longest body of a RESULT message.
	MaxResult = 15 << 20

	magic      = 0x4c504b50 // "PKPL"
	headerSize = 24
	callSize   = 8 // in front of the frame of SAMPLES
)

// Type of a message.
type Type uint8

const (
	Hello Type = iota + 1
	Batch
	BatchRef
	Result
	Samples
	Ack
	Credit
	RingMemory
	BatchKept
)

func (t Type) String() string {
	names := [...]string{"HELLO", "BATCH", "BATCH_REF", "RESULT", "SAMPLES", "ACK", "CREDIT", "RING", "BATCH_KEPT"}
	if t >= 1 && int(t) <= len(names) {
		return names[t-1]
	}
	return fmt.Sprintf("type %d", uint8(t))
}

const (
	// ringFollows is the flag of the host's HELLO that announces RING.
	ringFollows = 1
	// keepFrame is the flag of a BATCH whose frame others will be referred to.
	keepFrame = 1
)

// ErrProtocol is in the chain of every error about a peer that breaks the rules of the plane.
var ErrProtocol = errors.New("record plane")

func protocolError(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrProtocol, fmt.Sprintf(format, args...))
}

// Header is the beginning of a message.
type Header struct {
	Type    Type
	Flags   uint8
	Length  uint32 // of the body
	Channel uint32
	Seq     uint64
}

func (h Header) append(dst []byte) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, magic)
	dst = binary.LittleEndian.AppendUint32(dst, h.Length)
	dst = append(dst, byte(h.Type), h.Flags, 0, 0)
	dst = binary.LittleEndian.AppendUint32(dst, h.Channel)
	return binary.LittleEndian.AppendUint64(dst, h.Seq)
}

// parseHeader reads a header and checks what can be checked without knowing the state of the connection.
func parseHeader(b []byte) (Header, error) {
	if len(b) < headerSize {
		return Header{}, protocolError("a header of %d bytes", len(b))
	}
	h := Header{
		Length: binary.LittleEndian.Uint32(b[4:]), Type: Type(b[8]), Flags: b[9],
		Channel: binary.LittleEndian.Uint32(b[12:]), Seq: binary.LittleEndian.Uint64(b[16:]),
	}
	if got := binary.LittleEndian.Uint32(b); got != magic {
		return Header{}, protocolError("magic %08x", got)
	}
	if b[10] != 0 || b[11] != 0 || h.Flags != 0 && h.Flags != h.Type.flag() {
		return Header{}, protocolError("%s with a flag or reserved byte that is not 0", h.Type)
	}
	least, most := h.Type.bounds()
	switch {
	case most == 0:
		return Header{}, protocolError("there is no message of %s", h.Type)
	case h.Length < least || h.Length > most:
		return Header{}, protocolError("%s with a body of %d bytes, it has %d to %d", h.Type, h.Length, least, most)
	}
	switch h.Type {
	case Hello, RingMemory:
		if h.Channel != 0 || h.Seq != 0 {
			return Header{}, protocolError("%s with a channel or number", h.Type)
		}
	default:
		if h.Channel == 0 || h.Seq == 0 {
			return Header{}, protocolError("%s without a channel or number", h.Type)
		}
	}
	return h, nil
}

// flag is the one that a message may have.
func (t Type) flag() uint8 {
	switch t {
	case Hello:
		return ringFollows
	case Batch:
		return keepFrame
	}
	return 0
}

// maxExtension is how much longer a body of a fixed layout may be, for fields of a newer peer.
const maxExtension = 1024

// bounds are the shortest and the longest body.
func (t Type) bounds() (least, most uint32) {
	switch t {
	case Hello:
		return leastHello, helloSize + maxExtension
	case Batch:
		return 2, MaxBody
	case BatchRef:
		return 2 + refSize, 2 + math.MaxUint16 + refSize
	case BatchKept:
		return 2 + numberSize, 2 + math.MaxUint16 + numberSize
	case Result:
		return 0, MaxResult
	case Samples:
		return callSize, MaxSamples
	case Ack:
		return 0, maxExtension * 16
	case Credit:
		return creditSize, creditSize + maxExtension
	case RingMemory:
		return ringSize, ringSize + maxExtension
	}
	return 0, 0
}

// hello is the body of HELLO.
type hello struct{ major, window, windowBytes, kept, keptBytes uint32 }

// leastHello is how long it is from a peer that keeps no frames.
const leastHello, helloSize = 12, 20

func (m hello) append(dst []byte) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, m.major)
	dst = binary.LittleEndian.AppendUint32(dst, m.window)
	dst = binary.LittleEndian.AppendUint32(dst, m.windowBytes)
	dst = binary.LittleEndian.AppendUint32(dst, m.kept)
	return binary.LittleEndian.AppendUint32(dst, m.keptBytes)
}

func parseHello(b []byte) (hello, error) {
	m := hello{major: le32(b), window: le32(b[4:]), windowBytes: le32(b[8:])}
	if len(b) >= helloSize {
		m.kept, m.keptBytes = le32(b[12:]), le32(b[16:])
	}
	if m.major != Major {
		return hello{}, protocolError("the other side speaks major version %d, this program %d", m.major, Major)
	}
	m.window = max(m.window, 1)
	return m, nil
}

// agree returns the smaller of both sides' limits.
func (m hello) agree(other hello) hello {
	return hello{Major, min(m.window, other.window), min(m.windowBytes, other.windowBytes), min(m.kept, other.kept), min(m.keptBytes, other.keptBytes)}
}

// credit is the body of CREDIT.
type credit struct{ frames, bytes uint32 }

const creditSize = 8

func (m credit) append(dst []byte) []byte {
	return binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(dst, m.frames), m.bytes)
}

func parseCredit(b []byte) credit {
	return credit{binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:])}
}

// ref names a frame in the ring.
type ref struct {
	offset uint64
	length uint32
}

const (
	refSize  = 12
	ringSize = 8
)

func (m ref) append(dst []byte) []byte {
	return binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint64(dst, m.offset), m.length)
}

// in returns the bytes that the reference names.
func (m ref) in(ring []byte) ([]byte, error) {
	if m.offset > uint64(len(ring)) || uint64(m.length) > uint64(len(ring))-m.offset {
		return nil, protocolError("%d bytes at %d lie outside of the ring of %d", m.length, m.offset, len(ring))
	}
	end := m.offset + uint64(m.length)
	return ring[m.offset:end:end], nil
}

// splitCapture splits the body of BATCH or BATCH_REF behind the name of the capture.
func splitCapture(body []byte) (capture, rest []byte, err error) {
	if len(body) < 2 {
		return nil, nil, protocolError("a batch of %d bytes", len(body))
	}
	n := int(binary.LittleEndian.Uint16(body))
	if n > len(body)-2 {
		return nil, nil, protocolError("a batch of %d bytes with a name of %d", len(body), n)
	}
	return body[2 : 2+n], body[2+n:], nil
}

func appendCapture(dst []byte, capture string) []byte {
	capture = capture[:min(len(capture), math.MaxUint16)]
	return append(binary.LittleEndian.AppendUint16(dst, uint16(len(capture))), capture...)
}

// numberSize is the length of the number of a frame that is kept.
const numberSize = 8

func parseRef(b []byte) (ref, error) {
	if len(b) != refSize {
		return ref{}, protocolError("a reference of %d bytes", len(b))
	}
	return ref{binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint32(b[8:])}, nil
}

func le32(b []byte) uint32 { return binary.LittleEndian.Uint32(b) }
