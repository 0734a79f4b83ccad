package catalogue

import (
	"context"
	"fmt"

	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/client"
)

// commit makes an assignment what its node is to run. On the server that is two places, plugins.lock and the store: both
// change or neither, also across a crash, because what it takes to go back is written down first. The caller holds change.
func (c *Catalogue) commit(ctx context.Context, row store.Assignment, d *registry.Descriptor, by string) error {
	if row.NodeType != store.NodeServer {
		return c.put(ctx, row)
	}
	before, err := c.existing(ctx, row)
	if err != nil {
		return err
	}
	job, err := c.newJob(row.Plugin, row.Version, store.NodeServer, by)
	if err != nil {
		return err
	}
	j := &installation{c: c, job: job, row: row, undo: undo{Instance: row.Instance, Before: before, Wrote: &row}}
	plan, err := c.required(ctx, row, d)
	if err != nil {
		return err
	}
	for _, s := range plan.Steps {
		j.undo.Plugins = append(j.undo.Plugins, c.pinnedNow(s.Release.ID))
	}
	if len(plan.Steps) == 0 {
		j.undo.Plugins = []undoPlugin{c.pinnedNow(row.Plugin)}
	}
	if err := j.save(ctx); err != nil {
		return err
	}
	if err = c.pin(ctx, row, plan); err == nil {
		err = c.put(ctx, row)
	}
	if err == nil {
		err = j.end(ctx, InstallDone)
	}
	if err == nil {
		return nil
	}
	ctx, done := context.WithTimeout(context.WithoutCancel(ctx), undoWithin)
	defer done()
	j.goBack(ctx, err)
	if err := j.end(ctx, j.job.State); err != nil {
		c.cfg.Log.Error("store how a change of a plugin ended", "plugin", row.Plugin, "error", err)
	}
	return err
}

func (c *Catalogue) put(ctx context.Context, row store.Assignment) error {
	if err := c.cfg.Store.PutAssignment(ctx, row); err != nil {
		return fmt.Errorf("store what plugin %s should do: %w", row.Plugin, err)
	}
	return nil
}

// required is what a release brings along; empty when it needs nothing.
func (c *Catalogue) required(ctx context.Context, row store.Assignment, d *registry.Descriptor) (*client.Plan, error) {
	solver, ok := c.cfg.Registry.(Solver)
	if !ok || d == nil || len(d.Manifest.Requires) == 0 {
		return &client.Plan{}, nil
	}
	return solver.Plan(ctx, []client.Want{{ID: row.Plugin, Version: row.Version, Runtime: row.Runtime}}, client.PlanOptions{Keep: true})
}

// pin brings the verified bytes to this node, with what they need, and records what was granted.
func (c *Catalogue) pin(ctx context.Context, row store.Assignment, plan *client.Plan) error {
	if solver, ok := c.cfg.Registry.(Solver); ok && len(plan.Steps) > 0 {
		if _, err := solver.InstallAll(ctx, plan, nil); err != nil {
			return err
		}
	}
	if _, err := c.cfg.Registry.Install(ctx, row.Plugin, row.Version, row.Runtime); err != nil {
		return err
	}
	grants, err := grantsOf(row)
	if err != nil {
		return err
	}
	return c.cfg.Registry.RecordGrants(ctx, row.Plugin, grants)
}
