package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/picketwatch/picket/core/kernel/catalogue"
	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/sdk"
)

// customRules is the detector that runs them.
const customRules = "picket/custom-rules"

// Rules tries custom rules, in a process of its own.
type Rules interface {
	// Try says what is wrong with rules, and when nothing is, what they would have found since then; the zero time asks for no more
	// than the check. The error is ErrRulesBusy, or says why they cannot be tried.
	Try(ctx context.Context, text string, since time.Time) (RuleVerdict, error)
}

// ErrRulesBusy says that too many rules are being tried.
var ErrRulesBusy = errors.New("other rules are being tried; try again in a moment")

// RuleVerdict is what is said of rules.
type RuleVerdict struct {
	Problems []RuleProblem `json:"problems" nullable:"false" doc:"What is wrong; empty when nothing is, and then all samples are as they should be."`
	Rules    []TriedRule   `json:"rules" nullable:"false" doc:"Its rules, when nothing is wrong."`
	Found    *RulesFound   `json:"found,omitempty" doc:"What they would have found, when that was asked for and nothing is wrong."`
}

// RuleProblem is what is wrong with a rule, and where in the text.
type RuleProblem struct {
	Line   int    `json:"line"`
	Column int    `json:"column"`
	Rule   string `json:"rule,omitempty"`
	Text   string `json:"text"`
}

// TriedRule is a rule in which nothing is wrong.
type TriedRule struct {
	ID      string `json:"id"`
	On      string `json:"on" doc:"flows, or the kind of facts that it looks at."`
	Enabled bool   `json:"enabled"`
}

// RulesFound is what rules would have found in what is stored.
type RulesFound struct {
	Records    uint64        `json:"records" doc:"How many were looked at."`
	Recordings int           `json:"recordings" doc:"Captures, and days of live traffic."`
	Stopped    string        `json:"stopped,omitempty" doc:"Why it did not look at more."`
	Rules      []RuleOutcome `json:"rules" nullable:"false"`
}

// RuleOutcome is what one rule would have found.
type RuleOutcome struct {
	Rule     string        `json:"rule"`
	Findings int           `json:"findings"`
	Records  uint64        `json:"records" doc:"That fulfil it and are counted by the findings."`
	TooDear  bool          `json:"too_dear,omitempty" doc:"It was switched off because it costs too much."`
	Examples []RuleExample `json:"examples" nullable:"false" doc:"The first of them."`
}

// RuleExample is something that a rule would have found.
type RuleExample struct {
	Capture string      `json:"capture"`
	Finding sdk.Finding `json:"finding"`
}

type ruleBookBody struct {
	Instance string     `json:"instance"`
	Node     string     `json:"node" doc:"server, agents, group:NAME or the id of an agent."`
	Rules    string     `json:"rules" doc:"As YAML, as the command picket rule reads them."`
	Files    []string   `json:"files" nullable:"false" doc:"Files on the node with more rules, which are not edited here."`
	Version  int        `json:"version" doc:"Number of what it was told last."`
	By       string     `json:"by,omitempty"`
	Changed  *time.Time `json:"changed,omitempty"`
	Runs     []ruleRun  `json:"runs" nullable:"false" doc:"How it fares on each node."`
}

type ruleRun struct {
	Node   catalogue.Node `json:"node"`
	State  string         `json:"state"`
	Reason string         `json:"reason,omitempty" doc:"Names the rules that are left out, and why."`
}

type ruleHits struct {
	Rule     string    `json:"rule"`
	Findings int       `json:"findings"`
	Last     time.Time `json:"last"`
}

type rulesBody struct {
	Items []ruleBookBody `json:"items" nullable:"false" doc:"One for each place where custom rules run."`
	Hits  []ruleHits     `json:"hits" nullable:"false" doc:"What rules found within the last day, on all nodes."`
}

type ruleVersionBody struct {
	Version int       `json:"version"`
	Rules   string    `json:"rules"`
	By      string    `json:"by"`
	Time    time.Time `json:"time"`
}

func (s *Server) ruleRoutes() {
	const path = "/api/v1/rules"
	tags := []string{"rules"}
	handle(s, huma.Operation{OperationID: "list-rules", Method: http.MethodGet, Path: path, Tags: tags,
		Summary: "Custom rules by where they run, and what they found within the last day"}, s.listRules)
	handle(s, huma.Operation{OperationID: "list-rule-versions", Method: http.MethodGet, Path: path + "/versions", Tags: tags,
		Summary: "What the rules of an instance were before, newest first"}, s.ruleVersions)
	handle(s, huma.Operation{OperationID: "try-rules", Method: http.MethodPost, Path: path + "/try", Tags: tags, MaxBodyBytes: maxRulesBody,
		Summary: "Check rules, and look what they would have found in stored traffic; nothing is kept"}, s.tryRules)
	handle(s, huma.Operation{OperationID: "save-rules", Method: http.MethodPut, Path: path, Tags: tags, MaxBodyBytes: maxRulesBody,
		Summary: "Make these the rules of a place; it runs them from now on"}, s.saveRules)
}

const (
	maxRules     = 256 << 10 // bytes, as the plugin takes them
	maxRulesBody = 1 << 20
	maxVersions  = 20
	hitsOf       = 24 * time.Hour
)

// book is the part of the plugin's configuration that is edited here; the rest of it stays.
type book struct {
	Rules string   `json:"rules"`
	Files []string `json:"files"`
	Kinds []string `json:"kinds"`
}

// nodeOf is how a wish names where an assignment is.
func nodeOf(a store.Assignment) string {
	switch {
	case a.NodeType == store.NodeAgent:
		return a.NodeID
	case a.NodeType == store.NodeAgents && a.NodeID != "":
		return "group:" + a.NodeID
	}
	return a.NodeType
}

func (s *Server) ruleAssignments(ctx context.Context) ([]store.Assignment, error) {
	all, err := s.cfg.Control.ListAssignments(ctx, caller(ctx).Tenant)
	return slices.DeleteFunc(all, func(a store.Assignment) bool { return a.Plugin != customRules || !a.Enabled }), err
}

func (s *Server) listRules(ctx context.Context, _ *struct{}) (*body[rulesBody], error) {
	out := rulesBody{Items: []ruleBookBody{}, Hits: []ruleHits{}}
	assigned, err := s.ruleAssignments(ctx)
	if err != nil || len(assigned) == 0 {
		return answer(out), err
	}
	plugin, err := s.cfg.Catalogue.Get(ctx, customRules)
	if err != nil {
		return nil, err
	}
	for _, a := range assigned {
		b := ruleBookBody{Instance: a.Instance, Node: nodeOf(a), Runs: []ruleRun{}}
		var c book
		if err := json.Unmarshal(a.Config, &c); err != nil {
			return nil, fmt.Errorf("configuration of %s: %w", a.Instance, err)
		}
		b.Rules, b.Files = c.Rules, list(c.Files)
		told, err := s.cfg.Control.ToldOf(ctx, a.Tenant, a.Instance)
		if err != nil {
			return nil, err
		}
		if len(told) > 0 {
			b.Version, b.By, b.Changed = told[0].Number, told[0].By, when(told[0].Created)
		}
		for _, i := range plugin.Instances {
			if i.Instance == a.Instance {
				b.Runs = append(b.Runs, ruleRun{Node: i.Node, State: string(i.State), Reason: i.Reason})
			}
		}
		out.Items = append(out.Items, b)
	}
	hits, err := s.cfg.Control.RuleHitsSince(ctx, caller(ctx).Tenant, customRules, s.cfg.Now().Add(-hitsOf))
	out.Hits = convert(hits, func(h store.RuleHits) ruleHits { return ruleHits{h.Rule, h.Findings, h.Last.UTC()} })
	return answer(out), err
}

func (s *Server) ruleVersions(ctx context.Context, in *struct {
	Instance string `query:"instance" required:"true" minLength:"1" maxLength:"128"`
}) (*body[page[ruleVersionBody]], error) {
	told, err := s.cfg.Control.ToldOf(ctx, caller(ctx).Tenant, in.Instance)
	if err != nil {
		return nil, err
	}
	var out []ruleVersionBody
	for _, t := range told {
		var c book
		if err := json.Unmarshal(t.Config, &c); err != nil {
			return nil, fmt.Errorf("configuration %d of %s: %w", t.Number, in.Instance, err)
		}
		v := ruleVersionBody{Version: t.Number, Rules: c.Rules, By: t.By, Time: t.Created.UTC()}
		if n := len(out); n > 0 && out[n-1].Rules == c.Rules { // something else was changed
			out[n-1] = v
			continue
		}
		if len(out) == maxVersions {
			break
		}
		out = append(out, v)
	}
	return answerPage(out, ""), nil
}

// RuleText is a text of rules.
type RuleText struct {
	Rules string `json:"rules" maxLength:"262144" doc:"As YAML."`
}

func (s *Server) tryRules(ctx context.Context, in *struct {
	Body struct {
		RuleText
		Hours int `json:"hours,omitempty" minimum:"0" maximum:"168" doc:"How far back to look in stored traffic; without it, the rules are only checked."`
	}
}) (*body[RuleVerdict], error) {
	var since time.Time
	if in.Body.Hours > 0 {
		since = s.cfg.Now().Add(-time.Duration(in.Body.Hours) * time.Hour)
	}
	v, err := s.try(ctx, in.Body.Rules, since)
	return answer(v), err
}

func (s *Server) try(ctx context.Context, text string, since time.Time) (RuleVerdict, error) {
	if s.cfg.Rules == nil {
		return RuleVerdict{}, huma.Error409Conflict("this server has no registry to take the plugin " + customRules + " from")
	}
	if len(text) > maxRules {
		return RuleVerdict{}, invalidField("body.rules", fmt.Sprintf("these are more than %d bytes", maxRules))
	}
	v, err := s.cfg.Rules.Try(ctx, text, since)
	if errors.Is(err, ErrRulesBusy) {
		err = later(http.StatusServiceUnavailable, err.Error(), time.Second)
	}
	return v, err
}

func (s *Server) saveRules(ctx context.Context, in *struct {
	Body struct {
		RuleText
		Node string `json:"node,omitempty" maxLength:"64" doc:"server, agents, group:NAME or the id of an agent; without it the server. Where custom rules do not run yet, they are enabled."`
		Base int    `json:"base,omitempty" minimum:"0" doc:"The version that these rules were made from: when others were saved meanwhile, nothing is. Without it, they are saved in any case."`
	}
}) (*body[RuleVerdict], error) {
	node := in.Body.Node
	if node == "" {
		node = store.NodeServer
	}
	v, err := s.try(ctx, in.Body.Rules, time.Time{})
	if err != nil {
		return nil, err
	}
	if err := rulesWrong(v); err != nil {
		return nil, err
	}
	wish, err := s.ruleWish(ctx, node, in.Body.Base, in.Body.Rules, v.Rules)
	if err != nil {
		return nil, err
	}
	_, err = s.cfg.Catalogue.Enable(ctx, customRules, wish)
	s.act(ctx, "rules.save", "rules:"+node, fmt.Sprintf("%d rules", len(v.Rules)), err)
	if err != nil {
		return nil, err
	}
	return answer(v), nil
}

func rulesWrong(v RuleVerdict) error {
	if len(v.Problems) == 0 {
		return nil
	}
	var details []error
	for _, p := range v.Problems {
		details = append(details, &huma.ErrorDetail{Location: "body.rules", Message: fmt.Sprintf("%d:%d: %s", p.Line, p.Column, p.Text)})
	}
	return huma.Error422UnprocessableEntity("something is wrong with these rules", details...)
}

// ruleWish is how the plugin runs there now, with other rules.
func (s *Server) ruleWish(ctx context.Context, node string, base int, text string, rules []TriedRule) (catalogue.Wish, error) {
	w := catalogue.Wish{Node: node, GrantAll: true, By: caller(ctx).Actor()}
	assigned, err := s.ruleAssignments(ctx)
	if err != nil {
		return w, err
	}
	config := map[string]any{}
	var had book
	if i := slices.IndexFunc(assigned, func(a store.Assignment) bool { return nodeOf(a) == node }); i >= 0 {
		a := assigned[i]
		if err := s.unchanged(ctx, a, base); err != nil {
			return w, err
		}
		if err := errors.Join(json.Unmarshal(a.Config, &config), json.Unmarshal(a.Config, &had)); err != nil {
			return w, fmt.Errorf("configuration of %s: %w", a.Instance, err)
		}
		w.Version, w.Runtime, w.Limits = a.Version, a.Runtime, a.Limits
	}
	config["rules"], config["kinds"] = text, kindsOf(rules, had)
	w.Config, err = json.Marshal(config)
	return w, err
}

func (s *Server) unchanged(ctx context.Context, a store.Assignment, base int) error {
	if base == 0 {
		return nil
	}
	told, err := s.cfg.Control.ToldOf(ctx, a.Tenant, a.Instance)
	if err != nil {
		return err
	}
	if len(told) > 0 && told[0].Number != base {
		return huma.Error409Conflict("others were saved meanwhile, by " + told[0].By)
	}
	return nil
}

// kindsOf are what the rules look at, and nothing else: a parser that nobody asks does not run. What rules in files look at is not
// known here, so with files all that was there stays.
func kindsOf(rules []TriedRule, had book) []string {
	out := []string{}
	for _, kind := range sdk.PlainFacts {
		if slices.ContainsFunc(rules, func(r TriedRule) bool { return r.On == kind }) || len(had.Files) > 0 && slices.Contains(had.Kinds, kind) {
			out = append(out, kind)
		}
	}
	return out
}
