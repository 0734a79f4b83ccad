//go:build linux

package main

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/picketwatch/picket/core/kernel/pluginhost"
	"github.com/picketwatch/picket/core/kernel/pluginhost/confine"
	"github.com/picketwatch/picket/internal/bench/refdetector/detectors"
	"github.com/picketwatch/picket/sdk/records"
)

const (
	// pairSamples of each of the two processes of a pair are taken, of pairTime each.
	pairSamples = 8
	pairTime    = 100 * time.Millisecond
)

// BenchmarkConfinement compares one detector as far confined as this machine can with the same as a bare process. One
// iteration is a pair of new processes, because two processes of one program differ in where their pages lie by more than
// what is looked for here. Within a pair the samples change places: bare, confined, confined, bare.
func BenchmarkConfinement(b *testing.B) {
	in := flowInput(detectors.Reference, records.BatchProcess)
	frames := make([][]byte, len(in.batches))
	for i := range frames {
		frames[i] = records.AppendLocalFlows(nil, in.batches[i].Flows)
	}
	var ratios, costs []float64
	for i := 0; b.Loop(); i++ {
		ratio, ns := confinedPair(b, frames, in.rows, i%2 == 0)
		ratios, costs = append(ratios, ratio), append(costs, ns)
	}
	ratio, _ := median(ratios)
	ns, _ := median(costs)
	b.ReportMetric(ratio, "×")
	b.ReportMetric(100*standardError(ratios), "±%")
	b.ReportMetric(100*(slices.Max(ratios)-slices.Min(ratios)), "spread-%")
	b.ReportMetric(ns, "cpu-ns/record")
}

// confinedPair returns the cost of a record in a confined process, divided by that in a bare one, and in nanoseconds.
func confinedPair(b *testing.B, frames [][]byte, rows int, bareFirst bool) (ratio, ns float64) {
	b.Helper()
	cost := func(level confine.Level) (sample func() float64, stop func()) {
		n, err := newNode(mustPrograms(b), level)
		if err != nil {
			b.Fatal(err)
		}
		pid := n.mustRun(b, 1, detectors.Reference, pluginhost.RuntimeProcess)[0].PID
		d := n.Detectors()[0]
		sent := 0
		sample = func() float64 {
			cpu, before := cpuTime(0)+cpuTime(pid), sent
			for began := time.Now(); time.Since(began) < pairTime; sent++ {
				if err := d.Inspect(b.Context(), "c", frames[sent%len(frames)], &found{}); err != nil {
					b.Fatal(err)
				}
			}
			return float64(cpuTime(0)+cpuTime(pid)-cpu) / float64((sent-before)*rows)
		}
		return sample, func() {
			if err := n.stop(); err != nil {
				b.Error(err)
			}
		}
	}
	levels := []confine.Level{confine.LevelC, ""}
	if !bareFirst {
		slices.Reverse(levels)
	}
	first, stop := cost(levels[0])
	defer stop()
	second, stop := cost(levels[1])
	defer stop()
	first() // warm
	second()
	var firsts, seconds []float64
	for range pairSamples / 2 {
		firsts, seconds = append(firsts, first()), append(seconds, second())
		seconds, firsts = append(seconds, second()), append(firsts, first())
	}
	bare, _ := median(firsts)
	confined, _ := median(seconds)
	if !bareFirst {
		bare, confined = confined, bare
	}
	return confined / bare, confined
}

func mustPrograms(b *testing.B) string {
	b.Helper()
	dir, err := programs()
	if err != nil {
		b.Fatal(err)
	}
	return dir
}

// standardError is that of the mean; the median's is a quarter larger where chance alone spreads the values.
func standardError(values []float64) float64 {
	if len(values) < 2 {
		return math.Inf(1)
	}
	mean := 0.0
	for _, v := range values {
		mean += v / float64(len(values))
	}
	squares := 0.0
	for _, v := range values {
		squares += (v - mean) * (v - mean)
	}
	return math.Sqrt(squares / float64(len(values)-1) / float64(len(values)))
}
