package ingest

import (
	"slices"
	"testing"
	"time"

	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	"google.golang.org/protobuf/proto"
)

// bounded fails when a body became more than it may.
func bounded(t *testing.T, b *Batch, err error) {
	t.Helper()
	switch {
	case err != nil && b != nil:
		t.Errorf("a batch and %v", err)
	case err == nil && (len(b.Samples) > MaxSamples || len(b.Notes) > maxNotes || len(b.Refused.Told) > maxTold):
		t.Errorf("%d samples, %d notes, %d reasons", len(b.Samples), len(b.Notes), len(b.Refused.Told))
	}
}

func FuzzRemoteWrite(f *testing.F) {
	up := slices.Concat(bytesField(nil, 1, label("__name__", "up")), bytesField(nil, 1, label("job", "a")))
	f.Add(bytesField(nil, 1, series(up, bytesField(nil, 2, sample(1_700_000_000_000, 1)))))
	f.Add(bytesField(nil, 1, series(bytesField(nil, 2, sample(-1, 1)), up, bytesField(nil, 4, nil))))
	f.Add(bytesField(nil, 3, slices.Concat([]byte{8, 1}, bytesField(nil, 2, []byte("x")))))
	f.Fuzz(func(t *testing.T, body []byte) {
		points := 0
		_, err := ReadRemoteWrite(body, func(s *Series) error {
			points += len(s.Points)
			x, err := s.Sample()
			if err == nil && (x.Metric == "" || len(x.Labels) > maxLabels) {
				t.Errorf("%+v", x)
			}
			return nil
		})
		if points > MaxSamples && err == nil {
			t.Errorf("%d points", points)
		}
	})
}

func FuzzInflux(f *testing.F) {
	f.Add([]byte(`weather,location=us\ midwest temperature=82,ok=t,note="a \"b\"" 1465839830100400200` + "\ncpu value=1i\n#x\ncpu a=\"open\n"))
	f.Fuzz(func(t *testing.T, body []byte) {
		b, err := Influx{Now: time.Unix(1, 0)}.Read(body)
		bounded(t, b, err)
	})
}

func FuzzJSON(f *testing.F) {
	f.Add([]byte(`{"samples":[{"metric":"a","labels":{"x":"y"},"value":1,"time":"2026-01-02T03:04:05Z"},{"metric":7}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		b, err := ReadJSON(body, time.Unix(1, 0))
		if err == nil {
			bounded(t, b, err)
		}
	})
}

func FuzzOTLP(f *testing.F) {
	sum := 1.0
	raw, err := proto.Marshal(otlpBody(
		&metricspb.Metric{Name: "n", Data: &metricspb.Metric_Sum{Sum: &metricspb.Sum{IsMonotonic: true, AggregationTemporality: delta, DataPoints: []*metricspb.NumberDataPoint{number(1, 1, attribute("a", "b"))}}}},
		&metricspb.Metric{Name: "h", Data: &metricspb.Metric_Histogram{Histogram: &metricspb.Histogram{AggregationTemporality: cumulative, DataPoints: []*metricspb.HistogramDataPoint{
			{TimeUnixNano: 1, Sum: &sum, ExplicitBounds: []float64{1}, BucketCounts: []uint64{1, 2}}}}}}))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw, false)
	f.Add([]byte(`{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"g","gauge":{"dataPoints":[{"timeUnixNano":"5","asInt":"7"}]}}]}]}]}`), true)
	f.Fuzz(func(t *testing.T, body []byte, asJSON bool) {
		if _, err := WeighOTLP(body, asJSON); err != nil {
			return
		}
		turn := NewDeltas().Begin("t", "s", time.Unix(1, 0))
		b, err := OTLP{Turn: turn}.Read(body, asJSON)
		turn.Done(err == nil)
		bounded(t, b, err)
	})
}
