package kept_test

import (
	"context"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/picketwatch/picket/internal/traffic"
	"github.com/picketwatch/picket/internal/traffic/flow"
	"github.com/picketwatch/picket/internal/traffic/kept"
	"github.com/picketwatch/picket/sdk"
)

// BenchmarkKeep analyses the capture PICKET_BENCH_PCAP without and with keeping its packets, in turns, and says what a packet costs.
func BenchmarkKeep(b *testing.B) {
	path := os.Getenv("PICKET_BENCH_PCAP")
	if path == "" {
		b.Skip("needs PICKET_BENCH_PCAP")
	}
	mem, err := unix.Mmap(-1, 0, 64<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANON)
	if err != nil {
		b.Fatal(err)
	}
	least := [2]float64{1e9, 1e9}
	for range b.N {
		for keep := range least {
			opts := traffic.Options{Flow: flow.Config{Features: true}}
			var w *kept.Writer
			if keep == 1 {
				w = kept.NewWriter(mem)
				opts.Follower = w
			}
			before := spent(b)
			sum, err := traffic.AnalyzeFile(context.Background(), path, opts, nil, func([]sdk.Flow) error { return nil })
			if err != nil {
				b.Fatal(err)
			}
			least[keep] = min(least[keep], float64(spent(b)-before)/float64(sum.Packets))
		}
	}
	b.ReportMetric(least[0], "ns/packet")
	b.ReportMetric(least[1], "ns/packet-kept")
}

// spent is the processor time of this process.
func spent(b *testing.B) time.Duration {
	b.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
