package core

import (
	"context"
	"errors"
	"time"

	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/core/services/alert"
	"github.com/picketwatch/picket/core/services/detect"
	"github.com/picketwatch/picket/sdk"
)

func (c *Core) activeTenants() (ids []string) {
	for _, t := range c.control.Tenants() {
		if t.State == store.TenantActive {
			ids = append(ids, t.ID)
		}
	}
	return ids
}

// raised makes an alert of what a rule found.
func (c *Core) raised(ctx context.Context, tenant, agent string, f sdk.Finding) (string, error) {
	f.ID = detect.FindingID(store.MetricRules, f)
	return alert.Fingerprint(f), c.alerts.Record(ctx, alert.Source{Tenant: tenant, Agent: agent}, []sdk.Finding{f})
}

// over ends the alert of a rule that no longer holds. Somebody may have ended it before.
func (c *Core) over(ctx context.Context, tenant, fingerprint, rule string) error {
	err := c.alerts.Over(ctx, tenant, fingerprint, "rule:"+rule)
	if errors.Is(err, store.ErrState) || errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}

// silence is for how long an agent was not heard. While the server was away it heard nobody; what an agent was silent for before that
// counts, or each start of the server would tell people that all is well with it.
func (s *self) silence(seen, at time.Time) time.Duration {
	if !seen.Before(s.began) {
		return at.Sub(seen)
	}
	return at.Sub(s.began) + max(0, s.heard.Sub(seen))
}

// measureSilence says of each agent that is not heard for how long, so that rules can tell people. One that is back is said to be
// once: what is healthy costs nothing.
func (s *self) measureSilence(ctx context.Context, at time.Time) error {
	c := s.core
	silent := map[string]bool{}
	byTenant := map[string][]sdk.Sample{}
	say := func(a store.SilentAgent, seconds float64) {
		byTenant[a.Tenant] = append(byTenant[a.Tenant], sdk.Sample{Metric: "picket.agent.silence", Unit: "s", Type: sdk.Gauge, Time: at, Value: seconds,
			Labels: map[string]string{"agent_id": a.ID, "host": a.Name}})
	}
	list, err := c.control.SilentAgents(ctx, at.Add(-time.Duration(c.cfg.Settings.Agents.LateAfter)))
	if err != nil {
		return err
	}
	for _, a := range list {
		silent[a.ID] = true
		s.silent[a.ID] = a
		say(a, s.silence(a.Seen, at).Truncate(time.Second).Seconds())
	}
	for id, a := range s.silent {
		if !silent[id] {
			say(a, 0)
			delete(s.silent, id)
		}
	}
	for tenant, samples := range byTenant {
		if _, err := c.telemetry.Append(ctx, store.SampleBatch{Tenant: tenant, Agent: store.PushedBy(store.OwnSender + "/agents"), Epoch: s.began.UTC().Format(time.RFC3339Nano), Seq: s.seq, Samples: samples}); err != nil {
			return err
		}
	}
	return nil
}
