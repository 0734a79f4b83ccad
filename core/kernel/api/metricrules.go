package api

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/picketwatch/picket/core/kernel/auth"
	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/sdk"
)

const metricRulesPath = "/api/v1/metric-rules"

// MetricRules evaluates rules over metrics.
type MetricRules interface {
	Rules(ctx context.Context, tenant string) ([]store.MetricRule, error)
	Status(tenant, rule string) store.RuleStatus
	Check(r store.MetricRule) (field string, err error)
	Preview(ctx context.Context, r store.MetricRule, from, to time.Time) (store.RulePreview, error)
	Soon(tenant, rule string)
}

// MetricRuleTerms are when a rule raises an alert.
type MetricRuleTerms struct {
	Expr     string `json:"expr" minLength:"1" maxLength:"8000" doc:"PromQL that finds the series to raise an alert for, for example a comparison."`
	Stays    string `json:"stays,omitempty" maxLength:"8000" doc:"PromQL that holds an alert that was raised, for example a comparison with a lower limit; without it, expr."`
	For      int64  `json:"for" minimum:"0" maximum:"604800" doc:"Seconds for which expr must find a series."`
	Keep     int64  `json:"keep" minimum:"0" maximum:"604800" doc:"Seconds for which it must not be found any more before the alert ends."`
	Every    int64  `json:"every" minimum:"5" maximum:"86400" default:"30" doc:"Seconds from one look to the next; a server with much to do takes longer."`
	Severity string `json:"severity" enum:"info,low,medium,high,critical"`
	NoData   string `json:"no_data,omitempty" enum:"ends,keeps,fires" default:"ends" doc:"What it means that data are gone: ends an alert after ten minutes, keeps it as it is, or fires: that is an alert."`
	Summary  string `json:"summary,omitempty" maxLength:"500" doc:"What the alert says; {label}, {value} and {value%} are replaced."`
	Group    string `json:"group,omitempty" maxLength:"200" doc:"Only agents of this group and those below it."`
	Title    string `json:"title" minLength:"1" maxLength:"120"`
	Enabled  bool   `json:"enabled"`
}

type ruleInstanceBody struct {
	Labels map[string]string `json:"labels"`
	Value  float64           `json:"value"`
	State  string            `json:"state" enum:"pending,firing"`
	NoData bool              `json:"no_data"`
	Since  time.Time         `json:"since"`
}

type metricRuleBody struct {
	Name string `json:"name"`
	MetricRuleTerms
	Ships     bool       `json:"ships" doc:"It comes with the server."`
	Changed   bool       `json:"changed" doc:"It is not, or no longer, as it ships."`
	UpdatedBy string     `json:"updated_by,omitempty"`
	Updated   *time.Time `json:"updated,omitempty"`
	Evaluated *time.Time `json:"evaluated,omitempty" doc:"When it was looked at last; without it, not since the server started."`
	Took      float64    `json:"took" doc:"Seconds, the last time."`
	Problem   string     `json:"problem,omitempty" doc:"Why it could not be evaluated, or not in full."`
	Firing    int        `json:"firing" doc:"Series for which an alert is raised."`
	Pending   int        `json:"pending" doc:"Series for which it holds, not yet for long enough."`
	// Of one rule only.
	Instances []ruleInstanceBody `json:"instances,omitempty" doc:"Of one rule: for what it holds, at most 200."`
	Watched   string             `json:"watched,omitempty" doc:"Of one rule: what the expression compares."`
	Limit     *float64           `json:"limit,omitempty" doc:"Of one rule: and with what."`
}

const shownInstances = 200

func (s *Server) metricRuleOf(r store.MetricRule) metricRuleBody {
	st := s.cfg.MetricRules.Status(r.Tenant, r.Name)
	b := metricRuleBody{Name: r.Name, Ships: r.Ships, Changed: r.UpdatedBy != "", UpdatedBy: r.UpdatedBy, Updated: when(r.Updated),
		Evaluated: when(st.Evaluated), Took: st.Took.Seconds(), Problem: st.Problem,
		MetricRuleTerms: MetricRuleTerms{Expr: r.Expr, Stays: r.Stays, For: int64(r.For), Keep: int64(r.Keep), Every: int64(r.Every), Severity: string(r.Severity),
			NoData: r.NoData, Summary: r.Summary, Group: r.Group, Title: r.Title, Enabled: r.Enabled}}
	for _, x := range st.Instances {
		if x.Firing {
			b.Firing++
		} else {
			b.Pending++
		}
	}
	return b
}

func (t MetricRuleTerms) rule(tenant, name string) store.MetricRule {
	return store.MetricRule{Tenant: tenant, Name: name, Title: t.Title, Expr: t.Expr, Stays: t.Stays, For: store.Seconds(t.For), Keep: store.Seconds(t.Keep),
		Every: store.Seconds(t.Every), Severity: sdk.Severity(t.Severity), NoData: t.NoData, Summary: t.Summary, Group: t.Group, Enabled: t.Enabled}
}

// RuleNamePath is the name in an address.
type RuleNamePath struct {
	Name string `path:"name" maxLength:"60"`
}

var ruleName = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)

func (s *Server) metricRuleRoutes() {
	tags := []string{"metric rules"}
	one := metricRulesPath + "/{name}"
	handle(s, huma.Operation{OperationID: "list-metric-rules", Method: http.MethodGet, Path: metricRulesPath, Tags: tags,
		Summary: "Rules that raise alerts from metrics, by name"},
		func(ctx context.Context, _ *struct{}) (*body[page[metricRuleBody]], error) {
			list, err := s.cfg.MetricRules.Rules(ctx, caller(ctx).Tenant)
			return answerPage(convert(list, s.metricRuleOf), ""), err
		})
	handle(s, huma.Operation{OperationID: "add-metric-rule", Method: http.MethodPost, Path: metricRulesPath, Tags: tags, DefaultStatus: http.StatusCreated,
		Summary: "Add a rule"}, s.addMetricRule)
	handle(s, huma.Operation{OperationID: "preview-metric-rule", Method: http.MethodPost, Path: metricRulesPath + "/preview", Tags: tags,
		Summary: "What a rule would have raised from what is stored"}, s.previewMetricRule)
	handle(s, huma.Operation{OperationID: "get-metric-rule", Method: http.MethodGet, Path: one, Tags: tags,
		Summary: "A rule, and for what it holds now"}, s.metricRule)
	handle(s, huma.Operation{OperationID: "change-metric-rule", Method: http.MethodPut, Path: one, Tags: tags,
		Summary: "Change a rule"}, s.changeMetricRule)
	handle(s, huma.Operation{OperationID: "delete-metric-rule", Method: http.MethodDelete, Path: one, Tags: tags, DefaultStatus: http.StatusNoContent,
		Summary: "Delete a rule and end its alerts; one that ships becomes as it ships"},
		func(ctx context.Context, in *RuleNamePath) (*struct{}, error) {
			tenant := caller(ctx).Tenant
			err := s.cfg.Control.DeleteMetricRule(ctx, tenant, in.Name)
			s.act(ctx, "metric-rule.delete", "metric-rule:"+in.Name, "", err)
			s.cfg.MetricRules.Soon(tenant, in.Name)
			return nil, err
		})
}

func (s *Server) findMetricRule(ctx context.Context, name string) (store.MetricRule, error) {
	list, err := s.cfg.MetricRules.Rules(ctx, caller(ctx).Tenant)
	if err != nil {
		return store.MetricRule{}, err
	}
	i := slices.IndexFunc(list, func(r store.MetricRule) bool { return r.Name == name })
	if i < 0 {
		return store.MetricRule{}, store.ErrNotFound
	}
	return list[i], nil
}

func (s *Server) metricRule(ctx context.Context, in *RuleNamePath) (*body[metricRuleBody], error) {
	r, err := s.findMetricRule(ctx, in.Name)
	if err != nil {
		return nil, err
	}
	b := s.metricRuleOf(r)
	if form, err := s.promQL.Vector(r.Expr); err == nil {
		b.Watched, b.Limit = form.Watched, form.Limit
	}
	if !caller(ctx).May(auth.MetricsRead) {
		return answer(b), nil
	}
	for _, x := range s.cfg.MetricRules.Status(r.Tenant, r.Name).Instances {
		if len(b.Instances) == shownInstances {
			break
		}
		state := "pending"
		if x.Firing {
			state = "firing"
		}
		b.Instances = append(b.Instances, ruleInstanceBody{Labels: x.Labels, Value: x.Value, State: state, NoData: x.NoData, Since: x.Since})
	}
	return answer(b), nil
}

func (s *Server) addMetricRule(ctx context.Context, in *struct {
	Body struct {
		Name string `json:"name" minLength:"1" maxLength:"60" example:"queue-long"`
		MetricRuleTerms
	}
}) (*body[metricRuleBody], error) {
	if !ruleName.MatchString(in.Body.Name) {
		return nil, invalidField("body.name", "small letters, digits, and single hyphens between them, for example queue-long")
	}
	_, err := s.findMetricRule(ctx, in.Body.Name)
	if err == nil {
		return nil, invalidField("body.name", "there is a rule of this name; change that one, or take another name")
	}
	return s.putMetricRule(ctx, "metric-rule.add", in.Body.rule(caller(ctx).Tenant, in.Body.Name))
}

func (s *Server) changeMetricRule(ctx context.Context, in *struct {
	RuleNamePath
	Body MetricRuleTerms
}) (*body[metricRuleBody], error) {
	old, err := s.findMetricRule(ctx, in.Name)
	if err != nil {
		return nil, err
	}
	r := in.Body.rule(old.Tenant, old.Name)
	r.Ships = old.Ships
	return s.putMetricRule(ctx, "metric-rule.change", r)
}

func (s *Server) putMetricRule(ctx context.Context, action string, r store.MetricRule) (*body[metricRuleBody], error) {
	err := s.checkMetricRule(ctx, r)
	if err != nil {
		return nil, err
	}
	r.UpdatedBy = caller(ctx).Actor()
	r, err = s.cfg.Control.PutMetricRule(ctx, r)
	s.act(ctx, action, "metric-rule:"+r.Name, fmt.Sprintf("enabled %t, %s for %d s: %s", r.Enabled, r.Severity, r.For, strings.Join(strings.Fields(r.Expr), " ")), err)
	if err != nil {
		return nil, err
	}
	s.cfg.MetricRules.Soon(r.Tenant, r.Name)
	return answer(s.metricRuleOf(r)), nil
}

// checkMetricRule refuses what cannot be evaluated, and who may not read what it would tell them.
func (s *Server) checkMetricRule(ctx context.Context, r store.MetricRule) error {
	if !caller(ctx).May(auth.MetricsRead) {
		return huma.Error403Forbidden("a rule tells what it finds; this token may not read metrics (" + string(auth.MetricsRead) + ")")
	}
	if r.Group != "" {
		if _, err := s.cfg.Control.GroupByName(ctx, r.Tenant, r.Group); err != nil {
			return invalidField("body.group", "there is no group of this name")
		}
	}
	if field, err := s.cfg.MetricRules.Check(r); err != nil {
		return invalidField("body."+field, err.Error())
	}
	return nil
}

const rulePreviewTime = 31 * 24 * time.Hour

func (s *Server) previewMetricRule(ctx context.Context, in *struct {
	Body struct {
		MetricRuleTerms
		From time.Time `json:"from"`
		To   time.Time `json:"to" doc:"At most 31 days after from."`
	}
}) (*body[store.RulePreview], error) {
	from, to := in.Body.From.UTC().Truncate(time.Second), in.Body.To.UTC().Truncate(time.Second)
	if !to.After(from) || to.Sub(from) > rulePreviewTime {
		return nil, invalidField("body.to", "must be after from, and at most 31 days")
	}
	r := in.Body.rule(caller(ctx).Tenant, "preview")
	if err := s.checkMetricRule(ctx, r); err != nil {
		return nil, err
	}
	p, err := s.cfg.MetricRules.Preview(ctx, r, from, to)
	if err != nil {
		return nil, invalidField("body.expr", err.Error())
	}
	return answer(p), nil
}
