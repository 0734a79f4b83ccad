package promql

import (
	"slices"
	"strings"
	"sync"

	"github.com/prometheus/common/model"
	"github.com/prometheus/otlptranslator"

	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/sdk"
)

// The rules are OpenTelemetry's for Prometheus: dots become underscores, units become suffixes, counters end in _total.
// What came under a name that Prometheus allows and without a unit, as by remote write, leaves as it came.
var (
	metricNamer = otlptranslator.NewMetricNamer("", otlptranslator.UnderscoreEscapingWithSuffixes)
	labelNamer  = otlptranslator.LabelNamer{}
)

// histogramParts are the ends of the names of the series that make a histogram or a summary.
var histogramParts = []string{"bucket", "sum", "count"}

// metricName is the name that Prometheus's clients see. isHistogram says whether there is a histogram of a name.
func metricName(m store.MetricShape, isHistogram func(base, separator string) bool) string {
	if model.LegacyValidation.IsValidMetricName(m.Name) && m.Unit == "" && (m.Type == sdk.Gauge || endsAsCounter(m.Name)) {
		return m.Name
	}
	as := otlptranslator.Metric{Name: m.Name, Unit: m.Unit, Type: otlptranslator.MetricTypeGauge}
	part := ""
	if m.Type == sdk.Counter {
		as.Type = otlptranslator.MetricTypeMonotonicCounter
		if base, separator, last := cutLast(m.Name); slices.Contains(histogramParts, last) && isHistogram(base, separator) {
			as.Type, as.Name, part = otlptranslator.MetricTypeHistogram, base, "_"+last
		}
	}
	name, err := metricNamer.Build(as)
	if err != nil { // of nothing but signs
		return "_"
	}
	return name + part
}

func endsAsCounter(name string) bool {
	_, _, last := cutLast(name)
	return last == "total" || slices.Contains(histogramParts, last)
}

// cutLast takes the last word off a name.
func cutLast(name string) (base, separator, last string) {
	i := strings.LastIndexAny(name, "._")
	if i < 0 {
		return "", "", name
	}
	return name[:i], name[i : i+1], name[i+1:]
}

// labelName is the name that Prometheus's clients see of a label.
func labelName(name string) string {
	if model.LegacyValidation.IsValidLabelName(name) {
		return name
	}
	translated, err := labelNamer.Build(name)
	if err != nil {
		return "_"
	}
	return translated
}

// nameTable translates the names of one tenant's metrics, both ways.
type nameTable struct {
	version uint64
	names   []string // as Prometheus has them, sorted
	shapes  map[string][]store.MetricShape
	own     map[string][]string // from the name under which it is stored
}

// find returns the names that are stored under, or translated to, this one.
func (t *nameTable) find(name string) []string {
	if _, ok := t.shapes[name]; ok {
		return []string{name}
	}
	return t.own[name]
}

// names holds the tables of the tenants, made anew when there are new metrics.
type names struct {
	samples Samples

	mu     sync.Mutex // guards what follows
	tables map[string]*nameTable
}

func (n *names) of(tenant string) *nameTable {
	n.mu.Lock()
	defer n.mu.Unlock()
	if t := n.tables[tenant]; t != nil && t.version == n.samples.ShapesVersion() {
		return t
	}
	shapes, version := n.samples.Shapes(tenant)
	t := newNameTable(shapes)
	t.version = version
	if n.tables == nil {
		n.tables = map[string]*nameTable{}
	}
	n.tables[tenant] = t
	return t
}

func newNameTable(shapes []store.MetricShape) *nameTable {
	t := &nameTable{shapes: map[string][]store.MetricShape{}, own: map[string][]string{}}
	counters := map[string]bool{}
	for _, s := range shapes {
		if s.Type == sdk.Counter {
			counters[s.Name] = true
		}
	}
	isHistogram := func(base, separator string) bool {
		return counters[base+separator+"bucket"] || counters[base+separator+"sum"] && counters[base+separator+"count"]
	}
	for _, s := range shapes {
		name := metricName(s, isHistogram)
		t.shapes[name] = append(t.shapes[name], s)
		if !slices.Contains(t.own[s.Name], name) {
			t.own[s.Name] = append(t.own[s.Name], name)
		}
	}
	for name := range t.shapes {
		t.names = append(t.names, name)
	}
	slices.Sort(t.names)
	return t
}
