package promql

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/sdk"
)

// BenchmarkQueries asks what dashboards ask, of 200 agents with 50 metrics each, one sample a minute. PICKET_PROMQL_SAMPLES
// says how many there are; a day of them is 14.4 million. They lie in order of arrival; with PICKET_BENCH_DIR it asks those that
// BenchmarkLife of the store left there, which lie as they do on a server.
//
//	PICKET_PROMQL_SAMPLES=30000000 go test ./core/kernel/promql -run - -bench Queries -benchtime 20x
func BenchmarkQueries(b *testing.B) {
	telemetry, newest, tenant := benchSamples(b)
	engine := New(Config{Samples: telemetry, Now: func() time.Time { return newest }, Agents: func(context.Context, string) ([]store.AgentName, error) {
		list := make([]store.AgentName, benchAgents)
		for a := range list {
			list[a] = store.AgentName{ID: fmt.Sprint("a", a), Name: fmt.Sprint("host-", a), Group: fmt.Sprint("g", a%5)}
		}
		return list, nil
	}})
	for _, q := range []struct {
		name, expr string
		over, step time.Duration
	}{
		{"last value of 10,000 series", `{__name__=~"m.*"}`, 0, 0},
		{"one series 1 h", `m7{agent_name="host-7"}`, time.Hour, time.Minute},
		{"one series 24 h", `m7{agent_name="host-7"}`, 24 * time.Hour, 5 * time.Minute},
		{"one metric of 200 agents 24 h, by group", `avg by (group) (m7)`, 24 * time.Hour, 5 * time.Minute},
		{"p95 by group 24 h", `quantile by (group) (0.95, m7)`, 24 * time.Hour, 5 * time.Minute},
		{"average over 24 h of 200 agents", `avg_over_time(m7[24h])`, 0, 0},
	} {
		b.Run(q.name, func(b *testing.B) {
			used := cpu(b)
			for b.Loop() {
				var a *Answer
				var err error
				if q.over == 0 {
					a, err = engine.Query(b.Context(), tenant, q.expr, newest, Options{})
				} else {
					a, err = engine.QueryRange(b.Context(), tenant, q.expr, newest.Add(-q.over), newest, q.step, Options{})
				}
				if err != nil {
					b.Fatal(err)
				}
				a.Close()
			}
			b.ReportMetric((cpu(b)-used).Seconds()*1000/float64(b.N), "cpu-ms/op") // sturdier than ns/op on a busy machine
		})
	}
	b.Run("export", func(b *testing.B) {
		for b.Loop() {
			var n counter
			if err := engine.Export(b.Context(), tenant, &n); err != nil || n == 0 {
				b.Fatal(n, err)
			}
		}
	})
}

const benchAgents, benchMetrics = 200, 50

func benchSamples(b *testing.B) (telemetry *store.Telemetry, newest time.Time, tenant string) {
	b.Helper()
	if dir := os.Getenv("PICKET_BENCH_DIR"); dir != "" {
		newest = time.Date(2026, 11, 4, 12, 0, 0, 0, time.UTC)
		telemetry, err := store.OpenTelemetry(b.Context(), store.TelemetryConfig{Dir: dir, Now: func() time.Time { return newest }})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = telemetry.Close() })
		return telemetry, newest, "default"
	}
	total := 3_000_000
	if text := os.Getenv("PICKET_PROMQL_SAMPLES"); text != "" {
		var err error
		if total, err = strconv.Atoi(text); err != nil {
			b.Fatal(err)
		}
	}
	telemetry, newest = openTelemetry(b, 2026), time.Date(2026, 12, 31, 23, 30, 0, 0, time.UTC)
	minutes := total / (benchAgents * benchMetrics)
	for m := range minutes {
		at := newest.Add(time.Duration(m-minutes+1) * time.Minute)
		var senders sync.WaitGroup // at once, so that the store takes them in one commit
		for a := range benchAgents {
			senders.Go(func() {
				samples := make([]sdk.Sample, benchMetrics)
				for i := range samples {
					samples[i] = sdk.Sample{Metric: fmt.Sprint("m", i), Type: sdk.Gauge, Time: at, Value: float64((a*31+i*7+m)%1000) / 10}
				}
				if _, err := telemetry.Append(b.Context(), store.SampleBatch{Tenant: "t", Agent: fmt.Sprint("a", a), Epoch: "e", Seq: uint64(m + 1), Samples: samples}); err != nil {
					b.Error(err)
				}
			})
		}
		senders.Wait()
	}
	return telemetry, newest, "t"
}

// cpu is what this process has used.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

type counter int

func (c *counter) Write(p []byte) (int, error) { *c += counter(len(p)); return len(p), nil }
