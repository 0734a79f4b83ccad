package core

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/picketwatch/picket/core/kernel/config"
	"github.com/picketwatch/picket/core/kernel/pluginhost"
	"github.com/picketwatch/picket/core/kernel/store"
)

// metrics registers what the server says of itself.
func (c *Core) metrics(r *prometheus.Registry) *prometheus.Registry {
	build := prometheus.NewGauge(prometheus.GaugeOpts{Name: "picket_build_info", Help: "1; the labels say what runs.",
		ConstLabels: prometheus.Labels{"version": config.Version, "trust": c.trust()}})
	build.Set(1)
	r.MustRegister(build, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		telemetryFigures{c.telemetry}, pluginFigures{c.host}, exportFigures{c.export},
		gauge("picket_captures_waiting", "Captures that wait to be analysed.", func() float64 { return float64(c.traffic.Waiting()) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "picket_flow_names_refused_total",
			Help: "Flows of agents without the name of their protocol, because the agent brought too many names."},
			func() float64 { return float64(c.flows.RefusedNames()) }),
		gauge("picket_live_clients", "Open live channels.", func() float64 { return float64(c.live.Clients()) }),
	)
	return r
}

func gauge(name, help string, value func() float64) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value)
}

// telemetryFigures reads the store's counters when somebody scrapes.
type telemetryFigures struct{ t *store.Telemetry }

var (
	rowsDesc    = prometheus.NewDesc("picket_ingest_rows_total", "Samples by what became of them.", []string{"result"}, nil)
	queuedDesc  = prometheus.NewDesc("picket_ingest_queued_rows", "Samples that wait for the writer.", nil, nil)
	seriesDesc  = prometheus.NewDesc("picket_series", "Series that are known.", nil, nil)
	segmentDesc = prometheus.NewDesc("picket_telemetry_segments", "Files of the telemetry store.", nil, nil)
	bytesDesc   = prometheus.NewDesc("picket_telemetry_bytes", "Size of the telemetry store on disk.", nil, nil)
	commitDesc  = prometheus.NewDesc("picket_telemetry_commits_total", "Commits of the telemetry store.", []string{"result"}, nil)
)

func (f telemetryFigures) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{rowsDesc, queuedDesc, seriesDesc, segmentDesc, bytesDesc, commitDesc} {
		ch <- d
	}
}

func (f telemetryFigures) Collect(ch chan<- prometheus.Metric) {
	s := f.t.Stats()
	for result, n := range map[string]uint64{"stored": s.Rows, "duplicate": s.Duplicates, "too_old": s.TooOld, "too_new": s.TooNew,
		"invalid": s.Invalid, "busy": s.Busy} {
		ch <- prometheus.MustNewConstMetric(rowsDesc, prometheus.CounterValue, float64(n), result)
	}
	ch <- prometheus.MustNewConstMetric(commitDesc, prometheus.CounterValue, float64(s.Commits), "ok")
	ch <- prometheus.MustNewConstMetric(commitDesc, prometheus.CounterValue, float64(s.Failures), "failed")
	ch <- prometheus.MustNewConstMetric(queuedDesc, prometheus.GaugeValue, float64(s.QueuedRows))
	ch <- prometheus.MustNewConstMetric(seriesDesc, prometheus.GaugeValue, float64(s.Series))
	ch <- prometheus.MustNewConstMetric(segmentDesc, prometheus.GaugeValue, float64(s.Segments))
	ch <- prometheus.MustNewConstMetric(bytesDesc, prometheus.GaugeValue, float64(s.Bytes))
}

// pluginFigures are the ledgers of the server's own instances.
type pluginFigures struct{ host *pluginhost.Host }

// figure is one column of the ledger.
type figure struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	of   func(pluginhost.Status) float64
}

func pluginFigure(name, help string, kind prometheus.ValueType, of func(pluginhost.Status) float64) figure {
	return figure{prometheus.NewDesc("picket_plugin_"+name, help, []string{"instance", "plugin", "runtime", "version"}, nil), kind, of}
}

var ledger = []figure{
	pluginFigure("ready", "1 while the instance works.", prometheus.GaugeValue, func(s pluginhost.Status) float64 {
		if s.State == pluginhost.Ready {
			return 1
		}
		return 0
	}),
	pluginFigure("cpu_seconds_total", "CPU time.", prometheus.CounterValue, func(s pluginhost.Status) float64 { return s.Ledger.CPUSeconds }),
	pluginFigure("memory_bytes", "Resident memory.", prometheus.GaugeValue, func(s pluginhost.Status) float64 { return float64(s.Ledger.MemoryBytes) }),
	pluginFigure("throttled_seconds_total", "Time that it waited for its share of the processor.", prometheus.CounterValue, func(s pluginhost.Status) float64 { return s.Ledger.ThrottledSeconds }),
	pluginFigure("memory_peak_bytes", "The most resident memory of any of its processes.", prometheus.GaugeValue, func(s pluginhost.Status) float64 { return float64(s.Ledger.PeakMemoryBytes) }),
	pluginFigure("calls_active", "Calls and batches that are not answered yet.", prometheus.GaugeValue, func(s pluginhost.Status) float64 { return float64(s.Ledger.InFlight) }),
	pluginFigure("records_dropped_total", "Records over its limit.", prometheus.CounterValue, func(s pluginhost.Status) float64 { return float64(s.Ledger.Dropped) }),
	pluginFigure("in_bytes_total", "Bytes of the records that it was given.", prometheus.CounterValue, func(s pluginhost.Status) float64 { return float64(s.Ledger.BytesIn) }),
	pluginFigure("out_bytes_total", "Bytes of the records that it gave, about.", prometheus.CounterValue, func(s pluginhost.Status) float64 { return float64(s.Ledger.BytesOut) }),
	pluginFigure("replayed_total", "Batches that were given again after a crash.", prometheus.CounterValue, func(s pluginhost.Status) float64 { return float64(s.Ledger.Replayed) }),
	pluginFigure("log_dropped_total", "Log lines over the rate.", prometheus.CounterValue, func(s pluginhost.Status) float64 { return float64(s.Ledger.LogDropped) }),
	pluginFigure("latency_p95_seconds", "95th percentile of the last calls.", prometheus.GaugeValue, func(s pluginhost.Status) float64 { return s.Ledger.LatencyP95ms / 1000 }),
	pluginFigure("latency_p99_seconds", "99th percentile of the last calls.", prometheus.GaugeValue, func(s pluginhost.Status) float64 { return s.Ledger.LatencyP99ms / 1000 }),
	pluginFigure("calls_total", "Calls.", prometheus.CounterValue, func(s pluginhost.Status) float64 { return float64(s.Ledger.Calls) }),
	pluginFigure("errors_total", "Calls that failed.", prometheus.CounterValue, func(s pluginhost.Status) float64 { return float64(s.Ledger.Errors) }),
	pluginFigure("records_total", "Records that passed.", prometheus.CounterValue, func(s pluginhost.Status) float64 { return float64(s.Ledger.Records) }),
	pluginFigure("findings_total", "Findings.", prometheus.CounterValue, func(s pluginhost.Status) float64 { return float64(s.Ledger.Findings) }),
	pluginFigure("crashes_total", "Crashes.", prometheus.CounterValue, func(s pluginhost.Status) float64 { return float64(s.Ledger.Crashes) }),
	pluginFigure("restarts_total", "Starts after the first.", prometheus.CounterValue, func(s pluginhost.Status) float64 { return float64(s.Restarts) }),
}

func (f pluginFigures) Describe(ch chan<- *prometheus.Desc) {
	for _, l := range ledger {
		ch <- l.desc
	}
}

func (f pluginFigures) Collect(ch chan<- prometheus.Metric) {
	for _, s := range f.host.Instances() {
		for _, l := range ledger {
			ch <- prometheus.MustNewConstMetric(l.desc, l.kind, l.of(s), s.Instance, s.Plugin, s.Runtime, s.Version)
		}
	}
}
