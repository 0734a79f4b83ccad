package core

import (
	"context"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"reflect"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"golang.org/x/sys/unix"

	"github.com/picketwatch/picket/core/kernel/agents"
	"github.com/picketwatch/picket/core/kernel/api"
	"github.com/picketwatch/picket/core/kernel/config"
	"github.com/picketwatch/picket/core/kernel/pluginhost"
	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/sdk"
)

// ownEvery is how often the server measures itself.
const ownEvery = 30 * time.Second

// storageKinds are the folders of the data folder that grow, by what lies in them.
var storageKinds = []struct{ kind, path string }{
	{"samples", "telemetry"}, {"flows", "flows"}, {"captures", "captures"}, {"packets", "evidence"}, {"backups", backupFolder}, {"plugins", "plugins"}, {"control", "control.db"}, {"control", "control.db-wal"},
}

// self is what the server knows of itself.
type self struct {
	core    *Core
	figures *prometheus.Registry
	began   time.Time
	heard   time.Time // when any agent was heard last before that
	seq     uint64
	before  map[float64]uint64           // requests by how long they took, at the last look
	silent  map[string]store.SilentAgent // that were not heard, at the last look
	skewed  map[string]store.SkewedAgent // whose clock was wrong, at the last look
}

// System says how the server is.
func (s *self) System(ctx context.Context) (api.System, error) {
	c := s.core
	out := api.System{Version: config.Version, Started: s.began, Source: store.PushedBy(store.OwnSender), Storage: []api.Stored{}, Parts: []api.SystemPart{}}
	out.DiskSize, out.DiskFree = diskOf(c.folder.root)
	for _, k := range s.storage() {
		if k.Bytes > 0 {
			out.Storage = append(out.Storage, k)
		}
	}
	states, err := s.agentStates(ctx)
	if err != nil {
		return out, err
	}
	out.Agents = states
	part := func(name string, good bool, problem, todo string) {
		p := api.SystemPart{Name: name, OK: good}
		if !good {
			p.Problem, p.Todo = problem, todo
		}
		out.Parts = append(out.Parts, p)
	}
	ready := c.ready(ctx)
	for _, name := range []string{"control", "telemetry", "flows"} {
		err := ready[name]
		part(name, err == nil, fmt.Sprint(err), "look at the server's log; if the disk is full, free some space; if a file is damaged, restore a backup with `picketd restore`")
	}
	part("disk", out.DiskSize == 0 || out.DiskFree > max(out.DiskSize/20, 1<<30), fmt.Sprintf("%d MiB are free", out.DiskFree>>20), "shorten what is kept under Settings, delete captures or backups, or give the data folder a larger disk")
	stats := c.telemetry.Stats()
	part("ingest", stats.QueuedRows < 150_000, fmt.Sprintf("%d samples wait to be written", stats.QueuedRows), "the disk or processor is too slow for what comes in: agents are told to wait and nothing acknowledged is lost; collect less often or give the server more")
	failing := 0
	for _, p := range c.host.Instances() {
		if p.State != pluginhost.Ready && p.State != pluginhost.Starting {
			failing++
		}
	}
	part("plugins", failing == 0, fmt.Sprintf("%d instances on the server do not work", failing), "open Plugins: each says why, and can be restarted there")
	_, failed, err := c.backups.List()
	part("backups", err == nil && failed == "", "the last backup failed: "+failed, "mostly the disk is full; make one by hand under Settings when there is space")
	return out, nil
}

func (s *self) agentStates(ctx context.Context) (map[string]int, error) {
	c, settings := s.core, s.core.cfg.Settings.Agents
	now := c.cfg.Now()
	all, online, err := c.control.CountAgents(ctx, c.tenant, now.Add(-time.Duration(settings.LateAfter)))
	if err != nil {
		return nil, err
	}
	_, heard, err := c.control.CountAgents(ctx, c.tenant, now.Add(-time.Duration(settings.LostAfter)))
	return map[string]int{agents.Online: online, agents.Late: heard - online, agents.Offline: all - heard}, err
}

// storage is how much each kind takes. What goes away meanwhile does not count.
func (s *self) storage() (list []api.Stored) {
	for _, k := range storageKinds {
		var size int64
		_ = filepath.WalkDir(s.core.folder.path(k.path), func(_ string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return nil
			}
			if info, err := d.Info(); err == nil {
				size += info.Size()
			}
			return nil
		})
		if n := len(list); n > 0 && list[n-1].Kind == k.kind {
			list[n-1].Bytes += size
			continue
		}
		list = append(list, api.Stored{Kind: k.kind, Bytes: size})
	}
	return list
}

func diskOf(dir string) (size, free int64) {
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) != nil {
		return 0, 0
	}
	return int64(st.Blocks) * st.Bsize, int64(st.Bavail) * st.Bsize
}

// File are the settings that only the configuration file can change, as they are now.
func (s *self) File() []api.FileSetting {
	var list []api.FileSetting
	describe(&list, "", reflect.ValueOf(s.core.cfg.Settings), reflect.ValueOf(config.Default()))
	return list
}

func describe(list *[]api.FileSetting, prefix string, now, preset reflect.Value) {
	for i := range now.NumField() {
		key := prefix + now.Type().Field(i).Tag.Get("yaml")
		v, d := now.Field(i), preset.Field(i)
		if v.Kind() == reflect.Struct {
			describe(list, key+".", v, d)
			continue
		}
		*list = append(*list, api.FileSetting{Key: key, Value: settingText(v), Default: reflect.DeepEqual(v.Interface(), d.Interface())})
	}
}

func settingText(v reflect.Value) string {
	switch x := v.Interface().(type) {
	case config.Duration:
		if x == 0 {
			return ""
		}
		if day := config.Duration(24 * time.Hour); x%day == 0 {
			return fmt.Sprintf("%dd", x/day)
		}
		return time.Duration(x).String()
	case config.Bytes:
		return fmt.Sprintf("%d MiB", int64(x)>>20)
	case []string:
		return strings.Join(x, ", ")
	}
	return fmt.Sprint(v.Interface())
}

// run measures the server itself, so that its figures are charts, and rules can watch them.
func (s *self) run(ctx context.Context) {
	tick := time.NewTicker(ownEvery)
	defer tick.Stop()
	for {
		if err := s.measure(ctx); err != nil && ctx.Err() == nil {
			s.core.cfg.Log.Warn("own figures", "error", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (s *self) measure(ctx context.Context) error {
	c, at := s.core, s.core.cfg.Now()
	var list []sdk.Sample
	add := func(kind sdk.MetricType, name, unit string, value float64, labels map[string]string) {
		if !math.IsNaN(value) && !math.IsInf(value, 0) {
			list = append(list, sdk.Sample{Metric: "picket." + name, Unit: unit, Type: kind, Labels: labels, Time: at, Value: value})
		}
	}
	gauge := func(name, unit string, value float64) { add(sdk.Gauge, name, unit, value, nil) }
	families, err := s.figures.Gather()
	if err != nil {
		return err
	}
	for _, f := range families {
		switch f.GetName() {
		case "picket_http_request_duration_seconds":
			for q, v := range s.quantiles(f.GetMetric()) {
				add(sdk.Gauge, "http.duration", "s", v, map[string]string{"quantile": q})
			}
		case "picket_http_requests_total":
			for class, n := range byStatus(f.GetMetric()) {
				add(sdk.Counter, "http.requests", "{request}", n, map[string]string{"status": class})
			}
		case "process_cpu_seconds_total":
			add(sdk.Counter, "process.cpu", "s", f.GetMetric()[0].GetCounter().GetValue(), nil)
		case "process_resident_memory_bytes":
			gauge("process.memory", "By", f.GetMetric()[0].GetGauge().GetValue())
		}
	}
	stats := c.telemetry.Stats()
	for result, n := range map[string]uint64{"stored": stats.Rows, "duplicate": stats.Duplicates, "refused": stats.TooOld + stats.TooNew + stats.Invalid, "busy": stats.Busy} {
		add(sdk.Counter, "ingest.samples", "{sample}", float64(n), map[string]string{"result": result})
	}
	gauge("ingest.queue", "{sample}", float64(stats.QueuedRows))
	gauge("series", "{series}", float64(stats.Series))
	gauge("captures.waiting", "{capture}", float64(c.traffic.Waiting()))
	size, free := diskOf(c.folder.root)
	gauge("disk.size", "By", float64(size))
	gauge("disk.free", "By", float64(free))
	for _, k := range s.storage() {
		add(sdk.Gauge, "storage.size", "By", float64(k.Bytes), map[string]string{"kind": k.Kind})
	}
	states, err := s.agentStates(ctx)
	if err != nil {
		return err
	}
	for state, n := range states {
		add(sdk.Gauge, "agents", "{agent}", float64(n), map[string]string{"state": state})
	}
	for _, p := range c.host.Instances() {
		labels := map[string]string{"instance": p.Instance, "plugin": p.Plugin}
		add(sdk.Counter, "plugin.cpu", "s", p.Ledger.CPUSeconds, labels)
		add(sdk.Gauge, "plugin.memory", "By", float64(p.Ledger.MemoryBytes), labels)
		add(sdk.Counter, "plugin.dropped", "{record}", float64(p.Ledger.Dropped), labels)
	}
	s.seq++
	if _, err = c.telemetry.Append(ctx, store.SampleBatch{Tenant: c.tenant, Agent: store.PushedBy(store.OwnSender), Epoch: s.began.UTC().Format(time.RFC3339Nano), Seq: s.seq, Samples: list}); err != nil {
		return err
	}
	return s.measureAgents(ctx, at)
}

func byStatus(metrics []*dto.Metric) map[string]float64 {
	out := map[string]float64{}
	for _, m := range metrics {
		for _, l := range m.GetLabel() {
			if l.GetName() == "status" && l.GetValue() != "" {
				out[l.GetValue()[:1]+"xx"] += m.GetCounter().GetValue()
			}
		}
	}
	return out
}

// quantiles are how long requests took since the last look.
func (s *self) quantiles(metrics []*dto.Metric) map[string]float64 {
	var bounds []float64
	now := map[float64]uint64{}
	for _, m := range metrics {
		for _, b := range m.GetHistogram().GetBucket() {
			if _, known := now[b.GetUpperBound()]; !known {
				bounds = append(bounds, b.GetUpperBound())
			}
			now[b.GetUpperBound()] += b.GetCumulativeCount()
		}
	}
	counts := make([]uint64, len(bounds))
	for i, b := range bounds {
		counts[i] = now[b] - min(now[b], s.before[b])
	}
	s.before = now
	out := map[string]float64{}
	if len(counts) == 0 || counts[len(counts)-1] == 0 {
		return out
	}
	out["0.5"], out["0.95"] = within(bounds, counts, 0.5), within(bounds, counts, 0.95)
	return out
}

// within is the value that a part of what was counted lies below, by the bucket that it falls into.
func within(bounds []float64, cumulative []uint64, part float64) float64 {
	want := part * float64(cumulative[len(cumulative)-1])
	low, below := 0.0, 0.0
	for i, n := range cumulative {
		if float64(n) >= want {
			if float64(n) == below {
				return bounds[i]
			}
			return low + (bounds[i]-low)*(want-below)/(float64(n)-below)
		}
		low, below = bounds[i], float64(n)
	}
	return bounds[len(bounds)-1]
}
