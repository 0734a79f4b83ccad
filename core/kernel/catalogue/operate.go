package catalogue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/picketwatch/picket/core/kernel/audit"
	"github.com/picketwatch/picket/core/kernel/pluginhost"
	"github.com/picketwatch/picket/core/kernel/queue"
	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/sdk"
)

func asRefusal(err error) (*registry.Refusal, bool) {
	var r *registry.Refusal
	ok := errors.As(err, &r)
	return r, ok
}

// Restart starts an instance anew; node names the agent when several run it.
func (c *Catalogue) Restart(ctx context.Context, id, instance, node, by string) error {
	return c.each(ctx, id, instance, node, by, c.cfg.Host.Restart)
}

// Release lets an instance out of quarantine. An agent does that when it is told to restart it.
func (c *Catalogue) Release(ctx context.Context, id, instance, node, by string) error {
	return c.each(ctx, id, instance, node, by, c.cfg.Host.Release)
}

// each does something with an instance on the server, or orders its restart from the agents that run it.
func (c *Catalogue) each(ctx context.Context, id, instance, node, by string, here func(context.Context, string) error) error {
	rows, err := c.rows(ctx)
	if err != nil {
		return err
	}
	all, err := c.instances(ctx, rows)
	if err != nil {
		return err
	}
	found := false
	for _, i := range all {
		if i.Plugin != id || i.Instance != instance || node != "" && node != i.Node.ID {
			continue
		}
		found = true
		if i.Node.Type == store.NodeServer {
			err = here(ctx, instance)
		} else {
			err = c.order(ctx, i, by)
		}
		if err != nil {
			return c.told(err)
		}
	}
	if !found {
		return invalid("body.instance", "%s has no instance %q there", id, instance)
	}
	c.changed(id)
	return nil
}

// told makes what the plugin host says of an instance an answer for whoever asked.
func (c *Catalogue) told(err error) error {
	if _, ok := asRefusal(err); ok || errors.Is(err, store.ErrNotFound) || errors.Is(err, queue.ErrFull) || errors.Is(err, context.Canceled) {
		return err
	}
	return invalid("body.instance", "%s", err)
}

func (c *Catalogue) order(ctx context.Context, i Instance, by string) error {
	args, err := json.Marshal(map[string]string{"instance": i.Instance})
	if err != nil {
		return err
	}
	_, err = c.cfg.Order(ctx, queue.Order{Tenant: c.cfg.Tenant, AgentID: i.Node.ID, Type: queue.RestartPlugin, Args: args, By: by})
	return err
}

// Test sends a notice through every enabled instance of a notifier, past the queue.
func (c *Catalogue) Test(ctx context.Context, id string, n sdk.Notice) (map[string]sdk.Receipt, error) {
	rows, err := c.cfg.Store.NodeAssignments(ctx, c.cfg.Tenant, store.NodeServer, "")
	if err != nil {
		return nil, err
	}
	receipts := map[string]sdk.Receipt{}
	for _, r := range rows {
		if r.Plugin != id {
			continue
		}
		receipt, err := c.cfg.Notify(ctx, r.Instance, n)
		if err != nil {
			return nil, fmt.Errorf("test %s: %w", r.Instance, err)
		}
		receipts[r.Instance] = receipt
	}
	if len(receipts) == 0 {
		return nil, invalid("path", "%s is not enabled on the server", id)
	}
	return receipts, nil
}

// Reported takes what an agent says of itself: what it refused to run goes into the audit log, once.
func (c *Catalogue) Reported(ctx context.Context, a store.Agent, status json.RawMessage) {
	node := Node{Type: store.NodeAgent, ID: a.ID, Name: a.Name}
	for _, s := range reported(status) {
		c.Ran(ctx, node, s)
	}
	var said struct {
		Refusals []json.RawMessage `json:"ceiling_refusals"`
	}
	if json.Unmarshal(status, &said) == nil {
		for i, raw := range said.Refusals {
			if i == 50 {
				break
			}
			c.refusedByAgent(ctx, a, textOf(raw))
		}
	}
	c.changed("")
}

// textOf reads a refusal that is a sentence or an object around one.
func textOf(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text
	}
	return string(raw)
}

func (c *Catalogue) refusedByAgent(ctx context.Context, a store.Agent, text string) {
	if text == "" || !c.news("ceiling "+a.ID+" "+text, "said") {
		return
	}
	c.record(ctx, audit.Entry{Tenant: a.Tenant, Actor: "agent:" + a.ID, Action: "plugin.refused", Outcome: audit.Refused,
		Object: "agent:" + a.ID, Detail: text, Address: a.Address})
}

// kept writes down what an instance tried and was kept from.
func (c *Catalogue) kept(ctx context.Context, n Node, s pluginhost.Status) {
	actor := "system"
	if n.Type == store.NodeAgent {
		actor = "agent:" + n.ID
	}
	for i, in := range s.Incidents {
		if i == maxIncidents {
			return // an agent sends what it likes
		}
		if !c.news("incident "+n.ID+" "+s.Instance+" "+string(in.Kind)+" "+in.Text, in.Time.String()) {
			continue
		}
		action, ok := incidentActions[in.Kind]
		if !ok {
			continue
		}
		outcome := audit.Refused
		if in.Kind == pluginhost.IncidentCrash {
			outcome = audit.Failed
		}
		c.record(ctx, audit.Entry{Tenant: c.cfg.Tenant, Actor: actor, Action: action, Object: "plugin:" + s.Plugin, Outcome: outcome,
			Detail: fmt.Sprintf("%s on %s: %s", s.Instance, n.Name, in.Text)})
	}
}

// maxIncidents is how many an honest agent tells at most: so many of each kind.
const maxIncidents = 4*16 + 32

var incidentActions = map[pluginhost.IncidentKind]string{
	pluginhost.IncidentPermission: "plugin.permission", pluginhost.IncidentLimit: "plugin.limit", pluginhost.IncidentKilled: "plugin.killed",
	pluginhost.IncidentCall: "plugin.call", pluginhost.IncidentCrash: "plugin.crash",
}

// Ran notes the state of an instance; a refusal or a revocation goes into the audit log when it is new.
func (c *Catalogue) Ran(ctx context.Context, n Node, s pluginhost.Status) {
	c.tookBack(ctx, n, s)
	c.kept(ctx, n, s)
	key := "state " + n.ID + " " + s.Instance
	switch s.State {
	case pluginhost.Refused, pluginhost.Revoked, pluginhost.Quarantined:
	case pluginhost.Ready, pluginhost.Degraded, pluginhost.Stopped:
		c.forget(key)
		return
	default:
		return
	}
	if !c.news(key, string(s.State)+s.Reason) {
		return
	}
	actor, outcome := "system", audit.Refused
	if n.Type == store.NodeAgent {
		actor = "agent:" + n.ID
	}
	if s.State == pluginhost.Quarantined {
		outcome = audit.Failed
	}
	c.record(ctx, audit.Entry{Tenant: c.cfg.Tenant, Actor: actor, Action: "plugin." + string(s.State), Object: "plugin:" + s.Plugin,
		Outcome: outcome, Detail: fmt.Sprintf("%s on %s: %s", s.Instance, n.Name, s.Reason)})
}
