package api

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/picketwatch/picket/core/kernel/agents"
	"github.com/picketwatch/picket/core/kernel/pluginhost"
	"github.com/picketwatch/picket/core/kernel/signing"
	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/sdk"
)

// maxWait bounds a long poll, below what proxies usually cut off.
const maxWait = 55 * time.Second

type enrolInput struct {
	Body struct {
		_         struct{}          `json:"-" additionalProperties:"true"` // a newer agent may say more
		Token     string            `json:"token" minLength:"1" maxLength:"5000"`
		Name      string            `json:"name" maxLength:"200"`
		PublicKey string            `json:"public_key" maxLength:"100" doc:"Ed25519, base64."`
		OS        string            `json:"os" maxLength:"200"`
		Arch      string            `json:"arch" maxLength:"200"`
		Version   string            `json:"version" maxLength:"200"`
		Labels    map[string]string `json:"labels,omitempty"`
	}
}

type enrolledBody struct {
	AgentID    string `json:"agent_id"`
	Bearer     string `json:"bearer" doc:"Goes into Authorization of every request, beside the signature."`
	CommandKey string `json:"command_key" doc:"Ed25519, base64: commands are signed with it."`
	Registry   string `json:"registry" doc:"Where plugins come from, below the server's address."`
}

type agentConfigBody struct {
	Agent       string                  `json:"agent"`
	Version     int64                   `json:"version"`
	Issued      time.Time               `json:"issued"`
	Assignments []pluginhost.Assignment `json:"assignments" nullable:"false"`
	Signature   []byte                  `json:"signature" doc:"Ed25519 with the command key over all of this in canonical form."`
}

type pollInput struct {
	Have string `query:"have" maxLength:"20" doc:"The version the agent has; empty for none."`
	Wait string `query:"wait" maxLength:"10" doc:"How long to wait for something new, for example 30s."`
}

type pollBody struct {
	Config   *agentConfigBody  `json:"config,omitempty" doc:"What to run, when that is not what the agent has."`
	Commands []signing.Command `json:"commands" nullable:"false" doc:"Orders, each handed out once."`
	Again    float64           `json:"again_seconds,omitempty" doc:"How long to wait before the next poll: this server holds no more of them."`
}

// maxHeld is how many polls are held at once: each keeps a connection, its buffers and a stack, 60 KB. The agents beyond that ask every
// pollEvery, and an order reaches them that much later.
const (
	maxHeld   = 1000
	pollEvery = 30 * time.Second
)

func (s *Server) agentSideRoutes() {
	tags := []string{"agent side"}
	handle(s, huma.Operation{OperationID: "enrol", Method: http.MethodPost, Path: "/api/v1/enrol", Tags: tags,
		Summary: "Let a machine in with a one-time token"}, s.enrol)
	handle(s, huma.Operation{OperationID: "agent-poll", Method: http.MethodGet, Path: "/api/v1/agent/poll", Tags: tags,
		Summary: "What the agent should run and do, when there is news"}, s.agentPoll)
	handle(s, huma.Operation{OperationID: "agent-command-result", Method: http.MethodPost, Path: "/api/v1/agent/commands/{id}/result", Tags: tags,
		DefaultStatus: http.StatusNoContent, Summary: "What became of an order"}, s.commandResult)
	handle(s, huma.Operation{OperationID: "agent-command-output", Method: http.MethodPost, Path: "/api/v1/agent/commands/{id}/output", Tags: tags,
		Summary: "What an order printed so far"}, s.commandPrinted)
	handle(s, huma.Operation{OperationID: "agent-status", Method: http.MethodPost, Path: "/api/v1/agent/status", Tags: tags,
		MaxBodyBytes: maxStatus, SkipValidateBody: true, Summary: "How the agent and its plugins are"}, s.agentStatus)
	handle(s, huma.Operation{OperationID: "agent-receipt", Method: http.MethodPost, Path: "/api/v1/agent/receipts", Tags: tags,
		MaxBodyBytes: registry.MaxReceipt, SkipValidateBody: true, DefaultStatus: http.StatusNoContent,
		Summary: "What the agent installed or removed, signed, for the registry"}, s.agentReceipt)
	s.agentSampleRoutes()
	s.agentFlowRoutes()
	s.agentFindingRoutes()
	s.agentEvidenceRoutes()
}

func (s *Server) enrol(ctx context.Context, in *enrolInput) (*body[enrolledBody], error) {
	b := in.Body
	key, err := base64.StdEncoding.DecodeString(b.PublicKey)
	if err != nil {
		return nil, invalidField("body.public_key", "must be base64")
	}
	r, err := s.cfg.Agents.Enrol(ctx, agents.EnrolRequest{Token: b.Token, Name: b.Name, OS: b.OS, Arch: b.Arch, Version: b.Version,
		Address: peer(ctx), PublicKey: key, Labels: b.Labels})
	if err != nil {
		return nil, err
	}
	s.cfg.Live.Publish(r.Tenant, "plugins", map[string]string{"agent": r.AgentID})
	return answer(enrolledBody{AgentID: r.AgentID, Bearer: r.Bearer, Registry: "/registry/",
		CommandKey: base64.StdEncoding.EncodeToString(r.CommandKey)}), nil
}

// patience reads how long to wait, and returns a context that also ends when the server is being stopped.
func (s *Server) patience(ctx context.Context, text string) (context.Context, context.CancelFunc, time.Duration, error) {
	wait, err := duration("query.wait", text)
	if err != nil {
		return nil, nil, 0, err
	}
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(s.stop, cancel)
	return ctx, func() { stop(); cancel() }, min(wait, maxWait), nil
}

// agentPoll waits for another configuration or an order.
func (s *Server) agentPoll(ctx context.Context, in *pollInput) (*body[pollBody], error) {
	have := int64(-1)
	if in.Have != "" {
		n, err := strconv.ParseInt(in.Have, 10, 64)
		if err != nil {
			return nil, invalidField("query.have", "must be a version that this server gave")
		}
		have = n
	}
	waiting, done, wait, err := s.patience(ctx, in.Wait)
	if err != nil {
		return nil, err
	}
	defer done()
	out := pollBody{}
	if wait > 0 {
		defer s.held.Add(-1)
		if s.held.Add(1) > maxHeld {
			out.Again, wait = pollEvery.Seconds(), 0
		}
	}
	d, changed, cmds, err := s.news(waiting, sender(ctx).ID, have, wait)
	if errors.Is(err, context.Canceled) && ctx.Err() == nil {
		err = nil // the server is being stopped; the agent asks again
	}
	if err != nil {
		return nil, err
	}
	if out.Commands = cmds; cmds == nil {
		out.Commands = []signing.Command{}
	}
	if changed {
		if out.Config, err = s.signedConfig(ctx, d); err != nil {
			return nil, err
		}
	}
	return answer(out), nil
}

// news is what comes first of a configuration and orders, and the other too if it is there by then. Thousands wait here, each in
// the one goroutine of its request.
func (s *Server) news(ctx context.Context, agent string, have int64, wait time.Duration) (d agents.Desired, changed bool, cmds []signing.Command, err error) {
	bell, stop := s.cfg.Queue.Watch(agent)
	defer stop()
	deadline := time.NewTimer(wait)
	defer deadline.Stop()
	for {
		configured, rung := s.cfg.Agents.Watch(), bell()
		if d, changed, err = s.cfg.Agents.Config(ctx, agent, have, 0); err == nil {
			cmds, err = s.cfg.Queue.Take(ctx, agent, 0)
		}
		if err != nil || changed || len(cmds) > 0 || wait <= 0 {
			return d, changed, cmds, err
		}
		select {
		case <-configured:
		case <-rung:
		case <-deadline.C:
			return d, false, nil, nil
		case <-ctx.Done():
			return d, false, nil, ctx.Err()
		}
	}
}

// signedConfig is what an agent should run, as it travels.
func (s *Server) signedConfig(ctx context.Context, d agents.Desired) (*agentConfigBody, error) {
	list, err := assignments(d.Assignments)
	if err != nil {
		return nil, err
	}
	if err := s.addOverrides(ctx, sender(ctx), list); err != nil {
		return nil, err
	}
	for i := range list {
		list[i].From = s.cfg.Catalogue.Origin(list[i].Plugin)
	}
	signed, err := s.cfg.Queue.SignConfig(sender(ctx).ID, d.Version, list)
	if err != nil {
		return nil, err
	}
	return &agentConfigBody{Agent: signed.Agent, Version: signed.Version, Issued: signed.Issued, Assignments: list, Signature: signed.Signature}, nil
}

// assignments turns what is stored into what a plugin host takes.
func assignments(rows []store.Assignment) ([]pluginhost.Assignment, error) {
	out := make([]pluginhost.Assignment, 0, len(rows))
	for _, r := range rows {
		var grants []sdk.Permission
		if len(r.Grants) > 0 {
			if err := json.Unmarshal(r.Grants, &grants); err != nil {
				return nil, err
			}
		}
		out = append(out, pluginhost.Assignment{Instance: r.Instance, Plugin: r.Plugin, Version: r.Version, Runtime: r.Runtime,
			Config: r.Config, Secrets: r.Secrets, Grants: grants, Interval: r.Interval, Limits: r.Limits})
	}
	return out, nil
}

// addOverrides marks what an administrator lets run on though it is revoked. The agent's own policy decides whether it
// does.
func (s *Server) addOverrides(ctx context.Context, a store.Agent, list []pluginhost.Assignment) error {
	overrides, err := s.cfg.Control.Overrides(ctx, store.DefaultTenant)
	if err != nil {
		return err
	}
	for _, o := range overrides {
		for i := range list {
			if list[i].Plugin == o.Plugin && list[i].Version == o.Version && (o.Node == "" || o.Node == a.ID) {
				list[i].Override = o.By + ": " + o.Reason
			}
		}
	}
	return nil
}

// agentReceipt passes an agent's word on to the registry, which checks it again: an agent can speak for itself alone.
func (s *Server) agentReceipt(ctx context.Context, in *struct {
	RawBody []byte
}) (*struct{}, error) {
	r, err := registry.ParseReceipt(in.RawBody)
	if err == nil {
		err = r.Verify(sender(ctx).PublicKey)
	}
	if err != nil {
		return nil, huma.Error422UnprocessableEntity(err.Error())
	}
	if s.cfg.Receipts == nil {
		return nil, nil // there is nobody to tell, which is no fault of the agent's
	}
	return nil, s.cfg.Receipts(ctx, r)
}

func (s *Server) agentStatus(ctx context.Context, in *struct {
	RawBody []byte
}) (*body[againBody], error) {
	var said struct {
		Version string `json:"version"`
	}
	if err := json.Unmarshal(in.RawBody, &said); err != nil {
		return nil, huma.Error422UnprocessableEntity("the status is not understood: " + err.Error())
	}
	a := sender(ctx)
	if err := s.cfg.Agents.Report(ctx, a.ID, said.Version, in.RawBody); err != nil {
		return nil, err
	}
	s.cfg.Catalogue.Reported(ctx, a, in.RawBody)
	s.cfg.Inventory.AgentSeen(ctx, a)
	all := s.cfg.Agents.Total(a.Tenant)
	return answer(againBody{max(reportEvery, time.Second*time.Duration(all/reportsPerSecond)).Seconds()}), nil
}

// A few agents report often, so that their page is fresh; of many each does so less often.
const (
	reportEvery      = 15 * time.Second
	reportsPerSecond = 100
)

type againBody struct {
	Again float64 `json:"again_seconds" doc:"When to report again if nothing has changed."`
}
