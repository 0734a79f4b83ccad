package wire

import (
	"fmt"
	"math/bits"
	"sync"

	"github.com/picketwatch/picket/sdk/internal/pb"
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // registers the codec that this one wraps
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// Inspect is a received InspectRequest whose frame lies in memory that is used again: generated code would allocate and
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

// Codec is the codec of both ends: protobuf, with a short way for the messages that carry a frame.
func Codec() encoding.CodecV2 {
	return codec{CodecV2: encoding.GetCodecV2("proto"), pool: &bufferPool{}}
}

type codec struct {
	encoding.CodecV2
	pool *bufferPool
}

func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	m, ok := v.(*pb.InspectRequest)
	if !ok {
		return c.CodecV2.Marshal(v)
	}
	buf := c.pool.Get(proto.Size(m))
	out, err := proto.MarshalOptions{UseCachedSize: true}.MarshalAppend((*buf)[:0], m)
	if err != nil {
		c.pool.Put(buf)
		return nil, err
	}
	*buf = out
	return mem.BufferSlice{mem.NewBuffer(buf, c.pool)}, nil
}

func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
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

// parse reads the three fields of InspectRequest; others belong to a newer host.
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

// bufferPool keeps buffers by the power of two of their size. gRPC's own pool clears what it hands out.
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
