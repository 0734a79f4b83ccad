package store

import (
	"context"
	"fmt"
	"time"
)

// CustomMetric is a metric that an operator defined.
type CustomMetric struct {
	Tenant, Name string
	Type         string // gauge, counter or histogram
	Unit         string
	Description  string
	Labels       []string  // that its values may have
	Aggregation  string    // how its series become one figure: avg, sum, min or max
	Bounds       []float64 // of a histogram's buckets
	Created      time.Time
	CreatedBy    string
}

const maxCustomMetrics = 500 // of one tenant

const customColumns = "tenant, name, type, unit, description, labels, aggregation, bounds, created, created_by"

func scanCustomMetric(r row) (m CustomMetric, err error) {
	err = r.Scan(&m.Tenant, &m.Name, &m.Type, &m.Unit, &m.Description, fromJSON(&m.Labels), &m.Aggregation, fromJSON(&m.Bounds), stamp(&m.Created), &m.CreatedBy)
	return m, explain(err)
}

// DefineMetric keeps a definition. ErrConflict: there is one of this name.
func (c *Control) DefineMetric(ctx context.Context, m CustomMetric) (CustomMetric, error) {
	var others int
	if err := c.reader.QueryRowContext(ctx, "SELECT count(*) FROM custom_metrics WHERE tenant = ?", m.Tenant).Scan(&others); err != nil {
		return m, explain(err)
	}
	if others >= maxCustomMetrics {
		return m, &QueryError{fmt.Sprintf("%d metrics are defined, more are not kept; delete one first", maxCustomMetrics)}
	}
	m.Created = c.now().UTC()
	_, err := c.exec(ctx, "INSERT INTO custom_metrics ("+customColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", m.Tenant, m.Name, m.Type, m.Unit,
		m.Description, toJSON(m.Labels), m.Aggregation, toJSON(m.Bounds), micros(m.Created), m.CreatedBy)
	return m, err
}

// CustomMetrics lists the definitions by name.
func (c *Control) CustomMetrics(ctx context.Context, tenant string) ([]CustomMetric, error) {
	return collect(ctx, c.reader, scanCustomMetric, "SELECT "+customColumns+" FROM custom_metrics WHERE tenant = ? ORDER BY name", tenant)
}

// CustomMetric returns one definition.
func (c *Control) CustomMetric(ctx context.Context, tenant, name string) (CustomMetric, error) {
	return scanCustomMetric(c.reader.QueryRowContext(ctx, "SELECT "+customColumns+" FROM custom_metrics WHERE tenant = ? AND name = ?", tenant, name))
}

// DeleteMetric forgets a definition. Its values stay as long as samples do.
func (c *Control) DeleteMetric(ctx context.Context, tenant, name string) error {
	return c.execOne(ctx, "DELETE FROM custom_metrics WHERE tenant = ? AND name = ?", tenant, name)
}
