//go:build unix

package traffic

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/picketwatch/picket/internal/traffic/capture"
	"github.com/picketwatch/picket/internal/traffic/decode"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/records"
)

// benchCapture is the capture that PICKET_BENCH_PCAP names, else a generated one.
func benchCapture(b *testing.B) []byte {
	b.Helper()
	if path := os.Getenv("PICKET_BENCH_PCAP"); path != "" {
		data, err := os.ReadFile(path)
		if err != nil {
			b.Fatal(err)
		}
		return data
	}
	return generated(20_000, 10)
}

// generated is a capture of many short TCP conversations, interleaved, with payloads of mixed length.
func generated(conversations, packetsEach int) []byte {
	var b bytes.Buffer
	head := make([]byte, 24)
	binary.LittleEndian.PutUint32(head, 0xa1b2c3d4)
	binary.LittleEndian.PutUint16(head[4:], 2)
	binary.LittleEndian.PutUint16(head[6:], 4)
	binary.LittleEndian.PutUint32(head[16:], 65535)
	binary.LittleEndian.PutUint32(head[20:], 1)
	b.Write(head)
	const window = 500 // conversations at the same time
	n := 0
	for base := 0; base < conversations; base += window {
		for step := range packetsEach {
			for c := base; c < min(base+window, conversations); c++ {
				writePacket(&b, n, c, step, packetsEach)
				n++
			}
		}
	}
	return b.Bytes()
}

func writePacket(b *bytes.Buffer, n, conversation, step, steps int) {
	payload := []int{0, 40, 600, 1400}[(conversation+step)%4]
	p := make([]byte, 16+54+payload)
	binary.LittleEndian.PutUint32(p, uint32(n/10_000))
	binary.LittleEndian.PutUint32(p[4:], uint32(n%10_000*100))
	binary.LittleEndian.PutUint32(p[8:], uint32(len(p)-16))
	binary.LittleEndian.PutUint32(p[12:], uint32(len(p)-16))
	frame := p[16:]
	frame[12], frame[13] = 8, 0
	ip := frame[14:]
	ip[0], ip[8], ip[9] = 0x45, 64, 6
	binary.BigEndian.PutUint16(ip[2:], uint16(len(frame)-14))
	back := step%2 == 1
	client, server := ip[12:16], ip[16:20]
	tcp := ip[20:]
	from, to := tcp[0:2], tcp[2:4]
	if back {
		client, server, from, to = server, client, to, from
	}
	binary.BigEndian.PutUint32(client, 0x0a000000|uint32(conversation%4000))
	binary.BigEndian.PutUint32(server, 0xc0a80000|uint32(conversation%50))
	binary.BigEndian.PutUint16(from, uint16(20_000+conversation%40_000))
	binary.BigEndian.PutUint16(to, 443)
	tcp[12], tcp[13] = 0x50, 0x10
	switch step {
	case 0:
		tcp[13] = 0x02
	case 1:
		tcp[13] = 0x12
	case steps - 1, steps - 2:
		tcp[13] = 0x11
	}
	b.Write(p)
}

// BenchmarkHeaderWalk is the floor: it steps through the stream from record to record and looks at nothing else.
func BenchmarkHeaderWalk(b *testing.B) {
	data := benchCapture(b)
	if magic := binary.LittleEndian.Uint32(data); magic != 0xa1b2c3d4 && magic != 0xa1b23c4d {
		b.Skip("the walk knows little-endian pcap only")
	}
	measure(b, data, func() (packets uint64) {
		r := bufio.NewReaderSize(bytes.NewReader(data[24:]), 128<<10)
		for {
			record, err := r.Peek(16)
			if err != nil {
				return packets
			}
			if _, err := r.Discard(16 + int(binary.LittleEndian.Uint32(record[8:]))); err != nil {
				b.Fatal(err)
			}
			packets++
		}
	})
}

// BenchmarkRead adds the reader: a stream, any format, all lengths checked.
func BenchmarkRead(b *testing.B) {
	data := benchCapture(b)
	measure(b, data, func() uint64 {
		return read(b, data, func(*capture.Packet) {})
	})
}

// BenchmarkDecode adds the headers.
func BenchmarkDecode(b *testing.B) {
	data := benchCapture(b)
	var d decode.Packet
	measure(b, data, func() uint64 {
		return read(b, data, func(p *capture.Packet) { decode.Decode(&d, p.Link, p.Data, p.Length) })
	})
}

// BenchmarkFlows adds flows with all features.
func BenchmarkFlows(b *testing.B) {
	benchmarkFlows(b, func([]sdk.Flow) error { return nil })
}

// BenchmarkFrames adds the rows that detectors get.
func BenchmarkFrames(b *testing.B) {
	var frame []byte
	benchmarkFlows(b, func(flows []sdk.Flow) error {
		frame = records.AppendFlows(frame[:0], flows)
		return nil
	})
}

func benchmarkFlows(b *testing.B, emit func([]sdk.Flow) error) {
	b.Helper()
	data := benchCapture(b)
	measure(b, data, func() uint64 {
		sum, err := Analyze(context.Background(), bytes.NewReader(data), Options{}, emit)
		if err != nil {
			b.Fatal(err)
		}
		return sum.Packets
	})
}

func read(b *testing.B, data []byte, each func(*capture.Packet)) (packets uint64) {
	b.Helper()
	r, err := capture.Open(bytes.NewReader(data))
	if err != nil {
		b.Fatal(err)
	}
	var p capture.Packet
	for {
		if err := r.Next(&p); errors.Is(err, io.EOF) {
			return packets
		} else if err != nil {
			b.Fatal(err)
		}
		each(&p)
		packets++
	}
}

// measure reports the time and the processor time per packet, so that the stages can be compared. On a busy machine only
// the processor time says something.
func measure(b *testing.B, data []byte, run func() uint64) {
	b.Helper()
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	b.ResetTimer()
	before := processorTime(b)
	var packets uint64
	for b.Loop() {
		packets += run()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(packets), "ns/packet")
	b.ReportMetric(float64((processorTime(b)-before).Nanoseconds())/float64(packets), "cpu-ns/packet")
}

// processorTime is what this process has used.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
