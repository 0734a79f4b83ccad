package api

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/picketwatch/picket/core/kernel/store"
)

// GroupPath is the name of a group in an address.
type GroupPath struct {
	Name string `path:"name" maxLength:"40" pattern:"^[a-z0-9][a-z0-9-]*$"`
}

// Matching is the version that a change is meant for.
type Matching struct {
	IfMatch string `header:"If-Match" maxLength:"40" doc:"The ETag of what you have seen: the change is refused with 412 when it is not that any more."`
}

// version reads the header.
func (m Matching) version() (int64, error) {
	if m.IfMatch == "" {
		return 0, huma.NewError(http.StatusPreconditionRequired, "send If-Match with the ETag of what you have read: nobody's change is overwritten unseen")
	}
	n, err := strconv.ParseInt(strings.Trim(strings.TrimPrefix(m.IfMatch, "W/"), `"`), 10, 64)
	if err != nil {
		return 0, huma.NewError(http.StatusPreconditionFailed, "If-Match is no ETag that this server gave")
	}
	return n, nil
}

func etag(version int64) string { return fmt.Sprintf("%q", strconv.FormatInt(version, 10)) }

// tagged is an answer with an ETag.
type tagged[T any] struct {
	ETag string `header:"ETag"`
	Body T
}

type agentGroupBody struct {
	Name        string            `json:"name"`
	Parent      string            `json:"parent" doc:"The group above it; all at the top."`
	Description string            `json:"description"`
	Rules       []string          `json:"rules" nullable:"false" doc:"A machine that fits all of them is in the group: os=linux, name~^web-, label.site!=berlin."`
	Version     int64             `json:"version" doc:"As the ETag has it."`
	Counts      store.AgentCounts `json:"counts" doc:"Its machines, those of the groups below it too."`
	By          string            `json:"by"`
	Created     time.Time         `json:"created"`
	Updated     time.Time         `json:"updated"`
}

func groupOf(g store.Group, counts map[string]store.AgentCounts) agentGroupBody {
	return agentGroupBody{Name: g.Name, Parent: g.Parent, Description: g.Description, Version: g.Version, Counts: counts[g.Name], By: g.CreatedBy,
		Created: g.Created.UTC(), Updated: g.Updated.UTC(), Rules: convert(g.Rules, store.GroupRule.String)}
}

type groupsBody struct {
	All   store.AgentCounts `json:"all" doc:"Every machine."`
	Items []agentGroupBody  `json:"items" nullable:"false"`
}

type memberBody struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	OS   string `json:"os"`
	How  string `json:"how" enum:"home,hand,rule,below" doc:"below: it is in a group below this one."`
}

type groupWish struct {
	Parent      string   `json:"parent,omitempty" maxLength:"40" doc:"Without it, all."`
	Description string   `json:"description,omitempty" maxLength:"500"`
	Rules       []string `json:"rules,omitempty" maxItems:"16" doc:"A machine that fits all of them is in the group."`
}

func (w groupWish) group() (g store.Group, err error) {
	g = store.Group{Parent: w.Parent, Description: w.Description}
	if g.Parent == "" {
		g.Parent = store.GroupAll
	}
	g.Rules, err = groupRules(w.Rules)
	return g, err
}

func groupRules(texts []string) ([]store.GroupRule, error) {
	rules := []store.GroupRule{}
	for i, text := range texts {
		r, err := store.ParseGroupRule(text)
		if err != nil {
			return nil, invalidField(fmt.Sprintf("body.rules[%d]", i), err.Error())
		}
		rules = append(rules, r)
	}
	return rules, nil
}

type newGroup struct {
	Name        string   `json:"name" minLength:"1" maxLength:"40" pattern:"^[a-z0-9][a-z0-9-]*$" doc:"Lower-case letters, digits and dashes."`
	Parent      string   `json:"parent,omitempty" maxLength:"40" doc:"Without it, all."`
	Description string   `json:"description,omitempty" maxLength:"500"`
	Rules       []string `json:"rules,omitempty" maxItems:"16" doc:"A machine that fits all of them is in the group."`
}

// shownMatches is how many machines of a preview are named.
const shownMatches = 50

type matchedMachines struct {
	Total int            `json:"total"`
	Items []matchedAgent `json:"items" nullable:"false" doc:"By name, at most 50."`
}

type matchedAgent struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	OS   string `json:"os"`
	Arch string `json:"arch"`
}

type matchBody struct {
	Match matchedMachines `json:"match" doc:"Those that fit all of the rules."`
	Leave matchedMachines `json:"leave" doc:"Those that are in the group by its rules now and would not be any more."`
}

func matchedOf(list []store.Agent) matchedMachines {
	return matchedMachines{len(list), convert(list[:min(len(list), shownMatches)], func(a store.Agent) matchedAgent { return matchedAgent{a.ID, a.Name, a.OS, a.Arch} })}
}

type aggregateBody struct {
	Metric string  `json:"metric"`
	Unit   string  `json:"unit"`
	Agents int     `json:"agents" doc:"Machines of the group that sent it lately."`
	Series int     `json:"series"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
	Avg    float64 `json:"avg"`
	Sum    float64 `json:"sum"`
}

// aggregateWithin is how old a value may be to count for its group.
const aggregateWithin = 5 * time.Minute

func (s *Server) treeRoutes() {
	const path = "/api/v1/groups"
	tags := []string{"groups"}
	handle(s, huma.Operation{OperationID: "list-groups", Method: http.MethodGet, Path: path, Tags: tags, Summary: "Groups of machines, with how many of each are online"},
		func(ctx context.Context, _ *struct{}) (*body[groupsBody], error) {
			list, err := s.cfg.Control.Groups(ctx, caller(ctx).Tenant)
			if err != nil {
				return nil, err
			}
			counts, err := s.cfg.Agents.CountByGroup(ctx, caller(ctx).Tenant)
			return answer(groupsBody{counts[store.GroupAll], convert(list, func(g store.Group) agentGroupBody { return groupOf(g, counts) })}), err
		})
	handle(s, huma.Operation{OperationID: "get-group", Method: http.MethodGet, Path: path + "/{name}", Tags: tags, Summary: "One group"},
		func(ctx context.Context, in *GroupPath) (*tagged[agentGroupBody], error) {
			return s.group(ctx, in.Name)
		})
	handle(s, huma.Operation{OperationID: "create-group", Method: http.MethodPost, Path: path, Tags: tags, DefaultStatus: http.StatusCreated,
		Summary: "Make a group"}, s.createGroup)
	handle(s, huma.Operation{OperationID: "change-group", Method: http.MethodPut, Path: path + "/{name}", Tags: tags,
		Summary: "Change a group; machines may join, leave and run something else by that"},
		func(ctx context.Context, in *struct {
			GroupPath
			Matching
			Body groupWish
		}) (*tagged[agentGroupBody], error) {
			version, err := in.version()
			if err != nil {
				return nil, err
			}
			g, err := in.Body.group()
			if err != nil {
				return nil, err
			}
			g.Tenant, g.Name, g.Version, g.Updated = caller(ctx).Tenant, in.Name, version, s.cfg.Now()
			err = s.cfg.Control.PutGroup(ctx, g)
			s.act(ctx, "group.change", "group:"+in.Name, "parent "+g.Parent+", rules "+strings.Join(in.Body.Rules, " "), err)
			if err != nil {
				return nil, err
			}
			return s.groupChanged(ctx, in.Name)
		})
	handle(s, huma.Operation{OperationID: "delete-group", Method: http.MethodDelete, Path: path + "/{name}", Tags: tags, DefaultStatus: http.StatusNoContent,
		Summary: "Delete a group that nothing is assigned to; its machines and the groups below it move to its parent"},
		func(ctx context.Context, in *GroupPath) (*struct{}, error) {
			err := s.cfg.Control.DeleteGroup(ctx, caller(ctx).Tenant, in.Name)
			s.act(ctx, "group.delete", "group:"+in.Name, "", err)
			if err == nil {
				s.cfg.Live.Publish(caller(ctx).Tenant, "plugins", map[string]string{"group": in.Name})
			}
			return nil, err
		})
	handle(s, huma.Operation{OperationID: "match-group-rules", Method: http.MethodPost, Path: path + "/match", Tags: tags,
		Summary: "Which machines rules would take in, and put out; nothing is changed"},
		func(ctx context.Context, in *struct {
			Body struct {
				Group string   `json:"group,omitempty" maxLength:"40" doc:"Whose rules they would be."`
				Rules []string `json:"rules" nullable:"false" maxItems:"16"`
			}
		}) (*body[matchBody], error) {
			rules, err := groupRules(in.Body.Rules)
			if err != nil {
				return nil, err
			}
			m, err := s.cfg.Control.Match(ctx, caller(ctx).Tenant, in.Body.Group, rules)
			return answer(matchBody{matchedOf(m.Fit), matchedOf(m.Leave)}), err
		})
	handle(s, huma.Operation{OperationID: "list-group-members", Method: http.MethodGet, Path: path + "/{name}/members", Tags: tags,
		Summary: "The machines of a group and how each came there; all has everybody"},
		func(ctx context.Context, in *struct {
			GroupPath
			PageQuery
		}) (*body[page[memberBody]], error) {
			if in.Name != store.GroupAll {
				if _, err := s.group(ctx, in.Name); err != nil {
					return nil, err
				}
			}
			l, next, err := s.cfg.Control.GroupMembers(ctx, caller(ctx).Tenant, in.Name, in.page())
			return answerPage(convert(l, func(m store.GroupMember) memberBody { return memberBody{m.AgentID, m.Name, m.OS, m.How} }), next), err
		})
	for _, m := range []struct {
		method, name, summary, action string
		do                            func(ctx context.Context, tenant, id, group string) error
	}{
		{http.MethodPut, "join-group", "Put a machine into one more group", "group.join", s.cfg.Control.JoinGroup},
		{http.MethodDelete, "leave-group", "Take a machine out of a group that is not its home", "group.leave", s.cfg.Control.LeaveGroup},
	} {
		handle(s, huma.Operation{OperationID: m.name, Method: m.method, Path: path + "/{name}/members/{id}", Tags: tags, DefaultStatus: http.StatusNoContent,
			Summary: m.summary},
			func(ctx context.Context, in *struct {
				GroupPath
				IDPath
			}) (*struct{}, error) {
				err := m.do(ctx, caller(ctx).Tenant, in.ID, in.Name)
				s.act(ctx, m.action, "agent:"+in.ID, in.Name, err)
				if err == nil {
					s.cfg.Live.Publish(caller(ctx).Tenant, "plugins", map[string]string{"agent": in.ID})
				}
				return nil, err
			})
	}
	handle(s, huma.Operation{OperationID: "aggregate-group", Method: http.MethodGet, Path: path + "/{name}/aggregates", Tags: tags,
		Summary: "The newest values of a metric over a group; those older than five minutes do not count"}, s.aggregateGroup)
}

func (s *Server) group(ctx context.Context, name string) (*tagged[agentGroupBody], error) {
	g, err := s.cfg.Control.GroupByName(ctx, caller(ctx).Tenant, name)
	if err != nil {
		return nil, err
	}
	counts, err := s.cfg.Agents.CountByGroup(ctx, g.Tenant)
	return &tagged[agentGroupBody]{etag(g.Version), groupOf(g, counts)}, err
}

func (s *Server) groupChanged(ctx context.Context, name string) (*tagged[agentGroupBody], error) {
	s.cfg.Live.Publish(caller(ctx).Tenant, "plugins", map[string]string{"group": name})
	return s.group(ctx, name)
}

func (s *Server) createGroup(ctx context.Context, in *struct {
	Body newGroup
}) (*tagged[agentGroupBody], error) {
	g, err := groupWish{in.Body.Parent, in.Body.Description, in.Body.Rules}.group()
	if err != nil {
		return nil, err
	}
	g.Tenant, g.Name, g.CreatedBy, g.Created, g.Updated = caller(ctx).Tenant, in.Body.Name, caller(ctx).Actor(), s.cfg.Now(), s.cfg.Now()
	if g.Name == store.GroupAll {
		return nil, invalidField("body.name", "all is every machine, and always there")
	}
	err = s.cfg.Control.CreateGroup(ctx, g)
	s.act(ctx, "group.create", "group:"+g.Name, "parent "+g.Parent+", rules "+strings.Join(in.Body.Rules, " "), err)
	if err != nil {
		return nil, err
	}
	return s.groupChanged(ctx, g.Name)
}

func (s *Server) aggregateGroup(ctx context.Context, in *struct {
	GroupPath
	Metric string `query:"metric" required:"true" minLength:"1" maxLength:"200"`
}) (*body[aggregateBody], error) {
	tenant := caller(ctx).Tenant
	if in.Name != store.GroupAll {
		if _, err := s.group(ctx, in.Name); err != nil {
			return nil, err
		}
	}
	since := s.cfg.Now().Add(-aggregateWithin)
	out, seen := aggregateBody{Metric: in.Metric}, map[string]bool{}
	for _, v := range s.cfg.Telemetry.Last(tenant, in.Metric, "") {
		if v.Time.Before(since) || !s.cfg.Control.InGroup(v.Agent, in.Name) {
			continue
		}
		if out.Series == 0 {
			out.Unit, out.Min, out.Max = v.Unit, v.Value, v.Value
		}
		out.Min, out.Max, out.Sum = min(out.Min, v.Value), max(out.Max, v.Value), out.Sum+v.Value
		out.Series++
		seen[v.Agent] = true
	}
	if out.Agents = len(seen); out.Series > 0 {
		out.Avg = out.Sum / float64(out.Series)
	}
	return answer(out), nil
}
