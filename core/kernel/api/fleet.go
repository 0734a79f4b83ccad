package api

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/picketwatch/picket/core/kernel/catalogue"
	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/registry"
)

// Fleet knows all nodes at once; catalogue.Catalogue does.
type Fleet interface {
	Fleet(ctx context.Context) (catalogue.Fleet, error)
	FleetLock(ctx context.Context) (*registry.Lock, error)
	UpdatePolicy(ctx context.Context, id string) (catalogue.UpdatePolicy, error)
	SetUpdatePolicy(ctx context.Context, id string, p catalogue.UpdatePolicy) (catalogue.UpdatePolicy, error)
	SetGroup(ctx context.Context, tenant, agent, group string) error
	SetGroups(ctx context.Context, tenant string, agents []string, group string) ([]string, error)
	Override(ctx context.Context, id string, o catalogue.Override) error
	EndOverride(ctx context.Context, id, version string) error
	Uninstall(ctx context.Context, id, by string) (catalogue.Uninstalled, error)
	Origin(id string) string
}

// Rollouts bring versions to agents; the service rollout does. It is nil where there are no agents to bring them to.
type Rollouts interface {
	Create(ctx context.Context, r store.Rollout, grants catalogue.Grants) (store.Rollout, error)
	CreateConfig(ctx context.Context, r store.Rollout) (store.Rollout, error)
	Pause(ctx context.Context, id, by string) (store.Rollout, error)
	Resume(ctx context.Context, id, by string, grants catalogue.Grants) (store.Rollout, error)
	Halt(ctx context.Context, id, by string) (store.Rollout, error)
	Finish(ctx context.Context, id, by string) (store.Rollout, error)
	Consider()
}

type rolloutBody struct {
	ID            string        `json:"id"`
	Plugin        string        `json:"plugin" doc:"Empty when it is a configuration that is brought."`
	Target        string        `json:"target,omitempty" doc:"Whose configuration: agents, group:NAME or the id of an agent."`
	Version       string        `json:"version"`
	Group         string        `json:"group"`
	CanaryPercent int           `json:"canary_percent"`
	Soak          string        `json:"soak" doc:"How long the canaries must do well, for example 10m0s."`
	MaxFailures   int           `json:"max_failures" doc:"Agents that may fail before all go back."`
	State         string        `json:"state" enum:"canary,waiting,paused,rolling,halted,done,rolled back"`
	Reason        string        `json:"reason,omitempty"`
	By            string        `json:"by"`
	Created       time.Time     `json:"created"`
	Updated       time.Time     `json:"updated"`
	SoakEnds      *time.Time    `json:"soak_ends,omitempty" doc:"When the rest follows if the canaries go on to do well."`
	Nodes         []rolloutNode `json:"nodes" nullable:"false"`
}

type rolloutNode struct {
	ID     string `json:"id"`
	Name   string `json:"name"`
	From   string `json:"from"`
	To     string `json:"to"`
	Canary bool   `json:"canary"`
	State  string `json:"state" enum:"waiting,updating,updated,failed,going back,rolled back"`
	Reason string `json:"reason,omitempty"`
}

func rolloutOf(r store.Rollout) rolloutBody {
	b := rolloutBody{ID: r.ID, Plugin: r.Plugin, Target: r.Target, Version: r.Version, Group: r.Group, CanaryPercent: r.CanaryPercent, Soak: r.Soak.String(),
		MaxFailures: r.MaxFailures, State: r.State, Reason: r.Reason, By: r.By, Created: r.Created.UTC(), Updated: r.Updated.UTC(),
		Nodes: convert(r.Nodes, func(n store.RolloutNode) rolloutNode {
			return rolloutNode{ID: n.ID, Name: n.Name, From: n.From, To: n.To, Canary: n.Canary, State: n.State, Reason: n.Reason}
		})}
	if r.State == store.RolloutCanary && !r.WellSince.IsZero() {
		b.SoakEnds = when(r.WellSince.Add(r.Soak))
	}
	return b
}

type newRollout struct {
	Body struct {
		Plugin        string    `json:"plugin" minLength:"3" maxLength:"128"`
		Version       string    `json:"version" minLength:"1" maxLength:"64" doc:"A version, or a range such as ^1.2."`
		Group         string    `json:"group,omitempty" maxLength:"64" doc:"Without it, all agents."`
		CanaryPercent *int      `json:"canary_percent,omitempty" minimum:"0" maximum:"100" doc:"How many of them go first, at least one; without it, 10."`
		Soak          string    `json:"soak,omitempty" maxLength:"20" doc:"How long they must do well; without it, 10m."`
		MaxFailures   int       `json:"max_failures,omitempty" minimum:"0" maximum:"1000"`
		Grants        grantList `json:"grants,omitempty"`
	}
}

type resumeInput struct {
	IDPath
	Body struct {
		Grants grantList `json:"grants,omitempty"`
	} `required:"false"`
}

type policyInput struct {
	PluginPath
	Body struct {
		Auto         string `json:"auto" enum:"off,patch,minor"`
		CooldownDays int    `json:"cooldown_days,omitempty" minimum:"0" maximum:"365"`
		Group        string `json:"group,omitempty" maxLength:"64"`
	}
}

type groupBody struct {
	Group string `json:"group" minLength:"1" maxLength:"40" pattern:"^[a-z0-9][a-z0-9-]*$" doc:"all, or a name in lower-case letters, digits and dashes."`
}

func (s *Server) fleetRoutes() {
	tags := []string{"fleet"}
	look := func(id, path, summary string) huma.Operation {
		return huma.Operation{OperationID: id, Method: http.MethodGet, Path: path, Tags: tags, Summary: summary}
	}
	handle(s, look("fleet", "/api/v1/fleet", "Which version of what runs where"),
		func(ctx context.Context, _ *struct{}) (*body[catalogue.Fleet], error) {
			f, err := s.cfg.Catalogue.Fleet(ctx)
			return answer(f), err
		})
	handle(s, look("fleet-lock", "/api/v1/fleet/lock", "plugins.lock of the whole fleet, all platforms in it"),
		func(ctx context.Context, _ *struct{}) (*body[json.RawMessage], error) {
			lock, err := s.cfg.Catalogue.FleetLock(ctx)
			if err != nil {
				return nil, err
			}
			text, err := lock.Encode()
			return answer(json.RawMessage(text)), err
		})
	handle(s, huma.Operation{OperationID: "uninstall-plugin", Method: http.MethodPost, Path: "/api/v1/plugins/{ns}/{name}/uninstall", Tags: tags,
		Summary: "Stop a plugin everywhere and take it off the server, unless something else needs it"},
		func(ctx context.Context, in *PluginPath) (*body[catalogue.Uninstalled], error) {
			out, err := s.cfg.Catalogue.Uninstall(ctx, in.id(), caller(ctx).Actor())
			s.act(ctx, "plugin.uninstall", "plugin:"+in.id(), strings.Join(out.Stopped, " "), err)
			return answer(out), err
		})
	s.updateRoutes(tags)
	s.rolloutRoutes(tags)
	s.groupRoutes(tags)
	s.treeRoutes()
	s.configRoutes()
}

func (s *Server) updateRoutes(tags []string) {
	const path = "/api/v1/plugins/{ns}/{name}/updates"
	handle(s, huma.Operation{OperationID: "get-update-policy", Method: http.MethodGet, Path: path, Tags: tags,
		Summary: "How a plugin is kept up to date"},
		func(ctx context.Context, in *PluginPath) (*body[catalogue.UpdatePolicy], error) {
			p, err := s.cfg.Catalogue.UpdatePolicy(ctx, in.id())
			return answer(p), err
		})
	handle(s, huma.Operation{OperationID: "set-update-policy", Method: http.MethodPut, Path: path, Tags: tags,
		Summary: "Say how a plugin is kept up to date; no update asks for more than was granted"},
		func(ctx context.Context, in *policyInput) (*body[catalogue.UpdatePolicy], error) {
			p, err := s.cfg.Catalogue.SetUpdatePolicy(ctx, in.id(), catalogue.UpdatePolicy{Auto: in.Body.Auto, CooldownDays: in.Body.CooldownDays,
				Group: in.Body.Group, By: caller(ctx).Actor()})
			s.act(ctx, "plugin.updates", "plugin:"+in.id(), in.Body.Auto, err)
			if err == nil && s.cfg.Rollouts != nil {
				s.cfg.Rollouts.Consider()
			}
			return answer(p), err
		})
	const override = "/api/v1/plugins/{ns}/{name}/override-revocation"
	handle(s, huma.Operation{OperationID: "override-revocation", Method: http.MethodPost, Path: override, Tags: tags,
		DefaultStatus: http.StatusNoContent, Summary: "Let a revoked version run on, where the node's own policy allows it"},
		func(ctx context.Context, in *struct {
			PluginPath
			Body struct {
				Version string `json:"version" minLength:"1" maxLength:"64"`
				Reason  string `json:"reason" minLength:"10" maxLength:"500" doc:"It is recorded and shown."`
				Node    string `json:"node,omitempty" maxLength:"64" doc:"server or the id of an agent; without it, every node."`
			}
		}) (*struct{}, error) {
			err := s.cfg.Catalogue.Override(ctx, in.id(), catalogue.Override{Version: in.Body.Version, Node: in.Body.Node, Reason: in.Body.Reason,
				By: caller(ctx).Actor(), Time: s.cfg.Now()})
			s.act(ctx, "plugin.override-revocation", "plugin:"+in.id(), "version "+in.Body.Version+", node "+in.Body.Node+": "+in.Body.Reason, err)
			return nil, err
		})
	handle(s, huma.Operation{OperationID: "end-override", Method: http.MethodDelete, Path: override, Tags: tags,
		DefaultStatus: http.StatusNoContent, Summary: "Take the overrides of a plugin back"},
		func(ctx context.Context, in *offerQuery) (*struct{}, error) {
			err := s.cfg.Catalogue.EndOverride(ctx, in.id(), in.Version)
			s.act(ctx, "plugin.end-override", "plugin:"+in.id(), "version "+in.Version, err)
			return nil, err
		})
}

func (s *Server) rolloutRoutes(tags []string) {
	const path = "/api/v1/fleet/rollouts"
	handle(s, huma.Operation{OperationID: "list-rollouts", Method: http.MethodGet, Path: path, Tags: tags, Summary: "Rollouts, newest first"},
		func(ctx context.Context, in *PageQuery) (*body[page[rolloutBody]], error) {
			l, next, err := s.cfg.Control.ListRollouts(ctx, caller(ctx).Tenant, in.page())
			return answerPage(convert(l, rolloutOf), next), err
		})
	handle(s, huma.Operation{OperationID: "get-rollout", Method: http.MethodGet, Path: path + "/{id}", Tags: tags, Summary: "How a rollout goes"},
		func(ctx context.Context, in *IDPath) (*body[rolloutBody], error) {
			r, err := s.cfg.Control.RolloutByID(ctx, caller(ctx).Tenant, in.ID)
			return answer(rolloutOf(r)), err
		})
	handle(s, huma.Operation{OperationID: "create-rollout", Method: http.MethodPost, Path: path, Tags: tags, DefaultStatus: http.StatusCreated,
		Summary: "Bring another version to agents: to some first, to all once those did well"}, s.createRollout)
	move := func(name, summary string, do func(ctx context.Context, r Rollouts, in *resumeInput) (store.Rollout, error)) {
		handle(s, huma.Operation{OperationID: name + "-rollout", Method: http.MethodPost, Path: path + "/{id}/" + name, Tags: tags, Summary: summary},
			func(ctx context.Context, in *resumeInput) (*body[rolloutBody], error) {
				if s.cfg.Rollouts == nil {
					return nil, store.ErrNotFound
				}
				r, err := do(ctx, s.cfg.Rollouts, in)
				s.act(ctx, "rollout."+name, "rollout:"+in.ID, r.Plugin, err)
				return answer(rolloutOf(r)), err
			})
	}
	move("pause", "Hold a rollout where it is", func(ctx context.Context, r Rollouts, in *resumeInput) (store.Rollout, error) {
		return r.Pause(ctx, in.ID, caller(ctx).Actor())
	})
	move("resume", "Go on; with grants when it waits for them", func(ctx context.Context, r Rollouts, in *resumeInput) (store.Rollout, error) {
		return r.Resume(ctx, in.ID, caller(ctx).Actor(), in.Body.Grants.grants())
	})
	move("halt", "Stop, and bring every agent back to what it had", func(ctx context.Context, r Rollouts, in *resumeInput) (store.Rollout, error) {
		return r.Halt(ctx, in.ID, caller(ctx).Actor())
	})
	move("finish", "Do not wait for the canaries any longer", func(ctx context.Context, r Rollouts, in *resumeInput) (store.Rollout, error) {
		return r.Finish(ctx, in.ID, caller(ctx).Actor())
	})
}

func (g grantList) grants() catalogue.Grants { return catalogue.Grants{All: g.all, Caps: g.caps} }

func (s *Server) createRollout(ctx context.Context, in *newRollout) (*body[rolloutBody], error) {
	soak, err := duration("body.soak", in.Body.Soak)
	if err != nil {
		return nil, err
	}
	if s.cfg.Rollouts == nil {
		return nil, catalogue.ErrNoShop
	}
	r := store.Rollout{Tenant: caller(ctx).Tenant, Plugin: in.Body.Plugin, Version: in.Body.Version, Group: in.Body.Group, CanaryPercent: 10,
		Soak: soak, MaxFailures: in.Body.MaxFailures, By: caller(ctx).Actor()}
	if in.Body.CanaryPercent != nil {
		r.CanaryPercent = *in.Body.CanaryPercent
	}
	if in.Body.Soak == "" {
		r.Soak = 10 * time.Minute
	}
	r, err = s.cfg.Rollouts.Create(ctx, r, in.Body.Grants.grants())
	s.act(ctx, "rollout.create", "plugin:"+in.Body.Plugin, strings.TrimSpace("version "+in.Body.Version+", group "+in.Body.Group+" rollout:"+r.ID), err)
	if err != nil {
		return nil, err
	}
	return answer(rolloutOf(r)), nil
}

func (s *Server) groupRoutes(tags []string) {
	const path = "/api/v1/agents/{id}/group"
	handle(s, huma.Operation{OperationID: "get-agent-group", Method: http.MethodGet, Path: path, Tags: tags, Summary: "The group of a machine"},
		func(ctx context.Context, in *IDPath) (*body[groupBody], error) {
			a, err := s.agent(ctx, in.ID)
			return answer(groupBody{a.Group}), err
		})
	handle(s, huma.Operation{OperationID: "set-agent-group", Method: http.MethodPut, Path: path, Tags: tags,
		Summary: "Put a machine into a group; what it runs may change with that"},
		func(ctx context.Context, in *struct {
			IDPath
			Body groupBody
		}) (*body[groupBody], error) {
			err := s.cfg.Catalogue.SetGroup(ctx, caller(ctx).Tenant, in.ID, in.Body.Group)
			s.act(ctx, "agent.group", "agent:"+in.ID, in.Body.Group, err)
			if err != nil {
				return nil, err
			}
			return answer(in.Body), nil
		})
}
