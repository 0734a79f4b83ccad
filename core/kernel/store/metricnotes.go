package store

import (
	"context"
	"database/sql"
	"maps"
	"slices"
	"sync"
	"unicode/utf8"
)

// MetricNote is what was told of a metric beside its samples, under the name with which it is stored; a histogram's is that of
// its three series without their ends.
type MetricNote struct {
	Metric, Type, Unit, Help string
}

const (
	maxMetricNotes = 20_000 // of one tenant
	maxNoteHelp    = 1024
)

var noteTypes = []string{"gauge", "counter", "histogram", "summary"}

// metricNotes are the notes of the tenants that were asked for. A map in it is never changed, but replaced.
type metricNotes struct {
	mu       sync.Mutex // held while notes are written, too: the last one told counts
	byTenant map[string]map[string]MetricNote
}

// MetricNotes returns the notes on a tenant's metrics by their names. They must not be changed.
func (c *Control) MetricNotes(ctx context.Context, tenant string) (map[string]MetricNote, error) {
	c.notes.mu.Lock()
	defer c.notes.mu.Unlock()
	return c.metricNotes(ctx, tenant)
}

func (c *Control) metricNotes(ctx context.Context, tenant string) (map[string]MetricNote, error) {
	if known := c.notes.byTenant[tenant]; known != nil {
		return known, nil
	}
	list, err := collect(ctx, c.reader, func(r row) (n MetricNote, err error) {
		return n, r.Scan(&n.Metric, &n.Type, &n.Unit, &n.Help)
	}, "SELECT metric, type, unit, help FROM metric_notes WHERE tenant = ?", tenant)
	if err != nil {
		return nil, err
	}
	notes := make(map[string]MetricNote, len(list))
	for _, n := range list {
		notes[n.Metric] = n
	}
	if c.notes.byTenant == nil {
		c.notes.byTenant = map[string]map[string]MetricNote{}
	}
	c.notes.byTenant[tenant] = notes
	return notes, nil
}

// NoteMetrics keeps what is new in the notes. Beyond a number of metrics, others are left out: notes help to read figures, and
// nothing rests on them.
func (c *Control) NoteMetrics(ctx context.Context, tenant string, notes []MetricNote) error {
	c.notes.mu.Lock()
	defer c.notes.mu.Unlock()
	known, err := c.metricNotes(ctx, tenant)
	if err != nil {
		return err
	}
	fresh := map[string]MetricNote{}
	for _, n := range notes {
		_, old := known[n.Metric]
		_, twice := fresh[n.Metric]
		if n.Metric == "" || !slices.Contains(noteTypes, n.Type) || len(n.Metric) > maxName || len(n.Unit) > maxName || len(n.Help) > maxNoteHelp || !utf8.ValidString(n.Metric+n.Unit+n.Help) ||
			known[n.Metric] == n || !old && !twice && len(known)+len(fresh) >= maxMetricNotes {
			continue
		}
		fresh[n.Metric] = n
	}
	if len(fresh) == 0 {
		return nil
	}
	err = c.write(ctx, func(tx *sql.Tx) error {
		for _, n := range fresh {
			if _, err := tx.ExecContext(ctx, `INSERT INTO metric_notes VALUES (?, ?, ?, ?, ?)
				ON CONFLICT (tenant, metric) DO UPDATE SET type = excluded.type, unit = excluded.unit, help = excluded.help`,
				tenant, n.Metric, n.Type, n.Unit, n.Help); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return explain(err)
	}
	all := maps.Clone(known)
	maps.Copy(all, fresh)
	c.notes.byTenant[tenant] = all
	return nil
}
