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
	all := h.all()
	out := make([]sdk.Sample, 0, len(all)*len(ledgerMetrics))
	for _, s := range all {
		st := s.ledgerStatus()
		out = st.appendSamples(out, now)
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

func (st *Status) appendSamples(out []sdk.Sample, now time.Time) []sdk.Sample {
	labels := map[string]string{"instance": st.Instance, "plugin": st.Plugin, "runtime": st.Runtime, "version": st.Version}
	for i := range ledgerMetrics {
		m := &ledgerMetrics[i]
		out = append(out, sdk.Sample{Metric: m.name, Unit: m.unit, Type: m.kind, Labels: labels, Time: now, Value: m.value(st)})
	}
	return out
}

// ledgerMetrics are what samples are made of.
var ledgerMetrics = []struct {
	name, unit string
	kind       sdk.MetricType
	value      func(*Status) float64
}{
	{"picket.plugin.ready", "1", sdk.Gauge, func(st *Status) float64 {
		if st.State == Ready {
			return 1
		}
		return 0
	}},
	{"picket.plugin.cpu.time", "s", sdk.Counter, func(st *Status) float64 { return st.Ledger.CPUSeconds }},
	{"picket.plugin.cpu.throttled", "s", sdk.Counter, func(st *Status) float64 { return st.Ledger.ThrottledSeconds }},
	{"picket.plugin.memory.usage", "By", sdk.Gauge, func(st *Status) float64 { return float64(st.Ledger.MemoryBytes) }},
	{"picket.plugin.memory.peak", "By", sdk.Gauge, func(st *Status) float64 { return float64(st.Ledger.PeakMemoryBytes) }},
	{"picket.plugin.calls", "{call}", sdk.Counter, func(st *Status) float64 { return float64(st.Ledger.Calls) }},
	{"picket.plugin.errors", "{call}", sdk.Counter, func(st *Status) float64 { return float64(st.Ledger.Errors) }},
	{"picket.plugin.calls.active", "{call}", sdk.Gauge, func(st *Status) float64 { return float64(st.Ledger.InFlight) }},
	{"picket.plugin.records", "{record}", sdk.Counter, func(st *Status) float64 { return float64(st.Ledger.Records) }},
	{"picket.plugin.records.dropped", "{record}", sdk.Counter, func(st *Status) float64 { return float64(st.Ledger.Dropped) }},
	{"picket.plugin.findings", "{finding}", sdk.Counter, func(st *Status) float64 { return float64(st.Ledger.Findings) }},
	{"picket.plugin.io.in", "By", sdk.Counter, func(st *Status) float64 { return float64(st.Ledger.BytesIn) }},
	{"picket.plugin.io.out", "By", sdk.Counter, func(st *Status) float64 { return float64(st.Ledger.BytesOut) }},
	{"picket.plugin.crashes", "{crash}", sdk.Counter, func(st *Status) float64 { return float64(st.Ledger.Crashes) }},
	{"picket.plugin.restarts", "{restart}", sdk.Counter, func(st *Status) float64 { return float64(st.Restarts) }},
	{"picket.plugin.log.dropped", "{line}", sdk.Counter, func(st *Status) float64 { return float64(st.Ledger.LogDropped) }},
	{"picket.plugin.calls.refused", "{call}", sdk.Counter, func(st *Status) float64 { return float64(st.Ledger.RefusedCalls) }},
	{"picket.plugin.latency.p50", "s", sdk.Gauge, func(st *Status) float64 { return st.Ledger.LatencyP50ms / 1000 }},
	{"picket.plugin.latency.p95", "s", sdk.Gauge, func(st *Status) float64 { return st.Ledger.LatencyP95ms / 1000 }},
	{"picket.plugin.latency.p99", "s", sdk.Gauge, func(st *Status) float64 { return st.Ledger.LatencyP99ms / 1000 }},
}
