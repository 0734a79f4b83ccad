package core

import (
	"context"
	"errors"
	"time"

	"github.com/picketwatch/picket/core/kernel/api"
	"github.com/picketwatch/picket/core/services/rules"
	"github.com/picketwatch/picket/sdk/records"
)

// ruleBench is a rules.Bench as the API sees it.
type ruleBench struct{ bench *rules.Bench }

// openRules makes the bench on which custom rules are tried; nil without a registry, which has their plugin.
func (c *Core) openRules() (api.Rules, error) {
	if c.source.client == nil {
		return nil, nil
	}
	bench, err := rules.New(rules.Config{Dir: c.folder.path("plugins", "trials"), Helpers: c.cfg.Programs, Registry: c.source.client, Ceiling: c.ceiling,
		Replay: func(ctx context.Context, since time.Time, see func(string, records.Parcel) error, wanted ...records.Schema) error {
			return c.flows.ReplayRecent(ctx, c.tenant, since, see, wanted...)
		}, Now: c.cfg.Now})
	if err != nil {
		return nil, err
	}
	return ruleBench{bench}, nil
}

func (b ruleBench) Try(ctx context.Context, text string, since time.Time) (api.RuleVerdict, error) {
	v, err := b.bench.Try(ctx, text, since)
	if errors.Is(err, rules.ErrBusy) {
		err = api.ErrRulesBusy
	}
	out := api.RuleVerdict{Problems: make([]api.RuleProblem, 0, len(v.Problems)), Rules: make([]api.TriedRule, 0, len(v.Rules))}
	for _, p := range v.Problems {
		out.Problems = append(out.Problems, api.RuleProblem(p))
	}
	for _, r := range v.Rules {
		out.Rules = append(out.Rules, api.TriedRule{ID: r.ID, On: r.On, Enabled: r.Enabled == nil || *r.Enabled})
	}
	if f := v.Found; f != nil {
		out.Found = &api.RulesFound{Records: f.Records, Recordings: f.Recordings, Stopped: f.Stopped, Rules: make([]api.RuleOutcome, 0, len(f.Rules))}
		for _, r := range f.Rules {
			o := api.RuleOutcome{Rule: r.Rule, Findings: r.Findings, Records: r.Records, TooDear: r.TooDear, Examples: make([]api.RuleExample, 0, len(r.Examples))}
			for _, x := range r.Examples {
				o.Examples = append(o.Examples, api.RuleExample(x))
			}
			out.Found.Rules = append(out.Found.Rules, o)
		}
	}
	return out, err
}
