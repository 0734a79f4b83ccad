package metricrule

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/picketwatch/picket/core/kernel/promql"
	"github.com/picketwatch/picket/core/kernel/store"
)

// Check says what is wrong with a rule's expressions.
func (s *Service) Check(r store.MetricRule) (field string, err error) {
	form, err := s.cfg.Queries.Vector(r.Expr)
	if err != nil {
		return "expr", err
	}
	if r.Stays != "" {
		if _, err := s.cfg.Queries.Vector(r.Stays); err != nil {
			return "stays", err
		}
	}
	if form.Known == "" && r.NoData != store.NoDataEnds {
		return "no_data", errNoComparison
	}
	return "", nil
}

const (
	previewSteps = 480
	previewTold  = 20
	previewSpans = 50
)

// Preview replays a rule over what is stored. Data that were missing are taken for false.
func (s *Service) Preview(ctx context.Context, r store.MetricRule, from, to time.Time) (p store.RulePreview, err error) {
	form, err := s.cfg.Queries.Vector(r.Expr)
	if err != nil {
		return p, err
	}
	step := max(r.Every.Duration(), to.Sub(from)/previewSteps).Round(time.Second)
	p = store.RulePreview{Step: step.Seconds(), Watched: form.Watched, Limit: form.Limit, Longest: []store.RuleTold{}}
	r.Every, r.NoData = store.Seconds(step/time.Second), store.NoDataEnds
	found, err := s.askRange(ctx, r, form.Expr, from, to, step)
	if err != nil {
		return p, err
	}
	var stays map[int64]map[string]store.RuleInstance
	if r.Stays != "" {
		if stays, err = s.askRange(ctx, r, r.Stays, from, to, step); err != nil {
			return p, err
		}
	}
	told := map[string]*store.RuleTold{}
	var held []store.RuleInstance
	for at := from; !at.After(to); at = at.Add(step) {
		l := look{found: found[at.UnixMilli()], known: map[string]bool{}}
		if r.Stays != "" {
			l.stays = keysOf(stays[at.UnixMilli()])
		}
		for _, x := range held {
			l.known[x.Instance] = true
		}
		var over []store.RuleInstance
		held, over = advance(r, held, l, at)
		for _, x := range held {
			if !x.Firing || !x.Fired.Equal(at) {
				continue
			}
			p.Alerts++
			t := told[x.Instance]
			if t == nil {
				t = &store.RuleTold{Labels: x.Labels, Summary: Summary(r, x)}
				told[x.Instance] = t
			}
			if len(t.Times) < previewSpans {
				t.Times = append(t.Times, store.RuleSpan{From: at})
			}
		}
		for _, x := range over {
			if t := told[x.Instance]; x.Firing && t != nil && t.Times[len(t.Times)-1].To.IsZero() {
				t.Times[len(t.Times)-1].To = at
			}
		}
	}
	p.Instances = len(told)
	for _, t := range told {
		p.Longest = append(p.Longest, *t)
	}
	slices.SortFunc(p.Longest, func(a, b store.RuleTold) int {
		return cmp.Or(cmp.Compare(total(b, to), total(a, to)), cmp.Compare(a.Summary, b.Summary))
	})
	p.Longest = p.Longest[:min(len(p.Longest), previewTold)]
	return p, nil
}

func total(t store.RuleTold, now time.Time) (sum time.Duration) {
	for _, x := range t.Times {
		end := x.To
		if end.IsZero() {
			end = now
		}
		sum += end.Sub(x.From)
	}
	return sum
}

// askRange returns what an expression finds at each step, by the milliseconds of it.
func (s *Service) askRange(ctx context.Context, r store.MetricRule, expr string, from, to time.Time, step time.Duration) (map[int64]map[string]store.RuleInstance, error) {
	answer, err := s.cfg.Queries.QueryRange(ctx, r.Tenant, expr, from, to, step, promql.Options{Timeout: limit})
	if err != nil {
		return nil, err
	}
	defer answer.Close()
	list := map[int64]map[string]store.RuleInstance{}
	answer.EachPoint(func(ls map[string]string, at time.Time, value float64) {
		x, ok := s.instance(r, ls, value)
		if !ok {
			return
		}
		byName := list[at.UnixMilli()]
		if byName == nil {
			byName = map[string]store.RuleInstance{}
			list[at.UnixMilli()] = byName
		}
		if len(byName) < maxInstances {
			byName[x.Instance] = x
		}
	})
	return list, nil
}

var errNoComparison = errors.New("the expression compares nothing, so nobody can tell data that are gone from a rule that does not hold; choose \"ends\"")
