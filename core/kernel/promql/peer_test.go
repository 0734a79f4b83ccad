package promql

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/snappy"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/prompb"

	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/sdk"
)

// TestSameAsPrometheus asks Debian's Prometheus and this engine the same random questions about the same samples.
// PICKET_PROMQL_QUERIES says how many, PICKET_PROMQL_SEED which.
//
// What is not asked is what Prometheus itself has changed from 2.42 to the engine that is used here:
//   - A range included its first moment. No sample lies on a whole second, no evaluation on a multiple of a subquery's step.
//   - rate and increase of what starts near zero (its change 13725). Counters start high and are set back to less.
//   - stddev and stdvar of what is no number (14941), predict_linear at a fixed moment.
//   - Functions that only one has.
//
// Nor is anything rounded, or a sine taken of it, that was calculated: there the last bit shows. Nor is it asked which of
// equal values topk takes: it may be any.
func TestSameAsPrometheus(t *testing.T) {
	program, err := exec.LookPath("prometheus")
	if err != nil {
		t.Skip("prometheus is not installed: answers were not compared with its own")
	}
	queries, seed := number(t, "PICKET_PROMQL_QUERIES", 400), number(t, "PICKET_PROMQL_SEED", 1)
	random := rand.New(rand.NewPCG(uint64(seed), 42)) //nolint:gosec // the same questions each time
	data := makeData(random)
	peer := startPrometheus(t, program)
	peer.write(t, data)
	telemetry := openTelemetry(t, 2026)
	writeOurs(t, telemetry, data)
	engine := New(Config{Samples: telemetry})

	g := &generator{Rand: random}
	answered, empty, wrong := 0, 0, 0
	for i := range queries {
		expr := g.vector(3)
		start, end, step := g.when()
		got, gotErr := ask(t, engine, expr, start, end, step)
		want, wantErr := peer.ask(t, expr, start, end, step)
		switch why := differ(got, gotErr, want, wantErr); {
		case why != "":
			wrong++
			t.Errorf("query %d: %s from %d to %d step %d: %s", i, expr, start, end, step, why)
			if wrong == 20 {
				t.Fatal("and so on")
			}
		case wantErr == nil && len(want) == 0:
			empty++
		case wantErr == nil:
			answered++
		}
	}
	t.Logf("of %d queries %d were answered with series, %d with none, %d with an error, by both alike", queries, answered, empty, queries-answered-empty-wrong)
	if answered < queries/3 {
		t.Errorf("only %d of %d queries had an answer: they show little", answered, queries)
	}
}

func number(t *testing.T, name string, fallback int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return fallback
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// dataStart is an odd second; data goes on for dataSpan.
var dataStart = time.Date(2026, 6, 1, 0, 0, 1, 0, time.UTC)

const dataSpan = 3 * time.Hour

type line struct {
	name    string
	labels  map[string]string
	samples []store.RawSample
}

// makeData makes gauges, counters that are set back, histograms, gaps, ends and values that are no numbers.
func makeData(random *rand.Rand) []line {
	var data []line
	add := func(name string, value func(i int) (float64, bool), labels ...string) {
		l := line{name: name, labels: map[string]string{}}
		for i := 0; i < len(labels); i += 2 {
			l.labels[labels[i]] = labels[i+1]
		}
		for i := range int(dataSpan / (15 * time.Second)) {
			if v, there := value(i); there {
				at := dataStart.UnixMilli() + int64(i)*15_000 + int64(random.IntN(5))*1000 + 100 + int64(random.IntN(800))
				l.samples = append(l.samples, store.RawSample{Millis: at, Value: v})
			}
		}
		data = append(data, l)
	}
	gap := func(i int) bool { return i%240 < 215 }
	for n := range 6 {
		at := []string{"job", []string{"api", "db"}[n%2], "instance", fmt.Sprintf("h%d", n), "zone", []string{"a", "b", "c"}[n%3]}
		level, total := 50+10*float64(n), 2e6
		add("load", func(i int) (float64, bool) {
			level += random.NormFloat64()
			if n == 4 && i == 300 {
				return math.Float64frombits(value.StaleNaN), true
			}
			return level, n != 4 && (n != 3 || gap(i)) || i < 300
		}, at...)
		add("level", func(int) (float64, bool) { return 1 + random.Float64()*100, true }, at...)
		add("requests_total", func(i int) (float64, bool) {
			total += float64(random.IntN(100))
			if random.IntN(150) == 0 {
				total = 1e6
			}
			return total, gap(i) || n != 1
		}, append(slices.Clone(at), "code", []string{"200", "500"}[n%2])...)
		counts := [5]float64{2e6, 1e6, 1e6, 1e6, 1e6}
		var buckets [5][]float64
		for range int(dataSpan / (15 * time.Second)) {
			for b := range counts {
				counts[b] += float64(random.IntN(10))
			}
			sum := 0.0
			for b := range counts {
				sum += counts[b]
				buckets[b] = append(buckets[b], sum)
			}
		}
		for b, le := range []string{"0.1", "0.5", "1", "2.5", "+Inf"} {
			add("latency_seconds_bucket", func(i int) (float64, bool) { return buckets[b][i], true }, append(slices.Clone(at), "le", le)...)
		}
	}
	odd := []float64{math.NaN(), math.Inf(1), math.Inf(-1), 0, 1, -1, 1e15, 1e-15}
	add("odd", func(i int) (float64, bool) { return odd[i/7%len(odd)], true }, "job", "api", "instance", "h0")
	return data
}

func writeOurs(t *testing.T, telemetry *store.Telemetry, data []line) {
	t.Helper()
	var samples []sdk.Sample
	for _, l := range data {
		for _, s := range l.samples {
			samples = append(samples, sdk.Sample{Metric: l.name, Type: sdk.Gauge, Labels: l.labels, Time: time.UnixMilli(s.Millis), Value: s.Value})
		}
	}
	// As it comes from many senders: by time, not by series.
	slices.SortStableFunc(samples, func(a, b sdk.Sample) int { return a.Time.Compare(b.Time) })
	res, err := telemetry.Append(t.Context(), store.SampleBatch{Tenant: "t", Agent: store.PushedBy("peer"), Samples: samples, AnyValue: true})
	if err != nil || res.Stored != len(samples) {
		t.Fatalf("%+v %v", res, err)
	}
}

// prometheus is a running server of Debian's.
type prometheus struct{ url string }

func startPrometheus(t *testing.T, program string) prometheus {
	t.Helper()
	dir := t.TempDir()
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it returns at once
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	settings := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(settings, []byte("global: {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	cmd := exec.CommandContext(ctx, program, "--config.file="+settings, "--storage.tsdb.path="+dir, "--storage.tsdb.retention.time=50y",
		"--web.listen-address="+address, "--web.enable-remote-write-receiver", "--log.level=error")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); _ = cmd.Wait() })
	p := prometheus{"http://" + address}
	for range 600 {
		res, err := http.Get(p.url + "/-/ready") //nolint:noctx // a test
		if err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return p
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatal("prometheus does not become ready")
	return p
}

// write sends the data by remote write, in the order of time.
func (p prometheus) write(t *testing.T, data []line) {
	t.Helper()
	for from := dataStart; from.Before(dataStart.Add(dataSpan)); from = from.Add(10 * time.Minute) {
		var req prompb.WriteRequest
		for _, l := range data {
			ts := prompb.TimeSeries{Labels: []prompb.Label{{Name: "__name__", Value: l.name}}}
			for k, v := range l.labels {
				ts.Labels = append(ts.Labels, prompb.Label{Name: k, Value: v})
			}
			slices.SortFunc(ts.Labels, func(a, b prompb.Label) int { return strings.Compare(a.Name, b.Name) })
			for _, s := range l.samples {
				if s.Millis >= from.UnixMilli() && s.Millis < from.Add(10*time.Minute).UnixMilli() {
					ts.Samples = append(ts.Samples, prompb.Sample{Timestamp: s.Millis, Value: s.Value})
				}
			}
			if len(ts.Samples) > 0 {
				req.Timeseries = append(req.Timeseries, ts)
			}
		}
		raw, err := req.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.Post(p.url+"/api/v1/write", "application/x-protobuf", bytes.NewReader(snappy.Encode(nil, raw))) //nolint:noctx // a test
		if err != nil {
			t.Fatal(err)
		}
		said, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if res.StatusCode/100 != 2 {
			t.Fatalf("remote write: %s %s", res.Status, said)
		}
	}
}

// answerSeries is one series of an answer, its values by time.
type answerSeries map[string]float64

type parsedAnswer map[string]answerSeries // by labels

func parseAnswer(kind string, raw json.RawMessage) (parsedAnswer, error) {
	out := parsedAnswer{}
	if kind != "matrix" {
		return nil, fmt.Errorf("the answer is a %s", kind)
	}
	var list []struct {
		Metric map[string]string
		Values [][2]any
	}
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, err
	}
	for _, s := range list {
		key, err := json.Marshal(s.Metric)
		if err != nil {
			return nil, err
		}
		values := answerSeries{}
		for _, v := range s.Values {
			f, err := strconv.ParseFloat(v[1].(string), 64) //nolint:forcetypeassert // or the test ends here
			if err != nil {
				return nil, err
			}
			values[fmt.Sprint(v[0])] = f
		}
		out[string(key)] = values
	}
	return out, nil
}

func (p prometheus) ask(t *testing.T, expr string, start, end, step int64) (parsedAnswer, error) {
	t.Helper()
	res, err := http.PostForm(p.url+"/api/v1/query_range", url.Values{"query": {expr}, "start": {fmt.Sprint(start)}, "end": {fmt.Sprint(end)}, "step": {fmt.Sprint(step)}}) //nolint:noctx // a test
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var body struct {
		Error string
		Data  struct {
			ResultType string
			Result     json.RawMessage
		}
	}
	if err := json.NewDecoder(res.Body).Decode(&body); err != nil {
		t.Fatal(err)
	}
	if body.Error != "" {
		return nil, errors.New(body.Error)
	}
	return parseAnswer(body.Data.ResultType, body.Data.Result)
}

func ask(t *testing.T, e *Engine, expr string, start, end, step int64) (parsedAnswer, error) {
	t.Helper()
	a, err := e.QueryRange(t.Context(), "t", expr, time.Unix(start, 0), time.Unix(end, 0), time.Duration(step)*time.Second, Options{})
	if err != nil {
		return nil, err
	}
	defer a.Close()
	var b bytes.Buffer
	if err := a.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	return parseAnswer(a.Type(), b.Bytes())
}

// differ says how two answers differ, "" when they do not.
func differ(got parsedAnswer, gotErr error, want parsedAnswer, wantErr error) string {
	if (gotErr != nil) != (wantErr != nil) {
		return fmt.Sprintf("the errors are %v here and %v there", gotErr, wantErr)
	}
	if len(got) != len(want) {
		return fmt.Sprintf("%d series, and %d of Prometheus", len(got), len(want))
	}
	for key, theirs := range want {
		ours, ok := got[key]
		if !ok {
			return "no series " + key
		}
		if len(ours) != len(theirs) {
			return fmt.Sprintf("%s has %d points, and %d of Prometheus", key, len(ours), len(theirs))
		}
		for at, v := range theirs {
			o, ok := ours[at]
			if !ok || !same(o, v) {
				return fmt.Sprintf("%s at %s is %v, and %v of Prometheus", key, at, o, v)
			}
		}
	}
	return ""
}

func same(a, b float64) bool {
	if math.IsNaN(a) || math.IsNaN(b) || math.IsInf(a, 0) || math.IsInf(b, 0) {
		return a == b || math.IsNaN(a) && math.IsNaN(b)
	}
	return math.Abs(a-b) <= 1e-9*max(1, math.Abs(a), math.Abs(b))
}

// generator makes expressions that are valid, mostly.
type generator struct {
	*rand.Rand
	within bool // a subquery
}

func (g *generator) of(list ...string) string { return list[g.IntN(len(list))] }

func (g *generator) when() (start, end, step int64) {
	step = []int64{15, 30, 60, 300}[g.IntN(4)]
	start = dataStart.Unix() + 5*int64(g.IntN(int(dataSpan.Seconds()/5)))
	return start, start + step*int64(g.IntN(12)), step
}

func (g *generator) selector() string {
	name := g.of("load", "level", "requests_total", "latency_seconds_bucket", "odd", "load", "requests_total")
	matchers := []string{}
	for range g.IntN(3) {
		matchers = append(matchers, g.of(`job="api"`, `job!="api"`, `zone=~"a|b"`, `zone!~"a.*"`, `instance=~"h[0-3]"`, `code="200"`, `zone=""`, `instance!=""`, `job=~".+"`))
	}
	if len(matchers) == 0 {
		return name
	}
	return name + "{" + strings.Join(matchers, ",") + "}"
}

func (g *generator) shift() string {
	switch g.IntN(8) {
	case 0:
		return " offset " + g.of("5m", "35s", "1h", "-10m")
	case 1:
		return fmt.Sprintf(" @ %d", dataStart.Unix()+5*int64(g.IntN(1000)))
	case 2:
		return " @ " + g.of("start()", "end()")
	}
	return ""
}

func (g *generator) ranged(depth int) string {
	if depth > 1 && g.IntN(4) == 0 && !g.within { // in a subquery, another's evaluations would lie on multiples of its step
		g.within = true
		defer func() { g.within = false }()
		return "(" + g.vector(depth-1) + ")[" + g.of("5m", "10m", "20m") + ":" + g.of("30s", "1m", "", "25s") + "]" + g.shift()
	}
	return g.selector() + "[" + g.of("1m", "2m", "5m", "10m", "35s", "30m", "1h") + "]" + g.shift()
}

func (g *generator) grouping() string {
	return g.of("", " by (job)", " by (zone, job)", " without (instance)", " without (le, code)", " by (instance)", " by (nothing)", " by (le)")
}

func (g *generator) counter() string {
	if g.IntN(2) == 0 { // never set back, so that no range is too short
		return g.of("latency_seconds_bucket", `latency_seconds_bucket{le="0.5"}`, `latency_seconds_bucket{job="api"}`) + "[" + g.of("35s", "1m", "2m", "10m", "1h") + "]"
	}
	return g.of("requests_total", `requests_total{code="200"}`, `requests_total{job="api"}`) + "[" + g.of("5m", "10m", "30m", "1h") + "]"
}

// distinct is something whose values are numbers, no two alike.
func (g *generator) distinct() string {
	return g.of("load", "level", `load{zone!="a"}`, "avg_over_time(level[5m])", "rate(requests_total[10m])", "max_over_time(load[2m])", "-level", "sqrt(load)")
}

func (g *generator) constant() string { return g.of("0", "1", "2", "0.5", "-3", "100", "7.25") }

func (g *generator) vector(depth int) string {
	if depth == 0 {
		return g.selector() + g.shift()
	}
	inner := func() string { return g.vector(depth - 1) }
	switch g.IntN(12) {
	case 0:
		return g.of("rate", "increase") + "(" + g.counter() + g.shift() + ")"
	case 1, 2:
		return g.of("delta", "idelta", "irate", "deriv", "avg_over_time", "min_over_time", "max_over_time", "sum_over_time", "count_over_time",
			"last_over_time", "present_over_time", "stddev_over_time", "stdvar_over_time", "changes", "resets", "absent_over_time") + "(" + g.ranged(depth) + ")"
	case 3:
		return g.of("quantile_over_time("+g.of("0.5", "0.9", "0", "1")+", "+g.ranged(depth)+")", "predict_linear("+g.selector()+"[10m], "+g.of("60", "3600")+")")
	case 4:
		return g.of("abs", "sqrt", "ln", "log2", "log10", "timestamp", "absent", "hour", "minute", "day_of_week", "days_in_month") + "(" + inner() + ")"
	case 5:
		return g.of("clamp_min("+inner()+", 10)", "clamp_max("+inner()+", 60)", "clamp("+inner()+", 5, 70)", g.of("round", "ceil", "floor", "sgn", "sin", "cos", "atan", "deg")+"("+g.selector()+g.shift()+")", "round("+g.selector()+", 0.5)",
			`label_replace(`+inner()+`, "zone", "x$1", "zone", "(.*)")`, `label_join(`+inner()+`, "both", "-", "job", "zone")`)
	case 6, 7:
		return g.of("sum("+inner()+")", "avg("+inner()+")", "min("+inner()+")", "max("+inner()+")", "count("+inner()+")", "group("+inner()+")",
			"stddev("+g.distinct()+")", "stdvar("+g.distinct()+")") + g.grouping()
	case 8:
		return g.of("topk(2, "+g.distinct(), "bottomk(1, "+g.distinct(), "topk(3, "+g.distinct(), "quantile(0.75, "+inner(), "quantile(0.5, "+inner()) + ")" + g.grouping()
	case 9:
		return "histogram_quantile(" + g.of("0.5", "0.9", "0.99", "0", "1") + ", " + g.of("", "sum by (le) ", "sum by (le, job) ", "sum without (instance) ") +
			"(rate(latency_seconds_bucket[" + g.of("2m", "5m", "10m") + "])))"
	case 10:
		op := g.of("+", "-", "*", "/", "%", "^", "==", "!=", ">", "<", ">=", "<=", "> bool", "<= bool")
		if g.IntN(2) == 0 {
			return "(" + inner() + " " + op + " " + g.constant() + ")"
		}
		return "(" + inner() + " " + op + g.of("", " on(job, instance)", " ignoring(code)", " on(instance) group_left()", " on(job) group_left(zone)") + " " + inner() + ")"
	default:
		return "(" + inner() + " " + g.of("and", "or", "unless") + g.of("", " on(instance)", " ignoring(zone, code)") + " " + inner() + ")"
	}
}
