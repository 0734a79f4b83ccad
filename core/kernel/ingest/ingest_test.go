package ingest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/picketwatch/picket/sdk"
)

func bytesField(b []byte, num protowire.Number, v []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, num, protowire.BytesType), v)
}

func label(name, value string) []byte {
	return bytesField(bytesField(nil, 1, []byte(name)), 2, []byte(value))
}

func sample(millis int64, value float64) []byte {
	b := protowire.AppendFixed64(protowire.AppendTag(nil, 1, protowire.Fixed64Type), math.Float64bits(value))
	return protowire.AppendVarint(protowire.AppendTag(b, 2, protowire.VarintType), uint64(millis))
}

func series(parts ...[]byte) []byte { return slices.Concat(parts...) }

func TestRemoteWrite(t *testing.T) {
	stale := binary.LittleEndian.Uint64(sample(0, math.Float64frombits(0x7ff0000000000002))[1:])
	up := slices.Concat(bytesField(nil, 1, label("__name__", "up")), bytesField(nil, 1, label("job", "a")), bytesField(nil, 1, label("empty", "")))
	late := bytesField(nil, 1, label("zone", "b"))
	body := slices.Concat(
		bytesField(nil, 1, series(up, bytesField(nil, 2, sample(1_700_000_000_000, 1)), bytesField(nil, 2, sample(1, math.Float64frombits(stale))))),
		bytesField(nil, 1, series(up, bytesField(nil, 2, sample(-5, 2)), late)), // labels on both sides of a sample
		bytesField(nil, 1, series(bytesField(nil, 1, label("__name__", "x_total")), bytesField(nil, 4, nil))),
		bytesField(nil, 3, slices.Concat([]byte{8, 1}, bytesField(nil, 2, []byte("x")), bytesField(nil, 4, []byte("How many.")), bytesField(nil, 5, []byte("s")))))
	var got []string
	var keys []string
	notes, err := ReadRemoteWrite(body, func(s *Series) error {
		x, err := s.Sample()
		got = append(got, fmt.Sprintf("%s %s %v %d %d %v", x.Metric, x.Type, x.Labels, len(s.Points), s.Histograms, err))
		keys = append(keys, string(s.Key))
		if len(got) == 1 && (s.Points[0] != Point{1_700_000_000_000, 1} || math.Float64bits(s.Points[1].Value) != 0x7ff0000000000002 || s.Points[1].Millis != 1) {
			t.Errorf("points %v", s.Points)
		}
		return nil
	})
	want := []string{"up gauge map[job:a] 2 0 <nil>", "up gauge map[job:a zone:b] 1 0 <nil>", "x_total counter map[] 0 1 <nil>"}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v\n%q", err, got)
	}
	if keys[0] != string(up) || keys[0] == keys[1] || keys[1] == keys[2] {
		t.Errorf("keys %q", keys)
	}
	if len(notes) != 1 || notes[0] != (Note{"x", "counter", "s", "How many."}) {
		t.Errorf("notes %+v", notes)
	}
}

func TestRemoteWriteRefuses(t *testing.T) {
	many := make([][]byte, 70)
	for i := range many {
		many[i] = bytesField(nil, 1, label(fmt.Sprint("l", i), "v"))
	}
	for name, labels := range map[string][]byte{
		"without a name":      bytesField(nil, 1, label("a", "b")),
		"two names":           slices.Concat(bytesField(nil, 1, label("__name__", "a")), bytesField(nil, 1, label("__name__", "b"))),
		`the label "a" twice`: slices.Concat(bytesField(nil, 1, label("a", "b")), bytesField(nil, 1, label("a", "c"))),
		"no UTF-8":            bytesField(nil, 1, label("a", "\xff")),
		"more than 64 labels": slices.Concat(many...),
	} {
		_, err := ReadRemoteWrite(bytesField(nil, 1, labels), func(s *Series) error { _, err := s.Sample(); return err })
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	short := bytesField(nil, 2, []byte{})
	if _, err := ReadRemoteWrite(bytesField(nil, 1, short), func(*Series) error { return nil }); err == nil {
		t.Error("a sample without a time was taken")
	}
	lots := bytesField(nil, 1, slices.Repeat(bytesField(nil, 2, sample(1, 1)), MaxSamples+1))
	if _, err := ReadRemoteWrite(lots, func(*Series) error { return nil }); !errors.Is(err, ErrTooMany) {
		t.Errorf("too many: %v", err)
	}
}

func TestInflux(t *testing.T) {
	now := time.Unix(1000, 0)
	body := "# a comment\n\n" +
		`weather,location=us\ midwest,empty=,a\=b=c\,d temperature=82,humid=71i,count=3u,ok=true,off=F,note="a \"text\", = of` + "\n" + `two lines" 1465839830100400200` + "\r\n" +
		"cpu value=1.5\n" +
		"cpu value=\nno fields\n,x=1 a=2\ncpu a=0x1p4 1\ncpu a=1 soon\ncpu a=1 1 2\ncpu a=NaN\ncpu a=1_0\ncpu,x a=1\ncpu a=\"open\nlast f=-2e3 7"
	b, err := Influx{Now: now, Labels: map[string]string{"db": "d"}}.Read([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range b.Samples {
		got = append(got, fmt.Sprintf("%s %v %v %d", s.Metric, s.Value, s.Labels, s.Time.UnixNano()))
	}
	l := "map[a=b:c,d db:d location:us midwest] 1465839830100400200"
	want := []string{"weather_temperature 82 " + l, "weather_humid 71 " + l, "weather_count 3 " + l, "weather_ok 1 " + l, "weather_off 0 " + l,
		"cpu 1.5 map[db:d] 1000000000000", "last_f -2000 map[db:d] 7"}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if b.Refused.By[Malformed] != 10 || len(b.Refused.Told) != 10 || !strings.Contains(b.Refused.Told[0], "line 6: a field without a value") ||
		!strings.Contains(b.Refused.Told[9], "line 15: a text without an end") {
		t.Errorf("%d %q", b.Refused.By[Malformed], b.Refused.Told)
	}
}

func TestInfluxPrecisions(t *testing.T) {
	for precision, want := range map[string]int64{"": 5, "n": 5, "ns": 5, "u": 5e3, "us": 5e3, "µ": 5e3, "ms": 5e6, "s": 5e9, "m": 300e9, "h": 18000e9} {
		b, err := Influx{Precision: precision}.Read([]byte("a v=1 5"))
		if err != nil || b.Samples[0].Time.UnixNano() != want {
			t.Errorf("%s: %v %v", precision, b, err)
		}
	}
	if _, err := (Influx{Precision: "d"}).Read(nil); err == nil {
		t.Error("precision d was taken")
	}
	b, err := Influx{Precision: "h"}.Read([]byte("a v=1 9223372036854775807"))
	if err != nil || len(b.Samples) != 0 || b.Refused.By[Malformed] != 1 {
		t.Errorf("a time out of bounds: %+v %v", b, err)
	}
}

func TestJSON(t *testing.T) {
	now := time.Unix(1000, 0)
	b, err := ReadJSON([]byte(`{"samples":[{"metric":"a","unit":"Cel","labels":{"x":"y"},"value":1,"time":"2026-01-02T03:04:05Z","help":"Warm."},
		{"metric":"b","type":"counter","value":2}, {"metric":"c"}, {"metric":7,"value":1}, {"metric":"d","value":1,"time":"noon"}]}`), now)
	if err != nil || len(b.Samples) != 2 || b.Refused.By[Malformed] != 3 {
		t.Fatalf("%+v %v", b, err)
	}
	if s := b.Samples[0]; s.Type != sdk.Gauge || s.Unit != "Cel" || s.Labels["x"] != "y" || s.Time.Year() != 2026 {
		t.Errorf("%+v", s)
	}
	if s := b.Samples[1]; s.Type != sdk.Counter || !s.Time.Equal(now) || b.Notes[0].Help != "Warm." {
		t.Errorf("%+v", s)
	}
	for _, wrong := range []string{"", "[]", `{"samples":{}}`, `{"other":1}`, `{"samples":[{"metric":"a"`, `{"samples":[1`} {
		if _, err := ReadJSON([]byte(wrong), now); err == nil {
			t.Errorf("%q was taken", wrong)
		}
	}
}

func attribute(k, v string) *commonpb.KeyValue {
	return &commonpb.KeyValue{Key: k, Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: v}}}
}

const (
	cumulative = metricspb.AggregationTemporality_AGGREGATION_TEMPORALITY_CUMULATIVE
	delta      = metricspb.AggregationTemporality_AGGREGATION_TEMPORALITY_DELTA
)

func otlpBody(metrics ...*metricspb.Metric) *metricspb.MetricsData {
	return &metricspb.MetricsData{ResourceMetrics: []*metricspb.ResourceMetrics{{
		Resource: &resourcepb.Resource{Attributes: []*commonpb.KeyValue{attribute("service.name", "shop"), attribute("host.name", "h")}},
		ScopeMetrics: []*metricspb.ScopeMetrics{{Scope: &commonpb.InstrumentationScope{Name: "lib", Version: "1",
			Attributes: []*commonpb.KeyValue{attribute("x", "y")}}, Metrics: metrics}},
	}}}
}

func number(at uint64, v float64, attributes ...*commonpb.KeyValue) *metricspb.NumberDataPoint {
	return &metricspb.NumberDataPoint{TimeUnixNano: at, Value: &metricspb.NumberDataPoint_AsDouble{AsDouble: v}, Attributes: attributes}
}

func readOTLP(t *testing.T, d *Deltas, data *metricspb.MetricsData) ([]string, *Batch) {
	t.Helper()
	raw, err := proto.Marshal(data)
	if err != nil {
		t.Fatal(err)
	}
	turn := d.Begin("t", "s", time.Unix(0, 0))
	b, err := OTLP{Turn: turn}.Read(raw, false)
	turn.Done(err == nil)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, s := range b.Samples {
		lines = append(lines, fmt.Sprintf("%s|%s|%s|%v|%v", s.Metric, s.Unit, s.Type, s.Labels, s.Value))
	}
	return lines, b
}

const scoped = "otel_scope_name:lib otel_scope_version:1 otel_scope_x:y service.name:shop"

func TestOTLP(t *testing.T) {
	sum := 3.5
	data := otlpBody(
		&metricspb.Metric{Name: "room.temperature", Unit: "Cel", Description: "Warm.", Data: &metricspb.Metric_Gauge{Gauge: &metricspb.Gauge{
			DataPoints: []*metricspb.NumberDataPoint{number(10, 21, attribute("room", "a"), attribute("service.name", "no")), number(0, 1),
				{TimeUnixNano: 10, Flags: 1}, {TimeUnixNano: 10}, {TimeUnixNano: 10, Value: &metricspb.NumberDataPoint_AsInt{AsInt: 4}}}}}},
		&metricspb.Metric{Name: "orders", Data: &metricspb.Metric_Sum{Sum: &metricspb.Sum{IsMonotonic: true, AggregationTemporality: cumulative, DataPoints: []*metricspb.NumberDataPoint{number(10, 5)}}}},
		&metricspb.Metric{Name: "open", Data: &metricspb.Metric_Sum{Sum: &metricspb.Sum{AggregationTemporality: cumulative, DataPoints: []*metricspb.NumberDataPoint{number(10, -5)}}}},
		&metricspb.Metric{Name: "open2", Data: &metricspb.Metric_Sum{Sum: &metricspb.Sum{AggregationTemporality: delta, DataPoints: []*metricspb.NumberDataPoint{number(10, -5)}}}},
		&metricspb.Metric{Name: "odd", Data: &metricspb.Metric_Sum{Sum: &metricspb.Sum{DataPoints: []*metricspb.NumberDataPoint{number(10, 5)}}}},
		&metricspb.Metric{Name: "took", Unit: "s", Data: &metricspb.Metric_Histogram{Histogram: &metricspb.Histogram{AggregationTemporality: cumulative, DataPoints: []*metricspb.HistogramDataPoint{
			{TimeUnixNano: 10, Count: 6, Sum: &sum, ExplicitBounds: []float64{0.5, 1}, BucketCounts: []uint64{1, 2, 3}},
			{TimeUnixNano: 10, Count: 6, ExplicitBounds: []float64{1, 1}, BucketCounts: []uint64{1, 2, 3}}}}}},
		&metricspb.Metric{Name: "expo", Data: &metricspb.Metric_ExponentialHistogram{ExponentialHistogram: &metricspb.ExponentialHistogram{DataPoints: []*metricspb.ExponentialHistogramDataPoint{{}, {}}}}},
		&metricspb.Metric{Name: "size", Data: &metricspb.Metric_Summary{Summary: &metricspb.Summary{DataPoints: []*metricspb.SummaryDataPoint{
			{TimeUnixNano: 10, Count: 2, Sum: 9, QuantileValues: []*metricspb.SummaryDataPoint_ValueAtQuantile{{Quantile: 0.5, Value: 4}}}}}}},
	)
	got, b := readOTLP(t, NewDeltas(), data)
	want := []string{
		"room.temperature|Cel|gauge|map[" + strings.Replace(scoped, "service.name", "room:a service.name", 1) + " service_name:no]|21",
		"room.temperature|Cel|gauge|map[" + scoped + "]|NaN",
		"room.temperature|Cel|gauge|map[" + scoped + "]|4",
		"orders||counter|map[" + scoped + "]|5",
		"open||gauge|map[" + scoped + "]|-5",
		"took.bucket|s|counter|map[le:0.5 " + scoped + "]|1",
		"took.bucket|s|counter|map[le:1 " + scoped + "]|3",
		"took.bucket|s|counter|map[le:+Inf " + scoped + "]|6",
		"took.sum|s|counter|map[" + scoped + "]|3.5",
		"took.count|s|counter|map[" + scoped + "]|6",
		"size||gauge|map[" + strings.Replace(scoped, "service.name", "quantile:0.5 service.name", 1) + "]|4",
		"size.sum||counter|map[" + scoped + "]|9",
		"size.count||counter|map[" + scoped + "]|2",
		"target_info||gauge|map[host.name:h service.name:shop]|1",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s", strings.Join(got, "\n"))
	}
	if b.Refused.By[Unsupported] != 4 || b.Refused.By[Malformed] != 3 || !strings.Contains(strings.Join(b.Refused.Told, "\n"), `"expo" is an exponential histogram`) {
		t.Errorf("%+v", b.Refused)
	}
	if !slices.Contains(b.Notes, Note{"room.temperature", "gauge", "Cel", "Warm."}) {
		t.Errorf("%+v", b.Notes)
	}
	asJSON, err := protojson.Marshal(data)
	if err != nil {
		t.Fatal(err)
	}
	same, err := OTLP{Turn: NewDeltas().Begin("t", "s", time.Unix(0, 0))}.Read(asJSON, true)
	if err != nil || len(same.Samples) != len(b.Samples) {
		t.Errorf("as JSON: %v", err)
	}
}

func TestOTLPGrowth(t *testing.T) {
	d := NewDeltas()
	grown := func(at uint64, v float64, buckets ...uint64) *metricspb.MetricsData {
		return otlpBody(
			&metricspb.Metric{Name: "n", Data: &metricspb.Metric_Sum{Sum: &metricspb.Sum{IsMonotonic: true, AggregationTemporality: delta, DataPoints: []*metricspb.NumberDataPoint{number(at, v)}}}},
			&metricspb.Metric{Name: "h", Data: &metricspb.Metric_Histogram{Histogram: &metricspb.Histogram{AggregationTemporality: delta, DataPoints: []*metricspb.HistogramDataPoint{
				{TimeUnixNano: at, Sum: &v, ExplicitBounds: []float64{1}, BucketCounts: buckets}}}}})
	}
	values := func(data *metricspb.MetricsData) (list []float64) {
		_, b := readOTLP(t, d, data)
		for _, s := range b.Samples {
			if s.Metric != "target_info" {
				list = append(list, s.Value)
			}
		}
		return list
	}
	if got := values(grown(1, 2, 1, 1)); !slices.Equal(got, []float64{2, 1, 2, 2, 2}) {
		t.Error(got)
	}
	if got := values(grown(2, 3, 0, 4)); !slices.Equal(got, []float64{5, 1, 6, 5, 6}) {
		t.Error(got)
	}
	if got := values(grown(2, 3, 0, 4)); len(got) != 0 {
		t.Errorf("what was told already was added again: %v", got)
	}
	// What was not stored is taken back.
	raw, _ := proto.Marshal(grown(3, 10, 1, 0))
	turn := d.Begin("t", "s", time.Unix(0, 0))
	if _, err := (OTLP{Turn: turn}).Read(raw, false); err != nil {
		t.Fatal(err)
	}
	other := d.Begin("t", "s", time.Unix(0, 0))
	if _, err := (OTLP{Turn: other}).Read(raw, false); !errors.Is(err, ErrTurn) {
		t.Errorf("two requests add to one series: %v", err)
	}
	other.Done(false)
	turn.Done(false)
	if got := values(grown(3, 10, 1, 0)); !slices.Equal(got, []float64{15, 2, 7, 15, 7}) {
		t.Error(got)
	}
}

func TestDeltasAreBounded(t *testing.T) {
	d := NewDeltas()
	now := time.Unix(10_000, 0)
	add := func(tenant, series string, now time.Time) error {
		turn := d.Begin(tenant, "s", now)
		_, err := turn.Add(series, 0, nil, []float64{1})
		turn.Done(err == nil)
		return err
	}
	for i := range maxTenantSums {
		if err := add("greedy", fmt.Sprint(i), now); err != nil {
			t.Fatal(err)
		}
	}
	if err := add("greedy", "one more", now); !errors.Is(err, ErrSums) {
		t.Errorf("one more: %v", err)
	}
	if err := add("other", "first", now); err != nil {
		t.Errorf("another tenant: %v", err)
	}
	if err := add("greedy", "one more", now.Add(2*sumAge)); err != nil {
		t.Errorf("after the others were forgotten: %v", err)
	}
}

// Senders choose how long names are and how many buckets a histogram has: neither may make a sum heavier than it counts.
func TestDeltasAreBoundedByWhatTheyHold(t *testing.T) {
	d := NewDeltas()
	turn := d.Begin("t", "s", time.Unix(10_000, 0))
	if _, err := turn.Add(strings.Repeat("x", 8<<20), 0, nil, []float64{1}); err != nil {
		t.Fatal(err)
	}
	for key := range d.sums {
		if size := int(unsafe.Sizeof(key)) + len(key.tenant); size > 100 {
			t.Errorf("a long name takes %d bytes for as long as its sum is held", size)
		}
	}
	turn.Done(true)
	numbers := 0
	for i := range maxTenantSums {
		turn := d.Begin("t", "s", time.Unix(10_000, 0))
		_, err := turn.Add(fmt.Sprint(i), 0, make([]float64, maxBuckets-1), make([]float64, maxBuckets+1))
		turn.Done(err == nil)
		if errors.Is(err, ErrSums) {
			break
		}
		numbers += 2 * maxBuckets
	}
	if most := numbersInOne * (maxTenantSums + 1); numbers == 0 || numbers > most {
		t.Errorf("the histograms of a tenant hold %d numbers; at most %d are meant", numbers, most)
	}
	turn = d.Begin("t", "s", time.Unix(10_000, 0))
	for i := range maxTenantSums {
		_, _ = turn.Add(fmt.Sprint(i), 0, nil, []float64{1}) // and what is taken back leaves nothing
	}
	turn.Done(false)
	if d.all != d.count["t"] || d.all > maxTenantSums {
		t.Errorf("all sums weigh %d, the tenant's %d", d.all, d.count["t"])
	}
}

// One point of a clock that is wrong must not shut out the growth that is told after it.
func TestGrowthOfTheFuture(t *testing.T) {
	d, now := NewDeltas(), time.Unix(10_000, 0)
	turn := d.Begin("t", "s", now)
	if _, err := turn.Add("n", now.Add(24*time.Hour).UnixNano(), nil, []float64{5}); !errors.Is(err, ErrFuture) {
		t.Errorf("of tomorrow: %v", err)
	}
	turn.Done(true)
	turn = d.Begin("t", "s", now)
	if got, err := turn.Add("n", now.UnixNano(), nil, []float64{1}); err != nil || !slices.Equal(got, []float64{1}) {
		t.Errorf("of now: %v, %v", got, err)
	}
	turn.Done(true)
}

// A body of small messages must not weigh as little as it is long.
func TestWeighOTLP(t *testing.T) {
	points := slices.Repeat([]byte{0x0a, 0}, 1000)
	metric := bytesField(nil, 5, points)
	body := bytesField(nil, 1, bytesField(nil, 2, bytesField(nil, 2, metric)))
	n, err := WeighOTLP(body, false)
	if err != nil || n < 1000*nodeCost {
		t.Errorf("%d bytes weigh %d: %v", len(body), n, err)
	}
	bounds := bytesField(nil, 9, bytesField(nil, 1, bytesField(nil, 7, make([]byte, 8000))))
	n, err = WeighOTLP(bytesField(nil, 1, bytesField(nil, 2, bytesField(nil, 2, bounds))), false)
	if err != nil || n < 1000*nodeCost*bucketNodes {
		t.Errorf("buckets weigh %d: %v", n, err)
	}
	deep := []byte{}
	for range 2 * maxDepth {
		deep = bytesField(nil, 5, bytesField(nil, 1, deep))
	}
	deep = bytesField(nil, 1, bytesField(nil, 1, bytesField(nil, 1, bytesField(nil, 2, deep))))
	if _, err := WeighOTLP(deep, false); err == nil {
		t.Error("values within values were taken at any depth")
	}
}
