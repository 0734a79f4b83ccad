//go:build unix

package all_test

import (
	"bytes"
	"context"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/picketwatch/picket/internal/traffic"
	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/all"
	"github.com/picketwatch/picket/internal/traffic/flow"
	"github.com/picketwatch/picket/sdk"
)

// The benchmarks read the capture that PICKET_BENCH_PCAP names, else one of the shared ones with web pages.

// BenchmarkFlows is the floor: flows without their protocols.
func BenchmarkFlows(b *testing.B) { benchmark(b, func() *app.Engine { return nil }) }

// BenchmarkRecognition adds the protocols of the flows.
func BenchmarkRecognition(b *testing.B) {
	benchmark(b, func() *app.Engine { return app.New(app.Config{}, all.Protocols()) })
}

// BenchmarkParsers adds every parser.
func BenchmarkParsers(b *testing.B) {
	benchmark(b, func() *app.Engine { return app.New(app.Config{Facts: everyFact()}, all.Protocols()) })
}

func benchmark(b *testing.B, engine func() *app.Engine) {
	b.Helper()
	path := os.Getenv("PICKET_BENCH_PCAP")
	if path == "" {
		path = "../../../../../shared/pcaps/benign-web__chrissanders__http_espn.pcapng"
	}
	data, err := os.ReadFile(path)
	if err != nil {
		b.Skip(err)
	}
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	before := processorTime(b)
	var packets uint64
	for b.Loop() {
		sum, err := traffic.Analyze(context.Background(), bytes.NewReader(data), traffic.Options{Flow: flow.Config{Apps: engine()}},
			func([]sdk.Flow) error { return nil })
		if err != nil {
			b.Fatal(err)
		}
		packets += sum.Packets
	}
	b.ReportMetric(float64((processorTime(b)-before).Nanoseconds())/float64(packets), "cpu-ns/packet")
}

// processorTime is what this process has used; on a busy machine nothing else says something.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
