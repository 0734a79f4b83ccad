package api

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"github.com/picketwatch/picket/core/kernel/catalogue"
	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/sdk"
)

// PluginPath is the id of a plugin in an address: its two parts are two segments.
type PluginPath struct {
	Namespace string `path:"ns" maxLength:"64"`
	Name      string `path:"name" maxLength:"64"`
}

func (p PluginPath) id() string { return p.Namespace + "/" + p.Name }

// grantList is a list of capabilities, or "all".
type grantList struct {
	all  bool
	caps []string
}

// Schema says so in the document.
func (grantList) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{
		OneOf: []*huma.Schema{
			{Type: huma.TypeArray, Items: &huma.Schema{Type: huma.TypeString}},
			{Type: huma.TypeString, Enum: []any{"all"}},
		},
		Description: `The capabilities that you grant, or "all" that the plugin asks for.`,
	}
}

// UnmarshalJSON reads either form.
func (g *grantList) UnmarshalJSON(raw []byte) error {
	var word string
	if json.Unmarshal(raw, &word) == nil {
		if word != "all" {
			return fmt.Errorf(`grants must be a list of capabilities or "all"`)
		}
		g.all = true
		return nil
	}
	return json.Unmarshal(raw, &g.caps)
}

type enableInput struct {
	PluginPath
	Body struct {
		Node     string            `json:"node,omitempty" maxLength:"64" doc:"server, the id of an agent, or agents for all of them; without it, where the kind belongs."`
		Runtime  string            `json:"runtime,omitempty" enum:"process,wasm"`
		Version  string            `json:"version,omitempty" maxLength:"64" doc:"Without it, the newest."`
		Config   json.RawMessage   `json:"config,omitempty" doc:"As the plugin's config_schema says, without its secrets."`
		Secrets  map[string]string `json:"secrets,omitempty" doc:"The secret fields. One that is left out keeps its value."`
		Grants   grantList         `json:"grants,omitempty"`
		Interval string            `json:"interval,omitempty" maxLength:"20" doc:"How often a collector or a discovery works, for example 10s."`
		Limits   registry.Limits   `json:"limits,omitzero" doc:"What it may use at most, instead of what its manifest states."`
		Comment  string            `json:"comment,omitempty" maxLength:"500" doc:"Why; it is kept with the version of the configuration."`
	}
}

type nodeInput struct {
	PluginPath
	Body struct {
		Node string `json:"node,omitempty" maxLength:"64" doc:"Without it, everywhere."`
	}
}

type instanceInput struct {
	PluginPath
	Body struct {
		Instance string `json:"instance" minLength:"1" maxLength:"128"`
		Node     string `json:"node,omitempty" maxLength:"64" doc:"The agent, when several run this instance."`
	}
}

type testBody struct {
	Receipt  sdk.Receipt            `json:"receipt"`
	Receipts map[string]sdk.Receipt `json:"receipts" doc:"By instance."`
}

func (s *Server) pluginRoutes() {
	tags := []string{"plugins"}
	at := func(tail string) string { return "/api/v1/plugins/{ns}/{name}" + tail }
	handle(s, huma.Operation{OperationID: "list-plugins", Method: http.MethodGet, Path: "/api/v1/plugins", Tags: tags,
		Summary: "What the registry offers and what runs"},
		func(ctx context.Context, _ *struct{}) (*body[page[catalogue.Plugin]], error) {
			l, err := s.cfg.Catalogue.List(ctx)
			return answerPage(l, ""), err
		})
	handle(s, huma.Operation{OperationID: "get-plugin", Method: http.MethodGet, Path: at(""), Tags: tags, Summary: "One plugin"},
		func(ctx context.Context, in *PluginPath) (*body[catalogue.Plugin], error) {
			p, err := s.cfg.Catalogue.Get(ctx, in.id())
			return answer(p), err
		})
	handle(s, huma.Operation{OperationID: "enable-plugin", Method: http.MethodPost, Path: at("/enable"), Tags: tags,
		Summary: "Run a plugin, or change how it runs"}, s.enable)
	handle(s, huma.Operation{OperationID: "disable-plugin", Method: http.MethodPost, Path: at("/disable"), Tags: tags,
		Summary: "Stop running a plugin"}, s.disable)
	handle(s, huma.Operation{OperationID: "restart-plugin", Method: http.MethodPost, Path: at("/restart"), Tags: tags,
		DefaultStatus: http.StatusAccepted, Summary: "Restart an instance"}, s.onInstance("plugin.restart", func(ctx context.Context, in *instanceInput) error {
		return s.cfg.Catalogue.Restart(ctx, in.id(), in.Body.Instance, in.Body.Node, caller(ctx).Actor())
	}))
	handle(s, huma.Operation{OperationID: "release-plugin", Method: http.MethodPost, Path: at("/release"), Tags: tags,
		DefaultStatus: http.StatusAccepted, Summary: "Let an instance out of quarantine"}, s.onInstance("plugin.release", func(ctx context.Context, in *instanceInput) error {
		return s.cfg.Catalogue.Release(ctx, in.id(), in.Body.Instance, in.Body.Node, caller(ctx).Actor())
	}))
	handle(s, huma.Operation{OperationID: "test-plugin", Method: http.MethodPost, Path: at("/test"), Tags: tags,
		Summary: "Send a test notice through a notifier"}, s.testPlugin)
	s.versionRoutes()
}

func (s *Server) enable(ctx context.Context, in *enableInput) (*body[catalogue.Plugin], error) {
	interval, err := duration("body.interval", in.Body.Interval)
	if err != nil {
		return nil, err
	}
	w := catalogue.Wish{Node: in.Body.Node, Runtime: in.Body.Runtime, Version: in.Body.Version, Config: in.Body.Config,
		Secrets: in.Body.Secrets, GrantAll: in.Body.Grants.all, Grants: in.Body.Grants.caps, Interval: interval, Limits: in.Body.Limits, By: caller(ctx).Actor(), Comment: in.Body.Comment}
	p, err := s.cfg.Catalogue.Enable(ctx, in.id(), w)
	detail := "node " + in.Body.Node + ", grants " + strings.Join(in.Body.Grants.caps, " ")
	if in.Body.Grants.all {
		detail += "all"
	}
	s.act(ctx, "plugin.enable", "plugin:"+in.id(), detail, err)
	if err != nil {
		return nil, err
	}
	return answer(p), nil
}

func (s *Server) disable(ctx context.Context, in *nodeInput) (*body[catalogue.Plugin], error) {
	p, err := s.cfg.Catalogue.Disable(ctx, in.id(), in.Body.Node, caller(ctx).Actor())
	s.act(ctx, "plugin.disable", "plugin:"+in.id(), "node "+in.Body.Node, err)
	if err != nil {
		return nil, err
	}
	return answer(p), nil
}

func (s *Server) onInstance(action string, do func(context.Context, *instanceInput) error) func(context.Context, *instanceInput) (*struct{}, error) {
	return func(ctx context.Context, in *instanceInput) (*struct{}, error) {
		err := do(ctx, in)
		s.act(ctx, action, "plugin:"+in.id(), "instance "+in.Body.Instance, err)
		return nil, err
	}
}

func (s *Server) testPlugin(ctx context.Context, in *PluginPath) (*body[testBody], error) {
	ctx, cancel := context.WithTimeout(ctx, 40*time.Second)
	defer cancel()
	id, err := uuid.NewV7()
	if err != nil {
		return nil, err
	}
	n := sdk.Notice{ID: id.String(), Time: s.cfg.Now().UTC(), Event: "test", Severity: sdk.SeverityInfo,
		Title: "Test notice from Picket", Text: "Somebody pressed the test button. Notices reach you here.", URL: s.cfg.BaseURL}
	receipts, err := s.cfg.Catalogue.Test(ctx, in.id(), n)
	s.act(ctx, "plugin.test", "plugin:"+in.id(), "", err)
	if err != nil {
		return nil, err
	}
	out := testBody{Receipts: receipts}
	for _, instance := range slices.Sorted(maps.Keys(receipts)) {
		out.Receipt = receipts[instance]
		break
	}
	return answer(out), nil
}
