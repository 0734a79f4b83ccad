package idsrules

import (
	"context"
	"os"
	"testing"

	"github.com/picketwatch/picket/sdk"
)

// BenchmarkSharedRules runs the shared rules over IDS_BENCH, a capture.
func BenchmarkSharedRules(b *testing.B) {
	file := os.Getenv("IDS_BENCH")
	if file == "" {
		b.Skip("IDS_BENCH names no capture")
	}
	d := withRules(b, `{}`, benchRules(b))
	packets := packetsOf(b, file)
	b.ReportAllocs()
	for b.Loop() {
		if err := d.Inspect(context.Background(), sdk.Batch{Packets: packets}, &sink{}); err != nil {
			b.Fatal(err)
		}
		if err := d.Flush(context.Background(), &sink{}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(packets)), "ns/packet")
}
