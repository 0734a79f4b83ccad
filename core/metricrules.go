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

// measureAgents says of each agent that is not heard for how long, and of each whose clock is wrong by how much, so that rules can tell
// people. Of one that is well again it is said once: what is healthy costs nothing.
func (s *self) measureAgents(ctx context.Context, at time.Time) error {
	c := s.core
	byTenant := map[string][]sdk.Sample{}
	say := func(metric, tenant, id, name string, seconds float64) {
		byTenant[tenant] = append(byTenant[tenant], sdk.Sample{Metric: metric, Unit: "s", Type: sdk.Gauge, Time: at, Value: seconds,
			Labels: map[string]string{"agent_id": id, "host": name}})
	}
	late := at.Add(-time.Duration(c.cfg.Settings.Agents.LateAfter))
	silent, err := c.control.SilentAgents(ctx, late)
	if err != nil {
		return err
	}
	skewed, err := c.control.SkewedAgents(ctx, late)
	if err != nil {
		return err
	}
	was, wrong := s.silent, s.skewed
	s.silent = map[string]store.SilentAgent{}
	for _, a := range silent {
		s.silent[a.ID] = a
		delete(was, a.ID)
		say("picket.agent.silence", a.Tenant, a.ID, a.Name, s.silence(a.Seen, at).Truncate(time.Second).Seconds())
	}
	for id, a := range was {
		say("picket.agent.silence", a.Tenant, id, a.Name, 0)
	}
	s.skewed = map[string]store.SkewedAgent{}
	for _, a := range skewed {
		s.skewed[a.ID] = a
		delete(wrong, a.ID)
		say("picket.agent.clock.skew", a.Tenant, a.ID, a.Name, a.Skew.Round(100*time.Millisecond).Seconds())
	}
	for id, a := range wrong {
		if _, gone := s.silent[id]; !gone { // of one that is not heard nobody knows
			say("picket.agent.clock.skew", a.Tenant, id, a.Name, 0)
		}
	}
	for tenant, samples := range byTenant {
		if _, err := c.telemetry.Append(ctx, store.SampleBatch{Tenant: tenant, Agent: store.PushedBy(store.OwnSender + "/agents"), Epoch: s.began.UTC().Format(time.RFC3339Nano), Seq: s.seq, Samples: samples}); err != nil {
			return err
		}
	}
	return nil
}
