package pluginhost

import (
	"time"

	"github.com/picketwatch/picket/sdk"
)

// LedgerEvery is how often the ledgers go to the store as samples.
const LedgerEvery = 10 * time.Second

// LedgerSamples returns the ledgers of all instances as ordinary samples, so that charts and queries see them beside
// what the plugins measure. The names follow the OpenTelemetry conventions for processes.
func (h *Host) LedgerSamples() []sdk.Sample {
	now := h.cfg.Now().UTC()
	var out []sdk.Sample
	for _, s := range h.all() {
		st := s.ledgerStatus()
		out = append(out, st.samples(now)...)
	}
	return out
}

// ledgerStatus is of the status what samples need: the rest is copied for those who show it.
func (s *supervisor) ledgerStatus() Status {
	s.mu.Lock()
	st, r := s.state, s.cur
	s.mu.Unlock()
	st.Ledger = s.books(r)
	st.Ledger.LogDropped = s.log.losses()
	return st
}

func (st *Status) samples(now time.Time) []sdk.Sample {
	l := &st.Ledger
	labels := map[string]string{"instance": st.Instance, "plugin": st.Plugin, "runtime": st.Runtime, "version": st.Version}
	ready := 0.0
	if st.State == Ready {
		ready = 1
	}
	var out []sdk.Sample
	for _, m := range []struct {
		name, unit string
		kind       sdk.MetricType
		value      float64
	}{
		{"ready", "1", sdk.Gauge, ready},
		{"cpu.time", "s", sdk.Counter, l.CPUSeconds},
		{"cpu.throttled", "s", sdk.Counter, l.ThrottledSeconds},
		{"memory.usage", "By", sdk.Gauge, float64(l.MemoryBytes)},
		{"memory.peak", "By", sdk.Gauge, float64(l.PeakMemoryBytes)},
		{"calls", "{call}", sdk.Counter, float64(l.Calls)},
		{"errors", "{call}", sdk.Counter, float64(l.Errors)},
		{"calls.active", "{call}", sdk.Gauge, float64(l.InFlight)},
		{"records", "{record}", sdk.Counter, float64(l.Records)},
		{"records.dropped", "{record}", sdk.Counter, float64(l.Dropped)},
		{"findings", "{finding}", sdk.Counter, float64(l.Findings)},
		{"io.in", "By", sdk.Counter, float64(l.BytesIn)},
		{"io.out", "By", sdk.Counter, float64(l.BytesOut)},
		{"crashes", "{crash}", sdk.Counter, float64(l.Crashes)},
		{"restarts", "{restart}", sdk.Counter, float64(st.Restarts)},
		{"log.dropped", "{line}", sdk.Counter, float64(l.LogDropped)},
		{"calls.refused", "{call}", sdk.Counter, float64(l.RefusedCalls)},
		{"latency.p50", "s", sdk.Gauge, l.LatencyP50ms / 1000},
		{"latency.p95", "s", sdk.Gauge, l.LatencyP95ms / 1000},
		{"latency.p99", "s", sdk.Gauge, l.LatencyP99ms / 1000},
	} {
		out = append(out, sdk.Sample{Metric: "picket.plugin." + m.name, Unit: m.unit, Type: m.kind, Labels: labels, Time: now, Value: m.value})
	}
	return out
}
