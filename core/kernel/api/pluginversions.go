package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/picketwatch/picket/core/kernel/catalogue"
	"github.com/picketwatch/picket/core/kernel/pluginhost"
)

// Instances looks after single instances over time; catalogue.Catalogue does.
type Instances interface {
	Upgrade(ctx context.Context, id, instance, version, by string) error
	Rollback(ctx context.Context, id, instance, node, by string) error
	Shadow(ctx context.Context, id, instance, version string) error
	Promote(ctx context.Context, id, instance, by string) error
	DropShadow(ctx context.Context, id, instance string) error
	ShadowReport(ctx context.Context, id, instance string) (pluginhost.ShadowReport, error)
	History(ctx context.Context, id, instance, node string) ([]pluginhost.Transition, error)
	Ledger(ctx context.Context, id, instance, node string) (pluginhost.Ledger, error)
	Explain(ctx context.Context, id, instance, node string) (catalogue.Explanation, error)
}

type versionInput struct {
	PluginPath
	Body struct {
		Instance string `json:"instance" minLength:"1" maxLength:"128"`
		Version  string `json:"version" minLength:"1" maxLength:"64" doc:"A version, or a range such as ^1.2."`
	}
}

type instanceQuery struct {
	PluginPath
	Instance string `query:"instance" required:"true" minLength:"1" maxLength:"128"`
	Node     string `query:"node" maxLength:"64" doc:"The agent, when several run this instance."`
}

type historyBody struct {
	Items []pluginhost.Transition `json:"items" nullable:"false" doc:"The oldest first, at most a hundred."`
}

// versionRoutes are about one instance over time: its versions, its history, what it rests on. Its name may hold
// slashes, so it stands in the query or the body and not in the path.
func (s *Server) versionRoutes() {
	tags := []string{"plugins"}
	at := func(tail string) string { return "/api/v1/plugins/{ns}/{name}" + tail }
	change := func(id, tail, summary string) huma.Operation {
		return huma.Operation{OperationID: id, Method: http.MethodPost, Path: at(tail), Tags: tags, Summary: summary, DefaultStatus: http.StatusAccepted}
	}
	look := func(id, tail, summary string) huma.Operation {
		return huma.Operation{OperationID: id, Method: http.MethodGet, Path: at(tail), Tags: tags, Summary: summary}
	}
	handle(s, change("upgrade-plugin", "/upgrade", "Run another version of an instance, which takes over while it works"),
		s.onVersion("plugin.upgrade", func(ctx context.Context, in *versionInput) error {
			return s.cfg.Catalogue.Upgrade(ctx, in.id(), in.Body.Instance, in.Body.Version, caller(ctx).Actor())
		}))
	handle(s, change("rollback-plugin", "/rollback", "Go back to the version before the last upgrade"),
		s.onInstance("plugin.rollback", func(ctx context.Context, in *instanceInput) error {
			return s.cfg.Catalogue.Rollback(ctx, in.id(), in.Body.Instance, in.Body.Node, caller(ctx).Actor())
		}))
	handle(s, change("shadow-plugin", "/shadow", "Let another version of an instance see the same, and compare"),
		s.onVersion("plugin.shadow", func(ctx context.Context, in *versionInput) error {
			return s.cfg.Catalogue.Shadow(ctx, in.id(), in.Body.Instance, in.Body.Version)
		}))
	handle(s, change("promote-plugin", "/promote", "Make the shadow's version the one that runs"),
		s.onInstance("plugin.promote", func(ctx context.Context, in *instanceInput) error {
			return s.cfg.Catalogue.Promote(ctx, in.id(), in.Body.Instance, caller(ctx).Actor())
		}))
	handle(s, change("drop-plugin-shadow", "/drop-shadow", "End the shadow of an instance"),
		s.onInstance("plugin.drop-shadow", func(ctx context.Context, in *instanceInput) error {
			return s.cfg.Catalogue.DropShadow(ctx, in.id(), in.Body.Instance)
		}))
	handle(s, look("plugin-shadow", "/shadow", "How the shadow of an instance compares"),
		func(ctx context.Context, in *instanceQuery) (*body[pluginhost.ShadowReport], error) {
			r, err := s.cfg.Catalogue.ShadowReport(ctx, in.id(), in.Instance)
			return answer(r), err
		})
	handle(s, look("plugin-history", "/history", "What happened to an instance"),
		func(ctx context.Context, in *instanceQuery) (*body[historyBody], error) {
			list, err := s.cfg.Catalogue.History(ctx, in.id(), in.Instance, in.Node)
			return answer(historyBody{list}), err
		})
	handle(s, look("plugin-ledger", "/ledger", "What an instance has cost and brought"),
		func(ctx context.Context, in *instanceQuery) (*body[pluginhost.Ledger], error) {
			l, err := s.cfg.Catalogue.Ledger(ctx, in.id(), in.Instance, in.Node)
			return answer(l), err
		})
	handle(s, look("explain-plugin", "/explain", "What an instance rests on, from its bytes to its confinement"),
		func(ctx context.Context, in *instanceQuery) (*body[catalogue.Explanation], error) {
			e, err := s.cfg.Catalogue.Explain(ctx, in.id(), in.Instance, in.Node)
			return answer(e), err
		})
}

func (s *Server) onVersion(action string, do func(context.Context, *versionInput) error) func(context.Context, *versionInput) (*struct{}, error) {
	return func(ctx context.Context, in *versionInput) (*struct{}, error) {
		err := do(ctx, in)
		s.act(ctx, action, "plugin:"+in.id(), "instance "+in.Body.Instance+", version "+in.Body.Version, err)
		return nil, err
	}
}
