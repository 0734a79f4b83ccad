package main

import (
	"context"
	"fmt"
	"reflect"
	"testing"

	"github.com/picketwatch/picket/cmd/picket-wasm/internal/tiny"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/records"
	"github.com/picketwatch/picket/sdk/sdktest"
)

// BenchmarkInspect compares what a light detector costs in each runtime, per flow and with the encoding of the batch.
// In the process it gets the flows as they are. Compare within one run only.
func BenchmarkInspect(b *testing.B) {
	for _, size := range []int{records.BatchGuest, records.BatchProcess} {
		flows := benchFlows(size)
		b.Run(fmt.Sprintf("in-process/%d", size), func(b *testing.B) {
			inst := tiny.Plugin().New()
			reflect.ValueOf(inst.Config()).Elem().FieldByName("Mode").SetString("score")
			var sink findings
			perFlow(b, size, 0, func() error {
				return inst.(sdk.Detector).Inspect(b.Context(), sdk.Batch{Flows: flows}, &sink)
			})
		})
		for _, kind := range []string{"process", "wasm"} {
			b.Run(fmt.Sprintf("%s/%d", kind, size), func(b *testing.B) {
				p, _ := start(b, kind)
				i := configure(b, p, `{"mode": "score"}`)
				var sink findings
				var frame []byte
				perFlow(b, size, p.PID(), func() error {
					frame = records.AppendFlows(frame[:0], flows)
					return i.Inspect(context.Background(), "c", frame, &sink)
				})
			})
		}
	}
}

func benchFlows(n int) []sdk.Flow {
	var flows []sdk.Flow
	for len(flows) < n {
		flows = append(flows, sdktest.SampleFlows()...)
	}
	return flows[:n]
}

// perFlow reports the time and the processor time, of both processes together, for each flow.
func perFlow(b *testing.B, flows, pid int, inspect func() error) {
	b.Helper()
	b.ReportAllocs()
	cpu := func() float64 {
		total := cpuTime(0)
		if pid != 0 {
			total += cpuTime(pid)
		}
		return float64(total)
	}
	began := cpu()
	for b.Loop() {
		if err := inspect(); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	n := float64(b.N) * float64(flows)
	b.ReportMetric((cpu()-began)/n, "cpu-ns/flow")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/n, "ns/flow")
}

// BenchmarkStart measures the time from nothing to a described plugin; the guest comes from the compile cache.
func BenchmarkStart(b *testing.B) {
	for _, kind := range []string{"process", "wasm"} {
		b.Run(kind, func(b *testing.B) {
			p, _ := start(b, kind) // fills the cache
			p.Kill()
			for b.Loop() {
				p, _ := start(b, kind)
				if _, err := p.Describe(b.Context()); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				p.Kill()
				b.StartTimer()
			}
		})
	}
}
