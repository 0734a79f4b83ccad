package metricrule

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/picketwatch/picket/core/kernel/promql"
	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/sdk"
)

// rig is a service over real stores; what it raises and ends is kept.
type rig struct {
	*Service
	t             *testing.T
	control       *store.Control
	telemetry     *store.Telemetry
	engine        *promql.Engine
	now           time.Time
	seq           uint64
	raised, ended []string
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, now: start}
	clock := func() time.Time { return r.now }
	var err error
	r.control, err = store.OpenControl(t.Context(), store.ControlConfig{Path: filepath.Join(t.TempDir(), "control.db"), KeyFile: filepath.Join(t.TempDir(), "key"), Now: clock})
	check(t, err)
	t.Cleanup(func() { check(t, r.control.Close()) })
	r.telemetry, err = store.OpenTelemetry(t.Context(), store.TelemetryConfig{Dir: t.TempDir(), GroupWait: time.Millisecond, Now: clock})
	check(t, err)
	t.Cleanup(func() { check(t, r.telemetry.Close()) })
	r.engine = promql.New(promql.Config{Samples: r.telemetry, Now: clock})
	r.start()
	return r
}

// start makes a new service, as after a restart.
func (r *rig) start() {
	r.Service = New(Config{Store: r.control, Queries: r.engine, Tenants: func() []string { return []string{"t"} }, Now: func() time.Time { return r.now },
		InGroup: func(agent, group string) bool { return agent == "a" && group == "g" },
		Raise: func(_ context.Context, _, _ string, f sdk.Finding) (string, error) {
			if id := f.Src + " " + f.Start.String(); !slices.Contains(r.raised, id) {
				r.raised = append(r.raised, id)
			}
			return f.Rule + f.Src, nil
		},
		Over: func(_ context.Context, _, fingerprint, _ string) error {
			r.ended = append(r.ended, fingerprint)
			return nil
		}})
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (r *rig) sample(host string, value float64) {
	r.t.Helper()
	r.seq++
	_, err := r.telemetry.Append(r.t.Context(), store.SampleBatch{Tenant: "t", Agent: store.PushedBy(store.OwnSender + "/" + host), Epoch: "e", Seq: r.seq,
		Samples: []sdk.Sample{{Metric: "fill", Unit: "1", Type: sdk.Gauge, Time: r.now, Value: value, Labels: map[string]string{"host": host, "agent_id": host}}}})
	check(r.t, err)
}

// pass lets time pass, and looks.
func (r *rig) pass(d time.Duration, values map[string]float64) {
	r.t.Helper()
	r.now = r.now.Add(d)
	for host, v := range values {
		r.sample(host, v)
	}
	check(r.t, r.Round(r.t.Context(), "t"))
}

func (r *rig) want(raised, ended int) {
	r.t.Helper()
	if len(r.raised) != raised || len(r.ended) != ended {
		r.t.Fatalf("raised %q, want %d; ended %q, want %d; %+v", r.raised, raised, r.ended, ended, r.Status("t", "full"))
	}
}

func TestARuleRaisesOnceAndEnds(t *testing.T) {
	r := newRig(t)
	full := store.MetricRule{Tenant: "t", Name: "full", Title: "Full", Expr: "fill_ratio > 0.9", Stays: "fill_ratio > 0.8", For: 60, Keep: 60, Every: 30, Severity: sdk.SeverityHigh, NoData: store.NoDataEnds,
		Summary: "{host}: {value%}", Enabled: true, UpdatedBy: "user:x"}
	_, err := r.control.PutMetricRule(t.Context(), full)
	check(t, err)
	both := func(a, b float64) map[string]float64 { return map[string]float64{"a": a, "b": b} }

	r.pass(30*time.Second, both(.95, .5))
	r.want(0, 0)
	r.start() // the time that it held is not forgotten
	r.pass(30*time.Second, both(.95, .5))
	r.want(0, 0)
	r.pass(30*time.Second, both(.95, .95))
	r.want(1, 0)
	r.start() // nor is that people were told
	r.pass(30*time.Second, both(.85, .95))
	r.want(1, 0)
	r.pass(30*time.Second, both(.85, .95))
	r.want(2, 0)
	r.pass(30*time.Second, both(.5, .95))
	r.pass(30*time.Second, both(.5, .95))
	r.want(2, 1)
	if got := r.Status("t", "full"); len(got.Instances) != 1 || got.Instances[0].Labels["host"] != "b" || got.Problem != "" {
		t.Errorf("%+v", got)
	}

	full.Group = "g" // of which only a is
	_, err = r.control.PutMetricRule(t.Context(), full)
	check(t, err)
	r.Soon("t", "full")
	for range 11 {
		r.pass(time.Minute, both(.95, .95))
	}
	r.want(3, 2) // a again, and b is over

	full.Enabled = false
	_, err = r.control.PutMetricRule(t.Context(), full)
	check(t, err)
	r.pass(30*time.Second, both(.95, .95))
	r.want(3, 3)
	held, err := r.control.RuleInstances(t.Context(), "t")
	check(t, err)
	if len(held["full"]) != 0 {
		t.Errorf("a rule that is off holds for %v", held)
	}
}

// TestAFailureRaisesTheSameAgain lets the store fail after the alert was raised: the next round raises the same finding.
func TestAFailureRaisesTheSameAgain(t *testing.T) {
	r := newRig(t)
	_, err := r.control.PutMetricRule(t.Context(), store.MetricRule{Tenant: "t", Name: "full", Expr: "fill_ratio > 0.9", For: 30, Every: 5, Severity: sdk.SeverityHigh, NoData: store.NoDataEnds, Enabled: true, UpdatedBy: "x"})
	check(t, err)
	r.pass(30*time.Second, map[string]float64{"a": 1})
	failing := &failing{Config: r.cfg}
	r.cfg.Store = failing
	failing.on = true
	r.pass(30*time.Second, map[string]float64{"a": 1})
	r.want(1, 0)
	if r.Status("t", "full").Problem == "" {
		t.Error("nobody is told that it could not be kept")
	}
	failing.on = false
	r.pass(30*time.Second, map[string]float64{"a": 1})
	r.want(1, 0)
	if got := r.Status("t", "full").Instances; len(got) != 1 || !got[0].Firing {
		t.Errorf("%+v", got)
	}
}

type failing struct {
	Config
	on bool
}

func (f *failing) MetricRules(ctx context.Context, tenant string) ([]store.MetricRule, error) {
	return f.Store.MetricRules(ctx, tenant)
}

func (f *failing) RuleInstances(ctx context.Context, tenant string) (map[string][]store.RuleInstance, error) {
	return f.Store.RuleInstances(ctx, tenant)
}

func (f *failing) SetRuleInstances(ctx context.Context, tenant, rule string, held []store.RuleInstance, gone []string) error {
	if f.on {
		return context.DeadlineExceeded
	}
	return f.Store.SetRuleInstances(ctx, tenant, rule, held, gone)
}

func TestShippedRulesAreSound(t *testing.T) {
	r := newRig(t)
	for _, rule := range Shipped() {
		form, err := r.engine.Vector(rule.Expr)
		if err != nil || form.Known == "" {
			t.Errorf("%s: %+v, %v", rule.Name, form, err)
		}
		if field, err := r.Check(rule); err != nil {
			t.Errorf("%s: %s: %v", rule.Name, field, err)
		}
		if rule.Title == "" || rule.Summary == "" || rule.Every < 5 {
			t.Errorf("%+v", rule)
		}
	}
}

func TestPreview(t *testing.T) {
	r := newRig(t)
	for i := range 60 {
		r.now = r.now.Add(time.Minute)
		v := .5
		if i >= 20 && i < 40 {
			v = .95
		}
		r.sample("a", v)
	}
	p, err := r.Preview(t.Context(), store.MetricRule{Tenant: "t", Expr: "fill_ratio > 0.9", For: 300, Keep: 60, Every: 60, Title: "Full"}, start, r.now)
	check(t, err)
	if p.Alerts != 1 || p.Instances != 1 || p.Watched != "fill_ratio" || p.Limit == nil || *p.Limit != 0.9 {
		t.Fatalf("%+v", p)
	}
	got := p.Longest[0].Times
	if len(got) != 1 || !got[0].From.Equal(start.Add(26*time.Minute)) || !got[0].To.Equal(start.Add(41*time.Minute)) {
		t.Errorf("%+v", p.Longest)
	}
	if _, err := r.Preview(t.Context(), store.MetricRule{Tenant: "t", Expr: "fill_ratio >"}, start, r.now); err == nil {
		t.Error("half an expression is previewed")
	}
}

// A preview of as much as is looked at, a thousand series at each of the steps, holds tens of megabytes and not hundreds.
func TestPreviewHoldsSeriesOnce(t *testing.T) {
	r := newRig(t)
	list := replayed{}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range maxInstances {
		x, _ := r.instance(store.MetricRule{}, map[string]string{"agent_id": fmt.Sprintf("0190a0b0-0000-7000-8000-%012d", i), "host": fmt.Sprint("host", i)}, 0)
		for step := range int64(previewSteps) {
			list[step] = append(list[step], replayedPoint{&x, 1})
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if held := (after.HeapAlloc - before.HeapAlloc) >> 20; held > 24 {
		t.Errorf("%d MiB are held", held)
	}
	if n := len(list.at(time.UnixMilli(previewSteps - 1))); n != maxInstances {
		t.Errorf("%d series at the last step", n)
	}
}

func TestVector(t *testing.T) {
	r := newRig(t)
	for expr, known := range map[string]string{
		"a > 1":                          "a > bool 1",
		"(a > 1) and on (x) (b < 2)":     "(a > bool 1) and on (x) (b < bool 2)",
		"a > 1 unless b == 1":            "a > bool 1 unless b == 1",
		"absent(a)":                      "",
		"rate(a[5m]) / b >= bool 2 or a": "",
	} {
		form, err := r.engine.Vector(expr)
		check(t, err)
		if expr != "rate(a[5m]) / b >= bool 2 or a" && form.Known != known {
			t.Errorf("%s: known by %q, want %q", expr, form.Known, known)
		}
	}
	for _, expr := range []string{"a[5m]", "1", "a >", `"text"`} {
		if _, err := r.engine.Vector(expr); err == nil {
			t.Errorf("%s is taken for series at one time", expr)
		}
	}
}

func (r *rig) put(rule store.MetricRule) {
	r.t.Helper()
	rule.Tenant, rule.Severity, rule.NoData, rule.Enabled = "t", sdk.SeverityHigh, store.NoDataEnds, true
	_, err := r.control.PutMetricRule(r.t.Context(), rule)
	check(r.t, err)
}

// alone turns off the rules that ship.
func (r *rig) alone() {
	r.t.Helper()
	for _, shipped := range Shipped() {
		shipped.Tenant, shipped.Enabled = "t", false
		_, err := r.control.PutMetricRule(r.t.Context(), shipped)
		check(r.t, err)
	}
}

// Two machines of one name have one alert, which ends with the last of them.
func TestAnAlertOfTwoEndsWithTheLast(t *testing.T) {
	r := newRig(t)
	r.put(store.MetricRule{Name: "full", Expr: "fill_ratio > 0.9", Every: 5})
	fill := func(one, two float64) {
		t.Helper()
		r.now = r.now.Add(time.Minute)
		for agent, v := range map[string]float64{"one": one, "two": two} {
			r.seq++
			_, err := r.telemetry.Append(t.Context(), store.SampleBatch{Tenant: "t", Agent: store.PushedBy(store.OwnSender + "/" + agent), Epoch: "e", Seq: r.seq,
				Samples: []sdk.Sample{{Metric: "fill", Unit: "1", Type: sdk.Gauge, Time: r.now, Value: v, Labels: map[string]string{"host": "pi", "agent_id": agent}}}})
			check(t, err)
		}
		check(t, r.Round(t.Context(), "t"))
	}
	fill(1, 1)
	r.want(1, 0)
	fill(0, 1)
	r.want(1, 0)
	fill(0, 0)
	r.want(1, 1)
}

// What is told apart must not have one alert by accident: an agent may measure many hosts, and one host may have many targets.
func TestSubject(t *testing.T) {
	for _, c := range []struct {
		labels    map[string]string
		who, what string
	}{
		{map[string]string{"agent_id": "1", "agent_name": "web", "instance": "web", "job": "j", "disk": "sda"}, "web", "disk=sda"},
		{map[string]string{"agent_id": "1", "agent_name": "poller", "host": "router", "instance": "poller"}, "poller", "host=router"},
		{map[string]string{"agent_id": "1", "host": "web"}, "web", ""},
		{map[string]string{"instance": "db", "job": "mysql"}, "db", "job=mysql"},
		{map[string]string{"host": "db", "instance": "db:9100"}, "db", "instance=db:9100"},
	} {
		if who, what := subject(c.labels); who != c.who || what != c.what {
			t.Errorf("%v speaks of %q, %q", c.labels, who, what)
		}
	}
}

// A server that was away for longer than data may be missing ends no alert when it is back, and so raises none again.
func TestAlertsOutlastAServerThatWasAway(t *testing.T) {
	r := newRig(t)
	r.put(store.MetricRule{Name: "full", Expr: "fill_ratio > 0.9", Every: 5})
	r.pass(time.Minute, map[string]float64{"a": 1})
	r.now = r.now.Add(time.Hour)
	r.start()
	r.pass(time.Second, nil)
	r.want(1, 0)
	r.pass(time.Minute, map[string]float64{"a": 1})
	r.want(1, 0)
	r.pass(time.Minute, map[string]float64{"a": 0})
	r.want(1, 1)
}

// A tenant that was suspended for longer than data may be missing is told of nothing again when it is back.
func TestAlertsOutlastASuspension(t *testing.T) {
	r := newRig(t)
	r.put(store.MetricRule{Name: "full", Expr: "fill_ratio > 0.9", Every: 5})
	r.pass(time.Minute, map[string]float64{"a": 1})
	r.now = r.now.Add(time.Hour)
	r.keepActive(nil)
	r.keepActive([]string{"t"})
	r.pass(time.Second, nil)
	r.want(1, 0)
	r.pass(time.Minute, map[string]float64{"a": 1})
	r.want(1, 0)
	r.pass(time.Minute, map[string]float64{"a": 0})
	r.want(1, 1)
}

// asking does something while a query is answered.
type asking struct {
	Queries
	while func()
}

func (a asking) Query(ctx context.Context, tenant, expr string, at time.Time, o promql.Options) (*promql.Answer, error) {
	a.while()
	return a.Queries.Query(ctx, tenant, expr, at, o)
}

// A rule that is changed while it is evaluated is evaluated again, however seldom it is looked at.
func TestAChangeMeanwhileIsNotForgotten(t *testing.T) {
	r := newRig(t)
	r.alone()
	day := store.MetricRule{Name: "full", Expr: "fill_ratio > 0.9", Every: 86400}
	r.put(day)
	asked := 0
	r.cfg.Queries = asking{r.engine, func() {
		if asked++; asked == 1 {
			r.now = r.now.Add(time.Second)
			r.put(day)
			r.Soon("t", "full")
		}
	}}
	for range 3 {
		r.pass(time.Minute, map[string]float64{"a": 0})
	}
	if asked != 2 {
		t.Errorf("asked %d times, not twice", asked)
	}
}

// A tenant with many slow rules has its turn and no more, and what waited goes first in the next one.
func TestATenantHasItsTurn(t *testing.T) {
	r := newRig(t)
	r.alone()
	for _, name := range []string{"a", "b", "c"} {
		r.put(store.MetricRule{Name: name, Expr: "fill_ratio > 0.9", Every: 5})
	}
	asked := 0
	r.cfg.Queries = asking{r.engine, func() { asked++; r.now = r.now.Add(limit) }}
	for i, name := range []string{"a", "b", "c", "a"} {
		r.pass(time.Second, nil)
		if asked != i+1 || !r.Status("t", name).Evaluated.Equal(r.now.Add(-limit)) {
			t.Errorf("round %d asked %d times, and not for %s", i, asked, name)
		}
	}
}
