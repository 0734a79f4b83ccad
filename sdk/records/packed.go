package records

import (
	"encoding/binary"
	"math"
	"slices"
	"unsafe"

	"github.com/picketwatch/picket/sdk"
)

// Parcel is a frame of rows on its way from the worker that made it to those who keep it and judge by it.
type Parcel struct {
	Frame    []byte
	Features []byte // of flows: what PackFeatures made of their Features; nil when nobody asked for them

	// Both as the S2 blocks as which they came, nil when they did not.
	Packed, PackedFeatures []byte

	// Done, if there is one, is for whoever takes the parcel over to call once nobody reads Frame any more, whose memory is used
	// for another frame then. The rest of the parcel is not.
	Done func()
}

// Long returns the frame with the Features of its flows in their rows.
func (p Parcel) Long() ([]byte, error) {
	if p.Features == nil {
		return p.Frame, nil
	}
	return JoinFeatures(nil, p.Frame, p.Features)
}

// PackedFeatures is the schema of what PackFeatures makes.
const PackedFeatures Schema = 14

// The Features of a flow are hundreds of bytes that few readers look at, and most of them are zeros or small whole numbers,
// whose float64 ends in zeros. So they travel and lie beside the short rows of the flows, each as a tag of two bits and as many
// of its leading bytes as are not zero: none, 2, 4 or 8. A row of the frame is a reference into the heap, where the tags of a
// flow lie, four in a byte, and then its numbers; behind it the number of tags.
var packedLayout = layout{name: "packed features", schema: uint16(PackedFeatures), major: 1, rowSize: 16, baseline: 16}

const (
	featureCount = int(unsafe.Sizeof(sdk.Features{})) / 8
	longRow      = featuresAt + 8*featureCount
)

// AppendShortFlows is AppendFlows without the Features.
func AppendShortFlows(dst []byte, flows []sdk.Flow) []byte {
	w := appendRows(dst, flows, &flowLayout, putFlow)
	return w.finish()
}

// PackFeatures appends a frame with the Features of flows. JoinFeatures puts them back beside their flows.
func PackFeatures(dst []byte, flows []sdk.Flow) []byte {
	w := packedLayout.newWriter(dst, len(flows))
	for i := range flows {
		at := len(w.buf)
		w.buf = slices.Grow(w.buf, maxPacked)
		n := pack((*[maxPacked]byte)(w.buf[at:at+maxPacked]), numbersOf(flows[i].Features))
		w.buf = w.buf[:at+n]
		binary.LittleEndian.PutUint64(w.buf[w.row:], uint64(at-w.heap)|uint64(n)<<32)
		binary.LittleEndian.PutUint64(w.buf[w.row+8:], uint64(featureCount))
		w.row += packedLayout.rowSize
	}
	return w.finish()
}

// numbers are the bits of the numbers of a flow, in their order.
type numbers = [featureCount]uint64

var noNumbers numbers

func numbersOf(f *sdk.Features) *numbers {
	if f == nil {
		return &noNumbers
	}
	return (*numbers)(unsafe.Pointer(f))
}

const (
	tagBytes  = (featureCount + 3) / 4
	maxPacked = tagBytes + 8*featureCount
)

// pack writes numbers and returns how many bytes they took. Flows are so much alike that the processor guesses the branches: what does
// without them takes far longer.
func pack(out *[maxPacked]byte, values *numbers) int {
	clear(out[:tagBytes])
	n := tagBytes
	for i, v := range values {
		var tag byte
		switch {
		case v == 0:
			continue
		case v<<16 == 0:
			tag = 1
			binary.LittleEndian.PutUint16(out[n:], uint16(v>>48))
		case v<<32 == 0:
			tag = 2
			binary.LittleEndian.PutUint32(out[n:], uint32(v>>32))
		default:
			tag = 3
			binary.LittleEndian.PutUint64(out[n:], v)
		}
		out[i/4] |= tag << (i % 4 * 2)
		n += 1 << tag
	}
	return n
}

// Check reports why Long would fail, without its work.
func (p Parcel) Check() error {
	if p.Features == nil {
		return nil
	}
	h, f, err := beside(p.Frame, p.Features)
	if err != nil {
		return err
	}
	for i := range h.count {
		packed, tags, err := f.packedRow(p.Features, i)
		if err != nil {
			return err
		}
		if !whole(packed, tags) {
			return frameError("features of flow %d are not as many as their tags", i)
		}
	}
	return nil
}

// beside checks the headers of a frame of flows and of their packed Features.
func beside(frame, packed []byte) (h, p header, err error) {
	if h, err = parseHeader(frame); err == nil {
		err = flowLayout.accepts(h)
	}
	if err != nil {
		return h, p, err
	}
	if p, err = parseHeader(packed); err == nil {
		err = packedLayout.accepts(p)
	}
	switch {
	case err != nil:
		return h, p, err
	case p.count != h.count:
		return h, p, frameError("features of %d flows beside %d flows", p.count, h.count)
	case headerSize+h.count*longRow+len(frame)-h.heap > MaxFrame:
		return h, p, frameError("%d flows with features are more than %d bytes", h.count, MaxFrame)
	}
	return h, p, nil
}

// packedRow is where the Features of a flow lie in the frame with this header, and how many tags they have.
func (p header) packedRow(packed []byte, i int) (features []byte, tags uint64, err error) {
	at, heap := packed[headerSize+i*p.rowSize:], packed[p.heap:]
	ref, tags := binary.LittleEndian.Uint64(at), binary.LittleEndian.Uint64(at[8:])
	from, size := ref&math.MaxUint32, ref>>32
	if from+size > uint64(len(heap)) {
		return nil, 0, frameError("features of flow %d lie outside the frame", i)
	}
	return heap[from : from+size], tags, nil
}

// JoinFeatures appends the frame of flows with their packed Features in its rows.
func JoinFeatures(dst, frame, packed []byte) ([]byte, error) {
	h, p, err := beside(frame, packed)
	if err != nil {
		return dst, err
	}
	w := longFlowLayout.newWriter(dst, h.count)
	short := min(h.rowSize, flowLayout.rowSize)
	for i := range h.count {
		row := w.buf[w.row : w.row+longRow]
		clear(row[copy(row, frame[headerSize+i*h.rowSize:][:short]):])
		features, tags, err := p.packedRow(packed, i)
		if err != nil {
			return dst, err
		}
		if !unpack(row[featuresAt:], features, tags) {
			return dst, frameError("features of flow %d are not as many as their tags", i)
		}
		w.row += longRow
	}
	w.buf = append(w.buf, frame[h.heap:]...)
	return w.finish(), nil
}

// unpack writes numbers into row, which is zeros. Those that it has no room for are of a newer set and left out.
func unpack(row, packed []byte, tags uint64) bool {
	if tags > 4*uint64(len(packed)) {
		return false
	}
	values := packed[(tags+3)/4:]
	for i := range int(tags) { //nolint:gosec // at most four times the length of packed
		tag := packed[i/4] >> (i % 4 * 2) & 3
		if tag == 0 {
			continue
		}
		n := 1 << tag
		if len(values) < n {
			return false
		}
		if end := 8 * (i + 1); end <= len(row) {
			copy(row[end-n:end], values[:n])
		}
		values = values[n:]
	}
	return len(values) == 0
}

// whole reports whether unpack will find each number that there is a tag for, and nothing else.
func whole(packed []byte, tags uint64) bool {
	if tags > 4*uint64(len(packed)) {
		return false
	}
	size := (tags + 3) / 4
	list := packed[:size]
	for _, b := range list {
		size += uint64(numberBytes[b])
	}
	if last := tags % 4; last != 0 { // what is behind the last tag is none
		b := list[len(list)-1]
		size -= uint64(numberBytes[b&^(1<<(2*last)-1)])
	}
	return size == uint64(len(packed))
}

// numberBytes is how many bytes the numbers of four tags take.
var numberBytes = func() (sum [256]uint8) {
	for b := range sum {
		for i := range 4 {
			sum[b] += [4]uint8{0, 2, 4, 8}[b>>(2*i)&3]
		}
	}
	return sum
}()
