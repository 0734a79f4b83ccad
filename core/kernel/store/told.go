package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"time"
)

// Told is a configuration that an instance was given. The newest is what it has, unless it is assigned no more.
type Told struct {
	Number  int // from 1, in the order in which they were given
	Config  json.RawMessage
	By      string
	Created time.Time
}

// maxTold is how many of them are kept of one instance.
const maxTold = 50

// tell notes the configuration of an assignment, unless it is the one that it had.
func (c *Control) tell(ctx context.Context, tx *sql.Tx, a Assignment) error {
	config := rawJSON(a.Config, "{}")
	_, err := tx.ExecContext(ctx, `INSERT INTO assignment_configs (tenant, instance, number, config, by, created)
		SELECT ?1, ?2, 1 + coalesce(max(number), 0), ?3, ?4, ?5 FROM assignment_configs WHERE tenant = ?1 AND instance = ?2
		HAVING ?3 IS NOT (SELECT config FROM assignment_configs WHERE tenant = ?1 AND instance = ?2 ORDER BY number DESC LIMIT 1)`,
		a.Tenant, a.Instance, config, a.CreatedBy, micros(c.now()))
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `DELETE FROM assignment_configs WHERE tenant = ?1 AND instance = ?2
		AND number <= (SELECT max(number) FROM assignment_configs WHERE tenant = ?1 AND instance = ?2) - ?3`, a.Tenant, a.Instance, maxTold)
	return err
}

// ToldOf lists what an instance was told, newest first. It is kept when the instance is not assigned any more.
func (c *Control) ToldOf(ctx context.Context, tenant, instance string) ([]Told, error) {
	return collect(ctx, c.reader, func(r row) (t Told, err error) {
		return t, r.Scan(&t.Number, fromJSON(&t.Config), &t.By, stamp(&t.Created))
	}, "SELECT number, config, by, created FROM assignment_configs WHERE tenant = ? AND instance = ? ORDER BY number DESC", tenant, instance)
}

// RuleHits is how often a rule of a detector found something.
type RuleHits struct {
	Rule     string
	Findings int
	Last     time.Time
}

// RuleHitsSince counts the findings of a detector by rule that came since then.
func (c *Control) RuleHitsSince(ctx context.Context, tenant, detector string, since time.Time) ([]RuleHits, error) {
	return collect(ctx, c.reader, func(r row) (h RuleHits, err error) {
		return h, r.Scan(&h.Rule, &h.Findings, stamp(&h.Last))
	}, `SELECT a.rule, count(*), max(f.created) FROM alerts a JOIN findings f ON f.alert_id = a.id AND f.created >= ?3
		WHERE a.tenant = ?1 AND a.detector = ?2 AND a.updated >= ?3 GROUP BY a.rule ORDER BY a.rule`, tenant, detector, micros(since))
}
