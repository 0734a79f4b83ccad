package api

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"

	"github.com/picketwatch/picket/core/kernel/auth"
	"github.com/picketwatch/picket/core/kernel/queue"
	"github.com/picketwatch/picket/core/kernel/store"
)

type commandBody struct {
	ID         string          `json:"id"`
	Order      string          `json:"order,omitempty" doc:"The order that it is part of; absent for what the server itself asked for."`
	Agent      string          `json:"agent"`
	Type       string          `json:"type"`
	State      string          `json:"state" enum:"waiting,queued,sent,done,failed,refused,cancelled,denied,expired"`
	Args       json.RawMessage `json:"args,omitempty"`
	Issued     time.Time       `json:"issued"`
	Expires    time.Time       `json:"expires"`
	Finished   *time.Time      `json:"finished,omitempty"`
	CreatedBy  string          `json:"created_by"`
	Cancelling bool            `json:"cancelling,omitempty" doc:"Somebody wants it stopped; its agent has not said that it is."`
	Output     string          `json:"output,omitempty" doc:"Only for those who may give orders."`
	Truncated  bool            `json:"output_truncated,omitempty"`
}

// commandOf shows what a command printed only to those who may give orders: a program may print anything.
func commandOf(ctx context.Context) func(store.Command) commandBody {
	shows := caller(ctx).May(auth.CommandsWrite)
	return func(c store.Command) commandBody {
		b := commandBody{ID: c.ID, Order: c.OrderID, Agent: c.AgentID, Type: c.Type, State: c.State, Args: c.Args, Issued: c.Issued.UTC(), Expires: c.Expires.UTC(),
			Finished: when(c.Finished), CreatedBy: c.CreatedBy, Cancelling: c.Cancelling > 0, Truncated: c.OutputTruncated}
		if shows {
			b.Output = strings.ToValidUTF8(c.Output, "�")
		}
		return b
	}
}

type orderBody struct {
	ID            string          `json:"id"`
	Type          string          `json:"type"`
	Args          json.RawMessage `json:"args,omitempty"`
	Target        string          `json:"target" doc:"For people: whom it names."`
	Machines      int             `json:"machines"`
	State         string          `json:"state" enum:"waiting,given,denied,cancelled,expired"`
	CreatedBy     string          `json:"created_by"`
	Own           bool            `json:"own,omitempty" doc:"You asked for it, so another person must approve it."`
	Created       time.Time       `json:"created_at"`
	Expires       *time.Time      `json:"expires,omitempty" doc:"Until then somebody must approve it."`
	DecidedBy     string          `json:"decided_by,omitempty"`
	Decided       *time.Time      `json:"decided_at,omitempty"`
	Reason        string          `json:"reason,omitempty"`
	Progress      map[string]int  `json:"progress" doc:"How many of its commands are in which state."`
	NeedsApproval bool            `json:"needs_approval"`
}

func orderOf(ctx context.Context, o store.Order, progress map[string]int) orderBody {
	b := orderBody{ID: o.ID, Type: o.Type, Args: o.Args, Target: o.Target, Machines: o.Machines, State: o.State, CreatedBy: o.CreatedBy,
		Own: o.Owner != "" && o.Owner == caller(ctx).UserID, Created: o.Created.UTC(), Expires: when(o.Expires), DecidedBy: o.DecidedBy,
		Decided: when(o.Decided), Reason: o.Reason, Progress: progress, NeedsApproval: o.Owner != ""}
	if b.Progress == nil {
		b.Progress = map[string]int{}
	}
	return b
}

type commandTypeBody struct {
	Name    string          `json:"name"`
	Summary string          `json:"summary"`
	Danger  string          `json:"danger" enum:"harmless,disruptive,dangerous" doc:"Dangerous ones wait for a second person, disruptive ones do for more than approve_above machines."`
	Expires float64         `json:"expires_seconds" doc:"How long it waits for a machine that is away, unless you say otherwise."`
	Output  int             `json:"output_bytes" doc:"What is kept of its output."`
	Schema  json.RawMessage `json:"args_schema" doc:"JSON Schema of its arguments."`
}

type commandTypesBody struct {
	Types        []commandTypeBody `json:"types" nullable:"false"`
	ApproveAbove int               `json:"approve_above"`
}

// CommandPath names a command of a machine.
type CommandPath struct {
	IDPath
	Command string `path:"command" maxLength:"64"`
}

func (s *Server) commandRoutes() {
	tags := []string{"commands"}
	handle(s, huma.Operation{OperationID: "list-command-types", Method: http.MethodGet, Path: "/api/v1/commands/types", Tags: tags,
		Summary: "What machines can be ordered to do"}, s.commandTypes)
	handle(s, huma.Operation{OperationID: "send-command", Method: http.MethodPost, Path: "/api/v1/agents/{id}/commands", Tags: tags,
		DefaultStatus: http.StatusAccepted, Summary: "Order something from a machine"}, s.sendCommand)
	handle(s, huma.Operation{OperationID: "list-commands", Method: http.MethodGet, Path: "/api/v1/agents/{id}/commands", Tags: tags,
		Summary: "What was ordered from a machine, newest first"}, s.listCommands)
	handle(s, huma.Operation{OperationID: "cancel-command", Method: http.MethodPost, Path: "/api/v1/agents/{id}/commands/{command}/cancel", Tags: tags,
		DefaultStatus: http.StatusAccepted, Summary: "Cancel a command, also while it is carried out"}, s.cancelCommand)
	handle(s, huma.Operation{OperationID: "command-output", Method: http.MethodGet, Path: "/api/v1/agents/{id}/commands/{command}/output", Tags: tags,
		Summary: "What a command printed, from a place on; waits for more"}, s.commandOutput)
	handle(s, huma.Operation{OperationID: "create-order", Method: http.MethodPost, Path: "/api/v1/commands", Tags: tags,
		DefaultStatus: http.StatusAccepted, Summary: "Order something from many machines"}, s.createOrder)
	handle(s, huma.Operation{OperationID: "list-orders", Method: http.MethodGet, Path: "/api/v1/commands", Tags: tags,
		Summary: "What was ordered, newest first"}, s.listOrders)
	handle(s, huma.Operation{OperationID: "get-order", Method: http.MethodGet, Path: "/api/v1/commands/{id}", Tags: tags,
		Summary: "One order and how far it is"},
		func(ctx context.Context, in *IDPath) (*body[orderBody], error) { return s.orderAnswer(ctx, in.ID) })
	handle(s, huma.Operation{OperationID: "list-order-machines", Method: http.MethodGet, Path: "/api/v1/commands/{id}/machines", Tags: tags,
		Summary: "What became of an order on each machine"}, s.orderMachines)
	handle(s, huma.Operation{OperationID: "approve-order", Method: http.MethodPost, Path: "/api/v1/commands/{id}/approve", Tags: tags,
		Summary: "Let an order go that somebody else asked for"},
		s.decideOrder("approve", func(ctx context.Context, id auth.Identity, order, _ string) error {
			_, err := s.cfg.Queue.Approve(ctx, id.Tenant, order, id.Actor(), id.UserID)
			return err
		}))
	handle(s, huma.Operation{OperationID: "deny-order", Method: http.MethodPost, Path: "/api/v1/commands/{id}/deny", Tags: tags,
		Summary: "Keep an order from going"},
		s.decideOrder("deny", func(ctx context.Context, id auth.Identity, order, reason string) error {
			_, err := s.cfg.Queue.Deny(ctx, id.Tenant, order, id.Actor(), reason)
			return err
		}))
	handle(s, huma.Operation{OperationID: "cancel-order", Method: http.MethodPost, Path: "/api/v1/commands/{id}/cancel", Tags: tags,
		Summary: "End what of an order has not begun, and stop the rest"},
		s.decideOrder("cancel", func(ctx context.Context, id auth.Identity, order, _ string) error {
			_, err := s.cfg.Queue.CancelOrder(ctx, id.Tenant, order, id.Actor())
			return err
		}))
}

func (s *Server) commandTypes(context.Context, *struct{}) (*body[commandTypesBody], error) {
	out := commandTypesBody{ApproveAbove: queue.ApproveAbove}
	for _, t := range queue.Types {
		out.Types = append(out.Types, commandTypeBody{t.Name, t.Summary, t.Danger, t.TTL.Seconds(), t.Output, t.Schema})
	}
	return answer(out), nil
}

func (s *Server) sendCommand(ctx context.Context, in *struct {
	IDPath
	Body struct {
		Type      string          `json:"type" maxLength:"40" doc:"One of /api/v1/commands/types."`
		Args      json.RawMessage `json:"args,omitempty" doc:"As args_schema of the type says."`
		ExpiresIn string          `json:"expires_in,omitempty" doc:"For example 1h: how long it waits for a machine that is away."`
	}
}) (*body[commandBody], error) {
	a, err := s.agent(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	ttl, err := duration("body.expires_in", in.Body.ExpiresIn)
	if err != nil {
		return nil, err
	}
	_, list, err := s.order(ctx, in.Body.Type, in.Body.Args, []string{a.ID}, a.Name, ttl, "agent:"+a.ID)
	if err != nil {
		return nil, err
	}
	return answer(commandOf(ctx)(list[0])), nil
}

// order gives an order and audits it.
func (s *Server) order(ctx context.Context, kind string, args json.RawMessage, ids []string, target string, ttl time.Duration, object string) (store.Order, []store.Command, error) {
	id := caller(ctx)
	o, list, err := s.cfg.Queue.Order(ctx, queue.Request{Tenant: id.Tenant, Type: kind, Args: args, Agents: ids, Target: target, TTL: ttl, By: id.Actor(), Person: id.UserID})
	detail := string(args)
	if o.State == store.OrderWaiting {
		detail = strings.TrimSpace(detail + " waits for a second person")
	}
	if _, known := queue.TypeOf(kind); known != nil {
		kind = "unknown"
	}
	s.act(ctx, "command."+kind, object, detail, err)
	if err == nil {
		s.cfg.Live.Publish(caller(ctx).Tenant, "plugins", map[string]string{"order": o.ID})
	}
	return o, list, err
}

func (s *Server) listCommands(ctx context.Context, in *struct {
	IDPath
	PageQuery
}) (*body[page[commandBody]], error) {
	a, err := s.agent(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	list, next, err := s.cfg.Queue.List(ctx, a.Tenant, a.ID, in.page())
	return answerPage(convert(list, commandOf(ctx)), next), err
}

// command finds a command of a machine of the caller's tenant.
func (s *Server) command(ctx context.Context, in CommandPath) (store.Command, error) {
	c, err := s.cfg.Queue.Get(ctx, caller(ctx).Tenant, in.Command)
	if err == nil && c.AgentID != in.ID {
		err = store.ErrNotFound
	}
	return c, err
}

func (s *Server) cancelCommand(ctx context.Context, in *CommandPath) (*body[commandBody], error) {
	c, err := s.command(ctx, *in)
	if err == nil && queue.Ended(c.State) {
		err = store.ErrState
	}
	if err == nil {
		err = s.cfg.Queue.CancelCommand(ctx, c.Tenant, c.ID)
	}
	s.act(ctx, "command.cancel", "agent:"+in.ID, in.Command, err)
	if err != nil {
		return nil, err
	}
	c, err = s.command(ctx, *in)
	s.cfg.Live.Publish(caller(ctx).Tenant, "plugins", map[string]string{"agent": in.ID, "command": c.ID, "state": c.State})
	return answer(commandOf(ctx)(c)), err
}

type outputBody struct {
	State     string `json:"state"`
	From      int    `json:"from"`
	Next      int    `json:"next" doc:"Where the next question begins."`
	Output    string `json:"output"`
	Truncated bool   `json:"output_truncated,omitempty" doc:"It printed more than is kept."`
	Ended     bool   `json:"ended" doc:"Nothing more comes."`
}

func (s *Server) commandOutput(ctx context.Context, in *struct {
	CommandPath
	From int    `query:"from" minimum:"0" doc:"next of the answer before."`
	Wait string `query:"wait" maxLength:"10" doc:"How long to wait for more, for example 20s."`
}) (*body[outputBody], error) {
	if _, err := s.command(ctx, in.CommandPath); err != nil {
		return nil, err
	}
	waiting, done, wait, err := s.patience(ctx, in.Wait)
	if err != nil {
		return nil, err
	}
	defer done()
	c, err := s.cfg.Queue.WaitForOutput(waiting, caller(ctx).Tenant, in.Command, in.From, wait)
	if errors.Is(err, context.Canceled) && ctx.Err() == nil {
		err = nil // the server is being stopped; whoever watches asks again
	}
	if err != nil {
		return nil, err
	}
	from := min(in.From, len(c.Output))
	text := c.Output[from:]
	if !queue.Ended(c.State) {
		text = text[:whole(text)]
	}
	return answer(outputBody{State: c.State, From: from, Next: from + len(text), Output: strings.ToValidUTF8(text, "�"), Truncated: c.OutputTruncated,
		Ended: queue.Ended(c.State)}), nil
}

// whole is how much of a text can be shown: its last character may not be there as a whole yet.
func whole(s string) int {
	for n := len(s) - 1; n >= 0 && len(s)-n < utf8.UTFMax; n-- {
		if utf8.RuneStart(s[n]) {
			if !utf8.FullRuneInString(s[n:]) {
				return n
			}
			break
		}
	}
	return len(s)
}

func (s *Server) createOrder(ctx context.Context, in *struct {
	Body struct {
		Type      string            `json:"type" maxLength:"40" doc:"One of /api/v1/commands/types."`
		Args      json.RawMessage   `json:"args,omitempty" doc:"As args_schema of the type says."`
		Agents    []string          `json:"agents,omitempty" maxItems:"10000" doc:"Their ids."`
		Group     string            `json:"group,omitempty" maxLength:"64" doc:"All machines of a group, and of those below it; all for every one."`
		Labels    map[string]string `json:"labels,omitempty" doc:"Only machines that have all of them."`
		ExpiresIn string            `json:"expires_in,omitempty" doc:"For example 1h: how long it waits for a machine that is away."`
	}
}) (*body[orderBody], error) {
	ttl, err := duration("body.expires_in", in.Body.ExpiresIn)
	if err != nil {
		return nil, err
	}
	ids, target, err := s.targets(ctx, in.Body.Agents, in.Body.Group, in.Body.Labels)
	if err != nil {
		return nil, err
	}
	o, _, err := s.order(ctx, in.Body.Type, in.Body.Args, ids, target, ttl, "machines:"+target)
	if err != nil {
		return nil, err
	}
	return s.orderAnswer(ctx, o.ID)
}

// targets are the machines that an order names, each once, and how to call them.
func (s *Server) targets(ctx context.Context, named []string, group string, labels map[string]string) (ids []string, target string, err error) {
	if (len(named) > 0) == (group != "") {
		return nil, "", invalidField("body", "name either agents or a group; the group all has every machine")
	}
	wanted := map[string]bool{}
	for _, id := range named {
		wanted[id] = true
	}
	tenant := caller(ctx).Tenant
	for cursor := ""; group != ""; {
		list, next, err := s.cfg.Control.GroupMembers(ctx, tenant, group, store.Page{Cursor: cursor, Limit: 500})
		if err != nil {
			return nil, "", err
		}
		for _, m := range list {
			wanted[m.AgentID] = true
		}
		if cursor = next; cursor == "" {
			break
		}
	}
	names := map[string]string{}
	for cursor := ""; ; {
		list, next, err := s.cfg.Control.ListAgents(ctx, tenant, store.Page{Cursor: cursor, Limit: 500})
		if err != nil {
			return nil, "", err
		}
		for _, a := range list {
			if wanted[a.ID] && !a.Disabled && hasLabels(a, labels) {
				ids, names[a.ID] = append(ids, a.ID), a.Name
			}
		}
		if cursor = next; cursor == "" {
			break
		}
	}
	if group == "" && len(labels) == 0 && len(ids) < len(wanted) {
		return nil, "", invalidField("body.agents", fmt.Sprintf("%d of them are not there, or are shut out", len(wanted)-len(ids)))
	}
	if len(ids) == 0 {
		return nil, "", invalidField("body", "no machine is meant by this")
	}
	return ids, targetName(ids, names, group, labels), nil
}

func hasLabels(a store.Agent, labels map[string]string) bool {
	for k, v := range labels {
		if got, ok := a.Labels[k]; !ok || got != v {
			return false
		}
	}
	return true
}

func targetName(ids []string, names map[string]string, group string, labels map[string]string) string {
	text := cmp.Or(group, names[ids[0]])
	if group == "" && len(ids) > 1 {
		text = fmt.Sprintf("%s and %d more", text, len(ids)-1)
	}
	var with []string
	for k, v := range labels {
		with = append(with, k+"="+v)
	}
	slices.Sort(with)
	return strings.Join(append([]string{text}, with...), " ")
}

func (s *Server) listOrders(ctx context.Context, in *struct {
	PageQuery
	State string `query:"state" enum:"waiting,given,denied,cancelled,expired"`
}) (*body[page[orderBody]], error) {
	list, next, err := s.cfg.Control.ListOrders(ctx, caller(ctx).Tenant, in.State, in.page())
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, o := range list {
		ids = append(ids, o.ID)
	}
	progress, err := s.cfg.Control.OrderProgress(ctx, ids...)
	if err != nil {
		return nil, err
	}
	return answerPage(convert(list, func(o store.Order) orderBody { return orderOf(ctx, o, progress[o.ID]) }), next), nil
}

func (s *Server) orderAnswer(ctx context.Context, id string) (*body[orderBody], error) {
	o, err := s.cfg.Control.OrderByID(ctx, caller(ctx).Tenant, id)
	if err != nil {
		return nil, err
	}
	progress, err := s.cfg.Control.OrderProgress(ctx, id)
	if err != nil {
		return nil, err
	}
	return answer(orderOf(ctx, o, progress[id])), nil
}

func (s *Server) orderMachines(ctx context.Context, in *struct {
	IDPath
	PageQuery
}) (*body[page[commandBody]], error) {
	o, err := s.cfg.Control.OrderByID(ctx, caller(ctx).Tenant, in.ID)
	if err != nil {
		return nil, err
	}
	list, next, err := s.cfg.Control.OrderCommands(ctx, o.Tenant, o.ID, in.page())
	return answerPage(convert(list, commandOf(ctx)), next), err
}

type decisionInput struct {
	IDPath
	Body *struct {
		Reason string `json:"reason,omitempty" maxLength:"500"`
	} `required:"false"`
}

// decideOrder does something to an order, in somebody's name.
func (s *Server) decideOrder(verb string, do func(ctx context.Context, id auth.Identity, order, reason string) error) func(context.Context, *decisionInput) (*body[orderBody], error) {
	return func(ctx context.Context, in *decisionInput) (*body[orderBody], error) {
		reason := ""
		if in.Body != nil {
			reason = in.Body.Reason
		}
		err := do(ctx, caller(ctx), in.ID, reason)
		s.act(ctx, "order."+verb, "order:"+in.ID, reason, err)
		if err != nil {
			return nil, err
		}
		s.cfg.Live.Publish(caller(ctx).Tenant, "plugins", map[string]string{"order": in.ID})
		return s.orderAnswer(ctx, in.ID)
	}
}

func (s *Server) commandResult(ctx context.Context, in *struct {
	IDPath
	Body struct {
		_      struct{} `json:"-" additionalProperties:"true"`
		State  string   `json:"state" enum:"done,failed,refused,cancelled"`
		Output string   `json:"output,omitempty"`
	}
}) (*struct{}, error) {
	if err := s.cfg.Queue.Finish(ctx, sender(ctx).ID, in.ID, in.Body.State, in.Body.Output); err != nil {
		s.unwanted(ctx, "result", in.ID, err)
		return nil, err
	}
	s.cfg.Live.Publish(sender(ctx).Tenant, "plugins", map[string]string{"agent": sender(ctx).ID, "command": in.ID, "state": in.Body.State})
	return nil, nil
}

// unwanted notes what an agent says of a command that is not its own, has ended, or was never given.
func (s *Server) unwanted(ctx context.Context, what, command string, err error) {
	if errors.Is(err, store.ErrState) || errors.Is(err, store.ErrNotFound) {
		s.cfg.Log.Warn("an agent's word on a command is refused", "agent", sender(ctx).ID, "what", what, "command", command, "reason", err)
	}
}

type printedBody struct {
	Have int64 `json:"have" doc:"How many bytes are kept; the next offset."`
	More bool  `json:"more" doc:"Whether more is wanted."`
}

func (s *Server) commandPrinted(ctx context.Context, in *struct {
	IDPath
	Body struct {
		_      struct{} `json:"-" additionalProperties:"true"`
		Offset int64    `json:"offset" minimum:"0"`
		Data   []byte   `json:"data" doc:"At most 32 KiB, base64."`
	}
}) (*body[printedBody], error) {
	a := sender(ctx)
	c, err := s.cfg.Queue.Get(ctx, a.Tenant, in.ID)
	if err == nil && c.AgentID != a.ID {
		err = store.ErrNotFound
	}
	var out printedBody
	if err == nil {
		out.Have, out.More, err = s.cfg.Queue.Printed(ctx, a.ID, c, in.Body.Offset, in.Body.Data)
	}
	if err != nil {
		s.unwanted(ctx, "output", in.ID, err)
		return nil, err
	}
	return answer(out), nil
}
