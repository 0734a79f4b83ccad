package store

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/picketwatch/picket/sdk"
)

const (
	maxBuckets  = 11_000
	maxLines    = 500
	maxPoints   = 500_000
	autoBuckets = 300
	minLookback = 5 * time.Minute
)

// niceSteps are the steps that are chosen when none is asked for.
var niceSteps = []time.Duration{time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 15 * time.Second,
	30 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute, 30 * time.Minute,
	time.Hour, 2 * time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour, 24 * time.Hour}

// Series answers a query; *QueryError says what is wrong with it. An unknown metric gives an empty result.
func (t *Telemetry) Series(ctx context.Context, q SeriesQuery) (SeriesResult, error) {
	if err := q.check(); err != nil {
		return SeriesResult{}, err
	}
	found := t.catalogue.match(q.Tenant, q.Metric, q.Agent, q.Labels)
	res := SeriesResult{Metric: q.Metric, Step: q.Step}
	if len(found) > 0 {
		newest := found[len(found)-1]
		res.Unit, res.Type = newest.unit, newest.kind
	}
	if q.Rate {
		found = slices.DeleteFunc(found, func(s *series) bool { return s.kind != sdk.Counter })
		if res.Type == sdk.Gauge {
			return SeriesResult{}, &QueryError{fmt.Sprintf("%s is a gauge; a rate is of a counter", q.Metric)}
		}
	}
	if q.Step == 0 {
		q.Step = max(autoStep(q.To.Sub(q.From), t.catalogue.usualGap(found)), t.finest(dayOf(q.From.UnixMicro())))
		res.Step = q.Step
	}
	g := newGrid(q)
	if g.count > maxBuckets {
		return SeriesResult{}, &QueryError{fmt.Sprintf("step %s gives %d points a line, the most is %d; ask for a larger step", q.Step, g.count, maxBuckets)}
	}
	if most := min(maxLines, max(1, maxPoints/g.count)); len(found) > most {
		found, res.Truncated = found[:most], true
	}
	if len(found) == 0 {
		return res, nil
	}
	return t.fill(ctx, q, g, found, res)
}

func (q *SeriesQuery) check() error {
	if q.Agg == "" {
		q.Agg = AggAvg
	}
	switch {
	case q.Tenant == "" || q.Metric == "":
		return &QueryError{"metric is missing"}
	case q.From.IsZero() || q.To.IsZero() || !q.From.Before(q.To):
		return &QueryError{"from must lie before to"}
	case q.Step < 0 || (q.Step > 0 && q.Step < time.Second):
		return &QueryError{"step must be at least one second"}
	case q.From.Before(time.Unix(0, 0)):
		return &QueryError{"from must not lie before 1970"}
	case q.Agg != AggAvg && q.Agg != AggMin && q.Agg != AggMax && q.Agg != AggLast:
		return &QueryError{fmt.Sprintf("agg %q is not avg, min, max or last", q.Agg)}
	}
	return nil
}

// autoStep is the smallest nice step that gives no more than about 300 points and none without a sample.
func autoStep(span, gap time.Duration) time.Duration {
	want := max(span/autoBuckets, gap+gap/10)
	for _, step := range niceSteps {
		if step >= want {
			return step
		}
	}
	return (want + 24*time.Hour - 1) / (24 * time.Hour) * 24 * time.Hour
}

// usualGap is the time between samples of most of the series, as last seen.
func (c *catalogue) usualGap(list []*series) time.Duration {
	c.mu.RLock()
	defer c.mu.RUnlock()
	var gaps []int64
	for _, s := range list {
		if s.last.gap > 0 {
			gaps = append(gaps, s.last.gap)
		}
	}
	if len(gaps) == 0 {
		return 0
	}
	slices.Sort(gaps)
	return time.Duration(gaps[len(gaps)/2]) * time.Microsecond
}

// grid is the steps of an answer, aligned to multiples of the step since 1970 so that a moving window keeps its points.
type grid struct {
	step  int64 // µs
	first int64 // number of the first step
	count int
	until int64 // µs, exclusive
}

func newGrid(q SeriesQuery) grid {
	g := grid{step: q.Step.Microseconds(), until: q.To.UnixMicro()}
	g.first = q.From.UnixMicro() / g.step
	g.count = int((g.until-1)/g.step - g.first + 1)
	return g
}

func (g grid) from() int64 { return g.first * g.step }

// fill reads the points of the series.
func (t *Telemetry) fill(ctx context.Context, q SeriesQuery, g grid, found []*series, res SeriesResult) (SeriesResult, error) {
	lines := map[uint32]int{}
	for i, s := range found {
		lines[s.id] = i
		points := make([]Point, g.count)
		for j := range points {
			points[j].Time = time.UnixMicro((g.first + int64(j)) * g.step).UTC()
		}
		res.Series = append(res.Series, SeriesLine{Agent: s.agent, Labels: s.labels, Points: points})
	}
	put := func(id uint32, bucket int64, value float64) {
		p := &res.Series[lines[id]].Points[bucket-g.first]
		p.Value, p.Valid = value, true
	}
	missing, err := t.read(ctx, q, g, found, put)
	if t.segments.diagnose(err) || replaced(err) {
		missing, err = t.read(ctx, q, g, found, put) // once more, with the files opened again
	}
	for _, err := range missing {
		res.Incomplete = true
		t.failed(err)
	}
	if err != nil {
		return SeriesResult{}, fmt.Errorf("query %s: %w", q.Metric, err)
	}
	return res, nil
}

// read runs the query over the files of its range. What could not be opened is returned as missing.
func (t *Telemetry) read(ctx context.Context, q SeriesQuery, g grid, found []*series, put func(id uint32, bucket int64, value float64)) (missing []error, err error) {
	p := t.plan(q, g, t.catalogue.inADay(found))
	held, missing := t.segments.forDays(ctx, p.wanted)
	defer t.segments.release(held...)
	text := t.seriesSQL(q, g, p, found, held)
	if text == "" {
		return missing, nil
	}
	return missing, t.engine.eachChunk(ctx, text, func(ids []uint32, buckets []int64, values []float64) error {
		for i, id := range ids {
			put(id, buckets[i], values[i])
		}
		return nil
	})
}

// plan says which days of a query are read sample by sample and which from roll-ups.
type plan struct {
	lookback int64  // µs before the first sample in which its neighbour may lie
	raw      []span // runs of days, cut to what is asked for
	rolled   []string
	span     span
}

// span is a time in µs, until exclusive.
type span struct{ from, until int64 }

// fewSamples of a day are read as they are: where they lie sorted in its table, that takes less than opening a roll-up.
const fewSamples = 10_000

// inADay is how many samples of the series a day has, roughly.
func (c *catalogue) inADay(list []*series) int64 {
	return int64(len(list)) * int64(segmentSpan/max(c.usualGap(list), time.Second))
}

// plan takes the coarsest roll-up that the step is a multiple of, where there is one that fits what is stored, and samples
// elsewhere or where a day has few of them; where samples are gone, the finest that is left.
func (t *Telemetry) plan(q SeriesQuery, g grid, inADay int64) plan {
	p := plan{span: span{g.from(), g.until}}
	if q.Rate {
		p.lookback = max(minLookback, 2*q.Step).Microseconds()
	}
	for day := dayOf(g.from()); day <= dayOf(g.until-1); day++ {
		begin := day * segmentSpan.Microseconds()
		part := span{max(g.from(), begin), min(g.until, begin+segmentSpan.Microseconds())}
		generation, samples := "", false
		if seg := t.segments.find(day); seg != nil {
			sh, known := t.segments.shapeOf(seg)
			samples = true
			if known && sh.tail == 0 && (sh.archive != "" || inADay > fewSamples) {
				generation = sh.generation
			}
		}
		if path := t.rollups.choose(day, q.Step, part, samples, generation); path != "" {
			p.rolled = append(p.rolled, path)
		} else if samples {
			if n := len(p.raw); n > 0 && p.raw[n-1].until == part.from {
				p.raw[n-1].until = part.until
			} else {
				p.raw = append(p.raw, part)
			}
		}
	}
	return p
}

func (p plan) wanted(day int64) bool {
	for _, s := range p.raw {
		if dayOf(s.from-p.lookback) <= day && day <= dayOf(s.until-1) {
			return true
		}
	}
	return false
}

// parts are what the values of a step are put together from: of samples, of roll-ups, and of those in turn.
type parts struct{ samples, rolled, whole string }

var aggregates = map[Agg]parts{
	AggAvg:  {"sum(value) AS v, count(*) AS n", "sum(sum) AS v, sum(count) AS n", "sum(v) / sum(n)"},
	AggMin:  {"min(value) AS v, 0 AS n", "min(min) AS v, 0 AS n", "min(v)"},
	AggMax:  {"max(value) AS v, 0 AS n", "max(max) AS v, 0 AS n", "max(v)"},
	AggLast: {"arg_max(value, t) AS v, max(t) AS n", "arg_max(last, ts) AS v, epoch_us(max(ts)) AS n", "arg_max(v, n)"},
}

// The increase between neighbours over the time between them. A counter that went down was set back: what it shows is its
// increase since. Neighbours too far apart have a gap between them, which stays a gap.
var increase = parts{"sum(CASE WHEN value >= before THEN value - before ELSE value END) AS v, sum(t - since) AS n",
	"sum(increase) AS v, sum(covered) AS n", "sum(v) / (sum(n) / 1e6)"}

// seriesSQL writes the query; "" when there is nothing to read. All that goes into it are numbers and names of our own making.
// Numbers are literals with their column's type, because with an expression in their place DuckDB would no longer skip blocks.
func (t *Telemetry) seriesSQL(q SeriesQuery, g grid, p plan, found []*series, held []*segment) string {
	agg, ids := aggregates[q.Agg], idRanges(found)
	if q.Rate {
		agg = increase
	}
	var selects []string
	for _, s := range p.raw {
		var files []string
		for _, seg := range held {
			if dayOf(s.from-p.lookback) <= seg.day && seg.day <= dayOf(s.until-1) {
				files = append(files, "SELECT ts, series_id, value FROM "+t.rows(seg))
			}
		}
		if len(files) == 0 {
			continue
		}
		samples := fmt.Sprintf("SELECT series_id, epoch_us(ts) AS t, value FROM (%s) WHERE ts >= %s AND ts < %s AND (%s) AND isfinite(value)",
			strings.Join(files, " UNION ALL "), timestamp(s.from-p.lookback), timestamp(s.until), ids)
		if q.Rate {
			samples = fmt.Sprintf(`SELECT * FROM (SELECT series_id, t, value, lag(value) OVER w AS before, lag(t) OVER w AS since FROM (%s)
				WINDOW w AS (PARTITION BY series_id ORDER BY t)) WHERE before IS NOT NULL AND t >= %d AND t > since AND t - since <= %d`, samples, s.from, p.lookback)
		}
		selects = append(selects, fmt.Sprintf("SELECT series_id, t // %d AS bucket, %s FROM (%s) GROUP BY ALL", g.step, agg.samples, samples))
	}
	if len(p.rolled) > 0 {
		selects = append(selects, fmt.Sprintf("SELECT series_id, epoch_us(ts) // %d AS bucket, %s FROM read_parquet([%s]) WHERE ts >= %s AND ts < %s AND (%s) GROUP BY ALL",
			g.step, agg.rolled, quoteAll(p.rolled), timestamp(p.span.from), timestamp(p.span.until), ids))
	}
	if len(selects) == 0 {
		return ""
	}
	return fmt.Sprintf("SELECT series_id, bucket, %s AS value FROM (%s) GROUP BY ALL HAVING value IS NOT NULL", agg.whole, strings.Join(selects, " UNION ALL "))
}

func quoteAll(list []string) string {
	quoted := make([]string, len(list))
	for i, s := range list {
		quoted[i] = quote(s)
	}
	return strings.Join(quoted, ", ")
}

func timestamp(us int64) string {
	return "TIMESTAMP '" + time.UnixMicro(us).UTC().Format("2006-01-02 15:04:05.000000") + "'"
}

// idRanges writes a condition for the ids. Those of one metric lie together, so that it is usually short.
func idRanges(list []*series) string {
	ids := make([]uint32, len(list))
	for i, s := range list {
		ids[i] = s.id
	}
	slices.Sort(ids)
	var parts []string
	for i := 0; i < len(ids); {
		j := i
		for j+1 < len(ids) && ids[j+1] == ids[j]+1 {
			j++
		}
		lo, hi := strconv.FormatUint(uint64(ids[i]), 10), strconv.FormatUint(uint64(ids[j]), 10)
		if lo == hi { // this is found in three quarters of the time
			parts = append(parts, "series_id = "+lo+"::UINTEGER")
		} else {
			parts = append(parts, "series_id BETWEEN "+lo+"::UINTEGER AND "+hi+"::UINTEGER")
		}
		i = j + 1
	}
	return strings.Join(parts, " OR ")
}

// MetricName is one metric that has been seen.
type MetricName struct {
	Metric, Unit string
	Type         sdk.MetricType
	Series       int
}

// MetricNames lists the tenant's metrics by name.
func (t *Telemetry) MetricNames(_ context.Context, tenant string) ([]MetricName, error) {
	c := t.catalogue
	c.mu.RLock()
	defer c.mu.RUnlock()
	list := []MetricName{}
	for key, m := range c.byName {
		if !strings.HasPrefix(key, tenant+"\x00") || len(m.series) == 0 {
			continue
		}
		newest := m.series[len(m.series)-1]
		list = append(list, MetricName{Metric: newest.metric, Unit: newest.unit, Type: newest.kind, Series: len(m.series)})
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Metric < list[j].Metric })
	return list, nil
}

// LastValue is the newest value of a series.
type LastValue struct {
	Agent, Metric, Unit string
	Labels              map[string]string
	Time                time.Time
	Value               float64
}

// SeriesCount is how many series an agent has sent samples of.
func (t *Telemetry) SeriesCount(tenant, agent string) int {
	t.catalogue.mu.RLock()
	defer t.catalogue.mu.RUnlock()
	return t.catalogue.byAgent[tenant+"\x00"+agent]
}

// Last returns the newest values of a metric from memory; an empty agent means all.
func (t *Telemetry) Last(tenant, metric, agent string) []LastValue {
	found := t.catalogue.match(tenant, metric, agent, nil)
	t.catalogue.mu.RLock()
	defer t.catalogue.mu.RUnlock()
	list := []LastValue{}
	for _, s := range found {
		if s.last.us != 0 {
			list = append(list, LastValue{Agent: s.agent, Metric: s.metric, Unit: s.unit, Labels: s.labels,
				Time: time.UnixMicro(s.last.us).UTC(), Value: s.last.value})
		}
	}
	return list
}
