package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/picketwatch/picket/core/kernel/agents"
	"github.com/picketwatch/picket/core/kernel/catalogue"
	"github.com/picketwatch/picket/core/kernel/store"
)

type agentBody struct {
	ID       string               `json:"id"`
	Name     string               `json:"name"`
	OS       string               `json:"os"`
	Arch     string               `json:"arch"`
	Version  string               `json:"version"`
	State    string               `json:"state" enum:"online,late,offline"`
	Address  string               `json:"address" doc:"Where it was seen at the last contact."`
	LastSeen *time.Time           `json:"last_seen,omitempty"`
	Enrolled time.Time            `json:"enrolled_at"`
	Disabled bool                 `json:"disabled,omitempty" doc:"Its requests are refused."`
	Labels   map[string]string    `json:"labels"`
	Group    string               `json:"group" doc:"Its home: all, unless somebody put it into another."`
	Groups   []string             `json:"groups" nullable:"false" doc:"All groups that it is in with those above them, the nearest first; all is none of them."`
	Queue    *agentQueue          `json:"queue,omitempty"`
	Plugins  []catalogue.Instance `json:"plugins" nullable:"false"`

	PluginCount int `json:"plugin_count" doc:"How many plugins it says it runs."`
	Failing     int `json:"failing" doc:"How many of those do not work."`
}

// agentQueue is how far behind an agent says it is.
type agentQueue struct {
	Depth   int64  `json:"depth"`
	Bytes   int64  `json:"bytes"`
	Dropped uint64 `json:"dropped"`
}

func (s *Server) agentRoutes() {
	tags := []string{"agents"}
	s.agentListRoutes()
	s.addingRoutes()
	handle(s, huma.Operation{OperationID: "get-agent", Method: http.MethodGet, Path: "/api/v1/agents/{id}", Tags: tags,
		Summary: "One enrolled machine"},
		func(ctx context.Context, in *IDPath) (*body[agentBody], error) {
			a, err := s.agent(ctx, in.ID)
			if err != nil {
				return nil, err
			}
			return answer(s.agentOf(ctx, a)), nil
		})
	s.enrolmentRoutes(tags)
	handle(s, huma.Operation{OperationID: "disable-agent", Method: http.MethodPost, Path: "/api/v1/agents/{id}/disable", Tags: tags,
		Summary: "Shut a machine out: its requests are refused until it is enabled again"}, s.setDisabled("agent.disable", true))
	handle(s, huma.Operation{OperationID: "enable-agent", Method: http.MethodPost, Path: "/api/v1/agents/{id}/enable", Tags: tags,
		Summary: "Let a machine in again"}, s.setDisabled("agent.enable", false))
	handle(s, huma.Operation{OperationID: "delete-agent", Method: http.MethodDelete, Path: "/api/v1/agents/{id}", Tags: tags,
		DefaultStatus: http.StatusNoContent, Summary: "Forget a machine; what it measured stays"}, s.deleteAgent)
}

// setDisabled shuts an agent out, or lets it in again.
func (s *Server) setDisabled(action string, disabled bool) func(context.Context, *IDPath) (*body[agentBody], error) {
	return func(ctx context.Context, in *IDPath) (*body[agentBody], error) {
		err := s.cfg.Control.SetAgentDisabled(ctx, caller(ctx).Tenant, in.ID, disabled)
		s.act(ctx, action, "agent:"+in.ID, "", err)
		if err != nil {
			return nil, err
		}
		s.cfg.Live.Publish(caller(ctx).Tenant, "plugins", map[string]string{"agent": in.ID})
		a, err := s.agent(ctx, in.ID)
		if err != nil {
			return nil, err
		}
		return answer(s.agentOf(ctx, a)), nil
	}
}

func (s *Server) deleteAgent(ctx context.Context, in *IDPath) (*struct{}, error) {
	err := s.cfg.Control.DeleteAgent(ctx, caller(ctx).Tenant, in.ID)
	s.act(ctx, "agent.delete", "agent:"+in.ID, "", err)
	if err == nil {
		s.cfg.Live.Publish(caller(ctx).Tenant, "plugins", map[string]string{"agent": in.ID})
	}
	return nil, err
}

// agent finds an agent of the caller's tenant; another tenant's does not exist for it.
func (s *Server) agent(ctx context.Context, id string) (store.Agent, error) {
	a, err := s.cfg.Control.AgentByID(ctx, id)
	if err == nil && a.Tenant != caller(ctx).Tenant {
		err = store.ErrNotFound
	}
	return a, err
}

// briefly leaves out what has to be read from what the agent said.
func (s *Server) briefly(a store.Agent) agentBody {
	b := agentBody{ID: a.ID, Name: a.Name, OS: a.OS, Arch: a.Arch, Version: a.Version, State: s.cfg.Agents.State(a), Address: a.Address, Disabled: a.Disabled,
		LastSeen: when(a.LastSeen), Enrolled: a.Enrolled.UTC(), Labels: a.Labels, Group: a.Group, Groups: append([]string{}, a.Groups...), Plugins: []catalogue.Instance{},
		PluginCount: a.Plugins, Failing: a.Failing}
	if b.Labels == nil {
		b.Labels = map[string]string{}
	}
	return b
}

func (s *Server) agentOf(ctx context.Context, a store.Agent) agentBody {
	return s.agentsOf(ctx, []store.Agent{a})[0]
}

// agentsOf shows agents of the caller's tenant in full.
func (s *Server) agentsOf(ctx context.Context, list []store.Agent) []agentBody {
	plugins, err := s.cfg.Catalogue.AgentPlugins(ctx, caller(ctx).Tenant, list)
	if err != nil {
		s.cfg.Log.Error("read the plugins of agents", "agents", len(list), "error", err)
	}
	out := make([]agentBody, len(list))
	for i, a := range list {
		out[i] = s.briefly(a)
		var reported struct {
			Queue *agentQueue `json:"queue"`
		}
		if json.Unmarshal(a.Status, &reported) == nil {
			out[i].Queue = reported.Queue
		}
		if err == nil {
			out[i].Plugins = append(out[i].Plugins, plugins[i]...)
		}
	}
	return out
}

type enrolmentTokenBody struct {
	ID      string    `json:"id"`
	Token   string    `json:"token" doc:"Shown once. It carries the server's address and the hash of its root of trust."`
	Command string    `json:"command" doc:"Run this on the new machine."`
	Expires time.Time `json:"expires"`
}

func (s *Server) enrolmentToken(ctx context.Context, in *struct {
	Scheme string `header:"X-Forwarded-Proto" hidden:"true"`
	Body   struct {
		Name      string            `json:"name,omitempty" maxLength:"100" doc:"What the machine is called; what the token is called when it lets in more than one."`
		ExpiresIn string            `json:"expires_in,omitempty" doc:"For example 24h; without it, an hour."`
		MaxUses   int               `json:"max_uses,omitempty" minimum:"0" maximum:"10000" doc:"How many machines it lets in; without it, one."`
		Labels    map[string]string `json:"labels,omitempty" doc:"What each of them gets; it counts more than what the machine says itself."`
		Group     string            `json:"group,omitempty" maxLength:"40" pattern:"^([a-z0-9][a-z0-9-]*)?$" doc:"Where they belong; without it, all."`
	}
}) (*body[enrolmentTokenBody], error) {
	ttl, err := duration("body.expires_in", in.Body.ExpiresIn)
	if err != nil {
		return nil, err
	}
	base := s.baseURL(ctx, in.Scheme)
	text, row, err := s.cfg.Agents.CreateToken(ctx, agents.TokenRequest{Tenant: caller(ctx).Tenant, Name: in.Body.Name,
		CreatedBy: caller(ctx).Actor(), Server: base, RootSHA256: s.rootSHA256(), TTL: ttl,
		MaxUses: in.Body.MaxUses, Labels: in.Body.Labels, Group: in.Body.Group})
	s.act(ctx, "agent.token", "enrolment:"+row.ID, in.Body.Name, err)
	if err != nil {
		return nil, err
	}
	return answer(enrolmentTokenBody{ID: row.ID, Token: text, Expires: row.Expires.UTC(),
		Command: fmt.Sprintf("picket-agent --server %s --data ~/.picket-agent --token-file - <<< %s", base, text)}), nil
}

func (s *Server) rootSHA256() string {
	if s.cfg.RootSHA256 == nil {
		return ""
	}
	return s.cfg.RootSHA256()
}

// baseURL is how the caller reached this server, unless the operator said how it is reached.
func (s *Server) baseURL(ctx context.Context, forwarded string) string {
	if s.cfg.BaseURL != "" {
		return strings.TrimSuffix(s.cfg.BaseURL, "/")
	}
	scheme := "http"
	o := originOf(ctx)
	if forwarded == "https" || o.tls {
		scheme = "https"
	}
	return scheme + "://" + o.host
}
