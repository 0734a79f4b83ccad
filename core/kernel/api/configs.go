package api

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/picketwatch/picket/core/kernel/catalogue"
	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/sdk"
)

// TargetPath is whose configuration is meant.
type TargetPath struct {
	Target string `path:"target" maxLength:"64" doc:"agents for all, group:NAME, or the id of one."`
}

type configuredPlugin struct {
	Plugin   string           `json:"plugin"`
	Instance string           `json:"instance"`
	Version  string           `json:"version"`
	Runtime  string           `json:"runtime"`
	Config   json.RawMessage  `json:"config"`
	Secrets  []string         `json:"secrets_set" nullable:"false" doc:"Names of the secrets that are stored."`
	Grants   []sdk.Permission `json:"grants" nullable:"false"`
	Interval string           `json:"interval,omitempty"`
	Limits   registry.Limits  `json:"limits,omitzero"`
	From     string           `json:"from" doc:"Where this was said: agents, group:NAME or the id of an agent."`
	Over     []string         `json:"over,omitempty" doc:"What is further away and says something else of the plugin, which does not count."`
}

func configuredOf(a store.Assignment) configuredPlugin {
	p := configuredPlugin{Plugin: a.Plugin, Instance: a.Instance, Version: a.Version, Runtime: a.Runtime, Config: a.Config, Limits: a.Limits,
		Secrets: slices.Sorted(maps.Keys(a.Secrets)), Grants: []sdk.Permission{}, From: store.TargetOf(a.NodeType, a.NodeID)}
	if p.Secrets == nil {
		p.Secrets = []string{}
	}
	if len(a.Grants) > 0 {
		_ = json.Unmarshal(a.Grants, &p.Grants) // it was written by us; a list without them is better than none
	}
	if a.Interval > 0 {
		p.Interval = a.Interval.String()
	}
	return p
}

type configBody struct {
	Target  string             `json:"target"`
	Version int64              `json:"version" doc:"0 when nothing was ever said."`
	By      string             `json:"by"`
	Comment string             `json:"comment"`
	Created *time.Time         `json:"created,omitempty"`
	Own     []configuredPlugin `json:"own" nullable:"false" doc:"What is said for this target."`
	Runs    []configuredPlugin `json:"runs" nullable:"false" doc:"What runs there: the nearest word on each plugin counts, whole."`
}

type configVersionBody struct {
	Version int64              `json:"version"`
	State   string             `json:"state" enum:"applied,staged,dropped" doc:"staged: a rollout brings it; dropped: a rollout took it back."`
	By      string             `json:"by"`
	Comment string             `json:"comment"`
	Created time.Time          `json:"created"`
	Plugins []configuredPlugin `json:"plugins" nullable:"false"`
}

func configVersionOf(v store.ConfigVersion) configVersionBody {
	return configVersionBody{v.Version, v.State, v.Author, v.Comment, v.Created.UTC(), convert(v.Assignments, configuredOf)}
}

type configDiffBody struct {
	Against int64                    `json:"against"`
	Version configVersionBody        `json:"version"`
	Changes []catalogue.ConfigChange `json:"changes" nullable:"false"`
}

type stagedWish struct {
	CanaryPercent int    `json:"canary_percent" minimum:"0" maximum:"100" default:"10" doc:"How many of the machines get it first, at least one."`
	Soak          string `json:"soak,omitempty" maxLength:"20" doc:"How long they must do well; without it, 10m."`
	MaxFailures   int    `json:"max_failures,omitempty" minimum:"0" maximum:"1000" doc:"Machines that may fail or go quiet before all go back."`
}

type pluginWish struct {
	Plugin   string            `json:"plugin" minLength:"3" maxLength:"128"`
	Version  string            `json:"version,omitempty" maxLength:"64" doc:"Without it, the newest."`
	Runtime  string            `json:"runtime,omitempty" enum:"process,wasm"`
	Config   json.RawMessage   `json:"config,omitempty" doc:"As the plugin's config_schema says, without its secrets."`
	Secrets  map[string]string `json:"secrets,omitempty" doc:"The secret fields. One that is left out keeps its value."`
	Grants   grantList         `json:"grants,omitempty"`
	Interval string            `json:"interval,omitempty" maxLength:"20"`
	Limits   registry.Limits   `json:"limits,omitzero"`
}

type configDone struct {
	Version int64        `json:"version"`
	Rollout *rolloutBody `json:"rollout,omitempty"`
}

// Configs knows what agents are to run; catalogue.Catalogue does.
type Configs interface {
	SetConfig(ctx context.Context, target string, expect int64, plugins []catalogue.PluginWish, stage bool, by, comment string) (int64, error)
	RestoreConfig(ctx context.Context, target string, version, expect int64, stage bool, by, comment string) (int64, error)
	Inherit(ctx context.Context, tenant string, a store.Agent) ([]catalogue.Inherited, error)
}

func (s *Server) configRoutes() {
	const path = "/api/v1/config/{target}"
	tags := []string{"configuration"}
	handle(s, huma.Operation{OperationID: "get-config", Method: http.MethodGet, Path: path, Tags: tags,
		Summary: "What all machines, a group or one machine are to run, and where each part of it was said"}, s.getConfig)
	handle(s, huma.Operation{OperationID: "set-config", Method: http.MethodPut, Path: path, Tags: tags, MaxBodyBytes: 1 << 20,
		Summary: "Say all that a target is to run; with rollout, to some of its machines first"},
		func(ctx context.Context, in *struct {
			TargetPath
			Matching
			Body struct {
				Plugins []pluginWish `json:"plugins" nullable:"false" maxItems:"200"`
				Comment string       `json:"comment,omitempty" maxLength:"500" doc:"Why; it is kept with the version."`
				Rollout *stagedWish  `json:"rollout,omitempty"`
			}
		}) (*tagged[configDone], error) {
			wishes := make([]catalogue.PluginWish, 0, len(in.Body.Plugins))
			for i, p := range in.Body.Plugins {
				interval, err := duration(fmt.Sprintf("body.plugins[%d].interval", i), p.Interval)
				if err != nil {
					return nil, err
				}
				wishes = append(wishes, catalogue.PluginWish{ID: p.Plugin, Wish: catalogue.Wish{Version: p.Version, Runtime: p.Runtime, Config: p.Config,
					Secrets: p.Secrets, GrantAll: p.Grants.all, Grants: p.Grants.caps, Interval: interval, Limits: p.Limits}})
			}
			return s.changeConfig(ctx, "config.set", in.Target, in.Matching, in.Body.Rollout, in.Body.Comment, func(expect int64, stage bool) (int64, error) {
				return s.cfg.Catalogue.SetConfig(ctx, in.Target, expect, wishes, stage, caller(ctx).Actor(), in.Body.Comment)
			})
		})
	handle(s, huma.Operation{OperationID: "list-config-versions", Method: http.MethodGet, Path: path + "/versions", Tags: tags,
		Summary: "What a target was to run, newest first; the last 200 versions are kept"},
		func(ctx context.Context, in *struct {
			TargetPath
			PageQuery
		}) (*body[page[configVersionBody]], error) {
			a, err := s.member(ctx, in.Target)
			if err != nil {
				return nil, err
			}
			l, next, err := s.cfg.Control.ConfigVersions(ctx, a.Tenant, in.Target, in.page())
			return answerPage(convert(l, configVersionOf), next), err
		})
	handle(s, huma.Operation{OperationID: "compare-config-versions", Method: http.MethodGet, Path: path + "/versions/{version}", Tags: tags,
		Summary: "One version, and what is different in it"},
		func(ctx context.Context, in *struct {
			TargetPath
			Version int64 `path:"version" minimum:"1"`
			Against int64 `query:"against" minimum:"0" doc:"The version to compare with; without it, the one before."`
		}) (*body[configDiffBody], error) {
			tenant := caller(ctx).Tenant
			v, err := s.cfg.Control.ConfigVersionOf(ctx, tenant, in.Target, in.Version)
			if err != nil {
				return nil, err
			}
			other := store.ConfigVersion{}
			if in.Against > 0 {
				if other, err = s.cfg.Control.ConfigVersionOf(ctx, tenant, in.Target, in.Against); err != nil {
					return nil, err
				}
			} else {
				before, _, err := s.cfg.Control.ConfigVersions(ctx, tenant, in.Target, store.Page{Cursor: strconv.FormatInt(in.Version, 10), Limit: 50})
				if err != nil {
					return nil, err
				}
				if at := slices.IndexFunc(before, func(v store.ConfigVersion) bool { return v.State == store.ConfigApplied }); at >= 0 {
					other = before[at]
				}
			}
			return answer(configDiffBody{other.Version, configVersionOf(v), catalogue.DiffConfigs(other.Assignments, v.Assignments)}), nil
		})
	handle(s, huma.Operation{OperationID: "restore-config-version", Method: http.MethodPost, Path: path + "/versions/{version}/restore", Tags: tags,
		Summary: "Go back to a version; that is a new version"},
		func(ctx context.Context, in *struct {
			TargetPath
			Matching
			Version int64 `path:"version" minimum:"1"`
			Body    struct {
				Comment string      `json:"comment,omitempty" maxLength:"500"`
				Rollout *stagedWish `json:"rollout,omitempty"`
			} `required:"false"`
		}) (*tagged[configDone], error) {
			return s.changeConfig(ctx, "config.restore", in.Target, in.Matching, in.Body.Rollout, fmt.Sprintf("version %d %s", in.Version, in.Body.Comment),
				func(expect int64, stage bool) (int64, error) {
					return s.cfg.Catalogue.RestoreConfig(ctx, in.Target, in.Version, expect, stage, caller(ctx).Actor(), in.Body.Comment)
				})
		})
}

// member is an agent as it would be in a target, to see what runs there.
func (s *Server) member(ctx context.Context, target string) (store.Agent, error) {
	tenant := caller(ctx).Tenant
	nodeType, nodeID := store.NodeOf(target)
	if nodeType == store.NodeAgent {
		return s.agent(ctx, nodeID)
	}
	a := store.Agent{Tenant: tenant, Group: store.GroupAll, Groups: []string{}}
	if target == store.NodeAgents {
		return a, nil
	}
	groups, err := s.cfg.Control.Groups(ctx, tenant)
	if err != nil {
		return a, err
	}
	for name := nodeID; len(a.Groups) == 0 || name != store.GroupAll; { // agents is what all are called here
		at := slices.IndexFunc(groups, func(g store.Group) bool { return g.Name == name })
		if at < 0 {
			return a, store.ErrNotFound
		}
		a.Groups, name = append(a.Groups, name), groups[at].Parent
	}
	a.Group = nodeID
	return a, nil
}

func (s *Server) getConfig(ctx context.Context, in *TargetPath) (*tagged[configBody], error) {
	a, err := s.member(ctx, in.Target)
	if err != nil {
		return nil, err
	}
	v, err := s.cfg.Control.CurrentConfig(ctx, a.Tenant, in.Target)
	if err != nil {
		return nil, err
	}
	runs, err := s.cfg.Catalogue.Inherit(ctx, a.Tenant, a)
	if err != nil {
		return nil, err
	}
	b := configBody{Target: in.Target, Version: v.Version, By: v.Author, Comment: v.Comment, Created: when(v.Created), Own: convert(v.Assignments, configuredOf),
		Runs: convert(runs, func(i catalogue.Inherited) configuredPlugin {
			p := configuredOf(i.Assignment)
			p.From, p.Over = i.From, i.Over
			return p
		})}
	return &tagged[configBody]{etag(v.Version), b}, nil
}

// changeConfig makes another version of a target's configuration, at once or by a rollout.
func (s *Server) changeConfig(ctx context.Context, action, target string, m Matching, staged *stagedWish, detail string, change func(expect int64, stage bool) (int64, error)) (*tagged[configDone], error) {
	if caller(ctx).Tenant != store.DefaultTenant {
		return nil, huma.Error403Forbidden("the operator of this server says what machines run: ask an administrator of the tenant " + store.DefaultTenant)
	}
	expect, err := m.version()
	if err != nil {
		return nil, err
	}
	if _, err := s.member(ctx, target); err != nil {
		return nil, err
	}
	soak := 10 * time.Minute
	if staged != nil && s.cfg.Rollouts == nil {
		return nil, catalogue.ErrNoShop
	}
	if staged != nil && staged.Soak != "" {
		if soak, err = duration("body.rollout.soak", staged.Soak); err != nil {
			return nil, err
		}
	}
	version, err := change(expect, staged != nil)
	s.act(ctx, action, "config:"+target, strings.TrimSpace(detail), err)
	if err != nil {
		return nil, err
	}
	done := configDone{Version: version}
	if staged != nil {
		r, err := s.cfg.Rollouts.CreateConfig(ctx, store.Rollout{Target: target, Version: strconv.FormatInt(version, 10), CanaryPercent: staged.CanaryPercent,
			Soak: soak, MaxFailures: staged.MaxFailures, By: caller(ctx).Actor()})
		s.act(ctx, "rollout.create", "config:"+target, strings.TrimSpace("version "+strconv.FormatInt(version, 10)+" rollout:"+r.ID), err)
		if err != nil {
			return nil, err
		}
		shown := rolloutOf(r)
		done.Rollout, version = &shown, expect
	}
	return &tagged[configDone]{etag(version), done}, nil
}
