package worker

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"io"
	"os"
	"runtime"
	"testing"

	"github.com/klauspost/compress/zstd"
)

const capturePath = "../../../examples/datasets/first-light/first-light.pcap"

// repeated writes a capture several times, each a minute and its own length after the one before, as one that goes on for
// so long would be.
func repeated(t *testing.T, out io.Writer, times int) {
	t.Helper()
	data, err := os.ReadFile(capturePath)
	if err != nil {
		t.Error(err)
		return
	}
	head, records := data[:24], data[24:]
	_, _ = out.Write(head)
	first, last := binary.LittleEndian.Uint32(records), uint32(0)
	for at := 0; at < len(records); at += 16 + int(binary.LittleEndian.Uint32(records[at+8:])) {
		last = max(last, binary.LittleEndian.Uint32(records[at:]))
	}
	for range times {
		if _, err := out.Write(records); err != nil {
			return // the reader is gone
		}
		for at := 0; at < len(records); at += 16 + int(binary.LittleEndian.Uint32(records[at+8:])) {
			second := records[at : at+4]
			binary.LittleEndian.PutUint32(second, binary.LittleEndian.Uint32(second)+last-first+60)
		}
	}
}

// heap is a writer that nobody reads from; it looks at the heap each time.
type heap struct {
	writes int
	most   uint64
}

func (h *heap) Write(p []byte) (int, error) {
	h.writes++
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	h.most = max(h.most, m.HeapAlloc)
	return len(p), nil
}

// highest is the largest heap while a capture of so many repetitions is analysed with all that can be asked for.
func highest(t *testing.T, times int, packed func(io.Writer) io.WriteCloser) uint64 {
	t.Helper()
	in, feed, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	fed := make(chan struct{})
	go func() {
		defer close(fed)
		defer feed.Close()
		w := packed(feed)
		repeated(t, w, times)
		_ = w.Close()
	}()
	var h heap
	if err := Run(context.Background(), in, &h, Options{Facts: []string{"dns", "tls", "http", "messages"}, Features: true}); err != nil {
		t.Fatal(err)
	}
	<-fed
	if h.most == 0 {
		t.Fatalf("%d writes: the heap was never looked at", h.writes)
	}
	return h.most
}

type open struct{ io.Writer }

func (open) Close() error { return nil }

// Ten times the capture needs no more memory, in any packing.
func TestMemoryIsFlat(t *testing.T) {
	for name, packed := range map[string]func(io.Writer) io.WriteCloser{
		"plain": func(w io.Writer) io.WriteCloser { return open{w} },
		"gzip": func(w io.Writer) io.WriteCloser {
			z, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
			if err != nil {
				t.Error(err)
			}
			return z
		},
		"zstd": func(w io.Writer) io.WriteCloser {
			z, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest))
			if err != nil {
				t.Error(err)
			}
			return z
		},
	} {
		t.Run(name, func(t *testing.T) {
			once, tenfold := highest(t, 10, packed), highest(t, 100, packed)
			t.Logf("%d and %d KiB", once>>10, tenfold>>10)
			if tenfold > once+once/4+2<<20 {
				t.Errorf("the heap grows with the capture: %d KiB, and %d KiB with ten times as much", once>>10, tenfold>>10)
			}
		})
	}
}

// The test before can fail: whoever keeps what was sent is found out.
func TestGrowthIsSeen(t *testing.T) {
	once := highest(t, 5, func(w io.Writer) io.WriteCloser { return open{w} })
	var kept bytes.Buffer
	in, feed, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	go func() {
		defer feed.Close()
		repeated(t, feed, 50)
	}()
	var h heap
	if err := Run(context.Background(), in, io.MultiWriter(&kept, &h), Options{Features: true}); err != nil {
		t.Fatal(err)
	}
	if h.most <= once+once/4+2<<20 {
		t.Errorf("%d KiB were kept, and the heap was %d KiB after %d", kept.Len()>>10, h.most>>10, once>>10)
	}
}
