package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/picketwatch/picket/core/kernel/ingest"
	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/sdk"
)

const (
	customMetricsPath = "/api/v1/metrics/custom"
	typeHistogram     = "histogram"
)

// customSender is under whose name the values of defined metrics are kept, whoever hands them in: they make one series.
var customSender = store.PushedBy("custom")

// usualBounds are those of Prometheus's clients, for what takes seconds.
var usualBounds = []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}

type customMetricBody struct {
	Name        string    `json:"name" pattern:"^[a-zA-Z_][a-zA-Z0-9_.]*$" minLength:"1" maxLength:"200" example:"shop.orders"`
	Type        string    `json:"type" enum:"gauge,counter,histogram" doc:"gauge: goes up and down. counter: only grows; a value says by how much. histogram: how often values of which size came."`
	Unit        string    `json:"unit,omitempty" maxLength:"64" doc:"UCUM, for example s, By, Cel, 1."`
	Description string    `json:"description,omitempty" maxLength:"1000" doc:"What it says; the help of Prometheus's clients."`
	Labels      []string  `json:"labels,omitempty" nullable:"false" maxItems:"16" doc:"Names of the labels that values may have."`
	Aggregation string    `json:"aggregation,omitempty" enum:"avg,sum,min,max" doc:"How its series become one figure; without it, avg, of a counter sum. A histogram's is avg."`
	Buckets     []float64 `json:"buckets,omitempty" nullable:"false" maxItems:"100" doc:"Of a histogram: the upper bounds, rising; without them 0.005 to 10."`
}

type definedMetricBody struct {
	customMetricBody
	Created   time.Time `json:"created"`
	CreatedBy string    `json:"created_by"`
}

type customFigureBody struct {
	definedMetricBody
	Series int      `json:"series" doc:"Sets of labels that were handed in."`
	Value  *float64 `json:"value,omitempty" doc:"The newest values of all series as one figure; of a histogram the mean of all values since the server started."`
}

type customValueBody struct {
	Value  float64           `json:"value"`
	Labels map[string]string `json:"labels,omitempty"`
	Time   *time.Time        `json:"time,omitempty" doc:"RFC 3339; without it, now. Growth of a time that was told already is not added again."`
}

func definedMetric(m store.CustomMetric) definedMetricBody {
	return definedMetricBody{customMetricBody: customMetricBody{Name: m.Name, Type: m.Type, Unit: m.Unit, Description: m.Description,
		Labels: append([]string{}, m.Labels...), Aggregation: m.Aggregation, Buckets: m.Bounds}, Created: m.Created.UTC(), CreatedBy: m.CreatedBy}
}

// CustomMetricPath is the name in an address.
type CustomMetricPath struct {
	Name string `path:"name" maxLength:"200"`
}

func (s *Server) customMetricRoutes() {
	tags := []string{"custom metrics"}
	one := customMetricsPath + "/{name}"
	handle(s, huma.Operation{OperationID: "list-custom-metrics", Method: http.MethodGet, Path: customMetricsPath, Tags: tags,
		Summary: "Metrics that were defined here, by name"},
		func(ctx context.Context, _ *struct{}) (*body[page[definedMetricBody]], error) {
			list, err := s.cfg.Control.CustomMetrics(ctx, caller(ctx).Tenant)
			return answerPage(convert(list, definedMetric), ""), err
		})
	handle(s, huma.Operation{OperationID: "define-custom-metric", Method: http.MethodPost, Path: customMetricsPath, Tags: tags,
		DefaultStatus: http.StatusCreated, Summary: "Define a metric of your own"}, s.defineMetric)
	handle(s, huma.Operation{OperationID: "get-custom-metric", Method: http.MethodGet, Path: one, Tags: tags,
		Summary: "A metric that was defined here, and its figure now"}, s.customMetric)
	handle(s, huma.Operation{OperationID: "submit-custom-metric", Method: http.MethodPost, Path: one + "/values", Tags: tags,
		Summary: "Hand in values of a defined metric; answered after they are on disk"}, s.submitMetric)
	handle(s, huma.Operation{OperationID: "delete-custom-metric", Method: http.MethodDelete, Path: one, Tags: tags,
		DefaultStatus: http.StatusNoContent, Summary: "Take no more values of a defined metric; those there are stay as long as samples do"},
		func(ctx context.Context, in *CustomMetricPath) (*struct{}, error) {
			err := s.cfg.Control.DeleteMetric(ctx, caller(ctx).Tenant, in.Name)
			s.act(ctx, "metric.delete", "metric:"+in.Name, "", err)
			return nil, err
		})
}

func (s *Server) defineMetric(ctx context.Context, in *struct{ Body customMetricBody }) (*body[definedMetricBody], error) {
	who := caller(ctx)
	m, err := customMetric(in.Body)
	m.Tenant, m.CreatedBy = who.Tenant, who.Actor()
	if err == nil {
		err = s.nameIsFree(m)
	}
	if err == nil {
		m, err = s.cfg.Control.DefineMetric(ctx, m)
	}
	s.act(ctx, "metric.define", "metric:"+in.Body.Name, in.Body.Type, err)
	if err != nil {
		return nil, err
	}
	note := store.MetricNote{Metric: m.Name, Type: m.Type, Unit: m.Unit, Help: m.Description}
	if err := s.cfg.Control.NoteMetrics(ctx, m.Tenant, []store.MetricNote{note}); err != nil {
		return nil, err
	}
	return answer(definedMetric(m)), nil
}

// customMetric checks what a schema cannot say.
func customMetric(b customMetricBody) (store.CustomMetric, error) {
	m := store.CustomMetric{Name: b.Name, Type: b.Type, Unit: b.Unit, Description: b.Description, Labels: b.Labels, Aggregation: b.Aggregation, Bounds: b.Buckets}
	for i, l := range m.Labels {
		where := fmt.Sprintf("body.labels[%d]", i)
		switch {
		case !labelPattern(l) || strings.HasPrefix(l, "__"):
			return m, invalidField(where, "must be letters, digits, dots and underscores, and begin with a letter")
		case l == "le" && m.Type == typeHistogram:
			return m, invalidField(where, "le is the bound of a histogram's bucket; choose another name")
		case slices.Contains(m.Labels[:i], l):
			return m, invalidField(where, "is there twice")
		}
	}
	switch {
	case m.Type != typeHistogram && len(m.Bounds) > 0:
		return m, invalidField("body.buckets", "only a histogram has buckets")
	case m.Type == typeHistogram && len(m.Bounds) == 0:
		m.Bounds = usualBounds
	case !ingest.Rising(m.Bounds):
		return m, invalidField("body.buckets", "must be numbers, each larger than the one before")
	}
	usual := string(store.AggAvg)
	if m.Type == string(sdk.Counter) {
		usual = "sum"
	}
	m.Aggregation = cmp.Or(m.Aggregation, usual)
	if m.Type == typeHistogram && m.Aggregation != usual {
		return m, invalidField("body.aggregation", "the figure of a histogram is the mean of its values, avg")
	}
	return m, nil
}

func labelPattern(name string) bool {
	if name == "" || len(name) > 100 || name[0] >= '0' && name[0] <= '9' || name[0] == '.' {
		return false
	}
	return strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.") == ""
}

// stored are the metrics under which a defined one is kept.
func storedAs(m store.CustomMetric) []store.MetricShape {
	if m.Type != typeHistogram {
		return []store.MetricShape{{Name: m.Name, Unit: m.Unit, Type: sdk.MetricType(m.Type)}}
	}
	var list []store.MetricShape
	for _, part := range []string{"bucket", "sum", "count"} {
		list = append(list, store.MetricShape{Name: m.Name + separator(m.Name) + part, Unit: m.Unit, Type: sdk.Counter})
	}
	return list
}

// separator sets off the parts of a histogram as the rest of its name is written.
func separator(name string) string {
	if strings.Contains(name, ".") {
		return "."
	}
	return "_"
}

// nameIsFree refuses a name under which something else is measured already: its figures and ours would become one.
func (s *Server) nameIsFree(m store.CustomMetric) error {
	shapes, _ := s.cfg.Telemetry.Shapes(m.Tenant)
	for _, mine := range storedAs(m) {
		for _, there := range shapes {
			if there.Name != mine.Name {
				continue
			}
			foreign := false
			s.cfg.Telemetry.EachSeries(m.Tenant, there, func(k store.KnownSeries) { foreign = foreign || k.Agent != customSender })
			if foreign {
				return huma.NewError(http.StatusConflict, "others measure something under this name already; choose another")
			}
		}
	}
	return nil
}

func (s *Server) customMetric(ctx context.Context, in *CustomMetricPath) (*body[customFigureBody], error) {
	m, err := s.cfg.Control.CustomMetric(ctx, caller(ctx).Tenant, in.Name)
	if err != nil {
		return nil, err
	}
	out := customFigureBody{definedMetricBody: definedMetric(m)}
	shapes := storedAs(m)
	newest := func(shape store.MetricShape) (values []float64) {
		s.cfg.Telemetry.EachSeries(m.Tenant, shape, func(k store.KnownSeries) {
			if k.Agent == customSender && k.LastAt != 0 {
				values = append(values, k.LastValue)
			}
		})
		return values
	}
	if m.Type == typeHistogram {
		sums, counts := newest(shapes[1]), newest(shapes[2])
		out.Series = len(counts)
		out.Value = finiteOrNil(total(sums) / total(counts))
		return answer(out), nil
	}
	values := newest(shapes[0])
	out.Series = len(values)
	if len(values) > 0 {
		out.Value = finiteOrNil(aggregations[m.Aggregation](values))
	}
	return answer(out), nil
}

var aggregations = map[string]func([]float64) float64{
	"avg": func(v []float64) float64 { return total(v) / float64(len(v)) },
	"sum": total, "min": slices.Min[[]float64], "max": slices.Max[[]float64],
}

func total(values []float64) (sum float64) {
	for _, v := range values {
		sum += v
	}
	return sum
}

func finiteOrNil(v float64) *float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	return &v
}

type submitInput struct {
	CustomMetricPath
	Body struct {
		Values []customValueBody `json:"values" nullable:"false" minItems:"1" maxItems:"5000"`
	}
}

func (s *Server) submitMetric(ctx context.Context, in *submitInput) (*body[pushResultBody], error) {
	tenant, now := caller(ctx).Tenant, s.cfg.Now()
	m, err := s.cfg.Control.CustomMetric(ctx, tenant, in.Name)
	if err != nil {
		return nil, err
	}
	for i, v := range in.Body.Values {
		if err := fits(m, v); err != "" {
			return nil, invalidField(fmt.Sprintf("body.values[%d]", i), err)
		}
	}
	turn := s.deltas.Begin(tenant, customSender, now)
	stored := false
	defer func() { turn.Done(stored) }()
	samples, repeated, err := customSamples(m, in.Body.Values, turn, now)
	if err != nil {
		return nil, err
	}
	res, err := s.cfg.Telemetry.Append(ctx, store.SampleBatch{Tenant: tenant, Agent: customSender, Samples: samples})
	if err != nil {
		return nil, err
	}
	stored = true
	out := &pushed{stored: res.Stored}
	out.add(res)
	if repeated > 0 {
		out.refused.Add(ingest.Repeated, repeated, "%d are growth of a time that was told already", repeated)
	}
	s.pushes.took("custom", "stored", out)
	if res.Stored > 0 {
		s.cfg.Live.Publish(tenant, "samples", liveSamples{Agent: customSender, Metrics: namesOf(samples)})
	}
	refused := out.dropped() + repeated
	return answer(pushResultBody{Accepted: max(0, len(in.Body.Values)-refused), Refused: refused, Errors: out.refused.Told}), nil
}

// fits says what is wrong with a value, "" when nothing is.
func fits(m store.CustomMetric, v customValueBody) string {
	for name := range v.Labels {
		if !slices.Contains(m.Labels, name) {
			return fmt.Sprintf("%s has no label %q; it may have %s", m.Name, name, cmp.Or(strings.Join(m.Labels, ", "), "none"))
		}
	}
	if m.Type == string(sdk.Counter) && v.Value < 0 {
		return "a counter only grows; the value says by how much"
	}
	return ""
}

// customSamples are the values as they are stored. What grows is added to what there was.
func customSamples(m store.CustomMetric, values []customValueBody, turn *ingest.Turn, now time.Time) (samples []sdk.Sample, repeated int, err error) {
	values = slices.Clone(values)
	slices.SortStableFunc(values, func(a, b customValueBody) int { return momentOf(a, now).Compare(momentOf(b, now)) })
	for i := 0; i < len(values); {
		same := values[i : i+sameMoment(values[i:], now)]
		i += len(same)
		for _, g := range grouped(same) {
			at, until := momentOf(g[0], now), int64(0)
			if g[0].Time != nil {
				until = at.UnixNano()
			}
			last := g[len(g)-1]
			if m.Type == string(sdk.Gauge) {
				samples = append(samples, sdk.Sample{Metric: m.Name, Unit: m.Unit, Type: sdk.Gauge, Labels: last.Labels, Time: at, Value: last.Value})
				continue
			}
			totals, err := turn.Add(ingest.SeriesKey(m.Name, m.Unit, last.Labels), until, m.Bounds, growthOf(m, g))
			switch {
			case errors.Is(err, ingest.ErrRepeated):
				repeated += len(g)
				continue
			case errors.Is(err, ingest.ErrTurn):
				return nil, 0, later(http.StatusServiceUnavailable, err.Error(), time.Second)
			case err != nil:
				return nil, 0, huma.Error422UnprocessableEntity(err.Error())
			}
			if m.Type == typeHistogram {
				samples = append(samples, ingest.HistogramSamples(m.Name, separator(m.Name), m.Unit, last.Labels, at, m.Bounds, totals)...)
			} else {
				samples = append(samples, sdk.Sample{Metric: m.Name, Unit: m.Unit, Type: sdk.Counter, Labels: last.Labels, Time: at, Value: totals[0]})
			}
			if len(samples) > ingest.MaxSamples {
				return nil, 0, errTooLarge
			}
		}
	}
	return samples, repeated, nil
}

func momentOf(v customValueBody, now time.Time) time.Time {
	if v.Time == nil {
		return now
	}
	return *v.Time
}

// sameMoment is how many of the values, from the first on, are of one time.
func sameMoment(values []customValueBody, now time.Time) int {
	n := 1
	for n < len(values) && momentOf(values[n], now).Equal(momentOf(values[0], now)) && (values[n].Time == nil) == (values[0].Time == nil) {
		n++
	}
	return n
}

// grouped puts together what has the same labels, in the order in which they come.
func grouped(values []customValueBody) [][]customValueBody {
	at := map[string]int{}
	var list [][]customValueBody
	for _, v := range values {
		key := ingest.SeriesKey("", "", v.Labels)
		i, known := at[key]
		if !known {
			i = len(list)
			at[key] = i
			list = append(list, nil)
		}
		list[i] = append(list[i], v)
	}
	return list
}

// growthOf is by how much the values add to a counter, or to the buckets and the sum of a histogram.
func growthOf(m store.CustomMetric, values []customValueBody) []float64 {
	if m.Type != typeHistogram {
		growth := 0.0
		for _, v := range values {
			growth += v.Value
		}
		return []float64{growth}
	}
	growth := make([]float64, len(m.Bounds)+2)
	for _, v := range values {
		bucket, _ := slices.BinarySearch(m.Bounds, v.Value) // le: a value that is a bound belongs to its bucket
		growth[bucket]++
		growth[len(growth)-1] += v.Value
	}
	return growth
}
