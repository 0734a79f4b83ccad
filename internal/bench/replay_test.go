//go:build linux

package main

import (
	"slices"
	"testing"
	"time"

	"github.com/picketwatch/picket/core/kernel/pluginhost"
	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/core/services/detect"
	"github.com/picketwatch/picket/sdk/records"
)

// What a server enables by itself, and the reference pack.
var replayDetectors = []ownDetector{
	{"plugins/detectors/portscan", pluginhost.RuntimeProcess}, {"plugins/detectors/beacon", pluginhost.RuntimeProcess},
	{"internal/bench/refpack", pluginhost.RuntimeProcess},
}

// BenchmarkStoredFlows reads the flows of a capture back from the store and shows them to the detectors, confined, as the server
// shows them those of the worker. The server has no order for this: a capture that is kept is analysed anew.
func BenchmarkStoredFlows(b *testing.B) {
	flows, frames := realFlows(b)
	s, err := store.OpenFlows(b.Context(), store.FlowsConfig{Dir: b.TempDir()})
	fatal(b, err)
	defer s.Close()
	recordOnce(b, s, frames)
	h, detectors := detectionHost(b, replayDetectors)
	replay(b, s, h, detectors) // what is done once is done then
	host, plugins := cpuTime(0), pluginTime(detectors)
	var each []time.Duration
	for _, d := range detectors {
		each = append(each, cpuTime(d.Status().PID))
	}
	findings := 0
	b.ResetTimer()
	for range b.N {
		findings = replay(b, s, h, detectors)
	}
	n := float64(b.N * len(flows))
	b.ReportMetric(float64(b.Elapsed())/n, "ns/flow")
	b.ReportMetric(n/b.Elapsed().Seconds(), "flows/s")
	host, plugins = cpuTime(0)-host, pluginTime(detectors)-plugins
	b.ReportMetric(float64(host+plugins)/n, "cpu-ns/flow")
	b.ReportMetric(float64(host)/n, "host-ns/flow")
	b.ReportMetric(float64(plugins)/n, "plugins-ns/flow")
	b.ReportMetric(float64(findings), "findings")
	for i, d := range detectors {
		b.ReportMetric(float64(cpuTime(d.Status().PID)-each[i])/n, d.Instance()+"-ns/flow")
	}
	b.ReportMetric(0, "ns/op")
}

func recordOnce(b *testing.B, s *store.Flows, frames []kept) {
	b.Helper()
	rec, err := s.Record(b.Context(), "default", "capture")
	fatal(b, err)
	for _, x := range frames {
		if x.kind == "" {
			fatal(b, rec.Flows(b.Context(), x.Parcel))
		} else {
			fatal(b, rec.Facts(b.Context(), x.kind, x.Parcel))
		}
	}
	fatal(b, rec.Close(b.Context(), true))
}

// replay shows what they want of what is stored to the detectors, and returns how much they found.
func replay(b *testing.B, s *store.Flows, h *pluginhost.Host, detectors []pluginhost.Detector) (findings int) {
	b.Helper()
	var list []detect.Detector
	for _, d := range detectors {
		list = append(list, d)
	}
	run := detect.Start(b.Context(), "capture", list, 0, h.Share)
	if facts, _, features := run.Wanted(); len(facts) > 0 || features {
		b.Fatal("these detectors want more than flows: replay it to them")
	}
	fatal(b, s.Replay(b.Context(), "default", "capture", func(_ string, p records.Parcel) error {
		return run.Frame(b.Context(), records.Parcel{Frame: slices.Clone(p.Frame)}) // it is the store's again after the call
	}, records.Flows))
	r := run.Close()
	if len(r.Failed) > 0 || len(r.Dropped) > 0 {
		b.Fatal(r.Failed, r.Dropped)
	}
	return len(r.Findings)
}
