package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// A segment file is a header followed by records. All numbers are little-endian; a checksum is CRC-32C.
//
//	header: magic "PKSPOOL1" | epoch 16 bytes | first seq u64 | checksum of the 32 bytes before u32 | zero u32
//	record: payload length u32 | checksum of what follows u32 | seq u64 | kind u8, three zero bytes | rows u32 | payload
const (
	headerSize = 40
	recordSize = 24
	magic      = "PKSPOOL1"
)

// MaxPayload bounds one record. A reader trusts no greater length.
const MaxPayload = 4 << 20

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Item is one batch on its way to the server.
type Item struct {
	Seq     uint64
	Kind    uint8
	Rows    uint32 // how many samples or sightings the payload holds, for the counters
	Payload []byte
}

func (it Item) size() int64 { return recordSize + int64(len(it.Payload)) }

func appendRecord(dst []byte, it Item) []byte {
	start := len(dst)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(it.Payload)))
	dst = append(dst, 0, 0, 0, 0)
	dst = binary.LittleEndian.AppendUint64(dst, it.Seq)
	dst = append(dst, it.Kind, 0, 0, 0)
	dst = binary.LittleEndian.AppendUint32(dst, it.Rows)
	dst = append(dst, it.Payload...)
	binary.LittleEndian.PutUint32(dst[start+4:], crc32.Checksum(dst[start+8:], castagnoli))
	return dst
}

// errTorn means that the bytes from here on are no record: the rest of one that was being written when the power
// went, or damage.
var errTorn = errors.New("no whole record")

// readRecord reads the record at off of a file that is size long; io.EOF when off is its end.
func readRecord(r io.ReaderAt, off, size int64) (Item, error) {
	if off == size {
		return Item{}, io.EOF
	}
	var head [recordSize]byte
	if size-off < recordSize {
		return Item{}, errTorn
	}
	if _, err := r.ReadAt(head[:], off); err != nil {
		return Item{}, err
	}
	n := int64(binary.LittleEndian.Uint32(head[0:]))
	if n > MaxPayload || n > size-off-recordSize {
		return Item{}, errTorn
	}
	it := Item{
		Seq:     binary.LittleEndian.Uint64(head[8:]),
		Kind:    head[16],
		Rows:    binary.LittleEndian.Uint32(head[20:]),
		Payload: make([]byte, n),
	}
	if _, err := r.ReadAt(it.Payload, off+recordSize); err != nil && (n > 0 || !errors.Is(err, io.EOF)) {
		return Item{}, err
	}
	sum := crc32.Update(crc32.Checksum(head[8:], castagnoli), castagnoli, it.Payload)
	if sum != binary.LittleEndian.Uint32(head[4:]) {
		return Item{}, errTorn
	}
	return it, nil
}

// scan visits the whole records of a segment in order and returns where they end. The error is nil when that is the
// end of the file, errTorn when something else follows.
func scan(r io.ReaderAt, size int64, first uint64, visit func(Item)) (end int64, err error) {
	end = headerSize
	for next := first; ; next++ {
		it, err := readRecord(r, end, size)
		if errors.Is(err, io.EOF) {
			return end, nil
		}
		if err == nil && it.Seq != next {
			err = errTorn
		}
		if err != nil {
			return end, err
		}
		visit(it)
		end += it.size()
	}
}

type header struct {
	epoch [16]byte
	first uint64
}

func (h header) encode() []byte {
	b := append(make([]byte, 0, headerSize), magic...)
	b = append(b, h.epoch[:]...)
	b = binary.LittleEndian.AppendUint64(b, h.first)
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	return append(b, 0, 0, 0, 0)
}

func readHeader(r io.ReaderAt) (header, error) {
	var b [headerSize]byte
	if _, err := r.ReadAt(b[:], 0); err != nil {
		return header{}, fmt.Errorf("segment header: %w", err)
	}
	if string(b[:8]) != magic {
		return header{}, errors.New("segment header: not a spool segment")
	}
	if crc32.Checksum(b[:32], castagnoli) != binary.LittleEndian.Uint32(b[32:]) {
		return header{}, errors.New("segment header: wrong checksum")
	}
	h := header{first: binary.LittleEndian.Uint64(b[24:])}
	copy(h.epoch[:], b[8:24])
	if h.first == 0 {
		return header{}, errors.New("segment header: sequence numbers start at 1")
	}
	return h, nil
}
