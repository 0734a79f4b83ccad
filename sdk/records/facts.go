package records

import (
	"encoding/binary"

	"github.com/picketwatch/picket/sdk"
)

const (
	// BatchFacts is the number of facts in a frame. To wake a reader for each costs as much as it does with a hundred facts.
	BatchFacts = 1024
	// FactsBytes is the size at which a frame of facts is full, however few they are: one certificate or one listing is larger
	// than hundreds of queries.
	FactsBytes = 512 << 10
	// MaxFacts is the largest frame of facts that a host takes from its parsers: one full frame and the largest fact.
	MaxFacts = 2 << 20
)

// codec is how the rows of a schema are written and read.
type codec[T any] struct {
	layout *layout
	put    func(*writer, *T)
	get    func(*reader, []byte, *T)
}

// AppendFacts appends one frame with the facts to dst. Keep a frame within MaxFrame; see FactWriter.
func AppendFacts[T Fact](dst []byte, facts []T) []byte {
	c := codecOf[T]()
	w := appendRows(dst, facts, c.layout, c.put)
	return w.finish()
}

// AppendLocalFacts is AppendFacts without the checksum, for the record plane, where nobody looks at it.
func AppendLocalFacts[T Fact](dst []byte, facts []T) []byte {
	c := codecOf[T]()
	w := appendRows(dst, facts, c.layout, c.put)
	return w.finishLocal()
}

// DecodeFacts is DecodeFlows for facts: what their fields of bytes hold is a part of the frame.
func DecodeFacts[T Fact](frame []byte, into []T) ([]T, error) {
	if err := Verify(frame); err != nil {
		return nil, err
	}
	return DecodeVerifiedFacts(frame, into)
}

// DecodeVerifiedFacts is DecodeFacts without the checksum.
func DecodeVerifiedFacts[T Fact](frame []byte, into []T) ([]T, error) {
	return decodeFactRows(&reader{}, frame, into)
}

func decodeFactRows[T Fact](r *reader, frame []byte, into []T) ([]T, error) {
	c := codecOf[T]()
	return readRows(r, frame, into, c.layout, c.get)
}

// FactWriter gathers facts of one kind into one frame at a time, as they come.
type FactWriter[T Fact] struct{ rowWriter[T] }

// Text is a text of a map, with its key.
type Text struct{ Key, Value string }

// NewFactWriter returns a writer of frames of at most BatchFacts facts and, but for the last fact, FactsBytes.
func NewFactWriter[T Fact]() *FactWriter[T] {
	return &FactWriter[T]{rowWriter[T]{codec: codecOf[T](), w: writer{words: new(words)}, rowsLimit: BatchFacts, bytesLimit: FactsBytes}}
}

// AddWith is Add with texts in the place of the fact's map, which is nil. They are in the order of their keys, which differ.
func (f *FactWriter[T]) AddWith(v *T, texts []Text) {
	f.w.given = texts
	f.Add(v)
	f.w.given = nil
}

// BatchDecoder decodes frames of whatever a Subscription can name, each into the memory of the last one of its kind. The
// zero value is ready.
type BatchDecoder struct {
	Features bool // asks for those of flows, where the frame has them
	// Brief leaves out the maps of facts and lets their texts lie in the frame: they are valid as long as it stays as it is.
	// Everything is checked all the same.
	Brief bool
	// Borrow is Brief with the maps: what they were for the last frame is filled again, so that they are valid until the next
	// call.
	Borrow bool

	memory sdk.Batch
	maps   maps
}

// Decode returns the records of a frame, in the field of their kind. They are valid until the next call. The frame's checksum
// is not looked at, everything else is.
func (d *BatchDecoder) Decode(frame []byte) (sdk.Batch, error) {
	var batch sdk.Batch
	var err error
	switch SchemaOf(frame) {
	case Flows:
		decode := DecodeVerifiedFlows
		if d.Features {
			decode = DecodeVerifiedFlowFeatures
		}
		if batch.Flows, err = decode(frame, d.memory.Flows); err == nil {
			d.memory.Flows = batch.Flows
		}
	case Packets:
		if batch.Packets, err = DecodeVerifiedPackets(frame, d.memory.Packets); err == nil {
			d.memory.Packets = batch.Packets
		}
	default:
		r := reader{inside: d.Brief || d.Borrow}
		if d.Borrow {
			r.maps = &d.maps
		}
		return decodeFacts(&r, frame, &d.memory)
	}
	return batch, err
}

// AppendBatch is AppendLocalBatch with the checksum, for whoever passes the frame on.
func AppendBatch(dst []byte, b *sdk.Batch) []byte {
	start := len(dst)
	dst = AppendLocalBatch(dst, b)
	if frame := dst[start:]; len(frame) > 0 {
		binary.LittleEndian.PutUint32(frame[crcAt:], checksum(frame))
	}
	return dst
}

// AppendLocalBatch appends one frame with the records of a batch, which holds those of one kind; nothing when it has none.
func AppendLocalBatch(dst []byte, b *sdk.Batch) []byte {
	switch {
	case len(b.Flows) > 0:
		return AppendLocalFlows(dst, b.Flows)
	case len(b.Packets) > 0:
		return AppendLocalPackets(dst, b.Packets)
	}
	return appendLocalFacts(dst, b)
}
