package wire

import (
	"fmt"
	"math/bits"
	"sync"

	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // registers the codec that this one wraps
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
)

// Inspect is a received InspectRequest, or InspectStreamRequest, whose frame lies in memory that is used again: generated code would allocate and
// copy every frame, which costs more than many a detector. On the wire it is the same message.
type Inspect struct {
	Instance string
	Capture  string
	Frame    []byte // valid until Free
	buf      mem.Buffer
}

// Free gives the memory back.
func (m *Inspect) Free() {
	if m.buf != nil {
		m.buf.Free()
	}
	m.Frame, m.buf = nil, nil
}

// Sent is an InspectRequest, or InspectStreamRequest, that is sent without a copy of its frame.
type Sent struct {
	instance, capture string
	frame             []byte
	done              chan struct{} // closed when gRPC needs the frame no longer; nil while it does not have it
}

// NewSent makes the message.
func NewSent(instance, capture string, frame []byte) *Sent {
	return &Sent{instance: instance, capture: capture, frame: frame}
}

// Done is closed when gRPC needs the frame no longer. After a call that succeeded it does not.
func (m *Sent) Done() <-chan struct{} {
	if m.done != nil {
		return m.done
	}
	none := make(chan struct{})
	close(none)
	return none
}

func (m *Sent) marshal() mem.BufferSlice {
	var b []byte
	for number, text := range []string{1: clean(m.instance), 2: clean(m.capture)} {
		if text != "" {
			b = protowire.AppendString(protowire.AppendTag(b, protowire.Number(number), protowire.BytesType), text)
		}
	}
	b = protowire.AppendVarint(protowire.AppendTag(b, 3, protowire.BytesType), uint64(len(m.frame)))
	if mem.IsBelowBufferPoolingThreshold(len(m.frame)) {
		return mem.BufferSlice{mem.SliceBuffer(append(b, m.frame...))}
	}
	m.done = make(chan struct{})
	return mem.BufferSlice{mem.SliceBuffer(b), mem.NewBuffer(&m.frame, (*sentPool)(m))}
}

// sentPool gets the frame of a message back.
type sentPool Sent

func (*sentPool) Get(n int) *[]byte { b := make([]byte, n); return &b }
func (p *sentPool) Put(*[]byte)     { close(p.done) }

// Body is a message as it is on the wire.
type Body []byte

// Codec is the codec of both ends: protobuf, with a short way for the messages that carry a frame.
func Codec() encoding.CodecV2 {
	return codec{CodecV2: encoding.GetCodecV2("proto"), pool: buffers}
}

// Buffers is the memory of received frames. gRPC's own pool clears what it hands out.
func Buffers() mem.BufferPool { return buffers }

var buffers = &bufferPool{}

type codec struct {
	encoding.CodecV2
	pool *bufferPool
}

func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	switch m := v.(type) {
	case *Sent:
		return m.marshal(), nil
	case *Body:
		return mem.BufferSlice{mem.SliceBuffer(*m)}, nil
	}
	return c.CodecV2.Marshal(v)
}

func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	if body, ok := v.(*Body); ok {
		*body = data.Materialize()
		return nil
	}
	m, ok := v.(*Inspect)
	if !ok {
		return c.CodecV2.Unmarshal(data, v)
	}
	m.buf = data.MaterializeToBuffer(c.pool)
	if err := m.parse(m.buf.ReadOnlyData()); err != nil {
		m.Free()
		return err
	}
	return nil
}

// parse reads the three fields of the request; others belong to a newer host.
func (m *Inspect) parse(b []byte) error {
	for len(b) > 0 {
		number, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return fmt.Errorf("inspect request: %w", protowire.ParseError(n))
		}
		b = b[n:]
		if typ != protowire.BytesType || number > 3 {
			if n = protowire.ConsumeFieldValue(number, typ, b); n < 0 {
				return fmt.Errorf("inspect request: %w", protowire.ParseError(n))
			}
			b = b[n:]
			continue
		}
		value, n := protowire.ConsumeBytes(b)
		if n < 0 {
			return fmt.Errorf("inspect request: %w", protowire.ParseError(n))
		}
		b = b[n:]
		switch number {
		case 1:
			m.Instance = string(value)
		case 2:
			m.Capture = string(value)
		case 3:
			m.Frame = value
		}
	}
	return nil
}

// bufferPool keeps buffers by the power of two of their size.
type bufferPool struct{ sizes [32]sync.Pool }

func (p *bufferPool) Get(length int) *[]byte {
	class := bits.Len(uint(max(length, 1) - 1))
	if b, ok := p.sizes[class].Get().(*[]byte); ok {
		*b = (*b)[:length]
		return b
	}
	b := make([]byte, length, 1<<class)
	return &b
}

func (p *bufferPool) Put(b *[]byte) {
	p.sizes[bits.Len(uint(max(cap(*b), 1)-1))].Put(b)
}
