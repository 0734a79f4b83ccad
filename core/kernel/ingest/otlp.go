package ingest

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/picketwatch/picket/sdk"
)

// staleNaN is Prometheus's mark of a series that has ended.
var staleNaN = math.Float64frombits(0x7ff0000000000002)

// message is a kind of message of OTLP: which of its fields hold messages, and of which kind.
type message map[protowire.Number]message

// bounds are those of a histogram: numbers of eight bytes, of which each becomes a series.
var bounds = message{}

// otlpShape is where the messages of a body lie, for counting them.
var otlpShape = func() message {
	value, pair := message{}, message{}
	value[5], value[6] = message{1: value}, message{1: pair} // arrays and maps
	pair[2] = value
	exemplar := message{7: pair}
	number := message{7: pair, 5: exemplar}
	histogram := message{9: pair, 8: exemplar, 7: bounds}
	exponential := message{1: pair, 11: exemplar}
	summary := message{7: pair, 6: bounds}
	metric := message{5: {1: number}, 7: {1: number}, 9: {1: histogram}, 10: {1: exponential}, 11: {1: summary}, 12: pair}
	scope := message{1: {3: pair}, 2: metric}
	return message{1: {1: {1: pair}, 2: scope}}
}()

// What a message of a few bytes takes in memory, and what a bucket of a histogram does once it is a sample.
const (
	nodeCost    = 300
	bucketNodes = 2
)

// WeighOTLP says how much memory a body will take when it is read: one of nothing but empty messages takes a hundred times its
// size. JSON is counted by its brackets
// and commas.
func WeighOTLP(body []byte, asJSON bool) (int64, error) {
	if asJSON {
		return int64(bytes.Count(body, []byte("{"))+bytes.Count(body, []byte("[")))*nodeCost + int64(bytes.Count(body, []byte(",")))*nodeCost/3, nil
	}
	nodes, err := count(body, otlpShape, 0)
	return int64(nodes) * nodeCost, err
}

const maxDepth = 100 // of values within values

func count(b []byte, m message, depth int) (nodes int, err error) {
	if depth > maxDepth {
		return 0, malformed("values within values, more than %d deep", maxDepth)
	}
	err = fields(b, func(num protowire.Number, kind protowire.Type, v []byte, _ uint64) error {
		inner, known := m[num]
		switch {
		case known && len(inner) == 0 && kind != protowire.VarintType:
			nodes += bucketNodes * (len(v)/8 + 1)
			return nil
		case !known || kind != protowire.BytesType:
			return nil
		}
		n, err := count(v, inner, depth+1)
		nodes += n + 1
		return err
	})
	return nodes, err
}

// OTLP says how metrics of OpenTelemetry are to be taken.
type OTLP struct {
	Turn *Turn // adds up what comes as growth
}

// Read reads an ExportMetricsServiceRequest.
func (o OTLP) Read(body []byte, asJSON bool) (*Batch, error) {
	data := &metricspb.MetricsData{} // has the field that a request has
	var err error
	if asJSON {
		err = protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(body, data)
	} else {
		err = proto.Unmarshal(body, data)
	}
	if err != nil {
		return nil, malformed("no metrics of OTLP: %v", err)
	}
	r := otlpReader{turn: o.Turn, batch: &Batch{}}
	for _, rm := range data.GetResourceMetrics() {
		if err := r.resource(rm); err != nil {
			return nil, err
		}
	}
	return r.batch, nil
}

// Attributes that say which service something is; to Prometheus they are job and instance.
var identifying = []string{"service.name", "service.namespace", "service.instance.id"}

type otlpReader struct {
	turn   *Turn
	batch  *Batch
	common map[string]string // labels of all of a scope
	newest uint64            // time of a resource's points
}

func (r *otlpReader) resource(rm *metricspb.ResourceMetrics) error {
	r.newest = 0
	identity, about := map[string]string{}, map[string]string{}
	for _, kv := range rm.GetResource().GetAttributes() {
		if v := text(kv.GetValue()); v == "" {
			continue
		} else if slices.Contains(identifying, kv.GetKey()) {
			identity[kv.GetKey()] = v
		} else {
			about[kv.GetKey()] = v
		}
	}
	for _, sm := range rm.GetScopeMetrics() {
		r.common = scopeLabels(sm.GetScope(), identity)
		for _, m := range sm.GetMetrics() {
			if err := r.metric(m); err != nil {
				return err
			}
		}
	}
	if r.newest == 0 || len(about) == 0 || identity["service.name"] == "" && identity["service.instance.id"] == "" {
		return nil // without a job or an instance there is nothing to join with
	}
	labels := fewest(about, maxTargetLabels)
	for k, v := range identity {
		labels[k] = v
	}
	return r.batch.add(sdk.Sample{Metric: "target_info", Type: sdk.Gauge, Labels: labels, Time: time.Unix(0, int64(r.newest)), Value: 1})
}

// maxTargetLabels leaves room for the identity among the labels that a series may have.
const maxTargetLabels = 28

// fewest returns the first n of the labels by name.
func fewest(labels map[string]string, n int) map[string]string {
	names := make([]string, 0, len(labels))
	for k := range labels {
		names = append(names, k)
	}
	slices.Sort(names)
	out := make(map[string]string, n)
	for _, k := range names[:min(n, len(names))] {
		out[k] = labels[k]
	}
	return out
}

func scopeLabels(s *commonpb.InstrumentationScope, identity map[string]string) map[string]string {
	labels := make(map[string]string, len(identity)+2+len(s.GetAttributes()))
	for k, v := range identity {
		labels[k] = v
	}
	for _, kv := range s.GetAttributes() {
		if v := text(kv.GetValue()); v != "" {
			labels["otel_scope_"+kv.GetKey()] = v
		}
	}
	if s.GetName() != "" {
		labels["otel_scope_name"] = s.GetName()
	}
	if s.GetVersion() != "" {
		labels["otel_scope_version"] = s.GetVersion()
	}
	return labels
}

// labels are those of a point: its own, and those of its scope and resource, which win.
func (r *otlpReader) labels(own []*commonpb.KeyValue, more int) map[string]string {
	labels := make(map[string]string, len(own)+len(r.common)+more)
	for _, kv := range own {
		v := text(kv.GetValue())
		if v == "" {
			continue
		}
		k := kv.GetKey()
		if slices.Contains(identifying, k) {
			k = strings.ReplaceAll(k, ".", "_") // it is no identity of who sent it
		}
		labels[k] = v
	}
	for k, v := range r.common {
		labels[k] = v
	}
	return labels
}

func (r *otlpReader) metric(m *metricspb.Metric) error {
	kind := ""
	var err error
	switch d := m.GetData().(type) {
	case *metricspb.Metric_Gauge:
		kind = "gauge"
		err = r.numbers(m, sdk.Gauge, d.Gauge.GetDataPoints())
	case *metricspb.Metric_Sum:
		kind = "gauge"
		if d.Sum.GetIsMonotonic() {
			kind = "counter"
		}
		err = r.sum(m, d.Sum)
	case *metricspb.Metric_Histogram:
		kind = "histogram"
		err = r.histogram(m, d.Histogram)
	case *metricspb.Metric_Summary:
		kind = "summary"
		err = r.summary(m, d.Summary.GetDataPoints())
	case *metricspb.Metric_ExponentialHistogram:
		r.refuse(len(d.ExponentialHistogram.GetDataPoints()), "%q is an exponential histogram, which Picket does not store; have it exported with explicit buckets", m)
	default:
		return nil
	}
	if kind != "" {
		r.batch.note(Note{Metric: m.GetName(), Type: kind, Unit: m.GetUnit(), Help: m.GetDescription()})
	}
	return err
}

func (r *otlpReader) refuse(points int, why string, m *metricspb.Metric) {
	r.batch.Refused.Add(Unsupported, points, why, cut(m.GetName(), 100))
}

func (r *otlpReader) malformed(why string, m *metricspb.Metric) {
	r.batch.Refused.Add(Malformed, 1, why, cut(m.GetName(), 100))
}

// point is what the points of all types have.
type point interface {
	GetTimeUnixNano() uint64
	GetFlags() uint32
	GetAttributes() []*commonpb.KeyValue
}

// moment is the time of a point, false when it has none.
func (r *otlpReader) moment(m *metricspb.Metric, p point) (time.Time, bool) {
	if n := p.GetTimeUnixNano(); n == 0 || n > math.MaxInt64 {
		r.malformed("%q has a point without a time", m)
		return time.Time{}, false
	}
	r.newest = max(r.newest, p.GetTimeUnixNano())
	return time.Unix(0, int64(p.GetTimeUnixNano())), true
}

func ended(p point) bool {
	return p.GetFlags()&uint32(metricspb.DataPointFlags_DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK) != 0
}

func (r *otlpReader) put(m *metricspb.Metric, part string, kind sdk.MetricType, labels map[string]string, at time.Time, value float64) error {
	return r.batch.add(sdk.Sample{Metric: m.GetName() + part, Unit: m.GetUnit(), Type: kind, Labels: labels, Time: at, Value: value})
}

func valueOf(p *metricspb.NumberDataPoint) float64 {
	switch {
	case ended(p):
		return staleNaN
	default:
		if v, whole := p.GetValue().(*metricspb.NumberDataPoint_AsInt); whole {
			return float64(v.AsInt)
		}
		return p.GetAsDouble()
	}
}

func (r *otlpReader) numbers(m *metricspb.Metric, kind sdk.MetricType, points []*metricspb.NumberDataPoint) error {
	for _, p := range points {
		at, ok := r.moment(m, p)
		if !ok {
			continue
		}
		if p.GetValue() == nil && !ended(p) {
			r.malformed("%q has a point without a value", m)
			continue
		}
		if err := r.put(m, "", kind, r.labels(p.GetAttributes(), 0), at, valueOf(p)); err != nil {
			return err
		}
	}
	return nil
}

func (r *otlpReader) sum(m *metricspb.Metric, s *metricspb.Sum) error {
	switch {
	case s.GetAggregationTemporality() == metricspb.AggregationTemporality_AGGREGATION_TEMPORALITY_CUMULATIVE && s.GetIsMonotonic():
		return r.numbers(m, sdk.Counter, s.GetDataPoints())
	case s.GetAggregationTemporality() == metricspb.AggregationTemporality_AGGREGATION_TEMPORALITY_CUMULATIVE:
		return r.numbers(m, sdk.Gauge, s.GetDataPoints())
	case s.GetAggregationTemporality() != metricspb.AggregationTemporality_AGGREGATION_TEMPORALITY_DELTA:
		r.refuse(len(s.GetDataPoints()), "%q says neither that it is a total nor that it is growth (aggregation_temporality)", m)
		return nil
	case !s.GetIsMonotonic():
		r.refuse(len(s.GetDataPoints()), "%q goes up and down and comes as changes, of which a total cannot be known after a restart; have it exported as cumulative", m)
		return nil
	}
	for _, p := range s.GetDataPoints() {
		at, ok := r.moment(m, p)
		if !ok || ended(p) {
			continue
		}
		grown := valueOf(p)
		if p.GetValue() == nil || !(grown >= 0) || math.IsInf(grown, 0) {
			r.malformed("%q has growth that is none", m)
			continue
		}
		labels := r.labels(p.GetAttributes(), 0)
		total, err := r.grow(m, labels, p, nil, []float64{grown})
		if err != nil {
			return err
		}
		if total == nil {
			continue
		}
		if err := r.put(m, "", sdk.Counter, labels, at, total[0]); err != nil {
			return err
		}
	}
	return nil
}

// grow adds to the sums of a series; nil when the point is not to be stored.
func (r *otlpReader) grow(m *metricspb.Metric, labels map[string]string, p point, bounds, growth []float64) ([]float64, error) {
	totals, err := r.turn.Add(SeriesKey(m.GetName(), m.GetUnit(), labels), int64(p.GetTimeUnixNano()), bounds, growth)
	switch {
	case errors.Is(err, ErrRepeated): // the sender did not hear our answer
		r.batch.Refused.Add(Repeated, 1, "")
		return nil, nil
	case errors.Is(err, ErrFuture):
		r.malformed("%q has "+ErrFuture.Error(), m)
		return nil, nil
	case errors.Is(err, ErrSums):
		r.refuse(1, "%q: "+err.Error(), m)
		return nil, nil
	}
	return totals, err
}

// SeriesKey names a series.
func SeriesKey(metric, unit string, labels map[string]string) string {
	names := make([]string, 0, len(labels))
	for k := range labels {
		names = append(names, k)
	}
	slices.Sort(names)
	var b strings.Builder
	b.WriteString(metric + "\x00" + unit)
	for _, k := range names {
		b.WriteString("\x00" + k + "\x00" + labels[k])
	}
	return b.String()
}

const maxBuckets = 500

func (r *otlpReader) histogram(m *metricspb.Metric, h *metricspb.Histogram) error {
	delta := h.GetAggregationTemporality() == metricspb.AggregationTemporality_AGGREGATION_TEMPORALITY_DELTA
	if !delta && h.GetAggregationTemporality() != metricspb.AggregationTemporality_AGGREGATION_TEMPORALITY_CUMULATIVE {
		r.refuse(len(h.GetDataPoints()), "%q says neither that it is a total nor that it is growth (aggregation_temporality)", m)
		return nil
	}
	for _, p := range h.GetDataPoints() {
		at, ok := r.moment(m, p)
		if !ok || ended(p) && delta {
			continue
		}
		bounds, counts := p.GetExplicitBounds(), p.GetBucketCounts()
		if len(counts) == 0 {
			bounds, counts = nil, []uint64{p.GetCount()}
		}
		if len(counts) != len(bounds)+1 || len(counts) > maxBuckets || !Rising(bounds) {
			r.malformed("%q has a histogram whose buckets do not fit its bounds", m)
			continue
		}
		parts := make([]float64, 0, len(counts)+1)
		for _, n := range counts {
			parts = append(parts, float64(n))
		}
		parts = append(parts, p.GetSum())
		labels := r.labels(p.GetAttributes(), 1)
		if delta {
			totals, err := r.grow(m, labels, p, bounds, parts)
			if err != nil {
				return err
			}
			if totals == nil {
				continue
			}
			parts = totals
		}
		if err := r.buckets(m, labels, at, bounds, parts, p.Sum != nil, ended(p)); err != nil {
			return err
		}
	}
	return nil
}

// buckets puts the series of a histogram. parts are the counts of its buckets, each for itself, and the sum.
func (r *otlpReader) buckets(m *metricspb.Metric, labels map[string]string, at time.Time, bounds, parts []float64, summed, ended bool) error {
	list := HistogramSamples(m.GetName(), ".", m.GetUnit(), labels, at, bounds, parts)
	for _, s := range list {
		if ended {
			s.Value = staleNaN
		}
		if !summed && strings.HasSuffix(s.Metric, ".sum") {
			continue
		}
		if err := r.batch.add(s); err != nil {
			return err
		}
	}
	return nil
}

// HistogramSamples are the series of a histogram as they are stored. parts are the counts of its buckets, each for itself, and the
// sum of all values.
func HistogramSamples(name, separator, unit string, labels map[string]string, at time.Time, bounds, parts []float64) []sdk.Sample {
	put := func(part string, labels map[string]string, value float64) sdk.Sample {
		return sdk.Sample{Metric: name + separator + part, Unit: unit, Type: sdk.Counter, Labels: labels, Time: at, Value: value}
	}
	list := make([]sdk.Sample, 0, len(parts)+2)
	total := 0.0
	for i, n := range parts[:len(parts)-1] {
		total += n
		le := "+Inf"
		if i < len(bounds) {
			le = strconv.FormatFloat(bounds[i], 'f', -1, 64)
		}
		with := make(map[string]string, len(labels)+1)
		for k, v := range labels {
			with[k] = v
		}
		with["le"] = le
		list = append(list, put("bucket", with, total))
	}
	return append(list, put("sum", labels, parts[len(parts)-1]), put("count", labels, total))
}

// Rising reports whether bounds are those of buckets.
func Rising(bounds []float64) bool {
	for i, b := range bounds {
		if math.IsNaN(b) || math.IsInf(b, 0) || i > 0 && b <= bounds[i-1] {
			return false
		}
	}
	return true
}

func (r *otlpReader) summary(m *metricspb.Metric, points []*metricspb.SummaryDataPoint) error {
	for _, p := range points {
		at, ok := r.moment(m, p)
		if !ok {
			continue
		}
		labels := r.labels(p.GetAttributes(), 1)
		sum, number := p.GetSum(), float64(p.GetCount())
		if ended(p) {
			sum, number = staleNaN, staleNaN
		}
		for _, q := range p.GetQuantileValues() {
			with := r.labels(p.GetAttributes(), 1)
			with["quantile"] = strconv.FormatFloat(q.GetQuantile(), 'f', -1, 64)
			value := q.GetValue()
			if ended(p) {
				value = staleNaN
			}
			if err := r.put(m, "", sdk.Gauge, with, at, value); err != nil {
				return err
			}
		}
		if err := errors.Join(r.put(m, ".sum", sdk.Counter, labels, at, sum), r.put(m, ".count", sdk.Counter, labels, at, number)); err != nil {
			return ErrTooMany
		}
	}
	return nil
}

// text writes a value of an attribute as a label has it.
func text(v *commonpb.AnyValue) string {
	switch x := v.GetValue().(type) {
	case *commonpb.AnyValue_StringValue:
		return x.StringValue
	case *commonpb.AnyValue_BoolValue:
		return strconv.FormatBool(x.BoolValue)
	case *commonpb.AnyValue_IntValue:
		return strconv.FormatInt(x.IntValue, 10)
	case *commonpb.AnyValue_DoubleValue:
		return strconv.FormatFloat(x.DoubleValue, 'g', -1, 64)
	case *commonpb.AnyValue_BytesValue:
		return base64.StdEncoding.EncodeToString(x.BytesValue)
	case *commonpb.AnyValue_ArrayValue, *commonpb.AnyValue_KvlistValue:
		out, err := json.Marshal(plain(v, 0))
		if err != nil { // a number that JSON cannot write
			return ""
		}
		return string(out)
	}
	return ""
}

func plain(v *commonpb.AnyValue, depth int) any {
	if depth > maxDepth {
		return nil
	}
	switch x := v.GetValue().(type) {
	case *commonpb.AnyValue_StringValue:
		return x.StringValue
	case *commonpb.AnyValue_BoolValue:
		return x.BoolValue
	case *commonpb.AnyValue_IntValue:
		return x.IntValue
	case *commonpb.AnyValue_DoubleValue:
		return x.DoubleValue
	case *commonpb.AnyValue_BytesValue:
		return x.BytesValue
	case *commonpb.AnyValue_ArrayValue:
		list := []any{}
		for _, e := range x.ArrayValue.GetValues() {
			list = append(list, plain(e, depth+1))
		}
		return list
	case *commonpb.AnyValue_KvlistValue:
		pairs := map[string]any{}
		for _, kv := range x.KvlistValue.GetValues() {
			pairs[kv.GetKey()] = plain(kv.GetValue(), depth+1)
		}
		return pairs
	}
	return nil
}
