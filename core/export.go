package core

import (
	"context"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/picketwatch/picket/core/services/export"
	"github.com/picketwatch/picket/sdk"
)

// openExport makes the queues of the sinks before the first sample can come.
func (c *Core) openExport(ctx context.Context) {
	c.export = export.Open(ctx, export.Config{Dir: c.folder.path("export"), Tenant: c.tenant, Sinks: c.sinks, Tap: c.telemetry.SetTap,
		Names: c.namesOfAgents, Now: c.cfg.Now, Log: c.cfg.Log,
		Notifier: func(instance string) export.Notifier {
			if n, _ := c.notifier(instance); n != nil {
				return n
			}
			return nil
		}})
}

func (c *Core) sinks(ctx context.Context) ([]export.Sink, error) {
	list, err := c.catalogue.Sinks(ctx)
	out := make([]export.Sink, len(list))
	for i, s := range list {
		out[i] = export.Sink{Instance: s.Instance, Wants: s.Grants.Metric}
	}
	return out, err
}

// tellers are the notifiers that are told of alerts: all but the sinks.
func (c *Core) tellers(ctx context.Context) ([]string, error) {
	list, err := c.catalogue.Enabled(ctx, sdk.KindNotifier)
	if err != nil || len(list) == 0 {
		return list, err
	}
	sinks, err := c.sinks(ctx)
	return slices.DeleteFunc(list, func(instance string) bool {
		return slices.ContainsFunc(sinks, func(s export.Sink) bool { return s.Instance == instance })
	}), err
}

func (c *Core) namesOfAgents(ctx context.Context) (map[string]string, error) {
	list, err := c.control.AgentNames(ctx, c.tenant)
	names := make(map[string]string, len(list))
	for _, a := range list {
		names[a.ID] = a.Name
	}
	return names, err
}

// exportFigures are the queues of the sinks.
type exportFigures struct{ e *export.Service }

var (
	exportedDesc    = prometheus.NewDesc("picket_export_samples_total", "Samples for sinks by what became of them.", []string{"instance", "result"}, nil)
	exportDepthDesc = prometheus.NewDesc("picket_export_queued_batches", "Batches of samples that wait for a sink.", []string{"instance"}, nil)
	exportBytesDesc = prometheus.NewDesc("picket_export_queue_bytes", "Size of the queue of a sink on disk.", []string{"instance"}, nil)
)

func (f exportFigures) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{exportedDesc, exportDepthDesc, exportBytesDesc} {
		ch <- d
	}
}

func (f exportFigures) Collect(ch chan<- prometheus.Metric) {
	for _, q := range f.e.Figures() {
		ch <- prometheus.MustNewConstMetric(exportedDesc, prometheus.CounterValue, float64(q.Sent), q.Instance, "sent")
		ch <- prometheus.MustNewConstMetric(exportedDesc, prometheus.CounterValue, float64(q.Dropped), q.Instance, "dropped")
		ch <- prometheus.MustNewConstMetric(exportDepthDesc, prometheus.GaugeValue, float64(q.Batches), q.Instance)
		ch <- prometheus.MustNewConstMetric(exportBytesDesc, prometheus.GaugeValue, float64(q.Bytes), q.Instance)
	}
}
