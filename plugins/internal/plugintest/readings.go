package plugintest

import (
	"context"
	"maps"
	"math"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/sdk"
)

// Readings are the samples that a collector handed over.
type Readings []sdk.Sample

// Sample implements sdk.SampleSink.
func (r *Readings) Sample(s sdk.Sample) error {
	*r = append(*r, s)
	return nil
}

// Value is that of the first sample of a series, named as Want names it; NaN when there is none.
func (r Readings) Value(series string) float64 {
	metric, labels, _ := strings.Cut(series, " ")
	for _, s := range r {
		if s.Metric == metric && has(s.Labels, strings.Fields(labels)) {
			return s.Value
		}
	}
	return math.NaN()
}

// Want checks that exactly these series were handed over. A series is its metric and its labels in order, as "a.metric
// label=value other=value"; those that all series have in common are stated once.
func (r Readings) Want(t *testing.T, want map[string]float64, common ...string) {
	t.Helper()
	got := map[string]float64{}
	for _, s := range r {
		if !has(s.Labels, common) {
			t.Errorf("%s %v lacks some of %v", s.Metric, s.Labels, common)
		}
		name := s.Metric
		for _, label := range slices.Sorted(maps.Keys(s.Labels)) {
			if pair := label + "=" + s.Labels[label]; !slices.Contains(common, pair) {
				name += " " + pair
			}
		}
		if _, twice := got[name]; twice {
			t.Errorf("%s came twice", name)
		}
		got[name] = s.Value
	}
	if !maps.Equal(got, want) {
		t.Errorf("measured %v\nwant     %v", got, want)
	}
}

func has(labels map[string]string, pairs []string) bool {
	return !slices.ContainsFunc(pairs, func(pair string) bool {
		name, value, _ := strings.Cut(pair, "=")
		got, there := labels[name]
		return !there || got != value
	})
}

// Await returns when something accepts connections at a TCP address of this machine.
func Await(tb testing.TB, address string) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), 20*time.Second)
	defer cancel()
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		if err == nil {
			conn.Close()
			return
		}
		if ctx.Err() != nil {
			tb.Fatalf("nobody answers at %s: %v", address, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
