package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
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
		k := KnownSeries{Agent: s.agent, Labels: s.labels, series: s, Gap: time.Duration(s.last.gap) * time.Microsecond}
		if s.last.us != 0 {
			k.LastAt, k.LastValue = s.last.us/1000, s.last.value
		}
		fn(k)
	}
}

// RawSamples reads the samples of some series from one moment to another, both included, in Unix milliseconds. Each
// series gets its own by time; of two of one time the later written counts. It ends with an error of type *QueryError
// when there are more than most. What could not be opened is returned as missing.
func (t *Telemetry) RawSamples(ctx context.Context, list []KnownSeries, from, to int64, most int) (samples [][]RawSample, missing []error, err error) {
	samples = make([][]RawSample, len(list))
	if len(list) == 0 || to < from {
		return samples, nil, nil
	}
	lines := make(map[uint32]int, len(list))
	found := make([]*series, len(list))
	for i, k := range list {
		found[i] = k.series
		lines[k.series.id] = i
	}
	missing, err = t.readRaw(ctx, found, from, to, most, samples, lines)
	if t.segments.diagnose(err) || replaced(err) {
		clear(samples)
		missing, err = t.readRaw(ctx, found, from, to, most, samples, lines) // once more, with the files opened again
	}
	for _, m := range missing {
		t.failed(m)
	}
	if err != nil {
		return nil, missing, err
	}
	for i := range samples {
		samples[i] = InOrder(samples[i])
	}
	return samples, missing, nil
}

func (t *Telemetry) readRaw(ctx context.Context, found []*series, from, to int64, most int, samples [][]RawSample, lines map[uint32]int) ([]error, error) {
	held, missing := t.segments.forRead(ctx, dayOf(from*1000), dayOf(to*1000))
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
		parts[i] = fmt.Sprintf("SELECT series_id, epoch_ms(ts) AS t, value FROM %s WHERE ts >= %s AND ts < %s AND (%s)",
			t.source(seg, sh, ""), timestamp(from*1000), timestamp((to+1)*1000), ids)
	}
	conn, err := t.engine.db.Conn(ctx)
	if err != nil {
		return missing, err
	}
	defer conn.Close()
	// The driver's own rows: for hundreds of thousands, converting through database/sql would cost as much as finding them.
	return missing, raw(conn, func(c driver.Conn) error {
		rows, err := c.(driver.QueryerContext).QueryContext(ctx, strings.Join(parts, " UNION ALL "), nil) //nolint:forcetypeassert // DuckDB's is one
		if err != nil {
			return err
		}
		defer rows.Close()
		row := make([]driver.Value, 3)
		for n := 0; ; n++ {
			switch err := rows.Next(row); {
			case errors.Is(err, io.EOF):
				return nil
			case err != nil:
				return err
			case n == most:
				return &QueryError{fmt.Sprintf("more than %d samples at once", most)}
			}
			id, known := row[0].(uint32)
			at, whole := row[1].(int64)
			value, number := row[2].(float64)
			if !known || !whole || !number {
				return fmt.Errorf("a row holds %T, %T and %T", row[0], row[1], row[2])
			}
			line := lines[id]
			samples[line] = append(samples[line], RawSample{at, value})
		}
	})
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

// IsPushed reports whether a sender is one of PushedBy.
func IsPushed(sender string) bool { return strings.HasPrefix(sender, pushed) }

const pushed = "push:"

// AgentName is what people call an agent.
type AgentName struct{ ID, Name, Group string }

// AgentNames lists the names of all the tenant's agents.
func (c *Control) AgentNames(ctx context.Context, tenant string) ([]AgentName, error) {
	return collect(ctx, c.reader, func(r row) (a AgentName, err error) {
		return a, r.Scan(&a.ID, &a.Name, &a.Group)
	}, "SELECT id, name, grp FROM agents WHERE tenant = ?", tenant)
}
