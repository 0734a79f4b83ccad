package promql

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/sdk"
)

// BenchmarkQueries asks what dashboards ask, of 200 agents with 50 metrics each, one sample a minute. PICKET_PROMQL_SAMPLES
// says how many there are; a day of them is 14.4 million.
//
//	PICKET_PROMQL_SAMPLES=30000000 go test ./core/kernel/promql -run - -bench Queries -benchtime 20x
func BenchmarkQueries(b *testing.B) {
	const agents, metrics = 200, 50
	total := 3_000_000
	if text := os.Getenv("PICKET_PROMQL_SAMPLES"); text != "" {
		var err error
		if total, err = strconv.Atoi(text); err != nil {
			b.Fatal(err)
		}
	}
	telemetry := openTelemetry(b, 2026)
	newest := time.Date(2026, 12, 31, 23, 30, 0, 0, time.UTC)
	minutes := total / (agents * metrics)
	for m := range minutes {
		at := newest.Add(time.Duration(m-minutes+1) * time.Minute)
		var senders sync.WaitGroup // at once, so that the store takes them in one commit
		for a := range agents {
			senders.Go(func() {
				samples := make([]sdk.Sample, metrics)
				for i := range samples {
					samples[i] = sdk.Sample{Metric: fmt.Sprintf("m%02d", i), Type: sdk.Gauge, Time: at, Value: float64((a*31+i*7+m)%1000) / 10}
				}
				if _, err := telemetry.Append(b.Context(), store.SampleBatch{Tenant: "t", Agent: fmt.Sprintf("a%03d", a), Epoch: "e", Seq: uint64(m + 1), Samples: samples}); err != nil {
					b.Error(err)
				}
			})
		}
		senders.Wait()
	}
	if err := telemetry.Tidy(b.Context()); err != nil {
		b.Fatal(err)
	}
	engine := New(Config{Samples: telemetry, Now: func() time.Time { return newest }, Agents: func(context.Context, string) ([]store.AgentName, error) {
		list := make([]store.AgentName, agents)
		for a := range list {
			list[a] = store.AgentName{ID: fmt.Sprintf("a%03d", a), Name: fmt.Sprintf("host-%d", a), Group: fmt.Sprintf("g%d", a%5)}
		}
		return list, nil
	}})
	for _, q := range []struct {
		name, expr string
		over, step time.Duration
	}{
		{"last value of 10,000 series", `{__name__=~"m.*"}`, 0, 0},
		{"one series 1 h", `m07{agent_name="host-7"}`, time.Hour, time.Minute},
		{"one series 24 h", `m07{agent_name="host-7"}`, 24 * time.Hour, 5 * time.Minute},
		{"one metric of 200 agents 24 h, by group", `avg by (group) (m07)`, 24 * time.Hour, 5 * time.Minute},
		{"p95 by group 24 h", `quantile by (group) (0.95, m07)`, 24 * time.Hour, 5 * time.Minute},
		{"average over 24 h of 200 agents", `avg_over_time(m07[24h])`, 0, 0},
	} {
		b.Run(q.name, func(b *testing.B) {
			for b.Loop() {
				var a *Answer
				var err error
				if q.over == 0 {
					a, err = engine.Query(b.Context(), "t", q.expr, newest, Options{})
				} else {
					a, err = engine.QueryRange(b.Context(), "t", q.expr, newest.Add(-q.over), newest, q.step, Options{})
				}
				if err != nil {
					b.Fatal(err)
				}
				a.Close()
			}
		})
	}
	b.Run("export", func(b *testing.B) {
		for b.Loop() {
			var n counter
			if err := engine.Export(b.Context(), "t", &n); err != nil || n == 0 {
				b.Fatal(n, err)
			}
		}
	})
}

type counter int

func (c *counter) Write(p []byte) (int, error) { *c += counter(len(p)); return len(p), nil }
