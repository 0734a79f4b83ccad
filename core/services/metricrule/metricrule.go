// Package metricrule raises alerts from metrics. A rule is an expression of PromQL; each series that it finds for long enough
// becomes a finding, and so an alert like any detector's; when the rule no longer holds, the alert is ended. For what a rule holds
// is kept on disk before and after, so that a restart tells nobody twice and forgets nothing.
package metricrule

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/picketwatch/picket/core/kernel/promql"
	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/sdk"
)

const (
	maxInstances = 1000             // of one rule; more are told as an error, and the first by name count
	goneAfter    = 10 * time.Minute // data that were there are missed so much later
	pause        = time.Second      // between two looks at what is due
	share        = 10               // rules that took a second leave ten to everything else
	longest      = 10 * time.Second // that they leave
	limit        = 20 * time.Second // of one expression
	turn         = 10 * time.Second // of a tenant, before it is the next one's
)

// Store keeps rules, and for what they hold.
type Store interface {
	MetricRules(ctx context.Context, tenant string) ([]store.MetricRule, error)
	RuleInstances(ctx context.Context, tenant string) (map[string][]store.RuleInstance, error)
	SetRuleInstances(ctx context.Context, tenant, rule string, held []store.RuleInstance, gone []string) error
}

// Queries answers PromQL; promql.Engine is one.
type Queries interface {
	Query(ctx context.Context, tenant, expr string, at time.Time, o promql.Options) (*promql.Answer, error)
	QueryRange(ctx context.Context, tenant, expr string, start, end time.Time, step time.Duration, o promql.Options) (*promql.Answer, error)
	Vector(expr string) (promql.Form, error)
}

// Config is what the service needs; all fields but Log are required.
type Config struct {
	Store   Store
	Queries Queries
	Tenants func() []string
	InGroup func(agent, group string) bool
	// Raise stores findings, which become alerts; one that is known already changes nothing. Over ends the open alert of a
	// fingerprint, if there is one.
	Raise func(ctx context.Context, tenant, agent string, f sdk.Finding) (fingerprint string, err error)
	Over  func(ctx context.Context, tenant, fingerprint, rule string) error
	Now   func() time.Time
	Log   *slog.Logger
}

// Service evaluates rules.
type Service struct {
	cfg   Config
	began map[string]time.Time // by tenant, since when its rules are looked at

	mu     sync.Mutex // guards states
	states map[key]*state
}

type key struct{ tenant, rule string }

type state struct {
	store.RuleStatus
	updated time.Time // the rule, as it was evaluated
	next    time.Time
}

// New returns a service; Run starts it.
func New(cfg Config) *Service {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Service{cfg: cfg, began: map[string]time.Time{}, states: map[key]*state{}}
}

// Run evaluates rules until ctx ends, one at a time.
func (s *Service) Run(ctx context.Context) {
	for ctx.Err() == nil {
		began := time.Now()
		tenants := s.cfg.Tenants()
		s.keepActive(tenants)
		for _, tenant := range tenants {
			if err := s.Round(ctx, tenant); err != nil && ctx.Err() == nil {
				s.cfg.Log.Error("evaluate the rules over metrics", "tenant", tenant, "error", err)
			}
		}
		timer := time.NewTimer(max(pause, min(longest, share*time.Since(began))))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
}

// keepActive forgets since when the rules of others were looked at: nobody looks at them now.
func (s *Service) keepActive(tenants []string) {
	maps.DeleteFunc(s.began, func(tenant string, _ time.Time) bool { return !slices.Contains(tenants, tenant) })
}

// Round evaluates those of a tenant's rules that are due, what has waited longest first, as long as it is the tenant's turn.
func (s *Service) Round(ctx context.Context, tenant string) error {
	rules, err := s.Rules(ctx, tenant)
	if err != nil {
		return err
	}
	held, err := s.cfg.Store.RuleInstances(ctx, tenant)
	if err != nil {
		return err
	}
	now, alive := s.cfg.Now().UTC(), map[string]bool{}
	if s.began[tenant].IsZero() {
		s.began[tenant] = now
	}
	rules = slices.DeleteFunc(rules, func(r store.MetricRule) bool { return !r.Enabled })
	for _, r := range rules {
		alive[r.Name] = true
	}
	for _, r := range s.due(rules, now) {
		if s.cfg.Now().Sub(now) > turn {
			break
		}
		began := time.Now()
		left, err := s.evaluate(ctx, r, held[r.Name], now)
		if ctx.Err() != nil {
			return nil
		}
		st := &state{RuleStatus: store.RuleStatus{Evaluated: now, Took: time.Since(began), Instances: left}, updated: r.Updated, next: now.Add(r.Every.Duration())}
		if err != nil {
			st.Problem = err.Error()
		}
		s.mu.Lock()
		s.states[key{tenant, r.Name}] = st
		s.mu.Unlock()
	}
	// What a rule held for that is no longer there, or was turned off, is over.
	for rule, list := range held {
		if alive[rule] {
			continue
		}
		if err := s.settle(ctx, tenant, rule, nil, list, nil); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for k := range s.states {
		if k.tenant == tenant && !alive[k.rule] {
			delete(s.states, k)
		}
	}
	return nil
}

// due are the rules to look at now, what has waited longest first. One that was changed is, whatever it said before.
func (s *Service) due(rules []store.MetricRule, now time.Time) (list []store.MetricRule) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := map[string]time.Time{}
	for _, r := range rules {
		st := s.states[key{r.Tenant, r.Name}]
		if st != nil && st.updated.Equal(r.Updated) {
			next[r.Name] = st.next
		}
		if !now.Before(next[r.Name]) {
			list = append(list, r)
		}
	}
	slices.SortStableFunc(list, func(a, b store.MetricRule) int { return next[a.Name].Compare(next[b.Name]) })
	return list
}

// Status says how a rule does.
func (s *Service) Status(tenant, rule string) store.RuleStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	if st := s.states[key{tenant, rule}]; st != nil {
		return st.RuleStatus
	}
	return store.RuleStatus{}
}

// Soon has a rule evaluated in the next round: it was changed.
func (s *Service) Soon(tenant, rule string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.states, key{tenant, rule})
}

// evaluate asks what a rule finds now, raises and ends alerts, and returns for what it holds. What it found before an error counts.
func (s *Service) evaluate(ctx context.Context, r store.MetricRule, before []store.RuleInstance, now time.Time) ([]store.RuleInstance, error) {
	look, err := s.look(ctx, r, before, now)
	if err != nil {
		return before, err
	}
	held, over := advance(r, s.resumed(r.Tenant, before), look, now)
	for i, x := range held {
		if x.Firing && x.Fired.Equal(now) {
			held[i].Fingerprint, err = s.raise(ctx, r, x)
			if err != nil {
				return before, err
			}
		}
	}
	stay := map[string]bool{}
	for _, x := range held {
		if x.Firing {
			stay[x.Fingerprint] = true
		}
	}
	if err := s.settle(ctx, r.Tenant, r.Name, changed(before, held), over, stay); err != nil {
		return before, err
	}
	return held, look.problem
}

// resumed takes the time before the tenant's rules were looked at, as time in which what fires still held: alerts are to outlast
// a server that was away, and a tenant that was suspended.
func (s *Service) resumed(tenant string, before []store.RuleInstance) []store.RuleInstance {
	list := slices.Clone(before)
	for i, x := range list {
		if x.Firing && x.Held.Before(s.began[tenant]) {
			list[i].Held = s.began[tenant]
		}
	}
	return list
}

// settle ends the alerts of what is over, and then keeps what is left. An alert stays that speaks of others, too, as of two machines
// of one name.
func (s *Service) settle(ctx context.Context, tenant, rule string, held, over []store.RuleInstance, stay map[string]bool) error {
	gone := make([]string, 0, len(over))
	for _, x := range over {
		if x.Firing && !stay[x.Fingerprint] {
			if err := s.cfg.Over(ctx, tenant, x.Fingerprint, rule); err != nil {
				return fmt.Errorf("end the alert of %s for %s: %w", rule, x.Instance, err)
			}
		}
		gone = append(gone, x.Instance)
	}
	return s.cfg.Store.SetRuleInstances(ctx, tenant, rule, held, gone)
}

// changed are those that must be kept: what is new, or fires since now. When it was seen to hold last is kept, too, but only now
// and then: it is needed after a restart, and a minute does no harm.
func changed(before, held []store.RuleInstance) (list []store.RuleInstance) {
	old := map[string]store.RuleInstance{}
	for _, x := range before {
		old[x.Instance] = x
	}
	for _, x := range held {
		if o, ok := old[x.Instance]; !ok || o.Firing != x.Firing || !o.Since.Equal(x.Since) || o.NoData != x.NoData || x.Held.Sub(o.Held) >= 0 && x.Held.Truncate(time.Minute) != o.Held.Truncate(time.Minute) {
			list = append(list, x)
		}
	}
	return list
}

// raise makes the finding of what a rule holds for. It begins when that began: raised again, it is the same finding.
func (s *Service) raise(ctx context.Context, r store.MetricRule, x store.RuleInstance) (string, error) {
	who, what := subject(x.Labels)
	f := sdk.Finding{Detector: store.MetricRules, Rule: r.Name, Severity: r.Severity, Risk: risk[r.Severity], Confidence: 1, Src: who, Dst: what,
		Start: x.Since, End: x.Fired, Summary: Summary(r, x), Features: map[string]float64{"value": x.Value}}
	if x.NoData {
		f.Features = nil
	}
	return s.cfg.Raise(ctx, r.Tenant, x.Labels["agent_id"], f)
}

var risk = map[sdk.Severity]int{sdk.SeverityInfo: 5, sdk.SeverityLow: 20, sdk.SeverityMedium: 40, sdk.SeverityHigh: 60, sdk.SeverityCritical: 80}

// subject is of whom a series speaks, and of what there: as much as tells it apart.
func subject(ls map[string]string) (who, what string) {
	who = cmp.Or(ls["agent_name"], ls["host"], ls["agent_id"], ls["instance"])
	_, ofAgent := ls["agent_id"]
	var parts []string
	for _, name := range sortedNames(ls) {
		if name != "agent_id" && ls[name] != who && (!ofAgent || !slices.Contains(named, name)) {
			parts = append(parts, name+"="+ls[name])
		}
	}
	return who, strings.Join(parts, " ")
}

func sortedNames(ls map[string]string) []string {
	names := make([]string, 0, len(ls))
	for n := range ls {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// look is what expressions found at one time.
type look struct {
	found   map[string]store.RuleInstance // for what the rule holds
	stays   map[string]bool               // what holds alerts that were raised; nil: as found
	known   map[string]bool               // what there are data of; nil: not asked, or not to be told
	missed  map[string]store.RuleInstance // what there were data of, and no more
	problem error                         // why it is not all
}

func (s *Service) look(ctx context.Context, r store.MetricRule, before []store.RuleInstance, now time.Time) (l look, err error) {
	form, err := s.cfg.Queries.Vector(r.Expr)
	if err != nil {
		return l, err
	}
	if l.found, err = s.ask(ctx, r, form.Expr, now); err != nil {
		return l, err
	}
	if len(l.found) > maxInstances {
		l.problem = fmt.Errorf("the rule holds for %d series; the first %d by name are looked after. Make it find fewer, for example by a sum", len(l.found), maxInstances)
		names := make([]string, 0, len(l.found))
		for n := range l.found {
			names = append(names, n)
		}
		slices.Sort(names)
		for _, n := range names[maxInstances:] {
			delete(l.found, n)
		}
	}
	ending := slices.ContainsFunc(before, func(x store.RuleInstance) bool {
		_, found := l.found[x.Instance]
		return x.Firing && !found
	})
	if ending && r.Stays != "" {
		stays, err := s.ask(ctx, r, r.Stays, now)
		if err != nil {
			return l, err
		}
		l.stays = keysOf(stays)
	}
	if form.Known == "" || !ending && r.NoData != store.NoDataFires {
		return l, nil
	}
	known, err := s.ask(ctx, r, form.Known, now)
	if err != nil {
		return l, err
	}
	l.known = keysOf(known)
	if r.NoData != store.NoDataFires {
		return l, nil
	}
	were, err := s.ask(ctx, r, form.Known, now.Add(-goneAfter))
	if err != nil {
		return l, err
	}
	l.missed = map[string]store.RuleInstance{}
	for k, x := range were {
		if !l.known[k] && len(l.missed) < maxInstances {
			x.NoData = true
			l.missed[k] = x
		}
	}
	return l, nil
}

func keysOf(m map[string]store.RuleInstance) map[string]bool {
	keys := make(map[string]bool, len(m))
	for k := range m {
		keys[k] = true
	}
	return keys
}

// ask returns what an expression finds, without what is not the rule's group's.
func (s *Service) ask(ctx context.Context, r store.MetricRule, expr string, at time.Time) (map[string]store.RuleInstance, error) {
	answer, err := s.cfg.Queries.Query(ctx, r.Tenant, expr, at, promql.Options{Timeout: limit})
	if err != nil {
		return nil, err
	}
	defer answer.Close()
	list := map[string]store.RuleInstance{}
	answer.Each(func(ls map[string]string, value float64) {
		if x, ok := s.instance(r, ls, value); ok {
			list[x.Instance] = x
		}
	})
	return list, nil
}

func (s *Service) instance(r store.MetricRule, ls map[string]string, value float64) (x store.RuleInstance, ok bool) {
	if r.Group != "" && !s.cfg.InGroup(ls["agent_id"], r.Group) {
		return x, false
	}
	return store.RuleInstance{Instance: identity(ls), Labels: ls, Value: finite(value)}, true
}

// finite is a value that JSON has words for.
func finite(value float64) float64 {
	if math.IsNaN(value) || math.IsInf(value, 0) {
		return 0
	}
	return value
}

// named are labels that say what an agent is called, which may change.
var named = []string{"agent_name", "group", "job", "instance"}

// identity is what a series is known by.
func identity(ls map[string]string) string {
	var b strings.Builder
	_, ofAgent := ls["agent_id"]
	for _, name := range sortedNames(ls) {
		if !ofAgent || !slices.Contains(named, name) {
			fmt.Fprintf(&b, "%s=%q,", name, ls[name])
		}
	}
	return strings.TrimSuffix(b.String(), ",")
}
