package wire

import (
	"bytes"
	"testing"

	"github.com/picketwatch/picket/sdk/internal/pb"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
)

// decode sends data through the codec in pieces, as it arrives from a connection.
func decode(data []byte, piece int) (*Inspect, error) {
	var parts mem.BufferSlice
	for len(data) > 0 {
		n := min(piece, len(data))
		parts = append(parts, mem.SliceBuffer(bytes.Clone(data[:n])))
		data = data[n:]
	}
	m := &Inspect{}
	return m, Codec().Unmarshal(parts, m)
}

func TestInspectIsTheSameMessage(t *testing.T) {
	frame := bytes.Repeat([]byte("frame"), 100_000)
	req := &pb.InspectRequest{Instance: "i", Capture: "c", Frame: frame}
	data, err := proto.Marshal(req)
	if err != nil {
		t.Fatal(err)
	}
	data = append(data, "\x98\x06\x01\xa2\x06\x01x"...) // two fields of a newer host
	for _, piece := range []int{16 << 10, len(data)} {
		m, err := decode(data, piece)
		if err != nil || m.Instance != "i" || m.Capture != "c" || !bytes.Equal(m.Frame, frame) {
			t.Errorf("pieces of %d: %q %q, a frame of %d bytes, %v", piece, m.Instance, m.Capture, len(m.Frame), err)
		}
		m.Free()
		if m.Frame != nil {
			t.Error("the frame can be used after Free")
		}
	}
}

func TestSentIsTheSameMessage(t *testing.T) {
	for _, req := range []*pb.InspectRequest{
		{Instance: "i", Capture: "c", Frame: bytes.Repeat([]byte("frame"), 100_000)},
		{Instance: "i", Frame: []byte("small")},
	} {
		want, err := proto.Marshal(req)
		if err != nil {
			t.Fatal(err)
		}
		m := NewSent(req.Instance, req.Capture, req.Frame)
		<-m.Done() // nobody has it yet
		sent, err := Codec().Marshal(m)
		if err != nil || !bytes.Equal(sent.Materialize(), want) {
			t.Errorf("the codec sends other bytes than protobuf, %v", err)
		}
		if big := len(req.Frame) > 1000; big {
			select {
			case <-m.Done():
				t.Error("the frame is free while gRPC has it")
			default:
			}
		}
		sent.Free()
		<-m.Done()
	}
}

func TestOtherMessagesGoTheLongWay(t *testing.T) {
	data, err := proto.Marshal(&pb.StopRequest{Instance: "i"})
	if err != nil {
		t.Fatal(err)
	}
	var m pb.StopRequest
	if err := Codec().Unmarshal(mem.BufferSlice{mem.SliceBuffer(data)}, &m); err != nil || m.Instance != "i" {
		t.Errorf("got %v, %v", &m, err)
	}
}

func TestBufferPool(t *testing.T) {
	var p bufferPool
	for _, n := range []int{0, 1, 2, 3, 1023, 1024, 1025, 20 << 20} {
		b := p.Get(n)
		if len(*b) != n {
			t.Errorf("asked for %d, got %d", n, len(*b))
		}
		p.Put(b)
		if again := p.Get(n); len(*again) != n || cap(*again) < n {
			t.Errorf("asked again for %d, got %d of %d", n, len(*again), cap(*again))
		}
	}
}

func FuzzInspect(f *testing.F) {
	seed, _ := proto.Marshal(&pb.InspectRequest{Instance: "i", Capture: "c", Frame: []byte("frame")})
	f.Add(seed)
	f.Add([]byte("\x1a\xff\xff\xff\xff\xff\xff\xff\xff\x7f"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := decode(data, 7)
		var want pb.InspectRequest
		if wantErr := proto.Unmarshal(data, &want); wantErr != nil || err != nil {
			return // the generated decoder is stricter: it checks UTF-8 and the types of known fields
		}
		if m.Instance != want.Instance || m.Capture != want.Capture || !bytes.Equal(m.Frame, want.Frame) {
			t.Fatalf("got %+v, want %+v", m, &want)
		}
	})
}
