// Package records carries batches of records between processes and into WASM guests as frames of fixed-layout rows
// (proto/records describes them byte by byte). In go slices of the sdk's nouns, out comes one frame, and back.
//
// A frame comes from another process, so nothing in it is believed: sizes, offsets and the checksum are checked first.
// Decoding costs no allocation per row when the slice of the last call is handed in again.
package records

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/picketwatch/picket/sdk"
)

const (
	// MaxFrame is the largest frame that a reader accepts.
	MaxFrame = 16 << 20
	// BatchProcess is the number of rows in a frame for a process: larger frames fall out of the cache.
	BatchProcess = 1024
	// BatchPackets is the number of packets in a frame.
	BatchPackets = 512
	// BatchGuest is the number of rows in a frame for a WASM guest: a running guest holds up its host's garbage
	// collector, so its calls are kept short.
	BatchGuest = 256
)

const (
	magic      = "PKRW"
	headerSize = 32
	crcAt      = 28
	maxRow     = 64 << 10
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ErrFrame is in the chain of every error about a frame that cannot be decoded.
var ErrFrame = errors.New("not a valid record frame")

func frameError(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrFrame, fmt.Sprintf(format, args...))
}

// layout is what the generator says about one schema.
type layout struct {
	name     string
	schema   uint16
	major    uint16
	rowSize  int // of the rows written here
	baseline int // the shortest row that is read
}

// Schema is the number of the schema of a frame's rows.
type Schema uint16

// The schemas of proto/records.
const (
	Flows   Schema = 1
	Samples Schema = 2
	Packets Schema = 3
)

// SchemaOf returns what the header of a frame names, 0 for anything that is not a frame.
func SchemaOf(frame []byte) Schema {
	h, err := parseHeader(frame)
	if err != nil {
		return 0
	}
	return Schema(h.schema)
}

// AppendFlows appends one frame with the flows to dst, with their Features when the first one has them. Keep a frame within
// MaxFrame: BatchProcess flows are far below.
func AppendFlows(dst []byte, flows []sdk.Flow) []byte {
	w := appendFlows(dst, flows)
	return w.finish()
}

// AppendLocalFlows is AppendFlows without the checksum, for the record plane, where nobody looks at it.
func AppendLocalFlows(dst []byte, flows []sdk.Flow) []byte {
	w := appendFlows(dst, flows)
	return w.finishLocal()
}

// AppendPackets appends one frame with the packets to dst. Keep a frame within MaxFrame: BatchPackets of them are, at
// the largest snap length.
func AppendPackets(dst []byte, packets []sdk.Packet) []byte {
	w := appendRows(dst, packets, &packetLayout, putPacket)
	return w.finish()
}

// AppendLocalPackets is AppendPackets without the checksum, for the record plane, where nobody looks at it.
func AppendLocalPackets(dst []byte, packets []sdk.Packet) []byte {
	w := appendRows(dst, packets, &packetLayout, putPacket)
	return w.finishLocal()
}

// AppendSamples appends one frame with the samples to dst. Keep a frame within MaxFrame; see SampleWriter.
func AppendSamples(dst []byte, samples []sdk.Sample) []byte {
	w := appendRows(dst, samples, &sampleLayout, putSample)
	return w.finish()
}

// FlowsSize is the length of the frame that AppendFlows makes, in bytes.
func FlowsSize(flows []sdk.Flow) int {
	n := headerSize + len(flows)*flowLayout.rowSize
	if withFeatures(flows) {
		n = headerSize + len(flows)*longFlowLayout.rowSize
	}
	for i := range flows {
		n += len(flows[i].CommunityID) + len(flows[i].App) + 8*len(flows[i].Packets)
	}
	return n
}

// PacketsSize is the length of the frame that AppendPackets makes, in bytes.
func PacketsSize(packets []sdk.Packet) int {
	n := headerSize + len(packets)*packetLayout.rowSize
	for i := range packets {
		n += len(packets[i].Data)
	}
	return n
}

func appendRows[T any](dst []byte, rows []T, l *layout, put func(*writer, *T)) writer {
	w := l.newWriter(dst, len(rows))
	for i := range rows {
		put(&w, &rows[i])
		w.row += l.rowSize
	}
	return w
}

// DecodeFlows decodes a frame of flows into the memory of into, whose old content is lost, and returns all flows of
// the frame, without their Features. On an error there are none.
func DecodeFlows(frame []byte, into []sdk.Flow) ([]sdk.Flow, error) {
	if err := Verify(frame); err != nil {
		return nil, err
	}
	return DecodeVerifiedFlows(frame, into)
}

// DecodeVerifiedFlows is DecodeFlows without the checksum, for a frame that its carrier has verified on this machine.
// Everything else is checked.
func DecodeVerifiedFlows(frame []byte, into []sdk.Flow) ([]sdk.Flow, error) {
	return decodeRows(frame, into, &flowLayout, getFlow)
}

// DecodePackets is DecodeFlows for packets. Their data is a part of the frame.
func DecodePackets(frame []byte, into []sdk.Packet) ([]sdk.Packet, error) {
	if err := Verify(frame); err != nil {
		return nil, err
	}
	return DecodeVerifiedPackets(frame, into)
}

// DecodeVerifiedPackets is DecodePackets without the checksum.
func DecodeVerifiedPackets(frame []byte, into []sdk.Packet) ([]sdk.Packet, error) {
	return decodeRows(frame, into, &packetLayout, getPacket)
}

// DecodeVerifiedSamples decodes a frame of samples without looking at its checksum. Labels are maps of their own.
func DecodeVerifiedSamples(frame []byte, into []sdk.Sample) ([]sdk.Sample, error) {
	return decodeRows(frame, into, &sampleLayout, getSample)
}

// DecodeSamples is DecodeFlows for samples.
func DecodeSamples(frame []byte, into []sdk.Sample) ([]sdk.Sample, error) {
	if err := Verify(frame); err != nil {
		return nil, err
	}
	return DecodeVerifiedSamples(frame, into)
}

func decodeRows[T any](frame []byte, into []T, l *layout, get func(*reader, []byte, *T)) ([]T, error) {
	return readRows(&reader{}, frame, into, l, get)
}

func readRows[T any](r *reader, frame []byte, into []T, l *layout, get func(*reader, []byte, *T)) ([]T, error) {
	h, err := parseHeader(frame)
	if err != nil {
		return nil, err
	}
	if err := l.accepts(h); err != nil {
		return nil, err
	}
	used := len(into)
	into = into[:cap(into)]
	if len(into) < h.count {
		into = append(into, make([]T, h.count-len(into))...)
	}
	// Rows of the last frame that are not written over would keep its texts, and so all of it: each another frame in the end.
	clear(into[min(h.count, used):used])
	into = into[:h.count]
	r.open(frame[h.heap:])
	for i := range into {
		at := headerSize + i*h.rowSize
		get(r, frame[at:at+h.rowSize], &into[i])
	}
	if r.err != nil {
		return nil, r.err
	}
	return into, nil
}

// Next splits the first frame from data that holds several, one after the other.
func Next(data []byte) (frame, rest []byte, err error) {
	if len(data) < headerSize {
		return nil, nil, frameError("%d bytes without the magic %s", len(data), magic)
	}
	n := uint64(binary.LittleEndian.Uint32(data[20:]))
	if n < headerSize || n > uint64(len(data)) {
		return nil, nil, frameError("%d bytes, the header says %d", len(data), n)
	}
	frame, rest = data[:n:n], data[n:]
	_, err = parseHeader(frame)
	return frame, rest, err
}

// Count returns the number of rows that the header of a frame names, 0 for anything that is not a frame.
func Count(frame []byte) int {
	h, err := parseHeader(frame)
	if err != nil {
		return 0
	}
	return h.count
}

// Verify checks the header and the checksum of a frame of any schema.
func Verify(frame []byte) error {
	if _, err := parseHeader(frame); err != nil {
		return err
	}
	if got, want := checksum(frame), binary.LittleEndian.Uint32(frame[crcAt:]); got != want {
		return frameError("checksum %08x, the header says %08x", got, want)
	}
	return nil
}

// header is a parsed header whose sizes agree with one another and with the length of the frame.
type header struct {
	schema, major        uint16
	rowSize, count, heap int
}

func parseHeader(frame []byte) (header, error) {
	if len(frame) < headerSize || string(frame[:4]) != magic {
		return header{}, frameError("%d bytes without the magic %s", len(frame), magic)
	}
	if len(frame) > MaxFrame {
		return header{}, frameError("%d bytes are more than %d", len(frame), MaxFrame)
	}
	u32 := func(at int) uint64 { return uint64(binary.LittleEndian.Uint32(frame[at:])) }
	rowSize, count, heap, total := u32(8), u32(12), u32(16), u32(20)
	switch {
	case total != uint64(len(frame)):
		return header{}, frameError("%d bytes, the header says %d", len(frame), total)
	case rowSize == 0 || rowSize > maxRow:
		return header{}, frameError("row size %d", rowSize)
	case heap > total || heap != headerSize+rowSize*count:
		return header{}, frameError("%d rows of %d bytes do not end at the heap offset %d within %d bytes", count, rowSize, heap, total)
	}
	return header{
		schema: binary.LittleEndian.Uint16(frame[4:]), major: binary.LittleEndian.Uint16(frame[6:]),
		rowSize: int(rowSize), count: int(count), heap: int(heap),
	}, nil
}

func (l layout) accepts(h header) error {
	switch {
	case h.schema != l.schema:
		return frameError("schema %d, want %d (%s)", h.schema, l.schema, l.name)
	case h.major != l.major:
		return frameError("schema %s has major version %d, this program reads %d", l.name, h.major, l.major)
	case h.rowSize < l.baseline:
		return frameError("rows of %d bytes, schema %s has at least %d", h.rowSize, l.name, l.baseline)
	}
	return nil
}

// checksum covers all bytes but its own.
func checksum(frame []byte) uint32 {
	return crc32.Update(crc32.Checksum(frame[:crcAt], castagnoli), castagnoli, frame[headerSize:])
}
