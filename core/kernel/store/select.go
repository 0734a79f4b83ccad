package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/picketwatch/picket/sdk"
)

// MetricShape is a metric in one of the units and types in which it is sent.
type MetricShape struct {
	Name, Unit string
	Type       sdk.MetricType
}

// KnownSeries is a series of the catalogue.
type KnownSeries struct {
	Agent  string
	Labels map[string]string // not to be changed

	// What was written last; no time means that it is not known, because nothing came since the server started.
	LastAt    int64 // Unix milliseconds
	LastValue float64
	Gap       time.Duration // between the last two samples; 0 when there were no two

	series *series
}

// RawSample is a sample as it was sent.
type RawSample struct {
	Millis int64 // Unix time
	Value  float64
}

// Shapes lists the tenant's metrics in no order. The version changes with every new one of any tenant.
func (t *Telemetry) Shapes(tenant string) (list []MetricShape, version uint64) {
	c := t.catalogue
	c.mu.RLock()
	defer c.mu.RUnlock()
	for key, m := range c.byName {
		name, ours := strings.CutPrefix(key, tenant+"\x00")
		if !ours {
			continue
		}
		for _, s := range m.forms {
			list = append(list, MetricShape{Name: name, Unit: s.unit, Type: s.kind})
		}
	}
	return list, c.forms
}

// ShapesVersion is the version that Shapes would return.
func (t *Telemetry) ShapesVersion() uint64 {
	t.catalogue.mu.RLock()
	defer t.catalogue.mu.RUnlock()
	return t.catalogue.forms
}

// EachSeries calls fn for each series of a metric, in the order of their numbers, which is that of their samples in a
// closed file. fn must be quick: new series wait for it.
func (t *Telemetry) EachSeries(tenant string, m MetricShape, fn func(KnownSeries)) {
	c := t.catalogue
	c.mu.RLock()
	defer c.mu.RUnlock()
	known := c.byName[nameKey(tenant, m.Name)]
	if known == nil {
		return
	}
	for _, s := range known.series {
		if s.unit != m.Unit || s.kind != m.Type {
			continue
		}
		k := KnownSeries{Agent: s.agent, Labels: s.labels, series: s}
		k.refresh()
		fn(k)
	}
}

// refresh is called with the catalogue locked.
func (k *KnownSeries) refresh() {
	last := k.series.last
	k.Gap = time.Duration(last.gap) * time.Microsecond
	if last.us != 0 {
		k.LastAt, k.LastValue = last.us/1000, last.value
	}
}

// Refresh brings what is known of the newest samples up to date.
func (t *Telemetry) Refresh(list []KnownSeries) {
	t.catalogue.mu.RLock()
	defer t.catalogue.mu.RUnlock()
	for i := range list {
		list[i].refresh()
	}
}

// CountSeries counts the series of metrics, whatever their unit and type. It only grows.
func (t *Telemetry) CountSeries(tenant string, metrics []MetricShape) (n int) {
	c := t.catalogue
	c.mu.RLock()
	defer c.mu.RUnlock()
	for _, m := range metrics {
		if known := c.byName[nameKey(tenant, m.Name)]; known != nil {
			n += len(known.series)
		}
	}
	return n
}

// RawQuery says which samples are wanted. Times are Unix milliseconds.
type RawQuery struct {
	From, To int64 // both included
	// With a Step, those are enough that are the newest at First, First+Step and so on: of samples between two of these moments
	// all but the last may be left out.
	First, Step int64
	Most        int // samples that may be read
}

// RawSamples reads the samples of some series, and says how many it read. Each series gets its own by time; of two of one
// time the later written counts. It ends with an error of type *QueryError when there are more than the most. What
// could not be opened is returned as missing.
func (t *Telemetry) RawSamples(ctx context.Context, list []KnownSeries, q RawQuery) (samples [][]RawSample, read int, missing []error, err error) {
	if len(list) == 0 || q.To < q.From {
		return make([][]RawSample, len(list)), 0, nil, nil
	}
	found := make([]*series, len(list))
	for i, k := range list {
		found[i] = k.series
	}
	g := newRawRows(found, q)
	missing, err = t.readRaw(ctx, found, g)
	if t.segments.diagnose(err) || replaced(err) {
		g = newRawRows(found, q)
		missing, err = t.readRaw(ctx, found, g) // once more, with the files opened again
	}
	for _, m := range missing {
		t.failed(m)
	}
	if err != nil {
		return nil, g.read, missing, err
	}
	for i := range g.samples {
		g.samples[i] = InOrder(g.samples[i])
	}
	return g.samples, g.read, missing, nil
}

func (t *Telemetry) readRaw(ctx context.Context, found []*series, g *rawRows) ([]error, error) {
	from, to := g.query.From*1000, (g.query.To+1)*1000
	held, missing := t.segments.forRead(ctx, dayOf(from), dayOf(to-1))
	defer t.segments.release(held...)
	if len(held) == 0 {
		return missing, nil
	}
	ids := idRanges(found)
	parts := make([]string, len(held))
	for i, seg := range held {
		// In their order, in which a later value of one time comes later: finding it here costs less than in SQL.
		sh, _ := t.segments.shapeOf(seg)
		sh.loose = false
		parts[i] = fmt.Sprintf("SELECT series_id, ts, value FROM %s WHERE ts >= %s AND ts < %s AND (%s)", t.source(seg, sh, ""), timestamp(from), timestamp(to), ids)
	}
	return missing, t.engine.eachChunk(ctx, strings.Join(parts, " UNION ALL "), g.add)
}

// rawRows puts rows to the series that they belong to.
type rawRows struct {
	query   RawQuery
	ids     []uint32 // of the series, rising
	lines   []int    // which of the list each is
	samples [][]RawSample
	ends    []int64 // of each line: the moment up to which the next sample takes the place of its last
	read    int
}

func newRawRows(found []*series, q RawQuery) *rawRows {
	g := &rawRows{query: q, ids: make([]uint32, len(found)), lines: make([]int, len(found)), samples: make([][]RawSample, len(found)), ends: make([]int64, len(found))}
	for i := range found {
		g.lines[i] = i
	}
	slices.SortFunc(g.lines, func(a, b int) int { return cmp.Compare(found[a].id, found[b].id) })
	for i, line := range g.lines {
		g.ids[i] = found[line].id
	}
	return g
}

func (g *rawRows) add(ids []uint32, times []int64, values []float64) error {
	if g.read += len(ids); g.read > g.query.Most {
		return &QueryError{fmt.Sprintf("more than %d samples at once", g.query.Most)}
	}
	at := 0 // of the row before, which is mostly of the same series or of its neighbour
	for i, id := range ids {
		if g.ids[at] != id {
			if at++; at == len(g.ids) || g.ids[at] != id {
				known := false
				if at, known = slices.BinarySearch(g.ids, id); !known {
					return fmt.Errorf("a row of series %d was not asked for", id)
				}
			}
		}
		line, s := g.lines[at], RawSample{times[i] / 1000, values[i]}
		list := g.samples[line]
		if n := len(list); n > 0 && g.query.Step > 0 && s.Millis <= g.ends[line] && s.Millis >= list[n-1].Millis {
			list[n-1] = s
			continue
		}
		g.samples[line] = append(list, s)
		if g.query.Step > 0 {
			g.ends[line] = g.query.end(s.Millis)
		}
	}
	return nil
}

// end is the first moment at which a sample of that time could be the newest.
func (q RawQuery) end(millis int64) int64 {
	if millis <= q.First {
		return q.First
	}
	return q.First + ((millis-q.First-1)/q.Step+1)*q.Step
}

// InOrder sorts by time what did not come so, and keeps the last of each time.
func InOrder(list []RawSample) []RawSample {
	rising := true
	for i := 1; i < len(list) && rising; i++ {
		rising = list[i-1].Millis < list[i].Millis
	}
	if rising {
		return list
	}
	slices.SortStableFunc(list, func(a, b RawSample) int { return int(a.Millis - b.Millis) })
	kept := list[:0]
	for i, s := range list {
		if i+1 == len(list) || list[i+1].Millis != s.Millis {
			kept = append(kept, s)
		}
	}
	return kept
}

// PushedBy is the sender of samples that no agent of ours sent: by remote write, OTLP or Influx's protocol, under the
// name of a token or a user. To PromQL, such series have the labels with which they were pushed and no others.
func PushedBy(name string) string { return pushed + name }

// OwnSender is the name under which the server's figures about itself are stored, and before a slash, about others.
const OwnSender = "picketd"

// OwnPush reports whether it is the server itself that pushed: what it says of an agent is so.
func OwnPush(sender string) bool {
	name, is := strings.CutPrefix(sender, pushed+OwnSender)
	return is && (name == "" || name[0] == '/')
}

// IsPushed reports whether a sender is one of PushedBy.
func IsPushed(sender string) bool { return strings.HasPrefix(sender, pushed) }

const pushed = "push:"

// AgentName is what people call an agent.
type AgentName struct{ ID, Name, Group string }

// AgentNames lists the names of all the tenant's agents.
func (c *Control) AgentNames(ctx context.Context, tenant string) ([]AgentName, error) {
	agents, err := c.indexed(ctx, tenant)
	if err != nil {
		return nil, err
	}
	list := make([]AgentName, len(agents))
	for i, a := range agents {
		list[i] = AgentName{a.ID, a.Name, a.Group}
	}
	return list, nil
}
