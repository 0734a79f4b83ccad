package store

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/duckdb/duckdb-go/v2"

	"github.com/picketwatch/picket/sdk"
)

// BenchmarkIngest sends batches of 1,000 samples from 16 agents with 50 series each, acknowledged after the commit.
func BenchmarkIngest(b *testing.B) {
	for _, size := range []int{50, 1000} {
		b.Run(fmt.Sprintf("batch=%d", size), func(b *testing.B) { benchIngest(b, size) })
	}
}

func benchIngest(b *testing.B, size int) {
	b.Helper()
	const agents = 16
	tel, err := OpenTelemetry(b.Context(), TelemetryConfig{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer tel.Close()
	now := time.Now()
	before := cpu(b)
	b.ResetTimer()
	done := make(chan error, agents)
	for a := range agents {
		go func() {
			for n := range b.N/agents + 1 {
				batch := SampleBatch{Tenant: "default", Agent: fmt.Sprint("a", a), Epoch: "e", Seq: uint64(n + 1)}
				for i := range size {
					batch.Samples = append(batch.Samples, sdk.Sample{Metric: fmt.Sprint("system.metric.", i%50/10), Unit: "By", Type: sdk.Gauge,
						Labels: map[string]string{"device": fmt.Sprint("sd", i%10), "direction": "read"},
						Time:   now.Add(-time.Duration(size-i) * time.Millisecond), Value: float64(n * i)})
				}
				if _, err := tel.Append(b.Context(), batch); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range agents {
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
	rows := float64(tel.Stats().Rows)
	b.ReportMetric(rows/b.Elapsed().Seconds(), "rows/s")
	b.ReportMetric((cpu(b)-before)/rows*1e6, "cpu-µs/row") // with making the samples; sturdier than rows/s on a busy machine
	b.ReportMetric(float64(tel.Stats().Commits), "commits")
}

// cpu is what this process has used, in seconds.
func cpu(b *testing.B) float64 {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}

// BenchmarkBareAppender is the floor for BenchmarkIngest: the same rows by DuckDB's appender alone, one transaction for
// each 10,000, with no catalogue, no batches, no acknowledgement.
func BenchmarkBareAppender(b *testing.B) {
	const commit = 10_000
	connector, err := duckdb.NewConnector("", nil)
	if err != nil {
		b.Fatal(err)
	}
	defer connector.Close()
	db := sql.OpenDB(connector)
	defer db.Close()
	for _, stmt := range []string{
		"ATTACH '" + filepath.Join(b.TempDir(), "bare.duckdb") + "' AS bare",
		"CREATE TABLE bare.samples (ts TIMESTAMP, series_id UINTEGER, value DOUBLE)",
	} {
		if _, err := db.ExecContext(b.Context(), stmt); err != nil {
			b.Fatal(err)
		}
	}
	conn, err := connector.Connect(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	now := time.Now().UTC()
	before := cpu(b)
	b.ResetTimer()
	rows := 0
	for range b.N {
		appender, err := duckdb.NewAppender(conn, "bare", "main", "samples")
		if err != nil {
			b.Fatal(err)
		}
		for i := range commit {
			if err := appender.AppendRow(now.Add(time.Duration(rows)*time.Millisecond), uint32(i%800), float64(i)); err != nil {
				b.Fatal(err)
			}
			rows++
		}
		if err := appender.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(rows)/b.Elapsed().Seconds(), "rows/s")
	b.ReportMetric((cpu(b)-before)/float64(rows)*1e6, "cpu-µs/row")
}
