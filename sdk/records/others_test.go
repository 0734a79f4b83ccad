package records

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"reflect"
	"testing"
	"time"

	"github.com/picketwatch/picket/sdk"
)

func someSamples(n int) []sdk.Sample {
	var out []sdk.Sample
	for i := range n {
		out = append(out, sdk.Sample{Metric: fmt.Sprint("test.metric", i%3), Unit: "By", Type: sdk.Counter, Time: time.Unix(int64(i), 7).UTC(),
			Value: float64(i) + 0.5, Labels: map[string]string{"b": fmt.Sprint(i), "a": "", "ü": "ß"}})
	}
	out[0] = sdk.Sample{Value: math.Inf(-1)}
	return out
}

func somePackets(n int) []sdk.Packet {
	var out []sdk.Packet
	for i := range n {
		out = append(out, sdk.Packet{Number: uint64(i + 1), Time: time.Unix(int64(i), 7).UTC(), Link: 1, Length: 1500, Data: bytes.Repeat([]byte{byte(i + 1)}, i*7)})
	}
	if n > 0 {
		out[0].Data = nil
	}
	return out
}

func TestSamplesAndPackets(t *testing.T) {
	samples := someSamples(20)
	if got, err := DecodeSamples(AppendSamples(nil, samples), nil); err != nil || !reflect.DeepEqual(got, samples) {
		t.Errorf("samples: %v\n%v\n%v", err, got, samples)
	}
	packets := somePackets(20)
	frame := AppendPackets([]byte("before"), packets)[6:]
	if got, err := DecodePackets(frame, make([]sdk.Packet, 3)); err != nil || !reflect.DeepEqual(got, packets) {
		t.Errorf("packets: %v\n%v\n%v", err, got, packets)
	}
	if len(frame) != PacketsSize(packets) {
		t.Errorf("a frame of %d bytes, foretold were %d", len(frame), PacketsSize(packets))
	}
	local := AppendLocalPackets(nil, packets)
	if _, err := DecodePackets(local, nil); !errors.Is(err, ErrFrame) {
		t.Errorf("a frame without checksum: %v", err)
	}
	if got, err := DecodeVerifiedPackets(local, nil); err != nil || !reflect.DeepEqual(got, packets) {
		t.Errorf("local packets: %v", err)
	}
	if SchemaOf(frame) != Packets || SchemaOf(AppendSamples(nil, samples)) != Samples || SchemaOf(AppendFlows(nil, nil)) != Flows || SchemaOf(nil) != 0 {
		t.Error("a frame of another schema than its own")
	}
}

// Memory that was used before must not show in a frame.
func TestEqualInputGivesEqualBytes(t *testing.T) {
	dirty := func() []byte { return bytes.Repeat([]byte{0xff}, 1<<16)[:0] }
	samples, packets, flows := someSamples(9), somePackets(9), filled(t, 9)
	flows[3] = sdk.Flow{}
	for name, encode := range map[string]func([]byte) []byte{
		"samples": func(b []byte) []byte { return AppendSamples(b, samples) },
		"packets": func(b []byte) []byte { return AppendPackets(b, packets) },
		"flows":   func(b []byte) []byte { return AppendFlows(b, flows) },
		"local":   func(b []byte) []byte { return AppendLocalFlows(b, flows) },
	} {
		if clean := encode(nil); !bytes.Equal(clean, encode(dirty())) || !bytes.Equal(clean, encode(nil)) {
			t.Errorf("%s: the bytes depend on the memory", name)
		}
	}
	if n := len(AppendFlows(nil, flows)); n != FlowsSize(flows) {
		t.Errorf("a frame of %d bytes, foretold were %d", n, FlowsSize(flows))
	}
}

func TestSampleWriter(t *testing.T) {
	w := NewSampleWriter(4)
	all := someSamples(11)
	var got []sdk.Sample
	for i := range all {
		w.Add(&all[i])
		if !w.Full() && i < len(all)-1 {
			continue
		}
		rows, size := w.Rows(), w.Size()
		frame := w.Frame()
		part, err := DecodeVerifiedSamples(frame, nil)
		if err != nil || len(part) != rows || len(frame) != size {
			t.Fatalf("%d rows in %d bytes, want %d in %d: %v", len(part), len(frame), rows, size, err)
		}
		got = append(got, part...)
	}
	if !reflect.DeepEqual(got, all) || w.Rows() != 0 || w.Size() != 0 {
		t.Errorf("got %v", got)
	}
}

func TestFlowChunks(t *testing.T) {
	for _, borrow := range []bool{false, true} {
		comeBack(t, &FlowChunks{Borrow: borrow})
	}
}

func comeBack(t *testing.T, c *FlowChunks) {
	t.Helper()
	for _, n := range []int{0, 1, Chunk - 1, Chunk, 3*Chunk + 5} {
		flows := filled(t, n)
		if err := c.Reset(AppendLocalFlows(nil, flows)); err != nil {
			t.Fatal(err)
		}
		at := 0
		for {
			part, err := c.Next()
			if err != nil {
				t.Fatal(err)
			}
			if len(part) == 0 {
				break
			}
			if !reflect.DeepEqual(part, flows[at:at+len(part)]) {
				t.Fatalf("%d flows: those from %d on differ", n, at)
			}
			at += len(part)
		}
		if at != n {
			t.Errorf("%d of %d flows", at, n)
		}
		c.Release()
	}
	if err := c.Reset([]byte("x")); !errors.Is(err, ErrFrame) {
		t.Errorf("got %v", err)
	}
}

// Texts that are borrowed are those of the frame, and cost no memory.
func TestFlowChunksThatBorrow(t *testing.T) {
	flows := filled(t, Chunk)
	flows[0].CommunityID = "theirs"
	frame := AppendLocalFlows(nil, flows)
	c := FlowChunks{Borrow: true}
	var first string
	n := testing.AllocsPerRun(5, func() {
		if err := c.Reset(frame); err != nil {
			t.Fatal(err)
		}
		part, err := c.Next()
		if err != nil || len(part) != Chunk {
			t.Fatalf("%d flows, %v", len(part), err)
		}
		first = part[0].CommunityID
	})
	at := bytes.Index(frame, []byte("theirs"))
	frame[at] = 'T'
	if n > 0 || first != "Theirs" {
		t.Errorf("%v allocations, %q", n, first)
	}
}

func FuzzDecodeSamples(f *testing.F) {
	f.Add(AppendSamples(nil, someSamples(3)))
	f.Fuzz(func(t *testing.T, data []byte) {
		samples, err := DecodeVerifiedSamples(data, nil)
		if err != nil {
			return
		}
		again, err := DecodeSamples(AppendSamples(nil, samples), nil)
		if err != nil || len(again) != len(samples) {
			t.Fatalf("%d samples became %d, %v", len(samples), len(again), err)
		}
	})
}

func FuzzDecodePackets(f *testing.F) {
	f.Add(AppendPackets(nil, somePackets(3)))
	f.Fuzz(func(t *testing.T, data []byte) {
		packets, err := DecodeVerifiedPackets(data, nil)
		if err != nil {
			return
		}
		total := 0
		for _, p := range packets {
			total += len(p.Data)
		}
		if total > MaxFrame { // rows may share bytes; AppendPackets would copy them
			return
		}
		again, err := DecodePackets(AppendPackets(nil, packets), nil)
		if err != nil || len(again) != len(packets) {
			t.Fatalf("%d packets became %d, %v", len(packets), len(again), err)
		}
	})
}
