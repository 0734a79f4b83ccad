// Package samplebatch is how samples travel from an agent to its server: a protobuf message in one zstd frame. The agent gives
// each of its series a number and describes it once; from then on a sample is a number, a time and a value, a few bytes together.
//
// What the numbers mean stands in the agent's book. A server that does not have the book, because it was started anew, says so, and
// is sent all of it again. The message is described in docs/agent-protocol.md.
package samplebatch

import (
	"errors"
	"fmt"
	"math"
	"sync"

	"github.com/klauspost/compress/zstd"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/picketwatch/picket/sdk"
)

// ContentType is that of a message.
const ContentType = "application/vnd.picket.samples+zstd"

// Bounds of a message that a server takes.
const (
	MaxRows   = 100_000
	MaxSeries = 20_000 // in a book
	maxPlain  = 1 << 20
	maxText   = 1024
	maxLabels = 32
)

// Message is a batch.
type Message struct {
	Seq uint64 // of the batch in the agent's queue

	Book   uint32   // names the agent's book, which is new with each start of the agent
	Epoch  string   // of the agent's queue; the book is for that one alone, so it is said when Known is 0
	Known  int      // how many series of the book the server should have; 0 begins it
	Series []Series // those that come behind them
	Rows   []Row
}

// Series is a line of measurements.
type Series struct {
	Metric, Unit string
	Type         sdk.MetricType
	Labels       map[string]string
}

// Row is a sample.
type Row struct {
	Series int // its number in the book
	Micros int64
	Value  float64
}

// The fields of the messages.
const (
	fieldEpoch  = 1
	fieldSeq    = 2
	fieldBook   = 3
	fieldKnown  = 4
	fieldSeries = 5
	fieldWhich  = 6
	fieldTimes  = 7
	fieldWhole  = 8
	fieldReal   = 9

	seriesMetric  = 1
	seriesUnit    = 2
	seriesCounter = 3
	seriesLabels  = 4
)

var (
	encoder = sync.OnceValues(func() (*zstd.Encoder, error) {
		return zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true), zstd.WithEncoderCRC(false), zstd.WithSingleSegment(true))
	})
	decoder = sync.OnceValues(func() (*zstd.Decoder, error) {
		return zstd.NewReader(nil, zstd.WithDecoderConcurrency(2), zstd.WithDecoderMaxMemory(maxPlain), zstd.WithDecodeAllCapLimit(true), zstd.WithDecoderLowmem(true))
	})
)

// Error says what is wrong with a message.
type Error struct{ text string }

func (e *Error) Error() string { return e.text }

func wrong(format string, args ...any) error { return &Error{fmt.Sprintf(format, args...)} }

// Pack writes a message.
func (m *Message) Pack() ([]byte, error) {
	e, err := encoder()
	if err != nil {
		return nil, err
	}
	return e.EncodeAll(m.plain(), nil), nil
}

func (m *Message) plain() []byte {
	b := protowire.AppendVarint(protowire.AppendTag(nil, fieldSeq, protowire.VarintType), m.Seq)
	b = protowire.AppendFixed32(protowire.AppendTag(b, fieldBook, protowire.Fixed32Type), m.Book)
	if m.Known > 0 {
		b = protowire.AppendVarint(protowire.AppendTag(b, fieldKnown, protowire.VarintType), uint64(m.Known))
	} else {
		b = protowire.AppendString(protowire.AppendTag(b, fieldEpoch, protowire.BytesType), m.Epoch)
	}
	for _, s := range m.Series {
		b = protowire.AppendBytes(protowire.AppendTag(b, fieldSeries, protowire.BytesType), s.plain())
	}
	// Column by column, because what is alike lies together then.
	var which, times, whole, floats []byte
	number, at := 0, int64(0)
	for _, r := range m.Rows {
		n, form := formOf(r.Value)
		if form == asFloat {
			floats = protowire.AppendFixed64(floats, math.Float64bits(r.Value))
		} else {
			whole = protowire.AppendVarint(whole, protowire.EncodeZigZag(n))
		}
		which = protowire.AppendVarint(which, protowire.EncodeZigZag(int64(r.Series-number))<<2|form)
		times = protowire.AppendVarint(times, protowire.EncodeZigZag(r.Micros-at))
		number, at = r.Series+1, r.Micros
	}
	for i, column := range [][]byte{which, times, whole, floats} {
		if len(column) > 0 {
			b = protowire.AppendBytes(protowire.AppendTag(b, protowire.Number(fieldWhich+i), protowire.BytesType), column)
		}
	}
	return b
}

// How a value is written.
const (
	asWhole       = 0
	asThousandths = 1 // as clocks count seconds
	asFloat       = 2
	asKibibytes   = 3 // whole, in 1024: memory and disks are counted so
)

// formOf finds the shortest form that loses nothing.
func formOf(v float64) (n int64, form uint64) {
	const most = 1 << 53
	fits := func(x float64) bool {
		return x > -most && x < most && x == math.Trunc(x) && (x != 0 || !math.Signbit(x))
	}
	if fits(v) {
		if n = int64(v); n != 0 && n%1024 == 0 {
			return n / 1024, asKibibytes
		}
		return n, asWhole
	}
	if h := math.Round(v * 1000); fits(h) && h/1000 == v {
		return int64(h), asThousandths
	}
	return 0, asFloat
}

func (s Series) plain() []byte {
	b := protowire.AppendString(protowire.AppendTag(nil, seriesMetric, protowire.BytesType), s.Metric)
	if s.Unit != "" {
		b = protowire.AppendString(protowire.AppendTag(b, seriesUnit, protowire.BytesType), s.Unit)
	}
	if s.Type == sdk.Counter {
		b = protowire.AppendVarint(protowire.AppendTag(b, seriesCounter, protowire.VarintType), 1)
	}
	for _, k := range sortedKeys(s.Labels) {
		for _, text := range [...]string{k, s.Labels[k]} {
			b = protowire.AppendString(protowire.AppendTag(b, seriesLabels, protowire.BytesType), text)
		}
	}
	return b
}

// PlainSize is how many bytes a message has when it is unpacked, which it must say in front.
func PlainSize(body []byte) (int64, error) {
	var h zstd.Header
	switch err := h.Decode(body); {
	case err != nil || h.Skippable || !h.HasFCS:
		return 0, wrong("the samples are no zstd frame that says how long it is")
	case h.FrameContentSize > maxPlain:
		return 0, wrong("a message has at most %d bytes, this one has %d", maxPlain, h.FrameContentSize)
	}
	return int64(h.FrameContentSize), nil
}

// Unpack reads a message and believes nothing of it. Fields that it does not know are passed over.
func Unpack(body []byte) (*Message, error) {
	size, err := PlainSize(body)
	if err != nil {
		return nil, err
	}
	d, err := decoder()
	if err != nil {
		return nil, err
	}
	// Never more than it said in front: further frames may follow the first.
	plain, err := d.DecodeAll(body, make([]byte, 0, size))
	if err != nil {
		return nil, wrong("the samples cannot be decompressed: %s", err)
	}
	m := &Message{}
	var columns [4][]byte
	err = fields(plain, func(n protowire.Number, t protowire.Type, v uint64, text []byte) error {
		switch {
		case n == fieldEpoch && t == protowire.BytesType:
			m.Epoch = string(text)
		case n == fieldSeq && t == protowire.VarintType:
			m.Seq = v
		case n == fieldBook && t == protowire.Fixed32Type:
			m.Book = uint32(v)
		case n == fieldKnown && t == protowire.VarintType:
			if v > MaxSeries {
				return wrong("a book has at most %d series", MaxSeries)
			}
			m.Known = int(v)
		case n == fieldSeries && t == protowire.BytesType:
			if m.Known+len(m.Series) >= MaxSeries {
				return wrong("a book has at most %d series", MaxSeries)
			}
			s, err := readSeries(text)
			m.Series = append(m.Series, s)
			return err
		case n >= fieldWhich && n <= fieldReal && t == protowire.BytesType:
			columns[n-fieldWhich] = text
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if m.Known+len(m.Series) > MaxSeries {
		return nil, wrong("a book has at most %d series", MaxSeries)
	}
	return m, m.readRows(columns)
}

func (m *Message) readRows(columns [4][]byte) error {
	which, times, whole, floats := columns[0], columns[1], columns[2], columns[3]
	m.Rows = make([]Row, 0, min(len(which), MaxRows)) // each takes a byte at least
	number, at := int64(0), int64(0)
	for len(which) > 0 {
		if len(m.Rows) == MaxRows {
			return wrong("a batch has at most %d samples", MaxRows)
		}
		mark, ok := varint(&which)
		step, timed := varint(&times)
		number += protowire.DecodeZigZag(mark >> 2)
		if !ok || !timed || number < 0 || number >= int64(m.Known+len(m.Series)) {
			return wrong("sample %d has no time, or a series that is not in the book", len(m.Rows))
		}
		at += protowire.DecodeZigZag(step)
		r := Row{Series: int(number), Micros: at}
		switch form := mark & 3; form {
		case asWhole, asThousandths, asKibibytes:
			v, ok := varint(&whole)
			if !ok {
				return wrong("sample %d has no value", len(m.Rows))
			}
			r.Value = float64(protowire.DecodeZigZag(v))
			switch form {
			case asThousandths:
				r.Value /= 1000
			case asKibibytes:
				r.Value *= 1024
			}
		case asFloat:
			v, n := protowire.ConsumeFixed64(floats)
			if n < 0 {
				return wrong("sample %d has no value", len(m.Rows))
			}
			r.Value, floats = math.Float64frombits(v), floats[n:]
		}
		m.Rows = append(m.Rows, r)
		number++
	}
	if len(times)+len(whole)+len(floats) > 0 {
		return wrong("there are more times or values than samples")
	}
	return nil
}

func varint(b *[]byte) (uint64, bool) {
	v, n := protowire.ConsumeVarint(*b)
	if n < 0 {
		return 0, false
	}
	*b = (*b)[n:]
	return v, true
}

func readSeries(b []byte) (Series, error) {
	s := Series{Type: sdk.Gauge}
	var labels []string
	err := fields(b, func(n protowire.Number, t protowire.Type, v uint64, text []byte) error {
		if len(text) > maxText {
			return wrong("a text of a series has %d bytes, at most %d are taken", len(text), maxText)
		}
		switch {
		case n == seriesMetric && t == protowire.BytesType:
			s.Metric = string(text)
		case n == seriesUnit && t == protowire.BytesType:
			s.Unit = string(text)
		case n == seriesCounter && t == protowire.VarintType && v == 1:
			s.Type = sdk.Counter
		case n == seriesLabels && t == protowire.BytesType:
			if len(labels) == 2*maxLabels {
				return wrong("a series has at most %d labels", maxLabels)
			}
			labels = append(labels, string(text))
		}
		return nil
	})
	if err == nil && len(labels)%2 != 0 {
		err = wrong("a label has no value")
	}
	if err != nil {
		return s, err
	}
	if len(labels) > 0 {
		s.Labels = make(map[string]string, len(labels)/2)
		for i := 0; i < len(labels); i += 2 {
			s.Labels[labels[i]] = labels[i+1]
		}
	}
	return s, nil
}

var errBroken = errors.New("it ends in the middle of a field")

// fields calls fn for each field of a protobuf message.
func fields(b []byte, fn func(n protowire.Number, t protowire.Type, v uint64, text []byte) error) error {
	for len(b) > 0 {
		n, t, size := protowire.ConsumeTag(b)
		if size < 0 {
			return wrong("the samples are no protobuf message: %s", errBroken)
		}
		b = b[size:]
		var v uint64
		var text []byte
		switch t {
		case protowire.VarintType:
			v, size = protowire.ConsumeVarint(b)
		case protowire.Fixed64Type:
			v, size = protowire.ConsumeFixed64(b)
		case protowire.Fixed32Type:
			var short uint32
			short, size = protowire.ConsumeFixed32(b)
			v = uint64(short)
		case protowire.BytesType:
			text, size = protowire.ConsumeBytes(b)
		default:
			size = protowire.ConsumeFieldValue(n, t, b)
		}
		if size < 0 {
			return wrong("the samples are no protobuf message: %s", errBroken)
		}
		b = b[size:]
		if err := fn(n, t, v, text); err != nil {
			return err
		}
	}
	return nil
}
