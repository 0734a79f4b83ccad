package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"github.com/picketwatch/picket/sdk"
)

// MetricRules is the detector in the findings of rules over metrics.
const MetricRules = "metric-rules"

// MetricRule raises an alert for each series that its expression finds for long enough.
type MetricRule struct {
	Tenant    string       `json:"-"`
	Name      string       `json:"-"`
	Title     string       `json:"title"`
	Expr      string       `json:"expr"`
	Stays     string       `json:"stays,omitempty"` // what holds an alert that was raised; empty: Expr
	For       Seconds      `json:"for,omitempty"`   // how long Expr must find a series
	Keep      Seconds      `json:"keep,omitempty"`  // how long it must not any more
	Every     Seconds      `json:"every"`
	Severity  sdk.Severity `json:"severity"`
	NoData    string       `json:"no_data"`
	Summary   string       `json:"summary"`
	Group     string       `json:"group,omitempty"` // of agents; empty: everything
	Enabled   bool         `json:"enabled"`
	Updated   time.Time    `json:"-"`
	UpdatedBy string       `json:"-"` // empty: as it ships
	Ships     bool         `json:"-"` // it comes with the server
}

// Seconds is a length of time that is kept and shown in whole seconds.
type Seconds int64

// Duration returns it as the standard library has it.
func (s Seconds) Duration() time.Duration { return time.Duration(s) * time.Second }

// What the absence of data that were there means to a rule.
const (
	NoDataEnds  = "ends"  // an alert, after a while; and it raises none
	NoDataKeeps = "keeps" // an alert as it is
	NoDataFires = "fires" // it is an alert
)

// RuleInstance is one series for which a rule holds, or held a moment ago.
type RuleInstance struct {
	Instance    string            `json:"-"`
	Labels      map[string]string `json:"labels"`
	Value       float64           `json:"value"`
	NoData      bool              `json:"no_data,omitempty"` // the data are gone
	Firing      bool              `json:"firing,omitempty"`
	Since       time.Time         `json:"since"`                 // when the rule began to hold
	Fired       time.Time         `json:"fired,omitzero"`        // when the alert was raised
	Held        time.Time         `json:"held"`                  // when it was seen to hold last
	Fingerprint string            `json:"fingerprint,omitempty"` // of the alert
}

// RuleStatus is how a rule does.
type RuleStatus struct {
	Evaluated time.Time     // when last; zero: not yet
	Took      time.Duration // the last time
	Problem   string        // why it could not be evaluated, or not in full
	Instances []RuleInstance
}

// RulePreview is what a rule would have done.
type RulePreview struct {
	Alerts    int        `json:"alerts" doc:"That it would have raised."`
	Instances int        `json:"instances" doc:"Series that they would have been about."`
	Step      float64    `json:"step" doc:"Seconds from one look to the next."`
	Watched   string     `json:"watched,omitempty" doc:"What the expression compares, for a chart."`
	Limit     *float64   `json:"limit,omitempty" doc:"And with what."`
	Longest   []RuleTold `json:"longest" nullable:"false" doc:"The 20 series with the longest alerts."`
}

// RuleTold are the alerts about one series.
type RuleTold struct {
	Labels  map[string]string `json:"labels"`
	Summary string            `json:"summary"`
	Times   []RuleSpan        `json:"times" nullable:"false"`
}

// RuleSpan is from when to when.
type RuleSpan struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to,omitzero" doc:"Without it, it goes on."`
}

const maxMetricRules = 500 // of one tenant

const metricRuleColumns = "tenant, name, body, updated, updated_by"

func scanMetricRule(r row) (m MetricRule, err error) {
	var tenant, name, by string
	var updated time.Time
	err = r.Scan(&tenant, &name, fromJSON(&m), stamp(&updated), &by)
	m.Tenant, m.Name, m.Updated, m.UpdatedBy = tenant, name, updated, by
	return m, explain(err)
}

// PutMetricRule keeps a rule in the place of what has its name.
func (c *Control) PutMetricRule(ctx context.Context, m MetricRule) (MetricRule, error) {
	var others int
	if err := c.reader.QueryRowContext(ctx, "SELECT count(*) FROM metric_rules WHERE tenant = ? AND name <> ?", m.Tenant, m.Name).Scan(&others); err != nil {
		return m, explain(err)
	}
	if others >= maxMetricRules {
		return m, &QueryError{fmt.Sprintf("there are %d rules, more are not kept; delete one first", maxMetricRules)}
	}
	m.Updated = c.now().UTC()
	_, err := c.exec(ctx, "INSERT INTO metric_rules ("+metricRuleColumns+`) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT DO UPDATE SET body = excluded.body, updated = excluded.updated, updated_by = excluded.updated_by`,
		m.Tenant, m.Name, toJSON(m), micros(m.Updated), m.UpdatedBy)
	return m, err
}

// MetricRules lists a tenant's rules by name.
func (c *Control) MetricRules(ctx context.Context, tenant string) ([]MetricRule, error) {
	return collect(ctx, c.reader, scanMetricRule, "SELECT "+metricRuleColumns+" FROM metric_rules WHERE tenant = ? ORDER BY name", tenant)
}

// DeleteMetricRule forgets a rule. What it holds for is forgotten by SetRuleInstances, after its alerts were ended.
func (c *Control) DeleteMetricRule(ctx context.Context, tenant, name string) error {
	return c.execOne(ctx, "DELETE FROM metric_rules WHERE tenant = ? AND name = ?", tenant, name)
}

// RuleInstances lists for what a tenant's rules hold, by rule.
func (c *Control) RuleInstances(ctx context.Context, tenant string) (map[string][]RuleInstance, error) {
	rows, err := c.reader.QueryContext(ctx, "SELECT rule, instance, body FROM metric_rule_instances WHERE tenant = ? ORDER BY rule, instance", tenant)
	if err != nil {
		return nil, explain(err)
	}
	defer rows.Close()
	list := map[string][]RuleInstance{}
	for rows.Next() {
		var rule, instance, body string
		var i RuleInstance
		if err := rows.Scan(&rule, &instance, &body); err != nil {
			return nil, explain(err)
		}
		if err := json.Unmarshal([]byte(body), &i); err != nil {
			return nil, fmt.Errorf("what rule %s holds for: %w", rule, err)
		}
		i.Instance = instance
		list[rule] = append(list[rule], i)
	}
	return list, explain(rows.Err())
}

// SetRuleInstances keeps for what a rule holds now, and forgets what it held for.
func (c *Control) SetRuleInstances(ctx context.Context, tenant, rule string, held []RuleInstance, gone []string) error {
	if len(held)+len(gone) == 0 {
		return nil
	}
	return c.write(ctx, func(tx *sql.Tx) error {
		for _, i := range held {
			if _, err := tx.ExecContext(ctx, `INSERT INTO metric_rule_instances (tenant, rule, instance, body) VALUES (?, ?, ?, ?)
				ON CONFLICT DO UPDATE SET body = excluded.body`, tenant, rule, i.Instance, toJSON(i)); err != nil {
				return err
			}
		}
		for _, instance := range gone {
			if _, err := tx.ExecContext(ctx, "DELETE FROM metric_rule_instances WHERE tenant = ? AND rule = ? AND instance = ?", tenant, rule, instance); err != nil {
				return err
			}
		}
		return nil
	})
}
