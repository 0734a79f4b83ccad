package worker

import (
	"context"
	"io"
	"os"
	"testing"

	"github.com/picketwatch/picket/sdk"
)

// BenchmarkRun reads the capture that PICKET_BENCH_PCAP names as the server's worker does for all default detectors. `make pgo`
// takes the worker's profile from it.
func BenchmarkRun(b *testing.B) {
	path := os.Getenv("PICKET_BENCH_PCAP")
	if path == "" {
		path = "../../../../shared/pcaps/benign-web__chrissanders__http_espn.pcapng"
	}
	wanted := Options{Facts: sdk.PlainFacts, Features: true, First: map[string]int{}}
	for _, kind := range []string{sdk.FactsDNS, sdk.FactsTLS, sdk.FactsHTTP, sdk.FactsSMB, sdk.FactsOT} {
		wanted.First[kind] = 64
	}
	for b.Loop() {
		in, err := os.Open(path)
		if err != nil {
			b.Skip(err)
		}
		if err := Run(context.Background(), in, io.Discard, wanted); err != nil {
			b.Fatal(err)
		}
		_ = in.Close()
	}
}
