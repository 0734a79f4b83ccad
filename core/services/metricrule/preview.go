package metricrule

import (
	"cmp"
	"context"
	"errors"
	"iter"
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
	previewKnown = 10 * maxInstances // series that may take turns
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
	var stays replayed
	if r.Stays != "" {
		if stays, err = s.askRange(ctx, r, r.Stays, from, to, step); err != nil {
			return p, err
		}
	}
	told := map[string]*store.RuleTold{}
	var held []store.RuleInstance
	for at := from; !at.After(to); at = at.Add(step) {
		l := look{found: found.at(at), known: map[string]bool{}}
		if r.Stays != "" {
			l.stays = keysOf(stays.at(at))
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

// replayed is what an expression found, by the milliseconds of each step. A series is kept once, for there may be hundreds of steps.
type replayed map[int64][]replayedPoint

type replayedPoint struct {
	of    *store.RuleInstance
	value float64
}

// at is what was found at a step.
func (r replayed) at(at time.Time) map[string]store.RuleInstance {
	found := make(map[string]store.RuleInstance, len(r[at.UnixMilli()]))
	for _, p := range r[at.UnixMilli()] {
		x := *p.of
		x.Value = p.value
		found[x.Instance] = x
	}
	return found
}

func (s *Service) askRange(ctx context.Context, r store.MetricRule, expr string, from, to time.Time, step time.Duration) (replayed, error) {
	answer, err := s.cfg.Queries.QueryRange(ctx, r.Tenant, expr, from, to, step, promql.Options{Timeout: limit})
	if err != nil {
		return nil, err
	}
	defer answer.Close()
	list, known := replayed{}, 0
	answer.EachSeries(func(ls map[string]string, points iter.Seq2[time.Time, float64]) {
		x, ok := s.instance(r, ls, 0)
		if !ok || known == previewKnown {
			return
		}
		known++
		for at, value := range points {
			if now := list[at.UnixMilli()]; len(now) < maxInstances {
				list[at.UnixMilli()] = append(now, replayedPoint{&x, finite(value)})
			}
		}
	})
	return list, nil
}

var errNoComparison = errors.New("the expression compares nothing, so nobody can tell data that are gone from a rule that does not hold; choose \"ends\"")
